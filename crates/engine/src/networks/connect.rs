//! Containers change networks: those that run at once, others when they start.

use std::net::IpAddr;

use api::network::EndpointSettings;
use ipnet::IpNet;
use shim::protocol::Request;

use super::publish::Bound;
use super::record::{Network, Subnet};
use super::run::{Endpoint, Run, clear, parse_mac};
use super::{Joined, Networks, table};
use crate::Engine;
use crate::container::{Live, Record};
use crate::effects::Inside;
use crate::error::{Error, Result};
use crate::spec::other;

impl Networks {
    /// Puts a container on a network. True if it came to it just now.
    pub(super) fn connect(
        &self,
        engine: &Engine,
        record: &mut Record,
        live: Option<&Live>,
        network: &Network,
        wish: EndpointSettings,
    ) -> Result<bool> {
        if record.host.network_mode == "host" || other(&record.host.network_mode).is_some() {
            return Err(Error::invalid(
                "container sharing network namespace with another container or host cannot be connected to any other network",
            ));
        }
        match network.name.as_str() {
            "host" => {
                return Err(Error::invalid(
                    "cannot connect container to host network - container must be created in host network mode",
                ));
            }
            name if alone(record, name) => return Err(only_none()),
            _ => check_wish(network, &wish)?,
        }
        if live.is_some() && self.is_member(record, network) {
            if !record.network.endpoints.contains_key(&network.name) {
                // Somebody asked before, and all was done but the record of it.
                record.network.endpoints.insert(network.name.clone(), wish);
                self.run(record)?.show(record);
                return Ok(true);
            }
            return Err(Error::forbidden(format!(
                "endpoint with name {} already exists in network {}",
                record.name, network.name
            )));
        }
        let before = record.network.endpoints.insert(network.name.clone(), wish);
        let Some(live) = live else {
            show_names(record, network);
            return Ok(false);
        };
        self.connect_running(engine, record, live, network).inspect_err(|_| match before {
            Some(before) => drop(record.network.endpoints.insert(network.name.clone(), before)),
            None => drop(record.network.endpoints.remove(&network.name)),
        })?;
        Ok(true)
    }

    fn connect_running(
        &self,
        engine: &Engine,
        record: &mut Record,
        live: &Live,
        network: &Network,
    ) -> Result<()> {
        let namespace = self.host.namespace_of(live.pid)?;
        let before = self.run(record)?;
        let written = self.told(record, &before);
        let mut run = before.clone();
        run.endpoints.push(self.place(record, &network.name, free_number(&run, network))?);
        let index = run.endpoints.len() - 1;
        let done = self
            .attach(namespace.as_ref(), &mut run, index)
            .and_then(|()| self.announce(record, &run))
            .and_then(|()| self.reroute(record, live, &before, &mut run))
            .and_then(|ports| self.settle(engine, record, live, &written, run.clone(), ports));
        if let Err(error) = done {
            self.put_back(engine, record, live, before, &run);
            let _ = self.leave_network(record.id.as_str(), &run.endpoints[index], true);
            if let Some(entry) = self.state().table.networks.get_mut(&network.id) {
                entry.leave(record.id.as_str());
            }
            return Err(error);
        }
        Ok(())
    }

    /// After an error, which is the one to tell: what cannot be undone goes with the container.
    fn put_back(&self, engine: &Engine, record: &mut Record, live: &Live, mut before: Run, run: &Run) {
        let ports = self.reroute(record, live, run, &mut before).unwrap_or_else(|_| Some(Vec::new()));
        let written = self.told(record, run);
        let _ = self.settle(engine, record, live, &written, before, ports);
    }

    /// Takes a container off a network. True if it was on it just now.
    pub(super) fn disconnect(
        &self,
        engine: &Engine,
        record: &mut Record,
        live: Option<&Live>,
        network: &Network,
    ) -> Result<bool> {
        if record.host.network_mode == "host" {
            return Err(Error::invalid(
                "cannot disconnect container from host network - container was created in host network mode",
            ));
        }
        let Some(live) = live else { return forget(record, &network.name).map(|()| false) };
        if !self.is_member(record, network) {
            if record.network.endpoints.remove(&network.name).is_some() {
                // The same here.
                self.run(record)?.show(record);
                return Ok(true);
            }
            return Err(Error::system(format!(
                "container {} is not connected to network {}",
                record.id, network.name
            )));
        }
        let before = self.run(record)?;
        let written = self.told(record, &before);
        let mut run = before.clone();
        let Some(index) = run.endpoints.iter().position(|endpoint| endpoint.network == network.id) else {
            return Err(Error::system(format!(
                "container {} is not connected to network {}",
                record.id, network.name
            )));
        };
        let endpoint = run.endpoints.remove(index);
        let ports = match self.reroute(record, live, &before, &mut run) {
            Ok(ports) => ports,
            Err(error) => {
                self.put_back(engine, record, live, before, &run);
                return Err(error);
            }
        };
        // Written down before it is done: should we be killed, the next engine removes the interface as nobody's.
        let path = self.paths.network_run(record.id.as_str());
        let left = Run { unsettled: ports.is_some(), ..run.clone() }
            .save(&path)
            .and_then(|()| self.leave_network(record.id.as_str(), &endpoint, true));
        if let Err(error) = left {
            self.put_back(engine, record, live, before, &run);
            return Err(error);
        }
        if let Some(entry) = self.state().table.networks.get_mut(&network.id) {
            entry.leave(record.id.as_str());
        }
        record.network.endpoints.remove(&network.name);
        self.state().runs.insert(record.id.to_string(), run.clone());
        if !before.ports.is_empty() {
            self.forget_connections_of(&endpoint);
        }
        if let Err(error) = self.settle(engine, record, live, &written, run, ports) {
            // It is off the network, and that is the answer: its files say so at its next change or start.
            tracing::warn!(container = %record.id, %error, "cannot tell a container that it left a network");
        }
        Ok(true)
    }

    /// What still comes for an endpoint that is gone must not reach the next who has its address.
    fn forget_connections_of(&self, endpoint: &Endpoint) {
        let addresses = endpoint.interface.iter().flat_map(|interface| &interface.addresses);
        let addresses: Vec<IpAddr> = addresses.map(|net| net.addr()).collect();
        if let Err(error) = self.host.forget_connections(&addresses) {
            tracing::warn!(network = endpoint.network_name, %error, "connections go on to an address that is given back");
        }
    }

    fn is_member(&self, record: &Record, network: &Network) -> bool {
        let state = self.state();
        state
            .table
            .networks
            .get(&network.id)
            .is_some_and(|entry| entry.members.contains_key(record.id.as_str()))
    }

    fn run(&self, record: &Record) -> Result<Run> {
        let state = self.state();
        let run = state.runs.get(record.id.as_str()).cloned();
        run.ok_or_else(|| {
            Error::system(format!("nothing is known of the network of container {}", record.id))
        })
    }

    /// The way out may be another one now: the default routes lead there, and published ports with them. None if nothing has
    /// changed, otherwise the sockets that the shim has to get.
    fn reroute(
        &self,
        record: &Record,
        live: &Live,
        before: &Run,
        run: &mut Run,
    ) -> Result<Option<Vec<Bound>>> {
        let way_out = |run: &Run, v6| run.gateway(v6).map(|endpoint| endpoint.id.clone());
        let changed: Vec<bool> =
            [false, true].into_iter().filter(|v6| way_out(before, *v6) != way_out(run, *v6)).collect();
        if changed.is_empty() {
            return Ok(None);
        }
        // Should we be killed, the next engine makes it true.
        let known = Run { unsettled: true, ..before.clone() };
        known.save(&self.paths.network_run(record.id.as_str()))?;
        let namespace = self.host.namespace_of(live.pid)?;
        for v6 in changed {
            self.lead_out(namespace.as_ref(), run, v6)?;
        }
        self.move_ports(record, live, before, run).map(Some)
    }

    /// The default route of one family.
    fn lead_out(&self, namespace: &dyn Inside, run: &Run, v6: bool) -> Result<()> {
        let interface = run.gateway(v6).and_then(|endpoint| endpoint.interface.as_ref());
        let name = interface.map_or("", |interface| interface.name.as_str());
        let gateway = interface.and_then(|interface| interface.gateway(v6));
        self.host.set_default_route(namespace, v6, gateway.map(|gateway| (gateway, name)))?;
        Ok(())
    }

    /// Tells a container and its shim what an earlier engine had written down of their way out, and may not have done.
    pub(crate) fn settle_again(&self, record: &Record, live: &Live) -> Result<()> {
        let mut run = self.run(record)?;
        self.tell_ports(live, &run, Vec::new())?;
        let namespace = self.host.namespace_of(live.pid)?;
        for v6 in [false, true] {
            self.lead_out(namespace.as_ref(), &run, v6)?;
        }
        run.unsettled = false;
        self.keep(record, run)
    }

    /// A running container has lost a link that it had `before`: its files say so.
    pub(crate) fn unlinked(
        &self,
        engine: &Engine,
        before: &Record,
        record: &mut Record,
        live: &Live,
    ) -> Result<()> {
        let run = self.run(record)?;
        if run.endpoints.is_empty() {
            return Ok(());
        }
        let written = self.told(before, &run);
        self.settle(engine, record, live, &written, run, None)
    }

    /// What the files of a container were made from. Nothing if that cannot be said any more: then its own lines stay.
    fn told(&self, record: &Record, run: &Run) -> Joined {
        let mut joined = Joined::default();
        if let Err(error) = self.tell(record, run, &mut joined) {
            tracing::debug!(container = %record.id, %error, "what a container was told cannot be told again");
        }
        joined
    }

    /// The container learns of the change: names, files, what inspect shows, and what a later engine will read.
    fn settle(
        &self,
        engine: &Engine,
        record: &mut Record,
        live: &Live,
        written: &Joined,
        mut run: Run,
        ports: Option<Vec<Bound>>,
    ) -> Result<()> {
        record.network.endpoints.values_mut().for_each(clear);
        run.show(record);
        let mut joined = Joined::default();
        self.tell(record, &run, &mut joined)?;
        run.unsettled = ports.is_some();
        self.keep(record, run.clone())?;
        crate::container::rewrite_files(engine, record, written, &joined)?;
        live.request(&Request::Names(joined.names.unwrap_or_default()), &[])?;
        let Some(new) = ports else { return Ok(()) };
        self.tell_ports(live, &run, new)?;
        run.unsettled = false;
        self.keep(record, run)
    }

    fn keep(&self, record: &Record, run: Run) -> Result<()> {
        run.save(&self.paths.network_run(record.id.as_str()))?;
        self.state().runs.insert(record.id.to_string(), run);
        Ok(())
    }
}

/// Takes a container that does not run off a network that may be gone: all that is left of it here is its name.
pub(super) fn forget(record: &mut Record, network: &str) -> Result<()> {
    match record.network.endpoints.remove(network) {
        Some(_) => Ok(()),
        None => {
            Err(Error::system(format!("container {} is not connected to the network {network}", record.id)))
        }
    }
}

/// What a container that does not run will be called on a network shows already, as with Docker.
fn show_names(record: &mut Record, network: &Network) {
    let wish = record.network.endpoints.get(&network.name).filter(|_| network.is_user_defined());
    let Some(aliases) = wish.map(|wish| wish.aliases.clone().unwrap_or_default()) else { return };
    let names = table::names(record, &aliases);
    if let Some(settings) = record.network.endpoints.get_mut(&network.name) {
        settings.dns_names = Some(names);
    }
}

/// Whether a container cannot come to `network` because it is on `none` and another one then.
fn alone(record: &Record, network: &str) -> bool {
    let mut others = record.network.endpoints.keys().filter(|name| *name != network);
    others.any(|other| network == "none" || other == "none")
}

fn only_none() -> Error {
    Error::invalid(
        "container cannot be connected to multiple networks with one of the networks in private (none) mode",
    )
}

/// The lowest number that no interface of the run has.
fn free_number(run: &Run, network: &Network) -> usize {
    let prefix = network.interface_prefix();
    let used = |number: &usize| {
        let name = format!("{prefix}{number}");
        run.endpoints.iter().any(|endpoint| endpoint.interface.as_ref().is_some_and(|one| one.name == name))
    };
    (0..).find(|number| !used(number)).unwrap_or(0)
}

/// An address that means something on its link only, with the prefix that all of these have.
pub(super) fn link_local(text: &str) -> Result<IpNet> {
    const PREFIX: u8 = 16;
    const PREFIX_V6: u8 = 64;
    let (local, prefix) = match text.parse() {
        Ok(IpAddr::V4(address)) => (address.is_link_local(), PREFIX),
        Ok(IpAddr::V6(address)) => (address.is_unicast_link_local(), PREFIX_V6),
        Err(_) => (false, PREFIX),
    };
    let net = text.parse().ok().filter(|_| local).and_then(|address| IpNet::new(address, prefix).ok());
    net.ok_or_else(|| Error::invalid(format!("invalid link local IP address: {text}")))
}

/// Settings of the kernel for one interface, as paths beneath `/proc/sys`: `net.ipv4.conf.IFNAME.forwarding=1,…`.
pub(super) fn sysctls(text: &str, interface: &str) -> Result<Vec<(String, String)>, String> {
    // Clients older than 28.3 write all of it in lower case.
    let is_place = |part: &&str| part.eq_ignore_ascii_case("IFNAME");
    let parse = |setting: &str| {
        let (key, value) = setting.split_once('=')?;
        let mut parts: Vec<&str> = key.trim().split('.').collect();
        let proper = matches!(parts[..], ["net", "ipv4" | "ipv6" | "mpls", _, _, _])
            && parts.iter().position(is_place) == Some(3)
            && parts.iter().all(|part| !part.is_empty() && !part.contains('/'));
        parts.get_mut(3).filter(|_| proper).map(|place| *place = interface)?;
        Some((parts.join("/"), value.trim().to_owned()))
    };
    let read = |setting: &str| {
        parse(setting).ok_or_else(|| {
            format!(
                "unrecognised network interface sysctl '{setting}'; represent 'net.X.Y.ethN.Z=V' as \
                 'net.X.Y.IFNAME.Z=V', 'X' must be 'ipv4', 'ipv6' or 'mpls'"
            )
        })
    };
    text.split(',').filter(|setting| !setting.trim().is_empty()).map(read).collect()
}

/// Options of endpoints that drivers know begin so.
const OF_DRIVERS: &str = "com.docker.network.";

/// Why a network cannot give out an address that is asked for, if it cannot: only subnets of that family count that
/// somebody has configured, be it for one network or, in the engine's configuration, for the default bridge.
fn outside(network: &Network, v6: bool, text: &str) -> Option<String> {
    let configured = |one: &&Subnet| (one.chosen || network.predefined) && one.subnet.addr().is_ipv6() == v6;
    let mut subnets = network.subnets.iter().filter(configured).peekable();
    if subnets.peek().is_none() {
        return Some(
            "user specified IP address is supported only when connecting to networks with user configured subnets"
                .into(),
        );
    }
    let inside = text.parse().is_ok_and(|address: IpAddr| subnets.any(|one| one.subnet.contains(&address)));
    (!inside).then(|| format!("no configured subnet or ip-range contain the IP address {text}"))
}

/// What a container may wish of a network.
pub(super) fn check_wish(network: &Network, wish: &EndpointSettings) -> Result<()> {
    let mut problems: Vec<String> = Vec::new();
    let ipam = wish.ipam_config.clone().unwrap_or_default();
    let families = [(false, &ipam.ipv4_address), (true, &ipam.ipv6_address)];
    let wished: Vec<(bool, &str)> =
        families.iter().map(|(v6, text)| (*v6, text.as_str())).filter(|(_, text)| !text.is_empty()).collect();
    // In Docker's order: what a predefined network refuses, what cannot be read, what the network does not have.
    if !network.is_user_defined() {
        if !wished.is_empty() {
            problems.push("user specified IP address is supported on user defined networks only".into());
        }
        if wish.aliases.as_ref().is_some_and(|aliases| !aliases.is_empty()) {
            problems.push(
                "network-scoped alias is supported only for containers in user defined networks".into(),
            );
        }
    }
    for (v6, text) in &wished {
        if !text.parse::<IpAddr>().is_ok_and(|address| address.is_ipv6() == *v6) {
            let family = if *v6 { "IPv6" } else { "IPv4" };
            problems.push(format!("invalid {family} address: {text}"));
        }
    }
    for text in &ipam.link_local_ips {
        if text.parse::<IpAddr>().is_err() {
            problems.push(format!("invalid link-local IP address: {text}"));
        }
    }
    problems.extend(wished.iter().filter_map(|(v6, text)| outside(network, *v6, text)));
    if !wish.mac_address.is_empty() && parse_mac(&wish.mac_address).is_err() {
        return Err(Error::invalid(format!("invalid MAC address {}", wish.mac_address)));
    }
    for (key, value) in wish.driver_opts.iter().flatten() {
        match key.as_str() {
            table::INTERFACE_NAME if super::create::is_interface_name(value) => {}
            table::SYSCTLS => problems.extend(sysctls(value, "IFNAME").err()),
            // Docker's own words for a driver mean something to it; any others are kept and shown, as Docker does.
            _ if !key.starts_with(OF_DRIVERS) => {}
            _ => problems.push(format!("the endpoint option {key}={value} is not supported")),
        }
    }
    match problems.as_slice() {
        [] => Ok(()),
        [only] => Err(Error::invalid(format!("invalid endpoint settings:\n{only}"))),
        several => Err(Error::invalid(format!("invalid endpoint settings:\n* {}", several.join("\n* ")))),
    }
}

#[cfg(test)]
mod tests {
    use api::network::EndpointIpam;

    use super::super::table::tests::network;
    use super::*;
    use crate::container::test_record as record;

    #[test]
    fn wishes_that_cannot_be_fulfilled() {
        let mut net = network("backend", &[("10.0.0.0/24", "10.0.0.1")]);
        let wish = |v4: &str, aliases: &[&str]| EndpointSettings {
            ipam_config: Some(EndpointIpam { ipv4_address: v4.into(), ..Default::default() }),
            aliases: Some(aliases.iter().map(|alias| (*alias).to_owned()).collect()),
            ..Default::default()
        };
        let told = |net: &Network, wish: EndpointSettings| {
            check_wish(net, &wish)
                .map_err(|error| error.to_string().replace("invalid endpoint settings:\n", ""))
        };
        assert_eq!(told(&net, wish("10.0.0.9", &["db"])), Ok(()));
        let outside =
            |address: &str| format!("no configured subnet or ip-range contain the IP address {address}");
        for wrong in ["x", "fd00::1"] {
            let both = format!("* invalid IPv4 address: {wrong}\n* {}", outside(wrong));
            assert_eq!(told(&net, wish(wrong, &[])), Err(both));
        }
        let six = EndpointIpam { ipv6_address: "fd00::9".into(), ..Default::default() };
        let six = EndpointSettings { ipam_config: Some(six), ..Default::default() };
        assert!(told(&net, six).unwrap_err().ends_with("networks with user configured subnets"));
        assert_eq!(told(&net, wish("10.9.0.1", &[])), Err(outside("10.9.0.1")));
        net.subnets[0].chosen = false;
        assert!(told(&net, wish("10.0.0.9", &[])).unwrap_err().contains("user configured subnets"));
        net.predefined = true;
        let several = [
            "* user specified IP address is supported on user defined networks only",
            "* network-scoped alias is supported only for containers in user defined networks",
            "* no configured subnet or ip-range contain the IP address 10.9.0.1",
        ];
        assert_eq!(told(&net, wish("10.9.0.1", &["db"])), Err(several.join("\n")));
        assert_eq!(told(&net, wish("10.0.0.9", &[])), Err(several[0].replace("* ", "")));
        let mac = EndpointSettings { mac_address: "zz".into(), ..Default::default() };
        assert_eq!(told(&net, mac), Err("invalid MAC address zz".into()));
    }

    #[test]
    fn who_is_on_none_is_nowhere_else() {
        let mut record = record("web");
        assert!(!alone(&record, "none") && !alone(&record, "backend"));
        record.network.endpoints.insert("none".into(), Default::default());
        assert!(alone(&record, "backend") && !alone(&record, "none"));
        forget(&mut record, "none").unwrap();
        record.network.endpoints.insert("backend".into(), Default::default());
        assert!(alone(&record, "none") && !alone(&record, "frontend"));
        assert!(forget(&mut record, "none").unwrap_err().message().ends_with("to the network none"));
    }

    #[test]
    fn names_show_before_the_first_start() {
        let mut record = record("web");
        let mut net = network("backend", &[("10.0.0.0/24", "10.0.0.1")]);
        let wish = EndpointSettings { aliases: Some(vec!["www".into()]), ..Default::default() };
        record.network.endpoints.insert("backend".into(), wish);
        let shown = |record: &Record| record.network.endpoints["backend"].dns_names.clone();
        net.predefined = true;
        show_names(&mut record, &net);
        assert_eq!(shown(&record), None);
        net.predefined = false;
        show_names(&mut record, &net);
        assert_eq!(shown(&record).unwrap()[..2], ["web", "www"]);
    }

    #[test]
    fn addresses_of_a_link_are_no_others() {
        assert_eq!(link_local("169.254.8.8").unwrap().to_string(), "169.254.8.8/16");
        assert_eq!(link_local("fe80::5").unwrap().to_string(), "fe80::5/64");
        for text in ["1.2.3.4", "fec0::1", "x"] {
            let told = format!("invalid link local IP address: {text}");
            assert_eq!(link_local(text).unwrap_err().message(), told);
        }
    }

    #[test]
    fn settings_of_an_interface() {
        let read = |text: &str| sysctls(text, "eth0.5");
        let one = |path: &str, value: &str| (path.to_owned(), value.to_owned());
        assert_eq!(
            read("net.ipv4.conf.IFNAME.log_martians=1,net.ipv6.conf.ifname.accept_ra=2").unwrap(),
            [one("net/ipv4/conf/eth0.5/log_martians", "1"), one("net/ipv6/conf/eth0.5/accept_ra", "2")]
        );
        assert_eq!(read("").unwrap(), []);
        for wrong in [
            "net.ipv4.ip_forward=1",
            "net.ipv4.conf.eth0.forwarding=1",
            "kernel.x.y.IFNAME.z=1",
            "net.ipv4.conf.IFNAME.forwarding",
            "net.ipv4./../.IFNAME.x=1",
        ] {
            assert!(read(wrong).unwrap_err().starts_with("unrecognised network interface sysctl"), "{wrong}");
        }
    }

    #[test]
    fn interfaces_fill_gaps() {
        let net = network("backend", &[("10.0.0.0/24", "10.0.0.1")]);
        let mut run = Run::default();
        assert_eq!(free_number(&run, &net), 0);
        run.endpoints.push(super::super::run::tests::endpoint("a", &["10.0.0.2/24"], &[]));
        assert_eq!(free_number(&run, &net), 1);
    }
}
