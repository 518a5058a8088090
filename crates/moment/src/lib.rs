//! Moments and durations as Go writes them: in the API, in logs, in options and labels.
//!
//! A moment is an `i64` of nanoseconds since the epoch (it lasts until the year 2262), and is written as RFC 3339 in UTC. A
//! duration is an `i64` of nanoseconds, too ([`duration`]). Nobody's clock is read here, and no time zone is known.

pub mod date;
pub mod duration;
pub mod point;

const SECOND: i64 = 1_000_000_000;
const DAY: i64 = 86_400;

/// `2006-01-02T15:04:05.000000000Z`, always nine digits: what `docker logs --timestamps` prints.
pub fn format(nanos: i64) -> String {
    let mut out = Vec::with_capacity(30);
    write_fixed(nanos, &mut out);
    String::from_utf8(out).expect("digits are UTF-8")
}

/// Appends the nine-digit form.
pub fn write_fixed(nanos: i64, out: &mut Vec<u8>) {
    write_second(nanos.div_euclid(SECOND), out);
    out.push(b'.');
    write_digits(nanos.rem_euclid(SECOND), 9, out);
    out.push(b'Z');
}

/// Appends the form Go calls RFC3339Nano, trailing zeros cut: what the log file holds.
pub fn write_trimmed(nanos: i64, out: &mut Vec<u8>) {
    write_second(nanos.div_euclid(SECOND), out);
    let fraction = nanos.rem_euclid(SECOND);
    if fraction != 0 {
        out.push(b'.');
        write_digits(fraction, 9, out);
        while out.last() == Some(&b'0') {
            out.pop();
        }
    }
    out.push(b'Z');
}

/// Reads RFC 3339 with any number of fraction digits (those past the ninth are cut) and any offset.
pub fn parse(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let number = |from: usize, to: usize| -> Option<i64> {
        let digits = text.get(from..to)?;
        if !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        digits.parse().ok()
    };
    let separated = bytes.len() >= 20
        && bytes[4] == b'-'
        && bytes[7] == b'-'
        && matches!(bytes[10], b'T' | b't' | b' ')
        && bytes[13] == b':'
        && bytes[16] == b':';
    if !separated {
        return None;
    }
    let days = date::to_days(number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let seconds = days * DAY + number(11, 13)? * 3600 + number(14, 16)? * 60 + number(17, 19)?;

    let mut rest = &bytes[19..];
    let mut fraction = 0;
    if rest[0] == b'.' {
        let digits = rest[1..].iter().take_while(|b| b.is_ascii_digit()).count();
        for place in 0..9 {
            let digit = if place < digits { i64::from(rest[1 + place] - b'0') } else { 0 };
            fraction = fraction * 10 + digit;
        }
        rest = &rest[1 + digits..];
    }
    let offset = match rest {
        [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
            let at = text.len() - 5;
            let minutes = number(at, at + 2)? * 60 + number(at + 3, at + 5)?;
            if *sign == b'+' { minutes * 60 } else { -minutes * 60 }
        }
        _ => return None,
    };
    seconds.checked_sub(offset)?.checked_mul(SECOND)?.checked_add(fraction)
}

fn write_second(seconds: i64, out: &mut Vec<u8>) {
    let (year, month, day) = date::of_days(seconds.div_euclid(DAY));
    let of_day = seconds.rem_euclid(DAY);
    write_digits(year, 4, out);
    out.push(b'-');
    write_digits(month, 2, out);
    out.push(b'-');
    write_digits(day, 2, out);
    out.push(b'T');
    write_digits(of_day / 3600, 2, out);
    out.push(b':');
    write_digits(of_day / 60 % 60, 2, out);
    out.push(b':');
    write_digits(of_day % 60, 2, out);
}

fn write_digits(mut value: i64, width: usize, out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + width, b'0');
    for slot in out[start..].iter_mut().rev() {
        *slot = b'0' + u8::try_from(value % 10).unwrap_or(0);
        value /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trimmed(nanos: i64) -> String {
        let mut out = Vec::new();
        write_trimmed(nanos, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn writes_both_forms() {
        assert_eq!(format(0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(format(1_709_210_096_120_000_000), "2024-02-29T12:34:56.120000000Z");
        assert_eq!(trimmed(1_709_210_096_120_000_000), "2024-02-29T12:34:56.12Z");
        assert_eq!(trimmed(1_709_210_096_000_000_000), "2024-02-29T12:34:56Z");
        assert_eq!(format(-1), "1969-12-31T23:59:59.999999999Z");
    }

    #[test]
    fn reads_what_it_writes_on_every_day_of_a_century() {
        for day in 0..36_525 {
            let nanos = day * DAY * SECOND + 45_296_000_000_007;
            assert_eq!(parse(&format(nanos)), Some(nanos));
            assert_eq!(parse(&trimmed(nanos)), Some(nanos));
        }
    }

    #[test]
    fn reads_offsets_and_odd_fractions() {
        assert_eq!(parse("2024-02-29T13:34:56.12+01:00"), Some(1_709_210_096_120_000_000));
        assert_eq!(parse("2024-02-29T12:34:56.1234567899Z"), Some(1_709_210_096_123_456_789));
        for bad in [
            "",
            "2024-02-29",
            "2024-02-29T12:34:56",
            "2024-02-29T12:34:56.5",
            "2024-0x-29T12:34:56Z",
            "2024-02-29T12:34:5éZ",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
