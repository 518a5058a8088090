//! The table of rules beside those of others: what it leaves alone, what overrules it, and that it does not grow.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, AsRawFd};

use network::{Host, HostNames, Options, Transport};

use crate::world::*;

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
        // Not by other sets under the same names: a packet on its way through the rules of before would miss its port.
        let numbers = || {
            let listed = run("nft -a list sets") + &run("nft -a list maps");
            let numbers = listed.lines().filter(|line| line.contains("# handle")).map(str::to_owned);
            numbers.collect::<BTreeSet<_>>()
        };
        let sets = numbers();
        assert!(sets.iter().any(|line| line.contains("published4")), "{sets:?}");
        world.host.rebuild(&bridges, &published).unwrap();
        assert_eq!(numbers(), sets);
        // What somebody else put there goes, and what was lost comes back.
        run("nft add element inet wharf published4 { tcp . 99 : 172.30.0.9 . 99 }");
        run("nft flush chain inet wharf guard");
        run("nft add set inet wharf stray { type ipv4_addr ; }");
        world.host.rebuild(&bridges, &published).unwrap();
        assert_eq!(lines(), before);
        // A set of ours as another build may have had it.
        for chain in ["raw", "forward", "guard", "published", "postrouting"] {
            run(&format!("nft flush chain inet wharf {chain}"));
        }
        run("nft delete map inet wharf within");
        run("nft add set inet wharf within { type ipv4_addr ; }");
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
