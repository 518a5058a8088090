//! What a foreign runtime says when it fails, and what that means.
//!
//! A runtime writes its log as JSON documents, in one line each or in several; the last of level `error` is the reason. The sentence goes to
//! the user as it is, in Docker's frame. What kind of failure it is can only be read from its words, and by the same words
//! Docker chooses the exit code.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::Deserialize;

use super::super::super::failure;
use super::bundle::Bundle;
use crate::protocol::{Failure, FailureKind};

/// A log larger than this is not read to its end: that of one command has a handful of lines.
const LOG_LIMIT: u64 = 1 << 20;

/// Words of a runtime that has no log.
const WORDS_LIMIT: u64 = 4 << 10;

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    level: String,
    #[serde(default)]
    msg: String,
}

/// Why the last command has failed. `end` is how it ended, for one that does not say.
pub(super) fn of(bundle: &Bundle, end: &str) -> Failure {
    let log = read(&bundle.log(), LOG_LIMIT);
    let message = log.as_deref().and_then(last_error).unwrap_or_else(|| {
        let trouble = match &log {
            Some(_) => "EOF".to_owned(),
            None => format!("open {}: no such file or directory", bundle.log().display()),
        };
        let said = read(&bundle.errors(), WORDS_LIMIT).unwrap_or_default();
        let said = said.lines().next().map(|line| format!(": {line}")).unwrap_or_default();
        format!("unable to retrieve OCI runtime error ({trouble}): {end}{said}")
    });
    Failure { verbatim: true, ..failure(kind(&message), message) }
}

fn read(path: &Path, limit: u64) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(limit).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn last_error(log: &str) -> Option<String> {
    let entries = serde_json::Deserializer::from_str(log).into_iter::<Entry>().map_while(Result::ok);
    entries.filter(|entry| entry.level == "error").last().map(|entry| entry.msg.trim().to_owned())
}

fn kind(message: &str) -> FailureKind {
    let message = message.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|words| message.contains(words));
    // A path that goes on behind a file, or a directory on which a file is to be mounted.
    if says(&["not a directory"]) || says(&["error mounting"]) && says(&["is a directory"]) {
        FailureKind::WrongType
    // The last are crun's, which Docker does not know.
    } else if says(&["permission denied", "is a directory", "it is not executable"]) {
        FailureKind::NotExecutable
    } else if says(&["executable file not found", "no such file or directory"]) {
        FailureKind::NotFound
    } else {
        FailureKind::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_error_counts() {
        let log = "{\"level\":\"warning\",\"msg\":\"w\",\"time\":\"t\"}\n\
                   {\"level\":\"error\",\"msg\":\"first\"}\n{\"msg\":\" second\\n\",\"level\":\"error\"}\n{\"msg\":\"x\"}\n";
        assert_eq!(last_error(log).unwrap(), "second");
        let pretty = "{\n  \"msg\": \"third\",\n  \"level\": \"error\",\n  \"time\": \"t\"\n}cut off {";
        assert_eq!(last_error(pretty).unwrap(), "third");
        assert_eq!(last_error("{\"level\":\"info\",\"msg\":\"w\"}"), None);
    }

    #[test]
    fn words_tell_the_kind() {
        let cases = [
            ("exec: \"x\": executable file not found in $PATH", FailureKind::NotFound),
            ("executable file `x` not found in $PATH: No such file or directory", FailureKind::NotFound),
            ("exec: \"/bin\": is a directory: permission denied", FailureKind::NotExecutable),
            ("open executable: Permission denied", FailureKind::NotExecutable),
            (
                "the path `/x` exists but it is not executable: Operation not permitted",
                FailureKind::NotExecutable,
            ),
            (
                "error mounting \"/a\" to rootfs at \"/etc\": mount /a:/etc: not a directory",
                FailureKind::WrongType,
            ),
            ("creating `/etc/passwd/x`: Not a directory", FailureKind::WrongType),
            ("cgroups in hybrid mode not supported", FailureKind::Other),
        ];
        for (message, expected) in cases {
            assert_eq!(kind(message), expected, "{message}");
        }
    }
}
