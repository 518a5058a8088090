//! `test` and `e2e`: the same suites in two reaches. A third is in [`crate::guest`].

use crate::packages;
use crate::run::{Outcome, cargo};

/// Everything that a change must pass: unit tests, each crate's own tests on the kernel, black box tests.
pub(crate) fn all() -> Outcome {
    packages::install()?;
    // The black box tests run the binaries, which `cargo test` alone would not build.
    cargo(["build"])?;
    cargo(["test", "--workspace", "--no-fail-fast"])
}

/// The black box tests alone, those whose name contains the filter.
pub(crate) fn black_box(filter: &[String]) -> Outcome {
    packages::install()?;
    cargo(["build"])?;
    let fixed = ["test", "--package", "blackbox", "--"].map(str::to_owned);
    cargo(fixed.iter().chain(filter))
}
