//! `container update`.

use std::io::Write as _;

use api::container::{Resources, UpdateRequest};

use crate::commands::each;
use crate::failure::{Failure, Outcome};
use crate::flags::{Count, Parsed, integer, text, typed};
use crate::session::Session;
use crate::tree::{Names, Spec};
use crate::units;
use crate::values::limits;

pub(crate) const SPEC: Spec = Spec::new(
    &["container update", "update"],
    &["[OPTIONS] CONTAINER [CONTAINER...]"],
    "Change the limits and the restart policy of containers",
    Count::AtLeast(1),
    flags,
    run,
)
.names(Names::Containers);

const FLAGS: [&str; 15] = [
    "blkio-weight",
    "cpu-period",
    "cpu-quota",
    "cpu-rt-period",
    "cpu-rt-runtime",
    "cpu-shares",
    "cpus",
    "cpuset-cpus",
    "cpuset-mems",
    "kernel-memory",
    "memory",
    "memory-reservation",
    "memory-swap",
    "pids-limit",
    "restart",
];

fn flags() -> Vec<clap::Arg> {
    vec![
        integer::<u16>("blkio-weight", "uint16", "Weight among those who use disks (10 to 1000, 0 for none)"),
        integer::<i64>("cpu-period", "int", "Period of the processor quota in microseconds"),
        integer::<i64>("cpu-quota", "int", "Processor time in each period in microseconds"),
        integer::<i64>("cpu-rt-period", "int", "Period of the real-time quota in microseconds"),
        integer::<i64>("cpu-rt-runtime", "int", "Real-time processor time in each period in microseconds"),
        integer::<i64>("cpu-shares", "int", "Weight among those who want processors").short('c'),
        typed("cpus", "decimal", limits::parse_cpus, "Number of processors"),
        text("cpuset-cpus", "string", "Processors to run on (0-3, 0,1)"),
        text("cpuset-mems", "string", "Memory nodes to use (0-3, 0,1)"),
        typed("kernel-memory", "bytes", units::parse_bytes, "Limit of kernel memory; the kernel ignores it")
            .hide(true),
        typed("memory", "bytes", units::parse_bytes, "Limit of memory").short('m'),
        typed("memory-reservation", "bytes", units::parse_bytes, "Limit of memory when the host runs short"),
        typed(
            "memory-swap",
            "bytes",
            units::parse_bytes_or_unlimited,
            "Limit of memory and swap together; -1 for no limit on swap",
        ),
        integer::<i64>("pids-limit", "int", "Number of processes; -1 for no limit"),
        text("restart", "string", "What to do when the container ends"),
    ]
}

fn run(session: &Session, parsed: &Parsed) -> Outcome {
    if !FLAGS.iter().any(|flag| parsed.changed(flag)) {
        return Err(Failure::new("you must provide one or more flags when using this command"));
    }
    let number = |name: &str| parsed.value::<i64>(name).unwrap_or(0);
    let request = UpdateRequest {
        resources: Resources {
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
        },
        restart_policy: limits::parse_restart(parsed.text("restart")).map_err(Failure::new)?,
    };
    let client = session.client()?;
    let mut warnings = Vec::new();
    let outcome = each(parsed.arguments(), |name| {
        warnings.extend(client.update_container(name, &request)?.warnings.unwrap_or_default());
        Ok(name.to_owned())
    });
    for warning in warnings {
        writeln!(std::io::stdout(), "{warning}")?;
    }
    outcome
}
