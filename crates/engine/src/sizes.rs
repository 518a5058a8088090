//! How many bytes lie under a directory, without walking it again and again.
//!
//! Files in writable layers and volumes change behind the engine's back, and only some file systems keep sums of
//! trees. So a tree is walked, and its sum is remembered for [`SPARING`] times as long as the walk took: what is small
//! is measured anew each time one looks (a walk of a millisecond is good for 50), and a client that asks for sizes all
//! the time makes the engine walk for two hundredths of it. Whoever asks while a tree is being walked gets that walk's
//! sum.
//!
//! Limits: a sum is at most [`STALE`] old; [`KNOWN`] trees are remembered; levels below [`DEPTH`] are not counted.

use std::collections::{HashMap, HashSet};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use linux::path::Root;

/// How many times the duration of its walk a sum is good for.
const SPARING: u32 = 50;
/// However long a walk took, what it found is not shown for longer.
const STALE: Duration = Duration::from_secs(300);
/// More than a host has containers and volumes; beyond it, sums that are no longer good are dropped.
const KNOWN: usize = 8192;
/// One descriptor is open per level.
const DEPTH: usize = 900;

/// The sums of trees that were looked at. One per engine.
#[derive(Debug, Default)]
pub(crate) struct Sizes {
    trees: Mutex<HashMap<PathBuf, Arc<Tree>>>,
}

/// Held while the tree is walked.
type Tree = Mutex<Option<Sum>>;

#[derive(Debug, Clone, Copy)]
struct Sum {
    bytes: u64,
    until: Instant,
}

impl Sizes {
    /// Bytes of all files below `path`; one with several names counts once.
    pub(crate) fn of(&self, path: &Path) -> linux::Result<u64> {
        let tree = self.tree(path);
        // A walk that panicked has left no sum.
        let mut sum = tree.lock().unwrap_or_else(PoisonError::into_inner);
        let begun = Instant::now();
        if let Some(sum) = sum.filter(|sum| begun < sum.until) {
            return Ok(sum.bytes);
        }
        let bytes = walk(path)?;
        let good_for = (begun.elapsed() * SPARING).min(STALE);
        *sum = Some(Sum { bytes, until: Instant::now() + good_for });
        Ok(bytes)
    }

    fn tree(&self, path: &Path) -> Arc<Tree> {
        let mut trees = self.trees.lock().unwrap_or_else(PoisonError::into_inner);
        if trees.len() >= KNOWN {
            let now = Instant::now();
            // One that is being walked is wanted.
            trees
                .retain(|_, tree| tree.try_lock().map_or(true, |sum| sum.is_some_and(|sum| now < sum.until)));
        }
        trees.entry(path.to_owned()).or_default().clone()
    }
}

fn walk(path: &Path) -> linux::Result<u64> {
    let mut total = 0;
    add_up(&Root::open(path)?, &mut HashSet::new(), &mut total, 0)?;
    Ok(total)
}

fn add_up(
    directory: &impl AsFd,
    seen: &mut HashSet<(u64, u64)>,
    total: &mut u64,
    depth: usize,
) -> linux::Result<()> {
    if depth > DEPTH {
        return Ok(());
    }
    for (name, kind) in linux::entry::list(directory)? {
        if kind == linux::entry::Kind::Directory {
            // Gone meanwhile, or not ours to look into: it does not count.
            if let Ok(inner) = linux::entry::directory(directory, &name) {
                add_up(&inner, seen, total, depth + 1)?;
            }
            continue;
        }
        let Ok(metadata) = linux::entry::metadata(directory, &name) else { continue };
        if metadata.links < 2 || seen.insert(metadata.identity) {
            *total += metadata.size;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_count_once_and_sums_are_good_for_a_while() {
        let tree = &scratch::Directory::new("sizes");
        std::fs::create_dir(tree.join("inner")).unwrap();
        std::fs::write(tree.join("inner/file"), [0; 1000]).unwrap();
        std::fs::hard_link(tree.join("inner/file"), tree.join("same")).unwrap();
        std::fs::write(tree.join("other"), [0; 10]).unwrap();
        let sizes = Sizes::default();
        assert_eq!(sizes.of(tree).unwrap(), 1010);

        let remember = |until| *sizes.tree(tree).lock().unwrap() = Some(Sum { bytes: 7, until });
        remember(Instant::now() + STALE);
        assert_eq!(sizes.of(tree).unwrap(), 7, "it is not walked again");
        remember(Instant::now());
        assert_eq!(sizes.of(tree).unwrap(), 1010);
        assert!(sizes.of(&tree.join("absent")).is_err());
    }
}
