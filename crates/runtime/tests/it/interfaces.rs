//! Interfaces that move into a container. The runtime is called in a network namespace of the test's own: it is "the
//! host", and all that is in it goes with it.

use std::path::Path;
use std::process::Command;

use linux::{mount, namespace};
use serde_json::json;

use crate::bundle::{Bundle, Outcome};

/// Runs the container where this script has run, and then what follows it.
fn run_after(bundle: &Bundle, before: &str, after: &str) -> Outcome {
    let shell = |script: &str| {
        let output =
            Command::new("sh").args(["-ec", script]).current_dir(&bundle.directory).output().unwrap();
        let outcome = Outcome::of(output);
        assert_eq!(outcome.status, 0, "{}", outcome.stderr);
        outcome.stdout
    };
    // Namespaces are a thread's, and those of what it starts.
    std::thread::scope(|scope| {
        let there = scope.spawn(|| {
            namespace::unshare(namespace::NETWORK | namespace::MOUNT).unwrap();
            mount::set_propagation(Path::new("/"), mount::Propagation::Private, true).unwrap();
            shell(before);
            let outcome = bundle.run();
            let stdout = outcome.stdout + &shell(after);
            Outcome { stdout, ..outcome }
        });
        there.join().unwrap()
    })
}

/// Two interfaces that have been in use: one has addresses of every kind.
const HOST: &str = "
    ip link set lo up
    ip link add lan type veth peer name far
    ip link set lan mtu 1400 up
    ip link set far up
    ip address add 192.0.2.7/24 dev lan
    ip address add 192.0.2.8/32 dev lan scope link
    ip -6 address add 2001:db8::7/64 dev lan nodad
    ip link add spare type veth peer name away";

fn with(devices: serde_json::Value, script: &str) -> Bundle {
    let mut bundle = Bundle::shell(script);
    bundle.config["linux"]["netDevices"] = devices;
    bundle
}

const TELL: &str = "for name in $(ls /sys/class/net); do echo $name $(cat /sys/class/net/$name/mtu); done";

#[test]
fn keep_their_addresses_and_come_up() {
    let bundle = with(
        json!({ "lan": {}, "spare": { "name": "other" } }),
        &format!("{TELL}; ifconfig lan; ifconfig other"),
    );
    let outcome = run_after(&bundle, HOST, "echo left:; cut -d: -f1 /proc/net/dev");
    assert_eq!(outcome.status, 0, "{}{}", outcome.stdout, outcome.stderr);
    let text = outcome.stdout;
    assert!(text.starts_with("lan 1400\nlo 65536\nother 1500\n"), "{text}");
    assert!(text.contains("192.0.2.7") && text.contains("2001:db8::7/64"), "{text}");
    assert!(!text.contains("192.0.2.8"), "an address for the link alone is not kept: {text}");
    assert_eq!(text.matches("UP ").count(), 2, "{text}");
    let (_, left) = text.split_once("left:\n").unwrap();
    assert!(!left.contains("lan") && !left.contains("spare"), "they are gone from the host: {left}");
}

#[test]
fn a_pattern_is_completed_by_the_kernel() {
    let bundle = with(json!({ "lan": { "name": "eth%d" }, "spare": { "name": "eth%d" } }), TELL);
    let outcome = run_after(&bundle, HOST, "");
    assert_eq!(outcome.stdout, "eth0 1400\neth1 1500\nlo 65536\n", "{}", outcome.stderr);
}

/// Hooks and sysctls find them in place.
#[test]
fn are_there_before_anything_looks() {
    let mut bundle = with(json!({ "lan": { "name": "in0" } }), "cat /proc/sys/net/ipv4/conf/in0/forwarding");
    bundle.config["linux"]["sysctl"] = json!({ "net.ipv4.conf.in0.forwarding": "1" });
    let seen = bundle.directory.join("seen");
    let script = format!(
        "ls /proc/$(tr -d '\\n' | sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/')/net/dev_snmp6 >{}",
        seen.display()
    );
    bundle.config["hooks"] =
        json!({ "createRuntime": [{ "path": "/bin/sh", "args": ["sh", "-c", script] }] });
    let outcome = run_after(&bundle, HOST, "");
    assert_eq!((outcome.status, outcome.stdout.as_str()), (0, "1\n"), "{}", outcome.stderr);
    assert!(std::fs::read_to_string(seen).unwrap().contains("in0"));
}

#[test]
fn into_a_namespace_of_others() {
    let mut bundle = with(json!({ "lan": {} }), TELL);
    let place = bundle.directory.join("network");
    for namespace in bundle.config["linux"]["namespaces"].as_array_mut().unwrap() {
        if namespace["type"] == "network" {
            namespace["path"] = json!(place);
        }
    }
    let place = place.display();
    let before = format!("{HOST}\n: >{place}\nunshare --net={place} true");
    let outcome = run_after(&bundle, &before, &format!("umount {place}"));
    assert_eq!(outcome.stdout, "lan 1400\nlo 65536\n", "{}", outcome.stderr);
}

#[test]
fn what_cannot_be_moved_is_named_and_stays() {
    let cases = [
        (json!({ "nobody": {} }), r#"unable to move network device "nobody": netlink(RTM_GETLINK(nobody)"#),
        (
            json!({ "lan": { "name": "lo" } }),
            r#"unable to move network device "lan": netlink("lo" in the container)"#,
        ),
        (json!({ "a b": {} }), r#"invalid network device name "a b""#),
    ];
    for (devices, expected) in cases {
        let bundle = with(devices, "true");
        let outcome = run_after(&bundle, HOST, "");
        assert_eq!(outcome.status, 1, "{}", outcome.stdout);
        let message = outcome.stderr.replace("\\\"", "\"");
        assert!(message.contains(expected), "{message}");
        assert!(!bundle.cgroup_exists(), "nothing is left of it");
    }
    let mut bundle = with(json!({ "lan": {} }), "true");
    let namespaces = bundle.config["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.retain(|namespace| namespace["type"] != "network");
    let outcome = run_after(&bundle, HOST, "");
    assert!(
        outcome.stderr.contains("unable to move network devices without a NET namespace"),
        "{}",
        outcome.stderr
    );
}

crate::door::by_the_library! {
    keep_their_addresses_and_come_up a_pattern_is_completed_by_the_kernel are_there_before_anything_looks
    into_a_namespace_of_others what_cannot_be_moved_is_named_and_stays
}
