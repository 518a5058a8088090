//! What may be done to a container in which state, and what follows from what its shim reports: decisions only.

use std::time::Duration;

use shim::protocol::{Event, Exit, Happening, Phase, RestartPolicy, Snapshot};
use shim::restart::Restarts;

use super::record::Record;
use super::state::{Run, State};
use crate::error::{Error, Result};

const SIGKILL: i32 = 9;

/// What the owner has to do after an event was taken into the record.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Consequence {
    /// Tell the listeners.
    Announce {
        action: String,
        extra: Vec<(&'static str, String)>,
    },
    /// Tell the listeners that its networks and volumes come, as for any start.
    Arrived,
    /// Tell them that those go.
    Left,
    /// The run is over for good: give back its networks and volumes.
    Leave,
    /// Remember its end, let the shim go.
    Settle,
    /// Tell the administrator.
    Warn {
        message: String,
    },
    ExecStarted {
        exec: String,
        pid: i32,
    },
    ExecEnded {
        exec: String,
        code: i32,
    },
}

fn announce(action: impl Into<String>, extra: Vec<(&'static str, String)>) -> Consequence {
    Consequence::Announce { action: action.into(), extra }
}

/// Takes an event into the record. Events of another run and ones already contained change nothing.
pub(super) fn happened(record: &mut Record, event: &Event) -> Vec<Consequence> {
    let Some(run) = record.state.run_mut() else { return Vec::new() };
    if run.incarnation != event.incarnation || event.sequence <= run.sequence {
        return Vec::new();
    }
    run.sequence = event.sequence;
    match &event.what {
        Happening::Started { pid, restart_count } => {
            run.pid = *pid;
            run.started_at.clone_from(&event.time);
            let run = run.clone();
            started(record, run, *restart_count)
        }
        Happening::Exited { exit, restarts, restart_count, .. } => {
            let run = run.clone();
            let restarts = restarts.then(|| restart_count.unwrap_or(record.restart_count));
            exited(record, run, exit, restarts)
        }
        Happening::OutOfMemory => {
            run.oom_killed = true;
            vec![announce("oom", Vec::new())]
        }
        Happening::Paused => {
            run.paused = true;
            if let Some(health) = &mut run.health {
                // Nobody looks any more: until somebody has, Docker says so.
                health.status = super::state::HealthWord::Unhealthy;
            }
            vec![announce("pause", Vec::new())]
        }
        Happening::Resumed => {
            run.paused = false;
            vec![announce("unpause", Vec::new())]
        }
        Happening::Killed { signal } => vec![announce("kill", vec![("signal", signal.to_string())])],
        Happening::Detached { exec: None } => vec![announce("detach", Vec::new())],
        Happening::Detached { exec: Some(exec) } => {
            vec![announce("exec_detach", vec![("execID", exec.clone())])]
        }
        Happening::ExecStarted { exec, pid } => {
            vec![Consequence::ExecStarted { exec: exec.clone(), pid: *pid }]
        }
        Happening::ExecExited { exec, code } => vec![
            announce("exec_die", vec![("execID", exec.clone()), ("exitCode", code.to_string())]),
            Consequence::ExecEnded { exec: exec.clone(), code: *code },
        ],
        Happening::LogLost { records, bytes, error } => vec![Consequence::Warn {
            message: format!(
                "its log cannot be written, {records} records of {bytes} bytes are lost: {error}"
            ),
        }],
        Happening::HealthStarted { result } => {
            let exec = probe_id(&run.incarnation, *result);
            run.probe = Some(exec.clone());
            let command = super::health::words(&record.config);
            ["exec_create", "exec_start"]
                .map(|action| announce(format!("{action}: {command}"), vec![("execID", exec.clone())]))
                .into()
        }
        Happening::HealthProbed { status, failing_streak, probe } => {
            let ended = run.probe.take().map(|exec| {
                announce("exec_die", vec![("execID", exec), ("exitCode", probe.exit_code.to_string())])
            });
            let mut consequences: Vec<_> = ended.into_iter().collect();
            if let Some(health) = &mut run.health
                && health.probed(*status, *failing_streak, probe.clone())
            {
                let status = health.status.as_str();
                consequences.push(announce(format!("health_status: {status}"), Vec::new()));
            }
            consequences
        }
    }
}

/// The process runs, for the first time or once more.
fn started(record: &mut Record, mut run: Run, restart_count: u32) -> Vec<Consequence> {
    run.paused = false;
    if let Some(health) = &mut run.health {
        health.begin_again();
    }
    let mut consequences = Vec::new();
    if let State::Restarting { ended, .. } = &record.state {
        run.before = Some(ended.clone());
        consequences.push(Consequence::Arrived);
    }
    record.state = State::Running(run);
    record.restart_count = restart_count;
    consequences.push(announce("start", Vec::new()));
    consequences
}

/// The process has ended. `restarts`: it will come back, for the how manieth time.
fn exited(record: &mut Record, run: Run, exit: &Exit, restarts: Option<u32>) -> Vec<Consequence> {
    let ended = run.ended(exit);
    // Whoever stops a container that waits for its next start brings no other end.
    let is_known = matches!(&record.state, State::Restarting { ended, .. } if ended.is(exit));
    let tell = |consequence| (!is_known).then_some(consequence);
    let (left, die) = (tell(Consequence::Left), tell(announce("die", super::told::die_attributes(&ended))));
    let (leave, settle) = match restarts {
        Some(count) => {
            record.state = State::Restarting { run, ended };
            record.restart_count = count;
            (None, None)
        }
        None => {
            record.state = State::Exited(ended);
            (Some(Consequence::Leave), Some(Consequence::Settle))
        }
    };
    [left, leave, die, settle].into_iter().flatten().collect()
}

/// The id of a health probe as an exec: the same for whoever hears of it.
fn probe_id(incarnation: &str, number: u64) -> String {
    let digest =
        oci::digest::Digest::sha256_of(format!("{incarnation} probe {number}").as_bytes()).to_string();
    digest.rsplit(':').next().unwrap_or_default().to_owned()
}

/// Takes in what a shim that was found says of its container now. Its events follow and tell the same again, but of a
/// long life the journal keeps only the newest.
pub(super) fn found(record: &mut Record, snapshot: &Snapshot) {
    let Some(run) = record.state.run_mut() else { return };
    match &snapshot.phase {
        Phase::Running { pid, started_at, paused } => {
            run.pid = *pid;
            run.started_at.clone_from(started_at);
            run.paused = *paused;
            record.state = State::Running(run.clone());
        }
        Phase::Restarting { exit } => {
            let ended = run.ended(exit);
            record.state = State::Restarting { run: run.clone(), ended };
        }
        // That event is the newest, and brings more with it than a state.
        Phase::Exited { .. } => return,
    }
    record.restart_count = snapshot.restart_count;
}

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
    use shim::protocol::Exit;

    use super::*;
    use crate::container::record::tests::record;
    use crate::container::state::{Ended, Run};
    use crate::error::ErrorKind;

    fn running() -> Record {
        let mut record = record("web");
        let run = Run::starting("first".into(), false, &record.state);
        record.state = State::Running(Run { pid: 7, sequence: 1, ..run });
        record
    }

    fn event(sequence: u64, what: Happening) -> Event {
        Event { incarnation: "first".into(), sequence, time: "2026-01-01T00:00:05Z".into(), what }
    }

    fn exit(code: i32) -> Exit {
        Exit {
            code,
            oom_killed: false,
            started_at: "2026-01-01T00:00:00Z".into(),
            finished_at: "2026-01-01T00:00:05Z".into(),
            error: None,
        }
    }

    fn ended(code: i32) -> Ended {
        Run::starting("first".into(), false, &State::Created { failure: None }).ended(&exit(code))
    }

    fn actions(consequences: &[Consequence]) -> Vec<&str> {
        consequences
            .iter()
            .map(|consequence| match consequence {
                Consequence::Announce { action, .. } => action.as_str(),
                Consequence::Arrived => "(arrived)",
                Consequence::Left => "(left)",
                Consequence::Leave => "(leave)",
                Consequence::Settle => "(settle)",
                Consequence::ExecStarted { .. } => "(exec started)",
                Consequence::ExecEnded { .. } => "(exec ended)",
                Consequence::Warn { .. } => "(warn)",
            })
            .collect()
    }

    #[test]
    fn an_event_counts_once() {
        let mut record = running();
        let killed = event(2, Happening::Killed { signal: 15 });
        assert_eq!(actions(&happened(&mut record, &killed)), ["kill"]);
        assert!(happened(&mut record, &killed).is_empty());
    }

    #[test]
    fn events_of_another_run_are_not_ours() {
        let mut record = running();
        let mut foreign = event(9, Happening::OutOfMemory);
        foreign.incarnation = "second".into();
        assert!(happened(&mut record, &foreign).is_empty());
        assert_eq!(record.state.run().unwrap().sequence, 1);
    }

    #[test]
    fn the_final_exit_is_settled() {
        let mut record = running();
        let last =
            event(2, Happening::Exited { exit: exit(3), restarts: false, delay_ms: 0, restart_count: None });
        let consequences = happened(&mut record, &last);
        assert_eq!(actions(&consequences), ["(left)", "(leave)", "die", "(settle)"]);
        let Consequence::Announce { extra, .. } = &consequences[2] else { panic!("die is announced") };
        assert_eq!(*extra, [("execDuration", "5".to_owned()), ("exitCode", "3".to_owned())]);
        assert_eq!(record.state.describe().exit_code, 3);
    }

    #[test]
    fn a_policy_brings_it_back_within_the_same_run() {
        let mut record = running();
        let died = event(
            2,
            Happening::Exited { exit: exit(1), restarts: true, delay_ms: 100, restart_count: Some(1) },
        );
        assert_eq!(actions(&happened(&mut record, &died)), ["(left)", "die"]);
        assert!(record.state.is_restarting());
        let again = event(3, Happening::Started { pid: 8, restart_count: 1 });
        assert_eq!(actions(&happened(&mut record, &again)), ["(arrived)", "start"]);
        let shown = record.state.describe();
        assert_eq!((shown.pid, record.restart_count), (8, 1));
        assert_eq!(shown.finished_at, "2026-01-01T00:00:05Z");
    }

    #[test]
    fn an_end_is_told_once_however_often_it_is_heard_of() {
        let mut record = running();
        let waits =
            Happening::Exited { exit: exit(1), restarts: true, delay_ms: 100, restart_count: Some(1) };
        assert_eq!(actions(&happened(&mut record, &event(2, waits))), ["(left)", "die"]);
        let stopped = Happening::Exited { exit: exit(1), restarts: false, delay_ms: 0, restart_count: None };
        assert_eq!(actions(&happened(&mut record, &event(3, stopped))), ["(leave)", "(settle)"]);
        assert_eq!(record.state.describe().exit_code, 1);
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
        happened(&mut record, &event(2, Happening::Paused));
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

    #[test]
    fn a_shim_that_is_found_knows_what_its_journal_has_forgotten() {
        let mut record = running();
        let mut snapshot = Snapshot {
            version: 1,
            container: record.id.to_string(),
            incarnation: "first".into(),
            shim_pid: 3,
            phase: Phase::Running { pid: 99, started_at: "2026-01-01T00:00:07Z".into(), paused: true },
            restart_count: 4,
            sequence: 5000,
            execs: Vec::new(),
            health: None,
            log_lost: 0,
        };
        found(&mut record, &snapshot);
        let shown = record.state.describe();
        assert_eq!((shown.pid, shown.paused, record.restart_count), (99, true, 4));
        assert_eq!(shown.started_at, "2026-01-01T00:00:07Z");
        snapshot.phase = Phase::Restarting { exit: exit(3) };
        found(&mut record, &snapshot);
        assert!(record.state.is_restarting());
    }

    #[test]
    fn a_probe_is_an_exec_to_those_who_listen() {
        let mut record = running();
        record.config.healthcheck = Some(api::container::HealthConfig {
            test: vec!["CMD-SHELL".into(), "test -e /well".into()],
            ..Default::default()
        });
        record.state.run_mut().unwrap().health = Some(crate::container::state::Health::starting());
        let begun = happened(&mut record, &event(2, Happening::HealthStarted { result: 1 }));
        let command = "/bin/sh -c test -e /well";
        assert_eq!(actions(&begun), [format!("exec_create: {command}"), format!("exec_start: {command}")]);
        let probe = shim::protocol::Probe {
            start: String::new(),
            end: String::new(),
            exit_code: 0,
            output: String::new(),
        };
        let status = shim::protocol::HealthStatus::Healthy;
        let probed = Happening::HealthProbed { status, failing_streak: 0, probe };
        let ended = happened(&mut record, &event(3, probed));
        assert_eq!(actions(&ended), ["exec_die", "health_status: healthy"]);
        let ids: Vec<&String> = begun
            .iter()
            .chain(&ended[..1])
            .map(|consequence| match consequence {
                Consequence::Announce { extra, .. } => &extra[0].1,
                other => panic!("{other:?}"),
            })
            .collect();
        assert!(ids.iter().all(|id| id.len() == 64 && *id == ids[0]), "{ids:?}");
    }

    #[test]
    fn a_lost_log_is_said() {
        let mut record = running();
        let lost = Happening::LogLost { records: 3, bytes: 99, error: "No space left on device".into() };
        let consequences = happened(&mut record, &event(2, lost));
        assert!(
            matches!(&consequences[..], [Consequence::Warn { message }] if message.contains("3 records")),
            "{consequences:?}"
        );
    }
}
