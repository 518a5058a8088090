//! Looking at an image where it is, without fetching it.

use oci::digest::Digest;
use oci::image::{Descriptor, Document, ImageConfig, media_type};
use oci::platform::Platform;
use oci::reference::Reference;
use store::blobs::DOCUMENT_LIMIT;

use super::Pulls;
use crate::registry::{Access, Credentials, Error, Kind, Session, first_answer};

/// What a registry has under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    pub descriptor: Descriptor,
    pub platforms: Vec<Platform>,
}

impl Pulls {
    pub async fn inspect(
        &self,
        reference: &Reference,
        credentials: &Credentials,
    ) -> Result<Remote, crate::Error> {
        let reference = reference.clone().with_default_tag();
        let sessions = self.registries().sessions(&reference, credentials, Access::Pull).await?;
        let target = match (reference.digest(), reference.tag()) {
            (Some(digest), _) => digest.to_string(),
            (None, tag) => tag.unwrap_or(oci::reference::DEFAULT_TAG).to_owned(),
        };
        let found = first_answer(sessions, |session| {
            let target = target.clone();
            async move { inspect(&session, &target).await }
        });
        // In the registry's own words.
        Ok(found.await?)
    }
}

async fn inspect(session: &Session, target: &str) -> Result<Remote, Error> {
    // A HEAD that says no has no body to say why; the GET will.
    let head = if target.parse::<Digest>().is_ok() { None } else { session.head_manifest(target).await? };
    let found = match head {
        Some(head) => session.manifest(head.digest.as_str()).await?,
        None => session.manifest(target).await?,
    };
    let mut descriptor = found.descriptor;
    let document = Document::parse(&descriptor.media_type, &found.content)
        .map_err(|error| Error::new(Kind::Unsupported, error.to_string()))?;
    let platforms = match &document {
        Document::Index(index) => index.manifests.iter().filter_map(|entry| entry.platform.clone()).collect(),
        Document::Manifest(manifest) if media_type::is_config(&manifest.config.media_type) => {
            let content = session.document(&manifest.config, DOCUMENT_LIMIT).await?;
            let config = ImageConfig::parse(&content)
                .map_err(|error| Error::new(Kind::Unsupported, format!("invalid image config: {error}")))?;
            vec![config.platform()]
        }
        Document::Manifest(_) => Vec::new(),
    };
    let inside = match document {
        Document::Index(index) => index.media_type,
        Document::Manifest(manifest) => manifest.media_type,
    };
    if let Some(inside) = inside {
        descriptor.media_type = inside;
    }
    Ok(Remote { descriptor, platforms })
}
