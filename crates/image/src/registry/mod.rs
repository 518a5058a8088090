//! The distribution protocol, client side: manifests and blobs from and to registries.
//!
//! ```text
//!  Registries ──sessions(reference, credentials, access)──▶ one Session per place to ask
//!                                                              │ ping: does it speak TLS, what does it challenge with
//!                                                              │ token or password, renewed once when refused
//!                                                              ▼
//!                                 manifests · blobs from an offset · uploads, over one Transport
//! ```
//!
//! A session never retries by itself: who asks knows what is worth another try, and says so to the user. It never
//! trusts either: whatever comes back is checked against a digest by whoever asked.
//!
//! Limits: documents as large as [`oci::image::MAX_MANIFEST`], error bodies and tokens of 64 KiB, ten redirects,
//! silence for as long as [`Options::stall_timeout`] says.

mod address;
mod authorization;
mod challenge;
mod error;
mod failure;
mod fetch;
mod login;
mod response;
mod search;
mod session;
mod tls;
mod transport;
mod upload;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use oci::reference::{DEFAULT_DOMAIN, Reference};
use reqwest::Url;

pub use address::{HUB_KEY, Insecure, parse_mirror};
pub use error::{Error, Kind};
pub use login::Login;
pub use search::Hit;
pub(crate) use session::mismatch;
pub use session::{Download, Found, Session};
pub use upload::{Mounting, Sent, Upload};

use transport::Transport;

/// Ways around a wall. What is absent is taken from the environment (`HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY`, or in
/// lower case); loopback is never asked through a proxy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    pub http: Option<String>,
    pub https: Option<String>,
    /// Hosts, domains and networks to reach directly, with commas between.
    pub none: Option<String>,
}

/// How to speak with registries.
#[derive(Debug, Clone)]
pub struct Options {
    pub insecure: Insecure,
    /// Asked before `docker.io`, in this order; see [`parse_mirror`].
    pub mirrors: Vec<Url>,
    /// Directories such as `/etc/docker/certs.d`; the first one that knows a host is taken.
    pub certificates: Vec<PathBuf>,
    pub user_agent: String,
    pub proxies: Proxies,
    pub connect_timeout: Duration,
    /// How long a registry may be silent before a request or a transfer is given up.
    pub stall_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            insecure: Insecure::default(),
            mirrors: Vec::new(),
            certificates: vec![PathBuf::from("/etc/docker/certs.d")],
            user_agent: concat!("docker/28.5.2 wharf/", env!("CARGO_PKG_VERSION")).into(),
            proxies: Proxies::default(),
            connect_timeout: Duration::from_secs(30),
            stall_timeout: Duration::from_secs(60),
        }
    }
}

/// Who we are to a registry.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Credentials {
    #[default]
    Anonymous,
    Password {
        username: String,
        password: String,
    },
    /// What a login gave instead of keeping the password; buys tokens.
    IdentityToken {
        username: String,
        token: String,
    },
    /// A finished bearer token.
    RegistryToken(String),
}

/// Never prints a secret.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Anonymous => "Anonymous",
            Self::Password { .. } => "Password(…)",
            Self::IdentityToken { .. } => "IdentityToken(…)",
            Self::RegistryToken(_) => "RegistryToken(…)",
        })
    }
}

/// What a session is for: the rights that it asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Pull,
    Push,
}

/// All registries. Cheap to clone; connections are shared.
#[derive(Clone)]
pub struct Registries {
    transport: Arc<Transport>,
}

impl Registries {
    pub fn new(options: Options) -> Self {
        Self { transport: Arc::new(Transport::new(Arc::new(options))) }
    }

    pub fn options(&self) -> &Options {
        self.transport.options()
    }

    /// The places where an image may be, in the order in which to ask. No connection is made yet.
    pub async fn sessions(
        &self,
        name: &Reference,
        credentials: &Credentials,
        access: Access,
    ) -> Result<Vec<Session>, Error> {
        let domain = name.domain();
        let options = self.options();
        let hub = domain == DEFAULT_DOMAIN;
        let insecure = !hub && options.insecure.covers(domain).await;
        let mut mirrors = Vec::new();
        if hub && access == Access::Pull {
            for mirror in &options.mirrors {
                mirrors.push((mirror.clone(), self.transport.trust(mirror).await));
            }
        }
        let sessions = address::endpoints(domain, insecure, &mirrors)?
            .into_iter()
            .map(|endpoint| {
                let credentials = if endpoint.mirror { Credentials::Anonymous } else { credentials.clone() };
                Session::new(self.transport.clone(), endpoint, name.path(), credentials, access)
            })
            .collect();
        Ok(sessions)
    }
}

/// Tries places in turn until one gives an answer that counts: a failure to speak at all leads to the next place,
/// and so does anything that goes wrong at a mirror.
pub async fn first_answer<T, F>(
    sessions: Vec<Session>,
    mut ask: impl FnMut(Arc<Session>) -> F,
) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let mut last = None;
    let mut spoke_tls = false;
    for session in sessions {
        // Once TLS was spoken, plain HTTP is no alternative any more.
        if spoke_tls && !session.is_mirror() && session.is_plain() {
            break;
        }
        let session = Arc::new(session);
        let answer = match session.connect().await {
            Ok(()) => {
                spoke_tls = spoke_tls || (!session.is_plain() && !session.is_mirror());
                ask(session.clone()).await
            }
            Err(error) => Err(error),
        };
        match answer {
            Ok(answer) => return Ok(answer),
            Err(error) if matches!(error.kind(), Kind::Full | Kind::Other | Kind::Mismatch) => {
                return Err(error);
            }
            Err(error) => {
                tracing::debug!(%error, "a place to pull from failed");
                last = Some(error);
            }
        }
    }
    Err(last.unwrap_or_else(|| Error::new(Kind::Invalid, "no registry to ask")))
}
