//! Black box tests: what users type and what they get, by `wharf` and by the stock `docker` client.
//!
//! One file per subject. Tests that compare with a real Docker run where `WHARF_PEER` holds a command that runs its
//! arguments beside it (for example `sudo nsenter … `), and say so where it does not.

mod access;
mod apparmor;
mod completion;
mod contexts;
mod copies;
mod differential;
mod disposable;
mod engine;
mod faults;
mod filters;
mod health;
mod images;
mod interface;
mod isolation;
mod killed;
mod lifecycle;
mod logs;
mod mistakes;
mod networks;
mod old_kernels;
mod old_shims;
mod options;
mod points;
mod pushes;
mod quotas;
mod registries;
mod registry;
mod runtimes;
mod same_client;
mod sdk;
mod secure_clients;
mod secure_logs;
mod shell;
mod shown;
mod signals;
mod soak;
mod streams;
mod terminals;
mod userns;
mod versions;
mod volumes;
mod writes;
