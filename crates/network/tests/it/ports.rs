//! Host ports: held for containers, refused to others, and given back.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket};

use network::Transport;
use network::ports::{HostPorts, Request, Reserved, everywhere};

use crate::world::*;

fn request(ports: HostPorts) -> Request {
    Request { transport: Transport::Tcp, hosts: everywhere(true), ports, container_port: 80 }
}

fn exactly(port: u16) -> HostPorts {
    HostPorts::Within(port..=port)
}

fn numbers(reserved: &[Reserved]) -> Vec<u16> {
    reserved.iter().map(|one| one.host.port()).collect()
}

#[test]
fn a_held_port_is_refused_to_everybody() {
    on_a_host(|world| {
        let held = world.host.reserve(&[request(exactly(8080))]).unwrap();
        let hosts: Vec<IpAddr> = held.iter().map(|one| one.host.ip()).collect();
        assert_eq!(hosts, [IpAddr::from(Ipv4Addr::UNSPECIFIED), IpAddr::from(Ipv6Addr::UNSPECIFIED)]);
        assert_eq!(held.iter().map(Reserved::is_relayed).collect::<Vec<_>>(), [false, true]);
        for address in ["0.0.0.0:8080", "127.0.0.1:8080", "[::1]:8080"] {
            assert_eq!(
                TcpListener::bind(address).unwrap_err().kind(),
                std::io::ErrorKind::AddrInUse,
                "{address}"
            );
        }
        let refused = world.host.reserve(&[request(exactly(8080))]).unwrap_err();
        assert_eq!(refused.to_string(), "Bind for 0.0.0.0:8080 failed: port is already allocated");
        let mut elsewhere = request(exactly(8080));
        elsewhere.hosts = vec![Ipv4Addr::LOCALHOST.into()];
        let refused = world.host.reserve(&[elsewhere]).unwrap_err();
        assert_eq!(refused.to_string(), "Bind for 127.0.0.1:8080 failed: port is already allocated");

        held.iter().for_each(|one| world.host.release(one.transport, one.host));
        drop(held);
        given(|| world.host.reserve(&[request(exactly(8080))]));
    });
}

#[test]
fn a_port_of_somebody_else_is_refused_in_dockers_words() {
    on_a_host(|world| {
        let _tcp = TcpListener::bind("0.0.0.0:8080").unwrap();
        let _udp = UdpSocket::bind("0.0.0.0:8080").unwrap();
        let refused = world.host.reserve(&[request(exactly(8080))]).unwrap_err();
        assert_eq!(refused.to_string(), "failed to bind host port 0.0.0.0:8080/tcp: address already in use");
        let mut datagrams = request(exactly(8080));
        datagrams.transport = Transport::Udp;
        let refused = world.host.reserve(&[datagrams]).unwrap_err();
        assert_eq!(refused.to_string(), "failed to bind host port 0.0.0.0:8080/udp: address already in use");
        let mut foreign = request(exactly(80));
        foreign.hosts = vec!["203.0.113.77".parse().unwrap()];
        let refused = world.host.reserve(&[foreign]).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "failed to bind host port 203.0.113.77:80/tcp: cannot assign requested address"
        );
    });
}

#[test]
fn all_ports_or_none() {
    on_a_host(|world| {
        let _taken = TcpListener::bind("0.0.0.0:8081").unwrap();
        world.host.reserve(&[request(exactly(8080)), request(exactly(8081))]).unwrap_err();
        // The first was given back.
        given(|| world.host.reserve(&[request(exactly(8080))]));
    });
}

#[test]
fn ranges_give_the_first_free_port() {
    on_a_host(|world| {
        let _taken = TcpListener::bind("0.0.0.0:8000").unwrap();
        let _taken_too = TcpListener::bind("[::]:8001").unwrap();
        let held = world.host.reserve(&[request(HostPorts::Within(8000..=8003))]).unwrap();
        assert_eq!(numbers(&held), [8002, 8002], "both families have the same number");
        let more = world.host.reserve(&[request(HostPorts::Within(8000..=8003))]).unwrap();
        assert_eq!(numbers(&more), [8003, 8003]);
        let refused = world.host.reserve(&[request(HostPorts::Within(8000..=8003))]).unwrap_err();
        assert_eq!(refused.to_string(), "Bind for 0.0.0.0:8003 failed: port is already allocated");
    });
}

#[test]
fn random_ports_come_from_the_kernels_range() {
    on_a_host(|world| {
        std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", "40000 40004").unwrap();
        std::fs::write("/proc/sys/net/ipv4/ip_local_reserved_ports", "40001").unwrap();
        let _taken = TcpListener::bind("0.0.0.0:40002").unwrap();
        let held: Vec<Vec<Reserved>> =
            (0..3).map(|_| world.host.reserve(&[request(HostPorts::Any)]).unwrap()).collect();
        let ports: Vec<u16> = held.iter().map(|reserved| numbers(reserved)[0]).collect();
        assert_eq!(ports, [40000, 40003, 40004]);
        let refused = world.host.reserve(&[request(HostPorts::Any)]).unwrap_err();
        assert_eq!(refused.to_string(), "all ports are allocated");
        // One that was given back is found again, behind the last.
        world.host.release(Transport::Tcp, held[0][0].host);
        world.host.release(Transport::Tcp, held[0][1].host);
        drop(held);
        assert_eq!(numbers(&given(|| world.host.reserve(&[request(HostPorts::Any)]))), [40000, 40000]);
    });
}

#[test]
fn ports_of_running_containers_are_adopted() {
    on_a_host(|world| {
        world.host.adopt(Transport::Tcp, addr("0.0.0.0:8080"));
        let refused = world.host.reserve(&[request(exactly(8080))]).unwrap_err();
        assert_eq!(refused.to_string(), "Bind for 0.0.0.0:8080 failed: port is already allocated");
        world.host.release(Transport::Tcp, addr("0.0.0.0:8080"));
        world.host.reserve(&[request(exactly(8080))]).unwrap();
    });
}
