//! The client over real sockets.

mod tls;
mod uploads;
mod versions;
