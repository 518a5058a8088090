//! Who reaches whom: containers, the host and what is outside.

use network::{Entry, Host, HostNames, Options, Published, Transport};

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
