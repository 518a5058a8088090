//! Where the engine is: the addresses that `-H`, `DOCKER_HOST` and contexts may hold.
//!
//! `unix:///path`, `tcp://host:port` (2375 plain, 2376 with TLS), `http(s)://` as other spellings
//! of tcp, and `ssh://[user@]host[:port][/socket]`, which is the remote client's
//! `system dial-stdio` over the system's own `ssh`.

use std::fmt;
use std::path::PathBuf;

use crate::{Error, Result};

/// Where the engine listens, as `--host` has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    Unix(PathBuf),
    Tcp { host: String, port: u16, secure: bool },
    Ssh { user: Option<String>, host: String, port: Option<u16>, socket: Option<String> },
}

impl Host {
    /// Parses an address. `tls` says whether TLS was asked for, which decides the default port.
    pub fn parse(text: &str, tls: bool) -> Result<Host> {
        let text = text.trim();
        let (scheme, rest) = match text.split_once("://") {
            Some(parts) => parts,
            None if text.starts_with('/') => ("unix", text),
            None => ("tcp", text),
        };
        match scheme {
            "unix" if rest.is_empty() => Err(bad(text)),
            "unix" => Ok(Host::Unix(PathBuf::from(rest))),
            "tcp" | "http" => tcp(rest, tls).ok_or_else(|| bad(text)),
            "https" => tcp(rest, true).ok_or_else(|| bad(text)),
            "ssh" => ssh(rest),
            "npipe" => {
                Err(Error::Address(format!("unable to use {text:?}: named pipes exist on Windows only")))
            }
            _ => Err(Error::Address(format!("invalid bind address format: {text}"))),
        }
    }

    /// The value of the `Host` header; a fixed name where there is no host.
    /// What Go's client calls it in its messages.
    pub(crate) fn url(&self) -> String {
        match self {
            Host::Tcp { secure, .. } => {
                format!("{}://{}", if *secure { "https" } else { "http" }, self.header())
            }
            Host::Unix(path) => format!("http://{}", path.display().to_string().replace('/', "%2F")),
            Host::Ssh { .. } => "http://docker.example.com".to_owned(),
        }
    }

    pub(crate) fn header(&self) -> String {
        match self {
            Host::Tcp { host, port, .. } => authority(host, *port),
            Host::Unix(_) | Host::Ssh { .. } => "api.moby.localhost".to_owned(),
        }
    }
}

fn bad(text: &str) -> Error {
    Error::Address(format!("unable to parse docker host `{text}`"))
}

fn tcp(rest: &str, secure: bool) -> Option<Host> {
    let (address, _path) = rest.split_once('/').unwrap_or((rest, ""));
    let default = if secure { 2376 } else { 2375 };
    let (host, port) = split_port(address, default)?;
    let host = if host.is_empty() { "127.0.0.1".to_owned() } else { host };
    Some(Host::Tcp { host, port, secure })
}

fn ssh(rest: &str) -> Result<Host> {
    let bad = |why: &str| Error::Address(format!("ssh host connection is not valid: invalid SSH URL: {why}"));
    let (authority, path) = match rest.find('/') {
        Some(at) => (&rest[..at], Some(rest[at..].to_owned())),
        None => (rest, None),
    };
    let (user, address) = match authority.rsplit_once('@') {
        Some((user, address)) => (Some(user.to_owned()), address),
        None => (None, authority),
    };
    let (host, port) = split_port(address, 0).ok_or_else(|| bad("invalid port"))?;
    if host.is_empty() {
        return Err(bad("hostname is empty"));
    }
    if user.as_deref().is_some_and(|user| user.contains(':')) {
        return Err(bad("plain-text password is not supported"));
    }
    // A host or user that begins with a dash would be read by ssh as an option.
    let safe = |word: &str| !word.is_empty() && !word.starts_with('-');
    if !safe(&host) || user.as_deref().is_some_and(|user| !safe(user)) {
        return Err(bad("a name must not begin with a dash"));
    }
    let socket = path.filter(|path| path != "/");
    Ok(Host::Ssh { user, host, port: (port != 0).then_some(port), socket })
}

fn split_port(address: &str, default: u16) -> Option<(String, u16)> {
    if let Some(rest) = address.strip_prefix('[') {
        let (host, after) = rest.split_once(']')?;
        let port = match after.strip_prefix(':') {
            Some(port) => port.parse().ok()?,
            None if after.is_empty() => default,
            None => return None,
        };
        return Some((host.to_owned(), port));
    }
    match address.rsplit_once(':') {
        Some((host, port)) => Some((host.to_owned(), port.parse().ok()?)),
        None => Some((address.to_owned(), default)),
    }
}

fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Unix(path) => write!(f, "unix://{}", path.display()),
            Host::Tcp { host, port, .. } => write!(f, "tcp://{}", authority(host, *port)),
            Host::Ssh { user, host, port, socket } => {
                f.write_str("ssh://")?;
                if let Some(user) = user {
                    write!(f, "{user}@")?;
                }
                f.write_str(host)?;
                if let Some(port) = port {
                    write!(f, ":{port}")?;
                }
                f.write_str(socket.as_deref().unwrap_or_default())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        Host::parse(text, false).map_or_else(|error| error.to_string(), |host| host.to_string())
    }

    #[test]
    fn addresses_are_understood() {
        assert_eq!(shown("unix:///run/wharf.sock"), "unix:///run/wharf.sock");
        assert_eq!(shown("/run/wharf.sock"), "unix:///run/wharf.sock");
        assert_eq!(shown("tcp://10.0.0.1:99"), "tcp://10.0.0.1:99");
        assert_eq!(shown("tcp://[::1]:99"), "tcp://[::1]:99");
        assert_eq!(shown("tcp://box"), "tcp://box:2375");
        assert_eq!(shown("https://box"), "tcp://box:2376");
        assert_eq!(shown("tcp://:2375"), "tcp://127.0.0.1:2375");
        assert_eq!(shown("ssh://me@box:22/run/x.sock"), "ssh://me@box:22/run/x.sock");
        assert_eq!(Host::parse("tcp://box", true).unwrap().to_string(), "tcp://box:2376");
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        assert_eq!(shown("ftp://x"), "invalid bind address format: ftp://x");
        assert_eq!(shown("tcp://box:notaport"), "unable to parse docker host `tcp://box:notaport`");
        assert_eq!(
            shown("ssh://-oProxyCommand=x"),
            "ssh host connection is not valid: invalid SSH URL: a name must not begin with a dash"
        );
        assert!(shown("ssh://u:p@x").ends_with("plain-text password is not supported"));
        assert!(shown("npipe:////./pipe/x").contains("Windows only"));
    }
}
