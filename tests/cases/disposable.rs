//! The engine may die at any moment: containers, their output, ports and policies go on.

use blackbox::{IMAGE, Wire, World, eventually, signal};

#[test]
fn containers_outlive_the_engine() {
    let mut world = World::start();
    world
        .wharf(&[
            "run",
            "-d",
            "--name",
            "steady",
            IMAGE,
            "sh",
            "-c",
            "i=0; while true; do i=$((i+1)); echo $i; sleep 0.05; done",
        ])
        .ok();
    let pid = world.inspect("steady")["State"]["Pid"].clone();
    for _ in 0..3 {
        world.kill_engine();
        std::thread::sleep(std::time::Duration::from_millis(300));
        world.start_engine();
        assert_eq!(world.inspect("steady")["State"]["Pid"], pid);
        assert_eq!(world.wharf(&["ps", "--format", "{{.Names}} {{.State}}"]).ok(), "steady running");
    }
    eventually("some lines", || (world.wharf(&["logs", "steady"]).ok().lines().count() > 10).then_some(()));
    world.wharf(&["stop", "-t", "0", "steady"]).ok();
    let logs = world.wharf(&["logs", "steady"]).ok();
    let numbers: Vec<u64> = logs.lines().map(|line| line.parse().unwrap()).collect();
    let expected: Vec<u64> = (1..=numbers.len() as u64).collect();
    assert_eq!(numbers, expected, "a line was lost or doubled");
}

#[test]
fn a_clients_session_goes_on_without_the_engine() {
    let mut world = World::start();
    for name in ["wharf", "docker"] {
        let client = world.clients().into_iter().find(|client| client.name == name).unwrap();
        let mut session = client.session(&[
            "run",
            "-i",
            "--name",
            name,
            IMAGE,
            "sh",
            "-c",
            "while read x; do echo got $x; done; exit 6",
        ]);
        session.send("before\n");
        assert!(session.read_until("before").contains("got before"));
        // The output may come before the answer to the client's start, without which it has no session. What is asked
        // later of the same container is answered later.
        world.until_status(name, "running");
        world.wharf(&["exec", name, "true"]).ok();
        world.kill_engine();
        session.send("during\n");
        assert!(session.read_until("during").contains("got during"));
        world.start_engine();
        session.send("after\n");
        assert!(session.read_until("after").contains("got after"));
        session.end_input();
        session.finish().code(6);
        assert_eq!(world.inspect(name)["State"]["ExitCode"], 6);
    }
}

#[test]
fn an_exit_while_nobody_looks_is_known_later() {
    let mut world = World::start();
    world
        .wharf(&["run", "-d", "--name", "short", IMAGE, "sh", "-c", "sleep 0.5; echo last words; exit 42"])
        .ok();
    world
        .wharf(&[
            "run",
            "-d",
            "--name",
            "again",
            "--restart",
            "on-failure:3",
            IMAGE,
            "sh",
            "-c",
            "sleep 0.3; exit 1",
        ])
        .ok();
    world.kill_engine();
    std::thread::sleep(std::time::Duration::from_secs(3));
    world.start_engine();
    world.until_status("short", "exited");
    let state = world.inspect("short")["State"].clone();
    assert_eq!((state["Status"].as_str(), state["ExitCode"].as_i64()), (Some("exited"), Some(42)));
    assert_eq!(world.wharf(&["logs", "short"]).ok(), "last words");
    assert_eq!(world.wharf(&["wait", "short"]).ok(), "42");
    world.until_status("again", "exited");
    assert_eq!(world.inspect("again")["RestartCount"], 3);
}

#[test]
fn ports_and_logs_go_on_without_the_engine() {
    let mut world = World::start();
    world
        .wharf(&[
            "run", "-d", "--name", "web", "-p", "8080:80", IMAGE, "httpd", "-f", "-p", "80", "-h", "/www",
        ])
        .ok();
    eventually("the server", || {
        let asked = world.host().try_run(&["curl", "-sS", "-m", "5", "http://127.0.0.1:8080/"]);
        asked.status.success().then_some(())
    });
    let told = world.directory().join("told");
    std::fs::create_dir(&told).unwrap();
    world
        .wharf(&[
            "run",
            "-d",
            "--name",
            "count",
            "-v",
            &format!("{}:/told", told.display()),
            IMAGE,
            "sh",
            "-c",
            "for i in $(seq 30); do echo $i; [ $i != 5 ] || until [ -e /told/go ]; do sleep 0.1; done; done",
        ])
        .ok();
    let followers = [world.session(&["logs", "-f", "count"]), world.docker_session(&["logs", "-f", "count"])];
    let mut followers = followers.map(|mut follower| {
        let read = follower.read_until("5\n");
        (follower, read)
    });
    world.kill_engine();
    for url in ["http://127.0.0.1:8080/", "http://[::1]:8080/"] {
        assert_eq!(world.host().run(&["curl", "-gsS", "-m", "60", url]), "hello from inside\n");
    }
    std::fs::write(told.join("go"), "").unwrap();
    let expected: String = (1..=30).map(|n| format!("{n}\n")).collect();
    for (follower, read) in followers.iter_mut() {
        read.push_str(&follower.read_until("30\n"));
        assert_eq!(*read, expected);
    }
    for (follower, _) in followers {
        assert_eq!(follower.finish().code, 0);
    }
    world.start_engine();
}

#[test]
fn auto_remove_happens_even_when_the_engine_was_away() {
    let mut world = World::start();
    world.wharf(&["run", "-d", "--rm", "--name", "brief", IMAGE, "sleep", "0.5"]).ok();
    world.kill_engine();
    std::thread::sleep(std::time::Duration::from_secs(1));
    world.start_engine();
    eventually("the removal", || world.wharf(&["ps", "-aq"]).ok().is_empty().then_some(()));
}

#[test]
fn a_killed_shim_takes_its_container_with_it() {
    let world = World::start();
    world.wharf(&["run", "-d", "--name", "orphan", IMAGE, "sleep", "1000"]).ok();
    let pid = world.inspect("orphan")["State"]["Pid"].as_u64().unwrap() as u32;
    signal(shim_of(pid), "KILL");
    world.until_status("orphan", "exited");
    assert_eq!(world.inspect("orphan")["State"]["ExitCode"], 137);
    assert!(!alive(pid));
    world.wharf(&["start", "orphan"]).ok();
    assert_eq!(world.inspect("orphan")["State"]["Status"], "running");
}

#[test]
fn who_waits_at_a_killed_shim_is_told() {
    let world = World::start();
    for client in world.clients() {
        for (number, options) in [&[][..], &["--rm"], &["--restart", "always"]].into_iter().enumerate() {
            let name = format!("{}-{number}", client.name);
            let command = [&["run", "--name", &name], options, &[IMAGE, "sh", "-c", "echo up; sleep 1000"]];
            // Its wait travels with the start.
            let mut run = client.session(&command.concat());
            run.read_until("up");
            world.until_status(&name, "running");
            let shim = shim_of(pid(&world, &name));
            // These come later.
            let [next, now, mut removed] = ["next-exit", "not-running", "removed"].map(|condition| {
                let mut wire = Wire::connect(&world.socket());
                wire.request("POST", &format!("/containers/{name}/wait?condition={condition}"), None);
                assert!(wire.head().contains("Transfer-Encoding: chunked\r\n"));
                wire
            });
            let mut reader = Wire::connect(&world.socket());
            reader.request("GET", &format!("/containers/{name}/logs?stdout=1&follow=1"), None);
            reader.head();
            let (mut docker, mut wharf) =
                (world.docker_session(&["logs", "-f", &name]), world.session(&["logs", "-f", &name]));
            docker.read_until("up");
            wharf.read_until("up");
            signal(shim, "KILL");
            run.finish().code(137);
            for mut wire in [next, now] {
                assert_eq!(wire.chunks(), b"{\"StatusCode\":137}\n");
            }
            // What cannot be brought to its end is no whole answer.
            assert_eq!(reader.rest(), b"b\r\n\x01\0\0\0\0\0\0\x03up\n\r\n");
            for follower in [docker, wharf] {
                follower.finish().code(1).says("unexpected EOF");
            }
            if options != ["--rm"] {
                world.wharf(&["rm", "-f", &name]).ok();
            }
            assert_eq!(removed.chunks(), b"{\"StatusCode\":137}\n");
        }
    }
}

/// A program that changes its user is not killed by the kernel when its parent ends: that is left to the engine.
#[test]
fn a_killed_shim_leaves_nothing_that_changed_its_user() {
    let mut world = World::start();
    let script =
        "echo user:x:1000:1000::/:/bin/sh >>/etc/passwd; exec su user -c 'echo ready; exec sleep 1000'";
    let start = |world: &World, name| {
        world.wharf(&["run", "-d", "--name", name, IMAGE, "sh", "-c", script]).ok();
        eventually("another user", || (world.wharf(&["logs", name]).ok() == "ready").then_some(()));
        pid(world, name)
    };
    let with_engine = start(&world, "one");
    signal(shim_of(with_engine), "KILL");
    world.until_status("one", "exited");
    let without = start(&world, "other");
    world.kill_engine();
    signal(shim_of(without), "KILL");
    assert!(alive(without), "nobody is there to end it");
    world.start_engine();
    world.until_status("other", "exited");
    for (name, pid) in [("one", with_engine), ("other", without)] {
        assert_eq!(world.inspect(name)["State"]["ExitCode"], 137);
        assert!(!alive(pid), "{name} goes on");
    }
}

#[test]
fn a_rebooted_host_has_no_running_containers() {
    let mut world = World::start();
    world.wharf(&["run", "-d", "--name", "yes", "--restart", "always", IMAGE, "sleep", "1000"]).ok();
    world.wharf(&["run", "-d", "--name", "no", IMAGE, "sleep", "1000"]).ok();
    world.wharf(&["run", "-d", "--rm", "--name", "passing", IMAGE, "sleep", "1000"]).ok();
    world.wharf(&["create", "--name", "new", IMAGE]).ok();
    let pids = ["yes", "no", "passing"].map(|name| pid(&world, name));
    let shims = pids.map(shim_of);
    // What a power cut leaves: no process, no runtime root, the data root as it was.
    world.kill_engine();
    shims.into_iter().for_each(|shim| signal(shim, "KILL"));
    // Where a profile confines them, the kernel has forgotten that they wanted to die with their shims.
    let _ = std::process::Command::new("kill").arg("-KILL").args(pids.map(|pid| pid.to_string())).output();
    eventually("the end of all processes", || pids.iter().all(|pid| !alive(*pid)).then_some(()));
    std::fs::remove_dir_all(world.exec_root()).unwrap();
    world.start_engine();
    world.until_status("yes", "running");
    let state = world.inspect("no")["State"].clone();
    assert_eq!((state["Status"].as_str(), state["ExitCode"].as_i64()), (Some("exited"), Some(255)));
    assert_eq!(world.inspect("new")["State"]["Status"], "created");
    eventually("the end of what was to be thrown away", || {
        (!world.wharf(&["ps", "-a", "--format", "{{.Names}}"]).ok().contains("passing")).then_some(())
    });
}

#[test]
fn a_runtime_root_that_was_emptied_takes_its_containers_with_it() {
    let mut world = World::start();
    world.wharf(&["run", "-d", "--name", "lost", IMAGE, "sleep", "1000"]).ok();
    world.wharf(&["run", "-d", "--name", "kept", "--restart", "always", IMAGE, "sleep", "1000"]).ok();
    let pids = ["lost", "kept"].map(|name| pid(&world, name));
    let shims = pids.map(shim_of);
    world.kill_engine();
    std::fs::remove_dir_all(world.exec_root()).unwrap();
    world.start_engine();
    world.until_status("lost", "exited");
    world.until_status("kept", "running");
    assert_ne!(pid(&world, "kept"), pids[1], "nobody could reach the old one");
    eventually("the end of what nobody reaches", || {
        (!pids.iter().chain(&shims).any(|pid| alive(*pid))).then_some(())
    });
}

#[test]
fn what_is_thrown_away_waits_for_its_start_while_the_host_is_up() {
    let mut world = World::start();
    world.wharf(&["create", "--rm", "--name", "later", IMAGE, "echo", "hello"]).ok();
    world.kill_engine();
    world.start_engine();
    assert_eq!(world.wharf(&["start", "-a", "later"]).ok(), "hello");
    eventually("the removal", || world.wharf(&["ps", "-aq"]).ok().is_empty().then_some(()));
}

#[test]
fn a_restart_is_no_end_for_what_is_thrown_away() {
    let mut world = World::start();
    for client in world.clients() {
        client.run(&["run", "-d", "--rm", "--name", "brief", IMAGE, "sleep", "1000"]).ok();
        let before = pid(&world, "brief");
        client.run(&["restart", "-t", "0", "brief"]).ok();
        assert_eq!(world.inspect("brief")["State"]["Status"], "running");
        assert_eq!(world.inspect("brief")["HostConfig"]["AutoRemove"], true);
        assert_ne!(pid(&world, "brief"), before);
        client.run(&["stop", "-t", "0", "brief"]).ok();
        eventually("the removal", || world.wharf(&["ps", "-aq"]).ok().is_empty().then_some(()));
    }
    // However far the restart had come, it runs or it is gone.
    for round in 0..10 {
        world.wharf(&["run", "-d", "--rm", "--name", "brief", IMAGE, "sleep", "1000"]).ok();
        let session = world.session(&["restart", "-t", "0", "brief"]);
        std::thread::sleep(std::time::Duration::from_millis(10 * round));
        world.kill_engine();
        drop(session);
        world.start_engine();
        eventually("a container that runs, or none", || {
            let states = world.wharf(&["ps", "-a", "--format", "{{.State}}"]).ok();
            ["", "running"].contains(&states.as_str()).then_some(())
        });
        world.wharf(&["rm", "-f", "brief"]);
        eventually("the name to be free", || world.wharf(&["ps", "-aq"]).ok().is_empty().then_some(()));
    }
}

#[test]
fn a_paused_container_stays_paused() {
    let mut world = World::start();
    world.wharf(&["run", "-d", "--name", "still", IMAGE, "sleep", "1000"]).ok();
    let before = pid(&world, "still");
    world.wharf(&["pause", "still"]).ok();
    world.kill_engine();
    world.start_engine();
    assert_eq!(world.inspect("still")["State"]["Status"], "paused");
    assert!(world.wharf(&["ps"]).ok().contains("(Paused)"));
    world.wharf(&["exec", "still", "true"]).code(1).says("is paused");
    world.wharf(&["unpause", "still"]).ok();
    world.wharf(&["exec", "still", "true"]).ok();
    assert_eq!(pid(&world, "still"), before);
    world.wharf(&["pause", "still"]).ok();
    world.kill_engine();
    world.start_engine();
    world.wharf(&["stop", "-t", "0", "still"]).ok();
    assert_eq!(world.inspect("still")["State"]["ExitCode"], 137);
}

#[test]
fn a_killed_shims_policy_is_applied() {
    let mut world = World::start();
    world.wharf(&["run", "-d", "--name", "back", "--restart", "unless-stopped", IMAGE, "sleep", "1000"]).ok();
    let back_again = |world: &World, before: u32| {
        eventually("another process", || {
            let state = world.inspect("back")["State"].clone();
            (state["Running"] == true && state["Pid"] != 0 && state["Pid"] != before).then_some(())
        });
    };
    let first = pid(&world, "back");
    signal(shim_of(first), "KILL");
    back_again(&world, first);
    assert_eq!(world.inspect("back")["RestartCount"], 1);
    // The same while nobody looks.
    world.wharf(&["run", "-d", "--name", "gone", IMAGE, "sleep", "1000"]).ok();
    world.wharf(&["run", "-d", "--rm", "--name", "passing", IMAGE, "sleep", "1000"]).ok();
    let second = pid(&world, "back");
    let shims = ["back", "gone", "passing"].map(|name| shim_of(pid(&world, name)));
    world.kill_engine();
    shims.into_iter().for_each(|shim| signal(shim, "KILL"));
    world.start_engine();
    back_again(&world, second);
    world.until_status("gone", "exited");
    assert_eq!(world.inspect("gone")["State"]["ExitCode"], 137);
    eventually("the removal", || {
        (!world.wharf(&["ps", "-a", "--format", "{{.Names}}"]).ok().contains("passing")).then_some(())
    });
}

#[test]
fn a_clock_that_was_set_back_confuses_nobody() {
    let mut world = World::start();
    world.wharf(&["run", "-d", "--name", "future", IMAGE, "sleep", "1000"]).ok();
    world.wharf(&["run", "--name", "gone", IMAGE, "sh", "-c", "exit 3"]).code(3);
    let before = pid(&world, "future");
    world.kill_engine();
    // All that was written so far is from sixty years ahead.
    let history = std::fs::read_to_string(world.data_root().join("events.jsonl")).unwrap();
    change_records(&world, "UPDATE record SET body=later(body) WHERE kind='container'");
    let moment = regex_lite::Regex::new(r#""20(\d\d-\d\d-\d\dT)"#).unwrap();
    // The engine may have died before it took in the end of one: then that is told here, too.
    for runtime in std::fs::read_dir(world.exec_root().join("containers")).unwrap() {
        let journal = runtime.unwrap().path().join("journal");
        if let Ok(told) = std::fs::read_to_string(&journal) {
            std::fs::write(&journal, &*moment.replace_all(&told, "\"80$1")).unwrap();
        }
    }
    std::fs::write(world.data_root().join("events.jsonl"), in_the_future(&history)).unwrap();
    world.start_engine();
    assert_eq!(pid(&world, "future"), before);
    assert_eq!(world.inspect("gone")["State"]["ExitCode"], 3);
    let listed = world.wharf(&["ps", "-a", "--format", "{{.Names}}: {{.Status}}"]).ok();
    assert_eq!(listed, "gone: Exited (3) Less than a second ago\nfuture: Up Less than a second");
    world.wharf(&["stop", "-t", "0", "future"]).ok();
    eventually("what happened after the jump", || {
        let told = world.wharf(&["events", "--since", "1m", "--until", "0s", "--format", "{{.Action}}"]).ok();
        told.lines().any(|action| action == "die").then_some(())
    });
    world.wharf(&["start", "future"]).ok();
    world.wharf(&["restart", "-t", "0", "gone"]).ok();
    world.until_status("gone", "exited");
    assert_eq!(world.inspect("gone")["State"]["ExitCode"], 3);
}

/// The event history with all its times sixty years later.
fn in_the_future(history: &str) -> String {
    let later = |line: &str| {
        let mut line: serde_json::Value = serde_json::from_str(line).unwrap();
        if let Some(message) = line.get_mut("message") {
            for (key, unit) in [("time", 1), ("timeNano", 1_000_000_000)] {
                message[key] = (message[key].as_i64().unwrap() + 60 * 365 * 86_400 * unit).into();
            }
        }
        line.to_string() + "\n"
    };
    history.lines().map(later).collect()
}

#[test]
fn records_of_a_newer_engine_are_refused_not_guessed() {
    let mut world = World::start();
    world.wharf(&["run", "--name", "kept", IMAGE, "sh", "-c", "exit 9"]).code(9);
    world.stop_engine();
    // The whole database, and one record in it.
    for (newer, as_it_was) in [
        ("PRAGMA user_version=10000", "PRAGMA user_version=1"),
        (
            "UPDATE record SET version=version+10000 WHERE kind='container'",
            "UPDATE record SET version=version-10000 WHERE kind='container'",
        ),
    ] {
        change_records(&world, newer);
        let output = world.try_engine();
        assert_ne!(output.code, 0, "{output}");
        output.says("newer");
        change_records(&world, as_it_was);
        world.start_engine();
        assert_eq!(world.inspect("kept")["State"]["ExitCode"], 9, "nothing was lost");
        world.stop_engine();
    }
    world.start_engine();
}

/// Changes the records of a world whose engine does not run.
fn change_records(world: &World, sql: &str) {
    // `later` takes whatever looks like a moment sixty years ahead: an id may begin with the same digits.
    let program = r#"
import re, sqlite3, sys
c = sqlite3.connect(sys.argv[1])
c.create_function("later", 1, lambda body: re.sub(r'"20(\d\d-\d\d-\d\dT)', r'"80\1', body))
c.execute(sys.argv[2])
c.commit()
"#;
    let database = world.data_root().join("wharf.db");
    let status = std::process::Command::new("python3")
        .args(["-c", program, &database.to_string_lossy(), sql])
        .status()
        .unwrap();
    assert!(status.success(), "{sql}");
}

fn pid(world: &World, name: &str) -> u32 {
    world.inspect(name)["State"]["Pid"].as_u64().unwrap() as u32
}

/// The parent of a container's first process.
/// Whether there is such a process. One that has ended and that nobody has waited for has no root.
fn alive(pid: u32) -> bool {
    std::path::Path::new(&format!("/proc/{pid}/root/.")).exists()
}

fn shim_of(pid: u32) -> u32 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim().parse().unwrap()
}

#[test]
fn ports_of_what_ended_meanwhile_are_free_when_the_engine_answers() {
    let mut world = World::start();
    let parent = |pid: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let behind = stat.rsplit_once(") ").unwrap().1;
        behind.split(' ').nth(1).unwrap().parse::<u32>().unwrap()
    };
    for round in 0..3 {
        // One goes by itself, one with its record kept, one with its shim.
        for (name, port, more) in
            [("gone", "8080:80", &["--rm"][..]), ("kept", "8081:80", &[]), ("torn", "8082:80", &["--rm"])]
        {
            let words =
                [&["run", "-d", "--name", name, "-p", port], more, &[IMAGE, "sleep", "1000"]].concat();
            world.wharf(&words).ok();
        }
        let pid = |name: &str| u32::try_from(world.inspect(name)["State"]["Pid"].as_u64().unwrap()).unwrap();
        let ends = [pid("gone"), pid("kept"), parent(pid("torn"))];
        world.kill_engine();
        for pid in ends {
            signal(pid, "KILL");
        }
        eventually("all three to be gone", || {
            let gone = |pid: &u32| !std::path::Path::new(&format!("/proc/{pid}/root/.")).exists();
            ends.iter().all(gone).then_some(())
        });
        world.start_engine();
        for port in ["8080:80", "8081:80", "8082:80"] {
            let output = world.docker(&["run", "--rm", "-p", port, IMAGE, "echo", "up"]);
            assert_eq!(output.ok(), "up", "{port} in round {round}");
        }
        world.wharf(&["rm", "kept"]).ok();
        assert_eq!(world.wharf(&["ps", "-aq"]).ok(), "");
    }
}
