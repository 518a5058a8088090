//! Cuts a stream of bytes into log lines.
//!
//! A line ends at LF. One that grows past 16 KiB without an LF is recorded in parts of exactly 16 KiB, each
//! with the time of its first part, and only the last part has the LF: Docker's rule. What is held back between
//! two reads is never more than one part.

use crate::log::record::Stream;

/// The longest text of one record.
pub const PART: usize = 16 << 10;

pub struct Splitter {
    pub stream: Stream,
    pending: Vec<u8>,
    /// The time of the first part, while a line is being recorded in parts.
    cut_at: Option<i64>,
}

/// A piece of output that is ready to be recorded.
pub struct Piece<'a> {
    pub text: &'a [u8],
    pub newline: bool,
    pub time: i64,
}

impl Splitter {
    pub fn new(stream: Stream) -> Splitter {
        Splitter { stream, pending: Vec::new(), cut_at: None }
    }

    /// Hands every piece that `bytes` completes to `emit`, in order.
    pub fn push(&mut self, mut bytes: &[u8], now: i64, mut emit: impl FnMut(Piece<'_>)) {
        while !bytes.is_empty() {
            let room = PART - self.pending.len();
            let window = &bytes[..bytes.len().min(room)];
            match window.iter().position(|byte| *byte == b'\n') {
                Some(end) => {
                    let time = self.cut_at.take().unwrap_or(now);
                    self.emit(&bytes[..end], true, time, &mut emit);
                    bytes = &bytes[end + 1..];
                }
                None if window.len() == room => {
                    let time = *self.cut_at.get_or_insert(now);
                    self.emit(window, false, time, &mut emit);
                    bytes = &bytes[room..];
                }
                None => {
                    self.pending.extend_from_slice(window);
                    return;
                }
            }
        }
    }

    /// What arrived and is not recorded yet: the beginning of a line.
    pub fn unrecorded(&self) -> &[u8] {
        &self.pending
    }

    /// The stream has ended: what is left becomes a record without LF.
    pub fn finish(&mut self, now: i64, mut emit: impl FnMut(Piece<'_>)) {
        let time = self.cut_at.take().unwrap_or(now);
        if !self.pending.is_empty() {
            self.emit(b"", false, time, &mut emit);
        }
        self.pending = Vec::new();
    }

    /// Emits what was pending plus `tail`, without a copy when nothing was pending.
    fn emit(&mut self, tail: &[u8], newline: bool, time: i64, emit: &mut impl FnMut(Piece<'_>)) {
        if self.pending.is_empty() {
            emit(Piece { text: tail, newline, time });
        } else {
            self.pending.extend_from_slice(tail);
            emit(Piece { text: &self.pending, newline, time });
            self.pending.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(chunks: &[&[u8]]) -> Vec<(usize, bool, i64)> {
        let mut splitter = Splitter::new(Stream::Stdout);
        let mut pieces = Vec::new();
        for (time, chunk) in (0..).zip(chunks) {
            splitter.push(chunk, time, |piece| pieces.push((piece.text.len(), piece.newline, piece.time)));
        }
        splitter.finish(99, |piece| pieces.push((piece.text.len(), piece.newline, piece.time)));
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
}
