//! What goes in and out: attach, exec, logs, terminals, signals.

use blackbox::{IMAGE, Wire, World, eventually, signal};

#[test]
fn standard_input_reaches_the_container_and_its_end_too() {
    let world = World::start();
    for client in world.clients() {
        let mut session = client.session(&["run", "--rm", "-i", IMAGE, "sh", "-c", "cat; echo done"]);
        session.send("one\ntwo\n").end_input();
        assert_eq!(session.finish().ok(), "one\ntwo\ndone");
    }
}

#[test]
fn megabytes_pass_unchanged_in_both_directions() {
    let world = World::start();
    let line = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde\n";
    let text = line.repeat(64 * 1024);
    for client in world.clients() {
        let mut session = client.session(&["run", "--rm", "-i", IMAGE, "cat"]);
        let writer = text.clone();
        // The output must be read while the input is written, or both ends wait for each other.
        let output = std::thread::scope(|scope| {
            let mut input = session.take_input();
            scope.spawn(move || {
                use std::io::Write;
                input.write_all(writer.as_bytes()).unwrap();
            });
            session.finish()
        });
        assert_eq!(output.code, 0);
        assert!(output.stdout == text, "{} of {} bytes came back", output.stdout.len(), text.len());
    }
}

#[test]
fn a_terminal_is_a_terminal() {
    let world = World::start();
    for client in world.clients() {
        let output = client.in_terminal(
            &["run", "--rm", "-it", IMAGE, "sh", "-c", "tty; test -t 0 && test -t 1 && echo yes; stty size"],
            33,
            101,
        );
        let output = output.code(0);
        for text in ["/dev/pts/0\r\n", "yes\r\n", "33 101\r\n"] {
            assert!(output.stdout.contains(text), "{text:?}: {output}");
        }
    }
}

#[test]
fn exec_runs_beside_with_its_own_user_environment_and_directory() {
    let world = World::start();
    world.wharf(&["run", "-d", "--name", "base", "-e", "A=1", IMAGE, "sleep", "1000"]).ok();
    for client in world.clients() {
        assert_eq!(client.run(&["exec", "base", "sh", "-c", "echo $A"]).ok(), "1");
        let output = client.run(&[
            "exec",
            "-u",
            "web",
            "-e",
            "B=2",
            "-w",
            "/tmp",
            "base",
            "sh",
            "-c",
            "id -un; echo $A$B; pwd",
        ]);
        assert_eq!(output.ok(), "web\n12\n/tmp");
        let mut session = client.session(&["exec", "-i", "base", "cat"]);
        session.send("through").end_input();
        assert_eq!(session.finish().ok(), "through");
        client.run(&["exec", "base", "sh", "-c", "exit 3"]).code(3);
        // A failed exec speaks on the stream that its output would have had.
        client.run(&["exec", "base", "/absent"]).code(127).prints("no such file or directory");
        client.run(&["exec", "base", "absent"]).code(127).prints("executable file not found in $PATH");
        client.run(&["exec", "base", "/etc/passwd"]).code(126).prints("permission denied");
        client.run(&["exec", "base", "/etc"]).code(126).prints("is a directory: permission denied");
        client.run(&["exec", "-w", "here", "base", "true"]).code(128).prints("Cwd must be an absolute path");
        client.run(&["exec", "-d", "base", "touch", &format!("/tmp/{}", client.name)]).code(0);
        let file = format!("/tmp/{}", client.name);
        eventually("the detached command", || {
            (client.run(&["exec", "base", "test", "-e", &file]).code == 0).then_some(())
        });
        let caps = client.run(&["exec", "--privileged", "base", "grep", "CapEff", "/proc/self/status"]).ok();
        assert!(caps.as_str() > "CapEff:\t00000000a80425fb", "{caps}");
        let output =
            client.in_terminal(&["exec", "-it", "base", "sh", "-c", "tty; stty size"], 20, 90).code(0);
        assert!(output.stdout.contains("/dev/pts/") && output.stdout.contains("20 90"), "{output}");
    }
}

#[test]
fn logs_in_all_forms() {
    let world = World::start();
    let script = "for i in 1 2 3 4 5; do echo line $i; done; echo problem >&2; printf unfinished";
    world.wharf(&["run", "--name", "talk", IMAGE, "sh", "-c", script]).ok();
    for client in world.clients() {
        let output = client.run(&["logs", "talk"]).code(0);
        assert_eq!(output.stdout, "line 1\nline 2\nline 3\nline 4\nline 5\nunfinished");
        assert_eq!(output.stderr, "problem\n");
        let tail = client.run(&["logs", "--tail", "3", "talk"]).code(0);
        assert_eq!((tail.stdout.as_str(), tail.stderr.as_str()), ("line 5\nunfinished", "problem\n"));
        assert_eq!(client.run(&["logs", "--tail", "0", "talk"]).ok(), "");
        let stamped = client.run(&["logs", "-t", "--tail", "1", "talk"]).ok();
        let stamp = stamped.split(' ').next().unwrap();
        assert_eq!((stamp.len(), &stamp[10..11], &stamp[29..]), (30, "T", "Z"), "{stamped}");
        assert_eq!(client.run(&["logs", "--since", "1h", "--tail", "1", "talk"]).ok(), "unfinished");
        assert_eq!(client.run(&["logs", "--until", "2001-01-01", "talk"]).ok(), "");
        assert_eq!(client.run(&["logs", "--since", "2099-01-01T00:00:00Z", "talk"]).ok(), "");
        client.run(&["logs", "absent"]).code(1).says("No such container: absent");
    }
}

#[test]
fn logs_follow_to_the_end() {
    let world = World::start();
    for client in world.clients() {
        let name = format!("count-{}", client.name);
        world
            .wharf(&[
                "run",
                "-d",
                "--name",
                &name,
                IMAGE,
                "sh",
                "-c",
                "for i in $(seq 5); do echo $i; sleep 0.2; done",
            ])
            .ok();
        assert_eq!(client.run(&["logs", "-f", &name]).ok(), "1\n2\n3\n4\n5");
    }
}

#[test]
fn attach_shows_what_comes_and_the_exit_code() {
    let world = World::start();
    for client in world.clients() {
        let name = format!("attached-{}", client.name);
        world.wharf(&["run", "-di", "--name", &name, IMAGE, "sh", "-c", "read x; echo got $x; exit 4"]).ok();
        let mut session = client.session(&["attach", &name]);
        session.send("word\n");
        // As long as the input is open: its end would end the attachment, too.
        assert_eq!(session.read_until("\n"), "got word\n");
        session.finish().code(4);
    }
}

#[test]
fn detach_keys_leave_the_container_running() {
    let world = World::start();
    for client in world.clients() {
        let name = format!("detached-{}", client.name);
        let output = client.type_in_terminal(
            &[
                "run",
                "-it",
                "--name",
                &name,
                "--detach-keys",
                "ctrl-x,x",
                IMAGE,
                "sh",
                "-c",
                "echo ready; cat",
            ],
            "ready",
            b"\x18x",
        );
        assert!(output.contains("ready"), "{output}");
        assert_eq!(world.inspect(&name)["State"]["Status"], "running", "{output}");
    }
}

#[test]
fn signals_to_the_client_reach_the_container() {
    let world = World::start();
    for client in world.clients() {
        let name = format!("trap-{}", client.name);
        let script = "trap 'echo stopped; exit 5' TERM; echo ready; while true; do sleep 0.1; done";
        let session = client.session(&["run", "--name", &name, IMAGE, "sh", "-c", script]);
        eventually("the container to be ready", || {
            world.wharf(&["logs", &name]).stdout.contains("ready").then_some(())
        });
        signal(session.pid(), "TERM");
        let output = session.finish().code(5);
        assert_eq!(output.stdout, "ready\nstopped\n");
    }
}

#[test]
fn an_exec_may_start_with_the_request_that_makes_it() {
    let world = World::start();
    world.wharf(&["run", "-d", "--name", "one", IMAGE, "sleep", "1000"]).ok();
    let ask = |start: &str, offer: &str| {
        let body = r#"{"Cmd":["sh","-c","echo hi; exit 7"],"AttachStdout":true}"#;
        let mut wire = Wire::connect(&world.socket());
        wire.send(format!(
            "POST /containers/one/exec HTTP/1.1\r\nHost: x\r\nX-Wharf-Start: {start}\r\n{offer}\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        wire
    };
    let offer = "Connection: Upgrade\r\nUpgrade: tcp\r\n";
    let mut wire = ask("{}", offer);
    let head = wire.head();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert_eq!(wire.rest(), b"\x01\0\0\0\0\0\0\x03hi\n\x04\0\0\0\0\0\0\x04\0\0\0\x07");
    let id = head.lines().find_map(|line| line.strip_prefix("X-Wharf-Exec: ")).unwrap();
    let shown = Wire::connect(&world.socket()).request("GET", &format!("/exec/{id}/json"), None).response();
    assert_eq!(shown.json()["ExitCode"], 7);
    // A terminal's bytes have no frames to tell it in.
    let mut wire = ask(r#"{"Tty":true}"#, offer);
    assert!(wire.head().contains("X-Wharf-Exec: "));
    assert_eq!(wire.rest(), b"hi\n");
    // Who does not offer to leave HTTP has only made one; and what is no start is refused before anything is made.
    let made = ask("{}", "").response();
    assert_eq!((made.status, made.json()["Id"].as_str().unwrap().len()), (201, 64));
    let refused = ask("nonsense", offer).response();
    assert_eq!(refused.status, 400);
    assert!(refused.json()["message"].as_str().unwrap().starts_with("invalid X-Wharf-Start header: "));
}

#[test]
fn an_exec_runs_once() {
    let world = World::start();
    world.wharf(&["run", "-d", "--name", "one", IMAGE, "sleep", "1000"]).ok();
    let ask = |path: &str, body: &str| {
        let mut wire = Wire::connect(&world.socket());
        wire.request("POST", path, Some(body)).response()
    };
    // A stream ends with its connection.
    let stream = |id: &str, body: &str| {
        let mut wire = Wire::connect(&world.socket());
        wire.request("POST", &format!("/exec/{id}/start"), Some(body));
        let head = wire.head();
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        String::from_utf8(wire.rest()).unwrap()
    };
    let create = |command: &str| {
        let made = ask("/containers/one/exec", &format!(r#"{{"Cmd":{command},"AttachStdout":true}}"#));
        made.json()["Id"].as_str().unwrap().to_owned()
    };
    let id = create(r#"["echo","hi"]"#);
    assert_eq!(stream(&id, "{}"), "\u{1}\0\0\0\0\0\0\u{3}hi\n");
    let again = format!("exec command {id} has already run");
    eventually("the exec to have run", || {
        let refused = ask(&format!("/exec/{id}/start"), r#"{"Detach":true}"#);
        (refused.status == 409 && refused.json()["message"] == again).then_some(())
    });
    assert_eq!(stream(&id, "{}"), format!("\u{1}\0\0\0\0\0\0_{again}\r\n"));
    assert_eq!(stream(&id, r#"{"Tty":true}"#), format!("{again}\r\n"));

    let id = create(r#"["sleep","1000"]"#);
    assert_eq!(ask(&format!("/exec/{id}/start"), r#"{"Detach":true}"#).status, 200);
    let running = format!("exec command {id} is already running");
    assert_eq!(stream(&id, "{}"), format!("\u{1}\0\0\0\0\0\0b{running}\r\n"));
    let refused = ask(&format!("/exec/{id}/start"), r#"{"Detach":true}"#);
    assert_eq!((refused.status, refused.json()["message"].as_str()), (409, Some(&*running)));
}

#[test]
fn whoever_asks_for_no_stream_waits_for_nothing() {
    let world = World::start();
    world.wharf(&["run", "-d", "--name", "deaf", IMAGE, "sleep", "1000"]).ok();
    world.wharf(&["create", "--name", "idle", IMAGE, "true"]).ok();
    for path in ["deaf/attach?stream=1", "deaf/attach?stream=1&stdin=1", "idle/attach?stream=1&logs=1"] {
        let mut wire = Wire::connect(&world.socket());
        wire.send(format!(
            "POST /containers/{path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
        ));
        assert!(wire.head().starts_with("HTTP/1.1 101 "), "{path}");
        assert!(wire.rest().is_empty(), "{path}");
    }
    let mut wire = Wire::connect(&world.socket());
    wire.send(
        "GET /containers/deaf/attach/ws?stream=1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: one\r\n\r\n",
    );
    assert!(wire.head().contains("Sec-WebSocket-Protocol: one\r\n"));
    assert_eq!(wire.rest(), [0x88, 2, 0x03, 0xe8], "normal closure");
}
