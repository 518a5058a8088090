//! Graylog's format: a JSON document a message; over UDP compressed and in chunks, over TCP ended by a zero byte.
//!
//! ```text
//!   {"version":"1.1","host":"H","short_message":"text","timestamp":1.5,"level":6,"_container_id":"…",…}
//!   chunk = 0x1e 0x0f | message id: 8 bytes | number: u8 | count: u8 | at most 1408 bytes
//! ```
//!
//! <https://go2docs.graylog.org/current/getting_in_log_data/gelf.html>. A message of more than 128 chunks cannot be
//! sent; 16 KiB of text stay far below. Empty lines are not sent.

use std::io::Write;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};

use super::{Frames, Waiting};
use crate::log::{Stream, json};
use crate::protocol::{Gelf, GelfCompression};

/// A datagram is not larger, so that no network on the way has to cut it.
const DATAGRAM: usize = 1420;
const CHUNK: usize = 1408;
const MAX_CHUNKS: usize = 128;
const LEVEL_ERROR: u8 = 3;
const LEVEL_INFORMATIONAL: u8 = 6;

pub(super) struct Encoder {
    told: Gelf,
    datagrams: bool,
}

impl Encoder {
    pub(super) fn new(told: &Gelf, datagrams: bool) -> Encoder {
        Encoder { told: told.clone(), datagrams }
    }

    pub(super) fn encode(&self, record: &Waiting, out: &mut Frames) {
        if record.text.is_empty() {
            return;
        }
        if !self.datagrams {
            self.document(record, &mut out.bytes);
            out.bytes.push(0);
            out.end_frame();
            return;
        }
        let mut document = Vec::with_capacity(record.text.len() + self.told.extra.len() + 128);
        self.document(record, &mut document);
        let packed = self.pack(document);
        if packed.len() <= DATAGRAM {
            out.bytes.extend_from_slice(&packed);
            out.end_frame();
            return;
        }
        let chunks = packed.chunks(CHUNK);
        let count = chunks.len();
        if count > MAX_CHUNKS {
            return;
        }
        let id: [u8; 8] = linux::random::bytes();
        for (number, chunk) in chunks.enumerate() {
            out.bytes.extend_from_slice(&[0x1e, 0x0f]);
            out.bytes.extend_from_slice(&id);
            out.bytes.extend_from_slice(&[number as u8, count as u8]);
            out.bytes.extend_from_slice(chunk);
            out.end_frame();
        }
    }

    fn document(&self, record: &Waiting, out: &mut Vec<u8>) {
        let level = match record.stream {
            Stream::Stdout => LEVEL_INFORMATIONAL,
            Stream::Stderr => LEVEL_ERROR,
        };
        out.extend_from_slice(b"{\"version\":\"1.1\",\"host\":\"");
        json::escape(self.told.hostname.as_bytes(), out);
        out.extend_from_slice(b"\",\"short_message\":\"");
        json::escape(&record.text, out);
        out.extend_from_slice(b"\",\"timestamp\":");
        seconds(record.time, out);
        // Writing to memory does not fail.
        let _ = write!(out, ",\"level\":{level}");
        for (key, value) in &self.told.extra {
            out.extend_from_slice(b",\"");
            json::escape(key.as_bytes(), out);
            out.extend_from_slice(b"\":\"");
            json::escape(value.as_bytes(), out);
            out.push(b'"');
        }
        out.push(b'}');
    }

    fn pack(&self, document: Vec<u8>) -> Vec<u8> {
        let level = match self.told.level {
            Some(level) => Compression::new(level),
            None => Compression::default(),
        };
        // Writing to memory does not fail.
        match self.told.compression {
            GelfCompression::None => document,
            GelfCompression::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), level);
                let _ = encoder.write_all(&document);
                encoder.finish().unwrap_or_default()
            }
            GelfCompression::Zlib => {
                let mut encoder = ZlibEncoder::new(Vec::new(), level);
                let _ = encoder.write_all(&document);
                encoder.finish().unwrap_or_default()
            }
        }
    }
}

/// Seconds with at most three digits behind the point, none of them a trailing zero.
fn seconds(time: i64, out: &mut Vec<u8>) {
    let millis = time.div_euclid(1_000_000);
    let text = format!("{}.{:03}", millis.div_euclid(1000), millis.rem_euclid(1000));
    out.extend_from_slice(text.trim_end_matches('0').trim_end_matches('.').as_bytes());
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::super::tests::record;
    use super::*;

    fn told(compression: GelfCompression) -> Gelf {
        Gelf {
            hostname: "box".into(),
            extra: [("_tag".to_owned(), "a\"b".to_owned())].into(),
            compression,
            level: Some(1),
            max_reconnect: 3,
            reconnect_delay: 1,
        }
    }

    fn datagrams(compression: GelfCompression, text: &str) -> Vec<Vec<u8>> {
        let mut frames = Frames::default();
        Encoder::new(&told(compression), true).encode(&record(Stream::Stderr, text), &mut frames);
        let mut start = 0;
        frames
            .ends
            .iter()
            .map(|end| frames.bytes[std::mem::replace(&mut start, *end)..*end].to_vec())
            .collect()
    }

    const DOCUMENT: &str =
        r#"{"version":"1.1","host":"box","short_message":"a\tb","timestamp":1.5,"level":3,"_tag":"a\"b"}"#;

    #[test]
    fn a_document_has_dockers_members() {
        let mut frames = Frames::default();
        Encoder::new(&told(GelfCompression::None), false)
            .encode(&record(Stream::Stderr, "a\tb"), &mut frames);
        let text = String::from_utf8(frames.bytes).unwrap().replace("\\u0009", "\\t");
        assert_eq!(text, format!("{DOCUMENT}\0"));
    }

    #[test]
    fn each_compression_can_be_undone() {
        let unpack = |mut decoder: Box<dyn Read>| {
            let mut text = String::new();
            decoder.read_to_string(&mut text).unwrap();
            text.replace("\\u0009", "\\t")
        };
        let gzip = datagrams(GelfCompression::Gzip, "a\tb").remove(0);
        assert_eq!(unpack(Box::new(flate2::read::GzDecoder::new(&gzip[..]))), DOCUMENT);
        let zlib = datagrams(GelfCompression::Zlib, "a\tb").remove(0);
        assert_eq!(unpack(Box::new(flate2::read::ZlibDecoder::new(&zlib[..]))), DOCUMENT);
    }

    #[test]
    fn large_messages_go_in_chunks() {
        let chunks = datagrams(GelfCompression::None, &"x".repeat(5000));
        assert_eq!(chunks.len(), 4);
        for (number, chunk) in chunks.iter().enumerate() {
            assert!(chunk.len() <= DATAGRAM && chunk[..2] == [0x1e, 0x0f]);
            assert_eq!((chunk[2..10] == chunks[0][2..10], &chunk[10..12]), (true, &[number as u8, 4][..]));
        }
        let whole: Vec<u8> = chunks.iter().flat_map(|chunk| &chunk[12..]).copied().collect();
        assert!(whole.ends_with(b"\"}") && whole.len() > 5000);
    }

    #[test]
    fn times_are_short() {
        let text = |time| {
            let mut out = Vec::new();
            seconds(time, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(text(1_709_210_096_120_999_999), "1709210096.12");
        assert_eq!(text(1_709_210_100_000_000_000), "1709210100");
        assert_eq!(text(0), "0");
    }
}
