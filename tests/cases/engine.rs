//! `wharfd` itself: its flags, its socket, several of it.

use blackbox::{IMAGE, Settings, World, eventually, signal};
use std::os::unix::fs::PermissionsExt;

#[test]
fn the_socket_belongs_to_root_and_its_group_alone() {
    let world = World::start();
    let mode = std::fs::metadata(world.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
}

#[test]
fn two_engines_live_side_by_side() {
    let worlds = [World::start(), World::start()];
    for world in &worlds {
        world
            .wharf(&["run", "-d", "--name", "same", "-p", "8080:80", IMAGE, "httpd", "-f", "-h", "/www"])
            .ok();
    }
    worlds[0].wharf(&["rm", "-f", "same"]).ok();
    assert_eq!(worlds[1].wharf(&["ps", "--format", "{{.Names}}"]).ok(), "same");
    assert_eq!(
        worlds[1].host().run(&["curl", "-sS", "-m", "5", "http://127.0.0.1:8080/"]),
        "hello from inside\n"
    );
}

#[test]
fn a_second_engine_on_the_same_roots_is_refused() {
    let mut world = World::start();
    let output = world.try_engine();
    assert_ne!(output.code, 0, "{output}");
    assert_eq!(world.wharf(&["ps", "-q"]).ok(), "", "the first one is not disturbed");
    world.stop_engine();
    world.start_engine();
}

#[test]
fn configuration_files_are_checked() {
    let world = World::start();
    let validate = |text: &str, flags: &[&str]| {
        let file = world.directory().join("other.json");
        std::fs::write(&file, text).unwrap();
        world.engine_command(&[&["--validate", "--config-file", file.to_str().unwrap()], flags].concat())
    };
    validate("{\"debug\": true}", &[]).code(0).says("configuration OK");
    validate("{\"nonsense\": true}", &[])
        .code(1)
        .says("the following directives don't match any configuration option: nonsense");
    validate("{\"log-level\": \"warn\"}", &["--log-level", "info"]).code(1).says(
        "the following directives are specified both as a flag and in the configuration file: log-level",
    );
    validate("{broken", &[]).code(1);
    world.engine_command(&["--validate", "--config-file", "/nowhere.json"]).code(1);
    world.engine_command(&["--no-such-flag"]).code(1);
}

#[test]
fn hangup_reloads_the_configuration() {
    let world = World::start();
    std::fs::write(world.config_file(), "{\"labels\": [\"colour=blue\"]}").unwrap();
    signal(world.engine_pid(), "HUP");
    eventually("the new label", || {
        world.docker(&["info", "--format", "{{.Labels}}"]).ok().contains("colour=blue").then_some(())
    });
    std::fs::write(world.config_file(), "{broken").unwrap();
    signal(world.engine_pid(), "HUP");
    assert!(
        world.wharf(&["info", "--format", "{{.Labels}}"]).ok().contains("colour=blue"),
        "a bad file changes nothing"
    );
}

#[test]
fn the_api_is_negotiated() {
    let world = World::start();
    let get = |path: &str| {
        let output = world.host().run(&[
            "curl",
            "-s",
            "-w",
            "\n%{http_code}",
            "--unix-socket",
            world.socket().to_str().unwrap(),
            &format!("http://d{path}"),
        ]);
        let (body, code) = output.rsplit_once('\n').unwrap();
        (code.parse::<u16>().unwrap(), body.to_owned())
    };
    assert_eq!(get("/_ping"), (200, "OK".to_owned()));
    assert_eq!(get("/v1.24/containers/json"), (200, "[]\n".to_owned()));
    assert_eq!(get("/containers/json").0, 200);
    let (code, body) = get("/v1.23/info");
    assert_eq!(code, 400);
    assert!(body.contains("client version 1.23 is too old"), "{body}");
    let (code, body) = get("/v9.99/info");
    assert_eq!(code, 400);
    assert!(body.contains("client version 9.99 is too new"), "{body}");
    assert_eq!(get("/nowhere"), (404, "{\"message\":\"page not found\"}\n".to_owned()));
    assert_eq!(
        get("/containers/absent/json"),
        (404, "{\"message\":\"No such container: absent\"}\n".to_owned())
    );
}

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
        disk.empty();
        world.wharf(&["rm", "lives", "ready"]).ok();
        world.wharf(&["run", "--rm", "--name", "late", IMAGE, "true"]).ok();
    }
}

/// A file system of 40 MB on a file.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn mount() -> SmallDisk {
        let disk = SmallDisk(std::env::temp_dir().join(format!("wharf-small-{}", std::process::id())));
        std::fs::create_dir_all(disk.path()).unwrap();
        let (image, path) = (disk.image().display().to_string(), disk.path().display().to_string());
        sh(&format!("truncate -s 40M {image} && mkfs.ext4 -q {image} && mount -o loop {image} {path}"));
        // ext4 keeps some blocks for its own use, by which a full disk still takes directories.
        sh(&format!("echo 0 > /sys/fs/ext4/$(basename $(findmnt -no SOURCE {path}))/reserved_clusters"));
        disk
    }

    fn path(&self) -> &std::path::Path {
        &self.0
    }

    fn image(&self) -> std::path::PathBuf {
        self.0.with_extension("img")
    }

    /// Until no block is left: in large pieces first, then in single blocks.
    fn fill(&self) {
        let path = self.path().display();
        sh(&format!("! cat /dev/zero > {path}/filler-1 2> /dev/null; sync -f {path}"));
        sh(&format!("! dd if=/dev/zero of={path}/filler-2 bs=1k conv=fsync 2> /dev/null"));
        assert_eq!(sh(&format!("stat -f -c %f {path}")), "0\n");
    }

    fn empty(&self) {
        sh(&format!("rm {}/filler-*", self.path().display()));
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let (image, path) = (self.image().display().to_string(), self.path().display().to_string());
        sh(&format!("umount {path} || umount -l {path}; rmdir {path}; rm {image}"));
    }
}

fn sh(script: &str) -> String {
    let output = std::process::Command::new("sh").args(["-ec", script]).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
