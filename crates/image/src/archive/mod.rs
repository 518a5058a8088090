//! Tar archives: read with suspicion, extracted inside a root handle, written the way Docker writes them.
//!
//! ```text
//!  bytes ──▶ reader (headers, PAX, GNU, sparse; bounded) ──▶ Entry ──▶ extract (one tree, never outside it)
//!  tree  ──▶ walk (handles only)                          ──▶ Entry ──▶ writer (PAX where ustar is too small)
//! ```
//!
//! Layers, `cp`, `import`, `load` and the root of an export all pass through here, so what an archive may do is decided in one place.

mod attributes;
mod entry;
mod extract;
mod pax;
mod reader;
mod sparse;
mod walk;
mod writer;

pub use attributes::copy_attributes;
pub use entry::{Content, Entry, Segment};
pub use extract::{Extract, Extracted, Ownership, Replace, extract_into};
pub(crate) use extract::{OPAQUE_XATTR, clean};
pub use reader::{Limits, Reader};
pub(crate) use walk::archive_layer;
pub use walk::{archive_path, archive_tree};
pub use writer::Writer;
