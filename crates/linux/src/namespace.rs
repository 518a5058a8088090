//! Namespaces: making, entering, and mapping ids (namespaces(7)).

mod ids;
mod make;

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

pub use ids::{IdMaps, IdRange};
pub use make::{network_of, user_with_maps};
use rustix::fs::{Mode, OFlags};

use crate::error::{Context, check};
use crate::process::Pid;
use crate::{Errno, Error, Result};

pub const TIME: u64 = 0x80;
pub const MOUNT: u64 = libc::CLONE_NEWNS as u64;
pub const CGROUP: u64 = libc::CLONE_NEWCGROUP as u64;
pub const UTS: u64 = libc::CLONE_NEWUTS as u64;
pub const IPC: u64 = libc::CLONE_NEWIPC as u64;
pub const USER: u64 = libc::CLONE_NEWUSER as u64;
pub const PID: u64 = libc::CLONE_NEWPID as u64;
pub const NETWORK: u64 = libc::CLONE_NEWNET as u64;

/// The name under `/proc/<pid>/ns` of a single `CLONE_NEW…` flag.
pub fn name(flag: u64) -> &'static str {
    match flag {
        TIME => "time",
        MOUNT => "mnt",
        CGROUP => "cgroup",
        UTS => "uts",
        IPC => "ipc",
        USER => "user",
        PID => "pid",
        NETWORK => "net",
        _ => "?",
    }
}

/// Leaves the namespaces named by `flags` for new ones. PID and time count for children (time also at exec).
pub fn unshare(flags: u64) -> Result<()> {
    // SAFETY: only namespace flags: nothing that threads share through memory changes.
    check(i64::from(unsafe { libc::unshare(flags as i32) }), "unshare", || format!("{flags:#x}")).map(drop)
}

/// Joins the namespace behind a descriptor, or those of `flags` that the process behind a pidfd is in.
pub fn enter(namespace: impl AsFd, flags: u64) -> Result<()> {
    let raw = namespace.as_fd().as_raw_fd();
    // SAFETY: plain numbers; the kernel refuses combinations that threads make unsound.
    check(i64::from(unsafe { libc::setns(raw, flags as i32) }), "setns", || format!("{raw}, {flags:#x}"))
        .map(drop)
}

/// Opens a namespace by a path like `/proc/1/ns/net` or a bind mount of one. Anything that is not a namespace
/// is refused.
pub fn open(path: &Path) -> Result<OwnedFd> {
    let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty())
        .context("open", || format!("{path:?}"))?;
    let magic = rustix::fs::fstatfs(&file).context("fstatfs", || format!("{path:?}"))?.f_type;
    if magic != libc::NSFS_MAGIC {
        return Err(Error::new("open", format_args!("{path:?} as a namespace"), Errno::INVAL));
    }
    Ok(file)
}

/// A namespace of a process: `flag` is one of the constants above.
pub fn open_of(pid: Pid, flag: u64) -> Result<OwnedFd> {
    open(Path::new(&format!("/proc/{pid}/ns/{}", name(flag))))
}

/// The kind of a namespace behind a descriptor, as a `CLONE_NEW…` flag.
pub fn kind(namespace: impl AsFd) -> Result<u64> {
    const NS_GET_NSTYPE: libc::Ioctl = 0xb703;
    // SAFETY: this ioctl takes no argument.
    let result = unsafe { libc::ioctl(namespace.as_fd().as_raw_fd(), NS_GET_NSTYPE) };
    check(i64::from(result), "ioctl", || "NS_GET_NSTYPE").map(|flag| flag as u64)
}

/// Whether two descriptors mean one namespace.
pub fn same(one: impl AsFd, other: impl AsFd) -> Result<bool> {
    let one = rustix::fs::fstat(one).context("fstat", || "namespace")?;
    let other = rustix::fs::fstat(other).context("fstat", || "namespace")?;
    Ok((one.st_dev, one.st_ino) == (other.st_dev, other.st_ino))
}

/// Writes the id maps of a process in a new user namespace. Once per namespace.
pub fn set_id_maps(pid: Pid, users: &[IdRange], groups: &[IdRange]) -> Result<()> {
    // Without privilege over the parent namespace the group map needs `setgroups` denied first.
    if rustix::process::geteuid().as_raw() != 0 {
        write(&format!("/proc/{pid}/setgroups"), "deny")?;
    }
    write(&format!("/proc/{pid}/uid_map"), &lines(users))?;
    write(&format!("/proc/{pid}/gid_map"), &lines(groups))
}

fn lines(ranges: &[IdRange]) -> String {
    ranges.iter().map(|range| format!("{} {} {}\n", range.inside, range.outside, range.count)).collect()
}

fn write(path: &str, text: &str) -> Result<()> {
    std::fs::write(path, text).context("write", || format!("{path:?}, {text:?}"))
}

pub fn set_hostname(name: &str) -> Result<()> {
    rustix::system::sethostname(name.as_bytes()).context("sethostname", || format!("{name:?}"))
}

pub fn set_domainname(name: &str) -> Result<()> {
    // SAFETY: pointer and length of a live string.
    let result = unsafe { libc::setdomainname(name.as_ptr().cast(), name.len()) };
    check(i64::from(result), "setdomainname", || format!("{name:?}")).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_namespaces_are_opened() {
        let own = open_of(crate::process::id(), NETWORK).unwrap();
        assert_eq!(kind(&own).unwrap(), NETWORK);
        assert!(same(&own, open(Path::new("/proc/self/ns/net")).unwrap()).unwrap());
        assert!(open(Path::new("/proc/self/status")).unwrap_err().is(Errno::INVAL));
    }
}
