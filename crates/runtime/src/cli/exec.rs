//! `exec`: a process beside the container's own.

use std::os::fd::OwnedFd;

use linux::spans::mark;
use oci::runtime::{Capabilities, Process, Status, User};
use runtime::{Error, Exec, Execution, Kind, Result, SubCgroup, Trace};

use super::arguments::{Arguments, Flag};
use super::create::{console_size, stdio, warn_of_capabilities, write_pid_file};
use super::{Context, console};

#[rustfmt::skip]
pub(super) const FLAGS: &[Flag] = &[
    Flag::value("console-socket", None, "path to an AF_UNIX socket which will receive the process's terminal"),
    Flag::value("pidfd-socket", None, "path to an AF_UNIX socket which will receive a descriptor of the process"),
    Flag::value("cwd", None, "current working directory in the container"),
    Flag::value("env", Some('e'), "set environment variables"),
    Flag::switch("tty", Some('t'), "allocate a pseudo-TTY"),
    Flag::value("user", Some('u'), "UID (format: <uid>[:<gid>])"),
    Flag::number("additional-gids", Some('g'), "additional gids"),
    Flag::value("process", Some('p'), "path to the process.json"),
    Flag::switch("detach", Some('d'), "detach from the container's process"),
    Flag::value("pid-file", None, "file to write the process id to"),
    Flag::value("process-label", None, "SELinux label of the process"),
    Flag::value("apparmor", None, "AppArmor profile of the process"),
    Flag::switch("no-new-privs", None, "set the no new privileges value for the process"),
    Flag::value("cap", Some('c'), "add a capability to the bounding set for the process"),
    Flag::number("preserve-fds", None, "pass N additional file descriptors to the process (default: 0)"),
    Flag::value("cgroup", None, "run the process in an existing sub-cgroup. Format is [<controllers>:]<cgroup>."),
    Flag::switch("ignore-paused", None, "allow exec in a paused container"),
];

pub(super) fn exec(context: &Context, arguments: &Arguments, preserved: Vec<OwnedFd>) -> Result<u8> {
    let found = context.store.find(arguments.id()?)?;
    match found.status {
        Status::Stopped => return Err(Error::new(Kind::WrongState, "cannot exec in a stopped container")),
        Status::Paused if !arguments.is_set("ignore-paused") => {
            let message = "cannot exec in a paused container (use --ignore-paused to override)";
            return Err(Error::new(Kind::WrongState, message));
        }
        _ => {}
    }
    mark("container found");
    let process = process(arguments, found.spec.process.clone().unwrap_or_default())?;
    let detached = arguments.is_set("detach");
    let socket = arguments.given("console-socket");
    if process.terminal && detached && socket.is_none() {
        return Err(Error::invalid("cannot allocate tty if runc will detach without setting console socket"));
    }
    if socket.is_some() && !(process.terminal && detached) {
        return Err(Error::invalid("cannot use console socket if runc will not detach or allocate tty"));
    }
    warn_of_capabilities(context, Some(&process));
    let signals = if detached { None } else { Some(console::signals()?) };
    let trace = |step: std::fmt::Arguments<'_>| context.log.debug(step);
    let mut exec = found.container.execute(Execution {
        process: &process,
        stdio: stdio(process.terminal, console_size(&process), !detached)?,
        cgroups: sub_cgroups(arguments.all("cgroup"))?,
        die_with_parent: false,
        preserved,
        paused: found.status == Status::Paused,
        trace: Trace::to(&trace),
    })?;
    if let Err(error) = announce(arguments, &exec) {
        exec.abandon();
        return Err(error);
    }
    let Some(signals) = signals else { return Ok(0) };
    let terminal = exec.take_terminal();
    console::attend(exec.pidfd(), terminal, &signals, None)?;
    let exit = linux::process::wait(exec.pid()).map_err(Error::other)?;
    mark("waited for the program's end");
    Ok(exit.code() as u8)
}

/// Tells those who wait for the process where it is.
fn announce(arguments: &Arguments, exec: &Exec) -> Result<()> {
    if let (Some(path), Some(terminal)) = (arguments.given("console-socket"), exec.terminal()) {
        console::send(path, "/dev/ptmx", terminal)?;
    }
    if let Some(path) = arguments.given("pidfd-socket") {
        console::send(path, "pidfd", exec.pidfd())?;
    }
    write_pid_file(arguments.get("pid-file"), exec.pid())
}

/// `PATH`, or `CONTROLLER[,CONTROLLER...]:PATH` for v1, each controller once.
fn sub_cgroups(words: &[String]) -> Result<Vec<SubCgroup>> {
    let mut seen: Vec<&str> = Vec::new();
    let mut below = Vec::new();
    for word in words.iter().filter(|word| !word.is_empty()) {
        let Some((names, path)) = word.split_once(':') else {
            if words.len() > 1 {
                let message =
                    format_args!("invalid --cgroup argument: {word} (missing <controller>: prefix)");
                return Err(Error::invalid(message));
            }
            below.push(SubCgroup { controllers: Vec::new(), path: word.into() });
            continue;
        };
        for name in names.split(',') {
            if seen.contains(&name) {
                return Err(Error::invalid(format_args!(
                    "invalid --cgroup argument(s): controller {name} specified multiple times"
                )));
            }
            seen.push(name);
        }
        below.push(SubCgroup {
            controllers: names.split(',').map(str::to_owned).collect(),
            path: path.into(),
        });
    }
    Ok(below)
}

/// From a file, or the container's own with what the options change.
fn process(arguments: &Arguments, own: Process) -> Result<Process> {
    if let Some(path) = arguments.given("process") {
        let json = std::fs::read(path).map_err(|error| Error::of_file("open", path, &error))?;
        let process: Process =
            oci::runtime::parse(&json).map_err(|error| Error::invalid(format_args!("{path}: {error}")))?;
        // `--tty` may ask for a terminal that the file does not name.
        let terminal = process.terminal || arguments.is_set("tty");
        return Ok(within(own, Process { terminal, ..process }));
    }
    let command = arguments.operands[1..].to_vec();
    if command.is_empty() {
        return Err(Error::invalid("exec args cannot be empty"));
    }
    let mut process = Process { args: command, terminal: arguments.is_set("tty"), ..own };
    if let Some(directory) = arguments.given("cwd") {
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
    if let Some(label) = arguments.given("process-label") {
        process.selinux_label = label.to_owned();
    }
    if let Some(profile) = arguments.given("apparmor") {
        process.apparmor_profile = profile.to_owned();
    }
    if arguments.get("no-new-privs").is_some() {
        process.no_new_privileges = arguments.is_set("no-new-privs");
    }
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
    text.parse().map_err(|_| Error::invalid(format_args!("bad uid or gid {text:?}: not a number")))
}

/// What a file says nothing of is the container's.
/// Whether new privileges may be gained is the file's to say, as with runc.
fn within(own: Process, process: Process) -> Process {
    let named = |given: String, own: String| if given.is_empty() { own } else { given };
    Process {
        user: User { umask: process.user.umask.or(own.user.umask), ..process.user },
        capabilities: process.capabilities.or(own.capabilities),
        rlimits: if process.rlimits.is_empty() { own.rlimits } else { process.rlimits },
        apparmor_profile: named(process.apparmor_profile, own.apparmor_profile),
        selinux_label: named(process.selinux_label, own.selinux_label),
        oom_score_adj: process.oom_score_adj.or(own.oom_score_adj),
        io_priority: process.io_priority.or(own.io_priority),
        scheduler: process.scheduler.or(own.scheduler),
        exec_cpu_affinity: process.exec_cpu_affinity.or(own.exec_cpu_affinity),
        ..process
    }
}

#[cfg(test)]
mod tests {
    use super::super::arguments::Order;
    use super::*;

    #[test]
    fn options_change_the_containers_own_process() {
        let own = Process { cwd: "/".into(), env: vec!["A=1".into()], ..Process::default() };
        let args =
            ["-e", "B=2", "--cwd", "/tmp", "-u", "5:6", "-g", "7", "--cap", "CAP_KILL", "c", "ls", "-u"];
        let args: Vec<String> = args.map(str::to_owned).to_vec();
        let (mut arguments, command) = Arguments::parse(FLAGS, &args, Order::First).unwrap();
        arguments.operands = command;
        let process = process(&arguments, own).unwrap();
        assert_eq!(process.args, ["ls", "-u"]);
        assert_eq!(process.env, ["A=1", "B=2"]);
        assert_eq!((process.user.uid, process.user.gid, process.cwd.as_str()), (5, 6, "/tmp"));
        assert_eq!(process.user.additional_gids, [7]);
        let sets = process.capabilities.unwrap();
        assert_eq!((sets.permitted.len(), sets.ambient.len()), (1, 0));
    }

    #[test]
    fn what_a_file_leaves_out_is_the_containers() {
        let sets = |name: &str| {
            let mut sets = Capabilities::default();
            add_capabilities(&mut sets, &[name.to_owned()]);
            Some(sets)
        };
        let own = Process {
            capabilities: sets("CAP_KILL"),
            oom_score_adj: Some(77),
            user: User { umask: Some(7), uid: 3, ..User::default() },
            env: vec!["A=1".into()],
            ..Process::default()
        };
        let silent = within(own.clone(), Process::default());
        assert_eq!((&silent.capabilities, silent.oom_score_adj), (&own.capabilities, Some(77)));
        assert_eq!((silent.user.umask, silent.user.uid, silent.env.len()), (Some(7), 0, 0));
        let told = Process { capabilities: sets("CAP_CHOWN"), ..Process::default() };
        assert_eq!(within(own, told.clone()).capabilities, told.capabilities);
    }

    #[test]
    fn options_without_a_value_change_nothing() {
        let user = User { uid: 5, ..User::default() };
        let own = Process { cwd: "/".into(), user, no_new_privileges: true, ..Process::default() };
        let words = ["--cwd", "", "--process-label", "", "--apparmor", "", "--no-new-privs=false", "c", "ls"];
        let (mut arguments, command) =
            Arguments::parse(FLAGS, &words.map(str::to_owned), Order::First).unwrap();
        arguments.operands = command;
        let changed = process(&arguments, own.clone()).unwrap();
        assert_eq!(changed, Process { args: vec!["ls".into()], no_new_privileges: false, ..own });
    }

    #[test]
    fn sub_cgroups_by_controller() {
        let parse = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            sub_cgroups(&words).map_err(|error| error.to_string())
        };
        let parsed = parse(&["a/b"]).unwrap();
        assert_eq!((parsed[0].controllers.len(), parsed[0].path.to_str()), (0, Some("a/b")));
        let parsed = parse(&["cpu,cpuacct:x", "memory:"]).unwrap();
        assert_eq!(
            (parsed[0].controllers.join(" ").as_str(), parsed[0].path.to_str()),
            ("cpu cpuacct", Some("x"))
        );
        assert_eq!((parsed[1].controllers.len(), parsed[1].path.to_str()), (1, Some("")));
        for twice in [&["cpu:/", "cpu:/"][..], &["cpu,cpu:/"]] {
            assert!(parse(twice).unwrap_err().contains("controller cpu specified multiple times"));
        }
        assert!(parse(&["/", "cpu:/"]).unwrap_err().contains("/ (missing <controller>: prefix)"));
    }

    #[test]
    fn users_by_name_are_refused() {
        assert!(parse_user("root", User::default()).is_err());
    }
}
