//! Clients that wait for an exit (`docker wait`, `docker run`). The head of the answer is sent at once, the body
//! when the time has come, and then the connection ends, whoever else holds it.

use std::fs::File;
use std::os::fd::OwnedFd;

use linux::poll::Interest;

use super::Supervisor;
use super::outbox::Outbox;
use super::reactor::{Id, Source, Watch};
use crate::protocol::{Failure, WaitUntil, Waiter as Wanted};

pub(super) struct Waiter {
    socket: File,
    watch: Watch,
    /// Its preface is in the outbox.
    wanted: Wanted,
    outbox: Outbox,
    answered: bool,
}

impl Supervisor {
    pub(super) fn wait_for_exit(&mut self, socket: OwnedFd, mut wanted: Wanted) -> Result<(), Failure> {
        super::room_for(self.waiters.len())?;
        linux::fd::set_nonblocking(&socket, true).map_err(|error| super::other(&error))?;
        let id = self.next_id();
        let mut outbox = Outbox::default();
        outbox.push(&std::mem::take(&mut wanted.preface));
        let watch = Watch::new(Source::Waiter(id));
        let until = wanted.until;
        let waiter = Waiter { socket: File::from(socket), watch, wanted, outbox, answered: false };
        self.waiters.insert(id, waiter);
        if let Some(code) = self.final_code()
            && until == WaitUntil::Exit
        {
            self.answer(id, code);
        }
        self.waiter_ready(id, false);
        Ok(())
    }

    /// Answers all who wait for this.
    pub(super) fn answer_waiters(&mut self, until: WaitUntil, code: i32) {
        let ids: Vec<Id> = self
            .waiters
            .iter()
            .filter(|(_, waiter)| waiter.wanted.until == until)
            .map(|(id, _)| *id)
            .collect();
        for id in ids {
            self.answer(id, code);
            self.waiter_ready(id, false);
        }
    }

    /// Whether a client waits for this.
    pub(super) fn awaits(&self, until: WaitUntil) -> bool {
        self.waiters.values().any(|waiter| waiter.wanted.until == until)
    }

    fn answer(&mut self, id: Id, code: i32) {
        if let Some(waiter) = self.waiters.get_mut(&id)
            && !waiter.answered
        {
            waiter.answered = true;
            waiter.outbox.push(&waiter.wanted.body(code));
        }
    }

    pub(super) fn waiter_ready(&mut self, id: Id, hangup: bool) {
        let Some(waiter) = self.waiters.get_mut(&id) else { return };
        let failed = hangup || waiter.outbox.flush(&waiter.socket).is_err();
        let sent = waiter.outbox.is_empty();
        let interest = if sent { Interest::NONE } else { Interest::WRITE };
        let over = failed || (sent && waiter.answered);
        let over = over || waiter.watch.set(&self.poll, &waiter.socket, Some(interest)).is_err();
        if over && let Some((_, socket)) = self.take_waiter(id) {
            super::part(socket);
        }
    }

    /// Those who wait for the removal, which the engine will tell them: their heads are sent.
    pub(super) fn hand_over_waiters(&mut self) -> Vec<(Wanted, OwnedFd)> {
        let ids: Vec<Id> = self
            .waiters
            .iter()
            .filter(|(_, waiter)| {
                waiter.wanted.until == WaitUntil::Removed && !waiter.answered && waiter.outbox.is_empty()
            })
            .map(|(id, _)| *id)
            .collect();
        let taken = ids.into_iter().filter_map(|id| self.take_waiter(id));
        taken.map(|(wanted, socket)| (wanted, OwnedFd::from(socket))).collect()
    }

    fn take_waiter(&mut self, id: Id) -> Option<(Wanted, File)> {
        let mut waiter = self.waiters.remove(&id)?;
        let _ = waiter.watch.set(&self.poll, &waiter.socket, None);
        Some((waiter.wanted, waiter.socket))
    }
}
