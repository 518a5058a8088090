//! `wharfd` itself: its flags, its socket, several of it.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixDatagram;

use blackbox::{
    IMAGE, Session, Settings, SmallDisk, World, busybox_image, eventually, sh, signal, uninterrupted,
};

#[test]
fn the_socket_belongs_to_root_and_its_group_alone() {
    let world = World::start();
    let mode = std::fs::metadata(world.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
}

#[test]
fn two_engines_live_side_by_side() {
    let worlds = [World::start(), World::start()];
    for world in &worlds {
        world
            .wharf(&["run", "-d", "--name", "same", "-p", "8080:80", IMAGE, "httpd", "-f", "-h", "/www"])
            .ok();
    }
    worlds[0].wharf(&["rm", "-f", "same"]).ok();
    assert_eq!(worlds[1].wharf(&["ps", "--format", "{{.Names}}"]).ok(), "same");
    assert_eq!(
        worlds[1].host().run(&["curl", "-sS", "-m", "5", "http://127.0.0.1:8080/"]),
        "hello from inside\n"
    );
}

#[test]
fn a_second_engine_on_the_same_roots_is_refused() {
    let mut world = World::start();
    let output = world.try_engine();
    assert_ne!(output.code, 0, "{output}");
    assert_eq!(world.wharf(&["ps", "-q"]).ok(), "", "the first one is not disturbed");
    world.stop_engine();
    world.start_engine();
}

#[test]
fn configuration_files_are_checked() {
    let world = World::start();
    let validate = |text: &str, flags: &[&str]| {
        let file = world.directory().join("other.json");
        std::fs::write(&file, text).unwrap();
        world.engine_command(&[&["--validate", "--config-file", file.to_str().unwrap()], flags].concat())
    };
    validate("{\"debug\": true}", &[]).code(0).says("configuration OK");
    validate("{\"nonsense\": true}", &[])
        .code(1)
        .says("the following directives don't match any configuration option: nonsense");
    validate("{\"log-level\": \"warn\"}", &["--log-level", "info"]).code(1).says(
        "the following directives are specified both as a flag and in the configuration file: log-level",
    );
    validate("{broken", &[]).code(1);
    world.engine_command(&["--validate", "--config-file", "/nowhere.json"]).code(1);
    world.engine_command(&["--no-such-flag"]).code(1);
}

#[test]
fn what_is_said_twice_is_shown_as_dockerd_shows_it() {
    let world = World::start();
    let validate = |text: &str, flags: &[&str]| {
        let file = world.directory().join("other.json");
        std::fs::write(&file, text).unwrap();
        world.engine_command(&[&["--validate", "--config-file", file.to_str().unwrap()], flags].concat())
    };
    for (text, flags, shown) in [
        (r#"{"debug":true}"#, ["-D", "--debug"], "debug: (from flag: true, from file: true)"),
        (
            r#"{"hosts":["unix:///a"],"data-root":"/x"}"#,
            ["--data-root=/y", "-Hfd://"],
            "data-root: (from flag: /y, from file: /x), hosts: (from flag: [fd://], from file: [unix:///a])",
        ),
        (
            r#"{"log-opts":{"a":"b"}}"#,
            ["--log-opt", "max-size=1m"],
            "log-opts: (from flag: map[max-size:1m], from file: map[a:b])",
        ),
        (
            r#"{"default-ulimits":{"nofile":{"Name":"nofile","Hard":1,"Soft":1}}}"#,
            ["--default-ulimit", "nofile=2"],
            "default-ulimits: (from flag: [nofile=2:2], from file: map[nofile:map[Hard:1 Name:nofile Soft:1]])",
        ),
        (
            r#"{"default-address-pools":[{"base":"10.0.0.0/8","size":24}]}"#,
            ["--default-address-pool", "base=11.0.0.0/8,size=24"],
            "default-address-pools: (from flag: 11.0.0.0/8 24, from file: [map[base:10.0.0.0/8 size:24]])",
        ),
        (
            r#"{"default-shm-size":"32m"}"#,
            ["--default-shm-size", "16m"],
            "default-shm-size: (from flag: 16MiB, from file: 32m)",
        ),
        (
            r#"{"proxies":{"http-proxy":"http://a"}}"#,
            ["--http-proxy", "http://b:pass@x"],
            "http-proxy: (from flag: http://xxxxx:xxxxx@x, from file: http://a)",
        ),
    ] {
        validate(text, &flags).code(1).says(&format!(
            "the following directives are specified both as a flag and in the configuration file: {shown}\n"
        ));
    }
    validate(r#"{"registry-mirrors":["http://u:p@m"]}"#, &[])
        .code(1)
        .says("invalid mirror: username/password not allowed in URI \"http://u:xxxxx@m\"");
    validate("{}", &["--label", "x"])
        .code(1)
        .says("invalid argument \"x\" for \"--label\" flag: bad attribute format: x\nSee 'wharfd --help'.");
}

#[test]
fn hangup_reloads_the_configuration() {
    let world = World::start();
    let mut events = world.docker_session(&["events", "--filter", "event=reload", "--format", "{{json .}}"]);
    eventually("somebody to listen for events", || {
        (world.wharf(&["info", "--format", "{{.NEventsListener}}"]).ok() == "1").then_some(())
    });
    let text = r#"{"labels": ["colour=blue"], "debug": true, "insecure-registries": ["plain.example:5000"],
        "registry-mirrors": ["http://mirror.example"], "max-concurrent-downloads": 7, "max-concurrent-uploads": 2,
        "max-download-attempts": 4, "default-shm-size": "32m", "default-ipc-mode": "shareable", "mtu": 1400}"#;
    std::fs::write(world.config_file(), text).unwrap();
    signal(world.engine_pid(), "HUP");
    let line = events.read_until("\n");
    let event: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&event["Type"], &event["Action"]), (&"daemon".into(), &"reload".into()));
    let info = |format: &str| world.docker(&["info", "--format", format]).ok();
    assert_eq!(event["Actor"]["ID"], *info("{{.ID}}"));
    let attributes = event["Actor"]["Attributes"].as_object().unwrap();
    for (name, value) in [
        ("debug", "true"),
        ("default-ipc-mode", "shareable"),
        ("default-runtime", "runc"),
        ("default-shm-size", "33554432"),
        ("features", "map[]"),
        ("insecure-registries", r#"["plain.example:5000"]"#),
        ("labels", r#"["colour=blue"]"#),
        ("live-restore", "true"),
        ("max-concurrent-downloads", "7"),
        ("max-concurrent-uploads", "2"),
        ("max-download-attempts", "4"),
        ("name", &info("{{.Name}}")),
        ("registry-mirrors", r#"["http://mirror.example"]"#),
        ("shutdown-timeout", "15"),
    ] {
        assert_eq!(attributes[name], value, "{name} in {line}");
    }
    assert!(
        attributes.contains_key("default-cgroupns-mode") && attributes.contains_key("runtimes"),
        "{line}"
    );
    assert_eq!(info("{{.Labels}} {{.Debug}}"), "[colour=blue] true");
    assert_eq!(info("{{.RegistryConfig.Mirrors}}"), "[http://mirror.example/]");
    assert!(info("{{json .RegistryConfig.IndexConfigs}}").contains(r#""plain.example:5000""#));
    let shm = world.wharf(&["run", "--rm", IMAGE, "df", "-k", "/dev/shm"]).ok();
    assert!(shm.contains(" 32768 "), "{shm}");
    assert!(
        world.engine_output().contains("these settings take effect when the engine starts again: mtu"),
        "what cannot be reloaded is said"
    );
    std::fs::write(world.config_file(), "{broken").unwrap();
    signal(world.engine_pid(), "HUP");
    assert!(
        world.wharf(&["info", "--format", "{{.Labels}}"]).ok().contains("colour=blue"),
        "a bad file changes nothing"
    );
}

#[test]
fn the_api_is_negotiated() {
    let world = World::start();
    let get = |path: &str| {
        let output = world.host().run(&[
            "curl",
            "-s",
            "-w",
            "\n%{http_code}",
            "--unix-socket",
            world.socket().to_str().unwrap(),
            &format!("http://d{path}"),
        ]);
        let (body, code) = output.rsplit_once('\n').unwrap();
        (code.parse::<u16>().unwrap(), body.to_owned())
    };
    assert_eq!(get("/_ping"), (200, "OK".to_owned()));
    assert_eq!(get("/v1.24/containers/json"), (200, "[]\n".to_owned()));
    assert_eq!(get("/containers/json").0, 200);
    let (code, body) = get("/v1.23/info");
    assert_eq!(code, 400);
    assert!(body.contains("client version 1.23 is too old"), "{body}");
    let (code, body) = get("/v9.99/info");
    assert_eq!(code, 400);
    assert!(body.contains("client version 9.99 is too new"), "{body}");
    assert_eq!(get("/nowhere"), (404, "{\"message\":\"page not found\"}\n".to_owned()));
    assert_eq!(
        get("/containers/absent/json"),
        (404, "{\"message\":\"No such container: absent\"}\n".to_owned())
    );
}

/// Becomes an engine that was started by systemd: sockets from descriptor 3 on, with names, and a socket to say when
/// it is ready.
const ACTIVATE: &str = r#"
import os, socket, sys
kinds, command = sys.argv[1].split(","), sys.argv[2:]
held = []
for kind in kinds:
    if kind.startswith("/"):
        held.append(socket.socket(socket.AF_UNIX))
        held[-1].bind(kind)
    else:
        held.append(socket.socket(socket.AF_INET))
        held[-1].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held[-1].bind(("127.0.0.1", int(kind)))
    held[-1].listen()
high = [os.dup2(one.fileno(), 20 + at, inheritable=False) for at, one in enumerate(held)]
for at, one in enumerate(high):
    os.dup2(one, 3 + at)
os.environ["LISTEN_PID"] = str(os.getpid())
os.environ["LISTEN_FDS"] = str(len(held))
os.environ["LISTEN_FDNAMES"] = ":".join("wharf%d" % at for at in range(len(held)))
os.execv(command[0], command)
"#;

/// The engine of this world as systemd would start it, with these sockets and hosts.
fn activated(world: &World, sockets: &str, hosts: &[&str]) -> (Session, UnixDatagram) {
    let notified = world.directory().join("notify");
    let _ = std::fs::remove_file(&notified);
    let socket = UnixDatagram::bind(&notified).unwrap();
    socket.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
    let plain = world.engine_under(&["python3", "-c", ACTIVATE, sockets], &[]);
    let mut command = std::process::Command::new(plain.get_program());
    let mut words = plain.get_args();
    // Other hosts in place of the usual one.
    while let Some(word) = words.next() {
        if word == "-H" {
            words.next();
        } else {
            command.arg(word);
        }
    }
    for host in hosts {
        command.args(["-H", host]);
    }
    command.env("NOTIFY_SOCKET", &notified);
    (Session::start(command), socket)
}

#[test]
fn systemd_holds_the_sockets_and_hears_how_it_goes() {
    let mut world = World::start();
    world.stop_engine();
    let (first, second) = (world.directory().join("first.sock"), world.directory().join("second.sock"));
    let sockets = format!("{},{},2375", first.display(), second.display());
    let link = world.directory().join("docker.sock");
    let own = world.address();
    let (engine, notified) = activated(&world, &sockets, &["fd://", &own]);
    let heard = || {
        let mut buffer = [0; 256];
        let count = uninterrupted(|| notified.recv(&mut buffer)).expect("the engine tells how it goes");
        String::from_utf8_lossy(&buffer[..count]).into_owned()
    };
    assert_eq!(heard(), "READY=1");
    for address in [format!("unix://{}", first.display()), format!("unix://{}", second.display()), own] {
        let output = world.docker(&["-H", &address, "version", "--format", "{{.Server.Os}}"]);
        assert_eq!(output.ok(), "linux", "{address}");
    }
    assert_eq!(world.host().run(&["curl", "-s", "http://127.0.0.1:2375/_ping"]), "OK");
    assert_eq!(
        std::fs::read_to_string(world.directory().join("wharfd.pid")).unwrap(),
        engine.pid().to_string()
    );
    // What is run by it does not take itself for activated.
    let inside = world.wharf(&["run", "--rm", IMAGE, "sh", "-c", "env; ls /proc/self/fd"]).ok();
    assert!(!inside.contains("LISTEN_") && !inside.contains("NOTIFY_SOCKET"), "{inside}");
    signal(engine.pid(), "HUP");
    assert!(heard().starts_with("RELOADING=1\nMONOTONIC_USEC="));
    assert_eq!(heard(), "READY=1");
    signal(engine.pid(), "TERM");
    assert_eq!(heard(), "STOPPING=1");
    engine.finish().code(0);
    assert!(first.exists() && second.exists() && !world.socket().exists(), "its own socket alone is gone");
    for path in [&first, &second] {
        std::fs::remove_file(path).unwrap();
    }

    // One of several, by its number; the other path leads to it.
    world.config(&format!("{{\"docker-socket\": {:?}}}", link.display().to_string()));
    let (engine, _notified) = activated(&world, &sockets.replace(",2375", ""), &["fd://4"]);
    let answer = eventually("the linked socket to answer", || {
        let words = ["-H", &format!("unix://{}", link.display()), "version", "--format", "{{.Server.Os}}"];
        Some(world.docker(&words)).filter(|output| output.code == 0)
    });
    assert_eq!(answer.ok(), "linux");
    assert_eq!(std::fs::read_link(&link).unwrap(), second);
    signal(engine.pid(), "TERM");
    engine.finish().code(0);
    world.config("{}");
    for path in [&first, &second] {
        std::fs::remove_file(path).unwrap();
    }

    for (host, text) in [
        ("fd://7", "failed to load listeners: too few socket activated files passed in by systemd"),
        ("fd://x", "failed to parse systemd fd address: should be a number: x"),
    ] {
        let (engine, _notified) = activated(&world, first.to_str().unwrap(), &[host]);
        engine.finish().code(1).says(text);
        std::fs::remove_file(&first).unwrap();
    }
    world.start_engine();
}

#[test]
fn the_group_of_the_socket_can_be_named() {
    let mut world = World::start();
    world.stop_engine();
    let with_groups = |groups: &str, more: &[&str]| {
        let file = world.directory().join("group");
        std::fs::write(&file, groups).unwrap();
        let script = r#"mount --bind "$0" /etc/group && exec "$@""#;
        let wrapper = ["unshare", "-m", "sh", "-c", script, file.to_str().unwrap()];
        Session::start(world.engine_under(&wrapper, more))
    };
    let both = "root:x:0:\nwharf:x:4701:\ndocker:x:4702:\n";
    for (groups, more, gid, warned) in [
        (both, &[][..], 4702, false),
        ("root:x:0:\nwharf:x:4701:\n", &[], 4701, false),
        ("root:x:0:\n", &[], 0, true),
        (both, &["-G", "wharf"], 4701, false),
        (both, &["--group=4703"], 4703, false),
    ] {
        let engine = with_groups(groups, more);
        eventually("the engine to answer", || (world.wharf(&["version"]).code == 0).then_some(()));
        let metadata = std::fs::metadata(world.socket()).unwrap();
        assert_eq!((metadata.mode() & 0o777, metadata.uid(), metadata.gid()), (0o660, 0, gid), "{more:?}");
        signal(engine.pid(), "TERM");
        let output = engine.finish().code(0);
        let log = format!("{}{}", output.stdout, output.stderr);
        assert_eq!(log.contains("could not change group of "), warned, "{log}");
    }
    with_groups(both, &["-G", "nobodys"])
        .finish()
        .code(1)
        .says("failed to load listeners: group nobodys not found");
    world.start_engine();
}

#[test]
fn its_own_limit_of_open_files_is_not_its_containers() {
    let mut world = World::start();
    world.stop_engine();
    let engine = Session::start(world.engine_under(&["prlimit", "--nofile=1024:4096"], &[]));
    eventually("the engine to answer", || (world.wharf(&["version"]).code == 0).then_some(()));
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", engine.pid())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(line.split_whitespace().collect::<Vec<_>>()[3..5], ["4096", "4096"]);
    world.wharf(&["run", "-d", "--name", "one", IMAGE, "sleep", "1000"]).ok();
    let asking = ["sh", "-c", "ulimit -Sn; ulimit -Hn"];
    for words in [&["run", "--rm", IMAGE][..], &["exec", "one"]] {
        assert_eq!(world.docker(&[words, &asking].concat()).ok(), "1024\n4096", "{words:?}");
    }
    signal(engine.pid(), "TERM");
    engine.finish().code(0);
    world.start_engine();
}

#[test]
fn clients_of_every_version_do_everyday_work() {
    let world = World::start();
    for version in ["1.24", "1.25", "1.30", "1.35", "1.40", "1.41", "1.43", "1.44", "1.47", "1.50"] {
        for name in ["wharf", "docker"] {
            let client = |words: &[&str]| {
                let mut command = world.client(name, words);
                command.env("DOCKER_API_VERSION", version);
                Session::start(command)
            };
            let run = |words: &[&str]| client(words).finish();
            let spoken = run(&["version", "--format", "{{.Client.APIVersion}}"]).ok();
            assert_eq!(spoken, version, "{name}");
            run(&["network", "create", "sea"]).code(0);
            run(&["volume", "create", "field"]).code(0);
            let flags = ["-p", "8080:80", "-v", "field:/field", "--network", "sea", "-e", "A=1", "-m", "64m"];
            run(&[&["run", "-d", "--name", "web"], &flags[..], &[IMAGE, "sh", "-c", "echo up; sleep 1000"]]
                .concat())
            .code(0);
            assert_eq!(run(&["exec", "web", "sh", "-c", "echo $A"]).ok(), "1");
            world.until_logged("web", "up");
            assert_eq!(run(&["logs", "web"]).ok(), "up");
            assert_eq!(run(&["ps", "--format", "{{.Names}} {{.State}}"]).ok(), "web running");
            assert!(run(&["port", "web"]).ok().starts_with("80/tcp -> 0.0.0.0:8080"));
            assert_eq!(run(&["inspect", "-f", "{{.HostConfig.Memory}}", "web"]).ok(), "67108864");
            assert!(run(&["top", "web"]).ok().contains("sleep 1000"));
            assert_eq!(run(&["stats", "--no-stream", "--format", "{{.Name}}", "web"]).ok(), "web");
            run(&["cp", "web:/www/index.html", "page.html"]).code(0);
            run(&["network", "connect", "bridge", "web"]).code(0);
            run(&["restart", "-t", "0", "web"]).code(0);
            run(&["rename", "web", "site"]).code(0);
            run(&["stop", "-t", "0", "site"]).code(0);
            assert_eq!(run(&["wait", "site"]).ok(), "137");
            assert!(run(&["images", "-a"]).ok().contains(IMAGE));
            run(&["save", "-o", "image.tar", IMAGE]).code(0);
            run(&["load", "-q", "-i", "image.tar"]).code(0);
            run(&["tag", IMAGE, "other"]).code(0);
            run(&["rmi", "other"]).code(0);
            run(&["rm", "site"]).code(0);
            run(&["network", "rm", "sea"]).code(0);
            run(&["volume", "rm", "field"]).code(0);
            run(&["info"]).code(0);
            let mut cat = client(&["run", "--rm", "-i", IMAGE, "sh", "-c", "cat; exit 3"]);
            cat.send("through\n").end_input();
            assert_eq!(cat.finish().code(3).stdout, "through\n", "{name} {version}");
        }
    }
    let mut old = world.client("wharf", &["ps"]);
    old.env("DOCKER_API_VERSION", "1.23");
    Session::start(old).finish().code(1).says("client version 1.23 is too old");
}

#[test]
fn a_root_that_cannot_be_written_is_named() {
    let world = World::start();
    let disk = SmallDisk::mount();
    sh(&format!("mount -o remount,ro {}", disk.path().display()));
    for root in ["--data-root", "--exec-root"] {
        let place = disk.path().join("place").display().to_string();
        let own = |name: &str| world.directory().join(format!("{root}-{name}")).display().to_string();
        let (data, exec) =
            if root == "--data-root" { (place.clone(), own("run")) } else { (own("data"), place.clone()) };
        let output = world.engine_command(&[
            "--data-root",
            &data,
            "--exec-root",
            &exec,
            "--pidfile",
            &own("pid"),
            "-H",
            &format!("unix://{}", own("sock")),
        ]);
        assert_ne!(output.code, 0, "{output}");
        output.says(&place).says("ead-only file system");
    }
}

#[test]
fn it_answers_to_the_name_of_docker_and_by_a_link_to_its_socket() {
    let link = std::env::temp_dir().join(format!("wharf-link-{}.sock", std::process::id()));
    let flags = vec!["--docker-socket".to_owned(), link.display().to_string()];
    let world = World::empty(Settings { flags, ..Settings::default() });
    world.load(&busybox_image(IMAGE));
    let name = world.directory().join("docker");
    let wharf = world.client("wharf", &[]).get_program().to_owned();
    std::os::unix::fs::symlink(wharf, &name).unwrap();
    let run = |words: &[&str]| {
        let mut command = world.client(name.to_str().unwrap(), words);
        command.env("DOCKER_HOST", format!("unix://{}", link.display()));
        Session::start(command).finish()
    };
    assert_eq!(run(&["run", "--rm", IMAGE, "echo", "here"]).ok(), "here");
    run(&["run", "--no-such-flag"]).code(125).says("docker run --help");
    run(&["help"]).code(0).prints("docker [OPTIONS] COMMAND");
    drop(world);
    assert!(link.symlink_metadata().is_err(), "the link goes with the engine");
}
