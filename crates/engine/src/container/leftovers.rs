//! What a removal could not take away: the container is gone, and its files must not stay for ever because a disk had a bad
//! moment. Tried again with each removal and prune, and by the next engine.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use super::{remove, rootfs};
use crate::Engine;

/// Containers that are gone and have left something.
#[derive(Default)]
pub(crate) struct Leftovers(Mutex<BTreeSet<String>>);

impl Leftovers {
    pub(super) fn note(&self, id: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned());
    }

    fn take(&self) -> BTreeSet<String> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Files and directories of a container that no longer exists, and what others have left.
pub(super) fn sweep(engine: &Engine, id: &str) {
    let leftovers = &engine.shared().containers.leftovers;
    for other in leftovers.take() {
        // What has just failed waits for a better moment.
        match other == id {
            true => leftovers.note(id),
            false => again(engine, &other),
        }
    }
    files(engine, id);
}

pub(super) fn sweep_all(engine: &Engine) {
    for id in engine.shared().containers.leftovers.take() {
        again(engine, &id);
    }
}

fn again(engine: &Engine, id: &str) {
    let volumes = engine.shared().volumes.made_for(id);
    let discarded = volumes.and_then(|names| names.iter().try_for_each(|name| engine.volume_discard(name)));
    if let Err(error) = discarded {
        tracing::warn!(container = id, %error, "cannot remove anonymous volumes");
        engine.shared().containers.leftovers.note(id);
    }
    files(engine, id);
}

/// Reports everything that could not be removed.
fn files(engine: &Engine, id: &str) {
    let mut gone = true;
    for directory in [engine.paths().container(id), engine.paths().runtime(id)] {
        if let Err(error) = remove::remove_directory(&directory) {
            tracing::warn!(path = %directory.display(), %error, "cannot remove a directory");
            gone = false;
        }
    }
    if let Err(error) = rootfs::remove(engine, id) {
        tracing::warn!(container = id, %error, "cannot remove a root file system");
        gone = false;
    }
    if !gone {
        engine.shared().containers.leftovers.note(id);
    }
}
