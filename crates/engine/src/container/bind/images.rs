//! Files of an image as a mount (`--mount type=image`).
//!
//! The layers are stacked read-only on a directory of the engine's while the container runs, so that a part of them can
//! be bound: `<exec root>/images/<container>/<number of the mount>`. The container has a mount of its own from there.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use linux::mount::{self, Attributes, Overlay};
use oci::digest::Digest;

use crate::Engine;
use crate::container::record::{MountKind, Record};
use crate::container::users::Users;
use crate::error::{Error, Result};

/// Mounts the files of the image with this id; where they are.
pub(super) fn attach(
    engine: &Engine,
    record: &Record,
    users: Option<&Users>,
    index: usize,
    id: &str,
) -> Result<PathBuf> {
    let known = id.parse::<Digest>().ok().and_then(|id| engine.images().get(&id));
    let image = known.ok_or_else(|| Error::not_found(format!("No such image: {id}")))?;
    let lowers = engine.images().layers().lowers(image.diff_ids())?;
    let path = engine.paths().image_mounts(record.id.as_str()).join(index.to_string());
    linux::fault::io("make a directory for an image's files")
        .and_then(|()| DirBuilder::new().recursive(true).mode(0o700).create(&path))
        .map_err(|error| Error::failed(format!("cannot make {}", path.display()), error))?;
    // One that a run left whose end nobody saw.
    drop(mount::unmount(&path, true));
    linux::fault::point("mount an image's files")
        .and_then(|()| stacked(&lowers, users))
        .and_then(|files| mount::attach_at(files, &path))
        .map_err(|error| Error::failed("cannot mount the files of an image", error))?;
    Ok(path)
}

fn stacked(lowers: &[PathBuf], users: Option<&Users>) -> linux::Result<std::os::fd::OwnedFd> {
    let overlay = Overlay { lowers, upper: None, volatile: false, extra: &image::OVERLAY_OPTIONS };
    let files = match (lowers, users) {
        // A single layer is no overlay.
        ([only], None) => mount::clone_tree(None, only, false)?,
        ([only], Some(users)) => mount::mapped_directory(only, users)?,
        (_, None) => mount::overlay(&overlay)?,
        (_, Some(users)) => mount::overlay_mapped(&overlay, users.mapping())?,
    };
    let read_only = Attributes { set: mount::RDONLY, ..Attributes::default() };
    mount::set_attributes(&files, &read_only, false)?;
    Ok(files)
}

/// Unmounts what [`attach`] has mounted; one that is not mounted is no failure. The container keeps its own mounts.
pub(super) fn detach(engine: &Engine, record: &Record) -> Vec<String> {
    let mut failures = Vec::new();
    if !record.mounts.iter().any(|point| matches!(point.kind, MountKind::Image { .. })) {
        return failures;
    }
    let directory = engine.paths().image_mounts(record.id.as_str());
    let Ok(entries) = std::fs::read_dir(&directory) else { return failures };
    for entry in entries.flatten() {
        failures.extend(clear(&entry.path()).err().map(|error| error.to_string()));
    }
    let removed = std::fs::remove_dir(&directory);
    failures.extend(removed.err().map(|error| format!("cannot remove {}: {error}", directory.display())));
    failures
}

fn clear(path: &Path) -> Result<()> {
    match mount::unmount(path, true) {
        Err(error) if !error.is(linux::Errno::INVAL) => {
            return Err(Error::failed("cannot unmount the files of an image", error));
        }
        _ => {}
    }
    std::fs::remove_dir(path)
        .map_err(|error| Error::failed(format!("cannot remove {}", path.display()), error))
}
