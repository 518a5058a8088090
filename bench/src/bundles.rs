//! OCI runtimes by themselves: a bundle is run, and a process beside it, by ours and by those that stand beside the peer.
//!
//! All of them run where the peer runs, on the same bundle: ours is copied there. Each round takes every runtime in turn.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::report::{Report, Row, median};
use crate::shell::Shell;

const OURS: &str = "wharf-runtime";
/// Those of the field, by the names of their packages' programs.
const OTHERS: [&str; 2] = ["runc", "crun"];

/// What the shell is told for a runtime of this name.
type Line = fn(&str) -> String;

/// A directory on the peer's side with the bundle, our runtime and everybody's state.
struct Place {
    shell: Shell,
    directory: String,
}

pub(crate) fn rows(report: &mut Report, prefix: &str, rounds: usize, wanted: impl Fn(&str) -> bool) {
    let work: [(&str, Line); 3] = [
        ("a bundle: `run`", |runtime| format!("{runtime} run -b $bundle r")),
        ("a bundle: `create`, `start`, `delete`", |runtime| {
            format!(
                "{runtime} create -b $bundle r && {runtime} start r && until {runtime} delete r 2>/dev/null; do :; done"
            )
        }),
        ("a bundle: `exec`", |runtime| format!("{runtime} exec stands true")),
    ];
    if !work.iter().any(|(name, _)| wanted(name)) {
        return;
    }
    let mut place = Place::new(prefix);
    for (name, line) in work.into_iter().filter(|(name, _)| wanted(name)) {
        let mut runtimes: Vec<(&str, Vec<Duration>)> =
            [OURS].into_iter().chain(OTHERS).map(|name| (name, Vec::new())).collect();
        // Who can't run here (crun, where hierarchies of both kinds have controllers) is left out, and it is said.
        runtimes.retain(|(runtime, _)| {
            let answer = place.ask(runtime, &line(runtime));
            if answer.is_none() {
                eprintln!("{runtime} does not run here: left out of {name}");
            }
            answer.is_some()
        });
        for _ in 0..rounds {
            for (runtime, samples) in &mut runtimes {
                samples.extend(place.ask(runtime, &line(runtime)));
            }
        }
        let mut runtimes = runtimes.into_iter();
        let Some((OURS, mut samples)) = runtimes.next() else { panic!("{OURS} does not run here") };
        let wharf = median(&mut samples);
        for (runtime, mut samples) in runtimes {
            let peer = Some(median(&mut samples));
            report.add(Row {
                name: format!("{name}, beside {runtime}"),
                unit: "ms",
                wharf,
                peer,
                floor: None,
            });
        }
    }
}

impl Place {
    fn new(prefix: &str) -> Self {
        let directory = format!("/tmp/wharf-bench-{}", std::process::id());
        let mut shell = Shell::start(behind(prefix, &["sh"]));
        shell.run(&format!("mkdir -p {directory}")).ok();
        let program = std::env::current_exe().expect("a process has an executable");
        let runtime = program.with_file_name(OURS);
        copy(prefix, &runtime, &format!("{directory}/{OURS}"));
        copy(prefix, Path::new("/bin/busybox"), &format!("{directory}/busybox"));
        let lines = format!(
            "cd {directory}; PATH={directory}:$PATH; bundle={directory}/bundle; mkdir -p bundle/rootfs/bin bundle/rootfs/proc \
             bundle/rootfs/dev bundle/rootfs/sys; for name in busybox true sleep; do cp busybox bundle/rootfs/bin/$name; done; \
             cp -r bundle stands; (cd bundle && runc spec && sed -i 's/\"terminal\": true/\"terminal\": false/; s/\"sh\"/\"true\"/' config.json); \
             (cd stands && sed 's/\"true\"/\"sleep\", \"100000\"/' ../bundle/config.json > config.json); \
             export PATH"
        );
        shell.run(&lines).ok();
        for name in [OURS].into_iter().chain(OTHERS) {
            // Each with state of its own.
            let line = format!(
                "{name} --root {directory}/state-{name} run -d -b {directory}/stands stands-{name} </dev/null >/dev/null"
            );
            shell.run(&line);
        }
        Place { shell, directory }
    }

    /// How long a line takes with this runtime, if it can run it at all.
    fn ask(&mut self, runtime: &str, line: &str) -> Option<Duration> {
        let ours = format!("{runtime} --root {}/state-{runtime}", self.directory);
        let line = line
            .replace(&format!("{runtime} "), &format!("{ours} "))
            .replace("exec stands", &format!("exec stands-{runtime}"));
        let answer = self.shell.run(&line);
        (answer.code == 0).then_some(answer.took)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let names = [OURS].into_iter().chain(OTHERS).collect::<Vec<_>>().join(" ");
        self.shell.run(&format!(
            "for name in {names}; do $name --root {0}/state-$name delete -f stands-$name; done; cd /; rm -rf {0}",
            self.directory
        ));
    }
}

/// A command on the peer's side.
fn behind(prefix: &str, words: &[&str]) -> Command {
    let mut parts = prefix.split_whitespace();
    let mut command = Command::new(parts.next().expect("--peer is not empty"));
    command.args(parts).args(words);
    command
}

fn copy(prefix: &str, from: &Path, to: &str) {
    let file = std::fs::File::open(from).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
    let line = format!("cat > {to} && chmod 755 {to}");
    let done = behind(prefix, &["sh", "-c", &line]).stdin(Stdio::from(file)).status();
    assert!(done.is_ok_and(|status| status.success()), "cannot copy {} to the peer's side", from.display());
}
