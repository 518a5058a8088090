//! Resource director technology: how much of the last cache and of the memory's bandwidth a container may use.
//!
//! The kernel's interface is the file system `resctrl`: a directory is a class of service, the ids in its `tasks`
//! belong to it, its `schemata` says what they get. Children of a task are born into its class.
//!
//! ```text
//!   /sys/fs/resctrl                     wherever it is mounted; nobody but the administrator mounts it
//!     info/last_cmd_status              why the last write was refused
//!     <closID, or the container's id>/
//!       schemata  tasks
//!       mon_groups/<container's id>/    for enableMonitoring: counted apart from others of the class
//! ```
//!
//! A class that the configuration names belongs to others too, and stays; one with the container's id goes with it.
//! See <https://github.com/opencontainers/runtime-spec/blob/main/config-linux.md#intelrdt> and the kernel's
//! `Documentation/filesystems/resctrl.rst`.

mod stats;

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use linux::process::Pid;
use oci::runtime::IntelRdt;
use serde::{Deserialize, Serialize};
pub use stats::Stats;

use crate::{Error, Result, error::Step};

/// How often processes are looked for that were born meanwhile. Each time there are fewer.
const ROUNDS: u32 = 100;

/// What the configuration asks for, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Class {
    /// A class that has a name of its own, rather than the container's id.
    name: Option<String>,
    /// Lines for `schemata`, in the order in which they are written.
    schemata: Vec<String>,
    monitored: bool,
}

/// The container's place in the file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Group {
    root: PathBuf,
    directory: PathBuf,
    /// Ends with the container.
    ours: bool,
    monitor: Option<PathBuf>,
}

pub(crate) fn plan(wanted: &IntelRdt) -> Result<Class> {
    let name = Some(wanted.clos_id.clone()).filter(|name| !name.is_empty());
    if name.as_ref().is_some_and(|name| name == "." || name == ".." || (name.contains('/') && name != "/")) {
        return Err(Error::invalid(format_args!("invalid intelRdt.closID {:?}", wanted.clos_id)));
    }
    let bandwidth = &wanted.mem_bw_schema;
    if !bandwidth.is_empty() && (!bandwidth.starts_with("MB:") || bandwidth.contains('\n')) {
        return Err(Error::invalid(format_args!("invalid intelRdt.memBwSchema {bandwidth:?}")));
    }
    // Bandwidth has a field of its own, which counts for more than a line of it among those of the cache.
    let cache = wanted.l3_cache_schema.lines();
    let cache = cache.filter(|line| bandwidth.is_empty() || !line.starts_with("MB:"));
    let bandwidth = Some(bandwidth.as_str()).filter(|line| !line.is_empty());
    let lines = cache.chain(bandwidth).chain(wanted.schemata.iter().map(String::as_str));
    let schemata = lines.filter(|line| !line.is_empty()).map(str::to_owned).collect();
    let monitored = wanted.enable_monitoring || wanted.enable_cmt || wanted.enable_mbm;
    Ok(Class { name, schemata, monitored })
}

/// New amounts for a container, as lines of `schemata`; checked against what this machine can share out.
pub(crate) fn amounts(cache: Option<&str>, bandwidth: Option<&str>) -> Result<Vec<String>> {
    let root = mounted()?;
    let has = |resource: &str| root.as_ref().is_some_and(|root| root.join("info").join(resource).exists());
    if cache.is_some() && !has("L3") && !has("L3CODE") {
        return Err(Error::other("Intel RDT/CAT: l3 cache schema is not enabled"));
    }
    if bandwidth.is_some() && !has("MB") {
        return Err(Error::other("Intel RDT/MBA: memory bandwidth schema is not enabled"));
    }
    Ok([cache, bandwidth].into_iter().flatten().map(str::to_owned).collect())
}

fn mounted() -> Result<Option<PathBuf>> {
    let mounts = linux::mount::list().step(|| "intelRdt")?;
    Ok(mounts.into_iter().find(|mount| mount.kind == "resctrl").map(|mount| mount.target))
}

/// Where the file system is mounted.
pub(crate) fn root() -> Result<PathBuf> {
    mounted()?.ok_or_else(|| {
        Error::invalid("linux.intelRdt is specified in config, but no resctrl file system is mounted")
    })
}

impl Class {
    /// One of the container's own, for one that runs without.
    pub(crate) fn of_its_own(schemata: &[String]) -> Class {
        Class { name: None, schemata: schemata.to_vec(), monitored: false }
    }

    /// Where a container with this class is, whether or not it is there yet.
    pub(crate) fn group(&self, root: &Path, id: &str) -> Group {
        let directory = match self.name.as_deref() {
            Some("/") => root.to_owned(),
            name => root.join(name.unwrap_or(id)),
        };
        let monitor = self.monitored.then(|| directory.join("mon_groups").join(id));
        Group { root: root.to_owned(), directory, ours: self.name.is_none(), monitor }
    }

    /// Makes the class if it is not there, and says what it gets.
    pub(crate) fn establish(&self, group: &Group) -> Result<()> {
        let exists = group.directory.exists();
        if !exists && !group.ours && self.schemata.is_empty() {
            return Err(Error::invalid(format_args!(
                "intelRdt.closID: {:?} does not exist, and nothing says what it is to get",
                group.directory
            )));
        }
        if exists && !group.ours {
            // Others are in it: it is as they were told, or it is not this container's.
            group.compare(&self.schemata)?;
        } else {
            group.make(&group.directory)?;
            if let Err(error) = group.write_schemata(&self.schemata) {
                // The first failure is the one to tell.
                let _leftover = fs::remove_dir(&group.directory);
                return Err(error);
            }
        }
        group.monitor.iter().try_for_each(|monitor| group.make(monitor))
    }
}

impl Group {
    /// Takes a process in, with the children that it will have.
    pub(crate) fn add(&self, pid: Pid) -> Result<()> {
        let mut places = vec![&self.directory];
        places.extend(&self.monitor);
        places.into_iter().try_for_each(|place| self.write(&place.join("tasks"), &pid.to_string()))
    }

    /// Takes everybody in who runs already, thread by thread. Whoever is born later is born into it; so it is looked
    /// again until there is nobody new.
    pub(crate) fn add_all(&self, processes: impl Fn() -> Result<Vec<Pid>>) -> Result<()> {
        let mut added = BTreeSet::new();
        for _ in 0..ROUNDS {
            let threads: BTreeSet<Pid> = processes()?.into_iter().flat_map(threads).collect();
            let new: Vec<Pid> = threads.difference(&added).copied().collect();
            if new.is_empty() {
                return Ok(());
            }
            for thread in new {
                match self.add(thread) {
                    // It has ended meanwhile.
                    Err(_) if !Path::new(&format!("/proc/{thread}")).exists() => {}
                    other => other?,
                }
            }
            added = threads;
        }
        Err(Error::other("intelRdt: its processes multiply faster than they can be moved"))
    }

    /// New amounts for a container that runs.
    pub(crate) fn write_schemata(&self, lines: &[String]) -> Result<()> {
        // A line at a time: a refusal names the one that is wrong.
        lines.iter().try_for_each(|line| self.write(&self.directory.join("schemata"), &format!("{line}\n")))
    }

    /// What is the container's alone goes. What is gone already is fine.
    pub(crate) fn remove(&self) -> Result<()> {
        let own = Some(&self.directory).filter(|_| self.ours);
        for place in self.monitor.iter().chain(own) {
            match fs::remove_dir(place) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(self.explained("rmdir", place, &error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn make(&self, directory: &Path) -> Result<()> {
        match fs::create_dir(directory) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                Err(self.explained("mkdir", directory, &error))
            }
            _ => Ok(()),
        }
    }

    fn write(&self, path: &Path, text: &str) -> Result<()> {
        let written = fs::OpenOptions::new().write(true).open(path);
        let written = written.and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()));
        written.map_err(|error| self.explained(&format!("write {:?} to", text.trim_end()), path, &error))
    }

    /// The kernel's own sentence says more than the number.
    fn explained(&self, call: &str, path: &Path, error: &std::io::Error) -> Error {
        let status = fs::read_to_string(self.root.join("info/last_cmd_status")).unwrap_or_default();
        let status = match status.trim() {
            "" | "ok" => String::new(),
            status => format!(", last_cmd_status: {status}"),
        };
        Error::other(format_args!("intelRdt: {call} {path:?}: {error}{status}"))
    }

    fn compare(&self, lines: &[String]) -> Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        let path = self.directory.join("schemata");
        let found = fs::read_to_string(&path).map_err(|error| self.explained("read", &path, &error))?;
        let found: Vec<Schema<'_>> = found.lines().filter_map(Schema::parse).collect();
        for line in lines {
            let wanted = Schema::parse(line);
            let is_so = wanted.is_some_and(|wanted| found.iter().any(|found| found.includes(&wanted)));
            if !is_so {
                return Err(Error::invalid(format_args!(
                    "intelRdt.closID: {:?} exists, and is not {line:?}",
                    self.directory
                )));
            }
        }
        Ok(())
    }
}

fn threads(pid: Pid) -> Vec<Pid> {
    let entries = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// A line of `schemata`: a resource, and a value for each of its domains.
struct Schema<'a> {
    resource: &'a str,
    domains: Vec<(u64, u64)>,
}

impl Schema<'_> {
    fn parse(line: &str) -> Option<Schema<'_>> {
        let (resource, rest) = line.split_once(':')?;
        let resource = resource.trim();
        // Bandwidth is counted in percent, the cache in bits of a mask.
        let radix = if resource.starts_with("MB") { 10 } else { 16 };
        let domain = |text: &str| {
            let (domain, value) = text.split_once('=')?;
            Some((domain.trim().parse().ok()?, u64::from_str_radix(value.trim(), radix).ok()?))
        };
        let domains = rest.split(';').map(domain).collect::<Option<_>>()?;
        Some(Schema { resource, domains })
    }

    fn includes(&self, wanted: &Schema<'_>) -> bool {
        self.resource == wanted.resource && wanted.domains.iter().all(|domain| self.domains.contains(domain))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory that looks like the file system, but for what the kernel does by itself.
    pub(super) struct Fake(pub(super) scratch::Directory);

    impl Fake {
        pub(super) fn new(name: &str) -> Fake {
            let root = scratch::Directory::new(name);
            fs::create_dir(root.join("info")).unwrap();
            let fake = Fake(root);
            fake.class("");
            fake
        }

        pub(super) fn class(&self, name: &str) -> PathBuf {
            let directory = self.0.join(name);
            fs::create_dir_all(directory.join("mon_groups")).unwrap();
            fs::write(directory.join("tasks"), "").unwrap();
            fs::write(directory.join("schemata"), "    L3:0=00ff;1=000f\n    MB:0=100;1= 50\n").unwrap();
            directory
        }
    }

    pub(super) fn class(json: &str) -> Class {
        plan(&serde_json::from_str(json).unwrap()).unwrap()
    }

    #[test]
    fn lines_in_their_order_and_bandwidth_from_its_own_field() {
        let class = class(
            r#"{"l3CacheSchema":"L3:0=f\nMB:0=10","memBwSchema":"MB:0=20","schemata":["L2:0=3","L3:0=7"]}"#,
        );
        assert_eq!(class.schemata, ["L3:0=f", "MB:0=20", "L2:0=3", "L3:0=7"]);
        for (json, monitored) in
            [(r#"{"enableCMT":true}"#, true), (r#"{"enableMBM":true}"#, true), ("{}", false)]
        {
            assert_eq!(self::class(json).monitored, monitored, "{json}");
        }
        for wrong in [r#"{"closID":"a/b"}"#, r#"{"closID":".."}"#, r#"{"memBwSchema":"L3:0=1"}"#] {
            assert!(plan(&serde_json::from_str(wrong).unwrap()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_class_of_the_containers_own_is_made_and_goes_with_it() {
        let fake = Fake::new("own");
        let class = class(r#"{"l3CacheSchema":"L3:0=f"}"#);
        let group = class.group(&fake.0, "box");
        // The kernel would have put the files into the new directory; without them the amounts cannot be written.
        let error = class.establish(&group).unwrap_err().to_string();
        assert!(error.contains(r#"write "L3:0=f" to"#), "{error}");
        assert!(!group.directory.exists(), "nothing is left of a failure");
        fake.class("box");
        class.establish(&group).unwrap();
        group.add(42).unwrap();
        assert_eq!(fs::read_to_string(group.directory.join("tasks")).unwrap(), "42");
        assert!(fs::read_to_string(group.directory.join("schemata")).unwrap().starts_with("L3:0=f\n"));
        for file in ["tasks", "schemata"] {
            fs::remove_file(group.directory.join(file)).unwrap();
        }
        fs::remove_dir(group.directory.join("mon_groups")).unwrap();
        group.remove().unwrap();
        assert!(!group.directory.exists());
        group.remove().unwrap();
    }

    #[test]
    fn a_class_of_others_must_be_as_asked_and_stays() {
        let fake = Fake::new("others");
        let missing = class(r#"{"closID":"gold"}"#);
        let error = missing.establish(&missing.group(&fake.0, "box")).unwrap_err().to_string();
        assert!(error.contains("gold") && error.contains("does not exist"), "{error}");
        fake.class("gold");
        missing.establish(&missing.group(&fake.0, "box")).unwrap();
        let same = class(r#"{"closID":"gold","l3CacheSchema":"L3:1=f;0=ff","memBwSchema":"MB:1=50"}"#);
        same.establish(&same.group(&fake.0, "box")).unwrap();
        let other = class(r#"{"closID":"gold","schemata":["L3:0=f"]}"#);
        let error = other.establish(&other.group(&fake.0, "box")).unwrap_err().to_string();
        assert!(error.contains(r#"is not "L3:0=f""#), "{error}");
        same.group(&fake.0, "box").remove().unwrap();
        assert!(fake.0.join("gold").exists());
    }

    #[test]
    fn the_root_class_and_a_group_to_count_in() {
        let fake = Fake::new("monitor");
        let class = class(r#"{"closID":"/","enableMonitoring":true}"#);
        let group = class.group(&fake.0, "box");
        class.establish(&group).unwrap();
        let monitor = fake.0.join("mon_groups/box");
        assert!(monitor.is_dir());
        fs::write(monitor.join("tasks"), "").unwrap();
        group.add(7).unwrap();
        assert_eq!(fs::read_to_string(monitor.join("tasks")).unwrap(), "7");
        fs::remove_file(monitor.join("tasks")).unwrap();
        group.remove().unwrap();
        assert!(!monitor.exists() && fake.0.exists());
    }

    #[test]
    fn whoever_runs_already_is_moved_with_all_threads() {
        let fake = Fake::new("all");
        let class = Class::of_its_own(&["L3:0=f".to_owned()]);
        let group = class.group(&fake.0, "box");
        fake.class("box");
        class.establish(&group).unwrap();
        let (ended, end) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || end.recv().is_err());
        let own = std::process::id() as Pid;
        assert!(threads(own).len() > 1);
        let asked = std::cell::Cell::new(0);
        let processes = || {
            asked.set(asked.get() + 1);
            // The second one is nobody's.
            Ok(vec![own, Pid::MAX])
        };
        group.add_all(processes).unwrap();
        assert!(asked.get() > 1, "it is looked again");
        let last: Pid = fs::read_to_string(group.directory.join("tasks")).unwrap().parse().unwrap();
        assert!(Path::new(&format!("/proc/{own}/task/{last}")).exists() || last > own);
        drop(ended);
        assert!(thread.join().unwrap());
    }

    #[test]
    fn the_kernels_reason_is_told() {
        let fake = Fake::new("reason");
        fs::write(fake.0.join("info/last_cmd_status"), "Mask out of range\n").unwrap();
        let group = class(r#"{"closID":"none"}"#).group(&fake.0, "box");
        let error = group.add(1).unwrap_err().to_string();
        assert!(error.ends_with("last_cmd_status: Mask out of range"), "{error}");
    }
}
