//! What may be done to a container in which state, and whether it starts by itself: decisions only.

use std::time::Duration;

use shim::protocol::RestartPolicy;
use shim::restart::Restarts;

use super::record::Record;
use super::state::State;
use crate::error::{Error, Result};

const SIGKILL: i32 = 9;

/// Whether a container that does not run is started when an engine opens.
pub(super) fn starts_at_open(record: &Record) -> bool {
    if !record.started_before {
        return false;
    }
    let failed = record.state.ended().is_some_and(|ended| ended.code != 0);
    let retries = record.host.restart_policy.maximum_retry_count;
    match record.host.restart_policy.name.as_str() {
        "always" => true,
        "unless-stopped" => !record.manually_stopped,
        "on-failure" => failed && (retries == 0 || i64::from(record.restart_count) < retries),
        _ => false,
    }
}

/// When a container comes back whose shim was killed, which can decide that no more.
pub(super) fn comes_back(record: &Record) -> Option<Duration> {
    const LONGEST: Duration = Duration::from_secs(60);
    let State::Exited(ended) = &record.state else { return None };
    let mut restarts = Restarts::new(restart_policy(&record.host.restart_policy), record.restart_count);
    let first = restarts.decide(ended.code, Duration::ZERO, record.manually_stopped)?;
    // As the shim would wait if none of the restarts before was a good one.
    Some(first.saturating_mul(1 << record.restart_count.min(16)).min(LONGEST))
}

/// Whether a start is due: an error when it cannot be, `NotModified` when there is nothing to do.
pub(super) fn admit_start(record: &Record) -> Result<()> {
    match &record.state {
        State::Running(run) if run.paused => {
            Err(Error::conflict("cannot start a paused container, try unpause instead"))
        }
        State::Running(_) | State::Restarting { .. } => {
            Err(Error::not_modified(format!("container {} is already running", record.id)))
        }
        State::Removing { .. } | State::Dead { .. } => {
            Err(Error::conflict("container is marked for removal and cannot be started"))
        }
        State::Created { .. } | State::Exited(_) => Ok(()),
    }
}

pub(super) fn admit_stop(record: &Record) -> Result<()> {
    if record.state.is_running() {
        return Ok(());
    }
    Err(Error::not_modified(format!("container {} is already stopped", record.id)))
}

/// For what needs a process: kill, exec, top, resize. `Restarting` has none just now.
pub(super) fn admit_process(record: &Record) -> Result<()> {
    match &record.state {
        State::Running(_) => Ok(()),
        State::Restarting { .. } => Err(Error::conflict(format!(
            "Container {} is restarting, wait until the container is running",
            record.id
        ))),
        _ => Err(Error::conflict(format!("container {} is not running", record.id))),
    }
}

pub(super) fn admit_kill(record: &Record) -> Result<()> {
    if record.state.is_running() {
        return Ok(());
    }
    Err(Error::conflict(format!(
        "cannot kill container: {}: container {} is not running",
        record.name, record.id
    )))
}

pub(super) fn admit_pause(record: &Record) -> Result<()> {
    admit_process(record)?;
    if record.state.is_paused() {
        return Err(Error::conflict(format!("Container {} is already paused", record.id)));
    }
    Ok(())
}

pub(super) fn admit_unpause(record: &Record) -> Result<()> {
    if record.state.is_paused() {
        return Ok(());
    }
    Err(Error::system(format!("Container {} is not paused", record.id)))
}

/// An exec needs a process that is not frozen.
pub(crate) fn admit_exec(record: &Record) -> Result<()> {
    admit_process(record)?;
    if record.state.is_paused() {
        return Err(Error::conflict(format!(
            "Container {} is paused, unpause the container before exec",
            record.name
        )));
    }
    Ok(())
}

pub(super) fn admit_attach(record: &Record) -> Result<()> {
    match &record.state {
        State::Running(run) if run.paused => Err(Error::conflict(format!(
            "container {} is paused, unpause the container before attach",
            record.name
        ))),
        State::Restarting { .. } => Err(Error::conflict(format!(
            "container {} is restarting, wait until the container is running",
            record.id
        ))),
        State::Removing { .. } | State::Dead { .. } => {
            Err(Error::conflict(format!("container {} is marked for removal", record.id)))
        }
        _ => Ok(()),
    }
}

/// What stands between a container and its removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Removal {
    Now,
    /// It runs, and force was asked for.
    KillFirst,
}

pub(super) fn admit_remove(record: &Record, wanted: &str, force: bool) -> Result<Removal> {
    let refuse = |why: &str| Err(Error::conflict(format!("cannot remove container {wanted:?}: {why}")));
    match &record.state {
        State::Removing { .. } => {
            Err(Error::conflict(format!("removal of container {} is already in progress", record.name)))
        }
        State::Running(_) | State::Restarting { .. } if force => Ok(Removal::KillFirst),
        State::Running(run) if run.paused => refuse("container is paused and must be unpaused first"),
        State::Running(_) => {
            refuse("container is running: stop the container before removing or force remove")
        }
        State::Restarting { .. } => {
            refuse("container is restarting: stop the container before removing or force remove")
        }
        State::Created { .. } | State::Exited(_) | State::Dead { .. } => Ok(Removal::Now),
    }
}

/// Whether a signal by hand also ends the restart policy: when it is what stops this container anyway.
pub(super) fn ends_policy(signal: i32, configured: Option<i32>) -> bool {
    signal == SIGKILL || configured.is_none_or(|stop| stop == signal)
}

/// The API's policy as the shim applies it. Checked at create, so an unknown word cannot arrive here.
pub(super) fn restart_policy(policy: &api::container::RestartPolicy) -> RestartPolicy {
    match policy.name.as_str() {
        "always" => RestartPolicy::Always,
        "unless-stopped" => RestartPolicy::UnlessStopped,
        "on-failure" => {
            RestartPolicy::OnFailure { max_retries: u32::try_from(policy.maximum_retry_count).unwrap_or(0) }
        }
        _ => RestartPolicy::No,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::record::tests::{record, running};
    use crate::container::state::{Ended, Run};
    use crate::error::ErrorKind;

    fn ended(code: i32) -> Ended {
        Run::starting("first".into(), false, &State::Created { failure: None })
            .lost(code, "2026-01-01T00:00:05Z".into())
    }

    #[test]
    fn each_state_refuses_in_its_words() {
        let mut record = running();
        assert_eq!(admit_start(&record).unwrap_err().kind(), ErrorKind::NotModified);
        assert!(
            admit_remove(&record, "web", false)
                .unwrap_err()
                .message()
                .ends_with("container is running: stop the container before removing or force remove")
        );
        assert_eq!(admit_remove(&record, "web", true).unwrap(), Removal::KillFirst);
        record.state.run_mut().unwrap().paused = true;
        assert_eq!(
            admit_start(&record).unwrap_err().message(),
            "cannot start a paused container, try unpause instead"
        );
        assert!(
            admit_exec(&record)
                .unwrap_err()
                .message()
                .contains("is paused, unpause the container before exec")
        );
        assert!(admit_pause(&record).unwrap_err().message().ends_with("is already paused"));
        record.state = State::Removing { ended: None };
        assert!(
            admit_remove(&record, "web", true).unwrap_err().message().ends_with("is already in progress")
        );
    }

    #[test]
    fn a_stop_signal_ends_the_policy() {
        assert!(ends_policy(9, Some(15)));
        assert!(ends_policy(10, None));
        assert!(ends_policy(3, Some(3)));
        assert!(!ends_policy(1, Some(15)));
    }

    #[test]
    fn policies_at_open() {
        let mut record = record("web");
        record.started_before = true;
        record.state = State::Exited(ended(1));
        let mut starts = |name: &str, retries, count, stopped| {
            record.host.restart_policy =
                api::container::RestartPolicy { name: name.into(), maximum_retry_count: retries };
            record.restart_count = count;
            record.manually_stopped = stopped;
            starts_at_open(&record)
        };
        assert!(starts("always", 0, 0, true));
        assert!(!starts("unless-stopped", 0, 0, true));
        assert!(starts("unless-stopped", 0, 0, false));
        assert!(starts("on-failure", 3, 2, true));
        assert!(!starts("on-failure", 3, 3, false));
        assert!(!starts("no", 0, 0, false));
        record.started_before = false;
        record.host.restart_policy.name = "always".into();
        assert!(!starts_at_open(&record));
    }

    #[test]
    fn a_killed_shims_container_comes_back_ever_more_slowly() {
        let mut record = record("web");
        record.state = State::Exited(ended(137));
        let mut delay = |name: &str, retries, count, stopped| {
            record.host.restart_policy =
                api::container::RestartPolicy { name: name.into(), maximum_retry_count: retries };
            record.restart_count = count;
            record.manually_stopped = stopped;
            comes_back(&record).map(|delay| delay.as_millis())
        };
        assert_eq!(
            [0, 1, 5, 30].map(|count| delay("always", 0, count, false).unwrap()),
            [100, 200, 3200, 60_000]
        );
        assert_eq!(delay("on-failure", 2, 1, false), Some(200));
        assert_eq!(delay("on-failure", 2, 2, false), None);
        assert_eq!(delay("no", 0, 0, false), None);
        // Somebody was stopping it.
        assert_eq!(delay("always", 0, 0, true), None);
        record.state = State::Created { failure: None };
        assert_eq!(comes_back(&record), None);
    }
}
