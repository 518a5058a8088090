//! Routes of the main table: the default ones that containers get, and those that subnets must not overlap.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::address::{family, read_address};
use super::{Attributes, Message, Mode, Socket};
use crate::Error;

const NEWROUTE: u16 = 24;
const DELROUTE: u16 = 25;
const GETROUTE: u16 = 26;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const TABLE_MAIN: u8 = 254;
const PROTOCOL_BOOT: u8 = 3;
const TYPE_UNICAST: u8 = 1;
const SCOPE_UNIVERSE: u8 = 0;
const SCOPE_NOWHERE: u8 = 255;

/// A route of the main table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// The network that it leads to, with its prefix length; 0 is the default route.
    pub destination: IpAddr,
    pub prefix: u8,
    pub gateway: Option<IpAddr>,
    pub interface: Option<u32>,
}

/// The default route of the gateway's family, in place of the one there was.
pub fn set_default(gateway: IpAddr, interface: u32) -> Message {
    let octets = octets(gateway);
    let header = header(family(gateway), 0, SCOPE_UNIVERSE);
    Message::new(
        NEWROUTE,
        Mode::Replace,
        &header,
        format!("RTM_NEWROUTE(default via {gateway} on {interface})"),
    )
    .attribute(RTA_GATEWAY, &octets)
    .u32(RTA_OIF, interface)
}

pub fn delete_default(v6: bool) -> Message {
    let header = header(if v6 { 10 } else { 2 }, 0, SCOPE_NOWHERE);
    Message::new(DELROUTE, Mode::Plain, &header, "RTM_DELROUTE(default)")
}

/// The main table of the socket's namespace, both families.
pub fn list(socket: &mut Socket) -> Result<Vec<Route>, Error> {
    let mut routes = Vec::new();
    let message = Message::new(GETROUTE, Mode::Plain, &[0; 12], "RTM_GETROUTE(all)");
    socket.dump(&message, |payload| routes.extend(parse(payload)))?;
    Ok(routes)
}

/// `struct rtmsg`.
fn header(family: u8, prefix: u8, scope: u8) -> [u8; 12] {
    [family, prefix, 0, 0, TABLE_MAIN, PROTOCOL_BOOT, scope, TYPE_UNICAST, 0, 0, 0, 0]
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

fn parse(payload: &[u8]) -> Option<Route> {
    let [family, prefix, _, _, table, _, _, kind] = *payload.first_chunk::<8>()?;
    if table != TABLE_MAIN || kind != TYPE_UNICAST {
        return None;
    }
    let attributes = Attributes(payload.get(12..)?);
    let nowhere =
        if family == 10 { IpAddr::V6(Ipv6Addr::UNSPECIFIED) } else { IpAddr::V4(Ipv4Addr::UNSPECIFIED) };
    Some(Route {
        destination: attributes.value(RTA_DST).and_then(read_address).unwrap_or(nowhere),
        prefix,
        gateway: attributes.value(RTA_GATEWAY).and_then(read_address),
        interface: attributes.u32(RTA_OIF),
    })
}
