//! Which events a listener wants, and how it gets them: first the past, then what happens.

use std::sync::Arc;

use api::event::Message;
use api::filters::Filters;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::error::Result;
use crate::{Engine, clock};

/// Nanoseconds since the epoch; without `since` there is no past, without `until` no end.
#[derive(Debug, Clone, Default)]
pub struct EventQuery {
    pub since: Option<i64>,
    pub until: Option<i64>,
    /// A filter that nobody knows is not looked at: here, and only here, Docker does not refuse it, and clients
    /// send filters of other engines.
    pub filters: Filters,
}

/// The answer to a query.
pub struct Events {
    /// What has happened already.
    pub past: Vec<Arc<Message>>,
    /// What follows; none when `until` has passed.
    pub live: Option<EventStream>,
}

/// Events as they happen.
pub struct EventStream {
    receiver: broadcast::Receiver<Arc<Message>>,
    query: EventQuery,
}

impl Engine {
    pub fn events(&self, query: EventQuery) -> Result<Events> {
        let now = clock::nanoseconds(&clock::now());
        let (history, receiver) = self.events_bus().listen();
        let wanted = |message: &Arc<Message>| {
            query.since.is_some_and(|since| message.time_nano >= since)
                && query.until.is_none_or(|until| message.time_nano <= until)
                && matches(&query.filters, message)
        };
        // With only an end in the past, Docker still answers with what came before it.
        let past = match (query.since, query.until) {
            (None, Some(until)) if until <= now => history
                .iter()
                .filter(|message| message.time_nano <= until && matches(&query.filters, message))
                .cloned()
                .collect(),
            _ => history.iter().filter(|message| wanted(message)).cloned().collect(),
        };
        let live = query.until.is_none_or(|until| until > now);
        Ok(Events { past, live: live.then_some(EventStream { receiver, query }) })
    }
}

impl EventStream {
    /// The next event that is wanted; none when `until` has come or the engine closes.
    pub async fn next(&mut self) -> Option<Arc<Message>> {
        loop {
            let received = match self.query.until {
                None => self.receiver.recv().await,
                Some(until) => {
                    let left = until.saturating_sub(clock::nanoseconds(&clock::now()));
                    let left = std::time::Duration::from_nanos(u64::try_from(left).unwrap_or(0));
                    tokio::time::timeout(left, self.receiver.recv()).await.ok()?
                }
            };
            match received {
                Ok(message) if matches(&self.query.filters, &message) => {
                    return Some(message);
                }
                Ok(_) => {}
                Err(RecvError::Lagged(lost)) => tracing::warn!(lost, "a listener is too slow for the events"),
                Err(RecvError::Closed) => return None,
            }
        }
    }
}

fn matches(filters: &Filters, message: &Message) -> bool {
    let attribute = |key: &str| message.actor.attributes.get(key).map_or("", String::as_str);
    // Docker does not ask of what kind the actor is: `container=web` finds the network `webs`, too.
    let of_kind = |kind: &str| {
        filters
            .any(kind, |wanted| message.actor.id.starts_with(wanted) || attribute("name").starts_with(wanted))
    };
    filters.exact("type", &message.kind)
        && filters.exact("scope", &message.scope)
        && filters.any("event", |wanted| action_matches(wanted, &message.action))
        && filters.pairs("label", &message.actor.attributes)
        && filters.any("image", |wanted| image_matches(wanted, message))
        && ["container", "daemon", "network", "volume", "plugin", "service", "node", "secret", "config"]
            .iter()
            .all(|kind| of_kind(kind))
}

/// `exec_start: sh` is found by its whole text and by `exec_start`.
fn action_matches(wanted: &str, action: &str) -> bool {
    wanted == action || (!wanted.contains(':') && action.split(':').next() == Some(wanted))
}

/// By id or by name with or without tag; a container's events also by its image.
fn image_matches(wanted: &str, message: &Message) -> bool {
    let attributes = &message.actor.attributes;
    let name = match message.kind.as_str() {
        api::event::kind::IMAGE => attributes.get("name"),
        api::event::kind::CONTAINER => attributes.get("image"),
        _ => return false,
    };
    let untagged = |text: &str| match text.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository.to_owned(),
        _ => text.to_owned(),
    };
    let id = message.kind == api::event::kind::IMAGE && message.actor.id == wanted;
    id || name.is_some_and(|name| name == wanted || untagged(name) == wanted)
        || (message.kind == api::event::kind::IMAGE && untagged(&message.actor.id) == wanted)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::events::{Bus, Origin};

    struct Scratch(scratch::Directory);

    impl Scratch {
        fn new() -> Scratch {
            Scratch(scratch::Directory::new("events"))
        }

        fn bus(&self) -> Bus {
            Bus::open(&self.0.join("events.jsonl")).unwrap()
        }
    }

    fn attributes(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn filters(pairs: &[(&str, &str)]) -> Filters {
        let mut filters = Filters::default();
        for (key, value) in pairs {
            filters.add(*key, *value);
        }
        filters
    }

    #[test]
    fn history_outlives_the_engine_and_shims_are_heard_once() {
        let scratch = Scratch::new();
        let origin = |sequence| Some(Origin { incarnation: "first".into(), sequence });
        let bus = scratch.bus();
        bus.publish_at("container", "start", "a", BTreeMap::new(), &clock::now(), origin(1));
        bus.publish_at("container", "die", "a", BTreeMap::new(), &clock::now(), origin(2));
        drop(bus);
        for _ in 0..2 {
            let bus = scratch.bus();
            bus.publish_at("container", "die", "a", BTreeMap::new(), &clock::now(), origin(2));
            let (history, _) = bus.listen();
            assert_eq!(
                history.iter().map(|message| message.action.as_str()).collect::<Vec<_>>(),
                ["start", "die"]
            );
        }
    }

    #[test]
    fn events_of_one_moment_keep_their_order() {
        let scratch = Scratch::new();
        let bus = scratch.bus();
        for time in ["2030-01-01T00:00:05Z", "2030-01-01T00:00:05Z", "2030-01-01T00:00:00Z"] {
            bus.publish_at("container", "kill", "a", BTreeMap::new(), time, None);
        }
        let (history, _) = bus.listen();
        assert!(history.iter().map(|message| message.time_nano).is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn a_clock_that_is_set_back_is_followed() {
        let scratch = Scratch::new();
        let bus = scratch.bus();
        bus.publish_at("container", "start", "a", BTreeMap::new(), "2090-01-01T00:00:00Z", None);
        drop(bus);
        let bus = scratch.bus();
        bus.publish("container", "die", "a", BTreeMap::new());
        let (history, _) = bus.listen();
        assert_eq!(history.len(), 2);
        assert!(history[1].time_nano <= clock::nanoseconds(&clock::now()));
    }

    #[test]
    fn filters_find_by_name_image_label_and_prefix_of_action() {
        let actor = api::event::Actor {
            id: "abc".into(),
            attributes: attributes(&[("image", "busybox:1"), ("name", "web"), ("tier", "front")]),
        };
        let message = Message::new("container", "exec_start: sh", actor, 1);
        for wanted in [
            &[("container", "web")][..],
            &[("container", "ab")],
            &[("network", "we")],
            &[("image", "busybox")],
            &[("image", "busybox:1")],
            &[("event", "exec_start")],
            &[("label", "tier=front"), ("type", "container")],
        ] {
            assert!(matches(&filters(wanted), &message), "{wanted:?}");
        }
        for unwanted in
            [&[("container", "db")][..], &[("image", "alpine")], &[("event", "exec")], &[("network", "eb")]]
        {
            assert!(!matches(&filters(unwanted), &message), "{unwanted:?}");
        }
    }
}
