//! Clients of a container that does not run: their sockets wait here for the start, and travel with it.
//!
//! They get the head of their response at once. `docker run` attaches, waits for that head, registers its wait, waits
//! for that head too, and only then starts the container.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::time::Duration;

use linux::poll::{Interest, Poll};
use shim::protocol::{Attachment, Waiter};

use crate::error::{Error, Result};

/// Clients of each sort that may wait at one container. They hold a descriptor of the engine each.
pub(super) const LIMIT: usize = 256;

#[derive(Default)]
pub(super) struct Held {
    pub(super) attachments: Vec<(Attachment, OwnedFd)>,
    pub(super) waiters: Vec<(Waiter, OwnedFd)>,
}

impl Held {
    pub(super) fn attach(&mut self, mut attachment: Attachment, socket: OwnedFd) -> Result<()> {
        self.attachments.retain(|(_, socket)| !hung_up(socket));
        room(self.attachments.len())?;
        let socket = greet(socket, &mut attachment.preface)?;
        self.attachments.push((attachment, socket));
        Ok(())
    }

    /// Takes a client whose head is sent.
    pub(super) fn wait(&mut self, waiter: Waiter, socket: OwnedFd) -> Result<()> {
        self.waiters.retain(|(_, socket)| !hung_up(socket));
        room(self.waiters.len())?;
        self.waiters.push((waiter, socket));
        Ok(())
    }

    /// Those who wait for an end, once more: their sockets are about to be given away.
    pub(super) fn waiting(&self) -> Result<Vec<(Waiter, OwnedFd)>> {
        let copy = |(waiter, socket): &(Waiter, OwnedFd)| Ok((waiter.clone(), linux::fd::duplicate(socket)?));
        let copies: linux::Result<_> = self.waiters.iter().map(copy).collect();
        copies.map_err(|error| Error::failed("cannot keep the clients that wait", error))
    }

    /// Clients whose heads are sent, and who wait for the removal.
    pub(super) fn take_over(&mut self, waiters: impl Iterator<Item = (Waiter, OwnedFd)>) {
        self.waiters.extend(waiters);
    }

    /// The container is gone: everybody who waits is told, everybody who is attached sees the end.
    pub(super) fn dismiss(&mut self, code: i32) {
        self.attachments.clear();
        for (waiter, socket) in self.waiters.drain(..) {
            answer(&waiter, socket, code);
        }
    }

    /// A start has failed: who is attached sees the end, and a wait for an exit goes on.
    pub(super) fn start_failed(&mut self) {
        self.attachments.clear();
    }
}

/// Tells a client whose head is sent.
pub(super) fn answer(waiter: &Waiter, socket: OwnedFd, code: i32) {
    if let Err(error) = crate::ticket::answer(socket, &[&waiter.body(code)]) {
        tracing::debug!(%error, "a waiting client went away");
    }
}

fn room(taken: usize) -> Result<()> {
    if taken < LIMIT {
        return Ok(());
    }
    Err(Error::unavailable(format!("{LIMIT} clients already wait for this container to start")))
}

/// Sends the head of the response, which then need not be sent again.
pub(super) fn greet(socket: OwnedFd, preface: &mut Vec<u8>) -> Result<OwnedFd> {
    let mut file = File::from(socket);
    file.write_all(preface).map_err(|error| Error::failed("cannot answer a client", error))?;
    preface.clear();
    Ok(file.into())
}

/// Whether the client has closed its connection altogether. A half-closed one may still want output.
pub(super) fn hung_up(socket: &OwnedFd) -> bool {
    let look = || -> linux::Result<bool> {
        let poll = Poll::new()?;
        poll.add(socket, 0, Interest::NONE)?;
        let mut events = Vec::new();
        poll.wait(&mut events, Some(Duration::ZERO))?;
        Ok(events.iter().any(|event| event.hangup))
    };
    look().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use shim::protocol::WaitUntil;

    use super::*;

    fn waiter(until: WaitUntil) -> Waiter {
        Waiter { until, preface: b"head\n".to_vec(), chunked: true }
    }

    #[test]
    fn a_client_gets_its_head_at_once_and_its_body_at_the_end() {
        let (mut client, ours) = UnixStream::pair().unwrap();
        let mut held = Held::default();
        let mut waiter = waiter(WaitUntil::Removed);
        let ours = greet(ours.into(), &mut waiter.preface).unwrap();
        held.wait(waiter, ours).unwrap();
        let mut head = [0; 5];
        client.read_exact(&mut head).unwrap();
        assert_eq!(&head, b"head\n");
        held.dismiss(0);
        let mut body = String::new();
        client.read_to_string(&mut body).unwrap();
        assert_eq!(body, "11\r\n{\"StatusCode\":0}\n\r\n0\r\n\r\n");
    }

    #[test]
    fn clients_that_left_make_room() {
        let mut held = Held::default();
        for _ in 0..LIMIT * 2 {
            let (client, ours) = UnixStream::pair().unwrap();
            held.wait(waiter(WaitUntil::Exit), ours.into()).unwrap();
            drop(client);
        }
        // Not one at most: for a moment a process that another test starts has what was open then.
        assert!(held.waiters.len() < LIMIT, "{}", held.waiters.len());
    }
}
