//! A container that exists: what can be asked of it and done to it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use linux::cgroup::{Cgroup, Doors};
use linux::process::{self, Pid};
use linux::{Errno, namespace, procfs, signal};
use oci::runtime::{Hooks, Resources, Spec, State, Status};

use crate::channel::Channel;
use crate::hooks::Environment;
use crate::place::Placed;
use crate::plan::{Confinement, Plan};
use crate::rdt::{self, Class, Group};
use crate::record::Record;
use crate::{
    Error, Kind, Result,
    error::{Step, plain},
    hooks, launch, resources, systemd,
};

/// A handle on a container.
///
/// It holds the mount namespace, so that the end of the first process can be reported at once, while the
/// namespace is taken apart when the handle is dropped.
#[derive(Debug)]
pub struct Container {
    pub(crate) id: String,
    pub(crate) bundle: PathBuf,
    pub(crate) pid: Pid,
    pub(crate) pidfd: OwnedFd,
    pub(crate) start_time: u64,
    pub(crate) cgroup: Cgroup,
    /// The unit that holds the cgroup, where systemd does.
    pub(crate) unit: Option<String>,
    /// Its place in the tree of resource classes, if it has one.
    pub(crate) group: Option<Group>,
    pub(crate) namespaces: u64,
    pub(crate) confinement: Confinement,
    pub(crate) annotations: std::collections::BTreeMap<String, String>,
    hooks: Hooks,
    pub(crate) restored: bool,
    /// For later processes, from the first of them on.
    pub(crate) doors: OnceLock<Doors>,
    /// Held, not used: see above.
    _mounts: Option<OwnedFd>,
    root: Option<OwnedFd>,
}

impl Container {
    pub(crate) fn new(
        id: String,
        bundle: PathBuf,
        pid: Pid,
        pidfd: OwnedFd,
        placed: &Placed,
        plan: Plan,
    ) -> Result<Container> {
        Ok(Container {
            id,
            bundle,
            pid,
            start_time: procfs::start_time(pid).step(|| "container process")?,
            pidfd,
            cgroup: placed.cgroup.clone(),
            unit: placed.unit.clone(),
            group: placed.group.clone(),
            namespaces: plan.namespaces.all(),
            confinement: plan.confinement,
            annotations: plan.annotations,
            hooks: plan.hooks,
            restored: false,
            doors: OnceLock::new(),
            _mounts: if_ours(namespace::open_of(pid, namespace::MOUNT)).step(|| "mount namespace")?,
            root: if_ours(procfs::root_of(pid)).step(|| "container root")?,
        })
    }

    /// From a record that another process left, and the configuration it was made from. Works for one that has
    /// ended too, to clean up after it.
    pub fn load(record: &Record, spec: &Spec) -> Result<Container> {
        let plan = Plan::of_existing(spec)?;
        let pidfd = process::open_pidfd(record.pid);
        let alive = pidfd.is_ok() && record.is_alive();
        let pidfd = match pidfd {
            Ok(pidfd) if alive => pidfd,
            // A descriptor that stands for nobody: signals to it say so.
            _ => linux::fd::pipe().step(|| "pipe")?.0,
        };
        let handle = |open: linux::Result<OwnedFd>| if alive { open.ok() } else { None };
        let mut container = Container {
            id: record.id.clone(),
            bundle: record.bundle.clone(),
            pid: record.pid,
            start_time: record.start_time,
            pidfd,
            cgroup: record.cgroup(),
            unit: record.unit.clone(),
            group: record.group.clone(),
            namespaces: plan.namespaces.all(),
            confinement: plan.confinement,
            annotations: plan.annotations,
            hooks: plan.hooks,
            restored: false,
            doors: OnceLock::new(),
            _mounts: handle(namespace::open_of(record.pid, namespace::MOUNT)),
            root: handle(procfs::root_of(record.pid)),
        };
        if record.restored {
            container.set_restored();
        }
        Ok(container)
    }

    /// CRIU restores processes into a time namespace, so that their clocks go on from where they were.
    pub(crate) fn set_restored(&mut self) {
        self.restored = true;
        let theirs = namespace::open_of(self.pid, namespace::TIME);
        let ours = namespace::open(Path::new("/proc/self/ns/time"));
        if let (Ok(theirs), Ok(ours)) = (theirs, ours)
            && namespace::same(&theirs, &ours).is_ok_and(|same| !same)
        {
            self.namespaces |= namespace::TIME;
        }
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Readable when the first process has ended.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    pub fn cgroup(&self) -> &Cgroup {
        &self.cgroup
    }

    /// The container's root directory, as a handle that outlives its processes.
    pub fn root(&self) -> Option<BorrowedFd<'_>> {
        self.root.as_ref().map(AsFd::as_fd)
    }

    /// What another process needs to find this container.
    pub fn record(&self) -> Record {
        Record::new(self)
    }

    /// Lets a process that waits at a socket execute its program.
    pub fn start_at(&self, socket: &Path) -> Result<()> {
        let connection = match linux::socket::connect_packets(socket) {
            Err(error) if error.is(Errno::NOENT) || error.is(Errno::CONNREFUSED) => {
                return Err(Error::new(Kind::WrongState, "cannot start a container that has stopped"));
            }
            other => other.step(|| "start socket")?,
        };
        launch::start_over(&Channel::from_socket(connection), self.pid)?;
        self.run_poststart()
    }

    pub(crate) fn run_poststart(&self) -> Result<()> {
        let state = self.state(Status::Running);
        hooks::run("poststart", &self.hooks.poststart, &state, Environment::Inherited).inspect_err(|_| {
            // As with every other hook: the container does not live on.
            let _gone = process::send_signal(self.pidfd(), signal::SIGKILL);
        })
    }

    /// The state document of the specification.
    pub fn state(&self, status: Status) -> State {
        State {
            oci_version: oci::runtime::VERSION.to_owned(),
            id: self.id.clone(),
            status,
            pid: (status != Status::Stopped).then_some(self.pid),
            bundle: self.bundle.clone(),
            annotations: self.annotations.clone(),
        }
    }

    /// A signal to the first process.
    pub fn signal(&self, number: i32) -> Result<()> {
        match process::send_signal(self.pidfd(), number) {
            Err(error) if error.is(Errno::SRCH) || error.is(Errno::BADF) => {
                Err(Error::new(Kind::WrongState, "container not running"))
            }
            Err(error) => Err(Error::other(format_args!("unable to signal init: {}", plain(&error)))),
            Ok(()) => Ok(()),
        }
    }

    /// A signal to every process. SIGKILL reaches those that are frozen or forking too.
    pub fn signal_all(&self, number: i32) -> Result<()> {
        if self.cgroup.is_nowhere() {
            // Without a cgroup nobody knows the others; those in a PID namespace of its own end with the first.
            return match self.signal(number) {
                Err(error) if error.kind() == Kind::WrongState => Ok(()),
                other => other,
            };
        }
        let sent =
            if number == signal::SIGKILL { self.cgroup.kill() } else { self.cgroup.signal_all(number) };
        sent.step(|| "unable to signal processes")
    }

    pub fn kill_all(&self) -> Result<()> {
        self.signal_all(signal::SIGKILL)
    }

    pub fn pause(&self) -> Result<()> {
        self.needs_cgroup("cannot toggle freezer")?;
        self.cgroup.freeze().step(|| "unable to freeze")
    }

    pub fn resume(&self) -> Result<()> {
        self.needs_cgroup("cannot toggle freezer")?;
        self.cgroup.thaw().step(|| "unable to thaw")
    }

    pub fn is_paused(&self) -> bool {
        self.cgroup.is_frozen().unwrap_or(false)
    }

    fn needs_cgroup(&self, what: &str) -> Result<()> {
        if self.cgroup.is_nowhere() {
            return Err(Error::other(format_args!("{what}: cgroups not configured for container")));
        }
        Ok(())
    }

    /// New limits. What is absent stays as it is.
    pub fn update(&self, new: &Resources) -> Result<()> {
        self.needs_cgroup("cannot set limits")?;
        // On v1 systemd denies all devices first and allows them one by one.
        let blinks = self.unit.is_some() && !self.cgroup.is_unified() && !new.devices.is_empty();
        let held = blinks && !self.is_paused();
        if held {
            self.pause()?;
        }
        let updated = self.update_now(new);
        if held {
            return updated.and(self.resume());
        }
        updated
    }

    fn update_now(&self, new: &Resources) -> Result<()> {
        let mut new = resources::completed(&self.cgroup, new);
        if self.unit.is_some() {
            new = resources::rounded(&new);
        }
        let new = &new;
        if let Some(unit) = &self.unit {
            // What is refused here systemd must not have done.
            resources::check(&self.cgroup, new)?;
            systemd::update(unit, self.cgroup.is_unified(), new)?;
        }
        resources::apply(&self.cgroup, new)?;
        if new.devices.is_empty() {
            return Ok(());
        }
        let rules = resources::device_rules(new)?;
        self.cgroup.set_devices(&rules).step(|| "unable to apply device rules")
    }

    /// Its shares of the last cache and of memory bandwidth, and what it has used of them. None without a class.
    pub fn shares(&self) -> Option<rdt::Stats> {
        self.group.as_ref().map(Group::stats)
    }

    /// New amounts of the last cache and of memory bandwidth, as lines of `schemata`. A container without a class gets
    /// one: then what was recorded of it has to be recorded again.
    pub fn update_class(&mut self, cache: Option<&str>, bandwidth: Option<&str>) -> Result<()> {
        let lines = rdt::amounts(cache, bandwidth)?;
        if let Some(group) = &self.group {
            return group.write_schemata(&lines);
        }
        let class = Class::of_its_own(&lines);
        let group = class.group(&rdt::root()?, &self.id);
        class.establish(&group)?;
        match group.add_all(|| self.processes()) {
            Ok(()) => self.group = Some(group),
            Err(error) => {
                // The first failure is the one to tell; whoever was moved falls back into the root's class.
                let _leftover = group.remove();
                return Err(error);
            }
        }
        Ok(())
    }

    /// All processes, as the host counts them.
    pub fn processes(&self) -> Result<Vec<Pid>> {
        self.needs_cgroup("unable to get all container pids")?;
        match self.cgroup.pids() {
            // A scope goes with its last process.
            Err(error) if error.is(Errno::NOENT) || error.is(Errno::NODEV) => Ok(Vec::new()),
            other => other.step(|| "unable to list processes"),
        }
    }

    /// Ends what is left of it: processes, cgroup; then the poststop hooks. Returns what went wrong with hooks:
    /// by the specification that is a warning, and nothing else changes.
    pub fn delete(self) -> Result<Vec<Error>> {
        let removed = self.remove_cgroup();
        let failed = hooks::run_all("poststop", &self.hooks.poststop, &self.state(Status::Stopped));
        removed.map(|()| failed)
    }

    pub(crate) fn remove_cgroup(&self) -> Result<()> {
        remove_cgroup(&self.cgroup, self.unit.as_deref(), self.group.as_ref())
    }
}

/// An ordinary user may not look into a process that waits to be started.
fn if_ours(opened: linux::Result<OwnedFd>) -> linux::Result<Option<OwnedFd>> {
    match opened {
        Err(error) if error.is(Errno::ACCESS) && linux::credentials::user() != 0 => Ok(None),
        other => other.map(Some),
    }
}

/// Kills what is in a cgroup and removes it, its unit and its class included. What is gone already is fine.
pub(crate) fn remove_cgroup(cgroup: &Cgroup, unit: Option<&str>, group: Option<&Group>) -> Result<()> {
    let mut failed = Ok(());
    if cgroup.exists() {
        failed = cgroup.kill().step(|| "unable to kill processes");
        let removed = cgroup.remove().step(|| "unable to remove cgroup");
        failed = failed.and(removed);
    }
    if let Some(unit) = unit {
        let stopped = systemd::stop(unit);
        failed = failed.and(stopped);
    }
    match group {
        Some(group) => failed.and(group.remove()),
        None => failed,
    }
}
