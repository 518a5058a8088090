//! Whom a TLS session believes, and what it shows of itself.
//!
//! Three programs open sessions: the client towards an engine, the engine towards registries, `wharf-tls` towards
//! collectors of logs. What they are told differs (flags, `certs.d`, options of a log), but not what follows from it:
//! files are read as Docker reads them ([`files`]), a server is believed as Go would believe it ([`Belief`]), and what
//! goes wrong is said in Go's words ([`words`]), which people know from Docker and look for. `wharfd`, which is a server
//! itself, reads its files here too.
//!
//! Nothing here opens a socket or speaks the protocol: out comes a [`ClientConfig`].

pub mod files;
mod validity;
mod verifier;
pub mod words;

use std::fmt;
use std::sync::{Arc, OnceLock};

use rustls::ClientConfig;
use rustls::crypto::CryptoProvider;

pub use files::Identity;
pub use verifier::{Authorities, Belief};

/// Why there will be no session. [`fmt::Display`] gives Go's words.
#[derive(Debug)]
pub enum Error {
    /// A file could not be read: the whole sentence.
    Unreadable(String),
    /// A file of authorities has no certificate that could be used.
    NoAuthority,
    /// A file that should begin with our certificate has none.
    NoCertificate,
    /// A file that should hold our key has none.
    NoKey,
    /// rustls will not have it.
    Refused(rustls::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Unreadable(sentence) => f.write_str(sentence),
            Error::NoAuthority => f.write_str("no certificate of an authority found"),
            Error::NoCertificate => f.write_str("tls: failed to find any PEM data in certificate input"),
            Error::NoKey => f.write_str("no valid private key found"),
            Error::Refused(rustls::Error::InconsistentKeys(_)) => {
                f.write_str("tls: private key does not match public key")
            }
            Error::Refused(error) => f.write_str(&words::of(error)),
        }
    }
}

impl std::error::Error for Error {}

/// The cryptography of all our sessions.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(rustls::crypto::ring::default_provider())).clone()
}

/// How to open sessions with a server.
pub fn client(belief: Belief, identity: Option<Identity>) -> Result<ClientConfig, Error> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(Error::Refused)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(belief.verifier()?));
    match identity {
        None => Ok(builder.with_no_client_auth()),
        Some(Identity { chain, key }) => builder.with_client_auth_cert(chain, key).map_err(Error::Refused),
    }
}
