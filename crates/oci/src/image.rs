//! Image documents: descriptors, manifests, indexes and image configurations, in OCI's form and Docker's.
//!
//! Documents that have a digest are kept as bytes by whoever stores them and never encoded again; these types are
//! for reading them, and for writing new ones. An [`ImageConfig`] keeps fields that it does not know, because commits
//! and builds derive new configurations from foreign ones.
//!
//! A document that could be read as a manifest and as an index is refused: two readers must never see two images
//! behind one digest.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, Hasher};
use crate::nullable;
use crate::platform::Platform;

mod config;

pub use config::{Config, Empty, Healthcheck, History, ImageConfig, RootFs};

/// Manifests above this size are refused: what registries must support, and far above what any image needs.
pub const MAX_MANIFEST: usize = 4 << 20;

/// Media types.
pub mod media_type {
    pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
    pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
    pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
    pub const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";

    pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
    pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
    pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    pub const DOCKER_LAYER_ZSTD: &str = "application/vnd.docker.image.rootfs.diff.tar.zstd";
    pub const DOCKER_FOREIGN_LAYER: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
    pub const DOCKER_PLUGIN: &str = "application/vnd.docker.plugin.v1+json";

    pub const DOCKER_SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1+json";
    pub const DOCKER_SCHEMA1_SIGNED: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";

    pub fn is_index(media_type: &str) -> bool {
        matches!(media_type, OCI_INDEX | DOCKER_LIST)
    }

    pub fn is_manifest(media_type: &str) -> bool {
        matches!(media_type, OCI_MANIFEST | DOCKER_MANIFEST)
    }

    pub fn is_schema1(media_type: &str) -> bool {
        matches!(media_type, DOCKER_SCHEMA1 | DOCKER_SCHEMA1_SIGNED)
    }

    pub fn is_config(media_type: &str) -> bool {
        matches!(media_type, OCI_CONFIG | DOCKER_CONFIG)
    }

    /// A layer that registries do not hold themselves; its bytes come from the descriptor's URLs.
    pub fn is_foreign_layer(media_type: &str) -> bool {
        media_type == DOCKER_FOREIGN_LAYER || media_type.contains(".layer.nondistributable.")
    }

    pub fn is_layer(media_type: &str) -> bool {
        matches!(
            media_type,
            OCI_LAYER
                | OCI_LAYER_GZIP
                | OCI_LAYER_ZSTD
                | DOCKER_LAYER
                | DOCKER_LAYER_GZIP
                | DOCKER_LAYER_ZSTD
        ) || is_foreign_layer(media_type)
    }
}

/// Annotation keys that mean something to an engine.
pub mod annotation {
    /// The name under which an image layout carries an image.
    pub const REF_NAME: &str = "org.opencontainers.image.ref.name";
    /// The full reference of an image in an archive.
    pub const IMAGE_NAME: &str = "io.containerd.image.name";
    /// `attestation-manifest` marks a descriptor that is no image.
    pub const REFERENCE_TYPE: &str = "vnd.docker.reference.type";
}

/// Points at some content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Empty in some old documents.
    #[serde(default, deserialize_with = "nullable")]
    pub media_type: String,
    pub digest: Digest,
    pub size: u64,
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The content itself, base64; whoever uses it checks it against the digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
}

impl Descriptor {
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest,
            size,
            urls: Vec::new(),
            annotations: BTreeMap::new(),
            data: None,
            platform: None,
            artifact_type: None,
        }
    }

    /// Describes bytes at hand.
    pub fn of(media_type: &str, content: &[u8]) -> Self {
        Self::new(media_type, Digest::sha256_of(content), content.len() as u64)
    }

    /// An entry of an index that accompanies an image (provenance, bill of materials) and is none itself.
    pub fn is_attestation(&self) -> bool {
        self.annotations.contains_key(annotation::REFERENCE_TYPE)
            || self.platform.as_ref().is_some_and(Platform::is_unknown)
    }
}

/// One image for one platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    pub schema_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    pub config: Descriptor,
    /// Bottom first.
    #[serde(default, deserialize_with = "nullable")]
    pub layers: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// A manifest in Docker's form (image manifest version 2, schema 2), byte for byte as Docker's engine writes it: the same
/// image has the same digest whichever engine pushes it.
pub fn docker_manifest(config: &Descriptor, layers: &[Descriptor]) -> Vec<u8> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Entry<'a> {
        media_type: &'a str,
        size: u64,
        digest: &'a Digest,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Manifest<'a> {
        schema_version: u32,
        media_type: &'a str,
        config: Entry<'a>,
        layers: Vec<Entry<'a>>,
    }
    fn written(of: &Descriptor) -> Entry<'_> {
        Entry { media_type: &of.media_type, size: of.size, digest: &of.digest }
    }
    let manifest = Manifest {
        schema_version: 2,
        media_type: media_type::DOCKER_MANIFEST,
        config: written(config),
        layers: layers.iter().map(written).collect(),
    };
    let mut content = Vec::new();
    let format = serde_json::ser::PrettyFormatter::with_indent(b"   ");
    manifest
        .serialize(&mut serde_json::Serializer::with_formatter(&mut content, format))
        .expect("text and numbers can be written to memory");
    content
}

/// Several manifests behind one name: an OCI index or a Docker manifest list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    pub schema_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    #[serde(default, deserialize_with = "nullable")]
    pub manifests: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Index {
    /// The images for `platform`, best first; equally good ones in the order of the document. An entry without a
    /// platform counts as fitting, after all that say so.
    pub fn matching(&self, platform: &Platform) -> Vec<&Descriptor> {
        let mut ranked: Vec<(u32, &Descriptor)> = self
            .manifests
            .iter()
            .filter(|entry| !entry.is_attestation())
            .filter_map(|entry| match &entry.platform {
                Some(candidate) => platform.rank(candidate).map(|rank| (rank, entry)),
                None => Some((u32::MAX, entry)),
            })
            .collect();
        ranked.sort_by_key(|(rank, _)| *rank);
        ranked.into_iter().map(|(_, entry)| entry).collect()
    }
}

/// What lies behind a reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    Manifest(Box<Manifest>),
    Index(Box<Index>),
}

/// Why bytes are no manifest that we could use.
#[derive(Debug, thiserror::Error)]
pub enum InvalidDocument {
    #[error("manifest is larger than {MAX_MANIFEST} bytes")]
    TooLarge,
    #[error("manifest is no valid JSON document of its kind")]
    Json(#[source] serde_json::Error),
    /// The signed format of the first registries.
    #[error("image manifest version 2, schema 1 is not supported")]
    Schema1,
    #[error("unsupported manifest schema version {0}")]
    SchemaVersion(u32),
    #[error("unsupported manifest media type {0:?}")]
    MediaType(String),
    #[error("manifest may be read as an image and as an index")]
    Ambiguous,
    #[error("manifest media type is {said:?}, but the document says {inside:?}")]
    Contradiction { said: String, inside: String },
}

/// What tells the kinds of document apart.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outline {
    schema_version: Option<u32>,
    media_type: Option<String>,
    manifests: Option<serde::de::IgnoredAny>,
    layers: Option<serde::de::IgnoredAny>,
    config: Option<serde::de::IgnoredAny>,
    fs_layers: Option<serde::de::IgnoredAny>,
    history: Option<serde::de::IgnoredAny>,
}

impl Document {
    /// Reads a document. `media_type` is what a registry or descriptor said; empty or `application/json` if nothing
    /// useful, and then the document's own word or shape decides.
    pub fn parse(media_type: &str, content: &[u8]) -> Result<Self, InvalidDocument> {
        if content.len() > MAX_MANIFEST {
            return Err(InvalidDocument::TooLarge);
        }
        let outline: Outline = serde_json::from_slice(content).map_err(InvalidDocument::Json)?;
        if media_type::is_schema1(media_type)
            || outline.schema_version == Some(1)
            || outline.media_type.as_deref().is_some_and(media_type::is_schema1)
        {
            return Err(InvalidDocument::Schema1);
        }
        match outline.schema_version {
            Some(2) => {}
            other => return Err(InvalidDocument::SchemaVersion(other.unwrap_or(0))),
        }
        if outline.is_index()? != outline.should_be_index(media_type)? {
            return Err(InvalidDocument::Ambiguous);
        }
        if outline.is_index()? {
            serde_json::from_slice(content).map(Box::new).map(Self::Index).map_err(InvalidDocument::Json)
        } else {
            serde_json::from_slice(content).map(Box::new).map(Self::Manifest).map_err(InvalidDocument::Json)
        }
    }
}

impl Outline {
    fn is_index(&self) -> Result<bool, InvalidDocument> {
        let image = self.layers.is_some() || self.config.is_some();
        let legacy = self.fs_layers.is_some() || self.history.is_some();
        match (self.manifests.is_some(), image) {
            _ if legacy => Err(InvalidDocument::Ambiguous),
            (true, true) => Err(InvalidDocument::Ambiguous),
            (index, _) => Ok(index),
        }
    }

    /// What the media types say, the one from outside and the one inside, which must agree.
    fn should_be_index(&self, said: &str) -> Result<bool, InvalidDocument> {
        let said = match said.split(';').next().unwrap_or_default().trim() {
            "application/json" | "application/octet-stream" | "text/plain" => "",
            said => said,
        };
        let inside = self.media_type.as_deref().unwrap_or_default();
        if !said.is_empty() && !inside.is_empty() && said != inside {
            return Err(InvalidDocument::Contradiction { said: said.into(), inside: inside.into() });
        }
        match if said.is_empty() { inside } else { said } {
            "" => self.is_index(),
            kind if media_type::is_index(kind) => Ok(true),
            kind if media_type::is_manifest(kind) => Ok(false),
            kind => Err(InvalidDocument::MediaType(kind.into())),
        }
    }
}

/// The names of the stacks that layers build: the first is the first layer's own, each further one hashes the stack
/// below and the layer on top.
pub fn chain_ids(diff_ids: &[Digest]) -> Vec<Digest> {
    let mut chain: Vec<Digest> = Vec::with_capacity(diff_ids.len());
    for diff_id in diff_ids {
        let id = match chain.last() {
            None => diff_id.clone(),
            Some(below) => {
                let mut hasher = Hasher::sha256();
                hasher.update(format!("{below} {diff_id}").as_bytes());
                hasher.finish()
            }
        };
        chain.push(id);
    }
    chain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(seed: &str) -> Digest {
        Digest::sha256_of(seed.as_bytes())
    }

    fn descriptor(platform: Option<&str>) -> Descriptor {
        let mut descriptor = Descriptor::new(media_type::OCI_MANIFEST, digest(platform.unwrap_or("none")), 1);
        descriptor.platform = platform.map(|text| {
            let (os, architecture) = text.split_once('/').unwrap();
            Platform { os: os.into(), architecture: architecture.into(), ..Platform::default() }
        });
        descriptor
    }

    #[test]
    fn the_best_entry_of_an_index_comes_first_and_attestations_never() {
        let index = Index {
            schema_version: 2,
            media_type: None,
            artifact_type: None,
            manifests: vec![
                descriptor(Some("unknown/unknown")),
                descriptor(None),
                descriptor(Some("linux/386")),
                descriptor(Some("linux/arm64")),
                descriptor(Some("linux/amd64")),
            ],
            subject: None,
            annotations: BTreeMap::new(),
        };
        let found: Vec<String> = index
            .matching(&Platform::new("linux", "amd64", ""))
            .into_iter()
            .map(|entry| entry.platform.as_ref().map_or("none".into(), Platform::to_string))
            .collect();
        assert_eq!(found, ["linux/amd64", "linux/386", "none"]);
    }

    #[test]
    fn documents_are_told_apart() {
        let hash = digest("x");
        let config = format!(r#"{{"mediaType":"a","digest":"{hash}","size":1}}"#);
        let manifest = format!(r#"{{"schemaVersion":2,"config":{config},"layers":null}}"#);
        assert!(matches!(Document::parse("", manifest.as_bytes()), Ok(Document::Manifest(_))));
        assert!(matches!(
            Document::parse("application/json; charset=utf-8", br#"{"schemaVersion":2,"manifests":[]}"#),
            Ok(Document::Index(_))
        ));
        let message = |media_type: &str, text: &str| {
            Document::parse(media_type, text.as_bytes()).unwrap_err().to_string()
        };
        assert_eq!(
            message("", r#"{"schemaVersion":1,"fsLayers":[]}"#),
            "image manifest version 2, schema 1 is not supported"
        );
        assert_eq!(
            message("", r#"{"schemaVersion":2,"manifests":[],"layers":[]}"#),
            "manifest may be read as an image and as an index"
        );
        assert_eq!(
            message(media_type::OCI_INDEX, &manifest),
            "manifest may be read as an image and as an index"
        );
        assert_eq!(
            message(
                media_type::OCI_INDEX,
                &manifest.replace(":2,", &format!(":2,\"mediaType\":\"{}\",", media_type::OCI_MANIFEST))
            ),
            format!(
                "manifest media type is {:?}, but the document says {:?}",
                media_type::OCI_INDEX,
                media_type::OCI_MANIFEST
            )
        );
        assert_eq!(message("text/html", &manifest), "unsupported manifest media type \"text/html\"");
        assert_eq!(message("", "{}"), "unsupported manifest schema version 0");
        assert_eq!(message("", "<html>"), "manifest is no valid JSON document of its kind");
        let negative = manifest.replace("\"size\":1", "\"size\":-1");
        assert_eq!(message("", &negative), "manifest is no valid JSON document of its kind");
    }

    #[test]
    fn a_manifest_is_written_as_docker_writes_it() {
        let config = Descriptor::new(media_type::DOCKER_CONFIG, digest("config"), 893);
        let layer = Descriptor::new(media_type::DOCKER_LAYER_GZIP, digest("layer"), 1_137_063);
        let expected = format!(
            r#"{{
   "schemaVersion": 2,
   "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
   "config": {{
      "mediaType": "application/vnd.docker.container.image.v1+json",
      "size": 893,
      "digest": "{}"
   }},
   "layers": [
      {{
         "mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip",
         "size": 1137063,
         "digest": "{}"
      }}
   ]
}}"#,
            config.digest, layer.digest
        );
        assert_eq!(String::from_utf8(docker_manifest(&config, &[layer])).unwrap(), expected);
    }

    #[test]
    fn chains_grow_from_the_bottom() {
        let (a, b) = (digest("a"), digest("b"));
        let chain = chain_ids(&[a.clone(), b.clone()]);
        assert_eq!(chain, [a.clone(), Digest::sha256_of(format!("{a} {b}").as_bytes())]);
        assert!(chain_ids(&[]).is_empty());
    }
}
