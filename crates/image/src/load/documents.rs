//! Which images an archive holds: `manifest.json` as Docker writes it, `index.json` of the OCI image layout.
//!
//! An archive of today has both. Docker's list then says what is meant (names included), and the OCI manifest of the same config is kept
//! with it, so that the image has the same manifest digest wherever it is loaded.

use std::collections::HashMap;

use oci::digest::Digest;
use oci::image::{Descriptor, Document, Index, Manifest, annotation};
use oci::platform::Platform;
use oci::reference::Reference;
use serde::Deserialize;

use super::shelf::Shelf;
use crate::images::parse_config;
use crate::{Error, Kind};

/// Indexes inside indexes. BuildKit writes one level.
const NESTING: usize = 4;

/// An image to install, whose blobs are here.
pub(super) struct Wanted {
    pub(super) config: Digest,
    /// Archives, bottom first.
    pub(super) layers: Vec<Digest>,
    pub(super) names: Vec<Reference>,
    pub(super) manifest: Option<Descriptor>,
    pub(super) parent: Option<Digest>,
}

/// An element of `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
    #[serde(default)]
    parent: Option<Digest>,
}

/// A manifest that the layout has completely.
struct Complete {
    descriptor: Descriptor,
    manifest: Manifest,
    names: Vec<Reference>,
}

pub(super) fn images(shelf: &Shelf<'_>, platforms: &[Platform]) -> Result<Vec<Wanted>, Error> {
    let index = shelf.document::<Index>("index.json")?;
    if let Some(items) = shelf.document::<Vec<Item>>("manifest.json")? {
        let mut complete = HashMap::new();
        if let Some(index) = &index {
            // Every one, whatever its platform: only those that Docker's list names are used.
            collect(shelf, &index.manifests, &[], NESTING, &mut |found: Complete| {
                complete.insert(found.manifest.config.digest.clone(), found.descriptor);
            })?;
        }
        return docker_images(shelf, items, &mut complete, platforms);
    }
    match index {
        Some(index) => oci_images(shelf, &index, platforms),
        None => Err(Error::new(
            Kind::Invalid,
            "invalid archive: it has neither a manifest.json nor an index.json",
        )),
    }
}

fn docker_images(
    shelf: &Shelf<'_>,
    items: Vec<Item>,
    complete: &mut HashMap<Digest, Descriptor>,
    platforms: &[Platform],
) -> Result<Vec<Wanted>, Error> {
    let mut wanted = Vec::new();
    for item in items {
        let config = shelf.need(&item.config)?;
        if !runs_on(shelf, &config, platforms)? {
            continue;
        }
        let layers = item.layers.unwrap_or_default();
        let names = item.repo_tags.unwrap_or_default();
        wanted.push(Wanted {
            layers: layers.iter().map(|layer| shelf.need(layer)).collect::<Result<_, _>>()?,
            names: names.iter().map(|name| tag(name)).collect::<Result<_, _>>()?,
            manifest: complete.remove(&config),
            parent: item.parent,
            config,
        });
    }
    if wanted.is_empty() {
        return Err(nothing(platforms));
    }
    Ok(wanted)
}

fn oci_images(shelf: &Shelf<'_>, index: &Index, platforms: &[Platform]) -> Result<Vec<Wanted>, Error> {
    let mut found = Vec::new();
    collect(shelf, &index.manifests, &[], NESTING, &mut |complete| found.push(complete))?;
    let mut wanted: Vec<Wanted> = Vec::new();
    for Complete { descriptor, manifest, names } in found {
        let config = manifest.config.digest;
        if !runs_on(shelf, &config, platforms)? {
            continue;
        }
        if let Some(known) = wanted.iter_mut().find(|w| w.config == config) {
            known.names.extend(names);
            continue;
        }
        let layers = manifest.layers.into_iter().map(|l| l.digest).collect();
        wanted.push(Wanted { config, layers, names, manifest: Some(descriptor), parent: None });
    }
    if wanted.is_empty() {
        return Err(nothing(platforms));
    }
    Ok(wanted)
}

/// Walks an index down to its manifests. Entries whose blobs are not in the archive are passed over: an index is usually kept whole
/// although only one platform was exported.
fn collect(
    shelf: &Shelf<'_>,
    entries: &[Descriptor],
    inherited: &[Reference],
    nesting: usize,
    each: &mut dyn FnMut(Complete),
) -> Result<(), Error> {
    for entry in entries.iter().filter(|e| !e.is_attestation() && shelf.has(&e.digest)) {
        let mut names = inherited.to_vec();
        names.extend(annotated(entry));
        let document = Document::parse(&entry.media_type, &shelf.read(&entry.digest)?)
            .map_err(|e| Error::caused(Kind::Hostile, format!("invalid archive: {}", entry.digest), e))?;
        match document {
            Document::Index(_) if nesting == 0 => {
                return Err(Error::new(Kind::Hostile, "invalid archive: indexes are nested too deeply"));
            }
            Document::Index(index) => {
                // One of them is what this machine would run; its name belongs to that one.
                let best =
                    index.matching(&Platform::host()).into_iter().find(|e| shelf.has(&e.digest)).cloned();
                collect(shelf, best.as_slice(), &names, nesting - 1, each)?;
            }
            Document::Manifest(manifest) => {
                let manifest = *manifest;
                let complete = shelf.has(&manifest.config.digest)
                    && manifest.layers.iter().all(|l| shelf.has(&l.digest));
                if complete {
                    each(Complete { descriptor: entry.clone(), manifest, names });
                }
            }
        }
    }
    Ok(())
}

/// The name that a layout gives to an entry: containerd's annotation, or OCI's where it is more than a bare tag.
fn annotated(entry: &Descriptor) -> Option<Reference> {
    let whole = entry.annotations.get(annotation::IMAGE_NAME);
    let name =
        whole.or_else(|| entry.annotations.get(annotation::REF_NAME).filter(|n| n.contains([':', '/'])))?;
    let name = Reference::parse_normalized(name).ok()?.with_default_tag();
    name.tag()?;
    // With a digest it would only ever be found by that.
    name.with_tag(name.tag()?).ok()
}

fn tag(text: &str) -> Result<Reference, Error> {
    let invalid = || Error::new(Kind::Hostile, format!("invalid tag {text:?}"));
    let name = Reference::parse_normalized(text).map_err(|_| invalid())?;
    match (name.tag(), name.digest()) {
        (Some(_), None) => Ok(name),
        _ => Err(invalid()),
    }
}

fn runs_on(shelf: &Shelf<'_>, config: &Digest, platforms: &[Platform]) -> Result<bool, Error> {
    if platforms.is_empty() {
        return Ok(true);
    }
    let own = parse_config(&shelf.read(config)?)?.platform();
    Ok(platforms.iter().any(|wanted| wanted.accepts(&own)))
}

fn nothing(platforms: &[Platform]) -> Error {
    if platforms.is_empty() {
        return Error::new(Kind::Invalid, "invalid archive: it has no complete image");
    }
    let wanted: Vec<String> = platforms.iter().map(Platform::to_string).collect();
    let wanted = wanted.join(", ");
    Error::new(
        Kind::NotFound,
        format!("requested platform ({wanted}) not found: the archive has no image for it"),
    )
}
