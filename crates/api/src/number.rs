//! Numbers in texts of requests: what cannot be read is told in the words of Go's `strconv`, which clients know.

use std::num::{IntErrorKind, ParseIntError};
use std::str::FromStr;

/// Reads a whole number as this function of `strconv` does (`Atoi`, `ParseInt`, `ParseUint`), and says why not.
pub fn parse<T: FromStr<Err = ParseIntError>>(text: &str, function: &str) -> Result<T, String> {
    // Nobody needs to say that a number without a sign is positive.
    let parsed = if function == "ParseUint" && text.starts_with('+') { "+".parse() } else { text.parse() };
    parsed.map_err(|error: ParseIntError| {
        let why = match error.kind() {
            IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => "value out of range",
            _ => "invalid syntax",
        };
        format!("strconv.{function}: parsing {text:?}: {why}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_and_refused_as_go_does() {
        assert_eq!((parse("-7", "Atoi"), parse::<i64>("+7", "Atoi")), (Ok(-7), Ok(7)));
        assert_eq!(parse::<i64>("x", "Atoi"), Err("strconv.Atoi: parsing \"x\": invalid syntax".into()));
        assert_eq!(
            parse::<u16>("+7", "ParseUint"),
            Err("strconv.ParseUint: parsing \"+7\": invalid syntax".into())
        );
        let large = "99999999999999999999";
        assert_eq!(
            parse::<i64>(large, "ParseInt"),
            Err(format!("strconv.ParseInt: parsing {large:?}: value out of range"))
        );
    }
}
