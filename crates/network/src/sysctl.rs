//! The kernel's settings of networks (`/proc/sys/net`), which each network namespace has for itself.
//!
//! procfs remembers what was looked up, and what is called alike in different namespaces lies in one chain: whoever looks
//! `net/ipv6` up passes by everybody else's. With hundreds of containers that is a millisecond for each start, and for
//! every other reader of such a file on the host. So what is set inside a container's namespace is looked up in a procfs
//! that is mounted nowhere and thrown away, with all that it remembers, after some visits.

use std::sync::{Arc, Mutex, PoisonError};

use linux::Errno;
use linux::procfs::Procfs;

/// A new procfs costs as much as a lookup in a chain of about a hundred; shared by so many visits it is next to nothing.
const VISITS: u32 = 32;

/// The procfs that is looked into now, and how many visits it has left.
static APART: Mutex<Option<(Arc<Procfs>, u32)>> = Mutex::new(None);

/// A setting of the calling thread's namespace, which is the host's.
pub(crate) fn get(key: &str) -> linux::Result<String> {
    let path = format!("/proc/sys/{key}");
    let text = std::fs::read_to_string(&path)
        .map_err(|error| linux::Error::from_io("read", format_args!("{path:?}"), &error))?;
    Ok(text.trim().to_owned())
}

/// Changes a setting of the calling thread's namespace, which is the host's.
pub(crate) fn set(key: &str, value: &str) -> linux::Result<()> {
    let path = format!("/proc/sys/{key}");
    std::fs::write(&path, value)
        .map_err(|error| linux::Error::from_io("write", format_args!("{path:?}, {value:?}"), &error))
}

/// As [`set`]; a kernel without IPv6 lacks the setting, and needs none.
pub(crate) fn set_if_there(key: &str, value: &str) -> linux::Result<()> {
    unless_missing(set(key, value))
}

/// Settings of a namespace that many others have beside it: the calling thread's.
#[derive(Debug)]
pub(crate) struct Inside(Arc<Procfs>);

impl Inside {
    pub(crate) fn visit() -> linux::Result<Inside> {
        let mut apart = APART.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((procfs, left @ 1..)) = apart.as_mut() {
            *left -= 1;
            return Ok(Inside(procfs.clone()));
        }
        // Who may not mount one has no namespaces to speak of.
        let procfs = Arc::new(Procfs::new().or_else(|_| Procfs::host())?);
        *apart = Some((procfs.clone(), VISITS - 1));
        Ok(Inside(procfs))
    }

    pub(crate) fn set(&self, key: &str, value: &str) -> linux::Result<()> {
        self.0.write(&format!("sys/{key}"), value)
    }

    /// As [`set_if_there`].
    pub(crate) fn set_if_there(&self, key: &str, value: &str) -> linux::Result<()> {
        unless_missing(self.set(key, value))
    }
}

fn unless_missing(done: linux::Result<()>) -> linux::Result<()> {
    match done {
        Err(error) if error.is(Errno::NOENT) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_namespace_has_its_own_settings() {
        const KEY: &str = "net/ipv4/conf/default/arp_notify";
        let before = get(KEY).unwrap();
        let seen = |number: u32| {
            let own = number.to_string();
            std::thread::spawn(move || {
                linux::namespace::unshare(linux::namespace::NETWORK).unwrap();
                assert_eq!(get(KEY).unwrap(), "0");
                Inside::visit().unwrap().set(KEY, &own).unwrap();
                get(KEY).unwrap()
            })
            .join()
            .unwrap()
        };
        // More than one procfs is good for.
        for number in 1..=VISITS + 2 {
            let number = number % 2;
            assert_eq!(seen(number), number.to_string());
        }
        assert_eq!(get(KEY).unwrap(), before);
        assert!(Inside::visit().unwrap().set("net/no/such", "1").unwrap_err().is(Errno::NOENT));
        Inside::visit().unwrap().set_if_there("net/no/such", "1").unwrap();
    }
}
