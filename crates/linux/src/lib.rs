//! The kernel made safe.
//!
//! Everything that needs a system call beyond what the standard library offers goes through this crate, and
//! `unsafe` lives nowhere else in the workspace. Each module is one noun of the kernel. Calls take and return
//! owned descriptors, and a failed call prints like strace does: call, arguments, errno ([`Error`]).
//!
//! *Never here*: containers, images, networks as Docker means them. The names are the kernel's.

pub mod ambient;
pub mod cgroup;
pub mod conntrack;
pub mod credentials;
pub mod disk;
pub mod entry;
mod error;
pub mod fault;
pub mod fd;
pub mod inet;
pub mod kernel;
pub mod localtime;
pub mod memory;
pub mod mount;
pub mod namespace;
pub mod netlink;
pub mod nftables;
pub mod path;
pub mod poll;
pub mod process;
pub mod procfs;
pub mod pty;
pub mod quota;
pub mod random;
pub mod seccomp;
pub mod signal;
pub mod socket;
pub mod spans;
pub mod xattr;

pub use error::{Errno, Error, Result, errno_by_name};
