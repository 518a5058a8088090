//! Making the sockets that clients come to, or taking them over from whoever holds them.
//!
//! A Unix socket belongs to root and a group, mode 0660, from its first moment: it is bound under a mask that lets
//! nobody in, and opened to the group afterwards.
//!
//! Inherited sockets come in two ways. systemd passes descriptors from 3 on and says how many in `LISTEN_FDS`, for
//! the process in `LISTEN_PID`. The keeper (see [`crate::keeper`]) passes all that it made or got, and says how many in
//! [`KEPT`].

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::host::Host;
use crate::pidfile::INHERITANCE;

/// Tells an engine that it was given its sockets by the keeper, and how many.
pub(crate) const KEPT: &str = "WHARF_KEPT_SOCKETS";
/// The first inherited descriptor.
pub(crate) const FIRST: i32 = 3;
/// Groups that may use the socket unless one is named; the first that exists.
const GROUPS: [&str; 2] = ["docker", "wharf"];
/// Nobody but root, until the group is set.
const CLOSED: u32 = 0o177;
const MODE: u32 = 0o660;
const PAUSE: Duration = Duration::from_millis(5);

/// A socket that clients come to.
#[derive(Debug)]
pub(crate) enum Bound {
    Unix(UnixListener),
    Tcp(TcpListener),
}

/// All of them, and which paths were made here and should go with the engine.
#[derive(Debug, Default)]
pub(crate) struct Listeners {
    pub(crate) bound: Vec<Bound>,
    pub(crate) made: Vec<PathBuf>,
    /// A second name of the socket, and what it points to.
    linked: Option<(PathBuf, PathBuf)>,
}

impl Listeners {
    /// Binds, or takes over, what the configuration names.
    pub(crate) fn open(hosts: &[Host], group: Option<&str>) -> Result<Listeners, String> {
        let mut listeners = Listeners { bound: kept()?, made: Vec::new(), linked: None };
        if !listeners.bound.is_empty() {
            return Ok(listeners);
        }
        for host in hosts {
            match host {
                Host::Inherited(which) => listeners.bound.extend(activated(*which)?),
                Host::Unix(path) => {
                    listeners.bound.push(Bound::Unix(unix(path, group)?));
                    listeners.made.push(path.clone());
                }
                Host::Tcp(address) => {
                    let listener = TcpListener::bind(address.as_str()).map_err(|error| {
                        format!("failed to load listeners: listen tcp {address}: {error}")
                    })?;
                    listeners.bound.push(Bound::Tcp(listener));
                }
            }
        }
        Ok(listeners)
    }

    /// The first Unix socket that has a path, whoever made it.
    pub(crate) fn path(&self) -> Option<PathBuf> {
        self.bound.iter().find_map(|bound| match bound {
            Bound::Unix(listener) => Some(listener.local_addr().ok()?.as_pathname()?.to_owned()),
            Bound::Tcp(_) => None,
        })
    }

    /// Where those that listen by tcp do.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        let tcp = |bound: &Bound| match bound {
            Bound::Tcp(listener) => listener.local_addr().ok(),
            Bound::Unix(_) => None,
        };
        self.bound.iter().filter_map(tcp).collect()
    }

    /// Makes the Unix socket reachable by another path, too.
    pub(crate) fn link(&mut self, path: &Path) -> Result<(), String> {
        let socket = self.path().ok_or("--docker-socket needs a Unix socket to point to")?;
        link(path, &socket)?;
        self.linked = Some((path.to_owned(), socket));
        Ok(())
    }

    /// Takes away the paths that were made; a link only if nobody has made it his since.
    pub(crate) fn remove(&self) {
        if let Some((link, target)) = &self.linked
            && std::fs::read_link(link).is_ok_and(|current| current == *target)
        {
            let _ = std::fs::remove_file(link);
        }
        for path in &self.made {
            if let Err(error) = std::fs::remove_file(path)
                && error.kind() != ErrorKind::NotFound
            {
                tracing::warn!(%error, path = %path.display(), "cannot remove the socket");
            }
        }
    }
}

fn unix(path: &Path, group: Option<&str>) -> Result<UnixListener, String> {
    let failed =
        |error: io::Error| format!("failed to load listeners: listen unix {}: {error}", path.display());
    let group = gid(path, group)?;
    let deadline = Instant::now() + INHERITANCE;
    let answer = loop {
        match UnixStream::connect(path) {
            Ok(_) if Instant::now() < deadline => std::thread::sleep(PAUSE),
            other => break other,
        }
    };
    match answer {
        Ok(_) => return Err(failed(ErrorKind::AddrInUse.into())),
        // Left behind by an engine that was killed.
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(failed)?
        }
        Err(_) => {}
    }
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).map_err(failed)?;
    }
    let before = linux::process::set_umask(CLOSED);
    let listener = UnixListener::bind(path);
    linux::process::set_umask(before);
    let listener = listener.map_err(failed)?;
    std::os::unix::fs::chown(path, Some(0), group).map_err(failed)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(MODE)).map_err(failed)?;
    Ok(listener)
}

/// The group that was named, which must exist, or one of the usual ones; where there is none, root's, with a warning.
fn gid(path: &Path, named: Option<&str>) -> Result<Option<u32>, String> {
    let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
    let gid = choose_group(&groups, named)?;
    if gid.is_none() && named.is_none() {
        tracing::warn!(
            "could not change group of {} to {}: no such group; it is root's alone",
            path.display(),
            GROUPS.join(" or ")
        );
    }
    Ok(gid)
}

fn choose_group(groups: &str, named: Option<&str>) -> Result<Option<u32>, String> {
    match named {
        Some("") => Ok(None),
        Some(name) => match find_group(groups, name).or_else(|| name.parse().ok()) {
            Some(gid) => Ok(Some(gid)),
            None => Err(format!("failed to load listeners: group {name} not found")),
        },
        None => Ok(GROUPS.iter().find_map(|name| find_group(groups, name))),
    }
}

fn find_group(groups: &str, name: &str) -> Option<u32> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok()).flatten()
    })
}

/// What the keeper passed.
fn kept() -> Result<Vec<Bound>, String> {
    let Ok(count) = std::env::var(KEPT) else { return Ok(Vec::new()) };
    let count: i32 = count.parse().map_err(|_| format!("{KEPT} is no number: {count:?}"))?;
    take(FIRST..FIRST.saturating_add(count))
}

/// What systemd passed to this process.
fn activated(which: Option<i32>) -> Result<Vec<Bound>, String> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<i32>().ok());
    let none = || {
        "failed to load listeners: no sockets found via socket activation: make sure the service was started by systemd".to_owned()
    };
    if number("LISTEN_PID") != Some(linux::process::id()) {
        return Err(none());
    }
    let count = number("LISTEN_FDS").filter(|count| *count > 0).ok_or_else(none)?;
    let end = FIRST.saturating_add(count);
    match which {
        None => take(FIRST..end),
        Some(one) if one < end => take(one..one + 1),
        Some(_) => {
            Err("failed to load listeners: too few socket activated files passed in by systemd".to_owned())
        }
    }
}

fn take(numbers: std::ops::Range<i32>) -> Result<Vec<Bound>, String> {
    numbers
        .map(|number| {
            let descriptor = linux::fd::take_inherited(number).map_err(|error| {
                format!("failed to load listeners: inherited descriptor {number}: {error}")
            })?;
            Ok(kind_of(descriptor))
        })
        .collect()
}

/// Tells the kinds apart by the address that the socket has.
fn kind_of(descriptor: OwnedFd) -> Bound {
    let listener = UnixListener::from(descriptor);
    match listener.local_addr() {
        Ok(_) => Bound::Unix(listener),
        Err(_) => Bound::Tcp(OwnedFd::from(listener).into()),
    }
}

/// Makes `link` another name of the socket at `target`. A link that is there already is moved; a socket that somebody
/// serves is left alone.
fn link(link: &Path, target: &Path) -> Result<(), String> {
    let failed =
        |error: io::Error| format!("cannot link {} to {}: {error}", link.display(), target.display());
    if std::fs::read_link(link).is_ok_and(|current| current == target) {
        return Ok(());
    }
    if UnixStream::connect(link).is_ok() {
        return Err(format!("cannot link {}: another engine answers there", link.display()));
    }
    if let Some(directory) = link.parent() {
        std::fs::create_dir_all(directory).map_err(failed)?;
    }
    match std::fs::remove_file(link) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    std::os::unix::fs::symlink(target, link).map_err(failed)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn the_socket_is_roots_and_the_groups_alone() {
        let directory = scratch::Directory::new("listeners");
        let path = directory.join("deep/wharf.sock");
        let listener = unix(&path, Some("4711")).unwrap();
        let metadata = std::fs::metadata(&path).unwrap();
        assert_eq!((metadata.mode() & 0o777, metadata.uid(), metadata.gid()), (0o660, 0, 4711));

        let error = unix(&path, None).unwrap_err();
        assert!(error.contains("address in use") || error.contains("Address already in use"), "{error}");
        drop(listener);
        assert!(unix(&path, None).is_ok(), "what a killed engine left is no obstacle");
        assert!(unix(&path, Some("nosuchgroup")).unwrap_err().contains("group nosuchgroup not found"));
    }

    #[test]
    fn groups_are_found_by_name() {
        let groups = "root:x:0:\ndocker:x:998:me\nwharf:x:997:\n";
        assert_eq!(find_group(groups, "docker"), Some(998));
        assert_eq!(find_group(groups, "dock"), None);
        let chosen = |groups: &str, named| choose_group(groups, named);
        assert_eq!(chosen(groups, None), Ok(Some(998)));
        assert_eq!(chosen("root:x:0:\nwharf:x:997:\n", None), Ok(Some(997)));
        assert_eq!(chosen("root:x:0:\n", None), Ok(None));
        assert_eq!(chosen(groups, Some("")), Ok(None));
        assert_eq!(chosen(groups, Some("12")), Ok(Some(12)));
        assert_eq!(
            chosen(groups, Some("nope")).unwrap_err(),
            "failed to load listeners: group nope not found"
        );
    }

    #[test]
    fn links_spare_what_is_served() {
        let directory = scratch::Directory::new("link");
        let (target, link_path) = (directory.join("a.sock"), directory.join("docker.sock"));
        let listener = UnixListener::bind(&target).unwrap();
        link(&link_path, &target).unwrap();
        link(&link_path, &target).unwrap();
        assert!(UnixStream::connect(&link_path).is_ok());
        let other = directory.join("b.sock");
        assert!(link(&link_path, &other).unwrap_err().contains("another engine"));
        drop(listener);
        link(&link_path, &other).unwrap();
        assert_eq!(std::fs::read_link(&link_path).unwrap(), other);
    }

    #[test]
    fn inherited_sockets_are_told_apart() {
        let directory = scratch::Directory::new("kinds");
        let unix: OwnedFd = UnixListener::bind(directory.join("s")).unwrap().into();
        let tcp: OwnedFd = TcpListener::bind("127.0.0.1:0").unwrap().into();
        assert!(matches!(kind_of(unix), Bound::Unix(_)));
        assert!(matches!(kind_of(tcp), Bound::Tcp(_)));
    }
}
