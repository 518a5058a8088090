//! How an image comes into being: its blobs are in the store, its layers unpacked, and one transaction makes it all an image.
//!
//! ```text
//!  lease on every digest ─▶ blobs, layers ─▶ install: check that all of it fits ─▶ layers durable ─▶ layers + image + names
//! ```

use std::collections::HashSet;
use std::sync::Arc;

use oci::digest::{Algorithm, Digest};
use oci::image::{Descriptor, Document, Manifest};
use oci::reference::Reference;

use super::{Image, Images, Stored, namespace, now, parse_config};
use crate::{Error, Kind, Unpacked};

/// Docker's word for a repository named `sha256`.
pub const TAG_OF_DIGEST_ALGORITHM: &str =
    "refusing to create an ambiguous tag using digest algorithm as name";

/// An image about to be installed. The caller holds a lease on everything it is made of.
pub struct Arrival {
    /// The manifest, stored as a blob, with its config and layers.
    pub manifest: Descriptor,
    /// Layers that were not here before.
    pub unpacked: Vec<Unpacked>,
    /// Names to give to it: `name:tag`, `name@digest`.
    pub names: Vec<Reference>,
    pub parent: Option<Digest>,
}

impl Images {
    /// Makes an image of what has arrived. Installing one that is here already only adds the names.
    pub fn install(&self, arrival: Arrival) -> Result<Arc<Image>, Error> {
        let Arrival { manifest, unpacked, names, parent } = arrival;
        names.iter().try_for_each(check_name)?;
        let mut image = self.assemble(manifest, parent)?;
        let lease = self.leases().hold(Self::parts(&image));
        image.size = self.size_of(&image, &unpacked)?;
        let changing = self.change();
        let known = self.get(&image.id);
        if let Some(known) = &known {
            image.parent = image.parent.or_else(|| known.parent.clone());
            image.tagged = known.tagged.clone();
        }
        if !names.is_empty() {
            image.tagged = Some(now());
        }
        let stored = super::to_stored(&image);
        let stack = image.diff_ids().to_vec();
        let archives = stack.iter().cloned().zip(image.layers.iter().map(|l| l.digest.clone())).collect();
        self.layers().publish(unpacked, &[stack], &archives, |t| {
            t.put::<Stored>(image.id.as_str(), &stored)?;
            for name in &names {
                t.assign(namespace(name), &name.to_string(), image.id.as_str())?;
            }
            Ok(())
        })?;
        let image = Arc::new(image);
        let mut index = self.index_mut();
        index.images.insert(image.id.clone(), image.clone());
        for name in names {
            index.assign(name, &image.id);
        }
        drop((index, changing, lease));
        // The same image by another manifest, or with its layers packed in another way: the earlier ones are nobody's now.
        if let Some(known) = known {
            self.collect(Self::parts(&known))?;
        }
        Ok(image)
    }

    /// Reads the documents and checks that everything they speak of is there.
    fn assemble(&self, manifest: Descriptor, parent: Option<Digest>) -> Result<Image, Error> {
        let content = self.blobs().read(&manifest.digest)?;
        let document = Document::parse(&manifest.media_type, &content)
            .map_err(|e| Error::caused(Kind::Hostile, format!("manifest {}", manifest.digest), e))?;
        let Document::Manifest(document) = document else {
            return Err(Error::new(
                Kind::Hostile,
                format!("{} is an index, not a manifest", manifest.digest),
            ));
        };
        let Manifest { config: about, layers, .. } = *document;
        let config = parse_config(&self.blobs().read(&about.digest)?)?;
        let diff_ids = &config.rootfs.diff_ids;
        if diff_ids.len() != layers.len() {
            return Err(Error::new(
                Kind::Hostile,
                format!("image has {} layers, but its config describes {}", layers.len(), diff_ids.len()),
            ));
        }
        let parent = parent.filter(|p| self.get(p).is_some());
        Ok(Image { id: about.digest, config, manifest, size: 0, parent, tagged: None, layers })
    }

    /// Bytes of all layers, which are here or about to be.
    fn size_of(&self, image: &Image, unpacked: &[Unpacked]) -> Result<u64, Error> {
        let mut size = 0;
        for diff_id in image.diff_ids() {
            let fresh = unpacked.iter().find(|u| u.diff_id() == diff_id).map(|u| u.layer().size);
            let Some(bytes) = fresh.or_else(|| self.layers().get(diff_id).map(|l| l.size)) else {
                return Err(Error::new(Kind::NotFound, format!("layer does not exist: {diff_id}")));
            };
            size += bytes;
        }
        Ok(size)
    }

    /// Everything an image is made of: what a lease on it covers, and what a collector keeps.
    pub(crate) fn parts(image: &Image) -> HashSet<Digest> {
        Self::documents_and_archives(image).chain(image.diff_ids().iter().cloned()).collect()
    }

    /// The blobs among it.
    pub(crate) fn documents_and_archives(image: &Image) -> impl Iterator<Item = Digest> + use<'_> {
        let archives = image.layers.iter().map(|layer| &layer.digest);
        archives.chain([&image.id, &image.manifest.digest]).cloned()
    }
}

/// Names that would be mistaken for something else.
pub(super) fn check_name(name: &Reference) -> Result<(), Error> {
    if name.is_name_only() {
        return Err(Error::new(
            Kind::Invalid,
            format!("name {} has neither tag nor digest", name.familiar()),
        ));
    }
    let is_algorithm = Algorithm::ALL.iter().any(|a| a.as_str() == name.familiar_name());
    if is_algorithm && name.digest().is_none() {
        return Err(Error::new(Kind::Invalid, TAG_OF_DIGEST_ALGORITHM));
    }
    Ok(())
}
