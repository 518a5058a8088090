//! What a container has changed: its upper directory, read against the layers below (`diff`).
//!
//! Docker's rules: times and sizes of directories say nothing; a directory above any change counts as modified; below one
//! that was deleted, or became something else, nothing is told.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use linux::entry::{self, Metadata, Time};
use linux::path::Root;
use linux::xattr;

use crate::archive::OPAQUE_XATTR;
use crate::layers::fixups::view;
use crate::{Error, Kind, Snapshots};

/// Depth of a tree; two descriptors are open per level.
const DEPTH: usize = 900;

/// The capabilities of a file, the only extended attribute that counts.
const CAPABILITY_XATTR: &str = "security.capability";

/// What happened to a path. The numbers are the API's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    Modified = 0,
    Added = 1,
    Deleted = 2,
}

impl Snapshots {
    /// The changes of a snapshot by path, sorted.
    pub fn changes(&self, id: &str) -> Result<BTreeMap<PathBuf, Change>, Error> {
        let snapshot = self.get(id)?;
        let upper = Root::open(&snapshot.upper)?;
        let below = view(&snapshot.lowers)?;
        let below = below.as_ref().map(|root| root.resolve(Path::new("/"))).transpose()?;
        let mut found = BTreeMap::new();
        compare(upper.as_fd(), below.as_ref().map(AsFd::as_fd), Path::new("/"), 0, &mut found)?;
        Ok(found)
    }
}

/// Tells the changes within a directory whose counterpart is `below`. Says whether there are any.
fn compare(
    directory: BorrowedFd<'_>,
    below: Option<BorrowedFd<'_>>,
    path: &Path,
    depth: usize,
    found: &mut BTreeMap<PathBuf, Change>,
) -> Result<bool, Error> {
    if depth > DEPTH {
        return Err(Error::new(Kind::Invalid, format!("directory tree is deeper than {DEPTH} levels")));
    }
    let before = found.len();
    let names: Vec<OsString> = entry::list(directory)?.into_iter().map(|(name, _)| name).collect();
    if let Some(below) = below.filter(|_| is_opaque(directory)) {
        // Nothing shines through: what is not here is gone.
        for (name, _) in entry::list(below)? {
            if !names.contains(&name) {
                found.insert(path.join(name), Change::Deleted);
            }
        }
    }
    for name in names {
        let path = path.join(&name);
        // A running container may have removed it since.
        let Some((node, metadata)) = look(directory, &name)? else { continue };
        let old = match below {
            Some(below) => look(below, &name)?.filter(|(_, old)| !old.is_whiteout()),
            None => None,
        };
        let change = match &old {
            None if metadata.is_whiteout() => continue,
            None => Some(Change::Added),
            Some(_) if metadata.is_whiteout() => Some(Change::Deleted),
            Some(old) => differs((&node, &metadata), old)?.then_some(Change::Modified),
        };
        let mut within = false;
        if metadata.is_directory() {
            let old = old.filter(|(_, old)| old.is_directory()).map(|(node, _)| node);
            within = compare(node.as_fd(), old.as_ref().map(AsFd::as_fd), &path, depth + 1, found)?;
        }
        if let Some(change) = change.or(within.then_some(Change::Modified)) {
            found.insert(path, change);
        }
    }
    Ok(found.len() > before)
}

/// A directory that can be read, or a handle on whatever else is there.
fn look(directory: BorrowedFd<'_>, name: &OsStr) -> Result<Option<(OwnedFd, Metadata)>, Error> {
    match entry::node(directory, name) {
        Ok(node) => {
            let metadata = entry::metadata_of(&node)?;
            Ok(Some((node, metadata)))
        }
        Err(error) if error.is(linux::Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn is_opaque(directory: BorrowedFd<'_>) -> bool {
    let mark = xattr::get(directory, OsStr::new(OPAQUE_XATTR));
    mark.is_ok_and(|value| value.as_deref() == Some(b"y"))
}

fn differs((node, new): (&OwnedFd, &Metadata), (old_node, old): &(OwnedFd, Metadata)) -> Result<bool, Error> {
    if (new.kind, new.mode, new.uid, new.gid, new.device)
        != (old.kind, old.mode, old.uid, old.gid, old.device)
    {
        return Ok(true);
    }
    if new.is_directory() {
        return Ok(false);
    }
    if new.size != old.size || !same_time(new.modified, old.modified) {
        return Ok(true);
    }
    if new.kind != entry::Kind::File {
        return Ok(false);
    }
    let capability = |node: &OwnedFd| xattr::get(node, OsStr::new(CAPABILITY_XATTR));
    Ok(capability(node)? != capability(old_node)?)
}

/// Archives often know whole seconds alone.
fn same_time(one: Time, other: Time) -> bool {
    one.seconds == other.seconds
        && (one.nanoseconds == other.nanoseconds || one.nanoseconds == 0 || other.nanoseconds == 0)
}
