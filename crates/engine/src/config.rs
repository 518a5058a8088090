//! What an engine is told when it opens. The daemon parses flags and `daemon.json` into this; the defaults here are
//! dockerd's, so that a test may write `Config::new(data, exec)` and change what it is about.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use linux::namespace::IdMaps;
use shim::protocol::{CgroupDriver, Runtime};

/// Everything an engine is told from outside.
#[derive(Debug, Clone)]
pub struct Config {
    /// What survives a reboot (`--data-root`).
    pub data_root: PathBuf,
    /// What does not (`--exec-root`).
    pub exec_root: PathBuf,
    /// The `wharf-shim` binary.
    pub shim: PathBuf,
    /// The `wharf-tls` binary, which shims start.
    pub tls: PathBuf,
    /// Another binary for `/sbin/docker-init` under `--init` than our own.
    pub init: Option<PathBuf>,
    /// `key=value` labels of the engine itself, shown by info.
    pub labels: Vec<String>,
    pub debug: bool,
    pub experimental: bool,
    /// Other ids for containers than the host's (`--userns-remap`).
    pub remap: Option<Remap>,
    pub cgroup: Cgroup,
    pub container: Container,
    pub network: Network,
    pub registry: Registry,
    /// How a profile of AppArmor gets into the kernel; without, containers are not confined by profiles.
    pub load_profile: Option<LoadProfile>,
    /// Proxies the engine itself uses, shown by info with their credentials masked.
    pub proxies: Proxies,
}

/// Compiles a profile from its text and gives it to the kernel, or says why not. Blocking.
pub type LoadProfile = fn(&str) -> Result<(), String>;

/// Whose subordinate ids containers run under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remap {
    /// The user to whom they were given.
    pub user: String,
    pub maps: IdMaps,
}

/// Where containers' cgroups are made.
#[derive(Debug, Clone, Default)]
pub struct Cgroup {
    pub driver: CgroupDriver,
    /// `--cgroup-parent`; otherwise derived from the exec root.
    pub parent: Option<String>,
}

impl Cgroup {
    /// Where systemd runs the machine and the tree is v2 alone, nobody but systemd may arrange it
    /// (sd_booted(3) tells); everywhere else we do.
    pub fn usual_driver() -> CgroupDriver {
        let unified = linux::cgroup::Layout::detect().is_ok_and(|layout| layout.is_unified());
        if unified && Path::new("/run/systemd/system").is_dir() {
            CgroupDriver::Systemd
        } else {
            CgroupDriver::Cgroupfs
        }
    }
}

/// Whether systemd could have a slice of this name.
pub fn is_slice(name: &str) -> bool {
    name.strip_suffix(".slice").is_some_and(|stem| !stem.is_empty() && !stem.contains('/'))
}

/// What a container gets when its creator says nothing.
#[derive(Debug, Clone)]
pub struct Container {
    pub default_runtime: String,
    /// Other runtimes than ours, by the names that `--runtime` may choose.
    pub runtimes: BTreeMap<String, Runtime>,
    pub log_driver: String,
    pub log_options: BTreeMap<String, String>,
    pub ulimits: Vec<Ulimit>,
    pub shm_size: i64,
    /// `private` or `shareable`.
    pub ipc_mode: String,
    /// `private` or `host`; none: private on cgroup v2, host on v1.
    pub cgroupns_mode: Option<String>,
    /// Seconds from the stop signal to SIGKILL.
    pub stop_timeout: i64,
    pub init: bool,
    pub no_new_privileges: bool,
    /// `builtin`, `unconfined`, or the path of a profile.
    pub seccomp_profile: String,
    pub dns: Vec<IpAddr>,
    pub dns_options: Vec<String>,
    pub dns_search: Vec<String>,
    /// Where vendors describe their devices (`--cdi-spec-dir`); later ones win.
    pub device_directories: Vec<PathBuf>,
    /// What `host-gateway` stands for in `--add-host`; empty: the default bridge's addresses.
    pub host_gateway: Vec<IpAddr>,
    /// Bytes that a root may hold (`--storage-opt overlay2.size`), where project quotas are enforced.
    pub root_size: Option<u64>,
}

/// A default limit, as `--default-ulimit` gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ulimit {
    pub name: String,
    pub soft: i64,
    pub hard: i64,
}

/// The default bridge, the pools, and how far the engine may change the host.
#[derive(Debug, Clone)]
pub struct Network {
    /// Use this bridge as the default network instead of making one; `none` disables it.
    pub bridge: Option<String>,
    /// Address and prefix of the default bridge.
    pub bridge_address: Option<Ipv4Net>,
    pub bridge_address_v6: Option<Ipv6Net>,
    pub fixed_cidr: Option<Ipv4Net>,
    pub fixed_cidr_v6: Option<Ipv6Net>,
    pub default_gateway: Option<IpAddr>,
    pub default_gateway_v6: Option<IpAddr>,
    pub mtu: u32,
    pub ipv6: bool,
    pub icc: bool,
    pub masquerade: bool,
    /// Enable `net.ipv4.ip_forward`.
    pub forward: bool,
    /// When that was off, keep dropping what is forwarded and is not for a container.
    pub drop_other_forwarding: bool,
    /// Program the firewall for IPv4 and IPv6.
    pub firewall: bool,
    pub firewall_v6: bool,
    /// Answer on `::1` and other addresses that DNAT cannot serve, by relays in the shim.
    pub relay: bool,
    /// Where published ports listen when a container names no address.
    pub publish_address: Option<IpAddr>,
    /// Pools that new networks take subnets from; empty: Docker's.
    pub pools: Vec<AddressPool>,
    /// Published ports are reached at the containers' own addresses, too, by whoever can route to them.
    pub allow_direct_routing: bool,
    /// Where clients of the engine come to by tcp; containers do not.
    pub listeners: Vec<SocketAddr>,
    /// Options of new networks that do not say otherwise, by driver.
    pub default_options: BTreeMap<String, BTreeMap<String, String>>,
}

/// Subnets of `size` bits cut from `base`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressPool {
    pub base: IpNet,
    pub size: u8,
}

/// How registries are talked to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registry {
    pub insecure: Vec<String>,
    pub mirrors: Vec<String>,
    pub concurrent_downloads: usize,
    pub concurrent_uploads: usize,
    pub download_attempts: usize,
    /// One directory per registry with its certificates.
    pub certificates: PathBuf,
}

/// How the engine reaches registries: URLs, and the hosts that need none, with commas between.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    pub http: Option<String>,
    pub https: Option<String>,
    pub none: Option<String>,
}

impl Config {
    /// dockerd's defaults over two roots; the helper binaries are looked for beside the running one.
    pub fn new(data_root: impl Into<PathBuf>, exec_root: impl Into<PathBuf>) -> Config {
        Config {
            data_root: data_root.into(),
            exec_root: exec_root.into(),
            shim: sibling("wharf-shim"),
            tls: sibling("wharf-tls"),
            init: None,
            labels: Vec::new(),
            debug: false,
            experimental: false,
            remap: None,
            cgroup: Cgroup::default(),
            container: Container::default(),
            network: Network::default(),
            registry: Registry::default(),
            load_profile: None,
            proxies: Proxies::default(),
        }
    }
}

/// A binary that is installed in the same directory as this one, else whatever PATH finds by that name.
fn sibling(name: &str) -> PathBuf {
    let beside = std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.join(name)));
    if let Some(path) = beside.filter(|path| path.is_file()) {
        return path;
    }
    std::env::var_os("PATH")
        .and_then(|path| std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file()))
        .unwrap_or_else(|| PathBuf::from(name))
}

impl Default for Container {
    fn default() -> Container {
        Container {
            default_runtime: crate::runtimes::RESERVED.into(),
            runtimes: BTreeMap::new(),
            log_driver: "json-file".into(),
            log_options: BTreeMap::new(),
            ulimits: Vec::new(),
            shm_size: 64 << 20,
            ipc_mode: "private".into(),
            cgroupns_mode: None,
            stop_timeout: 10,
            init: false,
            no_new_privileges: false,
            seccomp_profile: "builtin".into(),
            dns: Vec::new(),
            dns_options: Vec::new(),
            dns_search: Vec::new(),
            device_directories: ["/etc/cdi", "/var/run/cdi"].map(PathBuf::from).to_vec(),
            host_gateway: Vec::new(),
            root_size: None,
        }
    }
}

impl Default for Network {
    fn default() -> Network {
        Network {
            bridge: None,
            bridge_address: None,
            bridge_address_v6: None,
            fixed_cidr: None,
            fixed_cidr_v6: None,
            default_gateway: None,
            default_gateway_v6: None,
            mtu: 1500,
            ipv6: false,
            icc: true,
            masquerade: true,
            forward: true,
            drop_other_forwarding: true,
            firewall: true,
            firewall_v6: true,
            relay: true,
            publish_address: None,
            pools: Vec::new(),
            allow_direct_routing: false,
            listeners: Vec::new(),
            default_options: BTreeMap::new(),
        }
    }
}

impl Default for Registry {
    fn default() -> Registry {
        Registry {
            insecure: Vec::new(),
            mirrors: Vec::new(),
            concurrent_downloads: 3,
            concurrent_uploads: 5,
            download_attempts: 5,
            certificates: PathBuf::from("/etc/docker/certs.d"),
        }
    }
}
