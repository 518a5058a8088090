//! The network of the simulated host: interfaces, bridges, translated ports, bound sockets. Which port is free is
//! decided by the network's own table of ports.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::sync::Mutex;

use engine::{HostNetwork, Inside};
use ipnet::IpNet;
use linux::Errno;
use linux::poll::{Interest, Poll};
use network::ports::{Request, Reserved, Table};
use network::{Attached, Bridge, BridgeRules, Endpoint, Error, HostNames, Published, Result, Transport};

use crate::world::{Mistake, World};

/// What of the network outlives the engine.
#[derive(Default)]
pub(crate) struct Wires {
    namespaces: BTreeMap<u64, OwnedFd>,
    next: u64,
    /// Interfaces on the host's side, the addresses behind them and the namespace that they lead into.
    pub(crate) interfaces: BTreeMap<String, (Vec<IpNet>, u64)>,
    pub(crate) bridges: BTreeSet<String>,
    /// Translated ports.
    pub(crate) published: BTreeMap<(String, String), SocketAddr>,
    bound: Vec<(Transport, SocketAddr, OwnedFd)>,
}

impl Wires {
    /// Forgets what went with its last descriptor.
    pub(crate) fn sweep(&mut self) {
        self.namespaces.retain(|_, watched| !is_closed(watched));
        self.interfaces.retain(|_, (_, namespace)| self.namespaces.contains_key(namespace));
        self.bound.retain(|(_, _, watched)| !is_closed(watched));
    }

    /// What a socket holds, if it is one.
    pub(crate) fn bound_to(&self, socket: &OwnedFd) -> Option<(Transport, SocketAddr)> {
        let pipe = pipe_of(socket);
        let bound = self.bound.iter().find(|(_, _, watched)| pipe_of(watched) == pipe);
        bound.map(|(transport, host, _)| (*transport, *host))
    }

    pub(crate) fn bound(&self) -> BTreeSet<SocketAddr> {
        self.bound.iter().map(|(_, host, _)| *host).collect()
    }
}

/// Whether the other end of a pipe is closed.
fn is_closed(watched: &OwnedFd) -> bool {
    let poll = Poll::new().unwrap();
    poll.add(watched, 0, Interest::NONE).unwrap();
    let mut events = Vec::new();
    poll.wait(&mut events, Some(std::time::Duration::ZERO)).unwrap();
    events.iter().any(|event| event.hangup)
}

pub(crate) struct SimulatedNetwork {
    world: World,
    names: HostNames,
    ports: Mutex<Table>,
}

struct Room {
    number: u64,
    fd: OwnedFd,
}

impl AsFd for Room {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Inside for Room {
    fn into_fd(self: Box<Self>) -> OwnedFd {
        self.fd
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

impl SimulatedNetwork {
    pub(crate) fn new(world: World, names: HostNames) -> SimulatedNetwork {
        SimulatedNetwork { world, names, ports: Mutex::default() }
    }

    fn effect(&self, name: &str) -> Result<()> {
        let reached = self.world.fate().reach(name);
        reached.map_or(Ok(()), |errno| Err(refused(name, errno)))
    }

    /// What the kernel does in any case.
    fn act(&self, name: &str) -> Result<()> {
        self.world.fate().act(name).map_err(|_| refused(name, Errno::IO))
    }

    fn done(&self, name: &str) {
        let _ = self.world.fate().act(name);
    }
}

fn refused(doing: &str, errno: Errno) -> Error {
    Error::Kernel { doing: doing.into(), source: linux::Error::new("sendto", "simulated", errno) }
}

fn key(port: &Published) -> (String, String) {
    let host = port.host.map_or_else(|| format!("direct {}", port.target), |host| host.to_string());
    (port.transport.name().to_owned(), host)
}

impl HostNetwork for SimulatedNetwork {
    fn names(&self) -> &HostNames {
        &self.names
    }

    fn namespace(&self, _: Option<BorrowedFd<'_>>) -> Result<Box<dyn Inside>> {
        self.effect("make a network namespace")?;
        let (watched, fd) = pipe();
        let mut host = self.world.host();
        host.wires.next += 1;
        let number = host.wires.next;
        host.wires.namespaces.insert(number, watched);
        Ok(Box::new(Room { number, fd }))
    }

    fn namespace_of(&self, pid: i32) -> Result<Box<dyn Inside>> {
        self.effect("look for a network namespace")?;
        let host = self.world.host();
        let held = host.shims.values().find_map(|shim| shim.namespace_of(pid));
        let fd = held.ok_or_else(|| refused("look for a network namespace", Errno::SRCH))?;
        let number = host.wires.namespaces.iter().find(|(_, watched)| pipe_of(watched) == pipe_of(fd));
        let number = *number.expect("a namespace that is held is there").0;
        Ok(Box::new(Room { number, fd: fd.try_clone().unwrap() }))
    }

    fn rebuild(&self, bridges: &[Bridge], published: &[Published]) -> Result<Vec<String>> {
        self.effect("rebuild the firewall")?;
        let mut host = self.world.host();
        host.wires.published = published.iter().map(|port| (key(port), port.target)).collect();
        host.wires.bridges.extend(bridges.iter().map(|bridge| bridge.rules.name.clone()));
        drop(host);
        self.done("the firewall is rebuilt");
        Ok(Vec::new())
    }

    fn ensure_bridge(&self, bridge: &Bridge) -> Result<Vec<String>> {
        self.effect("make sure of a bridge")?;
        self.world.host().wires.bridges.insert(bridge.rules.name.clone());
        self.done("there is a bridge");
        Ok(Vec::new())
    }

    fn remove_bridge(&self, bridge: &BridgeRules) -> Result<()> {
        self.effect("remove a bridge")?;
        self.world.host().wires.bridges.remove(&bridge.name);
        self.done("a bridge is removed");
        Ok(())
    }

    fn attach(&self, inside: &dyn Inside, endpoint: &Endpoint) -> Result<Attached> {
        self.effect("attach an endpoint")?;
        let room = inside.as_any().downcast_ref::<Room>().expect("namespaces are made here");
        let mut host = self.world.host();
        host.wires.sweep();
        if !host.wires.bridges.contains(&endpoint.bridge) {
            return Err(refused("attach to a bridge that is not there", Errno::NODEV));
        }
        host.wires.next += 1;
        let host_interface = format!("{}{:04x}", self.names.veth_prefix, host.wires.next);
        let taken = endpoint.addresses.iter().find(|address| {
            let mut all = host.wires.interfaces.values();
            all.any(|(others, _)| others.contains(address))
        });
        if let Some(address) = taken.copied() {
            host.broken.push(format!("the address {address} is given to two containers"));
        }
        host.wires.interfaces.insert(host_interface.clone(), (endpoint.addresses.clone(), room.number));
        drop(host);
        self.done("an endpoint is attached");
        Ok(Attached { interface: endpoint.interface.clone(), host_interface })
    }

    fn detach(&self, attached: &Attached) -> Result<()> {
        self.act("detach an endpoint")?;
        self.world.host().wires.interfaces.remove(&attached.host_interface);
        Ok(())
    }

    fn disconnect(&self, attached: &Attached) -> Result<()> {
        self.detach(attached)
    }

    fn set_default_route(&self, _: &dyn Inside, _: bool, _: Option<(IpAddr, &str)>) -> Result<()> {
        self.effect("set the default route")
    }

    fn reserve(&self, requests: &[Request]) -> Result<Vec<Reserved>> {
        self.effect("reserve ports")?;
        let mut host = self.world.host();
        host.wires.sweep();
        let wires = Mutex::new(&mut host.wires);
        let bind = |transport: Transport, wanted: SocketAddr| {
            let mut wires = wires.lock().unwrap();
            let taken = wires.bound.iter().any(|(other, bound, _)| {
                let everywhere = bound.ip().is_unspecified() || wanted.ip().is_unspecified();
                let same = bound.ip() == wanted.ip() || everywhere && bound.is_ipv4() == wanted.is_ipv4();
                *other == transport && bound.port() == wanted.port() && same
            });
            if taken {
                return Err(linux::Error::new("bind", wanted, Errno::ADDRINUSE));
            }
            let (watched, fd) = pipe();
            wires.bound.push((transport, wanted, watched));
            Ok(fd)
        };
        self.ports.lock().unwrap().reserve(requests, &bind)
    }

    fn adopt(&self, transport: Transport, host: SocketAddr) {
        self.ports.lock().unwrap().adopt(transport, host);
    }

    fn release(&self, transport: Transport, host: SocketAddr) {
        self.ports.lock().unwrap().release(transport, host);
    }

    fn publish(&self, ports: &[Published]) -> Result<()> {
        if ports.is_empty() {
            return Ok(());
        }
        self.effect("publish ports")?;
        let mut host = self.world.host();
        for port in ports {
            let before = host.wires.published.insert(key(port), port.target);
            if before.is_some_and(|before| before != port.target) {
                host.broken.push(format!("{:?} is published for two containers", port.host));
            }
        }
        drop(host);
        self.done("ports are published");
        Ok(())
    }

    fn unpublish(&self, ports: &[Published]) -> Result<()> {
        if ports.is_empty() {
            return Ok(());
        }
        self.act("unpublish ports")?;
        if !self.world.makes(Mistake::PortsStayPublished) {
            let mut host = self.world.host();
            for port in ports {
                host.wires.published.remove(&key(port));
            }
        }
        self.done("ports are unpublished");
        Ok(())
    }

    fn forget_connections(&self, _: &[IpAddr]) -> Result<()> {
        self.act("forget connections")
    }

    fn routes(&self) -> Result<Vec<IpNet>> {
        Ok(Vec::new())
    }

    fn addresses_of(&self, _: &str) -> Result<Vec<IpNet>> {
        Ok(Vec::new())
    }

    fn remove_strays(&self, used: &[Attached]) -> Result<()> {
        self.effect("remove stray interfaces")?;
        let keeps = |name: &String| used.iter().any(|one| one.host_interface == *name);
        self.world.host().wires.interfaces.retain(|name, _| keeps(name));
        Ok(())
    }
}

/// Both ends of a pipe are the same file.
fn pipe_of(end: &OwnedFd) -> u64 {
    std::fs::File::from(end.try_clone().unwrap()).metadata().unwrap().ino()
}

/// The end that is watched, and the one whose closing is noticed.
fn pipe() -> (OwnedFd, OwnedFd) {
    let (reader, writer): (io::PipeReader, io::PipeWriter) = io::pipe().unwrap();
    (reader.into(), writer.into())
}
