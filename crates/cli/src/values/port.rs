//! Ports: `--publish [ip:][host[-end]:]container[-end][/proto]`, its long form, and `--expose`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use api::container::PortBinding;

use super::csv;

/// Ports of a container, as `80/tcp`, with what they are published on.
pub(crate) type Bindings = BTreeMap<String, Vec<PortBinding>>;

/// Adds a value of `--publish` to the bindings.
pub(crate) fn publish(text: &str, bindings: &mut Bindings) -> Result<(), String> {
    let spec = match text.contains("target=") || text.contains("published=") {
        true => long(text)?,
        false => text.to_owned(),
    };
    let (address, host, container) = split(&spec)?;
    let (container, protocol) = protocol(&container, &spec)?;
    if container.is_empty() {
        return Err(format!("no port specified: {text}<empty>"));
    }
    let container_ports = range(&container).ok_or_else(|| format!("invalid containerPort: {container}"))?;
    let host_ports = match host.is_empty() {
        true => None,
        false => Some(range(&host).ok_or_else(|| format!("invalid hostPort: {host}"))?),
    };
    let address = check_address(&address)?;
    let count = container_ports.1 - container_ports.0;
    if let Some((from, to)) = host_ports
        && to - from != count
        // One port of the container may be published on any port of a range.
        && count != 0
    {
        return Err(format!("invalid ranges specified for container and host Ports: {container} and {host}"));
    }
    for offset in 0..=count {
        let host_port = match host_ports {
            None => String::new(),
            Some((from, to)) if count == 0 && to != from => format!("{from}-{to}"),
            Some((from, _)) => (from + offset).to_string(),
        };
        let key = format!("{}/{protocol}", container_ports.0 + offset);
        bindings.entry(key).or_default().push(PortBinding { host_ip: address.clone(), host_port });
    }
    Ok(())
}

/// The ports of a value of `--expose`.
pub(crate) fn expose(text: &str) -> Result<Vec<String>, String> {
    let bad = |why: String| format!("invalid range format for --expose: {text}, error: {why}");
    if text.contains(':') {
        return Err(format!("invalid port format for --expose: {text}"));
    }
    let (ports, protocol) = protocol(text, text).map_err(bad)?;
    let (from, to) = range(&ports).ok_or_else(|| bad(misread(&ports)))?;
    Ok((from..=to).map(|port| format!("{port}/{protocol}")).collect())
}

/// What is wrong with ports, in Go's words.
fn misread(ports: &str) -> String {
    let (from, to) = ports.split_once('-').unwrap_or((ports, ports));
    let wrong = [from, to].into_iter().find_map(|port| api::number::parse::<u16>(port, "ParseUint").err());
    wrong.unwrap_or_else(|| format!("invalid range specified for port: {ports}"))
}

/// The long form as a short one.
fn long(text: &str) -> Result<String, String> {
    let (mut target, mut published, mut protocol) = (String::new(), String::new(), "tcp".to_owned());
    for field in csv(text)? {
        let (key, value) = field.split_once('=').ok_or_else(|| format!("invalid field: {field}"))?;
        match key.to_lowercase().as_str() {
            "target" => target = value.to_owned(),
            "published" => published = value.to_owned(),
            "protocol" => protocol = value.to_lowercase(),
            "mode" if matches!(value, "host" | "ingress") => {}
            "mode" => {
                return Err(format!(
                    "invalid publish mode value ({value}): must be either 'ingress' or 'host'"
                ));
            }
            _ => return Err(format!("invalid field key {key}")),
        }
    }
    if target.is_empty() {
        return Err("missing mandatory field \"target\"".to_owned());
    }
    Ok(if published.is_empty() {
        format!("{target}/{protocol}")
    } else {
        format!("{published}:{target}/{protocol}")
    })
}

/// Address, host ports and container ports. Addresses of IPv6 stand in brackets.
fn split(text: &str) -> Result<(String, String, String), String> {
    if let Some(rest) = text.strip_prefix('[') {
        let (address, rest) = rest.split_once("]:").ok_or_else(|| format!("invalid IP address in {text}"))?;
        let (host, container) =
            rest.rsplit_once(':').ok_or_else(|| format!("invalid port specification: {text}"))?;
        return Ok((address.to_owned(), host.to_owned(), container.to_owned()));
    }
    let parts: Vec<&str> = text.split(':').collect();
    let (address, host, container) = match parts[..] {
        [container] => (String::new(), "", container),
        [host, container] => (String::new(), host, container),
        [address, host, container] => (address.to_owned(), host, container),
        [ref address @ .., host, container] => (address.join(":"), host, container),
        [] => return Err(format!("invalid port specification: {text}")),
    };
    Ok((address, host.to_owned(), container.to_owned()))
}

fn protocol(text: &str, whole: &str) -> Result<(String, String), String> {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_lowercase();
    match protocol.as_str() {
        "tcp" | "udp" | "sctp" => Ok((ports.to_owned(), protocol)),
        "" if !ports.is_empty() => Ok((ports.to_owned(), "tcp".to_owned())),
        "" => Err(format!("invalid port specification: {whole}")),
        _ => Err(format!("invalid proto: {protocol}")),
    }
}

fn range(text: &str) -> Option<(u16, u16)> {
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    // No sign stands before a port.
    let port = |text: &str| text.parse().ok().filter(|_| !text.starts_with('+'));
    let (from, to) = (port(from)?, port(to)?);
    (from <= to).then_some((from, to))
}

fn check_address(text: &str) -> Result<String, String> {
    if text.is_empty() || text.parse::<IpAddr>().is_ok() {
        return Ok(text.to_owned());
    }
    Err(format!("invalid IP address: {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Result<String, String> {
        let mut bindings = Bindings::new();
        publish(text, &mut bindings)?;
        let entries = bindings.iter().flat_map(|(port, bindings)| {
            bindings.iter().map(move |binding| format!("{}:{}->{port}", binding.host_ip, binding.host_port))
        });
        Ok(entries.collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn ports_are_published() {
        assert_eq!(shown("80").unwrap(), ":->80/tcp");
        assert_eq!(shown("8080:80/udp").unwrap(), ":8080->80/udp");
        assert_eq!(shown("8080:80/").unwrap(), ":8080->80/tcp");
        assert_eq!(shown("127.0.0.1:8080:80").unwrap(), "127.0.0.1:8080->80/tcp");
        assert_eq!(shown("127.0.0.1::80").unwrap(), "127.0.0.1:->80/tcp");
        assert_eq!(shown("[::1]:80:80").unwrap(), "::1:80->80/tcp");
        assert_eq!(shown("8000-8001:80-81").unwrap(), ":8000->80/tcp :8001->81/tcp");
        assert_eq!(shown("8000-8010:80").unwrap(), ":8000-8010->80/tcp");
        assert_eq!(shown("target=80,published=8080,protocol=udp").unwrap(), ":8080->80/udp");
    }

    #[test]
    fn wrong_ports_are_told() {
        assert_eq!(shown("foo").unwrap_err(), "invalid containerPort: foo");
        assert_eq!(shown("+80").unwrap_err(), "invalid containerPort: +80");
        assert_eq!(shown("x:80").unwrap_err(), "invalid hostPort: x");
        assert_eq!(shown("80:70000").unwrap_err(), "invalid containerPort: 70000");
        assert_eq!(
            shown("1-3:1-2").unwrap_err(),
            "invalid ranges specified for container and host Ports: 1-2 and 1-3"
        );
        assert_eq!(shown("80/icmp").unwrap_err(), "invalid proto: icmp");
        assert_eq!(shown("a.b:1:2").unwrap_err(), "invalid IP address: a.b");
    }

    #[test]
    fn ports_are_exposed() {
        assert_eq!(expose("80-82/udp").unwrap(), ["80/udp", "81/udp", "82/udp"]);
        assert!(expose("80:81").unwrap_err().starts_with("invalid port format"));
        let why = |text: &str| expose(text).unwrap_err().split_once("error: ").unwrap().1.to_owned();
        assert_eq!(why("x"), "strconv.ParseUint: parsing \"x\": invalid syntax");
        assert_eq!(why("70000"), "strconv.ParseUint: parsing \"70000\": value out of range");
        assert_eq!(why("80-70"), "invalid range specified for port: 80-70");
    }
}
