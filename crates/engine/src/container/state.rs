//! Where a container is in its life.
//!
//! ```text
//!            start            exit, policy says again
//!  Created ────────▶ Running ─────────────────────────▶ Restarting
//!     │                │  ▲ ◀──────────── started ──────────┘ │
//!     │           exit │  │ start                             │ stop
//!     │                ▼  │                                   │
//!     │              Exited ◀─────────────────────────────────┘
//!     │ remove         │ remove
//!     └──────────▶ Removing ──── could not finish ──▶ Dead ──── remove ──▶ Removing
//! ```
//!
//! A variant owns what only it can have: nothing that does not run has a process id. All functions here are pure;
//! the owner of the container performs what follows from them.

use serde::{Deserialize, Serialize};
use shim::protocol::{Exit, HealthStatus, Probe};

use super::refusals;
use crate::clock;

/// Probe results that inspect shows.
const PROBES: usize = 5;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// Never ran; `failure` says why the last attempt came to nothing.
    Created {
        failure: Option<Failure>,
    },
    Running(Run),
    /// Ended, and its shim brings it back after a pause.
    Restarting {
        run: Run,
        ended: Ended,
    },
    Exited(Ended),
    /// Being removed: an engine that finds this finishes it.
    Removing {
        ended: Option<Ended>,
    },
    /// Removal failed half-way.
    Dead {
        ended: Option<Ended>,
        reason: String,
    },
}

/// A start that did not lead to a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    /// 126, 127 or 128, as a shell would say it.
    pub code: i32,
    pub message: String,
}

/// One life of a container under one shim; restarts by policy go on within it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Run {
    /// Tells this run's events from those of another.
    pub incarnation: String,
    /// On the host; 0 while it is being started.
    pub pid: i32,
    pub started_at: String,
    pub paused: bool,
    /// The newest event of the shim that is contained in this.
    pub sequence: u64,
    pub health: Option<Health>,
    #[serde(default)]
    pub oom_killed: bool,
    /// The health probe that is under way, by its id as an exec.
    #[serde(default)]
    pub probe: Option<String>,
    /// How the run before this one ended: shown until this one has, and what is left if it never begins.
    #[serde(default)]
    pub before: Option<Ended>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Health {
    pub status: HealthWord,
    pub failing_streak: u32,
    pub log: Vec<ProbeResult>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum HealthWord {
    Starting,
    Healthy,
    Unhealthy,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProbeResult {
    pub start: String,
    pub end: String,
    pub exit_code: i32,
    pub output: String,
}

/// How the last run went out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ended {
    pub code: i32,
    /// Why it could not be started or restarted; empty after an ordinary exit.
    pub error: String,
    pub oom_killed: bool,
    pub started_at: String,
    pub finished_at: String,
    /// What the probes said last.
    #[serde(default)]
    pub health: Option<Health>,
}

impl Ended {
    /// Whether it is this end that is recorded. A restart that fails after it is no other one.
    pub(crate) fn is(&self, exit: &Exit) -> bool {
        self.finished_at == exit.finished_at && self.code == exit.code
    }
}

impl HealthWord {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            HealthWord::Starting => "starting",
            HealthWord::Healthy => "healthy",
            HealthWord::Unhealthy => "unhealthy",
        }
    }
}

impl From<HealthStatus> for HealthWord {
    fn from(status: HealthStatus) -> HealthWord {
        match status {
            HealthStatus::Starting => HealthWord::Starting,
            HealthStatus::Healthy => HealthWord::Healthy,
            HealthStatus::Unhealthy => HealthWord::Unhealthy,
        }
    }
}

impl Health {
    /// Before the first probe of a run.
    pub(crate) fn starting() -> Health {
        Health { status: HealthWord::Starting, failing_streak: 0, log: Vec::new() }
    }

    /// The process was started again. What the probes said of the one before stays to be read, as in Docker.
    pub(crate) fn begin_again(&mut self) {
        self.status = HealthWord::Starting;
        self.failing_streak = 0;
    }

    /// Takes a probe's result in; says whether the status changed.
    pub(crate) fn probed(&mut self, status: HealthStatus, failing_streak: u32, probe: Probe) -> bool {
        let word = HealthWord::from(status);
        let changed = self.status != word;
        self.status = word;
        self.failing_streak = failing_streak;
        self.log.push(ProbeResult {
            start: probe.start,
            end: probe.end,
            exit_code: probe.exit_code,
            output: probe.output,
        });
        let surplus = self.log.len().saturating_sub(PROBES);
        self.log.drain(..surplus);
        changed
    }

    /// Nobody probes any more: what is not known to be well counts as unwell.
    fn unattended(mut self) -> Health {
        self.status = HealthWord::Unhealthy;
        self
    }
}

impl Run {
    /// A launch that is about to happen.
    pub(crate) fn starting(incarnation: String, health: bool, before: &State) -> Run {
        let known = before.ended().and_then(|ended| ended.health.clone());
        let mut watched = health.then(|| known.unwrap_or_else(Health::starting));
        watched.iter_mut().for_each(Health::begin_again);
        Run {
            before: before.ended().cloned(),
            incarnation,
            pid: 0,
            started_at: clock::NEVER.into(),
            paused: false,
            sequence: 0,
            health: watched,
            oom_killed: false,
            probe: None,
        }
    }

    /// How this run went out, given the exit that its shim recorded.
    pub(crate) fn ended(&self, exit: &Exit) -> Ended {
        Ended {
            code: exit.code,
            error: exit.error.as_ref().map(refusals::told).unwrap_or_default(),
            oom_killed: exit.oom_killed || self.oom_killed,
            started_at: exit.started_at.clone(),
            finished_at: exit.finished_at.clone(),
            health: self.health.clone().map(Health::unattended),
        }
    }

    /// The same for a run whose shim left no word: killed with it (137), or lost with the host (255).
    pub(crate) fn lost(&self, code: i32, finished_at: String) -> Ended {
        Ended {
            code,
            error: String::new(),
            oom_killed: self.oom_killed,
            started_at: self.started_at.clone(),
            finished_at,
            health: self.health.clone().map(Health::unattended),
        }
    }
}

impl State {
    /// The run, while there is one.
    pub(crate) fn run(&self) -> Option<&Run> {
        match self {
            State::Running(run) | State::Restarting { run, .. } => Some(run),
            _ => None,
        }
    }

    pub(crate) fn run_mut(&mut self) -> Option<&mut Run> {
        match self {
            State::Running(run) | State::Restarting { run, .. } => Some(run),
            _ => None,
        }
    }

    /// How it last ended, if it did.
    pub(crate) fn ended(&self) -> Option<&Ended> {
        match self {
            State::Restarting { ended, .. } | State::Exited(ended) => Some(ended),
            State::Removing { ended } | State::Dead { ended, .. } => ended.as_ref(),
            State::Created { .. } | State::Running(_) => None,
        }
    }

    /// True also while paused and between two restarts, as Docker counts it.
    pub(crate) fn is_running(&self) -> bool {
        self.run().is_some()
    }

    pub(crate) fn is_paused(&self) -> bool {
        matches!(self, State::Running(run) if run.paused)
    }

    pub(crate) fn is_restarting(&self) -> bool {
        matches!(self, State::Restarting { .. })
    }

    pub(crate) fn status(&self) -> api::container::Status {
        use api::container::Status;
        match self {
            State::Created { .. } => Status::Created,
            State::Running(run) if run.paused => Status::Paused,
            State::Running(_) => Status::Running,
            State::Restarting { .. } => Status::Restarting,
            State::Exited(_) => Status::Exited,
            State::Removing { .. } => Status::Removing,
            State::Dead { .. } => Status::Dead,
        }
    }

    /// As inspect shows it.
    pub(crate) fn describe(&self) -> api::container::State {
        let status = self.status();
        let mut shown = api::container::State {
            status,
            running: self.is_running(),
            paused: self.is_paused(),
            restarting: self.is_restarting(),
            dead: matches!(self, State::Dead { .. }),
            ..Default::default()
        };
        if let Some(ended) = self.ended() {
            shown.exit_code = ended.code.into();
            shown.error.clone_from(&ended.error);
            shown.oom_killed = ended.oom_killed;
            shown.started_at.clone_from(&ended.started_at);
            shown.finished_at.clone_from(&ended.finished_at);
            shown.health = ended.health.as_ref().map(Health::describe);
        }
        match self {
            State::Created { failure: Some(failure) } => {
                shown.exit_code = failure.code.into();
                shown.error.clone_from(&failure.message);
            }
            State::Running(run) => {
                shown.pid = run.pid.into();
                shown.oom_killed = run.oom_killed;
                shown.started_at.clone_from(&run.started_at);
                if let Some(before) = &run.before {
                    shown.finished_at.clone_from(&before.finished_at);
                }
                shown.health = run.health.as_ref().map(Health::describe);
            }
            State::Dead { reason, .. } => shown.error.clone_from(reason),
            _ => {}
        }
        shown
    }
}

impl Health {
    fn describe(&self) -> api::container::Health {
        api::container::Health {
            status: self.status.as_str().into(),
            failing_streak: self.failing_streak.into(),
            log: self
                .log
                .iter()
                .map(|probe| api::container::HealthResult {
                    start: probe.start.clone(),
                    end: probe.end.clone(),
                    exit_code: probe.exit_code.into(),
                    output: probe.output.clone(),
                })
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> Run {
        Run {
            pid: 7,
            started_at: "2026-01-01T00:00:00Z".into(),
            ..Run::starting("i".into(), true, &State::Created { failure: None })
        }
    }

    fn probe(code: i32) -> Probe {
        Probe { start: String::new(), end: String::new(), exit_code: code, output: String::new() }
    }

    #[test]
    fn what_does_not_run_has_no_process() {
        let ended = run().lost(137, "2026-01-01T00:00:09Z".into());
        let shown = State::Exited(ended).describe();
        assert_eq!((shown.pid, shown.exit_code, shown.running), (0, 137, false));
        assert_eq!(shown.health.unwrap().status, "unhealthy");
    }

    #[test]
    fn a_restarting_container_counts_as_running() {
        let state = State::Restarting { run: run(), ended: run().lost(1, clock::NEVER.into()) };
        let shown = state.describe();
        assert!(shown.running && shown.restarting && !shown.paused);
        assert_eq!(shown.exit_code, 1);
    }

    #[test]
    fn the_last_five_probes_are_kept() {
        let mut health = Health::starting();
        assert!(health.probed(HealthStatus::Healthy, 0, probe(0)));
        for code in 1..=5 {
            assert!(!health.probed(HealthStatus::Healthy, 1, probe(code)));
        }
        assert_eq!(health.log.iter().map(|probe| probe.exit_code).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
        health.begin_again();
        assert_eq!((health.status, health.failing_streak, health.log.len()), (HealthWord::Starting, 0, 5));
    }

    #[test]
    fn a_failed_start_shows_its_reason() {
        let failure = Failure { code: 127, message: "exec: \"x\": not found".into() };
        let shown = State::Created { failure: Some(failure) }.describe();
        assert_eq!((shown.status, shown.exit_code), (api::container::Status::Created, 127));
        assert!(shown.error.contains("not found"));
    }
}
