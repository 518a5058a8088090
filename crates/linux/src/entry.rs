//! Entries of a directory, by handle: the `*at` calls.
//!
//! [`crate::path`] finds a directory inside a root; here its entries are made, looked at and removed. Every call names one
//! entry of one directory handle and never follows a link, so it cannot be led elsewhere by whoever controls the tree.
//!
//! Directory and node handles are `O_PATH`: opening them neither blocks on a fifo nor wakes a device. What such a handle cannot do
//! by itself (`fchmod`) goes through its `/proc/self/fd` link, which leads to the inode that was opened and nowhere else.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;

use rustix::fs::{self, AtFlags, Dir, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid};

use crate::error::Context;
use crate::{Errno, Error, Result};

/// How deep [`remove_tree`] goes before it hoists a directory: one descriptor is open per level.
const DEPTH: usize = 128;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    File,
    Directory,
    Symlink,
    Fifo,
    Character,
    Block,
    Socket,
}

/// Seconds and nanoseconds since the epoch; seconds may be negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Time {
    pub seconds: i64,
    pub nanoseconds: u32,
}

/// What `stat` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    pub kind: Kind,
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub size: u64,
    pub links: u64,
    pub modified: Time,
    pub changed: Time,
    /// Major and minor number of a device node.
    pub device: (u32, u32),
    /// File system and inode: two entries with equal values are one file.
    pub identity: (u64, u64),
    /// Space in use, in units of 512 bytes.
    pub blocks: u64,
}

impl Metadata {
    pub fn is_directory(&self) -> bool {
        self.kind == Kind::Directory
    }

    /// Whether overlayfs reads this entry as "deleted".
    pub fn is_whiteout(&self) -> bool {
        self.kind == Kind::Character && self.device == (0, 0)
    }

    fn from_stat(stat: &fs::Stat) -> Metadata {
        let device = stat.st_rdev;
        Metadata {
            kind: Kind::from_type(FileType::from_raw_mode(stat.st_mode)),
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            links: u64::from(stat.st_nlink as u32),
            modified: Time { seconds: stat.st_mtime, nanoseconds: stat.st_mtime_nsec as u32 },
            changed: Time { seconds: stat.st_ctime, nanoseconds: stat.st_ctime_nsec as u32 },
            device: (fs::major(device), fs::minor(device)),
            identity: (stat.st_dev, stat.st_ino),
            blocks: u64::try_from(stat.st_blocks).unwrap_or(0),
        }
    }
}

impl Kind {
    fn from_type(kind: FileType) -> Kind {
        match kind {
            FileType::Directory => Kind::Directory,
            FileType::Symlink => Kind::Symlink,
            FileType::Fifo => Kind::Fifo,
            FileType::CharacterDevice => Kind::Character,
            FileType::BlockDevice => Kind::Block,
            FileType::Socket => Kind::Socket,
            FileType::RegularFile | FileType::Unknown => Kind::File,
        }
    }
}

/// A handle on one entry, whatever it is.
pub fn node(directory: impl AsFd, name: &OsStr) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    fs::openat(directory, name, flags, Mode::empty())
        .context("openat", || format!("{name:?}, O_PATH|O_NOFOLLOW"))
}

/// A handle on an entry that must be a directory.
pub fn directory(parent: impl AsFd, name: &OsStr) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    fs::openat(parent, name, flags, Mode::empty())
        .context("openat", || format!("{name:?}, O_PATH|O_DIRECTORY"))
}

/// Opens the regular file behind a node handle for reading.
pub fn read_node(node: impl AsFd) -> Result<File> {
    let path = proc_path(node.as_fd());
    let flags = OFlags::RDONLY | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    fs::open(&path, flags, Mode::empty()).map(File::from).context("open", || format!("{path:?}, O_RDONLY"))
}

/// Creates a regular file that was not there.
pub fn create_file(directory: impl AsFd, name: &OsStr, mode: u32) -> Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    fs::openat(directory, name, flags, Mode::from_raw_mode(mode & 0o7777))
        .map(File::from)
        .context("openat", || format!("{name:?}, O_WRONLY|O_CREAT|O_EXCL"))
}

pub fn make_directory(parent: impl AsFd, name: &OsStr, mode: u32) -> Result<()> {
    fs::mkdirat(parent, name, Mode::from_raw_mode(mode & 0o7777))
        .context("mkdirat", || format!("{name:?}, {mode:#o}"))
}

pub fn make_symlink(directory: impl AsFd, name: &OsStr, target: &OsStr) -> Result<()> {
    fs::symlinkat(target, directory, name).context("symlinkat", || format!("{target:?}, {name:?}"))
}

/// Creates a fifo, socket or device node. `device` counts for devices only.
pub fn make_node(
    directory: impl AsFd,
    name: &OsStr,
    kind: Kind,
    mode: u32,
    device: (u32, u32),
) -> Result<()> {
    let file_type = match kind {
        Kind::Fifo => FileType::Fifo,
        Kind::Socket => FileType::Socket,
        Kind::Character => FileType::CharacterDevice,
        Kind::Block => FileType::BlockDevice,
        Kind::File | Kind::Directory | Kind::Symlink => {
            return Err(Error::new("mknodat", format!("{name:?}, {kind:?}"), Errno::INVAL));
        }
    };
    let (major, minor) = device;
    fs::mknodat(directory, name, file_type, Mode::from_raw_mode(mode & 0o7777), fs::makedev(major, minor))
        .context("mknodat", || format!("{name:?}, {kind:?}, {mode:#o}, makedev({major}, {minor})"))
}

/// One more name for the entry `name`; a link is linked itself, not followed.
pub fn hard_link(directory: impl AsFd, name: &OsStr, to: impl AsFd, new: &OsStr) -> Result<()> {
    fs::linkat(directory, name, to, new, AtFlags::empty()).context("linkat", || format!("{name:?}, {new:?}"))
}

pub fn rename(directory: impl AsFd, name: &OsStr, to: impl AsFd, new: &OsStr) -> Result<()> {
    fs::renameat(directory, name, to, new).context("renameat", || format!("{name:?}, {new:?}"))
}

/// Removes an entry that is no directory.
pub fn remove_file(directory: impl AsFd, name: &OsStr) -> Result<()> {
    fs::unlinkat(directory, name, AtFlags::empty()).context("unlinkat", || format!("{name:?}"))
}

pub fn remove_directory(parent: impl AsFd, name: &OsStr) -> Result<()> {
    fs::unlinkat(parent, name, AtFlags::REMOVEDIR).context("unlinkat", || format!("{name:?}, AT_REMOVEDIR"))
}

/// Whether something is mounted on an entry, or below it, as the handle's mounts have it. Where they are another mount
/// namespace's, the kernel lets us remove the entry, and takes the mount away with it.
pub fn holds_mount(directory: impl AsFd, name: &OsStr) -> Result<bool> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    let found = fs::statx(&directory, name, flags, fs::StatxFlags::TYPE)
        .context("statx", || format!("{name:?}, AT_SYMLINK_NOFOLLOW"))?;
    if found.stx_attributes.contains(fs::StatxAttributes::MOUNT_ROOT) {
        return Ok(true);
    }
    if FileType::from_raw_mode(found.stx_mode.into()) != FileType::Directory {
        return Ok(false);
    }
    let mut ahead = vec![self::directory(&directory, name)?];
    while let Some(directory) = ahead.pop() {
        for (name, kind) in list(&directory)? {
            let found = fs::statx(&directory, &*name, flags, fs::StatxFlags::empty())
                .context("statx", || format!("{name:?}, AT_SYMLINK_NOFOLLOW"))?;
            if found.stx_attributes.contains(fs::StatxAttributes::MOUNT_ROOT) {
                return Ok(true);
            }
            if kind == Kind::Directory {
                ahead.push(self::directory(&directory, &name)?);
            }
        }
    }
    Ok(false)
}

/// Removes an entry with all that is below it. Trees of any depth are fine, and a missing entry too.
pub fn remove_tree(parent: impl AsFd, name: &OsStr) -> Result<()> {
    match remove_file(&parent, name) {
        Err(error) if error.is(Errno::ISDIR) => {}
        Err(error) if error.is(Errno::NOENT) => return Ok(()),
        result => return result,
    }
    let top = directory(&parent, name)?;
    let mut hoisted = 0;
    // What was too deep was hoisted to the top and is the next round's work.
    loop {
        clear(top.as_fd(), top.as_fd(), 0, &mut hoisted)?;
        match remove_directory(&parent, name) {
            Err(error) if error.is(Errno::NOTEMPTY) && hoisted > 0 => hoisted = 0,
            result => return result,
        }
    }
}

fn clear(top: BorrowedFd<'_>, at: BorrowedFd<'_>, depth: usize, hoisted: &mut usize) -> Result<()> {
    for (name, kind) in list(at)? {
        if kind != Kind::Directory {
            remove_file(at, &name)?;
        } else if depth == DEPTH {
            *hoisted += 1;
            let new = format!(".hoisted-{hoisted}-{}", metadata(at, &name)?.identity.1);
            rename(at, &name, top, OsStr::new(&new))?;
        } else {
            let child = directory(at, &name)?;
            clear(top, child.as_fd(), depth + 1, hoisted)?;
            drop(child);
            remove_directory(at, &name)?;
        }
    }
    Ok(())
}

/// The entries of a directory handle, without `.` and `..`, in the order of the file system.
pub fn list(directory: impl AsFd) -> Result<Vec<(OsString, Kind)>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let readable = fs::openat(&directory, ".", flags, Mode::empty())
        .context("openat", || "\".\", O_RDONLY|O_DIRECTORY")?;
    let mut found = Vec::new();
    for entry in Dir::new(readable).context("fdopendir", || "\".\"")? {
        let entry = entry.context("getdents64", || "\".\"")?;
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        let name = OsString::from_vec(name.to_vec());
        let kind = match entry.file_type() {
            FileType::Unknown => metadata(&directory, &name)?.kind,
            known => Kind::from_type(known),
        };
        found.push((name, kind));
    }
    Ok(found)
}

/// `lstat` of an entry.
pub fn metadata(directory: impl AsFd, name: &OsStr) -> Result<Metadata> {
    fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)
        .map(|stat| Metadata::from_stat(&stat))
        .context("fstatat", || format!("{name:?}, AT_SYMLINK_NOFOLLOW"))
}

/// `fstat` of any handle.
pub fn metadata_of(node: impl AsFd) -> Result<Metadata> {
    fs::fstat(node).map(|stat| Metadata::from_stat(&stat)).context("fstat", || "handle")
}

/// Where a link points.
pub fn read_link(directory: impl AsFd, name: &OsStr) -> Result<OsString> {
    fs::readlinkat(directory, name, Vec::new())
        .map(|target| OsString::from_vec(target.into_bytes()))
        .context("readlinkat", || format!("{name:?}"))
}

/// Where the link behind a node handle points.
pub fn read_link_of(node: impl AsFd) -> Result<OsString> {
    read_link(node, OsStr::new(""))
}

/// Changes owner and group of what a handle stands for, links included.
pub fn set_owner(node: impl AsFd, uid: u32, gid: u32) -> Result<()> {
    fs::chownat(node, "", Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), AtFlags::EMPTY_PATH)
        .context("fchownat", || format!("\"\", {uid}, {gid}, AT_EMPTY_PATH"))
}

/// Changes the permission bits of what a handle stands for. Links have none.
pub fn set_mode(node: impl AsFd, mode: u32) -> Result<()> {
    let node = node.as_fd();
    let bits = Mode::from_raw_mode(mode & 0o7777);
    match fs::fchmod(node, bits) {
        Err(Errno::BADF) => fs::chmod(proc_path(node), bits),
        result => result,
    }
    .context("fchmod", || format!("{mode:#o}"))
}

/// Sets the modification time; the access time becomes the same.
pub fn set_modified(node: impl AsFd, time: Time) -> Result<()> {
    let value = Timespec { tv_sec: time.seconds, tv_nsec: i64::from(time.nanoseconds) as _ };
    let times = Timestamps { last_access: value, last_modification: value };
    fs::utimensat(node, "", &times, AtFlags::EMPTY_PATH)
        .context("utimensat", || format!("\"\", {}.{:09}, AT_EMPTY_PATH", time.seconds, time.nanoseconds))
}

fn proc_path(node: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", node.as_raw_fd())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::Root;

    fn name(text: &str) -> &OsStr {
        OsStr::new(text)
    }

    #[test]
    fn attributes_go_to_the_entry_itself() {
        let scratch = scratch::Directory::new("entry");
        let root = Root::open(&scratch).unwrap();
        drop(create_file(&root, name("f"), 0o600).unwrap());
        make_symlink(&root, name("l"), name("f")).unwrap();
        let time = Time { seconds: -5, nanoseconds: 7 };

        let file = node(&root, name("f")).unwrap();
        set_mode(&file, 0o4711).unwrap();

        let link = node(&root, name("l")).unwrap();
        set_modified(&link, time).unwrap();
        assert_eq!(read_link_of(&link).unwrap(), "f");
        assert_eq!(metadata_of(&link).unwrap().modified, time);
        let file = metadata(&root, name("f")).unwrap();
        assert_eq!(file.mode, 0o4711);
        assert!(file.modified != time);
    }

    #[test]
    fn trees_deeper_than_the_descriptor_limit_vanish() {
        let scratch = scratch::Directory::new("entry");
        let root = Root::open(&scratch).unwrap();
        make_directory(&root, name("top"), 0o755).unwrap();
        let mut at = directory(&root, name("top")).unwrap();
        for _ in 0..1500 {
            make_directory(&at, name("d"), 0o755).unwrap();
            at = directory(&at, name("d")).unwrap();
        }
        drop(create_file(&at, name("f"), 0o600).unwrap());
        remove_tree(&root, name("top")).unwrap();
        assert!(list(&root).unwrap().is_empty());
        remove_tree(&root, name("top")).unwrap();
    }
}
