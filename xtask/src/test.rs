//! `test`, `e2e` and `guest`: the same suites in three reaches.

use crate::packages;
use crate::run::{Failure, Outcome, cargo, execute, root};

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

/// The black box tests inside another machine: `prefix` is a command that runs its arguments there, with this
/// checkout visible at the same path.
pub(crate) fn in_guest(arguments: &[String]) -> Outcome {
    let prefix = match arguments {
        [dashes, prefix @ ..] if dashes == "--" && !prefix.is_empty() => prefix,
        _ => return Err(Failure::new("say how to run a command there: cargo xtask guest -- PREFIX...")),
    };
    cargo(["build"])?;
    cargo(["test", "--package", "blackbox", "--no-run"])?;
    let mut command = std::process::Command::new(&prefix[0]);
    command.args(&prefix[1..]).arg("sh").arg(root().join("tests/guest.sh"));
    execute(command)
}
