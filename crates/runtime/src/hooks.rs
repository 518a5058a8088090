//! Programs that the configuration wants executed at points of a container's life.
//!
//! A hook gets the container's state on its standard input and a bounded time. What it prints is kept in memory
//! files, so that it can never block on us, and is quoted when it fails.

use std::ffi::{CString, OsStr};
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use linux::process::{Exit, Program, Spawn};
use linux::{fd, poll, process, signal};
use oci::runtime::{Hook, Spec, State, Status};

use crate::{Error, Result, error::Step};

/// Of each stream, that much is quoted.
const QUOTED: u64 = 4096;

/// The environment of a hook that names none.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Environment<'a> {
    /// That of the runtime, where the hook runs beside it.
    Inherited,
    /// None: in the container's namespaces nothing of the host's is meant.
    Empty,
    /// That of the program which starts next.
    Program(&'a [CString]),
}

/// Runs them one after the other; the first that fails ends it.
pub(crate) fn run(name: &str, hooks: &[Hook], state: &State, environment: Environment<'_>) -> Result<()> {
    for (index, hook) in hooks.iter().enumerate() {
        run_one(hook, state, environment).step(|| format!("error running {name} hook #{index}"))?;
    }
    Ok(())
}

/// Runs all of them, whichever fail, and returns what went wrong.
pub(crate) fn run_all(name: &str, hooks: &[Hook], state: &State) -> Vec<Error> {
    let run = |(index, hook)| {
        run_one(hook, state, Environment::Inherited)
            .step(|| format!("error running {name} hook #{index}"))
            .err()
    };
    hooks.iter().enumerate().filter_map(run).collect()
}

/// A container that never came to be has ended, too, and whoever prepared something for it takes it away. Why it did
/// not is what there is to tell, not what goes wrong here.
pub(crate) fn see_off(spec: &Spec, id: &str, bundle: &Path) {
    let Some(hooks) = &spec.hooks else { return };
    let state = State {
        oci_version: oci::runtime::VERSION.to_owned(),
        id: id.to_owned(),
        status: Status::Stopped,
        pid: None,
        bundle: bundle.to_owned(),
        annotations: spec.annotations.clone(),
    };
    let _failed = run_all("poststop", &hooks.poststop, &state);
}

fn run_one(hook: &Hook, state: &State, environment: Environment<'_>) -> Result<()> {
    let json = serde_json::to_vec(state).map_err(Error::other)?;
    let mut input = std::fs::File::from(fd::memory_file("state").step(|| "state")?);
    input.write_all(&json).step(|| "state")?;
    input.rewind().step(|| "state")?;
    let (output, errors) =
        (fd::memory_file("stdout").step(|| "stdout")?, fd::memory_file("stderr").step(|| "stderr")?);

    let own_name = [hook.path.to_string_lossy().into_owned()];
    let args = if hook.args.is_empty() { &own_name[..] } else { &hook.args[..] };
    let spawn = Spawn::new(Program::Path(&hook.path), args).step(|| "hook")?;
    let spawn = match environment {
        _ if !hook.env.is_empty() => spawn.env(&hook.env),
        Environment::Inherited => spawn.inherit_env(),
        Environment::Empty => Ok(spawn),
        Environment::Program(env) => spawn.env(env.iter().map(|line| OsStr::from_bytes(line.as_bytes()))),
    };
    let child = spawn
        .step(|| "hook")?
        .descriptor(input.as_fd(), 0)
        .descriptor(output.as_fd(), 1)
        .descriptor(errors.as_fd(), 2)
        .start()
        .step(|| "hook")?;

    let timeout = hook.timeout.map(Duration::from_secs);
    if !poll::wait_readable(&child.pidfd, timeout).step(|| "hook")? {
        process::send_signal(child.pidfd.as_fd(), signal::SIGKILL).step(|| "hook")?;
        child.wait().step(|| "hook")?;
        let seconds = hook.timeout.unwrap_or(0);
        return Err(Error::other(format_args!("hook ran past specified timeout of {seconds}.0s")));
    }
    match child.wait().step(|| "hook")? {
        Exit::Code(0) => Ok(()),
        exit => {
            let how = match exit {
                Exit::Code(code) => format!("exit status {code}"),
                Exit::Signal(number) => format!("signal: {}", word_of(number)),
            };
            let (stdout, stderr) = (quote(output)?, quote(errors)?);
            Err(Error::other(format_args!("{how}, stdout: {stdout}, stderr: {stderr}")))
        }
    }
}

/// What people call a signal.
fn word_of(number: i32) -> String {
    let word = match number {
        1 => "hangup",
        2 => "interrupt",
        3 => "quit",
        4 => "illegal instruction",
        5 => "trace/breakpoint trap",
        6 => "aborted",
        7 => "bus error",
        8 => "floating point exception",
        9 => "killed",
        11 => "segmentation fault",
        13 => "broken pipe",
        14 => "alarm clock",
        15 => "terminated",
        31 => "bad system call",
        _ => return signal::name(number).unwrap_or_else(|| number.to_string()),
    };
    word.to_owned()
}

fn quote(file: OwnedFd) -> Result<String> {
    let mut file = std::fs::File::from(file);
    file.rewind().step(|| "hook output")?;
    let mut bytes = Vec::new();
    file.take(QUOTED).read_to_end(&mut bytes).step(|| "hook output")?;
    Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
}
