//! Containers: the table of all of them, and the way to each one's owner.
//!
//! One task owns one container ([`owner`]). It alone changes the record, talks to the shim and decides what happens
//! next; requests reach it through a mailbox, one at a time. Everybody else reads the newest immutable [`Record`],
//! so a listing never waits for a slow container. A request whose client goes away still runs to its end: half a
//! start would be worse than an unwanted one.

mod archive;
mod attach;
mod bind;
mod cgroups;
mod clients;
mod commands;
mod commit;
mod create;
mod defaults;
mod edit;
mod ending;
mod files;
mod happened;
mod health;
mod held;
mod inspect;
mod launch;
mod leftovers;
mod life;
mod list;
mod live;
mod logs;
mod mounts;
mod owner;
mod prune;
mod record;
mod refusals;
mod remove;
mod restore;
mod rootfs;
mod spares;
mod state;
mod stats;
mod status;
mod storage;
mod stream;
mod told;
mod top;
mod users;
mod validate;
mod wait;

use std::collections::{BTreeMap, HashMap};
use std::os::fd::OwnedFd;
use std::sync::{Arc, PoisonError, RwLock};

use shim::protocol::{Attachment, LogQuery};
use tokio::sync::{mpsc, oneshot, watch};

pub use archive::{Archive, ArchiveStat, PutOptions};
pub use attach::AttachOptions;
pub(crate) use attach::detach_keys;
pub(crate) use bind::Bound;
pub(crate) use cgroups::remove_parent as remove_cgroup_parent;
pub(crate) use commands::{Command, ExecStarted};
pub use commit::CommitOptions;
pub use create::CreateOptions;
pub(crate) use files::{owner as owner_of_files, rewrite as rewrite_files};
pub(crate) use life::admit_exec;
pub use list::ListOptions;
pub(crate) use live::Live;
pub use logs::validate as validate_logging;
pub(crate) use logs::{bytes, drivers as log_drivers};
pub(crate) use mounts::{check_volume_name, clean};
pub(crate) use prune::until;
#[cfg(test)]
pub(crate) use record::tests::record as test_record;
pub(crate) use record::{MountKind, Record};
pub use remove::RemoveOptions;
pub(crate) use rootfs::{Databases, database, opened_database};
pub(crate) use state::State;
pub(crate) use users::{Users, beside as users_beside, probe as probe_users};
pub(crate) use validate::exposed as check_exposed;
pub(crate) use wait::answer as answer_wait;
pub use wait::{Exit, WaitOutcome};

use crate::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::identity::ContainerId;
use crate::ticket::Preface;

/// Requests that may wait for one container's owner. More clients than this at one container are told to wait by
/// back-pressure: their connections simply do not advance.
const MAILBOX: usize = 64;

/// The answer to one request.
pub(crate) type Reply<T> = oneshot::Sender<Result<T>>;

/// The way to a container: its newest record, and its owner's mailbox.
#[derive(Clone)]
pub(crate) struct Handle {
    pub(crate) id: ContainerId,
    view: watch::Receiver<Arc<Record>>,
    mailbox: mpsc::Sender<Command>,
    /// Held by the request that removes it: another one is told so, and does not wait.
    removal: Arc<tokio::sync::Mutex<()>>,
}

/// Every container of this engine.
#[derive(Default)]
pub(crate) struct Table {
    index: RwLock<Index>,
    leftovers: leftovers::Leftovers,
}

#[derive(Default)]
struct Index {
    by_id: BTreeMap<ContainerId, Handle>,
    by_name: HashMap<String, ContainerId>,
}

impl Handle {
    /// The container as it is now.
    pub(crate) fn record(&self) -> Arc<Record> {
        self.view.borrow().clone()
    }

    /// Asks the owner; a container that is gone is not found.
    pub(crate) async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        let gone = || Error::not_found(format!("No such container: {}", self.id));
        self.mailbox.send(command(reply)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// Waits until the record satisfies `condition`; none when the container is removed before.
    pub(crate) async fn until(&self, condition: impl FnMut(&Arc<Record>) -> bool) -> Option<Arc<Record>> {
        let mut view = self.view.clone();
        view.wait_for(condition).await.ok().as_deref().cloned()
    }

    /// Waits until the owner has dealt with everything that has happened so far; one that is gone has.
    pub(crate) async fn settled(&self) {
        let _ = self.ask(|reply| Command::Settled { reply }).await;
    }

    /// Ends the owner without touching the container.
    pub(crate) async fn leave(&self) {
        // One that is gone has left already.
        let _ = self.mailbox.send(Command::Leave).await;
    }

    pub(crate) async fn attach(
        &self,
        engine: &Engine,
        attachment: Attachment,
        socket: OwnedFd,
    ) -> Result<()> {
        let attachment = Box::new(attachment);
        let left = self.ask(|reply| Command::Attach { attachment, socket, reply }).await?;
        // No shim: the log is sent from here, and only what comes after it is waited for.
        let Some((mut attachment, socket)) = left else { return Ok(()) };
        let socket = logs::replay(engine, &self.record(), &mut attachment, socket).await?;
        if !attachment.live {
            return Ok(());
        }
        match self.ask(|reply| Command::Attach { attachment, socket, reply }).await {
            // Removed since: its log has been sent, and nothing comes after that.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            attached => attached.map(drop),
        }
    }

    pub(crate) async fn wait(
        &self,
        condition: api::container::WaitCondition,
        preface: Preface,
        socket: OwnedFd,
    ) -> Result<()> {
        self.ask(|reply| Command::Wait { condition, preface, socket, reply }).await
    }

    pub(crate) async fn logs(
        &self,
        engine: &Engine,
        query: LogQuery,
        preface: Preface,
        socket: OwnedFd,
    ) -> Result<()> {
        let left = self.ask(|reply| Command::Logs { query: query.clone(), preface, socket, reply }).await?;
        match left {
            // The shim writes, as long as the container runs.
            None => Ok(()),
            // No shim: the file is all there is.
            Some((preface, socket)) => logs::serve(engine, &self.record(), query, preface, socket).await,
        }
    }

    /// Changes the record inside the owner, then stores and publishes it. `live` is there while the container runs.
    pub(crate) async fn edit<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Record, Option<&Live>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (sender, receiver) = oneshot::channel();
        self.ask(|reply| Command::Edit {
            change: Box::new(move |record, live| {
                let value = change(record, live)?;
                // The asker may have gone away; the change stands.
                let _ = sender.send(value);
                Ok(())
            }),
            reply,
        })
        .await?;
        receiver.await.map_err(|_| Error::system("the change of a container was lost"))
    }
}

impl Table {
    /// All containers, in the order of their ids.
    pub(crate) fn handles(&self) -> Vec<Handle> {
        self.read().by_id.values().cloned().collect()
    }

    /// All records as they are now.
    pub(crate) fn records(&self) -> Vec<Arc<Record>> {
        self.read().by_id.values().map(Handle::record).collect()
    }

    /// By full id, full name, a prefix of one id only, or the name of a link (`web/db`).
    pub(crate) fn find(&self, wanted: &str) -> Result<Handle> {
        let name = wanted.strip_prefix('/').unwrap_or(wanted);
        if let Some((owner, alias)) = name.split_once('/')
            && let Ok(owner) = self.find(owner)
            && let Some(target) = crate::spec::link_target(&owner.record(), alias)
        {
            return self.find(target);
        }
        let index = self.read();
        if name.is_empty() {
            return Err(Error::invalid(format!("invalid name or ID supplied: {wanted:?}")));
        }
        if let Some(handle) = wanted.parse::<ContainerId>().ok().and_then(|id| index.by_id.get(&id)) {
            return Ok(handle.clone());
        }
        if let Some(handle) = index.by_name.get(name).and_then(|id| index.by_id.get(id)) {
            return Ok(handle.clone());
        }
        let mut matches = index.by_id.values().filter(|handle| handle.id.as_str().starts_with(name));
        match (matches.next(), matches.next()) {
            (Some(only), None) => Ok(only.clone()),
            (Some(_), Some(_)) => {
                Err(Error::invalid(format!("multiple IDs found with provided prefix: {wanted}")))
            }
            (None, _) => Err(Error::not_found(format!("No such container: {wanted}"))),
        }
    }

    pub(crate) fn get(&self, id: &ContainerId) -> Option<Handle> {
        self.read().by_id.get(id).cloned()
    }

    fn insert(&self, handle: Handle) {
        let mut index = self.write();
        index.by_name.insert(handle.record().name.clone(), handle.id.clone());
        index.by_id.insert(handle.id.clone(), handle);
    }

    fn remove(&self, id: &ContainerId) {
        let mut index = self.write();
        index.by_id.remove(id);
        index.by_name.retain(|_, holder| holder != id);
    }

    fn rename(&self, id: &ContainerId, old: &str, new: &str) {
        let mut index = self.write();
        index.by_name.remove(old);
        index.by_name.insert(new.to_owned(), id.clone());
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Index> {
        // Every change of the index is one or two insertions: a panic cannot leave it torn.
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine {
    /// The container that `wanted` names.
    pub(crate) fn container(&self, wanted: &str) -> Result<Handle> {
        self.shared().containers.find(wanted)
    }

    /// Publishes what happened to a container, with the attributes that all its events have.
    pub(crate) fn container_event(&self, record: &Record, action: &str, extra: &[(&str, String)]) {
        let (id, attributes) = event_attributes(record, extra);
        self.events_bus().publish(api::event::kind::CONTAINER, action, id, attributes);
    }
}

/// Labels, image and name, then what is special to the event.
pub(crate) fn event_attributes<'a>(
    record: &'a Record,
    extra: &[(&str, String)],
) -> (&'a str, BTreeMap<String, String>) {
    let mut attributes = record.config.labels.clone().unwrap_or_default();
    attributes.insert("image".into(), record.config.image.clone());
    attributes.insert("name".into(), record.name.clone());
    attributes.extend(extra.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
    (record.id.as_str(), attributes)
}
