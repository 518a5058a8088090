//! What a cgroup has used, read from whichever files its trees have.
//!
//! Numbers that a kernel or a tree does not give are zero or empty; nothing here fails because of them. Times are
//! nanoseconds, sizes bytes.

use std::collections::BTreeMap;
use std::path::Path;

use super::control::field;
use super::{Cgroup, read};

/// What a cgroup and those below it have used since it was made, and use now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    pub cpu: CpuStats,
    pub memory: MemoryStats,
    pub pids: PidsStats,
    pub block: BlockStats,
    pub hugepages: BTreeMap<String, HugepageStats>,
}

/// Nanoseconds of processors; periods are those of the quota.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CpuStats {
    pub total: u64,
    pub user: u64,
    pub system: u64,
    /// By CPU; only v1 counts so.
    pub per_cpu: Vec<u64>,
    pub periods: u64,
    pub throttled_periods: u64,
    pub throttled_time: u64,
}

/// Bytes; `failures` counts how often the limit was met.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemoryStats {
    pub usage: u64,
    pub max_usage: u64,
    pub failures: u64,
    /// `u64::MAX` when there is none.
    pub limit: u64,
    pub swap_usage: u64,
    pub swap_limit: u64,
    /// `memory.stat` as it is.
    pub details: BTreeMap<String, u64>,
}

/// Tasks: threads count one by one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PidsStats {
    pub current: u64,
    /// 0 when there is none.
    pub limit: u64,
}

/// By device and direction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BlockStats {
    pub bytes: Vec<BlockEntry>,
    pub operations: Vec<BlockEntry>,
}

/// One direction of one device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockEntry {
    pub major: u64,
    pub minor: u64,
    /// `read`, `write`, …
    pub operation: String,
    pub value: u64,
}

/// Bytes in pages of one size.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HugepageStats {
    pub usage: u64,
    pub max_usage: u64,
    pub failures: u64,
}

impl Cgroup {
    pub fn stats(&self) -> Stats {
        if self.is_unified() {
            return self.unified().map(unified).unwrap_or_default();
        }
        // Controllers that a hybrid has on v2: kernels leave more and more of v1 out.
        let other = self.unified();
        Stats {
            cpu: match self.legacy("cpuacct").or(self.legacy("cpu")) {
                Some(_) => legacy_cpu(self),
                None => other.map(unified_cpu).unwrap_or_default(),
            },
            memory: match self.legacy("memory") {
                Some(directory) => legacy_memory(directory),
                None => other.map(unified_memory).unwrap_or_default(),
            },
            pids: self.legacy("pids").or(other).map(pids).unwrap_or_default(),
            block: match self.legacy("blkio") {
                Some(directory) => legacy_block(directory),
                None => other.map(|directory| unified_block(&text(directory, "io.stat"))).unwrap_or_default(),
            },
            hugepages: other.filter(|_| self.legacy("hugetlb").is_none()).map(hugepages).unwrap_or_default(),
        }
    }
}

pub(super) fn text(directory: &Path, file: &str) -> String {
    read(&directory.join(file)).unwrap_or_default()
}

/// `max` and what is no number count as "no limit".
pub(super) fn number(directory: &Path, file: &str) -> Option<u64> {
    text(directory, file).trim().parse().ok()
}

fn legacy_cpu(cgroup: &Cgroup) -> CpuStats {
    let mut stats = CpuStats::default();
    if let Some(directory) = cgroup.legacy("cpuacct") {
        stats.total = number(directory, "cpuacct.usage").unwrap_or(0);
        stats.user = number(directory, "cpuacct.usage_user").unwrap_or(0);
        stats.system = number(directory, "cpuacct.usage_sys").unwrap_or(0);
        let per_cpu = text(directory, "cpuacct.usage_percpu");
        stats.per_cpu = per_cpu.split_whitespace().filter_map(|value| value.parse().ok()).collect();
    }
    if let Some(directory) = cgroup.legacy("cpu") {
        let text = text(directory, "cpu.stat");
        stats.periods = field(&text, "nr_periods").unwrap_or(0);
        stats.throttled_periods = field(&text, "nr_throttled").unwrap_or(0);
        stats.throttled_time = field(&text, "throttled_time").unwrap_or(0);
    }
    stats
}

fn legacy_memory(directory: &Path) -> MemoryStats {
    // v1 says "no limit" by the largest page-aligned number; anything that large is none.
    let limit = |file| number(directory, file).filter(|limit| *limit < 1 << 62).unwrap_or(u64::MAX);
    let usage = number(directory, "memory.usage_in_bytes").unwrap_or(0);
    MemoryStats {
        usage,
        max_usage: number(directory, "memory.max_usage_in_bytes").unwrap_or(0),
        failures: number(directory, "memory.failcnt").unwrap_or(0),
        limit: limit("memory.limit_in_bytes"),
        swap_usage: number(directory, "memory.memsw.usage_in_bytes").unwrap_or(usage).saturating_sub(usage),
        swap_limit: limit("memory.memsw.limit_in_bytes"),
        details: table(&text(directory, "memory.stat")),
    }
}

fn table(text: &str) -> BTreeMap<String, u64> {
    let pairs = text.lines().filter_map(|line| line.split_once(' '));
    pairs.filter_map(|(key, value)| Some((key.to_owned(), value.trim().parse().ok()?))).collect()
}

fn pids(directory: &Path) -> PidsStats {
    PidsStats {
        current: number(directory, "pids.current").unwrap_or(0),
        limit: number(directory, "pids.max").unwrap_or(0),
    }
}

/// `8:0 Read 4096` per line; the last line is a total without device.
fn legacy_block(directory: &Path) -> BlockStats {
    let entries = |file: &str| {
        let text = text(directory, file);
        let parse = |line: &str| {
            let mut words = line.split(' ');
            let (major, minor) = words.next()?.split_once(':')?;
            let operation = words.next()?.to_ascii_lowercase();
            let value = words.next()?.parse().ok()?;
            Some(BlockEntry { major: major.parse().ok()?, minor: minor.parse().ok()?, operation, value })
        };
        text.lines().filter_map(parse).collect::<Vec<_>>()
    };
    let first =
        |names: [&str; 2]| names.iter().map(|name| entries(name)).find(|e| !e.is_empty()).unwrap_or_default();
    BlockStats {
        bytes: first(["blkio.throttle.io_service_bytes_recursive", "blkio.io_service_bytes_recursive"]),
        operations: first(["blkio.throttle.io_serviced_recursive", "blkio.io_serviced_recursive"]),
    }
}

fn unified_cpu(directory: &Path) -> CpuStats {
    let cpu = text(directory, "cpu.stat");
    let micro = |key| field(&cpu, key).unwrap_or(0).saturating_mul(1000);
    CpuStats {
        total: micro("usage_usec"),
        user: micro("user_usec"),
        system: micro("system_usec"),
        per_cpu: Vec::new(),
        periods: field(&cpu, "nr_periods").unwrap_or(0),
        throttled_periods: field(&cpu, "nr_throttled").unwrap_or(0),
        throttled_time: micro("throttled_usec"),
    }
}

fn unified_memory(directory: &Path) -> MemoryStats {
    let events = text(directory, "memory.events");
    MemoryStats {
        usage: number(directory, "memory.current").unwrap_or(0),
        max_usage: number(directory, "memory.peak").unwrap_or(0),
        failures: field(&events, "max").unwrap_or(0),
        limit: number(directory, "memory.max").unwrap_or(u64::MAX),
        swap_usage: number(directory, "memory.swap.current").unwrap_or(0),
        swap_limit: number(directory, "memory.swap.max").unwrap_or(u64::MAX),
        details: table(&text(directory, "memory.stat")),
    }
}

fn unified(directory: &Path) -> Stats {
    Stats {
        cpu: unified_cpu(directory),
        memory: unified_memory(directory),
        pids: pids(directory),
        block: unified_block(&text(directory, "io.stat")),
        hugepages: hugepages(directory),
    }
}

/// `8:0 rbytes=1 wbytes=2 rios=3 wios=4 …` per line.
fn unified_block(text: &str) -> BlockStats {
    let mut stats = BlockStats::default();
    for line in text.lines() {
        let mut words = line.split(' ');
        let Some((major, minor)) = words.next().and_then(|device| device.split_once(':')) else { continue };
        let (Ok(major), Ok(minor)) = (major.parse(), minor.parse()) else { continue };
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            let (list, operation) = match key {
                "rbytes" => (&mut stats.bytes, "read"),
                "wbytes" => (&mut stats.bytes, "write"),
                "rios" => (&mut stats.operations, "read"),
                "wios" => (&mut stats.operations, "write"),
                _ => continue,
            };
            if let Ok(value) = value.parse() {
                list.push(BlockEntry { major, minor, operation: operation.to_owned(), value });
            }
        }
    }
    stats
}

fn hugepages(directory: &Path) -> BTreeMap<String, HugepageStats> {
    let Ok(entries) = std::fs::read_dir(directory) else { return BTreeMap::new() };
    let sizes = entries.flatten().filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        Some(name.strip_prefix("hugetlb.")?.strip_suffix(".current")?.to_owned())
    });
    sizes
        .filter(|size| !size.contains('.'))
        .map(|size| {
            let events = text(directory, &format!("hugetlb.{size}.events"));
            let stats = HugepageStats {
                usage: number(directory, &format!("hugetlb.{size}.current")).unwrap_or(0),
                max_usage: 0,
                failures: field(&events, "max").unwrap_or(0),
            };
            (size, stats)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_lines_of_v2() {
        let stats = unified_block("8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0\n253:1 rbytes=9\n");
        assert_eq!(stats.bytes.len(), 3);
        assert_eq!(stats.operations[1].value, 4);
        assert_eq!((stats.bytes[2].major, stats.bytes[2].minor), (253, 1));
    }

    #[test]
    fn this_cgroup_has_used_something() {
        let layout = super::super::Layout::detect().unwrap();
        let root = Cgroup::at(&layout, Path::new("/")).unwrap();
        assert!(root.stats().cpu.total > 0);
    }
}
