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
    pub text: Cow<'a, str>,
    pub stream: Stream,
    pub attributes: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
    /// Nanoseconds since the epoch.
    pub time: i64,
}

/// Appends one record. `attributes` is what [`encode_attributes`] made; `newline` ends the text with `\n`.
pub fn encode(text: &[u8], newline: bool, stream: Stream, attributes: &[u8], time: i64, out: &mut Vec<u8>) {
    out.push(b'{');
    if !text.is_empty() || newline {
        out.extend_from_slice(b"\"log\":\"");
        escape(text, out);
        if newline {
            out.extend_from_slice(b"\\n");
        }
        out.extend_from_slice(b"\",");
    }
    out.extend_from_slice(b"\"stream\":\"");
    out.extend_from_slice(stream.name().as_bytes());
    out.extend_from_slice(b"\",");
    out.extend_from_slice(attributes);
    out.extend_from_slice(b"\"time\":\"");
    clock::write_trimmed(time, out);
    out.extend_from_slice(b"\"}\n");
}

/// The `attrs` member with its comma, made once per container; empty without attributes.
pub fn encode_attributes(attributes: &BTreeMap<String, String>) -> Vec<u8> {
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
    Some(Record { text: raw.log, stream, attributes: raw.attrs, time: clock::parse(&raw.time)? })
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

fn escape(mut text: &[u8], out: &mut Vec<u8>) {
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

    fn line(text: &[u8], newline: bool) -> String {
        let mut out = Vec::new();
        encode(text, newline, Stream::Stdout, b"", 1_709_210_096_120_000_000, &mut out);
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
        encode("tab\tand é".as_bytes(), true, Stream::Stderr, &encoded, 7, &mut out);
        let record = decode(&out).unwrap();
        assert_eq!(record.text, "tab\tand é\n");
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
