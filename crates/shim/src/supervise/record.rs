//! Keeps `state.json` true, for the case that this process is killed.

use super::Supervisor;
use crate::state::{self, Named, State};

impl Supervisor {
    pub(super) fn save_state(&self) {
        self.save_state_of(self.container.as_ref().map(|container| container.record()));
    }

    /// With the record of a container that is being made. A failure is not worth ending a container for: without
    /// the file, what a killed shim leaves is found by its name only.
    pub(super) fn save_state_of(&self, container: Option<runtime::Record>) {
        let Ok(shim) = Named::of(linux::process::id()) else { return };
        let own_names = self.holdings.own_names().to_vec();
        let _ =
            state::save(&self.launch.runtime_dir, &State { shim, container, phase: self.phase(), own_names });
    }
}
