//! What is remembered of a network, and what follows from it for the host.

use std::collections::BTreeMap;
use std::net::IpAddr;

use api::network::{ConfigReference, Inspect, Ipam};
use ipnet::IpNet;
use network::{Bridge, BridgeRules, Entry, HostNames};
use serde::{Deserialize, Serialize};

/// Namespace of network names in the records.
pub(super) const NAMES: &str = "network";

/// Options of the bridge driver that mean something here.
pub(super) mod option {
    pub(crate) const NAME: &str = "com.docker.network.bridge.name";
    pub(crate) const DEFAULT: &str = "com.docker.network.bridge.default_bridge";
    pub(crate) const ICC: &str = "com.docker.network.bridge.enable_icc";
    pub(crate) const MASQUERADE: &str = "com.docker.network.bridge.enable_ip_masquerade";
    pub(crate) const HOST_BINDING: &str = "com.docker.network.bridge.host_binding_ipv4";
    pub(crate) const MTU: &str = "com.docker.network.driver.mtu";
    pub(crate) const PREFIX: &str = "com.docker.network.container_iface_prefix";
    pub(crate) const GATEWAY_MODE: &str = "com.docker.network.bridge.gateway_mode_ipv4";
    pub(crate) const GATEWAY_MODE_V6: &str = "com.docker.network.bridge.gateway_mode_ipv6";
    pub(crate) const INHIBIT: &str = "com.docker.network.bridge.inhibit_ipv4";
    pub(crate) const SOURCE_V4: &str = "com.docker.network.host_ipv4";
    pub(crate) const SOURCE_V6: &str = "com.docker.network.host_ipv6";
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Driver {
    Bridge,
    Host,
    Null,
}

impl Driver {
    pub(super) fn name(self) -> &'static str {
        match self {
            Driver::Bridge => "bridge",
            Driver::Host => "host",
            Driver::Null => "null",
        }
    }
}

/// What stands between a bridge's subnet of one family and everything else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GatewayMode {
    /// The host translates, both ways.
    Nat,
    /// The same, but whoever can route to the subnet reaches all of it.
    NatUnprotected,
    /// Nothing is translated: published ports are those of the containers' own addresses.
    Routed,
    /// The bridge has no address: not even the host is reached. Only for internal networks.
    Isolated,
}

impl GatewayMode {
    pub(super) fn parse(text: &str) -> Option<GatewayMode> {
        Some(match text {
            "" | "nat" => GatewayMode::Nat,
            "nat-unprotected" => GatewayMode::NatUnprotected,
            "routed" => GatewayMode::Routed,
            "isolated" => GatewayMode::Isolated,
            _ => return None,
        })
    }

    fn entry(self) -> Entry {
        match self {
            GatewayMode::Nat | GatewayMode::Isolated => Entry::Closed,
            GatewayMode::NatUnprotected => Entry::Open,
            GatewayMode::Routed => Entry::Routed,
        }
    }
}

/// A network as it was asked for, with its subnets chosen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Network {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) created: String,
    pub(crate) driver: Driver,
    pub(crate) enable_ipv4: bool,
    pub(crate) enable_ipv6: bool,
    pub(crate) internal: bool,
    pub(crate) attachable: bool,
    pub(crate) options: BTreeMap<String, String>,
    pub(crate) labels: BTreeMap<String, String>,
    /// As inspect shows it.
    pub(crate) ipam: Ipam,
    pub(crate) subnets: Vec<Subnet>,
    /// `bridge`, `host` and `none` are always there.
    #[serde(default)]
    pub(crate) predefined: bool,
    /// Nobody can be on it: others take what it says (`--config-from`).
    #[serde(default)]
    pub(crate) config_only: bool,
    /// Name of the network that this one was configured from.
    #[serde(default)]
    pub(crate) config_from: String,
}

impl store::records::Record for Network {
    const KIND: &'static str = "network";
    const VERSION: u32 = 1;
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Subnet {
    pub(crate) subnet: IpNet,
    /// Addresses are chosen from this part.
    pub(crate) range: Option<IpNet>,
    pub(crate) gateway: IpAddr,
    /// Where containers send what is not for the subnet, if not to the gateway.
    #[serde(default)]
    pub(crate) router: Option<IpAddr>,
    /// Never given to a container.
    pub(crate) reserved: Vec<IpAddr>,
    /// Named by who made the network: only then may containers name addresses in it.
    pub(crate) chosen: bool,
}

impl Network {
    /// Everything that a user may make, and may remove.
    pub(crate) fn is_user_defined(&self) -> bool {
        !self.predefined
    }

    pub(super) fn bridge_name(&self) -> String {
        self.options.get(option::NAME).cloned().unwrap_or_else(|| HostNames::bridge_of(&self.id))
    }

    pub(super) fn mtu(&self) -> Option<u32> {
        self.options.get(option::MTU).and_then(|mtu| mtu.parse().ok()).filter(|mtu| *mtu > 0)
    }

    /// With which the names of interfaces inside begin.
    pub(super) fn interface_prefix(&self) -> &str {
        self.options.get(option::PREFIX).map_or("eth", String::as_str)
    }

    /// Where published ports are reached that name no address; none means everywhere.
    pub(super) fn host_binding(&self) -> Option<IpAddr> {
        let address: IpAddr = self.options.get(option::HOST_BINDING)?.parse().ok()?;
        Some(address).filter(|address| !address.is_unspecified())
    }

    pub(super) fn icc(&self) -> bool {
        self.flag(option::ICC, true)
    }

    pub(super) fn gateway_mode(&self, v6: bool) -> GatewayMode {
        let key = if v6 { option::GATEWAY_MODE_V6 } else { option::GATEWAY_MODE };
        self.options.get(key).and_then(|mode| GatewayMode::parse(mode)).unwrap_or(GatewayMode::Nat)
    }

    /// Whether the bridge itself has the address of its gateway.
    pub(super) fn bridge_has_address(&self, v6: bool) -> bool {
        self.gateway_mode(v6) != GatewayMode::Isolated && (v6 || !self.flag(option::INHIBIT, false))
    }

    fn flag(&self, key: &str, default: bool) -> bool {
        self.options.get(key).and_then(|text| parse_flag(text)).unwrap_or(default)
    }

    /// The bridge on the host. `v6`: whether the firewall is to be set up for IPv6, too.
    pub(super) fn bridge(&self, v6: bool) -> Bridge {
        let gateway = |subnet: &Subnet| {
            let address = IpNet::new(subnet.gateway, subnet.subnet.prefix_len()).ok();
            address.filter(|address| self.bridge_has_address(address.addr().is_ipv6()))
        };
        let source = [option::SOURCE_V4, option::SOURCE_V6];
        Bridge {
            rules: BridgeRules {
                name: self.bridge_name(),
                subnets: self
                    .subnets
                    .iter()
                    .map(|subnet| subnet.subnet)
                    .filter(|subnet| v6 || subnet.addr().is_ipv4())
                    .collect(),
                icc: self.icc(),
                internal: self.internal,
                masquerade: self.flag(option::MASQUERADE, true),
                entry: self.gateway_mode(false).entry(),
                entry_v6: self.gateway_mode(true).entry(),
                source: source.iter().filter_map(|key| self.options.get(*key)?.parse().ok()).collect(),
            },
            addresses: self.subnets.iter().filter_map(gateway).collect(),
            mtu: self.mtu(),
        }
    }

    /// Without its containers.
    pub(super) fn inspect(&self) -> Inspect {
        Inspect {
            name: self.name.clone(),
            id: self.id.clone(),
            created: self.created.clone(),
            scope: "local".into(),
            driver: self.driver.name().into(),
            enable_ipv4: self.enable_ipv4,
            enable_ipv6: self.enable_ipv6,
            ipam: self.ipam.clone(),
            internal: self.internal,
            attachable: self.attachable,
            ingress: false,
            config_from: ConfigReference { network: self.config_from.clone() },
            config_only: self.config_only,
            containers: BTreeMap::new(),
            options: self.options.clone(),
            labels: self.labels.clone(),
            status: None,
        }
    }
}

/// As Go's `strconv.ParseBool`.
pub(super) fn parse_flag(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}
