//! Images from an archive: what `docker save` of any age, BuildKit, skopeo and others write.
//!
//! ```text
//!  stream ─▶ shelf: every file becomes a blob (members come in any order, the list of images often last)
//!         ─▶ manifest.json (docker archive) or index.json (OCI layout): which images, under which names
//!         ─▶ layers unpacked, a few at a time ─▶ install
//! ```
//!
//! Nothing of the archive is believed: a blob's digest is what its bytes hash to, a layer's diff ID what it unpacks to. Blobs of an
//! archive that turns out bad lose their lease when the load ends and are collected.

mod documents;
mod shelf;

use std::collections::HashSet;
use std::io::Read;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use oci::digest::Digest;
use oci::image::{Descriptor, docker_manifest, media_type};
use oci::platform::Platform;
use oci::reference::Reference;

use crate::images::parse_config;
use crate::{Arrival, Compression, Error, Images, Kind, Progress, STRIDE, Sink, Step, Unpacked};
use documents::Wanted;
use shelf::Shelf;

/// Layers unpacked at once. Each takes two threads and a few MiB; more would only fight for the disk.
const PARALLEL: usize = 3;

/// An image that was loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    pub id: Digest,
    pub names: Vec<Reference>,
}

impl Images {
    /// Loads every image of an archive. With platforms, only those that run on one of them.
    pub fn load(
        &self,
        archive: impl Read,
        platforms: &[Platform],
        sink: &dyn Sink,
    ) -> Result<Vec<Loaded>, Error> {
        let mut shelf = Shelf::new(self);
        let result = shelf.fill(archive).and_then(|()| self.load_from(&mut shelf, platforms, sink));
        let seen = shelf.into_digests();
        let collected = self.collect_unused(seen);
        let loaded = result?;
        collected?;
        Ok(loaded)
    }

    fn load_from(
        &self,
        shelf: &mut Shelf<'_>,
        platforms: &[Platform],
        sink: &dyn Sink,
    ) -> Result<Vec<Loaded>, Error> {
        let mut loaded = Vec::new();
        for mut wanted in documents::images(shelf, platforms)? {
            if wanted.manifest.is_none() {
                for layer in &mut wanted.layers {
                    *layer = shelf.packed_usually(layer)?;
                }
            }
            let names = wanted.names.clone();
            let id = self.load_one(wanted, sink)?;
            for name in &names {
                sink(Progress::Stream(format!("Loaded image: {}\n", name.familiar())));
            }
            if names.is_empty() {
                sink(Progress::Stream(format!("Loaded image ID: {id}\n")));
            }
            loaded.push(Loaded { id, names });
        }
        Ok(loaded)
    }

    fn load_one(&self, wanted: Wanted, sink: &dyn Sink) -> Result<Digest, Error> {
        let config = parse_config(&self.blobs().read(&wanted.config)?)?;
        let diff_ids = &config.rootfs.diff_ids;
        if diff_ids.len() != wanted.layers.len() {
            return Err(Error::new(
                Kind::Hostile,
                format!(
                    "invalid manifest, layers length mismatch: expected {}, got {}",
                    diff_ids.len(),
                    wanted.layers.len()
                ),
            ));
        }
        let unpacked = self.unpack_all(diff_ids, &wanted.layers, sink)?;
        let manifest = match wanted.manifest {
            Some(manifest) => manifest,
            None => self.make_manifest(&wanted.config, &wanted.layers)?,
        };
        for name in &wanted.names {
            self.tell_of_renaming(name, &wanted.config, sink);
        }
        let image =
            self.install(Arrival { manifest, unpacked, names: wanted.names, parent: wanted.parent })?;
        Ok(image.id.clone())
    }

    fn tell_of_renaming(&self, name: &Reference, id: &Digest, sink: &dyn Sink) {
        if let Ok(old) = self.resolve(&name.to_string())
            && old.id != *id
        {
            let (name, old) = (name.familiar(), &old.id);
            sink(Progress::Stream(format!(
                "The image {name} already exists, renaming the old one with ID {old} to empty string\n"
            )));
        }
    }

    /// Unpacks the layers that are not here yet.
    fn unpack_all(
        &self,
        diff_ids: &[Digest],
        layers: &[Digest],
        sink: &dyn Sink,
    ) -> Result<Vec<Unpacked>, Error> {
        let mut seen = HashSet::new();
        let missing: Vec<(&Digest, &Digest)> = (diff_ids.iter().zip(layers))
            .filter(|(diff_id, _)| !self.layers().contains(diff_id) && seen.insert(*diff_id))
            .collect();
        let next = AtomicUsize::new(0);
        let done = Mutex::new(Vec::with_capacity(missing.len()));
        std::thread::scope(|scope| {
            for _ in 0..PARALLEL.min(missing.len()) {
                scope.spawn(|| {
                    while let Some((diff_id, blob)) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let result = self.unpack_blob(diff_id, blob, sink);
                        // After a failure the others need not begin.
                        if result.is_err() {
                            next.store(missing.len(), Ordering::Relaxed);
                        }
                        done.lock().unwrap_or_else(PoisonError::into_inner).push(result);
                    }
                });
            }
        });
        done.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().collect()
    }

    fn unpack_blob(&self, diff_id: &Digest, blob: &Digest, sink: &dyn Sink) -> Result<Unpacked, Error> {
        let total = self.blobs().size(blob).unwrap_or(0);
        let mut told = 0;
        let source = Counted::new(self.blobs().reader(blob)?, |current| {
            if current - told >= STRIDE || current == total {
                told = current;
                sink(Progress::layer(diff_id, Step::Loading { current, total }));
            }
        });
        self.layers().unpack(Some(diff_id), source)
    }

    /// The manifest of an image that came without one, in Docker's form.
    pub(crate) fn make_manifest(&self, config: &Digest, layers: &[Digest]) -> Result<Descriptor, Error> {
        let describe = |kind: &str, digest: &Digest| match self.blobs().size(digest) {
            Some(size) => Ok(Descriptor::new(kind, digest.clone(), size)),
            None => Err(Error::new(Kind::NotFound, format!("blob {digest} does not exist"))),
        };
        let config = describe(media_type::DOCKER_CONFIG, config)?;
        let layers: Vec<Descriptor> =
            layers.iter().map(|l| describe(self.layer_type(l)?, l)).collect::<Result<_, Error>>()?;
        let content = docker_manifest(&config, &layers);
        let digest = self.blobs().put(&content)?;
        Ok(Descriptor::new(media_type::DOCKER_MANIFEST, digest, content.len() as u64))
    }

    /// The media type of a stored layer archive, judged by its first bytes.
    fn layer_type(&self, layer: &Digest) -> Result<&'static str, Error> {
        let mut start = Vec::new();
        self.blobs().reader(layer)?.take(8).read_to_end(&mut start)?;
        Ok(match Compression::detect(&start) {
            Compression::None => media_type::DOCKER_LAYER,
            Compression::Gzip => media_type::DOCKER_LAYER_GZIP,
            Compression::Zstd => media_type::DOCKER_LAYER_ZSTD,
            other @ (Compression::Bzip2 | Compression::Xz) => {
                let message =
                    format!("layer {layer} is compressed with {other:?}, for which there is no media type");
                return Err(Error::new(Kind::Invalid, message));
            }
        })
    }
}

/// A reader that tells how far it is.
pub(crate) struct Counted<R, F> {
    source: R,
    position: u64,
    tell: F,
}

impl<R: Read, F: FnMut(u64)> Counted<R, F> {
    pub(crate) fn new(source: R, tell: F) -> Self {
        Self { source, position: 0, tell }
    }
}

impl<R: Read, F: FnMut(u64)> Read for Counted<R, F> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.source.read(buffer)?;
        self.position += n as u64;
        (self.tell)(self.position);
        Ok(n)
    }
}
