//! What listeners hear of a container's networks and volumes: each start tells that they come, each end that they go.
//!
//! ```text
//!  mount… connect… start  ─────▶  disconnect… unmount… stop die
//! ```
//!
//! A restart policy keeps them here, for the shim does without the engine. It is told in the same way, as Docker does it:
//! who follows networks by their events (proxies, registries of services) must not believe that a container is away.

use std::collections::BTreeMap;

use api::event::kind::VOLUME;

use super::record::{MountKind, MountPoint, Record};
use super::state::Ended;
use crate::{Engine, clock};

/// A container's volumes are mounted, for a run or for a copy.
pub(super) fn mounted(engine: &Engine, record: &Record, time: &str) {
    for (name, driver, point, propagation) in volumes(record) {
        let more = [
            ("destination", point.destination.clone()),
            ("propagation", propagation.to_owned()),
            ("read/write", (!point.read_only).to_string()),
        ];
        publish(engine, record, "mount", name, driver, &more, time);
    }
}

pub(super) fn unmounted(engine: &Engine, record: &Record, time: &str) {
    for (name, driver, ..) in volumes(record) {
        publish(engine, record, "unmount", name, driver, &[], time);
    }
}

/// Networks and volumes of a run, together.
pub(super) fn arrived(engine: &Engine, record: &Record, time: &str) {
    mounted(engine, record, time);
    engine.network_events(record, "connect", time);
}

pub(super) fn left(engine: &Engine, record: &Record, time: &str) {
    engine.network_events(record, "disconnect", time);
    unmounted(engine, record, time);
}

/// What a `die` event says beside the usual.
pub(super) fn die_attributes(ended: &Ended) -> Vec<(&'static str, String)> {
    let lasted = match (clock::parse(&ended.started_at), clock::parse(&ended.finished_at)) {
        (Some(start), Some(end)) => (end.as_second() - start.as_second()).max(0),
        _ => 0,
    };
    vec![("execDuration", lasted.to_string()), ("exitCode", ended.code.to_string())]
}

fn volumes(record: &Record) -> impl Iterator<Item = (&str, &str, &MountPoint, &str)> {
    record.mounts.iter().filter_map(|point| match &point.kind {
        MountKind::Volume { name, driver, propagation, .. } => {
            Some((name.as_str(), driver.as_str(), point, propagation.as_str()))
        }
        _ => None,
    })
}

fn publish(
    engine: &Engine,
    record: &Record,
    action: &str,
    volume: &str,
    driver: &str,
    more: &[(&str, String)],
    time: &str,
) {
    let mut attributes = BTreeMap::from([
        ("container".to_owned(), record.id.to_string()),
        ("driver".to_owned(), driver.to_owned()),
    ]);
    attributes.extend(more.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
    engine.events_bus().publish_at(VOLUME, action, volume, attributes, time, None);
}

#[cfg(test)]
mod tests {
    use super::super::state::{Run, State};
    use super::*;

    #[test]
    fn a_clock_that_jumps_back_gives_no_negative_times() {
        let run = Run::starting("first".into(), false, &State::Created { failure: None });
        let mut ended = run.lost(0, clock::now());
        ended.started_at = "2026-01-01T00:10:00Z".into();
        ended.finished_at = "2026-01-01T00:00:00Z".into();
        assert_eq!(die_attributes(&ended)[0], ("execDuration", "0".to_owned()));
    }
}
