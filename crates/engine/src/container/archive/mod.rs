//! Copies into and out of a container, by handles on its root: the running one's own, or mounts made for the purpose.

mod stopped;
mod view;

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};

use api::container::PathStat;
use image::archive::{Extract, Limits, Reader, Replace, Writer, archive_path, archive_tree, extract_into};

use super::rootfs;
use crate::Engine;
use crate::error::{Error, Result};
use view::{View, base};

/// What is at a path.
pub type ArchiveStat = PathStat;

/// How an archive is unpacked into a container.
#[derive(Debug, Clone, Copy, Default)]
pub struct PutOptions {
    /// A directory may not be replaced by something else, nor the other way round.
    pub no_overwrite_dir_non_dir: bool,
    /// Everything belongs to the container's user.
    pub copy_uid_gid: bool,
}

impl Engine {
    pub async fn archive_stat(&self, wanted: &str, path: &str) -> Result<ArchiveStat> {
        let container = self.container(wanted)?;
        let view = self.view(&container).await?;
        let (path, wanted) = (path.to_owned(), wanted.to_owned());
        self.blocking(move |_| view.stat(&path, &wanted)).await
    }

    /// What is at a path, and the archive of it.
    pub async fn archive_get(&self, wanted: &str, path: &str) -> Result<(ArchiveStat, Archive)> {
        let container = self.container(wanted)?;
        let view = self.view(&container).await?;
        let (path, wanted) = (path.to_owned(), wanted.to_owned());
        let record = container.record();
        self.blocking(move |engine| {
            let stat = view.stat(&path, &wanted)?;
            engine.container_event(&record, "archive-path", &[]);
            Ok((stat, Archive { engine: engine.clone(), view, path }))
        })
        .await
    }

    /// Unpacks an archive, plain or compressed, into a directory of the container.
    pub async fn archive_put(
        &self,
        wanted: &str,
        path: &str,
        options: PutOptions,
        archive: impl Read + Send + 'static,
    ) -> Result<()> {
        let container = self.container(wanted)?;
        let view = self.view(&container).await?;
        let (path, wanted) = (path.to_owned(), wanted.to_owned());
        let record = container.record();
        self.blocking(move |engine| {
            let target = view.directory(&path, &wanted)?;
            view.check_writable(&record, &target)?;
            let user = if options.copy_uid_gid { view.user(&record)? } else { None };
            let ownership = view.ownership(user)?;
            let replace =
                if options.no_overwrite_dir_non_dir { Replace::SameKind } else { Replace::Anything };
            let mut reader = Reader::new(image::Decoder::new(archive)?, Limits::default());
            let how = Extract { base: &target, layer: false, ownership, replace };
            view.as_root(|| extract_into(&mut reader, &view.root, how))?.map_err(unreadable)?;
            engine.container_event(&record, "extract-to-dir", &[]);
            Ok(())
        })
        .await
    }

    /// Writes the whole root file system as an archive.
    pub async fn container_export(&self, wanted: &str, out: OwnedFd) -> Result<()> {
        let container = self.container(wanted)?;
        let record = container.record();
        self.blocking(move |engine| {
            // The layers alone: volumes are not part of an export.
            let snapshot = engine.images().snapshots().get(record.id.as_str())?;
            let root = rootfs::stack(Some(&snapshot.upper), &snapshot.lowers)?;
            let mut writer = Writer::new(File::from(out));
            archive_tree(root.as_fd(), &mut writer)?;
            writer.finish()?;
            engine.container_event(&record, "export", &[]);
            Ok(())
        })
        .await
    }
}

/// The archive of a path, to be written.
pub struct Archive {
    engine: Engine,
    view: View,
    path: String,
}

impl Archive {
    pub async fn write(self, out: OwnedFd) -> Result<()> {
        let Archive { engine, view, path } = self;
        engine
            .blocking(move |_| {
                let place = view.place(&path)?;
                let mut writer = Writer::new(File::from(out))
                    .seen_from(view.ids.clone())
                    .without_content_of(view.closed.clone());
                archive_path(&view.root, &place, &base(&path), &mut writer)?;
                writer.finish()?;
                Ok(())
            })
            .await
    }
}

/// Docker takes what is no archive for a failure of its own.
fn unreadable(error: image::Error) -> Error {
    match error.kind() {
        image::Kind::Hostile => Error::system(error.to_string()),
        _ => error.into(),
    }
}
