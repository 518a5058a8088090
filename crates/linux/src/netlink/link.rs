//! Network interfaces: bridges, veth pairs, and how a bridge treats its ports.
//!
//! A veth pair is made by one message from the bridge's side: its host end is enslaved, its other end appears in the
//! container's namespace under its final name and address. Nothing is moved or renamed afterwards.
//! The kernel deletes the pair when the namespace dies; deleting it by hand waits for two grace periods (10 ms and more).

use std::fmt;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::str::FromStr;

use super::{Attributes, Message, Mode, Socket};
use crate::Error;

const NEWLINK: u16 = 16;
const DELLINK: u16 = 17;
const GETLINK: u16 = 18;
const SETLINK: u16 = 19;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_MASTER: u16 = 10;
const IFLA_PROTINFO: u16 = 12;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_EXT_MASK: u16 = 29;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_INFO_SLAVE_DATA: u16 = 5;
const VETH_INFO_PEER: u16 = 1;
const BRPORT_STATE: u16 = 1;
const BRPORT_MODE: u16 = 4;
const BRPORT_FLUSH: u16 = 21;
const BRPORT_ISOLATED: u16 = 33;
/// Leaves the statistics out of an answer: they are most of it.
const EXT_FILTER_SKIP_STATS: u32 = 8;

const AF_UNSPEC: u8 = 0;
const AF_BRIDGE: u8 = 7;
const IFF_UP: u32 = 1;
const PORT_DISABLED: u8 = 0;

/// An Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mac({self})")
    }
}

impl FromStr for Mac {
    type Err = ();

    /// Six pairs of hexadecimal digits with `:` or `-` between them, or three times four with `.`.
    fn from_str(text: &str) -> Result<Mac, ()> {
        let (separator, length) = match text {
            _ if text.contains('.') => ('.', 4),
            _ if text.contains('-') => ('-', 2),
            _ => (':', 2),
        };
        let mut digits = Vec::with_capacity(12);
        for part in text.split(separator) {
            if part.len() != length {
                return Err(());
            }
            let values =
                part.chars().map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok()));
            digits.extend(values.collect::<Option<Vec<u8>>>().ok_or(())?);
        }
        let digits: [u8; 12] = digits.try_into().map_err(|_| ())?;
        Ok(Mac(std::array::from_fn(|at| digits[2 * at] << 4 | digits[2 * at + 1])))
    }
}

/// An interface as the kernel describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    pub index: u32,
    pub name: String,
    /// `bridge`, `veth`…; hardware has none.
    pub kind: Option<String>,
    /// The index of the bridge that it is a port of.
    pub master: Option<u32>,
    pub mtu: u32,
    pub mac: Option<Mac>,
    pub up: bool,
}

/// A veth pair between a bridge in this namespace and another namespace. Both ends are down at first.
#[derive(Debug, Clone, Copy)]
pub struct Veth<'a> {
    /// Name of the end that becomes a port of the bridge.
    pub host: &'a str,
    /// The bridge's index.
    pub bridge: u32,
    /// Name of the end in the other namespace.
    pub inside: &'a str,
    pub namespace: BorrowedFd<'a>,
    pub mac: Mac,
    pub mtu: Option<u32>,
}

pub fn add_veth(veth: Veth<'_>) -> Message {
    let name = format!("RTM_NEWLINK(veth {}, {} in the other namespace)", veth.host, veth.inside);
    let with_mtu = |message: Message| match veth.mtu {
        Some(mtu) => message.u32(IFLA_MTU, mtu),
        None => message,
    };
    let namespace = veth.namespace.as_raw_fd().cast_unsigned();
    with_mtu(Message::new(NEWLINK, Mode::Create, &header(AF_UNSPEC, 0, false), name))
        .text(IFLA_IFNAME, veth.host)
        .u32(IFLA_MASTER, veth.bridge)
        .nest(IFLA_LINKINFO, |info| {
            info.text(IFLA_INFO_KIND, "veth").nest(IFLA_INFO_DATA, |data| {
                data.nest(VETH_INFO_PEER, |peer| {
                    with_mtu(peer.raw(&header(AF_UNSPEC, 0, false)))
                        .text(IFLA_IFNAME, veth.inside)
                        .attribute(IFLA_ADDRESS, &veth.mac.0)
                        .u32(IFLA_NET_NS_FD, namespace)
                })
            })
        })
}

/// A bridge, up from the start. Its address is given, or it would change with the ports that come and go.
pub fn add_bridge(name: &str, mac: Mac, mtu: Option<u32>) -> Message {
    let message = Message::new(
        NEWLINK,
        Mode::Create,
        &header(AF_UNSPEC, 0, true),
        format!("RTM_NEWLINK(bridge {name})"),
    )
    .text(IFLA_IFNAME, name)
    .attribute(IFLA_ADDRESS, &mac.0)
    .nest(IFLA_LINKINFO, |info| info.text(IFLA_INFO_KIND, "bridge"));
    match mtu {
        Some(mtu) => message.u32(IFLA_MTU, mtu),
        None => message,
    }
}

pub fn set_up(index: u32) -> Message {
    Message::new(NEWLINK, Mode::Plain, &header(AF_UNSPEC, index, true), format!("RTM_NEWLINK({index} up)"))
}

pub fn set_mtu(index: u32, mtu: u32) -> Message {
    let header = header_unchanged(AF_UNSPEC, index);
    Message::new(NEWLINK, Mode::Plain, &header, format!("RTM_NEWLINK({index} mtu {mtu})")).u32(IFLA_MTU, mtu)
}

/// Moves an interface into another namespace, where it is down and has no addresses. A `%d` in its name there is a
/// number that the kernel finds.
pub fn move_to(index: u32, name: &str, namespace: BorrowedFd<'_>) -> Message {
    let header = header_unchanged(AF_UNSPEC, index);
    Message::new(NEWLINK, Mode::Plain, &header, format!("RTM_NEWLINK({index} to a namespace, as {name})"))
        .u32(IFLA_NET_NS_FD, namespace.as_raw_fd().cast_unsigned())
        .text(IFLA_IFNAME, name)
}

pub fn delete(name: &str) -> Message {
    Message::new(DELLINK, Mode::Plain, &header_unchanged(AF_UNSPEC, 0), format!("RTM_DELLINK({name})"))
        .text(IFLA_IFNAME, name)
}

/// How a bridge treats a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortMode {
    Plain,
    /// Frames may leave by the port they came in by: wanted where bridged packets are translated (`br_netfilter`).
    Hairpin,
    /// It exchanges frames with the bridge itself, but with no other isolated port.
    Isolated,
}

/// Set a port up that was made down, in its mode from the first frame on.
pub fn open_port(name: &str, mode: PortMode) -> Message {
    let label = format!("RTM_NEWLINK(port {name} up, {mode:?})");
    let message =
        Message::new(NEWLINK, Mode::Plain, &header(AF_UNSPEC, 0, true), label).text(IFLA_IFNAME, name);
    let setting = match mode {
        PortMode::Plain => return message,
        PortMode::Hairpin => BRPORT_MODE,
        PortMode::Isolated => BRPORT_ISOLATED,
    };
    message.nest(IFLA_LINKINFO, |info| {
        info.text(IFLA_INFO_SLAVE_KIND, "bridge").nest(IFLA_INFO_SLAVE_DATA, |data| data.u8(setting, 1))
    })
}

/// Stop a port at once and forget what was learned of it, without the grace period that deleting it costs.
pub fn retire_port(port: u32) -> Message {
    Message::new(
        SETLINK,
        Mode::Plain,
        &header_unchanged(AF_BRIDGE, port),
        format!("RTM_SETLINK(port {port} retired)"),
    )
    .nest(IFLA_PROTINFO, |message| message.attribute(BRPORT_FLUSH, &[]).u8(BRPORT_STATE, PORT_DISABLED))
}

/// The interface called `name`; `ENODEV` when there is none.
pub fn find(socket: &mut Socket, name: &str) -> Result<Link, Error> {
    let message =
        Message::new(GETLINK, Mode::Plain, &header_unchanged(AF_UNSPEC, 0), format!("RTM_GETLINK({name})"))
            .text(IFLA_IFNAME, name)
            .u32(IFLA_EXT_MASK, EXT_FILTER_SKIP_STATS);
    socket.get(message, parse)
}

/// All interfaces of the socket's namespace.
pub fn list(socket: &mut Socket) -> Result<Vec<Link>, Error> {
    let message = Message::new(GETLINK, Mode::Plain, &header_unchanged(AF_UNSPEC, 0), "RTM_GETLINK(all)")
        .u32(IFLA_EXT_MASK, EXT_FILTER_SKIP_STATS);
    let mut links = Vec::new();
    socket.dump(&message, |payload| links.extend(parse(payload)))?;
    Ok(links)
}

/// `struct ifinfomsg` that makes the interface up, or leaves it down.
fn header(family: u8, index: u32, up: bool) -> [u8; 16] {
    let mut header = header_unchanged(family, index);
    if up {
        header[8..12].copy_from_slice(&IFF_UP.to_ne_bytes());
        header[12..16].copy_from_slice(&IFF_UP.to_ne_bytes());
    }
    header
}

/// `struct ifinfomsg` that changes no flag.
fn header_unchanged(family: u8, index: u32) -> [u8; 16] {
    let mut header = [0; 16];
    header[0] = family;
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header
}

fn parse(payload: &[u8]) -> Option<Link> {
    let index = u32::from_ne_bytes(payload.get(4..8)?.try_into().ok()?);
    let flags = u32::from_ne_bytes(payload.get(8..12)?.try_into().ok()?);
    let attributes = Attributes(payload.get(16..)?);
    Some(Link {
        index,
        name: attributes.text(IFLA_IFNAME)?.to_owned(),
        kind: attributes.nested(IFLA_LINKINFO).and_then(|info| info.text(IFLA_INFO_KIND)).map(str::to_owned),
        master: attributes.u32(IFLA_MASTER),
        mtu: attributes.u32(IFLA_MTU).unwrap_or(0),
        mac: attributes.value(IFLA_ADDRESS).and_then(|mac| mac.try_into().ok()).map(Mac),
        up: flags & IFF_UP != 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ethernet_addresses_are_read_and_written() {
        let mac: Mac = "02:42:ac:11:00:02".parse().expect("it is an address");
        assert_eq!(mac, Mac([0x02, 0x42, 0xac, 0x11, 0x00, 0x02]));
        assert_eq!(mac.to_string(), "02:42:ac:11:00:02");
        for other in ["02-42-AC-11-00-02", "0242.ac11.0002"] {
            assert_eq!(other.parse(), Ok(mac), "{other}");
        }
        let wrong = ["", "02:42:ac:11:00", "02:42:ac:11:00:02:03", "02:42:ac:11:00:2", "02:42:ac:11:00:zz"];
        for wrong in wrong.into_iter().chain(["02:42:ac:11:00:+2", "0242ac110002"]) {
            assert_eq!(wrong.parse::<Mac>(), Err(()), "{wrong}");
        }
    }
}
