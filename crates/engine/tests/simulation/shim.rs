//! A shim without a process: the shim's own decisions ([`shim::life`], [`shim::restart`], [`shim::health`]) and its own
//! journal, in a world where what its container does is chance. What is decided must agree with [`Rules`].

mod requests;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use shim::health::Monitor;
use shim::journal::Journal;
use shim::life::{Life, Stage};
use shim::protocol::{
    Exit, Failure, FailureKind, Happening, Launch, OnUnhealthy, Probe, RestartPolicy, WaitUntil, Waiter,
};
use shim::stop::{Hands, not_running};

use crate::network::Wires;
use crate::random::Random;
use crate::rules::Rules;
use crate::world::Mistake;

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

/// A process beside the container's own.
pub(crate) struct Beside {
    ends: Option<Duration>,
    code: i32,
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
    /// Processes beside the container's own: their ids, process ids and when they end with which code.
    pub(crate) execs: BTreeMap<String, Beside>,
    /// Processes that it may have.
    pub(crate) limit: Option<i64>,
    ended_execs: Vec<(String, i32)>,
    waiters: Vec<(Waiter, UnixStream)>,
    rules: Rules,
    journal: Journal,
    monitor: Option<Monitor>,
    probe_at: Option<Duration>,
    probes: u64,
    subscribers: Vec<Subscriber>,
    /// The network namespace and the sockets of published ports: gone when they are closed.
    holdings: Vec<OwnedFd>,
    /// Where its relays lead.
    relays: Vec<SocketAddr>,
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
    pub(crate) wires: &'a mut Wires,
    /// One that must be found.
    pub(crate) mistake: Option<Mistake>,
}

impl SimulatedShim {
    pub(crate) fn launch(
        launch: &Launch,
        mut holdings: Vec<OwnedFd>,
        cgroup: PathBuf,
        turn: &mut Turn<'_>,
    ) -> io::Result<SimulatedShim> {
        let network = launch.network.clone().unwrap_or_default();
        let held = usize::from(network.namespace) + network.held_sockets + network.relays.len();
        let clients = holdings.split_off(held.min(holdings.len()));
        let policy = match launch.restart {
            RestartPolicy::OnFailure { max_retries }
                if turn.mistake == Some(Mistake::OneRestartTooMany) && max_retries > 0 =>
            {
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
            execs: BTreeMap::new(),
            limit: launch.spec.linux.as_ref().and_then(|linux| requests::limit_of(linux.resources.as_ref()?)),
            ended_execs: Vec::new(),
            waiters: Vec::new(),
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
            relays: network.relays.iter().map(|relay| relay.target).collect(),
            restart_at: None,
            kill_at: None,
            launch: launch.clone(),
        };
        std::fs::write(shim.marker(), &shim.incarnation)?;
        let waiting = clients.into_iter().skip(launch.attachments.len());
        for (waiter, socket) in launch.waiters.iter().zip(waiting) {
            shim.waits(waiter, socket);
        }
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
        self.life.started(Process {
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
        let paused = matches!(&self.life.stage, Stage::Running(process) if process.paused);
        let beside = self.execs.values().filter_map(|exec| exec.ends).min().filter(|_| !paused);
        [at_once, ends, self.restart_at, self.kill_at, self.probe_at, beside].into_iter().flatten().min()
    }

    /// What has come due by now.
    pub(crate) fn act(&mut self, turn: &mut Turn<'_>) {
        self.subscribers.retain_mut(|one| one.send(&[]));
        let now = turn.now;
        let due = |at: &Option<Duration>| at.is_some_and(|at| at <= now);
        if due(&self.kill_at) {
            self.kill_at = None;
            self.in_hands(turn).grace_is_over();
        }
        if matches!(self.life.stage, Stage::Running(Process { paused: false, .. })) {
            let over = |exec: &Beside| exec.ends.is_some_and(|at| at <= now).then_some(exec.code);
            let ended = self.execs.iter().filter_map(|(id, exec)| Some((id.clone(), over(exec)?)));
            for (id, code) in ended.collect::<Vec<_>>() {
                self.exec_ended(id, code, turn);
            }
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

    /// A command beside the container's own: one in eight is not there.
    fn exec(&mut self, id: &str, turn: &mut Turn<'_>) -> Result<i32, Failure> {
        match &self.life.stage {
            Stage::Running(process) if !process.paused => {}
            _ => return Err(not_running()),
        }
        if turn.random.chance(12) {
            return Err(failure(FailureKind::NotFound, "exec: \"it\": executable file not found in $PATH"));
        }
        *turn.next_pid += 1;
        let after = turn.random.chance(70).then(|| Duration::from_millis(turn.random.below(5_000)));
        let exec = Beside { ends: after.map(|after| turn.now + after), code: turn.random.pick(&[0, 1, 7]) };
        self.execs.insert(id.to_owned(), exec);
        self.tell(Happening::ExecStarted { exec: id.to_owned(), pid: *turn.next_pid });
        Ok(*turn.next_pid)
    }

    fn exec_ended(&mut self, id: String, code: i32, turn: &Turn<'_>) {
        self.execs.remove(&id);
        self.ended_execs.push((id.clone(), code));
        let wrong = turn.mistake == Some(Mistake::ExecCodesAreWrong);
        self.tell(Happening::ExecExited { exec: id, code: if wrong { code + 1 } else { code } });
    }

    /// Its network namespace, if it has one of its own, while this process runs.
    pub(crate) fn namespace_of(&self, pid: i32) -> Option<&OwnedFd> {
        let has_one = self.launch.network.as_ref().is_some_and(|network| network.namespace);
        let runs = matches!(&self.life.stage, Stage::Running(process) if process.pid == pid);
        self.holdings.first().filter(|_| has_one && runs)
    }

    /// The addresses that its relays lead to.
    pub(crate) fn relayed_to(&self) -> impl Iterator<Item = IpAddr> {
        self.relays.iter().map(SocketAddr::ip)
    }

    /// How its execs ended, and that they were this container's.
    pub(crate) fn ended_execs(&self) -> impl Iterator<Item = (String, (i32, String))> {
        self.ended_execs.iter().map(|(id, code)| (id.clone(), (*code, self.container.clone())))
    }

    fn process_ended(&mut self, code: i32, turn: &mut Turn<'_>) {
        // The kernel ends what else is in its PID namespace.
        for id in self.execs.keys().cloned().collect::<Vec<_>>() {
            self.exec_ended(id, 137, turn);
        }
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
                self.answer(WaitUntil::Exit, code);
            }
            None => self.end_for_good(exit),
        }
    }

    fn end_for_good(&mut self, exit: Exit) {
        (self.restart_at, self.kill_at, self.probe_at) = (None, None, None);
        self.life.stage = Stage::Exited { exit: exit.clone() };
        let code = exit.code;
        self.let_go();
        self.tell(Happening::Exited { exit, restarts: false, delay_ms: 0, restart_count: None });
        self.answer(WaitUntil::Exit, code);
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
        self.waiters.clear();
        self.holdings.clear();
    }

    fn restart(&mut self, turn: &mut Turn<'_>) {
        let Stage::Restarting { exit } = &self.life.stage else { return };
        if turn.random.chance(4) {
            let failure = failure(FailureKind::NotFound, "exec: \"it\": executable file not found in $PATH");
            let exit = Exit { error: Some(failure), ..exit.clone() };
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
        self.tell(Happening::HealthProbed { status, failing_streak, probe, code: Some(exit_code) });
        match action {
            OnUnhealthy::Stop => self.rules.asked_to_end = true,
            OnUnhealthy::Restart if !self.rules.asked_to_end => self.rules.sent_back = true,
            _ => {}
        }
        self.in_hands(turn).unhealthy(action);
    }

    fn in_hands<'a, 't>(&'a mut self, turn: &'a mut Turn<'t>) -> InHands<'a, 't> {
        InHands { shim: self, turn }
    }

    /// A process that gets a signal: some ignore it, nobody ignores SIGKILL.
    fn signal_process(&mut self, signal: i32, turn: &mut Turn<'_>) {
        if !self.life.is_running() {
            return;
        }
        self.tell(Happening::Killed { signal });
        let Stage::Running(process) = &mut self.life.stage else { return };
        if signal == SIGKILL {
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
}

fn never() -> Exit {
    let never = "0001-01-01T00:00:00Z".to_owned();
    Exit { code: 0, oom_killed: false, started_at: never.clone(), finished_at: never, error: None }
}

pub(crate) fn failure(kind: FailureKind, message: &str) -> Failure {
    Failure { kind, message: message.into(), causes: Vec::new(), verbatim: false }
}

/// What is done to its container, in the order that the shim's own code says.
struct InHands<'a, 't> {
    shim: &'a mut SimulatedShim,
    turn: &'a mut Turn<'t>,
}

impl Hands for InHands<'_, '_> {
    type Running = Process;

    fn life(&mut self) -> &mut Life<Process> {
        &mut self.shim.life
    }

    fn usual(&self) -> (i32, i64) {
        (self.shim.launch.stop_signal, self.shim.launch.stop_timeout)
    }

    fn send(&mut self, signal: i32) -> Result<(), Failure> {
        if !self.shim.life.is_running() {
            return Err(not_running());
        }
        self.shim.signal_process(signal, self.turn);
        Ok(())
    }

    fn kill_all(&mut self) {
        if let Stage::Running(process) = &mut self.shim.life.stage {
            process.ends = Some((self.turn.now, 137));
        }
    }

    fn thaw(&mut self) {
        if let Stage::Running(process) = &mut self.shim.life.stage
            && process.paused
        {
            process.paused = false;
            self.shim.tell(Happening::Resumed);
        }
    }

    fn kill_within(&mut self, grace: Duration) {
        let at = self.turn.now + grace;
        self.shim.kill_at = Some(self.shim.kill_at.map_or(at, |earlier| earlier.min(at)));
    }

    fn end_for_good(&mut self, exit: Exit) {
        self.shim.end_for_good(exit);
    }
}
