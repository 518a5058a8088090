//! Amounts of bytes as go-units reads them: `512m`, `1.5 GiB`, `64kB`. Errors are in its words, by which scripts know them.

/// What the letters multiply by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Units {
    /// `10m` is ten million: files of logs.
    Decimal,
    /// `10m` is ten times 2^20: memory.
    Binary,
}

/// Why a text is no amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is no number, or one below zero.
    #[error("invalid size: '{0}'")]
    Size(String),
    /// What follows the number is no unit.
    #[error("invalid suffix: '{0}'")]
    Suffix(String),
    #[error("strconv.ParseFloat: parsing {0:?}: invalid syntax")]
    Syntax(String),
    #[error("strconv.ParseFloat: parsing {0:?}: value out of range")]
    Range(String),
}

/// A number, not always a whole one; at most one space; a letter of `kmgtp`; `b` or `ib`.
///
/// An amount that no `i64` holds is [`i64::MIN`], as Go has it on x86-64: who takes it refuses it like any other that is
/// below zero.
pub fn parse(text: &str, units: Units) -> Result<i64, Error> {
    // `1e9` is a number, too.
    let last = text.rfind(|letter: char| letter.is_ascii_digit() || matches!(letter, '.' | ' '));
    let (number, suffix) = text.split_at(last.ok_or_else(|| Error::Size(text.to_owned()))? + 1);
    let number = number.strip_suffix(' ').unwrap_or(number);
    let value: f64 = number.parse().map_err(|_| Error::Syntax(number.to_owned()))?;
    if value.is_infinite() {
        return Err(Error::Range(number.to_owned()));
    }
    if value < 0.0 {
        return Err(Error::Size(text.to_owned()));
    }
    let bytes = value * factor(suffix, units)?;
    Ok(if bytes < i64::MAX as f64 { bytes as i64 } else { i64::MIN })
}

fn factor(suffix: &str, units: Units) -> Result<f64, Error> {
    if suffix.len() > 3 {
        return Err(Error::Suffix(suffix.to_owned()));
    }
    let suffix = suffix.to_ascii_lowercase();
    let base = match units {
        Units::Decimal => 1000f64,
        Units::Binary => 1024f64,
    };
    let mut letters = suffix.chars();
    match (letters.next(), letters.as_str()) {
        (None | Some('b'), "") => Ok(1.0),
        (Some(letter), "" | "b" | "ib") => {
            "kmgtp".find(letter).map(|power| base.powi(power as i32 + 1)).ok_or(Error::Suffix(suffix))
        }
        _ => Err(Error::Suffix(suffix)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binary(text: &str) -> Result<i64, String> {
        parse(text, Units::Binary).map_err(|error| error.to_string())
    }

    #[test]
    fn numbers_have_units() {
        for (text, bytes) in [
            ("0", 0),
            ("64", 64),
            ("64b", 64),
            ("1k", 1024),
            (".5k", 512),
            ("1.b", 1),
            ("1.5g", 3 << 29),
            ("2MB", 2 << 20),
            ("2 GiB", 2 << 30),
            ("5 m", 5 << 20),
            ("2P", 2 << 50),
            ("1e3", 1000),
            ("1e3k", 1_024_000),
        ] {
            assert_eq!(binary(text), Ok(bytes), "{text}");
        }
        assert_eq!(parse("10m", Units::Decimal), Ok(10_000_000));
        assert_eq!(parse("1.5 KiB", Units::Decimal), Ok(1500));
    }

    #[test]
    fn what_is_too_large_is_below_zero() {
        for text in ["9223372036854775807", "99999999999999999999", "8192p"] {
            assert_eq!(binary(text), Ok(i64::MIN), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_in_the_words_of_go_units() {
        for (text, told) in [
            ("", "invalid size: ''"),
            ("foo", "invalid size: 'foo'"),
            ("-1", "invalid size: '-1'"),
            ("1x", "invalid suffix: 'x'"),
            ("1bb", "invalid suffix: 'bb'"),
            ("1mm", "invalid suffix: 'mm'"),
            ("1MBIT", "invalid suffix: 'MBIT'"),
            ("1.2.3m", "strconv.ParseFloat: parsing \"1.2.3\": invalid syntax"),
            ("1  m", "strconv.ParseFloat: parsing \"1 \": invalid syntax"),
            ("1e999", "strconv.ParseFloat: parsing \"1e999\": value out of range"),
        ] {
            assert_eq!(binary(text), Err(told.into()), "{text}");
        }
    }
}
