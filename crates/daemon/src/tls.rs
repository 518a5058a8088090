//! What tcp listeners show, and whom they let in.

use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;

use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use trust::files::{self, Identity};

use crate::settings::TlsFiles;

/// `verify`: clients must show a certificate that the authority signed.
pub(crate) fn configuration(files: &TlsFiles, verify: bool) -> Result<Arc<ServerConfig>, String> {
    let identity = Identity::read(&files.certificate, &files.key)
        .map_err(|error| failed("the key pair", &files.certificate, &error))?;
    let builder = ServerConfig::builder_with_provider(trust::provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("invalid TLS configuration: {error}"))?;
    let builder = match verify {
        false => builder.with_no_client_auth(),
        true => {
            let unusable = |error: &dyn Display| failed("the certificate authority", &files.authority, error);
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(
                files::authorities(&files.authority).map_err(|error| unusable(&error))?,
            );
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), trust::provider());
            builder.with_client_cert_verifier(verifier.build().map_err(|error| unusable(&error))?)
        }
    };
    builder
        .with_single_cert(identity.chain, identity.key)
        .map(Arc::new)
        .map_err(|error| failed("the key pair", &files.certificate, &trust::Error::Refused(error)))
}

fn failed(what: &str, path: &Path, error: &dyn Display) -> String {
    format!("invalid TLS configuration: could not load {what} {}: {error}", path.display())
}
