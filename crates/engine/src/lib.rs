//! The engine: which containers, images, networks and volumes exist, what state they are in, and what happens next.
//!
//! ```text
//!   doors (rest, …)
//!      │  Engine: one method per request, Docker's words in its errors
//!      ▼
//!   tables of views  ◀── publish ── one task per container ── requests ──▶ its shim
//!   (never wait)                      decides, then does    ◀── events ──
//!                                          │
//!                                       records (one commit per acknowledged call)
//! ```
//!
//! *Decisions* are pure functions over typed state: [`container`]'s state machine, its validation and defaults,
//! [`spec`]'s runtime specification, [`container::restore`](container)'s choice of what an engine that comes back
//! does with what it finds. *Effects* are performed by the task that owns the container, through its shim, the
//! records, the network and the image store; [`Effects`] is where they leave the engine.
//!
//! The engine is disposable: what a running container needs lives in its shim. Shutting the engine down, or killing
//! it, leaves containers running; the next one takes them over by the same code that a start uses.
//!
//! This crate speaks no HTTP and no gRPC, starts no program but shims (through the `shim` crate), and has no unsafe
//! code.

mod clock;
mod config;
mod container;
mod duration;
mod effects;
mod error;
mod events;
mod exec;
mod host;
mod identity;
mod instructions;
mod names;
mod paths;
mod runtimes;
mod sizes;
mod spec;
mod system;
mod ticket;

// By other hands: each extends `Engine` with the calls of its noun.
mod images;
mod networks;
mod pulls;
mod search;
mod volumes;

use std::sync::{Arc, PoisonError, RwLock};

pub use config::{AddressPool, Cgroup, Config, Container as ContainerDefaults, Network as NetworkConfig};
pub use config::{LoadProfile, Proxies, Registry as RegistryConfig, Remap, Ulimit, is_slice};
pub use container::validate_logging;
pub use container::{
    Archive, ArchiveStat, AttachOptions, CommitOptions, CreateOptions, Exit, ListOptions, PutOptions,
    RemoveOptions, WaitOutcome,
};
pub use effects::{Effects, HostNetwork, Inside, Kernel, Launched, Said, Shim, Unborn};
pub use error::{Error, ErrorKind, Result};
pub use events::{EventQuery, EventStream, Events};
pub use exec::StartOptions as ExecStartOptions;
pub use identity::{ContainerId, ExecId};
pub use images::ImportRequest;
pub use paths::Paths;
pub use pulls::{PullRequest, PushRequest, check_insecure_registry, check_mirror};
pub use runtimes::{RESERVED as RESERVED_RUNTIME, Runtime, check_default as check_default_runtime};
pub use search::SearchRequest;
pub use shim::protocol::{CgroupDriver, LogQuery, Records as LogRecords};
pub use ticket::{Client, Preface, Ticket};

pub(crate) use store::records::Records;

/// A running engine; clones are the same one.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

/// What all parts of one engine have in common.
pub(crate) struct Shared {
    pub(crate) paths: Paths,
    config: RwLock<Arc<Config>>,
    effects: Arc<dyn Effects>,
    /// What the machine is and can, observed once.
    pub(crate) host: host::Host,
    /// Shown as `ID` by info, kept for the life of the data root.
    pub(crate) id: String,
    pub(crate) records: Records,
    pub(crate) events: events::Bus,
    pub(crate) containers: container::Table,
    pub(crate) execs: exec::Table,
    /// What writable layers and volumes take.
    pub(crate) sizes: sizes::Sizes,
    /// A prune of containers runs.
    pub(crate) pruning: std::sync::atomic::AtomicBool,
    /// Names the exec root as it is since the last boot.
    pub(crate) runtime_root: String,
    pub(crate) databases: container::Databases,
    pub(crate) images: images::Store,
    pub(crate) networks: networks::Networks,
    pub(crate) volumes: volumes::Volumes,
    /// Held for the life of the engine: two engines must not share a data root.
    _lock: std::fs::File,
}

impl Engine {
    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// The configuration now; a reload replaces it for what comes after.
    pub fn config(&self) -> Arc<Config> {
        self.shared.config.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn paths(&self) -> &Paths {
        &self.shared.paths
    }

    pub(crate) fn records(&self) -> &Records {
        &self.shared.records
    }

    pub(crate) fn events_bus(&self) -> &events::Bus {
        &self.shared.events
    }

    /// Runs blocking work (a mount, a commit, netlink) off the threads that serve sockets.
    pub(crate) async fn blocking<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Engine) -> Result<T> + Send + 'static,
    {
        let engine = self.clone();
        done_by(self.effects(), move || work(&engine)).await
    }

    pub(crate) fn effects(&self) -> &dyn Effects {
        self.shared.effects.as_ref()
    }
}

/// What blocking work comes to. Whoever asked for it may go away; it is done.
async fn done_by<T: Send + 'static>(
    effects: &dyn Effects,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    effects.work(Box::new(move || drop(sender.send(work()))));
    receiver.await.unwrap_or_else(|_| Err(Error::system("the engine failed inside")))
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Error {
        Error::failed("cannot use the records", error)
    }
}
