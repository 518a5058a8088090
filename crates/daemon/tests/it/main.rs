//! `wharfd` as a process: what it says over its sockets, and how it answers to signals.
//!
//! Every test has an engine of its own, with its own roots and its own network namespace.

mod api;
mod life;
mod tls;
mod world;
