//! `update` of running and stopped containers.

use blackbox::{IMAGE, World};

#[test]
fn limits_of_a_running_container() {
    let world = World::start();
    for client in world.clients() {
        let v2 = std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
        let (memory, pids, cpus) = if v2 {
            ("memory.max", "pids.max", "cpuset.cpus")
        } else {
            ("memory/memory.limit_in_bytes", "pids/pids.max", "cpuset/cpuset.cpus")
        };
        client.run(&["run", "-d", "--name", "web", IMAGE, "sleep", "1000"]).ok();
        client.run(&["update", "-m", "64m"]).code(1);
        client.run(&["update", "-m", "64m", "web"])
        .code(1)
        .says("Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time");
        client
            .run(&[
                "update",
                "-m",
                "64m",
                "--memory-swap",
                "128m",
                "--pids-limit",
                "30",
                "--cpuset-cpus",
                "0",
                "web",
            ])
            .ok();
        let inside = |file: &str| client.run(&["exec", "web", "cat", &format!("/sys/fs/cgroup/{file}")]).ok();
        assert_eq!(
            (inside(memory).as_str(), inside(pids).as_str(), inside(cpus).as_str()),
            ("67108864", "30", "0")
        );
        let host = &world.inspect("web")["HostConfig"];
        assert_eq!(
            (host["Memory"].as_i64(), host["MemorySwap"].as_i64(), host["PidsLimit"].as_i64()),
            (Some(64 << 20), Some(128 << 20), Some(30))
        );
        client.run(&["update", "--pids-limit", "-1", "web"]).ok();
        assert_eq!(inside(pids), "max");
        assert_eq!(world.inspect("web")["HostConfig"]["PidsLimit"], 0);
        world.tidy();
    }
}

#[test]
fn what_the_kernel_refuses_is_not_remembered() {
    let world = World::start();
    for client in world.clients() {
        client
            .run(&[
                "run",
                "-d",
                "--name",
                "web",
                "-m",
                "64m",
                "--memory-swap",
                "64m",
                "--cpus",
                "0.5",
                IMAGE,
                "sleep",
                "1000",
            ])
            .ok();
        client
            .run(&["update", "--cpu-quota", "5000", "web"])
            .code(1)
            .says("Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set");
        // Fewer bytes of memory and swap than of memory alone.
        client
            .run(&["update", "--memory-swap", "32m", "--restart", "always", "web"])
            .code(1)
            .says("Cannot update container ");
        let host = &world.inspect("web")["HostConfig"];
        assert_eq!(
            (host["MemorySwap"].as_i64(), host["RestartPolicy"]["Name"].as_str()),
            (Some(64 << 20), Some("no"))
        );
        client
            .run(&["update", "--restart", "often", "web"])
            .code(1)
            .says("invalid restart policy: unknown policy 'often'");
        world.tidy();
    }
}
