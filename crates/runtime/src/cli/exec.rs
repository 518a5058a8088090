//! `exec`: a process beside the container's own.

use oci::runtime::{Capabilities, Process, Status, User};
use runtime::{Error, Execution, Kind, Result};

use super::arguments::{Arguments, Flag};
use super::create::{console_size, preserved, stdio, write_pid_file};
use super::{Context, console};

const FLAGS: &[Flag] = &[
    Flag::value("console-socket", None),
    Flag::value("pidfd-socket", None),
    Flag::value("cwd", None),
    Flag::value("env", Some('e')),
    Flag::switch("tty", Some('t')),
    Flag::value("user", Some('u')),
    Flag::value("additional-gids", Some('g')),
    Flag::value("process", Some('p')),
    Flag::switch("detach", Some('d')),
    Flag::value("pid-file", None),
    Flag::value("process-label", None),
    Flag::value("apparmor", None),
    Flag::switch("no-new-privs", None),
    Flag::value("cap", Some('c')),
    Flag::value("preserve-fds", None),
    Flag::value("cgroup", None),
    Flag::switch("ignore-paused", None),
];

pub(super) fn exec(context: &Context, args: Vec<String>) -> Result<u8> {
    let (arguments, command) = Arguments::parse_up_to(FLAGS, &args, 1)?;
    let preserved = preserved(arguments.number("preserve-fds")?.unwrap_or(0), None)?;
    let found = context.store.find(arguments.id()?)?;
    match found.status {
        Status::Stopped => return Err(Error::new(Kind::WrongState, "cannot exec in a stopped container")),
        Status::Paused if !arguments.is_set("ignore-paused") => {
            let message = "cannot exec in a paused container (use --ignore-paused to override)";
            return Err(Error::new(Kind::WrongState, message));
        }
        _ => {}
    }
    let process = process(&arguments, command, found.spec.process.clone().unwrap_or_default())?;
    let detached = arguments.is_set("detach");
    let socket = arguments.get("console-socket").filter(|path| !path.is_empty());
    if process.terminal && detached && socket.is_none() {
        return Err(Error::invalid("cannot allocate tty if runc will detach without setting console socket"));
    }
    if socket.is_some() && !(process.terminal && detached) {
        return Err(Error::invalid("cannot use console socket if runc will not detach or allocate tty"));
    }
    let signals = if detached { None } else { Some(console::signals()?) };
    let cgroup = arguments.get("cgroup").map(|path| path.trim_start_matches('/'));
    let mut exec = found.container.execute(Execution {
        process: &process,
        stdio: stdio(process.terminal, console_size(&process))?,
        cgroup: cgroup.filter(|path| !path.is_empty()).map(std::path::Path::new),
        die_with_parent: false,
        preserved,
    })?;
    if let (Some(path), Some(terminal)) = (socket, exec.terminal()) {
        console::send(path, "/dev/ptmx", terminal)?;
    }
    if let Some(path) = arguments.get("pidfd-socket").filter(|path| !path.is_empty()) {
        console::send(path, "pidfd", exec.pidfd())?;
    }
    write_pid_file(arguments.get("pid-file"), exec.pid())?;
    let Some(signals) = signals else { return Ok(0) };
    let terminal = exec.take_terminal();
    console::attend(exec.pidfd(), terminal, &signals)?;
    let exit = linux::process::wait(exec.pid()).map_err(|error| Error::other(error.to_string()))?;
    Ok(exit.code() as u8)
}

/// From a file, or the container's own with what the options change.
fn process(arguments: &Arguments, command: Vec<String>, own: Process) -> Result<Process> {
    if let Some(path) = arguments.get("process") {
        let json = std::fs::read(path).map_err(|error| Error::invalid(format_args!("{path}: {error}")))?;
        return serde_json::from_slice(&json)
            .map_err(|error| Error::invalid(format_args!("{path}: {error}")));
    }
    if command.is_empty() {
        return Err(Error::invalid("process args cannot be empty"));
    }
    let mut process = Process { args: command, terminal: arguments.is_set("tty"), ..own };
    if let Some(directory) = arguments.get("cwd") {
        process.cwd = directory.to_owned();
    }
    process.env.extend_from_slice(arguments.all("env"));
    if let Some(user) = arguments.get("user") {
        process.user = parse_user(user, process.user)?;
    }
    for group in arguments.all("additional-gids") {
        process.user.additional_gids.push(parse_id(group)?);
    }
    let capabilities = arguments.all("cap");
    if !capabilities.is_empty() {
        let mut sets = process.capabilities.take().unwrap_or_default();
        add_capabilities(&mut sets, capabilities);
        process.capabilities = Some(sets);
    }
    if let Some(label) = arguments.get("process-label") {
        process.selinux_label = label.to_owned();
    }
    if let Some(profile) = arguments.get("apparmor") {
        process.apparmor_profile = profile.to_owned();
    }
    process.no_new_privileges |= arguments.is_set("no-new-privs");
    Ok(process)
}

fn add_capabilities(sets: &mut Capabilities, names: &[String]) {
    for set in [&mut sets.bounding, &mut sets.effective, &mut sets.permitted] {
        set.extend_from_slice(names);
    }
    // Ambient ones only where they can be inherited at all.
    if !sets.inheritable.is_empty() {
        sets.ambient.extend_from_slice(names);
        sets.inheritable.extend_from_slice(names);
    }
}

/// `uid[:gid]`, numbers only: names are for the tools above.
fn parse_user(text: &str, own: User) -> Result<User> {
    let (uid, gid) = text.split_once(':').map_or((text, None), |(uid, gid)| (uid, Some(gid)));
    Ok(User { uid: parse_id(uid)?, gid: gid.map(parse_id).transpose()?.unwrap_or(own.gid), ..own })
}

fn parse_id(text: &str) -> Result<u32> {
    text.parse()
        .map_err(|_| Error::invalid(format_args!("parsing {text} as int for uid failed: invalid syntax")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_change_the_containers_own_process() {
        let own = Process { cwd: "/".into(), env: vec!["A=1".into()], ..Process::default() };
        let args =
            ["-e", "B=2", "--cwd", "/tmp", "-u", "5:6", "-g", "7", "--cap", "CAP_KILL", "c", "ls", "-u"];
        let args: Vec<String> = args.map(str::to_owned).to_vec();
        let (arguments, command) = Arguments::parse_up_to(FLAGS, &args, 1).unwrap();
        let process = process(&arguments, command, own).unwrap();
        assert_eq!(process.args, ["ls", "-u"]);
        assert_eq!(process.env, ["A=1", "B=2"]);
        assert_eq!((process.user.uid, process.user.gid, process.cwd.as_str()), (5, 6, "/tmp"));
        assert_eq!(process.user.additional_gids, [7]);
        let sets = process.capabilities.unwrap();
        assert_eq!((sets.permitted.len(), sets.ambient.len()), (1, 0));
    }

    #[test]
    fn users_by_name_are_refused() {
        assert!(parse_user("root", User::default()).is_err());
    }
}
