//! The host's side: bridges, the veths that lead to containers, and the table that guards both.
//!
//! ```text
//!   start   create namespace ── attach (veth + port: one message; address, up, route: one batch) ── publish (elements)
//!   stop    unpublish ── detach (the port goes quiet) ── namespace closed; the kernel deletes the veth in its own time
//! ```
//!
//! Nothing here waits for a grace period of the kernel, but [`Host::disconnect`], which takes an interface from a
//! container that runs. A [`Host`] belongs to the network namespace of the thread that opened it, and is to be used
//! there. It remembers nothing of containers but the ports they hold; what stands is in the kernel and the records.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ipnet::IpNet;
use linux::Errno;
use linux::inet::Transport;
use linux::netlink::link::{self, Link, Mac, PortMode, Veth};
use linux::netlink::{Family, Socket, address, route};
use linux::nftables::Policy;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::firewall::{self, BridgeRules, Contents, Published};
use crate::namespace::{Namespace, within};
use crate::ports::{Request, Reserved, Table};
use crate::{Error, Result, foreign, sysctl};

/// What the engine calls its things on this host: engines with different runtime roots have different names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostNames {
    /// The nftables table.
    pub table: String,
    pub default_bridge: String,
    /// With which the names of veths on the host begin; eight hexadecimal digits follow.
    pub veth_prefix: String,
}

impl HostNames {
    /// `/run/wharf` is the runtime root that has the plain names.
    pub fn for_runtime_root(root: &Path) -> HostNames {
        if root == Path::new("/run/wharf") {
            return HostNames {
                table: "wharf".into(),
                default_bridge: "wharf0".into(),
                veth_prefix: "vwharf".into(),
            };
        }
        let hash = hex::encode(&Sha256::digest(root.as_os_str().as_encoded_bytes())[..4]);
        HostNames {
            table: format!("wharf-{hash}"),
            default_bridge: format!("wh{hash}"),
            // An interface's name has at most fifteen characters.
            veth_prefix: format!("v{}", &hash[..6]),
        }
    }

    /// The bridge of a user-defined network, unless its options name another.
    pub fn bridge_of(network_id: &str) -> String {
        format!("wh-{}", network_id.get(..12).unwrap_or(network_id))
    }
}

/// What the engine may change on the host beyond its own objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Use nftables at all. Without, published ports are relayed, and nothing is translated or kept apart.
    pub firewall: bool,
    /// Switch on forwarding when a bridge needs it.
    pub ip_forward: bool,
    /// When forwarding was off before, drop what is forwarded between other interfaces of the host, which was not
    /// forwarded before either.
    pub drop_other_forwarding: bool,
    /// What listens on the host by tcp and is nothing for containers, where the firewall is used.
    pub closed: Vec<SocketAddr>,
}

impl Default for Options {
    fn default() -> Options {
        Options { firewall: true, ip_forward: true, drop_other_forwarding: true, closed: Vec::new() }
    }
}

/// A network's bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bridge {
    pub rules: BridgeRules,
    /// The bridge's own addresses, each with its subnet's prefix length.
    pub addresses: Vec<IpNet>,
    pub mtu: Option<u32>,
}

/// An interface that a container gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub bridge: String,
    /// Its name inside: `eth0`, …
    pub interface: String,
    pub mac: Mac,
    /// Each with its subnet's prefix length.
    pub addresses: Vec<IpNet>,
    /// Where everything else goes; at most one per family. None if another interface has the default route.
    pub gateways: Vec<IpAddr>,
    pub mtu: Option<u32>,
    /// The bridge's containers may not speak to each other.
    pub isolated: bool,
    /// Settings of the kernel inside: paths beneath `/proc/sys`, and values.
    pub sysctls: Vec<(String, String)>,
}

/// An interface that a container has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attached {
    /// Inside.
    pub interface: String,
    /// On the host.
    pub host_interface: String,
}

/// The host's network, as one engine shapes it.
#[derive(Debug)]
pub struct Host {
    names: HostNames,
    options: Options,
    route: Mutex<Socket>,
    netfilter: Mutex<Socket>,
    ports: Mutex<Table>,
    bridges: Mutex<Vec<BridgeRules>>,
}

impl Host {
    pub fn open(names: HostNames, options: Options) -> Result<Host> {
        let doing = "cannot open the host's network";
        let socket = |family| Socket::open(family).map_err(|error| Error::kernel(doing, error));
        Ok(Host {
            names,
            options,
            route: Mutex::new(socket(Family::Route)?),
            netfilter: Mutex::new(socket(Family::Netfilter)?),
            ports: Mutex::default(),
            bridges: Mutex::default(),
        })
    }

    pub fn names(&self) -> &HostNames {
        &self.names
    }

    /// The engine's table as the records say, in one transaction; then the exceptions in other people's chains.
    /// Published ports are held from now on as if they had been reserved here. Warnings are for the log.
    pub fn rebuild(&self, bridges: &[Bridge], published: &[Published]) -> Result<Vec<String>> {
        point("rebuild the firewall")?;
        let mut warnings = Vec::new();
        let mut policy = None;
        if !bridges.is_empty() {
            policy = self.enable_forwarding(bridges.iter().any(has_ipv6))?;
        }
        let rules: Vec<BridgeRules> = bridges.iter().map(|bridge| bridge.rules.clone()).collect();
        if self.options.firewall {
            let mut socket = self.netfilter();
            let contents = Contents { bridges: &rules, published, listeners: &self.options.closed, policy };
            firewall::rebuild(&mut socket, &self.names.table, &contents)
                .map_err(|error| Error::kernel("cannot set up the firewall", error))?;
            warnings = self.update_exceptions(&mut socket, &rules)?;
        }
        *lock(&self.bridges) = rules;
        Ok(warnings)
    }

    /// Make a bridge, or bring the one that there is in line. Returns warnings for the log.
    pub fn ensure_bridge(&self, bridge: &Bridge) -> Result<Vec<String>> {
        let name = &bridge.rules.name;
        let failed = |error| Error::kernel(format!("cannot set up the bridge {name}"), error);
        point("make sure of a bridge")?;
        self.ensure_link(bridge).map_err(failed)?;
        linux::fault::passed("there is a bridge");
        let policy = self.enable_forwarding(has_ipv6(bridge))?;
        let mut bridges = lock(&self.bridges);
        // What the table says already is not touched: it must not be without it for a moment.
        if !self.options.firewall || bridges.contains(&bridge.rules) && policy.is_none() {
            return Ok(Vec::new());
        }
        bridges.retain(|other| other.name != *name);
        bridges.push(bridge.rules.clone());
        let mut socket = self.netfilter();
        // Elements first removed: an older one may say something else of the same bridge.
        firewall::remove_bridge(&mut socket, &self.names.table, &bridge.rules)
            .and_then(|()| firewall::add_bridge(&mut socket, &self.names.table, &bridge.rules))
            .and_then(|()| match policy {
                Some(policy) => firewall::set_policy(&mut socket, &self.names.table, policy),
                None => Ok(()),
            })
            .map_err(failed)?;
        self.update_exceptions(&mut socket, &bridges)
    }

    /// Remove a bridge and what refers to it.
    pub fn remove_bridge(&self, bridge: &BridgeRules) -> Result<()> {
        let failed = |error| Error::kernel(format!("cannot remove the bridge {}", bridge.name), error);
        point("remove a bridge")?;
        let mut bridges = lock(&self.bridges);
        bridges.retain(|other| other.name != bridge.name);
        if self.options.firewall {
            let mut socket = self.netfilter();
            firewall::remove_bridge(&mut socket, &self.names.table, bridge).map_err(failed)?;
            self.update_exceptions(&mut socket, &bridges)?;
        }
        match self.route().request(vec![link::delete(&bridge.name)]) {
            Err(error) if !error.is(Errno::NODEV) => Err(failed(error)),
            _ => Ok(()),
        }
    }

    /// Give a namespace an interface on a bridge.
    pub fn attach(&self, namespace: &Namespace, endpoint: &Endpoint) -> Result<Attached> {
        let failed = |error| {
            let Endpoint { interface, bridge, .. } = endpoint;
            Error::kernel(format!("cannot connect {interface} to the bridge {bridge}"), error)
        };
        point("attach an endpoint")?;
        let host_interface = self.add_veth(namespace, endpoint).map_err(failed)?;
        linux::fault::passed("an endpoint is there");
        match configure(namespace, endpoint) {
            Ok(()) => Ok(Attached { interface: endpoint.interface.clone(), host_interface }),
            Err(error) => {
                // The first error is the one to tell.
                let _ = self.route().request(vec![link::delete(&host_interface)]);
                Err(failed(error))
            }
        }
    }

    /// The container has ended: its port goes quiet at once, and the kernel deletes it when the namespace goes.
    pub fn detach(&self, attached: &Attached) -> Result<()> {
        let mut socket = self.route();
        let retire = |socket: &mut Socket| {
            let link = link::find(socket, &attached.host_interface)?;
            socket.request(vec![link::retire_port(link.index)])
        };
        match retire(&mut socket) {
            // Gone already, or on its way.
            Err(error)
                if !matches!(
                    error.errno(),
                    Errno::NODEV | Errno::INVAL | Errno::OPNOTSUPP | Errno::NETDOWN
                ) =>
            {
                Err(Error::kernel("cannot retire a bridge port", error))
            }
            _ => Ok(()),
        }
    }

    /// Take an interface from a container that runs. Waits for the kernel (10 ms and more).
    pub fn disconnect(&self, attached: &Attached) -> Result<()> {
        match self.route().request(vec![link::delete(&attached.host_interface)]) {
            Err(error) if !error.is(Errno::NODEV) => {
                Err(Error::kernel(format!("cannot remove {}", attached.host_interface), error))
            }
            _ => Ok(()),
        }
    }

    /// Lead the default route of one family to a gateway behind an interface; without one there is none.
    pub fn set_default_route(
        &self,
        namespace: &Namespace,
        v6: bool,
        way: Option<(IpAddr, &str)>,
    ) -> Result<()> {
        let mut socket = namespace.route();
        let set = |socket: &mut Socket| match way {
            Some((gateway, interface)) => {
                let index = link::find(socket, interface)?.index;
                socket.request(vec![route::set_default(gateway, index)])
            }
            None => match socket.request(vec![route::delete_default(v6)]) {
                // It went with its interface, or the family is switched off.
                Err(error) if matches!(error.errno(), Errno::SRCH | Errno::AFNOSUPPORT) => Ok(()),
                other => other,
            },
        };
        set(&mut socket).map_err(|error| Error::kernel("cannot set the default route", error))
    }

    /// Hold ports of the host for a container: all of them, or none.
    pub fn reserve(&self, requests: &[Request]) -> Result<Vec<Reserved>> {
        lock(&self.ports).reserve(requests, &linux::inet::bind)
    }

    /// Ports that a container holds since before this engine: its shim has the sockets.
    pub fn adopt(&self, transport: Transport, host: SocketAddr) {
        lock(&self.ports).adopt(transport, host);
    }

    pub fn release(&self, transport: Transport, host: SocketAddr) {
        lock(&self.ports).release(transport, host);
    }

    /// Translate what arrives at these ports.
    pub fn publish(&self, ports: &[Published]) -> Result<()> {
        if ports.is_empty() || !self.options.firewall {
            return Ok(());
        }
        point("publish ports")?;
        firewall::publish(&mut self.netfilter(), &self.names.table, ports)
            .map_err(|error| Error::kernel("cannot publish ports", error))?;
        // A flow of datagrams that came in before would for ever go where it went then.
        if ports.iter().any(|port| port.transport == Transport::Udp) {
            let is_new = |protocol, port| {
                let is = |host: SocketAddr| host.port() == port;
                ports.iter().any(|one| one.transport.number() == protocol && one.host.is_some_and(is))
            };
            self.forget(|original, _| {
                original.protocol == Transport::Udp.number()
                    && is_new(original.protocol, original.destination_port)
            })?;
        }
        Ok(())
    }

    pub fn unpublish(&self, ports: &[Published]) -> Result<()> {
        if ports.is_empty() || !self.options.firewall {
            return Ok(());
        }
        point("unpublish ports")?;
        firewall::unpublish(&mut self.netfilter(), &self.names.table, ports)
            .map_err(|error| Error::kernel("cannot unpublish ports", error))
    }

    /// Forget connections from and to addresses that are nobody's any more. Lists all connections of the host: to be
    /// done after the reply.
    pub fn forget_connections(&self, addresses: &[IpAddr]) -> Result<()> {
        self.forget(|original, reply| {
            addresses.contains(&original.source) || addresses.contains(&reply.source)
        })
    }

    /// The networks that the host has routes to, but for the default route: subnets must not overlap them.
    pub fn routes(&self) -> Result<Vec<IpNet>> {
        let routes =
            route::list(&mut self.route()).map_err(|error| Error::kernel("cannot list routes", error))?;
        let net = |route: &route::Route| IpNet::new(route.destination, route.prefix).ok();
        Ok(routes.iter().filter(|route| route.prefix > 0).filter_map(net).map(|net| net.trunc()).collect())
    }

    /// The addresses of a bridge that somebody else has made.
    pub fn addresses_of(&self, bridge: &str) -> Result<Vec<IpNet>> {
        let mut socket = self.route();
        let listed = link::find(&mut socket, bridge).and_then(|link| {
            let addresses = address::list(&mut socket)?;
            Ok(addresses.into_iter().filter(|one| one.index == link.index).collect::<Vec<_>>())
        });
        let listed =
            listed.map_err(|error| Error::kernel(format!("cannot use the bridge {bridge}"), error))?;
        let is_link_local = |one: &IpAddr| matches!(one, IpAddr::V6(v6) if v6.is_unicast_link_local());
        let nets = listed.iter().filter(|one| !is_link_local(&one.address));
        Ok(nets.filter_map(|one| IpNet::new(one.address, one.prefix).ok()).collect())
    }

    /// Delete veths of this engine that are not among those in use: what a crash between two steps has left.
    pub fn remove_strays(&self, used: &[Attached]) -> Result<()> {
        let mut socket = self.route();
        let listed =
            link::list(&mut socket).map_err(|error| Error::kernel("cannot list interfaces", error))?;
        for link in listed {
            if self.is_own(&link) && !used.iter().any(|one| one.host_interface == link.name) {
                delete_quietly(&mut socket, &link.name)?;
            }
        }
        Ok(())
    }

    /// Remove the table, the exceptions elsewhere, the default bridge and the given ones: for an engine that goes for
    /// good.
    pub fn remove_all(&self, bridges: &[&str]) -> Result<()> {
        lock(&self.bridges).clear();
        let mut socket = self.netfilter();
        self.update_exceptions(&mut socket, &[])?;
        firewall::delete(&mut socket, &self.names.table)
            .map_err(|error| Error::kernel("cannot remove the firewall table", error))?;
        let mut route = self.route();
        let default_bridge = self.names.default_bridge.as_str();
        bridges.iter().chain([&default_bridge]).try_for_each(|bridge| delete_quietly(&mut route, bridge))
    }

    fn forget(
        &self,
        matches: impl FnMut(&linux::conntrack::Tuple, &linux::conntrack::Tuple) -> bool,
    ) -> Result<()> {
        linux::conntrack::forget(&mut self.netfilter(), matches)
            .map(drop)
            .map_err(|error| Error::kernel("cannot forget connections", error))
    }

    fn update_exceptions(&self, socket: &mut Socket, bridges: &[BridgeRules]) -> Result<Vec<String>> {
        let names: Vec<&str> = bridges.iter().map(|bridge| bridge.name.as_str()).collect();
        foreign::update(socket, &self.names.table, &names)
            .map_err(|error| Error::kernel("cannot look for other firewalls", error))
    }

    /// Veths with our prefix and eight digits.
    fn is_own(&self, link: &Link) -> bool {
        let digits = link.name.strip_prefix(&self.names.veth_prefix);
        link.kind.as_deref() == Some("veth")
            && digits.is_some_and(|digits| {
                digits.len() == 8 && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
            })
    }

    fn ensure_link(&self, bridge: &Bridge) -> linux::Result<()> {
        let name = &bridge.rules.name;
        let mut socket = self.route();
        let link = match link::find(&mut socket, name) {
            Ok(link) if link.kind.as_deref() == Some("bridge") => link,
            Ok(_) => {
                return Err(linux::Error::new(
                    "RTM_GETLINK",
                    format_args!("{name} is no bridge"),
                    Errno::EXIST,
                ));
            }
            Err(error) if error.is(Errno::NODEV) => {
                socket.request(vec![link::add_bridge(name, crate::address::random_mac(), bridge.mtu)])?;
                link::find(&mut socket, name)?
            }
            Err(error) => return Err(error),
        };
        configure_bridge(bridge)?;
        let mut changes = Vec::new();
        for stale in address::list(&mut socket)?.iter().filter(|one| one.index == link.index) {
            let wanted = |net: &IpNet| net.addr() == stale.address && net.prefix_len() == stale.prefix;
            let link_local = matches!(stale.address, IpAddr::V6(v6) if v6.is_unicast_link_local());
            if !link_local && !bridge.addresses.iter().any(wanted) {
                changes.push(address::delete(link.index, stale.address, stale.prefix));
            }
        }
        changes.extend(
            bridge.addresses.iter().map(|net| address::add(link.index, net.addr(), net.prefix_len())),
        );
        if let Some(mtu) = bridge.mtu.filter(|mtu| *mtu != link.mtu) {
            changes.push(link::set_mtu(link.index, mtu));
        }
        changes.push(link::set_up(link.index));
        socket.request(changes)
    }

    fn add_veth(&self, namespace: &Namespace, endpoint: &Endpoint) -> linux::Result<String> {
        use std::os::fd::AsFd;
        let mut random = [0; 4];
        getrandom::fill(&mut random)
            .map_err(|_| linux::Error::new("getrandom", "the name of a veth", Errno::IO))?;
        let host = format!("{}{}", self.names.veth_prefix, hex::encode(random));
        let mut socket = self.route();
        let bridge = link::find(&mut socket, &endpoint.bridge)?;
        let veth = Veth {
            host: &host,
            bridge: bridge.index,
            inside: &endpoint.interface,
            namespace: namespace.as_fd(),
            mac: endpoint.mac,
            mtu: endpoint.mtu,
        };
        socket.request(vec![link::add_veth(veth)])?;
        // Where bridged packets go through the firewall (br_netfilter), that keeps containers apart, and translated
        // packets may have to leave by the port they came in by. Elsewhere the ports themselves are kept apart.
        let filtered = sysctl::get("net/bridge/bridge-nf-call-iptables").is_ok_and(|value| value == "1");
        let mode = match (filtered, endpoint.isolated) {
            (true, _) => PortMode::Hairpin,
            (false, true) => PortMode::Isolated,
            (false, false) => PortMode::Plain,
        };
        // A port passes frames on and is nobody's address. With one it would have routes, too, and the kernel goes through
        // all routes of the host whenever an interface comes or goes: each start would pay for all that stand.
        let opened = sysctl::set_if_there(&format!("net/ipv6/conf/{host}/disable_ipv6"), "1")
            .and_then(|()| socket.request(vec![link::open_port(&host, mode)]));
        if opened.is_err() {
            // The first error is the one to tell.
            let _ = socket.request(vec![link::delete(&host)]);
        }
        opened.map(|()| host)
    }

    /// Forwarding, if it is off. The policy that the table gets when the host forwards only because of us.
    fn enable_forwarding(&self, v6: bool) -> Result<Option<Policy>> {
        let mut keys = vec!["net/ipv4/ip_forward"];
        keys.extend(v6.then_some("net/ipv6/conf/all/forwarding"));
        let mut policy = None;
        for key in keys {
            let failed = |error| Error::kernel("cannot switch on forwarding", error);
            if !self.options.ip_forward || sysctl::get(key).map_err(failed)? != "0" {
                continue;
            }
            sysctl::set(key, "1").map_err(failed)?;
            if self.options.drop_other_forwarding && self.options.firewall {
                policy = Some(Policy::Drop);
            }
        }
        Ok(policy)
    }

    fn route(&self) -> MutexGuard<'_, Socket> {
        lock(&self.route)
    }

    fn netfilter(&self) -> MutexGuard<'_, Socket> {
        lock(&self.netfilter)
    }
}

/// A panic elsewhere leaves sockets and tables usable: each request stands for itself.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A change of the host is about to be made.
fn point(name: &'static str) -> Result<()> {
    linux::fault::point(name).map_err(|error| Error::kernel(name, error))
}

fn has_ipv6(bridge: &Bridge) -> bool {
    bridge.addresses.iter().any(|address| address.addr().is_ipv6())
}

fn delete_quietly(socket: &mut Socket, name: &str) -> Result<()> {
    match socket.request(vec![link::delete(name)]) {
        Err(error) if !error.is(Errno::NODEV) => Err(Error::kernel(format!("cannot remove {name}"), error)),
        _ => Ok(()),
    }
}

/// Routes to 127/8 for the translation of 127.0.0.1; no IPv6 where there is none, and no routers to be learned. The
/// link-local address, by which the bridge asks for neighbours, is not looked for twice: that takes a second or two, in
/// which what comes from outside would find no container.
fn configure_bridge(bridge: &Bridge) -> linux::Result<()> {
    let name = &bridge.rules.name;
    sysctl::set(&format!("net/ipv4/conf/{name}/route_localnet"), "1")?;
    sysctl::set_if_there(&format!("net/ipv6/conf/{name}/accept_ra"), "0")?;
    sysctl::set_if_there(&format!("net/ipv6/conf/{name}/accept_dad"), "0")?;
    let disabled = if has_ipv6(bridge) { "0" } else { "1" };
    sysctl::set_if_there(&format!("net/ipv6/conf/{name}/disable_ipv6"), disabled)
}

/// The container's end: addresses before it is up, so that it announces them; routes after.
fn configure(namespace: &Namespace, endpoint: &Endpoint) -> linux::Result<()> {
    if endpoint.addresses.iter().any(|address| address.addr().is_ipv6()) {
        let key = format!("net/ipv6/conf/{}/disable_ipv6", endpoint.interface);
        within(namespace, || sysctl::Inside::visit()?.set(&key, "0"))?;
    }
    if !endpoint.sysctls.is_empty() {
        within(namespace, || {
            let settings = sysctl::Inside::visit()?;
            endpoint.sysctls.iter().try_for_each(|(path, value)| settings.set(path, value))
        })?;
    }
    let mut socket = namespace.route();
    let index = link::find(&mut socket, &endpoint.interface)?.index;
    let addresses = endpoint.addresses.iter().map(|net| address::add(index, net.addr(), net.prefix_len()));
    let gateways = endpoint.gateways.iter().map(|gateway| route::set_default(*gateway, index));
    socket.request(addresses.chain([link::set_up(index)]).chain(gateways).collect())
}
