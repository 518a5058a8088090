//! Networks come and go: records, bridges, and the three that are always there.

use std::collections::BTreeMap;

use api::network::{CreateRequest, CreateResponse, Ipam, IpamPool};
use ipnet::IpNet;

use super::create::{self, Taken};
use super::record::{Driver, NAMES, Network, Subnet, option};
use super::{Networks, State};
use crate::error::{Error, Result};
use crate::{clock, identity};

impl Networks {
    pub(crate) fn create(&self, request: CreateRequest) -> Result<(Network, CreateResponse)> {
        let routes = self.host.routes()?;
        let mut state = self.state();
        let taken = Taken { networks: state.table.subnets(), routes };
        if state.table.networks.values().any(|entry| entry.network.name == request.name)
            && !request.name.is_empty()
        {
            // Predefined ones are refused with other words.
            let name = &request.name;
            if !["bridge", "host", "none"].contains(&name.as_str()) {
                return Err(Error::conflict(format!("network with name {name} already exists")));
            }
        }
        if request.config_only {
            let network = create::configuration(request)?;
            self.record(&network)?;
            state.table.insert(network.clone());
            let response = CreateResponse { id: network.id.clone(), warning: String::new() };
            return Ok((network, response));
        }
        let network = create::network(self.complete(&state, request)?, &self.pools, &taken)?;
        let bridge = network.bridge_name();
        if state
            .table
            .networks
            .values()
            .any(|entry| entry.network.bridge_name() == bridge && !Self::is_plain(entry.network.driver))
        {
            return Err(Error::forbidden(format!(
                "cannot create network {} ({bridge}): conflicts with another network: networks have same bridge name",
                network.id
            )));
        }
        self.record(&network)?;
        // Its subnet is taken from here on; its bridge is made without keeping others waiting.
        state.table.insert(network.clone());
        drop(state);
        if let Err(error) = self.ensure_bridge(&network) {
            self.state().table.networks.remove(&network.id);
            self.forget(&network)?;
            return Err(error);
        }
        let response = CreateResponse { id: network.id.clone(), warning: String::new() };
        Ok((network, response))
    }

    /// Removes a network that nobody is on.
    pub(crate) fn remove(&self, wanted: &str) -> Result<Network> {
        let mut state = self.state();
        let id = state.table.find(wanted)?.network.id.clone();
        let network = close(&mut state, &id)?;
        drop(state);
        let removed = self.dismantle(&network);
        if removed.is_err() && network.driver == Driver::Bridge {
            // It stays, and must be of use.
            if let Err(error) = self.ensure_bridge(&network) {
                tracing::error!(network = network.name, %error, "cannot restore a bridge");
            }
        }
        let mut state = self.state();
        match removed {
            Ok(()) => drop(state.table.networks.remove(&id)),
            Err(_) => {
                if let Some(entry) = state.table.networks.get_mut(&id) {
                    entry.closing = false;
                }
            }
        }
        removed.map(|()| network)
    }

    fn dismantle(&self, network: &Network) -> Result<()> {
        if network.driver == Driver::Bridge {
            self.host.remove_bridge(&network.bridge(self.network.firewall_v6).rules)?;
        }
        let names = self.paths.network_names(&network.id);
        match std::fs::remove_dir_all(&names) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::failed(format!("cannot remove {}", names.display()), error));
            }
            _ => {}
        }
        self.forget(network)
    }

    pub(super) fn ensure_bridge(&self, network: &Network) -> Result<()> {
        let warnings = self.host.ensure_bridge(&network.bridge(self.network.firewall_v6))?;
        Networks::warn(warnings);
        Ok(())
    }

    fn record(&self, network: &Network) -> Result<()> {
        let reserved = self.records.write(|transaction| {
            let reserved = transaction.reserve(NAMES, &network.name, &network.id)?;
            if reserved.is_ok() {
                transaction.put(&network.id, network)?;
            }
            Ok::<_, store::Error>(reserved)
        })?;
        reserved.map_err(|_| Error::conflict(format!("network with name {} already exists", network.name)))
    }

    fn forget(&self, network: &Network) -> Result<()> {
        self.records.write(|transaction| {
            transaction.remove::<Network>(&network.id)?;
            transaction.release_all(NAMES, &network.id)?;
            Ok::<_, store::Error>(())
        })?;
        Ok(())
    }

    /// The request with what is said elsewhere: by the network that it is configured from, or of all new ones.
    fn complete(&self, state: &State, mut request: CreateRequest) -> Result<CreateRequest> {
        let from = request.config_from.as_ref().map(|from| from.network.clone()).unwrap_or_default();
        if !from.is_empty() {
            let found = state.table.find(&from).ok().filter(|entry| entry.network.config_only);
            let found = found
                .ok_or_else(|| Error::not_found(format!("configuration network {from:?} does not exist")))?;
            request = create::configured_from(request, &found.network)?;
        }
        let driver = if request.driver.is_empty() { "bridge" } else { request.driver.as_str() };
        let defaults = self.network.default_options.get(driver).cloned().unwrap_or_default();
        let options = request.options.get_or_insert_default();
        for (key, value) in defaults {
            options.entry(key).or_insert(value);
        }
        // As Docker, which shows the option only where it says something else than usual.
        if self.network.mtu != 1500 {
            options.entry(option::MTU.into()).or_insert_with(|| self.network.mtu.to_string());
        }
        Ok(request)
    }

    /// `bridge`, `host` and `none`: made once, and the first adapted to the configuration each time.
    pub(super) fn ensure_predefined(&self) -> Result<()> {
        for (name, driver) in [("host", Driver::Host), ("none", Driver::Null)] {
            if self.state().table.find(name).is_err() {
                self.add_predefined(plain(name, driver))?;
            }
        }
        let found = self.state().table.find("bridge").ok().map(|entry| entry.network.clone());
        if self.network.bridge.as_deref() == Some("none") {
            if let Some(network) = found {
                self.state().table.networks.remove(&network.id);
                self.forget(&network)?;
            }
            return Ok(());
        }
        let network = self.default_bridge(found.as_ref())?;
        if found.as_ref() != Some(&network) {
            self.add_predefined(network)?;
        }
        Ok(())
    }

    fn add_predefined(&self, network: Network) -> Result<()> {
        self.record(&network)?;
        self.state().table.insert(network);
        Ok(())
    }

    /// The default bridge as the configuration wants it; what it leaves open stays as it was.
    fn default_bridge(&self, before: Option<&Network>) -> Result<Network> {
        let settings = &self.network;
        let own_name = &self.host.names().default_bridge;
        let name = settings.bridge.clone().unwrap_or_else(|| own_name.clone());
        let mut network = before.cloned().unwrap_or_else(|| plain("bridge", Driver::Bridge));
        network.enable_ipv6 = settings.ipv6;
        let address = |address: std::net::IpAddr| if address.is_unspecified() { None } else { Some(address) };
        let binding = settings
            .publish_address
            .and_then(address)
            .map_or("0.0.0.0".into(), |address| address.to_string());
        network.options = BTreeMap::from([
            (option::DEFAULT.to_owned(), "true".to_owned()),
            (option::ICC.to_owned(), settings.icc.to_string()),
            (option::MASQUERADE.to_owned(), settings.masquerade.to_string()),
            (option::HOST_BINDING.to_owned(), binding),
            (option::NAME.to_owned(), name.clone()),
            (option::MTU.to_owned(), settings.mtu.to_string()),
        ]);
        let mut subnets = Vec::new();
        for v6 in [false, true] {
            if v6 && !settings.ipv6 {
                continue;
            }
            let existing = network.subnets.iter().find(|one| one.subnet.addr().is_ipv6() == v6);
            subnets.push(self.default_subnet(v6, existing, &name)?);
        }
        network.subnets = subnets;
        network.ipam.config = Some(network.subnets.iter().map(shown).collect());
        Ok(network)
    }

    fn default_subnet(&self, v6: bool, existing: Option<&Subnet>, bridge: &str) -> Result<Subnet> {
        let settings = &self.network;
        let configured = match v6 {
            false => settings.bridge_address.map(IpNet::from),
            true => settings.bridge_address_v6.map(IpNet::from),
        };
        let range = match v6 {
            false => settings.fixed_cidr.map(IpNet::from),
            true => settings.fixed_cidr_v6.map(IpNet::from),
        };
        // A bridge that somebody else has made has its addresses already.
        let found = match settings.bridge {
            Some(_) => self.host.addresses_of(bridge)?.into_iter().find(|net| net.addr().is_ipv6() == v6),
            None => None,
        };
        let mut subnet = match (configured.or(found), existing, range) {
            (Some(net), _, _) => Subnet {
                subnet: net.trunc(),
                range: None,
                gateway: net.addr(),
                router: None,
                reserved: Vec::new(),
                chosen: false,
            },
            (None, Some(existing), _) => existing.clone(),
            // Without a bridge's address, the range is the subnet.
            (None, None, Some(range)) => Subnet {
                subnet: range.trunc(),
                range: None,
                gateway: network::address::first(range.trunc(), None),
                router: None,
                reserved: Vec::new(),
                chosen: false,
            },
            (None, None, None) => {
                let taken = Taken { networks: self.state().table.subnets(), routes: self.host.routes()? };
                create::choose(v6, &self.pools, &taken)?
            }
        };
        subnet.range = range.filter(|range| subnet.subnet.contains(range));
        let gateway = if v6 { settings.default_gateway_v6 } else { settings.default_gateway };
        if let Some(gateway) = gateway.filter(|gateway| !subnet.subnet.contains(gateway)) {
            return Err(Error::invalid(format!(
                "invalid default-gateway {gateway}: parent subnet {} doesn't contain this address",
                subnet.subnet
            )));
        }
        subnet.router = gateway.filter(|gateway| *gateway != subnet.gateway);
        Ok(subnet)
    }
}

fn close(state: &mut State, id: &str) -> Result<Network> {
    let configured: Vec<&str> = (state.table.networks.values())
        .map(|entry| entry.network.config_from.as_str())
        .filter(|from| !from.is_empty())
        .collect();
    let used = state.table.networks.get(id).filter(|entry| configured.contains(&entry.network.name.as_str()));
    if let Some(used) = used {
        return Err(Error::forbidden(format!(
            "error while removing network: configuration network {:?} is in use",
            used.network.name
        )));
    }
    let Some(entry) = state.table.networks.get_mut(id).filter(|entry| !entry.closing) else {
        return Err(Error::not_found(format!("network {id} not found")));
    };
    let Network { name, predefined, .. } = &entry.network;
    if *predefined {
        return Err(Error::forbidden(format!("{name} is a pre-defined network and cannot be removed")));
    }
    if !entry.members.is_empty() {
        let active = entry.members.values().map(|member| {
            format!("name:{:?} id:{:?}", member.name, member.endpoint.id.get(..12).unwrap_or_default())
        });
        let active: Vec<String> = active.collect();
        return Err(Error::forbidden(format!(
            "error while removing network: network {name} has active endpoints ({})",
            active.join(", ")
        )));
    }
    entry.closing = true;
    Ok(entry.network.clone())
}

fn plain(name: &str, driver: Driver) -> Network {
    Network {
        id: identity::random(),
        name: name.into(),
        created: clock::now(),
        driver,
        enable_ipv4: true,
        enable_ipv6: false,
        internal: false,
        attachable: false,
        options: BTreeMap::new(),
        labels: BTreeMap::new(),
        ipam: Ipam { driver: "default".into(), options: None, config: None },
        subnets: Vec::new(),
        predefined: true,
        config_only: false,
        config_from: String::new(),
    }
}

fn shown(subnet: &Subnet) -> IpamPool {
    IpamPool {
        subnet: subnet.subnet.to_string(),
        ip_range: subnet.range.map_or_else(String::new, |range| range.to_string()),
        gateway: subnet.gateway.to_string(),
        auxiliary_addresses: BTreeMap::new(),
    }
}
