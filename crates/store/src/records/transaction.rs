//! What can be done inside one transaction: typed records, and names that belong to exactly one id.

use std::ops::Deref;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, params};

use super::{BODY_LIMIT, Record};
use crate::{Error, Kind};

/// The reading half; a [`Transaction`] has it too.
pub struct Reader<'a> {
    connection: &'a Connection,
}

/// The writing half.
pub struct Transaction<'a> {
    reader: Reader<'a>,
}

/// The name is held by somebody else.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("name {name:?} is already held by {holder}")]
pub struct Taken {
    /// The name that was asked for.
    pub name: String,
    /// The id that holds it.
    pub holder: String,
}

impl<'a> Reader<'a> {
    pub(super) fn new(connection: &'a Connection) -> Self {
        Self { connection }
    }

    /// The record with this id.
    pub fn get<T: Record>(&self, id: &str) -> Result<Option<T>, Error> {
        let found = self
            .connection
            .prepare_cached("SELECT version, body FROM record WHERE kind=?1 AND id=?2")
            .and_then(|mut s| {
                s.query_row(params![T::KIND, id], |row| Ok((row.get(0)?, row.get::<_, String>(1)?)))
                    .optional()
            })
            .map_err(|e| Error::sql("read record", e))?;
        found.map(|(version, body)| parse::<T>(id, version, &body)).transpose()
    }

    /// Every record of a kind, ordered by id.
    pub fn list<T: Record>(&self) -> Result<Vec<(String, T)>, Error> {
        self.select::<T>("SELECT id, version, body FROM record WHERE kind=?1 AND version>=?2 ORDER BY id", 0)
    }

    pub(super) fn outdated<T: Record>(&self) -> Result<Vec<(String, T)>, Error> {
        self.select::<T>(
            "SELECT id, version, body FROM record WHERE kind=?1 AND version<?2 ORDER BY id",
            T::VERSION,
        )
    }

    fn select<T: Record>(&self, sql: &str, version: u32) -> Result<Vec<(String, T)>, Error> {
        let read = |e| Error::sql("list records", e);
        let mut statement = self.connection.prepare_cached(sql).map_err(read)?;
        let mut rows = statement.query(params![T::KIND, version]).map_err(read)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next().map_err(read)? {
            let id: String = row.get(0).map_err(read)?;
            let version = row.get(1).map_err(read)?;
            let ValueRef::Text(body) = row.get_ref(2).map_err(read)? else {
                return Err(Error::new(Kind::Corrupt, format!("{} record {id} has no text", T::KIND)));
            };
            let body = std::str::from_utf8(body)
                .map_err(|_| Error::new(Kind::Corrupt, format!("{} record {id} is not UTF-8", T::KIND)))?;
            let record = parse(&id, version, body)?;
            found.push((id, record));
        }
        Ok(found)
    }

    /// The id that holds a name.
    pub fn holder(&self, namespace: &str, name: &str) -> Result<Option<String>, Error> {
        self.connection
            .prepare_cached("SELECT id FROM name WHERE namespace=?1 AND name=?2")
            .and_then(|mut s| s.query_row(params![namespace, name], |row| row.get(0)).optional())
            .map_err(|e| Error::sql("read name", e))
    }

    /// The names that an id holds, in order.
    pub fn names_of(&self, namespace: &str, id: &str) -> Result<Vec<String>, Error> {
        self.strings(
            "SELECT name FROM name WHERE namespace=?1 AND id=?2 ORDER BY name",
            params![namespace, id],
        )
    }

    /// Every (name, id) of a namespace, ordered by name.
    pub fn names(&self, namespace: &str) -> Result<Vec<(String, String)>, Error> {
        let read = |e| Error::sql("list names", e);
        let mut statement = self
            .connection
            .prepare_cached("SELECT name, id FROM name WHERE namespace=?1 ORDER BY name")
            .map_err(read)?;
        let rows =
            statement.query_map(params![namespace], |row| Ok((row.get(0)?, row.get(1)?))).map_err(read)?;
        rows.collect::<Result<_, _>>().map_err(read)
    }

    fn strings(&self, sql: &str, params: &[&dyn rusqlite::ToSql]) -> Result<Vec<String>, Error> {
        let read = |e| Error::sql("read ids", e);
        let mut statement = self.connection.prepare_cached(sql).map_err(read)?;
        let rows = statement.query_map(params, |row| row.get(0)).map_err(read)?;
        rows.collect::<Result<_, _>>().map_err(read)
    }
}

impl<'a> Deref for Transaction<'a> {
    type Target = Reader<'a>;

    fn deref(&self) -> &Reader<'a> {
        &self.reader
    }
}

impl<'a> Transaction<'a> {
    pub(super) fn new(connection: &'a Connection) -> Self {
        Self { reader: Reader::new(connection) }
    }

    /// Writes a record, replacing one with the same id. A record of a newer version is never overwritten.
    pub fn put<T: Record>(&self, id: &str, record: &T) -> Result<(), Error> {
        let body = serde_json::to_string(record)
            .map_err(|e| Error::json(format!("encode {} record {id}", T::KIND), e))?;
        if body.len() > BODY_LIMIT {
            return Err(Error::new(
                Kind::Other,
                format!("{} record {id} has {} bytes, more than {BODY_LIMIT}", T::KIND, body.len()),
            ));
        }
        let changed = self.execute(
            "INSERT INTO record(kind,id,version,body) VALUES(?1,?2,?3,?4)
             ON CONFLICT(kind,id) DO UPDATE SET version=?3, body=?4 WHERE version<=?3",
            params![T::KIND, id, T::VERSION, body],
        )?;
        if changed == 0 {
            return Err(newer::<T>(id, None));
        }
        Ok(())
    }

    /// Deletes a record; says whether it was there.
    pub fn remove<T: Record>(&self, id: &str) -> Result<bool, Error> {
        Ok(self.execute("DELETE FROM record WHERE kind=?1 AND id=?2", params![T::KIND, id])? > 0)
    }

    /// Takes a free name. A name that the same id holds already is fine.
    pub fn reserve(&self, namespace: &str, name: &str, id: &str) -> Result<Result<(), Taken>, Error> {
        match self.holder(namespace, name)? {
            Some(holder) if holder == id => Ok(Ok(())),
            Some(holder) => Ok(Err(Taken { name: name.to_owned(), holder })),
            None => self.assign(namespace, name, id).map(|_| Ok(())),
        }
    }

    /// Points a name to `id`, whoever held it; returns the former holder.
    pub fn assign(&self, namespace: &str, name: &str, id: &str) -> Result<Option<String>, Error> {
        let former = self.holder(namespace, name)?;
        self.execute(
            "INSERT INTO name(namespace,name,id) VALUES(?1,?2,?3) ON CONFLICT(namespace,name) DO UPDATE SET id=?3",
            params![namespace, name, id],
        )?;
        Ok(former)
    }

    /// Gives a name back; says whether it was held.
    pub fn release(&self, namespace: &str, name: &str) -> Result<bool, Error> {
        Ok(self.execute("DELETE FROM name WHERE namespace=?1 AND name=?2", params![namespace, name])? > 0)
    }

    /// Gives back every name of an id.
    pub fn release_all(&self, namespace: &str, id: &str) -> Result<usize, Error> {
        self.execute("DELETE FROM name WHERE namespace=?1 AND id=?2", params![namespace, id])
    }

    fn execute(&self, sql: &str, params: &[&dyn rusqlite::ToSql]) -> Result<usize, Error> {
        self.connection
            .prepare_cached(sql)
            .and_then(|mut s| s.execute(params))
            .map_err(|e| Error::sql("write record", e))
    }
}

fn parse<T: Record>(id: &str, version: u32, body: &str) -> Result<T, Error> {
    let bad = |e| Error::json(format!("{} record {id} (version {version})", T::KIND), e);
    if version > T::VERSION {
        return Err(newer::<T>(id, Some(version)));
    }
    if version == T::VERSION {
        return serde_json::from_str(body).map_err(bad);
    }
    let old = serde_json::from_str(body).map_err(bad)?;
    serde_json::from_value(T::migrate(version, old)?).map_err(bad)
}

fn newer<T: Record>(id: &str, version: Option<u32>) -> Error {
    let found = version.map_or_else(|| "a newer version".to_owned(), |v| format!("version {v}"));
    Error::new(
        Kind::Newer,
        format!(
            "{} record {id} has {found}, this version knows up to {}: use the newer version",
            T::KIND,
            T::VERSION
        ),
    )
}
