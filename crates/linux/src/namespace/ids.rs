//! Which ids of a user namespace are which outside of it.

use crate::error::Context;
use crate::process::Pid;
use crate::{Errno, Error, Result};

/// A run of ids: `inside` in the user namespace is `outside` in its parent, for `count` ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdRange {
    pub inside: u32,
    pub outside: u32,
    pub count: u32,
}

/// Who an id is that the namespace does not know, seen from inside; the kernel's default for both kinds.
const NOBODY: u32 = 65_534;

/// The maps of a user namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IdMaps {
    pub users: Vec<IdRange>,
    pub groups: Vec<IdRange>,
}

impl IdMaps {
    /// Those of the namespace that a process is in, told in ids of ours.
    pub fn of(pid: Pid) -> Result<IdMaps> {
        let read = |name: &str| {
            let path = format!("/proc/{pid}/{name}");
            let text = std::fs::read_to_string(&path).context("read", || format!("{path:?}"))?;
            parse(&text).ok_or_else(|| Error::new("read", format_args!("{path:?}: {text:?}"), Errno::INVAL))
        };
        Ok(IdMaps { users: read("uid_map")?, groups: read("gid_map")? })
    }

    /// Whether every id is itself.
    pub fn is_identity(&self) -> bool {
        let same = |ranges: &[IdRange]| ranges.iter().all(|range| range.inside == range.outside);
        same(&self.users) && same(&self.groups)
    }

    /// A user outside, by its id inside.
    pub fn user(&self, inside: u32) -> Option<u32> {
        outside(&self.users, inside)
    }

    /// A group outside, by its id inside.
    pub fn group(&self, inside: u32) -> Option<u32> {
        outside(&self.groups, inside)
    }

    /// A user and a group as processes inside see them.
    pub fn seen(&self, user: u32, group: u32) -> (u32, u32) {
        (inside(&self.users, user), inside(&self.groups, group))
    }

    /// Who acts for the namespace: its root, or where nobody is root inside, the first whom it knows.
    pub fn root(&self) -> (u32, u32) {
        let first = |ranges: &[IdRange]| {
            ranges.iter().min_by_key(|range| range.inside).map_or(NOBODY, |range| range.outside)
        };
        (first(&self.users), first(&self.groups))
    }
}

fn outside(ranges: &[IdRange], id: u32) -> Option<u32> {
    ranges.iter().find_map(|range| {
        let offset = id.checked_sub(range.inside).filter(|offset| *offset < range.count)?;
        range.outside.checked_add(offset)
    })
}

fn inside(ranges: &[IdRange], id: u32) -> u32 {
    let found = ranges.iter().find_map(|range| {
        let offset = id.checked_sub(range.outside).filter(|offset| *offset < range.count)?;
        range.inside.checked_add(offset)
    });
    found.unwrap_or(NOBODY)
}

/// The lines of `uid_map` and `gid_map` (user_namespaces(7)).
fn parse(text: &str) -> Option<Vec<IdRange>> {
    let line = |line: &str| {
        let mut numbers = line.split_whitespace().map(str::parse);
        let mut next = || numbers.next()?.ok();
        Some(IdRange { inside: next()?, outside: next()?, count: next()? })
    };
    text.lines().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_translated_both_ways() {
        let users = parse("         0     100000       1000\n      2000     200000          1\n").unwrap();
        let maps = IdMaps { groups: users.clone(), users };
        assert_eq!((maps.user(0), maps.user(999), maps.user(1000)), (Some(100_000), Some(100_999), None));
        assert_eq!(maps.group(2000), Some(200_000));
        assert_eq!(maps.seen(100_007, 200_000), (7, 2000));
        assert_eq!(maps.seen(0, 101_000), (NOBODY, NOBODY));
        assert_eq!(maps.root(), (100_000, 100_000));
        assert!(!maps.is_identity());
    }

    #[test]
    fn ours_are_what_they_are() {
        let maps = IdMaps::of(crate::process::id()).unwrap();
        assert_eq!(maps.user(0), Some(0));
        assert!(maps.is_identity());
    }
}
