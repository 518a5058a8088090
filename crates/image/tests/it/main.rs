//! The crate from outside: registries of all tempers, images through them.

mod distribution;
mod fake;
mod pulls;
mod pushes;
mod sessions;
mod world;
