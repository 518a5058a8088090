//! Waiting for a container's end.

use std::os::fd::OwnedFd;

use api::container::WaitCondition;
use shim::protocol::{WaitUntil, Waiter};

use super::record::Record;
use super::state::State;
use crate::Engine;
use crate::error::Result;
use crate::ticket::{self, Preface, Ticket, What};

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

/// A client, and what it is to be sent first. `chunks`: whoever will answer it knows them.
pub(super) fn waiter(condition: WaitCondition, preface: Preface, chunks: bool) -> Waiter {
    let until = match condition {
        WaitCondition::NotRunning | WaitCondition::NextExit => WaitUntil::Exit,
        WaitCondition::Removed => WaitUntil::Removed,
    };
    let (preface, chunked) = preface.choose(chunks);
    Waiter { until, preface, chunked }
}

/// Tells a client whose container was removed in the meantime.
pub(crate) fn answer(
    record: &Record,
    condition: WaitCondition,
    preface: Preface,
    socket: OwnedFd,
) -> Result<()> {
    let waiter = waiter(condition, preface, true);
    ticket::answer(socket, &[&waiter.preface, &waiter.body(code(record))])
}
