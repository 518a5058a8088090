//! What can go wrong with a registry, in the words that Docker's users search for.
//!
//! One error may be told to several waiting pulls, so it is a value: a kind to act upon and a finished message.

use std::fmt;
use std::time::Duration;

/// What a caller may want to tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// No such repository, tag, manifest or blob.
    NotFound,
    /// The registry knows us and refuses, or does not say whether the repository exists.
    Denied,
    /// The registry wants a password, and we were given none. For Docker this is a failure like any other: a client that is
    /// told "unauthorized" would ask for one, at a terminal or not.
    NoCredentials,
    /// Wrong credentials.
    Unauthorized,
    /// Asked too often; the error may say how long to wait.
    TooManyRequests,
    /// No connection, a cut one, a stalled one, or a server that is down. Another try may work.
    Unavailable,
    /// The answer makes no sense: HTML, JSON that is none, a missing header.
    Protocol,
    /// The content is not what its digest or size promised.
    Mismatch,
    /// Understood and not supported: old formats, other platforms.
    Unsupported,
    /// The request itself is wrong.
    Invalid,
    /// No space is left here.
    Full,
    /// Everything else on this side: the disk, the store.
    Other,
}

/// A failure of a registry, or on the way to it, in a sentence for people.
#[derive(Debug, Clone)]
pub struct Error {
    kind: Kind,
    message: String,
    retry_after: Option<Duration>,
}

impl Error {
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), retry_after: None }
    }

    pub(crate) fn with_retry_after(self, retry_after: Option<Duration>) -> Self {
        Self { retry_after, ..self }
    }

    /// Puts words in front: `{context}: {message}`.
    pub(crate) fn context(self, context: impl fmt::Display) -> Self {
        Self { message: format!("{context}: {}", self.message), ..self }
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether the same request may work a little later.
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind, Kind::Unavailable | Kind::TooManyRequests)
    }

    /// How long the registry asked us to stay away.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        let kind = match error.kind() {
            store::Kind::Full => Kind::Full,
            store::Kind::Mismatch | store::Kind::Corrupt => Kind::Mismatch,
            _ => Kind::Other,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<crate::Error> for Error {
    fn from(error: crate::Error) -> Self {
        let kind = match error.kind() {
            crate::Kind::Full => Kind::Full,
            crate::Kind::Hostile | crate::Kind::Invalid => Kind::Unsupported,
            _ => Kind::Other,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<Error> for crate::Error {
    fn from(error: Error) -> Self {
        let kind = match error.kind() {
            Kind::NotFound => crate::Kind::NotFound,
            Kind::Denied => crate::Kind::Forbidden,
            Kind::Unauthorized => crate::Kind::Unauthorized,
            Kind::TooManyRequests | Kind::Unavailable | Kind::Protocol => crate::Kind::Unavailable,
            Kind::Mismatch => crate::Kind::Hostile,
            Kind::Unsupported | Kind::Invalid => crate::Kind::Invalid,
            Kind::Full => crate::Kind::Full,
            Kind::NoCredentials | Kind::Other => crate::Kind::Other,
        };
        Self::new(kind, error.message)
    }
}
