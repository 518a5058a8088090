//! `soak`: the promise that the engine may die at any moment, measured. See `tests/src/soak`.

use std::ffi::OsString;

use crate::packages;
use crate::run::{Outcome, cargo, target};

/// Passes its arguments on to the program.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    packages::install()?;
    cargo(["build"])?;
    // What is shipped is the other build that the engine is exchanged for and back.
    cargo(["build", "--release", "--package", "daemon", "--package", "shim"])?;
    let other = target().join("release");
    let fixed =
        ["run", "--quiet", "--package", "blackbox", "--bin", "soak", "--", "--other"].map(OsString::from);
    let fixed = fixed.into_iter().chain([other.into_os_string()]);
    cargo(fixed.chain(arguments.iter().map(OsString::from)))
}
