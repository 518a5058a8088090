//! What a launch says of the container's log: the file that is kept, and the collector that records are sent to; and what
//! clients ask of it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The container's log.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Log {
    pub driver: LogDriver,
    /// Of the current file; rotated ones get `.1`, `.2`, … behind it.
    pub path: PathBuf,
    /// Bytes after which the file is rotated.
    #[serde(default)]
    pub max_size: Option<u64>,
    /// Files kept, the current one included.
    #[serde(default = "one")]
    pub max_files: u32,
    #[serde(default)]
    pub compress: bool,
    /// Written as `attrs` with each line of a json-file (`labels`, `env`, `tag` options).
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
    /// Where records are sent besides.
    #[serde(default)]
    pub remote: Option<Box<Remote>>,
}

/// A collector of logs, and how to treat it. What the fields mean on the wire: `log::remote`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Remote {
    pub collector: Collector,
    /// Tried in turn. All are stream sockets, or all datagrams, but for the local syslog.
    pub endpoints: Vec<Endpoint>,
    /// Connections to TCP endpoints go through TLS.
    #[serde(default)]
    pub tls: Option<Tls>,
    /// How many bytes may wait before records are dropped (`mode=non-blocking`). Absent: the container waits.
    #[serde(default)]
    pub buffer: Option<u64>,
}

/// A program that speaks TLS (`wharf-tls`), and what it is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tls {
    pub program: PathBuf,
    /// Whom the server's certificate must be made out to.
    pub server: String,
    /// Files, read at each connection: an authority beside the system's, our certificate and its key.
    #[serde(default)]
    pub authority: Option<PathBuf>,
    #[serde(default)]
    pub certificate: Option<PathBuf>,
    #[serde(default)]
    pub key: Option<PathBuf>,
    pub verify: bool,
}

/// Where a collector listens. Names are resolved by whoever sends this.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Endpoint {
    Tcp(std::net::SocketAddr),
    Udp(std::net::SocketAddr),
    Unix(PathBuf),
    Unixgram(PathBuf),
}

impl Endpoint {
    pub fn is_datagram(&self) -> bool {
        matches!(self, Endpoint::Udp(_) | Endpoint::Unixgram(_))
    }

    /// Go's name for it.
    pub fn network(&self) -> &'static str {
        match self {
            Endpoint::Tcp(_) => "tcp",
            Endpoint::Udp(_) => "udp",
            Endpoint::Unix(_) => "unix",
            Endpoint::Unixgram(_) => "unixgram",
        }
    }

    pub fn path(&self) -> Option<&std::path::Path> {
        match self {
            Endpoint::Unix(path) | Endpoint::Unixgram(path) => Some(path),
            Endpoint::Tcp(_) | Endpoint::Udp(_) => None,
        }
    }
}

/// Who is spoken to, and what is said to it besides the records.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Collector {
    /// Fields that all records have in common.
    Journald {
        fields: BTreeMap<String, String>,
    },
    Syslog(Syslog),
    Gelf(Gelf),
    Fluentd(Fluentd),
}

/// What the head of each message says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Syslog {
    pub tag: String,
    /// The host's.
    pub hostname: String,
    /// 0 to 23.
    pub facility: u8,
    pub format: SyslogFormat,
    /// Messages are told apart by their lengths (RFC 5425) rather than by line feeds alone.
    #[serde(default)]
    pub counted: bool,
}

/// The head of each message, by the name of Docker's option.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SyslogFormat {
    Unix,
    Rfc3164,
    Rfc5424,
    Rfc5424Micro,
}

/// What each document says besides its record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gelf {
    pub hostname: String,
    /// Further members of each document.
    pub extra: BTreeMap<String, String>,
    /// Over UDP.
    pub compression: GelfCompression,
    /// Absent: the format's default.
    #[serde(default)]
    pub level: Option<u32>,
    pub max_reconnect: u32,
    /// Seconds.
    pub reconnect_delay: u32,
}

/// How a datagram is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GelfCompression {
    None,
    Gzip,
    Zlib,
}

/// Durations in milliseconds; 0 is none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fluentd {
    pub tag: String,
    /// Members of each event beside `source` and `log`.
    pub fields: BTreeMap<String, String>,
    pub sub_second: bool,
    pub request_ack: bool,
    /// Connects in the background, and drops rather than waits.
    pub asynchronous: bool,
    /// Records that may wait if it is asynchronous.
    pub buffer_limit: u64,
    pub retry_wait: u64,
    pub max_retries: u32,
    /// An asynchronous connection is made anew after so long.
    pub reconnect_interval: u64,
    pub write_timeout: u64,
}

fn one() -> u32 {
    1
}

/// What is kept on this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogDriver {
    JsonFile,
    /// Docker's binary format; also what is kept beside a [`Log::remote`].
    Local,
    /// Nothing is kept, so nothing can be read back.
    None,
}

/// Which part of a log, and in which form.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct LogQuery {
    pub stdout: bool,
    pub stderr: bool,
    /// Nanoseconds since the epoch, inclusive.
    #[serde(default)]
    pub since: Option<i64>,
    #[serde(default)]
    pub until: Option<i64>,
    /// Last lines only; absent is all.
    #[serde(default)]
    pub tail: Option<u64>,
    pub follow: bool,
    pub timestamps: bool,
    pub details: bool,
    /// Frame the output (eight-byte headers); otherwise raw.
    pub multiplexed: bool,
    /// Send JSON documents instead of either.
    #[serde(default)]
    pub records: Option<Records>,
    /// The preface announces a body in chunks.
    #[serde(default)]
    pub chunked: bool,
}

/// What stands between the documents of a log that is sent as JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Records {
    /// A line each.
    Lines,
    /// RFC 7464: a record separator before each, too.
    Sequence,
}
