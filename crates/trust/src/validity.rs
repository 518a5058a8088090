//! From when until when a certificate is valid, read from its DER (RFC 5280, 4.1.2.5).
//!
//! `webpki` looks at that only on the way along a chain, and a certificate that is believed for itself has none.

use std::time::Duration;

use moment::date;
use rustls::pki_types::UnixTime;

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;

const DAY: u64 = 86_400;

/// Not before the first, not after the second.
pub(crate) fn of(certificate: &[u8]) -> Option<(UnixTime, UnixTime)> {
    let (outer, _) = take(certificate, SEQUENCE)?;
    let (signed, _) = take(outer, SEQUENCE)?;
    let rest = take(signed, VERSION).map_or(signed, |(_, rest)| rest);
    let (_serial, rest) = take(rest, INTEGER)?;
    let (_algorithm, rest) = take(rest, SEQUENCE)?;
    let (_issuer, rest) = take(rest, SEQUENCE)?;
    let (validity, _) = take(rest, SEQUENCE)?;
    let (not_before, rest) = time(validity)?;
    let (not_after, _) = time(rest)?;
    Some((not_before, not_after))
}

/// The content of the element that comes first, if it is of that kind, and what is behind it.
fn take(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    if first != tag {
        return None;
    }
    let (&length, rest) = rest.split_first()?;
    match length {
        0..=0x7f => rest.split_at_checked(length.into()),
        // So many bytes of length follow; a certificate of more than 16 MiB is none, nor is one without a length.
        0x81..=0x83 => {
            let (length, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            rest.split_at_checked(length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)))
        }
        _ => None,
    }
}

/// `YYMMDDHHMMSSZ` until 2049, `YYYYMMDDHHMMSSZ` from then on.
fn time(bytes: &[u8]) -> Option<(UnixTime, &[u8])> {
    let (year, digits, rest) = match take(bytes, UTC_TIME) {
        Some((text, rest)) => {
            let (year, digits) = text.split_at_checked(2)?;
            let year = number(year)?;
            (if year < 50 { 2000 + year } else { 1900 + year }, digits, rest)
        }
        None => {
            let (text, rest) = take(bytes, GENERALIZED_TIME)?;
            let (year, digits) = text.split_at_checked(4)?;
            (number(year)?, digits, rest)
        }
    };
    let digits = digits.strip_suffix(b"Z").filter(|digits| digits.len() == 10)?;
    let mut fields = digits.chunks(2).map(number);
    let mut field = || fields.next().flatten();
    let (month, day, hour, minute, second) = (field()?, field()?, field()?, field()?, field()?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // What is before 1970 never ended a certificate that is in use: it counts as the first day.
    let days = u64::try_from(date::to_days(year as i64, month as i64, day as i64)).unwrap_or(0);
    let seconds = days * DAY + hour * 3600 + minute * 60 + second;
    Some((UnixTime::since_unix_epoch(Duration::from_secs(seconds)), rest))
}

fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + u64::from(digit - b'0')))
}

/// RFC 3339, UTC.
pub(crate) fn written(time: UnixTime) -> String {
    let (days, seconds) = (time.as_secs() / DAY, time.as_secs() % DAY);
    let (year, month, day) = date::of_days(days as i64);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_written() {
        for (kind, text, expected) in [
            (UTC_TIME, "700101000000Z", "1970-01-01T00:00:00Z"),
            (UTC_TIME, "240229123456Z", "2024-02-29T12:34:56Z"),
            (UTC_TIME, "491231235959Z", "2049-12-31T23:59:59Z"),
            (GENERALIZED_TIME, "20500301000000Z", "2050-03-01T00:00:00Z"),
            (GENERALIZED_TIME, "99991231235959Z", "9999-12-31T23:59:59Z"),
        ] {
            let bytes = [&[kind, text.len() as u8], text.as_bytes()].concat();
            let (time, rest) = time(&bytes).unwrap();
            assert_eq!((written(time).as_str(), rest.len()), (expected, 0));
        }
        for wrong in ["7001010000Z", "701301000000Z", "70010100000aZ", "700101000000"] {
            assert!(time(&[&[UTC_TIME, wrong.len() as u8], wrong.as_bytes()].concat()).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_certificate_says_when_it_is_valid() {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut told = rcgen::CertificateParams::new(["a.example".to_owned()]).unwrap();
        told.not_before = rcgen::date_time_ymd(2020, 1, 2);
        told.not_after = rcgen::date_time_ymd(2051, 3, 4);
        let certificate = told.self_signed(&key).unwrap();
        let (from, until) = of(certificate.der()).unwrap();
        assert_eq!(written(from), "2020-01-02T00:00:00Z");
        assert_eq!(written(until), "2051-03-04T00:00:00Z");
        for cut in 0..40 {
            assert!(of(&certificate.der()[..cut]).is_none(), "{cut} bytes are no certificate");
        }
    }
}
