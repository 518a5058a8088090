//! `kill -9` of the engine in the middle of everything: what was asked for is there or it is not, and nothing of it
//! leaks. The delays are drawn from a seed, so that a failure can be met again.

use blackbox::{IMAGE, World, busybox, eventually};
use std::collections::BTreeSet;
use std::time::Duration;

use crate::registry::Registry;

/// Delays up to a bound, the same in each run of the tests.
struct Delays(u64);

impl Delays {
    /// xorshift64*: any generator would do.
    fn next(&mut self, below: u64) -> Duration {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        Duration::from_millis((self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % below)
    }
}

/// Kills the engine while clients run these commands, and starts it again.
fn interrupt(world: &mut World, delay: Duration, commands: &[Vec<String>]) {
    let sessions: Vec<_> = commands
        .iter()
        .map(|words| world.session(&words.iter().map(String::as_str).collect::<Vec<_>>()))
        .collect();
    std::thread::sleep(delay);
    world.kill_engine();
    drop(sessions);
    world.start_engine();
}

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

/// The containers that the engine knows, by name, with their state.
fn listed(world: &World) -> Vec<(String, String)> {
    let lines = world.wharf(&["ps", "-a", "--format", "{{.Names}} {{.State}}"]).ok();
    lines.lines().filter_map(|line| line.split_once(' ')).map(|(a, b)| (a.into(), b.into())).collect()
}

/// Every file and every shim is some container's, and the other way round.
fn nothing_is_half_there(world: &World) {
    let names = |path: std::path::PathBuf| -> BTreeSet<String> {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        entries
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .filter(|name| name.len() == 64)
            .collect()
    };
    eventually("as many files as containers", || {
        let all: BTreeSet<String> =
            world.wharf(&["ps", "-aq", "--no-trunc"]).ok().lines().map(str::to_owned).collect();
        let running: BTreeSet<String> =
            world.wharf(&["ps", "-q", "--no-trunc"]).ok().lines().map(str::to_owned).collect();
        (names(world.data_root().join("containers")) == all
            && names(world.data_root().join("snapshots")) == all
            && names(world.exec_root().join("containers")) == running)
            .then_some(())
    });
}

#[test]
fn in_the_middle_of_create() {
    let (mut world, mut delays) = (World::start(), Delays(1));
    for round in 0..12 {
        let commands: Vec<_> = (0..4)
            .map(|n| words(&format!("create --name half-{round}-{n} -v /inside -p 80 {IMAGE} sleep 1000")))
            .collect();
        interrupt(&mut world, delays.next(80), &commands);
        assert!(listed(&world).iter().all(|(_, state)| state == "created"), "{:?}", listed(&world));
        nothing_is_half_there(&world);
        // A name is taken by a container or by nobody.
        for n in 0..4 {
            let name = format!("half-{round}-{n}");
            if !listed(&world).iter().any(|(known, _)| *known == name) {
                world.wharf(&["create", "--name", &name, IMAGE]).ok();
            }
            world.wharf(&["rm", "-v", &name]).ok();
        }
    }
    assert_eq!(world.wharf(&["volume", "ls", "-q"]).ok(), "", "volumes went with what they were made for");
}

#[test]
fn in_the_middle_of_run_and_start() {
    let (mut world, mut delays) = (World::start(), Delays(2));
    for round in 0..14 {
        world.wharf(&["create", "--name", "waits", "-p", "8081:80", IMAGE, "sleep", "1000"]).ok();
        let commands = [
            words(&format!("run -d --name half -p 8080:80 -v /inside {IMAGE} sleep 1000")),
            words(&format!("run --rm --name passing {IMAGE} sleep 1000")),
            words(&format!("run --rm --name short {IMAGE} true")),
            words("start waits"),
        ];
        interrupt(&mut world, delays.next(200), &commands);
        for (name, state) in listed(&world) {
            assert!(
                ["running", "created"].contains(&state.as_str()) || name == "short",
                "{round}: {name} {state}"
            );
        }
        for (name, _) in listed(&world) {
            // `short` may end and go at any moment.
            if name == "short" {
                world.wharf(&["rm", "-fv", &name]);
                continue;
            }
            if name != "passing" {
                assert!([0, 1].contains(&world.wharf(&["start", &name]).code));
                assert_eq!(
                    world.inspect(&name)["State"]["Status"],
                    "running",
                    "ports and addresses are free"
                );
            }
            world.wharf(&["rm", "-fv", &name]).ok();
        }
        nothing_is_half_there(&world);
    }
}

#[test]
fn in_the_middle_of_removal() {
    let (mut world, mut delays) = (World::start(), Delays(3));
    for _ in 0..10 {
        world
            .wharf(&["run", "-d", "--name", "one", "-p", "8080:80", "-v", "/inside", IMAGE, "sleep", "1000"])
            .ok();
        world
            .wharf(&[
                "run",
                "--name",
                "two",
                IMAGE,
                "sh",
                "-c",
                "mkdir /many; touch /many/$(seq -s ' /many/' 500)",
            ])
            .ok();
        world.wharf(&["run", "-d", "--rm", "--name", "three", IMAGE, "sleep", "1000"]).ok();
        let commands = [words("rm -fv one"), words("rm two"), words("stop -t 0 three")];
        interrupt(&mut world, delays.next(80), &commands);
        for (name, state) in listed(&world) {
            assert_ne!((name.as_str(), state.as_str()), ("three", "created"));
            world.wharf(&["rm", "-fv", &name]);
        }
        eventually("the end of all", || listed(&world).is_empty().then_some(()));
        nothing_is_half_there(&world);
    }
}

#[test]
fn in_the_middle_of_exec() {
    let (mut world, mut delays) = (World::start(), Delays(4));
    world.wharf(&["run", "-d", "--name", "host", IMAGE, "sleep", "1000"]).ok();
    for _ in 0..10 {
        let commands: Vec<_> = (0..4).map(|n| words(&format!("exec host sleep 0.{n}"))).collect();
        interrupt(&mut world, delays.next(60), &commands);
        assert_eq!(world.wharf(&["exec", "host", "echo", "here"]).ok(), "here");
    }
    eventually("the end of all execs", || {
        (world.wharf(&["top", "host"]).ok().lines().count() == 2).then_some(())
    });
    assert_eq!(world.inspect("host")["State"]["Status"], "running");
}

#[test]
fn in_the_middle_of_load_and_commit() {
    let (mut world, mut delays) = (World::start(), Delays(6));
    let large: Vec<u8> =
        (0..4_000_000_u64).map(|n| (n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as u8).collect();
    let archive = busybox().layer(|builder| blackbox::file(builder, "large", &large, 0o644)).build("loaded");
    std::fs::write(world.directory().join("loaded.tar"), archive).unwrap();
    world.wharf(&["run", "--name", "source", IMAGE, "sh", "-c", "yes | head -c 1000000 > /made"]).ok();
    let whole = |world: &World, image: &str, file: &str, size: &str| {
        if !world.wharf(&["images", "-q", image]).ok().is_empty() {
            assert_eq!(world.wharf(&["run", "--rm", image, "wc", "-c", file]).ok(), format!("{size} {file}"));
            world.wharf(&["rmi", image]).ok();
        }
    };
    for _ in 0..8 {
        interrupt(
            &mut world,
            delays.next(250),
            &[words("load -q -i loaded.tar"), words("commit source made")],
        );
        // What is listed is whole.
        whole(&world, "loaded", "/large", "4000000");
        whole(&world, "made", "/made", "1000000");
        assert_eq!(world.inspect("source")["State"]["Status"], "exited");
    }
    world.wharf(&["load", "-q", "-i", "loaded.tar"]).ok();
    world.wharf(&["commit", "source", "made"]).ok();
    for (image, file, size) in [("loaded", "/large", "4000000"), ("made", "/made", "1000000")] {
        whole(&world, image, file, size);
    }
}

#[test]
fn in_the_middle_of_a_pull() {
    let (mut world, mut delays) = (World::start(), Delays(5));
    let _registry = Registry::start(&world);
    let large: Vec<u8> =
        (0..6_000_000_u64).map(|n| (n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as u8).collect();
    let image = busybox().layer(|builder| blackbox::file(builder, "large", &large, 0o644));
    let name = "localhost:5000/team/large:1";
    world.load(&image.build(name));
    world.wharf(&["push", "-q", name]).ok();
    world.wharf(&["rmi", name]).ok();
    for _ in 0..8 {
        interrupt(&mut world, delays.next(300), &[words(&format!("pull -q {name}"))]);
        // What is listed is whole.
        if !world.wharf(&["images", "-q", name]).ok().is_empty() {
            assert_eq!(world.wharf(&["run", "--rm", name, "wc", "-c", "/large"]).ok(), "6000000 /large");
            world.wharf(&["rmi", name]).ok();
        }
    }
    world.wharf(&["pull", "-q", name]).ok();
    assert_eq!(world.wharf(&["run", "--rm", name, "wc", "-c", "/large"]).ok(), "6000000 /large");
}
