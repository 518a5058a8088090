//! A walk through the engine's fault points: at each of them it is killed once, and once it fails with EIO or ENOSPC.
//! What was acknowledged stands, what was not is there as a whole or not at all, and nothing of it leaks. What fails says
//! why, and the engine that met it does the same when it is asked again.
//!
//! Points lie on both sides of every commit, directory, process and file of a container's life; see `store::fault`.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use blackbox::{IMAGE, Output, Session, Settings, World, binary, busybox, busybox_image, directory, file};

/// What is asked of the engine while it breaks, in a world that has been prepared for it.
struct Step {
    prepare: &'static [&'static str],
    ask: &'static str,
    /// What has to be true if the answer was yes.
    acknowledged: fn(&World) -> bool,
    /// What takes away what it may have made, or not.
    clean: &'static [&'static str],
}

const RUN: &str = "run -d --name it -p 8080:80 -v /inside busybox sleep 1000";

/// Everything that a start makes: a working directory, the source of a bind, a place for shared memory, one for an image's
/// files; and two volumes that are filled, one of them made before.
fn everything(world: &World, how: &str) -> &'static str {
    let source = made_source(world);
    let source = source.display();
    let line = format!(
        "{how} --name it -p 8080:80 -w /work/here --ipc shareable -v {source}:/bound \
         --mount type=image,source=busybox,target=/image -v jar:/kept -v /inside filled sleep 1000"
    );
    Box::leak(line.into_boxed_str())
}

/// The world of [`everything`].
fn world_of_everything() -> World {
    let world = World::start();
    let image = busybox().layer(|layer| {
        for place in ["kept", "inside"] {
            directory(layer, place, 0o750);
            for name in FILES {
                file(layer, &format!("{place}/{name}"), b"content\n", 0o644);
            }
        }
    });
    world.load(&image.build("filled"));
    world
}

const FILES: [&str; 2] = ["one", "two"];
const JAR: &str = "volume create jar";

fn made_source(world: &World) -> std::path::PathBuf {
    world.directory().join("made-source")
}

/// Whether each volume of the container has what its image has there.
fn is_filled(world: &World) -> bool {
    let shown = world.inspect("it");
    let mounts = shown["Mounts"].as_array().unwrap();
    let volumes: Vec<_> = mounts.iter().filter(|mount| mount["Type"] == "volume").collect();
    let is_whole = |source: &std::path::Path| FILES.iter().all(|name| source.join(name).is_file());
    volumes.len() == 2 && volumes.iter().all(|volume| is_whole(volume["Source"].as_str().unwrap().as_ref()))
}

/// More points than any step has: a walk that does not end is a failure.
const LIMIT: u32 = 200;

fn ask(world: &World, line: &str) -> Output {
    world.wharf(&line.split(' ').collect::<Vec<_>>())
}

fn state(world: &World) -> String {
    ask(world, "ps -a --filter name=it --format {{.State}}").ok()
}

/// Breaks this step at its every point. `fault` says how.
fn walk(world: &mut World, step: &Step, fault: &str) {
    for count in 1..LIMIT {
        for line in step.prepare {
            ask(world, line).ok();
        }
        let how = format!("{fault} {count}");
        world.arm(&how);
        let (client, died) = begin(world, step.ask);
        if died {
            // A client may wait for what only the next engine can do.
            world.kill_engine();
            world.start_engine();
        }
        let answer = client.finish();
        // Something may still be done behind the answer.
        let patience = Instant::now() + Duration::from_millis(300);
        while !died && world.passed().len() < count as usize && Instant::now() < patience {
            std::thread::sleep(Duration::from_millis(10));
        }
        let points = world.disarm();
        let met = points.len() >= count as usize;
        let mut done = answer.code == 0;
        let place = format!("{:?} with {how}, at {:?}", step.ask, points.get(count as usize - 1));
        if !met {
            answer.code(0);
        } else {
            if !died {
                if !done && fault != "crash" {
                    says_why(&answer, fault, &place);
                    again(world, step, &place);
                    done = true;
                }
                world.kill_engine();
                world.start_engine();
            }
            if done {
                assert!((step.acknowledged)(world), "not so after a yes: {place}\n{}", ask(world, "ps -a"));
            }
        }
        nothing_is_half_there(world, &place);
        let known = ask(world, "ps -a --filter name=it --format {{.Names}}").ok();
        for name in known.lines() {
            // One that is thrown away may go at any moment.
            let removed = ask(world, &format!("rm -fv {name}"));
            assert!(removed.code == 0 || removed.stderr.contains("No such container"), "{place}: {removed}");
        }
        for line in step.clean {
            let cleaned = ask(world, line);
            let gone = ["No such", "no such", "not found"].iter().any(|words| cleaned.stderr.contains(words));
            assert!(cleaned.code == 0 || gone, "{place}: {cleaned}");
        }
        let volumes = soon(|| Some(ask(world, "volume ls -q").ok()).filter(String::is_empty));
        assert!(volumes.is_some(), "volumes did not go with their containers: {place}");
        nothing_is_half_there(world, &place);
        let _ = std::fs::remove_dir_all(made_source(world));
        if !met {
            assert!(count > 1, "{:?} passes no fault points: is this a debug build?", step.ask);
            return;
        }
    }
    panic!("{:?} passes {LIMIT} points and more", step.ask);
}

fn says_why(answer: &Output, fault: &str, place: &str) {
    let reason = if fault == "eio" { "input/output error" } else { "no space left on device" };
    assert!(answer.stderr.to_lowercase().contains(reason), "{place}: no reason in {answer}");
}

/// Asks the engine that has met the failure once more.
fn again(world: &World, step: &Step, place: &str) {
    // A container that was made and did not start keeps its name, as in Docker.
    let makes_it = ["run ", "create "].iter().any(|verb| step.ask.starts_with(verb));
    if makes_it && !state(world).is_empty() {
        ask(world, "rm -fv it").ok();
    }
    let answer = ask(world, step.ask);
    // What was refused may have been done.
    let was_done = ["No such", "not found", "already"].iter().any(|words| answer.stderr.contains(words));
    assert!(answer.code == 0 || was_done, "not at the second time, either: {place}\n{answer}");
    assert!((step.acknowledged)(world), "not so at the second time: {place}\n{}", ask(world, "ps -a"));
}

/// Lets a client ask, and waits until it has its answer or the engine has died of the question.
fn begin(world: &mut World, line: &str) -> (Session, bool) {
    let mut client = world.session(&line.split(' ').collect::<Vec<_>>());
    while !client.has_ended() {
        if world.engine_has_ended() {
            return (client, true);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let died = world.engine_has_ended();
    (client, died)
}

/// Each file, shim and name is some container's, and the other way round.
fn nothing_is_half_there(world: &World, place: &str) {
    let ids = |path: std::path::PathBuf| -> BTreeSet<String> {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| name.len() == 64).collect()
    };
    let listed =
        |line: &str| -> BTreeSet<String> { ask(world, line).ok().lines().map(str::to_owned).collect() };
    let same = soon(|| {
        let (all, running) = (listed("ps -aq --no-trunc"), listed("ps -q --no-trunc"));
        (ids(world.data_root().join("containers")) == all
            && ids(world.data_root().join("snapshots")) == all
            && ids(world.exec_root().join("containers")) == running)
            .then_some(())
    });
    assert!(same.is_some(), "not as many files as containers: {place}\n{}", ask(world, "ps -a"));
}

/// Asks again for a while.
fn soon<T>(ask: impl Fn() -> Option<T>) -> Option<T> {
    let patience = Instant::now() + Duration::from_secs(120);
    loop {
        let answer = ask();
        if answer.is_some() || Instant::now() > patience {
            return answer;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn walks(steps: &[Step]) {
    walks_in(&mut World::start(), steps);
}

fn walks_in(world: &mut World, steps: &[Step]) {
    for step in steps {
        for fault in ["crash", "eio", "enospc"] {
            walk(world, step, fault);
        }
    }
}

#[test]
fn at_every_point_of_create_and_start() {
    let mut world = world_of_everything();
    let create = everything(&world, "create");
    let steps = [
        Step {
            prepare: &[JAR],
            ask: create,
            acknowledged: |world| state(world) == "created" && is_filled(world),
            clean: &["volume rm jar"],
        },
        Step {
            prepare: Box::leak(Box::new([JAR, create])),
            ask: "start it",
            acknowledged: |world| state(world) == "running" && is_filled(world),
            clean: &["volume rm jar"],
        },
    ];
    walks_in(&mut world, &steps);
}

#[test]
fn at_every_point_of_run() {
    let mut world = world_of_everything();
    let steps = [
        Step {
            prepare: &[JAR],
            ask: everything(&world, "run -d"),
            acknowledged: |world| state(world) == "running" && is_filled(world),
            clean: &["volume rm jar"],
        },
        Step {
            prepare: &[],
            ask: "run --rm --name it -v /inside filled cat /inside/one",
            acknowledged: |world| soon(|| state(world).is_empty().then_some(true)).is_some(),
            clean: &[],
        },
    ];
    walks_in(&mut world, &steps);
}

#[test]
fn at_every_point_of_stop_and_restart() {
    walks(&[
        Step {
            prepare: &[RUN],
            ask: "stop -t 0 it",
            acknowledged: |world| state(world) == "exited" && world.inspect("it")["State"]["ExitCode"] == 137,
            clean: &[],
        },
        Step {
            prepare: &[RUN],
            ask: "restart -t 0 it",
            acknowledged: |world| state(world) == "running",
            clean: &[],
        },
    ]);
}

#[test]
fn at_every_point_of_removal() {
    walks(&[
        Step { prepare: &[RUN], ask: "rm -fv it", acknowledged: |world| state(world).is_empty(), clean: &[] },
        Step {
            prepare: &["create --name it busybox"],
            ask: "container prune -f",
            acknowledged: |world| state(world).is_empty(),
            clean: &[],
        },
    ]);
}

#[test]
fn at_every_point_of_commit() {
    walks(&[Step {
        prepare: &["run --name it busybox touch /changed"],
        ask: "commit it made:1",
        acknowledged: |world| ask(world, "run --rm made:1 ls /changed").ok() == "/changed",
        clean: &["rmi -f made:1"],
    }]);
}

#[test]
fn at_every_point_of_changes() {
    walks(&[
        Step {
            prepare: &[RUN],
            ask: "rename it item",
            acknowledged: |world| ask(world, "ps --filter name=item --format {{.Names}}").ok() == "item",
            clean: &[],
        },
        Step {
            prepare: &[RUN],
            ask: "update --restart always it",
            acknowledged: |world| world.inspect("it")["HostConfig"]["RestartPolicy"]["Name"] == "always",
            clean: &[],
        },
        Step {
            prepare: &[RUN],
            ask: "exec it true",
            acknowledged: |world| state(world) == "running",
            clean: &[],
        },
        Step {
            prepare: &[RUN],
            ask: "cp /etc/hostname it:/copied",
            acknowledged: |world| !ask(world, "exec it cat /copied").ok().is_empty(),
            clean: &[],
        },
    ]);
}

#[test]
fn at_every_point_of_networks_and_volumes() {
    walks(&[
        Step {
            prepare: &[],
            ask: "network create wire",
            acknowledged: |world| ask(world, "network ls -q --filter name=wire").ok().lines().count() == 1,
            clean: &["network rm wire"],
        },
        Step {
            prepare: &["network create wire"],
            ask: "network rm wire",
            acknowledged: |world| ask(world, "network ls -q --filter name=wire").ok().is_empty(),
            clean: &["network rm wire"],
        },
        Step {
            prepare: &["network create wire", RUN],
            ask: "network connect wire it",
            acknowledged: |world| {
                let address = &world.inspect("it")["NetworkSettings"]["Networks"]["wire"]["IPAddress"];
                address.as_str().is_some_and(|address| !address.is_empty())
            },
            clean: &["network rm wire"],
        },
        Step {
            prepare: &["network create wire", RUN, "network connect wire it"],
            ask: "network disconnect wire it",
            acknowledged: |world| world.inspect("it")["NetworkSettings"]["Networks"].get("wire").is_none(),
            clean: &["network rm wire"],
        },
        Step {
            prepare: &[],
            ask: "volume create jar",
            acknowledged: |world| ask(world, "volume ls -q").ok() == "jar",
            clean: &["volume rm jar"],
        },
        Step {
            prepare: &["volume create jar"],
            ask: "volume rm jar",
            acknowledged: |world| ask(world, "volume ls -q").ok().is_empty(),
            clean: &["volume rm jar"],
        },
    ]);
}

#[test]
fn at_every_point_of_images() {
    let mut world = World::start();
    let archive = world.directory().join("small.tar");
    let source = world.directory().join("small");
    std::fs::create_dir_all(&source).unwrap();
    std::fs::write(source.join("file"), "content\n").unwrap();
    let mut builder = tar::Builder::new(std::fs::File::create(&archive).unwrap());
    builder.append_dir_all(".", &source).unwrap();
    builder.finish().unwrap();
    let line = format!("import {} small:1", archive.display());
    let step = Step {
        prepare: &[],
        ask: Box::leak(line.into_boxed_str()),
        acknowledged: |world| {
            ask(world, "create --name it small:1 file").code == 0 && ask(world, "rm it").code == 0
        },
        clean: &["rmi -f small:1"],
    };
    walks_in(&mut world, &[step]);
}

/// Breaks a shim at each of its points whose names begin so; there are at least so many.
fn walk_a_shim(world: &mut World, runtime: &str, prefix: &str, least: usize) {
    for fault in ["eio", "enospc", "crash"] {
        for count in 1.. {
            assert!(count < LIMIT, "a shim passes {LIMIT} points and more");
            let how = format!("{fault} {prefix}{count}");
            world.arm_shims(&how);
            let script = "echo one; echo two; exec sleep 1000";
            let run = ["run", "-d", "--runtime", runtime, "--name", "it", "busybox", "sh", "-c", script];
            let ran = world.wharf(&run);
            let restarted = ask(world, "restart -t 0 it");
            let points = world.passed_by_shims();
            let place = format!("{how}, at {:?}", points.get(count as usize - 1));
            let met = points.len() >= count as usize;
            if ran.code == 0 && fault != "crash" {
                assert_eq!(restarted.code, 0, "{place}: {restarted}");
                assert_eq!(state(world), "running", "{place}");
            }
            world.kill_engine();
            world.start_engine();
            nothing_is_half_there(world, &place);
            let removed = ask(world, "rm -fv it");
            assert!(removed.code == 0 || removed.stderr.contains("No such container"), "{place}: {removed}");
            nothing_is_half_there(world, &place);
            world.arm_shims("off");
            if !met {
                assert!(points.len() >= least, "a shim passes {points:?} only");
                break;
            }
        }
    }
}

/// A shim writes a journal, its state and a log. None of it stops the container, and whoever kills the shim leaves
/// nothing behind.
#[test]
fn at_every_point_of_a_shim() {
    walk_a_shim(&mut World::start(), "runc", "", 5);
}

/// What a foreign runtime is given and leaves.
#[test]
fn at_every_point_of_a_foreign_bundle() {
    let runtime = format!("other={}", binary("wharf-runtime").display());
    let flags = vec!["--add-runtime".into(), runtime];
    let mut world = World::empty(Settings { flags, ..Settings::default() });
    world.load(&busybox_image(IMAGE));
    walk_a_shim(&mut world, "other", "bundle ", 4);
}
