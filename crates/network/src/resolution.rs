//! What a resolv.conf(5) says, and what of it holds inside a container. Pure: the engine reads the host's file and writes
//! the container's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// resolv.conf(5): lines beyond these limits are ignored by those who read it; ours are kept within reason.
const MAX_ITEMS: usize = 64;

/// What a resolv.conf says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resolution {
    pub servers: Vec<IpAddr>,
    pub search: Vec<String>,
    pub options: Vec<String>,
}

impl Resolution {
    /// Read a resolv.conf. What is not understood is left out, as resolvers do.
    pub fn parse(text: &str) -> Resolution {
        let mut resolution = Resolution::default();
        for line in text.lines() {
            let line = line.split(['#', ';']).next().unwrap_or_default();
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    // A zone (`fe80::1%eth0`) means nothing in another namespace: such servers are left out.
                    resolution
                        .servers
                        .extend(words.next().and_then(|address| address.parse::<IpAddr>().ok()));
                }
                // The last of these lines counts.
                Some("search" | "domain") => resolution.search = words.map(str::to_owned).collect(),
                Some("options") => resolution.options.extend(words.map(str::to_owned)),
                _ => {}
            }
        }
        resolution.servers.truncate(MAX_ITEMS);
        resolution.search.truncate(MAX_ITEMS);
        resolution.options.truncate(MAX_ITEMS);
        resolution
    }

    /// Servers that a container can reach through the bridge: not those on the host's loopback, and IPv6 ones only if
    /// it has IPv6. If none is left, public ones.
    pub fn reachable_servers(&self, ipv6: bool) -> Vec<IpAddr> {
        let reachable = |server: &IpAddr| !server.is_loopback() && (ipv6 || server.is_ipv4());
        let mut servers: Vec<IpAddr> = self.servers.iter().copied().filter(reachable).collect();
        if servers.is_empty() {
            servers.extend([Ipv4Addr::new(8, 8, 8, 8), Ipv4Addr::new(8, 8, 4, 4)].map(IpAddr::from));
            if ipv6 {
                const GOOGLE: [u16; 4] = [0x2001, 0x4860, 0x4860, 0];
                let server = |last| {
                    let [a, b, c, d] = GOOGLE;
                    IpAddr::from(Ipv6Addr::new(a, b, c, d, 0, 0, 0, last))
                };
                servers.extend([server(0x8888), server(0x8844)]);
            }
        }
        servers
    }

    /// Whether only systemd-resolved's stub is named: its real servers are then in `/run/systemd/resolve/resolv.conf`.
    pub fn is_stub(&self) -> bool {
        self.servers == [IpAddr::from(Ipv4Addr::new(127, 0, 0, 53))]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resolv_conf_is_read() {
        let text = "# made by hand\nnameserver 127.0.0.53\nnameserver 192.0.2.1 ; the router\n\
                    nameserver fe80::1%eth0\nnameserver 2001:db8::1\nsearch old\nsearch example.org lan\noptions ndots:2 edns0\n";
        let resolution = Resolution::parse(text);
        let servers: Vec<String> = resolution.servers.iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["127.0.0.53", "192.0.2.1", "2001:db8::1"]);
        assert_eq!(resolution.search, ["example.org", "lan"]);
        assert_eq!(resolution.options, ["ndots:2", "edns0"]);
        assert_eq!(resolution.reachable_servers(false), ["192.0.2.1".parse::<IpAddr>().unwrap()]);
        assert_eq!(resolution.reachable_servers(true).len(), 2);
    }

    #[test]
    fn without_a_reachable_server_there_are_public_ones() {
        let stub = Resolution::parse("nameserver 127.0.0.53\n");
        assert!(stub.is_stub());
        assert_eq!(stub.reachable_servers(false).len(), 2);
        assert_eq!(stub.reachable_servers(true).len(), 4);
    }
}
