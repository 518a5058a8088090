//! Who reaches whom.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, AsRawFd};

use network::{Entry, Host, HostNames, Options, Published, Transport, relay::Relays};

use crate::world::*;

#[test]
fn containers_reach_out_with_the_hosts_address() {
    on_a_host(|world| {
        let bridge = bridge("wharf0", &["172.30.0.1/16"]);
        world.host.ensure_bridge(&bridge).unwrap();
        let container = world.container(&bridge, 2);
        let _tcp = Server::tcp(Some(&world.outside), "0.0.0.0:80", "outside");
        let _udp = Server::udp(Some(&world.outside), "0.0.0.0:53", "outside");
        let expected = Some(format!("outside {HOST}"));
        assert_eq!(ask_tcp(Some(&container.namespace), addr(&format!("{OUTSIDE}:80"))), expected);
        assert_eq!(ask_udp(Some(&container.namespace), addr(&format!("{OUTSIDE}:53"))), expected);
    });
}

#[test]
fn a_chosen_source_address_is_taken() {
    on_a_host(|world| {
        run("ip address add 198.51.100.9/24 dev up0");
        let mut bridge = bridge("wharf0", &["172.30.0.1/16"]);
        bridge.rules.source = vec!["198.51.100.9".parse().unwrap()];
        world.host.ensure_bridge(&bridge).unwrap();
        let container = world.container(&bridge, 2);
        let _server = Server::tcp(Some(&world.outside), "0.0.0.0:80", "outside");
        let answer = ask_tcp(Some(&container.namespace), addr(&format!("{OUTSIDE}:80")));
        assert_eq!(answer.as_deref(), Some("outside 198.51.100.9"));
    });
}

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

#[test]
fn containers_may_be_kept_from_each_other() {
    for filtered in ["1", "0"] {
        on_a_host(move |world| {
            let _ = std::fs::write("/proc/sys/net/bridge/bridge-nf-call-iptables", filtered);
            let mut bridge = bridge("wh-apart", &["172.30.0.1/16"]);
            bridge.rules.icc = false;
            world.host.ensure_bridge(&bridge).unwrap();
            let one = world.container(&bridge, 2);
            let other = world.container(&bridge, 3);
            let _one = Server::tcp(Some(&one.namespace), "0.0.0.0:80", "one");
            let _outside = Server::tcp(Some(&world.outside), "0.0.0.0:80", "outside");
            assert!(is_kept_off(Some(&other.namespace), one.at(80)));
            assert!(ask_tcp(Some(&other.namespace), addr(&format!("{OUTSIDE}:80"))).is_some());
            // What is published is for everybody.
            world.publish(Transport::Tcp, "0.0.0.0:8080", one.at(80));
            assert!(ask_tcp(Some(&other.namespace), addr(&format!("{HOST}:8080"))).is_some());
        });
    }
}

#[test]
fn internal_networks_lead_nowhere() {
    on_a_host(|world| {
        let mut bridge = bridge("wh-internal", &["172.30.0.1/16"]);
        bridge.rules.internal = true;
        let open = self::bridge("wh-open", &["172.31.0.1/16"]);
        world.host.ensure_bridge(&bridge).unwrap();
        world.host.ensure_bridge(&open).unwrap();
        let one = world.container(&bridge, 2);
        let other = world.container(&bridge, 3);
        let elsewhere = world.container(&open, 2);
        let _one = Server::tcp(Some(&one.namespace), "0.0.0.0:80", "one");
        let _elsewhere = Server::tcp(Some(&elsewhere.namespace), "0.0.0.0:80", "elsewhere");
        let _outside = Server::tcp(Some(&world.outside), "0.0.0.0:80", "outside");
        world.publish(Transport::Tcp, "0.0.0.0:8080", elsewhere.at(80));
        assert!(ask_tcp(Some(&other.namespace), one.at(80)).is_some());
        // Even if it finds a way to the gateway.
        outside_does(&one.namespace, "ip route add default via 172.30.0.1");
        assert!(is_kept_off(Some(&one.namespace), addr(&format!("{OUTSIDE}:80"))));
        assert!(is_kept_off(Some(&one.namespace), elsewhere.at(80)));
        assert!(is_kept_off(Some(&one.namespace), addr("172.30.0.1:8080")));
        assert!(is_kept_off(Some(&elsewhere.namespace), one.at(80)));
    });
}

/// Pings once from a namespace.
fn answers_pings(namespace: &network::Namespace, address: &str) -> bool {
    let done = inside(Some(namespace), || {
        let ping = std::process::Command::new("busybox").args(["ping", "-c1", "-W1", address]).output();
        ping.expect("busybox (package busybox-static) runs")
    });
    done.status.success()
}

#[test]
fn routed_networks_are_reached_at_their_own_addresses() {
    on_a_host(|world| {
        let mut bridge = bridge("wh-routed", &["172.30.0.1/16"]);
        bridge.rules.entry = Entry::Routed;
        world.host.ensure_bridge(&bridge).unwrap();
        let container = world.container(&bridge, 2);
        let closed = self::bridge("wh-closed", &["172.31.0.1/16"]);
        world.host.ensure_bridge(&closed).unwrap();
        let neighbour = world.container(&closed, 2);
        for way in ["172.30.0.0/16", "172.31.0.0/16"] {
            outside_does(&world.outside, &format!("ip route add {way} via {HOST}"));
        }
        let _published = Server::tcp(Some(&container.namespace), "0.0.0.0:80", "routed");
        let _other = Server::tcp(Some(&container.namespace), "0.0.0.0:81", "kept");
        let _outside = Server::tcp(Some(&world.outside), "0.0.0.0:80", "outside");
        let direct = Published { transport: Transport::Tcp, host: None, target: container.at(80) };
        assert!(is_kept_off(Some(&world.outside), container.at(80)), "not before it is published");
        world.host.publish(&[direct]).unwrap();
        assert_eq!(ask_tcp(Some(&world.outside), container.at(80)), Some(format!("routed {OUTSIDE}")));
        assert!(ask_tcp(Some(&neighbour.namespace), container.at(80)).is_some(), "from another network");
        assert!(is_kept_off(Some(&world.outside), container.at(81)), "what is not published");
        let outside = addr(&format!("{OUTSIDE}:80"));
        assert_eq!(
            ask_tcp(Some(&container.namespace), outside),
            Some(format!("outside {}", container.v4())),
            "nothing is translated on the way out"
        );
        assert!(answers_pings(&world.outside, &container.v4().to_string()));
        assert!(!answers_pings(&world.outside, &neighbour.v4().to_string()), "closed networks are not seen");
        world.host.unpublish(&[direct]).unwrap();
        assert!(is_kept_off(Some(&world.outside), container.at(80)), "nor after");
    });
}

#[test]
fn an_open_network_is_reached_whole() {
    on_a_host(|world| {
        let mut bridge = bridge("wh-open", &["172.30.0.1/16"]);
        bridge.rules.entry = Entry::Open;
        world.host.ensure_bridge(&bridge).unwrap();
        let container = world.container(&bridge, 2);
        outside_does(&world.outside, &format!("ip route add 172.30.0.0/16 via {HOST}"));
        let _server = Server::tcp(Some(&container.namespace), "0.0.0.0:81", "open");
        let _outside = Server::tcp(Some(&world.outside), "0.0.0.0:80", "outside");
        assert_eq!(ask_tcp(Some(&world.outside), container.at(81)), Some(format!("open {OUTSIDE}")));
        let out = ask_tcp(Some(&container.namespace), addr(&format!("{OUTSIDE}:80")));
        assert_eq!(out, Some(format!("outside {HOST}")), "what leaves takes the host's address");
        bridge.rules.internal = true;
        world.host.rebuild(std::slice::from_ref(&bridge), &[]).unwrap();
        assert!(is_kept_off(Some(&world.outside), container.at(81)), "internal networks are never open");
    });
}

#[test]
fn a_policy_of_iptables_does_not_cut_containers_off() {
    on_a_host(|world| {
        run("iptables -P FORWARD DROP");
        let bridge = bridge("wharf0", &["172.30.0.1/16"]);
        let _outside = Server::tcp(Some(&world.outside), "0.0.0.0:80", "outside");
        assert!(world.host.ensure_bridge(&bridge).unwrap().is_empty(), "nothing to warn of");
        let container = world.container(&bridge, 2);
        let out = addr(&format!("{OUTSIDE}:80"));
        assert!(ask_tcp(Some(&container.namespace), out).is_some());
        // As iptables itself tells it, once per bridge and direction however often it is set up.
        world.host.ensure_bridge(&bridge).unwrap();
        let rules =
            |chain: &str| run(&format!("iptables -S {chain}")).matches("\"wharf wharf0\" -j ACCEPT").count();
        assert_eq!(rules("FORWARD"), 2, "{}", run("iptables -S FORWARD"));

        // Docker's chain is preferred, where there is one.
        run("iptables -F FORWARD");
        run("iptables -N DOCKER-USER");
        run("iptables -A FORWARD -j DOCKER-USER");
        assert!(is_kept_off(Some(&container.namespace), out));
        world.host.rebuild(std::slice::from_ref(&bridge), &[]).unwrap();
        assert_eq!((rules("DOCKER-USER"), rules("FORWARD")), (2, 0));
        assert!(ask_tcp(Some(&container.namespace), out).is_some());
        world.host.remove_bridge(&bridge.rules).unwrap();
        assert_eq!(rules("DOCKER-USER"), 0);
    });
}

#[test]
fn another_table_that_drops_is_named() {
    on_a_host(|world| {
        run("nft add table inet firewalld");
        run(
            "nft add chain inet firewalld filter_FORWARD { type filter hook forward priority 10 ; policy drop ; }",
        );
        let warnings = world.host.ensure_bridge(&bridge("wharf0", &["172.30.0.1/16"])).unwrap();
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].contains("inet firewalld filter_FORWARD"), "{warnings:?}");
    });
}

#[test]
fn the_administrators_chain_comes_first_and_stays() {
    on_a_host(|world| {
        let bridge = bridge("wharf0", &["172.30.0.1/16"]);
        world.host.ensure_bridge(&bridge).unwrap();
        let container = world.container(&bridge, 2);
        let _server = Server::tcp(Some(&container.namespace), "0.0.0.0:80", "web");
        let published = world.publish(Transport::Tcp, "0.0.0.0:80", container.at(80));
        let at_host = addr(&format!("{HOST}:80"));
        assert!(ask_tcp(Some(&world.outside), at_host).is_some());
        run(&format!("nft add rule inet wharf user ip saddr {OUTSIDE} drop"));
        assert!(is_kept_off(Some(&world.outside), at_host));

        world.host.rebuild(std::slice::from_ref(&bridge), &[published]).unwrap();
        assert!(is_kept_off(Some(&world.outside), at_host));
        run("nft flush chain inet wharf user");
        assert!(ask_tcp(Some(&world.outside), at_host).is_some());
    });
}

#[test]
fn rebuilding_gives_the_same_table_whatever_was_there() {
    on_a_host(|world| {
        let bridges =
            [bridge("wharf0", &["172.30.0.1/16", "fd00:30::1/64"]), bridge("wh-b", &["172.31.0.1/16"])];
        for bridge in &bridges {
            world.host.ensure_bridge(bridge).unwrap();
        }
        let published = [
            world.publish(Transport::Tcp, "0.0.0.0:80", addr("172.30.0.2:80")),
            world.publish(Transport::Udp, "127.0.0.1:53", addr("172.30.0.2:53")),
            world.publish(Transport::Tcp, "[::]:80", addr("[fd00:30::2]:80")),
        ];
        let lines = || {
            let table = run("nft list table inet wharf");
            let counters = |line: &str| line.split(" packets ").next().unwrap().to_owned();
            let lines: Vec<String> = table.lines().map(counters).collect();
            let unordered: BTreeSet<String> = lines.iter().map(|line| line.trim().to_owned()).collect();
            (lines.len(), unordered)
        };
        let before = lines();
        let listed = run("nft list set inet wharf bridges");
        assert!(listed.contains("\"wharf0\""), "{listed}");
        world.host.rebuild(&bridges, &published).unwrap();
        assert_eq!(lines(), before);
        // What somebody else put there goes, and what was lost comes back.
        run("nft add element inet wharf published4 { tcp . 99 : 172.30.0.9 . 99 }");
        run("nft flush chain inet wharf guard");
        run("nft add set inet wharf stray { type ipv4_addr ; }");
        world.host.rebuild(&bridges, &published).unwrap();
        assert_eq!(lines(), before);
    });
}

#[test]
fn rules_do_not_grow_with_ports_or_bridges() {
    on_a_host(|world| {
        let rules = || {
            let mut socket = linux::nftables::open().unwrap();
            let chains = linux::nftables::chains(&mut socket).unwrap();
            let own: Vec<_> = chains.into_iter().filter(|chain| chain.table == "wharf").collect();
            assert!(!own.is_empty());
            own.iter()
                .map(|chain| {
                    linux::nftables::rules(&mut socket, chain.family, &chain.table, &chain.name)
                        .unwrap()
                        .len()
                })
                .sum::<usize>()
        };
        let before = rules();
        for number in 0..20u8 {
            let name = format!("wh-{number}");
            world.host.ensure_bridge(&bridge(&name, &[&format!("10.{number}.0.1/16")])).unwrap();
        }
        let many: Vec<_> = (1..3000u16)
            .map(|port| network::Published {
                transport: Transport::Tcp,
                host: Some(([0, 0, 0, 0], port).into()),
                target: ([10, 1, 0, 2], port).into(),
            })
            .collect();
        world.host.publish(&many).unwrap();
        assert_eq!(rules(), before);
        let count = || {
            let mut socket = linux::nftables::open().unwrap();
            let family = linux::nftables::TableFamily::Inet;
            linux::nftables::element_count(&mut socket, family, "wharf", "published4").unwrap()
        };
        assert_eq!(count(), many.len());
        world.host.unpublish(&many).unwrap();
        assert_eq!(count(), 0);
    });
}

#[test]
fn two_engines_do_not_meet() {
    on_a_host(|world| {
        let other =
            Host::open(HostNames::for_runtime_root("/run/second".as_ref()), Options::default()).unwrap();
        other.rebuild(&[], &[]).unwrap();
        let bridge = bridge(&world.host.names().default_bridge, &["172.30.0.1/16"]);
        let other_bridge = self::bridge(&other.names().default_bridge, &["172.31.0.1/16"]);
        world.host.ensure_bridge(&bridge).unwrap();
        other.ensure_bridge(&other_bridge).unwrap();
        let container = world.container(&bridge, 2);
        let stranger = World { host: other, outside: network::Namespace::create().unwrap() };
        let theirs = stranger.container(&other_bridge, 2);
        let _server = Server::tcp(Some(&theirs.namespace), "0.0.0.0:80", "theirs");
        stranger.publish(Transport::Tcp, "0.0.0.0:80", theirs.at(80));
        assert!(ask_tcp(Some(&world.outside), addr(&format!("{HOST}:80"))).is_some());
        assert!(ask_tcp(Some(&container.namespace), addr(&format!("{HOST}:80"))).is_some());
        assert!(is_kept_off(Some(&container.namespace), theirs.at(80)));
        // One goes, with everything of its own and nothing of the other's.
        world.host.remove_strays(&[]).unwrap();
        world.host.remove_all(&[]).unwrap();
        assert!(!run("ip -o link").contains("wharf0"));
        assert!(!run("nft list tables").contains("inet wharf\n"));
        assert!(ask_tcp(Some(&world.outside), addr(&format!("{HOST}:80"))).is_some());
    });
}

#[test]
fn other_forwarding_stays_off_when_it_was_off() {
    on_a_host(|world| {
        // Another machine, joined to the one outside by this host only.
        let side = network::Namespace::create().unwrap();
        let path = format!("/proc/{}/fd/{}", std::process::id(), side.as_fd().as_raw_fd());
        run(&format!("ip link add side0 type veth peer name eth0 netns {path}"));
        run("ip address add 203.0.113.1/24 dev side0");
        run("ip link set side0 up");
        outside_does(&side, "ip address add 203.0.113.2/24 dev eth0");
        outside_does(&side, "ip link set eth0 up");
        outside_does(&side, "ip route add default via 203.0.113.1");
        let _server = Server::tcp(Some(&side), "0.0.0.0:80", "side");
        assert_eq!(std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap().trim(), "0");
        world.host.ensure_bridge(&bridge("wharf0", &["172.30.0.1/16"])).unwrap();
        assert_eq!(std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap().trim(), "1");
        let table = run("nft list chain inet wharf forward");
        assert!(table.contains("policy drop"), "{table}");
        // It stays so when the engine comes back and finds forwarding on.
        world.host.rebuild(&[bridge("wharf0", &["172.30.0.1/16"])], &[]).unwrap();
        assert!(run("nft list chain inet wharf forward").contains("policy drop"));
        assert!(is_kept_off(Some(&world.outside), addr("203.0.113.2:80")));
        // Somebody who wants it says so.
        run("nft flush ruleset");
        world.host.rebuild(&[bridge("wharf0", &["172.30.0.1/16"])], &[]).unwrap();
        assert!(ask_tcp(Some(&world.outside), addr("203.0.113.2:80")).is_some());
    });
}

#[test]
fn interfaces_go_with_their_namespace_and_addresses_are_free_at_once() {
    on_a_host(|world| {
        let bridge = bridge("wharf0", &["172.30.0.1/16"]);
        world.host.ensure_bridge(&bridge).unwrap();
        let client = world.container(&bridge, 9);
        let veths = || run("ip -o link").matches("vwharf").count();
        for _ in 0..20 {
            let container = world.container(&bridge, 2);
            let server = Server::tcp(Some(&container.namespace), "0.0.0.0:80", "web");
            assert!(ask_tcp(Some(&client.namespace), container.at(80)).is_some());
            drop(server);
            world.host.detach(&container.attached).unwrap();
            drop(container);
        }
        eventually("the veths of ended containers are gone", || veths() == 1);
        // Those of a crash, whose namespace lives on somewhere, are removed by name.
        let lost = world.container(&bridge, 3);
        world.host.remove_strays(std::slice::from_ref(&client.attached)).unwrap();
        assert_eq!(veths(), 1);
        drop(lost);
    });
}

#[test]
fn a_running_container_changes_networks() {
    on_a_host(|world| {
        let first = bridge("wharf0", &["172.30.0.1/16"]);
        let second = bridge("wh-second", &["172.31.0.1/16"]);
        world.host.ensure_bridge(&first).unwrap();
        world.host.ensure_bridge(&second).unwrap();
        let container = world.container(&first, 2);
        let neighbour = world.container(&second, 3);
        let _server = Server::tcp(Some(&neighbour.namespace), "0.0.0.0:80", "neighbour");
        let _outside = Server::tcp(Some(&world.outside), "0.0.0.0:80", "outside");
        assert!(is_kept_off(Some(&container.namespace), neighbour.at(80)));

        let mut more = endpoint(&second, 2);
        more.interface = "eth1".into();
        more.gateways = Vec::new();
        let fd = linux::fd::duplicate(&container.namespace).unwrap();
        let namespace = network::Namespace::of(fd).unwrap();
        let attached = world.host.attach(&namespace, &more).unwrap();
        let from_second = Some("neighbour 172.31.0.2".to_owned());
        assert_eq!(ask_tcp(Some(&container.namespace), neighbour.at(80)), from_second);

        world.host.disconnect(&container.attached).unwrap();
        let out = addr(&format!("{OUTSIDE}:80"));
        assert!(is_kept_off(Some(&container.namespace), out), "the default route went with the interface");
        let way = ("172.31.0.1".parse().unwrap(), "eth1");
        world.host.set_default_route(&namespace, false, Some(way)).unwrap();
        assert!(ask_tcp(Some(&container.namespace), out).is_some());
        world.host.set_default_route(&namespace, false, None).unwrap();
        world.host.set_default_route(&namespace, true, None).unwrap();
        assert!(is_kept_off(Some(&container.namespace), out));
        world.host.disconnect(&attached).unwrap();
        world.host.disconnect(&attached).unwrap();
    });
}

/// Who listens for the engine's clients is met by the host and from outside, and from no bridge by whatever address.
#[test]
fn closed_ports_are_not_for_containers() {
    on_a_host(|world| {
        let closed = ["0.0.0.0:2375", "[::]:2376", "198.51.100.1:2377"].map(addr).to_vec();
        let options = Options { closed, ..Options::default() };
        let host = Host::open(HostNames::for_runtime_root("/run/wharf".as_ref()), options).unwrap();
        let bridge = bridge("wharf0", &["172.30.0.1/16", "fd00:30::1/64"]);
        let foreign = self::bridge("wh0123abcd", &["172.31.0.1/16"]);
        host.rebuild(std::slice::from_ref(&bridge), &[]).unwrap();
        host.ensure_bridge(&bridge).unwrap();
        // Another engine's: this one makes the bridge, and forgets it.
        host.ensure_bridge(&foreign).unwrap();
        host.rebuild(std::slice::from_ref(&bridge), &[]).unwrap();
        let [container, stranger] = [(&bridge, 2), (&foreign, 2)].map(|(on, n)| world.container(on, n));
        let _servers = ["0.0.0.0:2375", "[::]:2376", "198.51.100.1:2377", "172.30.0.1:2377", "0.0.0.0:2378"]
            .map(|at| Server::tcp(None, at, "host"));

        let inside = Some(&container.namespace);
        for at in [
            "172.30.0.1:2375",
            "198.51.100.1:2375",
            "172.30.0.1:2376",
            "198.51.100.1:2376",
            "[fd00:30::1]:2376",
            "[2001:db8::1]:2376",
            "198.51.100.1:2377",
        ] {
            assert!(is_kept_off(inside, addr(at)), "{at}");
            assert!(ask_tcp(None, addr(at)).is_some(), "the host reaches {at}");
        }
        assert!(is_kept_off(Some(&stranger.namespace), addr("172.31.0.1:2375")));
        for at in ["198.51.100.1:2375", "198.51.100.1:2376", "[2001:db8::1]:2376", "198.51.100.1:2377"] {
            assert!(ask_tcp(Some(&world.outside), addr(at)).is_some(), "{at} from outside");
        }
        // Other ports, and the same one where the engine does not listen.
        for at in ["172.30.0.1:2378", "172.30.0.1:2377"] {
            assert!(ask_tcp(inside, addr(at)).is_some(), "{at}");
        }
        assert!(ask_tcp(Some(&stranger.namespace), addr("172.31.0.1:2378")).is_some());

        // A published port of the same number, where the engine's is taken at one address only.
        world.publish(Transport::Tcp, "203.0.113.9:2377", container.at(80));
        let _web = Server::tcp(inside, "0.0.0.0:80", "web");
        run("ip address add 203.0.113.9/32 dev lo");
        assert_eq!(ask_tcp(inside, addr("203.0.113.9:2377")).as_deref(), Some("web 172.30.0.1"));
    });
}
