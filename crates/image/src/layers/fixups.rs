//! What a layer implies about the layers below it, resolved for one stack.
//!
//! An archive may put `a/b/c` without describing `a` and `a/b`, and may give a file a second name although the first lies in a lower
//! layer. In a directory of its own such a layer is incomplete: the `a` that had to be made would override mode and owner of the real
//! one, or hide a symbolic link of that name. So unpacking writes down what it implied, and for each stack that has the layer, one
//! more directory on top of it repairs the view:
//!
//! | implied | below there is | repair |
//! |---|---|---|
//! | directory | a directory | a directory with the attributes of the one below |
//! | directory | a symbolic link | the link, and what the layer has under it, moved to where the link leads |
//! | directory | anything else, or nothing | none |
//! | hard link | the target | a copy of the target, and the link to it |
//!
//! Most layers imply nothing, and most implications need no repair. What is moved is hard-linked from the layer, not copied.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use linux::Errno;
use linux::entry::{self, Kind as Node, Metadata, Time};
use linux::mount::{self, Overlay};
use linux::path::Root;
use serde::{Deserialize, Serialize};

use crate::archive::copy_attributes;
use crate::{Error, Kind};

const FILE: &str = "fixups.json";

/// As written by the unpacker. Paths are relative to the root.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Fixups {
    pub(super) implied: Vec<PathBuf>,
    pub(super) links: Vec<(PathBuf, PathBuf)>,
}

/// The same in JSON, where a name that is not UTF-8 would not survive: hexadecimal throughout.
#[derive(Serialize, Deserialize)]
struct Stored {
    implied: Vec<String>,
    links: Vec<(String, String)>,
}

impl Fixups {
    pub(super) fn is_empty(&self) -> bool {
        self.implied.is_empty() && self.links.is_empty()
    }

    pub(super) fn write(&self, layer: &Path) -> Result<(), Error> {
        let pack = |path: &PathBuf| hex::encode(path.as_os_str().as_bytes());
        let stored = Stored {
            implied: self.implied.iter().map(pack).collect(),
            links: self.links.iter().map(|(path, target)| (pack(path), pack(target))).collect(),
        };
        let path = layer.join(FILE);
        let body = serde_json::to_vec(&stored).map_err(|e| Error::caused(Kind::Other, "encode fixups", e))?;
        linux::fault::io("write what a layer implies")
            .and_then(|()| std::fs::write(&path, body))
            .map_err(|e| Error::caused(Kind::Other, format!("write({path:?})"), e))
    }

    pub(super) fn read(layer: &Path) -> Result<Self, Error> {
        let path = layer.join(FILE);
        let damaged = |e: Box<dyn std::error::Error + Send + Sync>| {
            Error::caused(Kind::Other, format!("read({path:?})"), e)
        };
        let body = std::fs::read(&path).map_err(|e| damaged(e.into()))?;
        let stored: Stored = serde_json::from_slice(&body).map_err(|e| damaged(e.into()))?;
        let unpack = |text: &String| match hex::decode(text) {
            Ok(bytes) => Ok(PathBuf::from(OsString::from_vec(bytes))),
            Err(e) => Err(damaged(e.into())),
        };
        Ok(Self {
            implied: stored.implied.iter().map(unpack).collect::<Result<_, _>>()?,
            links: (stored.links.iter())
                .map(|(path, target)| Ok((unpack(path)?, unpack(target)?)))
                .collect::<Result<_, Error>>()?,
        })
    }

    /// Fills `into` for the layer `files` on top of `lowers` (topmost first). Says whether anything had to be repaired.
    pub(super) fn resolve(&self, lowers: &[PathBuf], files: &Path, into: &Path) -> Result<bool, Error> {
        let below = view(lowers)?;
        let mut all = vec![files.to_owned()];
        all.extend_from_slice(lowers);
        let mut repair = Repair {
            implied: self.implied.iter().map(PathBuf::as_path).collect(),
            below,
            whole: view(&all)?.ok_or_else(|| Error::new(Kind::Other, "layer without a directory"))?,
            layer: Root::open(files)?,
            into: Root::open(into)?,
            moved: Vec::new(),
            times: Vec::new(),
            changed: false,
        };
        for path in &self.implied {
            repair.directory(path)?;
        }
        for (path, target) in &self.links {
            repair.link(path, target)?;
        }
        repair.restore_times()?;
        Ok(repair.changed)
    }
}

/// The merged view of some layers: their detached, read-only overlay. One alone is its own view.
pub(crate) fn view(layers: &[PathBuf]) -> Result<Option<Root>, Error> {
    match layers {
        [] => Ok(None),
        [only] => Ok(Some(Root::open(only)?)),
        _ => {
            let overlay = Overlay { lowers: layers, upper: None, volatile: false, extra: &[] };
            Ok(Some(Root::from_directory(mount::overlay(&overlay)?)))
        }
    }
}

struct Repair<'a> {
    implied: BTreeSet<&'a Path>,
    /// What is below the layer, if there is anything.
    below: Option<Root>,
    /// The layer on top of that.
    whole: Root,
    layer: Root,
    into: Root,
    /// Implied directories whose content was moved elsewhere.
    moved: Vec<PathBuf>,
    /// Directories are filled after they are made, which changes their time.
    times: Vec<(PathBuf, Time)>,
    changed: bool,
}

impl Repair<'_> {
    fn directory(&mut self, path: &Path) -> Result<(), Error> {
        if self.moved.iter().any(|moved| path.starts_with(moved)) {
            return Ok(());
        }
        match self.look_below(path)? {
            Some((_, there)) if there.is_directory() => self.ensure(path).map(drop),
            Some((node, there)) if there.kind == Node::Symlink => {
                let target = entry::read_link_of(&node)?;
                self.move_behind_link(path, &target)
            }
            _ => Ok(()),
        }
    }

    /// What is below at exactly this path; a link in one of its parents means that a parent was repaired already.
    fn look_below(&self, path: &Path) -> Result<Option<(OwnedFd, Metadata)>, Error> {
        let Some(below) = &self.below else { return Ok(None) };
        look(below, path)
    }

    /// A directory in the repair, with all its parents, each looking as it should in the view.
    fn ensure(&mut self, path: &Path) -> Result<OwnedFd, Error> {
        let mut at = PathBuf::new();
        let mut handle = self.into.resolve(Path::new("/"))?;
        for part in path {
            at.push(part);
            match entry::make_directory(&handle, part, 0o700) {
                Ok(()) => {
                    self.changed = true;
                    let made = entry::directory(&handle, part)?;
                    if let Some(model) = self.model(&at)? {
                        copy_attributes(&model, &made)?;
                        self.times.push((at.clone(), entry::metadata_of(&model)?.modified));
                    }
                    handle = made;
                }
                Err(error) if error.is(Errno::EXIST) => handle = entry::directory(&handle, part)?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(handle)
    }

    fn restore_times(&self) -> Result<(), Error> {
        for (path, time) in &self.times {
            entry::set_modified(self.into.resolve_without_links(path)?, *time)?;
        }
        Ok(())
    }

    /// Whose attributes a directory has: what is below if the layer only implies it, else what the view shows.
    fn model(&self, path: &Path) -> Result<Option<OwnedFd>, Error> {
        if self.implied.contains(path)
            && let Some((node, there)) = self.look_below(path)?
            && there.is_directory()
        {
            return Ok(Some(node));
        }
        Ok(look(&self.whole, path)?.map(|(node, _)| node))
    }

    fn move_behind_link(&mut self, path: &Path, target: &OsStr) -> Result<(), Error> {
        let Some(below) = &self.below else { return Ok(()) };
        let destination = match below.resolve(path) {
            Ok(node) if entry::metadata_of(&node)?.is_directory() => real_path(below, &node)?,
            // A dangling link, or one to a file: the directory simply replaces it.
            Ok(_) => return Ok(()),
            Err(error) if error.is(Errno::NOENT) || error.is(Errno::NOTDIR) || error.is(Errno::LOOP) => {
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let (parent, name) = split(path)?;
        let directory = self.ensure(&parent)?;
        entry::make_symlink(&directory, &name, target)?;
        self.changed = true;
        self.moved.push(path.to_owned());
        let source = self.layer.resolve(path)?;
        self.move_children(source.as_fd(), &destination)
    }

    fn move_children(&mut self, source: BorrowedFd<'_>, destination: &Path) -> Result<(), Error> {
        let into = self.ensure(destination)?;
        for (name, kind) in entry::list(source)? {
            if kind == Node::Directory {
                let child = entry::directory(source, &name)?;
                let path = destination.join(&name);
                let made = self.ensure(&path)?;
                copy_attributes(&child, &made)?;
                self.times.push((path.clone(), entry::metadata_of(&child)?.modified));
                self.move_children(child.as_fd(), &path)?;
            } else {
                entry::hard_link(source, &name, &into, &name)?;
            }
        }
        Ok(())
    }

    /// A hard link into a layer below: the target is copied up, as overlayfs would do, and linked.
    fn link(&mut self, path: &Path, target: &Path) -> Result<(), Error> {
        let missing =
            || Error::new(Kind::Hostile, format!("invalid hardlink {path:?} -> {target:?}: no such file"));
        let (parent, name) = split(target)?;
        let source = match self.whole.resolve(&parent) {
            Ok(directory) => real_path(&self.whole, &directory)?.join(&name),
            Err(_) => return Err(missing()),
        };
        let Some((node, there)) = look(&self.whole, &source)? else { return Err(missing()) };
        if there.is_directory() || there.is_whiteout() {
            return Err(missing());
        }
        let from = self.ensure(source.parent().unwrap_or(Path::new("")))?;
        if !linux::path::exists(&from, &name) {
            copy_node(node.as_fd(), &there, from.as_fd(), &name)?;
        }
        let (parent, new) = split(path)?;
        let to = self.ensure(&parent)?;
        entry::hard_link(&from, &name, &to, &new)?;
        self.changed = true;
        Ok(())
    }
}

/// What is at a path, no link followed; whiteouts are nothing.
pub(crate) fn look(root: &Root, path: &Path) -> Result<Option<(OwnedFd, Metadata)>, Error> {
    let (parent, name) = split(path)?;
    let directory = match root.resolve_without_links(&parent) {
        Ok(directory) => directory,
        Err(e) if e.is(Errno::NOENT) || e.is(Errno::NOTDIR) || e.is(Errno::LOOP) => return Ok(None),
        Err(e) => return Err(e.into()),
    };
    match entry::node(&directory, &name) {
        Ok(node) => {
            let metadata = entry::metadata_of(&node)?;
            Ok((!metadata.is_whiteout()).then_some((node, metadata)))
        }
        Err(e) if e.is(Errno::NOENT) || e.is(Errno::NOTDIR) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// Where a handle is inside a view. A detached mount shows paths from its own root.
fn real_path(root: &Root, node: &OwnedFd) -> Result<PathBuf, Error> {
    let (top, path) = (linux::path::of(root), linux::path::of(node));
    let inside = path
        .strip_prefix(&top)
        .map_err(|_| Error::new(Kind::Other, format!("{path:?} is not below {top:?}")))?;
    Ok(inside.components().filter(|c| matches!(c, Component::Normal(_))).collect())
}

fn split(path: &Path) -> Result<(PathBuf, OsString), Error> {
    match path.file_name() {
        Some(name) => Ok((path.parent().unwrap_or(Path::new("")).to_owned(), name.to_owned())),
        None => Err(Error::new(Kind::Hostile, format!("{path:?} has no name"))),
    }
}

fn copy_node(
    node: BorrowedFd<'_>,
    there: &Metadata,
    directory: BorrowedFd<'_>,
    name: &OsStr,
) -> Result<(), Error> {
    match there.kind {
        Node::File => {
            let mut file = entry::create_file(directory, name, 0o600)?;
            io::copy(&mut entry::read_node(node)?, &mut file)?;
        }
        Node::Symlink => {
            entry::make_symlink(directory, name, &entry::read_link_of(node)?)?;
            let made = entry::node(directory, name)?;
            entry::set_owner(&made, there.uid, there.gid)?;
            return Ok(entry::set_modified(&made, there.modified)?);
        }
        kind => entry::make_node(directory, name, kind, 0o600, there.device)?,
    }
    let made = entry::node(directory, name)?;
    copy_attributes(node, &made)
}
