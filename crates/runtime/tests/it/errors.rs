//! What went wrong early, inside as well as outside, reaches the caller whole: the step, what it worked on, the errno.

use serde_json::{Value, json};

use crate::bundle::Bundle;

/// The message, with quotes as they are.
fn refused(change: impl FnOnce(&mut Bundle)) -> String {
    let mut bundle = Bundle::new(&["true"]);
    change(&mut bundle);
    bundle.refused().replace("\\\"", "\"")
}

#[track_caller]
fn assert_says(message: &str, words: &[&str]) {
    for word in words {
        assert!(message.contains(word), "{word:?} is missing: {message}");
    }
}

#[test]
fn of_fields() {
    let message = refused(|bundle| bundle.config["process"]["user"]["uid"] = json!("x"));
    assert_says(&message, &["process.user.uid: invalid type: string \"x\", expected u32"]);
    let message = refused(|bundle| bundle.config["linux"]["namespaces"][0]["type"] = json!(5));
    assert_says(&message, &["linux.namespaces[0].type: invalid type: integer `5`, expected one of `mount`"]);
    let message = refused(|bundle| bundle.config["hooks"] = json!([]));
    assert_says(&message, &["hooks: invalid type: sequence, expected an object"]);
}

#[test]
fn of_mounts() {
    let message = refused(|bundle| bundle.mount("/a", "bind", "/no/such/source", &["rbind"]));
    assert_says(&message, &["error mounting \"/no/such/source\" to rootfs at \"/a\"", "open_tree", "ENOENT"]);
    let message = refused(|bundle| bundle.mount("/a", "nosuchfs", "none", &[]));
    assert_says(&message, &["error mounting \"none\" to rootfs at \"/a\"", "fsopen", "nosuchfs", "ENODEV"]);
    let message = refused(|bundle| bundle.mount("/a", "tmpfs", "tmpfs", &["size=lots"]));
    assert_says(&message, &["rootfs at \"/a\"", "size", "lots", "EINVAL"]);
    let message = refused(|bundle| bundle.mount("/etc/passwd/below", "tmpfs", "tmpfs", &[]));
    assert_says(&message, &["rootfs at \"/etc/passwd/below\"", "create mountpoint", "ENOTDIR"]);
    for root in ["/", ".", "", "/etc/.."] {
        let message = refused(|bundle| bundle.mount(root, "tmpfs", "tmpfs", &[]));
        assert_says(&message, &["rootfs at \"/\"", "root cannot be mounted on"]);
    }
    let message = refused(|bundle| bundle.mount("/", "bind", "/", &["remount", "ro"]));
    assert_says(&message, &["rootfs at \"/\"", "root cannot be mounted on"]);
    let message = refused(|bundle| bundle.mount("/proc/no", "bind", "/etc", &["rbind"]));
    assert_says(&message, &["rootfs at \"/proc/no\"", "create mountpoint", "ENOENT"]);
}

#[test]
fn of_sysctls() {
    let with =
        |name: &str, value: &str| refused(|bundle| bundle.config["linux"]["sysctl"] = json!({ name: value }));
    assert_says(
        &with("net.ipv4.no_such_thing", "1"),
        &["error setting sysctl", "no_such_thing", "openat2", "ENOENT"],
    );
    let message = with("net.ipv4.ip_forward", "maybe");
    assert_says(&message, &["error setting sysctl", "ip_forward", "write", "\"maybe\"", "EINVAL"]);
    assert_says(&with("kernel.panic", "1"), &["kernel.panic", "is not in a separate kernel namespace"]);
}

#[test]
fn of_limits() {
    let with = |limits: Value| {
        refused(|bundle| {
            let all = bundle.config["linux"]["resources"].as_object_mut().unwrap();
            all.extend(limits.as_object().unwrap().clone());
        })
    };
    assert_says(&with(json!({ "cpu": { "cpus": "4000" } })), &["cpuset.cpus", "4000"]);
    assert_says(&with(json!({ "cpu": { "mems": "77" } })), &["cpuset.mems", "77"]);
    assert_says(&with(json!({ "cpu": { "quota": 1, "period": 100_000 } })), &["cpu.", "EINVAL"]);
    let rlimits = json!([{ "type": "RLIMIT_NOFILE", "soft": 9, "hard": 8 }]);
    let message = refused(|bundle| bundle.config["process"]["rlimits"] = rlimits);
    assert_says(&message, &["error setting rlimits", "RLIMIT_NOFILE", "9:8", "EINVAL"]);
}

#[test]
fn of_devices() {
    let device = |path: &str, kind: &str, major: i64| {
        let device = json!({ "path": path, "type": kind, "major": major, "minor": 1 });
        refused(|bundle| bundle.config["linux"]["devices"] = json!([device]))
    };
    assert_says(&device("/proc/made", "c", 1), &["error creating device node \"/proc/made\"", "mknodat"]);
    assert_says(&device("/dev/odd", "c", -5), &["\"/dev/odd\"", "no valid number"]);
    // Taken already by something else.
    assert_says(&device("/dev/pts", "c", 1), &["/dev/pts", "incorrect ftype", "Directory", "Character"]);
    // In a user namespace the host's node is bound, and there is none.
    let message = refused(|bundle| {
        bundle.config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "user" }));
        let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 65_536 }]);
        bundle.config["linux"]["uidMappings"] = map.clone();
        bundle.config["linux"]["gidMappings"] = map;
        std::os::unix::fs::chown(bundle.rootfs(), Some(100_000), Some(100_000)).unwrap();
        bundle.config["linux"]["devices"] =
            json!([{ "path": "/dev/wharf-missing", "type": "c", "major": 1, "minor": 3 }]);
    });
    assert_says(&message, &["error creating device node \"/dev/wharf-missing\"", "host's device", "ENOENT"]);
}

#[test]
fn of_the_root() {
    let message = refused(|bundle| bundle.config["root"]["path"] = json!("nowhere"));
    assert_says(&message, &["rootfs", "nowhere", "o such file or directory"]);
    let message = refused(|bundle| bundle.config["root"]["path"] = json!("rootfs/etc/passwd"));
    assert_says(&message, &["rootfs/etc/passwd", "ot a directory"]);
    // A place is missing in a root that cannot be written.
    let message = refused(|bundle| {
        let root = bundle.rootfs();
        bundle.mount("/ro", "bind", root.to_str().unwrap(), &["rbind", "ro"]);
        bundle.mount("/ro/missing", "tmpfs", "tmpfs", &[]);
    });
    assert_says(&message, &["rootfs at \"/ro/missing\"", "create mountpoint", "mkdirat", "EROFS"]);
}

#[test]
fn of_directories_and_users() {
    let message = refused(|bundle| bundle.config["process"]["cwd"] = json!("/etc/passwd"));
    assert_says(&message, &["chdir to cwd", "/etc/passwd", "not a directory"]);
    let message = refused(|bundle| {
        std::os::unix::fs::symlink("/etc/passwd/x", bundle.rootfs().join("link")).unwrap();
        bundle.config["process"]["cwd"] = json!("/link");
    });
    assert_says(&message, &["/link", "ot a directory"]);
    let message = refused(|bundle| bundle.config["process"]["cwd"] = json!("relative"));
    assert_says(&message, &["wd must be an absolute path"]);
    // No such id in the container's user namespace.
    let message = refused(|bundle| {
        bundle.config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "user" }));
        let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 10 }]);
        bundle.config["linux"]["uidMappings"] = map.clone();
        bundle.config["linux"]["gidMappings"] = map;
        std::os::unix::fs::chown(bundle.rootfs(), Some(100_000), Some(100_000)).unwrap();
        bundle.config["process"]["user"] = json!({ "uid": 5000, "gid": 0 });
    });
    assert_says(&message, &["unable to setup user", "cannot setuid to unmapped uid 5000 in user namespace"]);
}

#[test]
fn of_namespaces() {
    let with = |path: &str| refused(|bundle| bundle.config["linux"]["namespaces"][1]["path"] = json!(path));
    assert_says(&with("/proc/self/ns/uts"), &["/proc/self/ns/uts", "is of type uts, not net"]);
    assert_says(&with("/no/such/namespace"), &["/no/such/namespace", "o such file or directory"]);
    assert_says(&with("/etc/passwd"), &["/etc/passwd"]);
    let twice = refused(|bundle| {
        bundle.config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "pid" }));
    });
    assert_says(&twice, &["duplicated ns"]);
}

/// The step of a later process is told the same way, from the process on its way in.
#[test]
fn of_later_processes() {
    let bundle = Bundle::new(&["/bin/sleep", "1000"]);
    bundle.create();
    bundle.start();
    let exec = |fields: Value| {
        let outcome = bundle.execute_with(&fields);
        assert_eq!(outcome.status, 255, "{}", outcome.stderr);
        outcome.stderr.replace("\\\"", "\"")
    };
    let message = exec(json!({ "args": ["true"], "cwd": "/nowhere" }));
    assert_says(&message, &["chdir to cwd", "/nowhere", "no such file or directory"]);
    assert_says(&exec(json!({ "args": ["/etc"] })), &["exec: \"/etc\"", "is a directory"]);
    let limits = json!([{ "type": "RLIMIT_NOFILE", "soft": 9, "hard": 8 }]);
    let message = exec(json!({ "args": ["true"], "rlimits": limits }));
    assert_says(&message, &["error setting rlimits", "RLIMIT_NOFILE", "EINVAL"]);
    let message = exec(json!({ "args": ["true"], "user": { "uid": "x" } }));
    assert_says(&message, &["user.uid: invalid type: string \"x\", expected u32"]);
}

/// The same where options say it.
#[test]
fn of_options_of_later_processes() {
    let bundle = Bundle::new(&["/bin/sleep", "1000"]);
    bundle.create();
    bundle.start();
    let id = bundle.id.as_str();
    for (words, named) in
        [(["--cwd", "/nowhere", id, "true"], "/nowhere"), (["--cgroup", "no/such", id, "true"], "cgroup")]
    {
        let outcome = bundle.call(&[&["exec"], &words[..]].concat());
        assert_eq!(outcome.status, 255, "{}", outcome.stderr);
        assert_says(&outcome.stderr, &[named]);
    }
}

crate::door::by_the_library! {
    of_fields of_mounts of_sysctls of_limits of_devices of_the_root of_directories_and_users of_namespaces
    of_later_processes
}
