//! What is remembered of a container: one record, written whole.

use std::collections::BTreeMap;
use std::path::PathBuf;

use api::container::{Config, HostConfig, PortMap};
use api::network::EndpointSettings;
use serde::{Deserialize, Serialize};

use super::state::State;
use crate::identity::ContainerId;

/// Namespace of container names in the records; links would share it.
pub(crate) const NAMES: &str = "container";

/// A container as it was asked for, with its defaults filled in, and where it is in its life.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub id: ContainerId,
    /// Without the slash that the API puts before it.
    pub name: String,
    pub created: String,
    /// The image's id: the digest of its configuration.
    pub image: String,
    /// `linux/amd64`, what the image was made for.
    pub platform: String,
    /// Merged with the image's.
    pub config: Config,
    pub host: HostConfig,
    /// The containers that its links named when it was made, by those names: they may be renamed later.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub linked: BTreeMap<String, ContainerId>,
    /// What runs: the entrypoint's first word, then everything behind it.
    pub path: String,
    pub args: Vec<String>,
    pub mounts: Vec<MountPoint>,
    pub network: NetworkState,
    pub state: State,
    /// Automatic restarts since the last start by hand.
    #[serde(default)]
    pub restart_count: u32,
    /// A restart policy acts only on what was once started…
    #[serde(default)]
    pub started_before: bool,
    /// …and `unless-stopped` not on what was stopped by hand.
    #[serde(default)]
    pub manually_stopped: bool,
    /// Limits or a policy were changed, and its shim may not know them yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub update_unconfirmed: bool,
    /// The runtime root at the time of the creation. Starting a `--rm` container commits nothing; with this, an engine
    /// that finds no trace of a run knows whether there can have been one.
    #[serde(default)]
    pub runtime_root: String,
}

impl store::records::Record for Record {
    const KIND: &'static str = "container";
    const VERSION: u32 = 1;
}

/// A mount beside the ones that every container has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MountPoint {
    /// Absolute and clean.
    pub destination: String,
    pub read_only: bool,
    /// As inspect shows it: what stood behind the last colon of `-v`.
    #[serde(default)]
    pub mode: String,
    pub kind: MountKind,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub(crate) enum MountKind {
    Bind {
        source: PathBuf,
        propagation: String,
        /// Make a missing source directory at start, as `-v` promises.
        create: bool,
        #[serde(default)]
        non_recursive: bool,
        #[serde(default)]
        read_only_non_recursive: bool,
        #[serde(default)]
        read_only_force_recursive: bool,
    },
    Volume {
        name: String,
        driver: String,
        source: PathBuf,
        /// Removed with its container (`rm -v`, `--rm`).
        anonymous: bool,
        #[serde(default)]
        subpath: String,
        /// Do not fill an empty volume with the image's files.
        #[serde(default)]
        no_copy: bool,
        #[serde(default)]
        propagation: String,
    },
    Tmpfs {
        options: Vec<String>,
    },
    Image {
        /// As it was asked for.
        reference: String,
        id: String,
        #[serde(default)]
        subpath: String,
    },
}

/// What a container wants of networks, and what it got in its present run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct NetworkState {
    /// By network name. Wishes stay; what was assigned is filled in at start and cleared at the end.
    pub endpoints: BTreeMap<String, EndpointSettings>,
    /// Ports as they are published now.
    #[serde(default)]
    pub ports: PortMap,
    /// Identifies the network namespace in inspect.
    #[serde(default)]
    pub sandbox: String,
}

impl Record {
    /// The name as the API shows it.
    pub(crate) fn slashed(&self) -> String {
        format!("/{}", self.name)
    }

    /// Whether an image is among the mounts.
    pub(crate) fn mounts_image(&self, image: &str) -> bool {
        let is = |point: &MountPoint| matches!(&point.kind, MountKind::Image { id, .. } if id == image);
        self.mounts.iter().any(is)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::container::state::Run;

    /// A created container that asked for nothing.
    pub(crate) fn record(name: &str) -> Record {
        Record {
            id: ContainerId::random(),
            name: name.into(),
            created: "2026-01-01T00:00:00Z".into(),
            image: "sha256:1".into(),
            platform: "linux".into(),
            config: Config::default(),
            host: HostConfig::default(),
            path: "sh".into(),
            args: Vec::new(),
            mounts: Vec::new(),
            network: NetworkState::default(),
            state: State::Created { failure: None },
            restart_count: 0,
            started_before: false,
            manually_stopped: false,
            update_unconfirmed: false,
            linked: BTreeMap::new(),
            runtime_root: "here".into(),
        }
    }

    /// A container whose first run has begun.
    pub(crate) fn running() -> Record {
        let mut record = record("web");
        let run = Run::starting("first".into(), false, &record.state);
        record.state = State::Running(Run { pid: 7, sequence: 1, ..run });
        record
    }

    #[test]
    fn a_record_survives_its_json() {
        let record = record("web");
        let text = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
    }
}
