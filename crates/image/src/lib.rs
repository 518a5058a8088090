//! Registry ⇄ store ⇄ root file system: everything about images but what runs from them.
//!
//! ```text
//!  registry ─pull─▶ ┐                       ┌─▶ layers/<diff id>/fs   ─┐
//!  archive ──load─▶ ├─▶ blobs + records ────┤                          ├─▶ snapshot (lowers, upper, work)
//!  root fs ─import▶ ┘        │              └─▶ config, history        ┘        │ changes, commit
//!                            └─save, push─▶ archive, registry ◀────────────────┘
//! ```
//!
//! An image's id is the digest of its config. Its layers are immutable directories keyed by diff ID and shared by every image
//! that has them, whatever lies below. This crate never mounts for others, never starts a process, and does not know containers:
//! whoever needs an image kept says so.

pub mod archive;
mod changes;
mod commit;
mod compression;
pub mod embedded;
mod error;
pub mod images;
pub mod layers;
mod load;
mod paths;
mod progress;
pub mod pull;
mod push;
pub mod quotas;
pub mod registry;
mod retry;
mod save;
mod scaffold;
mod snapshots;

pub use changes::Change;
pub use commit::{Commit, Import};
pub use compression::{Compression, Decoder};
pub use error::{Error, Kind};
pub use images::{Arrival, Image, Images, Names};
pub use layers::{Layer, Layers, Unpacked};
pub use load::Loaded;
pub use paths::Paths;
pub use progress::{Progress, STRIDE, Sink, Step};
pub use snapshots::{Beside, Gone, OVERLAY_OPTIONS, Snapshot, Snapshots};
