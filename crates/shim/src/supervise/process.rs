//! A process of the container as the shim holds it: its end, its output, its input.
//!
//! ```text
//!   stdout, stderr ─▶ Tap ─▶ log, clients, or a probe's result      (a terminal is one Tap)
//!   clients ─▶ Inlet ─▶ stdin                                       (and a duplicate of the terminal)
//!
//!   running ──ended──▶ draining ──all Taps at their end, or 2 s──▶ finished
//! ```

use std::fs::File;
use std::os::fd::OwnedFd;

use linux::poll::{Interest, Poll};

use super::outbox::Outbox;
use super::reactor::{Id, Source, Watch};
use crate::log::{Splitter, Stream};
use crate::{clock, health};

/// What may still be read past slow clients once the process has ended: the largest pipe that it can have made
/// without privileges. So nothing that it wrote is lost, and a surviving grandchild cannot fill our memory.
pub(super) const DRAIN_ALLOWANCE: usize = 1 << 20;

pub(super) struct Process {
    pub role: Role,
    pub pid: i32,
    pub pidfd: OwnedFd,
    pub terminal: bool,
    pub stdout: Option<Tap>,
    pub stderr: Option<Tap>,
    pub stdin: Option<Inlet>,
    /// Close `stdin` when the first client that feeds it ends.
    pub once: bool,
    pub ending: Ending,
}

pub(super) enum Role {
    /// The container's own.
    Main,
    Exec {
        name: String,
    },
    Probe(Box<Probing>),
    /// Nobody's; see [`super::stray`].
    Stray,
}

/// A health probe under way.
pub(super) struct Probing {
    pub output: health::Output,
    pub started_at: i64,
    /// Since the start of the container's process.
    pub running: std::time::Duration,
    pub timed_out: bool,
}

pub(super) enum Ending {
    Running,
    Draining { code: i32, allowance: usize },
}

/// The reading end of an output.
pub(super) struct Tap {
    pub file: File,
    pub watch: Watch,
    pub splitter: Splitter,
}

impl Tap {
    pub(super) fn new(fd: OwnedFd, process: Id, stream: Stream) -> linux::Result<Tap> {
        linux::fd::set_nonblocking(&fd, true)?;
        let source = match stream {
            Stream::Stdout => Source::Stdout(process),
            Stream::Stderr => Source::Stderr(process),
        };
        Ok(Tap { file: File::from(fd), watch: Watch::new(source), splitter: Splitter::new(stream) })
    }
}

/// The writing end of an input.
pub(super) struct Inlet {
    file: File,
    watch: Watch,
    pending: Outbox,
    /// Close when everything pending is through.
    closing: bool,
}

impl Inlet {
    pub(super) fn new(fd: OwnedFd, process: Id) -> linux::Result<Inlet> {
        linux::fd::set_nonblocking(&fd, true)?;
        let watch = Watch::new(Source::Stdin(process));
        Ok(Inlet { file: File::from(fd), watch, pending: Outbox::default(), closing: false })
    }

    /// Whether clients may be read from: the process has taken everything so far.
    pub(super) fn is_free(&self) -> bool {
        self.pending.is_empty() && !self.closing
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.pending.push(bytes);
    }

    pub(super) fn close_when_through(&mut self) {
        self.closing = true;
    }

    /// Writes what goes; false when the input is over (closed as wanted, or nobody reads it any more).
    pub(super) fn pump(&mut self, poll: &Poll) -> bool {
        let open = self.pending.flush(&self.file).is_ok() && !(self.closing && self.pending.is_empty());
        let interest = (open && !self.pending.is_empty()).then_some(Interest::WRITE);
        self.watch.set(poll, &self.file, interest).is_ok() && open
    }
}

impl Process {
    pub(super) fn tap(&mut self, stream: Stream) -> &mut Option<Tap> {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }

    pub(super) fn is_main(&self) -> bool {
        matches!(self.role, Role::Main)
    }

    /// Starts or stops listening to the outputs. `blocked`: a client has not taken what it was given.
    pub(super) fn listen(&mut self, poll: &Poll, blocked: bool) {
        let past_clients = matches!(self.ending, Ending::Draining { allowance, .. } if allowance > 0);
        let interest = (!blocked || past_clients).then_some(Interest::READ);
        for slot in [&mut self.stdout, &mut self.stderr] {
            if let Some(tap) = slot
                && tap.watch.set(poll, &tap.file, interest).is_err()
            {
                *slot = None;
            }
        }
    }

    /// Takes an output out of the loop.
    pub(super) fn close_output(&mut self, poll: &Poll, stream: Stream) -> Option<Tap> {
        let mut tap = self.tap(stream).take()?;
        // A terminal has a second descriptor, so closing alone would not take this one out.
        let _ = tap.watch.set(poll, &tap.file, None);
        Some(tap)
    }

    pub(super) fn close_input(&mut self, poll: &Poll) {
        if let Some(mut inlet) = self.stdin.take() {
            let _ = inlet.watch.set(poll, &inlet.file, None);
        }
    }

    /// The process has ended and nothing more will come out of it.
    pub(super) fn is_finished(&self) -> bool {
        matches!(self.ending, Ending::Draining { .. }) && self.stdout.is_none() && self.stderr.is_none()
    }

    pub(super) fn code(&self) -> Option<i32> {
        match self.ending {
            Ending::Running => None,
            Ending::Draining { code, .. } => Some(code),
        }
    }

    pub(super) fn new_probing(running: std::time::Duration) -> Box<Probing> {
        let (output, started_at) = (health::Output::default(), clock::now());
        Box::new(Probing { output, started_at, running, timed_out: false })
    }
}
