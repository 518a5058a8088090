//! The connections that the firewall remembers, and making it forget some.
//!
//! A connection's translation is decided by its first packet. When a container goes, or a port is published, entries
//! decided before would send packets to an address that is someone else's by now; UDP entries live as long as packets
//! come. The kernel offers no deletion by address, so entries are listed, compared here, and deleted one by one.
//!
//! See `include/uapi/linux/netfilter/nfnetlink_conntrack.h`.

use std::net::IpAddr;

use crate::netlink::address::read_address;
use crate::netlink::{Attributes, Family, Message, Mode, Socket};
use crate::{Errno, Error};

const SUBSYSTEM: u16 = 1;
const GET: u16 = 1;
const DELETE: u16 = 2;

const TUPLE_ORIGINAL: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const IDENTITY: u16 = 12;
const ZONE: u16 = 18;
const TUPLE_ADDRESSES: u16 = 1;
const TUPLE_PROTOCOL: u16 = 2;
const PROTOCOL_NUMBER: u16 = 1;
const SOURCE_PORT: u16 = 2;
const DESTINATION_PORT: u16 = 3;

/// One direction of a connection. Protocols without ports have 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuple {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub protocol: u8,
    pub source_port: u16,
    pub destination_port: u16,
}

pub fn open() -> Result<Socket, Error> {
    Socket::open(Family::Netfilter)
}

/// Forget the connections of which `matches` says so, given the direction of the first packet and of the answers.
/// Returns how many there were.
pub fn forget(socket: &mut Socket, mut matches: impl FnMut(&Tuple, &Tuple) -> bool) -> Result<usize, Error> {
    let mut deletions = Vec::new();
    let question = Message::new(SUBSYSTEM << 8 | GET, Mode::Plain, &[0; 4], "IPCTNL_MSG_CT_GET");
    socket.dump(&question, |payload| {
        let (Some(family), Some(attributes)) = (payload.first(), payload.get(4..).map(Attributes)) else {
            return;
        };
        let tuple = |kind| attributes.nested(kind).and_then(parse);
        let (Some(original), Some(reply)) = (tuple(TUPLE_ORIGINAL), tuple(TUPLE_REPLY)) else { return };
        if matches(&original, &reply) {
            deletions.push(deletion(*family, attributes));
        }
    })?;
    let mut count = 0;
    for message in deletions {
        match socket.request(vec![message]) {
            Ok(()) => count += 1,
            // It ended by itself meanwhile.
            Err(error) if error.is(Errno::NOENT) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}

fn deletion(family: u8, entry: Attributes<'_>) -> Message {
    const NESTED: u16 = 0x8000;
    let mut message =
        Message::new(SUBSYSTEM << 8 | DELETE, Mode::Plain, &[family, 0, 0, 0], "IPCTNL_MSG_CT_DELETE");
    if let Some(tuple) = entry.value(TUPLE_ORIGINAL) {
        message = message.attribute(TUPLE_ORIGINAL | NESTED, tuple);
    }
    for kind in [IDENTITY, ZONE] {
        if let Some(value) = entry.value(kind) {
            message = message.attribute(kind, value);
        }
    }
    message
}

fn parse(tuple: Attributes<'_>) -> Option<Tuple> {
    let addresses = tuple.nested(TUPLE_ADDRESSES)?;
    // Sources are numbered 1 and 3, destinations 2 and 4, by family.
    let address = |v4, v6| addresses.value(v4).or_else(|| addresses.value(v6)).and_then(read_address);
    let protocol = tuple.nested(TUPLE_PROTOCOL)?;
    let port =
        |kind| protocol.value(kind).and_then(|port| port.try_into().ok()).map_or(0, u16::from_be_bytes);
    Some(Tuple {
        source: address(1, 3)?,
        destination: address(2, 4)?,
        protocol: *protocol.value(PROTOCOL_NUMBER)?.first()?,
        source_port: port(SOURCE_PORT),
        destination_port: port(DESTINATION_PORT),
    })
}
