//! What opens and closes a container's walls, and what is only for the runtime, each by its effect.

use blackbox::{IMAGE, World, binary};
use serde_json::json;

/// The kernel's log, which anybody may open for writing who has the device.
const OPEN_LOG: &str = "mknod /log c 1 11; (: >>/log) 2>/dev/null && echo written; (: <>/log) 2>/dev/null && echo both; echo over";

#[test]
fn a_rule_opens_a_device_and_only_as_far_as_it_says() {
    let world = World::start();
    for client in world.clients() {
        let run = |flags: &[&str]| {
            client.run(&[&["run", "--rm"], flags, &[IMAGE, "sh", "-c", OPEN_LOG]].concat()).ok()
        };
        let rule = |text| ["--cap-add", "SYSLOG", "--device-cgroup-rule", text];
        assert_eq!(run(&["--cap-add", "SYSLOG"]), "over");
        assert_eq!(run(&rule("c 1:11 w")), "written\nover");
        assert_eq!(run(&rule("c 1:11 rw")), "written\nboth\nover");
        assert_eq!(run(&rule("c 1:* rwm")), "written\nboth\nover");
        assert_eq!(run(&rule("c 2:11 rwm")), "over", "of another driver");
        assert_eq!(run(&rule("b 1:11 rwm")), "over", "of another kind");
    }
}

#[test]
fn a_profile_denies_a_system_call() {
    let world = World::start();
    let profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28 }],
    });
    std::fs::write(world.directory().join("profile.json"), profile.to_string()).unwrap();
    for client in world.clients() {
        let run = |flags: &[&str]| {
            let script = "mkdir /made 2>&1; touch /file && grep Seccomp: /proc/self/status";
            client.run(&[&["run", "--rm"], flags, &[IMAGE, "sh", "-c", script]].concat()).ok()
        };
        assert_eq!(run(&[]), "Seccomp:\t2");
        let denied = "mkdir: can't create directory '/made': No space left on device\nSeccomp:\t2";
        assert_eq!(run(&["--security-opt", "seccomp=profile.json"]), denied);
    }
}

#[test]
fn paths_of_the_system_are_hidden_unless_they_are_not() {
    let world = World::start();
    let script = "test -c /proc/timer_list && echo hidden; grep -q ' /proc/sys proc ro' /proc/mounts && echo kept; \
                  ls /sys/firmware | wc -l; echo over";
    for client in world.clients() {
        let run = |flags: &[&str]| {
            client.run(&[&["run", "--rm"], flags, &[IMAGE, "sh", "-c", script]].concat()).ok()
        };
        assert_eq!(run(&[]), "hidden\nkept\n0\nover");
        let open = run(&["--security-opt", "systempaths=unconfined"]);
        assert!(!open.contains("hidden") && !open.contains("kept"), "{open}");
        assert!(open.ends_with("\nover"), "{open}");
    }
}

#[test]
fn cgroups_can_be_made_where_they_are_writable() {
    let world = World::start();
    let script = "cd /sys/fs/cgroup; test ! -d pids || cd pids; mkdir sub 2>&1 && rmdir sub && echo made";
    for client in world.clients() {
        let run = |flags: &[&str]| {
            client.run(&[&["run", "--rm"], flags, &[IMAGE, "sh", "-c", script]].concat()).stdout
        };
        let refused = "mkdir: can't create directory 'sub': Read-only file system\n";
        assert_eq!(run(&[]), refused);
        assert_eq!(run(&["--security-opt", "writable-cgroups=false"]), refused);
        assert_eq!(run(&["--security-opt", "writable-cgroups=true"]), "made\n");
    }
}

#[test]
fn annotations_reach_the_runtime() {
    let mut world = World::start();
    // Our own runtime, behind a script that looks at the bundle.
    let script = format!(
        "#!/bin/sh\nfor word; do test ! -e \"$word/config.json\" || jq -c .annotations \"$word/config.json\" >>{}; done\nexec {} \"$@\"\n",
        world.directory().join("noted").display(),
        binary("wharf-runtime").display(),
    );
    let path = world.directory().join("noting");
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    world.stop_engine();
    world.config(&json!({ "runtimes": { "noting": { "path": path } } }).to_string());
    world.start_engine();
    for client in world.clients() {
        let _ = std::fs::remove_file(world.directory().join("noted"));
        let flags = ["--annotation", "com.example.why=a test", "--annotation", "empty="];
        client.run(&[&["run", "--rm", "--runtime", "noting"], &flags[..], &[IMAGE, "true"]].concat()).ok();
        let noted = std::fs::read_to_string(world.directory().join("noted")).unwrap();
        let noted: serde_json::Value = serde_json::from_str(noted.lines().next().unwrap()).unwrap();
        assert_eq!((&noted["com.example.why"], &noted["empty"]), (&json!("a test"), &json!("")));
    }
}
