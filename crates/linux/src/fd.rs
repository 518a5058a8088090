//! Descriptors: passing them between processes, duplicating, sealing.
//!
//! Descriptors travel with the first byte of a message (`SCM_RIGHTS`, unix(7)) and always arrive close-on-exec.
//! One message carries at most [`MAX_PASSED`]: the kernel's own limit (`SCM_MAX_FD`).

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use rustix::pipe::PipeFlags;

use crate::error::{Context, check};
use crate::{Errno, Error, Result};

/// `SCM_MAX_FD` of the kernel.
pub const MAX_PASSED: usize = 253;

/// Sends some of `bytes` with all of `descriptors`; returns how many bytes went. Never raises SIGPIPE.
/// On a stream socket the caller sends the rest without descriptors.
pub fn send(socket: impl AsFd, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<usize> {
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_PASSED))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(Error::new(
            "sendmsg",
            format_args!("{} descriptors", descriptors.len()),
            Errno::TOOMANYREFS,
        ));
    }
    let io = [IoSlice::new(bytes)];
    rustix::io::retry_on_intr(|| rustix::net::sendmsg(socket.as_fd(), &io, &mut control, SendFlags::NOSIGNAL))
        .context("sendmsg", || format!("{} bytes, {} descriptors", bytes.len(), descriptors.len()))
}

/// Sends all of `bytes`, the descriptors with the first of them. For blocking sockets.
pub fn send_all(socket: impl AsFd, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<()> {
    let mut sent = send(&socket, bytes, descriptors)?;
    while sent < bytes.len() {
        sent += send(&socket, &bytes[sent..], &[])?;
    }
    Ok(())
}

/// Receives into `buffer`; descriptors that came along are appended to `descriptors`, close-on-exec.
/// 0 bytes is the end of a stream. Descriptors that did not fit are an error: the sender broke the protocol.
pub fn receive(socket: impl AsFd, buffer: &mut [u8], descriptors: &mut Vec<OwnedFd>) -> Result<usize> {
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_PASSED))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let message = rustix::io::retry_on_intr(|| {
        let mut io = [IoSliceMut::new(buffer)];
        rustix::net::recvmsg(socket.as_fd(), &mut io, &mut control, RecvFlags::CMSG_CLOEXEC)
    })
    .context("recvmsg", || "descriptors")?;
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(passed) = part {
            descriptors.extend(passed);
        }
    }
    if message.flags.contains(ReturnFlags::CTRUNC) {
        return Err(Error::new("recvmsg", "truncated control data", Errno::TOOMANYREFS));
    }
    Ok(message.bytes)
}

/// Waits for the next packet of a `SOCK_SEQPACKET` socket, and leaves it there. Returns its length; 0 at the end.
pub fn waiting_packet(socket: impl AsFd) -> Result<usize> {
    let flags = RecvFlags::PEEK | RecvFlags::TRUNC;
    rustix::io::retry_on_intr(|| rustix::net::recv(socket.as_fd(), &mut [0u8; 0], flags))
        .map(|(_, length)| length)
        .context("recv", || "MSG_PEEK|MSG_TRUNC")
}

/// `(read end, write end)`, close-on-exec.
pub fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    rustix::pipe::pipe_with(PipeFlags::CLOEXEC).context("pipe2", || "O_CLOEXEC")
}

/// A duplicate that closes on exec.
pub fn duplicate(fd: impl AsFd) -> Result<OwnedFd> {
    duplicate_from(fd, 0)
}

/// A duplicate numbered `lowest` or above, so that it is out of the way of numbers that will be assigned.
pub fn duplicate_from(fd: impl AsFd, lowest: RawFd) -> Result<OwnedFd> {
    rustix::io::fcntl_dupfd_cloexec(fd, lowest).context("fcntl", || "F_DUPFD_CLOEXEC")
}

/// Makes `target` mean what `fd` means, inheritable across exec. Whatever had that number is closed: only for
/// the numbers that a program about to be executed expects (0, 1, 2 and the ones passed on purpose).
pub fn assign(fd: impl AsFd, target: RawFd) -> Result<()> {
    let raw = fd.as_fd().as_raw_fd();
    if raw == target {
        return set_inheritable(fd, true);
    }
    // SAFETY: dup2 takes plain numbers; the documentation above makes the caller answer for `target`.
    check(i64::from(unsafe { libc::dup2(raw, target) }), "dup2", || format!("{raw}, {target}")).map(drop)
}

pub fn set_inheritable(fd: impl AsFd, inheritable: bool) -> Result<()> {
    let flags = if inheritable { rustix::io::FdFlags::empty() } else { rustix::io::FdFlags::CLOEXEC };
    rustix::io::fcntl_setfd(fd, flags).context("fcntl", || "F_SETFD")
}

pub fn set_nonblocking(fd: impl AsFd, nonblocking: bool) -> Result<()> {
    let mut flags = rustix::fs::fcntl_getfl(&fd).context("fcntl", || "F_GETFL")?;
    flags.set(rustix::fs::OFlags::NONBLOCK, nonblocking);
    rustix::fs::fcntl_setfl(fd, flags).context("fcntl", || "F_SETFL")
}

/// Closes every descriptor but these and the standard streams: with those gone, whatever is opened next would get
/// their numbers, and would be closed when they are assigned. Only in a copy made by [`crate::process::Clone`]:
/// whatever else the caller's structures own is gone afterwards, though they do not know it.
pub fn close_all_except(keep: &[BorrowedFd<'_>]) -> Result<()> {
    close_from_except(3, keep)
}

/// The same from this number up.
pub fn close_from_except(lowest: RawFd, keep: &[BorrowedFd<'_>]) -> Result<()> {
    let mut numbers: Vec<u32> = keep.iter().map(|fd| fd.as_raw_fd() as u32).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let mut first = lowest as u32;
    for number in numbers.into_iter().chain([u32::MAX]) {
        if number > first {
            // SAFETY: by the contract above nobody uses the descriptors that are closed.
            let result = unsafe { libc::syscall(libc::SYS_close_range, first, number - 1, 0) };
            check(result, "close_range", || format!("{first}, {}", number - 1))?;
        }
        first = first.max(number.saturating_add(1));
    }
    Ok(())
}

/// Takes a descriptor that the parent put at `number` by convention (socket activation, a shim's control
/// socket). Fails unless it is open; it becomes close-on-exec. Each number may be taken once.
pub fn take_inherited(number: RawFd) -> Result<OwnedFd> {
    // SAFETY: F_SETFD on a number has no effect on memory or ownership.
    let result = unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
    check(i64::from(result), "fcntl", || format!("{number}, F_SETFD"))?;
    // SAFETY: the descriptor is open (checked above), and by the contract above nobody else owns the number.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// An anonymous file in memory that takes seals.
pub fn memory_file(name: &str) -> Result<OwnedFd> {
    rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)
        .context("memfd_create", || format!("{name:?}"))
}

/// After this nobody can change the file's bytes or size, through any descriptor.
pub fn seal(memory_file: impl AsFd) -> Result<()> {
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    rustix::fs::fcntl_add_seals(memory_file, seals).context("fcntl", || "F_ADD_SEALS")
}

/// Writes all of `bytes`, waiting through `EINTR`; for blocking descriptors.
pub fn write_all(fd: impl AsFd, mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        let written = rustix::io::retry_on_intr(|| rustix::io::write(fd.as_fd(), bytes))
            .context("write", || format!("{} bytes", bytes.len()))?;
        bytes = &bytes[written..];
    }
    Ok(())
}

/// Some bytes from a descriptor; 0 is the end.
pub fn read(fd: impl AsFd, buffer: &mut [u8]) -> Result<usize> {
    rustix::io::retry_on_intr(|| rustix::io::read(fd.as_fd(), &mut *buffer)).context("read", || "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn descriptors_travel_and_close_on_exec() {
        let (left, right) = UnixStream::pair().unwrap();
        let (reader, writer) = pipe().unwrap();
        send_all(&left, b"hello", &[writer.as_fd()]).unwrap();
        let mut buffer = [0; 16];
        let mut got = Vec::new();
        assert_eq!(receive(&right, &mut buffer, &mut got).unwrap(), 5);
        assert_eq!(got.len(), 1);
        assert!(rustix::io::fcntl_getfd(&got[0]).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
        drop(writer);
        write_all(&got[0], b"through").unwrap();
        assert_eq!(read(&reader, &mut buffer).unwrap(), 7);
    }

    #[test]
    fn a_sealed_file_cannot_be_written() {
        let file = memory_file("sealed").unwrap();
        write_all(&file, b"x").unwrap();
        seal(&file).unwrap();
        assert!(write_all(&file, b"y").unwrap_err().is(Errno::PERM));
    }
}
