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

mod element;
pub mod expression;
mod list;
mod numbers;

use crate::Error;
use crate::netlink::{Family, Message, Mode, Socket};
use expression::Expression;
use numbers::*;

pub use element::{Data, Element, Field, Set, Value, Values, interface_name};
pub use list::{Chain, Rule, chains, element_count, rules, sets};

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
    fn many_elements_are_spread_over_messages() {
        let mut batch = Batch::new(TableFamily::Inet, "t");
        let elements: Vec<Element> =
            (0..5000u16).map(|port| Element::key(Data::new().protocol(6).port(port))).collect();
        batch.add_elements("s", &elements);
        assert!(batch.messages.len() > 1);
        assert!(batch.messages.iter().all(|message| message.len() < usize::from(u16::MAX)));
    }
}
