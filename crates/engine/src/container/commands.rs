//! What a container's owner is asked, and how it does what is not a client's stream ([`super::clients`]).

use std::os::fd::OwnedFd;
use std::sync::Arc;

use api::container::WaitCondition;
use shim::protocol::{Attachment, LogQuery, Request, RestartPolicy};

use super::life::{self, Removal};
use super::live::Live;
use super::owner::{Owner, store};
use super::record::Record;
use super::{Reply, launch};
use crate::error::{Error, ErrorKind, Result};
use crate::exec::Prepared;
use crate::ticket::Preface;

/// What an owner is asked.
pub(crate) enum Command {
    Start {
        reply: Reply<()>,
    },
    Stop {
        signal: Option<i32>,
        timeout: Option<i64>,
        /// It will be started again: `--rm` does not apply to this end.
        keep: bool,
        reply: Reply<()>,
    },
    Kill {
        signal: i32,
        reply: Reply<()>,
    },
    Pause {
        reply: Reply<()>,
    },
    Unpause {
        reply: Reply<()>,
    },
    Update {
        resources: Option<Box<oci::runtime::Resources>>,
        restart: Option<RestartPolicy>,
        reply: Reply<()>,
    },
    Rename {
        name: String,
        reply: Reply<()>,
    },
    Remove {
        /// The container as the client called it.
        wanted: String,
        force: bool,
        volumes: bool,
        reply: Reply<()>,
    },
    /// Answered with the client itself when it wants the log, or nothing more than it, and no shim runs that has it.
    Attach {
        attachment: Box<Attachment>,
        socket: OwnedFd,
        reply: Reply<Option<(Box<Attachment>, OwnedFd)>>,
    },
    Wait {
        condition: WaitCondition,
        preface: Preface,
        socket: OwnedFd,
        reply: Reply<()>,
    },
    /// Answers with the client's socket when there is no shim to serve it.
    Logs {
        query: LogQuery,
        preface: Preface,
        socket: OwnedFd,
        reply: Reply<Option<(Preface, OwnedFd)>>,
    },
    Exec {
        exec: Box<Prepared>,
        attachment: Option<(Box<Attachment>, OwnedFd)>,
        reply: Reply<ExecStarted>,
    },
    Resize {
        exec: Option<String>,
        height: u16,
        width: u16,
        reply: Reply<()>,
    },
    /// A descriptor on the root mount of a running container.
    Root {
        reply: Reply<OwnedFd>,
    },
    Edit {
        change: Change,
        reply: Reply<()>,
    },
    /// Answered when everything that has happened so far has been dealt with.
    Settled {
        reply: Reply<()>,
    },
    /// The engine closes; the container runs on.
    Leave,
}

/// What became of an exec that reached the shim.
pub(crate) enum ExecStarted {
    /// With this process id on the host.
    Running(i32),
    /// The shim has told the attached client why, and closed its connection.
    Refused(Error),
}

/// A change of the record, made inside the owner on a blocking thread.
pub(crate) type Change = Box<dyn FnOnce(&mut Record, Option<&Live>) -> Result<()> + Send>;

impl Owner {
    pub(super) async fn obey(&mut self, command: Command) {
        let decides = matches!(
            command,
            Command::Start { .. } | Command::Stop { .. } | Command::Kill { .. } | Command::Remove { .. }
        );
        if decides {
            (self.comes_back_at, self.keep) = (None, false);
        }
        // An asker that went away does not want its answer; what it asked for is done.
        match command {
            Command::Start { reply } => drop(reply.send(self.start(0).await)),
            Command::Stop { signal, timeout, keep, reply } => {
                self.keep = keep;
                drop(reply.send(self.stop(signal, timeout).await));
            }
            Command::Kill { signal, reply } => drop(reply.send(self.kill(signal).await)),
            Command::Pause { reply } => drop(reply.send(self.pause().await)),
            Command::Unpause { reply } => drop(reply.send(self.unpause().await)),
            Command::Update { resources, restart, reply } => {
                drop(reply.send(self.update(resources, restart).await));
            }
            Command::Rename { name, reply } => drop(reply.send(self.rename(name).await)),
            Command::Remove { wanted, force, volumes, reply } => {
                drop(reply.send(self.remove(&wanted, force, volumes).await))
            }
            Command::Attach { attachment, socket, reply } => {
                drop(reply.send(self.attach(attachment, socket).await));
            }
            Command::Wait { condition, preface, socket, reply } => {
                drop(reply.send(self.wait(condition, preface, socket).await));
            }
            Command::Logs { query, preface, socket, reply } => {
                drop(reply.send(self.logs(query, preface, socket).await));
            }
            Command::Exec { exec, attachment, reply } => drop(reply.send(self.exec(*exec, attachment).await)),
            Command::Resize { exec, height, width, reply } => {
                drop(reply.send(self.resize(exec, height, width).await));
            }
            Command::Root { reply } => drop(reply.send(self.root().await)),
            Command::Edit { change, reply } => drop(reply.send(self.edit(change).await)),
            Command::Settled { reply } => drop(reply.send(Ok(()))),
            Command::Leave => {}
        }
    }

    pub(super) async fn start(&mut self, restarts: u32) -> Result<()> {
        life::admit_start(&self.record)?;
        // The end of the run before is still with its shim.
        self.finish_ending().await?;
        self.engine.shared().execs.forget(&self.record.id);
        let held = std::mem::take(&mut self.held);
        let record = Record::clone(&self.record);
        let launched =
            self.engine.blocking(move |engine| Ok(launch::launch(engine, record, held, restarts))).await?;
        match launched {
            Ok(launched) => {
                self.record = Arc::new(launched.record);
                self.connected = Some(launched.connected);
                self.spares = launched.spares;
                self.publish();
                // The shim's first event says that it runs; it is there already.
                self.confirm(|record| record.state.run().is_none_or(|run| run.sequence > 0)).await
            }
            Err(failed) => {
                let launch::Failed { record, held, error } = *failed;
                self.record = Arc::new(record);
                self.held = held;
                self.publish();
                if self.record.host.auto_remove {
                    self.remove_now(true, None).await?;
                }
                Err(error)
            }
        }
    }

    async fn stop(&mut self, signal: Option<i32>, timeout: Option<i64>) -> Result<()> {
        life::admit_stop(&self.record)?;
        self.record_mut().manually_stopped = true;
        match self.request(Request::Stop { signal, timeout }, Vec::new()).await {
            // It ended by itself just now: that is what was wanted.
            Err(error) if error.kind() == ErrorKind::Conflict => {
                self.confirm(|record| !record.state.is_running()).await?;
                self.engine.container_event(&self.record, "stop", &[]);
                Ok(())
            }
            other => other.map(|_| self.stops += 1),
        }
    }

    async fn kill(&mut self, signal: i32) -> Result<()> {
        life::admit_kill(&self.record)?;
        let configured = launch::stop_signal_configured(&self.record);
        self.record_mut().manually_stopped = true;
        let final_stop = life::ends_policy(signal, configured);
        match self.request(Request::Signal { signal, final_stop }, Vec::new()).await {
            Err(error) if error.kind() == ErrorKind::Conflict => {
                self.confirm(|record| !record.state.is_running()).await?;
                life::admit_kill(&self.record)
            }
            other => other.map(drop),
        }
    }

    async fn pause(&mut self) -> Result<()> {
        life::admit_pause(&self.record)?;
        self.request(Request::Pause, Vec::new()).await?;
        self.confirm(|record| !record.state.is_running() || record.state.is_paused()).await
    }

    async fn unpause(&mut self) -> Result<()> {
        life::admit_unpause(&self.record)?;
        self.request(Request::Resume, Vec::new()).await?;
        self.confirm(|record| !record.state.is_paused()).await
    }

    async fn update(
        &mut self,
        resources: Option<Box<oci::runtime::Resources>>,
        restart: Option<RestartPolicy>,
    ) -> Result<()> {
        if self.connected.is_some() {
            self.request(Request::Update { resources, restart }, Vec::new()).await?;
        }
        // Nobody waits for this on the disk: to be told twice does no harm.
        self.record_mut().update_unconfirmed = false;
        Ok(())
    }

    /// Tells the shim once more what an earlier engine had written down, and did not live to see done.
    pub(super) async fn update_again(&mut self) {
        let host = &self.record.host;
        let resources = crate::spec::resources(&host.resources, &self.engine.shared().host);
        let restart = Some(life::restart_policy(&host.restart_policy));
        let told = match resources {
            Ok(resources) => self.update(Some(Box::new(resources)), restart).await,
            Err(error) => Err(error),
        };
        if let Err(error) = told {
            tracing::warn!(container = %self.record.id, %error, "cannot update a container");
        }
    }

    async fn remove(&mut self, wanted: &str, force: bool, volumes: bool) -> Result<()> {
        if life::admit_remove(&self.record, wanted, force)? == Removal::KillFirst {
            self.record_mut().manually_stopped = true;
            // The container goes away with `--rm` or with us, but only once.
            self.record_mut().host.auto_remove = false;
            match self.request(Request::Signal { signal: 9, final_stop: true }, Vec::new()).await {
                Err(error) if error.kind() != ErrorKind::Conflict => return Err(error),
                // Killed, or over already.
                _ => {}
            }
            self.confirm(|record| !record.state.is_running()).await?;
        }
        // A run whose end could not be stored needs that no more.
        let ending = self.ending.take();
        let live = ending.as_ref().and_then(|ending| ending.live.clone());
        let removed = self.remove_now(volumes, live).await;
        if removed.is_err() {
            self.ending = ending;
        }
        removed
    }

    async fn edit(&mut self, change: Change) -> Result<()> {
        let mut record = Record::clone(&self.record);
        let live = self.connected.as_ref().map(|connected| connected.live.clone());
        let changed = self
            .engine
            .blocking(move |engine| {
                change(&mut record, live.as_ref())?;
                store(engine, &record)?;
                Ok(record)
            })
            .await?;
        self.record = Arc::new(changed);
        self.publish();
        Ok(())
    }
}
