//! A container's root file system, seen from the engine: what the shim mounts, the user database in it, and a view of
//! it while nothing runs.

use std::collections::{HashMap, HashSet};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use linux::mount::{self, Overlay};
use linux::path::Root;
use shim::protocol::Rootfs;

use super::record::Record;
use crate::Engine;
use crate::error::{Error, Result};
use crate::spec::MAX_DATABASE;

/// Images whose user databases are remembered. Two small files each.
const REMEMBERED: usize = 64;

/// `passwd` and `group` by image: most containers start with their image's own.
#[derive(Default)]
pub(crate) struct Databases {
    by_image: Mutex<HashMap<String, Arc<(String, String)>>>,
}

/// What the shim mounts as `/`.
pub(super) fn prepare(engine: &Engine, record: &Record) -> Result<Rootfs> {
    let snapshot = engine.images().snapshots().get(record.id.as_str())?;
    if record.host.auto_remove {
        // The kernel's mark that syncs were skipped keeps a second mount away, lest files that a power cut has torn be
        // taken for good. We know that there was none: this boot has made the container.
        super::remove::remove_directory(&snapshot.work.join("work/incompat")).map_err(|error| {
            Error::failed("cannot prepare the root of a container for another run", error)
        })?;
    }
    Ok(Rootfs::Overlay {
        lowers: snapshot.lowers,
        upper: snapshot.upper,
        work: snapshot.work,
        // Its files go with it: nothing is lost when they never reach the disk.
        volatile: record.host.auto_remove,
    })
}

/// Removes a container's writable layer.
pub(super) fn remove(engine: &Engine, id: &str) -> Result<()> {
    // Dropping what was taken out of sight deletes the files.
    drop(engine.images().remove_snapshot(id)?);
    Ok(())
}

/// `passwd` and `group` of a container that is about to start.
pub(crate) fn database(engine: &Engine, record: &Record, root: &Rootfs) -> Result<(String, String)> {
    let Rootfs::Overlay { lowers, upper, .. } = root else {
        return Err(Error::system("a container of ours has an overlay as its root"));
    };
    // An upper directory without `etc` cannot have changed the image's files.
    if upper.join("etc").symlink_metadata().is_ok() {
        return read_database(&stack(Some(upper), lowers)?);
    }
    let cache = &engine.shared().databases.by_image;
    let known = cache.lock().unwrap_or_else(PoisonError::into_inner).get(&record.image).cloned();
    if let Some(known) = known {
        return Ok((known.0.clone(), known.1.clone()));
    }
    let found = read_database(&stack(None, lowers)?)?;
    let mut cache = cache.lock().unwrap_or_else(PoisonError::into_inner);
    if cache.len() >= REMEMBERED {
        cache.clear();
    }
    cache.insert(record.image.clone(), Arc::new(found.clone()));
    Ok(found)
}

/// The same of a container that runs, from its own root.
pub(crate) fn opened_database(engine: &Engine, pid: i32) -> Result<(String, String)> {
    let root = engine
        .effects()
        .root_of(pid)
        .map_err(|error| Error::failed("cannot look into the container", error))?;
    read_database(&Root::from_directory(root))
}

pub(super) fn read_database(root: &Root) -> Result<(String, String)> {
    Ok((read(root, "etc/passwd")?, read(root, "etc/group")?))
}

/// A file of the container, up to the bound; one that is absent is empty.
fn read(root: &Root, path: &str) -> Result<String> {
    let failed = |error| Error::failed(format!("cannot open /{path} of the container"), error);
    let node = match root.resolve(Path::new(path)) {
        Ok(node) => node,
        Err(error) if error.is(linux::Errno::NOENT) || error.is(linux::Errno::NOTDIR) => {
            return Ok(String::new());
        }
        Err(error) => return Err(failed(error)),
    };
    // A pipe or device under that name would never end; only a file has users.
    if linux::entry::metadata_of(&node).map_err(failed)?.kind != linux::entry::Kind::File {
        return Ok(String::new());
    }
    let mut bytes = Vec::new();
    linux::entry::read_node(&node)
        .map_err(failed)?
        .take(MAX_DATABASE as u64)
        .read_to_end(&mut bytes)
        .map_err(|error| Error::failed(format!("cannot read /{path} of the container"), error))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Layers as one tree to read from. The mount is detached and goes with its descriptor.
pub(super) fn stack(upper: Option<&PathBuf>, lowers: &[PathBuf]) -> Result<Root> {
    let all: Vec<PathBuf> = upper.into_iter().chain(lowers).cloned().collect();
    let failed = |error| Error::failed("cannot look into the layers of a container", error);
    match all.as_slice() {
        [] => Err(Error::system("an image without layers has no files")),
        [only] => Root::open(only).map_err(failed),
        lowers => {
            let overlay = Overlay { lowers, upper: None, volatile: false, extra: &image::OVERLAY_OPTIONS };
            mount::overlay(&overlay).map(Root::from_directory).map_err(failed)
        }
    }
}

/// The root of a container that does not run, writable, without its volumes. It may be started meanwhile, or be looked at by
/// others. What is returned beside the mount must outlive that.
pub(super) fn mounted(engine: &Engine, id: &str) -> Result<(OwnedFd, image::Beside)> {
    let beside = engine.images().snapshots().get_beside(id)?;
    let snapshot = &beside.snapshot;
    let overlay = Overlay {
        lowers: &snapshot.lowers,
        upper: Some((snapshot.upper.as_path(), snapshot.work.as_path())),
        volatile: false,
        extra: &image::OVERLAY_OPTIONS,
    };
    let mounted = mount::overlay(&overlay)
        .map_err(|error| Error::failed("cannot mount the root of a container", error))?;
    Ok((mounted, beside))
}

/// The working directory is there before the first start: files can be copied into it, and a volume that is put there
/// is filled with it.
pub(super) fn make_working_directory(engine: &Engine, record: &Record) -> Result<()> {
    let path = Path::new(&record.config.working_dir);
    if path.parent().is_none() {
        return Ok(());
    }
    let snapshot = engine.images().snapshots().get(record.id.as_str())?;
    let has = |lower: &PathBuf| {
        let found = Root::open(lower).and_then(|root| root.resolve_without_links(path));
        found.and_then(linux::entry::metadata_of).is_ok_and(|metadata| metadata.is_directory())
    };
    // As the image of whoever cares has it: nothing needs to be mounted then.
    if snapshot.lowers.iter().any(has) {
        return Ok(());
    }
    let (mounted, _layers) = mounted(engine, record.id.as_str())?;
    let root = Root::from_directory(mounted);
    let shown = path.display();
    let made = linux::fault::point("make a container's working directory");
    match made.and_then(|()| root.make_dirs(path, 0o755)) {
        Ok(made) => match linux::entry::metadata_of(&made) {
            Ok(metadata) if metadata.is_directory() => Ok(()),
            _ => Err(Error::system(format!("Cannot mkdir: {shown} is not a directory"))),
        },
        Err(error) if error.is(linux::Errno::NOTDIR) || error.is(linux::Errno::EXIST) => {
            Err(Error::system(format!("Cannot mkdir: {shown} is not a directory")))
        }
        Err(error) => Err(Error::failed(format!("cannot make the working directory {shown}"), error)),
    }
}

/// Root file systems without a container are deleted by the image store when it opens, from the same records; this
/// takes away what a removal without its record left.
pub(super) fn sweep(engine: &Engine, known: &HashSet<String>) -> Result<()> {
    let directory = engine.paths().data_root().join("snapshots");
    let Ok(entries) = std::fs::read_dir(&directory) else { return Ok(()) };
    for entry in entries.flatten() {
        let Ok(id) = entry.file_name().into_string() else { continue };
        if id.parse::<crate::identity::ContainerId>().is_ok() && !known.contains(&id) {
            remove(engine, &id)?;
        }
    }
    Ok(())
}

/// Bytes that a container has written.
pub(super) fn written(engine: &Engine, id: &str) -> Result<u64> {
    let snapshot = engine.images().snapshots().get(id)?;
    let size = engine.shared().sizes.of(&snapshot.upper);
    size.map_err(|error| Error::failed("cannot measure a container", error))
}
