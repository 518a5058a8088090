//! Registries of all tempers, and images through them.

mod distribution;
mod fake;
mod pulls;
mod pushes;
mod sessions;
mod world;
