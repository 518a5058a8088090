//! The running program, out of reach of whoever gets hold of one of our processes.
//!
//! `/proc/<pid>/exe` leads to the file that a process executes. Whoever may open that, and waits until nobody executes it
//! any more, could write to it; so what enters containers runs from a handle on the file that nothing can be written by.
//!
//! | as | how | price |
//! | --- | --- | --- |
//! | root | an overlay without a layer to write to | 0.1 ms |
//! | root, where that cannot be (layers in each other, stacked too high) | a read-only mount that is attached nowhere | 0.04 ms |
//! | a user | a sealed copy in memory | that of the copy |

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, StatVfsMountFlags};

use super::execute_open;
use crate::{Errno, Error, Result, disk, fd, mount};

const OVERLAYFS_SUPER_MAGIC: i64 = 0x794c_7630;

/// The running program's file on a mount that nobody can write through, for the next execution of it.
///
/// Whoever gets hold of a process of ours through `/proc/<pid>/exe` can otherwise open the program for writing
/// once nobody executes it. The handle is a read-only clone of a one-file mount, in no mount namespace; when the
/// descriptor is closed the kernel takes the mount apart and nobody can ever make it writable again.
pub fn sealed_program(file: &Path) -> Result<OwnedFd> {
    let tree = mount::clone_tree(None, file, false)?;
    let attributes = mount::Attributes { set: mount::RDONLY, ..Default::default() };
    mount::set_attributes(tree.as_fd(), &attributes, false)?;
    Ok(tree)
}

/// A copy of the running program in memory that nobody can write to. `None` where it runs from one already.
fn sealed_copy(file: &Path) -> Result<Option<OwnedFd>> {
    if file.to_string_lossy().starts_with("/memfd:") {
        return Ok(None);
    }
    let copy = fd::memory_file("program")?;
    let mut program = std::fs::File::open(file)
        .map_err(|error| Error::from_io("open", format_args!("{file:?}"), &error))?;
    let mut writer = std::fs::File::from(copy);
    std::io::copy(&mut program, &mut writer)
        .map_err(|error| Error::from_io("copy", format_args!("{file:?}"), &error))?;
    let copy = OwnedFd::from(writer);
    fd::seal(&copy)?;
    Ok(Some(copy))
}

/// The same by a file system of its own: an overlay without a layer to write to. What a read-only mount hides, this does
/// not have. It needs two layers, of which the second adds nothing here, and neither may lie in the other.
fn overlaid_program(file: &Path) -> Result<OwnedFd> {
    const SECOND: &str = "/run";
    let nowhere = || Error::new("fsopen", format_args!("overlay of {file:?}"), Errno::NOENT);
    let (directory, name) = (file.parent().ok_or_else(nowhere)?, file.file_name().ok_or_else(nowhere)?);
    let first = directory.to_str().ok_or_else(nowhere)?.replace('\\', "\\\\").replace(':', "\\:");
    let fs = mount::NewFs::open("overlay")?;
    fs.option("lowerdir", format!("{first}:{SECOND}"))?;
    // Inode numbers are of no interest here; that they are not unique would be told in the kernel's log.
    let _older = fs.option("xino", "off");
    let mounted = fs.mount(mount::RDONLY)?;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(&mounted, name, flags, Mode::empty())
        .map_err(|errno| Error::new("openat", format_args!("{name:?} of an overlay"), errno))
}

/// What keeps the running program from being written through `/proc/self/exe`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seal {
    /// An overlay without a layer to write to.
    Overlay,
    /// A mount that is read-only for good, a copy in memory, or that whoever could write is its owner anyway.
    Other,
}

/// Makes sure that `/proc/self/exe` cannot be written through: executes this program again from a sealed handle
/// unless it runs from one already. Call it first thing in `main`, before any thread. `note` is what the one that is executed
/// finds in its environment beside what is there: a name and a text.
pub fn seal_myself(note: impl FnOnce() -> Option<(&'static str, String)>) -> Result<Seal> {
    let own = Path::new("/proc/self/exe");
    let file = rustix::fs::open(own, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| Error::new("open", "/proc/self/exe, O_PATH", errno))?;
    let fs = rustix::fs::fstatvfs(&file).map_err(|errno| Error::new("fstatvfs", "/proc/self/exe", errno))?;
    let path = std::fs::read_link(own).map_err(|e| Error::from_io("readlink", "/proc/self/exe", &e))?;
    if fs.f_flag.contains(StatVfsMountFlags::RDONLY) {
        // A mount that is attached nowhere shows its own root as `/`.
        let beside_the_root = path.parent() == Some(Path::new("/")) && path.file_name().is_some();
        let overlaid = beside_the_root && disk::magic(&file)? == OVERLAYFS_SUPER_MAGIC;
        return Ok(if overlaid { Seal::Overlay } else { Seal::Other });
    }
    let strings = |iterator: &mut dyn Iterator<Item = std::ffi::OsString>| -> Vec<CString> {
        use std::os::unix::ffi::OsStringExt;
        // The kernel handed these over as C strings: no zero byte is in them.
        iterator.filter_map(|string| CString::new(string.into_vec()).ok()).collect()
    };
    let args = strings(&mut std::env::args_os());
    let mut env = strings(&mut std::env::vars_os().map(|(key, value)| {
        let mut line = key;
        line.push("=");
        line.push(value);
        line
    }));
    let sealed = match overlaid_program(&path).or_else(|_| sealed_program(&path)) {
        // Mounts are not ours to make. A user's containers can write to no more than the user, who may own the file.
        Err(error) if error.is(Errno::PERM) => match sealed_copy(&path)? {
            Some(copy) => copy,
            None => return Ok(Seal::Other),
        },
        other => other?,
    };
    if let Some((name, text)) = note() {
        env.extend(CString::new(format!("{name}={text}")));
    }
    Err(execute_open(sealed.as_fd(), &args, &env))
}
