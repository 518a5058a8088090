//! Snapshots: the writable directory of a container on top of an image's layers and their scaffold.
//!
//! ```text
//!  create  mkdir <id>/fs, <id>/work                                 nothing is copied, nothing is mounted
//!  record  in the transaction that stores the container             a directory without a record is deleted at start
//!  remove  rename to gone/<random>, delete when nobody waits
//! ```
//!
//! The two directories of a snapshot may have a limit in common, which [`quotas`] sets.
//!
//! A snapshot, not its image, keeps its layers: the image may be removed while a stopped container stands on it.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use linux::entry;
use linux::path::Root;
use oci::digest::Digest;
use serde::{Deserialize, Serialize};
use store::fault;
use store::records::{Record, Records, Transaction};

use crate::layers::{Scratch, children, delete_tree, make_directory, make_private_directory};
use crate::scaffold::Scaffolds;
use crate::{Error, Kind, Layers, Paths, quotas};

/// What to mount. Topmost lower first, as overlayfs wants them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    pub id: String,
    pub lowers: Vec<PathBuf>,
    pub upper: PathBuf,
    pub work: PathBuf,
}

/// Options that every overlay of ours is mounted with, where the kernel knows them. Without them an upper directory may hold
/// references to its lower ones that its own files do not show, and neither `commit` nor another kernel could read it.
pub const OVERLAY_OPTIONS: [&str; 3] = ["index=off", "metacopy=off", "redirect_dir=off"];

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Stored {
    diff_ids: Vec<Digest>,
    /// Bytes that it may hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
}

impl Record for Stored {
    const KIND: &'static str = "snapshot";
    const VERSION: u32 = 1;
}

/// A snapshot to be mounted although somebody else may mount it as well, now or soon: with a working directory of its own.
/// The kernel clears that of whoever mounted it before, who could change nothing from then on that lies in a lower layer.
pub struct Beside {
    pub snapshot: Snapshot,
    /// Deleted with this.
    _work: Scratch,
}

/// All snapshots. Cheap to clone.
#[derive(Clone)]
pub struct Snapshots {
    inner: Arc<Inner>,
}

struct Inner {
    paths: Paths,
    layers: Layers,
    scaffolds: Scaffolds,
    /// Recorded or about to be: what a collector must keep.
    known: Mutex<HashMap<String, Stored>>,
}

/// A removed snapshot, out of sight. Dropping it deletes the files, which may take a while.
#[must_use]
pub struct Gone {
    _files: Scratch,
}

impl Snapshots {
    /// Opens the store and deletes what no record knows.
    pub fn open(paths: &Paths, records: &Records, layers: &Layers) -> Result<Self, Error> {
        make_private_directory(&paths.snapshots_gone())?;
        for name in children(&paths.snapshots_gone())? {
            delete(&paths.snapshots_gone().join(name))?;
        }
        let known: HashMap<String, Stored> = records.read(|r| r.list::<Stored>())?.into_iter().collect();
        for name in children(&paths.snapshots())? {
            let is_known = name.to_str().is_some_and(|id| id == "gone" || known.contains_key(id));
            let directory = paths.snapshots().join(&name);
            if !is_known {
                delete(&directory)?;
            } else if let Err(error) = delete_leftovers(&directory.join("work")) {
                tracing::warn!(directory = %directory.display(), %error, "left for the next start");
            }
        }
        let scaffolds = Scaffolds::open(paths, known.values().map(|stored| &stored.diff_ids))?;
        let inner =
            Inner { paths: paths.clone(), layers: layers.clone(), scaffolds, known: Mutex::new(known) };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Makes the directories of a new snapshot on an image's layers. It lasts when [`Self::record`] is committed.
    pub fn create(&self, id: &str, diff_ids: &[Digest]) -> Result<Snapshot, Error> {
        self.create_within(id, diff_ids, None)
    }

    /// Whether a new snapshot can have a limit.
    pub fn can_be_limited(&self) -> bool {
        quotas::are_enforced(&self.inner.paths.snapshots()).unwrap_or(false)
    }

    /// The same, for a snapshot that holds so many bytes at most.
    pub fn create_within(
        &self,
        id: &str,
        diff_ids: &[Digest],
        limit: Option<u64>,
    ) -> Result<Snapshot, Error> {
        check_id(id)?;
        let stored = Stored { diff_ids: diff_ids.to_vec(), limit };
        {
            let mut known = self.known();
            if known.contains_key(id) {
                return Err(Error::new(Kind::Conflict, format!("snapshot {id} exists")));
            }
            // From here on no collector takes the layers away.
            known.insert(id.to_owned(), stored.clone());
        }
        let made = self.lowers(diff_ids).and_then(|_| self.make_directories(id, &stored));
        if let Err(error) = made {
            self.known().remove(id);
            delete(&self.inner.paths.snapshot(id))?;
            return Err(error);
        }
        self.get(id)
    }

    /// Writes a snapshot down, in the transaction of the container that it belongs to.
    pub fn record(&self, transaction: &Transaction<'_>, id: &str) -> Result<(), store::Error> {
        let none = Stored { diff_ids: Vec::new(), limit: None };
        transaction.put(id, &self.known().get(id).cloned().unwrap_or(none))
    }

    /// Forgets a snapshot, in the transaction that deletes its container.
    pub fn forget(&self, transaction: &Transaction<'_>, id: &str) -> Result<(), store::Error> {
        transaction.remove::<Stored>(id).map(drop)
    }

    /// What to mount. Directories that a power cut swallowed are made again.
    pub fn get(&self, id: &str) -> Result<Snapshot, Error> {
        let stored = self.stored(id)?;
        let directory = self.inner.paths.snapshot(id);
        if !directory.join("work").is_dir() || !directory.join("fs").is_dir() {
            // Half of it would be taken for the whole the next time.
            let half = |_: &Error| drop(std::fs::remove_dir(directory.join("work")));
            self.make_directories(id, &stored).inspect_err(half)?;
        }
        Ok(Snapshot {
            id: id.to_owned(),
            lowers: self.lowers(&stored.diff_ids)?,
            upper: directory.join("fs"),
            work: directory.join("work"),
        })
    }

    /// The same for who mounts it beside others.
    pub fn get_beside(&self, id: &str) -> Result<Beside, Error> {
        let snapshot = self.get(id)?;
        let work = Scratch::create(&snapshot.work)?;
        Ok(Beside { snapshot: Snapshot { work: work.path().to_owned(), ..snapshot }, _work: work })
    }

    fn lowers(&self, diff_ids: &[Digest]) -> Result<Vec<PathBuf>, Error> {
        let mut lowers = self.inner.layers.lowers(diff_ids)?;
        lowers.insert(0, self.inner.scaffolds.of(&self.inner.layers, diff_ids)?);
        Ok(lowers)
    }

    /// The directory of a snapshot's own directories.
    pub fn directory(&self, id: &str) -> PathBuf {
        self.inner.paths.snapshot(id)
    }

    /// The layers of an image below a snapshot, bottom first.
    pub fn layers_of(&self, id: &str) -> Result<Vec<Digest>, Error> {
        Ok(self.stored(id)?.diff_ids)
    }

    fn stored(&self, id: &str) -> Result<Stored, Error> {
        let known = self.known();
        known.get(id).cloned().ok_or_else(|| Error::new(Kind::NotFound, format!("no snapshot {id}")))
    }

    /// Takes a snapshot out of sight; `None` when there is none. Nothing may be mounted on it any more.
    pub fn remove(&self, id: &str) -> Result<Option<Gone>, Error> {
        check_id(id)?;
        fault::point("take a snapshot out of sight")?;
        let gone = Scratch::set_aside(&self.inner.paths.snapshot(id), &self.inner.paths.snapshots_gone())?
            .map(|files| Gone { _files: files });
        if let Some(Gone { _files: files }) = &gone {
            release(files.path());
        }
        fault::passed("a snapshot is out of sight");
        self.known().remove(id);
        Ok(gone)
    }

    /// Layers that some snapshot stands on.
    pub(crate) fn layers_in_use(&self) -> HashSet<Digest> {
        self.known().values().flat_map(|stored| stored.diff_ids.iter().cloned()).collect()
    }

    /// Scaffolds on layers that are gone go as well. Dropping the result deletes them.
    pub(crate) fn set_scaffolds_aside(&self, gone: &[Digest]) -> Result<Vec<Scratch>, Error> {
        self.inner.scaffolds.set_aside(gone)
    }

    fn make_directories(&self, id: &str, stored: &Stored) -> Result<(), Error> {
        let directory = self.inner.paths.snapshot(id);
        fault::point("make a snapshot's directories")?;
        make_private_directory(&directory)?;
        for name in ["fs", "work"] {
            if !directory.join(name).is_dir() {
                fault::point("make a directory of a snapshot")?;
                make_directory(&directory.join(name))?;
            }
        }
        if let Some(limit) = stored.limit {
            fault::point("limit a snapshot")?;
            quotas::limit(&[&directory.join("fs"), &directory.join("work")], limit)?;
        }
        // The upper directory is `/` of the container.
        if let Some(root) = self.inner.layers.root_attributes(&stored.diff_ids) {
            let upper = Root::open(&directory.join("fs"))?;
            fault::point("set the owner of a snapshot")?;
            entry::set_owner(&upper, root.uid, root.gid)?;
            fault::point("set the mode of a snapshot")?;
            entry::set_mode(&upper, root.mode)?;
        }
        Ok(())
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Stored>> {
        self.inner.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn delete(directory: &Path) -> Result<(), Error> {
    release(directory);
    delete_tree(directory)
}

/// Deletes the working directories of those who mounted a snapshot beside its container, and were killed.
fn delete_leftovers(work: &Path) -> Result<(), Error> {
    let names = children(work)?;
    let mut ours = names.iter().filter(|name| name.to_str().is_some_and(Scratch::is_name));
    ours.try_for_each(|name| delete_tree(&work.join(name)))
}

/// Either of the two is enough to know the limit by; half of it may be deleted already.
fn release(directory: &Path) {
    for name in ["fs", "work"] {
        quotas::release(&directory.join(name));
    }
}

/// An id becomes a file name.
fn check_id(id: &str) -> Result<(), Error> {
    let fits = !id.is_empty()
        && id != "gone"
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if fits { Ok(()) } else { Err(Error::new(Kind::Invalid, format!("invalid snapshot id {id:?}"))) }
}
