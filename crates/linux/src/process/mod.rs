//! Processes: making, executing, watching and ending them.
//!
//! Two ways to make one. [`Spawn`] executes a program as cheaply as the kernel can (no page tables copied) with
//! exactly the descriptors it is given. [`Clone`] goes on in a copy of this process, in new namespaces if
//! wanted, for work that must be done on the other side before a program is executed; [`Elsewhere`] does so where
//! another process has led the way.
//!
//! Ids are plain `i32`. A number may be reused once its process is reaped; whoever holds on to a process longer
//! than that keeps a pidfd.

mod clone;
mod elsewhere;
mod limits;
mod seal;
mod spawn;

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

pub use clone::{Before, Clone, Cloned, sibling};
pub use elsewhere::Elsewhere;
pub use limits::{
    Limit, MemoryPolicy, Resource, limit, raise_open_files, reset_affinity, set_affinity, set_io_priority,
    set_limit, set_limit_of, set_memory_policy, set_personality, set_scheduler,
};
pub use limits::{Scheduling, cpu_list};
pub use seal::{Seal, seal_myself, sealed_program};
pub use spawn::{Child, Program, Spawn, reserve_low_descriptors};

use crate::error::check;
use crate::{Errno, Error, Result};

pub type Pid = i32;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Code(i32),
    Signal(i32),
}

impl Exit {
    /// The one number a shell would show.
    pub fn code(self) -> i32 {
        match self {
            Exit::Code(code) => code,
            Exit::Signal(signal) => 128 + signal,
        }
    }

    fn from_status(status: i32) -> Exit {
        if libc::WIFSIGNALED(status) {
            Exit::Signal(libc::WTERMSIG(status))
        } else {
            Exit::Code(libc::WEXITSTATUS(status))
        }
    }
}

/// Waits for one child to end and reaps it.
pub fn wait(pid: Pid) -> Result<Exit> {
    wait_for(pid, 0)?.ok_or_else(|| Error::new("waitpid", pid, Errno::CHILD))
}

/// Reaps one child if it has ended.
pub fn try_wait(pid: Pid) -> Result<Option<Exit>> {
    wait_for(pid, libc::WNOHANG)
}

fn wait_for(pid: Pid, options: i32) -> Result<Option<Exit>> {
    loop {
        let mut status = 0;
        // SAFETY: `status` is a valid place for the result. __WALL also waits for children made by clone.
        let got = unsafe { libc::waitpid(pid, &mut status, options | libc::__WALL) };
        match check(i64::from(got), "waitpid", || pid) {
            Ok(0) => return Ok(None),
            Ok(_) => return Ok(Some(Exit::from_status(status))),
            Err(error) if error.is(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}

/// A descriptor that means this process and no later one with its number; readable when it has ended.
pub fn open_pidfd(pid: Pid) -> Result<OwnedFd> {
    // SAFETY: plain numbers in, a new descriptor out.
    let raw = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    check(raw, "pidfd_open", || pid)?;
    // SAFETY: the kernel just gave us this descriptor. pidfds are close-on-exec.
    Ok(unsafe { OwnedFd::from_raw_fd(raw as i32) })
}

/// Sends a signal to the process behind a pidfd. `ESRCH` when it has been reaped.
pub fn send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> Result<()> {
    // SAFETY: a borrowed descriptor, a number, no siginfo.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    check(result, "pidfd_send_signal", || format!("signal {signal}")).map(drop)
}

/// Sends a signal by number. 0 only asks whether the process exists.
pub fn kill(pid: Pid, signal: i32) -> Result<()> {
    // SAFETY: plain numbers.
    check(i64::from(unsafe { libc::kill(pid, signal) }), "kill", || format!("{pid}, {signal}")).map(drop)
}

/// Orphans among the descendants become children of this process instead of init's.
pub fn set_subreaper(on: bool) -> Result<()> {
    prctl(libc::PR_SET_CHILD_SUBREAPER, libc::c_ulong::from(on), "PR_SET_CHILD_SUBREAPER")
}

/// The signal this process gets when its parent dies. Cleared by changes of credentials: set it last. A parent
/// that is dead already sends nothing: check for it afterwards.
pub fn set_death_signal(signal: i32) -> Result<()> {
    prctl(libc::PR_SET_PDEATHSIG, signal as libc::c_ulong, "PR_SET_PDEATHSIG")
}

/// Whether others of the same user may trace this process and look through its `/proc` links.
pub fn set_dumpable(on: bool) -> Result<()> {
    prctl(libc::PR_SET_DUMPABLE, libc::c_ulong::from(on), "PR_SET_DUMPABLE")
}

/// See [`set_dumpable`].
pub fn is_dumpable() -> Result<bool> {
    // SAFETY: takes no argument.
    let state = unsafe { libc::prctl(libc::PR_GET_DUMPABLE) };
    check(i64::from(state), "prctl", || "PR_GET_DUMPABLE").map(|state| state == 1)
}

fn prctl(option: i32, argument: libc::c_ulong, name: &'static str) -> Result<()> {
    // SAFETY: these options take one number; the rest must be zero.
    let result =
        unsafe { libc::prctl(option, argument, 0 as libc::c_ulong, 0 as libc::c_ulong, 0 as libc::c_ulong) };
    check(i64::from(result), "prctl", || format!("{name}, {argument}")).map(drop)
}

/// A session of its own, without a controlling terminal.
pub fn new_session() -> Result<()> {
    rustix::process::setsid().map(drop).map_err(|errno| Error::new("setsid", "", errno))
}

/// Sets the file mode creation mask; returns the old one.
pub fn set_umask(mask: u32) -> u32 {
    // SAFETY: cannot fail, touches no memory.
    unsafe { libc::umask(mask) }
}

/// Changes the working directory to a path as this process sees it.
pub fn change_directory(path: &std::path::Path) -> Result<()> {
    rustix::process::chdir(path).map_err(|errno| Error::new("chdir", format_args!("{path:?}"), errno))
}

/// The same by a handle.
pub fn change_directory_to(directory: impl std::os::fd::AsFd) -> Result<()> {
    rustix::process::fchdir(&directory)
        .map_err(|errno| Error::new("fchdir", format_args!("{:?}", crate::path::of(&directory)), errno))
}

/// Where the working directory is. One outside of the root is an error (`ENOENT`).
pub fn current_directory() -> Result<std::path::PathBuf> {
    use std::os::unix::ffi::OsStringExt;
    let error = |errno| Error::new("getcwd", "", errno);
    let bytes = rustix::process::getcwd(Vec::new()).map_err(error)?.into_bytes();
    // The kernel says `(unreachable)/…` for a directory that is not below our root.
    if bytes.first() != Some(&b'/') {
        return Err(error(Errno::NOENT));
    }
    Ok(std::ffi::OsString::from_vec(bytes).into())
}

pub fn id() -> Pid {
    rustix::process::getpid().as_raw_nonzero().get()
}

/// Threads of this process.
pub fn thread_count() -> Result<u64> {
    // The directory has `.`, `..` and one subdirectory per thread.
    let stat =
        rustix::fs::stat("/proc/self/task").map_err(|errno| Error::new("stat", "/proc/self/task", errno))?;
    Ok((stat.st_nlink as u64).saturating_sub(2).max(1))
}

/// Ends this process now: no destructors, no buffers flushed. For copies made by [`Clone`].
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit does not return and runs nothing of ours.
    unsafe { libc::_exit(code) }
}

/// Replaces this process by a program. Returns only to say why it could not.
pub fn execute(program: &CStr, args: &[CString], env: &[CString]) -> Error {
    let (argv, envp) = (pointers(args), pointers(env));
    // SAFETY: both arrays end with null and their strings live until the call returns.
    unsafe { libc::execve(program.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
    Error::last("execve", format_args!("{program:?}"))
}

/// Like [`execute`], for a file that is open. A close-on-exec descriptor cannot run scripts (`ENOENT`).
pub fn execute_open(file: BorrowedFd<'_>, args: &[CString], env: &[CString]) -> Error {
    let (argv, envp) = (pointers(args), pointers(env));
    // SAFETY: as above; the empty path with AT_EMPTY_PATH means the descriptor itself.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            file.as_raw_fd(),
            c"".as_ptr(),
            argv.as_ptr(),
            envp.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    Error::last("execveat", "AT_EMPTY_PATH")
}

fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect()
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_pidfd_outlives_its_process() {
        let mut child = std::process::Command::new("/bin/busybox").args(["sleep", "60"]).spawn().unwrap();
        let pidfd = open_pidfd(child.id() as Pid).unwrap();
        send_signal(pidfd.as_fd(), libc::SIGKILL).unwrap();
        assert!(crate::poll::wait_readable(&pidfd, None).unwrap());
        child.wait().unwrap();
        assert!(send_signal(pidfd.as_fd(), libc::SIGKILL).unwrap_err().is(Errno::SRCH));
    }

    #[test]
    fn exits_as_a_shell_counts() {
        assert_eq!(Exit::Code(3).code(), 3);
        assert_eq!(Exit::Signal(9).code(), 137);
    }
}
