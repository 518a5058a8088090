//! The resolver itself: answers what the networks know, passes the rest on, never waits.
//!
//! ```text
//!   container                    shim                              servers
//!     │ ── 127.0.0.11:53 ──▶ DNAT │ sockets on random ports inside     │
//!     │                           │ ── Zone knows ──▶ answer           │
//!     │                           │ ── else ────────────────────────▶ │
//!     │ ◀──────────────────────── │ ◀──────────────────────────────── │
//! ```
//!
//! Port 53 stays free for the container's own servers: a rule in its namespace translates to the random ports.
//! One descriptor, the resolver's own epoll, tells the shim's loop that there is something to do ([`Resolver::ready`]).
//! Limits: [`MAX_QUERIES`] on their way at a time (more are refused), [`MAX_CLIENTS`] connections, each of which has to
//! say something within [`IDLE`].

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use linux::inet::{self, Transport};
use linux::nftables::expression::{Base, Expression as E, FIRST, Meta, Register, Translation};
use linux::nftables::{Batch, ChainType, Hook, TableFamily};
use linux::poll::{Event, Interest, Poll, Timer, Token};

use super::message::{self, Code, Parsed, Question, Record};
use super::upstream::{Origin, Outcome, Query, framed, take_frame};
use super::zone::Zone;
use super::{ADDRESS, Config};

/// Each holds a socket; a shim lives with the usual 1024 descriptors.
const MAX_QUERIES: usize = 256;
const MAX_CLIENTS: usize = 64;
const IDLE: Duration = Duration::from_secs(10);
/// The longest message (its length has 16 bits) with its length in front.
const MAX_FRAME: usize = 2 + 65535;
/// Questions taken from one socket before others get their turn.
const TURN: usize = 64;
/// The table in the container's namespace.
const TABLE: &str = "wharf_names";

const UDP: Token = 0;
const TCP: Token = 1;
const TIMER: Token = 2;

/// The resolver of one container. It keeps the network namespace alive: drop it when the container has ended.
#[derive(Debug)]
pub struct Resolver {
    poll: Poll,
    timer: Timer,
    namespace: OwnedFd,
    udp: UdpSocket,
    tcp: TcpListener,
    config: Config,
    zone: Zone,
    queries: HashMap<Token, Query>,
    clients: HashMap<Token, Client>,
    next: Token,
}

/// A connection from the container.
#[derive(Debug)]
struct Client {
    stream: TcpStream,
    received: Vec<u8>,
    unsent: Vec<u8>,
    /// Questions on their way to servers.
    asked: usize,
    ended: bool,
    deadline: Instant,
}

/// What becomes of a question.
#[derive(Debug, PartialEq, Eq)]
enum Decision {
    Answer(Vec<u8>),
    Forward,
    Ignore,
}

impl AsFd for Resolver {
    /// Readable when [`Resolver::ready`] has something to do.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poll.as_fd()
    }
}

impl Resolver {
    /// Answer at 127.0.0.11 in `namespace`; what was there before (of an earlier run) is replaced.
    pub fn open(namespace: BorrowedFd<'_>, config: Config) -> linux::Result<Resolver> {
        let (udp, tcp) = crate::namespace::within(namespace, listen_inside)?;
        let poll = Poll::new()?;
        let timer = Timer::new()?;
        poll.add(&udp, UDP, Interest::READ)?;
        poll.add(&tcp, TCP, Interest::READ)?;
        poll.add(&timer, TIMER, Interest::READ)?;
        Ok(Resolver {
            poll,
            timer,
            namespace: linux::fd::duplicate(namespace)?,
            udp,
            tcp,
            zone: Zone::new(&config),
            config,
            queries: HashMap::new(),
            clients: HashMap::new(),
            next: TIMER,
        })
    }

    /// The container has joined or left a network.
    pub fn configure(&mut self, config: Config) {
        self.zone = Zone::new(&config);
        self.config = config;
    }

    /// Do what can be done now.
    pub fn ready(&mut self) {
        let mut events = Vec::new();
        if self.poll.wait(&mut events, Some(Duration::ZERO)).is_err() {
            return;
        }
        // Kept only while there is something to do: an idle resolver costs no buffer.
        let mut scratch = vec![0; MAX_FRAME];
        for event in events {
            match event.token {
                UDP => self.take_datagrams(&mut scratch),
                TCP => self.take_clients(),
                TIMER => {
                    let _ = self.timer.take();
                }
                token if self.queries.contains_key(&token) => self.advance_query(token, &mut scratch),
                token => self.advance_client(token, event, &mut scratch),
            }
        }
        self.expire();
    }

    fn take_datagrams(&mut self, scratch: &mut [u8]) {
        for _ in 0..TURN {
            let Ok((length, from)) = self.udp.recv_from(scratch) else { return };
            let question = &scratch[..length];
            let limit = |question: &Question| question.udp_limit;
            match decide(question, &mut self.zone, &self.config, limit) {
                Decision::Answer(answer) => self.reply(Origin::Datagram(from), &answer),
                Decision::Forward => self.forward(Query::new(Origin::Datagram(from), question.to_vec())),
                Decision::Ignore => {}
            }
        }
    }

    fn forward(&mut self, mut query: Query) {
        if self.queries.len() >= MAX_QUERIES {
            self.reply(query.origin, &message::refusal(&query.question, Code::Refused));
            return;
        }
        let token = self.token();
        if query.ask(&self.config, self.namespace.as_fd(), &self.poll, token) {
            if let Origin::Stream(client) = query.origin
                && let Some(client) = self.clients.get_mut(&client)
            {
                client.asked += 1;
            }
            self.queries.insert(token, query);
        } else {
            self.reply(query.origin, &message::refusal(&query.question, Code::ServerFailure));
        }
    }

    fn advance_query(&mut self, token: Token, scratch: &mut [u8]) {
        let Some(query) = self.queries.get_mut(&token) else { return };
        match query.advance(&self.poll, token, scratch) {
            Outcome::Waiting => {}
            Outcome::Answer(answer) => self.finish(token, &answer),
            Outcome::Failed => self.ask_next(token),
        }
    }

    fn ask_next(&mut self, token: Token) {
        let Some(query) = self.queries.get_mut(&token) else { return };
        if !query.ask(&self.config, self.namespace.as_fd(), &self.poll, token) {
            let answer = message::refusal(&query.question, Code::ServerFailure);
            self.finish(token, &answer);
        }
    }

    fn finish(&mut self, token: Token, answer: &[u8]) {
        let Some(query) = self.queries.remove(&token) else { return };
        if let Origin::Stream(client) = query.origin
            && let Some(client) = self.clients.get_mut(&client)
        {
            client.asked -= 1;
        }
        self.reply(query.origin, answer);
    }

    fn reply(&mut self, to: Origin, answer: &[u8]) {
        match to {
            // A client that cannot take it asks again.
            Origin::Datagram(address) => drop(self.udp.send_to(answer, address)),
            Origin::Stream(token) => {
                if let Some(client) = self.clients.get_mut(&token) {
                    client.unsent.extend(framed(answer));
                    self.settle(token);
                }
            }
        }
    }

    fn take_clients(&mut self) {
        for _ in 0..TURN {
            let Ok((stream, _)) = self.tcp.accept() else { return };
            // Dropped at once when there are too many: waiting ones would keep the listener readable.
            if self.clients.len() >= MAX_CLIENTS || stream.set_nonblocking(true).is_err() {
                continue;
            }
            let token = self.token();
            if self.poll.add(&stream, token, Interest::READ).is_ok() {
                let deadline = Instant::now() + IDLE;
                let client = Client {
                    stream,
                    received: Vec::new(),
                    unsent: Vec::new(),
                    asked: 0,
                    ended: false,
                    deadline,
                };
                self.clients.insert(token, client);
            }
        }
    }

    fn advance_client(&mut self, token: Token, event: Event, scratch: &mut [u8]) {
        let Some(client) = self.clients.get_mut(&token) else { return };
        if event.hangup && client.ended {
            // Nobody is left to answer; a hang-up that is not acted on would be reported for ever.
            self.clients.remove(&token);
            return;
        }
        if event.readable && !client.ended {
            match client.stream.read(scratch) {
                Ok(0) => client.ended = true,
                Ok(length) => client.received.extend_from_slice(&scratch[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => {
                    self.clients.remove(&token);
                    return;
                }
            }
            client.deadline = Instant::now() + IDLE;
        }
        while let Some(client) = self.clients.get_mut(&token) {
            let Some(question) = take_frame(&mut client.received) else { break };
            match decide(&question, &mut self.zone, &self.config, |_| usize::from(u16::MAX)) {
                Decision::Answer(answer) => client.unsent.extend(framed(&answer)),
                Decision::Forward => self.forward(Query::new(Origin::Stream(token), question)),
                Decision::Ignore => {}
            }
        }
        self.settle(token);
    }

    /// Send a client what it can take, listen for what it may say, and close it when it is done.
    fn settle(&mut self, token: Token) {
        let Some(client) = self.clients.get_mut(&token) else { return };
        let mut broken = false;
        while !client.unsent.is_empty() {
            match client.stream.write(&client.unsent) {
                Ok(length) => drop(client.unsent.drain(..length)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => {
                    broken = true;
                    break;
                }
            }
        }
        let done = client.ended && client.asked == 0 && client.unsent.is_empty();
        // A client that asks faster than it reads is not read from meanwhile.
        let read = !client.ended && client.unsent.len() < MAX_FRAME && client.asked < TURN;
        let interest = Interest { read, write: !client.unsent.is_empty() };
        if broken || done || self.poll.modify(&client.stream, token, interest).is_err() {
            self.clients.remove(&token);
        }
    }

    /// Give up what had its time, and wake up for what is next.
    fn expire(&mut self) {
        let now = Instant::now();
        self.clients.retain(|_, client| client.asked > 0 || client.deadline > now);
        let late: Vec<Token> =
            self.queries.iter().filter(|(_, query)| query.deadline <= now).map(|(token, _)| *token).collect();
        for token in late {
            self.ask_next(token);
        }
        let queries = self.queries.values().map(|query| query.deadline);
        let clients = self.clients.values().filter(|client| client.asked == 0).map(|client| client.deadline);
        let next = queries.chain(clients).min();
        // Without the timer nothing would be given up; with the descriptor open, setting it cannot fail.
        let _ = self.timer.set(next.map(|next| next.saturating_duration_since(now)));
    }

    fn token(&mut self) -> Token {
        self.next += 1;
        self.next
    }
}

/// What the networks say to a question. `limit` says how large the answer may be.
fn decide(
    bytes: &[u8],
    zone: &mut Zone,
    config: &Config,
    limit: impl FnOnce(&Question) -> usize,
) -> Decision {
    let question = match message::parse(bytes) {
        Parsed::Noise => return Decision::Ignore,
        Parsed::Malformed => return Decision::Answer(message::refusal(bytes, Code::FormatError)),
        Parsed::Question(question) => question,
    };
    if !question.internet {
        return Decision::Forward;
    }
    let records = match question.kind {
        message::A | message::AAAA | message::MX => addresses(&question, zone, config),
        message::PTR => message::reverse_address(&question.name)
            .and_then(|address| zone.name(address))
            .map(|name| vec![Record::Pointer(name)]),
        _ => None,
    };
    match records {
        Some(records) => {
            let limit = limit(&question);
            Decision::Answer(message::answer(bytes, &question, Code::NoError, &records, limit))
        }
        None => Decision::Forward,
    }
}

/// The records of a name that is known here: none if it has no address of that kind.
fn addresses(question: &Question, zone: &mut Zone, config: &Config) -> Option<Vec<Record>> {
    let Some(mut addresses) = zone.addresses(&question.name) else {
        let stays = config.keep_single_labels && question.kind != message::MX && !question.name.contains('.');
        return stays.then(Vec::new);
    };
    addresses.retain(|address| match question.kind {
        message::A => address.is_ipv4(),
        message::AAAA => address.is_ipv6(),
        _ => false,
    });
    shuffle(&mut addresses);
    Some(addresses.into_iter().map(Record::Address).collect())
}

/// So that the first address is not always the same one.
fn shuffle(addresses: &mut [IpAddr]) {
    for last in (1..addresses.len()).rev() {
        let mut random = [0; 4];
        // Without randomness the order stays as it is.
        if getrandom::fill(&mut random).is_ok() {
            addresses.swap(last, u32::from_ne_bytes(random) as usize % (last + 1));
        }
    }
}

/// Sockets on random ports, and the rules that lead port 53 there. Runs in the container's namespace.
fn listen_inside() -> linux::Result<(UdpSocket, TcpListener)> {
    let anywhere = SocketAddr::new(ADDRESS, 0);
    let udp = UdpSocket::from(inet::bind(Transport::Udp, anywhere)?);
    let tcp = inet::bind(Transport::Tcp, anywhere)?;
    inet::listen(&tcp)?;
    let tcp = TcpListener::from(tcp);
    let port = |address: std::io::Result<SocketAddr>| {
        address
            .map(|address| address.port())
            .map_err(|error| linux::Error::from_io("getsockname", "", &error))
    };
    let mut batch = Batch::new(TableFamily::Inet, TABLE);
    // Made before it is deleted, so that there is something to delete.
    batch.ensure_table();
    batch.delete_table();
    batch.ensure_table();
    const BEFORE_SOURCE_TRANSLATION: i32 = -100;
    batch.ensure_base_chain("output", ChainType::Nat, Hook::Output, BEFORE_SOURCE_TRANSLATION, None);
    batch.append_rule("output", &redirect(Transport::Udp, port(udp.local_addr())?));
    batch.append_rule("output", &redirect(Transport::Tcp, port(tcp.local_addr())?));
    batch.commit(&mut linux::nftables::open()?)?;
    Ok((udp, tcp))
}

/// `ip daddr 127.0.0.11 udp dport 53 dnat to 127.0.0.11:port`
fn redirect(transport: Transport, port: u16) -> Vec<E> {
    const IPV4: u32 = 2;
    const DESTINATION: u32 = 16;
    const DESTINATION_PORT: u32 = 2;
    let IpAddr::V4(address) = ADDRESS else { return Vec::new() };
    let address = address.octets().to_vec();
    vec![
        E::Meta(Meta::Family, FIRST),
        E::Equal(FIRST, vec![IPV4 as u8]),
        E::Payload { base: Base::Network, offset: DESTINATION, length: 4, to: FIRST },
        E::Equal(FIRST, address.clone()),
        E::Meta(Meta::Protocol, FIRST),
        E::Equal(FIRST, vec![transport.number()]),
        E::Payload { base: Base::Transport, offset: DESTINATION_PORT, length: 2, to: FIRST },
        E::Equal(FIRST, 53u16.to_be_bytes().to_vec()),
        E::Load(FIRST, address),
        E::Load(Register::word(1), port.to_be_bytes().to_vec()),
        E::Nat {
            kind: Translation::Destination,
            family: IPV4,
            address: FIRST,
            port: Some(Register::word(1)),
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Entry;
    use crate::names::message::tests::ask;

    fn zone() -> (Zone, scratch::Directory) {
        let directory = scratch::Directory::new("resolver");
        let entry = Entry {
            network: "backend".into(),
            name: "web".into(),
            names: vec!["web".into(), "www".into()],
            addresses: vec!["10.0.0.2".parse().unwrap()],
        };
        entry.write(&directory.join("web")).unwrap();
        let config = Config {
            directories: vec![directory.to_owned()],
            links: [("db".into(), "web".into())].into(),
            ..Config::default()
        };
        (Zone::new(&config), directory)
    }

    fn answers(decision: &Decision) -> Option<(u8, u16)> {
        match decision {
            Decision::Answer(answer) => {
                Some((message::code(answer), u16::from_be_bytes([answer[6], answer[7]])))
            }
            _ => None,
        }
    }

    #[test]
    fn what_is_known_is_answered_and_the_rest_passed_on() {
        let (mut zone, _directory) = zone();
        let mut config = Config::default();
        let mut decide = |name: &str, kind: u16, config: &Config| {
            answers(&super::decide(&ask(name, kind, None), &mut zone, config, |question| question.udp_limit))
        };
        assert_eq!(decide("WWW", message::A, &config), Some((0, 1)));
        assert_eq!(decide("web.backend", message::A, &config), Some((0, 1)));
        assert_eq!(decide("db", message::A, &config), Some((0, 1)));
        // Known, but not of that family, or asked for its mail: nothing, and nobody else is asked.
        assert_eq!(decide("web", message::AAAA, &config), Some((0, 0)));
        assert_eq!(decide("web", message::MX, &config), Some((0, 0)));
        assert_eq!(decide("2.0.0.10.in-addr.arpa", message::PTR, &config), Some((0, 1)));
        assert_eq!(decide("3.0.0.10.in-addr.arpa", message::PTR, &config), None);
        const TEXT: u16 = 16;
        assert_eq!(decide("web", TEXT, &config), None);
        assert_eq!(decide("other", message::A, &config), None);
        config.keep_single_labels = true;
        assert_eq!(decide("other", message::A, &config), Some((0, 0)));
        assert_eq!(decide("other.example", message::A, &config), None);
    }
}
