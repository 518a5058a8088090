//! Reads the members of a tar archive from a stream, without trusting any of its numbers.
//!
//! The `tar` crate parses single headers; the walk from header to header is here, because it must be bounded: an archive that
//! announces a name of ten gigabytes is refused, not read into memory. ustar, old V7, GNU (long names, base-256 numbers, sparse)
//! and PAX are understood, with the precedence that Docker's reader has: GNU long names over PAX over the header.

use std::io::{self, Read};

use tar::{EntryType, Header};

use super::entry::{Content, Entry, Time};
use super::pax::Overrides;
use super::sparse::{self, Plan};
use crate::{Error, Kind};

const BLOCK: usize = 512;

/// What an archive may ask for. The numbers are far above honest archives and far below what would hurt.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Members. The largest known images have a few hundred thousand per layer.
    pub entries: u64,
    /// Bytes of all files together; bounds what a few kilobytes of compressed zeros can write.
    pub bytes: u64,
    /// Length of a path or link target: the kernel's PATH_MAX, beyond which nothing could be created anyway.
    pub path: usize,
    /// Size of one extension header, names and attributes together; as in Docker's reader.
    pub extension: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { entries: 4_000_000, bytes: 256 << 30, path: 4095, extension: 1 << 20 }
    }
}

/// A cursor over an archive. After [`Reader::next`], [`Read`] yields the stored bytes of that member and ends with it.
pub struct Reader<R> {
    source: R,
    limits: Limits,
    entries: u64,
    bytes: u64,
    /// Stored bytes of the current member that are still to come, and the padding behind them.
    remaining: u64,
    padding: u64,
    finished: bool,
}

/// Extension headers collected before a member.
#[derive(Default)]
struct Extensions {
    pax: Overrides,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

impl<R: Read> Reader<R> {
    pub fn new(source: R, limits: Limits) -> Self {
        Self { source, limits, entries: 0, bytes: 0, remaining: 0, padding: 0, finished: false }
    }

    /// The next member; `None` at the end of the archive.
    // An iterator could not lend the member's data.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Entry>, Error> {
        let mut extensions = Extensions::default();
        loop {
            let Some(header) = self.next_header()? else { return Ok(None) };
            match header.entry_type() {
                EntryType::XHeader => {
                    let records = self.extension(&header)?;
                    extensions.pax.parse(&records)?;
                }
                EntryType::GNULongName => extensions.long_name = Some(self.long(&header)?),
                EntryType::GNULongLink => extensions.long_link = Some(self.long(&header)?),
                // Meant for every later member; nobody who writes layers uses it and Docker ignores it.
                EntryType::XGlobalHeader => {
                    self.extension(&header)?;
                }
                _ => return self.member(&header, extensions).map(Some),
            }
        }
    }

    /// What is left of the stream: a hash beneath must see the padding behind the last member too.
    pub fn into_rest(self) -> R {
        self.source
    }

    /// How many members have been seen.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    fn next_header(&mut self) -> Result<Option<Header>, Error> {
        if self.finished {
            return Ok(None);
        }
        self.skip_data()?;
        let Some(mut header) = self.block()? else {
            self.finished = true;
            return Ok(None);
        };
        if header.as_bytes().iter().all(|b| *b == 0) {
            // Two zero blocks end an archive; some writers leave it at one and the end of the file.
            if let Some(second) = self.block()?
                && second.as_bytes().iter().any(|b| *b != 0)
            {
                return Err(invalid("a member follows an empty block"));
            }
            self.finished = true;
            return Ok(None);
        }
        verify(&header)?;
        self.entries += 1;
        if self.entries > self.limits.entries {
            return Err(Error::new(
                Kind::Hostile,
                format!("archive has more than {} entries", self.limits.entries),
            ));
        }
        fill_blank_numbers(&mut header);
        Ok(Some(header))
    }

    fn block(&mut self) -> Result<Option<Header>, Error> {
        let mut header = Header::new_old();
        let block = header.as_mut_bytes();
        let mut filled = 0;
        while filled < BLOCK {
            match self.source.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(truncated()),
                Ok(n) => filled += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(Some(header))
    }

    fn skip_data(&mut self) -> Result<(), Error> {
        let rest = self.remaining + self.padding;
        (self.remaining, self.padding) = (0, 0);
        let skipped = io::copy(&mut self.source.by_ref().take(rest), &mut io::sink())?;
        // The padding of the very last member may be missing.
        if skipped < rest { Err(truncated()) } else { Ok(()) }
    }

    fn expect_data(&mut self, stored: u64) {
        self.remaining = stored;
        self.padding = stored.next_multiple_of(BLOCK as u64) - stored;
    }

    fn extension(&mut self, header: &Header) -> Result<Vec<u8>, Error> {
        let size = header.entry_size().map_err(|_| invalid("size of an extension header"))?;
        if size > self.limits.extension {
            return Err(Error::new(
                Kind::Hostile,
                format!(
                    "archive has an extension header of {size} bytes, more than {}",
                    self.limits.extension
                ),
            ));
        }
        self.expect_data(size);
        let mut content = Vec::new();
        self.read_to_end(&mut content)?;
        Ok(content)
    }

    fn long(&mut self, header: &Header) -> Result<Vec<u8>, Error> {
        let mut name = self.extension(header)?;
        if let Some(end) = name.iter().position(|b| *b == 0) {
            name.truncate(end);
        }
        Ok(name)
    }

    fn member(&mut self, header: &Header, mut extensions: Extensions) -> Result<Entry, Error> {
        let pax = &mut extensions.pax;
        let path = (extensions.long_name.take())
            .or_else(|| pax.sparse.name.take())
            .or_else(|| pax.path.take())
            .unwrap_or_else(|| header.path_bytes().into_owned());
        let link = (extensions.long_link.take())
            .or_else(|| pax.link.take())
            .unwrap_or_else(|| header.link_name_bytes().unwrap_or_default().into_owned());
        self.check_path(&path)?;
        self.check_path(&link)?;
        let modified = match pax.modified {
            Some(time) => time,
            None => Time { seconds: old_time(header)?, nanoseconds: 0 },
        };
        let content = self.content(header, pax, &path, link)?;
        self.count(content.stored())?;
        Ok(Entry {
            content,
            mode: header.mode().map_err(|_| invalid("mode"))? & 0o7777,
            uid: owner(pax.uid, header.uid())?,
            gid: owner(pax.gid, header.gid())?,
            modified,
            xattrs: std::mem::take(&mut pax.xattrs),
            path,
        })
    }

    fn content(
        &mut self,
        header: &Header,
        pax: &mut Overrides,
        path: &[u8],
        link: Vec<u8>,
    ) -> Result<Content, Error> {
        let device = || -> Result<(u32, u32), Error> {
            let number = |n: io::Result<Option<u32>>| {
                n.map(Option::unwrap_or_default).map_err(|_| invalid("device number"))
            };
            Ok((number(header.device_major())?, number(header.device_minor())?))
        };
        Ok(match header.entry_type() {
            EntryType::GNUSparse => self.sparse_file(header)?,
            EntryType::Regular | EntryType::Continuous => {
                // V7 had no type for directories.
                if header.as_bytes()[156] == 0 && path.ends_with(b"/") {
                    return Ok(Content::Directory);
                }
                self.file(header, pax)?
            }
            EntryType::Directory => Content::Directory,
            EntryType::Symlink => Content::Symlink { target: link },
            EntryType::Link => Content::HardLink { target: link },
            EntryType::Fifo => Content::Fifo,
            EntryType::Char => device().map(|(major, minor)| Content::Character { major, minor })?,
            EntryType::Block => device().map(|(major, minor)| Content::Block { major, minor })?,
            other => {
                let shown = String::from_utf8_lossy(path);
                return Err(invalid(&format!("unhandled tar header type {} of {shown:?}", other.as_byte())));
            }
        })
    }

    fn sparse_file(&mut self, header: &Header) -> Result<Content, Error> {
        let stored = header.entry_size().map_err(|_| invalid("size"))?;
        let (size, segments) = sparse::read_gnu(header, &mut self.source)?;
        self.expect_data(stored);
        checked(size, segments, stored)
    }

    fn file(&mut self, header: &Header, pax: &mut Overrides) -> Result<Content, Error> {
        let stored = match pax.size {
            Some(size) => size,
            None => header.entry_size().map_err(|_| invalid("size"))?,
        };
        if stored > i64::MAX as u64 {
            return Err(invalid("size"));
        }
        self.expect_data(stored);
        match pax.sparse.plan()? {
            Plan::Dense => Ok(Content::File { size: stored, segments: None }),
            Plan::Known { size, segments } => checked(size, segments, stored),
            Plan::InData { size } => {
                let (taken, segments) = sparse::read_map(&mut self.source, stored, size)?;
                self.remaining -= taken;
                checked(size, segments, stored - taken)
            }
        }
    }

    fn check_path(&self, path: &[u8]) -> Result<(), Error> {
        if path.len() > self.limits.path {
            return Err(Error::new(
                Kind::Hostile,
                format!("archive has a path of {} bytes, more than {}", path.len(), self.limits.path),
            ));
        }
        if path.contains(&0) {
            return Err(invalid("name with a NUL byte"));
        }
        Ok(())
    }

    fn count(&mut self, bytes: u64) -> Result<(), Error> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > self.limits.bytes {
            return Err(Error::new(
                Kind::Hostile,
                format!("archive unpacks to more than {} bytes", self.limits.bytes),
            ));
        }
        Ok(())
    }
}

impl<R: Read> Read for Reader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.remaining).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let n = self.source.read(&mut buffer[..most])?;
        if n == 0 {
            return Err(truncated().into());
        }
        self.remaining -= n as u64;
        Ok(n)
    }
}

/// A sparse file whose stored bytes are exactly those of its segments.
fn checked(size: u64, segments: Vec<super::Segment>, stored: u64) -> Result<Content, Error> {
    let content = Content::File { size, segments: Some(segments) };
    if content.stored() != stored || size > i64::MAX as u64 {
        return Err(invalid("sparse file whose map does not fit its data"));
    }
    Ok(content)
}

/// The sum over all bytes, the checksum field counting as spaces. Very old writers summed signed bytes.
fn verify(header: &Header) -> Result<(), Error> {
    let expected = i64::from(header.cksum().map_err(|_| invalid("checksum"))?);
    let (mut unsigned, mut signed) = (0i64, 0i64);
    for (at, byte) in header.as_bytes().iter().enumerate() {
        let byte = if (148..156).contains(&at) { b' ' } else { *byte };
        unsigned += i64::from(byte);
        signed += i64::from(byte as i8);
    }
    if expected == unsigned || expected == signed { Ok(()) } else { Err(invalid("checksum")) }
}

/// Writers of few needs leave owner, time or device numbers empty, which every tar reads as 0.
fn fill_blank_numbers(header: &mut Header) {
    // mode, uid, gid, size, mtime, and the two halves of a device number
    const FIELDS: [std::ops::Range<usize>; 7] =
        [100..108, 108..116, 116..124, 124..136, 136..148, 329..337, 337..345];
    let bytes = header.as_mut_bytes();
    for field in FIELDS {
        let field = &mut bytes[field];
        if field.iter().all(|byte| matches!(byte, 0 | b' ')) {
            field[0] = b'0';
        }
    }
}

/// Times before 1970 are negative base-256 numbers, which the `tar` crate reads as unsigned.
fn old_time(header: &Header) -> Result<i64, Error> {
    let field = &header.as_bytes()[136..148];
    if field[0] & 0x80 == 0 {
        let seconds = header.mtime().map_err(|_| invalid("time"))?;
        return i64::try_from(seconds).map_err(|_| invalid("time"));
    }
    // Two's complement over the whole field but its first bit, which marks the form.
    let first = if field[0] & 0x40 != 0 { field[0] } else { field[0] & 0x7f };
    let (high, low) = ([first, field[1], field[2], field[3]], &field[4..]);
    let sign = if first & 0x40 != 0 { 0xff } else { 0 };
    if high.iter().any(|b| *b != sign) || (low[0] & 0x80 != 0) != (sign == 0xff) {
        return Err(invalid("time"));
    }
    Ok(low.iter().fold(if sign == 0 { 0 } else { -1 }, |n, b| (n << 8) | i64::from(*b)))
}

fn owner(pax: Option<u64>, header: io::Result<u64>) -> Result<u32, Error> {
    let id = match pax {
        Some(id) => id,
        None => header.map_err(|_| invalid("owner"))?,
    };
    // The last value means "do not change" to chown(2).
    u32::try_from(id).ok().filter(|id| *id != u32::MAX).ok_or_else(|| invalid("owner"))
}

fn invalid(what: &str) -> Error {
    Error::new(Kind::Hostile, format!("archive/tar: invalid tar header: {what}"))
}

fn truncated() -> Error {
    Error::new(Kind::Hostile, "unexpected EOF: archive ends in the middle of an entry")
}
