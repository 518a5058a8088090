//! What an engine may not leave behind, looked for with the eyes of the system: `/proc`, directories, `ip`, `nft`, `systemctl`.
//!
//! Twice. Once all containers, networks, volumes and images are removed, a running engine has no more than a new one:
//! each file of its roots and each thing on its host is named here, or is left over. Once it has ended, nothing of it runs.
//!
//! *Limits.* A network namespace is seen by the pair of interfaces that led into it: one that never had any is not. Rules
//! and sets are looked at where they name what has been removed; a rule too many is `networks.rs`'s to find.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use crate::host::Host;

/// What is in the data root of an engine that has nothing.
const DATA: [&str; 22] = [
    "engine-id",
    "lock",
    "wharf.db",
    "wharf.db-wal",
    // Of a test that has looked into the records.
    "wharf.db-shm",
    "events.jsonl",
    "containers",
    "volumes",
    "blobs",
    "blobs/sha256",
    "blobs/sha512",
    // Transfers that broke off; see `resumable`.
    "blobs/ingest",
    "layers",
    "layers/sha256",
    "layers/sha512",
    "layers/chains",
    "layers/scaffolds",
    "layers/empty",
    "layers/work",
    "layers/gone",
    "snapshots",
    "snapshots/gone",
];

/// What is in its exec root.
const EXEC: [&str; 7] = ["boot-id", "docker-init", "containers", "shm", "images", "names", "runtimes"];

/// An engine's traces on its machine.
pub(crate) struct Traces<'a> {
    /// What all of the world lies in.
    pub(crate) world: &'a Path,
    pub(crate) data_root: PathBuf,
    pub(crate) exec_root: PathBuf,
    pub(crate) host: &'a Host,
    /// What was being fetched waits a day for somebody who goes on with it.
    pub(crate) unfinished: bool,
}

impl Traces<'_> {
    /// What belongs to nothing any more though the engine runs, a line each. `containers`: those that there were.
    pub(crate) fn unowned(&self, containers: impl FnOnce() -> Vec<String>) -> Vec<String> {
        let mut left = files(&self.data_root, &DATA);
        left.retain(|file| !self.unfinished || !file.contains("/blobs/sha256/"));
        left.extend(files(&self.exec_root, &EXEC));
        left.extend(self.cgroups_below());
        left.extend(self.interfaces());
        left.extend(self.rules());
        left.extend(self.namespaces());
        left.extend(scopes(containers));
        left
    }

    /// What is still there though the engine has ended, a line each.
    pub(crate) fn alive(&self) -> Vec<String> {
        let mut left = self.processes();
        left.extend(self.mounts());
        left.extend(
            scratch::cgroups(&self.cgroup()).iter().map(|cgroup| format!("cgroup {}", cgroup.display())),
        );
        left.extend(self.interfaces());
        left
    }

    /// The name of this engine's cgroup and of its table begins so, that of its bridge ends so.
    fn hash(&self) -> String {
        hex::encode(Sha256::digest(self.exec_root.as_os_str().as_encoded_bytes()))[..8].to_owned()
    }

    fn cgroup(&self) -> String {
        format!("wharf-{}", self.hash())
    }

    /// Programs with the world's directory in their command line, and whatever else is on its host.
    fn processes(&self) -> Vec<String> {
        let mark = self.mark();
        let home = fs::metadata(self.host.path()).map(|file| (file.dev(), file.ino())).ok();
        let mut left = Vec::new();
        for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let name = process.file_name().to_string_lossy().into_owned();
            if name.parse::<u32>().map_or(true, |pid| pid == std::process::id()) {
                continue;
            }
            let Ok(arguments) = fs::read(process.path().join("cmdline")) else { continue };
            let arguments = String::from_utf8_lossy(&arguments).replace('\0', " ");
            let namespace =
                fs::metadata(process.path().join("ns/net")).map(|file| (file.dev(), file.ino())).ok();
            if arguments.contains(&mark) || home.is_some() && namespace == home {
                left.push(format!("process {name}: {arguments}"));
            }
        }
        left
    }

    fn mounts(&self) -> Vec<String> {
        let mark = self.mark();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        mounts.lines().filter(|mount| mount.contains(&mark)).map(|mount| format!("mount {mount}")).collect()
    }

    /// With the slash: the second world is not the twentieth.
    fn mark(&self) -> String {
        format!("{}/", self.world.display())
    }

    /// Those of containers: the engine's own stays while it runs.
    fn cgroups_below(&self) -> Vec<String> {
        let own = scratch::cgroups(&self.cgroup());
        let within = own.iter().filter_map(|cgroup| fs::read_dir(cgroup).ok()).flatten().flatten();
        let cgroups = within.filter(|entry| entry.path().is_dir());
        cgroups.map(|cgroup| format!("cgroup {}", cgroup.path().display())).collect()
    }

    /// Bridges but for the default one, and anything that led to a container.
    fn interfaces(&self) -> Vec<String> {
        let default = format!("wh{}", self.hash());
        let is_ours = |name: &String| name.starts_with("wh") && *name != default || name.starts_with('v');
        self.host.interfaces().into_iter().filter(is_ours).map(|name| format!("interface {name}")).collect()
    }

    /// Ports of containers, and bridges of networks, in the tables of the host.
    fn rules(&self) -> Vec<String> {
        let listed = self.host.run(&["nft", "list", "ruleset"]);
        let table = format!("table inet {}", self.cgroup());
        let (mut left, mut place) = (Vec::new(), [const { String::new() }; 2]);
        for line in listed.lines() {
            let depth = line.bytes().take_while(|byte| *byte == b'\t').count();
            if let (true, Some(name)) = (depth < 2, line.trim().strip_suffix(" {")) {
                place[depth] = name.to_owned();
            }
            let [of, within] = &place;
            let of_ports = ["published", "reachable"]
                .iter()
                .any(|set| ["set ", "map "].iter().any(|kind| within.starts_with(&format!("{kind}{set}"))));
            if line.contains("wh-") || *of == table && of_ports && line.contains("elements = ") {
                left.push(format!("in {of}, {within}: {}", line.trim()));
            }
        }
        left
    }

    /// Network namespaces that a cable leads to, but for the hosts of tests.
    fn namespaces(&self) -> Vec<String> {
        let listed = self.host.run(&["ip", "netns", "list-id"]);
        let strangers = listed.lines().filter(|line| !line.contains("name: wharf-test-"));
        strangers.map(|line| format!("network namespace {}", line.trim())).collect()
    }
}

/// All below a root that is not in this list.
fn files(root: &Path, known: &[&str]) -> Vec<String> {
    let mut left = Vec::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
            if !known.contains(&name.as_str()) && !resumable(&name) {
                left.push(format!("file {}", path.display()));
            } else if path.is_dir() {
                directories.push(path);
            }
        }
    }
    left
}

/// What came of a blob before its transfer broke off is kept by its digest for the next attempt.
fn resumable(name: &str) -> bool {
    name.strip_prefix("blobs/ingest/").is_some_and(|name| !name.starts_with("new-"))
}

/// Units of systemd, where that is what makes cgroups.
fn scopes(containers: impl FnOnce() -> Vec<String>) -> Vec<String> {
    if !Path::new("/run/systemd/system").exists() {
        return Vec::new();
    }
    let words = ["list-units", "--all", "--plain", "--no-legend", "--type=scope"];
    let listed = Command::new("systemctl").args(words).output().expect("systemctl is where systemd is");
    let listed = String::from_utf8_lossy(&listed.stdout);
    let containers = containers();
    let of_ours = |line: &&str| containers.iter().any(|id| line.contains(id.as_str()));
    listed.lines().filter(of_ours).map(|line| format!("unit {}", line.trim())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nothing is found where nothing is, and each thing that is left is.
    #[test]
    fn whatever_is_left_is_found() {
        let place = scratch::Directory::new("leaks");
        let (host, elsewhere) = (Host::new(), Host::new());
        let traces = Traces {
            world: &place,
            data_root: place.join("data"),
            exec_root: place.join("run"),
            host: &host,
            unfinished: false,
        };
        for directory in ["data/containers", "data/layers/sha256", "data/blobs/ingest", "run/shm"] {
            fs::create_dir_all(place.join(directory)).unwrap();
        }
        fs::write(place.join("data/blobs/ingest/sha256-0123"), "half").unwrap();
        let table = traces.cgroup();
        host.run(&["nft", "add", "table", "inet", &table]);
        for set in ["published4 { type inet_service ; }", "bridges { type ifname ; }"] {
            host.run(
                &[&["nft", "add", "set", "inet", &table][..], &set.split(' ').collect::<Vec<_>>()].concat(),
            );
        }
        host.run(&["ip", "link", "add", &format!("wh{}", traces.hash()), "type", "bridge"]);
        assert_eq!(traces.unowned(Vec::new), Vec::<String>::new());
        assert_eq!(traces.alive(), Vec::<String>::new());

        fs::create_dir_all(place.join("data/layers/sha256/abc/fs")).unwrap();
        fs::write(place.join("data/blobs/ingest/new-1"), "").unwrap();
        fs::create_dir(place.join("run/shm/abc")).unwrap();
        host.run(&["nft", "add", "element", "inet", &table, "published4", "{", "80", "}"]);
        host.run(&["nft", "add", "element", "inet", &table, "bridges", "{", "wh-0123", "}"]);
        host.run(&["ip", "link", "add", "wh-0123", "type", "bridge"]);
        host.connect(&elsewhere, "192.0.2.1/24", "192.0.2.2/24");
        let mut stays = host.command("sleep").arg("1000").spawn().unwrap();
        let left = [traces.unowned(Vec::new), traces.alive()].concat().join("\n");
        let of_sleep = format!("process {}: sleep 1000", stays.id());
        let _ = stays.kill();
        let _ = stays.wait();
        for wanted in [
            "data/layers/sha256/abc",
            "data/blobs/ingest/new-1",
            "run/shm/abc",
            "published4: elements = { 80 }",
            "bridges: elements = { \"wh-0123\" }",
            "interface wh-0123",
            &of_sleep,
        ] {
            assert!(left.contains(wanted), "{wanted} is not in\n{left}");
        }
        assert!(!left.contains("network namespace"), "{left}");
    }
}
