//! `soak`: the promise that the engine may die at any moment, measured. See `tests/src/soak`.

use std::ffi::OsString;

use crate::packages;
use crate::run::{Outcome, cargo};

/// Passes its arguments on to the program.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    packages::install()?;
    cargo(["build"])?;
    let fixed = ["run", "--quiet", "--package", "blackbox", "--bin", "soak", "--"].map(OsString::from);
    cargo(fixed.into_iter().chain(arguments.iter().map(OsString::from)))
}
