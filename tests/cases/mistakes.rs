//! Wrong input: what it says, and that nothing is left of it.

use blackbox::{Archive, IMAGE, World, busybox, file, link};

/// `run` with these words fails with this code and text, and leaves no container.
#[track_caller]
fn refused(world: &World, words: &[&str], code: i32, text: &str) {
    for client in world.clients() {
        client.run(&[&["run", "--rm"], words].concat()).code(code).says(text);
    }
    assert_eq!(world.wharf(&["ps", "-aq"]).ok(), "", "left by {words:?}");
}

#[test]
fn commands_that_cannot_run() {
    let world = World::start();
    refused(&world, &[IMAGE, "absent"], 127, "exec: \"absent\": executable file not found in $PATH");
    refused(&world, &[IMAGE, "/absent"], 127, "no such file or directory");
    refused(&world, &[IMAGE, "/etc/passwd"], 126, "permission denied");
    refused(&world, &[IMAGE, "/etc"], 126, "permission denied");
    world.load(
        &busybox().layer(|layer| file(layer, "bin/foreign", b"\x7fELFnonsense", 0o755)).build("foreign"),
    );
    refused(&world, &["foreign", "foreign"], 255, "exec /bin/foreign: exec format error");
}

#[test]
fn the_socket_of_the_engine_is_given_to_nobody() {
    let world = World::start();
    for words in [["run", "--use-api-socket", IMAGE], ["create", "--use-api-socket", IMAGE]] {
        world.wharf(&words).code(125).says("unsupported flag --use-api-socket");
    }
    assert_eq!(world.wharf(&["ps", "-aq"]).ok(), "");
}

#[test]
fn names_limits_and_mounts_that_make_no_sense() {
    let world = World::start();
    refused(
        &world,
        &["--name", "a b", IMAGE],
        125,
        "Invalid container name (a b), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed",
    );
    refused(&world, &["--memory", "1k", IMAGE], 125, "Minimum memory limit allowed is 6MB");
    refused(&world, &["--cpus", "1000", IMAGE], 125, "range of CPUs is from 0.01 to");
    refused(&world, &["-v", "/x:relative", IMAGE], 125, "mount path must be absolute");
    refused(&world, &["-v", "/x:/", IMAGE], 125, "destination can't be '/'");
    refused(
        &world,
        &["-v", "bad name:/x", IMAGE],
        125,
        "includes invalid characters for a local volume name",
    );
    refused(&world, &["-w", "relative", IMAGE], 125, "it needs to be an absolute path");
    refused(&world, &["--network", "nowhere", IMAGE], 125, "network nowhere not found");
    refused(&world, &["--network", "container:nobody", IMAGE], 125, "No such container: nobody");
    refused(&world, &["-p", "99999:80", IMAGE], 125, "invalid hostPort");
    // The client makes a 127 of every text like this one.
    refused(&world, &["--device", "/dev/absent", IMAGE], 127, "no such file or directory");
    refused(&world, &["--sysctl", "nonsense.key=1", IMAGE], 125, "nonsense.key");
    refused(&world, &["--sysctl", "net.ipv4.nosuch=1", IMAGE], 127, "no such file or directory");
    refused(&world, &["--no-such-flag", IMAGE], 125, "unknown flag: --no-such-flag");
    refused(&world, &["UPPER"], 125, "repository name");
}

#[test]
fn unknown_commands_and_missing_words() {
    let world = World::start();
    world.wharf(&["nonsense"]).code(1).says("unknown command");
    world.wharf(&["rm"]).code(1).says("requires at least 1 argument");
    world.wharf(&["rename", "one"]).code(1).says("requires 2 arguments");
    world.wharf(&["start", "nobody"]).code(1).says("No such container: nobody");
    world.wharf(&["logs", "--since", "whenever", "x"]).code(1);
}

#[test]
fn an_engine_that_is_not_there_is_named() {
    let world = World::start();
    let output = blackbox::Session::start({
        let mut command = world.client("wharf", &["ps"]);
        command.env("DOCKER_HOST", "unix:///nowhere/wharf.sock");
        command
    })
    .finish();
    output.code(1).says("unix:///nowhere/wharf.sock");
}

#[test]
fn hostile_archives_are_refused_whole() {
    let world = World::start();
    let load = |archive: Vec<u8>| {
        let path = world.directory().join("hostile.tar");
        std::fs::write(&path, archive).unwrap();
        world.wharf(&["load", "-i", &path.to_string_lossy()])
    };
    let before = world.wharf(&["images", "-aq"]).ok();
    let cases: [(&str, Vec<u8>); 4] = [
        ("not a tar archive", b"this is no archive".repeat(100)),
        (
            "a path that leads out",
            Archive::new()
                .layer(|layer| raw(layer, b"../../../../../../tmp/wharf-escaped", b"x"))
                .build("hostile"),
        ),
        (
            "a file behind a link that leads out",
            Archive::new()
                .layer(|layer| {
                    link(layer, "out", "/tmp");
                    raw(layer, b"out/../../wharf-escaped", b"x");
                })
                .build("hostile"),
        ),
        ("half of an archive", {
            let mut whole = busybox().build("hostile");
            whole.truncate(whole.len() / 2);
            whole
        }),
    ];
    for (what, archive) in cases {
        let output = load(archive);
        assert_ne!(output.code, 0, "{what} was loaded\n{output}");
        assert!(!std::path::Path::new("/tmp/wharf-escaped").exists(), "{what} got out");
    }
    assert_eq!(world.wharf(&["images", "-aq"]).ok(), before);
}

#[test]
fn who_sends_much_is_told_why_nobody_wants_it() {
    let world = World::start();
    std::fs::write(world.directory().join("large.tar"), vec![0; 32 << 20]).unwrap();
    for client in world.clients() {
        for (line, words) in [
            ("import --platform a/b/c/d large.tar", "cannot parse platform specifier"),
            ("import large.tar BAD", "must be lowercase"),
            ("load --platform a/b/c/d -i large.tar", "cannot parse platform specifier"),
        ] {
            client.run(&line.split(' ').collect::<Vec<_>>()).code(1).says(words);
        }
    }
}

#[test]
fn links_out_of_the_root_stay_inside() {
    let world = World::start();
    let mark = format!("wharf-linked-{}", std::process::id());
    world.load(
        &busybox()
            .layer(|layer| {
                link(layer, "out", "/tmp");
                file(layer, &format!("out/{mark}"), b"inside\n", 0o644);
            })
            .build("linked"),
    );
    assert!(!std::path::Path::new("/tmp").join(&mark).exists());
    assert_eq!(world.wharf(&["run", "--rm", "linked", "cat", &format!("/tmp/{mark}")]).ok(), "inside");
}

/// An entry whose name the tar library would refuse to write.
fn raw(builder: &mut tar::Builder<Vec<u8>>, name: &[u8], bytes: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.set_cksum();
    builder.append(&header, bytes).unwrap();
}
