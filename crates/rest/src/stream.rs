//! The byte streams a client may come by.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::server::TlsStream;

pub(crate) enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
    /// Boxed: a TLS session is a kilobyte, and few connections have one.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// A descriptor that somebody else can serve to its end.
    ///
    /// Plain sockets are given away as they are. A TLS session lives in this process, so its other end stays here:
    /// a task relays between it and a socket pair.
    pub(crate) fn into_descriptor(self) -> io::Result<OwnedFd> {
        match self {
            Stream::Unix(stream) => Ok(stream.into_std()?.into()),
            Stream::Tcp(stream) => Ok(stream.into_std()?.into()),
            Stream::Tls(mut stream) => {
                let (ours, theirs) = StdUnixStream::pair()?;
                ours.set_nonblocking(true)?;
                let mut ours = UnixStream::from_std(ours)?;
                tokio::spawn(async move {
                    // Either side going away ends the relay; both are told by the close.
                    if let Err(error) = tokio::io::copy_bidirectional(&mut stream, &mut ours).await {
                        tracing::debug!(%error, "a relayed TLS client went away");
                    }
                });
                Ok(theirs.into())
            }
        }
    }
}

/// Does the same to whichever stream it is.
macro_rules! each {
    ($self:ident, $stream:ident => $do:expr) => {
        match $self.get_mut() {
            Stream::Unix($stream) => $do,
            Stream::Tcp($stream) => $do,
            Stream::Tls($stream) => $do,
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        each!(self, stream => Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self, stream => Pin::new(stream).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}
