//! Tar archives for `cp`: packing a path of ours, and unpacking a container's.
//!
//! The container may be hostile, so its archive cannot name a place outside of the destination: a
//! name with `..` is refused, and every directory on the way is opened without following links,
//! from a handle on the destination. Packing happens in a thread that writes into a pipe, because
//! the request wants to be fed.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, PipeReader, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Component, Path, PathBuf};
use std::thread::JoinHandle;

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;
use tar::{Archive, Entry, EntryType, Header};

use super::plan::Target;
use crate::failure::{Failure, doing};

/// A path of ours as a tar stream, while it is being packed.
pub(super) struct Packer {
    pipe: PipeReader,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Packer {
    /// The root entry is called `name`; with an empty name only the contents are packed.
    pub(super) fn new(source: &Path, name: &str) -> Result<Packer, Failure> {
        let (pipe, writer) = io::pipe()?;
        let (source, name) = (source.to_owned(), name.to_owned());
        let thread =
            std::thread::Builder::new().name("tar".to_owned()).spawn(move || pack(&source, &name, writer))?;
        Ok(Packer { pipe, thread: Some(thread) })
    }
}

fn pack(source: &Path, name: &str, writer: io::PipeWriter) -> io::Result<()> {
    let mut builder = tar::Builder::new(io::BufWriter::with_capacity(64 * 1024, writer));
    builder.follow_symlinks(false);
    builder.sparse(false);
    let name = if name.is_empty() { "." } else { name };
    let mut seen = HashMap::new();
    let mut ahead = vec![(source.to_owned(), PathBuf::from(name))];
    while let Some((source, name)) = ahead.pop() {
        let found = std::fs::symlink_metadata(&source)?;
        if found.is_dir() {
            builder.append_dir(&name, &source)?;
            for child in std::fs::read_dir(&source)? {
                let child = child?.file_name();
                ahead.push((source.join(&child), name.join(&child)));
            }
        } else if !found.file_type().is_socket() {
            pack_file(&mut builder, &source, &found, &name, &mut seen)?;
        }
    }
    io::Write::flush(&mut builder.into_inner()?)
}

/// Files with several names that are packed already, by device and inode.
type Seen = HashMap<(u64, u64), PathBuf>;

fn pack_file(
    builder: &mut tar::Builder<impl io::Write>,
    source: &Path,
    found: &std::fs::Metadata,
    name: &Path,
    seen: &mut Seen,
) -> io::Result<()> {
    if found.nlink() > 1 {
        if let Some(first) = seen.get(&(found.dev(), found.ino())) {
            let mut header = Header::new_gnu();
            header.set_metadata(found);
            header.set_entry_type(EntryType::Link);
            header.set_size(0);
            return builder.append_link(&mut header, name, first);
        }
        seen.insert((found.dev(), found.ino()), name.to_owned());
    }
    match special(found)? {
        Some(mut header) => builder.append_data(&mut header, name, io::empty()),
        None => builder.append_path_with_name(source, name),
    }
}

/// Of a device or a pipe, which the builder knows by its own name alone.
fn special(found: &std::fs::Metadata) -> io::Result<Option<Header>> {
    let entry_type = match found.file_type() {
        kind if kind.is_char_device() => EntryType::Char,
        kind if kind.is_block_device() => EntryType::Block,
        kind if kind.is_fifo() => EntryType::Fifo,
        _ => return Ok(None),
    };
    let mut header = Header::new_gnu();
    header.set_metadata(found);
    header.set_entry_type(entry_type);
    header.set_size(0);
    header.set_device_major(fs::major(found.rdev()))?;
    header.set_device_minor(fs::minor(found.rdev()))?;
    Ok(Some(header))
}

impl Read for Packer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.pipe.read(buffer)?;
        if count == 0
            && let Some(thread) = self.thread.take()
        {
            // The end of the pipe is also how a failure looks; it must not pass for a whole archive.
            thread.join().map_err(|_| io::Error::other("packing the archive failed"))??;
        }
        Ok(count)
    }
}

/// Unpacks a container's archive. All of it belongs to whoever does so: numbers of users mean others here.
pub(super) fn unpack(reader: &mut dyn Read, target: &Target) -> Result<(), Failure> {
    let mut archive = Archive::new(reader);
    let mut landing: Option<Landing> = None;
    let mut directories = Vec::new();
    for entry in archive.entries().map_err(doing("reading", "the archive"))? {
        let mut entry = entry.map_err(doing("reading", "the archive"))?;
        let path = relative(&entry.path().map_err(doing("reading", "the archive"))?)?;
        let landing = match &landing {
            Some(landing) => landing,
            // The first entry is the root of all others.
            None => landing.insert(Landing::open(path.clone(), &target.root)?),
        };
        let place = landing.place(&path)?;
        let failed = doing("could not write", landing.shown(&path).display().to_string());
        landing.keep_kind(&place, entry.header().entry_type().is_dir())?;
        landing.write(&mut entry, &place).map_err(failed)?;
        if entry.header().entry_type().is_dir() {
            directories.push((place, entry.header().mtime().unwrap_or(0)));
        }
    }
    // What was written into a directory changed its time; so those come last, innermost first.
    if let Some(landing) = &landing {
        for (place, time) in directories.iter().rev() {
            let _ = landing.set_time(place, *time);
        }
    }
    Ok(())
}

/// A name in an archive as a relative path without surprises.
fn relative(path: &Path) -> Result<PathBuf, Failure> {
    let mut result = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => result.push(name),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err(Failure::new(format!(
                    "the archive names a path outside of it: {}",
                    path.display()
                )));
            }
        }
    }
    Ok(result)
}

/// The directory that the archive's root lands in, and the name that it gets there.
struct Landing {
    directory: OwnedFd,
    name: PathBuf,
    root: PathBuf,
    /// How the archive calls its root.
    prefix: PathBuf,
}

impl Landing {
    fn open(prefix: PathBuf, root: &Path) -> Result<Landing, Failure> {
        let (directory, name) = match (root.parent(), root.file_name()) {
            (Some(parent), Some(name)) if !parent.as_os_str().is_empty() => (parent, Path::new(name)),
            (Some(_), Some(name)) => (Path::new("."), Path::new(name)),
            _ => (root, Path::new("")),
        };
        // A destination that exists and may be reached by a link is the user's own wish.
        let (directory, name) = if root.is_dir() { (root, Path::new("")) } else { (directory, name) };
        let flags = OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC;
        let handle = fs::open(directory, flags, Mode::empty())
            .map_err(|error| doing("could not open", directory.display())(error.into()))?;
        Ok(Landing { directory: handle, name: name.to_owned(), root: root.to_owned(), prefix })
    }

    /// Where an entry goes, below the directory.
    fn place(&self, path: &Path) -> Result<PathBuf, Failure> {
        let inner = path.strip_prefix(&self.prefix).map_err(|_| {
            Failure::new(format!(
                "the archive has {} outside of its root {}",
                path.display(),
                self.prefix.display()
            ))
        })?;
        Ok(self.name.join(inner))
    }

    fn shown(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix(&self.prefix).unwrap_or(path))
    }

    /// The directory of a place, reached without following links, and the last name.
    fn parent<'p>(&self, place: &'p Path) -> io::Result<(OwnedFd, &'p OsStr)> {
        let mut handle = self.directory.try_clone()?;
        let flags = OFlags::DIRECTORY | OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        for part in place.parent().into_iter().flat_map(Path::components) {
            handle = fs::openat(&handle, part.as_os_str(), flags, Mode::empty())?;
        }
        Ok((handle, place.file_name().unwrap_or(OsStr::new("."))))
    }

    fn write(&self, entry: &mut Entry<'_, impl Read>, place: &Path) -> io::Result<()> {
        let (directory, name) = self.parent(place)?;
        let header = entry.header().clone();
        let mode = Mode::from_raw_mode(header.mode()? & 0o7777);
        let kind = header.entry_type();
        match kind {
            EntryType::Directory => match fs::mkdirat(&directory, name, Mode::RWXU) {
                Ok(()) => {}
                Err(Errno::EXIST) if is_directory(&directory, name) => {}
                Err(error) => return Err(error.into()),
            },
            EntryType::Symlink => {
                let link = entry.link_name()?.ok_or(io::ErrorKind::InvalidData)?;
                replace(&directory, name)?;
                fs::symlinkat(&*link, &directory, name)?;
            }
            EntryType::Link => {
                let link = entry.link_name()?.ok_or(io::ErrorKind::InvalidData)?;
                let link = relative(&link)
                    .and_then(|link| self.place(&link))
                    .map_err(|failure| io::Error::other(failure.message))?;
                let (from, from_name) = self.parent(&link)?;
                replace(&directory, name)?;
                fs::linkat(&from, from_name, &directory, name, AtFlags::empty())?;
                return Ok(());
            }
            EntryType::Fifo => {
                replace(&directory, name)?;
                fs::mknodat(&directory, name, FileType::Fifo, mode, 0)?;
            }
            EntryType::Char | EntryType::Block => {
                let kind =
                    if kind == EntryType::Char { FileType::CharacterDevice } else { FileType::BlockDevice };
                let number =
                    fs::makedev(header.device_major()?.unwrap_or(0), header.device_minor()?.unwrap_or(0));
                replace(&directory, name)?;
                fs::mknodat(&directory, name, kind, mode, number)?;
            }
            _ => {
                replace(&directory, name)?;
                let flags =
                    OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let mut file = File::from(fs::openat(&directory, name, flags, Mode::RUSR | Mode::WUSR)?);
                io::copy(entry, &mut file)?;
            }
        }
        if kind != EntryType::Symlink {
            fs::chmodat(&directory, name, mode, AtFlags::empty())?;
        }
        set_time(&directory, name, header.mtime()?)
    }

    /// A directory does not become something else, nor something else a directory.
    fn keep_kind(&self, place: &Path, wanted: bool) -> Result<(), Failure> {
        let Ok((directory, name)) = self.parent(place) else { return Ok(()) };
        let Ok(stat) = fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) else { return Ok(()) };
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        let (old, new) = match (is_directory, wanted) {
            (true, false) => ("directory", "non-directory"),
            (false, true) => ("non-directory", "directory"),
            _ => return Ok(()),
        };
        let name = if name == "." { self.root.file_name().unwrap_or(name) } else { name };
        let parent = self.root.parent().unwrap_or(&self.root);
        let parent = std::path::absolute(parent).unwrap_or_else(|_| parent.to_owned());
        Err(Failure::new(format!("cannot overwrite {old} {name:?} with {new} {parent:?}")))
    }

    fn set_time(&self, place: &Path, time: u64) -> io::Result<()> {
        let (directory, name) = self.parent(place)?;
        set_time(&directory, name, time)
    }
}

fn is_directory(directory: &impl AsFd, name: &OsStr) -> bool {
    let stat = fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW);
    stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

/// Makes room for what is to be written. A directory in the way stays, and makes the write fail.
fn replace(directory: &impl AsFd, name: &OsStr) -> io::Result<()> {
    match fs::unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn set_time(directory: &impl AsFd, name: &OsStr, seconds: u64) -> io::Result<()> {
    let time = Timespec { tv_sec: i64::try_from(seconds).unwrap_or(0), tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    Ok(fs::utimensat(directory, name, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_tree_survives_the_way() {
        let home = scratch::Directory::new("tree");
        let source = home.join("src");
        std::fs::create_dir_all(source.join("sub")).unwrap();
        std::fs::write(source.join("sub/file"), "text").unwrap();
        std::fs::set_permissions(source.join("sub/file"), std::fs::Permissions::from_mode(0o751)).unwrap();
        std::os::unix::fs::symlink("sub/file", source.join("link")).unwrap();
        std::fs::hard_link(source.join("sub/file"), source.join("again")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(source.join("socket")).unwrap();
        let mut packer = Packer::new(&source, "src").unwrap();
        unpack(&mut packer, &Target { root: home.join("dst") }).unwrap();
        let file = home.join("dst/sub/file");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "text");
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o751);
        assert_eq!(std::fs::read_link(home.join("dst/link")).unwrap(), Path::new("sub/file"));
        let again = std::fs::metadata(home.join("dst/again")).unwrap();
        assert_eq!((again.ino(), again.nlink()), (std::fs::metadata(&file).unwrap().ino(), 2));
        assert!(!home.join("dst/socket").exists(), "nobody listens there");
        // Only the contents, into a directory that is there.
        let mut packer = Packer::new(&source, "").unwrap();
        unpack(&mut packer, &Target { root: home.to_owned() }).unwrap();
        assert!(home.join("sub/file").exists() && home.join("link").is_symlink());
    }

    #[test]
    fn a_device_is_packed_as_one() {
        let mut archive = Archive::new(Packer::new(Path::new("/dev/null"), "n").unwrap());
        let entry = archive.entries().unwrap().next().unwrap().unwrap();
        let header = entry.header();
        assert_eq!(header.entry_type(), EntryType::Char);
        assert_eq!(header.device_major().unwrap().zip(header.device_minor().unwrap()), Some((1, 3)));
        assert_eq!((entry.path().unwrap().as_ref(), header.size().unwrap()), (Path::new("n"), 0));
    }

    #[test]
    fn archives_cannot_leave_their_place() {
        let home = scratch::Directory::new("hostile");
        let target = Target { root: home.join("dst") };
        std::fs::create_dir(home.join("dst")).unwrap();
        let outside = home.join("outside");
        std::fs::create_dir(&outside).unwrap();
        let mut builder = tar::Builder::new(Vec::new());
        let mut add = |name: &str, kind: EntryType, link: &str| {
            let mut header = tar::Header::new_old();
            header.set_entry_type(kind);
            header.set_size(0);
            header.set_mode(0o755);
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
            header.set_cksum();
            builder.append(&header, io::empty()).unwrap();
        };
        add("root", EntryType::Directory, "");
        add("root/door", EntryType::Symlink, outside.to_str().unwrap());
        add("root/door/evil", EntryType::Regular, "");
        let bytes = builder.into_inner().unwrap();
        let failure = unpack(&mut bytes.as_slice(), &target).unwrap_err();
        assert!(failure.message.contains("evil"), "{failure}");
        assert!(!outside.join("evil").exists());
        assert!(relative(Path::new("a/../../b")).is_err());
    }
}
