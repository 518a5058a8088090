//! From create to rm: states, codes and listings.

use blackbox::{IMAGE, World, eventually};

#[test]
fn create_start_stop_restart_rm() {
    let world = World::start();
    for client in world.clients() {
        let id = client
            .run(&[
                "create",
                "--name",
                "life",
                IMAGE,
                "sh",
                "-c",
                "trap 'exit 3' TERM; echo ready; while true; do sleep 0.1; done",
            ])
            .ok();
        assert_eq!(id.len(), 64);
        assert_eq!(world.inspect("life")["State"]["Status"], "created");
        assert_eq!(client.run(&["start", "life"]).ok(), "life");
        // A signal that comes before its trap is lost.
        world.until_logged("life", "ready");
        let first = world.inspect("life")["State"]["Pid"].as_u64().unwrap();
        assert!(first > 0);
        assert_eq!(client.run(&["restart", "life"]).ok(), "life");
        let second = world.inspect("life")["State"]["Pid"].as_u64().unwrap();
        assert_ne!(first, second);
        world.until_logged("life", "ready\nready");
        assert_eq!(client.run(&["stop", "life"]).ok(), "life");
        let state = &world.inspect("life")["State"];
        assert_eq!((state["Status"].as_str(), state["ExitCode"].as_i64()), (Some("exited"), Some(3)));
        client.run(&["stop", "life"]).code(0);
        assert_eq!(client.run(&["wait", "life"]).ok(), "3");
        assert_eq!(client.run(&["rm", &id[..12]]).ok(), &id[..12]);
        client.run(&["inspect", "life"]).code(1).says("o such object: life");
    }
}

#[test]
fn a_stubborn_container_is_killed_in_the_end() {
    let world = World::start();
    for client in world.clients() {
        client
            .run(&[
                "run",
                "-d",
                "--name",
                "deaf",
                "--stop-timeout",
                "1",
                IMAGE,
                "sh",
                "-c",
                "trap '' TERM; while true; do sleep 0.1; done",
            ])
            .ok();
        client.run(&["stop", "deaf"]).ok();
        assert_eq!(world.inspect("deaf")["State"]["ExitCode"], 137);
        client
            .run(&[
                "run",
                "-d",
                "--name",
                "own",
                "--stop-signal",
                "USR1",
                IMAGE,
                "sh",
                "-c",
                "trap 'exit 11' USR1; echo ready; while true; do sleep 0.1; done",
            ])
            .ok();
        world.until_logged("own", "ready");
        client.run(&["stop", "own"]).ok();
        assert_eq!(world.inspect("own")["State"]["ExitCode"], 11);
        world.tidy();
    }
}

#[test]
fn kill_sends_any_signal() {
    let world = World::start();
    for client in world.clients() {
        world
            .wharf(&[
                "run",
                "-d",
                "--name",
                "victim",
                IMAGE,
                "sh",
                "-c",
                "trap 'echo hup' HUP; echo ready; while true; do sleep 0.1; done",
            ])
            .ok();
        world.until_logged("victim", "ready");
        client.run(&["kill", "-s", "HUP", "victim"]).code(0);
        eventually("the trap", || (world.wharf(&["logs", "victim"]).stdout == "ready\nhup\n").then_some(()));
        client.run(&["kill", "victim"]).code(0);
        assert_eq!(world.wharf(&["wait", "victim"]).ok(), "137");
        client.run(&["kill", "victim"]).code(1).says("is not running");
        client.run(&["rm", "victim"]).code(0);
    }
}

#[test]
fn ps_shows_what_docker_shows() {
    let world = World::start();
    world.wharf(&["run", "-d", "--name", "up", "-p", "127.0.0.1:8080:80", IMAGE, "sleep", "1000"]).ok();
    world.wharf(&["run", "--name", "done", IMAGE, "sh", "-c", "exit 2"]).code(2);
    world.wharf(&["create", "--name", "new", IMAGE]).ok();
    let format = "{{.Names}}|{{.Image}}|{{.Command}}|{{.State}}|{{.Ports}}";
    let expected = "new|busybox|\"sh\"|created|\ndone|busybox|\"sh -c 'exit 2'\"|exited|\nup|busybox|\"sleep 1000\"|running|127.0.0.1:8080->80/tcp";
    for client in world.clients() {
        assert_eq!(client.run(&["ps", "-a", "--format", format]).ok(), expected, "{}", client.name);
        assert_eq!(client.run(&["ps", "--format", "{{.Names}}"]).ok(), "up");
        assert_eq!(
            client.run(&["ps", "-a", "--filter", "status=exited", "--format", "{{.Names}}"]).ok(),
            "done"
        );
        assert_eq!(client.run(&["ps", "-a", "--filter", "exited=2", "--format", "{{.Names}}"]).ok(), "done");
        assert_eq!(client.run(&["ps", "-l", "--format", "{{.Names}}"]).ok(), "new");
        let table = client.run(&["ps", "-a"]).ok();
        let head: Vec<&str> = table
            .lines()
            .next()
            .unwrap()
            .split("  ")
            .map(str::trim)
            .filter(|word| !word.is_empty())
            .collect();
        assert_eq!(head, ["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"]);
        assert!(
            table.contains("Exited (2) ") && table.contains("Up ") && table.contains("Created"),
            "{table}"
        );
        client.run(&["ps", "--filter", "nonsense=1"]).code(1).says("invalid filter 'nonsense'");
    }
}

#[test]
fn ids_by_unique_prefix_and_many_at_once() {
    let world = World::start();
    for client in world.clients() {
        let ids: Vec<String> = (0..3).map(|_| client.run(&["create", IMAGE]).ok()).collect();
        assert_eq!(world.inspect(&ids[0][..10])["Id"], ids[0].as_str());
        let listed = client.run(&["ps", "-aq"]).ok();
        let words: Vec<&str> = listed.lines().collect();
        assert_eq!(words.len(), 3);
        assert_eq!(client.run(&[&["rm"], &words[..]].concat()).ok(), listed);
        client.run(&["rm", "absent"]).code(1).says("No such container: absent");
        world.tidy();
    }
}

#[test]
fn rename_pause_and_top() {
    let world = World::start();
    for client in world.clients() {
        world.wharf(&["run", "-d", "--name", "old", IMAGE, "sleep", "1234"]).ok();
        client.run(&["rename", "old", "new"]).code(0);
        assert_eq!(world.inspect("new")["Name"], "/new");
        client.run(&["pause", "new"]).code(0);
        assert_eq!(world.inspect("new")["State"]["Status"], "paused");
        client.run(&["exec", "new", "true"]).code(1).says("is paused, unpause the container before exec");
        client.run(&["unpause", "new"]).code(0);
        assert_eq!(world.inspect("new")["State"]["Status"], "running");
        let top = client.run(&["top", "new"]).ok();
        assert!(top.starts_with("UID") && top.contains("sleep 1234"), "{top}");
        for (arguments, titles) in [
            (&["auxww"][..], "USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND"),
            (&["-A", "-o", "pid,args", "--sort=-rss"], "PID COMMAND"),
        ] {
            let top = client.run(&[&["top", "new"], arguments].concat()).ok();
            let [first, only] = top.lines().collect::<Vec<_>>()[..] else { panic!("{top}") };
            assert_eq!(first.split_whitespace().collect::<Vec<_>>().join(" "), titles);
            assert!(only.ends_with("sleep 1234"), "{top}");
        }
        client
            .run(&["top", "new", "-o", "ppid=PID,pid"])
            .code(1)
            .says("specifying \"ppid=PID,pid\" is not allowed");
        client.run(&["top", "new", "--nonsense"]).code(1).says("ps: error: unknown gnu long option");
        let stats = client.run(&["stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}}", "new"]).ok();
        assert_eq!(stats, "new 1");
        client
            .run(&["rm", "new"])
            .code(1)
            .says("container is running: stop the container before removing or force remove");
        client.run(&["rm", "-f", "new"]).code(0);
    }
}

#[test]
fn restart_policies_bring_back() {
    let world = World::start();
    for client in world.clients() {
        client
            .run(&[
                "run",
                "-d",
                "--name",
                "again",
                "--restart",
                "on-failure:2",
                IMAGE,
                "sh",
                "-c",
                "echo run; exit 1",
            ])
            .ok();
        world.until_status("again", "exited");
        assert_eq!(client.run(&["logs", "again"]).ok(), "run\nrun\nrun");
        assert_eq!(world.inspect("again")["RestartCount"], 2);
        client.run(&["run", "-d", "--name", "fine", "--restart", "on-failure", IMAGE, "true"]).ok();
        world.until_status("fine", "exited");
        assert_eq!(world.inspect("fine")["RestartCount"], 0);
        client.run(&["run", "-d", "--name", "always", "--restart", "always", IMAGE, "sleep", "0.3"]).ok();
        eventually("two restarts", || {
            (world.inspect("always")["RestartCount"].as_u64() >= Some(2)).then_some(())
        });
        client.run(&["stop", "always"]).ok();
        assert_eq!(world.inspect("always")["State"]["Status"], "exited");
        client.run(&["run", "--rm", "--restart", "always", IMAGE, "true"]).code(125);
        world.tidy();
    }
}

#[test]
fn a_restart_that_fails_leaves_the_end_before_it() {
    let world = World::start();
    let script = "rm -f /bin/busybox /bin/sh; exit 3";
    world
        .wharf(&["run", "-d", "--name", "gone", "--restart", "on-failure:2", IMAGE, "sh", "-c", script])
        .ok();
    world.until_status("gone", "exited");
    let container = world.inspect("gone");
    assert_eq!((&container["RestartCount"], &container["State"]["ExitCode"]), (&1.into(), &3.into()));
    let reason = container["State"]["Error"].as_str().expect("a reason");
    let words =
        "failed to create task for container: failed to create shim task: OCI runtime create failed: ";
    assert!(reason.starts_with(words) && reason.contains("executable file not found"), "{reason}");
    // The whole second is over, which `0s` is cut down to.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let told =
        ["events", "--since", "1h", "--until", "0s", "--filter", "event=die", "--format", "{{.Actor.ID}}"];
    assert_eq!(world.wharf(&told).ok().lines().count(), 1);
}

#[test]
fn health_is_watched() {
    let world = World::start();
    for client in world.clients() {
        client
            .run(&[
                "run",
                "-d",
                "--name",
                "ill",
                "--health-cmd",
                "test -e /tmp/well",
                "--health-interval",
                "200ms",
                "--health-retries",
                "2",
                IMAGE,
                "sleep",
                "1000",
            ])
            .ok();
        let health = |wanted: &str| {
            eventually(wanted, || {
                (world.inspect("ill")["State"]["Health"]["Status"] == wanted).then_some(())
            });
        };
        health("unhealthy");
        client.run(&["exec", "ill", "touch", "/tmp/well"]).ok();
        health("healthy");
        assert!(client.run(&["ps"]).ok().contains("(healthy)"));
        world.tidy();
    }
}

#[test]
fn events_tell_the_story() {
    let world = World::start();
    world.wharf(&["run", "--rm", "--name", "story", IMAGE, "true"]).ok();
    // A client cuts `0s` down to the whole second, in which all of it may have happened.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    for client in world.clients() {
        let output = client
            .run(&[
                "events",
                "--since",
                "1h",
                "--until",
                "0s",
                "--filter",
                "type=container",
                "--format",
                "{{.Action}}",
            ])
            .ok();
        let actions: Vec<&str> = output.lines().collect();
        assert_eq!(actions, ["create", "attach", "start", "die", "destroy"], "{}", client.name);
    }
}

#[test]
fn prune_removes_what_has_ended() {
    let world = World::start();
    for client in world.clients() {
        client.run(&["run", "-d", "--name", "stays", IMAGE, "sleep", "1000"]).ok();
        client.run(&["run", "--name", "goes", IMAGE, "true"]).ok();
        let output = client.run(&["container", "prune", "-f"]).ok();
        assert!(
            output.contains("Deleted Containers:") && output.contains("Total reclaimed space:"),
            "{output}"
        );
        assert_eq!(client.run(&["container", "ls", "-a", "--format", "{{.Names}}"]).ok(), "stays");
        world.tidy();
    }
}

#[test]
fn version_and_info_agree() {
    let world = World::start();
    for client in world.clients() {
        client.run(&["version"]).code(0).prints("API version:");
        client.run(&["info"]).code(0).prints("Server Version:");
        assert_eq!(client.run(&["info", "--format", "{{.Containers}} {{.OSType}}"]).ok(), "0 linux");
    }
}

#[test]
fn twenty_at_once() {
    let world = World::start();
    let sessions: Vec<_> =
        (0..20).map(|n| world.session(&["run", "--rm", IMAGE, "echo", &format!("number {n}")])).collect();
    for (n, session) in sessions.into_iter().enumerate() {
        assert_eq!(session.finish().ok(), format!("number {n}"));
    }
}

#[test]
fn every_command_has_its_management_form() {
    let world = World::start();
    for client in world.clients() {
        let run = |line: &str| client.run(&line.split(' ').collect::<Vec<_>>());
        for line in [
            "container run -d --name one busybox sleep 1000",
            "container exec one true",
            "container logs one",
            "container top one",
            "container port one",
            "container stats --no-stream one",
            "container rename one other",
            "container rename other one",
            "container pause one",
            "container unpause one",
            "container restart -t 0 one",
            "container update --pids-limit 50 one",
            "container inspect one",
            "container diff one",
            "container cp one:/www/index.html page.html",
            "container export -o one.tar one",
            "container commit one made",
            "container kill one",
            "container start one",
            "container stop -t 0 one",
            "container wait one",
            "container rm one",
            "container create --name one busybox true",
            "container start -a one",
            "container attach --help",
            "container list -a",
            "container ps",
            "container prune -f",
            "image ls",
            "image list",
            "image tag busybox busybox:2",
            "image inspect busybox",
            "image history busybox",
            "image save -o two.tar busybox:2",
            "image rm busybox:2",
            "image load -i two.tar",
            "image remove busybox:2",
            "image import one.tar three",
            "image prune -f",
            "network create sea",
            "network list",
            "network inspect sea",
            "network remove sea",
            "network prune -f",
            "volume create field",
            "volume list",
            "volume inspect field",
            "volume remove field",
            "volume prune -f",
            "system df",
            "system info",
            "system events --since 1s --until 0s",
        ] {
            let output = run(line);
            assert_eq!(output.code, 0, "{output}");
        }
        run("image rm made three").code(0);
    }
}

#[test]
fn idioms_of_shells() {
    let world = World::start();
    for client in world.clients() {
        let program = world.client(client.name, &[]).get_program().to_string_lossy().into_owned();
        let shell = |line: &str| {
            let mut command = world.client("sh", &["-c", &line.replace("docker", &program)]);
            command.stdin(std::process::Stdio::null());
            blackbox::Session::start(command).finish()
        };
        shell("docker run -d busybox sleep 1000; docker run -d busybox sleep 1000; docker create busybox")
            .code(0);
        assert_eq!(shell("docker stop -t 0 $(docker ps -q)").ok().lines().count(), 2);
        assert_eq!(shell("docker rm -f $(docker ps -aq)").ok().lines().count(), 3);
        shell("docker tag busybox again && docker save busybox again | docker load")
            .code(0)
            .prints("Loaded image: again");
        shell("id=$(docker run -d busybox sleep 1000) && docker logs $id && docker rm -f $(echo $id | cut -c1-7)").code(0);
        shell("docker ps -aq | xargs -r docker rm -f").code(0);
        assert_eq!(shell("echo words | docker run --rm -i busybox cat | tr a-z A-Z").ok(), "WORDS");
        assert_eq!(
            shell(
                "docker export $(docker create --name ex busybox) | tar t | grep index; docker rm ex >/dev/null"
            )
            .ok(),
            "www/index.html"
        );
        // An image with two names goes by its id only when forced.
        shell("docker rmi $(docker images -q busybox)").code(1).says("must be forced");
        shell("docker rmi -f $(docker images -q)").code(0);
        assert_eq!(shell("docker images -aq").ok(), "");
        world.load(&blackbox::busybox_image(IMAGE));
    }
}

/// Who debugs a container looks at its files from the host.
#[test]
fn the_root_is_where_inspect_says() {
    let world = World::start();
    for client in world.clients() {
        client.run(&["run", "-d", "--name", "open", IMAGE, "sh", "-c", "echo seen > /mark; sleep 1000"]).ok();
        let path = || client.run(&["inspect", "-f", "{{.GraphDriver.Data.MergedDir}}", "open"]).ok();
        let mark =
            || std::fs::read_to_string(format!("{}/mark", path())).ok().filter(|text| text == "seen\n");
        eventually("the mark in the merged root", mark);
        client.run(&["stop", "-t0", "open"]).ok();
        assert!(path().ends_with("/merged"), "{}", path());
        client.run(&["rm", "open"]).ok();
    }
}
