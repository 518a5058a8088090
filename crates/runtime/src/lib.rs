//! An OCI bundle becomes a process.
//!
//! [`create`] makes everything that can fail but the execution itself: cgroup, namespaces, mounts, rights. Its
//! process then waits at a gate; [`Created::start`] lets it through. A [`Container`] is the handle on what runs:
//! execute beside it, pause, update, kill, delete. What another process needs to find and clean up is a
//! [`Record`].
//!
//! Plain synchronous code that keeps no threads. A caller with one thread is cloned directly; one with several
//! pays for an intermediate process (see `linux::process::Clone`).
//!
//! *Never here*: images, networks, logs, restart policies; a state that outlives the process except by
//! [`Record`]. The specification is <https://github.com/opencontainers/runtime-spec>.

mod ahead;
mod channel;
mod checkpoint;
mod container;
mod credentials;
mod criu;
mod error;
mod exec;
pub mod features;
mod hooks;
mod idmap;
mod inside;
mod interfaces;
mod launch;
mod namespaces;
mod options;
mod place;
mod plan;
mod program;
mod rdt;
mod record;
mod resources;
mod restore;
mod seccomp;
mod systemd;
mod trace;

pub use checkpoint::{CgroupMode, Checkpoint, Settings};
pub use container::Container;
pub use credentials::{unknown_capabilities, unreachable_ambient};
pub use error::{Error, Kind, Result};
pub use exec::{Exec, Execution, SubCgroup};
pub use launch::{Created, Launch, Rootfs, Start, Stdio, create};
pub use linux::pty::Size;
pub use place::CgroupDriver;
pub use rdt::Stats as RdtStats;
pub use record::Record;
pub use resources::obsolete;
pub use restore::{Restore, Restored, restore};
pub use trace::Trace;
