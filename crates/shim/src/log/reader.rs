//! Reads records from a log and the files it was rotated into, oldest first.
//!
//! All files are opened at the start, so that a rotation or removal meanwhile takes nothing away. Where reading
//! begins is found by counting lines backwards from the end (`tail`) or by the time index (`since`); a
//! compressed file has to be read from its start for both. Following needs the writer's rotation count: when
//! it has grown, the file at hand is complete and its successors are opened by their new names.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;

use crate::log::index;
use crate::paths;

/// A longer line was not written by us: 16 KiB of text are at most 96 KiB escaped, the rest is for attributes.
pub const MAX_LINE: usize = 1 << 20;

/// Bytes asked of a file at once.
const CHUNK: usize = 32 << 10;

/// Where to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    Beginning,
    /// So many lines before the end.
    Tail(u64),
    /// Near the first record of that time or later; earlier ones may come, too.
    Since(i64),
}

pub struct Reader {
    path: PathBuf,
    /// What is still to be read; the front is being read, the back was the current file.
    segments: VecDeque<Segment>,
    /// The writer's rotation count when the back segment was current.
    rotations: u64,
    buffer: Vec<u8>,
    /// The part of `buffer` that was handed out already.
    used: usize,
    /// In the middle of a line that is too long.
    skipping: bool,
}

enum Segment {
    Plain { file: File, age: u32 },
    Compressed { decoder: Box<GzDecoder<File>>, age: u32 },
}

impl Reader {
    /// `rotations` is the writer's count, 0 when nobody writes.
    pub fn open(path: &Path, start: Start, rotations: u64) -> io::Result<Reader> {
        let mut segments = open_newer_than(path, u32::MAX)?;
        match start {
            Start::Beginning => {}
            Start::Tail(lines) => seek_tail(&mut segments, path, lines)?,
            Start::Since(time) => seek_since(&mut segments, path, time)?,
        }
        Ok(Reader {
            path: path.to_owned(),
            segments,
            rotations,
            buffer: Vec::new(),
            used: 0,
            skipping: false,
        })
    }

    /// The next line with its LF; `None` at the end for now. `rotations` as in [`Reader::open`].
    pub fn next_line(&mut self, rotations: u64) -> io::Result<Option<&[u8]>> {
        loop {
            if let Some(length) = self.buffer[self.used..].iter().position(|byte| *byte == b'\n') {
                let start = self.used;
                self.used += length + 1;
                if !std::mem::take(&mut self.skipping) {
                    return Ok(Some(&self.buffer[start..self.used]));
                }
            } else if self.buffer.len() - self.used > MAX_LINE {
                self.skipping = true;
                self.used = self.buffer.len();
            } else if !self.refill()? && !self.next_segment(rotations)? {
                return Ok(None);
            }
        }
    }

    /// False at the end of the segment being read.
    fn refill(&mut self) -> io::Result<bool> {
        self.buffer.drain(..self.used);
        self.used = 0;
        let held = self.buffer.len();
        let Some(segment) = self.segments.front_mut() else { return Ok(false) };
        self.buffer.resize(held + CHUNK, 0);
        let result = segment.read(&mut self.buffer[held..]);
        self.buffer.truncate(held + result.as_ref().map_or(0, |count| *count));
        result.map(|count| count > 0)
    }

    /// Goes on to the next file; false when the front is the newest one.
    fn next_segment(&mut self, rotations: u64) -> io::Result<bool> {
        if self.segments.len() <= 1 {
            // A writer that rotated n times since has renamed our newest file to age n.
            let age = u32::try_from(rotations - self.rotations.min(rotations)).unwrap_or(u32::MAX);
            if age == 0 {
                return Ok(false);
            }
            self.segments.extend(open_newer_than(&self.path, age)?);
            self.rotations = rotations;
            if self.segments.len() <= 1 {
                return Ok(false);
            }
        }
        self.segments.pop_front();
        // A torn line has no rest in the next file.
        self.buffer.clear();
        self.used = 0;
        self.skipping = false;
        Ok(true)
    }
}

impl Segment {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Segment::Plain { file, .. } => file.read(buffer),
            Segment::Compressed { decoder, .. } => decoder.read(buffer),
        }
    }
}

/// Opens the existing files younger than `age`, oldest first. A missing one in between ends the row: rotation
/// leaves no holes.
fn open_newer_than(path: &Path, age: u32) -> io::Result<VecDeque<Segment>> {
    let mut segments = VecDeque::new();
    for age in 0..age {
        match open_segment(path, age) {
            Ok(segment) => segments.push_front(segment),
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

fn open_segment(path: &Path, age: u32) -> io::Result<Segment> {
    match File::open(paths::log_segment(path, age)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let file = File::open(paths::log_compressed(path, age))?;
            Ok(Segment::Compressed { decoder: Box::new(GzDecoder::new(file)), age })
        }
        other => Ok(Segment::Plain { file: other?, age }),
    }
}

/// Drops and seeks so that `lines` lines are left.
fn seek_tail(segments: &mut VecDeque<Segment>, path: &Path, mut lines: u64) -> io::Result<()> {
    for index in (0..segments.len()).rev() {
        let found = match &mut segments[index] {
            Segment::Plain { file, .. } => seek_plain_tail(file, lines)?,
            Segment::Compressed { decoder, age } => {
                let total = count_lines(decoder)?;
                let file = File::open(paths::log_compressed(path, *age))?;
                **decoder = GzDecoder::new(file);
                if total >= lines {
                    skip_lines(decoder, total - lines)?;
                }
                total
            }
        };
        lines -= found.min(lines);
        if lines == 0 {
            segments.drain(..index);
            break;
        }
    }
    Ok(())
}

/// Leaves `file` at the start of its last `lines` lines, or at its start; returns how many are left to read.
fn seek_plain_tail(file: &mut File, lines: u64) -> io::Result<u64> {
    let mut block = vec![0; CHUNK];
    let mut end = file.metadata()?.len();
    let mut seen = 0;
    while end > 0 {
        let start = end.saturating_sub(CHUNK as u64);
        let block = &mut block[..(end - start) as usize];
        file.read_exact_at(block, start)?;
        for (at, byte) in block.iter().enumerate().rev() {
            if *byte == b'\n' {
                if seen == lines {
                    file.seek(SeekFrom::Start(start + at as u64 + 1))?;
                    return Ok(lines);
                }
                seen += 1;
            }
        }
        end = start;
    }
    Ok(seen)
}

fn count_lines(input: &mut impl Read) -> io::Result<u64> {
    let mut chunk = vec![0; CHUNK];
    let mut lines = 0;
    loop {
        match input.read(&mut chunk)? {
            0 => return Ok(lines),
            count => lines += chunk[..count].iter().filter(|byte| **byte == b'\n').count() as u64,
        }
    }
}

/// Reads away `lines` lines. A byte at a time: the decoder has its own buffer, and there is no way to give back.
fn skip_lines(input: &mut impl Read, mut lines: u64) -> io::Result<()> {
    let mut byte = [0];
    while lines > 0 && input.read(&mut byte)? > 0 {
        lines -= u64::from(byte[0] == b'\n');
    }
    Ok(())
}

fn seek_since(segments: &mut VecDeque<Segment>, path: &Path, since: i64) -> io::Result<()> {
    for index in (0..segments.len()).rev() {
        if let Segment::Plain { file, age } = &mut segments[index]
            && let Some(offset) = index::seek(&paths::log_index(path, *age), since)
        {
            file.seek(SeekFrom::Start(offset))?;
            segments.drain(..index);
            break;
        }
    }
    Ok(())
}
