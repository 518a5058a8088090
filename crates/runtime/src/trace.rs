//! Steps told as they are taken, to whoever wants to know why a start fails or takes long.
//!
//! The words are those that people search for in the logs of runtimes (`nsexec container setup`, `child process in
//! init()`, `setns_init: about to exec`), wherever the step is the same.

use std::fmt;

/// Where steps are told. Nobody listens by default, and then nothing is put together.
#[derive(Clone, Copy, Default)]
pub struct Trace<'a>(Option<&'a dyn Fn(fmt::Arguments<'_>)>);

impl<'a> Trace<'a> {
    pub fn to(listener: &'a dyn Fn(fmt::Arguments<'_>)) -> Trace<'a> {
        Trace(Some(listener))
    }

    pub(crate) fn step(&self, what: fmt::Arguments<'_>) {
        if let Some(listener) = self.0 {
            listener(what);
        }
    }
}

impl fmt::Debug for Trace<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Trace(on)" } else { "Trace(off)" })
    }
}
