//! Published ports: who answers, where, and what they cost.

use blackbox::{Host, IMAGE, World, eventually};

use super::{fetch, serve};

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

/// Who hears of an end starts the next container with the same port, before the engine has heard of it.
#[test]
fn a_port_changes_hands_with_the_end() {
    const ROUNDS: usize = 20;
    let world = World::start();
    for name in ["one", "other"] {
        world.wharf(&["create", "--name", name, "-p", "8080:80", IMAGE, "true"]).ok();
    }
    for _ in 0..ROUNDS {
        for name in ["one", "other"] {
            world.wharf(&["start", "-a", name]).code(0);
        }
    }
    world.wharf(&["rm", "one", "other"]).ok();
    let left =
        world.wharf(&["events", "--since", "10m", "--until", "0s", "--filter", "event=disconnect"]).ok();
    assert_eq!(left.lines().count(), 2 * ROUNDS, "none had to try twice: {left}");
}
