//! What the engine asks a simulated shim, and is answered.

use std::io::{self, Write};
use std::net::Shutdown;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use oci::runtime::Resources;
use shim::life::Stage;
use shim::protocol::{
    Failure, FailureKind, HostPort, Phase, Reply, Request, Snapshot, VERSION, WaitUntil, Waiter,
};
use shim::stop::Hands;

use super::{SimulatedShim, Subscriber, Turn, failure};

impl SimulatedShim {
    /// Answers a request.
    pub(crate) fn handle(&mut self, request: &Request, turn: &mut Turn<'_>) -> Reply {
        let done = |result: Result<(), Failure>| result.map_or_else(Reply::Failed, |()| Reply::Done);
        match request {
            Request::State => Reply::State(self.snapshot()),
            Request::Signal { signal, final_stop } => {
                self.rules.asked_to_end |= final_stop;
                done(self.in_hands(turn).signal(*signal, *final_stop))
            }
            Request::Stop { signal, timeout } => {
                self.rules.asked_to_end = true;
                done(self.in_hands(turn).stop(*signal, *timeout))
            }
            Request::Exec { id, .. } => {
                self.exec(id, turn).map_or_else(Reply::Failed, |pid| Reply::ExecStarted { pid })
            }
            Request::Pause => done(self.pause(true, turn)),
            Request::Resume => done(self.pause(false, turn)),
            Request::Update { resources, restart } => {
                self.limit = resources.as_deref().and_then(limit_of).or(self.limit);
                if let Some(policy) = restart {
                    (self.life.restarts.policy, self.rules.policy) = (*policy, *policy);
                }
                Reply::Done
            }
            Request::Names(names) => {
                self.own_names.clone_from(&names.own);
                Reply::Done
            }
            // One that has ended for good is let go by whoever has it.
            Request::Release { .. } => {
                done(Err(failure(FailureKind::Conflict, "the container has not ended for good")))
            }
            _ => done(Err(failure(FailureKind::Invalid, "no client is simulated"))),
        }
    }

    /// Keeps the sockets of these ports and takes new ones; those of others are closed.
    pub(crate) fn hold(&mut self, ports: &[HostPort], new: &[BorrowedFd<'_>], turn: &mut Turn<'_>) -> Reply {
        turn.wires.sweep();
        let wires = &*turn.wires;
        let holds = |socket: &OwnedFd, port: &HostPort| {
            let bound = wires.bound_to(socket);
            bound.is_some_and(|(transport, host)| (transport.name(), host) == (&port.protocol, port.host))
        };
        self.holdings
            .retain(|held| wires.bound_to(held).is_none() || ports.iter().any(|port| holds(held, port)));
        self.relays = ports.iter().filter_map(|port| port.relay).collect();
        self.holdings.extend(new.iter().map(|socket| socket.try_clone_to_owned().unwrap()));
        let is_missing = |port: &HostPort| !self.holdings.iter().any(|held| holds(held, port));
        let missing = ports.iter().enumerate().filter(|(_, port)| is_missing(port)).map(|(index, _)| index);
        Reply::Ports { missing: missing.collect() }
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
            execs: self.execs.keys().cloned().collect(),
            health: None,
            log_lost: 0,
        }
    }

    pub(super) fn waits(&mut self, waiter: &Waiter, socket: OwnedFd) {
        let mut socket = UnixStream::from(socket);
        // A client that is gone wants nothing.
        if socket.write_all(&waiter.preface).is_ok() {
            self.waiters.push((Waiter { preface: Vec::new(), ..waiter.clone() }, socket));
        }
    }

    pub(crate) fn wait(&mut self, waiter: &Waiter, descriptors: &[BorrowedFd<'_>]) -> Reply {
        self.waits(waiter, descriptors[0].try_clone_to_owned().unwrap());
        if let Some(code) = self.life.final_code() {
            self.answer(WaitUntil::Exit, code);
        }
        Reply::Done
    }

    pub(super) fn answer(&mut self, until: WaitUntil, code: i32) {
        for (waiter, mut socket) in self.waiters.extract_if(.., |(waiter, _)| waiter.until == until) {
            let _ = socket.write_all(&waiter.body(code));
            // Whoever else holds it: nothing follows.
            let _ = socket.shutdown(Shutdown::Write);
        }
    }

    /// The engine lets it go: those who wait for the removal are told, or go back to the engine.
    pub(crate) fn waiters_at_release(&mut self, removed: bool) -> (Reply, Vec<OwnedFd>) {
        if removed {
            self.answer(WaitUntil::Removed, self.life.final_code().unwrap_or(0));
        }
        let (waiters, sockets) =
            self.waiters.drain(..).map(|(waiter, socket)| (waiter, OwnedFd::from(socket))).unzip();
        (Reply::Released { waiters }, sockets)
    }
}

pub(super) fn limit_of(resources: &Resources) -> Option<i64> {
    resources.pids.as_ref()?.limit
}
