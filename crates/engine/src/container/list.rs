//! The list of containers, narrowed down by filters.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api::container::{HealthSummary, Port, Status, Summary, SummaryHost, SummaryNetworks};
use api::filters::{Filters, InvalidFilter};
use api::network::EndpointSettings;
use jiff::Timestamp;
use oci::digest::Digest;

use super::record::{MountKind, Record};
use super::{inspect, status};
use crate::error::{Error, Result};
use crate::{Engine, clock, spec};

const KNOWN: &[&str] = &[
    "ancestor",
    "before",
    "exited",
    "expose",
    "health",
    "id",
    "is-task",
    "isolation",
    "label",
    "name",
    "network",
    "publish",
    "since",
    "status",
    "volume",
];

/// Which containers are listed, and what of them.
#[derive(Debug, Clone, Default)]
pub struct ListOptions {
    /// Also those that do not run.
    pub all: bool,
    /// The newest so many, running or not.
    pub limit: Option<usize>,
    pub size: bool,
    pub filters: Filters,
}

impl From<InvalidFilter> for Error {
    fn from(error: InvalidFilter) -> Error {
        Error::invalid(error.to_string())
    }
}

impl Engine {
    pub async fn container_list(&self, options: ListOptions) -> Result<Vec<Summary>> {
        options.filters.check(KNOWN)?;
        let limit = options.limit.filter(|limit| *limit > 0);
        if ["status", "exited"].iter().any(|key| options.filters.values(key).next().is_some()) {
            self.settle_running().await;
        }
        let selection = Selection::new(self, &options)?;
        let mut records: Vec<Arc<Record>> = self.shared().containers.records();
        let all = records.clone();
        let links = spec::link_names(all.iter().map(Arc::as_ref));
        // Newest first; ids break ties, so that two lists agree.
        records.sort_by(|one, other| (&other.created, &other.id).cmp(&(&one.created, &one.id)));
        records.retain(|record| selection.wants(record));
        records.truncate(limit.unwrap_or(usize::MAX));
        let now = Timestamp::now();
        let mut list: Vec<Summary> = records.iter().map(|record| summary(self, record, now)).collect();
        for summary in &mut list {
            summary.names.extend(links.get(summary.id.as_str()).into_iter().flatten().cloned());
        }
        if options.size {
            let measured = self
                .blocking(move |engine| {
                    Ok(records.iter().map(|record| inspect::sizes(engine, record)).collect::<Vec<_>>())
                })
                .await?;
            for (summary, sizes) in list.iter_mut().zip(measured) {
                // A container that is removed meanwhile has no size.
                (summary.size_rw, summary.size_root_fs) = sizes.unwrap_or_default();
            }
        }
        Ok(list)
    }
}

/// `created, running, …`
fn states() -> String {
    let names: Vec<&str> = Status::ALL.iter().map(|status| status.as_str()).collect();
    names.join(", ")
}

/// Filters with what they mean looked up once.
struct Selection<'a> {
    filters: &'a Filters,
    all: bool,
    before: Option<Arc<Record>>,
    since: Option<Arc<Record>>,
    /// These images, and those that were committed on them.
    ancestors: Option<BTreeSet<Digest>>,
    exited: Vec<i64>,
}

impl<'a> Selection<'a> {
    fn new(engine: &Engine, options: &'a ListOptions) -> Result<Selection<'a>> {
        let filters = &options.filters;
        for value in filters.values("status") {
            if !Status::ALL.iter().any(|status| status.as_str() == value) {
                let reason = format!("invalid value for state ({value}): must be one of {}", states());
                return Err(InvalidFilter::because("status", value, reason).into());
            }
        }
        for value in filters.values("health") {
            if !["none", "starting", "healthy", "unhealthy"].contains(&value) {
                let reason = format!(
                    "invalid value for health ({value}): must be one of none, starting, healthy, unhealthy"
                );
                return Err(InvalidFilter::because("health", value, reason).into());
            }
        }
        filters.flag("is-task")?;
        for key in ["publish", "expose"] {
            for value in filters.values(key) {
                check_port_filter(key, value)?;
            }
        }
        let exited = filters
            .values("exited")
            .map(|value| {
                let number = api::number::parse::<i64>(value, "Atoi");
                number.map_err(|reason| InvalidFilter::because("exited", value, reason))
            })
            .collect::<Result<Vec<i64>, _>>()?;
        let reference = |key: &str| -> Result<Option<Arc<Record>>> {
            let Some(name) = filters.values(key).last() else { return Ok(None) };
            if name.is_empty() {
                return Err(Error::not_found("No such container: "));
            }
            Ok(Some(engine.container(name)?.record()))
        };
        let ancestors = filters.contains("ancestor").then(|| descendants(engine, filters.values("ancestor")));
        Ok(Selection {
            filters,
            // Asking for states, or for so many, is asking for those that do not run, too.
            all: options.all || options.limit.is_some_and(|limit| limit > 0) || filters.contains("status"),
            before: reference("before")?,
            since: reference("since")?,
            ancestors,
            exited,
        })
    }

    fn wants(&self, record: &Record) -> bool {
        let filters = self.filters;
        let state = record.state.describe();
        let health = state.health.as_ref().map_or("none", |health| health.status.as_str());
        if !self.all && !state.running {
            return false;
        }
        let labels = record.config.labels.clone().unwrap_or_default();
        filters.any("id", |start| !start.is_empty() && record.id.as_str().starts_with(start))
            && (filters.pattern("name", &record.slashed()) || filters.pattern("name", &record.name))
            && filters.pairs("label", &labels)
            && filters.any("status", |value| value == record.state.status().as_str())
            && filters.exact("health", health)
            && (self.exited.is_empty()
                || self
                    .exited
                    .iter()
                    .any(|code| state.exit_code == *code && !state.running && record.state.ended().is_some()))
            && self.before.as_ref().is_none_or(|other| record.created < other.created)
            && self.since.as_ref().is_none_or(|other| record.created > other.created)
            && self.ancestors.as_ref().is_none_or(|all| all.iter().any(|id| id.as_str() == record.image))
            && filters.one("volume", |value| mounts(record, value))
            && filters.one("network", |value| {
                let mut endpoints = record.network.endpoints.iter();
                endpoints.any(|(name, endpoint)| name == value || endpoint.network_id.starts_with(value))
            })
            && filters.any("publish", |value| {
                ports(record).iter().any(|port| port_matches(value, port.public_port, &port.kind))
            })
            && filters.any("expose", |value| {
                ports(record).iter().any(|port| port_matches(value, port.private_port, &port.kind))
            })
            && !matches!(filters.flag("is-task"), Ok(Some(true)))
    }
}

/// Images by any of their names, with all that was committed on them; whoever names none that is here means nothing.
fn descendants<'a>(engine: &Engine, names: impl Iterator<Item = &'a str>) -> BTreeSet<Digest> {
    let images = engine.images();
    let mut found = BTreeSet::new();
    let mut left: Vec<Digest> =
        names.filter_map(|name| images.resolve(name).ok()).map(|image| image.id.clone()).collect();
    while let Some(id) = left.pop() {
        if !found.contains(&id) {
            left.extend(images.children(&id));
            found.insert(id);
        }
    }
    found
}

fn mounts(record: &Record, wanted: &str) -> bool {
    record.mounts.iter().any(|point| {
        point.destination == wanted
            || match &point.kind {
                MountKind::Volume { name, .. } => name == wanted,
                MountKind::Bind { source, .. } => source.as_path() == std::path::Path::new(wanted),
                MountKind::Tmpfs { .. } | MountKind::Image { .. } => false,
            }
    })
}

/// The ports and the protocol that a filter's value names: `80`, `80/udp`, `8000-8010/tcp`. What follows a second dash is
/// not looked at, as in Docker.
fn port_range(value: &str) -> (&str, &str, &str) {
    let (range, protocol) = value.split_once('/').unwrap_or((value, ""));
    let mut ends = range.split('-');
    let first = ends.next().unwrap_or_default();
    (first, ends.next().unwrap_or(first), if protocol.is_empty() { "tcp" } else { protocol })
}

/// Whether [`port_matches`] can make sense of a filter's value.
fn check_port_filter(key: &str, value: &str) -> Result<()> {
    if value.contains(':') {
        return Err(Error::system(format!("filter for '{key}' should not contain ':': {value}")));
    }
    let range = value.split('/').next().unwrap_or_default();
    let (first, last, _) = port_range(value);
    let port = |text| api::number::parse::<u16>(text, "ParseUint");
    let reason = match port(first).and_then(|first| Ok((first, port(last)?))) {
        Ok((first, last)) if first <= last => return Ok(()),
        Ok(_) => format!("Invalid range specified for the Port: {range}"),
        Err(_) if range.is_empty() => "Empty string specified for ports.".to_owned(),
        Err(reason) => reason,
    };
    Err(Error::system(format!("error while looking up for {key} {value}: {reason}")))
}

/// Whether one port is among those that a filter's value names.
fn port_matches(wanted: &str, port: u16, protocol: &str) -> bool {
    let (first, last, wanted_protocol) = port_range(wanted);
    wanted_protocol == protocol
        && matches!((first.parse::<u16>(), last.parse::<u16>()), (Ok(first), Ok(last)) if (first..=last).contains(&port))
}

fn summary(engine: &Engine, record: &Record, now: Timestamp) -> Summary {
    let record = &*inspect::as_shown(record);
    let mut command = record.path.clone();
    for argument in &record.args {
        command.push(' ');
        // As Docker shows it; not a shell's quoting, an apostrophe inside stays as it is.
        if argument.contains(' ') {
            command.extend(["'", argument, "'"]);
        } else {
            command.push_str(argument);
        }
    }
    Summary {
        id: record.id.to_string(),
        names: vec![record.slashed()],
        image: shown_image(engine, record),
        image_id: record.image.clone(),
        command,
        created: clock::parse(&record.created).map_or(0, Timestamp::as_second),
        ports: ports(record),
        labels: record.config.labels.clone().unwrap_or_default(),
        state: record.state.status(),
        status: status::words(&record.state, now),
        host_config: SummaryHost {
            network_mode: record.host.network_mode.clone(),
            annotations: record.host.annotations.clone(),
        },
        network_settings: SummaryNetworks { networks: listed_networks(record) },
        mounts: record.mounts.iter().map(inspect::mount_point).collect(),
        health: Some(health(record)),
        ..Summary::default()
    }
}

/// Whether a container is well: neither one that has no check nor one that does not run is anything.
fn health(record: &Record) -> HealthSummary {
    match record.state.describe().health.filter(|_| record.state.is_running()) {
        Some(health) => HealthSummary { status: health.status, failing_streak: health.failing_streak },
        None => HealthSummary { status: "none".into(), failing_streak: 0 },
    }
}

/// Endpoints as a list shows them: without the names that they answer to.
fn listed_networks(record: &Record) -> BTreeMap<String, EndpointSettings> {
    let mut networks = super::inspect::endpoints(record);
    for endpoint in networks.values_mut() {
        (endpoint.aliases, endpoint.dns_names, endpoint.links) = (None, None, None);
    }
    networks
}

/// The name it was made by, unless that now means another image: then the id.
fn shown_image(engine: &Engine, record: &Record) -> String {
    match engine.images().resolve(&record.config.image) {
        Ok(image) if image.id.as_str() == record.image => record.config.image.clone(),
        _ => record.image.clone(),
    }
}

/// Published ports, and exposed ones while the container runs.
fn ports(record: &Record) -> Vec<Port> {
    if !record.state.is_running() {
        return Vec::new();
    }
    let mut list = Vec::new();
    for (text, bindings) in &record.network.ports {
        let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let Ok(private_port) = port.parse() else { continue };
        let exposed = Port { private_port, kind: protocol.to_owned(), ..Port::default() };
        match bindings.as_deref() {
            None | Some([]) => list.push(exposed),
            Some(bindings) => list.extend(bindings.iter().map(|binding| Port {
                ip: binding.host_ip.clone(),
                public_port: binding.host_port.parse().unwrap_or(0),
                ..exposed.clone()
            })),
        }
    }
    list.sort();
    list
}

/// `until` and labels of a prune.
pub(super) fn prunable(
    filters: &Filters,
    labels: &BTreeMap<String, String>,
    created: &str,
    until: Option<i64>,
) -> bool {
    let unwanted = filters.values("label!").any(|wanted| match wanted.split_once('=') {
        Some((name, value)) => labels.get(name).is_some_and(|have| have == value),
        None => labels.contains_key(wanted),
    });
    filters.pairs("label", labels)
        && !unwanted
        && until.is_none_or(|until| clock::nanoseconds(created) < until)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::record::tests::record;

    #[test]
    fn ports_match_by_range_and_protocol() {
        assert!(port_matches("80", 80, "tcp"));
        assert!(!port_matches("80", 80, "udp"));
        assert!(port_matches("8000-8010/udp", 8005, "udp"));
        assert!(port_matches("80/", 80, "tcp") && port_matches("1-90-x", 80, "tcp"));
        assert!(!port_matches("x", 80, "tcp"));
    }

    #[test]
    fn ports_that_make_no_sense_are_told() {
        let told = |value| check_port_filter("publish", value).err().map(|error| error.message().to_owned());
        let why = |reason| Some(format!("error while looking up for publish {reason}"));
        assert_eq!(told("80-90/udp"), None);
        assert_eq!(told("9-8"), why("9-8: Invalid range specified for the Port: 9-8"));
        assert_eq!(told("/tcp"), why("/tcp: Empty string specified for ports."));
        assert_eq!(told("x"), why("x: strconv.ParseUint: parsing \"x\": invalid syntax"));
        assert_eq!(told("70000"), why("70000: strconv.ParseUint: parsing \"70000\": value out of range"));
        assert_eq!(told("80:80").unwrap(), "filter for 'publish' should not contain ':': 80:80");
    }

    #[test]
    fn prune_spares_what_is_labelled_or_young() {
        let mut filters = Filters::default();
        filters.add("label!", "keep");
        let labels = BTreeMap::from([("keep".to_owned(), String::new())]);
        assert!(!prunable(&filters, &labels, "2026-01-01T00:00:00Z", None));
        assert!(prunable(&filters, &BTreeMap::new(), "2026-01-01T00:00:00Z", None));
        assert!(!prunable(&filters, &BTreeMap::new(), "2026-01-01T00:00:00Z", Some(5)));
    }

    #[test]
    fn what_does_not_run_has_no_ports() {
        let mut record = record("web");
        record.network.ports.insert("80/tcp".into(), None);
        assert!(ports(&record).is_empty());
    }
}
