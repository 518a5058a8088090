//! A copy of this process in namespaces and a cgroup of its own (clone3(2)).
//!
//! ```text
//!   one thread, nothing to join            otherwise
//!   caller ──clone3──▶ copy                caller ──fork──▶ intermediate ──clone3(CLONE_PARENT)──▶ copy
//!                                             ◀──── pid or error ────┘ exits
//! ```
//!
//! A raw clone copies the locks of other threads (the allocator's) as they happen to be, so a process with
//! threads goes through `fork`, which the C library prepares for. The same detour joins a PID or user namespace:
//! that only counts for children. Either way the copy is the caller's child.
//!
//! A copy that is born into a PID namespace of others can be looked at by them from its first instruction on. So
//! whatever such a copy must not show (the host's root, descriptors) is put away in the intermediate process, by
//! [`Clone::before`].

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::{Pid, exit_now, open_pidfd, thread_count, wait};
use crate::error::{Context, check};
use crate::{Error, Result, fd, namespace};

/// `CLONE_INTO_CGROUP`; the C headers' constant does not fit its type.
const INTO_CGROUP: u64 = 0x2_0000_0000;

/// See [`Clone::before`].
pub type Before<'a> = &'a dyn Fn(BorrowedFd<'_>) -> Result<()>;

/// What the copy gets that is not the caller's.
#[derive(Default)]
pub struct Clone<'a> {
    /// `CLONE_NEW…` flags, see [`crate::namespace`].
    pub namespaces: u64,
    /// A cgroup v2 directory to be born in: costs nothing, while moving there later waits for the kernel.
    pub cgroup: Option<BorrowedFd<'a>>,
    /// A PID namespace to be born in.
    pub pid_namespace: Option<BorrowedFd<'a>>,
    /// Runs in an intermediate process before the copy is made, which inherits what this has joined and closed. The
    /// descriptor it is given must stay open. The intermediate process is in the cgroup too, and counts there.
    pub before: Option<Before<'a>>,
}

/// On which side of the call we are.
pub enum Cloned {
    Caller {
        pid: Pid,
        pidfd: OwnedFd,
    },
    /// This is the copy. It must end by executing or by [`exit_now`], never by returning to the caller's loop.
    Copy,
}

impl Clone<'_> {
    pub fn start(&self) -> Result<Cloned> {
        if self.before.is_some() || thread_count()? > 1 { self.by_intermediate() } else { self.directly() }
    }

    fn directly(&self) -> Result<Cloned> {
        let Some(namespace) = self.pid_namespace else { return self.clone_now() };
        // Joining counts for children only, so it is done, used and undone.
        let own = namespace::open(std::path::Path::new("/proc/self/ns/pid"))?;
        namespace::enter(namespace, namespace::PID)?;
        let cloned = self.clone_now();
        if !matches!(cloned, Ok(Cloned::Copy)) {
            namespace::enter(&own, namespace::PID)?;
        }
        cloned
    }

    fn clone_now(&self) -> Result<Cloned> {
        let mut pidfd: libc::c_int = -1;
        let mut args = self.arguments(libc::CLONE_PIDFD as u64, libc::SIGCHLD as u64);
        args.pidfd = (&raw mut pidfd) as u64;
        match clone3(&args)? {
            0 => Ok(Cloned::Copy),
            // SAFETY: CLONE_PIDFD stored a descriptor that is ours.
            pid => Ok(Cloned::Caller { pid, pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) } }),
        }
    }

    fn by_intermediate(&self) -> Result<Cloned> {
        let (reader, writer) = fd::pipe()?;
        let (intermediate, placed) = self.intermediate()?;
        if intermediate == 0 {
            drop(reader);
            return match self.sibling(&writer, placed) {
                Ok(0) => {
                    drop(writer);
                    Ok(Cloned::Copy)
                }
                Ok(pid) => report(&writer, &format!("{pid}")),
                Err(error) => {
                    let errno = error.errno().raw_os_error();
                    report(&writer, &format!("\0{}\0{}\0{errno}", error.call(), error.args()))
                }
            };
        }
        drop(writer);
        let answer = read_to_end(&reader);
        wait(intermediate)?;
        let pid = parse_answer(&answer?)?;
        Ok(Cloned::Caller { pid, pidfd: open_pidfd(pid)? })
    }

    /// The intermediate process (0 in itself), and whether it was born in the cgroup: the copy must have no descriptor
    /// of the host's cgroup tree when it is born.
    fn intermediate(&self) -> Result<(Pid, bool)> {
        if let (Some(cgroup), Some(_), 1) = (self.cgroup, self.before, thread_count()?) {
            let mut args = arguments(libc::SIGCHLD as u64);
            into_cgroup(&mut args, cgroup);
            return Ok((clone3(&args)?, true));
        }
        // SAFETY: the child only runs `by_intermediate`'s own code and leaves by exit_now or as the copy.
        let intermediate = unsafe { libc::fork() };
        check(i64::from(intermediate), "fork", || "").map(|_| (intermediate, false))
    }

    fn sibling(&self, pipe: &OwnedFd, placed: bool) -> Result<Pid> {
        // The exit signal of a sibling is inherited; naming one is refused.
        let mut args = self.arguments(libc::CLONE_PARENT as u64, 0);
        if let Some(before) = self.before {
            if let Some(cgroup) = self.cgroup.filter(|_| !placed) {
                move_into(cgroup)?;
            }
            args.flags &= !INTO_CGROUP;
            args.cgroup = 0;
            before(pipe.as_fd())?;
        }
        if let Some(pid_namespace) = self.pid_namespace {
            namespace::enter(pid_namespace, namespace::PID)?;
        }
        clone3(&args)
    }

    fn arguments(&self, flags: u64, exit_signal: u64) -> libc::clone_args {
        let mut args = arguments(exit_signal);
        args.flags = flags | self.namespaces;
        if let Some(cgroup) = self.cgroup {
            into_cgroup(&mut args, cgroup);
        }
        args
    }
}

/// A copy of this process that is its sibling. Where this one has joined a PID namespace of others it is born among
/// them: the way in for a process that has put away what they must not see. Returns the copy's id, or nothing in the
/// copy, which has the same descriptors.
///
/// For a process with one thread: what [`Clone`] makes is one.
pub fn sibling() -> Result<Option<Pid>> {
    let mut args = arguments(0);
    args.flags = libc::CLONE_PARENT as u64;
    clone3(&args).map(|pid| (pid != 0).then_some(pid))
}

pub(super) fn arguments(exit_signal: u64) -> libc::clone_args {
    // SAFETY: all-zero is a valid clone_args: no stacks, no thread ids, no cgroup.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.exit_signal = exit_signal;
    args
}

pub(super) fn into_cgroup(args: &mut libc::clone_args, cgroup: BorrowedFd<'_>) {
    args.flags |= INTO_CGROUP;
    args.cgroup = cgroup.as_raw_fd() as u64;
}

/// The slow way into a cgroup v2: for the one that had to be forked.
fn move_into(cgroup: BorrowedFd<'_>) -> Result<()> {
    let flags = rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::CLOEXEC;
    let procs = rustix::fs::openat(cgroup, c"cgroup.procs", flags, rustix::fs::Mode::empty())
        .context("openat", || "\"cgroup.procs\"")?;
    rustix::io::write(&procs, b"0").context("write", || "\"cgroup.procs\", \"0\"").map(drop)
}

fn clone3(args: &libc::clone_args) -> Result<Pid> {
    // SAFETY: without CLONE_VM the copy has its own memory and goes on with the same stack contents; pointers in
    // `args` are either null or valid. Locks are the caller's concern, see the module's head.
    let result =
        unsafe { libc::syscall(libc::SYS_clone3, std::ptr::from_ref(args), size_of::<libc::clone_args>()) };
    check(result, "clone3", || format!("flags {:#x}", args.flags)).map(|pid| pid as Pid)
}

fn report(pipe: &OwnedFd, text: &str) -> ! {
    let sent = fd::write_all(pipe, text.as_bytes());
    exit_now(if sent.is_ok() { 0 } else { 1 })
}

fn read_to_end(pipe: &OwnedFd) -> Result<String> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 512];
    // One pid or one error; PIPE_BUF is more than either.
    while bytes.len() < 4096 {
        match fd::read(pipe, &mut chunk)? {
            0 => break,
            count => bytes.extend_from_slice(&chunk[..count]),
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn parse_answer(answer: &str) -> Result<Pid> {
    if let Ok(pid) = answer.parse() {
        return Ok(pid);
    }
    let mut parts = answer.split('\0').skip(1);
    let mut part = || parts.next().unwrap_or_default().to_owned();
    let (call, args, errno) = (part(), part(), part());
    match errno.parse() {
        Ok(errno) => Err(Error::from_parts(call, args, errno)),
        Err(_) => Err(Error::new("clone3", "the intermediate process died", crate::Errno::CHILD)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Exit;
    use super::*;

    #[test]
    fn a_copy_is_a_child_even_with_threads_around() {
        // The test harness has threads, so this takes the detour.
        match Clone::default().start().unwrap() {
            Cloned::Copy => exit_now(7),
            Cloned::Caller { pid, .. } => assert_eq!(wait(pid).unwrap(), Exit::Code(7)),
        }
    }

    #[test]
    fn new_namespaces_hold_the_copy() {
        let request = Clone { namespaces: namespace::PID, ..Default::default() };
        match request.start().unwrap() {
            Cloned::Copy => exit_now(super::super::id()),
            Cloned::Caller { pid, .. } => assert_eq!(wait(pid).unwrap(), Exit::Code(1)),
        }
    }

    #[test]
    fn what_fails_before_is_told_whole() {
        let before = |_: BorrowedFd<'_>| Err(Error::new("setns", "\"/nowhere\"", crate::Errno::NOENT));
        let request = Clone { before: Some(&before), ..Default::default() };
        let Err(error) = request.start() else { panic!("must fail") };
        assert_eq!(error.to_string(), "setns(\"/nowhere\"): No such file or directory (ENOENT)");
    }
}
