//! `bench`: the benchmarks, with release binaries as users have them.
//!
//! What a linker has just written lies in the page cache in single pages; what was copied or read from the disk lies there in
//! large folios, of which the kernel maps many pages at once. That makes a fifth of a short program's time. Programs of
//! packages, as those of the peer, are of the second kind; so ours are copied before they are measured.

use std::fs;
use std::process::Command;

use crate::run::{Failure, Outcome, cargo, execute, root, target};

/// What is measured, and what measures.
const PROGRAMS: &[&str] = &["wharf", "wharfd", "wharf-shim", "wharf-runtime", "wharf-tls", "bench"];

/// Passes its arguments on to the `bench` program; see `bench/src/main.rs`.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    cargo(["build", "--release"])?;
    cargo(["build", "--release", "--package", "bench"])?;
    let (built, installed) = (target().join("release"), target().join("installed"));
    fs::create_dir_all(&installed)
        .map_err(|error| Failure::new(format!("cannot make {}: {error}", installed.display())))?;
    for name in PROGRAMS {
        let (from, to) = (built.join(name), installed.join(name));
        // A new file: the old one may be running.
        match fs::remove_file(&to) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Failure::new(format!("cannot remove {}: {error}", to.display())));
            }
            _ => {}
        }
        fs::copy(&from, &to).map_err(|error| {
            Failure::new(format!("cannot copy {} to {}: {error}", from.display(), to.display()))
        })?;
    }
    let mut command = Command::new(installed.join("bench"));
    command.args(arguments).current_dir(root());
    execute(command)
}
