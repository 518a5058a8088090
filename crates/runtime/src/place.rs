//! Where in the cgroup trees a container is.

use std::path::Path;

use linux::Errno;
use linux::cgroup::{Cgroup, Layout};
use linux::spans::mark;
use oci::runtime::{NamespaceKind, Resources, Spec};

use crate::error::{Step, plain};
use crate::rdt::{self, Class, Group};
use crate::systemd::{self, Anchor, Property, Scope};
use crate::{Error, Kind, Result, resources};

/// Who manages the cgroup trees of this machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CgroupDriver {
    /// We, by making directories.
    #[default]
    Cgroupfs,
    /// systemd, asked over D-Bus for a scope.
    Systemd,
}

/// A cgroup made for a container.
#[derive(Debug)]
pub(crate) struct Placed {
    pub(crate) cgroup: Cgroup,
    /// The unit that holds it, where systemd does.
    pub(crate) unit: Option<String>,
    /// Until the container is in.
    pub(crate) anchor: Option<Anchor>,
    /// Where it is in the tree of resource classes, if it has one.
    pub(crate) group: Option<Group>,
}

impl Placed {
    fn new(cgroup: Cgroup) -> Placed {
        Placed { cgroup, unit: None, anchor: None, group: None }
    }

    /// Makes the class, for the container's first process to be added.
    pub(crate) fn enter_class(&mut self, class: Option<&Class>, id: &str) -> Result<()> {
        let Some(class) = class else { return Ok(()) };
        let group = class.group(&rdt::root()?, id);
        class.establish(&group)?;
        self.group = Some(group);
        Ok(())
    }

    /// Nothing of a failed start is left.
    pub(crate) fn undo(mut self) {
        self.anchor = None;
        // The failure that led here is the one to tell.
        let _empty_already = self.cgroup.kill();
        let _leftover = self.cgroup.remove();
        if let Some(unit) = &self.unit {
            let _gone_already = systemd::stop(unit);
        }
        if let Some(group) = &self.group {
            let _leftover = group.remove();
        }
    }
}

/// The place that is configured; without one, it is called like the container.
///
/// A path that begins with a slash counts from the root of each tree. Any other is below the caller's own cgroup, whose
/// limits hold for the container, too; on v2 beside it, since no cgroup with processes can hand controllers down.
fn at(layout: &Layout, configured: &str, id: &str) -> Result<Cgroup> {
    let given = Path::new(if configured.is_empty() { id } else { configured });
    let below = crate::plan::clean(given);
    let placed = match given.is_absolute() {
        true => Cgroup::at(layout, &below),
        false => Cgroup::at_each(layout, |controller| {
            let own = layout.own_place(controller);
            let base = if layout.is_unified() { own.parent().unwrap_or(&own) } else { &own };
            Ok(base.join(&below))
        }),
    };
    placed.step(|| "cgroup")
}

/// Where a container of this specification will be, and the unit that will hold it. Nothing is made.
pub(crate) fn planned(spec: &Spec, id: &str, driver: CgroupDriver) -> Result<(Cgroup, Option<String>)> {
    let layout = Layout::detect().step(|| "cgroup")?;
    let configured = spec.linux.as_ref().map(|linux| linux.cgroups_path.as_str()).unwrap_or_default();
    match driver {
        CgroupDriver::Cgroupfs => Ok((at(&layout, configured, id)?, None)),
        CgroupDriver::Systemd => {
            let scope = Scope::parse(configured, id)?;
            Ok((systemd::cgroup(&layout, &scope)?, Some(scope.unit)))
        }
    }
}

/// Makes the cgroup with its limits. A cgroup that was there may hold nobody else.
///
/// `rootless` says whether trees that are not ours may be left out; by default, where we are not the machine's root.
pub(crate) fn create(spec: &Spec, id: &str, driver: CgroupDriver, rootless: Option<bool>) -> Result<Placed> {
    const STEP: &str = "unable to apply cgroup configuration";
    let layout = Layout::detect().step(|| STEP)?;
    let configured = spec.linux.as_ref().map(|linux| linux.cgroups_path.as_str()).unwrap_or_default();
    let nothing = Resources::default();
    let limits = spec.linux.as_ref().and_then(|linux| linux.resources.as_ref()).unwrap_or(&nothing);
    if driver == CgroupDriver::Systemd {
        let scope = Scope::parse(configured, id)?;
        let limits = &resources::rounded(limits);
        let placed = create_scope(&layout, &scope, id, limits, &systemd::asked(&spec.annotations)?)?;
        return match delegated_to(spec).filter(|_| layout.is_unified()) {
            Some(owner) => match placed.cgroup.delegate(owner) {
                Ok(()) => Ok(placed),
                Err(error) => {
                    placed.undo();
                    Err(error).step(|| STEP)
                }
            },
            None => Ok(placed),
        };
    }
    let mut cgroup = at(&layout, configured, id).map_err(|error| error.at(STEP))?;
    let made = cgroup.create();
    // Refused, or there already: perhaps it is root's, of a container that has the same name.
    let doubtful = made.as_ref().map_or_else(is_refusal, |found| !found.is_empty());
    if doubtful && configured.is_empty() && is_rootless(rootless) {
        // Nobody asked for a place, and the usual one is not ours: it is beside us, or stays where we are.
        cgroup = beside_us(&layout, id)?.unwrap_or(cgroup);
        let found = cgroup.create_where_allowed().step(|| STEP)?;
        if !found.is_empty() {
            check_unused(&cgroup)?;
        }
        return limit_rootless(&cgroup, limits).map(|()| Placed::new(cgroup));
    }
    let found = match made {
        // Who was given a place in the v1 trees of a hybrid often has none in the other one.
        Err(error) if is_refusal(&error) && is_rootless(rootless) => cgroup.create_without_unified(),
        other => other,
    }
    .map_err(|error| Error::other(format_args!("{STEP}: {error}: {}", plain(&error))))?;
    mark("cgroup made");
    let checked = if found.is_empty() { Ok(()) } else { check_unused(&cgroup) };
    match checked.and_then(|()| limit(&cgroup, limits)) {
        Ok(()) => {
            mark("limits set");
            Ok(Placed::new(cgroup))
        }
        Err(error) => {
            // The first failure is the one to tell.
            let _leftover = cgroup.remove_except(&found);
            Err(error)
        }
    }
}

/// Whose the cgroup is besides ours: that of the container's root, where it has users of its own and a view of its own
/// cgroup that it may write to.
fn delegated_to(spec: &Spec) -> Option<u32> {
    let linux = spec.linux.as_ref()?;
    let is_new = |kind| linux.namespaces.iter().any(|own| own.kind == kind && own.path.is_none());
    let writable = |mount: &oci::runtime::Mount| {
        mount.destination == Path::new("/sys/fs/cgroup")
            && mount.kind.starts_with("cgroup")
            && !mount.options.iter().any(|word| word == "ro" || word == "rro")
    };
    let own_view = is_new(NamespaceKind::Cgroup) && spec.mounts.iter().any(writable);
    let root = linux.uid_mappings.iter().find(|range| range.container_id == 0)?;
    (own_view && is_new(NamespaceKind::User)).then_some(root.host_id)
}

/// Where v2 is delegated to a user, his own cgroup has processes, so that nothing can be limited below it; a sibling of
/// it may be his to make.
fn beside_us(layout: &Layout, id: &str) -> Result<Option<Cgroup>> {
    if !layout.is_unified() {
        return Ok(None);
    }
    let own = linux::cgroup::own_path(None).step(|| "own cgroup")?;
    let Some(parent) = own.parent() else { return Ok(None) };
    Cgroup::at(layout, &parent.join(id)).step(|| "own cgroup").map(Some)
}

fn is_refusal(error: &linux::Error) -> bool {
    [Errno::ACCESS, Errno::PERM, Errno::ROFS].contains(&error.errno())
}

/// Whether cgroups that are not ours are to be expected.
fn is_rootless(told: Option<bool>) -> bool {
    /// The map of a user namespace in which nothing is mapped: the machine's own.
    const WHOLE: [&str; 3] = ["0", "0", "4294967295"];
    told.unwrap_or_else(|| {
        let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
        linux::credentials::user() != 0 || !map.split_whitespace().eq(WHOLE)
    })
}

/// Limits are as good as the trees that were ours to make.
fn limit_rootless(cgroup: &Cgroup, limits: &Resources) -> Result<()> {
    let asked = Resources { devices: Vec::new(), ..limits.clone() };
    if asked == Resources::default() {
        return Ok(());
    }
    let applied = if cgroup.is_nowhere() {
        Err(Error::other("container could not join or create cgroup"))
    } else {
        resources::apply(cgroup, &asked)
    };
    applied.map_err(|error| {
        let _leftover = cgroup.remove();
        Error::other(format_args!(
            "rootless needs no limits + no cgrouppath when no permission is granted for cgroups: {error}"
        ))
    })
}

fn create_scope(
    layout: &Layout,
    scope: &Scope,
    id: &str,
    limits: &Resources,
    asked: &[Property],
) -> Result<Placed> {
    let cgroup = systemd::cgroup(layout, scope)?;
    if cgroup.exists() {
        check_unused(&cgroup)?;
    }
    let start = || systemd::start(scope, id, layout, limits, asked);
    let anchor = match start() {
        // What is left of one whose keeper was killed. With a process in it, it is somebody's.
        Err(error) if error.kind() == Kind::WrongState && is_deserted(&cgroup) => {
            systemd::stop(&scope.unit)?;
            start()
        }
        other => other,
    }?;
    let unit = Some(scope.unit.clone());
    let placed = Placed { unit, anchor: Some(anchor), ..Placed::new(cgroup) };
    match fill(&placed.cgroup, scope).and_then(|()| limit(&placed.cgroup, limits)) {
        Ok(()) => Ok(placed),
        Err(error) => {
            placed.undo();
            Err(error)
        }
    }
}

/// Makes the scope's directories in the v1 trees that systemd does not know, and has all controllers of v2.
fn fill(cgroup: &Cgroup, scope: &Scope) -> Result<()> {
    if !systemd::has_made(cgroup) {
        let places = cgroup.paths();
        return Err(Error::other(format_args!(
            "systemd has started {:?} elsewhere than in any of {places:?}",
            scope.unit
        )));
    }
    // On v2 it is there, but systemd hands down no more controllers than it knows.
    cgroup.create().map(drop).step(|| "unable to apply cgroup configuration")
}

fn is_deserted(cgroup: &Cgroup) -> bool {
    !cgroup.exists() || cgroup.pids().is_ok_and(|pids| pids.is_empty())
}

fn check_unused(cgroup: &Cgroup) -> Result<()> {
    let pids = cgroup.pids().step(|| "unable to apply cgroup configuration")?;
    if !pids.is_empty() {
        let message = format_args!("container's cgroup is not empty: {} process(es) found", pids.len());
        return Err(Error::new(Kind::WrongState, message));
    }
    if cgroup.is_frozen().unwrap_or(false) {
        return Err(Error::new(Kind::WrongState, "container's cgroup unexpectedly frozen"));
    }
    Ok(())
}

/// Device rules are set where the configuration has none too: what nobody allowed is not allowed.
fn limit(cgroup: &Cgroup, limits: &Resources) -> Result<()> {
    resources::apply(cgroup, limits)?;
    let rules = resources::device_rules(limits)?;
    match cgroup.set_devices(&rules) {
        // Where no device node can be made, none has to be kept from anybody.
        Err(error) if is_refusal(&error) && is_rootless(None) => Ok(()),
        other => other.step(|| "unable to apply device rules"),
    }
}
