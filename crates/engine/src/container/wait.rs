//! Waiting for a container's end.

use std::os::fd::OwnedFd;

use api::container::WaitCondition;
use shim::protocol::Waiter;

use super::record::Record;
use super::state::State;
use crate::Engine;
use crate::error::Result;
use crate::ticket::{self, Ticket, What};

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    pub code: i64,
}

/// Either it has ended already, or the client's socket is needed to tell it later.
pub enum WaitOutcome {
    Ready(Exit),
    Ticket(Ticket),
}

impl Engine {
    pub async fn container_wait(&self, wanted: &str, condition: WaitCondition) -> Result<WaitOutcome> {
        let container = self.container(wanted)?;
        let record = container.record();
        if condition == WaitCondition::NotRunning && !record.state.is_running() {
            return Ok(WaitOutcome::Ready(Exit { code: code(&record).into() }));
        }
        Ok(WaitOutcome::Ticket(Ticket { engine: self.clone(), container, what: What::Wait(condition) }))
    }
}

/// What a wait is told: the last exit, 0 for a container that never ran.
pub(super) fn code(record: &Record) -> i32 {
    match &record.state {
        State::Created { failure: Some(failure) } => failure.code,
        state => state.ended().map_or(0, |ended| ended.code),
    }
}

/// Tells a client whose container ended in the meantime.
pub(crate) fn answer(record: &Record, waiter: Waiter, socket: OwnedFd) -> Result<()> {
    let body = format!("{{\"StatusCode\":{}}}\n", code(record));
    ticket::answer(socket, &[&waiter.preface, body.as_bytes()])
}
