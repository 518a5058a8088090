//! The disk is full, to its last block: what needs room says so and leaves nothing, and everything that makes room
//! works, in the engine that met the full disk and in the next one.

use blackbox::{IMAGE, Settings, SmallDisk, World, busybox, busybox_image, eventually, file};

use crate::registry::Registry;

#[test]
fn a_full_disk_is_told_and_survived() {
    let disk = SmallDisk::mount();
    {
        let world =
            World::empty(Settings { data_root: Some(disk.path().join("data")), ..Settings::default() });
        world.load(&blackbox::busybox_image(IMAGE));
        let chatter = "while [ ! -e /dev/shm/go ]; do sleep 0.05; done; \
                       yes 0123456789abcdef | head -c 2000000; echo done > /dev/shm/done; sleep 1000";
        world.wharf(&["run", "-d", "--name", "lives", IMAGE, "sh", "-c", chatter]).ok();
        world.wharf(&["create", "--name", "ready", IMAGE, "true"]).ok();
        disk.fill();
        for client in world.clients() {
            for name in ["late", "later"] {
                client.run(&["run", "--name", name, IMAGE, "true"]).code(125).says("no space left on device");
            }
            let all = client.run(&["ps", "-a", "--format", "{{.Names}}"]).ok();
            assert_eq!(all, "ready\nlives", "nothing is half there");
        }
        // What is written to a full disk is lost and counted, but it stops nobody.
        world.wharf(&["exec", "lives", "touch", "/dev/shm/go"]).ok();
        eventually("the end of the output", || {
            (world.wharf(&["exec", "lives", "test", "-e", "/dev/shm/done"]).code == 0).then_some(())
        });
        eventually("a word about what was lost", || {
            world.engine_output().contains("its log cannot be written").then_some(())
        });
        assert!(world.wharf(&["logs", "lives"]).stdout.len() < 2_000_000);
        world.wharf(&["stop", "-t", "0", "lives"]).ok();
        assert_eq!(world.inspect("lives")["State"]["ExitCode"], 137);
        world.wharf(&["rm", "lives", "ready"]).ok();
        disk.empty();
        world.wharf(&["run", "--rm", "--name", "late", IMAGE, "true"]).ok();
    }
}

/// A world on a small disk with one of each: a container that runs, one that has ended, one that was never started, a
/// named and an anonymous volume, a network, an image that nobody uses and one in a registry.
fn furnished(disk: &SmallDisk) -> (World, Registry) {
    let world = World::empty(Settings { data_root: Some(disk.path().join("data")), ..Settings::default() });
    let registry = Registry::start(&world);
    let noise: Vec<u8> = (0..3_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let away = busybox().layer(|layer| file(layer, "noise", &noise, 0o644)).build("localhost:5000/away");
    world.load(&away);
    world.wharf(&["push", "-q", "localhost:5000/away"]).ok();
    world.wharf(&["rmi", "localhost:5000/away"]).ok();
    world.load(&busybox_image(IMAGE));
    world.load(&busybox().layer(|layer| file(layer, "spare", b"spare", 0o644)).build("spare"));
    world
        .wharf(&["run", "-d", "--name", "lives", "-p", "8080:80", "-v", "/x", IMAGE, "sh", "-c", LIVES])
        .ok();
    let script = "dd if=/dev/zero of=/written bs=1M count=2 2> /dev/null; echo said; exit 3";
    world.wharf(&["run", "--name", "ended", "-v", "/y", IMAGE, "sh", "-c", script]).code(3);
    world.wharf(&["create", "--name", "ready", IMAGE, "true"]).ok();
    // More than an engine that had to wait with its notes takes at once.
    let fill = "dd if=/dev/zero of=/n/file bs=64k count=4 2> /dev/null";
    world.wharf(&["run", "--rm", "-v", "named:/n", IMAGE, "sh", "-c", fill]).ok();
    world.wharf(&["network", "create", "lonely"]).ok();
    (world, registry)
}

const LIVES: &str = "trap 'exit 4' TERM; echo up; while true; do sleep 0.05; done";

#[test]
fn a_full_disk_keeps_nobody_from_looking_and_stopping() {
    let disk = SmallDisk::mount();
    let (mut world, _registry) = furnished(&disk);
    // More than fits into the buffers on the way: the client still writes when the engine knows better.
    let hog = busybox().layer(|layer| file(layer, "hog", &vec![1; 24 << 20], 0o644)).build("hog");
    std::fs::write(world.directory().join("hog.tar"), hog).unwrap();
    disk.fill();
    for client in world.clients() {
        let full = "no space left on device";
        client.run(&["create", "--name", "late", IMAGE]).code(1).says(full);
        client.run(&["run", "--rm", "--name", "late", "-v", "late:/x", IMAGE, "true"]).code(125).says(full);
        client.run(&["pull", "-q", "localhost:5000/away"]).code(1).says(full);
        client.run(&["load", "-q", "-i", "hog.tar"]).code(1).says(full);
        client.run(&["commit", "ended", "made"]).code(1).says(full);
        let listed = client.run(&["ps", "-a", "--format", "{{.Names}}"]).ok();
        assert_eq!(listed, "ready\nended\nlives", "nothing is half there");
        let images = client.run(&["images", "--format", "{{.Repository}}"]).ok();
        let images: std::collections::BTreeSet<&str> = images.lines().collect();
        assert_eq!(images, ["spare", IMAGE, "localhost/hello"].into());
        assert!(!client.run(&["volume", "ls", "-q"]).ok().contains("late"));
        assert_eq!(client.run(&["logs", "ended"]).ok(), "said");
        assert_eq!(client.run(&["exec", "lives", "echo", "here"]).ok(), "here");
    }
    assert_eq!(world.wharf(&["stop", "lives"]).ok(), "lives");
    assert_eq!(world.inspect("lives")["State"]["ExitCode"], 4);
    // The end is remembered: by the record, or by the shim that waits until it can be written.
    for _ in 0..2 {
        world.kill_engine();
        world.start_engine();
        world.until_status("lives", "exited");
        assert_eq!(world.inspect("lives")["State"]["ExitCode"], 4);
        assert_eq!(world.wharf(&["logs", "lives"]).ok(), "up");
    }
    disk.empty();
    world.wharf(&["start", "lives"]).ok();
    world.wharf(&["run", "--rm", "localhost:5000/away", "true"]).ok();
}

#[test]
fn a_full_disk_keeps_nobody_from_making_room() {
    for engine_is_new in [false, true] {
        let disk = SmallDisk::mount();
        let (mut world, _registry) = furnished(&disk);
        disk.fill();
        if engine_is_new {
            world.stop_engine();
            world.start_engine();
        }
        let removed = |what: &[&str]| {
            world.wharf(what).ok();
            eventually("the room that a removal makes", || (disk.free_blocks() > 0).then_some(()));
            disk.fill();
        };
        removed(&["rm", "-v", "ended"]);
        removed(&["rm", "-fv", "lives"]);
        removed(&["image", "prune", "-af"]);
        removed(&["volume", "rm", "named"]);
        world.wharf(&["container", "prune", "-f"]).ok();
        world.wharf(&["network", "prune", "-f"]).ok();
        world.wharf(&["volume", "prune", "-af"]).ok();
        world.wharf(&["system", "prune", "-af", "--volumes"]).ok();
        for (what, left) in [
            (&["ps", "-aq"][..], ""),
            (&["images", "-q"], ""),
            (&["volume", "ls", "-q"], ""),
            (&["network", "ls", "--format", "{{.Name}}"], "bridge\nhost\nnone"),
        ] {
            assert_eq!(world.wharf(what).ok(), left, "{what:?}");
        }
        disk.empty();
        world.load(&busybox_image(IMAGE));
        world.wharf(&["run", "--rm", IMAGE, "true"]).ok();
    }
}

/// What a removal could not take away goes with the next one, or with a prune: the engine lives on for months.
#[test]
fn what_a_bad_moment_of_the_disk_left_is_taken_away_later() {
    let world = World::start();
    let left = || {
        let of = |place: &str| {
            let entries = std::fs::read_dir(world.data_root().join(place)).into_iter().flatten().flatten();
            entries
                .map(|entry| entry.file_name().to_string_lossy().into_owned())
                .filter(|name| name.len() == 64)
        };
        of("containers").chain(of("snapshots")).chain(of("volumes")).collect::<Vec<_>>()
    };
    for (point, number, then) in [
        // The first is that of a run, which there was none of.
        ("remove a directory", 2, &["rm", "other"][..]),
        ("take a snapshot out of sight", 1, &["container", "prune", "-f"]),
        ("take a volume out of sight", 1, &["rm", "-v", "other"]),
    ] {
        world.wharf(&["create", "--name", "first", "-v", "/anonymous", IMAGE, "true"]).ok();
        world.arm(&format!("eio {point} {number}"));
        world.wharf(&["rm", "-v", "first"]).ok();
        let passed = || world.passed().iter().filter(|passed| *passed == point).count();
        eventually("the failure", || (passed() >= number).then_some(()));
        assert!(!left().is_empty(), "{point}");
        world.disarm();
        world.wharf(&["create", "--name", "other", IMAGE, "true"]).ok();
        world.wharf(then).ok();
        eventually(point, || left().is_empty().then_some(()));
        assert_eq!(world.wharf(&["volume", "ls", "-q"]).ok(), "", "{point}");
    }
}

/// The image's directory is in a volume as a whole or not at all.
#[test]
fn a_volume_is_never_half_of_a_directory() {
    let mut world = World::start();
    let files =
        |world: &World| std::fs::read_dir(world.data_root().join("volumes/data/_data")).unwrap().count();
    let create = ["create", "--name", "filled", "-v", "data:/bin", IMAGE, "true"];
    world.wharf(&["volume", "create", "data"]).ok();
    world.wharf(&create).ok();
    let whole = files(&world);
    assert!(whole > 4, "{whole}");
    world.wharf(&["rm", "filled"]).ok();
    world.wharf(&["volume", "rm", "data"]).ok();
    for fault in ["eio", "enospc", "crash"] {
        world.wharf(&["volume", "create", "data"]).ok();
        world.arm(&format!("{fault} extract 3"));
        world.wharf(&create).code(1);
        if fault == "crash" {
            eventually("the engine's end", || world.engine_has_ended().then_some(()));
            world.kill_engine();
            world.start_engine();
            // Who brings nothing along finds nothing.
            let listed = world.wharf(&["run", "--rm", "-v", "data:/x", IMAGE, "ls", "/x"]).ok();
            assert_eq!(listed, "");
        } else {
            world.disarm();
            assert_eq!(files(&world), 0, "{fault}");
        }
        world.wharf(&create).ok();
        assert_eq!(files(&world), whole, "{fault}");
        world.wharf(&["rm", "filled"]).ok();
        world.wharf(&["volume", "rm", "data"]).ok();
    }
}
