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
//! Where there are v1 trees, systemd knows some of their controllers and makes the scope in those; the others are
//! ours to make, at the same path. Below which one that is, is told by where the machine's first process is: for a
//! machine that is itself a container, not the top.

mod annotations;
mod bus;
mod files;
mod properties;

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use linux::cgroup::{Cgroup, Layout};
use linux::process::{Clone, Cloned, Pid, exit_now, wait};
use oci::runtime::Resources;

use crate::{Error, Result, error::Step};
use bus::{Bus, Value};

pub(crate) use annotations::properties as asked;
pub(crate) use bus::Property;

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

/// Where a scope is in every tree of the machine.
pub(crate) fn cgroup(layout: &Layout, scope: &Scope) -> Result<Cgroup> {
    const STEP: &str = "scope";
    let path = scope.path();
    let below = path.strip_prefix("/").unwrap_or(&path);
    if layout.is_unified() {
        return Cgroup::at(layout, &base()?.join(below)).step(|| STEP);
    }
    if linux::credentials::user() != 0 {
        return Err(Error::invalid("cannot use rootless systemd cgroups manager on cgroup v1"));
    }
    let in_tree = |controller: Option<&str>| {
        let first = linux::cgroup::path_of(1, controller)?;
        // systemd keeps itself in a scope too, where it manages the tree.
        let top = first.parent().filter(|_| first.ends_with("init.scope")).unwrap_or(&first);
        Ok(top.join(below))
    };
    Cgroup::at_each(layout, in_tree).step(|| STEP)
}

/// Where the slices are on v2: at the top of the tree, but for those of a user's own systemd.
fn base() -> Result<PathBuf> {
    if linux::credentials::user() == 0 {
        return Ok(PathBuf::from("/"));
    }
    let mut bus = Bus::ours().step(|| "systemd")?;
    bus.control_group().step(|| "systemd").map(PathBuf::from)
}

/// Whether systemd has made it: in the tree by which systemd counts processes.
pub(crate) fn has_made(cgroup: &Cgroup) -> bool {
    cgroup.legacy("name=systemd").or(cgroup.unified()).is_some_and(Path::exists)
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

/// Starts the scope. The caller drops the anchor once the container is in. `asked` is what the configuration has for
/// systemd itself.
pub(crate) fn start(
    scope: &Scope,
    id: &str,
    layout: &Layout,
    resources: &Resources,
    asked: &[Property],
) -> Result<Anchor> {
    let anchor = Anchor::new()?;
    let mut bus = Bus::ours().step(|| "systemd")?;
    let mut properties: Vec<Property> = [
        ("Description", Value::Text(format!("container {id}"))),
        ("Slice", Value::Text(scope.slice.clone())),
        ("Delegate", Value::Flag(true)),
        ("DefaultDependencies", Value::Flag(false)),
        ("PIDs", Value::Numbers(vec![anchor.pid as u32])),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    properties.extend(match layout.is_unified() {
        true => unified(&mut bus, resources)?,
        false => properties::legacy(resources, &crate::resources::device_rules(resources)?),
    });
    properties.extend(asked.iter().cloned());
    bus.start_transient(&scope.unit, &properties)
        .step(|| format!("unable to start unit {:?}", scope.unit))?;
    Ok(anchor)
}

/// Ends the scope. One that is gone already is fine.
pub(crate) fn stop(unit: &str) -> Result<()> {
    let mut bus = Bus::ours().step(|| "systemd")?;
    bus.stop(unit).step(|| format!("unable to stop unit {unit:?}"))
}

/// Tells systemd of new limits. Devices only where there are rules for them: none would be none for systemd too.
pub(crate) fn update(unit: &str, is_unified: bool, resources: &Resources) -> Result<()> {
    let mut bus = Bus::ours().step(|| "systemd")?;
    let properties = match (is_unified, resources.devices.is_empty()) {
        (true, _) => unified(&mut bus, resources)?,
        (false, true) => properties::legacy(resources, &[]),
        (false, false) => properties::legacy(resources, &crate::resources::device_rules(resources)?),
    };
    if properties.is_empty() {
        return Ok(());
    }
    bus.set_properties(unit, &properties).step(|| format!("unable to set properties of unit {unit:?}"))
}

/// Since 252 no weight at all is a word for idleness; before, there is none.
fn unified(bus: &mut Bus, resources: &Resources) -> Result<Vec<Property>> {
    const KNOWS_IDLENESS: u32 = 252;
    let mut properties = properties::unified(resources);
    if properties::is_idle(resources) {
        properties.retain(|(name, _)| name != properties::WEIGHT);
        if bus.release().step(|| "systemd")? >= KNOWS_IDLENESS {
            properties.push((properties::WEIGHT.to_owned(), Value::Number(0)));
        }
    }
    Ok(properties)
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
}
