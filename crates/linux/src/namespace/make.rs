//! Namespaces that this process makes and does not enter.
//!
//! Each needs a process inside while it comes to be. That one is a clone which borrows our memory (`CLONE_VM`): nothing
//! is copied, however large we are, and it makes a few system calls, so that locks of other threads do not concern it.
//! It has no exit signal: where `SIGCHLD` is ignored children are reaped behind the back of whoever waits for them.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use super::{IdRange, NETWORK, USER, open_of, set_id_maps};
use crate::process::{Pid, kill, wait};
use crate::{Errno, Error, Result};

/// Enough for a few system calls.
const STACK: usize = 64 << 10;

/// A user namespace with these maps and nothing in it, as a descriptor: what an id-mapped mount is made from, and what
/// a process or another namespace can be put into.
pub fn user_with_maps(users: &[IdRange], groups: &[IdRange]) -> Result<OwnedFd> {
    let sleeper = Sleeper::start(USER)?;
    set_id_maps(sleeper.pid, users, groups)?;
    open_of(sleeper.pid, USER)
}

/// A new network namespace that belongs to this user namespace: its root may configure it.
pub fn network_of(user: impl AsFd) -> Result<OwnedFd> {
    let mut visit = Visit { user: user.as_fd().as_raw_fd(), made: -1, failed: None };
    let mut stack = vec![0; STACK];
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_FILES;
    // SAFETY: with CLONE_VFORK we stand still until `make_network` has returned, so that it may use what is ours; it
    // makes system calls and touches nothing but its `Visit`.
    let pid = unsafe { borrow(make_network, flags, (&raw mut visit).cast(), &mut stack) }?;
    wait(pid)?;
    match visit.failed {
        // SAFETY: it was opened in our table (CLONE_FILES) and nobody else knows of it.
        None => Ok(unsafe { OwnedFd::from_raw_fd(visit.made) }),
        Some((call, errno)) => Err(Error::new(call, "a network namespace", Errno::from_raw_os_error(errno))),
    }
}

struct Visit {
    user: RawFd,
    made: RawFd,
    failed: Option<(&'static str, i32)>,
}

extern "C" fn make_network(visit: *mut libc::c_void) -> libc::c_int {
    // SAFETY: `network_of` passed a Visit that it does not touch while we run.
    let visit = unsafe { &mut *visit.cast::<Visit>() };
    // SAFETY: numbers and a constant C string. Only this process, which ends here, is anywhere else afterwards.
    unsafe {
        let call = if libc::setns(visit.user, USER as i32) < 0 {
            "setns"
        } else if libc::unshare(NETWORK as i32) < 0 {
            "unshare"
        } else {
            visit.made = libc::open(c"/proc/thread-self/ns/net".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
            if visit.made >= 0 {
                return 0;
            }
            "open"
        };
        visit.failed = Some((call, *libc::__errno_location()));
    }
    1
}

/// A process in new namespaces that waits to be killed, which is when this is dropped.
struct Sleeper {
    pid: Pid,
    /// It is standing on it.
    _stack: Vec<u8>,
}

impl Sleeper {
    fn start(namespaces: u64) -> Result<Sleeper> {
        let mut stack = vec![0; STACK];
        let parent = crate::process::id() as usize as *mut libc::c_void;
        // SAFETY: `sleep` reads nothing of ours but its argument, which is a number; the stack lives until it is reaped.
        let pid = unsafe { borrow(sleep, libc::CLONE_VM | namespaces as i32, parent, &mut stack) }?;
        Ok(Sleeper { pid, _stack: stack })
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        // It cannot have gone before: nobody else waits for it, and it has no way to end.
        let _ = kill(self.pid, libc::SIGKILL);
        let _ = wait(self.pid);
    }
}

extern "C" fn sleep(parent: *mut libc::c_void) -> libc::c_int {
    // SAFETY: numbers only. All signals are blocked: no handler of ours runs here.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong);
        // The parent may have died before it asked for that.
        while libc::getppid() as usize == parent as usize {
            libc::pause();
        }
    }
    0
}

/// A clone that runs `entry` in our memory, with all signals blocked.
///
/// # Safety
/// The stack must not be freed, nor anything that `entry` uses be touched, before it has ended.
unsafe fn borrow(
    entry: extern "C" fn(*mut libc::c_void) -> libc::c_int,
    flags: i32,
    argument: *mut libc::c_void,
    stack: &mut [u8],
) -> Result<Pid> {
    // SAFETY: signal sets are plain data, filled by the calls; the stack's top is inside of it and aligned.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        let mut before: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
        let top = stack.as_mut_ptr().add(stack.len());
        let top = top.sub(top as usize % 16);
        let pid = libc::clone(entry, top.cast(), flags, argument);
        let failed = (pid < 0).then(|| Error::last("clone", format_args!("flags {flags:#x}")));
        libc::pthread_sigmask(libc::SIG_SETMASK, &before, std::ptr::null_mut());
        failed.map_or(Ok(pid), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{kind, name, same};
    use super::*;

    fn ranges() -> [IdRange; 1] {
        [IdRange { inside: 0, outside: 100_000, count: 1000 }]
    }

    #[test]
    fn a_mapped_user_namespace_without_a_process() {
        assert_eq!(kind(user_with_maps(&ranges(), &ranges()).unwrap()).unwrap(), USER);
    }

    #[test]
    fn a_network_namespace_belongs_to_its_user_namespace() {
        const NS_GET_USERNS: libc::Ioctl = 0xb701;
        let user = user_with_maps(&ranges(), &ranges()).unwrap();
        let network = network_of(&user).unwrap();
        assert_eq!(name(kind(&network).unwrap()), "net");
        // SAFETY: this ioctl takes no argument and gives a new descriptor.
        let owner = unsafe {
            let owner = libc::ioctl(network.as_raw_fd(), NS_GET_USERNS);
            assert!(owner >= 0);
            OwnedFd::from_raw_fd(owner)
        };
        assert!(same(&owner, &user).unwrap());
    }

    #[test]
    fn what_fails_inside_is_told() {
        let own = super::super::open_of(crate::process::id(), NETWORK).unwrap();
        assert_eq!(network_of(&own).unwrap_err().call(), "setns");
    }
}
