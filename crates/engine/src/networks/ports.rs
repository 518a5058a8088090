//! Which host ports a container asks for. Pure.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use api::container::{HostConfig, PortBinding};
use network::Transport;
use network::ports::{HostPorts, Request};

use super::run::transport;
use crate::error::{Error, Result};

/// How addresses are chosen when a binding names none.
#[derive(Debug, PartialEq)]
pub(super) struct Defaults {
    /// The engine's or the network's; none means everywhere.
    pub(super) address: Option<IpAddr>,
    /// Everywhere, as far as the host and the container have it.
    pub(super) everywhere: Vec<IpAddr>,
}

/// The requests of a container, in the order of its ports. `exposed` are those of its configuration.
pub(super) fn requests<'a>(
    host: &HostConfig,
    exposed: impl Iterator<Item = &'a String>,
    defaults: &Defaults,
) -> Result<Vec<Request>> {
    let mut requests = Vec::new();
    let empty = Default::default();
    let bindings = host.port_bindings.as_ref().unwrap_or(&empty);
    for (port, bindings) in bindings {
        let (transport, ports) = parse_port(port)?;
        match bindings.as_deref().unwrap_or_default() {
            // A port without bindings is a port with any binding.
            [] => requests.extend(one_each(transport, &ports, &PortBinding::default(), defaults)?),
            bindings => {
                for binding in bindings {
                    requests.extend(one_each(transport, &ports, binding, defaults)?);
                }
            }
        }
    }
    if host.publish_all_ports {
        for port in exposed {
            let (Some(transport), ports) = read_exposed(port) else {
                return Err(Error::system("unknown protocol"));
            };
            for port in ports {
                let published =
                    requests.iter().any(|one| (one.transport, one.container_port) == (transport, port));
                if !published {
                    requests.extend(one_each(transport, &(port..=port), &PortBinding::default(), defaults)?);
                }
            }
        }
    }
    Ok(requests)
}

/// A range of the host as long as the container's goes with it, port by port; otherwise each port takes the first free.
fn one_each(
    transport: Transport,
    ports: &RangeInclusive<u16>,
    binding: &PortBinding,
    defaults: &Defaults,
) -> Result<Vec<Request>> {
    let hosts = hosts(binding, defaults)?;
    let wanted = parse_host_ports(&binding.host_port)?;
    let count = |range: &RangeInclusive<u16>| range.end() - range.start();
    let request = |container_port, ports| Request { transport, hosts: hosts.clone(), ports, container_port };
    Ok(match wanted {
        Some(range) if count(&range) == count(ports) => ports
            .clone()
            .zip(range)
            .map(|(port, host)| request(port, HostPorts::Within(host..=host)))
            .collect(),
        Some(range) => ports.clone().map(|port| request(port, HostPorts::Within(range.clone()))).collect(),
        None => ports.clone().map(|port| request(port, HostPorts::Any)).collect(),
    })
}

fn hosts(binding: &PortBinding, defaults: &Defaults) -> Result<Vec<IpAddr>> {
    let text = binding.host_ip.trim_matches(['[', ']']);
    if text.is_empty() {
        return Ok(defaults.address.map_or_else(|| defaults.everywhere.clone(), |address| vec![address]));
    }
    let address = text.parse().map_err(|_| Error::invalid(format!("invalid IP address: {text}")))?;
    Ok(vec![address])
}

/// `80/tcp`, `80`, `8000-8010/udp`
pub(super) fn parse_port(text: &str) -> Result<(Transport, RangeInclusive<u16>)> {
    let invalid = || Error::invalid(format!("invalid port specification: {text:?}"));
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let transport =
        transport(protocol).ok_or_else(|| Error::invalid(format!("invalid proto: {protocol}")))?;
    Ok((transport, parse_range(ports).ok_or_else(invalid)?))
}

/// A port that an image exposes may be anything: what is no number is 0, and what is no protocol is none.
pub(super) fn read_exposed(text: &str) -> (Option<Transport>, RangeInclusive<u16>) {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, ""));
    let known = match (ports, protocol) {
        ("", _) => None,
        (_, "") => Some(Transport::Tcp),
        _ => transport(protocol),
    };
    (known, parse_range(ports).unwrap_or(0..=0))
}

/// What inspect calls it.
pub(super) fn shown_exposed(text: &str) -> String {
    let (transport, ports) = read_exposed(text);
    let ports = match (ports.start(), ports.end()) {
        (first, last) if first == last => first.to_string(),
        (first, last) => format!("{first}-{last}"),
    };
    format!("{ports}/{}", transport.map_or("0", Transport::name))
}

/// Nothing, or 0, is any port.
fn parse_host_ports(text: &str) -> Result<Option<RangeInclusive<u16>>> {
    if text.is_empty() || text == "0" {
        return Ok(None);
    }
    let invalid = || Error::invalid(format!("invalid port specification: {text:?}"));
    parse_range(text).map(Some).ok_or_else(invalid)
}

fn parse_range(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
    (first > 0 && first <= last).then_some(first..=last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn defaults() -> Defaults {
        let everywhere = vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
        Defaults { address: None, everywhere }
    }

    fn binding(ip: &str, port: &str) -> PortBinding {
        PortBinding { host_ip: ip.into(), host_port: port.into() }
    }

    fn host(bindings: &[(&str, Option<Vec<PortBinding>>)]) -> HostConfig {
        let map = bindings.iter().map(|(port, bindings)| ((*port).to_owned(), bindings.clone())).collect();
        HostConfig { port_bindings: Some(map), ..HostConfig::default() }
    }

    fn all(host: &HostConfig, exposed: &[&str]) -> Vec<(u16, HostPorts, usize)> {
        let exposed: Vec<String> = exposed.iter().map(|port| (*port).to_owned()).collect();
        let requests = requests(host, exposed.iter(), &defaults()).unwrap();
        requests.into_iter().map(|one| (one.container_port, one.ports, one.hosts.len())).collect()
    }

    #[test]
    fn bindings_become_requests() {
        let host = host(&[
            ("80/tcp", Some(vec![binding("", "8080"), binding("127.0.0.1", "")])),
            ("90/udp", None),
            ("91", Some(vec![])),
        ]);
        let expected = [
            (80, HostPorts::Within(8080..=8080), 2),
            (80, HostPorts::Any, 1),
            (90, HostPorts::Any, 2),
            (91, HostPorts::Any, 2),
        ];
        assert_eq!(all(&host, &[]), expected);
    }

    #[test]
    fn ranges_of_one_length_go_together() {
        let equal = host(&[("8000-8001/tcp", Some(vec![binding("", "9000-9001")]))]);
        let one = |port, host| (port, HostPorts::Within(host..=host), 2);
        assert_eq!(all(&equal, &[]), [one(8000, 9000), one(8001, 9001)]);
        let first_free = host(&[("80/tcp", Some(vec![binding("", "9000-9001")]))]);
        assert_eq!(all(&first_free, &[]), [(80, HostPorts::Within(9000..=9001), 2)]);
    }

    #[test]
    fn all_exposed_ports_are_published_once() {
        let mut host = host(&[("80/tcp", Some(vec![binding("", "8080")]))]);
        host.publish_all_ports = true;
        let expected = [(80, HostPorts::Within(8080..=8080), 2), (443, HostPorts::Any, 2)];
        assert_eq!(all(&host, &["80/tcp", "443/tcp"]), expected);
    }

    #[test]
    fn what_an_image_exposes_need_not_make_sense() {
        for (text, shown) in [
            ("80", "80/tcp"),
            ("80/", "80/tcp"),
            ("53/UDP", "53/udp"),
            ("80-82/tcp", "80-82/tcp"),
            ("$PORT/tcp", "0/tcp"),
            ("90000/tcp", "0/tcp"),
            ("82-80", "0/tcp"),
            ("80/foo", "80/0"),
            ("", "0/0"),
        ] {
            assert_eq!(shown_exposed(text), shown, "{text}");
        }
        let host = HostConfig { publish_all_ports: true, ..HostConfig::default() };
        assert_eq!(all(&host, &["$PORT/tcp", "0/tcp"]), [(0, HostPorts::Any, 2)]);
        let unknown = ["80/foo".to_owned()];
        assert_eq!(requests(&host, unknown.iter(), &defaults()).unwrap_err().message(), "unknown protocol");
    }

    #[test]
    fn nonsense_is_refused() {
        for (port, ip, host_port) in [
            ("x/tcp", "", ""),
            ("80/foo", "", ""),
            ("80", "", "70000"),
            ("80", "", "9-8"),
            ("80", "nowhere", ""),
        ] {
            let host = host(&[(port, Some(vec![binding(ip, host_port)]))]);
            assert!(requests(&host, std::iter::empty(), &defaults()).is_err(), "{port} {ip} {host_port}");
        }
    }
}
