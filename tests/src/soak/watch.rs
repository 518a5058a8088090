//! Clients that look at a container's output for all of its life.

use std::path::PathBuf;
use std::process::Child;

use super::into_file;
use crate::{World, eventually};

/// `logs -f` or `attach`, by `wharf` or `docker`, in turn.
pub(super) struct Watcher {
    name: String,
    kind: &'static str,
    child: Child,
    output: PathBuf,
}

const KINDS: [(&str, &[&str]); 4] = [
    ("docker", &["logs", "-f"]),
    ("wharf", &["attach", "--no-stdin"]),
    ("docker", &["attach", "--no-stdin"]),
    ("wharf", &["logs", "-f"]),
];

impl Watcher {
    pub(super) fn start(world: &World, name: &str, number: usize) -> Watcher {
        let (program, words) = KINDS[number % KINDS.len()];
        let output = world.directory().join(format!("{name}.out"));
        let child = into_file(world.client(program, &[words, &[name]].concat()), &output);
        let watcher = Watcher { name: name.to_owned(), kind: words[0], child, output };
        eventually("the first line of a watcher", || (!watcher.lines().is_empty()).then_some(()));
        watcher
    }

    fn lines(&self) -> Vec<u64> {
        let text = std::fs::read_to_string(&self.output).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }

    /// The container has been stopped. The client ends with it, and has seen each line once: from the first on, or from
    /// where it came in. So has the log.
    pub(super) fn finish(mut self, world: &World) -> Vec<String> {
        let status = self.child.wait().expect("the watcher is our child");
        let mut wrong = Vec::new();
        let errors = std::fs::read_to_string(self.output.with_extension("err")).unwrap_or_default();
        // `attach` ends with its container's code, and what was stopped without grace was killed.
        let expected = if self.kind == "attach" { 137 } else { 0 };
        if status.code() != Some(expected) {
            wrong.push(format!("{} {}: {status}: {errors}", self.kind, self.name));
        }
        let logged: Vec<u64> = numbers(&world.wharf(&["logs", &self.name]).stdout);
        let seen = self.lines();
        if logged.is_empty() || !(1..).zip(&logged).all(|(expected, line)| expected == *line) {
            wrong.push(format!("the log of {} has a gap or says something twice: {logged:?}", self.name));
        }
        let first = if self.kind == "attach" { seen.first().copied().unwrap_or(1) } else { 1 };
        let all: Vec<u64> = (first..=logged.len() as u64).collect();
        if seen != all {
            wrong.push(format!("{} {} saw {seen:?}, the log has {}", self.kind, self.name, logged.len()));
        }
        wrong
    }
}

fn numbers(text: &str) -> Vec<u64> {
    text.lines().filter_map(|line| line.parse().ok()).collect()
}
