//! Who makes the container's processes: our runtime, which is linked in ([`linked`]), or somebody else's by its command
//! line ([`foreign`]).
//!
//! ```text
//!                      ┌─▶ linked   runtime::create, Created::start          clone3, no other program
//!   Wanted ──▶ make ───┤
//!                      └─▶ foreign  <path> create, <path> start              its processes become our children
//!                              │
//!                  Made { dyn Container, terminal } ──▶ exec, signal, pause, resume, update ──▶ delete
//! ```
//!
//! The supervisor knows only this: the process it waits for, the cgroup it asks for memory that ran out, the root that
//! files are copied through, and what can be done to it. Streams, logs, health, restarts and stops are the same above.
//!
//! Every call returns when it is done; nothing here keeps a thread or waits in the background.

mod foreign;
mod linked;

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use linux::cgroup::Cgroup;
use linux::process::Pid;
use oci::runtime::{Process, Resources, Spec};
use runtime::{CgroupDriver, Record, Rootfs, Stdio};

use crate::protocol::{Failure, Runtime};

/// A container to be made.
pub(super) struct Wanted<'a> {
    pub id: &'a str,
    pub spec: &'a Spec,
    /// The shim's runtime directory.
    pub directory: &'a Path,
    pub rootfs: Rootfs,
    pub stdio: Stdio,
    /// Instead of the network namespace that the specification names.
    pub network: Option<BorrowedFd<'a>>,
    /// Instead of the user namespace that it asks for.
    pub user: Option<BorrowedFd<'a>>,
    pub cgroup_driver: CgroupDriver,
}

/// A container that runs.
pub(super) struct Made {
    pub container: Box<dyn Container>,
    /// The master of its terminal.
    pub terminal: Option<OwnedFd>,
}

/// A process that runs beside the container's own.
pub(super) struct Beside {
    pub pid: Pid,
    pub pidfd: OwnedFd,
    pub terminal: Option<OwnedFd>,
}

/// What can be asked of a container and done to it. Its processes are our children.
pub(super) trait Container {
    fn pid(&self) -> Pid;
    fn pidfd(&self) -> BorrowedFd<'_>;
    fn cgroup(&self) -> &Cgroup;
    /// Its root directory, as a handle that outlives its processes.
    fn root(&self) -> Option<BorrowedFd<'_>>;
    /// What is needed to clean up, should this process be killed.
    fn record(&self) -> Record;

    fn exec(&self, process: &Process, stdio: Stdio) -> Result<Beside, Failure>;
    /// To the first process.
    fn signal(&self, number: i32) -> Result<(), Failure>;
    /// SIGKILL to every process. What cannot be killed now is met again by [`Container::delete`].
    fn kill_all(&self);
    fn pause(&self) -> Result<(), Failure>;
    fn resume(&self) -> Result<(), Failure>;
    /// New limits; what is absent stays as it is.
    fn update(&self, resources: &Resources) -> Result<(), Failure>;
    /// Our children, if the runtime may have left us some since the last question.
    fn strays(&self) -> Vec<Pid>;

    /// Ends what is left of it: processes, cgroup, the runtime's own memory of it. What cannot be removed is reported
    /// nowhere but by its being there: the engine's cleanup meets it again.
    fn delete(self: Box<Self>);
}

/// Makes a container and lets its process go. `created` is told between the two.
pub(super) fn make(
    runtime: Option<&Runtime>,
    wanted: Wanted<'_>,
    created: &dyn Fn(Record),
) -> Result<Made, Failure> {
    match runtime {
        None => linked::make(wanted, created),
        Some(runtime) => foreign::make(runtime, wanted, created),
    }
}
