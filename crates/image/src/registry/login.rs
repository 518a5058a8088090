//! Checking credentials: what `docker login` asks the engine to do.

use reqwest::{Method, StatusCode};

use super::address::HUB_KEY;
use super::failure::request_line;
use super::response::status_line;
use super::session::Session;
use super::{Access, Credentials, Error, Kind, Registries, first_answer};

/// A login that worked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// To be kept instead of the password, when the registry gives one.
    pub identity_token: Option<String>,
}

impl Registries {
    /// Tries credentials at a registry. `server` is what clients call it: a host, a URL, or nothing for Docker Hub.
    pub async fn login(&self, server: &str, credentials: &Credentials) -> Result<Login, Error> {
        let domain = domain_of(server);
        let name = format!("{domain}/login").parse().map_err(|_| {
            Error::new(Kind::Invalid, format!("unable to parse server address: invalid host {server:?}"))
        })?;
        let sessions = self.sessions(&name, credentials, Access::Pull).await?;
        let sessions =
            sessions.into_iter().filter(|session| !session.is_mirror()).map(Session::without_scopes);
        first_answer(sessions.collect(), |session| async move { session.login().await }).await
    }
}

impl Session {
    async fn login(&self) -> Result<Login, Error> {
        let url = self.url("")?;
        let line = request_line(&Method::GET, &url);
        let identity_token =
            self.authorization.refresh_token(&self.transport).await.map_err(|error| {
                if error.kind() == Kind::Unauthorized { error.context(&line) } else { error }
            })?;
        let response = self.request(self.outgoing(Method::GET, url.clone())).await?;
        match response.status() {
            StatusCode::OK => Ok(Login { identity_token }),
            status => {
                let status_text = status_line(status);
                let message = format!("login attempt to {url} failed with status: {status_text}");
                let unauthorized = status == StatusCode::UNAUTHORIZED;
                Err(Error::new(if unauthorized { Kind::Unauthorized } else { Kind::Protocol }, message))
            }
        }
    }
}

fn domain_of(server: &str) -> String {
    let bare = server.strip_prefix("https://").or_else(|| server.strip_prefix("http://")).unwrap_or(server);
    let host = bare.split('/').next().unwrap_or_default();
    if server.is_empty() || server == HUB_KEY || matches!(host, "index.docker.io" | "registry-1.docker.io") {
        return oci::reference::DEFAULT_DOMAIN.to_owned();
    }
    host.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_have_many_spellings() {
        for (server, domain) in [
            ("", "docker.io"),
            (HUB_KEY, "docker.io"),
            ("docker.io", "docker.io"),
            ("https://index.docker.io/v1/", "docker.io"),
            ("http://localhost:5000/v2/", "localhost:5000"),
            ("quay.io", "quay.io"),
        ] {
            assert_eq!(domain_of(server), domain);
        }
    }
}
