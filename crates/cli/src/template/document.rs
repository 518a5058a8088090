//! The engine's JSON as a template sees it.
//!
//! Go's client reads an answer into typed structs first. Some things of those types matter to
//! templates and are not in the JSON, so they are told here by the names of members: which objects
//! are maps with free keys, what an absent list or map is, which members were left out because they
//! say nothing, which have another name in Go, and which are times.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::value::{Kind, Labels, Member, Struct, Typed, Value};
use crate::failure::Failure;

/// Members that hold maps of texts: asking one for a name it does not have is no error.
const TEXT_MAPS: &[&str] = &[
    "Annotations",
    "Attributes",
    "AuxAddress",
    "AuxiliaryAddresses",
    "Config",
    "Data",
    "Details",
    "DriverOpts",
    "Labels",
    "Options",
    "Status",
    "StorageOpt",
    "Sysctls",
    "Tmpfs",
];

/// Members that hold maps of something else.
const MAPS: &[&str] = &[
    "Containers",
    "EndpointsConfig",
    "ExposedPorts",
    "IndexConfigs",
    "Networks",
    "PortBindings",
    "Ports",
    "Runtimes",
    "Services",
    "Volumes",
];

/// Members that hold lists: an absent list is an empty one to a template, and counts zero.
const LISTS: &[&str] = &[
    "Aliases",
    "Binds",
    "BlkioDeviceReadBps",
    "BlkioDeviceReadIOps",
    "BlkioDeviceWriteBps",
    "BlkioDeviceWriteIOps",
    "BlkioWeightDevice",
    "CapAdd",
    "CapDrop",
    "Cmd",
    "DNSNames",
    "DeviceCgroupRules",
    "DeviceRequests",
    "Devices",
    "Dns",
    "DnsOptions",
    "DnsSearch",
    "Entrypoint",
    "Env",
    "ExecIDs",
    "ExtraHosts",
    "GroupAdd",
    "Links",
    "Manifests",
    "MaskedPaths",
    "Mounts",
    "OnBuild",
    "Peers",
    "ReadonlyPaths",
    "RepoDigests",
    "RepoTags",
    "SecondaryIPAddresses",
    "SecondaryIPv6Addresses",
    "SecurityOpt",
    "ServerErrors",
    "Shell",
    "Ulimits",
    "VolumesFrom",
    "Warnings",
];

/// Members that are texts, flags or numbers where they are left out.
const TEXTS: &[&str] = &[
    "Consistency",
    "Container",
    "Created",
    "CreatedAt",
    "Driver",
    "Gateway",
    "IPRange",
    "MacAddress",
    "Name",
    "OsVersion",
    "Runtime",
    "Source",
    "StopSignal",
    "Subnet",
    "Type",
    "User",
    "Variant",
    "WorkingDir",
];
const FLAGS: &[&str] = &["ArgsEscaped", "NetworkDisabled", "ReadOnly"];
const NUMBERS: &[&str] = &["KernelMemory", "KernelMemoryTCP", "Retries", "VirtualSize"];
const DURATIONS: &[&str] = &["Interval", "StartInterval", "StartPeriod", "Timeout"];

/// Members that the engine leaves out when they say nothing, by a member that tells which object it
/// is. A template may ask for them all the same: `{{if .State.Health}}`. Where the list names all
/// that the object has, it is in the order of Go's type, in which the whole object is shown.
const OMITTED: &[(&str, &[&str])] = &[
    ("OOMKilled", &["Health"]),
    ("ClientInfo", &["ServerErrors"]),
    (
        "OpenStdin",
        &[
            "Hostname",
            "Domainname",
            "User",
            "AttachStdin",
            "AttachStdout",
            "AttachStderr",
            "ExposedPorts",
            "Tty",
            "OpenStdin",
            "StdinOnce",
            "Env",
            "Cmd",
            "Healthcheck",
            "ArgsEscaped",
            "Image",
            "Volumes",
            "WorkingDir",
            "Entrypoint",
            "NetworkDisabled",
            "MacAddress",
            "OnBuild",
            "Labels",
            "StopSignal",
            "StopTimeout",
            "Shell",
        ],
    ),
    (
        "PortBindings",
        &[
            "Annotations",
            "Init",
            "KernelMemory",
            "KernelMemoryTCP",
            "Mounts",
            "Runtime",
            "StorageOpt",
            "Sysctls",
            "Tmpfs",
        ],
    ),
    ("HostConfig", &["SizeRw", "SizeRootFs", "ImageManifestDescriptor"]),
    // A mount of a container, as it is and as it was wished for.
    ("RW", &["Type", "Name", "Source", "Destination", "Driver", "Mode", "RW", "Propagation"]),
    (
        "Target",
        &[
            "Type",
            "Source",
            "Target",
            "ReadOnly",
            "Consistency",
            "BindOptions",
            "VolumeOptions",
            "ImageOptions",
            "TmpfsOptions",
            "ClusterOptions",
        ],
    ),
    ("Test", &["Test", "Interval", "Timeout", "StartPeriod", "StartInterval", "Retries"]),
    (
        "RootFS",
        &[
            "Container",
            "ContainerConfig",
            "Created",
            "Descriptor",
            "Manifests",
            "OsVersion",
            "Variant",
            "VirtualSize",
        ],
    ),
    ("EnableIPv6", &["Peers", "Services"]),
    ("Subnet", &["Subnet", "IPRange", "Gateway", "AuxAddress"]),
    ("Mountpoint", &["ClusterVolume", "CreatedAt", "Status", "UsageData"]),
];

/// What the configuration of an image leaves out, which may be all of it; in the order of Go's type.
const OMITTED_OF_IMAGES: &[&str] = &[
    "User",
    "ExposedPorts",
    "Env",
    "Entrypoint",
    "Cmd",
    "Volumes",
    "WorkingDir",
    "Labels",
    "StopSignal",
    "ArgsEscaped",
    "Healthcheck",
    "OnBuild",
    "Shell",
];

/// Names that members have in Go's types and in nobody's JSON.
const OTHER_NAMES: &[(&str, &str)] = &[
    ("AuxAddress", "AuxiliaryAddresses"),
    ("CPUCount", "CpuCount"),
    ("CPUPercent", "CpuPercent"),
    ("CPUPeriod", "CpuPeriod"),
    ("CPUQuota", "CpuQuota"),
    ("CPURealtimePeriod", "CpuRealtimePeriod"),
    ("CPURealtimeRuntime", "CpuRealtimeRuntime"),
    ("CPUShares", "CpuShares"),
    ("DNS", "Dns"),
    ("DNSOptions", "DnsOptions"),
    ("DNSSearch", "DnsSearch"),
    ("ID", "Id"),
    ("NanoCPUs", "NanoCpus"),
];

/// Reads an answer of the engine as Go does where it knows no types.
pub(super) fn read_untyped(raw: &str) -> Result<Value, Failure> {
    parse(raw).map(|value| value.untyped())
}

fn parse(raw: &str) -> Result<Value, Failure> {
    serde_json::from_str(raw)
        .map_err(|error| Failure::new(format!("the engine's answer cannot be understood: {error}")))
}

/// Reads an answer of the engine.
pub(crate) fn read(raw: &str) -> Result<Value, Failure> {
    Ok(shape(parse(raw)?, Role::Object))
}

#[derive(Clone, Copy, PartialEq)]
enum Role {
    Object,
    /// The value of a member that holds a map.
    Map,
}

fn role(name: &str, value: &Value) -> Role {
    // `Config` is the configuration of a container or image, the options of a logging driver, or
    // the list of an address pool.
    let configuration =
        |object: &Struct| name == "Config" && (object.get("Image").or(object.get("Cmd"))).is_some();
    match value {
        Value::Struct(object) if configuration(object) => Role::Object,
        _ if TEXT_MAPS.contains(&name) || MAPS.contains(&name) => Role::Map,
        _ => Role::Object,
    }
}

fn shape(value: Value, role: Role) -> Value {
    match (value, role) {
        (Value::List(values), _) => {
            Value::list(values.iter().cloned().map(|value| shape(value, Role::Object)))
        }
        (Value::Struct(object), Role::Map) => {
            let members = object.members.iter().map(|member| {
                let value = match &member.value {
                    // A port that is exposed and bound to nothing.
                    Value::Null(_) if member.name.contains('/') => Value::Null(Kind::List),
                    value => shape(value.clone(), Role::Object),
                };
                (member.name.clone(), value)
            });
            Value::Map(Rc::new(members.collect::<BTreeMap<_, _>>()))
        }
        (Value::Struct(object), Role::Object) => structure(&object),
        (value, _) => value,
    }
}

fn structure(object: &Struct) -> Value {
    let is_image = object.get("RootFS").is_some();
    let mut members: Vec<Member> = object
        .members
        .iter()
        .map(|member| {
            let value = match &member.value {
                Value::Struct(config) if is_image && member.name == "Config" => {
                    whole(config, OMITTED_OF_IMAGES)
                }
                Value::Null(_) => nothing(&member.name),
                value => typed(object, &member.name, value)
                    .unwrap_or_else(|| shape(value.clone(), role(&member.name, value))),
            };
            Member { value, ..member.clone() }
        })
        .collect();
    for (mark, omitted) in OMITTED {
        if object.get(mark).is_some() {
            complete(&mut members, omitted);
        }
    }
    Value::Struct(Rc::new(Struct { members, labels: object.labels.clone(), kind: object.kind }))
}

fn whole(object: &Struct, omitted: &[&str]) -> Value {
    let Value::Struct(shaped) = structure(object) else { return Value::Null(Kind::Pointer) };
    let mut members = shaped.members.clone();
    complete(&mut members, omitted);
    // JSON shows of it what says something.
    for member in &mut members {
        member.sent &= member.value.truth();
    }
    Value::Struct(Rc::new(Struct { members, labels: Labels::None, kind: "" }))
}

/// Adds the members that are not there.
fn complete(members: &mut Vec<Member>, all: &[&str]) {
    for name in all {
        let known = |member: &Member| member.name == *name || other_name(name) == Some(&member.name);
        if !members.iter().any(known) {
            members.push(Member { name: (*name).to_owned(), value: nothing(name), sent: false });
        }
    }
    let place = |member: &Member| all.iter().position(|name| member.name == *name);
    if members.iter().all(|member| place(member).is_some()) {
        members.sort_by_key(place);
    }
}

/// Whether a member has this name in JSON alone.
pub(super) fn is_only_json(name: &str) -> bool {
    OTHER_NAMES.iter().any(|(_, json)| *json == name)
}

/// The name in JSON of a member that Go's types call otherwise.
pub(super) fn other_name(name: &str) -> Option<&'static str> {
    OTHER_NAMES.iter().find(|(go, _)| *go == name).map(|(_, json)| *json)
}

/// Times and durations that are such in Go's types, where most are texts.
fn typed(object: &Struct, name: &str, value: &Value) -> Option<Value> {
    match value {
        Value::Int(nanoseconds) if object.get("Test").is_some() && DURATIONS.contains(&name) => {
            Some(duration(*nanoseconds))
        }
        Value::Text(text)
            if name == "LastTagTime" || name == "Created" && object.get("EnableIPv6").is_some() =>
        {
            let shown = text.strip_suffix('Z')?.replace('T', " ") + " +0000 UTC";
            Some(Value::Typed(Rc::new(Typed { shown, plain: value.clone() })))
        }
        _ => None,
    }
}

fn duration(nanoseconds: i64) -> Value {
    let shown = moment::duration::format(nanoseconds);
    Value::Typed(Rc::new(Typed { shown, plain: Value::Int(nanoseconds) }))
}

/// What stands for a member that says nothing.
fn nothing(name: &str) -> Value {
    match name {
        _ if LISTS.contains(&name) => Value::Null(Kind::List),
        _ if MAPS.contains(&name) => Value::Null(Kind::Map { texts: false }),
        _ if TEXT_MAPS.contains(&name) => Value::Null(Kind::Map { texts: true }),
        _ if TEXTS.contains(&name) => Value::text(""),
        _ if FLAGS.contains(&name) => Value::Bool(false),
        _ if NUMBERS.contains(&name) => Value::Int(0),
        _ if DURATIONS.contains(&name) => duration(0),
        _ => Value::Null(Kind::Pointer),
    }
}
