//! What outlives one run of the process and not the container: its root, its network, its ports, its names.
//!
//! The root is mounted once and stays, detached, in nobody's view; each run gets a copy of that mount. Kernels
//! before 6.15 cannot copy a detached mount: there the first run gets the mount itself, and each later run a new
//! one, made when the one before has been taken apart.
//!
//! The sockets on published ports are never read: they are there so that nobody else takes the port. What has to
//! be relayed (`::1`) and the names at 127.0.0.11 are served by `network`, each behind one descriptor of our loop.

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use linux::inet::{self, Transport};
use linux::mount;
use linux::poll::{Interest, Poll};
use linux::{Errno, Error};
use network::names::{Config, Resolver};
use network::relay::Relays;

use super::reactor::{self, Source};
use crate::protocol::{HostPort, Launch, Names, Rootfs};

#[derive(Default)]
pub(super) struct Holdings {
    /// The root mount, when it can be copied for each run.
    root: Option<OwnedFd>,
    user: Option<User>,
    namespace: Option<OwnedFd>,
    sockets: Vec<OwnedFd>,
    relays: Option<Relays>,
    resolver: Option<Resolver>,
    own_names: Vec<PathBuf>,
}

/// A user namespace of the container's own. It is made once, like the network namespace, which belongs to it.
struct User {
    namespace: OwnedFd,
    /// Its root, in ids of ours.
    root: (u32, u32),
}

impl Holdings {
    /// Takes the launch's descriptors for its namespaces and network, in their order, from the front of `descriptors`.
    pub(super) fn take(
        poll: &Poll,
        launch: &Launch,
        descriptors: &mut Vec<OwnedFd>,
    ) -> linux::Result<Holdings> {
        let mut holdings = Holdings::default();
        if launch.user_namespace {
            let namespace = take(descriptors, 1)?.remove(0);
            holdings.user =
                Some(User { namespace, root: super::stdio::root_of(&launch.spec).unwrap_or_default() });
        }
        let Some(network) = &launch.network else { return Ok(holdings) };
        if network.namespace {
            holdings.namespace = take(descriptors, 1)?.pop();
        }
        holdings.sockets = take(descriptors, network.held_sockets)?;
        let relayed = take(descriptors, network.relays.len())?;
        for (socket, relay) in relayed.into_iter().zip(&network.relays) {
            holdings.relay_to(poll, socket, transport(&relay.protocol)?, relay.target)?;
        }
        if let Some(names) = &network.names {
            holdings.rename(poll, names.clone())?;
        }
        Ok(holdings)
    }

    /// Holds these ports of the host and no others: answers which of them it does not have.
    pub(super) fn publish(
        &mut self,
        poll: &Poll,
        ports: &[HostPort],
        new: Vec<OwnedFd>,
    ) -> linux::Result<Vec<usize>> {
        let is_wanted = |transport: Transport, host: SocketAddr| {
            ports.iter().any(|port| port.host == host && port.protocol == transport.name())
        };
        self.sockets.retain(|socket| {
            inet::bound_to(socket).is_ok_and(|(transport, host)| is_wanted(transport, host))
        });
        if let Some(relays) = &mut self.relays {
            relays.retain(is_wanted);
        }
        let mut new = new.into_iter();
        let mut missing = Vec::new();
        for (index, port) in ports.iter().enumerate() {
            let transport = transport(&port.protocol)?;
            let socket = match port.new {
                true => Some(new.next().ok_or_else(|| promised(ports.len()))?),
                // As it is, with what goes on there.
                false if port.relay.is_some() && self.relayed(transport, port.host) == port.relay => continue,
                false => self.take_back(transport, port.host)?,
            };
            match (socket, port.relay) {
                (Some(socket), Some(target)) => self.relay_to(poll, socket, transport, target)?,
                (Some(socket), None) => self.sockets.push(socket),
                (None, _) => missing.push(index),
            }
        }
        Ok(missing)
    }

    fn relayed(&self, transport: Transport, host: SocketAddr) -> Option<SocketAddr> {
        self.relays.as_ref()?.target(transport, host)
    }

    /// The socket that holds a port, to be used otherwise.
    fn take_back(&mut self, transport: Transport, host: SocketAddr) -> linux::Result<Option<OwnedFd>> {
        let is_meant =
            |socket: &OwnedFd| inet::bound_to(socket).is_ok_and(|bound| bound == (transport, host));
        match (self.sockets.iter().position(is_meant), &mut self.relays) {
            (Some(index), _) => Ok(Some(self.sockets.swap_remove(index))),
            (None, Some(relays)) => relays.take(transport, host),
            (None, None) => Ok(None),
        }
    }

    fn relay_to(
        &mut self,
        poll: &Poll,
        socket: OwnedFd,
        transport: Transport,
        target: SocketAddr,
    ) -> linux::Result<()> {
        if self.relays.is_none() {
            let relays = Relays::new()?;
            reactor::watch(poll, &relays, Source::Relays, Interest::READ)?;
            self.relays = Some(relays);
        }
        self.relays.as_mut().map_or(Ok(()), |relays| relays.add(socket, transport, target))
    }

    /// New networks or a first answer: the resolver begins or goes on with these.
    pub(super) fn rename(&mut self, poll: &Poll, names: Names) -> linux::Result<()> {
        let config = Config {
            directories: names.directories,
            links: names.links,
            links_on: names.links_on,
            inside: names.inside,
            upstreams: names.upstreams,
            keep_single_labels: names.keep_single_labels,
        };
        self.own_names = names.own;
        match (&mut self.resolver, &self.namespace) {
            (Some(resolver), _) => resolver.configure(config),
            (None, Some(namespace)) => {
                let resolver = Resolver::open(namespace.as_fd(), config)?;
                reactor::watch(poll, &resolver, Source::Resolver, Interest::READ)?;
                self.resolver = Some(resolver);
            }
            // Somebody else's network namespace has somebody else's resolver.
            (None, None) => {}
        }
        Ok(())
    }

    pub(super) fn own_names(&self) -> &[PathBuf] {
        &self.own_names
    }

    pub(super) fn resolve(&mut self) {
        if let Some(resolver) = &mut self.resolver {
            resolver.ready();
        }
    }

    pub(super) fn relay(&mut self) {
        if let Some(relays) = &mut self.relays {
            relays.ready();
        }
    }

    pub(super) fn namespace(&self) -> Option<BorrowedFd<'_>> {
        self.namespace.as_ref().map(AsFd::as_fd)
    }

    pub(super) fn user_namespace(&self) -> Option<BorrowedFd<'_>> {
        self.user.as_ref().map(|user| user.namespace.as_fd())
    }

    /// The root for one run.
    pub(super) fn root(&mut self, rootfs: &Rootfs) -> linux::Result<runtime::Rootfs> {
        self.root_by(rootfs, mount::copy_detached)
    }

    /// `copy` fails with `EINVAL` where the kernel cannot.
    fn root_by(
        &mut self,
        rootfs: &Rootfs,
        copy: impl Fn(&OwnedFd) -> linux::Result<OwnedFd>,
    ) -> linux::Result<runtime::Rootfs> {
        let (lowers, upper, work, volatile) = match rootfs {
            Rootfs::Directory(path) => return Ok(runtime::Rootfs::Directory(path.clone())),
            Rootfs::Overlay { lowers, upper, work, volatile } => (lowers, upper, work, *volatile),
        };
        let kept = match self.root.take() {
            Some(kept) => kept,
            None => {
                let layers = mount::Overlay { lowers, upper: Some((upper, work)), volatile, extra: &[] };
                match &self.user {
                    None => mount::overlay(&layers)?,
                    Some(User { namespace, root: (user, group) }) => {
                        let mapping =
                            mount::Mapping { namespace: namespace.as_fd(), user: *user, group: *group };
                        mount::overlay_mapped(&layers, mapping)?
                    }
                }
            }
        };
        match copy(&kept) {
            Ok(copy) => {
                self.root = Some(kept);
                Ok(runtime::Rootfs::Mount(copy))
            }
            Err(error) if error.is(Errno::INVAL) => Ok(runtime::Rootfs::Mount(kept)),
            Err(error) => Err(error),
        }
    }

    /// The end: ports are free, names are withdrawn, the namespace goes with its last process.
    pub(super) fn release_network(&mut self, poll: &Poll) {
        for path in self.own_names.drain(..) {
            // The engine removes what is still there with the endpoint.
            let _ = network::names::withdraw(&path);
        }
        if let Some(resolver) = self.resolver.take() {
            let _ = poll.remove(&resolver);
        }
        if let Some(relays) = self.relays.take() {
            let _ = poll.remove(&relays);
        }
        self.sockets = Vec::new();
        self.namespace = None;
    }

    /// Unmounts, which may wait for the disk.
    pub(super) fn release_root(&mut self) {
        self.root = None;
    }
}

fn take(descriptors: &mut Vec<OwnedFd>, count: usize) -> linux::Result<Vec<OwnedFd>> {
    if descriptors.len() < count {
        return Err(promised(count));
    }
    let rest = descriptors.split_off(count);
    Ok(std::mem::replace(descriptors, rest))
}

fn promised(count: usize) -> Error {
    Error::new("recvmsg", format_args!("{count} descriptors promised"), Errno::PROTO)
}

fn transport(name: &str) -> linux::Result<Transport> {
    Transport::named(name).ok_or_else(|| Error::new("socket", name, Errno::PROTONOSUPPORT))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use scratch::Directory;

    use super::*;

    fn overlay(dir: &Directory) -> Rootfs {
        for part in ["lower", "upper", "work"] {
            std::fs::create_dir(dir.join(part)).unwrap();
        }
        std::fs::write(dir.join("lower/file"), "below").unwrap();
        let lowers = vec![dir.join("lower")];
        Rootfs::Overlay { lowers, upper: dir.join("upper"), work: dir.join("work"), volatile: false }
    }

    /// Reads the file, then writes it, in the root of one run.
    fn run(root: runtime::Rootfs, write: &str) -> String {
        let runtime::Rootfs::Mount(mount) = root else { panic!("an overlay is a mount") };
        let path = format!("/proc/self/fd/{}/file", mount.as_raw_fd());
        let before = std::fs::read_to_string(&path).unwrap();
        std::fs::write(path, write).unwrap();
        before
    }

    #[test]
    fn ports_come_move_and_go() {
        let poll = Poll::new().unwrap();
        let mut holdings = Holdings::default();
        let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let target = server.local_addr().unwrap();
        let bind = |transport| {
            let socket = inet::bind(transport, "127.0.0.1:0".parse().unwrap()).unwrap();
            let (_, host) = inet::bound_to(&socket).unwrap();
            let port = HostPort { protocol: transport.name().into(), host, relay: None, new: true };
            (port, socket)
        };
        let is_free = |port: &HostPort| inet::bind(transport(&port.protocol).unwrap(), port.host).is_ok();
        let (mut held, one) = bind(Transport::Tcp);
        let (mut datagrams, other) = bind(Transport::Udp);
        datagrams.relay = Some(target);
        let both = [held.clone(), datagrams.clone()];
        assert_eq!(holdings.publish(&poll, &both, vec![one, other]).unwrap(), [0_usize; 0]);
        (held.new, datagrams.new) = (false, false);
        assert!(!is_free(&held) && !is_free(&datagrams));

        // The kernel leads to it no more; the other is led elsewhere.
        held.relay = Some(target);
        datagrams.relay = Some("127.0.0.1:9".parse().unwrap());
        let never = HostPort { host: "127.0.0.1:1".parse().unwrap(), ..held.clone() };
        let ports = [held.clone(), never, datagrams.clone()];
        assert_eq!(holdings.publish(&poll, &ports, Vec::new()).unwrap(), [1]);
        assert_eq!(holdings.relayed(Transport::Udp, datagrams.host), datagrams.relay);
        let _client = std::net::TcpStream::connect(held.host).unwrap();
        server.set_nonblocking(true).unwrap();
        while server.accept().is_err() {
            linux::poll::wait_readable(holdings.relays.as_ref().unwrap(), None).unwrap();
            holdings.relay();
        }

        held.relay = None;
        assert_eq!(holdings.publish(&poll, &[held.clone()], Vec::new()).unwrap(), [0_usize; 0]);
        assert_eq!(holdings.sockets.len(), 1);
        assert!(is_free(&datagrams) && !is_free(&held));
        assert_eq!(holdings.publish(&poll, &[], Vec::new()).unwrap(), [0_usize; 0]);
        assert!(holdings.sockets.is_empty());
        assert!(holdings.publish(&poll, &[HostPort { new: true, ..held }], Vec::new()).is_err());
    }

    #[test]
    fn each_run_finds_what_the_last_one_wrote() {
        let dir = Directory::new("root");
        let rootfs = overlay(&dir);
        let mut holdings = Holdings::default();
        assert_eq!(run(holdings.root(&rootfs).unwrap(), "first"), "below");
        assert_eq!(run(holdings.root(&rootfs).unwrap(), "second"), "first");
    }

    #[test]
    fn so_it_does_where_the_kernel_cannot_copy_a_detached_mount() {
        let dir = Directory::new("root");
        let rootfs = overlay(&dir);
        let mut holdings = Holdings::default();
        let cannot = |_: &OwnedFd| Err(Error::new("open_tree", "forced", Errno::INVAL));
        assert_eq!(run(holdings.root_by(&rootfs, cannot).unwrap(), "first"), "below");
        assert!(holdings.root.is_none());
        assert_eq!(run(holdings.root_by(&rootfs, cannot).unwrap(), "second"), "first");
    }
}
