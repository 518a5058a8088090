//! The container's terminal: made in its own devpts, seen as `/dev/console`.

use std::os::fd::OwnedFd;
use std::path::Path;

use linux::entry::{self, Kind};
use linux::path::Root;
use linux::pty::{self, Size, Terminal};
use linux::{Errno, disk, mount};

use super::rootfs;
use crate::{Error, Result, error::Step};

const DEVPTS_SUPER_MAGIC: i64 = 0x1cd1;

/// A new terminal. From the container's devpts if it has one, so that its name there is right; else the host's.
pub(crate) fn open(root: &Root, size: Option<Size>, keeps_line_ends: bool) -> Result<Terminal> {
    let terminal = match devpts(root)? {
        Some(devpts) => pty::open(&devpts),
        None => pty::open_own(),
    }
    .step(|| "terminal")?;
    if let Some(size) = size {
        pty::resize(&terminal.slave, size).step(|| "terminal")?;
    }
    if keeps_line_ends {
        pty::keep_line_ends(&terminal.slave).step(|| "terminal")?;
    }
    Ok(terminal)
}

fn devpts(root: &Root) -> Result<Option<OwnedFd>> {
    match root.resolve(Path::new("/dev/pts")) {
        Ok(found) if disk::magic(&found).step(|| "/dev/pts")? == DEVPTS_SUPER_MAGIC => Ok(Some(found)),
        Ok(_) => Ok(None),
        Err(error) if error.is(Errno::NOENT) => Ok(None),
        Err(error) => Err(error).step(|| "/dev/pts"),
    }
}

/// Puts the terminal where programs look for the console. The place is made or checked without following links:
/// what an image put there must not decide where the terminal goes.
pub(crate) fn bind(root: &Root, terminal: &Terminal) -> Result<()> {
    let step = || "unable to set up /dev/console";
    let (directory, name) = rootfs::parent(root, Path::new("/dev/console"))?;
    match entry::create_file(&directory, name, 0o600) {
        Err(error) if !error.is(Errno::EXIST) => return Err(error).step(step),
        _ => {}
    }
    let place = entry::node(&directory, name).step(step)?;
    let kind = entry::metadata_of(&place).step(step)?.kind;
    if !matches!(kind, Kind::File | Kind::Character) {
        return Err(Error::other(format_args!("{}: {kind:?} is in its place", step())));
    }
    let slave = mount::clone_handle(&terminal.slave, false).step(step)?;
    mount::attach(&slave, &place).step(step)
}
