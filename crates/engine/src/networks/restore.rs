//! An engine that comes back: what stands is taken over, what is missing is made, what nobody owns goes.
//!
//! ```text
//!   runs of running containers ─▶ addresses, members, ports
//!   records + runs             ─▶ the firewall, in one transaction ─▶ bridges ─▶ strays
//! ```

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use super::record::Network;
use super::run::Run;
use super::{Networks, State};
use crate::container::Record;
use crate::error::Result;

impl Networks {
    /// What a running container's record should say of its network, when an earlier engine has started it.
    pub(crate) fn recall(&self, record: &mut Record) {
        if let Some(run) = Run::load(&self.paths.network_run(record.id.as_str())) {
            // That engine may have been killed while it took the container off a network.
            record.network.endpoints.retain(|name, _| run.is_on(name));
            run.show(record);
        }
    }

    /// After the containers are known: `running` keep their addresses and ports, everything else is free; the
    /// firewall table is rebuilt in one transaction, and what nobody owns any more is removed from the host.
    pub(crate) fn restore(&self, running: &[Arc<Record>]) -> Result<()> {
        let mut state = self.state();
        for record in running {
            if let Some(run) = Run::load(&self.paths.network_run(record.id.as_str())) {
                self.adopt(&mut state, record, run);
            }
        }
        let published: Vec<_> = state.runs.values().flat_map(Run::published).collect();
        let attached: Vec<_> = state.runs.values().flat_map(|run| run.attached().cloned()).collect();
        let entries: HashSet<PathBuf> = state
            .runs
            .values()
            .flat_map(|run| run.endpoints.iter().filter_map(|endpoint| endpoint.entry.clone()))
            .collect();
        let networks: Vec<Network> = state
            .table
            .networks
            .values()
            .map(|entry| entry.network.clone())
            .filter(|network| !Self::is_plain(network.driver))
            .collect();
        drop(state);
        let bridges: Vec<_> =
            networks.iter().map(|network| network.bridge(self.network.firewall_v6)).collect();
        Networks::warn(self.host.rebuild(&bridges, &published)?);
        for network in &networks {
            self.ensure_bridge(network)?;
        }
        self.host.remove_strays(&attached)?;
        self.sweep_names(&entries);
        Ok(())
    }

    /// Containers whose way out was being changed; see [`Networks::settle_again`].
    pub(crate) fn unsettled(&self) -> Vec<String> {
        let state = self.state();
        state.runs.iter().filter(|(_, run)| run.unsettled).map(|(id, _)| id.clone()).collect()
    }

    fn adopt(&self, state: &mut State, record: &Record, run: Run) {
        for endpoint in &run.endpoints {
            if let Some(entry) = state.table.networks.get_mut(&endpoint.network) {
                entry.adopt(record, endpoint);
            }
        }
        for port in run.ports.iter().filter(|port| port.is_held()) {
            self.host.adopt(port.transport(), port.host);
        }
        state.runs.insert(record.id.to_string(), run);
    }

    /// Names of containers that do not run any more. Failing to remove one leaves a wrong answer, and is said.
    fn sweep_names(&self, used: &HashSet<PathBuf>) {
        let listing = |path: PathBuf| std::fs::read_dir(path).into_iter().flatten().flatten();
        for directory in listing(self.paths.names()) {
            for entry in listing(directory.path()) {
                if used.contains(&entry.path()) {
                    continue;
                }
                if let Err(error) = network::names::withdraw(&entry.path()) {
                    tracing::warn!(%error, "cannot withdraw the names of a container that is gone");
                }
            }
        }
    }
}
