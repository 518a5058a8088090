//! The options of the `syslog` driver.
//!
//! The options `syslog-tls-*` matter with an address `tcp+tls://` only, in Docker, too. The files are read by whoever
//! connects.

use std::path::{Path, PathBuf};

use shim::protocol::{Collector, Endpoint, Syslog, SyslogFormat, Tls};

use super::Told;
use super::address::{Url, endpoints};
use super::options::{Options, Read, text};
use super::subject::{DEFAULT_TAG, Subject};

pub(super) const OPTIONS: &[&str] = &[
    "env",
    "env-regex",
    "labels",
    "labels-regex",
    "syslog-address",
    "syslog-facility",
    "syslog-format",
    "syslog-tls-ca-cert",
    "syslog-tls-cert",
    "syslog-tls-key",
    "syslog-tls-skip-verify",
    "tag",
];

const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "",
    "", "", "", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
];
const DAEMON: u8 = 3;
const PORT: &str = "514";
const LOCAL: [&str; 3] = ["/dev/log", "/var/run/syslog", "/var/run/log"];

/// Where messages go.
#[derive(Debug, PartialEq, Eq)]
enum Address {
    /// Whatever socket the host's own syslog has.
    Local,
    Socket(PathBuf, bool),
    /// Go's name of the network, host, port, which is looked at when the container starts.
    Network(&'static str, String, String),
    /// By TLS over TCP: host, port.
    Secure(String, String),
}

pub(super) fn check(options: &Options) -> Read<()> {
    address(options)?;
    facility(options)?;
    format(options).map(drop)
}

pub(super) fn describe(subject: &Subject<'_>) -> Read<Told> {
    let address = address(subject.options)?;
    let format = format(subject.options)?;
    let tls = match &address {
        Address::Secure(host, _) => Some(tls(subject, host)),
        _ => None,
    };
    let endpoints = match address {
        Address::Local => LOCAL
            .iter()
            .flat_map(|path| [Endpoint::Unixgram(path.into()), Endpoint::Unix(path.into())])
            .collect(),
        Address::Socket(path, true) => vec![Endpoint::Unixgram(path)],
        Address::Socket(path, false) => vec![Endpoint::Unix(path)],
        Address::Network(network, host, port) => endpoints(network, &host, number(network, &port)?)?,
        Address::Secure(host, port) => endpoints("tcp", &host, number("tcp", &port)?)?,
    };
    let is_5424 = matches!(format, SyslogFormat::Rfc5424 | SyslogFormat::Rfc5424Micro);
    let collector = Collector::Syslog(Syslog {
        tag: subject.tag(DEFAULT_TAG)?,
        hostname: subject.host.name.to_owned(),
        facility: facility(subject.options)?,
        format,
        counted: is_5424 && tls.is_some(),
    });
    Ok(Told { collector, endpoints, tls })
}

fn tls(subject: &Subject<'_>, host: &str) -> Tls {
    let file = |key: &str| text(subject.options, key).map(PathBuf::from);
    Tls {
        program: subject.host.tls.to_owned(),
        server: host.to_owned(),
        authority: file("syslog-tls-ca-cert"),
        certificate: file("syslog-tls-cert"),
        key: file("syslog-tls-key"),
        // Docker looks whether it is there, not at what it says.
        verify: !subject.options.contains_key("syslog-tls-skip-verify"),
    }
}

fn address(options: &Options) -> Read<Address> {
    let Some(given) = text(options, "syslog-address") else { return Ok(Address::Local) };
    let url = Url::parse(given)?;
    let network = match url.scheme.as_str() {
        "unix" | "unixgram" => {
            exists(Path::new(&url.path))?;
            return Ok(Address::Socket(url.path.into(), url.scheme == "unixgram"));
        }
        network @ ("udp" | "tcp" | "tcp+tls") => network,
        other => return Err(format!("unsupported scheme: '{other}'")),
    };
    let (host, port) = url.split_host();
    let (host, port) = (host.to_owned(), port.unwrap_or(PORT).to_owned());
    Ok(match network {
        "udp" => Address::Network("udp", host, port),
        "tcp" => Address::Network("tcp", host, port),
        _ => Address::Secure(host, port),
    })
}

fn number(network: &str, port: &str) -> Read<u16> {
    port.parse().map_err(|_| format!("dial {network}: address {port}: invalid port"))
}

fn exists(path: &Path) -> Read<()> {
    match path.exists() {
        true => Ok(()),
        false => Err(format!("stat {}: no such file or directory", path.display())),
    }
}

fn facility(options: &Options) -> Read<u8> {
    let Some(given) = text(options, "syslog-facility") else { return Ok(DAEMON) };
    let named =
        FACILITIES.iter().position(|name| *name == given).and_then(|number| u8::try_from(number).ok());
    named.or(given.parse().ok().filter(|number| *number < 24)).ok_or("invalid syslog facility".into())
}

fn format(options: &Options) -> Read<SyslogFormat> {
    match text(options, "syslog-format") {
        None => Ok(SyslogFormat::Unix),
        Some("rfc3164") => Ok(SyslogFormat::Rfc3164),
        Some("rfc5424") => Ok(SyslogFormat::Rfc5424),
        Some("rfc5424micro") => Ok(SyslogFormat::Rfc5424Micro),
        Some(_) => Err("Invalid syslog format".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(options: &[(&str, &str)]) -> Options {
        options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_syslog_refuses_in_dockers_words() {
        let refused = |key: &str, value: &str| check(&options(&[(key, value)])).unwrap_err();
        assert_eq!(refused("syslog-address", "foo"), "unsupported scheme: ''");
        assert_eq!(refused("syslog-address", "http://a"), "unsupported scheme: 'http'");
        assert_eq!(
            refused("syslog-address", "unix:///nonexist"),
            "stat /nonexist: no such file or directory"
        );
        assert_eq!(refused("syslog-facility", "24"), "invalid syslog facility");
        assert_eq!(refused("syslog-format", "foo"), "Invalid syslog format");
        let address = |text: &str| address(&options(&[("syslog-address", text)]));
        assert_eq!(address("tcp://a"), Ok(Address::Network("tcp", "a".into(), "514".into())));
        assert_eq!(address("tcp+tls://[::1]:6514"), Ok(Address::Secure("::1".into(), "6514".into())));
        for facility in ["local7", "0", "23", "authpriv"] {
            check(&options(&[("syslog-facility", facility)])).unwrap();
        }
    }
}
