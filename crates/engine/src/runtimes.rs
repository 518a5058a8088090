//! Whose runtime makes a container's processes.
//!
//! Ours does unless somebody asks for another. It answers to the names that clients know from Docker (`runc` and
//! `io.containerd.runc.v2`) and to its own. Others are registered with the engine (`--add-runtime`), by Docker's rules.
//! Beyond Docker, a container may name a program by its absolute path without registering it: who may use the API may
//! become root on the host anyway.
//!
//! A container keeps the name; what it stands for is looked up at each start.

use std::collections::BTreeMap;

use api::system;
pub use shim::protocol::Runtime;

use crate::config::Container as Defaults;
use crate::error::{Error, Result};

/// What `runc` stands for is not to be chosen: clients rely on it.
pub const RESERVED: &str = "runc";

/// The names of our own.
const OWN: [&str; 3] = [RESERVED, "io.containerd.runc.v2", "wharf-runtime"];

/// The runtime of a name; none is ours.
pub(crate) fn find(defaults: &Defaults, name: &str) -> Result<Option<Runtime>> {
    if let Some(registered) = defaults.runtimes.get(name) {
        return Ok(Some(registered.clone()));
    }
    if OWN.contains(&name) {
        return Ok(None);
    }
    if name.starts_with('/') {
        return Ok(Some(Runtime { path: name.into(), arguments: Vec::new() }));
    }
    Err(Error::invalid(format!("unknown or invalid runtime name: {name}")))
}

/// Whether the default is one that can be chosen by its name.
pub fn check_default(defaults: &Defaults) -> std::result::Result<(), String> {
    let name = &defaults.default_runtime;
    match defaults.runtimes.contains_key(name) || OWN.contains(&name.as_str()) {
        true => Ok(()),
        false => Err(format!("specified default runtime '{name}' does not exist")),
    }
}

/// As info lists them.
pub(crate) fn list(defaults: &Defaults) -> BTreeMap<String, system::Runtime> {
    let own = system::Runtime { path: "wharf-runtime".into(), ..system::Runtime::default() };
    let usual = OWN[..2].iter().map(|name| ((*name).to_owned(), own.clone()));
    let registered = defaults.runtimes.iter().map(|(name, runtime)| {
        let path = runtime.path.to_string_lossy().into_owned();
        let runtime =
            system::Runtime { path, runtime_args: runtime.arguments.clone(), ..system::Runtime::default() };
        (name.clone(), runtime)
    });
    usual.chain(registered).collect()
}

/// As the event of a reload tells them: `name:path …`.
pub(crate) fn told(defaults: &Defaults) -> String {
    let one = |(name, runtime): (&String, &Runtime)| format!("{name}:{}", runtime.path.display());
    defaults.runtimes.iter().map(one).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_for_ours_for_registered_ones_and_for_programs() {
        let other = Runtime { path: "crun".into(), arguments: vec!["--debug".into()] };
        let defaults = Defaults {
            runtimes: BTreeMap::from([("other".to_owned(), other.clone())]),
            ..Defaults::default()
        };
        assert_eq!(find(&defaults, "other").unwrap(), Some(other));
        for own in OWN {
            assert_eq!(find(&defaults, own).unwrap(), None);
        }
        assert_eq!(find(&defaults, "/usr/bin/crun").unwrap().unwrap().path.as_os_str(), "/usr/bin/crun");
        for unknown in ["crun", "Other", "", "./crun", "io.containerd.runsc.v1"] {
            let message = format!("unknown or invalid runtime name: {unknown}");
            assert_eq!(find(&defaults, unknown).unwrap_err().message(), message);
        }
        assert_eq!(told(&defaults), "other:crun");
        assert_eq!(list(&defaults).keys().collect::<Vec<_>>(), ["io.containerd.runc.v2", "other", "runc"]);
    }

    #[test]
    fn the_default_must_have_a_name() {
        let with =
            |name: &str| check_default(&Defaults { default_runtime: name.into(), ..Defaults::default() });
        assert!(with("runc").is_ok() && with("wharf-runtime").is_ok());
        assert_eq!(
            with("/usr/bin/crun").unwrap_err(),
            "specified default runtime '/usr/bin/crun' does not exist"
        );
    }
}
