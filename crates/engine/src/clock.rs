//! Times as the API writes them: RFC 3339 in UTC with nanoseconds, trailing zeroes dropped as Go does; and Go's
//! zero time, which stands for "never".

use jiff::Timestamp;

/// What `StartedAt` and `FinishedAt` say when there was no such moment.
pub(crate) const NEVER: &str = "0001-01-01T00:00:00Z";

/// The wall clock now, as [`format`] writes it.
pub(crate) fn now() -> String {
    format(Timestamp::from_nanosecond(linux::ambient::wall_clock().into()).unwrap_or(Timestamp::UNIX_EPOCH))
}

/// Go's `RFC3339Nano`: up to nine digits, none when they are all zero.
pub(crate) fn format(time: Timestamp) -> String {
    let whole = time.strftime("%Y-%m-%dT%H:%M:%S").to_string();
    let nanoseconds = time.subsec_nanosecond();
    if nanoseconds == 0 {
        return whole + "Z";
    }
    let digits = format!("{nanoseconds:09}");
    format!("{whole}.{}Z", digits.trim_end_matches('0'))
}

/// A time of the API; [`NEVER`] and anything unreadable are none.
pub(crate) fn parse(text: &str) -> Option<Timestamp> {
    if text.is_empty() || text.starts_with("0001-01-01") { None } else { text.parse().ok() }
}

/// Nanoseconds since the epoch, as events carry them.
pub(crate) fn nanoseconds(text: &str) -> i64 {
    parse(text).map_or(0, |time| i64::try_from(time.as_nanosecond()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_lose_their_trailing_zeroes() {
        assert_eq!(format(Timestamp::new(0, 120_000_000).unwrap()), "1970-01-01T00:00:00.12Z");
        assert_eq!(format(Timestamp::new(60, 0).unwrap()), "1970-01-01T00:01:00Z");
    }

    #[test]
    fn never_is_no_time() {
        assert!(parse(NEVER).is_none());
        assert!(parse("").is_none());
        assert_eq!(parse("1970-01-01T00:00:01Z").unwrap().as_second(), 1);
    }
}
