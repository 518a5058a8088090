//! One request on its way to a handler: typed access to what the client said.

use std::num::ParseIntError;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use api::auth::Auth;
use api::filters::Filters;
use api::version::ApiVersion;
use bytes::Bytes;
use engine::Engine;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::HeaderMap;
use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING, UPGRADE};
use serde::de::DeserializeOwned;

use crate::body::Upload;
use crate::query::Query;
use crate::reply::{Failure, JSON};
use crate::seat::Seat;

/// JSON bodies: a container with thousands of mounts and environment variables stays far below.
const BODY_LIMIT: usize = 4 << 20;
/// How long a JSON body may take from its first byte to its last: even the largest one comes over a slow link in time.
const BODY_PATIENCE: Duration = Duration::from_secs(60);

/// One request.
pub(crate) struct Call {
    pub(crate) engine: Engine,
    pub(crate) seat: Arc<Seat>,
    pub(crate) version: ApiVersion,
    pub(crate) protocol: hyper::Version,
    /// What the route's `{name}` matched; it may contain slashes.
    pub(crate) name: String,
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Incoming,
}

impl Call {
    /// Whether the body of an answer may come in chunks.
    pub(crate) fn knows_chunks(&self) -> bool {
        self.protocol >= hyper::Version::HTTP_11
    }

    /// Whether the client speaks a version older than `1.minor`.
    pub(crate) fn before(&self, minor: u16) -> bool {
        self.version < ApiVersion::new(1, minor)
    }

    pub(crate) fn filters(&self) -> Result<Filters, Failure> {
        Ok(Filters::parse(self.query.text("filters"))?)
    }

    /// Whether the client asks to leave HTTP behind after this request.
    pub(crate) fn upgrades(&self) -> bool {
        self.headers.contains_key(UPGRADE)
    }

    pub(crate) fn registry_auth(&self) -> Auth {
        self.headers.get(Auth::HEADER).map(|value| Auth::from_header(value.as_bytes())).unwrap_or_default()
    }

    /// Whether a body was announced.
    pub(crate) fn has_body(&self) -> bool {
        let length = self.headers.get(CONTENT_LENGTH).is_some_and(|length| length.as_bytes() != b"0");
        length || self.headers.contains_key(TRANSFER_ENCODING)
    }

    /// The JSON body; without one, and with `null`, everything is as if nothing had been said.
    pub(crate) async fn json<T: DeserializeOwned + Default>(&mut self) -> Result<T, Failure> {
        Ok(self.optional_json().await?.unwrap_or_default())
    }

    /// The JSON body, if there is one; `null` is none.
    pub(crate) async fn optional_json<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Failure> {
        let given = self
            .headers
            .get(CONTENT_TYPE)
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        let bytes = self.bytes().await?;
        if bytes.is_empty() && given.is_none() {
            return Ok(None);
        }
        let given = given.unwrap_or_default();
        let essence = given.split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case(JSON) {
            return Err(Failure::invalid(match essence {
                "" => format!("malformed Content-Type header ({given}): mime: no media type"),
                _ => format!("unsupported Content-Type header ({given}): must be 'application/json'"),
            }));
        }
        if bytes.is_empty() {
            return Ok(None);
        }
        api::json::from_slice(&bytes).map_err(|error| match error.to_string() {
            text if text.starts_with("trailing characters") => {
                Failure::invalid("unexpected content after JSON")
            }
            text if text.starts_with("EOF") => Failure::invalid("invalid JSON: unexpected EOF"),
            text => Failure::invalid(format!("invalid JSON: {text}")),
        })
    }

    /// The whole body, bounded in size and time.
    pub(crate) async fn bytes(&mut self) -> Result<Bytes, Failure> {
        let body = Limited::new(&mut self.body, BODY_LIMIT).collect();
        let Ok(body) = tokio::time::timeout(BODY_PATIENCE, body).await else {
            return Err(Failure::new(408, "the request's body did not arrive in time"));
        };
        match body {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => {
                Err(Failure::new(413, format!("the request's body is larger than {BODY_LIMIT} bytes")))
            }
            Err(error) => Err(Failure::invalid(format!("cannot read the request's body: {error}"))),
        }
    }

    /// Reads a body that says nothing here: what the client sends behind it is its stream.
    pub(crate) async fn pass_over_body(&mut self) -> Result<(), Failure> {
        if self.has_body() { self.bytes().await.map(drop) } else { Ok(()) }
    }

    /// The body as a reader for code that blocks.
    pub(crate) fn into_upload(self) -> Upload {
        Upload::new(self.body)
    }

    /// A number that must parse if it is given. Docker calls what does not a failure of its own.
    pub(crate) fn number<T>(&self, key: &str) -> Result<Option<T>, Failure>
    where
        T: FromStr<Err = ParseIntError>,
    {
        self.query.number(key).map_err(|failure| Failure { status: 500, ..failure })
    }

    /// As [`Self::number`], for a point in time.
    pub(crate) fn time(&self, key: &str) -> Result<Option<i64>, Failure> {
        self.query.time(key).map_err(|failure| Failure { status: 500, ..failure })
    }
}
