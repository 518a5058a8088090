//! Each write of a command fails once, as on a broken disk and as on a full one, and once the engine is killed there. What
//! comes of it is a clear error or the whole; nothing is left of what was refused; the engine that met it does the same
//! command right afterwards.
//!
//! Commands that need no container; those of a container's life are walked through in `points`.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use blackbox::{Archive, Output, Session, World, eventually, file};

use crate::registry::Registry;

/// A command and what is known of it.
struct Command {
    ask: String,
    prepare: Option<String>,
    /// Takes away what it has made; done again, it may find nothing.
    undo: Option<&'static str>,
    /// Whether it has been done.
    done: fn(&World) -> bool,
}

const ROUNDS: [&str; 3] = ["eio", "enospc", "crash"];

/// A point at which giving something back fails.
const REMOVAL: &str = "take a blob out of sight";

/// More points than any of them has.
const LIMIT: usize = 150;

fn ask(world: &World, line: &str) -> Output {
    world.wharf(&line.split(' ').collect::<Vec<_>>())
}

/// Everything that outlives a command: files of the stores, networks, interfaces. What is being deleted behind an answer
/// is given the time for it.
fn kept(world: &World) -> BTreeSet<String> {
    let being_deleted = |name: &String| name.contains("gone/") || name.contains("/new-");
    eventually_none(|| all_kept(world).into_iter().filter(being_deleted).collect());
    all_kept(world)
}

fn all_kept(world: &World) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for place in [
        "blobs/sha256",
        "blobs/ingest",
        "layers/sha256",
        "layers/chains",
        "layers/work",
        "layers/gone",
        "snapshots/gone",
        "volumes",
    ] {
        let entries = std::fs::read_dir(world.data_root().join(place)).into_iter().flatten().flatten();
        all.extend(entries.map(|entry| format!("{place}/{}", entry.file_name().to_string_lossy())));
    }
    all.extend(world.host().interfaces());
    for line in ["images -aq", "network ls -q", "volume ls -q"] {
        all.extend(ask(world, line).ok().lines().map(|id| format!("{line}: {id}")));
    }
    all
}

/// What a failed command may leave: bytes that the next try goes on from.
fn is_for_later(name: &str) -> bool {
    name.starts_with("blobs/sha256/") || name.starts_with("blobs/ingest/sha256-")
}

/// Asks, and waits for the answer; which points were passed. If the engine dies of it (it may live a moment longer than the
/// connection), there is another one afterwards.
fn dare(world: &mut World, line: &str, deadly: usize) -> (Output, Vec<String>) {
    let mut client: Session = world.session(&line.split(' ').collect::<Vec<_>>());
    while !client.has_ended() && !world.engine_has_ended() {
        std::thread::sleep(Duration::from_millis(5));
    }
    // Something may still be done behind the answer.
    let patience = Instant::now() + Duration::from_millis(200);
    while deadly > 0 && world.passed().len() < deadly && Instant::now() < patience {
        std::thread::sleep(Duration::from_millis(10));
    }
    let points = world.disarm();
    if deadly > 0 && points.len() >= deadly {
        eventually("the engine's death", || world.engine_has_ended().then_some(()));
        world.kill_engine();
        world.start_engine();
    }
    (client.finish(), points)
}

fn walk(world: &mut World, command: &Command) {
    for fault in ROUNDS {
        for count in 1.. {
            assert!(count < LIMIT, "{:?} passes {LIMIT} points and more", command.ask);
            if let Some(line) = &command.prepare {
                ask(world, line).ok();
            }
            let before = kept(world);
            world.arm(&format!("{fault} {count}"));
            let (answer, points) = dare(world, &command.ask, if fault == "crash" { count } else { 0 });
            let met = points.len() >= count;
            let place = format!("{:?} with {fault} {count}, at {:?}", command.ask, points.get(count - 1));
            if met && fault != "crash" && answer.code != 0 {
                let reason = if fault == "eio" { "input/output error" } else { "no space left on device" };
                assert!(answer.stderr.to_lowercase().contains(reason), "{place}: no reason in {answer}");
            }
            if answer.code == 0 {
                assert!((command.done)(world), "not so after a yes: {place}");
            } else {
                assert!(met, "it fails without a fault: {answer}");
                if !(command.done)(world) {
                    let left = eventually_none(|| {
                        kept(world).difference(&before).filter(|name| !is_for_later(name)).cloned().collect()
                    });
                    assert!(left.is_empty(), "{place} leaves {left:?}");
                    ask(world, &command.ask).ok();
                    assert!((command.done)(world), "not so at the second time: {place}");
                }
            }
            if let Some(line) = command.undo {
                ask(world, line).ok();
            }
            let whole = || {
                let now = kept(world);
                // What an earlier try could not take away may be gone by now.
                let lost = before.difference(&now).filter(|name| !is_for_later(name));
                // What did not come to its end leaves bytes that are used again, or go after a day.
                let whole = answer.code == 0 && fault != "crash";
                let left = now.difference(&before).filter(|name| whole || !is_for_later(name));
                left.chain(lost).cloned().collect::<BTreeSet<_>>()
            };
            let changed = match command.undo {
                // What could not be taken away is tried again after a day.
                _ if points.get(count - 1).is_some_and(|point| point == REMOVAL) => BTreeSet::new(),
                Some(_) => eventually_none(whole),
                None => BTreeSet::new(),
            };
            assert!(changed.is_empty(), "{place}: after it was undone, these differ: {changed:?}");
            if !met {
                assert!(count > 1, "{:?} passes no fault points: is this a debug build?", command.ask);
                break;
            }
        }
    }
    world.kill_engine();
    world.start_engine();
}

/// What is still there after a while.
fn eventually_none(look: impl Fn() -> BTreeSet<String>) -> BTreeSet<String> {
    let patience = Instant::now() + Duration::from_secs(60);
    loop {
        let left = look();
        if left.is_empty() || Instant::now() > patience {
            return left;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Two layers; the second takes something of the first away, and fills a directory that only the first has.
fn small(name: &str) -> Vec<u8> {
    Archive::new()
        .layer(|layer| {
            blackbox::directory(layer, "bin", 0o700);
            file(layer, "bin/one", b"one\n", 0o644);
            file(layer, "bin/two", b"two\n", 0o644);
        })
        .layer(|layer| {
            file(layer, "bin/.wh.one", b"", 0o644);
            file(layer, "bin/three", b"three\n", 0o644);
        })
        .set("Cmd", serde_json::json!(["three"]))
        .build(name)
}

fn has(world: &World, name: &str) -> bool {
    // A root file system of it says more than a name in a list.
    let made = world.wharf(&["create", "--name", "probe", "--pull", "never", name, "three"]);
    if made.code != 0 {
        assert!(made.stderr.contains("No such image"), "half an image: {made}");
        return false;
    }
    world.wharf(&["cp", "probe:/bin/three", "-"]).code(0);
    world.wharf(&["rm", "probe"]).ok();
    true
}

#[test]
fn pull() {
    let mut world = World::start();
    let _registry = Registry::start(&world);
    world.load(&small("localhost:5000/small:1"));
    ask(&world, "push localhost:5000/small:1").ok();
    ask(&world, "rmi localhost:5000/small:1").ok();
    let command = Command {
        ask: "pull localhost:5000/small:1".into(),
        prepare: None,
        undo: Some("rmi localhost:5000/small:1"),
        done: |world| has(world, "localhost:5000/small:1"),
    };
    walk(&mut world, &command);
}

#[test]
fn load_and_import() {
    let mut world = World::start();
    let archive = world.directory().join("small.tar");
    std::fs::write(&archive, small("small:1")).unwrap();
    let load = format!("load -i {}", archive.display());
    let command = Command {
        ask: load.clone(),
        prepare: None,
        undo: Some("rmi small:1"),
        done: |world| has(world, "small:1"),
    };
    walk(&mut world, &command);
    let tree = world.directory().join("tree.tar");
    let mut builder = tar::Builder::new(Vec::new());
    blackbox::directory(&mut builder, "bin", 0o755);
    file(&mut builder, "bin/three", b"three\n", 0o644);
    std::fs::write(&tree, builder.into_inner().unwrap()).unwrap();
    let command = Command {
        ask: format!("import {} tree:1", tree.display()),
        prepare: None,
        undo: Some("rmi tree:1"),
        done: |world| has(world, "tree:1"),
    };
    walk(&mut world, &command);
    // The archive is still good for another: nothing of the walks is in its way.
    ask(&world, &load).ok();
    assert!(has(&world, "small:1"));
}

#[test]
fn tag_and_rmi() {
    let mut world = World::start();
    let archive = world.directory().join("small.tar");
    std::fs::write(&archive, small("small:1")).unwrap();
    let load = format!("load -i {}", archive.display());
    ask(&world, &load).ok();
    let command = Command {
        ask: "tag small:1 other:1".into(),
        prepare: None,
        undo: Some("rmi other:1"),
        done: |world| has(world, "other:1"),
    };
    walk(&mut world, &command);
    ask(&world, "rmi small:1").ok();
    let nothing = kept(&world);
    let command = Command {
        ask: "rmi small:1".into(),
        prepare: Some(load),
        undo: None,
        done: |world| !has(world, "small:1"),
    };
    walk(&mut world, &command);
    let left = eventually_none(|| kept(&world).symmetric_difference(&nothing).cloned().collect());
    assert!(left.is_empty(), "removals have left {left:?}");
}

#[test]
fn volume_create_and_network_create() {
    let mut world = World::start();
    let command = Command {
        ask: "volume create jar".into(),
        prepare: None,
        undo: Some("volume rm jar"),
        done: |world| ask(world, "volume ls -q").ok() == "jar",
    };
    walk(&mut world, &command);
    let command = Command {
        ask: "network create wire".into(),
        prepare: None,
        undo: Some("network rm wire"),
        done: |world| !ask(world, "network ls -q --filter name=wire").ok().is_empty(),
    };
    walk(&mut world, &command);
    eventually("an engine that works", || (ask(&world, "run --rm busybox true").code == 0).then_some(()));
}
