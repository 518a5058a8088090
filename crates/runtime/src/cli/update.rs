//! `update`: new limits for a container that runs.

use std::io::Read;

use oci::runtime::{BlockIo, Cpu, Memory, Pids, Resources, Status};
use runtime::{Error, Kind, Result};

use super::Context;
use super::arguments::{Arguments, Flag};

const FLAGS: &[Flag] = &[
    Flag::value("resources", Some('r')),
    Flag::value("blkio-weight", None),
    Flag::value("cpu-period", None),
    Flag::value("cpu-quota", None),
    Flag::value("cpu-burst", None),
    Flag::value("cpu-share", None),
    Flag::value("cpu-rt-period", None),
    Flag::value("cpu-rt-runtime", None),
    Flag::value("cpuset-cpus", None),
    Flag::value("cpuset-mems", None),
    Flag::value("memory", None),
    Flag::value("memory-reservation", None),
    Flag::value("memory-swap", None),
    Flag::value("pids-limit", None),
    Flag::value("cpu-idle", None),
];

pub(super) fn update(context: &Context, args: Vec<String>) -> Result<u8> {
    let arguments = Arguments::parse(FLAGS, &args)?;
    let found = context.store.find(arguments.id()?)?;
    if found.status == Status::Stopped {
        return Err(Error::new(Kind::WrongState, "container not running"));
    }
    let resources = match arguments.get("resources") {
        Some(path) => read(path)?,
        None => from_options(&arguments)?,
    };
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
        json = std::fs::read(path).map_err(|error| failed(&error))?;
    }
    serde_json::from_slice(&json).map_err(|error| failed(&error))
}

fn from_options(arguments: &Arguments) -> Result<Resources> {
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

/// A number with an optional unit of 1024s; -1 is no limit.
fn bytes(arguments: &Arguments, name: &str) -> Result<Option<i64>> {
    let Some(text) = arguments.get(name) else { return Ok(None) };
    parse_bytes(text)
        .map(Some)
        .ok_or_else(|| Error::invalid(format_args!("invalid value for {name}: invalid size: '{text}'")))
}

fn parse_bytes(text: &str) -> Option<i64> {
    if text == "-1" {
        return Some(-1);
    }
    let lower = text.to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = lower[digits.len()..].trim();
    let unit = unit.strip_suffix("ib").or(unit.strip_suffix('b')).unwrap_or(unit);
    let shift = match unit {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return None,
    };
    let number = i64::try_from(digits.parse::<u64>().ok()?).ok()?;
    number.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_with_units() {
        let cases = [("1048576", 1 << 20), ("64M", 64 << 20), ("2gb", 2 << 30), ("1KiB", 1024), ("-1", -1)];
        for (text, value) in cases {
            assert_eq!(parse_bytes(text), Some(value), "{text}");
        }
        for text in ["", "x", "5y", "99999999999999t", "-2"] {
            assert_eq!(parse_bytes(text), None, "{text}");
        }
    }
}
