//! Mounts beside the ones that every container has: from `-v`, `--mount`, `--volumes-from` and the image's volumes to
//! [`MountPoint`]s, when the container is created. Pure but for one look at whether a bind's source exists.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use api::container::{Config, HostConfig, Mount as Asked};

use super::record::{MountKind, MountPoint, Record};
use crate::error::{Error, Result};
use crate::volumes::Wanted;

/// A mount that was asked for; a volume may not exist yet.
#[derive(Debug, Clone)]
pub(super) struct Planned {
    pub(super) point: MountPoint,
    /// The volume to make sure of.
    pub(super) wanted: Option<Wanted>,
}

const PROPAGATIONS: &[&str] = &["private", "rprivate", "shared", "rshared", "slave", "rslave"];

/// All mounts of a container, checked. `source` finds the containers that `--volumes-from` names.
pub(super) fn plan(
    config: &Config,
    host: &HostConfig,
    source: impl Fn(&str) -> Result<Arc<Record>>,
) -> Result<Vec<Planned>> {
    let mut planned: BTreeMap<String, Planned> = BTreeMap::new();
    for text in host.volumes_from.iter().flatten() {
        for taken in volumes_from(text, &source)? {
            planned.insert(taken.point.destination.clone(), taken);
        }
    }
    let mut seen: BTreeSet<String> = host.tmpfs.keys().map(|path| clean(path)).collect();
    for path in host.tmpfs.keys() {
        check_destination(path, Error::invalid)?;
    }
    let mut add = |planned: &mut BTreeMap<String, Planned>, new: Planned| {
        let destination = new.point.destination.clone();
        if !seen.insert(destination.clone()) {
            return Err(Error::invalid(format!("Duplicate mount point: {destination}")));
        }
        planned.insert(destination, new);
        Ok(())
    };
    for text in host.binds.iter().flatten() {
        add(&mut planned, volume_flag(text, &host.volume_driver)?)?;
    }
    for asked in &host.mounts {
        add(&mut planned, mount(asked)?)?;
    }
    for path in config.volumes.iter().flatten().map(|(path, _)| path) {
        let destination = clean(path);
        check_destination(path, |reason| {
            Error::invalid(format!("invalid volume specification: '{path}': {reason}"))
        })?;
        if !planned.contains_key(&destination) && !seen.contains(&destination) {
            planned.insert(destination.clone(), anonymous(destination, &host.volume_driver, String::new()));
        }
    }
    Ok(planned.into_values().collect())
}

fn anonymous(destination: String, driver: &str, mode: String) -> Planned {
    volume(destination, String::new(), driver, mode, false)
}

fn volume(destination: String, name: String, driver: &str, mode: String, no_copy: bool) -> Planned {
    let driver = if driver.is_empty() { "local" } else { driver };
    let anonymous = name.is_empty();
    Planned {
        wanted: Some(Wanted {
            name: (!anonymous).then(|| name.clone()),
            driver: driver.to_owned(),
            ..Wanted::default()
        }),
        point: MountPoint {
            destination,
            read_only: false,
            mode,
            kind: MountKind::Volume {
                name,
                driver: driver.to_owned(),
                source: PathBuf::new(),
                anonymous,
                subpath: String::new(),
                no_copy,
                propagation: String::new(),
            },
        },
    }
}

/// `container[:mode]`: every bind and volume of another container.
fn volumes_from(text: &str, source: impl Fn(&str) -> Result<Arc<Record>>) -> Result<Vec<Planned>> {
    if text.is_empty() {
        return Err(Error::invalid("volumes-from specification cannot be an empty string"));
    }
    let (name, mode) = text.split_once(':').unwrap_or((text, "rw"));
    let mode = Mode::parse(mode, mode, false)?;
    let from = source(name)?;
    let taken = from.mounts.iter().filter_map(|point| {
        let kind = match &point.kind {
            // It belongs to the container that made it.
            MountKind::Volume { name, driver, source, subpath, propagation, .. } => MountKind::Volume {
                name: name.clone(),
                driver: driver.clone(),
                source: source.clone(),
                anonymous: false,
                subpath: subpath.clone(),
                no_copy: true,
                propagation: propagation.clone(),
            },
            kind @ MountKind::Bind { .. } => kind.clone(),
            MountKind::Tmpfs { .. } | MountKind::Image { .. } => return None,
        };
        let read_only = point.read_only || mode.read_only;
        Some(Planned { point: MountPoint { kind, read_only, ..point.clone() }, wanted: None })
    });
    Ok(taken.collect())
}

/// What stands behind the last colon of `-v`.
#[derive(Debug, Default)]
struct Mode {
    read_only: bool,
    no_copy: bool,
    propagation: String,
}

impl Mode {
    fn parse(mode: &str, shown: &str, bind: bool) -> Result<Mode> {
        let invalid = || Error::invalid(format!("invalid mode: {shown}"));
        let mut parsed = Mode::default();
        let mut kinds = BTreeSet::new();
        for word in mode.split(',') {
            let kind = match word {
                "rw" => "access",
                "ro" => {
                    parsed.read_only = true;
                    "access"
                }
                // Labels of SELinux: there are none to change where it is off.
                "z" | "Z" => "label",
                "nocopy" if !bind => {
                    parsed.no_copy = true;
                    "copy"
                }
                // Hints for other systems.
                "consistent" | "cached" | "delegated" | "default" => "consistency",
                word if bind && PROPAGATIONS.contains(&word) => {
                    word.clone_into(&mut parsed.propagation);
                    "propagation"
                }
                _ => return Err(invalid()),
            };
            if !kinds.insert(kind) {
                return Err(invalid());
            }
        }
        Ok(parsed)
    }
}

/// One `-v`: `[source:]destination[:mode]`.
fn volume_flag(text: &str, driver: &str) -> Result<Planned> {
    let specification =
        |reason: &str| Error::invalid(format!("invalid volume specification: '{text}'{reason}"));
    let parts: Vec<&str> = text.split(':').collect();
    let (source, destination, mode) = match parts[..] {
        [destination] => ("", destination, ""),
        [source, second] if Mode::parse(second, text, true).is_ok() && !second.starts_with('/') => {
            ("", source, second)
        }
        [source, destination] => (source, destination, ""),
        [source, destination, mode] => (source, destination, mode),
        _ => return Err(specification("")),
    };
    if parts.len() > 1 && parts[0].is_empty() || destination.is_empty() {
        return Err(specification(""));
    }
    let is_bind = source.starts_with('/');
    let kind = if is_bind { "bind" } else { "volume" };
    check_destination(destination, |reason| {
        specification(&format!(": invalid mount config for type {kind:?}: {reason}"))
    })?;
    let words = if mode.is_empty() { "rw" } else { mode };
    let parsed = Mode::parse(words, mode, is_bind)?;
    let destination = clean(destination);
    if is_bind {
        let propagation = if parsed.propagation.is_empty() { "rprivate".into() } else { parsed.propagation };
        return Ok(Planned {
            wanted: None,
            point: MountPoint {
                destination,
                read_only: parsed.read_only,
                mode: mode.to_owned(),
                kind: MountKind::Bind {
                    source: PathBuf::from(clean(source)),
                    propagation,
                    create: true,
                    non_recursive: false,
                    read_only_non_recursive: false,
                    read_only_force_recursive: false,
                },
            },
        });
    }
    if !source.is_empty() {
        check_volume_name(source)?;
    }
    let shown = if mode.is_empty() { "z" } else { mode };
    let mut planned = volume(destination, source.to_owned(), driver, shown.to_owned(), parsed.no_copy);
    planned.point.read_only = parsed.read_only;
    Ok(planned)
}

pub(crate) fn check_volume_name(name: &str) -> Result<()> {
    let mut characters = name.chars();
    let valid = characters.next().is_some_and(|first| first.is_ascii_alphanumeric())
        && characters.all(|character| character.is_ascii_alphanumeric() || "_.-".contains(character));
    if name.len() < 2 {
        return Err(Error::invalid(format!(
            "create {name}: volume name is too short, names should be at least two alphanumeric characters"
        )));
    }
    if valid {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "create {name}: \"{name}\" includes invalid characters for a local volume name, only \
         \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path"
    )))
}

/// One `--mount`.
fn mount(asked: &Asked) -> Result<Planned> {
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
        _ => return Err(Error::not_implemented("mounts of type image are not supported by this engine")),
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
        let inside = Path::new(&options.subpath)
            .components()
            .all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if !inside {
            return Err(invalid("subpath must be a relative path within the volume"));
        }
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

fn check_destination(path: &str, invalid: impl Fn(String) -> Error) -> Result<()> {
    if !path.starts_with('/') {
        return Err(invalid(format!("invalid mount path: '{path}' mount path must be absolute")));
    }
    if clean(path) == "/" {
        return Err(invalid("invalid specification: destination can't be '/'".into()));
    }
    Ok(())
}

/// Go's `path.Clean` of an absolute path: no `.`, no `..`, no doubled or trailing slash.
pub(crate) fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::record::tests::record;

    fn planned(binds: &[&str]) -> Result<Vec<Planned>> {
        let host = HostConfig {
            binds: Some(binds.iter().map(|text| (*text).to_owned()).collect()),
            ..HostConfig::default()
        };
        plan(&Config::default(), &host, |name| Err(Error::not_found(name)))
    }

    fn message(binds: &[&str]) -> String {
        planned(binds).unwrap_err().message().to_owned()
    }

    #[test]
    fn a_path_is_bound_and_a_name_is_a_volume() {
        let all = planned(&["/srv/../data/:/data/:ro", "cache:/var/cache"]).unwrap();
        let MountKind::Bind { source, create, propagation, .. } = &all[0].point.kind else {
            panic!("a bind")
        };
        assert_eq!((source.as_path(), *create, propagation.as_str()), (Path::new("/data"), true, "rprivate"));
        assert!(all[0].point.read_only);
        let wanted = all[1].wanted.as_ref().unwrap();
        assert_eq!((wanted.name.as_deref(), all[1].point.mode.as_str()), (Some("cache"), "z"));
    }

    #[test]
    fn nonsense_is_refused_in_dockers_words() {
        assert_eq!(message(&["/a:/b:ro:x"]), "invalid volume specification: '/a:/b:ro:x'");
        assert_eq!(
            message(&["/a:b"]),
            "invalid volume specification: '/a:b': invalid mount config for type \"bind\": invalid mount path: 'b' mount path must be absolute"
        );
        assert_eq!(
            message(&["/a:/"]),
            "invalid volume specification: '/a:/': invalid mount config for type \"bind\": invalid specification: destination can't be '/'"
        );
        assert!(message(&["/a:/b:dance"]).ends_with("invalid mode: dance"));
        assert!(message(&["/a:/b:ro,rw"]).ends_with("invalid mode: ro,rw"));
        assert_eq!(message(&["/a:/b", "/c:/b/"]), "Duplicate mount point: /b");
        assert!(message(&["x:/b"]).contains("volume name is too short"));
        assert!(message(&["a/b:/b"]).contains("includes invalid characters for a local volume name"));
    }

    #[test]
    fn an_images_volume_is_anonymous_unless_something_is_mounted_there() {
        let config = Config {
            volumes: Some(
                ["/data".to_owned(), "/logs".to_owned()]
                    .into_iter()
                    .map(|path| (path, Default::default()))
                    .collect(),
            ),
            ..Config::default()
        };
        let host = HostConfig { binds: Some(vec!["/srv:/data".into()]), ..HostConfig::default() };
        let all = plan(&config, &host, |name| Err(Error::not_found(name))).unwrap();
        assert!(matches!(all[0].point.kind, MountKind::Bind { .. }));
        assert!(matches!(all[1].point.kind, MountKind::Volume { anonymous: true, .. }));
    }

    #[test]
    fn volumes_from_takes_binds_and_volumes_and_may_tighten_them() {
        let mut from = record("data");
        from.mounts = planned(&["/srv:/data"]).unwrap().into_iter().map(|planned| planned.point).collect();
        let from = Arc::new(from);
        let host = HostConfig { volumes_from: Some(vec!["data:ro".into()]), ..HostConfig::default() };
        let all = plan(&Config::default(), &host, |_| Ok(from.clone())).unwrap();
        assert!(all[0].point.read_only && all[0].point.destination == "/data");
    }

    #[test]
    fn mounts_are_checked_by_type() {
        let mount_error = |asked: Asked| mount(&asked).unwrap_err().message().to_owned();
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
        let mixed = Asked { volume_options: Some(Default::default()), ..asked };
        assert!(mount_error(mixed).ends_with("VolumeOptions must not be specified on mount type \"bind\""));
    }

    #[test]
    fn paths_are_cleaned_as_go_does() {
        assert_eq!(clean("//a/./b/../c/"), "/a/c");
        assert_eq!(clean("/.."), "/");
    }
}
