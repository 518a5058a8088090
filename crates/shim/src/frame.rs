//! Frames on a socket: a header, a JSON document, descriptors beside it. The format is in [`crate::protocol`].
//!
//! Writing blocks (frames are small and both sides read); reading comes in two kinds, blocking for the engine's
//! short calls and piecewise for the shim's loop, over one parser.
//!
//! *Limits*: a payload is at most [`MAX_FRAME`]. One `sendmsg` carries at most [`linux::fd::MAX_PASSED`]
//! descriptors, so a frame with more sends its first bytes one by one, each with as many as fit: 65,535
//! descriptors, the most the header can count, need 260 bytes, and a launch is longer than that.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use linux::fd::MAX_PASSED;
use serde::Serialize;

use crate::protocol::MAX_FRAME;

const HEADER: usize = 8;

/// Bytes asked of the socket at once; a launch takes a few rounds, everything else one.
const CHUNK: usize = 16 << 10;

/// The bytes of one frame.
pub fn encode(message: &impl Serialize, descriptors: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; HEADER];
    serde_json::to_writer(&mut bytes, message)?;
    let length = bytes.len() - HEADER;
    let count = u16::try_from(descriptors).map_err(|_| invalid("too many descriptors for one frame"))?;
    if length > MAX_FRAME {
        return Err(invalid("the frame is too long"));
    }
    bytes[..4].copy_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
    bytes[4..6].copy_from_slice(&count.to_le_bytes());
    Ok(bytes)
}

/// Sends one frame on a blocking socket.
pub(crate) fn send(
    socket: impl AsFd,
    message: &impl Serialize,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let bytes = encode(message, descriptors.len())?;
    let mut groups = descriptors.chunks(MAX_PASSED).peekable();
    let mut sent = 0;
    while let Some(group) = groups.next() {
        let end = if groups.peek().is_some() { sent + 1 } else { bytes.len() };
        if end > bytes.len() {
            return Err(invalid("too many descriptors for a short frame"));
        }
        linux::fd::send_all(&socket, &bytes[sent..end], group)?;
        sent = end;
    }
    if sent < bytes.len() {
        linux::fd::send_all(&socket, &bytes[sent..], &[])?;
    }
    Ok(())
}

/// A frame that has arrived whole.
#[derive(Debug)]
pub(crate) struct Frame {
    pub payload: Vec<u8>,
    pub descriptors: Vec<OwnedFd>,
}

/// Puts frames together from what arrives.
#[derive(Debug, Default)]
pub(crate) struct Assembler {
    bytes: Vec<u8>,
    descriptors: Vec<OwnedFd>,
}

impl Assembler {
    /// Adds bytes that came without descriptors.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Receives once. False at the end of the stream; `WouldBlock` when nothing is there.
    pub(crate) fn receive(&mut self, socket: impl AsFd) -> io::Result<bool> {
        let held = self.bytes.len();
        self.bytes.resize(held + CHUNK, 0);
        let result = linux::fd::receive(socket, &mut self.bytes[held..], &mut self.descriptors);
        self.bytes.truncate(held + result.as_ref().map_or(0, |count| *count));
        Ok(result? > 0)
    }

    /// The next whole frame, if there is one. Frames are taken before more is received, so that descriptors
    /// are not mixed: a peer sends its next frame only after the answer to the last.
    pub(crate) fn take(&mut self) -> io::Result<Option<Frame>> {
        let Some(header) = self.bytes.first_chunk::<HEADER>() else { return Ok(None) };
        let length = u32::from_le_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let count = usize::from(u16::from_le_bytes([header[4], header[5]]));
        if length > MAX_FRAME {
            return Err(invalid("the frame is too long"));
        }
        if self.bytes.len() < HEADER + length {
            return Ok(None);
        }
        if self.descriptors.len() < count {
            return Err(invalid("descriptors are missing"));
        }
        let rest = self.bytes.split_off(HEADER + length);
        let mut payload = std::mem::replace(&mut self.bytes, rest);
        payload.drain(..HEADER);
        Ok(Some(Frame { payload, descriptors: self.descriptors.drain(..count).collect() }))
    }

    /// Waits for the next frame on a blocking socket.
    pub(crate) fn wait(&mut self, socket: impl AsFd) -> io::Result<Frame> {
        loop {
            if let Some(frame) = self.take()? {
                return Ok(frame);
            }
            if !self.receive(&socket)? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

fn invalid(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn more_descriptors_than_one_message_carries() {
        let (left, right) = UnixStream::pair().unwrap();
        let file = std::fs::File::open("/dev/null").unwrap();
        let descriptors = vec![file.as_fd(); 2 * MAX_PASSED + 7];
        let sender = std::thread::scope(|scope| {
            let sender = scope.spawn(|| send(&left, &"x".repeat(100_000), &descriptors));
            let frame = Assembler::default().wait(&right).unwrap();
            assert_eq!(frame.descriptors.len(), 2 * MAX_PASSED + 7);
            assert_eq!(serde_json::from_slice::<String>(&frame.payload).unwrap().len(), 100_000);
            sender.join().unwrap()
        });
        sender.unwrap();
    }

    #[test]
    fn frames_come_apart_wherever_they_were_cut() {
        let mut bytes = encode(&1, 0).unwrap();
        bytes.extend(encode(&"two", 0).unwrap());
        let mut assembler = Assembler::default();
        let mut frames = Vec::new();
        for byte in bytes {
            assembler.push(&[byte]);
            while let Some(frame) = assembler.take().unwrap() {
                frames.push(String::from_utf8(frame.payload).unwrap());
            }
        }
        assert_eq!(frames, ["1", "\"two\""]);
    }

    #[test]
    fn a_peer_that_lies_is_refused() {
        let mut assembler = Assembler::default();
        assembler.push(&[0xff; 8]);
        assert!(assembler.take().is_err());
        let mut assembler = Assembler::default();
        assembler.push(&encode(&(), 3).unwrap());
        assert!(assembler.take().is_err());
    }
}
