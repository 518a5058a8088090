//! The `local` driver: what its options mount, and how much a volume holds.
//!
//! `type`, `device` and `o` are those of mount(8): `type=nfs,o=addr=host,device=:/path`, `type=tmpfs,device=tmpfs,o=size=1m`,
//! `type=none,o=bind,device=/path`. Words of `o` that are flags of mount(2) become flags, all others go to the file system.
//! `size` limits a volume that mounts nothing, where the file system counts by project.

use std::collections::BTreeMap;
use std::net::ToSocketAddrs;
use std::path::Path;

use linux::mount;

use crate::error::{Error, Result};

/// Options and the others that each needs.
const NEEDS: &[(&str, &[&str])] = &[("device", &["type"]), ("o", &["device", "type"]), ("type", &["device"])];

const SIZE: &str = "size";

/// Flags of mount(2); see its man page for what they do.
const RDONLY: u64 = 1;
const NOSUID: u64 = 2;
const NODEV: u64 = 4;
const NOEXEC: u64 = 8;
const SYNCHRONOUS: u64 = 16;
const REMOUNT: u64 = 32;
const MANDLOCK: u64 = 64;
const DIRSYNC: u64 = 128;
const NOATIME: u64 = 1024;
const NODIRATIME: u64 = 2048;
const BIND: u64 = 4096;
const REC: u64 = 16384;
const RELATIME: u64 = 1 << 21;
const STRICTATIME: u64 = 1 << 24;

/// Word, flag, whether the word clears it.
const WORDS: &[(&str, u64, bool)] = &[
    ("defaults", 0, false),
    ("ro", RDONLY, false),
    ("rw", RDONLY, true),
    ("suid", NOSUID, true),
    ("nosuid", NOSUID, false),
    ("dev", NODEV, true),
    ("nodev", NODEV, false),
    ("exec", NOEXEC, true),
    ("noexec", NOEXEC, false),
    ("sync", SYNCHRONOUS, false),
    ("async", SYNCHRONOUS, true),
    ("dirsync", DIRSYNC, false),
    ("mand", MANDLOCK, false),
    ("nomand", MANDLOCK, true),
    ("atime", NOATIME, true),
    ("noatime", NOATIME, false),
    ("diratime", NODIRATIME, true),
    ("nodiratime", NODIRATIME, false),
    ("relatime", RELATIME, false),
    ("norelatime", RELATIME, true),
    ("strictatime", STRICTATIME, false),
    ("nostrictatime", STRICTATIME, true),
    ("bind", BIND, false),
    ("rbind", BIND | REC, false),
];

/// Checks the options of a new volume; `can_be_limited`: its files lie where something counts them.
pub(super) fn check(options: &BTreeMap<String, String>, can_be_limited: impl Fn() -> bool) -> Result<()> {
    for name in options.keys() {
        if name != SIZE && !NEEDS.iter().any(|(known, _)| known == name) {
            return Err(Error::invalid(format!("invalid option: {name:?}")));
        }
    }
    if let Some(size) = options.get(SIZE)
        && limit(options).ok_or_else(|| Error::invalid(format!("invalid size: '{size}'")))? > 0
    {
        if !can_be_limited() {
            return Err(Error::invalid("quota size requested but no quota support"));
        }
        if is_mount(options) {
            let words = "the option \"size\" limits the engine's own directories: it goes with no \"device\"";
            return Err(Error::invalid(words));
        }
    }
    for (_, needed) in NEEDS.iter().filter(|(name, _)| options.contains_key(*name)) {
        if let Some(missing) = needed.iter().find(|needed| !options.contains_key(**needed)) {
            return Err(Error::invalid(format!("missing required option: {missing:?}")));
        }
    }
    Ok(())
}

/// Whether the options ask for a mount.
pub(super) fn is_mount(options: &BTreeMap<String, String>) -> bool {
    options.keys().any(|name| name != SIZE)
}

/// Bytes that the volume may hold; 0: as many as there are.
pub(super) fn limit(options: &BTreeMap<String, String>) -> Option<u64> {
    options.get(SIZE).map_or(Some(0), |size| crate::container::bytes(size))
}

/// Whether something is mounted exactly there.
pub(super) fn is_mounted(path: &Path) -> Result<bool> {
    let mounts = mount::list().map_err(|error| Error::failed("cannot read the list of mounts", error))?;
    Ok(mounts.iter().any(|mounted| mounted.target == path))
}

/// Mounts what the options say.
pub(super) fn mount(options: &BTreeMap<String, String>, target: &Path) -> Result<()> {
    let text = |key: &str| options.get(key).map(String::as_str).unwrap_or_default();
    let (kind, device) = (text("type"), text("device"));
    let (flags, data) = parse(text("o"));
    let data = if kind.starts_with("nfs") || kind == "cifs" { resolve(data)? } else { data };
    let data = data.join(",");
    let failed = |error: linux::Error| {
        let flags = if flags == 0 { String::new() } else { format!(", flags: {flags:#x}") };
        let told = if data.is_empty() { String::new() } else { format!(", data: {data}") };
        let from = if device.is_empty() { String::new() } else { format!("{device}:") };
        let words = error.words();
        Error::system(format!(
            "failed to mount local volume: mount {from}{}{flags}{told}: {words}",
            target.display()
        ))
    };
    mount::classic(Path::new(device), target, kind, flags, &data).map_err(failed)?;
    // A bind takes its flags only when it is mounted again.
    let changed = flags & !(BIND | REC);
    if flags & BIND != 0 && changed != 0 {
        let again = mount::classic(Path::new(device), target, kind, changed | BIND | REMOUNT, "");
        if let Err(error) = again {
            unmount(target)?;
            return Err(failed(error));
        }
    }
    Ok(())
}

/// Whether the options name a directory rather than a file system.
pub(super) fn binds(options: &BTreeMap<String, String>) -> bool {
    options.get("o").is_some_and(|words| parse(words).0 & BIND != 0)
}

/// Unmounts, if there is a mount. Lazily: a container that still has it keeps it.
pub(super) fn unmount(path: &Path) -> Result<()> {
    while is_mounted(path)? {
        mount::unmount(path, true).map_err(|error| Error::failed("cannot unmount a volume", error))?;
    }
    Ok(())
}

/// Words that are flags, and the rest for the file system.
fn parse(words: &str) -> (u64, Vec<String>) {
    let mut flags = 0;
    let mut data = Vec::new();
    for word in words.split(',').filter(|word| !word.is_empty()) {
        match WORDS.iter().find(|(known, ..)| *known == word) {
            Some((_, flag, true)) => flags &= !flag,
            Some((_, flag, false)) => flags |= flag,
            None => data.push(word.to_owned()),
        }
    }
    (flags, data)
}

/// The kernel wants addresses where people write names: `addr=server`.
fn resolve(mut data: Vec<String>) -> Result<Vec<String>> {
    for word in &mut data {
        let Some(host) = word.strip_prefix("addr=") else { continue };
        let mut found = (host, 0u16).to_socket_addrs().map_err(|error| {
            Error::failed(format!("error resolving passed in network volume address {host:?}"), error)
        })?;
        let address = found
            .next()
            .ok_or_else(|| Error::system(format!("network volume address {host:?} has no address")))?;
        *word = format!("addr={}", address.ip());
    }
    Ok(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_flags_or_data() {
        let (flags, data) = parse("ro,noexec,size=1m,rw,,uid=7");
        assert_eq!(flags, NOEXEC);
        assert_eq!(data, ["size=1m", "uid=7"]);
        assert_eq!(parse("rbind,ro").0, BIND | REC | RDONLY);
    }

    #[test]
    fn addresses_pass_and_names_are_looked_up() {
        assert_eq!(
            resolve(vec!["addr=192.0.2.7".into(), "vers=4".into()]).unwrap(),
            ["addr=192.0.2.7", "vers=4"]
        );
        assert!(resolve(vec!["addr=no such host".into()]).is_err());
    }
}
