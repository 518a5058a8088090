//! Images by name and id: load and save, tag and remove, with Docker's words.

use image::images::{Removed, Usage};
use image::{Error, Kind, Progress};
use oci::digest::Digest;
use oci::reference::Reference;
use std::collections::HashSet;
use std::sync::Mutex;

use crate::world::{Tar, World, gzip, quiet};

/// An archive as `docker save` wrote it before it was an OCI layout, the list last.
fn docker_archive(tags: &[&str], text: &str, pack: fn(&[u8]) -> Vec<u8>) -> (Vec<u8>, Digest) {
    let layer = Tar::new().file("file", text).end();
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux", "created": "2020-01-02T03:04:05Z", "config": {"Cmd": ["/x"]},
        "rootfs": {"type": "layers", "diff_ids": [Digest::sha256_of(&layer)]},
        "history": [{"created": "2020-01-02T03:04:05Z", "created_by": "ADD file"}, {"created_by": "CMD", "empty_layer": true}],
    })
    .to_string();
    let manifest =
        serde_json::json!([{"Config": "config.json", "RepoTags": tags, "Layers": ["aaa/layer.tar"]}]);
    let id = Digest::sha256_of(config.as_bytes());
    let layer = pack(&layer);
    let archive = Tar::new()
        .directory("aaa/")
        .file("aaa/VERSION", "1.0")
        .member(tar::EntryType::Regular, "bbb", "", &layer, |_| {})
        .symlink("aaa/layer.tar", "../bbb")
        .file("config.json", &config)
        .file("manifest.json", &manifest.to_string())
        .end();
    (archive, id)
}

fn plain(bytes: &[u8]) -> Vec<u8> {
    bytes.to_vec()
}

fn nobody(_: &Digest) -> Vec<Usage> {
    Vec::new()
}

fn load(world: &World, tags: &[&str], text: &str) -> Digest {
    let (archive, id) = docker_archive(tags, text, plain);
    assert_eq!(world.images.load(&archive[..], &[], &quiet).unwrap()[0].id, id);
    id
}

fn familiar(names: &[Reference]) -> Vec<String> {
    names.iter().map(Reference::familiar).collect()
}

fn told(removed: Result<Vec<Removed>, Error>) -> Vec<String> {
    (removed.unwrap().into_iter())
        .map(|r| match r {
            Removed::Untagged { name, .. } => format!("Untagged: {}", name.familiar()),
            Removed::Image(id) => format!("Deleted: {id}"),
            Removed::Layer(_) => "Deleted: layer".into(),
        })
        .collect()
}

#[test]
fn archives_of_every_packing_load() {
    for (pack, outer) in [
        (plain as fn(&[u8]) -> Vec<u8>, plain as fn(&[u8]) -> Vec<u8>),
        (gzip, gzip),
        (plain, |b| zstd::encode_all(b, 1).unwrap()),
    ] {
        let world = World::new("load");
        let (archive, id) = docker_archive(&["app:1", "localhost:5000/app:2"], "hello", pack);
        let lines = Mutex::new(Vec::new());
        let sink = |p: Progress| {
            if let Progress::Stream(text) = p {
                lines.lock().unwrap().push(text);
            }
        };
        let loaded = world.images.load(&outer(&archive)[..], &[], &sink).unwrap();
        assert_eq!((loaded.len(), &loaded[0].id), (1, &id));
        assert_eq!(*lines.lock().unwrap(), ["Loaded image: app:1\n", "Loaded image: localhost:5000/app:2\n"]);
        let image = world.images.resolve("app:1").unwrap();
        assert_eq!((image.size, image.layers.len()), (5, 1));
        let world = world.reopen();
        world.assert_clean();
        assert_eq!(*world.images.resolve("app:1").unwrap(), *image);
        let lowers = world.images.layers().lowers(image.diff_ids()).unwrap();
        assert_eq!(std::fs::read_to_string(lowers[0].join("file")).unwrap(), "hello");
    }
}

#[test]
fn an_image_that_comes_again_leaves_nothing_of_what_it_came_in_before() {
    let world = World::new("again");
    let blobs = || world.images.blobs().list().unwrap().into_iter().map(|blob| blob.digest);
    for pack in [plain as fn(&[u8]) -> Vec<u8>, gzip, plain] {
        let (archive, id) = docker_archive(&["app:1"], "hello", pack);
        world.images.load(&archive[..], &[], &quiet).unwrap();
        let image = world.images.get(&id).unwrap();
        let parts: HashSet<Digest> =
            [image.manifest.digest.clone(), image.layers[0].digest.clone(), id].into();
        assert_eq!(blobs().collect::<HashSet<Digest>>(), parts);
        let lowers = world.images.layers().lowers(image.diff_ids()).unwrap();
        assert_eq!(std::fs::read_to_string(lowers[0].join("file")).unwrap(), "hello");
    }
    world.images.remove("app:1", false, true, &nobody).unwrap();
    assert_eq!(blobs().count(), 0);
}

#[test]
fn what_is_saved_loads_again_with_the_same_ids() {
    let world = World::new("save");
    let one = load(&world, &["one:1", "one:2"], "one");
    let two = load(&world, &["two:latest"], "two");
    let mut archive = Vec::new();
    world.images.save(&["one".into(), "two:latest".into()], &[], &mut archive).unwrap();
    let mut again = Vec::new();
    world.images.save(&["one".into(), "two:latest".into()], &[], &mut again).unwrap();
    assert!(archive == again, "two saves of one image differ");

    let other = World::new("save-other");
    let loaded = other.images.load(&archive[..], &[], &quiet).unwrap();
    assert_eq!(loaded.iter().map(|l| l.id.clone()).collect::<Vec<_>>(), [one.clone(), two]);
    assert_eq!(familiar(&other.images.names_of(&one).tags), ["one:1", "one:2"]);
    let mut third = Vec::new();
    other.images.save(&["one".into(), "two:latest".into()], &[], &mut third).unwrap();
    assert!(archive == third, "a loaded image saves differently");

    // By id, without names.
    for id in [&one.hex()[..12], one.as_str()] {
        let mut nameless = Vec::new();
        world.images.save(&[id.into()], &[], &mut nameless).unwrap();
        let text = String::from_utf8_lossy(&nameless);
        assert!(text.contains(r#""RepoTags":null"#) && !text.contains("repositories"));
    }
}

#[test]
fn an_oci_layout_loads_with_its_manifest() {
    let world = World::new("layout");
    load(&world, &["app:1"], "layout");
    let mut archive = Vec::new();
    world.images.save(&["app:1".into()], &[], &mut archive).unwrap();
    // The same without Docker's list: only the layout is left.
    let mut reader = image::archive::Reader::new(&archive[..], Default::default());
    let mut writer = image::archive::Writer::new(Vec::new());
    let mut manifest = None;
    while let Some(entry) = reader.next().unwrap() {
        let mut data = Vec::new();
        std::io::Read::read_to_end(&mut reader, &mut data).unwrap();
        if entry.name() == "index.json" {
            let index: oci::image::Index = serde_json::from_slice(&data).unwrap();
            manifest = Some(index.manifests[0].digest.clone());
        }
        if entry.name() != "manifest.json" && entry.name() != "repositories" {
            writer.add_file(&entry, &data[..]).unwrap();
        }
    }
    let layout = writer.finish().unwrap();
    let other = World::new("layout-other");
    other.images.load(&layout[..], &[], &quiet).unwrap();
    let image = other.images.resolve("app:1").unwrap();
    assert_eq!(Some(&image.manifest.digest), manifest.as_ref());
}

#[test]
fn bad_archives_are_named_and_leave_nothing() {
    let layer = Tar::new().file("file", "x").end();
    let config = |diff_id: Digest| {
        format!(
            r#"{{"os":"linux","architecture":"amd64","rootfs":{{"type":"layers","diff_ids":["{diff_id}"]}}}}"#
        )
    };
    let good = config(Digest::sha256_of(&layer));
    let list = |config: &str, layers: &str| {
        format!(r#"[{{"Config":"{config}","RepoTags":["a:1"],"Layers":{layers}}}]"#)
    };
    let layer_text = String::from_utf8(layer.clone()).unwrap();
    let cases = [
        (Tar::new().file("readme", "x").end(), "neither a manifest.json nor an index.json"),
        (Tar::new().end(), "no files"),
        (b"<html>".repeat(200), "invalid tar header"),
        (Tar::new().file("manifest.json", "{").end(), "manifest.json"),
        (Tar::new().file("manifest.json", &list("c", "[]")).end(), "does not contain \"c\""),
        (
            Tar::new().file("c", &good).file("manifest.json", &list("c", "[\"l\"]")).end(),
            "does not contain \"l\"",
        ),
        (
            Tar::new().file("c", &good).file("manifest.json", &list("c", "[]")).end(),
            "layers length mismatch: expected 1, got 0",
        ),
        (
            Tar::new()
                .file("c", &config(Digest::sha256_of(b"other")))
                .file("l", &layer_text)
                .file("manifest.json", &list("c", "[\"l\"]"))
                .end(),
            "layer has diff ID",
        ),
        (Tar::new().file(&format!("blobs/sha256/{}", "0".repeat(64)), "x").end(), "has digest"),
        (Tar::new().file("c", "[]").file("manifest.json", &list("c", "[]")).end(), "invalid image config"),
        (
            Tar::new()
                .file("c", &good)
                .file("l", &layer_text)
                .file("manifest.json", &list("c", "[\"l\"]").replace("a:1", "A B"))
                .end(),
            "invalid tag",
        ),
    ];
    for (archive, message) in cases {
        let world = World::new("bad");
        let error =
            world.images.load(&archive[..], &[], &quiet).err().unwrap_or_else(|| panic!("loaded: {message}"));
        assert!(error.to_string().contains(message), "{error} does not say {message}");
        assert!(matches!(error.kind(), Kind::Hostile | Kind::Invalid), "{error}");
        assert!(world.images.list().is_empty());
        assert!(world.images.blobs().list().unwrap().is_empty(), "{message}: blobs stay");
    }
}

#[test]
fn a_platform_may_be_asked_for() {
    let world = World::new("platform");
    let (archive, id) = docker_archive(&["a:1"], "x", plain);
    let platform = |text: &str| text.parse::<oci::platform::Platform>().unwrap();
    let error = world.images.load(&archive[..], &[platform("linux/arm64")], &quiet).unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    world.images.load(&archive[..], &[platform("linux/amd64")], &quiet).unwrap();
    assert_eq!(world.images.resolve_for("a:1", &platform("linux/amd64")).unwrap().id, id);
    let error = world.images.resolve_for("a:1", &platform("linux/arm64")).unwrap_err();
    assert!(error.to_string().contains("does not match the specified platform"), "{error}");
}

#[test]
fn names_and_ids_are_found_as_docker_finds_them() {
    let world = World::new("resolve");
    let id = load(&world, &["app:latest", "app:1"], "a");
    let digest = Digest::sha256_of(b"manifest");
    let name = Reference::parse_normalized("app").unwrap();
    world.images.tag(&id, &name.with_digest(digest.clone())).unwrap();
    let hex = id.hex();
    let by_digest = format!("app@{digest}");
    let both = format!("app:other@{digest}");
    let library = "docker.io/library/app:1";
    for text in [
        "app",
        "app:1",
        library,
        &by_digest,
        &both,
        id.as_str(),
        hex,
        &hex[..12],
        &hex[..4],
        &hex[..1],
        &id.as_str()[..15],
    ] {
        assert_eq!(world.images.resolve(text).unwrap().id, id, "{text}");
    }
    let message = |text: &str| {
        let error = world.images.resolve(text).unwrap_err();
        (error.kind(), error.to_string())
    };
    let missing = |text: &str| (Kind::NotFound, format!("No such image: {text}"));
    assert_eq!(message("none"), missing("none:latest"));
    assert_eq!(message("app:2"), missing("app:2"));
    assert_eq!(message("other@sha256:short").0, Kind::Invalid);
    assert_eq!(
        message("UPPER"),
        (Kind::Invalid, "invalid reference format: repository name (library/UPPER) must be lowercase".into())
    );
    let zeros = "0".repeat(64);
    assert_eq!(message(&zeros), missing(&format!("sha256:{zeros}")));
    // A name that looks like an id wins over the id.
    let other = load(&world, &[&format!("{}:latest", &hex[..8])], "b");
    assert_eq!(world.images.resolve(&hex[..8]).unwrap().id, other);
}

#[test]
fn a_tag_moves() {
    let world = World::new("tag");
    let one = load(&world, &["app:latest"], "one");
    let lines = Mutex::new(String::new());
    let (archive, two) = docker_archive(&["app:latest"], "two", plain);
    let sink = |p: Progress| {
        if let Progress::Stream(text) = p {
            lines.lock().unwrap().push_str(&text);
        }
    };
    world.images.load(&archive[..], &[], &sink).unwrap();
    let expected =
        format!("The image app:latest already exists, renaming the old one with ID {one} to empty string\n");
    assert!(lines.lock().unwrap().starts_with(&expected));
    assert!(world.images.names_of(&one).is_empty());
    assert_eq!(world.images.list().len(), 2);
    let name = Reference::parse_normalized("app:latest").unwrap();
    world.images.tag(&one, &name).unwrap();
    let world = world.reopen();
    assert_eq!(world.images.resolve("app").unwrap().id, one);
    assert!(world.images.names_of(&two).is_empty());
    let bad = Reference::parse_normalized("sha256:1").unwrap();
    let error = world.images.tag(&one, &bad).unwrap_err();
    assert_eq!(error.to_string(), "refusing to create an ambiguous tag using digest algorithm as name");
}

#[test]
fn removal_tells_what_it_did() {
    let world = World::new("remove");
    let id = load(&world, &["app:1", "app:2", "other:1"], "x");
    let remove = |text: &str, force| world.images.remove(text, force, true, &nobody);
    assert_eq!(told(remove("app:1", false)), ["Untagged: app:1"]);
    let error = remove(id.hex(), false).unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
    assert_eq!(
        error.to_string(),
        format!(
            "conflict: unable to delete {} (must be forced) - image is referenced in multiple repositories",
            id.short()
        )
    );
    let expected = [
        format!("Untagged: {}", "app:2"),
        "Untagged: other:1".into(),
        format!("Deleted: {id}"),
        "Deleted: layer".into(),
    ];
    assert_eq!(told(remove(id.short(), true)), expected);
    assert_eq!(remove("app:2", false).unwrap_err().to_string(), "No such image: app:2");
    assert!(world.images.blobs().list().unwrap().is_empty());
    assert!(world.images.layers().list().is_empty());
}

#[test]
fn the_last_tag_takes_the_digests_and_the_image() {
    let world = World::new("lasttag");
    let id = load(&world, &["app:1"], "x");
    let digest = Digest::sha256_of(b"m");
    let name = Reference::parse_normalized("app").unwrap().with_digest(digest.clone());
    world.images.tag(&id, &name).unwrap();
    let removed = told(world.images.remove("app:1", false, true, &nobody));
    assert_eq!(
        removed[..3],
        ["Untagged: app:1".to_owned(), format!("Untagged: app@{digest}"), format!("Deleted: {id}")]
    );
}

#[test]
fn containers_stand_in_the_way() {
    let world = World::new("used");
    let id = load(&world, &["app:1"], "x");
    let user = |running| move |_: &Digest| vec![Usage { container: "0123456789abcdef".into(), running }];
    let message = |text: &str, force, running| {
        let error = world.images.remove(text, force, true, &user(running)).unwrap_err();
        assert_eq!(error.kind(), Kind::Conflict);
        error.to_string()
    };
    let short = id.short();
    assert_eq!(
        message("app:1", false, false),
        format!(
            "conflict: unable to remove repository reference \"app:1\" (must force) - container 0123456789ab is using its referenced image {short}"
        )
    );
    assert_eq!(
        message(short, false, false),
        format!(
            "conflict: unable to delete {short} (must be forced) - image is being used by stopped container 0123456789ab"
        )
    );
    assert_eq!(
        message(short, true, true),
        format!(
            "conflict: unable to delete {short} (cannot be forced) - image is being used by running container 0123456789ab"
        )
    );
    // Forced by name under a running container: the name goes, the image stays.
    assert_eq!(told(world.images.remove("app:1", true, true, &user(true))), ["Untagged: app:1"]);
    assert!(world.images.get(&id).is_some());
    // A stopped container keeps its layers, not the image.
    let image = world.images.get(&id).unwrap();
    world.images.snapshots().create("c1", image.diff_ids()).unwrap();
    let removed = told(world.images.remove(short, true, true, &user(false)));
    assert_eq!(removed, [format!("Deleted: {id}")]);
    assert!(world.images.layers().contains(&image.diff_ids()[0]));
}

#[test]
fn shared_layers_stay_with_the_other_image() {
    let world = World::new("shared");
    let one = load(&world, &["one:1"], "same");
    // The same layer under another config.
    let image = world.images.get(&one).unwrap();
    let import = image::Import {
        config: Default::default(),
        comment: String::new(),
        platform: oci::platform::Platform::host(),
        names: vec![Reference::parse_normalized("two:1").unwrap()],
    };
    let blob = world.images.blobs().path(&image.layers[0].digest);
    let two = world.images.import(std::fs::File::open(blob).unwrap(), import).unwrap();
    assert_eq!(world.images.get(&two).unwrap().diff_ids(), image.diff_ids());
    assert_eq!(told(world.images.remove("one:1", false, true, &nobody)).len(), 2, "no layer goes");
    assert!(world.images.layers().contains(&image.diff_ids()[0]));
    let mut saved = Vec::new();
    world.images.save(&["two:1".into()], &[], &mut saved).unwrap();
}

#[test]
fn a_lease_outlasts_a_removal() {
    let world = World::new("lease");
    let id = load(&world, &["app:1"], "x");
    let image = world.images.get(&id).unwrap();
    let lease = world.images.leases().hold(image.diff_ids().iter().cloned());
    world.images.remove("app:1", false, true, &nobody).unwrap();
    assert!(world.images.layers().contains(&image.diff_ids()[0]));
    drop(lease);
    world.images.expire().unwrap();
    assert!(!world.images.layers().contains(&image.diff_ids()[0]));
}

#[test]
fn history_is_told_from_the_top() {
    let world = World::new("history");
    let id = load(&world, &["app:1"], "12345");
    let lines = world.images.history(&world.images.get(&id).unwrap());
    assert_eq!(lines.len(), 2);
    assert_eq!((lines[0].created_by.as_str(), lines[0].size, &lines[0].id), ("CMD", 0, &Some(id)));
    assert_eq!(familiar(&lines[0].tags), ["app:1"]);
    assert_eq!((lines[1].size, lines[1].created, &lines[1].id), (5, 1_577_934_245, &None));
}

#[test]
fn a_damaged_image_is_left_out_and_can_be_loaded_again() {
    let world = World::new("damaged");
    let good = load(&world, &["good:1"], "good");
    let (archive, bad) = docker_archive(&["bad:1"], "bad", plain);
    world.images.load(&archive[..], &[], &quiet).unwrap();
    let config = world.images.blobs().path(&bad);
    std::fs::write(config, "{}").unwrap();
    let world = world.reopen();
    assert_eq!(world.images.resolve("good:1").unwrap().id, good);
    assert_eq!(world.images.resolve("bad:1").unwrap_err().kind(), Kind::NotFound);
    world.images.load(&archive[..], &[], &quiet).unwrap();
    assert_eq!(world.images.resolve("bad:1").unwrap().id, bad);
}

#[test]
fn the_embedded_image_comes_once() {
    let world = World::new("embedded");
    let id = world.images.install_embedded().unwrap().unwrap();
    let image = world.images.resolve(image::embedded::NAME).unwrap();
    assert_eq!((&image.id, image.config.config.cmd.as_deref()), (&id, Some(&["/hello".to_owned()][..])));
    assert!(image.size < 16 << 10, "{} bytes", image.size);
    let hello = world.images.layers().lowers(image.diff_ids()).unwrap()[0].join("hello");
    let said = std::process::Command::new(hello).output().unwrap();
    assert!(said.status.success());
    assert!(String::from_utf8(said.stdout).unwrap().contains("Hello from Wharf!"));
    assert_eq!(world.images.install_embedded().unwrap(), None);
    world.images.remove(image::embedded::NAME, false, true, &nobody).unwrap();
    let world = world.reopen();
    assert_eq!(world.images.install_embedded().unwrap(), None, "who removed it does not want it");
}
