//! A container is put together again from what `checkpoint.rs` has written.
//!
//! ```text
//!   cgroup, limits ─▶ places for mounts ─▶ criu, in the cgroup and in a mount namespace of its own
//!                                             │ setup-namespaces:  network devices, hooks
//!                                             │ orphan-pts-master: the terminal
//!                                             │ post-restore:      there is a container again
//!                                             └ answer:            it runs, and is our child
//! ```
//!
//! CRIU wants the container's root to be a mount of the host's. It is one in the namespace that CRIU is started in, and
//! in no other: nothing has to be taken away afterwards, whoever is killed meanwhile. Id-mapped mounts, which CRIU would
//! make again without their maps, are made there too, for it to bind from.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use linux::mount::{self, Propagation};
use linux::path::Root;
use linux::process::{self, Clone, Cloned, Pid};
use linux::{namespace, signal};
use oci::runtime::{Spec, State, Status};

use crate::channel::{Channel, Report};
use crate::checkpoint::{self, DESCRIPTORS, Directories, MASK, Settings};
use crate::criu::message::{self, Kind, Notify, Options};
use crate::criu::{self, Session};
use crate::hooks::{self, Environment};
use crate::inside::{devices, mounts, rootfs as tree};
use crate::namespaces::Given;
use crate::place::{self, Placed};
use crate::plan::{Mount, MountKind, Plan};
use crate::{CgroupDriver, Container, Error, Result, error::Step, interfaces};

const LOG: &str = "restore.log";

/// Of the file that says what the streams were: three short names.
const MAX_DESCRIPTORS: u64 = 16 << 10;

/// What a container is made again from.
#[derive(Debug)]
pub struct Restore<'a> {
    pub id: &'a str,
    pub spec: &'a Spec,
    pub bundle: &'a Path,
    pub rootfs: &'a Path,
    /// A directory that CRIU finds nothing in: in its mount namespace, something else may be mounted there.
    pub scratch: &'a Path,
    pub settings: Settings,
    pub cgroup_driver: CgroupDriver,
    pub rootless: Option<bool>,
    /// For the module of the kernel that it names: `selinux:…` or `apparmor:…`.
    pub lsm_profile: Option<String>,
    pub lsm_mount_context: Option<String>,
}

/// A container that goes on.
#[derive(Debug)]
pub struct Restored {
    pub container: Container,
    /// The master of its terminal, if it has one.
    pub terminal: Option<OwnedFd>,
}

/// Restores a container as a child of the caller, who must have a single thread. `made` is called when the container is
/// there and does not run yet.
pub fn restore(wanted: &Restore<'_>, made: &mut dyn FnMut(&Container) -> Result<()>) -> Result<Restored> {
    criu::check_version()?;
    let mut plan = Plan::new(wanted.spec, Given::default())?;
    plan.resolve_paths(wanted.bundle, Some(wanted.rootfs));
    let mut placed = place::create(wanted.spec, wanted.id, wanted.cgroup_driver, wanted.rootless)?;
    let restored = placed
        .enter_class(plan.resource_class.as_ref(), wanted.id)
        .and_then(|()| restore_in(wanted, plan, &placed, made));
    match restored {
        Ok(restored) => {
            placed.anchor = None;
            Ok(restored)
        }
        Err(error) => {
            placed.undo();
            Err(error)
        }
    }
}

fn restore_in(
    wanted: &Restore<'_>,
    plan: Plan,
    placed: &Placed,
    made: &mut dyn FnMut(&Container) -> Result<()>,
) -> Result<Restored> {
    let mut options = wanted.settings.options(wanted.spec, LOG);
    options.root = wanted.rootfs.display().to_string();
    options.sibling = true;
    options.evasive_devices = true;
    options.lsm_profile = wanted.lsm_profile.clone();
    options.lsm_mount_context = wanted.lsm_mount_context.clone();
    options.mounts = outer_mounts(&plan, placed, wanted.scratch)?;
    let mut given = Vec::new();
    add_namespaces(wanted.spec, &mut options, &mut given)?;
    add_streams(&wanted.settings.images, &mut options)?;
    make_places(&plan, wanted.rootfs)?;

    let terminal = wanted.spec.process.as_ref().is_some_and(|process| process.terminal);
    let (session, directories) = start(wanted, &plan, terminal, &given)?;
    directories.name(&mut options);
    let mut progress = Progress { wanted, plan: Some(plan), placed, container: None, terminal: None, made };
    let restored = enter(&session, placed, &mut options).and_then(|()| {
        session.ask(&message::with_options(Kind::Restore, &options), &mut |notify, descriptors| {
            progress.notified(notify, descriptors)
        })
    });
    let ended = session.finish();
    let done = restored.and_then(|_| match ended?.code() {
        0 => progress.container.take().ok_or_else(|| Error::other("criu failed: nothing was restored")),
        code => Err(Error::other(format_args!("criu failed: exit status {code}"))),
    });
    match done {
        Ok(container) => Ok(Restored { container, terminal: progress.terminal }),
        Err(error) => {
            if let Some(container) = progress.container {
                let _dead_already = process::send_signal(container.pidfd(), signal::SIGKILL);
                let _reaped_elsewhere = process::wait(container.pid());
            }
            Err(criu::with_log(error, &directories.log))
        }
    }
}

/// What CRIU tells on its way, and what is done then.
struct Progress<'a> {
    wanted: &'a Restore<'a>,
    /// Until there is a container.
    plan: Option<Plan>,
    placed: &'a Placed,
    container: Option<Container>,
    terminal: Option<OwnedFd>,
    made: &'a mut dyn FnMut(&Container) -> Result<()>,
}

impl Progress<'_> {
    fn notified(&mut self, notify: &Notify, descriptors: Vec<OwnedFd>) -> Result<()> {
        match notify.script.as_str() {
            "setup-namespaces" => self.furnish(notify.pid),
            "orphan-pts-master" => {
                self.terminal = descriptors.into_iter().next();
                Ok(())
            }
            "post-restore" => self.take_over(notify.pid),
            _ => Ok(()),
        }
    }

    fn furnish(&self, pid: Pid) -> Result<()> {
        let Some(plan) = &self.plan else { return Ok(()) };
        if !plan.devices_of_network.is_empty() {
            let inside = namespace::open_of(pid, namespace::NETWORK).step(|| "network devices")?;
            interfaces::move_in(&plan.devices_of_network, inside.as_fd())?;
        }
        let state = State {
            oci_version: oci::runtime::VERSION.to_owned(),
            id: self.wanted.id.to_owned(),
            status: Status::Creating,
            pid: Some(pid),
            bundle: self.wanted.bundle.to_owned(),
            annotations: plan.annotations.clone(),
        };
        hooks::run("prestart", &plan.hooks.prestart, &state, Environment::Inherited)?;
        hooks::run("createRuntime", &plan.hooks.create_runtime, &state, Environment::Inherited)
    }

    fn take_over(&mut self, pid: Pid) -> Result<()> {
        let Some(plan) = self.plan.take() else { return Ok(()) };
        let (id, bundle) = (self.wanted.id.to_owned(), self.wanted.bundle.to_owned());
        let pidfd = process::open_pidfd(pid).step(|| "restored process")?;
        let mut container = Container::new(id, bundle, pid, pidfd, self.placed, plan)?;
        container.set_restored();
        let container = self.container.insert(container);
        (self.made)(container)
    }
}

/// Starts CRIU where the container's root is a mount. Its directories are opened there too: it mounts in them.
fn start(
    wanted: &Restore<'_>,
    plan: &Plan,
    terminal: bool,
    given: &[OwnedFd],
) -> Result<(Session, Directories)> {
    let null = criu::null()?;
    let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    let streams = match terminal {
        true => [null.as_fd(); 3],
        false => [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()],
    };
    let host = namespace::open(Path::new("/proc/self/ns/mnt")).step(|| "mount namespace")?;
    let directory = File::open(".").step(|| "current directory")?;
    namespace::unshare(namespace::MOUNT).step(|| "mount namespace")?;
    let started = bind_to_itself(wanted.rootfs)
        .step(|| format!("rootfs {:?}", wanted.rootfs))
        .and_then(|()| mount_mapped(plan, wanted.scratch))
        .and_then(|()| {
            let directories = Directories::open(&wanted.settings, LOG)?;
            Ok((Session::start(streams, given)?, directories))
        });
    namespace::enter(&host, namespace::MOUNT).step(|| "mount namespace")?;
    process::change_directory_to(&directory).step(|| "current directory")?;
    started
}

fn bind_to_itself(rootfs: &Path) -> linux::Result<()> {
    mount::set_propagation(Path::new("/"), Propagation::Slave, true)?;
    mount::attach_at(mount::clone_tree(None, rootfs, true)?, rootfs)
}

/// Sources with their id maps, each in its place.
fn mount_mapped(plan: &Plan, scratch: &Path) -> Result<()> {
    let mapped = plan.mounts.iter().enumerate().filter(|(_, mount)| mount.id_maps.is_some());
    for (at, (index, mount)) in mapped.enumerate() {
        if at == 0 {
            let empty = mount::new_fs("tmpfs", Some("tmpfs"), &["mode=700"], 0).step(|| "scratch")?;
            mount::attach_at(empty, scratch).step(|| "scratch")?;
        }
        let step = || mounts::describe(mount);
        let recursive = mount.kind == MountKind::Bind { recursive: true };
        let tree = mount::clone_tree(None, &mount.source, recursive).step(step)?;
        mounts::map_ids(&tree, plan, mount).step(step)?;
        let directory = linux::path::kind(&tree).step(step)? == linux::path::Kind::Directory;
        let root = Root::open(scratch).step(step)?;
        let place = tree::place(&root, Path::new(&index.to_string()), directory).step(step)?;
        mount::attach(&tree, &place).step(step)?;
    }
    Ok(())
}

/// Where CRIU finds the source of a bind.
fn source_of(mount: &Mount, index: usize, scratch: &Path) -> PathBuf {
    match mount.id_maps {
        Some(_) => scratch.join(index.to_string()),
        None => mount.source.clone(),
    }
}

/// Puts CRIU into the container's cgroup, below which it will make what it has saved of cgroups.
fn enter(session: &Session, placed: &Placed, options: &mut Options) -> Result<()> {
    placed.cgroup.add(session.pid()).step(|| "unable to apply cgroup configuration")?;
    if let Some(group) = &placed.group {
        group.add(session.pid())?;
    }
    let path = format!("/proc/{}/cgroup", session.pid());
    let text = fs::read_to_string(&path).map_err(|error| Error::of_file("open", &path, &error))?;
    for line in text.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let roots = controllers.split(',').map(|controller| (controller.to_owned(), path.to_owned()));
        options.cgroup_roots.extend(roots);
    }
    Ok(())
}

/// Mounts from outside by their names, and where they come from now.
fn outer_mounts(plan: &Plan, placed: &Placed, scratch: &Path) -> Result<Vec<(String, String)>> {
    let mut mounts: Vec<(PathBuf, PathBuf)> = Vec::new();
    for (index, mount) in plan.mounts.iter().enumerate() {
        let name = Path::new("/").join(crate::plan::clean(&mount.destination));
        match mount.kind {
            MountKind::Bind { .. } => mounts.push((name, source_of(mount, index, scratch))),
            MountKind::Cgroup => {
                for (below, controller) in checkpoint::cgroup_binds(plan)? {
                    let directory = placed.cgroup.legacy(&controller).map(Path::to_owned);
                    mounts.extend(directory.map(|directory| (name.join(below), directory)));
                }
            }
            MountKind::Remount | MountKind::FileSystem(_) => {}
        }
    }
    if plan.fills_dev {
        mounts.extend(devices::paths(plan).into_iter().map(|path| (path.clone(), path)));
    }
    if !plan.masked.is_empty() {
        mounts.push((PathBuf::from(MASK), PathBuf::from("/dev/null")));
    }
    Ok(mounts
        .into_iter()
        .map(|(name, from)| (name.display().to_string(), from.display().to_string()))
        .collect())
}

/// Namespaces that the configuration names by their paths are given to CRIU, or joined by it.
fn add_namespaces(spec: &Spec, options: &mut Options, given: &mut Vec<OwnedFd>) -> Result<()> {
    for (named, path) in checkpoint::with_paths(spec) {
        let opened = namespace::open(path).step(|| format!("namespace path {path:?}"))?;
        match (checkpoint::external_name(named.kind), namespace::kind(&opened).step(|| "namespace")?) {
            (Some((_, key)), _) => {
                options.inherited.push((key.to_owned(), 4 + given.len() as i32));
                given.push(opened);
            }
            (None, namespace::CGROUP) => {
                return Err(Error::invalid(format_args!(
                    "CRIU does not know how to join a cgroup namespace ({})",
                    path.display()
                )));
            }
            (None, kind) => options.joined.push((namespace::name(kind), path.display().to_string())),
        }
    }
    Ok(())
}

/// Pipes that were the container's streams become ours.
fn add_streams(images: &Path, options: &mut Options) -> Result<()> {
    let path = images.join(DESCRIPTORS);
    let mut json = Vec::new();
    File::open(&path)
        .and_then(|file| file.take(MAX_DESCRIPTORS).read_to_end(&mut json))
        .map_err(|error| Error::of_file("open", path.display(), &error))?;
    let names: Vec<String> = serde_json::from_slice(&json)
        .map_err(|error| Error::other(format_args!("{}: {error}", path.display())))?;
    let pipes = names.into_iter().zip(0..3).filter(|(name, _)| name.contains("pipe:"));
    options.inherited.extend(pipes);
    Ok(())
}

/// Makes the places of mounts that are missing in the root, as the start of the container did. In a process with mounts
/// of its own: places may lie in what is mounted before.
fn make_places(plan: &Plan, rootfs: &Path) -> Result<()> {
    let (ours, theirs) = Channel::pair()?;
    match (Clone { namespaces: namespace::MOUNT, ..Clone::default() }).start().step(|| "unable to clone")? {
        Cloned::Copy => {
            drop(ours);
            if let Err(error) = make_places_here(plan, rootfs) {
                theirs.failed(&error);
            }
            process::exit_now(0)
        }
        Cloned::Caller { pid, .. } => {
            drop(theirs);
            let report = ours.report();
            let _nothing_to_learn = process::wait(pid);
            match report? {
                Report::Failed(error) => Err(error),
                _ => Ok(()),
            }
        }
    }
}

fn make_places_here(plan: &Plan, rootfs: &Path) -> Result<()> {
    mount::set_propagation(Path::new("/"), Propagation::Slave, true).step(|| "root propagation")?;
    let root = Root::open(rootfs).step(|| format!("rootfs {rootfs:?}"))?;
    let clean = |path: &Path| crate::plan::clean(path);
    let tmpfs: Vec<PathBuf> = plan
        .mounts
        .iter()
        .filter(|mount| matches!(&mount.kind, MountKind::FileSystem(kind) if kind == "tmpfs"))
        .map(|mount| clean(&mount.destination))
        .collect();
    for mount in &plan.mounts {
        let place = clean(&mount.destination);
        // What lies in a tmpfs is in the images.
        if tmpfs.iter().any(|above| place != *above && place.starts_with(above)) {
            continue;
        }
        match mount.kind {
            MountKind::FileSystem(_) => drop(tree::place(&root, &mount.destination, true)?),
            MountKind::Bind { recursive } => {
                let source = mount::clone_tree(None, &mount.source, recursive).step(|| "bind source")?;
                let directory =
                    linux::path::kind(&source).step(|| "bind source")? == linux::path::Kind::Directory;
                let target = tree::place(&root, &mount.destination, directory)?;
                mount::attach(&source, &target).step(|| "bind")?;
            }
            MountKind::Cgroup | MountKind::Remount => {}
        }
    }
    Ok(())
}
