//! Where a registry is: from the domain of a reference to the URLs to try, in order.
//!
//! `docker.io` means its mirrors (pulls only), then `registry-1.docker.io`. Any other domain is asked over verified
//! HTTPS. An insecure one (loopback, or named by the administrator by name or by network) is asked over HTTPS without
//! verification, and over plain HTTP if that does not speak TLS.

use std::net::IpAddr;

use ipnet::IpNet;
use oci::reference::DEFAULT_DOMAIN;
use reqwest::Url;

use super::{Error, Kind};

/// The host behind `docker.io`.
const HUB: &str = "registry-1.docker.io";
/// The key under which clients store credentials for `docker.io`.
pub const HUB_KEY: &str = "https://index.docker.io/v1/";

/// One place to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// Ends with a slash; `v2/…` is appended.
    pub(super) base: Url,
    /// Whether certificates are checked and plain HTTP is out of the question.
    pub(super) trust: Trust,
    /// A mirror sees no credentials: they belong to another host.
    pub(super) mirror: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Trust {
    Verified,
    Unverified,
}

/// Registries that need no valid certificate.
#[derive(Debug, Clone, Default)]
pub struct Insecure {
    names: Vec<String>,
    networks: Vec<IpNet>,
}

impl Insecure {
    /// From the administrator's list: `host[:port]` or a network in CIDR notation. Loopback is always in.
    pub fn parse<'a>(entries: impl IntoIterator<Item = &'a str>) -> Result<Self, Error> {
        let mut insecure = Self::default();
        for entry in entries {
            if let Ok(network) = entry.parse::<IpNet>() {
                insecure.networks.push(network);
                continue;
            }
            if entry.contains("://") {
                let message = format!("insecure registry {entry} should not contain '://'");
                return Err(Error::new(Kind::Invalid, message));
            }
            if base_of("https", entry).is_none() {
                let message = format!("insecure registry {entry} is not valid: invalid host {entry:?}");
                return Err(Error::new(Kind::Invalid, message));
            }
            insecure.names.push(entry.to_ascii_lowercase());
        }
        Ok(insecure)
    }

    fn names(&self, domain: &str) -> bool {
        let domain = domain.to_ascii_lowercase();
        let host = host_of(&domain);
        host == "localhost" || self.names.iter().any(|name| *name == domain || *name == host)
    }

    fn contains(&self, address: IpAddr) -> bool {
        address.is_loopback() || self.networks.iter().any(|network| network.contains(&address))
    }

    /// Whether a domain may do without a valid certificate. A host name is looked up: its network may be listed.
    pub(super) async fn covers(&self, domain: &str) -> bool {
        if self.names(domain) {
            return true;
        }
        let host = host_of(domain).trim_start_matches('[').trim_end_matches(']').to_owned();
        if let Ok(address) = host.parse::<IpAddr>() {
            return self.contains(address);
        }
        match tokio::net::lookup_host((host.as_str(), 443)).await {
            Ok(mut found) => found.any(|address| self.contains(address.ip())),
            Err(_) => false,
        }
    }
}

/// The host of `host[:port]`; an IPv6 address keeps its brackets.
fn host_of(domain: &str) -> &str {
    match domain.rfind(']') {
        Some(end) => &domain[..=end],
        None => domain.split(':').next().unwrap_or(domain),
    }
}

/// A mirror's URL as the administrator wrote it.
pub fn parse_mirror(text: &str) -> Result<Url, Error> {
    let invalid = |why: &str| Error::new(Kind::Invalid, format!("invalid mirror: {why}"));
    let must = "must use either 'https://' or 'http://'";
    if !text.contains("://") {
        return Err(invalid(&format!("no scheme specified for {text:?}: {must}")));
    }
    let mut url =
        Url::parse(text).map_err(|error| invalid(&format!("{text:?} is not a valid URI: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(invalid(&format!("unsupported scheme {:?} in {text:?}: {must}", url.scheme())));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(invalid(&format!("query or fragment at end of the URI {text:?}")));
    }
    if !url.username().is_empty() || url.password().is_some() {
        let host = text.rsplit_once('@').map_or("", |(_, host)| host);
        let masked = format!("{}://{}:xxxxx@{host}", url.scheme(), url.username());
        return Err(invalid(&format!("username/password not allowed in URI {masked:?}")));
    }
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok(url)
}

/// The places to ask, given what was found out about the domain. `mirrors` is empty for a push.
pub(super) fn endpoints(
    domain: &str,
    insecure: bool,
    mirrors: &[(Url, Trust)],
) -> Result<Vec<Endpoint>, Error> {
    let mut found = Vec::new();
    if domain == DEFAULT_DOMAIN {
        for (base, trust) in mirrors {
            found.push(Endpoint { base: base.clone(), trust: *trust, mirror: true });
        }
    }
    let host = if domain == DEFAULT_DOMAIN { HUB } else { domain };
    let base = |scheme| {
        base_of(scheme, host)
            .ok_or_else(|| Error::new(Kind::Invalid, format!("invalid registry host {host:?}")))
    };
    if insecure {
        found.push(Endpoint { base: base("https")?, trust: Trust::Unverified, mirror: false });
        found.push(Endpoint { base: base("http")?, trust: Trust::Unverified, mirror: false });
    } else {
        found.push(Endpoint { base: base("https")?, trust: Trust::Verified, mirror: false });
    }
    Ok(found)
}

fn base_of(scheme: &str, host: &str) -> Option<Url> {
    let url = Url::parse(&format!("{scheme}://{host}/")).ok()?;
    let plain = url.path() == "/" && url.query().is_none() && url.username().is_empty();
    (plain && url.fragment().is_none()).then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(domain: &str, insecure: bool, mirrors: &[(Url, Trust)]) -> Vec<String> {
        endpoints(domain, insecure, mirrors).unwrap().iter().map(|e| e.base.to_string()).collect()
    }

    #[test]
    fn the_order_of_trying() {
        let mirror = (parse_mirror("http://m.example/sub").unwrap(), Trust::Verified);
        assert_eq!(
            urls("docker.io", false, std::slice::from_ref(&mirror)),
            ["http://m.example/sub/", "https://registry-1.docker.io/"]
        );
        assert_eq!(urls("quay.io", false, std::slice::from_ref(&mirror)), ["https://quay.io/"]);
        assert_eq!(urls("[::1]:5000", true, &[]), ["https://[::1]:5000/", "http://[::1]:5000/"]);
    }

    #[tokio::test]
    async fn loopback_and_the_listed_are_insecure() {
        let insecure = Insecure::parse(["10.1.0.0/16", "reg.example:5000", "bare.example"]).unwrap();
        for domain in
            ["localhost", "localhost:5000", "127.9.9.9:1", "[::1]:5000", "10.1.2.3", "REG.example:5000"]
        {
            assert!(insecure.covers(domain).await, "{domain}");
        }
        assert!(insecure.covers("bare.example:77").await);
        assert!(!insecure.covers("10.2.0.1:5000").await);
        assert!(!insecure.covers("192.0.2.1").await);
    }

    #[test]
    fn configuration_is_checked() {
        let message = |error: Error| error.to_string();
        assert_eq!(
            Insecure::parse(["http://x"]).map_err(message).unwrap_err(),
            "insecure registry http://x should not contain '://'"
        );
        assert!(Insecure::parse(["x/y"]).is_err());
        assert_eq!(
            parse_mirror("https://u:p@m/").map_err(message).unwrap_err(),
            "invalid mirror: username/password not allowed in URI \"https://u:xxxxx@m/\""
        );
        assert!(parse_mirror("ftp://m/").is_err());
        assert!(parse_mirror("m.example").is_err());
    }
}
