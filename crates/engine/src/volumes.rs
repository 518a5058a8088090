//! Volumes: directories that outlive containers.
//!
//! The seam to a container's life: [`Volumes::ensure`] when it is created, [`Volumes::acquire`] before each run,
//! [`Volumes::release`] after it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::identity::ContainerId;
use crate::{Config, Engine, Paths, Records};

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

    /// The volume that a container asks for, made if it does not exist. Blocking, as are the two below.
    pub(crate) fn ensure(&self, _wanted: &Wanted) -> Result<Volume> {
        Err(Error::not_implemented("volumes"))
    }

    /// The volume's files, mounted if it has options that ask for a mount. Counted until [`Volumes::release`].
    pub(crate) fn acquire(&self, name: &str, _container: &ContainerId) -> Result<PathBuf> {
        Err(Error::not_found(format!("get {name}: no such volume")))
    }

    pub(crate) fn release(&self, _name: &str, _container: &ContainerId) -> Result<()> {
        Ok(())
    }
}

impl Engine {
    /// Removes an anonymous volume with its last container, unless another container (by its record) has it.
    pub(crate) fn volume_discard(&self, _name: &str) -> Result<()> {
        Ok(())
    }

    /// Tells the listeners of a volume that [`Volumes::ensure`] made.
    pub(crate) fn volume_created(&self, _volume: &Volume) {}

    /// All volumes with their sizes and how many containers have them: disk usage.
    pub(crate) async fn volume_usage(&self) -> Result<Vec<api::volume::Volume>> {
        Ok(Vec::new())
    }
}
