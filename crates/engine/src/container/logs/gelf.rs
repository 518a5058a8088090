//! The options of the `gelf` driver, and the members that it gives each document.

use shim::protocol::{Collector, Gelf, GelfCompression};

use super::Told;
use super::address::{Url, endpoints};
use super::options::{Options, Read, integer, text};
use super::subject::{DEFAULT_TAG, Subject};

pub(super) const OPTIONS: &[&str] = &[
    "gelf-address",
    "tag",
    "labels",
    "labels-regex",
    "env",
    "env-regex",
    "gelf-compression-level",
    "gelf-compression-type",
    "gelf-tcp-max-reconnect",
    "gelf-tcp-reconnect-delay",
];

const FASTEST: u32 = 1;
const MAX_RECONNECT: u32 = 3;
const RECONNECT_DELAY: u32 = 1;

pub(super) fn check(options: &Options) -> Read<()> {
    let url = address(options)?;
    for (key, value) in options {
        let unknown = || format!("unknown value {value:?} for log opt {key:?} for gelf log driver");
        match key.as_str() {
            "gelf-compression-level" | "gelf-compression-type" if url.scheme != "udp" => {
                return Err("compression is only supported on UDP".into());
            }
            "gelf-compression-level" => {
                integer(value).ok().filter(|level| (-1..=9).contains(level)).ok_or_else(unknown)?;
            }
            "gelf-compression-type" if !matches!(value.as_str(), "gzip" | "zlib" | "none") => {
                return Err(unknown());
            }
            "gelf-tcp-max-reconnect" | "gelf-tcp-reconnect-delay" if url.scheme != "tcp" => {
                return Err(format!("{key:?} is only valid for TCP"));
            }
            "gelf-tcp-max-reconnect" | "gelf-tcp-reconnect-delay" if value.parse::<u32>().is_err() => {
                return Err(format!("{key:?} must be a positive integer"));
            }
            _ => {}
        }
    }
    Ok(())
}

pub(super) fn describe(subject: &Subject<'_>) -> Read<Told> {
    let (options, record) = (subject.options, subject.record);
    let url = address(options)?;
    let network = if url.scheme == "udp" { "udp" } else { "tcp" };
    let (host, port) = url.split_host();
    let unreachable = |error| format!("gelf: cannot connect to GELF endpoint: {} {error}", url.host);
    let port = port.and_then(|port| port.parse().ok()).ok_or("gelf: invalid port")?;
    let mut extra = subject.attributes(|key| match key.starts_with('_') {
        true => key.to_owned(),
        false => format!("_{key}"),
    })?;
    for (key, value) in [
        ("_container_id", subject.id().to_owned()),
        ("_container_name", record.name.clone()),
        ("_image_id", record.image.clone()),
        ("_image_name", record.config.image.clone()),
        ("_command", subject.command()),
        ("_tag", subject.tag(DEFAULT_TAG)?),
        ("_created", record.created.clone()),
    ] {
        extra.entry(key.to_owned()).or_insert(value);
    }
    let number =
        |key: &str, default: u32| text(options, key).and_then(|text| text.parse().ok()).unwrap_or(default);
    let collector = Collector::Gelf(Gelf {
        hostname: subject.host.name.to_owned(),
        extra,
        compression: match text(options, "gelf-compression-type") {
            Some("none") => GelfCompression::None,
            Some("zlib") => GelfCompression::Zlib,
            _ => GelfCompression::Gzip,
        },
        // -1 asks for the format's default.
        level: match text(options, "gelf-compression-level") {
            Some(level) => level.parse().ok(),
            None => Some(FASTEST),
        },
        max_reconnect: number("gelf-tcp-max-reconnect", MAX_RECONNECT),
        reconnect_delay: number("gelf-tcp-reconnect-delay", RECONNECT_DELAY),
    });
    Ok(Told { collector, endpoints: endpoints(network, host, port).map_err(unreachable)?, tls: None })
}

fn address(options: &Options) -> Read<Url> {
    let given = text(options, "gelf-address").ok_or("gelf-address is a required parameter")?;
    let url = Url::parse(given)?;
    if !matches!(url.scheme.as_str(), "udp" | "tcp") {
        return Err("gelf: endpoint needs to be TCP or UDP".into());
    }
    if url.split_host().1.is_none() {
        return Err("gelf: please provide gelf-address as proto://host:port".into());
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(options: &[(&str, &str)]) -> Options {
        options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_gelf_refuses_in_dockers_words() {
        let refused = |given: &[(&str, &str)]| check(&options(given)).unwrap_err();
        let address = |scheme: &'static str| ("gelf-address", scheme);
        assert_eq!(refused(&[]), "gelf-address is a required parameter");
        assert_eq!(refused(&[address("http://a:1")]), "gelf: endpoint needs to be TCP or UDP");
        assert_eq!(refused(&[address("udp://a")]), "gelf: please provide gelf-address as proto://host:port");
        assert_eq!(
            refused(&[address("udp://a:1"), ("gelf-compression-type", "lz")]),
            "unknown value \"lz\" for log opt \"gelf-compression-type\" for gelf log driver"
        );
        assert_eq!(
            refused(&[address("tcp://a:1"), ("gelf-compression-level", "4")]),
            "compression is only supported on UDP"
        );
        assert_eq!(
            refused(&[address("udp://a:1"), ("gelf-tcp-max-reconnect", "4")]),
            "\"gelf-tcp-max-reconnect\" is only valid for TCP"
        );
        assert_eq!(
            refused(&[address("tcp://a:1"), ("gelf-tcp-max-reconnect", "-4")]),
            "\"gelf-tcp-max-reconnect\" must be a positive integer"
        );
    }
}
