//! Layers as registries want them.
//!
//! `docker save`, `import` and others leave layers that are not packed, and they are stored as they came. Before an image
//! that has such layers goes to a registry for the first time they are packed with gzip, and it is kept in that form from
//! then on: pushed again it is the same, and takes less room. What came from a registry, or went there, is never touched:
//! its manifest is known by its digest.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use flate2::write::GzEncoder;
use oci::digest::Digest;
use oci::image::media_type;
use store::blobs::Fresh;

use crate::compression::Decoder;
use crate::{Arrival, Error, Image, Images};

/// Layers packed at once: it is all work for the processor.
const PARALLEL: usize = 4;

/// Layers that are stored so and sent otherwise. The last one has no place in a manifest of Docker's form.
const UNPACKED: [&str; 3] = [media_type::OCI_LAYER, media_type::DOCKER_LAYER, media_type::DOCKER_LAYER_ZSTD];

impl Images {
    /// Whether this image goes as it is.
    pub(super) fn is_packed(&self, image: &Image) -> bool {
        !self.names_of(&image.id).digests.is_empty()
            || !image.layers.iter().any(|layer| UNPACKED.contains(&layer.media_type.as_str()))
    }

    /// The image, packed.
    pub(super) fn pack(&self, image: &Image) -> Result<Arc<Image>, Error> {
        let before = Self::parts(image);
        let mut lease = self.leases().hold(before.iter().cloned());
        let mut packed = HashMap::new();
        for (layer, fresh) in self.pack_layers(image)? {
            lease.add(fresh.digest());
            packed.insert(layer, fresh.commit()?.0);
        }
        let stored = image.layers.iter().map(|layer| &layer.digest);
        let layers: Vec<Digest> = stored.map(|layer| packed.get(layer).unwrap_or(layer).clone()).collect();
        let manifest = self.make_manifest(&image.id, &layers)?;
        lease.add(manifest.digest.clone());
        let (unpacked, names, parent) = (Vec::new(), Vec::new(), image.parent.clone());
        let image = self.install(Arrival { manifest, unpacked, names, parent })?;
        drop(lease);
        self.collect_unused(before)?;
        Ok(image)
    }

    /// Those layers that are to be packed, each once, and what they become.
    fn pack_layers(&self, image: &Image) -> Result<Vec<(Digest, Fresh)>, Error> {
        let wanted = image.layers.iter().filter(|layer| UNPACKED.contains(&layer.media_type.as_str()));
        let wanted: BTreeSet<&Digest> = wanted.map(|layer| &layer.digest).collect();
        let queue = Mutex::new(wanted.into_iter());
        let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
        let work = || {
            let mut done = Vec::new();
            while let Some(layer) = next() {
                done.push((layer.clone(), self.pack_layer(layer)?));
            }
            Ok(done)
        };
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..PARALLEL).map(|_| scope.spawn(work)).collect();
            let done: Result<Vec<Vec<_>>, Error> =
                workers.into_iter().map(|worker| worker.join().expect("packing does not panic")).collect();
            done.map(|parts| parts.into_iter().flatten().collect())
        })
    }

    fn pack_layer(&self, layer: &Digest) -> Result<Fresh, Error> {
        let mut plain = Decoder::new(self.blobs().reader(layer)?)?;
        let mut gzip = GzEncoder::new(self.blobs().create()?, flate2::Compression::default());
        std::io::copy(&mut plain, &mut gzip)?;
        Ok(gzip.finish()?)
    }
}
