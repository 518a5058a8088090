//! The parent of one container: its standard streams, its log, its exit, its restarts, its health, its names.
//!
//! The engine may come and go; what a running container needs is here. A shim is told everything in one message
//! ([`protocol::Launch`]), starts the container through `runtime` (linked in), and serves it from one thread
//! ([`supervise`]). Whatever happens is appended to a journal that the engine reads when it is back. Two phases
//! end it: it announces the final exit, and stays until the engine has recorded that ([`protocol::Request::Release`]).
//!
//! The engine holds a [`Handle`]. Both read logs through [`log`], and [`cleanup`] deals with what a killed shim
//! left. A shim sits in the engine's cgroup, never in its container's.
//!
//! *Never here*: the daemon's configuration, images, HTTP but for the end of a body ([`chunks`]); a second thread; memory
//! that grows with what passes through.

pub mod frame;
mod handle;
mod state;
mod supervise;

pub mod chunks;
pub mod clock;
pub mod health;
pub mod journal;
pub mod life;
pub mod log;
pub mod paths;
pub mod protocol;
pub mod restart;
pub mod stop;

pub use handle::{Handle, LaunchError, Launched, Spawned};
pub use state::{Cleaned, cleanup, conclude};
pub use supervise::run;

#[cfg(test)]
mod testing;
