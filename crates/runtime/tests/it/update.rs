//! Every option of `update`, as files of the container's cgroup, whichever version of cgroups holds it. What this kernel
//! has no file for is refused by the name of the file.

use std::path::PathBuf;

use serde_json::json;

use crate::bundle::Bundle;

/// Options, what they are in the words of the specification, the controller, and what they are to write on v1 and on v2: the
/// file (or what other kernels have in its place) and its content.
struct Case {
    options: &'static [&'static str],
    limits: &'static str,
    controller: &'static str,
    legacy: (&'static [&'static str], &'static str),
    unified: (&'static [&'static str], &'static str),
}

#[rustfmt::skip]
const CASES: &[Case] = &[
    Case { options: &["--cpu-share", "512"],
        limits: r#"{"cpu":{"shares":512}}"#, controller: "cpu",
        legacy: (&["cpu.shares"], "512"), unified: (&["cpu.weight"], "59") },
    Case { options: &["--cpu-period", "200000", "--cpu-quota", "100000"],
        limits: r#"{"cpu":{"period":200000,"quota":100000}}"#, controller: "cpu",
        legacy: (&["cpu.cfs_period_us"], "200000"), unified: (&["cpu.max"], "100000 200000") },
    Case { options: &["--cpu-burst", "5000"],
        limits: r#"{"cpu":{"burst":5000}}"#, controller: "cpu",
        legacy: (&["cpu.cfs_burst_us"], "5000"), unified: (&["cpu.max.burst"], "5000") },
    Case { options: &["--cpu-idle", "1"],
        limits: r#"{"cpu":{"idle":1}}"#, controller: "cpu",
        legacy: (&["cpu.idle"], "1"), unified: (&["cpu.idle"], "1") },
    Case { options: &["--cpuset-cpus", "0"],
        limits: r#"{"cpu":{"cpus":"0"}}"#, controller: "cpuset",
        legacy: (&["cpuset.cpus"], "0"), unified: (&["cpuset.cpus"], "0") },
    Case { options: &["--cpuset-mems", "0"],
        limits: r#"{"cpu":{"mems":"0"}}"#, controller: "cpuset",
        legacy: (&["cpuset.mems"], "0"), unified: (&["cpuset.mems"], "0") },
    Case { options: &["--blkio-weight", "300"],
        limits: r#"{"blockIO":{"weight":300}}"#, controller: "blkio",
        legacy: (&["blkio.weight", "blkio.bfq.weight"], "300"), unified: (&["io.bfq.weight", "io.weight"], "default 300") },
    Case { options: &["--memory", "64m", "--memory-swap", "96m"],
        limits: r#"{"memory":{"limit":67108864,"swap":100663296}}"#, controller: "memory",
        legacy: (&["memory.memsw.limit_in_bytes"], "100663296"), unified: (&["memory.swap.max"], "33554432") },
    Case { options: &["--pids-limit", "44"],
        limits: r#"{"pids":{"limit":44}}"#, controller: "pids",
        legacy: (&["pids.max"], "44"), unified: (&["pids.max"], "44") },
    Case { options: &["--memory-reservation", "16m"],
        limits: r#"{"memory":{"reservation":16777216}}"#, controller: "memory",
        legacy: (&["memory.soft_limit_in_bytes"], "16777216"), unified: (&["memory.low"], "16777216") },
];

impl Case {
    /// The file of this machine, and its content. Without, the name that the refusal has to have.
    fn file(&self, bundle: &Bundle) -> Result<(PathBuf, &'static str), &'static str> {
        let cgroup = bundle.cgroup();
        let (directory, (names, content)) = match cgroup.legacy(self.controller) {
            Some(directory) => (directory, self.legacy),
            None => (cgroup.unified().unwrap(), self.unified),
        };
        let found = names.iter().map(|name| directory.join(name)).find(|path| path.exists());
        found.map(|path| (path, content)).ok_or(names[names.len() - 1])
    }
}

fn running() -> Bundle {
    let bundle = Bundle::new(&["/bin/sleep", "1000"]);
    bundle.create();
    bundle.start();
    bundle
}

impl Case {
    /// What came of it is in the file.
    fn check(&self, bundle: &Bundle, updated: Result<(), String>) {
        match (self.file(bundle), updated) {
            (Ok((path, content)), Ok(())) => {
                let text = std::fs::read_to_string(&path).unwrap();
                let first = text.lines().next().unwrap().trim();
                // The kernel's model of costs has other numbers than a scheduler.
                let same = first == content || (path.ends_with("io.weight") && first == "default 2930");
                assert!(same, "{path:?}: {text:?}");
            }
            (Err(name), Err(told)) => assert!(told.contains(name), "{:?}: {told}", self.options),
            (_, told) => panic!("{:?}: {told:?}", self.options),
        }
    }
}

#[test]
fn every_option_reaches_its_file() {
    let bundle = running();
    for case in CASES {
        let outcome = bundle.call(&[&["update"], case.options, &[&bundle.id]].concat());
        assert!(outcome.status <= 1, "{}", outcome.stderr);
        case.check(&bundle, if outcome.status == 0 { Ok(()) } else { Err(outcome.stderr) });
    }
}

/// From the start, and in one that runs.
#[test]
fn every_limit_reaches_its_file() {
    let bundle = running();
    for case in CASES {
        let limits: serde_json::Value = serde_json::from_str(case.limits).unwrap();
        case.check(&bundle, bundle.try_update(&limits));
        let mut first = Bundle::new(&["/bin/sleep", "1000"]);
        let resources = first.config["linux"]["resources"].as_object_mut().unwrap();
        resources.extend(limits.as_object().unwrap().clone());
        let outcome = case.file(&bundle).map_err(|_| first.refused());
        if outcome.is_ok() {
            first.create();
        }
        case.check(&first, outcome.map(drop));
    }
}

/// Only v1 has them, and only where groups of real-time processes are built in.
#[test]
fn time_of_real_time_processes() {
    let bundle = running();
    let cgroup = bundle.cgroup();
    for (option, file, value) in
        [("--cpu-rt-period", "cpu.rt_period_us", "500000"), ("--cpu-rt-runtime", "cpu.rt_runtime_us", "100")]
    {
        let outcome = bundle.call(&["update", option, value, &bundle.id]);
        match cgroup.legacy("cpu") {
            None => assert!(
                outcome.stderr.contains("realtime scheduling limits are not supported on cgroup v2"),
                "{}",
                outcome.stderr
            ),
            Some(directory) if !directory.join(file).exists() => {
                assert!(outcome.stderr.contains(file), "{}", outcome.stderr)
            }
            Some(_) => {
                assert_eq!(outcome.status, 0, "{}", outcome.stderr);
                assert_eq!(cgroup.get_legacy("cpu", file).unwrap().trim(), value);
            }
        }
    }
}

#[test]
fn time_of_real_time_processes_from_the_start() {
    let mut bundle = Bundle::new(&["true"]);
    bundle.config["linux"]["resources"]["cpu"] = json!({ "realtimePeriod": 500_000, "realtimeRuntime": 100 });
    let outcome = bundle.run();
    let built_in = std::path::Path::new("/sys/fs/cgroup/cpu/cpu.rt_runtime_us").exists();
    assert_eq!(outcome.status == 0, built_in, "{}", outcome.stderr);
    assert_eq!(outcome.stderr.contains("realtime"), bundle.cgroup().is_unified(), "{}", outcome.stderr);
}

#[test]
fn limits_from_a_file_come_before_options() {
    let bundle = running();
    let new = json!({ "pids": { "limit": 33 } });
    std::fs::write(bundle.directory.join("new"), new.to_string()).unwrap();
    let outcome = bundle.call(&["update", "--resources", "new", "--pids-limit", "44", &bundle.id]);
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
    let cgroup = bundle.cgroup();
    let directory = cgroup.legacy("pids").or(cgroup.unified()).unwrap();
    assert_eq!(std::fs::read_to_string(directory.join("pids.max")).unwrap(), "33\n");
}

crate::door::by_the_library! { every_limit_reaches_its_file time_of_real_time_processes_from_the_start }
