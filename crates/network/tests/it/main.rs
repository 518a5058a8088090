//! The network on the real kernel: every test in a host of its own (a network namespace), with real packets.
//!
//! Needs root, `ip`, `nft` and `iptables` (the tests look with other eyes than the product).

mod names;
mod ports;
mod published;
mod reach;
mod table;
mod world;
