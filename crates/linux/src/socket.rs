//! Sockets: what the standard library leaves out.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::Result;
use crate::error::{Context, check};

/// Two connected Unix stream sockets, close-on-exec.
pub fn pair() -> Result<(OwnedFd, OwnedFd)> {
    rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .context("socketpair", || "AF_UNIX, SOCK_STREAM")
}

/// Two connected Unix sockets that keep message boundaries, close-on-exec. The end is an empty message.
pub fn packet_pair() -> Result<(OwnedFd, OwnedFd)> {
    rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .context("socketpair", || "AF_UNIX, SOCK_SEQPACKET")
}

/// A packet socket that waits for connections at a path, which must not exist.
pub fn listen_packets(path: &Path) -> Result<OwnedFd> {
    let socket = packet_socket()?;
    let (address, _parent) = address(path)?;
    rustix::net::bind(&socket, &address).context("bind", || format!("{path:?}"))?;
    rustix::net::listen(&socket, 1).context("listen", || format!("{path:?}"))?;
    Ok(socket)
}

/// Connects to [`listen_packets`].
pub fn connect_packets(path: &Path) -> Result<OwnedFd> {
    let socket = packet_socket()?;
    let (address, _parent) = address(path)?;
    rustix::net::connect(&socket, &address).context("connect", || format!("{path:?}"))?;
    Ok(socket)
}

/// An address holds at most 107 bytes of path. A longer one is reached through its directory, which must stay open
/// while the address is used.
fn address(path: &Path) -> Result<(SocketAddrUnix, Option<OwnedFd>)> {
    if let Ok(address) = SocketAddrUnix::new(path) {
        return Ok((address, None));
    }
    let parent = crate::path::Root::open(path.parent().unwrap_or(Path::new(".")))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let short = format!("/proc/self/fd/{}/{name}", parent.as_fd().as_raw_fd());
    let address = SocketAddrUnix::new(short.as_str()).context("sockaddr_un", || format!("{path:?}"))?;
    Ok((address, Some(parent.into_directory())))
}

fn packet_socket() -> Result<OwnedFd> {
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .context("socket", || "AF_UNIX, SOCK_SEQPACKET")
}

/// Waits for the next connection.
pub fn accept(listener: impl AsFd) -> Result<OwnedFd> {
    rustix::io::retry_on_intr(|| rustix::net::accept_with(listener.as_fd(), SocketFlags::CLOEXEC))
        .context("accept4", || "SOCK_CLOEXEC")
}

/// Begins to connect without waiting: the socket becomes writable when it is decided, and [`connected`] tells how.
pub fn start_connect(address: std::net::SocketAddr) -> Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)
        .context("socket", || format!("{family:?}, SOCK_STREAM"))?;
    match rustix::net::connect(&socket, &address) {
        Ok(()) | Err(crate::Errno::INPROGRESS) => Ok(socket),
        Err(errno) => Err(crate::Error::new("connect", address, errno)),
    }
}

/// How [`start_connect`] went: false while it is under way.
pub fn connected(socket: impl AsFd) -> Result<bool> {
    let error = rustix::net::sockopt::socket_error(&socket).context("getsockopt", || "SO_ERROR")?;
    error.context("connect", || "")?;
    match rustix::net::getpeername(socket) {
        Ok(_) => Ok(true),
        Err(crate::Errno::NOTCONN) => Ok(false),
        Err(errno) => Err(crate::Error::new("getpeername", "", errno)),
    }
}

/// A connected, non-blocking stream socket. A listener that has no room for another connection at the moment is
/// EAGAIN, not a wait.
pub fn connect_stream(path: &Path) -> Result<OwnedFd> {
    connect_unix(path, SocketType::STREAM)
}

/// A non-blocking datagram socket whose peer is the one at `path`.
pub fn connect_datagrams(path: &Path) -> Result<OwnedFd> {
    connect_unix(path, SocketType::DGRAM)
}

/// The same where the peer has a name in the network namespace instead of a path.
pub fn connect_datagrams_to_name(name: &[u8]) -> Result<OwnedFd> {
    let shown = || format!("@{}", String::from_utf8_lossy(name));
    let address = SocketAddrUnix::new_abstract_name(name).context("sockaddr_un", shown)?;
    let socket = unix_socket(SocketType::DGRAM)?;
    rustix::net::connect(&socket, &address).context("connect", shown)?;
    Ok(socket)
}

/// A non-blocking datagram socket at a path, which must not exist.
pub fn listen_datagrams(path: &Path) -> Result<OwnedFd> {
    let socket = unix_socket(SocketType::DGRAM)?;
    let (address, _parent) = address(path)?;
    rustix::net::bind(&socket, &address).context("bind", || format!("{path:?}"))?;
    Ok(socket)
}

/// Whether it is an IPv4 or IPv6 socket.
pub fn is_internet(socket: impl AsFd) -> bool {
    let domain = rustix::net::sockopt::socket_domain(socket);
    matches!(domain, Ok(AddressFamily::INET | AddressFamily::INET6))
}

fn unix_socket(kind: SocketType) -> Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    rustix::net::socket_with(AddressFamily::UNIX, kind, flags, None)
        .context("socket", || format!("AF_UNIX, {kind:?}"))
}

fn connect_unix(path: &Path, kind: SocketType) -> Result<OwnedFd> {
    let socket = unix_socket(kind)?;
    let (address, _parent) = address(path)?;
    rustix::net::connect(&socket, &address).context("connect", || format!("{path:?}"))?;
    Ok(socket)
}

/// Who is at the other end of a Unix socket, as the kernel saw it when the connection was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    pub pid: i32,
    pub uid: u32,
    pub gid: u32,
}

pub fn peer(socket: impl AsFd) -> Result<Peer> {
    let credentials =
        rustix::net::sockopt::socket_peercred(socket).context("getsockopt", || "SO_PEERCRED")?;
    Ok(Peer {
        pid: credentials.pid.as_raw_nonzero().get(),
        uid: credentials.uid.as_raw(),
        gid: credentials.gid.as_raw(),
    })
}

/// Bounds each blocking read on a socket.
pub fn set_read_timeout(socket: impl AsFd, timeout: Option<std::time::Duration>) -> Result<()> {
    rustix::net::sockopt::set_socket_timeout(socket, rustix::net::sockopt::Timeout::Recv, timeout)
        .context("setsockopt", || "SO_RCVTIMEO")
}

/// Bounds each blocking write on a socket.
pub fn set_write_timeout(socket: impl AsFd, timeout: Option<std::time::Duration>) -> Result<()> {
    rustix::net::sockopt::set_socket_timeout(socket, rustix::net::sockopt::Timeout::Send, timeout)
        .context("setsockopt", || "SO_SNDTIMEO")
}

/// How much may wait in a socket that nobody reads, with the kernel's overhead.
pub fn set_send_buffer(socket: impl AsFd, bytes: usize) -> Result<()> {
    rustix::net::sockopt::set_socket_send_buffer_size(socket, bytes)
        .context("setsockopt", || format!("SO_SNDBUF, {bytes}"))
}

/// Closes one or both directions; the peer sees the end of the stream.
pub fn shutdown_write(socket: impl AsFd) -> Result<()> {
    rustix::net::shutdown(socket, rustix::net::Shutdown::Write).context("shutdown", || "SHUT_WR")
}

/// Bytes that were written to a Unix socket and that its peer has not read yet, with the kernel's overhead: more than
/// nothing until the last of them is read.
pub fn untaken(socket: impl AsFd) -> Result<usize> {
    let mut count: libc::c_int = 0;
    // SAFETY: TIOCOUTQ writes an int.
    let result = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::TIOCOUTQ, &raw mut count) };
    check(i64::from(result), "ioctl", || "TIOCOUTQ")?;
    Ok(usize::try_from(count).unwrap_or(0))
}

/// Brings `lo` of the calling thread's network namespace up.
pub fn set_loopback_up() -> Result<()> {
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
        .context("socket", || "AF_INET, SOCK_DGRAM")?;
    // SAFETY: all-zero is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads a struct of this type.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    check(i64::from(result), "ioctl", || "SIOCSIFFLAGS, \"lo\", IFF_UP").map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peer_is_known() {
        let (left, _right) = pair().unwrap();
        let peer = peer(&left).unwrap();
        assert_eq!((peer.pid, peer.uid), (crate::process::id(), 0));
    }

    #[test]
    fn a_connection_is_decided_without_waiting() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let socket = start_connect(address).unwrap();
        let _peer = listener.accept().unwrap();
        assert!(connected(&socket).unwrap());
        drop(listener);
        let refused = start_connect(address).and_then(|socket| {
            while !connected(&socket)? {
                std::thread::yield_now();
            }
            Ok(())
        });
        assert!(refused.unwrap_err().is(crate::Errno::CONNREFUSED));
    }

    #[test]
    fn datagrams_reach_a_path_of_any_length_and_a_name() {
        let directory = std::env::temp_dir().join(format!("{}-{}", "d".repeat(120), crate::process::id()));
        std::fs::create_dir(&directory).unwrap();
        let path = directory.join("socket");
        let by_path = listen_datagrams(&path).unwrap();
        let taken = listen_datagrams(&path).unwrap_err();
        let name = format!("wharf-socket-test-{}", crate::process::id());
        use std::os::linux::net::SocketAddrExt;
        let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
        let by_name = std::os::unix::net::UnixDatagram::bind_addr(&address).unwrap();
        let pairs: [(OwnedFd, &dyn AsFd); 2] = [
            (connect_datagrams(&path).unwrap(), &by_path),
            (connect_datagrams_to_name(name.as_bytes()).unwrap(), &by_name),
        ];
        for (sender, receiver) in pairs {
            set_write_timeout(&sender, Some(std::time::Duration::from_secs(1))).unwrap();
            rustix::io::write(&sender, b"one").unwrap();
            rustix::io::write(&sender, b"two").unwrap();
            let mut bytes = [0; 10];
            assert_eq!(rustix::io::read(receiver.as_fd(), &mut bytes), Ok(3), "one at a time");
        }
        std::fs::remove_dir_all(&directory).unwrap();
        assert!(taken.is(crate::Errno::ADDRINUSE), "{taken}");
        let error = connect_datagrams_to_name(b"nobody has this name").unwrap_err();
        assert!(error.to_string().contains("connect(@nobody has this name)"), "{error}");
    }

    #[test]
    fn what_the_peer_has_read_is_taken() {
        let (left, right) = pair().unwrap();
        assert_eq!(untaken(&left).unwrap(), 0);
        rustix::io::write(&left, b"head").unwrap();
        assert!(untaken(&left).unwrap() > 0);
        let mut bytes = [0; 3];
        rustix::io::read(&right, &mut bytes).unwrap();
        assert!(untaken(&left).unwrap() > 0, "one byte is left");
        rustix::io::read(&right, &mut bytes).unwrap();
        assert_eq!(untaken(&left).unwrap(), 0);
    }
}
