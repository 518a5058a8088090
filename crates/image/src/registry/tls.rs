//! TLS towards registries: which authorities are believed, and who we are.
//!
//! The system's authorities, plus what the administrator put into `certs.d/HOST[:PORT]/` of a registry: authorities
//! in `*.crt`, client certificates in `*.cert` with their keys in `*.key`, as Docker has it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::address::Trust;
use super::{Error, Kind};

/// The process's cryptography, installed once: every TLS client and server gets it from here.
pub fn crypto_provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER
        .get_or_init(|| {
            // Somebody may have been first; then theirs is as good.
            let _ = rustls::crypto::ring::default_provider().install_default();
            CryptoProvider::get_default()
                .cloned()
                .unwrap_or_else(|| Arc::new(rustls::crypto::ring::default_provider()))
        })
        .clone()
}

/// What `certs.d` holds for one registry.
#[derive(Default)]
pub(super) struct Material {
    authorities: Vec<CertificateDer<'static>>,
    client: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
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
                Err(error) => return Err(failed("open", &directory, error)),
            }
        }
        Ok(None)
    }

    fn read(names: &[PathBuf]) -> Result<Self, Error> {
        let mut material = Self::default();
        for path in names {
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("crt") => material.authorities.extend(certificates(path)?),
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
                    let private = PrivateKeyDer::from_pem_file(&key)
                        .map_err(|error| failed("read key", &key, error))?;
                    material.client = Some((certificates(path)?, private));
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

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| failed("read certificate", path, error))
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn failed(call: &str, path: &Path, error: impl std::fmt::Display) -> Error {
    Error::new(Kind::Invalid, format!("{call} {}: {error}", path.display()))
}

/// How to speak TLS with a registry.
pub(super) fn client_config(trust: Trust, material: Option<Material>) -> Result<ClientConfig, Error> {
    let provider = crypto_provider();
    let material = material.unwrap_or_default();
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::new(Kind::Other, format!("tls: {error}")))?;
    let builder = match trust {
        Trust::Verified => {
            let mut roots = system_roots().clone();
            roots.add_parsable_certificates(material.authorities);
            builder.with_root_certificates(roots)
        }
        Trust::Unverified => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody { provider }))
        }
    };
    let mut config = match material.client {
        Some((chain, key)) => builder
            .with_client_auth_cert(chain, key)
            .map_err(|error| Error::new(Kind::Invalid, format!("client certificate: {error}")))?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// The system's authorities, read once: there are some hundred and fifty.
fn system_roots() -> &'static RootCertStore {
    static ROOTS: OnceLock<RootCertStore> = OnceLock::new();
    ROOTS.get_or_init(|| {
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::warn!(%error, "a system certificate could not be read");
        }
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(found.certs);
        roots
    })
}

/// For registries that the administrator declared insecure: any certificate will do, but the handshake must be sound.
#[derive(Debug)]
struct Anybody {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
