//! Against collectors made here, on real sockets.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::time::Instant;

use linux::poll::Poll;
use scratch::Directory;

use super::*;
use crate::protocol::{Endpoint, Fluentd, Gelf, GelfCompression, Syslog, SyslogFormat};

/// A record of one and a half seconds past the epoch.
pub(super) fn record(stream: Stream, text: &str) -> Waiting {
    Waiting { text: text.as_bytes().into(), time: 1_500_000_000, stream, part: None }
}

fn syslog(endpoint: Endpoint, buffer: Option<u64>) -> protocol::Remote {
    let told = Syslog {
        tag: "t".into(),
        hostname: "h".into(),
        facility: 3,
        format: SyslogFormat::Unix,
        counted: false,
    };
    protocol::Remote { collector: Collector::Syslog(told), endpoints: vec![endpoint], tls: None, buffer }
}

fn fluentd(endpoint: Endpoint, told: Fluentd) -> protocol::Remote {
    protocol::Remote {
        collector: Collector::Fluentd(told),
        endpoints: vec![endpoint],
        tls: None,
        buffer: None,
    }
}

fn open(told: &protocol::Remote) -> Remote {
    Remote::open(told).unwrap_or_else(|error| panic!("{error}"))
}

fn append(remote: &mut Remote, text: &str) {
    remote.append(Stream::Stdout, &Piece { text: text.as_bytes(), time: 0, part: None });
}

/// Does what the loop does, until `done`.
fn drive(remote: &mut Remote, mut done: impl FnMut(&mut Remote) -> bool) {
    let started = Instant::now();
    while !done(remote) {
        assert!(started.elapsed() < Duration::from_secs(20), "the remote is stuck: {}", remote.loss().error);
        remote.pump();
        let poll = Poll::new().unwrap();
        let mut events = Vec::new();
        if let Some((socket, _, interest)) = remote.interest() {
            poll.add(socket, 0, interest).unwrap();
        }
        poll.wait(&mut events, Some(Duration::from_millis(5))).unwrap();
        for event in events {
            remote.ready(event.readable);
        }
    }
}

fn listen() -> (TcpListener, Endpoint) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = Endpoint::Tcp(listener.local_addr().unwrap());
    (listener, endpoint)
}

fn texts(received: &str) -> Vec<&str> {
    received.lines().filter_map(|line| line.split_once("]: ")).map(|(_, text)| text).collect()
}

#[test]
fn datagrams_arrive_and_a_missing_listener_is_no_failure() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let mut remote = open(&syslog(Endpoint::Udp(address), None));
    append(&mut remote, "one");
    append(&mut remote, "");
    append(&mut remote, "two");
    drive(&mut remote, |remote| remote.is_empty());
    let mut bytes = [0; 2048];
    for expected in ["one", "two"] {
        let count = socket.recv(&mut bytes).unwrap();
        assert_eq!(texts(std::str::from_utf8(&bytes[..count]).unwrap()), [expected]);
    }
    drop(socket);
    for _ in 0..20 {
        append(&mut remote, "nobody");
        drive(&mut remote, |remote| remote.is_empty());
    }
    assert_eq!(remote.take_loss(), None);
}

#[test]
fn a_collector_that_is_not_there_is_refused_in_gos_words() {
    let (listener, endpoint) = listen();
    drop(listener);
    let address = endpoint.to_string();
    let refused = Remote::open(&syslog(endpoint.clone(), None)).err().unwrap();
    assert_eq!(refused, format!("dial tcp {address}: connect: connection refused"));
    let told = Gelf {
        hostname: "h".into(),
        extra: Default::default(),
        compression: GelfCompression::None,
        level: None,
        max_reconnect: 3,
        reconnect_delay: 1,
    };
    let told = protocol::Remote {
        collector: Collector::Gelf(told),
        endpoints: vec![endpoint],
        tls: None,
        buffer: None,
    };
    let refused = Remote::open(&told).err().unwrap();
    let expected = format!("dial tcp {address}: connect: connection refused");
    assert_eq!(refused, format!("gelf: cannot connect to GELF endpoint: {address} {expected}"));
    let nowhere = ["/nonexistent/a", "/nonexistent/b"].map(|path| Endpoint::Unixgram(path.into()));
    let mut local = syslog(nowhere[0].clone(), None);
    local.endpoints = nowhere.to_vec();
    assert_eq!(Remote::open(&local).err().unwrap(), "Unix syslog delivery error");
}

#[test]
fn a_broken_connection_is_made_again_and_nothing_unsent_is_lost() {
    let (listener, endpoint) = listen();
    let mut remote = open(&syslog(endpoint, None));
    let (first, _) = listener.accept().unwrap();
    append(&mut remote, "one");
    drive(&mut remote, |remote| remote.is_empty());
    drop(first);
    // The end of the connection is seen before anything is written into it.
    drive(&mut remote, |remote| remote.failures > 0);
    append(&mut remote, "two");
    listener.set_nonblocking(true).unwrap();
    let mut second = None;
    drive(&mut remote, |remote| {
        second = second.take().or_else(|| listener.accept().ok());
        remote.is_empty()
    });
    let mut text = [0; 64];
    let (mut second, _) = second.unwrap();
    second.set_nonblocking(false).unwrap();
    let count = second.read(&mut text).unwrap();
    assert_eq!(texts(std::str::from_utf8(&text[..count]).unwrap()), ["two"]);
    assert_eq!(remote.take_loss(), None);
}

/// Appends lines of 1000 bytes until `full`, at most 100,000 of them.
fn flood(remote: &mut Remote, mut full: impl FnMut(&Remote) -> bool) -> usize {
    for count in 0..100_000 {
        if full(remote) {
            return count;
        }
        append(remote, &format!("{count:1000}"));
        remote.pump();
    }
    panic!("it never became full");
}

fn numbers(stream: &mut TcpStream, remote: &mut Remote) -> Vec<usize> {
    let mut received = Vec::new();
    stream.set_nonblocking(true).unwrap();
    drive(remote, |remote| {
        let _ = stream.read_to_end(&mut received);
        remote.is_empty()
    });
    while stream.read_to_end(&mut received).is_err_and(|_| !received.ends_with(b"\n")) {}
    texts(std::str::from_utf8(&received).unwrap()).iter().map(|text| text.trim().parse().unwrap()).collect()
}

#[test]
fn a_slow_collector_makes_the_container_wait_and_then_gets_everything() {
    let (listener, endpoint) = listen();
    let mut remote = open(&syslog(endpoint, None));
    let (mut peer, _) = listener.accept().unwrap();
    let count = flood(&mut remote, Remote::is_full);
    assert!(remote.held < BLOCKING_QUEUE + 2000);
    assert_eq!(numbers(&mut peer, &mut remote), (0..count).collect::<Vec<_>>());
    assert_eq!((remote.is_full(), remote.take_loss()), (false, None));
}

#[test]
fn a_lossy_queue_never_waits_and_counts_what_it_dropped() {
    let (listener, endpoint) = listen();
    let mut remote = open(&syslog(endpoint, Some(50_000)));
    let (mut peer, _) = listener.accept().unwrap();
    let count = flood(&mut remote, |remote| remote.loss().records >= 100);
    assert!(!remote.is_full());
    let lost = remote.take_loss().unwrap();
    assert!(lost.error.contains("too slow for a buffer of 50000 bytes"), "{}", lost.error);
    let arrived = numbers(&mut peer, &mut remote);
    assert_eq!(arrived.len() as u64 + lost.records, count as u64);
    assert!(arrived.is_sorted());
}

#[test]
fn a_dead_collector_stops_the_container_for_so_many_attempts_only() {
    let (listener, endpoint) = listen();
    let told = Fluentd { max_retries: 3, retry_wait: 1, ..Fluentd::default() };
    let mut remote = open(&fluentd(endpoint, told));
    drop((listener.accept().unwrap(), listener));
    flood(&mut remote, |remote| remote.is_full() || remote.loss().records > 0);
    drive(&mut remote, |remote| remote.failures > 3);
    assert!(!remote.is_full(), "it waits for a collector that has gone for good");
    let (held, before) = (remote.held, remote.loss().records);
    append(&mut remote, &"dropped".repeat(200));
    assert_eq!(remote.held, held);
    let lost = remote.take_loss().unwrap();
    assert_eq!((lost.records, lost.error.as_str()), (before + 1, "connection refused"));
}

#[test]
fn fluentds_background_connection_waits_for_the_collector() {
    let (listener, endpoint) = listen();
    let Endpoint::Tcp(address) = endpoint else { unreachable!() };
    drop(listener);
    let told = Fluentd {
        tag: "t".into(),
        asynchronous: true,
        buffer_limit: 2,
        retry_wait: 1,
        max_retries: u32::MAX,
        ..Fluentd::default()
    };
    let mut remote = open(&fluentd(endpoint, told));
    for text in ["one", "two", "three"] {
        append(&mut remote, text);
    }
    assert_eq!(remote.loss().records, 1, "the buffer has room for two");
    drive(&mut remote, |remote| remote.failures > 1);
    let listener = TcpListener::bind(address).unwrap();
    drive(&mut remote, |remote| remote.is_empty());
    let mut received = Vec::new();
    let (mut peer, _) = listener.accept().unwrap();
    drop(remote);
    peer.read_to_end(&mut received).unwrap();
    let text = String::from_utf8_lossy(&received);
    assert!(text.contains("one") && text.contains("two") && !text.contains("three"), "{text}");
}

#[test]
fn an_event_counts_as_sent_when_it_is_acknowledged() {
    let (listener, endpoint) = listen();
    let told = Fluentd { request_ack: true, retry_wait: 1, max_retries: 9, ..Fluentd::default() };
    let mut remote = open(&fluentd(endpoint, told));
    append(&mut remote, "hello");
    let read = |peer: &mut TcpStream, remote: &mut Remote| {
        let mut event = vec![0; 1024];
        peer.set_nonblocking(true).unwrap();
        let mut count = 0;
        drive(remote, |_| {
            count = peer.read(&mut event).unwrap_or(0);
            count > 0
        });
        event.truncate(count);
        event
    };
    let (mut first, _) = listener.accept().unwrap();
    read(&mut first, &mut remote);
    assert!(!remote.is_empty());
    drop(first);
    listener.set_nonblocking(true).unwrap();
    let mut second = None;
    drive(&mut remote, |_| {
        second = second.take().or_else(|| listener.accept().ok());
        second.is_some()
    });
    let (mut second, _) = second.unwrap();
    let event = read(&mut second, &mut remote);
    let id = &event[event.len() - 32..];
    second.write_all(&[&b"\x81\xa3ack\xd9\x20"[..], id].concat()).unwrap();
    drive(&mut remote, |remote| remote.is_empty());
}

#[test]
fn the_journal_gets_large_records_in_a_file() {
    let dir = Directory::new("journal-socket");
    let path = dir.join("socket");
    let socket = UnixDatagram::bind(&path).unwrap();
    let told = Collector::Journald { fields: [("CONTAINER_TAG".to_owned(), "t".to_owned())].into() };
    let told = protocol::Remote {
        collector: told,
        endpoints: vec![Endpoint::Unixgram(path)],
        tls: None,
        buffer: None,
    };
    let mut remote = open(&told);
    append(&mut remote, "small");
    let large = "x".repeat(1 << 20);
    append(&mut remote, &large);
    drive(&mut remote, |remote| remote.is_empty());
    let mut bytes = vec![0; 4096];
    let mut files = Vec::new();
    let count = linux::fd::receive(&socket, &mut bytes, &mut files).unwrap();
    assert!(String::from_utf8_lossy(&bytes[..count]).contains("MESSAGE=small\n") && files.is_empty());
    let count = linux::fd::receive(&socket, &mut bytes, &mut files).unwrap();
    assert_eq!((count, files.len()), (0, 1));
    let mut text = String::new();
    let mut file = std::fs::File::from(files.remove(0));
    std::io::Seek::rewind(&mut file).unwrap();
    file.read_to_string(&mut text).unwrap();
    assert!(text.contains(&format!("MESSAGE={large}\n")) && text.ends_with("\n"), "{}", text.len());
}

/// A program in the place of `wharf-tls`: says what is in the file `refuse`, or takes everything in the order of its runs.
fn speaker(topic: &str) -> (Directory, protocol::Remote) {
    use std::os::unix::fs::PermissionsExt;
    let dir = Directory::new(topic);
    let program = dir.join("speaker");
    let script = "#!/bin/sh\ncd \"$(dirname \"$0\")\" || exit 1\necho \"$@\" >>calls\n\
        [ -e refuse ] && { cat refuse >&2; exit 1; }\nprintf + >&0\nexec cat >>received\n";
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o700)).unwrap();
    let tls = protocol::Tls {
        program,
        server: "logs.example".into(),
        authority: Some("/ca".into()),
        certificate: None,
        key: None,
        verify: false,
    };
    let endpoint = Endpoint::Tcp("127.0.0.1:6514".parse().unwrap());
    (dir, protocol::Remote { tls: Some(tls), ..syslog(endpoint, None) })
}

#[test]
fn somebody_else_speaks_tls_and_is_waited_for_when_it_ends() {
    let (dir, told) = speaker("speaks");
    let mut remote = open(&told);
    let received = || std::fs::read_to_string(dir.join("received")).unwrap_or_default();
    append(&mut remote, "one");
    drive(&mut remote, |remote| remote.is_empty() && received().ends_with("one\n"));
    let first = remote.link.children[0];
    assert!(remote.has_child(first));
    linux::process::kill(first, linux::signal::SIGKILL).unwrap();
    // An idle connection that ends leaves no zombie, though nothing is there to be sent.
    drive(&mut remote, |remote| remote.link.children.is_empty());
    assert_eq!(remote.wake_after(), None);
    append(&mut remote, "two");
    drive(&mut remote, |remote| remote.is_empty() && received().ends_with("two\n"));
    assert_eq!(texts(&received()), ["one", "two"]);
    assert_eq!(remote.take_loss(), None);
    let calls = std::fs::read_to_string(dir.join("calls")).unwrap();
    assert_eq!(calls, "127.0.0.1:6514 logs.example --ca /ca --skip-verify\n".repeat(2));
}

#[test]
fn why_there_is_no_tls_is_told_as_it_was_said() {
    let (dir, told) = speaker("refuses");
    let words = "tls: failed to verify certificate: x509: certificate signed by unknown authority";
    std::fs::write(dir.join("refuse"), words).unwrap();
    assert_eq!(Remote::open(&told).err().unwrap(), words);
    std::fs::remove_file(dir.join("refuse")).unwrap();
    let mut remote = open(&told);
    std::fs::write(dir.join("refuse"), words).unwrap();
    linux::process::kill(remote.link.children[0], linux::signal::SIGKILL).unwrap();
    drive(&mut remote, |remote| remote.failures > 0);
    append(&mut remote, "waits");
    drive(&mut remote, |remote| remote.failures > 1);
    remote.losses.add(1, 1);
    assert_eq!(remote.take_loss().unwrap().error, words);
    assert!(!remote.is_empty());

    let mut none = told;
    none.tls.as_mut().unwrap().program = dir.join("nobody");
    let refused = Remote::open(&none).err().unwrap();
    assert_eq!(refused, format!("{}: no such file or directory", dir.join("nobody").display()));
}
