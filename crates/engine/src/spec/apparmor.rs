//! AppArmor: which profile a container runs under, and the one for those that name none.
//!
//! That one is called `docker-default`, because people look for this name. Its text (`data/docker-default`) gives a reason
//! for each rule and is completed by what the host has to include. A profile has to be compiled by a program of
//! AppArmor's own, and the engine starts no programs: whoever opens it hands in how ([`LoadProfile`]).
//!
//! Profiles live in the kernel alone, and whoever reloads AppArmor may drop them. So this one is looked for before each
//! process that is to be confined by it. Where it cannot be loaded nothing runs under it, as in Docker.

use std::fs;
use std::path::Path;

use crate::config::LoadProfile;
use crate::container::Record;
use crate::error::{Error, Result};
use crate::host::Host;

/// The profile of containers that name none.
pub(crate) const DEFAULT: &str = "docker-default";

/// No profile at all.
const UNCONFINED: &str = "unconfined";

const TEXT: &str = include_str!("../data/docker-default");

/// The module's place in securityfs.
const MODULE: &str = "/sys/kernel/security/apparmor";

/// Lines and fragments of profiles that distributions bring.
const POLICY: &str = "/etc/apparmor.d";

/// Whether the kernel confines here. An engine that is itself in a container has no say about profiles.
pub(crate) fn enabled() -> bool {
    std::env::var_os("container").is_none_or(|manager| manager.is_empty())
        && Path::new(MODULE).exists()
        && fs::read_to_string("/sys/module/apparmor/parameters/enabled")
            .is_ok_and(|text| text.starts_with('Y'))
}

/// What the kernel is told for each of a container's processes: later ones are confined like the first, and `exec
/// --privileged` changes nothing, as in Docker.
pub(super) fn applied(record: &Record, host: &Host) -> String {
    if host.apparmor { profile(record).to_owned() } else { String::new() }
}

fn profile(record: &Record) -> &str {
    asked(record).unwrap_or(if record.host.privileged { UNCONFINED } else { DEFAULT })
}

/// What `inspect` shows: before the first start what was asked for, later what was done.
pub(crate) fn shown<'a>(record: &'a Record, host: &Host) -> &'a str {
    match (record.started_before, host.apparmor) {
        (false, _) => asked(record).unwrap_or_default(),
        (true, true) => profile(record),
        (true, false) => "",
    }
}

fn asked(record: &Record) -> Option<&str> {
    let options = record.host.security_opt.iter().flatten();
    let named = options.filter_map(|option| super::security_value(option, "apparmor")).next_back();
    named.filter(|profile| !profile.is_empty())
}

/// Sees to it that a profile is there if it is ours. Blocking.
pub(crate) fn ensure(profile: &str, load: Option<LoadProfile>) -> Result<()> {
    let Some(load) = load.filter(|_| profile == DEFAULT) else { return Ok(()) };
    if loaded()? {
        return Ok(());
    }
    let failed = |reason: &str| {
        Error::system(format!(
            "AppArmor enabled on system but the {DEFAULT} profile could not be loaded: {reason}"
        ))
    };
    load(&text(&Surroundings::observe())).map_err(|reason| failed(&reason))?;
    if loaded()? { Ok(()) } else { Err(failed("the kernel does not list it")) }
}

fn loaded() -> Result<bool> {
    let path = format!("{MODULE}/profiles");
    let list = fs::read_to_string(&path).map_err(|error| {
        Error::failed(
            format!("Could not check if {DEFAULT} AppArmor profile was loaded: cannot read {path}"),
            error,
        )
    })?;
    Ok(lists(&list, DEFAULT))
}

/// Lines are a name and a mode in parentheses.
fn lists(list: &str, profile: &str) -> bool {
    list.lines().any(|line| line.rsplit_once(" (").is_some_and(|(name, _)| name == profile))
}

/// What the text depends on.
#[derive(Debug, Default)]
struct Surroundings {
    /// The rules of sockets as version 3 read them: later ones ask for a rule about each Unix socket.
    abi: bool,
    /// The distribution's variables, `@{PROC}` among them.
    tunables: bool,
    /// What it allows every program.
    abstractions: bool,
    /// The engine's own profile.
    engine: Option<String>,
}

impl Surroundings {
    fn observe() -> Surroundings {
        let has = |name: &str| Path::new(POLICY).join(name).exists();
        let label = fs::read_to_string("/proc/self/attr/current").unwrap_or_default();
        Surroundings {
            abi: has("abi/3.0"),
            tunables: has("tunables/global"),
            abstractions: has("abstractions/base"),
            engine: label.split_whitespace().next().map(str::to_owned),
        }
    }
}

fn text(surroundings: &Surroundings) -> String {
    let given = |there: bool, line| if there { line } else { "" };
    let tunables = if surroundings.tunables { "include <tunables/global>" } else { "@{PROC}=/proc/" };
    TEXT.replace("%ABI%", given(surroundings.abi, "abi <abi/3.0>,"))
        .replace("%TUNABLES%", tunables)
        .replace("%ABSTRACTIONS%", given(surroundings.abstractions, "include <abstractions/base>"))
        .replace("%ENGINE%", surroundings.engine.as_deref().unwrap_or(UNCONFINED))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::test_record;

    fn record(privileged: bool, options: &[&str]) -> Record {
        let mut record = test_record("web");
        record.host.privileged = privileged;
        record.host.security_opt = Some(options.iter().map(|option| (*option).to_owned()).collect());
        record
    }

    #[test]
    fn who_says_nothing_is_confined_and_who_is_privileged_is_not() {
        assert_eq!(profile(&record(false, &[])), "docker-default");
        assert_eq!(profile(&record(false, &["no-new-privileges", "apparmor="])), "docker-default");
        assert_eq!(profile(&record(true, &[])), "unconfined");
        assert_eq!(profile(&record(false, &["apparmor=unconfined"])), "unconfined");
        assert_eq!(profile(&record(true, &["apparmor=mine"])), "mine");
        assert_eq!(profile(&record(false, &["apparmor=one", "apparmor:other"])), "other");
    }

    #[test]
    fn what_was_asked_for_is_shown_until_the_first_start() {
        let mut host = Host::observe().unwrap();
        for (started, apparmor, option, expected) in [
            (false, false, "apparmor=mine", "mine"),
            (false, true, "no-new-privileges", ""),
            (true, false, "apparmor=mine", ""),
            (true, true, "apparmor=mine", "mine"),
            (true, true, "no-new-privileges", "docker-default"),
        ] {
            host.apparmor = apparmor;
            let mut record = record(false, &[option]);
            record.started_before = started;
            assert_eq!(shown(&record, &host), expected, "{started} {apparmor} {option}");
        }
    }

    #[test]
    fn the_kernel_lists_names_and_modes() {
        let list = "docker-default-not (enforce)\n/usr/bin/man (complain)\nmine (enforce)\n";
        assert!(lists(list, "mine") && lists(list, "/usr/bin/man"));
        assert!(!lists(list, DEFAULT) && !lists("", DEFAULT));
    }

    #[test]
    fn the_text_is_complete_whatever_the_host_has() {
        let bare = text(&Surroundings::default());
        assert!(bare.contains("@{PROC}=/proc/") && !bare.contains("include"), "{bare}");
        assert!(bare.contains("signal (receive) peer=unconfined,\n  signal (receive) peer=unconfined,"));
        let full = text(&Surroundings {
            abi: true,
            tunables: true,
            abstractions: true,
            engine: Some("wharfd".into()),
        });
        assert!(full.contains("abi <abi/3.0>,") && full.contains("peer=wharfd,"), "{full}");
        assert!(full.contains("include <tunables/global>") && full.contains("include <abstractions/base>"));
        for text in [bare, full] {
            assert!(!text.lines().any(|line| line.contains('%') && !line.starts_with('#')), "{text}");
            assert!(text.contains(&format!("profile {DEFAULT} ")));
        }
    }

    #[test]
    fn other_profiles_are_somebody_elses_to_load() {
        fn fails(_: &str) -> std::result::Result<(), String> {
            Err("never called".into())
        }
        assert!(ensure("mine", Some(fails)).is_ok());
        assert!(ensure("", Some(fails)).is_ok());
        assert!(ensure(DEFAULT, None).is_ok());
    }
}
