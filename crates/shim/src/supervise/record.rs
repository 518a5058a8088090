//! Keeps `state.json` true, for the case that this process is killed.

use super::Supervisor;
use super::lifecycle::Stage;
use crate::state::{self, Named, State};

impl Supervisor {
    /// A failure is not worth ending a container for: without the file, a killed shim's cgroup is found by its
    /// name only.
    pub(super) fn save_state(&self) {
        let init = match &self.stage {
            Stage::Running(running) => Named::of(running.pid).ok(),
            Stage::Restarting { .. } | Stage::Exited { .. } => None,
        };
        let Ok(shim) = Named::of(linux::process::id()) else { return };
        let cgroup = self.container.as_ref().map(|container| container.cgroup().paths()).unwrap_or_default();
        let own_names = self.holdings.own_names().to_vec();
        let _ = state::save(
            &self.launch.runtime_dir,
            &State { shim, init, cgroup, phase: self.phase(), own_names },
        );
    }
}
