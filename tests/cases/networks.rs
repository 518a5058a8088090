//! Addresses, ports and names, with packets.

mod names;
mod ports;

use blackbox::{Client, Host, IMAGE, World, eventually};

/// A web server in a container; its page says "hello from inside".
const SERVER: [&str; 5] = ["httpd", "-f", "-p", "80", "-h/www"];

fn serve(client: &Client<'_>, flags: &[&str]) {
    client.run(&[&["run", "-d"], flags, &[IMAGE], &SERVER].concat()).ok();
}

fn fetch(host: &Host, url: &str) -> String {
    eventually(url, || {
        let output = host.try_run(&["curl", "-gsS", "-m", "5", url]);
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    })
}

#[test]
fn none_host_and_shared_namespaces() {
    let world = World::start();
    for client in world.clients() {
        let interfaces = |network: &str| {
            let output = client.run(&["run", "--rm", "--network", network, IMAGE, "ls", "/sys/class/net"]);
            output.ok()
        };
        assert_eq!(interfaces("none"), "lo");
        assert!(interfaces("host").contains("wh"), "the host's bridge is seen");
        serve(&client, &["--name", "server"]);
        let fetch =
            ["run", "--rm", "--network", "container:server", IMAGE, "wget", "-qO-", "http://127.0.0.1/"];
        let page = eventually("the server", || Some(client.run(&fetch)).filter(|output| output.code == 0));
        assert_eq!(page.ok(), "hello from inside");
        world.tidy();
    }
}

#[test]
fn the_networks_that_are_named_are_all() {
    let world = World::start();
    world.docker(&["network", "create", "--internal", "inside"]).ok();
    let ask = |path: &str, body: &str| {
        let url = format!("http://localhost{path}");
        let socket = world.socket();
        let words =
            ["curl", "-s", "--unix-socket", socket.to_str().unwrap(), "-H", "Content-Type: application/json"];
        let output = world.host().try_run(&[&words[..], &["-d", body, &url]].concat());
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    for mode in ["", "default", "bridge", "none"] {
        let body = format!(
            r#"{{"Image":"{IMAGE}","Cmd":["sleep","1000"],"HostConfig":{{"NetworkMode":"{mode}"}},
                "NetworkingConfig":{{"EndpointsConfig":{{"inside":{{}}}}}}}}"#
        );
        let made = ask("/containers/create?name=apart", &body);
        assert!(made.contains("\"Id\""), "{mode:?}: {made}");
        world.docker(&["start", "apart"]).ok();
        let on = "{{range $name, $_ := .NetworkSettings.Networks}}{{$name}} {{end}}";
        assert_eq!(world.docker(&["inspect", "-f", on, "apart"]).ok().trim(), "inside", "{mode:?}");
        let routes = world.docker(&["exec", "apart", "ip", "route"]).ok();
        assert!(!routes.contains("default"), "{mode:?}: {routes}");
        world.docker(&["rm", "-f", "apart"]).ok();
    }
    world.tidy();
}

#[test]
fn whose_network_is_shared_may_come_later() {
    let world = World::start();
    for client in world.clients() {
        client.run(&["create", "--name", "two", "--network", "container:one", IMAGE, "sleep", "1000"]).ok();
        let refused = client.run(&["start", "two"]);
        assert!(refused.stderr.contains("No such container: one"), "{refused:?}");
        client.run(&["run", "-d", "--name", "one", IMAGE, "sleep", "1000"]).ok();
        client.run(&["start", "two"]).ok();
        world.tidy();
    }
}

#[test]
fn addresses_of_a_network_have_one_owner() {
    let world = World::start();
    for client in world.clients() {
        let ranges = ["--subnet", "10.88.0.0/24", "--ip-range", "10.88.0.64/26"];
        client.run(&[&["network", "create"], &ranges[..], &["sea"]].concat()).ok();
        let script = "ip -o -4 address show eth0 | awk '{print $4}'; ip route | awk '/default/ {print $3}'";
        let output = client.run(&["run", "--rm", "--network", "sea", IMAGE, "sh", "-c", script]);
        assert_eq!(output.ok(), "10.88.0.65/24\n10.88.0.64");
        for (flags, text) in [
            (&["--gateway", "10.89.0.255"][..], "failed to allocate gateway (10.89.0.255)"),
            (&["--aux-address", "a=10.89.0.1"], "failed to allocate secondary ip address (a:10.89.0.1)"),
        ] {
            let create = ["network", "create", "--subnet", "10.89.0.0/24"];
            let output = client.run(&[&create, flags, &["land"]].concat());
            output.code(1).says(&format!("{text}: Address already in use"));
        }
        world.tidy();
    }
}

#[test]
fn a_container_leaves_a_network_that_is_gone() {
    let world = World::start();
    for client in world.clients() {
        client.run(&["network", "create", "sea"]).ok();
        client.run(&["network", "create", "land"]).ok();
        client.run(&["create", "--name", "ferry", "--network", "land", IMAGE, "sleep", "1000"]).ok();
        client.run(&["network", "connect", "sea", "ferry"]).ok();
        client.run(&["network", "rm", "sea"]).ok();
        client.run(&["start", "ferry"]).code(1).says("network sea not found");
        client.run(&["network", "disconnect", "sea", "ferry"]).ok();
        client
            .run(&["network", "disconnect", "sea", "ferry"])
            .code(1)
            .says("is not connected to the network");
        client.run(&["start", "ferry"]).ok();
        client.run(&["network", "disconnect", "sea", "ferry"]).code(1).says("network sea not found");
        world.tidy();
    }
}

#[test]
fn a_container_comes_back_to_none() {
    let world = World::start();
    for client in world.clients() {
        client.run(&["network", "create", "sea"]).ok();
        let change = |change: &str, network: &str| client.run(&["network", change, network, "hermit"]);
        for start in [&["run", "-d"][..], &["create"]] {
            let flags = ["--name", "hermit", "--network", "none", IMAGE, "sleep", "1000"];
            client.run(&[start, &flags].concat()).ok();
            change("connect", "sea").code(1).says("private (none) mode");
            change("disconnect", "none").ok();
            change("connect", "none").ok();
            change("disconnect", "none").ok();
            change("connect", "sea").ok();
            change("connect", "none").code(1).says("private (none) mode");
            change("disconnect", "sea").ok();
            change("connect", "none").ok();
            client.run(&["start", "hermit"]).ok();
            assert_eq!(client.run(&["exec", "hermit", "ls", "/sys/class/net"]).ok(), "lo");
            client.run(&["rm", "-f", "hermit"]).ok();
        }
        world.tidy();
    }
}

#[test]
fn outgoing_traffic_has_the_hosts_address() {
    let world = World::start();
    let outside = Host::new();
    world.host().connect(&outside, "10.77.0.1/24", "10.77.0.2/24");
    let mut server = outside
        .command("socat")
        .args(["TCP-LISTEN:9000,reuseaddr,fork", "SYSTEM:echo $SOCAT_PEERADDR"])
        .spawn()
        .unwrap();
    for client in world.clients() {
        let seen = eventually("an answer", || {
            let output = client.run(&["run", "--rm", IMAGE, "nc", "-w", "5", "10.77.0.2", "9000"]);
            (output.code == 0).then_some(output.stdout)
        });
        assert_eq!(seen, "10.77.0.1\n");
        world.tidy();
    }
    server.kill().unwrap();
    server.wait().unwrap();
}

#[test]
fn networks_are_configured_from_others() {
    let world = World::start();
    for client in world.clients() {
        client.run(&["network", "create", "--config-only", "--subnet", "10.88.0.0/24", "plan"]).code(0);
        client.run(&["network", "create", "--config-from", "plan", "built"]).code(0);
        let network = &[
            "network",
            "inspect",
            "-f",
            "{{.ConfigFrom.Network}} {{(index .IPAM.Config 0).Subnet}}",
            "built",
        ];
        assert_eq!(client.run(network).ok(), "plan 10.88.0.0/24");
        client.run(&["network", "rm", "plan"]).code(1).says("configuration network \"plan\" is in use");
        client
            .run(&["run", "--rm", "--network", "plan", IMAGE, "true"])
            .code(125)
            .says("cannot create endpoint on configuration-only network");
        client
            .run(&["network", "create", "--config-from", "nothing", "other"])
            .code(1)
            .says("does not exist");
        client.run(&["network", "rm", "built", "plan"]).code(0);
    }
}

#[test]
fn an_endpoint_is_what_was_asked_for() {
    let world = World::start();
    world.wharf(&["network", "create", "--subnet", "10.88.0.0/24", "sea"]).ok();
    world.wharf(&["network", "create", "--subnet", "10.89.0.0/24", "land"]).ok();
    for client in world.clients() {
        let looks = "ip -o -4 address show | cut -d' ' -f2,7; ip route | grep default; cat /sys/class/net/eth0/address; \
                     cat /proc/sys/net/ipv4/conf/eth0/log_martians; hostname";
        let output = client.run(&[
            "run",
            "--rm",
            "--hostname",
            "ship",
            "--network",
            "name=sea,ip=10.88.0.9,mac-address=02:11:22:33:44:55,driver-opt=com.docker.network.endpoint.sysctls=net.ipv4.conf.IFNAME.log_martians=1",
            "--network",
            "name=land,gw-priority=1,driver-opt=com.docker.network.endpoint.ifname=quay0",
            "--add-host",
            "gate:host-gateway",
            IMAGE,
            "sh",
            "-c",
            looks,
        ]);
        assert_eq!(
            output.ok(),
            "lo 127.0.0.1/8\neth0 10.88.0.9/24\nquay0 10.89.0.2/24\ndefault via 10.89.0.1 dev quay0 \n\
             02:11:22:33:44:55\n1\nship"
        );
        let output = client.run(&[
            "run",
            "--rm",
            "--network",
            "sea",
            "--link-local-ip",
            "169.254.7.7",
            "--dns-search",
            "lan",
            "--dns-option",
            "ndots:3",
            IMAGE,
            "sh",
            "-c",
            "ip -o -4 address show eth0 | cut -d' ' -f7; grep -v '^#' /etc/resolv.conf",
        ]);
        assert_eq!(
            output.ok(),
            "10.88.0.2/24\n169.254.7.7/16\n\nnameserver 127.0.0.11\nsearch lan\noptions ndots:3"
        );
        for (flags, text) in [
            (
                &["--network", "sea", "--ip", "10.99.0.9"][..],
                "no configured subnet or ip-range contain the IP address 10.99.0.9",
            ),
            (&["--network", "sea", "--ip", "10.88.0.1"], "Address already in use"),
            (&["--ip", "10.88.0.9"], "user specified IP address is supported on user defined networks only"),
            (
                &["--network-alias", "a"],
                "network-scoped aliases are only supported for user-defined networks",
            ),
            (&["-p", "192.0.2.1:8080:80"], "cannot assign requested address"),
        ] {
            client.run(&[&["run", "--rm"], flags, &[IMAGE, "true"]].concat()).code(125).says(text);
        }
    }
}

#[test]
fn options_of_endpoints_that_are_for_nobody_are_kept() {
    let world = World::start();
    world.wharf(&["network", "create", "net"]).ok();
    for client in world.clients() {
        let own = "name=net,driver-opt=vendor.example/colour=blue";
        client.run(&["run", "-d", "--name", client.name, "--network", own, IMAGE, "sleep", "1000"]).code(0);
        let options = &world.inspect(client.name)["NetworkSettings"]["Networks"]["net"]["DriverOpts"];
        assert_eq!(*options, serde_json::json!({"vendor.example/colour": "blue"}));
        let ours = "name=net,driver-opt=com.docker.network.endpoint.colour=blue";
        client
            .run(&["run", "--rm", "--network", ours, IMAGE, "true"])
            .code(125)
            .says("the endpoint option com.docker.network.endpoint.colour=blue is not supported");
    }
}
