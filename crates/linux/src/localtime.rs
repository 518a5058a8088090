//! The host's time zone.

/// How many seconds the host's clock on the wall is ahead of UTC at that moment (localtime_r(3)).
pub fn offset_at(unix_seconds: i64) -> i64 {
    // SAFETY: all-zero is a valid tm; localtime_r reads one number and writes one tm.
    unsafe {
        let mut broken_down: libc::tm = std::mem::zeroed();
        let known = libc::localtime_r(&raw const unix_seconds, &raw mut broken_down);
        // A year that does not fit is the only failure.
        if known.is_null() { 0 } else { broken_down.tm_gmtoff }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_zone_is_further_than_a_day_from_utc() {
        assert!(super::offset_at(1_700_000_000).abs() < 86_400);
        assert_eq!(super::offset_at(i64::MAX), 0);
    }
}
