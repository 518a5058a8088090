//! The whole specification, for containers that ask for little and for much.

use std::collections::BTreeSet;

use api::container::HostConfig;
use oci::runtime::{Mount, NamespaceKind, SeccompAction, Spec};

use super::*;
use crate::container::test_record;
use crate::host::Cgroups;

fn host() -> Host {
    let capabilities: BTreeSet<String> = linux::credentials::capability_names().collect();
    Host {
        kernel: "6.1.0".into(),
        kernel_version: (6, 1),
        architecture: "amd64",
        machine: "x86_64",
        hostname: "harbour".into(),
        operating_system: "Linux".into(),
        os_version: String::new(),
        cpus: 2,
        memory: 1 << 30,
        cgroups: Cgroups { version: 2, memory: true, swap: true, ..Cgroups::default() },
        capabilities,
        seccomp: true,
        selinux: false,
        apparmor: false,
        built: String::new(),
        boot: "boot".into(),
    }
}

fn container(change: impl FnOnce(&mut Record)) -> Record {
    let mut record = test_record("web");
    record.config.hostname = "web".into();
    record.host = HostConfig {
        network_mode: "bridge".into(),
        ipc_mode: "private".into(),
        cgroupns_mode: "private".into(),
        shm_size: 64 << 20,
        ..HostConfig::default()
    };
    change(&mut record);
    record
}

fn generated(record: &Record, bound: &Bound) -> Spec {
    let config = Config::new("/data", "/exec");
    let host = host();
    let file = |name: &str| PathBuf::from("/data").join(name);
    generate(&Input {
        record,
        config: &config,
        host: &host,
        identity: Identity { uid: 0, gid: 0, groups: vec![0, 10] },
        bound,
        shared: namespaces::Shared::default(),
        users: None,
        files: [
            ("/etc/resolv.conf", file("resolv.conf")),
            ("/etc/hostname", file("hostname")),
            ("/etc/hosts", file("hosts")),
        ],
        cgroup: "/wharf/id".into(),
        init: "/exec/docker-init".into(),
        devices: devices::find(&record.host).unwrap(),
        edits: Vec::new(),
        seccomp: profile(&config, record).unwrap(),
        linked: Vec::new(),
    })
    .unwrap()
}

fn places(spec: &Spec) -> Vec<&str> {
    spec.mounts.iter().map(|mount| mount.destination.to_str().unwrap()).collect()
}

#[test]
fn a_container_that_asks_for_nothing() {
    let record = container(|_| {});
    let spec = generated(&record, &Bound::default());
    let process = spec.process.as_ref().unwrap();
    assert_eq!(process.args, ["sh"]);
    assert_eq!(process.cwd, "/");
    assert_eq!(
        process.env,
        ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOSTNAME=web"]
    );
    assert_eq!(process.user.additional_gids, [0, 10]);
    assert_eq!(process.capabilities.as_ref().unwrap().effective.len(), 14);
    assert_eq!(
        places(&spec),
        [
            "/proc",
            "/dev",
            "/dev/pts",
            "/sys",
            "/sys/fs/cgroup",
            "/dev/mqueue",
            "/dev/shm",
            "/etc/resolv.conf",
            "/etc/hostname",
            "/etc/hosts"
        ]
    );
    let linux = spec.linux.as_ref().unwrap();
    let kinds: Vec<NamespaceKind> = linux.namespaces.iter().map(|namespace| namespace.kind).collect();
    assert_eq!(
        kinds,
        [
            NamespaceKind::Mount,
            NamespaceKind::Network,
            NamespaceKind::Uts,
            NamespaceKind::Pid,
            NamespaceKind::Ipc,
            NamespaceKind::Cgroup
        ]
    );
    assert_eq!(linux.sysctl["net.ipv4.ip_unprivileged_port_start"], "0");
    assert_eq!(linux.masked_paths.len(), DEFAULT_MASKED.len());
    assert_eq!(linux.seccomp.as_ref().unwrap().default_action, Some(SeccompAction::Errno));
    assert!(!linux.resources.as_ref().unwrap().devices[0].allow);
}

#[test]
fn a_privileged_container_hides_nothing() {
    let record = container(|record| record.host.privileged = true);
    let spec = generated(&record, &Bound::default());
    let linux = spec.linux.unwrap();
    assert!(linux.seccomp.is_none() && linux.masked_paths.is_empty() && linux.readonly_paths.is_empty());
    assert!(linux.resources.unwrap().devices[0].allow);
    let all = linux::credentials::capability_names().count();
    assert_eq!(spec.process.unwrap().capabilities.unwrap().bounding.len(), all);
    let sys = spec.mounts.iter().find(|mount| mount.destination.as_path() == "/sys").unwrap();
    assert!(sys.options.contains(&"rw".to_owned()));
}

#[test]
fn who_shares_the_hosts_namespaces_gets_none() {
    let record = container(|record| {
        for mode in [&mut record.host.network_mode, &mut record.host.pid_mode, &mut record.host.uts_mode] {
            *mode = "host".into();
        }
        record.host.ipc_mode = "host".into();
        record.host.cgroupns_mode = "host".into();
    });
    let spec = generated(&record, &Bound::default());
    let linux = spec.linux.unwrap();
    assert_eq!(linux.namespaces.len(), 1);
    assert!(linux.sysctl.is_empty());
    assert_eq!(spec.hostname, "");
    let shm = spec.mounts.iter().find(|mount| mount.destination.as_path() == "/dev/shm").unwrap();
    assert_eq!(shm.kind, "bind");
}

#[test]
fn own_mounts_replace_and_stand_outer_before_inner() {
    let bound = Bound {
        mounts: ["/data/deep/er", "/data", "/etc/hosts", "/proc/x"]
            .map(|place| Mount {
                destination: place.into(),
                kind: "bind".into(),
                source: Some("/src".into()),
                ..Mount::default()
            })
            .to_vec(),
        shm: None,
    };
    let record = container(|record| {
        record.host.tmpfs.insert("/run".into(), "size=1m".into());
        record.host.readonly_rootfs = true;
    });
    let spec = generated(&record, &bound);
    let all = places(&spec);
    assert_eq!(all.iter().filter(|place| **place == "/etc/hosts").count(), 1);
    // The engine's own files stand behind all of them.
    assert_eq!(
        &all[all.len() - 7..],
        ["/data", "/run", "/etc/hosts", "/proc/x", "/data/deep/er", "/etc/resolv.conf", "/etc/hostname"]
    );
    let hostname = spec.mounts.iter().find(|mount| mount.destination.as_path() == "/etc/hostname").unwrap();
    assert!(hostname.options.contains(&"ro".to_owned()));
    assert!(spec.root.unwrap().readonly);
}

#[test]
fn init_comes_first_and_is_mounted_read_only() {
    let record = container(|record| record.host.init = Some(true));
    let spec = generated(&record, &Bound::default());
    assert_eq!(spec.process.unwrap().args, ["/sbin/docker-init", "--", "sh"]);
    let mount = spec.mounts.last().unwrap();
    assert_eq!(mount.source.as_deref(), Some(std::path::Path::new("/exec/docker-init")));
    assert!(mount.options.contains(&"ro".to_owned()));
}

#[test]
fn security_options_choose_the_filter() {
    let unconfined = container(|record| record.host.security_opt = Some(vec!["seccomp=unconfined".into()]));
    assert!(generated(&unconfined, &Bound::default()).linux.unwrap().seccomp.is_none());
    let own = container(|record| {
        record.host.security_opt = Some(vec!["seccomp={\"defaultAction\":\"SCMP_ACT_LOG\"}".into()]);
    });
    assert_eq!(
        generated(&own, &Bound::default()).linux.unwrap().seccomp.unwrap().default_action,
        Some(SeccompAction::Log)
    );
}

#[test]
fn engines_with_other_roots_have_other_cgroups() {
    let record = container(|_| {});
    let path = |config: &Config| cgroup_path(config, &record);
    assert_eq!(path(&Config::new("/data", "/run/wharf")), format!("/wharf/{}", record.id));
    let other = path(&Config::new("/data", "/tmp/exec"));
    assert!(other.starts_with("/wharf-") && other.len() == "/wharf-01234567/".len() + 64, "{other}");
    let climbing = container(|record| record.host.resources.cgroup_parent = "../a/./b/../c/".into());
    let config = Config::new("/data", "/run/wharf");
    assert_eq!(cgroup_path(&config, &climbing), format!("/a/c/{}", climbing.id));
    let mut systemd = Config::new("/data", "/run/wharf");
    systemd.cgroup.driver = shim::protocol::CgroupDriver::Systemd;
    assert_eq!(path(&systemd), format!("system.slice:docker:{}", record.id));
}
