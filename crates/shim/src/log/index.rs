//! A sparse index from time to place in a log file, so that `--since` seeks.
//!
//! ```text
//! entry = time: i64 LE | offset: u64 LE         one per 256 KiB of log, the first at offset 0
//! ```
//!
//! `time` is the newest time of all records *before* the offset, older files included. That value never falls,
//! even when the wall clock does, so everything before the last entry whose time is below `since` can be
//! skipped, and a binary search finds that entry. A torn or missing entry costs reading, never correctness.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use crate::log::format::Format;

/// Bytes of log between two entries: 64 KiB of index per GiB of log.
const SPACING: u64 = 256 << 10;
const ENTRY: u64 = 16;
/// How much log may lie behind the last entry; entries are as far apart as a batch may overshoot.
const RESCAN: u64 = 2 * SPACING;

/// The writing side. Failures switch it off for this file: the log matters, the index does not.
pub struct IndexWriter {
    file: Option<File>,
    next: u64,
    newest: i64,
}

impl IndexWriter {
    /// Starts the index of a new file; `newest` is the newest time of the files before it.
    pub fn create(path: &Path, newest: i64) -> IndexWriter {
        let file = options().truncate(true).open(path).ok();
        IndexWriter { file, next: 0, newest }
    }

    /// Goes on with the index of a log that is `size` bytes long. Records behind the last entry are looked at
    /// once, at most [`SPACING`] and a batch. Without a usable index this file gets none, and since nobody
    /// knows its newest time then, the next file's entries skip nothing either.
    pub fn resume(path: &Path, format: Format, log: &File, size: u64) -> IndexWriter {
        Self::try_resume(path, format, log, size).unwrap_or(IndexWriter {
            file: None,
            next: u64::MAX,
            newest: i64::MAX,
        })
    }

    fn try_resume(path: &Path, format: Format, log: &File, size: u64) -> Option<IndexWriter> {
        let file = options().append(true).read(true).open(path).ok()?;
        let length = file.metadata().ok()?.len();
        if length == 0 || length % ENTRY != 0 {
            return None;
        }
        let (time, offset) = entry(&file, length / ENTRY - 1).ok()?;
        if offset > size || size - offset > RESCAN {
            return None;
        }
        let mut tail = vec![0; (size - offset) as usize];
        log.read_exact_at(&mut tail, offset).ok()?;
        let newest = format.records(&tail).filter_map(|record| format.time_of(record)).fold(time, i64::max);
        Some(IndexWriter { file: Some(file), next: offset + SPACING, newest })
    }

    pub fn newest(&self) -> i64 {
        self.newest
    }

    /// Called before a batch whose first record is written at `offset`.
    pub fn before(&mut self, offset: u64) {
        if offset < self.next {
            return;
        }
        self.next = offset + SPACING;
        let mut entry = [0; ENTRY as usize];
        entry[..8].copy_from_slice(&self.newest.to_le_bytes());
        entry[8..].copy_from_slice(&offset.to_le_bytes());
        if self
            .file
            .as_mut()
            .is_some_and(|file| linux::fault::io("log: index").and_then(|()| file.write_all(&entry)).is_err())
        {
            self.file = None;
        }
    }

    pub fn saw(&mut self, time: i64) {
        self.newest = self.newest.max(time);
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.create(true).write(true).mode(0o640);
    options
}

/// The last place in a log of that size that the index knows a record to begin at.
pub fn last_known(path: &Path, size: u64) -> Option<u64> {
    let file = File::open(path).ok()?;
    let count = file.metadata().ok()?.len() / ENTRY;
    (0..count).rev().take(2).find_map(|number| {
        entry(&file, number).ok().map(|(_, offset)| offset).filter(|offset| *offset <= size)
    })
}

/// Where to begin reading in a file for records not older than `since`. `None`: nothing in this file may be
/// skipped, and files before it may hold some, too.
pub fn seek(index: &Path, since: i64) -> Option<u64> {
    let file = File::open(index).ok()?;
    let count = file.metadata().ok()?.len() / ENTRY;
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low + (high - low) / 2;
        let (time, _) = entry(&file, middle).ok()?;
        if time < since { low = middle + 1 } else { high = middle }
    }
    let last_before = low.checked_sub(1)?;
    entry(&file, last_before).ok().map(|(_, offset)| offset)
}

fn entry(file: &File, number: u64) -> io::Result<(i64, u64)> {
    let (mut time, mut offset) = ([0; 8], [0; 8]);
    file.read_exact_at(&mut time, number * ENTRY)?;
    file.read_exact_at(&mut offset, number * ENTRY + 8)?;
    Ok((i64::from_le_bytes(time), u64::from_le_bytes(offset)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_last_place_before_a_time() {
        let dir = scratch::Directory::new("index");
        let path = dir.join("idx");
        let mut writer = IndexWriter::create(&path, i64::MIN);
        for step in 0..10u64 {
            writer.before(step * SPACING);
            writer.before(step * SPACING + 1);
            // The clock jumps back once; the index must not.
            writer.saw(if step == 5 { 0 } else { 100 * (step as i64 + 1) });
        }
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 10 * ENTRY);
        assert_eq!(seek(&path, 1), Some(0));
        assert_eq!(seek(&path, 100), Some(0));
        assert_eq!(seek(&path, 101), Some(SPACING));
        assert_eq!(seek(&path, 501), Some(6 * SPACING));
        assert_eq!(seek(&path, i64::MAX), Some(9 * SPACING));
        assert_eq!(seek(&path.with_extension("none"), 5), None);
    }

    #[test]
    fn a_later_file_may_not_be_enough() {
        let dir = scratch::Directory::new("index");
        let path = dir.join("idx");
        let mut writer = IndexWriter::create(&path, 1000);
        writer.before(0);
        assert_eq!(seek(&path, 1000), None);
        assert_eq!(seek(&path, 1001), Some(0));
    }
}
