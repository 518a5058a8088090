//! How a command fails: what it says on standard error, and its exit code.
//!
//! | code | when |
//! |---|---|
//! | 1 | the engine refused, or something else went wrong |
//! | 125 | the command line is wrong; `run` could not create or start |
//! | 126, 127 | `run`: the program cannot be executed, does not exist |
//! | other | the container's own |

use std::fmt;
use std::io;

/// A command's result: its exit code.
pub(crate) type Outcome = Result<u8, Failure>;

#[derive(Debug)]
pub(crate) struct Failure {
    /// Empty when everything has been said already.
    pub(crate) message: String,
    pub(crate) code: u8,
}

impl Failure {
    pub(crate) fn new(message: impl Into<String>) -> Failure {
        Failure { message: message.into(), code: 1 }
    }

    pub(crate) fn with_code(self, code: u8) -> Failure {
        Failure { code, ..self }
    }

    /// Ends with a code and without a further word.
    pub(crate) fn silent(code: u8) -> Failure {
        Failure { message: String::new(), code }
    }

    /// One message of several that were collected, each on its line.
    pub(crate) fn all(failures: Vec<Failure>) -> Outcome {
        if failures.is_empty() {
            return Ok(0);
        }
        let messages: Vec<String> = failures.into_iter().map(|failure| failure.message).collect();
        Err(Failure::new(messages.join("\n")))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<client::Error> for Failure {
    fn from(error: client::Error) -> Failure {
        let hint = match &error {
            client::Error::Denied { .. } => {
                "\nThe socket belongs to root and its group: run this as root, or as a member of the group that owns the socket."
            }
            _ => "",
        };
        Failure::new(format!("{error}{hint}"))
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        // Whoever read our output has gone; the shell's code for SIGPIPE says so without a word.
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Failure::silent(141);
        }
        Failure::new(words(&error))
    }
}

/// Wraps an I/O failure with what was being done to which file.
pub(crate) fn doing(what: &str, path: impl fmt::Display) -> impl FnOnce(io::Error) -> Failure {
    move |error| Failure::new(format!("{what} {path}: {}", words(&error)))
}

/// An I/O error in the kernel's words alone, as other programs print them.
pub(crate) fn words(error: &io::Error) -> String {
    let text = error.to_string();
    let Some((words, _)) = text.split_once(" (os error ") else { return text };
    let mut letters = words.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}
