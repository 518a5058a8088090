//! The end of a run: its network goes back, its end is remembered, its shim may go. In this order, because until the
//! end is stored the shim is the only one that knows it.
//!
//! ```text
//!  exit ─▶ leave the network ─▶ tell it ─▶ store the record ─────────────▶ release the shim ─▶ forget its events
//!                                              │      ▲ every few seconds, and before a start
//!                                              └──────┘ a full disk, an I/O error: the shim waits
//! ```
//!
//! An engine that is killed meanwhile finds a shim whose container has exited, and comes here again.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::live::Live;
use super::owner::{Owner, store};
use super::record::Record;
use super::{launch, remove};
use crate::error::Result;

/// How long until an end is stored again that could not be: the disk is full, and somebody has to make room.
const AGAIN: Duration = Duration::from_secs(5);

/// A run that is over, and not remembered yet.
pub(super) struct Ending {
    /// The shim, unless it was killed.
    pub(super) live: Option<Live>,
    /// The container goes with its run.
    auto_remove: bool,
    incarnation: String,
    /// When to try again.
    pub(super) again: Instant,
}

impl Owner {
    /// The final exit of this run has been taken in: what it took from the host is given back. Who asked for the end
    /// has it now.
    pub(super) async fn leave(&mut self) {
        self.engine.shared().execs.container_ended(&self.record.id);
        let mut record = Record::clone(&self.record);
        let left = self.engine.blocking(move |engine| {
            launch::leave(engine, &mut record);
            Ok(record)
        });
        match left.await {
            Ok(record) => self.record = Arc::new(record),
            Err(error) => tracing::error!(container = %self.record.id, %error, "cannot leave the network"),
        }
        self.publish();
        for _ in 0..std::mem::take(&mut self.stops) {
            self.engine.container_event(&self.record, "stop", &[]);
        }
    }

    /// That end is told.
    pub(super) async fn settle(&mut self, incarnation: String) {
        let live = self.connected.take().map(|connected| connected.live);
        let auto_remove = self.record.host.auto_remove && !std::mem::take(&mut self.keep);
        self.ending = Some(Ending { live, auto_remove, incarnation, again: Instant::now() });
        if let Err(error) = self.finish_ending().await {
            tracing::error!(container = %self.record.id, %error, "cannot record an exit; its shim keeps it meanwhile");
        }
    }

    /// Stores the end of a run and lets its shim go. Nothing to do when there is none; when it fails, the shim stays.
    pub(super) async fn finish_ending(&mut self) -> Result<()> {
        let Some(ending) = self.ending.take() else { return Ok(()) };
        let done = if ending.auto_remove {
            self.remove_now(true, ending.live.clone()).await
        } else {
            let record = self.record.clone();
            self.engine.blocking(move |engine| store(engine, &record)).await
        };
        if let Err(error) = done {
            self.ending = Some(Ending { again: Instant::now() + AGAIN, ..ending });
            return Err(error);
        }
        store::fault::passed("end: stored");
        if !ending.auto_remove {
            self.release(ending.live, false).await;
        }
        // This run's events will not come again.
        self.engine.events_bus().forget(&ending.incarnation);
        Ok(())
    }

    /// Lets the shim go and removes its directory. Who waits for the removal of a container that stays is held here
    /// from now on.
    pub(super) async fn release(&mut self, live: Option<Live>, removed: bool) {
        let id = self.record.id.clone();
        let released = self
            .engine
            .blocking(move |engine| Ok(remove::release(engine, id.as_str(), live.as_ref(), removed)))
            .await;
        match released {
            Ok(Some(waiting)) => {
                self.spares.clear();
                self.held.take_over(waiting.into_iter());
            }
            // It is not there to hand anybody back.
            Ok(None) => self.held.take_over(self.spares.take_removed()),
            Err(error) => tracing::error!(container = %self.record.id, %error, "cannot release a shim"),
        }
    }
}
