//! What a container cannot see, reach or do.

use serde_json::json;

use crate::bundle::Bundle;

#[test]
fn its_own_namespaces() {
    let mut bundle = Bundle::shell(
        "echo $$; hostname; cat /proc/sys/kernel/domainname; readlink /proc/self/ns/net; ls /sys/class/net; ifconfig lo",
    );
    bundle.config["domainname"] = json!("of.its.own");
    let output = bundle.output();
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(&lines[..3], ["1", "inside", "of.its.own"]);
    let host = std::fs::read_link("/proc/self/ns/net").unwrap();
    assert_ne!(lines[3], host.to_str().unwrap());
    assert_eq!(lines[4], "lo");
    assert!(output.contains("UP LOOPBACK"), "{output}");
}

#[test]
fn namespaces_of_others_are_joined() {
    let host = Bundle::new(&["/bin/sleep", "1000"]);
    host.create();
    let mut guest =
        Bundle::shell("hostname; readlink /proc/self/ns/net; readlink /proc/self/ns/pid; ps | grep -c sleep");
    for namespace in guest.config["linux"]["namespaces"].as_array_mut().unwrap() {
        let kind = namespace["type"].as_str().unwrap().to_owned();
        let file = match kind.as_str() {
            "network" => "net",
            "pid" | "ipc" | "uts" => &kind,
            _ => continue,
        };
        namespace["path"] = json!(format!("/proc/{}/ns/{file}", host.pid()));
    }
    guest.config["hostname"] = json!("");
    host.start();
    let output = guest.output();
    let link = |name: &str| std::fs::read_link(format!("/proc/{}/ns/{name}", host.pid())).unwrap();
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines[0], "inside");
    assert_eq!([lines[1], lines[2]], [link("net").to_str().unwrap(), link("pid").to_str().unwrap()]);
    assert_ne!(lines[3], "0", "it sees the other's processes");
}

#[test]
fn a_namespace_of_the_wrong_kind_is_refused() {
    let mut bundle = Bundle::new(&["true"]);
    bundle.config["linux"]["namespaces"][1]["path"] = json!("/proc/self/ns/uts");
    let message = bundle.refused();
    assert!(message.contains("is of type uts, not net"), "{message}");
}

#[test]
fn a_user_namespace_with_mapped_ids() {
    let mut bundle =
        Bundle::shell("id -u; cat /proc/self/uid_map; touch /made; stat -c %u /bound /made; : > /dev/null");
    bundle.config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "user" }));
    let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 65_536 }]);
    bundle.config["linux"]["uidMappings"] = map.clone();
    bundle.config["linux"]["gidMappings"] = map;
    let secret = bundle.directory.join("secret");
    std::fs::write(&secret, "x").unwrap();
    bundle.mount("/bound", "bind", secret.to_str().unwrap(), &["bind"]);
    std::os::unix::fs::chown(bundle.rootfs(), Some(100_000), Some(100_000)).unwrap();
    let output = bundle.output();
    let words: Vec<&str> = output.split_whitespace().collect();
    assert_eq!(words, ["0", "0", "100000", "65536", "65534", "0"], "{output}");
    use std::os::unix::fs::MetadataExt;
    assert_eq!(std::fs::metadata(bundle.rootfs().join("made")).unwrap().uid(), 100_000);
}

#[test]
fn later_processes_join_the_user_namespace() {
    let mut bundle = Bundle::new(&["/bin/sleep", "1000"]);
    bundle.config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "user" }));
    let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 65_536 }]);
    bundle.config["linux"]["uidMappings"] = map.clone();
    bundle.config["linux"]["gidMappings"] = map;
    std::os::unix::fs::chown(bundle.rootfs(), Some(100_000), Some(100_000)).unwrap();
    bundle.create();
    bundle.start();
    let outcome = bundle.exec("id -u; cat /proc/self/uid_map; hostname");
    let words: Vec<&str> = outcome.stdout.split_whitespace().collect();
    assert_eq!(words, ["0", "0", "100000", "65536", "inside"], "{}", outcome.stderr);
}

#[test]
fn a_time_namespace_with_its_own_boot() {
    let mut bundle = Bundle::shell("cat /proc/uptime");
    bundle.config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "time" }));
    bundle.config["linux"]["timeOffsets"] = json!({ "boottime": { "secs": 1_000_000_000 } });
    let output = bundle.output();
    let uptime: f64 = output.split(' ').next().unwrap().parse().unwrap();
    assert!(uptime > 1e9, "{output}");

    bundle.config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "user" }));
    let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 65_536 }]);
    bundle.config["linux"]["uidMappings"] = map.clone();
    bundle.config["linux"]["gidMappings"] = map;
    std::os::unix::fs::chown(bundle.rootfs(), Some(100_000), Some(100_000)).unwrap();
    assert!(bundle.output().len() > 10, "with a user namespace too");
}

/// The file shows the clocks of the namespace for a reader's children: where it is the reader's own, these are its clocks.
#[test]
fn each_clock_of_a_time_namespace_has_its_own_offset() {
    let script = "readlink /proc/self/ns/time; readlink /proc/self/ns/time_for_children; \
                  while read clock offset; do echo $clock $offset; done < /proc/self/timens_offsets";
    let mut bundle = Bundle::shell(&format!("{script}; exec sleep 1000"));
    bundle.config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "time" }));
    bundle.config["linux"]["timeOffsets"] = json!({
        "monotonic": { "secs": 172_800, "nanosecs": 500 }, "boottime": { "secs": 86_400, "nanosecs": 7 },
    });
    bundle.create();
    bundle.start();
    let later = bundle.exec(script);
    let lines: Vec<&str> = later.stdout.lines().collect();
    assert_eq!(lines[2..], ["monotonic 172800 500", "boottime 86400 7"], "{}", later.stderr);
    assert_eq!(lines[0], lines[1]);
    crate::bundle::wait_until(|| bundle.log() == later.stdout);
    bundle.delete();
    bundle.config["linux"]["timeOffsets"]["monotonic"]["secs"] = json!(-(1i64 << 40));
    let message = bundle.refused();
    assert!(message.contains("timens_offsets"), "no clock goes back beyond its start: {message}");
}

#[test]
fn masked_and_read_only_paths() {
    let mut bundle = Bundle::shell(
        "wc -c < /proc/kallsyms; ls /proc/fs | wc -l; ls /masked | wc -l; touch /masked/x; echo 1 > /proc/sys/kernel/shmmax; touch /ro/x; cat /ro/f; grep -c ' / tmpfs' /proc/mounts",
    );
    std::fs::create_dir_all(bundle.rootfs().join("masked")).unwrap();
    std::fs::write(bundle.rootfs().join("masked/hidden"), "x").unwrap();
    std::fs::create_dir_all(bundle.rootfs().join("ro")).unwrap();
    std::fs::write(bundle.rootfs().join("ro/f"), "seen\n").unwrap();
    bundle.config["linux"]["maskedPaths"] = json!(["/proc/kallsyms", "/proc/fs", "/masked", "/nowhere", ""]);
    bundle.config["linux"]["readonlyPaths"] = json!(["/proc/sys", "/ro", "/nowhere", ""]);
    let outcome = bundle.run();
    assert_eq!(outcome.stdout, "0\n0\n0\nseen\n0\n", "{}", outcome.stderr);
    assert_eq!(outcome.stderr.matches("Read-only file system").count(), 3, "{}", outcome.stderr);
}

#[test]
fn a_read_only_root() {
    let mut bundle = Bundle::shell("touch /x; touch /dev/x && echo dev");
    bundle.config["root"]["readonly"] = json!(true);
    let outcome = bundle.run();
    assert_eq!(outcome.stdout, "dev\n");
    assert!(outcome.stderr.contains("Read-only file system"), "{}", outcome.stderr);
}

#[test]
fn devices_are_those_allowed() {
    let mut bundle = Bundle::shell(
        "head -c 4 /dev/zero | wc -c; echo x > /dev/null && echo null; stat -c '%t:%T %a' /dev/own; \
         mknod /dev/made c 1 11 && head -c 1 /dev/made",
    );
    bundle.config["linux"]["devices"] =
        json!([{ "path": "/dev/own", "type": "c", "major": 1, "minor": 5, "fileMode": 0o640 }]);
    let outcome = bundle.run();
    assert_eq!(outcome.stdout, "4\nnull\n1:5 640\n", "{}", outcome.stderr);
    assert!(outcome.stderr.contains("Operation not permitted"), "{}", outcome.stderr);
}

#[test]
fn a_filter_refuses_as_it_says() {
    let mut bundle =
        Bundle::shell("mkdir /a; chmod 777 /bin; umask 0; cat /proc/self/status | grep Seccomp:");
    bundle.config["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": [
            { "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28 },
            { "names": ["chmod", "fchmodat"], "action": "SCMP_ACT_ERRNO" },
        ],
    });
    for no_new_privileges in [false, true] {
        bundle.config["process"]["noNewPrivileges"] = json!(no_new_privileges);
        let outcome = bundle.run();
        assert_eq!(outcome.stdout, "Seccomp:\t2\n", "{}", outcome.stderr);
        assert!(outcome.stderr.contains("No space left on device"), "{}", outcome.stderr);
        assert!(outcome.stderr.contains("Operation not permitted"), "{}", outcome.stderr);
    }
}

#[test]
fn later_processes_are_filtered_too() {
    let mut bundle = Bundle::new(&["/bin/sleep", "1000"]);
    bundle.config["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28 }],
    });
    bundle.create();
    bundle.start();
    let outcome = bundle.exec("mkdir /a");
    assert!(outcome.stderr.contains("No space left on device"), "{}", outcome.stderr);
}

#[test]
fn capabilities_are_exactly_those_named() {
    let mut bundle = Bundle::shell("grep Cap /proc/self/status");
    bundle.config["process"]["capabilities"] = json!({
        "bounding": ["CAP_CHOWN", "CAP_KILL"], "permitted": ["CAP_CHOWN", "CAP_KILL"], "effective": ["CAP_CHOWN"],
        "inheritable": ["CAP_KILL"], "ambient": ["CAP_KILL"],
    });
    bundle.config["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
    let output = bundle.output();
    let field =
        |name: &str| output.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    assert_eq!(field("CapBnd:"), "0000000000000021");
    assert_eq!(field("CapAmb:"), "0000000000000020");
    assert_eq!(field("CapEff:"), "0000000000000020", "only what is ambient survives execution as a user");
}

/// What the specification leaves open would otherwise be all that the runtime has: root's, of the whole machine.
#[test]
fn without_a_word_about_capabilities_there_are_none() {
    let zero = "0000000000000000";
    for user in [0, 1000] {
        let mut bundle =
            Bundle::shell("grep Cap /proc/self/status; mount -t tmpfs none /tmp && echo mounted");
        bundle.config["process"].as_object_mut().unwrap().remove("capabilities");
        bundle.config["process"]["user"] = json!({ "uid": user, "gid": user });
        let outcome = bundle.run();
        let sets: Vec<&str> =
            outcome.stdout.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
        assert_eq!(sets, [zero; 5], "{}", outcome.stdout);
        assert!(!outcome.stdout.contains("mounted"), "{}", outcome.stdout);
    }
    // Nor has one that comes later.
    let mut bundle = Bundle::new(&["sleep", "1000"]);
    bundle.config["process"]["capabilities"] = json!(null);
    bundle.create();
    bundle.start();
    assert_eq!(bundle.exec("grep CapEff /proc/self/status").stdout, format!("CapEff:\t{zero}\n"));
}

/// The view of v2 is one hierarchy, also beside those of v1.
#[test]
fn the_hierarchy_of_v2_is_mounted_by_its_name() {
    let mut bundle = Bundle::shell("grep ' /cgroups ' /proc/mounts; touch /cgroups/x; true");
    bundle.mount("/cgroups", "cgroup2", "cgroup2", &["nosuid", "noexec", "nodev", "ro"]);
    let outcome = bundle.run();
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    let [line] = lines[..] else { panic!("{}{}", outcome.stdout, outcome.stderr) };
    assert!(line.contains(" /cgroups cgroup2 ro,nosuid,nodev,noexec"), "{line}");
    for kind in ["cgroup", "cgroup2"] {
        let mut bundle = Bundle::shell("true");
        bundle.mount("/cgroups", kind, kind, &["ro", "bogus=1"]);
        let refused = bundle.refused();
        assert!(refused.contains("bogus"), "{kind}: {refused}");
    }
}

#[test]
fn its_own_view_of_cgroups() {
    let mut bundle = Bundle::shell(
        "cat /proc/self/cgroup | grep -v ':/$'; cd /sys/fs/cgroup; ls | wc -l; cd pids 2>/dev/null; mkdir x",
    );
    bundle.mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "ro"]);
    let outcome = bundle.run();
    assert!(outcome.stdout.trim().parse::<u32>().unwrap() > 0, "{}", outcome.stdout);
    assert!(outcome.stderr.contains("Read-only file system"), "{}", outcome.stderr);
}

#[test]
fn what_holds_its_view_of_cgroups_has_neither_devices_nor_programs() {
    let mut bundle = Bundle::shell("grep ' /cgroups tmpfs' /proc/mounts; true");
    bundle.mount("/cgroups", "cgroup", "cgroup", &[]);
    for line in bundle.output().lines() {
        assert!(line.contains("nosuid,nodev,noexec"), "{line}");
    }
}

#[test]
fn sysctls_of_its_namespaces() {
    let mut bundle =
        Bundle::shell("cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/shmmni");
    bundle.config["linux"]["sysctl"] =
        json!({ "net.ipv4.ip_unprivileged_port_start": "0", "kernel.shmmni": "1234" });
    assert_eq!(bundle.output(), "0\n1234\n");
    bundle.config["linux"]["sysctl"] = json!({ "net.ipv4.no_such_thing": "1" });
    let message = bundle.refused();
    assert!(message.contains("no_such_thing") && message.contains("ENOENT"), "{message}");
}

#[test]
fn no_new_privileges() {
    let mut bundle = Bundle::shell("grep NoNewPrivs /proc/self/status");
    assert_eq!(bundle.output(), "NoNewPrivs:\t0\n");
    bundle.config["process"]["noNewPrivileges"] = json!(true);
    assert_eq!(bundle.output(), "NoNewPrivs:\t1\n");
}

#[test]
fn a_user_namespace_without_a_root() {
    let mut bundle = Bundle::shell("id -u; id -g; tr -s ' ' </proc/self/uid_map");
    let map = json!([{ "containerID": 1000, "hostID": 0, "size": 1 }]);
    bundle.config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "user" }));
    bundle.config["linux"]["uidMappings"] = map.clone();
    bundle.config["linux"]["gidMappings"] = map;
    bundle.config["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
    let devpts = &mut bundle.config["mounts"][2]["options"];
    devpts.as_array_mut().unwrap().retain(|option| option != "gid=5");
    assert_eq!(bundle.output(), "1000\n1000\n 1000 0 1\n");
}

crate::door::by_the_library! {
    its_own_namespaces namespaces_of_others_are_joined a_namespace_of_the_wrong_kind_is_refused
    a_user_namespace_with_mapped_ids later_processes_join_the_user_namespace
    a_time_namespace_with_its_own_boot each_clock_of_a_time_namespace_has_its_own_offset
    masked_and_read_only_paths a_read_only_root devices_are_those_allowed
    a_filter_refuses_as_it_says later_processes_are_filtered_too capabilities_are_exactly_those_named
    its_own_view_of_cgroups sysctls_of_its_namespaces no_new_privileges a_user_namespace_without_a_root
}
