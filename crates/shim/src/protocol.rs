//! What the engine and a shim say to each other.
//!
//! ```text
//!   engine                                   shim
//!     │ spawn wharf-shim, socketpair on fd 3   │
//!     │ ── Launch (+ netns, ports, clients) ─▶ │  mounts, namespaces, process
//!     │ ◀───────── Launched │ Failed ───────── │
//!     ╎                                        ╎
//!     │  (any time, any engine) connect        │  <runtime dir>/shim.sock
//!     │ ── Request (+ descriptors) ──────────▶ │
//!     │ ◀──────────── Reply ────────────────── │
//!     │ ── Subscribe { after } ──────────────▶ │
//!     │ ◀── Event, Event, … until closed ───── │  replayed from the journal, then live
//! ```
//!
//! A frame is a little-endian `u32` payload length, a `u16` descriptor count, a `u16` of zeroes,
//! then the payload: one JSON document. Descriptors ride (`SCM_RIGHTS`) with the frame's first byte.
//! Fields are only ever added, each with a default: a shim outlives several engines.

mod client;
mod event;
mod health;
mod logging;
mod network;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use client::{Attachment, WaitUntil, Waiter};
pub use event::{Decoder, Event, Exit, Happening, Phase, Snapshot};
pub use health::{Ask, Health, HealthState, HealthStatus, HttpAsk, OnUnhealthy, Probe};
pub use logging::{
    Collector, Endpoint, Fluentd, Gelf, GelfCompression, Log, LogDriver, LogQuery, Records, Remote, Syslog,
    SyslogFormat, Tls,
};
pub use network::{HostPort, Names, Network, Relay};

/// The newest protocol this build speaks. A peer announces its own in [`Launch`] and [`Snapshot`].
pub const VERSION: u32 = 2;

/// Since this one bodies are written in chunks where that is asked for.
pub const CHUNKS: u32 = 2;

/// Larger frames are refused: a launch with thousands of mounts and environment variables stays far below.
pub const MAX_FRAME: usize = 16 << 20;

/// Everything that a container needs from start to end, told once.
///
/// Descriptors, in this order: the user namespace if `user_namespace` is set; the network namespace if `network` is set
/// and has one; one bound socket per
/// `network.held_sockets`; one per `network.relays` (a listening socket); then one per `attachments` and one
/// per `waiters`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Launch {
    pub version: u32,
    /// The container's full id.
    pub container: String,
    /// Holds `shim.sock`, `journal`, `state.json`; made by the engine, mode 0700.
    pub runtime_dir: PathBuf,
    /// Identifies this run of the container in events, so that none is counted twice.
    pub incarnation: String,
    pub spec: oci::runtime::Spec,
    /// Whose command line makes the processes. Absent: ours, which is linked in.
    #[serde(default)]
    pub runtime: Option<Runtime>,
    pub rootfs: Rootfs,
    /// Whether the first descriptor is a user namespace with the specification's mappings. The network namespace belongs
    /// to it, the process joins it, and the layers of the root are seen through it.
    #[serde(default)]
    pub user_namespace: bool,
    #[serde(default)]
    pub cgroup_driver: CgroupDriver,
    #[serde(default)]
    pub stdin: Stdin,
    pub log: Log,
    #[serde(default)]
    pub restart: RestartPolicy,
    /// How often this container was restarted by its policy before this launch.
    #[serde(default)]
    pub restart_count: u32,
    #[serde(default)]
    pub health: Option<Health>,
    /// Signal number that asks the container to stop.
    pub stop_signal: i32,
    /// Seconds from that signal to SIGKILL; negative waits for ever.
    pub stop_timeout: i64,
    #[serde(default)]
    pub network: Option<Network>,
    #[serde(default)]
    pub attachments: Vec<Attachment>,
    #[serde(default)]
    pub waiters: Vec<Waiter>,
}

/// A runtime that speaks runc's command line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runtime {
    /// Without a slash it is looked for in `PATH`.
    pub path: PathBuf,
    /// In front of every command.
    #[serde(default)]
    pub arguments: Vec<String>,
}

/// Where `/` of the container comes from.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rootfs {
    /// Layers to stack; the mount is made detached and is never seen on the host.
    Overlay {
        /// Topmost first.
        lowers: Vec<PathBuf>,
        upper: PathBuf,
        work: PathBuf,
        /// Skip syncs: for containers whose files are thrown away at exit.
        volatile: bool,
    },
    /// A directory that is used as it is.
    Directory(PathBuf),
}

/// Who makes the cgroup.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CgroupDriver {
    #[default]
    Cgroupfs,
    Systemd,
}

/// What the container's standard input is when no terminal is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stdin {
    /// `/dev/null`.
    #[default]
    Closed,
    /// A pipe that stays open while the container lives.
    Open,
    /// A pipe that is closed when the first attachment ends.
    Once,
}

/// When a container that has ended is started again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    #[default]
    No,
    OnFailure {
        /// 0 has no limit.
        max_retries: u32,
    },
    Always,
    UnlessStopped,
}

/// What a shim is asked to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// The container's state now.
    State,
    /// Stay on this connection and send every [`Event`] with a sequence number above `after`.
    Subscribe {
        after: u64,
    },
    /// One descriptor: the client's socket.
    Attach(Attachment),
    /// One descriptor: the client's socket.
    Wait(Waiter),
    /// One descriptor: the client's socket, which gets the log, then live lines if `follow`.
    Logs {
        query: LogQuery,
        /// Bytes to write first.
        #[serde(default)]
        preface: Vec<u8>,
    },
    /// The same with `query.records`, by another name: a shim that knows no documents is to refuse it, not to send frames.
    LogRecords {
        query: LogQuery,
        #[serde(default)]
        preface: Vec<u8>,
    },
    /// Start a process beside the container's own. One descriptor when `attachment` is set. When it cannot be
    /// started, the attachment gets its preface and Docker's message before it is closed, and the reply is
    /// [`Reply::Failed`]. Without an attachment its streams are `/dev/null`, or a terminal nobody looks at.
    Exec {
        id: String,
        process: Box<oci::runtime::Process>,
        /// Give it a standard input that stays open (for `attachment.stdin`).
        stdin: bool,
        #[serde(default)]
        attachment: Option<Attachment>,
    },
    ResizeContainer {
        height: u16,
        width: u16,
    },
    ResizeExec {
        id: String,
        height: u16,
        width: u16,
    },
    /// Send a signal. `final_stop`: no restart policy may bring the container back after it.
    Signal {
        signal: i32,
        final_stop: bool,
    },
    /// Stop signal, time, SIGKILL; answered at once with `Done`; the exit comes as an event. The shim finishes
    /// this without the engine.
    Stop {
        signal: Option<i32>,
        timeout: Option<i64>,
    },
    Pause,
    Resume,
    /// New limits for a running container, new restart policy.
    Update {
        #[serde(default)]
        resources: Option<Box<oci::runtime::Resources>>,
        #[serde(default)]
        restart: Option<RestartPolicy>,
    },
    /// A descriptor on the root mount comes back: for copies in and out.
    Root,
    /// The container has changed networks: a new set of directories and own files.
    Names(Names),
    /// All ports of the host that the container has from now on: what is held of others is let go. One descriptor for
    /// each that is `new`. What is neither new nor held here is told by [`Reply::Ports`].
    Ports(Vec<HostPort>),
    /// The engine has recorded the final exit; the shim may go. `removed` tells those who wait for that. When
    /// it is false, their sockets come back with [`Reply::Done`], preface sent, for the engine to answer. Not
    /// before the final exit: until then it is refused.
    Release {
        removed: bool,
        /// They are to come back with [`Reply::Released`], for whoever knows chunks.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        waiters: bool,
    },
}

/// What it answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    Launched {
        pid: i32,
        started_at: String,
    },
    Done,
    State(Snapshot),
    /// The exec's process id on the host.
    ExecStarted {
        pid: i32,
    },
    /// The descriptor rides along.
    Root,
    /// The indices of those that the shim does not hold; nothing has become of these.
    Ports {
        missing: Vec<usize>,
    },
    /// One for each descriptor.
    Released {
        waiters: Vec<Waiter>,
    },
    Failed(Failure),
}

/// Why something did not work, in parts, so that the message can be composed where it is shown.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Failure {
    pub kind: FailureKind,
    /// The message in the words that runc uses, e.g. `exec: "x": executable file not found in $PATH`.
    pub message: String,
    /// What lies under it, outermost first.
    #[serde(default)]
    pub causes: Vec<String>,
    /// A foreign runtime's own sentence, whole: what ours is usually introduced by does not belong in front of it.
    #[serde(default)]
    pub verbatim: bool,
}

impl Failure {
    /// The message with its causes, and what Docker adds to the runtime's words: clients choose their exit code by
    /// sentences, where ours may say `ENOENT` only. A foreign runtime's are left as Docker leaves them.
    pub fn told(&self) -> String {
        let causes: String = self.causes.iter().map(|cause| format!(": {cause}")).collect();
        let told = format!("{}{causes}", self.message);
        let says = |words| told.contains(words);
        let ours = !self.verbatim;
        let addition = match self.kind {
            FailureKind::NotExecutable if self.message.ends_with("is a directory") => "permission denied",
            FailureKind::NotExecutable if ours && !says("permission denied") => "permission denied",
            FailureKind::NotFound if ours && !says("not found") && !says("no such file") => {
                "no such file or directory"
            }
            FailureKind::WrongType => {
                "Are you trying to mount a directory onto a file (or vice-versa)? Check if the specified host path \
                 exists and is the expected type"
            }
            _ => return told,
        };
        format!("{told}: {addition}")
    }
}

/// What a caller may want to tell apart. Of a newer shim it may be one that this build does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The command, or a file that its start needs, does not exist (127).
    NotFound,
    /// The command may not be executed, or its start was denied a file (126).
    NotExecutable,
    /// A file stands where a directory is needed, or the other way round (127).
    WrongType,
    /// The state does not allow it (not running, already paused…).
    Conflict,
    /// The request makes no sense.
    Invalid,
    /// The collector of the log cannot be reached.
    Logging,
    /// Anything else (128 at start).
    #[serde(other)]
    Other,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_told_by_its_kind() {
        let told = |json: &str| serde_json::from_str::<Failure>(json).unwrap().told();
        let mismatched = told(r#"{"kind":"wrong_type","message":"bind","causes":["mount","no"]}"#);
        assert!(
            mismatched.starts_with("bind: mount: no: Are you trying to mount a directory"),
            "{mismatched}"
        );
        let directory = told(r#"{"kind":"not_executable","message":"exec: \"/etc\": is a directory"}"#);
        assert_eq!(directory, "exec: \"/etc\": is a directory: permission denied");
        let file = told(r#"{"kind":"not_found","message":"openat2(\"sys/a\"): ENOENT"}"#);
        assert_eq!(file, r#"openat2("sys/a"): ENOENT: no such file or directory"#);
        let command = r#"{"kind":"not_found","message":"executable file not found in $PATH"}"#;
        assert_eq!(told(command), "executable file not found in $PATH");
        let foreign = r#"{"kind":"not_found","message":"it is gone","verbatim":true}"#;
        assert_eq!(told(foreign), "it is gone");
    }

    #[test]
    fn a_kind_of_a_newer_shim_is_any_other() {
        let failure: Failure = serde_json::from_str(r#"{"kind":"of_tomorrow","message":"no"}"#).unwrap();
        assert_eq!((failure.kind, failure.told().as_str()), (FailureKind::Other, "no"));
    }
}
