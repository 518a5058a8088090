//! Accepting connections, and driving each until it ends.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use engine::Engine;
use hyper::body::Incoming;
use hyper::header::{HeaderValue, LOCATION};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::body::Body;
use crate::call::Call;
use crate::handshake;
use crate::query::Query;
use crate::reply::{self, Failure, Reply};
use crate::route::{self, Found};
use crate::seat::{HEAD_LIMIT, Seat};
use crate::stream::Stream;

/// Connections that a listener serves at once; more wait in its queue. Far above what clients keep open (a `docker
/// events` or `logs` each), and it bounds memory at some tens of megabytes. Each listener has its own, so that whoever
/// floods a TCP port shuts nobody out of the Unix socket.
const CONNECTIONS: usize = 4096;
/// A TLS client that says nothing is let go: until then it holds a place that others may want.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long running requests may take when the engine stops. Endless streams are cut then.
const FAREWELL: Duration = Duration::from_secs(5);
/// A listener that fails (out of descriptors, mostly) is tried again after this long.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Where clients come from.
pub enum Listener {
    Unix(std::os::unix::net::UnixListener),
    Tcp(std::net::TcpListener),
    Tls(std::net::TcpListener, Arc<rustls::ServerConfig>),
}

/// The engine's HTTP server.
pub struct Server {
    engine: Engine,
}

enum Accepting {
    Unix(UnixListener),
    Tcp(TcpListener, Option<TlsAcceptor>),
}

impl Server {
    pub fn new(engine: Engine) -> Server {
        Server { engine }
    }

    /// Serves until `stop` turns true, then lets running requests finish within bounds.
    pub async fn serve(self, listeners: Vec<Listener>, stop: watch::Receiver<bool>) -> io::Result<()> {
        let mut accepting = JoinSet::new();
        for listener in listeners {
            let listener = Accepting::new(listener)?;
            accepting.spawn(accept(listener, self.engine.clone(), stop.clone()));
        }
        while accepting.join_next().await.is_some() {}
        Ok(())
    }
}

impl Accepting {
    fn new(listener: Listener) -> io::Result<Accepting> {
        let tcp = |listener: std::net::TcpListener| {
            listener.set_nonblocking(true)?;
            TcpListener::from_std(listener)
        };
        match listener {
            Listener::Unix(listener) => {
                listener.set_nonblocking(true)?;
                Ok(Accepting::Unix(UnixListener::from_std(listener)?))
            }
            Listener::Tcp(listener) => Ok(Accepting::Tcp(tcp(listener)?, None)),
            Listener::Tls(listener, config) => Ok(Accepting::Tcp(tcp(listener)?, Some(config.into()))),
        }
    }

    async fn next(&self) -> io::Result<(Stream, Option<TlsAcceptor>)> {
        match self {
            Accepting::Unix(listener) => Ok((Stream::Unix(listener.accept().await?.0), None)),
            Accepting::Tcp(listener, tls) => {
                let (stream, _) = listener.accept().await?;
                // Terminals send single bytes.
                stream.set_nodelay(true)?;
                Ok((Stream::Tcp(stream), tls.clone()))
            }
        }
    }
}

async fn accept(listener: Accepting, engine: Engine, mut stop: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let next = async {
            // Never closed: this only waits for a place.
            let place = places.clone().acquire_owned().await.ok();
            (place, listener.next().await)
        };
        let (place, accepted) = tokio::select! {
            next = next => next,
            () = stopped(&mut stop) => break,
        };
        match accepted {
            Ok((stream, tls)) => {
                let (engine, stop) = (engine.clone(), stop.clone());
                connections.spawn(async move {
                    if let Some(stream) = shake_hands(stream, tls).await {
                        converse(stream, engine, stop).await;
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    let farewell = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(FAREWELL, farewell).await.is_err() {
        tracing::info!("requests that are still running are cut");
    }
}

/// Returns when the server is to stop, also when whoever could say so has gone.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn shake_hands(stream: Stream, tls: Option<TlsAcceptor>) -> Option<Stream> {
    match (stream, tls) {
        (Stream::Tcp(stream), Some(tls)) => {
            tokio::time::timeout(HANDSHAKE, handshake::secured(stream, tls)).await.ok().flatten()
        }
        (stream, _) => Some(stream),
    }
}

/// One connection, request by request.
async fn converse(stream: Stream, engine: Engine, mut stop: watch::Receiver<bool>) {
    let seat = Seat::new(stream);
    let service = service_fn(|request| {
        let (engine, seat) = (engine.clone(), seat.clone());
        async move {
            let response = serve(engine, seat.clone(), request).await;
            seat.served();
            response.ok_or(Left)
        }
    });
    // Title case as Go writes it: scripts look for these headers by their spelling.
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HEAD_LIMIT).title_case_headers(true);
    let connection = builder.serve_connection(seat.io(), service);
    let mut connection = std::pin::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    match result {
        Ok(()) => seat.linger().await,
        Err(error) => tracing::debug!(%error, "a connection ended"),
    }
}

/// The socket left HTTP with its request.
#[derive(Debug)]
struct Left;

impl std::fmt::Display for Left {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the socket was handed over")
    }
}

impl std::error::Error for Left {}

/// `None` when the socket was taken.
async fn serve(engine: Engine, seat: Arc<Seat>, request: Request<Incoming>) -> Option<Response<Body>> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path();
    tracing::debug!(method = %parts.method, path, "request");
    if parts.method == Method::OPTIONS {
        return reply::respond(Ok(Reply::empty(200)));
    }
    let (handler, name, version) = match route::find(&parts.method, path) {
        Found::Handler { handler, name, version } => (handler, name, version),
        Found::Nothing => return Some(reply::page_not_found()),
        Found::Moved(path) => return Some(moved(&path, parts.uri.query())),
        Found::WrongVersion { message, plain } => {
            let answer = match plain {
                true => Ok(Reply::text(400, message + "\n").with("X-Content-Type-Options", "nosniff")),
                false => Err(Failure::invalid(message)),
            };
            let mut response = reply::respond(answer)?;
            // Docker compares versions before it knows more.
            response.headers_mut().remove("Docker-Experimental");
            return Some(response);
        }
    };
    let query = Query::parse(parts.uri.query().unwrap_or_default());
    let call =
        Call { engine, seat, version, protocol: parts.version, name, query, headers: parts.headers, body };
    reply::respond(handler(call).await)
}

fn moved(path: &str, query: Option<&str>) -> Response<Body> {
    let mut response = reply::plain(301, None, Body::empty());
    let to = query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
    if let Ok(to) = HeaderValue::from_str(&to) {
        response.headers_mut().insert(LOCATION, to);
    }
    response
}
