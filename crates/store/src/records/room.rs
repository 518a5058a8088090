//! Room on the disk that is ours before we need it, so that a full disk keeps nobody from removing things.
//!
//! A transaction first lengthens the log (`wharf.db-wal`), and a checkpoint later may lengthen the database. On a disk
//! that is full to its last block neither could, and who cannot record a removal cannot free a byte. So:
//!
//! ```text
//!  log        LOG bytes of zeroes are written behind what SQLite has in it; it is never shortened and starts over from its
//!             beginning after each checkpoint. SQLite ends its reading where the checksums end, so zeroes say nothing.
//!  database   as long as its pages at every commit: a transaction that adds pages gets its blocks while it can still
//!             fail, with `Full`. A checkpoint then only overwrites, and so the log can always start over.
//!             SLACK pages more are kept for the few that a removal or an exit may add.
//! ```
//!
//! Why this suffices: a removal frees pages; what its rebalancing takes comes from those or from the slack. Between two
//! checkpoints the log takes [`CHECKPOINT`] pages and one batch, which is less than [`LOG`]. A file longer than its
//! header says is nothing new to SQLite (`SQLITE_FCNTL_CHUNK_SIZE` makes such ones). Blocks that are written, rather than
//! allocated by `fallocate`, need no change of the file's extents when they are written again.
//!
//! A file of ballast, deleted when the disk is full, would be simpler, but whoever has filled the disk takes what it
//! frees.
//!
//! *Limits*: a file system that never overwrites (btrfs, ZFS, XFS with reflinked copies) needs new blocks for old ones.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::Error;

/// Pages in the log after which SQLite copies them into the database (`PRAGMA wal_autocheckpoint`; its own default).
pub(super) const CHECKPOINT: u64 = 1000;

/// What the log has from the start: twice what lies between two checkpoints, the rest for the batch that goes beyond.
const LOG: u64 = 2 * CHECKPOINT * 4096;

/// Pages that the database has beyond its last one. A few records' worth.
const SLACK: u64 = 32;

static ZEROES: [u8; 64 << 10] = [0; 64 << 10];

/// The database file, as long as it has to be.
pub(super) struct Room {
    path: PathBuf,
    /// Kept open for as long as the connections are: closing any descriptor of it would drop SQLite's locks.
    file: File,
    page: u64,
}

impl Room {
    /// Makes the log as long as it will need to be, and keeps an eye on the database. Called when SQLite has opened both: it
    /// deletes the log of a database that is new. `page`: bytes of a page.
    pub(super) fn open(path: &Path, page: u64) -> Result<Room, Error> {
        let mut log = path.as_os_str().to_owned();
        log.push("-wal");
        // What is missing is needed on a full disk only, and on one there is nothing that could be done.
        let _ = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(log)
            .and_then(|log| lengthen(&log, LOG));
        let file = File::options().write(true).open(path).map_err(|error| Error::io("open", path, error))?;
        Ok(Room { path: path.to_owned(), file, page })
    }

    /// Makes sure of room for a database of so many pages, before any of them is promised.
    pub(super) fn admit(&self, pages: u64) -> Result<(), Error> {
        lengthen(&self.file, pages * self.page).map_err(|error| Error::io("write", &self.path, error))
    }

    /// Called after each commit: a checkpoint in it cuts off what lies behind the last page.
    pub(super) fn refill(&self, pages: u64) {
        // A full disk has to make do with what is left; after the next commit it is tried again.
        let _ = lengthen(&self.file, (pages + SLACK) * self.page);
    }
}

/// Writes zeroes behind a file's end until it is so long; what was begun and fails is cut off again.
fn lengthen(file: &File, length: u64) -> io::Result<()> {
    let before = file.metadata()?.len();
    let mut end = before;
    while end < length {
        let count = usize::try_from(length - end).unwrap_or(usize::MAX).min(ZEROES.len());
        match file.write_at(&ZEROES[..count], end) {
            Ok(written) if written > 0 => end += written as u64,
            Ok(_) => return Err(io::ErrorKind::WriteZero.into()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                file.set_len(before)?;
                return Err(error);
            }
        }
    }
    Ok(())
}
