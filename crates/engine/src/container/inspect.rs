//! Everything that is known of one container.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use api::container::{Config, DriverData, Inspect, MountPoint as Shown, NetworkSettings};
use api::network::EndpointSettings;

use super::record::{MountKind, MountPoint, Record};
use super::rootfs;
use crate::Engine;
use crate::error::Result;
use crate::networks;

/// How long an inspect waits for a container's owner to take in what its shim has reported.
const GLANCE: Duration = Duration::from_millis(50);

impl Engine {
    pub async fn container_inspect(&self, wanted: &str, size: bool) -> Result<Inspect> {
        let container = self.container(wanted)?;
        if container.record().state.is_running() {
            // A client that the shim has just told of the end asks for the exit code next. A busy owner is not waited
            // for: then the newest view is what there is.
            let _ = tokio::time::timeout(GLANCE, container.settled()).await;
        }
        let record = container.record();
        let mut shown = self.describe(&record);
        if size {
            let measured = self.blocking(move |engine| sizes(engine, &record)).await?;
            (shown.size_rw, shown.size_root_fs) = (Some(measured.0), Some(measured.1));
        }
        Ok(shown)
    }

    /// The same before containers are chosen by whether they run.
    pub(super) async fn settle_running(&self) {
        let settle = async {
            for container in self.shared().containers.handles() {
                if container.record().state.is_running() {
                    container.settled().await;
                }
            }
        };
        let _ = tokio::time::timeout(GLANCE, settle).await;
    }

    fn describe(&self, record: &Record) -> Inspect {
        let record = &*as_shown(record);
        let paths = self.paths();
        let id = record.id.as_str();
        let path = |path: std::path::PathBuf| path.to_string_lossy().into_owned();
        let execs = self.shared().execs.listed(&record.id);
        Inspect {
            id: id.to_owned(),
            created: record.created.clone(),
            path: record.path.clone(),
            args: record.args.clone(),
            state: record.state.describe(),
            image: record.image.clone(),
            resolv_conf_path: path(paths.resolv_conf(id)),
            hostname_path: path(paths.hostname(id)),
            hosts_path: path(paths.hosts(id)),
            log_path: super::logs::shown_path(paths, record).map(path).unwrap_or_default(),
            name: record.slashed(),
            restart_count: record.restart_count.into(),
            driver: "overlay2".into(),
            platform: "linux".into(),
            app_armor_profile: crate::spec::apparmor::shown(record, &self.shared().host).to_owned(),
            exec_ids: Some(execs).filter(|ids| !ids.is_empty()),
            host_config: self.host_config(record),
            graph_driver: self.layers(record),
            mounts: record.mounts.iter().map(mount_point).collect(),
            config: config(record),
            network_settings: network_settings(record),
            ..Inspect::default()
        }
    }

    fn host_config(&self, record: &Record) -> api::container::HostConfig {
        let mut host = record.host.clone();
        for link in host.links.iter_mut().flatten() {
            *link = crate::spec::shown_link(self, record, link);
        }
        host
    }

    /// Where the files are, as Docker's overlay2 driver tells it. The stack of them is mounted in the container alone, and that
    /// is where it is found while there is a process; before and after, Docker names a directory without anything in it, too.
    fn layers(&self, record: &Record) -> DriverData {
        let id = record.id.as_str();
        let merged = |upper: &std::path::Path| match record.state.run() {
            Some(run) if run.pid > 0 => format!("/proc/{}/root", run.pid),
            _ => upper.with_file_name("merged").to_string_lossy().into_owned(),
        };
        let data = self.images().snapshots().get(id).ok().map(|snapshot| {
            let text = |path: &std::path::Path| path.to_string_lossy().into_owned();
            let lowers: Vec<String> = snapshot.lowers.iter().map(|path| text(path)).collect();
            BTreeMap::from([
                ("ID".to_owned(), id.to_owned()),
                ("LowerDir".to_owned(), lowers.join(":")),
                ("MergedDir".to_owned(), merged(&snapshot.upper)),
                ("UpperDir".to_owned(), text(&snapshot.upper)),
                ("WorkDir".to_owned(), text(&snapshot.work)),
            ])
        });
        DriverData { data, name: "overlay2".into() }
    }
}

/// A container that waits for its next run keeps its place on its networks, but shows none, as in Docker: nobody answers
/// there.
pub(super) fn as_shown(record: &Record) -> Cow<'_, Record> {
    if !record.state.is_restarting() {
        return Cow::Borrowed(record);
    }
    let mut shown = record.clone();
    networks::hide(&mut shown);
    Cow::Owned(shown)
}

/// Bytes that the container has written, and those with its image's.
pub(super) fn sizes(engine: &Engine, record: &Record) -> Result<(i64, i64)> {
    let own = rootfs::written(engine, record.id.as_str())?;
    let image =
        record.image.parse().ok().and_then(|id| engine.images().get(&id)).map_or(0, |image| image.size);
    let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    Ok((signed(own), signed(own.saturating_add(image))))
}

pub(super) fn mount_point(point: &MountPoint) -> Shown {
    let common = Shown {
        destination: point.destination.clone(),
        mode: point.mode.clone(),
        rw: !point.read_only,
        ..Shown::default()
    };
    match &point.kind {
        MountKind::Bind { source, propagation, .. } => Shown {
            kind: "bind".into(),
            source: source.to_string_lossy().into_owned(),
            propagation: propagation.clone(),
            ..common
        },
        MountKind::Volume { name, driver, source, propagation, .. } => Shown {
            kind: "volume".into(),
            name: name.clone(),
            source: source.to_string_lossy().into_owned(),
            driver: driver.clone(),
            propagation: propagation.clone(),
            ..common
        },
        MountKind::Tmpfs { .. } => Shown { kind: "tmpfs".into(), ..common },
        MountKind::Image { reference, id, .. } => Shown {
            kind: "image".into(),
            name: reference.clone(),
            source: id.clone(),
            propagation: "rprivate".into(),
            ..common
        },
    }
}

/// The configuration; clients look here for the hardware address that was asked for on the main network.
fn config(record: &Record) -> Config {
    let mut config = record.config.clone();
    let main = record.network.endpoints.get(&record.host.network_mode);
    if let Some(address) = main.and_then(networks::wished_mac) {
        address.clone_into(&mut config.mac_address);
    }
    config
}

/// What a container has on its networks, or will have: once it has run, none that has ended shows the hardware address that
/// was asked for.
pub(super) fn endpoints(record: &Record) -> BTreeMap<String, EndpointSettings> {
    let mut endpoints = record.network.endpoints.clone();
    if record.started_before && !record.state.is_running() {
        endpoints.values_mut().for_each(|settings| settings.mac_address.clear());
    }
    endpoints
}

/// The endpoints, the ports, and for old clients the default bridge's endpoint again.
fn network_settings(record: &Record) -> NetworkSettings {
    let network = &record.network;
    let networks = endpoints(record);
    let bridge = networks.get("bridge").cloned().unwrap_or_default();
    let running = record.state.is_running();
    NetworkSettings {
        sandbox_id: network.sandbox.clone(),
        sandbox_key: match record.state.run() {
            Some(run) if run.pid > 0 && !network.sandbox.is_empty() => format!("/proc/{}/ns/net", run.pid),
            _ => String::new(),
        },
        ports: Some(if running { network.ports.clone() } else { BTreeMap::new() }),
        endpoint_id: bridge.endpoint_id,
        gateway: bridge.gateway,
        global_ipv6_address: bridge.global_ipv6_address,
        global_ipv6_prefix_len: bridge.global_ipv6_prefix_len,
        ip_address: bridge.ip_address,
        ip_prefix_len: bridge.ip_prefix_len,
        ipv6_gateway: bridge.ipv6_gateway,
        mac_address: bridge.mac_address,
        networks,
        ..NetworkSettings::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::record::tests::record;
    use crate::container::state::{Run, State};

    #[test]
    fn who_waits_for_its_next_run_shows_no_address() {
        let mut record = record("web");
        let endpoint = EndpointSettings { ip_address: "172.17.0.2".into(), ..Default::default() };
        record.network.endpoints.insert("bridge".into(), endpoint);
        record.network.sandbox = "abc".into();
        let address = |record: &Record| network_settings(&as_shown(record)).ip_address;
        assert_eq!(address(&record), "172.17.0.2");
        let run = Run::starting("one".into(), false, &record.state);
        let ended = run.lost(1, crate::clock::NEVER.into());
        record.state = State::Restarting { run, ended };
        assert_eq!(address(&record), "");
        assert_eq!(network_settings(&as_shown(&record)).sandbox_key, "");
    }

    #[test]
    fn a_hardware_address_that_was_asked_for_is_shown_until_the_first_run_has_ended() {
        let mut record = record("web");
        let endpoint = EndpointSettings { mac_address: "02:00:00:00:00:01".into(), ..Default::default() };
        record.network.endpoints.insert("bridge".into(), endpoint);
        let address = |record: &Record| network_settings(record).networks["bridge"].mac_address.clone();
        assert_eq!(address(&record), "02:00:00:00:00:01");
        record.started_before = true;
        let run = Run::starting("one".into(), false, &record.state);
        record.state = State::Running(run.clone());
        assert_eq!(address(&record), "02:00:00:00:00:01");
        record.state = State::Exited(run.lost(1, crate::clock::NEVER.into()));
        assert_eq!(address(&record), "");
        assert_eq!(record.network.endpoints["bridge"].mac_address, "02:00:00:00:00:01");
    }

    #[test]
    fn the_default_bridge_is_shown_twice() {
        let mut record = record("web");
        let endpoint = EndpointSettings { ip_address: "172.17.0.2".into(), ..Default::default() };
        record.network.endpoints.insert("bridge".into(), endpoint);
        let shown = network_settings(&record);
        assert_eq!(shown.ip_address, "172.17.0.2");
        assert_eq!(shown.ports, Some(BTreeMap::new()));
    }
}
