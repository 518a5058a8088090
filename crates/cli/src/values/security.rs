//! Security options and capabilities. A seccomp profile is a file of the caller: its text travels, not its path.

use std::collections::BTreeSet;

use crate::failure::{Failure, doing};

/// A profile beyond this is none; the engine would refuse the request.
const PROFILE_LIMIT: u64 = 4 * 1024 * 1024;

/// What `systempaths=unconfined` changes besides.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Security {
    pub(crate) options: Vec<String>,
    /// Nothing below `/proc` and `/sys` is masked or read-only.
    pub(crate) system_paths_unconfined: bool,
}

/// Capabilities by their full names, in order, each once; one that is added is not dropped.
pub(crate) fn capabilities(add: &[String], drop: &[String]) -> (Vec<String>, Vec<String>) {
    let names = |list: &[String]| -> BTreeSet<String> {
        let full = |name: &String| {
            let name = name.trim().to_ascii_uppercase();
            if name == "ALL" || name.starts_with("CAP_") { name } else { format!("CAP_{name}") }
        };
        let all: BTreeSet<String> = list.iter().map(full).collect();
        // What comes with all of them needs no names.
        if all.contains("ALL") { BTreeSet::from(["ALL".to_owned()]) } else { all }
    };
    let add = names(add);
    let drop = names(drop).into_iter().filter(|name| !add.contains(name)).collect();
    (add.into_iter().collect(), drop)
}

pub(crate) fn parse(entries: &[String]) -> Result<Security, Failure> {
    let mut security = Security::default();
    for entry in entries {
        if entry == "systempaths=unconfined" {
            security.system_paths_unconfined = true;
            continue;
        }
        let parts = entry.split_once('=').or_else(|| entry.split_once(':'));
        match parts {
            None if entry == "no-new-privileges" => security.options.push(entry.clone()),
            Some((name, "")) if name != "no-new-privileges" => return Err(refused(entry)),
            None => return Err(refused(entry)),
            Some(("seccomp", profile)) if !matches!(profile, "unconfined" | "builtin") => {
                security.options.push(format!("seccomp={}", read_profile(profile)?));
            }
            Some(_) => security.options.push(entry.clone()),
        }
    }
    Ok(security)
}

fn refused(entry: &str) -> Failure {
    Failure::new(format!("Invalid --security-opt: {entry:?}"))
}

fn read_profile(path: &str) -> Result<String, Failure> {
    let failed = |failure: Failure| {
        Failure::new(format!("opening seccomp profile ({path}) failed: {}", failure.message))
    };
    let file = std::fs::File::open(path).map_err(doing("open", path)).map_err(failed)?;
    let mut text = String::new();
    std::io::Read::read_to_string(&mut std::io::Read::take(file, PROFILE_LIMIT), &mut text)
        .map_err(doing("read", path))
        .map_err(failed)?;
    compact(&text).map_err(|error| {
        Failure::new(format!("compacting json for seccomp profile ({path}) failed: {error}"))
    })
}

fn compact(text: &str) -> Result<String, serde_json::Error> {
    serde_json::from_str::<serde_json::Value>(text).map(|profile| profile.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_have_full_names() {
        let told = |add: &[&str], drop: &[&str]| {
            let own = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
            let (add, drop) = capabilities(&own(add), &own(drop));
            (add.join(" "), drop.join(" "))
        };
        assert_eq!(
            told(&["sys_time", "CAP_CHOWN", "chown"], &["ALL", "x"]),
            ("CAP_CHOWN CAP_SYS_TIME".into(), "ALL".into())
        );
        assert_eq!(told(&["all", "chown"], &["ALL"]), ("ALL".into(), String::new()));
    }

    #[test]
    fn options_pass_and_profiles_travel() {
        let directory = scratch::Directory::new("seccomp");
        let path = directory.file("profile.json", "{ \"defaultAction\": \"SCMP_ACT_ALLOW\" }");
        let entries =
            ["no-new-privileges", "apparmor=unconfined", "systempaths=unconfined", "seccomp=unconfined"]
                .map(str::to_owned);
        let security = parse(&[&entries[..], &[format!("seccomp={}", path.display())]].concat()).unwrap();
        assert!(security.system_paths_unconfined);
        assert_eq!(
            security.options,
            [
                "no-new-privileges",
                "apparmor=unconfined",
                "seccomp=unconfined",
                "seccomp={\"defaultAction\":\"SCMP_ACT_ALLOW\"}"
            ]
        );
        assert!(parse(&["nonsense".to_owned()]).is_err());
        assert!(parse(&["seccomp=/no/such/file".to_owned()]).unwrap_err().message.contains("/no/such/file"));
    }
}
