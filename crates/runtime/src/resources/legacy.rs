//! Limits in the files of cgroups of version 1.

use linux::cgroup::Cgroup;
use oci::runtime::{BlockIo, Cpu, Memory, Resources, ThrottleDevice};

use super::{RESERVED, Setting, asked, cpusets, pids, rdma, set_legacy, setting, swappiness};
use crate::{Error, Result};

/// The kernel keeps memory ≤ memory+swap at every moment, so which is written first depends on where they are.
pub(super) fn apply_memory(cgroup: &Cgroup, memory: &Memory) -> Result<()> {
    let limit = asked(memory.limit).map(|limit| setting("memory", "memory.limit_in_bytes", limit));
    let set_swap = |swap: i64| setting("memory", "memory.memsw.limit_in_bytes", swap);
    let swap = asked(memory.swap).map(set_swap);
    if memory.limit == Some(-1) && swap.is_none() {
        // Without a limit of memory there is none of both together. A kernel that does not count swap has no such file.
        let _not_counted = set_legacy(cgroup, &set_swap(-1));
    }
    match (limit, swap) {
        (Some(limit), Some(swap)) => {
            if set_legacy(cgroup, &limit).is_ok() {
                return set_legacy(cgroup, &swap);
            }
            set_legacy(cgroup, &swap)?;
            set_legacy(cgroup, &limit)
        }
        (limit, swap) => limit.iter().chain(&swap).try_for_each(|setting| set_legacy(cgroup, setting)),
    }
}

pub(super) fn settings(resources: &Resources) -> Result<Vec<Setting>> {
    let mut out = Vec::new();
    if let Some(memory) = &resources.memory {
        let soft = |value| setting("memory", "memory.soft_limit_in_bytes", value);
        let tcp = |value| setting("memory", "memory.kmem.tcp.limit_in_bytes", value);
        out.extend(asked(memory.reservation).map(soft));
        out.extend(asked(memory.kernel_tcp).map(tcp));
        out.extend(swappiness(memory)?.map(|value| setting("memory", "memory.swappiness", value)));
        if let Some(disable) = memory.disable_oom_killer {
            out.push(setting("memory", "memory.oom_control", u8::from(disable)));
        }
    }
    if let Some(cpu) = &resources.cpu {
        check_shares(cpu)?;
        processors(cpu, &mut out);
    }
    out.extend(pids(resources));
    if let Some(block) = &resources.block_io {
        blocks(block, &mut out);
    }
    for limit in &resources.hugepage_limits {
        for what in ["", RESERVED] {
            let file = format!("hugetlb.{}{what}.limit_in_bytes", limit.page_size);
            out.push(setting("hugetlb", file, limit.limit));
        }
    }
    if let Some(network) = &resources.network {
        out.extend(network.class_id.map(|id| setting("net_cls", "net_cls.classid", id)));
        for priority in &network.priorities {
            let line = format!("{} {}", priority.name, priority.priority);
            out.push(setting("net_prio", "net_prio.ifpriomap", line));
        }
    }
    out.extend(rdma(resources));
    Ok(out)
}

/// The kernel would take others for the nearest of these and say nothing (`MIN_SHARES`, `MAX_SHARES`).
fn check_shares(cpu: &Cpu) -> Result<()> {
    const MINIMUM: u64 = 2;
    const MAXIMUM: u64 = 1 << 18;
    match cpu.shares {
        Some(1) => Err(Error::other(format_args!("the minimum allowed cpu-shares is {MINIMUM}"))),
        Some(shares) if shares > MAXIMUM => {
            Err(Error::other(format_args!("the maximum allowed cpu-shares is {MAXIMUM}")))
        }
        _ => Ok(()),
    }
}

pub(super) fn processors(cpu: &Cpu, out: &mut Vec<Setting>) {
    out.extend(cpu.shares.filter(|shares| *shares > 0).map(|value| setting("cpu", "cpu.shares", value)));
    // The period first: with the old one a new quota may be out of range.
    out.extend(
        cpu.period.filter(|period| *period > 0).map(|value| setting("cpu", "cpu.cfs_period_us", value)),
    );
    out.extend(cpu.quota.filter(|quota| *quota != 0).map(|value| setting("cpu", "cpu.cfs_quota_us", value)));
    out.extend(cpu.burst.map(|value| setting("cpu", "cpu.cfs_burst_us", value)));
    out.extend(cpu.realtime_period.filter(|value| *value > 0).map(|v| setting("cpu", "cpu.rt_period_us", v)));
    out.extend(
        cpu.realtime_runtime.filter(|value| *value != 0).map(|v| setting("cpu", "cpu.rt_runtime_us", v)),
    );
    out.extend(cpu.idle.map(|value| setting("cpu", "cpu.idle", value)));
    cpusets(cpu, out);
}

fn blocks(block: &BlockIo, out: &mut Vec<Setting>) {
    // With the BFQ scheduler the file has another name; which one exists is the kernel's build.
    out.extend(
        block.weight.filter(|weight| *weight > 0).map(|value| setting("blkio", "blkio.weight", value)),
    );
    out.extend(
        block.leaf_weight.filter(|weight| *weight > 0).map(|v| setting("blkio", "blkio.leaf_weight", v)),
    );
    for device in &block.weight_device {
        if let Some(weight) = device.weight {
            let line = format!("{}:{} {weight}", device.major, device.minor);
            out.push(setting("blkio", "blkio.weight_device", line));
        }
        if let Some(weight) = device.leaf_weight {
            let line = format!("{}:{} {weight}", device.major, device.minor);
            out.push(setting("blkio", "blkio.leaf_weight_device", line));
        }
    }
    let lists = [
        ("blkio.throttle.read_bps_device", &block.throttle_read_bps_device),
        ("blkio.throttle.write_bps_device", &block.throttle_write_bps_device),
        ("blkio.throttle.read_iops_device", &block.throttle_read_iops_device),
        ("blkio.throttle.write_iops_device", &block.throttle_write_iops_device),
    ];
    for (file, devices) in lists {
        for ThrottleDevice { major, minor, rate } in devices {
            out.push(setting("blkio", file, format!("{major}:{minor} {rate}")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::tests::parse;

    #[test]
    fn shares_that_v1_does_not_have() {
        let said = |shares: u64| {
            let json = format!(r#"{{"cpu":{{"shares":{shares}}}}}"#);
            settings(&parse(&json)).err().map(|error| error.to_string())
        };
        assert_eq!(said(1).unwrap(), "the minimum allowed cpu-shares is 2");
        assert_eq!(said(262_145).unwrap(), "the maximum allowed cpu-shares is 262144");
        assert_eq!((said(0), said(2), said(262_144)), (None, None, None));
    }
}
