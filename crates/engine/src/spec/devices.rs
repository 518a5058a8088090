//! Device nodes, and which of them the container may use.

use std::collections::BTreeSet;
use std::fs;
use std::os::linux::fs::MetadataExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use api::container::HostConfig;
use oci::runtime::{Device, DeviceKind, DeviceRule, Mount};

use crate::error::{Error, Result};

/// Nodes in one directory tree that `--device` names: more is a mistake.
const LIMIT: usize = 4096;

/// A device of the host that the container gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostDevice {
    pub(super) node: Device,
    pub(super) source: PathBuf,
    /// Letters of `rwm`.
    pub(super) access: String,
}

/// All of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Found(pub(super) Vec<HostDevice>);

/// What is refused at create: forms that make no sense, and requests that nothing here can serve.
pub(super) fn check(host: &HostConfig) -> Result<()> {
    for rule in host.resources.device_cgroup_rules.iter().flatten() {
        cgroup_rule(rule)?;
    }
    for device in host.resources.devices.iter().flatten() {
        access(&device.cgroup_permissions)?;
    }
    Ok(())
}

/// Looks up the devices that a container asks for; a privileged one has the host's besides.
pub(super) fn find(host: &HostConfig) -> Result<Found> {
    let mut found = Vec::new();
    if host.privileged {
        walk(Path::new("/dev"), Path::new("/dev"), "rwm", true, &mut found)?;
    }
    for device in host.resources.devices.iter().flatten() {
        let inside = if device.path_in_container.is_empty() {
            &device.path_on_host
        } else {
            &device.path_in_container
        };
        if host.privileged && *inside == device.path_on_host {
            // It is there, if it is one at all.
            continue;
        }
        let failed = |error| gathering(&device.path_on_host, error);
        // A link may point anywhere: what counts is the node behind it.
        let source = fs::canonicalize(&device.path_on_host).map_err(failed)?;
        let before = found.len();
        walk(&source, Path::new(inside), access(&device.cgroup_permissions)?, false, &mut found)?;
        if found.len() == before {
            return Err(no_device(&device.path_on_host));
        }
    }
    // What is the host's keeps its names.
    let mut taken = BTreeSet::new();
    found.retain(|device| taken.insert(device.node.path.clone()) || !host.privileged);
    Ok(Found(found))
}

fn no_device(path: &str) -> Error {
    Error::system(format!(
        "error gathering device information while adding custom device \"{path}\": not a device node"
    ))
}

fn gathering(path: &str, error: std::io::Error) -> Error {
    Error::failed(format!("error gathering device information while adding custom device \"{path}\""), error)
}

/// Collects a node, or every node below a directory. `all` is the walk of a privileged container, which skips what
/// has a mount of its own inside.
fn walk(source: &Path, inside: &Path, access: &str, all: bool, found: &mut Vec<HostDevice>) -> Result<()> {
    let failed = |error| gathering(&source.display().to_string(), error);
    let metadata = fs::symlink_metadata(source).map_err(failed)?;
    if !metadata.is_dir() {
        match node(inside, &metadata) {
            Some(node) => {
                found.push(HostDevice { node, source: source.to_owned(), access: access.to_owned() });
            }
            None if all => {}
            None => {
                return Err(no_device(&source.display().to_string()));
            }
        }
        if found.len() > LIMIT {
            return Err(Error::invalid(format!("more than {LIMIT} devices below {}", source.display())));
        }
        return Ok(());
    }
    for entry in fs::read_dir(source).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let own_mount = all
            && source == Path::new("/dev")
            && ["pts", "shm", "fd", "mqueue", "console", ".udev", ".lxc", ".lxd-mounts"]
                .iter()
                .any(|known| name == *known);
        let kind = entry.file_type().map_err(failed)?;
        if own_mount || !(kind.is_dir() || kind.is_char_device() || kind.is_block_device()) {
            continue;
        }
        walk(&entry.path(), &inside.join(&name), access, all, found)?;
    }
    Ok(())
}

pub(super) fn node(inside: &Path, metadata: &fs::Metadata) -> Option<Device> {
    let kind = if metadata.file_type().is_char_device() {
        DeviceKind::Character
    } else if metadata.file_type().is_block_device() {
        DeviceKind::Block
    } else {
        return None;
    };
    let device = metadata.st_rdev();
    Some(Device {
        path: PathBuf::from(inside),
        kind,
        major: (((device >> 8) & 0xfff) | ((device >> 32) & !0xfff)) as i64,
        minor: ((device & 0xff) | ((device >> 12) & !0xff)) as i64,
        file_mode: Some(metadata.st_mode() & 0o7777),
        uid: Some(metadata.st_uid()),
        gid: Some(metadata.st_gid()),
    })
}

pub(super) fn access(permissions: &str) -> Result<&str> {
    match permissions {
        "" => Ok("rwm"),
        letters if letters.len() <= 3 && letters.bytes().all(|letter| b"rwm".contains(&letter)) => {
            Ok(letters)
        }
        other => Err(Error::invalid(format!("invalid device mode: {other}"))),
    }
}

/// The nodes to create beside the ones that every container has.
pub(super) fn nodes(found: &Found) -> Vec<Device> {
    found.0.iter().map(|device| device.node.clone()).collect()
}

/// The same as mounts of the host's nodes.
pub(super) fn mounts(found: &Found) -> Vec<Mount> {
    let mount = |device: &HostDevice| Mount {
        destination: device.node.path.clone(),
        kind: "bind".into(),
        source: Some(device.source.clone()),
        options: ["bind", "rprivate", "nosuid", "noexec"].map(str::to_owned).into(),
        ..Mount::default()
    };
    found.0.iter().map(mount).collect()
}

/// In order: nothing, what every container may use, what this one asks for.
pub(super) fn rules(host: &HostConfig, found: &Found) -> Result<Vec<DeviceRule>> {
    if host.privileged {
        return Ok(vec![rule(true, "a", None, None, "rwm")]);
    }
    let mut rules = vec![
        rule(false, "a", None, None, "rwm"),
        // Making a node gives no access to it.
        rule(true, "c", None, None, "m"),
        rule(true, "b", None, None, "m"),
    ];
    // null, zero, full, random, urandom, tty, console, ptmx
    for (major, minor) in [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2)] {
        rules.push(rule(true, "c", Some(major), Some(minor), "rwm"));
    }
    // Terminals under /dev/pts.
    rules.push(rule(true, "c", Some(136), None, "rwm"));
    for device in &found.0 {
        let kind = if device.node.kind == DeviceKind::Block { "b" } else { "c" };
        rules.push(rule(true, kind, Some(device.node.major), Some(device.node.minor), &device.access));
    }
    for text in host.resources.device_cgroup_rules.iter().flatten() {
        rules.push(cgroup_rule(text)?);
    }
    Ok(rules)
}

fn rule(allow: bool, kind: &str, major: Option<i64>, minor: Option<i64>, access: &str) -> DeviceRule {
    DeviceRule { allow, kind: kind.into(), major, minor, access: access.into() }
}

/// `c 1:3 rwm`, with `*` for any number.
fn cgroup_rule(text: &str) -> Result<DeviceRule> {
    let invalid = || Error::invalid(format!("invalid device cgroup rule format: '{text}'"));
    let parts: Vec<&str> = text.split(' ').collect();
    let [kind, numbers, access] = parts[..] else { return Err(invalid()) };
    let (major, minor) = numbers.split_once(':').ok_or_else(invalid)?;
    let number = |what: &str, number: &str| match number {
        "*" => Ok(None),
        digits if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            // The highest number is the kernel's way to write `*`.
            let number = digits.parse::<u32>().ok().filter(|number| *number != u32::MAX);
            number.map(|number| Some(number.into())).ok_or_else(|| {
                Error::invalid(format!("invalid {what} value in device cgroup rule format: '{text}'"))
            })
        }
        _ => Err(invalid()),
    };
    let letters = (1..=3).contains(&access.len()) && access.bytes().all(|letter| b"rwm".contains(&letter));
    if !["a", "b", "c"].contains(&kind) || !letters {
        return Err(invalid());
    }
    Ok(rule(true, kind, number("major", major)?, number("minor", minor)?, access))
}

#[cfg(test)]
mod tests {
    use api::container::DeviceMapping;

    use super::*;

    #[test]
    fn cgroup_rules_are_read_strictly() {
        let rule = cgroup_rule("c 7:* rmw").unwrap();
        assert_eq!((rule.major, rule.minor, rule.access.as_str()), (Some(7), None, "rmw"));
        for text in ["", "c 7:* ", "x 1:1 r", "c 1 r", "c 1:1 rx", "c +1:1 r", "c :1 r"] {
            assert!(cgroup_rule(text).is_err(), "{text:?}");
        }
        for text in ["c 4294967295:1 r", "c 4294967296:1 r", "c 99999999999999999999:1 r"] {
            let told = format!("invalid major value in device cgroup rule format: '{text}'");
            assert_eq!(cgroup_rule(text).unwrap_err().message(), told);
        }
        assert_eq!(cgroup_rule("c 1:4294967294 r").unwrap().minor, Some(4_294_967_294));
    }

    #[test]
    fn a_device_brings_its_node_and_its_rule() {
        let mut host = HostConfig::default();
        host.resources.devices = Some(vec![DeviceMapping {
            path_on_host: "/dev/null".into(),
            path_in_container: "/dev/nothing".into(),
            cgroup_permissions: "r".into(),
        }]);
        let found = find(&host).unwrap();
        assert_eq!(nodes(&found)[0].path, PathBuf::from("/dev/nothing"));
        let last = rules(&host, &found).unwrap().pop().unwrap();
        assert_eq!((last.major, last.minor, last.access.as_str()), (Some(1), Some(3), "r"));
    }

    #[test]
    fn a_privileged_container_has_the_hosts_devices_and_those_by_other_names() {
        let device = |on_host: &str, inside: &str| DeviceMapping {
            path_on_host: on_host.into(),
            path_in_container: inside.into(),
            cgroup_permissions: "r".into(),
        };
        let mut host = HostConfig { privileged: true, ..HostConfig::default() };
        host.resources.devices =
            Some(vec![device("/dev/null", "/dev/nothing"), device("/dev/nosuch", "/dev/nosuch")]);
        let minors = |host: &HostConfig, path: &str| {
            let found = nodes(&find(host).unwrap());
            let here = found.iter().filter(|node| node.path == Path::new(path));
            here.map(|node| node.minor).collect::<Vec<_>>()
        };
        assert_eq!((minors(&host, "/dev/null"), minors(&host, "/dev/nothing")), (vec![3], vec![3]));
        assert!(minors(&host, "/dev/nosuch").is_empty());
        host.resources.devices = Some(vec![device("/dev/null", "/dev/zero")]);
        assert_eq!(minors(&host, "/dev/zero"), [5], "the host's keep their names");
        host.resources.devices = Some(vec![device("/dev/nosuch", "/dev/nothing")]);
        assert!(find(&host).is_err());
    }

    #[test]
    fn what_is_no_device_is_refused() {
        let mut host = HostConfig::default();
        let device = DeviceMapping { path_on_host: "/etc/passwd".into(), ..Default::default() };
        host.resources.devices = Some(vec![device]);
        assert!(find(&host).unwrap_err().to_string().ends_with("not a device node"));
    }
}
