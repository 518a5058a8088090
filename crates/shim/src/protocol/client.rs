//! Clients whose sockets the engine passes on: they want streams, or an end.

use serde::{Deserialize, Serialize};

use crate::chunks;

/// A client that wants the container's (or an exec's) streams. Its socket travels beside.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Attachment {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    /// Frame the output (eight-byte headers); otherwise raw.
    pub multiplexed: bool,
    /// Behind the output of an exec a last frame with its exit code, where output is framed.
    #[serde(default)]
    pub tell_exit: bool,
    /// Key codes that end the attachment; empty when it has none.
    #[serde(default)]
    pub detach_keys: Vec<u8>,
    /// Bytes to write before anything else (the head of an HTTP response).
    #[serde(default)]
    pub preface: Vec<u8>,
    /// What the client sent behind its request, already read by the engine.
    #[serde(default)]
    pub unread: Vec<u8>,
    /// Replay the log before live output.
    #[serde(default)]
    pub replay: bool,
    /// Go on with live output.
    #[serde(default = "yes")]
    pub live: bool,
}

fn yes() -> bool {
    true
}

impl Default for Attachment {
    /// Live, and nothing else.
    fn default() -> Attachment {
        Attachment {
            stdin: false,
            stdout: false,
            stderr: false,
            multiplexed: false,
            tell_exit: false,
            detach_keys: Vec::new(),
            preface: Vec::new(),
            unread: Vec::new(),
            replay: false,
            live: true,
        }
    }
}

/// A client that waits for an exit. At that moment it is sent the body of `POST /containers/{id}/wait`
/// (`{"StatusCode":N}`), and its socket is closed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Waiter {
    pub until: WaitUntil,
    #[serde(default)]
    pub preface: Vec<u8>,
    /// The preface announces a body in chunks.
    #[serde(default)]
    pub chunked: bool,
}

impl Waiter {
    /// The whole body.
    pub fn body(&self, code: i32) -> Vec<u8> {
        let mut body = format!("{{\"StatusCode\":{code}}}\n").into_bytes();
        if self.chunked {
            chunks::frame(&mut body, 0);
            body.extend_from_slice(chunks::END);
        }
        body
    }
}

/// What somebody waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WaitUntil {
    /// The process that runs now has ended.
    Exit,
    /// The engine has removed the container ([`Request::Release`](super::Request::Release) says so).
    Removed,
}
