//! HTTP by hand, for what no client does: halves of requests, several at once, bodies that lie, streams without HTTP.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Beyond every wait that a test means.
const LIMIT: Duration = Duration::from_secs(120);

/// Again, if a signal or a freezer got in between: a socket with a time limit tells of that.
pub fn uninterrupted<T>(mut ask: impl FnMut() -> std::io::Result<T>) -> std::io::Result<T> {
    loop {
        match ask() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            answer => return answer,
        }
    }
}

/// One connection to an engine's socket.
#[derive(Debug)]
pub struct Wire {
    stream: UnixStream,
    /// Read, but not asked for yet.
    ahead: Vec<u8>,
}

/// A response whose body has a known end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Response {
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Wire {
    pub fn connect(socket: &Path) -> Wire {
        let stream = UnixStream::connect(socket).expect("the engine listens");
        stream.set_read_timeout(Some(LIMIT)).expect("a socket has a time limit");
        Wire { stream, ahead: Vec::new() }
    }

    /// Whether the engine took it all: it may have hung up.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Wire {
        assert!(self.try_send(bytes), "the engine hung up");
        self
    }

    /// A request with a JSON body, if one is given.
    #[track_caller]
    pub fn request(&mut self, method: &str, path: &str, body: Option<&str>) -> &mut Wire {
        let body = body.map_or_else(
            || "\r\n".to_owned(),
            |body| format!("Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len()),
        );
        self.send(format!("{method} {path} HTTP/1.1\r\nHost: x\r\n{body}"))
    }

    /// Says that nothing more will be sent.
    pub fn half_close(&mut self) -> &mut Wire {
        self.stream.shutdown(Shutdown::Write).expect("the connection stands");
        self
    }

    /// The next head, with the empty line behind it.
    #[track_caller]
    pub fn head(&mut self) -> String {
        loop {
            if let Some(at) = self.ahead.windows(4).position(|four| four == b"\r\n\r\n") {
                let head: Vec<u8> = self.ahead.drain(..at + 4).collect();
                return String::from_utf8(head).expect("a head is text");
            }
            assert!(
                self.read() > 0,
                "the connection ended in a head: {}",
                String::from_utf8_lossy(&self.ahead)
            );
        }
    }

    /// The next response.
    #[track_caller]
    pub fn response(&mut self) -> Response {
        let head = self.head();
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status line");
        let lower = head.to_ascii_lowercase();
        let body = if lower.contains("transfer-encoding: chunked") {
            self.chunks()
        } else {
            let length = lower.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length = length.map_or(0, |length| length.trim().parse().expect("a length is a number"));
            self.bytes(length)
        };
        Response { status, head, body }
    }

    /// A body that comes in chunks, to its last one.
    #[track_caller]
    pub fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let line = self.line();
            let size = usize::from_str_radix(&line, 16).unwrap_or_else(|_| panic!("no chunk size: {line:?}"));
            body.extend(self.bytes(size));
            assert_eq!(self.line(), "");
            if size == 0 {
                return body;
            }
        }
    }

    /// The next line, without its end.
    #[track_caller]
    pub fn line(&mut self) -> String {
        loop {
            if let Some(at) = self.ahead.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.ahead.drain(..=at).collect();
                return String::from_utf8(line).expect("a line is text").trim_end().to_owned();
            }
            assert!(self.read() > 0, "the connection ended in a line");
        }
    }

    /// The next so many bytes.
    #[track_caller]
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        while self.ahead.len() < count {
            assert!(self.read() > 0, "the connection ended after {} of {count} bytes", self.ahead.len());
        }
        self.ahead.drain(..count).collect()
    }

    /// All that comes until the other side ends.
    pub fn rest(&mut self) -> Vec<u8> {
        while self.read() > 0 {}
        std::mem::take(&mut self.ahead)
    }

    fn read(&mut self) -> usize {
        let mut buffer = [0; 16 << 10];
        let count = match uninterrupted(|| self.stream.read(&mut buffer)) {
            Ok(count) => count,
            // It hung up on what it had not read: that is an end, too.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => 0,
            Err(error) => panic!("cannot read from the engine: {error}"),
        };
        self.ahead.extend(&buffer[..count]);
        count
    }
}
