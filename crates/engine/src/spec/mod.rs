//! From a container's record to the runtime specification of one run.
//!
//! [`for_container`] and [`for_exec`] gather what must be looked up (users in the container's own files, process ids
//! of shared namespaces, a profile's text); [`generate`] and the modules below turn it into the specification and are
//! pure, so that the whole result can be shown in a test.

pub(crate) mod apparmor;
mod capabilities;
mod cdi;
mod devices;
mod links;
mod mounts;
mod namespaces;
mod process;
mod resources;
mod seccomp;
mod user;

use std::path::PathBuf;

use linux::namespace::{IdMaps, IdRange};
use oci::runtime::{IdMapping, Linux, Process, Root, Spec};
use shim::protocol::Rootfs;

pub(crate) use links::{
    environment as linked_environment, linked, names as link_names, shown as shown_link,
    target as link_target, target_of,
};
pub(crate) use mounts::{DEFAULT_MASKED, DEFAULT_READONLY, tmpfs};
pub(crate) use namespaces::{check_sysctl, joined_users, other};
pub(crate) use resources::resources;

use crate::Engine;
use crate::config::Config;
use crate::container::{Bound, Live, Record, Users, clean, database, opened_database, owner_of_files};
use crate::error::{Error, Result};
use crate::host::Host;
use user::Identity;
pub(crate) use user::{MAX_DATABASE, name as user_name};

/// Everything that decides what the specification says.
pub(crate) struct Input<'a> {
    pub(crate) record: &'a Record,
    pub(crate) config: &'a Config,
    pub(crate) host: &'a Host,
    pub(crate) identity: Identity,
    pub(crate) bound: &'a Bound,
    pub(crate) shared: namespaces::Shared,
    /// The maps of its user namespace, if it has one.
    pub(crate) users: Option<&'a IdMaps>,
    /// `hostname`, `hosts` and `resolv.conf` on the host.
    pub(crate) files: [(&'static str, PathBuf); 3],
    pub(crate) cgroup: String,
    /// The process that `--init` puts first.
    pub(crate) init: PathBuf,
    pub(crate) devices: devices::Found,
    /// What devices by CDI change.
    pub(crate) edits: Vec<cdi::Edits>,
    pub(crate) seccomp: Option<seccomp::Profile>,
    /// Variables that its links bring.
    pub(crate) linked: Vec<String>,
}

/// The specification for one run.
pub(crate) fn for_container(
    engine: &Engine,
    record: &Record,
    root: &Rootfs,
    bound: &Bound,
    users: Option<&Users>,
) -> Result<Spec> {
    let config = engine.config();
    let (passwd, group) = database(engine, record, root)?;
    // What it joins first: who is not there has no files, either.
    let shared = namespaces::look_up(engine, record)?;
    let owner = owner_of_files(engine, record)?;
    let files = owner.as_deref().unwrap_or(record).id.as_str();
    let extra = record.host.group_add.clone().unwrap_or_default();
    let input = Input {
        record,
        config: &config,
        host: &engine.shared().host,
        identity: user::resolve(&record.config.user, &extra, &passwd, &group)?,
        bound,
        shared,
        users: users.map(|users| &users.maps),
        files: [
            ("/etc/resolv.conf", engine.paths().resolv_conf(files)),
            ("/etc/hostname", engine.paths().hostname(files)),
            ("/etc/hosts", engine.paths().hosts(files)),
        ],
        cgroup: cgroup_path(&config, record),
        init: config.init.clone().unwrap_or_else(|| engine.paths().init()),
        devices: devices::find(&record.host)?,
        edits: cdi::find(
            record.host.resources.device_requests.as_deref().unwrap_or_default(),
            &config.container.device_directories,
        )?,
        seccomp: profile(&config, record)?,
        linked: links::environment(engine, record)?,
    };
    let spec = generate(&input)?;
    if let Some(process) = &spec.process {
        apparmor::ensure(&process.apparmor_profile, config.load_profile)?;
    }
    Ok(spec)
}

/// A process that `exec` adds to a running container.
pub(crate) fn for_exec(
    engine: &Engine,
    record: &Record,
    live: &Live,
    request: &api::exec::CreateRequest,
    console_size: Option<[u32; 2]>,
) -> Result<Process> {
    let (passwd, group) = opened_database(engine, live.pid)?;
    let user = if request.user.is_empty() { &record.config.user } else { &request.user };
    let extra = record.host.group_add.clone().unwrap_or_default();
    let identity = user::resolve(user, &extra, &passwd, &group)?;
    let linked = links::environment(engine, record).unwrap_or_default();
    let (config, host) = (engine.config(), &engine.shared().host);
    let mut process = process::exec(record, &config, host, &identity, request, &linked, console_size)?;
    // The runtime would look it up in the same file.
    if !process.env.iter().any(|variable| variable.starts_with("HOME=")) {
        process.env.push(format!("HOME={}", user::home(identity.uid, &passwd)));
    }
    apparmor::ensure(&process.apparmor_profile, config.load_profile)?;
    Ok(process)
}

/// Whether the container that this process runs in knows a user.
pub(crate) fn check_user(engine: &Engine, pid: i32, wanted: &str) -> Result<()> {
    let (passwd, group) = opened_database(engine, pid)?;
    user::resolve(wanted, &[], &passwd, &group).map(drop)
}

/// The user that a container is configured with, as the owner of files copied into it.
pub(crate) fn owner_of(record: &Record, passwd: &str, group: &str) -> Result<(u32, u32)> {
    let identity = user::resolve(&record.config.user, &[], passwd, group)?;
    Ok((identity.uid, identity.gid))
}

/// Checks at create what [`generate`] would refuse at start.
pub(crate) fn check(engine: &Engine, record: &Record) -> Result<()> {
    let config = engine.config();
    process::check(record, &engine.shared().host)?;
    links::check(engine, record)?;
    profile(&config, record)?;
    devices::check(&record.host)?;
    Ok(())
}

/// The whole specification.
pub(crate) fn generate(input: &Input<'_>) -> Result<Spec> {
    let Input { record, host, .. } = input;
    let privileged = record.host.privileged;
    let process = process::container(record, input.config, host, &input.identity, &input.linked)?;
    let bounding = process.capabilities.as_ref().map(|sets| sets.bounding.clone()).unwrap_or_default();
    let (masked, readonly) = mounts::hidden(&record.host);
    // Where the container may make no nodes it is given the host's, as mounts.
    let mut devices = if input.users.is_some() { Vec::new() } else { devices::nodes(&input.devices) };
    devices.sort_by(|one, other| one.path.cmp(&other.path));
    let mappings = |ranges: fn(&IdMaps) -> &[IdRange]| {
        input.users.map(|maps| ranges(maps).iter().map(mapping).collect()).unwrap_or_default()
    };
    let mut resources = resources(&record.host.resources, host)?;
    resources.devices = devices::rules(&record.host, &input.devices)?;
    let propagation = mounts::root_propagation(input.bound);
    let mut spec = Spec {
        oci_version: oci::runtime::VERSION.into(),
        process: Some(process),
        root: Some(Root { path: PathBuf::from("rootfs"), readonly: record.host.readonly_rootfs }),
        hostname: namespaces::hostname(record),
        domainname: if record.host.uts_mode == "host" {
            String::new()
        } else {
            record.config.domainname.clone()
        },
        mounts: mounts::all(input)?,
        hooks: None,
        annotations: record.host.annotations.clone(),
        linux: Some(Linux {
            devices,
            sysctl: namespaces::sysctls(record, input.users)?,
            uid_mappings: mappings(|maps| &maps.users),
            gid_mappings: mappings(|maps| &maps.groups),
            resources: Some(resources),
            cgroups_path: input.cgroup.clone(),
            namespaces: namespaces::list(record, &input.shared, input.users.is_some()),
            seccomp: input.seccomp.as_ref().filter(|_| !privileged).map(|profile| {
                profile.expand(&seccomp::Facts {
                    architecture: host.architecture,
                    kernel: host.kernel_version,
                    capabilities: &bounding,
                })
            }),
            rootfs_propagation: propagation,
            masked_paths: masked,
            readonly_paths: readonly,
            ..Linux::default()
        }),
    };
    cdi::apply(&input.edits, &mut spec)?;
    Ok(spec)
}

fn mapping(range: &IdRange) -> IdMapping {
    IdMapping { container_id: range.inside, host_id: range.outside, size: range.count }
}

/// Where the container's cgroup is, in the form that the driver wants.
pub(crate) fn cgroup_path(config: &Config, record: &Record) -> String {
    use shim::protocol::CgroupDriver;
    let own = Some(record.host.resources.cgroup_parent.as_str()).filter(|parent| !parent.is_empty());
    let parent = own.or(config.cgroup.parent.as_deref());
    match config.cgroup.driver {
        CgroupDriver::Systemd => format!("{}:docker:{}", parent.unwrap_or("system.slice"), record.id),
        CgroupDriver::Cgroupfs => {
            let parent = parent.map_or_else(|| default_parent(config), str::to_owned);
            clean(&format!("/{parent}/{}", record.id))
        }
    }
}

/// The parent below which all cgroups are this engine's; none where others may have theirs, too.
pub(crate) fn own_cgroup_parent(config: &Config) -> Option<String> {
    use shim::protocol::CgroupDriver;
    let ours = config.cgroup.driver == CgroupDriver::Cgroupfs && config.cgroup.parent.is_none();
    ours.then(|| default_parent(config))
}

/// Engines with different exec roots must not meet in the cgroup tree.
fn default_parent(config: &Config) -> String {
    let root = config.exec_root.to_string_lossy();
    if root == "/run/wharf" || root == "/var/run/wharf" {
        return "wharf".into();
    }
    let digest = oci::digest::Digest::sha256_of(root.as_bytes()).to_string();
    let hex = digest.rsplit(':').next().unwrap_or_default();
    format!("wharf-{}", &hex[..8])
}

/// The seccomp profile that applies; none when unconfined or privileged.
fn profile(config: &Config, record: &Record) -> Result<Option<seccomp::Profile>> {
    if record.host.privileged {
        return Ok(None);
    }
    let chosen = record
        .host
        .security_opt
        .iter()
        .flatten()
        .filter_map(|option| security_value(option, "seccomp"))
        .next_back();
    let read = |path: &str| {
        std::fs::read_to_string(path)
            .map_err(|error| Error::failed(format!("opening seccomp profile ({path}) failed"), error))
    };
    match chosen.unwrap_or(config.container.seccomp_profile.as_str()) {
        "unconfined" => Ok(None),
        "builtin" | "" => Ok(Some(seccomp::Profile::builtin().clone())),
        // Clients send the text itself; only the daemon's own setting is a path.
        text if chosen.is_some() => seccomp::Profile::parse(text).map(Some),
        path => seccomp::Profile::parse(&read(path)?).map(Some),
    }
}

/// The value of a security option, written with `=` or, as once, with `:`.
pub(crate) fn security_value<'a>(option: &'a str, key: &str) -> Option<&'a str> {
    let rest = option.strip_prefix(key)?;
    rest.strip_prefix('=').or_else(|| rest.strip_prefix(':'))
}

#[cfg(test)]
mod tests;
