//! One record of a `local` log: Docker's compact binary format, a third of the size of json-file's.
//!
//! ```text
//! record  = length: u32 BE | entry | length: u32 BE        the second one is for reading backwards
//! entry   = a protobuf message:  1 source: string   2 time_nano: int64   3 line: bytes   4 partial: bool
//!                                5 partial_log_metadata { 1 last: bool   2 id: string   3 ordinal: int32 }
//! ```
//!
//! A line is stored as it came, without its line feed; the last part of a cut line says so by `last`. There are no
//! attributes. Fields that this build does not know are skipped.
//!
//! *Limit*: an entry is at most [`MAX_ENTRY`]; a longer length is damage.

use std::borrow::Cow;
use std::collections::BTreeMap;

use protobuf::{Reader, Value};

use crate::log::record::{Record, RecordPart, Stream};
use crate::log::splitter::{Part, Piece};

/// The bytes of a length.
pub const LENGTH: usize = 4;
/// A line has at most 16 KiB; the rest is generosity towards other writers of the format.
pub const MAX_ENTRY: usize = 1 << 20;

/// Writes records. All lines of one read begin the same (source and time), so that is made once for them.
#[derive(Default)]
pub struct Encoder {
    beginning: Vec<u8>,
    beginning_of: Option<(Stream, i64)>,
}

impl Encoder {
    pub fn encode(&mut self, stream: Stream, piece: &Piece<'_>, out: &mut Vec<u8>) {
        if self.beginning_of != Some((stream, piece.time)) {
            self.beginning.clear();
            protobuf::bytes(&mut self.beginning, 1, stream.name().as_bytes());
            number(&mut self.beginning, 2, piece.time.cast_unsigned());
            self.beginning_of = Some((stream, piece.time));
        }
        // Room for both lengths and the line's key: one check instead of one for each part.
        out.reserve(self.beginning.len() + piece.text.len() + 32);
        let start = out.len();
        out.extend_from_slice(&[0; LENGTH]);
        out.extend_from_slice(&self.beginning);
        protobuf::bytes(out, 3, piece.text);
        if let Some(part) = piece.part {
            encode_part(part, out);
        }
        let length = u32::try_from(out.len() - start - LENGTH).unwrap_or(u32::MAX).to_be_bytes();
        out[start..start + LENGTH].copy_from_slice(&length);
        out.extend_from_slice(&length);
    }
}

fn encode_part(part: Part, out: &mut Vec<u8>) {
    let mut inner = Vec::with_capacity(80);
    number(&mut inner, 1, u64::from(part.last));
    protobuf::bytes(&mut inner, 2, part.id_text().as_bytes());
    number(&mut inner, 3, u64::from(part.ordinal));
    number(out, 4, 1);
    protobuf::bytes(out, 5, &inner);
}

/// Reads one record, lengths included. `None`: damaged.
pub fn decode(record: &[u8]) -> Option<Record<'_>> {
    let entry = record.get(LENGTH..record.len().checked_sub(LENGTH)?)?;
    let (mut stream, mut time, mut line, mut part) = (Stream::Stdout, 0, &entry[..0], None);
    for field in Reader(entry) {
        match field? {
            (1, Value::Bytes(source)) if source == b"stderr" => stream = Stream::Stderr,
            (2, Value::Number(nanos)) => time = nanos.cast_signed(),
            (3, Value::Bytes(bytes)) => line = bytes,
            (5, Value::Bytes(bytes)) => part = Some(decode_part(bytes)?),
            _ => {}
        }
    }
    let newline = part.as_ref().is_none_or(|part| part.last);
    Some(Record { text: Cow::Borrowed(line), newline, stream, attributes: BTreeMap::new(), time, part })
}

fn decode_part(bytes: &[u8]) -> Option<RecordPart<'_>> {
    let mut part = RecordPart { last: false, id: &bytes[..0], ordinal: 0 };
    for field in Reader(bytes) {
        match field? {
            (1, Value::Number(last)) => part.last = last == 1,
            (2, Value::Bytes(id)) => part.id = id,
            (3, Value::Number(ordinal)) => part.ordinal = ordinal,
            _ => {}
        }
    }
    Some(part)
}

pub fn time_of(record: &[u8]) -> Option<i64> {
    decode(record).map(|record| record.time)
}

/// The length in front of (or behind) an entry; `None` for one that cannot be.
pub fn length(bytes: [u8; LENGTH]) -> Option<usize> {
    Some(u32::from_be_bytes(bytes) as usize).filter(|length| *length <= MAX_ENTRY)
}

impl Part {
    /// 64 digits, as Docker's ids are.
    pub fn id_text(&self) -> String {
        self.id
            .iter()
            .flat_map(|byte| [byte >> 4, byte & 15])
            .map(|digit| char::from(DIGITS[usize::from(digit)]))
            .collect()
    }
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Zero is what an absent field says.
fn number(out: &mut Vec<u8>, field: u32, value: u64) {
    if value != 0 {
        protobuf::number(out, field, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Docker 28 writes for `echo hi`.
    const DOCKERS: &[u8] =
        b"\0\0\0\x16\x0a\x06stdout\x10\xda\xc5\x8b\x98\x81\xf8\x82\xf5\x18\x1a\x02hi\0\0\0\x16";

    #[test]
    fn writes_dockers_bytes() {
        let time = decode(DOCKERS).unwrap().time;
        let mut out = Vec::new();
        Encoder::default().encode(Stream::Stdout, &Piece { text: b"hi", time, part: None }, &mut out);
        assert_eq!(out, DOCKERS);
    }

    #[test]
    fn reads_back_what_it_wrote() {
        let part = |last| Some(Part { id: [0xab; 32], ordinal: 3, last });
        for (part, newline) in [(None, true), (part(false), false), (part(true), true)] {
            let mut out = Vec::new();
            Encoder::default().encode(Stream::Stderr, &Piece { text: b"\xff raw", time: -5, part }, &mut out);
            let record = decode(&out).unwrap();
            assert_eq!((&*record.text, record.newline), (&b"\xff raw"[..], newline));
            assert_eq!((record.stream, record.time), (Stream::Stderr, -5));
        }
    }

    #[test]
    fn damage_is_no_record() {
        let mut record = DOCKERS.to_vec();
        record[13] = 0xff;
        record[12..22].fill(0xff);
        assert_eq!(decode(&record), None);
        assert_eq!(decode(b"\0\0\0"), None);
        assert_eq!(decode(b"\0\0\0\x02\x0a\x7f\0\0\0\x02"), None);
    }
}
