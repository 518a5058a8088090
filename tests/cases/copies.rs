//! `cp` in both directions, for running and for stopped containers.

use blackbox::{IMAGE, World, eventually};
use std::fs;
use std::os::unix::fs::FileTypeExt as _;

/// Others of the machine would find a file in its place (`/dev/null`).
#[test]
fn a_device_of_ours_is_not_replaced() {
    let world = World::start();
    let device = world.directory().join("device");
    let made = std::process::Command::new("mknod").arg(&device).args(["c", "1", "3"]).status();
    assert!(made.unwrap().success());
    world.wharf(&["create", "--name", "box", IMAGE, "true"]).ok();
    let shown = device.to_string_lossy();
    for client in world.clients() {
        let refused =
            format!("invalid output path: \"{shown}\" must be a directory or a regular file: got a device");
        client.run(&["cp", "box:/etc/hosts", &shown]).code(1).says(&refused);
        assert!(fs::metadata(&device).unwrap().file_type().is_char_device());
    }
}

#[test]
fn files_and_directories_by_dockers_rules() {
    let world = World::start();
    let here = world.directory().join("here");
    fs::create_dir_all(here.join("tree/branch")).unwrap();
    fs::write(here.join("file"), "text\n").unwrap();
    fs::write(here.join("tree/branch/leaf"), "green\n").unwrap();
    let at = |name: &str| here.join(name).to_string_lossy().into_owned();
    for client in world.clients() {
        for running in [true, false] {
            let command: &[&str] = if running { &["sleep", "1000"] } else { &["true"] };
            world.wharf(&[&["run", "-d", "--name", "box", IMAGE], command].concat()).ok();
            if !running {
                world.wharf(&["wait", "box"]).ok();
            }
            client.run(&["cp", &at("file"), "box:/tmp/renamed"]).code(0);
            client.run(&["cp", &at("tree"), "box:/tmp"]).code(0);
            client.run(&["cp", &format!("{}/.", at("tree")), "box:/tmp/fresh"]).code(0);
            let _ = fs::remove_dir_all(at("back"));
            client.run(&["cp", "box:/tmp", &at("back")]).code(0);
            assert_eq!(fs::read_to_string(at("back/renamed")).unwrap(), "text\n");
            assert_eq!(fs::read_to_string(at("back/tree/branch/leaf")).unwrap(), "green\n");
            assert_eq!(fs::read_to_string(at("back/fresh/branch/leaf")).unwrap(), "green\n");
            client
                .run(&["cp", "box:/absent", &at("x")])
                .code(1)
                .says("Could not find the file /absent in container box");
            client.run(&["cp", &at("file"), "box:/no/such/place/"]).code(1);
            let stream = client.run(&["cp", "box:/tmp/renamed", "-"]).code(0);
            assert!(stream.stdout.starts_with("renamed\0"), "a tar archive");
            client.run(&["rm", "-f", "box"]).code(0);
        }
    }
}

#[test]
fn links_in_the_container_cannot_lead_outside() {
    let world = World::start();
    let secret = world.directory().join("secret");
    fs::write(&secret, "outside\n").unwrap();
    let script =
        format!("ln -s {} /trap; ln -s /../../../../../.. /up; sleep 1000", world.directory().display());
    world.wharf(&["run", "-d", "--name", "tricky", IMAGE, "sh", "-c", &script]).ok();
    eventually("the links", || {
        (world.wharf(&["exec", "tricky", "test", "-L", "/up"]).code == 0).then_some(())
    });
    let target = world.directory().join("got").to_string_lossy().into_owned();
    world.wharf(&["cp", "tricky:/trap/secret", &target]).code(1);
    // The kernel's links mean something to processes of the container alone.
    let nowhere = world.wharf(&["cp", "tricky:/proc/self", "-"]).code(1);
    nowhere.says("Could not find the file /proc/self in container tricky");
    world.wharf(&["cp", &secret.to_string_lossy(), "tricky:/up/planted"]).code(0);
    assert_eq!(world.wharf(&["exec", "tricky", "cat", "/planted"]).ok(), "outside");
    assert!(!std::path::Path::new("/planted").exists());
}

#[test]
fn what_is_mounted_is_not_replaced() {
    let world = World::start();
    let here = world.directory().join("here");
    fs::create_dir_all(here.join("bound")).unwrap();
    fs::write(here.join("old"), "old\n").unwrap();
    fs::write(here.join("new"), "new\n").unwrap();
    fs::write(here.join("bound/kept"), "").unwrap();
    let at = |name: &str| here.join(name).to_string_lossy().into_owned();
    fs::create_dir(here.join("over")).unwrap();
    fs::write(here.join("over/bound"), "a file over a directory").unwrap();
    for client in world.clients() {
        let (file, directory) = (at("old") + ":/file:ro", at("bound") + ":/bound");
        let binds =
            ["-v", &file, "-v", &directory, "-v", "data:/data", "-v", &(at("old") + ":/data/deep/file")];
        client.run(&[&["run", "-d", "--name", "box"], &binds[..], &[IMAGE, "sleep", "1000"]].concat()).ok();
        for running in [true, false] {
            if !running {
                client.run(&["stop", "-t", "0", "box"]).code(0);
            }
            for place in ["/file", "/etc/hosts", "/data/deep/file"] {
                let refused = client.run(&["cp", &at("new"), &format!("box:{place}")]);
                let name = place.rsplit('/').next().unwrap();
                let told = format!("RemoveAll {name}: device or resource busy");
                assert!(refused.code == 1 && refused.stderr.contains(&told), "{place}: {refused:?}");
            }
            let over = world.host().try_run(&[
                "sh",
                "-c",
                &format!(
                    "tar -C {} -c bound | curl -s --unix-socket {} -X PUT --data-binary @- \
                     'http://x/containers/box/archive?path=/'",
                    at("over"),
                    world.socket().display()
                ),
            ]);
            assert!(String::from_utf8_lossy(&over.stdout).contains("device or resource busy"), "{over:?}");
            client.run(&["cp", &at("new"), "box:/data/new"]).code(0);
        }
        client.run(&["start", "box"]).code(0);
        let seen = client.run(&["exec", "box", "cat", "/file", "/data/deep/file", "/data/new"]).ok();
        assert_eq!(seen, "old\nold\nnew");
        assert!(here.join("bound/kept").exists());
        world.tidy();
    }
}

/// What is copied above mounts goes through them, and comes from them, whether the container runs or not.
#[test]
fn mounts_are_seen_without_a_run() {
    let world = World::start();
    let here = world.directory().join("here");
    fs::create_dir_all(here.join("site/conf.d")).unwrap();
    fs::create_dir_all(here.join("etc")).unwrap();
    fs::create_dir_all(here.join("bound/locked")).unwrap();
    fs::write(here.join("site/conf.d/app.conf"), "new\n").unwrap();
    fs::write(here.join("etc/hosts"), "mine\n").unwrap();
    fs::write(here.join("etc/zzz.conf"), "last\n").unwrap();
    fs::write(here.join("bound/file"), "of the host\n").unwrap();
    let at = |name: &str| here.join(name).to_string_lossy().into_owned();
    let bind = format!("{}:/srv/app/bound", at("bound"));
    let locked = format!("{}:/srv/app/locked:ro", at("bound/locked"));
    for client in world.clients() {
        let flags = ["create", "--name", "box", "-v", "vol:/srv/app/conf.d", "-v", &bind, "-v", &locked];
        let program =
            ["sh", "-c", "cat /srv/app/conf.d/app.conf /etc/zzz.conf; echo data > /srv/app/conf.d/data"];
        client.run(&[&flags[..], &[IMAGE], &program].concat()).ok();
        client.run(&["cp", &format!("{}/.", at("site")), "box:/srv/app/"]).code(0);
        // Nobody's file yet: it may be written, and is covered by the first run.
        client.run(&["cp", &at("etc"), "box:/"]).code(0);
        fs::create_dir_all(here.join("deep/locked")).unwrap();
        fs::write(here.join("deep/locked/file"), "x").unwrap();
        client.run(&["cp", &format!("{}/.", at("deep")), "box:/srv/app/"]).code(1);
        assert_eq!(client.run(&["start", "-a", "box"]).ok(), "new\nlast");
        let _ = fs::remove_dir_all(at("back"));
        client.run(&["cp", "box:/srv/app", &at("back")]).code(0);
        let text = |name: &str| fs::read_to_string(at(name)).unwrap();
        assert_eq!(
            (text("back/conf.d/app.conf"), text("back/conf.d/data")),
            ("new\n".into(), "data\n".into())
        );
        assert_eq!(text("back/bound/file"), "of the host\n");
        let etc = client.run(&["cp", "box:/etc", "-"]).code(0);
        assert!(etc.stdout.contains("localhost") && !etc.stdout.contains("mine"), "the engine's own hosts");
        client.run(&["cp", &at("etc/hosts"), "box:/etc/hosts"]).code(1).says("busy");
        let changes = client.run(&["diff", "box"]).ok();
        assert!(changes.contains("A /srv/app/conf.d\n") && !changes.contains("app.conf"), "{changes}");
        client.run(&["rm", "box"]).ok();
        client.run(&["volume", "rm", "vol"]).ok();
        fs::remove_dir_all(here.join("deep")).unwrap();
    }
    assert!(!here.join("bound/locked/file").exists());
}
