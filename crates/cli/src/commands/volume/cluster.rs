//! What `volume create` says about volumes of a swarm. It is sent as it was asked for: whether there
//! is a swarm is the engine's to say.

use serde_json::{Map, Value, json};

use crate::failure::Failure;
use crate::flags::{Parsed, list, text, typed};
use crate::units;

const NAMES: [&str; 10] = [
    "availability",
    "group",
    "limit-bytes",
    "required-bytes",
    "scope",
    "secret",
    "sharing",
    "topology-preferred",
    "topology-required",
    "type",
];

pub(super) fn flags() -> Vec<clap::Arg> {
    let flags = vec![
        text("availability", "string", "Availability in a swarm: active, pause or drain")
            .default_value("active"),
        text("group", "string", "Group of volumes in a swarm"),
        typed("limit-bytes", "bytes", units::parse_bytes, "Largest size in a swarm"),
        typed("required-bytes", "bytes", units::parse_bytes, "Smallest size in a swarm"),
        text("scope", "string", "How many nodes of a swarm use it: single or multi").default_value("single"),
        list("secret", "map", "Secret of a swarm's volume"),
        text("sharing", "string", "How many writers a swarm allows: none, readonly, onewriter or all")
            .default_value("none"),
        list("topology-preferred", "list", "Topology that a swarm prefers"),
        list("topology-required", "list", "Topology that a swarm requires"),
        text("type", "string", "Access type in a swarm: mount or block").default_value("block"),
    ];
    flags.into_iter().map(|flag| flag.hide(true)).collect()
}

/// The wishes, when there are any.
pub(super) fn spec(parsed: &Parsed) -> Result<Option<Value>, Failure> {
    if !NAMES.iter().any(|name| parsed.changed(name)) {
        return Ok(None);
    }
    let mut access = json!({ "Scope": parsed.text("scope"), "Sharing": parsed.text("sharing") });
    match parsed.text("type") {
        "mount" => access["MountVolume"] = json!({}),
        "block" => access["BlockVolume"] = json!({}),
        kind => {
            return Err(Failure::new(format!("invalid type {kind:?}: it must be \"mount\" or \"block\"")));
        }
    }
    let secrets: Vec<Value> = parsed
        .list("secret")
        .iter()
        .filter_map(|secret| secret.split_once('='))
        .map(|(key, secret)| json!({ "Key": key, "Secret": secret }))
        .collect();
    Ok(Some(json!({
        "Group": parsed.text("group"),
        "AccessMode": access,
        "Secrets": secrets,
        "AccessibilityRequirements": {
            "Requisite": topologies(&parsed.list("topology-required")),
            "Preferred": topologies(&parsed.list("topology-preferred")),
        },
        "CapacityRange": {
            "RequiredBytes": parsed.value::<i64>("required-bytes").unwrap_or(0),
            "LimitBytes": parsed.value::<i64>("limit-bytes").unwrap_or(0),
        },
        "Availability": parsed.text("availability"),
    })))
}

/// `key=value,key=value` each.
fn topologies(entries: &[String]) -> Vec<Value> {
    let segments = |entry: &String| {
        let pairs = entry.split(',').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let segments: Map<String, Value> =
            pairs.map(|(key, value)| (key.to_owned(), Value::from(value))).collect();
        json!({ "Segments": segments })
    };
    entries.iter().map(segments).collect()
}
