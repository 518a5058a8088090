//! The engine's calls about networks.

use std::collections::BTreeMap;

use api::filters::Filters;
use api::network::{
    ConnectRequest, CreateRequest, CreateResponse, DisconnectRequest, EndpointResource, Inspect, PruneReport,
};

use super::Networks;
use super::record::Network;
use super::table::{Entry, Member};
use crate::Engine;
use crate::container::{Live, Record, until};
use crate::error::{Error, Result};

const LIST_FILTERS: [&str; 8] = ["dangling", "driver", "id", "label", "label!", "name", "scope", "type"];
const PRUNE_FILTERS: [&str; 3] = ["label", "label!", "until"];

impl Engine {
    pub async fn network_list(&self, filters: Filters) -> Result<Vec<Inspect>> {
        filters.check(&LIST_FILTERS).map_err(invalid)?;
        let dangling = filters.flag("dangling").map_err(|_| {
            Error::invalid(
                r#"invalid value for filter 'dangling', must be "true" (or "1"), or "false" (or "0")"#,
            )
        })?;
        for kind in filters.values("type") {
            if !["custom", "builtin"].contains(&kind) {
                return Err(Error::invalid(format!("invalid filter: 'type'='{kind}'")));
            }
        }
        let state = self.shared().networks.state();
        let matches = |entry: &&Entry| {
            let network = &entry.network;
            let kind = if network.predefined { "builtin" } else { "custom" };
            let unused = entry.members.is_empty() && !network.predefined;
            filters.exact("driver", network.driver.name())
                && filters.any("id", |wanted| network.id.contains(wanted))
                && filters.pattern("name", &network.name)
                && filters.exact("scope", "local")
                && filters.exact("type", kind)
                && labels(&filters, network)
                && dangling.is_none_or(|dangling| dangling == unused)
        };
        Ok(state.table.networks.values().filter(matches).map(|entry| entry.network.inspect()).collect())
    }

    pub async fn network_inspect(&self, wanted: &str) -> Result<Inspect> {
        let state = self.shared().networks.state();
        let entry = state.table.find(wanted)?;
        let mut inspect = entry.network.inspect();
        inspect.containers =
            entry.members.iter().map(|(id, member)| (id.clone(), resource(member))).collect();
        inspect.status = entry.status();
        Ok(inspect)
    }

    pub async fn network_create(&self, request: CreateRequest) -> Result<CreateResponse> {
        let (network, response) =
            self.blocking(move |engine| engine.shared().networks.create(request)).await?;
        self.network_event(&network, "create", None);
        Ok(response)
    }

    pub async fn network_remove(&self, wanted: &str) -> Result<()> {
        let wanted = wanted.to_owned();
        let network = self.blocking(move |engine| engine.shared().networks.remove(&wanted)).await?;
        self.network_event(&network, "destroy", None);
        Ok(())
    }

    /// Removes what nobody is on.
    pub async fn network_prune(&self, filters: Filters) -> Result<PruneReport> {
        filters.check(&PRUNE_FILTERS).map_err(invalid)?;
        let until = until(&filters)?;
        let candidates: Vec<String> = {
            let state = self.shared().networks.state();
            let old = |network: &Network| {
                until.is_none_or(|limit| crate::clock::nanoseconds(&network.created) < limit)
            };
            let unused = |entry: &&Entry| {
                !entry.network.predefined && !entry.network.config_only && entry.members.is_empty()
            };
            let entries = state.table.networks.values().filter(unused);
            let matching = entries.filter(|entry| old(&entry.network) && labels(&filters, &entry.network));
            matching.map(|entry| entry.network.id.clone()).collect()
        };
        let removed = self
            .blocking(move |engine| {
                // One that a container has joined meanwhile stays.
                let remove = |id: &String| engine.shared().networks.remove(id).ok();
                Ok(candidates.iter().filter_map(remove).collect::<Vec<_>>())
            })
            .await?;
        for network in &removed {
            self.network_event(network, "destroy", None);
        }
        let reclaimed = BTreeMap::from([("reclaimed".to_owned(), "0".to_owned())]);
        self.events_bus().publish(api::event::kind::NETWORK, "prune", "", reclaimed);
        let names: Vec<String> = removed.into_iter().map(|network| network.name).collect();
        Ok(PruneReport { networks_deleted: Some(names).filter(|names| !names.is_empty()) })
    }

    pub async fn network_connect(&self, wanted: &str, request: ConnectRequest) -> Result<()> {
        let network = self.shared().networks.lookup(wanted)?;
        let container = self.container(&request.container)?;
        let engine = self.clone();
        let asked = network.clone();
        let joined = container
            .edit(move |record, live| {
                let wish = request.endpoint_config.unwrap_or_default();
                engine.shared().networks.connect(&engine, record, live, &asked, wish)
            })
            .await?;
        if joined {
            self.network_event(&network, "connect", Some(container.id.as_str()));
        }
        Ok(())
    }

    /// By force a container that is gone could still be taken off; none that is gone is ever on a network here.
    pub async fn network_disconnect(&self, wanted: &str, request: DisconnectRequest) -> Result<()> {
        let found = self.shared().networks.lookup(wanted);
        let container = match self.container(&request.container) {
            Err(_) if request.force => {
                found?;
                return Err(Error::not_found(format!("endpoint {} not found", request.container)));
            }
            container => container?,
        };
        let network = match found {
            Ok(network) => network,
            Err(error) => {
                let (name, force) = (wanted.to_owned(), request.force);
                // Nobody who runs is on a network that is gone.
                let take_off = move |record: &mut Record, live: Option<&Live>| match live {
                    Some(_) if !force => Err(error),
                    _ => super::connect::forget(record, &name),
                };
                return container.edit(take_off).await;
            }
        };
        let engine = self.clone();
        let asked = network.clone();
        let left = container
            .edit(move |record, live| engine.shared().networks.disconnect(&engine, record, live, &asked))
            .await?;
        if left {
            self.network_event(&network, "disconnect", Some(container.id.as_str()));
        }
        Ok(())
    }

    /// Tells that a container has come to, or left, all its networks.
    pub(crate) fn network_events(&self, record: &crate::container::Record, action: &str, time: &str) {
        let networks = &self.shared().networks;
        for (name, settings) in &record.network.endpoints {
            // One that could not be joined is known by its name alone.
            if let Ok(network) = networks.network(&settings.network_id).or_else(|_| networks.lookup(name)) {
                self.network_event_at(&network, action, Some(record.id.as_str()), time);
            }
        }
    }

    fn network_event(&self, network: &Network, action: &str, container: Option<&str>) {
        self.network_event_at(network, action, container, &crate::clock::now());
    }

    fn network_event_at(&self, network: &Network, action: &str, container: Option<&str>, time: &str) {
        let mut attributes = BTreeMap::from([
            ("name".to_owned(), network.name.clone()),
            ("type".to_owned(), network.driver.name().to_owned()),
        ]);
        attributes.extend(container.map(|id| ("container".to_owned(), id.to_owned())));
        self.events_bus().publish_at(api::event::kind::NETWORK, action, &network.id, attributes, time, None);
    }
}

impl Networks {
    pub(super) fn lookup(&self, wanted: &str) -> Result<Network> {
        Ok(self.state().table.find(wanted)?.network.clone())
    }
}

fn invalid(error: api::filters::InvalidFilter) -> Error {
    Error::invalid(error.to_string())
}

/// All of the wanted labels and none of the unwanted.
fn labels(filters: &Filters, network: &Network) -> bool {
    let unwanted = |wanted: &str| match wanted.split_once('=') {
        Some((name, value)) => network.labels.get(name).is_some_and(|have| have == value),
        None => network.labels.contains_key(wanted),
    };
    filters.pairs("label", &network.labels) && !filters.values("label!").any(unwanted)
}

fn resource(member: &Member) -> EndpointResource {
    let interface = member.endpoint.interface.as_ref();
    let address = |v6| {
        interface.and_then(|interface| interface.address(v6)).map_or_else(String::new, |net| net.to_string())
    };
    EndpointResource {
        name: member.name.clone(),
        endpoint_id: member.endpoint.id.clone(),
        mac_address: interface.map_or_else(String::new, |interface| interface.mac.clone()),
        ipv4_address: address(false),
        ipv6_address: address(true),
    }
}
