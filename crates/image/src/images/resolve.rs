//! Which image a person means.
//!
//! In this order, as Docker: a full id; a name with digest, by the digest; a name with tag (`latest` when it has none); the beginning of
//! an id, with or without `sha256:`. A name that happens to look like the beginning of an id wins over it.

use std::sync::Arc;

use oci::digest::Digest;
use oci::platform::Platform;
use oci::reference::{Reference, is_identifier};

use super::{Image, Images};
use crate::{Error, Kind};

impl Images {
    /// Finds an image by name or id.
    pub fn resolve(&self, text: &str) -> Result<Arc<Image>, Error> {
        if let Some(id) = whole_id(text) {
            return self.get(&id).ok_or_else(|| Error::no_such_image(id.as_str()));
        }
        let name = match Reference::parse_normalized(text) {
            Ok(name) => name.with_default_tag(),
            // `sha256:abcd` is no name, but may be the beginning of an id.
            Err(error) => match self.by_prefix(text)? {
                Some(image) => return Ok(image),
                None if is_prefix(text) => return Err(Error::no_such_image(text)),
                None => return Err(Error::new(Kind::Invalid, error.to_string())),
            },
        };
        if let Some(image) = self.by_name(&name) {
            return Ok(image);
        }
        match self.by_prefix(text)? {
            Some(image) => Ok(image),
            None => Err(Error::no_such_image(&name.familiar())),
        }
    }

    /// Finds an image that runs on a platform.
    pub fn resolve_for(&self, text: &str, platform: &Platform) -> Result<Arc<Image>, Error> {
        let image = self.resolve(text)?;
        if platform.accepts(&image.config.platform()) {
            return Ok(image);
        }
        Err(Error::new(
            Kind::NotFound,
            format!(
                "image with reference {text} was found but its platform ({}) does not match the specified platform ({platform})",
                image.config.platform()
            ),
        ))
    }

    /// Whether a person asked for this image by its id, whole or in part.
    pub(super) fn is_id_of(image: &Image, text: &str) -> bool {
        image.id.as_str() == text || image.id.as_str().starts_with(text) || image.id.hex().starts_with(text)
    }

    fn by_name(&self, name: &Reference) -> Option<Arc<Image>> {
        let index = self.index();
        // With both, the tag is decoration: the digest decides.
        let name = match name.digest() {
            Some(digest) => name.with_digest(digest.clone()),
            None => name.clone(),
        };
        index.names.get(&name).and_then(|id| index.images.get(id)).cloned()
    }

    fn by_prefix(&self, text: &str) -> Result<Option<Arc<Image>>, Error> {
        if !is_prefix(text) {
            return Ok(None);
        }
        let digits = text.strip_prefix("sha256:").unwrap_or(text);
        let index = self.index();
        let mut found = index.images.iter().filter(|(id, _)| id.hex().starts_with(digits));
        match (found.next(), found.next()) {
            (Some(_), Some(_)) => Err(Error::new(Kind::NotFound, format!("ambiguous reference: {text}"))),
            (first, _) => Ok(first.map(|(_, image)| image.clone())),
        }
    }
}

fn whole_id(text: &str) -> Option<Digest> {
    if is_identifier(text) {
        return format!("sha256:{text}").parse().ok();
    }
    text.parse().ok()
}

fn is_prefix(text: &str) -> bool {
    let digits = text.strip_prefix("sha256:").unwrap_or(text);
    (1..=64).contains(&digits.len()) && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}
