//! TLS to a `tcp://` engine, with a session that two threads can share.
//!
//! A hijacked connection is read and written at the same time, which a plain rustls stream cannot
//! do: it needs `&mut` for both. Here the TLS state sits behind a mutex that is held only while
//! bytes are turned, never while a socket call waits: neither does the reader that waits for output
//! keep the writer from sending input, nor a writer whose server takes no more, because it waits for
//! its own output to be read, keep the reader from doing so. Writers take turns at the socket, by a
//! second mutex that is taken first. The reader has none: what TLS itself has to say in answer to
//! what was read (RFC 8446, 4.6.3) leaves with the next thing that is written.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use trust::files::{Identity, authorities};
use trust::{Authorities, Belief, words};

use crate::{Error, Result};

/// The certificates to use, and whether the server must prove who it is.
#[derive(Debug, Clone, Default)]
pub struct Certificates {
    /// The authority that signed the server's certificate; the system's own ones without it.
    pub authority: Option<PathBuf>,
    /// Certificate and key that the client shows.
    pub identity: Option<(PathBuf, PathBuf)>,
    pub verify: bool,
}

impl Certificates {
    pub(crate) fn load(&self) -> Result<Arc<ClientConfig>> {
        // A file that nobody will look at is read too: what is wrong with it is told today.
        let believed = match &self.authority {
            Some(path) => Authorities::none().and(authorities(path).map_err(unusable)?),
            None => Authorities::system(),
        };
        let belief = if self.verify { Belief::Proven(believed) } else { Belief::Anyone };
        let read = |(certificate, key): &(PathBuf, PathBuf)| Identity::read(certificate, key);
        let identity = self.identity.as_ref().map(read).transpose().map_err(unusable)?;
        trust::client(belief, identity).map(Arc::new).map_err(unusable)
    }
}

/// In the words of docker, which knows an authority's file by one name only.
fn unusable(error: trust::Error) -> Error {
    Error::Certificates(match error {
        trust::Error::Unreadable(sentence) => format!("unable to resolve docker endpoint: {sentence}"),
        trust::Error::NoKey => error.to_string(),
        trust::Error::NoAuthority => "failed to retrieve context tls info: ca.pem seems invalid".to_owned(),
        error => format!("failed to retrieve context tls info: {error}"),
    })
}

/// What is read from the socket at once.
const WIRE: usize = 16 * 1024;

/// One TLS connection, shared by a reader and a writer.
pub(crate) struct Session {
    state: Arc<Mutex<ClientConnection>>,
    /// What the state made of the bytes that are being written, in the order in which they leave.
    records: Arc<Mutex<Vec<u8>>>,
    socket: Arc<TcpStream>,
    /// Read from the socket, and not yet given to the state.
    wire: Vec<u8>,
    at: usize,
}

impl Session {
    pub(crate) fn open(config: Arc<ClientConfig>, host: &str, socket: TcpStream) -> Result<Session> {
        let name = ServerName::try_from(host.to_owned()).map_err(|error| Error::Tls(error.to_string()))?;
        let mut state = ClientConnection::new(config, name).map_err(|error| Error::Tls(words::of(&error)))?;
        let mut watched = Watched { socket: &socket, first: Vec::new() };
        while state.is_handshaking() {
            state.complete_io(&mut watched).map_err(|error| {
                Error::Tls(match (error.kind(), watched.first.starts_with(b"HTTP/")) {
                    (_, true) => "http: server gave HTTP response to HTTPS client".to_owned(),
                    (io::ErrorKind::UnexpectedEof, _) => "EOF".to_owned(),
                    _ => words::of_stream(&error),
                })
            })?;
        }
        Ok(Session {
            state: Arc::new(Mutex::new(state)),
            records: Arc::default(),
            socket: Arc::new(socket),
            wire: Vec::new(),
            at: 0,
        })
    }

    /// The same connection for the writing thread; what was read stays with the reader.
    pub(crate) fn writer(&self) -> Session {
        Session {
            state: self.state.clone(),
            records: self.records.clone(),
            socket: self.socket.clone(),
            wire: Vec::new(),
            at: 0,
        }
    }

    /// A panic while the state was held leaves it unusable; saying so beats a second panic.
    fn state(&self) -> io::Result<MutexGuard<'_, ClientConnection>> {
        self.state.lock().map_err(|_| broken())
    }

    /// Does something to the state, and sends what that has to say then: no more than it holds
    /// back at once, 64 KiB.
    fn send<T>(&self, act: impl FnOnce(&mut ClientConnection) -> io::Result<T>) -> io::Result<T> {
        let mut records = self.records.lock().map_err(|_| broken())?;
        let mut state = self.state()?;
        let done = act(&mut state)?;
        while state.wants_write() {
            state.write_tls(&mut *records)?;
        }
        drop(state);
        (&*self.socket).write_all(&records)?;
        records.clear();
        Ok(done)
    }

    pub(crate) fn shutdown_write(&self) -> io::Result<()> {
        self.send(|state| {
            state.send_close_notify();
            Ok(())
        })?;
        self.socket.shutdown(Shutdown::Write)
    }

    pub(crate) fn shutdown(&self) -> io::Result<()> {
        self.socket.shutdown(Shutdown::Both)
    }
}

/// What ended a conversation: the other side's TLS, which may refuse a client only after the handshake, or the socket.
pub(crate) fn broken_off(doing: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |source| match source.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) {
        true => Error::Tls(words::of_stream(&source)),
        false => Error::Io { doing, source },
    }
}

/// A socket that remembers what the other side began with: it may not have spoken TLS.
struct Watched<'a> {
    socket: &'a TcpStream,
    first: Vec<u8>,
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.socket.read(buffer)?;
        if self.first.is_empty() {
            self.first.extend(buffer[..count].iter().take(5));
        }
        Ok(count)
    }
}

impl Write for Watched<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.socket.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

fn broken() -> io::Error {
    io::Error::other("the TLS session is broken")
}

impl Read for Session {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.state()?.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // A server that closes without the TLS goodbye ends the stream like any other.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                result => return result,
            }
            if self.at == self.wire.len() {
                self.wire.resize(WIRE, 0);
                let count = (&*self.socket).read(&mut self.wire)?;
                self.wire.truncate(count);
                self.at = 0;
            }
            // Only as much as the state takes; what it makes of that is read before it gets more,
            // because it holds little plain text.
            let mut rest = &self.wire[self.at..];
            let ended = rest.is_empty();
            let mut state = self.state()?;
            state.read_tls(&mut rest)?;
            let left = rest.len();
            state.process_new_packets().map_err(io::Error::other)?;
            drop(state);
            self.at = self.wire.len() - left;
            if ended {
                return self.state()?.reader().read(buffer).or_else(|error| match error.kind() {
                    io::ErrorKind::WouldBlock | io::ErrorKind::UnexpectedEof => Ok(0),
                    _ => Err(error),
                });
            }
        }
    }
}

impl Write for Session {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.send(|state| state.writer().write(buffer))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send(|_| Ok(()))
    }
}
