//! Mounts in effect: volumes filled when a container is created, sources made and volumes mounted when it starts, and
//! all of it given back when it ends.

mod images;
mod propagation;

use std::fs::DirBuilder;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use oci::runtime::Mount;

use super::record::{MountKind, MountPoint, Record};
use super::users::Users;
use crate::Engine;
use crate::error::{Error, Result};

/// What a start has prepared.
#[derive(Debug, Default)]
pub(crate) struct Bound {
    pub(crate) mounts: Vec<Mount>,
    /// A `/dev/shm` that others may share.
    pub(crate) shm: Option<PathBuf>,
}

/// Copies what the image has at a volume's place into each volume that is empty.
pub(super) fn fill(engine: &Engine, record: &Record) -> Result<()> {
    let volumes = &engine.shared().volumes;
    let wants = |point: &&MountPoint| match &point.kind {
        MountKind::Volume { name, no_copy, subpath, .. } => {
            !no_copy && subpath.is_empty() && volumes.may_be_empty(name)
        }
        _ => false,
    };
    let points: Vec<&MountPoint> = record.mounts.iter().filter(wants).collect();
    if points.is_empty() {
        return Ok(());
    }
    let snapshot = engine.images().snapshots().get(record.id.as_str())?;
    let root = super::rootfs::stack(Some(&snapshot.upper), &snapshot.lowers)?;
    for point in points {
        let MountKind::Volume { name, .. } = &point.kind else { continue };
        let source = Path::new(&point.destination);
        // Without anything to copy, a volume is not looked into: it need not even be there before the start.
        let Some(found) = directory(&root, source)? else { continue };
        let alone = engine.volume_users(name).is_empty();
        let copy = |target: &Path| copy_up(&root, source, &found, target);
        volumes.fill(name, &record.id, alone, copy)?;
    }
    Ok(())
}

/// A directory of the image, if there is one of that name.
fn directory(root: &linux::path::Root, path: &Path) -> Result<Option<OwnedFd>> {
    match root.resolve(path) {
        Err(error) if error.is(linux::Errno::NOENT) || error.is(linux::Errno::NOTDIR) => Ok(None),
        Err(error) => Err(Error::failed("cannot look into the image", error)),
        Ok(found) => {
            let is_directory =
                linux::entry::metadata_of(&found).is_ok_and(|metadata| metadata.is_directory());
            Ok(is_directory.then_some(found))
        }
    }
}

/// Copies a directory of the image, its owner and mode included, through an archive: one way to copy a tree.
fn copy_up(root: &linux::path::Root, source: &Path, found: &OwnedFd, target: &Path) -> Result<()> {
    use image::archive::{
        Extract, Limits, Ownership, Reader, Replace, Writer, archive_path, copy_attributes, extract_into,
    };
    let (reader, writer) = std::io::pipe().map_err(|error| Error::failed("cannot make a pipe", error))?;
    let inside =
        linux::path::Root::open(target).map_err(|error| Error::failed("cannot open a volume", error))?;
    let (written, read) = std::thread::scope(|scope| {
        let written = scope.spawn(move || {
            let mut archive = Writer::new(writer);
            archive_path(root, &source.join("."), std::ffi::OsStr::new("."), &mut archive)?;
            archive.finish().map(drop)
        });
        let how = Extract {
            base: Path::new("."),
            layer: false,
            ownership: Ownership::Archive,
            replace: Replace::Anything,
        };
        let mut archive = Reader::new(reader, Limits::default());
        let read = extract_into(&mut archive, &inside, how);
        drop(archive);
        (written.join(), read)
    });
    read?;
    written.map_err(|_| Error::system("the engine failed inside"))??;
    // The volume itself looks as the directory did: a database must own its data directory.
    Ok(copy_attributes(found, &inside)?)
}

/// Prepares a container's mounts for a run. Blocking.
pub(super) fn bind(engine: &Engine, record: &Record, users: Option<&Users>) -> Result<Bound> {
    let mut bound = Bound::default();
    for (index, point) in record.mounts.iter().enumerate() {
        bound.mounts.push(bound_mount(engine, record, users, index, point)?);
    }
    if record.host.ipc_mode == "shareable" {
        bound.shm = Some(make_shm(engine, record, users)?);
    }
    Ok(bound)
}

fn bound_mount(
    engine: &Engine,
    record: &Record,
    users: Option<&Users>,
    index: usize,
    point: &MountPoint,
) -> Result<Mount> {
    let destination = PathBuf::from(&point.destination);
    let made = |source: PathBuf, options: Vec<String>| Mount {
        destination: destination.clone(),
        kind: "bind".into(),
        source: Some(source),
        options,
        ..Mount::default()
    };
    match &point.kind {
        MountKind::Bind { source, propagation, create, non_recursive, read_only_non_recursive, .. } => {
            if *create && !source.exists() {
                make_source(source, users)?;
            }
            if !source.exists() {
                return Err(Error::invalid(format!(
                    "invalid mount config for type \"bind\": bind source path does not exist: {}",
                    source.display()
                )));
            }
            propagation::check(source, propagation)?;
            let mut options = vec![if *non_recursive { "bind" } else { "rbind" }.to_owned()];
            if point.read_only {
                options
                    .push(if *read_only_non_recursive || *non_recursive { "ro" } else { "rro" }.to_owned());
            }
            options.push(propagation.clone());
            Ok(made(source.clone(), options))
        }
        MountKind::Volume { name, subpath, propagation, .. } => {
            let root = engine.shared().volumes.acquire(name, &record.id)?;
            let source = if subpath.is_empty() { root } else { inside(&root, subpath)? };
            let mut options = vec!["rbind".to_owned()];
            if point.read_only {
                options.push("rro".into());
            }
            options.push(if propagation.is_empty() { "rprivate".into() } else { propagation.clone() });
            if users.is_some() && !engine.shared().volumes.is_of_host(name) {
                options.push("idmap".into());
            }
            Ok(made(source, options))
        }
        MountKind::Tmpfs { options } => crate::spec::tmpfs(&point.destination, &options.join(",")),
        MountKind::Image { id, subpath, .. } => {
            let root = images::attach(engine, record, users, index, id)?;
            let source = if subpath.is_empty() { root } else { inside(&root, subpath)? };
            Ok(made(source, vec!["rbind".into(), "rro".into(), "rprivate".into()]))
        }
    }
}

/// A directory of the host that a container asked for and nobody made. It is the container's root's.
fn make_source(path: &Path, users: Option<&Users>) -> Result<()> {
    let create = || DirBuilder::new().mode(0o755).recursive(true).create(path);
    let make = || linux::fault::io("make a bind's source").and_then(|()| create());
    let made = match users.map(|users| users.maps.root()) {
        None => make(),
        Some((user, group)) => linux::credentials::as_owner(user, group, make)
            .map_err(|error| Error::failed("cannot act as root of the container", error))?,
    };
    made.map_err(|error| {
        Error::failed(format!("error while creating mount source path '{}'", path.display()), error)
    })
}

/// A path within a volume or an image, whose links may not lead out of it.
pub(super) fn inside(root: &Path, subpath: &str) -> Result<PathBuf> {
    let wanted = root.join(subpath);
    let failed = |error: linux::Error| {
        // The first that is not there, as Docker finds it on its way down.
        let missing = wanted.ancestors().take_while(|path| path.symlink_metadata().is_err()).last();
        let place = missing.unwrap_or(&wanted).display();
        Error::system(format!("cannot access path {}: lstat {place}: {}", wanted.display(), error.words()))
    };
    let handle = linux::path::Root::open(root).map_err(failed)?;
    let found = handle.resolve_beneath(Path::new(subpath)).map_err(|error| match error.errno() {
        linux::Errno::XDEV => Error::invalid(format!(
            "path concatenation escapes the base directory, base: {}, subpath: {subpath}",
            root.display()
        )),
        _ => failed(error),
    })?;
    Ok(linux::path::of(found))
}

/// A tmpfs on the host: what several containers share must be visible outside all of them.
fn make_shm(engine: &Engine, record: &Record, users: Option<&Users>) -> Result<PathBuf> {
    let path = engine.paths().shm(record.id.as_str());
    store::fault::point("make a directory for shared memory")?;
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&path)
        .map_err(|error| Error::failed(format!("cannot make {}", path.display()), error))?;
    let owner = users.map_or((0, 0), |users| users.maps.root());
    engine
        .effects()
        .mount_shm(&path, record.host.shm_size, owner)
        .map_err(|error| Error::failed("cannot mount the shared memory of a container", error))?;
    Ok(path)
}

/// Gives back what [`bind`] took, all of it, and reports what could not be.
pub(super) fn release(engine: &Engine, record: &Record) -> Result<()> {
    let mut failures = Vec::new();
    for point in &record.mounts {
        if let MountKind::Volume { name, .. } = &point.kind
            && let Err(error) = engine.shared().volumes.release(name, &record.id)
        {
            failures.push(error.to_string());
        }
    }
    failures.extend(images::detach(engine, record));
    let shm = engine.paths().shm(record.id.as_str());
    if shm.exists() {
        // Containers that still share it keep it until they end.
        if let Err(error) = engine.effects().unmount_shm(&shm) {
            failures.push(error.to_string());
        } else if let Err(error) = std::fs::remove_dir(&shm) {
            failures.push(format!("rmdir {}: {error}", shm.display()));
        }
    }
    if failures.is_empty() { Ok(()) } else { Err(Error::system(failures.join("; "))) }
}
