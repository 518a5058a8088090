//! The program's file, read from disk while its container is built.
//!
//! What the kernel has not in memory it reads when it is executed, and a process waits. Whoever builds the container's
//! first process waits for that process meanwhile: it looks where the program will be looked for, and has the kernel
//! begin to read. A start after a boot takes a quarter less by this; one whose files are in memory takes nothing more,
//! since nobody waits for who looks.
//!
//! It is a guess, and nothing depends on it: what cannot be found is passed over, and a mount of the container may hide
//! what was found.

use linux::path::Root;

use crate::inside::rootfs::Source;
use crate::program::Program;

/// Of a large program the first pages are wanted first; the kernel reads the others where they are touched.
const BYTES: u64 = 4 << 20;

/// Begins to read the program that will be executed under this root.
pub(crate) fn read(source: &Source, program: &Program) {
    let root = match source {
        Source::Directory(path) => Root::open(path),
        Source::Mount(mount) => linux::fd::duplicate(mount).map(Root::from_directory),
    };
    let Ok(root) = root else { return };
    if let Some(file) = program.places().find_map(|path| root.open_file(&path).ok()) {
        let _as_well_without = linux::disk::read_ahead(file, BYTES);
    }
}
