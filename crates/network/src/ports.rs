//! Published ports of the host: which are free, and keeping everyone else off those that are not.
//!
//! A port is taken in two ways at once: in the engine's own table, which knows what its containers publish, and by a
//! bound socket, which makes every other program get `EADDRINUSE`. The socket neither listens nor reads: packets are
//! translated before they reach it. Sockets of IPv6 addresses are relays as well ([`crate::relay`]).
//!
//! Random ports are Docker's: one after the other from the range of ephemeral ports, without reserved ones, and the
//! same number for both families of one mapping.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::os::fd::OwnedFd;

use linux::Errno;
use linux::inet::Transport;

use crate::Error;
use crate::sysctl;

/// Where random ports come from when the kernel does not say.
const FALLBACK_RANGE: RangeInclusive<u16> = 49153..=65535;

/// One port of a container that is to be reached from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub transport: Transport,
    /// Where on the host: at least one address; several get the same port.
    pub hosts: Vec<IpAddr>,
    pub ports: HostPorts,
    pub container_port: u16,
}

/// Which ports of the host would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostPorts {
    Any,
    /// The first free one of these; often one.
    Within(RangeInclusive<u16>),
}

/// A port of the host that is held.
#[derive(Debug)]
pub struct Reserved {
    pub transport: Transport,
    pub host: SocketAddr,
    pub container_port: u16,
    /// Nobody else can bind there as long as this is open. None where the kernel lacks the protocol.
    pub socket: Option<OwnedFd>,
}

impl Reserved {
    /// Whether the socket is to be served by a relay, too.
    pub fn is_relayed(&self) -> bool {
        self.host.is_ipv6() && self.transport != Transport::Sctp
    }
}

/// Binds a socket to a port of the host.
pub type Bind<'a> = dyn Fn(Transport, SocketAddr) -> linux::Result<OwnedFd> + 'a;

/// What the engine's containers hold.
#[derive(Debug, Default)]
pub struct Table {
    held: BTreeSet<(Transport, SocketAddr)>,
    /// The random port that was given out last.
    last: Option<u16>,
}

impl Table {
    /// All of the requested ports, or none and the reason.
    pub fn reserve(&mut self, requests: &[Request], bind: &Bind<'_>) -> Result<Vec<Reserved>, Error> {
        let mut reserved = Vec::new();
        for request in requests {
            match self.reserve_one(request, bind) {
                Ok(more) => reserved.extend(more),
                Err(error) => {
                    reserved.iter().for_each(|one: &Reserved| self.release(one.transport, one.host));
                    return Err(error);
                }
            }
        }
        Ok(reserved)
    }

    /// Ports that a container holds since before this engine started: the shim has their sockets.
    pub fn adopt(&mut self, transport: Transport, host: SocketAddr) {
        self.held.insert((transport, host));
    }

    pub fn release(&mut self, transport: Transport, host: SocketAddr) {
        self.held.remove(&(transport, host));
    }

    fn reserve_one(&mut self, request: &Request, bind: &Bind<'_>) -> Result<Vec<Reserved>, Error> {
        let candidates: Vec<u16> = match &request.ports {
            HostPorts::Within(range) => range.clone().collect(),
            HostPorts::Any => self.random_candidates(),
        };
        let mut failure = Error::AllPortsTaken;
        for port in candidates {
            match self.try_port(request, port, bind) {
                Ok(reserved) => {
                    if request.ports == HostPorts::Any {
                        self.last = Some(port);
                    }
                    return Ok(reserved);
                }
                // Another port will not help an address that the host does not have.
                Err(error @ Error::PortRefused { errno, .. }) if errno != Errno::ADDRINUSE => {
                    return Err(error);
                }
                Err(error) => failure = error,
            }
        }
        Err(match request.ports {
            HostPorts::Any => Error::AllPortsTaken,
            HostPorts::Within(_) => failure,
        })
    }

    fn try_port(&mut self, request: &Request, port: u16, bind: &Bind<'_>) -> Result<Vec<Reserved>, Error> {
        let transport = request.transport;
        let mut reserved = Vec::new();
        for address in &request.hosts {
            let host = SocketAddr::new(*address, port);
            if self.is_held(transport, host) {
                return Err(Error::PortAllocated(host));
            }
            let socket = match bind(transport, host) {
                Ok(socket) => Some(socket),
                // A kernel without SCTP has nobody who could take the port, either.
                Err(error) if transport == Transport::Sctp && error.is(Errno::PROTONOSUPPORT) => None,
                Err(error) => return Err(Error::PortRefused { transport, host, errno: error.errno() }),
            };
            reserved.push(Reserved { transport, host, container_port: request.container_port, socket });
        }
        self.held.extend(reserved.iter().map(|one| (transport, one.host)));
        Ok(reserved)
    }

    /// Whether it, or something that overlaps it, is published by this engine.
    fn is_held(&self, transport: Transport, host: SocketAddr) -> bool {
        self.held.iter().any(|(other_transport, other)| {
            let same_place = other.ip() == host.ip()
                || other.is_ipv4() == host.is_ipv4()
                    && (other.ip().is_unspecified() || host.ip().is_unspecified());
            *other_transport == transport && other.port() == host.port() && same_place
        })
    }

    /// All random ports, beginning behind the one that was given out last.
    fn random_candidates(&self) -> Vec<u16> {
        let setting = |key| sysctl::get(key).unwrap_or_default();
        let range = parse_range(&setting("net/ipv4/ip_local_port_range")).unwrap_or(FALLBACK_RANGE);
        let reserved = parse_list(&setting("net/ipv4/ip_local_reserved_ports"));
        let (first, last) = (*range.start(), *range.end());
        let start =
            self.last.filter(|port| range.contains(port) && *port < last).map_or(first, |port| port + 1);
        let usable = |port: &u16| !reserved.iter().any(|range| range.contains(port));
        (start..=last).chain(first..start).filter(usable).collect()
    }
}

/// Everywhere on the host, in both families if it has both and `ipv6` is wanted.
pub fn everywhere(ipv6: bool) -> Vec<IpAddr> {
    let mut all = vec![Ipv4Addr::UNSPECIFIED.into()];
    all.extend((ipv6 && has_ipv6()).then_some(IpAddr::from(Ipv6Addr::UNSPECIFIED)));
    all
}

fn has_ipv6() -> bool {
    sysctl::get("net/ipv6/conf/all/disable_ipv6").is_ok_and(|disabled| disabled == "0")
}

/// Two numbers with blanks between them.
fn parse_range(text: &str) -> Option<RangeInclusive<u16>> {
    let mut numbers = text.split_whitespace().map(str::parse);
    let (first, last) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    (first > 0 && first <= last).then_some(first..=last)
}

/// `8080,9148-9150`
fn parse_list(text: &str) -> Vec<RangeInclusive<u16>> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse().ok()?..=last.trim().parse().ok()?)
    };
    text.split(',').filter_map(range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_lists_are_read() {
        assert_eq!(parse_range("32768\t60999"), Some(32768..=60999));
        assert_eq!(parse_range(""), None);
        assert_eq!(parse_range("5 4"), None);
        assert_eq!(parse_list("8080,9148-9150"), [8080..=8080, 9148..=9150]);
        assert!(parse_list("").is_empty());
    }

    #[test]
    fn overlapping_addresses_are_held() {
        let mut table = Table::default();
        table.adopt(Transport::Tcp, "0.0.0.0:80".parse().unwrap());
        let held = |transport, text: &str| table.is_held(transport, text.parse().unwrap());
        assert!(held(Transport::Tcp, "127.0.0.1:80"));
        assert!(held(Transport::Tcp, "0.0.0.0:80"));
        assert!(!held(Transport::Tcp, "127.0.0.1:81"));
        assert!(!held(Transport::Udp, "127.0.0.1:80"));
        assert!(!held(Transport::Tcp, "[::]:80"));
    }
}
