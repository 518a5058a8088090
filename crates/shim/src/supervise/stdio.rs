//! Pipes and terminals between a process and the shim.

use std::fs::File;
use std::os::fd::OwnedFd;

use linux::{Errno, Error, Result};
use oci::runtime::ConsoleSize;

/// What a process gets as standard input, and whether anybody looks at its output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Input {
    /// `/dev/null`; the output is read.
    Null,
    /// A pipe that we write to; the output is read.
    Pipe,
    /// `/dev/null` for everything: nobody is interested. A terminal is there but only drained.
    Nothing,
}

/// Our ends. With a terminal there are none here: its master comes from the runtime.
#[derive(Default)]
pub(super) struct Ours {
    pub stdin: Option<OwnedFd>,
    pub stdout: Option<OwnedFd>,
    pub stderr: Option<OwnedFd>,
}

/// Both sides of the standard streams of a process to be.
pub(super) fn make(
    terminal: bool,
    size: Option<ConsoleSize>,
    input: Input,
) -> Result<(runtime::Stdio, Ours)> {
    if terminal {
        let size = size.map(|size| runtime::Size { rows: narrow(size.height), columns: narrow(size.width) });
        return Ok((runtime::Stdio::Terminal { size, keeps_line_ends: false }, Ours::default()));
    }
    let mut ours = Ours::default();
    let stdin = match input {
        Input::Pipe => {
            let (reader, writer) = linux::fd::pipe()?;
            ours.stdin = Some(writer);
            reader
        }
        Input::Null | Input::Nothing => null()?,
    };
    let output = |slot: &mut Option<OwnedFd>| {
        if input == Input::Nothing {
            return null();
        }
        let (reader, writer) = linux::fd::pipe()?;
        *slot = Some(reader);
        Ok(writer)
    };
    let (stdout, stderr) = (output(&mut ours.stdout)?, output(&mut ours.stderr)?);
    Ok((runtime::Stdio::Descriptors { stdin, stdout, stderr }, ours))
}

/// A terminal has at most 65,535 rows; what is larger was not meant seriously.
fn narrow(size: u64) -> u16 {
    u16::try_from(size).unwrap_or(u16::MAX)
}

fn null() -> Result<OwnedFd> {
    match File::options().read(true).write(true).open("/dev/null") {
        Ok(file) => Ok(file.into()),
        Err(error) => Err(Error::new(
            "open",
            "\"/dev/null\"",
            error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error),
        )),
    }
}
