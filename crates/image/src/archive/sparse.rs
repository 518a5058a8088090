//! Sparse files in their four dialects: GNU tar's own header, and its PAX forms 0.0, 0.1 and 1.0.
//!
//! All of them become a list of [`Segment`]s, checked once: ascending, not overlapping, inside the file. See *Storing Sparse Files* in
//! GNU tar's manual.

use std::io::Read;

use tar::{GnuExtSparseHeader, Header};

use super::entry::Segment;
use super::pax;
use crate::{Error, Kind};

const BLOCK: usize = 512;

/// Segments of one file. A map is held in memory; a million of them is 16 MiB and describes any honest file.
const SEGMENTS: usize = 1 << 20;

/// A decimal line of a 1.0 map has at most this many digits (2^64 has 20).
const DIGITS: usize = 20;

/// The `GNU.sparse.*` records of a PAX header.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct PaxSparse {
    version: (Option<u64>, Option<u64>),
    pub(super) name: Option<Vec<u8>>,
    real_size: Option<u64>,
    map: Option<Vec<u64>>,
}

/// What is left to do once the header of a member is known.
pub(super) enum Plan {
    /// Not sparse.
    Dense,
    /// The map was in the headers.
    Known { size: u64, segments: Vec<Segment> },
    /// The map comes at the beginning of the data (1.0).
    InData { size: u64 },
}

impl PaxSparse {
    pub(super) fn set(&mut self, key: &str, value: &[u8]) -> Result<(), Error> {
        match key {
            "major" => self.version.0 = pax::number(value)?,
            "minor" => self.version.1 = pax::number(value)?,
            "name" => self.name = Some(value.to_vec()),
            "size" | "realsize" => self.real_size = pax::number(value)?,
            "offset" | "numbytes" => self.push(pax::number(value)?.ok_or_else(malformed)?)?,
            "map" => {
                self.map = None;
                for number in value.split(|b| *b == b',').filter(|n| !n.is_empty()) {
                    self.push(pax::number(number)?.ok_or_else(malformed)?)?;
                }
            }
            // The number of blocks says nothing that the map does not.
            _ => {}
        }
        Ok(())
    }

    fn push(&mut self, number: u64) -> Result<(), Error> {
        let map = self.map.get_or_insert_default();
        if map.len() >= 2 * SEGMENTS {
            return Err(too_many());
        }
        map.push(number);
        Ok(())
    }

    pub(super) fn plan(&mut self) -> Result<Plan, Error> {
        if self.version == (Some(1), Some(0)) {
            return Ok(Plan::InData { size: self.real_size.ok_or_else(malformed)? });
        }
        let Some(size) = self.real_size else { return Ok(Plan::Dense) };
        let segments = pairs(&self.map.take().unwrap_or_default(), size)?;
        Ok(Plan::Known { size, segments })
    }
}

/// Reads the rest of an old GNU sparse header, which may go on for several blocks.
pub(super) fn read_gnu(header: &Header, source: &mut impl Read) -> Result<(u64, Vec<Segment>), Error> {
    let gnu = header.as_gnu().ok_or_else(malformed)?;
    let size = gnu.real_size().map_err(|_| malformed())?;
    let mut numbers = Vec::new();
    let add = |entries: &[tar::GnuSparseHeader], numbers: &mut Vec<u64>| {
        for entry in entries.iter().take_while(|e| !e.is_empty()) {
            if numbers.len() >= 2 * SEGMENTS {
                return Err(too_many());
            }
            numbers.push(entry.offset().map_err(|_| malformed())?);
            numbers.push(entry.length().map_err(|_| malformed())?);
        }
        Ok(())
    };
    add(&gnu.sparse, &mut numbers)?;
    let mut extended = gnu.is_extended();
    while extended {
        let mut block = GnuExtSparseHeader::new();
        source
            .read_exact(block.as_mut_bytes())
            .map_err(|e| Error::caused(Kind::Hostile, "archive ends in a sparse map", e))?;
        let before = numbers.len();
        add(block.sparse(), &mut numbers)?;
        // A block without segments that announces another could go on for ever.
        extended = block.is_extended() && numbers.len() > before;
    }
    Ok((size, pairs(&numbers, size)?))
}

/// Reads a 1.0 map from the beginning of the data: decimal lines, padded to a block. Returns the bytes that it took.
pub(super) fn read_map(source: &mut impl Read, stored: u64, size: u64) -> Result<(u64, Vec<Segment>), Error> {
    let mut lines = Lines { source, block: [0; BLOCK], at: BLOCK, taken: 0, stored };
    let count = lines.number()?;
    let count = usize::try_from(count).ok().filter(|c| *c <= SEGMENTS).ok_or_else(too_many)?;
    let mut numbers = Vec::new();
    for _ in 0..2 * count {
        numbers.push(lines.number()?);
    }
    Ok((lines.taken, pairs(&numbers, size)?))
}

struct Lines<'a, R> {
    source: &'a mut R,
    block: [u8; BLOCK],
    at: usize,
    taken: u64,
    stored: u64,
}

impl<R: Read> Lines<'_, R> {
    fn number(&mut self) -> Result<u64, Error> {
        let mut digits = Vec::with_capacity(DIGITS);
        loop {
            match self.byte()? {
                b'\n' => break,
                digit if digits.len() < DIGITS => digits.push(digit),
                _ => return Err(malformed()),
            }
        }
        pax::number(&digits)?.ok_or_else(malformed)
    }

    fn byte(&mut self) -> Result<u8, Error> {
        if self.at == BLOCK {
            if self.taken + BLOCK as u64 > self.stored {
                return Err(malformed());
            }
            self.source
                .read_exact(&mut self.block)
                .map_err(|e| Error::caused(Kind::Hostile, "archive ends in a sparse map", e))?;
            self.taken += BLOCK as u64;
            self.at = 0;
        }
        self.at += 1;
        Ok(self.block[self.at - 1])
    }
}

/// Offsets and lengths in turn become segments, if they describe a file of this size.
fn pairs(numbers: &[u64], size: u64) -> Result<Vec<Segment>, Error> {
    if !numbers.len().is_multiple_of(2) {
        return Err(malformed());
    }
    let mut end = 0;
    let mut segments = Vec::with_capacity(numbers.len() / 2);
    for pair in numbers.chunks_exact(2) {
        let (offset, length) = (pair[0], pair[1]);
        let after = offset.checked_add(length).ok_or_else(malformed)?;
        if offset < end || after > size {
            return Err(malformed());
        }
        end = after;
        if length > 0 {
            segments.push(Segment { offset, length });
        }
    }
    Ok(segments)
}

fn malformed() -> Error {
    Error::new(Kind::Hostile, "archive/tar: invalid sparse file map")
}

fn too_many() -> Error {
    Error::new(Kind::Hostile, format!("archive/tar: sparse file with more than {SEGMENTS} segments"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_that_cannot_be_are_refused() {
        let segments = pairs(&[0, 4, 8, 0, 10, 2], 12).unwrap();
        assert_eq!(segments, [Segment { offset: 0, length: 4 }, Segment { offset: 10, length: 2 }]);
        for (numbers, size) in
            [(&[0, 4, 2, 4][..], 10), (&[0, 11], 10), (&[u64::MAX, 2], u64::MAX), (&[1], 10)]
        {
            assert!(pairs(numbers, size).is_err(), "{numbers:?}");
        }
    }

    #[test]
    fn a_map_in_the_data_is_padded_to_a_block() {
        let mut data = b"2\n0\n3\n8\n2\n".to_vec();
        data.resize(BLOCK, 0);
        data.extend_from_slice(b"abcde");
        let stored = data.len() as u64;
        let mut source = &data[..];
        let (taken, segments) = read_map(&mut source, stored, 10).unwrap();
        assert_eq!((taken, segments.len(), source), (512, 2, &b"abcde"[..]));
        assert!(read_map(&mut &b"2\n0\n"[..], 4, 10).is_err());
        let endless = [b'1'; BLOCK];
        assert!(read_map(&mut &endless[..], BLOCK as u64, 10).is_err());
    }
}
