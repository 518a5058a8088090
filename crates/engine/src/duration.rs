//! Durations as people write them in options, filters and labels: `1h30m`, `1.5s`.

use std::time::Duration;

/// Go's `time.ParseDuration`, without a sign.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let invalid = || format!("time: invalid duration {text:?}");
    if text.starts_with(['+', '-']) {
        return Err(invalid());
    }
    let nanoseconds = moment::duration::parse(text)?;
    u64::try_from(nanoseconds).map(Duration::from_nanos).map_err(|_| invalid())
}

/// As Go shows it.
pub(crate) fn shown(duration: Duration) -> String {
    moment::duration::format(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none_goes_back() {
        assert_eq!(parse("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse("-5s"), Err("time: invalid duration \"-5s\"".into()));
        assert_eq!(shown(Duration::from_secs(90)), "1m30s");
    }
}
