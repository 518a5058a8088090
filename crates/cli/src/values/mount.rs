//! Mounts: `--mount key=value,…` and the binds of `--volume`.

use std::path::Path;

use api::container::{BindOptions, Mount, TmpfsOptions, VolumeDriver, VolumeOptions};

use super::csv;
use crate::units;

/// Parses a value of `--mount`.
pub(crate) fn parse(text: &str) -> Result<Mount, String> {
    let mut mount = Mount { kind: "volume".to_owned(), ..Mount::default() };
    for field in csv(text)? {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key.to_lowercase(), Some(value)),
            None => (field.to_lowercase(), None),
        };
        match value {
            Some(value) => set(&mut mount, &key, value, &field)?,
            None => set_bare(&mut mount, &key, &field)?,
        }
    }
    check(&mount)?;
    Ok(mount)
}

/// Keys that need no value, because they are switches.
fn set_bare(mount: &mut Mount, key: &str, field: &str) -> Result<(), String> {
    match key {
        "readonly" | "ro" | "volume-nocopy" | "bind-nonrecursive" | "bind-create-src" => {
            set(mount, key, "true", field)
        }
        _ => Err(format!("invalid field '{field}' must be a key=value pair")),
    }
}

fn set(mount: &mut Mount, key: &str, value: &str, field: &str) -> Result<(), String> {
    let switch = |value: &str| match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!("invalid value for {key}: {value}")),
    };
    match key {
        "type" => mount.kind = value.to_lowercase(),
        "source" | "src" => mount.source = source(value)?,
        "target" | "dst" | "destination" => mount.target = value.to_owned(),
        "readonly" | "ro" => mount.read_only = switch(value)?,
        "consistency" => mount.consistency = value.to_lowercase(),
        "bind-propagation" => bind(mount).propagation = value.to_lowercase(),
        "bind-nonrecursive" => {
            // The older way to say bind-recursive=disabled.
            bind(mount).non_recursive = switch(value)?;
        }
        "bind-create-src" => bind(mount).create_mountpoint = switch(value)?,
        "bind-recursive" => match value {
            "enabled" => {}
            "disabled" => bind(mount).non_recursive = true,
            "writable" => bind(mount).read_only_non_recursive = true,
            "readonly" => bind(mount).read_only_force_recursive = true,
            _ => {
                return Err(format!(
                    "invalid value for {key}: {value} (must be \"enabled\", \"disabled\", \"writable\", or \"readonly\")"
                ));
            }
        },
        "volume-subpath" => volume(mount).subpath = value.to_owned(),
        "volume-nocopy" => volume(mount).no_copy = switch(value)?,
        "volume-label" => {
            let (key, value) = value.split_once('=').unwrap_or((value, ""));
            volume(mount).labels.insert(key.to_owned(), value.to_owned());
        }
        "volume-driver" => driver(mount).name = value.to_owned(),
        "volume-opt" => {
            let (key, value) = value.split_once('=').unwrap_or((value, ""));
            driver(mount).options.insert(key.to_owned(), value.to_owned());
        }
        "image-subpath" => mount.image_options.get_or_insert_default().subpath = value.to_owned(),
        "tmpfs-size" => {
            tmpfs(mount).size_bytes =
                units::parse_bytes(value).map_err(|_| format!("invalid value for {key}: {value}"))?
        }
        "tmpfs-mode" => {
            tmpfs(mount).mode =
                u32::from_str_radix(value, 8).map_err(|_| format!("invalid value for {key}: {value}"))?
        }
        _ => return Err(format!("unexpected key '{key}' in '{field}'")),
    }
    Ok(())
}

fn bind(mount: &mut Mount) -> &mut BindOptions {
    mount.bind_options.get_or_insert_default()
}

fn volume(mount: &mut Mount) -> &mut VolumeOptions {
    mount.volume_options.get_or_insert_default()
}

fn driver(mount: &mut Mount) -> &mut VolumeDriver {
    volume(mount).driver_config.get_or_insert_default()
}

fn tmpfs(mount: &mut Mount) -> &mut TmpfsOptions {
    mount.tmpfs_options.get_or_insert_default()
}

/// A relative source means a directory of the caller, which the engine cannot know.
fn source(value: &str) -> Result<String, String> {
    match value == "." || value.starts_with("./") || value == ".." || value.starts_with("../") {
        true => absolute(value),
        false => Ok(value.to_owned()),
    }
}

fn check(mount: &Mount) -> Result<(), String> {
    let kind = mount.kind.as_str();
    if mount.target.is_empty() {
        return Err("target is required".to_owned());
    }
    let foreign = [
        ("volume", mount.volume_options.is_some()),
        ("bind", mount.bind_options.is_some()),
        ("tmpfs", mount.tmpfs_options.is_some()),
        ("image", mount.image_options.is_some()),
    ];
    for (options, present) in foreign {
        if present && options != kind {
            return Err(format!("cannot mix '{options}-*' options with mount type '{kind}'"));
        }
    }
    if let Some(options) = &mount.bind_options {
        if options.read_only_non_recursive && !mount.read_only {
            return Err(
                "option 'bind-recursive=writable' requires 'readonly' to be specified in conjunction"
                    .to_owned(),
            );
        }
        if options.read_only_force_recursive && (!mount.read_only || options.propagation != "rprivate") {
            return Err("option 'bind-recursive=readonly' requires 'readonly' and 'bind-propagation=rprivate' to be specified in conjunction".to_owned());
        }
    }
    Ok(())
}

/// A value of `--volume`: `[source:]target[:options]`. A source that is a relative path is made
/// absolute here; whether it is a path or a volume's name shows at its first letter.
pub(crate) fn parse_volume(text: &str) -> Result<Volume, String> {
    let bad = || format!("invalid spec: {text}: empty section between colons");
    let parts: Vec<&str> = text.split(':').collect();
    if text.is_empty() {
        return Err("invalid empty volume spec".to_owned());
    }
    if parts.iter().any(|part| part.is_empty()) {
        return Err(bad());
    }
    match parts[..] {
        [target] => Ok(Volume::Anonymous(target.to_owned())),
        [source, ref rest @ ..] if rest.len() <= 2 => {
            let source = match source.starts_with('.') {
                true => absolute(source)?,
                false => source.to_owned(),
            };
            Ok(Volume::Bind(format!("{source}:{}", rest.join(":"))))
        }
        _ => Err(format!("invalid spec: {text}: too many colons")),
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Volume {
    /// Only a place in the container.
    Anonymous(String),
    /// `source:target[:options]`.
    Bind(String),
}

fn absolute(path: &str) -> Result<String, String> {
    let here =
        std::env::current_dir().map_err(|error| format!("the current directory is not known: {error}"))?;
    Ok(clean(&here.join(path)))
}

/// A path without `.` and `..`, by its text alone.
fn clean(path: &Path) -> String {
    let mut parts: Vec<&str> = Vec::new();
    let text = path.to_string_lossy();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_of_all_kinds() {
        let mount = parse("type=bind,src=/a,dst=/b,readonly,bind-propagation=rslave").unwrap();
        assert_eq!(
            (mount.kind.as_str(), mount.source.as_str(), mount.target.as_str(), mount.read_only),
            ("bind", "/a", "/b", true)
        );
        assert_eq!(mount.bind_options.unwrap().propagation, "rslave");
        let mount =
            parse("source=data,target=/data,volume-label=a=b,volume-opt=type=nfs,\"volume-opt=o=addr=1,rw\"")
                .unwrap();
        let options = mount.volume_options.unwrap();
        assert_eq!(options.labels["a"], "b");
        assert_eq!(options.driver_config.unwrap().options["o"], "addr=1,rw");
        let mount = parse("type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=1770").unwrap();
        assert_eq!(
            mount.tmpfs_options.map(|options| (options.size_bytes, options.mode)),
            Some((1 << 20, 0o1770))
        );
        assert_eq!(
            parse("type=image,src=i,dst=/i,image-subpath=x").unwrap().image_options.unwrap().subpath,
            "x"
        );
    }

    #[test]
    fn wrong_mounts_are_told() {
        let error = |text: &str| parse(text).unwrap_err();
        assert_eq!(error("foo"), "invalid field 'foo' must be a key=value pair");
        assert_eq!(error("type=volume,foo=x"), "unexpected key 'foo' in 'foo=x'");
        assert_eq!(error("type=bind,src=/a"), "target is required");
        assert_eq!(
            error("type=tmpfs,dst=/a,volume-nocopy"),
            "cannot mix 'volume-*' options with mount type 'tmpfs'"
        );
        assert_eq!(error("dst=/a,readonly=maybe"), "invalid value for readonly: maybe");
        assert_eq!(error("dst=/a,bind-nonrecursive=x"), "invalid value for bind-nonrecursive: x");
    }

    #[test]
    fn volumes() {
        assert_eq!(parse_volume("/data").unwrap(), Volume::Anonymous("/data".to_owned()));
        assert_eq!(parse_volume("v:/data:ro").unwrap(), Volume::Bind("v:/data:ro".to_owned()));
        // Shells expand it; whoever keeps them from it means a name.
        assert_eq!(parse_volume("~/x:/d").unwrap(), Volume::Bind("~/x:/d".to_owned()));
        let here = std::env::current_dir().unwrap();
        assert_eq!(parse_volume("./x/../y:/d").unwrap(), Volume::Bind(format!("{}/y:/d", here.display())));
        assert!(
            parse_volume("a::b").is_err() && parse_volume("a:b:c:d").is_err() && parse_volume("").is_err()
        );
    }
}
