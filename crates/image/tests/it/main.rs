//! The image store on the real kernel: as root, each test in a data root of its own.

mod archives;
mod hostile;
mod images;
mod layers;
mod quotas;
mod registry;
mod snapshots;
mod world;
