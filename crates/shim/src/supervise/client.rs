//! Attached clients: what they type goes in, what comes out goes to them.
//!
//! ```text
//!   (replay of the log) ─▶ live ─▶ closing: what is left is sent, then the socket is closed
//! ```
//!
//! A client that does not take its output fast enough stops the container's output from being read, as in
//! Docker: nothing is dropped, and at most one chunk (32 KiB) per client waits here. A client that replays the
//! log reads the file at its own pace and becomes live at the very byte where the log ends.
//!
//! The end of a client's input closes the container's when that is wanted (`Once`, no terminal); otherwise it
//! ends the attachment: Docker's rule.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::time::Instant;

use linux::poll::{Interest, Poll};

use super::Supervisor;
use super::detach::Detach;
use super::greeting::{self, Greeted};
use super::outbox::Outbox;
use super::process::Role;
use super::reactor::{Alarm, Id, Source, Watch};
use crate::log::query::Progress;
use crate::log::{Format, Output, Stream};
use crate::protocol::{Attachment, Failure, Happening, LogQuery};

/// What is kept for a client that has not heard its greeting yet.
const BEFORE_GREETING: usize = 256 << 10;
/// Bytes taken from a client at once.
const TYPED: usize = 16 << 10;
/// The frame that tells an exit code: behind Docker's, which are of 0 to 3.
const EXIT_FRAME: u8 = 4;
/// Bytes of replayed log under way to a client.
const REPLAY: usize = 32 << 10;

pub(super) struct Client {
    pub process: Id,
    socket: File,
    watch: Watch,
    outbox: Outbox,
    /// It has been sent the head of its response and has until then to read it.
    greeting: Option<Instant>,
    attachment: Attachment,
    detach: Detach,
    /// The client may still send something.
    reading: bool,
    replay: Option<Output>,
    /// No live output any more: flush and close.
    closing: bool,
    /// The other side is gone but what it sent has not all been delivered.
    hung_up: bool,
}

/// What became of a client in one step.
#[derive(PartialEq, Eq)]
enum Fate {
    Stays,
    Gone,
}

impl Client {
    fn wants(&self, stream: Stream) -> bool {
        match stream {
            Stream::Stdout => self.attachment.stdout,
            Stream::Stderr => self.attachment.stderr,
        }
    }

    /// Whether it holds up the output of its process. Before a client has heard its greeting it does so only with much:
    /// should it close its side meanwhile, it still gets what came before.
    pub(super) fn blocks(&self) -> bool {
        let most = if self.greeting.is_some() { BEFORE_GREETING } else { 0 };
        self.outbox.len() > most && self.replay.is_none() && !self.closing
    }

    fn push(&mut self, stream: Stream, bytes: &[u8]) {
        if self.attachment.multiplexed {
            self.outbox.push_frame(stream.frame_id(), bytes);
        } else {
            self.outbox.push(bytes);
        }
    }

    /// Sends what goes and tells epoll what is awaited. `input`: somebody takes what this client types.
    fn flush(&mut self, poll: &Poll, input: bool) -> Fate {
        if self.hung_up {
            let _ = self.watch.set(poll, &self.socket, None);
            return if self.reading { Fate::Stays } else { Fate::Gone };
        }
        self.greeting = self.greeting.take_if(|until| !greeting::is_over(*until, &self.socket));
        if self.greeting.is_none() && self.outbox.flush(&self.socket).is_err() {
            return Fate::Gone;
        }
        if self.closing && self.replay.is_none() && self.outbox.is_empty() {
            return Fate::Gone;
        }
        let interest = Interest {
            read: self.reading && (input || !self.attachment.stdin),
            write: self.greeting.is_none() && self.has_more(),
        };
        if self.watch.set(poll, &self.socket, Some(interest)).is_err() { Fate::Gone } else { Fate::Stays }
    }

    /// Something is there to be sent.
    fn has_more(&self) -> bool {
        !self.outbox.is_empty() || self.replay.is_some()
    }

    /// The other side is closed in both directions: it wants no more output, but what it sent still counts.
    fn hang_up(&mut self) {
        self.hung_up = true;
        self.outbox = Outbox::default();
        self.replay = None;
        (self.attachment.stdout, self.attachment.stderr) = (false, false);
    }
}

impl Supervisor {
    /// Takes a client in for a process. Its preface goes first, then the replay, then what is live.
    pub(super) fn attach(
        &mut self,
        process: Id,
        socket: OwnedFd,
        attachment: Attachment,
    ) -> Result<(), Failure> {
        super::room_for(self.clients.len())?;
        self.seat(process, greeting::greet(socket, attachment)?);
        Ok(())
    }

    /// Takes in a client that has been sent its preface.
    pub(super) fn seat(&mut self, process: Id, greeted: Greeted) {
        let Greeted { socket, mut attachment, outbox, until } = greeted;
        let id = self.next_id();
        let replay = if attachment.replay { self.open_replay(&attachment) } else { None };
        let unread = std::mem::take(&mut attachment.unread);
        let takes_input = self.processes.get(&process).is_some_and(|process| process.stdin.is_some());
        attachment.stdin &= takes_input && attachment.live;
        let client = Client {
            process,
            socket,
            watch: Watch::new(Source::Client(id)),
            outbox,
            greeting: until,
            detach: Detach::new(std::mem::take(&mut attachment.detach_keys)),
            reading: true,
            replay,
            closing: !attachment.live,
            hung_up: false,
            attachment,
        };
        self.clients.insert(id, client);
        if !unread.is_empty() {
            self.typed(id, &unread);
        }
        self.serve_client(id);
    }

    fn open_replay(&self, attachment: &Attachment) -> Option<Output> {
        let query = LogQuery {
            stdout: attachment.stdout,
            stderr: attachment.stderr,
            multiplexed: attachment.multiplexed,
            ..LogQuery::default()
        };
        let rotations = self.log.as_ref()?.rotations();
        let format = Format::of(self.launch.log.driver)?;
        Output::open(&self.launch.log.path, format, query, rotations).ok()
    }

    pub(super) fn client_ready(&mut self, id: Id, readable: bool, hangup: bool) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        if hangup {
            client.hang_up();
            self.drain_hung_up(id);
        } else if readable {
            self.read_client(id);
        }
        self.serve_client(id);
    }

    /// Hands output to the clients of a process that want it.
    pub(super) fn spread(&mut self, process: Id, stream: Stream, length: usize) {
        let takers: Vec<Id> = self
            .clients
            .iter()
            .filter(|(_, client)| client.process == process && client.wants(stream))
            .filter(|(_, client)| client.replay.is_none() && !client.closing)
            .map(|(id, _)| *id)
            .collect();
        for id in takers {
            if let Some(client) = self.clients.get_mut(&id) {
                client.push(stream, &self.chunk[..length]);
            }
            self.serve_client(id);
        }
    }

    /// Nothing more will come out of the process: its clients get the rest and are closed.
    pub(super) fn close_clients(&mut self, process: Id, code: i32) {
        for id in self.clients_of(process) {
            if let Some(client) = self.clients.get_mut(&id) {
                if client.attachment.tell_exit && client.attachment.multiplexed && !client.closing {
                    client.outbox.push_frame(EXIT_FRAME, &code.to_be_bytes());
                }
                client.closing = true;
            }
            self.serve_client(id);
        }
    }

    /// Whether a client of this process has not taken what it was given.
    pub(super) fn is_blocked(&self, process: Id) -> bool {
        self.clients.values().any(|client| client.process == process && client.blocks())
    }

    /// Sends, replays, and lets go of a client that is done.
    pub(super) fn serve_client(&mut self, id: Id) {
        self.replay(id);
        let Some(client) = self.clients.get_mut(&id) else { return };
        let process = client.process;
        let input = self.processes.get(&process).and_then(|process| process.stdin.as_ref());
        let free = input.is_none_or(|inlet| inlet.is_free());
        if client.flush(&self.poll, free) == Fate::Gone {
            self.drop_client(id);
        } else if client.greeting.is_some() && client.has_more() {
            self.alarms.set(Alarm::Greeting(id), greeting::AGAIN);
        }
        self.listen(process);
    }

    /// Moves a replay on. At its end the client becomes live, with what the log does not have yet: the pieces
    /// of lines that are still incomplete.
    fn replay(&mut self, id: Id) {
        let (Some(client), Some(log)) = (self.clients.get_mut(&id), self.log.as_ref()) else { return };
        let Some(output) = &mut client.replay else { return };
        if !client.outbox.is_empty() {
            return;
        }
        if matches!(output.fill(client.outbox.buffer(), REPLAY, log.rotations()), Ok(Progress::More)) {
            return;
        }
        client.replay = None;
        if client.closing {
            return;
        }
        let Some(process) = self.processes.get(&client.process) else { return };
        for tap in [&process.stdout, &process.stderr].into_iter().flatten() {
            let pending = tap.splitter.unrecorded();
            if client.wants(tap.splitter.stream) && !pending.is_empty() {
                client.push(tap.splitter.stream, pending);
            }
        }
    }

    /// Takes a piece of what a client types, unless the process has not taken the last one yet. Returns whether
    /// there may be more.
    fn read_client(&mut self, id: Id) -> bool {
        let Some(client) = self.clients.get_mut(&id).filter(|client| client.reading) else { return false };
        let input = self.processes.get(&client.process).and_then(|process| process.stdin.as_ref());
        if client.attachment.stdin && input.is_some_and(|inlet| !inlet.is_free()) {
            return false;
        }
        let mut bytes = [0; TYPED];
        match (&client.socket).read(&mut bytes) {
            Ok(count) if count > 0 => {
                self.typed(id, &bytes[..count]);
                true
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => false,
            _ => {
                self.input_ended(id);
                false
            }
        }
    }

    /// A client that hung up is out of epoll: it is read to its end here, as far as the process takes it.
    fn drain_hung_up(&mut self, id: Id) {
        while self.read_client(id) {}
    }

    /// What a client typed goes to the process, without the detach keys.
    fn typed(&mut self, id: Id, bytes: &[u8]) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        if !client.attachment.stdin {
            return;
        }
        let process = client.process;
        let mut passed = Vec::with_capacity(bytes.len());
        let detached = client.detach.filter(bytes, &mut passed);
        if detached {
            client.attachment.stdin = false;
            client.closing = true;
        }
        if let Some(inlet) = self.processes.get_mut(&process).and_then(|process| process.stdin.as_mut()) {
            inlet.push(&passed);
        }
        self.pump_input(process);
        if detached {
            let exec = match self.processes.get(&process).map(|process| &process.role) {
                Some(Role::Exec { name }) => Some(name.clone()),
                _ => None,
            };
            self.record(Happening::Detached { exec });
        }
    }

    /// The client sends no more: it closed its half, or is gone.
    fn input_ended(&mut self, id: Id) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        client.reading = false;
        let process = client.process;
        if std::mem::take(&mut client.attachment.stdin) {
            self.close_input_or_client(id, process);
        }
    }

    fn close_input_or_client(&mut self, id: Id, process: Id) {
        match self.processes.get_mut(&process) {
            Some(process) if process.once && !process.terminal => {
                if let Some(inlet) = &mut process.stdin {
                    inlet.close_when_through();
                }
            }
            _ => {
                if let Some(client) = self.clients.get_mut(&id) {
                    client.closing = true;
                }
            }
        }
        self.pump_input(process);
    }

    fn drop_client(&mut self, id: Id) {
        let Some(mut client) = self.clients.remove(&id) else { return };
        let _ = client.watch.set(&self.poll, &client.socket, None);
        if client.attachment.stdin {
            self.close_input_or_client(id, client.process);
        }
        super::part(client.socket);
    }

    /// Writes pending input.
    fn pump_input(&mut self, id: Id) {
        if let Some(process) = self.processes.get_mut(&id)
            && let Some(inlet) = &mut process.stdin
            && !inlet.pump(&self.poll)
        {
            process.close_input(&self.poll);
        }
    }

    /// The process takes input again: its clients may go on typing.
    pub(super) fn input_ready(&mut self, process: Id) {
        self.pump_input(process);
        for id in self.clients_of(process) {
            if self.clients.get(&id).is_some_and(|client| client.hung_up) {
                self.drain_hung_up(id);
            }
            self.serve_client(id);
        }
    }

    fn clients_of(&self, process: Id) -> Vec<Id> {
        self.clients.iter().filter(|(_, client)| client.process == process).map(|(id, _)| *id).collect()
    }
}
