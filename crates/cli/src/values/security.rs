//! Security options. A seccomp profile is a file of the caller: its text travels, not its path.

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
            None => return Err(Failure::new(format!("Invalid --security-opt: {entry:?}"))),
            Some(("seccomp", profile)) if !matches!(profile, "unconfined" | "builtin") => {
                security.options.push(format!("seccomp={}", read_profile(profile)?));
            }
            Some(_) => security.options.push(entry.clone()),
        }
    }
    Ok(security)
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
    fn options_pass_and_profiles_travel() {
        let path = std::env::temp_dir().join(format!("wharf-seccomp-{}.json", std::process::id()));
        std::fs::write(&path, "{ \"defaultAction\": \"SCMP_ACT_ALLOW\" }").unwrap();
        let entries =
            ["no-new-privileges", "apparmor=unconfined", "systempaths=unconfined", "seccomp=unconfined"]
                .map(str::to_owned);
        let security = parse(&[&entries[..], &[format!("seccomp={}", path.display())]].concat()).unwrap();
        std::fs::remove_file(&path).unwrap();
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
