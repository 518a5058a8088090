//! Failed requests in words: `Get "https://host/v2/": dial tcp: lookup host: no such host`.
//!
//! The libraries beneath report a chain of errors; what people search for is the sentence that Docker prints. What
//! has none of its own is printed as the innermost cause.

use std::error::Error as StdError;
use std::io;

use reqwest::{Method, Url};

use super::{Error, Kind};

/// The beginning of every message about a request.
pub(super) fn request_line(method: &Method, url: &Url) -> String {
    let name = method.as_str();
    let mut url = url.clone();
    // Neither ever belongs into a log.
    let _ = url.set_password(None);
    let _ = url.set_username("");
    format!("{}{} \"{url}\"", &name[..1], name[1..].to_ascii_lowercase())
}

/// A request that got no answer.
pub(super) fn unanswered(method: &Method, url: &Url, error: &reqwest::Error) -> Error {
    let (kind, reason) = reason(url, error);
    Error::new(kind, format!("{}: {reason}", request_line(method, url)))
}

/// A body that ended early or broke.
pub(super) fn interrupted(error: &reqwest::Error) -> Error {
    let reason = match innermost_io(error) {
        Some(io) if io.kind() == io::ErrorKind::ConnectionReset => "connection reset by peer".to_owned(),
        Some(io) if io.kind() != io::ErrorKind::UnexpectedEof => io.to_string(),
        _ => "unexpected EOF".to_owned(),
    };
    Error::new(Kind::Unavailable, reason)
}

fn reason(url: &Url, error: &reqwest::Error) -> (Kind, String) {
    if let Some(tls) = chain(error).find_map(tls_of) {
        return tls_reason(tls);
    }
    let address = || {
        let port = url.port_or_known_default().unwrap_or_default();
        format!("{}:{port}", url.host_str().unwrap_or_default())
    };
    let resolution = chain(error).map(ToString::to_string).find(|text| text.starts_with("failed to lookup"));
    if let Some(text) = resolution {
        let why = if text.ends_with("Name or service not known")
            || text.ends_with("No address associated with hostname")
        {
            "no such host"
        } else {
            text.rsplit(": ").next().unwrap_or_default()
        };
        let host = url.host_str().unwrap_or_default();
        return (Kind::Unavailable, format!("dial tcp: lookup {host}: {why}"));
    }
    let words = match innermost_io(error).map(io::Error::kind) {
        _ if error.is_timeout() => format!("dial tcp {}: i/o timeout", address()),
        Some(io::ErrorKind::ConnectionRefused) => {
            format!("dial tcp {}: connect: connection refused", address())
        }
        Some(io::ErrorKind::NetworkUnreachable) => {
            format!("dial tcp {}: connect: network is unreachable", address())
        }
        Some(io::ErrorKind::HostUnreachable) => format!("dial tcp {}: connect: no route to host", address()),
        Some(io::ErrorKind::ConnectionReset) => "read: connection reset by peer".to_owned(),
        Some(io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe) => "EOF".to_owned(),
        _ if error.is_connect() => format!("dial tcp {}: {}", address(), innermost(error)),
        _ if innermost(error).contains("before message completed") => "EOF".to_owned(),
        _ => innermost(error),
    };
    (Kind::Unavailable, words)
}

fn tls_reason(error: &rustls::Error) -> (Kind, String) {
    let words = match error {
        rustls::Error::InvalidMessage(_) => "http: server gave HTTP response to HTTPS client".to_owned(),
        error => trust::words::of(error),
    };
    (Kind::Invalid, words)
}

fn chain<'a>(error: &'a reqwest::Error) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    // The end of a chain is an honest end: no library makes a cycle.
    std::iter::successors(error.source(), |error: &&'a (dyn StdError + 'static)| (*error).source())
}

fn innermost(error: &reqwest::Error) -> String {
    chain(error).last().map_or_else(|| error.to_string(), ToString::to_string)
}

fn innermost_io(error: &reqwest::Error) -> Option<&io::Error> {
    chain(error).filter_map(|error| error.downcast_ref::<io::Error>()).last()
}

/// TLS errors travel inside one or several `io::Error`s, whose `source()` skips what they hold.
fn tls_of<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    if let Some(tls) = error.downcast_ref::<rustls::Error>() {
        return Some(tls);
    }
    tls_of(error.downcast_ref::<io::Error>()?.get_ref()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_lines_hide_passwords() {
        let url = Url::parse("https://u:p@host/v2/?a=b").unwrap();
        assert_eq!(request_line(&Method::GET, &url), "Get \"https://host/v2/?a=b\"");
    }
}
