//! What lists and prunes are narrowed down by, on the interface itself; `differential/filters.sh` asks a real Docker
//! the same.

use blackbox::{IMAGE, Response, Wire, World};
use serde_json::{Value, json};

fn ask(world: &World, method: &str, path: &str, filters: &str) -> Response {
    let encoded: String = filters.bytes().map(|byte| format!("%{byte:02X}")).collect();
    Wire::connect(&world.socket()).request(method, &format!("{path}filters={encoded}"), None).response()
}

/// Names of the containers that a filter finds.
#[track_caller]
fn found(world: &World, filters: &str) -> Vec<String> {
    let response = ask(world, "GET", "/containers/json?all=1&", filters);
    assert_eq!(response.status, 200, "{filters}: {response:?}");
    let list = response.json();
    let name = |one: &Value| one["Names"][0].as_str().expect("a name").to_owned();
    let mut names: Vec<String> = list.as_array().expect("a list").iter().map(name).collect();
    names.sort();
    names
}

#[track_caller]
fn refused(world: &World, method: &str, path: &str, filters: &str) -> (u16, String) {
    let response = ask(world, method, path, filters);
    (response.status, response.json()["message"].as_str().expect("a message").to_owned())
}

#[test]
fn containers_descend_from_all_that_their_image_was_made_of() {
    let world = World::start();
    world.docker(&["rmi", "localhost/hello"]).ok();
    world.wharf(&["create", "--name", "one", IMAGE, "true"]).ok();
    world.wharf(&["commit", "one", "derived:1"]).ok();
    world.wharf(&["create", "--name", "two", "derived:1", "true"]).ok();
    world.wharf(&["commit", "two", "derived:2"]).ok();
    world.wharf(&["create", "--name", "three", "derived:2", "true"]).ok();
    assert_eq!(found(&world, r#"{"ancestor":["busybox"]}"#), ["/one", "/three", "/two"]);
    assert_eq!(found(&world, r#"{"ancestor":["derived:1"]}"#), ["/three", "/two"]);
    assert_eq!(found(&world, r#"{"ancestor":["derived:2","absent"]}"#), ["/three"]);
    assert!(found(&world, r#"{"ancestor":["absent"]}"#).is_empty());
    // An id may be as short as it is clear.
    let id = world.docker(&["images", "-q", "--no-trunc", IMAGE]).ok();
    let digits = id.trim().strip_prefix("sha256:").expect("an id");
    let others = world.docker(&["images", "-q", "--no-trunc"]).ok();
    let clear = |start: &str| others.lines().filter(|other| other[7..].starts_with(start)).count() == 1;
    let short = (1..=64).map(|count| &digits[..count]).find(|start| clear(start)).expect("ids differ");
    assert_eq!(found(&world, &json!({"ancestor": [short]}).to_string()).len(), 3);
    world.docker(&["image", "inspect", short]).ok();
}

#[test]
fn values_may_be_absent_or_unwanted() {
    let world = World::start();
    world.wharf(&["run", "-d", "--name", "web", "-p", "80", "--expose", "7", IMAGE, "sleep", "1000"]).ok();
    world.wharf(&["create", "--name", "idle", "-p", "90", IMAGE, "true"]).ok();
    for all in ["null", "{}", r#"{"name":{}}"#, r#"{"status":null}"#] {
        assert_eq!(found(&world, all), ["/idle", "/web"], "{all}");
    }
    for none in
        [r#"{"volume":{}}"#, r#"{"network":[]}"#, r#"{"ancestor":null}"#, r#"{"health":{"none":false}}"#]
    {
        assert!(found(&world, none).is_empty(), "{none}");
    }
    // What does not run publishes and exposes nothing.
    assert_eq!(found(&world, r#"{"expose":["1-65535"]}"#), ["/web"]);
    assert_eq!(found(&world, r#"{"name":{"web":false}}"#), ["/web"]);
    let list = "/containers/json?";
    for (filters, status, message) in [
        (r#"{"name":["a"],"id":{"b":true}}"#, 400, "invalid filter"),
        (r#"{"is-task":[]}"#, 400, "invalid filter 'is-task'"),
        (r#"{"is-task":{"true":false}}"#, 400, "invalid filter 'is-task=[true]'"),
        (r#"{"before":[""]}"#, 404, "No such container: "),
        (r#"{"publish":["80:80"]}"#, 500, "filter for 'publish' should not contain ':': 80:80"),
    ] {
        assert_eq!(refused(&world, "GET", list, filters), (status, message.to_owned()), "{filters}");
    }
}

#[test]
fn prunes_say_what_they_cannot_read() {
    let world = World::start();
    world.wharf(&["create", "--name", "old", IMAGE, "true"]).ok();
    let time = "parsing time \"2030-1-1\" as \"2006-01-02\": cannot parse \"1-1\" as \"01\"";
    for (kind, status, message) in [
        ("containers", 400, time.to_owned()),
        ("networks", 400, time.to_owned()),
        ("images", 500, time.to_owned()),
        (
            "build",
            400,
            format!(
                "failed to prune build cache: \"until\" filter expects a duration (e.g., '24h') or a timestamp: {time}"
            ),
        ),
    ] {
        let told = refused(&world, "POST", &format!("/{kind}/prune?"), r#"{"until":["2030-1-1"]}"#);
        assert_eq!(told, (status, message), "{kind}");
    }
    // Given without a value it must not mean all.
    let told = refused(&world, "POST", "/containers/prune?", r#"{"until":[]}"#);
    assert_eq!(told, (400, "invalid filter 'until'".to_owned()));
    let pruned = |until: &str| {
        ask(&world, "POST", "/containers/prune?", &json!({"until": [until]}).to_string()).json()["ContainersDeleted"]
            .as_array()
            .map_or(0, Vec::len)
    };
    assert_eq!(
        (pruned("1h"), pruned("2020-01-01T00:00:00+01:00"), pruned("1500000000.0000000001")),
        (0, 0, 0)
    );
    assert_eq!(pruned("-1h"), 1, "in an hour everything is old");
    assert_eq!(ask(&world, "POST", "/volumes/prune?", "{}").json()["VolumesDeleted"], json!([]));
}
