//! Processes beside the container's own.

use std::net::Shutdown;

use shim::protocol::*;

use crate::world::*;

fn running() -> World {
    let mut world = world("echo ready; sleep 1000");
    world.start();
    world.wait_for_log("ready");
    world
}

fn end(mut world: World) {
    world.done(Request::Signal { signal: 9, final_stop: true });
    assert_eq!(world.exit().code, 137);
    world.release();
}

fn exec_code(world: &mut World, id: &str) -> i32 {
    world.event(|what| match what {
        Happening::ExecExited { exec, code } if exec == id => Some(*code),
        _ => None,
    })
}

#[test]
fn streams_and_code_come_back() {
    let mut world = running();
    let attachment = Attachment { multiplexed: true, preface: b"HEAD".to_vec(), ..outputs() };
    let (reply, mut socket) = world.exec("one", &["sh", "-c", "echo out; echo err >&2; exit 6"], attachment);
    let Reply::ExecStarted { pid } = reply else { panic!("{reply:?}") };
    assert!(pid > 1);
    let text = read_text(&mut socket);
    assert_eq!(unframe(text.strip_prefix("HEAD").unwrap()), ("out\n".to_owned(), "err\n".to_owned()));
    assert_eq!(exec_code(&mut world, "one"), 6);
    // Who asks for it reads the code behind the output; raw output has no place for it.
    for (multiplexed, expected) in
        [(true, &b"\x01\0\0\0\0\0\0\x03hi\n\x04\0\0\0\0\0\0\x04\0\0\0\x07"[..]), (false, b"hi\n")]
    {
        let attachment = Attachment { multiplexed, tell_exit: true, ..outputs() };
        let (_, mut socket) = world.exec("told", &["sh", "-c", "echo hi; exit 7"], attachment);
        assert_eq!(read_text(&mut socket).as_bytes(), expected);
        assert_eq!(exec_code(&mut world, "told"), 7);
    }
    // The container's log is its own process's.
    assert_eq!(world.all_logs(), "ready\n");
    end(world);
}

/// An SDK that takes the connection over from its HTTP library loses what that has read beyond the head.
#[test]
fn output_does_not_come_in_one_piece_with_the_head() {
    use std::io::Read;
    let mut world = running();
    for args in [&["echo", "out"][..], &["nothing-here"]] {
        let attachment = Attachment { preface: b"HEAD".to_vec(), ..outputs() };
        let (reply, mut socket) = world.exec(args[0], args, attachment);
        if matches!(reply, Reply::ExecStarted { .. }) {
            assert_eq!(exec_code(&mut world, "echo"), 0);
        }
        let mut first = [0; 4096];
        let count = socket.read(&mut first).unwrap();
        assert_eq!(&first[..count], b"HEAD");
        assert!(read_text(&mut socket).ends_with('\n'));
    }
    end(world);
}

#[test]
fn input_reaches_it_and_ends() {
    let world = running();
    let attachment = Attachment { stdin: true, unread: b"already ".to_vec(), ..outputs() };
    let (_, mut socket) = world.exec("cat", &["cat"], attachment);
    // More than any pipe holds, both ways at once.
    let sent = "0123456789abcdef".repeat(40_000);
    let mut writer = socket.try_clone().unwrap();
    let thread = std::thread::spawn({
        let sent = sent.clone();
        move || {
            type_in(&mut writer, sent.as_bytes());
            writer.shutdown(Shutdown::Write).unwrap();
        }
    });
    let got = read_text(&mut socket);
    thread.join().unwrap();
    assert_eq!(got.len(), "already ".len() + sent.len());
    assert!(got == format!("already {sent}"));
    end(world);
}

#[test]
fn a_missing_command_is_said_on_the_stream_and_in_the_reply() {
    let world = running();
    let (reply, mut socket) =
        world.exec("bad", &["nothing-here"], Attachment { preface: b"HEAD".to_vec(), ..outputs() });
    let Reply::Failed(failure) = reply else { panic!("{reply:?}") };
    assert_eq!(failure.kind, FailureKind::NotFound);
    let expected = "HEADOCI runtime exec failed: exec failed: unable to start container process: \
                    exec: \"nothing-here\": executable file not found in $PATH\r\n";
    assert_eq!(read_text(&mut socket), expected);
    end(world);
}

#[test]
fn a_terminal_has_a_size_and_can_be_resized() {
    let world = running();
    let mut process = process(&["sh", "-c", "stty size; read line; stty size"]);
    process.terminal = true;
    process.console_size = Some(oci::runtime::ConsoleSize { height: 33, width: 101 });
    let attachment = Some(Attachment { stdin: true, ..outputs() });
    let request = Request::Exec { id: "tty".into(), process: Box::new(process), stdin: true, attachment };
    let (reply, mut socket) = world.ask_with_socket(request);
    assert!(matches!(reply, Reply::ExecStarted { .. }), "{reply:?}");
    assert!(read_until(&mut socket, "\n").contains("33 101"));
    world.done(Request::ResizeExec { id: "tty".into(), height: 20, width: 40 });
    type_in(&mut socket, b"\n");
    assert!(read_text(&mut socket).contains("20 40"));
    end(world);
}

#[test]
fn a_detached_one_runs_by_itself() {
    let mut world = running();
    let process = Box::new(process(&["sh", "-c", "echo nobody listens; exit 8"]));
    let reply = world.ask(Request::Exec { id: "alone".into(), process, stdin: false, attachment: None });
    assert!(matches!(reply, Reply::ExecStarted { .. }), "{reply:?}");
    assert_eq!(exec_code(&mut world, "alone"), 8);
    end(world);
}

#[test]
fn a_child_in_the_background_does_not_hold_the_client_for_ever() {
    let mut world = running();
    let (_, mut socket) = world.exec("bg", &["sh", "-c", "sleep 1000 & echo started"], outputs());
    assert_eq!(read_text(&mut socket), "started\n");
    assert_eq!(exec_code(&mut world, "bg"), 0);
    end(world);
}

#[test]
fn ids_are_unique_while_they_run_and_end_with_the_container() {
    let mut world = running();
    let (_, mut socket) = world.exec("same", &["sleep", "1000"], outputs());
    assert_eq!(world.state().execs, ["same"]);
    let (reply, _) = world.exec("same", &["true"], outputs());
    assert!(matches!(reply, Reply::Failed(Failure { kind: FailureKind::Conflict, .. })), "{reply:?}");
    world.done(Request::Signal { signal: 9, final_stop: true });
    assert_eq!(exec_code(&mut world, "same"), 137);
    assert_eq!(read_text(&mut socket), "");
    world.exit();
    world.release();
}
