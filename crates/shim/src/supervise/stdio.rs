//! Pipes and terminals between a process and the shim.

use std::fs::File;
use std::os::fd::OwnedFd;

use linux::namespace::{IdMaps, IdRange};
use linux::{Errno, Error, Result};
use oci::runtime::{ConsoleSize, IdMapping, Spec};

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

/// Who is root in the user namespace of a container, in ids of ours; none where it has no such namespace.
pub(super) fn root_of(spec: &Spec) -> Option<(u32, u32)> {
    let linux = spec.linux.as_ref()?;
    let ranges = |mappings: &[IdMapping]| {
        let range = |mapping: &IdMapping| IdRange {
            inside: mapping.container_id,
            outside: mapping.host_id,
            count: mapping.size,
        };
        mappings.iter().map(range).collect()
    };
    let maps = IdMaps { users: ranges(&linux.uid_mappings), groups: ranges(&linux.gid_mappings) };
    (!maps.users.is_empty()).then(|| maps.root())
}

/// Both sides of the standard streams of a process to be. Pipes belong to `root`, who is the container's: it may open
/// them again by `/dev/stdout`, and give them to the user that the process runs as.
pub(super) fn make(
    terminal: bool,
    size: Option<ConsoleSize>,
    input: Input,
    root: Option<(u32, u32)>,
) -> Result<(runtime::Stdio, Ours)> {
    if terminal {
        let size = size.map(|size| runtime::Size { rows: narrow(size.height), columns: narrow(size.width) });
        return Ok((runtime::Stdio::Terminal { size, keeps_line_ends: false }, Ours::default()));
    }
    let mut ours = Ours::default();
    let stdin = match input {
        Input::Pipe => {
            let (reader, writer) = pipe(root)?;
            ours.stdin = Some(writer);
            reader
        }
        Input::Null | Input::Nothing => null()?,
    };
    let output = |slot: &mut Option<OwnedFd>| {
        if input == Input::Nothing {
            return null();
        }
        let (reader, writer) = pipe(root)?;
        *slot = Some(reader);
        Ok(writer)
    };
    let (stdout, stderr) = (output(&mut ours.stdout)?, output(&mut ours.stderr)?);
    Ok((runtime::Stdio::Descriptors { stdin, stdout, stderr }, ours))
}

fn pipe(owner: Option<(u32, u32)>) -> Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = linux::fd::pipe()?;
    if let Some((user, group)) = owner {
        linux::entry::set_owner(&reader, user, group)?;
    }
    Ok((reader, writer))
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
