//! The task that owns one container.
//!
//! ```text
//!   requests (mailbox) ──▶┐                       ┌──▶ record (one commit), view, events
//!                         ├─▶ decide (life.rs) ───┤
//!   the shim's events ───▶┘                       └──▶ shim, network, files (blocking threads)
//! ```
//!
//! Requests are served one after the other; each is short, because whatever takes time (a stop's grace period, a
//! restart's pause) happens in the shim and comes back as an event.

use std::future::pending;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use api::container::WaitCondition;
use shim::protocol::{Attachment, Event, LogQuery, Reply as Answer, Request, RestartPolicy, Waiter};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::ending::Ending;
use super::happened::{Consequence, happened};
use super::held::Held;
use super::life::{self, Removal};
use super::record::Record;
use super::restore::Observed;
use super::state::State;
use super::{Handle, MAILBOX, Reply, event_attributes, launch, refusals, told};
use crate::Engine;
use crate::effects::Shim;
use crate::error::{Error, ErrorKind, Result};
use crate::events::Origin;
use crate::exec::Prepared;

/// How long the owner waits for the event that confirms what the shim has already done.
const CONFIRMATION: Duration = Duration::from_secs(10);

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
        waiter: Waiter,
        socket: OwnedFd,
        reply: Reply<()>,
    },
    /// Answers with the client's socket when there is no shim to serve it.
    Logs {
        query: LogQuery,
        preface: Vec<u8>,
        socket: OwnedFd,
        reply: Reply<Option<(Vec<u8>, OwnedFd)>>,
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

/// A container that has a shim.
#[derive(Clone)]
pub(crate) struct Live {
    pub(crate) shim: Arc<dyn Shim>,
    /// The container's first process, on the host.
    pub(crate) pid: i32,
}

impl Live {
    /// Asks the shim and gives its refusal Docker's kinds.
    pub(crate) fn request(
        &self,
        request: &Request,
        descriptors: &[OwnedFd],
    ) -> Result<(Answer, Vec<OwnedFd>)> {
        match self.answer(request, descriptors)? {
            (Answer::Failed(failure), _) => Err(refusals::of_request(failure)),
            answer => Ok(answer),
        }
    }

    /// Asks the shim; its refusal is an answer, too.
    pub(super) fn answer(
        &self,
        request: &Request,
        descriptors: &[OwnedFd],
    ) -> Result<(Answer, Vec<OwnedFd>)> {
        let borrowed: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
        self.shim
            .request(request, &borrowed)
            .map_err(|error| Error::failed("cannot reach the container's shim", error))
    }
}

/// A shim and the stream of its events.
pub(super) struct Connected {
    pub(super) live: Live,
    pub(super) events: super::stream::EventStream,
}

pub(super) struct Owner {
    pub(super) engine: Engine,
    /// The same that everybody sees, until it is changed: a container that stands has one.
    pub(super) record: Arc<Record>,
    view: watch::Sender<Arc<Record>>,
    pub(super) connected: Option<Connected>,
    pub(super) held: Held,
    /// The container is gone: the task ends.
    pub(super) removed: bool,
    /// Its end is one half of a restart: `--rm` does not apply to it.
    pub(super) keep: bool,
    /// So many asked for a stop that has not come to its end.
    pub(super) stops: u32,
    /// When it is started again, because its shim was killed and its policy says so. A client's wish comes first.
    comes_back_at: Option<Instant>,
    /// A run's end that could not be stored yet.
    pub(super) ending: Option<Ending>,
}

impl Owner {
    /// Starts the task and makes the container visible to everybody.
    pub(super) fn spawn(engine: &Engine, record: Record, connected: Option<Connected>) -> Handle {
        Owner::spawn_with(engine, record, connected, None)
    }

    /// The same for a container whose shim an earlier engine launched: `found` is taken in before any request.
    pub(super) fn spawn_with(
        engine: &Engine,
        record: Record,
        connected: Option<Connected>,
        found: Option<Observed>,
    ) -> Handle {
        let record = Arc::new(record);
        let (view, watched) = watch::channel(record.clone());
        let (mailbox, commands) = mpsc::channel(MAILBOX);
        let handle = Handle { id: record.id.clone(), view: watched, mailbox };
        engine.shared().containers.insert(handle.clone());
        let mut owner = Owner {
            engine: engine.clone(),
            record,
            view,
            connected,
            held: Held::default(),
            removed: false,
            keep: false,
            stops: 0,
            comes_back_at: None,
            ending: None,
        };
        tokio::spawn(async move {
            if let Some(found) = found {
                Box::pin(owner.resume(found)).await;
            }
            owner.run(commands).await;
        });
        handle
    }

    async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        while !self.removed {
            let next = async {
                match &mut self.connected {
                    Some(connected) => connected.events.next().await,
                    None => pending().await,
                }
            };
            let comes_back = self.comes_back_at;
            let policy = async {
                match comes_back {
                    Some(time) => tokio::time::sleep_until(time).await,
                    None => pending().await,
                }
            };
            let unfinished = self.ending.as_ref().map(|ending| ending.again);
            let ending = async {
                match unfinished {
                    Some(time) => tokio::time::sleep_until(time).await,
                    None => pending().await,
                }
            };
            // Events first: a request is decided on the newest state.
            // Boxed, since a task is as large as the largest thing that it may come to do, and most wait for years.
            tokio::select! {
                biased;
                event = next => Box::pin(self.heard(event)).await,
                () = policy => Box::pin(self.come_back()).await,
                () = ending => drop(Box::pin(self.finish_ending()).await),
                command = commands.recv() => match command {
                    None | Some(Command::Leave) => return,
                    Some(command) => Box::pin(async {
                        self.catch_up().await;
                        self.obey(command).await;
                    })
                    .await,
                },
            }
        }
    }

    /// Takes in what the shim has reported already. A client that the shim has told of an end may ask for the next
    /// thing before the reactor has noticed the event.
    async fn catch_up(&mut self) {
        while let Some(event) = self.connected.as_mut().and_then(|connected| connected.events.at_hand()) {
            self.happened(event).await;
        }
    }

    async fn obey(&mut self, command: Command) {
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
            Command::Wait { condition, waiter, socket, reply } => {
                drop(reply.send(self.wait(condition, waiter, socket).await));
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

    /// Takes in what the shim's stream brought. Its end without a final exit means that the shim has died.
    async fn heard(&mut self, event: Option<Event>) {
        match event {
            Some(event) => self.happened(event).await,
            None => self.lost_shim().await,
        }
    }

    async fn happened(&mut self, event: Event) {
        let consequences = happened(self.record_mut(), &event);
        if let Some((connected, run)) = self.connected.as_mut().zip(self.record.state.run()) {
            connected.live.pid = run.pid;
        }
        self.publish();
        let origin = Origin { incarnation: event.incarnation.clone(), sequence: event.sequence };
        let news = self.engine.events_bus().is_news(&origin);
        let mut origin = Some(origin);
        for consequence in consequences {
            match consequence {
                Consequence::Announce { .. } if !news => {}
                Consequence::Announce { action, extra } => {
                    let (id, attributes) = event_attributes(&self.record, &extra);
                    let kind = api::event::kind::CONTAINER;
                    self.engine.events_bus().publish_at(
                        kind,
                        &action,
                        id,
                        attributes,
                        &event.time,
                        origin.take(),
                    );
                }
                Consequence::ExecStarted { exec, pid } => self.engine.shared().execs.started(&exec, pid),
                Consequence::Warn { message } => {
                    tracing::warn!(container = %self.record.id, name = self.record.name, "{message}");
                }
                Consequence::ExecEnded { exec, code } => self.engine.shared().execs.ended(&exec, code),
                Consequence::Arrived if news => told::arrived(&self.engine, &self.record, &event.time),
                Consequence::Left if news => told::left(&self.engine, &self.record, &event.time),
                Consequence::Arrived | Consequence::Left => {}
                Consequence::Leave => self.leave().await,
                Consequence::Settle => self.settle(event.incarnation.clone()).await,
            }
        }
    }

    /// The stream ended. A shim that still answers is subscribed to again; a dead one is cleaned up after.
    async fn lost_shim(&mut self) {
        let Some(run) = self.record.state.run().cloned() else {
            self.connected = None;
            return;
        };
        self.connected = None;
        let id = self.record.id.clone();
        let found =
            self.engine.blocking(move |engine| Ok(super::restore::observe(engine, &id, run.sequence))).await;
        match found {
            Ok(observed) => {
                let killed = observed.killed;
                self.resume(observed).await;
                let delay = life::comes_back(&self.record).filter(|_| killed && !self.removed);
                self.comes_back_at = delay.map(|delay| Instant::now() + delay);
            }
            Err(error) => tracing::error!(container = %self.record.id, %error, "cannot look for a lost shim"),
        }
    }

    /// Does what the shim would have done, had it not been killed.
    async fn come_back(&mut self) {
        self.comes_back_at = None;
        if let Err(error) = self.start(self.record.restart_count.saturating_add(1)).await {
            tracing::warn!(container = %self.record.id, %error, "cannot restart a container after its shim's end");
        }
    }

    /// Makes the record true again, given what was found of its shim.
    pub(super) async fn resume(&mut self, observed: Observed) {
        let Observed { events, connected, killed } = observed;
        if killed {
            // Also where what the shim has left could not be read: the next run has the same cgroup.
            let record = self.record.clone();
            let removed = self.engine.blocking(move |engine| {
                super::cgroups::remove(engine, &record);
                Ok(())
            });
            if let Err(error) = removed.await {
                tracing::error!(container = %self.record.id, %error, "cannot look for a cgroup");
            }
        }
        for event in events {
            self.happened(event).await;
        }
        match connected {
            Some(connected) if self.record.state.is_running() => {
                self.connected = Some(connected);
                if self.record.update_unconfirmed {
                    self.update_again().await;
                }
            }
            _ => {
                if let Some(run) = self.record.state.run().cloned() {
                    let ended = run.lost(137, crate::clock::now());
                    let extra = told::die_attributes(&ended);
                    self.record_mut().state = State::Exited(ended);
                    self.publish();
                    told::left(&self.engine, &self.record, &crate::clock::now());
                    self.leave().await;
                    self.engine.container_event(&self.record, "die", &extra);
                    self.settle(run.incarnation).await;
                }
            }
        }
    }

    /// The record, to change it. What others see stays as it is.
    pub(super) fn record_mut(&mut self) -> &mut Record {
        Arc::make_mut(&mut self.record)
    }

    /// Shows the record as it is now to everybody.
    pub(super) fn publish(&self) {
        self.view.send_replace(self.record.clone());
    }

    /// Listens to the shim until the record satisfies `condition`.
    pub(super) async fn confirm(&mut self, condition: impl Fn(&Record) -> bool) -> Result<()> {
        let deadline = Instant::now() + CONFIRMATION;
        while !condition(&self.record) {
            let Some(connected) = &mut self.connected else { break };
            let event = tokio::time::timeout_at(deadline, connected.events.next()).await.map_err(|_| {
                Error::system(format!("the shim of container {} does not answer", self.record.id))
            })?;
            // Boxed, since settling may remove, and removing may wait for a confirmation.
            Box::pin(self.heard(event)).await;
        }
        Ok(())
    }

    /// The shim of a container that must have one.
    pub(super) fn live(&self) -> Result<Live> {
        match &self.connected {
            Some(connected) => Ok(connected.live.clone()),
            None => Err(Error::conflict(format!("container {} is not running", self.record.id))),
        }
    }

    /// Sends a request to the shim on a blocking thread.
    pub(super) async fn request(
        &self,
        request: Request,
        descriptors: Vec<OwnedFd>,
    ) -> Result<(Answer, Vec<OwnedFd>)> {
        let live = self.live()?;
        self.engine.blocking(move |_| live.request(&request, &descriptors)).await
    }

    async fn start(&mut self, restarts: u32) -> Result<()> {
        life::admit_start(&self.record)?;
        // The end of the run before is still with its shim.
        self.finish_ending().await?;
        let held = std::mem::take(&mut self.held);
        let record = Record::clone(&self.record);
        let launched =
            self.engine.blocking(move |engine| Ok(launch::launch(engine, record, held, restarts))).await?;
        match launched {
            Ok(launched) => {
                self.record = Arc::new(launched.record);
                self.connected = Some(launched.connected);
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
        let configured = launch::stop_signal_configured(&self.record)?;
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
    async fn update_again(&mut self) {
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

/// Writes a record; durable when it returns.
pub(super) fn store(engine: &Engine, record: &Record) -> Result<()> {
    engine.records().write(|transaction| transaction.put(record.id.as_str(), record))?;
    Ok(())
}
