//! Names, as a container asks for them: 127.0.0.11, by UDP and TCP.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Duration;

use network::Namespace;
use network::names::{Config, Entry, Resolver, withdraw};

use crate::world::*;

const A: u16 = 1;
const PTR: u16 = 12;
const AAAA: u16 = 28;

struct Directory(scratch::Directory);

impl Directory {
    fn new() -> Directory {
        Directory(scratch::Directory::new("names"))
    }

    fn add(&self, name: &str, addresses: &[&str]) -> PathBuf {
        let entry = Entry {
            network: "backend".into(),
            name: name.into(),
            names: vec![name.into(), format!("{name}-alias")],
            addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
        };
        let path = self.0.join(name);
        entry.write(&path).unwrap();
        path
    }
}

fn question(name: &str, kind: u16) -> Vec<u8> {
    let mut message = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        message.push(label.len() as u8);
        message.extend_from_slice(label.as_bytes());
    }
    message.push(0);
    message.extend_from_slice(&kind.to_be_bytes());
    message.extend_from_slice(&[0, 1]);
    message
}

/// The code and how many answers.
fn outcome(answer: &[u8]) -> (u8, u16) {
    assert_eq!(answer[..2], [0x12, 0x34], "the client's id");
    assert_eq!(answer[2] & 0x80, 0x80, "an answer");
    (answer[3] & 0x0f, u16::from_be_bytes([answer[6], answer[7]]))
}

fn by_udp(namespace: &Namespace, name: &str, kind: u16) -> Vec<u8> {
    let message = question(name, kind);
    inside(Some(namespace), || {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        let mut buffer = vec![0; 4096];
        // Datagrams may be lost where many wait; whoever asks for names asks again.
        let ask = || socket.send_to(&message, "127.0.0.11:53").and_then(|_| socket.recv_from(&mut buffer));
        let answered = std::iter::repeat_with(ask).take(30).find_map(Result::ok);
        let (length, from) = answered.expect("an answer within a minute");
        assert_eq!(from, addr("127.0.0.11:53"), "the answer comes from port 53");
        buffer.truncate(length);
        buffer
    })
}

fn by_tcp(namespace: &Namespace, name: &str, kind: u16) -> Vec<u8> {
    let message = question(name, kind);
    inside(Some(namespace), || {
        let mut stream = TcpStream::connect("127.0.0.11:53").unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        // In two pieces, as the network might deliver it.
        let mut framed = (message.len() as u16).to_be_bytes().to_vec();
        framed.extend_from_slice(&message);
        let (head, tail) = framed.split_at(5);
        stream.write_all(head).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        stream.write_all(tail).unwrap();
        let mut length = [0; 2];
        stream.read_exact(&mut length).unwrap();
        let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut answer).unwrap();
        answer
    })
}

/// The data of the first answer: the last bytes of a message with one.
fn last<const N: usize>(answer: &[u8]) -> [u8; N] {
    *answer.last_chunk().unwrap()
}

fn serve(mut resolver: Resolver) -> Server {
    Server::serve(move || {
        linux::poll::wait_readable(&resolver, Some(Duration::from_millis(10))).unwrap();
        resolver.ready();
    })
}

/// A server that answers everything with one code, and says so in the question count of nothing else.
fn answering(namespace: Option<&Namespace>, at: &str, code: u8) -> (Server, SocketAddr) {
    let (udp, tcp) = inside(namespace, || (UdpSocket::bind(at).unwrap(), TcpListener::bind(at).unwrap()));
    udp.set_nonblocking(true).unwrap();
    tcp.set_nonblocking(true).unwrap();
    let address = udp.local_addr().unwrap();
    let answer = move |question: &[u8]| {
        let mut answer = question.to_vec();
        answer[2] |= 0x80;
        answer[3] = code;
        answer
    };
    let server = Server::serve(move || {
        let mut buffer = [0; 512];
        if let Ok((length, from)) = udp.recv_from(&mut buffer) {
            let _ = udp.send_to(&answer(&buffer[..length]), from);
        }
        if let Ok((mut stream, _)) = tcp.accept() {
            let mut length = [0; 2];
            stream.read_exact(&mut length).unwrap();
            let length = usize::from(u16::from_be_bytes(length));
            stream.read_exact(&mut buffer[..length]).unwrap();
            let answer = answer(&buffer[..length]);
            stream.write_all(&(answer.len() as u16).to_be_bytes()).unwrap();
            stream.write_all(&answer).unwrap();
        }
    });
    (server, address)
}

#[test]
fn neighbours_are_found_by_name() {
    on_a_host(|_| {
        let directory = Directory::new();
        directory.add("web", &["172.30.0.2", "fd00:30::2"]);
        let namespace = Namespace::create().unwrap();
        let config = Config { directories: vec![directory.0.to_owned()], ..Config::default() };
        let resolver = Resolver::open(namespace.as_fd(), config).unwrap();
        let _server = serve(resolver);
        let answer = by_udp(&namespace, "Web", A);
        assert_eq!((outcome(&answer), last(&answer)), ((0, 1), [172, 30, 0, 2]));
        let answer = by_tcp(&namespace, "web-alias.backend", A);
        assert_eq!((outcome(&answer), last(&answer)), ((0, 1), [172, 30, 0, 2]));
        assert_eq!(outcome(&by_udp(&namespace, "web", AAAA)), (0, 1));
        let answer = by_udp(&namespace, "2.0.30.172.in-addr.arpa", PTR);
        assert_eq!((outcome(&answer), last(&answer)), ((0, 1), *b"\x03web\x07backend\0"));
        // Nobody else to ask: a failure, not silence.
        assert_eq!(outcome(&by_udp(&namespace, "example.org", A)), (2, 0));
        assert_eq!(outcome(&by_tcp(&namespace, "example.org", A)), (2, 0));
        // A container that comes and one that goes.
        let path = directory.add("db", &["172.30.0.3"]);
        assert_eq!(outcome(&by_udp(&namespace, "db", A)), (0, 1));
        withdraw(&path).unwrap();
        assert_eq!(outcome(&by_udp(&namespace, "db", A)), (2, 0));
        // The container's own servers may have port 53.
        inside(Some(&namespace), || {
            UdpSocket::bind("0.0.0.0:53").unwrap();
            TcpListener::bind("0.0.0.0:53").unwrap();
        });
    });
}

#[test]
fn other_names_are_asked_for_in_order() {
    on_a_host(|_| {
        let (_refusing, refusing) = answering(None, "127.0.0.1:5301", 5);
        let (_knowing, knowing) = answering(None, "127.0.0.1:5302", 3);
        let silent = addr("127.0.0.1:5399");
        let namespace = Namespace::create().unwrap();
        let config = Config { upstreams: vec![silent, refusing, knowing], ..Config::default() };
        let _server = serve(Resolver::open(namespace.as_fd(), config).unwrap());
        // "No such name" is an answer like any other.
        assert_eq!(outcome(&by_udp(&namespace, "example.org", A)), (3, 0));
        assert_eq!(outcome(&by_tcp(&namespace, "example.org", A)), (3, 0));
    });
}

#[test]
fn servers_of_the_container_are_asked_from_its_namespace() {
    on_a_host(|_| {
        let namespace = Namespace::create().unwrap();
        let (_inside, inside) = answering(Some(&namespace), "127.0.0.1:5300", 3);
        let config =
            Config { inside: vec![inside], upstreams: vec![addr("127.0.0.1:1")], ..Config::default() };
        let _server = serve(Resolver::open(namespace.as_fd(), config).unwrap());
        assert_eq!(outcome(&by_udp(&namespace, "example.org", A)), (3, 0));
        assert_eq!(outcome(&by_tcp(&namespace, "example.org", A)), (3, 0));
    });
}

#[test]
fn a_flood_is_refused_and_the_resolver_goes_on() {
    on_a_host(|_| {
        // A server that never answers.
        let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
        let directory = Directory::new();
        directory.add("web", &["172.30.0.2"]);
        let namespace = Namespace::create().unwrap();
        let config = Config {
            directories: vec![directory.0.to_owned()],
            upstreams: vec![silent.local_addr().unwrap()],
            ..Config::default()
        };
        let _server = serve(Resolver::open(namespace.as_fd(), config).unwrap());
        let flood = inside(Some(&namespace), || UdpSocket::bind("0.0.0.0:0").unwrap());
        flood.set_nonblocking(true).unwrap();
        let message = question("example.org", A);
        let mut refused = 0;
        let mut buffer = [0; 512];
        eventually("questions are refused", || {
            for _ in 0..50 {
                flood.send_to(&message, "127.0.0.11:53").unwrap();
            }
            while let Ok(length) = flood.recv(&mut buffer) {
                refused += usize::from(outcome(&buffer[..length]).0 == 5);
            }
            refused > 0
        });
        assert_eq!(outcome(&by_udp(&namespace, "web", A)), (0, 1));
    });
}

#[test]
fn a_second_run_replaces_the_first() {
    on_a_host(|_| {
        let directory = Directory::new();
        directory.add("web", &["172.30.0.2"]);
        let namespace = Namespace::create().unwrap();
        let config = Config { directories: vec![directory.0.to_owned()], ..Config::default() };
        drop(Resolver::open(namespace.as_fd(), config.clone()).unwrap());
        let _server = serve(given(|| Resolver::open(namespace.as_fd(), config.clone())));
        assert_eq!(outcome(&by_udp(&namespace, "web", A)), (0, 1));
        assert_eq!(outcome(&by_tcp(&namespace, "web", A)), (0, 1));
    });
}
