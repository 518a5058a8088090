//! A value of `--network`: a name or mode, or `name=…,alias=…,ip=…`.

use std::collections::BTreeMap;

use super::csv;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Attachment {
    pub(crate) target: String,
    pub(crate) aliases: Vec<String>,
    pub(crate) driver_opts: BTreeMap<String, String>,
    pub(crate) ipv4: String,
    pub(crate) ipv6: String,
    pub(crate) mac: String,
    pub(crate) link_local: Vec<String>,
    pub(crate) priority: i64,
}

impl Attachment {
    /// Whether it says more than which network.
    pub(crate) fn has_wishes(&self) -> bool {
        *self != Attachment { target: self.target.clone(), ..Attachment::default() }
    }
}

pub(crate) fn parse(text: &str) -> Result<Attachment, String> {
    let fields = csv(text)?;
    let mut network = Attachment::default();
    if !text.contains('=') {
        network.target = text.to_owned();
        return Ok(network);
    }
    for field in fields {
        let (key, value) = field.split_once('=').ok_or_else(|| format!("invalid field {field}"))?;
        let (key, value) = (key.trim().to_lowercase(), value.trim());
        match key.as_str() {
            "name" => network.target = value.to_owned(),
            "alias" => network.aliases.push(value.to_owned()),
            "ip" => network.ipv4 = value.to_owned(),
            "ip6" => network.ipv6 = value.to_owned(),
            "mac-address" => network.mac = parse_mac(value)?,
            "link-local-ip" => network.link_local.push(value.to_owned()),
            "gw-priority" => {
                network.priority = value.parse().map_err(|_| format!("invalid gw-priority: {value}"))?;
            }
            "driver-opt" => {
                let (key, value) = value
                    .split_once('=')
                    .ok_or_else(|| format!("invalid key value pair format in driver options: {value}"))?;
                network.driver_opts.insert(key.to_lowercase(), value.to_owned());
            }
            _ => return Err(format!("invalid field key {key}")),
        }
    }
    if network.target.is_empty() {
        return Err("network name/id is not specified".to_owned());
    }
    Ok(network)
}

/// An Ethernet address, in the form it was typed: `02:42:ac:11:00:02`, with dashes, or `0242.ac11.0002`.
pub(crate) fn parse_mac(text: &str) -> Result<String, String> {
    let (separator, digits) = match text {
        _ if text.contains('.') => ('.', 4),
        _ if text.contains('-') => ('-', 2),
        _ => (':', 2),
    };
    let parts: Vec<&str> = text.split(separator).collect();
    let hexadecimal = |part: &&str| part.len() == digits && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    // Longer ones are Go's, too: EUI-64 and InfiniBand. The engine knows what it can do with them.
    let length = parts.len() * digits / 2;
    match matches!(length, 6 | 8 | 20) && parts.iter().all(hexadecimal) {
        true => Ok(text.to_owned()),
        false => Err(format!("{text} is not a valid mac address")),
    }
}

/// A line for the container's hosts file: `name:ip` or `name=ip`; `host-gateway` stands for the
/// host's own address.
pub(crate) fn parse_host(text: &str) -> Result<String, String> {
    let bad = || format!("bad format for add-host: {text:?}");
    let (name, address) = text.split_once('=').or_else(|| text.split_once(':')).ok_or_else(bad)?;
    if name.is_empty() {
        return Err(bad());
    }
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
    if bare != "host-gateway" && bare.parse::<std::net::IpAddr>().is_err() {
        return Err(format!("invalid IP address in add-host: {bare:?}"));
    }
    Ok(format!("{name}:{bare}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long_forms() {
        assert_eq!(parse("host").unwrap().target, "host");
        assert!(!parse("container:x").unwrap().has_wishes());
        let network = parse("name=n,alias=a,alias=b,ip=1.2.3.4,driver-opt=k=v,gw-priority=5").unwrap();
        assert_eq!(
            (network.target.as_str(), network.aliases.len(), network.ipv4.as_str(), network.priority),
            ("n", 2, "1.2.3.4", 5)
        );
        assert!(network.has_wishes());
        for text in ["alias=a", "alias=a,ip=1.2.3.4"] {
            assert_eq!(parse(text).unwrap_err(), "network name/id is not specified");
        }
        assert_eq!(parse("name=n,foo=a").unwrap_err(), "invalid field key foo");
    }

    #[test]
    fn hosts_and_addresses() {
        assert_eq!(parse_host("a:1.2.3.4").unwrap(), "a:1.2.3.4");
        assert_eq!(parse_host("a=[::1]").unwrap(), "a:::1");
        assert_eq!(parse_host("a:host-gateway").unwrap(), "a:host-gateway");
        assert_eq!(parse_host("a").unwrap_err(), "bad format for add-host: \"a\"");
        assert_eq!(parse_host("a:x").unwrap_err(), "invalid IP address in add-host: \"x\"");
        for text in ["02:42:ac:11:00:02", "02-42-AC-11-00-02", "0242.ac11.0002", "02:42:ac:11:00:02:01:02"] {
            assert_eq!(parse_mac(text).unwrap(), text);
        }
        for text in ["02:42", "02:42:ac:11:00:zz", "0242ac110002", "02:42:ac-11:00:02"] {
            assert_eq!(parse_mac(text).unwrap_err(), format!("{text} is not a valid mac address"));
        }
    }
}
