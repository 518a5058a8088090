//! Taking a client's socket out of HTTP and handing it to the engine.
//!
//! The response's head is built here, because only this side knows what the client asked for; whoever serves the
//! body writes the head first. Streams end with the connection. Ordinary bodies do, too, but where they may come in chunks:
//! then there are two heads, and whoever knows what the writer of the body can takes one of them.

use api::stream::{MULTIPLEXED, RAW};
use api::version::HEADERS;
use engine::{Client, Preface, Ticket};

use crate::call::Call;
use crate::reply::{Answer, Failure, Reply};

/// The head of a response that is written by somebody else.
pub(crate) struct Head(String);

impl Head {
    /// 101 where the client wants to upgrade, else 200 with the bytes right behind it, as the first clients expect.
    pub(crate) fn raw_stream(call: &Call, content_type: &str) -> Head {
        Head(match call.upgrades() {
            true => format!(
                "HTTP/1.1 101 UPGRADED\r\nContent-Type: {content_type}\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
            ),
            false => format!("HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\n"),
        })
    }

    /// Nothing comes behind this response.
    fn closing(content_type: &str) -> Head {
        Head(format!("HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nConnection: close\r\n")).standard()
    }

    /// Adds one header.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Head {
        self.0.push_str(&format!("{name}: {value}\r\n"));
        self
    }

    /// Adds the headers of every response.
    pub(crate) fn standard(self) -> Head {
        HEADERS.iter().fold(self, |head, (name, value)| head.with(name, value))
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.0.push_str("\r\n");
        self.0.into_bytes()
    }
}

/// An ordinary response. Its body comes in chunks where the client knows them and the writer of the body does.
pub(crate) fn response(call: &Call, content_type: &str) -> Preface {
    let head = || Head::closing(content_type);
    let chunked = || head().with("Transfer-Encoding", "chunked").finish();
    Preface { plain: head().finish(), chunked: call.knows_chunks().then(chunked) }
}

/// Multiplexed streams are announced as such only to clients that know the type.
pub(crate) fn content_type(call: &Call, multiplexed: bool, known: bool) -> &'static str {
    if multiplexed && known && !call.before(42) { MULTIPLEXED } else { RAW }
}

/// Gives the client of `call` to the holder of `ticket`.
pub(crate) async fn deliver(call: &Call, ticket: Ticket, preface: impl Into<Preface>) -> Answer {
    let taken =
        call.seat.take().ok_or_else(|| Failure::invalid("the request's body was not read to its end"))?;
    let socket = taken
        .stream
        .into_descriptor()
        .map_err(|error| Failure::system(format!("cannot take the connection: {error}")))?;
    let client = Client { socket, preface: preface.into(), unread: taken.unread };
    // A task of its own: HTTP has lost the connection, and drops what still waits on its behalf.
    tokio::spawn(async move {
        if let Err(error) = ticket.deliver(client).await {
            // Too late for a status: the client has seen the connection close.
            tracing::warn!(%error, "a client was lost on its way to its container");
        }
    });
    Ok(Reply::Taken)
}
