//! The container's tree: put together on a root mount, then made the root.
//!
//! ```text
//!   own mount namespace, events from the host come in and none go out
//!     └ root mount, attached on top of "/"      host paths still resolve below it
//!         └ mounts in their order, devices, links, console
//!             └ (hooks) read-only and masked paths, the root itself read-only
//!   pivot_root: the root mount becomes "/", the host's tree goes
//! ```
//!
//! The root mount comes as a descriptor (an overlay that was never attached) or as a directory. Sources of bind
//! mounts are cloned before it is attached, so that a bind of the host's "/" does not hold the container again.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use linux::mount::{self, Attributes, Propagation};
use linux::path::Root;
use linux::spans::mark;

use super::{devices, masks, mounts};
use crate::channel::Channel;
use crate::namespaces::Mounts;
use crate::plan::{Mount, MountKind, Plan};
use crate::{Error, Result, error::Step};

/// Where the root mount comes from.
#[derive(Debug)]
pub(crate) enum Source {
    Directory(PathBuf),
    Mount(OwnedFd),
}

impl Source {
    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Source::Directory(_) => None,
            Source::Mount(mount) => Some(mount.as_fd()),
        }
    }
}

/// Bind sources by the mount's place in the list. Where the container's side lacks the rights (a user namespace) or
/// the means (the host's procfs, to make an id map) the runtime clones them; otherwise, and in a mount namespace that is
/// joined, the container's side does.
pub(crate) type Sources = Vec<Option<Prepared>>;

/// What is ready of a bind before the container's tree is put together.
#[derive(Debug)]
pub(crate) enum Prepared {
    /// The source itself.
    Tree(OwnedFd),
    /// The maps of one whose source lies in the container's own tree, and is seen when earlier mounts are in place.
    Maps(OwnedFd),
    /// A new file system that had to be opened elsewhere, see [`super::opener`].
    Opened(OwnedFd),
}

impl AsFd for Prepared {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Prepared::Tree(fd) | Prepared::Maps(fd) | Prepared::Opened(fd) => fd.as_fd(),
        }
    }
}

/// Sources cloned in the host's mount namespace, and cut off from it as a copy of the namespace would be.
pub(crate) fn clone_host_sources(plan: &Plan, rootfs: Option<&Path>) -> Result<Sources> {
    let sources = clone_sources(plan, rootfs, None)?;
    if plan.root_propagation.is_some_and(|(propagation, _)| propagation == Propagation::Shared) {
        return Ok(sources);
    }
    for (mount, source) in plan.mounts.iter().zip(&sources) {
        if let (Some(Prepared::Tree(source)), true) = (source, mount.options.propagation.is_empty()) {
            let slave = Attributes { propagation: Some(Propagation::Slave), ..Attributes::default() };
            mount::set_attributes(source, &slave, true).step(|| mounts::describe(mount))?;
        }
    }
    Ok(sources)
}

/// With the runtime named, it makes the id maps: in a mount namespace that was joined there may be no procfs to do it by.
fn clone_sources(plan: &Plan, rootfs: Option<&Path>, runtime: Option<&Channel>) -> Result<Sources> {
    let numbered = plan.mounts.iter().enumerate();
    let clone = |(index, mount): (usize, &Mount)| match mount.kind {
        MountKind::Bind { .. }
            if rootfs.is_some_and(|root| mounts::inside(root, &mount.source).is_some()) =>
        {
            match runtime {
                Some(_) => Ok(None),
                None => mounts::own_maps(mount)
                    .step(|| mounts::describe(mount))
                    .map(|maps| maps.map(Prepared::Maps)),
            }
        }
        MountKind::Bind { recursive } => mounts::clone_source(plan, index, recursive, runtime)
            .step(|| mounts::describe(mount))
            .map(|tree| Some(Prepared::Tree(tree))),
        _ => Ok(None),
    };
    numbered.map(clone).collect()
}

/// The tree under construction.
pub(crate) struct Tree {
    pub(crate) root: Root,
    /// A handle on the host's `/dev/null`.
    null: OwnedFd,
}

impl Tree {
    /// Attaches the root mount in this mount namespace.
    pub(crate) fn attach(
        plan: &Plan,
        source: Source,
        sources: &mut Option<Sources>,
        runtime: &Channel,
    ) -> Result<Tree> {
        let mounts = plan.namespaces.mounts();
        if mounts == Mounts::Own {
            isolate(plan)?;
        }
        let directory = match &source {
            Source::Directory(path) => Some(path.clone()),
            Source::Mount(_) => None,
        };
        if sources.is_none() {
            let mapper = Some(runtime).filter(|_| mounts == Mounts::Joined);
            *sources = Some(clone_sources(plan, directory.as_deref(), mapper)?);
        }
        let host = Root::open(Path::new("/")).step(|| "host's root")?;
        let null = host.resolve(Path::new("/dev/null")).step(|| "host's /dev/null")?;
        let place = match (mounts, directory.as_deref()) {
            (Mounts::Own, directory) => place_for_hooks(plan, directory)?,
            (Mounts::Joined, Some(directory)) => {
                make_holder_private(directory)?;
                Some(directory)
            }
            (Mounts::Host, Some(directory)) => Some(directory),
            (_, None) => {
                return Err(Error::invalid(
                    "a root that is a mount needs a mount namespace of the container's own",
                ));
            }
        };
        let root = match source {
            Source::Mount(mount) => mount,
            Source::Directory(path) => {
                let tree = mount::clone_tree(None, &path, true).step(|| format!("rootfs {path:?}"))?;
                let private = Attributes { propagation: Some(Propagation::Private), ..Attributes::default() };
                mount::set_attributes(&tree, &private, true).step(|| "rootfs")?;
                tree
            }
        };
        mount::attach_at(&root, place.unwrap_or(Path::new("/"))).step(|| "error preparing rootfs")?;
        if mounts == Mounts::Host {
            // What is mounted on a shared mount is shared. The host's others have got this one; no more of them.
            let private = Attributes { propagation: Some(Propagation::Private), ..Attributes::default() };
            mount::set_attributes(&root, &private, true).step(|| "rootfs")?;
        }
        Ok(Tree { root: Root::from_directory(root), null })
    }

    /// Mounts, devices and links, all before the host's tree is out of sight.
    pub(crate) fn furnish(
        &self,
        plan: &Plan,
        sources: Sources,
        rootfs: Option<&Path>,
        runtime: &Channel,
    ) -> Result<()> {
        for (index, source) in sources.into_iter().enumerate() {
            let mount = &plan.mounts[index];
            mounts::perform(self, plan, index, source, rootfs, runtime).step(|| mounts::describe(mount))?;
            mark(mounts::span(&mount.kind));
        }
        if plan.fills_dev {
            devices::fill(&self.root, plan)?;
        }
        Ok(())
    }

    /// A working directory that does not exist is made.
    pub(crate) fn make_directory(&self, path: &Path) -> Result<()> {
        match self.root.make_dirs(path, 0o755) {
            // A file in its place, or a tree that cannot be written: entering it will say so.
            Err(error)
                if [linux::Errno::NOTDIR, linux::Errno::EXIST, linux::Errno::ROFS]
                    .contains(&error.errno()) =>
            {
                Ok(())
            }
            other => other.map(drop).step(|| format!("working directory {path:?}")),
        }
    }

    /// From here on the tree is all there is.
    pub(crate) fn enter(&self, mounts: Mounts, pivot: bool) -> Result<()> {
        let entered = match (mounts, pivot) {
            (Mounts::Own | Mounts::Joined, true) => mount::pivot_root(&self.root),
            // The others in the namespace go on seeing what they saw.
            (Mounts::Joined, false) | (Mounts::Host, _) => mount::enter_root(&self.root),
            (Mounts::Own, false) => {
                hide_host_views().step(|| "error jailing process inside rootfs")?;
                mount::enter_root(&self.root)
            }
        };
        entered.step(|| "error jailing process inside rootfs")
    }

    /// What must hold for the container and was in the way until now.
    pub(crate) fn protect(&self, plan: &Plan) -> Result<()> {
        masks::make_read_only(&self.root, &plan.read_only)?;
        mark("paths made read-only");
        masks::mask(&self.root, &plan.masked, self.null.as_fd(), plan.label.as_deref())?;
        mark("paths masked");
        mounts::seal_dev(&self.root, plan)?;
        if plan.root_read_only {
            let read_only = Attributes { set: mount::RDONLY, ..Attributes::default() };
            mount::set_attributes(&self.root, &read_only, false)
                .step(|| "error setting rootfs as readonly")?;
        }
        Ok(())
    }

    /// Only a root that is in its place may be shared.
    pub(crate) fn propagate(&self, plan: &Plan) -> Result<()> {
        if let Some((propagation, recursive)) =
            plan.root_propagation.filter(|(p, _)| *p != Propagation::Private)
        {
            let attributes = Attributes { propagation: Some(propagation), ..Attributes::default() };
            mount::set_attributes(&self.root, &attributes, recursive)
                .step(|| "error setting root propagation")?;
        }
        Ok(())
    }
}

/// Hooks that look into the container before it has taken its root (`nsenter` into its mount namespace, the drivers
/// of graphics cards) expect that where the configuration says it is, among the host's paths. For nobody else is the
/// mount that holds it made private.
fn place_for_hooks<'p>(plan: &Plan, directory: Option<&'p Path>) -> Result<Option<&'p Path>> {
    let hooks = &plan.hooks;
    if hooks.prestart.is_empty() && hooks.create_runtime.is_empty() && hooks.create_container.is_empty() {
        return Ok(None);
    }
    let Some(directory) = directory else { return Ok(None) };
    make_holder_private(directory)?;
    Ok(Some(directory))
}

/// The mount that a directory lies on tells nobody of what is mounted on it.
fn make_holder_private(directory: &Path) -> Result<()> {
    let mounts = mount::list().step(|| "rootfs")?;
    let holders =
        mounts.iter().map(|info| info.target.as_path()).filter(|target| directory.starts_with(target));
    if let Some(holder) = holders.max_by_key(|target| target.as_os_str().len()) {
        mount::set_propagation(holder, Propagation::Private, false).step(|| "rootfs")?;
    }
    Ok(())
}

/// Events of the host's mounts come in (or do not, by configuration), ours never go out.
fn isolate(plan: &Plan) -> Result<()> {
    let (propagation, recursive) = plan.root_propagation.unwrap_or((Propagation::Slave, true));
    let root = Path::new("/");
    // An unbindable host tree could not be bound from: that applies to the container's root at the end.
    let first = if propagation == Propagation::Unbindable { Propagation::Private } else { propagation };
    if first != Propagation::Shared {
        mount::set_propagation(root, first, recursive || first == Propagation::Slave)
            .step(|| "root propagation")?;
    }
    // The root mount is put on top of this one, which must not tell anybody.
    mount::set_propagation(root, Propagation::Private, false).step(|| "root propagation")
}

/// Without pivot_root the host's tree stays in the namespace, out of sight. Its procfs and sysfs must not: the kernel
/// lets a nested user namespace mount its own, without our masks, as long as there is one in full view.
fn hide_host_views() -> Result<()> {
    let mounts = mount::list().step(|| "mounts of the host")?;
    for view in mounts.iter().rev().filter(|info| info.kind == "proc" || info.kind == "sysfs") {
        // The host must not hear of it. A path leads to the host's mount here, never to the container's; what was
        // below one that is gone by now is gone with it.
        if mount::set_propagation(&view.target, Propagation::Private, true).is_err() {
            continue;
        }
        if mount::unmount(&view.target, true).is_err() {
            // Locked, in a user namespace: covered instead.
            mount::classic(Path::new("tmpfs"), &view.target, "tmpfs", 0, "")
                .step(|| format!("{:?}", view.target))?;
        }
    }
    Ok(())
}

/// The place of a mount: made if it is missing, of the kind that the source needs.
pub(crate) fn place(root: &Root, destination: &Path, directory: bool) -> Result<OwnedFd> {
    let made =
        if directory { root.make_dirs(destination, 0o755) } else { root.make_file(destination, 0o755) };
    made.step(|| format!("create mountpoint for {} mount", destination.display()))
}

/// The parent directory of a path, made if missing, and the last name.
pub(crate) fn parent<'p>(root: &Root, path: &'p Path) -> Result<(OwnedFd, &'p OsStr)> {
    let name = path.file_name().ok_or_else(|| Error::invalid(format_args!("{path:?} names no file")))?;
    let parent = path.parent().unwrap_or(Path::new("/"));
    Ok((root.make_dirs(parent, 0o755).step(|| format!("directory of {path:?}"))?, name))
}
