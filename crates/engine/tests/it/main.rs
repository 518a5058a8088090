//! The engine with real shims, on the real kernel: needs root.

mod disposable;
mod images;
mod life;
mod networks;
mod old_shim;
mod streams;
mod volumes;
mod world;
