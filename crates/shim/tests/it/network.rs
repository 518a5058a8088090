//! Ports, relays and names that belong to a container and not to an engine.

use std::io::{Read, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};

use linux::inet::{self, Transport};
use shim::protocol::*;

use crate::world::*;

#[test]
fn ports_are_held_and_relayed_through_restarts_until_the_end() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = server.local_addr().unwrap();
    let held = inet::bind(Transport::Tcp, "127.0.0.1:0".parse().unwrap()).unwrap();
    let relayed = inet::bind(Transport::Tcp, (Ipv6Addr::LOCALHOST, 0).into()).unwrap();
    let address = |socket: &std::os::fd::OwnedFd| -> SocketAddr {
        TcpListener::from(socket.try_clone().unwrap()).local_addr().unwrap()
    };
    let (held_at, relayed_at) = (address(&held), address(&relayed));

    let mut world = world("read line; exit 1");
    world.launch.stdin = Stdin::Open;
    world.launch.restart = RestartPolicy::OnFailure { max_retries: 1 };
    let relay = Relay { protocol: "tcp".to_owned(), target };
    world.launch.network = Some(Network { held_sockets: 1, relays: vec![relay], ..Network::default() });
    world.try_start(vec![held, relayed]).unwrap();

    let ask = || {
        let mut client = TcpStream::connect(relayed_at).unwrap();
        let (mut served, _) = server.accept().unwrap();
        served.write_all(b"served").unwrap();
        drop(served);
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        assert_eq!(text, "served");
    };
    let end_once = |world: &World| {
        let (_, mut client) = world.ask_with_socket(Request::Attach(Attachment { stdin: true, ..outputs() }));
        type_in(&mut client, b"\n");
        assert_eq!(read_text(&mut client), "");
    };
    ask();
    end_once(&world);
    world.event(|what| matches!(what, Happening::Started { restart_count: 1, .. }).then_some(()));
    ask();
    assert!(inet::bind(Transport::Tcp, held_at).is_err(), "the port is taken");
    end_once(&world);
    world.exit();
    inet::bind(Transport::Tcp, held_at).unwrap();
    assert!(TcpStream::connect(relayed_at).is_err());
    world.release();
}

#[test]
fn names_are_answered_without_an_engine_and_withdrawn_at_the_end() {
    let mut world = world("cat /etc/resolv.conf; nslookup db; nslookup nobody");
    let root = world.dir.join("root");
    std::fs::create_dir_all(root.join("etc")).unwrap();
    std::fs::write(root.join("etc/resolv.conf"), "nameserver 127.0.0.11\n").unwrap();
    std::os::unix::fs::symlink("busybox", root.join("bin/nslookup")).unwrap();
    let directory = world.dir.join("names");
    let entry = |name: &str, address: &str| network::names::Entry {
        network: "backend".to_owned(),
        name: name.to_owned(),
        names: vec![name.to_owned()],
        addresses: vec![address.parse().unwrap()],
    };
    let own = directory.join("own");
    entry("db", "10.9.8.7").write(&directory.join("db")).unwrap();
    entry("me", "10.9.8.6").write(&own).unwrap();

    let namespace = network::namespace::Namespace::create().unwrap().into_fd();
    // The engine's namespace is joined, not a new one made.
    let linux = world.launch.spec.linux.as_mut().unwrap();
    linux.namespaces.retain(|namespace| namespace.kind != oci::runtime::NamespaceKind::Network);
    let names = Names { directories: vec![directory.clone()], own: vec![own.clone()], ..Names::default() };
    world.launch.network = Some(Network { namespace: true, names: Some(names), ..Network::default() });
    world.try_start(vec![namespace]).unwrap();
    world.exit();
    let text = world.all_logs();
    assert!(text.contains("10.9.8.7"), "{text}");
    assert!(
        text.contains("can't resolve") || text.contains("NXDOMAIN") || text.contains("SERVFAIL"),
        "{text}"
    );
    assert!(!own.exists());
    assert!(directory.join("db").exists());
    world.release();
}
