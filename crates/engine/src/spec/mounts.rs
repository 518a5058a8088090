//! What is mounted where, in which order, and what of `/proc` and `/sys` is hidden.

use std::path::{Path, PathBuf};

use api::container::HostConfig;
use oci::runtime::Mount;

use super::process::{INIT, wants_init};
use super::{Input, devices, namespaces};
use crate::container::Bound;
use crate::error::{Error, Result};

/// Files and directories of the kernel that tell or change too much.
pub(crate) const DEFAULT_MASKED: &[&str] = &[
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];

/// What may be read and never written.
pub(crate) const DEFAULT_READONLY: &[&str] =
    &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The group that terminals belong to; a container may have so few ids that it lacks it.
const TTY: u32 = 5;

/// Masked and read-only paths: none for a privileged container, the defaults where nothing was said.
pub(super) fn hidden(host: &HostConfig) -> (Vec<PathBuf>, Vec<PathBuf>) {
    if host.privileged {
        return (Vec::new(), Vec::new());
    }
    let paths = |chosen: &Option<Vec<String>>, default: &[&str]| match chosen {
        Some(list) => list.iter().map(PathBuf::from).collect(),
        None => default.iter().map(PathBuf::from).collect(),
    };
    (paths(&host.masked_paths, DEFAULT_MASKED), paths(&host.readonly_paths, DEFAULT_READONLY))
}

/// Every mount in order: the kernel's, the container's own, outer before inner, then the engine's files.
pub(super) fn all(input: &Input<'_>) -> Result<Vec<Mount>> {
    let record = input.record;
    let mut own = input.bound.mounts.clone();
    for (destination, options) in &record.host.tmpfs {
        own.push(tmpfs(destination, options)?);
    }
    let overridden = |mount: &Mount| own.iter().any(|other| other.destination == mount.destination);
    let own_dev = own.iter().any(|mount| mount.destination == Path::new("/dev"));

    let mut mounts = kernel(input);
    mounts.retain(|mount| {
        let below_dev = mount.destination.starts_with("/dev");
        !(overridden(mount) || own_dev && below_dev)
    });
    if record.host.readonly_rootfs {
        for mount in &mut mounts {
            let writable = ["/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"];
            if !writable.iter().any(|path| mount.destination == Path::new(path)) {
                add(&mut mount.options, "ro");
            }
        }
    }
    if input.users.is_some() {
        let devices = devices::mounts(&input.devices);
        mounts.extend(devices.into_iter().filter(|mount| !overridden(mount)));
    }
    let mut files = engine_files(input);
    files.retain(|mount| !overridden(mount));
    own.sort_by_key(|mount| mount.destination.components().count());
    mounts.append(&mut own);
    // Behind the container's own: a volume on `/etc` must not take its names away.
    mounts.append(&mut files);
    if wants_init(record, input.config) {
        mounts.push(init(input));
    }
    Ok(mounts)
}

fn kernel(input: &Input<'_>) -> Vec<Mount> {
    let host = &input.record.host;
    let writable_cgroups = host.privileged
        || host
            .security_opt
            .iter()
            .flatten()
            .any(|option| super::security_value(option, "writable-cgroups") == Some("true"));
    let kernel_options = |writable: bool| {
        let mut options = vec!["nosuid", "noexec", "nodev"];
        options.push(if writable { "rw" } else { "ro" });
        options
    };
    let mut mounts = vec![
        mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        mount("/sys", "sysfs", "sysfs", &kernel_options(host.privileged)),
        mount("/sys/fs/cgroup", "cgroup", "cgroup", &kernel_options(writable_cgroups)),
        mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
    ];
    if input.users.is_some_and(|users| users.group(TTY).is_none()) {
        for pts in mounts.iter_mut().filter(|mount| mount.kind == "devpts") {
            pts.options.retain(|option| !option.starts_with("gid="));
        }
    }
    mounts.extend(shm(input));
    mounts
}

/// `/dev/shm`: an own one, the one of the container whose IPC namespace is shared, the host's, or none.
fn shm(input: &Input<'_>) -> Option<Mount> {
    let host = &input.record.host;
    let bind = |source: &Path| Mount {
        destination: "/dev/shm".into(),
        kind: "bind".into(),
        source: Some(source.to_owned()),
        options: vec!["rbind".into(), "rprivate".into()],
        ..Mount::default()
    };
    match host.ipc_mode.as_str() {
        "none" => None,
        "host" => Some(bind(Path::new("/dev/shm"))),
        "shareable" => input.bound.shm.as_deref().map(bind),
        mode if namespaces::other(mode).is_some() => input.shared.shm.as_deref().map(bind),
        _ => {
            let size = format!("size={}", host.shm_size);
            Some(mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", &size]))
        }
    }
}

fn engine_files(input: &Input<'_>) -> Vec<Mount> {
    let readonly = input.record.host.readonly_rootfs;
    let mut options = vec!["rbind".to_owned(), "rprivate".to_owned()];
    options.extend(readonly.then(|| "ro".to_owned()));
    // They are its root's.
    options.extend(input.users.map(|_| "idmap".to_owned()));
    input
        .files
        .iter()
        .map(|(destination, source)| Mount {
            destination: destination.into(),
            kind: "bind".into(),
            source: Some(source.clone()),
            options: options.clone(),
            ..Mount::default()
        })
        .collect()
}

fn init(input: &Input<'_>) -> Mount {
    Mount {
        destination: INIT.into(),
        kind: "bind".into(),
        source: Some(input.init.clone()),
        options: vec!["bind".into(), "ro".into()],
        ..Mount::default()
    }
}

fn mount(destination: &str, kind: &str, source: &str, options: &[&str]) -> Mount {
    Mount {
        destination: destination.into(),
        kind: kind.into(),
        source: Some(source.into()),
        options: options.iter().map(|option| (*option).to_owned()).collect(),
        ..Mount::default()
    }
}

/// A tmpfs of `--tmpfs`: Docker's defaults, each of which the container's options may turn round.
pub(crate) fn tmpfs(destination: &str, options: &str) -> Result<Mount> {
    let mut all: Vec<String> =
        ["noexec", "nosuid", "nodev", "rprivate"].iter().map(|option| (*option).to_owned()).collect();
    for option in options.split(',').map(str::trim).filter(|option| !option.is_empty()) {
        let (key, value) = option.split_once('=').map_or((option, None), |(key, value)| (key, Some(value)));
        match (key, value) {
            ("exec" | "suid" | "dev", None) => all.retain(|known| known != &format!("no{key}")),
            ("size", Some(value)) => {
                let bytes = crate::container::bytes(value).map(|bytes| bytes.to_string());
                // A share of memory (`50%`) is the kernel's to understand.
                all.push(format!("size={}", bytes.unwrap_or_else(|| value.to_owned())));
            }
            ("mode" | "uid" | "gid" | "nr_inodes" | "nr_blocks" | "mpol", Some(_)) => {
                all.push(option.to_owned())
            }
            (
                "private" | "rprivate" | "shared" | "rshared" | "slave" | "rslave" | "unbindable"
                | "runbindable",
                None,
            ) => {
                all.retain(|known| known != "rprivate");
                all.push(option.to_owned());
            }
            (
                "rw" | "ro" | "noexec" | "nosuid" | "nodev" | "noatime" | "atime" | "nodiratime" | "diratime"
                | "relatime" | "norelatime" | "strictatime" | "nostrictatime" | "sync" | "async" | "dirsync"
                | "defaults" | "mand" | "nomand",
                None,
            ) => add(&mut all, option),
            _ => return Err(Error::invalid(format!("invalid tmpfs option {option:?}"))),
        }
    }
    all.retain(|option| option != "defaults");
    Ok(Mount {
        destination: destination.into(),
        kind: "tmpfs".into(),
        source: Some("tmpfs".into()),
        options: all,
        ..Mount::default()
    })
}

fn add(options: &mut Vec<String>, option: &str) {
    if !options.iter().any(|known| known == option) {
        options.push(option.to_owned());
    }
}

/// Mounts can only spread from inside to outside, or the other way, when the root itself is shared or a slave.
pub(super) fn root_propagation(bound: &Bound) -> String {
    let has = |words: [&str; 2]| {
        bound.mounts.iter().flat_map(|mount| &mount.options).any(|option| words.contains(&option.as_str()))
    };
    if has(["shared", "rshared"]) {
        "shared".into()
    } else if has(["slave", "rslave"]) {
        "rslave".into()
    } else {
        String::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tmpfs_options_turn_the_defaults_round() {
        let mount = tmpfs("/run", "size=1m,exec,mode=755").unwrap();
        assert_eq!(mount.options, ["nosuid", "nodev", "rprivate", "size=1048576", "mode=755"]);
        assert!(tmpfs("/run", "lowerdir=/etc").is_err());
    }
}
