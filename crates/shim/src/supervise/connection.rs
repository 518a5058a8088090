//! The engine at the other end of `shim.sock`: requests and their replies, or a subscription to events.
//!
//! A connection asks one thing at a time; after `Subscribe` it only listens. Whoever does not read what it asked
//! for is cut off at a bound and may come back: the journal has all events.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use linux::poll::Interest;

use super::Supervisor;
use super::outbox::Outbox;
use super::reactor::{Id, Source, Watch};
use crate::frame::{self, Assembler};
use crate::protocol::{Event, FailureKind, Happening, Reply, Request};

/// Connections at one time; an engine has one or two.
const MAX_CONNECTIONS: usize = 32;
/// What waits for a reader: more than the whole journal (1 MiB).
const MAX_OUTBOX: usize = 2 << 20;

pub(super) struct Connection {
    socket: std::fs::File,
    watch: Watch,
    assembler: Assembler,
    outbox: Outbox,
    subscribed: bool,
}

impl Supervisor {
    pub(super) fn accept(&mut self) {
        // An error concerns the peer that was to be accepted; the next one gets its own chance.
        while let Some(Ok((stream, _))) = self.listener.as_ref().map(|listener| listener.accept()) {
            if self.connections.len() < MAX_CONNECTIONS {
                self.adopt_connection(stream);
            }
        }
    }

    /// Takes a connection in. One that cannot be registered is closed, and the engine tries again.
    pub(super) fn adopt_connection(&mut self, stream: UnixStream) {
        let id = self.next_id();
        let mut watch = Watch::new(Source::Connection(id));
        let ready = stream.set_nonblocking(true).is_ok()
            && watch.set(&self.poll, &stream, Some(Interest::READ)).is_ok();
        if ready {
            let socket = std::fs::File::from(OwnedFd::from(stream));
            let (assembler, outbox) = (Assembler::default(), Outbox::default());
            self.connections.insert(id, Connection { socket, watch, assembler, outbox, subscribed: false });
        }
    }

    pub(super) fn connection_ready(&mut self, id: Id, readable: bool) {
        if readable && !self.read_requests(id) {
            return self.drop_connection(id);
        }
        self.flush_connection(id);
    }

    /// False when the connection is over.
    fn read_requests(&mut self, id: Id) -> bool {
        let Some(connection) = self.connections.get_mut(&id) else { return true };
        match connection.assembler.receive(&connection.socket) {
            Ok(true) => {}
            Ok(false) => return false,
            Err(error) => return error.kind() == std::io::ErrorKind::WouldBlock,
        }
        loop {
            let Some(connection) = self.connections.get_mut(&id) else { return true };
            let frame = match connection.assembler.take() {
                Ok(Some(frame)) => frame,
                Ok(None) => return true,
                Err(_) => return false,
            };
            let (reply, descriptors) = match serde_json::from_slice::<Request>(&frame.payload) {
                Ok(Request::Subscribe { after }) => {
                    if !self.subscribe(id, after) {
                        return false;
                    }
                    continue;
                }
                Ok(request) => self
                    .handle(request, frame.descriptors)
                    .unwrap_or_else(|failure| (Reply::Failed(failure), Vec::new())),
                Err(error) => {
                    let message = format!("the shim does not understand the request: {error}");
                    (Reply::Failed(super::failure(FailureKind::Invalid, message)), Vec::new())
                }
            };
            if !self.reply(id, &reply, &descriptors) {
                return false;
            }
        }
    }

    fn reply(&mut self, id: Id, reply: &Reply, descriptors: &[OwnedFd]) -> bool {
        let Some(connection) = self.connections.get_mut(&id) else { return true };
        if descriptors.is_empty() {
            let Ok(bytes) = frame::encode(reply, 0) else { return false };
            connection.outbox.push(&bytes);
            return connection.outbox.len() <= MAX_OUTBOX;
        }
        // Descriptors ride with a first byte that is sent now: nothing may be waiting before it, and nothing is,
        // because a peer asks only after it has read the last reply. A small frame fits into an empty buffer.
        let borrowed: Vec<BorrowedFd<'_>> = descriptors.iter().map(|fd| fd.as_fd()).collect();
        connection.outbox.is_empty() && frame::send(&connection.socket, reply, &borrowed).is_ok()
    }

    fn subscribe(&mut self, id: Id, after: u64) -> bool {
        let Ok(missed) = self.journal.since(after) else { return false };
        let Some(connection) = self.connections.get_mut(&id) else { return true };
        connection.subscribed = true;
        missed.iter().all(|event| connection.push_event(event))
    }

    /// Writes an event to the journal and tells those who listen.
    pub(super) fn record(&mut self, what: Happening) {
        self.tell(what);
    }

    /// The same; gives the time that the event bears.
    pub(super) fn tell(&mut self, what: Happening) -> String {
        let event = self.journal.record(what);
        let ids: Vec<Id> =
            self.connections.iter().filter(|(_, one)| one.subscribed).map(|(id, _)| *id).collect();
        for id in ids {
            match self.connections.get_mut(&id).map(|connection| connection.push_event(&event)) {
                Some(false) => self.drop_connection(id),
                _ => self.flush_connection(id),
            }
        }
        event.time
    }

    pub(super) fn replies_are_sent(&self) -> bool {
        self.connections.values().all(|connection| connection.outbox.is_empty())
    }

    pub(super) fn flush_connections(&mut self) {
        for id in self.connections.keys().copied().collect::<Vec<_>>() {
            self.flush_connection(id);
        }
    }

    fn flush_connection(&mut self, id: Id) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let sent = connection.outbox.flush(&connection.socket);
        let interest = Interest { read: true, write: !connection.outbox.is_empty() };
        if sent.is_err() || connection.watch.set(&self.poll, &connection.socket, Some(interest)).is_err() {
            self.drop_connection(id);
        }
    }

    fn drop_connection(&mut self, id: Id) {
        if let Some(mut connection) = self.connections.remove(&id) {
            let _ = connection.watch.set(&self.poll, &connection.socket, None);
        }
    }
}

impl Connection {
    /// False when the listener is too far behind.
    fn push_event(&mut self, event: &Event) -> bool {
        let Ok(bytes) = frame::encode(event, 0) else { return false };
        self.outbox.push(&bytes);
        self.outbox.len() <= MAX_OUTBOX
    }
}
