//! The engine's nftables table: what translates, what is kept apart, and nothing that grows with containers but elements.
//!
//! ```text
//!   prerouting, output ──▶ published   maps: (address,) protocol, port ──▶ container address, port
//!   raw (prerouting)       127/8 that does not come from lo is dropped: routes to it exist for the translation
//!   forward ──▶ guard      only packets from or to a bridge of ours:
//!                            user chain │ answers │ published │ within one bridge │ internal │ routed │
//!                            other → bridge: drop
//!   input ──▶ closed       ports of the host that containers do not reach
//!   postrouting            127/8 and hairpins take the bridge's address, what leaves a bridge takes the host's
//! ```
//!
//! The chain `user` comes first and is the administrator's: `nft add rule inet wharf user ip saddr 192.0.2.7 drop`.
//! It is never touched once it exists. Everything else is rebuilt in one transaction ([`rebuild`]) from what the engine
//! has recorded: sets exchange their elements, chains are emptied and filled, and packets see either the old table or
//! the new one.
//!
//! An accept here ends this table's say only: another table's drop still drops ([`crate::foreign`]).

mod closed;
mod rules;
mod sets;

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use linux::Errno;
use linux::inet::Transport;
use linux::netlink::Socket;
use linux::nftables::{Batch, ChainType, Element, Hook, Policy, TableFamily};

use sets::Placed;

pub(crate) const FAMILY: TableFamily = TableFamily::Inet;

/// A bridge as the firewall sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BridgeRules {
    pub name: String,
    pub subnets: Vec<IpNet>,
    /// Containers on it may speak to each other.
    pub icc: bool,
    /// Nothing goes in or out but within the bridge.
    pub internal: bool,
    /// What leaves takes an address of the host.
    pub masquerade: bool,
    /// How containers are reached at their own addresses, by IPv4 and by IPv6.
    pub entry: Entry,
    pub entry_v6: Entry,
    /// Which address that is, where it shall not be chosen by the way out; at most one per family.
    pub source: Vec<IpAddr>,
}

impl BridgeRules {
    fn entry_of(&self, subnet: &IpNet) -> Entry {
        if subnet.addr().is_ipv4() { self.entry } else { self.entry_v6 }
    }
}

/// Which packets get to the containers' own addresses on a bridge, in one family.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Entry {
    /// None but those to [`Published`] ports.
    #[default]
    Closed,
    /// Pings, too. Nothing that leaves is translated: the network around knows the subnet.
    Routed,
    /// Everything.
    Open,
}

/// A published port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Published {
    pub transport: Transport,
    /// Where on the host; the unspecified address means everywhere. None: only at the container's own address, from
    /// wherever that can be reached.
    pub host: Option<SocketAddr>,
    /// Where in the container; of the same family.
    pub target: SocketAddr,
}

/// The chain that is the administrator's.
const USER: &str = "user";
/// The chains that are ours, in an order in which each only refers to earlier ones.
const PLAIN_CHAINS: [&str; 4] = [USER, "published", "guard", closed::CHAIN];
const BASE_CHAINS: [(&str, ChainType, Hook, i32); 6] = [
    ("raw", ChainType::Filter, Hook::Prerouting, -300),
    ("prerouting", ChainType::Nat, Hook::Prerouting, -100),
    ("output", ChainType::Nat, Hook::Output, -100),
    ("input", ChainType::Filter, Hook::Input, 0),
    ("forward", ChainType::Filter, Hook::Forward, 0),
    ("postrouting", ChainType::Nat, Hook::Postrouting, 100),
];

/// What the table is to say.
pub(crate) struct Contents<'a> {
    pub(crate) bridges: &'a [BridgeRules],
    pub(crate) published: &'a [Published],
    /// Of the host, which containers do not reach.
    pub(crate) listeners: &'a [SocketAddr],
    /// For what neither comes from nor goes to a bridge of ours; none leaves it as it is.
    pub(crate) policy: Option<Policy>,
}

/// The whole table from records, in one transaction.
///
/// Sets stay where they are and only their elements are exchanged: a packet that has begun with the rules of before looks
/// into the sets of before, and finds nothing there once these are on their way out.
pub(crate) fn rebuild(socket: &mut Socket, table: &str, contents: &Contents<'_>) -> linux::Result<()> {
    let existing = linux::nftables::sets(socket, FAMILY, table)?;
    match contents.batch(table, &existing, true).commit(socket) {
        // Of another build, which had sets of another kind.
        Err(_) if !existing.is_empty() => contents.batch(table, &existing, false).commit(socket),
        other => other,
    }
}

impl Contents<'_> {
    /// `keep`: the sets that are there are of our kinds.
    fn batch(&self, table: &str, existing: &[String], keep: bool) -> Batch {
        let mut batch = Batch::new(FAMILY, table);
        batch.ensure_table();
        for chain in PLAIN_CHAINS {
            batch.ensure_chain(chain);
        }
        for (name, kind, hook, priority) in BASE_CHAINS {
            batch.ensure_base_chain(name, kind, hook, priority, self.policy.filter(|_| name == "forward"));
        }
        let names = PLAIN_CHAINS.into_iter().chain(BASE_CHAINS.map(|(name, ..)| name));
        for chain in names.filter(|name| *name != USER) {
            batch.flush_chain(chain);
        }
        let ours = sets::all();
        for name in existing {
            match keep && ours.iter().any(|set| set.name == name) {
                true => batch.flush_set(name),
                false => batch.delete_set(name),
            }
        }
        for set in &ours {
            match keep {
                true => batch.ensure_set(set),
                false => batch.create_set(set),
            }
        }
        let elements = self.bridges.iter().flat_map(sets::of_bridge);
        let elements = elements.chain(self.published.iter().map(sets::of_port));
        for (set, elements) in by_set(elements.chain(closed::elements(self.listeners))) {
            batch.add_elements(set, &elements);
        }
        for (chain, rule) in rules::all().into_iter().chain(closed::rules(self.listeners)) {
            batch.append_rule(chain, &rule);
        }
        batch
    }
}

/// The table and all that is in it.
pub(crate) fn delete(socket: &mut Socket, table: &str) -> linux::Result<()> {
    let mut batch = Batch::new(FAMILY, table);
    batch.delete_table();
    ignore_missing(batch.commit(socket))
}

/// What happens to packets that neither come from nor go to a bridge of ours.
pub(crate) fn set_policy(socket: &mut Socket, table: &str, policy: Policy) -> linux::Result<()> {
    let mut batch = Batch::new(FAMILY, table);
    for (name, kind, hook, priority) in BASE_CHAINS.into_iter().filter(|(name, ..)| *name == "forward") {
        batch.ensure_base_chain(name, kind, hook, priority, Some(policy));
    }
    batch.commit(socket)
}

pub(crate) fn add_bridge(socket: &mut Socket, table: &str, bridge: &BridgeRules) -> linux::Result<()> {
    add(socket, table, sets::of_bridge(bridge))
}

pub(crate) fn remove_bridge(socket: &mut Socket, table: &str, bridge: &BridgeRules) -> linux::Result<()> {
    remove(socket, table, sets::of_bridge(bridge))
}

pub(crate) fn publish(socket: &mut Socket, table: &str, ports: &[Published]) -> linux::Result<()> {
    add(socket, table, ports.iter().map(sets::of_port).collect())
}

pub(crate) fn unpublish(socket: &mut Socket, table: &str, ports: &[Published]) -> linux::Result<()> {
    remove(socket, table, ports.iter().map(sets::of_port).collect())
}

fn add(socket: &mut Socket, table: &str, elements: Vec<Placed>) -> linux::Result<()> {
    let mut batch = Batch::new(FAMILY, table);
    for (set, elements) in by_set(elements) {
        batch.add_elements(set, &elements);
    }
    batch.commit(socket)
}

/// What is missing is removed already. The kernel refuses such a batch whole, so it is then taken in pieces.
fn remove(socket: &mut Socket, table: &str, elements: Vec<Placed>) -> linux::Result<()> {
    let delete = |socket: &mut Socket, placed: &[Placed]| {
        let mut batch = Batch::new(FAMILY, table);
        for (set, elements) in by_set(placed.iter().cloned()) {
            batch.delete_elements(set, &elements);
        }
        batch.commit(socket)
    };
    match delete(socket, &elements) {
        Err(error) if error.is(Errno::NOENT) => {
            elements.chunks(1).try_for_each(|one| ignore_missing(delete(socket, one)))
        }
        other => other,
    }
}

fn ignore_missing(outcome: linux::Result<()>) -> linux::Result<()> {
    outcome.or_else(|error| if error.is(Errno::NOENT) { Ok(()) } else { Err(error) })
}

fn by_set(elements: impl IntoIterator<Item = Placed>) -> Vec<(&'static str, Vec<Element>)> {
    let mut sets: Vec<(&'static str, Vec<Element>)> = Vec::new();
    for (set, element) in elements {
        match sets.iter_mut().find(|(name, _)| *name == set) {
            Some((_, elements)) => elements.push(element),
            None => sets.push((set, vec![element])),
        }
    }
    sets
}
