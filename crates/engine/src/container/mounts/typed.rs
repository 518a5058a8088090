//! `--mount`: what each type of it may say, and the errors for what it may not.

use std::path::{Component, Path, PathBuf};

use api::container::Mount as Asked;

use super::{PROPAGATIONS, Planned, check_destination, check_volume_name, clean, volume};
use crate::container::record::{MountKind, MountPoint};
use crate::error::{Error, Result};

/// One `--mount`. `image` finds the id of an image.
pub(super) fn mount(asked: &Asked, image: &dyn Fn(&str) -> Result<String>) -> Result<Planned> {
    let invalid =
        |reason: &str| Error::invalid(format!("invalid mount config for type \"{}\": {reason}", asked.kind));
    let others = [
        ("bind", "BindOptions", asked.bind_options.is_some()),
        ("volume", "VolumeOptions", asked.volume_options.is_some()),
        ("tmpfs", "TmpfsOptions", asked.tmpfs_options.is_some()),
        ("image", "ImageOptions", asked.image_options.is_some()),
    ];
    if !others.iter().any(|(kind, ..)| *kind == asked.kind) {
        return Err(invalid("mount type unknown"));
    }
    for (kind, name, given) in others {
        if given && kind != asked.kind {
            return Err(Error::invalid(format!(
                "{name} must not be specified on mount type {:?}",
                asked.kind
            )));
        }
    }
    if asked.cluster_options.is_some() {
        return Err(invalid("field ClusterOptions must not be specified"));
    }
    if asked.target.is_empty() {
        return Err(invalid("field Target must not be empty"));
    }
    check_destination(&asked.target, |reason| invalid(&reason))?;
    let planned = match asked.kind.as_str() {
        "bind" => bind_mount(asked, invalid)?,
        "volume" => volume_mount(asked, invalid)?,
        "tmpfs" => tmpfs_mount(asked, invalid)?,
        _ => image_mount(asked, invalid, image)?,
    };
    Ok(planned)
}

fn bind_mount(asked: &Asked, invalid: impl Fn(&str) -> Error) -> Result<Planned> {
    if asked.source.is_empty() {
        return Err(invalid("field Source must not be empty"));
    }
    if !asked.source.starts_with('/') {
        return Err(invalid(&format!("invalid mount path: '{}' mount path must be absolute", asked.source)));
    }
    let options = asked.bind_options.clone().unwrap_or_default();
    if !options.propagation.is_empty() && !PROPAGATIONS.contains(&options.propagation.as_str()) {
        return Err(invalid(&format!("invalid propagation mode: {}", options.propagation)));
    }
    if options.read_only_force_recursive && options.read_only_non_recursive {
        return Err(invalid("ReadOnlyNonRecursive and ReadOnlyForceRecursive are mutually exclusive"));
    }
    if !options.create_mountpoint && !Path::new(&asked.source).exists() {
        return Err(invalid(&format!("bind source path does not exist: {}", asked.source)));
    }
    Ok(Planned {
        wanted: None,
        point: MountPoint {
            destination: clean(&asked.target),
            read_only: asked.read_only,
            mode: String::new(),
            kind: MountKind::Bind {
                source: PathBuf::from(clean(&asked.source)),
                propagation: if options.propagation.is_empty() {
                    "rprivate".into()
                } else {
                    options.propagation
                },
                create: options.create_mountpoint,
                non_recursive: options.non_recursive,
                read_only_non_recursive: options.read_only_non_recursive,
                read_only_force_recursive: options.read_only_force_recursive,
            },
        },
    })
}

fn volume_mount(asked: &Asked, invalid: impl Fn(&str) -> Error) -> Result<Planned> {
    let options = asked.volume_options.clone().unwrap_or_default();
    if !asked.source.is_empty() {
        check_volume_name(&asked.source)?;
    }
    if !options.subpath.is_empty() {
        if asked.source.is_empty() {
            return Err(invalid("must not set Subpath when using anonymous volumes"));
        }
        check_subpath(&options.subpath, &invalid)?;
    }
    if asked.read_only && asked.source.is_empty() {
        return Err(invalid("must not set ReadOnly mode when using anonymous volumes"));
    }
    let config = options.driver_config.clone().unwrap_or_default();
    let mut planned =
        volume(clean(&asked.target), asked.source.clone(), &config.name, "z".into(), options.no_copy);
    planned.point.read_only = asked.read_only;
    if let MountKind::Volume { subpath, .. } = &mut planned.point.kind {
        subpath.clone_from(&options.subpath);
    }
    if let Some(wanted) = &mut planned.wanted {
        wanted.options = config.options;
        wanted.labels = options.labels;
    }
    Ok(planned)
}

/// The files of an image, which nobody can change.
fn image_mount(
    asked: &Asked,
    invalid: impl Fn(&str) -> Error,
    find: &dyn Fn(&str) -> Result<String>,
) -> Result<Planned> {
    if asked.source.is_empty() {
        return Err(invalid("field Source must not be empty"));
    }
    let options = asked.image_options.clone().unwrap_or_default();
    check_subpath(&options.subpath, &invalid)?;
    Ok(Planned {
        wanted: None,
        point: MountPoint {
            destination: clean(&asked.target),
            read_only: true,
            mode: String::new(),
            kind: MountKind::Image {
                reference: asked.source.clone(),
                id: find(&asked.source)?,
                subpath: options.subpath,
            },
        },
    })
}

/// Go's `filepath.IsLocal`: no step leads above where it begins.
fn check_subpath(subpath: &str, invalid: &impl Fn(&str) -> Error) -> Result<()> {
    let mut parts = Path::new(subpath).components();
    let depth = parts.try_fold(0u32, |depth, part| match part {
        Component::Normal(_) => Some(depth + 1),
        Component::CurDir => Some(depth),
        Component::ParentDir => depth.checked_sub(1),
        Component::RootDir | Component::Prefix(_) => None,
    });
    if depth.is_some() { Ok(()) } else { Err(invalid("subpath must be a relative path within the volume")) }
}

fn tmpfs_mount(asked: &Asked, invalid: impl Fn(&str) -> Error) -> Result<Planned> {
    if !asked.source.is_empty() {
        return Err(invalid("field Source must not be specified"));
    }
    let options = asked.tmpfs_options.clone().unwrap_or_default();
    let mut words = Vec::new();
    if asked.read_only {
        words.push("ro".to_owned());
    }
    if options.size_bytes < 0 {
        return Err(invalid("size must not be negative"));
    }
    if options.size_bytes > 0 {
        words.push(format!("size={}", options.size_bytes));
    }
    words.push(format!("mode={:o}", if options.mode == 0 { 0o1777 } else { options.mode }));
    words.extend(options.options.iter().map(|parts| parts.join("=")));
    let destination = clean(&asked.target);
    // Refused here rather than at start.
    crate::spec::tmpfs(&destination, &words.join(",")).map_err(|error| invalid(error.message()))?;
    Ok(Planned {
        wanted: None,
        point: MountPoint {
            destination,
            read_only: asked.read_only,
            mode: String::new(),
            kind: MountKind::Tmpfs { options: words },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_checked_by_type() {
        let mount_error =
            |asked: Asked| mount(&asked, &|_| Ok("sha256:1".into())).unwrap_err().message().to_owned();
        let asked = Asked {
            kind: "bind".into(),
            source: "/does-not-exist".into(),
            target: "/x".into(),
            ..Asked::default()
        };
        assert_eq!(
            mount_error(asked.clone()),
            "invalid mount config for type \"bind\": bind source path does not exist: /does-not-exist"
        );
        let tmpfs = Asked { kind: "tmpfs".into(), ..asked.clone() };
        assert!(mount_error(tmpfs).ends_with("field Source must not be specified"));
        let nameless =
            Asked { kind: "volume".into(), source: String::new(), read_only: true, ..asked.clone() };
        assert!(mount_error(nameless).ends_with("must not set ReadOnly mode when using anonymous volumes"));
        let mixed = Asked { volume_options: Some(Default::default()), ..asked };
        assert!(mount_error(mixed).ends_with("VolumeOptions must not be specified on mount type \"bind\""));
    }

    #[test]
    fn an_image_is_mounted_read_only_by_its_id() {
        let asked = Asked {
            kind: "image".into(),
            source: "tools".into(),
            target: "/tools".into(),
            image_options: Some(api::container::ImageOptions { subpath: "bin".into() }),
            ..Asked::default()
        };
        let find = |name: &str| Ok(format!("id of {name}"));
        let planned = mount(&asked, &find).unwrap();
        let MountKind::Image { id, subpath, .. } = &planned.point.kind else { panic!("an image") };
        assert_eq!((id.as_str(), subpath.as_str(), planned.point.read_only), ("id of tools", "bin", true));
        let outside =
            Asked { image_options: Some(api::container::ImageOptions { subpath: "../etc".into() }), ..asked };
        let error = mount(&outside, &find).unwrap_err();
        assert!(error.message().ends_with("subpath must be a relative path within the volume"));
    }
}
