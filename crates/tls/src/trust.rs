//! Whom to believe, and who we are: from files to a session that has not begun.
//!
//! Files are read as Docker reads them, and complaints are its own. A server is believed whose chain ends in an
//! authority of the system or of the given file. Beyond what `webpki` takes, a certificate that is itself in the file is
//! believed, as Go believes it: a server's own certificate, signed by nobody else, is what many point their logs at.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

use crate::validity;
use crate::words;

/// What of the session's output waits for the socket at most.
const OUTGOING: usize = 32 << 10;

/// The files that say whom to believe.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Trust {
    /// An authority beside those of the system.
    pub(crate) authority: Option<PathBuf>,
    /// What we show of ourselves, and its key: both or neither.
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    /// Whether the server has to prove who it is.
    pub(crate) verify: bool,
}

impl Trust {
    pub(crate) fn session(&self, name: &str) -> Result<ClientConnection, String> {
        let name = match name {
            "" if self.verify => {
                return Err(
                    "tls: either ServerName or InsecureSkipVerify must be specified in the tls.Config".into(),
                );
            }
            // An address is not sent along, and nobody will compare it.
            "" => "127.0.0.1",
            name => name,
        };
        let name = ServerName::try_from(name.to_owned())
            .map_err(|_| format!("tls: {name:?} is no name that a certificate could have"))?;
        let config = self.config().map_err(|error| error.to_string())?;
        let mut session = ClientConnection::new(Arc::new(config), name).map_err(|error| words::of(&error))?;
        session.set_buffer_limit(Some(OUTGOING));
        Ok(session)
    }

    fn config(&self) -> Result<ClientConfig, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| words::of(&error))?;
        let verifier: Arc<dyn ServerCertVerifier> = match self.verify {
            true => Arc::new(self.verifier(provider)?),
            false => Arc::new(Anyone(provider)),
        };
        let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
        match self.identity()? {
            None => Ok(builder.with_no_client_auth()),
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(|error| {
                let what = match error {
                    rustls::Error::InconsistentKeys(_) => "tls: private key does not match public key".into(),
                    other => words::of(&other),
                };
                format!("{NO_PAIR}: {what}")
            }),
        }
    }

    fn verifier(&self, provider: Arc<CryptoProvider>) -> Result<Listed, String> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let listed = self.authority.as_deref().map_or(Ok(Vec::new()), authorities)?;
        roots.add_parsable_certificates(listed.iter().cloned());
        if roots.is_empty() {
            return Err("tls: failed to verify certificate: x509: the system has no root certificates".into());
        }
        let chains = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|error| format!("tls: {error}"))?;
        Ok(Listed { chains, listed })
    }

    fn identity(&self) -> Result<Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>, String> {
        if self.certificate.is_none() && self.key.is_none() {
            return Ok(None);
        }
        let missing = PathBuf::new();
        let wrong = |why: &str| format!("{NO_PAIR}: {why}");
        let content = |path: &Option<PathBuf>| {
            read(path.as_ref().unwrap_or(&missing)).map_err(|error| format!("{NO_PAIR}: {error}"))
        };
        let (certificate, key) = (content(&self.certificate)?, content(&self.key)?);
        let key = PrivateKeyDer::from_pem_slice(&key).map_err(|_| wrong("no valid private key found"))?;
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&certificate).filter_map(Result::ok).collect();
        match chain.is_empty() {
            true => Err(wrong("tls: failed to find any PEM data in certificate input")),
            false => Ok(Some((chain, key))),
        }
    }
}

const NO_PAIR: &str = "Could not load X509 key pair";

/// What of a file can be used, which must be something.
fn authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let content = read(path).map_err(|error| {
        let path = path.to_string_lossy();
        format!("could not read CA certificate {path:?}: {error}")
    })?;
    let usable = |certificate: &CertificateDer<'_>| ParsedCertificate::try_from(certificate).is_ok();
    let found: Vec<_> =
        CertificateDer::pem_slice_iter(&content).filter_map(Result::ok).filter(usable).collect();
    match found.is_empty() {
        true => Err(format!("failed to append certificates from PEM file: {:?}", path.to_string_lossy())),
        false => Ok(found),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("open {}: {}", path.display(), words::of_io(&error)))
}

/// Chains to an authority, and those certificates that are themselves listed.
#[derive(Debug)]
struct Listed {
    chains: Arc<WebPkiServerVerifier>,
    listed: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Listed {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if !self.listed.iter().any(|listed| listed == end_entity) {
            return self.chains.verify_server_cert(
                end_entity,
                intermediates,
                server_name,
                ocsp_response,
                now,
            );
        }
        let (not_before, not_after) = validity::of(end_entity).ok_or(CertificateError::BadEncoding)?;
        if now < not_before {
            return Err(CertificateError::NotValidYetContext { time: now, not_before }.into());
        }
        if now > not_after {
            return Err(CertificateError::ExpiredContext { time: now, not_after }.into());
        }
        verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chains.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chains.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.supported_verify_schemes()
    }
}

/// `--skip-verify`: encrypted, but with whoever answers.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
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
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
