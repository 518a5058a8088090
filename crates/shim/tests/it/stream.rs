//! Attachments and logs: no byte is lost, whoever is slow, gone, or late.

use std::io::Read;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use shim::protocol::*;

use crate::world::*;

#[test]
fn input_is_closed_once_the_first_client_has_ended_it() {
    let mut world = world("cat; echo end");
    world.launch.stdin = Stdin::Once;
    let mut client =
        world.start_attached(Attachment { stdin: true, unread: b"early ".to_vec(), ..outputs() });
    type_in(&mut client, b"late\n");
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_text(&mut client), "early late\nend\n");
    assert_eq!(world.exit().code, 0);
    world.release();
}

#[test]
fn what_a_client_sent_before_it_went_still_counts() {
    let mut world = world("sleep 0.3; wc -c");
    world.launch.stdin = Stdin::Once;
    let mut client = world.start_attached(Attachment { stdin: true, ..outputs() });
    type_in(&mut client, &[b'x'; 150_000]);
    drop(client);
    world.exit();
    assert_eq!(world.all_logs(), "150000\n");
    world.release();
}

#[test]
fn input_that_stays_open_ends_the_client_and_not_the_container() {
    let mut world = world("while read line; do echo got $line; done");
    world.launch.stdin = Stdin::Open;
    let mut first = world.start_attached(Attachment { stdin: true, ..outputs() });
    type_in(&mut first, b"one\n");
    assert_eq!(read_until(&mut first, "\n"), "got one\n");
    first.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_text(&mut first), "");
    let (_, mut second) = world.ask_with_socket(Request::Attach(Attachment { stdin: true, ..outputs() }));
    type_in(&mut second, b"two\n");
    assert_eq!(read_until(&mut second, "\n"), "got two\n");
    world.done(Request::Signal { signal: 9, final_stop: true });
    assert_eq!(read_text(&mut second), "");
    world.exit();
    world.release();
}

#[test]
fn a_terminal_detaches_and_is_found_again() {
    let mut world = world("stty -echo; echo ready; while read line; do echo got $line; done");
    world.launch.stdin = Stdin::Once;
    world.process().terminal = true;
    let attachment = || Attachment { stdin: true, detach_keys: vec![16, 17], ..outputs() };
    let mut first = world.start_attached(attachment());
    read_until(&mut first, "ready\r\n");
    type_in(&mut first, b"one\n");
    assert_eq!(read_until(&mut first, "\n"), "got one\r\n");
    type_in(&mut first, b"\x10\x11");
    assert_eq!(read_text(&mut first), "");
    world.event(|what| matches!(what, Happening::Detached { exec: None }).then_some(()));
    let (_, mut second) = world.ask_with_socket(Request::Attach(attachment()));
    world.done(Request::ResizeContainer { height: 11, width: 22 });
    type_in(&mut second, b"two\n");
    assert_eq!(read_until(&mut second, "\n"), "got two\r\n");
    world.done(Request::Signal { signal: 9, final_stop: true });
    world.exit();
    world.release();
}

#[test]
fn a_slow_client_holds_the_output_up_and_loses_nothing() {
    let mut world = world("seq 1 200000");
    let mut client = world.start_attached(outputs());
    // The container cannot end while its output has nowhere to go.
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(matches!(world.state().phase, Phase::Running { .. }));
    let expected: String = (1..=200_000).map(|number| format!("{number}\n")).collect();
    assert!(read_text(&mut client) == expected);
    assert_eq!(world.exit().code, 0);
    assert!(world.all_logs() == expected);
    world.release();
}

#[test]
fn what_is_still_owed_to_a_client_outlives_the_release() {
    let mut world = world("seq 1 60000");
    let mut client = world.start_attached(outputs());
    let mut first = vec![0; 200_000];
    client.read_exact(&mut first).unwrap();
    world.exit();
    world.done(Request::Release { removed: true, waiters: false });
    let rest = read_text(&mut client);
    let expected: String = (1..=60_000).map(|number| format!("{number}\n")).collect();
    assert!(String::from_utf8(first).unwrap() + &rest == expected);
    world.gone();
}

#[test]
fn a_client_that_is_gone_holds_up_nobody() {
    let mut world = world("read line; seq 1 100000");
    world.launch.stdin = Stdin::Open;
    let client = world.start_attached(outputs());
    let (_, mut other) = world.ask_with_socket(Request::Attach(Attachment { stdin: true, ..outputs() }));
    type_in(&mut other, b"\n");
    drop(client);
    let expected: String = (1..=100_000).map(|number| format!("{number}\n")).collect();
    assert!(read_text(&mut other) == expected);
    world.exit();
    world.release();
}

#[test]
fn frames_keep_the_streams_apart() {
    let mut world = world("echo out; echo err >&2; echo out");
    let mut client = world.start_attached(Attachment { multiplexed: true, ..outputs() });
    assert_eq!(unframe(&read_text(&mut client)), ("out\nout\n".to_owned(), "err\n".to_owned()));
    world.exit();
    let query = LogQuery { stdout: true, stderr: true, multiplexed: true, ..LogQuery::default() };
    assert_eq!(unframe(&world.logs(query)), ("out\nout\n".to_owned(), "err\n".to_owned()));
    world.release();
}

#[test]
fn a_replay_meets_the_live_output_without_a_seam() {
    let mut world = world(
        "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo -n \"$i \"; [ $((i % 7)) = 0 ] && echo; done; echo; echo last",
    );
    world.start();
    let clients: Vec<_> = (0..20)
        .map(|_| {
            let (reply, socket) =
                world.ask_with_socket(Request::Attach(Attachment { replay: true, ..outputs() }));
            (matches!(reply, Reply::Done), socket)
        })
        .collect();
    world.exit();
    let expected = world.all_logs();
    assert!(expected.ends_with("last\n"));
    let mut attached = 0;
    for (accepted, mut socket) in clients {
        if accepted {
            assert!(read_text(&mut socket) == expected);
            attached += 1;
        }
    }
    assert!(attached > 0);
    world.release();
}

#[test]
fn followers_see_everything_through_rotation_and_end_with_the_container() {
    let mut world = world("echo 0; read line; seq 1 20000");
    world.launch.stdin = Stdin::Open;
    world.launch.log.max_size = Some(100_000);
    world.launch.log.max_files = 50;
    world.start();
    world.wait_for_log("0");
    let follow = LogQuery { stdout: true, stderr: true, follow: true, ..LogQuery::default() };
    let (_, mut follower) =
        world.ask_with_socket(Request::Logs { query: follow.clone(), preface: b"HEAD\n".to_vec() });
    assert_eq!(read_until(&mut follower, "0\n"), "HEAD\n0\n");
    let in_chunks = LogQuery { chunked: true, ..follow.clone() };
    let (_, mut by_chunks) = world.ask_with_socket(Request::Logs { query: in_chunks, preface: Vec::new() });
    assert_eq!(read_until(&mut by_chunks, "0\n\r\n"), "2\r\n0\n\r\n");
    let (_, mut client) =
        world.ask_with_socket(Request::Attach(Attachment { stdin: true, ..Attachment::default() }));
    type_in(&mut client, b"\n");
    let expected: String = (1..=20_000).map(|number| format!("{number}\n")).collect();
    assert!(read_text(&mut follower) == expected);
    assert!(unchunk(&read_text(&mut by_chunks)).as_ref() == Some(&expected));
    world.exit();
    assert!(world.dir.join("data/json.log.3").exists());
    // After the end there is nothing to follow, and everything to read.
    assert!(world.logs(follow) == format!("0\n{expected}"));
    assert_eq!(world.logs(LogQuery { stdout: true, tail: Some(2), ..LogQuery::default() }), "19999\n20000\n");
    world.release();
}

#[test]
fn a_body_in_chunks_ends_where_it_is_whole_and_nowhere_else() {
    let mut world = world("echo one; sleep 1000");
    world.start();
    world.wait_for_log("one");
    let query = LogQuery { stdout: true, chunked: true, ..LogQuery::default() };
    assert_eq!(world.logs(query.clone()), "4\r\none\n\r\n0\r\n\r\n");
    let until = LogQuery { until: Some(1), ..query.clone() };
    assert_eq!(world.logs(until), "0\r\n\r\n");
    let (_, mut follower) = world
        .ask_with_socket(Request::Logs { query: LogQuery { follow: true, ..query }, preface: Vec::new() });
    let began = read_until(&mut follower, "one\n\r\n");
    linux::process::send_signal(world.shim_pidfd(), 9).unwrap();
    world.gone();
    assert_eq!(unchunk(&(began + &read_text(&mut follower))), None);
    shim::cleanup(&world.launch.runtime_dir).unwrap();
}

#[test]
fn long_lines_are_cut_in_the_log_and_whole_for_clients() {
    let mut world =
        world("i=0; while [ $i -lt 400 ]; do printf '%0100d' 0; i=$((i+1)); done; echo; echo -n end");
    let mut client = world.start_attached(outputs());
    assert_eq!(read_text(&mut client), format!("{}\nend", "0".repeat(40_000)));
    world.exit();
    let text = std::fs::read_to_string(&world.launch.log.path).unwrap();
    let lengths: Vec<usize> =
        text.lines().map(|line| line.find("\",\"stream\"").unwrap() - "{\"log\":\"".len()).collect();
    assert_eq!(lengths, [16_384, 16_384, 40_000 - 2 * 16_384 + "\\n".len(), 3]);
    world.release();
}

#[test]
fn a_full_disk_costs_log_lines_and_nothing_else() {
    let mut world = world("seq 1 50000; exit 2");
    let small = world.dir.join("data");
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=65536", "tmpfs"])
        .arg(&small)
        .status();
    assert!(mounted.unwrap().success());
    let mut client = world.start_attached(outputs());
    let expected: String = (1..=50_000).map(|number| format!("{number}\n")).collect();
    assert!(read_text(&mut client) == expected);
    assert_eq!(world.exit().code, 2);
    let lost = world
        .seen
        .iter()
        .any(|event| matches!(&event.what, Happening::LogLost { error, .. } if error.contains("No space")));
    assert!(lost, "{:?}", world.seen);
    let kept = world.all_logs().lines().count() as u64;
    assert_eq!(kept + world.state().log_lost, 50_000);
    world.release();
    assert!(std::process::Command::new("umount").arg(&small).status().unwrap().success());
}

#[test]
fn without_a_log_there_is_nothing_to_read_and_clients_are_served() {
    let mut world = world("echo hello");
    world.launch.log.driver = LogDriver::None;
    let mut client = world.start_attached(outputs());
    assert_eq!(read_text(&mut client), "hello\n");
    world.exit();
    let (reply, _) = world.ask_with_socket(Request::Logs { query: LogQuery::default(), preface: Vec::new() });
    let Reply::Failed(failure) = reply else { panic!("{reply:?}") };
    assert_eq!(failure.message, "configured logging driver does not support reading");
    world.release();
}

#[test]
fn requests_that_make_no_sense_get_an_answer_and_do_no_harm() {
    let mut world = world("sleep 1000");
    world.start();
    // No descriptor where one is needed.
    assert!(matches!(
        world.ask(Request::Attach(outputs())),
        Reply::Failed(Failure { kind: FailureKind::Invalid, .. })
    ));
    let mut stranger = UnixStream::connect(world.launch.runtime_dir.join("shim.sock")).unwrap();
    type_in(&mut stranger, &[5, 0, 0, 0, 0, 0, 0, 0]);
    type_in(&mut stranger, b"\"no\"!");
    read_until(&mut stranger, "does not understand");
    // A frame that claims to be endless.
    let mut liar = UnixStream::connect(world.launch.runtime_dir.join("shim.sock")).unwrap();
    type_in(&mut liar, &[0xff; 8]);
    assert_eq!(liar.read(&mut [0; 8]).unwrap(), 0);
    assert!(matches!(world.state().phase, Phase::Running { .. }));
    world.done(Request::Signal { signal: 9, final_stop: true });
    world.exit();
    world.release();
}
