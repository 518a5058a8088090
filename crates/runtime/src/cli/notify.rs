//! Readiness, told to whoever supervises us, as sd_notify(3) does it.
//!
//! ```text
//!   program ──READY=1──▶ <root>/<id>/notify/notify.sock ──▶ us ──READY=1, MAINPID=n, BARRIER=1──▶ $NOTIFY_SOCKET
//!                        (inside: /run/notify)
//! ```
//!
//! The caller's socket itself is not for the container: its path means nothing there, and a supervisor believes only the
//! processes it knows. So the container gets a socket of its own, and of what comes there the readiness alone is passed
//! on, once; no container can tell its supervisor to watch another process.
//!
//! `create` makes the place and names it to the program. Whoever starts the program listens: `start` and `run --detach`
//! until it is ready or has ended, `run` in the foreground as long as it lives. The first two name the container's process
//! as the one to watch; in the foreground that is ourselves.

use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use linux::poll::{Interest, Poll};
use linux::{Errno, socket};
use oci::runtime::{Mount, Spec};
use runtime::{Container, Error, Result};

/// Of our socket's directory, in the container's own and inside.
const DIRECTORY: &str = "notify";
const INSIDE: &str = "/run/notify";
const SOCKET: &str = "notify.sock";
/// For a supervisor that is slow to read, and to acknowledge. Not every one knows of barriers.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest message that is read whole. systemd takes as much.
const MAX_MESSAGE: usize = 4096;

const MESSAGE: u64 = 0;
const END: u64 = 1;

fn supervisor() -> Option<OsString> {
    std::env::var_os("NOTIFY_SOCKET").filter(|address| !address.is_empty())
}

/// Where somebody asks for it, gives the container a place for a socket and its program the name of that.
pub(super) fn prepare(directory: &Path, spec: &mut Spec) -> Result<()> {
    if supervisor().is_none() {
        return Ok(());
    }
    let place = directory.join(DIRECTORY);
    std::fs::create_dir(&place).map_err(|error| Error::of_file("mkdir", place.display(), &error))?;
    allow(&place, 0o755)?;
    spec.mounts.extend(mount(directory));
    if let Some(process) = &mut spec.process {
        process.env.push(format!("NOTIFY_SOCKET={INSIDE}/{SOCKET}"));
    }
    Ok(())
}

/// What a container that was prepared has mounted beside what its configuration says.
pub(super) fn mount(directory: &Path) -> Option<Mount> {
    // A source that is relative would start at the bundle.
    let place = std::path::absolute(directory.join(DIRECTORY)).ok()?;
    place.exists().then(|| Mount {
        destination: INSIDE.into(),
        kind: "bind".to_owned(),
        source: Some(place),
        options: ["bind", "nosuid", "noexec", "nodev", "ro"].map(str::to_owned).to_vec(),
        ..Mount::default()
    })
}

/// Whoever the program runs as may write to the socket.
fn allow(path: &Path, mode: u32) -> Result<()> {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
        .map_err(|error| Error::of_file("chmod", path.display(), &error))
}

/// A container's socket, and where its readiness goes.
pub(super) struct Readiness {
    socket: OwnedFd,
    supervisor: OwnedFd,
    /// How the telling went. The descriptor hangs up when the supervisor has read what was told.
    told: Option<linux::Result<OwnedFd>>,
}

impl AsFd for Readiness {
    /// Readable when there are messages to [`Readiness::take`].
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Readiness {
    /// Before the program runs; nothing where nobody asks for it.
    pub(super) fn listen(directory: &Path) -> Result<Option<Readiness>> {
        let Some(address) = supervisor() else { return Ok(None) };
        let failed = |error: linux::Error| Error::other(format_args!("NOTIFY_SOCKET: {error}"));
        let supervisor = match address.as_bytes().strip_prefix(b"@") {
            Some(name) => socket::connect_datagrams_to_name(name),
            None => socket::connect_datagrams(Path::new(&address)),
        };
        let supervisor = supervisor.map_err(failed)?;
        linux::fd::set_nonblocking(&supervisor, false).map_err(failed)?;
        socket::set_write_timeout(&supervisor, Some(PATIENCE)).map_err(failed)?;
        let path = directory.join(DIRECTORY).join(SOCKET);
        let socket = socket::listen_datagrams(&path).map_err(failed)?;
        allow(&path, 0o777)?;
        Ok(Some(Readiness { socket, supervisor, told: None }))
    }

    /// Takes what has come. The first word of readiness is passed on, with the process to watch.
    pub(super) fn take(&mut self, main: i32) {
        let mut message = [0; MAX_MESSAGE];
        loop {
            match linux::fd::read(&self.socket, &mut message) {
                Ok(length) if self.told.is_none() => {
                    self.told = ready(&message[..length]).map(|line| self.tell(line, main));
                }
                // Whoever writes is not to wait for somebody who no longer listens.
                Ok(_) => {}
                Err(error) if error.is(Errno::AGAIN) => return,
                Err(error) => {
                    self.told.get_or_insert(Err(error));
                    return;
                }
            }
        }
    }

    fn tell(&self, line: &[u8], main: i32) -> linux::Result<OwnedFd> {
        linux::fd::send_all(&self.supervisor, &[line, b"\n"].concat(), &[])?;
        linux::fd::send_all(&self.supervisor, format!("MAINPID={main}\n").as_bytes(), &[])?;
        let (barrier, theirs) = linux::fd::pipe()?;
        linux::fd::send_all(&self.supervisor, b"BARRIER=1", &[theirs.as_fd()])?;
        Ok(barrier)
    }

    /// Until the container is ready or has ended.
    pub(super) fn follow(mut self, container: &Container) -> Result<()> {
        let poll = Poll::new().map_err(Error::other)?;
        poll.add(&self, MESSAGE, Interest::READ).map_err(Error::other)?;
        poll.add(container.pidfd(), END, Interest::READ).map_err(Error::other)?;
        let mut events = Vec::new();
        while self.told.is_none() && !events.iter().any(|event: &linux::poll::Event| event.token == END) {
            events.clear();
            poll.wait(&mut events, None).map_err(Error::other)?;
            self.take(container.pid());
        }
        self.settle()
    }

    /// What was told has arrived: a supervisor knows who told it only as long as that process lives.
    pub(super) fn settle(self) -> Result<()> {
        let failed = |error: linux::Error| Error::other(format_args!("NOTIFY_SOCKET: {error}"));
        let Some(told) = self.told else { return Ok(()) };
        match linux::poll::wait_readable(told.map_err(failed)?, Some(PATIENCE)).map_err(failed)? {
            true => Ok(()),
            false => Err(Error::other("NOTIFY_SOCKET: no answer to BARRIER=1 within 30 seconds")),
        }
    }
}

/// The line that tells of readiness, among others in any order.
fn ready(message: &[u8]) -> Option<&[u8]> {
    message.split(|byte| *byte == b'\n').find(|line| line.starts_with(b"READY="))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_is_one_line_of_a_message() {
        assert_eq!(ready(b"READY=1"), Some(&b"READY=1"[..]));
        assert_eq!(ready(b"STATUS=up\nREADY=1\nMAINPID=1"), Some(&b"READY=1"[..]));
        assert_eq!(ready(b"STATUS=READY=1\nSTOPPING=1\n"), None);
    }
}
