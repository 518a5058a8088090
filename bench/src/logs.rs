//! How fast a container's output is logged, and what logging costs the processor.

use crate::floor::Work;
use crate::processes;
use crate::report::{Report, Row};
use crate::rows::{Bench, IMAGE, Side};

/// Lines of the file that the container prints, a hundred bytes each.
const LINES: usize = 200_000;
/// How often it prints the file.
const TIMES: usize = 10;

impl Bench<'_> {
    /// Both sides with their default driver, `json-file`. The container makes its lines first and prints them in large
    /// writes, so that it is not what is measured; it waits for a sign in between, and gives one when all is printed.
    pub(crate) fn logs(&mut self, report: &mut Report) {
        let name = "log of lines of 100 bytes, `json-file`";
        if !self.wanted(name) {
            return;
        }
        let (ours, theirs) = self.once(Side::print);
        let row = |name: &str, unit, pick: fn(Printed) -> f64, floor| {
            let name = name.into();
            Row { name, unit, wharf: pick(ours), peer: theirs.map(pick), floor }
        };
        report.add(row(name, "MB/s", |printed| printed.rate, Work::Log.floor()));
        let name = "processor time of all daemons for a million such lines";
        report.add(row(name, "ms", |printed| printed.cpu, None));
    }

    /// The last of many lines, by their time: both sides in a single file without a limit.
    pub(crate) fn long_log(&mut self, report: &mut Report, gibibytes: u64) {
        let name = format!("`logs --since`: the last lines of {gibibytes} GiB, `json-file`");
        if !self.wanted(&name) {
            return;
        }
        self.each(|side| side.fill(gibibytes));
        self.time(report, &name, None, |side| {
            let client = side.client.clone();
            let answer = side.shell.run(&format!("{client} logs --since $since long")).ok();
            assert_eq!(answer.output.lines().last(), Some("the last line"), "{}", answer.output);
            answer.took
        });
        self.each(|side| {
            let client = side.client.clone();
            side.shell.run(&format!("{client} rm -f long >/dev/null")).ok();
        });
    }
}

#[derive(Debug, Clone, Copy)]
struct Printed {
    /// In MB/s.
    rate: f64,
    /// In milliseconds for a million lines.
    cpu: f64,
}

impl Side {
    /// Has a container print until its log is so long, and after a moment a last line.
    fn fill(&mut self, gibibytes: u64) {
        // What a line becomes in the file: its text, the name of the stream, the time.
        const IN_FILE: u64 = 171;
        let client = self.client.clone();
        let line = "x".repeat(99);
        let times = (gibibytes << 30) / IN_FILE / LINES as u64;
        let program = format!(
            "yes {line} | head -n {LINES} >/lines; for n in $(seq {times}); do cat /lines; done; touch /done; \
             until test -e /go; do usleep 10000; done; echo the last line; sleep 1000"
        );
        let line = format!(
            "{client} run -d --name long --log-driver json-file --log-opt max-size=-1 {IMAGE} sh -c '{program}' \
             >/dev/null && until {client} exec long test -e /done; do sleep 0.5; done; sleep 2; \
             since=$(date +%s); {client} exec long touch /go; \
             until {client} logs --tail 1 long | grep -q last; do sleep 0.1; done"
        );
        self.shell.run(&line).ok();
    }

    fn print(&mut self) -> Printed {
        let client = self.client.clone();
        let line = "x".repeat(99);
        let program = format!(
            "yes {line} | head -n {LINES} >/lines; echo ready >/ready; until test -e /go; do usleep 10000; done; \
             for n in $(seq {TIMES}); do cat /lines; done; touch /done; sleep 1000"
        );
        self.shell.run(&format!("{client} run -d --name prints {IMAGE} sh -c '{program}' >/dev/null")).ok();
        self.shell.run(&format!("until {client} exec prints test -e /ready; do sleep 0.1; done")).ok();
        let names: Vec<&str> = self.engine.iter().chain(self.beside).copied().collect();
        let before = processes::processor_time(&mut self.shell, &names);
        // The container goes on: with its end goes the account of what its shim has used.
        let printed = "touch /go; until test -e /done; do usleep 1000; done";
        let go = format!("{client} exec prints sh -c '{printed}'");
        let took = self.shell.run(&go).ok().took;
        let cpu = processes::processor_time(&mut self.shell, &names) - before;
        self.shell.run(&format!("{client} rm -f prints >/dev/null")).ok();
        let lines = (LINES * TIMES) as f64;
        Printed { rate: lines * 100.0 / 1e6 / took.as_secs_f64(), cpu: cpu / (lines / 1e6) }
    }
}
