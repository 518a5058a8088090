//! The wall clock, which only ever labels things: the journal, the log. Whatever waits does so on the monotonic clock
//! (`std::time::Instant`), so that a clock that jumps delays no restart and hastens no SIGKILL.

pub use moment::{format, parse, write_fixed, write_trimmed};

/// Nanoseconds since the epoch.
pub fn now() -> i64 {
    linux::ambient::wall_clock()
}
