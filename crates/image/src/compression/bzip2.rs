//! bzip2, read only: what Docker still loads and imports, without a C library for it.
//!
//! A stream is blocks of at most 900,000 bytes, each packed by itself:
//!
//! ```text
//!   bytes ─▶ runs of 4..259 ─▶ Burrows-Wheeler ─▶ move to front, runs of zeros ─▶ Huffman, 2 to 6 tables
//! ```
//!
//! Here it goes from the right to the left. Streams may follow each other. Checksums of blocks are verified; that of the
//! stream follows from them. The "randomised" blocks of versions before 0.9.5 (1999) are refused.
//!
//! Memory: four bytes per byte of a block, 3.6 MB. The format: <https://github.com/dsnet/compress/blob/master/doc/bzip2-format.pdf>

use std::io::{self, BufRead, Read};

const BLOCK: u64 = 0x3141_5926_5359;
const END: u64 = 0x1772_4538_5090;
/// Bytes of a block, per level.
const LEVEL: usize = 100_000;
const MAX_LENGTH: u32 = 20;
const MAX_SYMBOLS: usize = 258;
const MAX_TABLES: usize = 6;
/// After so many symbols comes the next selector.
const GROUP: usize = 50;
const MAX_SELECTORS: usize = 18_002;
const RUN_A: u16 = 0;
const RUN_B: u16 = 1;

pub(super) struct Bzip2<R> {
    bits: Bits<R>,
    state: State,
    /// Bytes that a block of this stream may have.
    limit: usize,
    /// The block's bytes in the low eight bits; above them where each one's successor is.
    links: Vec<u32>,
    at: u32,
    left: usize,
    /// How often the last byte came in a row, and how often it still is to come.
    last: u8,
    row: u8,
    pending: u8,
    checksum: u32,
    expected: u32,
}

#[derive(PartialEq)]
enum State {
    /// Before the header of a stream.
    Start,
    Blocks,
    End,
}

impl<R: BufRead> Bzip2<R> {
    pub(super) fn new(source: R) -> Self {
        Bzip2 {
            bits: Bits { source, bits: 0, held: 0 },
            state: State::Start,
            limit: 0,
            links: Vec::new(),
            at: 0,
            left: 0,
            last: 0,
            row: 0,
            pending: 0,
            checksum: !0,
            expected: 0,
        }
    }

    pub(super) fn into_inner(self) -> R {
        self.bits.source
    }

    /// The next block; false at the end of all streams.
    fn next_block(&mut self) -> io::Result<bool> {
        loop {
            match self.state {
                State::End => return Ok(false),
                State::Start => {
                    if self.bits.source.fill_buf()?.is_empty() {
                        self.state = State::End;
                        continue;
                    }
                    let level = match self.bits.take(24)? {
                        0x42_5a68 => self.bits.take(8)?.wrapping_sub(u32::from(b'0')),
                        _ => return Err(corrupt("no stream begins here")),
                    };
                    if !(1..=9).contains(&level) {
                        return Err(corrupt("unknown block size"));
                    }
                    self.limit = level as usize * LEVEL;
                    self.state = State::Blocks;
                }
                State::Blocks => {
                    let magic = u64::from(self.bits.take(24)?) << 24 | u64::from(self.bits.take(24)?);
                    match magic {
                        BLOCK => return self.read_block().map(|()| true),
                        END => {
                            self.bits.take(32)?;
                            self.bits.align();
                            self.state = State::Start;
                        }
                        _ => return Err(corrupt("no block begins here")),
                    }
                }
            }
        }
    }

    fn read_block(&mut self) -> io::Result<()> {
        self.expected = self.bits.take(32)?;
        if self.bits.take(1)? == 1 {
            return Err(corrupt("randomised blocks are not supported"));
        }
        let origin = self.bits.take(24)? as usize;
        self.read_symbols()?;
        self.link();
        let first = self.links.get(origin).ok_or_else(|| corrupt("the origin is outside of the block"))?;
        self.at = first >> 8;
        self.left = self.links.len();
        (self.row, self.pending, self.checksum) = (0, 0, !0);
        Ok(())
    }

    /// Undoes Huffman, runs of zeros and move-to-front: the bytes, in the order of the sorted rotations.
    fn read_symbols(&mut self) -> io::Result<()> {
        let bits = &mut self.bits;
        let mut front = used_bytes(bits)?;
        let symbols = front.len() + 2;
        let count = bits.take(3)? as usize;
        if !(2..=MAX_TABLES).contains(&count) {
            return Err(corrupt("wrong number of tables"));
        }
        let selectors = selectors(bits, count)?;
        let tables = (0..count).map(|_| Table::read(bits, symbols)).collect::<io::Result<Vec<_>>>()?;
        let end = (symbols - 1) as u16;
        self.links.clear();
        let (mut run, mut weight) = (0usize, 1usize);
        for selector in selectors {
            let table = &tables[usize::from(selector)];
            for _ in 0..GROUP {
                let symbol = table.decode(bits)?;
                if symbol == RUN_A || symbol == RUN_B {
                    // Digits of the run's length, 1 and 2 instead of 0 and 1.
                    run += weight << symbol;
                    weight <<= 1;
                    if run > self.limit {
                        return Err(corrupt("a run is longer than a block"));
                    }
                    continue;
                }
                if self.links.len() + run + usize::from(symbol != end) > self.limit {
                    return Err(corrupt("a block is too long"));
                }
                self.links.extend(std::iter::repeat_n(u32::from(front[0]), run));
                (run, weight) = (0, 1);
                if symbol == end {
                    return Ok(());
                }
                let place = usize::from(symbol) - 1;
                let byte = front[place];
                front.copy_within(..place, 1);
                front[0] = byte;
                self.links.push(u32::from(byte));
            }
        }
        Err(corrupt("a block has no end"))
    }

    /// Undoes the Burrows-Wheeler transform: each byte learns where the next one is.
    fn link(&mut self) {
        let mut starts = [0u32; 256];
        for byte in &self.links {
            starts[(byte & 0xff) as usize] += 1;
        }
        let mut sum = 0;
        for start in &mut starts {
            sum += std::mem::replace(start, sum);
        }
        for at in 0..self.links.len() {
            let byte = (self.links[at] & 0xff) as usize;
            self.links[starts[byte] as usize] |= (at as u32) << 8;
            starts[byte] += 1;
        }
    }

    /// The next byte of the block, before runs are undone.
    fn step(&mut self) -> Option<u8> {
        self.left = self.left.checked_sub(1)?;
        let entry = self.links[self.at as usize];
        self.at = entry >> 8;
        Some((entry & 0xff) as u8)
    }

    fn emit(&mut self, byte: u8) -> u8 {
        self.checksum = self.checksum << 8 ^ CHECKSUMS[(self.checksum >> 24) as usize ^ usize::from(byte)];
        byte
    }

    /// The next byte of the file.
    fn next(&mut self) -> io::Result<Option<u8>> {
        const RUN: u8 = 4;
        loop {
            if self.pending > 0 {
                self.pending -= 1;
                return Ok(Some(self.emit(self.last)));
            }
            if let Some(byte) = self.step() {
                if self.row == RUN {
                    (self.row, self.pending) = (0, byte);
                    continue;
                }
                self.row = if self.row > 0 && byte == self.last { self.row + 1 } else { 1 };
                self.last = byte;
                return Ok(Some(self.emit(byte)));
            }
            if !self.checksum != self.expected {
                return Err(corrupt("the checksum of a block is wrong"));
            }
            if !self.next_block()? {
                return Ok(None);
            }
        }
    }
}

impl<R: BufRead> Read for Bzip2<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        for (at, place) in buffer.iter_mut().enumerate() {
            match self.next()? {
                Some(byte) => *place = byte,
                None => return Ok(at),
            }
        }
        Ok(buffer.len())
    }
}

/// Which bytes occur, in order: sixteen bits say which of sixteen groups follow.
fn used_bytes<R: BufRead>(bits: &mut Bits<R>) -> io::Result<Vec<u8>> {
    let groups = bits.take(16)?;
    let mut used = Vec::with_capacity(256);
    for group in (0..16u8).filter(|group| groups >> (15 - group) & 1 == 1) {
        let members = bits.take(16)?;
        used.extend((0..16u8).filter(|member| members >> (15 - member) & 1 == 1).map(|one| group << 4 | one));
    }
    if used.is_empty() { Err(corrupt("a block without bytes")) } else { Ok(used) }
}

/// Which table each group of symbols takes, moved to the front.
fn selectors<R: BufRead>(bits: &mut Bits<R>, tables: usize) -> io::Result<Vec<u8>> {
    let count = bits.take(15)? as usize;
    let mut front: Vec<u8> = (0..tables as u8).collect();
    let mut selectors = Vec::with_capacity(count.min(MAX_SELECTORS));
    for _ in 0..count {
        let mut place = 0;
        while bits.take(1)? == 1 {
            place += 1;
            if place == tables {
                return Err(corrupt("a selector of no table"));
            }
        }
        let table = front.remove(place);
        front.insert(0, table);
        // Some writers say more than can be used.
        if selectors.len() < MAX_SELECTORS {
            selectors.push(table);
        }
    }
    Ok(selectors)
}

/// A canonical Huffman code.
struct Table {
    /// Of each length: the first code that is too great for it, and what to add for the index of the symbol.
    ends: [i32; MAX_LENGTH as usize + 1],
    offsets: [i32; MAX_LENGTH as usize + 1],
    symbols: Vec<u16>,
}

impl Table {
    fn read<R: BufRead>(bits: &mut Bits<R>, symbols: usize) -> io::Result<Table> {
        let mut lengths = [0u8; MAX_SYMBOLS];
        let mut length = bits.take(5)?;
        for place in &mut lengths[..symbols] {
            loop {
                if !(1..=MAX_LENGTH).contains(&length) {
                    return Err(corrupt("a code of no length"));
                }
                if bits.take(1)? == 0 {
                    break;
                }
                length = if bits.take(1)? == 0 { length + 1 } else { length - 1 };
            }
            *place = length as u8;
        }
        Ok(Table::of(&lengths[..symbols]))
    }

    fn of(lengths: &[u8]) -> Table {
        let (mut ends, mut offsets) = ([0; MAX_LENGTH as usize + 1], [0; MAX_LENGTH as usize + 1]);
        let mut symbols = Vec::with_capacity(lengths.len());
        let mut code = 0;
        for length in 1..=MAX_LENGTH as usize {
            offsets[length] = symbols.len() as i32 - code;
            let with = (0u16..).zip(lengths).filter(|(_, own)| usize::from(**own) == length);
            let before = symbols.len();
            symbols.extend(with.map(|(symbol, _)| symbol));
            code += (symbols.len() - before) as i32;
            ends[length] = code;
            code <<= 1;
        }
        Table { ends, offsets, symbols }
    }

    fn decode<R: BufRead>(&self, bits: &mut Bits<R>) -> io::Result<u16> {
        let mut code = 0;
        for length in 1..=MAX_LENGTH as usize {
            code = code << 1 | bits.take(1)? as i32;
            if code < self.ends[length] {
                let symbol = usize::try_from(code + self.offsets[length]).ok();
                return symbol
                    .and_then(|index| self.symbols.get(index).copied())
                    .ok_or_else(|| corrupt("a code of no symbol"));
            }
        }
        Err(corrupt("a code of no symbol"))
    }
}

/// Bits from the highest of each byte on.
struct Bits<R> {
    source: R,
    bits: u64,
    held: u32,
}

impl<R: BufRead> Bits<R> {
    /// The next bits, 32 at most.
    fn take(&mut self, count: u32) -> io::Result<u32> {
        while self.held < count {
            let mut byte = [0];
            self.source.read_exact(&mut byte)?;
            self.bits = self.bits << 8 | u64::from(byte[0]);
            self.held += 8;
        }
        self.held -= count;
        Ok((self.bits >> self.held & ((1 << count) - 1)) as u32)
    }

    /// Forgets the rest of a byte.
    fn align(&mut self) {
        self.held = 0;
    }
}

fn corrupt(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("corrupt bzip2 data: {what}"))
}

/// CRC-32 with the highest bit first.
const CHECKSUMS: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut value = (byte as u32) << 24;
        let mut bit = 0;
        while bit < 8 {
            value = if value >> 31 == 1 { value << 1 ^ 0x04c1_1db7 } else { value << 1 };
            bit += 1;
        }
        table[byte] = value;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    /// `printf 'abcabcabcabcabc' | bzip2 -9`
    const SMALL: &str = "425a6839314159265359783187ca00000201003800200030cc089a49924e2ee48a70a120f0630f94";
    /// `yes wharf | head -c 250000 | bzip2 -1`: three blocks, long runs of what repeats.
    const LONG: &str = "425a6831314159265359def260e100a2bac18000102140108020005060014a864ed4840f0a1032a42068a10345081b52103e6282b24ca6b2f5e478b601457583000020428021004000a0c002950c9d14207aa42060a1036a4206d4840d14207cc50564994d64483763680145c5060000408500420080014180052a68d328881d2440f511034910349103368881f1772453850909c2023eb0";
    /// `printf '' | bzip2`
    const NOTHING: &str = "425a683917724538509000000000";

    fn unpack(packed: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        Bzip2::new(packed).read_to_end(&mut out)?;
        Ok(out)
    }

    fn bytes(text: &str) -> Vec<u8> {
        hex::decode(text).unwrap()
    }

    #[test]
    fn streams_are_read() {
        assert_eq!(unpack(&bytes(SMALL)).unwrap(), b"abcabcabcabcabc");
        let long: Vec<u8> = b"wharf\n".iter().copied().cycle().take(250_000).collect();
        assert_eq!(unpack(&bytes(LONG)).unwrap(), long);
        assert_eq!(unpack(&bytes(NOTHING)).unwrap(), b"");
        let both = [bytes(SMALL), bytes(NOTHING), bytes(SMALL)].concat();
        assert_eq!(unpack(&both).unwrap(), b"abcabcabcabcabc".repeat(2));
    }

    #[test]
    fn whatever_is_broken_is_an_error() {
        let whole = bytes(LONG);
        let good = unpack(&whole).unwrap();
        for at in 0..whole.len() {
            assert!(unpack(&whole[..at]).map_or(true, |out| at == 0 && out.is_empty()), "cut at {at}");
            let mut broken = whole.clone();
            broken[at] ^= 0x10;
            // The stream's own checksum and the padding are not looked at.
            assert!(unpack(&broken).map_or(true, |out| out == good), "broken at {at}");
        }
    }
}
