//! The wire to the engine: a Unix socket, TCP, TLS, or the stdio of an `ssh`.
//!
//! All four can be read and written by two threads at once and closed in one direction only,
//! because that is what an attached terminal needs.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::ClientConfig;

use crate::tls::Session;
use crate::{Error, Host, Result, names};

/// A host that drops packets would otherwise hold the user for two minutes.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
    Tls(Session),
    Command { output: ChildStdout, input: ChildStdin, child: Arc<Mutex<Child>> },
}

impl Stream {
    pub(crate) fn connect(host: &Host, tls: Option<&Arc<ClientConfig>>) -> Result<Stream> {
        match host {
            Host::Unix(path) => {
                UnixStream::connect(path).map(Stream::Unix).map_err(|source| refused(host, source))
            }
            Host::Tcp { host: name, port, .. } => {
                let socket = dial(name, *port).map_err(|source| refused(host, source))?;
                // Keystrokes must not wait for each other.
                let _ = socket.set_nodelay(true);
                match tls {
                    Some(config) => Session::open(config.clone(), name, socket).map(Stream::Tls),
                    None => Ok(Stream::Tcp(socket)),
                }
            }
            Host::Ssh { user, host: name, port, socket } => {
                ssh(user.as_deref(), name, *port, socket.as_deref()).map_err(|source| refused(host, source))
            }
        }
    }

    /// Whether an idle connection has been closed by the other side. Where that cannot be seen
    /// without reading, it is taken to be open.
    pub(crate) fn is_closed(&mut self) -> bool {
        let mut byte = [0u8];
        let seen = match self {
            Stream::Unix(socket) => {
                let _ = socket.set_nonblocking(true);
                let seen = socket.read(&mut byte);
                let _ = socket.set_nonblocking(false);
                seen
            }
            Stream::Tcp(socket) => {
                let _ = socket.set_nonblocking(true);
                let seen = socket.peek(&mut byte);
                let _ = socket.set_nonblocking(false);
                seen
            }
            Stream::Tls(_) | Stream::Command { .. } => return false,
        };
        // Bytes that nobody asked for are no answer to what comes next.
        !seen.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// The two directions, for two threads.
    pub(crate) fn split(self) -> io::Result<(Reader, Writer)> {
        let (reader, writer) = match self {
            Stream::Unix(socket) => (ReadHalf::Unix(socket.try_clone()?), WriteHalf::Unix(socket)),
            Stream::Tcp(socket) => (ReadHalf::Tcp(socket.try_clone()?), WriteHalf::Tcp(socket)),
            Stream::Tls(session) => {
                let writer = session.writer();
                (ReadHalf::Tls(session), WriteHalf::Tls(writer))
            }
            Stream::Command { output, input, child } => {
                (ReadHalf::Command(output, child.clone()), WriteHalf::Command(Some(input), child))
            }
        };
        Ok((Reader(reader), Writer(writer)))
    }
}

fn refused(host: &Host, source: io::Error) -> Error {
    let host = host.to_string();
    if source.kind() == io::ErrorKind::PermissionDenied {
        Error::Denied { host, source }
    } else {
        Error::Connect { host, source }
    }
}

fn dial(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, format!("{host} has no address"));
    for address in names::addresses(host, port)? {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(socket) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn ssh(user: Option<&str>, host: &str, port: Option<u16>, socket: Option<&str>) -> io::Result<Stream> {
    let mut command = Command::new("ssh");
    command.args(["-o", "ConnectTimeout=30", "-T"]);
    if let Some(user) = user {
        command.args(["-l", user]);
    }
    if let Some(port) = port {
        command.args(["-p", &port.to_string()]);
    }
    command.args(["--", host, "docker"]);
    if let Some(socket) = socket {
        command.arg(format!("--host=unix://{socket}"));
    }
    command.args(["system", "dial-stdio"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let taken = (child.stdout.take(), child.stdin.take());
    let (Some(output), Some(input)) = taken else {
        return Err(io::Error::other("ssh was started without its pipes"));
    };
    Ok(Stream::Command { output, input, child: Arc::new(Mutex::new(child)) })
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Unix(socket) => socket.read(buffer),
            Stream::Tcp(socket) => socket.read(buffer),
            Stream::Tls(session) => session.read(buffer),
            Stream::Command { output, .. } => output.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Unix(socket) => socket.write(buffer),
            Stream::Tcp(socket) => socket.write(buffer),
            Stream::Tls(session) => session.write(buffer),
            Stream::Command { input, .. } => input.write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Tls(session) => session.flush(),
            _ => Ok(()),
        }
    }
}

/// The direction from the engine.
pub struct Reader(ReadHalf);

/// The direction to the engine.
pub struct Writer(WriteHalf);

enum ReadHalf {
    Unix(UnixStream),
    Tcp(TcpStream),
    Tls(Session),
    /// The child lives as long as one of the halves.
    Command(ChildStdout, Arc<Mutex<Child>>),
}

enum WriteHalf {
    Unix(UnixStream),
    Tcp(TcpStream),
    Tls(Session),
    /// The pipe is closed by dropping it, so it may be gone.
    Command(Option<ChildStdin>, Arc<Mutex<Child>>),
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            ReadHalf::Unix(socket) => socket.read(buffer),
            ReadHalf::Tcp(socket) => socket.read(buffer),
            ReadHalf::Tls(session) => session.read(buffer),
            ReadHalf::Command(output, _) => output.read(buffer),
        }
    }
}

impl Write for Writer {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            WriteHalf::Unix(socket) => socket.write(buffer),
            WriteHalf::Tcp(socket) => socket.write(buffer),
            WriteHalf::Tls(session) => session.write(buffer),
            WriteHalf::Command(Some(input), _) => input.write(buffer),
            WriteHalf::Command(None, _) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.0 {
            WriteHalf::Tls(session) => session.flush(),
            _ => Ok(()),
        }
    }
}

impl Writer {
    /// Says that no more input comes; output still may.
    pub fn finish(&mut self) -> io::Result<()> {
        match &mut self.0 {
            WriteHalf::Unix(socket) => socket.shutdown(Shutdown::Write),
            WriteHalf::Tcp(socket) => socket.shutdown(Shutdown::Write),
            WriteHalf::Tls(session) => session.shutdown_write(),
            WriteHalf::Command(input, _) => {
                *input = None;
                Ok(())
            }
        }
    }

    /// Hangs up, which also wakes whoever waits in the reader.
    pub fn hang_up(&mut self) -> io::Result<()> {
        match &mut self.0 {
            WriteHalf::Unix(socket) => socket.shutdown(Shutdown::Both),
            WriteHalf::Tcp(socket) => socket.shutdown(Shutdown::Both),
            WriteHalf::Tls(session) => session.shutdown(),
            WriteHalf::Command(input, child) => {
                *input = None;
                child.lock().map_err(|_| io::Error::other("the ssh process is lost"))?.kill()
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let ReadHalf::Command(_, child) = &self.0
            && let Ok(mut child) = child.lock()
        {
            // Without its reader ssh has no purpose; reaping it leaves no zombie behind.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
