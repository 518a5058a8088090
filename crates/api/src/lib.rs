//! The nouns of the Docker Engine API: request and response bodies, versions, error kinds, frames.
//!
//! Both ends of the socket use these types, so a field has one name and one shape. The model is the
//! newest API version; what older clients must see differently is derived from it by the server.
//! Three rules hold in every file:
//!
//! - *Serialisation is Docker's, to the byte*: `null`, `[]`, `""` and absent mean different things
//!   to clients, so a Go `nil` slice or map that Docker prints as `null` is an `Option` here, and a
//!   member that Docker leaves out carries `skip_serializing_if`. Members keep Docker's order.
//! - *Deserialisation is lenient like Go's*: read bodies through [`json`], which lets `null` stand
//!   for "not said" and compares member names without case.
//! - *Words stay strings* where the engine must refuse an unknown word in Docker's sentence
//!   (network modes, restart policies, mount types); deciding what they mean is the engine's job.
//!
//! This crate opens no file, no socket and asks no clock.

pub mod auth;
pub mod container;
pub mod error;
pub mod event;
pub mod exec;
pub mod filters;
pub mod image;
pub mod json;
pub mod network;
pub mod number;
pub mod progress;
pub mod stream;
pub mod system;
pub mod version;
pub mod volume;

/// Serde predicates for `omitempty`, in Go's sense of empty.
pub(crate) mod omit {
    pub(crate) fn zero<T: Default + PartialEq>(value: &T) -> bool {
        *value == T::default()
    }
}
