//! Pulling: from a reference to an image that is complete, verified and durable.
//!
//! ```text
//!  resolve   tag ─▶ digest ─▶ index ─▶ manifest ─▶ config        documents, kept as they came
//!  fetch     one flight per layer, shared by all pulls that want it: download ∥ unpack
//!  publish   layers + image + name in one transaction            nothing is half there, ever
//! ```
//!
//! Whatever ends a pull early (an error, a client that hangs up, a killed engine) leaves no image and no layer, but
//! the bytes: complete blobs and partial ones stay, and the next pull of anything that needs them goes on from there.
//!
//! Limits: [`Limits`] layers download at a time, and as many unpack; each has a queue of 3 MiB and a window for
//! decompression. More than [`MAX_LAYERS`] layers in an image are refused: overlayfs could not mount them.

mod fetch;
mod flight;
mod inspect;
mod resolve;
mod tail;

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::try_join_all;
use oci::digest::Digest;
use oci::image::{Descriptor, ImageConfig, Manifest};
use oci::platform::Platform;
use oci::reference::Reference;
use tokio::sync::{Mutex, Semaphore};
use tokio::task::spawn_blocking;

use crate::registry::{Access, Credentials, Error, Kind, Registries, Session, first_answer};
pub use inspect::Remote;

pub use crate::retry::Retry;
use crate::{Arrival, Image, Images, Progress, Sink, Step, Unpacked};
use fetch::Fetch;
use flight::{Flight, Flights};
use resolve::{Question, Resolved};

/// What Docker's storage accepts.
const MAX_LAYERS: usize = 127;

/// How much goes on at a time.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub downloads: usize,
    pub uploads: usize,
    pub unpacks: usize,
    pub retry: Retry,
}

impl Default for Limits {
    fn default() -> Self {
        Self { downloads: 3, uploads: 5, unpacks: 3, retry: Retry::default() }
    }
}

/// What to pull.
#[derive(Debug, Clone)]
pub struct Request {
    /// With a tag or a digest.
    pub reference: Reference,
    /// This machine's when absent.
    pub platform: Option<Platform>,
    pub credentials: Credentials,
}

/// What came of a pull.
#[derive(Debug, Clone)]
pub struct Pulled {
    pub image: Arc<Image>,
    /// What the reference stands for at the registry: an index or a manifest.
    pub top: Descriptor,
    /// Whether the name means something else now than before.
    pub updated: bool,
}

/// Everything that pulls share. Cheap to clone.
#[derive(Clone)]
pub struct Pulls {
    inner: Arc<Inner>,
}

struct Inner {
    registries: Registries,
    images: Images,
    limits: Limits,
    flights: Flights<(Digest, Digest), Option<Unpacked>>,
    downloads: Arc<Semaphore>,
    unpacks: Arc<Semaphore>,
    /// One at a time: a pull that finds a shared layer taken knows that it is published.
    publishing: Mutex<()>,
}

/// A layer of an image that is being pulled.
struct Part {
    descriptor: Descriptor,
    diff_id: Digest,
    /// None when it is here already.
    flight: Option<Arc<Flight<Option<Unpacked>>>>,
}

impl Pulls {
    pub fn new(registries: Registries, images: Images, limits: Limits) -> Self {
        Self {
            inner: Arc::new(Inner {
                registries,
                images,
                limits,
                flights: Flights::new(),
                downloads: Arc::new(Semaphore::new(limits.downloads.max(1))),
                unpacks: Arc::new(Semaphore::new(limits.unpacks.max(1))),
                publishing: Mutex::new(()),
            }),
        }
    }

    pub(crate) fn images(&self) -> &Images {
        &self.inner.images
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.inner.limits
    }

    pub fn registries(&self) -> &Registries {
        &self.inner.registries
    }

    /// Pulls one image. Dropping the future gives up the pull.
    pub async fn pull(&self, request: Request, sink: Arc<dyn Sink>) -> Result<Pulled, crate::Error> {
        let reference = request.reference.clone().with_default_tag();
        let sessions = self.inner.registries.sessions(&reference, &request.credentials, Access::Pull).await?;
        let platform = request.platform.unwrap_or_else(Platform::host);
        let pulled = first_answer(sessions, |session| {
            let (reference, platform, sink) = (reference.clone(), platform.clone(), sink.clone());
            async move { self.pull_from(&session, &reference, &platform, &sink).await }
        })
        .await
        .map_err(|error| in_words(error, &reference))?;
        sink(Progress::status(format!("Digest: {}", pulled.top.digest)));
        let what = if pulled.updated { "Downloaded newer image for" } else { "Image is up to date for" };
        sink(Progress::status(format!("Status: {what} {}", reference.familiar())));
        Ok(pulled)
    }

    /// All tags of a repository, in the registry's order.
    pub async fn tags(
        &self,
        name: &Reference,
        credentials: &Credentials,
    ) -> Result<Vec<String>, crate::Error> {
        let sessions = self.inner.registries.sessions(name, credentials, Access::Pull).await?;
        let tags = first_answer(sessions, |session| async move { session.tags().await }).await;
        tags.map_err(|error| in_words(error, name))
    }

    async fn pull_from(
        &self,
        session: &Arc<Session>,
        reference: &Reference,
        platform: &Platform,
        sink: &Arc<dyn Sink>,
    ) -> Result<Pulled, Error> {
        let inner = &self.inner;
        let retry = inner.limits.retry;
        let question = Question { session, blobs: inner.images.blobs(), reference, platform, retry };
        let mut lease = inner.images.leases().hold(reference.digest().cloned());
        let (top, content) = question.top().await?;
        let id = match (reference.digest(), reference.tag()) {
            (None, Some(tag)) => tag.to_owned(),
            _ => reference.to_string(),
        };
        sink(Progress::Status { id: Some(id), status: format!("Pulling from {}", reference.path()) });

        let Resolved { top, chosen, manifest, config } = question.image(top, content, &mut lease).await?;
        if manifest.layers.len() > MAX_LAYERS {
            let message = format!("max depth exceeded: {} layers", manifest.layers.len());
            return Err(Error::new(Kind::Unsupported, message));
        }
        for (layer, diff_id) in manifest.layers.iter().zip(&config.rootfs.diff_ids) {
            lease.add(layer.digest.clone());
            lease.add(diff_id.clone());
        }
        let parts = self.parts(session, &manifest, &config, sink.as_ref());
        try_join_all(parts.iter().map(|part| follow(part, sink))).await?;
        let found = Found { top, manifest: chosen, id: manifest.config.digest, reference: reference.clone() };
        let pulled = self.publish(found, &parts).await?;
        // What of it no image needs: its index, and archives that its layers came in earlier.
        let images = inner.images.clone();
        spawn_blocking(move || images.end(lease)).await.map_err(fetch::died)??;
        Ok(pulled)
    }

    /// Sets off for the layers that are missing.
    fn parts(
        &self,
        session: &Arc<Session>,
        manifest: &Manifest,
        config: &ImageConfig,
        sink: &dyn Sink,
    ) -> Vec<Part> {
        let inner = &self.inner;
        let mut seen = HashMap::new();
        let mut parts = Vec::new();
        for (descriptor, diff_id) in manifest.layers.iter().zip(&config.rootfs.diff_ids) {
            // Some images have one layer (an empty one) many times. One that is unpacked, but came in another archive,
            // is fetched all the same: saving and pushing need the very bytes that the manifest names.
            if seen.insert(diff_id.clone(), ()).is_some() {
                continue;
            }
            let here =
                inner.images.layers().contains(diff_id) && inner.images.blobs().contains(&descriptor.digest);
            let step = if here { Step::AlreadyExists } else { Step::PullingFsLayer };
            sink(Progress::layer(&descriptor.digest, step));
            let flight = (!here).then(|| {
                let key = (descriptor.digest.clone(), diff_id.clone());
                inner.flights.join(&key, |news| self.fetch(session, descriptor, diff_id).run(news))
            });
            parts.push(Part { descriptor: descriptor.clone(), diff_id: diff_id.clone(), flight });
        }
        parts
    }

    fn fetch(&self, session: &Arc<Session>, descriptor: &Descriptor, diff_id: &Digest) -> Fetch {
        let inner = &self.inner;
        Fetch {
            images: inner.images.clone(),
            session: session.clone(),
            descriptor: descriptor.clone(),
            diff_id: diff_id.clone(),
            downloads: inner.downloads.clone(),
            unpacks: inner.unpacks.clone(),
            retry: inner.limits.retry,
        }
    }

    async fn publish(&self, found: Found, parts: &[Part]) -> Result<Pulled, Error> {
        let inner = self.inner.clone();
        let _one_at_a_time = inner.publishing.lock().await;
        let mut unpacked = Vec::new();
        for part in parts {
            if inner.images.layers().contains(&part.diff_id) {
                continue;
            }
            let Some(layer) = part.flight.as_ref().and_then(|flight| flight.take()).flatten() else {
                let message = format!("layer {} was lost by another pull that failed", part.diff_id);
                return Err(Error::new(Kind::Unavailable, message));
            };
            unpacked.push(layer);
        }
        let images = inner.images.clone();
        let install = spawn_blocking(move || -> Result<Pulled, crate::Error> {
            let Found { top, manifest, id, reference } = found;
            let before = images.resolve(&reference.to_string()).ok();
            let by_digest = reference.with_digest(top.digest.clone());
            let mut names = vec![by_digest];
            if reference.digest().is_none() {
                names.push(reference);
            }
            let image = images.install(Arrival { manifest, unpacked, names, parent: None })?;
            Ok(Pulled { image, top, updated: before.is_none_or(|before| before.id != id) })
        });
        Ok(install.await.map_err(|error| Error::new(Kind::Other, error.to_string()))??)
    }
}

/// An image that is about to be installed.
struct Found {
    top: Descriptor,
    manifest: Descriptor,
    id: Digest,
    reference: Reference,
}

async fn follow(part: &Part, sink: &Arc<dyn Sink>) -> Result<(), Error> {
    let Some(flight) = &part.flight else { return Ok(()) };
    let digest = &part.descriptor.digest;
    flight.follow(part.descriptor.size, |step| sink(Progress::layer(digest, step))).await
}

/// What Docker says of an image that cannot be had.
fn in_words(error: Error, reference: &Reference) -> crate::Error {
    let text = error.to_string();
    let name = reference.familiar_name();
    if error.kind() == Kind::Denied {
        let message = format!(
            "pull access denied for {name}, repository does not exist or may require 'docker login': {text}"
        );
        return crate::Error::new(crate::Kind::NotFound, message);
    }
    if text.starts_with("manifest unknown: ") {
        return Error::new(
            Kind::NotFound,
            format!("manifest for {} not found: {text}", reference.familiar()),
        )
        .into();
    }
    if text.starts_with("name unknown: ") {
        return Error::new(Kind::NotFound, format!("repository {name} not found: {text}")).into();
    }
    error.into()
}
