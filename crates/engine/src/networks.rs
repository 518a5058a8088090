//! Networks: what exists, who is on them, and what a container needs of them for one run.
//!
//! ```text
//!   create, remove, list      records (what was asked for) ── table (addresses, members) ── network::Host (the kernel)
//!   join ─▶ run ─▶ leave      one run of a container: endpoints, ports, names; remembered in its runtime directory
//!   restore                   records + runs ─▶ table, bridges, the firewall in one transaction
//! ```
//!
//! The seam to the rest of the engine is [`Networks::join`] and [`Networks::leave`]: a container's owner calls the
//! first before its shim is launched and the second after the final exit. Both block and are called off the async
//! threads. Decisions (which address, which port, which names) are made under one short lock or purely; what the
//! kernel is told is told outside of it.

mod change;
mod connect;
mod create;
mod join;
mod naming;
mod ports;
mod publish;
mod query;
mod record;
mod restore;
mod run;
mod table;

use std::collections::HashMap;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use network::address::Pool;
use network::{HostNames, Options};
use shim::protocol::Names;

use crate::effects::{Effects, HostNetwork};
use crate::error::{Error, Result};
use crate::{Config, Paths, Records};
pub(crate) use naming::parse_link;
use publish::Bound;
use record::Network;
use run::Run;
pub(crate) use run::{hide, wished_mac};
use table::Table;

/// The engine's networks.
pub(crate) struct Networks {
    host: Box<dyn HostNetwork>,
    records: Records,
    paths: Paths,
    network: crate::NetworkConfig,
    container: crate::ContainerDefaults,
    pools: Vec<Pool>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    table: Table,
    /// By container id.
    runs: HashMap<String, Run>,
}

/// What one run of a container got. Addresses and ports are written into the record's `network`.
#[derive(Default)]
pub(crate) struct Joined {
    /// The namespace to run in; none for `host` and `container:` modes, which the specification names by path.
    pub(crate) namespace: Option<OwnedFd>,
    /// Bound sockets that keep others off the published ports, some of them to be relayed.
    pub(crate) ports: Vec<Bound>,
    /// The resolver at 127.0.0.11, on user-defined networks.
    pub(crate) names: Option<Names>,
    /// Lines of `/etc/hosts` beside localhost's: this container's own addresses, links, extra hosts.
    pub(crate) hosts: Vec<(IpAddr, Vec<String>)>,
    /// `nameserver` lines of `/etc/resolv.conf`; 127.0.0.11 where there is a resolver.
    pub(crate) nameservers: Vec<IpAddr>,
    pub(crate) search: Vec<String>,
    pub(crate) options: Vec<String>,
}

impl Networks {
    /// Reads the records and makes sure of the predefined networks. The host is not touched before
    /// [`Networks::restore`].
    pub(crate) fn open(
        config: &Config,
        paths: &Paths,
        records: &Records,
        effects: &dyn Effects,
    ) -> Result<Networks> {
        let settings = &config.network;
        let options = Options {
            firewall: settings.firewall,
            ip_forward: settings.forward,
            drop_other_forwarding: settings.drop_other_forwarding,
            closed: settings.listeners.clone(),
        };
        let names = HostNames::for_runtime_root(paths.exec_root());
        let host = effects
            .network(names, options)
            .map_err(|error| Error::failed("cannot use the host's network", error))?;
        let networks = Networks {
            host,
            records: records.clone(),
            paths: paths.clone(),
            network: settings.clone(),
            container: config.container.clone(),
            pools: pools(config, paths),
            state: Mutex::default(),
        };
        networks.load()?;
        Ok(networks)
    }

    fn load(&self) -> Result<()> {
        self.records.migrate::<Network>()?;
        let recorded = self.records.read(|reader| reader.list::<Network>())?;
        let mut state = self.state();
        for (_, network) in recorded {
            state.table.insert(network);
        }
        drop(state);
        self.ensure_predefined()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change of the state is complete before anything that can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the log what the host's firewalls do to us.
    fn warn(warnings: Vec<String>) {
        for warning in warnings {
            tracing::warn!("{warning}");
        }
    }
}

/// The configured pools, or Docker's; and always one for IPv6, of this engine's own.
fn pools(config: &Config, paths: &Paths) -> Vec<Pool> {
    let mut pools: Vec<Pool> =
        config.network.pools.iter().map(|pool| Pool { base: pool.base, size: pool.size }).collect();
    let has = |pools: &[Pool], v6| pools.iter().any(|pool| pool.base.addr().is_ipv6() == v6);
    if !has(&pools, false) {
        pools.extend(network::address::default_pools());
    }
    if !has(&pools, true) {
        let identity = std::fs::read_to_string(paths.engine_id()).unwrap_or_default();
        pools.push(network::address::local_pool(&format!(
            "{}{}",
            identity.trim(),
            paths.data_root().display()
        )));
    }
    pools
}

impl From<network::Error> for Error {
    fn from(error: network::Error) -> Error {
        let message = error.to_string();
        match error {
            network::Error::Kernel { source, .. } => Error::failed(message, source),
            _ => Error::system(message),
        }
    }
}
