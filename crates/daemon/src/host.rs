//! Where to listen: `unix://PATH`, `tcp://HOST[:PORT]`, `fd://[WHICH]`.

use std::path::PathBuf;

/// Docker's ports for the API, without and with TLS.
const PORT: u16 = 2375;
const TLS_PORT: u16 = 2376;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Host {
    Unix(PathBuf),
    /// Host and port, to be resolved.
    Tcp(String),
    /// Sockets that systemd holds: all of them, or one by number.
    Inherited(Option<i32>),
}

impl Host {
    pub(crate) fn parse(text: &str, tls: bool) -> Result<Host, String> {
        let text = text.trim();
        let wrong = |reason: &str| format!("invalid bind address ({text}): {reason}");
        match text.split_once("://") {
            Some(("unix", "")) => Err(wrong("a path is needed")),
            Some(("unix", path)) if !path.starts_with('/') => Err(wrong("the path must be absolute")),
            Some(("unix", path)) => Ok(Host::Unix(path.into())),
            Some(("tcp", address)) => tcp(address, tls).map_err(|reason| wrong(&reason)),
            Some(("fd", "" | "*")) => Ok(Host::Inherited(None)),
            Some(("fd", number)) => match number.parse() {
                Ok(number) if number >= 3 => Ok(Host::Inherited(Some(number))),
                Ok(_) => Err(wrong("systemd passes descriptors from 3 on")),
                Err(_) => {
                    Err(wrong(&format!("failed to parse systemd fd address: should be a number: {number}")))
                }
            },
            Some((scheme, _)) => Err(wrong(&format!("unsupported proto '{scheme}'"))),
            // As dockerd: a bare address is TCP.
            None if text.contains('/') || text.is_empty() => Err(wrong("unsupported proto ''")),
            None => tcp(text, tls).map_err(|reason| wrong(&reason)),
        }
    }
}

fn tcp(address: &str, tls: bool) -> Result<Host, String> {
    let address = address.trim_end_matches('/');
    if address.contains('/') {
        return Err(format!("invalid address: {address}"));
    }
    let default = if tls { TLS_PORT } else { PORT };
    // The last colon divides host and port, unless it is part of a bare IPv6 address in brackets.
    let (host, port) = match address.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (address, ""),
    };
    let host = if host.is_empty() { "127.0.0.1" } else { host };
    let port = match port {
        "" => default,
        port => port.parse().map_err(|_| format!("invalid port: {port}"))?,
    };
    Ok(Host::Tcp(format!("{host}:{port}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form() {
        let parse = |text: &str| Host::parse(text, false).unwrap();
        assert_eq!(parse("unix:///run/a.sock"), Host::Unix("/run/a.sock".into()));
        assert_eq!(parse("tcp://0.0.0.0:1234"), Host::Tcp("0.0.0.0:1234".into()));
        assert_eq!(parse("tcp://"), Host::Tcp("127.0.0.1:2375".into()));
        assert_eq!(parse("tcp://[::1]"), Host::Tcp("[::1]:2375".into()));
        assert_eq!(parse("tcp://[::1]:80"), Host::Tcp("[::1]:80".into()));
        assert_eq!(parse("0.0.0.0:99"), Host::Tcp("0.0.0.0:99".into()));
        assert_eq!(parse("fd://"), Host::Inherited(None));
        assert_eq!(parse("fd://4"), Host::Inherited(Some(4)));
        assert_eq!(Host::parse("tcp://h", true).unwrap(), Host::Tcp("h:2376".into()));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in
            ["", "foo://x", "unix://", "unix://a", "tcp://a:x", "tcp://a/b", "fd://x", "fd://1", "/run/x"]
        {
            assert!(Host::parse(text, false).unwrap_err().starts_with("invalid bind address"), "{text}");
        }
    }
}
