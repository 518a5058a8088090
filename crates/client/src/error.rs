//! What can go wrong between a client and the engine.
//!
//! Four things a caller must tell apart: nobody listens, access is denied, the engine refused the
//! request (its own words, with the HTTP status), and the conversation broke. The texts of the
//! first three are Docker's, because scripts match them.

use std::fmt;
use std::io;

pub type Result<T> = std::result::Result<T, Error>;

/// Why a call has no answer.
#[derive(Debug)]
pub enum Error {
    /// The address of the engine cannot be understood or is not supported.
    Address(String),
    /// Something is asked for without a name; of what kind it is.
    Nameless(&'static str),
    /// Nobody answers at the address.
    Connect { host: String, source: io::Error },
    /// The socket is there, but not for this user.
    Denied { host: String, source: io::Error },
    /// The files of certificates and keys cannot be used.
    Certificates(String),
    /// TLS does not let the two talk: in Go's words. A request that was to be made is [`Error::Unanswered`].
    Tls(String),
    /// There was no answer to a request: its method and address, and why.
    Unanswered { method: String, url: String, why: String },
    /// The engine answered with an error status.
    Api { status: u16, message: String },
    /// The same where streams were asked for.
    Upgrade { status: u16, message: String },
    /// The conversation broke off: what was being done, and why it stopped.
    Io { doing: &'static str, source: io::Error },
    /// The other side does not speak the protocol that was expected.
    Protocol(String),
}

impl Error {
    /// The HTTP status of an engine's refusal.
    pub fn status(&self) -> Option<u16> {
        match self {
            Error::Api { status, .. } | Error::Upgrade { status, .. } => Some(*status),
            _ => None,
        }
    }

    pub fn is_not_found(&self) -> bool {
        self.status() == Some(404)
    }

    pub(crate) fn io(doing: &'static str) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Io { doing, source }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Address(text) | Error::Tls(text) | Error::Protocol(text) => f.write_str(text),
            Error::Nameless(kind) => write!(f, "invalid {kind} name or ID: value is empty"),
            Error::Certificates(why) => write!(f, "Failed to initialize: {why}"),
            Error::Connect { host, .. } => {
                write!(f, "Cannot connect to the Docker daemon at {host}. Is the docker daemon running?")
            }
            Error::Denied { host, .. } => write!(
                f,
                "permission denied while trying to connect to the Docker daemon socket at {host}: connect: permission denied"
            ),
            Error::Unanswered { method, url, why } => {
                let (first, rest) = method.split_at(1.min(method.len()));
                write!(f, "error during connect: {first}{} \"{url}\": {why}", rest.to_ascii_lowercase())
            }
            Error::Api { message, .. } => write!(f, "Error response from daemon: {message}"),
            // Docker's client does not say why.
            Error::Upgrade { status, message } => {
                write!(f, "unable to upgrade to tcp, received {status}: {message}")
            }
            Error::Io { doing, source } => write!(f, "{doing}: {source}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Connect { source, .. } | Error::Denied { source, .. } => Some(source),
            _ => None,
        }
    }
}
