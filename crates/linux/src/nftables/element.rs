//! Sets and maps: the types of their keys and values, and their elements.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Verdict;
use super::numbers::{DATA_VALUE, ELEMENT_DATA, ELEMENT_KEY, ELEMENT_KEY_END, LIST_ELEMENT, TYPE_BITS};
use crate::netlink::Message;

/// The type of one field of a key or value. Numbers are nft's own, so that `nft list` shows what is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    Ipv4,
    Ipv6,
    /// Transport protocol.
    Protocol,
    /// Transport port.
    Port,
    /// Interface name.
    Interface,
}

impl Field {
    fn number(self) -> u32 {
        match self {
            Field::Ipv4 => 7,
            Field::Ipv6 => 8,
            Field::Protocol => 12,
            Field::Port => 13,
            Field::Interface => 41,
        }
    }

    pub(super) fn length(self) -> u32 {
        match self {
            Field::Ipv4 => 4,
            Field::Ipv6 | Field::Interface => 16,
            Field::Protocol => 1,
            Field::Port => 2,
        }
    }

    pub(super) fn packed(fields: &[Field]) -> u32 {
        fields.iter().fold(0, |packed, field| packed << TYPE_BITS | field.number())
    }

    /// A lone field has its own length; in a concatenation each is padded.
    pub(super) fn total_length(fields: &[Field]) -> u32 {
        match fields {
            [only] => only.length(),
            _ => fields.iter().map(|field| field.length().next_multiple_of(4)).sum(),
        }
    }
}

/// What a set's elements carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Values {
    /// Nothing: it is a set.
    None,
    /// It is a map to these fields.
    Fields(&'static [Field]),
    /// It is a map to verdicts.
    Verdicts,
}

/// A set or map. Intervals are known for concatenations only (`KEY` to `KEY_END` per element).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Set {
    pub name: &'static str,
    pub key: &'static [Field],
    pub values: Values,
    pub interval: bool,
}

/// The bytes of a key or value, field by field.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Data(Vec<u8>);

impl Data {
    pub fn new() -> Data {
        Data::default()
    }

    pub fn ipv4(self, address: Ipv4Addr) -> Data {
        self.field(&address.octets())
    }

    pub fn ipv6(self, address: Ipv6Addr) -> Data {
        self.field(&address.octets())
    }

    pub fn ip(self, address: IpAddr) -> Data {
        match address {
            IpAddr::V4(v4) => self.ipv4(v4),
            IpAddr::V6(v6) => self.ipv6(v6),
        }
    }

    /// Only as a field among others: alone it would be one byte.
    pub fn protocol(self, number: u8) -> Data {
        self.field(&[number])
    }

    /// Only as a field among others.
    pub fn port(self, port: u16) -> Data {
        self.field(&port.to_be_bytes())
    }

    pub fn interface(self, name: &str) -> Data {
        self.field(&interface_name(name))
    }

    fn field(mut self, bytes: &[u8]) -> Data {
        self.0.extend_from_slice(bytes);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }
}

/// An interface's name as the kernel compares it: filled up with zeroes. Longer names cannot exist and are cut.
pub fn interface_name(name: &str) -> [u8; 16] {
    let mut bytes = [0; 16];
    for (to, from) in bytes[..15].iter_mut().zip(name.bytes()) {
        *to = from;
    }
    bytes
}

/// An element of a set, or of a map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    pub key: Data,
    /// The last key of an interval, inclusive.
    pub end: Option<Data>,
    pub value: Value,
}

/// What a map gives for a key; nothing, in a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    None,
    Data(Data),
    Verdict(Verdict),
}

impl Element {
    pub fn key(key: Data) -> Element {
        Element { key, end: None, value: Value::None }
    }

    pub fn interval(first: Data, last: Data) -> Element {
        Element { key: first, end: Some(last), value: Value::None }
    }

    pub fn pair(key: Data, value: Data) -> Element {
        Element { key, end: None, value: Value::Data(value) }
    }

    pub fn verdict(key: Data, verdict: Verdict) -> Element {
        Element { key, end: None, value: Value::Verdict(verdict) }
    }

    pub(super) fn write(&self, message: Message) -> Message {
        let data = |message: Message, kind: u16, data: &Data| {
            message.nest(kind, |nest| nest.attribute(DATA_VALUE, &data.0))
        };
        message.nest(LIST_ELEMENT, |element| {
            let mut element = data(element, ELEMENT_KEY, &self.key);
            if let Some(end) = &self.end {
                element = data(element, ELEMENT_KEY_END, end);
            }
            match &self.value {
                Value::None => element,
                Value::Data(value) => data(element, ELEMENT_DATA, value),
                Value::Verdict(verdict) => element.nest(ELEMENT_DATA, |nest| verdict.write(nest)),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn concatenations_pad_each_field() {
        let key = Data::new().protocol(6).port(80);
        assert_eq!(key.0, [6, 0, 0, 0, 0, 80, 0, 0]);
        assert_eq!(Field::total_length(&[Field::Protocol, Field::Port]), 8);
        assert_eq!(Field::total_length(&[Field::Interface]), 16);
        assert_eq!(Field::packed(&[Field::Ipv4, Field::Port]), 7 << 6 | 13);
    }

    #[test]
    fn interface_names_are_cut_to_what_can_exist() {
        assert_eq!(&interface_name("lo")[..3], b"lo\0");
        assert_eq!(interface_name("0123456789abcdefgh")[15], 0);
    }
}
