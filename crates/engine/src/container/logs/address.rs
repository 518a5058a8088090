//! Where a collector is: URLs as Docker's drivers take them, and the addresses behind names.
//!
//! A name is looked up when the container starts, on the host.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};

use shim::protocol::Endpoint;

use super::options::Read;

/// As much of a URL as an address has.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Url {
    pub(super) scheme: String,
    /// With its port.
    pub(super) host: String,
    pub(super) path: String,
}

impl Url {
    /// Go's `url.Parse`.
    pub(super) fn parse(text: &str) -> Read<Url> {
        // Neither a query nor a fragment belongs to an address.
        let given = text.split(['?', '#']).next().unwrap_or_default();
        if let Some(escape) = broken_escape(given) {
            return Err(format!("parse {text:?}: invalid URL escape {escape:?}"));
        }
        let (scheme, rest) = match given.split_once(':') {
            Some((scheme, rest)) if is_scheme(scheme) => (scheme.to_ascii_lowercase(), rest),
            Some((before, _)) if !before.contains('/') => {
                return Err(format!("parse {text:?}: first path segment in URL cannot contain colon"));
            }
            _ => (String::new(), given),
        };
        let Some(rest) = rest.strip_prefix("//") else {
            return Ok(Url { scheme, host: String::new(), path: rest.to_owned() });
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        if let Some(port) = port_of(host)
            && !port.bytes().all(|byte| byte.is_ascii_digit())
        {
            return Err(format!("parse {text:?}: invalid port {:?} after host", format!(":{port}")));
        }
        Ok(Url { scheme, host: host.to_owned(), path: path.to_owned() })
    }

    /// The host's name without brackets, and its port.
    pub(super) fn split_host(&self) -> (&str, Option<&str>) {
        match port_of(&self.host) {
            Some(port) => (unbracketed(&self.host[..self.host.len() - port.len() - 1]), Some(port)),
            None => (unbracketed(&self.host), None),
        }
    }
}

/// A percent sign without two hexadecimal digits behind it, as Go shows it.
fn broken_escape(text: &str) -> Option<String> {
    text.match_indices('%').find_map(|(at, _)| {
        let escape: String = text[at..].chars().take(3).collect();
        let digits = escape.chars().filter(char::is_ascii_hexdigit).count();
        (digits < 2).then_some(escape)
    })
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
}

/// What stands behind the last colon outside of brackets.
fn port_of(host: &str) -> Option<&str> {
    let from = host.rfind(']').unwrap_or(0);
    host[from..].rsplit_once(':').map(|(_, port)| port)
}

fn unbracketed(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// Where to send to; `network` is what Go calls it.
pub(super) fn endpoints(network: &str, host: &str, port: u16) -> Read<Vec<Endpoint>> {
    let addresses = resolve(network, host, port)?;
    Ok(match network {
        // A datagram finds out nothing about its address: the first is as good as any.
        "udp" => addresses.into_iter().take(1).map(Endpoint::Udp).collect(),
        _ => addresses.into_iter().map(Endpoint::Tcp).collect(),
    })
}

/// The addresses of a host, IPv4 first.
fn resolve(network: &str, host: &str, port: u16) -> Read<Vec<SocketAddr>> {
    if host.is_empty() {
        return Ok(vec![SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)]);
    }
    let found = (host, port).to_socket_addrs().map_err(|error| {
        format!("dial {network}: lookup {host}: {}", error.to_string().to_ascii_lowercase())
    })?;
    let mut addresses: Vec<SocketAddr> = found.collect();
    addresses.sort_by_key(SocketAddr::is_ipv6);
    addresses.dedup();
    match addresses.is_empty() {
        true => Err(format!("dial {network}: lookup {host}: no such host")),
        false => Ok(addresses),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(scheme: &str, host: &str, path: &str) -> Url {
        Url { scheme: scheme.into(), host: host.into(), path: path.into() }
    }

    #[test]
    fn urls_come_apart_as_in_go() {
        assert_eq!(Url::parse("udp://a:514"), Ok(url("udp", "a:514", "")));
        assert_eq!(Url::parse("unix:///dev/log"), Ok(url("unix", "", "/dev/log")));
        assert_eq!(Url::parse("tcp+tls://[::1]:6514/x"), Ok(url("tcp+tls", "[::1]:6514", "/x")));
        assert_eq!(Url::parse("foo"), Ok(url("", "", "foo")));
        assert_eq!(Url::parse("tcp://a:514?x=1"), Ok(url("tcp", "a:514", "")));
        assert_eq!(Url::parse("udp://a:514#f"), Ok(url("udp", "a:514", "")));
        assert_eq!(Url::parse("%zz"), Err("parse \"%zz\": invalid URL escape \"%zz\"".into()));
        assert_eq!(
            Url::parse("udp://a:b:c"),
            Err("parse \"udp://a:b:c\": invalid port \":c\" after host".into())
        );
        assert!(Url::parse("127.0.0.1:514").unwrap_err().contains("cannot contain colon"));
    }

    #[test]
    fn hosts_and_ports_come_apart() {
        assert_eq!(url("", "[::1]:5", "").split_host(), ("::1", Some("5")));
        assert_eq!(url("", "[::1]", "").split_host(), ("::1", None));
        assert_eq!(url("", "a", "").split_host(), ("a", None));
        assert_eq!(url("", ":5", "").split_host(), ("", Some("5")));
    }

    #[test]
    fn addresses_need_no_lookup() {
        assert_eq!(resolve("udp", "10.0.0.1", 5), Ok(vec!["10.0.0.1:5".parse().unwrap()]));
        assert_eq!(resolve("udp", "", 5), Ok(vec!["127.0.0.1:5".parse().unwrap()]));
    }
}
