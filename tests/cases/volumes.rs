//! Files that outlive a container: binds, named and anonymous volumes.

use blackbox::{IMAGE, World, busybox, directory, file};

#[test]
fn binds_show_the_host_and_keep_its_owners() {
    let world = World::start();
    let shared = world.directory().join("shared");
    std::fs::create_dir(&shared).unwrap();
    std::fs::write(shared.join("note"), "from outside\n").unwrap();
    let bind = format!("{}:/data", shared.display());
    for client in world.clients() {
        let output = client
            .run(&[
                "run",
                "--rm",
                "-v",
                &bind,
                IMAGE,
                "sh",
                "-c",
                "cat /data/note; echo inside > /data/answer",
            ])
            .ok();
        assert_eq!(output, "from outside");
        assert_eq!(std::fs::read_to_string(shared.join("answer")).unwrap(), "inside\n");
        client
            .run(&["run", "--rm", "-v", &format!("{bind}:ro"), IMAGE, "touch", "/data/x"])
            .code(1)
            .says("Read-only file system");
        let missing = world.directory().join(format!("made-{}", client.name));
        client.run(&["run", "--rm", "-v", &format!("{}:/data", missing.display()), IMAGE, "true"]).code(0);
        assert!(missing.is_dir(), "-v makes a missing source");
        client
            .run(&["run", "--rm", "--mount", "type=bind,source=/nowhere/at/all,target=/data", IMAGE, "true"])
            .code(125)
            .says("bind source path does not exist: /nowhere/at/all");
    }
}

#[test]
fn a_named_volume_is_filled_from_the_image_once() {
    let world = World::start();
    world.load(
        &busybox()
            .layer(|layer| {
                directory(layer, "seed", 0o750);
                file(layer, "seed/grain", b"wheat\n", 0o640);
            })
            .build("seeded"),
    );
    for client in world.clients() {
        let volume = format!("field-{}", client.name);
        let mount = format!("{volume}:/seed");
        assert_eq!(
            client
                .run(&[
                    "run",
                    "--rm",
                    "-v",
                    &mount,
                    "seeded",
                    "sh",
                    "-c",
                    "cat /seed/grain; echo rye > /seed/grain; stat -c %a /seed"
                ])
                .ok(),
            "wheat\n750"
        );
        assert_eq!(client.run(&["run", "--rm", "-v", &mount, "seeded", "cat", "/seed/grain"]).ok(), "rye");
        assert!(client.run(&["volume", "ls", "-q"]).ok().lines().any(|name| name == volume));
        let path = client.run(&["volume", "inspect", "-f", "{{.Mountpoint}}", &volume]).ok();
        assert!(std::path::Path::new(&path).is_dir(), "{path}");
        assert_eq!(client.run(&["volume", "rm", &volume]).ok(), volume);
        client.run(&["volume", "inspect", &volume]).code(1).says("no such volume");
    }
}

#[test]
fn volumes_in_use_stay_and_anonymous_ones_go_with_rm() {
    let world = World::start();
    for client in world.clients() {
        client.run(&["volume", "create", "kept"]).code(0);
        client.run(&["create", "--name", "user", "-v", "kept:/k", "-v", "/anonymous", IMAGE]).code(0);
        client.run(&["volume", "rm", "kept"]).code(1).says("volume is in use");
        assert_eq!(client.run(&["volume", "ls", "-q"]).ok().lines().count(), 2);
        client.run(&["rm", "-v", "user"]).code(0);
        assert_eq!(client.run(&["volume", "ls", "-q"]).ok(), "kept");
        client.run(&["volume", "rm", "kept"]).code(0);
    }
}

#[test]
fn two_containers_share_a_volume() {
    let world = World::start();
    for client in world.clients() {
        client.run(&["run", "-d", "--name", "writer", "-v", "both:/b", IMAGE, "sleep", "1000"]).ok();
        client.run(&["exec", "writer", "sh", "-c", "echo shared > /b/x"]).ok();
        assert_eq!(
            client.run(&["run", "--rm", "--volumes-from", "writer", IMAGE, "cat", "/b/x"]).ok(),
            "shared"
        );
        assert_eq!(
            client
                .run(&["run", "--rm", "--mount", "source=both,target=/c,readonly", IMAGE, "cat", "/c/x"])
                .ok(),
            "shared"
        );
        world.tidy();
    }
}

#[test]
fn a_part_of_a_volume_may_be_named_through_its_links() {
    let world = World::start();
    let script =
        "mkdir -p /v/a/b; ln -s a /v/link; ln -s .. /v/up; ln -s /a /v/absolute; ln -s nope /v/nowhere";
    world.wharf(&["run", "--rm", "-v", "parts:/v", IMAGE, "sh", "-c", script]).ok();
    let mounted = |subpath: &str| {
        let mount = format!("type=volume,source=parts,target=/d,volume-subpath={subpath}");
        world.docker(&["run", "--rm", "--mount", &mount, IMAGE, "ls", "/d"])
    };
    assert_eq!(mounted("link").ok(), "b");
    assert_eq!(mounted("link/../a").ok(), "b");
    for escape in ["up", "absolute"] {
        mounted(escape).code(125).says("path concatenation escapes the base directory");
    }
    for missing in ["nowhere", "nope"] {
        mounted(missing).code(127).says("cannot access path").says("no such file or directory");
    }
}
