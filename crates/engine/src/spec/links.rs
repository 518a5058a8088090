//! Legacy links (`--link` on the default bridge): what a container is told in its environment about those it is linked
//! to. Their addresses and names in `/etc/hosts` are the networks' work.
//!
//! ```text
//!  DB_PORT=tcp://172.17.0.2:5432              the lowest port
//!  DB_PORT_5432_TCP=tcp://172.17.0.2:5432     each exposed port, and its _ADDR, _PORT and _PROTO
//!  DB_PORT_8000_TCP_START=…  _END=…           ports in a row, as a range beside
//!  DB_NAME=/web/db   DB_ENV_LANG=C            the link, and the other's own variables
//! ```

use std::collections::{BTreeMap, BTreeSet};

use api::container::HostConfig;

use crate::Engine;
use crate::container::Record;
use crate::error::{Error, Result};
use crate::identity::ContainerId;

/// A running container that another is linked to.
struct Linked {
    /// `/web/db`: the name of the link.
    name: String,
    address: String,
    /// Number and protocol, the lowest first, `tcp` before others.
    ports: Vec<(u16, String)>,
    environment: Vec<String>,
}

/// Checks at create that what is linked to exists.
pub(super) fn check(engine: &Engine, record: &Record) -> Result<()> {
    if !applies(record) && record.host.network_mode != "none" {
        return Ok(());
    }
    for link in record.host.links.iter().flatten() {
        let (name, _) = parse(link);
        let other = engine.container(name).map_err(|error| {
            Error::invalid(format!("could not get container for {name}: {}", error.message()))
        })?;
        if other.record().host.network_mode == "host" {
            return Err(Error::invalid(
                "conflicting options: host type networking can't be used with links. This would result in undefined behavior",
            ));
        }
    }
    Ok(())
}

/// The variables that a container's links bring, when it starts.
pub(crate) fn environment(engine: &Engine, record: &Record) -> Result<Vec<String>> {
    let mut all = Vec::new();
    if !applies(record) {
        return Ok(all);
    }
    for link in record.host.links.iter().flatten() {
        let (name, alias) = parse(link);
        let own = format!("/{}/{alias}", record.name);
        let gone =
            |name: &str| Error::invalid(format!("Cannot link to a non running container: {name} AS {own}"));
        let other = engine.container(target_of(record, name)).map_err(|_| gone(&format!("/{name}")))?;
        let other = other.record();
        let address = other.network.endpoints.get("bridge").map(|endpoint| endpoint.ip_address.clone());
        if !other.state.is_running() {
            return Err(gone(&other.slashed()));
        }
        let address = address.filter(|address| !address.is_empty()).ok_or_else(|| {
            Error::invalid(format!("container {} not attached to default bridge network", other.id))
        })?;
        let ports = other.config.exposed_ports.keys().flat_map(|port| exposed(port)).collect::<BTreeSet<_>>();
        let ports = ports.into_iter().map(|(number, _, protocol)| (number, protocol)).collect();
        let environment = other.config.env.clone().unwrap_or_default();
        all.extend(Linked { name: own, address, ports, environment }.variables(alias));
    }
    Ok(all)
}

/// As inspect shows a link: `/db:/web/storage`.
pub(crate) fn shown(engine: &Engine, record: &Record, link: &str) -> String {
    let (name, alias) = parse(link);
    let other = engine.container(target_of(record, name)).map(|other| other.record().slashed());
    format!("{}:/{}/{alias}", other.unwrap_or_else(|_| format!("/{name}")), record.name)
}

/// Names that links give to containers, by the id of each: `/web/db` is whom `web` calls `db`.
pub(crate) fn names<'a>(records: impl Iterator<Item = &'a Record> + Clone) -> BTreeMap<&'a str, Vec<String>> {
    let mut names: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for record in records.clone().filter(|record| applies(record)) {
        for link in record.host.links.iter().flatten() {
            let (name, alias) = parse(link);
            let name = target_of(record, name);
            let other = records.clone().find(|other| other.name == name || other.id.as_str() == name);
            if let Some(other) = other {
                names.entry(other.id.as_str()).or_default().push(format!("/{}/{alias}", record.name));
            }
        }
    }
    names.values_mut().for_each(|names| names.sort());
    names
}

/// Whom a container calls so.
pub(crate) fn target<'a>(record: &'a Record, alias: &str) -> Option<&'a str> {
    let links = record.host.links.iter().flatten().filter(|_| applies(record));
    links.map(|link| parse(link)).find(|(_, known)| *known == alias).map(|(name, _)| target_of(record, name))
}

/// Whom the links of a new container name.
pub(crate) fn linked(engine: &Engine, host: &HostConfig) -> BTreeMap<String, ContainerId> {
    let names = host.links.iter().flatten().map(|link| parse(link).0);
    names
        .filter_map(|name| Some((name.to_owned(), engine.container(name).ok()?.record().id.clone())))
        .collect()
}

/// By what the container is found that a link names: it may be called something else by now. One that is not known by its id,
/// by its name.
pub(crate) fn target_of<'a>(record: &'a Record, name: &'a str) -> &'a str {
    record.linked.get(name).map_or(name, ContainerId::as_str)
}

/// Elsewhere the resolver knows the links, and nobody is told anything.
fn applies(record: &Record) -> bool {
    record.host.network_mode == "bridge"
}

/// The container and its alias: `db:storage`, `db`.
fn parse(link: &str) -> (&str, &str) {
    let last = |text: &'_ str| text.rsplit('/').next().map_or(0, |name| text.len() - name.len());
    let (name, alias) = link.split_once(':').unwrap_or((link, link));
    (&name[last(name)..], &alias[last(alias)..])
}

/// The ports of `80`, `80/tcp`, `8000-8002/udp`, each with a key that puts `tcp` first. What is no
/// port has none.
fn exposed(text: &str) -> Vec<(u16, bool, String)> {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let (Ok(first), Ok(last)) = (first.parse::<u16>(), last.parse::<u16>()) else { return Vec::new() };
    (first..=last).map(|port| (port, protocol != "tcp", protocol.to_owned())).collect()
}

impl Linked {
    fn variables(&self, alias: &str) -> Vec<String> {
        let alias = alias.to_uppercase().replace('-', "_");
        let address = &self.address;
        let mut all = Vec::new();
        if let Some((port, protocol)) = self.ports.first() {
            all.push(format!("{alias}_PORT={protocol}://{address}:{port}"));
        }
        for (first, last) in self.ranges() {
            let ((port, protocol), (end, end_protocol)) = (&self.ports[first], &self.ports[last]);
            let start = format!("{alias}_PORT_{port}_{}", protocol.to_uppercase());
            let stop = format!("{alias}_PORT_{port}_{}", end_protocol.to_uppercase());
            all.extend([
                format!("{start}_START={protocol}://{address}:{port}"),
                format!("{start}_ADDR={address}"),
                format!("{start}_PROTO={protocol}"),
                format!("{start}_PORT_START={port}"),
                format!("{stop}_END={end_protocol}://{address}:{end}"),
                format!("{stop}_PORT_END={end}"),
            ]);
        }
        for (port, protocol) in &self.ports {
            let prefix = format!("{alias}_PORT_{port}_{}", protocol.to_uppercase());
            all.extend([
                format!("{prefix}={protocol}://{address}:{port}"),
                format!("{prefix}_ADDR={address}"),
                format!("{prefix}_PORT={port}"),
                format!("{prefix}_PROTO={protocol}"),
            ]);
        }
        all.push(format!("{alias}_NAME={}", self.name));
        let own = self.environment.iter().filter_map(|entry| entry.split_once('='));
        let told = own.filter(|(name, _)| !["HOME", "PATH"].contains(name));
        all.extend(told.map(|(name, value)| format!("{alias}_ENV_{name}={value}")));
        all
    }

    /// First and last of each row of ports that follow one another.
    fn ranges(&self) -> Vec<(usize, usize)> {
        let mut all = Vec::new();
        let mut first = 0;
        while first < self.ports.len() {
            let mut last = first;
            while self.ports.get(last + 1).is_some_and(|next| next.0 - self.ports[last].0 <= 1) {
                last += 1;
            }
            if last > first {
                all.push((first, last));
            }
            first = last + 1;
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn linked(ports: &[(u16, &str)]) -> Linked {
        Linked {
            name: "/web/my-db".into(),
            address: "172.17.0.3".into(),
            ports: ports.iter().map(|(port, protocol)| (*port, (*protocol).to_owned())).collect(),
            environment: vec!["FOO=bar".into(), "HOME=/root".into(), "BARE".into()],
        }
    }

    #[test]
    fn a_container_without_ports_has_a_name_and_variables() {
        assert_eq!(linked(&[]).variables("my-db"), ["MY_DB_NAME=/web/my-db", "MY_DB_ENV_FOO=bar"]);
    }

    #[test]
    fn ports_in_a_row_are_a_range_too() {
        let all = linked(&[(80, "tcp"), (81, "tcp"), (5432, "udp")]).variables("db");
        assert_eq!(all[0], "DB_PORT=tcp://172.17.0.3:80");
        for expected in [
            "DB_PORT_80_TCP_START=tcp://172.17.0.3:80",
            "DB_PORT_80_TCP_PORT_START=80",
            "DB_PORT_80_TCP_END=tcp://172.17.0.3:81",
            "DB_PORT_80_TCP_PORT_END=81",
            "DB_PORT_81_TCP_PROTO=tcp",
            "DB_PORT_5432_UDP=udp://172.17.0.3:5432",
        ] {
            assert!(all.iter().any(|entry| entry == expected), "{expected} is not in {all:#?}");
        }
        assert!(!all.iter().any(|entry| entry.starts_with("DB_PORT_5432_UDP_START")));
    }

    #[test]
    fn links_are_read_in_all_forms() {
        assert_eq!(parse("db:storage"), ("db", "storage"));
        assert_eq!(parse("db"), ("db", "db"));
        assert_eq!(parse("/db:/web/storage"), ("db", "storage"));
        let ports: Vec<u16> = exposed("8000-8002/udp").into_iter().map(|(port, ..)| port).collect();
        assert_eq!(ports, [8000, 8001, 8002]);
    }
}
