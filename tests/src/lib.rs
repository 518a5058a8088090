//! Worlds for black box tests: each test has an engine, roots and a network namespace of its own.
//!
//! Nothing here links a crate of the product: the tests see what users see, the binaries and the socket. A [`World`]
//! starts `wharfd` from the directory of the built binaries, and when it goes it removes all containers, networks, volumes
//! and images, ends the engine, and fails the test if anything is left behind: files in its roots, processes, mounts,
//! cgroups, and in the world's network namespace interfaces, rules, and ways to other namespaces.

mod disk;
mod host;
mod kernel;
mod leaks;
mod rootfs;
mod session;
pub mod soak;
mod wire;
mod world;

pub use scratch::skip;

pub use disk::{CountedDisk, SmallDisk, sh};
pub use host::Host;
pub use kernel::Kernel;
pub use rootfs::{Archive, busybox, busybox_image, directory, file, link};
pub use session::{Output, Session, eventually};
pub use wire::{Response, Wire, uninterrupted};
pub use world::{Client, IMAGE, Settings, World, binary, signal, surround};
