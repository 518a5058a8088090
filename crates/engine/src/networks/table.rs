//! The networks in memory: each with its addresses and with who is on it. All of it can be made again from the records
//! and the runs.

use std::collections::BTreeMap;
use std::net::IpAddr;

use api::network::{IpamStatus, Status, SubnetStatus};
use ipnet::IpNet;
use network::address::{Leases, Usage, mac_for};

use super::connect::{link_local, sysctls};
use super::record::{GatewayMode, Network, Subnet};
use super::run::{Endpoint, Interface, parse_mac};
use crate::container::Record;
use crate::error::{Error, Result};
use crate::identity;

/// Options of endpoints.
pub(super) const INTERFACE_NAME: &str = "com.docker.network.endpoint.ifname";
pub(super) const SYSCTLS: &str = "com.docker.network.endpoint.sysctls";

#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) networks: BTreeMap<String, Entry>,
}

/// A network and who is on it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) network: Network,
    /// One per subnet, in order.
    leases: Vec<Leases>,
    /// By container id.
    pub(super) members: BTreeMap<String, Member>,
    /// Being removed: nobody may come.
    pub(super) closing: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Member {
    /// The container's name.
    pub(super) name: String,
    pub(super) endpoint: Endpoint,
}

impl Table {
    pub(super) fn insert(&mut self, network: Network) {
        let leases = network.subnets.iter().map(|subnet| leases(&network, subnet)).collect();
        let entry = Entry { leases, members: BTreeMap::new(), closing: false, network };
        self.networks.insert(entry.network.id.clone(), entry);
    }

    /// By full id, by name, or by the beginning of one id only.
    pub(super) fn find(&self, wanted: &str) -> Result<&Entry> {
        let not_found = || Error::not_found(format!("network {wanted} not found"));
        if wanted.is_empty() {
            return Err(not_found());
        }
        let by_name = || self.networks.values().find(|entry| entry.network.name == wanted);
        if let Some(entry) = self.networks.get(wanted).or_else(by_name) {
            return Ok(entry);
        }
        let mut matches = self.networks.values().filter(|entry| entry.network.id.starts_with(wanted));
        match (matches.next(), matches.count()) {
            (Some(only), 0) => Ok(only),
            (Some(_), more) => Err(Error::invalid(format!(
                "network {wanted} is ambiguous ({} matches found based on ID prefix)",
                more + 1
            ))),
            (None, _) => Err(not_found()),
        }
    }

    pub(super) fn subnets(&self) -> Vec<IpNet> {
        let of = |entry: &Entry| entry.network.subnets.iter().map(|subnet| subnet.subnet).collect::<Vec<_>>();
        self.networks.values().flat_map(of).collect()
    }

    /// The container that somebody links to: by name, or by the beginning of its id.
    pub(super) fn member(&self, wanted: &str) -> Option<(&String, &Member)> {
        let is = |(id, member): &(&String, &Member)| member.name == wanted || id.starts_with(wanted);
        self.networks.values().flat_map(|entry| &entry.members).find(is)
    }
}

fn leases(network: &Network, subnet: &Subnet) -> Leases {
    let mut leases = Leases::new(subnet.subnet, subnet.range);
    if network.gateway_mode(subnet.subnet.addr().is_ipv6()) != GatewayMode::Isolated {
        leases.take(subnet.gateway);
    }
    for address in subnet.reserved.iter().chain(&subnet.router) {
        leases.take(*address);
    }
    leases
}

impl Entry {
    /// A place for a container: its addresses are taken. `interface` is its number inside.
    pub(super) fn join(&mut self, record: &Record, interface: usize) -> Result<Endpoint> {
        let id = record.id.as_str();
        if self.network.config_only {
            return Err(Error::forbidden("cannot create endpoint on configuration-only network"));
        }
        if self.closing {
            return Err(Error::not_found(format!("network {} not found", self.network.name)));
        }
        if self.members.contains_key(id) {
            let Network { name, .. } = &self.network;
            return Err(Error::forbidden(format!(
                "endpoint with name {} already exists in network {name}",
                record.name
            )));
        }
        let wish = record.network.endpoints.get(&self.network.name).cloned().unwrap_or_default();
        let option = |key: &str| wish.driver_opts.as_ref().and_then(|options| options.get(key)).cloned();
        let mut endpoint = Endpoint {
            network: self.network.id.clone(),
            network_name: self.network.name.clone(),
            id: identity::random(),
            interface: None,
            priority: wish.gw_priority,
            names: Vec::new(),
            entry: None,
        };
        if !self.network.subnets.is_empty() {
            let asked = wish.ipam_config.clone().unwrap_or_default();
            let link_local =
                asked.link_local_ips.iter().map(|text| link_local(text)).collect::<Result<_>>()?;
            let addresses = self.take_addresses(&wish)?;
            let main = record.host.network_mode == self.network.name && !record.config.mac_address.is_empty();
            let mac = match wish.mac_address.as_str() {
                "" if main => parse_mac(&record.config.mac_address),
                "" => Ok(mac_for(addresses[0].addr())),
                text => parse_mac(text),
            };
            let mac = match mac {
                Ok(mac) => mac.to_string(),
                Err(error) => {
                    addresses.iter().for_each(|address| self.give_back(address.addr()));
                    return Err(error);
                }
            };
            let default_name = || format!("{}{interface}", self.network.interface_prefix());
            let name = option(INTERFACE_NAME).unwrap_or_else(default_name);
            endpoint.interface = Some(Interface {
                link_local,
                sysctls: sysctls(&option(SYSCTLS).unwrap_or_default(), &name).map_err(Error::invalid)?,
                name,
                mac,
                gateways: self.gateways(&addresses),
                addresses,
                attached: None,
            });
        }
        if self.network.is_user_defined() {
            endpoint.names = names(record, wish.aliases.as_deref().unwrap_or_default());
        }
        self.members.insert(id.to_owned(), Member { name: record.name.clone(), endpoint: endpoint.clone() });
        Ok(endpoint)
    }

    /// How many addresses are in use and left, by subnet; networks without addresses of their own have nothing to tell.
    pub(super) fn status(&self) -> Option<Status> {
        let told = |leases: &Leases| {
            let Usage { in_use, available } = leases.usage();
            (leases.subnet().to_string(), SubnetStatus { in_use, available })
        };
        let subnets: BTreeMap<_, _> = self.leases.iter().map(told).collect();
        (!subnets.is_empty()).then_some(Status { ipam: IpamStatus { subnets } })
    }

    /// A place that a running container has had since before this engine.
    pub(super) fn adopt(&mut self, record: &Record, endpoint: &Endpoint) {
        for address in endpoint.interface.iter().flat_map(|interface| &interface.addresses) {
            if let Some(leases) =
                self.leases.iter_mut().find(|leases| leases.subnet().contains(&address.addr()))
            {
                leases.take(address.addr());
            }
        }
        let member = Member { name: record.name.clone(), endpoint: endpoint.clone() };
        self.members.insert(record.id.to_string(), member);
    }

    /// The place is free again.
    pub(super) fn leave(&mut self, container: &str) {
        let Some(member) = self.members.remove(container) else { return };
        for address in member.endpoint.interface.iter().flat_map(|interface| &interface.addresses) {
            self.give_back(address.addr());
        }
    }

    fn give_back(&mut self, address: IpAddr) {
        self.leases.iter_mut().for_each(|leases| leases.give_back(address));
    }

    /// One address per family that the network has.
    fn take_addresses(&mut self, wish: &api::network::EndpointSettings) -> Result<Vec<IpNet>> {
        let ipam = wish.ipam_config.clone().unwrap_or_default();
        let mut taken: Vec<IpNet> = Vec::new();
        for (v6, wished) in [(false, &ipam.ipv4_address), (true, &ipam.ipv6_address)] {
            let has = self.leases.iter().any(|leases| leases.subnet().addr().is_ipv6() == v6);
            if !has && wished.is_empty() {
                continue;
            }
            match self.take_address(v6, wished) {
                Ok(address) => taken.push(address),
                Err(error) => {
                    taken.iter().for_each(|address| self.give_back(address.addr()));
                    return Err(error);
                }
            }
        }
        Ok(taken)
    }

    fn take_address(&mut self, v6: bool, wished: &str) -> Result<IpNet> {
        let family = if v6 { "IPv6" } else { "IPv4" };
        let with_prefix = |address, leases: &Leases| {
            IpNet::new(address, leases.subnet().prefix_len())
                .map_err(|error| Error::failed("cannot use a subnet", error))
        };
        if !wished.is_empty() {
            let address: IpAddr =
                wished.parse().map_err(|_| Error::invalid(format!("invalid {family} address: {wished}")))?;
            let leases =
                self.leases.iter_mut().find(|leases| leases.subnet().contains(&address)).ok_or_else(
                    || Error::invalid(format!("no configured subnet contains IP address {address}")),
                )?;
            return match leases.take(address) {
                true => with_prefix(address, leases),
                false => Err(Error::forbidden("Address already in use")),
            };
        }
        for leases in self.leases.iter_mut().filter(|leases| leases.subnet().addr().is_ipv6() == v6) {
            if let Some(address) = leases.take_lowest() {
                return with_prefix(address, leases);
            }
        }
        let Network { name, id, .. } = &self.network;
        Err(Error::system(format!(
            "no available {family} addresses on this network's address pools: {name} ({id})"
        )))
    }

    fn gateways(&self, addresses: &[IpNet]) -> Vec<IpAddr> {
        if self.network.internal {
            return Vec::new();
        }
        let of = |address: &IpNet| {
            let subnet =
                self.network.subnets.iter().find(|subnet| subnet.subnet.contains(&address.addr()))?;
            Some(subnet.router.unwrap_or(subnet.gateway))
        };
        addresses.iter().filter_map(of).collect()
    }
}

/// Container name, aliases, short id, and the name that the container has for itself; each once.
pub(super) fn names(record: &Record, aliases: &[String]) -> Vec<String> {
    let mut names = vec![record.name.clone()];
    let more = aliases.iter().cloned().chain([record.id.short().to_owned(), record.config.hostname.clone()]);
    for name in more {
        if !name.is_empty() && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use api::network::{EndpointIpam, EndpointSettings, Ipam};

    use super::super::record::Driver;
    use super::*;
    use crate::container::test_record as record;

    pub(in super::super) fn network(name: &str, subnets: &[(&str, &str)]) -> Network {
        Network {
            id: format!("{name}{}", "0".repeat(64 - name.len())),
            name: name.into(),
            created: String::new(),
            driver: Driver::Bridge,
            enable_ipv4: true,
            enable_ipv6: false,
            internal: false,
            attachable: false,
            options: BTreeMap::new(),
            labels: BTreeMap::new(),
            ipam: Ipam::default(),
            subnets: subnets
                .iter()
                .map(|(subnet, gateway)| Subnet {
                    subnet: subnet.parse().unwrap(),
                    range: None,
                    gateway: gateway.parse().unwrap(),
                    router: None,
                    reserved: Vec::new(),
                    chosen: true,
                })
                .collect(),
            predefined: false,
            config_only: false,
            config_from: String::new(),
        }
    }

    fn table() -> Table {
        let mut table = Table::default();
        table.insert(network("backend", &[("10.0.0.0/29", "10.0.0.1"), ("fd00::/64", "fd00::1")]));
        table.insert(network("back", &[("10.1.0.0/29", "10.1.0.1")]));
        table
    }

    fn addresses(endpoint: &Endpoint) -> Vec<String> {
        endpoint.interface.as_ref().unwrap().addresses.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn networks_are_found_by_name_id_and_prefix() {
        let table = table();
        let found = |wanted: &str| {
            table.find(wanted).map(|entry| entry.network.name.clone()).map_err(|error| error.to_string())
        };
        assert_eq!(found("back").unwrap(), "back");
        assert_eq!(found("backe").unwrap(), "backend");
        assert_eq!(
            found("bac").unwrap_err(),
            "network bac is ambiguous (2 matches found based on ID prefix)"
        );
        assert_eq!(found("other").unwrap_err(), "network other not found");
        assert_eq!(found("").unwrap_err(), "network  not found");
    }

    #[test]
    fn containers_get_addresses_and_give_them_back() {
        let mut table = table();
        let entry = table.networks.values_mut().last().unwrap();
        assert_eq!(entry.network.name, "backend");
        let one = record("one");
        let endpoint = entry.join(&one, 0).unwrap();
        assert_eq!(addresses(&endpoint), ["10.0.0.2/29", "fd00::2/64"]);
        assert_eq!(endpoint.names, ["one", one.id.short()]);
        assert_eq!(endpoint.interface.as_ref().unwrap().name, "eth0");
        assert!(entry.join(&one, 1).unwrap_err().message().contains("already exists in network backend"));
        let other = entry.join(&record("other"), 0).unwrap();
        assert_eq!(addresses(&other), ["10.0.0.3/29", "fd00::3/64"]);
        entry.leave(one.id.as_str());
        assert_eq!(addresses(&entry.join(&record("third"), 0).unwrap()), ["10.0.0.2/29", "fd00::2/64"]);
    }

    #[test]
    fn wishes_are_fulfilled_or_refused_whole() {
        let mut table = table();
        let entry = table.networks.values_mut().last().unwrap();
        let wishing = |v4: &str, v6: &str, mac: &str| {
            let mut record = record("web");
            let ipam =
                EndpointIpam { ipv4_address: v4.into(), ipv6_address: v6.into(), ..Default::default() };
            let wish =
                EndpointSettings { ipam_config: Some(ipam), mac_address: mac.into(), ..Default::default() };
            record.network.endpoints.insert("backend".into(), wish);
            record
        };
        let endpoint = entry.join(&wishing("10.0.0.5", "fd00::5", "02:00:00:00:00:01"), 0).unwrap();
        assert_eq!(addresses(&endpoint), ["10.0.0.5/29", "fd00::5/64"]);
        assert_eq!(endpoint.interface.unwrap().mac, "02:00:00:00:00:01");
        let mut refused =
            |v4: &str, v6: &str, mac: &str| entry.join(&wishing(v4, v6, mac), 0).unwrap_err().to_string();
        assert_eq!(refused("10.9.0.5", "", ""), "no configured subnet contains IP address 10.9.0.5");
        assert_eq!(refused("10.0.0.5", "", ""), "Address already in use");
        assert_eq!(refused("x", "", ""), "invalid IPv4 address: x");
        // What was taken before the refusal is free again.
        refused("10.0.0.6", "fd00::5", "");
        refused("10.0.0.6", "", "no address");
        entry.join(&wishing("10.0.0.6", "", ""), 0).unwrap();
    }

    #[test]
    fn a_full_network_says_so() {
        let mut table = Table::default();
        table.insert(network("tiny", &[("10.0.0.0/30", "10.0.0.1")]));
        let entry = table.networks.values_mut().next().unwrap();
        entry.join(&record("one"), 0).unwrap();
        let error = entry.join(&record("two"), 0).unwrap_err().to_string();
        assert!(
            error.starts_with("no available IPv4 addresses on this network's address pools: tiny (tiny0"),
            "{error}"
        );
    }
}
