//! Bytes on their way to a descriptor that may not take them all at once.
//!
//! The owner decides how much may pile up: whoever produces stops while [`Outbox::is_empty`] says no.

use std::fs::File;
use std::io::{self, ErrorKind, Write};

/// Capacity kept when it is empty; the rest was a burst.
const KEEP: usize = 4 << 10;

#[derive(Default)]
pub(super) struct Outbox {
    bytes: Vec<u8>,
    sent: usize,
}

impl Outbox {
    pub(super) fn is_empty(&self) -> bool {
        self.sent == self.bytes.len()
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.sent
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The frame of `docker attach`: stream, three zeroes, length, bytes.
    pub(super) fn push_frame(&mut self, stream: u8, bytes: &[u8]) {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes();
        self.push(&[stream, 0, 0, 0, length[0], length[1], length[2], length[3]]);
        self.push(bytes);
    }

    /// To append to directly.
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Writes what goes without waiting. An error means that nobody will ever take the rest.
    pub(super) fn flush(&mut self, mut file: &File) -> io::Result<()> {
        while self.sent < self.bytes.len() {
            match file.write(&self.bytes[self.sent..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.sent = 0;
        self.bytes.clear();
        self.bytes.shrink_to(KEEP);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn keeps_the_order_through_a_full_pipe() {
        let (reader, writer) = linux::fd::pipe().unwrap();
        linux::fd::set_nonblocking(&writer, true).unwrap();
        let (mut reader, writer) = (File::from(reader), File::from(writer));
        let expected: Vec<u8> = (0..200_000u32).map(|number| number as u8).collect();
        let mut outbox = Outbox::default();
        outbox.push(&expected);
        outbox.flush(&writer).unwrap();
        assert!(!outbox.is_empty(), "a pipe holds less than that");
        let mut got = vec![0; expected.len()];
        let mut filled = 0;
        while filled < got.len() {
            filled += reader.read(&mut got[filled..]).unwrap();
            outbox.flush(&writer).unwrap();
        }
        assert!(outbox.is_empty() && got == expected);
    }
}
