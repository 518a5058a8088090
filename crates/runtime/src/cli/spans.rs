//! `--spans`: where the time of a command went.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use linux::spans::{self, Span};
use runtime::{Error, Result};

/// Where the program that is executed again finds what it took until then, in nanoseconds.
const EARLIER: &str = "_WHARF_RUNTIME_SPANS";

/// A note for the program that is executed again. `executed` is when the first one was.
pub(super) fn note(executed: Duration) -> (&'static str, String) {
    (EARLIER, format!("{} {}", executed.as_nanos(), spans::processor_time().as_nanos()))
}

pub(super) fn record() -> Result<()> {
    spans::record().map_err(Error::other)?;
    let note = std::env::var(EARLIER).unwrap_or_default();
    let mut ends = note.split(' ').filter_map(|end| end.parse().ok()).map(Duration::from_nanos);
    match (ends.next(), ends.next()) {
        (Some(executed), Some(sealed)) => {
            spans::mark_earlier("program executed", executed);
            spans::mark_earlier("program sealed", sealed);
            spans::mark("program executed again");
        }
        _ => spans::mark("program executed"),
    }
    Ok(())
}

/// A table on standard error, if there is anything to tell.
pub(super) fn tell() {
    let spans = spans::marks();
    if !spans.is_empty() {
        let _nobody_reads = std::io::stderr().write_all(table(&spans, linux::process::id()).as_bytes());
    }
}

/// A line for each piece of work: when it was done, how long it took, by whom. What a process does first began when the
/// one that made it had last done something.
fn table(spans: &[Span], own: linux::process::Pid) -> String {
    let mut text = format!("{:>8} {:>8}  {:<9}  what\n", "end/µs", "took/µs", "who");
    let mut last = Duration::ZERO;
    let mut ends: BTreeMap<linux::process::Pid, Duration> = BTreeMap::new();
    for span in spans {
        let begin = ends.insert(span.pid, span.end).unwrap_or(last);
        let took = span.end.saturating_sub(begin).as_micros();
        let who = if span.pid == own { "runtime" } else { "container" };
        text.push_str(&format!("{:>8} {took:>8}  {who:<9}  {}\n", span.end.as_micros(), span.name));
        last = span.end;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_born_begins_where_its_parent_was() {
        let span = |name, pid, end| Span { name, pid, end: Duration::from_micros(end) };
        let spans = [span("plan", 7, 30), span("born", 1, 50), span("clone", 7, 60), span("mounts", 1, 90)];
        let shown = table(&spans, 7);
        let lines: Vec<Vec<&str>> = shown.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(
            lines[1..],
            [
                vec!["30", "30", "runtime", "plan"],
                vec!["50", "20", "container", "born"],
                vec!["60", "30", "runtime", "clone"],
                vec!["90", "40", "container", "mounts"],
            ]
        );
    }
}
