//! Appends records to the log file, rotates it, and never lets the disk stop the container.
//!
//! Records collect in a batch that goes out with one `write` per chunk of output. When that write fails (a full
//! disk, a quota, a medium gone read-only) the records that did not get in are dropped and counted, half a record
//! is cut off again, and the next batch tries anew: the container must not block on its log. The count reaches
//! the journal as an event ([`Writer::take_loss`]).
//!
//! *Limit*: writing waits for the page cache like any `write`. A disk that hangs (a dead NFS server) holds up the
//! output, as Docker's blocking mode does, and this shim's answers with it.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::log::compress::Compression;
use crate::log::format::{Encoder, Format, Head};
use crate::log::index::{self, IndexWriter};
use crate::log::loss::{Loss, Losses};
use crate::log::record::Stream;
use crate::log::splitter::Piece;
use crate::{paths, protocol};

/// The batch is written when it has grown to this, whatever more a chunk of output brings. Escapes can make
/// six bytes of one, so it bounds memory and not only the size of a write.
const BATCH: usize = 64 << 10;

/// What may lie on disk for a segment of some age.
const NAMES: [fn(&Path, u32) -> PathBuf; 3] = [paths::log_segment, paths::log_index, paths::log_compressed];

/// The current file of a log, and when the next one begins.
pub struct Writer {
    path: PathBuf,
    /// `None` after an attempt to open it failed; the next batch tries again.
    file: Option<File>,
    size: u64,
    max_size: Option<u64>,
    max_files: u32,
    compress: bool,
    encoder: Encoder,
    index: IndexWriter,
    batch: Vec<u8>,
    batch_newest: i64,
    rotations: u64,
    compression: Option<Compression>,
    losses: Losses,
}

impl Writer {
    /// Opens the log to append. A torn record at its end (the last writer was killed) is cut off.
    pub fn open(log: &protocol::Log) -> io::Result<Writer> {
        let encoder = Encoder::new(log);
        let (file, size) = open_whole(&log.path, encoder.format())?;
        let index_path = paths::log_index(&log.path, 0);
        let index = if size == 0 {
            IndexWriter::create(&index_path, newest_of_the_past(&log.path))
        } else {
            IndexWriter::resume(&index_path, encoder.format(), &file, size)
        };
        Ok(Writer {
            path: log.path.clone(),
            file: Some(file),
            size,
            max_size: log.max_size,
            max_files: log.max_files.max(1),
            compress: log.compress,
            encoder,
            index,
            batch: Vec::new(),
            batch_newest: i64::MIN,
            rotations: 0,
            compression: None,
            losses: Losses::default(),
        })
    }

    pub fn append(&mut self, stream: Stream, piece: &Piece<'_>) {
        // Docker rotates before the first record that finds the file full; so the batch ends there.
        let full = self.max_size.is_some_and(|max| self.size + self.batch.len() as u64 >= max);
        if full || self.batch.len() >= BATCH {
            self.flush();
        }
        self.encoder.encode(stream, piece, &mut self.batch);
        self.batch_newest = self.batch_newest.max(piece.time);
    }

    /// Writes what was appended.
    pub fn flush(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        if self.max_size.is_some_and(|max| self.size >= max) {
            self.rotate();
        }
        let batch = std::mem::take(&mut self.batch);
        self.write(&batch);
        self.index.saw(self.batch_newest);
        self.batch = batch;
        self.batch.clear();
        // A chunk of control characters may have made it large once; that is not kept.
        self.batch.shrink_to(BATCH);
        self.batch_newest = i64::MIN;
    }

    /// How often the current file was rotated away; readers that follow compare.
    pub fn rotations(&self) -> u64 {
        self.rotations
    }

    /// Everything that was lost so far.
    pub fn loss(&self) -> &Loss {
        self.losses.total()
    }

    /// The loss, if it has grown since this was last asked.
    pub fn take_loss(&mut self) -> Option<Loss> {
        self.losses.take()
    }

    /// Whether a rotated file waits to be compressed; [`Writer::compress_step`] wants to be called when idle.
    pub fn is_compressing(&self) -> bool {
        self.compression.is_some()
    }

    /// Compresses a bounded piece. A failure leaves the plain file as it is: that is a log, too.
    pub fn compress_step(&mut self) {
        if let Some(compression) = &mut self.compression
            && !matches!(compression.step(), Ok(true))
        {
            self.compression = None;
        }
    }

    fn write(&mut self, batch: &[u8]) {
        if self.file.is_none() {
            match open_whole(&self.path, self.encoder.format()) {
                Ok((file, size)) => (self.file, self.size) = (Some(file), size),
                Err(error) => return self.lose(batch, &error),
            }
        }
        let Some(file) = &mut self.file else { return };
        self.index.before(self.size);
        let (written, result) = write_counted(file, batch);
        let whole = match &result {
            Ok(()) => written,
            Err(_) => self.encoder.format().records(&batch[..written]).map(<[u8]>::len).sum(),
        };
        self.size += whole as u64;
        if let Err(error) = result {
            // Shrinking needs no space. If even that fails, readers skip what is torn.
            let _ = file.set_len(self.size);
            self.lose(&batch[whole..], &error);
        }
    }

    fn lose(&mut self, records: &[u8], error: &io::Error) {
        self.losses.add(self.encoder.format().records(records).count() as u64, records.len());
        self.losses.blame(error.to_string());
    }

    /// `log` becomes `log.1`, `log.1` becomes `log.2`, …; the oldest goes. With one file allowed, it starts
    /// anew. The file is always replaced, never truncated: a reader keeps what it has open.
    fn rotate(&mut self) {
        self.finish_compression();
        linux::fault::passed("log: rotate");
        self.file = None;
        self.rotations += 1;
        let oldest = self.max_files - 1;
        for name in NAMES {
            let _ = std::fs::remove_file(name(&self.path, oldest));
        }
        for age in (0..oldest).rev() {
            for name in NAMES {
                // Most of these do not exist: a segment is plain with an index, or compressed.
                let _ = std::fs::rename(name(&self.path, age), name(&self.path, age + 1));
            }
        }
        if self.compress && oldest > 0 {
            self.compression = Compression::start(&self.path).ok();
        }
        self.index = IndexWriter::create(&paths::log_index(&self.path, 0), self.index.newest());
        self.size = 0;
    }

    /// The next rotation, or the next writer, renames the files: a compression under way has to end first.
    pub fn finish_compression(&mut self) {
        while self.is_compressing() {
            self.compress_step();
        }
    }
}

/// Opens (or makes) a log file for appending; its size, without a torn last record.
fn open_whole(path: &Path, format: Format) -> io::Result<(File, u64)> {
    linux::fault::io("log: open")?;
    let file = OpenOptions::new().create(true).append(true).read(true).mode(0o640).open(path)?;
    let size = file.metadata()?.len();
    let whole = match format {
        Format::Json => last_line_end(&file, size)?,
        Format::Local => last_entry_end(path, &file, size)?,
    };
    if whole != size {
        file.set_len(whole)?;
    }
    Ok((file, whole))
}

fn last_line_end(file: &File, size: u64) -> io::Result<u64> {
    let mut buffer = [0; 4096];
    let mut end = size;
    while end > 0 {
        let start = end.saturating_sub(buffer.len() as u64);
        let block = &mut buffer[..(end - start) as usize];
        file.read_exact_at(block, start)?;
        if let Some(at) = memchr::memrchr(b'\n', block) {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// Records that begin with their length are found from the front only: from the last place that the index knows.
fn last_entry_end(path: &Path, file: &File, size: u64) -> io::Result<u64> {
    let mut start = index::last_known(&paths::log_index(path, 0), size).unwrap_or(0);
    let mut held = Vec::new();
    loop {
        let whole: usize = Format::Local.records(&held).map(<[u8]>::len).sum();
        held.drain(..whole);
        start += whole as u64;
        let wanted = (size - start - held.len() as u64).min(BATCH as u64) as usize;
        if wanted == 0 || Format::Local.head(&held) == Head::Damaged {
            return Ok(start);
        }
        let (at, from) = (held.len(), start + held.len() as u64);
        held.resize(at + wanted, 0);
        file.read_exact_at(&mut held[at..], from)?;
    }
}

/// Writes all of `bytes` or says how many got in and why no more.
fn write_counted(file: &mut File, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut written = 0;
    while written < bytes.len() {
        match linux::fault::io("log: write").and_then(|()| file.write(&bytes[written..])) {
            Ok(0) => return (written, Err(ErrorKind::WriteZero.into())),
            Ok(count) => written += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return (written, Err(error)),
        }
    }
    (written, Ok(()))
}

/// A fresh file after rotated ones whose times nobody knows any more: nothing may be skipped to get here.
fn newest_of_the_past(path: &Path) -> i64 {
    let rotated = paths::log_segment(path, 1).exists() || paths::log_compressed(path, 1).exists();
    if rotated { i64::MAX } else { i64::MIN }
}

#[cfg(test)]
mod tests {
    use scratch::Directory;

    use super::*;
    use crate::testing::log_options;

    fn lines(writer: &mut Writer, from: usize, to: usize) {
        for number in from..to {
            let text = format!("line {number}");
            writer.append(Stream::Stdout, &Piece { text: text.as_bytes(), time: number as i64, part: None });
        }
        writer.flush();
    }

    fn count(path: &Path) -> usize {
        std::fs::read(path).map_or(0, |bytes| bytes.iter().filter(|byte| **byte == b'\n').count())
    }

    #[test]
    fn appends_after_a_torn_line() {
        let dir = Directory::new("writer");
        let options = log_options(&dir);
        std::fs::write(
            &options.path,
            "{\"log\":\"a\\n\",\"stream\":\"stdout\",\"time\":\"1970-01-01T00:00:00Z\"}\n{\"log\":\"torn",
        )
        .unwrap();
        let mut writer = Writer::open(&options).unwrap();
        lines(&mut writer, 1, 2);
        let text = std::fs::read_to_string(&options.path).unwrap();
        assert!(
            !text.contains("torn") && text.ends_with("\"time\":\"1970-01-01T00:00:00.000000001Z\"}\n"),
            "{text}"
        );
    }

    #[test]
    fn rotates_at_the_size_and_keeps_so_many() {
        let dir = Directory::new("writer");
        let mut options = log_options(&dir);
        options.max_size = Some(700);
        options.max_files = 3;
        let mut writer = Writer::open(&options).unwrap();
        lines(&mut writer, 0, 100);
        assert!(writer.rotations() > 5);
        assert!(paths::log_segment(&options.path, 2).exists());
        assert!(!paths::log_segment(&options.path, 3).exists());
        // 700 bytes are reached by the tenth line of 70-odd bytes.
        assert_eq!(
            count(&paths::log_segment(&options.path, 1)),
            count(&paths::log_segment(&options.path, 2))
        );
        assert!(std::fs::metadata(paths::log_segment(&options.path, 1)).unwrap().len() >= 700);
    }

    #[test]
    fn one_file_starts_anew() {
        let dir = Directory::new("writer");
        let mut options = log_options(&dir);
        options.max_size = Some(300);
        let mut writer = Writer::open(&options).unwrap();
        lines(&mut writer, 0, 50);
        assert!(!paths::log_segment(&options.path, 1).exists());
        assert!(count(&options.path) <= 5);
    }

    #[test]
    fn compresses_what_it_rotated() {
        let dir = Directory::new("writer");
        let mut options = log_options(&dir);
        options.max_size = Some(2000);
        options.max_files = 4;
        options.compress = true;
        let mut writer = Writer::open(&options).unwrap();
        lines(&mut writer, 0, 200);
        while writer.is_compressing() {
            writer.compress_step();
        }
        for age in 1..4 {
            assert!(paths::log_compressed(&options.path, age).exists(), "{age}");
            assert!(!paths::log_segment(&options.path, age).exists(), "{age}");
        }
    }

    #[test]
    fn a_full_disk_drops_counts_and_recovers() {
        let dir = crate::testing::SmallDisk::mount("writer", 64 << 10);
        let options = log_options(dir.path());
        let mut writer = Writer::open(&options).unwrap();
        lines(&mut writer, 0, 2000);
        let loss = writer.take_loss().expect("2000 lines do not fit into 64 KiB");
        let kept = count(&options.path);
        assert_eq!(kept as u64 + loss.records, 2000);
        assert!(loss.error.contains("No space left"), "{}", loss.error);
        assert!(std::fs::read(&options.path).unwrap().ends_with(b"}\n"));
        assert_eq!(writer.take_loss(), None);

        dir.grow(1 << 20);
        lines(&mut writer, 2000, 2001);
        assert_eq!((count(&options.path), writer.take_loss()), (kept + 1, None));
    }

    #[test]
    fn a_local_log_goes_on_behind_what_was_torn() {
        let dir = Directory::new("writer");
        let mut options = log_options(&dir);
        options.driver = crate::protocol::LogDriver::Local;
        let mut writer = Writer::open(&options).unwrap();
        lines(&mut writer, 0, 5000);
        drop(writer);
        let size = std::fs::metadata(&options.path).unwrap().len();
        for (cut, left) in [(3, 4999), (0, 5000)] {
            File::options().append(true).open(&options.path).unwrap().set_len(size - cut).unwrap();
            let mut writer = Writer::open(&options).unwrap();
            lines(&mut writer, 9000, 9001);
            let bytes = std::fs::read(&options.path).unwrap();
            let times: Vec<_> =
                Format::Local.records(&bytes).filter_map(|record| Format::Local.time_of(record)).collect();
            assert_eq!((times.len(), times.last()), (left + 1, Some(&9000)));
            std::fs::remove_file(paths::log_index(&options.path, 0)).unwrap();
            std::fs::remove_file(&options.path).unwrap();
            lines(&mut Writer::open(&options).unwrap(), 0, 5000);
        }
    }
}
