//! What stands in the kernel: chains, sets and rules, as far as their owners need to find them again.

use super::numbers::*;
use super::{Policy, TableFamily, name};
use crate::Error;
use crate::netlink::{Attributes, Message, Mode, Socket};

/// A chain as it stands in the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    pub family: TableFamily,
    pub table: String,
    pub name: String,
    /// The hook's number; only base chains have one.
    pub hook: Option<u32>,
    pub policy: Option<Policy>,
}

/// All chains of the families that [`TableFamily`] knows.
pub fn chains(socket: &mut Socket) -> Result<Vec<Chain>, Error> {
    let mut chains = Vec::new();
    socket.dump(&question(GETCHAIN, 0), |payload| {
        let Some((family, attributes)) = object(payload) else { return };
        let (Some(table), Some(name)) = (attributes.text(CHAIN_TABLE), attributes.text(CHAIN_NAME)) else {
            return;
        };
        chains.push(Chain {
            family,
            table: table.to_owned(),
            name: name.to_owned(),
            hook: attributes.nested(CHAIN_HOOK).and_then(|hook| hook.be32(HOOK_NUMBER)),
            policy: attributes
                .be32(CHAIN_POLICY)
                .map(|policy| if policy == Policy::Drop as u32 { Policy::Drop } else { Policy::Accept }),
        });
    })?;
    Ok(chains)
}

/// The names of a table's sets and maps that have one (anonymous ones go with their rule).
pub fn sets(socket: &mut Socket, family: TableFamily, table: &str) -> Result<Vec<String>, Error> {
    const ANONYMOUS: u32 = 1;
    let mut sets = Vec::new();
    let question = question(GETSET, family.number()).text(SET_TABLE, table);
    let answer = socket.dump(&question, |payload| {
        let Some((found, attributes)) = object(payload) else { return };
        let named = attributes.be32(SET_FLAGS).unwrap_or(0) & ANONYMOUS == 0;
        if found == family && named && attributes.text(SET_TABLE) == Some(table) {
            sets.extend(attributes.text(SET_NAME).map(str::to_owned));
        }
    });
    match answer {
        Err(error) if error.is(crate::Errno::NOENT) => Ok(Vec::new()),
        Err(error) => Err(error),
        Ok(()) => Ok(sets),
    }
}

/// A rule as far as it matters to find it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub handle: u64,
    pub mark: Vec<u8>,
}

/// The rules of one chain, in order.
pub fn rules(socket: &mut Socket, family: TableFamily, table: &str, chain: &str) -> Result<Vec<Rule>, Error> {
    let mut rules = Vec::new();
    let question = question(GETRULE, family.number()).text(RULE_TABLE, table).text(RULE_CHAIN, chain);
    socket.dump(&question, |payload| {
        let Some((found, attributes)) = object(payload) else { return };
        if found != family
            || attributes.text(RULE_TABLE) != Some(table)
            || attributes.text(RULE_CHAIN) != Some(chain)
        {
            return;
        }
        let handle =
            attributes.value(RULE_HANDLE).and_then(|handle| handle.try_into().ok()).map(u64::from_be_bytes);
        let mark = attributes.value(RULE_USERDATA).unwrap_or_default().to_vec();
        rules.extend(handle.map(|handle| Rule { handle, mark }));
    })?;
    Ok(rules)
}

/// How many elements a set holds.
pub fn element_count(
    socket: &mut Socket,
    family: TableFamily,
    table: &str,
    set: &str,
) -> Result<usize, Error> {
    let mut count = 0;
    let question = question(GETSETELEM, family.number()).text(ELEMENTS_TABLE, table).text(ELEMENTS_SET, set);
    socket.dump(&question, |payload| {
        if let Some((_, attributes)) = object(payload) {
            count += attributes.nested(ELEMENTS_LIST).map_or(0, Iterator::count);
        }
    })?;
    Ok(count)
}

fn question(kind: u16, family: u8) -> Message {
    Message::new(SUBSYSTEM << 8 | kind, Mode::Plain, &[family, 0, 0, 0], name(kind))
}

/// Family and attributes behind `struct nfgenmsg`.
fn object(payload: &[u8]) -> Option<(TableFamily, Attributes<'_>)> {
    let family = TableFamily::from_number(*payload.first()?)?;
    Some((family, Attributes(payload.get(4..)?)))
}
