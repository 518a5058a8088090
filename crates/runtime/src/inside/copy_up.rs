//! `tmpcopyup`: a new tmpfs starts with what was on its place.
//!
//! The source is the container's (an image's): entries are opened one by one without following links, and the
//! depth is bounded. Device nodes, sockets and fifos are left out, as they are by other runtimes.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd};

use linux::entry::{self, Kind};

use crate::{Error, Result, error::Step};

/// Deeper trees are refused: each level holds two descriptors.
const MAX_DEPTH: u32 = 128;

pub(crate) fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<()> {
    copy_directory(from, to, MAX_DEPTH)?;
    let source = entry::metadata_of(from).step(|| "copy")?;
    entry::set_owner(to, source.uid, source.gid).step(|| "copy")
}

fn copy_directory(from: BorrowedFd<'_>, to: BorrowedFd<'_>, depth: u32) -> Result<()> {
    if depth == 0 {
        return Err(Error::invalid(format_args!("directories are nested more than {MAX_DEPTH} deep")));
    }
    for (name, kind) in entry::list(from).step(|| "copy")? {
        copy_entry(from, to, &name, kind, depth).step(|| format!("{name:?}"))?;
    }
    Ok(())
}

fn copy_entry(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &OsStr, kind: Kind, depth: u32) -> Result<()> {
    let metadata = entry::metadata(from, name).step(|| "copy")?;
    match kind {
        Kind::Directory => {
            entry::make_directory(to, name, 0o700).step(|| "copy")?;
            let (source, target) =
                (entry::directory(from, name).step(|| "copy")?, entry::directory(to, name).step(|| "copy")?);
            copy_directory(source.as_fd(), target.as_fd(), depth - 1)?;
        }
        Kind::File => {
            let source = entry::node(from, name).step(|| "copy")?;
            let mut reader = entry::read_node(&source).step(|| "copy")?;
            let mut writer = entry::create_file(to, name, 0o600).step(|| "copy")?;
            std::io::copy(&mut reader, &mut writer).step(|| "copy")?;
        }
        Kind::Symlink => {
            let target = entry::read_link(from, name).step(|| "copy")?;
            entry::make_symlink(to, name, &target).step(|| "copy")?;
        }
        Kind::Fifo | Kind::Character | Kind::Block | Kind::Socket => return Ok(()),
    }
    let made = entry::node(to, name).step(|| "copy")?;
    entry::set_owner(&made, metadata.uid, metadata.gid).step(|| "copy")?;
    if kind != Kind::Symlink {
        // After the owner: a change of owner drops setuid.
        entry::set_mode(&made, metadata.mode).step(|| "copy")?;
    }
    Ok(())
}
