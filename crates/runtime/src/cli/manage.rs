//! What is asked of and done to containers that exist.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::os::fd::AsFd;
use std::path::Path;

use linux::process::{Program, Spawn};
use linux::signal;
use oci::runtime::{NamespaceKind, Spec, Status};
use runtime::{Error, Kind, Result};
use serde::Serialize;
use serde_json::json;

use super::Context;
use super::arguments::{Arguments, Flag};
use super::create::remove;
use super::log::{answer, answer_with};
use super::store::{Found, Saved};

/// Where `ps` may be.
const PROGRAMS: [&str; 2] = ["/usr/bin/ps", "/bin/ps"];

pub(super) const DELETE: &[Flag] =
    &[Flag::switch("force", Some('f'), "delete the container if it is still running (uses SIGKILL)")];
pub(super) const KILL: &[Flag] = &[Flag::switch("all", Some('a'), "signal all processes of the container")];
pub(super) const LIST: &[Flag] = &[
    Flag::value("format", Some('f'), "select one of: table or json (default: \"table\")"),
    Flag::switch("quiet", Some('q'), "display only container IDs"),
];
pub(super) const PS: &[Flag] = &[LIST[0]];

/// What `state` and `list` tell of a container, in the order in which others print it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Description<'a> {
    oci_version: &'static str,
    id: &'a str,
    pid: i32,
    status: Status,
    bundle: &'a Path,
    rootfs: &'a Path,
    created: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
    owner: &'a str,
}

impl<'a> Description<'a> {
    fn of(saved: &'a Saved, status: Status, annotations: BTreeMap<String, String>) -> Description<'a> {
        Description {
            oci_version: oci::runtime::VERSION,
            id: &saved.record.id,
            pid: if status == Status::Stopped { 0 } else { saved.record.pid },
            status,
            bundle: &saved.record.bundle,
            rootfs: &saved.rootfs,
            created: &saved.created,
            annotations,
            owner: &saved.owner,
        }
    }
}

pub(super) fn state(context: &Context, arguments: &Arguments) -> Result<u8> {
    let found = context.store.find(arguments.id()?)?;
    let document = Description::of(&found.saved, found.status, found.spec.annotations);
    answer_with(&document).map(|()| 0)
}

pub(super) fn list(context: &Context, arguments: &Arguments) -> Result<u8> {
    let mut rows = Vec::new();
    for id in context.store.ids(context.root_given)? {
        // One that is being made or removed right now is passed over.
        if let Ok(saved) = context.store.saved(&id) {
            let status = context.store.status(&saved.record);
            rows.push((saved, status));
        }
    }
    if arguments.is_set("quiet") {
        let ids: String = rows.iter().map(|(saved, _)| format!("{}\n", saved.record.id)).collect();
        return answer(ids).map(|()| 0);
    }
    match arguments.get("format") {
        None | Some("table") => answer(table(&rows))?,
        Some("json") => {
            let describe = |(saved, status)| Description::of(saved, status, BTreeMap::new());
            let all: Vec<_> = rows.iter().map(|(saved, status)| describe((saved, *status))).collect();
            let all = serde_json::to_string(&all).map_err(Error::other)?;
            answer(format_args!("{all}\n"))?;
        }
        Some(_) => return Err(Error::invalid("invalid format option")),
    }
    Ok(0)
}

/// Columns are at least twelve wide and three apart.
fn table(rows: &[(Saved, Status)]) -> String {
    let mut lines = vec![["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned)];
    lines.extend(rows.iter().map(|(saved, status)| {
        let pid = if *status == Status::Stopped { 0 } else { saved.record.pid };
        let bundle = saved.record.bundle.display().to_string();
        let (id, created, owner) = (saved.record.id.clone(), saved.created.clone(), saved.owner.clone());
        [id, pid.to_string(), status.to_string(), bundle, created, owner]
    }));
    let width = |column: usize| lines.iter().map(|line| line[column].len() + 3).max().unwrap_or(0).max(12);
    let widths: Vec<usize> = (0..5).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        for (cell, width) in line.iter().zip(&widths) {
            let _ = write!(text, "{cell:<width$}");
        }
        let _ = writeln!(text, "{}", line[5]);
    }
    text
}

pub(super) fn kill(context: &Context, arguments: &Arguments) -> Result<u8> {
    let name = arguments.operands.get(1).filter(|name| !name.is_empty()).map_or("SIGTERM", String::as_str);
    // Any number is passed on: 0 only asks, and what is no signal the kernel refuses.
    let number = name.parse().ok().or_else(|| signal::parse(name));
    let number = number.ok_or_else(|| Error::invalid(format_args!("unknown signal {name:?}")))?;
    let found = context.store.find(arguments.id()?)?;
    // Where they do not die with the first process, nobody else would end the others.
    let shared = !has_own_pids(&found.spec);
    if arguments.is_set("all") || (shared && number == signal::SIGKILL) {
        found.container.signal_all(number)?;
        return Ok(0);
    }
    if found.status == Status::Stopped {
        return Err(not_running());
    }
    found.container.signal(number)?;
    if number == signal::SIGKILL && found.status == Status::Paused {
        // A frozen process dies only when it goes on (on v1).
        found.container.resume()?;
    }
    Ok(0)
}

pub(super) fn has_own_pids(spec: &Spec) -> bool {
    let namespaces = spec.linux.as_ref().map(|linux| linux.namespaces.as_slice()).unwrap_or_default();
    namespaces.iter().any(|namespace| namespace.kind == NamespaceKind::Pid && namespace.path.is_none())
}

fn not_running() -> Error {
    Error::new(Kind::WrongState, "container not running")
}

pub(super) fn delete(context: &Context, arguments: &Arguments) -> Result<u8> {
    let id = arguments.id()?;
    let force = arguments.is_set("force");
    let found = match context.store.find(id) {
        Ok(found) => found,
        Err(error) if error.kind() == Kind::NoContainer => {
            // A creation that was killed leaves a directory without a state.
            context.store.forget(id)?;
            return if force { Ok(0) } else { Err(error) };
        }
        Err(error) if force => {
            // Its configuration is of no use any more; what runs is still found by the record.
            let saved = context.store.saved(id)?;
            saved.record.clean_up().map_err(|_| error)?;
            context.store.forget(id)?;
            return Ok(0);
        }
        Err(error) => return Err(error),
    };
    match found.status {
        Status::Stopped => {}
        Status::Created => end(&found)?,
        _ if force => end(&found)?,
        status => {
            let message = format_args!("cannot delete container {id} that is not stopped: {status}");
            return Err(Error::new(Kind::WrongState, message));
        }
    }
    remove(context, found.container).map(|()| 0)
}

/// Kills everything and waits until the first process is gone.
fn end(found: &Found) -> Result<()> {
    found.container.kill_all()?;
    until_ended(found)
}

pub(super) fn until_ended(found: &Found) -> Result<()> {
    /// More than any process needs to die unless the kernel is stuck.
    const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);
    match linux::poll::wait_readable(found.container.pidfd(), Some(PATIENCE)) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Error::other("container init still running")),
        Err(error) => Err(Error::other(error.to_string())),
    }
}

pub(super) fn pause(context: &Context, arguments: &Arguments) -> Result<u8> {
    let found = context.store.find(arguments.id()?)?;
    match found.status {
        Status::Running | Status::Created => found.container.pause().map(|()| 0),
        _ => Err(not_running()),
    }
}

pub(super) fn resume(context: &Context, arguments: &Arguments) -> Result<u8> {
    let found = context.store.find(arguments.id()?)?;
    match found.status {
        Status::Paused => found.container.resume().map(|()| 0),
        _ => Err(Error::new(Kind::WrongState, "container not paused")),
    }
}

pub(super) fn ps(context: &Context, arguments: &Arguments) -> Result<u8> {
    let found = context.store.find(arguments.id()?)?;
    let pids = found.container.processes()?;
    match arguments.get("format") {
        Some("json") => return answer(format_args!("{}\n", json!(pids))).map(|()| 0),
        None | Some("table") => {}
        Some(_) => return Err(Error::invalid("invalid format option")),
    }
    let options = &arguments.operands[1..];
    let text = if options.is_empty() { run_ps(&["-ef".to_owned()])? } else { run_ps(options)? };
    answer(filter_ps(&text, &pids)?).map(|()| 0)
}

fn run_ps(options: &[String]) -> Result<String> {
    use std::io::Read;
    let error = |error: linux::Error| Error::other(error.to_string());
    let path = PROGRAMS.iter().map(Path::new).find(|path| path.exists());
    let path = path.ok_or_else(|| Error::other("ps was not found: use --format json"))?;
    let (reader, writer) = linux::fd::pipe().map_err(error)?;
    let args: Vec<String> = std::iter::once("ps".to_owned()).chain(options.iter().cloned()).collect();
    let null =
        std::fs::File::open("/dev/null").map_err(|error| Error::of_file("open", "/dev/null", &error))?;
    let child = Spawn::new(Program::Path(path), &args)
        .and_then(Spawn::inherit_env)
        .map_err(error)?
        .descriptor(null.as_fd(), 0)
        .descriptor(writer.as_fd(), 1)
        .descriptor(std::io::stderr().as_fd(), 2)
        .start()
        .map_err(error)?;
    drop(writer);
    let mut text = String::new();
    std::fs::File::from(reader)
        .read_to_string(&mut text)
        .map_err(|error| Error::other(format_args!("read what ps printed: {error}")))?;
    child.wait().map_err(error)?;
    Ok(text)
}

/// The header, and the lines of these processes.
fn filter_ps(text: &str, pids: &[i32]) -> Result<String> {
    let mut lines = text.lines();
    let header = lines.next().unwrap_or_default();
    let column = header
        .split_whitespace()
        .position(|name| name == "PID")
        .ok_or_else(|| Error::other("couldn't find PID field in ps output"))?;
    let mut out = format!("{header}\n");
    for line in lines {
        let pid = line.split_whitespace().nth(column).and_then(|word| word.parse::<i32>().ok());
        if pid.is_some_and(|pid| pids.contains(&pid)) {
            out.push_str(line);
            out.push('\n');
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_containers_processes_are_shown() {
        let text = "UID PID CMD\nroot 1 init\nroot 12 sleep 5\n";
        assert_eq!(filter_ps(text, &[12]).unwrap(), "UID PID CMD\nroot 12 sleep 5\n");
        assert!(filter_ps("CMD\n", &[]).is_err());
    }
}
