//! Paths and query strings.

use crate::{Error, Result};

/// The query of a request, written as it grows; empty values are left to the caller.
#[derive(Debug, Clone, Default)]
pub struct Query(String);

impl Query {
    pub fn new() -> Query {
        Query::default()
    }

    #[must_use]
    pub fn set(mut self, key: &str, value: impl AsRef<str>) -> Query {
        self.0.push(if self.0.is_empty() { '?' } else { '&' });
        self.0.push_str(key);
        self.0.push('=');
        encode(value.as_ref(), b"", &mut self.0);
        self
    }

    /// Adds the pair only when the value says something.
    #[must_use]
    pub fn set_filled(self, key: &str, value: &str) -> Query {
        if value.is_empty() { self } else { self.set(key, value) }
    }

    /// Adds `key=1` when the switch is on.
    #[must_use]
    pub fn set_if(self, key: &str, on: bool) -> Query {
        if on { self.set(key, "1") } else { self }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// A name as one part of a path. Image names keep their slashes and colons: routes expect them.
pub(crate) fn segment(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    encode(name, b"/:@", &mut text);
    text
}

/// The same of something that has no slash in its name; `kind` says what it is. Without a name a request would be about
/// all there are.
pub(crate) fn named(kind: &'static str, name: &str) -> Result<String> {
    let name = name.trim();
    match name.split('/').all(|part| matches!(part, "" | ".")) {
        true => Err(Error::Nameless(kind)),
        false => Ok(segment(name)),
    }
}

/// A path as it is asked for: without empty parts, and with `.` and `..` gone, which a name may bring. Engines would only
/// answer where to find it.
pub(crate) fn clean(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

fn encode(value: &str, keep: &[u8], into: &mut String) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) || keep.contains(&byte) {
            into.push(char::from(byte));
        } else {
            into.push_str(&format!("%{byte:02X}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_escaped() {
        let query =
            Query::new().set("name", "a b&c=ü").set_if("all", true).set_if("no", false).set_filled("e", "");
        assert_eq!(query.as_str(), "?name=a%20b%26c%3D%C3%BC&all=1");
    }

    #[test]
    fn paths_are_clean_and_names_are_there() {
        assert_eq!(clean("/v1.51/containers/../containers/./c//json"), "/v1.51/containers/c/json");
        assert_eq!(
            (clean("/v1.51/../.."), clean("/v1.51/images/")),
            ("/".to_owned(), "/v1.51/images".to_owned())
        );
        assert_eq!(named("network", " a/b ").unwrap(), "a/b");
        for nothing in [" ", "/", "./"] {
            let told = named("network", nothing).unwrap_err().to_string();
            assert_eq!(told, "invalid network name or ID: value is empty");
        }
    }

    #[test]
    fn image_names_keep_their_shape() {
        assert_eq!(segment("host:5000/a/b@sha256:00"), "host:5000/a/b@sha256:00");
        assert_eq!(segment("a?b#c"), "a%3Fb%23c");
    }
}
