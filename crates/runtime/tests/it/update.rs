//! Every option of `update`, as files of the container's cgroup, whichever version of cgroups holds it. What this kernel
//! has no file for is refused by the name of the file.

use std::path::PathBuf;

use serde_json::json;

use crate::bundle::Bundle;

/// Options, the controller, and what they are to write on v1 and on v2: the file (or what other kernels have in its
/// place) and its content.
struct Case {
    options: &'static [&'static str],
    controller: &'static str,
    legacy: (&'static [&'static str], &'static str),
    unified: (&'static [&'static str], &'static str),
}

#[rustfmt::skip]
const CASES: &[Case] = &[
    Case { options: &["--cpu-share", "512"], controller: "cpu",
        legacy: (&["cpu.shares"], "512"), unified: (&["cpu.weight"], "59") },
    Case { options: &["--cpu-period", "200000", "--cpu-quota", "100000"], controller: "cpu",
        legacy: (&["cpu.cfs_period_us"], "200000"), unified: (&["cpu.max"], "100000 200000") },
    Case { options: &["--cpu-burst", "5000"], controller: "cpu",
        legacy: (&["cpu.cfs_burst_us"], "5000"), unified: (&["cpu.max.burst"], "5000") },
    Case { options: &["--cpu-idle", "1"], controller: "cpu",
        legacy: (&["cpu.idle"], "1"), unified: (&["cpu.idle"], "1") },
    Case { options: &["--cpuset-cpus", "0"], controller: "cpuset",
        legacy: (&["cpuset.cpus"], "0"), unified: (&["cpuset.cpus"], "0") },
    Case { options: &["--cpuset-mems", "0"], controller: "cpuset",
        legacy: (&["cpuset.mems"], "0"), unified: (&["cpuset.mems"], "0") },
    Case { options: &["--blkio-weight", "300"], controller: "blkio",
        legacy: (&["blkio.weight", "blkio.bfq.weight"], "300"), unified: (&["io.bfq.weight", "io.weight"], "default 300") },
    Case { options: &["--memory", "64m", "--memory-swap", "96m"], controller: "memory",
        legacy: (&["memory.memsw.limit_in_bytes"], "100663296"), unified: (&["memory.swap.max"], "33554432") },
    Case { options: &["--pids-limit", "44"], controller: "pids",
        legacy: (&["pids.max"], "44"), unified: (&["pids.max"], "44") },
    Case { options: &["--memory-reservation", "16m"], controller: "memory",
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

#[test]
fn every_option_reaches_its_file() {
    let bundle = running();
    for case in CASES {
        let outcome = bundle.call(&[&["update"], case.options, &[&bundle.id]].concat());
        match case.file(&bundle) {
            Ok((path, content)) => {
                assert_eq!(outcome.status, 0, "{:?}: {}", case.options, outcome.stderr);
                let text = std::fs::read_to_string(&path).unwrap();
                let first = text.lines().next().unwrap().trim();
                // The kernel's model of costs has other numbers than a scheduler.
                let same = first == content || (path.ends_with("io.weight") && first == "default 2930");
                assert!(same, "{path:?}: {text:?}");
            }
            Err(name) => assert!(
                outcome.status == 1 && outcome.stderr.contains(name),
                "{:?}: {}",
                case.options,
                outcome.stderr
            ),
        }
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
