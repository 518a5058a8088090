//! Commands by name, options that all of them share, and how errors are told.
//!
//! An error goes to standard error, and to the log file where one is named: as `key=value` text or as JSON with
//! the keys that tools above read (`level`, `msg`, `time`).

mod arguments;
mod console;
mod create;
mod events;
mod exec;
mod log;
mod manage;
mod spec;
mod store;
mod update;

use std::path::PathBuf;
use std::process::ExitCode;

use arguments::{Arguments, Flag};
use runtime::{CgroupDriver, Error, Result};
use store::Store;

/// `exec` and `run` end with their program's status; an error of ours must not look like one of it.
const EXIT_OF_START: u8 = 255;

const GLOBAL: &[Flag] = &[
    Flag::switch("debug", None),
    Flag::value("log", None),
    Flag::value("log-format", None),
    Flag::value("root", None),
    Flag::switch("systemd-cgroup", None),
    Flag::value("rootless", None),
    Flag::value("criu", None),
    Flag::switch("version", Some('v')),
    Flag::switch("help", Some('h')),
];

/// What every command gets.
struct Context {
    store: Store,
    cgroup_driver: CgroupDriver,
}

type Command = fn(&Context, Vec<String>) -> Result<u8>;

const COMMANDS: &[(&str, &str, Command)] = &[
    ("create", "create a container", create::create),
    ("delete", "delete any resources held by the container", manage::delete),
    ("events", "display container events such as OOM notifications and statistics", events::events),
    ("exec", "execute new process inside the container", exec::exec),
    ("features", "show the enabled features", spec::features),
    ("kill", "send a signal to the container's init process", manage::kill),
    ("list", "list containers started with the given root", manage::list),
    ("pause", "suspend all processes inside the container", manage::pause),
    ("ps", "display the processes running inside a container", manage::ps),
    ("resume", "resume all processes that have been previously paused", manage::resume),
    ("run", "create and run a container", create::run),
    ("spec", "create a new specification file", spec::spec),
    ("start", "execute the user defined process in a created container", create::start),
    ("state", "output the state of a container", manage::state),
    ("update", "update container resource constraints", update::update),
    ("checkpoint", "not available: containers cannot be checkpointed", refuse_checkpoint),
    ("restore", "not available: containers cannot be restored", refuse_checkpoint),
];

pub(crate) fn main(args: Vec<String>) -> ExitCode {
    let (global, rest) = match Arguments::parse_until_command(GLOBAL, &args) {
        Ok(parsed) => parsed,
        Err(error) => return log::Log::plain().report(&error, 1),
    };
    if global.is_set("version") {
        println!("wharf-runtime version {}\nspec: {}", env!("CARGO_PKG_VERSION"), oci::runtime::VERSION);
        return ExitCode::SUCCESS;
    }
    let Some((name, rest)) = rest.split_first().filter(|_| !global.is_set("help")) else {
        print!("{}", help());
        return ExitCode::SUCCESS;
    };
    let log = match log::Log::open(global.get("log"), global.get("log-format"), global.is_set("debug")) {
        Ok(log) => log,
        Err(error) => return log::Log::plain().report(&error, 1),
    };
    let exit = if ["exec", "run", "start"].contains(&name.as_str()) { EXIT_OF_START } else { 1 };
    match dispatch(&global, name, rest.to_vec()) {
        Ok(status) => ExitCode::from(status),
        Err(error) => log.report(&error, exit),
    }
}

fn dispatch(global: &Arguments, name: &str, rest: Vec<String>) -> Result<u8> {
    let Some((_, _, command)) = COMMANDS.iter().find(|(known, ..)| *known == name) else {
        return Err(Error::invalid(format_args!("No help topic for '{name}'")));
    };
    if let Some(rootless) = global.get("rootless").filter(|value| !["true", "false", "auto"].contains(value))
    {
        return Err(Error::invalid(format_args!(
            "invalid value {rootless:?} for --rootless: true, false or auto"
        )));
    }
    if ["create", "run", "exec"].contains(&name) {
        linux::process::seal_myself().map_err(|error| Error::other(format_args!("sealing: {error}")))?;
    }
    let root = global.get("root").map_or_else(default_root, PathBuf::from);
    let cgroup_driver =
        if global.is_set("systemd-cgroup") { CgroupDriver::Systemd } else { CgroupDriver::Cgroupfs };
    command(&Context { store: Store::new(root), cgroup_driver }, rest)
}

fn default_root() -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(directory) if !directory.is_empty() && linux::credentials::user() != 0 => {
            PathBuf::from(directory).join("wharf-runtime")
        }
        _ => PathBuf::from("/run/wharf-runtime"),
    }
}

fn refuse_checkpoint(_: &Context, _: Vec<String>) -> Result<u8> {
    Err(Error::invalid("checkpoint and restore are not supported by this runtime"))
}

fn help() -> String {
    let mut text = String::from(
        "NAME:\n   wharf-runtime - Open Container Initiative runtime\n\n\
         USAGE:\n   wharf-runtime [global options] command [command options] [arguments...]\n\nCOMMANDS:\n",
    );
    for (name, what, _) in COMMANDS {
        text.push_str(&format!("   {name:<11} {what}\n"));
    }
    text.push_str("\nGLOBAL OPTIONS:\n");
    for flag in GLOBAL {
        text.push_str(&format!("   {}\n", flag.usage()));
    }
    text
}
