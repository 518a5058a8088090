//! Volumes that are there for one container only: it does not exist yet, or not any more. Their record names it, so that an
//! engine that was killed in between leaves none of them behind.
//!
//! ```text
//!  create   record (for C) ─▶ directory ─▶ C's transaction: here to stay
//!  rm -v    C's last transaction: for C again ─▶ removed, or kept, since another container has come to use it
//! ```

use std::sync::{Arc, PoisonError};

use store::records::Transaction;

use super::{Stored, Volumes};
use crate::error::Result;
use crate::identity::ContainerId;

impl Volumes {
    /// The container that these were made for comes to exist with this transaction: they are here to stay.
    pub(crate) fn confirm(
        &self,
        transaction: &Transaction<'_>,
        names: &[String],
    ) -> Result<(), store::Error> {
        for name in names {
            if let Some(stored) = self.get(name) {
                transaction.put(name, &Stored { made_for: None, ..(*stored).clone() })?;
            }
        }
        Ok(())
    }

    /// The container that these were for ends with this transaction. They are removed next, by whoever comes to it.
    pub(crate) fn doom<'a>(
        &self,
        transaction: &Transaction<'_>,
        names: impl Iterator<Item = &'a str>,
        container: &ContainerId,
    ) -> Result<(), store::Error> {
        for name in names {
            if let Some(stored) = self.get(name) {
                let made_for = Some(container.clone());
                transaction.put(name, &Stored { made_for, ..(*stored).clone() })?;
            }
        }
        Ok(())
    }

    /// Somebody else uses it: it is not for that container alone.
    pub(super) fn keep(&self, name: &str) -> Result<()> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(stored) = self.get(name) else { return Ok(()) };
        let kept = Stored { made_for: None, ..(*stored).clone() };
        self.records.write(|transaction| transaction.put(name, &kept))?;
        self.known.write().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), Arc::new(kept));
        Ok(())
    }

    /// Those that go with this container, by their records: what is known here of a volume since its creation leaves out
    /// for whom it is.
    pub(crate) fn made_for(&self, container: &str) -> Result<Vec<String>> {
        let all = self.records.read(|reader| reader.list::<Stored>())?;
        let is_for = |stored: &Stored| stored.made_for.as_ref().is_some_and(|id| id.as_str() == container);
        Ok(all.into_iter().filter(|(_, stored)| is_for(stored)).map(|(name, _)| name).collect())
    }

    /// For containers that do not exist. Asked when an engine opens: later, they may yet.
    pub(crate) fn unconfirmed(&self) -> Vec<String> {
        let made_for_none = |(name, stored): (String, Arc<Stored>)| stored.made_for.is_some().then_some(name);
        self.list().into_iter().filter_map(made_for_none).collect()
    }
}
