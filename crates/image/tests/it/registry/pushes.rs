//! Pushes: what is sent, what is not sent again, and what happens when it is cut.

use image::registry::Credentials;
use oci::digest::Digest;

use super::fake::{Fake, Fault, Guard};
use super::sessions::password;
use super::world::{Layer, Packing, World, layer, noise, publish};

/// A world that has pulled `app:v1` from a registry, and that registry.
async fn pulled(layers: &[Layer]) -> (Fake, World, image::pull::Pulled) {
    let (fake, world) = (Fake::start().await, World::new());
    publish(&fake, "app", "v1", "amd64", layers);
    let pulled = world.pull(&fake.name("app:v1")).await.unwrap();
    world.told();
    (fake, world, pulled)
}

#[tokio::test]
async fn an_image_goes_out_as_it_came() {
    let layer = layer("one", b"1", Packing::Zstd);
    let (diff_id, blob) = (layer.diff_id(), layer.descriptor().digest);
    let (source, world, pulled) = pulled(&[layer]).await;
    let target = Fake::start().await;
    let name = target.name("copy:v2");
    world.tag(&pulled.image, &name);
    world.push(&name, Credentials::Anonymous).await.unwrap();

    assert_eq!(target.stored_manifest("copy", "v2"), source.stored_manifest("app", "v1"));
    assert!(target.has_blob(&blob) && target.has_blob(&pulled.image.id));
    let told = world.told();
    let id = diff_id.short();
    assert_eq!(told[0], format!("The push refers to repository [{}]", target.name("copy")));
    assert_eq!(told[1..4], [format!("{id}: Preparing"), format!("{id}: Pushing"), format!("{id}: Pushed")]);
    assert!(told[4].contains("Pushed { tag: \"v2\""), "{told:?}");
    let by_digest = format!("{}@{}", target.name("copy"), pulled.top.digest);
    assert_eq!(world.images.resolve(&by_digest).unwrap().id, pulled.image.id);

    world.push(&name, Credentials::Anonymous).await.unwrap();
    assert!(world.told().contains(&format!("{id}: Layer already exists")));
    assert_eq!(target.count("PATCH"), 2);
}

#[tokio::test]
async fn a_layer_is_mounted_from_where_it_is() {
    let layer = layer("one", b"1", Packing::Gzip);
    let (id, blob) = (layer.diff_id(), layer.descriptor().digest);
    let (fake, world, pulled) = pulled(&[layer]).await;
    let name = fake.name("other:v1");
    world.tag(&pulled.image, &name);
    // The fake keeps blobs for all repositories together; it has not told us yet.
    fake.fault(&format!("HEAD /v2/other/blobs/{blob}"), Fault::Answer(404, Vec::new(), String::new()));
    world.push(&name, Credentials::Anonymous).await.unwrap();
    let mounted = format!("Mounted {{ id: {:?}, from: \"app\" }}", id.short());
    assert!(world.told().contains(&mounted));
    assert_eq!(fake.count("mount="), 1);
    assert_eq!(fake.count("PATCH"), 0);
}

#[tokio::test]
async fn cut_uploads_are_begun_again() {
    let layer = layer("large", &noise(600_000), Packing::Plain);
    let blob = layer.descriptor().digest;
    let (_source, world, pulled) = pulled(&[layer]).await;
    let target = Fake::start().await;
    let name = target.name("copy:v1");
    world.tag(&pulled.image, &name);
    target.fault("PATCH", Fault::HangUp(100_000));
    target.fault("POST", Fault::Answer(503, Vec::new(), String::new()));
    target.fault("PUT /v2/copy/manifests", Fault::Answer(502, Vec::new(), String::new()));
    world.push(&name, Credentials::Anonymous).await.unwrap();
    assert!(target.has_blob(&blob));
    assert!(target.stored_manifest("copy", "v1").is_some());
}

#[tokio::test]
async fn refusals() {
    let (_source, world, pulled) = pulled(&[layer("one", b"1", Packing::Gzip)]).await;
    let target = Fake::start().await;
    let name = target.name("copy:v1");
    assert_eq!(
        world.push(&name, Credentials::Anonymous).await.unwrap_err(),
        format!("An image does not exist locally with the tag: {}", target.name("copy"))
    );
    world.tag(&pulled.image, &name);
    assert_eq!(
        world.push(&target.name("copy:v2"), Credentials::Anonymous).await.unwrap_err(),
        format!("tag does not exist: {}", target.name("copy:v2"))
    );
    let digest = Digest::sha256_of(b"x");
    assert_eq!(
        world.push(&format!("{}@{digest}", target.name("copy")), Credentials::Anonymous).await.unwrap_err(),
        "cannot push a digest reference"
    );
    let denied = r#"{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}"#;
    target.fault("POST", Fault::Answer(403, Vec::new(), denied.into()));
    assert_eq!(
        world.push(&name, Credentials::Anonymous).await.unwrap_err(),
        "denied: requested access to the resource is denied"
    );
    target.guard(Guard::Bearer { realm: target.url("/token"), password: Some("me:secret".into()) });
    let error = world.push(&name, Credentials::Anonymous).await.unwrap_err();
    assert!(error.ends_with("unauthorized: incorrect username or password"), "{error}");
    assert!(target.stored_manifest("copy", "v1").is_none());
}

#[tokio::test]
async fn with_a_token() {
    let (_source, world, pulled) = pulled(&[layer("one", b"1", Packing::Gzip)]).await;
    let target = Fake::start().await;
    let name = target.name("copy:v1");
    world.tag(&pulled.image, &name);
    target.guard(Guard::Bearer { realm: target.url("/token"), password: Some("me:secret".into()) });
    world.push(&name, password()).await.unwrap();
    let asked = target.log().into_iter().find(|request| request.path.starts_with("/token")).unwrap();
    assert!(asked.path.contains("repository%3Acopy%3Apull%2Cpush"), "{}", asked.path);
}
