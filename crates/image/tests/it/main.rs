//! The crate from outside: registries of all tempers, images through them.

mod fake;
mod pulls;
mod sessions;
mod world;
