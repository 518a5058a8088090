//! How a container is, and what happens to it.

use serde::{Deserialize, Serialize};

use super::{Failure, HealthState, HealthStatus, Probe};

/// What a shim knows of its container.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Snapshot {
    pub version: u32,
    pub container: String,
    pub incarnation: String,
    /// The shim's own process id.
    pub shim_pid: i32,
    pub phase: Phase,
    pub restart_count: u32,
    /// Sequence number of the newest event.
    pub sequence: u64,
    #[serde(default)]
    pub execs: Vec<String>,
    /// Absent without a health check.
    #[serde(default)]
    pub health: Option<HealthState>,
    /// Log records dropped because they could not be written.
    #[serde(default)]
    pub log_lost: u64,
}

/// How far the container is.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    Running {
        pid: i32,
        started_at: String,
        paused: bool,
    },
    /// Ended, and the policy brings it back.
    Restarting {
        exit: Exit,
    },
    /// Ended for good; the shim stays until it is released.
    Exited {
        exit: Exit,
    },
}

/// How a run has ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Exit {
    /// As a shell would say it: 128 + N for signal N.
    pub code: i32,
    pub oom_killed: bool,
    /// RFC 3339, UTC, nanoseconds.
    pub started_at: String,
    pub finished_at: String,
    /// Set when a restart failed before the process ran.
    #[serde(default)]
    pub error: Option<Failure>,
}

/// Something that happened, as the journal and every subscriber see it. One JSON document per journal line.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Event {
    pub incarnation: String,
    /// From 1, without a gap.
    pub sequence: u64,
    /// Wall clock, RFC 3339, UTC, nanoseconds.
    pub time: String,
    pub what: Happening,
}

/// What can happen to a container.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Happening {
    Started {
        pid: i32,
        restart_count: u32,
    },
    /// `restarts`: the policy brings it back, after `delay_ms`.
    Exited {
        exit: Exit,
        restarts: bool,
        delay_ms: u64,
        /// How often its policy has restarted it, this time included; older shims do not say it before it runs again.
        #[serde(default)]
        restart_count: Option<u32>,
    },
    OutOfMemory,
    Paused,
    Resumed,
    /// A signal that a client asked for was delivered.
    Killed {
        signal: i32,
    },
    Detached {
        exec: Option<String>,
    },
    ExecStarted {
        exec: String,
        pid: i32,
    },
    ExecExited {
        exec: String,
        code: i32,
    },
    /// A probe begins; `result` counts them from 1.
    HealthStarted {
        result: u64,
    },
    HealthProbed {
        status: HealthStatus,
        failing_streak: u32,
        probe: Probe,
        /// What the process of the probe ended with; absent where it never began.
        #[serde(default)]
        code: Option<i32>,
    },
    /// The log could not be written (a full disk); the numbers count from the start of the container.
    LogLost {
        records: u64,
        bytes: u64,
        error: String,
    },
}

/// Takes events out of the bytes of a subscription, however they were cut.
#[derive(Debug, Default)]
pub struct Decoder {
    assembler: crate::frame::Assembler,
}

impl Decoder {
    pub fn push(&mut self, bytes: &[u8]) {
        self.assembler.push(bytes);
    }

    /// The next whole event. An event of a kind that this build does not know is skipped, not an error: a newer
    /// shim may speak of more.
    pub fn pop(&mut self) -> std::io::Result<Option<Event>> {
        while let Some(frame) = self.assembler.take()? {
            if let Ok(event) = serde_json::from_slice(&frame.payload) {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }
}
