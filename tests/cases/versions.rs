//! Versions of the interface: what is announced, and what a request sees that names a newer one.

use blackbox::{IMAGE, Response, Wire, World, eventually};
use serde_json::{Value, json};

#[track_caller]
fn ask(world: &World, method: &str, path: &str, body: Option<&str>) -> Response {
    Wire::connect(&world.socket()).request(method, path, body).response()
}

#[track_caller]
fn get(world: &World, path: &str) -> Value {
    let response = ask(world, "GET", path, None);
    assert_eq!(response.status, 200, "{path}: {response:?}");
    response.json()
}

#[track_caller]
fn refused(world: &World, method: &str, path: &str, body: Option<&str>) -> (u16, String) {
    let response = ask(world, method, path, body);
    (response.status, response.json()["message"].as_str().expect("a message").to_owned())
}

fn members(value: &Value) -> Vec<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

#[test]
fn newer_versions_are_served_and_none_is_announced() {
    let world = World::start();
    assert!(ask(&world, "GET", "/_ping", None).head.contains("Api-Version: 1.51\r\n"));
    assert_eq!(get(&world, "/v1.56/version")["ApiVersion"], "1.51");
    assert_eq!(
        refused(&world, "GET", "/v1.57/info", None),
        (400, "client version 1.57 is too new. Maximum supported API version is 1.56".to_owned())
    );
    // A stock client whose version somebody has fixed.
    for version in ["1.51", "1.52", "1.56"] {
        let docker = |words: &[&str]| {
            let mut command = world.client("docker", words);
            command.env("DOCKER_API_VERSION", version);
            blackbox::Session::start(command).finish().ok()
        };
        assert_eq!(docker(&["run", "--rm", "--name", "fixed", IMAGE, "echo", version]), version);
        assert_eq!(docker(&["version", "--format", "{{.Client.APIVersion}}"]), version);
    }
}

#[test]
fn a_containers_own_address_has_moved_to_its_networks() {
    let world = World::start();
    let body = format!(r#"{{"Image":"{IMAGE}","MacAddress":"02:00:00:00:00:01","Cmd":["sleep","1000"]}}"#);
    assert_eq!(
        refused(&world, "POST", "/v1.52/containers/create", Some(&body)),
        (
            400,
            "container-wide MAC address no longer supported; use endpoint-specific MAC address instead"
                .into()
        )
    );
    let create = "/v1.51/containers/create?name=web";
    assert_eq!(ask(&world, "POST", create, Some(&body)).status, 201);
    world.wharf(&["start", "web"]).ok();
    let old = get(&world, "/v1.51/containers/web/json");
    assert!(old["NetworkSettings"]["IPAddress"].as_str().is_some_and(|address| !address.is_empty()));
    let new = get(&world, "/v1.52/containers/web/json");
    assert_eq!(members(&new["NetworkSettings"]), ["Networks", "Ports", "SandboxID", "SandboxKey"]);
    assert_eq!(new["NetworkSettings"]["Networks"]["bridge"], old["NetworkSettings"]["Networks"]["bridge"]);
    assert_eq!(new["NetworkSettings"]["Networks"]["bridge"]["MacAddress"], "02:00:00:00:00:01");
    assert!(new["Config"].get("MacAddress").is_none());

    // Docker hears of an address on another network from 1.54 on, and before only shows it until the container starts.
    world.wharf(&["network", "create", "second"]).ok();
    let join = r#"{"Container":"web","EndpointConfig":{"MacAddress":"02:00:00:00:00:02"}}"#;
    for version in ["1.51", "1.54"] {
        let path = format!("/v{version}/networks/second/connect");
        assert_eq!(ask(&world, "POST", &path, Some(join)).status, 200);
        let shown = world.inspect("web")["NetworkSettings"]["Networks"]["second"]["MacAddress"].clone();
        assert_eq!(shown, "02:00:00:00:00:02", "{version}");
        world.wharf(&["network", "disconnect", "second", "web"]).ok();
    }
}

#[test]
fn addresses_and_settings_of_interfaces_move_to_their_endpoint() {
    let world = World::start();
    let made = |version: &str, name: &str, more: &str| {
        let body = format!(r#"{{"Image":"{IMAGE}","Cmd":["sleep","1000"],{more}}}"#);
        ask(&world, "POST", &format!("/v{version}/containers/create?name={name}"), Some(&body))
    };
    let address = r#""MacAddress":"02:00:00:00:00:09""#;
    assert_eq!(made("1.43", "old", address).json()["Warnings"], json!([]));
    let warnings = made("1.44", "new", address).json()["Warnings"].clone();
    assert!(warnings[0].as_str().is_some_and(|text| text.contains("field is now deprecated")), "{warnings}");
    assert_eq!(
        made("1.44", "host", &format!(r#"{address},"HostConfig":{{"NetworkMode":"host"}}"#)).status,
        201
    );
    for name in ["old", "new"] {
        assert_eq!(
            get(&world, &format!("/v1.51/containers/{name}/json"))["Config"]["MacAddress"],
            "02:00:00:00:00:09"
        );
    }
    // Whoever names the endpoint's is told of it at the container, too; one that was assigned is not told there.
    let endpoint = r#""NetworkingConfig":{"EndpointsConfig":{"bridge":{"MacAddress":"02:00:00:00:00:08"}}}"#;
    assert_eq!(made("1.51", "asked", endpoint).status, 201);
    assert_eq!(made("1.51", "any", r#""Tty":false"#).status, 201);
    world.wharf(&["start", "asked", "any"]).ok();
    assert_eq!(get(&world, "/v1.51/containers/asked/json")["Config"]["MacAddress"], "02:00:00:00:00:08");
    assert!(get(&world, "/v1.51/containers/any/json")["Config"].get("MacAddress").is_none());

    let setting = r#""HostConfig":{"Sysctls":{"net.ipv4.conf.eth0.log_martians":"1"}}"#;
    let response = made("1.47", "set", setting);
    assert!(response.json()["Warnings"][0].as_str().is_some_and(|text| text.starts_with("Migrated sysctl")));
    world.wharf(&["start", "set"]).ok();
    let read = ["exec", "set", "cat", "/proc/sys/net/ipv4/conf/eth0/log_martians"];
    assert_eq!(world.wharf(&read).ok(), "1");
    let refusal = made("1.48", "refused", setting);
    assert_eq!(refusal.status, 500, "{refusal:?}");

    let driver = r#""HostConfig":{"VolumeDriver":"local","Mounts":[{"Type":"volume","Target":"/x"}]}"#;
    assert_eq!(made("1.47", "quiet", driver).json()["Warnings"], json!([]));
    let warnings = made("1.48", "loud", driver).json()["Warnings"].clone();
    assert!(warnings[0].as_str().is_some_and(|text| text.contains("volume-driver configuration is ignored")));
}

#[test]
fn creations_and_updates_of_newer_versions() {
    let world = World::start();
    let body = format!(r#"{{"Image":"{IMAGE}","HostConfig":{{"PortBindings":{{"80/tcp":[]}}}}}}"#);
    let warnings = |version: &str| {
        let path = format!("/v{version}/containers/create");
        ask(&world, "POST", &path, Some(&body)).json()["Warnings"].clone()
    };
    assert_eq!(warnings("1.51"), json!([]));
    assert!(warnings("1.52")[0].as_str().is_some_and(|text| text.contains("port-bindings: 80/tcp.")));

    world.wharf(&["create", "--name", "slow", IMAGE, "true"]).ok();
    let limit = r#"{"BlkioDeviceReadBps":[{"Path":"/dev/null","Rate":1048576}]}"#;
    for (version, heard) in [("1.54", json!([])), ("1.55", json!([{"Path": "/dev/null", "Rate": 1048576}]))] {
        let path = format!("/v{version}/containers/slow/update");
        assert_eq!(ask(&world, "POST", &path, Some(limit)).status, 200);
        assert_eq!(world.inspect("slow")["HostConfig"]["BlkioDeviceReadBps"], heard, "{version}");
    }
}

#[test]
fn lists_and_samples_say_more() {
    let world = World::start();
    world.wharf(&["run", "-d", "--name", "plain", IMAGE, "sleep", "1000"]).ok();
    world
        .wharf(&[
            "run",
            "-d",
            "--name",
            "well",
            "--health-cmd",
            "true",
            "--health-interval",
            "100ms",
            IMAGE,
            "sleep",
            "1000",
        ])
        .ok();
    let health = |version: &str, name: &str| {
        let list = get(&world, &format!("/v{version}/containers/json"));
        let all = list.as_array().expect("a list").clone();
        all.into_iter().find(|one| one["Names"][0] == format!("/{name}")).expect("it runs")["Health"].clone()
    };
    assert_eq!(health("1.52", "plain"), json!({"Status": "none", "FailingStreak": 0}));
    eventually("a healthy container", || (health("1.52", "well")["Status"] == "healthy").then_some(()));
    assert_eq!(health("1.51", "well"), Value::Null);

    let sample =
        |version: &str| get(&world, &format!("/v{version}/containers/plain/stats?stream=0&one-shot=1"));
    assert_eq!(sample("1.52")["os_type"], "linux");
    assert!(sample("1.51").get("os_type").is_none());

    world.wharf(&["network", "create", "--subnet", "10.99.7.0/24", "counted"]).ok();
    let status = |version: &str| get(&world, &format!("/v{version}/networks/counted"))["Status"].clone();
    let expected = |used: u64| json!({"IPAM": {"Subnets": {"10.99.7.0/24": {"IPsInUse": used, "DynamicIPsAvailable": 256 - used}}}});
    assert_eq!(status("1.52"), expected(3));
    world.wharf(&["network", "connect", "counted", "plain"]).ok();
    assert_eq!((status("1.52"), status("1.51")), (expected(4), Value::Null));
    assert!(get(&world, "/v1.52/networks/host").get("Status").is_none());

    let about = |version: &str| get(&world, &format!("/v{version}/info"));
    assert!(about("1.52").get("KernelMemoryTCP").is_none());
}

#[test]
fn images_and_disks_say_less() {
    let world = World::start();
    let image = |version: &str| get(&world, &format!("/v{version}/images/{IMAGE}/json"));
    let (old, new) = (image("1.51"), image("1.52"));
    assert_eq!((&old["Parent"], &old["Config"]["OnBuild"]), (&json!(""), &Value::Null));
    assert!(new.get("Parent").is_none() && new.get("DockerVersion").is_none());
    assert!(new["Config"].as_object().is_some_and(|all| all.values().all(|value| !value.is_null())), "{new}");
    assert_eq!(new["Id"], old["Id"]);

    world.wharf(&["create", "--name", "one", IMAGE, "true"]).ok();
    let usage = |query: &str| get(&world, &format!("/v1.52/system/df{query}"));
    let (brief, verbose, silent) = (usage("?verbose=0"), usage("?verbose=1"), usage(""));
    assert_eq!(members(&brief), ["BuildCacheUsage", "ContainerUsage", "ImageUsage", "VolumeUsage"]);
    let containers = &brief["ContainerUsage"];
    assert_eq!((&containers["TotalCount"], &containers["ActiveCount"]), (&json!(1), &json!(0)));
    assert_eq!(
        (&brief["ImageUsage"]["ActiveCount"], &brief["ImageUsage"]["Items"]),
        (&json!(1), &Value::Null)
    );
    assert_eq!(verbose["ContainerUsage"]["Items"][0]["Names"][0], "/one");
    assert!(verbose.get("Containers").is_none());
    assert_eq!(silent["Containers"][0]["Names"][0], "/one");
    assert_eq!(silent["LayersSize"], silent["ImageUsage"]["TotalSize"]);
    assert_eq!(members(&usage("?type=volume&verbose=true")), ["VolumeUsage"]);
    let wrong = refused(&world, "GET", "/v1.52/system/df?verbose=maybe", None);
    assert_eq!(wrong, (400, "invalid value for verbose: maybe".to_owned()));
    assert!(get(&world, "/v1.51/system/df?verbose=0")["Containers"].is_array());
}

#[test]
fn events_come_in_the_shape_that_is_accepted() {
    let world = World::start();
    world.wharf(&["create", "--name", "one", IMAGE, "true"]).ok();
    let told = |version: &str, accept: &str| {
        let mut wire = Wire::connect(&world.socket());
        let filters = "%7B%22event%22%3A%5B%22create%22%5D%2C%22type%22%3A%5B%22container%22%5D%7D";
        wire.send(format!(
            "GET /v{version}/events?since=1&until=4000000000.0&filters={filters} HTTP/1.1\r\nHost: x\r\n{accept}\r\n"
        ));
        let head = wire.head();
        // The length of the first chunk, and the event in it.
        wire.line();
        (head, wire.line())
    };
    let event = |line: &str| serde_json::from_str::<Value>(line).expect("JSON");
    let (head, line) = told("1.51", "Accept: application/json-seq\r\n");
    assert!(head.contains("application/json\r\n"), "{head}");
    assert_eq!(event(&line)["status"], "create");
    for (accept, kind) in [("", "jsonl"), ("Accept: application/x-ndjson\r\n", "x-ndjson")] {
        let (head, line) = told("1.52", accept);
        assert!(head.contains(&format!("application/{kind}\r\n")), "{head}");
        let event = event(&line);
        assert_eq!(members(&event), ["Action", "Actor", "Type", "scope", "time", "timeNano"]);
    }
    let (head, line) = told("1.52", "Accept: application/json-seq\r\n");
    assert!(head.contains("application/json-seq\r\n"), "{head}");
    assert_eq!(event(line.strip_prefix('\u{1e}').expect("a separator"))["Action"], "create");
}

#[test]
fn logs_come_as_documents_for_who_asks() {
    let world = World::start();
    let labels = ["--label", "tier=<a>", "--log-opt", "labels=tier"];
    let script = ["sh", "-c", "echo out; printf 'err\\377' >&2"];
    world.wharf(&[&["run", "--name", "ended"], &labels[..], &[IMAGE], &script].concat()).ok();
    let logs = |version: &str, wanted: &str, accept: &str| {
        let mut wire = Wire::connect(&world.socket());
        let path = format!("/v{version}/containers/{wanted}");
        wire.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n{accept}\r\n"));
        (wire.head(), wire.chunks())
    };
    let documents = |body: &[u8]| -> Vec<Value> {
        let text = std::str::from_utf8(body).expect("text");
        text.lines()
            .map(|line| serde_json::from_str(line.trim_start_matches('\u{1e}')).expect("JSON"))
            .collect()
    };

    let (head, body) = logs("1.54", "ended/logs?stdout=1&format=json&details=1", "");
    assert!(head.contains("application/jsonl\r\n"), "{head}");
    let [said] = &documents(&body)[..] else { panic!("{body:?}") };
    assert_eq!(members(said), ["Attrs", "Line", "Source", "Timestamp"]);
    assert_eq!((&said["Line"], &said["Source"]), (&json!("out\n"), &json!("stdout")));
    assert_eq!(said["Attrs"], json!([{"Key": "tier", "Value": "<a>"}]));
    let started = world.wharf(&["inspect", "-f", "{{.State.StartedAt}}", "ended"]).ok();
    assert!(said["Timestamp"].as_str().is_some_and(|time| time > started.as_str()), "{said} {started}");

    let (head, body) = logs("1.54", "ended/logs?stderr=1", "Accept: text/plain, application/json-seq\r\n");
    assert!(head.contains("application/json-seq\r\n"), "{head}");
    assert_eq!(body[0], 0x1e);
    assert_eq!(documents(&body)[0]["Line"], "err\u{fffd}");

    // Who asks for nothing of the kind, or by an older version, gets output.
    for (version, query, accept) in
        [("1.54", "", "*/*"), ("1.53", "", "application/jsonl"), ("1.53", "&format=json", "*/*")]
    {
        let wanted = format!("ended/logs?stdout=1{query}");
        let (_, body) = logs(version, &wanted, &format!("Accept: {accept}\r\n"));
        assert_eq!(&body[8..], b"out\n", "{version} {query} {accept}");
    }
    let (status, why) = refused(&world, "GET", "/v1.54/containers/ended/logs?stdout=1&format=xml", None);
    assert!(status == 400 && why.contains("xml"), "{status} {why}");

    // From a shim, with what follows; the parts of a line say whose they are.
    let script = "printf '%020000d\\n' 7; exec sleep 1000";
    world.wharf(&["run", "-d", "--name", "running", "--log-driver", "local", IMAGE, "sh", "-c", script]).ok();
    let mut wire = Wire::connect(&world.socket());
    let path = "/v1.54/containers/running/logs?stdout=1&follow=1";
    wire.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\nAccept: application/jsonl\r\n\r\n"));
    assert!(wire.head().contains("application/jsonl\r\n"));
    // Lines that are no size of a chunk.
    let mut next = || loop {
        if let Ok(document @ Value::Object(_)) = serde_json::from_str(&wire.line()) {
            return document;
        }
    };
    let (first, last) = (next(), next());
    let parts =
        [&first, &last].map(|part| (part["MetaData"]["Ordinal"].clone(), part["MetaData"]["Last"].clone()));
    assert_eq!(parts, [(json!(1), json!(false)), (json!(2), json!(true))]);
    assert_eq!(first["MetaData"]["ID"], last["MetaData"]["ID"]);
    assert!(last["Line"].as_str().is_some_and(|text| text.ends_with("7\n")), "{last}");
    world.wharf(&["exec", "running", "sh", "-c", "echo later > /proc/1/fd/1"]).ok();
    let later = next();
    assert_eq!((&later["Line"], later.get("MetaData")), (&json!("later\n"), None));
}

#[test]
fn archives_for_several_platforms() {
    let world = World::start();
    let platform = |architecture: &str| {
        format!("platform=%7B%22os%22%3A%22linux%22%2C%22architecture%22%3A%22{architecture}%22%7D")
    };
    let own =
        get(&world, &format!("/images/{IMAGE}/json"))["Architecture"].as_str().expect("a word").to_owned();
    let (own, other) = (platform(&own), platform("s390x"));
    let save = |version: &str, query: String| {
        ask(&world, "GET", &format!("/v{version}/images/{IMAGE}/get?{query}"), None)
    };
    let archive = save("1.52", format!("{own}&{own}"));
    assert_eq!(archive.status, 200);
    assert_eq!(save("1.51", format!("{own}&{own}")).status, 400);
    let missing = save("1.52", format!("{own}&{other}"));
    assert_eq!(missing.status, 404);
    assert!(
        missing.json()["message"].as_str().is_some_and(|text| text.contains("linux/s390x")),
        "{missing:?}"
    );

    let load = |query: String| {
        let mut wire = Wire::connect(&world.socket());
        wire.send(format!(
            "POST /v1.52/images/load?{query} HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-tar\r\nContent-Length: {}\r\n\r\n",
            archive.body.len()
        ));
        wire.send(&archive.body);
        String::from_utf8_lossy(&wire.response().body).into_owned()
    };
    assert!(load(format!("{other}&{own}")).contains("Loaded image"));
    assert!(load(format!("{other}&{}", platform("riscv64"))).contains("linux/s390x, linux/riscv64"));
}

#[test]
fn what_newer_versions_brought_and_is_missing_is_refused_by_name() {
    let world = World::start();
    let identity =
        |version: &str| ask(&world, "GET", &format!("/v{version}/images/json?manifests=1&identity=1"), None);
    assert_eq!((identity("1.53").status, identity("1.54").status), (200, 501));
    let statements = |version: &str, name: &str| {
        refused(&world, "GET", &format!("/v{version}/images/{name}/attestations"), None)
    };
    assert_eq!(statements("1.54", IMAGE), (404, "page not found".to_owned()));
    assert_eq!(statements("1.55", IMAGE).0, 501);
    assert_eq!(statements("1.55", "nosuch").0, 404);
}
