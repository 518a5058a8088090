//! New images made here: a container's changes on top of its image (`commit`), or a whole tree (`import`).
//!
//! A commit writes the upper directory as a layer archive, gzip on the fly, and unpacks that archive again: the layer is then by
//! construction what anybody who pulls the image will get, and it is shared and immutable like every other.

use std::io::{Read, Write};

use flate2::write::GzEncoder;
use linux::path::Root;
use oci::digest::{Digest, Hasher};
use oci::image::{Config, History, ImageConfig, RootFs};
use oci::platform::Platform;
use oci::reference::Reference;
use store::blobs::Fresh;
use store::leases::Lease;

use crate::archive::{Writer, archive_layer};
use crate::compression::{Compression, Decoder, peek};
use crate::images::now;
use crate::{Arrival, Error, Images, Kind, Unpacked};

/// Diff ID of a layer without entries: two empty blocks. An image never has it; the step is marked as empty instead.
const EMPTY_LAYER: &str = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef";

/// What a commit says about the new image.
pub struct Commit {
    pub base: Option<Digest>,
    pub config: Config,
    pub author: String,
    pub comment: String,
    /// The step that history shows.
    pub created_by: String,
    pub names: Vec<Reference>,
}

/// What an import says about the new image.
pub struct Import {
    pub config: Config,
    pub comment: String,
    pub platform: Platform,
    pub names: Vec<Reference>,
}

impl Images {
    /// Makes an image of a snapshot's changes. Whoever writes there should be stopped or paused.
    pub fn commit(&self, snapshot: &str, commit: Commit) -> Result<Digest, Error> {
        let mut lease = self.leases().hold([]);
        let made = self.commit_under(&mut lease, snapshot, commit);
        self.after(lease, made)
    }

    fn commit_under(&self, lease: &mut Lease, snapshot: &str, commit: Commit) -> Result<Digest, Error> {
        let base = match &commit.base {
            Some(id) => Some(self.get(id).ok_or_else(|| Error::no_such_image(id.as_str()))?),
            None => None,
        };
        let diff_ids = self.snapshots().layers_of(snapshot)?;
        let upper = Root::open(&self.snapshots().get(snapshot)?.upper)?;
        diff_ids.iter().for_each(|layer| lease.add(layer.clone()));
        let (diff_id, archive) = self.write_layer(&upper, lease)?;
        let empty = diff_id.as_str() == EMPTY_LAYER;
        let mut image = match &base {
            Some(base) => ImageConfig { other: Default::default(), ..base.config.clone() },
            // Who made the layers below is not known any more, but each has its line.
            None => ImageConfig {
                history: vec![History::default(); diff_ids.len()],
                ..for_platform(&Platform::host())
            },
        };
        image.config = commit.config;
        image.author = commit.author.clone();
        image.created = Some(now());
        image.history.push(History {
            created: image.created.clone(),
            created_by: commit.created_by,
            author: commit.author,
            comment: commit.comment,
            empty_layer: empty,
        });
        let mut layers = self.archives_of(&diff_ids)?;
        image.rootfs.diff_ids = diff_ids;
        let mut unpacked = Vec::new();
        if !empty {
            unpacked.push(self.layers().unpack(Some(&diff_id), self.blobs().reader(&archive)?)?);
            image.rootfs.diff_ids.push(diff_id);
            layers.push(archive);
        }
        self.finish(image, layers, unpacked, commit.names, commit.base)
    }

    /// The archives of layers that are here: of an image, or of what a removed one left under its container.
    fn archives_of(&self, diff_ids: &[Digest]) -> Result<Vec<Digest>, Error> {
        let archive = |diff_id: &Digest| {
            let archive = self.layers().get(diff_id).and_then(|layer| layer.archive);
            archive.filter(|digest| self.blobs().contains(digest)).ok_or_else(|| {
                Error::new(Kind::NotFound, format!("the archive of layer {diff_id} is not here any more"))
            })
        };
        diff_ids.iter().map(archive).collect()
    }

    /// Makes an image of an archive of a whole root file system.
    pub fn import(&self, archive: impl Read + Send, import: Import) -> Result<Digest, Error> {
        let mut lease = self.leases().hold([]);
        let made = self.import_under(&mut lease, archive, import);
        self.after(lease, made)
    }

    fn import_under(
        &self,
        lease: &mut Lease,
        archive: impl Read + Send,
        import: Import,
    ) -> Result<Digest, Error> {
        // What no registry would take as a layer is kept as it is inside.
        let (compression, whole) = peek(archive)?;
        let archive: Box<dyn Read + Send + '_> = match compression {
            Compression::Bzip2 | Compression::Xz => Box::new(Decoder::new(whole)?),
            Compression::None | Compression::Gzip | Compression::Zstd => Box::new(whole),
        };
        let mut tee = Tee { source: archive, sink: self.blobs().create()? };
        let unpacked = self.layers().unpack(None, &mut tee)?;
        lease.add(unpacked.diff_id().clone());
        lease.add(tee.sink.digest());
        let (digest, _) = tee.sink.commit()?;
        let mut image = for_platform(&import.platform);
        image.config = import.config;
        image.created = Some(now());
        image.rootfs.diff_ids.push(unpacked.diff_id().clone());
        image.history.push(History {
            created: image.created.clone(),
            comment: import.comment,
            ..History::default()
        });
        self.finish(image, vec![digest], vec![unpacked], import.names, None)
    }

    pub(crate) fn finish(
        &self,
        image: ImageConfig,
        layers: Vec<Digest>,
        unpacked: Vec<Unpacked>,
        names: Vec<Reference>,
        parent: Option<Digest>,
    ) -> Result<Digest, Error> {
        let content =
            serde_json::to_vec(&image).map_err(|e| Error::caused(Kind::Other, "encode image config", e))?;
        let mut lease = self.leases().hold([Digest::sha256_of(&content)]);
        let install = |lease: &mut Lease| {
            let config = self.blobs().put(&content)?;
            let manifest = self.make_manifest(&config, &layers)?;
            lease.add(manifest.digest.clone());
            self.install(Arrival { manifest, unpacked, names, parent })
        };
        let installed = install(&mut lease);
        self.after(lease, installed).map(|image| image.id.clone())
    }

    /// The lease ends, however its work came out. Why that failed counts more than what could not be cleared away.
    fn after<T>(&self, lease: Lease, work: Result<T, Error>) -> Result<T, Error> {
        let ended = self.end(lease);
        let done = work?;
        ended.map(|()| done)
    }

    /// Writes an upper directory as a layer: its diff ID, and the digest of the stored archive.
    fn write_layer(&self, upper: &Root, lease: &mut Lease) -> Result<(Digest, Digest), Error> {
        let gzip = GzEncoder::new(self.blobs().create()?, flate2::Compression::fast());
        let mut writer = Writer::new(Hashed { hasher: Hasher::sha256(), sink: gzip });
        archive_layer(upper, &mut writer)?;
        let Hashed { hasher, sink } = writer.finish()?;
        let fresh: Fresh = sink.finish()?;
        let diff_id = hasher.finish();
        lease.add(diff_id.clone());
        lease.add(fresh.digest());
        let (archive, _) = fresh.commit()?;
        Ok((diff_id, archive))
    }
}

fn for_platform(platform: &Platform) -> ImageConfig {
    ImageConfig {
        architecture: platform.architecture.clone(),
        variant: platform.variant.clone(),
        os: platform.os.clone(),
        rootfs: RootFs::default(),
        ..ImageConfig::default()
    }
}

/// Hashes what is written through it.
struct Hashed<W> {
    hasher: Hasher,
    sink: W,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let n = self.sink.write(bytes)?;
        self.hasher.update(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.sink.flush()
    }
}

/// Keeps what is read through it.
struct Tee<R> {
    source: R,
    sink: Fresh,
}

impl<R: Read> Read for Tee<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.source.read(buffer)?;
        Write::write_all(&mut self.sink, &buffer[..n])?;
        Ok(n)
    }
}
