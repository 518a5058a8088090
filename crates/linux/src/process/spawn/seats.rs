//! Low numbers for the descriptors that a program is given.
//!
//! A program to be executed begins with a copy of our table of descriptors, and closes what it is not given one by one. An
//! engine holds several for each container, so each start would pay for all the containers that stand. The kernel copies
//! less only where a table is to end early: `close_range(CLOSE_RANGE_UNSHARE)` leaves out what lies above its first number
//! (since Linux 5.9). So what a program is given, and the program itself, is put on numbers that were taken while low ones
//! were free, and everything above them is never copied.
//!
//! ```text
//!   0 … 8 9 10 11 … 40 … 2700        ours, shared with the child until it has a table of its own
//!         ▲ ▲  ▲  └────────────────── left out
//!         seats
//! ```
//!
//! Where no seats are free (nobody reserved any, more starts at once than there are seats for) the table is copied.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{Mode, OFlags};

use crate::Result;
use crate::error::Context;

/// For eight starts at once, each with four descriptors: more than processors of most machines start at a time.
const SEATS: usize = 32;

static FREE: Mutex<Vec<OwnedFd>> = Mutex::new(Vec::new());

/// Takes low numbers, for programs that are started later on. For a process that will hold many descriptors, before it
/// does.
pub fn reserve_low_descriptors() -> Result<()> {
    let mut free = free();
    while free.len() < SEATS {
        free.push(nothing()?);
    }
    Ok(())
}

/// What sits on a seat that nobody needs: a file that cannot be read or written.
fn nothing() -> Result<OwnedFd> {
    rustix::fs::open("/dev/null", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .context("open", || "/dev/null, O_PATH")
}

fn free() -> std::sync::MutexGuard<'static, Vec<OwnedFd>> {
    FREE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Descriptors on seats, for one start.
#[derive(Debug)]
pub(super) struct Seated {
    /// Of which number each is a copy.
    seats: Vec<(RawFd, OwnedFd)>,
}

impl Seated {
    /// Copies of these descriptors; none where there are not enough seats.
    pub(super) fn take<'a>(descriptors: impl Iterator<Item = BorrowedFd<'a>>) -> Option<Seated> {
        let mut originals: Vec<BorrowedFd<'a>> = descriptors.collect();
        originals.sort_by_key(AsRawFd::as_raw_fd);
        originals.dedup_by_key(|fd| fd.as_raw_fd());
        let seats = {
            let mut free = free();
            let left = free.len().checked_sub(originals.len())?;
            free.split_off(left)
        };
        let mut seated = Seated { seats: Vec::with_capacity(seats.len()) };
        let mut all_sit = true;
        for (original, mut seat) in originals.into_iter().zip(seats) {
            all_sit &= rustix::io::dup3(original, &mut seat, rustix::io::DupFlags::CLOEXEC).is_ok();
            seated.seats.push((original.as_raw_fd(), seat));
        }
        all_sit.then_some(seated)
    }

    /// The number at which the copy is.
    pub(super) fn number(&self, original: BorrowedFd<'_>) -> RawFd {
        let seat = self.seats.iter().find(|(number, _)| *number == original.as_raw_fd());
        seat.map_or(original.as_raw_fd(), |(_, seat)| seat.as_raw_fd())
    }

    /// Behind the last of them.
    pub(super) fn end(&self) -> RawFd {
        self.seats.iter().map(|(_, seat)| seat.as_raw_fd() + 1).max().unwrap_or(0)
    }
}

impl Drop for Seated {
    fn drop(&mut self) {
        let Ok(nothing) = nothing() else { return };
        for (_, mut seat) in self.seats.drain(..) {
            // What sat there must not stay open by its copy. A seat that cannot be cleared is closed, and is one less.
            if rustix::io::dup3(nothing.as_fd(), &mut seat, rustix::io::DupFlags::CLOEXEC).is_ok() {
                free().push(seat);
            }
        }
    }
}
