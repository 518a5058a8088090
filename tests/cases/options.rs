//! The flags of `run` and `create`, each by its effect inside the container.

mod devices;
mod mounts;
mod sources;
mod typed;
mod update;
mod walls;

use blackbox::{IMAGE, World};

#[test]
fn run_prints_what_the_container_prints_and_exits_as_it_does() {
    let world = World::start();
    for client in world.clients() {
        let output =
            client.run(&["run", "--rm", IMAGE, "sh", "-c", "echo out; echo err >&2; exit 7"]).code(7);
        assert_eq!(output.stdout, "out\n");
        assert_eq!(output.stderr, "err\n");
    }
    assert_eq!(world.wharf(&["ps", "-aq"]).ok(), "");
}

#[test]
fn the_embedded_image_runs() {
    let world = World::start();
    world.wharf(&["run", "--rm", "localhost/hello"]).code(0).prints("Wharf");
}

#[test]
fn environment_comes_from_image_flags_and_files() {
    let world = World::start();
    let file = world.directory().join("env");
    std::fs::write(&file, "# a comment\nFROM_FILE=file value\nBOTH=file\n\nHOME_COPY\n").unwrap();
    for client in world.clients() {
        let printed = client
            .run(&[
                "run",
                "--rm",
                "--env-file",
                file.to_str().unwrap(),
                "-e",
                "BOTH=flag",
                "-e",
                "X=a=b",
                IMAGE,
                "env",
            ])
            .ok();
        for line in ["FROM_FILE=file value", "BOTH=flag", "X=a=b", "HOME=/root"] {
            assert!(
                printed.lines().any(|printed| printed == line),
                "{} lacks {line} in\n{printed}",
                client.name
            );
        }
        assert!(!printed.contains("TERM="), "no terminal, no TERM:\n{printed}");
    }
}

#[test]
fn users_in_all_forms() {
    let world = World::start();
    for client in world.clients() {
        for (user, expected) in [
            ("1000", "uid=1000(web) gid=1001(web) groups=1001(web),1002(extra)"),
            ("web", "uid=1000(web) gid=1001(web) groups=1001(web),1002(extra)"),
            ("web:extra", "uid=1000(web) gid=1002(extra) groups=1002(extra)"),
            ("1234", "uid=1234 gid=0(root) groups=0(root)"),
            ("1234:5678", "uid=1234 gid=5678 groups=5678"),
            ("0:0", "uid=0(root) gid=0(root) groups=0(root)"),
        ] {
            assert_eq!(client.run(&["run", "--rm", "-u", user, IMAGE, "id"]).ok(), expected, "--user {user}");
        }
        client
            .run(&["run", "--rm", "-u", "stranger", IMAGE, "id"])
            .code(125)
            .says("unable to find user stranger: no matching entries in passwd file");
        let groups = client.run(&[
            "run",
            "--rm",
            "-u",
            "1234",
            "--group-add",
            "extra",
            "--group-add",
            "77",
            IMAGE,
            "id",
        ]);
        assert_eq!(groups.ok(), "uid=1234 gid=0(root) groups=0(root),77,1002(extra)");
        world.tidy();
    }
}

#[test]
fn working_directory_entrypoint_and_hostname() {
    let world = World::start();
    for client in world.clients() {
        assert_eq!(client.run(&["run", "--rm", "-w", "/new/place", IMAGE, "pwd"]).ok(), "/new/place");
        let output = client.run(&["run", "--rm", "--entrypoint", "echo", IMAGE, "a", "b"]).ok();
        assert_eq!(output, "a b");
        let output = client.run(&[
            "run",
            "--rm",
            "--hostname",
            "ship",
            IMAGE,
            "sh",
            "-c",
            "hostname; cat /etc/hostname",
        ]);
        assert_eq!(output.ok(), "ship\nship");
        let hosts =
            client.run(&["run", "--rm", "--add-host", "db:10.9.8.7", IMAGE, "cat", "/etc/hosts"]).ok();
        assert!(hosts.contains("10.9.8.7\tdb") && hosts.contains("127.0.0.1\tlocalhost"), "{hosts}");
        world.tidy();
    }
}

#[test]
fn read_only_root_with_tmpfs() {
    let world = World::start();
    for client in world.clients() {
        let script = "touch /x 2>/dev/null && echo writable; touch /scratch/x && stat -f -c %T /scratch; mount | grep -c ' /scratch '";
        let output = client.run(&[
            "run",
            "--rm",
            "--read-only",
            "--tmpfs",
            "/scratch:size=1m,mode=700",
            IMAGE,
            "sh",
            "-c",
            script,
        ]);
        assert_eq!(output.ok(), "tmpfs\n1");
        world.tidy();
    }
}

#[test]
fn limits_reach_the_cgroup() {
    let world = World::start();
    for client in world.clients() {
        let v2 = std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
        let (memory, pids, cpu) = if v2 {
            ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/pids.max", "/sys/fs/cgroup/cpu.max")
        } else {
            (
                "/sys/fs/cgroup/memory/memory.limit_in_bytes",
                "/sys/fs/cgroup/pids/pids.max",
                "/sys/fs/cgroup/cpu/cpu.cfs_quota_us",
            )
        };
        let output = client.run(&[
            "run",
            "--rm",
            "--memory",
            "64m",
            "--pids-limit",
            "50",
            "--cpus",
            "0.5",
            IMAGE,
            "cat",
            memory,
            pids,
            cpu,
        ]);
        assert_eq!(output.ok(), format!("67108864\n50\n{}", if v2 { "50000 100000" } else { "50000" }));
        world.tidy();
    }
}

#[test]
fn out_of_memory_is_told() {
    let world = World::start();
    for client in world.clients() {
        let hog = "dd if=/dev/zero of=/dev/shm/x bs=1M count=60";
        client
            .run(&[
                "run",
                "--name",
                "hog",
                "--memory",
                "16m",
                "--memory-swap",
                "16m",
                IMAGE,
                "sh",
                "-c",
                &format!("exec {hog}"),
            ])
            .code(137);
        assert_eq!(world.inspect("hog")["State"]["OOMKilled"], true);
        world.tidy();
    }
}

#[test]
fn ulimits_sysctls_and_shared_memory() {
    let world = World::start();
    for client in world.clients() {
        let output = client.run(&[
        "run", "--rm", "--ulimit", "nofile=100:200", "--sysctl", "net.ipv4.ip_forward=1", "--shm-size", "1m", IMAGE,
        "sh", "-c", "ulimit -Sn; ulimit -Hn; cat /proc/sys/net/ipv4/ip_forward; df -k /dev/shm | tail -n1 | awk '{print $2}'",
    ]);
        assert_eq!(output.ok(), "100\n200\n1\n1024");
        world.tidy();
    }
}

#[test]
fn an_init_reaps_and_forwards() {
    let world = World::start();
    for client in world.clients() {
        let output =
            client.run(&["run", "--rm", "--init", IMAGE, "sh", "-c", "echo $$; cat /proc/1/comm"]).ok();
        let lines: Vec<&str> = output.lines().collect();
        assert_ne!(lines[0], "1", "the command is not process 1");
        assert_eq!(lines[1], "docker-init");
        client.run(&["run", "--rm", "--init", IMAGE, "sh", "-c", "exit 9"]).code(9);
        world.tidy();
    }
}

#[test]
fn labels_names_and_cidfile() {
    let world = World::start();
    for client in world.clients() {
        let file = world.directory().join("cid");
        let id = client
            .run(&[
                "run",
                "-d",
                "--cidfile",
                file.to_str().unwrap(),
                "-l",
                "a=b",
                "--label",
                "c",
                "--name",
                "first",
                IMAGE,
                "sleep",
                "1000",
            ])
            .ok();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), id);
        let labels = &world.inspect("first")["Config"]["Labels"];
        assert_eq!((labels["a"].as_str(), labels["c"].as_str()), (Some("b"), Some("")));
        client
            .run(&["run", "--name", "first", IMAGE, "true"])
            .code(125)
            .says("Conflict. The container name \"/first\" is already in use by container");
        let name = client.run(&["run", "-d", IMAGE, "true"]).ok();
        let name = world.inspect(&name)["Name"].as_str().unwrap().to_owned();
        assert!(name.starts_with('/') && name.contains('_'), "a name in Docker's style: {name}");
        assert_eq!(client.run(&["ps", "-q", "--no-trunc", "--filter", "label=a=b"]).ok(), id);
        std::fs::remove_file(&file).unwrap();
        world.tidy();
    }
}

#[test]
fn devices_and_privileges() {
    let world = World::start();
    for client in world.clients() {
        let script = "test -e /dev/loop-control && echo there; test -c /dev/full && echo full";
        assert_eq!(client.run(&["run", "--rm", IMAGE, "sh", "-c", script]).ok(), "full");
        let output = client.run(&[
            "run",
            "--rm",
            "--device",
            "/dev/null:/dev/mine:r",
            IMAGE,
            "sh",
            "-c",
            "test -c /dev/mine && cat /dev/mine && echo ok",
        ]);
        assert_eq!(output.ok(), "ok");
        let full =
            client.run(&["run", "--rm", "--privileged", IMAGE, "grep", "CapEff", "/proc/self/status"]).ok();
        let usual = client.run(&["run", "--rm", IMAGE, "grep", "CapEff", "/proc/self/status"]).ok();
        assert_eq!(usual, "CapEff:\t00000000a80425fb");
        assert!(full > usual, "{full}");
        world.tidy();
    }
}

#[test]
fn a_missing_image_is_pulled_unless_told_not_to() {
    let world = World::start();
    for client in world.clients() {
        client
            .run(&["run", "--pull", "never", "localhost:1/absent", "true"])
            .code(125)
            .says("No such image: localhost:1/absent:latest");
        client
            .run(&["run", "localhost:1/absent", "true"])
            .code(125)
            .says("Unable to find image 'localhost:1/absent:latest' locally");
        world.tidy();
    }
}
