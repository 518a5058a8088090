//! Addresses, ports and names, with packets.

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
fn a_published_port_answers_from_everywhere() {
    let world = World::start();
    let outside = Host::new();
    world.host().connect(&outside, "10.77.0.1/24", "10.77.0.2/24");
    for client in world.clients() {
        serve(&client, &["--name", "web", "-p", "8080:80"]);
        let page = "hello from inside\n";
        assert_eq!(fetch(&outside, "http://10.77.0.1:8080/"), page, "from outside");
        assert_eq!(fetch(world.host(), "http://10.77.0.1:8080/"), page, "from the host, by its address");
        assert_eq!(fetch(world.host(), "http://127.0.0.1:8080/"), page, "from the host, by 127.0.0.1");
        assert_eq!(fetch(world.host(), "http://[::1]:8080/"), page, "from the host, by ::1");
        let output = client.run(&["run", "--rm", IMAGE, "wget", "-qO-", "http://10.77.0.1:8080/"]).ok();
        assert_eq!(output, page.trim_end(), "from another container");
        let output = client.run(&["exec", "web", "wget", "-qO-", "http://10.77.0.1:8080/"]).ok();
        assert_eq!(output, page.trim_end(), "from itself");
        let ports = client.run(&["port", "web"]).ok();
        assert_eq!(ports, "80/tcp -> 0.0.0.0:8080\n80/tcp -> [::]:8080");
        client.run(&["rm", "-f", "web"]).ok();
        assert!(
            !world.host().try_run(&["curl", "-sS", "-m", "2", "http://127.0.0.1:8080/"]).status.success()
        );
        world.tidy();
    }
}

#[test]
fn a_port_on_one_address_answers_there_alone() {
    let world = World::start();
    let outside = Host::new();
    world.host().connect(&outside, "10.77.0.1/24", "10.77.0.2/24");
    for client in world.clients() {
        serve(&client, &["-p", "127.0.0.1:8081:80"]);
        assert_eq!(fetch(world.host(), "http://127.0.0.1:8081/"), "hello from inside\n");
        assert!(!outside.try_run(&["curl", "-sS", "-m", "2", "http://10.77.0.1:8081/"]).status.success());
        world.tidy();
    }
}

#[test]
fn udp_ranges_and_random_ports() {
    let world = World::start();
    for client in world.clients() {
        client
            .run(&[
                "run",
                "-d",
                "--name",
                "many",
                "-p",
                "7000-7002:7000-7002/udp",
                "-p",
                "80",
                IMAGE,
                "sleep",
                "1000",
            ])
            .ok();
        let ports = client.run(&["port", "many"]).ok();
        for port in 7000..=7002 {
            assert!(ports.contains(&format!("{port}/udp -> 0.0.0.0:{port}")), "{ports}");
        }
        let random = client.run(&["port", "many", "80/tcp"]).ok();
        let number: u16 = random.lines().next().unwrap().rsplit(':').next().unwrap().parse().unwrap();
        assert!(number >= 32768, "{random}");
        // Nothing listens inside, so the kernel there counts what arrives: the second number of /proc/net/snmp's Udp line.
        let arrived = || {
            let counted = client.run(&["exec", "many", "grep", "Udp: [0-9]", "/proc/net/snmp"]).ok();
            counted.split(' ').nth(2).unwrap().parse::<u32>().unwrap()
        };
        assert_eq!(arrived(), 0);
        eventually("a datagram", || {
            world.host().try_run(&["sh", "-c", "echo ping | socat -u - UDP:127.0.0.1:7001"]);
            (arrived() > 0).then_some(())
        });
        world.tidy();
    }
}

#[test]
fn published_ports_go_with_the_way_out() {
    let mut world = World::start();
    for name in ["wharf", "docker"] {
        let client = world.clients().into_iter().find(|client| client.name == name).unwrap();
        let do_ = |words: &[&str]| client.run(words).ok();
        do_(&["network", "create", "second"]);
        do_(&["network", "create", "--ipv6", "--subnet", "fd77::/64", "sixth"]);
        do_(&["network", "create", "--internal", "inside"]);
        serve(&client, &["--name", "web", "-p", "8080:80"]);
        let ports = || do_(&["inspect", "-f", "{{json .NetworkSettings.Ports}}", "web"]);
        let both = r#"{"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"8080"},{"HostIp":"::","HostPort":"8080"}]}"#;
        let answers = |after: &str| {
            for url in ["http://127.0.0.1:8080/", "http://[::1]:8080/"] {
                assert_eq!(fetch(world.host(), url), "hello from inside\n", "{url}, {after}");
            }
            assert_eq!(ports(), both, "{after}");
        };
        let is_silent = || {
            for url in ["http://127.0.0.1:8080/", "http://[::1]:8080/"] {
                let asked = world.host().try_run(&["curl", "-gsS", "-m", "2", url]);
                assert_eq!(asked.status.code(), Some(7), "nobody listens at {url}");
            }
            assert_eq!(ports(), "{}");
        };
        let moves = |to: &str, from: &str| {
            do_(&["network", "connect", to, "web"]);
            do_(&["network", "disconnect", from, "web"]);
        };
        answers("at first");
        moves("second", "bridge");
        answers("on another network");
        moves("sixth", "second");
        answers("on one with IPv6");
        moves("second", "sixth");
        answers("without IPv6 again");
        moves("inside", "second");
        is_silent();
        do_(&["network", "disconnect", "inside", "web"]);
        is_silent();

        // Nobody has the port now.
        serve(&client, &["--name", "other", "-p", "8080:80"]);
        let refused = client.run(&["network", "connect", "second", "web"]);
        assert!(
            refused.stderr.contains("Bind for 0.0.0.0:8080 failed: port is already allocated"),
            "{refused:?}"
        );
        assert_eq!(do_(&["inspect", "-f", "{{len .NetworkSettings.Networks}}", "web"]), "0");
        do_(&["rm", "-f", "other"]);
        do_(&["network", "connect", "second", "web"]);
        answers("with the port taken again");
        let taken =
            world.host().try_run(&["python3", "-c", "import socket; socket.socket().bind(('', 8080))"]);
        assert!(!taken.status.success(), "the port is held");
        world.kill_engine();
        world.start_engine();
        let client = world.clients().into_iter().find(|client| client.name == name).unwrap();
        client.run(&["network", "disconnect", "second", "web"]).ok();
        client.run(&["network", "connect", "bridge", "web"]).ok();
        for url in ["http://127.0.0.1:8080/", "http://[::1]:8080/"] {
            assert_eq!(fetch(world.host(), url), "hello from inside\n", "{url}, after another engine");
        }
        world.tidy();
    }
}

#[test]
fn a_taken_port_is_refused() {
    let world = World::start();
    serve(&world.clients()[0], &["--name", "first", "-p", "8082:80"]);
    for client in world.clients() {
        client
            .run(&["run", "--rm", "-p", "8082:80", IMAGE, "true"])
            .code(125)
            .says("port is already allocated");
    }
    let mut listener =
        world.host().command("socat").args(["TCP-LISTEN:8083,fork", "EXEC:true"]).spawn().unwrap();
    eventually("a listener", || {
        world
            .host()
            .try_run(&["curl", "-sm1", "http://127.0.0.1:8083/"])
            .status
            .code()
            .filter(|code| *code != 7)
    });
    world.wharf(&["run", "--rm", "-p", "8083:80", IMAGE, "true"]).code(125).says("address already in use");
    listener.kill().unwrap();
    listener.wait().unwrap();
    // The host's programs can't take a published port either.
    let output = world.host().try_run(&["socat", "TCP-LISTEN:8082", "EXEC:true"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("Address already in use"));
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
fn who_shares_a_network_shares_its_files_and_name() {
    let world = World::start();
    for client in world.clients() {
        let run = |words: &[&str]| client.run(words).ok();
        run(&["network", "create", "near"]);
        run(&["run", "-d", "--name", "db", "--network", "near", IMAGE, "sleep", "1000"]);
        run(&["run", "-d", "--name", "one", "--hostname", "harbour", IMAGE, "sleep", "1000"]);
        run(&["run", "-d", "--name", "two", "--network", "container:one", IMAGE, "sleep", "1000"]);
        assert_eq!(run(&["exec", "two", "hostname"]), "harbour");
        assert_eq!(run(&["inspect", "-f", "{{.Config.Hostname}}", "two"]), "harbour");
        run(&["exec", "one", "sh", "-c", "echo 9.9.9.9 mine >> /etc/hosts"]);
        assert!(run(&["exec", "two", "cat", "/etc/hosts"]).contains("9.9.9.9 mine"));
        run(&["network", "connect", "near", "one"]);
        let lookup = client.run(&["exec", "two", "nslookup", "db"]);
        assert_eq!(lookup.code, 0, "{lookup:?}");
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
fn what_was_written_inside_outlives_a_change_of_networks() {
    let world = World::start();
    for client in world.clients() {
        let run = |words: &[&str]| client.run(words).ok();
        run(&["network", "create", "near"]);
        run(&["network", "create", "far"]);
        run(&["run", "-d", "--name", "box", "--network", "near", IMAGE, "sleep", "1000"]);
        let edit = "echo 9.9.9.9 mine >> /etc/hosts; echo nameserver 8.8.4.4 > /etc/resolv.conf; echo me > /etc/hostname";
        run(&["exec", "box", "sh", "-c", edit]);
        let address = |network: &str| {
            run(&["inspect", "-f", &format!("{{{{.NetworkSettings.Networks.{network}.IPAddress}}}}"), "box"])
        };
        let near = address("near");
        run(&["network", "connect", "far", "box"]);
        let far = address("far");
        run(&["network", "disconnect", "near", "box"]);
        let hosts = run(&["exec", "box", "cat", "/etc/hosts"]);
        assert!(hosts.contains("9.9.9.9 mine") && hosts.contains(&far) && !hosts.contains(&near), "{hosts}");
        assert_eq!(
            run(&["exec", "box", "cat", "/etc/resolv.conf", "/etc/hostname"]),
            "nameserver 8.8.4.4\nme"
        );
        run(&["restart", "-t", "0", "box"]);
        assert!(!run(&["exec", "box", "cat", "/etc/hosts"]).contains("mine"), "a new run begins anew");
        world.tidy();
    }
}

#[test]
fn user_networks_have_names_and_are_apart() {
    let world = World::start();
    for client in world.clients() {
        let id = client.run(&["network", "create", "--subnet", "10.88.0.0/24", "sea"]).ok();
        assert_eq!(id.len(), 64);
        serve(
            &client,
            &["--name", "harbour", "--network", "sea", "--network-alias", "port", "--ip", "10.88.0.77"],
        );
        // The static busybox cannot resolve names in wget, but its nslookup asks by itself.
        let lookup = |container: &str, name: &str| client.run(&["exec", container, "nslookup", name]).stdout;
        client.run(&["run", "-d", "--name", "sailor", "--network", "sea", IMAGE, "sleep", "1000"]).code(0);
        for name in ["harbour", "port"] {
            assert!(lookup("sailor", name).contains("10.88.0.77"), "{name}");
        }
        let page = "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 5 10.88.0.77 80";
        let asked =
            || Some(client.run(&["exec", "sailor", "sh", "-c", page])).filter(|output| output.code == 0);
        assert!(eventually("the server", asked).ok().ends_with("hello from inside"));
        client.run(&["run", "--rm", IMAGE, "nc", "-w", "2", "10.88.0.77", "80"]).code(1);
        client.run(&["run", "-d", "--name", "ferry", IMAGE, "sleep", "1000"]).code(0);
        client.run(&["network", "connect", "--alias", "boat", "sea", "ferry"]).code(0);
        assert!(lookup("ferry", "harbour").contains("10.88.0.77"));
        assert!(client.run(&["exec", "ferry", "sh", "-c", page]).ok().ends_with("hello from inside"));
        assert!(lookup("harbour", "boat").contains("10.88.0."), "an alias");
        client.run(&["network", "rm", "sea"]).code(1).says("has active endpoints");
        client.run(&["network", "disconnect", "sea", "ferry"]).code(0);
        client.run(&["exec", "ferry", "nc", "-w", "2", "10.88.0.77", "80"]).code(1);
        client.run(&["rm", "-f", "harbour", "ferry", "sailor"]).code(0);
        assert_eq!(
            client.run(&["network", "ls", "--format", "{{.Name}} {{.Driver}}"]).ok(),
            "bridge bridge\nhost host\nnone null\nsea bridge"
        );
        client.run(&["network", "create", "sea"]).code(1).says("network with name sea already exists");
        assert_eq!(
            client.run(&["network", "inspect", "-f", "{{(index .IPAM.Config 0).Subnet}}", "sea"]).ok(),
            "10.88.0.0/24"
        );
        assert_eq!(client.run(&["network", "rm", "sea"]).ok(), "sea");
        client
            .run(&["network", "rm", "bridge"])
            .code(1)
            .says("is a pre-defined network and cannot be removed");
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
fn one_network_answers_a_name() {
    let world = World::start();
    for client in world.clients() {
        for (network, subnet) in [("lake", "10.87.0.0/24"), ("sea", "10.88.0.0/24")] {
            client.run(&["network", "create", "--subnet", subnet, network]).ok();
        }
        let place = |name: &str, last: &str| {
            let at = |subnet: &str| format!("{subnet}.{last}");
            let flags = ["run", "-d", "--name", name, "--network", "lake", "--ip"];
            client.run(&[&flags[..], &[&at("10.87.0"), IMAGE, "sleep", "1000"]].concat()).ok();
            client.run(&["network", "connect", "--alias", "boat", "--ip", &at("10.88.0"), "sea", name]).ok();
        };
        place("ferry", "77");
        place("barge", "78");
        client.run(&["run", "-d", "--name", "asker", "--network", "lake", IMAGE, "sleep", "1000"]).ok();
        let found = |name: &str| {
            let output = client.run(&["exec", "asker", "nslookup", name]).stdout;
            ["10.87.0.77", "10.87.0.78", "10.88.0.77", "10.88.0.78"].map(|address| output.contains(address))
        };
        client.run(&["network", "connect", "--link", "barge:linked", "sea", "asker"]).ok();
        assert_eq!(found("ferry"), [true, false, false, false]);
        assert_eq!(found("ferry.sea"), [false, false, true, false]);
        assert_eq!(found("boat"), [false, false, true, true], "all of one network");
        assert_eq!(found("linked"), [false, false, false, true], "a link of that network");
        // The way out leads over the other network now, which is asked first.
        client.run(&["network", "disconnect", "sea", "asker"]).ok();
        client.run(&["network", "connect", "--gw-priority", "1", "sea", "asker"]).ok();
        assert_eq!(found("ferry"), [false, false, true, false]);
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
fn routed_networks_publish_the_containers_own_address() {
    let world = World::start();
    let outside = Host::new();
    world.host().connect(&outside, "10.77.0.1/24", "10.77.0.2/24");
    outside.run(&["ip", "route", "add", "10.88.0.0/24", "via", "10.77.0.1"]);
    for client in world.clients() {
        let mode = "com.docker.network.bridge.gateway_mode_ipv4=routed";
        client.run(&["network", "create", "-o", mode, "--subnet", "10.88.0.0/24", "street"]).ok();
        serve(&client, &["--name", "house", "--network", "street", "--ip", "10.88.0.7", "-p", "8080:80/tcp"]);
        assert_eq!(fetch(&outside, "http://10.88.0.7/"), "hello from inside\n");
        assert!(client.run(&["port", "house"]).ok().starts_with("80/tcp -> 0.0.0.0:\n"));
        // Nothing of the host's IPv4 is held.
        world.host().run(&[
            "timeout",
            "60",
            "socat",
            "-u",
            "/dev/null",
            "TCP4-LISTEN:8080,bind=10.77.0.1,accept-timeout=0.1",
        ]);
        client.run(&["rm", "-f", "house"]).ok();
        assert!(!outside.try_run(&["curl", "-sS", "-m", "2", "http://10.88.0.7/"]).status.success());
        world.tidy();
    }
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
fn no_rule_and_no_process_grows_with_ports() {
    let world = World::start();
    for client in world.clients() {
        let rules = || {
            world
                .host()
                .run(&["nft", "list", "ruleset"])
                .lines()
                .filter(|line| line.contains("counter") || line.contains("accept") || line.contains("dnat"))
                .count()
        };
        serve(&client, &["--name", "few", "-p", "8000:80"]);
        let before = rules();
        serve(&client, &["--name", "many", "-p", "9000-9199:9000-9199"]);
        assert_eq!(rules(), before);
        // A container's first process is its shim's child; the shim has no other, and as many threads for one port as
        // for many.
        let shims = ["few", "many"].map(|name| {
            let pid = world.inspect(name)["State"]["Pid"].as_u64().expect("it runs");
            parent_of(pid)
        });
        assert_eq!(shims.map(|shim| children_of(shim).len()), [1, 1]);
        let threads = shims.map(|shim| tasks_of(shim).len());
        assert_eq!(threads[0], threads[1]);
        // The engine's own come and go with its work, but there is not one for each port.
        let engine = u64::from(world.engine_pid());
        assert!(tasks_of(engine).len() < 100, "{} threads", tasks_of(engine).len());
        let others: Vec<u64> =
            children_of(engine).into_iter().filter(|child| !shims.contains(child)).collect();
        assert!(others.is_empty(), "{others:?}");
        world.tidy();
    }
}

fn tasks_of(pid: u64) -> Vec<u64> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/task")).expect("the process runs").flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

fn children_of(pid: u64) -> Vec<u64> {
    let all = std::fs::read_dir("/proc").expect("/proc is there").flatten();
    all.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|process| {
            std::fs::read_to_string(format!("/proc/{process}/status"))
                .is_ok_and(|status| status.contains(&format!("\nPPid:\t{pid}\n")))
        })
        .collect()
}

fn parent_of(pid: u64) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:\t")).expect("it has a parent");
    parent.parse().expect("a number")
}

#[test]
fn what_is_published_on_the_hosts_network_is_warned_of() {
    let world = World::start();
    let warning = "WARNING: Published ports are discarded when using host network mode\n";
    for client in world.clients() {
        let name = format!("on-host-{}", client.name);
        let output =
            client.run(&["create", "--name", &name, "--network", "host", "-p", "8080:80", IMAGE, "true"]);
        assert_eq!(output.clone().code(0).stderr, warning, "{output}");
        let wanted = &world.inspect(&name)["HostConfig"]["PortBindings"]["80/tcp"][0]["HostPort"];
        assert_eq!(wanted, "8080", "what was wished for is remembered");
        client
            .run(&["run", "--rm", "--network", "host", "-p", "8080:80", IMAGE, "true"])
            .code(0)
            .says(warning);
        let output = client.run(&["run", "--rm", "--network", "host", "-P", IMAGE, "true"]).code(0);
        assert_eq!(output.stderr, "");
        let output =
            client.run(&["run", "--rm", "--network", "none", "-p", "8080:80", IMAGE, "true"]).code(0);
        assert_eq!(output.stderr, "");
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

/// A link is to a container, not to whoever has its name.
#[test]
fn a_link_follows_a_new_name() {
    let world = World::start();
    for client in world.clients() {
        client.run(&["run", "-d", "--name", "db", IMAGE, "sleep", "1000"]).ok();
        client.run(&["run", "-d", "--name", "web", "--link", "db:store", IMAGE, "sleep", "1000"]).ok();
        client.run(&["rename", "db", "base"]).ok();
        client.run(&["run", "-d", "--name", "db", IMAGE, "sleep", "1000"]).ok();
        let links = ["inspect", "-f", "{{.HostConfig.Links}}", "web"];
        assert_eq!(client.run(&links).ok(), "[/base:/web/store]");
        client.run(&["restart", "-t0", "web"]).ok();
        client.run(&["exec", "web", "grep", "-q", "store .* base", "/etc/hosts"]).ok();
        assert_eq!(client.run(&["inspect", "-f", "{{.Name}}", "web/store"]).ok(), "/base");
        client.run(&["rm", "-f", "base"]).ok();
        let refused = "Cannot link to a non running container: /";
        client.run(&["restart", "-t0", "web"]).code(1).says(refused).says(" AS /web/store");
        client.run(&["rm", "-f", "db", "web"]).ok();
    }
}

#[test]
fn a_link_is_taken_back() {
    let world = World::start();
    for client in world.clients() {
        client.run(&["run", "-d", "--name", "db", IMAGE, "sleep", "1000"]).ok();
        client.run(&["run", "-d", "--name", "web", "--link", "db:store", IMAGE, "sleep", "1000"]).ok();
        let known = || client.run(&["exec", "web", "grep", "-c", "store", "/etc/hosts"]).stdout;
        assert_eq!(known(), "1\n");
        client.run(&["rm", "--link", "web/other"]).code(1).says("No such container: web/other");
        client.run(&["rm", "--link", "nobody/store"]).code(1).says("No such container: nobody/store");
        client.run(&["rm", "--link", "web"]).code(1).says("Conflict, cannot remove the default link name");
        assert_eq!(client.run(&["rm", "--link", "/web/store"]).ok(), "/web/store");
        assert_eq!(client.run(&["inspect", "-f", "{{json .HostConfig.Links}}", "web"]).ok(), "null");
        assert_eq!(known(), "0\n");
        client.run(&["rm", "--link", "web/store"]).code(1).says("No such container: web/store");
        client.run(&["rm", "-f", "db", "web"]).ok();
    }
}
