//! The query of a request, by Docker's rules for booleans and numbers.

use std::num::ParseIntError;
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
    pub(crate) fn number<T>(&self, key: &str) -> Result<Option<T>, Failure>
    where
        T: FromStr<Err = ParseIntError>,
    {
        match self.text(key) {
            "" => Ok(None),
            text => api::number::parse(text, "Atoi").map(Some).map_err(Failure::invalid),
        }
    }

    /// A point in time as `seconds[.nanoseconds]`, in nanoseconds since 1970. `None` when absent, empty or zero.
    pub(crate) fn time(&self, key: &str) -> Result<Option<i64>, Failure> {
        match self.text(key) {
            "" | "0" => Ok(None),
            text => moment::point::unix(text).map(Some).map_err(Failure::invalid),
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
        assert_eq!(Query::parse("since=1.5").time("since").unwrap(), Some(1_500_000_000));
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
