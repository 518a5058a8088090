//! `create`, `start`, `run`.

use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use linux::spans::mark;
use oci::runtime::{Spec, Status};
use runtime::{Container, Created, Error, Kind, Launch, Result, Rootfs, Size, Start, Stdio, Trace};

use super::arguments::{Arguments, Flag};
use super::manage::has_own_pids;
use super::notify::{self, Readiness};
use super::store::{Saved, read_spec};
use super::{Context, console, inherited, log};

#[rustfmt::skip]
pub(super) const CREATE: &[Flag] = &[
    Flag::value("bundle", Some('b'), "path to the root of the bundle directory, defaults to the current directory"),
    Flag::value("console-socket", None, "path to an AF_UNIX socket which will receive the container's terminal"),
    Flag::value("pidfd-socket", None, "path to an AF_UNIX socket which will receive a descriptor of the first process"),
    Flag::value("pid-file", None, "file to write the process id to"),
    Flag::switch("no-pivot", None, "do not use pivot_root, for a root on a ramdisk"),
    Flag::switch("no-new-keyring", None, "keep the caller's session keyring"),
    Flag::number("preserve-fds", None, "pass N additional file descriptors to the container (default: 0)"),
];

#[rustfmt::skip]
pub(super) const RUN: &[Flag] = &[
    CREATE[0], CREATE[1], CREATE[2], CREATE[3], CREATE[4], CREATE[5], CREATE[6],
    Flag::switch("detach", Some('d'), "detach from the container's process"),
    Flag::switch("keep", None, "do not delete the container after it exits"),
    Flag::switch("no-subreaper", None, "do not become the parent of what the container leaves behind"),
];

/// What the caller of `make` decides, which its flags do not.
struct Beginning<'a> {
    start: Start<'a>,
    detached: bool,
    /// What the program inherits of our caller.
    preserved: Vec<OwnedFd>,
}

pub(super) fn create(context: &Context, arguments: &Arguments, preserved: Vec<OwnedFd>) -> Result<u8> {
    let socket = context.store.start_socket(arguments.id()?);
    let beginning = Beginning { start: Start::BySocket(&socket), detached: true, preserved };
    let created = make(context, arguments, beginning)?;
    created.leave_waiting();
    Ok(0)
}

pub(super) fn start(context: &Context, arguments: &Arguments) -> Result<u8> {
    let id = arguments.id()?;
    let found = context.store.find(id)?;
    mark("container found");
    // One at a time: the others find it running.
    let directory = context.store.directory(id);
    let locked = std::fs::File::open(&directory).and_then(|file| file.lock().map(|()| file));
    let _lock = locked.map_err(|error| Error::of_file("lock", directory.display(), &error))?;
    match context.store.status(&found.saved.record) {
        Status::Created => {}
        Status::Stopped => return Err(wrong("cannot start a container that has stopped")),
        Status::Paused => return Err(wrong("cannot start a container in the paused state")),
        _ => return Err(wrong("cannot start an already running container")),
    }
    let readiness = Readiness::listen(&directory)?;
    let socket = context.store.start_socket(id);
    found.container.start_at(&socket)?;
    std::fs::remove_file(&socket).map_err(|error| Error::of_file("unlink", socket.display(), &error))?;
    if let Some(readiness) = readiness {
        tell_of(context, readiness.follow(&found.container));
    }
    Ok(0)
}

fn wrong(message: &str) -> Error {
    Error::new(Kind::WrongState, message)
}

/// A supervisor that was not reached leaves the container as it is.
fn tell_of(context: &Context, told: Result<()>) {
    if let Err(error) = told {
        context.log.warn(error);
    }
}

pub(super) fn run(context: &Context, arguments: &Arguments, preserved: Vec<OwnedFd>) -> Result<u8> {
    let id = arguments.id()?.to_owned();
    let detached = arguments.is_set("detach");
    if !detached && !arguments.is_set("no-subreaper") {
        linux::process::set_subreaper(true).map_err(Error::other)?;
    }
    let signals = if detached { None } else { Some(console::signals()?) };
    let mut created = make(context, arguments, Beginning { start: Start::ByHandle, detached, preserved })?;
    let terminal = created.take_terminal();
    let mut readiness = Readiness::listen(&context.store.directory(&id)).unwrap_or_else(|error| {
        context.log.warn(error);
        None
    });
    let container = match created.start() {
        Ok(container) => container,
        Err(error) => {
            context.store.forget(&id)?;
            return Err(error);
        }
    };
    let Some(signals) = signals else {
        if let Some(readiness) = readiness {
            tell_of(context, readiness.follow(&container));
        }
        return Ok(0);
    };
    console::attend(container.pidfd(), terminal, &signals, readiness.as_mut())?;
    if let Some(readiness) = readiness {
        tell_of(context, readiness.settle());
    }
    let exit = linux::process::wait(container.pid()).map_err(Error::other)?;
    mark("waited for the program's end");
    if !arguments.is_set("keep") {
        remove(context, container)?;
    }
    Ok(exit.code() as u8)
}

/// What is left of a container that has ended. Hooks that fail at the end are told of and hold up nothing.
pub(super) fn remove(context: &Context, container: Container) -> Result<()> {
    let id = container.id().to_owned();
    let failures = container.delete()?;
    mark("cgroup removed");
    for failed in failures {
        context.log.warn(format_args!("unable to destroy container: {failed}"));
    }
    context.store.forget(&id)?;
    mark("state removed");
    Ok(())
}

/// The container with its directory; nothing is left when it fails.
fn make(context: &Context, arguments: &Arguments, beginning: Beginning<'_>) -> Result<Created> {
    let id = arguments.id()?;
    let bundle = bundle(arguments)?;
    let (mut spec, config) = read_spec(&bundle)?;
    mark("configuration read");
    check_console(&spec, arguments, beginning.detached)?;
    if let (activated @ 1.., Some(process)) = (inherited::activated(), &mut spec.process) {
        process.env.push(format!("LISTEN_FDS={activated}"));
        process.env.push("LISTEN_PID=1".to_owned());
    }
    warn_of_capabilities(context, spec.process.as_ref());
    if let Some(resources) = spec.linux.as_ref().and_then(|linux| linux.resources.as_ref()) {
        warn_of_limits(context, resources);
    }
    context.store.claim(id, &config)?;
    mark("state directory made");
    let made = notify::prepare(&context.store.directory(id), &mut spec)
        .and_then(|()| make_claimed(context, arguments, beginning, &spec, &bundle));
    if made.is_err() {
        context.store.forget(id)?;
    }
    made
}

pub(super) fn bundle(arguments: &Arguments) -> Result<PathBuf> {
    let path = PathBuf::from(arguments.given("bundle").unwrap_or("."));
    std::fs::canonicalize(&path).map_err(|error| Error::of_file("chdir", path.display(), &error))
}

/// Capabilities that cannot be given are left out, as the specification asks, and told of.
pub(super) fn warn_of_capabilities(context: &Context, process: Option<&oci::runtime::Process>) {
    let Some(named) = process.and_then(|process| process.capabilities.as_ref()) else { return };
    let unknown = runtime::unknown_capabilities(named);
    if !unknown.is_empty() {
        let list = unknown.join(" ");
        context.log.warn(format_args!("ignoring unknown or unavailable capabilities: [{list}]"));
    }
    for name in runtime::unreachable_ambient(named) {
        let message = format_args!("can't raise ambient capability {name}: operation not permitted");
        context.log.warn(message);
    }
}

/// Limits that nothing keeps are told of.
pub(super) fn warn_of_limits(context: &Context, resources: &oci::runtime::Resources) {
    for (name, why) in runtime::obsolete(resources) {
        context.log.warn(format_args!("ignoring linux.resources.{name}: {why}"));
    }
}

pub(super) fn check_console(spec: &Spec, arguments: &Arguments, detached: bool) -> Result<()> {
    let terminal = spec.process.as_ref().is_some_and(|process| process.terminal);
    let socket = arguments.given("console-socket").is_some();
    match (terminal && detached, socket) {
        (true, false) => {
            Err(Error::invalid("cannot allocate tty if runc will detach without setting console socket"))
        }
        (false, true) => {
            Err(Error::invalid("cannot use console socket if runc will not detach or allocate tty"))
        }
        _ => Ok(()),
    }
}

fn make_claimed(
    context: &Context,
    arguments: &Arguments,
    beginning: Beginning<'_>,
    spec: &Spec,
    bundle: &Path,
) -> Result<Created> {
    let id = arguments.id()?;
    let root = spec.root.as_ref().ok_or_else(|| Error::invalid("root must be specified"))?;
    let rootfs = bundle.join(&root.path);
    let process = spec.process.as_ref();
    let attended = arguments.given("console-socket").is_none();
    let stdio =
        stdio(process.is_some_and(|process| process.terminal), process.and_then(console_size), attended)?;
    let mut launch = Launch::new(id, spec, bundle, Rootfs::Directory(rootfs.clone()), stdio);
    launch.cgroup_driver = context.cgroup_driver;
    launch.rootless = context.rootless;
    let trace = |step: std::fmt::Arguments<'_>| context.log.debug(step);
    launch.trace = Trace::to(&trace);
    launch.start = beginning.start;
    launch.preserved = beginning.preserved;
    launch.pivot = !arguments.is_set("no-pivot");
    launch.keyring = !arguments.is_set("no-new-keyring");
    let created = runtime::create(launch)?;
    if created.container().cgroup().is_nowhere() && !has_own_pids(spec) {
        context.log.warn(
            "the container has neither a cgroup nor a PID namespace of its own. Such configuration is strongly \
             discouraged: nobody can find and end all of its processes",
        );
    }
    match announce(context, arguments, &created, rootfs, stream_names(spec)) {
        Ok(()) => {
            mark("state written");
            Ok(created)
        }
        Err(error) => {
            created.abandon();
            Err(error)
        }
    }
}

/// State file, terminal, pid file: in that order, so that whoever sees the last finds the first.
fn announce(
    context: &Context,
    arguments: &Arguments,
    created: &Created,
    rootfs: PathBuf,
    streams: Vec<String>,
) -> Result<()> {
    let record = created.container().record();
    context.store.save(&Saved { record, created: log::now(), rootfs, owner: owner(), streams })?;
    if let (Some(path), Some(terminal)) = (arguments.given("console-socket"), created.terminal()) {
        console::send(path, "/dev/ptmx", terminal)?;
    }
    if let Some(path) = arguments.given("pidfd-socket") {
        console::send(path, "pidfd", created.pidfd())?;
    }
    write_pid_file(arguments.get("pid-file"), created.pid())
}

/// What our own streams are, where they are the container's as well: a checkpoint knows pipes again by that.
pub(super) fn stream_names(spec: &Spec) -> Vec<String> {
    if spec.process.as_ref().is_some_and(|process| process.terminal) {
        return Vec::new();
    }
    let name = |number: i32| std::fs::read_link(format!("/proc/self/fd/{number}")).unwrap_or_default();
    (0..3).map(|number| name(number).display().to_string()).collect()
}

/// Who makes the container: a name, or a number where there is none.
pub(super) fn owner() -> String {
    let user = linux::credentials::user();
    if user == 0 {
        return "root".to_owned();
    }
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let fields = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let number = user.to_string();
    let own = fields.into_iter().find(|fields| fields.get(2) == Some(&number.as_str()));
    own.map_or(format!("#{number}"), |fields| fields[0].to_owned())
}

/// Appears whole: readers poll for it.
pub(super) fn write_pid_file(path: Option<&str>, pid: i32) -> Result<()> {
    let Some(path) = path.filter(|path| !path.is_empty()) else { return Ok(()) };
    let target = Path::new(path);
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let new = target.with_file_name(format!(".{name}"));
    // What was left there by one who was killed; and a link that somebody put there must not be followed.
    let _none_usually = std::fs::remove_file(&new);
    std::fs::File::create_new(&new)
        .and_then(|mut file| file.write_all(pid.to_string().as_bytes()))
        .map_err(|error| Error::of_file("open", new.display(), &error))?;
    std::fs::rename(&new, target).map_err(|error| Error::of_file("rename", path, &error))
}

pub(super) fn console_size(process: &oci::runtime::Process) -> Option<Size> {
    let size = process.console_size?;
    Some(Size {
        rows: u16::try_from(size.height).unwrap_or(u16::MAX),
        columns: u16::try_from(size.width).unwrap_or(u16::MAX),
    })
}

/// A terminal, or our own streams.
pub(super) fn stdio(terminal: bool, size: Option<Size>, attended: bool) -> Result<Stdio> {
    if terminal {
        // Our own terminal, or whoever reads us, is to see what the program wrote.
        return Ok(Stdio::Terminal { size, keeps_line_ends: attended });
    }
    let own =
        |stream: std::os::fd::BorrowedFd<'_>| linux::fd::duplicate_from(stream, 3).map_err(Error::other);
    Ok(Stdio::Descriptors {
        stdin: own(std::io::stdin().as_fd())?,
        stdout: own(std::io::stdout().as_fd())?,
        stderr: own(std::io::stderr().as_fd())?,
    })
}
