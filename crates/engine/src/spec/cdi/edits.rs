//! What a device changes in a container's specification.

use std::fs;
use std::path::PathBuf;

use oci::runtime::{Device, DeviceKind, DeviceRule, Hook, Hooks, Mount, Spec};
use serde::Deserialize;

use crate::error::{Error, Result};
use crate::spec::devices::{access, node};

/// `containerEdits` of a file or of a device.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Edits {
    pub(in crate::spec) env: Vec<String>,
    device_nodes: Vec<Node>,
    mounts: Vec<Bind>,
    hooks: Vec<Named>,
    additional_gids: Vec<u32>,
    intel_rdt: Option<serde_json::Value>,
    net_devices: Vec<serde_json::Value>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Node {
    path: PathBuf,
    host_path: Option<PathBuf>,
    #[serde(rename = "type")]
    kind: String,
    major: Option<i64>,
    minor: Option<i64>,
    file_mode: Option<u32>,
    permissions: String,
    uid: Option<u32>,
    gid: Option<u32>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Bind {
    host_path: PathBuf,
    container_path: PathBuf,
    options: Vec<String>,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Named {
    hook_name: String,
    #[serde(flatten)]
    hook: Hook,
}

fn failed(reason: impl std::fmt::Display) -> Error {
    Error::system(format!("CDI device injection failed: {reason}"))
}

/// Changes the specification by all edits, in order.
pub(in crate::spec) fn apply(all: &[Edits], spec: &mut Spec) -> Result<()> {
    for edits in all {
        if edits.intel_rdt.is_some() || !edits.net_devices.is_empty() {
            return Err(failed("the edits intelRdt and netDevices are not supported by this engine"));
        }
        if let Some(process) = &mut spec.process {
            for entry in &edits.env {
                set(&mut process.env, entry);
            }
            for id in &edits.additional_gids {
                // Zero is no group of a device, says the specification.
                if *id != 0 && !process.user.additional_gids.contains(id) {
                    process.user.additional_gids.push(*id);
                }
            }
        }
        for node in &edits.device_nodes {
            node.add(spec)?;
        }
        for bind in &edits.mounts {
            spec.mounts.retain(|mount| mount.destination != bind.container_path);
            spec.mounts.push(bind.mount());
        }
        for named in &edits.hooks {
            let hooks = spec.hooks.get_or_insert_default();
            stage(hooks, &named.hook_name)?.push(named.hook.clone());
        }
    }
    if all.iter().any(|edits| !edits.mounts.is_empty()) {
        // Outer before inner; `sort_by_key` leaves others in their order.
        spec.mounts.sort_by_key(|mount| mount.destination.components().count());
    }
    Ok(())
}

fn set(environment: &mut Vec<String>, entry: &str) {
    let name = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
    match environment.iter_mut().find(|known| name(known) == name(entry)) {
        Some(known) => entry.clone_into(known),
        None => environment.push(entry.to_owned()),
    }
}

fn stage<'a>(hooks: &'a mut Hooks, name: &str) -> Result<&'a mut Vec<Hook>> {
    Ok(match name {
        "prestart" => &mut hooks.prestart,
        "createRuntime" => &mut hooks.create_runtime,
        "createContainer" => &mut hooks.create_container,
        "startContainer" => &mut hooks.start_container,
        "poststart" => &mut hooks.poststart,
        "poststop" => &mut hooks.poststop,
        other => return Err(failed(format!("unknown hook {other:?}"))),
    })
}

impl Node {
    /// The node, in place of another of the same path, and the right to use it.
    fn add(&self, spec: &mut Spec) -> Result<()> {
        let device = self.device()?;
        let letters = if self.permissions == "none" { "" } else { access(&self.permissions)? };
        let Some(linux) = &mut spec.linux else { return Ok(()) };
        let kind = match device.kind {
            DeviceKind::Block => "b",
            DeviceKind::Character | DeviceKind::Unbuffered => "c",
            DeviceKind::Fifo => "",
        };
        if !kind.is_empty() && !letters.is_empty() {
            linux.resources.get_or_insert_default().devices.push(DeviceRule {
                allow: true,
                kind: kind.into(),
                major: Some(device.major),
                minor: Some(device.minor),
                access: letters.to_owned(),
            });
        }
        linux.devices.retain(|known| known.path != device.path);
        linux.devices.push(device);
        Ok(())
    }

    /// What the file does not say is read from the host's node.
    fn device(&self) -> Result<Device> {
        let kind = match self.kind.as_str() {
            "" => None,
            "b" => Some(DeviceKind::Block),
            "c" => Some(DeviceKind::Character),
            "u" => Some(DeviceKind::Unbuffered),
            "p" => Some(DeviceKind::Fifo),
            other => return Err(failed(format!("unknown type {other:?} of device {}", self.path.display()))),
        };
        let said = Device {
            path: self.path.clone(),
            kind: kind.unwrap_or(DeviceKind::Character),
            major: self.major.unwrap_or_default(),
            minor: self.minor.unwrap_or_default(),
            file_mode: self.file_mode,
            uid: self.uid,
            gid: self.gid,
        };
        if kind == Some(DeviceKind::Fifo) || kind.is_some() && self.major.is_some() {
            return Ok(said);
        }
        let path = self.host_path.as_ref().unwrap_or(&self.path);
        let metadata = fs::metadata(path).map_err(|error| failed(format!("{}: {error}", path.display())))?;
        let found = node(&self.path, &metadata)
            .ok_or_else(|| failed(format!("{}: not a device node", path.display())))?;
        if kind.is_some_and(|kind| kind != found.kind) {
            return Err(failed(format!("{} has another type than its file says", path.display())));
        }
        Ok(Device {
            kind: found.kind,
            major: found.major,
            minor: found.minor,
            file_mode: self.file_mode.or(found.file_mode),
            ..said
        })
    }
}

impl Bind {
    fn mount(&self) -> Mount {
        let bound = self.options.iter().any(|option| option == "bind" || option == "rbind");
        let default = if bound || self.kind.is_empty() { "bind" } else { self.kind.as_str() };
        let mut options = self.options.clone();
        if default == "bind" && !bound {
            options.insert(0, "rbind".into());
        }
        Mount {
            destination: self.container_path.clone(),
            kind: default.into(),
            source: Some(self.host_path.clone()),
            options,
            ..Mount::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use oci::runtime::{Linux, Process};

    use super::*;

    fn applied(text: &str) -> Result<Spec> {
        let mut spec = Spec {
            process: Some(Process { env: vec!["A=1".into()], ..Process::default() }),
            linux: Some(Linux::default()),
            ..Spec::default()
        };
        apply(&[serde_json::from_str(text).unwrap()], &mut spec)?;
        Ok(spec)
    }

    #[test]
    fn all_kinds_of_edits() {
        let spec = applied(
            r#"{"env":["A=2","B=3"],
                "deviceNodes":[{"path":"/dev/mine","hostPath":"/dev/null","permissions":"rw"},
                               {"path":"/dev/said","type":"b","major":7,"minor":9}],
                "mounts":[{"hostPath":"/usr/lib/x.so","containerPath":"/usr/lib/x.so","options":["ro","nosuid"]}],
                "hooks":[{"hookName":"createContainer","path":"/bin/true","args":["true"]}],
                "additionalGids":[0,44]}"#,
        )
        .unwrap();
        let process = spec.process.unwrap();
        assert_eq!((process.env.join(" "), process.user.additional_gids), ("A=2 B=3".to_owned(), vec![44]));
        let linux = spec.linux.unwrap();
        let numbers: Vec<_> = linux.devices.iter().map(|one| (one.kind, one.major, one.minor)).collect();
        assert_eq!(numbers, [(DeviceKind::Character, 1, 3), (DeviceKind::Block, 7, 9)]);
        let access: Vec<String> =
            linux.resources.unwrap().devices.into_iter().map(|rule| rule.access).collect();
        assert_eq!(access, ["rw", "rwm"]);
        assert_eq!(spec.mounts[0].options, ["rbind", "ro", "nosuid"]);
        assert_eq!(spec.hooks.unwrap().create_container[0].args, ["true"]);
    }

    #[test]
    fn what_cannot_be_done_is_refused() {
        for text in [
            r#"{"deviceNodes":[{"path":"/dev/nothing-there"}]}"#,
            r#"{"deviceNodes":[{"path":"/etc/passwd"}]}"#,
            r#"{"hooks":[{"hookName":"later","path":"/bin/true"}]}"#,
            r#"{"netDevices":[{"hostInterfaceName":"eth0"}]}"#,
        ] {
            let error = applied(text).unwrap_err();
            assert!(error.message().starts_with("CDI device injection failed: "), "{error}");
        }
    }
}
