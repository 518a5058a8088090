//! The Debian packages that tests use, by name.

use std::process::{Command, Stdio};

use crate::run::{self, Failure, Outcome};

/// What the tests need, and a file that tells whether it is there.
const NEEDED: &[(&str, &str)] = &[
    ("busybox-static", "/bin/busybox"), // root file systems of test images
    ("docker-registry", "/usr/bin/docker-registry"), // a real registry to pull from
    ("iproute2", "/usr/sbin/ip"),       // the outside world of a test host
    ("nftables", "/usr/sbin/nft"),      // to read our rules with somebody else's eyes
    ("iptables", "/usr/sbin/iptables"), // rules that ours have to live with
    ("zsh", "/usr/bin/zsh"),            // the shells that complete command lines
    ("fish", "/usr/bin/fish"),
    ("procps", "/bin/ps"),
    ("runc", "/usr/sbin/runc"), // other runtimes than ours
    ("crun", "/usr/bin/crun"),
    ("apparmor", "/usr/sbin/apparmor_parser"), // compiles the profile of containers
    ("socat", "/usr/bin/socat"),               // terminals and sockets
    ("uidmap", "/usr/bin/newuidmap"),          // subordinate ids, for containers without root
    ("util-linux", "/usr/bin/nsenter"),
    ("util-linux-extra", "/usr/bin/fincore"), // what of a file is in memory
    ("bsdutils", "/usr/bin/script"),
    ("xfsprogs", "/usr/sbin/mkfs.xfs"), // disks that count by project
    ("e2fsprogs", "/usr/sbin/mkfs.ext4"),
    ("curl", "/usr/bin/curl"),
    ("jq", "/usr/bin/jq"), // to read what the interface says
    ("python3-venv", "/usr/share/doc/python3-venv"),
    ("nodejs", "/usr/bin/node"), // Docker's SDKs, as programs use them
    ("npm", "/usr/bin/npm"),
    ("bzip2", "/bin/bzip2"), // archives of other tools
    ("xz-utils", "/usr/bin/xz"),
    ("openssl", "/usr/bin/openssl"), // certificates of clients
    ("gcc", "/usr/bin/cc"),          // SQLite, zstd and ring are C
];

/// What no package of Debian 12 provides: its docker is of 2022, and the pages are of this version.
const CLIENT: &str = "28.";

/// Ends the tests before they begin where the stock client is missing that they compare ours with.
pub(crate) fn find_client() -> Outcome {
    let mut command = Command::new("docker");
    command.args(["version", "--format", "{{.Client.Version}}"]);
    // It fails after that for want of an engine.
    let said = command.env("DOCKER_HOST", "unix:///nonexistent").stdin(Stdio::null()).output();
    let found = said.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    let found = match found {
        Ok(version) if version.starts_with(CLIENT) => return Ok(()),
        Ok(version) => format!("`docker` on PATH is of version {version:?}"),
        Err(error) => format!("`docker` cannot be started: {error}"),
    };
    Err(Failure::new(format!(
        "the tests need the stock docker client of version {CLIENT}x on PATH (package docker-ce-cli of Docker's own \
         archive, docker-cli of Debian 14, or the one program `docker` of a release's archive), but {found}"
    )))
}

/// Installs what is missing; does nothing, and needs no network, where all is there.
pub(crate) fn install() -> Outcome {
    let missing: Vec<&str> = NEEDED
        .iter()
        .filter(|(_, witness)| !std::path::Path::new(witness).exists())
        .map(|(name, _)| *name)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut update = Command::new("apt-get");
    update.args(["update", "-qq"]).stdin(Stdio::null());
    run::execute(update)?;
    let mut install = Command::new("apt-get");
    install
        .args(["install", "-y", "-qq", "--no-install-recommends"])
        .args(&missing)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null());
    run::execute(install)
}
