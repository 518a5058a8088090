//! What older clients say and must see.
//!
//! The engine speaks only the version that it announces; what later ones changed is in [`crate::newer`]. On the way in, members that a version did not know are dropped and
//! its defaults filled in; on the way out, members that it expects are added. Each line names the version that
//! changed.

use api::container::{CreateRequest, Inspect, Mount, NEVER, Stats, Summary, UpdateRequest};
use api::system::Info;
use api::version::ApiVersion;
use api::{image, network};
use serde_json::{Value, json};

use crate::reply::Failure;

pub(crate) fn before(version: ApiVersion, minor: u16) -> bool {
    version < ApiVersion::new(1, minor)
}

/// Defaults and ignored members of a creation.
pub(crate) fn create(mut request: CreateRequest, version: ApiVersion) -> Result<CreateRequest, Failure> {
    let host = &mut request.host_config;
    if before(version, 25) {
        // Clients of that time remove containers themselves.
        host.auto_remove = false;
    }
    if before(version, 40) && host.ipc_mode.is_empty() {
        host.ipc_mode = "shareable".to_owned();
    }
    if before(version, 41) && host.cgroupns_mode.is_empty() {
        host.cgroupns_mode = "host".to_owned();
    }
    if before(version, 42) {
        host.console_size = [0, 0];
    } else {
        // Gone from the interface.
        host.resources.kernel_memory = 0;
    }
    if before(version, 43) {
        host.annotations.clear();
    }
    if before(version, 44)
        && let Some(check) = &mut request.config.healthcheck
    {
        check.start_interval = 0;
    }
    mounts(&mut request, version)?;
    endpoints(&mut request, version)?;
    Ok(request)
}

/// What an answer to a creation warns of, to clients that know where else to say it.
pub(crate) fn ignored_driver(request: &CreateRequest, version: ApiVersion) -> Option<String> {
    let host = &request.host_config;
    let named =
        |mount: &Mount| mount.volume_options.as_ref().is_some_and(|volume| volume.driver_config.is_some());
    let ignored = !host.volume_driver.is_empty()
        && host.mounts.iter().any(|mount| mount.kind == "volume" && !named(mount));
    (ignored && !before(version, 48)).then(|| {
        "WARNING: the container-wide volume-driver configuration is ignored for volumes specified via 'mount'. Use \
         '--mount type=volume,volume-driver=...' instead"
            .to_owned()
    })
}

fn mounts(request: &mut CreateRequest, version: ApiVersion) -> Result<(), Failure> {
    for mount in &mut request.host_config.mounts {
        if before(version, 42) {
            // Options of another kind were not looked at.
            mount.bind_options = mount.bind_options.take().filter(|_| mount.kind == "bind");
            mount.volume_options = mount.volume_options.take().filter(|_| mount.kind == "volume");
            mount.tmpfs_options = mount.tmpfs_options.take().filter(|_| mount.kind == "tmpfs");
        }
        if let Some(bind) = &mut mount.bind_options {
            bind.non_recursive &= !before(version, 40);
            bind.create_mountpoint &= !before(version, 42);
            if before(version, 44) && bind.read_only_force_recursive {
                return Err(Failure::invalid("BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer"));
            }
        }
        if before(version, 44) && mount.kind == "bind" && mount.read_only {
            mount.bind_options.get_or_insert_default().read_only_non_recursive = true;
        }
        if before(version, 45)
            && mount.volume_options.as_ref().is_some_and(|volume| !volume.subpath.is_empty())
        {
            return Err(Failure::invalid("VolumeOptions.Subpath needs API v1.45 or newer"));
        }
        if before(version, 48) && mount.kind == "image" {
            return Err(Failure::invalid("Mount type \"Image\" needs API v1.48 or newer"));
        }
    }
    Ok(())
}

fn endpoints(request: &mut CreateRequest, version: ApiVersion) -> Result<(), Failure> {
    let Some(networking) = &mut request.networking_config else { return Ok(()) };
    if before(version, 44) && networking.endpoints_config.len() > 1 {
        let names: Vec<_> = networking.endpoints_config.keys().map(String::as_str).collect();
        return Err(Failure::invalid(format!(
            "Container cannot be created with multiple network endpoints: {}",
            names.join(", ")
        )));
    }
    for endpoint in networking.endpoints_config.values_mut().flatten() {
        if before(version, 44) {
            endpoint.mac_address.clear();
        }
        if before(version, 48) {
            endpoint.gw_priority = 0;
        }
    }
    Ok(())
}

pub(crate) fn inspect(mut inspect: Inspect, version: ApiVersion) -> Inspect {
    if before(version, 48) {
        inspect.image_manifest_descriptor = None;
    }
    if before(version, 45) {
        let own = [inspect.id.chars().take(12).collect(), inspect.config.hostname.clone()];
        let user_defined = |name: &str| !matches!(name, "bridge" | "host" | "none" | "default");
        for (_, endpoint) in
            inspect.network_settings.networks.iter_mut().filter(|(name, _)| user_defined(name))
        {
            let aliases = endpoint.aliases.get_or_insert_default();
            for name in &own {
                if !name.is_empty() && !aliases.contains(name) {
                    aliases.push(name.clone());
                }
            }
        }
    }
    inspect
}

pub(crate) fn summary(container: &mut Summary, version: ApiVersion) {
    if before(version, 46) {
        container.host_config.annotations.clear();
    }
    if before(version, 48) {
        container.image_manifest_descriptor = None;
    }
    if before(version, 52) {
        container.health = None;
    }
}

/// What a container used, without what it is.
pub(crate) fn stats(stats: &mut Stats, version: ApiVersion) {
    if before(version, 52) {
        stats.os_type.clear();
    }
}

pub(crate) fn network(network: &mut network::Inspect, version: ApiVersion) {
    if before(version, 52) {
        network.status = None;
    }
}

/// Limits of a container change; those of single devices stayed as they were made.
pub(crate) fn update(request: &mut UpdateRequest, version: ApiVersion) {
    let resources = &mut request.resources;
    if before(version, 40) {
        resources.pids_limit = None;
    }
    if !before(version, 42) {
        // Gone from the interface, and not missed since.
        resources.kernel_memory = 0;
    }
    if before(version, 55) {
        resources.blkio_weight_device = None;
        for list in [
            &mut resources.blkio_device_read_bps,
            &mut resources.blkio_device_write_bps,
            &mut resources.blkio_device_read_iops,
            &mut resources.blkio_device_write_iops,
        ] {
            *list = None;
        }
    }
}

pub(crate) fn virtual_size(image: &mut image::Summary, version: ApiVersion) {
    image.virtual_size = if before(version, 44) { image.size } else { 0 };
}

/// An image that no registry knows has null for digests where lists are old, and in what everything takes on disk.
pub(crate) fn no_digests(image: &mut image::Summary) {
    image.repo_digests = image.repo_digests.take().filter(|digests| !digests.is_empty());
}

pub(crate) fn image_summary(image: &mut image::Summary, version: ApiVersion) {
    virtual_size(image, version);
    if before(version, 43) {
        no_digests(image);
    }
    let none = |list: &Option<Vec<String>>| list.as_ref().is_none_or(Vec::is_empty);
    if before(version, 43) && none(&image.repo_tags) && none(&image.repo_digests) {
        image.repo_tags = Some(vec!["<none>:<none>".to_owned()]);
        image.repo_digests = Some(vec!["<none>@<none>".to_owned()]);
    }
    if before(version, 48) {
        image.descriptor = None;
    }
    if before(version, 51) {
        image.containers = -1;
    }
}

/// An image as clients before 1.50 expect it.
pub(crate) fn image(mut image: image::Inspect, version: ApiVersion) -> Result<Value, Failure> {
    if before(version, 44) {
        image.virtual_size = image.size;
        if image.created.is_empty() {
            image.created = NEVER.to_owned();
        }
    }
    if before(version, 48) {
        image.descriptor = None;
    }
    let mut value = to_value(&image)?;
    if before(version, 45) {
        value["ContainerConfig"] = to_value(&api::container::Config::default())?;
    }
    if before(version, 50) {
        // Members of a container's configuration that an image never set.
        for name in ["AttachStderr", "AttachStdin", "AttachStdout", "OpenStdin", "StdinOnce", "Tty"] {
            value["Config"][name] = json!(false);
        }
        for name in ["Domainname", "Hostname", "Image"] {
            value["Config"][name] = json!("");
        }
    }
    Ok(value)
}

/// Information as clients before 1.50 expect it.
pub(crate) fn info(mut info: Info, version: ApiVersion) -> Result<Value, Failure> {
    if before(version, 44) {
        info.runtimes.values_mut().for_each(|runtime| runtime.status.clear());
    }
    if before(version, 46) {
        info.containerd = None;
    }
    if before(version, 49) {
        info.firewall_backend = None;
    }
    if before(version, 50) {
        info.discovered_devices.clear();
    }
    let mut value = to_value(&info)?;
    if before(version, 47) {
        for name in ["AllowNondistributableArtifactsCIDRs", "AllowNondistributableArtifactsHostnames"] {
            value["RegistryConfig"][name] = Value::Null;
        }
    }
    if before(version, 49) {
        for name in ["ContainerdCommit", "RuncCommit", "InitCommit"] {
            value[name]["Expected"] = value[name]["ID"].clone();
        }
    }
    if before(version, 50) {
        value["BridgeNfIptables"] = json!(false);
        value["BridgeNfIp6tables"] = json!(false);
    }
    Ok(value)
}

pub(crate) fn to_value<T: serde::Serialize>(body: &T) -> Result<Value, Failure> {
    serde_json::to_value(body).map_err(|error| Failure::system(format!("cannot encode the answer: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(text: &str) -> CreateRequest {
        api::json::from_slice(text.as_bytes()).unwrap()
    }

    const V: fn(u16) -> ApiVersion = |minor| ApiVersion::new(1, minor);

    #[test]
    fn old_clients_get_the_defaults_of_their_days() {
        let old = create(request("{}"), V(39)).unwrap().host_config;
        assert_eq!((old.ipc_mode.as_str(), old.cgroupns_mode.as_str()), ("shareable", "host"));
        let new = create(request("{}"), V(41)).unwrap().host_config;
        assert_eq!((new.ipc_mode.as_str(), new.cgroupns_mode.as_str()), ("", ""));
    }

    #[test]
    fn members_that_came_later_are_dropped_or_refused() {
        let text = r#"{"Healthcheck":{"StartInterval":5},"HostConfig":{"Annotations":{"a":"b"},
            "Mounts":[{"Type":"bind","Source":"/a","Target":"/b","ReadOnly":true,"TmpfsOptions":{}}]},
            "NetworkingConfig":{"EndpointsConfig":{"n":{"MacAddress":"x","GwPriority":3}}}}"#;
        let old = create(request(text), V(41)).unwrap();
        assert_eq!(old.config.healthcheck.unwrap().start_interval, 0);
        assert!(old.host_config.annotations.is_empty());
        let mount = &old.host_config.mounts[0];
        assert!(
            mount.tmpfs_options.is_none() && mount.bind_options.as_ref().unwrap().read_only_non_recursive
        );
        let endpoint = old.networking_config.unwrap().endpoints_config["n"].clone().unwrap();
        assert_eq!((endpoint.mac_address.as_str(), endpoint.gw_priority), ("", 0));
        assert_eq!(create(request(text), V(51)).unwrap(), request(text));
        let two = r#"{"NetworkingConfig":{"EndpointsConfig":{"a":{},"b":null}}}"#;
        assert_eq!(
            create(request(two), V(43)).unwrap_err().message,
            "Container cannot be created with multiple network endpoints: a, b"
        );
        let image = r#"{"HostConfig":{"Mounts":[{"Type":"image"}]}}"#;
        assert!(create(request(image), V(47)).is_err() && create(request(image), V(48)).is_ok());
    }

    #[test]
    fn what_the_announced_version_does_not_know_is_not_shown() {
        let mut container = Summary { health: Some(Default::default()), ..Default::default() };
        summary(&mut container, V(52));
        assert!(container.health.is_some());
        summary(&mut container, V(51));
        assert!(container.health.is_none());
        let mut sample = Stats { os_type: "linux".into(), ..Default::default() };
        stats(&mut sample, V(51));
        assert_eq!(sample.os_type, "");
        let mut net = network::Inspect { status: Some(Default::default()), ..Default::default() };
        network(&mut net, V(52));
        assert!(net.status.is_some());
        network(&mut net, V(51));
        assert!(net.status.is_none());
    }

    #[test]
    fn what_was_not_heard_is_dropped() {
        let text = r#"{"BlkioDeviceReadBps":[{"Path":"/dev/vda","Rate":1}],"BlkioWeight":20}"#;
        let updated = |minor| {
            let mut request: UpdateRequest = api::json::from_slice(text.as_bytes()).unwrap();
            update(&mut request, V(minor));
            (
                request.resources.blkio_device_read_bps.map_or(0, |all| all.len()),
                request.resources.blkio_weight,
            )
        };
        assert_eq!((updated(54), updated(55)), ((0, 20), (1, 20)));
    }

    #[test]
    fn images_look_as_they_did() {
        let mut old = image::Summary { size: 7, containers: 2, ..Default::default() };
        image_summary(&mut old, V(40));
        assert_eq!((old.virtual_size, old.containers), (7, -1));
        assert_eq!(old.repo_tags.unwrap(), ["<none>:<none>"]);
        let value = image(image::Inspect { size: 7, ..Default::default() }, V(40)).unwrap();
        assert_eq!(value["VirtualSize"], 7);
        assert_eq!(value["Config"]["Tty"], false);
        assert!(value["ContainerConfig"].is_object());
        let value = image(image::Inspect { size: 7, ..Default::default() }, V(51)).unwrap();
        assert!(value.get("VirtualSize").is_none() && value["Config"].get("Tty").is_none());
    }

    #[test]
    fn info_has_what_was_dropped_later() {
        let value = info(Info::default(), V(46)).unwrap();
        assert_eq!(value["BridgeNfIptables"], false);
        assert!(value["RegistryConfig"]["AllowNondistributableArtifactsCIDRs"].is_null());
        assert_eq!(value["RuncCommit"]["Expected"], "");
        assert!(info(Info::default(), V(51)).unwrap().get("BridgeNfIptables").is_none());
    }

    #[test]
    fn aliases_once_contained_the_short_id() {
        let mut container = Inspect { id: "0123456789abcdef".into(), ..Default::default() };
        container.network_settings.networks.insert("mine".into(), Default::default());
        container.network_settings.networks.insert("bridge".into(), Default::default());
        let networks = inspect(container.clone(), V(44)).network_settings.networks;
        assert_eq!(networks["mine"].aliases, Some(vec!["0123456789ab".to_owned()]));
        assert_eq!(networks["bridge"].aliases, None);
        assert_eq!(inspect(container.clone(), V(45)), container);
    }
}
