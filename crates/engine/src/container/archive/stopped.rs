//! The files of a container that does not run, with all that is mounted on them when it does.
//!
//! ```text
//!   a mount namespace that only this view has
//!     its layers, writable                        ids as on disk, which are those that the container speaks of
//!       ├─ binds, volumes                         what has ids of the host is translated back
//!       └─ hosts, hostname, resolv.conf           once it has run
//! ```
//!
//! Nobody is in the namespace: a descriptor keeps it, and closing that unmounts all of it. What is mounted where nothing
//! is makes its place in the container's layer, as in Docker.

use std::collections::HashMap;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use linux::Errno;
use linux::mount::{self, Attributes, Propagation};
use linux::namespace::{self, IdMaps, IdRange};
use linux::path::Root;

use crate::Engine;
use crate::container::record::{MountKind, MountPoint, Record};
use crate::container::{bind, files, rootfs, users};
use crate::error::{Error, Result};

/// Where every container has files of the engine's.
const OWN_FILES: [&str; 3] = ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf"];

pub(super) struct Mounted {
    pub(super) root: Root,
    pub(super) namespace: OwnedFd,
    /// What the layers stand on: to be dropped last.
    pub(super) layers: image::Beside,
}

/// Something that is mounted.
struct Piece {
    place: PathBuf,
    source: PathBuf,
    recursive: bool,
    read_only: bool,
    /// Whether its files have ids of the host.
    of_host: bool,
}

/// `volumes`: where each of the container's volumes is.
pub(super) fn mount(engine: &Engine, record: &Record, volumes: &HashMap<String, PathBuf>) -> Result<Mounted> {
    let mut pieces = own_files(engine, record);
    for point in &record.mounts {
        pieces.extend(piece(engine, point, volumes)?);
    }
    // What lies within another's place comes after it.
    pieces.sort_by_key(|piece| piece.place.components().count());
    let config = engine.config();
    let back = match users::remap(&config, &record.host) {
        Some(remap) if pieces.iter().any(|piece| piece.of_host) => Some(back(&remap.maps)?),
        _ => None,
    };
    let (mounted, layers) = rootfs::mounted(engine, record.id.as_str())?;
    let at = engine.images().snapshots().directory(record.id.as_str());
    let build = || assemble(mounted, &at, &pieces, back.as_ref());
    let built = std::thread::scope(|scope| scope.spawn(build).join());
    let (root, namespace) = built
        .map_err(|_| Error::system("the engine failed inside"))?
        .map_err(|error| Error::failed("cannot mount the files of a container", error))?;
    Ok(Mounted { root, namespace, layers })
}

/// In a thread of its own, which nobody follows into its namespace.
fn assemble(
    layers: OwnedFd,
    at: &Path,
    pieces: &[Piece],
    back: Option<&OwnedFd>,
) -> linux::Result<(Root, OwnedFd)> {
    namespace::unshare(namespace::MOUNT)?;
    mount::set_propagation(Path::new("/"), Propagation::Private, true)?;
    mount::attach_at(&layers, at)?;
    let root = Root::from_directory(layers);
    for piece in pieces {
        match piece.attach(&root, back) {
            // The container could not start with it, either; it is looked at without.
            Err(error)
                if [Errno::NOTDIR, Errno::ISDIR, Errno::LOOP, Errno::ROFS].iter().any(|e| error.is(*e)) =>
            {
                tracing::debug!(place = %piece.place.display(), %error, "not mounted for a copy");
            }
            done => done?,
        }
    }
    Ok((root, namespace::open(Path::new("/proc/thread-self/ns/mnt"))?))
}

impl Piece {
    fn attach(&self, root: &Root, back: Option<&OwnedFd>) -> linux::Result<()> {
        let tree = match mount::clone_tree(None, &self.source, self.recursive) {
            // A source that is gone is seen as the image has it.
            Err(error) if error.is(Errno::NOENT) => return Ok(()),
            tree => tree?,
        };
        let is_directory = linux::entry::metadata_of(&tree)?.is_directory();
        let target = match is_directory {
            true => root.make_dirs(&self.place, 0o755)?,
            false => root.make_file(&self.place, 0o755)?,
        };
        if self.read_only {
            let attributes = Attributes { set: mount::RDONLY, ..Attributes::default() };
            mount::set_attributes(&tree, &attributes, self.recursive)?;
        }
        if let Some(back) = back.filter(|_| self.of_host) {
            let attributes = Attributes { idmap: Some(back.as_fd()), ..Attributes::default() };
            // Not all file systems can; there, owners are shown as the host knows them.
            if let Err(error) = mount::set_attributes(&tree, &attributes, false) {
                tracing::debug!(source = %self.source.display(), %error, "owners are not translated for a copy");
            }
        }
        mount::attach(&tree, &target)
    }
}

fn piece(engine: &Engine, point: &MountPoint, volumes: &HashMap<String, PathBuf>) -> Result<Option<Piece>> {
    let (source, recursive, of_host) = match &point.kind {
        MountKind::Bind { source, non_recursive, .. } => (source.clone(), !non_recursive, true),
        MountKind::Volume { name, subpath, .. } => {
            let Some(root) = volumes.get(name) else { return Ok(None) };
            let source = if subpath.is_empty() { root.clone() } else { bind::inside(root, subpath)? };
            (source, true, engine.shared().volumes.is_of_host(name))
        }
        // What is made for a run is not there without one.
        MountKind::Tmpfs { .. } | MountKind::Image { .. } => return Ok(None),
    };
    let place = PathBuf::from(&point.destination);
    Ok(Some(Piece { place, source, recursive, read_only: point.read_only, of_host }))
}

/// The engine's own files of a container, which are made when it runs.
fn own_files(engine: &Engine, record: &Record) -> Vec<Piece> {
    let Ok(owner) = files::owner(engine, record) else { return Vec::new() };
    let id = owner.as_deref().unwrap_or(record).id.as_str();
    let paths = engine.paths();
    let sources = [paths.hosts(id), paths.hostname(id), paths.resolv_conf(id)];
    let own = |(place, source): (&str, PathBuf)| Piece {
        place: place.into(),
        source,
        recursive: false,
        read_only: false,
        of_host: false,
    };
    OWN_FILES.into_iter().zip(sources).filter(|(_, source)| source.exists()).map(own).collect()
}

/// A user namespace that takes the host's ids of a container for the container's own.
fn back(maps: &IdMaps) -> Result<OwnedFd> {
    let turned = |ranges: &[IdRange]| -> Vec<IdRange> {
        let turn =
            |range: &IdRange| IdRange { inside: range.outside, outside: range.inside, count: range.count };
        ranges.iter().map(turn).collect()
    };
    namespace::user_with_maps(&turned(&maps.users), &turned(&maps.groups))
        .map_err(|error| Error::failed("cannot make a user namespace", error))
}
