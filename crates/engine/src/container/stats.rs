//! What a container uses: one sample from its cgroup and its network namespace.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use api::container::{
    BlkioEntry, BlkioStats, CpuStats, CpuUsage, MemoryStats, NetworkStats, PidsStats, Stats, Throttling,
};
use linux::cgroup::{BlockEntry, Cgroup, Layout};
use shim::protocol::CgroupDriver;

use super::record::Record;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::{Config, Engine, clock, spec};

/// Ticks of a second in `/proc/stat`.
const TICKS: u64 = 100;

impl Engine {
    /// A sample as of now. A container that does not run has one of zeroes. `precpu_stats` is the caller's to fill
    /// with the sample before.
    pub async fn container_stats(&self, wanted: &str) -> Result<Stats> {
        let record = self.container(wanted)?.record();
        let empty = Stats {
            id: record.id.to_string(),
            name: record.slashed(),
            os_type: "linux".into(),
            read: clock::NEVER.into(),
            preread: clock::NEVER.into(),
            ..Stats::default()
        };
        let Some(pid) = record.state.run().map(|run| run.pid).filter(|pid| *pid > 0) else {
            return Ok(empty);
        };
        self.blocking(move |engine| {
            let used = cgroup(engine, &record)?.stats();
            let own_network =
                record.host.network_mode != "host" && spec::other(&record.host.network_mode).is_none();
            let networks = if own_network {
                fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap_or_default()
            } else {
                String::new()
            };
            let processor = fs::read_to_string("/proc/stat").unwrap_or_default();
            Ok(Stats {
                read: clock::now(),
                ..sample(&engine.shared().host, empty, used, &networks, &processor)
            })
        })
        .await
    }
}

/// The container's cgroup in every tree. One that was started under the other driver stays where that put it.
pub(super) fn cgroup(engine: &Engine, record: &Record) -> Result<Cgroup> {
    let failed = |error| Error::failed("cannot find the cgroup of a container", error);
    let layout = Layout::detect().map_err(failed)?;
    let config = engine.config();
    let place = |config: &Config| {
        let path = spec::cgroup_path(config, record);
        let path = match config.cgroup.driver {
            CgroupDriver::Cgroupfs => PathBuf::from(path),
            CgroupDriver::Systemd => scope(&path),
        };
        Cgroup::at(&layout, &path).map_err(failed)
    };
    let usual = place(&config)?;
    if usual.exists() {
        return Ok(usual);
    }
    let mut before = Config::clone(&config);
    before.cgroup.driver = match config.cgroup.driver {
        CgroupDriver::Cgroupfs => CgroupDriver::Systemd,
        CgroupDriver::Systemd => CgroupDriver::Cgroupfs,
    };
    // A parent for one driver means nothing to the other.
    before.cgroup.parent = None;
    Ok(place(&before).ok().filter(Cgroup::exists).unwrap_or(usual))
}

/// `system.slice:docker:<id>` as a path. A slice lies within those that its name lists: `a-b.slice` in `a.slice`.
fn scope(path: &str) -> PathBuf {
    let mut parts = path.split(':');
    let (slice, prefix, id) = (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    );
    let stem = slice.trim_end_matches(".slice");
    let mut directory = PathBuf::from("/");
    if stem != "-" {
        let mut name = String::new();
        for part in stem.split('-') {
            if !name.is_empty() {
                name.push('-');
            }
            name.push_str(part);
            directory.push(format!("{name}.slice"));
        }
    }
    directory.join(Path::new(&format!("{prefix}-{id}.scope")))
}

fn empty_counters() -> BlkioStats {
    BlkioStats {
        io_service_bytes_recursive: Some(Vec::new()),
        io_serviced_recursive: Some(Vec::new()),
        io_queue_recursive: Some(Vec::new()),
        io_service_time_recursive: Some(Vec::new()),
        io_wait_time_recursive: Some(Vec::new()),
        io_merged_recursive: Some(Vec::new()),
        io_time_recursive: Some(Vec::new()),
        sectors_recursive: Some(Vec::new()),
    }
}

fn sample(host: &Host, empty: Stats, used: linux::cgroup::Stats, networks: &str, processor: &str) -> Stats {
    let (system, online) = system_time(processor);
    let unlimited = |limit: u64| if limit == u64::MAX { host.memory } else { limit.min(host.memory) };
    let entries = |list: Vec<BlockEntry>| {
        Some(
            list.into_iter()
                .map(|entry| BlkioEntry {
                    major: entry.major,
                    minor: entry.minor,
                    op: entry.operation,
                    value: entry.value,
                })
                .collect(),
        )
    };
    Stats {
        pids_stats: PidsStats {
            current: used.pids.current,
            limit: Some(used.pids.limit).filter(|limit| *limit != u64::MAX).unwrap_or(0),
        },
        blkio_stats: BlkioStats {
            io_service_bytes_recursive: entries(used.block.bytes),
            io_serviced_recursive: entries(used.block.operations),
            // Counters of schedulers that kernels no longer have: Docker shows them empty where cgroups are old.
            ..if host.cgroups.version == 1 { empty_counters() } else { BlkioStats::default() }
        },
        cpu_stats: CpuStats {
            cpu_usage: CpuUsage {
                total_usage: used.cpu.total,
                percpu_usage: used.cpu.per_cpu,
                usage_in_kernelmode: used.cpu.system,
                usage_in_usermode: used.cpu.user,
            },
            system_cpu_usage: system,
            online_cpus: online,
            throttling_data: Throttling {
                periods: used.cpu.periods,
                throttled_periods: used.cpu.throttled_periods,
                throttled_time: used.cpu.throttled_time,
            },
        },
        memory_stats: MemoryStats {
            usage: used.memory.usage,
            max_usage: used.memory.max_usage,
            stats: used.memory.details,
            failcnt: used.memory.failures,
            limit: unlimited(used.memory.limit),
        },
        networks: interfaces(networks),
        ..empty
    }
}

/// Nanoseconds that all processors have spent, and how many there are (proc_stat(5)).
fn system_time(text: &str) -> (u64, u32) {
    let ticks: u64 = text
        .lines()
        .find_map(|line| line.strip_prefix("cpu "))
        .map(|fields| fields.split_whitespace().take(8).filter_map(|field| field.parse::<u64>().ok()).sum())
        .unwrap_or(0);
    let online = text.lines().filter(|line| line.starts_with("cpu") && !line.starts_with("cpu ")).count();
    (ticks * (1_000_000_000 / TICKS), u32::try_from(online).unwrap_or(0))
}

/// Counters by interface, loopback left out (proc_net_dev(5)).
fn interfaces(text: &str) -> BTreeMap<String, NetworkStats> {
    let mut all = BTreeMap::new();
    for line in text.lines().skip(2) {
        let Some((name, fields)) = line.split_once(':') else { continue };
        let numbers: Vec<u64> = fields.split_whitespace().map(|field| field.parse().unwrap_or(0)).collect();
        let [
            rx_bytes,
            rx_packets,
            rx_errors,
            rx_dropped,
            _,
            _,
            _,
            _,
            tx_bytes,
            tx_packets,
            tx_errors,
            tx_dropped,
            ..,
        ] = numbers[..]
        else {
            continue;
        };
        if name.trim() != "lo" {
            let counters = NetworkStats {
                rx_bytes,
                rx_packets,
                rx_errors,
                rx_dropped,
                tx_bytes,
                tx_packets,
                tx_errors,
                tx_dropped,
            };
            all.insert(name.trim().to_owned(), counters);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_lie_within_slices() {
        assert_eq!(scope("system.slice:docker:abc"), PathBuf::from("/system.slice/docker-abc.scope"));
        assert_eq!(scope("a-b.slice:docker:abc"), PathBuf::from("/a.slice/a-b.slice/docker-abc.scope"));
    }

    #[test]
    fn counters_of_interfaces() {
        let text = "Inter-|\n face |\n    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n  eth0: 10 2 3 4 0 0 0 0 50 6 7 8 0 0 0 0\n";
        let all = interfaces(text);
        assert_eq!(all.len(), 1);
        assert_eq!((all["eth0"].rx_bytes, all["eth0"].tx_dropped), (10, 8));
    }

    #[test]
    fn the_machines_time_is_the_sum_of_its_modes() {
        let text = "cpu  1 2 3 4 5 6 7 8 100 100\ncpu0 1 2 3 4 5 6 7 8 0 0\nintr 5\n";
        assert_eq!(system_time(text), (36 * 10_000_000, 1));
    }
}
