//! Running: the order of the calls, the streams, signals, and exit codes.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};

use crate::engine::{Engine, Reply, Request, json, refuse, told};

const UPGRADED: &[u8] =
    b"HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.multiplexed-stream\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n";

fn frame(stream: u8, text: &[u8]) -> Vec<u8> {
    let mut bytes = vec![stream, 0, 0, 0];
    bytes.extend((text.len() as u32).to_be_bytes());
    bytes.extend(text);
    bytes
}

fn path(request: &Request) -> &str {
    request.target.split('?').next().unwrap_or_default()
}

/// A container that prints its input and ends with a status.
fn container(status: i64, present: bool) -> impl Fn(&Request) -> Reply + Send + Sync {
    let present = Mutex::new(present);
    move |request| match (request.method.as_str(), path(request)) {
        ("POST", "/containers/create") if !*present.lock().unwrap() => {
            refuse(404, "No such image: web:latest")
        }
        ("POST", "/containers/create") => {
            Reply::Json(201, r#"{"Id":"c1","Warnings":["it is only a test"]}"#.to_owned())
        }
        ("POST", "/images/create") => {
            *present.lock().unwrap() = true;
            json(
                "{\"status\":\"Pulling from library/web\",\"id\":\"latest\"}\r\n{\"status\":\"Downloading\",\"progressDetail\":{\"current\":1,\"total\":2},\"id\":\"aa\"}\r\n{\"status\":\"Status: Downloaded newer image for web:latest\"}\r\n",
            )
        }
        ("POST", "/containers/c1/attach") => {
            let with_input = request.target.contains("stdin=1");
            Reply::Stream(Box::new(move |mut stream: UnixStream| {
                stream.write_all(UPGRADED).unwrap();
                stream.write_all(&frame(1, b"out\n")).unwrap();
                stream.write_all(&frame(2, b"err\n")).unwrap();
                let mut input = Vec::new();
                if with_input {
                    stream.read_to_end(&mut input).unwrap();
                }
                stream.write_all(&frame(1, &input)).unwrap();
            }))
        }
        ("POST", "/containers/c1/wait") => Reply::Raw(
            format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{{\"StatusCode\":{status}}}\n").into_bytes(),
        ),
        ("POST", "/containers/c1/start" | "/containers/c1/kill") => Reply::Json(204, String::new()),
        _ => refuse(404, "page not found"),
    }
}

#[test]
fn a_run_attaches_and_waits_before_it_starts() {
    let engine = Engine::start(container(42, true));
    let output = engine.run_with_input(&["run", "--rm", "-i", "--name", "n", "web", "cat", "-A"], b"typed");
    assert_eq!(output.status.code(), Some(42), "{}", told(&output));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "out\ntyped");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "WARNING: it is only a test\nerr\n");
    assert_eq!(
        engine.lines(),
        [
            "POST /containers/create?name=n",
            "POST /containers/c1/attach?stream=1&stdin=1&stdout=1&stderr=1&detachKeys=ctrl-p%2Cctrl-q",
            "POST /containers/c1/wait?condition=removed",
            "POST /containers/c1/start",
        ]
    );
    let body = engine.seen()[0].json();
    assert_eq!(body["Cmd"], serde_json::json!(["cat", "-A"]));
    assert_eq!(
        (&body["OpenStdin"], &body["StdinOnce"], &body["HostConfig"]["AutoRemove"]),
        (&true.into(), &true.into(), &true.into())
    );
    assert!(engine.seen().iter().all(|request| request.version == "1.51"));
}

#[test]
fn a_missing_image_is_pulled() {
    let engine = Engine::start(container(0, false));
    let output = engine.run(&["run", "web"]);
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "Unable to find image 'web:latest' locally\nlatest: Pulling from library/web\nStatus: Downloaded newer image for web:latest\nWARNING: it is only a test\nerr\n"
    );
    assert_eq!(engine.lines()[1], "POST /images/create?fromImage=web&tag=latest");
    assert!(engine.seen()[1].head.contains("X-Registry-Auth: "));
    let engine = Engine::start(container(0, false));
    let output = engine.run(&["run", "--pull", "never", "web"]);
    assert_eq!(output.status.code(), Some(125));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "wharf: Error response from daemon: No such image: web:latest\n\nRun 'wharf run --help' for more information\n"
    );
}

#[test]
fn a_detached_run_prints_the_id() {
    let engine = Engine::start(container(0, true));
    let file = engine.home.join("id");
    let output = engine.run(&["run", "-d", "--cidfile", file.to_str().unwrap(), "web"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "c1\n");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "c1");
    assert_eq!(engine.lines().last().unwrap(), "POST /containers/c1/start");
    let output = engine.run(&["run", "-d", "--cidfile", file.to_str().unwrap(), "web"]);
    assert_eq!(output.status.code(), Some(125));
    assert_eq!(engine.lines().len(), 2, "nothing is created when the file is there");
}

#[test]
fn failures_to_start_have_their_codes() {
    for (message, code) in [
        ("exec: \"x\": executable file not found in $PATH", 127),
        ("exec: \"/\": is a directory: permission denied", 126),
        ("port is already allocated", 125),
    ] {
        let ordinary = container(0, true);
        let engine = Engine::start(move |request| match path(request) {
            "/containers/c1/start" => refuse(400, message),
            _ => ordinary(request),
        });
        let file = engine.home.join("id");
        let output = engine.run(&["run", "-d", "--cidfile", file.to_str().unwrap(), "web"]);
        assert_eq!(output.status.code(), Some(code), "{}", told(&output));
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            stderr
                .contains(&format!("wharf: Error response from daemon: {message}\n\nRun 'wharf run --help'")),
            "{stderr}"
        );
    }
}

#[test]
fn signals_go_to_the_container() {
    let (started, wait_started) = mpsc::channel();
    let (killed, wait_killed) = mpsc::channel();
    let (started, killed, wait_killed) =
        (Mutex::new(started), Mutex::new(killed), Arc::new(Mutex::new(wait_killed)));
    let ordinary = container(9, true);
    let engine = Engine::start(move |request| match path(request) {
        "/containers/c1/attach" => {
            let wait_killed = wait_killed.clone();
            Reply::Stream(Box::new(move |mut stream: UnixStream| {
                stream.write_all(UPGRADED).unwrap();
                wait_killed.lock().unwrap().recv().unwrap();
            }))
        }
        "/containers/c1/start" => {
            started.lock().unwrap().send(()).unwrap();
            Reply::Json(204, String::new())
        }
        "/containers/c1/kill" => {
            killed.lock().unwrap().send(()).unwrap();
            Reply::Json(204, String::new())
        }
        _ => ordinary(request),
    });
    let child = engine.spawn(&["run", "web"]);
    wait_started.recv().unwrap();
    let kill = std::process::Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(9), "{}", told(&output));
    assert!(
        engine.lines().contains(&"POST /containers/c1/kill?signal=15".to_owned()),
        "{:?}",
        engine.lines()
    );
}

#[test]
fn an_exec_ends_with_the_status_of_its_command() {
    let engine = Engine::start(|request| match path(request) {
        "/containers/web/exec" => Reply::Json(201, r#"{"Id":"e1"}"#.to_owned()),
        "/exec/e1/start" => Reply::Stream(Box::new(|mut stream: UnixStream| {
            stream.write_all(UPGRADED).unwrap();
            stream.write_all(&frame(1, b"hello\n")).unwrap();
        })),
        "/exec/e1/json" => json(r#"{"ID":"e1","Running":false,"ExitCode":7}"#),
        _ => refuse(404, "page not found"),
    });
    let output = engine.run(&["exec", "-u", "me", "-e", "A=1", "-w", "/w", "web", "sh", "-c", "exit 7"]);
    assert_eq!(
        (output.status.code(), String::from_utf8_lossy(&output.stdout).as_ref()),
        (Some(7), "hello\n"),
        "{}",
        told(&output)
    );
    let body = engine.seen()[0].json();
    assert_eq!(
        (&body["User"], &body["WorkingDir"], &body["Env"]),
        (&"me".into(), &"/w".into(), &serde_json::json!(["A=1"]))
    );
    assert_eq!(body["Cmd"], serde_json::json!(["sh", "-c", "exit 7"]));
}

#[test]
fn an_engine_that_knows_how_runs_an_exec_in_one_request() {
    let engine = Engine::start(|request| match path(request) {
        "/containers/web/exec" => Reply::Stream(Box::new(|mut stream: UnixStream| {
            stream.write_all(UPGRADED).unwrap();
            stream.write_all(&frame(2, b"oh\n")).unwrap();
            stream.write_all(&frame(4, &[0, 0, 0, 9])).unwrap();
        })),
        _ => refuse(404, "page not found"),
    });
    let output = engine.run(&["exec", "web", "false"]);
    assert_eq!(
        (output.status.code(), output.stderr.as_slice()),
        (Some(9), &b"oh\n"[..]),
        "{}",
        told(&output)
    );
    assert_eq!(engine.lines(), ["POST /containers/web/exec"]);
}

#[test]
fn logs_come_out_of_two_streams() {
    let engine = Engine::start(|request| match path(request) {
        "/containers/web/json" => json(r#"{"Id":"c1","Config":{"Tty":false}}"#),
        "/containers/c1/logs" => {
            let mut bytes = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_vec();
            bytes.extend(frame(1, b"one\n"));
            bytes.extend(frame(2, b"two\n"));
            Reply::Raw(bytes)
        }
        _ => refuse(404, "page not found"),
    });
    let output = engine.run(&["logs", "--tail", "5", "-t", "--since", "1136073845", "web"]);
    assert_eq!((output.stdout.as_slice(), output.stderr.as_slice()), (&b"one\n"[..], &b"two\n"[..]));
    assert_eq!(
        engine.lines()[1],
        "GET /containers/c1/logs?stdout=1&stderr=1&timestamps=1&since=1136073845&tail=5"
    );
}

#[test]
fn flags_become_the_request() {
    let engine = Engine::start(container(0, true));
    let line = "create --name n -h host -u 1:2 -l a=b -p 127.0.0.1:8080:80 -p 53/udp -v /a:/b:ro -v data:/d -v /anon --tmpfs /t:size=1m \
        --mount type=bind,src=/s,dst=/m,ro --memory 64m --cpus 1.5 --pids-limit 10 --ulimit nofile=1:2 --cap-add NET_ADMIN --cap-drop ALL --privileged \
        --device /dev/null --sysctl net.a=c --stop-signal INT --stop-timeout 3 --restart on-failure:2 --init --read-only --network net --network-alias al --ip 10.0.0.5 \
        --dns 1.1.1.1 --add-host x:1.2.3.4 --security-opt no-new-privileges --log-driver local --log-opt max-size=1m --health-cmd true --health-interval 5s --platform linux/amd64 \
        --entrypoint /e -w /w -e A=1 --group-add g --shm-size 2m --oom-score-adj 7 -it web run me";
    let output = engine.run(&line.split_whitespace().collect::<Vec<_>>());
    assert!(output.status.success(), "{}", told(&output));
    assert_eq!(engine.lines(), ["POST /containers/create?name=n&platform=linux%2Famd64"]);
    let text = serde_json::to_string_pretty(&engine.seen()[0].json()).unwrap();
    crate::snapshot::check("create-request", &format!("{text}\n"));
}
