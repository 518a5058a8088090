//! The engine with real shims, on the real kernel: needs root.

mod disposable;
mod life;
mod streams;
mod world;
