//! Second holds on the clients that wait at the shim for an end: should it be killed before it could tell them, they are
//! told from here, with the code that is recorded.
//!
//! ```text
//!   wait, launch ─▶ kept ─┬─ the shim tells of an exit ───────▶ let go: it answers them, and closes for both
//!                         ├─ it hands back, or is let go ─────▶ let go
//!                         └─ it is dead ──────────────────────▶ answered; who waits for the removal is held
//! ```
//!
//! Only the engine that gave a client away has such a hold. Behind an engine that was killed, whoever waits at a shim that
//! is killed, too, sees the connection end without an answer.

use std::os::fd::OwnedFd;

use shim::protocol::{WaitUntil, Waiter};

use super::held::{self, LIMIT};

#[derive(Default)]
pub(super) struct Spares(Vec<(Waiter, OwnedFd)>);

impl Spares {
    /// Of those who travelled with a launch.
    pub(super) fn new(waiters: Vec<(Waiter, OwnedFd)>) -> Spares {
        Spares(waiters)
    }

    /// Keeps hold of a client whose head is sent. One too many is served by the shim all the same.
    pub(super) fn keep(&mut self, waiter: Waiter, socket: OwnedFd) {
        self.0.retain(|(_, socket)| !held::hung_up(socket));
        if self.0.len() < LIMIT {
            self.0.push((waiter, socket));
        }
    }

    /// The shim has told of an exit, and tells those who wait for one.
    pub(super) fn exited(&mut self) {
        self.0.retain(|(waiter, _)| waiter.until != WaitUntil::Exit);
    }

    /// The shim is dead: who waited for an exit is told. A client that it has answered by itself cannot be written to any
    /// more.
    pub(super) fn answer(&mut self, code: i32) {
        for (waiter, socket) in self.0.extract_if(.., |(waiter, _)| waiter.until == WaitUntil::Exit) {
            held::answer(&waiter, socket, code);
        }
    }

    /// Those who wait for the removal, which no shim will tell them.
    pub(super) fn take_removed(&mut self) -> impl Iterator<Item = (Waiter, OwnedFd)> {
        self.0.extract_if(.., |(waiter, _)| waiter.until == WaitUntil::Removed)
    }

    /// The shim has answered everybody, or handed them back.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::Shutdown;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn keep(spares: &mut Spares, until: WaitUntil) -> (UnixStream, UnixStream) {
        let (client, ours) = UnixStream::pair().unwrap();
        let shims = ours.try_clone().unwrap();
        spares.keep(Waiter { until, preface: Vec::new(), chunked: false }, ours.into());
        (client, shims)
    }

    fn read(mut client: UnixStream) -> String {
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn who_waits_at_a_dead_shim_is_told() {
        let mut spares = Spares::default();
        let (exit, _) = keep(&mut spares, WaitUntil::Exit);
        let (removed, _) = keep(&mut spares, WaitUntil::Removed);
        spares.answer(137);
        assert_eq!(read(exit), "{\"StatusCode\":137}\n");
        assert_eq!(spares.take_removed().count(), 1);
        assert_eq!(read(removed), "");
    }

    #[test]
    fn who_was_answered_by_the_shim_is_not_answered_again() {
        let mut spares = Spares::default();
        let (client, shims) = keep(&mut spares, WaitUntil::Exit);
        shims.shutdown(Shutdown::Write).unwrap();
        spares.answer(137);
        assert_eq!(read(client), "");
    }

    #[test]
    fn nothing_is_kept_of_those_who_left_or_were_told() {
        let mut spares = Spares::default();
        for _ in 0..LIMIT * 2 {
            keep(&mut spares, WaitUntil::Exit);
        }
        // Not one at most: for a moment a process that another test starts has what was open then.
        assert!(spares.0.len() < LIMIT, "{}", spares.0.len());
        let (_waits, _) = keep(&mut spares, WaitUntil::Removed);
        spares.exited();
        assert_eq!(spares.0.len(), 1);
    }
}
