//! The connection to a collector: made without waiting, made again when it broke.
//!
//! One through TLS is a socket to a process that speaks it ([`speaker`](super::speaker)). Such a process is our child;
//! it ends soon after its connection, and is waited for by the clock then.

use std::fmt;
use std::net::{TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use linux::poll::Interest;
use linux::process::Pid;
use linux::{Errno, Error, Result, socket};

use super::speaker::Speaker;
use super::{Frames, journald, words};
use crate::protocol::{Endpoint, Tls};

/// How long a connection may take to be made. At the start of a container it is waited for.
const CONNECT: Duration = Duration::from_secs(10);

/// How often a child that is about to end is looked at.
const LEAVING: Duration = Duration::from_millis(100);

pub(super) struct Link {
    endpoints: Vec<Endpoint>,
    tls: Option<Tls>,
    state: State,
    /// Counts sockets.
    number: u64,
    /// Those who speak, or spoke, TLS for us.
    pub(super) children: Vec<Pid>,
}

enum State {
    Down { until: Instant },
    Connecting { attempt: Attempt, endpoint: usize, until: Instant },
    Up(Connected),
}

/// A connection that is being made.
struct Attempt {
    socket: OwnedFd,
    speaker: Option<Speaker>,
}

pub(super) struct Connected {
    pub(super) socket: OwnedFd,
    speaker: Option<Speaker>,
    datagram: bool,
    pub(super) since: Instant,
    /// When it last took something.
    pub(super) moved: Instant,
}

/// None of the endpoints could be reached; this is the last.
pub(super) struct Failed {
    pub(super) endpoint: Endpoint,
    pub(super) of: usize,
    why: Why,
}

/// Why there is no connection.
enum Why {
    Error(Error),
    /// A whole sentence.
    Told(String),
}

impl Why {
    fn words(&self) -> String {
        match self {
            Why::Error(error) => words(error),
            Why::Told(words) => words.clone(),
        }
    }
}

impl From<Error> for Why {
    fn from(error: Error) -> Why {
        Why::Error(error)
    }
}

impl Failed {
    /// `dial tcp 127.0.0.1:514: connect: connection refused`
    pub(super) fn dialled(&self) -> String {
        match &self.why {
            Why::Error(error) => {
                format!("dial {} {}: connect: {}", self.endpoint.network(), self.endpoint, words(error))
            }
            Why::Told(words) => words.clone(),
        }
    }
}

impl Link {
    /// To be connected later.
    pub(super) fn new(endpoints: &[Endpoint], tls: Option<&Tls>) -> Link {
        Link {
            endpoints: endpoints.to_vec(),
            tls: tls.cloned(),
            state: State::Down { until: Instant::now() },
            number: 0,
            children: Vec::new(),
        }
    }

    /// Connects, and waits for that.
    pub(super) fn connect(endpoints: &[Endpoint], tls: Option<&Tls>) -> std::result::Result<Link, Failed> {
        let mut link = Link::new(endpoints, tls);
        let mut failed = None;
        for endpoint in endpoints {
            match link.open_patiently(endpoint) {
                Ok(attempt) => {
                    link.number += 1;
                    link.up(attempt, endpoint.is_datagram());
                    return Ok(link);
                }
                Err(why) => failed = Some(Failed { endpoint: endpoint.clone(), of: endpoints.len(), why }),
            }
        }
        // An empty list is what nobody sends; nothing can be reached through it.
        Err(failed.unwrap_or_else(|| Failed {
            endpoint: Endpoint::Unix("".into()),
            of: 0,
            why: Error::new("connect", "", Errno::DESTADDRREQ).into(),
        }))
    }

    fn open_patiently(&mut self, endpoint: &Endpoint) -> std::result::Result<Attempt, Why> {
        let Some(attempt) = self.begin(endpoint)? else {
            return Ok(Attempt { socket: open(endpoint)?, speaker: None });
        };
        if let Some(speaker) = &attempt.speaker {
            speaker.wait(attempt.socket.as_fd()).map_err(Why::Told)?;
        }
        Ok(attempt)
    }

    /// Starts somebody who speaks TLS with the endpoint, where that is wanted.
    fn begin(&mut self, endpoint: &Endpoint) -> std::result::Result<Option<Attempt>, Why> {
        let (Some(tls), Endpoint::Tcp(address)) = (&self.tls, endpoint) else { return Ok(None) };
        let (socket, speaker) = Speaker::start(tls, *address).map_err(Why::Told)?;
        self.children.push(speaker.pid());
        Ok(Some(Attempt { socket, speaker: Some(speaker) }))
    }

    /// Waits for children that have ended.
    pub(super) fn reap(&mut self) {
        if self.is_leaving() {
            self.children.retain(|pid| matches!(linux::process::try_wait(*pid), Ok(None)));
        }
    }

    /// A child has done its duty, and is about to end.
    fn is_leaving(&self) -> bool {
        let speaker = match &self.state {
            State::Down { .. } => None,
            State::Connecting { attempt, .. } => attempt.speaker.as_ref(),
            State::Up(connected) => connected.speaker.as_ref(),
        };
        self.children.len() > usize::from(speaker.is_some())
    }

    pub(super) fn has_child(&self, pid: Pid) -> bool {
        self.children.contains(&pid)
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

    fn up(&mut self, attempt: Attempt, datagram: bool) {
        let now = Instant::now();
        let Attempt { socket, speaker } = attempt;
        self.state = State::Up(Connected { socket, speaker, datagram, since: now, moved: now });
    }

    /// Moves towards a connection; true when there is one. An error is for all endpoints, in words.
    pub(super) fn advance(&mut self) -> std::result::Result<bool, String> {
        let (endpoint, failed) = match &self.state {
            State::Up(_) => return Ok(true),
            State::Down { until } if *until > Instant::now() => return Ok(false),
            State::Down { .. } => (0, None),
            State::Connecting { attempt, endpoint, until } => match attempt.is_decided() {
                Ok(true) => {
                    let State::Connecting { attempt, .. } =
                        std::mem::replace(&mut self.state, State::Down { until: Instant::now() })
                    else {
                        return Ok(false);
                    };
                    self.up(attempt, false);
                    return Ok(true);
                }
                Ok(false) if *until > Instant::now() => return Ok(false),
                Ok(false) => (endpoint + 1, Some(Error::new("connect", "", Errno::TIMEDOUT).into())),
                Err(why) => (endpoint + 1, Some(why)),
            },
        };
        self.try_from(endpoint, failed)
    }

    fn try_from(&mut self, first: usize, mut failed: Option<Why>) -> std::result::Result<bool, String> {
        for index in first..self.endpoints.len() {
            let endpoint = self.endpoints[index].clone();
            match self.start(&endpoint) {
                Ok(attempt) => {
                    self.number += 1;
                    let Endpoint::Tcp(_) = endpoint else {
                        self.up(attempt, endpoint.is_datagram());
                        return Ok(true);
                    };
                    let until = Instant::now() + attempt.patience();
                    self.state = State::Connecting { attempt, endpoint: index, until };
                    return Ok(false);
                }
                Err(why) => failed = Some(why),
            }
        }
        Err(failed.map_or_else(String::new, |why| why.words()))
    }

    fn start(&mut self, endpoint: &Endpoint) -> std::result::Result<Attempt, Why> {
        if let Some(attempt) = self.begin(endpoint)? {
            return Ok(attempt);
        }
        let socket = match endpoint {
            Endpoint::Tcp(address) => socket::start_connect(*address)?,
            _ => open(endpoint)?,
        };
        Ok(Attempt { socket, speaker: None })
    }

    /// What to wait for; `has_more`: there is something to send.
    pub(super) fn interest(&self, has_more: bool) -> Option<(BorrowedFd<'_>, u64, Interest)> {
        match &self.state {
            State::Down { .. } => None,
            State::Connecting { attempt, .. } => {
                Some((attempt.socket.as_fd(), self.number, attempt.interest()))
            }
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

    /// `has_more`: there is something to send, for which a connection is wanted.
    pub(super) fn wake_after(&self, has_more: bool) -> Option<Duration> {
        let due = match &self.state {
            State::Down { until } | State::Connecting { until, .. } if has_more => {
                Some(until.saturating_duration_since(Instant::now()))
            }
            _ => None,
        };
        due.into_iter().chain(self.is_leaving().then_some(LEAVING)).min()
    }
}

impl Attempt {
    /// Whether it is a connection by now.
    fn is_decided(&self) -> std::result::Result<bool, Why> {
        match &self.speaker {
            None => Ok(socket::connected(&self.socket)?),
            Some(speaker) => speaker.is_up(self.socket.as_fd()).map_err(Why::Told),
        }
    }

    /// What decides it.
    fn interest(&self) -> Interest {
        if self.speaker.is_some() { Interest::READ } else { Interest::WRITE }
    }

    fn patience(&self) -> Duration {
        if self.speaker.is_some() { super::speaker::PATIENCE } else { CONNECT }
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

    /// Why it has ended, if there is more to say than that.
    pub(super) fn complaint(&self) -> Option<String> {
        self.speaker.as_ref().and_then(Speaker::complaint)
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
