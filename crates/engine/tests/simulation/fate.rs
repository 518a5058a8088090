//! What decides in a simulation: chance, both clocks, and what becomes of the engine at each of its points.
//!
//! A point is an effect, a file or a commit of the engine. At one of them it may be cut off: from then on it reaches
//! nothing any more, as if it had been killed there. What its tasks still try fails and changes nothing; then the whole
//! of it is dropped.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use linux::Errno;

use crate::random::Random;

/// Lines of the trace that a failure shows.
const TRACE: usize = 60;

/// The first of January 2026.
const BEGINNING: i64 = 1_767_225_600_000_000_000;

/// What is to happen at a point of the engine, so many points from now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It is cut off.
    Crash(u64),
    /// The disk fails, or is full.
    Fail(Errno, u64),
}

pub(crate) struct Fate {
    pub(crate) random: Random,
    /// Since the beginning, whatever the wall clock says.
    pub(crate) elapsed: Duration,
    /// By how much the wall clock was set.
    pub(crate) jumped: i64,
    pub(crate) engine_lives: bool,
    pub(crate) trouble: Option<Trouble>,
    /// It is cut off at this point, counted from the beginning, and nowhere else.
    pub(crate) cut_off_at: Option<u64>,
    /// Something has failed since this was last looked at.
    pub(crate) failed: bool,
    /// Something has failed since the engine was opened: what it could not remove waits for the next one.
    pub(crate) failed_since_open: bool,
    /// The power will be cut soon: what the disk has by then is kept, by file name.
    pub(crate) on_disk: Option<BTreeMap<PathBuf, Vec<u8>>>,
    data: PathBuf,
    /// A shim acts: what it reaches is no point of the engine's.
    shims_turn: u32,
    pub(crate) points: u64,
    /// The names of those.
    pub(crate) passed: BTreeSet<String>,
    trace: VecDeque<String>,
}

impl Fate {
    pub(crate) fn new(random: Random, data: PathBuf) -> Fate {
        Fate {
            random,
            elapsed: Duration::ZERO,
            jumped: 0,
            engine_lives: false,
            trouble: None,
            cut_off_at: None,
            failed: false,
            failed_since_open: false,
            on_disk: None,
            data,
            shims_turn: 0,
            points: 0,
            passed: BTreeSet::new(),
            trace: VecDeque::new(),
        }
    }

    pub(crate) fn wall_clock(&self) -> i64 {
        BEGINNING + i64::try_from(self.elapsed.as_nanos()).unwrap() + self.jumped
    }

    /// The engine reaches a point: the error that it meets there.
    pub(crate) fn reach(&mut self, point: &str) -> Option<Errno> {
        if self.shims_turn > 0 {
            return None;
        }
        if !self.engine_lives {
            return Some(Errno::IO);
        }
        self.points += 1;
        if !self.passed.contains(point) {
            self.passed.insert(point.to_owned());
        }
        if point == "behind a durable commit" && self.on_disk.is_some() {
            self.power_holds();
        }
        self.note(format!("  · {point}"));
        if self.cut_off_at == Some(self.points) {
            self.cut_off_at = None;
            return Some(self.cut_off());
        }
        match &mut self.trouble {
            Some(Trouble::Crash(left) | Trouble::Fail(_, left)) if *left > 0 => {
                *left -= 1;
                None
            }
            Some(Trouble::Crash(_)) => {
                self.trouble = None;
                Some(self.cut_off())
            }
            Some(Trouble::Fail(errno, _)) => {
                let errno = *errno;
                self.trouble = None;
                self.failed = true;
                self.failed_since_open = true;
                self.note(format!("  × {errno:?}"));
                Some(errno)
            }
            None => None,
        }
    }

    fn cut_off(&mut self) -> Errno {
        self.engine_lives = false;
        self.note("  × the engine is cut off".into());
        Errno::IO
    }

    /// Everything that was written so far has reached the disk.
    pub(crate) fn power_holds(&mut self) {
        let read = |name: &str| {
            let path = self.data.join(name);
            Some((path.clone(), std::fs::read(path).ok()?))
        };
        self.on_disk = Some(["wharf.db", "wharf.db-wal"].into_iter().filter_map(read).collect());
    }

    /// The records as the disk has them: commits that were not to survive a power cut have not.
    pub(crate) fn power_fails(&mut self) {
        for (path, bytes) in self.on_disk.take().unwrap_or_default() {
            std::fs::write(path, bytes).unwrap();
        }
    }

    /// An effect of the engine that a disk cannot fail: it happens, unless the engine is cut off before it.
    pub(crate) fn act(&mut self, point: &str) -> io::Result<()> {
        if matches!(self.trouble, Some(Trouble::Fail(..))) {
            let held = self.trouble.take();
            let reached = self.reach(point);
            self.trouble = held;
            return reached.map_or(Ok(()), |errno| Err(io::Error::from_raw_os_error(errno.raw_os_error())));
        }
        match self.reach(point) {
            Some(errno) => Err(io::Error::from_raw_os_error(errno.raw_os_error())),
            None => Ok(()),
        }
    }

    pub(crate) fn shims_turn(&mut self, begins: bool) {
        self.shims_turn = if begins { self.shims_turn + 1 } else { self.shims_turn - 1 };
    }

    pub(crate) fn note(&mut self, line: String) {
        if self.trace.len() == TRACE {
            self.trace.pop_front();
        }
        self.trace.push_back(line);
    }

    pub(crate) fn trace(&self) -> String {
        self.trace.iter().map(|line| format!("{line}\n")).collect()
    }
}
