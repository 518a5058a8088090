//! One mount of the configuration, performed.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use linux::cgroup::Layout;
use linux::mount::{self, Attributes, NewFs};
use linux::path::{self, Root};
use linux::{Errno, namespace};

use super::copy_up;
use super::rootfs::{Prepared, Tree, place};
use crate::channel::Channel;
use crate::namespaces::Mounts;
use crate::options::Options;
use crate::plan::{IdMaps, Mount, MountKind, Plan};
use crate::{Error, Result, error::Step};

const PROC_SUPER_MAGIC: i64 = 0x9fa0;

/// Files in procfs that hold nothing of power and that tools replace by their own view.
const HARMLESS_IN_PROC: &[&str] = &[
    "proc/cpuinfo",
    "proc/diskstats",
    "proc/loadavg",
    "proc/meminfo",
    "proc/net/dev",
    "proc/slabinfo",
    "proc/stat",
    "proc/swaps",
    "proc/sys/crypto/fips_enabled",
    "proc/sys/kernel/ns_last_pid",
    "proc/uptime",
];

/// File systems whose files have labels by the module's own policy, whatever the container's are.
const LABELS_ITSELF: [&str; 2] = ["proc", "sysfs"];

/// What the time that a mount takes is accounted to.
pub(crate) fn span(kind: &MountKind) -> &'static str {
    match kind {
        MountKind::FileSystem(kind) => match kind.as_str() {
            "proc" => "mount of proc",
            "sysfs" => "mount of sysfs",
            "tmpfs" => "mount of tmpfs",
            "devpts" => "mount of devpts",
            "mqueue" => "mount of mqueue",
            "cgroup2" => "mount of cgroups",
            _ => "mount of another file system",
        },
        MountKind::Bind { .. } => "bind",
        MountKind::Cgroup => "mount of cgroups",
        MountKind::Remount => "remount",
    }
}

/// How errors about a mount begin.
pub(crate) fn describe(mount: &Mount) -> String {
    let source = match &mount.kind {
        _ if !mount.source.as_os_str().is_empty() => mount.source.display().to_string(),
        MountKind::FileSystem(kind) => kind.clone(),
        _ => String::new(),
    };
    format!("error mounting {source:?} to rootfs at {:?}", mount.destination.display().to_string())
}

/// A detached copy of a bind's source with its attributes set; the id maps by the runtime, where it is named.
pub(crate) fn clone_source(
    plan: &Plan,
    index: usize,
    recursive: bool,
    runtime: Option<&Channel>,
) -> Result<OwnedFd> {
    let mount = &plan.mounts[index];
    let tree = mount::clone_tree(None, &mount.source, recursive).step(|| "bind source")?;
    match runtime.filter(|_| mount.id_maps.is_some()) {
        Some(runtime) => dress_with(runtime, &tree, plan, index)?,
        None => dress(&tree, plan, mount, own_maps(mount)?)?,
    }
    Ok(tree)
}

/// A user namespace that holds the maps of an id-mapped mount.
pub(crate) fn own_maps(mount: &Mount) -> Result<Option<OwnedFd>> {
    match &mount.id_maps {
        Some(IdMaps::Ranges(users, groups)) => {
            namespace::user_with_maps(users, groups).step(|| "id-mapped mount").map(Some)
        }
        Some(IdMaps::Joined) | None => Ok(None),
    }
}

/// Makes a copy of a source into what the mount is to be.
fn dress(tree: &OwnedFd, plan: &Plan, mount: &Mount, maps: Option<OwnedFd>) -> Result<()> {
    set_maps(tree, plan, mount, maps)?;
    give_attributes(tree, plan, mount)
}

/// The same where the runtime has to make the maps and to set them.
fn dress_with(runtime: &Channel, tree: &OwnedFd, plan: &Plan, index: usize) -> Result<()> {
    if !runtime.map_ids(index, tree)? {
        return Err(Error::other("id-mapped mount: the runtime is gone"));
    }
    give_attributes(tree, plan, &plan.mounts[index])
}

/// The id maps alone, for a container that may not set them itself.
pub(crate) fn map_ids(tree: &OwnedFd, plan: &Plan, mount: &Mount) -> Result<()> {
    set_maps(tree, plan, mount, own_maps(mount)?)
}

fn set_maps(tree: &OwnedFd, plan: &Plan, mount: &Mount, maps: Option<OwnedFd>) -> Result<()> {
    let joined =
        plan.namespaces.joined_user.as_ref().filter(|_| matches!(mount.id_maps, Some(IdMaps::Joined)));
    if let Some(namespace) = maps.as_ref().or(joined) {
        let attributes = Attributes { idmap: Some(namespace.as_fd()), ..Attributes::default() };
        let whole = mount.options.id_mapped == Some(true);
        mount::set_attributes(tree, &attributes, whole).step(|| "id-mapped mount")?;
    }
    Ok(())
}

fn give_attributes(tree: &OwnedFd, plan: &Plan, mount: &Mount) -> Result<()> {
    let (mut set, mut clear) = mount.options.of_bind();
    if plan.namespaces.has_user() && clear != 0 {
        keep_locked(tree, &mount.options, &mut set, &mut clear)?;
    }
    set_attributes(tree, set, clear, false)?;
    apply_below(tree, &mount.options)
}

/// In a user namespace of its own a container could not take these from a mount that it was given, so it is not given
/// a mount without them: where they are only not named they stay, and to ask for the opposite is an error.
fn keep_locked(tree: &OwnedFd, options: &Options, set: &mut u64, clear: &mut u64) -> Result<()> {
    const LOCKED: u64 = mount::RDONLY | mount::NOSUID | mount::NODEV | mount::NOEXEC;
    const ACCESS: u64 = mount::ATIME | mount::NODIRATIME;
    let has = mount::attributes(tree).step(|| "bind source")?;
    let kept = has & *clear & LOCKED;
    if kept & options.clear != 0 {
        return Err(Error::other("cannot clear locked flags: operation not permitted"));
    }
    *clear &= !kept;
    if options.sets_access_times {
        if has & ACCESS != *set & ACCESS {
            return Err(Error::other("cannot change locked atime flags: operation not permitted"));
        }
        *set &= !ACCESS;
        *clear &= !ACCESS;
    }
    Ok(())
}

/// Attributes and propagation of an existing mount.
fn apply(tree: impl AsFd, options: &Options) -> Result<()> {
    set_attributes(&tree, options.set, options.clear, false)?;
    apply_below(tree, options)
}

/// What is asked of the whole tree, and propagation.
fn apply_below(tree: impl AsFd, options: &Options) -> Result<()> {
    set_attributes(&tree, options.recursive_set, options.recursive_clear, true)?;
    for (propagation, recursive) in &options.propagation {
        let attributes = Attributes { propagation: Some(*propagation), ..Attributes::default() };
        mount::set_attributes(&tree, &attributes, *recursive).step(|| "mount propagation")?;
    }
    Ok(())
}

fn set_attributes(tree: impl AsFd, set: u64, clear: u64, recursive: bool) -> Result<()> {
    if set | clear == 0 {
        return Ok(());
    }
    // The access-time modes are one field to the kernel: touching any means clearing all.
    let clear = if (set | clear) & mount::ATIME == 0 { clear } else { clear | mount::ATIME };
    let attributes = Attributes { set, clear, ..Attributes::default() };
    mount::set_attributes(&tree, &attributes, recursive).step(|| "mount attributes")
}

pub(crate) fn perform(
    tree: &Tree,
    plan: &Plan,
    index: usize,
    prepared: Option<Prepared>,
    rootfs: Option<&Path>,
    runtime: &Channel,
) -> Result<()> {
    let (root, mount) = (&tree.root, &plan.mounts[index]);
    if mount.destination == Path::new("/") {
        return Err(Error::other("the container's root cannot be mounted on"));
    }
    match &mount.kind {
        MountKind::Bind { .. } => {
            let source = match prepared {
                Some(Prepared::Tree(source)) => source,
                Some(Prepared::Maps(maps)) => clone_inside(root, plan, index, rootfs, Some(maps), runtime)?,
                Some(Prepared::Opened(_)) | None => clone_inside(root, plan, index, rootfs, None, runtime)?,
            };
            let directory = path::kind(&source).step(|| "bind source")? == path::Kind::Directory;
            let target = place_of(root, mount, directory)?;
            guard_proc(&target, magic(&source)? == PROC_SUPER_MAGIC, &mount.destination)?;
            mount::attach(&source, &target).step(|| "bind")
        }
        MountKind::Remount => {
            let target = root.resolve(&mount.destination).step(|| "remount")?;
            let words = mount.options.of_remount();
            if mount.options.bind.is_none() && !words.is_empty() {
                mount::reconfigure(&target, &words).step(|| "remount")?;
            }
            apply(&target, &mount.options)
        }
        MountKind::Cgroup => cgroups(root, plan, mount),
        MountKind::FileSystem(kind) if kind == "cgroup2" => {
            let layout = Layout::detect().step(|| "cgroup mounts")?;
            unified(&layout, mount, &cgroup_place(root, mount)?)
        }
        MountKind::FileSystem(kind) => file_system(root, plan.label.as_deref(), mount, kind, prepared),
    }
}

/// Where in the container's own directory a source lies, unless it is beside it.
pub(crate) fn inside<'m>(rootfs: &Path, source: &'m Path) -> Option<&'m Path> {
    let inner = source.strip_prefix(rootfs).ok()?;
    let mut depth = 0;
    let stays = inner.components().all(|component| {
        depth += match component {
            Component::Normal(_) => 1,
            Component::ParentDir => -1,
            _ => 0,
        };
        depth >= 0
    });
    stays.then_some(inner)
}

/// A source that lies in the container's own directory, with what is mounted there by now.
fn clone_inside(
    root: &Root,
    plan: &Plan,
    index: usize,
    rootfs: Option<&Path>,
    maps: Option<OwnedFd>,
    runtime: &Channel,
) -> Result<OwnedFd> {
    let mount = &plan.mounts[index];
    let recursive = mount.kind == MountKind::Bind { recursive: true };
    let inner = rootfs.and_then(|rootfs| inside(rootfs, &mount.source));
    let source = root.resolve(inner.unwrap_or(&mount.source)).step(|| "bind source")?;
    let tree = mount::clone_handle(&source, recursive).step(|| "bind source")?;
    // In a user namespace nobody has rights over the file system of the root; in a mount namespace that was joined there
    // are no maps yet.
    let by_runtime = plan.namespaces.has_user() || plan.namespaces.mounts() == Mounts::Joined;
    match mount.id_maps {
        Some(_) if by_runtime => dress_with(runtime, &tree, plan, index)?,
        _ => dress(&tree, plan, mount, maps)?,
    }
    Ok(tree)
}

fn magic(handle: &OwnedFd) -> Result<i64> {
    linux::disk::magic(handle).step(|| "mount target")
}

/// The place of a mount. `/proc` and `/sys` must be ordinary directories: an image that has a link there would have us
/// mount, and later mask and write, somewhere else.
fn place_of(root: &Root, mount: &Mount, directory: bool) -> Result<OwnedFd> {
    let clean = crate::plan::clean(&mount.destination);
    let kind = match &mount.kind {
        MountKind::FileSystem(kind) if kind == "proc" || kind == "sysfs" => kind.as_str(),
        _ if clean == Path::new("proc") => "proc",
        _ if clean == Path::new("sys") => "sysfs",
        _ => return place(root, &mount.destination, directory),
    };
    root.make_dirs_without_links(&mount.destination, 0o755)
        .step(|| format!("filesystem {kind:?} must be mounted on ordinary directory"))
}

/// Nothing may be put over procfs, or in its place, that could pass for it: labels and limits are written there. What
/// counts is where the handle is, so that a link of the image leads nobody past this, and what the place is called.
fn guard_proc(target: &OwnedFd, is_procfs: bool, destination: &Path) -> Result<()> {
    let clean = crate::plan::clean(destination);
    if magic(target)? != PROC_SUPER_MAGIC && !clean.starts_with("proc") {
        return Ok(());
    }
    let whole = clean == Path::new("proc") && is_procfs;
    if whole || HARMLESS_IN_PROC.iter().any(|known| clean == Path::new(known)) {
        return Ok(());
    }
    Err(Error::invalid(format_args!(
        "{:?} cannot be mounted because it is inside /proc",
        destination.display()
    )))
}

fn file_system(
    root: &Root,
    label: Option<&str>,
    mount: &Mount,
    kind: &str,
    prepared: Option<Prepared>,
) -> Result<()> {
    // A tmpfs on a directory that was there looks like it; one on a directory that we make is everybody's.
    let asks_mode = kind == "tmpfs" && !mount.options.data.iter().any(|option| option.starts_with("mode="));
    let inherits_mode = asks_mode && root.resolve(&mount.destination).is_ok();
    let target = place_of(root, mount, true)?;
    guard_proc(&target, kind == "proc", &mount.destination)?;
    let fs = match prepared {
        Some(Prepared::Opened(context)) => NewFs::opened(kind, context),
        _ => NewFs::open(kind).step(|| "file system")?,
    };
    if !mount.source.as_os_str().is_empty() {
        fs.option("source", &mount.source).step(|| "file system")?;
    }
    for flag in &mount.options.super_flags {
        match fs.flag(flag) {
            // Where it means nothing mount(2) would not have asked the file system at all.
            Err(error) if *flag == "iversion" && error.is(Errno::INVAL) => {}
            other => other.step(|| "file system")?,
        }
    }
    if mount.options.is_read_only() && mount.source.is_absolute() {
        // A device must not be written to, not even by the file system itself.
        fs.flag("ro").step(|| "file system")?;
    }
    for option in &mount.options.data {
        fs.word(option).step(|| "file system")?;
    }
    if inherits_mode {
        let mode = linux::entry::metadata_of(&target).step(|| "mount target")?.mode;
        fs.option("mode", format!("{mode:o}")).step(|| "file system")?;
    }
    let by_file = kind == "mqueue";
    if let Some(label) = label.filter(|_| !by_file && !LABELS_ITSELF.contains(&kind)) {
        fs.option("context", label).step(|| "linux.mountLabel")?;
    }
    attach_new(mount, fs, &target, kind, label.filter(|_| by_file))
}

fn attach_new(mount: &Mount, fs: NewFs, target: &OwnedFd, kind: &str, label: Option<&str>) -> Result<()> {
    let copies = mount.options.copy_up && kind == "tmpfs";
    // While something is to be put in, it cannot be read-only yet.
    let filled = copies || is_dev(mount);
    let attributes = mount.options.fresh() & if filled { !mount::RDONLY } else { u64::MAX };
    let made = fs.mount(attributes).step(|| "file system")?;
    if let Some(label) = label {
        linux::xattr::set(&made, "security.selinux".as_ref(), label.as_bytes())
            .step(|| "linux.mountLabel")?;
    }
    if copies {
        copy_up::copy(target.as_fd(), made.as_fd()).step(|| "tmpcopyup")?;
        if mount.options.is_read_only() {
            let attributes = Attributes { set: mount::RDONLY, ..Attributes::default() };
            mount::set_attributes(&made, &attributes, false).step(|| "mount attributes")?;
        }
    }
    for (propagation, recursive) in &mount.options.propagation {
        let attributes = Attributes { propagation: Some(*propagation), ..Attributes::default() };
        mount::set_attributes(&made, &attributes, *recursive).step(|| "mount propagation")?;
    }
    mount::attach(&made, target).step(|| "file system")
}

/// A tmpfs of the runtime's own, with the label of the container's file systems.
pub(crate) fn new_tmpfs(options: &[&str], attributes: u64, label: Option<&str>) -> linux::Result<OwnedFd> {
    let context = label.map(|label| format!("context={label}"));
    let options: Vec<&str> = options.iter().copied().chain(context.as_deref()).collect();
    mount::new_fs("tmpfs", Some("tmpfs"), &options, attributes)
}

fn is_dev(mount: &Mount) -> bool {
    crate::plan::clean(&mount.destination) == Path::new("dev")
}

/// `/dev` is made read-only when it is full.
pub(crate) fn seal_dev(root: &Root, plan: &Plan) -> Result<()> {
    let sealed = |mount: &&Mount| {
        is_dev(mount) && mount.options.is_read_only() && matches!(mount.kind, MountKind::FileSystem(_))
    };
    if plan.mounts.iter().find(sealed).is_none() {
        return Ok(());
    }
    let dev = root.resolve(Path::new("/dev")).step(|| "/dev")?;
    let attributes = Attributes { set: mount::RDONLY, ..Attributes::default() };
    mount::set_attributes(&dev, &attributes, false).step(|| "/dev")
}

/// The container's view of control groups: of its own only, where it has a cgroup namespace.
fn cgroups(root: &Root, plan: &Plan, mount: &Mount) -> Result<()> {
    let layout = Layout::detect().step(|| "cgroup mounts")?;
    let target = cgroup_place(root, mount)?;
    if layout.is_unified() {
        return unified(&layout, mount, &target);
    }
    refuse_words(mount, "cgroup v1")?;
    // The hierarchies are read-only where they shall be; the directory that they stand in stays writable, as with runc.
    let attributes = (mount.options.fresh() & !mount::RDONLY) | mount::NOSUID | mount::NODEV | mount::NOEXEC;
    let base = new_tmpfs(&["mode=755"], attributes, plan.label.as_deref()).step(|| "cgroup directory")?;
    // It must be attached to take mounts itself.
    mount::attach(&base, &target).step(|| "cgroup directory")?;
    let inner = Root::from_directory(base);
    let private = plan.namespaces.is_new(namespace::CGROUP);
    for tree in &layout.legacy {
        let Some(name) = tree.mounted.file_name() else { continue };
        let place = inner.make_dirs(Path::new(name), 0o755).step(|| "cgroup directory")?;
        let mounted = if private {
            legacy_view(tree, mount)?
        } else {
            let clone = mount::clone_tree(None, &legacy_directory(tree)?, false).step(|| "cgroup v1")?;
            apply(&clone, &mount.options)?;
            clone
        };
        mount::attach(&mounted, &place).step(|| "cgroup v1")?;
        link_controllers(&inner, tree, name)?;
    }
    Ok(())
}

fn cgroup_place(root: &Root, mount: &Mount) -> Result<OwnedFd> {
    let target = place_of(root, mount, true)?;
    guard_proc(&target, false, &mount.destination)?;
    Ok(target)
}

/// Where the container gets a view of what the host has mounted, options of a file system have nobody to go to.
fn refuse_words(mount: &Mount, what: &str) -> Result<()> {
    let options = &mount.options;
    match options.super_flags.iter().copied().chain(options.data.iter().map(String::as_str)).next() {
        Some(word) => Err(Error::invalid(format_args!(
            "invalid mount {:?}: {word:?} cannot be applied to {what}",
            mount.destination
        ))),
        None => Ok(()),
    }
}

/// The tree as the cgroup namespace sees it.
fn legacy_view(tree: &linux::cgroup::Tree, mount: &Mount) -> Result<OwnedFd> {
    let fs = NewFs::open("cgroup").step(|| "cgroup v1")?;
    fs.option("source", "cgroup").step(|| "cgroup v1")?;
    for controller in &tree.controllers {
        match controller.split_once('=') {
            Some((key, name)) => fs.flag("none").and_then(|()| fs.option(key, name)),
            None => fs.flag(controller),
        }
        .step(|| "cgroup v1")?;
    }
    fs.mount(mount.options.fresh()).step(|| "cgroup v1")
}

/// Programs look for `cpu` where the tree is called `cpu,cpuacct`.
fn link_controllers(inner: &Root, tree: &linux::cgroup::Tree, name: &std::ffi::OsStr) -> Result<()> {
    if tree.controllers.len() < 2 {
        return Ok(());
    }
    for controller in tree.controllers.iter().filter(|controller| name != controller.as_str()) {
        match linux::entry::make_symlink(inner, controller.as_ref(), name) {
            Err(error) if !error.is(Errno::EXIST) => return Err(error).step(|| "cgroup directory"),
            _ => {}
        }
    }
    Ok(())
}

fn legacy_directory(tree: &linux::cgroup::Tree) -> Result<PathBuf> {
    let own = linux::cgroup::own_path(tree.controllers.first().map(String::as_str)).step(|| "own cgroup")?;
    Ok(tree.mounted.join(own.strip_prefix("/").unwrap_or(&own)))
}

fn unified(layout: &Layout, mount: &Mount, target: &OwnedFd) -> Result<()> {
    let options = &mount.options;
    let flags = options.super_flags.iter().copied();
    let words: Vec<&str> = flags.chain(options.data.iter().map(String::as_str)).collect();
    let made = match mount::new_fs("cgroup2", Some("cgroup"), &words, options.fresh()) {
        // Not allowed in this user namespace: show the host's, which is as far as our rights go.
        Err(error) if error.is(Errno::PERM) || error.is(Errno::BUSY) => {
            refuse_words(mount, "the host's cgroups")?;
            let host = layout.unified.as_deref().unwrap_or(Path::new("/sys/fs/cgroup"));
            let clone = mount::clone_tree(None, host, true).step(|| "cgroup v2")?;
            apply(&clone, &mount.options)?;
            clone
        }
        other => other.step(|| "cgroup v2")?,
    };
    mount::attach(&made, target).step(|| "cgroup v2")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_beside_the_container_is_not_inside() {
        let inside = |source| inside(Path::new("/b/rootfs"), Path::new(source));
        assert_eq!(inside("/b/rootfs/a/../b"), Some(Path::new("a/../b")));
        assert_eq!(inside("/b/rootfs"), Some(Path::new("")));
        for source in ["/b/rootfs/../data", "/b/rootfs/a/../../data", "/b/rootfs2", "/b"] {
            assert_eq!(inside(source), None, "{source}");
        }
    }
}
