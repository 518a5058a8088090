//! Limits of control groups and processes.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use linux::cgroup::{Cgroup, Layout};
use serde_json::{Value, json};

use crate::bundle::{Bundle, wait_until};

/// Policies of sched(7).
const SCHED_BATCH: u32 = 3;
const SCHED_IDLE: u32 = 5;

/// A file of a controller, wherever this machine has it.
fn read(bundle: &Bundle, controller: &str, legacy: &str, unified: &str) -> String {
    let cgroup = bundle.cgroup();
    let text = if cgroup.legacy(controller).is_some() {
        cgroup.get_legacy(controller, legacy)
    } else {
        cgroup.get_unified(unified)
    };
    text.unwrap().trim().to_owned()
}

#[test]
fn set_when_created_and_when_updated() {
    let mut bundle = Bundle::new(&["/bin/sleep", "1000"]);
    bundle.config["linux"]["resources"] = json!({
        "memory": { "limit": 67_108_864 }, "pids": { "limit": 20 }, "cpu": { "quota": 50_000, "period": 100_000 },
    });
    bundle.create();
    bundle.start();
    let unified = bundle.cgroup().is_unified();
    let memory = || read(&bundle, "memory", "memory.limit_in_bytes", "memory.max");
    let pids = || read(&bundle, "pids", "pids.max", "pids.max");
    let cpu = || read(&bundle, "cpu", "cpu.cfs_quota_us", "cpu.max");
    assert_eq!((memory().as_str(), pids().as_str()), ("67108864", "20"));
    assert_eq!(cpu(), if unified { "50000 100000" } else { "50000" });
    bundle.update(&json!({
        "memory": { "limit": 134_217_728 }, "pids": { "limit": 30 }, "cpu": { "quota": 20_000, "period": 100_000 },
    }));
    assert_eq!((memory().as_str(), pids().as_str()), ("134217728", "30"));
    assert_eq!(cpu(), if unified { "20000 100000" } else { "20000" });
}

#[test]
fn a_limit_that_the_kernel_refuses_is_named() {
    let mut bundle = Bundle::new(&["true"]);
    bundle.config["linux"]["resources"]["cpu"] = json!({ "cpus": "4000" });
    let message = bundle.refused();
    assert!(message.contains("cpuset.cpus") && message.contains("4000"), "{message}");
}

#[test]
fn a_limit_too_low_to_start_in_is_named() {
    let mut bundle = Bundle::new(&["true"]);
    bundle.config["linux"]["resources"]["memory"] = json!({ "limit": 4096, "swap": 4096 });
    let message = bundle.refused();
    // A kernel may also refuse to go so low.
    assert!(message.contains("OOM-killed") || message.contains("memory."), "{message}");
}

/// With `checkBeforeUpdate` a limit that would kill is refused. Without, v1 refuses what it cannot free and v2 kills.
#[test]
fn a_limit_below_what_is_used_is_refused_on_request() {
    const MIB: u64 = 1 << 20;
    let mut bundle = Bundle::shell("head -c 20000000 /dev/zero > /dev/held; echo held; exec sleep 1000");
    bundle.config["linux"]["resources"]["memory"] = json!({ "limit": 64 * MIB });
    bundle.create();
    bundle.start();
    wait_until(|| bundle.log() == "held\n");
    let limit = || read(&bundle, "memory", "memory.limit_in_bytes", "memory.max").parse::<u64>().unwrap();
    let lower = json!({ "memory": { "limit": 8 * MIB, "checkBeforeUpdate": true } });
    let refused = bundle.try_update(&lower).unwrap_err();
    assert!(refused.contains("rejecting memory limit 8388608 <= usage "), "{refused}");
    assert_eq!((limit(), &bundle.state()["status"]), (64 * MIB, &json!("running")));
    bundle.update(&json!({ "memory": { "limit": 48 * MIB, "checkBeforeUpdate": true } }));
    assert_eq!(limit(), 48 * MIB);
    match bundle.try_update(&json!({ "memory": { "limit": 8 * MIB } })) {
        Ok(()) => assert_eq!(limit(), 8 * MIB),
        Err(message) => assert!(message.contains("failed to set memory.limit_in_bytes"), "{message}"),
    }
}

/// v1 alone has these. On v2 they are refused by name, elsewhere by the file that is missing.
#[test]
fn how_memory_is_taken_back() {
    for (field, first, second, file) in [
        ("swappiness", json!(33), json!(7), "memory.swappiness"),
        ("disableOOMKiller", json!(true), json!(false), "memory.oom_control"),
    ] {
        let mut bundle = Bundle::new(&["/bin/sleep", "1000"]);
        bundle.config["linux"]["resources"]["memory"] = json!({ field: first });
        if bundle.cgroup().legacy("memory").is_none() {
            let message = bundle.refused();
            let unified = format!("memory.{field} is not supported on cgroup v2");
            let expected = if bundle.cgroup().is_unified() { unified.as_str() } else { file };
            assert!(message.contains(expected), "{message}");
            continue;
        }
        bundle.create();
        let line = || read(&bundle, "memory", file, "").lines().next().unwrap().to_owned();
        let shown = |value: &Value| match value.as_bool() {
            Some(disabled) => format!("oom_kill_disable {}", u8::from(disabled)),
            None => value.to_string(),
        };
        assert_eq!(line(), shown(&first));
        bundle.update(&json!({ "memory": { field: second } }));
        assert_eq!(line(), shown(&second));
    }
    let mut bundle = Bundle::new(&["true"]);
    bundle.config["linux"]["resources"]["memory"] = json!({ "swappiness": 101 });
    assert!(bundle.refused().contains("invalid memory swappiness value: 101 (valid range is 0-100)"));
}

/// Whoever needs more than there is stands still until there is more.
#[test]
fn without_a_killer_memory_is_waited_for() {
    // The kernel makes nobody wait in a system call: it is the program itself that writes there.
    let mut bundle =
        Bundle::shell("x=0123456789abcdef; while [ ${#x} -lt 33554432 ]; do x=$x$x; done; echo ${#x}");
    bundle.config["linux"]["resources"]["memory"] =
        json!({ "limit": 33_554_432, "swappiness": 0, "disableOOMKiller": true });
    if bundle.cgroup().legacy("memory").is_none() {
        return scratch::skip("the controller of memory is not on cgroup v1");
    }
    bundle.create();
    bundle.start();
    let control = || read(&bundle, "memory", "memory.oom_control", "");
    wait_until(|| control().contains("under_oom 1"));
    assert_eq!((bundle.log().as_str(), &bundle.state()["status"]), ("", &json!("running")));
    bundle.update(&json!({ "memory": { "limit": 1 << 30 } }));
    wait_until(|| bundle.log() == "33554432\n");
}

/// The numbers of a disk whose schedulers fit. Nothing is read from it.
fn disk(fits: impl Fn(&str) -> bool) -> Option<(u32, u32)> {
    let disks = std::fs::read_dir("/sys/block").ok()?.flatten();
    let disk = disks.map(|entry| entry.path()).find(|path| {
        std::fs::read_to_string(path.join("queue/scheduler")).is_ok_and(|schedulers| fits(&schedulers))
    })?;
    let numbers = std::fs::read_to_string(disk.join("dev")).ok()?;
    let (major, minor) = numbers.trim().split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[test]
fn speeds_of_disks() {
    let mut bundle = Bundle::new(&["/bin/sleep", "1000"]);
    let Some((major, minor)) = disk(|_| true) else { return scratch::skip("there is no disk") };
    bundle.create();
    let cgroup = bundle.cgroup();
    let legacy = |key: &str| cgroup.get_legacy("blkio", &format!("blkio.throttle.{key}_device"));
    if legacy("read_bps").is_err() && cgroup.get_unified("io.max").is_err() {
        return scratch::skip("no controller of disks, or it holds none back");
    }
    bundle.delete();
    let rate = |rate: u64| json!([{ "major": major, "minor": minor, "rate": rate }]);
    bundle.config["linux"]["resources"]["blockIO"] = json!({
        "throttleReadBpsDevice": rate(1_048_576), "throttleWriteBpsDevice": rate(2_097_152),
        "throttleReadIOPSDevice": rate(100), "throttleWriteIOPSDevice": rate(200),
    });
    bundle.create();
    let shown = || match cgroup.legacy("blkio") {
        Some(_) => {
            ["read_bps", "write_bps", "read_iops", "write_iops"].map(|key| legacy(key).unwrap()).concat()
        }
        None => cgroup.get_unified("io.max").unwrap(),
    };
    let disk = format!("{major}:{minor}");
    let expected = match cgroup.legacy("blkio") {
        Some(_) => format!("{disk} 1048576\n{disk} 2097152\n{disk} 100\n{disk} 200\n"),
        None => format!("{disk} rbps=1048576 wbps=2097152 riops=100 wiops=200\n"),
    };
    assert_eq!(shown(), expected);
    bundle.update(
        &json!({ "blockIO": { "throttleReadBpsDevice": rate(0), "throttleWriteIOPSDevice": rate(300) } }),
    );
    let expected = match cgroup.legacy("blkio") {
        Some(_) => format!("{disk} 2097152\n{disk} 100\n{disk} 300\n"),
        None => format!("{disk} rbps=max wbps=2097152 riops=100 wiops=300\n"),
    };
    assert_eq!(shown(), expected, "zero is no limit");
}

/// Few kernels have weights, and only for disks of one scheduler. The others' refusal names the file, or what v2 has no
/// file for.
#[test]
fn weights_of_disks() {
    let weighed = disk(|schedulers| schedulers.contains("[bfq]"));
    let Some((major, minor)) = weighed.or(disk(|_| true)) else { return scratch::skip("there is no disk") };
    let device = |weight: &str| json!({ "weightDevice": [{ "major": major, "minor": minor, weight: 300 }] });
    let line = |weight: u64| format!("{major}:{minor} {weight}");
    for (limits, legacy, unified) in [
        (
            device("weight"),
            ["blkio.weight_device", "blkio.bfq.weight_device"],
            ["io.weight", "io.bfq.weight"],
        ),
        (device("leafWeight"), ["blkio.leaf_weight_device"; 2], ["blockIO.leafWeight"; 2]),
        (json!({ "leafWeight": 300 }), ["blkio.leaf_weight"; 2], ["blockIO.leafWeight"; 2]),
    ] {
        let mut bundle = Bundle::new(&["true"]);
        bundle.config["linux"]["resources"]["blockIO"] = limits;
        let cgroup = bundle.cgroup();
        let names = if cgroup.is_unified() { unified } else { legacy };
        let outcome = bundle.run();
        if outcome.status != 0 {
            assert!(names.iter().any(|name| outcome.stderr.contains(name)), "{}", outcome.stderr);
            continue;
        }
        bundle.create();
        let get = |name: &str| {
            if cgroup.is_unified() { cgroup.get_unified(name) } else { cgroup.get_legacy("blkio", name) }
        };
        let found: Vec<_> = names.into_iter().filter_map(|name| get(name).ok()).collect();
        // The kernel's model of costs has other numbers than a scheduler.
        let of_costs = line(2930);
        let is_set = |text: &String| {
            text.lines().any(|has| has == line(300) || has == of_costs || has.trim() == "300")
        };
        assert!(!found.is_empty() && found.iter().all(is_set), "{names:?}: {found:?}");
    }
}

#[test]
fn the_first_process_is_in_every_tree() {
    let bundle = Bundle::new(&["/bin/sleep", "1000"]);
    bundle.create();
    let pid = bundle.pid();
    for (_, directory) in bundle.cgroup().paths() {
        let procs = std::fs::read_to_string(directory.join("cgroup.procs")).unwrap();
        assert_eq!(procs.trim(), pid.to_string(), "{directory:?}");
    }
}

#[test]
fn later_processes_are_in_every_tree() {
    let bundle = Bundle::new(&["/bin/sleep", "1000"]);
    bundle.create();
    bundle.start();
    let outcome = bundle.exec("cat /proc/self/cgroup");
    assert!(outcome.stdout.lines().all(|line| line.ends_with(":/")), "{}{}", outcome.stdout, outcome.stderr);
}

#[test]
fn a_cgroup_with_others_in_it_is_refused() {
    let bundle = Bundle::new(&["/bin/sleep", "1000"]);
    bundle.create();
    let mut other = Bundle::new(&["true"]);
    other.config["linux"]["cgroupsPath"] = bundle.config["linux"]["cgroupsPath"].clone();
    other.write_config();
    let outcome = other.run();
    assert!(
        outcome.stderr.contains("container's cgroup is not empty: 1 process(es) found"),
        "{}",
        outcome.stderr
    );
    assert!(bundle.cgroup_exists(), "the other's cgroup is left alone");
}

/// Each finds the parent new, with another, or just removed by whoever saw it empty, as engines do with theirs.
#[test]
fn the_first_and_the_last_below_a_parent_come_and_go_at_once() {
    let name = format!("/wharf-it-{}-parent", std::process::id());
    let parent = Cgroup::at(&Layout::detect().unwrap(), Path::new(&name)).unwrap();
    let remove = || {
        parent.paths().iter().for_each(|(_, directory)| {
            let _in_use = std::fs::remove_dir(directory);
        });
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut bundle = Bundle::shell("nproc");
                bundle.config["linux"]["cgroupsPath"] = json!(format!("{name}/{}", bundle.id));
                bundle.config["linux"]["resources"]["cpu"] = json!({ "cpus": "0" });
                for _ in 0..10 {
                    assert_eq!(bundle.output(), "1\n");
                    remove();
                }
            });
        }
    });
    remove();
    assert!(!parent.exists(), "with the last container the parent is empty");
}

#[test]
fn resource_limits() {
    let mut bundle = Bundle::shell("ulimit -n; ulimit -H -c");
    bundle.config["process"]["rlimits"] = json!([
        { "type": "RLIMIT_NOFILE", "soft": 100, "hard": 200 }, { "type": "RLIMIT_CORE", "soft": 0, "hard": 0 },
    ]);
    assert_eq!(bundle.output(), "100\n0\n");
    bundle.config["process"]["rlimits"] = json!([{ "type": "RLIMIT_LUNCH", "soft": 1, "hard": 1 }]);
    assert!(bundle.refused().contains("invalid rlimit type: RLIMIT_LUNCH"));
    // More than the kernel's own maximum: refused whoever asks.
    bundle.config["process"]["rlimits"] = json!([{ "type": "RLIMIT_NOFILE", "soft": 1, "hard": 1u64 << 40 }]);
    let message = bundle.refused();
    assert!(message.contains("error setting rlimits for ready process"), "{message}");
    assert!(message.contains("Operation not permitted"), "{message}");
}

/// The kernel asks for both ids where somebody sets another process' limits.
#[test]
fn resource_limits_of_a_user_with_another_group() {
    for (uid, gid) in [(0, 5), (5, 0)] {
        let mut bundle = Bundle::shell("ulimit -n; sleep 1000");
        bundle.config["process"]["user"] = json!({ "uid": uid, "gid": gid });
        bundle.config["process"]["rlimits"] = json!([{ "type": "RLIMIT_NOFILE", "soft": 100, "hard": 200 }]);
        bundle.create();
        bundle.start();
        assert_eq!(bundle.exec("ulimit -n; ulimit -H -n").stdout, "100\n200\n");
    }
}

/// Not at the root of the trees, where the limits of whoever calls would not hold.
#[test]
fn a_container_without_a_place_is_below_its_caller() {
    let layout = Layout::detect().unwrap();
    let mut bundle = Bundle::new(&["/bin/sleep", "1000"]);
    for path in ["", "named"] {
        bundle.config["linux"]["cgroupsPath"] = json!(path);
        bundle.create();
        let name = if path.is_empty() { &bundle.id } else { path };
        let of = |controller: Option<&str>| linux::cgroup::path_of(bundle.pid(), controller).unwrap();
        for tree in &layout.legacy {
            let controller = tree.controllers.first().map(String::as_str);
            assert_eq!(of(controller), layout.own_place(controller).join(name), "{controller:?}");
        }
        if layout.is_unified() {
            assert_eq!(of(None), layout.own_place(None).parent().unwrap_or(Path::new("/")).join(name));
        }
        bundle.delete();
    }
}

#[test]
fn scores_and_priorities() {
    // Of the numbers of stat, the 19th is how nice the process is and the 41st its policy.
    let mut bundle = Bundle::shell(
        "cat /proc/self/oom_score_adj; set -- $(cat /proc/self/stat); echo nice ${19}; echo policy ${41}; ionice; umask",
    );
    bundle.config["process"]["oomScoreAdj"] = json!(321);
    bundle.config["process"]["user"] = json!({ "uid": 0, "gid": 0, "umask": 0o027 });
    bundle.config["process"]["scheduler"] = json!({ "policy": "SCHED_BATCH", "nice": 13 });
    bundle.config["process"]["ioPriority"] = json!({ "class": "IOPRIO_CLASS_IDLE", "priority": 0 });
    assert_eq!(bundle.output(), format!("321\nnice 13\npolicy {SCHED_BATCH}\nidle\n0027\n"));
    bundle.config["process"]["scheduler"] = json!({ "policy": "SCHED_IDLE" });
    bundle.config["process"]["ioPriority"] = json!({ "class": "IOPRIO_CLASS_BE", "priority": 6 });
    let output = bundle.output();
    assert!(output.ends_with(&format!("policy {SCHED_IDLE}\nbest-effort: prio 6\n0027\n")), "{output}");
    bundle.config["process"]["scheduler"] = json!({ "policy": "SCHED_BATCH", "priority": 5 });
    assert!(
        bundle.refused().contains("error setting scheduler"),
        "the kernel's word: such a policy has no priorities"
    );
}

/// The first two numbers are the shell's own nice value and policy, the others those of what it starts.
const SCHEDULING: &str = "for who in $$ self; do set -- $(cat /proc/$who/stat); echo ${19} ${41}; done";

#[test]
fn flags_of_a_scheduler() {
    let own = Bundle::shell(SCHEDULING).output();
    let (own, _) = own.split_once(' ').unwrap();
    for (flags, expected) in [
        (json!([]), "-5 3\n-5 3\n".to_owned()),
        (json!(["SCHED_FLAG_RESET_ON_FORK"]), "-5 3\n0 3\n".to_owned()),
        (json!(["SCHED_FLAG_KEEP_POLICY"]), "-5 0\n-5 0\n".to_owned()),
        // Which the policy is one of.
        (json!(["SCHED_FLAG_KEEP_PARAMS"]), format!("{own} 0\n{own} 0\n")),
    ] {
        let mut bundle = Bundle::shell(SCHEDULING);
        bundle.config["process"]["scheduler"] =
            json!({ "policy": "SCHED_BATCH", "nice": -5, "flags": flags });
        assert_eq!(bundle.output(), expected, "{flags}");
    }
    for flag in ["SCHED_FLAG_UTIL_CLAMP_MIN", "SCHED_FLAG_UTIL_CLAMP_MAX"] {
        let mut bundle = Bundle::new(&["true"]);
        bundle.config["process"]["scheduler"] = json!({ "policy": "SCHED_BATCH", "flags": [flag] });
        let message = bundle.refused();
        assert!(
            message.contains("error setting scheduler"),
            "the specification has no amount for it: {message}"
        );
    }
}

/// Where groups of real-time processes are built in, one that was given no time has none.
#[test]
fn policies_of_real_time() {
    let script = "for who in $$ self; do set -- $(cat /proc/$who/stat); echo ${40} ${41}; done";
    for (policy, expected) in [("SCHED_FIFO", "7 1\n7 1\n"), ("SCHED_RR", "7 2\n7 2\n")] {
        let mut bundle = Bundle::shell(script);
        bundle.config["process"]["scheduler"] = json!({ "policy": policy, "priority": 7 });
        let outcome = bundle.run();
        if outcome.status != 0 {
            let told = &outcome.stderr;
            assert!(told.contains("error setting scheduler") && told.contains("EPERM"), "{told}");
            if !Path::new("/sys/fs/cgroup/cpu/cpu.rt_runtime_us").exists() {
                return scratch::skip("groups have no real time here, and cannot be given any");
            }
            bundle.config["linux"]["resources"]["cpu"] =
                json!({ "realtimePeriod": 1_000_000, "realtimeRuntime": 50_000 });
        }
        assert_eq!(bundle.output(), expected, "{policy}");
        bundle.config["process"]["scheduler"]["flags"] = json!(["SCHED_FLAG_RESET_ON_FORK"]);
        assert_eq!(bundle.output().lines().last(), Some("0 0"), "{policy}");
        bundle.config["process"]["scheduler"]["priority"] = json!(100);
        let message = bundle.refused();
        assert!(message.contains("error setting scheduler") && message.contains("EINVAL"), "{message}");
    }
}

#[test]
fn a_deadline_and_what_it_takes() {
    let with = |script: &str, flags: &[&str]| {
        let mut bundle = Bundle::shell(script);
        bundle.config["process"]["scheduler"] = json!({
            "policy": "SCHED_DEADLINE", "flags": flags,
            "runtime": 1_000_000, "deadline": 5_000_000, "period": 10_000_000,
        });
        bundle
    };
    let outcome = with("exit 0", &[]).run();
    if outcome.status != 0 {
        // Other tests may have some of the CPUs to themselves.
        assert!(outcome.stderr.contains("error setting scheduler"), "{}", outcome.stderr);
        return scratch::skip("the kernel lets nobody have a deadline here");
    }
    let bundle = with("exec sleep 1000", &[]);
    bundle.create();
    bundle.start();
    let told =
        Command::new("chrt").args(["-p", &bundle.pid().to_string()]).env("LC_ALL", "C").output().unwrap();
    let told = String::from_utf8(told.stdout).unwrap();
    assert!(told.contains("SCHED_DEADLINE") && told.contains(" 1000000/5000000/10000000"), "{told}");
    // It may start no others but such as have no deadline.
    assert!(with("echo $(id)", &[]).run().stderr.contains("can't fork"));
    let policy = "set -- $(cat /proc/self/stat); echo ${41}";
    assert_eq!(with(policy, &["SCHED_FLAG_RESET_ON_FORK"]).output(), "0\n");
    // Who takes too long is told so on request.
    let busy = "trap 'exit 9' XCPU; i=0; while [ $i -lt 300000 ]; do i=$((i + 1)); done";
    assert_eq!(with(busy, &["SCHED_FLAG_DL_OVERRUN"]).run().status, 9);
    for (field, value) in [("runtime", 6_000_000), ("deadline", 500_000), ("period", 4_000_000)] {
        let mut bundle = with("exit 0", &[]);
        bundle.config["process"]["scheduler"][field] = json!(value);
        let message = bundle.refused();
        assert!(
            message.contains("error setting scheduler") && message.contains("EINVAL"),
            "{field}: {message}"
        );
    }
}

/// Neither has more than a name here: what there is to limit, few machines have.
#[test]
fn limits_of_networks_and_of_remote_memory() {
    let bundle = |resources: Value| {
        let mut bundle = Bundle::new(&["true"]);
        bundle.config["linux"]["resources"]
            .as_object_mut()
            .unwrap()
            .extend(resources.as_object().unwrap().clone());
        bundle
    };
    let class = bundle(json!({ "network": { "classID": 1_048_577 } }));
    let priority = bundle(json!({ "network": { "priorities": [{ "name": "lo", "priority": 7 }] } }));
    for (bundle, controller, file, line) in [
        (class, "net_cls", "net_cls.classid", "1048577"),
        (priority, "net_prio", "net_prio.ifpriomap", "lo 7"),
    ] {
        if bundle.cgroup().legacy(controller).is_some() {
            bundle.create();
            let text = bundle.cgroup().get_legacy(controller, file).unwrap();
            assert!(text.lines().any(|found| found == line), "{text}");
            continue;
        }
        let message = bundle.refused();
        let unified = bundle.cgroup().is_unified();
        let expected = if unified { "linux.resources.network is not supported on cgroup v2" } else { file };
        assert!(message.contains(expected), "{message}");
    }
    let message = bundle(json!({ "rdma": { "none_0": { "hcaHandles": 3, "hcaObjects": 10 } } })).refused();
    assert!(message.contains("failed to set rdma.max"), "no such device, or no such controller: {message}");
}

#[test]
fn processes_and_statistics_are_listed() {
    let bundle = Bundle::shell("sleep 1000 & exec sleep 1000");
    bundle.create();
    bundle.start();
    wait_until(|| {
        let pids: Vec<i32> =
            serde_json::from_str(&bundle.call(&["ps", "-f", "json", &bundle.id]).stdout).unwrap();
        pids.len() == 2 && pids.contains(&bundle.pid())
    });
    let line = bundle.call(&["events", "--stats", &bundle.id]).stdout;
    let event: Value = serde_json::from_str(&line).unwrap();
    assert_eq!((event["type"].as_str(), event["id"].as_str()), (Some("stats"), Some(bundle.id.as_str())));
    let data = &event["data"];
    assert_eq!(data["pids"]["current"], 2, "{event}");
    assert!(!data["cpuset"]["cpus"].as_array().unwrap().is_empty(), "{event}");
    let memory = &data["memory"];
    for kind in ["usage", "swap", "kernel", "kernelTCP"] {
        assert!(memory[kind]["limit"].is_u64() && memory[kind]["failcnt"].is_u64(), "{event}");
    }
    assert!(memory["usage"]["usage"].as_u64().unwrap() > 0, "{event}");
    if bundle.cgroup().legacy("cpuset").is_some() {
        assert_eq!(data["cpuset"]["sched_load_balance"], 1, "{event}");
    }
    if bundle.cgroup().legacy("memory").is_some() {
        assert!(memory["kernel"]["usage"].as_u64().unwrap() > 0, "{event}");
    }
}

/// Pages that are only reserved count as well, wherever the controller is.
#[test]
fn huge_pages_are_limited_before_they_are_used() {
    let mut bundle = Bundle::new(&["/bin/sleep", "1000"]);
    bundle.create();
    let file = |what: &str| format!("hugetlb.2MB{what}");
    let cgroup = bundle.cgroup();
    let get = |what: &str| match cgroup.legacy("hugetlb") {
        Some(_) => cgroup.get_legacy("hugetlb", &file(&format!("{what}.limit_in_bytes"))),
        None => cgroup.get_unified(&file(&format!("{what}.max"))),
    };
    if get("").is_err() {
        scratch::skip("no controller of huge pages, or none of 2 MiB");
        return;
    }
    bundle.delete();
    bundle.config["linux"]["resources"]["hugepageLimits"] =
        json!([{ "pageSize": "2MB", "limit": 4_194_304 }]);
    bundle.create();
    for what in ["", ".rsvd"] {
        assert_eq!(get(what).unwrap(), "4194304\n", "{what}");
    }
}

#[test]
fn what_no_kernel_has_is_told_and_left_out() {
    let mut bundle = Bundle::new(&["true"]);
    bundle.config["linux"]["resources"]["memory"] = json!({ "kernel": 1 << 30, "useHierarchy": false });
    let outcome = bundle.run();
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
    for name in ["kernel", "useHierarchy"] {
        let told = format!("level=warning msg=\"ignoring linux.resources.memory.{name}: ");
        assert!(outcome.stderr.contains(&told), "{}", outcome.stderr);
    }
}

/// Until the container ends: what it uses, again and again, and that its memory has run out.
#[test]
fn events_are_told_as_they_happen() {
    let mut bundle = Bundle::shell("head -c 200000000 /dev/zero | tail; sleep 1000");
    bundle.config["linux"]["resources"]["memory"] = json!({ "limit": 33_554_432 });
    bundle.create();
    let words = ["events", "--interval", "50ms", &bundle.id];
    let mut command = bundle.command(&words).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(command.stdout.take().unwrap()).lines();
    let mut next = || -> Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    for _ in 0..2 {
        let event = next();
        assert_eq!((&event["type"], &event["id"]), (&json!("stats"), &json!(bundle.id)));
        assert!(event["data"]["memory"].is_object(), "{event}");
    }
    bundle.start();
    let oom = (0..1000).map(|_| next()).find(|event| event["type"] == "oom").unwrap();
    assert_eq!(oom, json!({ "type": "oom", "id": bundle.id }));
    assert_eq!(bundle.call(&["kill", &bundle.id, "KILL"]).status, 0);
    assert!(command.wait().unwrap().success(), "it ends with the container");
}

crate::door::by_the_library! {
    set_when_created_and_when_updated a_limit_that_the_kernel_refuses_is_named a_limit_too_low_to_start_in_is_named
    the_first_process_is_in_every_tree later_processes_are_in_every_tree a_cgroup_with_others_in_it_is_refused
    resource_limits scores_and_priorities limits_of_networks_and_of_remote_memory
    huge_pages_are_limited_before_they_are_used a_limit_below_what_is_used_is_refused_on_request
    how_memory_is_taken_back without_a_killer_memory_is_waited_for speeds_of_disks weights_of_disks
    flags_of_a_scheduler policies_of_real_time a_deadline_and_what_it_takes
    a_container_without_a_place_is_below_its_caller resource_limits_of_a_user_with_another_group
    the_first_and_the_last_below_a_parent_come_and_go_at_once
}
