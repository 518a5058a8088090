//! Where in the cgroup trees a container is.

use std::path::{Path, PathBuf};

use linux::cgroup::{Cgroup, Layout};
use oci::runtime::{Resources, Spec};

use crate::systemd::{self, Anchor, Scope};
use crate::{Error, Result, error::Step, resources};

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
}

impl Placed {
    /// Nothing of a failed start is left.
    pub(crate) fn undo(mut self) {
        self.anchor = None;
        // The failure that led here is the one to tell.
        let _empty_already = self.cgroup.kill();
        let _leftover = self.cgroup.remove();
        if let Some(unit) = &self.unit {
            let _gone_already = systemd::stop(unit);
        }
    }
}

/// The path below every mount point. Without one in the configuration, the container's id.
fn path(configured: &str, id: &str) -> PathBuf {
    if configured.is_empty() { Path::new("/").join(id) } else { Path::new("/").join(configured) }
}

/// Makes the cgroup with its limits. A cgroup that was there may hold nobody else.
pub(crate) fn create(spec: &Spec, id: &str, driver: CgroupDriver) -> Result<Placed> {
    const STEP: &str = "unable to apply cgroup configuration";
    let layout = Layout::detect().step(|| STEP)?;
    let configured = spec.linux.as_ref().map(|linux| linux.cgroups_path.as_str()).unwrap_or_default();
    let nothing = Resources::default();
    let limits = spec.linux.as_ref().and_then(|linux| linux.resources.as_ref()).unwrap_or(&nothing);
    if driver == CgroupDriver::Systemd {
        return create_scope(&layout, &Scope::parse(configured, id)?, id, limits);
    }
    let cgroup = Cgroup::at(&layout, &path(configured, id)).step(|| STEP)?;
    let existed = cgroup.create().step(|| STEP)?;
    let set = if existed { check_unused(&cgroup) } else { Ok(()) }.and_then(|()| limit(&cgroup, limits));
    match set {
        Ok(()) => Ok(Placed { cgroup, unit: None, anchor: None }),
        Err(error) if existed => Err(error),
        Err(error) => {
            // The first failure is the one to tell.
            let _leftover = cgroup.remove();
            Err(error)
        }
    }
}

fn create_scope(layout: &Layout, scope: &Scope, id: &str, limits: &Resources) -> Result<Placed> {
    if !layout.is_unified() {
        return Err(Error::invalid(
            "the systemd cgroup driver needs cgroup v2 alone: use cgroupfs on this machine",
        ));
    }
    let anchor = systemd::start(scope, &format!("container {id}"), limits)?;
    let cgroup = Cgroup::at(layout, &scope.path()).step(|| "scope")?;
    let placed = Placed { cgroup, unit: Some(scope.unit.clone()), anchor: Some(anchor) };
    let checked = if placed.cgroup.exists() {
        limit(&placed.cgroup, limits)
    } else {
        Err(Error::other(format_args!(
            "systemd has started {:?} elsewhere than {:?}",
            scope.unit,
            scope.path()
        )))
    };
    match checked {
        Ok(()) => Ok(placed),
        Err(error) => {
            placed.undo();
            Err(error)
        }
    }
}

fn check_unused(cgroup: &Cgroup) -> Result<()> {
    let pids = cgroup.pids().step(|| "unable to apply cgroup configuration")?;
    if !pids.is_empty() {
        let message = format_args!("container's cgroup is not empty: {} process(es) found", pids.len());
        return Err(Error::other(message));
    }
    if cgroup.is_frozen().unwrap_or(false) {
        return Err(Error::other("container's cgroup unexpectedly frozen"));
    }
    Ok(())
}

fn limit(cgroup: &Cgroup, limits: &Resources) -> Result<()> {
    resources::apply(cgroup, limits)?;
    if limits.devices.is_empty() {
        return Ok(());
    }
    let rules = resources::device_rules(limits)?;
    cgroup.set_devices(&rules).step(|| "unable to apply device rules")
}
