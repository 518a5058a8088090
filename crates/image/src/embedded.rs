//! The image that comes with the product: `localhost/hello:latest`, one static program of a few KiB.
//!
//! It makes the first `run` work without a network. It is installed once per version of its content: who removes it does not get it
//! back at the next start.

use oci::digest::Digest;
use oci::image::{Config, History, ImageConfig};
use oci::platform::Platform;
use oci::reference::Reference;
use serde::{Deserialize, Serialize};
use store::records::Record;

use crate::archive::{Content, Entry, Writer};
use crate::{Error, Images, Kind};

/// Its name.
pub const NAME: &str = "localhost/hello:latest";

/// Compiled by `build.rs`; empty on architectures that the program does not know.
static PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/hello"));

/// That the image was installed. Its id is the layer's diff ID.
#[derive(Serialize, Deserialize)]
struct Installed {
    image: Digest,
}

impl Record for Installed {
    const KIND: &'static str = "embedded-image";
    const VERSION: u32 = 1;
}

impl Images {
    /// Installs the embedded image, unless this very one was installed before. Returns its id when it was.
    pub fn install_embedded(&self) -> Result<Option<Digest>, Error> {
        if PROGRAM.is_empty() {
            return Ok(None);
        }
        let layer = layer()?;
        let diff_id = Digest::sha256_of(&layer);
        let records = self.records();
        if records.read(|r| r.get::<Installed>(diff_id.as_str()))?.is_some() {
            return Ok(None);
        }
        let _lease = self.leases().hold([diff_id.clone()]);
        self.blobs().put(&layer)?;
        let unpacked = self.layers().unpack(Some(&diff_id), &layer[..])?;
        let name = Reference::parse_normalized(NAME).map_err(|e| Error::caused(Kind::Other, NAME, e))?;
        let image = self.finish(config(&diff_id), vec![diff_id.clone()], vec![unpacked], vec![name], None)?;
        records.write(|t| t.put(diff_id.as_str(), &Installed { image: image.clone() }))?;
        Ok(Some(image))
    }
}

fn layer() -> Result<Vec<u8>, Error> {
    let mut writer = Writer::new(Vec::new());
    let entry = Entry {
        path: b"hello".to_vec(),
        content: Content::File { size: PROGRAM.len() as u64, segments: None },
        mode: 0o755,
        uid: 0,
        gid: 0,
        modified: Default::default(),
        xattrs: Vec::new(),
    };
    writer.add_file(&entry, PROGRAM)?;
    writer.finish()
}

fn config(diff_id: &Digest) -> ImageConfig {
    let platform = Platform::host();
    let mut image = ImageConfig {
        architecture: platform.architecture,
        os: platform.os,
        config: Config { cmd: Some(vec!["/hello".into()]), ..Config::default() },
        history: vec![History { created_by: "COPY hello /".into(), ..History::default() }],
        ..ImageConfig::default()
    };
    image.rootfs.diff_ids.push(diff_id.clone());
    image
}
