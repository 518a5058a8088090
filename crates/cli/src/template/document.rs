//! The engine's JSON as a template sees it.
//!
//! Go's client reads an answer into typed structs first. Three things of those types matter to
//! templates and are not in the JSON, so they are told here by the names of members: which objects
//! are maps with free keys, what an absent list or map is, and which members were left out because
//! they say nothing.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::value::{Kind, Member, Struct, Value};
use crate::failure::Failure;

/// Members that hold maps of texts: asking one for a name it does not have is no error.
const TEXT_MAPS: &[&str] = &[
    "Annotations",
    "Attributes",
    "AuxiliaryAddresses",
    "Config",
    "Data",
    "Details",
    "DriverOpts",
    "Labels",
    "Options",
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
    "MaskedPaths",
    "Mounts",
    "OnBuild",
    "ReadonlyPaths",
    "RepoDigests",
    "RepoTags",
    "SecondaryIPAddresses",
    "SecondaryIPv6Addresses",
    "SecurityOpt",
    "Shell",
    "Ulimits",
    "VolumesFrom",
    "Warnings",
];

/// Members that the engine leaves out when they say nothing, by a member that tells which object it
/// is. A template may ask for them all the same: `{{if .State.Health}}`.
const OMITTED: &[(&str, &[&str])] = &[
    ("OOMKilled", &["Health"]),
    ("OpenStdin", &["Healthcheck", "ExposedPorts", "StopSignal", "StopTimeout", "Shell"]),
    ("PortBindings", &["Annotations", "Init", "Mounts", "Runtime", "StorageOpt", "Sysctls", "Tmpfs"]),
    ("HostConfig", &["SizeRw", "SizeRootFs", "ImageManifestDescriptor"]),
];

/// Reads an answer of the engine.
pub(crate) fn read(raw: &str) -> Result<Value, Failure> {
    let value: Value = serde_json::from_str(raw)
        .map_err(|error| Failure::new(format!("the engine's answer cannot be understood: {error}")))?;
    Ok(shape(value, Role::Object))
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
    let mut members: Vec<Member> = object
        .members
        .iter()
        .map(|member| {
            let value = match &member.value {
                Value::Null(_) => nothing(&member.name),
                value => shape(value.clone(), role(&member.name, value)),
            };
            Member { value, ..member.clone() }
        })
        .collect();
    for (mark, omitted) in OMITTED {
        if object.get(mark).is_none() {
            continue;
        }
        for name in *omitted {
            if object.get(name).is_none() {
                members.push(Member { name: (*name).to_owned(), value: nothing(name), sent: false });
            }
        }
    }
    Value::Struct(Rc::new(Struct { members, labels: object.labels.clone() }))
}

/// What stands for a member that says nothing.
fn nothing(name: &str) -> Value {
    match name {
        _ if LISTS.contains(&name) => Value::Null(Kind::List),
        _ if MAPS.contains(&name) => Value::Null(Kind::Map { texts: false }),
        _ if TEXT_MAPS.contains(&name) => Value::Null(Kind::Map { texts: true }),
        "Runtime" | "StopSignal" => Value::text(""),
        _ => Value::Null(Kind::Pointer),
    }
}
