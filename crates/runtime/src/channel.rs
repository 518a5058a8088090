//! What the runtime and the copy of it that becomes the container say to each other.
//!
//! ```text
//!   runtime                                   container's side
//!      │ clone3, writes id maps                  │ waits for Go if it has a user namespace
//!      │ ── Go ─────────────────────────────────▶│ namespaces, mounts
//!      │ ◀────────── Maps (+ a mount's source) ──│ only for id maps that it has no rights for
//!      │ ── Go ─────────────────────────────────▶│
//!      │ ◀──────────────────────────── Prepared ─│ only if there are hooks or network devices
//!      │ network devices, hooks                  │
//!      │ ── Go ─────────────────────────────────▶│ pivot, devices, limits, labels
//!      │ ◀── Ready (+ terminal, + listener) ─────│ waits at the gate
//!      │ limits that need our rights             ╎
//!      │ ── Go ───────────(start)───────────────▶│ executes: the channel closes by itself
//!      │ ◀──────────────── Failed at any time ───│
//! ```
//!
//! Where the container joins the PID namespace of others, one process builds it out of their sight, and another one is
//! born among them when that is done, before `Ready`:
//!
//! ```text
//!      │ ◀── Born (its id) ──────────────────────│ ends
//!      │ ── Go ──────────────────────────▶ the new one goes on
//! ```
//!
//! With a user namespace that is new, the builder has no right to join them by then. It does so first, which counts for
//! its children alone, and makes the user namespace next; from there on it has no child but the one that stays:
//!
//! ```text
//!      │ ◀── Separate ───────────────────────────│ has made the user namespace
//!      │ id maps ── Go ─────────────────────────▶│
//!      │ ◀── Hooks (+ the root's directory) ─────│ only if there are hooks of createContainer
//!      │ runs them ── Go ───────────────────────▶│
//! ```
//!
//! Messages are packets of a `SOCK_SEQPACKET` pair: a letter, then for `Failed` the error as JSON. The end of the
//! channel without a message means the other side is gone.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use std::time::Duration;

use linux::process::Pid;
use linux::{fd, poll, procfs};

use crate::error::{Kind, Step};
use crate::{Error, Result};

/// An error's text is cut so that a packet always fits the default socket buffer.
const MAX_PACKET: usize = 32 << 10;

/// How often one that is silent is looked at, and how often it is found stopped before it is given up. A debugger stops it
/// for moments.
const LOOK: Duration = Duration::from_millis(100);
const PATIENCE: u32 = 20;

#[derive(Debug)]
pub(crate) struct Channel {
    socket: OwnedFd,
}

/// What arrived at the runtime.
#[derive(Debug)]
pub(crate) enum Report {
    Prepared,
    Ready(Vec<OwnedFd>),
    /// A copy of this mount's source, in the order of the configuration, which needs rights of ours to be id-mapped.
    Maps(usize, OwnedFd),
    /// The container's process is another one from here on.
    Born(Pid),
    /// It is in the user namespace that it was to have.
    Separate,
    /// The hooks of `createContainer`, in its namespaces and this directory, are ours to run.
    Hooks(OwnedFd),
    Failed(Error),
    /// The program was executed, or the process died; its exit status tells which.
    Closed,
}

impl Channel {
    pub(crate) fn pair() -> Result<(Channel, Channel)> {
        let (ours, theirs) = linux::socket::packet_pair().step(|| "channel")?;
        Ok((Channel { socket: ours }, Channel { socket: theirs }))
    }

    pub(crate) fn from_socket(socket: OwnedFd) -> Channel {
        Channel { socket }
    }

    pub(crate) fn go(&self) -> Result<()> {
        fd::send(&self.socket, b"G", &[]).map(drop).step(|| "channel")
    }

    pub(crate) fn prepared(&self) -> Result<()> {
        fd::send(&self.socket, b"P", &[]).map(drop).step(|| "channel")
    }

    pub(crate) fn ready(&self, descriptors: &[BorrowedFd<'_>]) -> Result<()> {
        fd::send(&self.socket, b"R", descriptors).map(drop).step(|| "channel")
    }

    /// Has the runtime map the ids of a mount's source, and waits for it.
    pub(crate) fn map_ids(&self, index: usize, tree: &OwnedFd) -> Result<bool> {
        fd::send(&self.socket, format!("M{index}").as_bytes(), &[tree.as_fd()]).step(|| "channel")?;
        self.wait_for_go()
    }

    pub(crate) fn born(&self, pid: Pid) -> Result<()> {
        fd::send(&self.socket, format!("B{pid}").as_bytes(), &[]).map(drop).step(|| "channel")
    }

    pub(crate) fn separate(&self) -> Result<()> {
        fd::send(&self.socket, b"S", &[]).map(drop).step(|| "channel")
    }

    pub(crate) fn hooks(&self, root: BorrowedFd<'_>) -> Result<()> {
        fd::send(&self.socket, b"H", &[root]).map(drop).step(|| "channel")
    }

    /// Tells why; there is nobody else to tell if that fails too.
    pub(crate) fn failed(&self, error: &Error) {
        let mut packet = vec![b'F'];
        let json = serde_json::to_vec(error).unwrap_or_default();
        if json.len() < MAX_PACKET {
            packet.extend(json);
        } else {
            let short: String = error.message().chars().take(4096).collect();
            packet.extend(serde_json::to_vec(&Error::new(error.kind(), short)).unwrap_or_default());
        }
        let _nobody_left = fd::send(&self.socket, &packet, &[]);
    }

    /// The container's side waits for the runtime. False when the runtime is gone.
    pub(crate) fn wait_for_go(&self) -> Result<bool> {
        let mut letter = [0; 1];
        Ok(fd::read(&self.socket, &mut letter).step(|| "channel")? == 1)
    }

    /// The runtime waits for a process that others may see, and stop: then it would wait for as long as they like, and a
    /// supervisor with it.
    pub(crate) fn report_of(&self, pid: Pid) -> Result<Report> {
        let mut found_stopped = 0;
        while !poll::wait_readable(&self.socket, Some(LOOK)).step(|| "channel")? {
            let stopped = procfs::stat(pid).is_ok_and(|stat| "Tt".contains(stat.state));
            found_stopped = if stopped { found_stopped + 1 } else { 0 };
            if found_stopped == PATIENCE {
                return Err(Error::other("another process has stopped it before its program was executed"));
            }
        }
        self.report()
    }

    /// The runtime waits for the container's side.
    pub(crate) fn report(&self) -> Result<Report> {
        // Nearly all are a few bytes, and memory that is written to right after a clone is copied.
        let waiting = match fd::waiting_packet(&self.socket) {
            // It died with something of ours unread.
            Err(error) if error.is(linux::Errno::CONNRESET) => return Ok(Report::Closed),
            other => other.step(|| "channel")?,
        };
        let mut packet = vec![0; waiting.min(MAX_PACKET)];
        let mut descriptors = Vec::new();
        let length = fd::receive(&self.socket, &mut packet, &mut descriptors).step(|| "channel")?;
        match packet[..length].split_first() {
            None => Ok(Report::Closed),
            Some((b'P', _)) => Ok(Report::Prepared),
            Some((b'R', _)) => Ok(Report::Ready(descriptors)),
            Some((b'M', index)) => match (number(index), descriptors.pop()) {
                (Some(index), Some(tree)) => Ok(Report::Maps(index, tree)),
                _ => Err(Error::other("channel: a mount without a source")),
            },
            Some((b'B', pid)) => match number(pid) {
                Some(pid) => Ok(Report::Born(pid)),
                None => Err(Error::other("channel: a process without an id")),
            },
            Some((b'S', _)) => Ok(Report::Separate),
            Some((b'H', _)) => match descriptors.pop() {
                Some(root) => Ok(Report::Hooks(root)),
                None => Err(Error::other("channel: hooks without a directory")),
            },
            Some((b'F', json)) => Ok(Report::Failed(
                serde_json::from_slice(json).unwrap_or_else(|_| Error::new(Kind::Other, "unknown error")),
            )),
            Some((letter, _)) => Err(Error::other(format_args!("channel: unexpected message {letter:#x}"))),
        }
    }
}

fn number<T: std::str::FromStr>(digits: &[u8]) -> Option<T> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_arrive_whole_and_long_ones_cut() {
        let (ours, theirs) = Channel::pair().unwrap();
        theirs.failed(&Error::new(Kind::NotFound, "gone").met_in_container());
        let Report::Failed(error) = ours.report().unwrap() else { panic!() };
        assert_eq!(error.to_string(), "error during container init: gone");
        assert_eq!(error.exit_status(), 127);
        theirs.failed(&Error::other("x".repeat(1 << 20)));
        let Report::Failed(error) = ours.report().unwrap() else { panic!() };
        assert_eq!(error.message().len(), 4096);
        drop(theirs);
        assert!(matches!(ours.report().unwrap(), Report::Closed));
    }
}
