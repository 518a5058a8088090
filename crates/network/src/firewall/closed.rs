//! Ports of the host itself that containers do not reach: whoever speaks to the engine is root on its host.
//!
//! ```text
//!   input ──▶ closed   only tcp from a bridge, ours or another engine's:
//!                        ip daddr . tcp dport @closed4: drop │ ip6 daddr . tcp dport @closed6: drop
//! ```
//!
//! The hook is the local one: by then a published port has been translated and has gone the way to its container, and
//! all addresses of the host, a bridge's own among them, have come to the same place. The sets hold addresses beside
//! ports, as ranges: a listener everywhere is closed everywhere, and one at a single address leaves the same port of
//! the others alone, where a shim may relay it ([`crate::relay`]). What the host says to itself comes in by `lo`, and
//! what comes from outside by no bridge, so neither gets here. A bridge of the administrator's to which other machines
//! are connected, too, is one to whose machines the ports are closed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use linux::nftables::expression::{Base, Expression as E, FIRST, Meta, Register};
use linux::nftables::{Data, Element, Field, Set, Verdict};

use super::rules::{destination_port, is, of_other_engines};
use super::sets::{BRIDGES, Placed, Protocol, V4, V6, intervals};

pub(super) const CHAIN: &str = "closed";
const CLOSED_V4: Set = intervals("closed4", &[Field::Ipv4, Field::Port]);
const CLOSED_V6: Set = intervals("closed6", &[Field::Ipv6, Field::Port]);
pub(super) const SETS: [Set; 2] = [CLOSED_V4, CLOSED_V6];

const TCP: u8 = 6;

/// All rules, each with its chain; none where there is nothing to close, so that packets for the host pay nothing.
pub(super) fn rules(listeners: &[SocketAddr]) -> Vec<(&'static str, Vec<E>)> {
    if listeners.is_empty() {
        return Vec::new();
    }
    let jump = || E::Do(Verdict::Jump(CHAIN.into()));
    let tcp = [E::Meta(Meta::Protocol, FIRST), E::Equal(FIRST, vec![TCP])];
    let ours = [E::Meta(Meta::InputInterface, FIRST), E::In(FIRST, BRIDGES.name), jump()];
    let others = of_other_engines(Meta::InputInterface, jump());
    vec![
        ("input", tcp.iter().cloned().chain(ours).collect()),
        ("input", tcp.into_iter().chain(others).collect()),
        (CHAIN, closed(&V4, CLOSED_V4)),
        (CHAIN, closed(&V6, CLOSED_V6)),
    ]
}

/// `ip daddr . tcp dport @closed4 drop`
fn closed(protocol: &Protocol, set: Set) -> Vec<E> {
    let mut rule = is(protocol).to_vec();
    rule.extend([
        E::Payload { base: Base::Network, offset: protocol.destination, length: protocol.length, to: FIRST },
        destination_port(Register::word(protocol.length / 4)),
        E::In(FIRST, set.name),
        E::Do(Verdict::Drop),
    ]);
    rule
}

/// Where packets for these listeners aim at. Ranges of a set must not overlap: of a port that is closed everywhere,
/// nothing else is said.
pub(super) fn elements(listeners: &[SocketAddr]) -> Vec<Placed> {
    let mut places: Vec<(IpAddr, u16)> = listeners
        .iter()
        .flat_map(|listener| {
            let address = listener.ip().to_canonical();
            // A socket at :: usually hears IPv4, too. If this one does not, nothing is lost: published ports of IPv4
            // are translated and never come here.
            let both = address == Ipv6Addr::UNSPECIFIED;
            let v4 = both.then_some(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
            [Some(address), v4].into_iter().flatten().map(|address| (address, listener.port()))
        })
        .collect();
    places.sort_unstable();
    places.dedup();
    let everywhere = |(address, port): &(IpAddr, u16)| {
        let any = |other: &IpAddr| other.is_unspecified() && other.is_ipv4() == address.is_ipv4();
        !address.is_unspecified() && places.iter().any(|(other, same)| any(other) && same == port)
    };
    places.iter().filter(|place| !everywhere(place)).map(|(address, port)| element(*address, *port)).collect()
}

fn element(address: IpAddr, port: u16) -> Placed {
    let last = match address {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::BROADCAST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::from(u128::MAX).into(),
        one => one,
    };
    let set = if address.is_ipv4() { CLOSED_V4 } else { CLOSED_V6 };
    let end = |address| Data::new().ip(address).port(port);
    (set.name, Element::interval(end(address), end(last)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(listeners: &[&str]) -> Vec<Placed> {
        let listeners: Vec<SocketAddr> = listeners.iter().map(|one| one.parse().unwrap()).collect();
        elements(&listeners)
    }

    #[test]
    fn a_listener_everywhere_is_closed_everywhere() {
        assert_eq!(of(&["0.0.0.0:2375"]), [element(Ipv4Addr::UNSPECIFIED.into(), 2375)]);
        let both = [element(Ipv4Addr::UNSPECIFIED.into(), 2375), element(Ipv6Addr::UNSPECIFIED.into(), 2375)];
        assert_eq!(of(&["[::]:2375"]), both);
        assert_eq!(of(&["[::]:2375", "0.0.0.0:2375", "192.0.2.1:2375", "[2001:db8::1]:2375"]), both);
    }

    #[test]
    fn one_at_an_address_is_closed_there() {
        let v4: IpAddr = [192, 0, 2, 1].into();
        assert_eq!(of(&["192.0.2.1:1", "[::ffff:192.0.2.1]:1"]), [element(v4, 1)]);
        assert_eq!(of(&["192.0.2.1:1", "0.0.0.0:2"]).len(), 2);
        assert!(rules(&[]).is_empty() && of(&[]).is_empty());
    }
}
