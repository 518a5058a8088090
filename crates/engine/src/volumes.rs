//! Volumes: directories that outlive containers.
//!
//! The seam to a container's life: [`Volumes::ensure`] when it is created, [`Volumes::acquire`] before each run,
//! [`Volumes::release`] after it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::error::Result;
use crate::{Config, Paths, Records};

/// The engine's volumes.
pub(crate) struct Volumes {}

/// A volume that a container asks for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted {
    /// None: an anonymous one.
    pub(crate) name: Option<String>,
    pub(crate) driver: String,
    pub(crate) options: BTreeMap<String, String>,
    pub(crate) labels: BTreeMap<String, String>,
}

/// One that exists.
#[derive(Debug, Clone)]
pub(crate) struct Volume {
    pub(crate) name: String,
    pub(crate) driver: String,
    pub(crate) mountpoint: PathBuf,
    /// It was made by this call.
    pub(crate) created: bool,
}

impl Volumes {
    pub(crate) fn open(_config: &Config, _paths: &Paths, _records: &Records) -> Result<Volumes> {
        Ok(Volumes {})
    }
}
