//! Volumes: directories that outlive containers.
//!
//! The seam to a container: [`Volumes::ensure`] at its creation, [`Volumes::acquire`] and [`Volumes::release`] around a run.
//!
//! ```text
//!  create   record, then volumes/<name>/_data        a record without a directory gets one when it is used
//!  remove   rename to volumes/.gone-<name>, forget the record, delete
//! ```
//!
//! A crash between the steps of a removal leaves a renamed directory, which the next engine deletes; no directory is ever deleted
//! because its record is missing. The `local` driver is the only one. With the options `type`, `device` and `o` the directory is where
//! something is mounted while a container uses it; see [`local`].

mod filling;
mod local;
mod passing;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use api::event::kind;
use api::filters::Filters;
use api::volume::{CreateRequest, List, PruneReport, Usage};
use linux::path::Root;
use serde::{Deserialize, Serialize};

use crate::container::{MountKind, Record, check_volume_name};
use crate::error::{Error, ErrorKind, Result};
use crate::identity::{self, ContainerId};
use crate::images::Turn;
use crate::{Config, Engine, Paths, Records, clock};

const LOCAL: &str = "local";
/// Marks a volume that nobody named.
const ANONYMOUS: &str = "com.docker.volume.anonymous";

/// Directories on their way out. No volume's name begins with a dot.
const GONE: &str = ".gone-";

/// What a name of a file may have.
const LONGEST: usize = 255;

/// A name that has no room for more goes as its digest.
fn gone(name: &str) -> String {
    match GONE.len() + name.len() <= LONGEST {
        true => format!("{GONE}{name}"),
        false => format!("{GONE}{}", oci::digest::Digest::sha256_of(name.as_bytes()).hex()),
    }
}

/// The engine's volumes.
pub(crate) struct Volumes {
    paths: Paths,
    records: Records,
    known: RwLock<BTreeMap<String, Arc<Stored>>>,
    /// Held while a volume is made or removed, so that memory and records agree.
    changing: Mutex<()>,
    /// Containers that run with each volume.
    users: Mutex<HashMap<String, HashSet<ContainerId>>>,
    /// Those that are being filled now.
    filling: Mutex<HashSet<String>>,
    pruning: AtomicBool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Stored {
    created: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    options: BTreeMap<String, String>,
    /// The container that alone it is for, before that exists and when it is gone; see [`passing`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    made_for: Option<ContainerId>,
}

impl store::records::Record for Stored {
    const KIND: &'static str = "volume";
    const VERSION: u32 = 1;
}

/// A volume that a container asks for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted {
    /// None: an anonymous one.
    pub(crate) name: Option<String>,
    pub(crate) driver: String,
    pub(crate) options: BTreeMap<String, String>,
    pub(crate) labels: BTreeMap<String, String>,
}

/// One that exists.
#[derive(Debug, Clone)]
pub(crate) struct Volume {
    pub(crate) name: String,
    pub(crate) driver: String,
    pub(crate) mountpoint: PathBuf,
    /// It was made by this call.
    pub(crate) created: bool,
}

impl Volumes {
    pub(crate) fn open(_config: &Config, paths: &Paths, records: &Records) -> Result<Volumes> {
        Volumes::below(paths, records)
    }

    fn below(paths: &Paths, records: &Records) -> Result<Volumes> {
        records.migrate::<Stored>()?;
        let known = records.read(|reader| reader.list::<Stored>())?;
        let volumes = Volumes {
            paths: paths.clone(),
            records: records.clone(),
            known: RwLock::new(known.into_iter().map(|(name, stored)| (name, Arc::new(stored))).collect()),
            changing: Mutex::new(()),
            users: Mutex::default(),
            filling: Mutex::default(),
            pruning: AtomicBool::new(false),
        };
        volumes.sweep()?;
        Ok(volumes)
    }

    /// The volume that is asked for, made if it does not exist; `made_for` names the container that asks if it does not
    /// exist yet either (see [`Volumes::confirm`]). Blocking, as are the two below.
    pub(crate) fn ensure(&self, wanted: &Wanted, made_for: Option<&ContainerId>) -> Result<Volume> {
        let anonymous = wanted.name.is_none();
        let name = wanted.name.clone().unwrap_or_else(identity::random);
        let within = |error: Error| error.within(format!("create {name}"));
        if !wanted.driver.is_empty() && wanted.driver != LOCAL {
            let driver = &wanted.driver;
            return Err(within(Error::not_found(format!(
                "error looking up volume plugin {driver}: plugin \"{driver}\" not found"
            ))));
        }
        check_volume_name(&name)?;
        local::check(&wanted.options, || self.can_be_limited()).map_err(within)?;
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let created = self.get(&name).is_none();
        if created {
            let mut labels = wanted.labels.clone();
            if anonymous {
                labels.insert(ANONYMOUS.into(), String::new());
            }
            let stored = Stored {
                created: clock::now(),
                labels,
                options: wanted.options.clone(),
                made_for: made_for.cloned(),
            };
            self.records.write(|transaction| transaction.put(&name, &stored))?;
            self.known.write().unwrap_or_else(PoisonError::into_inner).insert(name.clone(), Arc::new(stored));
        }
        if let Err(error) = self.make_directory(&name) {
            if created {
                self.take_back(&name);
            }
            return Err(error);
        }
        Ok(Volume { driver: LOCAL.into(), mountpoint: self.paths.volume_data(&name), created, name })
    }

    /// The volume's files, mounted if it has options that ask for a mount. Counted until [`Volumes::release`].
    pub(crate) fn acquire(&self, name: &str, container: &ContainerId) -> Result<PathBuf> {
        let stored = self.get(name).ok_or_else(|| unknown(name))?;
        self.make_directory(name)?;
        let path = self.paths.volume_data(name);
        let mut users = self.users();
        if users.get(name).is_none_or(HashSet::is_empty) {
            let ready = self.mount(&stored, &path).and_then(|()| self.settle(name, &path));
            if ready.is_err() && local::is_mount(&stored.options) {
                // Nobody has it. The error is the one to tell.
                let _ = local::unmount(&path);
            }
            ready?;
        } else {
            self.settle(name, &path)?;
        }
        users.entry(name.to_owned()).or_default().insert(container.clone());
        Ok(path)
    }

    fn mount(&self, stored: &Stored, path: &Path) -> Result<()> {
        if !local::is_mount(&stored.options) || local::is_mounted(path)? {
            return Ok(());
        }
        local::mount(&stored.options, path)
            .map_err(|error| error.within(format!("error while mounting volume '{}'", path.display())))
    }

    /// Whether a volume is another name for a directory of the host: its files have the host's owners.
    pub(crate) fn is_of_host(&self, name: &str) -> bool {
        self.get(name).is_some_and(|stored| local::binds(&stored.options))
    }

    pub(crate) fn release(&self, name: &str, container: &ContainerId) -> Result<()> {
        let mut users = self.users();
        if let Some(all) = users.get_mut(name) {
            all.remove(container);
            if !all.is_empty() {
                return Ok(());
            }
            users.remove(name);
        }
        // Containers hold mounts of their own; ours is only where the next one finds it.
        match self.get(name) {
            Some(stored) if local::is_mount(&stored.options) => local::unmount(&self.paths.volume_data(name)),
            _ => Ok(()),
        }
    }

    fn get(&self, name: &str) -> Option<Arc<Stored>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    fn list(&self) -> Vec<(String, Arc<Stored>)> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.iter().map(|(name, stored)| (name.clone(), stored.clone())).collect()
    }

    /// Before the first volume, the directory that will hold them is not there.
    fn can_be_limited(&self) -> bool {
        let directory = self.paths.volumes();
        let directory = if directory.is_dir() { &directory } else { self.paths.data_root() };
        image::quotas::are_enforced(directory).unwrap_or(false)
    }

    /// A volume that was recorded just now and has got no directory. Where that fails, too, it exists, and gets one when
    /// somebody uses it.
    fn take_back(&self, name: &str) {
        match self.records.write(|transaction| transaction.remove::<Stored>(name)) {
            Ok(_) => {
                self.known.write().unwrap_or_else(PoisonError::into_inner).remove(name);
                // Empty, if it is there at all.
                image::quotas::release(&self.paths.volume_data(name));
                let _ = std::fs::remove_dir(self.paths.volume_data(name));
                let _ = std::fs::remove_dir(self.paths.volume(name));
            }
            Err(error) => {
                tracing::warn!(volume = name, %error, "cannot take back a volume without a directory")
            }
        }
    }

    fn make_directory(&self, name: &str) -> Result<()> {
        let path = self.paths.volume_data(name);
        let failed = |error| Error::failed(format!("cannot make the directory of volume {name}"), error);
        store::fault::point("make a volume's directory")?;
        if path.is_dir() {
            return self.limit(name, &path);
        }
        let outer = self.paths.volume(name);
        std::fs::DirBuilder::new().recursive(true).mode(0o701).create(&outer).map_err(failed)?;
        std::fs::create_dir(&path).map_err(failed)?;
        self.limit(name, &path)?;
        // Containers' users live in it, whatever our umask.
        let made = Root::open(&path).and_then(|root| linux::entry::set_mode(&root, 0o755));
        made.map_err(|error| Error::failed(format!("cannot make the directory of volume {name}"), error))
    }

    /// Again at each use: a crash may have come before the first time, when nobody had used it yet.
    fn limit(&self, name: &str, path: &Path) -> Result<()> {
        match self.get(name).and_then(|stored| local::limit(&stored.options)) {
            None | Some(0) => Ok(()),
            Some(bytes) => Ok(image::quotas::limit(&[path], bytes)?),
        }
    }

    /// Deletes a volume's record and files. Who uses it was asked before.
    fn remove(&self, name: &str) -> Result<()> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let stored = self.get(name).ok_or_else(|| unknown(name))?;
        if local::is_mount(&stored.options) {
            local::unmount(&self.paths.volume_data(name))?;
        }
        let gone = self.paths.volumes().join(gone(name));
        delete_tree(&gone)?;
        store::fault::point("take a volume out of sight")?;
        match std::fs::rename(self.paths.volume(name), &gone) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::failed(format!("cannot remove the directory of volume {name}"), error));
            }
            _ => {}
        }
        store::fault::passed("a volume is out of sight");
        let forgotten = self.records.write(|transaction| transaction.remove::<Stored>(name));
        if let Err(error) = forgotten {
            // It exists as before, and so must its files. Failing here leaves what `sweep` sets right.
            let _ = std::fs::rename(&gone, self.paths.volume(name));
            return Err(error.into());
        }
        self.known.write().unwrap_or_else(PoisonError::into_inner).remove(name);
        delete_volume(&gone)
    }

    /// Finishes removals that a crash interrupted: those whose record is gone. The others get their directory back.
    fn sweep(&self) -> Result<()> {
        let failed = |error| Error::failed("cannot read the volume directory", error);
        let entries = match std::fs::read_dir(self.paths.volumes()) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(failed)?,
        };
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let file_name = entry.file_name();
            let Some(file_name) = file_name.to_str().filter(|name| name.starts_with(GONE)) else { continue };
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            let owner = known.keys().find(|name| gone(name) == file_name);
            match owner.map(|name| self.paths.volume(name)).filter(|directory| !directory.exists()) {
                Some(directory) => std::fs::rename(entry.path(), directory).map_err(failed)?,
                None => delete_volume(&entry.path())?,
            }
        }
        Ok(())
    }

    fn users(&self) -> MutexGuard<'_, HashMap<String, HashSet<ContainerId>>> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn describe(&self, name: &str, stored: &Stored) -> api::volume::Volume {
        api::volume::Volume {
            created_at: clock::parse(&stored.created).map_or_else(
                || stored.created.clone(),
                |time| {
                    // Whole seconds, as Docker reads them from the directory.
                    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
                },
            ),
            driver: LOCAL.into(),
            labels: Some(stored.labels.clone()).filter(|labels| !labels.is_empty()),
            mountpoint: self.paths.volume_data(name).to_string_lossy().into_owned(),
            name: name.to_owned(),
            options: Some(stored.options.clone()).filter(|options| !options.is_empty()),
            scope: "local".into(),
            ..Default::default()
        }
    }
}

impl Engine {
    /// `POST /volumes/create`: an existing volume of that name is the answer.
    pub async fn volume_create(&self, request: CreateRequest) -> Result<api::volume::Volume> {
        if request.cluster_volume_spec.is_some() {
            return Err(Error::unavailable(
                "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node \
                 to swarm and try again.",
            ));
        }
        self.blocking(move |engine| {
            let wanted = Wanted {
                name: Some(request.name).filter(|name| !name.is_empty()),
                driver: request.driver,
                options: request.driver_opts.unwrap_or_default(),
                labels: request.labels.unwrap_or_default(),
            };
            let volumes = &engine.shared().volumes;
            let volume = volumes.ensure(&wanted, None)?;
            engine.volume_created(&volume);
            let stored = volumes.get(&volume.name).ok_or_else(|| unknown(&volume.name))?;
            Ok(volumes.describe(&volume.name, &stored))
        })
        .await
    }

    /// `GET /volumes/{name}`
    pub async fn volume_inspect(&self, name: &str) -> Result<api::volume::Volume> {
        let volumes = &self.shared().volumes;
        let stored = volumes.get(name).ok_or_else(|| unknown(name))?;
        Ok(volumes.describe(name, &stored))
    }

    /// `GET /volumes`
    pub async fn volume_list(&self, filters: Filters) -> Result<List> {
        filters.check(&["dangling", "driver", "label", "name"])?;
        let dangling = filters.flag("dangling")?;
        let volumes = &self.shared().volumes;
        let wanted = |name: &str, stored: &Stored| {
            filters.pattern("name", name)
                && filters.exact("driver", LOCAL)
                && filters.pairs("label", &stored.labels)
                && dangling.is_none_or(|dangling| dangling == self.volume_users(name).is_empty())
        };
        let list = volumes.list();
        let found = list.iter().filter(|(name, stored)| wanted(name, stored));
        Ok(List {
            volumes: found.map(|(name, stored)| volumes.describe(name, stored)).collect(),
            warnings: None,
        })
    }

    /// `DELETE /volumes/{name}`: with `force` a missing one is fine.
    pub async fn volume_remove(&self, name: &str, force: bool) -> Result<()> {
        let name = name.to_owned();
        self.blocking(move |engine| match engine.remove_volume(&name) {
            Err(error) if force && error.kind() == ErrorKind::NotFound => Ok(()),
            result => result,
        })
        .await
    }

    /// `POST /volumes/prune`: anonymous ones, or with `all` every one that no container has.
    pub async fn volume_prune(&self, filters: Filters) -> Result<PruneReport> {
        filters.check(&["all", "label", "label!"])?;
        let all = filters.flag("all")?.unwrap_or(false);
        self.blocking(move |engine| {
            let _turn = Turn::take(&engine.shared().volumes.pruning)?;
            engine.prune_volumes(&filters, all)
        })
        .await
    }

    fn prune_volumes(&self, filters: &Filters, all: bool) -> Result<PruneReport> {
        let mut deleted = Vec::new();
        let mut space_reclaimed = 0;
        for (name, stored) in self.shared().volumes.list() {
            let unwanted = filters.values("label!").any(|wanted| match wanted.split_once('=') {
                Some((key, value)) => stored.labels.get(key).is_some_and(|have| have == value),
                None => stored.labels.contains_key(wanted),
            });
            let candidate = all || stored.labels.contains_key(ANONYMOUS);
            // What is mounted from elsewhere is not ours to empty.
            if !candidate || unwanted || !stored.options.is_empty() || !filters.pairs("label", &stored.labels)
            {
                continue;
            }
            let size = self.shared().sizes.of(&self.paths().volume_data(&name)).unwrap_or(0);
            match self.remove_volume(&name) {
                Ok(()) => {
                    deleted.push(name);
                    space_reclaimed += size;
                }
                // In use, or removed meanwhile.
                Err(error) if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        let attributes = [("reclaimed".to_owned(), space_reclaimed.to_string())].into();
        self.events_bus().publish(kind::VOLUME, "prune", "", attributes);
        Ok(PruneReport { volumes_deleted: Some(deleted), space_reclaimed })
    }

    fn remove_volume(&self, name: &str) -> Result<()> {
        let volumes = &self.shared().volumes;
        if volumes.get(name).is_none() {
            return Err(unknown(name));
        }
        let users = self.volume_users(name);
        if !users.is_empty() {
            return Err(Error::conflict(format!("remove {name}: volume is in use - [{}]", users.join(", "))));
        }
        volumes.remove(name)?;
        let attributes = [("driver".to_owned(), LOCAL.to_owned())].into();
        self.events_bus().publish(kind::VOLUME, "destroy", name, attributes);
        Ok(())
    }

    /// Containers that have a volume, running or not.
    pub(crate) fn volume_users(&self, name: &str) -> Vec<String> {
        let records = self.shared().containers.records();
        let has = |record: &Record| {
            record
                .mounts
                .iter()
                .any(|mount| matches!(&mount.kind, MountKind::Volume { name: volume, .. } if volume == name))
        };
        records.iter().filter(|record| has(record)).map(|record| record.id.to_string()).collect()
    }

    /// Removes an anonymous volume with its last container, unless another container (by its record) has it.
    pub(crate) fn volume_discard(&self, name: &str) -> Result<()> {
        match self.remove_volume(name) {
            Err(error) if error.kind() == ErrorKind::Conflict => self.shared().volumes.keep(name),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    /// Tells the listeners of a volume that [`Volumes::ensure`] made.
    pub(crate) fn volume_created(&self, volume: &Volume) {
        if volume.created {
            let attributes = [("driver".to_owned(), volume.driver.clone())].into();
            self.events_bus().publish(kind::VOLUME, "create", &volume.name, attributes);
        }
    }

    /// All volumes with their sizes and how many containers have them: disk usage.
    pub(crate) async fn volume_usage(&self) -> Result<Vec<api::volume::Volume>> {
        self.blocking(|engine| {
            let volumes = &engine.shared().volumes;
            let describe = |(name, stored): &(String, Arc<Stored>)| {
                // What is mounted from elsewhere takes no space of ours.
                let size = if stored.options.is_empty() {
                    engine.shared().sizes.of(&engine.paths().volume_data(name)).ok()
                } else {
                    None
                };
                let usage = Usage {
                    ref_count: i64::try_from(engine.volume_users(name).len()).unwrap_or(i64::MAX),
                    size: size.map_or(-1, |size| i64::try_from(size).unwrap_or(i64::MAX)),
                };
                api::volume::Volume { usage_data: Some(usage), ..volumes.describe(name, stored) }
            };
            Ok(volumes.list().iter().map(describe).collect())
        })
        .await
    }
}

fn unknown(name: &str) -> Error {
    if name.is_empty() {
        return Error::not_found("get: no such volume");
    }
    Error::not_found(format!("get {name}: no such volume"))
}

fn delete_volume(outer: &Path) -> Result<()> {
    image::quotas::release(&outer.join("_data"));
    delete_tree(outer)
}

fn delete_tree(path: &Path) -> Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Error::system(format!("refusing to delete {}", path.display())));
    };
    let removed = Root::open(parent).and_then(|parent| linux::entry::remove_tree(&parent, name));
    removed.map_err(|error| Error::failed(format!("cannot delete {}", path.display()), error))
}

#[cfg(test)]
mod tests;
