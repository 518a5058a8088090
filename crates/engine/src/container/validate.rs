//! What a container may not ask for, in Docker's words. Each check looks at one group of fields; none of them looks at
//! the host but [`limits`], which asks what the kernel can enforce.

mod limits;

use api::container::{Config, HostConfig, RestartPolicy};
use api::network::EndpointSettings;
use shim::protocol::CgroupDriver;
use std::collections::BTreeMap;

use crate::config::is_slice;
use crate::error::{Error, Result};
use crate::spec::{check_sysctl, other};
pub(super) use limits::resources;

fn refuse<T>(message: impl Into<String>) -> Result<T> {
    Err(Error::invalid(message))
}

pub(super) fn name(name: &str) -> Result<&str> {
    let bare = name.strip_prefix('/').unwrap_or(name);
    let mut characters = bare.chars();
    let valid = bare.len() >= 2
        && characters.next().is_some_and(|first| first.is_ascii_alphanumeric())
        && characters.all(|character| character.is_ascii_alphanumeric() || "_.-".contains(character));
    if valid {
        return Ok(bare);
    }
    refuse(format!("Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"))
}

/// The portable half as its creator wrote it.
pub(super) fn config(config: &Config) -> Result<()> {
    working_directory(config)?;
    if !config.stop_signal.is_empty() && linux::signal::parse_wish(&config.stop_signal).is_none() {
        return refuse(format!("invalid signal: {}", config.stop_signal));
    }
    if let Some(entry) = config.env.iter().flatten().find(|entry| entry.is_empty() || entry.starts_with('='))
    {
        return refuse(format!("invalid environment variable: {entry}"));
    }
    if config.hostname.len() > 64 {
        return refuse(format!("hostname \"{}\" is too long (maximum 64 bytes)", config.hostname));
    }
    super::health::validate(config)
}

/// The same after the image's has been merged in. Who runs an image cannot mend it: only what no start could make sense of
/// is refused.
pub(super) fn merged(config: &Config) -> Result<()> {
    working_directory(config)?;
    if let Some(entry) = config.env.iter().flatten().find(|entry| entry.starts_with('=')) {
        return refuse(format!("invalid environment variable: {entry}"));
    }
    if config.env.iter().flatten().any(|entry| entry.contains('\0')) {
        return refuse("invalid environment variable: it contains a NUL byte");
    }
    super::health::validate_labels(config)
}

fn working_directory(config: &Config) -> Result<()> {
    let directory = &config.working_dir;
    if directory.is_empty() || directory.starts_with('/') {
        return Ok(());
    }
    refuse(format!("the working directory '{directory}' is invalid, it needs to be an absolute path"))
}

/// `80`, `80/tcp`, `8000-8010/udp`.
pub(crate) fn exposed(text: &str) -> Result<()> {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let valid = matches!((first.parse::<u16>(), last.parse::<u16>()), (Ok(first), Ok(last)) if first > 0 && first <= last);
    if !valid {
        return refuse(format!("invalid port specification: {text:?}"));
    }
    if ["tcp", "udp", "sctp"].contains(&protocol.to_ascii_lowercase().as_str()) {
        Ok(())
    } else {
        refuse(format!("invalid proto: {protocol}"))
    }
}

/// The host's half, after its defaults have been filled in.
pub(super) fn host(config: &Config, host: &HostConfig) -> Result<()> {
    if host.shm_size < 0 {
        return refuse("SHM size can not be less than 0");
    }
    if !(-1000..=1000).contains(&host.oom_score_adj) {
        return refuse(format!(
            "Invalid value {}, range for oom score adj is [-1000, 1000]",
            host.oom_score_adj
        ));
    }
    modes(host)?;
    if host.auto_remove && !["", "no"].contains(&host.restart_policy.name.as_str()) {
        return refuse("can't create 'AutoRemove' container with restart policy");
    }
    restart_policy(&host.restart_policy)?;
    network(config, host)?;
    for key in host.sysctls.keys() {
        check_sysctl(key)?;
    }
    for entry in host.extra_hosts.iter().flatten() {
        let Some((_, address)) = entry.split_once([':', '=']) else {
            return refuse(format!("bad format for add-host: {entry:?}"));
        };
        let bare = address.trim_matches(['[', ']']);
        if bare != "host-gateway" && bare.parse::<std::net::IpAddr>().is_err() {
            return refuse(format!("invalid IP address in add-host: {address:?}"));
        }
    }
    for server in host.dns.iter().flatten() {
        if server.parse::<std::net::IpAddr>().is_err() {
            return refuse(format!("bad format for dns: {server:?}"));
        }
    }
    for port in host.port_bindings.iter().flatten().map(|(port, _)| port) {
        exposed(port)?;
        // Clients publish a range port by port.
        let ports = port.split('/').next().unwrap_or_default();
        if ports.contains('-') {
            return refuse(format!("invalid port specification: {ports:?}"));
        }
    }
    if host.annotations.contains_key("") {
        return refuse("invalid Annotations: the empty string is not permitted as an annotation key");
    }
    for link in host.links.iter().flatten() {
        if link.split(':').count() > 2 {
            return refuse(format!("bad format for links: {link}"));
        }
    }
    unsupported(host)
}

/// Wishes that cannot be fulfilled are refused: a flag that is ignored is worse than none.
fn unsupported(host: &HostConfig) -> Result<()> {
    if let Some(unknown) = host.storage_opt.keys().find(|key| *key != "size") {
        return refuse(format!("Unknown option {unknown}"));
    }
    if !["", "default"].contains(&host.isolation.to_ascii_lowercase().as_str()) {
        return refuse(format!("invalid isolation ({}): linux only supports 'default'", host.isolation));
    }
    if !host.cgroup.is_empty() {
        return refuse(format!("invalid cgroup: {:?} is not supported", host.cgroup));
    }
    for (said, what) in [
        (host.resources.io_maximum_bandwidth, "QoS maximum bandwidth"),
        (host.resources.io_maximum_iops, "QoS maximum IOPs"),
    ] {
        if said != 0 {
            return refuse(format!("invalid option: {what} configuration is not supported on linux"));
        }
    }
    Ok(())
}

/// systemd keeps cgroups in slices alone.
pub(super) fn cgroup_parent(host: &HostConfig, driver: CgroupDriver) -> Result<()> {
    let parent = host.resources.cgroup_parent.as_str();
    if driver == CgroupDriver::Systemd && !parent.is_empty() && !is_slice(parent) {
        return refuse("cgroup-parent for systemd cgroup should be a valid slice named as \"xxx.slice\"");
    }
    Ok(())
}

fn modes(host: &HostConfig) -> Result<()> {
    let container = |mode: &str| other(mode).is_some();
    let ipc = host.ipc_mode.as_str();
    if !["", "none", "private", "shareable", "host"].contains(&ipc) && !container(ipc) {
        return refuse(format!("invalid IPC mode: {ipc}"));
    }
    let pid = host.pid_mode.as_str();
    if !["", "host"].contains(&pid) && !container(pid) {
        return refuse(format!("invalid PID mode: {pid}"));
    }
    if !["", "host"].contains(&host.uts_mode.as_str()) {
        return refuse(format!("invalid UTS mode: {}", host.uts_mode));
    }
    if !["", "private", "host"].contains(&host.cgroupns_mode.as_str()) {
        return refuse(format!("invalid cgroup namespace mode: {}", host.cgroupns_mode));
    }
    Ok(())
}

pub(super) fn restart_policy(policy: &RestartPolicy) -> Result<()> {
    match policy.name.as_str() {
        "" | "no" | "always" | "unless-stopped" => {
            if policy.maximum_retry_count != 0 {
                let hint = if policy.maximum_retry_count < 0 { " and cannot be negative" } else { "" };
                return refuse(format!(
                    "invalid restart policy: maximum retry count can only be used with 'on-failure'{hint}"
                ));
            }
        }
        "on-failure" if policy.maximum_retry_count < 0 => {
            return refuse("invalid restart policy: maximum retry count cannot be negative");
        }
        "on-failure" => {}
        other => {
            return refuse(format!(
                "invalid restart policy: unknown policy '{other}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
            ));
        }
    }
    Ok(())
}

fn network(config: &Config, host: &HostConfig) -> Result<()> {
    let mode = host.network_mode.as_str();
    let some = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
    if host.uts_mode == "host" && !config.hostname.is_empty() {
        return refuse("conflicting options: hostname and the UTS mode");
    }
    if mode == "host" {
        if some(&host.links) {
            return refuse(
                "conflicting options: host type networking can't be used with links. This would result in undefined behavior",
            );
        }
        if !config.mac_address.is_empty() {
            return refuse("conflicting options: mac-address and the network mode");
        }
        return Ok(());
    }
    let Some(target) = mode.strip_prefix("container:").or((mode == "container").then_some("")) else {
        return Ok(());
    };
    if target.is_empty() {
        return refuse("invalid network mode: invalid container format container:<name|id>");
    }
    for (wrong, message) in [
        (!config.hostname.is_empty(), "hostname and the network mode"),
        (
            some(&host.links),
            "container type network can't be used with links. This would result in undefined behavior",
        ),
        (some(&host.dns), "dns and the network mode"),
        (some(&host.extra_hosts), "custom host-to-IP mapping and the network mode"),
        (!config.mac_address.is_empty(), "mac-address and the network mode"),
        (
            host.port_bindings.as_ref().is_some_and(|ports| !ports.is_empty()) || host.publish_all_ports,
            "port publishing and the container type network mode",
        ),
        (!config.exposed_ports.is_empty(), "port exposing and the container type network mode"),
    ] {
        if wrong {
            return refuse(format!("conflicting options: {message}"));
        }
    }
    Ok(())
}

/// More than one network with one that allows no other.
pub(super) fn endpoints(host: &HostConfig, endpoints: &BTreeMap<String, EndpointSettings>) -> Result<()> {
    if endpoints.len() < 2 {
        return Ok(());
    }
    if host.network_mode == "host" || other(&host.network_mode).is_some() {
        return refuse(
            "container sharing network namespace with another container or host cannot be connected to any other network",
        );
    }
    if host.network_mode == "none" || endpoints.contains_key("none") {
        return refuse(
            "container cannot be connected to multiple networks with one of the networks in private (none) mode",
        );
    }
    if endpoints.contains_key("host") {
        return refuse(
            "cannot connect container to host network - container must be created in host network mode",
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(name("/web-1").unwrap(), "web-1");
        assert_eq!(
            name("a").unwrap_err().message(),
            "Invalid container name (a), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
        );
        assert!(name("-web").is_err() && name("we b").is_err() && name("").is_err());
    }

    #[test]
    fn modes_conflict() {
        let check = |change: fn(&mut Config, &mut HostConfig)| {
            let (mut config, mut wanted) = (Config::default(), HostConfig::default());
            change(&mut config, &mut wanted);
            host(&config, &wanted).unwrap_err().message().to_owned()
        };
        assert_eq!(check(|_, host| host.ipc_mode = "x".into()), "invalid IPC mode: x");
        assert_eq!(
            check(|config, host| {
                config.hostname = "h".into();
                host.network_mode = "container:web".into();
            }),
            "conflicting options: hostname and the network mode"
        );
        assert_eq!(
            check(|_, host| host.network_mode = "container:".into()),
            "invalid network mode: invalid container format container:<name|id>"
        );
        assert_eq!(
            check(|_, host| {
                host.auto_remove = true;
                host.restart_policy.name = "always".into();
            }),
            "can't create 'AutoRemove' container with restart policy"
        );
        assert_eq!(
            check(|_, host| host.port_bindings = Some([("80-81/tcp".to_owned(), None)].into())),
            "invalid port specification: \"80-81\""
        );
        assert!(
            check(|_, host| host.restart_policy.name = "often".into()).contains("unknown policy 'often'")
        );
    }
}
