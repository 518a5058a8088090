//! What nobody needs any more goes: blobs and layers of removed images, and what interrupted work left too long ago to be resumed.
//!
//! The decision and the detachment happen under the leases' lock and are quick; the files are deleted afterwards, by a thread of
//! their own, since a layer may have a hundred thousand of them.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use oci::digest::Digest;
use store::blobs::Detached;
use store::leases::Lease;

use super::{Image, Images};
use crate::layers::Scratch;
use crate::{Error, Gone};

/// How long what an interrupted pull has fetched waits to be used. A person tries again the same day or starts afresh.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);

/// Apart, since an archive that is not packed has the digest of its layer: one may go and the other stay.
struct Needed {
    layers: HashSet<Digest>,
    blobs: HashSet<Digest>,
}

impl Images {
    /// Deletes those of `candidates` that no image, snapshot or lease needs. Returns the layers that are gone.
    pub(super) fn collect(&self, candidates: HashSet<Digest>) -> Result<Vec<Digest>, Error> {
        let (collected, gone) = self.leases().collect(|held| -> Result<_, Error> {
            let needed = self.needed();
            let free: Vec<Digest> = candidates.into_iter().filter(|d| !held.contains(d)).collect();
            let is_free_layer = |d: &&Digest| !needed.layers.contains(d) && self.layers().contains(d);
            let layers: Vec<Digest> = free.iter().filter(is_free_layer).cloned().collect();
            let mut directories: Vec<Scratch> = self.layers().detach(&layers)?;
            directories.extend(self.snapshots().set_scaffolds_aside(&layers)?);
            let mut blobs: Vec<Detached> = Vec::new();
            for digest in free.iter().filter(|d| !needed.blobs.contains(d)) {
                blobs.extend(self.blobs().detach(digest)?);
            }
            Ok((layers, (directories, blobs)))
        })?;
        // Nobody waits for this; what a crash leaves of it is deleted at the next start.
        std::thread::spawn(move || drop(gone));
        Ok(collected)
    }

    /// Ends a lease whose work nobody will resume: what of it did not become part of an image goes.
    pub(crate) fn end(&self, lease: Lease) -> Result<(), Error> {
        self.collect(lease.end().into_iter().collect()).map(drop)
    }

    /// Deletes those of `digests` that turned out not to be needed.
    pub(crate) fn collect_unused(&self, digests: HashSet<Digest>) -> Result<(), Error> {
        self.collect(digests).map(drop)
    }

    /// Takes a container's root out of sight, and whatever of it was only kept for it: an image that was removed before its
    /// container has left its layers behind. Dropping the result deletes the files.
    pub fn remove_snapshot(&self, id: &str) -> Result<Option<Gone>, Error> {
        let layers = self.snapshots().layers_of(id).unwrap_or_default();
        let gone = self.snapshots().remove(id)?;
        let of_an_image = |image: &Arc<Image>| layers.iter().all(|layer| image.diff_ids().contains(layer));
        if !self.index().images.values().any(of_an_image) {
            let archives = layers.iter().filter_map(|layer| self.layers().get(layer)?.archive);
            self.collect(archives.chain(layers.iter().cloned()).collect())?;
        }
        Ok(gone)
    }

    /// Everything that an image or a snapshot refers to.
    fn needed(&self) -> Needed {
        let mut layers = self.snapshots().layers_in_use();
        // A commit on such a layer needs its archive, whether its image is still here or not.
        let mut blobs: HashSet<Digest> =
            layers.iter().filter_map(|d| self.layers().get(d)?.archive).collect();
        for image in self.index().images.values() {
            layers.extend(image.diff_ids().iter().cloned());
            blobs.extend(Self::documents_and_archives(image));
        }
        Needed { layers, blobs }
    }

    /// Deletes what was fetched for an image that never came to be, once it is too old to be continued.
    pub fn expire(&self) -> Result<(), Error> {
        self.blobs().expire_ingests(PATIENCE)?;
        let old = self.blobs().list()?.into_iter();
        let mut candidates: HashSet<Digest> =
            old.filter(|b| b.modified.elapsed().is_ok_and(|age| age >= PATIENCE)).map(|b| b.digest).collect();
        // A layer without an image is the leftover of a removal that was interrupted: its archive is here, or it is not wanted.
        candidates.extend(self.layers().list().into_iter().map(|(diff_id, _)| diff_id));
        self.collect(candidates).map(drop)
    }
}
