//! `wharf-runtime` on the real kernel: each test makes a bundle around a static busybox, runs it through the
//! command line, and checks what is left.
//!
//! Needs root and `/bin/busybox` (Debian: `busybox-static`). Tests run side by side; each has directories, ids and
//! cgroups of its own.

mod attacks;
mod bundle;
mod checkpoint;
mod commands;
mod criu;
mod door;
mod errors;
mod features;
mod hooks;
mod interfaces;
mod isolation;
mod labels;
mod library;
mod lifecycle;
mod limits;
mod mounts;
mod namespaces;
mod notify;
mod process;
mod rdt;
mod rootless;
mod scopes;
mod seccomp;
mod update;
