//! `test` and `e2e`: the same suites in two reaches. A third is in [`crate::guest`].

use std::collections::BTreeSet;

use crate::packages;
use crate::run::{Failure, Outcome, cargo, cargo_command, execute, target};

/// Everything that a change must pass: unit tests, each crate's own tests on the kernel, black box tests.
pub(crate) fn all() -> Outcome {
    packages::find_client()?;
    packages::install()?;
    // The black box tests run the binaries, which `cargo test` alone would not build.
    cargo(["build"])?;
    tests(&["--workspace", "--no-fail-fast"].map(str::to_owned))
}

/// The black box tests alone, those whose name contains the filter.
pub(crate) fn black_box(filter: &[String]) -> Outcome {
    packages::find_client()?;
    packages::install()?;
    cargo(["build"])?;
    tests(&[&["--package", "blackbox", "--"].map(str::to_owned)[..], filter].concat())
}

/// `cargo test`, and behind its result what tests have left out on this machine (`scratch::skip`).
fn tests(arguments: &[String]) -> Outcome {
    let list = target().join("skipped");
    match std::fs::remove_file(&list) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(Failure::new(format!("cannot remove {}: {error}", list.display())));
        }
        _ => {}
    }
    let mut command = cargo_command(["test".to_owned()].iter().chain(arguments));
    command.env("WHARF_SKIPS", &list);
    let outcome = execute(command);
    let skipped = std::fs::read_to_string(&list).unwrap_or_default();
    let skipped: BTreeSet<&str> = skipped.lines().collect();
    if skipped.is_empty() {
        eprintln!("\nNo test has left anything out.");
    } else {
        eprintln!(
            "\nNot tested on this machine ({}; WHARF_NO_SKIPS=1 makes failures of them):",
            skipped.len()
        );
        skipped.iter().for_each(|line| eprintln!("  {line}"));
    }
    outcome
}
