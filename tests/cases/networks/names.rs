//! Names: the resolver, links, and the files that tell them.

use blackbox::{IMAGE, World, eventually};

use super::serve;

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
