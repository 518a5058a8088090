//! What the engine is to do, from flags and file: typed, checked, with defaults.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use engine::{AddressPool, CgroupDriver, Config, Ulimit};
use serde_json::Value;

use crate::file;
use crate::flags::{OPTIONS, Values, go, size, word};
use crate::host::Host;
use crate::runtimes;

const CONFIG_FILE: &str = "/etc/wharf/daemon.json";
const DATA_ROOT: &str = "/var/lib/wharf";
const EXEC_ROOT: &str = "/run/wharf";
const PID_FILE: &str = "/run/wharf.pid";
const SOCKET: &str = "/run/wharf.sock";

/// Everything that a start needs to know.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) engine: Config,
    pub(crate) hosts: Vec<Host>,
    /// `None`: docker's group, or ours, whichever exists.
    pub(crate) group: Option<String>,
    pub(crate) pid_file: PathBuf,
    pub(crate) log: Log,
    pub(crate) tls: Tls,
    /// Another path by which clients may find the socket.
    pub(crate) docker_socket: Option<PathBuf>,
    /// Who has the ids of containers, as it was said: looking it up may make a user.
    pub(crate) remap: Option<String>,
    /// All of the above as it was said, for a reload to compare.
    pub(crate) said: Values,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Log {
    pub(crate) level: tracing::level_filters::LevelFilter,
    pub(crate) json: bool,
    pub(crate) raw: bool,
}

/// How clients of tcp listeners are met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Tls {
    Off,
    On { files: TlsFiles, verify: bool },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TlsFiles {
    pub(crate) authority: PathBuf,
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// Reads the configuration file that the flags name, and puts both together.
pub(crate) fn load(flags: &Values) -> Result<Settings, String> {
    let named = flags.get("config-file").and_then(Value::as_str);
    let path = Path::new(named.unwrap_or(CONFIG_FILE));
    let mut values = file::load(path, named.is_some(), flags)?;
    let runtimes = runtimes::merge(values.remove("runtimes"), flags.get("runtimes").cloned());
    values.extend(flags.iter().map(|(key, value)| (*key, value.clone())));
    values.extend(runtimes.map(|runtimes| ("runtimes", runtimes)));
    settle(&values).map_err(|error| {
        format!(
            "unable to configure the Docker daemon with file {}: merged configuration validation from file and command \
             line flags failed: {error}",
            path.display()
        )
    })
}

fn settle(values: &Values) -> Result<Settings, String> {
    for option in OPTIONS {
        if let Some(value) = values.get(option.id()) {
            option.check(value)?;
        }
    }
    let said = Said(values);
    let exec_root = PathBuf::from(said.text("exec-root").unwrap_or(EXEC_ROOT));
    // A second engine is told its roots; its socket and pid file move along, so that it does not meet the first.
    let moved = exec_root != Path::new(EXEC_ROOT);
    let default_socket = if moved { exec_root.join("wharf.sock") } else { PathBuf::from(SOCKET) };
    let default_pid_file = if moved { exec_root.join("wharfd.pid") } else { PathBuf::from(PID_FILE) };
    let tls = tls(&said);
    let mut hosts = Vec::new();
    for host in said.list("hosts") {
        hosts.push(Host::parse(host, tls != Tls::Off)?);
    }
    if hosts.is_empty() {
        hosts.push(Host::Unix(default_socket));
    }
    Ok(Settings {
        engine: engine(&said, exec_root)?,
        hosts,
        group: said.text("group").map(str::to_owned),
        pid_file: said.text("pidfile").map_or(default_pid_file, PathBuf::from),
        log: log(&said)?,
        tls,
        docker_socket: said.text("docker-socket").map(PathBuf::from),
        remap: said.text("userns-remap").filter(|remap| !remap.is_empty()).map(str::to_owned),
        said: values.clone(),
    })
}

fn log(said: &Said<'_>) -> Result<Log, String> {
    use tracing::level_filters::LevelFilter;
    let level = match said.text("log-level").unwrap_or("info") {
        _ if said.flag("debug", false) => LevelFilter::DEBUG,
        "trace" => LevelFilter::TRACE,
        "debug" => LevelFilter::DEBUG,
        "info" => LevelFilter::INFO,
        "warn" | "warning" => LevelFilter::WARN,
        // Nothing here is worse than an error.
        "error" | "fatal" | "panic" => LevelFilter::ERROR,
        other => return Err(format!("invalid logging level: {other}")),
    };
    let json = match said.text("log-format").unwrap_or("text") {
        "text" => false,
        "json" => true,
        other => return Err(format!("invalid log format: {other}")),
    };
    Ok(Log { level, json, raw: said.flag("raw-logs", false) })
}

fn tls(said: &Said<'_>) -> Tls {
    let verify = said.flag("tlsverify", false);
    if !verify && !said.flag("tls", false) {
        return Tls::Off;
    }
    let home = PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| "/root".into())).join(".docker");
    let file = |key: &str, name: &str| said.text(key).map_or_else(|| home.join(name), PathBuf::from);
    let files = TlsFiles {
        authority: file("tlscacert", "ca.pem"),
        certificate: file("tlscert", "cert.pem"),
        key: file("tlskey", "key.pem"),
    };
    Tls::On { files, verify }
}

fn engine(said: &Said<'_>, exec_root: PathBuf) -> Result<Config, String> {
    let mut config = Config::new(said.text("data-root").unwrap_or(DATA_ROOT), exec_root);
    config.labels = labels(said)?;
    config.debug = said.flag("debug", false);
    config.cgroup.parent = said.text("cgroup-parent").filter(|parent| !parent.is_empty()).map(str::to_owned);
    if let Some(init) = said.text("init-path").filter(|path| !path.is_empty()) {
        config.init = Some(PathBuf::from(init));
    }
    config.cgroup.driver = cgroup_driver(said, config.cgroup.parent.as_deref())?;
    containers(said, &mut config.container)?;
    config.container.root_size = root_size(said)?;
    network(said, &mut config.network)?;
    registry(said, &mut config.registry)?;
    let proxy = |key: &str| said.text(key).filter(|proxy| !proxy.is_empty()).map(str::to_owned);
    config.proxies.http = proxy("http-proxy");
    config.proxies.https = proxy("https-proxy");
    config.proxies.none = proxy("no-proxy");
    config.load_profile = Some(crate::apparmor::load);
    Ok(config)
}

/// What `--exec-opt` says; otherwise systemd where it manages all of the cgroup tree.
fn cgroup_driver(said: &Said<'_>, parent: Option<&str>) -> Result<CgroupDriver, String> {
    let mut driver = None;
    for option in said.list("exec-opts") {
        driver = match option.split_once('=') {
            Some(("native.cgroupdriver", "cgroupfs")) => Some(CgroupDriver::Cgroupfs),
            Some(("native.cgroupdriver", "systemd")) => Some(CgroupDriver::Systemd),
            Some(("native.cgroupdriver", other)) => {
                return Err(format!("invalid exec-opt ({option}): invalid cgroup driver: '{other}'"));
            }
            Some((name, _)) => return Err(format!("invalid exec-opt ({option}): unknown option: '{name}'")),
            None => return Err(format!("invalid exec-opt ({option}): expected key=value")),
        };
    }
    let driver = driver.unwrap_or_else(engine::Cgroup::usual_driver);
    if driver == CgroupDriver::Systemd && parent.is_some_and(|parent| !engine::is_slice(parent)) {
        return Err(
            "cgroup-parent for systemd cgroup should be a valid slice named as \"xxx.slice\"".to_owned()
        );
    }
    Ok(driver)
}

fn labels(said: &Said<'_>) -> Result<Vec<String>, String> {
    let mut labels: Vec<String> = Vec::new();
    for label in said.list("labels") {
        let (name, value) = word::label(label)?;
        let earlier = labels.iter().find_map(|other| other.strip_prefix(name)?.strip_prefix('='));
        match earlier {
            Some(earlier) if earlier != value => {
                return Err(format!("conflict labels for {name}={value} and {name}={earlier}"));
            }
            Some(_) => {}
            None => labels.push(label.to_owned()),
        }
    }
    Ok(labels)
}

fn containers(said: &Said<'_>, config: &mut engine::ContainerDefaults) -> Result<(), String> {
    if let Some(driver) = said.text("log-driver") {
        config.log_driver = driver.to_owned();
    }
    config.log_options = said.map("log-opts");
    if !config.log_options.is_empty() {
        engine::validate_logging(&config.log_driver, &config.log_options)
            .map_err(|error| format!("failed to set log opts: {error}"))?;
    }
    config.runtimes = runtimes::settle(said.0.get("runtimes"))?;
    if let Some(name) = said.text("default-runtime").filter(|name| !name.is_empty()) {
        config.default_runtime = name.to_owned();
    }
    engine::check_default_runtime(config)?;
    config.ulimits = ulimits(said)?;
    if let Some(size) = said.bytes("default-shm-size") {
        config.shm_size = size;
    }
    match said.text("default-ipc-mode") {
        None => {}
        Some(mode @ ("private" | "shareable")) => config.ipc_mode = mode.to_owned(),
        Some(mode) => {
            return Err(format!(
                "default IPC mode setting ({mode}) is invalid; use \"shareable\" or \"private\""
            ));
        }
    }
    match said.text("default-cgroupns-mode") {
        None | Some("") => {}
        Some(mode @ ("private" | "host")) => config.cgroupns_mode = Some(mode.to_owned()),
        Some(mode) => {
            return Err(format!("invalid default cgroup namespace ({mode}): use \"host\" or \"private\""));
        }
    }
    if let Some(seconds) = said.number("default-stop-timeout") {
        config.stop_timeout = seconds;
    }
    config.init = said.flag("init", false);
    config.no_new_privileges = said.flag("no-new-privileges", false);
    if let Some(profile) = said.text("seccomp-profile").filter(|profile| !profile.is_empty()) {
        config.seccomp_profile = profile.to_owned();
    }
    let directories: Vec<PathBuf> = said.list("cdi-spec-dirs").map(PathBuf::from).collect();
    if !directories.is_empty() {
        config.device_directories = directories;
    }
    config.dns = said.parsed_list("dns", "invalid IP address")?;
    config.dns_options = said.list("dns-opts").map(str::to_owned).collect();
    config.dns_search = said.list("dns-search").map(str::to_owned).collect();
    config.host_gateway = said.parsed_list("host-gateway-ips", "invalid host-gateway IP address")?;
    Ok(())
}

/// Options of the storage; what a root may hold is all there is to say. An error is in the words of Docker's.
fn root_size(said: &Said<'_>) -> Result<Option<u64>, String> {
    let mut limit = None;
    for option in said.list("storage-opts") {
        let reason = match option.split_once('=') {
            None => format!("unable to parse storage-opt key/value: {option}"),
            Some(("overlay2.size", text)) => match size(text).and_then(|size| u64::try_from(size).ok()) {
                Some(size) => {
                    limit = Some(size).filter(|size| *size > 0);
                    continue;
                }
                None => format!("invalid size: '{text}'"),
            },
            Some((key, _)) => format!("overlay2: unknown option {key}"),
        };
        return Err(format!("error initializing graphdriver: {reason}"));
    }
    Ok(limit)
}

fn ulimits(said: &Said<'_>) -> Result<Vec<Ulimit>, String> {
    let Some(limits) = said.0.get("default-ulimits").and_then(Value::as_object) else {
        return Ok(Vec::new());
    };
    let one = |(name, limit): (&String, &Value)| {
        let side = |key: &str| limit.get(key).and_then(Value::as_i64);
        match (side("Soft"), side("Hard")) {
            (Some(soft), Some(hard)) if soft <= hard || hard == -1 => {
                Ok(Ulimit { name: name.clone(), soft, hard })
            }
            (Some(soft), Some(hard)) => {
                Err(format!("ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"))
            }
            _ => Err(format!("invalid ulimit {name}: Soft and Hard must be numbers")),
        }
    };
    limits.iter().map(one).collect()
}

fn network(said: &Said<'_>, config: &mut engine::NetworkConfig) -> Result<(), String> {
    config.bridge = said.text("bridge").filter(|bridge| !bridge.is_empty()).map(str::to_owned);
    config.bridge_address = said.parsed("bip")?;
    config.bridge_address_v6 = said.parsed("bip6")?;
    if config.bridge.is_some() && config.bridge_address.is_some() {
        return Err("you specified --bridge and --bip, but they are mutually exclusive options".to_owned());
    }
    config.fixed_cidr = said.parsed("fixed-cidr")?;
    config.fixed_cidr_v6 = said.parsed("fixed-cidr-v6")?;
    config.default_gateway = said.parsed("default-gateway")?;
    config.default_gateway_v6 = said.parsed("default-gateway-v6")?;
    if let Some(mtu) = said.number("mtu") {
        config.mtu = u32::try_from(mtu).map_err(|_| format!("invalid default MTU: {mtu}"))?;
    }
    config.ipv6 = said.flag("ipv6", false);
    config.icc = said.flag("icc", true);
    config.masquerade = said.flag("ip-masq", true);
    config.forward = said.flag("ip-forward", true);
    config.drop_other_forwarding = !said.flag("ip-forward-no-drop", false);
    config.firewall = said.flag("iptables", true);
    config.firewall_v6 = said.flag("ip6tables", true);
    if !config.firewall && !config.icc {
        return Err(
            "you specified --iptables=false with --icc=false, but ICC=false uses the firewall to function. \
                    Please set --icc or --iptables to true"
                .to_owned(),
        );
    }
    config.relay = said.flag("userland-proxy", true);
    config.publish_address = said.parsed("ip")?;
    config.allow_direct_routing = said.flag("allow-direct-routing", false);
    config.default_options = said.maps("default-network-opts");
    let pools = said.0.get("default-address-pools").and_then(Value::as_array);
    config.pools = pools.into_iter().flatten().map(pool).collect::<Result<_, _>>()?;
    Ok(())
}

fn pool(pool: &Value) -> Result<AddressPool, String> {
    let wrong = || format!("invalid default address pool: {pool}");
    let base = pool.get("base").and_then(Value::as_str).ok_or_else(wrong)?;
    let size = pool
        .get("size")
        .and_then(Value::as_u64)
        .and_then(|size| u8::try_from(size).ok())
        .ok_or_else(wrong)?;
    Ok(AddressPool { base: base.parse().map_err(|_| wrong())?, size })
}

fn registry(said: &Said<'_>, config: &mut engine::RegistryConfig) -> Result<(), String> {
    for mirror in said.list("registry-mirrors") {
        engine::check_mirror(mirror).map_err(|error| error.to_string())?;
        config.mirrors.push(mirror.to_owned());
    }
    for registry in said.list("insecure-registries") {
        // Docker has taken URLs here for years, with a warning.
        let host = registry.trim_start_matches("http://").trim_start_matches("https://");
        engine::check_insecure_registry(host).map_err(|error| error.to_string())?;
        config.insecure.push(host.to_owned());
    }
    let count = |key: &str, what: &str, least: i64, default: usize| match said.number(key) {
        None => Ok(default),
        Some(count) if count >= least => {
            usize::try_from(count).map_err(|_| format!("invalid {what}: {count}"))
        }
        Some(count) => Err(format!("invalid {what}: {count}")),
    };
    config.concurrent_downloads =
        count("max-concurrent-downloads", "max concurrent downloads", 0, config.concurrent_downloads)?;
    config.concurrent_uploads =
        count("max-concurrent-uploads", "max concurrent uploads", 0, config.concurrent_uploads)?;
    config.download_attempts =
        count("max-download-attempts", "max download attempts", 0, config.download_attempts)?.max(1);
    Ok(())
}

/// Typed access to what was said.
struct Said<'a>(&'a Values);

impl Said<'_> {
    fn flag(&self, key: &str, default: bool) -> bool {
        self.0.get(key).and_then(Value::as_bool).unwrap_or(default)
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(Value::as_str)
    }

    fn number(&self, key: &str) -> Option<i64> {
        self.0.get(key).and_then(Value::as_i64)
    }

    fn bytes(&self, key: &str) -> Option<i64> {
        let value = self.0.get(key)?;
        value.as_i64().or_else(|| size(value.as_str()?))
    }

    fn list<'s>(&'s self, key: &str) -> impl Iterator<Item = &'s str> + use<'s> {
        self.0.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
    }

    fn maps(&self, key: &str) -> BTreeMap<String, BTreeMap<String, String>> {
        let texts = |map: &Value| {
            let map = map.as_object().into_iter().flatten();
            map.map(|(name, value)| (name.clone(), go(value))).collect()
        };
        let maps = self.0.get(key).and_then(Value::as_object).into_iter().flatten();
        maps.map(|(name, map)| (name.clone(), texts(map))).collect()
    }

    fn map(&self, key: &str) -> BTreeMap<String, String> {
        let map = self.0.get(key).and_then(Value::as_object);
        map.into_iter().flatten().map(|(name, value)| (name.clone(), go(value))).collect()
    }

    /// A text that must parse; empty is as if nothing was said.
    fn parsed<T: FromStr>(&self, key: &str) -> Result<Option<T>, String>
    where
        T::Err: std::fmt::Display,
    {
        match self.text(key) {
            None | Some("") => Ok(None),
            Some(text) => text.parse().map(Some).map_err(|error| format!("invalid {key} {text:?}: {error}")),
        }
    }

    fn parsed_list<T: FromStr>(&self, key: &str, wrong: &str) -> Result<Vec<T>, String> {
        self.list(key).map(|text| text.parse().map_err(|_| format!("{wrong}: {text}"))).collect()
    }
}

/// The flags that mean something other than configuration.
pub(crate) fn asks_for(flags: &Values, name: &str) -> bool {
    flags.get(name).and_then(Value::as_bool).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags;

    fn settings(text: &str) -> Result<Settings, String> {
        settle(&flags::parse(text.split_whitespace().map(str::to_owned)).unwrap())
    }

    #[test]
    fn defaults_are_ours_and_dockers() {
        let settings = settings("").unwrap();
        assert_eq!(settings.hosts, [Host::Unix("/run/wharf.sock".into())]);
        assert_eq!(settings.pid_file, Path::new("/run/wharf.pid"));
        assert_eq!(settings.engine.data_root, Path::new("/var/lib/wharf"));
        assert_eq!(settings.engine.container.shm_size, 64 << 20);
        assert_eq!(settings.engine.container.root_size, None);
        assert_eq!(settings.tls, Tls::Off);
    }

    #[test]
    fn systemd_keeps_containers_in_slices() {
        let systemd = "--exec-opt native.cgroupdriver=systemd --cgroup-parent";
        assert!(settings(&format!("{systemd} /docker")).unwrap_err().contains("named as \"xxx.slice\""));
        let chosen = settings(&format!("{systemd} docker.slice")).unwrap().engine.cgroup;
        assert_eq!((chosen.driver, chosen.parent.as_deref()), (CgroupDriver::Systemd, Some("docker.slice")));
        let ours = settings("--exec-opt native.cgroupdriver=cgroupfs --cgroup-parent /docker").unwrap();
        assert_eq!(ours.engine.cgroup.driver, CgroupDriver::Cgroupfs);
    }

    #[test]
    fn a_second_engine_does_not_meet_the_first() {
        let settings = settings("--exec-root /run/second --data-root /var/lib/second").unwrap();
        assert_eq!(settings.hosts, [Host::Unix("/run/second/wharf.sock".into())]);
        assert_eq!(settings.pid_file, Path::new("/run/second/wharfd.pid"));
    }

    #[test]
    fn network_switches_reach_the_engine() {
        let settings = settings(
            "--iptables=false --ip6tables=false --ip-masq=false --ip-forward=false --userland-proxy=false --ipv6 --mtu 1400 \
             --bip 10.1.0.1/16 --fixed-cidr 10.1.2.0/24 --ip 127.0.0.1 --default-address-pool base=10.0.0.0/8,size=24",
        )
        .unwrap();
        let network = settings.engine.network;
        assert!(
            !network.firewall
                && !network.firewall_v6
                && !network.masquerade
                && !network.forward
                && !network.relay
        );
        assert!(network.ipv6 && network.mtu == 1400 && network.pools[0].size == 24);
        assert_eq!(network.bridge_address.unwrap().to_string(), "10.1.0.1/16");
    }

    #[test]
    fn errors_are_dockerds() {
        let error = |text: &str| settings(text).unwrap_err();
        let error_of_file = |key: &'static str, text: &str| {
            settle(&Values::from([(key, serde_json::json!([text]))])).unwrap_err()
        };
        assert_eq!(error("--log-level x"), "invalid logging level: x");
        assert_eq!(error("--log-format x"), "invalid log format: x");
        assert_eq!(error_of_file("labels", "x"), "bad attribute format: x");
        assert_eq!(error("--label a=1 --label a=2"), "conflict labels for a=2 and a=1");
        assert_eq!(
            error_of_file("hosts", "foo://x"),
            "invalid bind address (foo://x): unsupported proto 'foo'"
        );
        assert_eq!(error("--exec-opt x=y"), "invalid exec-opt (x=y): unknown option: 'x'");
        assert_eq!(error("--max-concurrent-downloads=-1"), "invalid max concurrent downloads: -1");
        for (option, reason) in [
            ("foo", "unable to parse storage-opt key/value: foo"),
            ("foo=bar", "overlay2: unknown option foo"),
            ("overlay2.size=x", "invalid size: 'x'"),
        ] {
            let error = error(&format!("--storage-opt {option}"));
            assert_eq!(error, format!("error initializing graphdriver: {reason}"));
        }
        assert_eq!(error("--mtu=-1"), "invalid default MTU: -1");
        assert_eq!(
            error_of_file("registry-mirrors", "foo"),
            "invalid mirror: no scheme specified for \"foo\": must use either 'https://' or 'http://'"
        );
        assert_eq!(
            error("--default-ipc-mode z"),
            "default IPC mode setting (z) is invalid; use \"shareable\" or \"private\""
        );
        assert_eq!(error("--default-runtime x"), "specified default runtime 'x' does not exist");
        assert!(error("--selinux-enabled").starts_with("--selinux-enabled is not supported"));
        assert!(error("--iptables=false --icc=false").contains("--icc"));
    }

    #[test]
    fn tls_is_asked_for() {
        let on = settings("--tlsverify --tlscacert /a --tlscert /b --tlskey /c -H tcp://0.0.0.0").unwrap();
        assert!(matches!(on.tls, Tls::On { verify: true, .. }));
        assert_eq!(on.hosts, [Host::Tcp("0.0.0.0:2376".into())]);
    }
}
