//! Response bodies, and request bodies as plain readers.

use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http_body_util::BodyExt as _;
use hyper::body::{Frame, Incoming, SizeHint};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::reply::Failure;

/// What one read of a pipe or a socket brings at most.
const PIECE: usize = 64 << 10;
/// Pieces under way between a producer and a socket: one is written while the next is made.
const UNDER_WAY: usize = 2;

/// What hyper sends.
pub(crate) enum Body {
    Whole(Option<Bytes>),
    /// Pieces as they come, until the sender goes; a slow client holds the sender back. An error cuts the connection
    /// before the last chunk, so that the client knows that something is missing.
    Pieces(mpsc::Receiver<io::Result<Bytes>>),
}

impl Body {
    pub(crate) fn whole(bytes: impl Into<Bytes>) -> Body {
        Body::Whole(Some(bytes.into()))
    }

    pub(crate) fn empty() -> Body {
        Body::Whole(None)
    }

    pub(crate) fn pieces() -> (mpsc::Sender<io::Result<Bytes>>, Body) {
        let (sender, receiver) = mpsc::channel(UNDER_WAY);
        (sender, Body::Pieces(receiver))
    }

    /// Whole, but of no length that is told: in chunks, where the client knows them.
    pub(crate) fn unmeasured(bytes: impl Into<Bytes>) -> Body {
        let (sender, body) = Body::pieces();
        // The channel has room for the first.
        let _ = sender.try_send(Ok(bytes.into()));
        body
    }

    /// What `work` writes into a descriptor. Until it has written something, its failure is still a status.
    pub(crate) async fn written<W, F>(work: W) -> Result<Body, Failure>
    where
        W: FnOnce(OwnedFd) -> F,
        F: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        let broken = |error: io::Error| Failure::system(format!("cannot make a pipe: {error}"));
        let (reader, writer) = io::pipe().map_err(broken)?;
        let work = tokio::spawn(work(writer.into()));
        let mut pipe = pipe::Receiver::from_owned_fd(reader.into()).map_err(broken)?;
        match read(&mut pipe).await.map_err(broken)? {
            Some(first) => {
                let (sender, body) = Body::pieces();
                tokio::spawn(pump(first, pipe, sender, work));
                Ok(body)
            }
            None => work.await.map_err(|error| Failure::system(error.to_string()))?.map(|()| Body::empty()),
        }
    }
}

async fn read(pipe: &mut pipe::Receiver) -> io::Result<Option<Bytes>> {
    let mut buffer = vec![0; PIECE];
    let count = pipe.read(&mut buffer).await?;
    buffer.truncate(count);
    Ok((count > 0).then(|| buffer.into()))
}

/// Moves bytes from the pipe to the client. When the client goes, the pipe closes and stops the writer.
async fn pump(
    first: Bytes,
    mut pipe: pipe::Receiver,
    sender: mpsc::Sender<io::Result<Bytes>>,
    work: JoinHandle<Result<(), Failure>>,
) {
    let mut next = Ok(Some(first));
    while let Ok(Some(piece)) = next {
        if sender.send(Ok(piece)).await.is_err() {
            return;
        }
        next = read(&mut pipe).await;
    }
    let ended = match next {
        Err(error) => Err(error),
        Ok(_) => match work.await {
            Ok(result) => result.map_err(|failure| io::Error::other(failure.message)),
            Err(error) => Err(io::Error::other(error)),
        },
    };
    if let Err(error) = ended {
        tracing::warn!(%error, "a response was cut short");
        // A client that has gone meanwhile needs no reason.
        let _ = sender.send(Err(error)).await;
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match self.get_mut() {
            Body::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Body::Pieces(pieces) => {
                pieces.poll_recv(cx).map(|piece| piece.map(|piece| piece.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Body::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Body::Pieces(_) => SizeHint::default(),
        }
    }
}

/// A request's body for code that blocks. To be read off the threads that serve sockets.
pub(crate) struct Upload {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    current: Bytes,
}

impl Upload {
    pub(crate) fn new(body: Incoming) -> Upload {
        let (sender, pieces) = mpsc::channel(UNDER_WAY);
        tokio::spawn(forward(body, sender));
        Upload { pieces, current: Bytes::new() }
    }
}

/// How long the rest of a body that nobody reads any more may take. A client that writes all of it before it looks for
/// an answer would otherwise find a closed connection, and never hear why.
const DRAINING: Duration = Duration::from_secs(300);

async fn forward(mut body: Incoming, pieces: mpsc::Sender<io::Result<Bytes>>) {
    while let Some(frame) = body.frame().await {
        let piece = match frame.map(Frame::into_data) {
            Ok(Ok(data)) => Ok(data),
            Ok(Err(_trailers)) => continue,
            Err(error) => Err(io::Error::new(io::ErrorKind::ConnectionAborted, error)),
        };
        let failed = piece.is_err();
        if pieces.send(piece).await.is_err() && !failed {
            // What is left after that time is cut off.
            let _ = tokio::time::timeout(DRAINING, drain(body)).await;
            return;
        }
        if failed {
            return;
        }
    }
}

async fn drain(mut body: Incoming) {
    while let Some(Ok(_)) = body.frame().await {}
}

impl io::Read for Upload {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.current = piece?,
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.current.len());
        self.current.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}
