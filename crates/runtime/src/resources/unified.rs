//! Limits in the files of cgroups of version 2.

use oci::runtime::{BlockIo, Cpu, Memory, Resources, ThrottleDevice, WeightDevice};

use super::before::PERIOD;
use super::{RESERVED, Setting, asked, cpusets, pids, rdma, setting, swappiness};
use crate::{Error, Result};

pub(super) fn settings(resources: &Resources) -> Result<Vec<Setting>> {
    let mut out = Vec::new();
    if let Some(memory) = &resources.memory {
        memory_files(memory, &mut out)?;
    }
    if let Some(cpu) = &resources.cpu {
        processors(cpu, &mut out)?;
    }
    out.extend(pids(resources));
    if let Some(block) = &resources.block_io {
        blocks(block, &mut out)?;
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

pub(super) fn idle_file(resources: &Resources) -> bool {
    resources.unified.get("cpu.idle").is_some_and(|text| text.trim() == "1")
}

fn memory_files(memory: &Memory, out: &mut Vec<Setting>) -> Result<()> {
    if let Some(swap) = swap(memory)? {
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
pub(crate) fn swap(memory: &Memory) -> Result<Option<String>> {
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

fn processors(cpu: &Cpu, out: &mut Vec<Setting>) -> Result<()> {
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
        let period = cpu.period.filter(|period| *period > 0).unwrap_or(PERIOD);
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

fn blocks(block: &BlockIo, out: &mut Vec<Setting>) -> Result<()> {
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

/// An amount of memory. Below -1 it makes no sense, which the kernel is left to say.
fn bytes(value: i64) -> String {
    if value == -1 { "max".to_owned() } else { value.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::tests::parse;
    use crate::resources::{legacy, obsolete};

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
            let told = settings(&parse(json)).unwrap_err().to_string();
            assert!(told.contains(name) && told.contains("not supported on cgroup v2"), "{json}: {told}");
            assert!(legacy::settings(&parse(json)).is_ok_and(|settings| settings.len() == 1), "{json}");
        }
        let gone = obsolete(&parse(r#"{"memory":{"kernel":5,"useHierarchy":false}}"#));
        let names: Vec<_> = gone.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["memory.kernel", "memory.useHierarchy"]);
        assert!(obsolete(&parse(r#"{"memory":{"kernel":-1,"useHierarchy":true}}"#)).is_empty());
    }

    #[test]
    fn who_is_idle_has_no_weight() {
        let both = parse(r#"{"cpu":{"idle":1,"shares":512}}"#);
        let files: Vec<String> = settings(&both).unwrap().into_iter().map(|setting| setting.file).collect();
        assert_eq!(files, ["cpu.idle"]);
        assert_eq!(obsolete(&both)[0].0, "cpu.shares");
        assert!(obsolete(&parse(r#"{"cpu":{"idle":0,"shares":512}}"#)).is_empty());
        let both = parse(r#"{"unified":{"cpu.idle":"1","cpu.weight":"8"}}"#);
        assert_eq!((settings(&both).unwrap().len(), obsolete(&both).len()), (1, 1));
    }

    #[test]
    fn shares_become_weights() {
        for (shares, weight) in [(2, 1), (1024, 100), (262_144, 10_000), (1, 1), (1 << 20, 10_000)] {
            assert_eq!(weight_of(shares), weight, "{shares}");
        }
    }

    #[test]
    fn swap_on_v2() {
        let swap = |json: &str| swap(&serde_json::from_str(json).unwrap()).map_err(|e| e.to_string());
        assert_eq!(swap(r#"{"limit":10,"swap":-1}"#).unwrap().as_deref(), Some("max"));
        assert_eq!(swap(r#"{"limit":10,"swap":10}"#).unwrap().as_deref(), Some("0"));
        assert!(swap(r#"{"swap":10}"#).unwrap_err().contains("without memory limit"));
        assert!(swap(r#"{"limit":20,"swap":10}"#).unwrap_err().contains(">= memory limit"));
    }
}
