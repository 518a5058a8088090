//! The options of a log driver, read the way Docker reads them: what is wrong is said in Go's words.

use std::collections::BTreeMap;
use std::time::Duration;

pub(super) use size::Units;

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

/// What is too large is 0, where Go has a number below zero: neither is a size.
pub(super) fn size(text: &str, units: Units) -> Read<u64> {
    let size = size::parse(text, units).map_err(|error| error.to_string())?;
    Ok(u64::try_from(size).unwrap_or(0))
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_large_is_no_size() {
        assert_eq!(size("10m", Units::Decimal), Ok(10_000_000));
        assert_eq!(size("99999999999999999999", Units::Decimal), Ok(0));
        assert_eq!(size("-1", Units::Decimal), Err("invalid size: '-1'".into()));
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
