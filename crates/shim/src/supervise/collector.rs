//! The collector that the log goes to: its connection in the loop, and the container that may have to wait for it.
//!
//! The container's output is not read while the queue is full (see [`crate::log::remote`] for when that is), so that
//! its pipe fills and it waits, as under Docker. After its end the queue is sent on: until everything is through, or
//! ten seconds after the engine has released us, which is what Docker waits, too.

use std::time::Duration;

use linux::poll::Interest;

use super::Supervisor;
use super::reactor::{Alarm, Source, Watch};
use crate::log::{Loss, Remote};
use crate::protocol::Happening;

const LINGER: Duration = Duration::from_secs(10);

pub(super) struct Collector {
    pub(super) remote: Remote,
    watch: Watch,
    /// Which of the remote's connections `watch` is for.
    connection: u64,
    /// The container waits for it.
    full: bool,
    /// Records are being dropped.
    losing: bool,
}

impl Collector {
    pub(super) fn new(remote: Remote) -> Collector {
        let (connection, full, losing) = (0, false, false);
        Collector { remote, watch: Watch::new(Source::Collector(0)), connection, full, losing }
    }
}

impl Supervisor {
    pub(super) fn collector_ready(&mut self, connection: u64, readable: bool) {
        let Some(collector) = &mut self.collector else { return };
        // An event of a connection that was closed meanwhile.
        if collector.connection == connection {
            collector.remote.ready(readable);
        }
        self.watch_collector();
    }

    /// Records were added, or it is time to try again.
    pub(super) fn pump_collector(&mut self) {
        if let Some(collector) = &mut self.collector {
            collector.remote.pump();
            self.watch_collector();
        }
    }

    fn watch_collector(&mut self) {
        let Some(collector) = &mut self.collector else { return };
        match collector.remote.interest() {
            Some((socket, connection, interest)) => {
                // Closing took the last one out of the loop.
                if collector.connection != connection {
                    collector.watch = Watch::new(Source::Collector(connection));
                    collector.connection = connection;
                }
                // What cannot be watched is tried again by the clock.
                let _ = collector.watch.set(&self.poll, socket, Some(interest));
            }
            None => {
                if let Some(socket) = collector.remote.socket() {
                    let _ = collector.watch.set(&self.poll, socket, None::<Interest>);
                }
            }
        }
        match collector.remote.wake_after() {
            Some(after) => self.alarms.set(Alarm::Collector, after),
            None => self.alarms.cancel(Alarm::Collector),
        }
        self.tell_collectors_loss();
        self.follow_collector();
    }

    /// Once when it begins, and once more with the sum when everything is through again.
    fn tell_collectors_loss(&mut self) {
        let Some(collector) = &mut self.collector else { return };
        let told = match (collector.remote.take_loss(), collector.losing) {
            (Some(loss), false) => Some(loss),
            (None, true) if collector.remote.is_empty() => Some(collector.remote.loss().clone()),
            _ => None,
        };
        let Some(Loss { records, bytes, error }) = told else { return };
        collector.losing = !collector.losing;
        self.record(Happening::LogLost { records, bytes, error });
    }

    /// The container begins or ceases to wait.
    fn follow_collector(&mut self) {
        let Some(collector) = &mut self.collector else { return };
        let full = collector.remote.is_full();
        if std::mem::replace(&mut collector.full, full) != full
            && let Some(main) =
                self.processes.iter().find(|(_, process)| process.is_main()).map(|(id, _)| *id)
        {
            self.listen(main);
        }
    }

    /// Whether the container's output has to wait for the collector.
    pub(super) fn collector_is_full(&self) -> bool {
        self.collector.as_ref().is_some_and(|collector| collector.full)
    }

    /// The engine wants no more of us: what is left is sent for a while.
    pub(super) fn let_collector_finish(&mut self) {
        if !self.collector_is_through() {
            self.alarms.set(Alarm::Linger, LINGER);
        }
    }

    pub(super) fn give_collector_up(&mut self) {
        if let Some(collector) = &mut self.collector {
            collector.remote.give_up();
        }
        self.watch_collector();
    }

    pub(super) fn collector_is_through(&self) -> bool {
        self.collector.as_ref().is_none_or(|collector| collector.remote.is_empty())
    }
}
