//! Paths that may not leave a root.
//!
//! A foreign path (from an image, a container, a request) is never joined to another as text. It is resolved
//! from a handle on the root, as chroot(2) would see it: `..` stops there, absolute links start there, magic
//! links of procfs are refused. openat2(2) does the plain lookups. Where something may have to be created on
//! the way, [`Root::make_dirs`] walks component by component on descriptors, so that nobody who exchanges
//! directories for links meanwhile can lead it out.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawMode, ResolveFlags};

use crate::error::Context;
use crate::{Errno, Error, Result};

/// Links followed in one resolution, as in the kernel.
const MAX_LINKS: usize = 40;

/// The kernel answers `EAGAIN` when a rename raced with `..`; that many times we ask again.
const MAX_RACES: usize = 128;

/// A directory that paths cannot leave.
#[derive(Debug)]
pub struct Root {
    directory: OwnedFd,
}

/// What is at a path, after links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    File,
    Directory,
    Link,
    Other,
}

impl Root {
    /// Follows links on the way to the root itself: that path is ours.
    pub fn open(path: &Path) -> Result<Root> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory =
            rustix::fs::open(path, flags, Mode::empty()).context("open", || format!("{path:?}, O_PATH"))?;
        Ok(Root { directory })
    }

    pub fn from_directory(directory: OwnedFd) -> Root {
        Root { directory }
    }

    pub fn into_directory(self) -> OwnedFd {
        self.directory
    }

    /// A handle (`O_PATH`) on what the path means inside the root.
    pub fn resolve(&self, path: &Path) -> Result<OwnedFd> {
        self.open_at(path, OFlags::PATH, 0)
    }

    /// Like [`Root::resolve`], but a link at any place of the path is `ELOOP`.
    pub fn resolve_without_links(&self, path: &Path) -> Result<OwnedFd> {
        self.openat2(path, OFlags::PATH, 0, ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS)
    }

    /// Like [`Root::resolve`], but what would lead out of the root is `EXDEV`: a step up at its top, a link to `/…`.
    pub fn resolve_beneath(&self, path: &Path) -> Result<OwnedFd> {
        self.openat2(path, OFlags::PATH, 0, ResolveFlags::BENEATH)
    }

    /// Opens what the path means inside the root. `mode` counts when `flags` create.
    pub fn open_at(&self, path: &Path, flags: OFlags, mode: RawMode) -> Result<OwnedFd> {
        self.openat2(path, flags, mode, ResolveFlags::IN_ROOT)
    }

    fn openat2(&self, path: &Path, flags: OFlags, mode: RawMode, bounds: ResolveFlags) -> Result<OwnedFd> {
        let how = ResolveFlags::NO_MAGICLINKS | bounds;
        let inside = inside(path);
        let mut races = 0;
        loop {
            let mode = Mode::from_raw_mode(mode);
            match rustix::fs::openat2(&self.directory, &*inside, flags | OFlags::CLOEXEC, mode, how) {
                Err(Errno::AGAIN) if races < MAX_RACES => races += 1,
                other => {
                    let bounds = if bounds.contains(ResolveFlags::BENEATH) { "BENEATH" } else { "IN_ROOT" };
                    return other.context("openat2", || format!("{path:?}, {flags:?}, RESOLVE_{bounds}"));
                }
            }
        }
    }

    /// The directory at this path, made with its missing parents. A dangling link on the way is followed, and
    /// its target made.
    pub fn make_dirs(&self, path: &Path, mode: RawMode) -> Result<OwnedFd> {
        match self.open_at(path, OFlags::PATH | OFlags::DIRECTORY, 0) {
            Err(error) if error.is(Errno::NOENT) => {}
            other => return other,
        }
        let mut walk = Walk::new(self, path)?;
        while let Some(step) = walk.next_name()? {
            walk.enter_or_make(&step, mode)?;
        }
        walk.into_directory()
    }

    /// Like [`Root::make_dirs`], but a link at any place of the path is an error (`ELOOP` or `ENOTDIR`), also one that
    /// somebody puts there meanwhile.
    pub fn make_dirs_without_links(&self, path: &Path, mode: RawMode) -> Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        match self.openat2(path, flags, 0, ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS) {
            Err(error) if error.is(Errno::NOENT) => {}
            other => return other,
        }
        let mut walk = Walk::new(self, path)?;
        while let Some(step) = walk.next_name()? {
            walk.make_and_enter(&step, mode)?;
        }
        walk.into_directory()
    }

    /// The regular file at this path, made empty (with its parents) if nothing is there. Gives a handle on
    /// whatever there is already, unless that is a directory.
    pub fn make_file(&self, path: &Path, mode: RawMode) -> Result<OwnedFd> {
        match self.resolve(path) {
            Ok(found) if kind(&found)? == Kind::Directory => {
                return Err(Error::new("openat2", format_args!("{path:?} as a file"), Errno::ISDIR));
            }
            Err(error) if error.is(Errno::NOENT) => {}
            other => return other,
        }
        let mut walk = Walk::new(self, path)?;
        while let Some(step) = walk.next_name()? {
            if walk.pending.is_empty() {
                if let Some(link) = walk.link_at(&step)? {
                    walk.push_link(&link)?;
                    continue;
                }
                return walk.make_file(&step, mode);
            }
            walk.enter_or_make(&step, 0o755)?;
        }
        Err(Error::new("openat2", format_args!("{path:?} as a file"), Errno::ISDIR))
    }

    /// A regular file's content, at most `limit` bytes of it. Whatever else is at the path (a fifo would block) is
    /// refused.
    pub fn read_file(&self, path: &Path, limit: u64) -> Result<Vec<u8>> {
        use std::io::Read;
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = self.open_at(path, flags, 0)?;
        if kind(&file)? != Kind::File {
            return Err(Error::new("openat2", format_args!("{path:?} as a regular file"), Errno::INVAL));
        }
        let mut bytes = Vec::new();
        let mut file = std::fs::File::from(file).take(limit);
        file.read_to_end(&mut bytes).context("read", || format!("{path:?}"))?;
        Ok(bytes)
    }

    /// The regular file at this path, to read. What lies on another mount is `EXDEV`; whatever else is there is not opened,
    /// which might have effects, but refused.
    pub fn open_own_file(&self, path: &Path) -> Result<OwnedFd> {
        let found = self.openat2(path, OFlags::PATH, 0, ResolveFlags::IN_ROOT | ResolveFlags::NO_XDEV)?;
        match kind(&found)? {
            Kind::File => reopen(found, OFlags::RDONLY | OFlags::NONBLOCK),
            _ => Err(Error::new("openat2", format_args!("{path:?} as a regular file"), Errno::INVAL)),
        }
    }

    /// A handle on the directory that holds the path's last component, and that component. The last component
    /// itself is not resolved: for removing, renaming and making nodes and links.
    pub fn parent<'p>(&self, path: &'p Path) -> Result<(OwnedFd, &'p OsStr)> {
        let name = match path.components().next_back() {
            Some(Component::Normal(name)) => name,
            _ => return Err(Error::new("openat2", format_args!("{path:?} has no name"), Errno::INVAL)),
        };
        let parent = path.parent().unwrap_or(Path::new("/"));
        Ok((self.open_at(parent, OFlags::PATH | OFlags::DIRECTORY, 0)?, name))
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

/// A walk from the root, with every directory on the way held open: `..` goes back to the one we came through.
struct Walk {
    /// Never empty; the first is the root.
    trail: Vec<OwnedFd>,
    pending: VecDeque<OsString>,
    links: usize,
    whole: PathBuf,
}

impl Walk {
    fn new(root: &Root, path: &Path) -> Result<Walk> {
        let mut walk = Walk {
            trail: vec![crate::fd::duplicate(&root.directory)?],
            pending: VecDeque::new(),
            links: 0,
            whole: path.to_owned(),
        };
        walk.push(path);
        Ok(walk)
    }

    fn push(&mut self, path: &Path) {
        for component in path.components().rev() {
            match component {
                Component::Normal(name) => self.pending.push_front(name.to_owned()),
                Component::ParentDir => self.pending.push_front("..".into()),
                Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
            }
        }
    }

    fn push_link(&mut self, target: &Path) -> Result<()> {
        self.links += 1;
        if self.links > MAX_LINKS {
            return Err(Error::new("readlinkat", format_args!("{:?}", self.whole), Errno::LOOP));
        }
        if target.is_absolute() {
            self.trail.truncate(1);
        }
        self.push(target);
        Ok(())
    }

    /// The next real name; `..` is dealt with on the way.
    fn next_name(&mut self) -> Result<Option<OsString>> {
        while let Some(name) = self.pending.pop_front() {
            if name != ".." {
                return Ok(Some(name));
            }
            if self.trail.len() > 1 {
                self.trail.pop();
            }
        }
        Ok(None)
    }

    fn here(&self) -> Result<BorrowedFd<'_>> {
        match self.trail.last() {
            Some(directory) => Ok(directory.as_fd()),
            None => Err(Error::new("openat", format_args!("{:?}", self.whole), Errno::BADF)),
        }
    }

    fn link_at(&self, name: &OsStr) -> Result<Option<PathBuf>> {
        match rustix::fs::readlinkat(self.here()?, name, Vec::new()) {
            Ok(target) => Ok(Some(PathBuf::from(OsString::from_vec(target.into_bytes())))),
            // Not a link, or nothing there.
            Err(Errno::INVAL | Errno::NOENT) => Ok(None),
            Err(errno) => Err(Error::new("readlinkat", format_args!("{name:?} of {:?}", self.whole), errno)),
        }
    }

    fn enter_or_make(&mut self, name: &OsStr, mode: RawMode) -> Result<()> {
        if let Some(target) = self.link_at(name)? {
            return self.push_link(&target);
        }
        self.make_and_enter(name, mode)
    }

    /// A link is not followed.
    fn make_and_enter(&mut self, name: &OsStr, mode: RawMode) -> Result<()> {
        let here = self.here()?;
        match rustix::fs::mkdirat(here, name, Mode::from_raw_mode(mode)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => {
                return Err(Error::new("mkdirat", format_args!("{name:?} of {:?}", self.whole), errno));
            }
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let next = rustix::fs::openat(here, name, flags, Mode::empty())
            .context("openat", || format!("{name:?} of {:?}", self.whole))?;
        self.trail.push(next);
        Ok(())
    }

    fn make_file(&self, name: &OsStr, mode: RawMode) -> Result<OwnedFd> {
        let here = self.here()?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(here, name, flags, Mode::from_raw_mode(mode)) {
            Err(Errno::EXIST) => {
                let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                rustix::fs::openat(here, name, flags, Mode::empty())
            }
            other => other,
        }
        .context("openat", || format!("{name:?} of {:?}, O_CREAT", self.whole))
    }

    fn into_directory(mut self) -> Result<OwnedFd> {
        self.trail.pop().ok_or_else(|| Error::new("openat", format_args!("{:?}", self.whole), Errno::BADF))
    }
}

/// What a handle is on.
pub fn kind(handle: impl AsFd) -> Result<Kind> {
    let stat = rustix::fs::fstat(handle).context("fstat", || "handle")?;
    Ok(match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Directory,
        FileType::Symlink => Kind::Link,
        _ => Kind::Other,
    })
}

/// Opens an `O_PATH` handle for real. The handle is the proof of what is opened, whatever happened to its path.
fn reopen(handle: impl AsFd, flags: OFlags) -> Result<OwnedFd> {
    use std::os::fd::AsRawFd;
    let link = format!("/proc/self/fd/{}", handle.as_fd().as_raw_fd());
    rustix::fs::open(&*link, flags | OFlags::CLOEXEC, Mode::empty())
        .context("open", || format!("{link:?}, {flags:?}"))
}

/// Where a handle is, as procfs shows it: for messages, not for opening.
pub fn of(handle: impl AsFd) -> PathBuf {
    use std::os::fd::AsRawFd;
    std::fs::read_link(format!("/proc/self/fd/{}", handle.as_fd().as_raw_fd())).unwrap_or_default()
}

/// Whether `name` in a directory exists, links not followed.
pub fn exists(directory: impl AsFd, name: impl AsRef<OsStr>) -> bool {
    rustix::fs::statat(directory, name.as_ref(), AtFlags::SYMLINK_NOFOLLOW).is_ok()
}

/// openat2 takes no empty path, and an absolute one starts at the root anyway.
fn inside(path: &Path) -> std::borrow::Cow<'_, OsStr> {
    let bytes = path.as_os_str().as_bytes();
    let start = bytes.iter().position(|byte| *byte != b'/').unwrap_or(bytes.len());
    if start == bytes.len() { OsStr::new(".").into() } else { OsStr::from_bytes(&bytes[start..]).into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    struct Scratch(scratch::Directory);

    impl Scratch {
        fn new(name: &str) -> Scratch {
            let directory = scratch::Directory::new(name);
            std::fs::create_dir(directory.join("root")).unwrap();
            Scratch(directory)
        }

        fn root(&self) -> Root {
            Root::open(&self.0.join("root")).unwrap()
        }
    }

    #[test]
    fn nothing_leads_out_of_the_root() {
        let scratch = Scratch::new("out");
        let inside = scratch.0.join("root");
        std::fs::write(scratch.0.join("secret"), "x").unwrap();
        symlink("../secret", inside.join("up")).unwrap();
        symlink("/etc/passwd", inside.join("absolute")).unwrap();
        symlink("../../../..", inside.join("far")).unwrap();
        let root = scratch.root();
        for path in ["up", "../secret", "absolute", "far/secret", "/../../secret"] {
            assert!(root.resolve(Path::new(path)).unwrap_err().is(Errno::NOENT), "{path}");
        }
        for path in ["up", "../secret", "absolute", "far/secret"] {
            assert!(root.resolve_beneath(Path::new(path)).unwrap_err().is(Errno::XDEV), "{path}");
        }
        root.make_file(Path::new("absolute"), 0o644).unwrap();
        assert!(inside.join("etc/passwd").is_file(), "a dangling link is completed inside");
        root.make_dirs(Path::new("far/made/deep"), 0o755).unwrap();
        assert!(inside.join("made/deep").is_dir());
    }

    #[test]
    fn own_files_are_regular_and_on_no_other_mount() {
        let scratch = Scratch::new("own");
        let inside = scratch.0.join("root");
        std::fs::write(inside.join("file"), "x").unwrap();
        symlink("/file", inside.join("link")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, inside.join("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        let root = scratch.root();
        for path in ["/file", "link"] {
            assert_eq!(
                crate::fd::read(root.open_own_file(Path::new(path)).unwrap(), &mut [0; 2]).unwrap(),
                1
            );
        }
        for (path, errno) in [("fifo", Errno::INVAL), ("/", Errno::INVAL), ("absent", Errno::NOENT)] {
            assert!(root.open_own_file(Path::new(path)).unwrap_err().is(errno), "{path}");
        }
        let host = Root::open(Path::new("/")).unwrap();
        assert!(host.open_own_file(Path::new("/proc/version")).unwrap_err().is(Errno::XDEV));
    }

    #[test]
    fn dangling_and_endless_links() {
        let scratch = Scratch::new("links");
        let inside = scratch.0.join("root");
        symlink("b", inside.join("a")).unwrap();
        symlink("a", inside.join("b")).unwrap();
        symlink("data/here", inside.join("dangling")).unwrap();
        let root = scratch.root();
        assert!(root.make_dirs(Path::new("a/x"), 0o755).unwrap_err().is(Errno::LOOP));
        root.make_dirs(Path::new("dangling/sub"), 0o755).unwrap();
        assert!(inside.join("data/here/sub").is_dir());
    }

    #[test]
    fn links_are_refused_where_they_must_not_be() {
        let scratch = Scratch::new("plain");
        symlink("/elsewhere", scratch.0.join("root/link")).unwrap();
        symlink("/nowhere", scratch.0.join("root/dangling")).unwrap();
        let root = scratch.root();
        std::fs::create_dir(scratch.0.join("root/elsewhere")).unwrap();
        for path in ["link", "link/below", "dangling", "dangling/below"] {
            assert!(root.make_dirs_without_links(Path::new(path), 0o755).is_err(), "{path}");
        }
        root.make_dirs_without_links(Path::new("/a/../b/c"), 0o755).unwrap();
        assert!(scratch.0.join("root/b/c").is_dir());
        assert!(!scratch.0.join("root/nowhere").exists());
    }

    #[test]
    fn the_last_component_is_left_alone() {
        let scratch = Scratch::new("parent");
        symlink("/elsewhere", scratch.0.join("root/link")).unwrap();
        let root = scratch.root();
        let (directory, name) = root.parent(Path::new("/link")).unwrap();
        assert!(exists(&directory, name));
        assert!(root.parent(Path::new("/..")).is_err());
    }
}
