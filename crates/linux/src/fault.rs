//! Fault points: places at which a debug build can be told to die or to fail, so that a test can walk through all of them.
//!
//! Something lasting stands on each side of a point: a commit, a directory, a process. The file that `WHARF_FAULTS` names
//! arms them while the process runs:
//!
//! ```text
//!  crash 3         abort at the third point from now on: nothing is undone, no destructor runs
//!  eio 3           the third fails as a broken disk does …
//!  enospc 3        … or a full one; what cannot fail is passed
//!  eio log 3       the third of those only whose name begins with "log"
//! ```
//!
//! It is taken away when it is read, and `<file>.log` gets the name of each point that is passed from then on. A simulation
//! is asked instead of the file ([`crate::ambient`]). A release build has none of this.

use crate::Result;

/// A point that can fail.
#[inline]
pub fn point(name: &'static str) -> Result<()> {
    #[cfg(debug_assertions)]
    if let Some(errno) = armed::reach(name) {
        return Err(crate::Error::new("fault", name, errno));
    }
    let _ = name;
    Ok(())
}

/// The same where errors are the standard library's.
#[inline]
pub fn io(name: &'static str) -> std::io::Result<()> {
    point(name).map_err(|error| std::io::Error::from_raw_os_error(error.errno().raw_os_error()))
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

    use crate::Errno;
    use crate::ambient::simulated;

    #[derive(Clone, Copy)]
    enum Action {
        Crash,
        Fail(Errno),
    }

    /// What to do, and at the how-manyth point from now.
    struct Armed {
        action: Action,
        /// Only points whose names begin with it count.
        prefix: String,
        left: u32,
    }

    static ARMED: Mutex<Option<Armed>> = Mutex::new(None);

    fn file() -> Option<&'static PathBuf> {
        static FILE: OnceLock<Option<PathBuf>> = OnceLock::new();
        FILE.get_or_init(|| std::env::var_os("WHARF_FAULTS").map(PathBuf::from)).as_ref()
    }

    /// Passes a point; the error that it is to fail with.
    pub(super) fn reach(name: &'static str) -> Option<Errno> {
        if let Some(answer) = simulated::with(|one| one.reach(name)) {
            return answer;
        }
        let file = file()?;
        let mut armed = ARMED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Ok(text) = fs::read_to_string(file) {
            let _ = fs::remove_file(file);
            *armed = parse(&text);
        }
        let armed = armed.as_mut().filter(|armed| name.starts_with(&armed.prefix))?;
        armed.left = armed.left.checked_sub(1)?;
        let log = fs::File::options().create(true).append(true).open(file.with_extension("log"));
        let _ = log.and_then(|mut log| writeln!(log, "{name}"));
        match (armed.left, armed.action) {
            (0, Action::Crash) => std::process::abort(),
            (0, Action::Fail(errno)) => Some(errno),
            _ => None,
        }
    }

    fn parse(text: &str) -> Option<Armed> {
        let (action, rest) = text.trim().split_once(' ')?;
        let action = match action {
            "crash" => Action::Crash,
            "eio" => Action::Fail(Errno::IO),
            "enospc" => Action::Fail(Errno::NOSPC),
            _ => return None,
        };
        let (prefix, count) = rest.rsplit_once(' ').unwrap_or(("", rest));
        Some(Armed { action, prefix: prefix.to_owned(), left: count.parse().ok()? })
    }
}
