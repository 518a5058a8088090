//! The engine's end: starting a shim and talking to one.
//!
//! Calls are blocking and short; what takes long (a stop, an exit) comes as an event. A handle keeps one
//! connection and makes a new one when that has failed. A call that failed half-way is not repeated: whether the
//! shim did it is answered by its state.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use linux::process::{Child, Program, Spawn};

use crate::frame::{self, Assembler};
use crate::paths;
use crate::protocol::{Failure, Launch, Reply, Request};

/// The descriptor on which a shim finds its launch.
pub(crate) const LAUNCH_FD: i32 = 3;

/// A shim answers at once, but a start or an exec may wait for a disk or a cgroup under load. One that is silent
/// for longer is stuck, and its pidfd tells whether it is dead.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running shim.
#[derive(Debug)]
pub struct Handle {
    runtime_dir: PathBuf,
    connection: Mutex<Option<UnixStream>>,
}

/// A shim that has just started its container.
#[derive(Debug)]
pub struct Launched {
    pub handle: Handle,
    /// The container's process on the host.
    pub pid: i32,
    /// RFC 3339, UTC, nanoseconds.
    pub started_at: String,
    pub shim_pid: i32,
    /// Readable when the shim has died.
    pub pidfd: OwnedFd,
}

/// Why there is no container.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The shim said so, and has cleaned up after itself.
    #[error("{}", .0.message)]
    Refused(Failure),
    /// There was no shim to say anything.
    #[error("cannot start the container's shim")]
    Io(#[from] io::Error),
}

/// A shim that has been started and not yet been told of its container. Dropped, it is gone.
#[derive(Debug)]
pub struct Spawned {
    child: Unborn,
    socket: UnixStream,
    runtime_dir: PathBuf,
}

impl Spawned {
    /// Starts a shim for a container whose runtime directory exists.
    ///
    /// The program is executed from a handle that nobody can write through: the container's process is a copy of
    /// the shim until it executes its own program, and must not be able to change ours by `/proc/self/exe`.
    ///
    /// The shim leaves our session and keeps none of our descriptors; its own complaints (a panic) go to a file
    /// in the runtime directory. It stays our child: its end is reaped here if it never came to life, and by
    /// whoever handles SIGCHLD otherwise.
    pub fn new(program: &Path, container: &str, runtime_dir: &Path) -> io::Result<Spawned> {
        let (ours, theirs) = UnixStream::pair()?;
        set_patience(&ours)?;
        let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
        let complaints = paths::complaints(runtime_dir);
        let complaints = OpenOptions::new().create(true).append(true).mode(0o600).open(complaints)?;
        let sealed = linux::process::sealed_program(program).map_err(io::Error::from)?;
        let child = Spawn::new(Program::Open(sealed.as_fd()), &["wharf-shim", container])
            .and_then(|spawn| spawn.env(environment()))
            .map_err(io::Error::from)?
            .descriptor(null.as_fd(), 0)
            .descriptor(null.as_fd(), 1)
            .descriptor(complaints.as_fd(), 2)
            .descriptor(theirs.as_fd(), LAUNCH_FD)
            .session()
            .start()
            .map_err(io::Error::from)?;
        Ok(Spawned { child: Unborn(Some(child)), socket: ours, runtime_dir: runtime_dir.to_owned() })
    }

    /// Starts the container. `descriptors` are those that [`Launch`] lists, in its order.
    pub fn launch(self, launch: &Launch, descriptors: Vec<OwnedFd>) -> Result<Launched, LaunchError> {
        let Spawned { mut child, socket, runtime_dir } = self;
        let borrowed: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
        match frame::send(&socket, launch, &borrowed).and_then(|()| receive(&socket))? {
            (Reply::Launched { pid, started_at }, _) => {
                let Some(Child { pid: shim_pid, pidfd }) = child.0.take() else {
                    return Err(LaunchError::Io(io::ErrorKind::NotFound.into()));
                };
                let handle = Handle { runtime_dir, connection: Mutex::new(Some(socket)) };
                Ok(Launched { handle, pid, started_at, shim_pid, pidfd })
            }
            (Reply::Failed(failure), _) => {
                // It exits by itself when it has cleaned up.
                drop(socket);
                if let Some(child) = child.0.take() {
                    let _ = child.wait();
                }
                Err(LaunchError::Refused(failure))
            }
            _ => Err(LaunchError::Io(io::Error::new(
                io::ErrorKind::InvalidData,
                "a launch was answered with something else",
            ))),
        }
    }
}

/// What a shim gets of the engine's environment: where programs are found, and the system's authorities. One that is
/// tested finds the engine's kernel, and has fault points of its own, in a file beside the engine's: which of both comes to a
/// point first is chance.
fn environment() -> Vec<String> {
    let named = |name: &str| std::env::var(name).map(|value| format!("{name}={value}")).ok();
    let passed = ["PATH", "SSL_CERT_FILE", "SSL_CERT_DIR"].into_iter().filter_map(named);
    let faults = std::env::var_os("WHARF_FAULTS").filter(|_| cfg!(debug_assertions)).map(|file| {
        let own = Path::new(&file).with_file_name("shim-faults");
        format!("WHARF_FAULTS={}", own.display())
    });
    let kernel = named("WHARF_KERNEL").filter(|_| cfg!(debug_assertions));
    passed.chain(faults).chain(kernel).collect()
}

/// A shim that must not start anything later on, unless it is taken out.
#[derive(Debug)]
struct Unborn(Option<Child>);

impl Drop for Unborn {
    fn drop(&mut self) {
        if let Some(child) = self.0.take() {
            // It has not been reaped, so the kill cannot miss.
            let _ = linux::process::send_signal(child.pidfd.as_fd(), linux::signal::SIGKILL);
            let _ = child.wait();
        }
    }
}

impl Handle {
    /// A shim that was started by an earlier engine. `NotFound` or `ConnectionRefused`: there is none any more,
    /// see [`crate::cleanup`].
    pub fn connect(runtime_dir: &Path) -> io::Result<Handle> {
        let connection = open(runtime_dir)?;
        Ok(Handle { runtime_dir: runtime_dir.to_owned(), connection: Mutex::new(Some(connection)) })
    }

    /// Asks and waits for the answer. One call at a time; others wait.
    pub fn request(
        &self,
        request: &Request,
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<(Reply, Vec<OwnedFd>)> {
        let mut slot = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        // Taken out: a connection on which anything failed is not in step any more.
        let connection = match slot.take() {
            Some(connection) => connection,
            None => open(&self.runtime_dir)?,
        };
        frame::send(&connection, request, descriptors)?;
        let answer = receive(&connection)?;
        *slot = Some(connection);
        Ok(answer)
    }

    /// The events above `after`, then those to come, until the shim ends: bytes for a
    /// [`crate::protocol::Decoder`].
    pub fn subscribe(&self, after: u64) -> io::Result<UnixStream> {
        let connection = open(&self.runtime_dir)?;
        frame::send(&connection, &Request::Subscribe { after }, &[])?;
        connection.set_read_timeout(None)?;
        Ok(connection)
    }

    pub fn runtime_dir(&self) -> &Path {
        &self.runtime_dir
    }
}

fn open(runtime_dir: &Path) -> io::Result<UnixStream> {
    let connection = connect_long(&paths::socket(runtime_dir))?;
    set_patience(&connection)?;
    Ok(connection)
}

fn set_patience(connection: &UnixStream) -> io::Result<()> {
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_write_timeout(Some(PATIENCE))
}

/// Connects to a socket whose path may be longer than the 107 bytes that an address holds, by way of a handle on
/// its directory.
fn connect_long(path: &Path) -> io::Result<UnixStream> {
    with_short_path(path, |short| UnixStream::connect(short))
}

/// Calls `act` with the path itself or, when it is too long for a socket's address, with an equal shorter one.
pub(crate) fn with_short_path<T>(path: &Path, act: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    use std::os::fd::AsRawFd;
    const LONGEST: usize = 107;
    if path.as_os_str().len() <= LONGEST {
        return act(path);
    }
    let (directory, name) = (path.parent().unwrap_or(Path::new("/")), path.file_name().unwrap_or_default());
    let handle = std::fs::File::open(directory)?;
    act(&PathBuf::from(format!("/proc/self/fd/{}", handle.as_raw_fd())).join(name))
}

fn receive(socket: &UnixStream) -> io::Result<(Reply, Vec<OwnedFd>)> {
    let frame = Assembler::default().wait(socket)?;
    Ok((serde_json::from_slice(&frame.payload)?, frame.descriptors))
}
