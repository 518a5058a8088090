//! Whom to believe and who we are, as the command line tells it: a session that has not begun.
//!
//! Complaints are Docker's own.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use trust::files::{Identity, authorities};
use trust::{Authorities, Belief, Error, words};

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
        let belief = match self.verify {
            true => Belief::Proven(self.authorities()?),
            false => Belief::Anyone,
        };
        let identity = match (&self.certificate, &self.key) {
            (None, None) => None,
            (certificate, key) => {
                // Half a pair is told by the name that nobody gave.
                let path = |path: &Option<PathBuf>| path.clone().unwrap_or_default();
                Some(Identity::read(&path(certificate), &path(key)).map_err(no_pair)?)
            }
        };
        trust::client(belief, identity).map_err(no_pair)
    }

    fn authorities(&self) -> Result<Authorities, String> {
        let system = Authorities::system();
        let Some(path) = &self.authority else { return Ok(system) };
        let failed = |error| {
            let path = path.to_string_lossy();
            match error {
                Error::NoAuthority => format!("failed to append certificates from PEM file: {path:?}"),
                error => format!("could not read CA certificate {path:?}: {error}"),
            }
        };
        Ok(system.and(authorities(path).map_err(failed)?))
    }
}

fn no_pair(error: Error) -> String {
    format!("Could not load X509 key pair: {error}")
}
