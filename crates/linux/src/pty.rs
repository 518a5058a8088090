//! Pseudo-terminals.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;

use crate::error::{Context, check};
use crate::{Errno, Error, Result};

/// Columns and rows of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Size {
    pub rows: u16,
    pub columns: u16,
}

/// Both ends of a new terminal.
#[derive(Debug)]
pub struct Terminal {
    pub master: OwnedFd,
    pub slave: OwnedFd,
}

/// A new terminal of the devpts instance mounted at `devpts`: no path of the container is involved in finding
/// the slave, so it is the one that belongs to this master. The kernel's default modes are kept.
pub fn open(devpts: impl AsFd) -> Result<Terminal> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let master =
        rustix::fs::openat(devpts, c"ptmx", flags, Mode::empty()).context("openat", || "\"ptmx\"")?;
    open_slave(genuine(master)?)
}

/// A new terminal of the devpts instance that this process sees at `/dev/ptmx`.
pub fn open_own() -> Result<Terminal> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    open_slave(genuine(rustix::pty::openpt(flags).context("open", || "\"/dev/ptmx\"")?)?)
}

/// What was opened is the kernel's multiplexer, and not a file that somebody put in its place.
fn genuine(master: OwnedFd) -> Result<OwnedFd> {
    const MULTIPLEXER: (u32, u32) = (5, 2);
    let stat = rustix::fs::fstat(&master).context("fstat", || "\"ptmx\"")?;
    let is_device = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice;
    let number = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
    if is_device && number == MULTIPLEXER {
        return Ok(master);
    }
    let what = format_args!("{:?}, not the terminal multiplexer", crate::path::of(&master)).to_string();
    Err(Error::new("open", what, Errno::NOTTY))
}

fn open_slave(master: OwnedFd) -> Result<Terminal> {
    rustix::pty::unlockpt(&master).context("ioctl", || "TIOCSPTLCK, 0")?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags).context("ioctl", || "TIOCGPTPEER")?;
    Ok(Terminal { master, slave })
}

pub fn resize(terminal: impl AsFd, size: Size) -> Result<()> {
    let value = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(terminal, value).context("ioctl", || format!("TIOCSWINSZ, {size:?}"))
}

pub fn size(terminal: impl AsFd) -> Result<Size> {
    let value = rustix::termios::tcgetwinsize(terminal).context("ioctl", || "TIOCGWINSZ")?;
    Ok(Size { rows: value.ws_row, columns: value.ws_col })
}

/// Makes this terminal the controlling one of the calling session leader.
pub fn set_controlling(terminal: impl AsFd) -> Result<()> {
    // SAFETY: TIOCSCTTY takes a number: 0, do not steal.
    let result = unsafe { libc::ioctl(terminal.as_fd().as_raw_fd(), libc::TIOCSCTTY, 0) };
    check(i64::from(result), "ioctl", || "TIOCSCTTY").map(drop)
}

/// A terminal's modes as they were, to be put back.
#[derive(Debug, Clone)]
pub struct Modes(rustix::termios::Termios);

/// Every byte passes as it is, and nothing is echoed; returns the modes before.
pub fn make_raw(terminal: impl AsFd) -> Result<Modes> {
    let before = rustix::termios::tcgetattr(&terminal).context("ioctl", || "TCGETS")?;
    let mut raw = before.clone();
    raw.make_raw();
    let when = rustix::termios::OptionalActions::Now;
    rustix::termios::tcsetattr(terminal, when, &raw).context("ioctl", || "TCSETS")?;
    Ok(Modes(before))
}

pub fn restore(terminal: impl AsFd, modes: &Modes) -> Result<()> {
    let when = rustix::termios::OptionalActions::Now;
    rustix::termios::tcsetattr(terminal, when, &modes.0).context("ioctl", || "TCSETS")
}

/// Ends of lines pass as they are written: without this a terminal makes two characters of each.
pub fn keep_line_ends(terminal: impl AsFd) -> Result<()> {
    let mut modes = rustix::termios::tcgetattr(&terminal).context("ioctl", || "TCGETS")?;
    modes.output_modes.remove(rustix::termios::OutputModes::ONLCR);
    let when = rustix::termios::OptionalActions::Now;
    rustix::termios::tcsetattr(terminal, when, &modes).context("ioctl", || "TCSETS")
}

pub fn is_terminal(fd: impl AsFd) -> bool {
    rustix::termios::isatty(fd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_seen_at_the_other_end() {
        let terminal = open_own().unwrap();
        resize(&terminal.master, Size { rows: 30, columns: 100 }).unwrap();
        assert_eq!(size(&terminal.slave).unwrap(), Size { rows: 30, columns: 100 });
        assert!(is_terminal(&terminal.slave));
    }

    #[test]
    fn what_is_no_multiplexer_is_refused() {
        let directory = scratch::Directory::new("pty");
        directory.file("ptmx", "");
        let error = open(std::fs::File::open(&directory).unwrap()).unwrap_err();
        assert!(error.is(Errno::NOTTY), "{error}");
    }

    #[test]
    fn newlines_become_carriage_returns_as_on_any_terminal() {
        let terminal = open_own().unwrap();
        crate::fd::write_all(&terminal.slave, b"a\n").unwrap();
        let mut buffer = [0; 8];
        let count = crate::fd::read(&terminal.master, &mut buffer).unwrap();
        assert_eq!(&buffer[..count], b"a\r\n");
    }
}
