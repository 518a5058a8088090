//! Durable records: what the engine has promised to remember.
//!
//! A record is a JSON document with a kind, an id and a version. A name is unique within its namespace and points to the id
//! that holds it, so "reserve the name, then write the record" is one transaction and two creators can never both win.
//!
//! ```text
//! record(kind, id, version, body)          primary key (kind, id)
//! name(namespace, name, id)                primary key (namespace, name), index (namespace, id)
//! ```
//!
//! **Durability.** When [`Records::write`] returns, the transaction survives a power cut (WAL with `synchronous=FULL`). After
//! [`Durability::Behind`] it survives the death of this process, and a power cut once the kernel has written back or
//! anything durable has followed; until then the cut undoes it as a whole (`synchronous=NORMAL`).
//! **Group commit.** Writers that arrive while another one works join its transaction, each in a savepoint of its own, and the
//! last of them commits once for all: twenty containers that start at once share a few `fdatasync`s. See [`Records::write`].
//! **Readers** see what is committed: one that meets an open batch has it committed first. Records are read when an engine
//! opens, and rarely later; who lists things looks at the views in memory.
//! **Versions.** A type says which version it writes. Older records are migrated when read, newer ones are refused: guessing at
//! what a newer engine meant would lose what it knew.
//! **A full disk** refuses what adds records and takes what removes them: see [`room`]. There is one connection, which locks
//! the database for itself and so keeps the index of the log in its own memory: in a file, mapped by several connections,
//! it would end the process by SIGBUS on a disk without room for it.
//!
//! Limits: a batch has at most [`BATCH`] writers; one database belongs to one process (the engine holds the data root's lock).

mod room;
mod transaction;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock};

use rusqlite::Connection;
use rusqlite::config::DbConfig;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Error, Kind, fault};
use room::Room;
pub use transaction::{Reader, Taken, Transaction};

/// Layout of the database itself; raised when the tables change.
const SCHEMA: i64 = 1;

/// Writers in one commit. Bounds how long the first of them waits for the others.
const BATCH: usize = 64;

/// Longest accepted body. A container's record is a few KiB; a runaway one must not fill the database unnoticed.
const BODY_LIMIT: usize = 8 << 20;

/// A type that is stored as a record.
pub trait Record: Serialize + DeserializeOwned {
    /// The kind under which it is stored, for example `container`.
    const KIND: &'static str;
    /// The version this code writes. Raise it when an older engine could misread the new form.
    const VERSION: u32;

    /// Brings a body of an older version to [`Self::VERSION`].
    fn migrate(version: u32, _body: serde_json::Value) -> Result<serde_json::Value, Error> {
        Err(Error::new(
            Kind::Corrupt,
            format!("{} record has version {version}, which nothing can migrate", Self::KIND),
        ))
    }
}

/// The record database. Cheap to clone.
#[derive(Clone)]
pub struct Records {
    inner: Arc<Inner>,
}

struct Inner {
    writer: Mutex<Writer>,
    /// Signalled when a batch has its outcome.
    committed: Condvar,
    /// Writers that wait for `writer`; the one that leaves while this is zero commits.
    waiting: AtomicUsize,
}

struct Writer {
    connection: Connection,
    room: Room,
    /// What `connection` is set to.
    durability: Durability,
    /// The open transaction and its members, if any.
    batch: Option<Batch>,
}

/// What a commit waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub enum Durability {
    /// Nothing: for what a power cut may undo without anybody's loss.
    Behind,
    /// The disk.
    Durable,
}

struct Batch {
    members: usize,
    outcome: Arc<OnceLock<Outcome>>,
}

/// What became of a batch, for each of its members.
type Outcome = Result<(), (Kind, String)>;

impl Records {
    /// Opens or creates the database. Refuses one that a newer version wrote.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let writer = connect(path)?;
        prepare(&writer, path)?;
        let page = writer
            .pragma_query_value(None, "page_size", |row| row.get::<_, u32>(0))
            .map_err(|e| Error::sql("pragma page_size", e))?;
        let room = Room::open(path, page.into())?;
        room.refill(pages(&writer)?);
        Ok(Self {
            inner: Arc::new(Inner {
                writer: Mutex::new(Writer {
                    connection: writer,
                    room,
                    durability: Durability::Durable,
                    batch: None,
                }),
                committed: Condvar::new(),
                waiting: AtomicUsize::new(0),
            }),
        })
    }

    /// Reads from one consistent state, which is committed.
    pub fn read<T, E: From<Error>>(&self, f: impl FnOnce(&Reader<'_>) -> Result<T, E>) -> Result<T, E> {
        let mut writer = lock(&self.inner.writer);
        if writer.batch.is_some() {
            writer.commit();
            self.inner.committed.notify_all();
        }
        let transaction =
            writer.connection.unchecked_transaction().map_err(|e| Error::sql("begin read", e))?;
        let value = f(&Reader::new(&transaction))?;
        transaction.finish().map_err(|e| Error::sql("end read", e))?;
        Ok(value)
    }

    /// Runs `f` as a transaction: all of it is durable when this returns `Ok`, none of it when it returns `Err`.
    ///
    /// ```text
    ///  A: lock  BEGIN  SAVEPOINT f RELEASE   B waits, so A leaves the transaction open and waits for the outcome
    ///  B: lock         SAVEPOINT f RELEASE   nobody waits: COMMIT, tell A
    /// ```
    ///
    /// `f` must be short and must not call back into these records: it holds the only writer.
    pub fn write<T, E: From<Error>>(&self, f: impl FnOnce(&Transaction<'_>) -> Result<T, E>) -> Result<T, E> {
        self.write_as(Durability::Durable, f)
    }

    /// As [`Self::write`], with another promise.
    pub fn write_as<T, E: From<Error>>(
        &self,
        durability: Durability,
        f: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        self.inner.waiting.fetch_add(1, Ordering::SeqCst);
        let mut writer = lock(&self.inner.writer);
        self.inner.waiting.fetch_sub(1, Ordering::SeqCst);

        // A commit that waits for less is none for this writer.
        if writer.batch.is_some() && writer.durability < durability {
            writer.commit();
            self.inner.committed.notify_all();
        }
        let outcome = writer.join(durability)?;
        // Runs even when `f` panics, so that earlier members of the batch get their commit.
        let mut turn = Turn { records: self, writer: Some(writer) };
        let result = turn.run(f);
        let writer = turn.leave();
        let value = result?;
        let writer = self.inner.committed.wait_while(writer, |_| outcome.get().is_none());
        drop(writer.unwrap_or_else(std::sync::PoisonError::into_inner));
        match outcome.get() {
            Some(Ok(())) => Ok(value),
            Some(Err((kind, message))) => Err(Error::new(*kind, message.clone()).into()),
            None => Err(Error::new(Kind::Other, "commit records: no outcome").into()),
        }
    }

    /// Rewrites every record of a kind that an older version wrote. Called once per kind before anything is restored.
    pub fn migrate<T: Record>(&self) -> Result<usize, Error> {
        self.write(|transaction| {
            let stale = transaction.outdated::<T>()?;
            for (id, record) in &stale {
                transaction.put::<T>(id, record)?;
            }
            Ok(stale.len())
        })
    }
}

impl Writer {
    /// Joins the open transaction or begins one; returns where its outcome will appear.
    fn join(&mut self, durability: Durability) -> Result<Arc<OnceLock<Outcome>>, Error> {
        let batch = match &mut self.batch {
            Some(batch) => batch,
            None => {
                if self.durability != durability {
                    let level = if durability == Durability::Durable { "FULL" } else { "NORMAL" };
                    self.connection
                        .pragma_update(None, "synchronous", level)
                        .map_err(|e| Error::sql("pragma synchronous", e))?;
                    self.durability = durability;
                }
                self.connection
                    .execute_batch("BEGIN IMMEDIATE")
                    .map_err(|e| Error::sql("begin transaction", e))?;
                self.batch.insert(Batch { members: 0, outcome: Arc::default() })
            }
        };
        batch.members += 1;
        Ok(batch.outcome.clone())
    }

    fn commit(&mut self) {
        let Some(batch) = self.batch.take() else { return };
        let commit = || self.connection.execute_batch("COMMIT").map_err(|e| Error::sql("commit records", e));
        let result = fault::point("commit").and_then(|()| commit()).map_err(|error| {
            // A failed commit may leave the transaction open; nothing of it may leak into the next batch.
            if !self.connection.is_autocommit() {
                let _ = self.connection.execute_batch("ROLLBACK");
            }
            (error.kind(), error.to_string())
        });
        fault::passed(match self.durability {
            Durability::Durable => "behind a durable commit",
            Durability::Behind => "behind a commit",
        });
        if let Ok(pages) = pages(&self.connection) {
            self.room.refill(pages);
        }
        let _ = batch.outcome.set(result);
    }
}

/// One writer's time with the connection. Leaving commits unless somebody who will commit already waits.
struct Turn<'a> {
    records: &'a Records,
    writer: Option<MutexGuard<'a, Writer>>,
}

impl<'a> Turn<'a> {
    fn run<T, E: From<Error>>(&mut self, f: impl FnOnce(&Transaction<'_>) -> Result<T, E>) -> Result<T, E> {
        let Some(writer) = &mut self.writer else {
            return Err(Error::new(Kind::Other, "records: turn is over").into());
        };
        // Dropped without commit (an error or a panic in `f`), the savepoint rolls back.
        let Writer { connection, room, .. } = &mut **writer;
        let savepoint = connection.savepoint().map_err(|e| Error::sql("savepoint", e))?;
        let value = f(&Transaction::new(&savepoint))?;
        fault::point("write records")?;
        // Here it fails alone; at the commit all others would fail with it.
        room.admit(pages(&savepoint)?)?;
        savepoint.commit().map_err(|e| Error::sql("release savepoint", e))?;
        Ok(value)
    }

    fn leave(mut self) -> MutexGuard<'a, Writer> {
        self.settle();
        match self.writer.take() {
            Some(writer) => writer,
            None => lock(&self.records.inner.writer),
        }
    }

    fn settle(&mut self) {
        let Some(writer) = &mut self.writer else { return };
        let full = writer.batch.as_ref().is_some_and(|b| b.members >= BATCH);
        if full || self.records.inner.waiting.load(Ordering::SeqCst) == 0 {
            writer.commit();
            self.records.inner.committed.notify_all();
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if self.writer.is_some() {
            self.settle();
        }
    }
}

/// A panic in somebody's closure rolled its savepoint back; the connection itself is sound.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Pages of the database, those that the open transaction adds included.
fn pages(connection: &Connection) -> Result<u64, Error> {
    connection
        .prepare_cached("PRAGMA page_count")
        .and_then(|mut statement| statement.query_row([], |row| row.get::<_, u32>(0)))
        .map(u64::from)
        .map_err(|e| Error::sql("pragma page_count", e))
}

fn connect(path: &Path) -> Result<Connection, Error> {
    let what = || format!("open record database {path:?}");
    let connection = Connection::open(path).map_err(|e| Error::sql(&what(), e))?;
    connection
        .execute_batch(&format!(
            "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-512; PRAGMA temp_store=MEMORY;
             PRAGMA busy_timeout=5000; PRAGMA wal_autocheckpoint={};",
            room::CHECKPOINT
        ))
        .map_err(|e| Error::sql(&what(), e))?;
    // A log that is deleted at the end could not be made again on a full disk.
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
        .map_err(|e| Error::sql(&what(), e))?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

fn prepare(connection: &Connection, path: &Path) -> Result<(), Error> {
    let found: i64 = connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(|e| Error::sql(&format!("read record database {path:?}"), e))?;
    if found > SCHEMA {
        return Err(Error::new(
            Kind::Newer,
            format!(
                "record database {path:?} has layout {found}, this version knows up to {SCHEMA}: use the newer version"
            ),
        ));
    }
    connection
        .execute_batch(&format!(
            "BEGIN IMMEDIATE;
             CREATE TABLE IF NOT EXISTS record(kind TEXT NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL, body TEXT NOT NULL,
                 PRIMARY KEY(kind, id)) WITHOUT ROWID;
             CREATE TABLE IF NOT EXISTS name(namespace TEXT NOT NULL, name TEXT NOT NULL, id TEXT NOT NULL,
                 PRIMARY KEY(namespace, name)) WITHOUT ROWID;
             CREATE INDEX IF NOT EXISTS name_by_id ON name(namespace, id);
             PRAGMA user_version={SCHEMA};
             COMMIT;"
        ))
        .map_err(|e| Error::sql(&format!("prepare record database {path:?}"), e))
}

#[cfg(test)]
mod tests;
