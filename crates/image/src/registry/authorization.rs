//! Being let in: from a challenge and credentials to an `Authorization` header.
//!
//! ```text
//!  registry                   we                        token server (the challenge's realm)
//!     │ ◀── request ─────────  │
//!     │ ── 401, challenge ──▶  │
//!     │                        │ ── GET realm?service&scope (password as Basic)          ──▶ │
//!     │                        │    or POST grant_type=refresh_token (identity token)        │
//!     │                        │ ◀───────────────────────────────── token, expires_in ────── │
//!     │ ◀── request, Bearer ─  │
//! ```
//!
//! One token serves all requests of a session; whoever finds it stale renews it while the others wait. A password is
//! never sent to a token server over plain HTTP when the registry itself was verified.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;
use tokio::sync::Mutex;

use super::address::Trust;
use super::challenge::Challenge;
use super::response::{read_limited, refusal};
use super::transport::{Outgoing, Payload, Transport};
use super::{Credentials, Error, Kind};

/// Of the token server's answer.
const MAX_TOKEN_BODY: usize = 64 << 10;
/// Tokens are taken to live at least this long, as token servers that say nothing mean it.
const MIN_LIFETIME: Duration = Duration::from_secs(60);
/// A token is renewed this long before its end, so that it does not expire on its way.
const MARGIN: Duration = Duration::from_secs(10);
/// How we call ourselves to token servers.
const CLIENT_ID: &str = "docker";

/// The rights and the state of one session.
pub(super) struct Authorization {
    credentials: Credentials,
    trust: Trust,
    /// Whether the registry itself is asked over HTTPS.
    over_tls: bool,
    state: Mutex<State>,
}

struct State {
    scheme: Scheme,
    scopes: Vec<String>,
    token: Option<Token>,
}

#[derive(Clone)]
enum Scheme {
    /// Nobody has asked for anything.
    Open,
    Basic,
    Bearer {
        realm: Url,
        service: Option<String>,
    },
}

struct Token {
    header: HeaderValue,
    good_until: Instant,
}

#[derive(Deserialize)]
struct Granted {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    refresh_token: Option<String>,
    #[serde(default)]
    expires_in: Option<u64>,
}

/// What a token server gave.
pub(super) struct Grant {
    pub(super) token: String,
    pub(super) refresh_token: Option<String>,
    lifetime: Duration,
}

impl Authorization {
    pub(super) fn new(credentials: Credentials, trust: Trust, over_tls: bool, scopes: Vec<String>) -> Self {
        let state = State { scheme: Scheme::Open, scopes, token: None };
        Self { credentials, trust, over_tls, state: Mutex::new(state) }
    }

    /// The same, asking for no rights.
    pub(super) fn without_scopes(mut self) -> Self {
        self.state.get_mut().scopes.clear();
        self
    }

    /// Learns from a 401. False when there is nothing new to try.
    pub(super) async fn challenged(
        &self,
        headers: &HeaderMap,
        refused: Option<&HeaderValue>,
    ) -> Result<bool, Error> {
        let challenges: Vec<Challenge> = headers
            .get_all(WWW_AUTHENTICATE)
            .iter()
            .filter_map(|header| header.to_str().ok())
            .flat_map(Challenge::parse)
            .collect();
        let mut state = self.state.lock().await;
        if let (Some(token), Some(refused)) = (&state.token, refused)
            && token.header != *refused
        {
            // Somebody else has renewed it meanwhile.
            return Ok(true);
        }
        let Some((scheme, scope)) = choose(&challenges)? else { return Ok(false) };
        let mut news = matches!(state.scheme, Scheme::Open) || state.token.is_some();
        for scope in scope.iter().flat_map(|scope| scope.split(' ')).filter(|scope| !scope.is_empty()) {
            if !state.scopes.iter().any(|known| known == scope) {
                state.scopes.push(scope.to_owned());
                news = true;
            }
        }
        state.scheme = scheme;
        state.token = None;
        Ok(news)
    }

    /// Asks for one right more from now on.
    pub(super) async fn want(&self, scope: String) {
        let mut state = self.state.lock().await;
        if !state.scopes.contains(&scope) {
            state.scopes.push(scope);
            state.token = None;
        }
    }

    /// The header for the next request, if one is needed.
    pub(super) async fn header(&self, transport: &Transport) -> Result<Option<HeaderValue>, Error> {
        let mut state = self.state.lock().await;
        let (realm, service) = match &state.scheme {
            Scheme::Open => return Ok(None),
            Scheme::Basic => return self.basic().map(Some),
            Scheme::Bearer { realm, service } => (realm.clone(), service.clone()),
        };
        if let Credentials::RegistryToken(token) = &self.credentials {
            return bearer(token).map(Some);
        }
        if let Some(token) = &state.token
            && Instant::now() < token.good_until
        {
            return Ok(Some(token.header.clone()));
        }
        let grant = self.grant(transport, &realm, service.as_deref(), &state.scopes, false).await?;
        let header = bearer(&grant.token)?;
        let good_until = Instant::now() + grant.lifetime.saturating_sub(MARGIN);
        state.token = Some(Token { header: header.clone(), good_until });
        Ok(Some(header))
    }

    /// Logs in at the token server, if that is how this registry works.
    pub(super) async fn refresh_token(&self, transport: &Transport) -> Result<Option<String>, Error> {
        let mut state = self.state.lock().await;
        let Scheme::Bearer { realm, service } = state.scheme.clone() else { return Ok(None) };
        let grant = self.grant(transport, &realm, service.as_deref(), &state.scopes, true).await?;
        let good_until = Instant::now() + grant.lifetime.saturating_sub(MARGIN);
        state.token = Some(Token { header: bearer(&grant.token)?, good_until });
        Ok(grant.refresh_token)
    }

    fn basic(&self) -> Result<HeaderValue, Error> {
        match &self.credentials {
            Credentials::Password { username, password } => basic(username, password),
            _ => Err(Error::new(Kind::NoCredentials, "no basic auth credentials")),
        }
    }

    async fn grant(
        &self,
        transport: &Transport,
        realm: &Url,
        service: Option<&str>,
        scopes: &[String],
        offline: bool,
    ) -> Result<Grant, Error> {
        let anonymous = matches!(self.credentials, Credentials::Anonymous);
        if self.over_tls && self.trust == Trust::Verified && realm.scheme() != "https" && !anonymous {
            let message = format!("credentials are not sent to the token server {realm} over plain HTTP");
            return Err(Error::new(Kind::Protocol, message));
        }
        let request = match &self.credentials {
            Credentials::IdentityToken { token, .. } => refresh_request(realm, service, scopes, token),
            other => token_request(realm, service, scopes, other, offline)?,
        };
        let trust = match self.trust {
            Trust::Verified => Trust::Verified,
            Trust::Unverified => transport.trust(realm).await,
        };
        let stall = transport.options().stall_timeout;
        let response = transport.send(request, trust).await?;
        if response.status() != StatusCode::OK {
            return Err(refusal(response, stall).await);
        }
        let body = read_limited(response, MAX_TOKEN_BODY, stall).await?;
        let granted: Granted = serde_json::from_slice(&body).map_err(|error| {
            Error::new(Kind::Protocol, format!("unable to decode token response: {error}"))
        })?;
        let token = granted.token.or(granted.access_token).filter(|token| !token.is_empty());
        let Some(token) = token else {
            let message = "authorization server did not include a token in the response";
            return Err(Error::new(Kind::Protocol, message));
        };
        let lifetime = Duration::from_secs(granted.expires_in.unwrap_or(0)).max(MIN_LIFETIME);
        Ok(Grant { token, refresh_token: granted.refresh_token.filter(|token| !token.is_empty()), lifetime })
    }
}

/// The scheme to follow, bearer before basic, and the scope that the registry misses.
fn choose(challenges: &[Challenge]) -> Result<Option<(Scheme, Option<String>)>, Error> {
    let of = |scheme: &str| challenges.iter().find(|challenge| challenge.scheme == scheme);
    if let Some(challenge) = of("bearer") {
        let realm = challenge.parameter("realm").unwrap_or_default();
        let url = Url::parse(realm).ok().filter(|url| matches!(url.scheme(), "http" | "https")).ok_or_else(
            || Error::new(Kind::Protocol, format!("invalid token auth challenge realm: {realm:?}")),
        )?;
        let service = challenge.parameter("service").map(str::to_owned);
        let scope = challenge.parameter("scope").map(str::to_owned);
        return Ok(Some((Scheme::Bearer { realm: url, service }, scope)));
    }
    Ok(of("basic").map(|_| (Scheme::Basic, None)))
}

fn token_request(
    realm: &Url,
    service: Option<&str>,
    scopes: &[String],
    credentials: &Credentials,
    offline: bool,
) -> Result<Outgoing, Error> {
    let mut url = realm.clone();
    {
        let mut query = url.query_pairs_mut();
        if let Credentials::Password { username, .. } = credentials {
            query.append_pair("account", username);
        }
        query.append_pair("client_id", CLIENT_ID);
        if offline {
            query.append_pair("offline_token", "true");
        }
        for scope in scopes {
            query.append_pair("scope", scope);
        }
        if let Some(service) = service {
            query.append_pair("service", service);
        }
    }
    let mut request = Outgoing::new(Method::GET, url);
    if let Credentials::Password { username, password } = credentials {
        request.authorization = Some(basic(username, password)?);
    }
    Ok(request)
}

fn refresh_request(realm: &Url, service: Option<&str>, scopes: &[String], token: &str) -> Outgoing {
    // A URL's query and a form are written alike; this one only lends its encoder.
    let mut form = Url::parse("http://form/").expect("a constant");
    form.query_pairs_mut()
        .append_pair("client_id", CLIENT_ID)
        .append_pair("grant_type", "refresh_token")
        .append_pair("refresh_token", token)
        .append_pair("scope", &scopes.join(" "))
        .append_pair("service", service.unwrap_or_default());
    let mut request = Outgoing::new(Method::POST, realm.clone());
    let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
    request.headers.insert(CONTENT_TYPE, kind);
    request.body = Payload::Bytes(Bytes::from(form.query().unwrap_or_default().to_owned()));
    request
}

fn basic(username: &str, password: &str) -> Result<HeaderValue, Error> {
    secret(&format!("Basic {}", STANDARD.encode(format!("{username}:{password}"))))
}

fn bearer(token: &str) -> Result<HeaderValue, Error> {
    secret(&format!("Bearer {token}"))
}

fn secret(text: &str) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::from_str(text)
        .map_err(|_| Error::new(Kind::Protocol, "a token holds characters that no header can"))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_question_to_a_token_server() {
        let realm = Url::parse("https://auth.example/token?x=1").unwrap();
        let password = Credentials::Password { username: "me@x".into(), password: "p".into() };
        let scopes = ["repository:a:pull".to_owned(), "repository:b:pull".to_owned()];
        let request = token_request(&realm, Some("reg"), &scopes, &password, true).unwrap();
        assert_eq!(
            request.url.as_str(),
            "https://auth.example/token?x=1&account=me%40x&client_id=docker&offline_token=true\
             &scope=repository%3Aa%3Apull&scope=repository%3Ab%3Apull&service=reg"
        );
        assert_eq!(request.authorization.unwrap(), "Basic bWVAeDpw");
    }

    #[test]
    fn bearer_comes_first_and_needs_a_realm() {
        let both = Challenge::parse(r#"Basic realm="x", Bearer realm="https://a/""#);
        assert!(matches!(choose(&both).unwrap().unwrap().0, Scheme::Bearer { .. }));
        assert!(choose(&Challenge::parse("Bearer realm=\"file:///etc\"")).is_err());
        assert!(choose(&Challenge::parse("Negotiate")).unwrap().is_none());
    }
}
