//! The container's first process, from the clone to its program.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use linux::cgroup::Doors;
use linux::mount::NewFs;
use linux::path::Root;
use linux::procfs::Procfs;
use linux::pty::Size;
use linux::spans::mark;
use linux::{credentials, fd, namespace, process, signal};
use oci::runtime::{State, Status};

use super::console;
use super::execute::{self, Streams};
use super::rootfs::{Prepared, Source, Sources, Tree};
use crate::channel::Channel;
use crate::hooks::{self, Environment};
use crate::namespaces::{self, Namespaces};
use crate::plan::{MountKind, Plan};
use crate::program::Program;
use crate::{Error, Result, error::Step};

/// All that the process needs, laid out before the clone.
pub(crate) struct Init<'a> {
    pub(crate) id: &'a str,
    pub(crate) bundle: &'a Path,
    pub(crate) plan: &'a Plan,
    pub(crate) program: &'a Program,
    pub(crate) source: Source,
    /// Cloned by the runtime where the container has other rights than it.
    pub(crate) sources: Option<Sources>,
    pub(crate) streams: Wanted,
    pub(crate) preserved: Vec<OwnedFd>,
    pub(crate) doors: &'a Doors,
    pub(crate) gate: Gate,
    pub(crate) pivot: bool,
    /// An ordinary user writes the maps of our user namespace, for which he must own our files in procfs.
    pub(crate) mapped_by_user: bool,
    pub(crate) new_keyring: bool,
    pub(crate) die_with_parent: bool,
    /// Of the PID namespace that is entered late: one for each that the configuration mounts, and one for ourselves.
    pub(crate) procfs: Vec<OwnedFd>,
}

/// The streams that the program is to have.
pub(crate) enum Wanted {
    Terminal { size: Option<Size>, keeps_line_ends: bool },
    Descriptors([OwnedFd; 3]),
}

/// Where the word to start comes from.
pub(crate) enum Gate {
    /// On the channel.
    Channel,
    /// From whoever connects here.
    Listener(OwnedFd),
}

/// Until the program has its own.
pub(crate) const UMASK: u32 = 0o022;

/// What stops the start without there being anybody to tell.
enum Stop {
    Failed(Error),
    /// The runtime is gone.
    Abandoned,
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Failed(error)
    }
}

/// Becomes the container, or reports why not and ends.
pub(crate) fn run(init: Init<'_>, channel: Channel) -> ! {
    // Until a descriptor is marked otherwise, what comes later in this process is told here.
    let mut reporter = channel;
    match go(init, &mut reporter) {
        Err(Stop::Failed(error)) => reporter.failed(&error.met_in_container()),
        Err(Stop::Abandoned) | Ok(()) => {}
    }
    process::exit_now(1)
}

fn go(init: Init<'_>, channel: &mut Channel) -> std::result::Result<(), Stop> {
    prepare(&init, channel)?;
    let Init { plan, program, .. } = init;
    let rootfs = match &init.source {
        Source::Directory(path) => Some(path.clone()),
        Source::Mount(_) => None,
    };
    enter_namespaces(&init)?;
    if init.mapped_by_user {
        // Before, the user could not have written the maps. Nothing of the container has been executed yet.
        process::set_dumpable(false).step(|| "set dumpable")?;
    }
    let mut sources = init.sources;
    mark("session, keyring");
    let tree = Tree::attach(plan, init.source, &mut sources, channel)?;
    mark("root attached");
    let mut sources = sources.unwrap_or_default();
    let own_procfs = hand_out(plan, &mut sources, init.procfs);
    tree.furnish(plan, sources, rootfs.as_deref(), channel)?;
    mark("devices made");
    let streams = streams(&tree, init.streams)?;
    run_hooks(plan, channel, &tree.root, init.id, init.bundle)?;
    tree.make_directory(&program.directory)?;
    set_names_and_sysctls(plan, own_procfs)?;
    mark("names, sysctls, working directory");
    tree.protect(plan)?;
    let home = execute::home(&tree.root, program);
    mark("home looked up");
    tree.enter(plan.namespaces.mounts(), init.pivot)?;
    tree.propagate(plan)?;
    drop(tree);
    mark("pivot_root");
    if plan.namespaces.joined_pid.is_some() {
        be_born(&plan.namespaces, &streams, &init.preserved, &init.gate, channel)?;
    }

    let mut keep = vec![channel.as_fd()];
    if let Gate::Listener(listener) = &init.gate {
        keep.push(listener.as_fd());
    }
    let terminal = execute::set_streams(streams, init.preserved, program.identity.user, &keep)?;
    mark("streams put in place");
    let mut listener = execute::assume(program, &plan.confinement)?;
    if init.die_with_parent {
        process::set_death_signal(signal::SIGKILL).step(|| "death signal")?;
    }
    let asks = plan.confinement.seccomp_listener.is_some();
    if program.identity.no_new_privileges && asks {
        listener = execute::load_filter(&plan.confinement)?;
    }
    let path = execute::find(program)?;

    if matches!(init.gate, Gate::Listener(_)) {
        be_found(init.mapped_by_user)?;
    }
    let passed = terminal.iter().map(AsFd::as_fd).chain(listener.iter().map(AsFd::as_fd));
    mark("program found");
    channel.ready(&passed.collect::<Vec<_>>())?;
    if let Some(terminal) = terminal {
        terminal.let_go();
    }
    drop(listener);
    wait_at_gate(init.gate, channel)?;
    let hooks = &plan.hooks.start_container;
    let known = (!hooks.is_empty()).then(|| {
        (state(plan, init.id, init.bundle, Status::Created), execute::environment(program, home.as_ref()))
    });
    if program.identity.no_new_privileges && !asks {
        // As late as can be; but what the configuration lets run in the container is under its filter, too.
        execute::load_filter(&plan.confinement)?;
    }
    if let Some((state, env)) = known
        && let Err(error) = hooks::run("startContainer", hooks, &state, Environment::Program(&env))
    {
        execute::end_with(&error);
    }
    execute::execute(&path, program, home.as_ref())
}

/// Who waits for somebody to connect is met by others before its program runs.
fn be_found(mapped_by_user: bool) -> Result<()> {
    if mapped_by_user {
        // Whoever made it must find its namespaces, for a process beside one that still waits. Within them there are
        // only processes of the same user, and it holds nothing that they may not have.
        process::set_dumpable(true).step(|| "set dumpable")?;
    }
    // A first process gets no signal that it does not handle; one that waits has to end when it is asked to, which it
    // may be as soon as it is ready.
    signal::end_on(&[signal::SIGHUP, signal::SIGINT, signal::SIGQUIT, signal::SIGTERM]).step(|| "signals")
}

/// A clean process: no descriptors but those needed, no signals of the caller's, nobody looking in.
fn prepare(init: &Init<'_>, channel: &Channel) -> std::result::Result<(), Stop> {
    if !init.mapped_by_user {
        process::set_dumpable(false).step(|| "set dumpable")?;
    }
    signal::reset_all().step(|| "signals")?;
    process::set_umask(UMASK);
    let mut keep: Vec<BorrowedFd<'_>> = vec![channel.as_fd()];
    keep.extend(namespaces::descriptors(&init.plan.namespaces));
    keep.extend(init.source.descriptor());
    keep.extend(init.sources.iter().flatten().flatten().map(AsFd::as_fd));
    keep.extend(init.preserved.iter().chain(&init.procfs).map(AsFd::as_fd));
    keep.extend(init.doors.descriptors());
    if let Wanted::Descriptors(fds) = &init.streams {
        keep.extend(fds.iter().map(AsFd::as_fd));
    }
    if let Gate::Listener(listener) = &init.gate {
        keep.push(listener.as_fd());
    }
    fd::close_all_except(&keep).step(|| "descriptors")?;
    mark("signals, descriptors");
    init.doors.enter_legacy().step(|| "unable to join cgroup")?;
    mark("cgroups of v1 joined");
    // Whoever calls us may be bound to some CPUs: the container is not, but by its cgroup.
    process::reset_affinity();
    if let Some(pid) = init.plan.namespaces.promised_pid() {
        separate(&init.plan.namespaces, pid)?;
        channel.separate()?;
    }
    if init.plan.namespaces.is_new(namespace::USER) && !channel.wait_for_go()? {
        return Err(Stop::Abandoned);
    }
    Ok(())
}

/// What a clone does elsewhere, after a PID namespace was joined that the new user namespace has no rights over.
fn separate(namespaces: &Namespaces, pid: &OwnedFd) -> Result<()> {
    namespaces.enter_with_our_rights().step(|| "unable to join namespaces")?;
    namespace::enter(pid, namespace::PID).step(|| "unable to join pid namespace")?;
    namespace::unshare(namespaces.new & !namespaces::LATE).step(|| "user namespace")
}

fn enter_namespaces(init: &Init<'_>) -> Result<()> {
    let namespaces = &init.plan.namespaces;
    if namespaces.is_new(namespace::TIME) {
        namespace::unshare(namespace::TIME).step(|| "time namespace")?;
        if !namespaces.time_offsets.is_empty() {
            // While our ids are still those of the file's owner.
            let procfs = Procfs::host().step(|| "time namespace")?;
            procfs.write_own("timens_offsets", &namespaces.time_offsets).step(|| "time offsets")?;
        }
    }
    if namespaces.has_user() {
        become_root_inside(namespaces)?;
    }
    namespaces.enter()?;
    if namespaces.is_new(namespace::CGROUP) {
        // Only now: its root is where we are, and we have just moved.
        namespace::unshare(namespace::CGROUP).step(|| "cgroup namespace")?;
    }
    mark("late namespaces");
    if namespaces.is_new(namespace::NETWORK) {
        linux::socket::set_loopback_up().step(|| "loopback interface")?;
        mark("loopback set up");
    }
    process::new_session().step(|| "session")?;
    if init.new_keyring {
        init.program.identity.label_keys()?;
        match credentials::new_session_keyring(&format!("_ses.{}", init.id)) {
            // No keys in this kernel, or none allowed to us: there is none to share either.
            Err(error) if error.is(linux::Errno::NOSYS) || error.is(linux::Errno::PERM) => {}
            other => drop(other.step(|| "session keyring")?),
        }
    }
    Ok(())
}

/// Ids of the host mean nothing any more; everything that follows is done by the namespace's root, or where nobody is
/// its root, by the first whom it knows.
pub(crate) fn become_root_inside(ids: &Namespaces) -> Result<()> {
    match credentials::set_groups(&[]) {
        Err(error) if error.is(linux::Errno::PERM) => {}
        other => other.step(|| "user namespace groups")?,
    }
    credentials::set_group(namespaces::first_id(&ids.groups)).step(|| "user namespace root")?;
    credentials::set_user(namespaces::first_id(&ids.users)).step(|| "user namespace root")
}

/// The procfs that were opened for mounts go to those; what remains is for us.
fn hand_out(plan: &Plan, sources: &mut Sources, mut opened: Vec<OwnedFd>) -> Option<OwnedFd> {
    let own = opened.pop();
    for (mount, source) in plan.mounts.iter().zip(sources) {
        if is_procfs(&mount.kind) {
            *source = opened.pop().map(Prepared::Opened);
        }
    }
    own
}

pub(crate) fn is_procfs(kind: &MountKind) -> bool {
    matches!(kind, MountKind::FileSystem(kind) if kind == "proc")
}

/// The container is built. From here on it is a process that those of its PID namespace see, so it is a new one: born
/// among them with the container's root, and with nothing open that they may not have.
fn be_born(
    namespaces: &Namespaces,
    streams: &Streams,
    preserved: &[OwnedFd],
    gate: &Gate,
    channel: &Channel,
) -> std::result::Result<(), Stop> {
    const STEP: &str = "unable to join pid namespace";
    let late = namespaces.joined_pid.as_ref().filter(|_| namespaces.promised_pid().is_none());
    let mut keep = vec![channel.as_fd()];
    keep.extend(late.map(AsFd::as_fd));
    keep.extend(streams.each());
    keep.extend(preserved.iter().map(AsFd::as_fd));
    if let Streams::Terminal(terminal) = streams {
        keep.push(terminal.master.as_fd());
    }
    if let Gate::Listener(listener) = gate {
        keep.push(listener.as_fd());
    }
    fd::close_all_except(&keep).step(|| "descriptors")?;
    if let Some(namespace) = late {
        namespace::enter(namespace, namespace::PID).step(|| STEP)?;
    }
    if let Some(pid) = process::sibling().step(|| STEP)? {
        channel.born(pid)?;
        process::exit_now(0);
    }
    if !channel.wait_for_go()? {
        return Err(Stop::Abandoned);
    }
    Ok(process::new_session().step(|| "session")?)
}

fn streams(tree: &Tree, wanted: Wanted) -> Result<Streams> {
    match wanted {
        Wanted::Descriptors(fds) => Ok(Streams::Descriptors(fds)),
        Wanted::Terminal { size, keeps_line_ends } => {
            let terminal = console::open(&tree.root, size, keeps_line_ends)?;
            console::bind(&tree.root, &terminal)?;
            Ok(Streams::Terminal(terminal))
        }
    }
}

fn run_hooks(
    plan: &Plan,
    channel: &Channel,
    root: &Root,
    id: &str,
    bundle: &Path,
) -> std::result::Result<(), Stop> {
    let awaited = [&plan.hooks.prestart, &plan.hooks.create_runtime].iter().any(|hooks| !hooks.is_empty());
    if awaited || !plan.devices_of_network.is_empty() {
        channel.prepared()?;
        if !channel.wait_for_go()? {
            return Err(Stop::Abandoned);
        }
    }
    if plan.hooks.create_container.is_empty() {
        return Ok(());
    }
    if plan.namespaces.promised_pid().is_some() {
        // A child of ours would be born among others, with the host's root.
        channel.hooks(root.as_fd())?;
        return if channel.wait_for_go()? { Ok(()) } else { Err(Stop::Abandoned) };
    }
    // They are executed by their host's paths and find the container's root as their directory.
    process::change_directory_to(root).step(|| "container root")?;
    let state = state(plan, id, bundle, Status::Creating);
    hooks::run("createContainer", &plan.hooks.create_container, &state, Environment::Empty)?;
    Ok(())
}

/// As the hooks see it. The process that runs them here is the container's own.
fn state(plan: &Plan, id: &str, bundle: &Path, status: Status) -> State {
    State {
        oci_version: oci::runtime::VERSION.to_owned(),
        id: id.to_owned(),
        status,
        pid: Some(process::id()),
        bundle: PathBuf::from(bundle),
        annotations: plan.annotations.clone(),
    }
}

fn set_names_and_sysctls(plan: &Plan, opened: Option<OwnedFd>) -> Result<()> {
    if !plan.hostname.is_empty() {
        namespace::set_hostname(&plan.hostname).step(|| "hostname")?;
    }
    if !plan.domainname.is_empty() {
        namespace::set_domainname(&plan.domainname).step(|| "domainname")?;
    }
    if plan.sysctls.is_empty() {
        return Ok(());
    }
    let procfs = match opened {
        Some(context) => Procfs::of(NewFs::opened("proc", context)),
        None => Procfs::new(),
    };
    let procfs = procfs.step(|| "procfs of our own")?;
    for (path, value) in &plan.sysctls {
        procfs.write(&format!("sys/{path}"), value).step(|| format!("error setting sysctl {path:?}"))?;
    }
    Ok(())
}

fn wait_at_gate(gate: Gate, channel: &mut Channel) -> std::result::Result<(), Stop> {
    if let Gate::Listener(listener) = gate {
        let caller = linux::socket::accept(&listener).step(|| "start")?;
        // From here on whoever said start hears what goes wrong.
        *channel = Channel::from_socket(caller);
    }
    if channel.wait_for_go()? { Ok(()) } else { Err(Stop::Abandoned) }
}
