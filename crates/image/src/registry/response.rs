//! Answers that say no: from a status and a body to an error in Docker's words.

use std::time::Duration;

use reqwest::header::{HeaderMap, RETRY_AFTER, WWW_AUTHENTICATE};
use reqwest::{Response, StatusCode};
use serde::Deserialize;

use super::challenge::Challenge;
use super::failure::interrupted;
use super::{Error, Kind};

/// Of an error document; what is longer is no error document.
const MAX_ERROR_BODY: usize = 64 << 10;
/// How much of a strange body is shown.
const SHOWN: usize = 512;
/// A registry that asks for more patience than this is told to the user instead.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);

#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    errors: Vec<Entry>,
    /// Some servers have only this.
    #[serde(default)]
    details: Option<String>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: Option<String>,
}

/// Reads a refusal.
pub(super) async fn refusal(response: Response, stall: Duration) -> Error {
    let status = response.status();
    let retry_after = retry_after(response.headers());
    let challenged = challenge_error(response.headers());
    if status.is_server_error() {
        let message = format!("received unexpected HTTP status: {}", status_line(status));
        return Error::new(Kind::Unavailable, message).with_retry_after(retry_after);
    }
    let body = match read_limited(response, MAX_ERROR_BODY, stall).await {
        Ok(body) => body,
        Err(error) if challenged.is_none() => return error,
        Err(_) => Vec::new(),
    };
    challenged.unwrap_or_else(|| from_body(status, &body)).with_retry_after(retry_after)
}

/// `insufficient_scope` and its kind, which tokens servers put into the challenge.
fn challenge_error(headers: &HeaderMap) -> Option<Error> {
    for header in headers.get_all(WWW_AUTHENTICATE) {
        for challenge in Challenge::parse(header.to_str().unwrap_or_default()) {
            let code = match challenge.parameter("error") {
                Some("invalid_token") => "UNAUTHORIZED",
                Some("insufficient_scope") => "DENIED",
                _ => continue,
            };
            return Some(coded(code, challenge.parameter("error_description")));
        }
    }
    None
}

fn from_body(status: StatusCode, body: &[u8]) -> Error {
    if body.is_empty() {
        return from_status(status);
    }
    let document: Document = match serde_json::from_slice(body) {
        Ok(document) => document,
        Err(_) if status == StatusCode::UNAUTHORIZED => return coded("UNAUTHORIZED", None),
        Err(_) if status == StatusCode::TOO_MANY_REQUESTS => return coded("TOOMANYREQUESTS", None),
        Err(error) => return unexpected(status, body, &error.to_string()),
    };
    if let Some(details) = document.details.filter(|_| document.errors.is_empty()) {
        match status {
            StatusCode::UNAUTHORIZED => return coded("UNAUTHORIZED", Some(&details)),
            StatusCode::TOO_MANY_REQUESTS => return coded("TOOMANYREQUESTS", Some(&details)),
            _ => {}
        }
    }
    match document.errors.first() {
        None if status == StatusCode::UNAUTHORIZED => coded("UNAUTHORIZED", None),
        None => unexpected(status, body, "no error details found in HTTP response body"),
        Some(entry) => {
            let error = coded(&entry.code, entry.message.as_deref());
            // The status of an unknown code says more than the code.
            match (error.kind(), status) {
                (Kind::Other, StatusCode::NOT_FOUND) => Error::new(Kind::NotFound, error.to_string()),
                (Kind::Other, StatusCode::TOO_MANY_REQUESTS) => {
                    Error::new(Kind::TooManyRequests, error.to_string())
                }
                _ => error,
            }
        }
    }
}

fn from_status(status: StatusCode) -> Error {
    match status {
        StatusCode::UNAUTHORIZED => coded("UNAUTHORIZED", None),
        StatusCode::FORBIDDEN => coded("DENIED", None),
        StatusCode::TOO_MANY_REQUESTS => coded("TOOMANYREQUESTS", None),
        StatusCode::NOT_FOUND => {
            Error::new(Kind::NotFound, format!("unexpected status: {}", status_line(status)))
        }
        _ => Error::new(Kind::Protocol, format!("received unexpected HTTP status: {}", status_line(status))),
    }
}

/// An entry of an error document: `manifest unknown: manifest unknown`.
fn coded(code: &str, message: Option<&str>) -> Error {
    let (kind, usual) = match code {
        "MANIFEST_UNKNOWN" => (Kind::NotFound, "manifest unknown"),
        "NAME_UNKNOWN" => (Kind::NotFound, "repository name not known to registry"),
        "BLOB_UNKNOWN" => (Kind::NotFound, "blob unknown to registry"),
        "MANIFEST_BLOB_UNKNOWN" => (Kind::NotFound, "blob unknown to registry"),
        "DENIED" => (Kind::Denied, "requested access to the resource is denied"),
        "UNAUTHORIZED" => (Kind::Unauthorized, "authentication required"),
        "TOOMANYREQUESTS" => (Kind::TooManyRequests, "too many requests"),
        "UNSUPPORTED" => (Kind::Unsupported, "The operation is unsupported."),
        "UNAVAILABLE" => (Kind::Unavailable, "service unavailable"),
        _ => (Kind::Other, "unknown error"),
    };
    let message = message.filter(|message| !message.is_empty()).unwrap_or(usual);
    let name =
        if code.is_empty() { "unknown".to_owned() } else { code.to_ascii_lowercase().replace('_', " ") };
    Error::new(kind, format!("{name}: {message}"))
}

fn unexpected(status: StatusCode, body: &[u8], why: &str) -> Error {
    let kind = if status == StatusCode::NOT_FOUND { Kind::NotFound } else { Kind::Protocol };
    let message = format!("error parsing HTTP {} response body: {why}: {:?}", status.as_u16(), shown(body));
    Error::new(kind, message)
}

/// The beginning of a body, for a message.
pub(super) fn shown(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(SHOWN)]);
    if body.len() > SHOWN { format!("{text}…") } else { text.into_owned() }
}

pub(super) fn status_line(status: StatusCode) -> String {
    format!("{} {}", status.as_u16(), status.canonical_reason().unwrap_or_default()).trim_end().to_owned()
}

/// A body of at most `limit` bytes.
pub(super) async fn read_limited(
    mut response: Response,
    limit: usize,
    stall: Duration,
) -> Result<Vec<u8>, Error> {
    let mut body = Vec::new();
    while let Some(chunk) = next_chunk(&mut response, stall).await? {
        if body.len() + chunk.len() > limit {
            let message = format!("response of {} is larger than {limit} bytes", response.url().path());
            return Err(Error::new(Kind::Protocol, message));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The next piece of a body; silence for longer than `stall` is an error.
pub(super) async fn next_chunk(
    response: &mut Response,
    stall: Duration,
) -> Result<Option<bytes::Bytes>, Error> {
    match tokio::time::timeout(stall, response.chunk()).await {
        Ok(Ok(chunk)) => Ok(chunk),
        Ok(Err(error)) => Err(interrupted(&error)),
        Err(_) => {
            let message = format!("no data received for {} seconds", stall.as_secs_f32());
            Err(Error::new(Kind::Unavailable, message))
        }
    }
}

/// Seconds, or a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let then = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
            Duration::try_from(then.duration_since(jiff::Timestamp::now())).ok()?
        }
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(status: u16, body: &str) -> (Kind, String) {
        let error = from_body(StatusCode::from_u16(status).unwrap(), body.as_bytes());
        (error.kind(), error.to_string())
    }

    #[test]
    fn error_documents() {
        assert_eq!(
            read(404, r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"","detail":{"Tag":"x"}}]}"#),
            (Kind::NotFound, "manifest unknown: manifest unknown".into())
        );
        assert_eq!(
            read(429, r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}"#),
            (Kind::TooManyRequests, "toomanyrequests: slow down".into())
        );
        assert_eq!(
            read(401, r#"{"details":"incorrect username or password"}"#),
            (Kind::Unauthorized, "unauthorized: incorrect username or password".into())
        );
        assert_eq!(
            read(404, r#"{"errors":[{"code":"ODD","message":"m"}]}"#),
            (Kind::NotFound, "odd: m".into())
        );
    }

    #[test]
    fn pages_for_people() {
        let (kind, message) = read(404, "<html>gone</html>");
        assert_eq!(kind, Kind::NotFound);
        assert!(message.starts_with("error parsing HTTP 404 response body: "), "{message}");
        assert!(message.ends_with(": \"<html>gone</html>\""), "{message}");
        assert_eq!(read(401, "<html>").1, "unauthorized: authentication required");
        assert_eq!(read(403, "").1, "denied: requested access to the resource is denied");
    }

    #[test]
    fn patience_has_bounds() {
        let after = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().unwrap());
            retry_after(&headers)
        };
        assert_eq!(after("7"), Some(Duration::from_secs(7)));
        assert_eq!(after("99999999"), Some(MAX_RETRY_AFTER));
        assert_eq!(after("soon"), None);
        assert!(after("Fri, 31 Dec 1999 23:59:59 GMT").is_none_or(|wait| wait.is_zero()));
    }
}
