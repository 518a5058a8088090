//! What is seen of a container's files from outside: paths are followed here, from one mount into another.

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use api::container::PathStat;
use image::archive::Ownership;
use linux::entry;
use linux::namespace::IdMaps;
use linux::path::Root;

use crate::container::commands::Command;
use crate::container::record::{MountKind, Record};
use crate::container::state::State;
use crate::container::{Handle, files, life, mounts, rootfs, told, users};
use crate::error::{Error, Result};
use crate::identity::ContainerId;
use crate::{Engine, clock, spec};

/// Links that are followed on one way, as many as Docker follows.
const MAX_LINKS: usize = 255;

/// Where every container has files of the engine's.
const OWN_FILES: [&str; 3] = ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf"];

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
            let files = Files { root: Root::from_directory(root), ids, mounts: Vec::new() };
            let closed = of_kernel(&files.root, &container.record());
            let mounted = Mounts::told(self, container.record());
            return Ok(View { files, attached: Vec::new(), closed, _mounts: mounted });
        }
        let record = container.record();
        self.blocking(move |engine| View::of_stopped(engine, record)).await
    }
}

/// A container's files, from its root down.
pub(super) struct View {
    files: Files,
    /// Volumes that were attached for this view alone.
    attached: Vec<Mounted>,
    /// Directories that are copied without what is in them.
    pub(super) closed: HashSet<(u64, u64)>,
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

/// What is mounted in the view of a container that does not run: its place, and where its files are.
struct Mounted {
    place: PathBuf,
    files: Files,
    /// What of them is mounted; of a file, its directory is open.
    inside: PathBuf,
}

/// A tree of files whose owners may be others than the container takes them for.
pub(super) struct Files {
    pub(super) root: Root,
    pub(super) ids: Option<IdMaps>,
    /// Where in it something is mounted while the container runs.
    pub(super) mounts: Vec<PathBuf>,
}

impl Files {
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
}

impl Mounted {
    /// A file that is mounted, if it is there. Links are followed, as where it is bound.
    fn file(place: PathBuf, source: &Path, ids: Option<IdMaps>) -> Option<Mounted> {
        let source = source.canonicalize().ok()?;
        let root = Root::open(source.parent()?).ok()?;
        let inside = PathBuf::from(source.file_name()?);
        Some(Mounted { place, files: Files { root, ids, mounts: Vec::new() }, inside })
    }
}

/// Where the engine's files are seen in a container that has run, and where they are.
fn own_files(engine: &Engine, record: &Record) -> Vec<(PathBuf, PathBuf)> {
    let Ok(owner) = files::owner(engine, record) else { return Vec::new() };
    let id = owner.as_deref().unwrap_or(record).id.as_str();
    let paths = engine.paths();
    let sources = [paths.hosts(id), paths.hostname(id), paths.resolv_conf(id)];
    OWN_FILES.iter().map(PathBuf::from).zip(sources).collect()
}

impl View {
    fn of_stopped(engine: &Engine, record: Arc<Record>) -> Result<View> {
        // On disk, layers and volumes have the ids that the container speaks of.
        let root = Root::from_directory(rootfs::mounted(engine, record.id.as_str())?);
        let config = engine.config();
        let host_ids = users::remap(&config, &record.host).map(|remap| remap.maps.clone());
        let mut attached = Vec::new();
        let mut mounts = Mounts::told(engine, record.clone());
        for point in &record.mounts {
            let (source, ids) = match &point.kind {
                MountKind::Bind { source, .. } => (source, host_ids.clone()),
                MountKind::Volume { source, name, .. } => {
                    engine.shared().volumes.acquire(name, &mounts.holder)?;
                    mounts.held.push(name.clone());
                    let of_host = engine.shared().volumes.is_of_host(name);
                    (source, host_ids.clone().filter(|_| of_host))
                }
                MountKind::Tmpfs { .. } | MountKind::Image { .. } => continue,
            };
            let place = PathBuf::from(&point.destination);
            let mounts = mounted_below(&record, &place);
            // A source that is gone is seen as the image has it.
            if let Ok(root) = Root::open(source) {
                attached.push(Mounted { place, files: Files { root, ids, mounts }, inside: ".".into() });
            } else if matches!(point.kind, MountKind::Bind { .. }) {
                attached.extend(Mounted::file(place, Path::new(source), ids));
            }
        }
        for (place, source) in own_files(engine, &record) {
            attached.extend(Mounted::file(place, &source, None));
        }
        // The innermost first.
        attached.sort_by_key(|mounted| std::cmp::Reverse(mounted.place.components().count()));
        let closed = HashSet::new();
        let files = Files { root, ids: None, mounts: mounted_below(&record, Path::new("/")) };
        Ok(View { files, attached, closed, _mounts: mounts })
    }

    /// The tree that a place is in, and the path within it.
    pub(super) fn within(&self, place: &Path) -> (&Files, PathBuf) {
        let below = |base: &Path, inside: &Path| {
            let rest = place.strip_prefix(base).ok()?;
            Some(if rest.as_os_str().is_empty() { inside.to_owned() } else { inside.join(rest) })
        };
        for Mounted { place, files, inside } in &self.attached {
            if let Some(path) = below(place, inside) {
                return (files, path);
            }
        }
        let top = Path::new(".");
        (&self.files, below(Path::new("/"), top).unwrap_or_else(|| top.to_owned()))
    }

    /// Where a path leads when all its links are followed, also from one mount into another. What is not there is
    /// followed as far as it can be.
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
        let (Files { root, .. }, inside) = self.within(place);
        let Ok(node) = root.parent(&inside).and_then(|(directory, last)| entry::node(directory, last)) else {
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
        let (Files { root, .. }, inside) = self.within(&place);
        let node = match inside.file_name() {
            None => root.resolve(&inside),
            Some(_) => root.parent(&inside).and_then(|(directory, last)| entry::node(directory, last)),
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
    pub(super) fn directory(&self, path: &str, container: &str) -> Result<(&Files, PathBuf, PathBuf)> {
        let place = self.followed(Path::new(&mounts::clean(path)))?;
        let (files, inside) = self.within(&place);
        let node = files.root.resolve(&inside).map_err(|error| missing(path, container, &error))?;
        let metadata = entry::metadata_of(&node)
            .map_err(|error| Error::failed(format!("cannot look at {path}"), error))?;
        if metadata.kind != entry::Kind::Directory {
            return Err(Error::invalid("extraction point is not a directory"));
        }
        Ok((files, inside, place))
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
        let (passwd, group) = rootfs::read_database(&self.files.root)?;
        spec::owner_of(record, &passwd, &group).map(Some)
    }
}

/// The places below one, as seen from there, that a container which does not run mounts something on when it does.
fn mounted_below(record: &Record, base: &Path) -> Vec<PathBuf> {
    let places = record.mounts.iter().map(|point| point.destination.as_str()).chain(OWN_FILES);
    let below = places.filter_map(|place| Path::new(place).strip_prefix(base).ok());
    below.filter(|rest| !rest.as_os_str().is_empty()).map(|rest| Path::new("/").join(rest)).collect()
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
