//! Processes that run beside a container's own.
//!
//! An exec is created, started once, and remembered for some minutes after its end so that its exit code can be
//! asked for. It lives in memory only: its process belongs to the shim, which reports its end even to an engine that
//! did not start it.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use api::exec::{CreateRequest, Inspect, ProcessConfig};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use shim::protocol::{Attachment, Request};
use tokio::sync::Notify;

use crate::container::{self, Command, ExecStarted, Handle, Live, Record};
use crate::error::{Error, ErrorKind, Result};
use crate::identity::{ContainerId, ExecId};
use crate::ticket::{Ticket, What};
use crate::{Engine, spec};

/// How long an ended exec can still be inspected.
const KEPT: Duration = Duration::from_secs(10 * 60);

/// How long a question about an exec waits for its start to be over.
const SETTLING: Duration = Duration::from_secs(5);

/// Execs of one container that are created and not yet started, or remembered. A client that creates them without
/// starting any must not fill the engine.
const LIMIT: usize = 1024;

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

/// Every exec that can be asked about.
#[derive(Default)]
pub(crate) struct Table {
    execs: Mutex<HashMap<ExecId, Exec>>,
    /// Some exec has started or ended.
    changed: Notify,
}

struct Exec {
    container: ContainerId,
    request: CreateRequest,
    keys: Vec<u8>,
    stage: Stage,
}

#[derive(Debug, Clone, Copy)]
enum Stage {
    Created { at: Instant },
    Starting,
    Running { pid: i32 },
    Ended { pid: i32, code: i32, at: Instant },
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
    pub async fn exec_create(&self, wanted: &str, request: CreateRequest) -> Result<ExecId> {
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
        let copy = linux::fd::duplicate(&socket)
            .map_err(|error| Error::failed("cannot hand a client over", error))?;
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
                self.tell_instead(format!("{error}\r\n"), multiplexed, head, copy).await
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
        self.blocking(move |_| {
            crate::ticket::answer(crate::ticket::greet(socket, &head)?, &[&frame, text.as_bytes()])
        })
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

impl Table {
    fn add(&self, id: ExecId, container: ContainerId, request: CreateRequest, keys: Vec<u8>) -> Result<()> {
        let mut execs = self.lock();
        let now = Instant::now();
        execs.retain(
            |_, exec| !matches!(exec.stage, Stage::Ended { at, .. } if now.duration_since(at) > KEPT),
        );
        if execs.values().filter(|exec| exec.container == container).count() >= LIMIT {
            // The oldest that was never started makes room.
            let idle = execs
                .iter()
                .filter_map(|(id, exec)| match exec.stage {
                    Stage::Created { at } | Stage::Ended { at, .. } if exec.container == container => {
                        Some((at, id.clone()))
                    }
                    _ => None,
                })
                .min_by_key(|(at, _)| *at);
            let Some((_, idle)) = idle else {
                return Err(Error::unavailable(format!("container {container} runs {LIMIT} execs already")));
            };
            execs.remove(&idle);
        }
        execs.insert(id, Exec { container, request, keys, stage: Stage::Created { at: now } });
        Ok(())
    }

    /// By full id or a prefix of one only.
    fn find(&self, wanted: &str) -> Result<ExecId> {
        let execs = self.lock();
        let mut matches = execs.keys().filter(|id| !wanted.is_empty() && id.as_str().starts_with(wanted));
        match (matches.next(), matches.next()) {
            (Some(only), None) => Ok(only.clone()),
            _ => Err(unknown(wanted)),
        }
    }

    fn claim(&self, id: &ExecId, options: &StartOptions) -> Result<Prepared> {
        let mut execs = self.lock();
        let exec = execs.get_mut(id).ok_or_else(|| unknown(id.as_str()))?;
        match exec.stage {
            Stage::Created { .. } => {}
            Stage::Ended { .. } => return Err(Error::conflict(format!("exec command {id} has already run"))),
            Stage::Starting | Stage::Running { .. } => {
                return Err(Error::conflict(format!("exec command {id} is already running")));
            }
        }
        exec.stage = Stage::Starting;
        Ok(Prepared {
            id: id.clone(),
            request: exec.request.clone(),
            keys: exec.keys.clone(),
            console_size: options.console_size.or(exec.request.console_size),
            multiplexed: !options.tty,
            tell_exit: options.tell_exit,
        })
    }

    fn container_of(&self, id: &ExecId) -> Result<ContainerId> {
        self.lock().get(id).map(|exec| exec.container.clone()).ok_or_else(|| unknown(id.as_str()))
    }

    pub(crate) fn started(&self, id: &str, pid: i32) {
        self.change(id, |stage| match *stage {
            Stage::Created { .. } | Stage::Starting => *stage = Stage::Running { pid },
            // Its end was reported before the answer to its start.
            Stage::Ended { code, at, .. } => *stage = Stage::Ended { pid, code, at },
            Stage::Running { .. } => {}
        });
    }

    pub(crate) fn ended(&self, id: &str, code: i32) {
        self.change(id, |stage| {
            let pid = match *stage {
                Stage::Running { pid } | Stage::Ended { pid, .. } => pid,
                _ => 0,
            };
            *stage = Stage::Ended { pid, code, at: Instant::now() };
        });
    }

    /// A container's end is the end of its execs.
    pub(crate) fn container_ended(&self, container: &ContainerId) {
        for exec in self.lock().values_mut().filter(|exec| exec.container == *container) {
            if let Stage::Running { pid } = exec.stage {
                exec.stage = Stage::Ended { pid, code: 137, at: Instant::now() };
            }
        }
    }

    /// Running execs of a container, as its inspect lists them.
    pub(crate) fn running(&self, container: &ContainerId) -> Vec<String> {
        let mut ids: Vec<String> = self
            .lock()
            .iter()
            .filter(|(_, exec)| {
                exec.container == *container && matches!(exec.stage, Stage::Running { .. } | Stage::Starting)
            })
            .map(|(id, _)| id.to_string())
            .collect();
        ids.sort_unstable();
        ids
    }

    fn inspect(&self, id: &ExecId) -> Result<Inspect> {
        let execs = self.lock();
        let exec = execs.get(id).ok_or_else(|| unknown(id.as_str()))?;
        let (running, exit_code, pid) = match exec.stage {
            Stage::Created { .. } => (false, None, 0),
            Stage::Starting => (true, None, 0),
            Stage::Running { pid } => (true, None, pid),
            Stage::Ended { pid, code, .. } => (false, Some(code.into()), pid),
        };
        let mut command = exec.request.cmd.iter().flatten().cloned();
        Ok(Inspect {
            id: id.to_string(),
            running,
            exit_code,
            process_config: ProcessConfig {
                tty: exec.request.tty,
                entrypoint: command.next().unwrap_or_default(),
                arguments: command.collect(),
                privileged: exec.request.privileged,
                user: exec.request.user.clone(),
            },
            open_stdin: exec.request.attach_stdin,
            open_stderr: exec.request.attach_stderr,
            open_stdout: exec.request.attach_stdout,
            can_remove: false,
            container_id: exec.container.to_string(),
            detach_keys: STANDARD.encode(if exec.request.detach_keys.is_empty() {
                &[]
            } else {
                &exec.keys[..]
            }),
            pid: pid.into(),
        })
    }

    fn change(&self, id: &str, change: impl FnOnce(&mut Stage)) {
        let Ok(id) = id.parse::<ExecId>() else { return };
        if let Some(exec) = self.lock().get_mut(&id) {
            change(&mut exec.stage);
        }
        self.changed.notify_waiters();
    }

    fn is_starting(&self, id: &ExecId) -> bool {
        self.lock().get(id).is_some_and(|exec| matches!(exec.stage, Stage::Starting))
    }

    fn is_running(&self, id: &ExecId) -> bool {
        self.lock().get(id).is_some_and(|exec| matches!(exec.stage, Stage::Running { .. }))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ExecId, Exec>> {
        // Each change is a single assignment: a panic cannot leave the table torn.
        self.execs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unknown(wanted: &str) -> Error {
    Error::not_found(format!("No such exec instance: {wanted}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn added(table: &Table) -> ExecId {
        let id = ExecId::random();
        let request = CreateRequest { cmd: Some(vec!["sh".into(), "-c".into()]), ..Default::default() };
        table.add(id.clone(), ContainerId::random(), request, Vec::new()).unwrap();
        id
    }

    #[test]
    fn an_exec_starts_once() {
        let table = Table::default();
        let id = added(&table);
        assert_eq!(table.inspect(&id).unwrap().exit_code, None);
        table.claim(&id, &StartOptions::default()).unwrap();
        let again = table.claim(&id, &StartOptions::default()).err().unwrap();
        assert!(again.kind() == ErrorKind::Conflict && again.message().ends_with("is already running"));
        table.started(id.as_str(), 7);
        table.ended(id.as_str(), 3);
        let shown = table.inspect(&id).unwrap();
        assert_eq!((shown.exit_code, shown.pid, shown.running), (Some(3), 7, false));
        assert_eq!(shown.process_config.arguments, ["-c"]);
        let over = table.claim(&id, &StartOptions::default()).err().unwrap();
        assert!(over.message().ends_with("has already run"));
    }

    #[test]
    fn keys_are_shown_as_the_bytes_that_they_send() {
        let table = Table::default();
        let shown = |text: &str, keys: &[u8]| {
            let id = ExecId::random();
            let request = CreateRequest { detach_keys: text.into(), ..CreateRequest::default() };
            table.add(id.clone(), ContainerId::random(), request, keys.to_vec()).unwrap();
            table.inspect(&id).unwrap().detach_keys
        };
        assert_eq!(shown("ctrl-p,ctrl-q", &[16, 17]), "EBE=");
        assert_eq!(shown("", &[16, 17]), "", "nobody asked for them");
    }

    #[test]
    fn a_client_that_expects_a_terminal_gets_one_stream() {
        let table = Table::default();
        let attached = |exec: bool, start: bool| {
            let id = ExecId::random();
            let request = CreateRequest {
                tty: exec,
                attach_stdout: true,
                attach_stderr: true,
                ..CreateRequest::default()
            };
            table.add(id.clone(), ContainerId::random(), request, Vec::new()).unwrap();
            let options = StartOptions { tty: start, ..StartOptions::default() };
            let attachment = table.claim(&id, &options).unwrap().attachment(Vec::new(), Vec::new());
            (attachment.stdout, attachment.stderr)
        };
        assert_eq!(attached(false, true), (true, false));
        assert_eq!(attached(false, false), (true, true));
        assert_eq!(attached(true, true), (true, true));
    }

    #[test]
    fn an_end_may_overtake_the_answer_to_the_start() {
        let table = Table::default();
        let id = added(&table);
        table.claim(&id, &StartOptions::default()).unwrap();
        table.ended(id.as_str(), 0);
        table.started(id.as_str(), 9);
        let shown = table.inspect(&id).unwrap();
        assert_eq!((shown.exit_code, shown.pid), (Some(0), 9));
    }

    #[test]
    fn unknown_ones_are_named() {
        let error = Table::default().find("abc").unwrap_err();
        assert_eq!(error.message(), "No such exec instance: abc");
    }
}
