//! One run of a container: everything that it takes of the network, and giving it back.
//!
//! ```text
//!   places (addresses) ─▶ namespace ─▶ ports ─▶ interfaces ─▶ translation ─▶ names ─▶ the run's file
//! ```
//!
//! Whatever fails on the way, what was taken before is given back by the same code that ends a run.

use std::net::IpAddr;
use std::os::fd::AsFd;

use network::{Endpoint as HostEndpoint, names};

use super::naming::{Surroundings, host_resolution};
use super::record::{Driver, Network};
use super::run::{Endpoint, Run, parse_mac};
use super::{Joined, Networks, naming, ports};
use crate::container::{Record, Users};
use crate::effects::Inside;
use crate::error::{Error, Result};
use crate::identity;
use crate::spec::other;

impl Networks {
    /// Namespace, endpoints, addresses, ports and names for one run, of processes in this user namespace.
    pub(crate) fn join(&self, record: &mut Record, users: Option<&Users>) -> Result<Joined> {
        if other(&record.host.network_mode).is_some() {
            return Ok(Joined::default());
        }
        let mut run = Run { sandbox: identity::random(), ..Run::default() };
        match self.take(record, users, &mut run) {
            Ok(joined) => {
                run.show(record);
                self.state().runs.insert(record.id.to_string(), run);
                Ok(joined)
            }
            Err(error) => {
                if let Err(undone) = self.give_back(record.id.as_str(), &run) {
                    tracing::warn!(container = %record.id, error = %undone, "cannot undo a network set-up");
                }
                Err(error)
            }
        }
    }

    /// Gives back what [`Networks::join`] took. Never fails half-way: it reports everything that it could not undo.
    pub(crate) fn leave(&self, record: &mut Record) -> Result<()> {
        super::run::hide(record);
        let id = record.id.as_str();
        let run = self.state().runs.get(id).cloned().or_else(|| Run::load(&self.paths.network_run(id)));
        let Some(run) = run else { return Ok(()) };
        let given_back = self.give_back(id, &run);
        // Not before: who wants one of its ports sees by this whom to wait for.
        self.state().runs.remove(id);
        given_back
    }

    fn take(&self, record: &Record, users: Option<&Users>, run: &mut Run) -> Result<Joined> {
        let mut joined = Joined::default();
        for (number, name) in in_order(record).into_iter().enumerate() {
            run.endpoints.push(self.place(record, name, number)?);
        }
        if record.host.network_mode != "host" {
            let namespace = self.host.namespace(users.map(AsFd::as_fd))?;
            joined.ports = self.take_ports(record, run)?;
            for index in 0..run.endpoints.len() {
                self.attach(namespace.as_ref(), run, index)?;
            }
            self.host.publish(&run.published())?;
            joined.namespace = Some(namespace.into_fd());
        }
        self.announce(record, run)?;
        self.tell(record, run, &mut joined)?;
        joined.names = joined.names.filter(|_| naming::has_resolver(run));
        run.save(&self.paths.network_run(record.id.as_str()))?;
        Ok(joined)
    }

    /// A place on the network called `name`, its addresses taken.
    pub(super) fn place(&self, record: &Record, name: &str, number: usize) -> Result<Endpoint> {
        let mut state = self.state();
        let id = state.table.find(name)?.network.id.clone();
        let entry = state.table.networks.get_mut(&id).expect("it was found under the same lock");
        let mut endpoint = entry.join(record, number)?;
        if entry.network.is_user_defined() && endpoint.interface.is_some() {
            endpoint.entry = Some(self.paths.network_names(&id).join(&endpoint.id));
        }
        Ok(endpoint)
    }

    /// The endpoint's interface, with the default routes that go by it.
    pub(super) fn attach(&self, namespace: &dyn Inside, run: &mut Run, index: usize) -> Result<()> {
        let gateways = run.gateways_of(&run.endpoints[index].id);
        let endpoint = &mut run.endpoints[index];
        let Some(interface) = &mut endpoint.interface else { return Ok(()) };
        let network = self.network(&endpoint.network)?;
        let wanted = HostEndpoint {
            bridge: network.bridge_name(),
            interface: interface.name.clone(),
            mac: parse_mac(&interface.mac)?,
            addresses: interface.addresses.iter().chain(&interface.link_local).copied().collect(),
            gateways,
            sysctls: interface.sysctls.clone(),
            mtu: network.mtu(),
            isolated: !network.icc(),
        };
        interface.attached = Some(self.host.attach(namespace, &wanted)?);
        Ok(())
    }

    pub(super) fn network(&self, id: &str) -> Result<Network> {
        let state = self.state();
        let entry = state.table.networks.get(id);
        entry
            .map(|entry| entry.network.clone())
            .ok_or_else(|| Error::not_found(format!("network {id} not found")))
    }

    /// Lets the neighbours find the container by name.
    pub(super) fn announce(&self, record: &Record, run: &Run) -> Result<()> {
        for endpoint in &run.endpoints {
            let (Some(path), Some(interface)) = (&endpoint.entry, &endpoint.interface) else { continue };
            let entry = names::Entry {
                network: endpoint.network_name.clone(),
                name: record.name.clone(),
                names: endpoint.names.clone(),
                addresses: interface.addresses.iter().map(|net| net.addr()).collect(),
            };
            entry.write(path).map_err(|error| Error::failed("cannot publish a container's names", error))?;
        }
        Ok(())
    }

    /// What the container is told of names.
    pub(super) fn tell(&self, record: &Record, run: &Run, joined: &mut Joined) -> Result<()> {
        let host = host_resolution();
        let around = Surroundings {
            settings: &self.container,
            host: &host,
            gateways: self.default_gateways(),
            links: self.linked(record, run)?,
        };
        let naming = naming::naming(record, run, &around)?;
        joined.names = Some(naming::names(record, run, &around)?);
        joined.hosts = naming.hosts;
        joined.nameservers = naming.nameservers;
        joined.search = naming.search;
        joined.options = naming.options;
        Ok(())
    }

    /// The default bridge's own addresses.
    fn default_gateways(&self) -> Vec<IpAddr> {
        let state = self.state();
        let bridge = state.table.find("bridge").ok();
        bridge
            .map(|entry| entry.network.subnets.iter().map(|subnet| subnet.gateway).collect())
            .unwrap_or_default()
    }

    /// On the default bridge there is no resolver: linked containers stand in `/etc/hosts`. Who has no network reaches none.
    fn linked(&self, record: &Record, run: &Run) -> Result<Vec<(IpAddr, Vec<String>)>> {
        if naming::has_resolver(run) || record.host.network_mode == "none" {
            return Ok(Vec::new());
        }
        let state = self.state();
        let mut lines = Vec::new();
        for link in record.host.links.iter().flatten() {
            let (name, alias) = naming::parse_link(link);
            let (id, member) = state.table.member(crate::spec::target_of(record, name)).ok_or_else(|| {
                Error::invalid(format!(
                    "Cannot link to a non running container: /{name} AS /{}/{alias}",
                    record.name
                ))
            })?;
            let mut names = vec![alias.to_owned(), id.get(..12).unwrap_or(id).to_owned()];
            if alias != member.name {
                names.push(member.name.clone());
            }
            let addresses = member.endpoint.interface.iter().flat_map(|interface| &interface.addresses);
            lines.extend(addresses.map(|net| (net.addr(), names.clone())));
        }
        Ok(lines)
    }

    /// Undoes everything that a run says was done; goes on past failures and reports them together.
    pub(super) fn give_back(&self, container: &str, run: &Run) -> Result<()> {
        let mut failures = Vec::new();
        let mut note = |outcome: Result<()>| failures.extend(outcome.err().map(|error| error.to_string()));
        note(self.host.unpublish(&run.published()).map_err(Error::from));
        for endpoint in &run.endpoints {
            note(self.leave_network(container, endpoint, false));
        }
        if !run.ports.is_empty() {
            // Before an address is given to somebody else: what comes for this container must not reach the next.
            let addresses: Vec<IpAddr> =
                [run.target(false), run.target(true)].into_iter().flatten().collect();
            note(self.host.forget_connections(&addresses).map_err(Error::from));
        }
        self.release_ports(run);
        let mut state = self.state();
        for endpoint in &run.endpoints {
            if let Some(entry) = state.table.networks.get_mut(&endpoint.network) {
                entry.leave(container);
            }
        }
        drop(state);
        if failures.is_empty() { Ok(()) } else { Err(Error::system(failures.join("; "))) }
    }

    /// Takes a container's interface and names off a network. `runs`: the container goes on, so the interface is deleted
    /// and not only silenced.
    pub(super) fn leave_network(&self, container: &str, endpoint: &Endpoint, runs: bool) -> Result<()> {
        if let Some(path) = &endpoint.entry {
            names::withdraw(path)
                .map_err(|error| Error::failed("cannot withdraw a container's names", error))?;
        }
        match endpoint.interface.as_ref().and_then(|interface| interface.attached.as_ref()) {
            Some(attached) if runs => self.host.disconnect(attached)?,
            Some(attached) => self.host.detach(attached)?,
            None => tracing::trace!(container, network = endpoint.network_name, "no interface to take back"),
        }
        Ok(())
    }
}

/// The networks of a container: that of its network mode first, the others by name.
fn in_order(record: &Record) -> Vec<&str> {
    let mode = record.host.network_mode.as_str();
    let main = record.network.endpoints.keys().filter(|name| *name == mode);
    let others = record.network.endpoints.keys().filter(|name| *name != mode);
    main.chain(others).map(String::as_str).collect()
}

impl Networks {
    /// Whether a container may be made like this: what is known now of the networks that it names. Names of networks
    /// replace ids.
    pub(crate) fn check(&self, record: &mut Record) -> Result<()> {
        let state = self.state();
        let wished = std::mem::take(&mut record.network.endpoints);
        for (name, wish) in wished {
            // A network that is made later is found at start.
            let found = state.table.find(&name).ok();
            if let Some(entry) = found {
                super::connect::check_wish(&entry.network, &wish)
                    .map_err(|error| error.within(format!("invalid config for network {name}")))?;
            }
            let canonical = found.map_or(name.clone(), |entry| entry.network.name.clone());
            if record.host.network_mode == name && other(&name).is_none() {
                record.host.network_mode.clone_from(&canonical);
            }
            record.network.endpoints.insert(canonical, wish);
        }
        drop(state);
        // What is exposed is the image's word, and a matter of the start.
        let defaults = ports::Defaults { address: None, everywhere: Vec::new() };
        ports::requests(&record.host, std::iter::empty(), &defaults).map(drop)
    }

    /// A container that runs has a new name.
    pub(crate) fn renamed(&self, record: &mut Record) -> Result<()> {
        let id = record.id.to_string();
        let mut state = self.state();
        let Some(mut run) = state.runs.get(&id).cloned() else { return Ok(()) };
        for endpoint in &mut run.endpoints {
            if endpoint.entry.is_some() {
                let wish = record.network.endpoints.get(&endpoint.network_name);
                let aliases = wish.and_then(|wish| wish.aliases.clone()).unwrap_or_default();
                endpoint.names = super::table::names(record, &aliases);
            }
            if let Some(entry) = state.table.networks.get_mut(&endpoint.network) {
                entry.adopt(record, endpoint);
            }
        }
        state.runs.insert(id.clone(), run.clone());
        drop(state);
        run.show(record);
        self.announce(record, &run)?;
        run.save(&self.paths.network_run(&id))
    }

    /// Whether the network of this kind is that of the host or of nobody.
    pub(super) fn is_plain(driver: Driver) -> bool {
        matches!(driver, Driver::Host | Driver::Null)
    }
}
