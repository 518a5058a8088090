//! The nouns of the Open Container Initiative: digests, references, platforms, image documents and the runtime
//! configuration.
//!
//! Everything here is a value: parsed at the border from foreign text, checked once, afterwards its own proof.
//! This crate opens no file and no socket and reads no clock.

pub mod digest;
pub mod image;
pub mod platform;
pub mod reference;
pub mod runtime;

use serde::{Deserialize, Deserializer};

/// Reads `null` as the default value. The tools that write these documents are mostly written in Go, where an
/// empty list or map is encoded as `null` as often as not.
pub(crate) fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// For `skip_serializing_if`.
pub(crate) fn is_false(value: &bool) -> bool {
    !value
}
