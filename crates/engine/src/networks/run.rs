//! What one run of a container holds of the network, and where that is remembered.
//!
//! The file lies in the container's runtime directory and ends with it: a restarted engine reads there which addresses
//! and ports are taken, and how to give them back, also of containers whose record says nothing of their run (`--rm`).
//! It is written without a sync: what a power cut takes with it is gone from the kernel, too.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use api::container::{PortBinding, PortMap};
use api::network::EndpointSettings;
use ipnet::IpNet;
use network::{Attached, Mac, Published, Transport};
use serde::{Deserialize, Serialize};

use super::ports;
use crate::container::Record;
use crate::error::{Error, Result};

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Run {
    /// Names the network namespace in inspect.
    pub(super) sandbox: String,
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) ports: Vec<Port>,
    /// The way out was being changed: the container and its shim may not know it as it stands here.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) unsettled: bool,
}

/// A container's place on one network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Endpoint {
    /// The network's id.
    pub(super) network: String,
    pub(super) network_name: String,
    pub(super) id: String,
    /// None on `host` and `none`.
    pub(super) interface: Option<Interface>,
    pub(super) priority: i64,
    /// All names that mean it, on user-defined networks.
    pub(super) names: Vec<String>,
    /// The file that says so to the resolvers of its neighbours.
    pub(super) entry: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Interface {
    /// Inside.
    pub(super) name: String,
    pub(super) mac: String,
    /// With their subnets' prefix lengths; at most one per family.
    pub(super) addresses: Vec<IpNet>,
    /// More addresses, which the container asked for.
    #[serde(default)]
    pub(super) link_local: Vec<IpNet>,
    /// Settings beneath `/proc/sys`, inside.
    #[serde(default)]
    pub(super) sysctls: Vec<(String, String)>,
    /// None on internal networks.
    pub(super) gateways: Vec<IpAddr>,
    /// There since the interface was made.
    pub(super) attached: Option<Attached>,
}

impl Interface {
    pub(super) fn address(&self, v6: bool) -> Option<IpNet> {
        self.addresses.iter().copied().find(|net| net.addr().is_ipv6() == v6)
    }

    pub(super) fn gateway(&self, v6: bool) -> Option<IpAddr> {
        self.gateways.iter().copied().find(|gateway| gateway.is_ipv6() == v6)
    }
}

/// A published port.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Port {
    pub(super) transport: String,
    /// What is held of the host. Port 0 is none: a routed network's containers are reached at their own addresses.
    pub(super) host: SocketAddr,
    pub(super) container_port: u16,
    /// Where the kernel leads it; none if only the relay does.
    pub(super) target: Option<SocketAddr>,
    /// It is reached at the container's own address, too.
    #[serde(default)]
    pub(super) direct: bool,
}

impl Port {
    pub(super) fn transport(&self) -> Transport {
        transport(&self.transport).unwrap_or(Transport::Tcp)
    }

    /// Whether the host's own port is taken.
    pub(super) fn is_held(&self) -> bool {
        self.host.port() != 0
    }

    pub(super) fn published(&self) -> impl Iterator<Item = Published> {
        let transport = self.transport();
        let ways = [self.is_held().then_some(Some(self.host)), self.direct.then_some(None)];
        let target = self.target;
        ways.into_iter()
            .flatten()
            .filter_map(move |host| Some(Published { transport, host, target: target? }))
    }
}

pub(super) fn transport(name: &str) -> Option<Transport> {
    Transport::named(&name.to_ascii_lowercase())
}

impl Run {
    pub(super) fn load(path: &Path) -> Option<Run> {
        serde_json::from_slice(&std::fs::read(path).ok()?).ok()
    }

    pub(super) fn save(&self, path: &Path) -> Result<()> {
        let failed = |error: std::io::Error| Error::failed(format!("cannot write {}", path.display()), error);
        let text = serde_json::to_vec(self).map_err(|error| failed(error.into()))?;
        // Whole or not at all: an engine may be killed in between.
        let draft = path.with_extension("draft");
        linux::fault::io("write a run's network")
            .and_then(|()| std::fs::write(&draft, text))
            .and_then(|()| std::fs::rename(&draft, path))
            .map_err(failed)
    }

    /// The endpoint that leads everywhere else, in one family: one that does so in both before others, then the highest
    /// priority, then the first by name. Docker's order, in which a priority does not part the families.
    pub(super) fn gateway(&self, v6: bool) -> Option<&Endpoint> {
        self.in_order().into_iter().find(|endpoint| endpoint.leads_out(v6))
    }

    /// The endpoints, best first: those that lead out before others.
    pub(super) fn in_order(&self) -> Vec<&Endpoint> {
        let mut endpoints: Vec<&Endpoint> = self.endpoints.iter().collect();
        endpoints.sort_by_key(|endpoint| {
            let ways = [false, true].into_iter().filter(|v6| endpoint.leads_out(*v6)).count();
            (ways == 0, ways == 1, -endpoint.priority, &endpoint.network_name)
        });
        endpoints
    }

    /// The gateways that go with one endpoint.
    pub(super) fn gateways_of(&self, endpoint: &str) -> Vec<IpAddr> {
        let of = |v6| self.gateway(v6).filter(|one| one.id == endpoint)?.interface.as_ref()?.gateway(v6);
        [of(false), of(true)].into_iter().flatten().collect()
    }

    /// Where published ports lead to, in one family.
    pub(super) fn target(&self, v6: bool) -> Option<IpAddr> {
        Some(self.gateway(v6)?.interface.as_ref()?.address(v6)?.addr())
    }

    pub(super) fn published(&self) -> Vec<Published> {
        self.ports.iter().flat_map(Port::published).collect()
    }

    pub(super) fn attached(&self) -> impl Iterator<Item = &Attached> {
        self.endpoints.iter().filter_map(|endpoint| endpoint.interface.as_ref()?.attached.as_ref())
    }

    pub(super) fn is_on(&self, network: &str) -> bool {
        self.endpoints.iter().any(|endpoint| endpoint.network_name == network)
    }

    /// Writes what was assigned into the record, as inspect shows it.
    pub(super) fn show(&self, record: &mut Record) {
        record.network.sandbox.clone_from(&self.sandbox);
        // Who has no way out publishes nothing, and Docker shows no exposed ports then, either.
        let has_none = self.gateway(false).or(self.gateway(true)).is_none();
        record.network.ports = if has_none { PortMap::new() } else { self.port_map(record) };
        for endpoint in &self.endpoints {
            let settings = record.network.endpoints.entry(endpoint.network_name.clone()).or_default();
            endpoint.show(settings);
        }
    }

    /// Published ports with their bindings, and exposed ones without.
    fn port_map(&self, record: &Record) -> PortMap {
        let mut map = PortMap::new();
        for port in record.config.exposed_ports.keys() {
            map.insert(ports::shown_exposed(port), None);
        }
        for port in &self.ports {
            let host_port = if port.is_held() { port.host.port().to_string() } else { String::new() };
            let binding = PortBinding { host_ip: port.host.ip().to_string(), host_port };
            let key = format!("{}/{}", port.container_port, port.transport);
            map.entry(key).or_default().get_or_insert_default().push(binding);
        }
        map
    }
}

impl Endpoint {
    fn leads_out(&self, v6: bool) -> bool {
        self.interface.as_ref().is_some_and(|interface| interface.gateway(v6).is_some())
    }

    fn show(&self, settings: &mut EndpointSettings) {
        settings.network_id.clone_from(&self.network);
        settings.endpoint_id.clone_from(&self.id);
        settings.dns_names = Some(self.names.clone()).filter(|names| !names.is_empty());
        let Some(interface) = &self.interface else { return };
        settings.mac_address.clone_from(&interface.mac);
        let text = |address: Option<IpAddr>| address.map_or_else(String::new, |address| address.to_string());
        settings.gateway = text(interface.gateway(false));
        settings.ipv6_gateway = text(interface.gateway(true));
        if let Some(net) = interface.address(false) {
            settings.ip_address = net.addr().to_string();
            settings.ip_prefix_len = net.prefix_len().into();
        }
        if let Some(net) = interface.address(true) {
            settings.global_ipv6_address = net.addr().to_string();
            settings.global_ipv6_prefix_len = net.prefix_len().into();
        }
    }
}

/// Takes what was assigned out of the record again; wishes stay. An Ethernet address that follows from the IP address
/// was assigned, any other was wished for.
pub(crate) fn hide(record: &mut Record) {
    record.network.sandbox.clear();
    record.network.ports.clear();
    for settings in record.network.endpoints.values_mut() {
        clear(settings);
    }
}

/// The Ethernet address that somebody asked for, if one did.
pub(crate) fn wished_mac(settings: &EndpointSettings) -> Option<&str> {
    let address = |text: &str| text.parse::<IpAddr>().ok();
    let assigned = address(&settings.ip_address).or_else(|| address(&settings.global_ipv6_address));
    let derived = assigned.map(|address| network::address::mac_for(address).to_string());
    let mac = settings.mac_address.as_str();
    (!mac.is_empty() && derived.as_deref() != Some(mac)).then_some(mac)
}

pub(super) fn clear(settings: &mut EndpointSettings) {
    if wished_mac(settings).is_none() {
        settings.mac_address.clear();
    }
    settings.endpoint_id.clear();
    settings.gateway.clear();
    settings.ip_address.clear();
    settings.ip_prefix_len = 0;
    settings.ipv6_gateway.clear();
    settings.global_ipv6_address.clear();
    settings.global_ipv6_prefix_len = 0;
}

pub(super) fn parse_mac(text: &str) -> Result<Mac> {
    text.parse().map_err(|()| Error::invalid(format!("address {text}: invalid MAC address")))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::container::test_record as record;

    pub(in super::super) fn endpoint(network: &str, addresses: &[&str], gateways: &[&str]) -> Endpoint {
        let addresses: Vec<IpNet> = addresses.iter().map(|text| text.parse().unwrap()).collect();
        Endpoint {
            network: format!("{network}-id"),
            network_name: network.into(),
            id: format!("{network}-endpoint"),
            interface: Some(Interface {
                name: "eth0".into(),
                mac: network::address::mac_for(addresses[0].addr()).to_string(),
                addresses,
                link_local: Vec::new(),
                sysctls: Vec::new(),
                gateways: gateways.iter().map(|text| text.parse().unwrap()).collect(),
                attached: None,
            }),
            priority: 0,
            names: Vec::new(),
            entry: None,
        }
    }

    #[test]
    fn the_way_out_is_one_for_both_families_then_the_highest_priority_then_the_first_name() {
        let mut run = Run {
            endpoints: vec![
                endpoint("inside", &["10.0.0.2/24"], &[]),
                endpoint("zebra", &["10.1.0.2/24"], &["10.1.0.1"]),
                endpoint("apple", &["10.2.0.2/24"], &["10.2.0.1"]),
                endpoint("six", &["fd00::2/64"], &["fd00::1"]),
            ],
            ..Run::default()
        };
        let name = |run: &Run, v6| run.gateway(v6).map(|endpoint| endpoint.network_name.clone());
        assert_eq!((name(&run, false), name(&run, true)), (Some("apple".into()), Some("six".into())));
        let all: Vec<&str> = run.in_order().iter().map(|endpoint| endpoint.network_name.as_str()).collect();
        assert_eq!(all, ["apple", "six", "zebra", "inside"]);
        assert_eq!(run.gateways_of("six-endpoint"), ["fd00::1".parse::<IpAddr>().unwrap()]);
        assert_eq!(run.target(false), Some("10.2.0.2".parse().unwrap()));
        run.endpoints[1].priority = 1;
        assert_eq!(name(&run, false), Some("zebra".into()));
        assert_eq!(run.gateways_of("apple-endpoint"), [] as [IpAddr; 0]);
        let both = |name: &str| endpoint(name, &["10.3.0.2/24", "fd01::2/64"], &["10.3.0.1", "fd01::1"]);
        run.endpoints.extend([both("yak"), both("xerus")]);
        let xerus = Some("xerus".to_owned());
        assert_eq!((name(&run, false), name(&run, true)), (xerus.clone(), xerus));
    }

    #[test]
    fn what_was_assigned_goes_and_wishes_stay() {
        let mut record = record("web");
        record.config.exposed_ports.insert("9000/udp".into(), Default::default());
        let wish = EndpointSettings { aliases: Some(vec!["www".into()]), ..EndpointSettings::default() };
        record.network.endpoints.insert("backend".into(), wish.clone());
        let port = |host: &str| Port {
            transport: "tcp".into(),
            host: host.parse().unwrap(),
            container_port: 80,
            target: None,
            direct: false,
        };
        let run = Run {
            sandbox: "abc".into(),
            endpoints: vec![endpoint("backend", &["10.1.0.2/24"], &["10.1.0.1"])],
            ports: vec![port("0.0.0.0:8080"), port("[::]:8080")],
            ..Run::default()
        };
        run.show(&mut record);
        assert_eq!(record.network.ports["9000/udp"], None);
        let bindings = record.network.ports["80/tcp"].as_ref().unwrap();
        assert_eq!(bindings.iter().map(|one| one.host_ip.as_str()).collect::<Vec<_>>(), ["0.0.0.0", "::"]);
        let shown = &record.network.endpoints["backend"];
        assert_eq!((shown.ip_address.as_str(), shown.gateway.as_str()), ("10.1.0.2", "10.1.0.1"));
        assert_eq!(shown.mac_address, "02:42:0a:01:00:02");
        hide(&mut record);
        let left = EndpointSettings { network_id: "backend-id".into(), ..wish };
        assert_eq!(record.network.endpoints["backend"], left);
        assert!(record.network.ports.is_empty());
    }

    #[test]
    fn a_run_survives_its_file() {
        let directory = scratch::Directory::new("run");
        let path = directory.join("run.json");
        let run = Run { endpoints: vec![endpoint("a", &["10.1.0.2/24"], &["10.1.0.1"])], ..Run::default() };
        run.save(&path).unwrap();
        assert_eq!(Run::load(&path), Some(run));
        std::fs::write(&path, "{").unwrap();
        assert_eq!(Run::load(&path), None);
    }
}
