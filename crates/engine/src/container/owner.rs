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
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use shim::protocol::{Event, Happening, Reply as Answer, Request};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::commands::Command;
use super::ending::Ending;
use super::happened::{Consequence, happened};
use super::held::Held;
use super::live::{Connected, Live};
use super::record::Record;
use super::restore::Observed;
use super::spares::Spares;
use super::state::State;
use super::{Handle, MAILBOX, event_attributes, life, told};
use crate::Engine;
use crate::error::{Error, Result};
use crate::events::Origin;

/// How long the owner waits for the event that confirms what the shim has already done.
const CONFIRMATION: Duration = Duration::from_secs(10);

pub(super) struct Owner {
    pub(super) engine: Engine,
    /// The same that everybody sees, until it is changed: a container that stands has one.
    pub(super) record: Arc<Record>,
    view: watch::Sender<Arc<Record>>,
    pub(super) connected: Option<Connected>,
    pub(super) held: Held,
    pub(super) spares: Spares,
    /// The container is gone: the task ends.
    pub(super) removed: bool,
    /// Its end is one half of a restart: `--rm` does not apply to it.
    pub(super) keep: bool,
    /// So many asked for a stop that has not come to its end.
    pub(super) stops: u32,
    /// When it is started again, because its shim was killed and its policy says so. A client's wish comes first.
    pub(super) comes_back_at: Option<Instant>,
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
        let (mailbox, mut commands) = mpsc::channel(MAILBOX);
        let handle = Handle { id: record.id.clone(), view: watched, mailbox, removal: Arc::default() };
        engine.shared().containers.insert(handle.clone());
        let mut owner = Owner {
            engine: engine.clone(),
            record,
            view,
            connected,
            held: Held::default(),
            spares: Spares::default(),
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
            owner.run(&mut commands).await;
            turn_away(commands).await;
        });
        handle
    }

    async fn run(mut self, commands: &mut mpsc::Receiver<Command>) {
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

    /// Takes in what the shim's stream brought. Its end without a final exit means that the shim has died.
    async fn heard(&mut self, event: Option<Event>) {
        match event {
            Some(event) => self.happened(event).await,
            None => self.lost_shim().await,
        }
    }

    async fn happened(&mut self, event: Event) {
        // What is read in a dead shim's journal its clients may not have been told.
        if self.connected.is_some() && matches!(event.what, Happening::Exited { .. }) {
            self.spares.exited();
        }
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
                if self.connected.is_none() {
                    self.spares.answer(super::wait::code(&self.record));
                }
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
}

/// Drops what is still asked of an owner that has ended, so that nobody waits for an answer. Dropping the receiver alone
/// would leave a request in the mailbox whose sender was just putting it there.
async fn turn_away<T>(mut mailbox: mpsc::Receiver<T>) {
    mailbox.close();
    while mailbox.recv().await.is_some() {}
}

/// Writes a record; durable when it returns.
pub(super) fn store(engine: &Engine, record: &Record) -> Result<()> {
    engine.records().write(|transaction| transaction.put(record.id.as_str(), record))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn who_was_just_asking_when_the_owner_ended_is_turned_away() {
        let (mailbox, requests) = mpsc::channel(2);
        let (early, answer_to_early) = oneshot::channel::<()>();
        let (late, answer_to_late) = oneshot::channel::<()>();
        mailbox.send(early).await.unwrap();
        let place = mailbox.reserve().await.unwrap();
        let turning_away = tokio::spawn(turn_away(requests));
        assert!(answer_to_early.await.is_err());
        place.send(late);
        // The mailbox stands as long as somebody may ask: only a request that was taken out of it is answered.
        assert!(tokio::time::timeout(CONFIRMATION, answer_to_late).await.unwrap().is_err());
        turning_away.await.unwrap();
        assert!(mailbox.is_closed());
    }
}
