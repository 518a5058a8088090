//! Mounts beside the ones that every container has: from `-v`, `--mount`, `--volumes-from` and the image's volumes to
//! [`MountPoint`]s, when the container is created. Pure but for what [`Known`] looks up and one look at whether a
//! bind's source exists. `--mount` has rules of its own; see [`typed`].

mod typed;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use api::container::{Config, HostConfig};

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

/// What mounts may name.
pub(super) struct Known<'a> {
    /// Containers, for `--volumes-from`.
    pub(super) container: &'a dyn Fn(&str) -> Result<Arc<Record>>,
    /// Images, by which a mount's source becomes an image's id.
    pub(super) image: &'a dyn Fn(&str) -> Result<String>,
    /// As in [`CreateOptions`](super::CreateOptions).
    pub(super) shallow_read_only: bool,
}

/// All mounts of a container, checked.
pub(super) fn plan(config: &Config, host: &HostConfig, known: &Known<'_>) -> Result<Vec<Planned>> {
    let mut planned: BTreeMap<String, Planned> = BTreeMap::new();
    for text in host.volumes_from.iter().flatten() {
        for taken in volumes_from(text, known.container)? {
            planned.insert(taken.point.destination.clone(), taken);
        }
    }
    for path in host.tmpfs.keys() {
        check_destination(path, Error::invalid)?;
    }
    let mut seen: BTreeSet<String> = BTreeSet::new();
    let mut add = |planned: &mut BTreeMap<String, Planned>, new: Planned, taken: bool| {
        let destination = new.point.destination.clone();
        if !seen.insert(destination.clone()) || taken {
            return Err(Error::invalid(format!("Duplicate mount point: {destination}")));
        }
        planned.insert(destination, new);
        Ok(())
    };
    let tmpfs: BTreeSet<String> = host.tmpfs.keys().map(|path| clean(path)).collect();
    for text in host.binds.iter().flatten() {
        let new = volume_flag(text, &host.volume_driver, known.shallow_read_only)?;
        let taken = tmpfs.contains(&new.point.destination);
        add(&mut planned, new, taken)?;
    }
    for asked in &host.mounts {
        // In the place of a `--tmpfs`: the later mount hides it, as in Docker.
        add(&mut planned, typed::mount(asked, known.image)?, false)?;
    }
    let seen: BTreeSet<String> = seen.into_iter().chain(tmpfs).collect();
    for path in config.volumes.iter().flatten().map(|(path, _)| path) {
        // One that is not absolute counts from the root: `VOLUME data`, `-v data`.
        let destination = clean(path);
        check_destination(&destination, |reason| {
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
    let (name, mode) = text.split_once(':').unwrap_or((text, ""));
    let mode = if mode.is_empty() { "rw" } else { mode };
    let shown = mode;
    let mode = Mode::parse(mode, shown)?;
    if mode.no_copy || !mode.propagation.is_empty() {
        return Err(Error::invalid(format!("invalid mode: {shown}")));
    }
    let from = source(name)?;
    let taken = from.mounts.iter().filter_map(|point| {
        let kind = match &point.kind {
            // One that nobody named goes with the last container that is removed with its volumes.
            MountKind::Volume { name, driver, source, anonymous, subpath, propagation, .. } => {
                MountKind::Volume {
                    name: name.clone(),
                    driver: driver.clone(),
                    source: source.clone(),
                    anonymous: *anonymous,
                    subpath: subpath.clone(),
                    no_copy: true,
                    propagation: propagation.clone(),
                }
            }
            kind @ MountKind::Bind { .. } => kind.clone(),
            MountKind::Tmpfs { .. } | MountKind::Image { .. } => return None,
        };
        let read_only = point.read_only || mode.read_only;
        let (destination, mode) = (point.destination.clone(), String::new());
        Some(Planned { point: MountPoint { destination, read_only, mode, kind }, wanted: None })
    });
    Ok(taken.collect())
}

/// What stands behind the last colon of `-v`. Which word goes with which kind of mount is checked later.
#[derive(Debug, Default)]
struct Mode {
    read_only: bool,
    no_copy: bool,
    propagation: String,
}

impl Mode {
    fn parse(mode: &str, shown: &str) -> Result<Mode> {
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
                // Labels of SELinux, for containers that have labels: ours come to their files without.
                "z" | "Z" => "label",
                "nocopy" => {
                    parsed.no_copy = true;
                    "copy"
                }
                // Hints for other systems.
                "consistent" | "cached" | "delegated" | "default" => "consistency",
                word if PROPAGATIONS.contains(&word) => {
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
fn volume_flag(text: &str, driver: &str, shallow_read_only: bool) -> Result<Planned> {
    let specification =
        |reason: &str| Error::invalid(format!("invalid volume specification: '{text}'{reason}"));
    let parts: Vec<&str> = text.split(':').collect();
    let (source, destination, mode) = match parts[..] {
        [destination] => ("", destination, ""),
        // A mode needs a source before it.
        [_, second] if Mode::parse(second, text).is_ok() => return Err(specification("")),
        [source, destination] => (source, destination, ""),
        [source, destination, mode] => (source, destination, mode),
        _ => return Err(specification("")),
    };
    if parts.len() > 1 && parts[0].is_empty() || destination.is_empty() {
        return Err(specification(""));
    }
    let parsed = Mode::parse(if mode.is_empty() { "rw" } else { mode }, mode)?;
    let is_bind = source.starts_with('/');
    let kind = if is_bind { "bind" } else { "volume" };
    check_destination(destination, |reason| {
        specification(&format!(": invalid mount config for type {kind:?}: {reason}"))
    })?;
    let misplaced = if is_bind { parsed.no_copy.then_some("VolumeOptions") } else { None }
        .or((!is_bind && !parsed.propagation.is_empty()).then_some("BindOptions"));
    if let Some(field) = misplaced {
        return Err(specification(&format!(
            ": invalid mount config for type {kind:?}: field {field} must not be specified"
        )));
    }
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
                    read_only_non_recursive: shallow_read_only && parsed.read_only,
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
    use std::path::Path;

    use super::*;
    use crate::container::record::tests::record;

    fn planned(binds: &[&str]) -> Result<Vec<Planned>> {
        let host = HostConfig {
            binds: Some(binds.iter().map(|text| (*text).to_owned()).collect()),
            ..HostConfig::default()
        };
        plan(&Config::default(), &host, &nobody())
    }

    fn nobody() -> Known<'static> {
        Known {
            container: &|name| Err(Error::not_found(name)),
            image: &|name| Err(Error::not_found(name)),
            shallow_read_only: false,
        }
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
        assert!(message(&["/a:b:c"]).ends_with("invalid mode: c"), "before the place is looked at");
        assert!(message(&["/a:/b:ro,rw"]).ends_with("invalid mode: ro,rw"));
        assert!(
            message(&["/a:/b:nocopy"]).ends_with(
                "invalid mount config for type \"bind\": field VolumeOptions must not be specified"
            )
        );
        assert!(
            message(&["vol:/b:rslave"]).ends_with(
                "invalid mount config for type \"volume\": field BindOptions must not be specified"
            )
        );
        assert_eq!(message(&["/b:ro"]), "invalid volume specification: '/b:ro'");
        assert_eq!(message(&["/a:/b", "/c:/b/"]), "Duplicate mount point: /b");
        assert!(message(&["x:/b"]).contains("volume name is too short"));
        assert!(message(&["a/b:/b"]).contains("includes invalid characters for a local volume name"));
    }

    #[test]
    fn an_images_volume_is_anonymous_unless_something_is_mounted_there() {
        let config = Config {
            volumes: Some(
                ["/data".to_owned(), "logs/../logs/".to_owned()]
                    .into_iter()
                    .map(|path| (path, Default::default()))
                    .collect(),
            ),
            ..Config::default()
        };
        let host = HostConfig { binds: Some(vec!["/srv:/data".into()]), ..HostConfig::default() };
        let all = plan(&config, &host, &nobody()).unwrap();
        assert!(matches!(all[0].point.kind, MountKind::Bind { .. }));
        assert!(matches!(all[1].point.kind, MountKind::Volume { anonymous: true, .. }));
        assert_eq!(all[1].point.destination, "/logs");
        let config = Config { volumes: Some([("..".to_owned(), Default::default())].into()), ..config };
        let refused = plan(&config, &host, &nobody()).unwrap_err();
        assert!(refused.message().contains("destination can't be '/'"), "{refused}");
    }

    #[test]
    fn volumes_from_takes_binds_and_volumes_and_may_tighten_them() {
        let mut from = record("data");
        from.mounts = planned(&["/srv:/data"]).unwrap().into_iter().map(|planned| planned.point).collect();
        let from = Arc::new(from);
        let host = HostConfig { volumes_from: Some(vec!["data:ro".into()]), ..HostConfig::default() };
        let known = Known { container: &|_| Ok(from.clone()), ..nobody() };
        let all = plan(&Config::default(), &host, &known).unwrap();
        assert!(all[0].point.read_only && all[0].point.destination == "/data");
        let host = HostConfig { volumes_from: Some(vec!["data:".into()]), ..HostConfig::default() };
        assert!(!plan(&Config::default(), &host, &known).unwrap()[0].point.read_only);
    }

    #[test]
    fn who_takes_a_volume_that_nobody_named_may_be_its_last() {
        let mut from = record("data");
        from.mounts =
            planned(&["/anon", "named:/b"]).unwrap().into_iter().map(|planned| planned.point).collect();
        let from = Arc::new(from);
        let host = HostConfig { volumes_from: Some(vec!["data".into()]), ..HostConfig::default() };
        let all = plan(&Config::default(), &host, &Known { container: &|_| Ok(from.clone()), ..nobody() });
        let taken: Vec<_> = all.unwrap().into_iter().map(|planned| planned.point).collect();
        let goes = |point: &MountPoint| matches!(point.kind, MountKind::Volume { anonymous: true, .. });
        assert_eq!(taken.iter().map(goes).collect::<Vec<_>>(), [true, false]);
        assert!(taken.iter().all(|point| point.mode.is_empty()), "{taken:?}");
    }

    #[test]
    fn paths_are_cleaned_as_go_does() {
        assert_eq!(clean("//a/./b/../c/"), "/a/c");
        assert_eq!(clean("/.."), "/");
    }
}
