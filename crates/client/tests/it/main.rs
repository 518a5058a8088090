//! The client over real sockets.

mod tls;
mod versions;
