//! Contexts: engines by name, in the store that all Docker clients of a user share.
//!
//! ```text
//! contexts/meta/<sha256 of the name>/meta.json
//! contexts/tls/<sha256 of the name>/docker/{ca,cert,key}.pem
//! ```
//!
//! The context `default` is not stored: it is what flags and environment say.

pub(crate) mod create;
pub(crate) mod export;
pub(crate) mod import;
pub(crate) mod inspect;
pub(crate) mod ls;
pub(crate) mod rm;
pub(crate) mod show;
pub(crate) mod switch;
pub(crate) mod update;
mod zip;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use client::Certificates;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::failure::{Failure, doing};
use crate::session::Session;

pub(crate) const DEFAULT: &str = "default";
const DEFAULT_DESCRIPTION: &str = "Current DOCKER_HOST based configuration";
/// The files of an endpoint's certificates.
const CERTIFICATES: [&str; 3] = ["ca.pem", "cert.pem", "key.pem"];

/// `meta.json`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Context {
    pub(crate) name: String,
    pub(crate) metadata: Metadata,
    pub(crate) endpoints: BTreeMap<String, Endpoint>,
    #[serde(skip)]
    tls: PathBuf,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Metadata {
    #[serde(rename = "Description", skip_serializing_if = "String::is_empty")]
    pub(crate) description: String,
    /// What other clients keep there.
    #[serde(flatten)]
    pub(crate) rest: serde_json::Map<String, serde_json::Value>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Endpoint {
    #[serde(rename = "Host", skip_serializing_if = "String::is_empty")]
    pub(crate) host: String,
    #[serde(rename = "SkipTLSVerify")]
    pub(crate) skip_tls_verify: bool,
}

/// An engine to talk to.
pub(crate) struct Reached {
    pub(crate) host: String,
    pub(crate) tls: Option<Certificates>,
}

impl Context {
    pub(crate) fn docker_host(&self) -> &str {
        self.endpoints.get("docker").map_or("", |endpoint| endpoint.host.as_str())
    }

    pub(crate) fn endpoint(&self) -> Result<Reached, Failure> {
        let endpoint = self
            .endpoints
            .get("docker")
            .ok_or_else(|| Failure::new(format!("cannot find docker endpoint in context {:?}", self.name)))?;
        let file = |name: &str| Some(self.tls.join("docker").join(name)).filter(|path| path.exists());
        let identity = file("cert.pem").zip(file("key.pem"));
        let authority = file("ca.pem");
        let tls = (authority.is_some() || identity.is_some() || endpoint.skip_tls_verify)
            .then_some(Certificates { authority, identity, verify: !endpoint.skip_tls_verify });
        Ok(Reached { host: endpoint.host.clone(), tls })
    }
}

pub(crate) struct Store {
    root: PathBuf,
}

impl Store {
    pub(crate) fn new(session: &Session) -> Store {
        Store { root: session.config_directory().join("contexts") }
    }

    fn meta(&self, name: &str) -> PathBuf {
        self.root.join("meta").join(directory(name))
    }

    fn tls(&self, name: &str) -> PathBuf {
        self.root.join("tls").join(directory(name))
    }

    pub(crate) fn exists(&self, name: &str) -> bool {
        self.meta(name).join("meta.json").exists()
    }

    pub(crate) fn load(&self, name: &str) -> Result<Context, Failure> {
        let path = self.meta(name).join("meta.json");
        match fs::read(&path) {
            Ok(bytes) => self.parse(&bytes, &path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Failure::new(format!(
                "context {name:?}: context not found: open {}: no such file or directory",
                path.display()
            ))),
            Err(error) => Err(doing("open", path.display())(error)),
        }
    }

    fn parse(&self, bytes: &[u8], path: &Path) -> Result<Context, Failure> {
        let mut context: Context = serde_json::from_slice(bytes).map_err(|error| {
            Failure::new(format!("the context in {} is not valid: {error}", path.display()))
        })?;
        context.tls = self.tls(&context.name);
        Ok(context)
    }

    /// All contexts by name.
    pub(crate) fn list(&self) -> Result<Vec<Context>, Failure> {
        let mut contexts = Vec::new();
        for entry in fs::read_dir(self.root.join("meta")).into_iter().flatten().flatten() {
            let path = entry.path().join("meta.json");
            if let Ok(bytes) = fs::read(&path) {
                contexts.push(self.parse(&bytes, &path)?);
            }
        }
        contexts.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(contexts)
    }

    pub(crate) fn save(&self, context: &Context, certificates: &[(&str, Vec<u8>)]) -> Result<(), Failure> {
        let directory = self.meta(&context.name);
        let failed = |error| doing("could not write", directory.display())(error);
        fs::create_dir_all(&directory).map_err(failed)?;
        let text = serde_json::to_vec(context).map_err(|error| failed(io::Error::other(error)))?;
        let temporary = directory.join(".meta.json");
        fs::write(&temporary, text)
            .and_then(|()| fs::rename(&temporary, directory.join("meta.json")))
            .map_err(failed)?;
        if certificates.is_empty() {
            return Ok(());
        }
        let place = self.tls(&context.name).join("docker");
        fs::create_dir_all(&place).map_err(failed)?;
        for (name, bytes) in certificates {
            write_private(&place.join(name), bytes).map_err(failed)?;
        }
        Ok(())
    }

    /// The certificates of a context by their file names.
    fn certificates(&self, name: &str) -> Result<Vec<(&'static str, Vec<u8>)>, Failure> {
        let mut found = Vec::new();
        for file in CERTIFICATES {
            let path = self.tls(name).join("docker").join(file);
            match fs::read(&path) {
                Ok(bytes) => found.push((file, bytes)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(doing("open", path.display())(error)),
            }
        }
        Ok(found)
    }

    fn forget_certificates(&self, name: &str) -> Result<(), Failure> {
        remove_directory(&self.tls(name))
    }

    pub(crate) fn remove(&self, name: &str) -> Result<(), Failure> {
        remove_directory(&self.meta(name))?;
        remove_directory(&self.tls(name))
    }
}

fn remove_directory(directory: &Path) -> Result<(), Failure> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(doing("could not remove", directory.display())(error))
        }
        _ => Ok(()),
    }
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    io::Write::write_all(&mut file, bytes)
}

fn directory(name: &str) -> String {
    Sha256::digest(name.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The variable that names an engine whatever the current context is.
fn overriding_variable() -> Option<&'static str> {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    ["WHARF_HOST", "DOCKER_HOST"].into_iter().find(|name| is_set(name))
}

pub(crate) fn check_name(name: &str) -> Result<(), Failure> {
    if name == DEFAULT {
        return Err(Failure::new("\"default\" is a reserved context name"));
    }
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    let rest =
        name.len() > 1 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.+-".contains(&byte));
    match first && rest {
        true => Ok(()),
        false => Err(Failure::new(format!(
            "context name {name:?} is invalid, names are validated against regexp \"^[a-zA-Z0-9][a-zA-Z0-9_.+-]+$\""
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_are_found_again() {
        let place = scratch::Directory::new("contexts");
        let store = Store { root: place.join("contexts") };
        let endpoint = Endpoint { host: "tcp://box:2376".into(), skip_tls_verify: false };
        let context = Context {
            name: "far".into(),
            endpoints: BTreeMap::from([("docker".into(), endpoint)]),
            ..Context::default()
        };
        store.save(&context, &[("ca.pem", b"x".to_vec())]).unwrap();
        let found = store.load("far").unwrap().endpoint().unwrap();
        assert_eq!(found.host, "tcp://box:2376");
        assert!(found.tls.unwrap().authority.unwrap().ends_with("docker/ca.pem"));
        assert_eq!(store.list().unwrap().len(), 1);
        assert_eq!(directory("default"), "37a8eec1ce19687d132fe29051dca629d164e2c4958ba141d5f4133a33f0688f");
        store.remove("far").unwrap();
        assert!(!store.exists("far") && store.load("far").is_err());
    }

    #[test]
    fn names_are_checked() {
        assert!(check_name("far.away+1").is_ok());
        for name in ["default", "", "a", "-x", "a b", "a/b"] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}
