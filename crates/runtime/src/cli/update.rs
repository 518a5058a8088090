//! `update`: new limits for a container that runs.

use std::io::Read;

use oci::runtime::{BlockIo, Cpu, Memory, Pids, Resources, Status};
use runtime::{Error, Kind, Result};

use super::Context;
use super::arguments::{Arguments, Flag};
use super::create::warn_of_limits;

#[rustfmt::skip]
pub(super) const FLAGS: &[Flag] = &[
    Flag::value("resources", Some('r'), "file with the resources to update, or '-' for standard input; other options are then ignored"),
    Flag::number("blkio-weight", None, "weight of block I/O, 10 to 1000"),
    Flag::value("cpu-period", None, "CPU CFS period in microseconds"),
    Flag::value("cpu-quota", None, "CPU time allowed in a period, in microseconds"),
    Flag::value("cpu-burst", None, "CPU time that may be saved up, in microseconds"),
    Flag::value("cpu-share", None, "CPU shares (relative weight)"),
    Flag::value("cpu-rt-period", None, "CPU realtime period in microseconds"),
    Flag::value("cpu-rt-runtime", None, "CPU realtime allowed in a period, in microseconds"),
    Flag::value("cpuset-cpus", None, "CPUs to use"),
    Flag::value("cpuset-mems", None, "memory nodes to use"),
    Flag::value("cpu-idle", None, "whether the cgroup is SCHED_IDLE: 0 or 1"),
    Flag::value("memory", None, "memory limit in bytes"),
    Flag::value("memory-reservation", None, "memory reservation or soft limit"),
    Flag::value("memory-swap", None, "memory and swap together; -1 is unlimited"),
    Flag::value("kernel-memory", None, "obsolete: the kernel no longer has it"),
    Flag::value("kernel-memory-tcp", None, "obsolete, as the last"),
    Flag::number("pids-limit", None, "how many processes there may be"),
    Flag::value("l3-cache-schema", None, "Intel RDT: schema of the L3 cache"),
    Flag::value("mem-bw-schema", None, "Intel RDT: schema of the memory bandwidth"),
];

pub(super) fn update(context: &Context, arguments: &Arguments) -> Result<u8> {
    let mut found = context.store.find(arguments.id()?)?;
    if found.status == Status::Stopped {
        return Err(Error::new(Kind::WrongState, "container not running"));
    }
    let resources = match arguments.get("resources") {
        Some(path) => read(path)?,
        None => from_options(context, arguments)?,
    };
    let (cache, bandwidth) = (arguments.given("l3-cache-schema"), arguments.given("mem-bw-schema"));
    if cache.is_some() || bandwidth.is_some() {
        found.container.update_class(cache, bandwidth)?;
        found.saved.record = found.container.record();
        context.store.save(&found.saved)?;
    }
    warn_of_limits(context, &resources);
    found.container.update(&resources)?;
    Ok(0)
}

/// From a file, or standard input as `-`.
fn read(path: &str) -> Result<Resources> {
    let failed = |error: &dyn std::fmt::Display| Error::invalid(format_args!("{path}: {error}"));
    let mut json = Vec::new();
    if path == "-" {
        std::io::stdin().read_to_end(&mut json).map_err(|error| failed(&error))?;
    } else {
        json = std::fs::read(path).map_err(|error| Error::of_file("open", path, &error))?;
    }
    oci::runtime::parse(&json).map_err(|error| failed(&error))
}

fn from_options(context: &Context, arguments: &Arguments) -> Result<Resources> {
    for name in ["kernel-memory", "kernel-memory-tcp"] {
        if bytes(arguments, name)?.is_some() {
            context.log.warn(format_args!("--{name} is ignored: the kernel no longer has it"));
        }
    }
    let text = |name: &str| arguments.get(name).unwrap_or_default().to_owned();
    let cpu = Cpu {
        period: arguments.number("cpu-period")?,
        quota: arguments.number("cpu-quota")?,
        burst: arguments.number("cpu-burst")?,
        shares: arguments.number("cpu-share")?,
        realtime_period: arguments.number("cpu-rt-period")?,
        realtime_runtime: arguments.number("cpu-rt-runtime")?,
        cpus: text("cpuset-cpus"),
        mems: text("cpuset-mems"),
        idle: arguments.number("cpu-idle")?,
    };
    let memory = Memory {
        limit: bytes(arguments, "memory")?,
        reservation: bytes(arguments, "memory-reservation")?,
        swap: bytes(arguments, "memory-swap")?,
        ..Memory::default()
    };
    let weight = arguments.number("blkio-weight")?;
    Ok(Resources {
        cpu: Some(cpu),
        memory: Some(memory),
        pids: arguments.number("pids-limit")?.map(|limit| Pids { limit: Some(limit) }),
        block_io: weight.map(|weight| BlockIo { weight: Some(weight), ..BlockIo::default() }),
        ..Resources::default()
    })
}

/// A number, not always a whole one, with an optional unit of 1024s; -1 is no limit.
fn bytes(arguments: &Arguments, name: &str) -> Result<Option<i64>> {
    let Some(text) = arguments.given(name) else { return Ok(None) };
    parse_bytes(text)
        .map(Some)
        .ok_or_else(|| Error::invalid(format_args!("invalid value for {name}: invalid size: '{text}'")))
}

/// What no number holds is no limit that could be meant.
fn parse_bytes(text: &str) -> Option<i64> {
    match text {
        "-1" => Some(-1),
        _ => size::parse(text, size::Units::Binary).ok().filter(|bytes| *bytes >= 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_with_units() {
        let cases = [
            ("1048576", 1 << 20),
            ("64M", 64 << 20),
            ("2gb", 2 << 30),
            ("1KiB", 1024),
            ("-1", -1),
            ("1.5g", 3 << 29),
            (".5k", 512),
            ("5 m", 5 << 20),
            ("1.b", 1),
            ("2P", 2 << 50),
        ];
        for (text, value) in cases {
            assert_eq!(parse_bytes(text), Some(value), "{text}");
        }
        for text in [
            "",
            "x",
            "5y",
            "99999999999999t",
            "-2",
            "-1k",
            "5  m",
            "5m ",
            " 5m",
            "1ib",
            "1bb",
            "1kk",
            ".",
            "5é",
        ] {
            assert_eq!(parse_bytes(text), None, "{text}");
        }
    }
}
