//! The host's network as the engine uses it: what [`network::Host`] does for a running one.

use std::any::Any;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ipnet::IpNet;
use network::ports::{Request, Reserved};
use network::{
    Attached, Bridge, BridgeRules, Endpoint, Error, Host, HostNames, Namespace, Published, Result, Transport,
};

/// Each method is one of [`network::Host`], where it is described.
pub trait HostNetwork: Send + Sync {
    fn names(&self) -> &HostNames;
    /// A new network namespace, which belongs to this user namespace or to ours.
    fn namespace(&self, user: Option<BorrowedFd<'_>>) -> Result<Box<dyn Inside>>;
    /// That of a process.
    fn namespace_of(&self, pid: i32) -> Result<Box<dyn Inside>>;
    fn rebuild(&self, bridges: &[Bridge], published: &[Published]) -> Result<Vec<String>>;
    fn ensure_bridge(&self, bridge: &Bridge) -> Result<Vec<String>>;
    fn remove_bridge(&self, bridge: &BridgeRules) -> Result<()>;
    fn attach(&self, inside: &dyn Inside, endpoint: &Endpoint) -> Result<Attached>;
    fn detach(&self, attached: &Attached) -> Result<()>;
    fn disconnect(&self, attached: &Attached) -> Result<()>;
    fn set_default_route(&self, inside: &dyn Inside, v6: bool, way: Option<(IpAddr, &str)>) -> Result<()>;
    fn reserve(&self, requests: &[Request]) -> Result<Vec<Reserved>>;
    fn adopt(&self, transport: Transport, host: SocketAddr);
    fn release(&self, transport: Transport, host: SocketAddr);
    fn publish(&self, ports: &[Published]) -> Result<()>;
    fn unpublish(&self, ports: &[Published]) -> Result<()>;
    fn forget_connections(&self, addresses: &[IpAddr]) -> Result<()>;
    fn routes(&self) -> Result<Vec<IpNet>>;
    fn addresses_of(&self, bridge: &str) -> Result<Vec<IpNet>>;
    fn remove_strays(&self, used: &[Attached]) -> Result<()>;
}

/// A container's network namespace while interfaces are put into it.
pub trait Inside: AsFd + Send + Sync {
    fn into_fd(self: Box<Self>) -> OwnedFd;

    /// Each network knows its own.
    fn as_any(&self) -> &dyn Any;
}

impl Inside for Namespace {
    fn into_fd(self: Box<Self>) -> OwnedFd {
        Namespace::into_fd(*self)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

fn real(inside: &dyn Inside) -> Result<&Namespace> {
    let nowhere = || Error::Kernel {
        doing: "cannot enter the container's network namespace".into(),
        source: linux::Error::new("setns", "a namespace that is none", linux::Errno::INVAL),
    };
    inside.as_any().downcast_ref().ok_or_else(nowhere)
}

fn kernel(doing: &str) -> impl FnOnce(linux::Error) -> Error {
    let doing = doing.to_owned();
    move |source| Error::Kernel { doing, source }
}

impl HostNetwork for Host {
    fn names(&self) -> &HostNames {
        Host::names(self)
    }

    fn namespace(&self, user: Option<BorrowedFd<'_>>) -> Result<Box<dyn Inside>> {
        let made = user.map_or_else(Namespace::create, Namespace::create_for);
        Ok(Box::new(made.map_err(kernel("cannot make a network namespace"))?))
    }

    fn namespace_of(&self, pid: i32) -> Result<Box<dyn Inside>> {
        let opened = linux::namespace::open_of(pid, linux::namespace::NETWORK);
        let opened = opened.map_err(kernel("cannot open the container's network namespace"))?;
        let entered = Namespace::of(opened);
        Ok(Box::new(entered.map_err(kernel("cannot enter the container's network namespace"))?))
    }

    fn rebuild(&self, bridges: &[Bridge], published: &[Published]) -> Result<Vec<String>> {
        Host::rebuild(self, bridges, published)
    }

    fn ensure_bridge(&self, bridge: &Bridge) -> Result<Vec<String>> {
        Host::ensure_bridge(self, bridge)
    }

    fn remove_bridge(&self, bridge: &BridgeRules) -> Result<()> {
        Host::remove_bridge(self, bridge)
    }

    fn attach(&self, inside: &dyn Inside, endpoint: &Endpoint) -> Result<Attached> {
        Host::attach(self, real(inside)?, endpoint)
    }

    fn detach(&self, attached: &Attached) -> Result<()> {
        Host::detach(self, attached)
    }

    fn disconnect(&self, attached: &Attached) -> Result<()> {
        Host::disconnect(self, attached)
    }

    fn set_default_route(&self, inside: &dyn Inside, v6: bool, way: Option<(IpAddr, &str)>) -> Result<()> {
        Host::set_default_route(self, real(inside)?, v6, way)
    }

    fn reserve(&self, requests: &[Request]) -> Result<Vec<Reserved>> {
        Host::reserve(self, requests)
    }

    fn adopt(&self, transport: Transport, host: SocketAddr) {
        Host::adopt(self, transport, host);
    }

    fn release(&self, transport: Transport, host: SocketAddr) {
        Host::release(self, transport, host);
    }

    fn publish(&self, ports: &[Published]) -> Result<()> {
        Host::publish(self, ports)
    }

    fn unpublish(&self, ports: &[Published]) -> Result<()> {
        Host::unpublish(self, ports)
    }

    fn forget_connections(&self, addresses: &[IpAddr]) -> Result<()> {
        Host::forget_connections(self, addresses)
    }

    fn routes(&self) -> Result<Vec<IpNet>> {
        Host::routes(self)
    }

    fn addresses_of(&self, bridge: &str) -> Result<Vec<IpNet>> {
        Host::addresses_of(self, bridge)
    }

    fn remove_strays(&self, used: &[Attached]) -> Result<()> {
        Host::remove_strays(self, used)
    }
}
