//! Leases: what work in progress still needs.
//!
//! A pull that finds half of its layers present holds a lease on each of them before it looks, and lets go after its record is
//! durable. The collector decides and detaches inside [`Leases::collect`], which sees every lease and lets no new one appear
//! meanwhile, so this cannot happen:
//!
//! ```text
//!  collector: "nothing refers to X"                               delete X
//!  pull:                             X is there, write record                 record without its layer
//! ```
//!
//! Leases live in memory. After a crash nobody works any more; what was left is kept for resumption by its age (see the
//! collectors), not by a lease. The lock is held for a few milliseconds at most: deciding reads records and leases, detaching is a
//! rename; the slow deletion follows outside.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use oci::digest::Digest;

/// Who needs what. Cheap to clone; all clones share one table.
#[derive(Clone, Default)]
pub struct Leases {
    held: Arc<Mutex<HashMap<Digest, usize>>>,
}

/// Keeps its contents from collection until dropped.
#[must_use = "a lease protects only while it is held"]
pub struct Lease {
    leases: Leases,
    contents: Vec<Digest>,
}

/// The table as a collector sees it.
pub struct Held<'a> {
    table: MutexGuard<'a, HashMap<Digest, usize>>,
}

impl Leases {
    /// Protects the given contents, whether they exist already or not.
    pub fn hold(&self, contents: impl IntoIterator<Item = Digest>) -> Lease {
        let contents: Vec<Digest> = contents.into_iter().collect();
        let mut table = self.table();
        for digest in &contents {
            *table.entry(digest.clone()).or_default() += 1;
        }
        drop(table);
        Lease { leases: self.clone(), contents }
    }

    /// Runs a collector's decision and detachment while no lease can be taken or dropped.
    pub fn collect<T>(&self, decide: impl FnOnce(&Held<'_>) -> T) -> T {
        decide(&Held { table: self.table() })
    }

    fn table(&self) -> MutexGuard<'_, HashMap<Digest, usize>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    /// Protects one more content under the same lease.
    pub fn add(&mut self, digest: Digest) {
        *self.leases.table().entry(digest.clone()).or_default() += 1;
        self.contents.push(digest);
    }

    /// Lets go, and gives what it covered: candidates for a collector.
    pub fn end(mut self) -> Vec<Digest> {
        self.release();
        std::mem::take(&mut self.contents)
    }

    fn release(&self) {
        let mut table = self.leases.table();
        for digest in &self.contents {
            if let Some(count) = table.get_mut(digest) {
                *count -= 1;
                if *count == 0 {
                    table.remove(digest);
                }
            }
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.release();
    }
}

impl Held<'_> {
    /// Whether somebody needs this content.
    pub fn contains(&self, digest: &Digest) -> bool {
        self.table.contains_key(digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_free_when_its_last_lease_ends() {
        let leases = Leases::default();
        let (a, b) = (Digest::sha256_of(b"a"), Digest::sha256_of(b"b"));
        let held = |digest: &Digest| leases.collect(|held| held.contains(digest));

        let first = leases.hold([a.clone()]);
        let mut second = leases.hold([a.clone()]);
        second.add(b.clone());
        assert!(held(&a) && held(&b));
        drop(first);
        assert!(held(&a));
        drop(second);
        assert!(!held(&a) && !held(&b));
    }
}
