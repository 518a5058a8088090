//! Images in bulk: load, save, import.

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use api::progress::Message;
use image::{Import, Progress, Sink};
use oci::platform::Platform;
use tokio::sync::mpsc;

use super::optional_name;
use crate::error::{Error, Result};
use crate::pulls::{telling, wanted_platform};
use crate::{Engine, instructions};

/// Bytes gathered before they go into a pipe: headers are small, and each write wakes the reader.
const BUFFER: usize = 256 << 10;

/// `POST /images/create?fromSrc=…`
#[derive(Debug, Clone, Default)]
pub struct ImportRequest {
    /// Where the archive comes from, as history tells it.
    pub source: String,
    pub repository: String,
    pub tag: String,
    pub message: String,
    /// Dockerfile lines (`CMD …`, `ENV …`).
    pub changes: Vec<String>,
    pub platform: Option<String>,
}

impl Engine {
    /// `POST /images/load`
    pub async fn image_load(
        &self,
        archive: Box<dyn Read + Send>,
        quiet: bool,
        platforms: Vec<api::image::Platform>,
        lines: mpsc::Sender<Message>,
    ) -> Result<()> {
        let platforms: Vec<Platform> = platforms.into_iter().map(wanted_platform).collect();
        telling(lines, |sink| {
            self.blocking(move |engine| {
                let filtered = |progress: Progress| {
                    if !quiet || matches!(progress, Progress::Stream(_)) {
                        sink(progress);
                    }
                };
                for loaded in engine.images().load(archive, &platforms, &filtered)? {
                    engine.told("load", &loaded.id, loaded.id.as_str());
                }
                Ok(())
            })
        })
        .await
    }

    /// `GET /images/get`: all of `names` in one archive.
    pub async fn image_save(
        &self,
        names: Vec<String>,
        platforms: Vec<api::image::Platform>,
        out: OwnedFd,
    ) -> Result<()> {
        let platforms: Vec<Platform> = platforms.into_iter().map(wanted_platform).collect();
        if names.is_empty() {
            return Err(Error::invalid("no image names were given"));
        }
        self.blocking(move |engine| {
            let mut out = BufWriter::with_capacity(BUFFER, File::from(out));
            let saved = engine.images().save(&names, &platforms, &mut out)?;
            out.flush().map_err(|error| Error::failed("cannot write the archive", error))?;
            for id in saved {
                engine.told("save", &id, id.as_str());
            }
            Ok(())
        })
        .await
    }

    /// `POST /images/create?fromSrc=-`
    pub async fn image_import(
        &self,
        request: ImportRequest,
        archive: Box<dyn Read + Send>,
        lines: mpsc::Sender<Message>,
    ) -> Result<()> {
        let import = import(request)?;
        telling(lines, |sink: Arc<dyn Sink>| {
            self.blocking(move |engine| {
                let id = engine.images().import(archive, import)?;
                engine.told("import", &id, id.as_str());
                sink(Progress::Made(id));
                Ok(())
            })
        })
        .await
    }
}

pub(super) fn import(request: ImportRequest) -> Result<Import> {
    let ImportRequest { source, repository, tag, message, changes, platform } = request;
    let platform = match platform.filter(|text| !text.is_empty()) {
        Some(text) => text.parse().map_err(|error| Error::invalid(format!("{error}")))?,
        None => Platform::host(),
    };
    let mut config = oci::image::Config::default();
    instructions::apply(&mut config, &changes)?;
    let comment = if message.is_empty() { format!("Imported from {source}") } else { message };
    Ok(Import { config, comment, platform, names: optional_name(&repository, &tag)? })
}
