//! What is asked of and done to containers that exist.

use std::fmt::Write as _;
use std::os::fd::AsFd;
use std::path::Path;

use linux::process::{Program, Spawn};
use linux::signal;
use oci::runtime::{NamespaceKind, Spec, Status};
use runtime::{Error, Kind, Result};
use serde_json::json;

use super::Context;
use super::arguments::{Arguments, Flag};
use super::store::{Found, Saved};

/// Where `ps` may be.
const PS: [&str; 2] = ["/usr/bin/ps", "/bin/ps"];

pub(super) fn state(context: &Context, args: Vec<String>) -> Result<u8> {
    let arguments = Arguments::parse(&[], &args)?;
    let found = context.store.find(arguments.id()?)?;
    let document = describe(&found.saved, found.status, Some(&found.spec));
    println!("{}", serde_json::to_string_pretty(&document).map_err(|error| Error::other(error.to_string()))?);
    Ok(0)
}

fn describe(saved: &Saved, status: Status, spec: Option<&Spec>) -> serde_json::Value {
    let mut document = json!({
        "ociVersion": oci::runtime::VERSION,
        "id": saved.record.id,
        "pid": if status == Status::Stopped { 0 } else { saved.record.pid },
        "status": status,
        "bundle": saved.record.bundle,
        "rootfs": saved.rootfs,
        "created": saved.created,
        "owner": saved.owner,
    });
    if let Some(spec) = spec.filter(|spec| !spec.annotations.is_empty()) {
        document["annotations"] = json!(spec.annotations);
    }
    document
}

pub(super) fn list(context: &Context, args: Vec<String>) -> Result<u8> {
    let flags = [Flag::value("format", Some('f')), Flag::switch("quiet", Some('q'))];
    let arguments = Arguments::parse(&flags, &args)?;
    let mut rows = Vec::new();
    for id in context.store.ids()? {
        // One that is being made or removed right now is passed over.
        if let Ok(saved) = context.store.saved(&id) {
            let status = context.store.status(&saved.record);
            rows.push((saved, status));
        }
    }
    if arguments.is_set("quiet") {
        rows.iter().for_each(|(saved, _)| println!("{}", saved.record.id));
        return Ok(0);
    }
    match arguments.get("format") {
        None | Some("table") => print!("{}", table(&rows)),
        Some("json") => {
            let all: Vec<_> = rows.iter().map(|(saved, status)| describe(saved, *status, None)).collect();
            println!("{}", json!(all));
        }
        Some(_) => return Err(Error::invalid("invalid format option")),
    }
    Ok(0)
}

fn table(rows: &[(Saved, Status)]) -> String {
    let mut lines = vec![["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned)];
    lines.extend(rows.iter().map(|(saved, status)| {
        let pid = if *status == Status::Stopped { 0 } else { saved.record.pid };
        let bundle = saved.record.bundle.display().to_string();
        let (id, created, owner) = (saved.record.id.clone(), saved.created.clone(), saved.owner.clone());
        [id, pid.to_string(), status.to_string(), bundle, created, owner]
    }));
    let widths: Vec<usize> =
        (0..6).map(|column| lines.iter().map(|line| line[column].len()).max().unwrap_or(0).max(8)).collect();
    let mut text = String::new();
    for line in &lines {
        let (last, first) = (&line[5], &line[..5]);
        for (cell, width) in first.iter().zip(&widths) {
            let _ = write!(text, "{cell:<width$}    ");
        }
        let _ = writeln!(text, "{last}");
    }
    text
}

pub(super) fn kill(context: &Context, args: Vec<String>) -> Result<u8> {
    let arguments = Arguments::parse(&[Flag::switch("all", Some('a'))], &args)?;
    let (id, name) = match arguments.operands.as_slice() {
        [id] => (id, "SIGTERM"),
        [id, name] => (id, name.as_str()),
        _ => return Err(Error::invalid("a container id and at most a signal are required")),
    };
    let number =
        signal::parse(name).ok_or_else(|| Error::invalid(format_args!("unknown signal {name:?}")))?;
    let found = context.store.find(id)?;
    // Nobody else ends the others where they do not die with the first process.
    let shared = !has_own_pids(&found.spec);
    if arguments.is_set("all") || (shared && number == signal::SIGKILL) {
        if found.status == Status::Stopped && found.container.processes().unwrap_or_default().is_empty() {
            return Err(not_running());
        }
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

fn has_own_pids(spec: &Spec) -> bool {
    let namespaces = spec.linux.as_ref().map(|linux| linux.namespaces.as_slice()).unwrap_or_default();
    namespaces.iter().any(|namespace| namespace.kind == NamespaceKind::Pid && namespace.path.is_none())
}

fn not_running() -> Error {
    Error::new(Kind::WrongState, "container not running")
}

pub(super) fn delete(context: &Context, args: Vec<String>) -> Result<u8> {
    let arguments = Arguments::parse(&[Flag::switch("force", Some('f'))], &args)?;
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
    found.container.delete()?;
    context.store.forget(id)?;
    Ok(0)
}

/// Kills everything and waits until the first process is gone.
fn end(found: &Found) -> Result<()> {
    /// More than any process needs to die unless the kernel is stuck.
    const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);
    found.container.kill_all()?;
    match linux::poll::wait_readable(found.container.pidfd(), Some(PATIENCE)) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Error::other("container init still running")),
        Err(error) => Err(Error::other(error.to_string())),
    }
}

pub(super) fn pause(context: &Context, args: Vec<String>) -> Result<u8> {
    let arguments = Arguments::parse(&[], &args)?;
    let found = context.store.find(arguments.id()?)?;
    match found.status {
        Status::Running | Status::Created => found.container.pause().map(|()| 0),
        _ => Err(not_running()),
    }
}

pub(super) fn resume(context: &Context, args: Vec<String>) -> Result<u8> {
    let arguments = Arguments::parse(&[], &args)?;
    let found = context.store.find(arguments.id()?)?;
    match found.status {
        Status::Paused => found.container.resume().map(|()| 0),
        _ => Err(Error::new(Kind::WrongState, "container not paused")),
    }
}

pub(super) fn ps(context: &Context, args: Vec<String>) -> Result<u8> {
    let (arguments, options) = Arguments::parse_up_to(&[Flag::value("format", Some('f'))], &args, 1)?;
    let found = context.store.find(arguments.id()?)?;
    let pids = found.container.processes()?;
    match arguments.get("format") {
        Some("json") => {
            println!("{}", json!(pids));
            return Ok(0);
        }
        None | Some("table") => {}
        Some(_) => return Err(Error::invalid("invalid format option")),
    }
    let options = if options.is_empty() { vec!["-ef".to_owned()] } else { options };
    print!("{}", filter_ps(&run_ps(&options)?, &pids)?);
    Ok(0)
}

fn run_ps(options: &[String]) -> Result<String> {
    use std::io::Read;
    let error = |error: linux::Error| Error::other(error.to_string());
    let path = PS.iter().map(Path::new).find(|path| path.exists());
    let path = path.ok_or_else(|| Error::other("ps was not found: use --format json"))?;
    let (reader, writer) = linux::fd::pipe().map_err(error)?;
    let args: Vec<String> = std::iter::once("ps".to_owned()).chain(options.iter().cloned()).collect();
    let null = std::fs::File::open("/dev/null").map_err(|error| Error::other(error.to_string()))?;
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
    std::fs::File::from(reader).read_to_string(&mut text).map_err(|error| Error::other(error.to_string()))?;
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
