//! What mounts are asked to be, field by field, of `--mount` and of the interface, by their effect.

use std::path::{Path, PathBuf};

use blackbox::{IMAGE, Output, Wire, World, busybox, directory, file, sh};
use serde_json::{Value, json};

/// Runs a script in a container with this mount, which the interface is asked for.
#[track_caller]
fn with(world: &World, image: &str, mount: &Value, script: &str) -> Output {
    let host = json!({ "Mounts": [mount], "NetworkMode": "none" });
    let body = json!({ "Image": image, "Cmd": ["sh", "-c", script], "HostConfig": host }).to_string();
    let made = Wire::connect(&world.socket()).request("POST", "/containers/create", Some(&body)).response();
    assert_eq!(made.status, 201, "{}", String::from_utf8_lossy(&made.body));
    let id = made.json()["Id"].as_str().unwrap().to_owned();
    let output = world.wharf(&["start", "-a", &id]);
    world.wharf(&["rm", "-fv", &id]).ok();
    output
}

/// A directory of the host with a mount below it, gone with this.
struct Below(PathBuf);

impl Below {
    fn of(world: &World) -> Below {
        let source = world.directory().join("source");
        std::fs::create_dir_all(source.join("below")).unwrap();
        sh(&format!("mount -t tmpfs tmpfs {}/below", source.display()));
        std::fs::write(source.join("below/deep"), "").unwrap();
        Below(source)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Below {
    fn drop(&mut self) {
        sh(&format!("umount -l {}/below", self.0.display()));
    }
}

/// Says what of a mount can be written to, and what is below it.
const TRY: &str =
    "touch /s/x 2>&- && echo top; touch /s/below/x 2>&- && echo below; rm -f /s/x /s/below/x; ls /s/below";

#[test]
fn a_bind_goes_as_deep_as_it_is_told() {
    let world = World::start();
    let source = Below::of(&world);
    for client in world.clients() {
        let bound = |words: &str| {
            let mount = format!("type=bind,src={},dst=/s{words}", source.path());
            client.run(&["run", "--rm", "--mount", &mount, IMAGE, "sh", "-c", TRY]).ok()
        };
        assert_eq!(bound(""), "top\nbelow\ndeep");
        assert_eq!(bound(",bind-recursive=enabled"), "top\nbelow\ndeep");
        assert_eq!(bound(",bind-recursive=disabled"), "top\nbelow");
        assert_eq!(bound(",readonly,bind-recursive=enabled"), "deep");
        assert_eq!(bound(",readonly,bind-recursive=writable"), "below\ndeep");
        assert_eq!(bound(",readonly,bind-recursive=readonly,bind-propagation=rprivate"), "deep");
    }
    let bound = |read_only: bool, options: Value| {
        let mount = json!({
            "Type": "bind", "Source": source.path(), "Target": "/s", "ReadOnly": read_only, "BindOptions": options,
        });
        with(&world, IMAGE, &mount, TRY).ok()
    };
    assert_eq!(bound(false, json!({ "NonRecursive": true })), "top\nbelow");
    assert_eq!(bound(true, json!({ "NonRecursive": true })), "");
    assert_eq!(bound(true, json!({ "ReadOnlyNonRecursive": true })), "below\ndeep");
    assert_eq!(bound(true, json!({ "ReadOnlyForceRecursive": true, "Propagation": "rprivate" })), "deep");
}

#[test]
fn the_source_of_a_bind_is_made_where_that_is_asked_for() {
    let world = World::start();
    let source = world.directory().join("not/yet");
    let mount = |made: bool| {
        json!({
            "Type": "bind", "Source": source, "Target": "/s", "BindOptions": { "CreateMountpoint": made },
        })
    };
    assert_eq!(with(&world, IMAGE, &mount(true), "touch /s/x; stat -c '%a %u' /s").ok(), "755 0");
    assert!(source.join("x").exists());
    std::fs::remove_dir_all(&source).unwrap();
    let body = json!({ "Image": IMAGE, "HostConfig": { "Mounts": [mount(false)] } }).to_string();
    let refused =
        Wire::connect(&world.socket()).request("POST", "/containers/create", Some(&body)).response();
    assert_eq!(refused.status, 400);
    assert!(!source.exists());
}

/// Which volumes there are, by label, driver and options.
fn shown(world: &World, volume: &str) -> String {
    let format = "{{json .Labels}} {{.Driver}} {{json .Options}}";
    world.wharf(&["volume", "inspect", "-f", format, volume]).ok()
}

#[test]
fn a_volume_is_made_as_its_mount_says() {
    let world = World::start();
    let size = "df -k /d | awk 'END { print $2 }'";
    let expected = r#"{"tier":"front"} local {"device":"tmpfs","o":"size=1m","type":"tmpfs"}"#;
    for client in world.clients() {
        let mount = "type=volume,src=small,dst=/d,volume-driver=local,volume-label=tier=front,\
                     volume-opt=type=tmpfs,volume-opt=device=tmpfs,volume-opt=o=size=1m";
        assert_eq!(client.run(&["run", "--rm", "--mount", mount, IMAGE, "sh", "-c", size]).ok(), "1024");
        assert_eq!(shown(&world, "small"), expected);
        let absent = "type=volume,src=other,dst=/d,volume-driver=absent";
        let refused = client.run(&["create", "--pull", "never", "--mount", absent, IMAGE]).code(1);
        assert!(refused.stderr.contains("absent"), "{refused}");
        world.wharf(&["volume", "rm", "small"]).ok();
    }
    let driver =
        json!({ "Name": "local", "Options": { "type": "tmpfs", "device": "tmpfs", "o": "size=1m" } });
    let options = json!({ "Labels": { "tier": "front" }, "DriverConfig": driver });
    let mount = json!({ "Type": "volume", "Source": "small", "Target": "/d", "VolumeOptions": options });
    assert_eq!(with(&world, IMAGE, &mount, size).ok(), "1024");
    assert_eq!(shown(&world, "small"), expected);
}

#[test]
fn a_volume_is_filled_and_shown_in_parts_as_its_mount_says() {
    let world = World::start();
    let image = busybox().layer(|layer| {
        directory(layer, "seed", 0o750);
        file(layer, "seed/grain", b"wheat\n", 0o640);
    });
    world.load(&image.build("seeded"));
    let volume = |name: &str, target: &str, options: Value| json!({ "Type": "volume", "Source": name, "Target": target, "VolumeOptions": options });
    let listed = |mount: &Value| with(&world, "seeded", mount, "ls /seed").ok();
    assert_eq!(listed(&volume("bare", "/seed", json!({ "NoCopy": true }))), "");
    assert_eq!(listed(&volume("full", "/seed", json!({ "NoCopy": false }))), "grain");
    let fill = volume("parts", "/v", json!({}));
    with(&world, "seeded", &fill, "mkdir -p /v/a/b; touch /v/a/b/leaf").ok();
    // A part is never filled from the image.
    assert_eq!(listed(&volume("parts", "/seed", json!({ "Subpath": "a/b" }))), "leaf");
    let written = volume("parts", "/d", json!({ "Subpath": "a" }));
    with(&world, "seeded", &written, "touch /d/new").ok();
    assert!(Path::new(&world.data_root().join("volumes/parts/_data/a/new")).exists());
}

#[test]
fn a_tmpfs_is_as_large_as_it_is_told() {
    let world = World::start();
    let options = json!({ "SizeBytes": 2 << 20, "Mode": 0o711 });
    let mount = json!({ "Type": "tmpfs", "Target": "/t", "TmpfsOptions": options });
    let script = "stat -c %a /t; head -c 3000000 /dev/zero >/t/x 2>&-; stat -c %s /t/x";
    assert_eq!(with(&world, IMAGE, &mount, script).ok(), "711\n2097152");
}
