//! Relays for what the kernel cannot translate: connections to `::1`, and IPv6 clients of an IPv4-only container.
//!
//! Everything else about published ports is done by nftables; a packet from `::1` may not leave the host, so for
//! these the shim itself listens and passes bytes on. All relays of a container are one object with one descriptor:
//!
//! ```text
//!   shim's epoll ──▶ Relays::as_fd() readable ──▶ Relays::ready()      never waits
//!                        └─ its own epoll: listeners, streams, datagrams
//! ```
//!
//! Bytes go straight from one socket to the other; only what the receiver cannot take yet is kept ([`BUFFER`]), and
//! then the sender is not read any more. Limits: [`MAX_CONNECTIONS`] per container, beyond which new ones wait in the
//! kernel's queue. A failing connection is closed; the relay goes on.

mod datagrams;
mod streams;

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use linux::inet::{self, Transport};
use linux::poll::{Event, Interest, Poll, Timer, Token};

use datagrams::Flow;
use streams::{Connection, Side};

/// Streams at a time: each takes two descriptors of the shim's limit.
const MAX_CONNECTIONS: usize = 256;
/// Clients of datagram ports at a time; the one that was silent longest makes room.
const MAX_FLOWS: usize = 256;
/// How long a silent client of a datagram port keeps its answer socket.
const FLOW_IDLE: Duration = Duration::from_secs(90);
/// Connections accepted, and datagrams moved, before other descriptors get their turn.
const TURN: usize = 64;
/// One read; also the most that is kept for a receiver that is slower than its sender.
const BUFFER: usize = 64 << 10;

const TIMER: Token = 0;

/// All relays of one container.
#[derive(Debug)]
pub struct Relays {
    poll: Poll,
    timer: Timer,
    next: Token,
    listeners: HashMap<Token, (TcpListener, SocketAddr)>,
    connections: HashMap<Token, Connection>,
    ports: HashMap<Token, (UdpSocket, SocketAddr)>,
    flows: HashMap<Token, Flow>,
    scratch: Vec<u8>,
}

impl AsFd for Relays {
    /// Readable when [`Relays::ready`] has something to do.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poll.as_fd()
    }
}

impl Relays {
    pub fn new() -> linux::Result<Relays> {
        let poll = Poll::new()?;
        let timer = Timer::new()?;
        poll.add(&timer, TIMER, Interest::READ)?;
        Ok(Relays {
            poll,
            timer,
            next: 2,
            listeners: HashMap::new(),
            connections: HashMap::new(),
            ports: HashMap::new(),
            flows: HashMap::new(),
            scratch: Vec::new(),
        })
    }

    /// Relay what arrives at `socket` (bound; a stream socket is made to listen) to `target`.
    pub fn add(&mut self, socket: OwnedFd, transport: Transport, target: SocketAddr) -> linux::Result<()> {
        linux::fd::set_nonblocking(&socket, true)?;
        let token = self.token();
        match transport {
            Transport::Tcp => {
                inet::listen(&socket)?;
                self.poll.add(&socket, token, Interest::READ)?;
                self.listeners.insert(token, (TcpListener::from(socket), target));
            }
            Transport::Udp => {
                self.poll.add(&socket, token, Interest::READ)?;
                self.ports.insert(token, (UdpSocket::from(socket), target));
            }
            // No relay: connections of this kind are the kernel's alone. The bound socket is still held.
            Transport::Sctp => {}
        }
        Ok(())
    }

    /// Where what arrives at this address of the host goes on to, if it is relayed.
    pub fn target(&self, transport: Transport, host: SocketAddr) -> Option<SocketAddr> {
        let token = self.find(transport, host)?;
        let listener = self.listeners.get(&token).map(|(_, target)| target);
        listener.or_else(|| self.ports.get(&token).map(|(_, target)| target)).copied()
    }

    /// Takes a socket back. Connections through it go on, datagrams do not.
    pub fn take(&mut self, transport: Transport, host: SocketAddr) -> linux::Result<Option<OwnedFd>> {
        let Some(token) = self.find(transport, host) else { return Ok(None) };
        let listener = self.listeners.remove(&token).map(|(socket, _)| OwnedFd::from(socket));
        let socket = listener.or_else(|| self.ports.remove(&token).map(|(socket, _)| OwnedFd::from(socket)));
        self.flows.retain(|_, flow| flow.port != token);
        if let Some(socket) = &socket {
            self.poll.remove(socket)?;
        }
        Ok(socket)
    }

    /// Lets go of those that are not `wanted`.
    pub fn retain(&mut self, wanted: impl Fn(Transport, SocketAddr) -> bool) {
        let keeps =
            |transport, host: std::io::Result<SocketAddr>| host.is_ok_and(|host| wanted(transport, host));
        self.listeners.retain(|_, (socket, _)| keeps(Transport::Tcp, socket.local_addr()));
        self.ports.retain(|_, (socket, _)| keeps(Transport::Udp, socket.local_addr()));
        let ports = &self.ports;
        self.flows.retain(|_, flow| ports.contains_key(&flow.port));
    }

    fn find(&self, transport: Transport, host: SocketAddr) -> Option<Token> {
        let is_there = |address: std::io::Result<SocketAddr>| address.is_ok_and(|address| address == host);
        match transport {
            Transport::Tcp => {
                let mut all = self.listeners.iter();
                all.find(|(_, (socket, _))| is_there(socket.local_addr())).map(|(token, _)| *token)
            }
            Transport::Udp => {
                let mut all = self.ports.iter();
                all.find(|(_, (socket, _))| is_there(socket.local_addr())).map(|(token, _)| *token)
            }
            Transport::Sctp => None,
        }
    }

    /// Do what can be done now.
    pub fn ready(&mut self) {
        let mut events = Vec::new();
        if self.poll.wait(&mut events, Some(Duration::ZERO)).is_err() {
            return;
        }
        self.scratch.resize(BUFFER, 0);
        for event in events {
            self.handle(event);
        }
        // Kept only while there is traffic.
        self.scratch = Vec::new();
    }

    fn handle(&mut self, event: Event) {
        let token = event.token;
        if token == TIMER {
            self.expire();
        } else if self.listeners.contains_key(&token) {
            self.accept(token);
        } else if self.ports.contains_key(&token) {
            self.forward(token);
        } else if self.flows.contains_key(&token) {
            self.answer(token);
        } else {
            self.stream(event);
        }
    }

    /// Tokens are even; a connection's second socket has the odd one behind it.
    fn token(&mut self) -> Token {
        self.next += 2;
        self.next
    }

    fn accept(&mut self, listener: Token) {
        for _ in 0..TURN {
            if self.connections.len() >= MAX_CONNECTIONS {
                self.listen_for_more(false);
                return;
            }
            let Some((socket, target)) = self.listeners.get(&listener) else { return };
            let target = *target;
            // An error is about the one connection (reset before it was taken), or there is none left.
            let Ok((client, _)) = socket.accept() else { return };
            let token = self.token();
            if let Ok(connection) = Connection::open(client, target, &self.poll, token) {
                self.connections.insert(token, connection);
            }
        }
    }

    fn stream(&mut self, event: Event) {
        let token = event.token & !1;
        let side = if event.token & 1 == 0 { Side::Client } else { Side::Server };
        let Some(connection) = self.connections.get_mut(&token) else { return };
        if connection.advance(side, event, &self.poll, token, &mut self.scratch).is_done() {
            let was_full = self.connections.len() >= MAX_CONNECTIONS;
            self.connections.remove(&token);
            if was_full {
                self.listen_for_more(true);
            }
        }
    }

    fn listen_for_more(&self, more: bool) {
        let interest = if more { Interest::READ } else { Interest::NONE };
        for (token, (listener, _)) in &self.listeners {
            // Failing to change the interest of an open descriptor would be a defect; the relay then stays as it is.
            let _ = self.poll.modify(listener, *token, interest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{Ipv6Addr, TcpStream};

    fn bound(transport: Transport) -> (OwnedFd, SocketAddr) {
        let socket = inet::bind(transport, (Ipv6Addr::LOCALHOST, 0).into()).unwrap();
        let address = UdpSocket::from(socket.try_clone().unwrap()).local_addr().unwrap();
        (socket, address)
    }

    /// Serves the relays until `done` says so.
    fn serve(mut relays: Relays, done: std::sync::mpsc::Receiver<()>) -> Relays {
        while done.try_recv().is_err() {
            linux::poll::wait_readable(&relays, Some(Duration::from_millis(20))).unwrap();
            relays.ready();
        }
        relays
    }

    #[test]
    fn streams_pass_both_ways_and_half_close() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut relays = Relays::new().unwrap();
        let (socket, address) = bound(Transport::Tcp);
        relays.add(socket, Transport::Tcp, server.local_addr().unwrap()).unwrap();
        let (stop, done) = std::sync::mpsc::channel();
        let relay = std::thread::spawn(move || serve(relays, done));
        let echo = std::thread::spawn(move || {
            let (mut stream, _) = server.accept().unwrap();
            let mut all = Vec::new();
            stream.read_to_end(&mut all).unwrap();
            stream.write_all(&all).unwrap();
        });
        // More than any buffer on the way, so that both back-pressures are met.
        let sent: Vec<u8> = (0..8_000_000u32).map(|i| (i % 251) as u8).collect();
        let mut client = TcpStream::connect(address).unwrap();
        client.write_all(&sent).unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        let mut received = Vec::new();
        client.read_to_end(&mut received).unwrap();
        assert!(received == sent, "{} of {} bytes came back", received.len(), sent.len());
        echo.join().unwrap();
        stop.send(()).unwrap();
        assert!(relay.join().unwrap().connections.is_empty());
    }

    #[test]
    fn a_refused_target_closes_the_client() {
        let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut relays = Relays::new().unwrap();
        let (socket, address) = bound(Transport::Tcp);
        relays.add(socket, Transport::Tcp, unused).unwrap();
        let (stop, done) = std::sync::mpsc::channel();
        let relay = std::thread::spawn(move || serve(relays, done));
        let mut client = TcpStream::connect(address).unwrap();
        // A reset or an end: both are a closed connection.
        assert_eq!(client.read(&mut [0; 16]).unwrap_or(0), 0);
        stop.send(()).unwrap();
        assert!(relay.join().unwrap().connections.is_empty());
    }

    #[test]
    fn datagrams_pass_and_are_answered() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut relays = Relays::new().unwrap();
        let (socket, address) = bound(Transport::Udp);
        relays.add(socket, Transport::Udp, server.local_addr().unwrap()).unwrap();
        let (stop, done) = std::sync::mpsc::channel();
        let relay = std::thread::spawn(move || serve(relays, done));
        let client = UdpSocket::bind("[::1]:0").unwrap();
        client.send_to(b"question", address).unwrap();
        let mut buffer = [0; 64];
        let (length, from) = server.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"question");
        server.send_to(b"answer", from).unwrap();
        let (length, from) = client.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..length], from), (b"answer".as_slice(), address));
        stop.send(()).unwrap();
        relay.join().unwrap();
    }
}
