//! Where in the cgroup trees a container is.

use std::path::{Path, PathBuf};

use linux::cgroup::{Cgroup, Layout};
use oci::runtime::Spec;

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

/// The path below every mount point. Without one in the configuration, the container's id.
pub(crate) fn path(spec: &Spec, id: &str) -> PathBuf {
    match spec.linux.as_ref().map(|linux| linux.cgroups_path.as_str()) {
        None | Some("") => Path::new("/").join(id),
        Some(path) => Path::new("/").join(path),
    }
}

/// Makes the cgroup with its limits. A cgroup that was there may hold nobody else.
pub(crate) fn create(spec: &Spec, id: &str, driver: CgroupDriver) -> Result<Cgroup> {
    if driver == CgroupDriver::Systemd {
        return Err(Error::invalid(
            "the systemd cgroup driver is not supported by this runtime yet: use cgroupfs",
        ));
    }
    let layout = Layout::detect().step(|| "unable to apply cgroup configuration")?;
    let cgroup = Cgroup::at(&layout, &path(spec, id)).step(|| "unable to apply cgroup configuration")?;
    let existed = cgroup.create().step(|| "unable to apply cgroup configuration")?;
    let set = if existed { check_unused(&cgroup) } else { Ok(()) }.and_then(|()| limit(&cgroup, spec));
    match set {
        Ok(()) => Ok(cgroup),
        Err(error) if existed => Err(error),
        Err(error) => {
            // The first failure is the one to tell.
            let _leftover = cgroup.remove();
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

fn limit(cgroup: &Cgroup, spec: &Spec) -> Result<()> {
    let nothing = oci::runtime::Resources::default();
    let set = spec.linux.as_ref().and_then(|linux| linux.resources.as_ref()).unwrap_or(&nothing);
    resources::apply(cgroup, set)?;
    if set.devices.is_empty() {
        return Ok(());
    }
    let rules = resources::device_rules(set)?;
    cgroup.set_devices(&rules).step(|| "unable to apply device rules")
}
