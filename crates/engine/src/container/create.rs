//! Creating a container: everything is checked and filled in before anything is made, and what is made becomes a
//! container in one transaction.

use api::container::{CreateRequest, CreateResponse};
use oci::platform::Platform;
use store::fault;
use store::records::Durability;

use super::owner::Owner;
use super::record::{MountKind, MountPoint, NAMES, NetworkState, Record};
use super::state::State;
use super::{bind, defaults, files, logs, mounts, remove, rootfs, storage, users, validate};
use crate::error::{Error, ErrorKind, Result};
use crate::identity::ContainerId;
use crate::{Engine, clock, names, runtimes, spec};

/// What a creation has beside the container's description.
#[derive(Debug, Default)]
pub struct CreateOptions {
    pub name: Option<String>,
    /// Which of an image's variants; absent is the best for this machine.
    pub platform: Option<Platform>,
    /// Entries of `Binds` that are read-only leave mounts below them writable, as for clients from before they were
    /// made read-only, too.
    pub shallow_read_only: bool,
}

impl Engine {
    /// Makes a container. Without a name it gets one.
    pub async fn container_create(
        &self,
        options: CreateOptions,
        request: CreateRequest,
    ) -> Result<CreateResponse> {
        let (record, warnings) = self.blocking(move |engine| create(engine, options, request)).await?;
        let id = record.id.to_string();
        Owner::spawn(self, record.clone(), None);
        self.container_event(&record, "create", &[]);
        Ok(CreateResponse { id, warnings })
    }
}

fn create(engine: &Engine, options: CreateOptions, request: CreateRequest) -> Result<(Record, Vec<String>)> {
    let CreateOptions { name, platform, shallow_read_only } = options;
    let name = name.filter(|name| !name.is_empty());
    let bare = name.as_deref().map(validate::name).transpose()?.map(str::to_owned);
    let (mut record, diff_ids, warnings) = describe(engine, platform.as_ref(), request)?;
    let known = mounts::Known {
        container: &|name| {
            let found = engine.container(name).map_err(|error| Error::invalid(error.to_string()));
            Ok(found?.record())
        },
        image: &|name| Ok(engine.images().resolve(name)?.id.to_string()),
        shallow_read_only,
    };
    let planned = mounts::plan(&record.config, &record.host, &known)?;
    spec::check(engine, &record)?;
    let logging = &record.host.log_config;
    logs::validate(&logging.kind, &logging.config.clone().unwrap_or_default())?;
    engine.shared().networks.check(&mut record)?;

    let mut made = Made { engine, id: record.id.clone(), volumes: Vec::new(), done: false };
    let limit = storage::limit(engine, &record.host)?;
    engine.images().snapshots().create_within(record.id.as_str(), &diff_ids, limit)?;
    fault::point("create: the root is made")?;
    files::make_directory(&engine.paths().container(record.id.as_str()))?;
    fault::point("create: the directory is made")?;
    rootfs::make_working_directory(engine, &record)?;
    record.mounts = made.mounts(planned)?;
    bind::fill(engine, &record)?;
    fault::point("create: the volumes are made")?;
    reserve(engine, &mut record, bare, &made.volumes)?;
    fault::passed("create: done");
    made.done = true;
    Ok((record, warnings))
}

/// The record of a request, checked, with its defaults and its image's configuration; and the image's layers.
fn describe(
    engine: &Engine,
    platform: Option<&Platform>,
    request: CreateRequest,
) -> Result<(Record, Vec<oci::digest::Digest>, Vec<String>)> {
    let CreateRequest { mut config, host_config: mut host, networking_config } = request;
    if config == Default::default() {
        return Err(Error::invalid("config cannot be empty in order to create a container"));
    }
    if config.image.is_empty() {
        return Err(Error::invalid("no image specified"));
    }
    validate::config(&config)?;
    let machine = &engine.shared().host;
    let settings = engine.config();
    let mut warnings = Vec::new();
    let image = match platform {
        Some(platform) => engine.images().resolve_for(&config.image, platform)?,
        None => engine.images().resolve(&config.image)?,
    };
    let made_for = image.config.platform();
    if platform.is_none() && !Platform::host().accepts(&made_for) {
        warnings.push(format!(
            "The requested image's platform ({made_for}) does not match the detected host platform ({}) and no specific platform was requested",
            Platform::host()
        ));
    }
    defaults::merge(&mut config, &image.config.config)?;
    let (path, args) = defaults::command(&config)?;
    validate::merged(&config)?;
    defaults::network(&config, &mut host);
    defaults::host(&mut host, &settings.container, machine);
    name_by_id(engine, &mut host)?;
    validate::host(&config, &host)?;
    runtimes::find(&settings.container, &host.runtime)?;
    users::check(&settings, &host)?;
    validate::cgroup_parent(&host, settings.cgroup.driver)?;
    warnings.extend(validate::resources(&mut host.resources, machine, false)?);
    if host.network_mode == "host" && host.port_bindings.as_ref().is_some_and(|ports| !ports.is_empty()) {
        warnings.push("Published ports are discarded when using host network mode".to_owned());
    }
    let endpoints = defaults::endpoints(&config, &host, networking_config)?;
    validate::endpoints(&host, &endpoints)?;

    let id = ContainerId::random();
    defaults::hostname(&mut config, &host, id.short(), &machine.hostname);
    let record = Record {
        id,
        name: String::new(),
        created: clock::now(),
        image: image.id.to_string(),
        platform: made_for.to_string(),
        config,
        linked: spec::linked(engine, &host),
        host,
        path,
        args,
        mounts: Vec::new(),
        network: NetworkState { endpoints, ..NetworkState::default() },
        state: State::Created { failure: None },
        restart_count: 0,
        started_before: false,
        manually_stopped: false,
        update_unconfirmed: false,
        runtime_root: engine.shared().runtime_root.clone(),
    };
    Ok((record, image.diff_ids().to_vec(), warnings))
}

/// A container whose namespace is joined may be renamed later: it is kept by id.
fn name_by_id(engine: &Engine, host: &mut api::container::HostConfig) -> Result<()> {
    // One that is not there yet may be when this one starts.
    if let Some(name) = spec::other(&host.network_mode)
        && let Ok(other) = engine.container(name)
    {
        host.network_mode = format!("container:{}", other.record().id);
    }
    let find = |mode: &mut String| -> Result<()> {
        if let Some(name) = spec::other(mode) {
            // Not found is what clients take for a missing image.
            let other = engine.container(name).map_err(|error| Error::invalid(error.to_string()))?;
            *mode = format!("container:{}", other.record().id);
        }
        Ok(())
    };
    find(&mut host.pid_mode)?;
    find(&mut host.ipc_mode)
}

/// What has been made for a container that does not exist yet; taken back unless it comes to exist.
struct Made<'a> {
    engine: &'a Engine,
    id: ContainerId,
    /// Volumes that did not exist before.
    volumes: Vec<String>,
    done: bool,
}

impl Made<'_> {
    /// Makes sure of every volume.
    fn mounts(&mut self, planned: Vec<mounts::Planned>) -> Result<Vec<MountPoint>> {
        let mut points = Vec::new();
        for mounts::Planned { mut point, wanted } in planned {
            if let (Some(wanted), MountKind::Volume { name, driver, source, .. }) = (wanted, &mut point.kind)
            {
                let volume = self.engine.shared().volumes.ensure(&wanted, Some(&self.id))?;
                if volume.created {
                    self.volumes.push(volume.name.clone());
                    self.engine.volume_created(&volume);
                }
                (*name, *driver, *source) = (volume.name, volume.driver, volume.mountpoint);
            }
            points.push(point);
        }
        Ok(points)
    }
}

impl Drop for Made<'_> {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        for name in &self.volumes {
            if let Err(error) = self.engine.volume_discard(name) {
                tracing::warn!(volume = name, %error, "cannot undo a volume");
            }
        }
        super::leftovers::sweep(self.engine, self.id.as_str());
    }
}

/// The commit: the record, its snapshot, its new volumes and its name, or nothing.
fn reserve(engine: &Engine, record: &mut Record, name: Option<String>, volumes: &[String]) -> Result<()> {
    let chosen = name.is_some();
    let mut attempt = 0;
    loop {
        record.name = match &name {
            Some(name) => name.clone(),
            None if attempt <= names::RETRIES => names::random(attempt),
            None => record.id.short().to_owned(),
        };
        // A volume outlives the container that it was made for.
        let durability = if volumes.is_empty() { remove::durability(record) } else { Durability::Durable };
        let taken = engine.records().write_as(durability, |transaction| {
            let reserved = transaction.reserve(NAMES, &record.name, record.id.as_str())?;
            if reserved.is_ok() {
                transaction.put(record.id.as_str(), record)?;
                engine.images().snapshots().record(transaction, record.id.as_str())?;
                engine.shared().volumes.confirm(transaction, volumes)?;
            }
            Ok::<_, store::Error>(reserved)
        })?;
        match taken {
            Ok(()) => return Ok(()),
            Err(taken) if chosen || attempt > names::RETRIES => {
                return Err(name_taken(&record.name, &taken.holder));
            }
            Err(_) => attempt += 1,
        }
    }
}

pub(super) fn name_taken(name: &str, holder: &str) -> Error {
    Error::new(
        ErrorKind::Conflict,
        format!(
            "Conflict. The container name \"/{name}\" is already in use by container \"{holder}\". You have to remove \
             (or rename) that container to be able to reuse that name."
        ),
    )
}
