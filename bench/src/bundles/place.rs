//! Where runtimes are compared: a directory on the peer's side with bundles, our runtime and everybody's state, and a shell
//! that stands ready there, in a mount namespace of its own.

use std::fmt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::shell::Shell;

const OURS: &str = "wharf-runtime";

/// Those of the field, by the names of their packages' programs.
const OTHERS: [&str; 2] = ["runc", "crun"];

/// A runtime with the state of its own that it is given here; shown as the beginning of its command line.
#[derive(Clone)]
pub(crate) struct Runtime {
    pub(crate) name: String,
    state: String,
}

impl Runtime {
    /// The name of its container that stands. Others must not have the same, or they meet in one cgroup.
    pub(crate) fn standing(&self) -> String {
        format!("stands-{}", self.name)
    }
}

impl fmt::Display for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} --root {}", self.name, self.state)
    }
}

/// Which hierarchies the runtimes find.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cgroups {
    Host,
    Unified,
}

/// What a host of both versions, or of the first, becomes one of the second by.
const UNIFY: &str = "umount -l -R /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && exec sh";

/// Mounts as v1 what is left on v2, or says which cgroups keep it there.
const TAKE: &str = "root=/sys/fs/cgroup; taken=; for name in $(cat $root/unified/cgroup.controllers); do \
    mkdir -p $root/$name; if mount -t cgroup -o $name none $root/$name; then taken=\"$taken $name\"; \
    else grep -lr --include=cgroup.subtree_control $name $root/unified; fi; done";

/// Gives it back. The kernel keeps a hierarchy whose cgroups have only just gone when it is unmounted: once more, then.
const GIVE: &str = "for name in $taken; do for again in 1 2 3 4 5; do umount $root/$name; sleep 0.2; \
    grep -q $name $root/unified/cgroup.controllers && break; mount -t cgroup -o $name none $root/$name || break; done; \
    rmdir $root/$name; done";

/// Ends a command that does not end by itself: some runtimes wait for ever for a container that was faster than they. One
/// watch for all, so that no sample pays for it.
const WATCH: &str = "while sleep 5 && kill -0 $$; do pkill -KILL --older 20 -f \"^[^ ]* --root $directory/state-\"; done & watch=$!";

pub(crate) struct Place {
    shell: Shell,
    directory: String,
    cgroups: &'static str,
    runtimes: Vec<Runtime>,
}

impl Place {
    /// With the programs at these paths beside those that stand there. None where this would be the host's cgroups once
    /// more.
    pub(crate) fn new(prefix: &str, cgroups: Cgroups, more: &[String]) -> Option<Self> {
        let mut shell = Shell::start(behind(prefix, &["unshare", "-m", "--propagation", "private", "sh"]));
        let unified = shell.run("test -e /sys/fs/cgroup/cgroup.controllers").code == 0;
        if cgroups == Cgroups::Unified {
            if unified {
                return None;
            }
            shell = Shell::start(behind(
                prefix,
                &["unshare", "-mC", "--propagation", "private", "sh", "-c", UNIFY],
            ));
        }
        // On disk: in a file system that is memory, nothing gets cold.
        let directory = format!("/var/tmp/wharf-bench-{}", std::process::id());
        shell.run(&format!("mkdir -p {directory}")).ok();
        let program = std::env::current_exe().expect("a process has an executable");
        copy(prefix, &program.with_file_name(OURS), &format!("{directory}/{OURS}"));
        copy(prefix, Path::new("/bin/busybox"), &format!("{directory}/busybox"));
        let mut programs: Vec<String> = [OURS].into_iter().chain(OTHERS).map(str::to_owned).collect();
        for path in more {
            let name = path.rsplit('/').next().expect("a text that is split has a last part");
            copy(prefix, Path::new(path), &format!("{directory}/{name}"));
            programs.push(name.to_owned());
        }
        let runtimes = programs
            .into_iter()
            .map(|name| Runtime { state: format!("{directory}/state-{name}"), name })
            .collect();
        let names = match (cgroups, unified) {
            (Cgroups::Host, false) => "the host's cgroups",
            _ => "v2 alone",
        };
        let mut place = Place { shell, directory, cgroups: names, runtimes };
        place.furnish(cgroups == Cgroups::Host && !unified);
        Some(place)
    }

    /// Bundles, a container of each runtime that stands, and no controller on v2 where others are on v1.
    fn furnish(&mut self, hybrid: bool) {
        let directory = &self.directory;
        let lines = format!(
            "directory={directory}; cd $directory; export PATH=$directory:$PATH; bundle=$directory/bundle; \
             peak='{directory}/busybox time -f %M'; mkdir -p bundle/rootfs/bin bundle/rootfs/proc bundle/rootfs/dev \
             bundle/rootfs/sys; for name in busybox true sleep; do cp busybox bundle/rootfs/bin/$name; done; \
             cp -r bundle standing; (cd bundle && runc spec && sed -i 's/\"terminal\": true/\"terminal\": false/; \
             s/\"sh\"/\"true\"/' config.json); (cd standing && sed 's/\"true\"/\"sleep\", \"100000\"/' ../bundle/config.json \
             > config.json)"
        );
        self.shell.run(&lines).ok();
        self.shell.run(WATCH);
        if hybrid {
            let answer = self.shell.run(TAKE);
            if !answer.output.is_empty() {
                eprintln!("bench: crun can't work beside controllers on v2: {}", answer.output.trim_end());
            }
        }
        for number in 0..self.runtimes.len() {
            let runtime = &self.runtimes[number];
            let line = format!("{runtime} run -d -b standing {} </dev/null >/dev/null", runtime.standing());
            let answer = self.shell.run(&line);
            if answer.code != 0 {
                eprintln!("bench: {}: {}", runtime.name, answer.output.trim_end());
            }
        }
    }

    pub(crate) fn cgroups(&self) -> &'static str {
        self.cgroups
    }

    pub(crate) fn runtimes(&self) -> &[Runtime] {
        &self.runtimes
    }

    /// Has the kernel forget what it has read.
    pub(crate) fn cool(&mut self) {
        self.shell.run("sync; echo 3 > /proc/sys/vm/drop_caches").ok();
    }

    /// How long a line takes, if it can be done at all.
    pub(crate) fn time(&mut self, line: &str) -> Option<Duration> {
        let answer = self.shell.run(line);
        (answer.code == 0).then_some(answer.took)
    }

    /// Removes what a failed sample may have left.
    pub(crate) fn clear(&mut self, runtime: &Runtime) {
        self.shell.run(&format!("for id in c1 c2; do {runtime} delete -f $id; done"));
    }

    /// The memory that a command beginning with `$peak` takes at its most, in KiB. Older versions of the program that
    /// waits for it take the kernel's figure for pages of four.
    pub(crate) fn peak(&mut self, line: &str) -> Option<f64> {
        const ITS_OWN: f64 = 3000.0;
        let own = self.number("$peak busybox true")?;
        let unit = if own > ITS_OWN { 4.0 } else { 1.0 };
        self.number(line).map(|number| number / unit)
    }

    /// The one number that a line prints.
    pub(crate) fn number(&mut self, line: &str) -> Option<f64> {
        let answer = self.shell.run(line);
        (answer.code == 0).then(|| answer.output.trim().parse().ok()).flatten()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for runtime in &self.runtimes {
            self.shell
                .run(&format!("for id in c1 c2 {}; do {runtime} delete -f $id; done", runtime.standing()));
        }
        self.shell.run("kill $watch");
        self.shell.run(GIVE);
        self.shell.run(&format!("cd /; rm -rf --one-file-system {}", self.directory));
    }
}

/// A command on the peer's side.
fn behind(prefix: &str, words: &[&str]) -> Command {
    let mut parts = prefix.split_whitespace();
    let mut command = Command::new(parts.next().expect("a prefix is not empty"));
    command.args(parts).args(words);
    command
}

fn copy(prefix: &str, from: &Path, to: &str) {
    let file = std::fs::File::open(from).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
    let line = format!("cat > {to} && chmod 755 {to}");
    let done = behind(prefix, &["sh", "-c", &line]).stdin(Stdio::from(file)).status();
    assert!(done.is_ok_and(|status| status.success()), "cannot copy {} to the peer's side", from.display());
}
