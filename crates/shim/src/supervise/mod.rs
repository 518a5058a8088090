//! The shim at work: one thread, one loop, everything that one container needs.
//!
//! ```text
//!   engine ──▶ connection ──▶ requests ─┐                    ┌─▶ journal ─▶ subscribers
//!   clients ─▶ client, viewer, waiter ──┤                    │
//!   pipes, pty ─▶ output ───────────────┼─▶  Supervisor  ────┼─▶ log
//!   pidfds ─▶ lifecycle, exec, probe ───┤   (one epoll)      ├─▶ collector ─▶ journald, syslog, …
//!   names, relays ─▶ holdings ──────────┘                    └─▶ maker: start, exec, pause, delete
//! ```
//!
//! Every event is handled to its end before the next, in bounded time: reads take one chunk, the log compresses
//! one piece, what cannot be sent waits in a bounded buffer and holds up its source. There is no lock and no
//! thread. Each file of this module adds one concern to the [`Supervisor`]; what is a decision rather than an
//! effect lives above, without I/O ([`crate::life`], [`crate::stop`], [`crate::restart`], [`crate::health`]).

mod ask;
mod client;
mod collector;
mod connection;
mod detach;
mod exec;
mod greeting;
mod holdings;
mod launch;
mod lifecycle;
mod maker;
mod outbox;
mod output;
mod probe;
mod process;
mod reactor;
mod record;
mod requests;
mod stdio;
mod stray;
mod viewer;
mod waiter;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use linux::poll::{Event, Poll};

use crate::health::Monitor;
use crate::journal::Journal;
use crate::life::Life;
use crate::log::{Stream, Writer};
use crate::protocol::{Failure, FailureKind, Launch, Probe};
use crate::stop::Hands;
use reactor::{Alarm, Alarms, Id, Source};

pub use launch::run;

/// Output read at once. Larger than a log part, so that a busy container costs few system calls.
const CHUNK: usize = 32 << 10;

/// Clients of one kind (attached, reading the log, waiting) at one time. Each costs a descriptor or more, of which
/// a process usually has 1024.
const MAX_CLIENTS: usize = 200;

/// When nothing has happened for so long, memory that is not needed to wait is given back.
const REST: Duration = Duration::from_secs(10);

/// Everything the shim knows.
struct Supervisor {
    launch: Launch,
    poll: Poll,
    alarms: Alarms,
    last_id: Id,
    life: Life<lifecycle::Running>,
    /// The engine wants no more of us.
    released: bool,
    container: Option<Box<dyn maker::Container>>,
    memory: Option<linux::cgroup::MemoryWatch>,
    holdings: holdings::Holdings,
    processes: BTreeMap<Id, process::Process>,
    clients: BTreeMap<Id, client::Client>,
    viewers: BTreeMap<Id, viewer::Viewer>,
    waiters: BTreeMap<Id, waiter::Waiter>,
    connections: BTreeMap<Id, connection::Connection>,
    listener: Option<UnixListener>,
    journal: Journal,
    log: Option<Writer>,
    collector: Option<collector::Collector>,
    /// The log cannot be written at the moment.
    losing: bool,
    monitor: Option<Monitor>,
    /// The health probe that is running.
    probe: Option<Id>,
    /// The health probe that waits for an answer.
    asking: Option<ask::Asking>,
    probes: u64,
    results: Vec<Probe>,
    /// Where output is read into.
    chunk: Box<[u8]>,
}

impl Supervisor {
    /// Works until the engine has released us and every client has what is owed to it.
    fn work(&mut self) {
        let mut events = Vec::new();
        let mut rests = false;
        while !self.is_done() {
            self.adopt_strays();
            let sleep = self.sleep(rests);
            events.clear();
            let waited = match rests {
                true => self.poll.rest(&mut events, sleep),
                false => self.poll.wait(&mut events, sleep),
            };
            if waited.is_err() {
                // Only a broken epoll descriptor does this. The container is ended by our death, and the engine's
                // cleanup records it.
                return;
            }
            rests = events.is_empty() && !rests && sleep == Some(REST);
            if events.is_empty()
                && let Some(log) = self.log.as_mut()
            {
                log.compress_step();
            }
            for event in &events {
                if let Some(source) = Source::of(event) {
                    self.handle_event(source, event);
                }
            }
            while let Some(alarm) = self.alarms.pop() {
                self.handle_alarm(alarm);
            }
        }
    }

    /// How long to wait for an event.
    fn sleep(&self, rests: bool) -> Option<Duration> {
        if self.log.as_ref().is_some_and(|log| log.is_compressing()) {
            return Some(Duration::ZERO);
        }
        match self.alarms.sleep() {
            alarm if rests => alarm,
            alarm => Some(alarm.map_or(REST, |alarm| alarm.min(REST))),
        }
    }

    fn handle_event(&mut self, source: Source, event: &Event) {
        match source {
            Source::Listener => self.accept(),
            Source::Connection(id) => self.connection_ready(id, event.readable),
            Source::Process(id) => self.process_ended(id),
            Source::Stdout(id) => self.output_ready(id, Stream::Stdout),
            Source::Stderr(id) => self.output_ready(id, Stream::Stderr),
            Source::Stdin(id) => self.input_ready(id),
            Source::Client(id) => self.client_ready(id, event.readable, event.hangup),
            Source::Viewer(id) => self.viewer_ready(id, event.hangup),
            Source::Waiter(id) => self.waiter_ready(id, event.hangup),
            Source::Memory => self.memory_ready(),
            Source::Collector(connection) => self.collector_ready(connection, event.readable),
            Source::Resolver => self.holdings.resolve(),
            Source::Relays => self.holdings.relay(),
            Source::Asking => self.asking_ready(),
        }
    }

    fn handle_alarm(&mut self, alarm: Alarm) {
        match alarm {
            Alarm::Kill => self.grace_is_over(),
            Alarm::Restart => self.restart(),
            Alarm::Probe => self.probe(),
            Alarm::ProbeTimeout => self.probe_timed_out(),
            Alarm::TakeApart => self.take_apart(),
            Alarm::Drain(id) => self.drain_over(id),
            Alarm::Collector => self.pump_collector(),
            Alarm::Linger => self.give_collector_up(),
            Alarm::Greeting(id) => self.serve_client(id),
        }
    }

    /// Released, and nobody is owed a byte. A client that never reads keeps us here, as it would keep Docker.
    fn is_done(&self) -> bool {
        let clients = self.clients.len() + self.viewers.len();
        (self.released || self.is_abandoned())
            && clients == 0
            && self.replies_are_sent()
            && self.collector_is_through()
    }

    /// Nobody will ever read the end. An engine that is connected still may.
    fn is_abandoned(&self) -> bool {
        self.final_code().is_some()
            && self.container.is_none()
            && self.connections.is_empty()
            && Self::is_lost()
    }

    /// Somebody has removed the runtime directory, where we are: no engine will find us, and the container may be started
    /// anew beside us.
    fn is_lost() -> bool {
        std::fs::metadata(".").is_ok_and(|here| here.nlink() == 0)
    }

    fn next_id(&mut self) -> Id {
        self.last_id += 1;
        self.last_id
    }
}

/// Closes a client's socket so that it sees an orderly end: closing with unread input would make it an error.
fn part(mut socket: File) {
    // Not a socket, or closed by the other side already: then closing is all there is to do.
    let _ = linux::socket::shutdown_write(&socket);
    let mut rest = [0; 4096];
    // Bounded: who goes on typing into an ended session may as well see an error.
    for _ in 0..64 {
        if !matches!(socket.read(&mut rest), Ok(count) if count > 0) {
            break;
        }
    }
}

fn failure(kind: FailureKind, message: impl Into<String>) -> Failure {
    Failure { kind, message: message.into(), causes: Vec::new(), verbatim: false }
}

/// Refuses one client more than there is room for.
fn room_for(clients: usize) -> Result<(), Failure> {
    match clients < MAX_CLIENTS {
        true => Ok(()),
        false => Err(failure(FailureKind::Conflict, "too many clients are connected to the container")),
    }
}

/// What the kernel refused, with the causes that it names.
fn other(error: &dyn std::error::Error) -> Failure {
    let causes = std::iter::successors(error.source(), |cause| cause.source()).map(|cause| cause.to_string());
    Failure {
        kind: FailureKind::Other,
        message: error.to_string(),
        causes: causes.collect(),
        verbatim: false,
    }
}
