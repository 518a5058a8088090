//! What rules are made of: small instructions that load fields of a packet into registers, compare them, look them up
//! and decide. Compare with what `nft --debug=netlink` prints for the same rule.

use super::{DATA_VALUE, LIST_ELEMENT, Verdict, interface_name};
use crate::netlink::Message;

const EXPRESSION_NAME: u16 = 1;
const EXPRESSION_DATA: u16 = 2;

/// A 32-bit register. A wider value fills the registers that follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Register(u32);

impl Register {
    const FIRST: u32 = 8;
    const VERDICT: u32 = 0;

    /// `at` counts 32-bit words, 0 to 15: the position of a field in a concatenated key.
    pub const fn word(at: u32) -> Register {
        Register(Register::FIRST + at)
    }
}

/// The register that rules with one operand use.
pub const FIRST: Register = Register::word(0);

/// What is known of a packet besides its bytes (`NFT_META_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meta {
    InputInterface = 6,
    OutputInterface = 7,
    /// Internet protocol family (2: IPv4, 10: IPv6).
    Family = 15,
    /// Transport protocol.
    Protocol = 16,
}

/// Where offsets into a packet count from (`NFT_PAYLOAD_*_HEADER`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base {
    Network = 1,
    Transport = 2,
}

/// What is known of the connection (`NFT_CT_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conntrack {
    State = 0,
    Status = 2,
}

/// Bits of [`Conntrack::State`].
pub const ESTABLISHED: u32 = 2;
pub const RELATED: u32 = 4;
/// Bit of [`Conntrack::Status`]: the destination was translated.
pub const DESTINATION_TRANSLATED: u32 = 1 << 5;

/// Which address is replaced (`NFT_NAT_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Translation {
    Source = 0,
    Destination = 1,
}

/// One step of a rule. Registers hold what one step gives to a later one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expression {
    Meta(Meta, Register),
    Payload {
        base: Base,
        offset: u32,
        length: u32,
        to: Register,
    },
    Conntrack(Conntrack, Register),
    /// Whether the destination address is one of this host: the address type into the first register.
    DestinationType(Register),
    /// Put a constant into a register.
    Load(Register, Vec<u8>),
    Equal(Register, Vec<u8>),
    NotEqual(Register, Vec<u8>),
    /// Keep these bits of the register's first word.
    Mask(Register, u32),
    /// Go on if the key is in the set.
    In(Register, &'static str),
    NotIn(Register, &'static str),
    /// Go on if the key is in the map, with the value in place.
    Map {
        key: Register,
        map: &'static str,
        to: Register,
    },
    /// Act on the map's verdict if the key is in it.
    VerdictMap(Register, &'static str),
    /// Addresses of the family (2 or 10) come from the register, the port from the other.
    Nat {
        kind: Translation,
        family: u32,
        address: Register,
        port: Option<Register>,
    },
    Masquerade,
    Counter,
    Do(Verdict),
}

impl Expression {
    pub(super) fn write(&self, list: Message) -> Message {
        use Expression as E;
        match self {
            E::Meta(key, to) => expression(list, "meta", |data| data.be32(1, to.0).be32(2, *key as u32)),
            E::Payload { base, offset, length, to } => expression(list, "payload", |data| {
                data.be32(1, to.0).be32(2, *base as u32).be32(3, *offset).be32(4, *length)
            }),
            E::Conntrack(key, to) => expression(list, "ct", |data| data.be32(1, to.0).be32(2, *key as u32)),
            E::DestinationType(to) => {
                const RESULT_ADDRESS_TYPE: u32 = 3;
                const OF_DESTINATION: u32 = 2;
                expression(list, "fib", |data| {
                    data.be32(1, to.0).be32(2, RESULT_ADDRESS_TYPE).be32(3, OF_DESTINATION)
                })
            }
            E::Load(to, value) => expression(list, "immediate", |data| {
                data.be32(1, to.0).nest(2, |nest| nest.attribute(DATA_VALUE, value))
            }),
            E::Equal(register, value) => compare(list, *register, 0, value),
            E::NotEqual(register, value) => compare(list, *register, 1, value),
            E::Mask(register, mask) => expression(list, "bitwise", |data| {
                data.be32(1, register.0)
                    .be32(2, register.0)
                    .be32(3, 4)
                    .nest(4, |nest| nest.u32(DATA_VALUE, *mask))
                    .nest(5, |nest| nest.u32(DATA_VALUE, 0))
            }),
            E::In(key, set) => expression(list, "lookup", |data| data.text(1, set).be32(2, key.0)),
            E::NotIn(key, set) => {
                expression(list, "lookup", |data| data.text(1, set).be32(2, key.0).be32(5, 1))
            }
            E::Map { key, map, to } => {
                expression(list, "lookup", |data| data.text(1, map).be32(2, key.0).be32(3, to.0))
            }
            E::VerdictMap(key, map) => {
                expression(list, "lookup", |data| data.text(1, map).be32(2, key.0).be32(3, Register::VERDICT))
            }
            E::Nat { kind, family, address, port } => expression(list, "nat", |data| {
                let data = data.be32(1, *kind as u32).be32(2, *family).be32(3, address.0);
                match port {
                    Some(port) => data.be32(5, port.0),
                    None => data,
                }
            }),
            E::Masquerade => expression(list, "masq", |data| data),
            E::Counter => expression(list, "counter", |data| data),
            E::Do(verdict) => expression(list, "immediate", |data| {
                data.be32(1, Register::VERDICT).nest(2, |nest| verdict.write(nest))
            }),
        }
    }
}

fn expression(list: Message, name: &str, data: impl FnOnce(Message) -> Message) -> Message {
    list.nest(LIST_ELEMENT, |element| element.text(EXPRESSION_NAME, name).nest(EXPRESSION_DATA, data))
}

fn compare(list: Message, register: Register, operation: u32, value: &[u8]) -> Message {
    expression(list, "cmp", |data| {
        data.be32(1, register.0).be32(2, operation).nest(3, |nest| nest.attribute(DATA_VALUE, value))
    })
}

/// The packet came in by this interface.
pub fn from_interface(name: &str) -> [Expression; 2] {
    let name = interface_name(name).to_vec();
    [Expression::Meta(Meta::InputInterface, FIRST), Expression::Equal(FIRST, name)]
}

/// The packet leaves by this interface.
pub fn to_interface(name: &str) -> [Expression; 2] {
    let name = interface_name(name).to_vec();
    [Expression::Meta(Meta::OutputInterface, FIRST), Expression::Equal(FIRST, name)]
}
