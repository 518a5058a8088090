//! What went wrong with a container, in the words of the field.
//!
//! Tools above match on these texts (`executable file not found in $PATH`), so the sentence about a program that
//! cannot be executed is runc's. Everything else names the step and then the failed call as `linux` prints it.

use std::fmt;

use linux::Errno;
use serde::{Deserialize, Serialize};

pub type Result<T> = std::result::Result<T, Error>;

/// What a caller can tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The program, or a file that its start needs, does not exist: exit status 127.
    NotFound,
    /// The program exists and cannot be executed, or its start was denied a file: exit status 126.
    NotExecutable,
    /// A file stands where a directory is needed, or the other way round.
    WrongType,
    /// The configuration asks for something that is not valid, or that this runtime refuses.
    Invalid,
    /// There is no such container.
    NoContainer,
    /// The container is not in a state that allows it.
    WrongState,
    Other,
}

/// A failure, in one sentence; what runc would say, where somebody may look for that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Error {
    kind: Kind,
    message: String,
    /// From the container's side of the start, where nobody else could see it.
    in_container: bool,
    /// Met on the way to a running program.
    #[serde(default)]
    at_start: Option<String>,
}

impl Error {
    pub fn new(kind: Kind, message: impl fmt::Display) -> Error {
        Error { kind, message: message.to_string(), in_container: false, at_start: None }
    }

    pub fn invalid(message: impl fmt::Display) -> Error {
        Error::new(Kind::Invalid, message)
    }

    pub fn other(message: impl fmt::Display) -> Error {
        Error::new(Kind::Other, message)
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The sentence alone, without where it happened.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The status a shell would give the program that did not start.
    pub fn exit_status(&self) -> i32 {
        match self.kind {
            Kind::NotFound | Kind::WrongType => 127,
            Kind::NotExecutable => 126,
            _ => 125,
        }
    }

    pub(crate) fn met_in_container(mut self) -> Error {
        self.in_container = true;
        self
    }

    /// Says what was being done, in front of everything else.
    pub fn at(mut self, what: impl fmt::Display) -> Error {
        self.at_start = Some(match self.at_start.take() {
            Some(inner) => format!("{what}: {inner}"),
            None => what.to_string(),
        });
        self
    }

    /// A file operation of the command line, in the words that other runtimes have for it.
    pub fn of_file(call: &str, path: impl fmt::Display, error: &std::io::Error) -> Error {
        Error::other(format_args!("{call} {path}: {}", plain(&linux::Error::from_io("open", "", error))))
    }

    pub(crate) fn prefixed(mut self, step: impl fmt::Display) -> Error {
        self.message = format!("{step}: {}", self.message);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(what) = &self.at_start {
            write!(f, "{what}: ")?;
        }
        if self.in_container {
            f.write_str("error during container init: ")?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// Says which step a failed call belongs to.
pub(crate) trait Step<T> {
    fn step<S: fmt::Display>(self, step: impl FnOnce() -> S) -> Result<T>;
}

impl<T> Step<T> for linux::Result<T> {
    fn step<S: fmt::Display>(self, step: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|error| Error::new(kind_of(&error), format_args!("{}: {error}", step())))
    }
}

impl<T> Step<T> for Result<T> {
    fn step<S: fmt::Display>(self, step: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|error| error.prefixed(step()))
    }
}

impl<T> Step<T> for std::io::Result<T> {
    fn step<S: fmt::Display>(self, step: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|error| match error.raw_os_error() {
            Some(_) => {
                let error = linux::Error::from_io("", "", &error);
                Error::new(kind_of(&error), format_args!("{}: {}", step(), error.sentence()))
            }
            None => Error::other(format_args!("{}: {error}", step())),
        })
    }
}

fn kind_of(error: &linux::Error) -> Kind {
    match error.errno() {
        Errno::NOTDIR | Errno::ISDIR => Kind::WrongType,
        Errno::NOENT => Kind::NotFound,
        Errno::ACCESS => Kind::NotExecutable,
        _ => Kind::Other,
    }
}

/// The kernel's sentence as it is usually quoted: `no such file or directory`.
pub(crate) fn plain(error: &linux::Error) -> String {
    error.sentence().to_lowercase()
}
