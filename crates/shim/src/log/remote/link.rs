//! The connection to a collector: made without waiting, made again when it broke.

use std::fmt;
use std::net::{TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use linux::poll::Interest;
use linux::{Errno, Error, Result, socket};

use super::{Frames, journald, words};
use crate::protocol::Endpoint;

/// How long a connection may take to be made. At the start of a container it is waited for.
const CONNECT: Duration = Duration::from_secs(10);

pub(super) struct Link {
    endpoints: Vec<Endpoint>,
    state: State,
    /// Counts sockets.
    number: u64,
}

enum State {
    Down { until: Instant },
    Connecting { socket: OwnedFd, endpoint: usize, until: Instant },
    Up(Connected),
}

pub(super) struct Connected {
    pub(super) socket: OwnedFd,
    datagram: bool,
    pub(super) since: Instant,
    /// When it last took something.
    pub(super) moved: Instant,
}

/// None of the endpoints could be reached; this is the last.
pub(super) struct Failed {
    pub(super) endpoint: Endpoint,
    pub(super) of: usize,
    error: Error,
}

impl Failed {
    /// `dial tcp 127.0.0.1:514: connect: connection refused`
    pub(super) fn dialled(&self) -> String {
        format!("dial {} {}: connect: {}", self.endpoint.network(), self.endpoint, words(&self.error))
    }
}

impl Link {
    /// To be connected later.
    pub(super) fn new(endpoints: &[Endpoint]) -> Link {
        Link { endpoints: endpoints.to_vec(), state: State::Down { until: Instant::now() }, number: 0 }
    }

    /// Connects, and waits for that.
    pub(super) fn connect(endpoints: &[Endpoint]) -> std::result::Result<Link, Failed> {
        let mut link = Link::new(endpoints);
        let mut failed = None;
        for endpoint in endpoints {
            match open(endpoint) {
                Ok(socket) => {
                    link.number += 1;
                    link.up(socket, endpoint.is_datagram());
                    return Ok(link);
                }
                Err(error) => {
                    failed = Some(Failed { endpoint: endpoint.clone(), of: endpoints.len(), error });
                }
            }
        }
        // An empty list is what nobody sends; nothing can be reached through it.
        Err(failed.unwrap_or_else(|| Failed {
            endpoint: Endpoint::Unix("".into()),
            of: 0,
            error: Error::new("connect", "", Errno::DESTADDRREQ),
        }))
    }

    pub(super) fn connected(&self) -> Option<&Connected> {
        match &self.state {
            State::Up(connected) => Some(connected),
            _ => None,
        }
    }

    pub(super) fn connected_mut(&mut self) -> Option<&mut Connected> {
        match &mut self.state {
            State::Up(connected) => Some(connected),
            _ => None,
        }
    }

    pub(super) fn is_datagram(&self) -> bool {
        self.connected().is_some_and(|connected| connected.datagram)
    }

    pub(super) fn down(&mut self, delay: Duration) {
        self.state = State::Down { until: Instant::now() + delay };
    }

    /// Gives up a connection that works for a new one.
    pub(super) fn renew(&mut self) {
        self.down(Duration::ZERO);
    }

    fn up(&mut self, socket: OwnedFd, datagram: bool) {
        let now = Instant::now();
        self.state = State::Up(Connected { socket, datagram, since: now, moved: now });
    }

    /// Moves towards a connection; true when there is one. An error is for all endpoints, in words.
    pub(super) fn advance(&mut self) -> std::result::Result<bool, String> {
        let (endpoint, failed) = match &self.state {
            State::Up(_) => return Ok(true),
            State::Down { until } if *until > Instant::now() => return Ok(false),
            State::Down { .. } => (0, None),
            State::Connecting { socket, endpoint, until } => match socket::connected(socket) {
                Ok(true) => {
                    let State::Connecting { socket, .. } =
                        std::mem::replace(&mut self.state, State::Down { until: Instant::now() })
                    else {
                        return Ok(false);
                    };
                    self.up(socket, false);
                    return Ok(true);
                }
                Ok(false) if *until > Instant::now() => return Ok(false),
                Ok(false) => (endpoint + 1, Some(Error::new("connect", "", Errno::TIMEDOUT))),
                Err(error) => (endpoint + 1, Some(error)),
            },
        };
        self.try_from(endpoint, failed)
    }

    fn try_from(&mut self, first: usize, mut failed: Option<Error>) -> std::result::Result<bool, String> {
        for index in first..self.endpoints.len() {
            let endpoint = &self.endpoints[index];
            let begun = match endpoint {
                Endpoint::Tcp(address) => socket::start_connect(*address),
                _ => open(endpoint),
            };
            match (begun, endpoint) {
                (Ok(socket), Endpoint::Tcp(_)) => {
                    self.number += 1;
                    let until = Instant::now() + CONNECT;
                    self.state = State::Connecting { socket, endpoint: index, until };
                    return Ok(false);
                }
                (Ok(socket), endpoint) => {
                    let datagram = endpoint.is_datagram();
                    self.number += 1;
                    self.up(socket, datagram);
                    return Ok(true);
                }
                (Err(error), _) => failed = Some(error),
            }
        }
        Err(failed.map_or_else(String::new, |error| words(&error)))
    }

    /// What to wait for; `has_more`: there is something to send.
    pub(super) fn interest(&self, has_more: bool) -> Option<(BorrowedFd<'_>, u64, Interest)> {
        match &self.state {
            State::Down { .. } => None,
            State::Connecting { socket, .. } => Some((socket.as_fd(), self.number, Interest::WRITE)),
            // An error that waits in a datagram socket comes out with the next send.
            State::Up(connected) if connected.datagram => {
                has_more.then(|| (connected.socket.as_fd(), self.number, Interest::WRITE))
            }
            State::Up(connected) => {
                let interest = if has_more { Interest::BOTH } else { Interest::READ };
                Some((connected.socket.as_fd(), self.number, interest))
            }
        }
    }

    pub(super) fn wake_after(&self) -> Option<Duration> {
        match &self.state {
            State::Down { until } | State::Connecting { until, .. } => {
                Some(until.saturating_duration_since(Instant::now()))
            }
            State::Up(_) => None,
        }
    }
}

impl Connected {
    /// Sends frames. False when the socket takes no more for now.
    pub(super) fn send(&mut self, frames: &mut Frames, may_be_large: bool) -> Result<bool> {
        while !frames.is_empty() {
            let end = if self.datagram { frames.ends[frames.done] } else { frames.bytes.len() };
            match self.send_piece(&frames.bytes[frames.sent..end], may_be_large) {
                Ok(count) => frames.advance(count),
                Err(error) if error.is(Errno::AGAIN) => return Ok(false),
                Err(error) => return Err(error),
            }
            self.moved = Instant::now();
        }
        Ok(true)
    }

    fn send_piece(&self, bytes: &[u8], may_be_large: bool) -> Result<usize> {
        let result = linux::fd::send(&self.socket, bytes, &[]);
        let Err(error) = &result else { return result };
        if !self.datagram {
            return result;
        }
        match error.errno() {
            Errno::MSGSIZE | Errno::NOBUFS if may_be_large => {
                journald::send_large(self.socket.as_fd(), bytes).map(|()| bytes.len())
            }
            // A datagram that no network takes is lost, as Docker loses it.
            Errno::MSGSIZE => Ok(bytes.len()),
            // Nobody listened to an earlier one, which says nothing about this one.
            Errno::CONNREFUSED if self.is_internet() => match linux::fd::send(&self.socket, bytes, &[]) {
                Err(error) if error.is(Errno::CONNREFUSED) => Ok(bytes.len()),
                other => other,
            },
            _ => result,
        }
    }

    fn is_internet(&self) -> bool {
        socket::is_internet(&self.socket)
    }

    /// `None`: nothing is there. 0 bytes: the other side has closed.
    pub(super) fn receive(&mut self, bytes: &mut [u8]) -> Result<Option<usize>> {
        if self.datagram {
            return Ok(None);
        }
        match linux::fd::read(&self.socket, bytes) {
            Ok(count) => Ok(Some(count)),
            Err(error) if error.is(Errno::AGAIN) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Connects to an endpoint, and waits for that where it cannot be had at once.
fn open(endpoint: &Endpoint) -> Result<OwnedFd> {
    let error = |error: std::io::Error| Error::from_io("connect", endpoint, &error);
    match endpoint {
        Endpoint::Tcp(address) => {
            let stream =
                TcpStream::connect_timeout(address, CONNECT).map_err(|failed| match failed.kind() {
                    std::io::ErrorKind::TimedOut => Error::new("connect", endpoint, Errno::TIMEDOUT),
                    _ => error(failed),
                })?;
            stream.set_nonblocking(true).map_err(error)?;
            Ok(stream.into())
        }
        Endpoint::Udp(address) => {
            let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = UdpSocket::bind(any).map_err(error)?;
            socket.connect(address).map_err(error)?;
            socket.set_nonblocking(true).map_err(error)?;
            Ok(socket.into())
        }
        Endpoint::Unix(path) => socket::connect_stream(path),
        Endpoint::Unixgram(path) => socket::connect_datagrams(path),
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Tcp(address) | Endpoint::Udp(address) => address.fmt(f),
            Endpoint::Unix(path) | Endpoint::Unixgram(path) => path.display().fmt(f),
        }
    }
}
