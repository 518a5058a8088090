//! What the networks of one container know: their directories, read when they have changed.
//!
//! A directory's modification time advances with the kernel's clock tick (10 ms at most), so two changes within a tick
//! look like one. A directory that was read within [`UNSETTLED`] of its modification is therefore read again at the
//! next question, and only then believed until the time changes.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::Entry;

/// Several of the longest clock ticks.
const UNSETTLED: Duration = Duration::from_millis(50);
/// An entry's names and addresses need far less; more is not ours.
const MAX_ENTRY: u64 = 64 << 10;
/// A bridge cannot hold more ports (1023); with room for what lingers.
const MAX_ENTRIES: usize = 4096;

#[derive(Debug, Default)]
pub(super) struct Zone {
    networks: Vec<Network>,
}

#[derive(Debug)]
struct Network {
    directory: PathBuf,
    /// The directory's modification time when it was read, if that can be relied on.
    read: Option<SystemTime>,
    names: HashMap<String, Vec<IpAddr>>,
    addresses: HashMap<IpAddr, String>,
}

impl Zone {
    pub(super) fn new(directories: &[PathBuf]) -> Zone {
        let network = |directory: &PathBuf| Network {
            directory: directory.clone(),
            read: None,
            names: HashMap::new(),
            addresses: HashMap::new(),
        };
        Zone { networks: directories.iter().map(network).collect() }
    }

    /// The addresses that a name (in lower case) means, on whichever networks; none if nobody has that name.
    pub(super) fn addresses(&mut self, name: &str) -> Option<Vec<IpAddr>> {
        let mut found: Option<Vec<IpAddr>> = None;
        for network in &mut self.networks {
            network.refresh();
            if let Some(addresses) = network.names.get(name) {
                found.get_or_insert_default().extend(addresses);
            }
        }
        found
    }

    /// The full name behind an address.
    pub(super) fn name(&mut self, address: IpAddr) -> Option<String> {
        self.networks.iter_mut().find_map(|network| {
            network.refresh();
            network.addresses.get(&address).cloned()
        })
    }
}

impl Network {
    fn refresh(&mut self) {
        let modified = std::fs::metadata(&self.directory).and_then(|metadata| metadata.modified()).ok();
        if modified.is_some() && modified == self.read {
            return;
        }
        let now = SystemTime::now();
        self.names.clear();
        self.addresses.clear();
        for entry in entries(&self.directory) {
            self.add(&entry);
        }
        let settled = |modified: &SystemTime| now.duration_since(*modified).is_ok_and(|age| age > UNSETTLED);
        self.read = modified.filter(settled);
    }

    fn add(&mut self, entry: &Entry) {
        let network = entry.network.to_ascii_lowercase();
        for name in &entry.names {
            let name = name.to_ascii_lowercase();
            let full = format!("{name}.{network}");
            for name in [name, full] {
                let addresses = self.names.entry(name).or_default();
                for address in &entry.addresses {
                    if !addresses.contains(address) {
                        addresses.push(*address);
                    }
                }
            }
        }
        for address in &entry.addresses {
            self.addresses.insert(*address, format!("{}.{}", entry.name, entry.network));
        }
    }
}

/// All entries that can be read. One that cannot is as if it were not there: it is being withdrawn, or not ours.
fn entries(directory: &Path) -> Vec<Entry> {
    let Ok(listing) = std::fs::read_dir(directory) else { return Vec::new() };
    let visible = |file: &std::fs::DirEntry| !file.file_name().to_string_lossy().starts_with('.');
    listing
        .filter_map(|file| file.ok().filter(visible))
        .take(MAX_ENTRIES)
        .filter_map(|file| {
            let size = file.metadata().ok()?.len();
            let text = std::fs::read(file.path()).ok().filter(|_| size <= MAX_ENTRY)?;
            serde_json::from_slice(&text).ok()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, address: &str) -> Entry {
        Entry {
            network: "Backend".into(),
            name: name.into(),
            names: vec![name.into(), "0123456789ab".into()],
            addresses: vec![address.parse().unwrap()],
        }
    }

    #[test]
    fn entries_come_and_go() {
        let place = scratch::Directory::new("zone");
        let directory = place.join("network");
        let mut zone = Zone::new(std::slice::from_ref(&directory));
        assert_eq!(zone.addresses("web"), None);
        entry("Web", "10.0.0.2").write(&directory.join("one")).unwrap();
        assert_eq!(zone.addresses("web"), Some(vec!["10.0.0.2".parse().unwrap()]));
        assert_eq!(zone.addresses("web.backend"), zone.addresses("web"));
        assert_eq!(zone.name("10.0.0.2".parse().unwrap()).as_deref(), Some("Web.Backend"));
        // Both within one clock tick of the first: nothing may be missed.
        entry("web", "10.0.0.3").write(&directory.join("two")).unwrap();
        assert_eq!(zone.addresses("web").map(|all| all.len()), Some(2));
        super::super::withdraw(&directory.join("one")).unwrap();
        super::super::withdraw(&directory.join("one")).unwrap();
        assert_eq!(zone.addresses("web"), Some(vec!["10.0.0.3".parse().unwrap()]));
        std::fs::write(directory.join("broken"), "{").unwrap();
        assert_eq!(zone.addresses("web").map(|all| all.len()), Some(1));
        std::fs::remove_dir_all(&directory).unwrap();
        assert_eq!(zone.addresses("web"), None);
    }

    #[test]
    fn a_directory_is_believed_once_it_has_settled() {
        let place = scratch::Directory::new("zone");
        let directory = place.join("network");
        entry("web", "10.0.0.2").write(&directory.join("one")).unwrap();
        let changed_at = |moment| std::fs::File::open(&directory).unwrap().set_modified(moment).unwrap();
        let mut zone = Zone::new(std::slice::from_ref(&directory));
        // However long this takes, it is not over.
        changed_at(SystemTime::now() + Duration::from_secs(3600));
        zone.addresses("web");
        assert_eq!(zone.networks[0].read, None);
        changed_at(SystemTime::now() - 2 * UNSETTLED);
        zone.addresses("web");
        assert!(zone.networks[0].read.is_some());
    }
}
