//! Limits of the specification as files of control groups.
//!
//! The mapping is a pure list of writes, one room per version of cgroups, so that it can be read and tested side by side.
//! What the kernel refuses is an error with the file and the value.
//!
//! ```text
//!   before ─▶ legacy | unified ─▶ files          devices ─▶ lists of v1, programs of v2
//! ```

mod before;
mod devices;
mod legacy;
mod unified;

use linux::Errno;
use linux::cgroup::Cgroup;
use oci::runtime::{Cpu, Memory, Resources};

use crate::{Error, Result, error::Step};
pub use before::obsolete;
pub(crate) use before::{PERIOD, check, completed, per_second, rounded};
pub(crate) use devices::device_rules;
pub(crate) use unified::{io_weight_of, swap as unified_swap, weight_of};

/// One write.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Setting {
    /// v1: the controller whose tree has the file. v2: for messages only.
    controller: &'static str,
    file: String,
    value: String,
}

fn setting(controller: &'static str, file: impl Into<String>, value: impl ToString) -> Setting {
    Setting { controller, file: file.into(), value: value.to_string() }
}

/// Huge pages that are reserved and not used yet. Where these are counted (since Linux 5.7), who may not have a page is
/// told so by mmap(2), and otherwise killed by its first access.
const RESERVED: &str = ".rsvd";

/// Applies everything but device rules.
pub(crate) fn apply(cgroup: &Cgroup, resources: &Resources) -> Result<()> {
    if let Some(memory) = &resources.memory {
        before::check_memory(cgroup, memory)?;
    }
    if cgroup.is_unified() {
        return unified::settings(resources)?.iter().try_for_each(|setting| set_unified(cgroup, setting));
    }
    if let Some(memory) = &resources.memory {
        legacy::apply_memory(cgroup, memory)?;
    }
    apply_in_order(&legacy::settings(resources)?, |setting| set_legacy(cgroup, setting))?;
    for (file, value) in &resources.unified {
        // In a hybrid a controller may be here; most are not.
        cgroup.set_unified(file, value).step(|| {
            format!("invalid configuration: cannot use unified on cgroup v1: failed to set {file}")
        })?;
    }
    Ok(())
}

/// A period and the time in it are two files, and what the kernel checks is how they relate: where a period is refused
/// with the old time, it is set after the new one.
fn apply_in_order(settings: &[Setting], set: impl Fn(&Setting) -> Result<()>) -> Result<()> {
    const PAIRS: [(&str, &str); 2] =
        [("cpu.cfs_period_us", "cpu.cfs_quota_us"), ("cpu.rt_period_us", "cpu.rt_runtime_us")];
    let mut late: Option<&Setting> = None;
    for (index, setting) in settings.iter().enumerate() {
        let time = PAIRS.iter().find(|(period, _)| setting.file == *period).map(|(_, time)| *time);
        let follows = settings[index + 1..].iter().any(|later| Some(later.file.as_str()) == time);
        match set(setting) {
            Err(_) if follows => late = Some(setting),
            other => other?,
        }
        if late.is_some_and(|period| PAIRS.contains(&(period.file.as_str(), setting.file.as_str()))) {
            late.take().map_or(Ok(()), &set)?;
        }
    }
    Ok(())
}

fn set_legacy(cgroup: &Cgroup, setting: &Setting) -> Result<()> {
    let written = if cgroup.legacy(setting.controller).is_some() {
        match cgroup.set_legacy(setting.controller, &setting.file, &setting.value) {
            // The file of the BFQ scheduler, for kernels that know no other weights.
            Err(error) if error.is(Errno::NOENT) && setting.file.starts_with("blkio.weight") => {
                let file = setting.file.replacen("blkio.", "blkio.bfq.", 1);
                cgroup.set_legacy(setting.controller, &file, &setting.value)
            }
            Err(error) if error.is(Errno::NOENT) && is_dispensable(cgroup, &setting.file) => Ok(()),
            other => other,
        }
    } else {
        // A controller that a hybrid machine has on v2 (hugetlb, misc, …), with the names of v2.
        let file = setting.file.replace(".limit_in_bytes", ".max");
        return set_unified(cgroup, &Setting { file, ..setting.clone() });
    };
    written.step(|| format!("failed to set {}", setting.file))
}

fn set_unified(cgroup: &Cgroup, setting: &Setting) -> Result<()> {
    // The kernel takes one line at a time: one device, one size of pages.
    let lines: Vec<&str> = setting.value.lines().collect();
    let written = match lines[..] {
        [_, _, ..] => lines.iter().try_for_each(|line| cgroup.set_unified(&setting.file, line)),
        _ => cgroup.set_unified(&setting.file, &setting.value),
    };
    match written {
        Err(error) if error.is(Errno::NOENT) && is_dispensable(cgroup, &setting.file) => Ok(()),
        other => other.step(|| format!("failed to set {}", setting.file)),
    }
}

/// Whether a file that this kernel does not have leaves what was asked for to another.
fn is_dispensable(cgroup: &Cgroup, file: &str) -> bool {
    /// Of the scheduler BFQ, and of the kernel's model of what an access costs. A kernel has either, both or none.
    const WEIGHTS: [&str; 2] = ["io.bfq.weight", "io.weight"];
    let there = |file: &str| cgroup.unified().is_some_and(|directory| directory.join(file).exists());
    file.contains(RESERVED) || (WEIGHTS.contains(&file) && WEIGHTS.into_iter().any(there))
}

/// Zero is no limit that anybody can live with: it stands for none being asked for, as in v2 and in runc.
fn asked(limit: Option<i64>) -> Option<i64> {
    limit.filter(|limit| *limit != 0)
}

fn pids(resources: &Resources) -> Option<Setting> {
    let limit = asked(resources.pids.and_then(|pids| pids.limit));
    limit.map(|limit| setting("pids", "pids.max", or_max(limit)))
}

fn cpusets(cpu: &Cpu, out: &mut Vec<Setting>) {
    if !cpu.cpus.is_empty() {
        out.push(setting("cpuset", "cpuset.cpus", &cpu.cpus));
    }
    if !cpu.mems.is_empty() {
        out.push(setting("cpuset", "cpuset.mems", &cpu.mems));
    }
}

fn rdma(resources: &Resources) -> Vec<Setting> {
    let or_max = |value: Option<u32>| value.map_or("max".to_owned(), |value| value.to_string());
    let lines = resources.rdma.iter().map(|(device, limit)| {
        format!("{device} hca_handle={} hca_object={}", or_max(limit.hca_handles), or_max(limit.hca_objects))
    });
    lines.map(|line| setting("rdma", "rdma.max", line)).collect()
}

fn swappiness(memory: &Memory) -> Result<Option<u64>> {
    match memory.swappiness {
        Some(value) if value > 100 => Err(Error::invalid(format_args!(
            "invalid memory swappiness value: {value} (valid range is 0-100)"
        ))),
        other => Ok(other),
    }
}

fn or_max(value: i64) -> String {
    if value > 0 { value.to_string() } else { "max".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_is_set_before_or_after_the_time_in_it() {
        // As in a kernel where the parent has a half of each CPU.
        let write = |now: &std::cell::Cell<(i64, i64)>, setting: &Setting| {
            let value: i64 = setting.value.parse().unwrap();
            let (period, quota) = now.get();
            let next = if setting.file.contains("period") { (value, quota) } else { (period, value) };
            if next.1 * 2 > next.0 {
                return Err(Error::other("too much"));
            }
            now.set(next);
            Ok(())
        };
        for (before, after) in [((100_000, 50_000), (10_000, 3_000)), ((10_000, 3_000), (100_000, 50_000))] {
            let now = std::cell::Cell::new(before);
            let cpu = Cpu { period: Some(after.0 as u64), quota: Some(after.1), ..Cpu::default() };
            let mut settings = Vec::new();
            legacy::processors(&cpu, &mut settings);
            apply_in_order(&settings, |setting| write(&now, setting)).unwrap();
            assert_eq!(now.get(), after);
        }
        let now = std::cell::Cell::new((100_000, 50_000));
        let mut settings = Vec::new();
        legacy::processors(&Cpu { period: Some(10_000), ..Cpu::default() }, &mut settings);
        assert!(apply_in_order(&settings, |setting| write(&now, setting)).is_err());
    }

    pub(super) fn parse(json: &str) -> Resources {
        serde_json::from_str(json).unwrap()
    }

    pub(super) fn show(settings: Vec<Setting>) -> String {
        settings.iter().map(|s| format!("{}={}\n", s.file, s.value)).collect()
    }

    #[test]
    fn one_configuration_in_both_versions() {
        let resources = parse(
            r#"{"memory":{"limit":67108864,"swap":134217728,"reservation":1048576},
                "cpu":{"shares":1024,"quota":50000,"period":100000,"cpus":"0-1"},"pids":{"limit":-1},
                "blockIO":{"weight":500,"throttleWriteBpsDevice":[{"major":8,"minor":0,"rate":1024}]}}"#,
        );
        assert_eq!(
            show(unified::settings(&resources).unwrap()),
            "memory.swap.max=67108864\nmemory.max=67108864\nmemory.low=1048576\ncpu.weight=100\n\
             cpu.max=50000 100000\ncpuset.cpus=0-1\npids.max=max\nio.bfq.weight=500\nio.weight=4950\nio.max=8:0 wbps=1024\n"
        );
        assert_eq!(
            show(legacy::settings(&resources).unwrap()),
            "memory.soft_limit_in_bytes=1048576\ncpu.shares=1024\ncpu.cfs_period_us=100000\n\
             cpu.cfs_quota_us=50000\ncpuset.cpus=0-1\npids.max=max\nblkio.weight=500\n\
             blkio.throttle.write_bps_device=8:0 1024\n"
        );
    }

    #[test]
    fn only_minus_one_is_without_limit() {
        let shown = |limit: i64| {
            let resources = parse(&format!(r#"{{"memory":{{"limit":{limit},"reservation":{limit}}}}}"#));
            let settings = unified::settings(&resources).unwrap();
            let of = |file: &str| settings.iter().find(|setting| setting.file == file).unwrap().value.clone();
            (of("memory.max"), of("memory.low"))
        };
        assert_eq!(shown(-1), ("max".to_owned(), "max".to_owned()));
        assert_eq!(shown(-5), ("-5".to_owned(), "-5".to_owned()));
    }

    #[test]
    fn zero_asks_for_nothing() {
        let json = r#"{"memory":{"limit":0,"swap":0,"reservation":0,"kernelTCP":0},"pids":{"limit":0},
            "cpu":{"shares":0,"quota":0,"period":0},"blockIO":{"weight":0}}"#;
        for settings in [unified::settings(&parse(json)), legacy::settings(&parse(json))] {
            assert_eq!(settings.unwrap().len(), 0);
        }
    }

    /// A directory that looks like a cgroup of v2.
    pub(super) fn pretended(file: &str, text: &str) -> (scratch::Directory, Cgroup) {
        let directory = scratch::Directory::new("pretended");
        std::fs::write(directory.join(file), text).unwrap();
        let cgroup = Cgroup::from_paths([("", &*directory)]);
        (directory, cgroup)
    }

    #[test]
    fn several_lines_are_written_one_by_one() {
        let (directory, cgroup) = pretended("io.max", "");
        set_unified(&cgroup, &setting("unified", "io.max", "8:0 rbps=1\n8:16 wbps=2\n")).unwrap();
        // A file of the kernel takes each; of this one, what was written last is at its beginning.
        assert_eq!(std::fs::read_to_string(directory.join("io.max")).unwrap(), "8:16 wbps=2");
    }
}
