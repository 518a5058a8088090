//! Writes tar archives: ustar headers, PAX records for what does not fit them, whole seconds, no user names.
//!
//! That is the form of Docker's own archives and of every layer in use, and it is the same for the same tree: keys are sorted, nothing
//! depends on the clock or the host.

use std::collections::HashSet;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;

use linux::namespace::IdMaps;
use tar::{EntryType, Header};

use super::entry::{Content, Entry};
use super::pax::XATTR_PREFIX;
use crate::Error;

const BLOCK: u64 = 512;

/// Largest values of the octal fields.
const OCTAL_7: u64 = 0o777_7777;
const OCTAL_11: u64 = 0o777_7777_7777;

const BUFFER: usize = 256 << 10;

/// An archive being written.
pub struct Writer<W: Write> {
    out: W,
    buffer: Vec<u8>,
    ids: Option<IdMaps>,
    /// Directories that a walk writes without what is in them, by identity.
    pub(super) closed: HashSet<(u64, u64)>,
}

impl<W: Write> Writer<W> {
    pub fn new(out: W) -> Self {
        Self { out, buffer: vec![0; BUFFER], ids: None, closed: HashSet::new() }
    }

    /// Members are owned by whom processes of this user namespace see as the owner.
    pub fn seen_from(self, ids: Option<IdMaps>) -> Self {
        Self { ids, ..self }
    }

    /// Nothing is written of what these directories have in them: they are told by device and inode.
    pub fn without_content_of(self, closed: HashSet<(u64, u64)>) -> Self {
        Self { closed, ..self }
    }

    /// Adds a member without data of its own.
    pub fn add(&mut self, entry: &Entry) -> Result<(), Error> {
        self.add_file(entry, io::empty())
    }

    /// Adds a member and exactly as many bytes as it announces. A file that shrank meanwhile is filled up with zeros, as GNU tar
    /// does: the archive stays readable, and its reader sees the size that was true when we looked.
    pub fn add_file(&mut self, entry: &Entry, mut data: impl Read) -> Result<(), Error> {
        let size = match &entry.content {
            Content::File { size, .. } => *size,
            _ => 0,
        };
        self.header(entry, size)?;
        let mut left = size;
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(BUFFER).min(BUFFER);
            let n = match data.read(&mut self.buffer[..most]) {
                Ok(0) => {
                    self.buffer[..most].fill(0);
                    most
                }
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e.into()),
            };
            self.out.write_all(&self.buffer[..n])?;
            left -= n as u64;
        }
        self.pad(size)
    }

    /// A small file of our own making: a document of an image archive.
    pub fn add_document(&mut self, path: &str, content: &[u8], modified: i64) -> Result<(), Error> {
        let entry = Entry {
            path: path.as_bytes().to_vec(),
            content: Content::File { size: content.len() as u64, segments: None },
            mode: 0o644,
            uid: 0,
            gid: 0,
            modified: super::entry::Time { seconds: modified, nanoseconds: 0 },
            xattrs: Vec::new(),
        };
        self.add_file(&entry, content)
    }

    /// Ends the archive and gives the stream back.
    pub fn finish(mut self) -> Result<W, Error> {
        self.out.write_all(&[0; 2 * BLOCK as usize])?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn header(&mut self, entry: &Entry, size: u64) -> Result<(), Error> {
        let mut records = Vec::new();
        let mut header = Header::new_ustar();
        let mut path = entry.path.clone();
        if entry.content == Content::Directory && !path.ends_with(b"/") {
            path.push(b'/');
        }
        set_path(&mut header, &path, &mut records);
        let (kind, link) = kind(&entry.content);
        header.set_entry_type(kind);
        if link.len() > 100 || !link.is_ascii() {
            record(&mut records, b"linkpath", link);
        }
        if let Some(ustar) = header.as_ustar_mut() {
            copy(&mut ustar.linkname, link);
            if let Content::Character { major, minor } | Content::Block { major, minor } = entry.content {
                ustar.set_device_major(major);
                ustar.set_device_minor(minor);
            }
        }
        header.set_mode(entry.mode & 0o7777);
        let (uid, gid) = match &self.ids {
            Some(ids) => ids.seen(entry.uid, entry.gid),
            None => (entry.uid, entry.gid),
        };
        header.set_uid(fitting(&mut records, b"uid", uid.into(), OCTAL_7));
        header.set_gid(fitting(&mut records, b"gid", gid.into(), OCTAL_7));
        header.set_size(fitting(&mut records, b"size", size, OCTAL_11));
        match u64::try_from(entry.modified.seconds).ok().filter(|t| *t <= OCTAL_11) {
            Some(seconds) => header.set_mtime(seconds),
            None => {
                header.set_mtime(0);
                record(&mut records, b"mtime", entry.modified.seconds.to_string().as_bytes());
            }
        }
        for (name, value) in &entry.xattrs {
            let key = [XATTR_PREFIX.as_bytes(), name.as_bytes()].concat();
            record(&mut records, &key, value);
        }
        header.set_cksum();
        if !records.is_empty() {
            self.extension(&path, records)?;
        }
        Ok(self.out.write_all(header.as_bytes())?)
    }

    fn extension(&mut self, path: &[u8], mut records: Vec<(Vec<u8>, Vec<u8>)>) -> Result<(), Error> {
        records.sort();
        let body: Vec<u8> = records.into_iter().flat_map(|(_, line)| line).collect();
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::XHeader);
        header.set_mode(0o644);
        header.set_size(body.len() as u64);
        let trimmed = path.strip_suffix(b"/").unwrap_or(path);
        let base = trimmed.rsplit(|b| *b == b'/').next().unwrap_or_default();
        if let Some(ustar) = header.as_ustar_mut() {
            copy(&mut ustar.name, &[b"PaxHeaders.0/", base].concat());
        }
        header.set_cksum();
        self.out.write_all(header.as_bytes())?;
        self.out.write_all(&body)?;
        self.pad(body.len() as u64)
    }

    fn pad(&mut self, size: u64) -> Result<(), Error> {
        let padding = (size.next_multiple_of(BLOCK) - size) as usize;
        Ok(self.out.write_all(&[0; BLOCK as usize][..padding])?)
    }
}

fn kind(content: &Content) -> (EntryType, &[u8]) {
    match content {
        Content::File { .. } => (EntryType::Regular, b""),
        Content::Directory => (EntryType::Directory, b""),
        Content::Symlink { target } => (EntryType::Symlink, target),
        Content::HardLink { target } => (EntryType::Link, target),
        Content::Fifo => (EntryType::Fifo, b""),
        Content::Character { .. } => (EntryType::Char, b""),
        Content::Block { .. } => (EntryType::Block, b""),
    }
}

/// The name as it is, or cut into ustar's two fields, or as a PAX record, which alone says in what characters it is
/// written.
fn set_path(header: &mut Header, path: &[u8], records: &mut Vec<(Vec<u8>, Vec<u8>)>) {
    let Some(ustar) = header.as_ustar_mut() else { return };
    if !path.is_ascii() {
        record(records, b"path", path);
    }
    if path.len() <= 100 {
        return copy(&mut ustar.name, path);
    }
    // The slash between the fields is not stored; the name must not become empty.
    let split = path.iter().enumerate().rev().find(|(at, byte)| {
        **byte == b'/' && *at <= 155 && *at > 0 && path.len() - at - 1 <= 100 && path.len() - at > 1
    });
    match split {
        Some((at, _)) => {
            copy(&mut ustar.prefix, &path[..at]);
            copy(&mut ustar.name, &path[at + 1..]);
        }
        None => {
            copy(&mut ustar.name, path);
            if path.is_ascii() {
                record(records, b"path", path);
            }
        }
    }
}

fn fitting(records: &mut Vec<(Vec<u8>, Vec<u8>)>, key: &[u8], value: u64, most: u64) -> u64 {
    if value <= most {
        return value;
    }
    record(records, key, value.to_string().as_bytes());
    0
}

/// `<length> <key>=<value>\n`, where the length counts its own digits.
fn record(records: &mut Vec<(Vec<u8>, Vec<u8>)>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    let line = [length.to_string().as_bytes(), b" ", key, b"=", value, b"\n"].concat();
    records.push((key.to_vec(), line));
}

fn copy(field: &mut [u8], value: &[u8]) {
    let n = value.len().min(field.len());
    field[..n].copy_from_slice(&value[..n]);
}
