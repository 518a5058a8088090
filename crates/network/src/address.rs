//! Which addresses are free: subnets for networks, and addresses in them for endpoints. Pure; records are the engine's.
//!
//! Pools and their order are Docker's. A network gets the first subnet of the pools that overlaps neither another network
//! nor a route of the host; an endpoint gets the lowest free address, and one that was given back is free at once.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use linux::netlink::link::Mac;
use sha2::{Digest, Sha256};

/// Where subnets are taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool {
    pub base: IpNet,
    /// Prefix length of the subnets.
    pub size: u8,
}

/// The pools of a host that configures none.
pub fn default_pools() -> Vec<Pool> {
    let pool = |octets: [u8; 2], prefix, size| Pool {
        base: Ipv4Net::new_assert(Ipv4Addr::new(octets[0], octets[1], 0, 0), prefix).into(),
        size,
    };
    vec![
        pool([172, 17], 16, 16),
        pool([172, 18], 16, 16),
        pool([172, 19], 16, 16),
        pool([172, 20], 14, 16),
        pool([172, 24], 14, 16),
        pool([172, 28], 14, 16),
        pool([192, 168], 16, 20),
    ]
}

/// The unique local IPv6 pool of one engine: forty bits from what identifies it (RFC 4193).
pub fn local_pool(identity: &str) -> Pool {
    let hash = Sha256::digest(identity.as_bytes());
    let mut octets = [0; 16];
    octets[0] = 0xfd;
    octets[1..6].copy_from_slice(&hash[..5]);
    Pool { base: Ipv6Net::new_assert(Ipv6Addr::from(octets), 48).into(), size: 64 }
}

/// The first subnet of the pools, of this family, that overlaps nothing that is `taken`. A default route overlaps all
/// and is to be left out.
pub fn free_subnet(pools: &[Pool], v6: bool, taken: &[IpNet]) -> Option<IpNet> {
    let candidates = pools.iter().filter(|pool| pool.base.addr().is_ipv6() == v6).flat_map(|pool| {
        // A pool smaller than its subnets is one subnet.
        let size = pool.size.max(pool.base.prefix_len());
        pool.base.subnets(size).into_iter().flatten()
    });
    // The first free one comes soon: what is taken are the networks and routes of one host.
    const ENOUGH: usize = 1 << 16;
    candidates.take(ENOUGH).find(|candidate| !taken.iter().any(|other| overlap(candidate, other)))
}

pub fn overlap(one: &IpNet, other: &IpNet) -> bool {
    one.contains(&other.network()) || other.contains(&one.network())
}

/// The addresses of one subnet that are given out.
#[derive(Debug, Clone)]
pub struct Leases {
    subnet: IpNet,
    /// The part of the subnet that addresses are chosen from.
    range: IpNet,
    taken: BTreeSet<IpAddr>,
}

/// Addresses of a subnet, as [`Leases::usage`] counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    pub in_use: u64,
    pub available: u64,
}

impl Leases {
    pub fn new(subnet: IpNet, range: Option<IpNet>) -> Leases {
        Leases { subnet, range: range.unwrap_or(subnet), taken: BTreeSet::new() }
    }

    pub fn subnet(&self) -> IpNet {
        self.subnet
    }

    /// How many addresses are given out.
    pub fn len(&self) -> usize {
        self.taken.len()
    }

    pub fn is_empty(&self) -> bool {
        self.taken.is_empty()
    }

    /// How many addresses are given out or nobody's, and how many of the range are left.
    pub fn usage(&self) -> Usage {
        let ends = [self.subnet.network(), self.subnet.broadcast()].map(number);
        let mut gone: BTreeSet<u128> = self.taken.iter().map(|address| number(*address)).collect();
        gone.extend(ends.into_iter().filter(|end| !self.usable(*end)));
        let (first, last) = (number(self.range.network()), number(self.range.broadcast()));
        let whole = (last - first).saturating_add(1);
        let available = whole.saturating_sub(gone.range(first..=last).count() as u128);
        Usage { in_use: gone.len() as u64, available: u64::try_from(available).unwrap_or(u64::MAX) }
    }

    /// The lowest free address.
    pub fn take_lowest(&mut self) -> Option<IpAddr> {
        let mut candidate = number(self.range.network());
        let last = number(self.range.broadcast());
        // The set is in order: the first gap is where it does not go on as counted.
        for taken in self.taken.range(self.range.network()..=self.range.broadcast()) {
            while candidate < number(*taken) && !self.usable(candidate) {
                candidate += 1;
            }
            if candidate < number(*taken) {
                break;
            }
            candidate = number(*taken).checked_add(1)?;
        }
        while candidate <= last && !self.usable(candidate) {
            candidate = candidate.checked_add(1)?;
        }
        let address = (candidate <= last).then(|| self.address(candidate))?;
        self.taken.insert(address);
        Some(address)
    }

    /// A certain address; false if it is given out already, or nobody's.
    pub fn take(&mut self, address: IpAddr) -> bool {
        self.usable(number(address)) && self.taken.insert(address)
    }

    pub fn give_back(&mut self, address: IpAddr) {
        self.taken.remove(&address);
    }

    /// Not the subnet itself, and not its broadcast address. Of point-to-point subnets every address is usable.
    fn usable(&self, candidate: u128) -> bool {
        let host_bits = self.subnet.max_prefix_len() - self.subnet.prefix_len();
        let all_zero = candidate == number(self.subnet.network());
        let broadcast = self.subnet.addr().is_ipv4() && candidate == number(self.subnet.broadcast());
        host_bits <= 1 || !(all_zero || broadcast)
    }

    fn address(&self, candidate: u128) -> IpAddr {
        match self.subnet {
            IpNet::V4(_) => Ipv4Addr::from(candidate as u32).into(),
            IpNet::V6(_) => Ipv6Addr::from(candidate).into(),
        }
    }
}

/// The first address of a subnet, or of the part of it that addresses are chosen from: its gateway, unless another is
/// asked for.
pub fn first(subnet: IpNet, range: Option<IpNet>) -> IpAddr {
    Leases::new(subnet, range).take_lowest().unwrap_or(subnet.addr())
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u32::from(v4).into(),
        IpAddr::V6(v6) => v6.into(),
    }
}

/// An Ethernet address that follows from the address: neighbours that remember it stay right when it is reused.
pub fn mac_for(address: IpAddr) -> Mac {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            Mac([0x02, 0x42, a, b, c, d])
        }
        IpAddr::V6(v6) => {
            let hash = Sha256::digest(v6.octets());
            Mac([0x02, 0x43, hash[0], hash[1], hash[2], hash[3]])
        }
    }
}

/// Any Ethernet address, for a bridge.
pub fn random_mac() -> Mac {
    let mut mac = [0; 6];
    // Without randomness bridges on this host share an address, which only matters to whoever joins them.
    let _ = getrandom::fill(&mut mac);
    mac[0] = 0x02;
    mac[1] = 0x42;
    Mac(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn subnets_come_in_dockers_order_and_avoid_what_is_taken() {
        let pools = default_pools();
        assert_eq!(free_subnet(&pools, false, &[]), Some(net("172.17.0.0/16")));
        let taken = [net("172.17.0.0/16"), net("172.18.5.0/24"), net("172.16.0.0/13"), net("172.24.0.0/16")];
        assert_eq!(free_subnet(&pools, false, &taken), Some(net("172.25.0.0/16")));
        assert_eq!(free_subnet(&pools, false, &[net("172.16.0.0/12")]), Some(net("192.168.0.0/20")));
        assert_eq!(free_subnet(&pools, false, &[net("172.16.0.0/12"), net("192.168.0.0/16")]), None);
        assert_eq!(free_subnet(&pools, true, &[]), None);
        let local = local_pool("engine");
        let first = free_subnet(&[local], true, &[]).unwrap();
        assert_eq!((first.prefix_len(), first.addr()), (64, local.base.addr()));
    }

    #[test]
    fn what_is_in_use_and_what_is_left_is_counted() {
        let usage = |subnet: &str, range: Option<&str>, taken: &[&str]| {
            let mut leases = Leases::new(net(subnet), range.map(net));
            taken.iter().for_each(|address| assert!(leases.take(ip(address))));
            let usage = leases.usage();
            (usage.in_use, usage.available)
        };
        assert_eq!(usage("172.16.0.0/16", None, &["172.16.0.1"]), (3, 65533));
        let range = Some("10.0.0.128/25");
        assert_eq!(usage("10.0.0.0/24", range, &["10.0.0.1", "10.0.0.129"]), (4, 126));
        assert_eq!(usage("10.0.0.0/31", None, &["10.0.0.1"]), (1, 1));
        assert_eq!(usage("fd00::/96", None, &["fd00::1"]), (2, (1 << 32) - 2));
        assert_eq!(usage("fd00::/48", None, &[]), (1, u64::MAX), "too many to count");
    }

    #[test]
    fn the_lowest_free_address_is_given_out() {
        let mut leases = Leases::new(net("10.0.0.0/29"), None);
        assert_eq!(leases.take_lowest(), Some(ip("10.0.0.1")));
        assert!(leases.take(ip("10.0.0.3")));
        assert!(!leases.take(ip("10.0.0.3")));
        assert!(!leases.take(ip("10.0.0.0")) && !leases.take(ip("10.0.0.7")), "they are nobody's");
        assert_eq!(leases.take_lowest(), Some(ip("10.0.0.2")));
        assert_eq!(leases.take_lowest(), Some(ip("10.0.0.4")));
        leases.give_back(ip("10.0.0.2"));
        assert_eq!(leases.take_lowest(), Some(ip("10.0.0.2")));
        assert_eq!(leases.take_lowest(), Some(ip("10.0.0.5")));
        assert_eq!(leases.take_lowest(), Some(ip("10.0.0.6")));
        assert_eq!(leases.take_lowest(), None);
    }

    #[test]
    fn a_range_narrows_the_choice() {
        let mut leases = Leases::new(net("10.0.0.0/16"), Some(net("10.0.5.0/30")));
        leases.take(ip("10.0.0.1"));
        let given: Vec<_> = std::iter::from_fn(|| leases.take_lowest()).collect();
        assert_eq!(given, [ip("10.0.5.0"), ip("10.0.5.1"), ip("10.0.5.2"), ip("10.0.5.3")]);
    }

    #[test]
    fn small_and_large_subnets() {
        assert_eq!(first(net("10.0.0.0/31"), None), ip("10.0.0.0"));
        assert_eq!(first(net("fd00::/64"), None), ip("fd00::1"));
        assert_eq!(first(net("10.0.0.0/24"), Some(net("10.0.0.64/26"))), ip("10.0.0.64"));
        assert_eq!(first(net("10.0.0.0/24"), Some(net("10.0.0.0/26"))), ip("10.0.0.1"));
        let mut leases = Leases::new(net("fd00::/64"), None);
        leases.take(ip("fd00::ffff"));
        assert_eq!(leases.take_lowest(), Some(ip("fd00::1")));
        let mut top = Leases::new(net("ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe/127"), None);
        assert_eq!(std::iter::from_fn(|| top.take_lowest()).count(), 2);
    }
}
