//! What is seen of a container's files from outside, and where paths lead there.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use api::container::PathStat;
use image::archive::Ownership;
use linux::entry;
use linux::namespace::IdMaps;
use linux::path::Root;

use super::stopped;
use crate::container::commands::Command;
use crate::container::record::{MountKind, Record};
use crate::container::state::State;
use crate::container::{Handle, life, mounts, rootfs, told, users};
use crate::error::{Error, Result};
use crate::identity::ContainerId;
use crate::{Engine, clock, spec};

/// Links that are followed on one way, as many as Docker follows.
const MAX_LINKS: usize = 255;

impl Engine {
    pub(super) async fn view(&self, container: &Handle) -> Result<View> {
        // One that ends meanwhile is looked at as stopped.
        if life::admit_process(&container.record()).is_ok()
            && let Ok(root) = container.ask(|reply| Command::Root { reply }).await
        {
            let ids = match &container.record().state {
                State::Running(run) => users::of_process(run.pid)?,
                _ => None,
            };
            let root = Root::from_directory(root);
            let closed = of_kernel(&root, &container.record());
            let mounted = Mounts::told(self, container.record());
            return Ok(View { root, ids, closed, _namespace: None, _layers: None, _mounts: mounted });
        }
        let record = container.record();
        let view = self.blocking(move |engine| View::of_stopped(engine, record)).await;
        // What was taken away meanwhile cannot be mounted, and that says less.
        view.map_err(|error| match self.shared().containers.get(&container.id) {
            Some(_) => error,
            None => Error::not_found(format!("No such container: {}", container.id)),
        })
    }
}

/// A container's files, from its root down.
pub(super) struct View {
    pub(super) root: Root,
    /// What the container takes the owners of files for, where that is not what they are here.
    pub(super) ids: Option<IdMaps>,
    /// Directories that are copied without what is in them.
    pub(super) closed: HashSet<(u64, u64)>,
    /// What keeps the mounts of a container that does not run. They go before its volumes do.
    _namespace: Option<OwnedFd>,
    _layers: Option<image::Beside>,
    _mounts: Mounts,
}

/// Volumes are mounted as long as somebody looks, which listeners hear of.
struct Mounts {
    engine: Engine,
    record: Arc<Record>,
    /// Those that are mounted for this view, and in whose name.
    held: Vec<String>,
    holder: ContainerId,
}

impl Mounts {
    fn told(engine: &Engine, record: Arc<Record>) -> Mounts {
        told::mounted(engine, &record, &clock::now());
        Mounts { engine: engine.clone(), record, held: Vec::new(), holder: ContainerId::random() }
    }

    /// Where the container's volumes are, as long as this lasts.
    fn acquire(&mut self) -> Result<HashMap<String, PathBuf>> {
        let mut found = HashMap::new();
        for point in &self.record.mounts {
            let MountKind::Volume { name, .. } = &point.kind else { continue };
            found.insert(name.clone(), self.engine.shared().volumes.acquire(name, &self.holder)?);
            self.held.push(name.clone());
        }
        Ok(found)
    }
}

impl Drop for Mounts {
    fn drop(&mut self) {
        told::unmounted(&self.engine, &self.record, &clock::now());
        for name in &self.held {
            if let Err(error) = self.engine.shared().volumes.release(name, &self.holder) {
                tracing::warn!(volume = name, %error, "cannot release a volume after a copy");
            }
        }
    }
}

impl View {
    fn of_stopped(engine: &Engine, record: Arc<Record>) -> Result<View> {
        let mut mounts = Mounts::told(engine, record.clone());
        let volumes = mounts.acquire()?;
        let stopped::Mounted { root, namespace, layers } = stopped::mount(engine, &record, &volumes)?;
        let closed = HashSet::new();
        let (namespace, layers) = (Some(namespace), Some(layers));
        Ok(View { root, ids: None, closed, _namespace: namespace, _layers: layers, _mounts: mounts })
    }

    /// Whose the files are that are put in: `user`'s, in ids of the container, or whoever the archive says.
    pub(super) fn ownership(&self, user: Option<(u32, u32)>) -> Result<Ownership<'_>> {
        let unknown = |id| Error::invalid(format!("container ID {id} cannot be mapped to a host ID"));
        Ok(match (user, &self.ids) {
            (None, None) => Ownership::Archive,
            (None, Some(ids)) => Ownership::Inside(ids),
            (Some((uid, gid)), None) => Ownership::Fixed { uid, gid },
            (Some((uid, gid)), Some(ids)) => Ownership::Fixed {
                uid: ids.user(uid).ok_or_else(|| unknown(uid))?,
                gid: ids.group(gid).ok_or_else(|| unknown(gid))?,
            },
        })
    }

    /// Works on the files as the container's root, whom mounts with other ids know; ours they do not.
    pub(super) fn as_root<T>(&self, work: impl FnOnce() -> T) -> Result<T> {
        let Some(ids) = &self.ids else { return Ok(work()) };
        let (user, group) = ids.root();
        linux::credentials::as_owner(user, group, work)
            .map_err(|error| Error::failed("cannot act as root of the container", error))
    }

    /// Where a path leads when all its links are followed. What is not there is followed as far as it can be.
    fn followed(&self, path: &Path) -> Result<PathBuf> {
        let mut place = PathBuf::from("/");
        let mut ahead: Vec<OsString> = parts(path);
        let mut links = 0;
        while let Some(part) = ahead.pop() {
            if part == ".." {
                place.pop();
                continue;
            }
            let next = place.join(part);
            let Some(target) = self.link(&next)? else {
                place = next;
                continue;
            };
            links += 1;
            if links > MAX_LINKS {
                let path = path.display();
                return Err(Error::system(format!("evalSymlinksInScope: too many links in {path}")));
            }
            if target.is_absolute() {
                place = PathBuf::from("/");
            }
            ahead.extend(parts(&target));
        }
        Ok(place)
    }

    /// What the link at a place says, if there is one.
    fn link(&self, place: &Path) -> Result<Option<PathBuf>> {
        let Ok(node) = self.root.parent(place).and_then(|(directory, last)| entry::node(directory, last))
        else {
            return Ok(None);
        };
        let failed = |error| Error::failed(format!("cannot look at {}", place.display()), error);
        if entry::metadata_of(&node).map_err(failed)?.kind != entry::Kind::Symlink {
            return Ok(None);
        }
        match entry::read_link_of(&node) {
            Ok(target) => Ok(Some(PathBuf::from(target))),
            Err(error) if error.is(linux::Errno::NOENT) => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    /// Where a path leads; a link at its end is followed only where the path says that it is a directory.
    pub(super) fn place(&self, path: &str) -> Result<PathBuf> {
        let clean = PathBuf::from(mounts::clean(path));
        match (clean.parent(), clean.file_name()) {
            (Some(parent), Some(name)) if !wants_directory(path) => Ok(self.followed(parent)?.join(name)),
            _ => self.followed(&clean),
        }
    }

    pub(super) fn stat(&self, path: &str, container: &str) -> Result<PathStat> {
        let place = self.place(path)?;
        let node = match place.file_name() {
            None => self.root.resolve(&place),
            Some(_) => self.root.parent(&place).and_then(|(directory, last)| entry::node(directory, last)),
        };
        let node = node.map_err(|error| missing(path, container, &error))?;
        let failed = |error| Error::failed(format!("cannot look at {path}"), error);
        let metadata = entry::metadata_of(&node).map_err(failed)?;
        let link = match metadata.kind {
            entry::Kind::Symlink => {
                // Links of the kernel's lead nowhere for who is no process of the container (`/proc/self`).
                entry::read_link_of(&node).map_err(|error| missing(path, container, &error))?;
                self.followed(&place)?.to_string_lossy().into_owned()
            }
            _ => String::new(),
        };
        if wants_directory(path) && metadata.kind != entry::Kind::Directory {
            return Err(Error::system(format!("lstat {path}: not a directory")));
        }
        let time = jiff::Timestamp::new(
            metadata.modified.seconds,
            i32::try_from(metadata.modified.nanoseconds).unwrap_or(0),
        );
        Ok(PathStat {
            name: base(path).to_string_lossy().into_owned(),
            size: i64::try_from(metadata.size).unwrap_or(i64::MAX),
            mode: PathStat::go_mode(mode_bits(metadata.kind) | metadata.mode),
            mtime: time.map(crate::clock::format).unwrap_or_else(|_| crate::clock::NEVER.into()),
            link_target: link,
        })
    }

    /// The directory that a copy goes to, which may be a link to one.
    pub(super) fn directory(&self, path: &str, container: &str) -> Result<PathBuf> {
        let place = self.followed(Path::new(&mounts::clean(path)))?;
        let node = self.root.resolve(&place).map_err(|error| missing(path, container, &error))?;
        let metadata = entry::metadata_of(&node)
            .map_err(|error| Error::failed(format!("cannot look at {path}"), error))?;
        if metadata.kind != entry::Kind::Directory {
            return Err(Error::invalid("extraction point is not a directory"));
        }
        Ok(place)
    }

    pub(super) fn check_writable(&self, record: &Record, place: &Path) -> Result<()> {
        let volume = record
            .mounts
            .iter()
            .filter(|point| place.starts_with(&point.destination))
            .max_by_key(|point| point.destination.len());
        match volume {
            Some(point) if point.read_only => Err(Error::invalid("mounted volume is marked read-only")),
            Some(_) => Ok(()),
            None if record.host.readonly_rootfs => {
                Err(Error::invalid("container rootfs is marked read-only"))
            }
            None => Ok(()),
        }
    }

    /// The container's user, as the owner of everything that is copied in.
    pub(super) fn user(&self, record: &Record) -> Result<Option<(u32, u32)>> {
        if record.config.user.is_empty() {
            return Ok(None);
        }
        let (passwd, group) = rootfs::read_database(&self.root)?;
        spec::owner_of(record, &passwd, &group).map(Some)
    }
}

/// Where a running container sees the kernel and not files: what is there changes while it is read, has no size, or is a
/// device that not every client may make. It is copied where somebody asks for it by name.
fn of_kernel(root: &Root, record: &Record) -> HashSet<(u64, u64)> {
    let places = ["/proc", "/sys", "/dev"].iter();
    let own = |place: &&&str| !record.mounts.iter().any(|point| point.destination == **place);
    places
        .filter(own)
        .filter_map(|place| root.resolve(Path::new(place)).ok())
        .filter_map(|node| entry::metadata_of(&node).ok())
        .map(|metadata| metadata.identity)
        .collect()
}

fn mode_bits(kind: entry::Kind) -> u32 {
    match kind {
        entry::Kind::File => 0o100_000,
        entry::Kind::Directory => 0o040_000,
        entry::Kind::Symlink => 0o120_000,
        entry::Kind::Fifo => 0o010_000,
        entry::Kind::Character => 0o020_000,
        entry::Kind::Block => 0o060_000,
        entry::Kind::Socket => 0o140_000,
    }
}

/// Whether a path says of itself that it is a directory's.
fn wants_directory(path: &str) -> bool {
    path == "." || path.ends_with('/') || path.ends_with("/.")
}

/// The names of a path, the last one first.
fn parts(path: &Path) -> Vec<OsString> {
    let names = path.components().filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir));
    names.rev().map(|part| part.as_os_str().to_owned()).collect()
}

/// Nothing is there, or nothing can be.
fn missing(path: &str, container: &str, error: &linux::Error) -> Error {
    if error.is(linux::Errno::NOTDIR) {
        return Error::system(format!("lstat {path}: not a directory"));
    }
    Error::not_found(format!("Could not find the file {path} in container {container}"))
}

/// The name that entries of the archive begin with.
pub(super) fn base(path: &str) -> OsString {
    if path == "." || path.ends_with("/.") {
        return OsString::from(".");
    }
    let clean = mounts::clean(path);
    Path::new(&clean).file_name().map_or_else(|| OsString::from("/"), OsString::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_keep_what_their_end_says() {
        assert!(wants_directory("/a/.") && wants_directory("a/") && wants_directory("."));
        assert!(!wants_directory("/a.") && !wants_directory("/a/.."));
        assert_eq!(parts(Path::new("/a/./../b/")), ["b", "..", "a"]);
        assert_eq!(base("/a/b/"), OsString::from("b"));
        assert_eq!(base("/a/."), OsString::from("."));
        assert_eq!(base("."), OsString::from("."));
        assert_eq!(base("/"), OsString::from("/"));
    }
}
