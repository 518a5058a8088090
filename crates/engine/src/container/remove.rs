//! The end of a container: its record first, then its files.
//!
//! The record is what promises that a container exists. It goes in one transaction with the name; whatever a crash
//! leaves behind after that belongs to nobody and is swept when an engine opens (see `restore`).

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use super::commands::Command;
use super::live::Live;
use super::owner::Owner;
use super::record::{MountKind, NAMES, Record};
use super::state::State;
use super::{launch, leftovers};
use crate::error::{Error, Result};
use crate::{Engine, networks};
use shim::protocol::{Reply as Answer, Request, WaitUntil, Waiter};
use store::fault;
use store::records::Durability;

/// What goes with a container, and whether it may still run.
#[derive(Debug, Clone, Copy, Default)]
pub struct RemoveOptions {
    /// Kill it first if it runs.
    pub force: bool,
    /// With its anonymous volumes.
    pub volumes: bool,
    /// Only the link of that name, `container/alias`.
    pub link: bool,
}

impl Engine {
    pub async fn container_remove(&self, wanted: &str, options: RemoveOptions) -> Result<()> {
        if options.link {
            return self.container_unlink(wanted).await;
        }
        let container = self.container(wanted)?;
        let Ok(_alone) = container.removal.try_lock() else {
            return Err(Error::conflict(format!("removal of container {wanted} is already in progress")));
        };
        let RemoveOptions { force, volumes, .. } = options;
        let wanted = wanted.to_owned();
        container.ask(|reply| Command::Remove { wanted, force, volumes, reply }).await
    }

    /// Takes a link back, which is named by its owner and its alias.
    async fn container_unlink(&self, wanted: &str) -> Result<()> {
        let Some((owner, alias)) = wanted.trim_start_matches('/').rsplit_once('/') else {
            self.container(wanted)?;
            return Err(Error::system("Conflict, cannot remove the default link name of the container"));
        };
        let gone = format!("No such container: {wanted}");
        let container = self.container(owner).map_err(|_| Error::not_found(gone.clone()))?;
        let (alias, engine) = (alias.to_owned(), self.clone());
        container
            .edit(move |record, live| {
                let before = record.clone();
                let links = record.host.links.as_mut();
                let found = links.and_then(|links| {
                    let at = links.iter().position(|link| networks::parse_link(link).1 == alias)?;
                    links.remove(at);
                    Some(links.is_empty())
                });
                if found.ok_or_else(|| Error::not_found(gone))? {
                    record.host.links = None;
                }
                match live {
                    Some(live) => engine.shared().networks.unlinked(&engine, &before, record, live),
                    None => Ok(()),
                }
            })
            .await
    }
}

impl Owner {
    /// Removes a container that does not run. `live` is the shim to let go, if its run has only just ended.
    pub(super) async fn remove_now(&mut self, volumes: bool, live: Option<Live>) -> Result<()> {
        // One that could not be started has a code, too.
        let code = super::wait::code(&self.record);
        let ended = self.record.state.ended().cloned();
        let before = std::mem::replace(&mut self.record_mut().state, State::Removing { ended });
        self.publish();
        let record = self.record.clone();
        let forgotten = self.engine.blocking(move |engine| forget(engine, &record, volumes)).await;
        if let Err(error) = forgotten {
            self.record_mut().state = before;
            self.publish();
            return Err(error.within(format!("cannot remove container \"/{}\"", self.record.name)));
        }
        fault::passed("remove: forgotten");
        self.removed = true;
        self.engine.shared().containers.remove(&self.record.id);
        // One that goes by itself goes before those who ran something in it have asked how that ended.
        if !self.record.host.auto_remove {
            self.engine.shared().execs.forget(&self.record.id);
        }
        if volumes {
            self.discard_anonymous().await;
        }
        // Who waits for the removal finds it told.
        self.engine.container_event(&self.record, "destroy", &[]);
        self.release(live, true).await;
        self.held.dismiss(code);
        let id = self.record.id.clone();
        let engine = self.engine.clone();
        // Files can be many; nobody needs to wait for their end.
        self.engine.shared().effects.work(Box::new(move || leftovers::sweep(&engine, id.as_str())));
        Ok(())
    }

    /// Before anybody hears of the removal: whoever lists volumes next must not see them.
    async fn discard_anonymous(&self) {
        let record = self.record.clone();
        if anonymous(&record).next().is_none() {
            return;
        }
        let discarded = self.engine.blocking(move |engine| {
            remove_anonymous(engine, &record);
            Ok(())
        });
        if let Err(error) = discarded.await {
            tracing::error!(%error, "cannot remove a container's anonymous volumes");
        }
    }
}

/// The record, the name and everything else that promises the container, in one commit. Volumes that go with it are
/// marked in the same one.
fn forget(engine: &Engine, record: &Record, volumes: bool) -> Result<()> {
    engine.records().write_as(durability(record), |transaction| {
        transaction.remove::<Record>(record.id.as_str())?;
        if volumes {
            engine.shared().volumes.doom(transaction, anonymous(record), &record.id)?;
        }
        engine.images().snapshots().forget(transaction, record.id.as_str())?;
        transaction.release_all(NAMES, record.id.as_str())
    })?;
    Ok(())
}

/// What a record's beginning and end wait for. One that ends with its run need not outlive a power cut, and if it comes
/// back from one it is removed then.
pub(super) fn durability(record: &Record) -> Durability {
    if record.host.auto_remove { Durability::Behind } else { Durability::Durable }
}

fn remove_anonymous(engine: &Engine, record: &Record) {
    for name in anonymous(record) {
        // Another container may have it by `--volumes-from`: then it stays, as Docker leaves it.
        if let Err(error) = engine.volume_discard(name) {
            tracing::warn!(volume = name, %error, "cannot remove an anonymous volume");
            engine.shared().containers.leftovers.note(record.id.as_str());
        }
    }
}

fn anonymous(record: &Record) -> impl Iterator<Item = &str> {
    record.mounts.iter().filter_map(|mount| match &mount.kind {
        MountKind::Volume { name, anonymous: true, .. } => Some(name.as_str()),
        _ => None,
    })
}

/// Removes a tree that may be absent.
pub(super) fn remove_directory(path: &Path) -> io::Result<()> {
    linux::fault::io("remove a directory")?;
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Tells the shim that its container's end is recorded, and removes what it leaves in the runtime root. Clients that
/// wait for a removal that has not come yet are handed back; nothing is, where there is no shim any more.
pub(super) fn release(
    engine: &Engine,
    id: &str,
    live: Option<&Live>,
    removed: bool,
) -> Option<Vec<(Waiter, OwnedFd)>> {
    let released = live.map(|live| {
        let request = Request::Release { removed, waiters: live.writes_chunks() };
        live.request(&request, &[])
    });
    fault::passed("release: the shim may go");
    launch::remove_runtime(engine, id);
    match released? {
        Ok((Answer::Released { waiters }, sockets)) => Some(waiters.into_iter().zip(sockets).collect()),
        Ok((_, sockets)) => {
            let waiter = Waiter { until: WaitUntil::Removed, preface: Vec::new(), chunked: false };
            Some(sockets.into_iter().map(|socket| (waiter.clone(), socket)).collect())
        }
        Err(error) => {
            tracing::debug!(container = id, %error, "a shim was gone before it was released");
            None
        }
    }
}
