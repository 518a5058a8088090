//! Shims outlive engines: one that was started by an early build says less than this engine knows, and everything that can
//! be asked of its container works all the same. `tests/old_shim.py` stands between them and lets through what the first
//! version of the protocol had.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use blackbox::{IMAGE, World, eventually};

/// A shim that speaks the first version, before a real one.
struct OldShim(Child);

impl OldShim {
    /// For a container that runs, in a world whose engine does not.
    fn before(world: &World, id: &str) -> OldShim {
        let runtime = world.exec_root().join("containers").join(id);
        std::fs::rename(runtime.join("shim.sock"), runtime.join("new.sock")).unwrap();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/old_shim.py");
        let mut process =
            Command::new("python3").arg(script).arg(&runtime).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        OldShim(process)
    }
}

impl Drop for OldShim {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Counts, and says which signals it got; comes back when it fails.
const COUNT: &str = "trap 'echo caught' USR1; trap 'exit 3' TERM; echo begun; \
     i=0; while true; do i=$((i+1)); echo line $i; sleep 0.1; done";

/// Starts a container under this engine, and finds it under another whose shim is old. If it had no stop signal of its own
/// any signal would end its policy, as Docker has it.
fn taken_over(world: &mut World, name: &str, options: &[&str]) -> (String, OldShim) {
    let words = [
        &["run", "-d", "--name", name, "--restart", "on-failure:5", "--stop-signal", "TERM"],
        options,
        &[IMAGE, "sh", "-c", COUNT],
    ];
    let id = world.wharf(&words.concat()).ok();
    world.stop_engine();
    let shim = OldShim::before(world, &id);
    world.start_engine();
    (id, shim)
}

#[test]
fn a_container_of_an_old_shim_is_like_any_other() {
    let mut world = World::start();
    world.wharf(&["network", "create", "wire"]).ok();
    for name in ["wharf", "docker"] {
        let (_, _shim) = taken_over(&mut world, name, &["-p", "8080:80", "--network", "wire"]);
        let client = world.clients().into_iter().find(|client| client.name == name).unwrap();
        let field = |format: &str| client.run(&["inspect", "-f", format, name]).ok();
        assert_eq!(field("{{.State.Status}} {{.RestartCount}}"), "running 0");
        let pid = field("{{.State.Pid}}");
        assert_eq!(
            client.run(&["ps", "--format", "{{.Names}} {{.Ports}}"]).ok(),
            format!("{name} 0.0.0.0:8080->80/tcp, [::]:8080->80/tcp")
        );

        // Streams and processes beside its own.
        let mut follower = client.session(&["logs", "-f", name]);
        assert!(follower.read_until("line 3").starts_with("begun"));
        // A shim reports an end before it closes the streams of a client; what stands between may be late with the report.
        eventually("the exit code of an exec", || {
            let mut beside = client.session(&["exec", "-i", name, "sh", "-c", "read x; echo got $x; exit 7"]);
            beside.send("it\n");
            let end = beside.finish().prints("got it");
            (end.code == 7).then_some(())
        });
        client.run(&["exec", name, "no-such-command"]).code(127);
        client.run(&["exec", "-d", name, "touch", "/made"]).code(0);
        eventually("what was made", || (client.run(&["exec", name, "ls", "/made"]).code == 0).then_some(()));
        client.run(&["cp", &format!("{name}:/made"), "-"]).code(0);
        client.run(&["top", name]).code(0);

        // What is done to it.
        client.run(&["kill", "-s", "USR1", name]).code(0);
        follower.read_until("caught");
        client.run(&["pause", name]).code(0);
        assert_eq!(field("{{.State.Status}}"), "paused");
        client.run(&["unpause", name]).code(0);
        client.run(&["update", "--memory", "64m", "--memory-swap", "64m", name]).code(0);
        client.run(&["network", "connect", "bridge", name]).code(0);
        client.run(&["network", "disconnect", "bridge", name]).code(0);
        assert_eq!(field("{{.State.Pid}}"), pid);

        // It fails and comes back by its policy, which the old shim tells only when it runs again.
        client.run(&["exec", name, "kill", "-TERM", "1"]).code(0);
        eventually("the restart", || {
            (field("{{.RestartCount}} {{.State.Status}}") == "1 running").then_some(())
        });
        assert_ne!(field("{{.State.Pid}}"), pid);

        eventually("the second beginning", || {
            (client.run(&["logs", name]).ok().matches("begun").count() == 2).then_some(())
        });
        let mut waiting = client.session(&["wait", name]);
        client.run(&["stop", "-t", "5", name]).code(0);
        assert_eq!(waiting.read_until("3").trim(), "3");
        assert_eq!(field("{{.State.Status}} {{.State.ExitCode}}"), "exited 3");
        let died = ["events", "--since", "1h", "--until", "0s", "--filter", "event=die", "--filter"];
        let of_it = format!("container={name}");
        let died = [&died[..], &[&of_it, "--format", "{{.Actor.Attributes.exitCode}}"]].concat();
        // Now is a whole second for clients: what this one brought is told in the next.
        eventually("both ends", || (client.run(&died).ok() == "3\n3").then_some(()));
        let lines = client.run(&["logs", name]).ok();
        assert_eq!(lines.matches("begun").count(), 2, "{lines}");
        drop(follower);
        client.run(&["rm", name]).code(0);
    }
}

#[test]
fn what_an_old_shim_saw_meanwhile_is_taken_in() {
    let mut world = World::start();
    let (id, shim) = taken_over(&mut world, "it", &[]);
    let pid = world.inspect("it")["State"]["Pid"].to_string();
    world.kill_engine();
    // Nobody restarts what was told to end.
    let ended = Command::new("kill").args(["-KILL", &pid]).status().unwrap();
    assert!(ended.success());
    eventually("another process", || {
        let journal = std::fs::read_to_string(world.exec_root().join("containers").join(&id).join("journal"));
        (journal.unwrap().matches("\"started\"").count() == 2).then_some(())
    });
    world.start_engine();
    assert_eq!(world.inspect("it")["RestartCount"], 1);
    assert_eq!(world.inspect("it")["State"]["Status"], "running");
    let told =
        ["events", "--since", "1h", "--until", "0s", "--filter", "container=it", "--format", "{{.Action}}"];
    eventually("what happened, once", || {
        let told = world.wharf(&told).ok();
        let times = |wanted: &str| told.lines().filter(|action| *action == wanted).count();
        (times("die") == 1 && times("start") == 2).then_some(())
    });
    world.wharf(&["rm", "-f", "it"]).ok();
    drop(shim);
}
