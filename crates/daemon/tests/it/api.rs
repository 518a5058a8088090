//! What clients see before there is any container.

use crate::world::World;

#[test]
fn the_api_as_docker_speaks_it() {
    let world = World::started(&[]);
    pings(&world);
    versions(&world);
    unknown_paths(&world);
    what_is_elsewhere(&world);
    bodies(&world);
    attach_fails_in_plain_text(&world);
    requests_share_a_connection(&world);
    limits(&world);
}

fn pings(world: &World) {
    let ping = world.get("/_ping");
    assert_eq!((ping.status, ping.body.as_str()), (200, "OK"));
    for header in [
        "Api-Version: 1.51",
        "Server: Docker/28.5.2 (linux)",
        "Ostype: linux",
        "Docker-Experimental: false",
        "Content-Type: text/plain; charset=utf-8",
        "Cache-Control: no-cache, no-store, must-revalidate",
        "Pragma: no-cache",
        "Swarm: inactive",
    ] {
        assert!(ping.head.contains(header), "{header} is missing in\n{}", ping.head);
    }
    assert!(!ping.head.contains("Libpod"));
    let head = world.request("HEAD", "/_ping", &[], "");
    assert!(head.head.contains("Content-Length: 0") && head.body.is_empty(), "{}", head.head);
    assert_eq!(world.request("OPTIONS", "/anything", &[], "").status, 200);
}

fn versions(world: &World) {
    assert_eq!(world.get("/v1.24/containers/json").body, "[]\n");
    assert_eq!(world.get("/containers/json").body, "[]\n");
    world
        .get("/v1.60/info")
        .says(400, "client version 1.60 is too new. Maximum supported API version is 1.56");
    let old = world.get("/v1.23/info");
    assert_eq!(old.status, 400);
    assert_eq!(
        old.body,
        "client version 1.23 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer \
         version\n"
    );
    assert!(world.get("/version").body.contains(r#""ApiVersion":"1.51","MinAPIVersion":"1.24""#));
    assert!(world.get("/v1.40/info").body.contains(r#""BridgeNfIptables":false"#));
}

fn unknown_paths(world: &World) {
    world.get("/nowhere").says(404, "page not found");
    world.request("DELETE", "/v1.51/info", &[], "").says(404, "page not found");
    assert!(!world.get("/nowhere").head.contains("Api-Version"));
    let moved = world.get("/containers//json?all=1");
    assert_eq!(moved.status, 301);
    assert!(moved.head.contains("Location: /containers/json?all=1"), "{}", moved.head);
    world.get("/v1.51/containers/a%2Fb/json").says(404, "No such container: a/b");
}

fn what_is_elsewhere(world: &World) {
    let manager = "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this \
                   node to swarm and try again.";
    for path in ["/swarm", "/services", "/nodes/x", "/tasks", "/v1.30/configs", "/secrets/a"] {
        world.get(path).says(503, manager);
    }
    assert_eq!(world.get("/plugins").body, "[]\n");
    world.get("/plugins/x/json").says(404, "plugin \"x\" not found");
    assert_eq!(world.request("POST", "/build", &[], "").status, 501);
    assert_eq!(world.request("POST", "/session", &[], "").status, 501);
    assert_eq!(
        world.request("POST", "/build/prune", &[], "").body,
        "{\"CachesDeleted\":null,\"SpaceReclaimed\":0}\n"
    );
}

fn bodies(world: &World) {
    let json = &["Content-Type: application/json"][..];
    let create = |headers: &[&str], body: &str| world.request("POST", "/containers/create", headers, body);
    create(&["Content-Type: text/plain"], "{}")
        .says(400, "unsupported Content-Type header (text/plain): must be 'application/json'");
    create(&[], "").says(400, "invalid JSON: got EOF while reading request body");
    create(json, "{\"Image\":\"a\"} {}").says(400, "unexpected content after JSON");
    let wrong = create(json, "{\"Tty\":\"x\"}");
    assert!(wrong.status == 400 && wrong.body.starts_with("{\"message\":\"invalid JSON: "), "{}", wrong.body);
    create(json, "{\"Image\":\"nope\",\"Cmd\":[\"a\"]}").says(404, "No such image: nope:latest");
    world.get("/containers/json?filters=xx").says(400, "invalid filter");
    world
        .get("/containers/json?filters=%7B%22foo%22%3A%7B%22a%22%3Atrue%7D%7D")
        .says(400, "invalid filter 'foo'");
    world.get("/containers/x/logs").says(400, "Bad parameters: you must choose at least one stream");
    world.request("POST", "/containers/x/wait?condition=x", &[], "").says(400, "invalid condition: \"x\"");
}

fn attach_fails_in_plain_text(world: &World) {
    let upgrade = "Connection: Upgrade\r\nUpgrade: tcp\r\n";
    for headers in [upgrade, ""] {
        let text = world.exchange(
            format!("POST /containers/nope/attach?stream=1 HTTP/1.1\r\nHost: x\r\n{headers}\r\n").as_bytes(),
        );
        assert!(text.starts_with("HTTP/1.1 404 Not Found\r\n"), "{text}");
        assert!(text.contains("Content-Type: application/vnd.docker.raw-stream\r\n"), "{text}");
        assert!(text.ends_with("\r\n\r\nNo such container: nope\r\n"), "{text}");
    }
}

fn requests_share_a_connection(world: &World) {
    let request = "GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n".repeat(2);
    let last = "GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let text = world.exchange(format!("{request}{last}").as_bytes());
    assert_eq!(
        (text.matches("HTTP/1.1 200 OK").count(), text.matches("HTTP/1.1 404").count()),
        (2, 1),
        "{text}"
    );
    let old = world.exchange(b"GET /_ping HTTP/1.0\r\n\r\n");
    assert!(old.ends_with("OK"), "{old}");
}

fn limits(world: &World) {
    let long = format!("{{\"Image\":\"{}\"}}", "a".repeat(5 << 20));
    let refused = world.request("POST", "/containers/create", &["Content-Type: application/json"], &long);
    assert_eq!(refused.status, 413);
    assert_eq!(world.get("/_ping").status, 200);
}
