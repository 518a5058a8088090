//! Where a chunked body ends ([RFC 9112, section 7.1]), without looking at what it says.
//!
//! [RFC 9112, section 7.1]: https://www.rfc-editor.org/rfc/rfc9112#section-7.1

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Chunks {
    at: At,
    /// The size being read, or what is left of the chunk.
    left: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum At {
    #[default]
    Size,
    /// The rest of a size line.
    Extension,
    Data,
    /// The line end behind a chunk's data.
    DataEnd,
    TrailerStart,
    Trailer,
    Ended,
}

impl Chunks {
    pub(crate) fn ended(&self) -> bool {
        self.at == At::Ended
    }

    /// Goes on over `bytes`; returns how many of them belong to the body, or `None` when this is no chunked body.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut seen = 0;
        while seen < bytes.len() && self.at != At::Ended {
            if self.at == At::Data {
                let count = self.left.min((bytes.len() - seen) as u64);
                self.left -= count;
                seen += count as usize;
                if self.left == 0 {
                    self.at = At::DataEnd;
                }
                continue;
            }
            self.step(bytes[seen])?;
            seen += 1;
        }
        Some(seen)
    }

    fn step(&mut self, byte: u8) -> Option<()> {
        self.at = match (self.at, byte) {
            (At::Size | At::Extension, b'\n') if self.left == 0 => At::TrailerStart,
            (At::Size | At::Extension, b'\n') => At::Data,
            (At::Size, b'\r' | b';' | b' ' | b'\t') => At::Extension,
            (At::Size, digit) => {
                let digit = char::from(digit).to_digit(16)?;
                self.left = self.left.checked_mul(16)?.checked_add(u64::from(digit))?;
                At::Size
            }
            (At::Extension, _) => At::Extension,
            (At::DataEnd, b'\r') => At::DataEnd,
            (At::DataEnd, b'\n') => At::Size,
            (At::DataEnd, _) => return None,
            (At::TrailerStart, b'\n') => At::Ended,
            (At::TrailerStart, b'\r') => At::TrailerStart,
            (At::Trailer, b'\n') => At::TrailerStart,
            (At::TrailerStart | At::Trailer, _) => At::Trailer,
            (At::Data | At::Ended, _) => return None,
        };
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_found_however_the_bytes_are_cut() {
        let body = b"4;ext=1\r\nwiki\r\nA\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n";
        let mut bytes = body.to_vec();
        bytes.extend(b"next request");
        for size in 1..bytes.len() {
            let mut chunks = Chunks::default();
            let mut total = 0;
            for piece in bytes.chunks(size) {
                total += chunks.feed(piece).unwrap();
            }
            assert!(chunks.ended());
            assert_eq!(total, body.len());
        }
    }

    #[test]
    fn nonsense_is_seen() {
        assert_eq!(Chunks::default().feed(b"xyz\r\n"), None);
        assert_eq!(Chunks::default().feed(b"2\r\nabcd"), None);
        assert_eq!(Chunks::default().feed(b"fffffffffffffffff\r\n"), None);
    }
}
