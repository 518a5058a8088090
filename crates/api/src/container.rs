//! Containers: how they are asked for, and what is told about them.

mod config;
mod host;
mod inspect;
mod mount;
mod stats;
mod sysctl;

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::json::Lenient;
use crate::network::EndpointSettings;
use crate::omit;

pub use config::{Config, HealthConfig, Nothing, Set};
pub use host::{
    DeviceMapping, DeviceRequest, HostConfig, LogConfig, PortBinding, PortMap, Resources, RestartPolicy,
    ThrottleDevice, Ulimit, WeightDevice,
};
pub use inspect::{
    Address, DriverData, Health, HealthResult, HealthSummary, Inspect, MountPoint, NEVER, NetworkSettings,
    Port, State, Status, Summary, SummaryHost, SummaryNetworks,
};
pub use mount::{BindOptions, ImageOptions, Mount, TmpfsOptions, VolumeDriver, VolumeOptions};
pub use stats::{
    BlkioEntry, BlkioStats, CpuStats, CpuUsage, MemoryStats, NetworkStats, PidsStats, Stats, StorageStats,
    Throttling,
};
pub use sysctl::SysctlOwner;

/// Body of `POST /containers/create`: the container's configuration with the host's beside it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self", rename_all = "PascalCase", default)]
pub struct CreateRequest {
    #[serde(flatten, skip_deserializing)]
    pub config: Config,
    pub host_config: HostConfig,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub networking_config: Option<NetworkingConfig>,
}

impl<'de> Deserialize<'de> for CreateRequest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Two readings of one document instead of serde's `flatten`, which forgets the type of what
        // it buffers and with it where `null` may stand.
        let value = serde_json::Value::deserialize(deserializer)?;
        let mut request = Self::deserialize(Lenient(value.clone())).map_err(serde::de::Error::custom)?;
        request.config = Config::deserialize(Lenient(value)).map_err(serde::de::Error::custom)?;
        Ok(request)
    }
}

impl Serialize for CreateRequest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NetworkingConfig {
    /// By network name; `null` is no endpoint, and refused.
    pub endpoints_config: BTreeMap<String, Option<EndpointSettings>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct CreateResponse {
    pub id: String,
    pub warnings: Vec<String>,
}

/// Body of `POST /containers/{id}/update`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self", rename_all = "PascalCase", default)]
pub struct UpdateRequest {
    #[serde(flatten, skip_deserializing)]
    pub resources: Resources,
    pub restart_policy: RestartPolicy,
}

impl<'de> Deserialize<'de> for UpdateRequest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        let mut request = Self::deserialize(Lenient(value.clone())).map_err(serde::de::Error::custom)?;
        request.resources = Resources::deserialize(Lenient(value)).map_err(serde::de::Error::custom)?;
        Ok(request)
    }
}

impl Serialize for UpdateRequest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct UpdateResponse {
    pub warnings: Option<Vec<String>>,
}

/// Body of `POST /containers/{id}/wait`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct WaitResponse {
    pub status_code: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<WaitError>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct WaitError {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// What `POST /containers/{id}/wait` waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WaitCondition {
    #[default]
    NotRunning,
    NextExit,
    Removed,
}

impl std::str::FromStr for WaitCondition {
    /// Docker's sentence.
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "" | "not-running" => Ok(Self::NotRunning),
            "next-exit" => Ok(Self::NextExit),
            "removed" => Ok(Self::Removed),
            _ => Err(format!("invalid condition: {word:?}")),
        }
    }
}

impl WaitCondition {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotRunning => "not-running",
            Self::NextExit => "next-exit",
            Self::Removed => "removed",
        }
    }
}

/// Body of `GET /containers/{id}/top`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Top {
    pub processes: Vec<Vec<String>>,
    pub titles: Vec<String>,
}

/// One line of `GET /containers/{id}/changes`; kind 0 is modified, 1 added, 2 deleted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Change {
    pub path: String,
    pub kind: u8,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct PruneReport {
    pub containers_deleted: Option<Vec<String>>,
    pub space_reclaimed: u64,
}

/// What the header `X-Docker-Container-Path-Stat` holds, in base64.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PathStat {
    pub name: String,
    pub size: i64,
    /// Go's `os.FileMode`: permission bits, and the type in the high bits.
    pub mode: u32,
    pub mtime: String,
    pub link_target: String,
}

impl PathStat {
    pub const HEADER: &str = "X-Docker-Container-Path-Stat";
    pub const MODE_DIRECTORY: u32 = 1 << 31;
    pub const MODE_SYMLINK: u32 = 1 << 27;
    pub const MODE_DEVICE: u32 = 1 << 26;
    pub const MODE_FIFO: u32 = 1 << 25;
    pub const MODE_SOCKET: u32 = 1 << 24;
    pub const MODE_SETUID: u32 = 1 << 23;
    pub const MODE_SETGID: u32 = 1 << 22;
    pub const MODE_CHARACTER_DEVICE: u32 = 1 << 21;
    pub const MODE_STICKY: u32 = 1 << 20;

    pub fn is_directory(&self) -> bool {
        self.mode & Self::MODE_DIRECTORY != 0
    }

    /// Go's mode bits for a `st_mode`.
    pub fn go_mode(st_mode: u32) -> u32 {
        let kind = match st_mode & 0o170_000 {
            0o040_000 => Self::MODE_DIRECTORY,
            0o120_000 => Self::MODE_SYMLINK,
            0o060_000 => Self::MODE_DEVICE,
            0o020_000 => Self::MODE_DEVICE | Self::MODE_CHARACTER_DEVICE,
            0o010_000 => Self::MODE_FIFO,
            0o140_000 => Self::MODE_SOCKET,
            _ => 0,
        };
        let special = [(0o4000, Self::MODE_SETUID), (0o2000, Self::MODE_SETGID), (0o1000, Self::MODE_STICKY)];
        let special = special.iter().filter(|(bit, _)| st_mode & bit != 0).fold(0, |sum, (_, go)| sum | go);
        kind | special | (st_mode & 0o777)
    }
}

/// Response of `POST /commit`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct CommitResponse {
    pub id: String,
    #[serde(skip_serializing_if = "omit::zero")]
    pub warnings: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    #[test]
    fn create_reads_the_three_parts_of_one_object() {
        let request: CreateRequest = json::from_slice(
            br#"{"Image":"busybox","Cmd":"sh","Env":null,"Tty":null,
                "HostConfig":{"Binds":null,"Memory":null,"NetworkMode":"bridge","PortBindings":{"80/tcp":null},
                              "RestartPolicy":{"Name":"always"},"CpuShares":7},
                "NetworkingConfig":{"EndpointsConfig":{"a":null}}}"#,
        )
        .unwrap();
        assert_eq!(request.config.cmd, Some(vec!["sh".to_owned()]));
        assert_eq!(request.host_config.resources.cpu_shares, 7);
        assert_eq!(request.host_config.port_bindings.unwrap()["80/tcp"], None);
        assert_eq!(request.networking_config.unwrap().endpoints_config["a"], None);
        assert!(json::from_slice::<CreateRequest>(b"{}").unwrap().networking_config.is_none());
    }

    #[test]
    fn create_survives_its_own_json() {
        let request: CreateRequest = json::from_slice(
            br#"{"Image":"i","Hostname":"h","HostConfig":{"Memory":5,"PidsLimit":3,"Init":true}}"#,
        )
        .unwrap();
        let text = serde_json::to_string(&request).unwrap();
        assert_eq!(serde_json::from_str::<CreateRequest>(&text).unwrap(), request);
    }

    #[test]
    fn update_reads_resources_beside_the_policy() {
        let update: UpdateRequest =
            json::from_slice(br#"{"Memory":9,"RestartPolicy":{"Name":"no"},"PidsLimit":null}"#).unwrap();
        assert_eq!((update.resources.memory, update.restart_policy.name.as_str()), (9, "no"));
    }

    #[test]
    fn go_file_modes() {
        assert_eq!(PathStat::go_mode(0o040_755), 0x8000_01ed);
        assert_eq!(PathStat::go_mode(0o041_777) & PathStat::MODE_STICKY, PathStat::MODE_STICKY);
        assert_eq!(PathStat::go_mode(0o100_644), 0o644);
    }
}
