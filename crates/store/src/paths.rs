//! Every path that this crate writes below the data root.
//!
//! ```text
//! <data>/
//!   wharf.db, wharf.db-wal                  records
//!   blobs/
//!     <algorithm>/<hex>                     complete, verified, read-only
//!     ingest/<algorithm>-<hex>              partial; its length is where a resumed transfer goes on
//!     ingest/new-<random>                   partial, digest not known yet; never survives a restart
//! ```

use std::path::{Path, PathBuf};

/// The record database.
pub fn database(data_root: &Path) -> PathBuf {
    data_root.join("wharf.db")
}

/// The blob directory.
pub fn blobs(data_root: &Path) -> PathBuf {
    data_root.join("blobs")
}
