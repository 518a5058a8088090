//! The rules: what each chain asks of a packet, and in which sets it looks. None is about one container.

use linux::nftables::Verdict;
use linux::nftables::expression::{
    Base, Conntrack, DESTINATION_TRANSLATED, ESTABLISHED, Expression as E, FIRST, Meta, RELATED, Register,
    Translation,
};

use super::USER;
use super::sets::{BRIDGES, INTERNAL, PINGED, Protocol, V4, V6, WITHIN};

/// All rules, each with its chain.
pub(super) fn all() -> Vec<(&'static str, Vec<E>)> {
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

pub(super) fn is(protocol: &Protocol) -> [E; 2] {
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
pub(super) fn of_other_engines(side: Meta, then: E) -> [E; 3] {
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

pub(super) fn destination_port(to: Register) -> E {
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
