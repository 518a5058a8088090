//! Scopes of systemd: where it manages the cgroup tree, one asks it for a place.
//!
//! ```text
//!   runtime                          systemd                        anchor
//!     │ forks ───────────────────────────────────────────────────────▶│ waits
//!     │ ── StartTransientUnit(scope, PIDs = anchor, Delegate) ─▶│      │
//!     │ ◀──────────────────── JobRemoved(done) ─────────────────│ moved │
//!     │ clones the container straight into the scope's cgroup          │
//!     │ lets go ──────────────────────────────────────────────────────▶│ ends
//! ```
//!
//! A scope cannot start without a process, and moving one later is slow; so a copy of us holds the scope open until
//! the container is born in it. `Delegate` makes the cgroup below ours to fill; the limits that systemd knows are
//! told to it as well, or its next reload would reset them.
//!
//! Only where all of the tree is v2: on a hybrid, systemd and v1 trees disagree about who is where.

mod bus;

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use linux::process::{Clone, Cloned, Pid, exit_now, wait};
use oci::runtime::Resources;

use crate::resources::{io_weight_of, unified_swap, weight_of};
use crate::{Error, Result, error::Step};
use bus::{Bus, Value};

/// A unit's name and where its cgroup is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scope {
    pub(crate) unit: String,
    slice: String,
}

impl Scope {
    /// From `slice:prefix:name`; without it, the usual slice and the id.
    pub(crate) fn parse(path: &str, id: &str) -> Result<Scope> {
        let usual = if linux::credentials::user() == 0 { "system.slice" } else { "user.slice" };
        if path.is_empty() {
            return Ok(Scope { unit: format!("wharf-{id}.scope"), slice: usual.to_owned() });
        }
        let parts: Vec<&str> = path.split(':').collect();
        let [slice, prefix, name] = parts[..] else {
            return Err(Error::invalid(format_args!(
                "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got {path:?} instead"
            )));
        };
        let slice = if slice.is_empty() { usual } else { slice };
        if !slice.ends_with(".slice") || slice.contains('/') || name.is_empty() || name.contains('/') {
            return Err(Error::invalid(format_args!("cgroupsPath {path:?} names no slice or no scope")));
        }
        let unit = match (name.ends_with(".slice"), prefix) {
            (true, _) => return Err(Error::invalid("a slice cannot hold a container by itself")),
            (false, "") => format!("{name}.scope"),
            (false, prefix) => format!("{prefix}-{name}.scope"),
        };
        Ok(Scope { unit, slice: slice.to_owned() })
    }

    /// Below [`base`]. A slice `a-b.slice` lies in `a.slice`; the root slice is `-.slice`.
    pub(crate) fn path(&self) -> PathBuf {
        let mut path = PathBuf::from("/");
        let name = self.slice.trim_end_matches(".slice");
        if name != "-" {
            for (at, _) in name.match_indices('-') {
                path.push(format!("{}.slice", &name[..at]));
            }
            path.push(&self.slice);
        }
        path.join(&self.unit)
    }
}

/// Where the slices are: at the top of the tree, but for those of a user's own systemd.
pub(crate) fn base() -> Result<PathBuf> {
    if linux::credentials::user() == 0 {
        return Ok(PathBuf::from("/"));
    }
    let mut bus = Bus::ours().step(|| "systemd")?;
    bus.control_group().step(|| "systemd").map(PathBuf::from)
}

/// A process that keeps a scope from ending before the container is in it.
#[derive(Debug)]
pub(crate) struct Anchor {
    pid: Pid,
    /// The process ends when this is closed.
    hold: Option<OwnedFd>,
}

impl Anchor {
    fn new() -> Result<Anchor> {
        let (reader, writer) = linux::fd::pipe().step(|| "anchor")?;
        match Clone::default().start().step(|| "anchor")? {
            Cloned::Copy => {
                use std::os::fd::AsFd;
                let kept = linux::fd::close_all_except(&[reader.as_fd()]);
                let ended = linux::fd::read(&reader, &mut [0]);
                exit_now(i32::from(kept.is_err() || ended.is_err()))
            }
            Cloned::Caller { pid, .. } => Ok(Anchor { pid, hold: Some(writer) }),
        }
    }
}

impl Drop for Anchor {
    fn drop(&mut self) {
        self.hold = None;
        let _reaped_elsewhere = wait(self.pid);
    }
}

/// Starts the scope. The caller drops the anchor once the container is in.
pub(crate) fn start(scope: &Scope, description: &str, resources: &Resources) -> Result<Anchor> {
    let anchor = Anchor::new()?;
    let mut bus = Bus::ours().step(|| "systemd")?;
    let mut properties = vec![
        ("Description", Value::Text(description.to_owned())),
        ("Slice", Value::Text(scope.slice.clone())),
        ("Delegate", Value::Flag(true)),
        ("DefaultDependencies", Value::Flag(false)),
        // Forgotten at its end, however it ended: the name may be needed again at once.
        ("CollectMode", Value::Text("inactive-or-failed".to_owned())),
        ("PIDs", Value::Numbers(vec![anchor.pid as u32])),
    ];
    properties.extend(limits(resources));
    bus.start_transient(&scope.unit, &properties)
        .step(|| format!("unable to start unit {:?}", scope.unit))?;
    Ok(anchor)
}

/// Ends the scope. One that is gone already is fine.
pub(crate) fn stop(unit: &str) -> Result<()> {
    let mut bus = Bus::ours().step(|| "systemd")?;
    bus.stop(unit).step(|| format!("unable to stop unit {unit:?}"))
}

/// Tells systemd of new limits.
pub(crate) fn update(unit: &str, resources: &Resources) -> Result<()> {
    let properties: Vec<_> = limits(resources).collect();
    if properties.is_empty() {
        return Ok(());
    }
    let mut bus = Bus::ours().step(|| "systemd")?;
    bus.set_properties(unit, &properties).step(|| format!("unable to set properties of unit {unit:?}"))
}

/// What systemd writes by itself, in its words: it writes all of it again whenever it reloads. -1 and 0 are "no
/// limit". Limits that contradict each other are left to the files, whose refusal says more.
fn limits(resources: &Resources) -> impl Iterator<Item = (&'static str, Value)> + use<> {
    let or_infinity = |value: i64| Value::Number(if value > 0 { value as u64 } else { u64::MAX });
    let memory = resources.memory.as_ref();
    let cpu = resources.cpu.as_ref();
    let period = cpu.and_then(|cpu| cpu.period).filter(|period| *period > 0);
    let quota = cpu.and_then(|cpu| cpu.quota).filter(|quota| *quota != 0).map(|quota| {
        // Microseconds of CPU per second, in steps of 10 ms as systemd keeps them.
        let per_second = (quota.max(0) as u64).saturating_mul(1_000_000) / period.unwrap_or(100_000);
        Value::Number(if quota > 0 { per_second.div_ceil(10_000) * 10_000 } else { u64::MAX })
    });
    let swap = memory.and_then(|memory| unified_swap(memory).ok().flatten());
    let weight = cpu.and_then(|cpu| cpu.shares).filter(|shares| *shares > 0).map(weight_of);
    let io_weight = resources.block_io.as_ref().and_then(|block| block.weight).filter(|weight| *weight > 0);
    let set = |list: Option<&String>| list.and_then(|list| bits(list)).map(Value::Bytes);
    [
        ("MemoryMax", memory.and_then(|memory| memory.limit).filter(|limit| *limit != 0).map(or_infinity)),
        ("MemoryLow", memory.and_then(|memory| memory.reservation).filter(|v| *v != 0).map(or_infinity)),
        ("MemorySwapMax", swap.map(|text| Value::Number(text.parse().unwrap_or(u64::MAX)))),
        ("TasksMax", resources.pids.and_then(|pids| pids.limit).map(or_infinity)),
        ("CPUQuotaPeriodUSec", period.map(Value::Number)),
        ("CPUQuotaPerSecUSec", quota),
        ("CPUWeight", weight.map(Value::Number)),
        ("AllowedCPUs", set(cpu.map(|cpu| &cpu.cpus))),
        ("AllowedMemoryNodes", set(cpu.map(|cpu| &cpu.mems))),
        ("IOWeight", io_weight.map(|weight| Value::Number(io_weight_of(weight)))),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
}

/// `0-2,5` as a set of bits, the lowest first: what systemd calls a CPU set. None for an empty or a wrong list.
fn bits(list: &str) -> Option<Vec<u8>> {
    /// More CPUs than Linux can have.
    const MOST: usize = 1 << 16;
    let mut bytes = Vec::new();
    for part in list.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        for number in first..=last.min(MOST) {
            if bytes.len() <= number / 8 {
                bytes.resize(number / 8 + 1, 0);
            }
            bytes[number / 8] |= 1 << (number % 8);
        }
    }
    (!bytes.is_empty()).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_nest_by_their_names() {
        let path = |text: &str| Scope::parse(text, "x").unwrap().path().display().to_string();
        assert_eq!(path("system.slice:docker:1234"), "/system.slice/docker-1234.scope");
        assert_eq!(path("a-b-c.slice::n"), "/a.slice/a-b.slice/a-b-c.slice/n.scope");
        assert_eq!(path("-.slice:p:n"), "/p-n.scope");
        assert_eq!(path(""), "/system.slice/wharf-x.scope");
        for wrong in ["/docker/1", "a:b", "x:y:z", "a.slice:b:c/d", "a.slice:b:c.slice"] {
            assert!(Scope::parse(wrong, "x").is_err(), "{wrong}");
        }
    }

    #[test]
    fn limits_in_systemds_words() {
        let resources: Resources = serde_json::from_str(
            r#"{"memory":{"limit":1048576},"cpu":{"quota":33333,"period":100000},"pids":{"limit":-1}}"#,
        )
        .unwrap();
        let told: Vec<_> = limits(&resources).collect();
        let expected = [
            ("MemoryMax", Value::Number(1 << 20)),
            ("TasksMax", Value::Number(u64::MAX)),
            ("CPUQuotaPeriodUSec", Value::Number(100_000)),
            ("CPUQuotaPerSecUSec", Value::Number(340_000)),
        ];
        assert_eq!(told, expected);
        let resources: Resources = serde_json::from_str(
            r#"{"memory":{"limit":1048576,"swap":3145728},"cpu":{"shares":1024,"cpus":"0,2-3"},"blockIO":{"weight":1000}}"#,
        )
        .unwrap();
        let told: Vec<_> = limits(&resources).collect();
        let expected = [
            ("MemoryMax", Value::Number(1 << 20)),
            ("MemorySwapMax", Value::Number(2 << 20)),
            ("CPUWeight", Value::Number(100)),
            ("AllowedCPUs", Value::Bytes(vec![0b1101])),
            ("IOWeight", Value::Number(10_000)),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn lists_of_processors_are_sets_of_bits() {
        assert_eq!(bits("1,8-9"), Some(vec![0b10, 0b11]));
        assert_eq!(bits(""), None);
        assert_eq!(bits("x"), None);
        assert!(bits("0-99999999999").is_some_and(|bytes| bytes.len() < 10_000), "bounded");
    }
}
