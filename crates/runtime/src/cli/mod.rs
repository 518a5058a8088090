//! Commands by name, options that all of them share, and how errors are told.
//!
//! An error goes to standard error, and to the log file where one is named: as `key=value` text or as JSON with
//! the keys that tools above read (`level`, `msg`, `time`). The program calls itself by the name it was called by,
//! so that it can stand in the place of another runtime.

mod arguments;
mod checkpoint;
mod console;
mod create;
mod events;
mod exec;
mod inherited;
mod log;
mod manage;
mod notify;
mod spans;
mod spec;
mod store;
mod update;

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use arguments::{Arguments, Command, Count, Flag, Order, Run};
use linux::process::Seal;
use log::{Log, answer};
use runtime::{CgroupDriver, Error, Result};
use store::Store;

/// What is used wrongly, and whatever else goes wrong.
const EXIT_ERROR: u8 = 1;
/// There is no such command.
const EXIT_UNKNOWN: u8 = 3;
/// `exec` ends with its program's status; an error of ours must not look like one of it.
const EXIT_OF_EXEC: u8 = 255;

#[rustfmt::skip]
const GLOBAL: &[Flag] = &[
    Flag::switch("debug", None, "tell each step of a start in the log"),
    Flag::value("log", None, "file to write the log to (default: standard error)"),
    Flag::value("log-format", None, "format of the log: text or json (default: \"text\")"),
    Flag::value("root", None, "directory for the state of containers, best on a tmpfs"),
    Flag::switch("spans", None, "tell on standard error where the time of the command went"),
    Flag::switch("systemd-cgroup", None, "let systemd make the cgroups; cgroupsPath is then slice:prefix:name"),
    Flag::value("rootless", None, "do without cgroups where they are not ours: true, false or auto (default: \"auto\")"),
    Flag::value("criu", None, "obsolete: criu is found by PATH"),
    Flag::switch("version", Some('v'), "print the version"),
];

/// What every command gets.
struct Context {
    /// As we were called.
    program: String,
    store: Store,
    cgroup_driver: CgroupDriver,
    log: Log,
    /// What `--rootless` says; without, it depends on who we are.
    rootless: Option<bool>,
    /// Where the root is not the usual one, it is expected to exist.
    root_given: bool,
}

const ID: &str = "<container-id>";

/// Most commands: one container, options anywhere.
const fn of_one(
    name: &'static str,
    summary: &'static str,
    flags: &'static [Flag],
    run: fn(&Context, &Arguments) -> Result<u8>,
) -> Command {
    let run = Run::Plain(run);
    Command { name, summary, operands: ID, count: Count::Exactly(1), flags, order: Order::Any, run }
}

/// The same, with descriptors of the caller's.
const fn inheriting(
    name: &'static str,
    summary: &'static str,
    flags: &'static [Flag],
    run: fn(&Context, &Arguments, Vec<OwnedFd>) -> Result<u8>,
) -> Command {
    let run = Run::Inheriting(run);
    Command { name, summary, operands: ID, count: Count::Exactly(1), flags, order: Order::Any, run }
}

const COMMANDS: &[Command] = &[
    inheriting(
        "checkpoint",
        "save a running container to files, by criu",
        checkpoint::CHECKPOINT,
        checkpoint::checkpoint,
    ),
    inheriting("create", "create a container", create::CREATE, create::create),
    of_one("delete", "delete any resources held by the container", manage::DELETE, manage::delete),
    of_one(
        "events",
        "display container events: memory running out, statistics",
        events::FLAGS,
        events::events,
    ),
    Command {
        operands: "<container-id> <command> [command options]  || -p process.json <container-id>",
        count: Count::AtLeast(1),
        order: Order::First,
        ..inheriting("exec", "execute new process inside the container", exec::FLAGS, exec::exec)
    },
    Command {
        operands: "",
        count: Count::Exactly(0),
        ..of_one("features", "show the enabled features", &[], spec::features)
    },
    Command {
        operands: "<container-id> [signal]",
        count: Count::Between(1, 2),
        ..of_one(
            "kill",
            "send a signal (SIGTERM) to the container's first process",
            manage::KILL,
            manage::kill,
        )
    },
    Command {
        operands: "",
        count: Count::Exactly(0),
        ..of_one("list", "list the containers of this root", manage::LIST, manage::list)
    },
    of_one("pause", "suspend all processes inside the container", &[], manage::pause),
    Command {
        operands: "<container-id> [ps options]",
        count: Count::AtLeast(1),
        order: Order::First,
        ..of_one("ps", "display the processes running inside a container", manage::PS, manage::ps)
    },
    of_one("restore", "restore a container from files", checkpoint::RESTORE, checkpoint::restore),
    of_one("resume", "resume all processes that have been paused", &[], manage::resume),
    inheriting("run", "create and run a container", create::RUN, create::run),
    Command {
        operands: "",
        count: Count::Exactly(0),
        ..of_one("spec", "create a new specification file", spec::SPEC, spec::spec)
    },
    of_one("start", "execute the program of a created container", &[], create::start),
    of_one("state", "output the state of a container", &[], manage::state),
    of_one("update", "update container resource constraints", update::FLAGS, update::update),
];

pub(crate) fn main(words: Vec<String>) -> ExitCode {
    let mut words = words.into_iter();
    let called = words.next().unwrap_or_default();
    let program = Path::new(&called).file_name().map_or(called.clone(), |name| name.to_string_lossy().into());
    let words: Vec<String> = words.collect();
    let (global, rest) = match Arguments::parse(GLOBAL, &words, Order::First) {
        Ok(parsed) => parsed,
        Err(error) => {
            let _status_tells = answer(format_args!("Incorrect Usage: {error}\n\n{}", help(&program)));
            return Log::plain().report(&error, EXIT_ERROR);
        }
    };
    if global.is_set("version") {
        let version = env!("CARGO_PKG_VERSION");
        let spec = oci::runtime::VERSION;
        return told(format!("{program} version {version}\ncommit: {version}\nspec: {spec}\n"));
    }
    let Some((name, rest)) = rest.split_first().filter(|(name, _)| !global.wants_help && *name != "help")
    else {
        return told(help(&program));
    };
    let command = COMMANDS.iter().find(|command| command.name == *name);
    let parsed = command.map(|command| (command, command.parse(&called, rest)));
    // Both before anything of ours is open: the first begins anew, and the second takes descriptors by their numbers.
    let sealed = seal(name, global.is_set("spans"));
    let inherited = match &parsed {
        Some((command, Ok(Some(arguments)))) => inherited::take(command, arguments),
        _ => Ok(Vec::new()),
    };
    let log = match Log::open(global.get("log"), global.get("log-format"), global.is_set("debug")) {
        Ok(log) => log,
        Err(error) => return Log::plain().report(&error, EXIT_ERROR),
    };
    let Some((command, parsed)) = parsed else {
        return log.report(&Error::invalid(format_args!("No help topic for '{name}'")), EXIT_UNKNOWN);
    };
    let arguments = match parsed {
        Ok(Some(arguments)) => arguments,
        Ok(None) => return told(command.help(&program)),
        Err(error) => {
            let _status_tells = answer(format_args!("Incorrect Usage.\n\n{}\n", command.help(&program)));
            return log.report(&error, EXIT_ERROR);
        }
    };
    let ready = sealed.and_then(|seal| inherited.map(|inherited| (seal, inherited)));
    run(program, &global, command, &arguments, log, ready)
}

fn told(text: String) -> ExitCode {
    match answer(text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => Log::plain().report(&error, EXIT_ERROR),
    }
}

fn run(
    program: String,
    global: &Arguments,
    command: &Command,
    arguments: &Arguments,
    log: Log,
    ready: Result<(Seal, Vec<OwnedFd>)>,
) -> ExitCode {
    let context = match context(program, global, log) {
        Ok(context) => context,
        Err((error, log)) => return log.report(&error, EXIT_ERROR),
    };
    let done = ready.and_then(|(seal, inherited)| {
        if global.given("criu").is_some() {
            context.log.warn("--criu is ignored: criu is found by PATH");
        }
        tell_of_seal(&context, command.name, seal);
        if global.is_set("spans") {
            spans::record()?;
        }
        match command.run {
            Run::Plain(run) => run(&context, arguments),
            Run::Inheriting(run) => run(&context, arguments, inherited),
        }
    });
    spans::tell();
    match (done, command.name) {
        (Ok(status), _) => ExitCode::from(status),
        (Err(error), "exec") => context.log.report(&error.at("exec failed"), EXIT_OF_EXEC),
        (Err(error), name @ ("create" | "run")) => {
            let failed = format!("{} {name} failed", context.program);
            context.log.report(&error.at(failed), EXIT_ERROR)
        }
        (Err(error), _) => context.log.report(&error, EXIT_ERROR),
    }
}

fn context(program: String, global: &Arguments, log: Log) -> std::result::Result<Context, (Error, Log)> {
    let rootless = match global.get("rootless") {
        None | Some("auto" | "") => None,
        Some("true") => Some(true),
        Some("false") => Some(false),
        Some(other) => {
            let message = format_args!("invalid value {other:?} for --rootless: true, false or auto");
            return Err((Error::invalid(message), log));
        }
    };
    let root_given = global.given("root").is_some();
    let root = global.given("root").map_or_else(default_root, PathBuf::from);
    let cgroup_driver =
        if global.is_set("systemd-cgroup") { CgroupDriver::Systemd } else { CgroupDriver::Cgroupfs };
    Ok(Context { program, store: Store::new(root), cgroup_driver, rootless, log, root_given })
}

/// Whether the command lets a container's processes begin.
fn begins(name: &str) -> bool {
    ["create", "run", "exec"].contains(&name)
}

/// Goes on from a copy of this program that no container can write to, where it lets containers begin.
fn seal(name: &str, spans: bool) -> Result<Seal> {
    if !begins(name) {
        return Ok(Seal::Other);
    }
    let executed = spans.then(linux::spans::processor_time);
    linux::process::seal_myself(|| executed.map(spans::note))
        .map_err(|error| Error::other(format_args!("sealing: {error}")))
}

fn tell_of_seal(context: &Context, name: &str, seal: Seal) {
    if seal == Seal::Overlay {
        context
            .log
            .debug(format_args!("{} exeseal: using overlayfs for sealed /proc/self/exe", context.program));
    }
    if begins(name) {
        context.log.debug(format_args!("{} exeseal: using /proc/self/exe clone", context.program));
    }
}

fn default_root() -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(directory) if !directory.is_empty() && linux::credentials::user() != 0 => {
            PathBuf::from(directory).join("wharf-runtime")
        }
        _ => PathBuf::from("/run/wharf-runtime"),
    }
}

fn help(program: &str) -> String {
    let mut text = format!(
        "NAME:\n   {program} - Open Container Initiative runtime\n\n\
         USAGE:\n   {program} [global options] command [command options] [arguments...]\n\nCOMMANDS:\n",
    );
    for command in COMMANDS {
        text.push_str(&format!("   {:<11} {}\n", command.name, command.summary));
    }
    text.push_str("\nGLOBAL OPTIONS:\n");
    text.push_str(&arguments::explain(GLOBAL));
    text
}
