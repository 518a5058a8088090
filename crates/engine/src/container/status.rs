//! A container's state in words, as the list shows it: `Up 3 minutes (healthy)`.

use jiff::Timestamp;

use super::state::{HealthWord, State};
use crate::clock;

pub(super) fn words(state: &State, now: Timestamp) -> String {
    let since = |text: &str| {
        clock::parse(text).map(|time| ago(now.as_second() - time.as_second())).unwrap_or_default()
    };
    match state {
        State::Created { .. } => "Created".into(),
        State::Running(run) => {
            let up = format!("Up {}", since(&run.started_at));
            match (&run.health, run.paused) {
                (_, true) => format!("{up} (Paused)"),
                (Some(health), _) if health.status == HealthWord::Starting => {
                    format!("{up} (health: starting)")
                }
                (Some(health), _) => format!("{up} ({})", health.status.as_str()),
                (None, _) => up,
            }
        }
        State::Restarting { ended, .. } => {
            format!("Restarting ({}) {} ago", ended.code, since(&ended.finished_at))
        }
        State::Exited(ended) => format!("Exited ({}) {} ago", ended.code, since(&ended.finished_at)),
        State::Removing { .. } => "Removal In Progress".into(),
        State::Dead { .. } => "Dead".into(),
    }
}

/// Docker's words for a length of time.
pub(super) fn ago(seconds: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    let hours = (seconds + HOUR / 2) / HOUR;
    match seconds {
        ..1 => "Less than a second".into(),
        1 => "1 second".into(),
        2..MINUTE => format!("{seconds} seconds"),
        MINUTE..120 => "About a minute".into(),
        120..2700 | 2700..HOUR => format!("{} minutes", seconds / MINUTE),
        _ if hours == 1 => "About an hour".into(),
        _ if hours < 48 => format!("{hours} hours"),
        _ if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        _ if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        _ if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", seconds / DAY / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::state::{Ended, Health, Run};

    #[test]
    fn lengths_of_time() {
        for (seconds, words) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (61, "About a minute"),
            (3500, "58 minutes"),
            (3600, "About an hour"),
            (7200, "2 hours"),
            (60 * 3600, "2 days"),
            (15 * 86400, "2 weeks"),
            (90 * 86400, "3 months"),
            (800 * 86400, "2 years"),
        ] {
            assert_eq!(ago(seconds), words);
        }
    }

    #[test]
    fn states_have_their_words() {
        let now = "2026-01-01T00:10:00Z".parse().unwrap();
        let mut run = Run::starting("i".into(), true, &State::Created { failure: None });
        run.started_at = "2026-01-01T00:05:00Z".into();
        assert_eq!(words(&State::Running(run.clone()), now), "Up 5 minutes (health: starting)");
        run.health = Some(Health { status: HealthWord::Healthy, ..Health::starting() });
        assert_eq!(words(&State::Running(run.clone()), now), "Up 5 minutes (healthy)");
        run.paused = true;
        assert_eq!(words(&State::Running(run.clone()), now), "Up 5 minutes (Paused)");
        let ended = Ended { code: 3, ..run.lost(3, "2026-01-01T00:09:50Z".into()) };
        assert_eq!(words(&State::Exited(ended), now), "Exited (3) 10 seconds ago");
    }
}
