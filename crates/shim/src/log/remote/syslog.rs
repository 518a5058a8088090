//! Syslog messages as Docker's driver words them: RFC 3164 (with and without the host's name) and RFC 5424.
//!
//! ```text
//!   unix          <PRI>Nov 21 11:22:33 TAG[PID]: text
//!   rfc3164       <PRI>Nov 21 11:22:33 HOST TAG[PID]: text
//!   rfc5424       <PRI>1 2026-11-21T11:22:33Z HOST TAG PID TAG - text
//!   rfc5424micro  <PRI>1 2026-11-21T11:22:33.123456Z HOST TAG PID TAG - text
//! ```
//!
//! Each ends with a line feed, which is what tells messages on a stream apart; by TLS those of RFC 5424 have their length
//! in front besides (`LENGTH SPACE message`, RFC 5425). Standard error has severity 3, standard
//! output 6. Times are local, and of the moment of sending. Empty lines are not sent.

use std::io::Write;

use super::{Frames, Waiting};
use crate::clock;
use crate::log::Stream;
use crate::protocol::{Syslog, SyslogFormat};

const SEVERITY_ERROR: u8 = 3;
const SEVERITY_INFORMATIONAL: u8 = 6;

pub(super) struct Encoder {
    told: Syslog,
    pid: i32,
}

impl Encoder {
    pub(super) fn new(told: &Syslog) -> Encoder {
        Encoder { told: told.clone(), pid: linux::process::id() }
    }

    pub(super) fn encode(&self, record: &Waiting, now: i64, out: &mut Frames) {
        if record.text.is_empty() {
            return;
        }
        let severity = match record.stream {
            Stream::Stdout => SEVERITY_INFORMATIONAL,
            Stream::Stderr => SEVERITY_ERROR,
        };
        let Syslog { tag, hostname, format, .. } = &self.told;
        let (priority, pid) = (self.told.facility << 3 | severity, self.pid);
        let bytes = &mut out.bytes;
        let start = bytes.len();
        // Writing to memory does not fail.
        let _ = match format {
            SyslogFormat::Unix => write!(bytes, "<{priority}>{} {tag}[{pid}]: ", stamp(now)),
            SyslogFormat::Rfc3164 => write!(bytes, "<{priority}>{} {hostname} {tag}[{pid}]: ", stamp(now)),
            SyslogFormat::Rfc5424 => {
                write!(bytes, "<{priority}>1 {} {hostname} {tag} {pid} {tag} - ", rfc3339(now, false))
            }
            SyslogFormat::Rfc5424Micro => {
                write!(bytes, "<{priority}>1 {} {hostname} {tag} {pid} {tag} - ", rfc3339(now, true))
            }
        };
        bytes.extend_from_slice(&record.text);
        if !record.text.ends_with(b"\n") {
            bytes.push(b'\n');
        }
        if self.told.counted {
            let length = format!("{} ", bytes.len() - start);
            bytes.splice(start..start, length.into_bytes());
        }
        out.end_frame();
    }
}

/// The wall clock's time as UTC would say it, and how far that is from UTC, in seconds.
fn local(time: i64) -> (String, i64) {
    let offset = linux::localtime::offset_at(time.div_euclid(1_000_000_000));
    (clock::format(time + offset * 1_000_000_000), offset)
}

/// `Nov  1 11:22:33`.
fn stamp(time: i64) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (text, _) = local(time);
    let month = text[5..7].parse::<usize>().map_or("Jan", |month| MONTHS[(month - 1) % 12]);
    let day = text[8..10].trim_start_matches('0');
    format!("{month} {day:>2} {}", &text[11..19])
}

/// `2026-11-21T11:22:33+01:00`, or with six more digits.
fn rfc3339(time: i64, micro: bool) -> String {
    let (text, offset) = local(time);
    let digits = if micro { &text[..26] } else { &text[..19] };
    let zone = match offset {
        0 => "Z".to_owned(),
        _ => {
            let sign = if offset < 0 { '-' } else { '+' };
            format!("{sign}{:02}:{:02}", offset.abs() / 3600, offset.abs() / 60 % 60)
        }
    };
    format!("{digits}{zone}")
}

#[cfg(test)]
mod tests {
    use super::super::tests::record;
    use super::*;

    fn message(format: SyslogFormat, stream: Stream, text: &str) -> String {
        told(false, format, stream, text)
    }

    fn told(counted: bool, format: SyslogFormat, stream: Stream, text: &str) -> String {
        let told = Syslog { tag: "tag".into(), hostname: "host".into(), facility: 3, format, counted };
        let mut frames = Frames::default();
        let encoder = Encoder { told, pid: 7 };
        // 2024-02-09T12:34:56.000123456Z, whatever the zone: only what does not depend on it is compared.
        encoder.encode(&record(stream, text), 1_707_482_096_000_123_456, &mut frames);
        String::from_utf8(frames.bytes).unwrap()
    }

    #[test]
    fn words_each_format_as_docker_does() {
        let (head, tail) = ("<30>Feb ", "tag[7]: hello\n");
        let unix = message(SyslogFormat::Unix, Stream::Stdout, "hello");
        assert!(unix.starts_with(head) && unix.ends_with(&format!(" {tail}")), "{unix}");
        assert_eq!(unix.len(), "<30>Feb  9 12:34:56 tag[7]: hello\n".len());
        let rfc3164 = message(SyslogFormat::Rfc3164, Stream::Stderr, "hello");
        assert!(rfc3164.starts_with("<27>Feb ") && rfc3164.ends_with(" host tag[7]: hello\n"), "{rfc3164}");
        let rfc5424 = message(SyslogFormat::Rfc5424, Stream::Stdout, "hello\n");
        assert!(rfc5424.starts_with("<30>1 2024-02-"), "{rfc5424}");
        assert!(rfc5424.ends_with(" host tag 7 tag - hello\n") && !rfc5424.contains(".000"), "{rfc5424}");
        let micro = message(SyslogFormat::Rfc5424Micro, Stream::Stdout, "x");
        assert!(micro.contains(".000123") && !micro.contains(".0001234"), "{micro}");
    }

    #[test]
    fn a_length_counts_all_of_its_message() {
        let plain = message(SyslogFormat::Rfc5424, Stream::Stdout, "hello");
        let counted = told(true, SyslogFormat::Rfc5424, Stream::Stdout, "hello");
        assert_eq!(counted, format!("{} {plain}", plain.len()));
    }

    #[test]
    fn an_empty_line_is_not_sent() {
        assert_eq!(message(SyslogFormat::Unix, Stream::Stdout, ""), "");
    }
}
