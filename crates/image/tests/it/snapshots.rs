//! A container's files: what it changes, and what a commit makes of that, on the real overlayfs.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use image::{Change, Commit, OVERLAY_OPTIONS, Snapshot};
use linux::mount::{self, Overlay};
use oci::image::Config;
use oci::reference::Reference;
use tar::EntryType;

use crate::world::{Tar, World, exists, quiet, read};

/// An attached mount of a snapshot, so that the standard library can work on it.
struct Mounted(PathBuf);

impl Mounted {
    fn new(world: &World, snapshot: &Snapshot) -> Mounted {
        let overlay = Overlay {
            lowers: &snapshot.lowers,
            upper: Some((&snapshot.upper, &snapshot.work)),
            volatile: false,
            extra: &OVERLAY_OPTIONS,
        };
        let target = world.scratch.join(format!("mount-{}", snapshot.id));
        std::fs::create_dir_all(&target).unwrap();
        mount::attach_at(mount::overlay(&overlay).unwrap(), &target).unwrap();
        Mounted(target)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        mount::unmount(&self.0, false).unwrap();
    }
}

/// A container goes on as it was when somebody looks into its files beside it.
#[test]
fn who_mounts_a_snapshot_beside_others_leaves_them_theirs() {
    let world = World::new("snapshots-beside");
    let image = world.images.get(&base(&world)).unwrap();
    let snapshots = world.images.snapshots();
    let container = Mounted::new(&world, &snapshots.create("c1", image.diff_ids()).unwrap());
    {
        let beside = snapshots.get_beside("c1").unwrap();
        let other = Snapshot { id: "beside".into(), ..beside.snapshot.clone() };
        let copier = Mounted::new(&world, &other);
        std::fs::write(copier.0.join("etc/changed"), "copied").unwrap();
        std::fs::remove_file(container.0.join("etc/deleted")).unwrap();
        std::fs::write(container.0.join("touched/new"), "x").unwrap();
    }
    std::fs::write(container.0.join("became"), "y").unwrap();
    let work = snapshots.get("c1").unwrap().work;
    assert_eq!(std::fs::read_dir(&work).unwrap().count(), 1, "nothing is left but the container's");
}

#[test]
fn a_killed_copy_leaves_nothing_to_the_next_engine() {
    let world = World::new("snapshots-left");
    let image = world.images.get(&base(&world)).unwrap();
    world.images.snapshots().create("c1", image.diff_ids()).unwrap();
    world.records.write(|t| world.images.snapshots().record(t, "c1")).unwrap();
    let left = world.images.snapshots().get_beside("c1").unwrap();
    let work = left.snapshot.work.clone();
    std::mem::forget(left);
    assert!(work.is_dir());
    let world = world.reopen();
    assert!(!work.exists() && world.images.snapshots().get("c1").unwrap().work.is_dir());
}

fn base(world: &World) -> oci::digest::Digest {
    let layer = Tar::new()
        .member(EntryType::Directory, "./", "", &[], |h| h.set_mode(0o711))
        .directory("etc/")
        .file("etc/kept", "kept")
        .file("etc/changed", "old")
        .file("etc/deleted", "x")
        .directory("dir/")
        .file("dir/inside", "x")
        .file("became", "x")
        .directory("dissolved/")
        .file("dissolved/inside", "x")
        .directory("touched/")
        .file("up/deep/file", "x")
        .directory("untouched/")
        .file("untouched/file", "x")
        .end();
    let unpacked = world.images.layers().unpack(None, &layer[..]).unwrap();
    let blob = world.images.blobs().put(&layer).unwrap();
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux", "config": {"Cmd": ["sh"], "Env": ["A=b"]},
        "rootfs": {"type": "layers", "diff_ids": [unpacked.diff_id()]},
        "history": [{"created_by": "base"}],
    });
    let config = world.images.blobs().put(config.to_string().as_bytes()).unwrap();
    let descriptor = |kind: &str, digest: &oci::digest::Digest| {
        oci::image::Descriptor::new(kind, digest.clone(), world.images.blobs().size(digest).unwrap())
    };
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": oci::image::media_type::OCI_MANIFEST,
        "config": descriptor(oci::image::media_type::OCI_CONFIG, &config),
        "layers": [descriptor(oci::image::media_type::OCI_LAYER, &blob)],
    });
    let manifest = world.images.blobs().put(manifest.to_string().as_bytes()).unwrap();
    let manifest = descriptor(oci::image::media_type::OCI_MANIFEST, &manifest);
    let name = Reference::parse_normalized("base:1").unwrap();
    let arrival = image::Arrival { manifest, unpacked: vec![unpacked], names: vec![name], parent: None };
    world.images.install(arrival).unwrap().id.clone()
}

fn change(root: &Path) {
    std::fs::write(root.join("etc/changed"), "new").unwrap();
    std::fs::remove_file(root.join("etc/deleted")).unwrap();
    std::fs::write(root.join("etc/added"), "added").unwrap();
    std::fs::remove_dir_all(root.join("dir")).unwrap();
    std::fs::create_dir(root.join("dir")).unwrap();
    std::fs::write(root.join("dir/fresh"), "fresh").unwrap();
    std::fs::remove_file(root.join("became")).unwrap();
    std::fs::create_dir(root.join("became")).unwrap();
    std::fs::write(root.join("became/inside"), "x").unwrap();
    std::fs::remove_dir_all(root.join("dissolved")).unwrap();
    std::fs::write(root.join("dissolved"), "x").unwrap();
    std::fs::write(root.join("touched/file"), "x").unwrap();
    std::fs::remove_file(root.join("touched/file")).unwrap();
    std::fs::write(root.join("up/deep/file"), "new").unwrap();
    symlink("etc", root.join("link")).unwrap();
    std::fs::write(root.join("tool"), "tool").unwrap();
    std::fs::set_permissions(root.join("tool"), std::fs::Permissions::from_mode(0o4755)).unwrap();
}

#[test]
fn changes_are_told_in_dockers_way() {
    let world = World::new("changes");
    let image = world.images.get(&base(&world)).unwrap();
    let snapshot = world.images.snapshots().create("c1", image.diff_ids()).unwrap();
    assert_eq!(world.images.snapshots().changes("c1").unwrap(), BTreeMap::new());
    let mounted = Mounted::new(&world, &snapshot);
    assert_eq!(std::fs::metadata(&mounted.0).unwrap().mode() & 0o7777, 0o711, "the root is the image's");
    change(&mounted.0);
    let found = world.images.snapshots().changes("c1").unwrap();
    let expected = [
        ("/became", Change::Modified),
        ("/became/inside", Change::Added),
        ("/dir", Change::Modified),
        ("/dir/fresh", Change::Added),
        ("/dir/inside", Change::Deleted),
        ("/dissolved", Change::Modified),
        ("/etc", Change::Modified),
        ("/etc/added", Change::Added),
        ("/etc/changed", Change::Modified),
        ("/etc/deleted", Change::Deleted),
        ("/link", Change::Added),
        ("/tool", Change::Added),
        ("/up", Change::Modified),
        ("/up/deep", Change::Modified),
        ("/up/deep/file", Change::Modified),
    ];
    let found: Vec<_> = found.iter().map(|(path, change)| (path.to_str().unwrap(), *change)).collect();
    assert_eq!(found, expected);
}

#[test]
fn the_places_of_mounts_are_there_and_no_change() {
    let world = World::new("scaffold");
    let layer = Tar::new()
        .member(EntryType::Directory, "etc/", "", &[], |h| {
            h.set_mode(0o751);
            h.set_mtime(1_000_000_000);
        })
        .symlink("etc/resolv.conf", "../run/resolv.conf")
        .file("etc/hosts", "of the image")
        .directory("etc/hostname/")
        .symlink("dev", "run")
        .file("proc/version", "x")
        .file("sys", "no directory")
        .directory("run/")
        .end();
    let stack = vec![world.layer(&layer)];
    let (one, other) = ("one", "other");
    let snapshot = world.images.snapshots().create(one, &stack).unwrap();
    let second = world.images.snapshots().create(other, &stack).unwrap();
    assert_eq!(snapshot.lowers, second.lowers, "both stand on the same");
    let mounted = Mounted::new(&world, &snapshot);
    let root = &mounted.0;
    for (path, size) in [("etc/resolv.conf", 0), ("etc/hosts", 0), (".dockerenv", 0), ("proc/version", 1)] {
        let metadata = std::fs::symlink_metadata(root.join(path)).unwrap();
        assert!(metadata.is_file() && metadata.len() == size, "{path}: {metadata:?}");
    }
    assert!(root.join("etc/hostname").is_dir() && root.join("sys").is_dir());
    assert_eq!(std::fs::read_link(root.join("etc/mtab")).unwrap(), Path::new("/proc/mounts"));
    assert_eq!(
        std::fs::read_link(root.join("dev")).unwrap(),
        Path::new("run"),
        "left to whoever mounts there"
    );
    let etc = std::fs::metadata(root.join("etc")).unwrap();
    assert_eq!((etc.mode() & 0o7777, etc.mtime()), (0o751, 1_000_000_000));
    let changes = || world.images.snapshots().changes(one).unwrap();
    assert_eq!(changes(), BTreeMap::new());
    std::fs::remove_file(root.join("etc/mtab")).unwrap();
    let found: Vec<_> = changes().into_iter().collect();
    assert_eq!(found, [("/etc".into(), Change::Modified), ("/etc/mtab".into(), Change::Deleted)]);
    drop(mounted);
    let scaffold = snapshot.lowers[0].parent().unwrap().to_owned();
    assert!(scaffold.is_dir());
    // Kept for the next container, and gone with the layers.
    for id in [one, other] {
        assert!(scaffold.is_dir());
        drop(world.images.remove_snapshot(id).unwrap());
    }
    assert!(!scaffold.exists());
}

#[test]
fn a_commit_is_what_the_container_saw() {
    let world = World::new("commit");
    let id = base(&world);
    let image = world.images.get(&id).unwrap();
    let snapshot = world.images.snapshots().create("c1", image.diff_ids()).unwrap();
    change(&Mounted::new(&world, &snapshot).0);
    let name = Reference::parse_normalized("mine:latest").unwrap();
    let commit = |comment: &str| Commit {
        base: Some(id.clone()),
        config: Config { cmd: Some(vec!["/tool".into()]), ..Config::default() },
        author: "me".into(),
        comment: comment.into(),
        created_by: "sh".into(),
        names: vec![name.clone()],
    };
    let made = world.images.commit("c1", commit("first")).unwrap();
    let made = world.images.get(&made).unwrap();
    assert_eq!((made.diff_ids().len(), made.parent.as_ref()), (2, Some(&id)));
    assert_eq!(world.images.resolve("mine").unwrap().id, made.id);
    let history = world.images.history(&made);
    assert_eq!((history[0].comment.as_str(), history[0].id.as_ref()), ("first", Some(&made.id)));
    assert_eq!(history[1].id.as_ref(), Some(&id));

    let second = world.images.snapshots().create("c2", made.diff_ids()).unwrap();
    let mounted = Mounted::new(&world, &second);
    let root = linux::path::Root::open(&mounted.0).unwrap();
    assert_eq!((read(&root, "etc/changed"), read(&root, "dir/fresh")), ("new".into(), "fresh".into()));
    assert!(!exists(&root, "etc/deleted") && !exists(&root, "dir/inside") && exists(&root, "untouched/file"));
    assert_eq!(std::fs::metadata(mounted.0.join("tool")).unwrap().mode() & 0o7777, 0o4755);
    drop((root, mounted));
    // Nothing was changed since: the step is written down, but there is no layer for it.
    let again =
        world.images.commit("c2", Commit { base: Some(made.id.clone()), ..commit("nothing") }).unwrap();
    let again = world.images.get(&again).unwrap();
    assert_eq!(again.diff_ids(), made.diff_ids());
    assert!(again.config.history.last().unwrap().empty_layer);
    // Both the parent and the container's layers are needed.
    let error = world.images.remove("base:1", true, true, &|_: &_| Vec::new());
    assert!(error.is_ok(), "only the name goes: {error:?}");
    assert!(world.images.get(&id).is_some());
}

/// The image was removed by force; the container stands on its layers, and can still be committed.
#[test]
fn a_commit_without_its_image_keeps_the_layers() {
    let world = World::new("orphan");
    let id = base(&world);
    let image = world.images.get(&id).unwrap();
    let snapshot = world.images.snapshots().create("c1", image.diff_ids()).unwrap();
    change(&Mounted::new(&world, &snapshot).0);
    world.images.remove("base:1", true, true, &|_: &_| Vec::new()).unwrap();
    assert!(world.images.get(&id).is_none());
    let commit = Commit {
        base: None,
        config: Config::default(),
        author: String::new(),
        comment: String::new(),
        created_by: "sh".into(),
        names: vec![Reference::parse_normalized("orphan:1").unwrap()],
    };
    let made = world.images.commit("c1", commit).unwrap();
    assert_eq!(world.images.get(&made).unwrap().diff_ids()[..1], *image.diff_ids());
    let mut saved = Vec::new();
    world.images.save(&["orphan:1".into()], &[], &mut saved).unwrap();
}

#[test]
fn an_import_is_one_layer() {
    let world = World::new("import");
    let archive = crate::world::gzip(&Tar::new().directory("bin/").file("bin/sh", "#!").end());
    let import = image::Import {
        config: Config::default(),
        comment: "Imported from -".into(),
        platform: oci::platform::Platform::host(),
        names: vec![Reference::parse_normalized("imported:1").unwrap()],
    };
    let id = world.images.import(&archive[..], import).unwrap();
    let image = world.images.resolve("imported:1").unwrap();
    assert_eq!((image.id.clone(), image.diff_ids().len()), (id, 1));
    assert_eq!(image.config.history[0].comment, "Imported from -");
    // It can be saved and loaded elsewhere.
    let mut saved = Vec::new();
    world.images.save(&["imported:1".into()], &[], &mut saved).unwrap();
    let other = World::new("import-other");
    assert_eq!(other.images.load(&saved[..], &[], &quiet).unwrap()[0].id, image.id);
}

#[test]
fn snapshots_without_a_record_do_not_outlive_the_engine() {
    let world = World::new("unrecorded");
    let layer = world.layer(&Tar::new().file("a", "").end());
    world.images.snapshots().create("c1", std::slice::from_ref(&layer)).unwrap();
    assert!(world.images.snapshots().create("c1", &[]).is_err(), "ids are unique");
    assert!(world.images.snapshots().create("../x", &[]).is_err());
    let world = world.reopen();
    assert!(!world.scratch.join("snapshots/c1").exists());
    assert!(world.images.snapshots().get("c1").is_err());
}

#[test]
fn removed_snapshots_are_out_of_sight_at_once() {
    let world = World::new("removed");
    let layer = world.layer(&Tar::new().file("a", "").end());
    let snapshot = world.images.snapshots().create("c1", &[layer]).unwrap();
    std::fs::write(snapshot.upper.join("file"), "x").unwrap();
    let gone = world.images.snapshots().remove("c1").unwrap().unwrap();
    assert!(!snapshot.upper.exists());
    drop(gone);
    world.assert_clean();
    assert!(world.images.snapshots().remove("c1").unwrap().is_none());
}

#[test]
fn layers_of_a_removed_image_go_with_the_last_container() {
    let world = World::new("last-container");
    let id = base(&world);
    let image = world.images.resolve(id.as_ref()).unwrap();
    let layer = image.diff_ids()[0].clone();
    for name in ["one", "two"] {
        world.images.snapshots().create(name, image.diff_ids()).unwrap();
    }
    world.images.remove("base:1", true, true, &|_: &oci::digest::Digest| Vec::new()).unwrap();
    let archive = world.images.layers().get(&layer).and_then(|layer| layer.archive).unwrap();
    drop(world.images.remove_snapshot("one").unwrap());
    assert!(world.images.layers().contains(&layer), "the other still stands on it");
    drop(world.images.remove_snapshot("two").unwrap());
    assert!(!world.images.layers().contains(&layer));
    assert!(!world.images.blobs().contains(&archive));
    // An image that stays keeps them.
    let id = base(&world);
    let image = world.images.resolve(id.as_ref()).unwrap();
    world.images.snapshots().create("three", image.diff_ids()).unwrap();
    drop(world.images.remove_snapshot("three").unwrap());
    assert!(world.images.layers().contains(&layer));
}
