//! Cgroups that nobody will remove any more.
//!
//! A shim removes its container's cgroup, and an engine that finds a dead shim does it from the shim's state. That
//! state is gone when the runtime root is (a reboot with cgroups kept, an emptied `/run`), and not there yet when a
//! shim is killed in the middle of a start. The path follows from the container's id, so what is left is found by it.
//!
//! *Limits*: below a parent that the user has chosen others may live, so only cgroups of ids that the engine knows are
//! touched there. A scope of systemd ends with its last process, which is all that is done about those of no record.

use std::path::{Path, PathBuf};

use shim::protocol::CgroupDriver;

use super::record::Record;
use crate::error::{Error, Result};
use crate::identity::ContainerId;
use crate::{Engine, spec};

/// Kills what is in a container's cgroup and removes it, if it is there. For one that has no shim.
pub(super) fn remove(engine: &Engine, record: &Record) {
    let config = engine.config();
    let path = spec::cgroup_path(&config, record);
    let path = match config.cgroup.driver {
        CgroupDriver::Systemd => scope_path(&path),
        CgroupDriver::Cgroupfs => PathBuf::from(path),
    };
    if let Err(error) = engine.effects().clear_cgroup(&path) {
        tracing::warn!(container = %record.id, %error, "cannot remove a cgroup that a container left");
    }
}

/// Removes the cgroups below the engine's own parent whose containers have no runtime directory: a shim without one is
/// out of everybody's reach, and a start makes it first.
pub(super) fn sweep(engine: &Engine) -> Result<()> {
    let config = engine.config();
    let Some(parent) = spec::own_cgroup_parent(&config) else { return Ok(()) };
    let parent = Path::new("/").join(parent);
    let below = engine.effects().cgroups_below(&parent);
    for id in below.map_err(|error| Error::failed("cannot look for cgroups", error))? {
        if id.parse::<ContainerId>().is_err() || engine.paths().runtime(&id).exists() {
            continue;
        }
        tracing::info!(container = id, "removing a cgroup that no shim has");
        if let Err(error) = engine.effects().clear_cgroup(&parent.join(&id)) {
            tracing::warn!(container = id, %error, "cannot remove a cgroup that no shim has");
        }
    }
    Ok(())
}

/// Removes the engine's own parent if nothing lives below it any more. The next container makes it anew. Gives whether it
/// is gone.
pub(crate) fn remove_parent(engine: &Engine) -> bool {
    let Some(parent) = spec::own_cgroup_parent(&engine.config()) else { return true };
    engine.effects().remove_cgroup_parent(&Path::new("/").join(parent))
}

/// Where systemd has `slice:prefix:name`: a slice `a-b.slice` lies in `a.slice`, and `-.slice` is the root.
fn scope_path(name: &str) -> PathBuf {
    let mut parts = name.splitn(3, ':');
    let [slice, prefix, id] = [(); 3].map(|()| parts.next().unwrap_or_default());
    let mut path = PathBuf::from("/");
    let stem = slice.trim_end_matches(".slice");
    if stem != "-" {
        path.extend(stem.match_indices('-').map(|(at, _)| format!("{}.slice", &stem[..at])));
        path.push(slice);
    }
    path.join(format!("{prefix}-{id}.scope"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_lie_in_slices_in_slices() {
        let path = |name: &str| scope_path(name).display().to_string();
        assert_eq!(path("system.slice:docker:0c85"), "/system.slice/docker-0c85.scope");
        assert_eq!(path("a-b.slice:docker:0c85"), "/a.slice/a-b.slice/docker-0c85.scope");
        assert_eq!(path("-.slice:docker:0c85"), "/docker-0c85.scope");
    }
}
