//! Which capabilities a container's processes have: fourteen by default, moved by `CapAdd` and `CapDrop`.

use std::collections::BTreeSet;

use crate::error::{Error, Result};

/// What a container has that asks for nothing: enough for a package manager and a web server.
const DEFAULT: &[&str] = &[
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

/// The set for a container. `held` is what the engine has itself: nobody can pass on more, and an older kernel
/// lacks the newest.
pub(crate) fn decide(
    privileged: bool,
    add: &[String],
    drop: &[String],
    held: &BTreeSet<String>,
) -> Result<Vec<String>> {
    let add = normalise("CapAdd", add)?;
    let drop = normalise("CapDrop", drop)?;
    let chosen: BTreeSet<String> = if privileged {
        held.clone()
    } else {
        let start: BTreeSet<String> = match (add.all, drop.all) {
            (true, _) => held.difference(&drop.names).cloned().collect(),
            (false, true) => BTreeSet::new(),
            (false, false) => DEFAULT
                .iter()
                .map(|name| (*name).to_owned())
                .filter(|name| !drop.names.contains(name))
                .collect(),
        };
        // A name in both lists is added.
        start.union(&add.names).cloned().collect()
    };
    if let Some(missing) = add.names.difference(held).next().filter(|_| !privileged) {
        return Err(Error::invalid(format!(
            "invalid CapAdd: capability not supported by your kernel or not available \
             in the current environment: \"{missing}\""
        )));
    }
    Ok(chosen.into_iter().filter(|name| held.contains(name)).collect())
}

struct Listed {
    all: bool,
    names: BTreeSet<String>,
}

/// Names with or without `CAP_`, in any case; `ALL` stands for every one.
fn normalise(field: &str, names: &[String]) -> Result<Listed> {
    let mut listed = Listed { all: false, names: BTreeSet::new() };
    for name in names {
        let upper = name.to_ascii_uppercase();
        if upper == "ALL" {
            listed.all = true;
            continue;
        }
        let full = if upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") };
        if linux::credentials::capability(&full).is_none() {
            return Err(Error::invalid(format!("invalid {field}: unknown capability: \"{full}\"")));
        }
        listed.names.insert(full);
    }
    Ok(listed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held() -> BTreeSet<String> {
        linux::credentials::capability_names().collect()
    }

    fn decided(add: &[&str], drop: &[&str]) -> Vec<String> {
        let own = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        decide(false, &own(add), &own(drop), &held()).unwrap()
    }

    #[test]
    fn nothing_asked_gives_the_default_fourteen() {
        assert_eq!(decided(&[], &[]), DEFAULT);
    }

    #[test]
    fn all_dropped_leaves_what_is_added() {
        assert_eq!(decided(&["net_admin"], &["ALL"]), ["CAP_NET_ADMIN"]);
    }

    #[test]
    fn all_added_lacks_what_is_dropped() {
        let set = decided(&["all"], &["SYS_ADMIN"]);
        assert_eq!(set.len(), held().len() - 1);
        assert!(!set.contains(&"CAP_SYS_ADMIN".to_owned()));
    }

    #[test]
    fn in_both_lists_it_is_added() {
        assert!(decided(&["CHOWN"], &["chown"]).contains(&"CAP_CHOWN".to_owned()));
    }

    #[test]
    fn privileged_is_all_that_is_held() {
        let few: BTreeSet<String> = ["CAP_CHOWN".to_owned()].into();
        assert_eq!(decide(true, &[], &["ALL".into()], &few).unwrap(), ["CAP_CHOWN"]);
    }

    #[test]
    fn unknown_names_are_refused() {
        let refused = |add: &[&str], drop: &[&str]| {
            let own = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
            decide(false, &own(add), &own(drop), &held()).unwrap_err().message().to_owned()
        };
        assert_eq!(refused(&["FLY"], &[]), "invalid CapAdd: unknown capability: \"CAP_FLY\"");
        // The word for all of them is no capability's name.
        assert_eq!(refused(&["CAP_ALL"], &[]), "invalid CapAdd: unknown capability: \"CAP_ALL\"");
        assert_eq!(refused(&[], &["cap_all"]), "invalid CapDrop: unknown capability: \"CAP_ALL\"");
        assert_eq!(refused(&[" chown"], &[]), "invalid CapAdd: unknown capability: \"CAP_ CHOWN\"");
    }
}
