//! Images as the API knows them, over the `image` crate.

use crate::error::{Error, ErrorKind, Result};
use crate::{Config, Engine, Paths, Records};

/// The engine's images.
pub(crate) struct Store {
    images: image::Images,
    pub(crate) registry: crate::pulls::Registry,
}

impl Store {
    pub(crate) fn open(_config: &Config, paths: &Paths, records: &Records) -> Result<Store> {
        Ok(Store {
            images: image::Images::open(paths.data_root(), records)?,
            registry: crate::pulls::Registry::default(),
        })
    }
}

impl Engine {
    /// The store of images, layers and snapshots.
    pub(crate) fn images(&self) -> &image::Images {
        &self.shared().images.images
    }

    pub async fn image_list(&self, _all: bool, _shared_size: bool, _filters: api::filters::Filters) -> Result<Vec<api::image::Summary>> {
        Err(Error::not_implemented("images"))
    }
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
