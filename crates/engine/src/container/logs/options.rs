//! The options of a log driver, read the way Docker reads them: what is wrong is said in Go's words.

use std::collections::BTreeMap;
use std::time::Duration;

/// Free names, as they were given.
pub(super) type Options = BTreeMap<String, String>;

/// What is wrong, for people.
pub(super) type Read<T> = Result<T, String>;

/// What an option says, if it says anything.
pub(super) fn text<'a>(options: &'a Options, key: &str) -> Option<&'a str> {
    options.get(key).map(String::as_str).filter(|text| !text.is_empty())
}

/// Go's `strconv.ParseBool`.
pub(super) fn boolean(text: &str) -> Read<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(format!("strconv.ParseBool: parsing {text:?}: invalid syntax")),
    }
}

/// Go's `strconv.Atoi`.
pub(super) fn integer(text: &str) -> Read<i64> {
    api::number::parse(text, "Atoi")
}

/// Go's `strconv.ParseUint`.
pub(super) fn unsigned(text: &str) -> Read<u64> {
    api::number::parse(text, "ParseUint")
}

/// What a size's unit multiplies by.
#[derive(Debug, Clone, Copy)]
pub(super) enum Units {
    /// `10m` is ten million: log files.
    Decimal,
    /// `10m` is ten times 2^20: memory.
    Binary,
}

/// A size of go-units: a number, a unit, `b` or `ib`.
pub(super) fn size(text: &str, units: Units) -> Read<u64> {
    let end = text.rfind(|letter: char| letter.is_ascii_digit() || matches!(letter, '.' | ' '));
    let Some(end) = end else { return Err(format!("invalid size: '{text}'")) };
    let number = &text[..end + usize::from(!text[end..].starts_with(' '))];
    let suffix = text[end + 1..].to_ascii_lowercase();
    let syntax = || format!("strconv.ParseFloat: parsing {number:?}: invalid syntax");
    let number: f64 = number.parse().map_err(|_| syntax())?;
    if number < 0.0 {
        return Err(format!("invalid size: '{text}'"));
    }
    let (unit, rest) = match suffix.chars().next() {
        None | Some('b') => (0, suffix.strip_prefix('b').unwrap_or_default()),
        Some(letter) => {
            let power = "kmgtp".find(letter).ok_or_else(|| format!("invalid suffix: '{suffix}'"))? + 1;
            let rest = &suffix[1..];
            (power as i32, rest.strip_suffix("ib").or(rest.strip_suffix('b')).unwrap_or(rest))
        }
    };
    if !rest.is_empty() {
        return Err(format!("invalid suffix: '{suffix}'"));
    }
    let base = match units {
        Units::Decimal => 1000f64,
        Units::Binary => 1024f64,
    };
    let size = number * base.powi(unit);
    // What Go makes of a number that is too large is a negative one.
    Ok(if size < i64::MAX as f64 { size as u64 } else { 0 })
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_go_units() {
        assert_eq!(size("10m", Units::Decimal), Ok(10_000_000));
        assert_eq!(size("10MiB", Units::Binary), Ok(10 << 20));
        assert_eq!(size("1.5 kB", Units::Binary), Ok(1536));
        assert_eq!(size("7", Units::Decimal), Ok(7));
        assert_eq!(size("7b", Units::Decimal), Ok(7));
        assert_eq!(size("99999999999999999999", Units::Decimal), Ok(0));
        assert_eq!(size("zz", Units::Decimal), Err("invalid size: 'zz'".into()));
        assert_eq!(size("-1", Units::Decimal), Err("invalid size: '-1'".into()));
        assert_eq!(size("1x", Units::Decimal), Err("invalid suffix: 'x'".into()));
        assert_eq!(size("1mm", Units::Decimal), Err("invalid suffix: 'mm'".into()));
        assert!(size("1.2.3m", Units::Decimal).unwrap_err().contains("ParseFloat"));
    }

    #[test]
    fn numbers_and_switches_say_what_go_says() {
        assert_eq!(integer("x"), Err("strconv.Atoi: parsing \"x\": invalid syntax".into()));
        let large = "99999999999999999999";
        assert_eq!(unsigned(large), Err(format!("strconv.ParseUint: parsing {large:?}: value out of range")));
        assert_eq!((boolean("T"), boolean("0")), (Ok(true), Ok(false)));
        assert!(boolean("yes").is_err());
    }
}
