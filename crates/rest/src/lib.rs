//! The Docker Engine API over HTTP: a door that translates and decides nothing.
//!
//! ```text
//!   client ══ unix / tcp / tls ══▶ seat ─▶ hyper ─▶ route ─▶ handler ─▶ engine
//!                                   │                          │
//!                                   └──── socket, taken ◀──────┘  attach, exec, wait, logs:
//!                                              │                  head built here, body served
//!                                              ▼                  by the container's shim
//!                                        engine::Ticket
//! ```
//!
//! - [`route`] knows every path of the API.
//! - [`handlers`] turn a request into one call of the engine, and its answer into one body.
//! - [`transform`] shows old clients what they know: the engine speaks only the version that it announces.
//! - [`newer`] shows those that ask for a later version what that made of it.
//! - [`reply`] holds the one table from errors to statuses, and the headers of every response.
//!
//! Swarm, plugins and builds have no engine behind them: their routes answer as a Docker that does not take part in
//! a swarm, that has no plugins, and that says plainly that it cannot build.
//!
//! This crate keeps no state that outlives a request, and starts no process.

mod body;
mod call;
mod chunks;
mod handlers;
mod handover;
mod handshake;
mod moved;
mod newer;
mod query;
mod records;
mod reply;
mod route;
mod seat;
mod server;
mod stream;
mod transform;
mod websocket;

pub use server::{Listener, Server};
