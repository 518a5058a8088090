//! The two-phase hand-over of a client's socket.
//!
//! ```text
//!  door                         engine                      shim
//!   │ container_attach(…) ───────▶│ checks; may refuse        │
//!   │ ◀───────────────── Ticket ──│                           │
//!   │ takes the socket from HTTP  │                           │
//!   │ deliver(socket, head, rest)▶│ ── Attach + descriptor ──▶│ writes the head, then the streams
//! ```
//!
//! The first phase still speaks HTTP and can fail with a status; after the second the engine may be killed and the
//! client notices nothing, because the shim holds its socket. A container that does not run has no shim: its clients
//! are held by the container's owner until it starts, and travel with the launch.

use std::io::Write;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use api::container::WaitCondition;
use shim::chunks;
use shim::protocol::{Attachment, LogQuery};

use crate::Engine;
use crate::container::{self, Handle};
use crate::error::{Error, ErrorKind, Result};
use crate::exec::Prepared;

/// A client's connection, taken out of its protocol.
#[derive(Debug)]
pub struct Client {
    pub socket: OwnedFd,
    /// Written before anything else.
    pub preface: Preface,
    /// What the client had already sent behind its request.
    pub unread: Vec<u8>,
}

/// The head of a response, for whichever end its body gets.
#[derive(Debug, Clone, Default)]
pub struct Preface {
    /// The body ends with the connection.
    pub plain: Vec<u8>,
    /// The body comes in chunks. Absent where the client, or this kind of body, knows none.
    pub chunked: Option<Vec<u8>>,
}

impl Preface {
    /// What is to be written by somebody who knows chunks, or does not, and whether chunks follow.
    pub(crate) fn choose(self, chunks: bool) -> (Vec<u8>, bool) {
        match self.chunked.filter(|_| chunks) {
            Some(chunked) => (chunked, true),
            None => (self.plain, false),
        }
    }
}

impl From<Vec<u8>> for Preface {
    fn from(plain: Vec<u8>) -> Preface {
        Preface { plain, chunked: None }
    }
}

/// A checked request that only needs its client's socket.
pub struct Ticket {
    pub(crate) engine: Engine,
    pub(crate) container: Handle,
    pub(crate) what: What,
}

pub(crate) enum What {
    Attach(Attachment),
    Wait(WaitCondition),
    Logs(LogQuery),
    Exec(Box<Prepared>),
    /// An exec that cannot be started, and what its client is told in place of output.
    Refused {
        text: String,
        multiplexed: bool,
    },
}

impl Ticket {
    /// Whether the output is framed; decides the content type of the response.
    pub fn multiplexed(&self) -> bool {
        match &self.what {
            What::Attach(attachment) => attachment.multiplexed,
            What::Logs(query) => query.multiplexed,
            What::Exec(exec) => exec.multiplexed(),
            What::Refused { multiplexed, .. } => *multiplexed,
            What::Wait(_) => false,
        }
    }

    /// Hands the client over. One whose container was removed since the first phase gets what is left of it: the code that
    /// it ended with, or no output. An error comes too late for a status; the engine has told the client what it could and
    /// closed the connection.
    pub async fn deliver(self, client: Client) -> Result<()> {
        let Client { socket, preface, unread } = client;
        match self.what {
            What::Attach(attachment) => {
                let (held, head) = (spare(&socket)?, preface.plain.clone());
                let attachment = Attachment { preface: preface.plain, unread, ..attachment };
                match self.container.attach(&self.engine, attachment, socket).await {
                    Err(error) if error.kind() == ErrorKind::NotFound => answer(held, &[&head]),
                    attached => attached,
                }
            }
            What::Wait(condition) => {
                let held = spare(&socket)?;
                match self.container.wait(condition, preface.clone(), socket).await {
                    Err(error) if error.kind() == ErrorKind::NotFound => {
                        container::answer_wait(&self.container.record(), condition, preface, held)
                    }
                    waits => waits,
                }
            }
            What::Logs(query) => {
                let (held, (head, chunked)) = (spare(&socket)?, preface.clone().choose(true));
                match self.container.logs(&self.engine, query, preface, socket).await {
                    Err(error) if error.kind() == ErrorKind::NotFound => {
                        answer(held, &[&head, if chunked { chunks::END } else { b"" }])
                    }
                    sent => sent,
                }
            }
            What::Exec(exec) => {
                self.engine.exec_deliver(self.container, *exec, preface.plain, unread, socket).await
            }
            What::Refused { text, multiplexed } => {
                self.engine.tell_instead(text, multiplexed, preface.plain, socket).await
            }
        }
    }
}

/// Another hold on a client, for as long as it is not certain that somebody has taken it.
pub(crate) fn spare(socket: &OwnedFd) -> Result<OwnedFd> {
    linux::fd::duplicate(socket).map_err(|error| Error::failed("cannot hand a client over", error))
}

/// How long the client of a stream may take to read the head of its response.
const PATIENCE: Duration = Duration::from_secs(1);
const AGAIN: Duration = Duration::from_millis(1);

/// Sends the head of a stream that the engine writes by itself, and waits until it was read: an SDK that takes the
/// connection over from its HTTP library loses what that has read beyond the head. Blocking.
pub(crate) fn greet(socket: OwnedFd, head: &[u8]) -> Result<OwnedFd> {
    let mut stream = UnixStream::from(socket);
    let failed = |error| Error::failed("cannot answer a client", error);
    stream.set_nonblocking(false).map_err(failed)?;
    stream.write_all(head).map_err(failed)?;
    let socket = OwnedFd::from(stream);
    let until = Instant::now() + PATIENCE;
    while linux::socket::untaken(&socket).is_ok_and(|bytes| bytes > 0) && Instant::now() < until {
        std::thread::sleep(AGAIN);
    }
    Ok(socket)
}

/// Writes a whole answer to a client that the engine serves by itself, and closes it.
pub(crate) fn answer(socket: OwnedFd, parts: &[&[u8]]) -> Result<()> {
    let mut stream = UnixStream::from(socket);
    let failed = |error| Error::failed("cannot answer a client", error);
    stream.set_nonblocking(false).map_err(failed)?;
    for part in parts {
        stream.write_all(part).map_err(failed)?;
    }
    // The client may be gone; there is nobody left to tell.
    let _ = stream.shutdown(Shutdown::Both);
    Ok(())
}
