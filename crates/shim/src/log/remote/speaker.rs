//! Somebody who speaks TLS for us: the program `wharf-tls`, one process a connection.
//!
//! ```text
//!   Link ◀── stream socket ──▶ wharf-tls ◀── TLS ──▶ collector
//!        ◀── pipe: why it failed ──┘
//! ```
//!
//! What it is told and how it answers is written in that program. What we give it counts as sent, as it does when the
//! kernel has it: a connection that breaks costs what was on the way, here at most 64 KiB more.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use linux::process::{Pid, Program, Spawn};
use linux::{Errno, socket};

use super::words;
use crate::protocol::Tls;

/// Longer than it takes itself for a connection and a handshake, so that it can say what it waited for.
pub(super) const PATIENCE: Duration = Duration::from_secs(25);

/// What may lie between us and it.
const BUFFER: usize = 16 << 10;
/// A complaint is a sentence.
const COMPLAINT: usize = 1024;

pub(super) struct Speaker {
    complaints: OwnedFd,
    pid: Pid,
}

impl Speaker {
    /// It connects by itself; the socket tells when it has.
    pub(super) fn start(told: &Tls, address: SocketAddr) -> Result<(OwnedFd, Speaker), String> {
        let failed = |error: linux::Error| format!("{}: {}", told.program.display(), words(&error));
        let (ours, theirs) = socket::pair().map_err(failed)?;
        socket::set_send_buffer(&ours, BUFFER).map_err(failed)?;
        linux::fd::set_nonblocking(&ours, true).map_err(failed)?;
        let (complaints, end) = linux::fd::pipe().map_err(failed)?;
        linux::fd::set_nonblocking(&complaints, true).map_err(failed)?;
        let child = Spawn::new(Program::Path(&told.program), &arguments(told, address))
            .and_then(Spawn::inherit_env)
            .and_then(|spawn| spawn.directory(Path::new("/")))
            .map_err(failed)?
            .descriptor(theirs.as_fd(), 0)
            .descriptor(end.as_fd(), 2)
            .session()
            .start()
            .map_err(failed)?;
        Ok((ours, Speaker { complaints, pid: child.pid }))
    }

    pub(super) fn pid(&self) -> Pid {
        self.pid
    }

    /// Whether it has said that the connection is up. Afterwards the socket is the collector's.
    pub(super) fn is_up(&self, socket: BorrowedFd<'_>) -> Result<bool, String> {
        let mut first = [0; 1];
        match linux::fd::read(socket, &mut first) {
            Ok(1) => Ok(true),
            Err(error) if error.is(Errno::AGAIN) => Ok(false),
            Err(error) => Err(self.complaint().unwrap_or_else(|| words(&error))),
            Ok(_) => Err(self.complaint().unwrap_or_else(|| "the TLS connection was not made".into())),
        }
    }

    /// Until the connection is up.
    pub(super) fn wait(&self, socket: BorrowedFd<'_>) -> Result<(), String> {
        linux::poll::wait_readable(socket, Some(PATIENCE)).map_err(|error| words(&error))?;
        match self.is_up(socket)? {
            true => Ok(()),
            false => Err(words(&linux::Error::new("connect", "", Errno::TIMEDOUT))),
        }
    }

    /// Why the connection has ended. Nothing: its other side has closed it.
    pub(super) fn complaint(&self) -> Option<String> {
        let mut text = [0; COMPLAINT];
        let count = linux::fd::read(&self.complaints, &mut text).unwrap_or(0);
        let text = String::from_utf8_lossy(&text[..count]).trim_end().to_owned();
        (!text.is_empty()).then_some(text)
    }
}

fn arguments(told: &Tls, address: SocketAddr) -> Vec<OsString> {
    let mut words: Vec<OsString> =
        vec!["wharf-tls".into(), address.to_string().into(), (&told.server).into()];
    for (option, path) in [("--ca", &told.authority), ("--cert", &told.certificate), ("--key", &told.key)] {
        if let Some(path) = path {
            words.extend([option.into(), path.into()]);
        }
    }
    if !told.verify {
        words.push("--skip-verify".into());
    }
    words
}
