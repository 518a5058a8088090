//! `-t` as somebody at a keyboard sees it: Ctrl-C, detach keys, windows that change their size, an engine that dies.

use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use blackbox::{Client, IMAGE, Session, World, eventually};

/// Says when the size of its window changes, when it is interrupted, and repeats what it is told.
const WATCH: &str = "trap 'echo size $(stty size)' WINCH; trap 'echo caught; exit 9' INT; echo ready; \
                     while :; do sleep 0.05; done";

/// The terminal that a session's client is on.
fn terminal_of(session: &Session) -> PathBuf {
    let script = session.pid();
    eventually("the client on its terminal", || {
        let children = std::fs::read_to_string(format!("/proc/{script}/task/{script}/children")).ok()?;
        let client = children.split_whitespace().next()?.to_owned();
        std::fs::read_link(format!("/proc/{client}/fd/0")).ok().filter(|path| path.starts_with("/dev/pts"))
    })
}

fn resize(terminal: &Path, rows: u16, columns: u16) {
    let (rows, columns) = (rows.to_string(), columns.to_string());
    let output = Command::new("stty")
        .arg("-F")
        .arg(terminal)
        .args(["rows", &rows, "cols", &columns])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Follows a window through two changes; the program is [`WATCH`].
fn follows_the_window(session: &mut Session) {
    let terminal = terminal_of(session);
    for (rows, columns) in [(40, 120), (11, 33)] {
        let told = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // A client that has just started may not listen yet.
                for other in (0..2).cycle().take_while(|_| !told.load(Ordering::Relaxed)) {
                    resize(&terminal, rows + other, columns);
                    std::thread::sleep(Duration::from_millis(200));
                }
            });
            let read = std::panic::catch_unwind(AssertUnwindSafe(|| {
                session.read_until(&format!("size {rows} {columns}\r\n"));
            }));
            told.store(true, Ordering::Relaxed);
            read.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        });
    }
}

/// A container that waits with a terminal, to be attached to.
fn watching(client: &Client<'_>, name: &str) {
    client.run(&["run", "-dit", "--name", name, IMAGE, "sh", "-c", WATCH]).code(0);
}

#[test]
fn a_window_that_changes_is_told_and_ctrl_c_arrives() {
    let world = World::start();
    for client in world.clients() {
        let mut session = client.on_terminal(&["run", "--rm", "-it", IMAGE, "sh", "-c", WATCH], 24, 80);
        session.read_until("ready\r\n");
        follows_the_window(&mut session);
        session.send(b"\x03");
        let output = session.finish().code(9);
        assert!(output.stdout.contains("caught"), "{output}");

        watching(&client, "base");
        let mut session = client.on_terminal(&["exec", "-it", "base", "sh", "-c", WATCH], 24, 80);
        session.read_until("ready\r\n");
        follows_the_window(&mut session);
        session.send(b"\x03");
        session.finish().code(9);
        assert_eq!(world.inspect("base")["State"]["Status"], "running");

        let mut session = client.on_terminal(&["attach", "base"], 24, 80);
        follows_the_window(&mut session);
        session.send(b"\x03");
        session.finish().code(9);
        assert_eq!(world.inspect("base")["State"]["ExitCode"], 9);

        let mut session = client.on_terminal(&["start", "-ai", "base"], 24, 80);
        session.read_until("ready\r\n");
        follows_the_window(&mut session);
        session.send(b"\x03");
        session.finish().code(9);
        client.run(&["rm", "base"]).code(0);
    }
}

#[test]
fn detach_keys_leave_what_they_are_typed_at() {
    let world = World::start();
    for client in world.clients() {
        let detach = |words: &[&str], when: &str, keys: &[u8]| {
            let mut session = client.on_terminal(words, 24, 80);
            if !when.is_empty() {
                session.read_until(when);
            }
            // One by one, as they are typed.
            for key in keys {
                session.send([*key]);
            }
            session.finish()
        };
        let output =
            detach(&["run", "-it", "--name", "base", IMAGE, "sh", "-c", WATCH], "ready", b"\x10\x11");
        assert_eq!(
            (output.code, world.inspect("base")["State"]["Running"].as_bool()),
            (0, Some(true)),
            "{output}"
        );
        let attach = ["attach", "--detach-keys", "ctrl-x,x", "base"];
        for (words, when, keys) in [
            (&["attach", "base"][..], "size", &b"\x10\x11"[..]),
            (&attach, "size", b"\x18x"),
            (&["attach", "--detach-keys=q", "base"], "size", b"q"),
            (&["exec", "-it", "base", "sh", "-c", WATCH], "ready", b"\x10\x11"),
            (&["exec", "-it", "--detach-keys", "ctrl-x,x", "base", "sh", "-c", WATCH], "ready", b"\x18x"),
        ] {
            let output = detach(words, when, keys);
            assert!(output.stdout.contains("read escape sequence"), "{output}");
            assert_eq!(world.inspect("base")["State"]["Running"], true, "{output}");
        }
        client.run(&["attach", "--detach-keys", "ctrl-nonsense", "base"]).code(1);
        client.run(&["kill", "base"]).code(0);
        let output = detach(&["start", "-ai", "--detach-keys", "ctrl-x,x", "base"], "ready", b"\x18x");
        assert!(world.inspect("base")["State"]["Running"] == true, "{output}");
        // From a configuration file.
        let configuration = world.directory().join("config");
        std::fs::create_dir_all(&configuration).unwrap();
        std::fs::write(configuration.join("config.json"), r#"{"detachKeys": "ctrl-e,e"}"#).unwrap();
        let output = detach(&["attach", "base"], "size", b"\x05e");
        assert!(output.stdout.contains("read escape sequence"), "{output}");
        std::fs::remove_file(configuration.join("config.json")).unwrap();
        client.run(&["rm", "-f", "base"]).code(0);
    }
}

#[test]
fn a_terminal_session_goes_on_without_the_engine() {
    let mut world = World::start();
    for name in ["wharf", "docker"] {
        let client = world.clients().into_iter().find(|client| client.name == name).unwrap();
        let script = "stty -echo; echo ready; while read x; do echo got $x; done; exit 6";
        let mut session =
            client.on_terminal(&["run", "-it", "--name", name, IMAGE, "sh", "-c", script], 24, 80);
        session.read_until("ready\r\n");
        world.until_status(name, "running");
        // The client has its answer to the start before it says that its window has changed.
        let terminal = terminal_of(&session);
        let mut rows = [30, 31].into_iter().cycle();
        eventually("the window", || {
            resize(&terminal, rows.next()?, 90);
            let size = world.wharf(&["exec", name, "stty", "-F", "/dev/pts/0", "size"]).stdout;
            size.ends_with(" 90\n").then_some(())
        });
        world.kill_engine();
        session.send("during\n").read_until("got during\r\n");
        world.start_engine();
        session.send("after\n").read_until("got after\r\n");
        // Another one joins by the new engine.
        let client = world.clients().into_iter().find(|client| client.name == name).unwrap();
        let mut other = client.on_terminal(&["attach", name], 24, 80);
        eventually("both to see it", || {
            session.send("both\n").read_until("got both\r\n");
            (world.wharf(&["logs", name]).stdout.contains("got both")).then_some(())
        });
        other.send("third\n").read_until("got third\r\n");
        session.read_until("got third\r\n");
        session.send(b"\x04");
        session.finish().code(6);
        other.finish().code(6);
        assert_eq!(world.inspect(name)["State"]["ExitCode"], 6);
    }
}

#[test]
fn why_there_is_nothing_to_see_is_told() {
    let world = World::start();
    world.wharf(&["run", "-d", "--name", "up", IMAGE, "sleep", "1000"]).ok();
    for client in world.clients() {
        for (program, code, reason) in [
            ("nope", 127, "\"nope\": executable file not found in $PATH"),
            ("/etc", 126, "permission denied"),
        ] {
            let execs = [
                client.run(&["exec", "-t", "up", program]),
                client.in_terminal(&["exec", "-it", "up", program], 24, 80),
            ];
            for exec in execs {
                let told = exec.code(code).stdout;
                assert!(told.contains(reason), "{program}: {told}");
            }
            // As no first process of a PID namespace, which signals spare.
            client.run(&["run", "--rm", "-t", "--pid", "host", IMAGE, program]).code(code).says(reason);
        }
    }
}
