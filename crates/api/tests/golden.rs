//! Bodies that Docker 28.5.2 sent must survive our types byte for byte.
//!
//! Each file under `golden/` is one response as it came from the wire. Reading it with Go's leniency
//! and writing it again must give the same bytes: same members, same order, same `null`, `[]`, absent.

use std::fmt::Debug;
use std::path::Path;

use api::{container, event, exec, image, json, network, system, volume};
use serde::Serialize;
use serde::de::DeserializeOwned;

fn read(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name).with_extension("json");
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn survives<T: DeserializeOwned + Serialize + Debug + PartialEq>(name: &str) -> T {
    let bytes = read(name);
    let body: T = json::from_slice(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
    let again = json::to_vec(&body).unwrap();
    if again != bytes {
        let (ours, docker) = (String::from_utf8_lossy(&again), String::from_utf8_lossy(&bytes));
        let common = ours.bytes().zip(docker.bytes()).take_while(|(a, b)| a == b).count();
        let from = common.saturating_sub(80);
        panic!(
            "{name} differs:\n ours   …{}\n docker …{}",
            ours.get(from..(common + 80).min(ours.len())).unwrap_or_default(),
            docker.get(from..(common + 80).min(docker.len())).unwrap_or_default(),
        );
    }
    let plain: T =
        serde_json::from_slice(&again).unwrap_or_else(|error| panic!("{name}, by plain serde: {error}"));
    assert_eq!(plain, body, "{name}");
    body
}

#[test]
fn containers() {
    let rich: container::Inspect = survives("container-inspect-rich");
    assert_eq!(rich.host_config.resources.memory, 64 << 20);
    assert_eq!(rich.state.status, container::Status::Running);
    assert!(rich.size_root_fs.is_some());
    survives::<container::Inspect>("container-inspect-plain");
    survives::<container::Inspect>("container-inspect-created");
    assert_eq!(survives::<Vec<container::Summary>>("container-list").len(), 3);
    survives::<container::Stats>("container-stats");
    survives::<container::Stats>("container-stats-stopped");
    survives::<container::Top>("container-top");
    survives::<Option<Vec<container::Change>>>("container-changes");
    survives::<Option<Vec<container::Change>>>("container-changes-none");
    survives::<container::UpdateResponse>("container-update");
}

#[test]
fn execs() {
    survives::<exec::CreateResponse>("exec-create");
    survives::<exec::Inspect>("exec-inspect-running");
}

#[test]
fn networks() {
    survives::<Vec<network::Inspect>>("network-list");
    survives::<network::Inspect>("network-inspect");
    survives::<network::Inspect>("network-inspect-bridge");
    survives::<network::PruneReport>("network-prune");
}

#[test]
fn volumes() {
    survives::<volume::List>("volume-list");
    survives::<volume::Volume>("volume-inspect");
    survives::<volume::PruneReport>("volume-prune");
}

#[test]
fn images() {
    survives::<Vec<image::Summary>>("image-list");
    survives::<Vec<image::Summary>>("image-list-all");
    survives::<image::Inspect>("image-inspect");
    survives::<Vec<image::History>>("image-history");
    survives::<Vec<image::Deleted>>("image-delete");
    survives::<image::PruneReport>("image-prune");
}

#[test]
fn system() {
    survives::<system::Version>("version");
    survives::<system::Info>("info");
    survives::<system::DiskUsage>("df");
    survives::<system::BuildPruneReport>("build-prune");
}

#[test]
fn events() {
    let text = String::from_utf8(read("events")).unwrap();
    for line in text.lines() {
        let message: event::Message = json::from_slice(line.as_bytes()).unwrap();
        assert_eq!(serde_json::to_string(&message).unwrap(), line);
        let rebuilt =
            event::Message::new(&message.kind, &message.action, message.actor.clone(), message.time_nano);
        assert_eq!(rebuilt, message, "the legacy members follow from the others");
    }
}
