//! Images as the API knows them, over the `image` crate: what is said about them, and Docker's rules for changing them.
//!
//! The store itself never asks who uses an image; here containers are counted before one goes. Registries are in `pulls`.

mod fetched;
mod list;
mod pattern;
mod prune;
mod tell;
mod transfer;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use api::event::kind;
use api::image::Deleted;
use image::images::{Removed, Usage};
use oci::digest::Digest;
use oci::reference::Reference;

pub(crate) use prune::Turn;
pub use transfer::ImportRequest;

use crate::container::Record;
use crate::error::{Error, ErrorKind, Result};
use crate::{Config, Engine, Paths, Records};

/// Docker's words for a disk that counts nothing by project.
const NO_QUOTAS: &str = "error initializing graphdriver: Storage option overlay2.size not supported. Filesystem does not \
                         support Project Quota: Filesystem does not support, or has not enabled quotas";

/// The engine's images.
pub(crate) struct Store {
    images: image::Images,
    pub(crate) registry: crate::pulls::Registry,
    pruning: AtomicBool,
}

impl Store {
    pub(crate) fn open(config: &Config, paths: &Paths, records: &Records) -> Result<Store> {
        let images = image::Images::open(paths.data_root(), records)?;
        if config.container.root_size.is_some() && !images.snapshots().can_be_limited() {
            return Err(Error::invalid(NO_QUOTAS));
        }
        // The first run must work without a network.
        images.install_embedded()?;
        Ok(Store { images, registry: crate::pulls::Registry::default(), pruning: AtomicBool::new(false) })
    }
}

impl Engine {
    /// The store of images, layers and snapshots.
    pub(crate) fn images(&self) -> &image::Images {
        &self.shared().images.images
    }

    /// `POST /images/{name}/tag`
    pub async fn image_tag(&self, name: &str, repository: &str, tag: &str) -> Result<()> {
        let image = self.images().resolve(name)?;
        let reference = new_name(repository, tag)?;
        self.blocking(move |engine| {
            engine.images().tag(&image.id, &reference)?;
            engine.told("tag", &image.id, &reference.familiar());
            Ok(())
        })
        .await
    }

    /// `DELETE /images/{name}`
    /// With a platform, only an image that is for it.
    pub async fn image_remove(
        &self,
        name: &str,
        platform: Option<api::image::Platform>,
        force: bool,
        prune: bool,
    ) -> Result<Vec<Deleted>> {
        let name = name.to_owned();
        self.blocking(move |engine| {
            engine.image_for(&name, platform)?;
            engine.remove_image(&name, force, prune)
        })
        .await
    }

    fn remove_image(&self, name: &str, force: bool, prune: bool) -> Result<Vec<Deleted>> {
        // What it says about itself must be read before it goes.
        let labels = self.images().resolve(name)?.config.config.labels.clone();
        let removed = self.images().remove(name, force, prune, &|id: &Digest| self.users_of(id))?;
        let mut deleted = Vec::new();
        for step in removed {
            deleted.push(match step {
                Removed::Untagged { name, image } => {
                    self.announce("untag", &image, image.as_str(), &labels);
                    Deleted::untagged(name.familiar())
                }
                Removed::Image(id) => {
                    // It is gone, and its labels with it.
                    self.announce("delete", &id, id.as_str(), &BTreeMap::new());
                    Deleted::deleted(id.as_str())
                }
                Removed::Layer(id) => Deleted::deleted(id.as_str()),
            });
        }
        Ok(deleted)
    }

    fn users_of(&self, image: &Digest) -> Vec<Usage> {
        let records = self.shared().containers.records();
        // A mounted image has no snapshot that would keep its layers: it stays while the container does.
        let usage = |record: &Arc<Record>| {
            let mounted = record.mounts_image(image.as_str());
            (mounted || record.image == image.as_str()).then(|| Usage {
                container: record.id.to_string(),
                running: mounted || record.state.is_running(),
            })
        };
        records.iter().filter_map(usage).collect()
    }

    /// An event about an image that is here.
    pub(crate) fn told(&self, action: &str, id: &Digest, name: &str) {
        let labels =
            self.images().get(id).map(|image| image.config.config.labels.clone()).unwrap_or_default();
        self.announce(action, id, name, &labels);
    }

    fn announce(&self, action: &str, id: &Digest, name: &str, labels: &BTreeMap<String, String>) {
        let mut attributes = labels.clone();
        attributes.insert("name".into(), name.to_owned());
        self.events_bus().publish(kind::IMAGE, action, id.as_str(), attributes);
    }
}

/// The name that a request gives to an image: a repository, and a tag beside it.
fn new_name(repository: &str, tag: &str) -> Result<Reference> {
    let invalid = |error: oci::reference::InvalidReference| Error::invalid(error.to_string());
    let reference = Reference::parse_normalized(repository).map_err(invalid)?;
    if reference.digest().is_some() {
        return Err(Error::invalid("refusing to create a tag with a digest reference"));
    }
    if tag.is_empty() { Ok(reference.with_default_tag()) } else { reference.with_tag(tag).map_err(invalid) }
}

/// [`new_name`] where a name is not required.
fn optional_name(repository: &str, tag: &str) -> Result<Vec<Reference>> {
    if repository.is_empty() { Ok(Vec::new()) } else { Ok(vec![new_name(repository, tag)?]) }
}

impl From<image::Error> for Error {
    fn from(error: image::Error) -> Error {
        let kind = match error.kind() {
            image::Kind::Invalid | image::Kind::Hostile => ErrorKind::InvalidParameter,
            image::Kind::NotFound => ErrorKind::NotFound,
            image::Kind::Conflict => ErrorKind::Conflict,
            image::Kind::Unauthorized => ErrorKind::Unauthorized,
            image::Kind::Forbidden => ErrorKind::Forbidden,
            image::Kind::Unavailable | image::Kind::Full | image::Kind::Other => ErrorKind::System,
        };
        Error::new(kind, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_names_have_a_tag_and_no_digest() {
        let text = |repository: &str, tag: &str| new_name(repository, tag).map(|name| name.familiar());
        assert_eq!(text("app", "").unwrap(), "app:latest");
        assert_eq!(text("app:1", "").unwrap(), "app:1");
        assert_eq!(text("host:5000/app", "2").unwrap(), "host:5000/app:2");
        let digest = Digest::sha256_of(b"x");
        let refused = text(&format!("app@{digest}"), "").unwrap_err();
        assert_eq!(refused.message(), "refusing to create a tag with a digest reference");
        assert_eq!(text("App", "").unwrap_err().kind(), ErrorKind::InvalidParameter);
        assert_eq!(text("app", "!").unwrap_err().message(), "invalid tag format");
    }
}
