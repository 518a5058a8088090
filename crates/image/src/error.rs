//! The crate's one error: a kind that decides the HTTP status upstairs, a sentence (Docker's where Docker has one), a cause.

use std::fmt;
use std::io;

/// What a caller may want to tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The request itself makes no sense: a malformed reference, an archive that is none.
    Invalid,
    /// An archive or document asks for something that must not be done, or is not what its digest promises.
    Hostile,
    /// No such image, tag, layer.
    NotFound,
    /// The image is in use, or the name is.
    Conflict,
    /// Credentials are missing or wrong.
    Unauthorized,
    /// Not allowed, whoever asks.
    Forbidden,
    /// The other side cannot be reached or does not answer properly.
    Unavailable,
    /// No space is left.
    Full,
    /// Everything else.
    Other,
}

/// A failure of this crate.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// Adds what was being done to an error from below. A full disk keeps its kind, whatever it interrupted.
    pub fn caused(
        kind: Kind,
        message: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        let source = source.into();
        let full = source.downcast_ref::<io::Error>().is_some_and(is_full)
            || source.downcast_ref::<linux::Error>().is_some_and(|e| full_errno(e.errno()))
            || source.downcast_ref::<store::Error>().is_some_and(|e| e.kind() == store::Kind::Full)
            || source.downcast_ref::<Self>().is_some_and(|e| e.kind == Kind::Full);
        Self { kind: if full { Kind::Full } else { kind }, message: message.into(), source: Some(source) }
    }

    /// Docker's answer to an unknown image.
    pub fn no_such_image(name: &str) -> Self {
        Self::new(Kind::NotFound, format!("No such image: {name}"))
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The sentence without its cause.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Says what was being done when this happened.
    #[must_use]
    pub fn during(self, doing: impl fmt::Display) -> Self {
        Self { message: format!("{doing}: {}", self.message), ..self }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

// Display already ends with the cause; offering it again as `source()` would print it twice.
impl std::error::Error for Error {}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        let kind = match error.kind() {
            store::Kind::NotFound => Kind::NotFound,
            store::Kind::Mismatch | store::Kind::Corrupt => Kind::Hostile,
            store::Kind::Full => Kind::Full,
            store::Kind::Busy => Kind::Conflict,
            store::Kind::Newer | store::Kind::Other => Kind::Other,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<linux::Error> for Error {
    fn from(error: linux::Error) -> Self {
        let kind = if full_errno(error.errno()) { Kind::Full } else { Kind::Other };
        Self::new(kind, error.to_string())
    }
}

/// For readers and writers that carry our errors through `io::Read` and `io::Write`.
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind =
            if error.kind == Kind::Full { io::ErrorKind::StorageFull } else { io::ErrorKind::InvalidData };
        Self::new(kind, error)
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        let full = is_full(&error);
        match error.downcast::<Self>() {
            Ok(ours) => ours,
            Err(error) => Self::new(if full { Kind::Full } else { Kind::Other }, error.to_string()),
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn full_errno(errno: linux::Errno) -> bool {
    errno == linux::Errno::NOSPC || errno == linux::Errno::DQUOT
}
