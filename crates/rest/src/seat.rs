//! One client's connection as hyper sees it, and the way to take the socket back from hyper.
//!
//! Docker's attach, exec, wait and logs turn an HTTP connection into a raw stream that somebody else (a shim)
//! serves to its end. hyper only knows upgrades that the client asked for, reads ahead, and keeps what it has read.
//! So hyper never reads the socket: it reads a [`Seat`], which understands just enough HTTP framing to hand over
//! one request at a time.
//!
//! ```text
//!   Head ──complete head──▶ Known{left} ──0 left──▶ Held ──response given──▶ Head
//!     │                 └─▶ Chunked ───last chunk──▶ ┘
//!     └──not HTTP, or too long──▶ Open   (hyper answers 400 or 431 and closes)
//! ```
//!
//! While a request is *held* no byte behind it reaches hyper. A handler that takes the socket ([`Seat::take`]) gets
//! all that the client sent behind its request, and hyper is left with a connection that is at its end and swallows
//! writes. Once a response was given the gate is open again, so that hyper notices clients that hang up during a
//! long answer.
//!
//! A response may come before the end of its request, and hyper closes then; what is still on its way is read and thrown
//! away ([`Seat::linger`]).
//!
//! Limits: heads of up to [`HEAD_LIMIT`], complete within [`HEAD_PATIENCE`] of their first byte; a read-ahead of
//! [`READ_AHEAD`] per connection, given back when idle. A connection between two requests may rest for as long as it
//! likes, as clients that keep theirs open expect.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::chunks::Chunks;
use crate::stream::Stream;

/// Docker's clients send less than 8 KiB, credentials included; Go's server allows 1 MiB.
pub(crate) const HEAD_LIMIT: usize = 64 << 10;
/// A client that has begun a request and does not go on would hold its place for ever. Heads arrive in one piece, or in
/// a few over the worst of links.
const HEAD_PATIENCE: Duration = Duration::from_secs(30);
/// What one read of a socket usually brings when images are uploaded.
const READ_AHEAD: usize = 64 << 10;
/// A client that has been refused may still be sending: it is heard out while it goes on without a rest, for this long at
/// most. Closed at once, the socket would break its writing before it has read why.
const LINGER: Duration = Duration::from_secs(5);
const REST: Duration = Duration::from_millis(500);
/// As many as Go's clients ever send, several times over.
const HEADERS: usize = 128;

/// Shared by the connection that hyper drives and the handlers of its requests.
pub(crate) struct Seat {
    inner: Mutex<Inner>,
}

struct Inner {
    /// `None` once a handler took it.
    stream: Option<Stream>,
    ahead: Vec<u8>,
    at: usize,
    phase: Phase,
    served: bool,
    reader: Option<Waker>,
    /// How long a head may take, and when the one that has begun must be complete.
    patience: Duration,
    deadline: Option<Pin<Box<Sleep>>>,
}

enum Phase {
    Head,
    Known { left: u64 },
    Chunked { head: usize, chunks: Chunks },
    Held,
    Open,
}

/// A client's socket, and what it had sent behind its request.
pub(crate) struct Taken {
    pub(crate) stream: Stream,
    pub(crate) unread: Vec<u8>,
}

impl Seat {
    pub(crate) fn new(stream: Stream) -> Arc<Seat> {
        Seat::with_patience(stream, HEAD_PATIENCE)
    }

    fn with_patience(stream: Stream, patience: Duration) -> Arc<Seat> {
        Arc::new(Seat {
            inner: Mutex::new(Inner {
                stream: Some(stream),
                ahead: Vec::new(),
                at: 0,
                phase: Phase::Head,
                served: false,
                reader: None,
                patience,
                deadline: None,
            }),
        })
    }

    /// What hyper drives.
    pub(crate) fn io(self: &Arc<Seat>) -> Io {
        Io(self.clone())
    }

    /// The handler of the current request has given its response.
    pub(crate) fn served(&self) {
        let mut inner = self.lock();
        inner.served = true;
        if let Some(reader) = inner.reader.take() {
            reader.wake();
        }
    }

    /// Takes the connection from hyper. `None` if it was taken before, or if the request's body has not been read
    /// to its end, in which case nobody could tell body and stream apart.
    pub(crate) fn take(&self) -> Option<Taken> {
        let mut inner = self.lock();
        // Notices a request that has just been read to its end.
        inner.allowed();
        if !matches!(inner.phase, Phase::Held) {
            return None;
        }
        let stream = inner.stream.take()?;
        let at = inner.at;
        let unread = inner.ahead.split_off(at);
        inner.drained();
        Some(Taken { stream, unread })
    }

    /// After the last response: reads what is left of a body that nobody wanted.
    pub(crate) async fn linger(&self) {
        let stream = {
            let mut inner = self.lock();
            let unread = matches!(inner.phase, Phase::Known { left: 1.. } | Phase::Chunked { .. });
            inner.stream.take_if(|_| unread)
        };
        let Some(mut stream) = stream else { return };
        let mut buffer = vec![0; READ_AHEAD];
        let rest =
            async { while let Ok(Ok(1..)) = tokio::time::timeout(REST, stream.read(&mut buffer)).await {} };
        // Too late, or at an end: the client had its time.
        let _ = tokio::time::timeout(LINGER, rest).await;
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // No code of ours panics while it holds the lock; if some did, the connection fails by itself.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Reads more of the socket behind what is there. 0 is its end.
    fn fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(Ok(0));
        };
        if self.at > 0 {
            self.ahead.drain(..self.at);
            self.at = 0;
        }
        let before = self.ahead.len();
        self.ahead.resize(before + READ_AHEAD, 0);
        let mut buffer = ReadBuf::new(&mut self.ahead[before..]);
        let read = Pin::new(stream).poll_read(cx, &mut buffer);
        let count = buffer.filled().len();
        self.ahead.truncate(before + count);
        read.map_ok(|()| count)
    }

    /// How many bytes of `ahead` hyper may have now, and what comes after them. 0: more must be read first.
    fn allowed(&mut self) -> usize {
        loop {
            let ready = &self.ahead[self.at..];
            match &mut self.phase {
                Phase::Open => return ready.len(),
                Phase::Known { left: 0 } => self.phase = Phase::Held,
                Phase::Known { left } => {
                    return usize::try_from(*left).map_or(ready.len(), |left| left.min(ready.len()));
                }
                Phase::Chunked { head, chunks } => {
                    if *head > 0 {
                        return (*head).min(ready.len());
                    }
                    if chunks.ended() {
                        self.phase = Phase::Held;
                        continue;
                    }
                    match chunks.clone().feed(ready) {
                        Some(count) => return count,
                        None => self.phase = Phase::Open,
                    }
                }
                Phase::Held => return 0,
                Phase::Head => match framing(ready) {
                    Some(Phase::Open) => self.phase = Phase::Open,
                    None => return 0,
                    Some(phase) if encode_target(&mut self.ahead, self.at) == 0 => self.phase = phase,
                    // The head is longer now.
                    Some(_) => {}
                },
            }
        }
    }

    /// `count` bytes went to hyper.
    fn passed(&mut self, count: usize) {
        match &mut self.phase {
            Phase::Known { left } => *left -= count as u64,
            Phase::Chunked { head, .. } if *head > 0 => *head -= count,
            Phase::Chunked { chunks, .. } => {
                chunks.feed(&self.ahead[self.at..self.at + count]);
            }
            Phase::Head | Phase::Held | Phase::Open => {}
        }
        self.at += count;
        if self.at == self.ahead.len() {
            self.drained();
        }
    }

    /// Idle connections hold no buffer, and no timer.
    fn drained(&mut self) {
        self.deadline = None;
        self.ahead = Vec::new();
        self.at = 0;
    }

    /// An error when a head has been under way for too long.
    fn watch_head(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if !matches!(self.phase, Phase::Head) || self.ahead.is_empty() {
            self.deadline = None;
            return Ok(());
        }
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(self.patience)));
        match deadline.as_mut().poll(cx) {
            Poll::Ready(()) => Err(io::Error::new(io::ErrorKind::TimedOut, "a request's head did not end")),
            Poll::Pending => Ok(()),
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, mut buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.stream.is_none() {
                // An end would make hyper drop the handler, which is just handing the socket over.
                if self.served {
                    return Poll::Ready(Ok(()));
                }
                self.reader = Some(cx.waker().clone());
                return Poll::Pending;
            }
            let allowed = self.allowed().min(buf.remaining());
            if allowed > 0 {
                buf.put_slice(&self.ahead[self.at..self.at + allowed]);
                self.passed(allowed);
                return Poll::Ready(Ok(()));
            }
            if matches!(self.phase, Phase::Held) {
                if !self.served {
                    self.reader = Some(cx.waker().clone());
                    return Poll::Pending;
                }
                self.served = false;
                self.phase = Phase::Head;
                continue;
            }
            self.watch_head(cx)?;
            if ready!(self.fill(cx))? == 0 {
                // hyper judges what an end within a request means.
                if self.at == self.ahead.len() {
                    return Poll::Ready(Ok(()));
                }
                self.phase = Phase::Open;
            }
        }
    }
}

/// Where the request at the front of `bytes` ends; `None` when its head is not complete.
fn framing(bytes: &[u8]) -> Option<Phase> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let head = match request.parse(bytes) {
        Ok(httparse::Status::Complete(head)) => head,
        Ok(httparse::Status::Partial) if bytes.len() < HEAD_LIMIT => return None,
        _ => return Some(Phase::Open),
    };
    let mut length = 0;
    for header in request.headers.iter() {
        if header.name.eq_ignore_ascii_case("transfer-encoding") {
            return Some(Phase::Chunked { head, chunks: Chunks::default() });
        }
        if header.name.eq_ignore_ascii_case("content-length") {
            let Some(said) =
                std::str::from_utf8(header.value).ok().and_then(|text| text.trim().parse::<u64>().ok())
            else {
                return Some(Phase::Open);
            };
            length = said;
        }
    }
    Some(Phase::Known { left: length.saturating_add(head as u64) })
}

/// Writes characters of the request line as hyper wants them that Go takes as they are: people who speak to the socket
/// by curl say `filters={"status":["running"]}`. Gives how many were changed.
fn encode_target(bytes: &mut Vec<u8>, start: usize) -> usize {
    let line = bytes[start..].iter().position(|byte| *byte == b'\n').unwrap_or(0);
    let mut changed = 0;
    for at in (start..start + line).rev() {
        if matches!(bytes[at], b'"' | b'<' | b'>' | b'`') {
            let encoded = format!("%{:02X}", bytes[at]);
            bytes.splice(at..=at, encoded.into_bytes());
            changed += 1;
        }
    }
    changed
}

/// hyper's end of a [`Seat`].
pub(crate) struct Io(Arc<Seat>);

impl Io {
    /// Does `write` on the stream; a stream that was taken swallows everything, since its new owner writes there.
    fn write<T>(
        &self,
        taken: T,
        write: impl FnOnce(Pin<&mut Stream>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match &mut self.0.lock().stream {
            Some(stream) => write(Pin::new(stream)),
            None => Poll::Ready(Ok(taken)),
        }
    }
}

impl Read for Io {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        self.0.lock().poll_read(cx, buf)
    }
}

impl Write for Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.write(buf.len(), |stream| stream.poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write((), |stream| stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write((), |stream| stream.poll_shutdown(cx))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let total = bufs.iter().map(|buf| buf.len()).sum();
        self.write(total, |stream| stream.poll_write_vectored(cx, bufs))
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::io::Write as _;
    use std::time::Duration;

    use http_body_util::BodyExt as _;
    use hyper::Response;
    use hyper::server::conn::http1;
    use hyper::service::service_fn;
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::UnixStream;

    use super::*;
    use crate::body::Body;

    fn left(text: &str) -> Option<u64> {
        match framing(text.as_bytes())? {
            Phase::Known { left } => Some(left),
            _ => panic!("no known length"),
        }
    }

    #[test]
    fn a_request_ends_with_its_body() {
        let head = "POST /exec/a/start HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n";
        assert_eq!(left(&format!("{head}{{}}stdin")), Some(head.len() as u64 + 2));
        assert_eq!(left("GET / HTTP/1.1\r\n\r\nmore"), Some(18));
        assert_eq!(left("GET / HTTP/1.1\r\nHost:"), None);
    }

    #[test]
    fn what_is_not_http_goes_to_hyper_as_it_is() {
        for text in ["\u{0}\u{1}\u{2}", "GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n"] {
            assert!(matches!(framing(text.as_bytes()), Some(Phase::Open)), "{text:?}");
        }
        assert!(matches!(framing(&vec![b'a'; HEAD_LIMIT]), Some(Phase::Open)));
    }

    #[test]
    fn targets_may_be_written_as_people_type_them() {
        let mut bytes = b"beforeGET /x?filters={\"a\":[\"b\"]} HTTP/1.1\r\nX: \"y\"\r\n\r\n".to_vec();
        assert_eq!(encode_target(&mut bytes, 6), 4);
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(text, "beforeGET /x?filters={%22a%22:[%22b%22]} HTTP/1.1\r\nX: \"y\"\r\n\r\n");
    }

    /// A server that gives bodies back, and on `/take` hands the socket to code that writes it back raw.
    fn echo() -> UnixStream {
        echo_with(HEAD_PATIENCE)
    }

    fn echo_with(patience: Duration) -> UnixStream {
        let (client, server) = UnixStream::pair().unwrap();
        let seat = Seat::with_patience(Stream::Unix(server), patience);
        tokio::spawn(async move {
            let service = service_fn(|request: hyper::Request<hyper::body::Incoming>| {
                let seat = seat.clone();
                async move {
                    let take = request.uri().path() == "/take";
                    let body = request.into_body().collect().await.unwrap().to_bytes();
                    if take {
                        let taken = seat.take().expect("the request was read to its end");
                        let descriptor = taken.stream.into_descriptor().unwrap();
                        let mut socket = std::os::unix::net::UnixStream::from(descriptor);
                        socket.set_nonblocking(false).unwrap();
                        socket.write_all(b"raw:").unwrap();
                        socket.write_all(&body).unwrap();
                        socket.write_all(&taken.unread).unwrap();
                        tokio::task::spawn_blocking(move || {
                            let mut copy = socket.try_clone().unwrap();
                            std::io::copy(&mut socket, &mut copy).unwrap();
                            copy.write_all(b":end").unwrap();
                        });
                    }
                    seat.served();
                    Ok::<_, Infallible>(Response::new(Body::whole(body)))
                }
            });
            // What becomes of the connection is the client's to see.
            let _ = http1::Builder::new().serve_connection(seat.io(), service).await;
        });
        client
    }

    #[tokio::test]
    async fn a_handler_that_took_the_socket_is_not_dropped() {
        let (mut client, server) = UnixStream::pair().unwrap();
        let seat = Seat::new(Stream::Unix(server));
        let (done, finished) = tokio::sync::oneshot::channel();
        let done = std::sync::Mutex::new(Some(done));
        tokio::spawn(async move {
            let service = service_fn(|_: hyper::Request<hyper::body::Incoming>| async {
                drop(seat.take());
                // Whoever gets the socket takes its time.
                for _ in 0..100 {
                    tokio::task::yield_now().await;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
                let _ = done.lock().unwrap().take().unwrap().send(());
                seat.served();
                Ok::<_, Infallible>(Response::new(Body::empty()))
            });
            let _ = http1::Builder::new().serve_connection(seat.io(), service).await;
        });
        client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let patience = Duration::from_secs(20);
        tokio::time::timeout(patience, finished).await.expect("it ends").expect("the handler ran to its end");
    }

    async fn all(client: &mut UnixStream) -> String {
        let mut text = String::new();
        let read = client.read_to_string(&mut text);
        tokio::time::timeout(Duration::from_secs(20), read).await.expect("the stream ends").unwrap();
        text
    }

    #[tokio::test]
    async fn the_socket_is_taken_with_what_was_sent_too_early() {
        for body in ["Content-Length: 2\r\n\r\n{}", "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"]
        {
            let mut client = echo();
            let request = format!("POST /take HTTP/1.1\r\nHost: x\r\n{body}early");
            client.write_all(request.as_bytes()).await.unwrap();
            client.write_all(b" late").await.unwrap();
            client.shutdown().await.unwrap();
            assert_eq!(all(&mut client).await, "raw:{}early late:end");
        }
    }

    #[tokio::test]
    async fn requests_in_one_packet_are_answered_in_turn() {
        let mut client = echo();
        let one = "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\none";
        let two = "POST /b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ntwo\r\n0\r\n\r\n";
        let three = "GET /c HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        client.write_all(format!("{one}{two}{three}").as_bytes()).await.unwrap();
        let text = all(&mut client).await;
        assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 3, "{text}");
        assert!(text.find("one").unwrap() < text.find("two").unwrap());
    }

    #[tokio::test]
    async fn a_request_may_come_byte_by_byte() {
        let mut client = echo();
        for byte in b"POST /take HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nbX" {
            client.write_all(&[*byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        client.shutdown().await.unwrap();
        assert_eq!(all(&mut client).await, "raw:bX:end");
    }

    #[tokio::test]
    async fn a_head_that_stalls_ends_the_connection_and_rest_does_not() {
        let patience = Duration::from_millis(50);
        let mut client = echo_with(patience);
        for _ in 0..2 {
            client.write_all(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
            let mut answer = [0; 15];
            client.read_exact(&mut answer).await.unwrap();
            assert_eq!(&answer, b"HTTP/1.1 200 OK");
            let mut rest = [0; 4096];
            assert!(client.read(&mut rest).await.unwrap() > 0, "the rest of the head");
            tokio::time::sleep(patience * 4).await;
        }
        client.write_all(b"GET /b HTTP/1.1\r\nHo").await.unwrap();
        assert_eq!(all(&mut client).await, "", "the connection ends without an answer");
    }

    #[tokio::test]
    async fn a_head_without_end_is_refused() {
        let mut client = echo();
        let endless = vec![b'a'; HEAD_LIMIT * 8];
        client.write_all(b"GET / HTTP/1.1\r\nX: ").await.unwrap();
        // The server stops reading and closes before it has it all.
        let _ = client.write_all(&endless).await;
        let mut text = Vec::new();
        let _ = client.read_to_end(&mut text).await;
        let text = String::from_utf8_lossy(&text);
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 431"), "{text}");
    }
}
