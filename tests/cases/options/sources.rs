//! What `run` starts from: the image and its platform, the files of names that the engine writes.

use blackbox::{IMAGE, World, busybox};

use crate::registry::Registry;

#[test]
fn a_pull_may_be_wanted_always_or_for_another_platform() {
    let world = World::start();
    let _registry = Registry::start(&world);
    let name = "localhost:5000/moving";
    let version = |number: u32| {
        let archive = busybox().set("Env", serde_json::json!([format!("VERSION={number}"), "PATH=/bin"]));
        world.load(&archive.build(name));
    };
    let own = world.wharf(&["image", "inspect", "-f", "{{.Os}}/{{.Architecture}}", IMAGE]).ok();
    for client in world.clients() {
        version(2);
        client.run(&["push", "-q", name]).code(0);
        client.run(&["rmi", name]).code(0);
        version(1);
        let run = |flags: &[&str]| {
            client.run(&[&["run", "--rm"], flags, &[name, "sh", "-c", "echo $VERSION"]].concat())
        };
        for flags in [&[][..], &["--pull", "missing"], &["--pull", "never"], &["--platform", &own]] {
            assert_eq!(run(flags).code(0).stdout, "1\n", "{flags:?}");
        }
        assert_eq!(run(&["--pull", "always"]).code(0).stdout, "2\n");
        assert_eq!(run(&["--pull", "always", "--quiet"]).ok(), "2");
        run(&["--platform", "linux/s390x", "--pull", "never"]).code(125).says("linux/s390x");
        run(&["--platform", "no/such/platform/at/all"]).code(125).says("no/such/platform/at/all");
        run(&["--pull", "sometimes"]).code(125).says("invalid pull option: 'sometimes'");
        client.run(&["rmi", name]).code(0);
    }
}

#[test]
fn names_are_written_into_three_files() {
    let world = World::start();
    for client in world.clients() {
        let read = |flags: &[&str], file: &str| {
            client.run(&[&["run", "--rm"], flags, &[IMAGE, "cat", file]].concat()).ok()
        };
        let hosts = read(&["-h", "ship.example", "--add-host", "gate=host-gateway"], "/etc/hosts");
        for line in ["127.0.0.1\tlocalhost", "172.17.0.1\tgate", "172.17.0.2\tship.example ship"] {
            assert!(hosts.lines().any(|written| written == line), "{line:?} is not in\n{hosts}");
        }
        assert_eq!(read(&["-h", "ship.example"], "/etc/hostname"), "ship.example");
        let words = ["--dns", "192.0.2.53", "--dns-search", "lan", "--dns-option", "ndots:2"];
        let resolver = read(&words, "/etc/resolv.conf");
        let resolver: Vec<&str> =
            resolver.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
        assert_eq!(resolver, ["nameserver 192.0.2.53", "search lan", "options ndots:2"]);
        // They are the container's own, and may be changed from inside.
        let change = "echo 192.0.2.1 port >> /etc/hosts && tail -n1 /etc/hosts; umount /etc/hosts 2>/dev/null || echo kept";
        assert_eq!(client.run(&["run", "--rm", IMAGE, "sh", "-c", change]).ok(), "192.0.2.1 port\nkept");
    }
}

#[test]
fn files_of_the_client_that_are_wrong_are_told() {
    let world = World::start();
    let file = |name: &str, text: &str| {
        let path = world.directory().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    for client in world.clients() {
        let refused = |flags: &[&str], words: &str| {
            client.run(&[&["run", "--rm"], flags, &[IMAGE, "true"]].concat()).code(125).says(words);
        };
        refused(
            &["--cidfile", &file("cid", "")],
            "container ID file found, make sure the other container isn't running",
        );
        refused(&["--env-file", "/nowhere/env"], "no such file or directory");
        refused(&["--env-file", &file("env", "a b=c\n")], "contains whitespaces");
        refused(&["--env-file", &file("env", "=c\n")], "no variable name on line '=c'");
        refused(&["--label-file", "/nowhere/labels"], "no such file or directory");
        refused(&["--security-opt", &format!("seccomp={}", file("profile", "{"))], "");
        // A container that does not start leaves no name of itself in the file.
        let cid = world.directory().join("cid-of-none");
        refused(&["--cidfile", &cid.display().to_string(), "--memory", "1k"], "Minimum memory limit");
        assert!(!cid.exists(), "{}", client.name);
    }
    assert_eq!(world.wharf(&["ps", "-aq"]).ok(), "");
}
