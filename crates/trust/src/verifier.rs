//! Whether a server's certificate is believed.
//!
//! `webpki` believes a chain that ends in an authority. Go believes more: a certificate that is itself in the file it was
//! given, which is what many point their registries and collectors at: a server's own one, signed by nobody else. Of
//! that one the time and the name remain to be checked, and are.

use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::{Error, provider, validity};

/// Which servers are believed.
#[derive(Debug)]
pub enum Belief {
    /// Whoever answers: the session is encrypted, but nobody knows with whom. Somebody asked for that.
    Anyone,
    /// Who can prove to be the one that was called.
    Proven(Authorities),
}

/// Whose word is taken for who a server is.
#[derive(Debug, Clone)]
pub struct Authorities {
    roots: RootCertStore,
    /// Certificates that were named, and are believed for themselves.
    listed: Vec<CertificateDer<'static>>,
}

impl Authorities {
    /// Nobody's yet.
    pub fn none() -> Authorities {
        Authorities { roots: RootCertStore::empty(), listed: Vec::new() }
    }

    /// Those of the system.
    pub fn system() -> Authorities {
        Authorities { roots: system().roots.clone(), listed: Vec::new() }
    }

    /// What of the system's could not be read, and was left out.
    pub fn complaints() -> &'static [String] {
        &system().complaints
    }

    /// Believes these too.
    pub fn and(mut self, certificates: Vec<CertificateDer<'static>>) -> Authorities {
        self.roots.add_parsable_certificates(certificates.iter().cloned());
        self.listed.extend(certificates);
        self
    }
}

struct System {
    roots: RootCertStore,
    complaints: Vec<String>,
}

/// Read once in the life of a process: there are some hundred and fifty.
fn system() -> &'static System {
    static SYSTEM: OnceLock<System> = OnceLock::new();
    SYSTEM.get_or_init(|| {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(found.certs);
        System { roots, complaints: found.errors.iter().map(ToString::to_string).collect() }
    })
}

impl Belief {
    pub(crate) fn verifier(self) -> Result<Verifier, Error> {
        let algorithms = provider().signature_verification_algorithms;
        let Belief::Proven(Authorities { roots, listed }) = self else {
            return Ok(Verifier { algorithms, known: None });
        };
        let chains = match roots.is_empty() {
            true => None,
            false => {
                let builder = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider());
                let refused = |error| Error::Refused(rustls::Error::General(format!("{error}")));
                Some(builder.build().map_err(refused)?)
            }
        };
        Ok(Verifier { algorithms, known: Some(Known { chains, listed }) })
    }
}

/// [`Belief`], as rustls asks for it. Whoever is believed, the handshake itself must be sound.
#[derive(Debug)]
pub(crate) struct Verifier {
    algorithms: WebPkiSupportedAlgorithms,
    /// [`None`]: anyone.
    known: Option<Known>,
}

#[derive(Debug)]
struct Known {
    /// [`None`] where there is no authority; `webpki` makes no verifier of none.
    chains: Option<Arc<WebPkiServerVerifier>>,
    listed: Vec<CertificateDer<'static>>,
}

impl Known {
    fn check_listed(
        certificate: &CertificateDer<'_>,
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let (not_before, not_after) = validity::of(certificate).ok_or(CertificateError::BadEncoding)?;
        if now < not_before {
            return Err(CertificateError::NotValidYetContext { time: now, not_before }.into());
        }
        if now > not_after {
            return Err(CertificateError::ExpiredContext { time: now, not_after }.into());
        }
        verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
        Ok(ServerCertVerified::assertion())
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(Known { chains, listed }) = &self.known else {
            return Ok(ServerCertVerified::assertion());
        };
        if listed.contains(end_entity) {
            return Known::check_listed(end_entity, server_name, now);
        }
        match chains {
            Some(chains) => {
                chains.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            }
            None => Err(CertificateError::UnknownIssuer.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
