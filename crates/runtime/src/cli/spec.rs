//! `spec` writes a configuration to start from; `features` says what this runtime can do.

use std::path::Path;

use oci::runtime::{IdMapping, Namespace, NamespaceKind, Spec};
use runtime::{Error, Result};

use super::Context;
use super::arguments::{Arguments, Flag};
use super::log::answer_with;
use super::store;

/// A shell in a root file system beside the file, confined as the specification's own example.
const DEFAULT: &[u8] = include_bytes!("spec.json");

#[rustfmt::skip]
pub(super) const SPEC: &[Flag] = &[
    Flag::value("bundle", Some('b'), "path to the root of the bundle directory"),
    Flag::switch("rootless", None, "generate a configuration for a rootless container"),
];

pub(super) fn features(_: &Context, _: &Arguments) -> Result<u8> {
    let document = runtime::features::document();
    answer_with(&document).map(|()| 0)
}

pub(super) fn spec(_: &Context, arguments: &Arguments) -> Result<u8> {
    let directory = Path::new(arguments.given("bundle").unwrap_or("."));
    if let Err(error) = std::fs::metadata(directory) {
        return Err(Error::of_file("chdir", directory.display(), &error));
    }
    let path = directory.join("config.json");
    if path.exists() {
        return Err(Error::other("File config.json exists. Remove it first"));
    }
    let mut spec = store::parse_spec(DEFAULT)?;
    spec.oci_version = oci::runtime::VERSION.to_owned();
    if !linux::cgroup::Layout::detect().is_ok_and(|layout| layout.is_unified()) {
        // On v1 containers have always seen their real place, and tools look for it.
        remove_namespace(&mut spec, NamespaceKind::Cgroup);
    }
    if arguments.is_set("rootless") {
        make_rootless(&mut spec);
    }
    let text = serde_json::to_string_pretty(&spec).map_err(Error::other)?;
    std::fs::write(&path, text + "\n").map_err(|error| Error::of_file("open", path.display(), &error))?;
    Ok(0)
}

fn remove_namespace(spec: &mut Spec, kind: NamespaceKind) {
    if let Some(linux) = &mut spec.linux {
        linux.namespaces.retain(|namespace| namespace.kind != kind);
    }
}

/// One user, nothing that only root of the host could set up.
fn make_rootless(spec: &mut Spec) {
    let own = |id: u32| vec![IdMapping { container_id: 0, host_id: id, size: 1 }];
    if let Some(linux) = &mut spec.linux {
        linux.uid_mappings = own(linux::credentials::user());
        linux.gid_mappings = own(linux::credentials::group());
        linux.resources = None;
        linux.namespaces.push(Namespace { kind: NamespaceKind::User, path: None });
    }
    remove_namespace(spec, NamespaceKind::Network);
    for mount in &mut spec.mounts {
        if mount.destination == Path::new("/sys") {
            // Only who owns the network namespace may mount sysfs.
            mount.kind = "none".to_owned();
            mount.source = Some("/sys".into());
            mount.options.insert(0, "rbind".to_owned());
        }
        // No group but ours is mapped.
        mount.options.retain(|option| mount.kind != "devpts" || option != "gid=5");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        for rootless in [false, true] {
            let mut spec = store::parse_spec(DEFAULT).unwrap();
            if rootless {
                make_rootless(&mut spec);
            }
            let text = serde_json::to_string(&spec).unwrap();
            assert!(text.contains("newinstance") && text.contains("rbind") == rootless, "{text}");
            assert_eq!(text.contains("gid=5"), !rootless, "{text}");
            let spec = store::parse_spec(text.as_bytes()).unwrap();
            assert_eq!(spec.linux.unwrap().uid_mappings.len(), usize::from(rootless));
        }
    }
}
