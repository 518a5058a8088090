//! One relayed connection: two sockets, and what each has not taken yet.
//!
//! ```text
//!   client ──▶ to_server ──▶ server      an end of stream is passed on when the bytes before it are
//!   client ◀── to_client ◀── server      done when both directions have ended, or one socket failed
//! ```

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use linux::inet;
use linux::poll::{Event, Interest, Poll, Token};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Server,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    Going,
    Done,
}

impl Progress {
    pub(super) fn is_done(self) -> bool {
        self == Progress::Done
    }
}

/// What flows one way.
#[derive(Debug, Default)]
struct Direction {
    /// Read, and not yet written.
    pending: Vec<u8>,
    /// The sender has sent its last byte.
    ended: bool,
    /// The receiver was told so.
    closed: bool,
}

impl Direction {
    fn wants_read(&self) -> bool {
        self.pending.is_empty() && !self.ended
    }
}

#[derive(Debug)]
struct End {
    stream: TcpStream,
    /// What the poll was told; none when it is not registered, so that a hang-up that cannot be handled yet does not
    /// wake the loop over and over.
    registered: Option<Interest>,
}

#[derive(Debug)]
pub(super) struct Connection {
    client: End,
    server: End,
    connecting: bool,
    to_server: Direction,
    to_client: Direction,
}

impl Connection {
    pub(super) fn open(
        client: TcpStream,
        target: SocketAddr,
        poll: &Poll,
        token: Token,
    ) -> linux::Result<Connection> {
        linux::fd::set_nonblocking(&client, true)?;
        let server = TcpStream::from(inet::connect(target)?);
        // Small writes pass as they come; failing to say so only delays them.
        let _ = client.set_nodelay(true);
        let _ = server.set_nodelay(true);
        poll.add(&server, token | 1, Interest::WRITE)?;
        Ok(Connection {
            client: End { stream: client, registered: None },
            server: End { stream: server, registered: Some(Interest::WRITE) },
            connecting: true,
            to_server: Direction::default(),
            to_client: Direction::default(),
        })
    }

    pub(super) fn advance(
        &mut self,
        side: Side,
        event: Event,
        poll: &Poll,
        token: Token,
        scratch: &mut [u8],
    ) -> Progress {
        if self.connecting {
            if inet::connect_outcome(&self.server.stream).is_err() {
                return Progress::Done;
            }
            self.connecting = false;
        }
        if self.move_bytes(side, event, scratch).is_err() {
            return Progress::Done;
        }
        if self.to_server.closed && self.to_client.closed {
            return Progress::Done;
        }
        match self.register(poll, token) {
            Ok(()) => Progress::Going,
            Err(_) => Progress::Done,
        }
    }

    fn move_bytes(&mut self, side: Side, event: Event, scratch: &mut [u8]) -> std::io::Result<()> {
        let (from, to) = match side {
            Side::Client => (&mut self.client.stream, &mut self.server.stream),
            Side::Server => (&mut self.server.stream, &mut self.client.stream),
        };
        let (sent, received) = match side {
            Side::Client => (&mut self.to_server, &mut self.to_client),
            Side::Server => (&mut self.to_client, &mut self.to_server),
        };
        if event.writable || event.hangup {
            flush(received, from)?;
        }
        if (event.readable || event.hangup) && sent.wants_read() {
            pump(sent, from, to, scratch)?;
        }
        Ok(())
    }

    fn register(&mut self, poll: &Poll, token: Token) -> linux::Result<()> {
        let client =
            Interest { read: self.to_server.wants_read(), write: !self.to_client.pending.is_empty() };
        let server =
            Interest { read: self.to_client.wants_read(), write: !self.to_server.pending.is_empty() };
        self.client.register(poll, token, client)?;
        self.server.register(poll, token | 1, server)
    }
}

impl End {
    fn register(&mut self, poll: &Poll, token: Token, interest: Interest) -> linux::Result<()> {
        let wanted = (interest != Interest::NONE).then_some(interest);
        match (self.registered, wanted) {
            (before, after) if before == after => return Ok(()),
            (None, Some(interest)) => poll.add(&self.stream, token, interest)?,
            (Some(_), Some(interest)) => poll.modify(&self.stream, token, interest)?,
            (_, None) => poll.remove(&self.stream)?,
        }
        self.registered = wanted;
        Ok(())
    }
}

/// One read, written on at once as far as it goes.
fn pump(
    direction: &mut Direction,
    from: &mut TcpStream,
    to: &mut TcpStream,
    scratch: &mut [u8],
) -> std::io::Result<()> {
    let length = match from.read(scratch) {
        Ok(length) => length,
        Err(error) if would_block(&error) => return Ok(()),
        Err(error) => return Err(error),
    };
    direction.ended = length == 0;
    let written = write_some(to, &scratch[..length])?;
    direction.pending.extend_from_slice(&scratch[written..length]);
    pass_on_end(direction, to)
}

fn flush(direction: &mut Direction, to: &mut TcpStream) -> std::io::Result<()> {
    let written = write_some(to, &direction.pending)?;
    if written == direction.pending.len() {
        direction.pending = Vec::new();
    } else {
        direction.pending.drain(..written);
    }
    pass_on_end(direction, to)
}

fn pass_on_end(direction: &mut Direction, to: &TcpStream) -> std::io::Result<()> {
    if direction.ended && direction.pending.is_empty() && !direction.closed {
        direction.closed = true;
        match to.shutdown(Shutdown::Write) {
            Err(error) if error.kind() != ErrorKind::NotConnected => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn write_some(to: &mut TcpStream, bytes: &[u8]) -> std::io::Result<usize> {
    let mut written = 0;
    while written < bytes.len() {
        match to.write(&bytes[written..]) {
            Ok(length) => written += length,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if would_block(&error) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(written)
}

fn would_block(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
