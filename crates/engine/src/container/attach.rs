//! Attaching to a container's streams, and the size of its terminal.

use shim::protocol::Attachment;

use super::commands::Command;
use super::life;
use crate::Engine;
use crate::error::{Error, Result};
use crate::ticket::{Ticket, What};

/// What a client wants of the streams.
#[derive(Debug, Clone, Default)]
pub struct AttachOptions {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    /// Replay the log first.
    pub logs: bool,
    /// Go on with live output.
    pub stream: bool,
    /// As the client wrote them; empty means the default, ctrl-p ctrl-q.
    pub detach_keys: String,
}

const DEFAULT_DETACH_KEYS: &[u8] = &[16, 17];

impl Engine {
    /// Checks that the container can be attached to. Created and stopped ones can: their streams begin at start.
    pub async fn container_attach(&self, wanted: &str, options: AttachOptions) -> Result<Ticket> {
        let keys = detach_keys(&options.detach_keys).ok_or_else(|| {
            Error::invalid(format!("Invalid detach keys ({}) provided", options.detach_keys))
        })?;
        let container = self.container(wanted)?;
        let record = container.record();
        life::admit_attach(&record)?;
        let stdin = options.stdin && record.config.open_stdin;
        let attachment = Attachment {
            stdin,
            stdout: options.stdout,
            stderr: options.stderr,
            multiplexed: !record.config.tty,
            tell_exit: false,
            detach_keys: if record.config.tty { keys } else { Vec::new() },
            preface: Vec::new(),
            unread: Vec::new(),
            replay: options.logs,
            // Who asked for no stream that there is has nothing to wait for.
            live: options.stream && (stdin || options.stdout || options.stderr),
        };
        self.container_event(&record, "attach", &[]);
        Ok(Ticket { engine: self.clone(), container, what: What::Attach(attachment) })
    }

    pub async fn container_resize(&self, wanted: &str, height: u16, width: u16) -> Result<()> {
        let container = self.container(wanted)?;
        container.ask(|reply| Command::Resize { exec: None, height, width, reply }).await
    }
}

/// `ctrl-<x>` and single characters, separated by commas, as key codes.
pub(crate) fn detach_keys(text: &str) -> Option<Vec<u8>> {
    if text.is_empty() {
        return Some(DEFAULT_DETACH_KEYS.to_vec());
    }
    text.split(',').map(key_code).collect()
}

fn key_code(key: &str) -> Option<u8> {
    if let [only] = key.as_bytes() {
        return Some(*only);
    }
    if key == "DEL" {
        return Some(127);
    }
    match key.strip_prefix("ctrl-")?.as_bytes() {
        [letter @ b'a'..=b'z'] => Some(letter - b'a' + 1),
        b"@" => Some(0),
        b"[" => Some(27),
        b"\\" => Some(28),
        b"]" => Some(29),
        b"^" => Some(30),
        b"_" => Some(31),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_letters_or_control_codes() {
        assert_eq!(detach_keys("").unwrap(), [16, 17]);
        assert_eq!(detach_keys("ctrl-a,x,ctrl-@,ctrl-_,DEL").unwrap(), [1, b'x', 0, 31, 127]);
        assert_eq!([detach_keys("ctrl-a,shift"), detach_keys("ctrl-A")], [None, None]);
    }
}
