//! Points in time as people give them in `--since`, `--until` and in filters of that name.
//!
//! ```text
//! 10m  1h30m                        so long ago
//! 1136073845  1136073845.5          Unix time, in seconds
//! 2006-01-02  2006-01-02T15:04      in the zone of whoever reads it
//! 2006-01-02T15:04:05.9Z            RFC 3339, with or without minutes, seconds and their fraction
//! ```
//!
//! Which of these is meant follows from the characters in it, as in Docker; what is wrong is told in Go's words, where it
//! has the dashes of a date.

use super::{SECOND, date, duration};

/// What was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// Unix time, which an engine takes as it is.
    Unix(i64),
    /// Something that only whoever reads it can know.
    Moment(i64),
}

impl Point {
    pub fn nanoseconds(self) -> i64 {
        match self {
            Point::Unix(nanoseconds) | Point::Moment(nanoseconds) => nanoseconds,
        }
    }
}

/// Reads a point in time. `zone` is how many seconds its reader's clock is ahead of UTC.
pub fn parse(text: &str, now: i64, zone: i64) -> Result<Point, String> {
    if text != "0"
        && let Ok(length) = duration::parse(text)
    {
        return Ok(Point::Moment(now.saturating_sub(length)));
    }
    let (layout, local) = layout(text);
    match read(layout, text) {
        Ok(time) => Ok(Point::Moment(time.nanoseconds(if local { zone } else { 0 }))),
        Err(wrong) if text.contains('-') => Err(wrong),
        Err(_) => unix(text)
            .map(Point::Unix)
            .map_err(|_| format!("failed to parse value as time or duration: {text:?}")),
    }
}

/// Reads Unix time, `seconds[.fraction]`. Digits past the ninth are cut.
pub fn unix(text: &str) -> Result<i64, String> {
    let number = |digits: &str| {
        digits.parse::<i64>().map_err(|error| {
            use std::num::IntErrorKind::{NegOverflow, PosOverflow};
            let range = matches!(error.kind(), NegOverflow | PosOverflow);
            let why = if range { "value out of range" } else { "invalid syntax" };
            format!("strconv.ParseInt: parsing {digits:?}: {why}")
        })
    };
    let (seconds, fraction) = match text.split_once('.') {
        None => (number(text)?, 0),
        Some((seconds, digits)) => {
            let places = 9 - i32::try_from(digits.len()).unwrap_or(i32::MAX);
            (number(seconds)?, (number(digits)? as f64 * 10f64.powi(places)) as i64)
        }
    };
    // Beyond the years that nanoseconds reach, on either side, nothing has happened.
    Ok(seconds.saturating_mul(SECOND).saturating_add(fraction))
}

/// The form that a text can only have, in Go's notation, and whether it is meant in the reader's zone.
fn layout(text: &str) -> (&'static str, bool) {
    let local = !text.contains(['z', 'Z', '+']) && text.matches('-').count() != 3;
    if text.contains('.') {
        let layouts = ["2006-01-02T15:04:05.999999999Z07:00", "2006-01-02T15:04:05.999999999"];
        return (layouts[usize::from(local)], local);
    }
    if !text.contains('T') {
        return (["2006-01-02Z07:00", "2006-01-02"][usize::from(local)], local);
    }
    // The colon of an offset separates no minutes.
    let offset = !local && !text.contains(['z', 'Z']);
    let colons = text.matches(':').count().saturating_sub(usize::from(offset));
    let layouts = match colons {
        0 => ["2006-01-02T15Z07:00", "2006-01-02T15"],
        1 => ["2006-01-02T15:04Z07:00", "2006-01-02T15:04"],
        _ => ["2006-01-02T15:04:05Z07:00", "2006-01-02T15:04:05"],
    };
    (layouts[usize::from(local)], local)
}

/// What was read so far.
#[derive(Debug, Default)]
struct Time {
    year: i64,
    month: i64,
    day: i64,
    /// Of the day.
    seconds: i64,
    fraction: i64,
    /// Seconds ahead of UTC, if the text says so.
    offset: Option<i64>,
}

impl Time {
    fn nanoseconds(&self, zone: i64) -> i64 {
        let days = date::to_days(self.year, self.month, self.day);
        let seconds = days * super::DAY + self.seconds - self.offset.unwrap_or(zone);
        seconds.saturating_mul(SECOND).saturating_add(self.fraction)
    }

    fn days_of_month(&self) -> i64 {
        let next = if self.month == 12 { (self.year + 1, 1) } else { (self.year, self.month + 1) };
        date::to_days(next.0, next.1, 1) - date::to_days(self.year, self.month, 1)
    }

    /// Takes one element from the text's front. What stands there is wrong (`None`) or out of its range (its name).
    fn take<'a>(&mut self, element: &str, text: &'a str) -> Result<&'a str, Option<&'static str>> {
        let (value, rest) = match element {
            "2006" => digits(text, 4..=4).ok_or(None)?,
            "15" => digits(text, 1..=2).ok_or(None)?,
            _ => digits(text, 2..=2).ok_or(None)?,
        };
        let within = |most: i64, name| if value < most { Ok(value) } else { Err(Some(name)) };
        match element {
            "2006" => self.year = value,
            "01" if value == 0 => return Err(Some("month")),
            "01" => self.month = within(13, "month")?,
            // The day of which month is known at the end.
            "02" => self.day = value,
            "15" => self.seconds += within(24, "hour")? * 3600,
            "04" => self.seconds += within(60, "minute")? * 60,
            _ => self.seconds += within(60, "second")?,
        }
        Ok(rest)
    }

    /// Takes a fraction, if there is one.
    fn take_fraction<'a>(&mut self, text: &'a str) -> &'a str {
        let Some(behind) = text.strip_prefix(['.', ',']) else { return text };
        let end = behind.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(behind.len());
        if end == 0 {
            return text;
        }
        let nine = format!("{:0<9.9}", &behind[..end]);
        self.fraction = nine.parse().unwrap_or_default();
        &behind[end..]
    }

    /// Takes `Z` or an offset.
    fn take_zone<'a>(&mut self, text: &'a str) -> Result<&'a str, Option<&'static str>> {
        if let Some(rest) = text.strip_prefix('Z') {
            self.offset = Some(0);
            return Ok(rest);
        }
        let sign = if text.starts_with('-') { -1 } else { 1 };
        let offset = text.strip_prefix(['+', '-']).and_then(|text| {
            let (hours, rest) = digits(text, 2..=2)?;
            let (minutes, rest) = digits(rest.strip_prefix(':')?, 2..=2)?;
            Some((hours, minutes, rest))
        });
        match offset.ok_or(None)? {
            (25.., ..) => Err(Some("time zone offset hour")),
            (_, 61.., _) => Err(Some("time zone offset minute")),
            (hours, minutes, rest) => {
                self.offset = Some(sign * (hours * 3600 + minutes * 60));
                Ok(rest)
            }
        }
    }
}

/// A number of so many digits at the front of a text, and what follows it.
fn digits(text: &str, count: std::ops::RangeInclusive<usize>) -> Option<(i64, &str)> {
    let found = text.bytes().take(*count.end()).take_while(u8::is_ascii_digit).count();
    if !count.contains(&found) {
        return None;
    }
    Some((text[..found].parse().ok()?, &text[found..]))
}

/// Go's `time.Parse` for the layouts above.
fn read(layout: &str, text: &str) -> Result<Time, String> {
    const ELEMENTS: [&str; 6] = ["2006", "01", "02", "15", "04", "05"];
    let told = |reason: &str| format!("parsing time {text:?}: {reason}");
    let mut time = Time::default();
    let (mut layout_left, mut left) = (layout, text);
    while !layout_left.is_empty() {
        if let Some(rest) = layout_left.strip_prefix(".999999999") {
            (layout_left, left) = (rest, time.take_fraction(left));
            continue;
        }
        let element = ELEMENTS.into_iter().chain(["Z07:00"]).find(|one| layout_left.starts_with(one));
        // Anything else stands for itself.
        let element = element.unwrap_or(&layout_left[..1]);
        let taken = match element {
            "Z07:00" => time.take_zone(left),
            known if ELEMENTS.contains(&known) => time.take(known, left),
            itself => left.strip_prefix(itself).ok_or(None),
        };
        left = taken.map_err(|wrong| match wrong {
            Some(name) => told(&format!("{name} out of range")),
            None => format!("parsing time {text:?} as {layout:?}: cannot parse {left:?} as {element:?}"),
        })?;
        layout_left = &layout_left[element.len()..];
        if element == "05" && !layout_left.starts_with('.') {
            left = time.take_fraction(left);
        }
    }
    if !left.is_empty() {
        return Err(told(&format!("extra text: {left:?}")));
    }
    if !(1..=time.days_of_month()).contains(&time.day) {
        return Err(told("day out of range"));
    }
    Ok(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_700_000_000 * SECOND;

    fn seconds(text: &str) -> f64 {
        parse(text, NOW, 3600).unwrap().nanoseconds() as f64 / SECOND as f64
    }

    #[test]
    fn many_forms_mean_a_point_in_time() {
        for text in [
            "2006-01-02T15:04:05Z",
            "2006-01-02T15:04:05.0Z",
            "2006-01-02T17:04:05+02:00",
            "2006-01-02T13:04:05-02:00",
            "2006-01-02T16:04:05",
            "2006-01-02T16:04:05,0",
        ] {
            assert_eq!(seconds(text), 1_136_214_245.0, "{text}");
        }
        assert_eq!(seconds("2006-01-02T15:04:05.5Z"), 1_136_214_245.5);
        assert_eq!(seconds("2006-01-02T15:04Z"), 1_136_214_240.0);
        assert_eq!(seconds("2006-01-02T15Z"), 1_136_214_000.0);
        assert_eq!(seconds("2006-01-02T16"), 1_136_214_000.0);
        assert_eq!(seconds("2006-01-02Z"), 1_136_160_000.0);
        assert_eq!(seconds("2006-01-02+01:00"), 1_136_156_400.0);
        assert_eq!(seconds("2006-01-02"), 1_136_156_400.0);
        assert_eq!(seconds("1h"), 1_699_996_400.0);
        assert_eq!(seconds("-1h"), 1_700_003_600.0);
        assert_eq!(parse("0", NOW, 0), Ok(Point::Unix(0)));
        assert_eq!(parse("1136073845.000000001", NOW, 0), Ok(Point::Unix(1_136_073_845_000_000_001)));
    }

    #[test]
    fn unix_time_has_any_number_of_digits() {
        assert_eq!(unix("1.5"), Ok(1_500_000_000));
        assert_eq!(unix("1.0000000019"), Ok(1_000_000_001));
        assert_eq!(unix("9999999999"), Ok(i64::MAX));
        for (text, part, why) in [
            ("1.x", "x", "invalid syntax"),
            ("1.", "", "invalid syntax"),
            (".5", "", "invalid syntax"),
            ("99999999999999999999", "99999999999999999999", "value out of range"),
        ] {
            assert_eq!(unix(text), Err(format!("strconv.ParseInt: parsing {part:?}: {why}")), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_told_as_go_tells_it() {
        for (text, told) in [
            ("yesterday", "failed to parse value as time or duration: \"yesterday\""),
            ("5.", "failed to parse value as time or duration: \"5.\""),
            ("", "failed to parse value as time or duration: \"\""),
            ("-1", r#"parsing time "-1" as "2006-01-02": cannot parse "-1" as "2006""#),
            ("2030-1-1", r#"parsing time "2030-1-1" as "2006-01-02": cannot parse "1-1" as "01""#),
            ("2030-13-01", r#"parsing time "2030-13-01": month out of range"#),
            ("2030-02-29", r#"parsing time "2030-02-29": day out of range"#),
            ("2030-01-01T24:00", r#"parsing time "2030-01-01T24:00": hour out of range"#),
            ("2030-01-01 00:00:00", r#"parsing time "2030-01-01 00:00:00": extra text: " 00:00:00""#),
            ("2030-01-01T00:00:00.", r#"parsing time "2030-01-01T00:00:00.": extra text: ".""#),
            (
                "2030-01-01t00:00:00z",
                r#"parsing time "2030-01-01t00:00:00z" as "2006-01-02Z07:00": cannot parse "t00:00:00z" as "Z07:00""#,
            ),
            (
                "2030-01-01T00:00:00+1:00",
                r#"parsing time "2030-01-01T00:00:00+1:00" as "2006-01-02T15:04:05Z07:00": cannot parse "+1:00" as "Z07:00""#,
            ),
        ] {
            assert_eq!(parse(text, NOW, 0), Err(told.to_owned()));
        }
    }
}
