//! Where the time of a command goes, across the processes that do it.
//!
//! Each process marks the end of what it has just done ([`mark`]). The marks lie in memory that it shares with those that
//! are cloned from it, until they execute another program. Unless somebody records, a mark is a look at one word.
//!
//! ```text
//!   record() ─▶ mark("configuration") ─▶ clone ─▶ mark("waited")      one process
//!                                          └────▶ mark("mounts")      another
//! ```
//!
//! *Limits*: [`MARKS`]; what comes after is not recorded.

use std::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use rustix::time::ClockId;

use crate::process::Pid;
use crate::{Error, Result, process};

/// A start leaves some forty.
pub const MARKS: usize = 255;

/// The end of a piece of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub name: &'static str,
    /// Who did it, by the number that it has in its own PID namespace.
    pub pid: Pid,
    /// Since the recording process was made, as far as that is known: processor time is taken for what it did before.
    pub end: Duration,
}

/// Memory of zeroes is a valid one, without marks.
struct Sheet {
    taken: AtomicUsize,
    origin: AtomicU64,
    slots: [Slot; MARKS],
}

/// A slot without a name has been taken, and its mark is still on its way.
struct Slot {
    name: AtomicPtr<u8>,
    length: AtomicUsize,
    pid: AtomicU64,
    nanoseconds: AtomicU64,
}

static SHEET: AtomicPtr<Sheet> = AtomicPtr::new(std::ptr::null_mut());

fn sheet() -> Option<&'static Sheet> {
    // SAFETY: the pointer is null, or that of a mapping of this size and of zeroes that is never taken back.
    unsafe { SHEET.load(Ordering::Relaxed).as_ref() }
}

fn nanoseconds(clock: ClockId) -> u64 {
    let time = rustix::time::clock_gettime(clock);
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

/// Records from now on, here and in all that is cloned from this process.
pub fn record() -> Result<()> {
    let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping at a place of the kernel's choice.
    let memory = unsafe { libc::mmap(std::ptr::null_mut(), size_of::<Sheet>(), protection, flags, -1, 0) };
    if memory == libc::MAP_FAILED {
        return Err(Error::last("mmap", "MAP_SHARED | MAP_ANONYMOUS"));
    }
    SHEET.store(memory.cast(), Ordering::Relaxed);
    if let Some(sheet) = sheet() {
        let before = nanoseconds(ClockId::ProcessCPUTime);
        sheet.origin.store(nanoseconds(ClockId::Monotonic).saturating_sub(before), Ordering::Relaxed);
    }
    Ok(())
}

/// Processor time of this process until now, also that of programs which it was before.
pub fn processor_time() -> Duration {
    Duration::from_nanos(nanoseconds(ClockId::ProcessCPUTime))
}

/// What this process did since its last mark is called so.
pub fn mark(name: &'static str) {
    if let Some(sheet) = sheet() {
        sheet.mark(name, nanoseconds(ClockId::Monotonic));
    }
}

/// The same for what was done before anybody recorded, by the processor time at its end.
pub fn mark_earlier(name: &'static str, end: Duration) {
    if let Some(sheet) = sheet() {
        let end = u64::try_from(end.as_nanos()).unwrap_or(u64::MAX);
        sheet.mark(name, sheet.origin.load(Ordering::Relaxed).saturating_add(end));
    }
}

impl Sheet {
    fn mark(&self, name: &'static str, nanoseconds: u64) {
        let Some(slot) = self.slots.get(self.taken.fetch_add(1, Ordering::Relaxed)) else { return };
        slot.length.store(name.len(), Ordering::Relaxed);
        slot.pid.store(process::id().unsigned_abs().into(), Ordering::Relaxed);
        slot.nanoseconds.store(nanoseconds, Ordering::Relaxed);
        slot.name.store(name.as_ptr().cast_mut(), Ordering::Release);
    }
}

/// All marks, in the order in which they were made. None if nobody records.
pub fn marks() -> Vec<Span> {
    let Some(sheet) = sheet() else { return Vec::new() };
    let origin = sheet.origin.load(Ordering::Relaxed);
    let read = |slot: &Slot| {
        let name = slot.name.load(Ordering::Acquire);
        if name.is_null() {
            return None;
        }
        // SAFETY: pointer and length of a static string. Who wrote them was cloned from this process and has executed no
        // other program since, so its strings lie where ours do.
        let name = unsafe {
            let bytes = std::slice::from_raw_parts(name, slot.length.load(Ordering::Relaxed));
            std::str::from_utf8_unchecked(bytes)
        };
        let end = slot.nanoseconds.load(Ordering::Relaxed).saturating_sub(origin);
        let pid = Pid::try_from(slot.pid.load(Ordering::Relaxed)).unwrap_or_default();
        Some(Span { name, pid, end: Duration::from_nanos(end) })
    };
    let mut spans: Vec<Span> = sheet.slots.iter().filter_map(read).collect();
    spans.sort_by_key(|span| span.end);
    spans
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{Clone, Cloned, exit_now, wait};

    /// One test: recording is the whole process's.
    #[test]
    fn what_other_processes_do_is_recorded_too() {
        mark("before anybody records");
        assert_eq!(marks(), []);
        record().unwrap();
        mark_earlier("before", Duration::ZERO);
        mark("first");
        match Clone::default().start().unwrap() {
            Cloned::Copy => {
                mark("elsewhere");
                exit_now(0)
            }
            Cloned::Caller { pid, .. } => {
                wait(pid).unwrap();
                mark("last");
                let own = process::id();
                let told: Vec<(&str, Pid)> = marks().iter().map(|span| (span.name, span.pid)).collect();
                assert_eq!(told, [("before", own), ("first", own), ("elsewhere", pid), ("last", own)]);
                assert_eq!(marks()[0].end, Duration::ZERO);
            }
        }
        for _ in 0..MARKS {
            mark("too many");
        }
        assert_eq!(marks().len(), MARKS);
    }
}
