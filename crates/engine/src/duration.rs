//! Durations as people write them in options, filters and labels: `1h30m`, `1.5s`. What is wrong is said in Go's words,
//! which people search for.

use std::time::Duration;

/// Go's `time.ParseDuration`, without a sign.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let invalid = || format!("time: invalid duration {text:?}");
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text;
    let mut nanos = 0f64;
    while !rest.is_empty() {
        let digits =
            rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(rest.len());
        let number: f64 = rest[..digits].parse().map_err(|_| invalid())?;
        rest = &rest[digits..];
        let letters =
            rest.find(|letter: char| letter.is_ascii_digit() || letter == '.').unwrap_or(rest.len());
        let unit = match &rest[..letters] {
            "" => return Err(format!("time: missing unit in duration {text:?}")),
            "ns" => 1.0,
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            other => return Err(format!("time: unknown unit {other:?} in duration {text:?}")),
        };
        nanos += number * unit;
        rest = &rest[letters..];
    }
    match text.is_empty() || nanos > i64::MAX as f64 {
        true => Err(invalid()),
        false => Ok(Duration::from_nanos(nanos as u64)),
    }
}

/// The same in nanoseconds, where the caller has words of its own for what cannot be read.
pub(crate) fn nanoseconds(text: &str) -> Option<i64> {
    i64::try_from(parse(text).ok()?.as_nanos()).ok()
}

#[cfg(test)]
mod tests {
    use shim::health::go_duration;

    use super::*;

    #[test]
    fn they_are_read_as_go_reads_them() {
        assert_eq!(parse("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse("0"), Ok(Duration::ZERO));
        assert_eq!(parse(""), Err("time: invalid duration \"\"".into()));
        assert_eq!(parse("zz"), Err("time: invalid duration \"zz\"".into()));
        assert_eq!(parse("5"), Err("time: missing unit in duration \"5\"".into()));
        assert_eq!(parse("5q"), Err("time: unknown unit \"q\" in duration \"5q\"".into()));
        assert_eq!(nanoseconds("1.5s"), Some(1_500_000_000));
        assert_eq!(nanoseconds("10"), None);
    }

    #[test]
    fn what_is_read_is_printed_the_same() {
        for text in ["1ms", "1.5s", "1m30s", "2h0m1s", "250µs"] {
            assert_eq!(go_duration(parse(text).unwrap()), text);
        }
    }
}
