//! Netlink: what the kernel's network configuration is told, and asked, in one message or many.
//!
//! ```text
//!   Message  = header, a family's fixed struct, attributes (nested, 4-byte aligned)
//!   Socket   = one protocol (route, netfilter) in the network namespace of the thread that opened it
//!   request  = [Message …] in one sendmsg; the kernel handles them in order before sendmsg returns
//! ```
//!
//! Requests are synchronous: every answer lies in the receive queue when `sendmsg` returns, so nothing here waits.
//! An error carries the name of the message that failed and the kernel's own sentence (extended ack), if it has one.
//! The messages themselves are in [`link`], [`address`] and [`route`]; nftables and conntrack build on the same parts.
//! They are written here and not taken from a crate of packet types: a dozen kinds of message are needed, most of
//! them (nat, fib, maps of ports) exist in no such crate, and one small builder serves all.
//!
//! See netlink(7), rtnetlink(7) and the kernel's `Documentation/userspace-api/netlink`.

pub mod address;
pub mod link;
pub mod route;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use crate::Error;

const REQUEST: u16 = 1;
const ACK: u16 = 4;
const DUMP: u16 = 0x300;
const REPLACE: u16 = 0x100;
const EXCL: u16 = 0x200;
const CREATE: u16 = 0x400;

const KIND_ERROR: u16 = 2;
const KIND_DONE: u16 = 3;
const DUMP_INTERRUPTED: u16 = 0x10;

const HEADER: usize = 16;
/// Set on attributes that hold attributes.
const NESTED: u16 = 0x8000;
/// The two flag bits of an attribute's type are no part of its number.
const TYPE_MASK: u16 = 0x3fff;

/// The kernel sends dumps in pieces of at most 32 KiB; twice that never truncates one.
const RECEIVE_BUFFER: usize = 64 << 10;
/// A dump that changes under the reader is begun again; so often in a row it is a flood, and an error.
const DUMP_ATTEMPTS: usize = 16;

/// What a request does with an object that is there already, or is not there yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Act on what exists, or just ask.
    Plain,
    /// Make it; that it exists is an error.
    Create,
    /// Make it, or leave it (for most objects: change it) when it exists.
    Ensure,
    /// Make it, or put it in place of what exists.
    Replace,
}

impl Mode {
    fn flags(self) -> u16 {
        match self {
            Mode::Plain => 0,
            Mode::Create => CREATE | EXCL,
            Mode::Ensure => CREATE,
            Mode::Replace => CREATE | REPLACE,
        }
    }
}

/// One netlink message under construction.
#[derive(Debug, Clone)]
pub struct Message {
    bytes: Vec<u8>,
    /// How the message is called in an error: the request and what it is about.
    name: String,
}

impl Message {
    /// `fixed` is the family's struct that comes before the attributes (`ifinfomsg`, `nfgenmsg`, …).
    pub fn new(kind: u16, mode: Mode, fixed: &[u8], name: impl Into<String>) -> Message {
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(&0u32.to_ne_bytes());
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&(REQUEST | mode.flags()).to_ne_bytes());
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(fixed);
        pad(&mut bytes);
        Message { bytes, name: name.into() }
    }

    pub fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        self.put(kind, value);
        self
    }

    pub fn u8(self, kind: u16, value: u8) -> Self {
        self.attribute(kind, &[value])
    }

    pub fn u16(self, kind: u16, value: u16) -> Self {
        self.attribute(kind, &value.to_ne_bytes())
    }

    pub fn u32(self, kind: u16, value: u32) -> Self {
        self.attribute(kind, &value.to_ne_bytes())
    }

    /// Netfilter's numbers travel in network byte order.
    pub fn be32(self, kind: u16, value: u32) -> Self {
        self.attribute(kind, &value.to_be_bytes())
    }

    pub fn be64(self, kind: u16, value: u64) -> Self {
        self.attribute(kind, &value.to_be_bytes())
    }

    /// A string with its terminating zero.
    pub fn text(mut self, kind: u16, value: &str) -> Self {
        let start = self.open(kind);
        self.bytes.extend_from_slice(value.as_bytes());
        self.bytes.push(0);
        self.close(start);
        self
    }

    /// An attribute whose value is what `inside` appends.
    pub fn nest(mut self, kind: u16, inside: impl FnOnce(Self) -> Self) -> Self {
        let start = self.open(kind | NESTED);
        self = inside(self);
        self.close(start);
        self
    }

    /// Bytes as they are: a fixed struct inside an attribute (`VETH_INFO_PEER`).
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend_from_slice(bytes);
        pad(&mut self.bytes);
        self
    }

    /// Flags of the header beyond those of the mode.
    pub(crate) fn flags(mut self, flags: u16) -> Self {
        let all = flags | u16::from_ne_bytes([self.bytes[6], self.bytes[7]]);
        self.bytes[6..8].copy_from_slice(&all.to_ne_bytes());
        self
    }

    /// Bytes so far: a nested attribute may hold no more than 65535.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.len() == HEADER
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    fn put(&mut self, kind: u16, value: &[u8]) {
        let start = self.open(kind);
        self.bytes.extend_from_slice(value);
        self.close(start);
    }

    fn open(&mut self, kind: u16) -> usize {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0, 0]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        start
    }

    fn close(&mut self, start: usize) {
        let length = self.bytes.len() - start;
        // Too long a value is a defect of the caller, who sees `len`; a wrapped length would corrupt silently.
        let length = u16::try_from(length).expect("a netlink attribute above 65535 bytes");
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        pad(&mut self.bytes);
    }

    fn finish(&mut self, sequence: u32, flags: u16) -> &[u8] {
        let length = u32::try_from(self.bytes.len()).expect("messages are small");
        self.bytes[0..4].copy_from_slice(&length.to_ne_bytes());
        let flags = flags | u16::from_ne_bytes([self.bytes[6], self.bytes[7]]);
        self.bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        self.bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
        &self.bytes
    }
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// The attributes in a run of bytes. A malformed rest ends the run: the kernel sends none.
#[derive(Debug, Clone, Copy)]
pub struct Attributes<'a>(pub &'a [u8]);

impl<'a> Attributes<'a> {
    pub fn value(mut self, kind: u16) -> Option<&'a [u8]> {
        self.find(|(found, _)| *found == kind).map(|(_, value)| value)
    }

    pub fn nested(self, kind: u16) -> Option<Attributes<'a>> {
        self.value(kind).map(Attributes)
    }

    pub fn text(self, kind: u16) -> Option<&'a str> {
        let value = self.value(kind)?;
        std::str::from_utf8(value.strip_suffix(&[0]).unwrap_or(value)).ok()
    }

    pub fn u32(self, kind: u16) -> Option<u32> {
        Some(u32::from_ne_bytes(self.value(kind)?.get(..4)?.try_into().ok()?))
    }

    pub fn be32(self, kind: u16) -> Option<u32> {
        self.u32(kind).map(u32::from_be)
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::from(u16::from_ne_bytes(self.0.get(0..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(self.0.get(2..4)?.try_into().ok()?) & TYPE_MASK;
        let value = self.0.get(4..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    }
}

/// Which part of the kernel a socket talks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    Route,
    Netfilter,
}

/// A netlink socket. It belongs for ever to the network namespace of the thread that opened it, and may then be used
/// from any thread.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Socket {
    pub fn open(family: Family) -> Result<Socket, Error> {
        let protocol = match family {
            // NETLINK_ROUTE is 0, which a socket has by itself.
            Family::Route => None,
            Family::Netfilter => Some(rustix::net::netlink::NETFILTER),
        };
        let fd =
            rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)
                .map_err(|errno| Error::new("socket", format!("AF_NETLINK, {family:?}"), errno))?;
        set_option(&fd, libc::NETLINK_EXT_ACK)?;
        set_option(&fd, libc::NETLINK_CAP_ACK)?;
        Ok(Socket { fd, sequence: 0, buffer: vec![0; RECEIVE_BUFFER] })
    }

    /// The same in another network namespace, which no thread but one that ends here enters.
    pub fn open_in(family: Family, namespace: BorrowedFd<'_>) -> Result<Socket, Error> {
        std::thread::scope(|scope| {
            let open = || {
                crate::namespace::enter(namespace, crate::namespace::NETWORK)?;
                Socket::open(family)
            };
            let thread = std::thread::Builder::new().spawn_scoped(scope, open);
            let thread =
                thread.map_err(|error| Error::from_io("clone3", "a thread for a namespace", &error))?;
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Send messages together; the kernel performs each in turn. The first that fails is the error, the others are
    /// done nevertheless (only nftables has transactions, see [`Socket::transaction`]).
    pub fn request(&mut self, mut messages: Vec<Message>) -> Result<(), Error> {
        let first = self.sequence.wrapping_add(1);
        let mut bytes = Vec::new();
        for message in &mut messages {
            self.sequence = self.sequence.wrapping_add(1);
            bytes.extend_from_slice(message.finish(self.sequence, ACK));
        }
        self.send(&bytes, &messages)?;
        // Each message is answered once.
        self.acknowledged(first, &messages, messages.len())
    }

    /// A netfilter batch: all of it happens or nothing. `begin` and `end` frame the messages.
    pub(crate) fn transaction(
        &mut self,
        begin: Message,
        mut messages: Vec<Message>,
        end: Message,
    ) -> Result<(), Error> {
        messages.insert(0, begin);
        messages.push(end);
        let first = self.sequence.wrapping_add(1);
        // One acknowledgement suffices to know that the batch was read to its end; errors come without being asked for.
        let acknowledged = messages.len() - 2;
        let mut bytes = Vec::new();
        for (position, message) in messages.iter_mut().enumerate() {
            self.sequence = self.sequence.wrapping_add(1);
            let flags = if position == acknowledged { ACK } else { 0 };
            bytes.extend_from_slice(message.finish(self.sequence, flags));
        }
        self.send(&bytes, &messages)?;
        // How many answers a failed batch has is not known: all that there are.
        self.acknowledged(first, &messages, usize::MAX)
    }

    /// Ask for one object and hand its message (fixed struct and attributes) to `read`.
    pub fn get<T>(
        &mut self,
        mut message: Message,
        read: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Result<T, Error> {
        self.sequence = self.sequence.wrapping_add(1);
        let bytes = message.finish(self.sequence, 0).to_vec();
        let messages = [message];
        self.send(&bytes, &messages)?;
        let expected = self.sequence;
        let mut read = Some(read);
        let mut found = None;
        self.receive(|kind, _, sequence, payload| {
            if sequence != expected {
                return Ok(Enough::No);
            }
            if kind == KIND_ERROR {
                failure(payload, sequence, expected, &messages)?;
            } else {
                found = read.take().and_then(|read| read(payload));
            }
            Ok(Enough::Yes)
        })?;
        found.ok_or_else(|| Error::new("recvmsg", messages[0].name.clone(), Errno::PROTO))
    }

    /// Ask for all objects; `read` sees each message. Begun again when the kernel says that the list changed meanwhile.
    pub fn dump(&mut self, message: &Message, mut read: impl FnMut(&[u8])) -> Result<(), Error> {
        for _ in 0..DUMP_ATTEMPTS {
            let mut objects: Vec<Vec<u8>> = Vec::new();
            if self.dump_once(message.clone(), &mut objects)? {
                objects.iter().for_each(|object| read(object));
                return Ok(());
            }
        }
        Err(Error::new("recvmsg", format!("{} (the list kept changing)", message.name), Errno::INTR))
    }

    /// Whether the dump is consistent.
    fn dump_once(&mut self, mut message: Message, objects: &mut Vec<Vec<u8>>) -> Result<bool, Error> {
        self.sequence = self.sequence.wrapping_add(1);
        let expected = self.sequence;
        let bytes = message.finish(expected, DUMP).to_vec();
        let messages = [message];
        self.send(&bytes, &messages)?;
        let mut consistent = true;
        let end = self.receive(|kind, flags, sequence, payload| {
            if sequence != expected {
                return Ok(Enough::No);
            }
            consistent &= flags & DUMP_INTERRUPTED == 0;
            match kind {
                KIND_DONE => return Ok(Enough::Yes),
                KIND_ERROR => failure(payload, sequence, expected, &messages)?,
                _ => objects.push(payload.to_vec()),
            }
            Ok(Enough::No)
        })?;
        if end == Enough::No {
            return Err(Error::new("recvmsg", messages[0].name.clone(), Errno::NODATA));
        }
        Ok(consistent)
    }

    fn send(&self, bytes: &[u8], messages: &[Message]) -> Result<(), Error> {
        let name = || messages.iter().map(|message| message.name.as_str()).find(|name| !name.is_empty());
        let failed = |errno| Error::new("sendmsg", name().unwrap_or("netlink").to_owned(), errno);
        // A message larger than the send buffer is refused whole. The system-wide limit may be passed by root only.
        if bytes.len() > 64 << 10 {
            let _ = rustix::net::sockopt::set_socket_send_buffer_size_force(&self.fd, bytes.len() * 2);
        }
        rustix::io::retry_on_intr(|| rustix::net::send(&self.fd, bytes, SendFlags::empty()))
            .map_err(failed)?;
        Ok(())
    }

    /// Read that many answers, or all that there are; there must be one, and the first that is an error is returned.
    fn acknowledged(&mut self, first: u32, messages: &[Message], expected: usize) -> Result<(), Error> {
        let mut outcome = Ok(());
        let mut answers = 0;
        self.receive(|kind, _, sequence, payload| {
            let belongs = (sequence.wrapping_sub(first) as usize) < messages.len();
            if kind == KIND_ERROR && belongs {
                answers += 1;
                let answer = failure(payload, sequence, first, messages);
                if outcome.is_ok() {
                    outcome = answer;
                }
            }
            Ok(if answers < expected { Enough::No } else { Enough::Yes })
        })?;
        if outcome.is_ok() && answers == 0 {
            let name = messages.first().map(|message| message.name.clone()).unwrap_or_default();
            return Err(Error::new("recvmsg", name, Errno::NODATA));
        }
        outcome
    }

    /// Hand each message to `each` until it has enough, or the queue is empty.
    fn receive(
        &mut self,
        mut each: impl FnMut(u16, u16, u32, &[u8]) -> Result<Enough, Error>,
    ) -> Result<Enough, Error> {
        loop {
            let length = match rustix::io::retry_on_intr(|| {
                rustix::net::recv(&self.fd, self.buffer.as_mut_slice(), RecvFlags::DONTWAIT)
                    .map(|(length, _)| length)
            }) {
                Ok(length) => length,
                Err(Errno::AGAIN) => return Ok(Enough::No),
                Err(errno) => return Err(Error::new("recvmsg", "netlink", errno)),
            };
            let mut rest = self.buffer.get(..length).unwrap_or(&self.buffer);
            while let Some((header, payload, next)) = split(rest) {
                if each(header.kind, header.flags, header.sequence, payload)? == Enough::Yes {
                    return Ok(Enough::Yes);
                }
                rest = next;
            }
        }
    }
}

/// Whether a reader of messages needs more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Enough {
    No,
    Yes,
}

struct Header {
    kind: u16,
    flags: u16,
    sequence: u32,
}

/// The first message of a datagram, and what is behind it.
fn split(bytes: &[u8]) -> Option<(Header, &[u8], &[u8])> {
    let head = bytes.first_chunk::<HEADER>()?;
    let size = u32::from_ne_bytes([head[0], head[1], head[2], head[3]]) as usize;
    let header = Header {
        kind: u16::from_ne_bytes([head[4], head[5]]),
        flags: u16::from_ne_bytes([head[6], head[7]]),
        sequence: u32::from_ne_bytes([head[8], head[9], head[10], head[11]]),
    };
    let payload = bytes.get(HEADER..size)?;
    Some((header, payload, bytes.get(size.next_multiple_of(4)..).unwrap_or_default()))
}

/// What an `NLMSG_ERROR` says: nothing (an acknowledgement), or which message failed and why.
fn failure(payload: &[u8], sequence: u32, first: u32, messages: &[Message]) -> Result<(), Error> {
    const ERROR_MESSAGE: u16 = 1;
    let code = payload.get(..4).and_then(|code| code.try_into().ok()).map_or(0, i32::from_ne_bytes);
    if code == 0 {
        return Ok(());
    }
    let name = messages
        .get(sequence.wrapping_sub(first) as usize)
        .map_or("netlink", |message| message.name.as_str());
    // Behind the code: the header of the failed message (the socket asked for no more), then attributes.
    let sentence = payload.get(4 + HEADER..).and_then(|rest| Attributes(rest).text(ERROR_MESSAGE));
    let arguments = match sentence {
        Some(sentence) => format!("{name}: {sentence}"),
        None => name.to_owned(),
    };
    Err(Error::new("netlink", arguments, Errno::from_raw_os_error(-code)))
}

fn set_option(fd: &OwnedFd, option: libc::c_int) -> Result<(), Error> {
    use std::os::fd::AsRawFd;
    let on: libc::c_int = 1;
    // SAFETY: the descriptor is open for the length of the call, and the kernel reads exactly the four bytes of `on`.
    let outcome = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_NETLINK,
            option,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if outcome == 0 {
        return Ok(());
    }
    let errno = Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL);
    Err(Error::new("setsockopt", format!("SOL_NETLINK, {option}"), errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_aligned_and_nest() {
        let message = Message::new(16, Mode::Create, &[1, 2, 3, 4], "test")
            .text(1, "abc")
            .nest(2, |inner| inner.u8(3, 7).u16(4, 0x0102))
            .be32(5, 0x0a0b0c0d);
        let attributes = Attributes(&message.bytes[HEADER + 4..]);
        assert_eq!(attributes.text(1), Some("abc"));
        let nested = attributes.nested(2).expect("the nested attribute is there");
        assert_eq!(nested.value(3), Some([7].as_slice()));
        assert_eq!(nested.value(4), Some(0x0102u16.to_ne_bytes().as_slice()));
        assert_eq!(attributes.be32(5), Some(0x0a0b0c0d));
        assert_eq!(message.bytes.len() % 4, 0);
    }

    #[test]
    fn truncated_attributes_end_the_run() {
        let message = Message::new(16, Mode::Plain, &[], "test").text(1, "abc").u32(2, 5);
        let attributes = &message.bytes[HEADER..];
        assert_eq!(Attributes(&attributes[..attributes.len() - 2]).count(), 1);
        assert_eq!(Attributes(&[0, 0, 0, 0, 1]).count(), 0);
    }

    #[test]
    fn an_error_names_its_message_and_the_kernels_sentence() {
        let messages = [Message::new(16, Mode::Plain, &[], "RTM_NEWLINK(x)")];
        let mut payload = (-17i32).to_ne_bytes().to_vec();
        payload.extend_from_slice(&[0; HEADER]);
        let sentence = Message::new(0, Mode::Plain, &[], "").text(1, "it is there");
        payload.extend_from_slice(&sentence.bytes[HEADER..]);
        let error = failure(&payload, 7, 7, &messages).expect_err("the code is not zero");
        let text = error.to_string();
        assert!(text.contains("RTM_NEWLINK(x): it is there"), "{text}");
        assert!(text.contains("EEXIST"), "{text}");
    }
}
