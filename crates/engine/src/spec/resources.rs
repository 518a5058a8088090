//! Limits: from the API's fields to the specification's. What the kernel cannot enforce was discarded with a warning
//! when the container was created.

use std::os::linux::fs::MetadataExt;

use api::container::{Resources as Wanted, ThrottleDevice as Throttled, WeightDevice as Weighted};
use oci::runtime::{BlockIo, Cpu, Memory, Pids, Resources, ThrottleDevice, WeightDevice};

use crate::error::{Error, Result};
use crate::host::Host;

/// Docker's period for `--cpus`, in microseconds.
const PERIOD: u64 = 100_000;

/// The limits of a container, or the changes of an update: zero and empty mean "not said".
pub(crate) fn resources(wanted: &Wanted, host: &Host) -> Result<Resources> {
    Ok(Resources {
        memory: Some(memory(wanted, host)).filter(|memory| *memory != Memory::default()),
        cpu: Some(cpu(wanted)).filter(|cpu| *cpu != Cpu::default()),
        pids: wanted.pids_limit.map(|limit| Pids { limit: Some(if limit <= 0 { -1 } else { limit }) }),
        block_io: Some(block_io(wanted)?).filter(|io| *io != BlockIo::default()),
        ..Resources::default()
    })
}

fn memory(wanted: &Wanted, host: &Host) -> Memory {
    let said = |value: i64| Some(value).filter(|value| *value != 0);
    Memory {
        limit: said(wanted.memory),
        reservation: said(wanted.memory_reservation),
        swap: said(wanted.memory_swap).filter(|_| host.cgroups.swap),
        swappiness: wanted.memory_swappiness.and_then(|value| u64::try_from(value).ok()),
        disable_oom_killer: wanted
            .oom_kill_disable
            .filter(|disable| *disable && host.cgroups.oom_kill_disable),
        ..Memory::default()
    }
}

fn cpu(wanted: &Wanted) -> Cpu {
    let positive = |value: i64| u64::try_from(value).ok().filter(|value| *value > 0);
    let (period, quota) = if wanted.nano_cpus > 0 {
        (Some(PERIOD), Some(wanted.nano_cpus / 10_000))
    } else {
        (positive(wanted.cpu_period), Some(wanted.cpu_quota).filter(|quota| *quota != 0))
    };
    Cpu {
        shares: positive(wanted.cpu_shares),
        period,
        quota,
        realtime_period: positive(wanted.cpu_realtime_period),
        realtime_runtime: Some(wanted.cpu_realtime_runtime).filter(|runtime| *runtime != 0),
        cpus: wanted.cpuset_cpus.clone(),
        mems: wanted.cpuset_mems.clone(),
        ..Cpu::default()
    }
}

fn block_io(wanted: &Wanted) -> Result<BlockIo> {
    Ok(BlockIo {
        weight: Some(wanted.blkio_weight).filter(|weight| *weight > 0),
        weight_device: wanted.blkio_weight_device.iter().flatten().map(weight).collect::<Result<_>>()?,
        throttle_read_bps_device: throttles(&wanted.blkio_device_read_bps)?,
        throttle_write_bps_device: throttles(&wanted.blkio_device_write_bps)?,
        throttle_read_iops_device: throttles(&wanted.blkio_device_read_iops)?,
        throttle_write_iops_device: throttles(&wanted.blkio_device_write_iops)?,
        ..BlockIo::default()
    })
}

fn weight(device: &Weighted) -> Result<WeightDevice> {
    let (major, minor) = numbers(&device.path)?;
    Ok(WeightDevice { major, minor, weight: Some(device.weight), leaf_weight: None })
}

fn throttles(devices: &Option<Vec<Throttled>>) -> Result<Vec<ThrottleDevice>> {
    let throttle = |device: &Throttled| {
        let (major, minor) = numbers(&device.path)?;
        Ok(ThrottleDevice { major, minor, rate: device.rate })
    };
    devices.iter().flatten().map(throttle).collect()
}

/// The numbers behind a device file.
fn numbers(path: &str) -> Result<(i64, i64)> {
    let metadata = std::fs::metadata(path).map_err(|error| {
        Error::because(api::error::ErrorKind::InvalidParameter, format!("stat {path}"), error)
    })?;
    let device = metadata.st_rdev();
    let major = ((device >> 8) & 0xfff) | ((device >> 32) & !0xfff);
    let minor = (device & 0xff) | ((device >> 12) & !0xff);
    Ok((major as i64, minor as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_become_a_quota() {
        let wanted = Wanted { nano_cpus: 1_500_000_000, ..Wanted::default() };
        let cpu = cpu(&wanted);
        assert_eq!((cpu.period, cpu.quota), (Some(100_000), Some(150_000)));
    }

    #[test]
    fn nothing_said_limits_nothing() {
        let host = Host::observe().unwrap();
        assert_eq!(resources(&Wanted::default(), &host).unwrap(), Resources::default());
        let none = Wanted { pids_limit: Some(0), ..Wanted::default() };
        assert_eq!(resources(&none, &host).unwrap().pids.unwrap().limit, Some(-1));
    }

    #[test]
    fn devices_are_named_by_their_numbers() {
        assert_eq!(numbers("/dev/null").unwrap(), (1, 3));
        assert!(numbers("/dev/nothing-there").is_err());
    }
}
