//! Signals that come to a client which is joined to a container: whom they reach, and who may still leave.

use std::process::Command;

use blackbox::{Client, IMAGE, Session, World, eventually, signal, surround};

/// Says that SIGTERM has come, and goes on.
const STUBBORN: &str = "trap 'echo got TERM' TERM; echo ready; while :; do sleep 0.05; done";

/// The same command, also where SIGHUP is ignored by all that is started there, as nohup(1) makes it.
fn minding_hangups(plain: &Command) -> Command {
    let mut command = Command::new("env");
    command.arg("--default-signal=HUP").arg(plain.get_program()).args(plain.get_args());
    surround(&mut command, plain);
    command
}

#[test]
fn a_signal_goes_to_the_container_unless_it_is_to_stay_here() {
    let world = World::start();
    let script = "for name in HUP USR1 USR2; do trap \"echo got $name\" $name; done; while :; do echo alive; sleep 0.1; done";
    let container = ["--name", "one", IMAGE, "sh", "-c", script];
    for client in world.clients() {
        for how in ["run", "attach"] {
            let start = |flags: &[&str]| {
                if how == "attach" {
                    world.wharf(&[&["run", "-d"], &container[..]].concat()).ok();
                }
                let what = if how == "run" { &container[..] } else { &["one"] };
                let words = [&[how], flags, what].concat();
                let mut session = Session::start(minding_hangups(&world.client(client.name, &words)));
                session.read_until("alive\n");
                session
            };
            let mut through = start(&[]);
            through.signal("USR2");
            through.read_until("got USR2\n");
            world.wharf(&["rm", "-f", "one"]).ok();
            through.finish().code(137);

            let mut kept = start(&["--sig-proxy=false"]);
            kept.signal("HUP");
            kept.finish().code(129);
            // What was sent later has arrived, so the first would have, too.
            world.wharf(&["kill", "-s", "USR1", "one"]).ok();
            world.until_logged("one", "got USR1");
            let logs = world.wharf(&["logs", "one"]).ok();
            assert!(!logs.contains("got HUP"), "{} {how}", client.name);
            world.wharf(&["rm", "-f", "one"]).ok();
        }
    }
}

/// The client that `script` has given a terminal to.
fn behind(session: &Session) -> u32 {
    let script = session.pid();
    eventually("the client on its terminal", || {
        let children = std::fs::read_to_string(format!("/proc/{script}/task/{script}/children")).ok()?;
        children.split_whitespace().next()?.parse().ok()
    })
}

#[test]
fn a_signal_reaches_a_container_with_a_terminal_too() {
    let world = World::start();
    let script = "trap 'echo caught; exit 7' TERM; echo ready; while :; do sleep 0.05; done";
    for client in world.clients() {
        for flags in ["-t", "-it"] {
            let mut session = client.on_terminal(&["run", "--rm", flags, IMAGE, "sh", "-c", script], 24, 80);
            session.read_until("ready");
            signal(behind(&session), "TERM");
            session.read_until("caught");
            session.finish().code(7);
        }
    }
}

/// Sends SIGTERM until the client has ended by it; those that come at once may count as one.
fn insist(mut session: Session) {
    eventually("the client to end", || {
        signal(session.pid(), "TERM");
        session.has_ended().then_some(())
    });
    session.finish().code(1).says("got 3 SIGTERM/SIGINTs, forcefully exiting");
}

/// A container that SIGTERM does not end, seen by a client that was started with these words.
fn stubborn(client: &Client<'_>, words: &[&str]) -> Session {
    let mut session = client.session(words);
    session.read_until("ready\n");
    session
}

#[test]
fn whoever_insists_leaves_a_container_that_does_not_end() {
    let world = World::start();
    let container = ["--name", "one", IMAGE, "sh", "-c", STUBBORN];
    for client in world.clients() {
        let mut session = stubborn(&client, &[&["run"], &container[..]].concat());
        for _ in 0..2 {
            session.signal("TERM").read_until("got TERM\n");
        }
        insist(session);
        assert_eq!(world.inspect("one")["State"]["Running"], true, "{}", client.name);
        world.wharf(&["rm", "-f", "one"]).ok();

        insist(stubborn(&client, &[&["run", "--sig-proxy=false"], &container[..]].concat()));
        let logs = world.wharf(&["logs", "one"]).ok();
        assert!(!logs.contains("got TERM"), "{}", client.name);
        world.wharf(&["rm", "-f", "one"]).ok();
    }
}

#[test]
fn a_signal_that_stays_here_does_not_end_the_session() {
    let world = World::start();
    let script = "echo ready; read line; echo got $line; exit 5";
    for client in world.clients() {
        let words = ["run", "--rm", "-i", "--sig-proxy=false", IMAGE, "sh", "-c", script];
        let mut session = stubborn(&client, &words);
        session.signal("TERM").send("on\n").read_until("got on\n");
        session.finish().code(5);
    }
}
