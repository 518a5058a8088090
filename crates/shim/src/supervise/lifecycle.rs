//! The life of the container: start, end, restart, stop.
//!
//! ```text
//!            ┌──────────── policy, after its delay ────────────┐
//!            ▼                                                 │
//!   start ─▶ Running ──ended──▶ (output drained) ──▶ decide ──▶ Restarting
//!              │  ▲ pause, resume                    │            │ stop, or the start fails
//!              │  stop: signal ─ grace ─ SIGKILL     ▼            ▼
//!              └───────────────────────────────▶  Exited ◀────────┘
//!                                                   │ Release
//!                                                   ▼ gone, when the last client has its bytes
//! ```
//!
//! An end is told in this order: journal and subscribers, clients that wait, and only then the teardown (cgroup,
//! mounts), which may wait for the disk. Where clients wait for the removal (`run --rm`) it comes after their answer,
//! which needs the engine's word. Between two runs the network namespace, the port sockets, the names and
//! the root mount stay; they go with the final end. Nothing here needs the engine.

use std::time::{Duration, Instant};

use linux::poll::Interest;
use oci::runtime::NamespaceKind;

use super::Supervisor;
use super::process::{Ending, Process, Role};
use super::reactor::{self, Alarm, Id, Source};
use crate::clock;
use crate::life::{Life, Stage};
use crate::protocol::{Exit, Failure, FailureKind, Happening, Phase, RestartPolicy, WaitUntil};
use crate::stop::{Hands, not_running};

/// How long the teardown waits for the engine to say that the container is removed, which takes it a few
/// milliseconds. An engine that is not there says nothing.
const RELEASE_EXPECTED: Duration = Duration::from_millis(200);

pub(super) struct Running {
    pub main: Id,
    pub pid: i32,
    pub started: Instant,
    pub started_at: i64,
    pub paused: bool,
    /// Set when the process has ended and its output is being drained.
    ended: Option<(Instant, i64)>,
}

impl Supervisor {
    /// Starts the container's process, for the first time or again; its id and when that was.
    pub(super) fn start(&mut self, main: Id) -> Result<(i32, String), Failure> {
        let started = self.create_container(main)?;
        let pid = started.pid;
        let started_at = clock::now();
        self.processes.insert(main, started);
        self.watch_process(main)?;
        self.watch_memory();
        self.life.started(Running {
            main,
            pid,
            started: Instant::now(),
            started_at,
            paused: false,
            ended: None,
        });
        if let Some(monitor) = &mut self.monitor {
            monitor.restart();
        }
        self.schedule_probe();
        self.save_state();
        // One moment, however one learns of it.
        let told = self.tell(Happening::Started { pid, restart_count: self.life.restarts.count });
        if let (Stage::Running(running), Some(time)) = (&mut self.life.stage, clock::parse(&told)) {
            running.started_at = time;
        }
        Ok((pid, told))
    }

    /// Registers a new process: its end and its output.
    pub(super) fn watch_process(&mut self, id: Id) -> Result<(), Failure> {
        let Some(process) = self.processes.get(&id) else { return Ok(()) };
        reactor::watch(&self.poll, &process.pidfd, Source::Process(id), Interest::READ)
            .map_err(|error| super::other(&error))?;
        self.listen(id);
        Ok(())
    }

    fn watch_memory(&mut self) {
        self.memory = None;
        // Without the memory controller there is no limit to run into.
        let Some(Ok(Some(watch))) =
            self.container.as_ref().map(|container| container.cgroup().watch_memory())
        else {
            return;
        };
        let registered = match watch.by_change() {
            true => reactor::watch_changes(&self.poll, &watch, Source::Memory),
            false => reactor::watch(&self.poll, &watch, Source::Memory, Interest::READ),
        };
        self.memory = registered.is_ok().then_some(watch);
    }

    pub(super) fn memory_ready(&mut self) {
        let (Some(watch), Some(container)) = (self.memory.as_mut(), self.container.as_ref()) else { return };
        match watch.take(container.cgroup()) {
            Ok(true) => self.record(Happening::OutOfMemory),
            Ok(false) if container.cgroup().exists() => {}
            // A removed cgroup would wake the loop for ever.
            _ => self.forget_memory(),
        }
    }

    fn forget_memory(&mut self) {
        if let Some(watch) = self.memory.take() {
            let _ = self.poll.remove(&watch);
        }
    }

    /// The container's process has ended; its output may not have.
    pub(super) fn main_ended(&mut self) {
        for alarm in [Alarm::Kill, Alarm::Probe, Alarm::ProbeTimeout] {
            self.alarms.cancel(alarm);
        }
        self.stop_asking();
        if let Stage::Running(running) = &mut self.life.stage {
            running.ended = Some((Instant::now(), clock::now()));
        }
        // In a PID namespace of its own nothing is left by now; elsewhere it would hold the output open.
        if !self.has_pid_namespace()
            && let Some(container) = &self.container
        {
            // What cannot be killed now is met again by the removal of the cgroup.
            container.kill_all();
        }
    }

    /// The process has ended and all its output is where it belongs.
    pub(super) fn main_finished(&mut self, code: i32) {
        // Memory may have run out in the same moment.
        self.memory_ready();
        self.alarms.cancel(Alarm::Kill);
        let Stage::Running(running) = &self.life.stage else { return };
        let (ended, finished_at) = running.ended.unwrap_or_else(|| (Instant::now(), clock::now()));
        let exit = Exit {
            code,
            oom_killed: self
                .container
                .as_ref()
                .is_some_and(|container| container.cgroup().oom_kills().unwrap_or(0) > 0),
            started_at: clock::format(running.started_at),
            finished_at: clock::format(finished_at),
            error: None,
        };
        let ran = ended.duration_since(running.started);
        if let Some(monitor) = &mut self.monitor {
            monitor.suspend();
        }
        self.end_follow();
        match self.life.exited(exit.clone(), ran, Self::is_lost()) {
            Some(delay) => {
                self.alarms.set(Alarm::Restart, delay);
                let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
                let restart_count = Some(self.life.restarts.count);
                self.record(Happening::Exited { exit, restarts: true, delay_ms, restart_count });
                self.answer_waiters(WaitUntil::Exit, code);
                self.tear_down();
                self.save_state();
            }
            None => self.end_for_good(exit),
        }
    }

    /// Takes apart what the run left: cgroup and namespaces. What cannot be removed is reported nowhere but by
    /// its being there: the engine's cleanup meets it again.
    pub(super) fn tear_down(&mut self) {
        self.forget_memory();
        if let Some(container) = self.container.take() {
            container.delete();
        }
    }

    /// The teardown after the last end.
    pub(super) fn take_apart(&mut self) {
        self.alarms.cancel(Alarm::TakeApart);
        self.tear_down();
        self.holdings.release_root();
    }

    /// The policy's delay is over. A start that fails now leaves the exit as it was, with the reason.
    pub(super) fn restart(&mut self) {
        let Stage::Restarting { exit } = &self.life.stage else { return };
        let mut exit = exit.clone();
        let main = self.next_id();
        if let Err(failure) = self.start(main) {
            exit.error = Some(failure);
            self.tear_down();
            self.processes.remove(&main);
            self.end_for_good(exit);
        }
    }

    pub(super) fn pause(&mut self) -> Result<(), Failure> {
        let Stage::Running(running) = &mut self.life.stage else { return Err(not_running()) };
        let Some(container) = self.container.as_ref().filter(|_| running.ended.is_none()) else {
            return Err(not_running());
        };
        if running.paused {
            return Err(super::failure(FailureKind::Conflict, "already paused"));
        }
        container.pause()?;
        running.paused = true;
        self.abandon_probe();
        if let Some(monitor) = &mut self.monitor {
            monitor.suspend();
        }
        self.save_state();
        self.record(Happening::Paused);
        Ok(())
    }

    pub(super) fn resume(&mut self) -> Result<(), Failure> {
        let Stage::Running(running) = &mut self.life.stage else { return Err(not_running()) };
        let Some(container) = self.container.as_ref() else { return Err(not_running()) };
        if !running.paused {
            return Err(super::failure(FailureKind::Conflict, "not paused"));
        }
        container.resume()?;
        running.paused = false;
        self.schedule_probe();
        self.save_state();
        self.record(Happening::Resumed);
        Ok(())
    }

    pub(super) fn set_policy(&mut self, policy: RestartPolicy) {
        self.life.restarts.policy = policy;
    }

    /// The container's process on the host.
    pub(super) fn main_pid(&self) -> Option<i32> {
        match &self.life.stage {
            Stage::Running(running) if running.ended.is_none() => Some(running.pid),
            _ => None,
        }
    }

    /// How long the container's process has been running.
    pub(super) fn running_for(&self) -> Option<Duration> {
        match &self.life.stage {
            Stage::Running(running) if running.ended.is_none() && !running.paused => {
                Some(running.started.elapsed())
            }
            _ => None,
        }
    }

    /// The exit code, once nothing runs or will run.
    pub(super) fn final_code(&self) -> Option<i32> {
        self.life.final_code()
    }

    pub(super) fn phase(&self) -> Phase {
        match &self.life.stage {
            Stage::Running(running) => Phase::Running {
                pid: running.pid,
                started_at: clock::format(running.started_at),
                paused: running.paused,
            },
            Stage::Restarting { exit } => Phase::Restarting { exit: exit.clone() },
            Stage::Exited { exit } => Phase::Exited { exit: exit.clone() },
        }
    }

    fn has_pid_namespace(&self) -> bool {
        let linux = self.launch.spec.linux.as_ref();
        linux.is_some_and(|linux| {
            linux.namespaces.iter().any(|one| one.kind == NamespaceKind::Pid && one.path.is_none())
        })
    }

    /// Makes the record of a process that was just started.
    pub(super) fn adopt(role: Role, pid: i32, pidfd: std::os::fd::OwnedFd, terminal: bool) -> Process {
        Process {
            role,
            pid,
            pidfd,
            terminal,
            stdout: None,
            stderr: None,
            stdin: None,
            once: false,
            ending: Ending::Running,
        }
    }
}

impl Hands for Supervisor {
    type Running = Running;

    fn life(&mut self) -> &mut Life<Running> {
        &mut self.life
    }

    fn usual(&self) -> (i32, i64) {
        (self.launch.stop_signal, self.launch.stop_timeout)
    }

    fn send(&mut self, signal: i32) -> Result<(), Failure> {
        let (Stage::Running(_), Some(container)) = (&self.life.stage, &self.container) else {
            return Err(not_running());
        };
        container.signal(signal)?;
        self.record(Happening::Killed { signal });
        Ok(())
    }

    fn kill_all(&mut self) {
        if let Some(container) = &self.container {
            container.kill_all();
        }
    }

    fn thaw(&mut self) {
        if matches!(&self.life.stage, Stage::Running(running) if running.paused) {
            let _ = self.resume();
        }
    }

    fn kill_within(&mut self, grace: Duration) {
        self.alarms.set_earlier(Alarm::Kill, grace);
    }

    /// The last end. What the container held is given back after everyone has been told.
    fn end_for_good(&mut self, exit: Exit) {
        let code = exit.code;
        self.alarms.cancel(Alarm::Restart);
        self.life.stage = Stage::Exited { exit: exit.clone() };
        // Ports and names are free before anyone hears of the end: a new container may want them at once.
        self.holdings.release_network(&self.poll);
        self.save_state();
        self.record(Happening::Exited { exit, restarts: false, delay_ms: 0, restart_count: None });
        self.answer_waiters(WaitUntil::Exit, code);
        self.flush_connections();
        match self.awaits(WaitUntil::Removed) {
            true => self.alarms.set(Alarm::TakeApart, RELEASE_EXPECTED),
            false => self.take_apart(),
        }
    }
}
