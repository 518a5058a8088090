//! Pulls: from friendly registries, from flaky ones, from liars.

use std::time::Duration;

use image::registry::{Credentials, Insecure, parse_mirror};
use oci::digest::Digest;
use oci::image::{Index, media_type};
use oci::platform::Platform;
use scratch::Directory;

use super::fake::{Fake, Fault, Guard};
use super::sessions::password;
use super::world::{Layer, Packing, World, layer, noise, options, publish, publish_as};

const ARCH: &str = "amd64";

fn small() -> Vec<Layer> {
    vec![
        layer("one", b"1", Packing::Gzip),
        layer("two", b"2", Packing::Zstd),
        layer("three", b"3", Packing::Plain),
    ]
}

fn large() -> Layer {
    layer("large", &noise(400_000), Packing::Gzip)
}

#[tokio::test]
async fn an_image_arrives_with_a_story() {
    let (fake, world) = (Fake::start().await, World::new());
    let layers = small();
    let manifest = publish(&fake, "app", "v1", ARCH, &layers);
    let name = fake.name("app:v1");
    let pulled = world.pull(&name).await.unwrap();
    assert!(pulled.updated);
    for (path, content) in [("one", "1"), ("two", "2"), ("three", "3")] {
        assert_eq!(world.file(&pulled.image, path).as_deref(), Some(content));
    }
    assert_eq!(world.images.resolve(&name).unwrap().id, pulled.image.id);
    let by_digest = format!("{}@{}", fake.name("app"), manifest.digest);
    assert_eq!(world.images.resolve(&by_digest).unwrap().id, pulled.image.id);

    let told = world.told();
    let id = layers[0].descriptor().digest.short().to_owned();
    assert_eq!(told[0], "v1: Pulling from app");
    let story: Vec<&str> = told.iter().filter_map(|line| line.strip_prefix(&format!("{id}: "))).collect();
    assert_eq!(story[0], "Pulling fs layer");
    assert!(!told.iter().any(|line| line.ends_with("Waiting")), "three layers need not wait");
    let end = ["Downloading", "Verifying Checksum", "Download complete", "Extracting", "Pull complete"];
    assert_eq!(story[story.len() - 5..], end);
    assert_eq!(
        told[told.len() - 2..],
        [format!("Digest: {}", manifest.digest), format!("Status: Downloaded newer image for {name}")]
    );

    let again = world.pull(&name).await.unwrap();
    assert!(!again.updated);
    let told = world.told();
    assert!(told.contains(&format!("{id}: Already exists")), "{told:?}");
    assert_eq!(told.last().unwrap(), &format!("Status: Image is up to date for {name}"));
    assert_eq!(fake.count("GET /v2/app/blobs/"), 4);
}

#[tokio::test]
async fn a_fourth_layer_waits() {
    let (fake, world) = (Fake::start().await, World::new());
    let mut layers = small();
    layers.push(layer("four", b"4", Packing::Gzip));
    publish(&fake, "app", "latest", ARCH, &layers);
    world.pull(&fake.name("app")).await.unwrap();
    let waiting = format!("{}: Waiting", layers[3].descriptor().digest.short());
    assert!(world.told().contains(&waiting));
}

#[tokio::test]
async fn by_digest() {
    let (fake, world) = (Fake::start().await, World::new());
    let manifest = publish(&fake, "app", "v1", ARCH, &small());
    let name = format!("{}@{}", fake.name("app"), manifest.digest);
    let pulled = world.pull(&name).await.unwrap();
    assert_eq!(world.told()[0], format!("{name}: Pulling from app"));
    let names = world.images.names_of(&pulled.image.id);
    assert_eq!((names.tags.len(), names.digests.len()), (0, 1));
}

#[tokio::test]
async fn the_platform_decides() {
    let (fake, world) = (Fake::start().await, World::new());
    let mut manifests = Vec::new();
    for architecture in ["arm64", "amd64"] {
        let layers = [layer("arch", architecture.as_bytes(), Packing::Gzip)];
        let mut entry = publish(&fake, "app", architecture, architecture, &layers);
        entry.platform = Some(Platform::new("linux", architecture, ""));
        manifests.push(entry);
    }
    let index = Index {
        schema_version: 2,
        media_type: Some(media_type::OCI_INDEX.into()),
        artifact_type: None,
        manifests,
        subject: None,
        annotations: Default::default(),
    };
    let index = serde_json::to_vec(&index).unwrap();
    let digest = fake.manifest("app", "latest", media_type::OCI_INDEX, &index);
    let name = fake.name("app");
    for architecture in ["arm64", "amd64"] {
        let platform = format!("linux/{architecture}");
        let pulled = world.pull_as(&name, Some(&platform), Credentials::Anonymous).await.unwrap();
        assert_eq!(pulled.top.digest, digest);
        assert_eq!(world.file(&pulled.image, "arch").as_deref(), Some(architecture));
    }
    let remote = world.pulls.inspect(&name.parse().unwrap(), &Credentials::Anonymous).await.unwrap();
    assert_eq!(remote.descriptor.digest, digest);
    let platforms: Vec<String> = remote.platforms.iter().map(Platform::to_string).collect();
    assert_eq!(platforms, ["linux/arm64", "linux/amd64"]);
    let one =
        world.pulls.inspect(&fake.name("app:arm64").parse().unwrap(), &Credentials::Anonymous).await.unwrap();
    assert_eq!(one.platforms, [Platform::new("linux", "arm64", "")]);

    let error = world.pull_as(&name, Some("linux/s390x"), Credentials::Anonymous).await.unwrap_err();
    assert_eq!(error, "no matching manifest for linux/s390x in the manifest list entries");
}

#[tokio::test]
async fn names_that_lead_nowhere() {
    let (fake, world) = (Fake::start().await, World::new());
    let name = fake.name("app:none");
    let error = world.pull(&name).await.unwrap_err();
    assert_eq!(error, format!("manifest for {name} not found: manifest unknown: manifest unknown"));

    let answer = |status, code| {
        Fault::Answer(status, Vec::new(), format!(r#"{{"errors":[{{"code":"{code}","message":""}}]}}"#))
    };
    fake.fault("GET /v2/app/manifests", answer(404, "NAME_UNKNOWN"));
    let error = world.pull(&name).await.unwrap_err();
    let repository = fake.name("app");
    assert_eq!(
        error,
        format!("repository {repository} not found: name unknown: repository name not known to registry")
    );
    fake.fault("GET /v2/app/manifests", answer(403, "DENIED"));
    assert_eq!(
        world.pull(&name).await.unwrap_err(),
        format!(
            "pull access denied for {repository}, repository does not exist or may require 'docker login': denied: \
             requested access to the resource is denied"
        )
    );
    assert!(world.is_clean().await);
}

#[tokio::test]
async fn formats_that_are_no_images() {
    let (fake, world) = (Fake::start().await, World::new());
    let name = fake.name("app:x");
    fake.manifest("app", "x", media_type::DOCKER_SCHEMA1_SIGNED, br#"{"schemaVersion":1,"fsLayers":[]}"#);
    let error = world.pull(&name).await.unwrap_err();
    assert!(error.starts_with("[DEPRECATION NOTICE] Docker Image Format v1 and"), "{error}");
    assert!(error.contains(&format!("Suggest the author of {name} to upgrade")), "{error}");

    let chart = format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"application/vnd.cncf.helm.config.v1+json","digest":"{}","size":1}},"layers":[]}}"#,
        Digest::sha256_of(b"x")
    );
    fake.manifest("app", "x", media_type::OCI_MANIFEST, chart.as_bytes());
    assert_eq!(
        world.pull(&name).await.unwrap_err(),
        "Encountered remote \"application/vnd.cncf.helm.config.v1+json\"(unknown) when fetching"
    );
}

#[tokio::test]
async fn a_cut_download_goes_on_where_it_was() {
    let (fake, world) = (Fake::start().await, World::new());
    let layer = large();
    let blob = layer.descriptor().digest;
    publish(&fake, "app", "latest", ARCH, &[layer]);
    for fault in [Fault::Cut(100_000), Fault::Stall(50_000), Fault::Answer(503, Vec::new(), String::new())] {
        fake.fault(blob.hex(), fault);
    }
    let pulled = world.pull(&fake.name("app")).await.unwrap();
    assert_eq!(world.file(&pulled.image, "large").map(|content| content.len()), None, "noise is no text");
    let ranges: Vec<String> = fake
        .log()
        .iter()
        .filter(|request| request.path.ends_with(blob.hex()))
        .map(|request| request.header("range").unwrap_or("none").to_owned())
        .collect();
    assert_eq!(ranges, ["none", "bytes=100000-", "bytes=150000-", "bytes=150000-"]);
    assert!(world.told().iter().any(|line| line.ends_with("Retrying in 1 second")));
}

#[tokio::test]
async fn an_abandoned_pull_is_continued_by_the_next_engine() {
    let (fake, world) = (Fake::start().await, World::new());
    let layer = large();
    let blob = layer.descriptor().digest;
    publish(&fake, "app", "latest", ARCH, &[layer]);
    fake.pace(Duration::from_millis(2));
    let name = fake.name("app");
    let partial = world.directory.join(format!("blobs/ingest/sha256-{}", blob.hex()));
    tokio::select! {
        _ = world.pull(&name) => panic!("it was to be abandoned"),
        () = async { while std::fs::metadata(&partial).map_or(0, |m| m.len()) < 50_000 { tokio::task::yield_now().await } } => {}
    }
    assert!(world.images.list().is_empty());
    let world = world.restart().await;
    world.pull(&name).await.unwrap();
    let log = fake.log();
    let ranges: Vec<&str> = log.iter().filter_map(|request| request.header("range")).collect();
    assert_eq!(ranges.len(), 1);
    let start: u64 = ranges[0].trim_start_matches("bytes=").trim_end_matches('-').parse().unwrap();
    assert!(start >= 50_000, "{start}");
}

#[tokio::test]
async fn a_registry_without_ranges() {
    let (fake, world) = (Fake::start().await, World::new());
    let layer = large();
    let blob = layer.descriptor().digest;
    publish(&fake, "app", "latest", ARCH, &[layer]);
    fake.fault(blob.hex(), Fault::Cut(100_000));
    fake.fault(blob.hex(), Fault::NoRange);
    world.pull(&fake.name("app")).await.unwrap();
    assert_eq!(fake.count(blob.hex()), 2);
}

#[tokio::test]
async fn patience_ends() {
    let (fake, world) = (Fake::start().await, World::new());
    let layer = large();
    let blob = layer.descriptor().digest;
    publish(&fake, "app", "latest", ARCH, &[layer]);
    for _ in 0..4 {
        fake.fault(blob.hex(), Fault::Cut(10));
    }
    assert_eq!(world.pull(&fake.name("app")).await.unwrap_err(), "unexpected EOF");
    assert!(world.is_clean().await);
    world.pull(&fake.name("app")).await.unwrap();
}

#[tokio::test]
async fn wrong_bytes_are_never_unpacked() {
    let (fake, world) = (Fake::start().await, World::new());
    let layer = large();
    let blob = layer.descriptor().digest;
    publish(&fake, "app", "latest", ARCH, &[layer]);
    fake.fault(blob.hex(), Fault::Corrupt);
    let error = world.pull(&fake.name("app")).await.unwrap_err();
    assert_eq!(error, format!("filesystem layer verification failed for digest {blob}"));
    assert!(world.is_clean().await);
    assert!(!world.images.blobs().contains(&blob));

    // Bad bytes from an earlier try are found out and replaced.
    fake.fault(blob.hex(), Fault::Cut(100_000));
    for _ in 0..3 {
        fake.fault(blob.hex(), Fault::Answer(503, Vec::new(), String::new()));
    }
    world.pull(&fake.name("app")).await.unwrap_err();
    let partial = world.directory.join(format!("blobs/ingest/sha256-{}", blob.hex()));
    std::fs::write(&partial, noise(100_000)).unwrap();
    world.pull(&fake.name("app")).await.unwrap();
}

#[tokio::test]
async fn a_config_that_lies_about_a_layer() {
    let (fake, world) = (Fake::start().await, World::new());
    let layers = [layer("one", b"1", Packing::Gzip)];
    let other = Digest::sha256_of(b"other");
    publish_as(&fake, "app", "latest", ARCH, &layers, std::slice::from_ref(&other));
    let error = world.pull(&fake.name("app")).await.unwrap_err();
    assert!(error.contains(other.as_str()) && error.contains(layers[0].diff_id().as_str()), "{error}");
    assert!(world.is_clean().await);
}

#[tokio::test]
async fn two_pulls_share_the_work() {
    let (fake, world) = (Fake::start().await, World::new());
    let layer = large();
    let blob = layer.descriptor().digest;
    publish(&fake, "app", "latest", ARCH, &[layer]);
    fake.pace(Duration::from_millis(1));
    let name = fake.name("app");
    let (one, two) = tokio::join!(world.pull(&name), world.pull(&name));
    assert_eq!(one.unwrap().image.id, two.unwrap().image.id);
    assert_eq!(fake.count(&format!("GET /v2/app/blobs/{blob}")), 1);
}

#[tokio::test]
async fn one_that_gives_up_leaves_the_other_alone() {
    let (fake, world) = (Fake::start().await, World::new());
    let layer = large();
    let blob = layer.descriptor().digest;
    publish(&fake, "app", "latest", ARCH, &[layer]);
    fake.pace(Duration::from_millis(1));
    let name = fake.name("app");
    let quitter = tokio::time::timeout(Duration::from_millis(40), world.pull(&name));
    let (_, stayer) = tokio::join!(quitter, world.pull(&name));
    stayer.unwrap();
    assert_eq!(fake.count(&format!("GET /v2/app/blobs/{blob}")), 1);
}

#[tokio::test]
async fn a_busy_registry_is_given_time() {
    let (fake, world) = (Fake::start().await, World::new());
    publish(&fake, "app", "latest", ARCH, &small());
    let busy = || Fault::Answer(429, vec![("Retry-After", "0".into())], String::new());
    fake.fault("HEAD /v2/app/manifests", busy());
    fake.fault("GET /v2/app/manifests", busy());
    fake.fault("/blobs/", busy());
    fake.fault("/blobs/", busy());
    world.pull(&fake.name("app")).await.unwrap();
}

#[tokio::test]
async fn mirrors_come_first_and_see_no_credentials() {
    let (broken, mirror) = (Fake::start().await, Fake::start().await);
    publish(&mirror, "library/app", "latest", ARCH, &small());
    let mut options = options();
    options.mirrors = vec![parse_mirror(&broken.url("/")).unwrap(), parse_mirror(&mirror.url("/")).unwrap()];
    let world = World::open(Directory::new("registry"), options);
    world.pull_as("app", None, password()).await.unwrap();
    assert_eq!(world.told().last().unwrap(), "Status: Downloaded newer image for app:latest");
    assert!(!broken.log().is_empty());
    for request in broken.log().iter().chain(&mirror.log()) {
        assert_eq!(request.header("authorization"), None);
    }
}

#[tokio::test]
async fn private_images_need_the_right_person() {
    let (fake, world) = (Fake::start().await, World::new());
    publish(&fake, "app", "latest", ARCH, &small());
    fake.guard(Guard::Bearer { realm: fake.url("/token"), password: Some("me:secret".into()) });
    let name = fake.name("app");
    let error = world.pull(&name).await.unwrap_err();
    assert!(error.ends_with("unauthorized: incorrect username or password"), "{error}");
    world.pull_as(&name, None, password()).await.unwrap();
}

#[tokio::test]
async fn through_a_proxy() {
    let proxy = Fake::start().await;
    publish(&proxy, "app", "latest", ARCH, &small());
    let mut options = options();
    options.insecure = Insecure::parse(["registry.invalid:5000"]).unwrap();
    options.proxies.http = Some(proxy.url(""));
    options.proxies.https = Some(proxy.url(""));
    let world = World::open(Directory::new("registry"), options.clone());
    world.pull("registry.invalid:5000/app").await.unwrap();
    assert_eq!(proxy.count("CONNECT registry.invalid:5000"), 1);

    options.proxies.none = Some("registry.invalid".into());
    let world = World::open(Directory::new("registry"), options);
    let error = world.pull("registry.invalid:5000/app").await.unwrap_err();
    assert!(error.contains("dial tcp: lookup registry.invalid"), "{error}");
}
