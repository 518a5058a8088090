//! What a container is when its creator has said little: the image's configuration merged in, and the engine's
//! defaults filled in, so that inspect shows what will really happen.

use std::collections::BTreeMap;

use api::container::{Config, HealthConfig, HostConfig};

use super::health;
use crate::config;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::spec;

/// Merges the image's configuration: what the container says wins, lists of names are joined.
pub(super) fn merge(config: &mut Config, image: &oci::image::Config) -> Result<()> {
    merge_probe(config, image)?;
    if config.user.is_empty() {
        config.user.clone_from(&image.user);
    }
    for port in image.exposed_ports.keys() {
        config.exposed_ports.entry(port.clone()).or_default();
    }
    merge_environment(config, &image.env);
    let labels = config.labels.get_or_insert_default();
    for (key, value) in &image.labels {
        labels.entry(key.clone()).or_insert_with(|| value.clone());
    }
    merge_command(config, image);
    if config.working_dir.is_empty() {
        config.working_dir.clone_from(&image.working_dir);
    }
    if config.working_dir.starts_with('/') {
        config.working_dir = super::mounts::clean(&config.working_dir);
    }
    // Clients send an empty set for none.
    config.volumes = config.volumes.take().filter(|paths| !paths.is_empty());
    if !image.volumes.is_empty() {
        let volumes = config.volumes.get_or_insert_default();
        for path in image.volumes.keys() {
            // Nobody who runs the image can mend it.
            let path = if path.starts_with('/') { path.clone() } else { format!("/{path}") };
            volumes.entry(path).or_default();
        }
    }
    if config.stop_signal.is_empty() {
        config.stop_signal.clone_from(&image.stop_signal);
    }
    if config.shell.as_ref().is_none_or(Vec::is_empty) {
        config.shell.clone_from(&image.shell);
    }
    merge_health(config, image.healthcheck.as_ref());
    Ok(())
}

/// A probe that labels ask for. The container's own word counts more than its image's, and two of its own are one too
/// many.
fn merge_probe(config: &mut Config, image: &oci::image::Config) -> Result<()> {
    let own = health::of_labels(config.labels.as_ref())?;
    let said = config.healthcheck.as_ref().is_some_and(|check| !check.test.is_empty());
    let test = match (own, said) {
        (Some(_), true) => {
            return Err(Error::invalid(
                "conflicting options: a health check and a label that asks for another",
            ));
        }
        (Some(test), false) => test,
        (None, true) => return Ok(()),
        (None, false) => match health::of_labels(Some(&image.labels))? {
            Some(test) => test,
            None => return Ok(()),
        },
    };
    config.healthcheck.get_or_insert_default().test = test;
    Ok(())
}

/// The image's variables first, in place of which the container's of the same name stand at the end, as Docker
/// orders them: the container's, then the image's that it did not name.
fn merge_environment(config: &mut Config, image: &[String]) {
    let name = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
    let mut own = config.env.take().unwrap_or_default();
    let named: Vec<String> = own.iter().map(|entry| name(entry)).collect();
    own.extend(image.iter().filter(|entry| !named.contains(&name(entry))).cloned());
    config.env = Some(own).filter(|variables| !variables.is_empty());
}

/// An entrypoint of the container's own drops the image's command, unless it is the same.
fn merge_command(config: &mut Config, image: &oci::image::Config) {
    let set = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
    if !set(&config.entrypoint) {
        if !set(&config.cmd) {
            config.cmd.clone_from(&image.cmd);
            config.args_escaped = image.args_escaped;
        }
        // `--entrypoint ""` arrives as one empty word, and means none.
        if config.entrypoint.is_none() {
            config.entrypoint.clone_from(&image.entrypoint);
        }
    }
    if config.entrypoint.as_deref() == Some(&[String::new()]) {
        config.entrypoint = None;
    }
}

fn merge_health(config: &mut Config, image: Option<&oci::image::Healthcheck>) {
    let Some(image) = image else { return };
    let own = config.healthcheck.get_or_insert_default();
    if own.test.is_empty() {
        own.test.clone_from(&image.test);
    }
    let take = |value: &mut i64, default: i64| {
        if *value == 0 {
            *value = default;
        }
    };
    take(&mut own.interval, image.interval);
    take(&mut own.timeout, image.timeout);
    take(&mut own.start_period, image.start_period);
    take(&mut own.start_interval, image.start_interval);
    take(&mut own.retries, image.retries);
    if *own == HealthConfig::default() {
        config.healthcheck = None;
    }
}

/// What runs: the first word and the rest.
pub(super) fn command(config: &Config) -> Result<(String, Vec<String>)> {
    let mut words = config.entrypoint.iter().flatten().chain(config.cmd.iter().flatten()).cloned();
    match words.next() {
        Some(path) => Ok((path, words.collect())),
        None => Err(Error::invalid("no command specified")),
    }
}

/// A container that wants no network has one of its own with nothing in it.
pub(super) fn network(config: &Config, wanted: &mut HostConfig) {
    if config.network_disabled && spec::other(&wanted.network_mode).is_none() && wanted.network_mode != "host"
    {
        "none".clone_into(&mut wanted.network_mode);
    }
}

/// The host's half.
pub(super) fn host(wanted: &mut HostConfig, defaults: &config::Container, host: &Host) {
    let or = |field: &mut String, default: &str| {
        if field.is_empty() {
            default.clone_into(field);
        }
    };
    if wanted.network_mode == "default" {
        wanted.network_mode.clear();
    }
    or(&mut wanted.network_mode, "bridge");
    or(&mut wanted.restart_policy.name, "no");
    or(&mut wanted.ipc_mode, &defaults.ipc_mode);
    or(&mut wanted.runtime, &defaults.default_runtime);
    let cgroupns = match (&defaults.cgroupns_mode, host.cgroups.version) {
        (Some(mode), _) => mode.as_str(),
        (None, 2) if !wanted.privileged => "private",
        (None, 2) => "private",
        (None, _) => "host",
    };
    or(&mut wanted.cgroupns_mode, cgroupns);
    if wanted.shm_size == 0 {
        wanted.shm_size = defaults.shm_size;
    }
    log_config(wanted, defaults);
    security(wanted);
    // A link by no name is none. Clients send an empty list for none.
    wanted.links.iter_mut().for_each(|links| links.retain(|link| !link.ends_with(':')));
    wanted.links = wanted.links.take().filter(|links| !links.is_empty());
    let resources = &mut wanted.resources;
    if resources.memory > 0 && resources.memory_swap == 0 {
        resources.memory_swap = resources.memory.saturating_mul(2);
    }
    if resources.pids_limit.is_some_and(|limit| limit <= 0) {
        resources.pids_limit = None;
    }
    if resources.memory_swappiness == Some(-1) {
        resources.memory_swappiness = None;
    }
    if host.cgroups.oom_kill_disable {
        resources.oom_kill_disable.get_or_insert(false);
    } else if resources.oom_kill_disable == Some(false) {
        resources.oom_kill_disable = None;
    }
    paths(wanted);
    if wanted.init.is_none() && defaults.init {
        wanted.init = Some(true);
    }
}

/// The container's log options over the engine's; a driver of its own starts afresh, but for the cache of what is sent.
fn log_config(wanted: &mut HostConfig, defaults: &config::Container) {
    if wanted.log_config.kind.is_empty() {
        wanted.log_config.kind.clone_from(&defaults.log_driver);
    }
    let mut options = wanted.log_config.config.take().unwrap_or_default();
    let same = wanted.log_config.kind == defaults.log_driver;
    for (key, value) in &defaults.log_options {
        if same || (key.starts_with("cache-") && wanted.log_config.kind != "none") {
            options.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }
    wanted.log_config.config = Some(options);
}

/// Who is let that near to the host has no label, says inspect, whether or not there would be one.
fn security(wanted: &mut HostConfig) {
    let near = wanted.privileged || wanted.pid_mode == "host" || wanted.ipc_mode == "host";
    let chosen = wanted.security_opt.iter().flatten().any(|option| option.split('=').next() == Some("label"));
    if near && !chosen {
        wanted.security_opt.get_or_insert_default().push("label=disable".to_owned());
    }
}

/// Inspect shows what is hidden; a privileged container hides nothing.
fn paths(wanted: &mut HostConfig) {
    let list = |paths: &[&str]| Some(paths.iter().map(|path| (*path).to_owned()).collect());
    // The option is the older way to send two empty lists.
    let unconfined = wanted.security_opt.iter().flatten().any(|option| option == "systempaths=unconfined");
    if wanted.privileged {
        wanted.masked_paths = None;
        wanted.readonly_paths = None;
        return;
    }
    if unconfined {
        wanted.masked_paths = Some(Vec::new());
        wanted.readonly_paths = Some(Vec::new());
        return;
    }
    if wanted.masked_paths.is_none() {
        wanted.masked_paths = list(spec::DEFAULT_MASKED);
    }
    if wanted.readonly_paths.is_none() {
        wanted.readonly_paths = list(spec::DEFAULT_READONLY);
    }
}

/// The name inside: what was asked for, the host's where its network is shared, else the short id. That it is seen under
/// the host's name (`--uts host`) leaves it its own.
pub(super) fn hostname(config: &mut Config, host: &HostConfig, short_id: &str, of_host: &str) {
    if config.hostname.is_empty() {
        config.hostname = if host.network_mode == "host" { of_host } else { short_id }.to_owned();
    }
}

/// The networks asked for, by name: exactly these, or else that of the network mode. The container's MAC address goes to the
/// latter.
pub(super) fn endpoints(
    config: &Config,
    host: &HostConfig,
    asked: Option<api::container::NetworkingConfig>,
) -> Result<BTreeMap<String, api::network::EndpointSettings>> {
    let mut endpoints = BTreeMap::new();
    for (name, settings) in asked.map(|asked| asked.endpoints_config).unwrap_or_default() {
        let Some(settings) = settings else {
            return Err(Error::invalid(format!("invalid config for network {name}: EndpointsConfig is nil")));
        };
        let name = if name == "default" { host.network_mode.clone() } else { name };
        endpoints.insert(name, settings);
    }
    if spec::other(&host.network_mode).is_some() {
        return Ok(endpoints);
    }
    if endpoints.is_empty() || host.network_mode == "host" {
        endpoints.entry(host.network_mode.clone()).or_default();
    }
    if !config.mac_address.is_empty() {
        let Some(main) = endpoints.get_mut(&host.network_mode) else {
            return Err(Error::invalid(
                "unable to migrate container-wide MAC address to a specific network: HostConfig.NetworkMode must match the \
                 identity of a network in NetworkSettings.Networks",
            ));
        };
        if !["", config.mac_address.as_str()].contains(&main.mac_address.as_str()) {
            return Err(Error::invalid(
                "the container-wide MAC address must match the endpoint-specific MAC address for the main network, or be left empty",
            ));
        }
        main.mac_address.clone_from(&config.mac_address);
    }
    Ok(endpoints)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(list: &[&str]) -> Option<Vec<String>> {
        Some(list.iter().map(|word| (*word).to_owned()).collect())
    }

    fn image() -> oci::image::Config {
        oci::image::Config {
            entrypoint: words(&["/entry"]),
            cmd: words(&["serve"]),
            env: vec!["A=image".into(), "B=image".into()],
            working_dir: "/srv".into(),
            ..oci::image::Config::default()
        }
    }

    fn merged(change: impl FnOnce(&mut Config)) -> Config {
        let mut config = Config::default();
        change(&mut config);
        merge(&mut config, &image()).unwrap();
        config
    }

    #[test]
    fn an_own_entrypoint_drops_the_images_command() {
        let run = |change: fn(&mut Config)| {
            let (path, args) = command(&merged(change)).unwrap();
            [vec![path], args].concat().join(" ")
        };
        assert_eq!(run(|_| {}), "/entry serve");
        assert_eq!(run(|config| config.cmd = words(&["sh"])), "/entry sh");
        assert_eq!(run(|config| config.entrypoint = words(&["/own"])), "/own");
        assert_eq!(
            run(|config| {
                config.entrypoint = words(&[""]);
                config.cmd = words(&["sh"]);
            }),
            "sh"
        );
    }

    #[test]
    fn nothing_to_run_is_an_error() {
        assert_eq!(command(&Config::default()).unwrap_err().message(), "no command specified");
    }

    #[test]
    fn the_containers_variables_win() {
        let config = merged(|config| config.env = words(&["A=own"]));
        assert_eq!(config.env, words(&["A=own", "B=image"]));
        assert_eq!(config.working_dir, "/srv");
    }

    #[test]
    fn a_probe_by_label_is_a_health_check() {
        let label = |config: &mut Config, value: &str| {
            let labels = [("wharf.health.tcp".to_owned(), value.to_owned())];
            config.labels = Some(labels.into());
        };
        let config = merged(|config| label(config, "80"));
        assert_eq!(config.healthcheck.unwrap().test, ["TCP", "80"]);
        let mut both = Config::default();
        label(&mut both, "80");
        both.healthcheck =
            Some(HealthConfig { test: vec!["CMD".into(), "true".into()], ..Default::default() });
        assert!(merge(&mut both, &image()).is_err());
        let mut labelled = image();
        labelled.labels.insert("wharf.health.tcp".into(), "81".into());
        let check = HealthConfig { test: vec!["NONE".into()], ..Default::default() };
        let mut none = Config { healthcheck: Some(check), ..Config::default() };
        merge(&mut none, &labelled).unwrap();
        assert_eq!(none.healthcheck.unwrap().test, ["NONE"]);
    }

    #[test]
    fn inspect_shows_what_will_happen() {
        let machine = Host::observe().unwrap();
        let mut wanted = HostConfig { network_mode: "default".into(), ..HostConfig::default() };
        wanted.resources.memory = 8 << 20;
        host(&mut wanted, &config::Container::default(), &machine);
        assert_eq!(wanted.network_mode, "bridge");
        assert_eq!(wanted.ipc_mode, "private");
        assert_eq!(wanted.resources.memory_swap, 16 << 20);
        assert_eq!(wanted.shm_size, 64 << 20);
        assert_eq!(wanted.log_config.kind, "json-file");
        assert!(wanted.masked_paths.unwrap().contains(&"/proc/kcore".to_owned()));
        assert_eq!(wanted.dns, None, "what nobody said is null");
    }

    #[test]
    fn inspect_shows_who_has_no_label() {
        let machine = Host::observe().unwrap();
        let shown = |change: fn(&mut HostConfig)| {
            let mut wanted = HostConfig { links: words(&["db:"]), ..HostConfig::default() };
            change(&mut wanted);
            host(&mut wanted, &config::Container::default(), &machine);
            assert_eq!(wanted.links, None);
            wanted.security_opt
        };
        assert_eq!(shown(|_| {}), None);
        assert_eq!(shown(|host| host.privileged = true), words(&["label=disable"]));
        assert_eq!(shown(|host| host.ipc_mode = "host".into()), words(&["label=disable"]));
        assert_eq!(
            shown(|host| {
                host.pid_mode = "host".into();
                host.security_opt = words(&["no-new-privileges"]);
            }),
            words(&["no-new-privileges", "label=disable"])
        );
        assert_eq!(
            shown(|host| {
                host.privileged = true;
                host.security_opt = words(&["label=type:web_t"]);
            }),
            words(&["label=type:web_t"])
        );
    }

    #[test]
    fn what_nobody_said_is_no_list() {
        let mut config = Config { env: words(&[]), ..Config::default() };
        merge(&mut config, &oci::image::Config::default()).unwrap();
        assert_eq!(config.env, None);
    }

    #[test]
    fn the_name_inside() {
        let name = |change: fn(&mut HostConfig)| {
            let (mut config, mut wanted) = (Config::default(), HostConfig::default());
            change(&mut wanted);
            hostname(&mut config, &wanted, "0123456789ab", "machine");
            config.hostname
        };
        assert_eq!(name(|_| {}), "0123456789ab");
        assert_eq!(name(|host| host.uts_mode = "host".into()), "0123456789ab");
        assert_eq!(name(|host| host.network_mode = "host".into()), "machine");
    }

    #[test]
    fn a_disabled_network_is_none() {
        let config = Config { network_disabled: true, ..Config::default() };
        let mode = |mode: &str| {
            let mut wanted = HostConfig { network_mode: mode.into(), ..HostConfig::default() };
            network(&config, &mut wanted);
            wanted.network_mode
        };
        assert_eq!((mode("bridge").as_str(), mode("container:x").as_str()), ("none", "container:x"));
    }

    #[test]
    fn the_network_mode_is_an_endpoint() {
        let bridge = HostConfig { network_mode: "bridge".into(), ..HostConfig::default() };
        let endpoints = |host: &HostConfig| super::endpoints(&Config::default(), host, None).unwrap();
        assert!(endpoints(&bridge).contains_key("bridge"));
        let shared = HostConfig { network_mode: "container:web".into(), ..HostConfig::default() };
        assert!(endpoints(&shared).is_empty());
        let config = Config { mac_address: "02:00:00:00:00:01".into(), ..Config::default() };
        let nothing =
            api::container::NetworkingConfig { endpoints_config: [("bridge".to_owned(), None)].into() };
        let refused = super::endpoints(&config, &bridge, Some(nothing)).unwrap_err();
        assert_eq!(refused.message(), "invalid config for network bridge: EndpointsConfig is nil");
        let with_mac = super::endpoints(&config, &bridge, None).unwrap();
        assert_eq!(with_mac["bridge"].mac_address, config.mac_address);
        let apart = || api::container::NetworkingConfig {
            endpoints_config: [("inside".to_owned(), Some(Default::default()))].into(),
        };
        let alone = super::endpoints(&Config::default(), &bridge, Some(apart())).unwrap();
        assert_eq!(alone.keys().collect::<Vec<_>>(), ["inside"], "no way out that nobody asked for");
        assert!(super::endpoints(&config, &bridge, Some(apart())).is_err());
    }
}
