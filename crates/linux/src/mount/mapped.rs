//! An overlay whose layers keep the ids that they have on disk, while a container sees them by its user namespace.
//!
//! ```text
//!   on disk          id-mapped copies of the mounts       overlay            inside
//!   uid 0    ──────▶ uid 100000 ───────────────────────▶ uid 100000 ──────▶ uid 0
//! ```
//!
//! Overlayfs itself takes no id map (5.19 and later take layers that have one), so every layer is cloned as a detached
//! mount with the map, and the overlay stacked from those. It acts on the layers in its maker's name: that must be
//! somebody whom the map knows, who still has all of root's rights over files.
//!
//! Kernels before 6.15 take detached mounts as layers no more than paths that are not mounted. There a thread in a
//! mount namespace of its own puts the copies in their layers' places and stacks.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::{
    Attributes, Overlay, Propagation, attach_at, clone_tree, overlay, set_attributes, set_propagation,
};
use crate::kernel::Feature;
use crate::{Errno, Error, Result, credentials, namespace};

/// Whose namespace the ids of a mount are translated by, and who is root there.
#[derive(Debug, Clone, Copy)]
pub struct Mapping<'a> {
    pub namespace: BorrowedFd<'a>,
    /// Ids outside of the namespace: of its root, or whoever acts for it.
    pub user: u32,
    pub group: u32,
}

/// A detached mount of a directory in which ids are translated.
pub fn mapped_directory(path: &Path, namespace: impl AsFd) -> Result<OwnedFd> {
    let tree = clone_tree(None, path, false)?;
    let attributes = Attributes { idmap: Some(namespace.as_fd()), ..Attributes::default() };
    set_attributes(&tree, &attributes, false)?;
    Ok(tree)
}

/// As [`overlay`], of layers in which ids are translated. Upper and work directory must stand in one directory.
pub fn overlay_mapped(layers: &Overlay<'_>, mapping: Mapping<'_>) -> Result<OwnedFd> {
    Feature::MappedLayers.need("fsconfig", "\"overlay\", FSCONFIG_CMD_CREATE, id-mapped layers")?;
    let copies = Copies::make(layers, mapping.namespace)?;
    match credentials::as_owner(mapping.user, mapping.group, || copies.stack(layers))? {
        Err(error) if error.is(Errno::INVAL) => overlay_mapped_in_own_namespace(layers, mapping),
        other => other,
    }
}

/// For kernels that take no detached mounts as layers.
pub fn overlay_mapped_in_own_namespace(layers: &Overlay<'_>, mapping: Mapping<'_>) -> Result<OwnedFd> {
    let copies = Copies::make(layers, mapping.namespace)?;
    let stack = || {
        namespace::unshare(namespace::MOUNT)?;
        copies.attach(layers)?;
        credentials::as_owner(mapping.user, mapping.group, || overlay(layers))?
    };
    std::thread::scope(|scope| {
        scope.spawn(stack).join().expect("a thread that only makes calls does not panic")
    })
}

/// The id-mapped copies of an overlay's layers.
struct Copies {
    lowers: Vec<OwnedFd>,
    /// The directory that holds upper and work directory: they must be of one mount.
    writable: Option<(OwnedFd, PathBuf)>,
}

impl Copies {
    fn make(layers: &Overlay<'_>, namespace: BorrowedFd<'_>) -> Result<Copies> {
        let lowers =
            layers.lowers.iter().map(|lower| mapped_directory(lower, namespace)).collect::<Result<_>>()?;
        let writable = match layers.upper {
            None => None,
            Some((upper, work)) => {
                let parent = upper.parent().filter(|parent| work.parent() == Some(*parent));
                let Some(parent) = parent else {
                    let apart = format_args!("{upper:?} and {work:?}, which stand apart");
                    return Err(Error::new("overlay", apart, Errno::INVAL));
                };
                Some((mapped_directory(parent, namespace)?, parent.to_owned()))
            }
        };
        Ok(Copies { lowers, writable })
    }

    /// By way of descriptors: the copies are nowhere.
    fn stack(&self, layers: &Overlay<'_>) -> Result<OwnedFd> {
        use std::os::fd::AsRawFd;
        Feature::DetachedSources.need("fsconfig", "\"overlay\", FSCONFIG_CMD_CREATE, detached layers")?;
        let path = |mount: &OwnedFd| PathBuf::from(format!("/proc/self/fd/{}", mount.as_raw_fd()));
        let lowers: Vec<PathBuf> = self.lowers.iter().map(path).collect();
        let below = |place: &Path| {
            let (mount, _) = self.writable.as_ref()?;
            Some(path(mount).join(place.file_name()?))
        };
        let upper = layers.upper.and_then(|(upper, work)| Some((below(upper)?, below(work)?)));
        let upper = upper.as_ref().map(|(upper, work)| (upper.as_path(), work.as_path()));
        overlay(&Overlay { lowers: &lowers, upper, volatile: layers.volatile, extra: layers.extra })
    }

    /// Puts each over the directory that it is a copy of, in this mount namespace.
    fn attach(&self, layers: &Overlay<'_>) -> Result<()> {
        set_propagation(Path::new("/"), Propagation::Private, true)?;
        for (mount, path) in self.lowers.iter().zip(layers.lowers) {
            attach_at(mount, path)?;
        }
        match &self.writable {
            Some((mount, path)) => attach_at(mount, path),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

    use rustix::fs::OFlags;

    use super::*;
    use crate::namespace::{IdRange, user_with_maps};
    use crate::path::Root;

    fn check(name: &str, make: fn(&Overlay<'_>, Mapping<'_>) -> Result<OwnedFd>) {
        let base = std::env::temp_dir().join(format!("wharf-mapped-{}-{name}", std::process::id()));
        for directory in ["one", "two", "own/upper", "own/work"] {
            std::fs::create_dir_all(base.join(directory)).unwrap();
        }
        std::fs::write(base.join("one/root"), "").unwrap();
        std::fs::write(base.join("two/user"), "").unwrap();
        std::fs::set_permissions(base.join("two/user"), PermissionsExt::from_mode(0o600)).unwrap();
        chown(base.join("two/user"), Some(7), Some(8)).unwrap();
        let ranges = [IdRange { inside: 0, outside: 300_000, count: 1000 }];
        let namespace = user_with_maps(&ranges, &ranges).unwrap();
        let mapping = Mapping { namespace: namespace.as_fd(), user: 300_000, group: 300_000 };
        let lowers = [base.join("one"), base.join("two")];
        let (upper, work) = (base.join("own/upper"), base.join("own/work"));
        let layers = Overlay { lowers: &lowers, upper: Some((&upper, &work)), volatile: false, extra: &[] };
        let root = Root::from_directory(make(&layers, mapping).unwrap());
        let owner = |name: &str| {
            let file = root.open_at(Path::new(name), OFlags::RDWR, 0).unwrap();
            let found = std::fs::File::from(file).metadata().unwrap();
            (found.uid(), found.gid())
        };
        assert_eq!(owner("root"), (300_000, 300_000));
        assert_eq!(owner("user"), (300_007, 300_008));
        credentials::as_owner(300_000, 300_000, || root.make_file(Path::new("new"), 0o644)).unwrap().unwrap();
        crate::entry::remove_file(root.resolve(Path::new(".")).unwrap(), "root".as_ref()).unwrap();
        let on_disk = |path: &str| std::fs::symlink_metadata(upper.join(path)).unwrap();
        assert_eq!((on_disk("new").uid(), on_disk("user").uid()), (0, 7));
        assert_eq!((on_disk("root").uid(), on_disk("root").rdev()), (0, 0), "a whiteout");
        drop(root);
        std::fs::remove_dir_all(&base).unwrap();
    }

    /// Nowhere, where the kernel takes such layers.
    #[test]
    fn layers_as_the_kernel_takes_them() {
        check("mapped", overlay_mapped);
    }

    #[test]
    fn layers_in_their_places() {
        check("placed", overlay_mapped_in_own_namespace);
    }
}
