//! The journal's native protocol: one datagram a record.
//!
//! ```text
//!   field = NAME=value LF                          without a line feed in the value
//!         | NAME LF length: u64 LE | value LF      otherwise
//! ```
//!
//! What is too large for a datagram goes in a sealed memory file, whose descriptor is the message
//! (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>). The fields are Docker's.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd};

use super::{Frames, Waiting};
use crate::clock;
use crate::log::Stream;

const PRIORITY_ERROR: &str = "3";
const PRIORITY_INFORMATIONAL: &str = "6";

pub(super) struct Encoder {
    /// What all records have in common, as it is sent.
    common: Vec<u8>,
    ordinal: u64,
}

impl Encoder {
    pub(super) fn new(fields: &BTreeMap<String, String>) -> Encoder {
        let mut common = Vec::new();
        for (name, value) in fields {
            field(name, value.as_bytes(), &mut common);
        }
        let epoch: [u8; 32] = linux::random::bytes();
        let epoch: String = epoch.iter().map(|byte| format!("{byte:02x}")).collect();
        field("CONTAINER_LOG_EPOCH", epoch.as_bytes(), &mut common);
        Encoder { common, ordinal: 0 }
    }

    pub(super) fn encode(&mut self, record: &Waiting, out: &mut Frames) {
        self.ordinal += 1;
        let bytes = &mut out.bytes;
        let priority = match record.stream {
            Stream::Stdout => PRIORITY_INFORMATIONAL,
            Stream::Stderr => PRIORITY_ERROR,
        };
        field("PRIORITY", priority.as_bytes(), bytes);
        field("MESSAGE", &record.text, bytes);
        let mut time = Vec::new();
        clock::write_trimmed(record.time, &mut time);
        field("SYSLOG_TIMESTAMP", &time, bytes);
        field("CONTAINER_LOG_ORDINAL", self.ordinal.to_string().as_bytes(), bytes);
        if let Some(part) = &record.part {
            field("CONTAINER_PARTIAL_ID", part.id_text().as_bytes(), bytes);
            field("CONTAINER_PARTIAL_ORDINAL", part.ordinal.to_string().as_bytes(), bytes);
            let last = if part.last { "true" } else { "false" };
            field("CONTAINER_PARTIAL_LAST", last.as_bytes(), bytes);
            if !part.last {
                field("CONTAINER_PARTIAL_MESSAGE", b"true", bytes);
            }
        }
        bytes.extend_from_slice(&self.common);
        out.end_frame();
    }
}

fn field(name: &str, value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    if value.contains(&b'\n') {
        out.push(b'\n');
        out.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        out.push(b'=');
    }
    out.extend_from_slice(value);
    out.push(b'\n');
}

/// Sends a record that is too large for a datagram.
pub(super) fn send_large(socket: BorrowedFd<'_>, bytes: &[u8]) -> linux::Result<()> {
    let file = linux::fd::memory_file("wharf-journal")?;
    linux::fd::write_all(&file, bytes)?;
    linux::fd::seal(&file)?;
    linux::fd::send(socket, &[], &[file.as_fd()]).map(drop)
}

#[cfg(test)]
mod tests {
    use super::super::tests::record;
    use super::*;
    use crate::log::splitter::Part;

    #[test]
    fn fields_are_dockers() {
        let mut encoder = Encoder::new(&[("CONTAINER_NAME".to_owned(), "web".to_owned())].into());
        let mut frames = Frames::default();
        let mut cut = record(Stream::Stderr, "hello");
        cut.part = Some(Box::new(Part { id: [1; 32], ordinal: 1, last: false }));
        encoder.encode(&cut, &mut frames);
        let text = String::from_utf8(frames.bytes).unwrap();
        for line in [
            "PRIORITY=3",
            "MESSAGE=hello",
            "SYSLOG_TIMESTAMP=1970-01-01T00:00:01.5Z",
            "CONTAINER_LOG_ORDINAL=1",
            "CONTAINER_PARTIAL_ORDINAL=1",
            "CONTAINER_PARTIAL_LAST=false",
            "CONTAINER_PARTIAL_MESSAGE=true",
            "CONTAINER_NAME=web",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} in {text}");
        }
    }

    #[test]
    fn line_feeds_make_a_value_binary() {
        let mut out = Vec::new();
        field("MESSAGE", b"a\nb", &mut out);
        assert_eq!(out, b"MESSAGE\n\x03\0\0\0\0\0\0\0a\nb\n");
    }
}
