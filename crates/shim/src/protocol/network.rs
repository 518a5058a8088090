//! What a shim has of the network: sockets that it holds, and the names that it answers for.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What of the network comes with a launch: descriptors, in this order, and who answers for names.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Network {
    /// Whether the first descriptor is a network namespace to join. False: host, or a path in the spec.
    pub namespace: bool,
    /// How many bound sockets follow, held so that nobody else takes a published port.
    #[serde(default)]
    pub held_sockets: usize,
    /// Listening sockets whose connections the shim relays by itself (`::1`).
    #[serde(default)]
    pub relays: Vec<Relay>,
    /// The resolver at 127.0.0.11, if this container has one.
    #[serde(default)]
    pub names: Option<Names>,
}

/// Where what a bound socket takes goes on to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Relay {
    /// `tcp` or `udp`.
    pub protocol: String,
    /// Where the container listens.
    pub target: std::net::SocketAddr,
}

/// A port of the host, held by a bound socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostPort {
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
    pub host: std::net::SocketAddr,
    /// Where the shim passes on to what comes to the socket. None where the kernel leads all of it.
    pub relay: Option<std::net::SocketAddr>,
    /// Its socket comes with the request.
    pub new: bool,
}

/// What the embedded resolver answers from; see `network::names`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Names {
    /// One directory per network that this container is on; the first that knows a name answers it.
    pub directories: Vec<PathBuf>,
    /// Files of this endpoint, removed when the container ends for good.
    pub own: Vec<PathBuf>,
    /// Servers asked for other names, from the host's network namespace.
    pub upstreams: Vec<std::net::SocketAddr>,
    /// Servers asked from the container's namespace instead (`--dns`).
    #[serde(default)]
    pub inside: Vec<std::net::SocketAddr>,
    /// Names that only this container knows (`--link`), and what each stands for.
    #[serde(default)]
    pub links: BTreeMap<String, String>,
    /// The same by directory. An engine that knows of no such difference sends none.
    #[serde(default)]
    pub links_on: Vec<BTreeMap<String, String>>,
    /// Unknown names without a dot are answered empty: the user has set `ndots`.
    #[serde(default)]
    pub keep_single_labels: bool,
}
