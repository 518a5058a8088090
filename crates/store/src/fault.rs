//! Fault points: places at which a debug build can be told to die or to fail, so that a test can walk through all of them.
//!
//! Something lasting stands on each side of a point: a commit, a directory, a process. The file that `WHARF_FAULTS` names
//! arms them while the process runs:
//!
//! ```text
//!  crash 3     abort at the third point from now on: nothing is undone, no destructor runs
//!  eio 3       the third fails as a broken disk does …
//!  enospc 3    … or a full one; what cannot fail is passed
//! ```
//!
//! It is taken away when it is read, and `<file>.log` gets the name of each point that is passed from then on. A release
//! build has none of this.

use crate::Error;

/// A point that can fail.
#[inline]
pub fn point(name: &'static str) -> Result<(), Error> {
    #[cfg(debug_assertions)]
    if let Some(errno) = armed::reach(name) {
        return Err(Error::io("fault", name.as_ref(), std::io::Error::from_raw_os_error(errno)));
    }
    let _ = name;
    Ok(())
}

/// A point behind something that has happened and cannot fail any more.
#[inline]
pub fn passed(name: &'static str) {
    let _ = point(name);
}

#[cfg(debug_assertions)]
mod armed {
    use std::fs;
    use std::io::Write;
    use std::path::PathBuf;
    use std::sync::{Mutex, OnceLock, PoisonError};

    const EIO: i32 = 5;
    const ENOSPC: i32 = 28;

    #[derive(Clone, Copy)]
    enum Action {
        Crash,
        Fail(i32),
    }

    /// What to do, and at the how-manyth point from now.
    static ARMED: Mutex<Option<(Action, u32)>> = Mutex::new(None);

    fn file() -> Option<&'static PathBuf> {
        static FILE: OnceLock<Option<PathBuf>> = OnceLock::new();
        FILE.get_or_init(|| std::env::var_os("WHARF_FAULTS").map(PathBuf::from)).as_ref()
    }

    /// Passes a point; the error that it is to fail with.
    pub(super) fn reach(name: &str) -> Option<i32> {
        let file = file()?;
        let mut armed = ARMED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Ok(text) = fs::read_to_string(file) {
            let _ = fs::remove_file(file);
            *armed = parse(&text);
        }
        let (action, left) = armed.as_mut()?;
        *left = left.checked_sub(1)?;
        let log = fs::File::options().create(true).append(true).open(file.with_extension("log"));
        let _ = log.and_then(|mut log| writeln!(log, "{name}"));
        match (*left, *action) {
            (0, Action::Crash) => std::process::abort(),
            (0, Action::Fail(errno)) => Some(errno),
            _ => None,
        }
    }

    fn parse(text: &str) -> Option<(Action, u32)> {
        let (action, count) = text.trim().split_once(' ')?;
        let action = match action {
            "crash" => Action::Crash,
            "eio" => Action::Fail(EIO),
            "enospc" => Action::Fail(ENOSPC),
            _ => return None,
        };
        Some((action, count.parse().ok()?))
    }
}
