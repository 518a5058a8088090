//! What a container has in its own layer without having written it: the places that the engine's files and the kernel's
//! file systems are mounted on, `/etc/mtab`, which shows mounts to old programs, and `/.dockerenv`, by which programs
//! tell that they run in a container. Docker keeps these in a layer between the image and the container; here they lie in the container's, and are passed over where
//! its changes are told (`diff`) or become a layer (`commit`).
//!
//! Nothing that a container writes is lost by this: what is passed over is empty, and covered by a mount while it runs.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use linux::entry::{self, Kind, Metadata};

use crate::Error;

const MARK: &str = ".dockerenv";
const MTAB: &str = "etc/mtab";
const MOUNTS: &str = "/proc/mounts";
const FILES: [&[u8]; 4] = [b".dockerenv", b"etc/hostname", b"etc/hosts", b"etc/resolv.conf"];
const DIRECTORIES: [&[u8]; 3] = [b"dev", b"proc", b"sys"];

/// Puts the mark into a new layer.
pub(crate) fn mark(upper: &Path) -> io::Result<()> {
    let options = OpenOptions::new().write(true).create(true).truncate(false).mode(0o755).clone();
    options.open(upper.join(MARK)).map(drop)
}

/// Whether what is at `path`, relative to the root, is scaffold.
pub(crate) fn is_scaffold(path: &[u8], node: BorrowedFd<'_>, metadata: &Metadata) -> Result<bool, Error> {
    Ok(match metadata.kind {
        Kind::File => metadata.size == 0 && FILES.contains(&path),
        Kind::Directory => DIRECTORIES.contains(&path) && entry::list(node)?.is_empty(),
        Kind::Symlink => path == MTAB.as_bytes() && entry::read_link_of(node)? == MOUNTS,
        _ => false,
    })
}

/// Bytes of a layer that are scaffold, which no size counts.
pub fn scaffold_bytes(upper: &Path) -> u64 {
    let link = std::fs::read_link(upper.join(MTAB));
    if link.is_ok_and(|target| target == Path::new(MOUNTS)) { MOUNTS.len() as u64 } else { 0 }
}

/// Whether a directory's time says nothing, since the engine has made scaffold in it.
pub(crate) fn is_touched(path: &[u8]) -> bool {
    path == b"etc"
}
