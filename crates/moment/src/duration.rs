//! Go's `time.ParseDuration` and `Duration.String`: `1h30m`, `1.5s`, `-20ms`. What is wrong is said in Go's words, which
//! people search for.

/// Nanoseconds.
pub fn parse(text: &str) -> Result<i64, String> {
    let invalid = || format!("time: invalid duration {text:?}");
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total = 0_i64;
    while !rest.is_empty() {
        let in_number = |letter: char| letter.is_ascii_digit() || letter == '.';
        let (number, behind) = rest.split_at(rest.find(|letter| !in_number(letter)).unwrap_or(rest.len()));
        let (unit, behind) = behind.split_at(behind.find(in_number).unwrap_or(behind.len()));
        let number = Number::parse(number).ok_or_else(invalid)?;
        let scale = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            "" => return Err(format!("time: missing unit in duration {text:?}")),
            unit => return Err(format!("time: unknown unit {unit:?} in duration {text:?}")),
        };
        total = number.times(scale).and_then(|part| total.checked_add(part)).ok_or_else(invalid)?;
        rest = behind;
    }
    Ok(sign * total)
}

/// A decimal number, as precise as it was written.
struct Number<'a> {
    whole: &'a str,
    fraction: &'a str,
}

impl<'a> Number<'a> {
    fn parse(text: &'a str) -> Option<Number<'a>> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let found = whole.len() + fraction.len() > 0 && !fraction.contains('.');
        found.then_some(Number { whole, fraction })
    }

    fn times(&self, scale: i64) -> Option<i64> {
        let whole: i64 = if self.whole.is_empty() { 0 } else { self.whole.parse().ok()? };
        // What is behind the eighteenth digit is less than a nanosecond of any unit.
        let digits = &self.fraction[..self.fraction.len().min(18)];
        let part = digits.bytes().fold(0, |sum, digit| sum * 10 + i128::from(digit - b'0'))
            * i128::from(scale)
            / 10_i128.pow(digits.len() as u32);
        let part = i64::try_from(part).ok()?;
        whole.checked_mul(scale)?.checked_add(part)
    }
}

/// Nanoseconds, as Go shows a duration: `1m30s`, `1.5s`, `20ms`.
pub fn format(nanoseconds: i64) -> String {
    let (sign, all) = (if nanoseconds < 0 { "-" } else { "" }, nanoseconds.unsigned_abs());
    let fraction = |whole: u64, rest: u64, digits: usize| {
        let text = format!("{whole}.{rest:0digits$}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    let text = match all {
        0 => "0s".to_owned(),
        1..1_000 => format!("{all}ns"),
        1_000..1_000_000 => fraction(all / 1_000, all % 1_000, 3) + "µs",
        1_000_000..1_000_000_000 => fraction(all / 1_000_000, all % 1_000_000, 6) + "ms",
        _ => {
            let seconds = all / 1_000_000_000;
            let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
            let rest = fraction(seconds % 60, all % 1_000_000_000, 9) + "s";
            match (hours, minutes) {
                (0, 0) => rest,
                (0, minutes) => format!("{minutes}m{rest}"),
                (hours, minutes) => format!("{hours}h{minutes}m{rest}"),
            }
        }
    };
    format!("{sign}{text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    #[test]
    fn they_are_shown_like_go_shows_them() {
        let told = [
            (0, "0s"),
            (1, "1ns"),
            (1_500, "1.5µs"),
            (20_000_000, "20ms"),
            (SECOND, "1s"),
            (3 * SECOND / 2, "1.5s"),
            (30 * SECOND, "30s"),
            (90 * SECOND, "1m30s"),
            (3600 * SECOND, "1h0m0s"),
            (-3661 * SECOND, "-1h1m1s"),
        ];
        for (nanoseconds, text) in told {
            assert_eq!(format(nanoseconds), text);
            assert_eq!(parse(text), Ok(nanoseconds));
        }
    }

    #[test]
    fn they_are_read_like_go_reads_them() {
        let minute = 60 * SECOND;
        for (text, expected) in [
            ("0", 0),
            ("+5s", 5 * SECOND),
            ("1h30m", 90 * minute),
            (".5s", SECOND / 2),
            ("1.s", SECOND),
            ("0.9007199254740993h", 3_242_591_731_706),
            ("2562047h47m16.854775807s", i64::MAX),
        ] {
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_told_like_go_tells_it() {
        for text in ["", "-", "zz", ".s", "1.2.3s", "2562047h47m16.854775808s", "99999999999999999999s"] {
            assert_eq!(parse(text), Err(format!("time: invalid duration {text:?}")));
        }
        assert_eq!(parse("5"), Err("time: missing unit in duration \"5\"".into()));
        assert_eq!(parse("5q"), Err("time: unknown unit \"q\" in duration \"5q\"".into()));
    }
}
