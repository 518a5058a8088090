//! The two formats that a log file can have, behind one set of questions.

use crate::log::record::{Record, Stream};
use crate::log::splitter::Piece;
use crate::log::{json, local};
use crate::protocol::{Log, LogDriver};

/// A longer line of a json-file was not written by us: 16 KiB of text are at most 96 KiB escaped, the rest is for
/// attributes.
const MAX_LINE: usize = 1 << 20;

/// How records lie in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A line of JSON a record, see [`json`].
    Json,
    /// Lengths around protobuf, see [`local`].
    Local,
}

/// What the beginning of some bytes is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// A whole record of that many bytes.
    Record(usize),
    /// The beginning of one.
    Incomplete,
    /// No record: what follows, up to where the next one can be told to begin, is lost.
    Damaged,
}

impl Format {
    /// `None`: the driver keeps no file.
    pub fn of(driver: LogDriver) -> Option<Format> {
        match driver {
            LogDriver::JsonFile => Some(Format::Json),
            LogDriver::Local => Some(Format::Local),
            LogDriver::None => None,
        }
    }

    pub fn head(self, bytes: &[u8]) -> Head {
        match self {
            Format::Json => match memchr::memchr(b'\n', bytes) {
                Some(end) => Head::Record(end + 1),
                None if bytes.len() > MAX_LINE => Head::Damaged,
                None => Head::Incomplete,
            },
            Format::Local => {
                let Some(first) = bytes.first_chunk() else { return Head::Incomplete };
                let Some(length) = local::length(*first) else { return Head::Damaged };
                let end = 2 * local::LENGTH + length;
                match bytes.get(end - local::LENGTH..end) {
                    None => Head::Incomplete,
                    Some(second) if second == first => Head::Record(end),
                    Some(_) => Head::Damaged,
                }
            }
        }
    }

    /// Whether the next record can be found behind damage: a line feed ends any line.
    pub fn recovers(self) -> bool {
        self == Format::Json
    }

    pub fn decode(self, record: &[u8]) -> Option<Record<'_>> {
        match self {
            Format::Json => json::decode(record),
            Format::Local => local::decode(record),
        }
    }

    /// The time of a record, as cheaply as it can be had.
    pub fn time_of(self, record: &[u8]) -> Option<i64> {
        match self {
            Format::Json => json::time_of(record),
            Format::Local => local::time_of(record),
        }
    }

    /// The whole records at the beginning of `bytes`, in order.
    pub fn records(self, bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
        let mut rest = bytes;
        std::iter::from_fn(move || {
            let Head::Record(length) = self.head(rest) else { return None };
            let (record, behind) = rest.split_at(length);
            rest = behind;
            Some(record)
        })
    }
}

/// Writes records of one format.
pub enum Encoder {
    Json(json::Encoder),
    Local(local::Encoder),
}

impl Encoder {
    pub fn new(log: &Log) -> Encoder {
        match Format::of(log.driver) {
            Some(Format::Local) => Encoder::Local(local::Encoder::default()),
            _ => Encoder::Json(json::Encoder::new(&log.attributes)),
        }
    }

    pub fn format(&self) -> Format {
        match self {
            Encoder::Json(_) => Format::Json,
            Encoder::Local(_) => Format::Local,
        }
    }

    pub fn encode(&mut self, stream: Stream, piece: &Piece<'_>, out: &mut Vec<u8>) {
        match self {
            Encoder::Json(encoder) => encoder.encode(stream, piece, out),
            Encoder::Local(encoder) => encoder.encode(stream, piece, out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_told_apart() {
        let mut bytes = Vec::new();
        for text in [&b"one"[..], b"", b"three"] {
            let piece = Piece { text, time: 1, part: None };
            local::Encoder::default().encode(Stream::Stdout, &piece, &mut bytes);
        }
        let texts: Vec<_> = Format::Local
            .records(&bytes)
            .map(|record| local::decode(record).unwrap().text.into_owned())
            .collect();
        assert_eq!(texts, [&b"one"[..], b"", b"three"]);
        assert_eq!(Format::Local.head(&bytes[..bytes.len() / 4]), Head::Incomplete);
        bytes[1] = 0xff;
        assert_eq!(Format::Local.head(&bytes), Head::Damaged);
        assert_eq!(Format::Json.head(b"a\nb"), Head::Record(2));
        assert_eq!(Format::Json.head(b"a"), Head::Incomplete);
    }
}
