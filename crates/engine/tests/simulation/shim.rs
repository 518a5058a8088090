//! A shim without a process: the shim's own decisions ([`shim::life`], [`shim::restart`], [`shim::health`]) and its own
//! journal, in a world where what its container does is chance.
//!
//! Beside them stands what Docker's rules say of a restart, written down a second time: both must agree.

use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use shim::health::Monitor;
use shim::journal::Journal;
use shim::life::{Life, Order, Stage, start_code};
use shim::protocol::{
    Exit, Failure, FailureKind, Happening, Launch, OnUnhealthy, Phase, Probe, Reply, Request, RestartPolicy,
    Snapshot, VERSION,
};

use crate::random::Random;

const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;

/// The container's process.
pub(crate) struct Process {
    pub(crate) pid: i32,
    started: Duration,
    started_at: i64,
    pub(crate) paused: bool,
    /// It will end then, with this code.
    ends: Option<(Duration, i32)>,
}

/// What Docker's documentation says of a restart.
struct Rules {
    policy: RestartPolicy,
    count: u32,
    delay: Option<Duration>,
    asked_to_end: bool,
    sent_back: bool,
}

impl Rules {
    fn after(&mut self, code: i32, ran: Duration) -> Option<Duration> {
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

pub(crate) struct SimulatedShim {
    pub(crate) container: String,
    pub(crate) incarnation: String,
    pub(crate) pid: i32,
    pub(crate) runtime: PathBuf,
    pub(crate) life: Life<Process>,
    pub(crate) cgroup: PathBuf,
    pub(crate) own_names: Vec<PathBuf>,
    /// Starts and exits of its container, as they happened.
    pub(crate) starts: u32,
    pub(crate) exits: Vec<i32>,
    rules: Rules,
    journal: Journal,
    monitor: Option<Monitor>,
    probe_at: Option<Duration>,
    probes: u64,
    subscribers: Vec<Subscriber>,
    /// The network namespace and the sockets of published ports: gone when they are closed.
    holdings: Vec<OwnedFd>,
    restart_at: Option<Duration>,
    kill_at: Option<Duration>,
    launch: Launch,
}

/// Somebody who listens, and what does not fit into the socket yet.
struct Subscriber {
    socket: UnixStream,
    pending: Vec<u8>,
}

impl Subscriber {
    /// False when nobody is there any more.
    fn send(&mut self, bytes: &[u8]) -> bool {
        self.pending.extend_from_slice(bytes);
        while !self.pending.is_empty() {
            match self.socket.write(&self.pending) {
                Ok(sent) => drop(self.pending.drain(..sent)),
                Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
            }
        }
        true
    }
}

/// What the shim sees of the world while it acts.
pub(crate) struct Turn<'a> {
    pub(crate) now: Duration,
    pub(crate) wall: i64,
    pub(crate) random: &'a mut Random,
    pub(crate) next_pid: &'a mut i32,
    /// Rules that were found broken.
    pub(crate) broken: &'a mut Vec<String>,
    /// The shim restarts once more than it may: a mistake that must be found.
    pub(crate) restarts_too_often: bool,
}

impl SimulatedShim {
    pub(crate) fn launch(
        launch: &Launch,
        mut holdings: Vec<OwnedFd>,
        cgroup: PathBuf,
        turn: &mut Turn<'_>,
    ) -> io::Result<SimulatedShim> {
        let network = launch.network.clone().unwrap_or_default();
        holdings.truncate(usize::from(network.namespace) + network.held_sockets + network.relays.len());
        let policy = match launch.restart {
            RestartPolicy::OnFailure { max_retries } if turn.restarts_too_often && max_retries > 0 => {
                RestartPolicy::OnFailure { max_retries: max_retries + 1 }
            }
            policy => policy,
        };
        *turn.next_pid += 2;
        let mut shim = SimulatedShim {
            container: launch.container.clone(),
            incarnation: launch.incarnation.clone(),
            pid: *turn.next_pid - 1,
            runtime: launch.runtime_dir.clone(),
            life: Life::new(policy, launch.restart_count, never()),
            cgroup,
            own_names: network.names.map(|names| names.own).unwrap_or_default(),
            starts: 0,
            exits: Vec::new(),
            rules: Rules {
                policy: launch.restart,
                count: launch.restart_count,
                delay: None,
                asked_to_end: false,
                sent_back: false,
            },
            journal: Journal::create(&launch.runtime_dir, &launch.incarnation)?,
            monitor: launch.health.clone().map(Monitor::new),
            probe_at: None,
            probes: 0,
            subscribers: Vec::new(),
            holdings,
            restart_at: None,
            kill_at: None,
            launch: launch.clone(),
        };
        std::fs::write(shim.marker(), &shim.incarnation)?;
        shim.start(turn);
        Ok(shim)
    }

    /// What tells in the runtime directory whose it is: the socket and the state of a real one.
    fn marker(&self) -> PathBuf {
        self.runtime.join("state.json")
    }

    /// Nobody will ever find it any more.
    pub(crate) fn is_lost(&self) -> bool {
        std::fs::read_to_string(self.marker()).ok().as_deref() != Some(self.incarnation.as_str())
    }

    fn start(&mut self, turn: &mut Turn<'_>) {
        *turn.next_pid += 1;
        let pid = *turn.next_pid;
        // Some end by themselves, at once or later; the others are ended by what happens to them.
        let ends = match turn.random.below(10) {
            0 => Some(0),
            1 | 2 => Some(turn.random.below(2_000)),
            3 => Some(turn.random.below(60_000)),
            _ => None,
        };
        let code = turn.random.pick(&[0, 0, 1, 1, 2, 137, 255]);
        self.life.stage = Stage::Running(Process {
            pid,
            started: turn.now,
            started_at: turn.wall,
            paused: false,
            ends: ends.map(|after| (turn.now + Duration::from_millis(after), code)),
        });
        if let Some(monitor) = &mut self.monitor {
            monitor.restart();
            self.probe_at = Some(turn.now + monitor.wait(Duration::ZERO));
        }
        self.starts += 1;
        self.tell(Happening::Started { pid, restart_count: self.life.restarts.count });
    }

    fn tell(&mut self, what: Happening) {
        let event = self.journal.record(what);
        let bytes = shim::frame::encode(&event, 0).unwrap();
        self.subscribers.retain_mut(|one| one.send(&bytes));
    }

    /// How much it has told.
    pub(crate) fn told(&self) -> u64 {
        self.journal.sequence()
    }

    /// When something happens to it next, by itself.
    pub(crate) fn next(&self) -> Option<Duration> {
        let ends = match &self.life.stage {
            Stage::Running(process) if !process.paused => process.ends.map(|(at, _)| at),
            _ => None,
        };
        let waits = self.subscribers.iter().any(|one| !one.pending.is_empty());
        let at_once = waits.then_some(Duration::ZERO);
        [at_once, ends, self.restart_at, self.kill_at, self.probe_at].into_iter().flatten().min()
    }

    /// What has come due by now.
    pub(crate) fn act(&mut self, turn: &mut Turn<'_>) {
        self.subscribers.retain_mut(|one| one.send(&[]));
        let now = turn.now;
        let due = |at: &Option<Duration>| at.is_some_and(|at| at <= now);
        if due(&self.kill_at) {
            self.kill_at = None;
            self.signal_process(SIGKILL, turn);
        }
        if let Stage::Running(Process { ends: Some((at, code)), paused: false, .. }) = self.life.stage
            && at <= turn.now
        {
            self.process_ended(code, turn);
        }
        if due(&self.restart_at) {
            self.restart_at = None;
            self.restart(turn);
        }
        if due(&self.probe_at) {
            self.probe_at = None;
            self.probe(turn);
        }
    }

    /// Ends the container's process, now.
    pub(crate) fn process_ends(&mut self, code: i32, turn: &mut Turn<'_>) {
        if let Stage::Running(process) = &mut self.life.stage
            && !process.paused
        {
            process.ends = Some((turn.now, code));
            self.act(turn);
        }
    }

    fn process_ended(&mut self, code: i32, turn: &mut Turn<'_>) {
        let Stage::Running(process) = &self.life.stage else { return };
        let ran = turn.now - process.started;
        let exit = Exit {
            code,
            oom_killed: false,
            started_at: shim::clock::format(process.started_at),
            finished_at: shim::clock::format(turn.wall),
            error: None,
        };
        (self.kill_at, self.probe_at) = (None, None);
        self.exits.push(code);
        let lost = self.is_lost();
        let decided = self.life.exited(exit.clone(), ran, lost);
        let expected = self.rules.after(code, ran).filter(|_| !lost);
        if decided != expected {
            turn.broken.push(format!(
                "{} ended with {code} after {ran:?}, restarted {} times, policy {:?}: it comes back after {decided:?}, \
                 but Docker's rules say {expected:?}",
                self.container, self.rules.count, self.rules.policy
            ));
        }
        match decided {
            Some(delay) => {
                self.restart_at = Some(turn.now + delay);
                let delay_ms = u64::try_from(delay.as_millis()).unwrap();
                let restart_count = Some(self.life.restarts.count);
                self.tell(Happening::Exited { exit, restarts: true, delay_ms, restart_count });
            }
            None => self.end_for_good(exit),
        }
    }

    fn end_for_good(&mut self, exit: Exit) {
        (self.restart_at, self.kill_at, self.probe_at) = (None, None, None);
        self.life.stage = Stage::Exited { exit: exit.clone() };
        self.let_go();
        self.tell(Happening::Exited { exit, restarts: false, delay_ms: 0, restart_count: None });
    }

    /// Gives back ports, names and the namespace.
    pub(crate) fn let_go(&mut self) {
        self.holdings.clear();
        for path in self.own_names.drain(..) {
            network::names::withdraw(&path).unwrap();
        }
    }

    /// It is gone, and everybody notices.
    pub(crate) fn die(&mut self) {
        self.subscribers.clear();
        self.holdings.clear();
    }

    fn restart(&mut self, turn: &mut Turn<'_>) {
        let Stage::Restarting { exit } = &self.life.stage else { return };
        if turn.random.chance(4) {
            let failure = failure(FailureKind::NotFound, "exec: \"it\": executable file not found in $PATH");
            let exit = Exit { code: start_code(failure.kind), error: Some(failure), ..exit.clone() };
            self.exits.push(exit.code);
            self.end_for_good(exit);
            return;
        }
        self.start(turn);
    }

    fn probe(&mut self, turn: &mut Turn<'_>) {
        let Stage::Running(process) = &self.life.stage else { return };
        let Some(monitor) = self.monitor.as_mut().filter(|_| !process.paused) else { return };
        let running = turn.now - process.started;
        let exit_code = if turn.random.chance(40) { 1 } else { 0 };
        monitor.probed(exit_code, running);
        let (status, failing_streak, action) = (monitor.status, monitor.failing_streak, monitor.action());
        self.probe_at = Some(turn.now + monitor.wait(running));
        self.probes += 1;
        let result = self.probes;
        let time = shim::clock::format(turn.wall);
        let probe = Probe { start: time.clone(), end: time, exit_code, output: String::new() };
        self.tell(Happening::HealthStarted { result });
        self.tell(Happening::HealthProbed { status, failing_streak, probe });
        match action {
            OnUnhealthy::Nothing => {}
            OnUnhealthy::Stop => drop(self.stop(None, None, turn)),
            OnUnhealthy::Kill => drop(self.signal(SIGKILL, false, turn)),
            OnUnhealthy::Restart => {
                let order = self.life.stop_to_restart();
                if !matches!(order, Order::Nothing) {
                    self.rules.sent_back = true;
                }
                drop(self.end_gently(order, None, None, turn));
            }
        }
    }

    /// A process that gets a signal: some ignore it, nobody ignores SIGKILL.
    fn signal_process(&mut self, signal: i32, turn: &mut Turn<'_>) {
        if !self.life.is_running() {
            return;
        }
        self.tell(Happening::Killed { signal });
        let Stage::Running(process) = &mut self.life.stage else { return };
        if signal == SIGKILL {
            process.paused = false;
            process.ends = Some((turn.now, 137));
        } else if matches!(signal, SIGTERM | 2 | 3) && turn.random.chance(70) {
            let code = turn.random.pick(&[0, 128 + signal]);
            let after = Duration::from_millis(turn.random.below(3_000));
            let at = turn.now + after;
            if process.ends.is_none_or(|(ends, _)| ends > at) {
                process.ends = Some((at, code));
            }
        }
    }

    fn stop(
        &mut self,
        signal: Option<i32>,
        timeout: Option<i64>,
        turn: &mut Turn<'_>,
    ) -> Result<(), Failure> {
        self.rules.asked_to_end = true;
        let order = self.life.stop();
        self.end_gently(order, signal, timeout, turn)
    }

    fn end_gently(
        &mut self,
        order: Order,
        signal: Option<i32>,
        timeout: Option<i64>,
        turn: &mut Turn<'_>,
    ) -> Result<(), Failure> {
        match order {
            Order::Signal => {}
            Order::End(exit) => {
                self.end_for_good(exit);
                return Ok(());
            }
            Order::Nothing => return Ok(()),
            Order::Refuse => return Err(not_running()),
        }
        self.signal_process(signal.unwrap_or(self.launch.stop_signal), turn);
        self.thaw();
        if let Ok(seconds) = u64::try_from(timeout.unwrap_or(self.launch.stop_timeout)) {
            let at = turn.now + Duration::from_secs(seconds);
            self.kill_at = Some(self.kill_at.map_or(at, |earlier| earlier.min(at)));
        }
        Ok(())
    }

    fn signal(&mut self, signal: i32, final_stop: bool, turn: &mut Turn<'_>) -> Result<(), Failure> {
        self.rules.asked_to_end |= final_stop;
        match self.life.signal(final_stop) {
            Order::Signal => {}
            Order::End(exit) => {
                self.end_for_good(exit);
                return Ok(());
            }
            Order::Nothing => return Ok(()),
            Order::Refuse => return Err(not_running()),
        }
        self.signal_process(signal, turn);
        if final_stop {
            self.thaw();
        }
        Ok(())
    }

    fn thaw(&mut self) {
        if let Stage::Running(process) = &mut self.life.stage
            && process.paused
        {
            process.paused = false;
            self.tell(Happening::Resumed);
        }
    }

    fn pause(&mut self, pauses: bool, turn: &mut Turn<'_>) -> Result<(), Failure> {
        let Stage::Running(process) = &mut self.life.stage else { return Err(not_running()) };
        if process.paused == pauses {
            return Err(failure(FailureKind::Conflict, if pauses { "already paused" } else { "not paused" }));
        }
        process.paused = pauses;
        let running = turn.now - process.started;
        if let Some(monitor) = &mut self.monitor {
            if pauses {
                monitor.suspend();
                self.probe_at = None;
            } else {
                self.probe_at = Some(turn.now + monitor.wait(running));
            }
        }
        self.tell(if pauses { Happening::Paused } else { Happening::Resumed });
        Ok(())
    }

    /// Answers a request. `None`: it is released, and gone.
    pub(crate) fn handle(&mut self, request: &Request, turn: &mut Turn<'_>) -> Option<Reply> {
        let done = |result: Result<(), Failure>| Some(result.map_or_else(Reply::Failed, |()| Reply::Done));
        match request {
            Request::State => Some(Reply::State(self.snapshot())),
            Request::Signal { signal, final_stop } => done(self.signal(*signal, *final_stop, turn)),
            Request::Stop { signal, timeout } => done(self.stop(*signal, *timeout, turn)),
            Request::Pause => done(self.pause(true, turn)),
            Request::Resume => done(self.pause(false, turn)),
            Request::Update { restart, .. } => {
                if let Some(policy) = restart {
                    (self.life.restarts.policy, self.rules.policy) = (*policy, *policy);
                }
                Some(Reply::Done)
            }
            Request::Names(names) => {
                self.own_names.clone_from(&names.own);
                Some(Reply::Done)
            }
            Request::Release { .. } => match self.life.final_code() {
                Some(_) => None,
                None => done(Err(failure(FailureKind::Conflict, "the container has not ended for good"))),
            },
            _ => done(Err(failure(FailureKind::Invalid, "no client is simulated"))),
        }
    }

    pub(crate) fn subscribe(&mut self, after: u64) -> io::Result<UnixStream> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let mut subscriber = Subscriber { socket: ours, pending: Vec::new() };
        for event in self.journal.since(after)? {
            subscriber.send(&shim::frame::encode(&event, 0)?);
        }
        self.subscribers.push(subscriber);
        Ok(theirs)
    }

    pub(crate) fn phase(&self) -> Phase {
        match &self.life.stage {
            Stage::Running(process) => Phase::Running {
                pid: process.pid,
                started_at: shim::clock::format(process.started_at),
                paused: process.paused,
            },
            Stage::Restarting { exit } => Phase::Restarting { exit: exit.clone() },
            Stage::Exited { exit } => Phase::Exited { exit: exit.clone() },
        }
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot {
            version: VERSION,
            container: self.container.clone(),
            incarnation: self.incarnation.clone(),
            shim_pid: self.pid,
            phase: self.phase(),
            restart_count: self.life.restarts.count,
            sequence: self.journal.sequence(),
            execs: Vec::new(),
            health: None,
            log_lost: 0,
        }
    }
}

fn never() -> Exit {
    let never = "0001-01-01T00:00:00Z".to_owned();
    Exit { code: 0, oom_killed: false, started_at: never.clone(), finished_at: never, error: None }
}

pub(crate) fn failure(kind: FailureKind, message: &str) -> Failure {
    Failure { kind, message: message.into(), causes: Vec::new(), verbatim: false }
}

fn not_running() -> Failure {
    failure(FailureKind::Conflict, "the container is not running")
}
