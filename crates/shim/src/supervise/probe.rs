//! Runs health probes: one at a time, beside the container's process, its output captured. Those that start no process
//! are in [`super::ask`].
//!
//! The decisions are in [`crate::health`]. A probe that takes too long is killed and reported when it is really
//! gone, so that dying probes do not pile up. One that is under way when the container pauses or ends is
//! killed, too, and its result is not counted.

use std::time::Duration;

use linux::signal::SIGKILL;

use super::Supervisor;
use super::process::{Probing, Process, Role};
use super::reactor::{Alarm, Id};
use crate::clock;
use crate::health;
use crate::protocol::{Happening, HealthState, Probe};
use crate::stop::Hands;

/// Results kept for `inspect`, as Docker keeps.
const KEPT: usize = 5;

impl Supervisor {
    /// Sets the time of the next probe, if there is a health check and something to check.
    pub(super) fn schedule_probe(&mut self) {
        let running = self.running_for();
        if self.asking.is_some() {
            return;
        }
        if let (Some(monitor), Some(running), None) = (&self.monitor, running, self.probe) {
            self.alarms.set(Alarm::Probe, monitor.wait(running));
        }
    }

    /// The time has come.
    pub(super) fn probe(&mut self) {
        let (Some(monitor), Some(running)) = (&self.monitor, self.running_for()) else { return };
        if let Some(ask) = monitor.ask().cloned() {
            let timeout = monitor.timeout();
            self.begin_asking(ask, running, timeout);
            return;
        }
        let Some(mut process) = self.launch.spec.process.clone() else { return };
        process.args = monitor.command().to_vec();
        process.terminal = false;
        let timeout = monitor.timeout();
        self.probes += 1;
        self.record(Happening::HealthStarted { result: self.probes });
        let id = self.next_id();
        let probing = Process::new_probing(running);
        let started_at = probing.started_at;
        match self.start_beside(id, &process, Role::Probe(probing), super::exec::Input::Null) {
            Ok(_) => {
                self.probe = Some(id);
                self.alarms.set(Alarm::ProbeTimeout, timeout);
            }
            Err(failure) => {
                self.conclude(-1, None, running, started_at, super::exec::failure_text(&failure));
            }
        }
    }

    pub(super) fn probe_timed_out(&mut self) {
        if self.asking_timed_out() {
            return;
        }
        let Some(process) = self.probe.and_then(|id| self.processes.get_mut(&id)) else { return };
        if let Role::Probe(probing) = &mut process.role {
            probing.timed_out = true;
        }
        // Gone already: then its end is on the way.
        let _ = linux::process::send_signal(std::os::fd::AsFd::as_fd(&process.pidfd), SIGKILL);
    }

    /// The running probe is of no interest any more.
    pub(super) fn abandon_probe(&mut self) {
        self.alarms.cancel(Alarm::Probe);
        self.alarms.cancel(Alarm::ProbeTimeout);
        self.stop_asking();
        if let Some(process) = self.probe.take().and_then(|id| self.processes.get(&id)) {
            let _ = linux::process::send_signal(std::os::fd::AsFd::as_fd(&process.pidfd), SIGKILL);
        }
    }

    pub(super) fn probe_finished(&mut self, id: Id, code: i32, probing: &Probing) {
        if self.probe != Some(id) {
            return;
        }
        self.probe = None;
        self.alarms.cancel(Alarm::ProbeTimeout);
        if self.running_for().is_none() {
            return;
        }
        let timeout = self.monitor.as_ref().map(|monitor| monitor.timeout()).unwrap_or_default();
        let (result, output) = match probing.timed_out {
            true => (-1, health::timeout_text(timeout, &probing.output)),
            false => (code, probing.output.text()),
        };
        self.conclude(result, Some(code), probing.running, probing.started_at, output);
    }

    /// A probe is over. `code` is what its process ended with, if there was one.
    pub(super) fn conclude(
        &mut self,
        exit_code: i32,
        code: Option<i32>,
        running: Duration,
        started_at: i64,
        output: String,
    ) {
        let Some(monitor) = &mut self.monitor else { return };
        monitor.probed(exit_code, running);
        let (start, end) = (clock::format(started_at), clock::format(clock::now()));
        let probe = Probe { start, end, exit_code, output };
        if self.results.len() == KEPT {
            self.results.remove(0);
        }
        self.results.push(probe.clone());
        let (status, failing_streak, action) = (monitor.status, monitor.failing_streak, monitor.action());
        self.record(Happening::HealthProbed { status, failing_streak, probe, code });
        self.schedule_probe();
        self.unhealthy(action);
    }

    pub(super) fn health(&self) -> Option<HealthState> {
        let monitor = self.monitor.as_ref()?;
        let (status, failing_streak) = (monitor.status, monitor.failing_streak);
        Some(HealthState { status, failing_streak, log: self.results.clone() })
    }
}
