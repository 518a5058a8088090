//! Reads records from a log and the files it was rotated into, oldest first.
//!
//! All files are opened at the start, so that a rotation or removal meanwhile takes nothing away. Where reading
//! begins is found by counting records backwards from the end (`tail`) or by the time index (`since`); a
//! compressed file has to be read from its start for both. Following needs the writer's rotation count: when
//! it has grown, the file at hand is complete and its successors are opened by their new names.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;

use crate::log::format::{Format, Head};
use crate::log::{index, local};
use crate::paths;

/// Bytes asked of a file at once.
const CHUNK: usize = 32 << 10;

/// Where to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    Beginning,
    /// So many records before the end.
    Tail(u64),
    /// Near the first record of that time or later; earlier ones may come, too.
    Since(i64),
}

/// The records of a log in the order of their writing, across its files.
pub struct Reader {
    path: PathBuf,
    format: Format,
    /// What is still to be read; the front is being read, the back was the current file.
    segments: VecDeque<Segment>,
    /// The writer's rotation count when the back segment was current.
    rotations: u64,
}

/// One file of the log, being read.
struct Segment {
    input: Input,
    age: u32,
    format: Format,
    buffer: Vec<u8>,
    /// The part of `buffer` that was handed out already.
    used: usize,
    /// In the middle of something that is no record.
    skipping: bool,
}

enum Input {
    Plain(File),
    Compressed(Box<GzDecoder<File>>),
}

impl Reader {
    /// `rotations` is the writer's count, 0 when nobody writes.
    pub fn open(path: &Path, format: Format, start: Start, rotations: u64) -> io::Result<Reader> {
        let mut segments = open_newer_than(path, format, u32::MAX)?;
        match start {
            Start::Beginning => {}
            Start::Tail(records) => seek_tail(&mut segments, path, records)?,
            Start::Since(time) => seek_since(&mut segments, path, time)?,
        }
        Ok(Reader { path: path.to_owned(), format, segments, rotations })
    }

    pub fn format(&self) -> Format {
        self.format
    }

    /// The next record; `None` at the end for now. `rotations` as in [`Reader::open`].
    pub fn next_record(&mut self, rotations: u64) -> io::Result<Option<&[u8]>> {
        loop {
            let found = match self.segments.front_mut() {
                Some(segment) => segment.find()?,
                None => None,
            };
            if let Some(length) = found {
                return Ok(self.segments.front_mut().map(|segment| segment.take(length)));
            }
            if !self.next_segment(rotations)? {
                return Ok(None);
            }
        }
    }

    /// Goes on to the next file; false when the front is the newest one. A torn record has no rest there.
    fn next_segment(&mut self, rotations: u64) -> io::Result<bool> {
        if self.segments.len() <= 1 {
            // A writer that rotated n times since has renamed our newest file to age n.
            let age = u32::try_from(rotations - self.rotations.min(rotations)).unwrap_or(u32::MAX);
            if age == 0 {
                return Ok(false);
            }
            self.segments.extend(open_newer_than(&self.path, self.format, age)?);
            self.rotations = rotations;
            if self.segments.len() <= 1 {
                return Ok(false);
            }
        }
        self.segments.pop_front();
        Ok(true)
    }
}

impl Segment {
    fn new(input: Input, age: u32, format: Format) -> Segment {
        Segment { input, age, format, buffer: Vec::new(), used: 0, skipping: false }
    }

    /// Brings a whole record to the front of the buffer; its length. `None` at the end of what the file has.
    fn find(&mut self) -> io::Result<Option<usize>> {
        loop {
            match self.format.head(&self.buffer[self.used..]) {
                Head::Record(length) if !std::mem::take(&mut self.skipping) => return Ok(Some(length)),
                Head::Record(length) => self.used += length,
                Head::Damaged => {
                    self.skipping = true;
                    self.used = self.buffer.len();
                    if !self.format.recovers() {
                        self.input.skip()?;
                    }
                }
                Head::Incomplete => {
                    if !self.refill()? {
                        return Ok(None);
                    }
                }
            }
        }
    }

    fn take(&mut self, length: usize) -> &[u8] {
        let start = self.used;
        self.used += length;
        &self.buffer[start..self.used]
    }

    /// False at the end.
    fn refill(&mut self) -> io::Result<bool> {
        self.buffer.drain(..self.used);
        self.used = 0;
        let held = self.buffer.len();
        self.buffer.resize(held + CHUNK, 0);
        let result = self.input.read(&mut self.buffer[held..]);
        self.buffer.truncate(held + result.as_ref().map_or(0, |count| *count));
        result.map(|count| count > 0)
    }

    fn pass(&mut self, records: u64) -> io::Result<u64> {
        for passed in 0..records {
            let Some(length) = self.find()? else { return Ok(passed) };
            self.used += length;
        }
        Ok(records)
    }
}

impl Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Input::Plain(file) => file.read(buffer),
            Input::Compressed(decoder) => decoder.read(buffer),
        }
    }

    /// Goes to the end of what is there: nothing in it can be told apart any more.
    fn skip(&mut self) -> io::Result<()> {
        match self {
            Input::Plain(file) => file.seek(SeekFrom::End(0)).map(drop),
            Input::Compressed(decoder) => io::copy(decoder, &mut io::sink()).map(drop),
        }
    }
}

/// Opens the existing files younger than `age`, oldest first. A missing one in between ends the row: rotation
/// leaves no holes.
fn open_newer_than(path: &Path, format: Format, age: u32) -> io::Result<VecDeque<Segment>> {
    let mut segments = VecDeque::new();
    for age in 0..age {
        match open_input(path, age) {
            Ok(input) => segments.push_front(Segment::new(input, age, format)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // The newest may be missing for a moment, when the disk is full.
                if age > 0 {
                    break;
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(segments)
}

fn open_input(path: &Path, age: u32) -> io::Result<Input> {
    match File::open(paths::log_segment(path, age)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => open_compressed(path, age),
        other => Ok(Input::Plain(other?)),
    }
}

fn open_compressed(path: &Path, age: u32) -> io::Result<Input> {
    let file = File::open(paths::log_compressed(path, age))?;
    Ok(Input::Compressed(Box::new(GzDecoder::new(file))))
}

/// Drops and seeks so that `records` records are left.
fn seek_tail(segments: &mut VecDeque<Segment>, path: &Path, mut records: u64) -> io::Result<()> {
    for index in (0..segments.len()).rev() {
        let segment = &mut segments[index];
        let found = match &mut segment.input {
            Input::Plain(file) => match segment.format {
                Format::Json => seek_lines(file, records)?,
                Format::Local => seek_entries(file, records)?,
            },
            Input::Compressed(_) => {
                let total = segment.pass(u64::MAX)?;
                *segment = Segment::new(open_compressed(path, segment.age)?, segment.age, segment.format);
                segment.pass(total.saturating_sub(records))?;
                total
            }
        };
        records -= found.min(records);
        if records == 0 {
            segments.drain(..index);
            break;
        }
    }
    Ok(())
}

/// Leaves `file` at the start of its last `lines` lines, or at its start; returns how many are left to read.
fn seek_lines(file: &mut File, lines: u64) -> io::Result<u64> {
    let mut block = vec![0; CHUNK];
    let mut end = file.metadata()?.len();
    let mut seen = 0;
    while end > 0 {
        let start = end.saturating_sub(CHUNK as u64);
        let block = &mut block[..(end - start) as usize];
        file.read_exact_at(block, start)?;
        for at in memchr::memrchr_iter(b'\n', block) {
            if seen == lines {
                file.seek(SeekFrom::Start(start + at as u64 + 1))?;
                return Ok(lines);
            }
            seen += 1;
        }
        end = start;
    }
    Ok(seen)
}

/// The same for records with their lengths behind them. Where those make no sense (a torn record at the end, while a
/// disk is full), the whole file is read instead.
fn seek_entries(file: &mut File, entries: u64) -> io::Result<u64> {
    let mut backwards = Backwards { file, block: Vec::new(), start: 0 };
    let mut end = backwards.file.metadata()?.len();
    let mut seen = 0;
    while end > 0 && seen < entries {
        let Some(start) = backwards.start_of(end)? else { return Ok(entries) };
        end = start;
        seen += 1;
    }
    file.seek(SeekFrom::Start(end))?;
    Ok(seen)
}

/// Finds records from their ends, a block of the file at a time.
struct Backwards<'a> {
    file: &'a File,
    block: Vec<u8>,
    /// Where the block lies in the file.
    start: u64,
}

impl Backwards<'_> {
    /// Where the record begins that ends at `end`.
    fn start_of(&mut self, end: u64) -> io::Result<Option<u64>> {
        let Some(length) = end.checked_sub(local::LENGTH as u64) else { return Ok(None) };
        let Some(length) = local::length(self.length_at(length)?) else { return Ok(None) };
        Ok(end.checked_sub((length + 2 * local::LENGTH) as u64))
    }

    fn length_at(&mut self, offset: u64) -> io::Result<[u8; local::LENGTH]> {
        let end = offset + local::LENGTH as u64;
        if offset < self.start || end > self.start + self.block.len() as u64 {
            self.start = end.saturating_sub(CHUNK as u64);
            self.block.resize((end - self.start) as usize, 0);
            self.file.read_exact_at(&mut self.block, self.start)?;
        }
        let at = (offset - self.start) as usize;
        Ok(self.block[at..].first_chunk().copied().unwrap_or_default())
    }
}

fn seek_since(segments: &mut VecDeque<Segment>, path: &Path, since: i64) -> io::Result<()> {
    for index in (0..segments.len()).rev() {
        let segment = &mut segments[index];
        if let Input::Plain(file) = &mut segment.input
            && let Some(offset) = index::seek(&paths::log_index(path, segment.age), since)
        {
            file.seek(SeekFrom::Start(offset))?;
            segments.drain(..index);
            break;
        }
    }
    Ok(())
}
