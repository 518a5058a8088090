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
//! has recorded: sets are deleted and made anew, chains emptied and filled, and packets see either the old table or
//! the new one.
//!
//! An accept here ends this table's say only: another table's drop still drops ([`crate::foreign`]).

mod closed;

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use linux::Errno;
use linux::inet::Transport;
use linux::netlink::Socket;
use linux::nftables::expression::{
    Base, Conntrack, DESTINATION_TRANSLATED, ESTABLISHED, Expression as E, FIRST, Meta, RELATED, Register,
    Translation,
};
use linux::nftables::{
    Batch, ChainType, Data, Element, Field, Hook, Policy, Set, TableFamily, Values, Verdict,
};

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

const fn set(name: &'static str, key: &'static [Field]) -> Set {
    Set { name, key, values: Values::None, interval: false }
}

const fn intervals(name: &'static str, key: &'static [Field]) -> Set {
    Set { name, key, values: Values::None, interval: true }
}

const fn map(name: &'static str, key: &'static [Field], value: &'static [Field]) -> Set {
    Set { name, key, values: Values::Fields(value), interval: false }
}

const BRIDGES: Set = set("bridges", &[Field::Interface]);
const INTERNAL: Set = set("internal", &[Field::Interface]);
/// Bridges whose containers answer pings from elsewhere: with ICMP, or with that of IPv6.
const PINGED: Set = set("pinged", &[Field::Interface, Field::Protocol]);
const WITHIN: Set = Set {
    name: "within",
    key: &[Field::Interface, Field::Interface],
    values: Values::Verdicts,
    interval: false,
};

/// The sets, and where in a packet things are, of one internet protocol.
struct Protocol {
    number: u8,
    source: u32,
    destination: u32,
    length: u32,
    /// Everywhere on the host.
    published: Set,
    /// At one address of the host.
    published_at: Set,
    /// At the container's own address.
    reachable: Set,
    /// Bridges behind which everything is reachable.
    open: Set,
    /// The number of its control messages.
    icmp: u8,
    /// Which bridge has which subnet.
    subnets: Set,
    masquerade: Set,
    translate: Set,
}

const V4: Protocol = Protocol {
    number: 2,
    source: 12,
    destination: 16,
    length: 4,
    published: map("published4", &[Field::Protocol, Field::Port], &[Field::Ipv4, Field::Port]),
    published_at: map(
        "published4_at",
        &[Field::Ipv4, Field::Protocol, Field::Port],
        &[Field::Ipv4, Field::Port],
    ),
    reachable: set("reachable4", &[Field::Ipv4, Field::Protocol, Field::Port]),
    open: set("open4", &[Field::Interface]),
    icmp: 1,
    subnets: intervals("subnets4", &[Field::Interface, Field::Ipv4]),
    masquerade: intervals("masquerade4", &[Field::Interface, Field::Ipv4]),
    translate: Set {
        name: "source4",
        key: &[Field::Interface, Field::Ipv4],
        values: Values::Fields(&[Field::Ipv4]),
        interval: true,
    },
};

const V6: Protocol = Protocol {
    number: 10,
    source: 8,
    destination: 24,
    length: 16,
    published: map("published6", &[Field::Protocol, Field::Port], &[Field::Ipv6, Field::Port]),
    published_at: map(
        "published6_at",
        &[Field::Ipv6, Field::Protocol, Field::Port],
        &[Field::Ipv6, Field::Port],
    ),
    reachable: set("reachable6", &[Field::Ipv6, Field::Protocol, Field::Port]),
    open: set("open6", &[Field::Interface]),
    icmp: 58,
    subnets: intervals("subnets6", &[Field::Interface, Field::Ipv6]),
    masquerade: intervals("masquerade6", &[Field::Interface, Field::Ipv6]),
    translate: Set {
        name: "source6",
        key: &[Field::Interface, Field::Ipv6],
        values: Values::Fields(&[Field::Ipv6]),
        interval: true,
    },
};

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

fn all_sets() -> Vec<Set> {
    let of = |protocol: Protocol| {
        [
            protocol.published,
            protocol.published_at,
            protocol.reachable,
            protocol.open,
            protocol.subnets,
            protocol.masquerade,
            protocol.translate,
        ]
    };
    [BRIDGES, INTERNAL, WITHIN, PINGED].into_iter().chain(of(V4)).chain(of(V6)).chain(closed::SETS).collect()
}

/// The whole table from records, in one transaction. Containers do not reach `listeners` of the host. `policy` is for
/// what neither comes from nor goes to a bridge of ours; none leaves it as it is.
///
/// Sets stay where they are and only their elements are exchanged: a packet that has begun with the rules of before looks
/// into the sets of before, and finds nothing there once these are on their way out.
pub(crate) fn rebuild(
    socket: &mut Socket,
    table: &str,
    bridges: &[BridgeRules],
    published: &[Published],
    listeners: &[SocketAddr],
    policy: Option<Policy>,
) -> linux::Result<()> {
    let existing = linux::nftables::sets(socket, FAMILY, table)?;
    let built = |keep: bool| build(table, &existing, keep, bridges, published, listeners, policy);
    match built(true).commit(socket) {
        // Of another build, which had sets of another kind.
        Err(_) if !existing.is_empty() => built(false).commit(socket),
        other => other,
    }
}

/// `keep`: the sets that are there are of our kinds.
fn build(
    table: &str,
    existing: &[String],
    keep: bool,
    bridges: &[BridgeRules],
    published: &[Published],
    listeners: &[SocketAddr],
    policy: Option<Policy>,
) -> Batch {
    let mut batch = Batch::new(FAMILY, table);
    batch.ensure_table();
    for chain in PLAIN_CHAINS {
        batch.ensure_chain(chain);
    }
    for (name, kind, hook, priority) in BASE_CHAINS {
        batch.ensure_base_chain(name, kind, hook, priority, policy.filter(|_| name == "forward"));
    }
    let names = PLAIN_CHAINS.into_iter().chain(BASE_CHAINS.map(|(name, ..)| name));
    for chain in names.filter(|name| *name != USER) {
        batch.flush_chain(chain);
    }
    let ours = all_sets();
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
    let elements = bridges.iter().flat_map(bridge_elements).chain(published.iter().map(published_element));
    let elements = elements.chain(closed::elements(listeners));
    for (set, elements) in by_set(elements) {
        batch.add_elements(set, &elements);
    }
    for (chain, rule) in rules().into_iter().chain(closed::rules(listeners)) {
        batch.append_rule(chain, &rule);
    }
    batch
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
    add(socket, table, bridge_elements(bridge))
}

pub(crate) fn remove_bridge(socket: &mut Socket, table: &str, bridge: &BridgeRules) -> linux::Result<()> {
    remove(socket, table, bridge_elements(bridge))
}

pub(crate) fn publish(socket: &mut Socket, table: &str, ports: &[Published]) -> linux::Result<()> {
    add(socket, table, ports.iter().map(published_element).collect())
}

pub(crate) fn unpublish(socket: &mut Socket, table: &str, ports: &[Published]) -> linux::Result<()> {
    remove(socket, table, ports.iter().map(published_element).collect())
}

type Placed = (&'static str, Element);

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

fn published_element(port: &Published) -> Placed {
    let protocol = if port.target.is_ipv4() { V4 } else { V6 };
    let at = |place: SocketAddr, key: Data| key.protocol(port.transport.number()).port(place.port());
    let Some(host) = port.host else {
        let key = at(port.target, Data::new().ip(port.target.ip()));
        return (protocol.reachable.name, Element::key(key));
    };
    let everywhere = host.ip().is_unspecified();
    let key = at(host, if everywhere { Data::new() } else { Data::new().ip(host.ip()) });
    let value = Data::new().ip(port.target.ip()).port(port.target.port());
    let set = if everywhere { protocol.published.name } else { protocol.published_at.name };
    (set, Element::pair(key, value))
}

fn bridge_elements(bridge: &BridgeRules) -> Vec<Placed> {
    let name = || Data::new().interface(&bridge.name);
    let within = if bridge.icc { Verdict::Accept } else { Verdict::Drop };
    let mut elements = vec![
        (BRIDGES.name, Element::key(name())),
        (WITHIN.name, Element::verdict(name().interface(&bridge.name), within)),
    ];
    if bridge.internal {
        elements.push((INTERNAL.name, Element::key(name())));
    }
    for (protocol, entry) in [(V4, bridge.entry), (V6, bridge.entry_v6)] {
        match entry {
            _ if bridge.internal => {}
            Entry::Closed => {}
            Entry::Routed => elements.push((PINGED.name, Element::key(name().protocol(protocol.icmp)))),
            Entry::Open => elements.push((protocol.open.name, Element::key(name()))),
        }
    }
    for subnet in &bridge.subnets {
        let protocol = if subnet.addr().is_ipv4() { V4 } else { V6 };
        let last = Data::new().interface(&bridge.name).ip(subnet.broadcast());
        let interval = Element::interval(name().ip(subnet.network()), last);
        elements.push((protocol.subnets.name, interval.clone()));
        if bridge.internal || !bridge.masquerade || bridge.entry_of(subnet) == Entry::Routed {
            continue;
        }
        let source = bridge.source.iter().find(|source| source.is_ipv4() == subnet.addr().is_ipv4());
        elements.push(match source {
            None => (protocol.masquerade.name, interval),
            Some(source) => {
                let mut translated = interval;
                translated.value = linux::nftables::Value::Data(Data::new().ip(*source));
                (protocol.translate.name, translated)
            }
        });
    }
    elements
}

/// All rules, each with its chain.
fn rules() -> Vec<(&'static str, Vec<E>)> {
    let mut rules = Vec::new();
    rules.extend(raw().map(|rule| ("raw", rule)));
    rules.extend(["prerouting", "output"].map(|chain| (chain, to_published())));
    rules.extend(published().map(|rule| ("published", rule)));
    rules.extend([Meta::InputInterface, Meta::OutputInterface].map(|side| {
        let rule =
            vec![E::Meta(side, FIRST), E::In(FIRST, BRIDGES.name), E::Do(Verdict::Jump("guard".into()))];
        ("forward", rule)
    }));
    rules.extend(
        [Meta::InputInterface, Meta::OutputInterface]
            .map(|side| ("forward", of_other_engines(side, E::Do(Verdict::Accept)).to_vec())),
    );
    rules.extend(guard().into_iter().map(|rule| ("guard", rule)));
    rules.push(("postrouting", from_loopback()));
    rules.extend(leaving(&V4).into_iter().chain(leaving(&V6)).map(|rule| ("postrouting", rule)));
    rules
}

fn is(protocol: &Protocol) -> [E; 2] {
    [E::Meta(Meta::Family, FIRST), E::Equal(FIRST, vec![protocol.number])]
}

const LOOPBACK_NET: u8 = 127;

/// `iifname != lo ip daddr 127.0.0.0/8 drop`, and the same for the source: with `route_localnet` on the bridges,
/// nothing else would keep containers and neighbours off what listens on 127.0.0.1, nor from claiming to be there.
fn raw() -> [Vec<E>; 2] {
    [V4.destination, V4.source].map(|offset| {
        let mut rule = vec![
            E::Meta(Meta::InputInterface, FIRST),
            E::NotEqual(FIRST, linux::nftables::interface_name("lo").to_vec()),
        ];
        rule.extend(is(&V4));
        rule.push(E::Payload { base: Base::Network, offset, length: 1, to: FIRST });
        rule.push(E::Equal(FIRST, vec![LOOPBACK_NET]));
        rule.push(E::Do(Verdict::Drop));
        rule
    })
}

/// `fib daddr type local jump published`
fn to_published() -> Vec<E> {
    const LOCAL: u32 = 2;
    vec![
        E::DestinationType(FIRST),
        E::Equal(FIRST, LOCAL.to_ne_bytes().to_vec()),
        E::Do(Verdict::Jump("published".into())),
    ]
}

fn published() -> [Vec<E>; 6] {
    let address = |offset| E::Payload { base: Base::Network, offset, length: V6.length, to: FIRST };
    let mut loopback = is(&V6).to_vec();
    // ::1 cannot leave the host: what goes there is for the relay that listens.
    loopback.push(address(V6.destination));
    loopback.push(E::Equal(FIRST, std::net::Ipv6Addr::LOCALHOST.octets().to_vec()));
    loopback.push(E::Do(Verdict::Return));
    // Nor can link-local addresses be answered from behind a bridge: these, too, are for the relay.
    let mut link_local = is(&V6).to_vec();
    link_local.push(E::Payload { base: Base::Network, offset: V6.source, length: 4, to: FIRST });
    link_local.push(E::Mask(FIRST, u32::from_ne_bytes([0xff, 0xc0, 0, 0])));
    link_local.push(E::Equal(FIRST, vec![0xfe, 0x80, 0, 0]));
    link_local.push(E::Do(Verdict::Return));
    [loopback, link_local, translated_at(&V4), translated(&V4), translated_at(&V6), translated(&V6)]
}

/// `dnat to ip daddr . meta l4proto . th dport map @published_at`
fn translated_at(protocol: &Protocol) -> Vec<E> {
    let mut rule = is(protocol).to_vec();
    rule.push(E::Payload {
        base: Base::Network,
        offset: protocol.destination,
        length: protocol.length,
        to: FIRST,
    });
    rule.extend(to_target(protocol, protocol.length / 4, protocol.published_at.name));
    rule
}

/// `dnat to meta l4proto . th dport map @published`
fn translated(protocol: &Protocol) -> Vec<E> {
    let mut rule = is(protocol).to_vec();
    rule.extend(to_target(protocol, 0, protocol.published.name));
    rule
}

/// Protocol and port as the key's words from `word` on, and the translation to what the map says.
fn to_target(protocol: &Protocol, word: u32, map: &'static str) -> [E; 4] {
    [
        E::Meta(Meta::Protocol, Register::word(word)),
        destination_port(Register::word(word + 1)),
        E::Map { key: FIRST, map, to: FIRST },
        E::Nat {
            kind: Translation::Destination,
            family: protocol.number.into(),
            address: FIRST,
            port: Some(Register::word(protocol.length / 4)),
        },
    ]
}

/// Bits of connection tracking of which one must be set.
fn any_bit(what: Conntrack, bits: u32) -> [E; 3] {
    [E::Conntrack(what, FIRST), E::Mask(FIRST, bits), E::NotEqual(FIRST, vec![0; 4])]
}

/// `iifname "wh*" accept`: bridges of other engines are theirs to guard, whatever this table's policy is for the rest.
fn of_other_engines(side: Meta, then: E) -> [E; 3] {
    const PREFIX: &[u8] = b"wh";
    [E::Meta(side, FIRST), E::Equal(FIRST, PREFIX.to_vec()), then]
}

/// What packets from or to a bridge go through.
fn guard() -> Vec<Vec<E>> {
    let with = |parts: &[E], verdict: Verdict| {
        let mut rule = parts.to_vec();
        rule.push(E::Do(verdict));
        rule
    };
    let interfaces =
        [E::Meta(Meta::InputInterface, FIRST), E::Meta(Meta::OutputInterface, Register::word(4))];
    let from_internal = [E::Meta(Meta::InputInterface, FIRST), E::In(FIRST, INTERNAL.name)];
    let mut published = any_bit(Conntrack::Status, DESTINATION_TRANSLATED).to_vec();
    published.extend([E::Meta(Meta::InputInterface, FIRST), E::NotIn(FIRST, INTERNAL.name)]);
    let to_bridge = [E::Meta(Meta::OutputInterface, FIRST), E::In(FIRST, BRIDGES.name), E::Counter];
    let pinged = [
        E::Meta(Meta::OutputInterface, FIRST),
        E::Meta(Meta::Protocol, Register::word(4)),
        E::In(FIRST, PINGED.name),
    ];
    vec![
        with(&[], Verdict::Jump(USER.into())),
        with(&any_bit(Conntrack::State, ESTABLISHED | RELATED), Verdict::Accept),
        with(&published, Verdict::Accept),
        interfaces.into_iter().chain([E::VerdictMap(FIRST, WITHIN.name)]).collect(),
        with(&from_internal, Verdict::Drop),
        with(&pinged, Verdict::Accept),
        with(&reachable(&V4), Verdict::Accept),
        with(&reachable(&V6), Verdict::Accept),
        with(&open(&V4), Verdict::Accept),
        with(&open(&V6), Verdict::Accept),
        with(&to_bridge, Verdict::Drop),
        with(&[], Verdict::Accept),
    ]
}

/// `oifname @bridges ip daddr . meta l4proto . th dport @reachable`
fn reachable(protocol: &Protocol) -> Vec<E> {
    let mut rule = is(protocol).to_vec();
    rule.extend([
        E::Meta(Meta::OutputInterface, FIRST),
        E::In(FIRST, BRIDGES.name),
        E::Payload { base: Base::Network, offset: protocol.destination, length: protocol.length, to: FIRST },
        E::Meta(Meta::Protocol, Register::word(protocol.length / 4)),
        destination_port(Register::word(protocol.length / 4 + 1)),
        E::In(FIRST, protocol.reachable.name),
    ]);
    rule
}

/// `oifname @open`
fn open(protocol: &Protocol) -> Vec<E> {
    let mut rule = is(protocol).to_vec();
    rule.extend([E::Meta(Meta::OutputInterface, FIRST), E::In(FIRST, protocol.open.name)]);
    rule
}

fn destination_port(to: Register) -> E {
    const DESTINATION_PORT: u32 = 2;
    E::Payload { base: Base::Transport, offset: DESTINATION_PORT, length: 2, to }
}

/// `oifname @bridges ip saddr 127.0.0.0/8 masquerade`: connections to 127.0.0.1 that were translated.
fn from_loopback() -> Vec<E> {
    let mut rule = is(&V4).to_vec();
    rule.extend([
        E::Payload { base: Base::Network, offset: V4.source, length: 1, to: FIRST },
        E::Equal(FIRST, vec![LOOPBACK_NET]),
        E::Meta(Meta::OutputInterface, FIRST),
        E::In(FIRST, BRIDGES.name),
        E::Masquerade,
    ]);
    rule
}

/// What has the address of a bridge's subnet. Within the bridge: if it was translated (a published port, reached from
/// a neighbour or from its own container), answers have to come back by the bridge; otherwise it stays as it is.
/// Out of the bridge it takes the chosen address, or that of the way out.
fn leaving(protocol: &Protocol) -> [Vec<E>; 4] {
    let key = |side: Meta, then: &[E]| {
        let mut rule = is(protocol).to_vec();
        rule.push(E::Meta(side, FIRST));
        rule.push(E::Payload {
            base: Base::Network,
            offset: protocol.source,
            length: protocol.length,
            to: Register::word(4),
        });
        rule.extend_from_slice(then);
        rule
    };
    let in_subnet = E::In(FIRST, protocol.subnets.name);
    let mut hairpin = vec![in_subnet.clone()];
    hairpin.extend(any_bit(Conntrack::Status, DESTINATION_TRANSLATED));
    hairpin.push(E::Masquerade);
    let chosen = [
        E::Map { key: FIRST, map: protocol.translate.name, to: FIRST },
        E::Nat { kind: Translation::Source, family: protocol.number.into(), address: FIRST, port: None },
    ];
    [
        key(Meta::OutputInterface, &hairpin),
        key(Meta::OutputInterface, &[in_subnet, E::Do(Verdict::Accept)]),
        key(Meta::InputInterface, &chosen),
        key(Meta::InputInterface, &[E::In(FIRST, protocol.masquerade.name), E::Masquerade]),
    ]
}
