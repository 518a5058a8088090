//! What happens on the container's side, between the clone and the program.
//!
//! All of this runs in a copy of the runtime's process that is already in the new namespaces. It works on
//! descriptors: places in the container's tree are resolved below a handle on its root and mounted onto by handle,
//! procfs is a mount of our own. Nothing here trusts a path of the container.

pub(crate) mod console;
pub(crate) mod copy_up;
pub(crate) mod devices;
pub(crate) mod execute;
pub(crate) mod init;
pub(crate) mod join;
pub(crate) mod masks;
pub(crate) mod mounts;
pub(crate) mod opener;
pub(crate) mod rootfs;
