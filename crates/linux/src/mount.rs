//! Mounts as descriptors (fsopen(2), open_tree(2), move_mount(2), mount_setattr(2)).
//!
//! A mount is made detached, in no namespace and at no path, given its attributes there, and only then attached,
//! onto a handle rather than a path. So nobody sees it half made, and nobody who swaps a directory for a link
//! decides where it goes. All of it exists since Linux 5.12; overlay with one layer per call (`lowerdir+`) since
//! 6.5, for which [`overlay`] has a fallback ([`overlay_in_one`]).

mod mapped;

use std::ffi::CString;
use std::fmt::Write as _;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

pub use mapped::{Mapping, mapped_directory, overlay_mapped, overlay_mapped_in_own_namespace};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, FsPickFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
};

use crate::error::{Context, check};
use crate::kernel::Feature;
use crate::{Errno, Error, Result};

pub const RDONLY: u64 = libc::MOUNT_ATTR_RDONLY;
pub const NOSUID: u64 = libc::MOUNT_ATTR_NOSUID;
pub const NODEV: u64 = libc::MOUNT_ATTR_NODEV;
pub const NOEXEC: u64 = libc::MOUNT_ATTR_NOEXEC;
pub const NODIRATIME: u64 = libc::MOUNT_ATTR_NODIRATIME;
pub const NOSYMFOLLOW: u64 = libc::MOUNT_ATTR_NOSYMFOLLOW;
/// The access-time modes are one field: clear [`ATIME`] when setting any.
pub const ATIME: u64 = libc::MOUNT_ATTR__ATIME;
pub const RELATIME: u64 = libc::MOUNT_ATTR_RELATIME;
pub const NOATIME: u64 = libc::MOUNT_ATTR_NOATIME;
pub const STRICTATIME: u64 = libc::MOUNT_ATTR_STRICTATIME;
const IDMAP: u64 = libc::MOUNT_ATTR_IDMAP;

/// How mount events travel between copies (mount_namespaces(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    Private,
    Shared,
    Slave,
    Unbindable,
}

impl Propagation {
    fn flag(self) -> libc::c_ulong {
        match self {
            Propagation::Private => libc::MS_PRIVATE,
            Propagation::Shared => libc::MS_SHARED,
            Propagation::Slave => libc::MS_SLAVE,
            Propagation::Unbindable => libc::MS_UNBINDABLE,
        }
    }
}

/// What [`set_attributes`] changes.
#[derive(Debug, Default)]
pub struct Attributes<'a> {
    pub set: u64,
    pub clear: u64,
    pub propagation: Option<Propagation>,
    /// Ids on the mount are translated by this user namespace's maps.
    pub idmap: Option<BorrowedFd<'a>>,
}

/// A new file system, configured option by option.
#[derive(Debug)]
pub struct NewFs {
    context: OwnedFd,
    kind: String,
}

impl NewFs {
    pub fn open(kind: &str) -> Result<NewFs> {
        let context = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)
            .context("fsopen", || format!("{kind:?}"))?;
        Ok(NewFs { context, kind: kind.to_owned() })
    }

    /// One that another process has opened: what a file system is of (a PID namespace, a network namespace) was
    /// settled there.
    pub fn opened(kind: &str, context: OwnedFd) -> NewFs {
        NewFs { context, kind: kind.to_owned() }
    }

    pub fn into_descriptor(self) -> OwnedFd {
        self.context
    }

    pub fn option(&self, key: &str, value: impl AsRef<std::ffi::OsStr>) -> Result<()> {
        let value = value.as_ref();
        rustix::mount::fsconfig_set_string(&self.context, key, value)
            .map_err(|errno| self.explain(format!("FSCONFIG_SET_STRING, {key:?}, {value:?}"), errno))
    }

    pub fn flag(&self, key: &str) -> Result<()> {
        rustix::mount::fsconfig_set_flag(&self.context, key)
            .map_err(|errno| self.explain(format!("FSCONFIG_SET_FLAG, {key:?}"), errno))
    }

    /// `key=value`, or a flag.
    pub fn word(&self, option: &str) -> Result<()> {
        match option.split_once('=') {
            Some((key, value)) => self.option(key, value),
            None => self.flag(option),
        }
    }

    /// Creates the file system and a detached mount of it with these attributes.
    pub fn mount(self, attributes: u64) -> Result<OwnedFd> {
        rustix::mount::fsconfig_create(&self.context)
            .map_err(|errno| self.explain("FSCONFIG_CMD_CREATE".to_owned(), errno))?;
        let flags = MountAttrFlags::from_bits_retain(attributes as u32);
        rustix::mount::fsmount(&self.context, FsMountFlags::FSMOUNT_CLOEXEC, flags)
            .context("fsmount", || format!("{:?}, {attributes:#x}", self.kind))
    }

    /// The errno, with what the file system had to say about it.
    fn explain(&self, what: String, errno: Errno) -> Error {
        let mut args = format!("{:?}, {what}", self.kind);
        let mut line = [0; 512];
        // One message per read, `e some text`; a handful at most.
        for _ in 0..8 {
            match rustix::io::read(&self.context, &mut line) {
                Ok(count) if count > 2 => {
                    let text = String::from_utf8_lossy(&line[2..count]);
                    let _ = write!(args, "; {}", text.trim_end());
                }
                _ => break,
            }
        }
        Error::new("fsconfig", args, errno)
    }
}

/// A detached mount of a new file system with string options (`key=value` or flags).
pub fn new_fs(kind: &str, source: Option<&str>, options: &[&str], attributes: u64) -> Result<OwnedFd> {
    let fs = NewFs::open(kind)?;
    if let Some(source) = source.filter(|source| !source.is_empty()) {
        fs.option("source", source)?;
    }
    options.iter().try_for_each(|option| fs.word(option))?;
    fs.mount(attributes)
}

/// Other options (`key=value` or flags) for the file system that is mounted there, for all mounts of it. What is not named
/// stays.
pub fn reconfigure(mount: impl AsFd, options: &[&str]) -> Result<()> {
    let flags = FsPickFlags::FSPICK_CLOEXEC | FsPickFlags::FSPICK_EMPTY_PATH;
    let context = rustix::mount::fspick(mount, "", flags).context("fspick", || "")?;
    let fs = NewFs::opened("remount", context);
    options.iter().try_for_each(|option| fs.word(option))?;
    rustix::mount::fsconfig_reconfigure(&fs.context)
        .map_err(|errno| fs.explain("FSCONFIG_CMD_RECONFIGURE".to_owned(), errno))
}

/// Layers to stack. See overlayfs in the kernel's documentation.
#[derive(Debug)]
pub struct Overlay<'a> {
    /// Topmost first.
    pub lowers: &'a [PathBuf],
    /// Upper and work directory; without them the mount is read-only.
    pub upper: Option<(&'a Path, &'a Path)>,
    /// Never sync: the upper directory is thrown away after use.
    pub volatile: bool,
    pub extra: &'a [&'a str],
}

/// A detached overlay mount. Kernels before 6.5 take all layers in one string, which cannot hold more than a
/// page and needs escapes; there the layers are given as short paths under `/proc/self/fd`.
pub fn overlay(layers: &Overlay<'_>) -> Result<OwnedFd> {
    match overlay_layer_by_layer(layers) {
        Err(error) if error.is(Errno::INVAL) && error.args().contains("\"lowerdir+\"") => {
            overlay_in_one(layers)
        }
        other => other,
    }
}

fn overlay_layer_by_layer(layers: &Overlay<'_>) -> Result<OwnedFd> {
    Feature::LayerByLayer.need("fsconfig", "\"overlay\", FSCONFIG_SET_STRING, \"lowerdir+\"")?;
    let fs = NewFs::open("overlay")?;
    fs.option("source", "overlay")?;
    for lower in layers.lowers {
        fs.option("lowerdir+", lower)?;
    }
    finish_overlay(fs, layers)
}

/// For kernels without `lowerdir+`. One value of fsconfig(2) ends at 255 bytes, some fourteen layers; the page of options
/// that mount(2) takes holds eight hundred.
pub fn overlay_in_one(layers: &Overlay<'_>) -> Result<OwnedFd> {
    let (text, _handles) = joined("/proc/self/fd/", layers.lowers)?;
    if text.len() > 255 {
        return overlay_in_a_page(layers);
    }
    let fs = NewFs::open("overlay")?;
    fs.option("source", "overlay")?;
    fs.option("lowerdir", &text)?;
    finish_overlay(fs, layers)
}

/// Short names without anything to escape, good for as long as the handles. `base` leads to `/proc/self/fd`.
fn joined(base: &str, directories: &[PathBuf]) -> Result<(String, Vec<OwnedFd>)> {
    let mut handles = Vec::with_capacity(directories.len());
    let mut text = String::new();
    for directory in directories {
        let handle =
            rustix::fs::open(directory, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
                .context("open", || format!("{directory:?}, O_PATH"))?;
        let separator = if text.is_empty() { "" } else { ":" };
        let _ = write!(text, "{separator}{base}{}", handle.as_raw_fd());
        handles.push(handle);
    }
    Ok((text, handles))
}

/// mount(2) knows no detached mounts: a thread mounts in a namespace of its own, and a copy comes out of it. The layers
/// are opened in there, too: overlay takes none of other namespaces. The thread's own working directory makes their names
/// as short as numbers.
fn overlay_in_a_page(layers: &Overlay<'_>) -> Result<OwnedFd> {
    let mount = || {
        crate::namespace::unshare(libc::CLONE_NEWNS as u64)?;
        set_propagation(Path::new("/"), Propagation::Private, true)?;
        rustix::process::chdir(c"/proc/self/fd").context("chdir", || "/proc/self/fd")?;
        let (lowers, _handles) = joined("", layers.lowers)?;
        let mut options = format!("lowerdir={lowers}");
        let mut others = Vec::new();
        if let Some((upper, work)) = layers.upper {
            for (key, path) in [("upperdir", upper), ("workdir", work)] {
                let (name, handle) = joined("", &[path.to_owned()])?;
                let _ = write!(options, ",{key}={name}");
                others.push(handle);
            }
        }
        let volatile = (layers.volatile && layers.upper.is_some()).then_some("volatile");
        for option in layers.extra.iter().copied().chain(volatile) {
            let _ = write!(options, ",{option}");
        }
        let place = layers.lowers.first().map_or(Path::new("/"), PathBuf::as_path);
        classic(Path::new("overlay"), place, "overlay", 0, &options)?;
        clone_tree(None, place, false)
    };
    std::thread::scope(|scope| {
        scope.spawn(mount).join().expect("a thread that only makes calls does not panic")
    })
}

fn finish_overlay(fs: NewFs, layers: &Overlay<'_>) -> Result<OwnedFd> {
    if let Some((upper, work)) = layers.upper {
        fs.option("upperdir", upper)?;
        fs.option("workdir", work)?;
        if layers.volatile {
            fs.flag("volatile")?;
        }
    }
    for option in layers.extra {
        match option.split_once('=') {
            Some((key, value)) => fs.option(key, value)?,
            None => fs.flag(option)?,
        }
    }
    fs.mount(0)
}

/// A detached copy of the mount at `path` (from `directory`, or as the caller sees it), alone or with all below.
pub fn clone_tree(directory: Option<BorrowedFd<'_>>, path: &Path, recursive: bool) -> Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
    rustix::mount::open_tree(directory.unwrap_or(CWD), path, flags)
        .context("open_tree", || format!("{path:?}, OPEN_TREE_CLONE"))
}

/// A detached copy of what a handle is on.
pub fn clone_handle(handle: impl AsFd, recursive: bool) -> Result<OwnedFd> {
    let mut flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
    rustix::mount::open_tree(&handle, c"", flags)
        .context("open_tree", || format!("{:?}, OPEN_TREE_CLONE", crate::path::of(&handle)))
}

/// A copy of a detached mount. Kernels before 6.15 make none (`EINVAL`).
pub fn copy_detached(mount: &OwnedFd) -> Result<OwnedFd> {
    Feature::DetachedSources.need("open_tree", "OPEN_TREE_CLONE of a detached mount")?;
    clone_handle(mount, false)
}

/// Attaches a detached mount, or moves an attached one, onto a handle.
pub fn attach(mount: impl AsFd, target: impl AsFd) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(mount, c"", &target, c"", flags)
        .context("move_mount", || format!("{:?}", crate::path::of(&target)))
}

/// Attaches onto a path as the caller sees it. For paths that are ours.
pub fn attach_at(mount: impl AsFd, path: &Path) -> Result<()> {
    rustix::mount::move_mount(mount, c"", CWD, path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .context("move_mount", || format!("{path:?}"))
}

/// Changes attributes of the mount behind a handle, alone or with all below.
pub fn set_attributes(mount: impl AsFd, attributes: &Attributes<'_>, recursive: bool) -> Result<()> {
    let value = libc::mount_attr {
        attr_set: attributes.set | if attributes.idmap.is_some() { IDMAP } else { 0 },
        attr_clr: attributes.clear,
        propagation: attributes.propagation.map_or(0, |propagation| propagation.flag()),
        userns_fd: attributes.idmap.map_or(0, |namespace| namespace.as_raw_fd() as u64),
    };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    let raw = mount.as_fd().as_raw_fd();
    // SAFETY: an empty C string and a struct of the size that is passed.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            raw,
            c"".as_ptr(),
            flags,
            &raw const value,
            size_of_val(&value),
        )
    };
    check(result, "mount_setattr", || format!("{:?}, {attributes:?}", crate::path::of(&mount))).map(drop)
}

/// The attributes that the mount behind a handle has, but for [`NOSYMFOLLOW`].
pub fn attributes(mount: impl AsFd) -> Result<u64> {
    use rustix::fs::StatVfsMountFlags as Flags;
    let flags =
        rustix::fs::fstatvfs(&mount).context("fstatvfs", || format!("{:?}", crate::path::of(&mount)))?.f_flag;
    let table = [
        (Flags::RDONLY, RDONLY),
        (Flags::NOSUID, NOSUID),
        (Flags::NODEV, NODEV),
        (Flags::NOEXEC, NOEXEC),
        (Flags::NODIRATIME, NODIRATIME),
        (Flags::NOATIME, NOATIME),
    ];
    let plain = table.iter().filter(|(flag, _)| flags.contains(*flag)).fold(0, |all, (_, own)| all | own);
    let strict = !flags.intersects(Flags::NOATIME | Flags::RELATIME);
    Ok(plain | if strict { STRICTATIME } else { 0 })
}

/// Propagation of the mount at a path, alone or with all below.
pub fn set_propagation(path: &Path, propagation: Propagation, recursive: bool) -> Result<()> {
    let name = CString::new(path.as_os_str().as_bytes())
        .map_err(|_| Error::new("mount", format_args!("{path:?}"), Errno::INVAL))?;
    let flags = propagation.flag() | if recursive { libc::MS_REC } else { 0 };
    // SAFETY: a C string; source, type and data are not looked at for a change of propagation.
    let result =
        unsafe { libc::mount(std::ptr::null(), name.as_ptr(), std::ptr::null(), flags, std::ptr::null()) };
    check(i64::from(result), "mount", || format!("{path:?}, {propagation:?}")).map(drop)
}

/// The classic call, for file systems that know no other, and for the kernel's own tests of us.
pub fn classic(source: &Path, target: &Path, kind: &str, flags: u64, data: &str) -> Result<()> {
    let invalid = |_| Error::new("mount", format_args!("{source:?}, {target:?}"), Errno::INVAL);
    let (from, to) = (
        CString::new(source.as_os_str().as_bytes()).map_err(invalid)?,
        CString::new(target.as_os_str().as_bytes()).map_err(invalid)?,
    );
    let (fs, options) = (CString::new(kind).map_err(invalid)?, CString::new(data).map_err(invalid)?);
    // SAFETY: four C strings that live through the call.
    let result = unsafe {
        libc::mount(from.as_ptr(), to.as_ptr(), fs.as_ptr(), flags as libc::c_ulong, options.as_ptr().cast())
    };
    check(i64::from(result), "mount", || format!("{source:?}, {target:?}, {kind:?}, {flags:#x}, {data:?}"))
        .map(drop)
}

/// Makes the mount behind `new_root` the root of this mount namespace, and takes the old one away. Afterwards
/// the working directory is the new root.
pub fn pivot_root(new_root: impl AsFd) -> Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let old_root = rustix::fs::open(c"/", flags, Mode::empty()).context("open", || "\"/\", O_PATH")?;
    rustix::process::fchdir(new_root).context("fchdir", || "new root")?;
    // The old root lands on top of the new one, at the same place; no directory for it is needed.
    rustix::process::pivot_root(c".", c".").context("pivot_root", || "\".\", \".\"")?;
    rustix::process::fchdir(&old_root).context("fchdir", || "old root")?;
    // Nothing that happens to the old root from here on may reach the host.
    set_propagation(Path::new("."), Propagation::Slave, true)?;
    unmount(Path::new("."), true)?;
    rustix::process::chdir(c"/").context("chdir", || "\"/\"")
}

/// Like [`pivot_root`] where that is impossible (a root in the initial ram disk): the old root stays mounted below,
/// out of sight but within reach of whoever may break out of a chroot.
pub fn enter_root(new_root: impl AsFd) -> Result<()> {
    rustix::process::fchdir(new_root).context("fchdir", || "new root")?;
    rustix::process::chroot(c".").context("chroot", || "\".\"")?;
    rustix::process::chdir(c"/").context("chdir", || "\"/\"")
}

/// Unmounts; `lazy` detaches at once and cleans up when the last user is gone.
pub fn unmount(path: &Path, lazy: bool) -> Result<()> {
    let flags = if lazy { UnmountFlags::DETACH } else { UnmountFlags::empty() };
    rustix::mount::unmount(path, flags | UnmountFlags::NOFOLLOW).context("umount2", || format!("{path:?}"))
}

/// A line of `/proc/<pid>/mountinfo` (proc_pid_mountinfo(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    pub id: u64,
    pub parent: u64,
    pub device: (u32, u32),
    /// Directory of the file system that is mounted.
    pub root: PathBuf,
    pub target: PathBuf,
    pub options: String,
    /// `shared:1`, `master:2`, … joined by spaces.
    pub propagation: String,
    pub kind: String,
    pub source: String,
    pub super_options: String,
}

/// The mounts that this process sees.
pub fn list() -> Result<Vec<Info>> {
    let path = "/proc/self/mountinfo";
    let text = std::fs::read_to_string(path).context("read", || path)?;
    Ok(parse_list(&text))
}

pub fn parse_list(text: &str) -> Vec<Info> {
    text.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<Info> {
    let (left, right) = line.split_once(" - ")?;
    let mut left = left.split(' ');
    let (id, parent) = (left.next()?.parse().ok()?, left.next()?.parse().ok()?);
    let (major, minor) = left.next()?.split_once(':')?;
    let (root, target, options) = (unescape(left.next()?), unescape(left.next()?), left.next()?.to_owned());
    let propagation = left.collect::<Vec<_>>().join(" ");
    let mut right = right.split(' ');
    Some(Info {
        id,
        parent,
        device: (major.parse().ok()?, minor.parse().ok()?),
        root,
        target,
        options,
        propagation,
        kind: right.next()?.to_owned(),
        source: unescape(right.next()?).to_string_lossy().into_owned(),
        super_options: right.next().unwrap_or_default().to_owned(),
    })
}

/// The kernel writes space, tab, newline and backslash as `\ooo`.
fn unescape(text: &str) -> PathBuf {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let octal = bytes.get(at + 1..at + 4).filter(|_| bytes[at] == b'\\');
        match octal
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|d| u8::from_str_radix(d, 8).ok())
        {
            Some(byte) => {
                out.push(byte);
                at += 4;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    PathBuf::from(std::ffi::OsStr::from_bytes(&out))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::Root;

    #[test]
    fn mountinfo_with_escapes() {
        let line =
            r"36 35 98:0 /mnt1 /mnt\0402 rw,noatime master:1 shared:2 - ext3 /dev/root rw,errors=continue";
        let info = &parse_list(line)[0];
        assert_eq!((info.id, info.parent, info.device), (36, 35, (98, 0)));
        assert_eq!(info.target, Path::new("/mnt 2"));
        assert_eq!(info.propagation, "master:1 shared:2");
        assert_eq!((info.kind.as_str(), info.source.as_str()), ("ext3", "/dev/root"));
    }

    #[test]
    fn a_detached_mount_is_written_without_being_anywhere() {
        let mount = new_fs("tmpfs", Some("x"), &["mode=0755", "size=64k"], NOSUID | NODEV).unwrap();
        let root = Root::from_directory(mount);
        root.make_file(Path::new("a/b"), 0o600).unwrap();
        let read_only = Attributes { set: RDONLY, ..Default::default() };
        set_attributes(&root, &read_only, false).unwrap();
        assert!(root.make_file(Path::new("a/c"), 0o600).unwrap_err().is(Errno::ROFS));
    }

    #[test]
    fn a_file_system_explains_itself() {
        let error = new_fs("tmpfs", None, &["nonsense=1"], 0).unwrap_err();
        assert!(error.to_string().contains("nonsense"), "{error}");
    }

    fn overlay_base(name: &str) -> PathBuf {
        // The upper directory must lie on a file system that overlay takes; the temporary directory does.
        let base = std::env::temp_dir().join(format!("wharf-overlay-{}-{name}", std::process::id()));
        for directory in ["one", "two", "upper", "work"] {
            std::fs::create_dir_all(base.join(directory)).unwrap();
        }
        std::fs::write(base.join("one/top"), "one").unwrap();
        std::fs::write(base.join("two/top"), "two").unwrap();
        std::fs::write(base.join("two/below"), "two").unwrap();
        base
    }

    fn check_overlay(name: &str, make: fn(&Overlay<'_>) -> Result<OwnedFd>) {
        let base = overlay_base(name);
        let lowers = [base.join("one"), base.join("two")];
        let (upper, work) = (base.join("upper"), base.join("work"));
        let layers = Overlay { lowers: &lowers, upper: Some((&upper, &work)), volatile: true, extra: &[] };
        let root = Root::from_directory(make(&layers).unwrap());
        let read = |name: &str| {
            let file = root.open_at(Path::new(name), OFlags::RDONLY, 0).unwrap();
            std::io::read_to_string(std::fs::File::from(file)).unwrap()
        };
        assert_eq!((read("top"), read("below")), ("one".to_owned(), "two".to_owned()));
        root.make_file(Path::new("new"), 0o644).unwrap();
        assert!(upper.join("new").exists());
        drop(root);
        std::fs::remove_dir_all(&base).unwrap();
    }

    #[test]
    fn overlay_takes_layers_one_by_one() {
        check_overlay("new", overlay);
    }

    #[test]
    fn overlay_takes_layers_in_one_string() {
        check_overlay("old", overlay_in_one);
    }

    #[test]
    fn overlay_takes_more_layers_than_a_string_holds() {
        // Docker's own limit is 128, and a layer may need a second directory here: what runs there runs on every kernel.
        let base = overlay_base("many");
        let mut lowers = vec![base.join("one")];
        for number in 0..254 {
            let lower = base.join(format!("between-{number}"));
            std::fs::create_dir(&lower).unwrap();
            std::fs::write(lower.join(format!("file-{number}")), "").unwrap();
            lowers.push(lower);
        }
        lowers.push(base.join("two"));
        for (name, make) in [("new", overlay as fn(&Overlay<'_>) -> Result<OwnedFd>), ("old", overlay_in_one)]
        {
            let (upper, work) = (base.join(format!("upper-{name}")), base.join(format!("work-{name}")));
            std::fs::create_dir(&upper).unwrap();
            std::fs::create_dir(&work).unwrap();
            let layers =
                Overlay { lowers: &lowers, upper: Some((&upper, &work)), volatile: true, extra: &[] };
            let root = Root::from_directory(make(&layers).unwrap());
            for file in ["below", "file-0", "file-125"] {
                root.open_at(Path::new(file), OFlags::RDONLY, 0).unwrap();
            }
            root.make_file(Path::new("made"), 0o644).unwrap();
            assert!(upper.join("made").exists());
        }
        let after = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!after.contains(&base.display().to_string()), "a mount of it is left:\n{after}");
        std::fs::remove_dir_all(&base).unwrap();
    }
}
