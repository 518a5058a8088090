//! What follows from what a shim reports: the record as it is from then on, and what its owner has to do.

use shim::protocol::{Event, Exit, Happening, Phase, Snapshot};

use super::record::Record;
use super::state::{Run, State};

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
            // One that is killed is thawed for that alone, and nobody was asked to.
            let was_paused = std::mem::take(&mut run.paused);
            was_paused.then(|| announce("unpause", Vec::new())).into_iter().collect()
        }
        Happening::Killed { signal } => {
            run.paused &= *signal != linux::signal::SIGKILL;
            vec![announce("kill", vec![("signal", signal.to_string())])]
        }
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
        Happening::HealthProbed { status, failing_streak, probe, code } => {
            // Shims of earlier builds tell only the result, which says nothing of a process where it is negative.
            let code = code.or(Some(probe.exit_code).filter(|result| *result >= 0));
            let ended = run.probe.take().zip(code).map(|(exec, code)| {
                announce("exec_die", vec![("execID", exec), ("exitCode", code.to_string())])
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
    let waited = matches!(&record.state, State::Restarting { ended, .. } if ended.is(exit));
    let is_known = waited && restarts.is_none();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::record::tests::running;

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
    fn who_is_killed_while_paused_is_not_told_to_be_unpaused() {
        let told = |signal| {
            let mut record = running();
            happened(&mut record, &event(2, Happening::Paused));
            happened(&mut record, &event(3, Happening::Killed { signal }));
            let resumed = happened(&mut record, &event(4, Happening::Resumed));
            assert!(!record.state.is_paused());
            actions(&resumed).concat()
        };
        assert_eq!((told(9).as_str(), told(15).as_str()), ("", "unpause"));
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
        // The end that it waits after is news all the same.
        let waits = Happening::Exited { exit: exit(3), restarts: true, delay_ms: 0, restart_count: Some(5) };
        assert_eq!(actions(&happened(&mut record, &event(5000, waits))), ["(left)", "die"]);
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
        let probed = |exit_code, code| {
            let probe = shim::protocol::Probe { exit_code, ..probe.clone() };
            Happening::HealthProbed { status, failing_streak: 0, probe, code }
        };
        let ended = happened(&mut record, &event(3, probed(0, Some(0))));
        assert_eq!(actions(&ended), ["exec_die", "health_status: healthy"]);
        let ends = [(-1, None, &[][..]), (-1, Some(137), &["exec_die"]), (2, None, &["exec_die"])];
        for ((exit_code, code, told), sequence) in ends.into_iter().zip((4..).step_by(2)) {
            happened(&mut record, &event(sequence, Happening::HealthStarted { result: sequence }));
            let ended = happened(&mut record, &event(sequence + 1, probed(exit_code, code)));
            assert_eq!(actions(&ended), told);
        }
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
