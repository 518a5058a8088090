//! What the versions after the announced one changed.
//!
//! The engine answers in the shape of [`api::version::NEWEST`]. Here are the differences from 1.52 on, for requests that name
//! such a version: mostly members that are not sent any more. [`crate::transform`] hides what came new from everybody else.

use api::container::{CreateRequest, Inspect, Status};
use api::system::{DiskUsage, Info, Part, Usage};
use api::version::ApiVersion;
use api::{container, image, volume};
use serde_json::Value;

use crate::reply::Failure;
use crate::transform::{before, to_value};

/// Members that are gone: the version that took them away, where they stood, and their names.
const GONE: [(u16, &str, &[&str]); 3] = [
    (
        52,
        "/NetworkSettings",
        &[
            "Bridge",
            "HairpinMode",
            "LinkLocalIPv6Address",
            "LinkLocalIPv6PrefixLen",
            "SecondaryIPAddresses",
            "SecondaryIPv6Addresses",
            "EndpointID",
            "Gateway",
            "GlobalIPv6Address",
            "GlobalIPv6PrefixLen",
            "IPAddress",
            "IPPrefixLen",
            "IPv6Gateway",
            "MacAddress",
        ],
    ),
    (52, "/Config", &["MacAddress"]),
    (52, "/HostConfig", &["KernelMemory", "KernelMemoryTCP"]),
];

/// A creation: what is not heard any more is refused or dropped. The warnings are for the answer.
pub(crate) fn create(request: &mut CreateRequest, version: ApiVersion) -> Result<Vec<String>, Failure> {
    let mut warnings = Vec::new();
    if before(version, 52) {
        return Ok(warnings);
    }
    if !request.config.mac_address.is_empty() {
        return Err(Failure::invalid(
            "container-wide MAC address no longer supported; use endpoint-specific MAC address instead",
        ));
    }
    request.host_config.resources.kernel_memory_tcp = 0;
    let ports = request.host_config.port_bindings.iter().flatten();
    let without: Vec<&str> = ports
        .filter(|(_, bindings)| bindings.as_ref().is_none_or(Vec::is_empty))
        .map(|(port, _)| port.as_str())
        .collect();
    if !without.is_empty() {
        warnings.push(format!(
            "Following container port(s) have an empty list of port-bindings: {}. Such bindings will be discarded in a \
             future version.",
            without.join(", ")
        ));
    }
    Ok(warnings)
}

pub(crate) fn inspect(inspect: &Inspect, version: ApiVersion) -> Result<Value, Failure> {
    let mut value = to_value(inspect)?;
    for (since, place, names) in GONE {
        if let Some(Value::Object(members)) = value.pointer_mut(place)
            && !before(version, since)
        {
            names.iter().for_each(|name| drop(members.remove(*name)));
        }
    }
    Ok(value)
}

/// An image without members that say nothing.
pub(crate) fn image(inspect: &image::Inspect) -> Result<Value, Failure> {
    let mut value = to_value(inspect)?;
    if let Value::Object(members) = &mut value {
        for name in ["Parent", "DockerVersion"] {
            members.remove(name);
        }
        members.retain(|name, value| !matches!(name.as_str(), "Comment" | "Author") || !says_nothing(value));
        if let Some(Value::Object(config)) = members.get_mut("Config") {
            config.retain(|_, value| !says_nothing(value));
        }
    }
    Ok(value)
}

fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Information; whether the kernel limits buffers of TCP sockets is not told any more.
pub(crate) fn info(mut info: Info) -> Info {
    info.kernel_memory_tcp = false;
    info
}

/// What everything takes on disk. `verbose` is whether the client wants to know about each thing; one that does not say
/// gets what earlier versions told.
pub(crate) fn disk_usage(usage: DiskUsage, verbose: Option<bool>) -> Usage {
    let DiskUsage { layers_size, images, containers, volumes, build_cache } = usage;
    let mut told = Usage {
        image_usage: images.as_deref().map(|list| of_images(list, layers_size)),
        container_usage: containers.as_deref().map(of_containers),
        volume_usage: volumes.as_deref().map(of_volumes),
        build_cache_usage: build_cache.as_ref().map(|_| Part::default()),
        ..Usage::default()
    };
    match verbose {
        None => {
            told.layers_size = layers_size;
            (told.images, told.containers) = (images, containers);
            (told.volumes, told.build_cache) = (volumes, build_cache);
        }
        Some(true) => {
            put(&mut told.image_usage, images);
            put(&mut told.container_usage, containers);
            put(&mut told.volume_usage, volumes);
        }
        Some(false) => {}
    }
    told
}

/// An empty list is not sent.
fn put<T: Default>(part: &mut Option<Part<T>>, items: Option<Vec<T>>) {
    if let Some(part) = part {
        part.items = items.filter(|items| !items.is_empty());
    }
}

/// Layers of images without containers could go, but for what they share with others.
fn of_images(list: &[image::Summary], layers_size: i64) -> Part<image::Summary> {
    let used = list.iter().filter(|image| image.containers > 0);
    let kept: i64 = used.clone().map(|image| image.size - image.shared_size.max(0)).sum();
    Part {
        active_count: used.count() as i64,
        items: None,
        reclaimable: (layers_size - kept).max(0),
        total_count: list.len() as i64,
        total_size: layers_size,
    }
}

fn of_containers(list: &[container::Summary]) -> Part<container::Summary> {
    part(
        list,
        |one| one.size_rw,
        |one| matches!(one.state, Status::Running | Status::Paused | Status::Restarting),
    )
}

fn of_volumes(list: &[volume::Volume]) -> Part<volume::Volume> {
    let usage = |one: &volume::Volume| one.usage_data.clone().unwrap_or_default();
    part(list, |one| usage(one).size.max(0), |one| usage(one).ref_count > 0)
}

fn part<T: Default>(list: &[T], size: impl Fn(&T) -> i64, is_active: impl Fn(&T) -> bool) -> Part<T> {
    Part {
        active_count: list.iter().filter(|one| is_active(one)).count() as i64,
        items: None,
        reclaimable: list.iter().filter(|one| !is_active(one)).map(&size).sum(),
        total_count: list.len() as i64,
        total_size: list.iter().map(&size).sum(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V: fn(u16) -> ApiVersion = |minor| ApiVersion::new(1, minor);

    fn created(text: &str, minor: u16) -> Result<Vec<String>, Failure> {
        create(&mut api::json::from_slice(text.as_bytes()).unwrap(), V(minor))
    }

    #[test]
    fn a_containers_own_address_is_refused() {
        let text = r#"{"MacAddress":"02:00:00:00:00:01"}"#;
        assert_eq!(created(text, 51).unwrap(), [""; 0]);
        let failure = created(text, 52).unwrap_err();
        assert_eq!(failure.status, 400);
        assert!(failure.message.starts_with("container-wide MAC address no longer supported"));
    }

    #[test]
    fn ports_bound_to_nothing_get_a_warning() {
        let text = r#"{"HostConfig":{"PortBindings":{"80/tcp":[],"81/tcp":[{}],"82/tcp":null}}}"#;
        assert!(created(text, 51).unwrap().is_empty());
        let warnings = created(text, 52).unwrap();
        assert!(warnings[0].contains(": 80/tcp, 82/tcp. ") && warnings.len() == 1, "{warnings:?}");
    }

    #[test]
    fn containers_tell_no_address_twice() {
        let mut container = Inspect::default();
        container.network_settings.ip_address = "172.17.0.2".into();
        container.config.mac_address = "02:00:00:00:00:01".into();
        let value = inspect(&container, V(52)).unwrap();
        let Value::Object(settings) = &value["NetworkSettings"] else { panic!("{value}") };
        assert_eq!(settings.keys().collect::<Vec<_>>(), ["Networks", "Ports", "SandboxID", "SandboxKey"]);
        assert!(value["Config"].get("MacAddress").is_none());
        assert_eq!(inspect(&container, V(51)).unwrap(), to_value(&container).unwrap());
    }

    #[test]
    fn images_leave_out_what_says_nothing() {
        let mut one = image::Inspect { author: "me".into(), ..Default::default() };
        one.config.cmd = Some(vec!["sh".into()]);
        let value = image(&one).unwrap();
        assert_eq!(value["Config"], serde_json::json!({"Cmd": ["sh"]}));
        for name in ["Parent", "Comment", "DockerVersion"] {
            assert!(value.get(name).is_none(), "{name}");
        }
        assert_eq!(value["Author"], "me");
        assert!(value.get("RepoTags").is_some());
    }

    #[test]
    fn disk_usage_comes_in_sums() {
        let used = image::Summary { containers: 1, size: 70, shared_size: 20, ..Default::default() };
        let running = container::Summary { size_rw: 5, state: Status::Running, ..Default::default() };
        let ended = container::Summary { size_rw: 7, state: Status::Exited, ..Default::default() };
        let usage = DiskUsage {
            layers_size: 100,
            images: Some(vec![used, image::Summary::default()]),
            containers: Some(vec![running, ended]),
            volumes: None,
            build_cache: Some(Vec::new()),
        };
        let brief = disk_usage(usage.clone(), Some(false));
        let images = brief.image_usage.clone().unwrap();
        assert_eq!((images.active_count, images.total_count), (1, 2));
        assert_eq!((images.reclaimable, images.total_size, images.items), (50, 100, None));
        let containers = brief.container_usage.clone().unwrap();
        assert_eq!((containers.reclaimable, containers.total_size), (7, 12));
        assert!(brief.volume_usage.is_none() && brief.images.is_none() && brief.build_cache_usage.is_some());
        let verbose = disk_usage(usage.clone(), Some(true));
        assert_eq!(verbose.container_usage.unwrap().items.unwrap().len(), 2);
        assert!(verbose.containers.is_none());
        let both = disk_usage(usage, None);
        assert_eq!((both.layers_size, both.images.unwrap().len()), (100, 2));
        assert!(both.image_usage.unwrap().items.is_none());
    }
}
