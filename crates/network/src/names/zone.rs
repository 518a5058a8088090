//! What the networks of one container know: their directories, read when they have changed.
//!
//! A directory's modification time advances with the kernel's clock tick (10 ms at most), so two changes within a tick
//! look like one. A directory that was read within [`UNSETTLED`] of its modification is therefore read again at the
//! next question, and only then believed until the time changes.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::{Config, Entry};

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
    /// What the network is called, as those on it say.
    called: String,
    /// Names that only this container knows, and which each stands for here.
    links: BTreeMap<String, String>,
    names: HashMap<String, Vec<IpAddr>>,
    addresses: HashMap<IpAddr, String>,
}

impl Zone {
    pub(super) fn new(config: &Config) -> Zone {
        let network = |(index, directory): (usize, &PathBuf)| Network {
            directory: directory.clone(),
            read: None,
            called: String::new(),
            links: config.links_on.get(index).unwrap_or(&config.links).clone(),
            names: HashMap::new(),
            addresses: HashMap::new(),
        };
        Zone { networks: config.directories.iter().enumerate().map(network).collect() }
    }

    /// The addresses that a name (in lower case) means on the first network that knows it; none if none does. Links come
    /// before names, and who links a name on a network does not find another of that name there.
    pub(super) fn addresses(&mut self, name: &str) -> Option<Vec<IpAddr>> {
        self.networks.iter_mut().for_each(Network::refresh);
        let linked = self.networks.iter().find_map(|network| network.names.get(network.link(name)?));
        let named = || {
            let networks = self.networks.iter().filter(|network| network.link(name).is_none());
            networks.filter_map(|network| network.names.get(name)).next()
        };
        linked.or_else(named).cloned()
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
    /// What a linked name stands for, be it said with the network or without.
    fn link(&self, name: &str) -> Option<&str> {
        let alone = || name.strip_suffix(self.called.as_str())?.strip_suffix('.');
        let target = self.links.get(name).or_else(|| self.links.get(alone()?));
        target.map(String::as_str)
    }

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
        self.called.clone_from(&network);
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

    fn zone(directories: &[PathBuf]) -> Zone {
        Zone::new(&Config { directories: directories.to_vec(), ..Config::default() })
    }

    #[test]
    fn the_first_network_that_knows_a_name_answers() {
        let place = scratch::Directory::new("zone");
        let [sea, lake] = ["sea", "lake"].map(|name| place.join(name));
        let write = |directory: &Path, name: &str, address: &str| {
            let network = directory.file_name().unwrap().to_string_lossy().into_owned();
            let entry = Entry { network, names: vec![name.into(), "all".into()], ..entry(name, address) };
            entry.write(&directory.join(name)).unwrap();
        };
        write(&sea, "web", "10.0.0.2");
        write(&sea, "db", "10.0.0.3");
        write(&lake, "web", "10.1.0.2");
        write(&lake, "log", "10.1.0.4");
        let link = |from: &str, to: &str| BTreeMap::from([(from.to_owned(), to.to_owned())]);
        let config = Config {
            directories: vec![sea.clone(), lake.clone()],
            links: link("other", "web"),
            links_on: vec![link("gone", "log"), link("db", "log")],
            ..Config::default()
        };
        let mut zone = Zone::new(&config);
        let ask = |zone: &mut Zone, name: &str| -> Vec<String> {
            let mut all: Vec<_> =
                zone.addresses(name).into_iter().flatten().map(|ip| ip.to_string()).collect();
            all.sort();
            all
        };
        assert_eq!(ask(&mut zone, "web"), ["10.0.0.2"]);
        assert_eq!(ask(&mut zone, "web.lake"), ["10.1.0.2"]);
        assert_eq!(ask(&mut zone, "log"), ["10.1.0.4"]);
        assert_eq!(ask(&mut zone, "all"), ["10.0.0.2", "10.0.0.3"]);
        assert_eq!(ask(&mut zone, "db"), ["10.1.0.4"], "a link comes before a name");
        assert_eq!(ask(&mut zone, "db.lake"), ["10.1.0.4"]);
        assert_eq!(ask(&mut zone, "db.sea"), ["10.0.0.3"]);
        assert_eq!(ask(&mut zone, "gone"), [] as [&str; 0], "whom it stands for is on another network");
        assert_eq!(ask(&mut zone, "other"), [] as [&str; 0]);
        // From an engine that does not part links by network.
        let mut zone = Zone::new(&Config { links_on: Vec::new(), ..config });
        assert_eq!(ask(&mut zone, "other"), ["10.0.0.2"]);
    }

    #[test]
    fn entries_come_and_go() {
        let place = scratch::Directory::new("zone");
        let directory = place.join("network");
        let mut zone = zone(std::slice::from_ref(&directory));
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
        let mut zone = zone(std::slice::from_ref(&directory));
        // However long this takes, it is not over.
        changed_at(SystemTime::now() + Duration::from_secs(3600));
        zone.addresses("web");
        assert_eq!(zone.networks[0].read, None);
        changed_at(SystemTime::now() - 2 * UNSETTLED);
        zone.addresses("web");
        assert!(zone.networks[0].read.is_some());
    }
}
