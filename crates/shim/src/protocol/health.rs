//! What is said of a container's health: how to find out, what was found, what is done about it.

use serde::{Deserialize, Serialize};

/// A health check, its defaults already filled in. Durations in nanoseconds, as in the API.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Health {
    /// The argument vector to execute (`CMD-SHELL` already wrapped in its shell).
    pub command: Vec<String>,
    pub interval: u64,
    pub timeout: u64,
    pub start_period: u64,
    pub start_interval: u64,
    pub retries: u32,
    /// Ask over the network instead of executing the command.
    #[serde(default)]
    pub ask: Option<Ask>,
    #[serde(default)]
    pub on_unhealthy: OnUnhealthy,
}

/// A question to the container's network, from inside its namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    pub address: std::net::SocketAddr,
    /// The path of a `GET` and its `Host`; absent: that somebody accepts the connection is answer enough.
    #[serde(default)]
    pub http: Option<HttpAsk>,
}

/// A `GET`; statuses from 200 to 399 are healthy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpAsk {
    pub host: String,
    /// With its query.
    pub path: String,
}

/// What becomes of a container that has become unhealthy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnUnhealthy {
    #[default]
    Nothing,
    /// Stopped as by a client, and started again whatever its policy.
    Restart,
    /// Stopped as by a client: no policy brings it back.
    Stop,
    /// SIGKILL; its policy decides what then.
    Kill,
}

/// What `docker inspect` shows under `State.Health`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HealthState {
    pub status: HealthStatus,
    pub failing_streak: u32,
    /// The last five, oldest first.
    pub log: Vec<Probe>,
}

/// The word of `docker inspect`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthStatus {
    Starting,
    Healthy,
    Unhealthy,
}

/// One check. Times in RFC 3339.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Probe {
    pub start: String,
    pub end: String,
    pub exit_code: i32,
    /// At most 4096 bytes.
    pub output: String,
}
