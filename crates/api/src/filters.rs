//! The `filters` query member: what a list is narrowed down to.
//!
//! ```text
//! {"label":{"a=b":true},"status":{"running":true}}    what clients send today
//! {"label":["a=b"],"status":["running"]}              what the first ones sent
//! ```
//!
//! Values of one key are alternatives, except labels, which must all match. One with `false` is there, but is not what
//! an exact match or a flag looks for, as in Docker. All keys come in one of the two forms. Which keys exist is the
//! business of the list; an unknown one is an error, so that nobody prunes more than was meant.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

/// A request without filters has an empty set, which matches everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filters(BTreeMap<String, BTreeMap<String, bool>>);

/// In Docker's words; the status is 400.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidFilter(String);

impl fmt::Display for InvalidFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidFilter {}

impl InvalidFilter {
    /// `invalid filter 'key=[a b]'`, with a reason when there is one to tell.
    pub fn value(key: &str, value: &str) -> Self {
        Self(format!("invalid filter '{key}={value}'"))
    }

    pub fn because(key: &str, value: &str, reason: impl fmt::Display) -> Self {
        Self(format!("invalid filter '{key}={value}': {reason}"))
    }
}

impl Filters {
    /// Reads the query member; empty text means no filters.
    pub fn parse(text: &str) -> Result<Self, InvalidFilter> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        serde_json::from_str::<Option<Self>>(text)
            .map(Option::unwrap_or_default)
            .map_err(|_| InvalidFilter("invalid filter".to_owned()))
    }

    /// As clients send it.
    pub fn to_json(&self) -> String {
        serde_json::json!(self).to_string()
    }

    pub fn add(&mut self, key: impl Into<String>, value: impl Into<String>) {
        self.0.entry(key.into()).or_default().insert(value.into(), true);
    }

    pub fn remove(&mut self, key: &str) {
        self.0.remove(key);
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn contains(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// The values of a key; none when it was not given.
    pub fn values<'a>(&'a self, key: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        self.0.get(key).into_iter().flat_map(BTreeMap::keys).map(String::as_str)
    }

    /// Refuses keys that the list does not know.
    pub fn check(&self, known: &[&str]) -> Result<(), InvalidFilter> {
        match self.0.keys().find(|key| !known.contains(&key.as_str())) {
            Some(key) if key.is_empty() => Err(InvalidFilter("invalid filter".to_owned())),
            Some(key) => Err(InvalidFilter(format!("invalid filter '{key}'"))),
            None => Ok(()),
        }
    }

    /// Whether one of the values equals `text`, or the key was not given.
    pub fn exact(&self, key: &str, text: &str) -> bool {
        self.0.get(key).is_none_or(|values| values.is_empty() || values.get(text) == Some(&true))
    }

    /// Whether one of the values begins `text`, or the key was not given.
    pub fn prefix(&self, key: &str, text: &str) -> bool {
        self.any(key, |value| text.starts_with(value))
    }

    /// Whether one of the values, read as a regular expression, occurs in `text`, or the key was not
    /// given. What is no regular expression matches only itself, as in Docker.
    pub fn pattern(&self, key: &str, text: &str) -> bool {
        self.any(key, |value| {
            value == text || regex_lite::Regex::new(value).is_ok_and(|regex| regex.is_match(text))
        })
    }

    /// Whether a test holds for one of the values, or the key was not given.
    pub fn any(&self, key: &str, mut holds: impl FnMut(&str) -> bool) -> bool {
        self.0.get(key).is_none_or(|values| values.is_empty() || values.keys().any(|value| holds(value)))
    }

    /// Whether a test holds for one of the values; where the key was given without any, it holds for none.
    pub fn one(&self, key: &str, mut holds: impl FnMut(&str) -> bool) -> bool {
        self.0.get(key).is_none_or(|values| values.keys().any(|value| holds(value)))
    }

    /// Whether *all* values, `name` or `name=value`, are among `pairs`.
    pub fn pairs(&self, key: &str, pairs: &BTreeMap<String, String>) -> bool {
        self.values(key).all(|wanted| match wanted.split_once('=') {
            Some((name, value)) => pairs.get(name).is_some_and(|have| have == value),
            None => pairs.contains_key(wanted),
        })
    }

    /// `None` when not given; anything but one clear yes or no is refused.
    pub fn flag(&self, key: &str) -> Result<Option<bool>, InvalidFilter> {
        let Some(values) = self.0.get(key) else {
            return Ok(None);
        };
        if values.is_empty() {
            return Err(InvalidFilter(format!("invalid filter '{key}'")));
        }
        let is = |words: [&str; 2]| words.iter().any(|word| values.get(*word) == Some(&true));
        match (is(["1", "true"]), is(["0", "false"])) {
            (true, false) => Ok(Some(true)),
            (false, true) => Ok(Some(false)),
            _ => {
                let values: Vec<_> = values.keys().map(String::as_str).collect();
                Err(InvalidFilter::value(key, &format!("[{}]", values.join(" "))))
            }
        }
    }
}

impl Serialize for Filters {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(&self.0)
    }
}

impl<'de> Deserialize<'de> for Filters {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        type Given<V> = BTreeMap<String, Option<V>>;
        /// What JSON leaves open is Go's zero value.
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Sets(Given<BTreeMap<String, Option<bool>>>),
            Lists(Given<Vec<Option<String>>>),
        }
        fn filled<V: Default, T>(given: Given<V>, fill: impl Fn(V) -> T) -> BTreeMap<String, T> {
            given.into_iter().map(|(key, values)| (key, fill(values.unwrap_or_default()))).collect()
        }
        let form = Form::deserialize(deserializer).map_err(D::Error::custom)?;
        Ok(Self(match form {
            Form::Sets(given) => filled(given, |set| {
                set.into_iter().map(|(value, wanted)| (value, wanted.unwrap_or_default())).collect()
            }),
            Form::Lists(given) => filled(given, |list| {
                list.into_iter().map(|value| (value.unwrap_or_default(), true)).collect()
            }),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_mean_the_same() {
        let today = Filters::parse(r#"{"label":{"a=b":true,"c":true}}"#).unwrap();
        assert_eq!(today, Filters::parse(r#"{"label":["a=b","c"]}"#).unwrap());
        assert_eq!(today, Filters::parse(&today.to_json()).unwrap());
        assert_eq!(Filters::parse("").unwrap(), Filters::default());
    }

    #[test]
    fn what_is_left_open_is_empty_and_no_is_not_looked_for() {
        assert_eq!(Filters::parse("null").unwrap(), Filters::default());
        let filters =
            Filters::parse(r#"{"status":{"exited":false,"dead":true},"name":null,"id":{"a":null}}"#).unwrap();
        assert!(filters.exact("status", "dead") && !filters.exact("status", "exited"));
        assert_eq!(filters.values("status").collect::<Vec<_>>(), ["dead", "exited"]);
        assert!(filters.contains("name") && filters.any("name", |_| false) && !filters.one("name", |_| true));
        assert!(filters.prefix("id", "ab"));
    }

    #[test]
    fn nonsense_and_unknown_keys_are_refused() {
        let mixed = r#"{"name":["a"],"id":{"b":true}}"#;
        for text in ["xx", "[]", r#"{"a":1}"#, "\"a\"", mixed] {
            assert_eq!(Filters::parse(text).unwrap_err().to_string(), "invalid filter");
        }
        let filters = Filters::parse(r#"{"foo":{"a":true}}"#).unwrap();
        assert_eq!(filters.check(&["status"]).unwrap_err().to_string(), "invalid filter 'foo'");
        assert!(filters.check(&["foo"]).is_ok());
    }

    #[test]
    fn labels_are_all_wanted_and_others_any() {
        let filters = Filters::parse(r#"{"label":["a=b","c"],"name":["^/web$","db","["]}"#).unwrap();
        let labels = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect::<BTreeMap<_, _>>()
        };
        assert!(filters.pairs("label", &labels(&[("a", "b"), ("c", ""), ("d", "e")])));
        assert!(!filters.pairs("label", &labels(&[("a", "b")])));
        assert!(!filters.pairs("label", &labels(&[("a", "x"), ("c", "")])));
        assert!(
            filters.pattern("name", "/web")
                && filters.pattern("name", "/mydb1")
                && filters.pattern("name", "[")
        );
        assert!(!filters.pattern("name", "/web2"));
        assert!(filters.exact("status", "anything"));
    }

    #[test]
    fn flags_are_clear_or_refused() {
        let flag = |text: &str| Filters::parse(text).unwrap().flag("dangling");
        assert_eq!(flag(r#"{"dangling":{"true":true}}"#), Ok(Some(true)));
        assert_eq!(flag(r#"{"dangling":["0"]}"#), Ok(Some(false)));
        assert_eq!(flag("{}"), Ok(None));
        assert_eq!(flag(r#"{"dangling":["x"]}"#).unwrap_err().to_string(), "invalid filter 'dangling=[x]'");
        assert!(
            flag(r#"{"dangling":["0","1"]}"#).is_err() && flag(r#"{"dangling":{"true":false}}"#).is_err()
        );
        assert_eq!(flag(r#"{"dangling":{"true":false,"0":true}}"#), Ok(Some(false)));
        assert_eq!(flag(r#"{"dangling":[]}"#).unwrap_err().to_string(), "invalid filter 'dangling'");
    }
}
