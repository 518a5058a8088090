//! The limits that a container may be given when it is made and may change later: of `create`, `run` and `update`.

use api::container::Resources;
use clap::Arg;

use crate::flags::{Parsed, integer, text, typed, unsigned};
use crate::units;
use crate::values::limits;

pub(super) fn flags() -> Vec<Arg> {
    vec![
        typed("memory", "bytes", units::parse_bytes, "Limit of memory").short('m'),
        typed("memory-reservation", "bytes", units::parse_bytes, "Limit of memory when the host runs short"),
        typed(
            "memory-swap",
            "bytes",
            units::parse_bytes_or_unlimited,
            "Limit of memory and swap together; -1 for no limit on swap",
        ),
        typed("kernel-memory", "bytes", units::parse_bytes, "Limit of kernel memory; the kernel ignores it")
            .hide(true),
        typed("cpus", "decimal", limits::parse_cpus, "Number of processors"),
        integer::<i64>("cpu-shares", "int", "Weight among those who want processors").short('c'),
        integer::<i64>("cpu-period", "int", "Period of the processor quota in microseconds"),
        integer::<i64>("cpu-quota", "int", "Processor time in each period in microseconds"),
        integer::<i64>("cpu-rt-period", "int", "Period of the real-time quota in microseconds"),
        integer::<i64>("cpu-rt-runtime", "int", "Real-time processor time in each period in microseconds"),
        text("cpuset-cpus", "string", "Processors to run on (0-3, 0,1)"),
        text("cpuset-mems", "string", "Memory nodes to use (0-3, 0,1)"),
        integer::<i64>("pids-limit", "int", "Number of processes; -1 for no limit"),
        unsigned::<u16>(
            "blkio-weight",
            "uint16",
            "Weight among those who use disks (10 to 1000, 0 for none)",
        ),
    ]
}

/// What was typed of them; the rest as it is when nobody says anything.
pub(super) fn read(parsed: &Parsed) -> Resources {
    let number = |name: &str| parsed.value::<i64>(name).unwrap_or(0);
    Resources {
        blkio_weight: parsed.value("blkio-weight").unwrap_or(0),
        cpu_period: number("cpu-period"),
        cpu_quota: number("cpu-quota"),
        cpu_realtime_period: number("cpu-rt-period"),
        cpu_realtime_runtime: number("cpu-rt-runtime"),
        cpu_shares: number("cpu-shares"),
        nano_cpus: number("cpus"),
        cpuset_cpus: parsed.text("cpuset-cpus").to_owned(),
        cpuset_mems: parsed.text("cpuset-mems").to_owned(),
        kernel_memory: number("kernel-memory"),
        memory: number("memory"),
        memory_reservation: number("memory-reservation"),
        memory_swap: number("memory-swap"),
        pids_limit: parsed.value("pids-limit"),
        ..Resources::default()
    }
}
