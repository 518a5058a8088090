//! The engine as a whole: opening and closing it, what it says about itself and its host.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use api::container::Status;
use api::system::{
    AddressPool, Commit, Component, DiskUsage, Firewall, Info, Platform, Plugins, Registries, Registry,
    Version,
};
use shim::protocol::CgroupDriver;

use crate::error::{Error, Result};
use crate::{Config, Effects, Engine, ListOptions, Paths, Records, Shared};
use crate::{clock, container, events, exec, host, identity, images, networks, runtimes, volumes};

/// A shim that an engine was just starting when it was killed shares its lock until it executes its own program.
const INHERITANCE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(5);

/// Docker's default. Nothing waits for it here: containers outlive the engine.
const SHUTDOWN_TIMEOUT: &str = "15";

/// How often, and how long after each other, an engine without containers tries to remove its own cgroup when it ends.
const CGROUP_ATTEMPTS: u32 = 20;
const CGROUP_PAUSE: Duration = Duration::from_millis(10);

impl Engine {
    /// Opens the data root, takes over what runs, removes what belongs to nobody, and applies restart policies.
    pub async fn open(config: Config) -> Result<Engine> {
        Engine::open_with(config, Arc::new(crate::Kernel)).await
    }

    /// The same with other effects than the kernel's.
    pub async fn open_with(config: Config, effects: Arc<dyn Effects>) -> Result<Engine> {
        let own = effects.clone();
        let engine = crate::done_by(effects.as_ref(), move || prepare(config, own)).await?;
        engine.restore_containers().await?;
        Ok(engine)
    }

    /// Lets go of every container. They run on: what they need is in their shims, and the next engine finds them.
    pub async fn shutdown(&self) {
        let containers = self.shared().containers.handles();
        for container in &containers {
            container.leave().await;
        }
        // The shims of the last containers may still be taking theirs away.
        let attempts = if containers.is_empty() { CGROUP_ATTEMPTS } else { 1 };
        for attempt in 1..=attempts {
            if container::remove_cgroup_parent(self) || attempt == attempts {
                break;
            }
            tokio::time::sleep(CGROUP_PAUSE).await;
        }
    }

    /// Replaces the settings that may change while the engine runs. The roots, cgroups, networks and ids stay.
    pub fn reload(&self, config: Config) -> Result<()> {
        let before = self.config();
        let next = Config {
            data_root: before.data_root.clone(),
            exec_root: before.exec_root.clone(),
            cgroup: before.cgroup.clone(),
            network: before.network.clone(),
            remap: before.remap.clone(),
            ..config
        };
        let mut attributes = reloaded(&next);
        attributes.insert("name".to_owned(), self.shared().host.hostname.clone());
        *self.shared.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
        self.events_bus().publish(api::event::kind::DAEMON, "reload", &self.shared().id, attributes);
        Ok(())
    }

    pub fn version(&self) -> Version {
        let host = &self.shared().host;
        let details = BTreeMap::from(
            [
                ("ApiVersion", api::version::NEWEST.to_string()),
                ("Arch", host.architecture.to_owned()),
                ("BuildTime", host.built.clone()),
                ("Experimental", self.config().experimental.to_string()),
                ("KernelVersion", host.kernel.clone()),
                ("MinAPIVersion", api::version::OLDEST.to_string()),
                ("Os", "linux".to_owned()),
                ("Wharf", env!("CARGO_PKG_VERSION").to_owned()),
            ]
            .map(|(key, value)| (key.to_owned(), value)),
        );
        let own = |name: &str| Component {
            name: name.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            details: BTreeMap::new(),
        };
        Version {
            platform: Platform { name: "Wharf".into() },
            components: vec![
                Component { name: "Engine".into(), version: api::version::ENGINE.into(), details },
                own("wharf-shim"),
                own("wharf-runtime"),
                own("wharf-tls"),
            ],
            version: api::version::ENGINE.into(),
            api_version: api::version::NEWEST.to_string(),
            min_api_version: api::version::OLDEST.to_string(),
            os: "linux".into(),
            arch: host.architecture.into(),
            kernel_version: host.kernel.clone(),
            build_time: host.built.clone(),
            experimental: self.config().experimental,
            ..Version::default()
        }
    }

    pub async fn info(&self) -> Result<Info> {
        self.blocking(|engine| Ok(describe(engine))).await
    }

    /// What everything takes on disk. Sizes are sums that may be a while old: see [`crate::sizes`].
    pub async fn disk_usage(&self) -> Result<DiskUsage> {
        let containers =
            self.container_list(ListOptions { all: true, size: true, ..ListOptions::default() }).await?;
        let images = self.image_list(false, true, api::filters::Filters::default()).await?;
        let volumes = self.volume_usage().await?;
        Ok(DiskUsage {
            layers_size: i64::try_from(self.layers_size()).unwrap_or(i64::MAX),
            images: Some(images),
            containers: Some(containers),
            volumes: Some(volumes),
            build_cache: Some(Vec::new()),
        })
    }

    /// Bytes of all unpacked layers; one that several images share counts once.
    fn layers_size(&self) -> u64 {
        self.images().layers().list().iter().map(|(_, layer)| layer.size).sum()
    }
}

/// Everything that blocks: directories, the lock, the database.
fn prepare(config: Config, effects: Arc<dyn Effects>) -> Result<Engine> {
    let paths = Paths::new(&config.data_root, &config.exec_root);
    let mut host = host::Host::observe()?;
    host.apparmor &= config.load_profile.is_some();
    make_root(paths.data_root())?;
    make_root(paths.exec_root())?;
    let lock = lock(&paths)?;
    let runtime_root = discard_stale(&paths, &host.boot)?;
    for directory in [paths.containers(), paths.runtimes(), paths.volumes(), paths.names()] {
        make_root(&directory)?;
    }
    install_init(&paths)?;
    container::probe_users(&config, &paths)?;
    let records = Records::open(&paths.database())?;
    if host.apparmor
        && let Err(error) = crate::spec::apparmor::ensure(crate::spec::apparmor::DEFAULT, config.load_profile)
    {
        tracing::error!(%error, "Failed to ensure default apparmor profile is loaded");
    }
    let shared = Shared {
        id: engine_id(&paths)?,
        events: events::Bus::open(&paths.events())?,
        images: images::Store::open(&config, &paths, &records)?,
        networks: networks::Networks::open(&config, &paths, &records, effects.as_ref())?,
        volumes: volumes::Volumes::open(&config, &paths, &records)?,
        containers: container::Table::default(),
        execs: exec::Table::default(),
        databases: container::Databases::default(),
        pruning: std::sync::atomic::AtomicBool::new(false),
        sizes: crate::sizes::Sizes::default(),
        runtime_root,
        config: RwLock::new(Arc::new(config)),
        effects,
        host,
        records,
        paths,
        _lock: lock,
    };
    Ok(Engine { shared: Arc::new(shared) })
}

/// What Docker's event of a reload tells: the settings that its engine reloads, as it prints them.
fn reloaded(config: &Config) -> BTreeMap<String, String> {
    let list = |list: &[String]| serde_json::json!(list).to_string();
    let Config { container, registry, .. } = config;
    let cgroupns_mode = match &container.cgroupns_mode {
        Some(mode) => mode,
        None if linux::cgroup::Layout::detect().is_ok_and(|layout| layout.is_unified()) => "private",
        None => "host",
    };
    BTreeMap::from(
        [
            ("debug", config.debug.to_string()),
            ("default-cgroupns-mode", cgroupns_mode.to_owned()),
            ("default-ipc-mode", container.ipc_mode.clone()),
            ("default-runtime", container.default_runtime.clone()),
            ("default-shm-size", container.shm_size.to_string()),
            ("features", "map[]".to_owned()),
            ("insecure-registries", list(&registry.insecure)),
            ("labels", list(&config.labels)),
            ("live-restore", "true".to_owned()),
            ("max-concurrent-downloads", registry.concurrent_downloads.to_string()),
            ("max-concurrent-uploads", registry.concurrent_uploads.to_string()),
            ("max-download-attempts", registry.download_attempts.to_string()),
            ("registry-mirrors", list(&registry.mirrors)),
            ("runtimes", runtimes::told(container)),
            ("shutdown-timeout", SHUTDOWN_TIMEOUT.to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    )
}

fn make_root(path: &Path) -> Result<()> {
    linux::fault::io("make a directory of the engine")
        .and_then(|()| fs::DirBuilder::new().recursive(true).mode(0o710).create(path))
        .map_err(|error| Error::failed(format!("cannot make the directory {}", path.display()), error))
}

/// Two engines on one data root would undo each other's work.
fn lock(paths: &Paths) -> Result<fs::File> {
    let path = paths.lock();
    let failed = |error: io::Error| Error::failed(format!("cannot lock {}", path.display()), error);
    let file = fs::OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(failed)?;
    let deadline = Instant::now() + INHERITANCE;
    let locked = loop {
        match file.try_lock() {
            Err(fs::TryLockError::WouldBlock) if Instant::now() < deadline => std::thread::sleep(PAUSE),
            other => break other,
        }
    };
    match locked {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(Error::conflict(format!(
            "another engine uses the data root {}: stop it, or choose another with --data-root",
            paths.data_root().display()
        ))),
        Err(fs::TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// What an earlier boot left in the exec root describes processes that are gone, with ids that others have now.
/// Gives the name of this runtime root: another one after each boot, and after somebody has emptied it.
fn discard_stale(paths: &Paths, boot: &str) -> Result<String> {
    let failed =
        |error: io::Error| Error::failed(format!("cannot prepare {}", paths.exec_root().display()), error);
    let recorded = fs::read_to_string(paths.boot_id()).unwrap_or_default();
    if recorded.split_whitespace().next() == Some(boot) {
        return Ok(recorded.trim().to_owned());
    }
    for directory in [paths.runtimes(), paths.names(), paths.exec_root().join("shm")] {
        match fs::remove_dir_all(&directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
    }
    let name = format!("{boot} {}", identity::random());
    // Renamed into place: half a name would be another root's.
    let draft = paths.boot_id().with_extension("next");
    linux::fault::io("name the runtime root")
        .and_then(|()| fs::write(&draft, format!("{name}\n")))
        .and_then(|()| fs::rename(&draft, paths.boot_id()))
        .map_err(failed)?;
    Ok(name)
}

/// Writes the process 1 of `--init` where containers can have it mounted.
fn install_init(paths: &Paths) -> Result<()> {
    let path = paths.init();
    let failed = |error: io::Error| Error::failed(format!("cannot write {}", path.display()), error);
    if fs::read(&path).is_ok_and(|present| present == init::PROGRAM) {
        return Ok(());
    }
    // Renamed into place: a container may be running the old one.
    let next = path.with_extension("next");
    let mut file = fs::File::create(&next).map_err(failed)?;
    file.write_all(init::PROGRAM).map_err(failed)?;
    file.set_permissions(fs::Permissions::from_mode(0o755)).map_err(failed)?;
    drop(file);
    fs::rename(&next, &path).map_err(failed)
}

/// Made once for a data root.
fn engine_id(paths: &Paths) -> Result<String> {
    let path = paths.engine_id();
    if let Ok(id) = fs::read_to_string(&path) {
        return Ok(id.trim().to_owned());
    }
    let random = identity::random();
    let part = |range: std::ops::Range<usize>| &random[range];
    let id = format!("{}-{}-{}-{}-{}", part(0..8), part(8..12), part(12..16), part(16..20), part(20..32));
    linux::fault::io("write the engine's id")
        .and_then(|()| fs::write(&path, &id))
        .map_err(|error| Error::failed(format!("cannot write {}", path.display()), error))?;
    Ok(id)
}

fn describe(engine: &Engine) -> Info {
    let config = engine.config();
    let host = &engine.shared().host;
    let records = engine.shared().containers.records();
    let count = |wanted: &[Status]| {
        let matching = records.iter().filter(|record| wanted.contains(&record.state.status())).count();
        i64::try_from(matching).unwrap_or(i64::MAX)
    };
    Info {
        id: engine.shared().id.clone(),
        containers: i64::try_from(records.len()).unwrap_or(i64::MAX),
        containers_running: count(&[Status::Running, Status::Restarting]),
        containers_paused: count(&[Status::Paused]),
        containers_stopped: count(&[Status::Created, Status::Exited, Status::Dead, Status::Removing]),
        images: i64::try_from(engine.images().list().len()).unwrap_or(i64::MAX),
        n_fd: fs::read_dir("/proc/self/fd").map_or(0, |entries| i64::try_from(entries.count()).unwrap_or(0)),
        system_time: clock::now(),
        n_events_listener: i64::try_from(engine.events_bus().listeners()).unwrap_or(0),
        security_options: security_options(&config, host),
        ..describe_settings(&config, describe_host(host))
    }
}

/// What is the same whoever asks, and what the configuration says, beside what is known already.
fn describe_settings(config: &Config, rest: Info) -> Info {
    let own_commit = || Commit { id: env!("CARGO_PKG_VERSION").into() };
    let path = |path: &PathBuf| path.to_string_lossy().into_owned();
    Info {
        driver: "overlay2".into(),
        driver_status: driver_status(config),
        plugins: plugins(),
        debug: config.debug,
        logging_driver: config.container.log_driver.clone(),
        cgroup_driver: match config.cgroup.driver {
            CgroupDriver::Cgroupfs => "cgroupfs".into(),
            CgroupDriver::Systemd => "systemd".into(),
        },
        index_server_address: "https://index.docker.io/v1/".into(),
        registry_config: registries(config),
        docker_root_dir: path(&config.data_root),
        http_proxy: masked(config.proxies.http.as_deref()),
        https_proxy: masked(config.proxies.https.as_deref()),
        no_proxy: config.proxies.none.clone().unwrap_or_default(),
        labels: config.labels.clone(),
        experimental_build: config.experimental,
        server_version: api::version::ENGINE.into(),
        runtimes: runtimes::list(&config.container),
        default_runtime: config.container.default_runtime.clone(),
        live_restore_enabled: true,
        init_binary: "docker-init".into(),
        runc_commit: own_commit(),
        containerd_commit: own_commit(),
        init_commit: own_commit(),
        default_address_pools: config
            .network
            .pools
            .iter()
            .map(|pool| AddressPool { base: pool.base.to_string(), size: pool.size.into() })
            .collect(),
        firewall_backend: Some(Firewall { driver: "nftables".into(), info: Vec::new() }),
        cdi_spec_dirs: config.container.device_directories.iter().map(path).collect(),
        ..rest
    }
}

fn describe_host(host: &host::Host) -> Info {
    let cgroups = &host.cgroups;
    Info {
        memory_limit: cgroups.memory,
        swap_limit: cgroups.swap,
        cpu_cfs_period: cgroups.cpu_quota,
        cpu_cfs_quota: cgroups.cpu_quota,
        cpu_shares: cgroups.cpu_shares,
        cpu_set: cgroups.cpuset,
        pids_limit: cgroups.pids,
        oom_kill_disable: cgroups.oom_kill_disable,
        cgroup_version: cgroups.version.to_string(),
        ipv4_forwarding: fs::read_to_string("/proc/sys/net/ipv4/ip_forward")
            .is_ok_and(|text| text.trim() == "1"),
        kernel_version: host.kernel.clone(),
        operating_system: host.operating_system.clone(),
        os_version: host.os_version.clone(),
        os_type: "linux".into(),
        architecture: host.machine.into(),
        n_cpu: i64::try_from(host.cpus).unwrap_or(0),
        mem_total: i64::try_from(host.memory).unwrap_or(i64::MAX),
        name: host.hostname.clone(),
        warnings: Some(warnings(host)).filter(|warnings| !warnings.is_empty()),
        ..Info::default()
    }
}

fn driver_status(config: &Config) -> Vec<[String; 2]> {
    let mounts = linux::mount::list().unwrap_or_default();
    let backing = mounts
        .iter()
        .filter(|mount| config.data_root.starts_with(&mount.target))
        .max_by_key(|mount| mount.target.as_os_str().len())
        .map_or("unknown", |mount| mount.kind.as_str());
    // The three of them are one to Docker.
    let backing = if matches!(backing, "ext2" | "ext3" | "ext4") { "extfs" } else { backing };
    [
        ("Backing Filesystem", backing),
        ("Supports d_type", "true"),
        ("Native Overlay Diff", "true"),
        ("userxattr", "false"),
    ]
    .map(|(key, value)| [key.to_owned(), value.to_owned()])
    .to_vec()
}

fn plugins() -> Plugins {
    let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Plugins {
        volume: list(&["local"]),
        network: list(&["bridge", "host", "null"]),
        authorization: None,
        log: crate::container::log_drivers(),
    }
}

fn registries(config: &Config) -> Registries {
    let normal = |mirror: &String| format!("{}/", mirror.trim_end_matches('/'));
    let mirrors: Vec<String> = config.registry.mirrors.iter().map(normal).collect();
    let hub = Registry { mirrors: mirrors.clone(), name: "docker.io".into(), official: true, secure: true };
    let mut indexes = BTreeMap::from([("docker.io".to_owned(), hub)]);
    let mut networks = Vec::new();
    for insecure in &config.registry.insecure {
        if insecure.contains('/') {
            networks.push(insecure.clone());
        } else {
            indexes.insert(insecure.clone(), Registry { name: insecure.clone(), ..Registry::default() });
        }
    }
    networks.extend(["::1/128", "127.0.0.0/8"].map(str::to_owned));
    Registries {
        index_configs: indexes,
        insecure_registry_cidrs: networks,
        mirrors: Some(mirrors).filter(|mirrors| !mirrors.is_empty()),
    }
}

fn security_options(config: &Config, host: &host::Host) -> Vec<String> {
    let mut options = Vec::new();
    if host.apparmor {
        options.push("name=apparmor".into());
    }
    if host.seccomp {
        let profile = match config.container.seccomp_profile.as_str() {
            "" => "builtin",
            chosen => chosen,
        };
        options.push(format!("name=seccomp,profile={profile}"));
    }
    if config.remap.is_some() {
        options.push("name=userns".into());
    }
    if host.cgroups.version == 2 {
        options.push("name=cgroupns".into());
    }
    if config.container.no_new_privileges {
        options.push("name=no-new-privileges".into());
    }
    options
}

fn warnings(host: &host::Host) -> Vec<String> {
    let cgroups = &host.cgroups;
    [
        (cgroups.memory, "WARNING: No memory limit support"),
        (cgroups.swap, "WARNING: No swap limit support"),
        (cgroups.cpu_quota, "WARNING: No cpu cfs quota support"),
        (cgroups.cpu_shares, "WARNING: No cpu shares support"),
        (cgroups.cpuset, "WARNING: No cpuset support"),
        (cgroups.pids, "WARNING: No pids limit support"),
    ]
    .into_iter()
    .filter(|(supported, _)| !supported)
    .map(|(_, warning)| warning.to_owned())
    .collect()
}

/// A proxy's address without the password in it.
fn masked(url: Option<&str>) -> String {
    let Some(url) = url else { return String::new() };
    match url.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.rsplit_once('@')?.1))) {
        Some((scheme, host)) => format!("{scheme}://xxxxx:xxxxx@{host}"),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_of_a_proxy_are_not_shown() {
        assert_eq!(masked(Some("http://bob:secret@proxy:3128")), "http://xxxxx:xxxxx@proxy:3128");
        assert_eq!(masked(Some("http://proxy:3128")), "http://proxy:3128");
        assert_eq!(masked(None), "");
    }
}
