//! Devices by the Container Device Interface: what vendors write down of their devices in `/etc/cdi` and
//! `/var/run/cdi`, found by qualified names (`nvidia.com/gpu=0`).
//!
//! The files are read when a container starts that asks for such a device, never before: they are few, and what they
//! say may have changed. A file of a later directory hides the devices of the same name in an earlier one; two files of
//! one directory that name the same device make it unresolvable. Files that make no sense are passed over with a
//! warning, so that one vendor's mistake does not hide another's devices. Files are JSON or plain YAML; see [`yaml`].
//!
//! `--gpus` is a request for devices, too: of `nvidia.com/gpu` or `amd.com/gpu`, whichever is there. Capabilities say which
//! one can be meant; a vendor's file brings all of them into the container, so whoever asks for some has them.

mod edits;
mod yaml;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use api::container::DeviceRequest;
use serde::Deserialize;

pub(super) use edits::{Edits, apply};

use crate::error::{Error, Result};

/// Files per directory, and bytes per file, that are read: vendors write a few kilobytes.
const MAX_FILES: usize = 256;
const MAX_FILE: u64 = 4 << 20;

/// The kinds that `--gpus` may mean, the first one that is there, each with its driver and what that is capable of.
const GPUS: [Gpu; 2] = [
    Gpu {
        kind: "nvidia.com/gpu",
        driver: "nvidia",
        capabilities: &["gpu", "nvidia", "compute", "compat32", "graphics", "utility", "video", "display"],
    },
    Gpu { kind: "amd.com/gpu", driver: "amd", capabilities: &["gpu", "amd"] },
];

#[derive(Debug, Clone, Copy)]
struct Gpu {
    kind: &'static str,
    driver: &'static str,
    capabilities: &'static [&'static str],
}

impl Gpu {
    /// Whether one of the sets that a request names is within what it is capable of.
    fn suits(&self, request: &DeviceRequest) -> bool {
        let able = |capability: &String| self.capabilities.contains(&capability.as_str());
        ["", self.driver].contains(&request.driver.as_str())
            && request.capabilities.iter().flatten().any(|all| !all.is_empty() && all.iter().all(able))
    }
}

/// A file of a vendor.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    kind: String,
    #[serde(default)]
    devices: Vec<Device>,
    #[serde(default)]
    container_edits: Edits,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Device {
    name: String,
    #[serde(default)]
    container_edits: Edits,
}

/// All devices, each with what its file says of every device.
#[derive(Debug, Default)]
struct Known {
    devices: BTreeMap<String, Found>,
}

#[derive(Debug, Clone)]
struct Found {
    /// None: two files of one directory claim it.
    file: Option<Arc<(PathBuf, Edits)>>,
    edits: Edits,
}

/// What the requests of a container change in its specification, in order.
pub(super) fn find(requests: &[DeviceRequest], directories: &[PathBuf]) -> Result<Vec<Edits>> {
    if requests.is_empty() {
        return Ok(Vec::new());
    }
    let known = Known::read(directories);
    let mut names = Vec::new();
    for request in requests {
        names.extend(known.names(request)?);
    }
    known.edits(&names)
}

impl Known {
    fn read(directories: &[PathBuf]) -> Known {
        let mut known = Known::default();
        for directory in directories {
            let mut here: BTreeMap<String, Found> = BTreeMap::new();
            for path in files(directory) {
                match parse(&path) {
                    Ok(file) => add(&mut here, &path, file),
                    Err(reason) => {
                        tracing::warn!(path = %path.display(), reason, "passing over a device file");
                    }
                }
            }
            known.devices.extend(here);
        }
        known
    }

    /// The qualified names that a request means.
    fn names(&self, request: &DeviceRequest) -> Result<Vec<String>> {
        let ids = request.device_ids.as_deref().unwrap_or_default();
        if request.driver == "cdi" {
            return match request {
                _ if request.count != 0 => Err(Error::system("unexpected count in CDI device request")),
                _ if request.options.as_ref().is_some_and(|all| !all.is_empty()) => {
                    Err(Error::system("unexpected options in CDI device request"))
                }
                _ => Ok(ids.to_vec()),
            };
        }
        let Some(gpu) = GPUS.into_iter().find(|gpu| gpu.suits(request) && self.has(gpu.kind)) else {
            let asked = request.capabilities.iter().flatten();
            let capabilities: Vec<String> = asked.map(|all| format!("[{}]", all.join(" "))).collect();
            return Err(Error::system(format!(
                "could not select device driver \"{}\" with capabilities: [{}]",
                request.driver,
                capabilities.join(" ")
            )));
        };
        let kind = gpu.kind;
        if let Some(option) = request.options.iter().flatten().map(|(key, _)| key).next() {
            return Err(Error::system(format!("unexpected option {option} in a request for {kind}")));
        }
        if !ids.is_empty() && request.count != 0 {
            return Err(Error::system("cannot set both Count and DeviceIDs on device request"));
        }
        if !ids.is_empty() {
            return Ok(ids.iter().map(|id| format!("{kind}={id}")).collect());
        }
        Ok(match request.count {
            count if count < 0 => vec![format!("{kind}=all")],
            count => (0..count).map(|index| format!("{kind}={index}")).collect(),
        })
    }

    fn has(&self, kind: &str) -> bool {
        self.devices.keys().any(|name| name.split('=').next() == Some(kind))
    }

    /// What the devices change: what a file says of all its devices comes once, before its first device.
    fn edits(&self, names: &[String]) -> Result<Vec<Edits>> {
        let resolve = |name: &String| {
            let found = self.devices.get(name)?;
            Some((found.file.clone()?, &found.edits))
        };
        let unresolvable: Vec<&str> =
            names.iter().filter(|name| resolve(name).is_none()).map(String::as_str).collect();
        if !unresolvable.is_empty() {
            return Err(Error::system(format!(
                "CDI device injection failed: unresolvable CDI devices {}",
                unresolvable.join(", ")
            )));
        }
        let mut all = Vec::new();
        let mut seen: Vec<PathBuf> = Vec::new();
        for (file, own) in names.iter().filter_map(resolve) {
            if !seen.contains(&file.0) {
                seen.push(file.0.clone());
                all.push(file.1.clone());
            }
            all.push(own.clone());
        }
        Ok(all)
    }
}

fn add(here: &mut BTreeMap<String, Found>, path: &Path, file: File) {
    let common = Arc::new((path.to_owned(), file.container_edits));
    for device in file.devices {
        let name = format!("{}={}", file.kind, device.name);
        let found = Found { file: Some(common.clone()), edits: device.container_edits };
        if let Some(other) = here.insert(name.clone(), found)
            && let Some(found) = here.get_mut(&name)
        {
            let others = other.file.map(|file| file.0.display().to_string()).unwrap_or_default();
            tracing::warn!(device = name, path = %path.display(), others, "two files have the same device");
            found.file = None;
        }
    }
}

/// The files of a directory, by name; one that is not there has none.
fn files(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let paths = entries.flatten().map(|entry| entry.path());
    let mut all: Vec<PathBuf> =
        paths.filter(|path| ["json", "yaml"].iter().any(|known| is_a(path, known))).collect();
    all.sort();
    all.truncate(MAX_FILES);
    all
}

fn is_a(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|own| own == extension)
}

fn parse(path: &Path) -> Result<File, String> {
    let told = |error: serde_json::Error| error.to_string();
    let size = fs::metadata(path).map_err(|error| error.to_string())?.len();
    if size > MAX_FILE {
        return Err(format!("it is larger than {MAX_FILE} bytes"));
    }
    let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
    let value =
        if is_a(path, "yaml") { yaml::parse(&text) } else { serde_json::from_str(&text).map_err(told) };
    let file: File = serde_json::from_value(value?).map_err(told)?;
    let (vendor, class) = file.kind.split_once('/').ok_or("its kind is not vendor/class")?;
    if !is_word(vendor, "-_.") || !is_word(class, "-_.") {
        return Err(format!("invalid kind {:?}", file.kind));
    }
    match file.devices.iter().find(|device| !is_word(&device.name, "-_.:")) {
        Some(device) => Err(format!("invalid device name {:?}", device.name)),
        None => Ok(file),
    }
}

/// Letters and digits, others of `also` only inside.
fn is_word(text: &str, also: &str) -> bool {
    let plain = |character: Option<char>| character.is_some_and(|one| one.is_ascii_alphanumeric());
    plain(text.chars().next())
        && plain(text.chars().next_back())
        && text.chars().all(|one| one.is_ascii_alphanumeric() || also.contains(one))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Scratch(scratch::Directory);

    impl Scratch {
        fn new(name: &str) -> Scratch {
            let directory = scratch::Directory::new(name);
            fs::create_dir(directory.join("etc")).unwrap();
            fs::create_dir(directory.join("run")).unwrap();
            Scratch(directory)
        }

        fn write(&self, file: &str, kind: &str, devices: &[&str]) {
            let devices: Vec<String> = devices
                .iter()
                .map(|name| {
                    format!(r#"{{"name":"{name}","containerEdits":{{"env":["DEVICE={file}:{name}"]}}}}"#)
                })
                .collect();
            let text = format!(
                r#"{{"cdiVersion":"0.6.0","kind":"{kind}","devices":[{}],"containerEdits":{{"env":["FILE={file}"]}}}}"#,
                devices.join(",")
            );
            fs::write(self.0.join(file), text).unwrap();
        }

        fn find(&self, requests: &[DeviceRequest]) -> Result<Vec<String>> {
            let edits = find(requests, &[self.0.join("etc"), self.0.join("run")])?;
            Ok(edits.into_iter().flat_map(|edits| edits.env).collect())
        }
    }

    fn cdi(names: &[&str]) -> DeviceRequest {
        let device_ids = Some(names.iter().map(|name| (*name).to_owned()).collect());
        DeviceRequest { driver: "cdi".into(), device_ids, ..DeviceRequest::default() }
    }

    fn gpus(count: i64) -> DeviceRequest {
        DeviceRequest { count, capabilities: Some(vec![vec!["gpu".into()]]), ..DeviceRequest::default() }
    }

    #[test]
    fn a_file_speaks_once_and_a_later_directory_wins() {
        let scratch = Scratch::new("order");
        scratch.write("etc/a.json", "vendor.com/net", &["one", "two"]);
        scratch.write("run/b.json", "vendor.com/net", &["two"]);
        fs::write(scratch.0.join("etc/broken.json"), "{").unwrap();
        let third =
            "kind: vendor.com/net\ndevices:\n- name: three\n  containerEdits:\n    env: [DEVICE=three]\n";
        fs::write(scratch.0.join("etc/c.yaml"), third).unwrap();
        assert_eq!(scratch.find(&[cdi(&["vendor.com/net=three"])]).unwrap(), ["DEVICE=three"]);
        assert_eq!(
            scratch.find(&[cdi(&["vendor.com/net=one", "vendor.com/net=two"])]).unwrap(),
            ["FILE=etc/a.json", "DEVICE=etc/a.json:one", "FILE=run/b.json", "DEVICE=run/b.json:two"]
        );
    }

    #[test]
    fn what_cannot_be_resolved_is_told_by_name() {
        let scratch = Scratch::new("unknown");
        scratch.write("etc/a.json", "vendor.com/net", &["one"]);
        scratch.write("etc/b.json", "vendor.com/net", &["one"]);
        let error = scratch.find(&[cdi(&["vendor.com/net=one", "x.com/y=z"])]).unwrap_err();
        assert_eq!(
            error.message(),
            "CDI device injection failed: unresolvable CDI devices vendor.com/net=one, x.com/y=z"
        );
    }

    #[test]
    fn gpus_are_those_of_the_vendor_that_is_here() {
        let scratch = Scratch::new("gpus");
        let error = scratch.find(&[gpus(-1)]).unwrap_err();
        assert_eq!(error.message(), "could not select device driver \"\" with capabilities: [[gpu]]");
        scratch.write("etc/amd.json", "amd.com/gpu", &["0", "1", "all"]);
        let devices = |count| scratch.find(&[gpus(count)]).unwrap().split_off(1);
        assert_eq!(devices(-1), ["DEVICE=etc/amd.json:all"]);
        assert_eq!(devices(2), ["DEVICE=etc/amd.json:0", "DEVICE=etc/amd.json:1"]);
        let told = |request: DeviceRequest| scratch.find(&[request]).unwrap_err().message().to_owned();
        let able = |words: &[&str]| Some(vec![words.iter().map(|word| (*word).to_owned()).collect()]);
        let utility = DeviceRequest { capabilities: able(&["gpu", "utility"]), ..gpus(1) };
        assert_eq!(
            told(utility.clone()),
            "could not select device driver \"\" with capabilities: [[gpu utility]]"
        );
        scratch.write("etc/nvidia.json", "nvidia.com/gpu", &["0"]);
        assert_eq!(scratch.find(std::slice::from_ref(&utility)).unwrap()[1], "DEVICE=etc/nvidia.json:0");
        let options = Some(BTreeMap::from([("x".to_owned(), "y".to_owned())]));
        let with_options = DeviceRequest { options: options.clone(), ..utility };
        assert_eq!(told(with_options), "unexpected option x in a request for nvidia.com/gpu");
        let both = DeviceRequest { device_ids: Some(vec!["0".into()]), ..gpus(1) };
        assert_eq!(told(both), "cannot set both Count and DeviceIDs on device request");
        let named = cdi(&["nvidia.com/gpu=0"]);
        assert_eq!(
            told(DeviceRequest { options, ..named.clone() }),
            "unexpected options in CDI device request"
        );
        assert_eq!(told(DeviceRequest { count: 1, ..named }), "unexpected count in CDI device request");
        let other = DeviceRequest { driver: "tpu".into(), ..gpus(1) };
        assert!(
            scratch
                .find(&[other])
                .unwrap_err()
                .message()
                .starts_with("could not select device driver \"tpu\"")
        );
    }
}
