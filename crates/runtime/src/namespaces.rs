//! The namespaces of a configuration: which are made, which are joined, and what is set up in them.
//!
//! A container without a mount namespace of its own is built in the host's, or in the one that the configuration
//! names by its path. Then its mounts are everybody's there: they are made below the root's own directory, and stay
//! when it ends.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use linux::Errno;
use linux::namespace::{self, IdRange};
use oci::runtime::{IdMapping, Linux, Namespace, NamespaceKind, TimeOffset};

use crate::{Error, Result, error::Step};

/// Those made only when the process has reached its cgroup, and with offsets set.
pub(crate) const LATE: u64 = namespace::CGROUP | namespace::TIME;

#[derive(Debug, Default)]
pub(crate) struct Namespaces {
    /// `CLONE_NEW…` flags of those made new, the user namespace included.
    pub(crate) new: u64,
    /// Those joined, but for user and PID: the flag and the namespace. A mount namespace is the last.
    pub(crate) joined: Vec<(u64, OwnedFd)>,
    pub(crate) joined_user: Option<OwnedFd>,
    pub(crate) joined_pid: Option<OwnedFd>,
    pub(crate) users: Vec<IdRange>,
    pub(crate) groups: Vec<IdRange>,
    /// Lines for `timens_offsets`.
    pub(crate) time_offsets: String,
}

/// Namespaces that the caller made, in place of those of the configuration.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Given<'a> {
    pub(crate) network: Option<BorrowedFd<'a>>,
    pub(crate) user: Option<BorrowedFd<'a>>,
}

/// Whose mounts the container's are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mounts {
    Own,
    /// Those of a namespace that was named by its path.
    Joined,
    Host,
}

impl Namespaces {
    pub(crate) fn new(linux: &Linux, given: Given<'_>) -> Result<Namespaces> {
        namespaces(linux, given)
    }

    pub(crate) fn is_new(&self, flag: u64) -> bool {
        self.new & flag != 0
    }

    /// Whether ids and rights inside differ from the host's.
    pub(crate) fn has_user(&self) -> bool {
        self.is_new(namespace::USER) || self.joined_user.is_some()
    }

    pub(crate) fn joins(&self, flag: u64) -> bool {
        self.joined.iter().any(|(joined, _)| *joined == flag)
    }

    pub(crate) fn mounts(&self) -> Mounts {
        match self.is_new(namespace::MOUNT) {
            true => Mounts::Own,
            false if self.joins(namespace::MOUNT) => Mounts::Joined,
            false => Mounts::Host,
        }
    }

    /// The PID namespace of others, whose processes must not see the container being built: its first process is born
    /// there at the end. A user namespace that is new has no rights over it: whoever builds the container must have
    /// joined it, for the child that it will have, before.
    pub(crate) fn promised_pid(&self) -> Option<&OwnedFd> {
        self.joined_pid.as_ref().filter(|_| self.is_new(namespace::USER))
    }

    /// Joins what belongs to the user namespace that we are in: those of the one that the container will be in, it joins
    /// when it is there.
    pub(crate) fn enter_with_our_rights(&self) -> linux::Result<()> {
        for (flag, joined) in self.joined.iter().filter(|(flag, _)| *flag != namespace::MOUNT) {
            match namespace::enter(joined, *flag) {
                Err(error) if error.is(Errno::PERM) => {}
                other => other?,
            }
        }
        Ok(())
    }

    /// Joins the others, of those the ones that are not joined yet.
    pub(crate) fn enter(&self) -> Result<()> {
        for (flag, joined) in &self.joined {
            match namespace::enter(joined, *flag) {
                Err(error) if error.is(Errno::PERM) && self.is_in(*flag, joined) => {}
                other => other.step(|| format!("unable to join {} namespace", namespace::name(*flag)))?,
            }
        }
        Ok(())
    }

    fn is_in(&self, flag: u64, joined: &OwnedFd) -> bool {
        // Only a process that was in our user namespace before it was in the container's can be.
        let own = namespace::open(Path::new(&format!("/proc/self/ns/{}", namespace::name(flag))));
        self.has_user() && own.and_then(|own| namespace::same(&own, joined)).unwrap_or(false)
    }

    /// Those that differ from the caller's: what a later process of the container joins.
    pub(crate) fn all(&self) -> u64 {
        let joined = self.joined.iter().fold(0, |flags, (flag, _)| flags | flag);
        let user = if self.joined_user.is_some() { namespace::USER } else { 0 };
        let pid = if self.joined_pid.is_some() { namespace::PID } else { 0 };
        self.new | joined | user | pid
    }
}

pub(crate) fn flag(kind: NamespaceKind) -> u64 {
    match kind {
        NamespaceKind::Mount => namespace::MOUNT,
        NamespaceKind::Pid => namespace::PID,
        NamespaceKind::Network => namespace::NETWORK,
        NamespaceKind::Uts => namespace::UTS,
        NamespaceKind::Ipc => namespace::IPC,
        NamespaceKind::User => namespace::USER,
        NamespaceKind::Cgroup => namespace::CGROUP,
        NamespaceKind::Time => namespace::TIME,
    }
}

fn namespaces(linux: &Linux, given: Given<'_>) -> Result<Namespaces> {
    let mut namespaces = Namespaces::default();
    let mut seen = 0;
    for namespace in &linux.namespaces {
        let flag = flag(namespace.kind);
        if seen & flag != 0 {
            return Err(Error::invalid(format_args!(
                "malformed spec file: duplicated ns {:?}",
                namespace.kind
            )));
        }
        seen |= flag;
        let replaced = flag == namespace::NETWORK && given.network.is_some()
            || flag == namespace::USER && given.user.is_some();
        if !replaced {
            add(&mut namespaces, flag, namespace)?;
        }
    }
    if let Some(network) = given.network {
        let own = linux::fd::duplicate(network).step(|| "network namespace")?;
        namespaces.joined.push((namespace::NETWORK, own));
    }
    if let Some(user) = given.user {
        namespaces.joined_user = Some(linux::fd::duplicate(user).step(|| "user namespace")?);
    }
    // From there on, paths lead elsewhere.
    namespaces.joined.sort_by_key(|(flag, _)| *flag == namespace::MOUNT);
    // Without a user namespace there is nobody whom they would be for.
    if namespaces.has_user() {
        namespaces.users = ranges(&linux.uid_mappings);
        namespaces.groups = ranges(&linux.gid_mappings);
    }
    if namespaces.is_new(namespace::USER) && (namespaces.users.is_empty() || namespaces.groups.is_empty()) {
        return Err(Error::invalid("user namespaces enabled, but no user or group mappings found"));
    }
    if let Some(offsets) = &linux.time_offsets {
        if !namespaces.is_new(namespace::TIME) {
            return Err(Error::invalid(
                "time namespace offsets specified, but time namespace isn't enabled in the config",
            ));
        }
        let line = |clock: &str, offset: Option<TimeOffset>| {
            offset.map(|offset| format!("{clock} {} {}\n", offset.secs, offset.nanosecs)).unwrap_or_default()
        };
        namespaces.time_offsets = line("monotonic", offsets.monotonic) + &line("boottime", offsets.boottime);
    }
    Ok(namespaces)
}

fn add(namespaces: &mut Namespaces, flag: u64, namespace: &Namespace) -> Result<()> {
    let Some(path) = namespace.path.as_ref().filter(|path| !path.as_os_str().is_empty()) else {
        namespaces.new |= flag;
        return Ok(());
    };
    let opened = namespace::open(path).step(|| format!("lstat namespace path {path:?}"))?;
    let kind = namespace::kind(&opened).step(|| format!("namespace {path:?}"))?;
    if kind != flag {
        let (is, expected) = (namespace::name(kind), namespace::name(flag));
        return Err(Error::invalid(format_args!("namespace {path:?} is of type {is}, not {expected}")));
    }
    match flag {
        namespace::USER => {
            // Joining the one we are in is refused by the kernel, and means nothing.
            let own = namespace::open(Path::new("/proc/self/ns/user")).step(|| "own user namespace")?;
            if !namespace::same(&own, &opened).step(|| "user namespace")? {
                namespaces.joined_user = Some(opened);
            }
        }
        namespace::PID => namespaces.joined_pid = Some(opened),
        _ => namespaces.joined.push((flag, opened)),
    }
    Ok(())
}

pub(crate) fn ranges(mappings: &[IdMapping]) -> Vec<IdRange> {
    let range = |mapping: &IdMapping| IdRange {
        inside: mapping.container_id,
        outside: mapping.host_id,
        count: mapping.size,
    };
    mappings.iter().map(range).collect()
}

/// Who acts for a user namespace with this map: its root, or else the lowest id that it has.
pub(crate) fn first_id(ranges: &[IdRange]) -> u32 {
    ranges.iter().map(|range| range.inside).min().unwrap_or(0)
}

/// What later steps enter.
pub(crate) fn descriptors(namespaces: &Namespaces) -> Vec<BorrowedFd<'_>> {
    let joined = namespaces.joined.iter().map(|(_, fd)| fd.as_fd());
    let user = namespaces.joined_user.as_ref().map(AsFd::as_fd);
    joined.chain(user).chain(namespaces.joined_pid.as_ref().map(AsFd::as_fd)).collect()
}
