//! The terminal: whether there is one, how large it is, and raw mode.
//!
//! Raw mode must be undone however the program ends, or the user's shell is left deaf. So the
//! original settings live in one place, and are put back by the guard, by the thread that hears
//! signals, and by the panic hook; whoever comes first does it, and the others find nothing to do.

use std::io::{IsTerminal as _, stderr, stdin, stdout};
use std::sync::Mutex;

use rustix::termios::{self, OptionalActions, Termios};

static ORIGINAL: Mutex<Option<Termios>> = Mutex::new(None);

pub(crate) fn stdin_is_terminal() -> bool {
    stdin().is_terminal()
}

pub(crate) fn stdout_is_terminal() -> bool {
    stdout().is_terminal()
}

pub(crate) fn stderr_is_terminal() -> bool {
    stderr().is_terminal()
}

/// Rows and columns of the terminal that standard output goes to.
pub(crate) fn size() -> Option<(u16, u16)> {
    let size = termios::tcgetwinsize(stdout()).ok()?;
    (size.ws_row > 0 && size.ws_col > 0).then_some((size.ws_row, size.ws_col))
}

pub(crate) fn columns() -> Option<usize> {
    size().map(|(_, columns)| usize::from(columns))
}

/// Raw mode, as long as it lives.
pub(crate) struct Raw(());

impl Raw {
    /// Makes the terminal at standard input raw. `NORAW` keeps it as it is.
    pub(crate) fn enter() -> std::io::Result<Raw> {
        if std::env::var_os("NORAW").is_some_and(|value| !value.is_empty()) {
            return Ok(Raw(()));
        }
        let original = termios::tcgetattr(stdin())?;
        let mut raw = original.clone();
        raw.make_raw();
        if let Ok(mut place) = ORIGINAL.lock() {
            place.get_or_insert(original);
        }
        termios::tcsetattr(stdin(), OptionalActions::Now, &raw)?;
        Ok(Raw(()))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        restore();
    }
}

/// Puts the terminal back, if it was changed.
pub(crate) fn restore() {
    if let Ok(mut place) = ORIGINAL.lock()
        && let Some(original) = place.take()
    {
        let _ = termios::tcsetattr(stdin(), OptionalActions::Now, &original);
    }
}

/// Release builds abort on a panic and run no destructor; the hook still runs.
pub(crate) fn restore_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |information| {
        restore();
        report(information);
    }));
}
