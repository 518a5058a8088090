//! The images that are here: what they are called, what they are made of, and which one a name means.
//!
//! ```text
//!  image record (id = digest of the config)      manifest, layers, parent, when it was tagged
//!  name  image-tag     docker.io/library/x:tag      ─▶ id       moved by tag, load, pull, commit
//!  name  image-digest  docker.io/library/x@sha256…  ─▶ id       said by a registry: pull, push
//! ```
//!
//! All of it is also held in memory, parsed: `run` finds its image without touching a disk, and a listing waits for nobody. Changes go
//! to the records first and then to memory, one at a time.

mod arrival;
mod collect;
mod history;
mod remove;
mod resolve;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use oci::digest::Digest;
use oci::image::{Descriptor, ImageConfig};
use oci::reference::Reference;
use serde::{Deserialize, Serialize};
use store::blobs::Blobs;
use store::leases::Leases;
use store::records::{Record, Records};

use crate::{Error, Kind, Layers, Paths, Snapshots};
pub use arrival::{Arrival, TAG_OF_DIGEST_ALGORITHM};
pub use history::Line as HistoryLine;
pub use remove::{Removed, Usage, Users};

const TAGS: &str = "image-tag";
const DIGESTS: &str = "image-digest";

/// An image, immutable.
#[derive(Debug, Clone, PartialEq)]
pub struct Image {
    /// Digest of the config.
    pub id: Digest,
    pub config: ImageConfig,
    /// The manifest by which it came, or the one made for it here.
    pub manifest: Descriptor,
    /// Bytes of all files of all layers.
    pub size: u64,
    /// The image that it was committed on, if that is here.
    pub parent: Option<Digest>,
    /// When a name was last given to it, RFC 3339.
    pub tagged: Option<String>,
    /// Layer archives as stored, bottom first.
    pub layers: Vec<Descriptor>,
}

impl Image {
    pub fn diff_ids(&self) -> &[Digest] {
        &self.config.rootfs.diff_ids
    }
}

/// What is kept of an image; everything else is in its blobs.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Stored {
    manifest: Descriptor,
    layers: Vec<Descriptor>,
    size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parent: Option<Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tagged: Option<String>,
}

impl Record for Stored {
    const KIND: &'static str = "image";
    const VERSION: u32 = 1;
}

/// The names of one image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// `name:tag`, sorted.
    pub tags: Vec<Reference>,
    /// `name@digest`, sorted.
    pub digests: Vec<Reference>,
}

impl Names {
    pub fn is_empty(&self) -> bool {
        self.tags.is_empty() && self.digests.is_empty()
    }

    /// Both kinds, as Docker's reference store lists them.
    pub fn all(&self) -> impl Iterator<Item = &Reference> {
        self.tags.iter().chain(&self.digests)
    }
}

/// The image store. Cheap to clone.
#[derive(Clone)]
pub struct Images {
    inner: Arc<Inner>,
}

struct Inner {
    blobs: Blobs,
    leases: Leases,
    records: Records,
    layers: Layers,
    snapshots: Snapshots,
    index: RwLock<Index>,
    /// Held while a change goes to the records and to `index`.
    changing: Mutex<()>,
}

/// Everything, parsed.
#[derive(Default)]
struct Index {
    images: HashMap<Digest, Arc<Image>>,
    names: BTreeMap<Reference, Digest>,
    of: HashMap<Digest, BTreeSet<Reference>>,
}

impl Index {
    fn assign(&mut self, name: Reference, id: &Digest) {
        self.release(&name);
        self.of.entry(id.clone()).or_default().insert(name.clone());
        self.names.insert(name, id.clone());
    }

    fn release(&mut self, name: &Reference) {
        if let Some(id) = self.names.remove(name)
            && let Some(names) = self.of.get_mut(&id)
        {
            names.remove(name);
        }
    }

    fn names_of(&self, id: &Digest) -> Names {
        let mut names = Names::default();
        for name in self.of.get(id).into_iter().flatten() {
            if name.digest().is_some() {
                names.digests.push(name.clone());
            } else {
                names.tags.push(name.clone());
            }
        }
        names
    }
}

impl Images {
    /// Opens the store below a data root, and cleans up what a crash left.
    pub fn open(data_root: &Path, records: &Records) -> Result<Self, Error> {
        let paths = Paths::new(data_root);
        let blobs = Blobs::open(&store::paths::blobs(data_root))?;
        let layers = Layers::open(&paths, records)?;
        let snapshots = Snapshots::open(&paths, records, &layers)?;
        let mut index = Index::default();
        for (id, stored) in records.read(|r| r.list::<Stored>())? {
            match load_image(&blobs, &id, stored) {
                Ok(image) => drop(index.images.insert(image.id.clone(), Arc::new(image))),
                // One damaged image must not keep all others, and every container, from being used.
                Err(error) => {
                    tracing::error!(image = id, %error, "image is damaged and left out: pull or load it again")
                }
            }
        }
        for namespace in [TAGS, DIGESTS] {
            for (name, id) in records.read(|r| r.names(namespace))? {
                let (name, id) = (parse_name(&name)?, parse_id(&id)?);
                if index.images.contains_key(&id) {
                    index.assign(name, &id);
                }
            }
        }
        let inner = Inner {
            blobs,
            leases: Leases::default(),
            records: records.clone(),
            layers,
            snapshots,
            index: RwLock::new(index),
            changing: Mutex::new(()),
        };
        let images = Self { inner: Arc::new(inner) };
        images.expire()?;
        Ok(images)
    }

    pub fn blobs(&self) -> &Blobs {
        &self.inner.blobs
    }

    pub fn leases(&self) -> &Leases {
        &self.inner.leases
    }

    pub fn layers(&self) -> &Layers {
        &self.inner.layers
    }

    pub fn snapshots(&self) -> &Snapshots {
        &self.inner.snapshots
    }

    pub(crate) fn records(&self) -> &Records {
        &self.inner.records
    }

    /// The image with this id.
    pub fn get(&self, id: &Digest) -> Option<Arc<Image>> {
        self.index().images.get(id).cloned()
    }

    /// Every image with its names, the youngest first.
    pub fn list(&self) -> Vec<(Arc<Image>, Names)> {
        let index = self.index();
        let mut found: Vec<_> =
            index.images.values().map(|image| (image.clone(), index.names_of(&image.id))).collect();
        found.sort_by(|(a, _), (b, _)| created(b).cmp(&created(a)).then_with(|| a.id.cmp(&b.id)));
        found
    }

    pub fn names_of(&self, id: &Digest) -> Names {
        self.index().names_of(id)
    }

    /// Images that were committed on this one.
    pub fn children(&self, id: &Digest) -> Vec<Digest> {
        let index = self.index();
        index.images.values().filter(|i| i.parent.as_ref() == Some(id)).map(|i| i.id.clone()).collect()
    }

    /// Gives an image one more name; whichever image had it before loses it.
    pub fn tag(&self, id: &Digest, name: &Reference) -> Result<(), Error> {
        arrival::check_name(name)?;
        let _changing = self.change();
        let Some(image) = self.get(id) else { return Err(Error::no_such_image(id.as_str())) };
        let now = now();
        let mut stored = to_stored(&image);
        stored.tagged = Some(now.clone());
        self.inner.records.write::<_, Error>(|t| {
            t.put(id.as_str(), &stored)?;
            t.assign(namespace(name), &name.to_string(), id.as_str())?;
            Ok(())
        })?;
        let mut index = self.index_mut();
        index.images.insert(id.clone(), Arc::new(Image { tagged: Some(now), ..(*image).clone() }));
        index.assign(name.clone(), id);
        Ok(())
    }

    fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.inner.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn index_mut(&self) -> std::sync::RwLockWriteGuard<'_, Index> {
        self.inner.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self) -> MutexGuard<'_, ()> {
        self.inner.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn load_image(blobs: &Blobs, id: &str, stored: Stored) -> Result<Image, Error> {
    let id = parse_id(id)?;
    let config = parse_config(&blobs.read(&id)?)?;
    let Stored { manifest, layers, size, parent, tagged } = stored;
    Ok(Image { id, config, manifest, size, parent, tagged, layers })
}

fn to_stored(image: &Image) -> Stored {
    Stored {
        manifest: image.manifest.clone(),
        layers: image.layers.clone(),
        size: image.size,
        parent: image.parent.clone(),
        tagged: image.tagged.clone(),
    }
}

pub(crate) fn parse_config(content: &[u8]) -> Result<ImageConfig, Error> {
    ImageConfig::parse(content).map_err(|e| Error::caused(Kind::Hostile, "invalid image config", e))
}

/// Seconds since the epoch at which an image says it was made; 0 when it does not say.
pub fn created(image: &Image) -> i64 {
    timestamp(image.config.created.as_deref())
}

pub(crate) fn timestamp(text: Option<&str>) -> i64 {
    text.and_then(|t| t.parse::<jiff::Timestamp>().ok()).map_or(0, jiff::Timestamp::as_second)
}

pub(crate) fn now() -> String {
    jiff::Timestamp::now().to_string()
}

fn namespace(name: &Reference) -> &'static str {
    if name.digest().is_some() { DIGESTS } else { TAGS }
}

fn parse_id(id: &str) -> Result<Digest, Error> {
    id.parse().map_err(|e| Error::caused(Kind::Other, format!("image record {id:?}"), e))
}

fn parse_name(name: &str) -> Result<Reference, Error> {
    Reference::parse_normalized(name)
        .map_err(|e| Error::caused(Kind::Other, format!("image name {name:?}"), e))
}
