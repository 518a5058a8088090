//! Images in and out of archives, their names and their ends.

use blackbox::{IMAGE, World, busybox, directory, file};

use crate::registry::Registry;

#[test]
fn list_tag_and_remove() {
    let world = World::start();
    for client in world.clients() {
        client.run(&["tag", IMAGE, "example.com/team/box:1"]).code(0);
        let listed = client.run(&["images", "--format", "{{.Repository}}:{{.Tag}}"]).ok();
        assert!(
            listed.lines().any(|line| line == "example.com/team/box:1") && listed.contains("busybox:latest"),
            "{listed}"
        );
        let head = client.run(&["images"]).ok();
        let head: Vec<&str> =
            head.lines().next().unwrap().split("  ").map(str::trim).filter(|w| !w.is_empty()).collect();
        assert_eq!(head, ["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"]);
        assert_eq!(client.run(&["rmi", "example.com/team/box:1"]).ok(), "Untagged: example.com/team/box:1");
        client.run(&["rmi", "absent"]).code(1).says("No such image: absent:latest");
        client.run(&["tag", IMAGE, "UPPER"]).code(1).says("must be lowercase");
    }
}

#[test]
fn save_and_load_keep_the_image() {
    let world = World::start();
    let other = World::start();
    let id = world.wharf(&["images", "-q", "--no-trunc", IMAGE]).ok();
    other.wharf(&["rmi", "-f", IMAGE]).ok();
    for client in world.clients() {
        let file = world.directory().join("saved.tar");
        client.run(&["save", "-o", file.to_str().unwrap(), IMAGE]).code(0);
        let output = other.docker(&["load", "-i", file.to_str().unwrap()]).ok();
        assert!(output.contains("Loaded image: busybox:latest"), "{output}");
        assert_eq!(other.wharf(&["images", "-q", "--no-trunc", IMAGE]).ok(), id);
        assert_eq!(other.wharf(&["run", "--rm", IMAGE, "echo", "alive"]).ok(), "alive");
        other.wharf(&["rmi", IMAGE]).ok();
    }
}

#[test]
fn an_image_in_use_is_kept() {
    let world = World::start();
    world.wharf(&["run", "-d", "--name", "user", IMAGE, "sleep", "1000"]).ok();
    for client in world.clients() {
        client.run(&["rmi", IMAGE]).code(1).says("conflict: unable to");
    }
    world.wharf(&["rm", "-f", "user"]).ok();
    let ids = world.docker(&["images", "-q", IMAGE]).ok();
    let removed = world.docker(&["rmi", &ids]).ok();
    assert!(
        removed.contains("Untagged: busybox:latest") && removed.contains("Deleted: sha256:"),
        "{removed}"
    );
}

#[test]
fn layers_stack_with_whiteouts() {
    let world = World::start();
    world.load(
        &busybox()
            .layer(|layer| {
                directory(layer, "stack", 0o755);
                file(layer, "stack/gone", b"1", 0o644);
                file(layer, "stack/kept", b"2", 0o644);
                directory(layer, "opaque", 0o755);
                file(layer, "opaque/hidden", b"3", 0o644);
            })
            .layer(|layer| {
                file(layer, "stack/.wh.gone", b"", 0o644);
                directory(layer, "opaque", 0o755);
                file(layer, "opaque/.wh..wh..opq", b"", 0o644);
                file(layer, "opaque/shown", b"4", 0o644);
            })
            .build("stacked"),
    );
    let output = world.wharf(&["run", "--rm", "stacked", "sh", "-c", "ls /stack /opaque"]).ok();
    assert_eq!(output, "/opaque:\nshown\n\n/stack:\nkept");
}

#[test]
fn the_image_configuration_rules_the_container() {
    let world = World::start();
    world.load(
        &busybox()
            .set("Entrypoint", serde_json::json!(["echo", "entry"]))
            .set("Cmd", serde_json::json!(["command"]))
            .set("Env", serde_json::json!(["PATH=/bin", "FROM_IMAGE=1"]))
            .set("WorkingDir", serde_json::json!("/www"))
            .set("User", serde_json::json!("web"))
            .set("Labels", serde_json::json!({"made": "here"}))
            .build("configured"),
    );
    for client in world.clients() {
        assert_eq!(client.run(&["run", "--rm", "configured"]).ok(), "entry command");
        assert_eq!(client.run(&["run", "--rm", "configured", "other"]).ok(), "entry other");
        let output = client
            .run(&["run", "--rm", "--entrypoint", "sh", "configured", "-c", "pwd; id -un; echo $FROM_IMAGE"])
            .ok();
        assert_eq!(output, "/www\nweb\n1");
        assert_eq!(client.run(&["inspect", "-f", "{{.Config.Labels.made}}", "configured"]).ok(), "here");
    }
}

#[test]
fn history_commit_export_and_import() {
    let world = World::start();
    for client in world.clients() {
        world
            .wharf(&["run", "--name", "changed", IMAGE, "sh", "-c", "echo new > /added; rm /www/index.html"])
            .ok();
        let diff = client.run(&["diff", "changed"]).ok();
        assert!(
            diff.lines().any(|line| line == "A /added")
                && diff.lines().any(|line| line == "D /www/index.html"),
            "{diff}"
        );
        let id = client.run(&["commit", "-m", "note", "--change", "ENV K=V", "changed", "committed"]).ok();
        assert!(id.starts_with("sha256:"), "{id}");
        let output =
            client.run(&["run", "--rm", "committed", "sh", "-c", "cat /added; echo $K; ls /www"]).ok();
        assert_eq!(output, "new\nV");
        assert!(client.run(&["history", "committed"]).ok().contains("note"));
        let archive = world.directory().join("exported.tar");
        client.run(&["export", "-o", archive.to_str().unwrap(), "changed"]).code(0);
        client.run(&["import", archive.to_str().unwrap(), "imported"]).code(0);
        assert_eq!(client.run(&["run", "--rm", "imported", "/bin/cat", "/added"]).ok(), "new");
        client.run(&["rm", "changed"]).code(0);
        client.run(&["rmi", "committed", "imported"]).code(0);
    }
}

#[test]
fn the_wrong_platform_is_refused() {
    let world = World::start();
    let file = world.directory().join("saved.tar");
    world.wharf(&["save", "-o", file.to_str().unwrap(), IMAGE]).ok();
    let own = world.wharf(&["image", "inspect", "-f", "{{.Os}}/{{.Architecture}}", IMAGE]).ok();
    let found =
        format!("was found but its platform ({own}) does not match the specified platform (linux/s390x)");
    for client in world.clients() {
        let other = world.directory().join("other.tar");
        let other = other.to_str().unwrap();
        client
            .run(&["save", "--platform", "linux/s390x", "-o", other, IMAGE])
            .code(1)
            .says("no suitable export target found for platform linux/s390x");
        client.run(&["save", "--platform", &own, "-o", other, IMAGE]).code(0);
        client.run(&["history", "--platform", "linux/s390x", IMAGE]).code(1).says(&found);
        client.run(&["history", "-q", "--platform", &own, IMAGE]).code(0);
        client.run(&["image", "inspect", "--platform", "linux/s390x", IMAGE]).code(1).says(&found);
        client
            .run(&["load", "--platform", "linux/s390x", "-i", file.to_str().unwrap()])
            .code(1)
            .says("linux/s390x");
        let loaded = client.run(&["load", "--platform", &own, "-i", file.to_str().unwrap()]).ok();
        assert_eq!(loaded, "Loaded image: busybox:latest");
        client.run(&["tag", IMAGE, "localhost:1/x"]).code(0);
        client.run(&["push", "--platform", "linux/s390x", "localhost:1/x"]).code(1).says("linux/s390x");
    }
}

#[test]
fn archives_come_packed_in_every_way() {
    let world = World::start();
    let run = |script: &str| {
        let output = std::process::Command::new("sh")
            .args(["-ec", script])
            .current_dir(world.directory())
            .output()
            .unwrap();
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    };
    world.wharf(&["save", "-o", world.directory().join("saved.tar").to_str().unwrap(), IMAGE]).ok();
    world.wharf(&["create", "--name", "source", IMAGE]).ok();
    world.wharf(&["export", "-o", world.directory().join("root.tar").to_str().unwrap(), "source"]).ok();
    run(
        "for file in saved root; do for way in gzip bzip2 xz; do $way -c $file.tar > $file.tar.$way; done; done",
    );
    for way in ["gzip", "bzip2", "xz"] {
        let path = |name: &str| world.directory().join(format!("{name}.tar.{way}")).display().to_string();
        for client in world.clients() {
            assert_eq!(
                client.run(&["load", "-i", &path("saved")]).ok(),
                "Loaded image: busybox:latest",
                "{way}"
            );
            client.run(&["import", &path("root"), way]).code(0);
            let page = client.run(&["run", "--rm", way, "cat", "/www/index.html"]).ok();
            assert_eq!(page, "hello from inside", "{way}");
            // Whatever it came in, it can go out again.
            client.run(&["save", "-o", &path("again"), way]).code(0);
        }
    }
}

#[test]
fn the_tree_of_images_is_drawn_alike() {
    let world = World::start();
    world.wharf(&["create", "--name", "user", IMAGE, "true"]).ok();
    let long = "localhost/a-name/that-is/longer/than/any/terminal/has/room/for/in/its/first/column:1";
    world.wharf(&["commit", "user", long]).ok();
    world.wharf(&["tag", long, "localhost/b:2"]).ok();
    world.wharf(&["commit", "user"]).ok();
    let tree = world.wharf(&["images", "--tree", IMAGE]).ok();
    assert!(tree.ends_with(" 0B   U    "), "{tree}");
    // Docker's older clients look for users elsewhere.
    world.wharf(&["rm", "user"]).ok();
    let [ours, theirs] = world.clients();
    for words in [
        &["images", "--tree"][..],
        &["images", "--tree", "-a"],
        &["images", "--tree", IMAGE],
        &["images", "--tree", "-f", "dangling=true"],
        &["images", "--tree", "-q"],
        &["images", "--tree", "--format", "json"],
    ] {
        let (our, their) = (ours.run(words), theirs.run(words));
        assert_eq!((our.code, &our.stdout), (their.code, &their.stdout), "{our}{their}");
        assert_eq!(our.stderr.trim_start_matches("wharf: "), their.stderr, "{words:?}");
    }
    for columns in [60, 90, 200] {
        let words = ["images", "--tree", "-a"];
        let (our, their) = (ours.in_terminal(&words, 24, columns), theirs.in_terminal(&words, 24, columns));
        assert_eq!(our.stdout, their.stdout, "{columns} columns");
    }
}

#[test]
fn a_container_stands_still_while_it_is_committed_unless_it_is_not_to() {
    let world = World::start();
    world.wharf(&["run", "-d", "--name", "it", IMAGE, "sleep", "1000"]).ok();
    let pauses = |words: &[&str]| {
        world.wharf(&[words, &["it", "made"]].concat()).ok();
        let told =
            ["events", "--since", "0", "--until", "0s", "--filter", "event=pause", "--format", "{{.Action}}"];
        world.wharf(&told).ok().lines().count()
    };
    assert_eq!(pauses(&["commit", "--no-pause"]), 0);
    assert_eq!(pauses(&["commit", "--pause=false"]), 0);
    assert_eq!(pauses(&["commit", "--no-pause=false"]), 1);
    assert_eq!(pauses(&["commit"]), 2);
    assert_eq!(world.inspect("it")["State"]["Status"], "running");
}

#[test]
fn layers_in_an_archive_may_be_packed_by_anything() {
    let world = World::start();
    let _registry = Registry::start(&world);
    let directory = world.directory().join("archive");
    for packer in ["gzip", "bzip2", "xz"] {
        let script = format!(
            "rm -rf {0} && mkdir {0} && cd {0} && tar x && for layer in */layer.tar; do {packer} <$layer >packed && mv packed $layer; done && tar c *",
            directory.display()
        );
        let mut command = std::process::Command::new("sh");
        command.args(["-ec", &script]);
        let name = format!("localhost:5000/by-{packer}");
        let packed = piped(command, &busybox().layer(|layer| file(layer, packer, b"", 0o644)).build(&name));
        world.load(&packed);
        let listed = world.wharf(&["run", "--rm", &name, "ls", "/"]).ok();
        assert!(listed.lines().any(|line| line == packer), "{listed}");
        // It goes on as any other: to an archive, to a registry.
        let saved = world.directory().join("saved.tar");
        world.wharf(&["save", "-o", saved.to_str().unwrap(), &name]).ok();
        world.wharf(&["push", &name]).ok();
        world.wharf(&["rmi", &name]).ok();
        world.wharf(&["pull", "-q", &name]).ok();
        world.wharf(&["rmi", &name]).ok();
        world.wharf(&["load", "-i", saved.to_str().unwrap()]).ok();
    }
}

/// What a program makes of these bytes.
fn piped(mut command: std::process::Command, input: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    use std::process::Stdio;
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("sh runs");
    child.stdin.take().expect("it is piped").write_all(input).expect("it reads all before it writes");
    let output = child.wait_with_output().expect("a child can be waited for");
    assert!(output.status.success());
    output.stdout
}

#[test]
fn an_image_is_removed_only_for_its_platform() {
    let world = World::start();
    let other = if cfg!(target_arch = "x86_64") { "linux/arm64" } else { "linux/amd64" };
    let own = if cfg!(target_arch = "x86_64") { "linux/amd64" } else { "linux/arm64" };
    for client in world.clients() {
        client.run(&["tag", IMAGE, "one"]).ok();
        client.run(&["rmi", "--platform", other, "one"]).code(1).says(&format!(
            "image with reference one was found but its platform ({own}) does not match the specified platform ({other})"
        ));
        let both = format!("{own},{other}");
        client.run(&["rmi", "--platform", &both, "one"]).code(1).says("multiple platforms are not supported");
        assert_eq!(client.run(&["rmi", "--platform", own, "one"]).ok(), "Untagged: one:latest");
    }
}
