//! What is remembered of execs.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use api::exec::{CreateRequest, Inspect, ProcessConfig};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::sync::Notify;

use super::{Prepared, StartOptions};
use crate::error::{Error, Result};
use crate::identity::{ContainerId, ExecId};

/// How long an ended exec can still be inspected.
const KEPT: Duration = Duration::from_secs(10 * 60);

/// Execs of one container that are created and not yet started, or remembered. A client that creates them without
/// starting any must not fill the engine.
const LIMIT: usize = 1024;

/// Every exec that can be asked about.
#[derive(Default)]
pub(crate) struct Table {
    execs: Mutex<HashMap<ExecId, Exec>>,
    /// Some exec has started or ended.
    pub(super) changed: Notify,
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

impl Table {
    pub(super) fn add(
        &self,
        id: ExecId,
        container: ContainerId,
        request: CreateRequest,
        keys: Vec<u8>,
    ) -> Result<()> {
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

    /// By full id only, as Docker.
    pub(super) fn find(&self, wanted: &str) -> Result<ExecId> {
        let id = wanted.parse::<ExecId>().map_err(|_| unknown(wanted))?;
        if self.lock().contains_key(&id) { Ok(id) } else { Err(unknown(wanted)) }
    }

    pub(super) fn claim(&self, id: &ExecId, options: &StartOptions) -> Result<Prepared> {
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

    pub(super) fn container_of(&self, id: &ExecId) -> Result<ContainerId> {
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

    /// A container's end is the end of its execs. Whoever started one may still ask for its code.
    pub(crate) fn container_ended(&self, container: &ContainerId) {
        self.lock().retain(|_, exec| {
            if exec.container != *container {
                return true;
            }
            if let Stage::Running { pid } = exec.stage {
                exec.stage = Stage::Ended { pid, code: 137, at: Instant::now() };
            }
            !matches!(exec.stage, Stage::Created { .. })
        });
    }

    /// Nobody asks any more for the execs of a container that is gone, or starts anew.
    pub(crate) fn forget(&self, container: &ContainerId) {
        self.lock().retain(|_, exec| exec.container != *container);
    }

    /// Execs of a container that have not ended, as its inspect lists them.
    pub(crate) fn listed(&self, container: &ContainerId) -> Vec<String> {
        let execs = self.lock();
        let alive = execs
            .iter()
            .filter(|(_, exec)| exec.container == *container && !matches!(exec.stage, Stage::Ended { .. }));
        let mut ids: Vec<String> = alive.map(|(id, _)| id.to_string()).collect();
        ids.sort_unstable();
        ids
    }

    pub(super) fn inspect(&self, id: &ExecId) -> Result<Inspect> {
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

    pub(super) fn is_starting(&self, id: &ExecId) -> bool {
        self.lock().get(id).is_some_and(|exec| matches!(exec.stage, Stage::Starting))
    }

    pub(super) fn is_running(&self, id: &ExecId) -> bool {
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
    fn the_end_of_a_container_is_the_end_of_its_execs() {
        let table = Table::default();
        let container = ContainerId::random();
        let [idle, running, other] = [&container, &container, &ContainerId::random()].map(|container| {
            let id = ExecId::random();
            table.add(id.clone(), container.clone(), CreateRequest::default(), Vec::new()).unwrap();
            id
        });
        table.claim(&running, &StartOptions::default()).unwrap();
        table.started(running.as_str(), 7);
        let mut both = vec![idle.to_string(), running.to_string()];
        both.sort_unstable();
        assert_eq!(table.listed(&container), both);
        table.container_ended(&container);
        assert_eq!(table.inspect(&running).unwrap().exit_code, Some(137));
        assert!(table.find(idle.as_str()).is_err() && table.listed(&container).is_empty());
        table.forget(&container);
        assert!(table.find(running.as_str()).is_err() && table.find(other.as_str()).is_ok());
    }

    #[test]
    fn unknown_ones_are_named() {
        let table = Table::default();
        let short = &added(&table).to_string()[..12];
        for name in ["abc", "", short] {
            assert_eq!(table.find(name).unwrap_err().message(), format!("No such exec instance: {name}"));
        }
    }
}
