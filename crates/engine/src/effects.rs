//! The seam between what the engine decides and what it does to the host.
//!
//! ```text
//!   decisions, tasks, records, restore          the engine: the same code in both
//!          │
//!        Effects ── shims ── network ── cgroups ── mounts ── blocking work
//!          ├── Kernel         a running engine
//!          └── a simulation   a world of its own, in which shims die, calls fail and the engine is cut off at any of them
//! ```
//!
//! Files and records are not behind it: they are what a restart has to make sense of, so a simulation has real ones and
//! decides at the fault points between them ([`linux::fault`]). The clock and chance are a thread's surroundings
//! ([`linux::ambient`]). What only one request does to a container that stands (copies, an exec's terminal, statistics)
//! is not simulated and goes to the kernel directly.

mod kernel;
mod network;

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;

pub use kernel::Kernel;
pub use network::{HostNetwork, Inside};
use shim::protocol::{Launch, Reply, Request};

/// What an engine does to its host.
pub trait Effects: Send + Sync + 'static {
    /// Does blocking work elsewhere than on the threads that serve sockets.
    fn work(&self, work: Box<dyn FnOnce() + Send>);

    /// Does both, at the same time if it can.
    fn together(&self, one: &mut (dyn FnMut() + Send), other: &mut dyn FnMut());

    /// Runs a program of the host, which is looked for in `PATH`, for what it says.
    fn program(&self, name: &str, arguments: &[&str]) -> io::Result<Said>;

    /// Starts a shim that waits to be told of its container. Its runtime directory exists.
    fn spawn_shim(&self, program: &Path, container: &str, runtime: &Path) -> io::Result<Box<dyn Unborn>>;

    /// The shim that an earlier engine has started in this directory.
    fn connect_shim(&self, runtime: &Path) -> io::Result<Arc<dyn Shim>>;

    /// Ends what a dead shim left: see [`shim::cleanup`].
    fn clean_up_shim(&self, runtime: &Path) -> io::Result<shim::Cleaned>;

    /// Kills a shim that does not let itself be released.
    fn kill_shim(&self, pid: i32) -> linux::Result<()>;

    /// The host's network, with its names for this engine.
    fn network(
        &self,
        names: ::network::HostNames,
        options: ::network::Options,
    ) -> ::network::Result<Box<dyn HostNetwork>>;

    /// Kills what is in this cgroup and removes it, if it is there.
    fn clear_cgroup(&self, path: &Path) -> linux::Result<()>;

    /// Names of the cgroups right below this one.
    fn cgroups_below(&self, parent: &Path) -> linux::Result<Vec<String>>;

    /// Removes the engine's own cgroup if nothing is below it; whether it is gone.
    fn remove_cgroup_parent(&self, path: &Path) -> bool;

    /// Mounts shared memory of so many bytes on a directory of the host; its user and group.
    fn mount_shm(&self, path: &Path, size: i64, owner: (u32, u32)) -> linux::Result<()>;

    /// Takes it off again; containers that share it keep it.
    fn unmount_shm(&self, path: &Path) -> linux::Result<()>;

    /// The root directory as a process of a running container has it.
    fn root_of(&self, pid: i32) -> linux::Result<OwnedFd>;
}

/// What a program wrote to its standard output and error.
#[derive(Debug, Default)]
pub struct Said {
    pub output: Vec<u8>,
    pub errors: Vec<u8>,
}

/// A shim that has not been told of its container yet. Dropped, it is gone.
pub trait Unborn: Send {
    fn launch(
        self: Box<Self>,
        launch: &Launch,
        descriptors: Vec<OwnedFd>,
    ) -> Result<Launched, shim::LaunchError>;
}

/// A shim that has just started its container.
pub struct Launched {
    pub shim: Arc<dyn Shim>,
    /// The container's process on the host.
    pub pid: i32,
    pub started_at: String,
    pub shim_pid: i32,
}

/// A running shim.
pub trait Shim: Send + Sync {
    fn request(&self, request: &Request, descriptors: &[BorrowedFd<'_>])
    -> io::Result<(Reply, Vec<OwnedFd>)>;

    /// The events above `after`, then those to come, as frames.
    fn subscribe(&self, after: u64) -> io::Result<UnixStream>;
}
