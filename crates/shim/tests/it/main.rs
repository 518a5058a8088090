//! The real shim with a real container, and no engine.

mod exec;
mod life;
mod stream;
mod world;
