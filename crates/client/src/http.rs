//! Just enough HTTP/1.1: one request at a time on one connection.
//!
//! The head is parsed by httparse out of a buffer of ours; what was read beyond it belongs to the
//! body, or, after an upgrade, to the raw stream. Bodies come by length, in chunks, or until the
//! connection closes.

use std::io::{self, Read, Write};

use crate::stream::Stream;
use crate::{Error, Result, tls};

/// The engine's heads are a few hundred bytes; what exceeds this is not an engine.
const HEAD_LIMIT: usize = 64 * 1024;
const HEADER_LIMIT: usize = 64;
/// Fits what a pipe or a Unix socket hands over at once.
const BUFFER: usize = 32 * 1024;
/// What most answers fit into: memory that nothing is read into costs time, too.
const FIRST_READ: usize = 4 * 1024;

/// What a request carries.
pub(crate) enum Payload<'a> {
    Nothing,
    Json(Vec<u8>),
    /// Of unknown length: sent in chunks.
    Stream {
        content_type: &'static str,
        reader: &'a mut dyn Read,
    },
}

pub(crate) struct Head<'a> {
    pub(crate) method: &'a str,
    pub(crate) target: &'a str,
    pub(crate) host: &'a str,
    pub(crate) headers: &'a [(String, String)],
    pub(crate) upgrade: bool,
}

/// The first line and the headers of an answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    fn says(&self, name: &str, word: &str) -> bool {
        self.header(name)
            .is_some_and(|value| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(word)))
    }
}

/// Why a request did not go out.
#[derive(Debug)]
pub(crate) enum Unsent {
    Socket(io::Error),
    /// What was to be sent could not be read: the other side waits for it.
    Source(io::Error),
}

impl From<io::Error> for Unsent {
    fn from(error: io::Error) -> Unsent {
        Unsent::Socket(error)
    }
}

/// A connection with the bytes that were read from it too early.
pub(crate) struct Connection {
    stream: Stream,
    buffer: Vec<u8>,
    at: usize,
    /// How much the next read may bring: more, once a read has brought all that it might.
    window: usize,
}

impl Connection {
    pub(crate) fn new(stream: Stream) -> Connection {
        Connection { stream, buffer: Vec::new(), at: 0, window: FIRST_READ }
    }

    pub(crate) fn is_closed(&mut self) -> bool {
        self.stream.is_closed()
    }

    pub(crate) fn into_parts(self) -> (Stream, Vec<u8>) {
        (self.stream, self.buffer[self.at..].to_vec())
    }

    pub(crate) fn send(&mut self, head: &Head<'_>, payload: Payload<'_>) -> std::result::Result<(), Unsent> {
        let mut text = format!("{} {} HTTP/1.1\r\nHost: {}\r\n", head.method, head.target, head.host);
        for (name, value) in head.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if head.upgrade {
            text.push_str("Connection: Upgrade\r\nUpgrade: tcp\r\n");
        }
        match payload {
            Payload::Nothing => {
                // A POST without a body must say so, or a server may wait for one.
                if head.method != "GET" && head.method != "HEAD" {
                    text.push_str("Content-Length: 0\r\n");
                }
                text.push_str("\r\n");
                Ok(self.stream.write_all(text.as_bytes())?)
            }
            Payload::Json(body) => {
                text.push_str(&format!(
                    "Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                ));
                let mut bytes = text.into_bytes();
                bytes.extend_from_slice(&body);
                Ok(self.stream.write_all(&bytes)?)
            }
            Payload::Stream { content_type, reader } => {
                text.push_str(&format!("Content-Type: {content_type}\r\nTransfer-Encoding: chunked\r\n\r\n"));
                self.stream.write_all(text.as_bytes())?;
                self.send_chunks(reader)
            }
        }
    }

    fn send_chunks(&mut self, reader: &mut dyn Read) -> std::result::Result<(), Unsent> {
        let mut buffer = vec![0u8; BUFFER];
        loop {
            let count = match reader.read(&mut buffer) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Unsent::Source(error)),
            };
            let mut chunk = format!("{count:x}\r\n").into_bytes();
            chunk.extend_from_slice(&buffer[..count]);
            chunk.extend_from_slice(b"\r\n");
            self.stream.write_all(&chunk)?;
            if count == 0 {
                return Ok(self.stream.flush()?);
            }
        }
    }

    /// Reads the head of the answer. `None`: the other side had closed before it said anything,
    /// which is how an idle connection dies.
    pub(crate) fn answer(&mut self) -> Result<Option<Answer>> {
        loop {
            if let Some(answer) = self.parse_head()? {
                // 100 Continue announces another answer.
                if answer.status != 100 {
                    return Ok(Some(answer));
                }
                continue;
            }
            if self.buffer.len() - self.at > HEAD_LIMIT {
                return Err(Error::Protocol(format!("the answer's head is longer than {HEAD_LIMIT} bytes")));
            }
            let empty = self.at == self.buffer.len();
            if self.fill().map_err(tls::broken_off("reading the answer"))? == 0 {
                return if empty {
                    Ok(None)
                } else {
                    Err(Error::Protocol("the connection closed within the head of the answer".to_owned()))
                };
            }
        }
    }

    fn parse_head(&mut self) -> Result<Option<Answer>> {
        let mut headers = [httparse::EMPTY_HEADER; HEADER_LIMIT];
        let mut response = httparse::Response::new(&mut headers);
        let parsed = response
            .parse(&self.buffer[self.at..])
            .map_err(|error| Error::Protocol(format!("the answer is not HTTP: {error}")))?;
        let httparse::Status::Complete(length) = parsed else { return Ok(None) };
        let answer = Answer {
            status: response.code.unwrap_or_default(),
            headers: response
                .headers
                .iter()
                .map(|header| (header.name.to_owned(), String::from_utf8_lossy(header.value).into_owned()))
                .collect(),
        };
        self.at += length;
        Ok(Some(answer))
    }

    /// Reads more into the buffer; the count is 0 at the end.
    fn fill(&mut self) -> io::Result<usize> {
        if self.at == self.buffer.len() {
            self.buffer.clear();
            self.at = 0;
        }
        let start = self.buffer.len();
        self.buffer.resize(start + self.window, 0);
        let result = loop {
            match self.stream.read(&mut self.buffer[start..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result,
            }
        };
        let count = result.as_ref().copied().unwrap_or(0);
        self.buffer.truncate(start + count);
        if count == self.window {
            self.window = (count * 2).min(BUFFER);
        }
        result
    }

    fn take(&mut self, wanted: &mut [u8]) -> io::Result<usize> {
        if wanted.is_empty() {
            return Ok(0);
        }
        if self.at == self.buffer.len() && self.fill()? == 0 {
            return Ok(0);
        }
        let count = wanted.len().min(self.buffer.len() - self.at);
        wanted[..count].copy_from_slice(&self.buffer[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }

    /// A line of the chunk framing, without its end; short by nature.
    fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        let mut byte = [0u8];
        loop {
            if self.take(&mut byte)? == 0 {
                return Err(cut_off());
            }
            if byte[0] == b'\n' {
                break;
            }
            line.push(byte[0]);
            if line.len() > 1024 {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a chunk's head is too long"));
            }
        }
        Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
    }
}

/// The connection has ended before the body, in Docker's words.
fn cut_off() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "unexpected EOF")
}

enum Length {
    Known(u64),
    Chunk { left: u64, first: bool },
    UntilClose,
    Done,
}

/// The body of an answer, and the connection it comes from.
pub struct Body {
    connection: Connection,
    length: Length,
    reusable: bool,
}

impl Body {
    pub(crate) fn new(connection: Connection, answer: &Answer, method: &str) -> Result<Body> {
        let length = if method == "HEAD" || matches!(answer.status, 204 | 304) {
            Length::Done
        } else if answer.says("transfer-encoding", "chunked") {
            Length::Chunk { left: 0, first: true }
        } else if let Some(text) = answer.header("content-length") {
            let count =
                text.parse().map_err(|_| Error::Protocol(format!("invalid Content-Length {text:?}")))?;
            if count == 0 { Length::Done } else { Length::Known(count) }
        } else {
            Length::UntilClose
        };
        let reusable = !matches!(length, Length::UntilClose) && !answer.says("connection", "close");
        Ok(Body { connection, length, reusable })
    }

    /// The connection, when the body was read to its end and another request may follow.
    pub(crate) fn into_idle(self) -> Option<Connection> {
        (self.reusable && matches!(self.length, Length::Done)).then_some(self.connection)
    }

    pub(crate) fn into_connection(self) -> Connection {
        self.connection
    }

    fn read_chunk(&mut self, buffer: &mut [u8], mut left: u64, first: bool) -> io::Result<usize> {
        if left == 0 {
            if !first {
                self.connection.line()?;
            }
            let head = self.connection.line()?;
            let digits = head.split(';').next().unwrap_or_default().trim();
            left = u64::from_str_radix(digits, 16).map_err(|_| {
                io::Error::new(io::ErrorKind::InvalidData, format!("invalid chunk size {digits:?}"))
            })?;
            if left == 0 {
                while !self.connection.line()?.is_empty() {}
                self.length = Length::Done;
                return Ok(0);
            }
        }
        let count = self.read_some(buffer, left)?;
        self.length = Length::Chunk { left: left - count as u64, first: false };
        Ok(count)
    }

    fn read_some(&mut self, buffer: &mut [u8], left: u64) -> io::Result<usize> {
        let limit = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.connection.take(&mut buffer[..limit])?;
        if count == 0 && limit > 0 {
            return Err(cut_off());
        }
        Ok(count)
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        match self.length {
            Length::Done => Ok(0),
            Length::UntilClose => {
                let count = self.connection.take(buffer)?;
                if count == 0 {
                    self.length = Length::Done;
                }
                Ok(count)
            }
            Length::Known(left) => {
                let count = self.read_some(buffer, left)?;
                let left = left - count as u64;
                self.length = if left == 0 { Length::Done } else { Length::Known(left) };
                Ok(count)
            }
            Length::Chunk { left, first } => self.read_chunk(buffer, left, first),
        }
    }
}
