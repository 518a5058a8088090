//! What a registry holds after a push: Docker's own form for what was made or loaded here, and every byte as it was for
//! what came from a registry.

use blackbox::{IMAGE, World};
use serde_json::Value;

use crate::registry::Registry;

const SCHEMA_2: &str = "application/vnd.docker.distribution.manifest.v2+json";
const OCI: &str = "application/vnd.oci.image.manifest.v1+json";

/// The manifest behind a name, and its digest.
fn manifest(world: &World, repository: &str) -> (Value, String) {
    let url = format!("http://localhost:5000/v2/{repository}/manifests/latest");
    let accept = format!("Accept: {SCHEMA_2}, {OCI}");
    let content = world.host().run(&["curl", "-sf", "-H", &accept, &url]);
    let head = world.host().run(&["curl", "-sfI", "-H", &accept, &url]);
    let digest = head.lines().find_map(|line| line.strip_prefix("Docker-Content-Digest: "));
    let parsed = serde_json::from_str(&content).expect("a manifest is JSON");
    (parsed, digest.expect("the registry tells it").trim().to_owned())
}

fn layer_types(manifest: &Value) -> Vec<&str> {
    let layers = manifest["layers"].as_array().expect("a manifest has layers");
    layers.iter().map(|layer| layer["mediaType"].as_str().unwrap_or_default()).collect()
}

#[test]
fn what_was_made_here_is_pushed_in_dockers_form() {
    let world = World::start();
    let _registry = Registry::start(&world);
    world.wharf(&["run", "--name", "box", IMAGE, "sh", "-c", "echo new >/new"]).ok();
    world.wharf(&["commit", "box", "localhost:5000/committed"]).ok();
    world.wharf(&["rm", "box"]).ok();
    world.wharf(&["tag", IMAGE, "localhost:5000/loaded"]).ok();
    let saved = world.directory().join("saved.tar");
    // The child first: its parent cannot be removed while it is there.
    for (name, layers) in [("committed", 2), ("loaded", 1)] {
        let full = format!("localhost:5000/{name}");
        let id = world.wharf(&["images", "-q", "--no-trunc", &full]).ok();
        let pushed = world.wharf(&["push", &full]).ok();
        let (first, digest) = manifest(&world, name);
        assert!(pushed.contains(&format!("latest: digest: {digest} size: ")), "{pushed}");
        assert_eq!(first["mediaType"], SCHEMA_2);
        assert_eq!(first["config"]["mediaType"], "application/vnd.docker.container.image.v1+json");
        assert_eq!(first["config"]["digest"], id);
        let gzip = "application/vnd.docker.image.rootfs.diff.tar.gzip";
        assert_eq!(layer_types(&first), vec![gzip; layers]);

        // Again, by the other client: all is there.
        let again = world.docker(&["push", &full]).ok();
        assert_eq!(again.matches("Layer already exists").count(), layers, "{again}");
        assert!(again.contains(&digest), "{again}");
        // To a neighbour: what is known of the one is mounted into the other.
        let beside = format!("localhost:5000/beside/{name}");
        world.wharf(&["tag", &full, &beside]).ok();
        let mounted = world.wharf(&["push", &beside]).ok();
        assert!(mounted.contains(&format!("Mounted from {name}")), "{mounted}");
        assert_eq!(manifest(&world, &format!("beside/{name}")).1, digest);

        // What is kept in another form is still the same image, for every use.
        assert_eq!(world.wharf(&["run", "--rm", &full, "cat", "/www/index.html"]).ok(), "hello from inside");
        world.wharf(&["save", "-o", saved.to_str().unwrap(), &full]).ok();
        world.wharf(&["rmi", "-f", &id]).ok();
        world.wharf(&["load", "-i", saved.to_str().unwrap()]).ok();
        assert_eq!(world.wharf(&["images", "-q", "--no-trunc", &full]).ok(), id);
        world.wharf(&["rmi", &full]).ok();
        world.wharf(&["pull", &full]).ok();
        assert_eq!(world.wharf(&["images", "-q", "--no-trunc", &full]).ok(), id);
        world.wharf(&["rmi", "-f", &id]).ok();
    }
}

#[test]
fn what_came_from_a_registry_keeps_its_digest() {
    let world = World::start();
    let _registry = Registry::start(&world);
    world.wharf(&["tag", IMAGE, "localhost:5000/first"]).ok();
    world.wharf(&["push", "localhost:5000/first"]).ok();
    // The same image as other tools push it: an OCI manifest in one line.
    let (first, digest) = manifest(&world, "first");
    let descriptor = |of: &Value, kind: &str| serde_json::json!({ "mediaType": kind, "digest": of["digest"], "size": of["size"] });
    let other = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": OCI,
        "config": descriptor(&first["config"], "application/vnd.oci.image.config.v1+json"),
        "layers": [descriptor(&first["layers"][0], "application/vnd.oci.image.layer.v1.tar+gzip")],
    });
    let (kind, body) = (format!("Content-Type: {OCI}"), other.to_string());
    let url = "http://localhost:5000/v2/first/manifests/oci";
    world.host().run(&["curl", "-sf", "-X", "PUT", "-H", &kind, "-d", &body, url]);
    for tag in ["latest", "oci"] {
        world.wharf(&["rmi", "-f", world.wharf(&["images", "-q", IMAGE]).stdout.trim()]);
        let name = format!("localhost:5000/first:{tag}");
        world.wharf(&["pull", "-q", &name]).ok();
        let copy = format!("localhost:5000/copy-{tag}");
        world.wharf(&["tag", &name, &copy]).ok();
        world.wharf(&["push", &copy]).ok();
        let (copied, same) = manifest(&world, &format!("copy-{tag}"));
        assert_eq!(copied["mediaType"], if tag == "oci" { OCI } else { SCHEMA_2 });
        let digests = world.wharf(&["inspect", "-f", "{{join .RepoDigests \" \"}}", &name]).ok();
        assert!(
            digests.contains(&format!("first@{same}")) && digests.contains(&format!("@{same}")),
            "{digests}"
        );
        assert!(tag == "oci" || same == digest, "{same} was {digest}");
        world.wharf(&["rmi", &name, &copy]).ok();
    }
}
