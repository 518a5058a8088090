//! TLS towards registries: which authorities are believed, and who we are.
//!
//! The system's authorities, plus what the administrator put into `certs.d/HOST[:PORT]/` of a registry: authorities
//! in `*.crt`, client certificates in `*.cert` with their keys in `*.key`, as Docker has it.

use std::path::{Path, PathBuf};
use std::sync::Once;

use ::trust::files::{Identity, authorities};
use ::trust::{Authorities, Belief};
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;

use super::address::Trust;
use super::{Error, Kind};

/// What `certs.d` holds for one registry.
#[derive(Default)]
pub(super) struct Material {
    authorities: Vec<CertificateDer<'static>>,
    client: Option<Identity>,
}

impl Material {
    /// Reads the first of `directories` that has an entry for `host`, which is `name[:port]`.
    pub(super) fn load(directories: &[PathBuf], host: &str) -> Result<Option<Self>, Error> {
        // The host comes from a parsed URL and cannot hold a slash; `..` is no host, but cheap to exclude.
        if host.contains(['/', '\\']) || host.starts_with('.') {
            return Ok(None);
        }
        for directory in directories {
            let directory = directory.join(host);
            match std::fs::read_dir(&directory) {
                Ok(entries) => {
                    let mut names: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
                    names.sort();
                    return Self::read(&names).map(Some);
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => {
                    let message = format!("open {}: {error}", directory.display());
                    return Err(Error::new(Kind::Invalid, message));
                }
            }
        }
        Ok(None)
    }

    fn read(names: &[PathBuf]) -> Result<Self, Error> {
        let mut material = Self::default();
        for path in names {
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("crt") => {
                    let found = authorities(path).map_err(|error| unusable(path, &error))?;
                    material.authorities.extend(found);
                }
                Some("cert") => {
                    let key = path.with_extension("key");
                    if !names.contains(&key) {
                        let message = format!(
                            "missing key {} for client certificate {}. CA certificates must use the extension .crt",
                            file_name(&key),
                            file_name(path)
                        );
                        return Err(Error::new(Kind::Invalid, message));
                    }
                    let identity = Identity::read(path, &key).map_err(|error| unusable(path, &error))?;
                    material.client = Some(identity);
                }
                Some("key") if !names.contains(&path.with_extension("cert")) => {
                    let certificate = path.with_extension("cert");
                    let message = format!(
                        "missing client certificate {} for key {}",
                        file_name(&certificate),
                        file_name(path)
                    );
                    return Err(Error::new(Kind::Invalid, message));
                }
                _ => {}
            }
        }
        Ok(material)
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn unusable(path: &Path, error: &::trust::Error) -> Error {
    let message = match error {
        ::trust::Error::Unreadable(sentence) => sentence.clone(),
        error => format!("{}: {error}", path.display()),
    };
    Error::new(Kind::Invalid, message)
}

/// How to speak TLS with a registry.
pub(super) fn client_config(trust: Trust, material: Option<Material>) -> Result<ClientConfig, Error> {
    let material = material.unwrap_or_default();
    let belief = match trust {
        Trust::Verified => Belief::Proven(system_authorities().and(material.authorities)),
        Trust::Unverified => Belief::Anyone,
    };
    let mut config = ::trust::client(belief, material.client)
        .map_err(|error| Error::new(Kind::Invalid, format!("client certificate: {error}")))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn system_authorities() -> Authorities {
    static COMPLAINTS: Once = Once::new();
    COMPLAINTS.call_once(|| {
        for complaint in Authorities::complaints() {
            tracing::warn!(error = complaint, "a system certificate could not be read");
        }
    });
    Authorities::system()
}

#[cfg(test)]
mod tests;
