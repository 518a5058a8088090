//! The sets, and what of the records becomes an element of which.

use std::net::SocketAddr;

use linux::nftables::{Data, Element, Field, Set, Value, Values, Verdict};

use super::{BridgeRules, Entry, Published, closed};

/// An element with the name of its set.
pub(super) type Placed = (&'static str, Element);

const fn set(name: &'static str, key: &'static [Field]) -> Set {
    Set { name, key, values: Values::None, interval: false }
}

pub(super) const fn intervals(name: &'static str, key: &'static [Field]) -> Set {
    Set { name, key, values: Values::None, interval: true }
}

const fn map(name: &'static str, key: &'static [Field], value: &'static [Field]) -> Set {
    Set { name, key, values: Values::Fields(value), interval: false }
}

pub(super) const BRIDGES: Set = set("bridges", &[Field::Interface]);
pub(super) const INTERNAL: Set = set("internal", &[Field::Interface]);
/// Bridges whose containers answer pings from elsewhere: with ICMP, or with that of IPv6.
pub(super) const PINGED: Set = set("pinged", &[Field::Interface, Field::Protocol]);
pub(super) const WITHIN: Set = Set {
    name: "within",
    key: &[Field::Interface, Field::Interface],
    values: Values::Verdicts,
    interval: false,
};

/// The sets, and where in a packet things are, of one internet protocol.
pub(super) struct Protocol {
    pub(super) number: u8,
    pub(super) source: u32,
    pub(super) destination: u32,
    pub(super) length: u32,
    /// Everywhere on the host.
    pub(super) published: Set,
    /// At one address of the host.
    pub(super) published_at: Set,
    /// At the container's own address.
    pub(super) reachable: Set,
    /// Bridges behind which everything is reachable.
    pub(super) open: Set,
    /// The number of its control messages.
    pub(super) icmp: u8,
    /// Which bridge has which subnet.
    pub(super) subnets: Set,
    pub(super) masquerade: Set,
    pub(super) translate: Set,
}

pub(super) const V4: Protocol = Protocol {
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

pub(super) const V6: Protocol = Protocol {
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

pub(super) fn all() -> Vec<Set> {
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

pub(super) fn of_port(port: &Published) -> Placed {
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

pub(super) fn of_bridge(bridge: &BridgeRules) -> Vec<Placed> {
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
                translated.value = Value::Data(Data::new().ip(*source));
                (protocol.translate.name, translated)
            }
        });
    }
    elements
}
