//! Whether a container that ended comes back, and when: Docker's rules, as a pure decision.
//!
//! ```text
//!   exit ─▶ asked to stop? ─yes─▶ stays down
//!              │no
//!              ▼
//!   ended to be started again? ─yes─▶ yes, with the same delays
//!              │no
//!              ▼
//!   policy says no ─▶ stays down          always, unless-stopped ─▶ yes
//!                                         on-failure ─▶ code ≠ 0 and count < max (0: no limit)
//!   delay: 100 ms, doubled at each restart, at most 60 s; 100 ms again once it ran for 10 s
//! ```

use std::time::Duration;

use crate::protocol::RestartPolicy;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(60);
/// A run of this length counts as a success and resets the delay.
const GOOD_RUN: Duration = Duration::from_secs(10);

/// How often and how eagerly this container was restarted.
#[derive(Debug)]
pub struct Restarts {
    pub policy: RestartPolicy,
    pub count: u32,
    delay: Duration,
    demanded: bool,
}

impl Restarts {
    pub fn new(policy: RestartPolicy, count: u32) -> Restarts {
        Restarts { policy, count, delay: Duration::ZERO, demanded: false }
    }

    /// The process is about to be ended so that it starts again (it was unhealthy), whatever the policy says.
    pub fn demand(&mut self) {
        self.demanded = true;
    }

    /// The process ended. `Some`: bring it back after that time; it is counted already.
    pub fn decide(&mut self, code: i32, ran: Duration, stopped: bool) -> Option<Duration> {
        let demanded = std::mem::take(&mut self.demanded);
        let wanted = !stopped
            && match self.policy {
                _ if demanded => true,
                RestartPolicy::No => false,
                RestartPolicy::Always | RestartPolicy::UnlessStopped => true,
                RestartPolicy::OnFailure { max_retries } => {
                    code != 0 && (max_retries == 0 || self.count < max_retries)
                }
            };
        if !wanted {
            return None;
        }
        if ran >= GOOD_RUN {
            self.delay = Duration::ZERO;
        }
        self.delay = if self.delay.is_zero() { FIRST } else { (self.delay * 2).min(LONGEST) };
        self.count += 1;
        Some(self.delay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_secs(1);

    fn delays(policy: RestartPolicy, exits: &[(i32, Duration)]) -> Vec<Option<u128>> {
        let mut restarts = Restarts::new(policy, 0);
        exits
            .iter()
            .map(|(code, ran)| restarts.decide(*code, *ran, false).map(|delay| delay.as_millis()))
            .collect()
    }

    #[test]
    fn doubles_to_a_minute_and_starts_over_after_a_good_run() {
        let mut exits = vec![(0, SHORT); 12];
        exits.push((0, GOOD_RUN));
        exits.push((0, SHORT));
        let expected =
            [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 51_200, 60_000, 60_000, 100, 200];
        assert_eq!(delays(RestartPolicy::Always, &exits), expected.map(Some));
    }

    #[test]
    fn on_failure_counts() {
        let policy = RestartPolicy::OnFailure { max_retries: 2 };
        assert_eq!(delays(policy, &[(1, SHORT), (0, SHORT)]), [Some(100), None]);
        assert_eq!(delays(policy, &[(1, SHORT), (1, SHORT), (1, SHORT)]), [Some(100), Some(200), None]);
        let unlimited = RestartPolicy::OnFailure { max_retries: 0 };
        assert!(delays(unlimited, &[(1, SHORT); 100]).iter().all(Option::is_some));
    }

    #[test]
    fn a_demand_counts_once_and_not_against_a_stop() {
        let mut restarts = Restarts::new(RestartPolicy::No, 0);
        restarts.demand();
        assert_eq!(restarts.decide(143, SHORT, false), Some(FIRST));
        assert_eq!(restarts.decide(143, SHORT, false), None);
        restarts.demand();
        assert_eq!(restarts.decide(143, SHORT, true), None);
    }

    #[test]
    fn stays_down_when_told() {
        for policy in
            [RestartPolicy::Always, RestartPolicy::UnlessStopped, RestartPolicy::OnFailure { max_retries: 0 }]
        {
            assert_eq!(Restarts::new(policy, 0).decide(137, SHORT, true), None);
        }
        assert_eq!(Restarts::new(RestartPolicy::No, 0).decide(1, SHORT, false), None);
    }
}
