//! Limits in Docker's words: errors for what makes no sense, warnings for what the kernel here cannot do, which is
//! discarded.

use api::container::{Resources, ThrottleDevice};

use super::refuse;
use crate::error::Result;
use crate::host::Host;

/// Docker's least amount of memory.
const LEAST_MEMORY: i64 = 6 << 20;

/// Checks limits and takes out what is discarded; the warnings that say so.
pub(crate) fn resources(wanted: &mut Resources, host: &Host, update: bool) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    if wanted.kernel_memory != 0 || wanted.kernel_memory_tcp != 0 {
        // Kernels have removed both; who still sends them is told.
        warnings.push("Your kernel does not support kernel memory limit. Limitation discarded.".into());
        (wanted.kernel_memory, wanted.kernel_memory_tcp) = (0, 0);
    }
    memory(wanted, host, update, &mut warnings)?;
    realtime(wanted, host, update)?;
    processor(wanted, host, &mut warnings)?;
    block_io(wanted, host, &mut warnings)?;
    if update && wanted.pids_limit.is_some_and(|limit| limit <= 0) {
        // All of them mean that there is none.
        wanted.pids_limit = Some(0);
    }
    if wanted.pids_limit.is_some_and(|limit| limit > 0) && !host.cgroups.pids {
        warnings.push("Your kernel does not support PIDs limit capabilities or the cgroup is not mounted. PIDs limit discarded.".into());
        wanted.pids_limit = None;
    }
    Ok(warnings)
}

fn block_io(wanted: &mut Resources, host: &Host, warnings: &mut Vec<String>) -> Result<()> {
    let some = |devices: &Option<Vec<ThrottleDevice>>| devices.as_ref().is_some_and(|all| !all.is_empty());
    if wanted.blkio_weight != 0 && !host.cgroups.blkio_weight {
        warnings.push(
            "Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded."
                .into(),
        );
        wanted.blkio_weight = 0;
    }
    if wanted.blkio_weight != 0 && !(10..=1000).contains(&wanted.blkio_weight) {
        return refuse("Range of blkio weight is from 10 to 1000");
    }
    let weighted = wanted.blkio_weight_device.as_ref().is_some_and(|all| !all.is_empty());
    if weighted && !host.cgroups.blkio_weight_device {
        warnings.push("Your kernel does not support Block I/O weight_device or the cgroup is not mounted. Weight-device discarded.".into());
        wanted.blkio_weight_device = Some(Vec::new());
    }
    for (devices, what, discarded) in [
        (&mut wanted.blkio_device_read_bps, "BPS Block I/O read limit", "Block I/O BPS read limit"),
        (&mut wanted.blkio_device_write_bps, "BPS Block I/O write limit", "Block I/O BPS write limit"),
        (&mut wanted.blkio_device_read_iops, "IOPS Block read limit", "Block I/O IOPS read limit"),
        (&mut wanted.blkio_device_write_iops, "IOPS Block write limit", "Block I/O IOPS write limit"),
    ] {
        if some(devices) && !host.cgroups.blkio {
            warnings.push(format!(
                "Your kernel does not support {what} or the cgroup is not mounted. {discarded} discarded."
            ));
            *devices = Some(Vec::new());
        }
    }
    Ok(())
}

fn memory(wanted: &mut Resources, host: &Host, update: bool, warnings: &mut Vec<String>) -> Result<()> {
    if wanted.memory != 0 && wanted.memory < LEAST_MEMORY {
        return refuse("Minimum memory limit allowed is 6MB");
    }
    if wanted.memory > 0 && !host.cgroups.memory {
        warnings.push("Your kernel does not support memory limit capabilities or the cgroup is not mounted. Limitation discarded.".into());
        wanted.memory = 0;
        wanted.memory_swap = -1;
    }
    if wanted.memory > 0 && wanted.memory_swap != -1 && !host.cgroups.swap {
        warnings.push("Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited without swap.".into());
        wanted.memory_swap = -1;
    }
    if wanted.memory > 0 && wanted.memory_swap > 0 && wanted.memory_swap < wanted.memory {
        return refuse("Minimum memoryswap limit should be larger than memory limit, see usage");
    }
    if wanted.memory == 0 && wanted.memory_swap > 0 && !update {
        return refuse("You should always set the Memory limit when using Memoryswap limit, see usage");
    }
    if let Some(swappiness) = wanted.memory_swappiness {
        if !(-1..=100).contains(&swappiness) {
            return refuse(format!("Invalid value: {swappiness}, valid memory swappiness range is 0-100"));
        }
        if swappiness == -1 {
            wanted.memory_swappiness = None;
        } else if !host.cgroups.swappiness {
            warnings.push("Your kernel does not support memory swappiness capabilities or the cgroup is not mounted. Memory swappiness discarded.".into());
            wanted.memory_swappiness = None;
        }
    }
    if wanted.memory_reservation > 0 && wanted.memory_reservation < LEAST_MEMORY {
        return refuse("Minimum memory reservation allowed is 6MB");
    }
    if wanted.memory > 0 && wanted.memory_reservation > wanted.memory {
        return refuse("Minimum memory limit can not be less than memory reservation limit, see usage");
    }
    if wanted.oom_kill_disable == Some(true) {
        if !host.cgroups.oom_kill_disable {
            warnings.push("Your kernel does not support OomKillDisable. OomKillDisable discarded.".into());
            wanted.oom_kill_disable = None;
        } else if wanted.memory == 0 {
            warnings.push("OOM killer is disabled for the container, but no memory limit is set, this can result in the system running out of resources.".into());
        }
    }
    Ok(())
}

fn processor(wanted: &mut Resources, host: &Host, warnings: &mut Vec<String>) -> Result<()> {
    if wanted.cpu_percent > 0 {
        warnings.push("linux does not support CPU percent. Percent discarded.".into());
        wanted.cpu_percent = 0;
    }
    if wanted.nano_cpus != 0 {
        if wanted.cpu_period != 0 {
            return refuse("Conflicting options: Nano CPUs and CPU Period cannot both be set");
        }
        if wanted.cpu_quota != 0 {
            return refuse("Conflicting options: Nano CPUs and CPU Quota cannot both be set");
        }
        let most = i64::try_from(host.cpus).unwrap_or(i64::MAX).saturating_mul(1_000_000_000);
        if wanted.nano_cpus < 10_000_000 || wanted.nano_cpus > most {
            return refuse(format!(
                "range of CPUs is from 0.01 to {cpus}.00, as there are only {cpus} CPUs available",
                cpus = host.cpus
            ));
        }
    }
    if wanted.cpu_shares < 0 {
        return refuse(format!(
            "invalid CPU shares ({}): value must be a positive integer",
            wanted.cpu_shares
        ));
    }
    if wanted.cpu_shares > 0 && !host.cgroups.cpu_shares {
        warnings.push(
            "Your kernel does not support CPU shares or the cgroup is not mounted. Shares discarded.".into(),
        );
        wanted.cpu_shares = 0;
    }
    if (wanted.cpu_period != 0 || wanted.cpu_quota > 0 || wanted.nano_cpus > 0) && !host.cgroups.cpu_quota {
        warnings.push("Your kernel does not support CPU CFS scheduler. CPU period/quota discarded.".into());
        (wanted.cpu_period, wanted.cpu_quota, wanted.nano_cpus) = (0, 0, 0);
    }
    if wanted.cpu_period != 0 && !(1000..=1_000_000).contains(&wanted.cpu_period) {
        return refuse(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
        );
    }
    if wanted.cpu_quota > 0 && wanted.cpu_quota < 1000 {
        return refuse("CPU cfs quota can not be less than 1ms (i.e. 1000)");
    }
    if (!wanted.cpuset_cpus.is_empty() || !wanted.cpuset_mems.is_empty()) && !host.cgroups.cpuset {
        warnings.push(
            "Your kernel does not support cpuset or the cgroup is not mounted. Cpuset discarded.".into(),
        );
        wanted.cpuset_cpus.clear();
        wanted.cpuset_mems.clear();
    }
    cpuset("CPUs", &wanted.cpuset_cpus, "/sys/devices/system/cpu/online")?;
    cpuset("memory nodes", &wanted.cpuset_mems, "/sys/devices/system/node/online")
}

/// An update may change one of both, which are compared by the kernel then.
fn realtime(wanted: &Resources, host: &Host, update: bool) -> Result<()> {
    let (period, runtime) = (wanted.cpu_realtime_period, wanted.cpu_realtime_runtime);
    if (period != 0 || runtime != 0) && !host.cgroups.cpu_realtime {
        return refuse("kernel does not support CPU real-time scheduler");
    }
    if !update && period != 0 && runtime > period {
        return refuse("cpu real-time runtime cannot be higher than cpu real-time period");
    }
    Ok(())
}

fn cpuset(what: &str, requested: &str, online: &str) -> Result<()> {
    if requested.is_empty() {
        return Ok(());
    }
    // A kernel without NUMA has one node.
    let available = std::fs::read_to_string(online).unwrap_or_else(|_| "0".into());
    let available = available.trim();
    let (Some(wanted), Some(present)) = (numbers(requested), numbers(available)) else {
        return refuse(format!(
            "Invalid value {requested} for cpuset {}: invalid format: {requested}",
            if what == "CPUs" { "cpus" } else { "mems" }
        ));
    };
    if wanted.iter().all(|number| present.contains(number)) {
        return Ok(());
    }
    refuse(format!("Requested {what} are not available - requested {requested}, available: {available}"))
}

/// `0-2,7`; numbers above the kernel's own limit make no sense.
fn numbers(text: &str) -> Option<Vec<u32>> {
    let mut all = Vec::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        if first > last || last > 8191 {
            return None;
        }
        all.extend(first..=last);
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(change: impl FnOnce(&mut Resources)) -> Result<Vec<String>> {
        let mut wanted = Resources::default();
        change(&mut wanted);
        let mut host = Host::observe().unwrap();
        host.cpus = 2;
        host.cgroups.memory = true;
        host.cgroups.swap = true;
        host.cgroups.cpuset = true;
        host.cgroups.cpu_quota = true;
        host.cgroups.blkio_weight = true;
        host.cgroups.pids = false;
        host.cgroups.blkio_weight_device = false;
        resources(&mut wanted, &host, false)
    }

    fn message(change: impl FnOnce(&mut Resources)) -> String {
        checked(change).unwrap_err().message().to_owned()
    }

    #[test]
    fn limits_are_refused_in_dockers_words() {
        assert_eq!(message(|wanted| wanted.memory = 1), "Minimum memory limit allowed is 6MB");
        assert_eq!(
            message(|wanted| (wanted.memory, wanted.memory_swap) = (16 << 20, 8 << 20)),
            "Minimum memoryswap limit should be larger than memory limit, see usage"
        );
        assert_eq!(
            message(|wanted| wanted.nano_cpus = 3_000_000_000),
            "range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available"
        );
        assert_eq!(
            message(|wanted| (wanted.nano_cpus, wanted.cpu_period) = (1_000_000_000, 1)),
            "Conflicting options: Nano CPUs and CPU Period cannot both be set"
        );
        assert!(
            message(|wanted| wanted.cpuset_cpus = "8000".into())
                .starts_with("Requested CPUs are not available - requested 8000")
        );
        assert_eq!(message(|wanted| wanted.blkio_weight = 5), "Range of blkio weight is from 10 to 1000");
    }

    #[test]
    fn realtime_needs_a_kernel_that_can_and_a_period_that_is_longer() {
        let checked = |can: bool, update: bool, period: i64, runtime: i64| {
            let mut host = Host::observe().unwrap();
            host.cgroups.cpu_realtime = can;
            let mut wanted = Resources {
                cpu_realtime_period: period,
                cpu_realtime_runtime: runtime,
                ..Resources::default()
            };
            resources(&mut wanted, &host, update).map_err(|error| error.message().to_owned())
        };
        assert_eq!(
            checked(false, false, 1000, 0).unwrap_err(),
            "kernel does not support CPU real-time scheduler"
        );
        assert_eq!(
            checked(true, false, 1000, 2000).unwrap_err(),
            "cpu real-time runtime cannot be higher than cpu real-time period"
        );
        assert!(checked(true, false, 2000, 1000).is_ok());
        assert!(checked(true, true, 1000, 2000).is_ok());
    }

    #[test]
    fn what_the_kernel_lacks_is_discarded_with_a_warning() {
        let warnings = checked(|wanted| wanted.pids_limit = Some(5)).unwrap();
        assert!(warnings[0].ends_with("PIDs limit discarded."));
        let warnings = checked(|wanted| wanted.cpu_percent = 1).unwrap();
        assert_eq!(warnings, ["linux does not support CPU percent. Percent discarded."]);
        let none = checked(|wanted| wanted.memory_reservation = -1).unwrap();
        assert!(none.is_empty(), "{none:?}");
        let warnings = checked(|wanted| wanted.kernel_memory = 1 << 30).unwrap();
        assert!(warnings[0].starts_with("Your kernel does not support kernel memory"));
        let device = api::container::WeightDevice { path: "/dev/null".into(), weight: 100 };
        let warnings = checked(|wanted| wanted.blkio_weight_device = Some(vec![device])).unwrap();
        assert!(warnings[0].ends_with("Weight-device discarded."));
    }
}
