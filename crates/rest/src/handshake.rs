//! The beginning of a TLS connection, and its end where none comes of it: the client is told why, and gets to hear it.
//!
//! A client that speaks TLS 1.3 has sent its request when its certificate is looked at, and one without TLS has sent it
//! at once. To close a socket with bytes that nobody has read is to reset the connection, and a reset overtakes what was
//! said last. So the socket is half closed, and read from until the client has gone, within bounds.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::stream::Stream;

/// The same bytes as Go's server: clients look for the sentence.
const NOT_TLS: &[u8] = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";
/// A refused client has this long to go, and this many bytes to say: a request's head, not its body.
const PATIENCE: Duration = Duration::from_secs(1);
const HEARD: u64 = 64 * 1024;

/// The connection with TLS; `None` when it is over.
pub(crate) async fn secured(stream: TcpStream, tls: TlsAcceptor) -> Option<Stream> {
    let mut first = [0u8];
    stream.peek(&mut first).await.ok()?;
    // Methods are capitals; records of TLS begin with 20 to 23.
    if first[0].is_ascii_uppercase() {
        refuse(stream, NOT_TLS).await;
        return None;
    }
    match tls.accept(stream).into_fallible().await {
        Ok(stream) => Some(Stream::Tls(Box::new(stream))),
        Err((error, stream)) => {
            tracing::info!(%error, "TLS handshake failed");
            // The alert has been sent already.
            refuse(stream, b"").await;
            None
        }
    }
}

async fn refuse(mut stream: TcpStream, words: &[u8]) {
    if stream.write_all(words).await.is_err() || stream.shutdown().await.is_err() {
        return;
    }
    let heard = async { tokio::io::copy(&mut stream.take(HEARD), &mut tokio::io::sink()).await };
    let _ = tokio::time::timeout(PATIENCE, heard).await;
}
