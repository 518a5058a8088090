//! The bytes of one connection, both ways, until either side ends it.
//!
//! ```text
//!   local ──read──▶ session ──▶ remote        read only when the session has nothing left to send
//!   local ◀── inbound ◀── session ◀── remote  read only when the last bytes have gone
//!
//!   handshake ──▶ '+' ──▶ open ──local's end──▶ closing ──remote's end, or its time──▶ over
//! ```
//!
//! Closing says goodbye and reads on until the server does the same: closing a socket in which something lies unread (a
//! session ticket, say) would take back what the server has not read yet.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use linux::poll::{Event, Interest, Poll, Token};
use rustls::ClientConnection;
use trust::words;

use crate::PATIENCE;

/// A record of TLS.
const PIECE: usize = 16 << 10;
/// How long what is left may take once nobody adds to it.
const LINGER: Duration = Duration::from_secs(10);

const LOCAL: Token = 0;
const REMOTE: Token = 1;

struct Carrier {
    local: UnixStream,
    remote: TcpStream,
    session: ClientConnection,
    phase: Phase,
    /// From the server, and not yet given on.
    inbound: Vec<u8>,
    /// The starter has gone: until then what it left may take.
    gone: Option<Instant>,
    /// What each descriptor is watched for; one that is not wanted is not watched at all, since its end would be told
    /// over and over.
    watched: [Option<Interest>; 2],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Handshake { until: Instant },
    Open,
    Closing { until: Instant },
}

/// How one step went.
enum Step {
    On,
    Over,
}

/// An error is what the starter should hear. The end in order is none, whoever began it.
pub(crate) fn carry(local: UnixStream, remote: TcpStream, session: ClientConnection) -> Result<(), String> {
    let failed = |error: io::Error| words::of_io(&error);
    local.set_nonblocking(true).map_err(failed)?;
    remote.set_nonblocking(true).map_err(failed)?;
    // Whoever writes gathers already.
    remote.set_nodelay(true).map_err(failed)?;
    let phase = Phase::Handshake { until: Instant::now() + PATIENCE };
    Carrier { local, remote, session, phase, inbound: Vec::new(), gone: None, watched: [None; 2] }.work()
}

impl Carrier {
    fn work(mut self) -> Result<(), String> {
        let poll = Poll::new().map_err(|error| error.to_string())?;
        let mut events = Vec::new();
        loop {
            self.watch(&poll).map_err(|error| error.to_string())?;
            let until = match self.phase {
                Phase::Open => self.gone,
                Phase::Handshake { until } | Phase::Closing { until } => Some(until),
            };
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            events.clear();
            poll.wait(&mut events, left).map_err(|error| error.to_string())?;
            if events.is_empty() && until.is_some_and(|until| until <= Instant::now()) {
                return match self.phase {
                    Phase::Open | Phase::Closing { .. } => Ok(()),
                    Phase::Handshake { .. } => Err("tls: the server takes too long for its handshake".into()),
                };
            }
            for event in &events {
                if let Step::Over = self.handle(event)? {
                    return Ok(());
                }
            }
        }
    }

    fn handle(&mut self, event: &Event) -> Result<Step, String> {
        match (event.token, self.phase) {
            // It is watched for nothing yet: this is its end.
            (LOCAL, Phase::Handshake { .. }) => return Ok(Step::Over),
            (LOCAL, _) => self.serve_local(event)?,
            _ => {
                if event.writable || event.hangup {
                    self.send()?;
                }
                if event.readable
                    && let Step::Over = self.receive()?
                {
                    return Ok(Step::Over);
                }
            }
        }
        if let Phase::Handshake { .. } = self.phase
            && !self.session.is_handshaking()
        {
            self.inbound.insert(0, b'+');
            self.phase = Phase::Open;
        }
        self.deliver();
        Ok(Step::On)
    }

    fn watch(&mut self, poll: &Poll) -> linux::Result<()> {
        let waiting = self.session.wants_write();
        let local = Interest { read: self.phase == Phase::Open && !waiting, write: !self.inbound.is_empty() };
        let remote = Interest { read: self.inbound.is_empty(), write: waiting };
        let wanted = |interest: Interest| (interest != Interest::NONE).then_some(interest);
        // Nothing in particular is wanted: its end.
        let end = self.gone.is_none().then_some(Interest::NONE);
        set(poll, &self.local, LOCAL, &mut self.watched[0], wanted(local).or(end))?;
        set(poll, &self.remote, REMOTE, &mut self.watched[1], wanted(remote))
    }

    fn serve_local(&mut self, event: &Event) -> Result<(), String> {
        if event.hangup {
            self.gone.get_or_insert(Instant::now() + LINGER);
        }
        if event.writable || event.hangup {
            self.deliver();
        }
        // A starter that is gone may have left something to read.
        if !event.readable || self.phase != Phase::Open || self.session.wants_write() {
            return Ok(());
        }
        let mut piece = [0; PIECE];
        match self.local.read(&mut piece) {
            Ok(0) => self.close()?,
            Ok(count) => {
                let written = self.session.writer().write_all(&piece[..count]);
                written.map_err(|error| words::of_io(&error))?;
                self.send()?;
            }
            Err(error) if is_for_later(&error) => {}
            Err(_) => self.close()?,
        }
        Ok(())
    }

    /// Gives on what the server has sent. A starter that has gone gets nothing.
    fn deliver(&mut self) {
        while !self.inbound.is_empty() {
            match self.local.write(&self.inbound) {
                Ok(count) => drop(self.inbound.drain(..count)),
                Err(error) if is_for_later(&error) => return,
                Err(_) => self.inbound.clear(),
            }
        }
    }

    fn close(&mut self) -> Result<(), String> {
        self.session.send_close_notify();
        let until = *self.gone.get_or_insert(Instant::now() + LINGER);
        self.phase = Phase::Closing { until };
        self.inbound.clear();
        self.send()
    }

    fn send(&mut self) -> Result<(), String> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut &self.remote) {
                Ok(_) => {}
                Err(error) if is_for_later(&error) => return Ok(()),
                Err(error) => return Err(format!("write tcp: {}", words::of_io(&error))),
            }
        }
        if let Phase::Closing { .. } = self.phase {
            // The server reads its end behind the last byte. One that is gone has nothing to read.
            let _ = self.remote.shutdown(Shutdown::Write);
        }
        Ok(())
    }

    fn receive(&mut self) -> Result<Step, String> {
        match self.session.read_tls(&mut &self.remote) {
            Ok(0) => return self.ended(),
            Ok(_) => {}
            Err(error) if is_for_later(&error) => return Ok(Step::On),
            Err(error) => return Err(format!("read tcp: {}", words::of_io(&error))),
        }
        let state = match self.session.process_new_packets() {
            Ok(state) => state,
            Err(error) => {
                // The server is told why, if it listens.
                let _ = self.session.write_tls(&mut &self.remote);
                return Err(words::of(&error));
            }
        };
        let before = self.inbound.len();
        self.inbound.resize(before + state.plaintext_bytes_to_read(), 0);
        let read = self.session.reader().read(&mut self.inbound[before..]).unwrap_or(0);
        self.inbound.truncate(before + read);
        if let Phase::Closing { .. } = self.phase {
            self.inbound.clear();
        }
        if state.peer_has_closed() { self.ended() } else { Ok(Step::On) }
    }

    /// The server sends no more.
    fn ended(&mut self) -> Result<Step, String> {
        self.deliver();
        match self.phase {
            Phase::Handshake { .. } => Err("EOF".into()),
            _ => Ok(Step::Over),
        }
    }
}

fn set(
    poll: &Poll,
    fd: impl AsFd,
    token: Token,
    watched: &mut Option<Interest>,
    wanted: Option<Interest>,
) -> linux::Result<()> {
    match (*watched, wanted) {
        (before, after) if before == after => return Ok(()),
        (None, Some(interest)) => poll.add(fd, token, interest)?,
        (Some(_), Some(interest)) => poll.modify(fd, token, interest)?,
        (_, None) => poll.remove(fd)?,
    }
    *watched = wanted;
    Ok(())
}

fn is_for_later(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests;
