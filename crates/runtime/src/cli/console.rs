//! Terminals: handed to whoever asked for one by socket, or relayed to our own.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use linux::poll::{Event, Interest, Poll};
use linux::pty;
use linux::signal::{self, Signals};
use runtime::{Error, Result};

use super::notify::Readiness;

const INPUT: u64 = 0;
const TERMINAL: u64 = 1;
const SIGNALS: u64 = 2;
const PROCESS: u64 = 3;
const READINESS: u64 = 4;

/// Sends a descriptor over a Unix socket, with a name for it.
pub(crate) fn send(path: &str, name: &str, descriptor: BorrowedFd<'_>) -> Result<()> {
    let socket = UnixStream::connect(path).map_err(|error| Error::of_file("connect", path, &error))?;
    linux::fd::send_all(&socket, name.as_bytes(), &[descriptor]).map_err(Error::other)
}

/// Waits for a process in the foreground: passes signals and its readiness on, and relays between its terminal and ours.
pub(crate) fn attend(
    process: BorrowedFd<'_>,
    terminal: Option<OwnedFd>,
    signals: &Signals,
    readiness: Option<&mut Readiness>,
) -> Result<()> {
    let error = |error: linux::Error| Error::other(error.to_string());
    let stdin = std::io::stdin();
    let modes = match &terminal {
        Some(_) if pty::is_terminal(&stdin) => Some(pty::make_raw(&stdin).map_err(error)?),
        _ => None,
    };
    let attended = relay(process, terminal.as_ref(), signals, readiness);
    if let Some(modes) = modes {
        pty::restore(&stdin, &modes).map_err(error)?;
    }
    attended.map_err(error)
}

fn relay(
    process: BorrowedFd<'_>,
    terminal: Option<&OwnedFd>,
    signals: &Signals,
    mut readiness: Option<&mut Readiness>,
) -> linux::Result<()> {
    let poll = Poll::new()?;
    poll.add(process, PROCESS, Interest::READ)?;
    poll.add(signals, SIGNALS, Interest::READ)?;
    if let Some(readiness) = &readiness {
        poll.add(readiness, READINESS, Interest::READ)?;
    }
    let (stdin, stdout) = (std::io::stdin(), std::io::stdout());
    if let Some(terminal) = terminal {
        poll.add(terminal, TERMINAL, Interest::READ)?;
        // A plain file cannot be polled; it is sent whole, as a shell does.
        match poll.add(&stdin, INPUT, Interest::READ) {
            Err(error) if error.is(linux::Errno::PERM) => while copy(stdin.as_fd(), terminal.as_fd())? {},
            other => other?,
        }
        follow_size(terminal)?;
    }
    let mut events: Vec<Event> = Vec::new();
    loop {
        events.clear();
        poll.wait(&mut events, None)?;
        if let Some(readiness) = &mut readiness {
            readiness.take(linux::process::id());
        }
        for event in &events {
            match (event.token, terminal) {
                (INPUT, Some(terminal)) if !copy(stdin.as_fd(), terminal.as_fd())? => poll.remove(&stdin)?,
                (TERMINAL, Some(terminal)) if !copy(terminal.as_fd(), stdout.as_fd())? => {
                    poll.remove(terminal)?
                }
                (SIGNALS, _) => pass_signals(process, terminal, signals)?,
                (PROCESS, _) => {
                    // What it printed last is still on its way.
                    if let Some(terminal) = terminal {
                        linux::fd::set_nonblocking(terminal, true)?;
                        while copy(terminal.as_fd(), stdout.as_fd())? {}
                    }
                    return Ok(());
                }
                _ => {}
            }
        }
    }
}

/// False at the end. A terminal whose other side is closed reads as `EIO`.
fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> linux::Result<bool> {
    let mut buffer = [0; 8192];
    match linux::fd::read(from, &mut buffer) {
        Ok(0) => Ok(false),
        Ok(count) => linux::fd::write_all(to, &buffer[..count]).map(|()| true),
        Err(error) if error.is(linux::Errno::IO) || error.is(linux::Errno::AGAIN) => Ok(false),
        Err(error) => Err(error),
    }
}

fn pass_signals(process: BorrowedFd<'_>, terminal: Option<&OwnedFd>, signals: &Signals) -> linux::Result<()> {
    while let Some(received) = signals.take()? {
        match (received.signal, terminal) {
            // Children are waited for by their descriptors.
            (signal::SIGCHLD, _) => {}
            (signal::SIGWINCH, Some(terminal)) => follow_size(terminal)?,
            (number, _) => match linux::process::send_signal(process, number) {
                Err(error) if !error.is(linux::Errno::SRCH) => return Err(error),
                _ => {}
            },
        }
    }
    Ok(())
}

fn follow_size(terminal: &OwnedFd) -> linux::Result<()> {
    let stdin = std::io::stdin();
    if pty::is_terminal(&stdin) { pty::resize(terminal, pty::size(&stdin)?) } else { Ok(()) }
}

/// All that a foreground process is passed.
pub(crate) fn signals() -> Result<Signals> {
    let unpassable = [signal::SIGKILL, signal::SIGSTOP, signal::SIGPIPE, 32, 33];
    // A fault of our own must end us.
    let faults = [4, 5, 6, 7, 8, 11, 31, 20, 21, 22, 23];
    let all: Vec<i32> =
        (1..=signal::MAX).filter(|number| !unpassable.contains(number) && !faults.contains(number)).collect();
    Signals::new(&all).map_err(Error::other)
}
