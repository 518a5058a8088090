//! `bench`: the benchmarks, with release binaries.

use std::ffi::OsString;

use crate::run::{Outcome, cargo};

/// Passes its arguments on to the `bench` program; see `bench/src/main.rs`.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    cargo(["build", "--release"])?;
    let fixed = ["run", "--release", "--quiet", "--package", "bench", "--"].map(OsString::from);
    cargo(fixed.into_iter().chain(arguments.iter().map(OsString::from)))
}
