//! Addresses of interfaces.

use std::net::IpAddr;

use super::{Attributes, Message, Mode, Socket};
use crate::Error;

const NEWADDR: u16 = 20;
const DELADDR: u16 = 21;
const GETADDR: u16 = 22;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const IFA_FLAGS: u16 = 8;
/// Usable at once: the engine gives each address out once, so nobody need be asked.
const FLAG_NO_DUPLICATE_DETECTION: u32 = 2;

/// An address on an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    pub index: u32,
    pub address: IpAddr,
    pub prefix: u8,
}

pub fn add(index: u32, address: IpAddr, prefix: u8) -> Message {
    let name = format!("RTM_NEWADDR({address}/{prefix} on {index})");
    let message = Message::new(NEWADDR, Mode::Replace, &header(index, address, prefix), name);
    match address {
        IpAddr::V4(v4) => {
            let hosts = u32::MAX.checked_shr(prefix.into()).unwrap_or(0);
            let broadcast = u32::from(v4) | hosts;
            let message = message.attribute(IFA_LOCAL, &v4.octets()).attribute(IFA_ADDRESS, &v4.octets());
            if hosts > 1 { message.attribute(IFA_BROADCAST, &broadcast.to_be_bytes()) } else { message }
        }
        IpAddr::V6(v6) => {
            message.attribute(IFA_ADDRESS, &v6.octets()).u32(IFA_FLAGS, FLAG_NO_DUPLICATE_DETECTION)
        }
    }
}

pub fn delete(index: u32, address: IpAddr, prefix: u8) -> Message {
    let name = format!("RTM_DELADDR({address}/{prefix} on {index})");
    let message = Message::new(DELADDR, Mode::Plain, &header(index, address, prefix), name);
    match address {
        IpAddr::V4(v4) => message.attribute(IFA_LOCAL, &v4.octets()),
        IpAddr::V6(v6) => message.attribute(IFA_ADDRESS, &v6.octets()),
    }
}

/// All addresses of the socket's namespace.
pub fn list(socket: &mut Socket) -> Result<Vec<Address>, Error> {
    let message = Message::new(GETADDR, Mode::Plain, &[0; 8], "RTM_GETADDR(all)");
    let mut addresses = Vec::new();
    socket.dump(&message, |payload| addresses.extend(parse(payload)))?;
    Ok(addresses)
}

/// The addresses of an interface that somebody gave to it, and that are good beyond its link: neither those that the
/// kernel made up nor those that were leased for a time.
pub fn list_lasting(socket: &mut Socket, index: u32) -> Result<Vec<Address>, Error> {
    let message = Message::new(GETADDR, Mode::Plain, &[0; 8], format!("RTM_GETADDR({index})"));
    let mut addresses = Vec::new();
    socket.dump(&message, |payload| addresses.extend(parse(payload).filter(|_| lasts(payload))))?;
    addresses.retain(|address| address.index == index);
    Ok(addresses)
}

fn lasts(payload: &[u8]) -> bool {
    const PERMANENT: u32 = 0x80;
    const SCOPE_UNIVERSE: u8 = 0;
    let Some([_, _, flags, scope]) = payload.first_chunk() else { return false };
    let flags = Attributes(&payload[8..]).u32(IFA_FLAGS).unwrap_or(u32::from(*flags));
    *scope == SCOPE_UNIVERSE && flags & PERMANENT != 0
}

/// `struct ifaddrmsg`.
fn header(index: u32, address: IpAddr, prefix: u8) -> [u8; 8] {
    let mut header = [0; 8];
    header[0] = family(address);
    header[1] = prefix;
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header
}

pub(super) fn family(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 2,
        IpAddr::V6(_) => 10,
    }
}

pub(crate) fn read_address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        16 => Some(IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?)),
        _ => None,
    }
}

fn parse(payload: &[u8]) -> Option<Address> {
    let index = u32::from_ne_bytes(payload.get(4..8)?.try_into().ok()?);
    let attributes = Attributes(payload.get(8..)?);
    let bytes = attributes.value(IFA_LOCAL).or_else(|| attributes.value(IFA_ADDRESS))?;
    Some(Address { index, address: read_address(bytes)?, prefix: payload[1] })
}
