//! Searching: the one thing that is left of the first registry protocol.
//!
//! ```text
//!   TERM          ──▶ https://index.docker.io/v1/search?q=TERM&n=25
//!   HOST/TERM     ──▶ HOST's https, its http where HOST may do without: /v1/_ping decides ──▶ /v1/search
//! ```
//!
//! Any answer to the ping will do; only a server that cannot be reached is passed over. A password goes along as basic
//! authorization. An identity token does not: the hub shows strangers the same public images.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oci::reference::DEFAULT_DOMAIN;
use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;

use super::address::{self, Endpoint, HUB_KEY, Trust};
use super::response::read_limited;
use super::transport::Outgoing;
use super::{Credentials, Error, Kind, Registries};

/// A hundred results with long descriptions are a tenth of it.
const MAX_RESULTS: usize = 4 << 20;
const USUAL_LIMIT: i64 = 25;
const LIMITS: std::ops::RangeInclusive<i64> = 1..=100;

/// An image that a registry has found.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Hit {
    pub name: String,
    #[serde(default)]
    pub description: String,
    #[serde(default)]
    pub star_count: i64,
    #[serde(default)]
    pub is_official: bool,
}

#[derive(Deserialize)]
struct Results {
    #[serde(default)]
    results: Option<Vec<Hit>>,
}

impl Registries {
    /// Asks the registry that the term names, or the hub. A limit of 0 is the usual one.
    pub async fn search(&self, term: &str, limit: i64, credentials: &Credentials) -> Result<Vec<Hit>, Error> {
        if term.starts_with("http://") || term.starts_with("https://") {
            let message =
                format!("invalid repository name: repository name ({term}) should not have a scheme");
            return Err(Error::new(Kind::Invalid, message));
        }
        let (domain, words) = split(term);
        let endpoint = self.index(domain).await?;
        let limit = if limit == 0 { USUAL_LIMIT } else { limit };
        if !LIMITS.contains(&limit) {
            let message =
                format!("limit {limit} is outside the range of [{}, {}]", LIMITS.start(), LIMITS.end());
            return Err(Error::new(Kind::Invalid, message));
        }
        let mut url = endpoint.base;
        url.set_path("/v1/search");
        url.query_pairs_mut().append_pair("q", words).append_pair("n", &limit.to_string());
        let mut request = Outgoing::new(Method::GET, url);
        request.headers.insert(HeaderName::from_static("x-docker-token"), HeaderValue::from_static("true"));
        if let Credentials::Password { username, password } = credentials {
            let value = format!("Basic {}", STANDARD.encode(format!("{username}:{password}")));
            request.authorization = Some(super::session::header_value(&value)?);
        }
        let response = self.transport.send(request, endpoint.trust).await?;
        if response.status() != StatusCode::OK {
            let message = format!("Unexpected status code {}", response.status().as_u16());
            return Err(Error::new(Kind::Protocol, message));
        }
        let body = read_limited(response, MAX_RESULTS, self.options().stall_timeout).await?;
        let found: Results = serde_json::from_slice(&body).map_err(|error| {
            Error::new(Kind::Protocol, format!("error decoding registry search results: {error}"))
        })?;
        Ok(found.results.unwrap_or_default())
    }

    /// Where a domain is searched.
    async fn index(&self, domain: &str) -> Result<Endpoint, Error> {
        if domain == DEFAULT_DOMAIN {
            let base = Url::parse(HUB_KEY).map_err(|error| Error::new(Kind::Invalid, error.to_string()))?;
            return Ok(Endpoint { base, trust: Trust::Verified, mirror: false });
        }
        let insecure = self.options().insecure.covers(domain).await;
        let mut failures = Vec::new();
        for endpoint in address::endpoints(domain, insecure, &[])? {
            let mut url = endpoint.base.clone();
            url.set_path("/v1/_ping");
            match self.transport.send(Outgoing::new(Method::GET, url), endpoint.trust).await {
                Ok(_) => return Ok(endpoint),
                Err(error) => failures.push(error.to_string()),
            }
        }
        Err(Error::new(Kind::Invalid, unreachable(domain, &failures)))
    }
}

fn unreachable(domain: &str, failures: &[String]) -> String {
    match failures {
        [https, http] => format!(
            "invalid registry endpoint \"http://{domain}/v1/\". HTTPS attempt: {https}. HTTP attempt: {http}"
        ),
        _ => format!(
            "invalid registry endpoint https://{domain}/v1/: {}. If this private registry supports only HTTP or HTTPS \
             with an unknown CA certificate, please add `--insecure-registry {domain}` to the daemon's arguments. In \
             the case of HTTPS, if you have access to the registry's CA certificate, no need for the flag; simply \
             place the CA certificate at /etc/docker/certs.d/{domain}/ca.crt",
            failures.join(". ")
        ),
    }
}

/// The registry that a term names, and what to look for there.
fn split(term: &str) -> (&str, &str) {
    match term.split_once('/') {
        Some((domain, words)) if domain.contains(['.', ':']) || domain == "localhost" => {
            let hub = matches!(domain, "docker.io" | "index.docker.io");
            if hub { (DEFAULT_DOMAIN, bare(words)) } else { (domain, words) }
        }
        _ => (DEFAULT_DOMAIN, bare(term)),
    }
}

/// The hub's own images are searched without the name of their owner.
fn bare(words: &str) -> &str {
    words.strip_prefix("library/").unwrap_or(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_term_may_name_its_registry() {
        assert_eq!(split("redis"), ("docker.io", "redis"));
        assert_eq!(split("library/redis"), ("docker.io", "redis"));
        assert_eq!(split("team/redis"), ("docker.io", "team/redis"));
        assert_eq!(split("docker.io/library/redis"), ("docker.io", "redis"));
        assert_eq!(split("localhost:5000/a/b"), ("localhost:5000", "a/b"));
        assert_eq!(split("quay.io/x"), ("quay.io", "x"));
    }
}
