//! Cuts a stream of bytes into log lines.
//!
//! A line ends at LF. One that grows past 16 KiB without an LF is recorded in parts of exactly 16 KiB, each
//! with the time of its first part, and only the last part has the LF: Docker's rule. The parts of a line share an
//! id and are counted ([`Part`]), for collectors that put them together again. What is held back between two reads is
//! never more than one part.

use crate::log::record::Stream;

/// The longest text of one record.
pub const PART: usize = 16 << 10;

/// One stream's bytes, cut into records.
pub struct Splitter {
    pub stream: Stream,
    pending: Vec<u8>,
    /// The first part, while a line is being recorded in parts.
    cut: Option<Cut>,
}

struct Cut {
    time: i64,
    id: [u8; 32],
    parts: u32,
}

/// A piece of output that is ready to be recorded.
#[derive(Debug)]
pub struct Piece<'a> {
    /// Without its line feed.
    pub text: &'a [u8],
    pub time: i64,
    /// Set when it is not a whole line.
    pub part: Option<Part>,
}

/// A line's place among the parts that it was cut into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// The same for all parts of a line.
    pub id: [u8; 32],
    /// From 1.
    pub ordinal: u32,
    /// It ended with a line feed.
    pub last: bool,
}

impl Piece<'_> {
    /// Whether a line feed came behind the text.
    pub fn ends_line(&self) -> bool {
        self.part.is_none_or(|part| part.last)
    }
}

impl Splitter {
    pub fn new(stream: Stream) -> Splitter {
        Splitter { stream, pending: Vec::new(), cut: None }
    }

    /// Hands every piece that `bytes` completes to `emit`, in order.
    pub fn push(&mut self, mut bytes: &[u8], now: i64, mut emit: impl FnMut(Piece<'_>)) {
        while !bytes.is_empty() {
            let room = PART - self.pending.len();
            let window = &bytes[..bytes.len().min(room)];
            match memchr::memchr(b'\n', window) {
                Some(end) => {
                    let (time, part) = match self.cut.take() {
                        None => (now, None),
                        Some(cut) => (cut.time, Some(cut.part(true))),
                    };
                    self.emit(&bytes[..end], time, part, &mut emit);
                    bytes = &bytes[end + 1..];
                }
                None if window.len() == room => {
                    let (time, part) = self.next_part(now);
                    self.emit(window, time, Some(part), &mut emit);
                    bytes = &bytes[room..];
                }
                None => {
                    self.pending.extend_from_slice(window);
                    return;
                }
            }
        }
    }

    /// A part that does not end its line.
    fn next_part(&mut self, now: i64) -> (i64, Part) {
        let cut = self.cut.get_or_insert_with(|| Cut { time: now, id: linux::random::bytes(), parts: 0 });
        let part = cut.part(false);
        cut.parts += 1;
        (cut.time, part)
    }

    /// What arrived and is not recorded yet: the beginning of a line.
    pub fn unrecorded(&self) -> &[u8] {
        &self.pending
    }

    /// The stream has ended: what is left becomes a record without LF.
    pub fn finish(&mut self, now: i64, mut emit: impl FnMut(Piece<'_>)) {
        if !self.pending.is_empty() {
            let (time, part) = self.next_part(now);
            self.emit(b"", time, Some(part), &mut emit);
        }
        self.cut = None;
        self.pending = Vec::new();
    }

    /// Emits what was pending plus `tail`, without a copy when nothing was pending.
    fn emit(&mut self, tail: &[u8], time: i64, part: Option<Part>, emit: &mut impl FnMut(Piece<'_>)) {
        if self.pending.is_empty() {
            emit(Piece { text: tail, time, part });
        } else {
            self.pending.extend_from_slice(tail);
            emit(Piece { text: &self.pending, time, part });
            self.pending.clear();
        }
    }
}

impl Cut {
    fn part(&self, last: bool) -> Part {
        Part { id: self.id, ordinal: self.parts + 1, last }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(chunks: &[&[u8]]) -> Vec<(usize, bool, i64)> {
        let mut splitter = Splitter::new(Stream::Stdout);
        let mut pieces = Vec::new();
        for (time, chunk) in (0..).zip(chunks) {
            splitter
                .push(chunk, time, |piece| pieces.push((piece.text.len(), piece.ends_line(), piece.time)));
        }
        splitter.finish(99, |piece| pieces.push((piece.text.len(), piece.ends_line(), piece.time)));
        pieces
    }

    #[test]
    fn joins_a_line_over_several_reads() {
        assert_eq!(split(&[b"ab", b"c\nd", b"\n\n"]), [(3, true, 1), (1, true, 2), (0, true, 2)]);
    }

    #[test]
    fn leaves_the_end_without_newline() {
        assert_eq!(split(&[b"ab\ncd"]), [(2, true, 0), (2, false, 99)]);
    }

    #[test]
    fn cuts_long_lines_at_16_kib_with_the_first_time() {
        let long = vec![b'x'; PART + 5];
        assert_eq!(split(&[&long, b"y\nz\n"]), [(PART, false, 0), (6, true, 0), (1, true, 1)]);
    }

    #[test]
    fn a_line_of_exactly_16_kib_is_cut_before_its_newline() {
        let mut long = vec![b'x'; PART];
        long.push(b'\n');
        assert_eq!(split(&[&long]), [(PART, false, 0), (0, true, 0)]);
    }

    #[test]
    fn chunking_does_not_matter() {
        let mut text = Vec::new();
        for length in [0, 1, 20_000, 16_384, 16_383, 40_000, 3] {
            text.extend(std::iter::repeat_n(b'a', length));
            text.push(b'\n');
        }
        let whole: Vec<_> =
            split(&[&text]).into_iter().map(|(length, newline, _)| (length, newline)).collect();
        for size in [1, 7, 4096, 16_384, 30_000] {
            let chunks: Vec<&[u8]> = text.chunks(size).collect();
            let pieces: Vec<_> =
                split(&chunks).into_iter().map(|(length, newline, _)| (length, newline)).collect();
            assert_eq!(pieces, whole, "chunks of {size}");
        }
    }

    #[test]
    fn parts_are_counted_and_share_an_id() {
        let mut splitter = Splitter::new(Stream::Stdout);
        let mut parts = Vec::new();
        splitter.push(&vec![b'x'; 2 * PART + 1], 0, |piece| parts.push(piece.part));
        splitter.push(b"\nwhole\nhalf", 1, |piece| parts.push(piece.part));
        splitter.finish(2, |piece| parts.push(piece.part));
        let told: Vec<_> = parts.iter().map(|part| part.map(|part| (part.ordinal, part.last))).collect();
        assert_eq!(told, [Some((1, false)), Some((2, false)), Some((3, true)), None, Some((1, false))]);
        let ids: Vec<_> = parts.iter().flatten().map(|part| part.id).collect();
        assert!(ids[0] == ids[1] && ids[1] == ids[2] && ids[2] != ids[3], "{ids:?}");
    }
}
