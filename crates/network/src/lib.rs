//! Bridges, veths, addresses, firewall, published ports, names.
pub mod names;
pub mod namespace;
pub mod relay;
