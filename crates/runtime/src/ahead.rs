//! The program's file, read from disk while its container is built.
//!
//! What the kernel has not in memory it reads when it is executed, and a process waits. Whoever builds that process waits
//! for it meanwhile: it looks where the program will be looked for, and has the kernel begin to read. A start after a boot
//! takes a quarter less by this; one whose files are in memory takes nothing more, since nobody waits for who looks.
//!
//! It is a guess, and nothing depends on it: what cannot be found is passed over, and a mount of the container may hide
//! what was found. Only the root's own file system is looked at. Behind other mounts may be servers that do not answer, and
//! files whose opening has effects.

use std::os::fd::{AsFd, BorrowedFd};

use linux::path::Root;

use crate::inside::rootfs::Source;
use crate::program::Program;

/// Of a large program the first pages are wanted first; the kernel reads the others where they are touched.
const BYTES: u64 = 4 << 20;

/// Begins to read the program that will be executed in a tree that comes from there.
pub(crate) fn read(source: &Source, program: &Program) {
    match source {
        Source::Directory(path) => read_under(Root::open(path), program),
        Source::Mount(mount) => read_below(mount.as_fd(), program),
    }
}

/// The same below a root that stands.
pub(crate) fn read_below(root: BorrowedFd<'_>, program: &Program) {
    read_under(linux::fd::duplicate(root).map(Root::from_directory), program);
}

fn read_under(root: linux::Result<Root>, program: &Program) {
    let Ok(root) = root else { return };
    if let Some(file) = program.places().find_map(|path| root.open_own_file(&path).ok()) {
        let _as_well_without = linux::disk::read_ahead(file, BYTES);
    }
}
