//! Published ports of a run: they belong to the endpoint that leads out.
//!
//! ```text
//!   no way out         nothing is held, and others may have the ports
//!   another way out    the same ports lead there; taken anew where that network publishes in another manner
//! ```
//!
//! Bound sockets are the shim's. It is told of every change, and answers which of the ports it does not hold: so an engine
//! that was killed in the middle of a change is followed by one that finishes it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

use network::Published;
use network::ports::{HostPorts, Request as PortRequest, Reserved};
use shim::protocol::{HostPort, Reply, Request};

use super::record::GatewayMode;
use super::run::{Port, Run};
use super::{Networks, ports};
use crate::container::{Live, Record};
use crate::error::{Error, ErrorKind, Result};

/// A port with its socket, for the shim.
pub(crate) type Bound = (HostPort, OwnedFd);

/// What of the network that leads out decides how ports are published.
#[derive(Debug, PartialEq)]
struct Manner {
    defaults: ports::Defaults,
    /// IPv4 and IPv6: containers are reached at their own addresses.
    routed: [bool; 2],
}

impl Networks {
    /// Other containers that hold a port which this one asks for by its number. One of them may have ended already.
    pub(crate) fn holders(&self, record: &Record) -> Vec<String> {
        let anywhere = ports::Defaults { address: None, everywhere: Vec::new() };
        // What is wrong with a request is told by the start.
        let requests = ports::requests(&record.host, std::iter::empty(), &anywhere).unwrap_or_default();
        if requests.is_empty() {
            return Vec::new();
        }
        let asked = |port: &Port| {
            requests.iter().any(|request| match &request.ports {
                HostPorts::Within(range) => {
                    request.transport == port.transport() && range.contains(&port.host.port())
                }
                HostPorts::Any => false,
            })
        };
        let state = self.state();
        let others = state.runs.iter().filter(|(id, _)| *id != record.id.as_str());
        others.filter(|(_, run)| run.ports.iter().any(asked)).map(|(id, _)| id.clone()).collect()
    }

    /// Holds the ports that the container publishes, if it has a way out.
    pub(super) fn take_ports(&self, record: &Record, run: &mut Run) -> Result<Vec<Bound>> {
        let Some(manner) = self.manner(run)? else { return Ok(Vec::new()) };
        let placed = |run: &Run, error: Error| {
            let endpoint = run.gateway(false).or(run.gateway(true)).map_or("", |endpoint| &endpoint.id);
            error.within(format!(
                "driver failed programming external connectivity on endpoint {} ({endpoint})",
                record.name
            ))
        };
        let mut requests =
            ports::requests(&record.host, record.config.exposed_ports.keys(), &manner.defaults)
                .map_err(|error| placed(run, error))?;
        let routed = |address: &IpAddr| manner.routed[usize::from(address.is_ipv6())];
        for request in &mut requests {
            let (direct, hosts): (Vec<_>, Vec<_>) = request.hosts.drain(..).partition(routed);
            let direct: Vec<Port> =
                direct.iter().map(|address| directly(request, address.is_ipv6())).collect();
            run.ports.extend(direct);
            request.hosts = hosts;
        }
        requests.retain(|request| !request.hosts.is_empty());
        let reserved = self.host.reserve(&requests).map_err(|error| {
            placed(run, refused(error, &requests, run.target(false).or(run.target(true))))
        })?;
        let mut bound = Vec::new();
        for Reserved { transport, host, container_port, socket } in reserved {
            let direct = self.network.allow_direct_routing;
            run.ports.push(Port {
                transport: transport.name().to_owned(),
                host,
                container_port,
                target: None,
                direct,
            });
            bound.extend(socket.map(|socket| (host, transport, socket)));
        }
        self.lead(run);
        let with_port = |(host, transport, socket)| {
            let port = run.ports.iter().find(|port| (port.host, port.transport()) == (host, transport))?;
            Some((self.host_port(run, port, true), socket))
        };
        Ok(bound.into_iter().filter_map(with_port).collect())
    }

    fn manner(&self, run: &Run) -> Result<Option<Manner>> {
        let Some(gateway) = run.gateway(false).or(run.gateway(true)) else { return Ok(None) };
        let network = self.network(&gateway.network)?;
        let binding = network.host_binding().or(self.network.publish_address);
        let ipv6 = run.target(true).is_some() || self.network.relay;
        Ok(Some(Manner {
            defaults: ports::Defaults {
                address: binding.filter(|address| !address.is_unspecified()),
                everywhere: network::ports::everywhere(ipv6),
            },
            routed: [false, true].map(|v6| network.gateway_mode(v6) == GatewayMode::Routed),
        }))
    }

    /// The kernel leads ports to the container where it can.
    fn lead(&self, run: &mut Run) {
        let allowed = |v6: bool| self.network.firewall && (!v6 || self.network.firewall_v6);
        let targets = [false, true].map(|v6| run.target(v6));
        for port in &mut run.ports {
            let v6 = port.host.is_ipv6();
            // Nothing is translated on the way to a container's own address.
            let address = targets[usize::from(v6)].filter(|_| !port.is_held() || allowed(v6));
            port.target = address.map(|address| (address, port.container_port).into());
        }
    }

    fn host_port(&self, run: &Run, port: &Port, new: bool) -> HostPort {
        let relay = self.relayed(run, port);
        HostPort { protocol: port.transport.clone(), host: port.host, relay, new }
    }

    /// Where the relay passes on to what the kernel cannot translate: `::1`, IPv6 clients of a container without IPv6, and
    /// everything when there is no firewall.
    fn relayed(&self, run: &Run, port: &Port) -> Option<SocketAddr> {
        let v6 = port.host.is_ipv6();
        let is_relayed = port.transport() != network::Transport::Sctp
            && (v6 && self.network.relay || port.target.is_none());
        let address = run.target(v6).or(run.target(false)).or(run.target(true));
        address.filter(|_| is_relayed).map(|address| (address, port.container_port).into())
    }

    /// The container's way out is another one than `before`: its ports go with it. The sockets that are new come back, for
    /// [`Networks::tell_ports`]. Whatever fails, `run` has the ports that are held.
    pub(super) fn move_ports(
        &self,
        record: &Record,
        live: &Live,
        before: &Run,
        run: &mut Run,
    ) -> Result<Vec<Bound>> {
        run.ports.clone_from(&before.ports);
        if self.manner(before)? == self.manner(run)? {
            self.lead(run);
            self.host.unpublish(&without(before.published(), &run.published()))?;
            self.host.publish(&without(run.published(), &before.published()))?;
            return Ok(Vec::new());
        }
        self.host.unpublish(&before.published())?;
        if before.ports.iter().any(Port::is_held) {
            // Before they are taken again.
            ask(live, Vec::new(), &[])?;
        }
        self.release_ports(before);
        run.ports.clear();
        let bound = self.take_ports(record, run)?;
        self.host.publish(&run.published())?;
        Ok(bound)
    }

    pub(super) fn release_ports(&self, run: &Run) {
        for port in run.ports.iter().filter(|port| port.is_held()) {
            self.host.release(port.transport(), port.host);
        }
    }

    /// The shim holds the ports of the run from now on, and no others. What it does not have although it should is bound
    /// anew.
    pub(super) fn tell_ports(&self, live: &Live, run: &Run, new: Vec<Bound>) -> Result<()> {
        let held: Vec<&Port> = run.ports.iter().filter(|port| port.is_held()).collect();
        let mut again = Vec::new();
        for port in self.tell_once(live, run, &held, new)?.into_iter().filter_map(|index| held.get(index)) {
            match self.bind_again(port) {
                Ok(socket) => again.extend(socket.map(|socket| (self.host_port(run, port, true), socket))),
                Err(error) => {
                    tracing::warn!(host = %port.host, %error, "cannot hold a published port any more")
                }
            }
        }
        if !again.is_empty() {
            self.tell_once(live, run, &held, again)?;
        }
        Ok(())
    }

    fn tell_once(&self, live: &Live, run: &Run, held: &[&Port], mut new: Vec<Bound>) -> Result<Vec<usize>> {
        let mut sockets = Vec::new();
        let mut ports = Vec::new();
        for port in held {
            let is_meant = |(one, _): &Bound| (one.host, &one.protocol) == (port.host, &port.transport);
            let socket = new.iter().position(is_meant).map(|index| new.swap_remove(index).1);
            ports.push(self.host_port(run, port, socket.is_some()));
            sockets.extend(socket);
        }
        ask(live, ports, &sockets)
    }

    fn bind_again(&self, port: &Port) -> Result<Option<OwnedFd>> {
        let request = PortRequest {
            transport: port.transport(),
            hosts: vec![port.host.ip()],
            ports: HostPorts::Within(port.host.port()..=port.host.port()),
            container_port: port.container_port,
        };
        self.host.release(port.transport(), port.host);
        let reserved = self.host.reserve(&[request]);
        // It is the container's, whoever else has bound there.
        self.host.adopt(port.transport(), port.host);
        Ok(reserved?.pop().and_then(|one| one.socket))
    }
}

/// Which of these ports the shim does not hold.
fn ask(live: &Live, ports: Vec<HostPort>, sockets: &[OwnedFd]) -> Result<Vec<usize>> {
    match live.request(&Request::Ports(ports), sockets) {
        Ok((Reply::Ports { missing }, _)) => Ok(missing),
        Ok(_) => Err(Error::system("the shim did not say which ports it holds")),
        Err(error) if error.kind() == ErrorKind::InvalidParameter => {
            tracing::warn!(%error, "a shim of an early build keeps its ports and relays as they are");
            Ok(Vec::new())
        }
        Err(error) => Err(error),
    }
}

fn without(all: Vec<Published>, others: &[Published]) -> Vec<Published> {
    all.into_iter().filter(|one| !others.contains(one)).collect()
}

/// A port of a routed network: the container's own, at its own address.
fn directly(request: &PortRequest, v6: bool) -> Port {
    let nowhere = if v6 { IpAddr::from(Ipv6Addr::UNSPECIFIED) } else { Ipv4Addr::UNSPECIFIED.into() };
    Port {
        transport: request.transport.name().to_owned(),
        host: SocketAddr::new(nowhere, 0),
        container_port: request.container_port,
        target: None,
        direct: true,
    }
}

/// A port that cannot be had, with the place in the container that it was for.
fn refused(error: network::Error, requests: &[PortRequest], inside: Option<IpAddr>) -> Error {
    let network::Error::PortRefused { transport, host, .. } = error else { return Error::from(error) };
    let meant = requests.iter().find(|one| {
        one.transport == transport
            && one.hosts.contains(&host.ip())
            && !matches!(&one.ports, HostPorts::Within(range) if !range.contains(&host.port()))
    });
    let (Some(request), Some(inside)) = (meant, inside) else { return Error::from(error) };
    let container = SocketAddr::new(inside, request.container_port);
    let text = error.to_string().replacen(
        &format!("host port {host}/"),
        &format!("host port for {host}:{container}/"),
        1,
    );
    Error::system(text)
}
