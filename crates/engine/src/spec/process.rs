//! The process itself: what it runs, as whom, with which rights and limits.

use std::collections::BTreeMap;

use api::container::HostConfig;
use oci::runtime::{Capabilities, ConsoleSize, Process, Rlimit, User};

use super::user::Identity;
use super::{apparmor, capabilities};
use crate::config::Config;
use crate::container::Record;
use crate::error::{Error, Result};
use crate::host::Host;

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Where `--init` puts the process that reaps orphans.
pub(super) const INIT: &str = "/sbin/docker-init";

/// The container's first process.
pub(super) fn container(
    record: &Record,
    config: &Config,
    host: &Host,
    identity: &Identity,
    linked: &[String],
) -> Result<Process> {
    let command = std::iter::once(record.path.clone()).chain(record.args.iter().cloned());
    let args = if wants_init(record, config) {
        [INIT.to_owned(), "--".to_owned()].into_iter().chain(command).collect()
    } else {
        command.collect()
    };
    Ok(Process {
        args,
        cwd: directory(&record.config.working_dir),
        env: environment(record, record.config.tty, linked, &[]),
        terminal: record.config.tty,
        console_size: console(Some(record.host.console_size)).filter(|_| record.config.tty),
        ..common(record, config, host, identity, record.host.privileged)?
    })
}

/// One that is added to a running container.
pub(super) fn exec(
    record: &Record,
    config: &Config,
    host: &Host,
    identity: &Identity,
    request: &api::exec::CreateRequest,
    linked: &[String],
    console_size: Option<[u32; 2]>,
) -> Result<Process> {
    let own = request.env.clone().unwrap_or_default();
    let cwd = if request.working_dir.is_empty() { &record.config.working_dir } else { &request.working_dir };
    Ok(Process {
        args: request.cmd.clone().unwrap_or_default(),
        cwd: directory(cwd),
        env: environment(record, request.tty, linked, &own),
        terminal: request.tty,
        console_size: console(console_size).filter(|_| request.tty),
        ..common(record, config, host, identity, record.host.privileged || request.privileged)?
    })
}

/// What is refused at create rather than at start.
pub(super) fn check(record: &Record, host: &Host) -> Result<()> {
    capability_set(record, host, record.host.privileged)?;
    rlimits(record, &[])?;
    for option in record.host.security_opt.iter().flatten() {
        check_security(option)?;
    }
    if host.selinux { labels(&record.host) } else { Ok(()) }
}

/// Wishes for labels of SELinux mean nothing where it is off, as in Docker. Where it is on, who says them counts on being
/// kept apart by them. The modes `z` and `Z` of mounts ask for access, which containers without a label have.
fn labels(wanted: &HostConfig) -> Result<()> {
    let label = |option: &&String| {
        let words = option.strip_prefix("label").and_then(|rest| rest.strip_prefix(['=', ':']));
        // That there is none is what happens.
        words.is_some_and(|words| words != "disable")
    };
    match wanted.security_opt.iter().flatten().find(label) {
        None => Ok(()),
        Some(option) => Err(Error::invalid(format!(
            "--security-opt {option} asks for a label of SELinux, which is enabled on this host: this engine sets none"
        ))),
    }
}

fn check_security(option: &str) -> Result<()> {
    let invalid = || Error::invalid(format!("invalid --security-opt 2: {option:?}"));
    match option {
        "no-new-privileges" | "systempaths=unconfined" => return Ok(()),
        "disable" => return Err(invalid()),
        _ => {}
    }
    let separator = option
        .find(['=', ':'])
        .ok_or_else(|| Error::invalid(format!("invalid --security-opt 1: {option:?}")))?;
    let (key, value) = (&option[..separator], &option[separator + 1..]);
    match key {
        "seccomp" => Ok(()),
        "no-new-privileges" => value.parse::<bool>().map(drop).map_err(|_| invalid()),
        // Both mean something only where the kernel has the module. Without, every value is as good as any other, as in
        // Docker; where it has SELinux, [`labels`] looks at them.
        "apparmor" | "label" => Ok(()),
        "writable-cgroups" => value.parse::<bool>().map(drop).map_err(|_| invalid()),
        _ => Err(invalid()),
    }
}

fn common(
    record: &Record,
    config: &Config,
    host: &Host,
    identity: &Identity,
    privileged: bool,
) -> Result<Process> {
    let set = capability_set(record, host, privileged)?;
    Ok(Process {
        user: User {
            uid: identity.uid,
            gid: identity.gid,
            additional_gids: identity.groups.clone(),
            ..User::default()
        },
        capabilities: Some(granted(set, identity.uid)),
        rlimits: rlimits(record, &config.container.ulimits)?,
        no_new_privileges: no_new_privileges(record, config),
        apparmor_profile: apparmor::applied(record, host),
        oom_score_adj: i32::try_from(record.host.oom_score_adj).ok(),
        ..Process::default()
    })
}

/// A process that is not root starts without capabilities; it may regain what the bounding set allows by running a
/// file that grants them.
fn granted(set: Vec<String>, uid: u32) -> Capabilities {
    let effective = if uid == 0 { set.clone() } else { Vec::new() };
    Capabilities {
        bounding: set,
        permitted: effective.clone(),
        effective,
        inheritable: Vec::new(),
        ambient: Vec::new(),
    }
}

fn capability_set(record: &Record, host: &Host, privileged: bool) -> Result<Vec<String>> {
    let add = record.host.cap_add.as_deref().unwrap_or_default();
    let drop = record.host.cap_drop.as_deref().unwrap_or_default();
    capabilities::decide(privileged, add, drop, &host.capabilities)
}

fn no_new_privileges(record: &Record, config: &Config) -> bool {
    record.host.security_opt.iter().flatten().fold(config.container.no_new_privileges, |before, option| {
        if option == "no-new-privileges" {
            return true;
        }
        super::security_value(option, "no-new-privileges")
            .and_then(|value| value.parse().ok())
            .unwrap_or(before)
    })
}

/// Whether `--init` applies.
pub(super) fn wants_init(record: &Record, config: &Config) -> bool {
    let host = &record.host;
    // Who shares another's processes is not the first of them.
    super::namespaces::other(&host.pid_mode).is_none() && host.init.unwrap_or(config.container.init)
}

fn directory(configured: &str) -> String {
    if configured.is_empty() { "/".into() } else { configured.to_owned() }
}

fn console(size: Option<[u32; 2]>) -> Option<ConsoleSize> {
    let [height, width] = size?;
    (height > 0 && width > 0).then_some(ConsoleSize { height: height.into(), width: width.into() })
}

/// Defaults, then what links bring, the container's, and an exec's own: later entries replace earlier ones of the same name in place,
/// and an entry without `=` removes it.
fn environment(record: &Record, tty: bool, linked: &[String], own: &[String]) -> Vec<String> {
    let mut entries =
        vec![PATH.to_owned(), format!("HOSTNAME={}", super::namespaces::shown_hostname(record))];
    if tty {
        entries.push("TERM=xterm".into());
    }
    replace(&mut entries, linked);
    replace(&mut entries, record.config.env.as_deref().unwrap_or_default());
    replace(&mut entries, own);
    entries
}

fn replace(entries: &mut Vec<String>, overrides: &[String]) {
    let name = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
    let mut position: BTreeMap<String, usize> =
        entries.iter().enumerate().map(|(index, entry)| (name(entry), index)).collect();
    let mut removed = Vec::new();
    for entry in overrides {
        match (entry.contains('='), position.get(&name(entry))) {
            (true, Some(index)) => entries[*index].clone_from(entry),
            (true, None) => {
                position.insert(name(entry), entries.len());
                entries.push(entry.clone());
            }
            (false, Some(index)) => removed.push(*index),
            (false, None) => {}
        }
    }
    removed.sort_unstable();
    for index in removed.into_iter().rev() {
        entries.remove(index);
    }
}

/// The container's limits over the engine's defaults.
fn rlimits(record: &Record, defaults: &[crate::config::Ulimit]) -> Result<Vec<Rlimit>> {
    let mut limits: BTreeMap<String, (i64, i64)> =
        defaults.iter().map(|limit| (limit.name.clone(), (limit.soft, limit.hard))).collect();
    for limit in record.host.resources.ulimits.iter().flatten() {
        limits.insert(limit.name.to_ascii_lowercase(), (limit.soft, limit.hard));
    }
    limits.into_iter().map(|(name, (soft, hard))| rlimit(&name, soft, hard)).collect()
}

fn rlimit(name: &str, soft: i64, hard: i64) -> Result<Rlimit> {
    const KNOWN: &[&str] = &[
        "as",
        "core",
        "cpu",
        "data",
        "fsize",
        "locks",
        "memlock",
        "msgqueue",
        "nice",
        "nofile",
        "nproc",
        "rss",
        "rtprio",
        "rttime",
        "sigpending",
        "stack",
    ];
    if !KNOWN.contains(&name) {
        return Err(Error::invalid(format!("invalid ulimit type: {name}")));
    }
    if hard != -1 && (soft > hard || soft == -1) {
        return Err(Error::invalid(format!(
            "ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"
        )));
    }
    // -1 is RLIM_INFINITY, all bits set.
    Ok(Rlimit { kind: format!("RLIMIT_{}", name.to_ascii_uppercase()), hard: hard as u64, soft: soft as u64 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_entries_replace_and_remove() {
        let mut entries = vec!["A=1".to_owned(), "B=2".to_owned(), "C=3".to_owned()];
        replace(&mut entries, &["B=x=y".into(), "A".into(), "D=4".into(), "E".into()]);
        assert_eq!(entries, ["B=x=y", "C=3", "D=4"]);
    }

    #[test]
    fn limits_are_checked_and_may_be_infinite() {
        let limit = rlimit("nofile", 1024, -1).unwrap();
        assert_eq!((limit.kind.as_str(), limit.soft, limit.hard), ("RLIMIT_NOFILE", 1024, u64::MAX));
        assert!(rlimit("nofile", 10, 5).is_err());
        assert!(rlimit("files", 1, 1).is_err());
    }

    #[test]
    fn security_options_that_would_be_ignored_are_refused() {
        assert!(check_security("no-new-privileges:true").is_ok());
        assert!(check_security("apparmor=unconfined").is_ok());
        assert!(check_security("apparmor=mine").is_ok());
        assert!(check_security("dance").is_err());
        let refused = |option: &str, bind: &str| {
            let wanted = HostConfig {
                security_opt: Some(vec![option.into()]),
                binds: Some(vec![bind.into()]),
                ..HostConfig::default()
            };
            labels(&wanted).is_err()
        };
        assert!(!refused("label=disable", "/z:/Z:ro"));
        assert!(refused("label=type:web_t", "/a:/b"));
        assert!(refused("label:level:s0", "/a:/b"));
        assert!(!refused("apparmor=mine", "/a:/b:ro,Z"));
    }
}
