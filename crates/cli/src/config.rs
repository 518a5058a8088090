//! The client's `config.json`, shared with every other Docker client of the user.
//!
//! Others write it too and know more of it than we do, so a change keeps whatever it does not
//! understand. It is written beside and renamed over, through a symbolic link if it is one, with
//! mode 0600 when it is new: it may hold passwords. One that cannot be understood stops nobody, and is left as it is.

mod shape;

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::credentials;
use crate::failure::{Failure, doing};

/// A configuration beyond this is not one.
const LIMIT: u64 = 16 * 1024 * 1024;

#[derive(Debug, Clone)]
pub(crate) struct Config {
    path: PathBuf,
    members: Map<String, Value>,
    /// Why the file could not be read: nothing may be written over it.
    unread: Option<String>,
}

impl Config {
    /// Reads a configuration; a missing file is an empty one. What is wrong with it is told beside, and keeps nobody from
    /// going on.
    pub(crate) fn load(path: &Path) -> (Config, Option<String>) {
        let (document, unread) = match read(path) {
            Ok(document) => (document, None),
            Err(complaint) => (Value::Null, Some(complaint)),
        };
        let complaint = unread.clone().or_else(|| {
            let complaint = shape::complaint(&document).or_else(|| credentials::complaint(&document))?;
            Some(unparsed(path, &complaint))
        });
        let members = match document {
            Value::Object(members) => members,
            _ => Map::new(),
        };
        (Config { path: path.to_owned(), members, unread }, complaint)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A member that is a text; empty when it is not there.
    pub(crate) fn text(&self, name: &str) -> String {
        self.members.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    /// A member of a member that is a text.
    pub(crate) fn text_of(&self, name: &str, key: &str) -> Option<String> {
        self.members.get(name)?.get(key)?.as_str().map(str::to_owned)
    }

    pub(crate) fn member_of(&self, name: &str, key: &str) -> Option<&Value> {
        self.members.get(name)?.get(key)
    }

    pub(crate) fn list(&self, name: &str) -> Vec<String> {
        let values = self.members.get(name).and_then(Value::as_array);
        values.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    pub(crate) fn headers(&self) -> Vec<(String, String)> {
        let headers = self.members.get("HttpHeaders").and_then(Value::as_object);
        headers
            .into_iter()
            .flatten()
            .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
            .collect()
    }

    pub(crate) fn set(&mut self, name: &str, value: Value) {
        self.members.insert(name.to_owned(), value);
    }

    pub(crate) fn unset(&mut self, name: &str) {
        self.members.remove(name);
    }

    /// Sets a member of a member that maps names to something.
    pub(crate) fn set_of(&mut self, name: &str, key: &str, value: Value) {
        let place = self.members.entry(name).or_insert_with(|| Value::Object(Map::new()));
        if !place.is_object() {
            *place = Value::Object(Map::new());
        }
        if let Some(members) = place.as_object_mut() {
            members.insert(key.to_owned(), value);
        }
    }

    pub(crate) fn unset_of(&mut self, name: &str, key: &str) {
        if let Some(members) = self.members.get_mut(name).and_then(Value::as_object_mut) {
            members.remove(key);
        }
    }

    pub(crate) fn save(&self) -> Result<(), Failure> {
        if let Some(why) = &self.unread {
            return Err(Failure::new(format!("{why}: nothing is written over it")));
        }
        // The file behind a link is replaced, not the link.
        let target = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let failed = |error| doing("could not write", target.display())(error);
        let directory = target.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(directory).map_err(failed)?;
        let mut text = Vec::new();
        let formatter = serde_json::ser::PrettyFormatter::with_indent(b"\t");
        let mut serializer = serde_json::Serializer::with_formatter(&mut text, formatter);
        serde::Serialize::serialize(&self.members, &mut serializer)
            .map_err(|error| failed(io::Error::other(error)))?;
        let temporary = directory.join(format!(".config.json.{}", std::process::id()));
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)
            .map_err(failed)?;
        let written = file.write_all(&text).and_then(|()| file.sync_all()).and_then(|()| {
            if let Ok(existing) = fs::metadata(&target) {
                fs::set_permissions(&temporary, existing.permissions())?;
            }
            fs::rename(&temporary, &target)
        });
        written.map_err(|error| {
            let _ = fs::remove_file(&temporary);
            failed(error)
        })
    }
}

fn read(path: &Path) -> Result<Value, String> {
    let mut bytes = Vec::new();
    match fs::File::open(path) {
        Ok(file) => {
            let read = io::Read::read_to_end(&mut io::Read::take(file, LIMIT), &mut bytes);
            read.map_err(|error| unparsed(path, &doing("read", path.display())(error).message))?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => {
            let why = doing("open", path.display())(error);
            return Err(format!("Error loading config file: {why}"));
        }
    }
    parse(&bytes).map_err(|why| unparsed(path, &why))
}

fn unparsed(path: &Path, why: &str) -> String {
    format!("Error parsing config file ({}): {why}", path.display())
}

/// The first document in a file; what follows it is not read.
fn parse(bytes: &[u8]) -> Result<Value, String> {
    match serde_json::Deserializer::from_slice(bytes).into_iter().next() {
        None => Ok(Value::Null),
        Some(Ok(document)) => Ok(document),
        Some(Err(error)) if error.is_eof() => Err("unexpected EOF".to_owned()),
        Some(Err(error)) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_keeps_what_it_does_not_know() {
        let directory = scratch::Directory::new("keep");
        let path = directory.join("config.json");
        fs::write(&path, r#"{"future":{"a":[1]},"auths":{"x":{"auth":"eA=="}}}"#).unwrap();
        let mut config = Config::load(&path).0;
        config.set_of("auths", "y", serde_json::json!({"auth": "eQ=="}));
        config.unset_of("auths", "x");
        config.set("currentContext", "far".into());
        config.save().unwrap();
        let read: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let wanted = serde_json::json!({"future": {"a": [1]}, "auths": {"y": {"auth": "eQ=="}}, "currentContext": "far"});
        assert_eq!(read, wanted);
    }

    #[test]
    fn a_new_file_is_for_its_owner_only_and_a_missing_one_is_empty() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = scratch::Directory::new("new");
        let path = directory.join("deep/config.json");
        let config = Config::load(&path).0;
        assert_eq!(config.text("currentContext"), "");
        config.save().unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn nonsense_is_named_and_not_written_over() {
        let directory = scratch::Directory::new("nonsense");
        let path = directory.join("config.json");
        let shown = path.display();
        fs::write(&path, "{").unwrap();
        let (config, complaint) = Config::load(&path);
        assert_eq!(complaint.unwrap(), format!("Error parsing config file ({shown}): unexpected EOF"));
        assert!(config.save().is_err());
        assert_eq!(fs::read(&path).unwrap(), b"{");
        fs::write(&path, r#"{"psFormat":3,"currentContext":"far"} rest"#).unwrap();
        let (config, complaint) = Config::load(&path);
        assert!(complaint.unwrap().contains("ConfigFile.psFormat of type string"));
        assert_eq!(config.text("currentContext"), "far");
        for silent in ["null", " ", "{}"] {
            fs::write(&path, silent).unwrap();
            assert_eq!(Config::load(&path).1, None);
        }
        let (_, complaint) = Config::load(&directory.join("config.json/config.json"));
        assert!(complaint.unwrap().ends_with("config.json: not a directory"));
    }
}
