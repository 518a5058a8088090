//! From a name to the documents of one image: what the tag stands for, the manifest for the platform, the config.
//!
//! Documents that are here already are not fetched again; all of them end up in the blob store as the bytes that came.
//! A tag is first asked for by `HEAD`, which registries do not count, and then fetched by digest, so that a tag that
//! moves meanwhile cannot mix two images.

use oci::digest::{Algorithm, Digest};
use oci::image::{Descriptor, Document, ImageConfig, Index, InvalidDocument, Manifest, media_type};
use oci::platform::Platform;
use oci::reference::Reference;
use store::blobs::{Blobs, DOCUMENT_LIMIT};
use store::leases::Lease;
use tokio::task::spawn_blocking;

use crate::registry::{Error, Kind, Session};
use crate::retry::{Retry, retrying};

/// An index may hold an index; deeper nests have not been seen.
const MAX_DEPTH: usize = 3;

/// Everything about an image but its layers.
pub(super) struct Resolved {
    /// What the name stands for: an index or the manifest itself.
    pub(super) top: Descriptor,
    /// The manifest that was chosen.
    pub(super) chosen: Descriptor,
    pub(super) manifest: Manifest,
    pub(super) config: ImageConfig,
}

pub(super) struct Question<'a> {
    pub(super) session: &'a Session,
    pub(super) blobs: &'a Blobs,
    pub(super) reference: &'a Reference,
    pub(super) platform: &'a Platform,
    pub(super) retry: Retry,
}

impl Question<'_> {
    /// What the reference stands for at this registry. The content comes along where it had to be fetched.
    pub(super) async fn top(&self) -> Result<(Descriptor, Option<Vec<u8>>), Error> {
        if let Some(digest) = self.reference.digest() {
            if self.blobs.contains(digest) {
                let size = self.blobs.size(digest).unwrap_or_default();
                return Ok((Descriptor::new("", digest.clone(), size), None));
            }
            return self.fetch(digest.as_str()).await;
        }
        let tag = self.reference.tag().unwrap_or(oci::reference::DEFAULT_TAG);
        // A HEAD that says no has no body to say why; the GET will.
        match retrying(self.retry, || self.session.head_manifest(tag)).await? {
            Some(found) if self.blobs.contains(&found.digest) => Ok((found, None)),
            Some(found) => self.fetch(found.digest.as_str()).await,
            None => self.fetch(tag).await,
        }
    }

    async fn fetch(&self, target: &str) -> Result<(Descriptor, Option<Vec<u8>>), Error> {
        let found = retrying(self.retry, || self.session.manifest(target)).await?;
        Ok((found.descriptor, Some(found.content)))
    }

    /// Follows `top` to an image. What is kept is under `lease` before it is looked for.
    pub(super) async fn image(
        &self,
        top: Descriptor,
        content: Option<Vec<u8>>,
        lease: &mut Lease,
    ) -> Result<Resolved, Error> {
        let (mut chosen, mut content) = (top.clone(), content);
        for _ in 0..MAX_DEPTH {
            let bytes = self.keep(&chosen, content.take(), lease).await?;
            match Document::parse(&chosen.media_type, &bytes).map_err(|error| self.invalid(&error))? {
                Document::Index(index) => chosen = self.choose(&index)?,
                Document::Manifest(manifest) => {
                    let config = self.config(&manifest, lease).await?;
                    return Ok(Resolved { top, chosen, manifest: *manifest, config });
                }
            }
        }
        Err(Error::new(Kind::Unsupported, format!("more than {MAX_DEPTH} indexes within one another")))
    }

    /// The bytes of a manifest: given, here already, or fetched; and kept.
    async fn keep(
        &self,
        descriptor: &Descriptor,
        content: Option<Vec<u8>>,
        lease: &mut Lease,
    ) -> Result<Vec<u8>, Error> {
        lease.add(descriptor.digest.clone());
        let content = match content {
            Some(content) => content,
            None => match read(self.blobs, &descriptor.digest).await? {
                Some(content) => return Ok(content),
                None => {
                    let target = descriptor.digest.as_str();
                    retrying(self.retry, || self.session.manifest(target)).await?.content
                }
            },
        };
        store(self.blobs, &descriptor.digest, content.clone()).await?;
        Ok(content)
    }

    fn choose(&self, index: &Index) -> Result<Descriptor, Error> {
        let fitting = |entry: &&&Descriptor| {
            let kind = entry.media_type.as_str();
            kind.is_empty() || media_type::is_manifest(kind) || media_type::is_index(kind)
        };
        let found = index.matching(self.platform);
        found.iter().find(fitting).map(|entry| (*entry).clone()).ok_or_else(|| {
            let message = format!("no matching manifest for {} in the manifest list entries", self.platform);
            Error::new(Kind::NotFound, message)
        })
    }

    async fn config(&self, manifest: &Manifest, lease: &mut Lease) -> Result<ImageConfig, Error> {
        let descriptor = &manifest.config;
        if !media_type::is_config(&descriptor.media_type) {
            let class = if descriptor.media_type == media_type::DOCKER_PLUGIN { "plugin" } else { "unknown" };
            let message = format!("Encountered remote {:?}({class}) when fetching", descriptor.media_type);
            return Err(Error::new(Kind::Unsupported, message));
        }
        lease.add(descriptor.digest.clone());
        let content = match read(self.blobs, &descriptor.digest).await? {
            Some(content) => content,
            None => {
                let fetch = || self.session.document(descriptor, DOCUMENT_LIMIT);
                let content = retrying(self.retry, fetch).await?;
                store(self.blobs, &descriptor.digest, content.clone()).await?;
                content
            }
        };
        let config = ImageConfig::parse(&content)
            .map_err(|error| Error::new(Kind::Unsupported, format!("invalid image config: {error}")))?;
        self.check(manifest, &config)?;
        Ok(config)
    }

    fn check(&self, manifest: &Manifest, config: &ImageConfig) -> Result<(), Error> {
        if !config.os.is_empty() && config.os != self.platform.os {
            let message = format!(
                "image operating system {:?} cannot be used on this platform: operating system is not supported",
                config.os
            );
            return Err(Error::new(Kind::Unsupported, message));
        }
        let (layers, ids) = (manifest.layers.len(), config.rootfs.diff_ids.len());
        if layers != ids {
            let message = format!("invalid image: {layers} layers in the manifest, {ids} in the config");
            return Err(Error::new(Kind::Unsupported, message));
        }
        match manifest.layers.iter().find(|layer| !media_type::is_layer(&layer.media_type)) {
            None => Ok(()),
            Some(layer) => {
                let message = format!("unsupported layer media type {:?}", layer.media_type);
                Err(Error::new(Kind::Unsupported, message))
            }
        }
    }

    fn invalid(&self, error: &InvalidDocument) -> Error {
        if !matches!(error, InvalidDocument::Schema1) {
            let cause =
                std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
            return Error::new(Kind::Unsupported, format!("{error}{cause}"));
        }
        let message = format!(
            "[DEPRECATION NOTICE] Docker Image Format v1 and Docker Image manifest version 2, schema 1 support is \
             disabled by default and will be removed in an upcoming release. Suggest the author of {} to upgrade the \
             image to the OCI Format or Docker Image manifest v2, schema 2. More information at \
             https://docs.docker.com/go/deprecated-image-specs/",
            self.reference
        );
        Error::new(Kind::Unsupported, message)
    }
}

/// A document from the store; a damaged one counts as absent, so that it is fetched again.
async fn read(blobs: &Blobs, digest: &Digest) -> Result<Option<Vec<u8>>, Error> {
    let (blobs, digest) = (blobs.clone(), digest.clone());
    let read = spawn_blocking(move || match blobs.read(&digest) {
        Ok(content) => Ok(Some(content)),
        Err(error) if matches!(error.kind(), store::Kind::NotFound | store::Kind::Corrupt) => Ok(None),
        Err(error) => Err(Error::from(error)),
    });
    read.await.map_err(|error| Error::new(Kind::Other, error.to_string()))?
}

async fn store(blobs: &Blobs, digest: &Digest, content: Vec<u8>) -> Result<(), Error> {
    let (blobs, digest) = (blobs.clone(), digest.clone());
    let store = spawn_blocking(move || -> Result<(), store::Error> {
        if digest.algorithm() == Algorithm::Sha256 {
            return blobs.put(&content).map(drop);
        }
        let mut ingest = blobs.ingest(&digest, content.len() as u64)?;
        ingest.restart()?;
        ingest.write(&content)?;
        ingest.commit()
    });
    Ok(store.await.map_err(|error| Error::new(Kind::Other, error.to_string()))??)
}
