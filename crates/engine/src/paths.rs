//! Every path that the engine keeps on disk, in one place, so that the layout is a picture and not a hunt.
//!
//! ```text
//! <data root>                        survives a reboot
//! ├── engine-id                      the engine's own id, shown as `ID` by info
//! ├── lock                           held by the engine that owns this root
//! ├── wharf.db                       records: containers, networks, volumes, images (see `records`)
//! ├── events.jsonl                   the newest events, for `events --since` across restarts of the engine
//! ├── containers/<id>/               hostname, hosts, resolv.conf, the log (<id>-json.log or
//! │                                  local-logs/container.log; container-cached.log of what is sent elsewhere)
//! ├── volumes/<name>/_data           local volumes
//! └── blobs, layers, snapshots …     owned by the `store` and `image` crates
//!
//! <exec root>                        gone after a reboot
//! ├── boot-id                        the boot that this tree belongs to, and its own name
//! ├── docker-init                    process 1 of containers with --init
//! ├── containers/<id>/               shim.sock, journal, state.json: one running container
//! ├── shm/<id>                       /dev/shm of containers that share it
//! ├── images/<id>                    images that a running container has mounted
//! └── names/<network>/               one file per endpoint, what 127.0.0.11 answers from
//! ```

use std::path::{Path, PathBuf};

/// The two roots, and where things lie below them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    data: PathBuf,
    exec: PathBuf,
}

impl Paths {
    pub fn new(data_root: impl Into<PathBuf>, exec_root: impl Into<PathBuf>) -> Paths {
        Paths { data: data_root.into(), exec: exec_root.into() }
    }

    pub fn data_root(&self) -> &Path {
        &self.data
    }

    pub fn exec_root(&self) -> &Path {
        &self.exec
    }

    pub fn engine_id(&self) -> PathBuf {
        self.data.join("engine-id")
    }

    pub fn lock(&self) -> PathBuf {
        self.data.join("lock")
    }

    pub fn database(&self) -> PathBuf {
        self.data.join("wharf.db")
    }

    pub fn events(&self) -> PathBuf {
        self.data.join("events.jsonl")
    }

    pub fn boot_id(&self) -> PathBuf {
        self.exec.join("boot-id")
    }

    /// Parent of all containers' durable files.
    pub fn containers(&self) -> PathBuf {
        self.data.join("containers")
    }

    /// Durable files of one container.
    pub fn container(&self, id: &str) -> PathBuf {
        self.containers().join(id)
    }

    pub fn hostname(&self, id: &str) -> PathBuf {
        self.container(id).join("hostname")
    }

    pub fn hosts(&self, id: &str) -> PathBuf {
        self.container(id).join("hosts")
    }

    pub fn resolv_conf(&self, id: &str) -> PathBuf {
        self.container(id).join("resolv.conf")
    }

    pub fn log(&self, id: &str) -> PathBuf {
        self.container(id).join(format!("{id}-json.log"))
    }

    /// Of the log driver `local`.
    pub fn local_log(&self, id: &str) -> PathBuf {
        self.container(id).join("local-logs/container.log")
    }

    /// Beside a log that is sent elsewhere.
    pub fn cached_log(&self, id: &str) -> PathBuf {
        self.container(id).join("container-cached.log")
    }

    /// Parent of all runtime directories.
    pub fn runtimes(&self) -> PathBuf {
        self.exec.join("containers")
    }

    /// Where a container's shim lives: `shim.sock`, `journal`, `state.json`.
    pub fn runtime(&self, id: &str) -> PathBuf {
        self.runtimes().join(id)
    }

    /// The `/dev/shm` of a container that lets others share it: a mount, outside the directory that its shim owns.
    pub fn shm(&self, id: &str) -> PathBuf {
        self.exec.join("shm").join(id)
    }

    /// Where images are that a running container has mounted.
    pub fn image_mounts(&self, id: &str) -> PathBuf {
        self.exec.join("images").join(id)
    }

    /// The process 1 of `--init`, bind-mounted into containers.
    pub fn init(&self) -> PathBuf {
        self.exec.join("docker-init")
    }

    /// Parent of the local volumes.
    pub fn volumes(&self) -> PathBuf {
        self.data.join("volumes")
    }

    /// A local volume; its files are under `_data`.
    pub fn volume(&self, name: &str) -> PathBuf {
        self.volumes().join(name)
    }

    pub fn volume_data(&self, name: &str) -> PathBuf {
        self.volume(name).join("_data")
    }

    /// Parent of the name directories, one per network.
    pub fn names(&self) -> PathBuf {
        self.exec.join("names")
    }

    /// What the embedded resolver answers from for one network.
    pub fn network_names(&self, network: &str) -> PathBuf {
        self.names().join(network)
    }

    /// What one run of a container holds of the network.
    pub fn network_run(&self, id: &str) -> PathBuf {
        self.runtime(id).join("network.json")
    }
}
