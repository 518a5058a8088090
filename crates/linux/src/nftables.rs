//! nftables: tables, chains, sets and rules, changed in transactions.
//!
//! A [`Batch`] collects changes of one table; [`Batch::commit`] performs all of them or none. Names refer to what the
//! batch itself made before, so that a table can be emptied and built anew while packets never see it half done.
//!
//! ```text
//!   batch begin │ table │ chains │ sets │ elements │ rules │ … │ batch end      one sendmsg
//! ```
//!
//! Sets and maps are how a rule set stays as long as it is: what comes and goes is an element (4.5 µs), not a rule.
//! Keys of several fields are concatenations: each field padded to four bytes, as the kernel's registers are.
//!
//! See nft(8) and the kernel's `include/uapi/linux/netfilter/nf_tables.h`. Limits: families inet, ip and ip6; sets of
//! the types in [`Field`].

pub mod expression;
mod list;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::Error;
use crate::netlink::{Family, Message, Mode, Socket};
use expression::Expression;

pub use list::{Chain, Rule, chains, element_count, rules, sets};

const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;

const NEWTABLE: u16 = 0;
const GETTABLE: u16 = 1;
const DELTABLE: u16 = 2;
const NEWCHAIN: u16 = 3;
const GETCHAIN: u16 = 4;
const DELCHAIN: u16 = 5;
const NEWRULE: u16 = 6;
const GETRULE: u16 = 7;
const DELRULE: u16 = 8;
const NEWSET: u16 = 9;
const GETSET: u16 = 10;
const DELSET: u16 = 11;
const NEWSETELEM: u16 = 12;
const GETSETELEM: u16 = 13;
const DELSETELEM: u16 = 14;

const TABLE_NAME: u16 = 1;
const CHAIN_TABLE: u16 = 1;
const CHAIN_NAME: u16 = 3;
const CHAIN_HOOK: u16 = 4;
const CHAIN_POLICY: u16 = 5;
const CHAIN_TYPE: u16 = 7;
const HOOK_NUMBER: u16 = 1;
const HOOK_PRIORITY: u16 = 2;
const RULE_TABLE: u16 = 1;
const RULE_CHAIN: u16 = 2;
const RULE_HANDLE: u16 = 3;
const RULE_EXPRESSIONS: u16 = 4;
const RULE_USERDATA: u16 = 7;
const SET_TABLE: u16 = 1;
const SET_NAME: u16 = 2;
const SET_FLAGS: u16 = 3;
const SET_KEY_TYPE: u16 = 4;
const SET_KEY_LENGTH: u16 = 5;
const SET_DATA_TYPE: u16 = 6;
const SET_DATA_LENGTH: u16 = 7;
const SET_DESCRIPTION: u16 = 9;
const SET_ID: u16 = 10;
const SET_USERDATA: u16 = 13;
const DESCRIPTION_CONCAT: u16 = 2;
const FIELD_LENGTH: u16 = 1;
const ELEMENTS_TABLE: u16 = 1;
const ELEMENTS_SET: u16 = 2;
const ELEMENTS_LIST: u16 = 3;
const ELEMENT_KEY: u16 = 1;
const ELEMENT_DATA: u16 = 2;
const ELEMENT_KEY_END: u16 = 10;
const DATA_VALUE: u16 = 1;
const DATA_VERDICT: u16 = 2;
const VERDICT_CODE: u16 = 1;
const VERDICT_CHAIN: u16 = 2;
const LIST_ELEMENT: u16 = 1;

const SET_INTERVAL: u32 = 4;
const SET_MAP: u32 = 8;
const SET_CONCAT: u32 = 0x80;
/// The type number under which a map holds verdicts.
const TYPE_VERDICT: u32 = 0xffff_ff00;
/// Field types of a concatenation are packed in so many bits each.
const TYPE_BITS: u32 = 6;
/// libnftnl's `NFTNL_UDATA_SET_KEYBYTEORDER` (type, length, value) with `BYTEORDER_HOST_ENDIAN`.
const HOST_ORDER: [u8; 6] = {
    let [a, b, c, d] = 1u32.to_ne_bytes();
    [0, 4, a, b, c, d]
};
/// A list of elements is one attribute of at most 65535 bytes; the next message takes over well before.
const ELEMENTS_PER_MESSAGE: usize = 48 << 10;

/// Which packets a table sees. A table is known by family and name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableFamily {
    /// IPv4 and IPv6.
    Inet,
    Ip,
    Ip6,
}

impl TableFamily {
    fn number(self) -> u8 {
        match self {
            TableFamily::Inet => 1,
            TableFamily::Ip => 2,
            TableFamily::Ip6 => 10,
        }
    }

    fn from_number(number: u8) -> Option<TableFamily> {
        [TableFamily::Inet, TableFamily::Ip, TableFamily::Ip6]
            .into_iter()
            .find(|family| family.number() == number)
    }

    /// As nft(8) writes it.
    pub fn name(self) -> &'static str {
        match self {
            TableFamily::Inet => "inet",
            TableFamily::Ip => "ip",
            TableFamily::Ip6 => "ip6",
        }
    }
}

/// Where in a packet's way a base chain stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    Prerouting = 0,
    Input = 1,
    Forward = 2,
    Output = 3,
    Postrouting = 4,
}

/// What a base chain may do with packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChainType {
    Filter,
    Nat,
}

/// What becomes of packets that no rule has decided about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    Drop = 0,
    Accept = 1,
}

/// What happens to a packet next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Accept,
    Drop,
    Return,
    Jump(String),
}

impl Verdict {
    fn write(&self, message: Message) -> Message {
        let code = match self {
            Verdict::Drop => 0,
            Verdict::Accept => 1,
            Verdict::Jump(_) => -3,
            Verdict::Return => -5,
        };
        message.nest(DATA_VERDICT, |verdict| {
            let verdict = verdict.attribute(VERDICT_CODE, &i32::to_be_bytes(code));
            match self {
                Verdict::Jump(chain) => verdict.text(VERDICT_CHAIN, chain),
                _ => verdict,
            }
        })
    }
}

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

    fn length(self) -> u32 {
        match self {
            Field::Ipv4 => 4,
            Field::Ipv6 | Field::Interface => 16,
            Field::Protocol => 1,
            Field::Port => 2,
        }
    }

    fn packed(fields: &[Field]) -> u32 {
        fields.iter().fold(0, |packed, field| packed << TYPE_BITS | field.number())
    }

    /// A lone field has its own length; in a concatenation each is padded.
    fn total_length(fields: &[Field]) -> u32 {
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

    fn write(&self, message: Message) -> Message {
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

/// Changes of one table, to be made at once.
#[derive(Debug)]
pub struct Batch {
    family: TableFamily,
    table: String,
    messages: Vec<Message>,
    sets: u32,
}

impl Batch {
    pub fn new(family: TableFamily, table: &str) -> Batch {
        Batch { family, table: table.to_owned(), messages: Vec::new(), sets: 0 }
    }

    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    pub fn ensure_table(&mut self) {
        self.push(self.message(NEWTABLE, Mode::Ensure, "").text(TABLE_NAME, &self.table));
    }

    /// The table with all that is in it.
    pub fn delete_table(&mut self) {
        self.push(self.message(DELTABLE, Mode::Plain, "").text(TABLE_NAME, &self.table));
    }

    pub fn ensure_chain(&mut self, name: &str) {
        let message = self.message(NEWCHAIN, Mode::Ensure, name).text(CHAIN_TABLE, &self.table);
        self.push(message.text(CHAIN_NAME, name));
    }

    /// A chain that packets enter by themselves. Lower priorities come first. Without a policy an existing chain
    /// keeps its own, and a new one accepts.
    pub fn ensure_base_chain(
        &mut self,
        name: &str,
        kind: ChainType,
        hook: Hook,
        priority: i32,
        policy: Option<Policy>,
    ) {
        let kind = match kind {
            ChainType::Filter => "filter",
            ChainType::Nat => "nat",
        };
        let message = self
            .message(NEWCHAIN, Mode::Ensure, name)
            .text(CHAIN_TABLE, &self.table)
            .text(CHAIN_NAME, name)
            .nest(CHAIN_HOOK, |nest| {
                nest.be32(HOOK_NUMBER, hook as u32).attribute(HOOK_PRIORITY, &priority.to_be_bytes())
            })
            .text(CHAIN_TYPE, kind);
        self.push(match policy {
            Some(policy) => message.be32(CHAIN_POLICY, policy as u32),
            None => message,
        });
    }

    pub fn flush_chain(&mut self, name: &str) {
        let message = self.message(DELRULE, Mode::Plain, name).text(RULE_TABLE, &self.table);
        self.push(message.text(RULE_CHAIN, name));
    }

    pub fn create_set(&mut self, set: &Set) {
        self.set(set, Mode::Create);
    }

    /// A set that may be there already. One of the same name that is of another kind fails the batch (`EEXIST`).
    pub fn ensure_set(&mut self, set: &Set) {
        self.set(set, Mode::Ensure);
    }

    fn set(&mut self, set: &Set, mode: Mode) {
        self.sets += 1;
        let mut flags = 0;
        flags |= if set.interval { SET_INTERVAL | SET_CONCAT } else { 0 };
        flags |= if set.values == Values::None { 0 } else { SET_MAP };
        let mut message = self
            .message(NEWSET, mode, set.name)
            .text(SET_TABLE, &self.table)
            .text(SET_NAME, set.name)
            .be32(SET_FLAGS, flags)
            .be32(SET_KEY_TYPE, Field::packed(set.key))
            .be32(SET_KEY_LENGTH, Field::total_length(set.key))
            .be32(SET_ID, self.sets);
        message = match set.values {
            Values::None => message,
            Values::Fields(fields) => message
                .be32(SET_DATA_TYPE, Field::packed(fields))
                .be32(SET_DATA_LENGTH, Field::total_length(fields)),
            Values::Verdicts => message.be32(SET_DATA_TYPE, TYPE_VERDICT).be32(SET_DATA_LENGTH, 16),
        };
        if set.key == [Field::Interface] {
            // For those who list it: a lone name is in the order of its bytes, not a number.
            message = message.attribute(SET_USERDATA, &HOST_ORDER);
        }
        if set.interval {
            message = message.nest(SET_DESCRIPTION, |description| {
                description.nest(DESCRIPTION_CONCAT, |concat| {
                    set.key.iter().fold(concat, |concat, field| {
                        concat.nest(LIST_ELEMENT, |nest| nest.be32(FIELD_LENGTH, field.length()))
                    })
                })
            });
        }
        self.push(message);
    }

    pub fn delete_set(&mut self, name: &str) {
        let message = self.message(DELSET, Mode::Plain, name).text(SET_TABLE, &self.table);
        self.push(message.text(SET_NAME, name));
    }

    /// Takes all elements out. Those that the same batch puts in again are there all the time.
    pub fn flush_set(&mut self, name: &str) {
        let message = self.message(DELSETELEM, Mode::Plain, name).text(ELEMENTS_TABLE, &self.table);
        self.push(message.text(ELEMENTS_SET, name));
    }

    /// Adding what is there already changes nothing, unless it has another value: then it is an error (`EEXIST`).
    pub fn add_elements(&mut self, set: &str, elements: &[Element]) {
        self.elements(NEWSETELEM, Mode::Ensure, set, elements);
    }

    /// Deleting what is not there fails the batch (`ENOENT`).
    pub fn delete_elements(&mut self, set: &str, elements: &[Element]) {
        self.elements(DELSETELEM, Mode::Plain, set, elements);
    }

    fn elements(&mut self, kind: u16, mode: Mode, set: &str, elements: &[Element]) {
        let mut rest = elements.iter().peekable();
        while rest.peek().is_some() {
            let message = self
                .message(kind, mode, set)
                .text(ELEMENTS_TABLE, &self.table)
                .text(ELEMENTS_SET, set)
                .nest(ELEMENTS_LIST, |mut list| {
                    while list.len() < ELEMENTS_PER_MESSAGE {
                        let Some(element) = rest.next() else { break };
                        list = element.write(list);
                    }
                    list
                });
            self.push(message);
        }
    }

    /// A rule at the end of a chain.
    pub fn append_rule(&mut self, chain: &str, expressions: &[Expression]) {
        self.push(self.rule(chain, expressions, 0x800, None));
    }

    /// A rule at the head of a chain, with a mark by which [`rules`] finds it again.
    pub fn insert_rule(&mut self, chain: &str, expressions: &[Expression], mark: &[u8]) {
        self.push(self.rule(chain, expressions, 0, Some(mark)));
    }

    pub fn delete_rule(&mut self, chain: &str, handle: u64) {
        let message = self.message(DELRULE, Mode::Plain, chain).text(RULE_TABLE, &self.table);
        self.push(message.text(RULE_CHAIN, chain).be64(RULE_HANDLE, handle));
    }

    /// `place`: `NLM_F_APPEND`, or nothing for the head.
    fn rule(&self, chain: &str, expressions: &[Expression], place: u16, mark: Option<&[u8]>) -> Message {
        let message = self
            .message(NEWRULE, Mode::Ensure, chain)
            .flags(place)
            .text(RULE_TABLE, &self.table)
            .text(RULE_CHAIN, chain)
            .nest(RULE_EXPRESSIONS, |list| expressions.iter().fold(list, |list, one| one.write(list)));
        match mark {
            Some(mark) => message.attribute(RULE_USERDATA, mark),
            None => message,
        }
    }

    /// All of it or nothing.
    pub fn commit(self, socket: &mut Socket) -> Result<(), Error> {
        if self.messages.is_empty() {
            return Ok(());
        }
        let frame = |kind| {
            let fixed = [0, 0, 0, SUBSYSTEM as u8];
            Message::new(kind, Mode::Plain, &fixed, "")
        };
        socket.transaction(frame(BATCH_BEGIN), self.messages, frame(BATCH_END))
    }

    fn push(&mut self, message: Message) {
        self.messages.push(message);
    }

    fn message(&self, kind: u16, mode: Mode, object: &str) -> Message {
        let name = format!("{}({} {} {object})", name(kind), self.family.name(), self.table);
        Message::new(SUBSYSTEM << 8 | kind, mode, &[self.family.number(), 0, 0, 0], name)
    }
}

fn name(kind: u16) -> &'static str {
    match kind {
        NEWTABLE => "NFT_MSG_NEWTABLE",
        GETTABLE => "NFT_MSG_GETTABLE",
        DELTABLE => "NFT_MSG_DELTABLE",
        NEWCHAIN => "NFT_MSG_NEWCHAIN",
        GETCHAIN => "NFT_MSG_GETCHAIN",
        DELCHAIN => "NFT_MSG_DELCHAIN",
        NEWRULE => "NFT_MSG_NEWRULE",
        GETRULE => "NFT_MSG_GETRULE",
        DELRULE => "NFT_MSG_DELRULE",
        NEWSET => "NFT_MSG_NEWSET",
        GETSET => "NFT_MSG_GETSET",
        DELSET => "NFT_MSG_DELSET",
        NEWSETELEM => "NFT_MSG_NEWSETELEM",
        GETSETELEM => "NFT_MSG_GETSETELEM",
        DELSETELEM => "NFT_MSG_DELSETELEM",
        _ => "NFT_MSG",
    }
}

pub fn open() -> Result<Socket, Error> {
    Socket::open(Family::Netfilter)
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

    #[test]
    fn many_elements_are_spread_over_messages() {
        let mut batch = Batch::new(TableFamily::Inet, "t");
        let elements: Vec<Element> =
            (0..5000u16).map(|port| Element::key(Data::new().protocol(6).port(port))).collect();
        batch.add_elements("s", &elements);
        assert!(batch.messages.len() > 1);
        assert!(batch.messages.iter().all(|message| message.len() < usize::from(u16::MAX)));
    }
}
