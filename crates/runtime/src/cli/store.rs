//! The directory of a container under the runtime root.
//!
//! ```text
//!   <root>/<id>/config.json   the configuration it was made from, byte for byte
//!   <root>/<id>/state.json    what another process needs to find it; written last, whole or not at all
//!   <root>/<id>/start.sock    while its process waits to be started
//!   <root>/<id>/notify/       where somebody waits until it is ready: what it has at /run/notify
//! ```

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use oci::runtime::{Spec, Status};
use runtime::{Container, Error, Kind, Record, Result};
use serde::{Deserialize, Serialize};

use super::notify;

/// Longer ids are refused: they become file names and cgroup names.
const MAX_ID: usize = 1024;

#[derive(Debug)]
pub(crate) struct Store {
    root: PathBuf,
}

/// What is kept of a container.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Saved {
    #[serde(flatten)]
    pub(crate) record: Record,
    pub(crate) created: String,
    pub(crate) rootfs: PathBuf,
    pub(crate) owner: String,
    /// What the streams were that the container was given; nothing if it has a terminal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) streams: Vec<String>,
}

/// A container that was found.
pub(crate) struct Found {
    pub(crate) saved: Saved,
    pub(crate) spec: Spec,
    pub(crate) container: Container,
    pub(crate) status: Status,
}

impl Store {
    pub(crate) fn new(root: PathBuf) -> Store {
        Store { root }
    }

    pub(crate) fn directory(&self, id: &str) -> PathBuf {
        self.root.join(id)
    }

    pub(crate) fn start_socket(&self, id: &str) -> PathBuf {
        self.directory(id).join("start.sock")
    }

    /// Claims the id. Two creations of one id cannot both succeed.
    pub(crate) fn claim(&self, id: &str, config: &[u8]) -> Result<()> {
        check_id(id)?;
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(&self.root).map_err(|error| failed(&self.root, &error))?;
        let directory = self.directory(id);
        match fs::DirBuilder::new().mode(0o711).create(&directory) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                return Err(Error::other("container with given ID already exists"));
            }
            other => other.map_err(|error| failed(&directory, &error))?,
        }
        fs::write(directory.join("config.json"), config).map_err(|error| failed(&directory, &error))
    }

    pub(crate) fn save(&self, saved: &Saved) -> Result<()> {
        let directory = self.directory(&saved.record.id);
        let json = serde_json::to_vec(saved).map_err(Error::other)?;
        let new = directory.join("state.json.new");
        fs::write(&new, json).map_err(|error| failed(&new, &error))?;
        fs::rename(&new, directory.join("state.json")).map_err(|error| failed(&new, &error))
    }

    /// Forgets it. What is gone already is fine.
    pub(crate) fn forget(&self, id: &str) -> Result<()> {
        match fs::remove_dir_all(self.directory(id)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(failed(&self.directory(id), &error)),
            _ => Ok(()),
        }
    }

    pub(crate) fn saved(&self, id: &str) -> Result<Saved> {
        check_id(id)?;
        let path = self.directory(id).join("state.json");
        let json = match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(Error::new(Kind::NoContainer, "container does not exist"));
            }
            other => other.map_err(|error| failed(&path, &error))?,
        };
        let saved: Saved = serde_json::from_slice(&json)
            .map_err(|error| Error::other(format_args!("{}: {error}", path.display())))?;
        if !saved.record.is_known() {
            let message = format_args!("{}: written by a newer runtime", path.display());
            return Err(Error::other(message));
        }
        Ok(saved)
    }

    pub(crate) fn spec(&self, id: &str) -> Result<Spec> {
        let path = self.directory(id).join("config.json");
        parse_spec(&fs::read(&path).map_err(|error| failed(&path, &error))?)
    }

    pub(crate) fn find(&self, id: &str) -> Result<Found> {
        let saved = self.saved(id)?;
        let mut spec = self.spec(id)?;
        spec.mounts.extend(notify::mount(&self.directory(id)));
        let container = Container::load(&saved.record, &spec)?;
        let status = self.status(&saved.record);
        Ok(Found { saved, spec, container, status })
    }

    pub(crate) fn status(&self, record: &Record) -> Status {
        if !record.is_alive() {
            Status::Stopped
        } else if record.cgroup().is_frozen().unwrap_or(false) {
            Status::Paused
        } else if self.start_socket(&record.id).exists() {
            Status::Created
        } else {
            Status::Running
        }
    }

    /// Every id, sorted. A root that does not exist holds nobody, unless it is expected to exist.
    pub(crate) fn ids(&self, expected: bool) -> Result<Vec<String>> {
        let entries = match fs::read_dir(&self.root) {
            Err(error) if error.kind() == ErrorKind::NotFound && !expected => return Ok(Vec::new()),
            other => other.map_err(|error| Error::of_file("open", self.root.display(), &error))?,
        };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let mut ids: Vec<String> = names.filter(|id| check_id(id).is_ok()).collect();
        ids.sort();
        Ok(ids)
    }
}

pub(crate) fn parse_spec(json: &[u8]) -> Result<Spec> {
    oci::runtime::parse(json).map_err(|error| Error::invalid(format_args!("config.json: {error}")))
}

pub(crate) fn read_spec(bundle: &Path) -> Result<(Spec, Vec<u8>)> {
    let path = bundle.join("config.json");
    let json = match fs::read(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(Error::invalid("JSON specification file config.json not found"));
        }
        other => other.map_err(|error| failed(&path, &error))?,
    };
    Ok((parse_spec(&json)?, json))
}

fn check_id(id: &str) -> Result<()> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_+-.".contains(c);
    if id.is_empty() || id.len() > MAX_ID || id == "." || id == ".." || !id.chars().all(allowed) {
        return Err(Error::invalid("invalid container ID format"));
    }
    Ok(())
}

fn failed(path: &Path, error: &std::io::Error) -> Error {
    Error::other(format_args!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_are_no_names_are_refused() {
        for id in ["", ".", "..", "a/b", "a b", "ä", &"x".repeat(1025)] {
            assert_eq!(check_id(id).unwrap_err().to_string(), "invalid container ID format", "{id}");
        }
        check_id("a_B-1.2+3").unwrap();
    }
}
