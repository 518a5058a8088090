//! Starting, reloading, ending, and what survives a killed engine.

use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

use linux::process::Exit;
use linux::signal::{SIGHUP, SIGKILL, SIGTERM};

use crate::world::{Response, World, eventually, exchange};

#[test]
fn it_says_when_it_is_ready_and_leaves_nothing_behind() {
    let mut world = World::new();
    let notified = UnixDatagram::bind(world.directory.join("notify")).unwrap();
    world.start(&[], &[]);
    let mut buffer = [0; 64];
    let mut state = || {
        let count = notified.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..count]).into_owned()
    };
    assert_eq!(state(), "READY=1");
    assert_eq!(world.get("/_ping").status, 200);
    assert_eq!(std::fs::read_to_string(world.pid_file()).unwrap(), world.pid().to_string());
    world.signal(SIGHUP);
    assert!(state().starts_with("RELOADING=1\nMONOTONIC_USEC="));
    assert_eq!(state(), "READY=1");
    world.signal(SIGTERM);
    assert_eq!(state(), "STOPPING=1");
    assert_eq!(world.ended(), Exit::Code(0));
    assert!(!world.socket().exists() && !world.pid_file().exists());
}

#[test]
fn a_reload_is_all_or_nothing() {
    let world = World::started(&[]);
    let labels = |text: &str| world.get("/info").body.contains(text);
    std::fs::write(world.config_file(), r#"{"labels": ["colour=blue"]}"#).unwrap();
    world.signal(SIGHUP);
    eventually(|| labels(r#""Labels":["colour=blue"]"#).then_some(()), || world.log());
    std::fs::write(world.config_file(), r#"{"labels": ["colour=red"], "nonsense": 1}"#).unwrap();
    world.signal(SIGHUP);
    eventually(
        || world.log().contains("Error reloading configuration: it stays as it was").then_some(()),
        || world.log(),
    );
    assert!(labels(r#""Labels":["colour=blue"]"#));
}

#[test]
fn a_second_engine_on_the_same_roots_is_refused() {
    let world = World::started(&[]);
    let mut second = World::new();
    let roots = [("--data-root", "data"), ("--exec-root", "exec")];
    let roots = roots.map(|(flag, name)| format!("{flag}={}", world.directory.join(name).display()));
    second.start(&roots.each_ref().map(String::as_str), &[]);
    assert_eq!(second.ended(), Exit::Code(1));
    let told = format!("process with PID {} is still running", world.pid());
    assert!(second.log().contains(&told), "{}", second.log());
    assert_eq!(world.get("/_ping").status, 200);
}

#[test]
fn what_a_killed_engine_left_is_no_obstacle() {
    let mut world = World::started(&[]);
    world.signal(SIGKILL);
    assert_eq!(world.ended(), Exit::Signal(SIGKILL));
    assert!(world.socket().exists());
    world.start(&[], &[]);
    eventually(|| UnixStream::connect(world.socket()).ok().map(drop), || world.log());
    assert_eq!(world.get("/_ping").status, 200);
}

#[test]
fn sockets_are_taken_from_systemd() {
    let mut world = World::new();
    std::fs::create_dir_all(world.directory.join("exec")).unwrap();
    let unix = UnixListener::bind(world.socket()).unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap();
    world.start(&["-H", "fd://"], &[unix.as_fd(), tcp.as_fd()]);
    // Connections queue until somebody accepts them.
    assert_eq!(world.get("/_ping").body, "OK");
    let stream = std::net::TcpStream::connect(address).unwrap();
    let text = exchange(stream, b"GET /_ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert_eq!(Response::parse(&text).status, 200);
    world.signal(SIGTERM);
    assert_eq!(world.ended(), Exit::Code(0));
    assert!(world.socket().exists(), "it belongs to systemd");
}

#[test]
fn without_systemd_there_is_nothing_to_take() {
    let mut world = World::new();
    world.start(&["-H", "fd://"], &[]);
    assert_eq!(world.ended(), Exit::Code(1));
    assert!(world.log().contains("no sockets found via socket activation"), "{}", world.log());
}

#[test]
fn the_keeper_restarts_the_engine_behind_the_same_socket() {
    let mut world = World::started(&["--keep-socket"]);
    let engine =
        || eventually(|| std::fs::read_to_string(world.pid_file()).ok()?.parse::<i32>().ok(), || world.log());
    assert_eq!(world.get("/_ping").status, 200);
    let first = engine();
    assert_ne!(first, world.pid());
    linux::process::kill(first, SIGKILL).unwrap();
    // The connection queues while there is no engine.
    assert_eq!(world.get("/_ping").status, 200);
    assert_ne!(engine(), first);
    world.signal(SIGTERM);
    assert_eq!(world.ended(), Exit::Code(0));
    assert!(!world.socket().exists());
}

#[test]
fn the_keeper_does_not_insist_on_an_engine_that_refuses() {
    let mut world = World::new();
    std::fs::write(world.directory.join("data"), "a file in the way").unwrap();
    world.start(&["--keep-socket"], &[]);
    assert_eq!(world.ended(), Exit::Code(1));
}

#[test]
fn another_path_leads_to_the_socket() {
    let mut world = World::new();
    let link = world.directory.join("docker.sock");
    world.start(&["--docker-socket", link.to_str().unwrap()], &[]);
    let stream = eventually(|| UnixStream::connect(&link).ok(), || world.log());
    let text = exchange(stream, b"GET /_ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert_eq!(Response::parse(&text).status, 200);
    assert_eq!(std::fs::read_link(&link).unwrap(), world.socket());
}

#[test]
fn running_requests_end_with_the_engine() {
    let mut world = World::started(&[]);
    let events = UnixStream::connect(world.socket()).unwrap();
    std::io::Write::write_all(&mut &events, b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut byte = [0; 1];
    std::io::Read::read_exact(&mut &events, &mut byte).unwrap();
    world.signal(SIGTERM);
    assert_eq!(world.ended(), Exit::Code(0));
}
