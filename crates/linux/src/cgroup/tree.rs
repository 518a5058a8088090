//! A cgroup and all below it, however deep and whatever the names.
//!
//! A container that may write to its cgroups nests them as deep as it likes, deeper than a path can name, a process has
//! descriptors, or a stack has room. So the walk holds one descriptor, goes down by names and up by `..`, which in a
//! file system of the kernel's leads where it came from.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags};

use super::{REMOVE_PAUSE, REMOVE_TRIES, open};
use crate::entry::{self, Kind};
use crate::error::Context;
use crate::{Errno, Result};

/// Visits the top and each below it from the top down; and, when all below one is done, leaves that by its name in its
/// parent. What is removed meanwhile is passed over.
fn walk(
    top: OwnedFd,
    mut enter: impl FnMut(BorrowedFd<'_>) -> Result<()>,
    mut leave: impl FnMut(BorrowedFd<'_>, &OsStr) -> Result<()>,
) -> Result<()> {
    let mut here = top;
    enter(here.as_fd())?;
    // From the top to here: who is still to be visited there, and how we came in.
    let mut pending = vec![children(&here)?];
    let mut names: Vec<OsString> = Vec::new();
    while let Some(names_here) = pending.last_mut() {
        if let Some(name) = names_here.pop() {
            let Some(below) = unless_gone(step(&here, &name))? else { continue };
            enter(below.as_fd())?;
            pending.push(unless_gone(children(&below))?.unwrap_or_default());
            names.push(name);
            here = below;
            continue;
        }
        pending.pop();
        let Some(name) = names.pop() else { break };
        here = step(&here, OsStr::new(".."))?;
        leave(here.as_fd(), &name)?;
    }
    Ok(())
}

fn step(from: &OwnedFd, name: &OsStr) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(from, name, flags, Mode::empty()).context("openat", || format!("{name:?} of a cgroup"))
}

fn children(of: &OwnedFd) -> Result<Vec<OsString>> {
    let entries = entry::list(of)?.into_iter();
    Ok(entries.filter(|(_, kind)| *kind == Kind::Directory).map(|(name, _)| name).collect())
}

/// A cgroup that is not there any more cannot be opened, or not be used.
fn unless_gone<T>(found: Result<T>) -> Result<Option<T>> {
    match found {
        Err(error) if error.is(Errno::NOENT) || error.is(Errno::NODEV) => Ok(None),
        other => other.map(Some),
    }
}

/// The text of this file in a cgroup and in all below it; not of those that go meanwhile, or do not tell.
pub(super) fn read_each(top: &Path, file: &str, mut take: impl FnMut(&str)) -> Result<()> {
    let read = |directory: BorrowedFd<'_>| {
        let opened = rustix::fs::openat(directory, file, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        let opened = opened.context("openat", || format!("{file:?} of a cgroup"))?;
        std::io::read_to_string(std::fs::File::from(opened))
            .context("read", || format!("{file:?} of a cgroup"))
    };
    let top = open(top, OFlags::RDONLY | OFlags::DIRECTORY)?;
    let mut first = true;
    let enter = |directory: BorrowedFd<'_>| {
        match read(directory) {
            Ok(text) => take(&text),
            // The processes of threads are told by the one above that has whole ones.
            Err(error) if error.is(Errno::OPNOTSUPP) => {}
            Err(error) if !first && (error.is(Errno::NOENT) || error.is(Errno::NODEV)) => {}
            Err(error) => return Err(error),
        }
        first = false;
        Ok(())
    };
    walk(top, enter, |_, _| Ok(()))
}

/// Removes a cgroup and all below it. What is gone already is fine.
pub(super) fn remove(top: &Path) -> Result<()> {
    // The common case has nothing below: one call.
    match std::fs::remove_dir(top) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(_) => {}
    }
    let Some(opened) = unless_gone(open(top, OFlags::RDONLY | OFlags::DIRECTORY))? else { return Ok(()) };
    walk(
        opened,
        |_| Ok(()),
        |parent, name| {
            patiently(|| {
                rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)
                    .context("rmdir", || format!("{name:?} below {top:?}"))
            })
        },
    )?;
    patiently(|| rustix::fs::rmdir(top).context("rmdir", || format!("{top:?}")))
}

/// While the kernel still counts a dying process in.
fn patiently(mut remove: impl FnMut() -> Result<()>) -> Result<()> {
    let mut tries = 0;
    loop {
        match remove() {
            Err(error) if error.is(Errno::BUSY) && tries < REMOVE_TRIES => {
                tries += 1;
                std::thread::sleep(REMOVE_PAUSE);
            }
            Err(error) if error.is(Errno::NOENT) => return Ok(()),
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Cgroup, Layout};
    use super::*;

    /// Deeper than a path can name, in steps.
    #[test]
    fn cgroups_that_no_path_leads_to() {
        const DEPTH: usize = 30;
        let name = "x".repeat(200);
        let path = format!("/wharf-test-{}-deep", std::process::id());
        let cgroup = Cgroup::at(&Layout::detect().unwrap(), Path::new(&path)).unwrap();
        cgroup.create().unwrap();
        for (_, directory) in cgroup.paths() {
            let mut here = open(&directory, OFlags::RDONLY | OFlags::DIRECTORY).unwrap();
            for _ in 0..DEPTH {
                rustix::fs::mkdirat(&here, &name, Mode::from_raw_mode(0o755)).unwrap();
                here = step(&here, OsStr::new(&name)).unwrap();
            }
            let mut seen = 0;
            read_each(&directory, "cgroup.procs", |_| seen += 1).unwrap();
            assert_eq!(seen, DEPTH + 1, "{directory:?}");
        }
        assert_eq!(cgroup.pids().unwrap(), []);
        cgroup.remove().unwrap();
        assert!(!cgroup.exists());
        cgroup.remove().unwrap();
    }

    #[test]
    fn one_of_threads_hides_nobody() {
        let layout = Layout::detect().unwrap();
        let Some(mounted) = &layout.unified else { return };
        let top = mounted.join(format!("wharf-test-{}-threads", std::process::id()));
        let below = top.join("threads");
        std::fs::create_dir_all(&below).unwrap();
        std::fs::write(below.join("cgroup.type"), "threaded").unwrap();
        let mut child = std::process::Command::new("/bin/busybox").args(["sleep", "60"]).spawn().unwrap();
        std::fs::write(top.join("cgroup.procs"), child.id().to_string()).unwrap();
        std::fs::write(below.join("cgroup.threads"), child.id().to_string()).unwrap();
        let mut told = String::new();
        read_each(&top, "cgroup.procs", |text| told.push_str(text)).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        remove(&top).unwrap();
        assert_eq!(told.trim(), child.id().to_string());
    }
}
