//! The container's log, written by the shim, read by the shim and the engine.
//!
//! ```text
//!                               ┌─▶ Writer ─▶ <log>          (+ .idx)     at 10 MB, say:
//!   pipe ─▶ Splitter ─▶ Piece ──┤             <log>.1        (+ .idx)  ◀── renamed
//!                               │             <log>.2.gz               ◀── compressed, a piece at a time
//!                               └─▶ Remote ─▶ journald, syslog, GELF, Fluentd
//!   client ◀── Output ◀── render ◀── Reader ◀── <log>, <log>.1, …
//! ```
//!
//! A file is in one of two [`format`]s, Docker's json-file or its `local`. A driver that sends elsewhere ([`remote`])
//! has a `local` file beside, so that `docker logs` can read what was sent.
//!
//! The index beside each plain file lets `--since` seek instead of reading gigabytes; it is a hint, and a log
//! without one reads the same, only slower. A torn record (power loss, full disk) is skipped by readers and cut
//! off by the next writer.
//!
//! *Limits*: a record's text is at most 16 KiB ([`splitter::PART`]). Reading while another process writes is safe only
//! without rotation: whoever wants to follow asks the shim.

pub mod compress;
pub mod format;
pub mod index;
pub mod json;
pub mod local;
mod loss;
pub mod query;
pub mod reader;
pub mod record;
pub mod remote;
mod render;
pub mod splitter;
pub mod writer;

pub use format::Format;
pub use loss::Loss;
pub use query::Output;
pub use reader::Reader;
pub use record::{Record, Stream};
pub use remote::Remote;
pub use splitter::{Piece, Splitter};
pub use writer::Writer;
