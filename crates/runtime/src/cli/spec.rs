//! `spec` writes a configuration to start from; `features` says what this runtime can do.

use std::path::Path;

use runtime::{Error, Result};
use serde_json::{Value, json};

use super::Context;
use super::arguments::{Arguments, Flag};
use super::log::answer_with;

#[rustfmt::skip]
pub(super) const SPEC: &[Flag] = &[
    Flag::value("bundle", Some('b'), "path to the root of the bundle directory"),
    Flag::switch("rootless", None, "generate a configuration for a rootless container"),
];

pub(super) fn features(_: &Context, _: &Arguments) -> Result<u8> {
    let document = runtime::features::document();
    answer_with(&document).map(|()| 0)
}

pub(super) fn spec(_: &Context, arguments: &Arguments) -> Result<u8> {
    let directory = Path::new(arguments.path("bundle").unwrap_or("."));
    if let Err(error) = std::fs::metadata(directory) {
        return Err(Error::of_file("chdir", directory.display(), &error));
    }
    let path = directory.join("config.json");
    if path.exists() {
        return Err(Error::other("File config.json exists. Remove it first"));
    }
    let mut document = default();
    if !linux::cgroup::Layout::detect().is_ok_and(|layout| layout.is_unified()) {
        // On v1 containers have always seen their real place, and tools look for it.
        remove_namespace(&mut document, "cgroup");
    }
    if arguments.is_set("rootless") {
        make_rootless(&mut document);
    }
    // By way of the type, for the order of the specification.
    let spec: oci::runtime::Spec = serde_json::from_value(document).map_err(Error::other)?;
    let text = serde_json::to_string_pretty(&spec).map_err(Error::other)?;
    std::fs::write(&path, text + "\n").map_err(|error| Error::of_file("open", path.display(), &error))?;
    Ok(0)
}

fn mount(destination: &str, kind: &str, source: &str, options: &[&str]) -> Value {
    json!({ "destination": destination, "type": kind, "source": source, "options": options })
}

fn default() -> Value {
    let capabilities = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];
    json!({
        "ociVersion": oci::runtime::VERSION,
        "process": {
            "terminal": true,
            "user": { "uid": 0, "gid": 0 },
            "args": ["sh"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": { "bounding": capabilities, "effective": capabilities, "permitted": capabilities },
            "rlimits": [{ "type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024 }],
            "noNewPrivileges": true,
        },
        "root": { "path": "rootfs", "readonly": true },
        "hostname": "wharf",
        "mounts": [
            mount("/proc", "proc", "proc", &[]),
            mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
            mount("/dev/pts", "devpts", "devpts",
                &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
            mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
            mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
            mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
            mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]),
        ],
        "linux": {
            "resources": { "devices": [{ "allow": false, "access": "rwm" }] },
            "namespaces": [
                { "type": "pid" }, { "type": "network" }, { "type": "ipc" }, { "type": "uts" }, { "type": "mount" },
                { "type": "cgroup" },
            ],
            "maskedPaths": [
                "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
                "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi",
            ],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    })
}

fn remove_namespace(document: &mut Value, kind: &str) {
    if let Some(namespaces) = document["linux"]["namespaces"].as_array_mut() {
        namespaces.retain(|namespace| namespace["type"] != kind);
    }
}

/// One user, nothing that only root of the host could set up.
fn make_rootless(document: &mut Value) {
    let own = |id: u32| json!([{ "containerID": 0, "hostID": id, "size": 1 }]);
    let linux = &mut document["linux"];
    linux["uidMappings"] = own(linux::credentials::user());
    linux["gidMappings"] = own(linux::credentials::group());
    if let Some(fields) = linux.as_object_mut() {
        fields.remove("resources");
    }
    if let Some(namespaces) = linux["namespaces"].as_array_mut() {
        namespaces.push(json!({ "type": "user" }));
    }
    remove_namespace(document, "network");
    if let Some(mounts) = document["mounts"].as_array_mut() {
        // Only who owns the network namespace may mount sysfs.
        let host = mount("/sys", "none", "/sys", &["rbind", "nosuid", "noexec", "nodev", "ro"]);
        for mount in mounts.iter_mut().filter(|mount| mount["destination"] == "/sys") {
            *mount = host.clone();
        }
        for mount in mounts.iter_mut().filter(|mount| mount["type"] == "devpts") {
            // No group but ours is mapped.
            mount["options"] = json!(["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        for rootless in [false, true] {
            let mut document = default();
            if rootless {
                make_rootless(&mut document);
            }
            let spec: oci::runtime::Spec = serde_json::from_value(document).unwrap();
            assert_eq!(spec.linux.unwrap().uid_mappings.len(), usize::from(rootless));
        }
    }
}
