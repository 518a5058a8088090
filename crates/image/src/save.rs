//! Images as an archive, in the form that Docker 28 writes: an OCI image layout that is a docker archive at the same time.
//!
//! ```text
//!  blobs/sha256/<diff id>     layers, uncompressed       blobs/sha256/<id>   configs       blobs/sha256/…   manifests
//!  index.json  manifest.json  oci-layout  repositories (when something has a name)
//! ```
//!
//! Layers are stored as they came and decompressed on the way out; their uncompressed size was noted when they were unpacked, so the
//! archive is written in one pass.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::sync::Arc;

use oci::digest::Digest;
use oci::image::{Descriptor, Index, Manifest, annotation, media_type};
use oci::platform::Platform;
use oci::reference::Reference;
use serde::Serialize;

use crate::archive::{Content, Entry, Writer};
use crate::compression::Decoder;
use crate::images::created;
use crate::{Error, Image, Images, Kind};

/// An element of `manifest.json`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<Digest>,
    layer_sources: BTreeMap<Digest, Descriptor>,
}

/// What goes under `blobs/sha256`.
enum Blob {
    Document(Vec<u8>),
    Layer { archive: Digest, size: u64 },
}

/// An image, and the name by which it was asked for, if that was one.
type Meant = (Arc<Image>, Option<Reference>);

/// One image with the names that were asked for.
struct Chosen {
    image: Arc<Image>,
    names: Vec<Reference>,
}

#[derive(Default)]
struct Layout {
    blobs: BTreeMap<Digest, (i64, Blob)>,
    items: Vec<Item>,
    manifests: Vec<Descriptor>,
    repositories: BTreeMap<String, BTreeMap<String, String>>,
}

impl Images {
    /// Writes the images that `names` mean, each with those of its names that were asked for. A repository's name without a tag means
    /// all its tags.
    pub fn save(
        &self,
        names: &[String],
        platforms: &[Platform],
        out: impl Write,
    ) -> Result<Vec<Digest>, Error> {
        let chosen = self.choose(names, platforms)?;
        // The images may be removed meanwhile; their content stays until this is written.
        let _lease = self.leases().hold(
            chosen
                .iter()
                .flat_map(|c| c.image.layers.iter().map(|l| l.digest.clone()).chain([c.image.id.clone()])),
        );
        let mut layout = Layout::default();
        for chosen in &chosen {
            self.describe(chosen, &mut layout)?;
        }
        self.write(layout, out)?;
        Ok(chosen.into_iter().map(|c| c.image.id.clone()).collect())
    }

    fn choose(&self, names: &[String], platforms: &[Platform]) -> Result<Vec<Chosen>, Error> {
        let mut chosen: Vec<Chosen> = Vec::new();
        for text in names {
            for (image, name) in self.meant(text, platforms)? {
                let at = match chosen.iter().position(|c| c.image.id == image.id) {
                    Some(at) => at,
                    None => {
                        chosen.push(Chosen { image, names: Vec::new() });
                        chosen.len() - 1
                    }
                };
                if let Some(name) = name
                    && !chosen[at].names.contains(&name)
                {
                    chosen[at].names.push(name);
                }
            }
        }
        Ok(chosen)
    }

    fn meant(&self, text: &str, platforms: &[Platform]) -> Result<Vec<Meant>, Error> {
        let name = Reference::parse_normalized(text).ok();
        if let Some(name) = name.as_ref().filter(|n| n.is_name_only()) {
            let repository = name.name();
            let tags: Vec<_> = (self.list().into_iter())
                .flat_map(|(image, names)| names.tags.into_iter().map(move |tag| (image.clone(), Some(tag))))
                .filter(|(_, tag)| tag.as_ref().is_some_and(|t| t.name() == repository))
                .collect();
            if !tags.is_empty() {
                tags.iter().try_for_each(|(image, _)| suits(image, platforms))?;
                return Ok(tags);
            }
        }
        // In the words of the request, without a tag that it does not have.
        let image = self.resolve(text).map_err(|error| match error.kind() {
            Kind::NotFound => Error::no_such_image(text),
            _ => error,
        })?;
        suits(&image, platforms)?;
        // An ID can be read as a name, `sha256` with a tag; it is one when the image has it.
        let tag = name.filter(|n| self.names_of(&image.id).tags.contains(n));
        Ok(vec![(image, tag)])
    }

    fn describe(&self, chosen: &Chosen, layout: &mut Layout) -> Result<(), Error> {
        let image = &chosen.image;
        let time = created(image);
        let config = self.blobs().read(&image.id)?;
        let mut layers = Vec::new();
        for (diff_id, stored) in image.diff_ids().iter().zip(&image.layers) {
            let Some(layer) = self.layers().get(diff_id) else {
                return Err(Error::new(Kind::NotFound, format!("layer does not exist: {diff_id}")));
            };
            layers.push(Descriptor::new(media_type::OCI_LAYER, diff_id.clone(), layer.archive_size));
            let blob = Blob::Layer { archive: stored.digest.clone(), size: layer.archive_size };
            layout.blobs.insert(diff_id.clone(), (time, blob));
        }
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(media_type::OCI_MANIFEST.to_owned()),
            artifact_type: None,
            config: Descriptor::new(media_type::OCI_CONFIG, image.id.clone(), config.len() as u64),
            layers: layers.clone(),
            subject: None,
            annotations: BTreeMap::new(),
        };
        layout.blobs.insert(image.id.clone(), (time, Blob::Document(config)));
        let manifest = encode(&manifest)?;
        let descriptor = Descriptor::of(media_type::OCI_MANIFEST, &manifest);
        layout.blobs.insert(descriptor.digest.clone(), (time, Blob::Document(manifest)));
        for name in &chosen.names {
            layout.name(name, &descriptor, image);
        }
        if chosen.names.is_empty() {
            layout.manifests.push(descriptor);
        }
        layout.items.push(Item {
            config: blob_path(&image.id),
            repo_tags: (!chosen.names.is_empty())
                .then(|| chosen.names.iter().map(Reference::familiar).collect()),
            layers: image.diff_ids().iter().map(blob_path).collect(),
            parent: image.parent.clone(),
            layer_sources: layers.into_iter().map(|l| (l.digest.clone(), l)).collect(),
        });
        Ok(())
    }

    fn write(&self, layout: Layout, out: impl Write) -> Result<(), Error> {
        let mut writer = Writer::new(out);
        directory(&mut writer, "blobs")?;
        directory(&mut writer, "blobs/sha256")?;
        for (digest, (time, blob)) in &layout.blobs {
            match blob {
                Blob::Document(content) => writer.add_document(&blob_path(digest), content, *time)?,
                Blob::Layer { archive, size } => {
                    let source = Exact { source: Decoder::new(self.blobs().reader(archive)?)?, left: *size };
                    writer.add_file(&file(&blob_path(digest), *size, *time), source)?;
                }
            }
        }
        let index = Index {
            schema_version: 2,
            media_type: Some(media_type::OCI_INDEX.to_owned()),
            artifact_type: None,
            manifests: layout.manifests,
            subject: None,
            annotations: BTreeMap::new(),
        };
        writer.add_document("index.json", &encode(&index)?, 0)?;
        writer.add_document("manifest.json", &encode(&layout.items)?, 0)?;
        writer.add_document("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#, 0)?;
        if !layout.repositories.is_empty() {
            writer.add_document("repositories", &encode(&layout.repositories)?, 0)?;
        }
        writer.finish().map(drop)
    }
}

impl Layout {
    fn name(&mut self, name: &Reference, manifest: &Descriptor, image: &Image) {
        let tag = name.tag().unwrap_or_default().to_owned();
        let mut manifest = manifest.clone();
        manifest.annotations.insert(annotation::IMAGE_NAME.to_owned(), name.to_string());
        manifest.annotations.insert(annotation::REF_NAME.to_owned(), tag.clone());
        self.manifests.push(manifest);
        // Readers of the first years expect a layer here.
        if let Some(top) = image.diff_ids().last() {
            self.repositories.entry(name.familiar_name()).or_default().insert(tag, top.hex().to_owned());
        }
    }
}

/// A stream that must be exactly as long as announced: a short layer would otherwise become an archive full of zeros.
struct Exact<R> {
    source: R,
    left: u64,
}

impl<R: Read> Read for Exact<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.source.read(buffer)?;
        if n == 0 && self.left > 0 && !buffer.is_empty() {
            return Err(
                Error::new(Kind::Other, "stored layer is damaged: it is shorter than when it came").into()
            );
        }
        self.left = self.left.saturating_sub(n as u64);
        Ok(n)
    }
}

fn blob_path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm(), digest.hex())
}

fn encode(document: &impl Serialize) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(document).map_err(|e| Error::caused(Kind::Other, "encode document", e))
}

fn file(path: &str, size: u64, time: i64) -> Entry {
    Entry {
        path: path.as_bytes().to_vec(),
        content: Content::File { size, segments: None },
        mode: 0o644,
        uid: 0,
        gid: 0,
        modified: linux::entry::Time { seconds: time, nanoseconds: 0 },
        xattrs: Vec::new(),
    }
}

fn directory<W: Write>(writer: &mut Writer<W>, path: &str) -> Result<(), Error> {
    writer.add(&Entry { content: Content::Directory, mode: 0o755, ..file(path, 0, 0) })
}

/// Each image here is for one platform: another one cannot be had of it.
fn suits(image: &Image, platforms: &[Platform]) -> Result<(), Error> {
    let own = image.config.platform();
    match platforms.iter().find(|wanted| !wanted.accepts(&own)) {
        Some(wanted) => {
            let message = format!("no suitable export target found for platform {wanted}");
            Err(Error::new(Kind::NotFound, message))
        }
        None => Ok(()),
    }
}
