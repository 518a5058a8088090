//! Other runtimes than ours: what works with ours works with them, and nothing of them is left.
//!
//! Each test runs with runc and crun of the machine and with our own runtime as a program, which shows that the engine
//! drives it by nothing but the command line.

use blackbox::{IMAGE, Output, Settings, World, binary, busybox_image, eventually, signal};
use serde_json::{Value, json};

/// What a world's configuration calls them.
const NAMES: [&str; 3] = ["other-runc", "other-crun", "own"];

/// crun refuses a machine whose v2 tree has controllers of its own beside v1 trees; there it is shown one without.
fn crun() -> Value {
    let hybrid = std::fs::read_to_string("/sys/fs/cgroup/unified/cgroup.controllers");
    if hybrid.is_ok_and(|controllers| !controllers.trim().is_empty()) {
        let script =
            "mount --make-private /sys/fs/cgroup && umount -l /sys/fs/cgroup/unified && exec crun \"$@\"";
        let arguments = ["--mount", "--propagation=unchanged", "sh", "-c", script, "crun"];
        return json!({ "path": "/usr/bin/unshare", "runtimeArgs": arguments });
    }
    json!({ "path": "/usr/bin/crun" })
}

/// Tells the engine what its file says now.
fn configure(world: &World, file: &Value) {
    let read = || {
        let told = world.engine_output();
        ["Reloaded configuration", "Error reloading configuration"].map(|words| told.matches(words).count())
    };
    let before = read();
    std::fs::write(world.config_file(), file.to_string()).unwrap();
    signal(world.engine_pid(), "HUP");
    eventually("the file to be read", || (read() != before).then_some(()));
}

/// An engine that knows them all.
fn world() -> World {
    let world = World::start();
    configure(
        &world,
        &json!({ "runtimes": {
            "other-runc": { "path": "runc", "runtimeArgs": ["--debug"] },
            "other-crun": crun(),
            "own": { "path": binary("wharf-runtime") },
        }}),
    );
    world
}

/// Runs the image in the background.
fn start(world: &World, runtime: &str, name: &str, flags: &[&str], script: &str) {
    let words = [&["run", "-d", "--runtime", runtime, "--name", name], flags, &[IMAGE, "sh", "-c", script]];
    world.docker(&words.concat()).ok();
}

#[test]
fn a_container_from_run_to_rm() {
    let world = world();
    for (runtime, client) in NAMES.iter().flat_map(|runtime| world.clients().map(|client| (runtime, client)))
    {
        let run =
            |words: &[&str]| client.run(&[&["run", "--rm", "--runtime", runtime, IMAGE], words].concat());
        run(&["sh", "-c", "echo out; echo err >&2; exit 3"]).code(3).prints("out\n").says("err");
        start(
            &world,
            runtime,
            "one",
            &["-m", "64m", "-p", "8080:80"],
            "trap 'exit 7' TERM; echo ready; while :; do sleep 0.1; done",
        );
        world.until_logged("one", "ready");
        assert_eq!(world.inspect("one")["HostConfig"]["Runtime"], *runtime);
        client.run(&["exec", "one", "sh", "-c", "echo beside; exit 5"]).code(5).prints("beside\n");
        client.run(&["exec", "-d", "one", "touch", "/made"]).ok();
        eventually("the file", || {
            (client.run(&["exec", "one", "test", "-e", "/made"]).code == 0).then_some(())
        });
        client.run(&["exec", "one", "absent"]).code(127).prints("OCI runtime exec failed: ");
        client.run(&["top", "one"]).prints("sleep").ok();
        client.run(&["stats", "--no-stream", "--format", "{{.MemUsage}}", "one"]).prints("/ 64MiB").ok();
        client.run(&["pause", "one"]).ok();
        client.run(&["exec", "one", "true"]).code(1).says("is paused");
        client.run(&["unpause", "one"]).ok();
        client.run(&["update", "-m", "48m", "--memory-swap", "96m", "one"]).ok();
        client.run(&["stats", "--no-stream", "--format", "{{.MemUsage}}", "one"]).prints("/ 48MiB").ok();
        client.run(&["cp", "one:/made", "copied"]).ok();
        client.run(&["diff", "one"]).prints("A /made").ok();
        client.run(&["restart", "one"]).ok();
        client.run(&["exec", "one", "test", "-e", "/made"]).ok();
        world.until_logged("one", "ready\nready");
        client.run(&["stop", "one"]).ok();
        assert_eq!(world.inspect("one")["State"]["ExitCode"], 7);
        client.run(&["start", "one"]).ok();
        client.run(&["kill", "one"]).ok();
        world.until_status("one", "exited");
        assert_eq!(world.inspect("one")["State"]["ExitCode"], 137);
        client.run(&["rm", "one"]).ok();
    }
}

#[test]
fn options_have_their_effect() {
    let world = world();
    std::fs::create_dir(world.directory().join("bound")).unwrap();
    let bound = format!("{}:/bound", world.directory().join("bound").display());
    for runtime in NAMES {
        let run = |flags: &[&str], script: &str| -> Output {
            world.wharf(
                &[&["run", "--rm", "--runtime", runtime], flags, &[IMAGE, "sh", "-c", script]].concat(),
            )
        };
        run(&["-h", "me", "-u", "12:34", "-e", "A=b", "-w", "/tmp"], "hostname; id -u; id -g; echo $A; pwd")
            .prints("me\n12\n34\nb\n/tmp\n")
            .ok();
        run(&["--read-only", "--tmpfs", "/t"], "touch /t/x && ! touch /x 2>/dev/null").ok();
        run(&["-v", &bound, "-v", "/anonymous"], "touch /bound/x /anonymous/x").ok();
        run(&["--init"], "cat /proc/1/comm").prints("docker-init\n").ok();
        run(&["--pid", "host"], "(sleep 0.1 &) ; test -d /proc/2").ok();
        run(&["--privileged"], "mount -t tmpfs x /tmp && test -e /dev/kmsg").ok();
        run(&["--cap-drop", "all"], "! chown 1:1 /bin 2>/dev/null").ok();
        run(&["--network", "none"], "ls /sys/class/net").prints("lo\n").ok();
        run(
            &["--ulimit", "nofile=77", "--sysctl", "net.ipv4.ip_default_ttl=9"],
            "ulimit -n; cat /proc/sys/net/ipv4/ip_default_ttl",
        )
        .prints("77\n9\n")
        .ok();
    }
    std::fs::remove_file(world.directory().join("bound/x")).unwrap();
}

#[test]
fn what_cannot_run_says_so() {
    let world = world();
    for runtime in NAMES {
        for (command, code) in [("absent", 127), ("/absent", 127), ("/etc/passwd", 126)] {
            for client in world.clients() {
                let output = client.run(&["run", "--name", "bad", "--runtime", runtime, IMAGE, command]);
                // Docker's client knows runc's words only; the engine knows better.
                let told = if runtime == "other-crun" { 125 } else { code };
                output.code(told).says("failed to create shim task: OCI runtime create failed: ");
                assert_eq!(world.inspect("bad")["State"]["ExitCode"], code);
                client.run(&["rm", "bad"]).ok();
            }
        }
    }
    let run = |runtime: &str| world.docker(&["run", "--rm", "--runtime", runtime, IMAGE, "true"]);
    run("other-runc").ok();
    run("/absent/runtime").code(127).says("fork/exec /absent/runtime: no such file or directory");
    run("/bin/false").code(127).says("/bin/false did not terminate successfully: exit status 1");
    assert_eq!(world.wharf(&["ps", "-aq"]).ok(), "");
}

#[test]
fn terminals() {
    let world = world();
    for (runtime, client) in NAMES.iter().flat_map(|runtime| world.clients().map(|client| (runtime, client)))
    {
        let script = ["sh", "-c", "tty; stty size"];
        let run = ["run", "--rm", "-it", "--runtime", runtime, IMAGE];
        let output = client.in_terminal(&[&run[..], &script].concat(), 31, 97).code(0);
        assert!(output.stdout.contains("/dev/pts/0") && output.stdout.contains("31 97"), "{output}");
        start(&world, runtime, "base", &[], "sleep 1000");
        // Not every runtime knows the size before the process runs.
        let script = "until stty size 2>&1 | grep '20 90'; do sleep 0.1; done";
        client.in_terminal(&["exec", "-it", "base", "sh", "-c", script], 20, 90).code(0);
        let typed = ["exec", "-it", "base", "sh", "-c", "echo go; read word; echo got $word"];
        assert!(client.type_in_terminal(&typed, "go", b"that\n").contains("got that"));
        client.run(&["rm", "-f", "base"]).ok();
    }
}

#[test]
fn without_the_engine() {
    let mut world = world();
    for runtime in NAMES {
        let check = [
            "--restart",
            "always",
            "--health-cmd",
            "test -e /well",
            "--health-interval",
            "100ms",
            "--health-retries",
            "1",
        ];
        start(
            &world,
            runtime,
            "on",
            &check,
            "echo begun; while test ! -e /end; do sleep 0.1; done; rm /end; exit 4",
        );
        world.until_logged("on", "begun");
        eventually("a verdict", || {
            (world.inspect("on")["State"]["Health"]["Status"] == "unhealthy").then_some(())
        });
        let mut following = world.docker_session(&["logs", "-f", "on"]);
        following.read_until("begun");
        let root = format!("/proc/{}/root", world.inspect("on")["State"]["Pid"]);
        world.kill_engine();
        // Its policy brings it back, its probes go on, its log is written.
        std::fs::write(format!("{root}/well"), "").unwrap();
        std::fs::write(format!("{root}/end"), "").unwrap();
        eventually("the second run", || {
            (!std::path::Path::new(&format!("{root}/bin")).exists()).then_some(())
        });
        world.start_engine();
        eventually("the second run to be told", || (world.inspect("on")["RestartCount"] == 1).then_some(()));
        world.until_logged("on", "begun\nbegun");
        eventually("a verdict", || {
            (world.inspect("on")["State"]["Health"]["Status"] == "healthy").then_some(())
        });
        world.docker(&["exec", "on", "true"]).ok();
        drop(following);
        world.docker(&["rm", "-f", "on"]).ok();
    }
}

#[test]
fn a_killed_shim_takes_its_container_along() {
    let world = world();
    for runtime in NAMES {
        start(&world, runtime, "gone", &[], "sleep 1000");
        let state = world.inspect("gone")["State"].clone();
        let pid = state["Pid"].as_u64().unwrap();
        let parent = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let shim =
            parent.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim().parse().unwrap();
        signal(shim, "KILL");
        world.until_status("gone", "exited");
        assert_eq!(world.inspect("gone")["State"]["ExitCode"], 137);
        assert!(!std::path::Path::new(&format!("/proc/{pid}/root/bin")).exists());
        world.wharf(&["start", "gone"]).ok();
        world.wharf(&["rm", "-f", "gone"]).ok();
    }
}

#[test]
fn memory_that_runs_out() {
    let world = world();
    for runtime in NAMES {
        let words =
            ["run", "--name", "hog", "--runtime", runtime, "-m", "16m", "--memory-swap", "16m", IMAGE];
        let script = ["sh", "-c", "head -c 100000000 /dev/zero | tail"];
        assert_ne!(world.wharf(&[&words[..], &script].concat()).code, 0);
        assert_eq!(world.inspect("hog")["State"]["OOMKilled"], true);
        world.wharf(&["rm", "hog"]).ok();
    }
}

#[test]
fn names_are_registered_chosen_and_reloaded() {
    let flags = ["--add-runtime", "Flagged=runc", "--default-runtime", "flagged"].map(str::to_owned);
    let world = World::empty(Settings { flags: flags.into(), ..Settings::default() });
    world.load(&busybox_image(IMAGE));
    let info = || {
        world
            .docker(&[
                "info",
                "--format",
                "{{range $name, $_ := .Runtimes}}{{$name}} {{end}}{{.DefaultRuntime}}",
            ])
            .ok()
    };
    assert_eq!(info(), "flagged io.containerd.runc.v2 runc flagged");
    let chosen = |words: &[&str]| {
        world.docker(&[&["create", "--name", "one"], words, &[IMAGE, "true"]].concat()).ok();
        let chosen = world.inspect("one")["HostConfig"]["Runtime"].clone();
        world.wharf(&["start", "-a", "one"]).ok();
        world.wharf(&["rm", "one"]).ok();
        chosen
    };
    assert_eq!(chosen(&[]), "flagged");
    for name in ["runc", "io.containerd.runc.v2", "flagged", "/usr/sbin/runc"] {
        assert_eq!(chosen(&["--runtime", name]), name);
    }
    for client in world.clients() {
        let output = client.run(&["run", "--runtime", "absent", IMAGE]);
        output.code(125).says("unknown or invalid runtime name: absent");
    }

    // The file adds to the flags; one with an error changes nothing.
    configure(&world, &json!({ "runtimes": { "filed": { "path": "runc" } } }));
    assert_eq!(info(), "filed flagged io.containerd.runc.v2 runc flagged");
    world.docker(&["create", "--name", "kept", "--runtime", "filed", IMAGE, "true"]).ok();
    configure(&world, &json!({ "runtimes": { "runc": { "path": "runc" } } }));
    assert!(world.engine_output().contains("runtime name 'runc' is reserved"));
    assert_eq!(info(), "filed flagged io.containerd.runc.v2 runc flagged");
    configure(&world, &json!({}));
    assert_eq!(info(), "flagged io.containerd.runc.v2 runc flagged");
    world.docker(&["start", "kept"]).code(1).says("unknown or invalid runtime name: filed");

    for (words, text) in [
        (&["--add-runtime", "runc=/x"][..], "runtime name 'runc' is reserved"),
        (&["--add-runtime", "x"], "invalid runtime argument: x"),
        (&["--default-runtime", "absent"], "specified default runtime 'absent' does not exist"),
    ] {
        world.engine_command(&[words, &["--validate"]].concat()).code(1).says(text);
    }
}
