//! Walks a tree by handles and writes it as an archive: `cp` out of a container, `export`, the layer of a `commit`.
//!
//! The tree may be a running container's and change under our feet, so every entry is opened once (`O_PATH`, links not followed) and
//! its attributes and bytes come from that handle. What vanished between listing and opening is left out. Names are sorted, so one
//! tree has one archive. Sockets have no place in an archive and are skipped, as by Docker.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use linux::Errno;
use linux::entry::{self, Kind as Node, Metadata, Time};
use linux::path::Root;
use linux::xattr;

use super::entry::{Content, Entry};
use super::extract::OPAQUE_XATTR;
use super::writer::Writer;
use crate::{Error, Kind};

/// Depth of a tree; one descriptor is open per level.
const DEPTH: usize = 900;

/// Attributes that belong to this host or to overlayfs and would be wrong or dangerous elsewhere.
const PRIVATE_XATTRS: [&str; 4] = ["trusted.overlay.", "user.overlay.", "security.selinux", "security.ima"];

/// Writes everything below `directory`, without an entry for the directory itself: `export`.
pub fn archive_tree<W: Write>(directory: impl AsFd, writer: &mut Writer<W>) -> Result<(), Error> {
    Walk::new(writer, false).children(directory.as_fd(), b"", 0)
}

/// Writes an overlay upper directory as an image layer: whiteouts and opaque marks in their archive form.
pub(crate) fn archive_layer<W: Write>(upper: impl AsFd, writer: &mut Writer<W>) -> Result<(), Error> {
    Walk::new(writer, true).children(upper.as_fd(), b"", 0)
}

/// Writes what is at `path` in `root`, under the name `name` (`.` for the content of a directory): `cp`.
///
/// Links on the way are followed inside the root, one at the end only if `path` ends with `/` or `/.`.
pub fn archive_path<W: Write>(
    root: &Root,
    path: &Path,
    name: &OsStr,
    writer: &mut Writer<W>,
) -> Result<(), Error> {
    let bytes = path.as_os_str().as_bytes();
    let follow = bytes.ends_with(b"/") || bytes.ends_with(b"/.") || path.file_name().is_none();
    let node = if follow {
        root.resolve(path)?
    } else {
        let (directory, last) = root.parent(path)?;
        entry::node(&directory, last)?
    };
    let mut walk = Walk::new(writer, false);
    walk.node(node.as_fd(), name.as_bytes(), 0)
}

struct Walk<'a, W: Write> {
    writer: &'a mut Writer<W>,
    layer: bool,
    /// Files with several names that have been written, by identity.
    seen: HashMap<(u64, u64), Vec<u8>>,
}

impl<'a, W: Write> Walk<'a, W> {
    fn new(writer: &'a mut Writer<W>, layer: bool) -> Self {
        Self { writer, layer, seen: HashMap::new() }
    }

    fn children(&mut self, directory: BorrowedFd<'_>, path: &[u8], depth: usize) -> Result<(), Error> {
        if depth > DEPTH {
            return Err(Error::new(Kind::Invalid, format!("directory tree is deeper than {DEPTH} levels")));
        }
        let mut names: Vec<OsString> = entry::list(directory)?.into_iter().map(|(name, _)| name).collect();
        names.sort();
        for name in names {
            let node = match entry::node(directory, &name) {
                Err(error) if error.is(Errno::NOENT) => continue,
                node => node?,
            };
            self.node(node.as_fd(), &join(path, name.as_bytes()), depth)?;
        }
        Ok(())
    }

    fn node(&mut self, node: BorrowedFd<'_>, path: &[u8], depth: usize) -> Result<(), Error> {
        let metadata = entry::metadata_of(node)?;
        if self.layer && metadata.is_whiteout() {
            return self.writer.add(&marker(whiteout_path(path), metadata.modified));
        }
        if metadata.links > 1 && metadata.kind != Node::Directory {
            if let Some(first) = self.seen.get(&metadata.identity) {
                let content = Content::HardLink { target: first.clone() };
                return self.writer.add(&member(path, content, &metadata, Vec::new()));
            }
            self.seen.insert(metadata.identity, path.to_vec());
        }
        let Some(content) = content(node, &metadata)? else { return Ok(()) };
        let xattrs = if metadata.kind == Node::Symlink { Vec::new() } else { xattrs(node)? };
        let entry = member(path, content, &metadata, xattrs);
        match metadata.kind {
            Node::File => self.writer.add_file(&entry, entry::read_node(node)?),
            Node::Directory => {
                self.writer.add(&entry)?;
                if self.layer && xattr::get(node, OsStr::new(OPAQUE_XATTR))?.as_deref() == Some(b"y") {
                    self.writer.add(&marker(join(path, b".wh..wh..opq"), metadata.modified))?;
                }
                match self.writer.closed.contains(&metadata.identity) {
                    true => Ok(()),
                    false => self.children(node, path, depth + 1),
                }
            }
            _ => self.writer.add(&entry),
        }
    }
}

fn content(node: BorrowedFd<'_>, metadata: &Metadata) -> Result<Option<Content>, Error> {
    let (major, minor) = metadata.device;
    Ok(Some(match metadata.kind {
        Node::File => Content::File { size: metadata.size, segments: None },
        Node::Directory => Content::Directory,
        Node::Symlink => Content::Symlink { target: entry::read_link_of(node)?.as_bytes().to_vec() },
        Node::Fifo => Content::Fifo,
        Node::Character => Content::Character { major, minor },
        Node::Block => Content::Block { major, minor },
        Node::Socket => return Ok(None),
    }))
}

fn member(path: &[u8], content: Content, metadata: &Metadata, xattrs: Vec<(OsString, Vec<u8>)>) -> Entry {
    Entry {
        path: path.to_vec(),
        content,
        mode: metadata.mode,
        uid: metadata.uid,
        gid: metadata.gid,
        modified: Time { nanoseconds: 0, ..metadata.modified },
        xattrs,
    }
}

/// An empty file that stands for something: a whiteout or an opaque mark.
fn marker(path: Vec<u8>, modified: Time) -> Entry {
    Entry {
        path,
        content: Content::File { size: 0, segments: None },
        mode: 0o600,
        uid: 0,
        gid: 0,
        modified: Time { nanoseconds: 0, ..modified },
        xattrs: Vec::new(),
    }
}

fn xattrs(node: BorrowedFd<'_>) -> Result<Vec<(OsString, Vec<u8>)>, Error> {
    let mut found = Vec::new();
    for name in xattr::list(node)? {
        if PRIVATE_XATTRS.iter().any(|private| name.as_bytes().starts_with(private.as_bytes())) {
            continue;
        }
        // Key and value are one line of a PAX header; a name with `=` would be read as something else.
        if name.as_bytes().contains(&b'=') {
            return Err(io::Error::other(format!("extended attribute {name:?} cannot be archived")).into());
        }
        if let Some(value) = xattr::get(node, &name)? {
            found.push((name, value));
        }
    }
    found.sort();
    Ok(found)
}

fn join(path: &[u8], name: &[u8]) -> Vec<u8> {
    let slash: &[u8] = if path.is_empty() || path.ends_with(b"/") { b"" } else { b"/" };
    [path, slash, name].concat()
}

fn whiteout_path(path: &[u8]) -> Vec<u8> {
    let at = path.iter().rposition(|b| *b == b'/').map_or(0, |slash| slash + 1);
    [&path[..at], b".wh.", &path[at..]].concat()
}
