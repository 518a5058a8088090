//! What is asked for, before any of it is written: with what it leaves out, in the steps that it will have, and refused where
//! some of it would be.

use linux::cgroup::Cgroup;
use oci::runtime::{Memory, Resources};

use super::{legacy, unified};
use crate::{Error, Result};

/// What processor time is counted in where nobody says: the kernel's own, in microseconds.
pub(crate) const PERIOD: u64 = 100_000;

/// Refuses what [`super::apply`] would refuse before it writes anything.
pub(crate) fn check(cgroup: &Cgroup, resources: &Resources) -> Result<()> {
    if let Some(memory) = &resources.memory {
        check_memory(cgroup, memory)?;
    }
    if cgroup.is_unified() { unified::settings(resources) } else { legacy::settings(resources) }.map(drop)
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

/// Systemd keeps processor time in steps, and writes what it keeps: the files say the same as it does.
pub(crate) fn rounded(resources: &Resources) -> Resources {
    let mut all = resources.clone();
    if let Some(cpu) = &mut all.cpu {
        let period = cpu.period.filter(|period| *period > 0).unwrap_or(PERIOD);
        if let Some(per_second) = cpu.quota.and_then(|quota| per_second(quota, period)) {
            cpu.quota = i64::try_from(per_second.saturating_mul(period) / SECOND).ok();
        }
    }
    all
}

/// In microseconds.
const SECOND: u64 = 1_000_000;

/// Microseconds of processor time per second, in systemd's steps of 10 ms. None without a limit.
pub(crate) fn per_second(quota: i64, period: u64) -> Option<u64> {
    const STEP: u64 = 10_000;
    let quota = u64::try_from(quota).ok().filter(|quota| *quota > 0)?;
    Some((quota.saturating_mul(SECOND) / period.max(1)).div_ceil(STEP).saturating_mul(STEP))
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
        (
            "unified.cpu.weight",
            BOTH,
            unified::idle_file(resources) && resources.unified.contains_key("cpu.weight"),
        ),
    ];
    fields.into_iter().filter(|(.., asked)| *asked).map(|(name, why, _)| (name, why)).collect()
}

/// With `checkBeforeUpdate` a limit below what is used now is refused instead of killing.
pub(super) fn check_memory(cgroup: &Cgroup, memory: &Memory) -> Result<()> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::tests::{parse, pretended};

    #[test]
    fn half_of_a_quota_keeps_the_other_half() {
        let (_directory, cgroup) = pretended("cpu.max", "500000 1000000\n");
        let written = |json: &str| {
            let all = completed(&cgroup, &parse(json));
            unified::settings(&all).unwrap().into_iter().map(|setting| setting.value).collect::<Vec<_>>()
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
}
