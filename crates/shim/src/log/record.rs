//! What a log holds, whatever file it is in.

use std::borrow::Cow;
use std::collections::BTreeMap;

/// Which output a record came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    pub fn name(self) -> &'static str {
        match self {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        }
    }

    /// The first byte of a frame's header.
    pub fn frame_id(self) -> u8 {
        match self {
            Stream::Stdout => 1,
            Stream::Stderr => 2,
        }
    }
}

/// A record as it is read back.
#[derive(Debug, PartialEq, Eq)]
pub struct Record<'a> {
    pub text: Cow<'a, [u8]>,
    /// A line feed follows that `text` does not hold.
    pub newline: bool,
    pub stream: Stream,
    pub attributes: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
    /// Nanoseconds since the epoch.
    pub time: i64,
    /// Which part of a line it is, where the format tells.
    pub part: Option<RecordPart<'a>>,
}

/// A part of a line that was too long for one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordPart<'a> {
    pub last: bool,
    /// The same for all parts of a line.
    pub id: &'a [u8],
    /// From 1.
    pub ordinal: u64,
}
