//! What a container knows of others: lines of `/etc/hosts`, servers of `/etc/resolv.conf`, and what its resolver answers
//! from. Follows from the record, the run and the host's own configuration.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use network::resolution::Resolution;
use shim::protocol::Names;

use super::run::{Endpoint, Run};
use crate::config;
use crate::container::Record;
use crate::error::{Error, Result};

const DNS: u16 = 53;

/// What [`super::Joined`] says of names.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Naming {
    pub(super) hosts: Vec<(IpAddr, Vec<String>)>,
    pub(super) nameservers: Vec<IpAddr>,
    pub(super) search: Vec<String>,
    pub(super) options: Vec<String>,
}

/// What the files are made from, beside the record and the run.
pub(super) struct Surroundings<'a> {
    pub(super) settings: &'a config::Container,
    /// The host's own resolv.conf.
    pub(super) host: &'a Resolution,
    /// The default bridge's addresses: `host-gateway`.
    pub(super) gateways: Vec<IpAddr>,
    /// Addresses and names of linked containers.
    pub(super) links: Vec<(IpAddr, Vec<String>)>,
}

/// The host's resolv.conf, or that behind systemd-resolved's stub. None at all is an empty one.
pub(super) fn host_resolution() -> Resolution {
    let read = |path: &str| Resolution::parse(&std::fs::read_to_string(path).unwrap_or_default());
    let resolution = read("/etc/resolv.conf");
    if resolution.is_stub() && Path::new("/run/systemd/resolve/resolv.conf").exists() {
        return read("/run/systemd/resolve/resolv.conf");
    }
    resolution
}

/// What was asked for, by the container or else by the engine's configuration.
struct Asked {
    servers: Vec<IpAddr>,
    search: Vec<String>,
    options: Vec<String>,
}

fn asked(record: &Record, settings: &config::Container) -> Result<Asked> {
    let or = |own: &Option<Vec<String>>, default: &[String]| match own.as_deref() {
        None | Some([]) => default.to_vec(),
        Some(own) => own.to_vec(),
    };
    let servers = match record.host.dns.as_deref() {
        None | Some([]) => settings.dns.clone(),
        Some(own) => {
            let parse = |text: &String| {
                text.parse().map_err(|_| Error::invalid(format!("bad format for dns: {text:?}")))
            };
            own.iter().map(parse).collect::<Result<_>>()?
        }
    };
    Ok(Asked {
        servers,
        search: or(&record.host.dns_search, &settings.dns_search),
        options: or(&record.host.dns_options, &settings.dns_options),
    })
}

pub(super) fn naming(record: &Record, run: &Run, around: &Surroundings<'_>) -> Result<Naming> {
    let asked = asked(record, around.settings)?;
    let mut naming = Naming { hosts: hosts(record, run, around)?, ..Naming::default() };
    let nothing = asked.servers.is_empty() && asked.search.is_empty() && asked.options.is_empty();
    if record.host.network_mode == "host" && nothing {
        // The host's own file is right as it is.
        return Ok(naming);
    }
    let or_hosts = |own: Vec<String>, host: &[String]| if own.is_empty() { host.to_vec() } else { own };
    // A lone dot is how one says that nothing is to be searched.
    naming.search = or_hosts(asked.search, &around.host.search);
    naming.search.retain(|domain| domain != ".");
    naming.options = or_hosts(asked.options, &around.host.options);
    if has_resolver(run) {
        naming.nameservers = vec![network::names::ADDRESS];
        if !naming.options.iter().any(|option| option.starts_with("ndots:")) {
            naming.options.push("ndots:0".into());
        }
    } else if !asked.servers.is_empty() {
        naming.nameservers = asked.servers;
    } else if record.host.network_mode == "host" {
        naming.nameservers.clone_from(&around.host.servers);
    } else {
        naming.nameservers = around.host.reachable_servers(run.target(true).is_some());
    }
    Ok(naming)
}

/// Containers of user-defined networks have a resolver, others a copy of the host's configuration.
pub(super) fn has_resolver(run: &Run) -> bool {
    run.endpoints.iter().any(|endpoint| endpoint.entry.is_some())
}

/// What the resolver is told. One that was needed once goes on without a network that has names: who asks it still gets
/// the answers of others.
pub(super) fn names(record: &Record, run: &Run, around: &Surroundings<'_>) -> Result<Names> {
    let asked = asked(record, around.settings)?;
    let at =
        |servers: &[IpAddr]| servers.iter().map(|server| SocketAddr::new(*server, DNS)).collect::<Vec<_>>();
    // The first network that knows a name answers it.
    let (endpoints, entries): (Vec<&Endpoint>, Vec<PathBuf>) =
        run.in_order().into_iter().filter_map(|endpoint| Some((endpoint, endpoint.entry.clone()?))).unzip();
    // Containers that only internal networks have must not reach out through the host's resolver.
    let leads_out = run.gateway(false).or(run.gateway(true)).is_some();
    Ok(Names {
        directories: entries.iter().filter_map(|entry| entry.parent().map(Path::to_owned)).collect(),
        own: entries,
        upstreams: if leads_out { at(&around.host.servers) } else { Vec::new() },
        inside: at(&asked.servers),
        links: links(record, |_| true),
        links_on: endpoints.iter().map(|one| links(record, |name| *name == one.network_name)).collect(),
        keep_single_labels: asked.options.iter().any(|option| option.starts_with("ndots:")),
    })
}

/// `container:alias`, or just the container: what each alias stands for, in lower case as questions are, on some of the
/// networks.
fn links(record: &Record, networks: impl Fn(&String) -> bool) -> BTreeMap<String, String> {
    let settings = record.network.endpoints.iter().filter(|(name, _)| networks(name));
    settings
        .flat_map(|(_, settings)| settings.links.iter().flatten())
        .chain(record.host.links.iter().flatten())
        .map(|link| parse_link(link))
        .map(|(name, alias)| (alias.to_ascii_lowercase(), name.to_owned()))
        .collect()
}

/// The container's name and its alias.
pub(crate) fn parse_link(link: &str) -> (&str, &str) {
    let last = |text| str::rsplit(text, '/').next().unwrap_or_default();
    match link.split_once(':') {
        Some((name, alias)) => (last(name), last(alias)),
        None => (last(link), last(link)),
    }
}

fn hosts(record: &Record, run: &Run, around: &Surroundings<'_>) -> Result<Vec<(IpAddr, Vec<String>)>> {
    let mut lines = around.links.clone();
    for entry in record.host.extra_hosts.iter().flatten() {
        lines.extend(extra_host(entry, around)?);
    }
    let config = &record.config;
    let full = match config.domainname.as_str() {
        "" => config.hostname.clone(),
        domain => format!("{}.{domain}", config.hostname),
    };
    let first = full.split_once('.').map(|(first, _)| first.to_owned());
    let own: Vec<String> = std::iter::once(full).chain(first).collect();
    let addresses = |endpoint: &Endpoint| {
        endpoint.interface.as_ref().map(|one| one.addresses.clone()).unwrap_or_default()
    };
    for address in run.endpoints.iter().flat_map(addresses) {
        lines.push((address.addr(), own.clone()));
    }
    Ok(lines)
}

/// `name:address`, `name=address`, or `name:host-gateway`.
fn extra_host(entry: &str, around: &Surroundings<'_>) -> Result<Vec<(IpAddr, Vec<String>)>> {
    let invalid = || Error::invalid(format!("bad format for add-host: {entry:?}"));
    let (name, address) = entry.split_once([':', '=']).ok_or_else(invalid)?;
    let address = address.trim_matches(['[', ']']);
    let addresses = if address == "host-gateway" {
        let own = &around.settings.host_gateway;
        if own.is_empty() { around.gateways.clone() } else { own.clone() }
    } else {
        vec![address.parse().map_err(|_| invalid())?]
    };
    if addresses.is_empty() {
        return Err(Error::system(
            "unable to derive the IP value for host-gateway: there is no default bridge and none was configured",
        ));
    }
    Ok(addresses.into_iter().map(|address| (address, vec![name.to_owned()])).collect())
}

#[cfg(test)]
mod tests {
    use super::super::run::tests::endpoint;
    use super::*;
    use crate::container::test_record as record;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn around<'a>(settings: &'a config::Container, host: &'a Resolution) -> Surroundings<'a> {
        Surroundings { settings, host, gateways: vec![ip("172.17.0.1")], links: Vec::new() }
    }

    fn run(user_defined: bool) -> Run {
        let mut endpoint = endpoint("backend", &["10.1.0.2/24"], &["10.1.0.1"]);
        endpoint.entry = user_defined.then(|| "/run/names/backend-id/x".into());
        Run { endpoints: vec![endpoint], ..Run::default() }
    }

    #[test]
    fn user_defined_networks_have_a_resolver() {
        let settings = config::Container::default();
        let host =
            Resolution::parse("nameserver 127.0.0.53\nnameserver 192.0.2.1\nsearch lan\noptions edns0\n");
        let mut record = record("web");
        let naming_of = |record: &Record, run: &Run| naming(record, run, &around(&settings, &host)).unwrap();
        let plain = naming_of(&record, &run(false));
        assert_eq!(plain.nameservers, [ip("192.0.2.1")]);
        let user = naming_of(&record, &run(true));
        assert_eq!(user.nameservers, [ip("127.0.0.11")]);
        assert_eq!((user.search.join(" "), user.options.join(" ")), ("lan".into(), "edns0 ndots:0".into()));

        let names_of = |record: &Record, run: &Run| names(record, run, &around(&settings, &host)).unwrap();
        let without = names_of(&record, &run(false));
        assert!(without.directories.is_empty() && without.upstreams.len() == 2);
        let names = names_of(&record, &run(true));
        assert_eq!(names.directories, [Path::new("/run/names/backend-id")]);
        assert_eq!(
            names.upstreams.len(),
            2,
            "the resolver asks from the host, where loopback can be reached"
        );
        record.host.dns = Some(vec!["198.51.100.1".into()]);
        record.host.dns_options = Some(vec!["ndots:2".into()]);
        record.host.links = Some(vec!["/db:/web/Storage".into()]);
        let names = names_of(&record, &run(true));
        assert_eq!(names.inside, ["198.51.100.1:53".parse().unwrap()]);
        assert!(names.keep_single_labels);
        assert_eq!(names.links, [("storage".to_owned(), "db".to_owned())].into());
        assert_eq!(naming_of(&record, &run(true)).options, ["ndots:2"]);
        assert_eq!(naming_of(&record, &run(false)).nameservers, [ip("198.51.100.1")]);
    }

    #[test]
    fn networks_are_asked_in_the_order_of_the_ways_out() {
        let (settings, host) = (config::Container::default(), Resolution::default());
        let on = |network: &str, gateways: &[&str]| {
            let mut endpoint = endpoint(network, &["10.1.0.2/24"], gateways);
            endpoint.entry = Some(format!("/run/names/{network}/x").into());
            endpoint
        };
        let endpoints = vec![on("inside", &[]), on("sea", &["10.1.0.1"]), on("lake", &["10.1.0.1"])];
        let run = Run { endpoints, ..Run::default() };
        let mut record = record("web");
        let linked = |links: &[&str]| api::network::EndpointSettings {
            links: Some(links.iter().map(|link| (*link).to_owned()).collect()),
            ..Default::default()
        };
        record.network.endpoints.insert("sea".into(), linked(&["db:Storage"]));
        record.network.endpoints.insert("lake".into(), linked(&[]));
        let names = names(&record, &run, &around(&settings, &host)).unwrap();
        assert_eq!(names.directories, ["lake", "sea", "inside"].map(|one| Path::new("/run/names").join(one)));
        let storage: BTreeMap<_, _> = [("storage".to_owned(), "db".to_owned())].into();
        assert_eq!(names.links_on, [BTreeMap::new(), storage, BTreeMap::new()]);
    }

    #[test]
    fn internal_networks_ask_nobody_outside() {
        let settings = config::Container::default();
        let host = Resolution::parse("nameserver 192.0.2.1\n");
        let mut run = run(true);
        run.endpoints[0].interface.as_mut().unwrap().gateways.clear();
        let names = names(&record("web"), &run, &around(&settings, &host)).unwrap();
        assert!(names.upstreams.is_empty());
    }

    #[test]
    fn hosts_know_the_container_and_what_was_added() {
        let settings = config::Container::default();
        let host = Resolution::default();
        let mut record = record("web");
        record.config.hostname = "me".into();
        record.config.domainname = "example.org".into();
        record.host.extra_hosts = Some(vec!["a:192.0.2.9".into(), "b:host-gateway".into(), "c:[::9]".into()]);
        let naming = naming(&record, &run(false), &around(&settings, &host)).unwrap();
        let lines: Vec<String> =
            naming.hosts.iter().map(|(address, names)| format!("{address} {}", names.join(" "))).collect();
        assert_eq!(lines, ["192.0.2.9 a", "172.17.0.1 b", "::9 c", "10.1.0.2 me.example.org me"]);
    }

    #[test]
    fn the_hosts_network_has_the_hosts_files() {
        let settings = config::Container::default();
        let host = Resolution::parse("nameserver 127.0.0.53\n");
        let mut record = record("web");
        record.host.network_mode = "host".into();
        assert_eq!(naming(&record, &Run::default(), &around(&settings, &host)).unwrap(), Naming::default());
        record.host.dns_search = Some(vec!["lan".into()]);
        let asked = naming(&record, &Run::default(), &around(&settings, &host)).unwrap();
        assert_eq!((asked.nameservers, asked.search), (vec![ip("127.0.0.53")], vec!["lan".to_owned()]));
    }
}
