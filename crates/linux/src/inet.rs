//! Internet sockets in the states that the standard library does not offer: bound but not listening, and connecting
//! without waiting. From there on they are the standard library's (`TcpStream::from`, `UdpSocket::from`).

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, sockopt};

use crate::error::Context;
use crate::{Errno, Error, Result};

/// Connections that wait to be accepted; the kernel lowers it to `somaxconn`.
const BACKLOG: i32 = 4096;

/// What carries ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    Tcp,
    Udp,
    Sctp,
}

impl Transport {
    pub const ALL: [Transport; 3] = [Transport::Tcp, Transport::Udp, Transport::Sctp];

    pub fn named(name: &str) -> Option<Transport> {
        Transport::ALL.into_iter().find(|transport| transport.name() == name)
    }

    /// The number in IP headers.
    pub fn number(self) -> u8 {
        match self {
            Transport::Tcp => 6,
            Transport::Udp => 17,
            Transport::Sctp => 132,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Transport::Tcp => "tcp",
            Transport::Udp => "udp",
            Transport::Sctp => "sctp",
        }
    }
}

/// A socket bound to an address, non-blocking, that neither listens nor connects: nobody else can bind there.
/// An IPv6 socket takes IPv6 only.
///
/// What is left of closed TCP connections (`TIME_WAIT`) must not refuse a port for a minute, but a socket that may be
/// reused keeps others off only once they listen; so that is the second attempt.
pub fn bind(transport: Transport, address: SocketAddr) -> Result<OwnedFd> {
    match bind_once(transport, address, false) {
        Err(error) if error.is(Errno::ADDRINUSE) && transport == Transport::Tcp => {
            bind_once(transport, address, true)
        }
        other => other,
    }
}

fn bind_once(transport: Transport, address: SocketAddr, reuse: bool) -> Result<OwnedFd> {
    let socket = open(transport, address)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true).context("setsockopt", || "IPV6_V6ONLY")?;
    }
    if reuse {
        sockopt::set_socket_reuseaddr(&socket, true).context("setsockopt", || "SO_REUSEADDR")?;
    }
    rustix::net::bind(&socket, &address).context("bind", || format!("{}, {address}", transport.name()))?;
    Ok(socket)
}

/// What a socket of [`bind`] holds.
pub fn bound_to(socket: impl AsFd) -> Result<(Transport, SocketAddr)> {
    let protocol = sockopt::socket_protocol(&socket).context("getsockopt", || "SO_PROTOCOL")?;
    let number = protocol.map(|protocol| protocol.as_raw().get());
    let transport = Transport::ALL.into_iter().find(|one| number == Some(one.number().into()));
    let transport =
        transport.ok_or_else(|| Error::new("getsockopt", "SO_PROTOCOL", Errno::PROTONOSUPPORT))?;
    let name = rustix::net::getsockname(&socket).context("getsockname", || transport.name())?;
    let address = SocketAddr::try_from(name).context("getsockname", || transport.name())?;
    Ok((transport, address))
}

/// Begin to accept connections on a bound TCP socket. What is left of them when they are closed will not keep the next
/// from binding there: connections inherit that from their listener.
pub fn listen(socket: impl AsFd) -> Result<()> {
    sockopt::set_socket_reuseaddr(&socket, true).context("setsockopt", || "SO_REUSEADDR")?;
    rustix::net::listen(socket, BACKLOG).context("listen", || "")
}

/// A non-blocking TCP socket that is connecting; it becomes writable when that is decided ([`connect_outcome`]).
pub fn connect(address: SocketAddr) -> Result<OwnedFd> {
    let socket = open(Transport::Tcp, address)?;
    start_connect(&socket, address)?;
    Ok(socket)
}

/// An unconnected, non-blocking socket for packets to `address`'s family.
pub fn open(transport: Transport, address: SocketAddr) -> Result<OwnedFd> {
    let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let (kind, protocol) = match transport {
        Transport::Tcp => (SocketType::STREAM, ipproto::TCP),
        Transport::Udp => (SocketType::DGRAM, ipproto::UDP),
        Transport::Sctp => (SocketType::STREAM, ipproto::SCTP),
    };
    rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, Some(protocol))
        .context("socket", || format!("{family:?}, {}", transport.name()))
}

/// Connect a non-blocking socket; that it takes time is no error.
pub fn start_connect(socket: impl AsFd, address: SocketAddr) -> Result<()> {
    match rustix::net::connect(socket, &address) {
        Err(Errno::INPROGRESS) => Ok(()),
        other => other.context("connect", || address.to_string()),
    }
}

/// How connecting ended, once the socket is writable.
pub fn connect_outcome(socket: impl AsFd) -> Result<()> {
    match sockopt::socket_error(socket).context("getsockopt", || "SO_ERROR")? {
        Ok(()) => Ok(()),
        Err(errno) => Err(Error::new("connect", "", errno)),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn closed_connections_do_not_keep_a_port() {
        let address: SocketAddr = "[::1]:0".parse().unwrap();
        let socket = bind(Transport::Tcp, address).unwrap();
        listen(&socket).unwrap();
        crate::fd::set_nonblocking(&socket, false).unwrap();
        let listener = TcpListener::from(socket);
        let address = listener.local_addr().unwrap();
        let mut client = TcpStream::connect(address).unwrap();
        // The side that closes first waits a minute for stragglers.
        drop(listener.accept().unwrap());
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
        drop(client);
        drop(listener);
        bind(Transport::Tcp, address).unwrap();
    }

    #[test]
    fn a_bound_socket_keeps_others_off() {
        for transport in [Transport::Tcp, Transport::Udp] {
            let held = bind(transport, "127.0.0.1:0".parse().unwrap()).unwrap();
            let address = SocketAddr::try_from(rustix::net::getsockname(&held).unwrap()).unwrap();
            assert!(bind(transport, address).unwrap_err().is(Errno::ADDRINUSE));
            let wildcard = SocketAddr::from(([0, 0, 0, 0], address.port()));
            assert!(bind(transport, wildcard).unwrap_err().is(Errno::ADDRINUSE));
            drop(held);
            bind(transport, address).unwrap();
        }
    }
}
