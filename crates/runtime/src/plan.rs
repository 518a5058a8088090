//! The configuration, checked and turned into what the kernel takes, before anything is made.
//!
//! What is wrong with a configuration is found here, in the caller's process, with the name of the field. Past
//! this point no text of it is parsed any more. A field that this runtime does not carry out is refused.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use linux::namespace::{self, IdRange};
use oci::runtime::{
    Device, DeviceKind, Hooks, Linux, MemoryPolicy, MemoryPolicyFlag, MemoryPolicyMode, NamespaceKind,
    PersonalityDomain, Seccomp, Spec,
};

use crate::interfaces::{self, Move};
use crate::namespaces::{Given, Mounts, Namespaces, first_id, flag, ranges};
use crate::options::{self, Options};
use crate::rdt::{self, Class};
use crate::seccomp::{self, Compiled};
use crate::{Error, Result, credentials};

/// Everything a container is made from.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) namespaces: Namespaces,
    pub(crate) hostname: String,
    pub(crate) domainname: String,
    pub(crate) root_read_only: bool,
    pub(crate) root_propagation: Option<(linux::mount::Propagation, bool)>,
    pub(crate) mounts: Vec<Mount>,
    pub(crate) devices: Vec<Device>,
    /// `/dev` is ours to fill: nobody bound one from outside.
    pub(crate) fills_dev: bool,
    pub(crate) sysctls: Vec<(String, String)>,
    pub(crate) masked: Vec<PathBuf>,
    pub(crate) read_only: Vec<PathBuf>,
    pub(crate) devices_of_network: Vec<Move>,
    pub(crate) resource_class: Option<Class>,
    /// SELinux label of the file systems that are made for the container.
    pub(crate) label: Option<String>,
    pub(crate) hooks: Hooks,
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) confinement: Confinement,
}

/// What every process of the container is put under, its first and those executed later.
#[derive(Debug, Clone, Default)]
pub(crate) struct Confinement {
    pub(crate) seccomp: Option<Compiled>,
    /// The filter of a container that somebody else made: few of the commands on it need a program.
    uncompiled: Option<Seccomp>,
    pub(crate) seccomp_listener: Option<Listener>,
    pub(crate) personality: Option<u64>,
    /// Who acts in the container's user namespace, where it has one.
    pub(crate) first_ids: (u32, u32),
    pub(crate) memory_policy: Option<linux::process::MemoryPolicy>,
}

impl Confinement {
    /// For a process that is about to be put under it.
    pub(crate) fn compiled(&self) -> Result<Cow<'_, Confinement>> {
        match &self.uncompiled {
            None => Ok(Cow::Borrowed(self)),
            Some(filter) => {
                let seccomp = seccomp::compile(filter)?;
                Ok(Cow::Owned(Confinement { seccomp, uncompiled: None, ..self.clone() }))
            }
        }
    }
}

/// Who decides on the system calls that the filter asks about.
#[derive(Debug, Clone)]
pub(crate) struct Listener {
    pub(crate) path: PathBuf,
    pub(crate) metadata: String,
}

#[derive(Debug)]
pub(crate) struct Mount {
    /// From the container's root, without steps that lead nowhere.
    pub(crate) destination: PathBuf,
    pub(crate) kind: MountKind,
    pub(crate) source: PathBuf,
    pub(crate) options: Options,
    pub(crate) id_maps: Option<IdMaps>,
}

/// How the ids of an id-mapped mount are translated.
#[derive(Debug)]
pub(crate) enum IdMaps {
    /// By maps for users and for groups.
    Ranges(Vec<IdRange>, Vec<IdRange>),
    /// As by the user namespace that the container joins.
    Joined,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MountKind {
    Bind {
        recursive: bool,
    },
    /// New attributes for a mount that is there already, and new options for its file system, unless it is a bind.
    Remount,
    /// All hierarchies that the host has.
    Cgroup,
    FileSystem(String),
}

impl Plan {
    pub(crate) fn new(spec: &Spec, given: Given<'_>) -> Result<Plan> {
        check_version(&spec.oci_version)?;
        if let Some(hooks) = &spec.hooks {
            check_hooks(hooks)?;
        }
        let nothing = Linux::default();
        let linux = spec.linux.as_ref().unwrap_or(&nothing);
        let namespaces = Namespaces::new(linux, given)?;
        let mounts =
            spec.mounts.iter().map(|mount| self::mount(mount, &namespaces)).collect::<Result<Vec<_>>>()?;
        let fills_dev = !mounts.iter().any(|mount| {
            mount.destination == Path::new("/dev") && matches!(mount.kind, MountKind::Bind { .. })
        });
        let own_names = namespaces.is_new(namespace::UTS) || namespaces.joins(namespace::UTS);
        for (what, name) in [("hostname", &spec.hostname), ("domainname", &spec.domainname)] {
            if !name.is_empty() && !own_names {
                let message = format_args!("unable to set {what} without a private UTS namespace");
                return Err(Error::invalid(message));
            }
        }
        let masks = !linux.masked_paths.is_empty() || !linux.readonly_paths.is_empty();
        if masks && namespaces.mounts() == Mounts::Host {
            return Err(Error::invalid("unable to restrict sys entries without a private MNT namespace"));
        }
        Ok(Plan {
            hostname: spec.hostname.clone(),
            domainname: spec.domainname.clone(),
            root_read_only: spec.root.as_ref().is_some_and(|root| root.readonly),
            root_propagation: root_propagation(&linux.rootfs_propagation)?,
            mounts,
            devices: checked_rules(linux).and_then(|()| devices(linux))?,
            fills_dev,
            sysctls: sysctls(linux, &namespaces)?,
            devices_of_network: interfaces::plan(&linux.net_devices, &namespaces)?,
            resource_class: linux.intel_rdt.as_ref().map(rdt::plan).transpose()?,
            label: label(linux)?,
            masked: linux.masked_paths.clone(),
            read_only: linux.readonly_paths.clone(),
            hooks: spec.hooks.clone().unwrap_or_default(),
            annotations: spec.annotations.clone(),
            confinement: confinement(linux)?,
            namespaces,
        })
    }
}

impl Plan {
    /// Sources that are relative start at the bundle; places may be named by their path on the host as well.
    pub(crate) fn resolve_paths(&mut self, bundle: &Path, rootfs: Option<&Path>) {
        for mount in &mut self.mounts {
            if matches!(mount.kind, MountKind::Bind { .. }) && mount.source.is_relative() {
                mount.source = bundle.join(&mount.source);
            }
            if let Some(inside) = rootfs.and_then(|rootfs| mount.destination.strip_prefix(rootfs).ok()) {
                mount.destination = Path::new("/").join(inside);
            }
        }
    }

    /// For a container that was made by another process: namespaces are told from its first process, so that
    /// paths in the configuration need not exist any more.
    pub(crate) fn of_existing(spec: &Spec) -> Result<Plan> {
        let mut spec = spec.clone();
        let mut joined = 0;
        let filter = spec.linux.as_mut().and_then(|linux| linux.seccomp.take());
        if let Some(linux) = &mut spec.linux {
            for namespace in &mut linux.namespaces {
                if namespace.path.take().is_some_and(|path| !path.as_os_str().is_empty()) {
                    joined |= flag(namespace.kind);
                }
            }
            linux.time_offsets = None;
            linux.sysctl.clear();
            if joined & namespace::USER != 0 {
                // It has maps of its own, whoever wrote them.
                linux.namespaces.retain(|namespace| namespace.kind != NamespaceKind::User);
                linux.uid_mappings.clear();
                linux.gid_mappings.clear();
            }
        }
        let mut plan = Plan::new(&spec, Given::default())?;
        plan.namespaces.new |= joined;
        plan.confinement.seccomp_listener = filter.as_ref().and_then(listener);
        plan.confinement.uncompiled = filter;
        Ok(plan)
    }
}

fn mount(mount: &oci::runtime::Mount, namespaces: &Namespaces) -> Result<Mount> {
    let options = Options::parse(&mount.options);
    let source = mount.source.clone().unwrap_or_default();
    let destination = Path::new("/").join(clean(&mount.destination));
    let kind = match (mount.kind.as_str(), options.bind) {
        _ if options.remount => MountKind::Remount,
        (_, Some(recursive)) => MountKind::Bind { recursive },
        ("bind", None) => MountKind::Bind { recursive: false },
        ("rbind", None) => MountKind::Bind { recursive: true },
        ("cgroup", None) => MountKind::Cgroup,
        ("", None) => return Err(Error::invalid(format_args!("mount {destination:?} has no type"))),
        (kind, None) => MountKind::FileSystem(kind.to_owned()),
    };
    // Of a bind mount, new or there already.
    let bound = matches!(kind, MountKind::Bind { .. }) || options.bind.is_some();
    if let Some(word) = options.data.first().filter(|_| bound) {
        return Err(Error::invalid(format_args!(
            "invalid mount {destination:?}: bind mounts cannot have any filesystem-specific options applied ({word:?})"
        )));
    }
    if let Some(word) = options.super_flags.first().filter(|_| bound) {
        return Err(Error::invalid(format_args!(
            "invalid mount {destination:?}: {word:?} is a matter of the file system, which a bind mount shares"
        )));
    }
    if options.copy_up && kind != MountKind::FileSystem("tmpfs".to_owned()) {
        return Err(Error::invalid(format_args!(
            "invalid mount {destination:?}: \"tmpcopyup\" is for a new tmpfs"
        )));
    }
    let id_maps = id_maps(mount, &options, namespaces)?;
    if id_maps.is_some() && !matches!(kind, MountKind::Bind { .. }) {
        return Err(Error::invalid(format_args!("mount {destination:?}: only bind mounts can be id-mapped")));
    }
    Ok(Mount { destination, kind, source, options, id_maps })
}

/// Own maps, or with a bare `idmap` those of the container.
fn id_maps(
    mount: &oci::runtime::Mount,
    options: &Options,
    namespaces: &Namespaces,
) -> Result<Option<IdMaps>> {
    let own = (ranges(&mount.uid_mappings), ranges(&mount.gid_mappings));
    match (own.0.is_empty(), own.1.is_empty(), options.id_mapped) {
        (false, false, _) => Ok(Some(IdMaps::Ranges(own.0, own.1))),
        (true, true, None) => Ok(None),
        (true, true, Some(_)) if namespaces.is_new(namespace::USER) => {
            Ok(Some(IdMaps::Ranges(namespaces.users.clone(), namespaces.groups.clone())))
        }
        (true, true, Some(_)) if namespaces.joined_user.is_some() => Ok(Some(IdMaps::Joined)),
        _ => Err(Error::invalid(format_args!(
            "invalid mount {:?}: id-mapped mounts need both uidMappings and gidMappings",
            mount.destination
        ))),
    }
}

/// Of a later minor version what is new is passed over, as the specification asks. Nobody has to say any.
fn check_version(version: &str) -> Result<()> {
    let core = version.split(['-', '+']).next().unwrap_or_default();
    let numbers: Vec<Option<u32>> = core.split('.').map(|number| number.parse().ok()).collect();
    match &numbers[..] {
        _ if version.is_empty() => Ok(()),
        [Some(1), Some(_), Some(_)] => Ok(()),
        _ => Err(Error::invalid(format_args!(
            "ociVersion: {version:?} is none of the versions from 1.0.0 to {} and what is compatible with them",
            oci::runtime::VERSION
        ))),
    }
}

/// A relative path would be looked for wherever the caller happens to be.
fn check_hooks(hooks: &Hooks) -> Result<()> {
    let places = [
        ("prestart", &hooks.prestart),
        ("createRuntime", &hooks.create_runtime),
        ("createContainer", &hooks.create_container),
        ("startContainer", &hooks.start_container),
        ("poststart", &hooks.poststart),
        ("poststop", &hooks.poststop),
    ];
    for (name, hooks) in places {
        if let Some((number, hook)) = hooks.iter().enumerate().find(|(_, hook)| hook.path.is_relative()) {
            return Err(Error::invalid(format_args!(
                "hooks.{name}[{number}].path: {:?} is not an absolute path",
                hook.path
            )));
        }
    }
    Ok(())
}

fn root_propagation(word: &str) -> Result<Option<(linux::mount::Propagation, bool)>> {
    if word.is_empty() {
        return Ok(None);
    }
    match options::root_propagation(word) {
        Some(found) => Ok(Some(found)),
        None => Err(Error::invalid(format_args!("rootfsPropagation={word} is not supported"))),
    }
}

/// A label for mounts where no module knows labels would be an unknown option of each file system.
fn label(linux: &Linux) -> Result<Option<String>> {
    if linux.mount_label.is_empty() {
        return Ok(None);
    }
    if !credentials::has_selinux() {
        return Err(Error::invalid(
            "linux.mountLabel is specified in config, but selinux is disabled or not supported",
        ));
    }
    Ok(Some(linux.mount_label.clone()))
}

fn devices(linux: &Linux) -> Result<Vec<Device>> {
    // As many bits as the kernel keeps; it would take others for those of another device.
    const MAJORS: std::ops::Range<i64> = 0..1 << 12;
    const MINORS: std::ops::Range<i64> = 0..1 << 20;
    for Device { kind, path, major, minor, .. } in &linux.devices {
        let numbered = MAJORS.contains(major) && MINORS.contains(minor);
        if !numbered && *kind != DeviceKind::Fifo {
            return Err(Error::invalid(format_args!("device {path:?} has no valid number: {major}:{minor}")));
        }
    }
    // One without a path makes no node.
    Ok(linux.devices.iter().filter(|device| !device.path.as_os_str().is_empty()).cloned().collect())
}

/// A rule about no access would be read as one about any.
fn checked_rules(linux: &Linux) -> Result<()> {
    let rules = linux.resources.as_ref().map(|resources| resources.devices.as_slice()).unwrap_or_default();
    match rules.iter().position(|rule| rule.access.is_empty()) {
        Some(index) => Err(Error::invalid(format_args!("device access at {index} field cannot be empty"))),
        None => Ok(()),
    }
}

/// Only what a namespace of the container's own holds may be set: anything else is the host's.
fn sysctls(linux: &Linux, namespaces: &Namespaces) -> Result<Vec<(String, String)>> {
    const IPC: [&str; 9] = [
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
        "kernel.msg_next_id",
    ];
    let private = |flag| namespaces.is_new(flag) || namespaces.joins(flag);
    let mut out = Vec::with_capacity(linux.sysctl.len());
    for (key, value) in &linux.sysctl {
        let path = sysctl_path(key);
        let name = path.replace('.', "\0").replace('/', ".").replace('\0', "/");
        let (ours, needed) = if IPC.contains(&name.as_str()) || name.starts_with("fs.mqueue.") {
            (private(namespace::IPC), "IPC")
        } else if name.starts_with("net.") {
            (private(namespace::NETWORK), "network")
        } else if name == "kernel.domainname" {
            (private(namespace::UTS), "UTS")
        } else if name.starts_with("user.") {
            (namespaces.has_user(), "user")
        } else {
            return Err(Error::invalid(format_args!("sysctl {key:?} is not in a separate kernel namespace")));
        };
        if !ours {
            let message = format_args!(
                "sysctl {key:?} is not allowed: the container has no {needed} namespace of its own"
            );
            return Err(Error::invalid(message));
        }
        if path.split('/').any(|part| part.is_empty() || part == "." || part == "..") {
            return Err(Error::invalid(format_args!("sysctl {key:?} is not a valid name")));
        }
        out.push((path, value.clone()));
    }
    Ok(out)
}

/// `net.ipv4.conf.eth0/1.x` and `net/ipv4/conf/eth0.1/x` are one file: whichever separator comes first is it.
fn sysctl_path(key: &str) -> String {
    match key.find(['.', '/']) {
        Some(at) if key.as_bytes()[at] == b'.' => key
            .chars()
            .map(|c| {
                if c == '.' {
                    '/'
                } else if c == '/' {
                    '.'
                } else {
                    c
                }
            })
            .collect(),
        _ => key.to_owned(),
    }
}

fn listener(filter: &Seccomp) -> Option<Listener> {
    let (path, metadata) = (PathBuf::from(&filter.listener_path), filter.listener_metadata.clone());
    (!filter.listener_path.is_empty()).then_some(Listener { path, metadata })
}

fn confinement(linux: &Linux) -> Result<Confinement> {
    let mut confinement = Confinement {
        first_ids: (first_id(&ranges(&linux.uid_mappings)), first_id(&ranges(&linux.gid_mappings))),
        memory_policy: linux.memory_policy.as_ref().map(memory_policy).transpose()?.flatten(),
        ..Confinement::default()
    };
    if let Some(filter) = &linux.seccomp {
        confinement.seccomp = seccomp::compile(filter)?;
        confinement.seccomp_listener = listener(filter);
    }
    if let Some(personality) = &linux.personality {
        if !personality.flags.is_empty() {
            return Err(Error::invalid("linux.personality.flags is not supported"));
        }
        confinement.personality = Some(match personality.domain {
            PersonalityDomain::Linux => 0,
            PersonalityDomain::Linux32 => 8,
        });
    }
    Ok(confinement)
}

fn memory_policy(policy: &MemoryPolicy) -> Result<Option<linux::process::MemoryPolicy>> {
    let mode = match policy.mode {
        None if policy.nodes.is_empty() && policy.flags.is_empty() => return Ok(None),
        None => return Err(Error::invalid("invalid memory policy mode: linux.memoryPolicy.mode is missing")),
        Some(MemoryPolicyMode::Default) => 0,
        Some(MemoryPolicyMode::Preferred) => 1,
        Some(MemoryPolicyMode::Bind) => 2,
        Some(MemoryPolicyMode::Interleave) => 3,
        Some(MemoryPolicyMode::Local) => 4,
        Some(MemoryPolicyMode::PreferredMany) => 5,
        Some(MemoryPolicyMode::WeightedInterleave) => 6,
    };
    let flag = |flag: &MemoryPolicyFlag| match flag {
        MemoryPolicyFlag::NumaBalancing => 1 << 13,
        MemoryPolicyFlag::RelativeNodes => 1 << 14,
        MemoryPolicyFlag::StaticNodes => 1 << 15,
    };
    let nodes = match policy.nodes.as_str() {
        "" => Vec::new(),
        list => linux::process::cpu_list(list)
            .ok_or_else(|| Error::invalid(format_args!("invalid memory policy node list {list:?}")))?,
    };
    let flags = policy.flags.iter().map(flag).fold(0, |all, flag| all | flag);
    Ok(Some(linux::process::MemoryPolicy { mode: mode | flags, nodes }))
}

/// A path below the root without steps that lead nowhere, for comparing.
pub(crate) fn clean(path: &Path) -> PathBuf {
    use std::path::Component;
    let mut out = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => out.push(name),
            Component::ParentDir => {
                out.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(json: &str) -> String {
        let spec: Spec = serde_json::from_str(json).unwrap();
        Plan::new(&spec, Given::default()).unwrap_err().to_string()
    }

    #[test]
    fn versions_that_are_not_ours_are_refused() {
        for known in ["", "1.0.0", "1.0.2-dev", "1.3.0", "1.99.0", "1.2.1+build"] {
            assert!(check_version(known).is_ok(), "{known}");
        }
        for unknown in ["2.0.0", "0.6.0", "1", "1.x.0", "junk", "1.0.0.0"] {
            let told = refused(&format!(r#"{{"ociVersion":{unknown:?}}}"#));
            assert!(told.starts_with(&format!("ociVersion: {unknown:?} is none of")), "{told}");
        }
    }

    #[test]
    fn hooks_have_absolute_paths() {
        let hooks = r#"{"poststart":[{"path":"/bin/true"},{"path":"true"}]}"#;
        let told = refused(&format!(r#"{{"ociVersion":"1.0.0","hooks":{hooks}}}"#));
        assert_eq!(told, "hooks.poststart[1].path: \"true\" is not an absolute path");
    }

    #[test]
    fn what_cannot_be_carried_out_is_refused_by_name() {
        let with = |linux: &str| {
            format!(r#"{{"ociVersion":"1.0.0","linux":{{"namespaces":[{{"type":"mount"}}],{linux}}}}}"#)
        };
        let cases = [
            (r#""intelRdt":{"closID":"../x"}"#, "invalid intelRdt.closID"),
            (r#""netDevices":{"eth0":{}}"#, "unable to move network devices without a NET namespace"),
            (r#""sysctl":{"kernel.panic":"1"}"#, "is not in a separate kernel namespace"),
            (r#""sysctl":{"net.ipv4.ip_forward":"1"}"#, "no network namespace of its own"),
            (r#""resources":{"devices":[{"allow":true}]}"#, "device access at 0 field cannot be empty"),
            (
                r#""devices":[{"path":"/dev/x","type":"c","major":4096,"minor":3}]"#,
                "device \"/dev/x\" has no valid number: 4096:3",
            ),
            (
                r#""devices":[{"path":"/dev/x","type":"b","major":1,"minor":1048576}]"#,
                "has no valid number: 1:1048576",
            ),
            (r#""rootfsPropagation":"sideways""#, "rootfsPropagation=sideways is not supported"),
        ];
        for (linux, expected) in cases {
            let message = refused(&with(linux));
            assert!(message.contains(expected), "{message}");
        }
        let hidden = refused(r#"{"ociVersion":"1.0.0","linux":{"maskedPaths":["/proc/kcore"]}}"#);
        assert!(
            hidden.contains("unable to restrict sys entries without a private MNT namespace"),
            "{hidden}"
        );
    }

    #[test]
    fn maps_of_nobodys_namespace_are_passed_over() {
        let spec =
            r#"{"ociVersion":"1.0.0","linux":{"uidMappings":[{"containerID":0,"hostID":1,"size":1}]}}"#;
        let plan = Plan::new(&serde_json::from_str(spec).unwrap(), Given::default()).unwrap();
        assert!(plan.namespaces.users.is_empty());
    }

    #[test]
    fn both_spellings_of_a_sysctl() {
        assert_eq!(sysctl_path("net.ipv4.conf.eth0/1.rp_filter"), "net/ipv4/conf/eth0.1/rp_filter");
        assert_eq!(sysctl_path("net/ipv4/conf/eth0.1/rp_filter"), "net/ipv4/conf/eth0.1/rp_filter");
    }

    #[test]
    fn paths_are_compared_cleanly() {
        assert_eq!(clean(Path::new("/../dev/./x/..")), Path::new("dev"));
    }
}
