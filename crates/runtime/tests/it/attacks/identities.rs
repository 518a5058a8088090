//! Users and rights: numbers are numbers, and nobody gets more than is named.

use std::fs;

use serde_json::{Value, json};

use crate::bundle::Bundle;

fn sleeping(passwd: &str) -> Bundle {
    let bundle = Bundle::new(&["/bin/sleep", "1000"]);
    fs::write(bundle.rootfs().join("etc/passwd"), passwd).unwrap();
    bundle.create();
    bundle.start();
    bundle
}

/// The image's database has a login `1000` with the id 0: a demand for user 1000 is one for the number.
#[test]
fn cve_2016_3697_a_numeric_login_is_not_looked_up() {
    let bundle = sleeping("1000:x:0:0::/root:/bin/sh\n");
    let outcome = bundle.call(&["exec", "-u", "1000", &bundle.id, "id", "-u"]);
    assert_eq!(outcome.stdout, "1000\n", "{}", outcome.stderr);
}

/// `-u 1` was read as root.
#[test]
fn cve_2026_30892_every_small_number_is_itself() {
    let bundle = sleeping("root:x:0:0::/root:/bin/sh\n");
    for (user, expected) in [("1", "1 0"), ("2", "2 0"), ("1:1", "1 1"), ("10:0", "10 0"), ("0:1", "0 1")] {
        let outcome = bundle.call(&["exec", "-u", user, &bundle.id, "sh", "-c", "echo $(id -u) $(id -g)"]);
        assert_eq!(outcome.stdout.trim(), expected, "-u {user}: {}", outcome.stderr);
    }
}

/// What is no number, or no id, is refused: it is neither a name, nor cut to what fits, nor "unchanged".
#[test]
fn cve_2026_46680_what_is_no_id_is_refused() {
    let bundle = sleeping("4294967296:x:0:0::/:\n99999999999:x:0:0::/:\nroot:x:0:0::/:\n-1:x:0:0::/:\n");
    for user in
        ["4294967296", "99999999999", "4294967295", "-1", "0x1", "1e1", " 1", "1 ", "", "root", "1:", ":1"]
    {
        let outcome = bundle.call(&["exec", "-u", user, &bundle.id, "id"]);
        assert!(outcome.status != 0 && outcome.stdout.is_empty(), "-u {user:?}: {}", outcome.stdout);
    }
}

#[test]
fn cve_2026_46680_nor_in_a_configuration() {
    for (field, value) in [
        ("uid", json!(4_294_967_296_u64)),
        ("uid", json!(4_294_967_295_u64)),
        ("uid", json!(-1)),
        ("uid", json!("0")),
        ("gid", json!(4_294_967_295_u64)),
        ("additionalGids", json!([4_294_967_295_u64])),
    ] {
        let mut bundle = Bundle::new(&["id"]);
        bundle.config["process"]["user"][field] = value.clone();
        let message = bundle.refused();
        assert!(message.contains(&format!("process.user.{field}")), "{field} {value}: {message}");
    }
}

/// Inheritable capabilities that nobody asked for come back to life at the execution of a file that has them.
#[test]
fn cve_2022_24769_nothing_is_inheritable_by_default() {
    let bundle = Bundle::new(&["grep", "CapInh", "/proc/self/status"]);
    assert_eq!(bundle.output(), "CapInh:\t0000000000000000\n");
}

#[test]
fn cve_2022_24769_nor_in_a_configuration_to_start_from() {
    let empty = Bundle::new(&["true"]);
    fs::remove_dir_all(empty.rootfs()).unwrap();
    assert_eq!(empty.call(&["spec"]).status, 0);
    let config = fs::read(empty.directory.join("config.json")).unwrap();
    let spec: Value = serde_json::from_slice(&config).unwrap();
    let inheritable = &spec["process"]["capabilities"]["inheritable"];
    assert!(inheritable.as_array().is_none_or(Vec::is_empty), "{inheritable}");
}

/// The same for those added for a later process.
#[test]
fn cve_2022_29162_nor_for_a_later_process() {
    let bundle = sleeping("root:x:0:0::/root:/bin/sh\n");
    let outcome = bundle.call(&[
        "exec",
        "--cap",
        "CAP_NET_RAW",
        &bundle.id,
        "grep",
        "-E",
        "CapInh|CapAmb",
        "/proc/self/status",
    ]);
    assert_eq!(
        outcome.stdout, "CapInh:\t0000000000000000\nCapAmb:\t0000000000000000\n",
        "{}",
        outcome.stderr
    );
}

crate::door::by_the_library! {
    cve_2022_24769_nothing_is_inheritable_by_default cve_2026_46680_nor_in_a_configuration
}
