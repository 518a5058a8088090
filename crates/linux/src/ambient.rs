//! What every program finds around itself without asking for it: the wall clock, chance, and time that passes.
//!
//! A simulation gives its thread others, so that a run follows from its seed alone. Only a debug build can: in a
//! release build these are the kernel's, and nothing else is compiled in.
//!
//! *Limits*: one thread. What a simulated thread has others do for it sees the real surroundings.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

#[cfg(debug_assertions)]
pub use simulated::{Guard, Simulated, simulate};

/// Nanoseconds since the epoch (until the year 2262), as the wall clock says.
pub fn wall_clock() -> i64 {
    #[cfg(debug_assertions)]
    if let Some(now) = simulated::with(|one| one.wall_clock()) {
        return now;
    }
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_nanos()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |nanos| -nanos),
    }
}

/// Lets time pass.
pub fn pause(time: Duration) {
    #[cfg(debug_assertions)]
    if simulated::with(|one| one.pause(time)).is_some() {
        return;
    }
    std::thread::sleep(time);
}

#[cfg(debug_assertions)]
pub(crate) mod simulated {
    use std::cell::RefCell;
    use std::rc::Rc;
    use std::time::Duration;

    use crate::Errno;

    /// The surroundings of a simulated thread.
    pub trait Simulated {
        fn wall_clock(&self) -> i64;
        fn pause(&self, time: Duration);
        fn random(&self, bytes: &mut [u8]);
        /// A fault point is reached: the error that it is to fail with. See [`crate::fault`].
        fn reach(&self, point: &'static str) -> Option<Errno>;
    }

    thread_local! {
        static HERE: RefCell<Option<Rc<dyn Simulated>>> = const { RefCell::new(None) };
    }

    /// The real surroundings are back when it is dropped.
    #[must_use]
    pub struct Guard(());

    impl Drop for Guard {
        fn drop(&mut self) {
            HERE.with_borrow_mut(Option::take);
        }
    }

    /// Gives the calling thread other surroundings.
    pub fn simulate(surroundings: Rc<dyn Simulated>) -> Guard {
        HERE.with_borrow_mut(|here| *here = Some(surroundings));
        Guard(())
    }

    pub(crate) fn with<T>(ask: impl FnOnce(&dyn Simulated) -> T) -> Option<T> {
        // A thread that ends has no surroundings of its own any more.
        let here = HERE.try_with(|here| here.borrow().clone()).ok().flatten()?;
        Some(ask(here.as_ref()))
    }
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;
    use crate::Errno;

    struct Other(Cell<i64>);

    impl Simulated for Other {
        fn wall_clock(&self) -> i64 {
            self.0.get()
        }

        fn pause(&self, time: Duration) {
            self.0.set(self.0.get() + i64::try_from(time.as_nanos()).unwrap());
        }

        fn random(&self, bytes: &mut [u8]) {
            bytes.fill(7);
        }

        fn reach(&self, point: &'static str) -> Option<Errno> {
            (point == "here").then_some(Errno::NOSPC)
        }
    }

    #[test]
    fn a_simulated_thread_has_its_own_until_it_ends() {
        let guard = simulate(Rc::new(Other(Cell::new(5))));
        pause(Duration::from_secs(3600));
        assert_eq!(wall_clock(), 3_600_000_000_005);
        assert_eq!(crate::random::bytes::<3>(), [7; 3]);
        assert!(crate::fault::point("here").unwrap_err().is(Errno::NOSPC));
        assert!(crate::fault::point("there").is_ok());
        assert!(std::thread::spawn(wall_clock).join().unwrap() > 3_600_000_000_005);
        drop(guard);
        assert!(wall_clock() > 3_600_000_000_005);
    }
}
