//! A container is a world of its own: what it sees, what it may not do.

use blackbox::{IMAGE, World};

#[test]
fn namespaces_are_its_own() {
    let world = World::start();
    for client in world.clients() {
        let links = |words: &[&str]| {
            let script =
                "cd /proc/self/ns && for kind in mnt pid ipc uts net cgroup; do readlink $kind; done";
            client.run(&[&["run", "--rm"], words, &[IMAGE, "sh", "-c", script]].concat()).ok()
        };
        let host: Vec<String> = ["mnt", "pid", "ipc", "uts", "net"]
            .iter()
            .map(|kind| {
                std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap().to_string_lossy().into_owned()
            })
            .collect();
        let own = links(&[]);
        for namespace in &host {
            assert!(!own.contains(namespace.as_str()), "shares {namespace} with the host:\n{own}");
        }
        let shared = links(&["--pid", "host", "--ipc", "host", "--uts", "host"]);
        for namespace in &host[1..4] {
            assert!(shared.contains(namespace.as_str()), "does not share {namespace}:\n{shared}");
        }
        world.tidy();
    }
}

#[test]
fn processes_of_another_container_are_joined() {
    let world = World::start();
    world.wharf(&["run", "-d", "--name", "first", IMAGE, "sleep", "1000"]).ok();
    world.wharf(&["run", "-d", "--name", "second", "--pid", "container:first", IMAGE, "sleep", "2000"]).ok();
    let seen = world.wharf(&["exec", "second", "sh", "-c", "ps -o args; readlink /proc/self/ns/pid"]).ok();
    assert!(seen.contains("sleep 1000") && seen.contains("sleep 2000"), "{seen}");
    let state = world.wharf(&["inspect", "second", "--format", "{{.State.Status}} {{.State.Pid}}"]).ok();
    assert!(state.starts_with("running ") && !state.ends_with(" 0"), "{state}");
    world.wharf(&["run", "--rm", "--pid", "container:first", IMAGE, "sh", "-c", "exit 9"]).code(9);
    world.wharf(&["rm", "-f", "second"]).ok();
    assert_eq!(world.wharf(&["inspect", "first", "--format", "{{.State.Status}}"]).ok(), "running");
}

#[test]
fn the_process_is_number_one_and_sees_no_others() {
    let world = World::start();
    for client in world.clients() {
        let output =
            client.run(&["run", "--rm", IMAGE, "sh", "-c", "echo $$; ls /proc | grep -c '^[0-9]'"]).ok();
        let lines: Vec<&str> = output.lines().collect();
        assert_eq!(lines[0], "1");
        assert!(lines[1].parse::<u32>().unwrap() <= 4, "{output}");
        world.tidy();
    }
}

#[test]
fn kernel_files_are_masked_or_read_only() {
    let world = World::start();
    for client in world.clients() {
        let script = "cat /proc/kcore /proc/keys /proc/timer_list 2>/dev/null | wc -c
        ls /sys/firmware /proc/acpi /proc/scsi 2>/dev/null | grep -vc :
        echo 1 2>/dev/null > /proc/sys/kernel/sysrq || echo no
        echo b 2>/dev/null > /proc/sysrq-trigger || echo no
        for d in /sys/fs/cgroup/memory /sys/fs/cgroup; do [ -d $d ] && break; done
        mkdir $d/x 2>/dev/null || echo no
        touch /sys/x 2>/dev/null || echo no";
        let output = client.run(&["run", "--rm", IMAGE, "sh", "-c", script]).ok();
        assert!(output.starts_with("0\n"), "{output}");
        assert_eq!(output.matches("no").count(), 4, "{output}");
        world.tidy();
    }
}

#[test]
fn system_calls_are_filtered() {
    let world = World::start();
    for client in world.clients() {
        let seccomp = |flags: &[&str]| {
            client
                .run(&[&["run", "--rm"], flags, &[IMAGE, "grep", "Seccomp:", "/proc/self/status"]].concat())
                .ok()
        };
        assert_eq!(seccomp(&[]), "Seccomp:\t2");
        assert_eq!(seccomp(&["--security-opt", "seccomp=unconfined"]), "Seccomp:\t0");
        assert_eq!(seccomp(&["--privileged"]), "Seccomp:\t0");
        client.run(&["run", "--rm", IMAGE, "unshare", "-m", "true"]).code(1).says("Operation not permitted");
        world.tidy();
    }
}

#[test]
fn capabilities_are_added_and_dropped() {
    let world = World::start();
    for client in world.clients() {
        let effective = |flags: &[&str]| {
            client
                .run(&[&["run", "--rm"], flags, &[IMAGE, "grep", "CapEff", "/proc/self/status"]].concat())
                .ok()
        };
        assert_eq!(effective(&["--cap-drop", "ALL"]), "CapEff:\t0000000000000000");
        assert_eq!(
            effective(&["--cap-drop", "ALL", "--cap-add", "NET_BIND_SERVICE"]),
            "CapEff:\t0000000000000400"
        );
        assert_eq!(effective(&["--cap-add", "cap_sys_time"]), "CapEff:\t00000000aa0425fb");
        assert_eq!(effective(&["-u", "1000"]), "CapEff:\t0000000000000000");
        client
            .run(&["run", "--rm", "--cap-add", "NONSENSE", IMAGE, "true"])
            .code(125)
            .says("unknown capability");
        world.tidy();
    }
}

#[test]
fn no_new_privileges_is_set_on_request() {
    let world = World::start();
    for client in world.clients() {
        let flag = |words: &[&str]| {
            client
                .run(&[&["run", "--rm"], words, &[IMAGE, "grep", "NoNewPrivs", "/proc/self/status"]].concat())
                .ok()
        };
        assert_eq!(flag(&[]), "NoNewPrivs:\t0");
        assert_eq!(flag(&["--security-opt", "no-new-privileges"]), "NoNewPrivs:\t1");
        assert_eq!(flag(&["--security-opt", "no-new-privileges=true"]), "NoNewPrivs:\t1");
        world.tidy();
    }
}

#[test]
fn the_host_sees_no_mounts_of_a_container() {
    let world = World::start();
    for client in world.clients() {
        let before = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        client.run(&["run", "-d", "--name", "quiet", IMAGE, "sleep", "1000"]).ok();
        let during = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!during.contains(&world.directory().to_string_lossy().into_owned()), "{during}");
        // Tests that run beside this one mount their networks and disks, each at a place of its own.
        let others = ["/run/netns".into(), std::env::temp_dir().join("wharf-")];
        let new = during.lines().filter(|line| !before.contains(*line));
        let place = |line: &str| line.split(' ').nth(4).unwrap_or_default().to_owned();
        let new: Vec<String> = new.map(place).collect();
        let theirs = |place: &String| others.iter().any(|other| place.starts_with(&*other.to_string_lossy()));
        assert!(new.iter().all(theirs), "{new:?} of\n{during}");
        world.tidy();
    }
}

#[test]
fn no_descriptor_of_ours_reaches_the_container() {
    let world = World::start();
    for client in world.clients() {
        let output = client.run(&["run", "--rm", IMAGE, "ls", "/proc/self/fd"]).ok();
        assert_eq!(output, "0\n1\n2\n3", "3 is the directory that ls reads");
        client.run(&["run", "-d", "--name", "shell", IMAGE, "sleep", "1000"]).ok();
        assert_eq!(client.run(&["exec", "shell", "ls", "/proc/self/fd"]).ok(), "0\n1\n2\n3");
        world.tidy();
    }
}
