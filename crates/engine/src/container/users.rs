//! User namespaces (`--userns-remap`): root of a container is an ordinary user of the host.
//!
//! ```text
//!   own namespace        with the engine's ids, made for one run          network namespace, mounts, processes
//!   container:…          the one of the container that is joined          belong to it
//!   --userns=host        none
//! ```
//!
//! Nothing on disk knows of it. Layers, the writable directory and volumes keep the ids that the container speaks of,
//! and its mounts of them translate: the same images and volumes serve containers with and without, and the option may
//! come and go between two starts. What is bound from the host is the host's and is not translated.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use api::container::HostConfig;
use linux::mount::{self, Mapping, Overlay};
use linux::namespace::{self, IdMaps};

use super::record::Record;
use crate::config::{Config, Remap};
use crate::error::{Error, Result};
use crate::paths::Paths;
use crate::{Engine, runtimes, spec};

/// The user namespace of one run.
#[derive(Debug)]
pub(crate) struct Users {
    namespace: OwnedFd,
    pub(crate) maps: IdMaps,
}

impl AsFd for Users {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.namespace.as_fd()
    }
}

impl Users {
    pub(super) fn into_namespace(self) -> OwnedFd {
        self.namespace
    }

    /// As a mount of layers takes it.
    pub(super) fn mapping(&self) -> Mapping<'_> {
        let (user, group) = self.maps.root();
        Mapping { namespace: self.namespace.as_fd(), user, group }
    }
}

/// The ids that apply to a container; none when it shares the host's.
pub(super) fn remap<'a>(config: &'a Config, host: &HostConfig) -> Option<&'a Remap> {
    config.remap.as_ref().filter(|_| host.userns_mode != "host")
}

/// What goes with ids of one's own and what does not.
pub(super) fn check(config: &Config, host: &HostConfig) -> Result<()> {
    if !["", "private", "host"].contains(&host.userns_mode.as_str()) {
        return Err(Error::invalid(format!("invalid USER mode: {}", host.userns_mode)));
    }
    if remap(config, host).is_none() {
        return Ok(());
    }
    let refused = [
        (
            host.privileged,
            "privileged mode is incompatible with user namespaces.  You must run the container in the host \
             namespace when running privileged mode",
        ),
        (
            host.network_mode == "host",
            "cannot share the host's network namespace when user namespaces are enabled",
        ),
        (host.pid_mode == "host", "cannot share the host PID namespace when user namespaces are enabled"),
        (host.ipc_mode == "host", "cannot share the host IPC namespace when user namespaces are enabled"),
        (
            runtimes::find(&config.container, &host.runtime)?.is_some(),
            "other runtimes than the engine's own are not supported when user namespaces are enabled: \
             run the container with --userns=host",
        ),
    ];
    match refused.iter().find(|(asked, _)| *asked) {
        Some((_, reason)) => Err(Error::invalid(*reason)),
        None => Ok(()),
    }
}

/// The user namespace for one run of a container.
pub(super) fn open(engine: &Engine, record: &Record) -> Result<Option<Users>> {
    let config = engine.config();
    // The engine may have been told of user namespaces after the container was made.
    check(&config, &record.host)?;
    let Some(remap) = remap(&config, &record.host) else { return Ok(None) };
    let joined = spec::joined_users(engine, record)?;
    let Some((first, others)) = joined.split_first() else { return own(&remap.maps).map(Some) };
    let namespace = join(first, &remap.maps)?;
    for path in others {
        let other = namespace::open(path).and_then(|other| namespace::same(&namespace, other));
        if !other.map_err(|error| Error::failed("cannot join a user namespace", error))? {
            return Err(Error::invalid(
                "cannot join namespaces of several containers, which have a user namespace each: \
                 let those share their namespaces with each other, or run all of them with --userns=host",
            ));
        }
    }
    Ok(Some(Users { namespace, maps: remap.maps.clone() }))
}

fn own(maps: &IdMaps) -> Result<Users> {
    let made = namespace::user_with_maps(&maps.users, &maps.groups);
    let namespace = made.map_err(|error| {
        Error::failed(
            "cannot make a user namespace (does /proc/sys/user/max_user_namespaces allow one?)",
            error,
        )
    })?;
    Ok(Users { namespace, maps: maps.clone() })
}

/// That of a container whose other namespaces are joined: they belong to it.
fn join(path: &Path, maps: &IdMaps) -> Result<OwnedFd> {
    let failed = |error| Error::failed("cannot join a user namespace", error);
    let namespace = namespace::open(path).map_err(failed)?;
    let theirs = match process_of(path) {
        Some(pid) => IdMaps::of(pid).map_err(failed)?,
        None => IdMaps::default(),
    };
    if theirs == *maps {
        return Ok(namespace);
    }
    Err(Error::invalid(
        "cannot join the namespaces of a container with another user namespace: \
         run both containers with --userns=host, or neither",
    ))
}

/// `/proc/<pid>/ns/user`
fn process_of(path: &Path) -> Option<i32> {
    path.strip_prefix("/proc").ok()?.iter().next()?.to_str()?.parse().ok()
}

/// Whether this machine can do what `--userns-remap` asks for, with files where ours are.
pub(crate) fn probe(config: &Config, paths: &Paths) -> Result<()> {
    let Some(remap) = &config.remap else { return Ok(()) };
    let users = own(&remap.maps)?;
    // Any two directories that lie where layers do.
    let lowers = [paths.containers(), paths.volumes()];
    let overlay = Overlay { lowers: &lowers, upper: None, volatile: false, extra: &image::OVERLAY_OPTIONS };
    mount::overlay_mapped(&overlay, users.mapping()).map(drop).map_err(|error| {
        let root = paths.data_root().display();
        Error::failed(
            format!(
                "--userns-remap needs overlays of id-mapped mounts, which Linux has since 5.19 on file systems like \
                 ext4, xfs and btrfs: cannot mount {root} so"
            ),
            error,
        )
    })
}

/// Ids as the container in which this process runs sees them; none where they are the host's.
pub(super) fn of_process(pid: i32) -> Result<Option<IdMaps>> {
    let maps = IdMaps::of(pid).map_err(|error| Error::failed("cannot look into the container", error))?;
    Ok(Some(maps).filter(|maps| !maps.is_identity()))
}

/// The paths of the user namespaces that namespaces at these paths belong to, each once.
pub(crate) fn beside<'p>(paths: impl Iterator<Item = &'p PathBuf>) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = paths.map(|path| path.with_file_name("user")).collect();
    all.sort();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remapped() -> Config {
        let mut config = Config::new("/data", "/exec");
        config.remap = Some(Remap { user: "dockremap".into(), maps: IdMaps::default() });
        config
    }

    #[test]
    fn what_the_host_shares_is_refused_in_dockers_words() {
        let config = remapped();
        let refused = |change: fn(&mut HostConfig)| {
            let mut host = HostConfig { runtime: "runc".into(), ..HostConfig::default() };
            change(&mut host);
            let message = check(&config, &host).unwrap_err().message().to_owned();
            host.userns_mode = "host".into();
            check(&config, &host).unwrap();
            message
        };
        assert_eq!(
            refused(|host| host.privileged = true),
            "privileged mode is incompatible with user namespaces.  You must run the container in the host namespace \
             when running privileged mode"
        );
        assert_eq!(
            refused(|host| host.network_mode = "host".into()),
            "cannot share the host's network namespace when user namespaces are enabled"
        );
        assert_eq!(
            refused(|host| host.pid_mode = "host".into()),
            "cannot share the host PID namespace when user namespaces are enabled"
        );
        assert!(refused(|host| host.ipc_mode = "host".into()).contains("IPC"));
        assert!(refused(|host| host.runtime = "/bin/other".into()).contains("other runtimes"));
    }

    #[test]
    fn without_the_option_all_of_it_goes() {
        let config = Config::new("/data", "/exec");
        let host = HostConfig { privileged: true, pid_mode: "host".into(), ..HostConfig::default() };
        check(&config, &host).unwrap();
        assert!(remap(&config, &host).is_none());
        let odd = HostConfig { userns_mode: "other".into(), ..HostConfig::default() };
        assert_eq!(check(&config, &odd).unwrap_err().message(), "invalid USER mode: other");
    }

    #[test]
    fn owners_of_namespaces_are_found_beside_them() {
        let paths: Vec<PathBuf> =
            ["/proc/7/ns/net", "/proc/7/ns/pid", "/proc/8/ns/ipc"].map(Into::into).into();
        let found = beside(paths.iter());
        assert_eq!(found, [Path::new("/proc/7/ns/user"), Path::new("/proc/8/ns/user")]);
        assert_eq!(process_of(&found[1]), Some(8));
    }
}
