//! Which handler a request goes to.
//!
//! A pattern is a path with at most one `{name}`, which may match slashes: image names and container names of links
//! have them. Patterns are tried in order; the first one that fits is taken, as in Docker's own table. As there, a route
//! answers every version in range, also those from before it existed.

use api::version::{ApiVersion, NEWEST, OLDEST};
use hyper::Method;

use crate::handlers::{Handler, ROUTES};
use crate::query::decode;

/// A row of the table.
pub(crate) struct Route {
    pub(crate) method: Method,
    pub(crate) pattern: &'static str,
    pub(crate) handler: Handler,
}

/// What a path turned out to be.
pub(crate) enum Found {
    Handler {
        handler: Handler,
        name: String,
        version: ApiVersion,
    },
    /// Written unusually; the client is told the usual way to write it.
    Moved(String),
    /// Docker's sentence about the version; before 1.24 errors were plain text.
    WrongVersion {
        message: String,
        plain: bool,
    },
    Nothing,
}

pub(crate) fn find(method: &Method, path: &str) -> Found {
    let path = decode(path, false);
    let clean = clean(&path);
    if clean != path {
        return Found::Moved(clean);
    }
    let (version, said, rest) = match split_version(&path) {
        Some((version, said, rest)) => (version, Some(said), rest),
        None => (NEWEST, None, path.as_str()),
    };
    for route in ROUTES.iter().filter(|route| route.method == *method) {
        let Some(name) = matches(route.pattern, rest) else { continue };
        if let Some(said) = said
            && let Err(message) = version.check()
        {
            // The client's own spelling: "1", not "1.0".
            let message = message.replacen(&version.to_string(), said, 1);
            return Found::WrongVersion { message, plain: version < OLDEST };
        }
        return Found::Handler { handler: route.handler, name: name.to_owned(), version };
    }
    Found::Nothing
}

/// `/v1.41/containers/json` → (1.41, `1.41`, `/containers/json`).
fn split_version(path: &str) -> Option<(ApiVersion, &str, &str)> {
    let tail = path.strip_prefix("/v")?;
    let end = tail.find('/')?;
    let (said, rest) = tail.split_at(end);
    if said.is_empty() || !said.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return None;
    }
    Some((lenient_version(said), said, rest))
}

/// `1.`, `.1` and `1.24.1` are versions, too: what is not said is zero, and only the first two numbers count.
fn lenient_version(said: &str) -> ApiVersion {
    let mut numbers = said.split('.').map(|digits| match digits.parse::<u64>() {
        Ok(number) => u16::try_from(number).unwrap_or(u16::MAX),
        Err(_) => 0,
    });
    ApiVersion::new(numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// The part of `path` that stands for `{name}`; empty for patterns without one.
fn matches<'a>(pattern: &str, path: &'a str) -> Option<&'a str> {
    let Some((before, after)) = pattern.split_once("{name}") else {
        return (pattern == path).then_some("");
    };
    path.strip_prefix(before)?.strip_suffix(after)
}

/// Without doubled slashes and dot segments.
fn clean(path: &str) -> String {
    if path == "*" || !path.starts_with('/') || !(path.contains("//") || path.contains("/.")) {
        return path.to_owned();
    }
    let mut segments = Vec::new();
    for segment in path.split('/').filter(|segment| !segment.is_empty() && *segment != ".") {
        match segment {
            ".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    let slash = if path.ends_with('/') && !segments.is_empty() { "/" } else { "" };
    format!("/{}{slash}", segments.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(method: Method, path: &str) -> Option<(String, ApiVersion)> {
        match find(&method, path) {
            Found::Handler { name, version, .. } => Some((name, version)),
            _ => None,
        }
    }

    #[test]
    fn names_may_contain_slashes() {
        assert_eq!(
            name(Method::GET, "/v1.41/images/a/b:c/json"),
            Some(("a/b:c".into(), ApiVersion::new(1, 41)))
        );
        assert_eq!(name(Method::GET, "/containers/a%2Fb/json"), Some(("a/b".into(), NEWEST)));
        assert_eq!(name(Method::GET, "/containers/json"), Some((String::new(), NEWEST)));
        assert_eq!(name(Method::DELETE, "/images/reg:5000/x@sha256:00").unwrap().0, "reg:5000/x@sha256:00");
    }

    #[test]
    fn unknown_paths_and_methods_are_nothing() {
        for (method, path) in [
            (Method::GET, "/foo"),
            (Method::DELETE, "/info"),
            (Method::GET, "/vx/_ping"),
            (Method::GET, "/_ping/"),
            (Method::HEAD, "/info"),
            (Method::GET, "*"),
        ] {
            assert!(matches!(find(&method, path), Found::Nothing), "{method} {path}");
        }
    }

    #[test]
    fn unusual_paths_are_moved() {
        for (path, to) in [
            ("//v1.51//_ping", "/v1.51/_ping"),
            ("/containers//json", "/containers/json"),
            ("/v1.51/images/a/../json", "/v1.51/images/json"),
            ("/containers/%2e%2e/json", "/json"),
        ] {
            assert!(matches!(find(&Method::GET, path), Found::Moved(clean) if clean == to), "{path}");
        }
    }

    #[test]
    fn versions_out_of_range_are_refused() {
        let told = |path: &str| match find(&Method::GET, path) {
            Found::WrongVersion { message, plain } => (message, plain),
            _ => panic!("{path}"),
        };
        assert_eq!(
            told("/v1.60/info").0,
            "client version 1.60 is too new. Maximum supported API version is 1.56"
        );
        assert!(name(Method::GET, "/v1.56/info").is_some());
        let (message, plain) = told("/v1/_ping");
        assert!(message.starts_with("client version 1 is too old.") && plain);
        assert!(name(Method::GET, "/v1.24/info").is_some());
    }
}
