//! The same against Debian's `docker-registry`, where it is installed: what a real registry thinks of us.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use image::registry::Credentials;
use scratch::Directory;

use super::fake::Fake;
use super::world::{Packing, World, layer, noise, publish};

struct Distribution {
    child: Child,
    address: String,
    _directory: Directory,
}

impl Drop for Distribution {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port below those that the kernel gives to whoever asks for any: it is still free when the registry takes it.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = (std::process::id() % 10_000) as u16;
    let mut ports =
        std::iter::repeat_with(|| 20_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000);
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("the iterator has no end")
}

/// Starts a registry with its data below a directory of its own; `None`, and a note, where there is none.
async fn distribution() -> Option<Distribution> {
    const PROGRAM: &str = "/usr/bin/docker-registry";
    if !std::path::Path::new(PROGRAM).exists() {
        scratch::skip(&format!("{PROGRAM} is missing (Debian package docker-registry)"));
        return None;
    }
    let directory = Directory::new("registry");
    let port = free_port();
    let address = format!("127.0.0.1:{port}");
    let configuration = format!(
        "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: {address}}}\n",
        directory.display()
    );
    let path = directory.join("config.yml");
    std::fs::write(&path, configuration).unwrap();
    let child = Command::new(PROGRAM)
        .arg("serve")
        .arg(&path)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let distribution = Distribution { child, address, _directory: directory };
    for _ in 0..5000 {
        if tokio::net::TcpStream::connect(&distribution.address).await.is_ok() {
            return Some(distribution);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{PROGRAM} did not begin to listen");
}

#[tokio::test]
async fn there_and_back() {
    let Some(registry) = distribution().await else { return };
    let (fake, world) = (Fake::start().await, World::new());
    let layers = [
        layer("text", b"hello", Packing::Gzip),
        layer("noise", &noise(3_000_000), Packing::Zstd),
        layer("plain", b"plain", Packing::Plain),
    ];
    publish(&fake, "app", "latest", "amd64", &layers);
    let pulled = world.pull(&fake.name("app")).await.unwrap();
    for name in ["one/app:v1", "two/app:v1"] {
        let name = format!("{}/{name}", registry.address);
        world.tag(&pulled.image, &name);
        world.push(&name, Credentials::Anonymous).await.unwrap();
    }
    let told = world.told();
    assert!(told.iter().any(|line| line.contains("from: \"one/app\"")), "{told:?}");

    let other = World::new();
    let back = other.pull(&format!("{}/two/app:v1", registry.address)).await.unwrap();
    assert_eq!(
        (back.image.id.clone(), back.top.digest.clone()),
        (pulled.image.id.clone(), pulled.top.digest.clone())
    );
    assert_eq!(other.file(&back.image, "text").as_deref(), Some("hello"));

    let error = other.pull(&format!("{}/two/app:v2", registry.address)).await.unwrap_err();
    let name = format!("{}/two/app:v2", registry.address);
    assert_eq!(error, format!("manifest for {name} not found: manifest unknown: manifest unknown"));
    let name = format!("{}/two/app", registry.address).parse().unwrap();
    assert_eq!(other.pulls.tags(&name, &Credentials::Anonymous).await.unwrap(), ["v1"]);
}

#[tokio::test]
async fn interrupted_and_continued() {
    let Some(registry) = distribution().await else { return };
    let (fake, world) = (Fake::start().await, World::new());
    let large = layer("noise", &noise(4_000_000), Packing::Plain);
    let blob = large.descriptor().digest;
    publish(&fake, "app", "latest", "amd64", &[large]);
    let pulled = world.pull(&fake.name("app")).await.unwrap();
    let name = format!("{}/app:v1", registry.address);
    world.tag(&pulled.image, &name);
    world.push(&name, Credentials::Anonymous).await.unwrap();

    // What an earlier pull has left: the first half.
    let other = World::new();
    let content = std::fs::read(world.images.blobs().path(&blob)).unwrap();
    let mut ingest = other.images.blobs().ingest(&blob, content.len() as u64).unwrap();
    ingest.write(&content[..content.len() / 2]).unwrap();
    drop(ingest);
    other.pull(&name).await.unwrap();
    assert!(other.images.blobs().contains(&blob));
}
