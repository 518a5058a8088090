//! The container's log: Docker's json-file format, written by the shim, read by the shim and the engine.
//!
//! ```text
//!   pipe ─▶ Splitter ─▶ record::encode ─▶ Writer ─▶ <id>-json.log   (+ .idx)     at 10 MB, say:
//!                                                   <id>-json.log.1 (+ .idx)  ◀── renamed
//!                                                   <id>-json.log.2.gz        ◀── compressed, a piece at a time
//!   client ◀── Query::render ◀── record::decode ◀── Reader
//! ```
//!
//! The index beside each plain file lets `--since` seek instead of reading gigabytes; it is a hint, and a log
//! without one reads the same, only slower. A torn line (power loss, full disk) is skipped by readers and cut
//! off by the next writer.
//!
//! *Limits*: a record's text is at most 16 KiB ([`splitter::PART`]); a file line longer than [`reader::MAX_LINE`]
//! was not written by us and is skipped. Reading while another process writes is safe only without rotation:
//! whoever wants to follow asks the shim.

pub mod compress;
pub mod index;
pub mod query;
pub mod reader;
pub mod record;
pub mod splitter;
pub mod writer;

pub use query::Output;
pub use reader::Reader;
pub use record::{Record, Stream};
pub use splitter::Splitter;
pub use writer::{Loss, Writer};
