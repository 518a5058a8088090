//! A record of a log as a client gets it, in the form that it asked for.
//!
//! ```text
//!   raw           [time ][details ]text
//!   multiplexed   an eight-byte header with the stream and the length, then the same
//!   records       {"Line":"text\n","Source":"stdout","Timestamp":…}     from API 1.54 on
//! ```
//!
//! A record has its time in any case, and its details as `Attrs` where they were asked for. The parts of a line that was
//! cut say in `MetaData` how they belong together, if the format of the file knows ([`local`](super::local)).

use crate::clock;
use crate::log::json::escape;
use crate::log::record::{Record, RecordPart, Stream};
use crate::protocol::{LogQuery, Records};

/// The stream of a frame that makes a client abort with its text.
const SYSTEM_ERROR: u8 = 3;
/// Begins a document of a sequence (RFC 7464).
const RECORD_SEPARATOR: u8 = 0x1e;
/// Go's zero time: a failure has none.
const NEVER: &[u8] = b"0001-01-01T00:00:00Z";

pub(super) fn render(record: &Record<'_>, query: &LogQuery, out: &mut Vec<u8>) {
    let wanted = match record.stream {
        Stream::Stdout => query.stdout,
        Stream::Stderr => query.stderr,
    };
    match query.records {
        _ if !wanted => {}
        Some(form) => document(record, form, query.details, out),
        None if query.multiplexed => framed(record.stream.frame_id(), out, |out| line(record, query, out)),
        None => line(record, query, out),
    }
}

/// Why no more of the log comes. Raw output has no place for it.
pub(super) fn render_failure(text: &str, query: &LogQuery, out: &mut Vec<u8>) {
    match query.records {
        Some(form) => {
            begin(form, out);
            out.extend_from_slice(b"{\"Timestamp\":\"");
            out.extend_from_slice(NEVER);
            out.extend_from_slice(b"\",\"Error\":\"");
            escape(text.as_bytes(), out);
            out.extend_from_slice(b"\"}\n");
        }
        None if query.multiplexed => framed(SYSTEM_ERROR, out, |out| {
            out.extend_from_slice(text.as_bytes());
            out.push(b'\n');
        }),
        None => {}
    }
}

fn framed(stream: u8, out: &mut Vec<u8>, payload: impl FnOnce(&mut Vec<u8>)) {
    let header = out.len();
    out.extend_from_slice(&[stream, 0, 0, 0, 0, 0, 0, 0]);
    let start = out.len();
    payload(out);
    let length = u32::try_from(out.len() - start).unwrap_or(u32::MAX);
    out[header + 4..start].copy_from_slice(&length.to_be_bytes());
}

fn line(record: &Record<'_>, query: &LogQuery, out: &mut Vec<u8>) {
    if query.timestamps {
        clock::write_fixed(record.time, out);
        out.push(b' ');
    }
    if query.details {
        for (position, (key, value)) in record.attributes.iter().enumerate() {
            if position > 0 {
                out.push(b',');
            }
            escape_query(key, out);
            out.push(b'=');
            escape_query(value, out);
        }
        out.push(b' ');
    }
    out.extend_from_slice(&record.text);
    if record.newline {
        out.push(b'\n');
    }
}

/// Go's `url.QueryEscape`.
fn escape_query(text: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(byte),
            b' ' => out.push(b'+'),
            _ => out.extend_from_slice(&[b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]),
        }
    }
}

fn begin(form: Records, out: &mut Vec<u8>) {
    if form == Records::Sequence {
        out.push(RECORD_SEPARATOR);
    }
}

/// Written by hand, as the file is: it may be gigabytes. Bytes that are no UTF-8 become U+FFFD.
fn document(record: &Record<'_>, form: Records, details: bool, out: &mut Vec<u8>) {
    begin(form, out);
    out.push(b'{');
    if !record.text.is_empty() || record.newline {
        out.extend_from_slice(b"\"Line\":\"");
        escape(&record.text, out);
        out.extend_from_slice(if record.newline { b"\\n\"," } else { b"\"," });
    }
    out.extend_from_slice(b"\"Source\":\"");
    out.extend_from_slice(record.stream.name().as_bytes());
    out.extend_from_slice(b"\",\"Timestamp\":\"");
    clock::write_trimmed(record.time, out);
    out.push(b'"');
    if details && !record.attributes.is_empty() {
        out.extend_from_slice(b",\"Attrs\":[");
        for (position, (key, value)) in record.attributes.iter().enumerate() {
            out.extend_from_slice(if position > 0 { b",{\"Key\":\"" } else { b"{\"Key\":\"" });
            escape(key.as_bytes(), out);
            out.extend_from_slice(b"\",\"Value\":\"");
            escape(value.as_bytes(), out);
            out.extend_from_slice(b"\"}");
        }
        out.push(b']');
    }
    if let Some(RecordPart { last, id, ordinal }) = &record.part {
        out.extend_from_slice(format!(",\"MetaData\":{{\"Last\":{last},\"ID\":\"").as_bytes());
        escape(id, out);
        out.extend_from_slice(format!("\",\"Ordinal\":{ordinal}}}").as_bytes());
    }
    out.extend_from_slice(b"}\n");
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    fn record(text: &str) -> Record<'_> {
        let attributes = [("a b", "x/y"), ("z", "\"1\"")];
        Record {
            text: Cow::Borrowed(text.as_bytes()),
            newline: true,
            stream: Stream::Stderr,
            attributes: attributes.map(|(key, value)| (key.into(), value.into())).into(),
            time: 3,
            part: None,
        }
    }

    fn all() -> LogQuery {
        LogQuery { stdout: true, stderr: true, ..LogQuery::default() }
    }

    fn rendered(record: &Record<'_>, query: &LogQuery) -> Vec<u8> {
        let mut out = Vec::new();
        render(record, query, &mut out);
        out
    }

    #[test]
    fn frames_have_times_and_details() {
        let query = LogQuery { timestamps: true, details: true, multiplexed: true, ..all() };
        let expected = "1970-01-01T00:00:00.000000003Z a+b=x%2Fy,z=%221%22 line 3\n";
        let frame = rendered(&record("line 3"), &query);
        assert_eq!(frame[..8], [2, 0, 0, 0, 0, 0, 0, u8::try_from(expected.len()).unwrap()]);
        assert_eq!(std::str::from_utf8(&frame[8..]).unwrap(), expected);
    }

    #[test]
    fn documents_say_what_frames_cannot() {
        let told =
            |record: &Record<'_>, query: &LogQuery| String::from_utf8(rendered(record, query)).unwrap();
        let query = LogQuery { records: Some(Records::Lines), multiplexed: true, ..all() };
        let plain = r#"{"Line":"<hi>\n","Source":"stderr","Timestamp":"1970-01-01T00:00:00.000000003Z"}"#;
        assert_eq!(
            told(&record("<hi>"), &query),
            format!("{plain}\n").replace('<', "\\u003c").replace('>', "\\u003e")
        );
        assert_eq!(told(&record("x"), &LogQuery { stderr: false, ..query.clone() }), "");
        let empty = Record { newline: false, ..record("") };
        assert_eq!(told(&empty, &query)[..11], *r#"{"Source":""#);

        let part = RecordPart { last: false, id: b"ab", ordinal: 7 };
        let cut = Record { newline: false, part: Some(part), ..record("x") };
        let query = LogQuery { records: Some(Records::Sequence), details: true, ..all() };
        let document: serde_json::Value = serde_json::from_str(&told(&cut, &query)[1..]).unwrap();
        assert_eq!(told(&cut, &query).as_bytes()[0], RECORD_SEPARATOR);
        assert_eq!(document["Line"], "x");
        assert_eq!(document["Attrs"][1], serde_json::json!({"Key": "z", "Value": "\"1\""}));
        assert_eq!(document["MetaData"], serde_json::json!({"Last": false, "ID": "ab", "Ordinal": 7}));
    }

    #[test]
    fn a_failure_is_told_where_there_is_a_place_for_it() {
        let told = |query: LogQuery| {
            let mut out = Vec::new();
            render_failure("no", &query, &mut out);
            out
        };
        assert_eq!(told(all()), b"");
        assert_eq!(told(LogQuery { multiplexed: true, ..all() }), b"\x03\0\0\0\0\0\0\x03no\n");
        let document = told(LogQuery { records: Some(Records::Lines), ..all() });
        assert_eq!(document, b"{\"Timestamp\":\"0001-01-01T00:00:00Z\",\"Error\":\"no\"}\n");
    }
}
