//! What the loop waits for: descriptors, by name, and points in time.
//!
//! A descriptor is registered under a [`Source`], which travels through epoll as one number. Ids are never used
//! twice, so an event for something that has just been closed finds nothing and is ignored. Timers are few (a
//! handful per container) and kept in a plain list.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use linux::poll::{Event, Interest, Poll};

/// Counts up; never reused.
pub(super) type Id = u64;

/// Something registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// `shim.sock`.
    Listener,
    /// The engine, asking or listening.
    Connection(Id),
    /// The end of a process.
    Process(Id),
    /// The output of a process; the terminal counts as standard output.
    Stdout(Id),
    Stderr(Id),
    /// The input of a process, when it is full.
    Stdin(Id),
    /// An attached client.
    Client(Id),
    /// A client that reads the log.
    Viewer(Id),
    /// A client that waits for an exit.
    Waiter(Id),
    /// The memory controller's notification.
    Memory,
    /// Names and relays are loops of their own, each behind one descriptor.
    Resolver,
    Relays,
    /// The connection of a health probe.
    Asking,
    /// The collector of the log; its connections are numbered.
    Collector(u64),
}

const KIND_SHIFT: u32 = 56;

impl Source {
    fn token(self) -> u64 {
        let (kind, id) = match self {
            Source::Listener => (0, 0),
            Source::Connection(id) => (1, id),
            Source::Process(id) => (2, id),
            Source::Stdout(id) => (3, id),
            Source::Stderr(id) => (4, id),
            Source::Stdin(id) => (5, id),
            Source::Client(id) => (6, id),
            Source::Viewer(id) => (7, id),
            Source::Waiter(id) => (8, id),
            Source::Memory => (9, 0),
            Source::Resolver => (10, 0),
            Source::Relays => (11, 0),
            Source::Asking => (13, 0),
            Source::Collector(connection) => (12, connection),
        };
        kind << KIND_SHIFT | id
    }

    pub(super) fn of(event: &Event) -> Option<Source> {
        let id = event.token & ((1 << KIND_SHIFT) - 1);
        Some(match event.token >> KIND_SHIFT {
            0 => Source::Listener,
            1 => Source::Connection(id),
            2 => Source::Process(id),
            3 => Source::Stdout(id),
            4 => Source::Stderr(id),
            5 => Source::Stdin(id),
            6 => Source::Client(id),
            7 => Source::Viewer(id),
            8 => Source::Waiter(id),
            9 => Source::Memory,
            10 => Source::Resolver,
            11 => Source::Relays,
            13 => Source::Asking,
            12 => Source::Collector(id),
            _ => return None,
        })
    }
}

/// The registration of one descriptor: remembers what epoll was told, so that it is told only changes.
///
/// `None` takes the descriptor out altogether: epoll reports a hang-up whatever the interest, and one that is
/// not wanted yet would keep the loop spinning.
#[derive(Debug)]
pub(super) struct Watch {
    source: Source,
    told: Option<Interest>,
}

impl Watch {
    pub(super) fn new(source: Source) -> Watch {
        Watch { source, told: None }
    }

    pub(super) fn set(
        &mut self,
        poll: &Poll,
        fd: impl AsFd,
        interest: Option<Interest>,
    ) -> linux::Result<()> {
        match (self.told, interest) {
            (told, wanted) if told == wanted => return Ok(()),
            (None, Some(interest)) => poll.add(fd, self.source.token(), interest)?,
            (Some(_), Some(interest)) => poll.modify(fd, self.source.token(), interest)?,
            (_, None) => poll.remove(fd)?,
        }
        self.told = interest;
        Ok(())
    }
}

/// Registers a descriptor of our own whose interest never changes. Closing takes it out, because no other
/// process has a duplicate; one that was passed to us needs a [`Watch`] and has to be taken out by name.
pub(super) fn watch(poll: &Poll, fd: impl AsFd, source: Source, interest: Interest) -> linux::Result<()> {
    poll.add(fd, source.token(), interest)
}

/// Registers a file that reports changes as urgent data.
pub(super) fn watch_changes(poll: &Poll, fd: impl AsFd, source: Source) -> linux::Result<()> {
    poll.add_priority(fd, source.token())
}

/// What a point in time is for. At most one of each is set; [`Alarm::Drain`] per process,
/// [`Alarm::Greeting`] per client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Alarm {
    /// The grace of a stop is over.
    Kill,
    /// The policy brings the container back.
    Restart,
    /// The next health probe.
    Probe,
    /// The running probe takes too long.
    ProbeTimeout,
    /// What the run left is taken apart, though nobody has released us.
    TakeApart,
    /// The log's collector: a connection is made, or has taken too long.
    Collector,
    /// What the collector has not taken by now is dropped.
    Linger,
    /// A process has ended and somebody still holds its output open.
    Drain(Id),
    /// A client that something waits for may have read the head of its response by now.
    Greeting(Id),
}

#[derive(Debug, Default)]
pub(super) struct Alarms {
    set: Vec<(Instant, Alarm)>,
}

impl Alarms {
    /// Replaces an earlier one of the same name. A time beyond the clock's range is never.
    pub(super) fn set(&mut self, alarm: Alarm, after: Duration) {
        self.cancel(alarm);
        if let Some(at) = Instant::now().checked_add(after) {
            self.set.push((at, alarm));
        }
    }

    /// Like [`Alarms::set`], unless it is set for an earlier time already.
    pub(super) fn set_earlier(&mut self, alarm: Alarm, after: Duration) {
        let sooner = self.set.iter().any(|(at, other)| {
            *other == alarm && Instant::now().checked_add(after).is_none_or(|wanted| *at <= wanted)
        });
        if !sooner {
            self.set(alarm, after);
        }
    }

    pub(super) fn cancel(&mut self, alarm: Alarm) {
        self.set.retain(|(_, other)| *other != alarm);
    }

    /// How long the loop may sleep.
    pub(super) fn sleep(&self) -> Option<Duration> {
        let first = self.set.iter().map(|(at, _)| *at).min()?;
        Some(first.saturating_duration_since(Instant::now()))
    }

    /// The next one whose time has come, earliest first.
    pub(super) fn pop(&mut self) -> Option<Alarm> {
        let now = Instant::now();
        let (index, _) =
            self.set.iter().enumerate().filter(|(_, (at, _))| *at <= now).min_by_key(|(_, (at, _))| *at)?;
        Some(self.set.swap_remove(index).1)
    }
}
