//! Pushing: an image that is here, byte for byte, to a registry.
//!
//! The manifest that is sent is the one by which the image came or was made, so its digest stays what it was; one that
//! was loaded with layers that are not packed is packed first ([`pack`]). Layers go first, several at a time: each is looked for at the registry, then asked to be mounted from a repository of
//! the same registry that is known to have it, and only then sent. The config and the manifest follow; the tag exists
//! when all that it stands for does.
//!
//! Limits: as many layers at a time as [`crate::pull::Limits`] says, [`MOUNT_TRIES`] repositories asked for each.

mod pack;

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::stream::{self, TryStreamExt};
use oci::digest::Digest;
use oci::image::{Descriptor, Manifest};
use oci::reference::Reference;
use tokio::task::spawn_blocking;

use crate::pull::{Limits, Pulls};
use crate::registry::{Access, Credentials, Error, Kind, Mounting, Sent, Session, Upload, first_answer};
use crate::retry::Failures;
use crate::{Image, Images, Progress, Sink, Step};

/// A mount that fails costs a round trip; after this many the bytes are sent.
const MOUNT_TRIES: usize = 3;
/// Positions are told at most this often.
const INTERVAL: Duration = Duration::from_millis(100);

/// One image under one name, on its way out.
struct Push {
    images: Images,
    image: Arc<Image>,
    reference: Reference,
    limits: Limits,
    sink: Arc<dyn Sink>,
}

/// What goes over the wire besides layers.
struct Documents {
    manifest: Manifest,
    content: Vec<u8>,
    descriptor: Descriptor,
}

impl Pulls {
    /// Pushes one tag, or all tags of a name. Dropping the future gives up.
    pub async fn push(
        &self,
        reference: &Reference,
        credentials: &Credentials,
        sink: Arc<dyn Sink>,
    ) -> Result<(), crate::Error> {
        let found = associations(self.images(), reference)?;
        let name = reference.name_only();
        sink(Progress::status(format!("The push refers to repository [{name}]")));
        for (reference, image) in found {
            let (images, limits, sink) = (self.images().clone(), *self.limits(), sink.clone());
            let push = Arc::new(Push { images, image, reference, limits, sink });
            let sessions = self.registries().sessions(&name, credentials, Access::Push).await?;
            first_answer(sessions, |session| {
                let push = push.clone();
                async move { push.run(&session).await }
            })
            .await?;
        }
        Ok(())
    }
}

/// The tags to push and what they stand for.
fn associations(
    images: &Images,
    reference: &Reference,
) -> Result<Vec<(Reference, Arc<Image>)>, crate::Error> {
    let invalid = |message: String| crate::Error::new(crate::Kind::Invalid, message);
    if reference.digest().is_some() {
        return Err(invalid("cannot push a digest reference".into()));
    }
    let name = reference.name_only();
    let all: Vec<(Reference, Arc<Image>)> = images
        .list()
        .into_iter()
        .flat_map(|(image, names)| names.tags.into_iter().map(move |tag| (tag, image.clone())))
        .filter(|(tag, _)| tag.name_only() == name)
        .collect();
    if all.is_empty() {
        let message = format!("An image does not exist locally with the tag: {}", reference.familiar_name());
        return Err(crate::Error::new(crate::Kind::NotFound, message));
    }
    if reference.is_name_only() {
        return Ok(all);
    }
    let found: Vec<_> = all.into_iter().filter(|(tag, _)| tag == reference).collect();
    if found.is_empty() {
        let message = format!("tag does not exist: {}", reference.familiar());
        return Err(crate::Error::new(crate::Kind::NotFound, message));
    }
    Ok(found)
}

impl Push {
    async fn run(&self, session: &Session) -> Result<(), Error> {
        // Nothing of it may be collected meanwhile.
        let before = self.images.leases().hold(Images::parts(&self.image));
        for id in Self::layers(&self.image).into_iter().map(|(_, id)| id) {
            self.tell(&id, Step::Preparing);
        }
        // Whoever may not push hears it before anything is packed.
        let has_config = session.has_blob(&self.image.id).await?;
        let image = self.packed().await?;
        let _lease = self.images.leases().hold(Images::documents_and_archives(&image));
        // If it had to be packed, what it was before is nobody's now.
        let images = self.images.clone();
        spawn_blocking(move || images.end(before)).await.map_err(died)??;
        let Documents { manifest, content, descriptor } = self.documents(&image).await?;
        stream::iter(Self::layers(&image).into_iter().map(Ok))
            .try_for_each_concurrent(self.limits.uploads.max(1), |(layer, id)| async move {
                self.layer(session, layer, &id).await
            })
            .await?;
        if !has_config {
            self.send(session, &manifest.config, |_| ()).await?;
        }
        let tag = self.reference.tag().unwrap_or(oci::reference::DEFAULT_TAG);
        let put = || session.put_manifest(tag, &descriptor, content.clone());
        crate::retry::retrying(self.limits.retry, put).await?;
        self.remember(descriptor.digest.clone()).await?;
        (self.sink)(Progress::Pushed {
            tag: tag.to_owned(),
            digest: descriptor.digest,
            size: descriptor.size,
        });
        Ok(())
    }

    /// The image in the form in which it goes.
    async fn packed(&self) -> Result<Arc<Image>, Error> {
        if self.images.is_packed(&self.image) {
            return Ok(self.image.clone());
        }
        let (images, image) = (self.images.clone(), self.image.clone());
        Ok(spawn_blocking(move || images.pack(&image)).await.map_err(died)??)
    }

    async fn documents(&self, image: &Image) -> Result<Documents, Error> {
        let (blobs, mut descriptor) = (self.images.blobs().clone(), image.manifest.clone());
        let digest = descriptor.digest.clone();
        let content = spawn_blocking(move || blobs.read(&digest)).await.map_err(died)?;
        let content = content.map_err(crate::Error::from)?;
        let manifest: Manifest = serde_json::from_slice(&content).map_err(|error| {
            crate::Error::caused(crate::Kind::Other, format!("manifest {}", descriptor.digest), error)
        })?;
        if let Some(inside) = &manifest.media_type {
            descriptor.media_type.clone_from(inside);
        }
        if descriptor.media_type.is_empty() {
            descriptor.media_type = oci::image::media_type::OCI_MANIFEST.to_owned();
        }
        descriptor.size = content.len() as u64;
        Ok(Documents { manifest, content, descriptor })
    }

    /// What is distinct of the layers, each with the twelve digits that people see: those of its diff ID.
    fn layers(image: &Image) -> Vec<(&Descriptor, String)> {
        let mut seen = HashSet::new();
        let ids = image.diff_ids().iter().map(|diff_id| diff_id.short().to_owned());
        image.layers.iter().zip(ids).filter(|(layer, _)| seen.insert(&layer.digest)).collect()
    }

    async fn layer(&self, session: &Session, layer: &Descriptor, id: &str) -> Result<(), Error> {
        if session.has_blob(&layer.digest).await? {
            self.tell(id, Step::LayerAlreadyExists);
            return Ok(());
        }
        for from in self.mount_sources(&layer.digest) {
            // An upload that is opened instead is left to expire: its bytes may have to be sent in several tries.
            if let Mounting::Mounted = session.mount(&layer.digest, from.path()).await? {
                (self.sink)(Progress::Mounted { id: id.to_owned(), from: from.path().to_owned() });
                return Ok(());
            }
        }
        let last = Mutex::new(None::<Instant>);
        let (sink, own_id, total) = (self.sink.clone(), id.to_owned(), layer.size);
        self.tell(id, Step::Pushing { current: 0, total });
        self.send(session, layer, move |current| {
            let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
            if current < total && last.is_some_and(|last| last.elapsed() < INTERVAL) {
                return;
            }
            *last = Some(Instant::now());
            sink(Progress::Layer { id: own_id.clone(), step: Step::Pushing { current, total } });
        })
        .await?;
        self.tell(id, Step::Pushed);
        Ok(())
    }

    /// Other repositories of this registry that are known to have a blob: images came from there or went there.
    fn mount_sources(&self, digest: &Digest) -> Vec<Reference> {
        let mut sources = BTreeSet::new();
        for (image, names) in self.images.list() {
            if image.layers.iter().any(|layer| layer.digest == *digest) {
                sources.extend(names.digests.iter().map(Reference::name_only));
            }
        }
        sources
            .into_iter()
            .filter(|name| name.domain() == self.reference.domain() && name.path() != self.reference.path())
            .take(MOUNT_TRIES)
            .collect()
    }

    /// Sends a blob, from where a cut try stopped if the registry still knows.
    async fn send(
        &self,
        session: &Session,
        descriptor: &Descriptor,
        sent: impl Fn(u64) + Send + Sync + 'static,
    ) -> Result<(), Error> {
        let path = self.images.blobs().path(&descriptor.digest);
        let sent: Sent = Arc::new(sent);
        let mut failures = Failures::new(self.limits.retry);
        let mut open: Option<Upload> = None;
        let mut offset = 0;
        loop {
            let result = async {
                if offset == 0 {
                    open = Some(session.open_upload().await?);
                }
                let Some(upload) = open.as_mut() else { return Ok(()) };
                session.send(upload, &path, offset, descriptor.size, sent.clone()).await
            }
            .await;
            let error = match (result, open.take()) {
                (Ok(()), Some(upload)) => match session.finish(upload, &descriptor.digest).await {
                    Ok(()) => return Ok(()),
                    Err(error) => error,
                },
                (Ok(()), None) => Error::new(Kind::Other, "upload was not opened"),
                (Err(error), upload) => {
                    open = upload;
                    error
                }
            };
            tracing::debug!(digest = %descriptor.digest, %error, "an upload was cut");
            tokio::time::sleep(failures.again(error, offset)?).await;
            offset = match open.as_mut() {
                Some(upload) => session.upload_offset(upload).await.ok().flatten().unwrap_or(0),
                None => 0,
            };
            if offset >= descriptor.size {
                offset = 0;
            }
        }
    }

    /// The registry has the image now, under this digest: one more name for it here.
    async fn remember(&self, digest: Digest) -> Result<(), Error> {
        let (images, id) = (self.images.clone(), self.image.id.clone());
        let name = self.reference.with_digest(digest);
        spawn_blocking(move || images.tag(&id, &name)).await.map_err(died)??;
        Ok(())
    }

    fn tell(&self, id: &str, step: Step) {
        (self.sink)(Progress::Layer { id: id.to_owned(), step });
    }
}

fn died(error: tokio::task::JoinError) -> crate::Error {
    crate::Error::new(crate::Kind::Other, format!("a worker thread has ended: {error}"))
}
