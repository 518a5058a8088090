//! Limits of the specification as files of control groups.
//!
//! The mapping is a pure list of writes, one function per version of cgroups, so that it can be read and tested
//! side by side. What the kernel refuses is an error with the file and the value.

use linux::Errno;
use linux::cgroup::{Cgroup, DeviceAccess, DeviceKind, DeviceRule};
use oci::runtime::{BlockIo, Cpu, Memory, Resources, ThrottleDevice, WeightDevice};

use crate::{Error, Result, error::Step};

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

/// Refuses what [`apply`] would refuse before it writes anything.
pub(crate) fn check(cgroup: &Cgroup, resources: &Resources) -> Result<()> {
    if let Some(memory) = &resources.memory {
        check_memory(cgroup, memory)?;
    }
    if cgroup.is_unified() { unified(resources) } else { legacy(resources) }.map(drop)
}

/// With the time of processors or its period as it is now, where a limit names only one of them: on v2 both are one file.
pub(crate) fn completed(cgroup: &Cgroup, resources: &Resources) -> Resources {
    let mut all = resources.clone();
    let Some(cpu) = all.cpu.as_mut().filter(|_| cgroup.is_unified()) else { return all };
    let (quota, period) = (cpu.quota.filter(|quota| *quota != 0), cpu.period.filter(|period| *period > 0));
    if quota.is_some() == period.is_some() {
        return all;
    }
    let now = cgroup.get_unified("cpu.max").unwrap_or_default();
    let mut now = now.split_whitespace();
    let (quota_now, period_now) = (now.next(), now.next());
    cpu.quota = quota.or_else(|| quota_now?.parse().ok());
    cpu.period = period.or_else(|| period_now?.parse().ok());
    all
}

/// Systemd keeps processor time in steps of 10 ms per second, and writes what it keeps: the files say the same as it does.
pub(crate) fn rounded(resources: &Resources) -> Resources {
    const STEP: u64 = 10_000;
    let mut all = resources.clone();
    if let Some(cpu) = &mut all.cpu
        && let Some(quota) = cpu.quota.and_then(|quota| u64::try_from(quota).ok()).filter(|quota| *quota > 0)
    {
        let period = cpu.period.filter(|period| *period > 0).unwrap_or(100_000);
        let per_second = (quota.saturating_mul(1_000_000) / period).div_ceil(STEP).saturating_mul(STEP);
        cpu.quota = i64::try_from(per_second.saturating_mul(period) / 1_000_000).ok();
    }
    all
}

/// Applies everything but device rules.
pub(crate) fn apply(cgroup: &Cgroup, resources: &Resources) -> Result<()> {
    if let Some(memory) = &resources.memory {
        check_memory(cgroup, memory)?;
    }
    if cgroup.is_unified() {
        return unified(resources)?.iter().try_for_each(|setting| set_unified(cgroup, setting));
    }
    if let Some(memory) = &resources.memory {
        apply_legacy_memory(cgroup, memory)?;
    }
    apply_in_order(&legacy(resources)?, |setting| set_legacy(cgroup, setting))?;
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

/// What is asked for and has no effect, each with the reason: no kernel does it any more, or something else that is asked
/// for excludes it.
pub fn obsolete(resources: &Resources) -> Vec<(&'static str, &'static str)> {
    const GONE: &str = "the kernel no longer has it";
    const BOTH: &str = "unable to apply both, who is idle has no weight";
    let memory = resources.memory.clone().unwrap_or_default();
    let cpu = resources.cpu.clone().unwrap_or_default();
    let fields = [
        ("memory.kernel", GONE, memory.kernel.is_some_and(|limit| limit > 0)),
        ("memory.useHierarchy", GONE, memory.use_hierarchy == Some(false)),
        ("cpu.shares", BOTH, cpu.idle == Some(1) && cpu.shares.is_some_and(|shares| shares > 0)),
        ("unified.cpu.weight", BOTH, idle_file(resources) && resources.unified.contains_key("cpu.weight")),
    ];
    fields.into_iter().filter(|(.., asked)| *asked).map(|(name, why, _)| (name, why)).collect()
}

/// With `checkBeforeUpdate` a limit below what is used now is refused instead of killing.
fn check_memory(cgroup: &Cgroup, memory: &Memory) -> Result<()> {
    if memory.check_before_update != Some(true) {
        return Ok(());
    }
    let usage = cgroup.stats().memory.usage;
    for (what, limit) in [("memory+swap", memory.swap), ("memory", memory.limit)] {
        if let Some(limit) = limit.filter(|limit| *limit > 0 && *limit as u64 <= usage) {
            let message = format_args!("rejecting {what} limit {limit} <= usage {usage}");
            return Err(Error::invalid(message));
        }
    }
    Ok(())
}

/// Zero is no limit that anybody can live with: it stands for none being asked for, as in v2 and in runc.
fn asked(limit: Option<i64>) -> Option<i64> {
    limit.filter(|limit| *limit != 0)
}

/// The kernel keeps memory ≤ memory+swap at every moment, so which is written first depends on where they are.
fn apply_legacy_memory(cgroup: &Cgroup, memory: &Memory) -> Result<()> {
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

fn pids(resources: &Resources) -> Option<Setting> {
    let limit = asked(resources.pids.and_then(|pids| pids.limit));
    limit.map(|limit| setting("pids", "pids.max", or_max(limit)))
}

fn legacy(resources: &Resources) -> Result<Vec<Setting>> {
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
        legacy_cpu(cpu, &mut out);
    }
    out.extend(pids(resources));
    if let Some(block) = &resources.block_io {
        legacy_block(block, &mut out);
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

fn legacy_cpu(cpu: &Cpu, out: &mut Vec<Setting>) {
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

fn cpusets(cpu: &Cpu, out: &mut Vec<Setting>) {
    if !cpu.cpus.is_empty() {
        out.push(setting("cpuset", "cpuset.cpus", &cpu.cpus));
    }
    if !cpu.mems.is_empty() {
        out.push(setting("cpuset", "cpuset.mems", &cpu.mems));
    }
}

fn legacy_block(block: &BlockIo, out: &mut Vec<Setting>) {
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

fn unified(resources: &Resources) -> Result<Vec<Setting>> {
    let mut out = Vec::new();
    if let Some(memory) = &resources.memory {
        unified_memory(memory, &mut out)?;
    }
    if let Some(cpu) = &resources.cpu {
        unified_cpu(cpu, &mut out)?;
    }
    out.extend(pids(resources));
    if let Some(block) = &resources.block_io {
        unified_block(block, &mut out)?;
    }
    for limit in &resources.hugepage_limits {
        for what in ["", RESERVED] {
            out.push(setting("hugetlb", format!("hugetlb.{}{what}.max", limit.page_size), limit.limit));
        }
    }
    if resources
        .network
        .as_ref()
        .is_some_and(|network| network.class_id.is_some() || !network.priorities.is_empty())
    {
        return Err(Error::invalid("linux.resources.network is not supported on cgroup v2"));
    }
    out.extend(rdma(resources));
    let files = resources.unified.iter().filter(|(file, _)| *file != "cpu.weight" || !idle_file(resources));
    out.extend(files.map(|(file, value)| setting("unified", file, value)));
    Ok(out)
}

fn idle_file(resources: &Resources) -> bool {
    resources.unified.get("cpu.idle").is_some_and(|text| text.trim() == "1")
}

fn unified_memory(memory: &Memory, out: &mut Vec<Setting>) -> Result<()> {
    if let Some(swap) = unified_swap(memory)? {
        out.push(setting("memory", "memory.swap.max", swap));
    }
    out.extend(asked(memory.limit).map(|v| setting("memory", "memory.max", bytes(v))));
    out.extend(asked(memory.reservation).map(|v| setting("memory", "memory.low", bytes(v))));
    if memory.disable_oom_killer == Some(true) {
        return Err(Error::invalid("memory.disableOOMKiller is not supported on cgroup v2"));
    }
    if swappiness(memory)?.is_some() {
        return Err(Error::invalid("memory.swappiness is not supported on cgroup v2"));
    }
    if memory.kernel_tcp.is_some_and(|limit| limit > 0) {
        return Err(Error::invalid("memory.kernelTCP is not supported on cgroup v2"));
    }
    Ok(())
}

/// v2 counts swap alone, the specification memory and swap together.
pub(crate) fn unified_swap(memory: &Memory) -> Result<Option<String>> {
    let limit = memory.limit.unwrap_or(0);
    match memory.swap.unwrap_or(0) {
        0 if limit == -1 => Ok(Some("max".to_owned())),
        0 => Ok(None),
        -1 => Ok(Some("max".to_owned())),
        _ if limit <= 0 => Err(Error::invalid("unable to set swap limit without memory limit")),
        swap if swap < limit => Err(Error::invalid("memory+swap limit should be >= memory limit")),
        swap => Ok(Some((swap - limit).to_string())),
    }
}

fn unified_cpu(cpu: &Cpu, out: &mut Vec<Setting>) -> Result<()> {
    if cpu.realtime_runtime.is_some_and(|value| value != 0)
        || cpu.realtime_period.is_some_and(|value| value != 0)
    {
        return Err(Error::invalid("realtime scheduling limits are not supported on cgroup v2"));
    }
    if let Some(idle) = cpu.idle {
        out.push(setting("cpu", "cpu.idle", idle));
    }
    // Who is idle has no weight, and the kernel takes none.
    if let Some(shares) = cpu.shares.filter(|shares| *shares > 0 && cpu.idle != Some(1)) {
        out.push(setting("cpu", "cpu.weight", weight_of(shares)));
    }
    if cpu.quota.is_some_and(|quota| quota != 0) || cpu.period.is_some_and(|period| period != 0) {
        let quota = match cpu.quota {
            Some(quota) if quota > 0 => quota.to_string(),
            _ => "max".to_owned(),
        };
        let period = cpu.period.filter(|period| *period > 0).unwrap_or(100_000);
        out.push(setting("cpu", "cpu.max", format!("{quota} {period}")));
    }
    if let Some(burst) = cpu.burst {
        out.push(setting("cpu", "cpu.max.burst", burst));
    }
    cpusets(cpu, out);
    Ok(())
}

/// Shares 2 to 262144 (1024 is usual) as weights 1 to 10000 (100 is usual): the curve through those three points.
pub(crate) fn weight_of(shares: u64) -> u64 {
    match shares {
        0..=2 => 1,
        262_144.. => 10_000,
        _ => {
            // Not the C library's: it keeps these in a library of their own, which every start would have to load.
            let log = libm::log2(shares as f64);
            let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
            libm::pow(10.0, exponent).ceil() as u64
        }
    }
}

/// 10 to 1000 becomes 1 to 10000.
pub(crate) fn io_weight_of(weight: u16) -> u64 {
    1 + (u64::from(weight).max(10) - 10) * 9999 / 990
}

fn unified_block(block: &BlockIo, out: &mut Vec<Setting>) -> Result<()> {
    let mut leaves = block.weight_device.iter().filter_map(|device| device.leaf_weight);
    if leaves.next().or(block.leaf_weight).is_some_and(|weight| weight > 0) {
        return Err(Error::invalid("blockIO.leafWeight is not supported on cgroup v2"));
    }
    if let Some(weight) = block.weight.filter(|weight| *weight > 0) {
        out.push(setting("io", "io.bfq.weight", weight));
        out.push(setting("io", "io.weight", io_weight_of(weight)));
    }
    for WeightDevice { major, minor, weight, .. } in &block.weight_device {
        if let Some(weight) = weight {
            out.push(setting("io", "io.bfq.weight", format!("{major}:{minor} {weight}")));
            out.push(setting("io", "io.weight", format!("{major}:{minor} {}", io_weight_of(*weight))));
        }
    }
    let lists = [
        ("rbps", &block.throttle_read_bps_device),
        ("wbps", &block.throttle_write_bps_device),
        ("riops", &block.throttle_read_iops_device),
        ("wiops", &block.throttle_write_iops_device),
    ];
    for (key, devices) in lists {
        for ThrottleDevice { major, minor, rate } in devices {
            let rate = if *rate == 0 { "max".to_owned() } else { rate.to_string() };
            out.push(setting("io", "io.max", format!("{major}:{minor} {key}={rate}")));
        }
    }
    Ok(())
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

/// An amount of memory. Below -1 it makes no sense, which the kernel is left to say.
fn bytes(value: i64) -> String {
    if value == -1 { "max".to_owned() } else { value.to_string() }
}

/// Nothing; then the configuration's rules, then what every container can use: `null` and its kin, terminals, making
/// nodes. A list of what is allowed is just that, also where it does not begin by denying everything.
pub(crate) fn device_rules(resources: &Resources) -> Result<Vec<DeviceRule>> {
    let (kind, access) = (DeviceKind::All, DeviceAccess::ALL);
    let mut rules = vec![DeviceRule { allow: false, kind, major: None, minor: None, access }];
    for rule in &resources.devices {
        let invalid =
            |what: &str| Error::invalid(format_args!("linux.resources.devices: invalid {what} in {rule:?}"));
        let kind = match rule.kind.as_str() {
            "" | "a" => DeviceKind::All,
            "b" => DeviceKind::Block,
            "c" | "u" => DeviceKind::Character,
            _ => return Err(invalid("type")),
        };
        // -1 has always meant any.
        let number = |number: Option<i64>| match number {
            None | Some(-1) => Ok(None),
            Some(number) => u32::try_from(number).map(Some).map_err(|_| invalid("number")),
        };
        let (major, minor) = (number(rule.major)?, number(rule.minor)?);
        let letters = if rule.access.is_empty() { "rwm" } else { &rule.access };
        let access = DeviceAccess::parse(letters).ok_or_else(|| invalid("access"))?;
        let everything = kind == DeviceKind::All;
        if everything {
            // Nothing before it matters.
            rules.clear();
        }
        rules.push(DeviceRule { allow: rule.allow, kind, major, minor, access });
    }
    let open = rules.first().is_some_and(|first| first.kind == DeviceKind::All && first.allow)
        && rules.iter().all(|rule| rule.allow);
    if open {
        rules.truncate(1);
    } else {
        rules.extend(always_allowed());
    }
    Ok(rules)
}

fn always_allowed() -> impl Iterator<Item = DeviceRule> {
    let all = DeviceAccess::ALL;
    let make = DeviceAccess { read: false, write: false, make: true };
    #[rustfmt::skip]
    let table: [(DeviceKind, Option<u32>, Option<u32>, DeviceAccess); 11] = [
        (DeviceKind::Character, None, None, make), (DeviceKind::Block, None, None, make),
        (DeviceKind::Character, Some(1), Some(3), all), (DeviceKind::Character, Some(1), Some(5), all),
        (DeviceKind::Character, Some(1), Some(7), all), (DeviceKind::Character, Some(1), Some(8), all),
        (DeviceKind::Character, Some(1), Some(9), all), (DeviceKind::Character, Some(5), Some(0), all),
        (DeviceKind::Character, Some(5), Some(2), all), (DeviceKind::Character, Some(136), None, all),
        (DeviceKind::Character, Some(10), Some(200), all),
    ];
    table.into_iter().map(|(kind, major, minor, access)| DeviceRule {
        allow: true,
        kind,
        major,
        minor,
        access,
    })
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
            legacy_cpu(&cpu, &mut settings);
            apply_in_order(&settings, |setting| write(&now, setting)).unwrap();
            assert_eq!(now.get(), after);
        }
        let now = std::cell::Cell::new((100_000, 50_000));
        let mut settings = Vec::new();
        legacy_cpu(&Cpu { period: Some(10_000), ..Cpu::default() }, &mut settings);
        assert!(apply_in_order(&settings, |setting| write(&now, setting)).is_err());
    }

    fn parse(json: &str) -> Resources {
        serde_json::from_str(json).unwrap()
    }

    fn show(settings: Vec<Setting>) -> String {
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
            show(unified(&resources).unwrap()),
            "memory.swap.max=67108864\nmemory.max=67108864\nmemory.low=1048576\ncpu.weight=100\n\
             cpu.max=50000 100000\ncpuset.cpus=0-1\npids.max=max\nio.bfq.weight=500\nio.weight=4950\nio.max=8:0 wbps=1024\n"
        );
        assert_eq!(
            show(legacy(&resources).unwrap()),
            "memory.soft_limit_in_bytes=1048576\ncpu.shares=1024\ncpu.cfs_period_us=100000\n\
             cpu.cfs_quota_us=50000\ncpuset.cpus=0-1\npids.max=max\nblkio.weight=500\n\
             blkio.throttle.write_bps_device=8:0 1024\n"
        );
    }

    #[test]
    fn only_minus_one_is_without_limit() {
        let shown = |limit: i64| {
            let resources = parse(&format!(r#"{{"memory":{{"limit":{limit},"reservation":{limit}}}}}"#));
            let settings = unified(&resources).unwrap();
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
        for settings in [unified(&parse(json)), legacy(&parse(json))] {
            assert_eq!(settings.unwrap().len(), 0);
        }
    }

    #[test]
    fn what_v2_does_not_have_is_refused() {
        for (json, name) in [
            (r#"{"memory":{"swappiness":5}}"#, "memory.swappiness"),
            (r#"{"memory":{"kernelTCP":5}}"#, "memory.kernelTCP"),
            (r#"{"memory":{"disableOOMKiller":true}}"#, "memory.disableOOMKiller"),
            (r#"{"blockIO":{"leafWeight":5}}"#, "blockIO.leafWeight"),
            (r#"{"blockIO":{"weightDevice":[{"major":8,"minor":0,"leafWeight":5}]}}"#, "blockIO.leafWeight"),
            (r#"{"cpu":{"realtimePeriod":5}}"#, "realtime"),
            (r#"{"network":{"classID":5}}"#, "linux.resources.network"),
        ] {
            let told = unified(&parse(json)).unwrap_err().to_string();
            assert!(told.contains(name) && told.contains("not supported on cgroup v2"), "{json}: {told}");
            assert!(legacy(&parse(json)).is_ok_and(|settings| settings.len() == 1), "{json}");
        }
        let gone = obsolete(&parse(r#"{"memory":{"kernel":5,"useHierarchy":false}}"#));
        let names: Vec<_> = gone.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["memory.kernel", "memory.useHierarchy"]);
        assert!(obsolete(&parse(r#"{"memory":{"kernel":-1,"useHierarchy":true}}"#)).is_empty());
    }

    #[test]
    fn who_is_idle_has_no_weight() {
        let both = parse(r#"{"cpu":{"idle":1,"shares":512}}"#);
        let files: Vec<String> = unified(&both).unwrap().into_iter().map(|setting| setting.file).collect();
        assert_eq!(files, ["cpu.idle"]);
        assert_eq!(obsolete(&both)[0].0, "cpu.shares");
        assert!(obsolete(&parse(r#"{"cpu":{"idle":0,"shares":512}}"#)).is_empty());
        let both = parse(r#"{"unified":{"cpu.idle":"1","cpu.weight":"8"}}"#);
        assert_eq!((unified(&both).unwrap().len(), obsolete(&both).len()), (1, 1));
    }

    /// A directory that looks like a cgroup of v2.
    fn pretended(file: &str, text: &str) -> (scratch::Directory, Cgroup) {
        let directory = scratch::Directory::new("pretended");
        std::fs::write(directory.join(file), text).unwrap();
        let cgroup = Cgroup::from_paths([("", &*directory)]);
        (directory, cgroup)
    }

    #[test]
    fn half_of_a_quota_keeps_the_other_half() {
        let (_directory, cgroup) = pretended("cpu.max", "500000 1000000\n");
        let written = |json: &str| {
            let all = completed(&cgroup, &parse(json));
            unified(&all).unwrap().into_iter().map(|setting| setting.value).collect::<Vec<_>>()
        };
        assert_eq!(written(r#"{"cpu":{"period":900000}}"#), ["500000 900000"]);
        assert_eq!(written(r#"{"cpu":{"quota":600000}}"#), ["600000 1000000"]);
        assert_eq!(written(r#"{"cpu":{"quota":-1}}"#), ["max 1000000"]);
        assert_eq!(written(r#"{"cpu":{"quota":1000,"period":2000}}"#), ["1000 2000"]);
        assert!(written(r#"{"cpu":{"cpus":""}}"#).is_empty());
        let (_directory, cgroup) = pretended("cpu.max", "max 100000\n");
        assert_eq!(completed(&cgroup, &parse(r#"{"cpu":{"period":5000}}"#)).cpu.unwrap().quota, None);
        let rounded = |json: &str| rounded(&parse(json)).cpu.unwrap().quota;
        assert_eq!(rounded(r#"{"cpu":{"quota":500000,"period":900000}}"#), Some(504_000));
        assert_eq!(rounded(r#"{"cpu":{"quota":50000}}"#), Some(50_000));
        assert_eq!(rounded(r#"{"cpu":{"quota":-1,"period":900000}}"#), Some(-1));
    }

    #[test]
    fn several_lines_are_written_one_by_one() {
        let (directory, cgroup) = pretended("io.max", "");
        set_unified(&cgroup, &setting("unified", "io.max", "8:0 rbps=1\n8:16 wbps=2\n")).unwrap();
        // A file of the kernel takes each; of this one, what was written last is at its beginning.
        assert_eq!(std::fs::read_to_string(directory.join("io.max")).unwrap(), "8:16 wbps=2");
    }

    #[test]
    fn shares_that_v1_does_not_have() {
        let said = |shares: u64| {
            let json = format!(r#"{{"cpu":{{"shares":{shares}}}}}"#);
            legacy(&parse(&json)).err().map(|error| error.to_string())
        };
        assert_eq!(said(1).unwrap(), "the minimum allowed cpu-shares is 2");
        assert_eq!(said(262_145).unwrap(), "the maximum allowed cpu-shares is 262144");
        assert_eq!((said(0), said(2), said(262_144)), (None, None, None));
    }

    #[test]
    fn shares_become_weights() {
        for (shares, weight) in [(2, 1), (1024, 100), (262_144, 10_000), (1, 1), (1 << 20, 10_000)] {
            assert_eq!(weight_of(shares), weight, "{shares}");
        }
    }

    #[test]
    fn swap_on_v2() {
        let swap = |json: &str| unified_swap(&serde_json::from_str(json).unwrap()).map_err(|e| e.to_string());
        assert_eq!(swap(r#"{"limit":10,"swap":-1}"#).unwrap().as_deref(), Some("max"));
        assert_eq!(swap(r#"{"limit":10,"swap":10}"#).unwrap().as_deref(), Some("0"));
        assert!(swap(r#"{"swap":10}"#).unwrap_err().contains("without memory limit"));
        assert!(swap(r#"{"limit":20,"swap":10}"#).unwrap_err().contains(">= memory limit"));
    }

    #[test]
    fn a_rule_about_everything_ends_what_was_before() {
        let rules = device_rules(&parse(
            r#"{"devices":[{"allow":true,"type":"b","major":8},{"allow":false,"access":"rwm"},
                {"allow":true,"type":"c","major":10,"minor":-1,"access":"r"}]}"#,
        ))
        .unwrap();
        assert_eq!((rules[0].kind, rules[0].allow), (DeviceKind::All, false));
        assert_eq!((rules[1].major, rules[1].minor), (Some(10), None));
        assert_eq!(rules.len(), 13);
        let console = |rule: &DeviceRule| (rule.major, rule.minor) == (Some(5), Some(1));
        assert!(!rules.iter().any(console), "the console is the host's");
        for nothing_denied in ["{}", r#"{"devices":[{"allow":true,"type":"c","major":4,"minor":0}]}"#] {
            let rules = device_rules(&parse(nothing_denied)).unwrap();
            assert_eq!((rules[0].kind, rules[0].allow), (DeviceKind::All, false), "{nothing_denied}");
        }
        let open = device_rules(&parse(r#"{"devices":[{"allow":true,"access":"rwm"}]}"#)).unwrap();
        assert_eq!(open.len(), 1, "everything is open: nothing to add");
    }
}
