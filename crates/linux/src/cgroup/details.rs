//! What else a cgroup tells of itself, for those who print everything. Beside [`super::Stats`] because it takes two dozen
//! files more, which nobody wants to read once a second.
//!
//! The same rules: numbers that are not given are zero or empty, and nothing fails.

use std::path::Path;

use super::control::field;
use super::stats::{number, text};
use super::{Cgroup, Stats};

/// What `runc events` tells beyond [`Stats`]. Times in nanoseconds but for [`Stall`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Details {
    /// v1: memory and swap together, as its files count. v2: swap.
    pub swap: MemoryCounter,
    /// v1 only.
    pub kernel: MemoryCounter,
    /// v1 only.
    pub kernel_tcp: MemoryCounter,
    pub cpuset: Cpuset,
    /// By CPU, v1 only.
    pub kernel_per_cpu: Vec<u64>,
    /// By CPU, v1 only.
    pub user_per_cpu: Vec<u64>,
    pub cpu_pressure: Option<Pressure>,
    pub memory_pressure: Option<Pressure>,
    pub io_pressure: Option<Pressure>,
}

/// Bytes; [`failures`](Self::failures) counts how often the limit was met.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemoryCounter {
    pub limit: u64,
    pub usage: u64,
    pub max_usage: u64,
    pub failures: u64,
}

/// The CPUs and memory nodes in use. The switches are v1's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cpuset {
    pub cpus: Vec<usize>,
    pub mems: Vec<usize>,
    /// By the name of the file, without `cpuset.`.
    pub switches: Vec<(&'static str, i64)>,
}

/// Time lost waiting (PSI), of some and of all that could run.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Pressure {
    pub some: Stall,
    pub full: Stall,
}

/// How long tasks could not go on.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Stall {
    /// Percent of the last 10, 60 and 300 seconds.
    pub averages: [f64; 3],
    /// Microseconds.
    pub total: u64,
}

const SWITCHES: [&str; 9] = [
    "cpu_exclusive",
    "mem_hardwall",
    "mem_exclusive",
    "memory_migrate",
    "memory_spread_page",
    "memory_spread_slab",
    "memory_pressure",
    "sched_load_balance",
    "sched_relax_domain_level",
];

impl Cgroup {
    pub fn details(&self) -> Details {
        if self.is_unified() {
            return self.unified().map(|directory| unified(directory, &self.stats())).unwrap_or_default();
        }
        let memory =
            |name: &str| self.legacy("memory").map(|memory| counter(memory, name)).unwrap_or_default();
        let (user_per_cpu, kernel_per_cpu) = self
            .legacy("cpuacct")
            .map(|directory| per_cpu(&text(directory, "cpuacct.usage_all")))
            .unwrap_or_default();
        let other = self.unified();
        Details {
            swap: match (self.legacy("memory"), other) {
                (None, Some(directory)) => unified_swap(directory, &self.stats()),
                _ => memory("memory.memsw"),
            },
            kernel: memory("memory.kmem"),
            kernel_tcp: memory("memory.kmem.tcp"),
            cpuset: match self.legacy("cpuset") {
                Some(directory) => legacy_cpuset(directory),
                None => other.map(unified_cpuset).unwrap_or_default(),
            },
            kernel_per_cpu,
            user_per_cpu,
            ..Details::default()
        }
    }
}

fn counter(directory: &Path, name: &str) -> MemoryCounter {
    let value = |file: &str| number(directory, &format!("{name}.{file}")).unwrap_or(0);
    MemoryCounter {
        limit: value("limit_in_bytes"),
        usage: value("usage_in_bytes"),
        max_usage: value("max_usage_in_bytes"),
        failures: value("failcnt"),
    }
}

/// `0 1200 3400` per line, under a heading: CPU, user, system.
fn per_cpu(text: &str) -> (Vec<u64>, Vec<u64>) {
    let row = |line: &str| {
        let mut words = line.split(' ').skip(1).map(str::parse::<u64>);
        Some((words.next()?.ok()?, words.next()?.ok()?))
    };
    text.lines().skip(1).filter_map(row).unzip()
}

fn list(directory: &Path, file: &str) -> Vec<usize> {
    crate::process::cpu_list(text(directory, file).trim()).unwrap_or_default()
}

fn legacy_cpuset(directory: &Path) -> Cpuset {
    let switch = |name: &'static str| {
        let value = text(directory, &format!("cpuset.{name}")).trim().parse().unwrap_or(0);
        (name, value)
    };
    Cpuset {
        cpus: list(directory, "cpuset.cpus"),
        mems: list(directory, "cpuset.mems"),
        switches: SWITCHES.into_iter().map(switch).collect(),
    }
}

fn unified_swap(directory: &Path, stats: &Stats) -> MemoryCounter {
    let events = text(directory, "memory.swap.events");
    MemoryCounter {
        limit: stats.memory.swap_limit,
        usage: stats.memory.swap_usage,
        max_usage: number(directory, "memory.swap.peak").unwrap_or(0),
        failures: field(&events, "max").unwrap_or(0),
    }
}

fn unified_cpuset(directory: &Path) -> Cpuset {
    Cpuset {
        cpus: list(directory, "cpuset.cpus.effective"),
        mems: list(directory, "cpuset.mems.effective"),
        switches: Vec::new(),
    }
}

fn unified(directory: &Path, stats: &Stats) -> Details {
    Details {
        swap: unified_swap(directory, stats),
        cpuset: unified_cpuset(directory),
        cpu_pressure: pressure(&text(directory, "cpu.pressure")),
        memory_pressure: pressure(&text(directory, "memory.pressure")),
        io_pressure: pressure(&text(directory, "io.pressure")),
        ..Details::default()
    }
}

/// `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`, and the same for `full`.
fn pressure(text: &str) -> Option<Pressure> {
    let stall = |kind: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(kind))?;
        let value = |key: &str| line.split(' ').find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
        let average = |key| value(key).and_then(|value| value.parse().ok()).unwrap_or(0.0);
        Some(Stall {
            averages: ["avg10", "avg60", "avg300"].map(average),
            total: value("total")?.parse().ok()?,
        })
    };
    let some = stall("some ")?;
    Some(Pressure { some, full: stall("full ").unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_pressure() {
        let text = "some avg10=1.50 avg60=0.25 avg300=0.00 total=123\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n";
        let pressure = pressure(text).unwrap();
        assert_eq!((pressure.some.averages, pressure.some.total), ([1.5, 0.25, 0.0], 123));
        assert_eq!(pressure.full.total, 7);
        assert_eq!(super::pressure(""), None);
    }

    #[test]
    fn use_by_cpu() {
        assert_eq!(per_cpu("cpu user system\n0 1 2\n1 3 4\n"), (vec![1, 3], vec![2, 4]));
    }
}
