//! What can stand in the place of the word that is being typed.

use api::container::Status;
use client::{Client, Query};

use super::{Candidate, Directive};
use crate::commands::context;
use crate::failure::Failure;
use crate::flags;
use crate::session::{self, Globals, Session};
use crate::tree::{self, Found, Names, Spec};

type Candidates = (Vec<Candidate>, Directive);

/// The candidates for a line, without those that begin with another text.
pub(super) fn find(session: &Session, before: &[String], last: &str) -> Candidates {
    let globals = flags::command(session::global_flags(), true);
    // Flags before the command choose the engine whose names are wanted.
    if let Some(flag) = pending(&globals, before, true)
        && let Some(name) = flag.get_long()
    {
        return values(session, name, None, last);
    }
    let Ok(parsed) = flags::parse(globals, before) else { return (Vec::new(), Directive::NoFiles) };
    let words = parsed.arguments().to_vec();
    match Globals::read(&parsed) {
        Ok(globals) if words.len() < before.len() => {
            of_command(&Session::new(session.program, globals), &words, last)
        }
        _ => of_command(session, &words, last),
    }
}

fn of_command(session: &Session, words: &[String], last: &str) -> Candidates {
    match tree::find(words) {
        (Found::Command(spec, _), used) => of_spec(session, spec, &words[used..], last),
        (Found::Group(group), _) if !last.starts_with('-') => {
            let members = tree::members(group.name);
            (
                starting(last, members.iter().map(|(name, spec)| Candidate::new(*name, spec.summary))),
                Directive::NoFiles,
            )
        }
        (Found::Nothing, 0) if last.starts_with('-') => {
            (flag_names(&flags::command(session::global_flags(), true), last), Directive::NoFiles)
        }
        (Found::Nothing, 0) => {
            let groups = tree::GROUPS.iter().map(|group| Candidate::new(group.name, group.summary));
            let tops = tree::tops();
            let tops = tops.iter().map(|(name, spec)| Candidate::new(*name, spec.summary));
            (starting(last, groups.chain(tops)), Directive::NoFiles)
        }
        _ => (Vec::new(), Directive::NoFiles),
    }
}

fn of_spec(session: &Session, spec: &Spec, line: &[String], last: &str) -> Candidates {
    let command = flags::command((spec.flags)(), spec.stop);
    if let Some(name) = pending(&command, line, spec.stop).and_then(clap::Arg::get_long) {
        return values(session, name, Some(spec), last);
    }
    let given = positional(&command, line);
    // The command within a container is not ours to guess.
    if spec.stop && !given.is_empty() && spec.names != Names::ContainersThenFiles {
        return (Vec::new(), Directive::Files);
    }
    if let Some((flag, value)) = last.strip_prefix("--").and_then(|word| word.split_once('=')) {
        return values(session, flag, Some(spec), value);
    }
    if last.starts_with('-') && !line.iter().any(|word| word == "--") {
        return (flag_names(&command, last), Directive::NoFiles);
    }
    let wanted = match (spec.names, given.len()) {
        (Names::NetworkAndContainer, 0) => Names::Networks,
        (Names::NetworkAndContainer, _) => Names::Containers,
        (names, count) => match spec.count {
            flags::Count::Exactly(most)
            | flags::Count::Plain(most)
            | flags::Count::AtMost(most)
            | flags::Count::Between(_, most)
                if count >= most =>
            {
                Names::Nothing
            }
            _ => names,
        },
    };
    let (mut found, directive) = named(session, wanted, last);
    // Nobody stops the same container twice.
    found.retain(|candidate| !given.contains(&candidate.text));
    (found, directive)
}

fn starting(start: &str, candidates: impl Iterator<Item = Candidate>) -> Vec<Candidate> {
    candidates.filter(|candidate| candidate.text.starts_with(start)).collect()
}

fn flag_names(command: &clap::Command, last: &str) -> Vec<Candidate> {
    let visible = command.get_arguments().filter(|arg| !arg.is_hide_set());
    let flags = visible.filter_map(|arg| {
        let about = arg.get_help().map(ToString::to_string).unwrap_or_default();
        Some(Candidate::new(format!("--{}", arg.get_long()?), about))
    });
    starting(last, flags)
}

/// The flag whose value is being typed, if the word before is one that wants another.
fn pending<'a>(command: &'a clap::Command, line: &[String], stop: bool) -> Option<&'a clap::Arg> {
    let mut words = line.iter();
    while let Some(word) = words.next() {
        if word == "--" || (stop && !word.starts_with('-')) {
            return None;
        }
        let Some(flag) = wanting(command, word) else { continue };
        if words.next().is_none() {
            return Some(flag);
        }
    }
    None
}

/// The flag of a word that has no value yet and needs one: `--name`, `-n`, `-itn`.
fn wanting<'a>(command: &'a clap::Command, word: &str) -> Option<&'a clap::Arg> {
    let takes = |arg: &&clap::Arg| !arg.is_require_equals_set() && arg.get_action().takes_values();
    if let Some(name) = word.strip_prefix("--") {
        let mut arguments = command.get_arguments();
        return arguments.find(|arg| arg.get_long() == Some(name)).filter(takes);
    }
    let letters = word.strip_prefix('-')?;
    let mut letters = letters.chars();
    while let Some(letter) = letters.next() {
        let flag = command.get_arguments().find(|arg| arg.get_short() == Some(letter))?;
        if takes(&flag) {
            return letters.as_str().is_empty().then_some(flag);
        }
    }
    None
}

/// The words that are no flags and no values of flags.
fn positional(command: &clap::Command, line: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    let mut words = line.iter();
    while let Some(word) = words.next() {
        if word.starts_with('-') && word != "-" {
            if wanting(command, word).is_some() {
                words.next();
            }
            continue;
        }
        found.push(word.clone());
    }
    found
}

/// What a flag takes.
fn values(session: &Session, flag: &str, spec: Option<&Spec>, last: &str) -> Candidates {
    let of = |words: &[&str]| {
        let words = words.iter().map(|word| Candidate::new(*word, ""));
        (starting(last, words), Directive::NoFiles)
    };
    let name = |names| named(session, names, last);
    let home = spec.map_or("", |spec| spec.spellings[0]);
    match flag {
        "network" => {
            let (mut found, directive) = name(Names::Networks);
            found.extend(starting(last, ["host", "none"].map(|mode| Candidate::new(mode, "")).into_iter()));
            (found, directive)
        }
        "volumes-from" | "link" => name(Names::Containers),
        "context" | "from" => name(Names::Contexts),
        "restart" => of(&["always", "no", "on-failure", "unless-stopped"]),
        "pull" => of(&["always", "missing", "never"]),
        "attach" => of(&["stderr", "stdin", "stdout"]),
        "log-level" => of(&["debug", "error", "fatal", "info", "warn"]),
        "log-driver" => of(&["fluentd", "gelf", "journald", "json-file", "local", "none", "syslog"]),
        "signal" | "stop-signal" => of(&SIGNALS),
        "cap-add" | "cap-drop" => of(&CAPABILITIES),
        "security-opt" => (
            of(&["apparmor=", "label=", "no-new-privileges", "seccomp=", "systempaths=unconfined"]).0,
            Directive::FilesWithin,
        ),
        "cgroupns" => of(&["host", "private"]),
        "pid" | "uts" | "userns" => of(&["host"]),
        "ipc" => of(&["host", "none", "private", "shareable"]),
        "platform" => of(&[
            "linux/amd64",
            "linux/arm/v7",
            "linux/arm64",
            "linux/386",
            "linux/ppc64le",
            "linux/riscv64",
            "linux/s390x",
        ]),
        "format" if home.ends_with(" ls") || home == "system df" => of(&["json", "table"]),
        "format" => of(&["json"]),
        "type" if home == "inspect" => of(&["container", "image", "network", "volume"]),
        "driver" if home == "network create" => of(&["bridge"]),
        "driver" => of(&["local"]),
        "filter" => filters(home, last),
        "env" => {
            let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
            (starting(last, names.map(|name| Candidate::new(name, ""))), Directive::NoFiles)
        }
        "cidfile" | "config" | "env-file" | "input" | "label-file" | "output" | "tlscacert" | "tlscert"
        | "tlskey" | "volume" | "device" | "mount" => (Vec::new(), Directive::Files),
        _ => (Vec::new(), Directive::NoFiles),
    }
}

/// The keys of filters; what stands behind them is not guessed.
fn filters(home: &str, last: &str) -> Candidates {
    let keys: &[&str] = match home {
        "container ls" => &[
            "ancestor=",
            "before=",
            "exited=",
            "expose=",
            "health=",
            "id=",
            "label=",
            "name=",
            "network=",
            "publish=",
            "since=",
            "status=",
            "volume=",
        ],
        "image ls" => &["before=", "dangling=", "label=", "reference=", "since=", "until="],
        "network ls" => &["dangling=", "driver=", "id=", "label=", "name=", "scope=", "type="],
        "volume ls" => &["dangling=", "driver=", "label=", "name="],
        "system events" => {
            &["container=", "daemon=", "event=", "image=", "label=", "network=", "type=", "volume="]
        }
        "search" => &["is-official=", "stars="],
        _ => &["label=", "label!=", "until="],
    };
    (starting(last, keys.iter().map(|key| Candidate::new(*key, ""))), Directive::FilesWithin)
}

fn named(session: &Session, names: Names, last: &str) -> Candidates {
    let directive = match names {
        Names::Files => return (Vec::new(), Directive::Files),
        Names::ContainersThenFiles => Directive::FilesWithin,
        _ => Directive::NoFiles,
    };
    let client = || session.quiet_client();
    let found = match names {
        Names::Nothing => Ok(Vec::new()),
        Names::Contexts => contexts(session),
        names => client().map_or_else(|| Ok(Vec::new()), |client| of_engine(&client, names)),
    };
    // A shell has no place to show a failure in.
    (starting(last, found.unwrap_or_default().into_iter()), directive)
}

fn contexts(session: &Session) -> Result<Vec<Candidate>, Failure> {
    let stored = context::Store::new(session).list()?;
    let names = stored.into_iter().map(|context| Candidate::new(context.name, ""));
    Ok(names.chain([Candidate::new(context::DEFAULT, "")]).collect())
}

fn of_engine(client: &Client, names: Names) -> Result<Vec<Candidate>, Failure> {
    let some = |keep: fn(Status) -> bool| containers(client, keep);
    Ok(match names {
        Names::Nothing | Names::Files | Names::Contexts => Vec::new(),
        Names::Containers => some(|_| true)?,
        Names::RunningContainers => {
            some(|state| matches!(state, Status::Running | Status::Paused | Status::Restarting))?
        }
        Names::PausedContainers => some(|state| state == Status::Paused)?,
        Names::StoppedContainers => some(|state| matches!(state, Status::Created | Status::Exited))?,
        Names::ContainersThenFiles => {
            let mut found = some(|_| true)?;
            found.iter_mut().for_each(|candidate| candidate.text.push(':'));
            found
        }
        Names::Images => images(client)?,
        Names::Networks | Names::NetworkAndContainer => networks(client)?,
        Names::Volumes => volumes(client)?,
        Names::Anything => [some(|_| true)?, images(client)?, networks(client)?, volumes(client)?].concat(),
    })
}

/// Names, and IDs if the user wants them, too.
fn containers(client: &Client, keep: fn(Status) -> bool) -> Result<Vec<Candidate>, Failure> {
    let ids = std::env::var("DOCKER_COMPLETION_SHOW_CONTAINER_IDS").is_ok_and(|value| value == "yes");
    let mut found = Vec::new();
    for container in client.list_containers(&Query::new().set("all", "1"))? {
        if !keep(container.state) {
            continue;
        }
        let names = container.names.iter().map(|name| name.trim_start_matches('/'));
        // A name with a slash within is a link's.
        found.extend(names.filter(|name| !name.contains('/')).map(|name| Candidate::new(name, "")));
        if ids {
            found.push(Candidate::new(container.id, ""));
        }
    }
    Ok(found)
}

fn images(client: &Client) -> Result<Vec<Candidate>, Failure> {
    let images = client.list_images(&Query::new())?;
    let tags = images.into_iter().flat_map(|image| image.repo_tags.unwrap_or_default());
    Ok(tags.filter(|tag| tag != "<none>:<none>").map(|tag| Candidate::new(tag, "")).collect())
}

fn networks(client: &Client) -> Result<Vec<Candidate>, Failure> {
    Ok(client.list_networks("")?.into_iter().map(|network| Candidate::new(network.name, "")).collect())
}

fn volumes(client: &Client) -> Result<Vec<Candidate>, Failure> {
    Ok(client.list_volumes("")?.volumes.into_iter().map(|volume| Candidate::new(volume.name, "")).collect())
}

const SIGNALS: [&str; 12] = [
    "SIGABRT", "SIGCONT", "SIGHUP", "SIGINT", "SIGKILL", "SIGQUIT", "SIGSTOP", "SIGTERM", "SIGTSTP",
    "SIGUSR1", "SIGUSR2", "SIGWINCH",
];

const CAPABILITIES: [&str; 42] = [
    "ALL",
    "CAP_AUDIT_CONTROL",
    "CAP_AUDIT_READ",
    "CAP_AUDIT_WRITE",
    "CAP_BLOCK_SUSPEND",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_KILL",
    "CAP_LEASE",
    "CAP_LINUX_IMMUTABLE",
    "CAP_MAC_ADMIN",
    "CAP_MAC_OVERRIDE",
    "CAP_MKNOD",
    "CAP_NET_ADMIN",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_RAW",
    "CAP_PERFMON",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYSLOG",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_CHROOT",
    "CAP_SYS_MODULE",
    "CAP_SYS_NICE",
    "CAP_SYS_PACCT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_WAKE_ALARM",
];
