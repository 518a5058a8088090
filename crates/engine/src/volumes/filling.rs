//! A volume that is filled with what an image has at its place.
//!
//! ```text
//!  mark ─▶ copy ─▶ unmark          a failure empties it again
//! ```
//!
//! A mark without anybody who copies is what a crash has left: half of a directory, and nobody has run with it, for whoever
//! comes takes the mark away ([`Volumes::settle`]). It is emptied before it is used, and filled anew.
//!
//! What is mounted from elsewhere (`o=bind`, NFS) has other users than ours: it is filled, and never emptied.

use std::fs::File;
use std::path::Path;
use std::sync::PoisonError;

use linux::path::Root;

use super::{Volumes, local};
use crate::error::{Error, Result};
use crate::identity::ContainerId;

/// Beside the volume's files.
const MARK: &str = "filling";

impl Volumes {
    /// Whether there may be anything to fill: what has files has got them from somebody.
    pub(crate) fn may_be_empty(&self, name: &str) -> bool {
        self.is_mounted(name) || self.mark(name).exists() || is_empty(&self.paths.volume_data(name))
    }

    /// Has an empty volume filled. `alone`: no container has it yet, so that it may be emptied again.
    pub(crate) fn fill(
        &self,
        name: &str,
        container: &ContainerId,
        alone: bool,
        copy: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<()> {
        let target = self.acquire(name, container)?;
        let filled = match is_empty(&target) {
            true if alone && !self.is_mounted(name) => self.fill_marked(name, &target, copy),
            true => copy(&target),
            false => Ok(()),
        };
        self.release(name, container)?;
        filled
    }

    fn fill_marked(&self, name: &str, target: &Path, copy: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        let failed = |error| Error::failed(format!("cannot mark volume {name}"), error);
        let mark = self.mark(name);
        self.filling().insert(name.to_owned());
        let copied = linux::fault::io("mark a volume that is filled")
            .and_then(|()| File::create(&mark))
            .map_err(failed)
            .and_then(|_| copy(target));
        let mut filling = self.filling();
        filling.remove(name);
        // Without its mark, others have come to use it.
        let undone = if copied.is_err() && mark.exists() { empty(target) } else { Ok(()) };
        let unmarked = undone.and_then(|()| self.unmark(name));
        drop(filling);
        copied.and(unmarked)
    }

    /// Whoever comes to use a volume takes away its mark, and what a crash left of its filling.
    pub(super) fn settle(&self, name: &str, target: &Path) -> Result<()> {
        if !self.mark(name).exists() {
            return Ok(());
        }
        let filling = self.filling();
        if !filling.contains(name) && !self.is_mounted(name) {
            empty(target)?;
        }
        self.unmark(name)
    }

    /// Whether its files are somebody else's.
    fn is_mounted(&self, name: &str) -> bool {
        self.get(name).is_some_and(|stored| local::is_mount(&stored.options))
    }

    fn unmark(&self, name: &str) -> Result<()> {
        match std::fs::remove_file(self.mark(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::failed(format!("cannot take the mark off volume {name}"), error))
            }
            _ => Ok(()),
        }
    }

    fn mark(&self, name: &str) -> std::path::PathBuf {
        self.paths.volume(name).join(MARK)
    }

    fn filling(&self) -> std::sync::MutexGuard<'_, std::collections::HashSet<String>> {
        self.filling.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_empty(directory: &Path) -> bool {
    std::fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_none())
}

fn empty(directory: &Path) -> Result<()> {
    let failed =
        |error: std::io::Error| Error::failed(format!("cannot empty {}", directory.display()), error);
    let root = Root::open(directory).map_err(|error| failed(error.into()))?;
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        linux::entry::remove_tree(&root, &name).map_err(|error| failed(error.into()))?;
    }
    Ok(())
}
