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
}

#[derive(Debug, Clone, Copy)]
struct Printed {
    /// In MB/s.
    rate: f64,
    /// In milliseconds for a million lines.
    cpu: f64,
}

impl Side {
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
