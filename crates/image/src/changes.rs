//! What a container has changed: its upper directory, read against the layers below (`diff`).
//!
//! Docker's rules: a directory above something new or deleted counts as modified, a directory whose time did not change counts only
//! then, and an opaque directory is one that was deleted and made anew.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use linux::entry::{self, Metadata};
use linux::path::Root;
use linux::xattr;

use crate::archive::OPAQUE_XATTR;
use crate::layers::fixups::{look, view};
use crate::{Error, Kind, Snapshots, scaffold};

/// Depth of a tree; one descriptor is open per level.
const DEPTH: usize = 900;

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
        let mut comparison = Comparison { below: view(&snapshot.lowers)?, found: BTreeMap::new() };
        comparison.directory(upper.as_fd(), Path::new("/"), 0)?;
        Ok(comparison.found)
    }
}

struct Comparison {
    below: Option<Root>,
    found: BTreeMap<PathBuf, Change>,
}

impl Comparison {
    fn directory(&mut self, directory: BorrowedFd<'_>, path: &Path, depth: usize) -> Result<(), Error> {
        if depth > DEPTH {
            return Err(Error::new(Kind::Invalid, format!("directory tree is deeper than {DEPTH} levels")));
        }
        for (name, _) in entry::list(directory)? {
            let path = path.join(&name);
            // A running container may have removed it since.
            let Ok(node) = entry::node(directory, &name) else { continue };
            let metadata = entry::metadata_of(&node)?;
            let below = self.below(&path)?;
            if metadata.is_whiteout() {
                if below.is_some() {
                    self.note(&path, Change::Deleted);
                }
                continue;
            }
            let inside = path.strip_prefix("/").unwrap_or(&path).as_os_str().as_bytes();
            let touched = scaffold::is_touched(inside);
            match &below {
                None if scaffold::is_scaffold(inside, node.as_fd(), &metadata)? => continue,
                None if touched && metadata.is_directory() => {}
                None => self.note(&path, Change::Added),
                Some(_) if is_opaque(node.as_fd(), &metadata)? => self.note(&path, Change::Deleted),
                Some(old) if same_directory(old, &metadata, touched) => {}
                Some(_) => self.note(&path, Change::Modified),
            }
            if metadata.is_directory() {
                self.directory(node.as_fd(), &path, depth + 1)?;
            }
        }
        Ok(())
    }

    fn below(&self, path: &Path) -> Result<Option<Metadata>, Error> {
        let Some(below) = &self.below else { return Ok(None) };
        let inside = path.strip_prefix("/").unwrap_or(path);
        Ok(look(below, inside)?.map(|(_, metadata)| metadata))
    }

    fn note(&mut self, path: &Path, change: Change) {
        if change != Change::Modified
            && let Some(parent) = path.parent().filter(|p| *p != Path::new("/"))
        {
            self.found.entry(parent.to_owned()).or_insert(Change::Modified);
        }
        self.found.insert(path.to_owned(), change);
    }
}

fn is_opaque(node: BorrowedFd<'_>, metadata: &Metadata) -> Result<bool, Error> {
    Ok(metadata.is_directory() && xattr::get(node, OsStr::new(OPAQUE_XATTR))?.as_deref() == Some(b"y"))
}

/// A directory that was only copied up because something below it changed, or the engine has `touched` it.
fn same_directory(old: &Metadata, new: &Metadata, touched: bool) -> bool {
    old.is_directory()
        && new.is_directory()
        && (old.mode, old.uid, old.gid) == (new.mode, new.uid, new.gid)
        && (touched || old.modified == new.modified)
}
