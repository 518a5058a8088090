//! How much containers and volumes may hold, on disks that count by project; and what is said where none is.

use blackbox::{CountedDisk, IMAGE, Settings, SmallDisk, World, busybox_image};

/// A world whose data lies on such a disk, for each kind that this machine can have.
fn each_disk(flags: &[&str], test: impl Fn(&mut World, &CountedDisk)) {
    for kind in ["xfs", "ext4"] {
        let Some(disk) = CountedDisk::mount(kind) else { continue };
        let mut world = world_on(&disk, "engine", flags);
        test(&mut world, &disk);
        drop(world);
    }
}

fn world_on(disk: &CountedDisk, name: &str, flags: &[&str]) -> World {
    let world = World::empty(Settings {
        data_root: Some(disk.path().join(name)),
        flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
        ..Settings::default()
    });
    world.load(&busybox_image(IMAGE));
    world
}

const WRITE: &str = "dd if=/dev/zero of=$0/large bs=1M count=40 && sync";

#[test]
fn a_container_holds_no_more_than_it_was_given() {
    each_disk(&[], |world, disk| {
        let size = ["--storage-opt", "size=20m"];
        for client in world.clients() {
            let run = [&["run", "--rm"], &size[..], &[IMAGE, "sh", "-c", WRITE, "/"]].concat();
            let output = client.run(&run).code(1);
            let said = &output.stderr;
            assert!(said.contains("No space left") || said.contains("quota exceeded"), "{said}");
            // Another one has what it needs.
            client.run(&["run", "--rm", IMAGE, "sh", "-c", WRITE, "/"]).code(0);
        }
        let create =
            [&["create", "--name", "first"], &size[..], &[IMAGE, "sh", "-c", WRITE, "/root"]].concat();
        world.docker(&create).ok();
        assert_eq!(world.inspect("first")["HostConfig"]["StorageOpt"]["size"], "20m");
        // The limit is no matter of the engine's memory.
        world.kill_engine();
        world.start_engine();
        world.docker(&["start", "-a", "first"]).code(1);
        // Two engines on one disk do not count each other's containers.
        let other = world_on(disk, "other", &[]);
        let run = [&["run", "--rm"], &size[..], &[IMAGE, "dd", "if=/dev/zero", "of=/x", "bs=1M", "count=15"]];
        other.docker(&run.concat()).code(0);
        world
            .docker(
                &create.iter().map(|word| if *word == "first" { "second" } else { word }).collect::<Vec<_>>(),
            )
            .ok();
        world.docker(&["start", "-a", "second"]).code(1);
        world.docker(&["rm", "first", "second"]).code(0);
        world
            .docker(&["create", "--storage-opt", "size=zz", IMAGE, "true"])
            .code(1)
            .says("invalid size: 'zz'");
    });
}

#[test]
fn the_engine_may_limit_all_containers() {
    each_disk(&["--storage-opt", "overlay2.size=20m"], |world, _| {
        world.wharf(&["run", "--name", "all", IMAGE, "sh", "-c", WRITE, "/"]).code(1);
        assert_eq!(world.inspect("all")["HostConfig"].get("StorageOpt"), None);
        world.docker(&["run", "--storage-opt", "size=80m", IMAGE, "sh", "-c", WRITE, "/"]).code(0);
    });
}

#[test]
fn a_volume_holds_no_more_than_it_was_given() {
    each_disk(&[], |world, _| {
        world.docker(&["volume", "create", "-o", "size=20m", "small"]).ok();
        world.wharf(&["volume", "create", "large"]).ok();
        let options = world.docker(&["volume", "inspect", "-f", "{{json .Options}}", "small"]).ok();
        assert_eq!(options, r#"{"size":"20m"}"#);
        for (volume, code) in [("small", 1), ("large", 0)] {
            let mount = format!("{volume}:/data");
            world.docker(&["run", "--rm", "-v", &mount, IMAGE, "sh", "-c", WRITE, "/data"]).code(code);
        }
        world.docker(&["volume", "rm", "small", "large"]).code(0);
        let mounted = ["-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "size=20m"];
        world.docker(&[&["volume", "create"], &mounted[..]].concat()).code(1).says("goes with no \"device\"");
    });
}

#[test]
fn where_nothing_is_counted_nothing_is_promised() {
    let disk = SmallDisk::mount();
    let mut world =
        World::empty(Settings { data_root: Some(disk.path().join("data")), ..Settings::default() });
    for client in world.clients() {
        client
            .run(&["volume", "create", "-o", "size=1g"])
            .code(1)
            .says("quota size requested but no quota support");
    }
    world.stop_engine();
    world.set_flags(&["--storage-opt", "overlay2.size=1g"]);
    world.try_engine().code(1).says(
        "error initializing graphdriver: Storage option overlay2.size not supported. Filesystem does not support Project \
         Quota: Filesystem does not support, or has not enabled quotas",
    );
    world.set_flags(&[]);
}
