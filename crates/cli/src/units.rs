//! Sizes, durations and times, as people read and type them.

use moment::point::Point;
use size::Units;

/// A number of bytes in decimal units, for images and files: `1.23MB`.
pub(crate) fn decimal_size(bytes: f64) -> String {
    scaled(bytes, 1000.0, &["B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"], 3)
}

/// The same with four significant digits, for progress and reclaimed space.
pub(crate) fn decimal_size_long(bytes: f64) -> String {
    scaled(bytes, 1000.0, &["B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"], 4)
}

/// A number of bytes in binary units, for memory: `1.5GiB`.
pub(crate) fn binary_size(bytes: f64) -> String {
    scaled(bytes, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"], 4)
}

fn scaled(mut number: f64, base: f64, units: &[&str], digits: usize) -> String {
    let mut unit = 0;
    while number >= base && unit + 1 < units.len() {
        number /= base;
        unit += 1;
    }
    format!("{}{}", significant(number, digits), units[unit])
}

/// C's `%.Ng`: so many significant digits, without zeros at the end.
fn significant(number: f64, digits: usize) -> String {
    if number == 0.0 {
        return "0".to_owned();
    }
    let scientific = format!("{:.*e}", digits - 1, number);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trim = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    if exponent < -4 || exponent >= i32::try_from(digits).unwrap_or(i32::MAX) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", trim(mantissa), exponent.abs());
    }
    let decimals = usize::try_from(i32::try_from(digits).unwrap_or(0) - 1 - exponent).unwrap_or(0);
    trim(&format!("{number:.decimals$}"))
}

/// A length of time in one rounded unit: `About a minute`, `3 weeks`.
pub(crate) fn human_duration(seconds: i64) -> String {
    let (minute, hour, day, week) = (60, 3600, 86_400, 604_800);
    // Hours are rounded, everything longer is cut, so that the text only ever grows.
    let hours = (seconds + hour / 2) / hour;
    match seconds {
        ..1 => "Less than a second".to_owned(),
        1 => "1 second".to_owned(),
        2..60 => format!("{seconds} seconds"),
        60..120 => "About a minute".to_owned(),
        _ if seconds < hour => format!("{} minutes", seconds / minute),
        _ if hours == 1 => "About an hour".to_owned(),
        _ if hours < 48 => format!("{hours} hours"),
        _ if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        _ if hours < 24 * 30 * 2 => format!("{} weeks", seconds / week),
        _ if hours < 24 * 365 * 2 => format!("{} months", seconds / day / 30),
        _ => format!("{} years", seconds / day / 365),
    }
}

/// How long ago a time in Unix seconds was.
pub(crate) fn ago(unix: i64) -> String {
    let now = jiff::Timestamp::now().as_second();
    format!("{} ago", human_duration(now - unix))
}

/// Go's default form of a local time: `2006-01-02 15:04:05 -0700 MST`.
pub(crate) fn local_time(unix: i64) -> String {
    let Ok(timestamp) = jiff::Timestamp::from_second(unix) else { return String::new() };
    timestamp.to_zoned(crate::zone::local()).strftime("%Y-%m-%d %H:%M:%S %z %Z").to_string()
}

/// A time as the engine writes it, in Unix seconds.
pub(crate) fn parse_time(text: &str) -> Option<i64> {
    text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_second)
}

/// Bytes with a binary suffix: `512m`, `1.5g`, `64kb`, `1 GiB`.
pub(crate) fn parse_bytes(text: &str) -> Result<i64, String> {
    size::parse(text, Units::Binary).map_err(|error| error.to_string())
}

/// The same where -1 means without limit.
pub(crate) fn parse_bytes_or_unlimited(text: &str) -> Result<i64, String> {
    if text == "-1" { Ok(-1) } else { parse_bytes(text) }
}

/// A point in time as `--since` and `--until` take it, in the form the engine takes: Unix seconds
/// with nanoseconds. Durations count back from now; times without a zone are local, by today's clock.
pub(crate) fn parse_moment(text: &str) -> Result<String, String> {
    let now = jiff::Timestamp::now();
    let zone = crate::zone::local().to_offset(now).seconds();
    let nanoseconds = i64::try_from(now.as_nanosecond()).unwrap_or(i64::MAX);
    match moment::point::parse(text, nanoseconds, i64::from(zone))? {
        Point::Unix(_) => Ok(text.to_owned()),
        Point::Moment(at) => {
            Ok(format!("{}.{:09}", at.div_euclid(1_000_000_000), at.rem_euclid(1_000_000_000)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_shown_with_few_digits() {
        assert_eq!(decimal_size(0.0), "0B");
        assert_eq!(decimal_size(1000.0), "1kB");
        assert_eq!(decimal_size(4_423_680.0), "4.42MB");
        assert_eq!(decimal_size(187_654_321.0), "188MB");
        assert_eq!(decimal_size_long(187_654_321.0), "187.7MB");
        assert_eq!(decimal_size_long(1_234.0), "1.234kB");
        assert_eq!(binary_size(1024.0 * 1024.0 * 1.5), "1.5MiB");
        assert_eq!(binary_size(15_773_196_288.0), "14.69GiB");
        assert_eq!(decimal_size(999_999.0), "1e+03kB");
    }

    #[test]
    fn minus_one_is_an_amount_where_it_means_all() {
        assert_eq!((parse_bytes_or_unlimited("-1"), parse_bytes_or_unlimited("1k")), (Ok(-1), Ok(1024)));
        assert_eq!(parse_bytes("-1").unwrap_err(), "invalid size: '-1'");
    }

    #[test]
    fn durations_are_told_in_one_unit() {
        let told = [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (119, "About a minute"),
            (120, "2 minutes"),
            (3600, "About an hour"),
            (5400, "2 hours"),
            (47 * 3600, "47 hours"),
            (48 * 3600, "2 days"),
            (13 * 86_400, "13 days"),
            (14 * 86_400, "2 weeks"),
            (60 * 86_400, "2 months"),
            (729 * 86_400, "24 months"),
            (730 * 86_400, "2 years"),
        ];
        for (seconds, text) in told {
            assert_eq!(human_duration(seconds), text, "{seconds}");
        }
    }

    #[test]
    fn moments_are_told_in_seconds() {
        assert_eq!(parse_moment("1136073845").unwrap(), "1136073845");
        assert_eq!(parse_moment("1136073845.0000000001").unwrap(), "1136073845.0000000001");
        assert_eq!(parse_moment("2006-01-02T15:04:05.5Z").unwrap(), "1136214245.500000000");
        assert!(parse_moment("2006-01-02").is_ok() && parse_moment("5s").is_ok());
        assert!(parse_moment("yesterday").unwrap_err().contains("\"yesterday\""));
    }
}
