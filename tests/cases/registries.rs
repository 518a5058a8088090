//! Registries that do not behave, mirrors, certificates, credentials and searching: `tests/registry.py` plays the
//! other side.

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use blackbox::{Output, Session, Settings, World, eventually, signal};

use crate::access::Certificates;

/// One that answers at a port of the world's host, and writes down what it was asked.
struct Fake {
    process: Child,
    log: PathBuf,
}

impl Fake {
    fn start(world: &World, port: u16, name: &str) -> Fake {
        Fake::with(world, port, name, &[])
    }

    fn with(world: &World, port: u16, name: &str, tls: &[&Path]) -> Fake {
        let log = world.directory().join(format!("registry-{port}.log"));
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/registry.py");
        let mut command = world.host().command("python3");
        command.args([script, &port.to_string(), name]).args(tls);
        let output = std::fs::File::create(&log).unwrap();
        let process = command.stdout(output).stderr(Stdio::null()).spawn().unwrap();
        eventually("the registry to listen", || {
            let reached = format!("exec 3<>/dev/tcp/127.0.0.1/{port}");
            world.host().try_run(&["bash", "-c", &reached]).status.success().then_some(())
        });
        Fake { process, log }
    }

    fn asked(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// An engine that tries everything once, with more in its configuration.
fn once(more: &str) -> World {
    let world = World::empty(Settings::default());
    world.config(&format!("{{\"max-download-attempts\": 1{more}}}"));
    let mut world = world;
    world.stop_engine();
    world.start_engine();
    world
}

#[test]
fn refusals_and_nonsense_are_told_in_dockers_words() {
    let world = once("");
    // Of a pull that fails what has come is kept.
    world.breaks_off();
    let _registry = Fake::start(&world, 5001, "main");
    let denied = |word: &str| {
        format!(
            "pull access denied for localhost:5001/{word}/x, repository does not exist or may require 'docker login': \
             denied: requested access to the resource is denied"
        )
    };
    let layer = "filesystem layer verification failed for digest sha256:";
    for (word, text) in [
        ("badconfig", "image config verification failed for digest sha256:"),
        ("html", "error parsing manifest"),
        ("garbage", "manifest is no valid JSON document of its kind"),
        ("private", "no basic auth credentials"),
        ("s400", "error parsing HTTP 400 response body: "),
        ("s401", "unauthorized: authentication required"),
        ("s403", &denied("s403")),
        ("s404", "manifest for localhost:5001/s404/x:latest not found: manifest unknown: manifest unknown"),
        (
            "s404name",
            "repository localhost:5001/s404name/x not found: name unknown: repository name not known to registry",
        ),
        ("s404plain", "error parsing HTTP 404 response body: "),
        ("s429", "toomanyrequests: You have reached your pull rate limit."),
        ("s500", "received unexpected HTTP status: 500 Internal Server Error"),
        ("s503", "received unexpected HTTP status: 503 Service Unavailable"),
        ("hangup", "Head \"http://localhost:5001/v2/hangup/x/manifests/latest\": EOF"),
        ("cut", "unexpected EOF"),
        ("short", layer),
        ("corrupt", layer),
        ("bhtml", layer),
        ("b401", "unauthorized: authentication required"),
        ("b403", &denied("b403")),
        ("b404", "blob unknown"),
        ("b429", "toomanyrequests: You have reached your pull rate limit."),
        ("b500", "received unexpected HTTP status: 500 Internal Server Error"),
    ] {
        for client in world.clients() {
            let mut session = client.session(&["pull", &format!("localhost:5001/{word}/x")]);
            session.end_input();
            session.finish().code(1).says(text);
        }
    }
    assert_eq!(world.wharf(&["images", "-q", "localhost:5001/*/*"]).ok(), "", "nothing came of it");
    world.wharf(&["pull", "-q", "localhost:5001/good/x"]).ok();
}

#[test]
fn a_mute_registry_holds_up_nobody_else() {
    let world = once("");
    let _registry = Fake::start(&world, 5001, "main");
    for client in world.clients() {
        let waiting = client.session(&["pull", "localhost:5001/mute/x"]);
        let other = client.run(&["pull", "-q", "localhost:5001/good/x"]);
        assert_eq!(other.ok(), "localhost:5001/good/x:latest");
        signal(waiting.pid(), "INT");
        let output = waiting.finish();
        assert_ne!(output.code, 0, "{output}");
    }
}

#[test]
fn who_waits_for_an_image_may_give_up() {
    let world = once("");
    let registry = Fake::start(&world, 5001, "main");
    for client in world.clients() {
        for command in [&["run"][..], &["run", "-t"], &["create"], &["pull"]] {
            let image = format!("localhost:5001/mute/{}-{}", client.name, command.concat());
            let waiting = client.session(&[command, &[&image]].concat());
            eventually("the registry to be asked", || registry.asked().contains(&image[15..]).then_some(()));
            signal(waiting.pid(), "TERM");
            waiting.finish().code(143);
        }
    }
    assert_eq!(world.wharf(&["ps", "-aq"]).ok(), "");
}

#[test]
fn credentials_stay_with_the_registry_that_they_are_for() {
    let world = once("");
    let registry = Fake::start(&world, 5001, "private");
    let elsewhere = Fake::start(&world, 5002, "elsewhere");
    let stored = world.directory().join("config/config.json");
    let login = |name: &'static str, password: &str| -> Output {
        let words = ["login", "-u", "me", "--password-stdin", "localhost:5001"];
        let mut session = Session::start(world.client(name, &words));
        session.send(password).end_input();
        session.finish()
    };
    for client in world.clients() {
        login(client.name, "wrong")
            .code(1)
            .says("login attempt to http://localhost:5001/v2/ failed with status: 401 Unauthorized");
        let output = login(client.name, "secret").code(0).prints("Login Succeeded");
        assert!(output.stderr.contains("Your credentials are stored unencrypted in"), "{output}");
        let config: serde_json::Value = serde_json::from_slice(&std::fs::read(&stored).unwrap()).unwrap();
        // me:secret
        assert_eq!(config["auths"]["localhost:5001"]["auth"], "bWU6c2VjcmV0");
        // Its layer lies elsewhere, at another origin.
        client.run(&["pull", "-q", "localhost:5001/moved/x"]).ok();
        client.run(&["pull", "-q", "localhost:5001/private/x"]).ok();
        client.run(&["logout", "localhost:5001"]).ok();
        let config: serde_json::Value = serde_json::from_slice(&std::fs::read(&stored).unwrap()).unwrap();
        assert!(config["auths"].get("localhost:5001").is_none(), "{config}");
        client.run(&["pull", "localhost:5001/private/x"]).code(1).says("no basic auth credentials");
        for name in ["private", "moved"] {
            client.run(&["rmi", &format!("localhost:5001/{name}/x")]).code(0);
        }
    }
    let asked = registry.asked();
    assert!(asked.contains("HEAD /v2/private/x/manifests/latest Basic bWU6c2VjcmV0"), "{asked}");
    let asked = elsewhere.asked();
    assert!(asked.contains("GET /v2/elsewhere/x/blobs/sha256:"), "{asked}");
    assert!(!asked.contains("Basic"), "{asked}");
}

#[test]
fn mirrors_are_asked_in_order_and_for_the_hub_alone() {
    // Nobody answers at the first.
    let world = once(r#", "registry-mirrors": ["http://127.0.0.1:5003", "http://127.0.0.1:5004"]"#);
    let second = Fake::start(&world, 5004, "second");
    let main = Fake::start(&world, 5001, "main");
    let origin = |name: &str| world.inspect(name)["Config"]["Labels"]["from"].clone();
    world.wharf(&["pull", "-q", "redis"]).ok();
    assert_eq!(origin("redis"), "second");
    world.docker(&["rmi", "redis"]).ok();
    let first = Fake::start(&world, 5003, "first");
    world.docker(&["pull", "-q", "redis"]).ok();
    assert_eq!(origin("redis"), "first");
    world.docker(&["pull", "-q", "localhost:5001/team/redis"]).ok();
    assert_eq!(origin("localhost:5001/team/redis"), "main");
    assert!(!first.asked().contains("team/redis") && !second.asked().contains("team/redis"));
    assert!(main.asked().contains("/v2/team/redis/manifests/latest"));
    // What both refuse is looked for at the hub itself, which no test reaches.
    let output = world.docker(&["pull", "s404/x"]).code(1);
    for mirror in [&first, &second] {
        assert!(mirror.asked().contains("/v2/s404/x/manifests/latest"), "{}", mirror.asked());
    }
    output.says("registry-1.docker.io");
}

/// Pulls an image by name.
type Pull<'a> = &'a dyn Fn(&str) -> Output;

#[test]
fn certificates_are_looked_up_by_registry() {
    let mut world = World::empty(Settings::default());
    world.stop_engine();
    let (ours, theirs) = (Certificates::new("registry"), Certificates::new("others"));
    let file = |certificates: &Certificates, name: &str| certificates.0.join(name);
    let (certificate, key) = (file(&ours, "server.pem"), file(&ours, "server-key.pem"));
    let _open = Fake::with(&world, 5443, "open", &[&certificate, &key]);
    let _closed = Fake::with(&world, 5444, "closed", &[&certificate, &key, &file(&ours, "ca.pem")]);
    let _plain = Fake::start(&world, 5445, "plain");
    // Loopback is trusted whatever it shows: another name of the same host, which is not.
    world.host().run(&["ip", "address", "add", "10.99.99.1/32", "dev", "lo"]);
    let forward = |port: u16| {
        let mut command = world.host().command("socat");
        let listen = format!("TCP-LISTEN:{port},bind=10.99.99.1,fork,reuseaddr");
        command.arg(listen).arg(format!("TCP:127.0.0.1:{port}"));
        Session::start(command)
    };
    let _forwards = [5443, 5444, 5445].map(forward);
    // Another /etc for this engine alone.
    let etc = world.directory().join("etc");
    let overlay = format!(
        "lowerdir=/etc,upperdir={0},workdir={1}",
        etc.display(),
        world.directory().join("work").display()
    );
    std::fs::create_dir_all(world.directory().join("work")).unwrap();
    let certs = |port: u16| etc.join(format!("docker/certs.d/10.99.99.1:{port}"));
    let put = |port: u16, name: &str, from: &Path| {
        std::fs::create_dir_all(certs(port)).unwrap();
        std::fs::copy(from, certs(port).join(name)).unwrap();
    };
    put(5443, "ca.crt", &file(&ours, "ca.pem"));
    put(5444, "ca.crt", &file(&ours, "ca.pem"));
    put(5444, "client.cert", &file(&ours, "client.pem"));
    put(5444, "client.key", &file(&ours, "client-key.pem"));
    let pulling = |what: &dyn Fn(Pull<'_>)| {
        let script = r#"mount -t overlay overlay -o "$0" /etc && exec "$@""#;
        let wrapper = ["unshare", "-m", "sh", "-c", script, &overlay];
        let engine = Session::start(world.engine_under(&wrapper, &[]));
        eventually("the engine to answer", || (world.wharf(&["version"]).code == 0).then_some(()));
        what(&|name: &str| world.docker(&["pull", "-q", name]));
        signal(engine.pid(), "TERM");
        engine.finish().code(0);
    };
    pulling(&|pull| {
        pull("10.99.99.1:5443/good/x").ok();
        pull("10.99.99.1:5444/good/x").ok();
        pull("10.99.99.1:5445/good/x").code(1).says("http: server gave HTTP response to HTTPS client");
    });
    // The wrong authority; no certificate of our own; one without its key.
    put(5443, "ca.crt", &file(&theirs, "ca.pem"));
    std::fs::remove_file(certs(5444).join("client.cert")).unwrap();
    std::fs::remove_file(certs(5444).join("client.key")).unwrap();
    pulling(&|pull| {
        pull("10.99.99.1:5443/good/x")
            .code(1)
            .says("tls: failed to verify certificate: x509: certificate signed by unknown authority");
        pull("10.99.99.1:5444/good/x").code(1).says("tls");
    });
    put(5444, "client.cert", &file(&ours, "client.pem"));
    pulling(&|pull| {
        pull("10.99.99.1:5444/good/x")
            .code(1)
            .says("missing key client.key for client certificate client.cert");
    });
    world.start_engine();
}

#[test]
fn registries_are_searched() {
    let world = once("");
    let registry = Fake::start(&world, 5001, "main");
    for client in world.clients() {
        let search = |words: &[&str]| client.run(&[&["search"], words].concat());
        assert_eq!(
            search(&["localhost:5001/x"]).ok(),
            "NAME       DESCRIPTION                                     STARS     OFFICIAL\n\
             team/one   first line of many words, more than a table …   12        [OK]\n\
             two                                                        2         "
        );
        let names = |words: &[&str]| {
            let words = [words, &["--format", "{{.Name}} {{.StarCount}}", "localhost:5001/x"]].concat();
            search(&words).ok()
        };
        assert_eq!(names(&[]), "team/one 12\ntwo 2");
        assert_eq!(names(&["-f", "stars=3"]), "team/one 12");
        assert_eq!(names(&["-f", "is-official=false"]), "two 2");
        assert_eq!(names(&["-f", "is-automated=true"]), "");
        for (words, text) in [
            (&["--limit", "1000", "localhost:5001/x"][..], "limit 1000 is outside the range of [1, 100]"),
            (
                &["-f", "stars=x", "localhost:5001/x"],
                "invalid filter 'stars=x': strconv.Atoi: parsing \"x\": invalid syntax",
            ),
            (&["-f", "is-official=x", "localhost:5001/x"], "invalid filter 'is-official=[x]'"),
            (&["-f", "foo=x", "localhost:5001/x"], "invalid filter 'foo'"),
            (&["localhost:5001/broken"], "error decoding registry search results: "),
            (&["localhost:5001/missing"], "Unexpected status code 404"),
            (
                &["http://localhost:5001/x"],
                "invalid repository name: repository name (http://localhost:5001/x) should not have a scheme",
            ),
            (
                &["localhost:5009/x"],
                "invalid registry endpoint \"http://localhost:5009/v1/\". HTTPS attempt: Get \
                 \"https://localhost:5009/v1/_ping\": ",
            ),
            (
                &["absent.invalid/x"],
                "please add `--insecure-registry absent.invalid` to the daemon's arguments",
            ),
            (&["x"], "Get \"https://index.docker.io/v1/search?q=x&n=25\": "),
        ] {
            search(words).code(1).says(text);
        }
        search(&["--limit", "7", "localhost:5001/team/some thing"]).ok();
        let whole = search(&["--no-trunc", "localhost:5001/x"]).ok();
        assert!(
            whole.lines().nth(1).is_some_and(|line| !line.contains('…') && line.contains("has room for")),
            "{whole}"
        );
        let by_both = search(&["--filter", "stars=3", "--filter", "is-official=false", "localhost:5001/x"]);
        assert_eq!(by_both.ok().lines().count(), 1, "nothing but the heading");
        assert_eq!(search(&["--format", "{{.Name}}", "localhost:5001/x"]).ok(), "team/one\ntwo");
    }
    let asked = registry.asked();
    assert!(asked.contains("GET /v1/search?q=x&n=25 -"), "{asked}");
    assert!(asked.contains("GET /v1/search?q=team%2Fsome+thing&n=7 -"), "{asked}");
    let mut login =
        Session::start(world.client("docker", &["login", "-u", "me", "--password-stdin", "localhost:5001"]));
    login.send("secret").end_input();
    login.finish().code(0);
    world.docker(&["search", "localhost:5001/mine"]).ok();
    assert!(
        registry.asked().contains("GET /v1/search?q=mine&n=25 Basic bWU6c2VjcmV0"),
        "{}",
        registry.asked()
    );
}
