//! The start of a container, as the runtime sees it.
//!
//! ```text
//!   plan (pure) ─▶ cgroup and limits ─▶ clone ─▶ id maps ─▶ hooks ─▶ resource limits ─▶ Created
//! ```
//!
//! What was made is undone when a later step fails: the process is killed and reaped, the cgroup removed.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use linux::cgroup::{Cgroup, Doors};
use linux::namespace::IdRange;
use linux::process::{self, Clone, Cloned, Pid};
use linux::spans::mark;
use linux::{Errno, namespace, procfs, signal};
use oci::runtime::{Spec, State, Status};

use crate::channel::{Channel, Report};
use crate::container::Container;
use crate::hooks::Environment;
use crate::inside::init::{self, Gate, Init, Wanted};
use crate::inside::rootfs::{self, Source};
use crate::inside::{mounts, opener};
use crate::namespaces::{self, Given, Mounts, Namespaces};
use crate::place::Placed;
use crate::plan::{Listener, Plan};
use crate::program::Program;
use crate::{
    CgroupDriver, Error, Kind, Result, Size, Trace, ahead, error::Step, hooks, idmap, interfaces, place,
};

/// A container to make.
#[derive(Debug)]
pub struct Launch<'a> {
    pub id: &'a str,
    pub spec: &'a Spec,
    /// Paths of the configuration that are relative start here; hooks are told of it.
    pub bundle: &'a Path,
    pub rootfs: Rootfs,
    pub stdio: Stdio,
    /// Instead of the network namespace that the configuration names.
    pub netns: Option<BorrowedFd<'a>>,
    /// Instead of the user namespace that the configuration asks for. Its mappings must be those of this one.
    pub userns: Option<BorrowedFd<'a>>,
    pub cgroup_driver: CgroupDriver,
    /// The first process is killed when the calling thread dies.
    pub die_with_parent: bool,
    pub start: Start<'a>,
    /// Passed to the program as descriptors from 3 up.
    pub preserved: Vec<OwnedFd>,
    /// Without, the container's root is entered by chroot: only where pivot_root is impossible.
    pub pivot: bool,
    /// A session keyring of its own.
    pub keyring: bool,
    /// Whether cgroups that are not ours to make may be done without; by default, where we are not the machine's
    /// root.
    pub rootless: Option<bool>,
    pub trace: Trace<'a>,
}

impl<'a> Launch<'a> {
    pub fn new(id: &'a str, spec: &'a Spec, bundle: &'a Path, rootfs: Rootfs, stdio: Stdio) -> Launch<'a> {
        Launch {
            id,
            spec,
            bundle,
            rootfs,
            stdio,
            netns: None,
            userns: None,
            cgroup_driver: CgroupDriver::default(),
            die_with_parent: false,
            start: Start::ByHandle,
            preserved: Vec::new(),
            pivot: true,
            keyring: true,
            rootless: None,
            trace: Trace::default(),
        }
    }
}

/// Where `/` comes from.
#[derive(Debug)]
pub enum Rootfs {
    Directory(PathBuf),
    /// A detached mount, which is attached in the container's mount namespace alone.
    Mount(OwnedFd),
}

/// What the first process has as its standard streams.
#[derive(Debug)]
pub enum Stdio {
    /// A terminal of the container's own; its master is handed out.
    Terminal {
        size: Option<Size>,
        /// What the program writes passes as it is: without, a terminal makes two characters of the end of a line.
        keeps_line_ends: bool,
    },
    Descriptors {
        stdin: OwnedFd,
        stdout: OwnedFd,
        stderr: OwnedFd,
    },
}

impl Stdio {
    pub(crate) fn wanted(self) -> Wanted {
        match self {
            Stdio::Terminal { size, keeps_line_ends } => Wanted::Terminal { size, keeps_line_ends },
            Stdio::Descriptors { stdin, stdout, stderr } => Wanted::Descriptors([stdin, stdout, stderr]),
        }
    }
}

/// How the word to start reaches the waiting process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start<'a> {
    /// By [`Created::start`]. If the caller dies before, so does the process.
    ByHandle,
    /// By whoever calls [`Container::start_at`] with this path. The process waits for as long as it takes.
    BySocket(&'a Path),
}

/// A container whose program has not been executed yet.
#[derive(Debug)]
pub struct Created {
    container: Container,
    channel: Channel,
    terminal: Option<OwnedFd>,
}

impl Created {
    pub fn pid(&self) -> Pid {
        self.container.pid()
    }

    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.container.pidfd()
    }

    /// The terminal's master.
    pub fn terminal(&self) -> Option<BorrowedFd<'_>> {
        self.terminal.as_ref().map(AsFd::as_fd)
    }

    /// The terminal's master, to keep.
    pub fn take_terminal(&mut self) -> Option<OwnedFd> {
        self.terminal.take()
    }

    pub fn container(&self) -> &Container {
        &self.container
    }

    /// Executes the program. On failure the process is reaped, and the cgroup is left to
    /// [`Container::delete`] of a record, or removed here when this was the only handle.
    pub fn start(self) -> Result<Container> {
        let Created { container, channel, .. } = self;
        match start_over(&channel, container.pid()).and_then(|()| container.run_poststart()) {
            Ok(()) => Ok(container),
            Err(error) => {
                abort(container);
                Err(error)
            }
        }
    }

    /// For a start by socket: the handle, the process goes on waiting.
    pub fn leave_waiting(self) -> Container {
        self.container
    }

    /// Gives up: kills and reaps the process, removes the cgroup.
    pub fn abandon(self) {
        abort(self.container);
    }
}

/// Says start, and waits until the program runs.
pub(crate) fn start_over(channel: &Channel, pid: Pid) -> Result<()> {
    channel.go()?;
    let report = channel.report_of(pid)?;
    mark("waited for the execution");
    match report {
        Report::Closed => Ok(()),
        Report::Failed(error) => Err(error),
        _ => Err(Error::other("channel: unexpected message at the start")),
    }
}

/// Makes everything but the execution of the program.
pub fn create(launch: Launch<'_>) -> Result<Created> {
    let prefix = |error: Error| error.prefixed_if_own("unable to start container process");
    let mut plan = Plan::new(launch.spec, Given { network: launch.netns, user: launch.userns })?;
    let rootfs = match &launch.rootfs {
        Rootfs::Directory(path) => Some(launch.bundle.join(path)),
        Rootfs::Mount(_) => None,
    };
    plan.resolve_paths(launch.bundle, rootfs.as_deref());
    let process =
        launch.spec.process.as_ref().ok_or_else(|| Error::invalid("process property must not be empty"))?;
    let mut program = Program::new(process)?;
    program.terminal_given = matches!(launch.stdio, Stdio::Terminal { .. });
    program.sets_own_limits = !program.identity.is_root() && !plan.namespaces.has_user();
    check_mapped(program.identity.user, &plan.namespaces)?;
    let trace = launch.trace;
    mark("plan made");
    let (spec, id, bundle) = (launch.spec, launch.id, launch.bundle);
    let created = place::create(spec, id, launch.cgroup_driver, launch.rootless).and_then(|mut placed| {
        trace.step(format_args!("cgroup: {:?}", placed.cgroup.paths()));
        let created = match placed.enter_class(plan.resource_class.as_ref(), id) {
            Ok(()) => create_in(launch, plan, &program, &placed),
            Err(error) => Err(error),
        };
        created.inspect_err(|_| placed.undo())
    });
    created.map_err(|error| {
        hooks::see_off(spec, id, bundle);
        prefix(error)
    })
}

/// Whether the container knows its user, where its ids are its own.
fn check_mapped(user: u32, namespaces: &Namespaces) -> Result<()> {
    let known = |range: &IdRange| user.checked_sub(range.inside).is_some_and(|offset| offset < range.count);
    if namespaces.users.is_empty() || namespaces.users.iter().any(known) {
        return Ok(());
    }
    let message =
        format_args!("unable to setup user: cannot setuid to unmapped uid {user} in user namespace");
    Err(Error::other(message).met_in_container().at("unable to start container process"))
}

fn create_in(launch: Launch<'_>, plan: Plan, program: &Program, placed: &Placed) -> Result<Created> {
    let cgroup = &placed.cgroup;
    let doors = cgroup.doors().step(|| "unable to apply cgroup configuration")?;
    let (id, bundle, trace) = (launch.id.to_owned(), launch.bundle.to_owned(), launch.trace);
    let (ours, theirs) = Channel::pair()?;
    let init = prepare(launch, &plan, program, &doors)?;
    mark("sources, cgroup's doors opened");
    if let Some(filter) = &plan.confinement.seccomp {
        trace.step(format_args!("seccomp filter flags: {}", filter.flags.bits()));
    }
    trace.step(format_args!("nsexec started"));
    trace.step(format_args!("=> nsexec container setup"));
    let mut first = match clone(&plan, &doors)? {
        Cloned::Copy => {
            drop(ours);
            mark("born");
            init::run(init, theirs)
        }
        Cloned::Caller { pid, pidfd } => First { pid, pidfd },
    };
    let Init { source, .. } = init;
    drop(theirs);
    mark("process cloned");
    trace.step(format_args!("child process in init(): {}", first.pid));
    let guide =
        Guide { id: &id, bundle: &bundle, plan: &plan, program, placed, source: &source, channel: &ours };
    let guided = guide.lead(&mut first);
    drop(source);
    let made = guided.and_then(|terminal| {
        let own = linux::fd::duplicate(&first.pidfd).step(|| "pidfd")?;
        Ok((terminal, Container::new(id, bundle, first.pid, own, placed, plan)?))
    });
    let end = if made.is_ok() { "closing the pipe to signal completion" } else { "failed" };
    trace.step(format_args!("init: {end}"));
    match made {
        Ok((terminal, container)) => Ok(Created { container, channel: ours, terminal }),
        Err(error) => {
            kill_and_reap(first.pid, first.pidfd.as_fd());
            Err(blame_memory(error, cgroup))
        }
    }
}

/// The process that is the container's first, or builds it for that one.
struct First {
    pid: Pid,
    pidfd: OwnedFd,
}

impl First {
    /// What was built is another one's now. Both are our children.
    fn succeeded_by(&mut self, pid: Pid) -> Result<()> {
        let pidfd = process::open_pidfd(pid).step(|| "container process")?;
        let builder = std::mem::replace(self, First { pid, pidfd });
        process::wait(builder.pid).map(drop).step(|| "container process")
    }
}

fn prepare<'a>(
    launch: Launch<'a>,
    plan: &'a Plan,
    program: &'a Program,
    doors: &'a Doors,
) -> Result<Init<'a>> {
    let mounts = plan.namespaces.mounts();
    let source = match launch.rootfs {
        // Found when the namespace is entered.
        Rootfs::Directory(path) if mounts == Mounts::Joined => Source::Directory(launch.bundle.join(path)),
        Rootfs::Directory(path) => {
            let whole = launch.bundle.join(path);
            let found = std::fs::canonicalize(&whole).step(|| format!("rootfs {whole:?}"))?;
            if !found.is_dir() {
                return Err(Error::invalid(format_args!("rootfs {found:?} is not a directory")));
            }
            Source::Directory(found)
        }
        Rootfs::Mount(mount) => Source::Mount(mount),
    };
    // An ordinary user has more rights in the container's namespaces than here.
    let lacks_rights = plan.namespaces.has_user() && linux::credentials::user() == 0;
    let by_us =
        mounts != Mounts::Joined && (lacks_rights || plan.mounts.iter().any(|mount| mount.id_maps.is_some()));
    let directory = match &source {
        Source::Directory(path) => Some(path.as_path()),
        Source::Mount(_) => None,
    };
    let sources = match by_us {
        // It is the container's mounts that fail, whoever prepares them.
        true => Some(rootfs::clone_host_sources(plan, directory).map_err(Error::met_in_container)?),
        false => None,
    };
    let gate = match launch.start {
        Start::ByHandle => Gate::Channel,
        Start::BySocket(path) => Gate::Listener(linux::socket::listen_packets(path).step(|| "start socket")?),
    };
    let procfs = match &plan.namespaces.joined_pid {
        // A user namespace that is new may not mount their procfs, whoever opened it.
        Some(inside) if plan.namespaces.promised_pid().is_none() => {
            let count = plan.mounts.iter().filter(|mount| init::is_procfs(&mount.kind)).count() + 1;
            opener::open(&plan.namespaces, inside, count)?
        }
        _ => Vec::new(),
    };
    Ok(Init {
        id: launch.id,
        bundle: launch.bundle,
        plan,
        program,
        source,
        sources,
        streams: launch.stdio.wanted(),
        preserved: launch.preserved,
        doors,
        gate,
        pivot: launch.pivot,
        mapped_by_user: plan.namespaces.is_new(namespace::USER) && linux::credentials::user() != 0,
        procfs,
        new_keyring: launch.keyring,
        die_with_parent: launch.die_with_parent,
    })
}

fn clone(plan: &Plan, doors: &Doors) -> Result<Cloned> {
    let namespaces = &plan.namespaces;
    if namespaces.promised_pid().is_some() {
        let cgroup = doors.birthplace();
        return Clone { cgroup, ..Clone::default() }.start().step(|| "unable to clone");
    }
    let join = |_: BorrowedFd<'_>| {
        namespaces.enter_with_our_rights()?;
        match &namespaces.joined_user {
            Some(user) => namespace::enter(user, namespace::USER),
            None => Ok(()),
        }
    };
    let joins = namespaces.joined_user.is_some()
        || (namespaces.is_new(namespace::USER) && !namespaces.joined.is_empty());
    let request = Clone {
        namespaces: namespaces.new & !namespaces::LATE,
        cgroup: doors.birthplace(),
        before: joins.then_some(&join),
        ..Clone::default()
    };
    request.start().step(|| "unable to clone")
}

/// What brings the first process to its gate.
struct Guide<'a> {
    id: &'a str,
    bundle: &'a Path,
    plan: &'a Plan,
    program: &'a Program,
    placed: &'a Placed,
    source: &'a Source,
    channel: &'a Channel,
}

impl Guide<'_> {
    /// Answers what the process asks for until it waits. Returns the terminal's master if it has one.
    fn lead(&self, first: &mut First) -> Result<Option<OwnedFd>> {
        let Guide { plan, channel, .. } = self;
        self.mark(first.pid)?;
        if plan.namespaces.is_new(namespace::USER) && plan.namespaces.promised_pid().is_none() {
            self.map_ids(first.pid)?;
        }
        mark("ids mapped, score set");
        ahead::read(self.source, self.program);
        mark("program read ahead");
        let mut state = self.state(first.pid);
        loop {
            match channel.report_of(first.pid)? {
                Report::Prepared => {
                    self.complete(first.pid, &state)?;
                    channel.go()?;
                }
                Report::Maps(index, tree) => {
                    let mount =
                        plan.mounts.get(index).ok_or_else(|| Error::other("channel: no such mount"))?;
                    mounts::map_ids(&tree, plan, mount)
                        .step(|| mounts::describe(mount))
                        .map_err(Error::met_in_container)?;
                    channel.go()?;
                }
                Report::Separate => self.map_ids(first.pid)?,
                Report::Hooks(root) => {
                    run_create_container(plan, &self.placed.cgroup, first, &root, &state)?;
                    channel.go()?;
                }
                Report::Born(pid) => {
                    first.succeeded_by(pid)?;
                    // Its builder may have been faster than we were.
                    self.mark(pid)?;
                    state.pid = Some(pid);
                    channel.go()?;
                }
                Report::Ready(descriptors) => {
                    mark("waited for the container");
                    let listener = plan.confinement.seccomp_listener.as_ref();
                    return settle(self.program, listener, descriptors, first.pid, &state);
                }
                Report::Failed(error) => return Err(error),
                Report::Closed => {
                    return Err(Error::other("the container's first process died before it was ready"));
                }
            }
        }
    }

    /// What others than the process itself have to set of it.
    fn mark(&self, pid: Pid) -> Result<()> {
        self.placed.group.as_ref().map_or(Ok(()), |group| group.add(pid))?;
        self.program.oom_score.map_or(Ok(()), |score| set_oom_score(pid, score)).step(|| "oom_score_adj")
    }

    fn map_ids(&self, pid: Pid) -> Result<()> {
        idmap::write(pid, &self.plan.namespaces.users, &self.plan.namespaces.groups)?;
        self.channel.go()
    }

    fn state(&self, pid: Pid) -> State {
        State {
            oci_version: oci::runtime::VERSION.to_owned(),
            id: self.id.to_owned(),
            status: Status::Creating,
            pid: Some(pid),
            bundle: self.bundle.to_owned(),
            annotations: self.plan.annotations.clone(),
        }
    }

    /// Namespaces stand: the host's side is added to them.
    fn complete(&self, pid: Pid, state: &State) -> Result<()> {
        let devices = &self.plan.devices_of_network;
        if !devices.is_empty() {
            let inside = namespace::open_of(pid, namespace::NETWORK).step(|| "network devices")?;
            interfaces::move_in(devices, inside.as_fd())?;
        }
        let hooks = &self.plan.hooks;
        hooks::run("prestart", &hooks.prestart, state, Environment::Inherited)
            .and_then(|()| hooks::run("createRuntime", &hooks.create_runtime, state, Environment::Inherited))
            .map_err(Error::met_in_container)
    }
}

/// Runs hooks where the builder would, its cgroup and session included, but for its PID namespace: that of its children
/// is not for these.
fn run_create_container(
    plan: &Plan,
    cgroup: &Cgroup,
    builder: &First,
    root: &OwnedFd,
    state: &State,
) -> Result<()> {
    const NAME: &str = "createContainer";
    let doors = cgroup.doors().step(|| NAME)?;
    let (ours, theirs) = Channel::pair()?;
    let inside = plan.namespaces.all() & !namespace::PID;
    let enter = |_: BorrowedFd<'_>| {
        doors.enter_legacy()?;
        process::set_umask(init::UMASK);
        process::reset_affinity();
        process::new_session()?;
        namespace::enter(&builder.pidfd, inside)
    };
    let request = Clone { cgroup: doors.birthplace(), before: Some(&enter), ..Clone::default() };
    let pid = match request.start().step(|| NAME)? {
        Cloned::Copy => {
            let ran = init::become_root_inside(&plan.namespaces)
                .and_then(|()| process::change_directory_to(root).step(|| "container root"))
                .and_then(|()| hooks::run(NAME, &plan.hooks.create_container, state, Environment::Empty));
            if let Err(error) = ran {
                theirs.failed(&error.met_in_container());
            }
            process::exit_now(0)
        }
        Cloned::Caller { pid, .. } => pid,
    };
    drop(theirs);
    let report = ours.report();
    process::wait(pid).map(drop).step(|| NAME)?;
    match report? {
        Report::Failed(error) => Err(error),
        _ => Ok(()),
    }
}

/// What needs our rights and must come late: limits that would hinder the set-up, and handing the listener on.
pub(crate) fn settle(
    program: &Program,
    listener: Option<&Listener>,
    descriptors: Vec<OwnedFd>,
    pid: Pid,
    state: &State,
) -> Result<Option<OwnedFd>> {
    for (resource, limit) in program.limits.iter().filter(|_| !program.sets_own_limits) {
        process::set_limit_of(pid, *resource, *limit).step(|| "error setting rlimits for ready process")?;
    }
    let mut descriptors = descriptors.into_iter();
    let terminal = if program.terminal_given { descriptors.next() } else { None };
    if let (Some(listener), Some(descriptor)) = (listener, descriptors.next()) {
        hand_over(listener, &descriptor, state).step(|| "seccomp listener")?;
    }
    Ok(terminal)
}

/// The container process state of the specification, with the listener.
fn hand_over(listener: &Listener, descriptor: &OwnedFd, state: &State) -> Result<()> {
    let message = serde_json::json!({
        "ociVersion": oci::runtime::VERSION,
        "fds": ["seccompFd"],
        "pid": state.pid,
        "metadata": listener.metadata,
        "state": state,
    });
    let socket = std::os::unix::net::UnixStream::connect(&listener.path).step(|| {
        format!("failed to connect with seccomp agent specified in the seccomp profile: {:?}", listener.path)
    })?;
    linux::fd::send_all(&socket, message.to_string().as_bytes(), &[descriptor.as_fd()]).step(|| "send")
}

/// A process that may not lower its score may keep it.
pub(crate) fn set_oom_score(pid: Pid, score: i32) -> linux::Result<()> {
    let path = format!("{pid}/oom_score_adj");
    let procfs = procfs::Procfs::host()?;
    let written = procfs.write(&path, &score.to_string());
    if let Err(error) = &written
        && (error.is(Errno::ACCESS) || error.is(Errno::PERM))
        && procfs.read(&path).is_ok_and(|now| now.trim() == score.to_string())
    {
        return Ok(());
    }
    written
}

/// Nothing of a failed start is left: the process is killed and reaped, the cgroup emptied and removed, the hooks told.
fn abort(container: Container) {
    kill_and_reap(container.pid(), container.pidfd());
    // The failure that led here is the one to tell.
    let _leftover = container.delete();
}

/// A process that vanished in a cgroup with a limit most likely did not fit into it.
fn blame_memory(error: Error, cgroup: &Cgroup) -> Error {
    match cgroup.oom_kills() {
        Ok(count) if count > 0 => Error::other("container init was OOM-killed (memory limit too low?)"),
        _ => error,
    }
}

fn kill_and_reap(pid: Pid, pidfd: BorrowedFd<'_>) {
    let _dead_already = process::send_signal(pidfd, signal::SIGKILL);
    let _reaped_elsewhere = process::wait(pid);
}

impl Error {
    /// Errors of the configuration and of the program's name speak for themselves.
    fn prefixed_if_own(self, step: &str) -> Error {
        match self.kind() {
            Kind::Invalid | Kind::NoContainer | Kind::WrongState => self,
            _ => self.at(step),
        }
    }
}
