//! What is done to all processes of a cgroup at once: stop, go on, end; and hearing of memory running out.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;

use super::{Cgroup, open, read, tree, write};
use crate::kernel::Feature;
use crate::poll::Waker;
use crate::process::Pid;
use crate::{Errno, Error, Result};

/// The kernel freezes within milliseconds unless a process sits in an uninterruptible call.
const FREEZE_PATIENCE: Duration = Duration::from_secs(10);
const FREEZE_PAUSE: Duration = Duration::from_millis(1);

/// Rounds of killing what forks while it is being killed. Without a freezer or `cgroup.kill` that is a race, and
/// each round halves it.
const KILL_ROUNDS: u32 = 100;

impl Cgroup {
    /// All processes in it and below it, each once.
    pub fn pids(&self) -> Result<Vec<Pid>> {
        // Any one tree tells; the one whose members cannot be elsewhere is best.
        let directory = match (self.legacy("devices"), self.unified()) {
            (Some(directory), _) | (None, Some(directory)) => directory.to_owned(),
            (None, None) => match self.directories().next() {
                Some(directory) => directory.clone(),
                None => return Ok(Vec::new()),
            },
        };
        let mut pids = BTreeSet::new();
        let numbers =
            |text: &str| text.lines().filter_map(|line| line.parse::<Pid>().ok()).collect::<Vec<_>>();
        tree::read_each(&directory, "cgroup.procs", |text| pids.extend(numbers(text)))?;
        Ok(pids.into_iter().collect())
    }

    /// Stops every process. Returns when all stand still.
    pub fn freeze(&self) -> Result<()> {
        self.set_frozen(true)
    }

    pub fn thaw(&self) -> Result<()> {
        self.set_frozen(false)
    }

    pub fn is_frozen(&self) -> Result<bool> {
        if let Some(directory) = self.legacy("freezer") {
            return Ok(read(&directory.join("freezer.state"))?.trim() != "THAWED");
        }
        Ok(self.get_unified("cgroup.freeze")?.trim() == "1")
    }

    fn set_frozen(&self, frozen: bool) -> Result<()> {
        let deadline = Instant::now() + FREEZE_PATIENCE;
        let legacy = self.legacy("freezer");
        let (target, value) = if frozen { ("FROZEN", "1") } else { ("THAWED", "0") };
        if legacy.is_none() {
            self.set_unified("cgroup.freeze", value)?;
        }
        loop {
            let done = match legacy {
                // A v1 freeze that met a forking process is not finished unless asked again.
                Some(directory) => {
                    write(&directory.join("freezer.state"), target)?;
                    read(&directory.join("freezer.state"))?.trim() == target
                }
                None => field(&self.get_unified("cgroup.events")?, "frozen") == Some(u64::from(frozen)),
            };
            if done {
                return Ok(());
            }
            if Instant::now() > deadline {
                let _undone = if frozen { self.set_frozen(false) } else { Ok(()) };
                return Err(Error::new(
                    "write",
                    format_args!("freezer: {target} was not reached"),
                    Errno::TIMEDOUT,
                ));
            }
            std::thread::sleep(FREEZE_PAUSE);
        }
    }

    /// SIGKILL to every process, whatever they fork meanwhile. Frozen ones die too. Returns when the signals are
    /// sent, not when the processes are gone.
    pub fn kill(&self) -> Result<()> {
        let by_kernel = match self.unified() {
            Some(directory)
                if directory.join("cgroup.kill").exists() && !Feature::CgroupKill.is_missing() =>
            {
                match write(&directory.join("cgroup.kill"), "1") {
                    // Removed just now, by systemd for one: only an empty cgroup can be.
                    Err(error) if !gone(&error) => return Err(error),
                    _ => true,
                }
            }
            _ => false,
        };
        if self.is_unified() && by_kernel {
            return Ok(());
        }
        // Processes that left the v2 cgroup (an administrator's doing) are still in the v1 trees.
        self.signal_until_quiet()?;
        if self.legacy("freezer").is_some() && self.is_frozen()? { self.thaw() } else { Ok(()) }
    }

    fn signal_until_quiet(&self) -> Result<()> {
        let mut before = BTreeSet::new();
        for _ in 0..KILL_ROUNDS {
            let now: BTreeSet<Pid> = match self.pids() {
                Ok(pids) => pids.into_iter().collect(),
                Err(error) if gone(&error) => return Ok(()),
                Err(error) => return Err(error),
            };
            if now.is_subset(&before) {
                return Ok(());
            }
            for pid in now.difference(&before) {
                match crate::process::kill(*pid, libc::SIGKILL) {
                    Err(error) if !error.is(Errno::SRCH) => return Err(error),
                    _ => {}
                }
            }
            before = now;
        }
        Ok(())
    }

    /// Sends a signal to every process once.
    pub fn signal_all(&self, signal: i32) -> Result<()> {
        let pids = match self.pids() {
            Err(error) if gone(&error) => return Ok(()),
            other => other?,
        };
        for pid in pids {
            match crate::process::kill(pid, signal) {
                Err(error) if !error.is(Errno::SRCH) => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// A watch on memory running out in here; `None` when no tree has the memory controller.
    pub fn watch_memory(&self) -> Result<Option<MemoryWatch>> {
        if let Some(directory) = self.legacy("memory") {
            return Ok(Some(MemoryWatch::Legacy(legacy_watch(directory)?)));
        }
        match self.unified() {
            Some(directory) if directory.join("memory.events").exists() => {
                let file = open(&directory.join("memory.events"), OFlags::RDONLY)?;
                Ok(Some(MemoryWatch::Unified { file, seen: self.oom_kills()? }))
            }
            _ => Ok(None),
        }
    }

    /// How many processes in here the kernel has killed for want of memory.
    pub fn oom_kills(&self) -> Result<u64> {
        let text = match self.legacy("memory") {
            Some(directory) => read(&directory.join("memory.oom_control"))?,
            None => self.get_unified("memory.events")?,
        };
        Ok(field(&text, "oom_kill").unwrap_or(0))
    }
}

/// Becomes ready when the memory of a cgroup runs out.
#[derive(Debug)]
pub enum MemoryWatch {
    /// Readable for [`crate::poll::Poll::add`].
    Legacy(Waker),
    /// Changes for [`crate::poll::Poll::add_priority`].
    Unified { file: OwnedFd, seen: u64 },
}

impl MemoryWatch {
    /// Whether it is to be registered for changes rather than for reading.
    pub fn by_change(&self) -> bool {
        matches!(self, MemoryWatch::Unified { .. })
    }

    /// Whether it happened since the last call. False too when the cgroup was removed, which also wakes.
    pub fn take(&mut self, cgroup: &Cgroup) -> Result<bool> {
        match self {
            MemoryWatch::Legacy(waker) => Ok(waker.take()? > 0 && cgroup.exists()),
            MemoryWatch::Unified { seen, .. } => match cgroup.oom_kills() {
                Ok(now) => Ok(std::mem::replace(seen, now) < now),
                Err(error) if gone(&error) => Ok(false),
                Err(error) => Err(error),
            },
        }
    }
}

impl AsFd for MemoryWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            MemoryWatch::Legacy(waker) => waker.as_fd(),
            MemoryWatch::Unified { file, .. } => file.as_fd(),
        }
    }
}

/// A cgroup that is not there any more: its files cannot be opened, or not be used.
fn gone(error: &Error) -> bool {
    error.is(Errno::NOENT) || error.is(Errno::NODEV)
}

/// v1 writes to an eventfd that is registered in `cgroup.event_control`.
fn legacy_watch(directory: &Path) -> Result<Waker> {
    let waker = Waker::new()?;
    let file = open(&directory.join("memory.oom_control"), OFlags::RDONLY)?;
    let line = format!("{} {}", waker.as_fd().as_raw_fd(), file.as_raw_fd());
    write(&directory.join("cgroup.event_control"), &line)?;
    Ok(waker)
}

/// The number behind a key of a flat-keyed file.
pub(super) fn field(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(' ')?;
        (name == key).then(|| value.trim().parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::super::Layout;
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn frozen_processes_stand_still_and_still_die() {
        let layout = Layout::detect().unwrap();
        let path = format!("/wharf-test-{}-freeze", std::process::id());
        let cgroup = Cgroup::at(&layout, Path::new(&path)).unwrap();
        cgroup.create().unwrap();
        let mut child =
            Command::new("/bin/busybox").args(["sleep", "60"]).stdin(Stdio::null()).spawn().unwrap();
        cgroup.add(child.id() as Pid).unwrap();
        assert!(!cgroup.is_frozen().unwrap());
        cgroup.freeze().unwrap();
        assert!(cgroup.is_frozen().unwrap());
        cgroup.kill().unwrap();
        assert!(!child.wait().unwrap().success());
        cgroup.remove().unwrap();
    }

    #[test]
    fn keyed_files() {
        assert_eq!(field("oom 1\noom_kill 2\n", "oom_kill"), Some(2));
        assert_eq!(field("oom 1\n", "oom_kill"), None);
    }
}
