//! The events of one shim, as they come.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::os::unix::net::UnixStream as Blocking;

use shim::protocol::{Decoder, Event};
use tokio::net::UnixStream;

use crate::error::{Error, Result};

/// One read; most events are a few hundred bytes.
const CHUNK: usize = 16 << 10;

pub(crate) struct EventStream {
    socket: UnixStream,
    decoder: Decoder,
    ready: VecDeque<Event>,
}

impl EventStream {
    /// Takes over a subscription that a shim handle made. Needs the async runtime of the caller.
    pub(super) fn new(socket: Blocking) -> Result<EventStream> {
        let failed = |error| Error::failed("cannot listen to a shim", error);
        socket.set_nonblocking(true).map_err(failed)?;
        Ok(EventStream {
            socket: UnixStream::from_std(socket).map_err(failed)?,
            decoder: Decoder::default(),
            ready: VecDeque::new(),
        })
    }

    /// The next event; none when the shim is gone or makes no sense. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            self.socket.readable().await.ok()?;
            let mut chunk = [0; CHUNK];
            match self.socket.try_read(&mut chunk) {
                Ok(0) => return None,
                Ok(count) => self.decode(&chunk[..count])?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return None,
            }
        }
    }

    /// An event that is there already, whether the reactor has noticed or not. The end of the stream is left for [`EventStream::next`] to find.
    pub(super) fn at_hand(&mut self) -> Option<Event> {
        if self.ready.is_empty() {
            let mut chunk = [0; CHUNK];
            let count = linux::fd::read(&self.socket, &mut chunk).ok()?;
            self.decode(&chunk[..count])?;
        }
        self.ready.pop_front()
    }

    fn decode(&mut self, bytes: &[u8]) -> Option<()> {
        self.decoder.push(bytes);
        loop {
            match self.decoder.pop() {
                Ok(Some(event)) => self.ready.push_back(event),
                Ok(None) => return Some(()),
                Err(error) => {
                    tracing::error!(%error, "a shim sent an event that makes no sense");
                    return None;
                }
            }
        }
    }
}
