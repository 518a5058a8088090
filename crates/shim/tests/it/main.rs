//! The real shim with a real container, and no engine.

mod exec;
mod foreign;
mod life;
mod network;
mod stream;
mod world;
