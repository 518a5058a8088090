//! Paths that the container may not write, or not see at all.
//!
//! A masked directory is covered by one empty read-only tmpfs (the same for all), a masked file by the host's
//! `/dev/null`, opened before the container's `/dev` could stand in for it. What does not exist needs no mask.
//! The places are resolved to handles first, and covered by handle.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use linux::Errno;
use linux::entry::{self, Kind};
use linux::mount::{self, Attributes};
use linux::path::Root;

use super::mounts;
use crate::{Error, Result, error::Step};

pub(crate) fn make_read_only(root: &Root, paths: &[PathBuf]) -> Result<()> {
    for path in paths {
        let step = || format!("unable to apply readonly path {}", path.display());
        let Some(place) = find(root, path).step(step)? else { continue };
        let tree = mount::clone_handle(&place, true).step(step)?;
        let attributes = Attributes { set: mount::RDONLY, ..Attributes::default() };
        mount::set_attributes(&tree, &attributes, true).step(step)?;
        mount::attach(&tree, &place).step(step)?;
    }
    Ok(())
}

pub(crate) fn mask(root: &Root, paths: &[PathBuf], null: BorrowedFd<'_>, label: Option<&str>) -> Result<()> {
    let found = entry::metadata_of(null).step(|| "host's /dev/null")?;
    if found.kind != Kind::Character || found.device != (1, 3) {
        return Err(Error::other("host's /dev/null is not the null device"));
    }
    let mut empty: Option<OwnedFd> = None;
    for path in paths {
        let step = || format!("unable to apply masked path {}", path.display());
        let Some(place) = find(root, path).step(step)? else { continue };
        let directory = entry::metadata_of(&place).step(step)?.kind == Kind::Directory;
        let cover = match &empty {
            _ if !directory => mount::clone_handle(null, false).step(step)?,
            Some(empty) => mount::clone_handle(empty, false).step(step)?,
            None => empty_directory(label).step(step)?,
        };
        mount::attach(&cover, &place).step(step)?;
        if directory && empty.is_none() {
            // Attached, so that every kernel copies it for the next one.
            empty = Some(cover);
        }
    }
    Ok(())
}

fn empty_directory(label: Option<&str>) -> linux::Result<OwnedFd> {
    let attributes = mount::RDONLY | mount::NOSUID | mount::NODEV | mount::NOEXEC;
    mounts::new_tmpfs(&["nr_blocks=1", "nr_inodes=1"], attributes, label)
}

/// An empty path names nothing, not the root.
fn find(root: &Root, path: &Path) -> Result<Option<OwnedFd>> {
    if path.as_os_str().is_empty() {
        return Ok(None);
    }
    match root.resolve(path) {
        Ok(place) => Ok(Some(place)),
        Err(error) if error.is(Errno::NOENT) || error.is(Errno::NOTDIR) => Ok(None),
        Err(error) => Err(error).step(|| "resolve"),
    }
}
