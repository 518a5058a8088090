//! Which namespaces a container has for itself, which it shares and with whom, and what depends on that.

use std::collections::BTreeMap;
use std::path::PathBuf;

use api::container::SysctlOwner;
use linux::namespace::IdMaps;
use oci::runtime::{Namespace, NamespaceKind};

use crate::Engine;
use crate::container::{Record, State, users_beside};
use crate::error::{Error, Result};

/// Paths of namespaces that other containers own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Shared {
    pub(super) ipc: Option<PathBuf>,
    pub(super) pid: Option<PathBuf>,
    pub(super) network: Option<PathBuf>,
    /// `/dev/shm` of the container whose IPC namespace is shared.
    pub(super) shm: Option<PathBuf>,
}

/// The container that a mode names: `container:<name or id>`.
pub(crate) fn other(mode: &str) -> Option<&str> {
    mode.strip_prefix("container:").filter(|name| !name.is_empty())
}

/// Finds the processes whose namespaces are shared.
pub(super) fn look_up(engine: &Engine, record: &Record) -> Result<Shared> {
    let mut shared = Shared::default();
    if let Some(name) = other(&record.host.ipc_mode) {
        let owner = engine.container(name)?.record();
        if owner.host.ipc_mode != "shareable" {
            return Err(Error::invalid(format!(
                "can't join IPC of container {}: non-shareable IPC (hint: use IpcMode:shareable for the donor container)",
                owner.id
            )));
        }
        shared.ipc = Some(namespace_of(&owner, "IPC", "ipc")?);
        shared.shm = Some(engine.paths().shm(owner.id.as_str()));
    }
    if let Some(name) = other(&record.host.pid_mode) {
        shared.pid = Some(namespace_of(&engine.container(name)?.record(), "PID", "pid")?);
    }
    if let Some(name) = other(&record.host.network_mode) {
        let owner = engine.container(name);
        let owner = owner.map_err(|error| error.within("joining network namespace of container"))?;
        shared.network = Some(namespace_of(&owner.record(), "network", "net")?);
    }
    Ok(shared)
}

fn namespace_of(owner: &Record, what: &str, file: &str) -> Result<PathBuf> {
    match &owner.state {
        State::Running(run) if run.pid > 0 => Ok(PathBuf::from(format!("/proc/{}/ns/{file}", run.pid))),
        State::Restarting { .. } => Err(Error::conflict(format!(
            "Container {} is restarting, wait until the container is running",
            owner.id
        ))),
        state if what == "network" => Err(Error::conflict(format!(
            "cannot join network namespace of a non running container: container {} is {}",
            owner.name,
            state.status()
        ))),
        _ => Err(Error::conflict(format!(
            "failed to join {what} namespace: container {} is not running",
            owner.id
        ))),
    }
}

/// The user namespaces of the containers whose namespaces are shared.
pub(crate) fn joined_users(engine: &Engine, record: &Record) -> Result<Vec<PathBuf>> {
    let shared = look_up(engine, record)?;
    Ok(users_beside([&shared.network, &shared.pid, &shared.ipc].into_iter().flatten()))
}

pub(super) fn list(record: &Record, shared: &Shared, has_users: bool) -> Vec<Namespace> {
    let host = &record.host;
    let mut all = vec![Namespace { kind: NamespaceKind::Mount, path: None }];
    if has_users {
        // The shim is handed it.
        all.push(Namespace { kind: NamespaceKind::User, path: None });
    }
    let mut add = |kind, mode: &str, path: &Option<PathBuf>| {
        if mode != "host" {
            all.push(Namespace { kind, path: path.clone() });
        }
    };
    add(NamespaceKind::Network, &host.network_mode, &shared.network);
    add(NamespaceKind::Uts, &host.uts_mode, &None);
    add(NamespaceKind::Pid, &host.pid_mode, &shared.pid);
    add(NamespaceKind::Ipc, &host.ipc_mode, &shared.ipc);
    add(NamespaceKind::Cgroup, &host.cgroupns_mode, &None);
    all
}

/// The name inside; with the host's UTS namespace there is none to set.
pub(super) fn hostname(record: &Record) -> String {
    if record.host.uts_mode == "host" { String::new() } else { record.config.hostname.clone() }
}

/// What `HOSTNAME` says.
pub(super) fn shown_hostname(record: &Record) -> &str {
    &record.config.hostname
}

/// Docker's defaults for an own network, then the container's wishes; only what a namespace confines is allowed.
pub(super) fn sysctls(record: &Record, users: Option<&IdMaps>) -> Result<BTreeMap<String, String>> {
    let host = &record.host;
    let mut all = BTreeMap::new();
    if host.network_mode != "host" && other(&host.network_mode).is_none() {
        all.insert("net.ipv4.ip_unprivileged_port_start".into(), "0".into());
        let last = users.map_or(i32::MAX as u32, last_group);
        all.insert("net.ipv4.ping_group_range".into(), format!("0 {last}"));
    }
    for (key, value) in &host.sysctls {
        confined_sysctl(key, host.network_mode == "host", host.ipc_mode == "host")?;
        all.insert(key.clone(), value.clone());
    }
    Ok(all)
}

/// The last of the groups from 0 on that a container has without a gap: the kernel takes no range with others in it.
fn last_group(users: &IdMaps) -> u32 {
    users.groups.iter().filter(|range| range.inside == 0).map(|range| range.count - 1).max().unwrap_or(0)
}

/// Whether some namespace confines it.
pub(crate) fn check_sysctl(key: &str) -> Result<()> {
    match SysctlOwner::of(key) {
        Some(_) => Ok(()),
        None => Err(Error::invalid(format!("sysctl \"{key}\" is not in a separate kernel namespace"))),
    }
}

/// Whether that namespace is the container's own. Docker leaves the question to runc, so it comes up at a start.
fn confined_sysctl(key: &str, host_network: bool, host_ipc: bool) -> Result<()> {
    let why = match SysctlOwner::of(key) {
        Some(SysctlOwner::Ipc) if host_ipc => "is not allowed in the hosts ipc namespace",
        Some(SysctlOwner::Network) if host_network => "not allowed in host network namespace",
        _ => return check_sysctl(key),
    };
    Err(Error::system(format!(
        "failed to create task for container: failed to create shim task: OCI runtime create failed: runc create failed: sysctl \"{key}\" {why}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sysctls_of_the_host_are_refused() {
        assert!(confined_sysctl("net.core.somaxconn", false, false).is_ok());
        assert!(confined_sysctl("net.core.somaxconn", true, false).is_err());
        assert!(confined_sysctl("kernel.sem", false, true).is_err());
        assert_eq!(
            check_sysctl("vm.swappiness").unwrap_err().message(),
            "sysctl \"vm.swappiness\" is not in a separate kernel namespace"
        );
    }
}
