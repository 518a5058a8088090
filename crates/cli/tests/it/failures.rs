//! Engines that are not there, not allowed, too old, or not engines at all.

use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::sync::mpsc;

use crate::engine::{Engine, Reply, json, refuse, told};

fn with_raw(bytes: &'static [u8]) -> String {
    let engine = Engine::start(move |_| Reply::Raw(bytes.to_vec()));
    let output = engine.run(&["ps"]);
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn nobody_listens() {
    let engine = Engine::start(|_| json("{}"));
    let output = engine.command(&["ps"]).env("DOCKER_HOST", "unix:///nonexistent/sock").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "Cannot connect to the Docker daemon at unix:///nonexistent/sock. Is the docker daemon running?\n"
    );
    let output =
        engine.command(&["version"]).env("DOCKER_HOST", "unix:///nonexistent/sock").output().unwrap();
    assert!(
        output.status.code() == Some(1)
            && String::from_utf8_lossy(&output.stdout).starts_with("Client:\n Version:")
    );
}

#[test]
fn answers_that_are_none() {
    let silence = with_raw(b"");
    assert!(silence.starts_with("error during connect: ") && silence.contains(": EOF"), "{silence}");
    assert!(with_raw(b"SSH-2.0-OpenSSH\r\n").contains("the answer is not HTTP"));
    assert!(with_raw(b"HTTP/1.1 200 OK\r\nContent-Le").contains("closed within the head"));
}

#[test]
fn bodies_that_are_none() {
    let body = |bytes: &'static str| {
        let engine = Engine::start(move |request| match request.target.as_str() {
            "/_ping" => json(""),
            _ => Reply::Raw(bytes.as_bytes().to_vec()),
        });
        String::from_utf8(engine.run(&["ps"]).stderr).unwrap()
    };
    assert!(body("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n<htm").contains("reading the answer"));
    assert!(body("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>").contains("cannot be understood"));
    assert!(
        body("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n").contains("invalid chunk size")
    );
    assert_eq!(
        body("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n[\r\n1;x=y\r\n]\r\n0\r\n\r\n"),
        ""
    );
    assert_eq!(
        body("HTTP/1.1 502 Bad\r\nContent-Length: 9\r\n\r\nBad proxy"),
        "Error response from daemon: Bad proxy\n"
    );
}

#[test]
fn the_older_of_two_versions_is_spoken() {
    let old = |version: &'static str| {
        let engine = Engine::start(move |request| match request.target.as_str() {
            "/_ping" => Reply::Raw(
                format!("HTTP/1.1 200 OK\r\nApi-Version: {version}\r\nContent-Length: 0\r\n\r\n")
                    .into_bytes(),
            ),
            // The client presumes that the engine is as new as itself, until it is told otherwise.
            _ if request.version == "1.51" && version != "1.99" => refuse(
                400,
                &format!("client version 1.51 is too new. Maximum supported API version is {version}"),
            ),
            _ => json("[]"),
        });
        let output = engine.run(&["ps", "-q"]);
        (engine.seen().pop().map(|request| request.version), told(&output))
    };
    assert_eq!(old("1.41").0.as_deref(), Some("1.41"));
    assert_eq!(old("1.99").0.as_deref(), Some("1.51"));
    assert!(old("1.12").1.contains("needs at least 1.24"));
    let engine = Engine::start(|_| json("[]"));
    engine.command(&["ps", "-q"]).env("DOCKER_API_VERSION", "1.30").output().unwrap();
    assert_eq!(engine.seen()[0].version, "1.30");
}

/// As Docker's client says it, and nothing is asked of the engine.
#[test]
fn what_an_old_engine_does_not_know_is_refused() {
    let engine = Engine::start(|_| json("[]"));
    let refused = |version: &str, words: &[&str]| {
        let output = engine.command(words).env("DOCKER_API_VERSION", version).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{words:?}: {}", told(&output));
        String::from_utf8(output.stderr).unwrap()
    };
    let told = |what: &str, since: &str, spoken: &str| {
        format!("{what} requires API version {since}, but the Docker daemon API version is {spoken}\n")
    };
    let limits = ["run", "--stop-timeout", "3", "--gpus", "all", "--cgroupns=host", "image"];
    let both = told("\"--cgroupns\"", "1.41", "1.27") + &told("\"--gpus\"", "1.40", "1.27");
    assert_eq!(refused("1.27", &limits), both);
    assert_eq!(refused("1.24", &["volume", "prune", "-a"]), told("wharf volume prune", "1.25", "1.24"));
    assert_eq!(refused("1.41", &["volume", "prune", "-a"]), told("\"--all\"", "1.42", "1.41"));
    assert_eq!(
        refused("1.27", &["system", "prune", "--filter", "label=a"]),
        told("\"--filter\"", "1.28", "1.27")
    );
    assert!(engine.seen().is_empty());
    // What is not given needs nothing, and what is known is done.
    let output = engine.command(&["logs", "c"]).env("DOCKER_API_VERSION", "1.24").output().unwrap();
    assert!(engine.seen().iter().all(|request| request.version == "1.24"), "{}", self::told(&output));
    assert!(!engine.seen().is_empty());
}

#[test]
fn one_bad_name_does_not_keep_us_from_the_good_ones() {
    let engine = Engine::start(|request| match request.target.contains("bad") {
        true => refuse(404, "No such container: bad"),
        false => Reply::Json(204, String::new()),
    });
    let output = engine.run(&["stop", "-t", "3", "a", "bad", "b"]);
    assert_eq!(
        told(&output),
        "exit code 1\n--- stdout\na\nb\n--- stderr\nError response from daemon: No such container: bad\n"
    );
    assert_eq!(engine.lines()[0], "POST /containers/a/stop?t=3");
    assert_eq!(engine.run(&["rm", "-f", "bad"]).status.code(), Some(0));
}

#[test]
fn a_reader_that_leaves_ends_us_quietly() {
    let engine = Engine::start(|_| json("[]"));
    let output = Command::new("sh")
        .args(["-c", &format!("{} run --help | true", env!("CARGO_BIN_EXE_wharf"))])
        .env("HOME", &engine.home)
        .output()
        .unwrap();
    assert!(output.stderr.is_empty(), "{}", told(&output));
}

#[test]
fn a_socket_that_is_not_ours_is_told_so() {
    let engine = Engine::start(|_| json("[]"));
    // Root may use every socket, so the question is asked by nobody.
    let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups"];
    if !Command::new("setpriv").args(nobody).arg("true").status().is_ok_and(|status| status.success()) {
        scratch::skip("setpriv (package util-linux) cannot make nobody of us");
        return;
    }
    let program = engine.home.join("wharf");
    // By another process: what is open for writing here, or in a child that another test forks just now, is busy.
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_wharf")).arg(&program).status().unwrap();
    assert!(copied.success());
    let socket = engine.home.join("sock");
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o660)).unwrap();
    let output = Command::new("setpriv")
        .args(nobody)
        .arg(&program)
        .arg("ps")
        .env("DOCKER_HOST", format!("unix://{}", socket.display()))
        .env("HOME", "/nonexistent")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        text.starts_with("permission denied while trying to connect to the Docker daemon socket at unix://"),
        "{text}"
    );
    assert!(text.contains("member of the group"), "{text}");
}

#[test]
fn who_is_interrupted_exits_in_order() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        for line in [&["events"][..], &["wait", "c"], &["load"]] {
            let (asked, waiting) = mpsc::channel();
            let engine = Engine::start(move |_| {
                let _ = asked.send(());
                // Until the client has gone.
                Reply::Stream(Box::new(|mut stream| drop(stream.read_to_end(&mut Vec::new()))))
            });
            let mut child = engine.spawn(line);
            let _input = child.stdin.take();
            waiting.recv().unwrap();
            let kill = ["-s", signal, &child.id().to_string()].map(str::to_owned);
            assert!(Command::new("kill").args(kill).status().unwrap().success());
            let output = child.wait_with_output().unwrap();
            assert_eq!(told(&output), format!("exit code {code}\n"), "{line:?}");
        }
    }
}

#[test]
fn who_is_interrupted_at_a_question_says_no() {
    let engine = Engine::start(|_| json("{}"));
    let mut child = engine.spawn(&["container", "prune"]);
    // The end of the input would be an answer, too.
    let _input = child.stdin.take();
    let mut asked = [0; 91];
    child.stdout.as_mut().unwrap().read_exact(&mut asked).unwrap();
    let asked = String::from_utf8_lossy(&asked).into_owned();
    assert!(asked.ends_with("continue? [y/N] "), "{asked}");
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(told(&output), "exit code 0\n--- stdout\n\n");
    assert!(engine.lines().is_empty());
}

#[test]
fn content_trust_is_not_promised() {
    let engine = Engine::start(|_| refuse(404, "asked"));
    let refused = |line: &[&str], value: &str| {
        let output = engine.command(line).env("DOCKER_CONTENT_TRUST", value).output().unwrap();
        (output.status.code(), told(&output).contains("DOCKER_CONTENT_TRUST: there is no content trust"))
    };
    for value in ["1", "yes"] {
        for (line, code) in
            [(["run", "i"], 125), (["create", "i"], 125), (["pull", "i"], 1), (["push", "i"], 1)]
        {
            assert_eq!(refused(&line, value), (Some(code), true), "{line:?}");
        }
    }
    assert!(engine.seen().is_empty());
    assert_eq!(refused(&["pull", "i"], "0"), (Some(1), false));
    assert_eq!(refused(&["pull", "--disable-content-trust", "i"], "1"), (Some(1), false));
}
