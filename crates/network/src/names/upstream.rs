//! A question on its way to another server.
//!
//! Each question has a socket of its own, connected to one server, with a port and an id that nobody can guess; it goes
//! by the protocol that the client used. A server that answers `SERVFAIL` or `REFUSED`, or not at all, is followed by
//! the next.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use linux::inet::{self, Transport};
use linux::poll::{Interest, Poll, Token};

use super::Config;
use super::message::{self, Code};

/// Servers tried, as in resolv.conf(5).
const MAX_SERVERS: usize = 3;
/// How long each server has.
const PATIENCE: Duration = Duration::from_secs(4);

/// Who asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    Datagram(SocketAddr),
    /// The number of a client's connection.
    Stream(Token),
}

#[derive(Debug)]
pub(super) struct Query {
    pub(super) origin: Origin,
    /// As the client sent it.
    pub(super) question: Vec<u8>,
    pub(super) deadline: Instant,
    /// What the servers see in place of the client's id.
    id: [u8; 2],
    /// The next server's place in the list.
    next: usize,
    exchange: Option<Exchange>,
}

#[derive(Debug)]
enum Exchange {
    Datagram(UdpSocket),
    Stream { stream: TcpStream, unsent: Vec<u8>, received: Vec<u8> },
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Waiting,
    /// With the client's id in place again.
    Answer(Vec<u8>),
    /// Try the next server.
    Failed,
}

impl Query {
    pub(super) fn new(origin: Origin, question: Vec<u8>) -> Query {
        let mut id = [0; 2];
        // Without randomness the client's own id has to do.
        if getrandom::fill(&mut id).is_err() {
            id.copy_from_slice(&question[..2]);
        }
        Query { origin, question, deadline: Instant::now() + PATIENCE, id, next: 0, exchange: None }
    }

    /// Ask the next server that can be asked. False when there is none left.
    pub(super) fn ask(
        &mut self,
        config: &Config,
        namespace: BorrowedFd<'_>,
        poll: &Poll,
        token: Token,
    ) -> bool {
        let inside = !config.inside.is_empty();
        let servers = if inside { &config.inside } else { &config.upstreams };
        while let Some(server) = servers.get(self.next).filter(|_| self.next < MAX_SERVERS) {
            self.next += 1;
            let transport = match self.origin {
                Origin::Datagram(_) => Transport::Udp,
                Origin::Stream(_) => Transport::Tcp,
            };
            let opened = if inside {
                crate::namespace::within(namespace, || inet::open(transport, *server))
            } else {
                inet::open(transport, *server)
            };
            if opened.and_then(|socket| self.send(socket, *server, poll, token)).is_ok() {
                self.deadline = Instant::now() + PATIENCE;
                return true;
            }
        }
        self.exchange = None;
        false
    }

    fn send(&mut self, socket: OwnedFd, server: SocketAddr, poll: &Poll, token: Token) -> linux::Result<()> {
        inet::start_connect(&socket, server)?;
        let mut question = self.question.clone();
        question[..2].copy_from_slice(&self.id);
        self.exchange = Some(match self.origin {
            Origin::Datagram(_) => {
                let socket = UdpSocket::from(socket);
                socket.send(&question).map_err(|error| linux::Error::from_io("send", server, &error))?;
                poll.add(&socket, token, Interest::READ)?;
                Exchange::Datagram(socket)
            }
            Origin::Stream(_) => {
                let stream = TcpStream::from(socket);
                poll.add(&stream, token, Interest::BOTH)?;
                Exchange::Stream { stream, unsent: framed(&question), received: Vec::new() }
            }
        });
        Ok(())
    }

    /// Go on with what the server sent, or can take.
    pub(super) fn advance(&mut self, poll: &Poll, token: Token, scratch: &mut [u8]) -> Outcome {
        let answer = match &mut self.exchange {
            None => return Outcome::Failed,
            Some(Exchange::Datagram(socket)) => receive(socket, self.id, scratch),
            Some(Exchange::Stream { stream, unsent, received }) => {
                converse(stream, unsent, received, poll, token, scratch)
            }
        };
        match answer {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                Outcome::Waiting
            }
            Err(_) => Outcome::Failed,
            Ok(answer) => self.judge(answer),
        }
    }

    fn judge(&self, mut answer: Vec<u8>) -> Outcome {
        const IS_ANSWER: u8 = 0x80;
        if answer.len() < message::HEADER || answer[..2] != self.id || answer[2] & IS_ANSWER == 0 {
            return Outcome::Failed;
        }
        let code = message::code(&answer);
        if code == Code::ServerFailure as u8 || code == Code::Refused as u8 {
            return Outcome::Failed;
        }
        answer[..2].copy_from_slice(&self.question[..2]);
        Outcome::Answer(answer)
    }
}

/// Datagrams with another id are not for us: forged, or late.
fn receive(socket: &UdpSocket, id: [u8; 2], scratch: &mut [u8]) -> std::io::Result<Vec<u8>> {
    const FORGERIES: usize = 64;
    for _ in 0..FORGERIES {
        let length = socket.recv(scratch)?;
        if scratch[..length].starts_with(&id) {
            return Ok(scratch[..length].to_vec());
        }
    }
    Err(ErrorKind::InvalidData.into())
}

fn converse(
    stream: &mut TcpStream,
    unsent: &mut Vec<u8>,
    received: &mut Vec<u8>,
    poll: &Poll,
    token: Token,
    scratch: &mut [u8],
) -> std::io::Result<Vec<u8>> {
    if !unsent.is_empty() {
        inet::connect_outcome(&*stream).map_err(|_| ErrorKind::ConnectionRefused)?;
        let written = stream.write(unsent)?;
        unsent.drain(..written);
        if unsent.is_empty() {
            poll.modify(&*stream, token, Interest::READ).map_err(|_| ErrorKind::Other)?;
        }
    }
    loop {
        if let Some(answer) = take_frame(received) {
            return Ok(answer);
        }
        let length = stream.read(scratch)?;
        if length == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        // A frame says how long it is; a server that sends more than one is not waited for.
        received.extend_from_slice(&scratch[..length]);
    }
}

/// With the length in front that messages have in a stream.
pub(super) fn framed(message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
    let mut out = length.to_be_bytes().to_vec();
    out.extend_from_slice(&message[..usize::from(length)]);
    out
}

/// The first whole message of a stream.
pub(super) fn take_frame(received: &mut Vec<u8>) -> Option<Vec<u8>> {
    let length = usize::from(u16::from_be_bytes(received.get(..2)?.try_into().ok()?));
    let message = received.get(2..2 + length)?.to_vec();
    received.drain(..2 + length);
    Some(message)
}
