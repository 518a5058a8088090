//! The crate's one error: a kind that callers can act upon, a message, and what lies beneath.

use std::fmt;
use std::io;
use std::path::Path;

/// What a caller may want to tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The blob or record does not exist.
    NotFound,
    /// The content is not what its digest or size promised.
    Mismatch,
    /// A record or database was written by a newer version.
    Newer,
    /// Somebody else is bringing in the same content at this moment.
    Busy,
    /// Stored data cannot be understood.
    Corrupt,
    /// No space, no inode or no quota is left.
    Full,
    /// Everything else: the disk, the database, permissions.
    Other,
}

/// A failure of the store.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of our own, without a cause beneath it.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// A failed file operation: the call, the path, and the errno as source.
    pub fn io(call: &str, path: &Path, source: io::Error) -> Self {
        let kind = match source.kind() {
            io::ErrorKind::NotFound => Kind::NotFound,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Kind::Full,
            _ => Kind::Other,
        };
        Self { kind, message: format!("{call}({path:?})"), source: Some(Box::new(source)) }
    }

    pub(crate) fn sql(what: &str, source: rusqlite::Error) -> Self {
        let kind = match source.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => Kind::Full,
            Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase) => Kind::Corrupt,
            _ => Kind::Other,
        };
        Self { kind, message: what.to_owned(), source: Some(Box::new(source)) }
    }

    pub(crate) fn json(what: String, source: serde_json::Error) -> Self {
        Self { kind: Kind::Corrupt, message: what, source: Some(Box::new(source)) }
    }

    /// What went wrong, for callers that act upon it.
    pub fn kind(&self) -> Kind {
        self.kind
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

// Display already ends with the cause, as strace lines do; offering it again as `source()` would print it twice.
impl std::error::Error for Error {}
