//! Clients that wait for an end, as `docker wait` and `docker run` do. Their sockets lie with the engine while a container
//! does not run and with its shim while it does, and go back and forth with each start and each end. Whoever waits is told
//! once, and of an end that came after the question.

use std::io::{ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use api::container::{Status, WaitCondition};
use engine::{Client, Engine, Error, Preface, WaitOutcome};

use crate::world::World;

const HEAD: &str = "head\n";
/// For a body in chunks.
const CHUNKED: &str = "chunked head\n";

/// A client that waits.
pub(crate) struct Wait {
    container: String,
    condition: WaitCondition,
    socket: UnixStream,
    read: String,
    closed: bool,
    /// How many ends the container had when it began.
    after: usize,
    /// It ended just before, and was about to start again: if that never comes, that end is the one to tell.
    restarting: bool,
    /// Its container was removed meanwhile: then it is told how the last run ended, if there was one.
    removed: bool,
    /// The shim of its container was killed: that is an end.
    killed: bool,
    /// The engine that gave it to a shim has ended since: none holds it should the shim be killed.
    behind_its_engine: bool,
    /// It may have been lost: with the engine that held it, or with the shim.
    excused: bool,
}

pub(crate) async fn ask(
    engine: &Engine,
    world: &World,
    name: &str,
    condition: WaitCondition,
) -> Result<(), Error> {
    let shown = engine.container_inspect(name, false).await?;
    let container = shown.id;
    let WaitOutcome::Ticket(ticket) = engine.container_wait(name, condition).await? else { return Ok(()) };
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let after = world.host().exits(&container).len();
    let wait = Wait {
        container,
        condition,
        socket: ours,
        read: String::new(),
        closed: false,
        after,
        restarting: shown.state.status == Status::Restarting,
        removed: false,
        killed: false,
        behind_its_engine: false,
        // Until it is acknowledged.
        excused: true,
    };
    // Every other one knows chunks.
    let preface = |number: u64| Preface {
        plain: HEAD.into(),
        chunked: number.is_multiple_of(2).then(|| CHUNKED.into()),
    };
    let number = {
        let mut host = world.host();
        host.waits_so_far += 1;
        let number = host.waits_so_far;
        host.waits.insert(number, wait);
        number
    };
    let client = Client { socket: OwnedFd::from(theirs), preface: preface(number), unread: Vec::new() };
    ticket.deliver(client).await?;
    if let Some(wait) = world.host().waits.get_mut(&number) {
        wait.excused = false;
    }
    Ok(())
}

impl World {
    /// An engine has ended. What it held itself is lost with it; what a shim has is not.
    pub(crate) fn engine_is_gone(&self) {
        let mut host = self.host();
        let with_shims: Vec<String> = {
            let living = host.shims.values().filter(|shim| shim.life.final_code().is_none());
            living.map(|shim| shim.container.clone()).collect()
        };
        for wait in host.waits.values_mut() {
            wait.excused |= !with_shims.contains(&wait.container);
            wait.behind_its_engine = true;
        }
    }

    /// Whoever waits in vain, or was told something wrong.
    pub(crate) fn check_waits(&self, standing: &[String], failed: bool) -> Result<(), String> {
        let mut host = self.host();
        let mut waits = std::mem::take(&mut host.waits);
        let mut broken = Ok(());
        for wait in waits.values_mut() {
            wait.excused |= failed;
            wait.removed |= !standing.contains(&wait.container);
            wait.look();
            broken = broken.and(wait.check(&host.exits(&wait.container)));
        }
        waits.retain(|_, wait| !wait.closed);
        host.waits = waits;
        broken
    }

    /// The shim of this container is killed before it could tell of an end: the engine does, if it was this one that gave
    /// it the client. Behind an earlier one who waits sees the end of the connection.
    pub(crate) fn shim_is_killed(&self, container: &str) {
        for wait in self.host().waits.values_mut().filter(|wait| wait.container == container) {
            wait.killed = true;
            wait.excused |= wait.behind_its_engine;
        }
    }

    /// The whole host is.
    pub(crate) fn waits_are_lost(&self) {
        for wait in self.host().waits.values_mut() {
            wait.excused = true;
        }
    }
}

impl Wait {
    fn look(&mut self) {
        let mut bytes = [0; 256];
        loop {
            match self.socket.read(&mut bytes) {
                Ok(0) => self.closed = true,
                Ok(count) => {
                    self.read += std::str::from_utf8(&bytes[..count]).unwrap();
                    continue;
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            return;
        }
    }

    fn check(&self, exits: &[i32]) -> Result<(), String> {
        let said = |what: &str| {
            let Wait { container, condition, read, closed, .. } = self;
            Err(format!("who waits for {container} ({condition:?}) has {read:?}, closed: {closed}: {what}"))
        };
        let since = exits.get(self.after..).unwrap_or_default();
        let chunks = self.read.strip_prefix(CHUNKED);
        let Some(body) = chunks.or_else(|| self.read.strip_prefix(HEAD)) else {
            return if self.excused { Ok(()) } else { said("no head") };
        };
        if body.is_empty() {
            let over = match self.condition {
                WaitCondition::Removed => self.removed,
                WaitCondition::NotRunning | WaitCondition::NextExit => {
                    self.removed || self.killed || !since.is_empty()
                }
            };
            return match self.excused || !over && !self.closed {
                true => Ok(()),
                false => said("it was not told"),
            };
        }
        let body = match chunks {
            None => Some(body),
            Some(_) => body.split_once("\r\n").and_then(|(_, rest)| rest.strip_suffix("\r\n0\r\n\r\n")),
        };
        let document = body.and_then(|body| body.strip_prefix("{\"StatusCode\":"));
        let told = document.and_then(|rest| rest.strip_suffix("}\n"));
        let Some(code) = told.and_then(|code| code.parse::<i32>().ok()) else {
            return said("that is not one answer");
        };
        if !self.closed {
            return said("its connection stays open");
        }
        // Found by the engine: a shim that was killed, a start that came to nothing.
        let of_engine = matches!(code, 126..=128 | 137 | 255);
        let before = exits.get(..self.after).and_then(<[i32]>::last).filter(|_| self.restarting);
        match self.removed || of_engine || since.contains(&code) || before == Some(&code) {
            true => Ok(()),
            false => said(&format!("it ended with {since:?} since")),
        }
    }
}
