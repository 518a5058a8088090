//! A data root of its own, and images to put into a registry.

use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use image::pull::{Limits, Pulls, Request, Retry};
use image::registry::{Credentials, Insecure, Options, Registries};
use image::{Images, Progress};
use oci::digest::Digest;
use oci::image::{Descriptor, media_type};
use scratch::Directory;
use store::records::Records;

use super::fake::Fake;

pub(crate) struct World {
    pub(crate) images: Images,
    pub(crate) pulls: Pulls,
    pub(crate) directory: Directory,
    told: Arc<Mutex<Vec<Progress>>>,
}

pub(crate) fn options() -> Options {
    Options {
        insecure: Insecure::default(),
        certificates: Vec::new(),
        stall_timeout: Duration::from_secs(4),
        ..Options::default()
    }
}

impl World {
    pub(crate) fn new() -> Self {
        Self::open(Directory::new("registry"), options())
    }

    pub(crate) fn open(directory: Directory, options: Options) -> Self {
        let records = Records::open(&store::paths::database(&directory)).unwrap();
        let images = Images::open(&directory, &records).unwrap();
        let retry = Retry { attempts: 4, pause: Duration::from_millis(10) };
        let limits = Limits { retry, ..Limits::default() };
        let pulls = Pulls::new(Registries::new(options), images.clone(), limits);
        Self { images, pulls, directory, told: Arc::default() }
    }

    /// The same data root in an engine that was started again.
    pub(crate) async fn restart(self) -> Self {
        let Self { images, pulls, directory, .. } = self;
        drop((images, pulls));
        // What an abandoned pull had begun ends by itself, and only then lets go of the database.
        let path = store::paths::database(&directory);
        while Records::open(&path).is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Self::open(directory, options())
    }

    pub(crate) async fn pull(&self, name: &str) -> Result<image::pull::Pulled, String> {
        self.pull_as(name, None, Credentials::Anonymous).await
    }

    pub(crate) async fn pull_as(
        &self,
        name: &str,
        platform: Option<&str>,
        credentials: Credentials,
    ) -> Result<image::pull::Pulled, String> {
        let request = Request {
            reference: name.parse().unwrap(),
            platform: platform.map(|platform| platform.parse().unwrap()),
            credentials,
        };
        let told = self.told.clone();
        let sink = Arc::new(move |progress| told.lock().unwrap().push(progress));
        self.pulls.pull(request, sink).await.map_err(|error| error.to_string())
    }

    pub(crate) async fn push(&self, name: &str, credentials: Credentials) -> Result<(), String> {
        let told = self.told.clone();
        let sink = Arc::new(move |progress| told.lock().unwrap().push(progress));
        let name = name.parse().unwrap();
        self.pulls.push(&name, &credentials, sink).await.map_err(|error| error.to_string())
    }

    /// Gives an image another name.
    pub(crate) fn tag(&self, image: &image::Image, name: &str) {
        self.images.tag(&image.id, &name.parse().unwrap()).unwrap();
    }

    /// What was said since the last time, positions left out.
    pub(crate) fn told(&self) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        for progress in std::mem::take(&mut *self.told.lock().unwrap()) {
            let line = match progress {
                Progress::Status { id: Some(id), status } => format!("{id}: {status}"),
                Progress::Status { id: None, status } => status,
                Progress::Layer { id, step } => format!("{id}: {}", step.text()),
                other => format!("{other:?}"),
            };
            if lines.last() != Some(&line) {
                lines.push(line);
            }
        }
        lines
    }

    /// A file of an image, from the topmost layer that has it.
    pub(crate) fn file(&self, image: &image::Image, path: &str) -> Option<String> {
        let lowers = self.images.layers().lowers(image.diff_ids()).unwrap();
        lowers.iter().find_map(|lower| std::fs::read_to_string(lower.join(path)).ok())
    }

    /// Nothing that a failed pull made is visible, and what it was making goes away.
    pub(crate) async fn is_clean(&self) -> bool {
        for _ in 0..500 {
            if count(&self.directory.join("layers/work")) == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.images.list().is_empty()
            && self.images.layers().list().is_empty()
            && count(&self.directory.join("layers/work")) == 0
    }
}

fn count(path: &Path) -> usize {
    std::fs::read_dir(path).map_or(0, Iterator::count)
}

#[derive(Clone, Copy)]
pub(crate) enum Packing {
    Plain,
    Gzip,
    Zstd,
}

/// A layer with one file.
pub(crate) struct Layer {
    pub(crate) tar: Vec<u8>,
    pub(crate) packed: Vec<u8>,
    kind: &'static str,
}

pub(crate) fn layer(path: &str, content: &[u8], packing: Packing) -> Layer {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    // Owner and time stay empty, as some writers leave them.
    header.set_mode(0o644);
    archive.append_data(&mut header, path, content).unwrap();
    let tar = archive.into_inner().unwrap();
    let (packed, kind) = match packing {
        Packing::Plain => (tar.clone(), media_type::OCI_LAYER),
        Packing::Zstd => (zstd::encode_all(tar.as_slice(), 1).unwrap(), media_type::OCI_LAYER_ZSTD),
        Packing::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&tar).unwrap();
            (encoder.finish().unwrap(), media_type::OCI_LAYER_GZIP)
        }
    };
    Layer { tar, packed, kind }
}

impl Layer {
    pub(crate) fn descriptor(&self) -> Descriptor {
        Descriptor::of(self.kind, &self.packed)
    }

    pub(crate) fn diff_id(&self) -> Digest {
        Digest::sha256_of(&self.tar)
    }
}

/// Content that no compression shortens, so that a download takes a while.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .collect()
}

/// Puts an image for `architecture` into a registry and returns its manifest's descriptor.
pub(crate) fn publish(
    fake: &Fake,
    repository: &str,
    tag: &str,
    architecture: &str,
    layers: &[Layer],
) -> Descriptor {
    let diff_ids: Vec<Digest> = layers.iter().map(Layer::diff_id).collect();
    publish_as(fake, repository, tag, architecture, layers, &diff_ids)
}

pub(crate) fn publish_as(
    fake: &Fake,
    repository: &str,
    tag: &str,
    architecture: &str,
    layers: &[Layer],
    diff_ids: &[Digest],
) -> Descriptor {
    let config = serde_json::json!({
        "architecture": architecture, "os": "linux", "config": {"Cmd": ["sh"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let config = serde_json::to_vec(&config).unwrap();
    fake.blob(&config);
    for layer in layers {
        fake.blob(&layer.packed);
    }
    let descriptors: Vec<Descriptor> = layers.iter().map(Layer::descriptor).collect();
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST,
        "config": Descriptor::of(media_type::OCI_CONFIG, &config), "layers": descriptors,
    });
    let manifest = serde_json::to_vec(&manifest).unwrap();
    fake.manifest(repository, tag, media_type::OCI_MANIFEST, &manifest);
    Descriptor::of(media_type::OCI_MANIFEST, &manifest)
}
