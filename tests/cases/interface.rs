//! The interface as programs without a client see it: HTTP by hand, streams, limits.

use blackbox::{IMAGE, Response, Wire, World, eventually};
use serde_json::Value;

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n";

fn wire(world: &World) -> Wire {
    Wire::connect(&world.socket())
}

#[track_caller]
fn ask(world: &World, method: &str, path: &str, body: Option<&str>) -> Response {
    wire(world).request(method, path, body).response()
}

/// A created container's id.
#[track_caller]
fn create(world: &World, body: &str) -> String {
    let response = ask(world, "POST", "/containers/create", Some(body));
    assert_eq!(response.status, 201, "{response:?}");
    response.json()["Id"].as_str().expect("an id").to_owned()
}

#[track_caller]
fn start(world: &World, id: &str) {
    assert_eq!(ask(world, "POST", &format!("/containers/{id}/start"), None).status, 204);
}

/// What Docker's frames carry, by stream.
fn frames(bytes: &[u8]) -> Vec<(u8, String)> {
    let mut all: Vec<(u8, String)> = Vec::new();
    let mut rest = bytes;
    while let [kind, _, _, _, a, b, c, d, tail @ ..] = rest {
        let (payload, next) = tail.split_at(u32::from_be_bytes([*a, *b, *c, *d]) as usize);
        let text = String::from_utf8_lossy(payload);
        match all.last_mut() {
            Some((last, said)) if last == kind => said.push_str(&text),
            _ => all.push((*kind, text.into_owned())),
        }
        rest = next;
    }
    assert!(rest.is_empty(), "half a frame: {rest:?}");
    all
}

#[test]
fn one_connection_serves_many_requests_also_those_sent_ahead() {
    let world = World::start();
    let mut wire = wire(&world);
    wire.send("GET /_ping HTTP/1.1\r\nHost: x\r\n\r\nHEAD /_ping HTTP/1.1\r\nHost: x\r\n\r\n");
    wire.send("POST /containers/nobody/start HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n");
    wire.send("GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(wire.response().body, b"OK");
    let head = wire.response();
    assert_eq!((head.status, head.body.len()), (200, 0), "{head:?}");
    assert_eq!(wire.response().json()["message"], "No such container: nobody");
    let nowhere = wire.response();
    assert_eq!((nowhere.status, nowhere.json()["message"].as_str()), (404, Some("page not found")));
    assert!(!nowhere.head.contains("Api-Version"), "{nowhere:?}");
}

#[test]
fn a_client_that_waits_for_permission_gets_it() {
    let world = World::start();
    let mut wire = wire(&world);
    let body = format!(r#"{{"Image":"{IMAGE}"}}"#);
    let length = body.len();
    wire.send(format!(
        "POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
         Expect: 100-continue\r\n\r\n"
    ));
    assert!(wire.head().starts_with("HTTP/1.1 100 Continue"));
    wire.send(&body);
    assert_eq!(wire.response().status, 201);
}

#[test]
fn attach_ends_input_alone_and_output_goes_on() {
    let world = World::start();
    let id = create(
        &world,
        &format!(
            r#"{{"Image":"{IMAGE}","Cmd":["sh","-c","cat; echo done; echo wrong >&2"],"OpenStdin":true,"StdinOnce":true}}"#
        ),
    );
    let path = format!("/containers/{id}/attach?stream=1&stdin=1&stdout=1&stderr=1");
    let mut attached = wire(&world);
    // Input that comes right behind the head belongs to the container.
    attached.send(format!("POST {path} HTTP/1.1\r\nHost: x\r\n{UPGRADE}early "));
    let head = attached.head();
    assert!(head.starts_with("HTTP/1.1 101 UPGRADED\r\n"), "{head}");
    assert!(head.contains("Content-Type: application/vnd.docker.multiplexed-stream\r\n"), "{head}");
    assert!(!head.contains("Api-Version"), "{head}");
    start(&world, &id);
    attached.send("late\n").half_close();
    let mut told = frames(&attached.rest());
    told.sort();
    assert_eq!(told, [(1, "early late\ndone\n".to_owned()), (2, "wrong\n".to_owned())]);
}

#[test]
fn a_client_that_reads_only_in_the_end_gets_what_came_before() {
    let world = World::start();
    for terminal in [false, true] {
        let body = format!(r#"{{"Image":"{IMAGE}","Cmd":["cat"],"OpenStdin":true,"Tty":{terminal}}}"#);
        let id = create(&world, &body);
        start(&world, &id);
        let path = format!("/containers/{id}/attach?stream=1&stdin=1&stdout=1");
        let mut attached = wire(&world);
        attached.send(format!("POST {path} HTTP/1.1\r\nHost: x\r\n{UPGRADE}"));
        for line in ["one\n", "two\n"] {
            attached.send(line);
            // It has answered, which the log knows, and nobody has read that.
            eventually(line, || world.docker(&["logs", &id]).ok().contains(line.trim()).then_some(()));
        }
        attached.half_close();
        attached.head();
        let rest = String::from_utf8_lossy(&attached.rest()).into_owned();
        assert!(rest.contains("one") && rest.contains("two"), "terminal {terminal}: {rest:?}");
        world.docker(&["rm", "-f", &id]).ok();
    }
}

#[test]
fn who_attaches_right_behind_the_end_gets_the_log() {
    let world = World::start();
    for _ in 0..10 {
        let id = create(&world, &format!(r#"{{"Image":"{IMAGE}","Cmd":["echo","hello"]}}"#));
        let mut first = wire(&world);
        first
            .send(format!("POST /containers/{id}/attach?stream=1&stdout=1 HTTP/1.1\r\nHost: x\r\n{UPGRADE}"));
        first.head();
        start(&world, &id);
        assert_eq!(frames(&first.rest()), [(1, "hello\n".to_owned())]);
        let mut second = wire(&world);
        let path = format!("/containers/{id}/attach?logs=1&stream=1&stdout=1");
        second.send(format!("POST {path} HTTP/1.1\r\nHost: x\r\n{UPGRADE}"));
        second.head();
        // From then on it waits for the next start, or for the end of the container.
        let removed = world.docker(&["rm", "-f", &id]);
        assert_eq!(removed.code, 0, "{removed:?}");
        assert_eq!(frames(&second.rest()), [(1, "hello\n".to_owned())]);
    }
}

#[test]
fn bodies_that_say_nothing_are_passed_over() {
    let world = World::start();
    let id = create(&world, &format!(r#"{{"Image":"{IMAGE}","Cmd":["echo","hello"]}}"#));
    start(&world, &id);
    world.docker(&["wait", &id]).ok();
    for request in ["GET /containers/{id}/logs?stdout=1", "POST /containers/{id}/attach?logs=1&stdout=1"] {
        for _ in 0..5 {
            let mut wire = wire(&world);
            let request = request.replace("{id}", &id);
            wire.send(format!("{request} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n"));
            std::thread::sleep(std::time::Duration::from_millis(5));
            wire.send("{}");
            let head = wire.head();
            assert!(head.starts_with("HTTP/1.1 200 OK"), "{request}: {head}");
            let body = if request.starts_with("GET") { wire.chunks() } else { wire.rest() };
            assert_eq!(frames(&body), [(1, "hello\n".to_owned())], "{request}");
        }
    }
}

#[test]
fn streams_are_raw_where_there_is_a_terminal_or_no_upgrade() {
    let world = World::start();
    let run = |tty: bool| {
        let body = format!(r#"{{"Image":"{IMAGE}","Cmd":["echo","hello"],"Tty":{tty}}}"#);
        create(&world, &body)
    };
    let attach = |id: &str, tail: &str| {
        let mut attached = wire(&world);
        attached
            .send(format!("POST /containers/{id}/attach?stream=1&stdout=1 HTTP/1.1\r\nHost: x\r\n{tail}"));
        let head = attached.head();
        start(&world, id);
        (head, attached.rest())
    };
    let (head, body) = attach(&run(true), UPGRADE);
    assert!(head.contains("application/vnd.docker.raw-stream"), "{head}");
    assert_eq!(body, b"hello\r\n");
    let (head, body) = attach(&run(false), "\r\n");
    assert!(
        head.starts_with("HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n"),
        "{head}"
    );
    assert_eq!(frames(&body), [(1, "hello\n".to_owned())]);
}

#[test]
fn attach_over_a_websocket() {
    let world = World::start();
    let id =
        create(&world, &format!(r#"{{"Image":"{IMAGE}","Cmd":["cat"],"OpenStdin":true,"StdinOnce":true}}"#));
    let path = format!("/containers/{id}/attach/ws?stream=1&stdin=1&stdout=1");
    let refused = wire(&world).send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).response();
    assert_eq!((refused.status, refused.body.as_slice()), (400, &b"not websocket protocol"[..]));
    assert_eq!(ask(&world, "GET", "/containers/nobody/attach/ws", None).status, 404);

    let mut socket = wire(&world);
    socket.send(format!(
        "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ));
    let head = socket.head();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(head.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
    start(&world, &id);
    let frame = |opcode: u8, text: &str| {
        let mask = [7, 8, 9, 10];
        let masked = text.bytes().enumerate().map(|(at, byte)| byte ^ mask[at % 4]);
        [&[0x80 | opcode, 0x80 | text.len() as u8][..], &mask]
            .concat()
            .into_iter()
            .chain(masked)
            .collect::<Vec<u8>>()
    };
    socket.send(frame(1, "over the web\n"));
    let mut said = Vec::new();
    while said != b"over the web\n" {
        let start = socket.bytes(2);
        assert_eq!(start[0], 0x82, "binary messages, never multiplexed");
        said.extend(socket.bytes(usize::from(start[1])));
    }
    socket.send(frame(8, ""));
    assert_eq!(socket.rest()[0], 0x88, "a close is answered by a close");
}

/// Shims write these answers while their container runs, and the engine otherwise.
#[test]
fn answers_come_in_chunks_to_who_knows_them() {
    let world = World::start();
    let script = "echo hello; read x; exit 7";
    let id = create(
        &world,
        &format!(r#"{{"Image":"{IMAGE}","Cmd":["sh","-c","{script}"],"OpenStdin":true,"Tty":true}}"#),
    );
    let asked = |request: &str, version: &str| {
        let mut asking = wire(&world);
        asking.send(format!("{} HTTP/{version}\r\nHost: x\r\n\r\n", request.replace("{id}", &id)));
        let head = asking.head();
        let in_chunks = head.contains("Transfer-Encoding: chunked\r\n");
        assert_eq!(in_chunks, version == "1.1", "{request}: {head}");
        asking
    };
    let logs = "GET /containers/{id}/logs?stdout=1";
    assert_eq!(asked(logs, "1.1").rest(), b"0\r\n\r\n", "there is nothing yet");
    let wait = "POST /containers/{id}/wait?condition=";
    let waits = |conditions: [&'static str; 2]| {
        conditions.map(|condition| {
            let request = format!("{wait}{condition}");
            (asked(&request, "1.1"), asked(&request, "1.0"))
        })
    };
    let before = waits(["next-exit", "removed"]);
    start(&world, &id);
    world.until_logged(&id, "hello");
    let during = waits(["not-running", "removed"]);
    let follow = format!("{logs}&follow=1");
    let mut followers = (asked(&follow, "1.1"), asked(&follow, "1.0"));
    assert_eq!((followers.0.line(), followers.0.line()), ("7".into(), "hello".into()));
    let read = || {
        assert_eq!(asked(logs, "1.1").rest(), b"7\r\nhello\r\n\r\n0\r\n\r\n");
        assert_eq!(asked(logs, "1.0").rest(), b"hello\r\n");
    };
    read();
    world.wharf(&["kill", &id]).ok();
    assert_eq!(followers.0.rest(), b"\r\n0\r\n\r\n");
    assert_eq!(followers.1.rest(), b"hello\r\n");
    world.until_status(&id, "exited");
    read();
    let after = waits(["not-running", "removed"]);
    world.wharf(&["rm", &id]).ok();
    for (mut chunks, mut plain) in [before, during, after].into_iter().flatten() {
        assert_eq!(chunks.chunks(), b"{\"StatusCode\":137}\n");
        assert_eq!(plain.rest(), b"{\"StatusCode\":137}\n");
    }
}

#[test]
fn waits_end_when_what_they_wait_for_has_happened() {
    let world = World::start();
    let id = create(
        &world,
        &format!(r#"{{"Image":"{IMAGE}","Cmd":["sh","-c","read x; exit 7"],"OpenStdin":true}}"#),
    );
    let wait = |condition: &str| {
        let mut waiting = wire(&world);
        waiting.request("POST", &format!("/containers/{id}/wait?condition={condition}"), None);
        // The head comes at once: clients start the container when they have it.
        let head = waiting.head();
        assert!(head.starts_with("HTTP/1.1 200 OK"), "{condition}: {head}");
        assert!(head.contains("Transfer-Encoding: chunked\r\n"), "{condition}: {head}");
        waiting
    };
    // Never started: it does not run.
    let done = ask(&world, "POST", &format!("/containers/{id}/wait"), None);
    assert_eq!(done.json()["StatusCode"], 0);
    assert!(done.head.contains("Transfer-Encoding: chunked\r\n"), "{}", done.head);
    let (mut next, mut removed) = (wait("next-exit"), wait("removed"));
    start(&world, &id);
    let mut stopped = wait("not-running");
    world.wharf(&["kill", &id]).ok();
    let code = |waiting: &mut Wire| {
        let body = waiting.chunks();
        assert_eq!(waiting.rest(), b"");
        serde_json::from_slice::<Value>(&body).expect("JSON")["StatusCode"].clone()
    };
    assert_eq!((code(&mut next), code(&mut stopped)), (137.into(), 137.into()));
    world.wharf(&["rm", &id]).ok();
    assert_eq!(code(&mut removed), 137);
    let refused = ask(&world, "POST", "/containers/nobody/wait?condition=sometimes", None);
    assert_eq!(refused.json()["message"], r#"invalid condition: "sometimes""#);
}

#[test]
fn statistics_once_twice_and_on_and_on() {
    let world = World::start();
    world.wharf(&["run", "-d", "--name", "busy", IMAGE, "sh", "-c", "while :; do :; done"]).ok();
    let total =
        |sample: &Value, part: &str| sample[part]["cpu_usage"]["total_usage"].as_u64().expect("a number");
    let once = ask(&world, "GET", "/containers/busy/stats?stream=0&one-shot=1", None).json();
    assert_eq!(total(&once, "precpu_stats"), 0);
    let twice = ask(&world, "GET", "/containers/busy/stats?stream=0", None).json();
    assert!(total(&twice, "cpu_stats") > total(&twice, "precpu_stats"), "{twice}");
    assert!(total(&twice, "precpu_stats") > 0 && twice["networks"]["eth0"].is_object(), "{twice}");
    let mut stream = wire(&world);
    stream.request("GET", "/containers/busy/stats", None);
    assert!(stream.head().contains("application/json"));
    let mut samples = Vec::new();
    while samples.len() < 2 {
        // Between two documents are the sizes of chunks.
        if let Ok(sample @ Value::Object(_)) = serde_json::from_str(&stream.line()) {
            samples.push(sample);
        }
    }
    assert_eq!(samples[1]["precpu_stats"], samples[0]["cpu_stats"]);
    assert_eq!(samples[1]["preread"], samples[0]["read"]);
}

#[test]
fn what_has_happened_is_told_by_the_next_engine_too() {
    let mut world = World::start();
    world.wharf(&["run", "--rm", "--name", "first", "-l", "tier=front", IMAGE, "true"]).ok();
    world.kill_engine();
    world.start_engine();
    world.wharf(&["run", "--rm", "--name", "second", "-l", "tier=back", IMAGE, "true"]).ok();
    let told = |filters: &str| {
        let until =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs()
                + 1;
        let response = ask(&world, "GET", &format!("/events?since=1&until={until}&filters={filters}"), None);
        let text = String::from_utf8(response.body).expect("text");
        let event = |line: &str| serde_json::from_str::<Value>(line).expect("JSON");
        let name = |line| format!("{} {}", event(line)["Actor"]["Attributes"]["name"], event(line)["Action"]);
        text.lines().map(name).collect::<Vec<_>>().join(",").replace('"', "")
    };
    let both = "%7B%22type%22%3A%5B%22container%22%5D%2C%22event%22%3A%5B%22start%22%2C%22die%22%5D%7D";
    assert_eq!(told(both), "first start,first die,second start,second die");
    let front = "%7B%22label%22%3A%5B%22tier%3Dfront%22%5D%2C%22event%22%3A%5B%22die%22%5D%7D";
    assert_eq!(told(front), "first die");
}

#[test]
fn requests_beyond_all_bounds_are_refused_and_the_engine_goes_on() {
    let world = World::start();
    // A head without end, and one with too many lines.
    for line in [format!("X: {}\r\n", "a".repeat(1 << 20)), "X: y\r\n".repeat(5000)] {
        let mut wire = wire(&world);
        wire.try_send(format!("GET /info HTTP/1.1\r\nHost: x\r\n{line}\r\n"));
        let answer = String::from_utf8_lossy(&wire.rest()).into_owned();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
    }
    // Documents that are too long, or too deep.
    let mut long = wire(&world);
    let body = format!(r#"{{"Image":"{}"}}"#, "a".repeat(8 << 20));
    long.try_send(format!(
        "POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    let answer = String::from_utf8_lossy(&long.rest()).into_owned();
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 413 "), "{answer}");
    let deep = ask(&world, "POST", "/containers/create", Some(&"[".repeat(100_000)));
    assert_eq!(deep.status, 400, "{deep:?}");
    // Both lengths of a body at once are how requests are smuggled.
    let mut two = wire(&world);
    two.send("POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    two.send("GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n").half_close();
    let answer = String::from_utf8_lossy(&two.rest()).into_owned();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    // Nothing at all, and halves of requests, hold nobody up.
    let idle: Vec<Wire> = (0..300).map(|_| wire(&world)).collect();
    let mut halves: Vec<Wire> = (0..300).map(|_| wire(&world)).collect();
    for half in &mut halves {
        half.send("GET /_ping HTTP/1.1\r\nHo");
    }
    assert_eq!(ask(&world, "GET", "/_ping", None).body, b"OK");
    drop((idle, halves));
    assert_eq!(world.docker(&["ps", "-q"]).ok(), "");
}
