//! Running programs, loudly: each command line is printed before it runs.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A program that could not be started or did not succeed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) message: String,
    pub(crate) code: u8,
}

impl Failure {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Failure { message: message.into(), code: 1 }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

pub(crate) type Outcome = Result<(), Failure>;

/// The repository's root: the folder above this crate.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the repository").to_owned()
}

/// The folder that cargo builds into, `CARGO_TARGET_DIR` if there is one: this program lies in it.
pub(crate) fn target() -> PathBuf {
    let own = std::env::current_exe().expect("a program knows its own path");
    own.ancestors().nth(2).expect("cargo puts programs into a profile's folder").to_owned()
}

/// Runs a program in the repository's root and waits for it.
pub(crate) fn run<A: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = A>) -> Outcome {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root());
    execute(command)
}

/// `cargo` of the toolchain that runs this.
pub(crate) fn cargo<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Outcome {
    execute(cargo_command(arguments))
}

/// The same, not yet run.
pub(crate) fn cargo_command<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
    command.args(arguments).current_dir(root());
    command
}

/// Runs a prepared command and waits for it.
pub(crate) fn execute(mut command: Command) -> Outcome {
    eprintln!("+ {}", shown(&command));
    let status = command
        .status()
        .map_err(|error| Failure::new(format!("cannot start {}: {error}", shown(&command))))?;
    if status.success() {
        return Ok(());
    }
    Err(Failure {
        message: format!("{} ended with {status}", shown(&command)),
        code: status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1),
    })
}

fn shown(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|word| word.to_string_lossy().into_owned()));
    words.join(" ")
}
