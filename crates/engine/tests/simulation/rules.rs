//! Docker's rules of a restart, written down a second time: beside what the shim decides, which must come to the same.

use std::time::Duration;

use shim::protocol::RestartPolicy;

/// What Docker's documentation says of a restart.
pub(crate) struct Rules {
    pub(crate) policy: RestartPolicy,
    pub(crate) count: u32,
    pub(crate) delay: Option<Duration>,
    pub(crate) asked_to_end: bool,
    pub(crate) sent_back: bool,
}

impl Rules {
    pub(crate) fn after(&mut self, code: i32, ran: Duration) -> Option<Duration> {
        let comes_back = match self.policy {
            RestartPolicy::No => false,
            RestartPolicy::Always | RestartPolicy::UnlessStopped => true,
            RestartPolicy::OnFailure { max_retries: 0 } => code != 0,
            RestartPolicy::OnFailure { max_retries } => code != 0 && self.count < max_retries,
        };
        let sent_back = std::mem::take(&mut self.sent_back);
        if self.asked_to_end || !(comes_back || sent_back) {
            return None;
        }
        let long = ran >= Duration::from_secs(10);
        let delay = match self.delay.filter(|_| !long) {
            None => Duration::from_millis(100),
            Some(before) => (before * 2).min(Duration::from_secs(60)),
        };
        self.count += 1;
        self.delay = Some(delay);
        Some(delay)
    }
}
