//! A container's processes are written to files, to be restored from them: see `restore.rs`.
//!
//! CRIU walks through the container by itself; what it cannot know is which of the container's mounts, devices and
//! namespaces come from outside. Those are named here, and given again under the same names when the container is
//! restored. A mount is called by the place that the configuration has for it.

use std::fs::{self, File};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use linux::cgroup::Layout;
use linux::entry::{self, Kind as FileKind};
use linux::path::Root;
use linux::{Errno, namespace};
use oci::runtime::{Namespace, NamespaceKind, Spec};

use crate::criu::message::{self, Features, Kind, Options};
use crate::criu::{self, Session};
use crate::inside::devices;
use crate::plan::{MountKind, Plan};
use crate::{Container, Error, Result, error::Step};

pub use crate::criu::message::CgroupMode;

/// In the directory of images: what the first three descriptors were, as JSON.
pub(crate) const DESCRIPTORS: &str = "descriptors.json";

/// What masked files are called, since one file covers them all.
pub(crate) const MASK: &str = "/dev/null";

/// CRIU's own configuration, where no annotation names another.
const CONFIG_FILE: &str = "/etc/criu/runc.conf";
const CONFIG_ANNOTATION: &str = "org.criu.config";

/// What a checkpoint and a restore are both told.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Directory of the image files.
    pub images: PathBuf,
    /// Directory of logs and the like; by default that of the images.
    pub work: Option<PathBuf>,
    pub tcp_established: bool,
    pub external_unix_sockets: bool,
    pub shell_job: bool,
    pub file_locks: bool,
    pub auto_dedup: bool,
    pub lazy_pages: bool,
    pub cgroups: CgroupMode,
}

/// How a container is to be dumped.
#[derive(Debug, Default)]
pub struct Checkpoint {
    pub settings: Settings,
    /// Images of an earlier dump, relative to this one's.
    pub parent: Option<String>,
    pub leave_running: bool,
    pub tcp_skip_in_flight: bool,
    pub link_remap: bool,
    /// Memory alone, while the container goes on.
    pub pre_dump: bool,
    pub page_server: Option<(String, u16)>,
    /// Gets a zero byte when lazy pages can be asked for.
    pub status: Option<OwnedFd>,
    /// What the first three descriptors were when the container was made.
    pub streams: Vec<String>,
}

/// Directories that CRIU gets descriptors of.
pub(crate) struct Directories {
    pub(crate) images: File,
    pub(crate) work: Option<File>,
    /// Where its log will be.
    pub(crate) log: PathBuf,
}

impl Directories {
    pub(crate) fn open(settings: &Settings, log: &str) -> Result<Directories> {
        let open =
            |path: &Path| File::open(path).map_err(|error| Error::of_file("open", path.display(), &error));
        let work = settings.work.as_deref();
        if let Some(work) = work {
            make_private(work)?;
        }
        Ok(Directories {
            images: open(&settings.images)?,
            work: work.map(open).transpose()?,
            log: work.unwrap_or(&settings.images).join(log),
        })
    }

    pub(crate) fn name(&self, options: &mut Options) {
        options.images = self.images.as_raw_fd();
        options.work = self.work.as_ref().map(AsRawFd::as_raw_fd);
    }
}

/// With the memory of processes in it, nobody else may look into it.
pub(crate) fn make_private(directory: &Path) -> Result<()> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.map_err(|error| Error::of_file("mkdir", directory.display(), &error))
}

impl Settings {
    pub(crate) fn options(&self, spec: &Spec, log_file: &'static str) -> Options {
        let config_file = match spec.annotations.get(CONFIG_ANNOTATION) {
            Some(path) => Some(path.clone()).filter(|path| !path.is_empty()),
            None => Some(CONFIG_FILE.to_owned()),
        };
        Options {
            log_file,
            tcp_established: self.tcp_established,
            external_unix_sockets: self.external_unix_sockets,
            shell_job: self.shell_job,
            file_locks: self.file_locks,
            auto_dedup: self.auto_dedup,
            lazy_pages: self.lazy_pages,
            cgroups: self.cgroups,
            // Interfaces and their addresses are somebody else's to make again.
            empty_namespaces: namespace::NETWORK,
            config_file,
            ..Options::default()
        }
    }
}

impl Container {
    /// Writes the container to files. It has ended afterwards unless it is left running.
    pub fn checkpoint(&self, spec: &Spec, rootfs: &Path, mut wanted: Checkpoint) -> Result<()> {
        const LOG: &str = "dump.log";
        criu::check_version()?;
        make_private(&wanted.settings.images)?;
        let directories = Directories::open(&wanted.settings, LOG)?;
        let mut options = wanted.settings.options(spec, LOG);
        directories.name(&mut options);
        options.pid = Some(self.pid());
        options.root = rootfs.display().to_string();
        options.leave_running = wanted.leave_running;
        options.tcp_skip_in_flight = wanted.tcp_skip_in_flight;
        options.link_remap = wanted.link_remap;
        options.page_server = wanted.page_server.take();
        options.parent = wanted.parent.take();
        options.external = external_namespaces(spec)?;
        options.freeze_cgroup = self.freezer();
        let kind = if wanted.pre_dump { Kind::PreDump } else { Kind::Dump };
        let needed = Features { memory_tracking: wanted.pre_dump, lazy_pages: options.lazy_pages };
        if needed != Features::default() {
            criu::check_features(needed)?;
        }
        if !wanted.pre_dump {
            options.mounts = self.outer_mounts(spec, rootfs)?;
            let json = serde_json::to_vec(&wanted.streams).map_err(Error::other)?;
            let path = wanted.settings.images.join(DESCRIPTORS);
            fs::write(&path, json).map_err(|error| Error::of_file("open", path.display(), &error))?;
        }
        let mut status = wanted.status.take();
        dump(kind, &options, &mut status).map_err(|error| criu::with_log(error, &directories.log))
    }

    fn freezer(&self) -> Option<String> {
        let directory = self.cgroup().legacy("freezer").or(self.cgroup().unified())?;
        Some(directory.display().to_string())
    }

    /// Mounts that come from outside: where they are, and what they are called.
    fn outer_mounts(&self, spec: &Spec, rootfs: &Path) -> Result<Vec<(String, String)>> {
        let root = linux::procfs::root_of(self.pid()).step(|| "container root")?;
        let root = Root::from_directory(root);
        let mut plan = Plan::of_existing(spec)?;
        plan.resolve_paths(&self.bundle, Some(rootfs));
        let mut mounts = Vec::new();
        for name in names(&plan)? {
            mounts.extend(place_of(&root, &name)?.map(|place| (place, name.display().to_string())));
        }
        for path in &plan.masked {
            let Ok(found) = root.resolve(path) else { continue };
            let found = entry::metadata_of(&found).step(|| "masked path")?;
            if found.kind != FileKind::Directory {
                mounts.extend(place_of(&root, path)?.map(|place| (place, MASK.to_owned())));
            }
        }
        Ok(mounts)
    }
}

/// The names of mounts from outside, but for those of masks.
pub(crate) fn names(plan: &Plan) -> Result<Vec<PathBuf>> {
    let mut names = Vec::new();
    for mount in &plan.mounts {
        let name = Path::new("/").join(crate::plan::clean(&mount.destination));
        match mount.kind {
            MountKind::Bind { .. } => names.push(name),
            MountKind::Cgroup => names.extend(cgroup_binds(plan)?.iter().map(|(below, _)| name.join(below))),
            MountKind::Remount | MountKind::FileSystem(_) => {}
        }
    }
    if plan.fills_dev {
        names.extend(devices::paths(plan));
    }
    Ok(names)
}

/// Without a cgroup namespace on v1, the container's view is made of binds: names below the mount, and a controller of
/// each.
pub(crate) fn cgroup_binds(plan: &Plan) -> Result<Vec<(PathBuf, String)>> {
    let layout = Layout::detect().step(|| "cgroup mounts")?;
    if layout.is_unified() || plan.namespaces.is_new(namespace::CGROUP) {
        return Ok(Vec::new());
    }
    let bind = |tree: &linux::cgroup::Tree| {
        Some((PathBuf::from(tree.mounted.file_name()?), tree.controllers.first()?.clone()))
    };
    Ok(layout.legacy.iter().filter_map(bind).collect())
}

/// Where in the container a path leads. A mount that was covered or taken away since has no place.
fn place_of(root: &Root, path: &Path) -> Result<Option<String>> {
    match root.resolve(path) {
        Ok(found) => Ok(Some(linux::path::of(&found).display().to_string())),
        Err(error) if error.is(Errno::NOENT) || error.is(Errno::NOTDIR) => Ok(None),
        Err(error) => Err(error).step(|| format!("mount {path:?}")),
    }
}

/// Namespaces that the configuration names by their path are others', and are not dumped.
fn external_namespaces(spec: &Spec) -> Result<Vec<String>> {
    let named = with_paths(spec).filter_map(|(namespace, path)| Some((external_name(namespace.kind)?, path)));
    named
        .map(|((name, key), path)| {
            let found = fs::metadata(path).map_err(|error| Error::of_file("stat", path.display(), &error))?;
            Ok(format!("{name}[{}]:{key}", found.ino()))
        })
        .collect()
}

pub(crate) fn with_paths(spec: &Spec) -> impl Iterator<Item = (&Namespace, &Path)> {
    let namespaces = spec.linux.iter().flat_map(|linux| &linux.namespaces);
    namespaces.filter_map(|namespace| {
        let path = namespace.path.as_deref().filter(|path| !path.as_os_str().is_empty())?;
        Some((namespace, path))
    })
}

/// CRIU's name for a kind of namespace that it takes from outside, and the key that it is found by.
pub(crate) fn external_name(kind: NamespaceKind) -> Option<(&'static str, &'static str)> {
    match kind {
        NamespaceKind::Network => Some(("net", "extRootNetNS")),
        NamespaceKind::Pid => Some(("pid", "extRootPidNS")),
        _ => None,
    }
}

fn dump(kind: Kind, options: &Options, status: &mut Option<OwnedFd>) -> Result<()> {
    let null = criu::null()?;
    let session = Session::start([null.as_fd(); 3], &[])?;
    let answer = session.ask(&message::with_options(kind, options), &mut |notify, _| {
        if notify.script == "status-ready"
            && let Some(status) = status.take()
        {
            linux::fd::write_all(&status, &[0]).step(|| "--status-fd")?;
        }
        Ok(())
    });
    let exit = session.finish()?;
    answer?;
    // After a dump of memory alone it waits for the next one, and ends for want of it.
    if exit.code() != 0 && kind != Kind::PreDump {
        return Err(Error::other(format_args!("criu failed: exit status {}", exit.code())));
    }
    Ok(())
}
