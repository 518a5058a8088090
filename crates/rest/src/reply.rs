//! What a handler answers, and how it becomes a response: one place for headers, one for errors.

use std::borrow::Cow;

use api::error::ErrorBody;
use api::version::HEADERS;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;

use crate::body::Body;

pub(crate) type Answer = Result<Reply, Failure>;

/// A handler's answer.
pub(crate) enum Reply {
    Response {
        status: u16,
        content_type: Option<&'static str>,
        headers: Vec<(&'static str, String)>,
        body: Body,
    },
    /// Without the headers of every response: what Docker writes by hand.
    Bare(Response<Body>),
    /// The socket belongs to somebody else now; there is nothing left to say here.
    Taken,
}

/// An error on its way to a client.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) status: u16,
    pub(crate) message: Cow<'static, str>,
}

pub(crate) const JSON: &str = "application/json";

impl Reply {
    /// 200 and one JSON document.
    pub(crate) fn json<T: Serialize>(value: &T) -> Answer {
        Reply::json_with(200, value)
    }

    pub(crate) fn json_with<T: Serialize>(status: u16, value: &T) -> Answer {
        let bytes = api::json::to_vec(value)
            .map_err(|error| Failure::system(format!("cannot encode the answer: {error}")))?;
        Ok(Reply::Response {
            status,
            content_type: Some(JSON),
            headers: Vec::new(),
            body: Body::whole(bytes),
        })
    }

    pub(crate) fn empty(status: u16) -> Reply {
        Reply::Response { status, content_type: None, headers: Vec::new(), body: Body::empty() }
    }

    pub(crate) fn text(status: u16, text: impl Into<String>) -> Reply {
        let body = Body::whole(text.into());
        Reply::Response { status, content_type: Some("text/plain; charset=utf-8"), headers: Vec::new(), body }
    }

    pub(crate) fn stream(content_type: &'static str, body: Body) -> Reply {
        Reply::Response { status: 200, content_type: Some(content_type), headers: Vec::new(), body }
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Reply {
        if let Reply::Response { headers, .. } = &mut self {
            headers.push((name, value.into()));
        }
        self
    }
}

impl Failure {
    pub(crate) fn new(status: u16, message: impl Into<Cow<'static, str>>) -> Failure {
        Failure { status, message: message.into() }
    }

    pub(crate) fn invalid(message: impl Into<Cow<'static, str>>) -> Failure {
        Failure::new(400, message)
    }

    pub(crate) fn system(message: impl Into<Cow<'static, str>>) -> Failure {
        Failure::new(500, message)
    }

    pub(crate) fn not_implemented(message: impl Into<Cow<'static, str>>) -> Failure {
        Failure::new(501, message)
    }
}

impl From<engine::Error> for Failure {
    fn from(error: engine::Error) -> Failure {
        Failure { status: error.kind().status(), message: error.to_string().into() }
    }
}

impl From<api::filters::InvalidFilter> for Failure {
    fn from(error: api::filters::InvalidFilter) -> Failure {
        Failure::invalid(error.to_string())
    }
}

/// Docker's standard headers, then the answer's own.
pub(crate) fn respond(answer: Answer) -> Option<Response<Body>> {
    let (status, content_type, headers, body) = match answer {
        Ok(Reply::Response { status, content_type, headers, body }) => (status, content_type, headers, body),
        Ok(Reply::Bare(response)) => return Some(response),
        Ok(Reply::Taken) => return None,
        // "Not modified" has no body.
        Err(failure) if failure.status == 304 => (304, None, Vec::new(), Body::empty()),
        Err(failure) => {
            if failure.status >= 500 {
                tracing::warn!(status = failure.status, error = %failure.message, "a request failed");
            }
            (failure.status, Some(JSON), Vec::new(), error_body(&failure.message))
        }
    };
    let mut response = plain(status, content_type, body);
    let standard = HEADERS.iter().map(|(name, value)| (*name, Cow::Borrowed(*value)));
    for (name, value) in standard.chain(headers.into_iter().map(|(name, value)| (name, Cow::Owned(value)))) {
        let name = HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(&value)) {
            response.headers_mut().insert(name, value);
        }
    }
    Some(response)
}

/// As Docker answers what reaches no handler: without its standard headers.
pub(crate) fn page_not_found() -> Response<Body> {
    plain(404, Some(JSON), error_body("page not found"))
}

pub(crate) fn error_body(message: &str) -> Body {
    // A string in a struct: this cannot fail.
    Body::whole(api::json::to_vec(&ErrorBody { message: message.to_owned() }).unwrap_or_default())
}

pub(crate) fn plain(status: u16, content_type: Option<&'static str>, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if let Some(content_type) = content_type {
        response.headers_mut().insert(hyper::header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    response
}
