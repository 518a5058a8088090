//! Signals: names and numbers, receiving them as data, and a clean slate for programs we execute.
//!
//! Numbers are plain `i32`: real-time signals have no names of their own in any enum, and containers use them.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::error::check;
use crate::{Errno, Error, Result};

pub use libc::{
    SIGCHLD, SIGCONT, SIGHUP, SIGINT, SIGKILL, SIGPIPE, SIGQUIT, SIGSTOP, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH,
};

/// Highest signal number on Linux (`_NSIG`).
pub const MAX: i32 = 64;

#[rustfmt::skip]
const NAMES: &[(&str, i32)] = &[
    ("ABRT", libc::SIGABRT), ("ALRM", libc::SIGALRM), ("BUS", libc::SIGBUS), ("CHLD", libc::SIGCHLD),
    ("CONT", libc::SIGCONT), ("FPE", libc::SIGFPE), ("HUP", libc::SIGHUP), ("ILL", libc::SIGILL),
    ("INT", libc::SIGINT), ("IO", libc::SIGIO), ("KILL", libc::SIGKILL), ("PIPE", libc::SIGPIPE),
    ("PROF", libc::SIGPROF), ("PWR", libc::SIGPWR), ("QUIT", libc::SIGQUIT), ("SEGV", libc::SIGSEGV),
    ("STKFLT", libc::SIGSTKFLT), ("STOP", libc::SIGSTOP), ("SYS", libc::SIGSYS), ("TERM", libc::SIGTERM),
    ("TRAP", libc::SIGTRAP), ("TSTP", libc::SIGTSTP), ("TTIN", libc::SIGTTIN), ("TTOU", libc::SIGTTOU),
    ("URG", libc::SIGURG), ("USR1", libc::SIGUSR1), ("USR2", libc::SIGUSR2), ("VTALRM", libc::SIGVTALRM),
    ("WINCH", libc::SIGWINCH), ("XCPU", libc::SIGXCPU), ("XFSZ", libc::SIGXFSZ),
    ("CLD", libc::SIGCHLD), ("IOT", libc::SIGABRT), ("POLL", libc::SIGIO), ("UNUSED", libc::SIGSYS),
];

/// glibc keeps 32 and 33 for itself; users count real-time signals from 34.
const RTMIN: i32 = 34;
/// How far names of the real-time signals go from the lowest up and from the highest down: each has one.
const ABOVE: i32 = 15;
const BELOW: i32 = 14;

/// `TERM`, `SIGTERM`, `sigterm`, `15`, `RTMIN+3`, `SIGRTMAX-1`. 0 and unknown names are `None`.
pub fn parse(text: &str) -> Option<i32> {
    if let Ok(number) = text.parse::<i32>() {
        return (1..=MAX).contains(&number).then_some(number);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some((_, number)) = NAMES.iter().find(|(known, _)| *known == name) {
        return Some(*number);
    }
    let off = |text: &str, most| text.parse::<i32>().ok().filter(|off| (1..=most).contains(off));
    match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(""), _) => Some(RTMIN),
        (_, Some("")) => Some(MAX),
        (Some(rest), _) => Some(RTMIN + off(rest.strip_prefix('+')?, ABOVE)?),
        (_, Some(rest)) => Some(MAX - off(rest.strip_prefix('-')?, BELOW)?),
        _ => None,
    }
}

/// The same for a signal that only stands for a wish until it is sent: any number but 0 may be wished for.
pub fn parse_wish(text: &str) -> Option<i32> {
    parse(text).or_else(|| text.parse().ok().filter(|number| *number != 0))
}

/// `SIGTERM`; real-time signals as `SIGRTMIN+N` and `SIGRTMAX-N`.
pub fn name(number: i32) -> Option<String> {
    if let Some((name, _)) = NAMES.iter().find(|(_, n)| *n == number) {
        return Some(format!("SIG{name}"));
    }
    match number {
        RTMIN => Some("SIGRTMIN".to_owned()),
        MAX => Some("SIGRTMAX".to_owned()),
        _ if (RTMIN..=RTMIN + ABOVE).contains(&number) => Some(format!("SIGRTMIN+{}", number - RTMIN)),
        _ if (MAX - BELOW..=MAX).contains(&number) => Some(format!("SIGRTMAX-{}", MAX - number)),
        _ => None,
    }
}

/// A signal that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    pub signal: i32,
    /// Who sent it, or which child changed.
    pub pid: i32,
}

/// Signals as something to poll and read (signalfd(2)). They are blocked in the calling thread, and in threads
/// it makes later: create it before any thread.
#[derive(Debug)]
pub struct Signals {
    fd: OwnedFd,
}

impl Signals {
    pub fn new(signals: &[i32]) -> Result<Signals> {
        let set = set_of(signals);
        change_mask(libc::SIG_BLOCK, &set)?;
        // SAFETY: `set` is an initialised signal set that outlives the call; a new descriptor is returned.
        let raw = unsafe { libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
        check(i64::from(raw), "signalfd", || format!("{signals:?}"))?;
        // SAFETY: the kernel just gave us this descriptor.
        Ok(Signals { fd: unsafe { OwnedFd::from_raw_fd(raw) } })
    }

    /// The next one that arrived, if any.
    pub fn take(&self) -> Result<Option<Received>> {
        let mut info = MaybeUninit::<libc::signalfd_siginfo>::uninit();
        let size = size_of::<libc::signalfd_siginfo>();
        // SAFETY: the buffer is writable and has the size that is passed.
        let read = unsafe { libc::read(self.fd.as_raw_fd(), info.as_mut_ptr().cast(), size) };
        match check(read as i64, "read", || "signalfd") {
            Ok(count) if count as usize == size => {
                // SAFETY: the kernel filled the whole struct.
                let info = unsafe { info.assume_init() };
                Ok(Some(Received { signal: info.ssi_signo as i32, pid: info.ssi_pid as i32 }))
            }
            Ok(_) => Err(Error::new("read", "signalfd", Errno::IO)),
            Err(error) if error.is(Errno::AGAIN) || error.is(Errno::INTR) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Default dispositions and an empty mask: what a program may expect when it starts. Rust ignores SIGPIPE, and
/// ignored signals survive exec.
pub fn reset_all() -> Result<()> {
    for signal in 1..=MAX {
        // KILL and STOP cannot change; 32 and 33 are glibc's. The kernel refuses those, which is fine.
        // SAFETY: SIG_DFL installs no handler of ours.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    unblock_all()
}

pub fn unblock_all() -> Result<()> {
    change_mask(libc::SIG_SETMASK, &set_of(&[]))
}

/// The signals that a thread had blocked.
pub struct Mask(libc::sigset_t);

/// Blocks all signals in the calling thread.
pub fn block_all() -> Result<Mask> {
    let (mut all, mut before) = (MaybeUninit::uninit(), MaybeUninit::uninit());
    // SAFETY: both are places for a set. The first is filled before it is used, the second when the call succeeds.
    let result = unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr())
    };
    match result {
        // SAFETY: see above.
        0 => Ok(Mask(unsafe { before.assume_init() })),
        errno => Err(Error::new("sigprocmask", "SIG_SETMASK", Errno::from_raw_os_error(errno))),
    }
}

/// What [`block_all`] has changed is as it was.
pub fn restore(mask: &Mask) -> Result<()> {
    change_mask(libc::SIG_SETMASK, &mask.0)
}

/// Ignores a signal for this process. For SIGCHLD the kernel then reaps children by itself.
pub fn ignore(signal: i32) -> Result<()> {
    // SAFETY: SIG_IGN installs no handler of ours.
    if unsafe { libc::signal(signal, libc::SIG_IGN) } == libc::SIG_ERR {
        return Err(Error::last("signal", format_args!("{signal}, SIG_IGN")));
    }
    Ok(())
}

/// Ends this process on these signals, where it is the first of a PID namespace too: that one gets no signal it has no
/// handler for. Executing a program puts them back.
pub fn end_on(signals: &[i32]) -> Result<()> {
    extern "C" fn end(signal: libc::c_int) {
        // SAFETY: _exit may be called in a handler.
        unsafe { libc::_exit(128 + signal) }
    }
    for signal in signals {
        // SAFETY: the handler only ends the process.
        if unsafe { libc::signal(*signal, end as extern "C" fn(libc::c_int) as libc::sighandler_t) }
            == libc::SIG_ERR
        {
            return Err(Error::last("signal", format_args!("{signal}")));
        }
    }
    Ok(())
}

fn set_of(signals: &[i32]) -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigemptyset initialises the set; sigaddset refuses bad numbers without touching memory.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in signals {
            libc::sigaddset(set.as_mut_ptr(), *signal);
        }
        set.assume_init()
    }
}

fn change_mask(how: i32, set: &libc::sigset_t) -> Result<()> {
    // SAFETY: `set` is initialised; the old mask is not asked for.
    match unsafe { libc::pthread_sigmask(how, set, std::ptr::null_mut()) } {
        0 => Ok(()),
        errno => Err(Error::new("pthread_sigmask", how, Errno::from_raw_os_error(errno))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_signal() {
        for text in ["TERM", "SIGTERM", "sigterm", "15"] {
            assert_eq!(parse(text), Some(15), "{text}");
        }
        assert_eq!(parse("SIGRTMIN+3"), Some(37));
        assert_eq!(parse("RTMAX-1"), Some(63));
        assert_eq!(parse("64"), Some(64));
        for text in ["", "0", "65", "-1", "SIG", "RTMIN-1", "RTMIN+16", "RTMAX-15", "NOPE"] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(name(9).as_deref(), Some("SIGKILL"));
        assert_eq!(name(37).as_deref(), Some("SIGRTMIN+3"));
        for number in (1..=MAX).filter(|number| ![32, 33].contains(number)) {
            assert_eq!(parse(&name(number).unwrap()), Some(number), "each has a name");
        }
    }

    #[test]
    fn a_blocked_signal_is_read() {
        let signals = Signals::new(&[libc::SIGUSR2]).unwrap();
        assert_eq!(signals.take().unwrap(), None);
        // SAFETY: sends the signal to this thread, where it is blocked.
        unsafe { libc::pthread_kill(libc::pthread_self(), libc::SIGUSR2) };
        assert_eq!(signals.take().unwrap().unwrap().signal, libc::SIGUSR2);
    }
}
