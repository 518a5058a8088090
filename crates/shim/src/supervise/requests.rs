//! What the engine may ask, and who answers.

use std::os::fd::OwnedFd;

use oci::runtime::Resources;
use serde_json::Value;

use super::Supervisor;
use super::reactor::Id;
use crate::life::Stage;
use crate::protocol::{Attachment, Failure, FailureKind, Reply, Request, Snapshot, VERSION, WaitUntil};
use crate::stop::{Hands, not_running};

type Answer = Result<(Reply, Vec<OwnedFd>), Failure>;

impl Supervisor {
    pub(super) fn handle(&mut self, request: Request, descriptors: Vec<OwnedFd>) -> Answer {
        let done = |()| (Reply::Done, Vec::new());
        match request {
            Request::State => Ok((Reply::State(self.snapshot()), Vec::new())),
            // The connection answers this one by itself.
            Request::Subscribe { .. } => {
                Err(super::failure(FailureKind::Invalid, "a subscription has no reply"))
            }
            Request::Attach(attachment) => self.attach_main(descriptors, attachment).map(done),
            Request::Wait(waiter) => {
                let socket = only(descriptors)?;
                self.wait_for_exit(socket, waiter).map(done)
            }
            Request::Logs { query, preface } | Request::LogRecords { query, preface } => {
                self.view_log(only(descriptors)?, query, &preface).map(done)
            }
            Request::Exec { id, process, stdin, attachment } => {
                let client = attachment.map(|attachment| Ok((only(descriptors)?, attachment))).transpose()?;
                let pid = self.exec(id, &process, stdin, client)?;
                Ok((Reply::ExecStarted { pid }, Vec::new()))
            }
            Request::ResizeContainer { height, width } => self.resize(self.main(), height, width).map(done),
            Request::ResizeExec { id, height, width } => {
                self.resize(self.exec_id(&id), height, width).map(done)
            }
            Request::Signal { signal, final_stop } => self.signal(signal, final_stop).map(done),
            Request::Stop { signal, timeout } => self.stop(signal, timeout).map(done),
            Request::Pause => self.pause().map(done),
            Request::Resume => self.resume().map(done),
            Request::Update { resources, restart } => {
                if let Some(resources) = resources {
                    let container = self.container.as_ref().ok_or_else(not_running)?;
                    container.update(&resources)?;
                    self.remember_resources(&resources);
                }
                if let Some(policy) = restart {
                    self.set_policy(policy);
                }
                Ok(done(()))
            }
            Request::Root => Ok((Reply::Root, vec![self.root()?])),
            Request::Names(names) => {
                self.holdings.rename(&self.poll, names).map(done).map_err(|error| super::other(&error))
            }
            Request::Ports(ports) => {
                let held = self.holdings.publish(&self.poll, &ports, descriptors);
                let missing = held.map_err(|error| super::other(&error))?;
                Ok((Reply::Ports { missing }, Vec::new()))
            }
            Request::Release { removed, waiters } => self.release(removed, waiters),
        }
    }

    fn attach_main(&mut self, descriptors: Vec<OwnedFd>, attachment: Attachment) -> Result<(), Failure> {
        let socket = only(descriptors)?;
        let main = self.main().ok_or_else(not_running)?;
        self.attach(main, socket, attachment)
    }

    fn main(&self) -> Option<Id> {
        match &self.life.stage {
            Stage::Running(running) => Some(running.main),
            Stage::Restarting { .. } | Stage::Exited { .. } => None,
        }
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot {
            version: VERSION,
            container: self.launch.container.clone(),
            incarnation: self.launch.incarnation.clone(),
            shim_pid: linux::process::id(),
            phase: self.phase(),
            restart_count: self.life.restarts.count,
            sequence: self.journal.sequence(),
            execs: self.exec_names(),
            health: self.health(),
            log_lost: self.log.as_ref().map_or(0, |log| log.loss().records)
                + self.collector.as_ref().map_or(0, |collector| collector.remote.loss().records),
        }
    }

    fn root(&self) -> Result<OwnedFd, Failure> {
        let container = self.container.as_ref().ok_or_else(not_running)?;
        super::exec::duplicate(container.root().ok_or_else(not_running)?)
    }

    /// A restart applies the limits of the last update, not those of the launch.
    fn remember_resources(&mut self, new: &oci::runtime::Resources) {
        let linux = self.launch.spec.linux.get_or_insert_default();
        let old = linux.resources.take().unwrap_or_default();
        linux.resources = Some(updated(&old, new).unwrap_or(old));
    }

    fn release(&mut self, removed: bool, waiters: bool) -> Answer {
        let Some(code) = self.final_code() else {
            return Err(super::failure(FailureKind::Conflict, "the container has not ended for good"));
        };
        if removed {
            self.answer_waiters(WaitUntil::Removed, code);
        }
        // Before the answer: a new run uses the same cgroup.
        self.take_apart();
        if !std::mem::replace(&mut self.released, true) {
            self.leave();
        }
        let (waiting, sockets) = self.hand_over_waiters().into_iter().unzip();
        let reply = if waiters { Reply::Released { waiters: waiting } } else { Reply::Done };
        Ok((reply, sockets))
    }
}

/// `old` with everything that `new` sets: what is absent from an update stays as it is.
fn updated(old: &Resources, new: &Resources) -> Option<Resources> {
    let mut merged = serde_json::to_value(old).ok()?;
    merge(&mut merged, serde_json::to_value(new).ok()?);
    serde_json::from_value(merged).ok()
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

/// The one descriptor that a request has to bring.
fn only(mut descriptors: Vec<OwnedFd>) -> Result<OwnedFd, Failure> {
    match (descriptors.pop(), descriptors.is_empty()) {
        (Some(descriptor), true) => Ok(descriptor),
        _ => Err(super::failure(FailureKind::Invalid, "the request needs one descriptor")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci::runtime::{Cpu, Memory, Pids};

    #[test]
    fn an_update_leaves_what_it_does_not_name() {
        let memory = Memory { limit: Some(1), swap: Some(2), ..Memory::default() };
        let old =
            Resources { memory: Some(memory), pids: Some(Pids { limit: Some(7) }), ..Resources::default() };
        let memory = Memory { limit: Some(9), ..Memory::default() };
        let new = Resources {
            memory: Some(memory),
            cpu: Some(Cpu { shares: Some(3), ..Cpu::default() }),
            ..Resources::default()
        };
        let updated = updated(&old, &new).unwrap();
        let memory = updated.memory.unwrap();
        assert_eq!((memory.limit, memory.swap), (Some(9), Some(2)));
        assert_eq!(updated.pids, Some(Pids { limit: Some(7) }));
        assert_eq!(updated.cpu.unwrap().shares, Some(3));
    }
}
