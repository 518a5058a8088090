//! The query of a request, by Docker's rules for booleans and numbers.

use std::str::FromStr;

use crate::reply::Failure;

/// Members in the order they were given; names may repeat.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(text: &str) -> Query {
        let members = text.split('&').filter(|member| !member.is_empty()).map(|member| {
            let (name, value) = member.split_once('=').unwrap_or((member, ""));
            (decode(name, true), decode(value, true))
        });
        Query(members.collect())
    }

    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.all(key).next()
    }

    /// Empty when not given.
    pub(crate) fn text(&self, key: &str) -> &str {
        self.get(key).unwrap_or_default()
    }

    pub(crate) fn all<'a>(&'a self, key: &str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// Everything is true but a few words for no; given without a value is false.
    pub(crate) fn flag(&self, key: &str) -> bool {
        let word = self.text(key).trim().to_ascii_lowercase();
        !matches!(word.as_str(), "" | "0" | "no" | "false" | "none")
    }

    /// As [`Self::flag`], with what it is when nobody says anything.
    pub(crate) fn flag_or(&self, key: &str, default: bool) -> bool {
        match self.get(key) {
            Some(_) => self.flag(key),
            None => default,
        }
    }

    /// `None` when absent or empty.
    pub(crate) fn number<T: FromStr>(&self, key: &str) -> Result<Option<T>, Failure> {
        match self.text(key) {
            "" => Ok(None),
            text => match text.parse() {
                Ok(number) => Ok(Some(number)),
                Err(_) => Err(Failure::invalid(format!("strconv.Atoi: parsing {text:?}: invalid syntax"))),
            },
        }
    }

    /// A point in time as `seconds[.nanoseconds]`, in nanoseconds since 1970. `None` when absent, empty or zero.
    pub(crate) fn time(&self, key: &str) -> Result<Option<i64>, Failure> {
        match self.text(key) {
            "" | "0" => Ok(None),
            text => timestamp(text).map(Some).ok_or_else(|| {
                Failure::invalid(format!("strconv.ParseInt: parsing {text:?}: invalid syntax"))
            }),
        }
    }
}

/// A word for yes or no as Go reads it, which knows fewer of them than [`Query::flag`].
pub(crate) fn boolean(word: &str) -> Option<bool> {
    match word {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// `seconds[.fraction]`; a fraction has up to nine digits.
pub(crate) fn timestamp(text: &str) -> Option<i64> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = seconds.parse().ok()?;
    if fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let nanoseconds: i64 = format!("{fraction:0<9}").parse().ok()?;
    // Beyond the years that nanoseconds reach, on either side, nothing has happened.
    Some(seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds))
}

/// Undoes percent-encoding; in queries a plus is a space. What is no encoding stays as it is.
pub(crate) fn decode(text: &str, plus: bool) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, tail @ ..] = rest {
        rest = tail;
        let digit = |at: usize| tail.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        match (byte, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push((high * 16 + low) as u8);
                rest = &tail[2..];
            }
            (b'+', ..) if plus => bytes.push(b' '),
            _ => bytes.push(*byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_are_dockers() {
        let query = Query::parse("a=1&b=0&c=False&d=none&e=&f&g=maybe&h=%20no%20");
        let said: Vec<_> =
            ["a", "b", "c", "d", "e", "f", "g", "h", "i"].iter().map(|key| query.flag(key)).collect();
        assert_eq!(said, [true, false, false, false, false, false, true, false, false]);
        assert!(query.flag_or("i", true) && !query.flag_or("b", true));
    }

    #[test]
    fn members_repeat_and_are_decoded() {
        let query = Query::parse("names=a%2Fb&names=c+d&x=%zz&filters=%7B%7D");
        assert_eq!(query.all("names").collect::<Vec<_>>(), ["a/b", "c d"]);
        assert_eq!((query.text("x"), query.text("filters")), ("%zz", "{}"));
    }

    #[test]
    fn times_have_nanoseconds() {
        assert_eq!(timestamp("1.5"), Some(1_500_000_000));
        assert_eq!(timestamp("1136073845.000000001"), Some(1_136_073_845_000_000_001));
        for wrong in ["x", "1.x", "1.0000000000", "", "99999999999999999999"] {
            assert_eq!(timestamp(wrong), None, "{wrong}");
        }
        assert_eq!(timestamp("9999999999"), Some(i64::MAX));
        assert!(Query::parse("since=x").time("since").is_err());
        assert_eq!(Query::parse("since=0").time("since").unwrap(), None);
    }

    #[test]
    fn numbers_parse_or_are_refused() {
        let query = Query::parse("a=-1&b=x&c=");
        assert_eq!(query.number::<i64>("a").unwrap(), Some(-1));
        assert_eq!(
            query.number::<i64>("b").unwrap_err().message,
            "strconv.Atoi: parsing \"x\": invalid syntax"
        );
        assert_eq!(query.number::<i64>("c").unwrap(), None);
    }
}
