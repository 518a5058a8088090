//! What must survive a power cut: blobs by digest, records, and the leases that protect both from collection.
//!
//! Three mechanisms, each in its module:
//!
//! - [`records`]: one SQLite database of versioned JSON records and unique names; a transaction is durable when it returns.
//! - [`blobs`]: content by digest, verified while it streams in, published atomically, resumable after a crash.
//! - [`leases`]: what work in progress still needs; collection asks here before it deletes.
//!
//! [`fault`] breaks them, and what uses them, on purpose.
//!
//! This crate never speaks to a registry, never mounts anything and does not know what an image is.

pub mod blobs;
mod error;
pub mod fault;
pub mod leases;
pub mod paths;
pub mod records;

pub use error::{Error, Kind};
