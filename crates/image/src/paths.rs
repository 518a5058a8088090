//! Every path that this crate writes below the data root.
//!
//! ```text
//! <data>/
//!   blobs/                                see `store::blobs`: configs, manifests, layer archives as they came
//!   layers/
//!     <algorithm>/<diff id>/fs            an unpacked layer, immutable, used as an overlay lower directory
//!     <algorithm>/<diff id>/fixups.json   what it implies about layers below it (only when there is such a thing)
//!     chains/<chain id>/fs                what a layer implies, resolved for one stack of layers (rare)
//!     scaffolds/<chain id>/fs             what lies between an image and its containers (see `scaffold`)
//!     empty/                              the layers of an image that has none: overlayfs wants one
//!     work/<random>/                      being unpacked; deleted at start
//!     gone/<random>/                      being deleted; deleted at start
//!   snapshots/
//!     <id>/fs, <id>/work                  a container's upper and work directory
//!     <id>/work/<random>/                 the work directory of somebody who copies beside it; deleted at start
//!     gone/<random>/                      being deleted; deleted at start
//! ```

use std::path::{Path, PathBuf};

use oci::digest::Digest;

/// Where layers and snapshots live.
#[derive(Debug, Clone)]
pub struct Paths {
    data: PathBuf,
}

impl Paths {
    pub fn new(data_root: &Path) -> Self {
        Self { data: data_root.to_owned() }
    }

    pub fn layers(&self) -> PathBuf {
        self.data.join("layers")
    }

    /// The directory of one layer; its files are below `fs`.
    pub fn layer(&self, diff_id: &Digest) -> PathBuf {
        self.layers().join(diff_id.algorithm().as_str()).join(diff_id.hex())
    }

    pub fn layer_files(&self, diff_id: &Digest) -> PathBuf {
        self.layer(diff_id).join("fs")
    }

    /// Where the resolved implications of a chain's topmost layer live.
    pub fn chain(&self, chain_id: &Digest) -> PathBuf {
        self.chains().join(chain_id.hex())
    }

    pub fn chains(&self) -> PathBuf {
        self.layers().join("chains")
    }

    /// What lies between images and their containers.
    pub fn scaffolds(&self) -> PathBuf {
        self.layers().join("scaffolds")
    }

    pub fn empty_layer(&self) -> PathBuf {
        self.layers().join("empty")
    }

    pub fn layer_work(&self) -> PathBuf {
        self.layers().join("work")
    }

    pub fn layers_gone(&self) -> PathBuf {
        self.layers().join("gone")
    }

    pub fn snapshots(&self) -> PathBuf {
        self.data.join("snapshots")
    }

    pub fn snapshot(&self, id: &str) -> PathBuf {
        self.snapshots().join(id)
    }

    pub fn snapshots_gone(&self) -> PathBuf {
        self.snapshots().join("gone")
    }
}
