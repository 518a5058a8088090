//! What the container is: the portable half of its configuration.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::json::one_or_many;
use crate::omit;

/// A JSON object whose values carry nothing: Go's `map[string]struct{}`.
pub type Set = BTreeMap<String, Nothing>;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Nothing {}

impl<'de> Deserialize<'de> for Nothing {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde::de::IgnoredAny::deserialize(deserializer)?;
        Ok(Self {})
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Config {
    pub hostname: String,
    pub domainname: String,
    pub user: String,
    pub attach_stdin: bool,
    pub attach_stdout: bool,
    pub attach_stderr: bool,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub exposed_ports: Set,
    pub tty: bool,
    pub open_stdin: bool,
    pub stdin_once: bool,
    pub env: Option<Vec<String>>,
    #[serde(deserialize_with = "one_or_many")]
    pub cmd: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<HealthConfig>,
    #[serde(skip_serializing_if = "omit::zero")]
    pub args_escaped: bool,
    pub image: String,
    pub volumes: Option<Set>,
    pub working_dir: String,
    #[serde(deserialize_with = "one_or_many")]
    pub entrypoint: Option<Vec<String>>,
    #[serde(skip_serializing_if = "omit::zero")]
    pub network_disabled: bool,
    /// Before endpoints had addresses of their own; moved to the first endpoint by the server.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mac_address: String,
    pub on_build: Option<Vec<String>>,
    pub labels: Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub stop_signal: String,
    /// Seconds; absent means the engine's default, -1 for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_timeout: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "one_or_many")]
    pub shell: Option<Vec<String>>,
}

/// How to ask the container whether it is well. Durations are nanoseconds; zero inherits.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct HealthConfig {
    /// Empty inherits, `NONE` switches off, `CMD` runs arguments, `CMD-SHELL` a shell line.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub test: Vec<String>,
    #[serde(skip_serializing_if = "omit::zero")]
    pub interval: i64,
    #[serde(skip_serializing_if = "omit::zero")]
    pub timeout: i64,
    #[serde(skip_serializing_if = "omit::zero")]
    pub start_period: i64,
    #[serde(skip_serializing_if = "omit::zero")]
    pub start_interval: i64,
    #[serde(skip_serializing_if = "omit::zero")]
    pub retries: i64,
}
