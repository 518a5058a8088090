//! Fault points whose failure is the store's: see [`linux::fault`].

use crate::Error;

pub use linux::fault::passed;

/// A point that can fail.
#[inline]
pub fn point(name: &'static str) -> Result<(), Error> {
    linux::fault::io(name).map_err(|error| Error::io("fault", name.as_ref(), error))
}
