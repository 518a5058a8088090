//! The network of containers: bridges, veths, addresses, firewall, published ports, names.
//!
//! ```text
//!   engine ── Host ──────── bridges, veths (netlink) · one nftables table · held ports
//!         ├── Namespace ─── one per container, gone with its last reference
//!         ├── address ───── which subnets and addresses are free (pure)
//!         └── resolution ── what a resolv.conf says (pure)
//!
//!   shim ──── names::Resolver ── 127.0.0.11 inside the container          each one descriptor to poll
//!         └── relay::Relays ──── ::1, and IPv6 clients of IPv4 containers   and `ready()` that never waits
//! ```
//!
//! Everything goes to the kernel by netlink: no `ip`, `iptables` or `nft` program is used. The engine's part may block
//! for microseconds and is called off the async threads; the shim's part never blocks.
//!
//! *Never here*: images, HTTP, and what a container is. Records are the engine's; this crate observes the kernel.

pub mod address;
mod firewall;
mod foreign;
mod host;
pub mod names;
pub mod namespace;
pub mod ports;
pub mod relay;
pub mod resolution;
mod sysctl;

use std::net::SocketAddr;

pub use firewall::{BridgeRules, Entry, Published};
pub use host::{Attached, Bridge, Endpoint, Host, HostNames, Options};
pub use linux::inet::Transport;
pub use linux::netlink::link::Mac;
pub use namespace::Namespace;

pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong, in Docker's words where it has some.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another container of this engine has the port.
    #[error("Bind for {0} failed: port is already allocated")]
    PortAllocated(SocketAddr),
    /// The host refuses the port: somebody else has it, or the address is not the host's.
    #[error("failed to bind host port {host}/{}: {}", transport.name(), lower(*errno))]
    PortRefused { transport: Transport, host: SocketAddr, errno: linux::Errno },
    #[error("all ports are allocated")]
    AllPortsTaken,
    #[error("{doing}")]
    Kernel { doing: String, source: linux::Error },
}

impl Error {
    pub(crate) fn kernel(doing: impl Into<String>, source: linux::Error) -> Error {
        Error::Kernel { doing: doing.into(), source }
    }
}

/// The kernel's sentence in the middle of another.
fn lower(errno: linux::Errno) -> String {
    let sentence = linux::Error::new("bind", "", errno).sentence();
    let mut letters = sentence.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_use_dockers_words() {
        let host = "0.0.0.0:80".parse().unwrap();
        let refused = Error::PortRefused { transport: Transport::Tcp, host, errno: linux::Errno::ADDRINUSE };
        assert_eq!(refused.to_string(), "failed to bind host port 0.0.0.0:80/tcp: address already in use");
        assert_eq!(
            Error::PortAllocated("[::]:80".parse().unwrap()).to_string(),
            "Bind for [::]:80 failed: port is already allocated"
        );
    }
}
