//! Network interfaces of the host that become the container's.
//!
//! An interface is moved by one message, and on its way the kernel takes it down and drops its addresses. Those that
//! somebody gave to it are given to it again, and it is brought up, as the specification asks. It is moved when the
//! container's network namespace stands, before the hooks, and never back: it ends with the namespace, or the kernel
//! returns it to the host if it is hardware.
//!
//! See <https://github.com/opencontainers/runtime-spec/blob/main/config-linux.md#network-devices>.

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;

use linux::netlink::{Family, Socket, address, link};
use linux::{Errno, namespace};
use oci::runtime::NetDevice;

use crate::namespaces::Namespaces;
use crate::{Error, Result, error::Step};

/// One byte less than the kernel's `IFNAMSIZ`, which counts a zero.
const LONGEST_NAME: usize = 15;

/// An interface and what it is called inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Move {
    outside: String,
    inside: String,
}

impl Move {
    /// The kernel finds the rest of the name.
    fn is_pattern(&self) -> bool {
        self.inside.contains('%')
    }
}

pub(crate) fn plan(devices: &BTreeMap<String, NetDevice>, namespaces: &Namespaces) -> Result<Vec<Move>> {
    let joined = namespaces.joined.iter().any(|(flag, _)| *flag == namespace::NETWORK);
    if !devices.is_empty() && !namespaces.is_new(namespace::NETWORK) && !joined {
        return Err(Error::invalid("unable to move network devices without a NET namespace"));
    }
    if !devices.is_empty() && linux::credentials::user() != 0 {
        return Err(Error::invalid("network devices are not supported for rootless containers"));
    }
    let mut moves: Vec<Move> = Vec::with_capacity(devices.len());
    for (outside, device) in devices {
        let inside = if device.name.is_empty() { outside } else { &device.name };
        let wanted = Move { outside: outside.clone(), inside: inside.clone() };
        if !is_name(outside) || outside.contains('%') {
            return Err(Error::invalid(format_args!("invalid network device name {outside:?}")));
        }
        if !is_name(inside) || (wanted.is_pattern() && !is_one_pattern(inside)) {
            return Err(Error::invalid(format_args!("invalid network device name {inside:?}")));
        }
        if !wanted.is_pattern() && moves.iter().any(|other| other.inside == wanted.inside) {
            return Err(Error::invalid(format_args!(
                "network device name {inside:?} is given to more than one network device"
            )));
        }
        moves.push(wanted);
    }
    Ok(moves)
}

/// What the kernel takes for the name of an interface.
fn is_name(text: &str) -> bool {
    let odd = |c: char| c == '/' || c == ':' || c.is_whitespace();
    !text.is_empty() && text.len() <= LONGEST_NAME && text != "." && text != ".." && !text.contains(odd)
}

fn is_one_pattern(name: &str) -> bool {
    name.contains("%d") && name.matches('%').count() == 1
}

/// Moves them. What was moved when one fails is the namespace's: it goes with it.
pub(crate) fn move_in(moves: &[Move], namespace: BorrowedFd<'_>) -> Result<()> {
    if moves.is_empty() {
        return Ok(());
    }
    let mut host = Socket::open(Family::Route).step(|| "network devices")?;
    let mut inside = Socket::open_in(Family::Route, namespace).step(|| "network devices")?;
    moves.iter().try_for_each(|wanted| {
        move_one(wanted, &mut host, &mut inside, namespace)
            .step(|| format!("unable to move network device {:?}", wanted.outside))
    })
}

fn move_one(
    wanted: &Move,
    host: &mut Socket,
    inside: &mut Socket,
    namespace: BorrowedFd<'_>,
) -> linux::Result<()> {
    let device = link::find(host, &wanted.outside)?;
    let addresses = address::list_lasting(host, device.index)?;
    let before = link::list(inside)?;
    if before.iter().any(|other| other.name == wanted.inside) {
        let name = format_args!("{:?} in the container", wanted.inside);
        return Err(linux::Error::new("netlink", name, Errno::EXIST));
    }
    host.request(vec![link::move_to(device.index, &wanted.inside, namespace)])?;
    let after = link::list(inside)?;
    // Its number may be another one here, and so may its name: it is the one that is new.
    let moved = after.iter().find(|found| before.iter().all(|other| other.index != found.index));
    let index = match moved {
        Some(moved) => moved.index,
        None => link::find(inside, &wanted.inside)?.index,
    };
    let mut messages: Vec<_> =
        addresses.iter().map(|given| address::add(index, given.address, given.prefix)).collect();
    messages.push(link::set_up(index));
    inside.request(messages)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(json: &str) -> Result<Vec<Move>> {
        let namespaces = Namespaces { new: namespace::NETWORK, ..Namespaces::default() };
        plan(&serde_json::from_str(json).unwrap(), &namespaces)
    }

    #[test]
    fn an_interface_keeps_its_name_unless_it_gets_another() {
        let moves = planned(r#"{"eth0":{},"eth1":{"name":"lan%d"},"eth2":{"name":"wan"}}"#).unwrap();
        let names: Vec<_> = moves.iter().map(|wanted| wanted.inside.as_str()).collect();
        assert_eq!(names, ["eth0", "lan%d", "wan"]);
    }

    #[test]
    fn names_that_no_interface_can_have_are_refused() {
        for name in ["", ".", "..", "a/b", "a b", "a:b", "0123456789abcdef", "e%d"] {
            let json = format!(r#"{{"{name}":{{}}}}"#);
            assert!(
                planned(&json).unwrap_err().to_string().contains("invalid network device name"),
                "{name}"
            );
        }
        for name in ["%s", "%", "%d%d", "a/b", "0123456789abcdef"] {
            let json = format!(r#"{{"eth0":{{"name":"{name}"}}}}"#);
            assert!(
                planned(&json).unwrap_err().to_string().contains("invalid network device name"),
                "{name}"
            );
        }
        let twice = planned(r#"{"eth0":{"name":"x"},"eth1":{"name":"x"}}"#).unwrap_err().to_string();
        assert!(twice.contains("more than one"), "{twice}");
    }
}
