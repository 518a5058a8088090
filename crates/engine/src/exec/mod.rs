//! Processes that run beside a container's own.
//!
//! An exec is created, started once, and remembered for some minutes after its end so that its exit code can be
//! asked for. It lives in memory only: its process belongs to the shim, which reports its end even to an engine that
//! did not start it.

mod table;

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use api::exec::{CreateRequest, Inspect};
use shim::protocol::{Attachment, Request};

use crate::container::{self, Command, ExecStarted, Handle, Live, Record};
use crate::error::{Error, ErrorKind, Result};
use crate::identity::ExecId;
use crate::ticket::{self, Ticket, What};
use crate::{Engine, spec};

pub(crate) use table::Table;

/// How long a question about an exec waits for its start to be over.
const SETTLING: Duration = Duration::from_secs(5);

/// What a client wants of a start.
#[derive(Debug, Clone, Default)]
pub struct StartOptions {
    pub detach: bool,
    /// The client expects raw output, not frames.
    pub tty: bool,
    /// Rows and columns.
    pub console_size: Option<[u32; 2]>,
    /// The client wants to read the exit code behind the output.
    pub tell_exit: bool,
}

/// An exec that was claimed for a start.
pub(crate) struct Prepared {
    id: ExecId,
    request: CreateRequest,
    keys: Vec<u8>,
    console_size: Option<[u32; 2]>,
    multiplexed: bool,
    tell_exit: bool,
}

/// The command in events, where Docker has a space behind one without arguments.
fn told(request: &CreateRequest) -> String {
    match request.cmd.as_deref().unwrap_or_default() {
        [only] => format!("{only} "),
        words => words.join(" "),
    }
}

impl Engine {
    pub async fn exec_create(&self, wanted: &str, mut request: CreateRequest) -> Result<ExecId> {
        if request.cmd.as_ref().is_none_or(Vec::is_empty) {
            return Err(Error::invalid("No exec command specified"));
        }
        let container = self.container(wanted)?;
        let record = container.record();
        container::admit_exec(&record)?;
        self.check_user(record.clone(), request.user.clone()).await?;
        let keys = container::detach_keys(&request.detach_keys).ok_or_else(|| {
            Error::system(format!("Invalid escape keys ({}) provided", request.detach_keys))
        })?;
        if request.user.is_empty() {
            request.user.clone_from(&record.config.user);
        }
        let id = ExecId::random();
        let command = told(&request);
        self.shared().execs.add(id.clone(), record.id.clone(), request, keys)?;
        self.container_event(&record, &format!("exec_create: {command}"), &[("execID", id.to_string())]);
        Ok(id)
    }

    /// None when the exec was started detached.
    pub async fn exec_start(&self, wanted: &str, options: StartOptions) -> Result<Option<Ticket>> {
        let execs = &self.shared().execs;
        let id = execs.find(wanted)?;
        let container = self.exec_container(&id)?;
        container::admit_exec(&container.record())?;
        let exec = match execs.claim(&id, &options) {
            // Docker has promised success by then: the reason goes where output goes.
            Err(error) if !options.detach && error.kind() == ErrorKind::Conflict => {
                let what = What::Refused { text: format!("{error}\r\n"), multiplexed: !options.tty };
                return Ok(Some(Ticket { engine: self.clone(), container, what }));
            }
            claimed => claimed?,
        };
        let command = told(&exec.request);
        self.container_event(
            &container.record(),
            &format!("exec_start: {command}"),
            &[("execID", id.to_string())],
        );
        if !options.detach {
            return Ok(Some(Ticket { engine: self.clone(), container, what: What::Exec(Box::new(exec)) }));
        }
        let started =
            container.ask(|reply| Command::Exec { exec: Box::new(exec), attachment: None, reply }).await;
        match started.and_then(ExecStarted::pid) {
            Ok(pid) => {
                execs.started(id.as_str(), pid);
                Ok(None)
            }
            Err(error) => {
                execs.ended(id.as_str(), code_of(&error));
                Err(error)
            }
        }
    }

    /// A user that the container does not have is refused where a status can still say so.
    async fn check_user(&self, record: Arc<Record>, user: String) -> Result<()> {
        let numbers = user.split(':').all(|part| part.parse::<u32>().is_ok());
        match record.state.run() {
            Some(run) if !user.is_empty() && !numbers => {
                let pid = run.pid;
                self.blocking(move |engine| spec::check_user(engine, pid, &user))
                    .await
                    .map_err(|error| Error::invalid(error.to_string()))
            }
            _ => Ok(()),
        }
    }

    pub(crate) async fn exec_deliver(
        &self,
        container: Handle,
        exec: Prepared,
        preface: Vec<u8>,
        unread: Vec<u8>,
        socket: OwnedFd,
    ) -> Result<()> {
        let id = exec.id.clone();
        let held = ticket::spare(&socket)?;
        let multiplexed = exec.multiplexed();
        let head = preface.clone();
        let attachment = Box::new(exec.attachment(preface, unread));
        let attachment = Some((attachment, socket));
        let started = container.ask(|reply| Command::Exec { exec: Box::new(exec), attachment, reply }).await;
        match started {
            Ok(ExecStarted::Running(pid)) => {
                self.shared().execs.started(id.as_str(), pid);
                Ok(())
            }
            Ok(ExecStarted::Refused(error)) => {
                self.shared().execs.ended(id.as_str(), code_of(&error));
                Ok(())
            }
            Err(error) => {
                self.shared().execs.ended(id.as_str(), code_of(&error));
                // The status line promised success; the reason can only go where output goes.
                self.tell_instead(format!("{error}\r\n"), multiplexed, head, held).await
            }
        }
    }

    /// Ends the stream of an exec that runs nothing with the reason for it.
    pub(crate) async fn tell_instead(
        &self,
        text: String,
        multiplexed: bool,
        head: Vec<u8>,
        socket: OwnedFd,
    ) -> Result<()> {
        let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
        let header = api::stream::Stream::Stdout.header(length);
        let frame = if multiplexed { header.to_vec() } else { Vec::new() };
        self.blocking(move |_| ticket::answer(ticket::greet(socket, &head)?, &[&frame, text.as_bytes()]))
            .await
    }

    pub async fn exec_resize(&self, wanted: &str, height: u16, width: u16) -> Result<()> {
        let id = self.shared().execs.find(wanted)?;
        let container = self.exec_container(&id)?;
        container.ask(|reply| Command::Resize { exec: Some(id.to_string()), height, width, reply }).await
    }

    /// Waits until an exec that is about to start has started or failed. The shim tells a client why its exec failed
    /// before it tells us, and the client's next question is the exit code.
    pub async fn exec_settled(&self, wanted: &str) {
        let execs = &self.shared().execs;
        let Ok(id) = execs.find(wanted) else { return };
        let settled = async {
            loop {
                let mut changed = std::pin::pin!(execs.changed.notified());
                changed.as_mut().enable();
                if !execs.is_starting(&id) {
                    return;
                }
                changed.await;
            }
        };
        // A start that takes longer is told as it is.
        let _ = tokio::time::timeout(SETTLING, settled).await;
        // The shim has reported an end before it closed the client's streams: take the report in.
        if let (true, Ok(container)) = (execs.is_running(&id), self.exec_container(&id)) {
            let _ = tokio::time::timeout(SETTLING, container.settled()).await;
        }
    }

    pub fn exec_inspect(&self, wanted: &str) -> Result<Inspect> {
        let id = self.shared().execs.find(wanted)?;
        self.shared().execs.inspect(&id)
    }

    fn exec_container(&self, id: &ExecId) -> Result<Handle> {
        let container = self.shared().execs.container_of(id)?;
        self.shared()
            .containers
            .get(&container)
            .ok_or_else(|| Error::not_found(format!("No such container: {container}")))
    }
}

impl ExecStarted {
    fn pid(self) -> Result<i32> {
        match self {
            ExecStarted::Running(pid) => Ok(pid),
            ExecStarted::Refused(error) => Err(error),
        }
    }
}

/// What a shell would say of an exec that did not start.
fn code_of(error: &Error) -> i32 {
    let text = error.to_string().to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if says(&["executable file not found", "no such file or directory", "not a directory"]) {
        127
    } else if says(&["permission denied", "is a directory"]) {
        126
    } else {
        128
    }
}

impl Prepared {
    pub(crate) fn multiplexed(&self) -> bool {
        self.multiplexed
    }

    fn attachment(&self, preface: Vec<u8>, unread: Vec<u8>) -> Attachment {
        Attachment {
            stdin: self.request.attach_stdin,
            stdout: self.request.attach_stdout,
            // A client that expects a terminal's output where there is none gets the one stream.
            stderr: self.request.attach_stderr && (self.multiplexed || self.request.tty),
            multiplexed: self.multiplexed(),
            tell_exit: self.tell_exit,
            detach_keys: if self.request.tty { self.keys.clone() } else { Vec::new() },
            preface,
            unread,
            replay: false,
            live: true,
        }
    }

    /// The request to the shim. Blocking: the user is looked up in the container's own files.
    pub(crate) fn request(
        &self,
        engine: &Engine,
        record: &Record,
        live: &Live,
        attachment: Option<Attachment>,
    ) -> Result<Request> {
        let process = spec::for_exec(engine, record, live, &self.request, self.console_size)?;
        Ok(Request::Exec {
            id: self.id.to_string(),
            process: Box::new(process),
            stdin: self.request.attach_stdin,
            attachment,
        })
    }
}
