//! Processes beside the container's own: `docker exec` and health probes.
//!
//! ```text
//!   Exec ─▶ pipes or a terminal ─▶ runtime ─▶ client attached ─▶ ExecStarted … ExecExited
//! ```
//!
//! The client that comes with the request is attached before anything can be read, so no byte passes it by. It
//! ends, and so does the exec's record, when the process has ended and its output is drained.

use std::os::fd::{AsFd, OwnedFd};

use linux::pty::Size;

use super::Supervisor;
use super::greeting::{self, Greeted};
use super::maker::Beside;
use super::process::{Inlet, Process, Role, Tap};
use super::reactor::Id;
use super::stdio;
use crate::log::Stream;
use crate::protocol::{Attachment, Failure, FailureKind, Happening};

/// Processes beside the container's own at one time: far above what anybody runs, far below the descriptors
/// (at most five each) that a shim may have open.
const MAX_EXECS: usize = 128;

pub(super) use stdio::Input;

impl Supervisor {
    pub(super) fn exec(
        &mut self,
        name: String,
        process: &oci::runtime::Process,
        stdin: bool,
        client: Option<(OwnedFd, Attachment)>,
    ) -> Result<i32, Failure> {
        // Before the process runs: by the time it says something, the client has read that.
        let client = client.map(|(socket, attachment)| greeting::greet(socket, attachment)).transpose()?;
        let started = self.check_exec(&name).and_then(|()| {
            let id = self.next_id();
            let input = match (&client, stdin) {
                (Some(_), true) => Input::Pipe,
                (Some(_), false) => Input::Null,
                (None, _) => Input::Nothing,
            };
            let pid = self.start_beside(id, process, Role::Exec { name: name.clone() }, input)?;
            Ok((id, pid))
        });
        match started {
            Ok((id, pid)) => {
                self.record(Happening::ExecStarted { exec: name, pid });
                if let Some(client) = client {
                    self.seat(id, client);
                }
                self.listen(id);
                Ok(pid)
            }
            Err(failure) => {
                if let Some(client) = client {
                    self.tell_failure(client, &failure);
                }
                Err(failure)
            }
        }
    }

    fn check_exec(&self, name: &str) -> Result<(), Failure> {
        super::room_for(self.clients.len())?;
        match self.running_for() {
            None if self.life.is_running() => {
                Err(super::failure(FailureKind::Conflict, "the container is paused"))
            }
            None => Err(crate::stop::not_running()),
            Some(_) if self.exec_id(name).is_some() => {
                Err(super::failure(FailureKind::Conflict, "an exec of this id is running"))
            }
            Some(_) if self.processes.len() > MAX_EXECS => Err(super::failure(
                FailureKind::Conflict,
                "too many processes are being executed in the container",
            )),
            Some(_) => Ok(()),
        }
    }

    /// Starts a process in the running container and registers its end and its streams.
    pub(super) fn start_beside(
        &mut self,
        id: Id,
        process: &oci::runtime::Process,
        role: Role,
        input: Input,
    ) -> Result<i32, Failure> {
        let Some(container) = &self.container else { return Err(crate::stop::not_running()) };
        let root = stdio::root_of(&self.launch.spec);
        let (theirs, ours) = stdio::make(process.terminal, process.console_size, input, root)
            .map_err(|error| super::other(&error))?;
        let Beside { pid, pidfd, terminal } = container.exec(process, theirs)?;
        let mut started = Self::adopt(role, pid, pidfd, process.terminal);
        connect(&mut started, id, ours, terminal, input)?;
        // The end of a client's input is the end of the exec's.
        started.once = true;
        self.processes.insert(id, started);
        self.watch_process(id)?;
        Ok(pid)
    }

    /// The streams of an exec that could not be started carry the reason, as in Docker: the head of the answer was
    /// promised already. The socket is closed afterwards.
    fn tell_failure(&mut self, mut client: Greeted, failure: &Failure) {
        let text = format!("{}\r\n", failure_text(failure));
        match client.attachment.multiplexed {
            true => client.outbox.push_frame(Stream::Stdout.frame_id(), text.as_bytes()),
            false => client.outbox.push(text.as_bytes()),
        }
        (client.attachment.live, client.attachment.replay) = (false, false);
        let no_process = self.next_id();
        self.seat(no_process, client);
    }

    pub(super) fn exec_id(&self, name: &str) -> Option<Id> {
        let named = |process: &Process| matches!(&process.role, Role::Exec { name: own } if own == name);
        self.processes.iter().find(|(_, process)| named(process)).map(|(id, _)| *id)
    }

    pub(super) fn exec_names(&self) -> Vec<String> {
        let name = |process: &Process| match &process.role {
            Role::Exec { name } => Some(name.clone()),
            _ => None,
        };
        self.processes.values().filter_map(name).collect()
    }

    pub(super) fn resize(&mut self, id: Option<Id>, height: u16, width: u16) -> Result<(), Failure> {
        let Some(process) = id.and_then(|id| self.processes.get(&id)) else {
            return Err(crate::stop::not_running());
        };
        // Docker too accepts the size for a process without a terminal, and nothing happens.
        if let Some(tap) = process.stdout.as_ref().filter(|_| process.terminal) {
            linux::pty::resize(&tap.file, Size { rows: height, columns: width })
                .map_err(|error| super::other(&error))?;
        }
        Ok(())
    }
}

/// Gives a process our ends of its streams.
pub(super) fn connect(
    process: &mut Process,
    id: Id,
    ours: stdio::Ours,
    terminal: Option<OwnedFd>,
    input: Input,
) -> Result<(), Failure> {
    let tap = |fd: Option<OwnedFd>, stream| fd.map(|fd| Tap::new(fd, id, stream)).transpose();
    let error = |error: linux::Error| super::other(&error);
    let inlet = match &terminal {
        Some(master) if input == Input::Pipe => Some(linux::fd::duplicate(master).map_err(error)?),
        Some(_) => None,
        None => ours.stdin,
    };
    process.stdin = inlet.map(|fd| Inlet::new(fd, id)).transpose().map_err(error)?;
    process.stdout = tap(terminal.or(ours.stdout), Stream::Stdout).map_err(error)?;
    process.stderr = tap(ours.stderr, Stream::Stderr).map_err(error)?;
    Ok(())
}

pub(super) fn duplicate(fd: impl AsFd) -> Result<OwnedFd, Failure> {
    linux::fd::duplicate(fd).map_err(|error| super::other(&error))
}

/// Docker's words around the runtime's.
pub(super) fn failure_text(failure: &Failure) -> String {
    let introduction = match failure.verbatim {
        true => "",
        // What is refused before there is a process is told without it.
        false if failure.message.starts_with("Cwd ") => "exec failed: ",
        false => "exec failed: unable to start container process: ",
    };
    format!("OCI runtime exec failed: {introduction}{}", failure.told())
}
