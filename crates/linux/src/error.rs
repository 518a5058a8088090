//! A failed system call, told the way strace would.
//!
//! `openat("/x", O_PATH): No such file or directory (ENOENT)` names the call, what it worked on and the errno,
//! so that nobody has to guess which of twenty paths was missing. What to do about it is for the floors above.

use std::borrow::Cow;
use std::fmt;

pub use rustix::io::Errno;

pub type Result<T> = std::result::Result<T, Error>;

/// A call that failed, as strace(1) would show it: name, arguments, errno.
#[derive(Clone, PartialEq, Eq)]
pub struct Error {
    call: Cow<'static, str>,
    args: Box<str>,
    errno: Errno,
}

impl Error {
    pub fn new(call: &'static str, args: impl fmt::Display, errno: Errno) -> Error {
        Error { call: call.into(), args: args.to_string().into(), errno }
    }

    /// An error that another process met, rebuilt from its parts.
    pub fn from_parts(call: String, args: String, errno: i32) -> Error {
        Error { call: call.into(), args: args.into(), errno: Errno::from_raw_os_error(errno) }
    }

    /// From what the standard library reports. Its own errors carry no errno; they become `EIO`.
    pub fn from_io(call: &'static str, args: impl fmt::Display, error: &std::io::Error) -> Error {
        Error::new(call, args, error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error))
    }

    /// The calling thread's `errno`, right after a libc call that failed.
    pub(crate) fn last(call: &'static str, args: impl fmt::Display) -> Error {
        Error::from_io(call, args, &std::io::Error::last_os_error())
    }

    pub fn errno(&self) -> Errno {
        self.errno
    }

    pub fn call(&self) -> &str {
        &self.call
    }

    pub fn args(&self) -> &str {
        &self.args
    }

    pub fn is(&self, errno: Errno) -> bool {
        self.errno == errno
    }

    /// The kernel's sentence within another: `no such file or directory`.
    pub fn words(&self) -> String {
        let sentence = self.sentence();
        let mut letters = sentence.chars();
        letters.next().into_iter().flat_map(char::to_lowercase).chain(letters).collect()
    }

    /// The kernel's sentence alone: `No such file or directory`.
    pub fn sentence(&self) -> String {
        sentence(self.errno)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({}): {}", self.call, self.args, sentence(self.errno))?;
        match name(self.errno) {
            Some(name) => write!(f, " ({name})"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Error {}

impl From<Error> for std::io::Error {
    fn from(error: Error) -> std::io::Error {
        std::io::Error::new(std::io::Error::from(error.errno).kind(), error)
    }
}

/// Adds the call and its arguments to a bare errno.
pub(crate) trait Context<T> {
    fn context<A: fmt::Display>(self, call: &'static str, args: impl FnOnce() -> A) -> Result<T>;
}

impl<T> Context<T> for rustix::io::Result<T> {
    fn context<A: fmt::Display>(self, call: &'static str, args: impl FnOnce() -> A) -> Result<T> {
        self.map_err(|errno| Error::new(call, args(), errno))
    }
}

impl<T> Context<T> for std::io::Result<T> {
    fn context<A: fmt::Display>(self, call: &'static str, args: impl FnOnce() -> A) -> Result<T> {
        self.map_err(|error| Error::from_io(call, args(), &error))
    }
}

/// Turns libc's -1 into the error that `errno` holds.
pub(crate) fn check<A: fmt::Display>(
    result: i64,
    call: &'static str,
    args: impl FnOnce() -> A,
) -> Result<i64> {
    if result < 0 { Err(Error::last(call, args())) } else { Ok(result) }
}

fn sentence(errno: Errno) -> String {
    let text = std::io::Error::from_raw_os_error(errno.raw_os_error()).to_string();
    match text.rfind(" (os error") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

fn name(errno: Errno) -> Option<&'static str> {
    let number = errno.raw_os_error();
    NAMES.iter().find(|(n, _)| *n == number).map(|(_, name)| *name)
}

/// The errno with this name (`EPERM`), for configurations that spell it.
pub fn errno_by_name(name: &str) -> Option<Errno> {
    NAMES.iter().find(|(_, n)| *n == name).map(|(number, _)| Errno::from_raw_os_error(*number))
}

macro_rules! names {
    ($($name:ident)*) => { &[$((libc::$name, stringify!($name))),*] };
}

#[rustfmt::skip]
static NAMES: &[(i32, &str)] = names![
    EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG ENOEXEC EBADF ECHILD EAGAIN ENOMEM EACCES EFAULT ENOTBLK EBUSY
    EEXIST EXDEV ENODEV ENOTDIR EISDIR EINVAL ENFILE EMFILE ENOTTY ETXTBSY EFBIG ENOSPC ESPIPE EROFS EMLINK
    EPIPE EDOM ERANGE EDEADLK ENAMETOOLONG ENOLCK ENOSYS ENOTEMPTY ELOOP ENOMSG EIDRM ENODATA ETIME EOVERFLOW
    EILSEQ EUSERS ENOTSOCK EDESTADDRREQ EMSGSIZE EPROTOTYPE ENOPROTOOPT EPROTONOSUPPORT ESOCKTNOSUPPORT
    EOPNOTSUPP EPFNOSUPPORT EAFNOSUPPORT EADDRINUSE EADDRNOTAVAIL ENETDOWN ENETUNREACH ENETRESET ECONNABORTED
    ECONNRESET ENOBUFS EISCONN ENOTCONN ESHUTDOWN ETOOMANYREFS ETIMEDOUT ECONNREFUSED EHOSTDOWN EHOSTUNREACH
    EALREADY EINPROGRESS ESTALE EUCLEAN EDQUOT ENOMEDIUM EMEDIUMTYPE ECANCELED ENOKEY EKEYEXPIRED EKEYREVOKED
    EKEYREJECTED EOWNERDEAD ENOTRECOVERABLE ERFKILL EBADMSG EPROTO ENOLINK EREMOTE EL2HLT ENOPKG ELIBBAD
    ELIBACC ELIBSCN ELIBMAX ELIBEXEC ERESTART ESTRPIPE ENOTUNIQ EBADFD EREMCHG EMULTIHOP ENOSR ENOSTR ENONET
    EADV ESRMNT ECOMM ECHRNG EL2NSYNC EL3HLT EL3RST ELNRNG EUNATCH ENOCSI EBADE EBADR EXFULL ENOANO EBADRQC
    EBADSLT EBFONT ENOTNAM ENAVAIL EISNAM EREMOTEIO EDOTDOT EHWPOISON
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_like_strace() {
        let error = Error::new("openat", "\"/x\", O_PATH", Errno::NOENT);
        assert_eq!(error.to_string(), "openat(\"/x\", O_PATH): No such file or directory (ENOENT)");
        assert_eq!(std::io::Error::from(error).kind(), std::io::ErrorKind::NotFound);
    }

    #[test]
    fn names_are_found_both_ways() {
        assert_eq!(errno_by_name("ENOSYS"), Some(Errno::NOSYS));
        assert_eq!(name(Errno::AGAIN), Some("EAGAIN"));
        assert_eq!(errno_by_name("EBOGUS"), None);
    }
}
