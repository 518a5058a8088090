//! Waiting: epoll, timers and wake-ups as descriptors.
//!
//! A loop registers each descriptor with a number of its own choosing ([`Token`]) and gets the numbers back.
//! Level-triggered throughout: what was not read yet is reported again, so a step may leave work for later.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, PollFd, PollFlags};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};

use crate::error::Context;
use crate::memory::{self, Segment};
use crate::{Errno, Result};

/// How many events one wait hands out; more stay queued in the kernel.
const BATCH: usize = 64;

/// What the owner of a loop calls a registered descriptor.
pub type Token = u64;

/// What to be woken for. The end of the other side is told in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interest {
    pub read: bool,
    pub write: bool,
}

impl Interest {
    pub const NONE: Interest = Interest { read: false, write: false };
    pub const READ: Interest = Interest { read: true, write: false };
    pub const WRITE: Interest = Interest { read: false, write: true };
    pub const BOTH: Interest = Interest { read: true, write: true };

    fn flags(self) -> EventFlags {
        let mut flags = EventFlags::empty();
        flags.set(EventFlags::IN | EventFlags::RDHUP, self.read);
        flags.set(EventFlags::OUT, self.write);
        flags
    }
}

/// What a descriptor is ready for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    pub token: Token,
    /// There is something to read, the end included.
    pub readable: bool,
    pub writable: bool,
    /// The other side is gone, or the descriptor failed. Reported whatever the interest.
    pub hangup: bool,
    /// Urgent data; for cgroup and proc files: the content changed.
    pub priority: bool,
}

/// A set of descriptors to wait for (epoll(7)).
#[derive(Debug)]
pub struct Poll {
    epoll: OwnedFd,
}

impl Poll {
    pub fn new() -> Result<Poll> {
        let epoll = epoll::create(CreateFlags::CLOEXEC).context("epoll_create1", || "EPOLL_CLOEXEC")?;
        Ok(Poll { epoll })
    }

    pub fn add(&self, fd: impl AsFd, token: Token, interest: Interest) -> Result<()> {
        epoll::add(&self.epoll, &fd, EventData::new_u64(token), interest.flags())
            .context("epoll_ctl", || format!("EPOLL_CTL_ADD, {}", fd.as_fd().as_raw_fd()))
    }

    /// For files that report a change as urgent data: `memory.events`, `cgroup.events`, `/proc/self/mounts`.
    pub fn add_priority(&self, fd: impl AsFd, token: Token) -> Result<()> {
        epoll::add(&self.epoll, &fd, EventData::new_u64(token), EventFlags::PRI)
            .context("epoll_ctl", || format!("EPOLL_CTL_ADD, {}", fd.as_fd().as_raw_fd()))
    }

    pub fn modify(&self, fd: impl AsFd, token: Token, interest: Interest) -> Result<()> {
        epoll::modify(&self.epoll, &fd, EventData::new_u64(token), interest.flags())
            .context("epoll_ctl", || format!("EPOLL_CTL_MOD, {}", fd.as_fd().as_raw_fd()))
    }

    pub fn remove(&self, fd: impl AsFd) -> Result<()> {
        epoll::delete(&self.epoll, &fd)
            .context("epoll_ctl", || format!("EPOLL_CTL_DEL, {}", fd.as_fd().as_raw_fd()))
    }

    /// Waits and appends to `events`. `None` waits for ever. A signal ends the wait with no events.
    pub fn wait(&self, events: &mut Vec<Event>, timeout: Option<Duration>) -> Result<()> {
        self.wait_without(&[], events, timeout)
    }

    /// The same for a wait that may be a long one: meanwhile the process has given back the heap that it does not use, and
    /// holds no pages of its program but those that it waits in. They come back as they are touched, which takes a tenth
    /// of a millisecond in all.
    pub fn rest(&self, events: &mut Vec<Event>, timeout: Option<Duration>) -> Result<()> {
        memory::give_back();
        self.wait_without(&memory::program(), events, timeout)
    }

    fn wait_without(
        &self,
        program: &[Segment],
        events: &mut Vec<Event>,
        timeout: Option<Duration>,
    ) -> Result<()> {
        let timeout = timeout.map(timespec);
        let mut buffer = [epoll::Event { flags: EventFlags::empty(), data: EventData::new_u64(0) }; BATCH];
        // Nothing else between this and the wait.
        for segment in program {
            segment.let_go();
        }
        let count = match epoll::wait(&self.epoll, &mut buffer[..], timeout.as_ref()) {
            Err(Errno::INTR) => return Ok(()),
            other => other.context("epoll_wait", || "")?,
        };
        events.extend(buffer[..count].iter().map(|event| {
            // The kernel's struct is packed: copy before use.
            let (flags, data) = (event.flags, event.data);
            Event {
                token: data.u64(),
                readable: flags.intersects(EventFlags::IN | EventFlags::RDHUP | EventFlags::HUP),
                writable: flags.contains(EventFlags::OUT),
                hangup: flags.intersects(EventFlags::HUP | EventFlags::ERR),
                priority: flags.contains(EventFlags::PRI),
            }
        }));
        Ok(())
    }
}

impl AsFd for Poll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

/// A timer that becomes readable (timerfd_create(2)), on the clock that goes on while the machine sleeps not.
#[derive(Debug)]
pub struct Timer {
    fd: OwnedFd,
}

impl Timer {
    pub fn new() -> Result<Timer> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let fd = rustix::time::timerfd_create(TimerfdClockId::Monotonic, flags)
            .context("timerfd_create", || "CLOCK_MONOTONIC")?;
        Ok(Timer { fd })
    }

    /// Fires once, `after` from now (at once if zero); `None` disarms.
    pub fn set(&self, after: Option<Duration>) -> Result<()> {
        self.arm(after.map(|after| after.max(Duration::from_nanos(1))), Duration::ZERO)
    }

    pub fn every(&self, interval: Duration) -> Result<()> {
        self.arm(Some(interval), interval)
    }

    fn arm(&self, first: Option<Duration>, interval: Duration) -> Result<()> {
        let value =
            Itimerspec { it_interval: timespec(interval), it_value: timespec(first.unwrap_or_default()) };
        rustix::time::timerfd_settime(&self.fd, TimerfdTimerFlags::empty(), &value)
            .context("timerfd_settime", || format!("{first:?}"))
            .map(drop)
    }

    /// How often it fired since the last call; makes it unreadable again.
    pub fn take(&self) -> Result<u64> {
        take_counter(&self.fd)
    }
}

impl AsFd for Timer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Wakes a loop from elsewhere (eventfd(2)).
#[derive(Debug)]
pub struct Waker {
    fd: OwnedFd,
}

impl Waker {
    pub fn new() -> Result<Waker> {
        let fd = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .context("eventfd2", || "0")?;
        Ok(Waker { fd })
    }

    pub fn wake(&self) -> Result<()> {
        match rustix::io::write(&self.fd, &1u64.to_ne_bytes()) {
            // The counter is full: it is readable already.
            Err(Errno::AGAIN) => Ok(()),
            other => other.context("write", || "eventfd").map(drop),
        }
    }

    pub fn take(&self) -> Result<u64> {
        take_counter(&self.fd)
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Waits until one descriptor is readable (or hung up); false when the time ran out.
pub fn wait_readable(fd: impl AsFd, timeout: Option<Duration>) -> Result<bool> {
    // Further off than a clock can show is never.
    let deadline = timeout.and_then(|timeout| std::time::Instant::now().checked_add(timeout));
    loop {
        let left = deadline.map(|at| timespec(at.saturating_duration_since(std::time::Instant::now())));
        let mut fds = [PollFd::new(&fd, PollFlags::IN)];
        match rustix::event::poll(&mut fds, left.as_ref()) {
            Err(Errno::INTR) => {}
            other => return Ok(other.context("ppoll", || "POLLIN")? > 0),
        }
    }
}

fn take_counter(fd: &OwnedFd) -> Result<u64> {
    let mut bytes = [0; 8];
    match rustix::io::read(fd, &mut bytes) {
        Err(Errno::AGAIN) => Ok(0),
        other => other.context("read", || "counter").map(|_| u64::from_ne_bytes(bytes)),
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back_until_read() {
        let poll = Poll::new().unwrap();
        let waker = Waker::new().unwrap();
        let timer = Timer::new().unwrap();
        poll.add(&waker, 7, Interest::READ).unwrap();
        poll.add(&timer, 8, Interest::READ).unwrap();
        waker.wake().unwrap();
        let mut events = Vec::new();
        poll.wait(&mut events, None).unwrap();
        assert!(events.iter().any(|event| event.token == 7 && event.readable));
        assert_eq!(waker.take().unwrap(), 1);
        timer.set(Some(Duration::ZERO)).unwrap();
        events.clear();
        poll.wait(&mut events, None).unwrap();
        assert_eq!(events.iter().map(|event| event.token).collect::<Vec<_>>(), [8]);
        assert_eq!(timer.take().unwrap(), 1);
        events.clear();
        poll.wait(&mut events, Some(Duration::ZERO)).unwrap();
        assert!(events.is_empty());
    }
}
