//! The frames that carry several output streams of a container over one connection.
//!
//! ```text
//!  byte 0    1 2 3    4 5 6 7            8 …
//!  stream    0 0 0    length, big endian payload
//! ```
//!
//! Used by attach, exec and logs of containers without a terminal; with one the bytes are raw. The
//! [`Decoder`] passes payload on as it comes and never holds more than a header, so a frame that
//! claims four gigabytes costs nothing.

/// Payload without frames: a terminal's bytes, or an old client.
pub const RAW: &str = "application/vnd.docker.raw-stream";
/// Payload in frames.
pub const MULTIPLEXED: &str = "application/vnd.docker.multiplexed-stream";

pub const HEADER: usize = 8;

/// Which stream a frame belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Stream {
    /// Shown on standard output by clients.
    Stdin = 0,
    Stdout = 1,
    Stderr = 2,
    /// The server failed after it had answered 200: the client prints the text and gives up.
    SystemError = 3,
    /// Not Docker's: the exit code of an exec as four bytes, big endian, behind all of its output, for those who asked for it
    /// ([`crate::exec::START`]).
    Exit = 4,
}

impl Stream {
    pub fn from_byte(byte: u8) -> Option<Self> {
        [Self::Stdin, Self::Stdout, Self::Stderr, Self::SystemError, Self::Exit]
            .into_iter()
            .find(|stream| *stream as u8 == byte)
    }

    /// The header of a frame with `length` bytes of payload.
    pub fn header(self, length: u32) -> [u8; HEADER] {
        let [a, b, c, d] = length.to_be_bytes();
        [self as u8, 0, 0, 0, a, b, c, d]
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownStream(pub u8);

impl std::fmt::Display for UnknownStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Unrecognized stream: {}", self.0)
    }
}

impl std::error::Error for UnknownStream {}

/// Takes frames apart, whatever pieces they arrive in.
#[derive(Debug, Default)]
pub struct Decoder {
    header: [u8; HEADER],
    filled: usize,
    current: Option<(Stream, u32)>,
}

impl Decoder {
    /// Takes the next piece of payload off the front of `input`; `None` when more bytes are needed.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<(Stream, &'a [u8])>, UnknownStream> {
        while !input.is_empty() {
            if let Some((stream, left)) = self.current {
                let length = input.len().min(left as usize);
                let (piece, rest) = input.split_at(length);
                *input = rest;
                let left = left - length as u32;
                self.current = (left > 0).then_some((stream, left));
                return Ok(Some((stream, piece)));
            }
            let length = input.len().min(HEADER - self.filled);
            let (piece, rest) = input.split_at(length);
            self.header[self.filled..self.filled + length].copy_from_slice(piece);
            self.filled += length;
            *input = rest;
            if self.filled == HEADER {
                self.filled = 0;
                let [kind, _, _, _, a, b, c, d] = self.header;
                let stream = Stream::from_byte(kind).ok_or(UnknownStream(kind))?;
                let left = u32::from_be_bytes([a, b, c, d]);
                self.current = (left > 0).then_some((stream, left));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames() -> Vec<u8> {
        let mut bytes = Vec::new();
        for (stream, payload) in [
            (Stream::Stdout, &b"hello"[..]),
            (Stream::Stderr, b""),
            (Stream::Stderr, b"oh"),
            (Stream::SystemError, b"x"),
            (Stream::Exit, b"\0\0\0\x07"),
        ] {
            bytes.extend(stream.header(payload.len() as u32));
            bytes.extend(payload);
        }
        bytes
    }

    #[test]
    fn any_cut_gives_the_same_streams() {
        let bytes = frames();
        for size in 1..=bytes.len() {
            let mut decoder = Decoder::default();
            let mut payloads: [Vec<u8>; 5] = Default::default();
            for mut piece in bytes.chunks(size) {
                while let Some((stream, payload)) = decoder.next(&mut piece).unwrap() {
                    payloads[stream as usize].extend(payload);
                }
            }
            assert_eq!(payloads, [&b""[..], b"hello", b"oh", b"x", b"\0\0\0\x07"]);
        }
    }

    #[test]
    fn unknown_streams_are_refused() {
        let mut decoder = Decoder::default();
        assert_eq!(decoder.next(&mut &[9, 0, 0, 0, 0, 0, 0, 1][..]), Err(UnknownStream(9)));
    }
}
