//! What tcp listeners show, and whom they let in.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use crate::settings::TlsFiles;

/// `verify`: clients must show a certificate that the authority signed.
pub(crate) fn configuration(files: &TlsFiles, verify: bool) -> Result<Arc<ServerConfig>, String> {
    let failed = |what: &str, path: &Path, error: &dyn std::fmt::Display| {
        format!("invalid TLS configuration: could not load {what} {}: {error}", path.display())
    };
    let certificates = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| failed("the certificate", &files.certificate, &error))?;
    let key =
        PrivateKeyDer::from_pem_file(&files.key).map_err(|error| failed("the key", &files.key, &error))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("invalid TLS configuration: {error}"))?;
    let builder = match verify {
        false => builder.with_no_client_auth(),
        true => {
            let authorities = authorities(&files.authority)
                .map_err(|error| failed("the certificate authority", &files.authority, &error))?;
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), provider).build();
            builder.with_client_cert_verifier(
                verifier.map_err(|error| failed("the certificate authority", &files.authority, &error))?,
            )
        }
    };
    let config = builder.with_single_cert(certificates, key);
    config.map(Arc::new).map_err(|error| failed("the key pair", &files.certificate, &error))
}

fn authorities(path: &Path) -> Result<RootCertStore, Box<dyn std::error::Error>> {
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path)? {
        store.add(certificate?)?;
    }
    Ok(store)
}
