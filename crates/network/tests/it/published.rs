//! Who reaches a published port, from where and by which address.

use network::{Transport, relay::Relays};

use crate::world::*;

#[test]
fn a_published_port_is_reached_from_everywhere() {
    on_a_host(|world| {
        let bridge = bridge("wharf0", &["172.30.0.1/16"]);
        let other_bridge = self::bridge("wh-other", &["172.31.0.1/16"]);
        world.host.ensure_bridge(&bridge).unwrap();
        world.host.ensure_bridge(&other_bridge).unwrap();
        let container = world.container(&bridge, 2);
        let neighbour = world.container(&bridge, 3);
        let stranger = world.container(&other_bridge, 2);
        let _server = Server::tcp(Some(&container.namespace), "0.0.0.0:8080", "web");
        let published = world.publish(Transport::Tcp, "0.0.0.0:80", container.at(8080));

        let at_host = addr(&format!("{HOST}:80"));
        let says = |from: &str| Some(format!("web {from}"));
        assert_eq!(ask_tcp(Some(&world.outside), at_host), says(OUTSIDE), "the client's address is kept");
        assert_eq!(ask_tcp(None, at_host), says(HOST), "from the host, by its address");
        assert_eq!(ask_tcp(None, addr("127.0.0.1:80")), says("172.30.0.1"), "from the host, by 127.0.0.1");
        assert_eq!(
            ask_tcp(None, addr("127.0.0.7:80")),
            says("172.30.0.1"),
            "from the host, by another loopback"
        );
        let gateway = says("172.30.0.1");
        assert_eq!(ask_tcp(Some(&neighbour.namespace), at_host), gateway, "from a neighbour");
        assert_eq!(
            ask_tcp(Some(&neighbour.namespace), addr("172.30.0.1:80")),
            gateway,
            "by the gateway's address"
        );
        assert_eq!(ask_tcp(Some(&container.namespace), at_host), gateway, "from the container itself");
        assert_eq!(ask_tcp(Some(&stranger.namespace), at_host), gateway, "from another network");
        assert!(ask_tcp(None, container.at(8080)).is_some(), "the host reaches its containers directly");

        assert!(is_kept_off(Some(&world.outside), container.at(8080)), "not directly from outside");
        assert!(is_kept_off(Some(&stranger.namespace), container.at(8080)), "nor from another network");

        world.host.unpublish(&[published]).unwrap();
        assert!(is_kept_off(Some(&world.outside), at_host));
        world.host.unpublish(&[published]).unwrap();
    });
}

/// Without `br_netfilter` in the way, packets between ports of a bridge are nobody's business but the bridge's.
#[test]
fn hairpins_work_without_bridge_filtering() {
    on_a_host(|world| {
        // A kernel without br_netfilter lacks the setting, and is what this asks for.
        let _ = std::fs::write("/proc/sys/net/bridge/bridge-nf-call-iptables", "0");
        let bridge = bridge("wharf0", &["172.30.0.1/16"]);
        world.host.ensure_bridge(&bridge).unwrap();
        let container = world.container(&bridge, 2);
        let neighbour = world.container(&bridge, 3);
        let _server = Server::tcp(Some(&container.namespace), "0.0.0.0:8080", "web");
        world.publish(Transport::Tcp, "0.0.0.0:80", container.at(8080));
        for namespace in [&container.namespace, &neighbour.namespace] {
            let answer = ask_tcp(Some(namespace), addr(&format!("{HOST}:80")));
            assert_eq!(answer.as_deref(), Some("web 172.30.0.1"));
        }
        assert_eq!(
            ask_tcp(Some(&neighbour.namespace), container.at(8080)).as_deref(),
            Some("web 172.30.0.3")
        );
    });
}

#[test]
fn datagrams_are_published_and_old_flows_forgotten() {
    on_a_host(|world| {
        let bridge = bridge("wharf0", &["172.30.0.1/16"]);
        world.host.ensure_bridge(&bridge).unwrap();
        let container = world.container(&bridge, 2);
        let _server = Server::udp(Some(&container.namespace), "0.0.0.0:5353", "dns");
        // A client that keeps its socket, and began before the port was published.
        let client = inside(Some(&world.outside), || std::net::UdpSocket::bind("0.0.0.0:4000").unwrap());
        client.set_read_timeout(Some(std::time::Duration::from_millis(200))).unwrap();
        let at_host = addr(&format!("{HOST}:53"));
        client.send_to(b"early", at_host).unwrap();
        assert!(client.recv_from(&mut [0; 64]).is_err());

        world.publish(Transport::Udp, "0.0.0.0:53", container.at(5353));
        let mut answered = false;
        eventually("the client is answered", || {
            client.send_to(b"again", at_host).unwrap();
            answered |= client.recv_from(&mut [0; 64]).is_ok();
            answered
        });
        assert_eq!(ask_udp(None, addr("127.0.0.1:53")).as_deref(), Some("dns 172.30.0.1"));
    });
}

#[test]
fn a_port_on_loopback_stays_there() {
    on_a_host(|world| {
        let bridge = bridge("wharf0", &["172.30.0.1/16"]);
        world.host.ensure_bridge(&bridge).unwrap();
        let container = world.container(&bridge, 2);
        let _server = Server::tcp(Some(&container.namespace), "0.0.0.0:8080", "web");
        world.publish(Transport::Tcp, "127.0.0.1:80", container.at(8080));
        // And something of the host's own that trusts its loopback.
        let _own = Server::tcp(None, "127.0.0.1:81", "own");
        assert_eq!(ask_tcp(None, addr("127.0.0.1:80")).as_deref(), Some("web 172.30.0.1"));
        assert_eq!(ask_tcp(None, addr("127.0.0.1:81")).as_deref(), Some("own 127.0.0.1"));
        assert!(is_kept_off(Some(&world.outside), addr(&format!("{HOST}:80"))));

        // A neighbour that sends packets for 127.0.0.1 by wire.
        let intruder = world.container(&bridge, 3);
        for (namespace, gateway) in [(&world.outside, HOST), (&intruder.namespace, "172.30.0.1")] {
            outside_does(namespace, "sysctl -qw net.ipv4.conf.eth0.route_localnet=1");
            outside_does(namespace, "ip address del 127.0.0.1/8 dev lo");
            outside_does(namespace, &format!("ip route add 127.0.0.1/32 via {gateway} dev eth0"));
            assert!(is_kept_off(Some(namespace), addr("127.0.0.1:80")));
            assert!(is_kept_off(Some(namespace), addr("127.0.0.1:81")));
        }
        // It is the table that keeps them off, and nothing else.
        run("nft flush chain inet wharf raw");
        assert!(ask_tcp(Some(&world.outside), addr("127.0.0.1:80")).is_some());
        assert!(ask_tcp(Some(&intruder.namespace), addr("127.0.0.1:81")).is_some());
    });
}

#[test]
fn ipv6_clients_of_an_ipv4_container_are_relayed() {
    on_a_host(|world| {
        let bridge = bridge("wharf0", &["172.30.0.1/16"]);
        world.host.ensure_bridge(&bridge).unwrap();
        let container = world.container(&bridge, 2);
        let _tcp = Server::tcp(Some(&container.namespace), "0.0.0.0:8080", "web");
        let _udp = Server::udp(Some(&container.namespace), "0.0.0.0:8080", "web");
        let mut relays = Relays::new().unwrap();
        for transport in [Transport::Tcp, Transport::Udp] {
            let socket = linux::inet::bind(transport, addr("[::]:80")).unwrap();
            relays.add(socket, transport, container.at(8080)).unwrap();
        }
        // Connections are made by whoever serves, so that has to be on this host.
        let relaying = Server::serve(move || relays.ready());
        assert_eq!(ask_tcp(None, addr("[::1]:80")).as_deref(), Some("web 172.30.0.1"));
        assert_eq!(ask_udp(None, addr("[::1]:80")).as_deref(), Some("web 172.30.0.1"));
        assert_eq!(
            ask_tcp(Some(&world.outside), addr("[2001:db8::1]:80")).as_deref(),
            Some("web 172.30.0.1")
        );
        drop(relaying);
    });
}

#[test]
fn ipv6_networks_are_published_and_masqueraded() {
    on_a_host(|world| {
        let bridge = bridge("wharf0", &["172.30.0.1/16", "fd00:30::1/64"]);
        world.host.ensure_bridge(&bridge).unwrap();
        let container = world.container(&bridge, 2);
        let neighbour = world.container(&bridge, 3);
        let _web = Server::tcp(Some(&container.namespace), "[::]:8080", "web");
        let _outside = Server::tcp(Some(&world.outside), "[::]:80", "outside");
        let target = addr("[fd00:30::2]:8080");
        world.publish(Transport::Tcp, "[::]:80", target);
        let at_host = addr("[2001:db8::1]:80");
        assert_eq!(ask_tcp(Some(&world.outside), at_host).as_deref(), Some("web 2001:db8::2"));
        assert_eq!(ask_tcp(None, at_host).as_deref(), Some("web 2001:db8::1"));
        assert_eq!(ask_tcp(Some(&neighbour.namespace), at_host).as_deref(), Some("web fd00:30::1"));
        assert_eq!(ask_tcp(Some(&neighbour.namespace), target).as_deref(), Some("web fd00:30::3"));
        let out = ask_tcp(Some(&container.namespace), addr("[2001:db8::2]:80"));
        assert_eq!(out.as_deref(), Some("outside 2001:db8::1"));
        assert!(is_kept_off(Some(&world.outside), target));
    });
}
