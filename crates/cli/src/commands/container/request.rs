//! Flags become the body of a create request. Everything that can be wrong without asking the
//! engine is found here, with Docker's words.

use std::collections::BTreeMap;

use api::container::{
    Config, CreateRequest, DeviceRequest, HealthConfig, HostConfig, LogConfig, Mount, NetworkingConfig,
    Resources, RestartPolicy, Ulimit,
};
use api::network::{EndpointIpam, EndpointSettings};

use crate::failure::Failure;
use crate::flags::Parsed;
use crate::values::env::{labels, pairs, variables};
use crate::values::mount::{Volume, parse_volume};
use crate::values::network::{Attachment, parse_mac};
use crate::values::{device, gpus, limits, port, security};

/// Refuses the flags that only an engine on Windows understands.
pub(crate) fn refuse_windows(parsed: &Parsed) -> Result<(), Failure> {
    match ["cpu-count", "cpu-percent", "io-maxbandwidth", "io-maxiops"]
        .iter()
        .find(|flag| parsed.changed(flag))
    {
        Some(flag) => Err(Failure::new(format!(
            "\"--{flag}\" is only supported on a Docker daemon running on windows, but the Docker daemon is running on \
             linux"
        ))),
        None => Ok(()),
    }
}

/// Refuses what this client knows that no engine of ours can do, by name.
fn refuse_unsupported(parsed: &Parsed) -> Result<(), Failure> {
    if parsed.changed("use-api-socket") {
        let why = "handing the engine's socket to a container is not supported; mount it with --volume";
        return Err(Failure::new(format!("unsupported flag --use-api-socket: {why}")));
    }
    parsed.refuse_content_trust()
}

/// The request for a new container: the image and the command are the arguments.
pub(crate) fn build(parsed: &Parsed) -> Result<CreateRequest, Failure> {
    refuse_unsupported(parsed)?;
    check_modes(parsed)?;
    let restart_policy = limits::parse_restart(parsed.text("restart")).map_err(Failure::new)?;
    if parsed.on("rm") && !matches!(restart_policy.name.as_str(), "" | "no") {
        return Err(Failure::new("conflicting options: cannot specify both --restart and --rm"));
    }
    let mut bindings = port::Bindings::new();
    for text in parsed.list("publish") {
        port::publish(&text, &mut bindings).map_err(Failure::new)?;
    }
    let volumes = Volumes::read(parsed)?;
    let config = config(parsed, &bindings, &volumes)?;
    let host_config = host_config(parsed, bindings, volumes, restart_policy)?;
    let networking_config = networking(parsed)?;
    Ok(CreateRequest { config, host_config, networking_config })
}

fn check_modes(parsed: &Parsed) -> Result<(), Failure> {
    let refuse = |text: &str| Err(Failure::new(text));
    let container = |mode: &str| mode.strip_prefix("container:").is_some_and(|id| !id.is_empty());
    match parsed.text("pid") {
        mode if matches!(mode, "" | "host") || container(mode) => {}
        _ => return refuse("--pid: invalid PID mode"),
    }
    if !matches!(parsed.text("uts"), "" | "host") {
        return refuse("--uts: invalid UTS mode");
    }
    if !matches!(parsed.text("userns"), "" | "host") {
        return refuse("--userns: invalid USER mode");
    }
    if !matches!(parsed.text("cgroupns"), "" | "host" | "private") {
        return refuse("--cgroupns: invalid CGROUP mode");
    }
    if let Some(swappiness) = parsed.value::<i64>("memory-swappiness")
        && !(-1..=100).contains(&swappiness)
    {
        return Err(Failure::new(format!(
            "invalid value: {swappiness}. Valid memory swappiness range is 0-100"
        )));
    }
    let mac = parsed.text("mac-address").trim();
    if !mac.is_empty() {
        parse_mac(mac).map_err(Failure::new)?;
    }
    Ok(())
}

/// What `--volume`, `--mount` and `--tmpfs` ask for.
struct Volumes {
    binds: Vec<String>,
    anonymous: Vec<String>,
    mounts: Vec<Mount>,
    tmpfs: BTreeMap<String, String>,
}

impl Volumes {
    fn read(parsed: &Parsed) -> Result<Volumes, Failure> {
        let (mut binds, mut anonymous) = (Vec::new(), Vec::new());
        for text in parsed.list("volume") {
            match parse_volume(&text).map_err(Failure::new)? {
                // Said twice, it is one.
                Volume::Bind(bind) if binds.contains(&bind) => {}
                Volume::Bind(bind) => binds.push(bind),
                Volume::Anonymous(target) => anonymous.push(target),
            }
        }
        let mut tmpfs = BTreeMap::new();
        for text in parsed.list("tmpfs") {
            let (path, options) = text.split_once(':').unwrap_or((&text, ""));
            tmpfs.insert(path.to_owned(), options.to_owned());
        }
        Ok(Volumes { binds, anonymous, mounts: parsed.all("mount"), tmpfs })
    }
}

fn config(parsed: &Parsed, bindings: &port::Bindings, volumes: &Volumes) -> Result<Config, Failure> {
    let attach = parsed.list("attach");
    let attached = |stream: &str| attach.iter().any(|name| name == stream);
    let some = |list: Vec<String>| (!list.is_empty()).then_some(list);
    let mut exposed: Vec<String> = bindings.keys().cloned().collect();
    for text in parsed.list("expose") {
        exposed.extend(port::expose(&text).map_err(Failure::new)?);
    }
    let [image, command @ ..] = parsed.arguments() else { return Err(Failure::new("an image is required")) };
    Ok(Config {
        hostname: parsed.text("hostname").to_owned(),
        domainname: parsed.text("domainname").to_owned(),
        user: parsed.text("user").to_owned(),
        attach_stdin: attached("stdin") || parsed.on("interactive"),
        attach_stdout: attached("stdout") || attach.is_empty(),
        attach_stderr: attached("stderr") || attach.is_empty(),
        exposed_ports: exposed.into_iter().map(|port| (port, Default::default())).collect(),
        tty: parsed.on("tty"),
        open_stdin: parsed.on("interactive"),
        // When nobody is attached any more, the input has ended.
        stdin_once: parsed.on("interactive"),
        env: some(variables(&parsed.list("env-file"), &parsed.list("env"))?),
        cmd: some(command.to_vec()),
        healthcheck: health(parsed)?,
        image: image.clone(),
        volumes: (!volumes.anonymous.is_empty())
            .then(|| volumes.anonymous.iter().map(|target| (target.clone(), Default::default())).collect()),
        working_dir: parsed.text("workdir").to_owned(),
        // An empty program takes the image's away; that is why it is sent.
        entrypoint: parsed.given("entrypoint").map(|program| vec![program.to_owned()]),
        labels: Some(labels(&parsed.list("label-file"), &parsed.list("label"))?),
        stop_signal: parsed.text("stop-signal").to_owned(),
        stop_timeout: parsed.value("stop-timeout"),
        ..Config::default()
    })
}

fn health(parsed: &Parsed) -> Result<Option<HealthConfig>, Failure> {
    let flags = [
        "health-cmd",
        "health-interval",
        "health-timeout",
        "health-start-period",
        "health-start-interval",
        "health-retries",
    ];
    // What counts is what they say, not that they are there.
    let any = flags.iter().any(|flag| match *flag {
        "health-cmd" => !parsed.text(flag).is_empty(),
        _ => parsed.value::<i64>(flag).is_some_and(|value| value != 0),
    });
    if parsed.on("no-healthcheck") {
        if any {
            return Err(Failure::new("--no-healthcheck conflicts with --health-* options"));
        }
        return Ok(Some(HealthConfig { test: vec!["NONE".to_owned()], ..HealthConfig::default() }));
    }
    if !any {
        return Ok(None);
    }
    let duration = |flag: &str| match parsed.value::<i64>(flag) {
        Some(value) if value < 0 => Err(Failure::new(format!("--{flag} cannot be negative"))),
        value => Ok(value.unwrap_or(0)),
    };
    let retries: i64 = parsed.value("health-retries").unwrap_or(0);
    if retries < 0 {
        return Err(Failure::new("--health-retries cannot be negative"));
    }
    let command = parsed.text("health-cmd");
    Ok(Some(HealthConfig {
        test: if command.is_empty() { Vec::new() } else { vec!["CMD-SHELL".to_owned(), command.to_owned()] },
        interval: duration("health-interval")?,
        timeout: duration("health-timeout")?,
        start_period: duration("health-start-period")?,
        start_interval: duration("health-start-interval")?,
        retries,
    }))
}

fn host_config(
    parsed: &Parsed,
    bindings: port::Bindings,
    volumes: Volumes,
    restart_policy: RestartPolicy,
) -> Result<HostConfig, Failure> {
    let some = |name: &str| Some(parsed.list(name)).filter(|list| !list.is_empty());
    let text = |name: &str| parsed.text(name).to_owned();
    let security = security::parse(&parsed.list("security-opt"))?;
    let unmasked = security.system_paths_unconfined.then(Vec::new);
    let (cap_add, cap_drop) = security::capabilities(&parsed.list("cap-add"), &parsed.list("cap-drop"));
    Ok(HostConfig {
        binds: (!volumes.binds.is_empty()).then_some(volumes.binds),
        container_id_file: text("cidfile"),
        log_config: logging(parsed)?,
        network_mode: network_mode(parsed),
        port_bindings: Some(bindings.into_iter().map(|(port, bindings)| (port, Some(bindings))).collect()),
        restart_policy,
        auto_remove: parsed.on("rm"),
        volume_driver: text("volume-driver"),
        volumes_from: some("volumes-from"),
        annotations: pairs(&parsed.list("annotation")),
        cap_add: Some(cap_add).filter(|list| !list.is_empty()),
        cap_drop: Some(cap_drop).filter(|list| !list.is_empty()),
        cgroupns_mode: text("cgroupns"),
        dns: Some(parsed.list("dns")),
        dns_options: Some(parsed.list("dns-option")),
        dns_search: Some(parsed.list("dns-search")),
        extra_hosts: some("add-host"),
        group_add: some("group-add"),
        ipc_mode: text("ipc"),
        links: some("link"),
        oom_score_adj: parsed.value("oom-score-adj").unwrap_or(0),
        pid_mode: text("pid"),
        privileged: parsed.on("privileged"),
        publish_all_ports: parsed.on("publish-all"),
        readonly_rootfs: parsed.on("read-only"),
        security_opt: (!security.options.is_empty()).then_some(security.options),
        storage_opt: storage(parsed)?,
        tmpfs: volumes.tmpfs,
        uts_mode: text("uts"),
        userns_mode: text("userns"),
        shm_size: parsed.value("shm-size").unwrap_or(0),
        sysctls: pairs(&parsed.list("sysctl")),
        runtime: text("runtime"),
        isolation: text("isolation"),
        resources: resources(parsed)?,
        mounts: volumes.mounts,
        masked_paths: unmasked.clone(),
        readonly_paths: unmasked,
        init: parsed.changed("init").then(|| parsed.on("init")),
        ..HostConfig::default()
    })
}

fn logging(parsed: &Parsed) -> Result<LogConfig, Failure> {
    let options = parsed.list("log-opt");
    let kind = parsed.text("log-driver");
    if kind == "none" && !options.is_empty() {
        return Err(Failure::new("invalid logging opts for driver none"));
    }
    Ok(LogConfig { kind: kind.to_owned(), config: Some(pairs(&options)) })
}

fn storage(parsed: &Parsed) -> Result<BTreeMap<String, String>, Failure> {
    let options = parsed.list("storage-opt");
    if options.iter().any(|option| !option.contains('=')) {
        return Err(Failure::new("invalid storage option"));
    }
    Ok(pairs(&options))
}

fn resources(parsed: &Parsed) -> Result<Resources, Failure> {
    let mut devices = Vec::new();
    let mut cdi = Vec::new();
    for entry in parsed.list("device") {
        match device::is_cdi(&entry) {
            true => cdi.push(entry),
            false => devices.push(device::parse(&entry).map_err(Failure::new)?),
        }
    }
    let mut requests: Vec<DeviceRequest> = parsed.all("gpus");
    if !cdi.is_empty() {
        requests.push(gpus::by_name(cdi));
    }
    Ok(Resources {
        cgroup_parent: parsed.text("cgroup-parent").to_owned(),
        blkio_weight_device: Some(parsed.all("blkio-weight-device")),
        blkio_device_read_bps: Some(parsed.all("device-read-bps")),
        blkio_device_write_bps: Some(parsed.all("device-write-bps")),
        blkio_device_read_iops: Some(parsed.all("device-read-iops")),
        blkio_device_write_iops: Some(parsed.all("device-write-iops")),
        devices: Some(devices),
        device_requests: (!requests.is_empty()).then_some(requests),
        device_cgroup_rules: Some(parsed.list("device-cgroup-rule")).filter(|rules| !rules.is_empty()),
        memory_swappiness: parsed.value("memory-swappiness").filter(|value| *value != -1),
        oom_kill_disable: parsed.on("oom-kill-disable").then_some(true),
        ulimits: Some(ulimits(parsed)),
        ..super::limits::read(parsed)
    })
}

/// One for each name: the last one that was given.
fn ulimits(parsed: &Parsed) -> Vec<Ulimit> {
    let all = parsed.all::<Ulimit>("ulimit").into_iter();
    all.map(|limit| (limit.name.clone(), limit)).collect::<BTreeMap<_, _>>().into_values().collect()
}

fn network_mode(parsed: &Parsed) -> String {
    let networks = parsed.all::<Attachment>("network");
    networks.first().map_or_else(|| "default".to_owned(), |network| network.target.clone())
}

/// The endpoints that were described: flags without a network's name belong to the first one.
fn networking(parsed: &Parsed) -> Result<Option<NetworkingConfig>, Failure> {
    let mut networks = parsed.all::<Attachment>("network");
    if networks.is_empty() {
        networks.push(Attachment { target: "default".to_owned(), ..Attachment::default() });
    }
    let several = networks.len() > 1;
    merge_flags(parsed, &mut networks[0])?;
    let mut endpoints_config = BTreeMap::new();
    for network in networks {
        if network.target.is_empty() {
            return Err(Failure::new("no name set for network"));
        }
        let special =
            matches!(network.target.as_str(), "host" | "none") || network.target.starts_with("container:");
        if special && several {
            return Err(Failure::new(format!(
                "conflicting options: cannot attach both user-defined and non-user-defined network-modes: {}",
                network.target
            )));
        }
        let name = network.target.clone();
        if !network.has_wishes() && !several {
            continue;
        }
        if endpoints_config.insert(name.clone(), Some(endpoint(network, parsed))).is_some() {
            return Err(Failure::new(format!("network {name:?} is specified multiple times")));
        }
    }
    Ok((!endpoints_config.is_empty()).then_some(NetworkingConfig { endpoints_config }))
}

fn merge_flags(parsed: &Parsed, network: &mut Attachment) -> Result<(), Failure> {
    let conflict = |flag: &str| {
        let wish = match flag {
            "ip" => "IPv4 address",
            "ip6" => "IPv6 address",
            "mac-address" => "MAC address",
            "network-alias" => "alias",
            _ => "link-local IP addresses",
        };
        Failure::new(format!("conflicting options: cannot specify both --{flag} and per-network {wish}"))
    };
    for (flag, place) in
        [("ip", &mut network.ipv4), ("ip6", &mut network.ipv6), ("mac-address", &mut network.mac)]
    {
        let value = parsed.text(flag).trim();
        if value.is_empty() {
            continue;
        }
        if !place.is_empty() {
            return Err(conflict(flag));
        }
        value.clone_into(place);
    }
    for (flag, place) in [("network-alias", &mut network.aliases), ("link-local-ip", &mut network.link_local)]
    {
        let values = parsed.list(flag);
        if !values.is_empty() && !place.is_empty() {
            return Err(conflict(flag));
        }
        place.extend(values);
    }
    let user_defined = !matches!(network.target.as_str(), "default" | "bridge" | "host" | "none")
        && !network.target.starts_with("container:");
    if !network.aliases.is_empty() && !user_defined {
        return Err(Failure::new("network-scoped aliases are only supported for user-defined networks"));
    }
    Ok(())
}

fn endpoint(network: Attachment, parsed: &Parsed) -> EndpointSettings {
    let some = |list: Vec<String>| (!list.is_empty()).then_some(list);
    let ipam = EndpointIpam {
        ipv4_address: network.ipv4,
        ipv6_address: network.ipv6,
        link_local_ips: network.link_local,
    };
    let user_defined = !matches!(network.target.as_str(), "default" | "bridge");
    EndpointSettings {
        ipam_config: (ipam != EndpointIpam::default()).then_some(ipam),
        links: if user_defined { some(parsed.list("link")) } else { None },
        aliases: some(network.aliases),
        mac_address: network.mac,
        driver_opts: (!network.driver_opts.is_empty()).then_some(network.driver_opts),
        gw_priority: network.priority,
        ..EndpointSettings::default()
    }
}
