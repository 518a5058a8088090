//! What can go wrong in the engine, in three parts: a kind (doors turn it into a status), a message in Docker's
//! words, and the cause underneath.

use std::fmt;

pub use api::error::ErrorKind;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failed call. `Display` is the whole text for a client: the message, then each cause behind a colon.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error { kind, message: message.into(), source: None }
    }

    /// The same with what lies underneath; its text is not repeated in `message`.
    pub fn because(
        kind: ErrorKind,
        message: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Error {
        Error { kind, message: message.into(), source: Some(source.into()) }
    }

    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Docker's words, without the causes.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// 400
    pub fn invalid(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::InvalidParameter, message)
    }

    /// 403
    pub fn forbidden(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Forbidden, message)
    }

    /// 404
    pub fn not_found(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::NotFound, message)
    }

    /// 409
    pub fn conflict(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Conflict, message)
    }

    /// 304
    pub fn not_modified(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::NotModified, message)
    }

    /// 501
    pub fn not_implemented(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::NotImplemented, message)
    }

    /// 503
    pub fn unavailable(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Unavailable, message)
    }

    /// 500
    pub fn system(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::System, message)
    }

    /// 500, with its cause.
    pub fn failed(
        message: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Error {
        Error::because(ErrorKind::System, message, source)
    }

    /// This error as the cause of a larger failure, of the same kind.
    pub fn within(self, message: impl Into<String>) -> Error {
        Error { kind: self.kind, message: message.into(), source: Some(Box::new(self)) }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&plain(self.message.clone()))?;
        match &self.source {
            // An error of ours prints its own causes.
            Some(source) if source.is::<Error>() => write!(f, ": {source}"),
            Some(source) => {
                let mut last = text(&**source);
                write!(f, ": {last}")?;
                let mut cause = source.source();
                while let Some(next) = cause {
                    let text = text(next);
                    // Libraries that print their source in their own text would say it twice.
                    if !last.contains(&text) {
                        write!(f, ": {text}")?;
                    }
                    last = text;
                    cause = next.source();
                }
                Ok(())
            }
            None => Ok(()),
        }
    }
}

/// A cause's text. Errors of the system are told in the words that people grep for: `no space left on device`.
fn text(cause: &(dyn std::error::Error + 'static)) -> String {
    plain(cause.to_string())
}

fn plain(text: String) -> String {
    let Some((said, _)) = text.rsplit_once(" (os error ") else { return text };
    let start = said.rfind(": ").map_or(0, |colon| colon + 2);
    let mut letters = said[start..].chars();
    let first = letters.next().map(|letter| letter.to_lowercase().to_string()).unwrap_or_default();
    format!("{}{first}{}", &said[..start], letters.as_str())
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| &**source as &(dyn std::error::Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_follow_the_message_once() {
        let bottom = std::io::Error::other("disk on fire");
        let error = Error::failed("cannot write record", bottom).within("cannot create container");
        assert_eq!(error.to_string(), "cannot create container: cannot write record: disk on fire");
        assert_eq!(error.message(), "cannot create container");
        let full = Error::failed("cannot write", std::io::Error::from_raw_os_error(28));
        assert_eq!(full.to_string(), "cannot write: no space left on device");
    }
}
