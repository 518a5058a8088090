//! Docker's health states, as a machine without a clock or a process of its own.
//!
//! ```text
//!             success                    failures in a row = retries
//!  starting ───────────▶ healthy ◀───────────────────────────────▶ unhealthy
//!     │                              one success                       ▲
//!     └── failures in a row = retries, those in the start period not counted
//! ```
//!
//! A probe starts one interval after the last one ended: the start interval while starting and inside the start
//! period, the plain interval otherwise. While the container is paused no probe runs, and whoever asks is told
//! `unhealthy`, as Docker says.

use std::time::Duration;

use crate::protocol::{Ask, Health, HealthStatus, HttpAsk, OnUnhealthy};

/// Output kept of one probe; what Docker keeps.
pub const MAX_OUTPUT: usize = 4096;

/// How healthy a container is, by the results of its checks so far.
#[derive(Debug)]
pub struct Monitor {
    pub status: HealthStatus,
    pub failing_streak: u32,
    check: Health,
}

impl Monitor {
    pub fn new(check: Health) -> Monitor {
        Monitor { status: HealthStatus::Starting, failing_streak: 0, check }
    }

    pub fn command(&self) -> &[String] {
        &self.check.command
    }

    pub fn ask(&self) -> Option<&Ask> {
        self.check.ask.as_ref()
    }

    /// What to do now: the last probe was the failure that made it unhealthy.
    pub fn action(&self) -> OnUnhealthy {
        match self.failing_streak == self.check.retries.max(1) {
            true => self.check.on_unhealthy,
            false => OnUnhealthy::Nothing,
        }
    }

    pub fn timeout(&self) -> Duration {
        Duration::from_nanos(self.check.timeout)
    }

    /// The process was started (again).
    pub fn restart(&mut self) {
        self.status = HealthStatus::Starting;
        self.failing_streak = 0;
    }

    /// The monitor stops: paused, or ended.
    pub fn suspend(&mut self) {
        self.status = HealthStatus::Unhealthy;
    }

    /// How long to wait for the next probe, `running` after the start of the process.
    pub fn wait(&self, running: Duration) -> Duration {
        let starting = self.status == HealthStatus::Starting && running < self.start_period();
        Duration::from_nanos(if starting { self.check.start_interval } else { self.check.interval })
    }

    /// A probe that began `running` after the start of the process has ended.
    pub fn probed(&mut self, exit_code: i32, running: Duration) {
        if exit_code == 0 {
            self.failing_streak = 0;
            self.status = HealthStatus::Healthy;
            return;
        }
        if self.status == HealthStatus::Starting && running < self.start_period() {
            return;
        }
        self.failing_streak += 1;
        if self.failing_streak >= self.check.retries.max(1) {
            self.status = HealthStatus::Unhealthy;
        }
    }

    fn start_period(&self) -> Duration {
        Duration::from_nanos(self.check.start_period)
    }
}

/// The question of an HTTP probe. Version 1.0: nothing is left of the connection after the answer.
pub fn http_request(ask: &HttpAsk) -> Vec<u8> {
    let HttpAsk { host, path } = ask;
    format!("GET {path} HTTP/1.0\r\nHost: {host}\r\nUser-Agent: Wharf-Health\r\nAccept: */*\r\n\r\n")
        .into_bytes()
}

/// The exit code and the output that an answer stands for, as soon as its first line is there: 2xx and 3xx are well.
/// `over`: nothing more will come.
pub fn http_verdict(answer: &[u8], over: bool) -> Option<(i32, String)> {
    let end = answer.iter().position(|byte| *byte == b'\n');
    if end.is_none() && !over && answer.len() < MAX_OUTPUT {
        return None;
    }
    let line = String::from_utf8_lossy(&answer[..end.unwrap_or(answer.len())]);
    let line: String = line.trim_end().chars().take(200).collect();
    let mut words = line.split(' ');
    let spoken = words.next().is_some_and(|word| word.starts_with("HTTP/"));
    let code = words.next().and_then(|word| word.parse::<u16>().ok()).filter(|_| spoken);
    Some(match code {
        Some(200..=399) => (0, line),
        Some(_) => (1, line),
        None if line.is_empty() => (1, "the connection ended without an answer".into()),
        None => (1, format!("not an HTTP answer: {line:?}")),
    })
}

/// What a probe wrote, cut as Docker cuts it: the rest becomes three dots.
#[derive(Debug, Default)]
pub struct Output {
    bytes: Vec<u8>,
    cut: bool,
}

impl Output {
    pub fn push(&mut self, bytes: &[u8]) {
        let room = MAX_OUTPUT - self.bytes.len();
        self.cut |= bytes.len() > room;
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    pub fn text(&self) -> String {
        let mut text = String::from_utf8_lossy(&self.bytes).into_owned();
        if self.cut {
            text.push_str("...");
        }
        text
    }
}

/// The text of a probe that took too long.
pub fn timeout_text(timeout: Duration, output: &Output) -> String {
    let nanoseconds = i64::try_from(timeout.as_nanos()).unwrap_or(i64::MAX);
    let (timeout, output) = (moment::duration::format(nanoseconds), output.text());
    match output.is_empty() {
        true => format!("Health check exceeded timeout ({timeout})"),
        false => format!("Health check exceeded timeout ({timeout}): {output}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use HealthStatus::{Healthy, Starting, Unhealthy};

    const SECOND: u64 = 1_000_000_000;

    fn monitor(start_period: u64) -> Monitor {
        Monitor::new(Health {
            command: Vec::new(),
            interval: 30 * SECOND,
            timeout: 30 * SECOND,
            start_period: start_period * SECOND,
            start_interval: 5 * SECOND,
            retries: 3,
            ask: None,
            on_unhealthy: OnUnhealthy::Restart,
        })
    }

    fn run(monitor: &mut Monitor, probes: &[(i32, u64)]) -> Vec<(HealthStatus, u32)> {
        let mut states = Vec::new();
        for (code, seconds) in probes {
            monitor.probed(*code, Duration::from_secs(*seconds));
            states.push((monitor.status, monitor.failing_streak));
        }
        states
    }

    #[test]
    fn three_failures_make_it_unhealthy_and_one_success_well() {
        let states = run(&mut monitor(0), &[(1, 1), (1, 2), (1, 3), (1, 4), (0, 5), (2, 6)]);
        let expected =
            [(Starting, 1), (Starting, 2), (Unhealthy, 3), (Unhealthy, 4), (Healthy, 0), (Healthy, 1)];
        assert_eq!(states, expected);
    }

    #[test]
    fn action_is_taken_once_for_each_decline() {
        let mut monitor = monitor(0);
        let mut actions = |codes: &[i32]| -> Vec<OnUnhealthy> {
            let probed = codes.iter().map(|code| {
                monitor.probed(*code, Duration::from_secs(1));
                monitor.action()
            });
            probed.collect()
        };
        use OnUnhealthy::{Nothing, Restart};
        assert_eq!(actions(&[1, 1, 1, 1]), [Nothing, Nothing, Restart, Nothing]);
        assert_eq!(actions(&[0, 1, 1, 1]), [Nothing, Nothing, Nothing, Restart]);
    }

    #[test]
    fn the_first_line_of_an_answer_decides() {
        assert_eq!(http_verdict(b"HTTP/1.1 20", false), None);
        assert_eq!(
            http_verdict(b"HTTP/1.1 204 No Content\r\n", false),
            Some((0, "HTTP/1.1 204 No Content".into()))
        );
        assert_eq!(http_verdict(b"HTTP/1.0 302\n", false).unwrap().0, 0);
        assert_eq!(
            http_verdict(b"HTTP/1.1 503 Busy\r\nX: y\r\n", true),
            Some((1, "HTTP/1.1 503 Busy".into()))
        );
        assert_eq!(http_verdict(b"", true).unwrap().1, "the connection ended without an answer");
        assert_eq!(http_verdict(b"SSH-2.0-x\r\n", true).unwrap().1, "not an HTTP answer: \"SSH-2.0-x\"");
        assert_eq!(http_verdict(&[b'x'; MAX_OUTPUT], false).unwrap().0, 1);
        let ask = HttpAsk { host: "localhost:80".into(), path: "/ready?x=1".into() };
        assert!(http_request(&ask).starts_with(b"GET /ready?x=1 HTTP/1.0\r\nHost: localhost:80\r\n"));
    }

    #[test]
    fn failures_in_the_start_period_do_not_count_until_a_success() {
        let states = run(&mut monitor(10), &[(1, 1), (1, 5), (1, 10), (0, 11), (1, 12)]);
        assert_eq!(states, [(Starting, 0), (Starting, 0), (Starting, 1), (Healthy, 0), (Healthy, 1)]);
        let states = run(&mut monitor(10), &[(0, 1), (1, 2), (1, 3), (1, 4)]);
        assert_eq!(states.last(), Some(&(Unhealthy, 3)));
    }

    #[test]
    fn the_interval_is_short_while_starting() {
        let mut monitor = monitor(10);
        assert_eq!(monitor.wait(Duration::from_secs(9)), Duration::from_secs(5));
        assert_eq!(monitor.wait(Duration::from_secs(10)), Duration::from_secs(30));
        monitor.probed(0, Duration::from_secs(1));
        assert_eq!(monitor.wait(Duration::from_secs(1)), Duration::from_secs(30));
    }

    #[test]
    fn output_is_cut_with_dots() {
        let mut output = Output::default();
        output.push(&[b'x'; MAX_OUTPUT]);
        assert_eq!(output.text().len(), MAX_OUTPUT);
        output.push(b"y");
        assert_eq!(output.text().len(), MAX_OUTPUT + 3);
    }

    #[test]
    fn a_timeout_is_told_with_what_was_said_until_then() {
        let mut output = Output::default();
        let timeout = Duration::from_millis(1500);
        assert_eq!(timeout_text(timeout, &output), "Health check exceeded timeout (1.5s)");
        output.push(b"still at it");
        assert_eq!(timeout_text(timeout, &output), "Health check exceeded timeout (1.5s): still at it");
    }
}
