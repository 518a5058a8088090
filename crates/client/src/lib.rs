//! Speaks the Docker Engine API to an engine: ours, or any other.
//!
//! Synchronous on purpose: a command does one thing at a time, and a runtime would cost more than
//! the request. A second thread exists only where bytes flow both ways, and that is the caller's.
//!
//! One [`Client`] keeps one idle connection, so that a version check and the call after it share a
//! socket. The API version is negotiated by the first call that needs one.
//!
//! This crate never reads configuration, never prints, and knows no command line.

mod calls;
mod client;
mod error;
mod host;
mod http;
mod names;
mod query;
mod stream;
mod tls;

pub use calls::*;
pub use client::{Client, Hijacked, Messages, Options};
pub use error::{Error, Result};
pub use host::Host;
pub use http::Body;
pub use query::Query;
pub use stream::{Reader, Writer};
pub use tls::Certificates;
