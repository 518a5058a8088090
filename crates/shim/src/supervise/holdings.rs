//! What outlives one run of the process and not the container: its root, its network, its ports, its names.
//!
//! The root is mounted once and stays, detached, in nobody's view; each run gets a copy of that mount. Kernels
//! before 6.15 cannot copy a detached mount: there the first run gets the mount itself, and each later run a new
//! one, made when the one before has been taken apart.
//!
//! The sockets on published ports are never read: they are there so that nobody else takes the port. What has to
//! be relayed (`::1`) and the names at 127.0.0.11 are served by `network`, each behind one descriptor of our loop.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use linux::entry;
use linux::inet::Transport;
use linux::mount;
use linux::path::Root;
use linux::poll::{Interest, Poll};
use linux::{Errno, Error};
use network::names::{Config, Resolver};
use network::relay::Relays;

use super::reactor::{self, Source};
use crate::protocol::{Launch, Names, Network, Rootfs};

#[derive(Default)]
pub(super) struct Holdings {
    /// The root mount, when it can be copied for each run.
    root: Option<OwnedFd>,
    user: Option<User>,
    namespace: Option<OwnedFd>,
    sockets: Vec<OwnedFd>,
    relays: Option<Relays>,
    resolver: Option<Resolver>,
    own_names: Vec<PathBuf>,
}

/// A user namespace of the container's own. It is made once, like the network namespace, which belongs to it.
struct User {
    namespace: OwnedFd,
    /// Its root, in ids of ours.
    root: (u32, u32),
}

impl Holdings {
    /// Takes the launch's descriptors for its namespaces and network, in their order, from the front of `descriptors`.
    pub(super) fn take(
        poll: &Poll,
        launch: &Launch,
        descriptors: &mut Vec<OwnedFd>,
    ) -> linux::Result<Holdings> {
        let mut holdings = Holdings::default();
        if launch.user_namespace {
            let namespace = take(descriptors, 1)?.remove(0);
            holdings.user =
                Some(User { namespace, root: super::stdio::root_of(&launch.spec).unwrap_or_default() });
        }
        let Some(network) = &launch.network else { return Ok(holdings) };
        if network.namespace {
            holdings.namespace = take(descriptors, 1)?.pop();
        }
        holdings.sockets = take(descriptors, network.held_sockets)?;
        holdings.listen(poll, network, take(descriptors, network.relays.len())?)?;
        if let Some(names) = &network.names {
            holdings.rename(poll, names.clone())?;
        }
        Ok(holdings)
    }

    fn listen(&mut self, poll: &Poll, network: &Network, sockets: Vec<OwnedFd>) -> linux::Result<()> {
        if sockets.is_empty() {
            return Ok(());
        }
        let mut relays = Relays::new()?;
        for (socket, relay) in sockets.into_iter().zip(&network.relays) {
            let transport = match relay.protocol.as_str() {
                "tcp" => Transport::Tcp,
                "udp" => Transport::Udp,
                other => return Err(Error::new("relay", other, Errno::PROTONOSUPPORT)),
            };
            relays.add(socket, transport, relay.target)?;
        }
        reactor::watch(poll, &relays, Source::Relays, Interest::READ)?;
        self.relays = Some(relays);
        Ok(())
    }

    /// New networks or a first answer: the resolver begins or goes on with these.
    pub(super) fn rename(&mut self, poll: &Poll, names: Names) -> linux::Result<()> {
        let config = Config {
            directories: names.directories,
            links: names.links,
            inside: names.inside,
            upstreams: names.upstreams,
            keep_single_labels: names.keep_single_labels,
        };
        self.own_names = names.own;
        match (&mut self.resolver, &self.namespace) {
            (Some(resolver), _) => resolver.configure(config),
            (None, Some(namespace)) => {
                let resolver = Resolver::open(namespace.as_fd(), config)?;
                reactor::watch(poll, &resolver, Source::Resolver, Interest::READ)?;
                self.resolver = Some(resolver);
            }
            // Somebody else's network namespace has somebody else's resolver.
            (None, None) => {}
        }
        Ok(())
    }

    pub(super) fn own_names(&self) -> &[PathBuf] {
        &self.own_names
    }

    pub(super) fn resolve(&mut self) {
        if let Some(resolver) = &mut self.resolver {
            resolver.ready();
        }
    }

    pub(super) fn relay(&mut self) {
        if let Some(relays) = &mut self.relays {
            relays.ready();
        }
    }

    pub(super) fn namespace(&self) -> Option<BorrowedFd<'_>> {
        self.namespace.as_ref().map(AsFd::as_fd)
    }

    pub(super) fn user_namespace(&self) -> Option<BorrowedFd<'_>> {
        self.user.as_ref().map(|user| user.namespace.as_fd())
    }

    /// The root for one run.
    pub(super) fn root(&mut self, rootfs: &Rootfs) -> linux::Result<runtime::Rootfs> {
        self.root_by(rootfs, mount::copy_detached)
    }

    /// `copy` fails with `EINVAL` where the kernel cannot.
    fn root_by(
        &mut self,
        rootfs: &Rootfs,
        copy: impl Fn(&OwnedFd) -> linux::Result<OwnedFd>,
    ) -> linux::Result<runtime::Rootfs> {
        let (lowers, upper, work, volatile) = match rootfs {
            Rootfs::Directory(path) => return Ok(runtime::Rootfs::Directory(path.clone())),
            Rootfs::Overlay { lowers, upper, work, volatile } => (lowers, upper, work, *volatile),
        };
        let kept = match self.root.take() {
            Some(kept) => kept,
            None => {
                let layers = mount::Overlay { lowers, upper: Some((upper, work)), volatile, extra: &[] };
                let mounted = match &self.user {
                    None => mount::overlay(&layers)?,
                    Some(User { namespace, root: (user, group) }) => {
                        let mapping =
                            mount::Mapping { namespace: namespace.as_fd(), user: *user, group: *group };
                        mount::overlay_mapped(&layers, mapping)?
                    }
                };
                self.tell_mounts(mounted)?
            }
        };
        match copy(&kept) {
            Ok(copy) => {
                self.root = Some(kept);
                Ok(runtime::Rootfs::Mount(copy))
            }
            Err(error) if error.is(Errno::INVAL) => Ok(runtime::Rootfs::Mount(kept)),
            Err(error) => Err(error),
        }
    }

    /// Adds `/etc/mtab`, which images leave out because Docker brings it: Java, for one, finds file systems by it.
    fn tell_mounts(&self, mounted: OwnedFd) -> linux::Result<OwnedFd> {
        let root = Root::from_directory(mounted);
        let add = || {
            linux::fault::point("root: add /etc/mtab")?;
            let directory = root.make_dirs(Path::new("etc"), 0o755)?;
            entry::make_symlink(directory, OsStr::new("mtab"), OsStr::new("/proc/mounts"))
        };
        let added = match &self.user {
            Some(User { root: (user, group), .. }) => linux::credentials::as_owner(*user, *group, add)?,
            None => add(),
        };
        match added {
            // The image has its own, or no place for it.
            Err(error) if [Errno::EXIST, Errno::NOTDIR, Errno::LOOP].iter().any(|known| error.is(*known)) => {
            }
            added => added?,
        }
        Ok(root.into_directory())
    }

    /// The end: ports are free, names are withdrawn, the namespace goes with its last process.
    pub(super) fn release_network(&mut self, poll: &Poll) {
        for path in self.own_names.drain(..) {
            // The engine removes what is still there with the endpoint.
            let _ = network::names::withdraw(&path);
        }
        if let Some(resolver) = self.resolver.take() {
            let _ = poll.remove(&resolver);
        }
        if let Some(relays) = self.relays.take() {
            let _ = poll.remove(&relays);
        }
        self.sockets = Vec::new();
        self.namespace = None;
    }

    /// Unmounts, which may wait for the disk.
    pub(super) fn release_root(&mut self) {
        self.root = None;
    }
}

fn take(descriptors: &mut Vec<OwnedFd>, count: usize) -> linux::Result<Vec<OwnedFd>> {
    if descriptors.len() < count {
        return Err(Error::new("recvmsg", format_args!("{count} descriptors promised"), Errno::PROTO));
    }
    let rest = descriptors.split_off(count);
    Ok(std::mem::replace(descriptors, rest))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use scratch::Directory;

    use super::*;

    fn overlay(dir: &Directory) -> Rootfs {
        for part in ["lower", "upper", "work"] {
            std::fs::create_dir(dir.join(part)).unwrap();
        }
        std::fs::write(dir.join("lower/file"), "below").unwrap();
        let lowers = vec![dir.join("lower")];
        Rootfs::Overlay { lowers, upper: dir.join("upper"), work: dir.join("work"), volatile: false }
    }

    /// Reads the file, then writes it, in the root of one run.
    fn run(root: runtime::Rootfs, write: &str) -> String {
        let runtime::Rootfs::Mount(mount) = root else { panic!("an overlay is a mount") };
        let path = format!("/proc/self/fd/{}/file", mount.as_raw_fd());
        let before = std::fs::read_to_string(&path).unwrap();
        std::fs::write(path, write).unwrap();
        before
    }

    #[test]
    fn each_run_finds_what_the_last_one_wrote() {
        let dir = Directory::new("root");
        let rootfs = overlay(&dir);
        let mut holdings = Holdings::default();
        assert_eq!(run(holdings.root(&rootfs).unwrap(), "first"), "below");
        assert_eq!(run(holdings.root(&rootfs).unwrap(), "second"), "first");
    }

    #[test]
    fn so_it_does_where_the_kernel_cannot_copy_a_detached_mount() {
        let dir = Directory::new("root");
        let rootfs = overlay(&dir);
        let mut holdings = Holdings::default();
        let cannot = |_: &OwnedFd| Err(Error::new("open_tree", "forced", Errno::INVAL));
        assert_eq!(run(holdings.root_by(&rootfs, cannot).unwrap(), "first"), "below");
        assert!(holdings.root.is_none());
        assert_eq!(run(holdings.root_by(&rootfs, cannot).unwrap(), "second"), "first");
    }
}
