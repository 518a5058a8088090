//! Cgroups that nobody will remove any more.
//!
//! A shim removes its container's cgroup, and an engine that finds a dead shim does it from the shim's state. That
//! state is gone when the runtime root is (a reboot with cgroups kept, an emptied `/run`), and not there yet when a
//! shim is killed in the middle of a start. The path follows from the container's id, so what is left is found by it.
//!
//! *Limits*: below a parent that the user has chosen others may live, so only cgroups of ids that the engine knows are
//! touched there. Scopes of systemd end with their last process and are left to it.

use std::collections::HashSet;
use std::path::Path;

use linux::cgroup::{Cgroup, Layout};
use shim::protocol::CgroupDriver;

use super::record::Record;
use crate::error::{Error, Result};
use crate::identity::ContainerId;
use crate::{Engine, spec};

/// Kills what is in a container's cgroup and removes it, if it is there. For one that has no shim.
pub(super) fn remove(engine: &Engine, record: &Record) {
    let config = engine.config();
    if config.cgroup.driver == CgroupDriver::Systemd {
        return;
    }
    let removed = Layout::detect()
        .map_err(|error| Error::failed("cannot look for cgroups", error))
        .and_then(|layout| clear(&layout, Path::new(&spec::cgroup_path(&config, record))));
    if let Err(error) = removed {
        tracing::warn!(container = %record.id, %error, "cannot remove a cgroup that a container left");
    }
}

/// Removes the cgroups below the engine's own parent whose containers have no runtime directory: a shim without one is
/// out of everybody's reach, and a start makes it first.
pub(super) fn sweep(engine: &Engine) -> Result<()> {
    let config = engine.config();
    let Some(parent) = spec::own_cgroup_parent(&config) else { return Ok(()) };
    let failed = |error| Error::failed("cannot look for cgroups", error);
    let layout = Layout::detect().map_err(failed)?;
    let parent = Path::new("/").join(parent);
    let cgroup = Cgroup::at(&layout, &parent).map_err(failed)?;
    let mut left = HashSet::new();
    for (_, directory) in cgroup.paths() {
        // A controller in which nothing was ever made has no such directory.
        let Ok(entries) = std::fs::read_dir(directory) else { continue };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        left.extend(names.filter(|name| name.parse::<ContainerId>().is_ok()));
    }
    for id in left {
        if engine.paths().runtime(&id).exists() {
            continue;
        }
        tracing::info!(container = id, "removing a cgroup that no shim has");
        if let Err(error) = clear(&layout, &parent.join(&id)) {
            tracing::warn!(container = id, %error, "cannot remove a cgroup that no shim has");
        }
    }
    Ok(())
}

/// Removes the engine's own parent if nothing lives below it any more. The next container makes it anew. Gives whether it
/// is gone.
pub(crate) fn remove_parent(engine: &Engine) -> bool {
    let Some(parent) = spec::own_cgroup_parent(&engine.config()) else { return true };
    let Ok(layout) = Layout::detect() else { return true };
    let Ok(cgroup) = Cgroup::at(&layout, &Path::new("/").join(parent)) else { return true };
    for (_, directory) in cgroup.paths() {
        // Not a tree: what has a container below it is refused by the kernel, and stays.
        let _ = std::fs::remove_dir(directory);
    }
    !cgroup.exists()
}

fn clear(layout: &Layout, path: &Path) -> Result<()> {
    let failed = |error| Error::failed(format!("cannot remove the cgroup {}", path.display()), error);
    let cgroup = Cgroup::at(layout, path).map_err(failed)?;
    if !cgroup.exists() {
        return Ok(());
    }
    // It may be there in some trees only; what counts is that it goes.
    let killed = cgroup.kill();
    cgroup.remove().map_err(|error| failed(killed.err().unwrap_or(error)))
}
