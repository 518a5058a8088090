//! Clients whose sockets the shim serves.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use api::container::WaitCondition;
use engine::{ExecStartOptions, LogQuery, RemoveOptions, WaitOutcome};

use crate::world::{client_of, in_a_world, read_all, read_bytes, unframed};

#[test]
fn attached_before_the_start_nothing_is_missed() {
    in_a_world(async |world| {
        let id = world
            .create("web", "echo first; cat; echo last", |request| {
                request.config.open_stdin = true;
                request.config.stdin_once = true;
            })
            .await;
        let mut client = world.attach(&id).await;
        world.engine().container_start(&id).await.unwrap();
        client.write_all(b"through\n").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(unframed(&read_bytes(client).await), "first\nthrough\nlast\n");
    });
}

#[test]
fn logs_follow_until_the_end() {
    in_a_world(async |world| {
        let id = world.run("web", "echo one; sleep 0.3; echo two", |_| {}).await;
        assert_eq!(world.logs(&id, true).await, "one\ntwo\n");
    });
}

#[test]
fn an_exec_streams_both_ways() {
    in_a_world(async |world| {
        let engine = world.engine();
        let id = world.run("web", "while :; do sleep 0.1; done", |_| {}).await;
        let request = api::exec::CreateRequest {
            cmd: Some(vec!["sh".into(), "-c".into(), "id -u; cat; echo $B; exit 2".into()]),
            attach_stdin: true,
            attach_stdout: true,
            attach_stderr: true,
            user: "bob".into(),
            env: Some(vec!["B=2".into()]),
            ..Default::default()
        };
        let exec = engine.exec_create(&id, request).await.unwrap();
        let ticket = engine.exec_start(exec.as_str(), ExecStartOptions::default()).await.unwrap().unwrap();
        assert!(ticket.multiplexed());
        let (mut client, socket) = UnixStream::pair().unwrap();
        let mut handed = client_of(socket);
        handed.preface = b"head\r\n".to_vec().into();
        handed.unread = b"early ".to_vec();
        ticket.deliver(handed).await.unwrap();
        let mut head = [0; 6];
        client.read_exact(&mut head).unwrap();
        assert_eq!(&head, b"head\r\n");
        client.write_all(b"and late\n").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(unframed(&read_bytes(client).await), "1000\nearly and late\n2\n");
        let shown = engine.exec_inspect(exec.as_str()).unwrap();
        assert!(shown.pid > 0);
    });
}

#[test]
fn an_exec_that_cannot_start_says_why_on_its_stream() {
    in_a_world(async |world| {
        let engine = world.engine();
        let id = world.run("web", "while :; do sleep 0.1; done", |_| {}).await;
        let request = api::exec::CreateRequest {
            cmd: Some(vec!["nonsense".into()]),
            attach_stdout: true,
            ..Default::default()
        };
        let exec = engine.exec_create(&id, request).await.unwrap();
        let ticket = engine.exec_start(exec.as_str(), ExecStartOptions::default()).await.unwrap().unwrap();
        let (client, socket) = UnixStream::pair().unwrap();
        ticket.deliver(client_of(socket)).await.unwrap();
        let said = unframed(&read_bytes(client).await);
        assert!(said.contains("exec: \"nonsense\": executable file not found in $PATH"), "{said:?}");
        assert_eq!(engine.exec_inspect(exec.as_str()).unwrap().exit_code, Some(127));
    });
}

/// Whoever asked in time is answered with what is left of the container.
#[test]
fn clients_that_come_to_a_container_just_removed_are_answered() {
    in_a_world(async |world| {
        let id = world.run("web", "exit 6", |_| {}).await;
        assert_eq!(world.wait(&id).await, 6);
        let engine = world.engine();
        let WaitOutcome::Ticket(waits) = engine.container_wait(&id, WaitCondition::Removed).await.unwrap()
        else {
            panic!("nobody has removed it")
        };
        let query = LogQuery { stdout: true, ..LogQuery::default() };
        let reads = engine.container_logs(&id, query).await.unwrap();
        engine.container_remove(&id, RemoveOptions::default()).await.unwrap();
        for (ticket, body) in [(waits, "{\"StatusCode\":6}\n"), (reads, "")] {
            let (client, socket) = UnixStream::pair().unwrap();
            ticket.deliver(client_of(socket)).await.unwrap();
            assert_eq!(read_all(client).await, body);
        }
    });
}
