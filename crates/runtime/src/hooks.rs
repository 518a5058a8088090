//! Programs that the configuration wants executed at points of a container's life.
//!
//! A hook gets the container's state on its standard input and a bounded time. What it prints is kept in memory
//! files, so that it can never block on us, and is quoted when it fails.

use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use linux::process::{Exit, Program, Spawn};
use linux::{fd, poll, process, signal};
use oci::runtime::{Hook, State};

use crate::{Error, Result, error::Step};

/// Of each stream, that much is quoted.
const QUOTED: u64 = 4096;

/// Runs them one after the other; the first that fails ends it.
pub(crate) fn run(name: &str, hooks: &[Hook], state: &State) -> Result<()> {
    for (index, hook) in hooks.iter().enumerate() {
        run_one(hook, state).step(|| format!("error running {name} hook #{index}"))?;
    }
    Ok(())
}

fn run_one(hook: &Hook, state: &State) -> Result<()> {
    let json = serde_json::to_vec(state).map_err(|error| Error::other(error.to_string()))?;
    let mut input = std::fs::File::from(fd::memory_file("state").step(|| "state")?);
    input.write_all(&json).step(|| "state")?;
    input.rewind().step(|| "state")?;
    let (output, errors) =
        (fd::memory_file("stdout").step(|| "stdout")?, fd::memory_file("stderr").step(|| "stderr")?);

    let own_name = [hook.path.to_string_lossy().into_owned()];
    let args = if hook.args.is_empty() { &own_name[..] } else { &hook.args[..] };
    let child = Spawn::new(Program::Path(&hook.path), args)
        .and_then(|spawn| spawn.env(&hook.env))
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
        return Err(Error::other(format_args!("timed out after {} s", hook.timeout.unwrap_or(0))));
    }
    match child.wait().step(|| "hook")? {
        Exit::Code(0) => Ok(()),
        exit => {
            let how = match exit {
                Exit::Code(code) => format!("exit status {code}"),
                Exit::Signal(number) => format!("signal: {}", signal::name(number).unwrap_or_default()),
            };
            let (stdout, stderr) = (quote(output)?, quote(errors)?);
            Err(Error::other(format_args!("{how}, stdout: {stdout}, stderr: {stderr}")))
        }
    }
}

fn quote(file: OwnedFd) -> Result<String> {
    let mut file = std::fs::File::from(file);
    file.rewind().step(|| "hook output")?;
    let mut bytes = Vec::new();
    file.take(QUOTED).read_to_end(&mut bytes).step(|| "hook output")?;
    Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
}
