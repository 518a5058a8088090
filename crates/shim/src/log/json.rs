//! One line of a json-file log, in the exact bytes that Docker writes.
//!
//! ```text
//! {"log":"text\n","stream":"stdout","attrs":{"k":"v"},"time":"2006-01-02T15:04:05.123Z"}
//! ```
//!
//! The members come in this order; an empty `log` and missing `attrs` are left out; the time is Go's
//! RFC3339Nano (trailing zeros cut). Strings are escaped as Go does for HTML: `<`, `>`, `&`, U+2028 and U+2029
//! as `\uXXXX`, bytes that are no UTF-8 as `\ufffd`. A line that was cut has no `\n` at its end.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;

use crate::clock;
use crate::log::record::{Record, Stream};
use crate::log::splitter::Piece;

/// Writes records. All lines of one read have the same end (stream, attributes, time), so it is made once for them.
pub struct Encoder {
    attributes: Vec<u8>,
    end: Vec<u8>,
    end_of: Option<(Stream, i64)>,
}

impl Encoder {
    pub fn new(attributes: &BTreeMap<String, String>) -> Encoder {
        Encoder { attributes: encode_attributes(attributes), end: Vec::new(), end_of: None }
    }

    pub fn encode(&mut self, stream: Stream, piece: &Piece<'_>, out: &mut Vec<u8>) {
        if self.end_of != Some((stream, piece.time)) {
            self.make_end(stream, piece.time);
        }
        let newline = piece.ends_line();
        // Room for a line without escapes: one check instead of one for each part.
        out.reserve(piece.text.len() + self.end.len() + 16);
        if piece.text.is_empty() && !newline {
            out.push(b'{');
        } else {
            out.extend_from_slice(b"{\"log\":\"");
            escape(piece.text, out);
            out.extend_from_slice(if newline { b"\\n\"," } else { b"\"," });
        }
        out.extend_from_slice(&self.end);
    }

    fn make_end(&mut self, stream: Stream, time: i64) {
        self.end.clear();
        self.end.extend_from_slice(b"\"stream\":\"");
        self.end.extend_from_slice(stream.name().as_bytes());
        self.end.extend_from_slice(b"\",");
        self.end.extend_from_slice(&self.attributes);
        self.end.extend_from_slice(b"\"time\":\"");
        clock::write_trimmed(time, &mut self.end);
        self.end.extend_from_slice(b"\"}\n");
        self.end_of = Some((stream, time));
    }
}

/// The `attrs` member with its comma; empty without attributes.
fn encode_attributes(attributes: &BTreeMap<String, String>) -> Vec<u8> {
    let mut out = Vec::new();
    if attributes.is_empty() {
        return out;
    }
    out.extend_from_slice(b"\"attrs\":{");
    for (position, (key, value)) in attributes.iter().enumerate() {
        if position > 0 {
            out.push(b',');
        }
        out.push(b'"');
        escape(key.as_bytes(), &mut out);
        out.extend_from_slice(b"\":\"");
        escape(value.as_bytes(), &mut out);
        out.push(b'"');
    }
    out.extend_from_slice(b"},");
    out
}

/// Reads one line (its `\n` may be there or not). `None`: not a record, as a torn write leaves it.
pub fn decode(line: &[u8]) -> Option<Record<'_>> {
    #[derive(Deserialize)]
    struct Raw<'a> {
        #[serde(borrow, default)]
        log: Cow<'a, str>,
        #[serde(borrow, default)]
        stream: Cow<'a, str>,
        #[serde(borrow, default)]
        attrs: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
        #[serde(borrow)]
        time: Cow<'a, str>,
    }
    let raw: Raw<'_> = serde_json::from_slice(line).ok()?;
    let stream = if raw.stream == "stderr" { Stream::Stderr } else { Stream::Stdout };
    let text = match raw.log {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    };
    let time = clock::parse(&raw.time)?;
    Some(Record { text, newline: false, stream, attributes: raw.attrs, time, part: None })
}

/// The time at the end of a line, without decoding the rest.
pub fn time_of(line: &[u8]) -> Option<i64> {
    const MEMBER: &[u8] = b"\"time\":\"";
    let at = line.len().saturating_sub(MEMBER.len() + 40);
    let start = line[at..].windows(MEMBER.len()).rposition(|window| window == MEMBER)? + at + MEMBER.len();
    let text = line[start..].split(|byte| *byte == b'"').next()?;
    clock::parse(std::str::from_utf8(text).ok()?)
}

/// True for bytes that stand for themselves inside a JSON string of Go's.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0x20;
    while byte < 0x80 {
        plain[byte] = !matches!(byte as u8, b'"' | b'\\' | b'<' | b'>' | b'&');
        byte += 1;
    }
    plain
};

pub(super) fn escape(mut text: &[u8], out: &mut Vec<u8>) {
    while !text.is_empty() {
        let run = text.iter().position(|byte| !PLAIN[usize::from(*byte)]).unwrap_or(text.len());
        out.extend_from_slice(&text[..run]);
        text = &text[run..];
        if let Some(first) = text.first() {
            text = if first.is_ascii() { escape_ascii(text, out) } else { escape_wide(text, out) };
        }
    }
}

fn escape_ascii<'a>(text: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    match text[0] {
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        byte @ (b'"' | b'\\') => out.extend_from_slice(&[b'\\', byte]),
        byte => {
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
    &text[1..]
}

/// One run of bytes above 0x7f: copied while it is UTF-8, `\ufffd` for each byte that is not.
fn escape_wide<'a>(text: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    // Four bytes hold every character; looking no further keeps this linear in the text.
    let head = &text[..text.len().min(4)];
    let valid = match std::str::from_utf8(head) {
        Ok(valid) => valid,
        Err(error) => std::str::from_utf8(&head[..error.valid_up_to()]).unwrap_or_default(),
    };
    let Some(character) = valid.chars().next() else {
        out.extend_from_slice(b"\\ufffd");
        return &text[1..];
    };
    let length = character.len_utf8();
    match character {
        '\u{2028}' => out.extend_from_slice(b"\\u2028"),
        '\u{2029}' => out.extend_from_slice(b"\\u2029"),
        _ => out.extend_from_slice(&text[..length]),
    }
    &text[length..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::splitter::Part;

    fn line(text: &[u8], newline: bool) -> String {
        let mut out = Vec::new();
        let part = (!newline).then_some(Part { id: [0; 32], ordinal: 1, last: false });
        let piece = Piece { text, time: 1_709_210_096_120_000_000, part };
        Encoder::new(&BTreeMap::new()).encode(Stream::Stdout, &piece, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn writes_dockers_bytes() {
        assert_eq!(
            line(b"hello", true),
            "{\"log\":\"hello\\n\",\"stream\":\"stdout\",\"time\":\"2024-02-29T12:34:56.12Z\"}\n"
        );
        assert_eq!(
            line(b"part", false),
            "{\"log\":\"part\",\"stream\":\"stdout\",\"time\":\"2024-02-29T12:34:56.12Z\"}\n"
        );
        assert_eq!(
            line(b"", true),
            "{\"log\":\"\\n\",\"stream\":\"stdout\",\"time\":\"2024-02-29T12:34:56.12Z\"}\n"
        );
    }

    #[test]
    fn escapes_as_go_does() {
        let mut out = Vec::new();
        escape("a\"b\\c<d>&\t\r\n\u{1b}\u{7f}é\u{2028}\u{2029}🚢".as_bytes(), &mut out);
        let expected = "a\\\"b\\\\c\\u003cd\\u003e\\u0026\\u0009\\r\\n\\u001b\u{7f}é\\u2028\\u2029🚢";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn replaces_what_is_no_utf8() {
        let mut out = Vec::new();
        escape(b"x\xff\xc3(\xf0\x9f\x9a", &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), "x\\ufffd\\ufffd(\\ufffd\\ufffd\\ufffd");
    }

    #[test]
    fn reads_back_what_it_wrote() {
        let attributes =
            BTreeMap::from([("k<".to_owned(), "v\"".to_owned()), ("z".to_owned(), String::new())]);
        let encoded = encode_attributes(&attributes);
        assert_eq!(encoded, br#""attrs":{"k\u003c":"v\"","z":""},"#);
        let mut out = Vec::new();
        let piece = Piece { text: "tab\tand é".as_bytes(), time: 7, part: None };
        Encoder::new(&attributes).encode(Stream::Stderr, &piece, &mut out);
        let record = decode(&out).unwrap();
        assert_eq!(record.text, "tab\tand é\n".as_bytes());
        assert_eq!(time_of(&out), Some(7));
        assert_eq!((record.stream, record.time), (Stream::Stderr, 7));
        assert_eq!(record.attributes[&Cow::Borrowed("k<")], "v\"");
    }

    #[test]
    fn refuses_torn_lines() {
        assert_eq!(decode(b"{\"log\":\"hel"), None);
        assert_eq!(decode(b""), None);
        assert_eq!(decode(b"{\"log\":\"x\",\"stream\":\"stdout\",\"time\":\"soon\"}"), None);
    }
}
