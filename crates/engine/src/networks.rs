//! Networks: what exists, who is on them, and what a container needs of them for one run.
//!
//! The seam to the rest of the engine is [`Networks::join`] and [`Networks::leave`]: a container's owner calls the
//! first before its shim is launched and the second after the final exit. Both block and are called off the async
//! threads.

use std::net::IpAddr;
use std::os::fd::OwnedFd;

use shim::protocol::{Names, Relay};

use crate::container::Record;
use crate::error::Result;
use crate::{Config, Paths, Records};

/// The engine's networks.
pub(crate) struct Networks {}

/// What one run of a container got. Addresses and ports are written into the record's `network`.
#[derive(Default)]
pub(crate) struct Joined {
    /// The namespace to run in; none for `host` and `container:` modes, which the specification names by path.
    pub(crate) namespace: Option<OwnedFd>,
    /// Bound sockets that keep others off the published ports.
    pub(crate) held: Vec<OwnedFd>,
    /// Listening sockets whose connections the shim relays.
    pub(crate) relays: Vec<(Relay, OwnedFd)>,
    /// The resolver at 127.0.0.11, on user-defined networks.
    pub(crate) names: Option<Names>,
    /// Lines of `/etc/hosts` beside localhost's: this container's own addresses, links, extra hosts.
    pub(crate) hosts: Vec<(IpAddr, Vec<String>)>,
    /// `nameserver` lines of `/etc/resolv.conf`; 127.0.0.11 where there is a resolver.
    pub(crate) nameservers: Vec<IpAddr>,
    pub(crate) search: Vec<String>,
    pub(crate) options: Vec<String>,
}

impl Networks {
    pub(crate) fn open(_config: &Config, _paths: &Paths, _records: &Records) -> Result<Networks> {
        Ok(Networks {})
    }

    /// What a container asks for, checked when it is created: the networks exist, addresses fit, nothing is asked for
    /// that its network cannot give.
    pub(crate) fn check(&self, _record: &Record) -> Result<()> {
        Ok(())
    }

    /// Namespace, endpoints, addresses, ports and names for one run.
    pub(crate) fn join(&self, _record: &mut Record) -> Result<Joined> {
        Ok(Joined::default())
    }

    /// Gives back what [`Networks::join`] took. Never fails half-way: it reports everything that it could not undo.
    pub(crate) fn leave(&self, _record: &mut Record) -> Result<()> {
        Ok(())
    }

    /// After the containers are known: `running` keep their addresses and ports, everything else is free; the
    /// firewall table is rebuilt in one transaction, and what nobody owns any more is removed from the host.
    pub(crate) fn restore(&self, _running: &[std::sync::Arc<Record>]) -> Result<()> {
        Ok(())
    }
}
