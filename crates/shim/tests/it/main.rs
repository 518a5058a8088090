//! The real shim with a real container, and no engine.

mod exec;
mod life;
mod network;
mod stream;
mod world;
