//! The files of an image archive, put into the blob store as they stream by, and findable by their name in the archive.

use std::collections::{HashMap, HashSet};
use std::io::Read;

use oci::digest::Digest;
use serde::de::DeserializeOwned;
use store::leases::Lease;

use crate::archive::{Content, Limits, Reader};
use crate::compression::{Compression, Decoder, peek};
use crate::{Error, Images, Kind};

/// Members of an image archive. Three per layer was the most that any version wrote, and 127 layers the most that Docker allows; many
/// images together stay far below this.
const MEMBERS: u64 = 100_000;

/// Links followed from one name: old archives link a layer to the same layer of another image, once.
const LINKS: usize = 8;

const BUFFER: usize = 256 << 10;

pub(super) struct Shelf<'a> {
    images: &'a Images,
    lease: Lease,
    files: HashMap<String, Digest>,
    links: HashMap<String, String>,
    /// What was brought in by this load.
    fresh: HashSet<Digest>,
}

impl<'a> Shelf<'a> {
    pub(super) fn new(images: &'a Images) -> Self {
        Self {
            images,
            lease: images.leases().hold([]),
            files: HashMap::new(),
            links: HashMap::new(),
            fresh: HashSet::new(),
        }
    }

    /// Takes in a whole archive, compressed or not.
    pub(super) fn fill(&mut self, archive: impl Read) -> Result<(), Error> {
        let limits = Limits { entries: MEMBERS, ..Limits::default() };
        let mut reader = Reader::new(Decoder::new(archive)?, limits);
        while let Some(entry) = reader.next()? {
            let Some(name) = normal(&entry.path) else { continue };
            match entry.content {
                Content::File { segments: Some(_), .. } => {
                    return Err(Error::new(
                        Kind::Hostile,
                        format!("invalid archive: {name:?} is a sparse file"),
                    ));
                }
                Content::File { size, .. } => {
                    let digest = self.take_in(&name, size, &mut reader)?;
                    self.files.insert(name, digest);
                }
                Content::Symlink { target } => {
                    let base = name.rsplit_once('/').map_or("", |(directory, _)| directory);
                    let target = String::from_utf8_lossy(&target);
                    if let Some(target) = normal(format!("{base}/{target}").as_bytes()) {
                        self.links.insert(name, target);
                    }
                }
                Content::HardLink { target } => {
                    if let Some(target) = normal(&target) {
                        self.links.insert(name, target);
                    }
                }
                _ => {}
            }
        }
        if self.files.is_empty() {
            return Err(Error::new(Kind::Invalid, "invalid archive: it has no files"));
        }
        Ok(())
    }

    fn take_in(&mut self, name: &str, size: u64, data: &mut impl Read) -> Result<Digest, Error> {
        // A blob that is here already need not be read: its bytes were verified, whatever the archive has.
        if let Some(known) = blob_name(name) {
            self.lease.add(known.clone());
            if self.images.blobs().size(&known) == Some(size) {
                return Ok(known);
            }
        }
        let digest = self.keep(data)?;
        if let Some(promised) = blob_name(name)
            && promised != digest
        {
            return Err(Error::new(Kind::Hostile, format!("invalid archive: {name:?} has digest {digest}")));
        }
        Ok(digest)
    }

    fn keep(&mut self, data: &mut impl Read) -> Result<Digest, Error> {
        let mut fresh = self.images.blobs().create()?;
        let mut buffer = vec![0; BUFFER];
        loop {
            let n = data.read(&mut buffer)?;
            if n == 0 {
                break;
            }
            fresh.write(&buffer[..n])?;
        }
        // Known only now; the lease must come before anyone could collect it.
        let digest = fresh.digest();
        self.lease.add(digest.clone());
        fresh.commit()?;
        self.fresh.insert(digest.clone());
        Ok(digest)
    }

    /// A layer in a form that has a media type: what is packed with bzip2 or xz is kept as it is inside.
    pub(super) fn packed_usually(&mut self, layer: &Digest) -> Result<Digest, Error> {
        let (compression, whole) = peek(self.images.blobs().reader(layer)?)?;
        match compression {
            Compression::None | Compression::Gzip | Compression::Zstd => Ok(layer.clone()),
            Compression::Bzip2 | Compression::Xz => {
                // One byte more than a layer may have, at which unpacking gives up.
                let limit = Limits::default().bytes.saturating_add(1);
                self.keep(&mut Decoder::new(whole)?.take(limit))
            }
        }
    }

    /// The blob of a file in the archive.
    pub(super) fn find(&self, name: &str) -> Option<Digest> {
        let mut name = normal(name.as_bytes())?;
        for _ in 0..LINKS {
            if let Some(digest) = self.files.get(&name) {
                return Some(digest.clone());
            }
            name = self.links.get(&name)?.clone();
        }
        None
    }

    /// Like [`Self::find`], for what must be there.
    pub(super) fn need(&self, name: &str) -> Result<Digest, Error> {
        self.find(name).ok_or_else(|| {
            Error::new(Kind::Hostile, format!("invalid archive: it does not contain {name:?}"))
        })
    }

    pub(super) fn read(&self, digest: &Digest) -> Result<Vec<u8>, Error> {
        Ok(self.images.blobs().read(digest)?)
    }

    /// A document by its name in the archive.
    pub(super) fn document<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Error> {
        let Some(digest) = self.find(name) else { return Ok(None) };
        serde_json::from_slice(&self.read(&digest)?)
            .map(Some)
            .map_err(|e| Error::caused(Kind::Hostile, format!("invalid archive: {name}"), e))
    }

    /// Whether the archive brought this blob, or the store had it.
    pub(super) fn has(&self, digest: &Digest) -> bool {
        self.images.blobs().contains(digest)
    }

    /// Ends the lease; what no image uses now may go.
    pub(super) fn into_digests(self) -> HashSet<Digest> {
        self.fresh
    }
}

/// `blobs/sha256/<hex>` names its content.
fn blob_name(name: &str) -> Option<Digest> {
    let (algorithm, hex) = name.strip_prefix("blobs/")?.split_once('/')?;
    format!("{algorithm}:{hex}").parse().ok()
}

/// A member's name without `./` and `..`; `None` when it climbs out or is not text, which no document could refer to.
fn normal(name: &[u8]) -> Option<String> {
    let clean = crate::archive::clean(name)?;
    let text = clean.to_str()?;
    (!text.is_empty()).then(|| text.to_owned())
}
