//! Fluentd's forward protocol, one event a message (message mode).
//!
//! ```text
//!   ──▶  [tag, time, {container_id, container_name, source, log, …}, {"chunk": id}]     MessagePack
//!   ◀──  {"ack": id}                                                                    if it was asked for
//! ```
//!
//! The time is an integer of seconds, or an EventTime (extension 0: seconds and nanoseconds) with sub-second
//! precision. An event that is not acknowledged is sent again over a new connection, so it may arrive twice.
//!
//! <https://github.com/fluent/fluentd/wiki/Forward-Protocol-Specification-v1>

use super::{Frames, Waiting};
use crate::protocol::Fluentd;

/// An answer is a map of one member; a longer one is not ours.
const MAX_ANSWER: usize = 1024;

pub(super) struct Encoder {
    told: Fluentd,
    /// The id of the event that waits to be acknowledged.
    chunk: String,
    answer: Vec<u8>,
}

impl Encoder {
    pub(super) fn new(told: &Fluentd) -> Encoder {
        Encoder { told: told.clone(), chunk: String::new(), answer: Vec::new() }
    }

    pub(super) fn wants_answers(&self) -> bool {
        self.told.request_ack
    }

    pub(super) fn encode(&mut self, record: &Waiting, out: &mut Frames) {
        let bytes = &mut out.bytes;
        bytes.push(0x94);
        string(self.told.tag.as_bytes(), bytes);
        if self.told.sub_second {
            bytes.extend_from_slice(&[0xd7, 0]);
            let seconds = u32::try_from(record.time.div_euclid(SECOND)).unwrap_or(0);
            let nanos = u32::try_from(record.time.rem_euclid(SECOND)).unwrap_or(0);
            bytes.extend_from_slice(&seconds.to_be_bytes());
            bytes.extend_from_slice(&nanos.to_be_bytes());
        } else {
            integer(record.time.div_euclid(SECOND), bytes);
        }
        self.event(record, bytes);
        if self.told.request_ack {
            let id: [u8; 16] = linux::random::bytes();
            self.chunk = id.iter().map(|byte| format!("{byte:02x}")).collect();
            self.answer.clear();
            bytes.push(0x81);
            string(b"chunk", bytes);
            string(self.chunk.as_bytes(), bytes);
        } else {
            bytes.push(0x80);
        }
        out.end_frame();
    }

    fn event(&self, record: &Waiting, out: &mut Vec<u8>) {
        let members = self.told.fields.len() + 2 + if record.part.is_some() { 4 } else { 0 };
        map(members, out);
        for (key, value) in &self.told.fields {
            string(key.as_bytes(), out);
            string(value.as_bytes(), out);
        }
        string(b"source", out);
        string(record.stream.name().as_bytes(), out);
        string(b"log", out);
        string(&record.text, out);
        if let Some(part) = &record.part {
            for (key, value) in [
                ("partial_message", "true"),
                ("partial_id", &part.id_text()),
                ("partial_ordinal", &part.ordinal.to_string()),
                ("partial_last", if part.last { "true" } else { "false" }),
            ] {
                string(key.as_bytes(), out);
                string(value.as_bytes(), out);
            }
        }
    }

    /// Takes in what came back. `Some(true)`: the event has arrived. `Some(false)`: that is no answer to it.
    pub(super) fn answered(&mut self, bytes: &[u8]) -> Option<bool> {
        self.answer.extend_from_slice(bytes);
        match acknowledged(&self.answer) {
            Some(id) => Some(id == self.chunk.as_bytes()),
            None if self.answer.len() > MAX_ANSWER => Some(false),
            None => None,
        }
    }
}

const SECOND: i64 = 1_000_000_000;

/// The id in a whole `{"ack": id}`.
fn acknowledged(bytes: &[u8]) -> Option<&[u8]> {
    let rest = bytes.strip_prefix(b"\x81")?;
    let (key, rest) = take_string(rest)?;
    let (id, _) = take_string(rest)?;
    (key == b"ack").then_some(id)
}

fn take_string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (head, length) = match *bytes.first()? {
        first @ 0xa0..=0xbf => (1, usize::from(first & 0x1f)),
        0xd9 => (2, usize::from(*bytes.get(1)?)),
        0xda => (3, usize::from(u16::from_be_bytes(*bytes.get(1..)?.first_chunk()?))),
        _ => return None,
    };
    bytes.get(head..)?.split_at_checked(length)
}

fn string(text: &[u8], out: &mut Vec<u8>) {
    match text.len() {
        length @ 0..32 => out.push(0xa0 | length as u8),
        length @ 32..0x100 => out.extend_from_slice(&[0xd9, length as u8]),
        length @ 0x100..0x1_0000 => {
            out.push(0xda);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            out.push(0xdb);
            out.extend_from_slice(&(length as u32).to_be_bytes());
        }
    }
    out.extend_from_slice(text);
}

fn map(members: usize, out: &mut Vec<u8>) {
    match members {
        0..16 => out.push(0x80 | members as u8),
        _ => {
            out.push(0xde);
            out.extend_from_slice(&u16::try_from(members).unwrap_or(u16::MAX).to_be_bytes());
        }
    }
}

fn integer(value: i64, out: &mut Vec<u8>) {
    match i32::try_from(value) {
        Ok(small @ 0..128) => out.push(small as u8),
        Ok(value) => {
            out.push(0xd2);
            out.extend_from_slice(&value.to_be_bytes());
        }
        Err(_) => {
            out.push(0xd3);
            out.extend_from_slice(&value.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::record;
    use super::*;
    use crate::log::Stream;
    use crate::log::splitter::Part;

    fn told(sub_second: bool, request_ack: bool) -> Fluentd {
        Fluentd {
            tag: "t".into(),
            fields: [("container_name".to_owned(), "/web".to_owned())].into(),
            sub_second,
            request_ack,
            ..Fluentd::default()
        }
    }

    #[test]
    fn an_event_is_message_pack() {
        let mut frames = Frames::default();
        Encoder::new(&told(false, false)).encode(&record(Stream::Stdout, "hi"), &mut frames);
        let expected = b"\x94\xa1t\x01\x83\xaecontainer_name\xa4/web\xa6source\xa6stdout\xa3log\xa2hi\x80";
        assert_eq!(frames.bytes, expected);
        assert_eq!(frames.ends, [expected.len()]);
    }

    #[test]
    fn sub_second_times_and_parts_are_told() {
        let mut frames = Frames::default();
        let mut cut = record(Stream::Stderr, "x");
        cut.part = Some(Box::new(Part { id: [0; 32], ordinal: 2, last: true }));
        Encoder::new(&told(true, false)).encode(&cut, &mut frames);
        assert_eq!(&frames.bytes[..13], b"\x94\xa1t\xd7\x00\x00\x00\x00\x01\x1d\xcd\x65\x00");
        assert_eq!(frames.bytes[13], 0x87);
        let text = String::from_utf8_lossy(&frames.bytes).into_owned();
        assert!(text.contains("\u{af}") || text.contains("partial_message"), "{text}");
        assert!(text.contains("partial_ordinal") && text.contains("partial_last"), "{text}");
    }

    #[test]
    fn lengths_of_all_sizes() {
        for (length, head) in [(31, 1), (32, 2), (255, 2), (256, 3), (65_535, 3), (65_536, 5)] {
            let mut out = Vec::new();
            string(&vec![b'x'; length], &mut out);
            assert_eq!(out.len(), head + length);
            if head < 5 {
                assert_eq!(take_string(&out).unwrap().0.len(), length);
            }
        }
    }

    #[test]
    fn an_acknowledgement_may_come_in_pieces() {
        let mut encoder = Encoder::new(&told(false, true));
        encoder.encode(&record(Stream::Stdout, "x"), &mut Frames::default());
        let mut answer = b"\x81\xa3ack".to_vec();
        string(encoder.chunk.clone().as_bytes(), &mut answer);
        assert_eq!(encoder.answered(&answer[..7]), None);
        assert_eq!(encoder.answered(&answer[7..]), Some(true));
        encoder.encode(&record(Stream::Stdout, "y"), &mut Frames::default());
        assert_eq!(encoder.answered(&answer), Some(false));
    }
}
