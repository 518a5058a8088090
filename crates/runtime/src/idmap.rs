//! The maps of a new user namespace.
//!
//! Root writes them. An ordinary user may map nobody but himself; for the subordinate ids that he was given in
//! `/etc/subuid` and `/etc/subgid` there are newuidmap(1) and newgidmap(1), which look there and write for him.

use std::os::fd::AsFd;
use std::path::Path;

use linux::namespace::{self, IdRange};
use linux::process::{Exit, Pid, Program, Spawn};
use linux::{credentials, fd};

use crate::{Error, Result, error::Step};

const USERS: [&str; 2] = ["/usr/bin/newuidmap", "/bin/newuidmap"];
const GROUPS: [&str; 2] = ["/usr/bin/newgidmap", "/bin/newgidmap"];

/// What they say is quoted up to here.
const QUOTED: usize = 4096;

pub(crate) fn write(pid: Pid, users: &[IdRange], groups: &[IdRange]) -> Result<()> {
    let (user, group) = (credentials::user(), credentials::group());
    if user == 0 || (is_own(users, user) && is_own(groups, group)) {
        return namespace::set_id_maps(pid, users, groups).step(|| "id mappings");
    }
    by_program(&USERS, pid, users)?;
    by_program(&GROUPS, pid, groups)
}

fn is_own(ranges: &[IdRange], id: u32) -> bool {
    matches!(ranges, [IdRange { outside, count: 1, .. }] if *outside == id)
}

fn by_program(places: &[&str], pid: Pid, ranges: &[IdRange]) -> Result<()> {
    let Some(program) = places.iter().map(Path::new).find(|path| path.exists()) else {
        let message =
            format_args!("id mappings: {} is needed to map more than one id, and was not found", places[0]);
        return Err(Error::other(message));
    };
    let step = || program.display().to_string();
    let numbers = ranges.iter().flat_map(|range| [range.inside, range.outside, range.count]);
    let words: Vec<String> = std::iter::once(step())
        .chain(std::iter::once(pid.to_string()))
        .chain(numbers.map(|number| number.to_string()))
        .collect();
    let said = fd::memory_file("newidmap").step(step)?;
    let null = std::fs::File::open("/dev/null").step(step)?;
    let child = Spawn::new(Program::Path(program), &words)
        .step(step)?
        .descriptor(null.as_fd(), 0)
        .descriptor(said.as_fd(), 1)
        .descriptor(said.as_fd(), 2)
        .start()
        .step(step)?;
    match child.wait().step(step)? {
        Exit::Code(0) => Ok(()),
        exit => {
            let text = quote(said)?;
            Err(Error::other(format_args!("id mappings: {}: {text} ({exit:?})", step())))
        }
    }
}

fn quote(said: std::os::fd::OwnedFd) -> Result<String> {
    use std::io::{Read, Seek};
    let mut file = std::fs::File::from(said);
    file.rewind().step(|| "id mappings")?;
    let mut bytes = Vec::new();
    file.take(QUOTED as u64).read_to_end(&mut bytes).step(|| "id mappings")?;
    Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_oneself_needs_no_help() {
        let range = |outside, count| IdRange { inside: 0, outside, count };
        assert!(is_own(&[range(5, 1)], 5));
        for ranges in [vec![], vec![range(6, 1)], vec![range(5, 2)], vec![range(5, 1), range(100_000, 10)]] {
            assert!(!is_own(&ranges, 5));
        }
    }
}
