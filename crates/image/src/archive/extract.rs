//! Puts the members of an archive into a tree, and nowhere else.
//!
//! The tree is a root handle. Each member's parent directory is resolved inside it (`openat2(2)`, as `chroot(2)` would see it), and
//! the member itself is then one name in one directory handle: no link, no `..` and no race leads out. Names that try are refused
//! rather than bent, as Docker does, so that an archive means the same everywhere.
//!
//! Two uses differ in a few points only:
//!
//! | | layer | `cp` into a container, import |
//! |---|---|---|
//! | `.wh.x`, `.wh..wh..opq` | become overlayfs whiteouts and opaque marks | ordinary names |
//! | directories that no member created | made, and reported as implied | made |
//! | hard link to what is not here | reported, it may lie in a layer below | an error |
//! | symbolic link that climbs out | refused | kept: it is only text, and resolved inside the container |
//!
//! Order per member: bytes, owner (which clears setuid and capabilities), mode, xattrs, time. Directory times come last of all, because
//! filling a directory changes them.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use linux::Errno;
use linux::entry::{self, Kind as Node, Time};
use linux::namespace::IdMaps;
use linux::path::Root;
use linux::xattr;

use super::entry::{Content, Entry, Segment};
use super::reader::Reader;
use crate::{Error, Kind};

/// Bytes moved per read and write.
const BUFFER: usize = 256 << 10;

/// What an extraction may remember about directories and links until its end; reached only by an archive made for it.
const MEMORY: usize = 256 << 20;

const WHITEOUT: &[u8] = b".wh.";
const WHITEOUT_META: &[u8] = b".wh..wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// The mark of a directory that hides what is below it. See overlayfs in the kernel's documentation.
pub(crate) const OPAQUE_XATTR: &str = "trusted.overlay.opaque";

/// Attributes by which overlayfs steers itself: an archive must not, and one made inside a nested engine does so in good faith.
const OVERLAY_XATTRS: [&str; 2] = ["trusted.overlay.", "user.overlay."];

/// Who owns what is extracted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ownership<'a> {
    /// Whoever the archive says, by number.
    Archive,
    /// Whoever that is for processes of this user namespace.
    Inside(&'a IdMaps),
    /// One owner for all.
    Fixed { uid: u32, gid: u32 },
}

/// What may replace what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replace {
    /// A member replaces whatever has its name; directories merge.
    Anything,
    /// A directory never gives way to something else, nor the other way round (`noOverwriteDirNonDir`).
    SameKind,
}

/// How to extract.
#[derive(Debug, Clone, Copy)]
pub struct Extract<'a> {
    /// The directory inside the root that names are relative to.
    pub base: &'a Path,
    /// Whether this is an image layer.
    pub layer: bool,
    pub ownership: Ownership<'a>,
    pub replace: Replace,
}

/// What an extraction found out.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Extracted {
    pub entries: u64,
    /// Bytes of all files and of the targets of symbolic links.
    pub bytes: u64,
    /// Whether a member described the root directory itself.
    pub has_root: bool,
    /// Directories that had to be made though no member describes them.
    pub implied: Vec<PathBuf>,
    /// Hard links (name, target) whose target is not in this archive.
    pub links: Vec<(PathBuf, PathBuf)>,
}

/// Extracts every member that `reader` still has.
pub fn extract_into<R: Read>(
    reader: &mut Reader<R>,
    root: &Root,
    how: Extract<'_>,
) -> Result<Extracted, Error> {
    let mut extractor = Extractor {
        root,
        how,
        parent: None,
        directories: Vec::new(),
        implied: BTreeSet::new(),
        found: Extracted::default(),
        memory: 0,
        buffer: vec![0; BUFFER],
    };
    while let Some(entry) = reader.next()? {
        let name = entry.name();
        linux::fault::point("extract a file")?;
        extractor.extract(entry, reader).map_err(|error| match how.layer {
            true => error.during(format_args!("extract {name:?}")),
            // Who copies has named the files himself.
            false => error,
        })?;
        extractor.found.entries += 1;
    }
    extractor.finish()
}

struct Extractor<'a> {
    root: &'a Root,
    how: Extract<'a>,
    /// The directory of the previous member: neighbours usually share it.
    parent: Option<(PathBuf, OwnedFd)>,
    directories: Vec<(PathBuf, Time)>,
    implied: BTreeSet<PathBuf>,
    found: Extracted,
    memory: usize,
    buffer: Vec<u8>,
}

impl Extractor<'_> {
    fn extract<R: Read>(&mut self, entry: Entry, reader: &mut Reader<R>) -> Result<(), Error> {
        let path = clean(&entry.path).ok_or_else(|| outside(&entry.path))?;
        let Some(name) = path.file_name().map(OsStr::to_owned) else {
            return self.root_entry(&entry);
        };
        if self.how.layer && path.iter().any(|part| part.as_bytes().starts_with(WHITEOUT)) {
            return self.whiteout(&path, name.as_bytes());
        }
        // Nothing is made that could not be given to its owner.
        self.owner(&entry)?;
        let directory = self.enter(path.parent().unwrap_or(Path::new("")))?;
        match &entry.content {
            Content::Directory => self.directory(directory, &path, &name, &entry)?,
            Content::HardLink { target } => self.hard_link(directory, &path, &name, target)?,
            Content::Symlink { target } => self.symlink(&directory, &name, target, &entry)?,
            Content::File { size, segments } => {
                let mut file = self.make(&directory, &name, |d| entry::create_file(d, &name, 0o600))?;
                self.fill(&mut file, reader, *size, segments.as_deref())?;
                self.attributes(&file, &entry)?;
                self.leave(directory);
            }
            Content::Fifo => self.node(directory, &name, Node::Fifo, (0, 0), &entry)?,
            Content::Character { major, minor } => {
                self.node(directory, &name, Node::Character, (*major, *minor), &entry)?;
            }
            Content::Block { major, minor } => {
                self.node(directory, &name, Node::Block, (*major, *minor), &entry)?
            }
        }
        Ok(())
    }

    /// A handle on the directory at `path` (relative to the base), made if missing. Give it back with [`Self::leave`].
    fn enter(&mut self, path: &Path) -> Result<Parent, Error> {
        if let Some((known, handle)) = self.parent.take()
            && known == path
        {
            return Ok(Parent { path: known, handle });
        }
        let whole = self.how.base.join(path);
        let handle = match self.root.resolve(&whole) {
            Ok(handle) if entry::metadata_of(&handle)?.is_directory() => handle,
            Ok(_) => return Err(Error::new(Kind::Hostile, format!("{path:?} is not a directory"))),
            Err(error) if error.is(Errno::NOENT) => self.make_directories(path)?,
            Err(error) => return Err(error.into()),
        };
        Ok(Parent { path: path.to_owned(), handle })
    }

    fn leave(&mut self, parent: Parent) {
        self.parent = Some((parent.path, parent.handle));
    }

    /// Makes what is missing of a path, from the top, and remembers it.
    fn make_directories(&mut self, path: &Path) -> Result<OwnedFd, Error> {
        let mut prefix = PathBuf::new();
        for part in path {
            prefix.push(part);
            let whole = self.how.base.join(&prefix);
            match self.root.resolve(&whole) {
                Ok(_) => continue,
                Err(error) if error.is(Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
            let made = self.root.make_dirs(&whole, 0o755)?;
            // The mode of the call was subject to the umask.
            entry::set_mode(&made, 0o755)?;
            if let Ownership::Fixed { uid, gid } = self.how.ownership {
                entry::set_owner(&made, uid, gid)?;
            }
            if self.how.layer {
                let real = self.real_path(&made)?;
                self.remember(&real)?;
                self.implied.insert(real);
            }
        }
        Ok(self.root.resolve(&self.how.base.join(path))?)
    }

    /// Where a handle is, relative to the root, links resolved. Right because nobody else changes a layer that is being unpacked.
    fn real_path(&self, handle: &OwnedFd) -> Result<PathBuf, Error> {
        let (root, path) = (linux::path::of(self.root), linux::path::of(handle));
        let inside = path.strip_prefix(&root);
        inside
            .map(Path::to_owned)
            .map_err(|_| Error::new(Kind::Other, format!("{path:?} is not below {root:?}")))
    }

    fn remember(&mut self, path: &Path) -> Result<(), Error> {
        self.memory += path.as_os_str().len() + size_of::<(PathBuf, Time)>();
        if self.memory > MEMORY {
            return Err(Error::new(
                Kind::Hostile,
                "archive has too many directories and links to keep track of",
            ));
        }
        Ok(())
    }

    fn root_entry(&mut self, entry: &Entry) -> Result<(), Error> {
        if entry.content != Content::Directory {
            return Err(Error::new(Kind::Hostile, "the root of an archive must be a directory"));
        }
        if self.how.layer {
            let root = self.root.resolve(Path::new("/"))?;
            self.attributes(&root, entry)?;
            self.directories.push((PathBuf::new(), entry.modified));
            self.found.has_root = true;
        }
        // Elsewhere the directory is there already and belongs to somebody else.
        Ok(())
    }

    fn directory(&mut self, parent: Parent, path: &Path, name: &OsStr, entry: &Entry) -> Result<(), Error> {
        let mut hides = false;
        match entry::make_directory(&parent.handle, name, 0o700) {
            Ok(()) => {}
            Err(error) if error.is(Errno::EXIST) => {
                let there = entry::metadata(&parent.handle, name)?;
                if there.is_directory() {
                    if self.how.layer && !self.implied.is_empty() {
                        let real = self.real_path(&entry::directory(&parent.handle, name)?)?;
                        self.implied.remove(&real);
                    }
                } else {
                    // A whiteout of the same name in the same layer: below is hidden, this is not.
                    hides = self.how.layer && there.is_whiteout();
                    self.clear_the_way(&parent, name, there.kind, true)?;
                    entry::make_directory(&parent.handle, name, 0o700)?;
                }
            }
            Err(error) => return Err(error.into()),
        }
        let made = entry::directory(&parent.handle, name)?;
        if hides {
            xattr::set(&made, OsStr::new(OPAQUE_XATTR), b"y")?;
        }
        self.attributes(&made, entry)?;
        self.remember(path)?;
        self.directories.push((path.to_owned(), entry.modified));
        self.leave(parent);
        Ok(())
    }

    fn hard_link(&mut self, parent: Parent, path: &Path, name: &OsStr, target: &[u8]) -> Result<(), Error> {
        let Some(target_path) = clean(target).filter(|t| t.file_name().is_some()) else {
            return Err(Error::new(
                Kind::Hostile,
                format!("invalid hardlink {:?} -> {:?}", path, OsStr::from_bytes(target)),
            ));
        };
        if target_path == path {
            return Err(Error::new(Kind::Hostile, format!("hardlink {path:?} points to itself")));
        }
        let whole = self.how.base.join(&target_path);
        let found = match self.root.parent(&whole) {
            Ok((directory, last)) => entry::metadata(&directory, last).map(|m| (directory, last, m)),
            Err(error) => Err(error),
        };
        match found {
            Ok((_, _, there)) if there.is_directory() => {
                Err(Error::new(Kind::Hostile, format!("hardlink to a directory: {target_path:?}")))
            }
            Ok((directory, last, there)) if !(self.how.layer && there.is_whiteout()) => {
                self.make(&parent, name, |d| entry::hard_link(&directory, last, d, name))?;
                self.leave(parent);
                Ok(())
            }
            Err(error) if !error.is(Errno::NOENT) => Err(error.into()),
            _ if self.how.layer => {
                self.remember(path)?;
                self.remember(&target_path)?;
                self.found.links.push((path.to_owned(), target_path));
                self.leave(parent);
                Ok(())
            }
            _ => Err(Error::new(Kind::Hostile, format!("hardlink target {target_path:?} does not exist"))),
        }
    }

    fn symlink(&mut self, parent: &Parent, name: &OsStr, target: &[u8], entry: &Entry) -> Result<(), Error> {
        self.make(parent, name, |d| entry::make_symlink(d, name, OsStr::from_bytes(target)))?;
        // As Docker measures: a link is as large as what it says.
        self.found.bytes += target.len() as u64;
        let made = entry::node(&parent.handle, name)?;
        let (uid, gid) = self.owner(entry)?;
        entry::set_owner(&made, uid, gid)?;
        for (key, value) in entry.xattrs.iter().filter(|(key, _)| is_allowed(key)) {
            tolerate(xattr::set_at(&parent.handle, name, key, value))?;
        }
        entry::set_modified(&made, entry.modified)?;
        Ok(())
    }

    fn node(
        &mut self,
        parent: Parent,
        name: &OsStr,
        kind: Node,
        device: (u32, u32),
        entry: &Entry,
    ) -> Result<(), Error> {
        self.make(&parent, name, |d| entry::make_node(d, name, kind, 0o600, device))?;
        let made = entry::node(&parent.handle, name)?;
        self.attributes(&made, entry)?;
        self.leave(parent);
        Ok(())
    }

    /// Creates something that is no directory; whatever has its name gives way.
    fn make<T>(
        &mut self,
        parent: &Parent,
        name: &OsStr,
        create: impl Fn(&OwnedFd) -> linux::Result<T>,
    ) -> Result<T, Error> {
        match create(&parent.handle) {
            Err(error) if error.is(Errno::EXIST) => {
                let there = entry::metadata(&parent.handle, name)?;
                self.clear_the_way(parent, name, there.kind, false)?;
                Ok(create(&parent.handle)?)
            }
            result => Ok(result?),
        }
    }

    fn clear_the_way(
        &mut self,
        parent: &Parent,
        name: &OsStr,
        there: Node,
        directory: bool,
    ) -> Result<(), Error> {
        if self.how.replace == Replace::SameKind && (there == Node::Directory) != directory {
            let path = parent.path.join(name);
            let into: PathBuf = Path::new("/").join(self.how.base).components().collect();
            let (old, new) =
                if directory { ("non-directory", "directory") } else { ("directory", "non-directory") };
            let message = format!("cannot overwrite {old} {path:?} with {new} {into:?}");
            return Err(Error::new(Kind::Other, message));
        }
        if !self.how.layer && entry::holds_mount(&parent.handle, name)? {
            let path = parent.path.join(name);
            let message = format!("RemoveAll {}: device or resource busy", path.display());
            return Err(Error::new(Kind::Other, message));
        }
        if there == Node::Directory {
            // Remembered parents may lie below.
            self.parent = None;
        }
        Ok(entry::remove_tree(&parent.handle, name)?)
    }

    fn fill<R: Read>(
        &mut self,
        file: &mut std::fs::File,
        reader: &mut Reader<R>,
        size: u64,
        segments: Option<&[Segment]>,
    ) -> Result<(), Error> {
        let Some(segments) = segments else {
            return self.copy(file, reader, size);
        };
        file.set_len(size)?;
        for segment in segments {
            file.seek(SeekFrom::Start(segment.offset))?;
            self.copy(file, reader, segment.length)?;
        }
        Ok(())
    }

    fn copy<R: Read>(
        &mut self,
        file: &mut std::fs::File,
        reader: &mut Reader<R>,
        length: u64,
    ) -> Result<(), Error> {
        let mut left = length;
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(BUFFER).min(BUFFER);
            let n = reader.read(&mut self.buffer[..most])?;
            file.write_all(&self.buffer[..n])?;
            left -= n as u64;
        }
        self.found.bytes += length;
        Ok(())
    }

    fn owner(&self, entry: &Entry) -> Result<(u32, u32), Error> {
        match self.how.ownership {
            Ownership::Archive => Ok((entry.uid, entry.gid)),
            Ownership::Fixed { uid, gid } => Ok((uid, gid)),
            Ownership::Inside(ids) => {
                let unknown = |id| {
                    Error::new(Kind::Invalid, format!("container ID {id} cannot be mapped to a host ID"))
                };
                let user = ids.user(entry.uid).ok_or_else(|| unknown(entry.uid))?;
                Ok((user, ids.group(entry.gid).ok_or_else(|| unknown(entry.gid))?))
            }
        }
    }

    fn attributes(&self, node: impl AsFd, entry: &Entry) -> Result<(), Error> {
        let node = node.as_fd();
        let (uid, gid) = self.owner(entry)?;
        entry::set_owner(node, uid, gid)?;
        entry::set_mode(node, entry.mode)?;
        for (key, value) in entry.xattrs.iter().filter(|(key, _)| is_allowed(key)) {
            tolerate(xattr::set(node, key, value))?;
        }
        entry::set_modified(node, entry.modified)?;
        Ok(())
    }

    /// A member of a layer with `.wh.` somewhere in its path.
    fn whiteout(&mut self, path: &Path, name: &[u8]) -> Result<(), Error> {
        if name == OPAQUE {
            let parent = self.enter(path.parent().unwrap_or(Path::new("")))?;
            xattr::set(&parent.handle, OsStr::new(OPAQUE_XATTR), b"y")?;
            self.leave(parent);
            return Ok(());
        }
        // Book-keeping of a file system long gone (`.wh..wh.plnk`, `.wh..wh.aufs`), with all below it.
        if path.iter().any(|part| part.as_bytes().starts_with(WHITEOUT_META)) {
            return Ok(());
        }
        let Some(hidden) = name.strip_prefix(WHITEOUT).filter(|hidden| !hidden.is_empty()) else {
            return Err(Error::new(Kind::Hostile, format!("invalid whiteout {path:?}")));
        };
        if hidden == b"." || hidden == b".." {
            return Err(outside(path.as_os_str().as_bytes()));
        }
        let hidden = OsString::from(OsStr::from_bytes(hidden));
        let parent = self.enter(path.parent().unwrap_or(Path::new("")))?;
        match entry::make_node(&parent.handle, &hidden, Node::Character, 0, (0, 0)) {
            // A whiteout speaks of layers below. What this layer has itself stays, but must not merge.
            Err(error) if error.is(Errno::EXIST) => {
                if entry::metadata(&parent.handle, &hidden)?.is_directory() {
                    let directory = entry::directory(&parent.handle, &hidden)?;
                    xattr::set(&directory, OsStr::new(OPAQUE_XATTR), b"y")?;
                }
            }
            result => result?,
        }
        self.leave(parent);
        Ok(())
    }

    fn finish(mut self) -> Result<Extracted, Error> {
        for (path, time) in std::mem::take(&mut self.directories) {
            // Replaced by something else since, or moved behind a link: then there is nothing to set.
            let Ok(directory) = self.root.resolve(&self.how.base.join(&path)) else { continue };
            if entry::metadata_of(&directory)?.is_directory() {
                entry::set_modified(&directory, time)?;
            }
        }
        let still_there = |path: &PathBuf| self.root.resolve_without_links(path).is_ok();
        self.found.implied = self.implied.iter().filter(|path| still_there(path)).cloned().collect();
        self.found.links.retain(|(path, _)| self.root.resolve_without_links(path).is_err());
        Ok(self.found)
    }
}

struct Parent {
    path: PathBuf,
    handle: OwnedFd,
}

/// A name of an archive as a relative path without `.` and `..`; `None` when it climbs out.
pub(crate) fn clean(path: &[u8]) -> Option<PathBuf> {
    let mut clean = PathBuf::new();
    for component in Path::new(OsStr::from_bytes(path)).components() {
        match component {
            Component::Normal(part) => clean.push(part),
            Component::ParentDir if !clean.pop() => return None,
            _ => {}
        }
    }
    Some(clean)
}

fn is_allowed(name: &OsStr) -> bool {
    !OVERLAY_XATTRS.iter().any(|prefix| name.as_bytes().starts_with(prefix.as_bytes()))
}

/// File systems without xattrs, and names that this one does not take, cost the attribute and not the image.
fn tolerate(result: linux::Result<()>) -> Result<(), Error> {
    match result {
        Err(error) if error.is(Errno::NOTSUP) || error.is(Errno::PERM) => {
            tracing::warn!(%error, "extended attribute left out");
            Ok(())
        }
        result => Ok(result?),
    }
}

fn outside(path: &[u8]) -> Error {
    Error::new(Kind::Hostile, format!("{:?} is outside of the archive's root", OsStr::from_bytes(path)))
}
