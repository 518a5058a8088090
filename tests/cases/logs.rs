//! Where containers log: every driver, collectors that are dead or slow, rotation, and `logs` under all of them.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::Child;
use std::time::Duration;

use blackbox::{IMAGE, World, eventually, uninterrupted};

/// Receives on a port of the world's network and keeps everything in a file.
struct Collector {
    process: Child,
    received: PathBuf,
}

const RECEIVE: &str = r#"
import socket, sys
kind, port, path = sys.argv[1:]
out = open(path, "ab", 0)
s = socket.socket(type=socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM)
s.bind(("127.0.0.1", int(port)))
if kind == "udp":
    open(path + ".ready", "w")
    while True:
        out.write(s.recv(65536))
s.listen()
open(path + ".ready", "w")
while True:
    c, _ = s.accept()
    while data := c.recv(65536):
        out.write(data)
"#;

impl Collector {
    fn start(world: &World, kind: &str, port: u16) -> Collector {
        let received = world.directory().join(format!("{kind}-{port}"));
        let mut command = world.host().command("python3");
        let process = command.args(["-c", RECEIVE, kind, &port.to_string()]).arg(&received).spawn().unwrap();
        let collector = Collector { process, received };
        let ready = PathBuf::from(format!("{}.ready", collector.received.display()));
        eventually("the collector to listen", || ready.exists().then_some(()));
        collector
    }

    fn until(&self, text: &str) -> String {
        eventually(&format!("{text:?} at the collector"), || {
            let received = std::fs::read(&self.received).ok()?;
            let received = String::from_utf8_lossy(&received).into_owned();
            received.contains(text).then_some(received)
        })
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Runs a container to its end; its log options are words of the command line.
fn run(world: &World, name: &str, options: &[&str], script: &str) {
    let words = [&["run", "--name", name], options, &[IMAGE, "sh", "-c", script]].concat();
    world.wharf(&words).code(0);
}

fn numbers(text: &str) -> Vec<u64> {
    text.lines().map(|line| line.trim().parse().unwrap_or_else(|_| panic!("{line:?} is no number"))).collect()
}

#[test]
fn files_of_both_formats_are_rotated_and_read_back() {
    let world = World::start();
    for (driver, compress) in
        [("json-file", "false"), ("json-file", "true"), ("local", "false"), ("local", "true")]
    {
        let name = format!("{driver}-{compress}");
        let compress = format!("compress={compress}");
        let options = [
            "--log-driver",
            driver,
            "--log-opt",
            "max-size=30k",
            "--log-opt",
            "max-file=3",
            "--log-opt",
            &compress,
        ];
        run(&world, &name, &options, "seq 5000; echo problem >&2; printf unfinished");
        let all = world.docker(&["logs", &name]).code(0);
        assert_eq!(all.stderr, "problem\n");
        let lines = all.stdout.strip_suffix("unfinished").unwrap();
        let kept = numbers(lines);
        assert!(kept.len() > 300 && kept.len() < 5000, "{name} keeps {}", kept.len());
        assert_eq!(kept, (5001 - kept.len() as u64..=5000).collect::<Vec<_>>());
        for client in world.clients() {
            assert_eq!(client.run(&["logs", "--tail", "3", &name]).code(0).stdout, "5000\nunfinished");
            let tail = client.run(&["logs", "--tail", "302", &name]).code(0).stdout;
            assert_eq!(numbers(tail.strip_suffix("unfinished").unwrap()), (4701..=5000).collect::<Vec<_>>());
            assert_eq!(client.run(&["logs", "--since", "2099-01-01T00:00:00Z", &name]).ok(), "");
        }
        let shown = world.inspect(&name);
        assert_eq!(shown["HostConfig"]["LogConfig"]["Type"], driver);
        assert_eq!(shown["LogPath"].as_str().unwrap().ends_with("-json.log"), driver == "json-file");
    }
}

#[test]
fn a_json_file_tells_labels_variables_and_the_tag() {
    let world = World::start();
    let options = ["--label", "ab=1", "--label", "cd=2", "-e", "EE=3", "--log-opt", "labels-regex=^a"];
    let more = ["--log-opt", "env=EE", "--log-opt", "tag={{.Name}}/{{.ImageName}}/{{.DaemonName}}"];
    run(&world, "told", &[&options[..], &more].concat(), "echo hi");
    let image = IMAGE.replace(':', "%3A").replace('/', "%2F");
    let expected = format!("EE=3,ab=1,tag=told%2F{image}%2Fdocker hi");
    assert_eq!(world.docker(&["logs", "--details", "told"]).ok(), expected);
}

#[test]
fn a_follower_misses_nothing_while_files_are_rotated() {
    let world = World::start();
    for driver in ["json-file", "local"] {
        let options = ["--log-driver", driver, "--log-opt", "max-size=20k", "--log-opt", "max-file=2"];
        let words = [&["create", "--name", driver, "--log-opt", "compress=false"], &options[..]].concat();
        // In steps, each when all have read the one before: what was deleted before it was read is gone.
        let script = "echo 0; i=0; while read x; do seq $((i*50+1)) $((i*50+50)); i=$((i+1)); done";
        world.wharf(&[&words[..], &["-i", IMAGE, "sh", "-c", script]].concat()).ok();
        let mut running = world.session(&["start", "-ai", driver]);
        running.read_until("0\n");
        let mut followers =
            [world.session(&["logs", "-f", driver]), world.docker_session(&["logs", "-f", driver])];
        let mut read = followers.each_mut().map(|follower| follower.read_until("0\n"));
        for step in 1..=40 {
            running.send("go\n");
            for (follower, read) in followers.iter_mut().zip(&mut read) {
                read.push_str(&follower.read_until(&format!("\n{}\n", step * 50)));
            }
        }
        running.end_input();
        for (follower, read) in followers.into_iter().zip(read) {
            let all = read + &follower.finish().code(0).stdout;
            assert_eq!(numbers(&all), (0..=2000).collect::<Vec<_>>(), "{driver}");
        }
        running.finish().code(0);
    }
}

#[test]
fn syslog_gets_lines_and_logs_reads_them_too() {
    let world = World::start();
    let path = world.directory().join("log");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
    let address = format!("syslog-address=unixgram://{}", path.display());
    let options = ["--log-driver", "syslog", "--log-opt", &address, "--log-opt", "tag={{.Name}}"];
    run(&world, "talk", &options, "echo out; echo; echo err >&2; printf end");
    let mut messages = Vec::new();
    for _ in 0..3 {
        let mut bytes = [0; 1024];
        let count = uninterrupted(|| socket.recv(&mut bytes)).unwrap();
        messages.push(String::from_utf8_lossy(&bytes[..count]).into_owned());
    }
    messages.sort();
    assert!(messages[0].starts_with("<27>") && messages[0].ends_with("]: err\n"), "{messages:?}");
    for (message, text) in messages[1..].iter().zip(["end", "out"]) {
        assert!(message.starts_with("<30>") && message.contains(" talk["), "{messages:?}");
        assert!(message.ends_with(&format!("]: {text}\n")), "{messages:?}");
    }
    for client in world.clients() {
        let read = client.run(&["logs", "talk"]).code(0);
        assert_eq!((read.stdout.as_str(), read.stderr.as_str()), ("out\n\nend", "err\n"));
    }
    assert_eq!(world.inspect("talk")["LogPath"], "");

    let off = [&options[..], &["--log-opt", "cache-disabled=true"]].concat();
    run(&world, "uncached", &off, "echo out");
    for client in world.clients() {
        client.run(&["logs", "uncached"]).code(1).says("configured logging driver does not support reading");
    }
}

#[test]
fn syslog_and_gelf_go_over_the_network() {
    let world = World::start();
    let datagrams = Collector::start(&world, "udp", 5514);
    let stream = Collector::start(&world, "tcp", 5515);
    let options = ["--log-driver", "syslog", "--log-opt", "syslog-format=rfc5424micro"];
    let udp = [&options[..], &["--log-opt", "syslog-address=udp://127.0.0.1:5514"]].concat();
    run(&world, "udp", &udp, "echo by datagram");
    assert!(datagrams.until("by datagram").starts_with("<30>1 20"));
    let facility =
        ["--log-opt", "syslog-address=tcp://localhost:5515", "--log-opt", "syslog-facility=local1"];
    run(&world, "tcp", &[&options[..], &facility].concat(), "echo by stream");
    assert!(stream.until("by stream").starts_with("<142>1 20"));

    let gelf = Collector::start(&world, "udp", 5516);
    let options = ["--log-driver", "gelf", "--log-opt", "gelf-address=udp://127.0.0.1:5516"];
    let options = [&options[..], &["--log-opt", "gelf-compression-type=none", "--label", "a=b"]].concat();
    run(&world, "gelf", &[&options[..], &["--log-opt", "labels=a"]].concat(), "echo 'a \"graylog\" line'");
    let document: serde_json::Value = serde_json::from_str(&gelf.until("graylog")).unwrap();
    let id = world.inspect("gelf")["Id"].as_str().unwrap().to_owned();
    for (key, value) in [
        ("version", "1.1"),
        ("short_message", "a \"graylog\" line"),
        ("_container_id", &id),
        ("_container_name", "gelf"),
        ("_image_name", IMAGE),
        ("_tag", &id[..12]),
        ("_a", "b"),
    ] {
        assert_eq!(document[key], value, "{key}");
    }
    assert_eq!(document["level"], 6);

    let gelf = Collector::start(&world, "tcp", 5517);
    let options = ["--log-driver", "gelf", "--log-opt", "gelf-address=tcp://127.0.0.1:5517"];
    run(&world, "gelf-tcp", &options, "echo over tcp >&2");
    let received = gelf.until("over tcp");
    let document: serde_json::Value = serde_json::from_str(received.trim_end_matches('\0')).unwrap();
    assert_eq!((&document["level"], received.ends_with('\0')), (&3.into(), true));
}

#[test]
fn fluentd_gets_events() {
    let world = World::start();
    let path = world.directory().join("fluent");
    let listener = UnixListener::bind(&path).unwrap();
    let address = format!("fluentd-address=unix://{}", path.display());
    let options = ["--log-driver", "fluentd", "--log-opt", &address, "--log-opt", "tag=t.{{.Name}}"];
    run(&world, "events", &options, "echo one; echo two");
    let mut received = Vec::new();
    listener.accept().unwrap().0.read_to_end(&mut received).unwrap();
    let text = String::from_utf8_lossy(&received);
    for part in ["t.events", "container_name", "/events", "container_id", "source", "stdout", "one", "two"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert_eq!(world.docker(&["logs", "events"]).ok(), "one\ntwo");
}

#[test]
fn what_docker_refuses_is_refused_when_docker_does() {
    let world = World::start();
    let refused = |options: &[&str], words: &str| {
        for client in world.clients() {
            let words_of = [&["create"], options, &[IMAGE]].concat();
            client.run(&words_of).code(1).says(words);
        }
    };
    refused(&["--log-opt", "x=1"], "unknown log opt 'x' for json-file log driver");
    refused(&["--log-driver", "local", "--log-opt", "tag=x"], "unknown log opt 'tag' for log driver local");
    refused(&["--log-opt", "mode=odd"], "logger: logging mode not supported: odd");
    refused(&["--log-driver", "gelf"], "gelf-address is a required parameter");
    refused(&["--log-driver", "none-such"], "plugin \"none-such\" not found");

    // The rest is found out at start.
    let address = "syslog-address=tcp://127.0.0.1:9";
    let fails = [
        (&["--log-opt", "max-size=zz"][..], "invalid size: 'zz'"),
        (&["--log-opt", "tag={{.Foo}}"], "can't evaluate field Foo in type *logger.Info"),
        (
            &["--log-driver", "syslog", "--log-opt", address],
            "dial tcp 127.0.0.1:9: connect: connection refused",
        ),
    ];
    for (number, (options, words)) in fails.into_iter().enumerate() {
        let name = format!("fails-{number}");
        let run = [&["run", "--name", &name], options, &[IMAGE, "true"]].concat();
        let expected = format!(
            "failed to create task for container: failed to initialize logging driver: {}",
            if number == 1 { "template: log-tag:1:2: executing \"log-tag\" at <.Foo>: " } else { "" }
        );
        world.docker(&run).code(125).says(&format!("{expected}{words}"));
        let state = &world.inspect(&name)["State"];
        assert_eq!((&state["Status"], &state["ExitCode"]), (&"created".into(), &128.into()));
        assert!(state["Error"].as_str().unwrap().contains(words), "{state}");
        if number == 0 {
            world.docker(&["logs", &name]).code(1).says(words);
        }
    }
    // Whether there is such a log is told before whether it is well asked for.
    world.docker(&["logs", "--since", "1x", "nobody"]).code(1).says("No such container: nobody");
}

/// A syslog collector at a stream socket, and the options of a container that logs there.
fn stream(world: &World, name: &str) -> (UnixListener, Vec<String>) {
    let path = world.directory().join(name);
    let listener = UnixListener::bind(&path).unwrap();
    let address = format!("syslog-address=unix://{}", path.display());
    (listener, ["--log-driver", "syslog", "--log-opt", &address].map(str::to_owned).to_vec())
}

/// Starts a container that writes a quarter of a million numbers, more than all buffers on the way hold together.
fn flood(world: &World, name: &str, options: &[String]) {
    let mut words = vec!["run", "-d", "--name", name];
    words.extend(options.iter().map(String::as_str));
    words.extend([IMAGE, "seq", "250000"]);
    world.wharf(&words).ok();
}

fn received(peer: UnixStream) -> Vec<u64> {
    let lines = BufReader::new(peer).lines().map(Result::unwrap);
    lines.map(|line| line.rsplit_once("]: ").unwrap().1.parse().unwrap()).collect()
}

#[test]
fn a_slow_collector_makes_the_container_wait() {
    let world = World::start();
    let (listener, options) = stream(&world, "slow");
    flood(&world, "waits", &options);
    let (peer, _) = listener.accept().unwrap();
    // It comes to rest somewhere, and not at its end.
    let size = || world.docker(&["logs", "waits"]).code(0).stdout.len();
    let mut before = 0;
    eventually("the container to wait", || {
        let now = size();
        (now > 0 && std::mem::replace(&mut before, now) == now).then_some(())
    });
    assert_eq!(world.inspect("waits")["State"]["Running"], true);
    assert_eq!(received(peer), (1..=250_000).collect::<Vec<_>>());
    world.until_status("waits", "exited");
    assert_eq!(numbers(&world.docker(&["logs", "waits"]).ok()).len(), 250_000);
}

#[test]
fn a_slow_collector_costs_lines_where_the_user_says_so() {
    let world = World::start();
    let (listener, mut options) = stream(&world, "lossy");
    options.extend(["--log-opt", "mode=non-blocking", "--log-opt", "max-buffer-size=64k"].map(str::to_owned));
    flood(&world, "goes-on", &options);
    let (peer, _) = listener.accept().unwrap();
    world.until_status("goes-on", "exited");
    let arrived = received(peer);
    assert!(arrived.len() < 250_000 && arrived.is_sorted(), "{} arrived", arrived.len());
    eventually("a warning", || {
        world.engine_output().contains("the collector is too slow for a buffer of 65536 bytes").then_some(())
    });
    assert_eq!(numbers(&world.docker(&["logs", "goes-on"]).ok()).len(), 250_000);
}

#[test]
fn a_dead_collector_stops_nobody() {
    let world = World::start();
    let (listener, options) = stream(&world, "dead");
    flood(&world, "survives", &options);
    drop(listener);
    world.until_status("survives", "exited");
    assert_eq!(world.inspect("survives")["State"]["ExitCode"], 0);
    assert_eq!(numbers(&world.docker(&["logs", "survives"]).ok()).len(), 250_000);
    eventually("a warning", || world.engine_output().contains("its log cannot be written").then_some(()));
}

#[test]
fn the_engine_may_die_while_lines_are_sent() {
    let mut world = World::start();
    let (listener, options) = stream(&world, "steady");
    let script = "for i in $(seq 60); do echo $i; sleep 0.05; done";
    let mut words = vec!["run", "-d", "--name", "steady"];
    words.extend(options.iter().map(String::as_str));
    words.extend([IMAGE, "sh", "-c", script]);
    world.wharf(&words).ok();
    let (peer, _) = listener.accept().unwrap();
    let reader = std::thread::spawn(move || received(peer));
    for _ in 0..3 {
        std::thread::sleep(Duration::from_millis(300));
        world.kill_engine();
        std::thread::sleep(Duration::from_millis(300));
        world.start_engine();
    }
    world.until_status("steady", "exited");
    let expected: Vec<u64> = (1..=60).collect();
    assert_eq!(reader.join().unwrap(), expected);
    assert_eq!(numbers(&world.docker(&["logs", "steady"]).ok()), expected);
}

#[test]
fn the_engines_configuration_has_a_driver_and_its_options() {
    let mut world = World::start();
    world.stop_engine();
    std::fs::write(world.config_file(), r#"{"log-driver": "local", "log-opts": {"tag": "x"}}"#).unwrap();
    world.try_engine().code(1).says("failed to set log opts: unknown log opt 'tag' for log driver local");
    let config = r#"{"log-driver": "local", "log-opts": {"max-size": "1m", "compress": "false"}}"#;
    std::fs::write(world.config_file(), config).unwrap();
    world.start_engine();
    run(&world, "plain", &[], "echo hi");
    let shown = world.inspect("plain");
    assert_eq!(
        shown["HostConfig"]["LogConfig"],
        serde_json::json!({"Type": "local", "Config": {"max-size": "1m", "compress": "false"}})
    );
    assert_eq!(world.docker(&["logs", "plain"]).ok(), "hi");
    run(&world, "own", &["--log-driver", "json-file"], "echo hi");
    assert_eq!(world.inspect("own")["HostConfig"]["LogConfig"]["Config"], serde_json::json!({}));
    let info = world.docker(&["info", "--format", "{{.LoggingDriver}} {{json .Plugins.Log}}"]).ok();
    assert_eq!(info, r#"local ["fluentd","gelf","journald","json-file","local","syslog"]"#);
}

/// A moment in a zone, as `date` writes it.
fn date(zone: &str, moment: &str, format: &str) -> String {
    let mut command = std::process::Command::new("date");
    let output = command.env("TZ", zone).args(["-d", moment, format]).output().expect("date runs");
    assert!(output.status.success(), "{moment} is a moment");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn moments_are_understood_in_every_form() {
    const ZONE: &str = "Asia/Kolkata";
    let world = World::start();
    let script = "echo one; sleep 1.2; echo two; sleep 1.2; echo three";
    world.wharf(&["run", "--name", "talk", IMAGE, "sh", "-c", script]).ok();
    let stamped = world.wharf(&["logs", "-t", "talk"]).ok();
    let moments: Vec<&str> = stamped.lines().filter_map(|line| line.split(' ').next()).collect();
    let [one, two, _] = moments[..] else { panic!("{stamped}") };
    let exact = [
        two.to_owned(),
        date("UTC", two, "+%s.%N"),
        date("UTC", two, "+%Y-%m-%dT%H:%M:%S.%N+00:00"),
        date(ZONE, two, "+%Y-%m-%dT%H:%M:%S.%N%:z"),
        date(ZONE, two, "+%Y-%m-%dT%H:%M:%S.%N"),
    ];
    // The second in which the second line began lies behind the first.
    let between = [
        date("UTC", two, "+%s"),
        date("UTC", two, "+%Y-%m-%dT%H:%M:%SZ"),
        date(ZONE, two, "+%Y-%m-%dT%H:%M:%S"),
        date(ZONE, two, "+%Y-%m-%dT%H:%M:%S%:z"),
    ];
    let before = [
        date(ZONE, one, "+%Y-%m-%dT%H:%M"),
        date(ZONE, one, "+%Y-%m-%dT%H"),
        date(ZONE, one, "+%Y-%m-%d"),
        date(ZONE, one, "+%Y-%m-%dT%H:%M%:z"),
        date("UTC", one, "+%Y-%m-%dT%H:%MZ"),
        date("UTC", one, "+%Y-%m-%dT%HZ"),
        date("UTC", one, "+%Y-%m-%dZ"),
    ];
    let durations = ["1h", "1h30m", "90m", "5400.5s", "3600000ms"].map(str::to_owned);
    let all = "one\ntwo\nthree\n";
    let cases: [(&[String], &str, &str); 4] = [
        (&exact, "two\nthree\n", "one\ntwo\n"),
        (&between, "two\nthree\n", "one\n"),
        (&before, all, ""),
        (&durations, all, ""),
    ];
    for client in ["wharf", "docker"] {
        let logs = |flag: &str, moment: &str| {
            let mut command = world.client(client, &["logs", flag, moment, "talk"]);
            command.env("TZ", ZONE);
            blackbox::Session::start(command).finish().code(0).stdout
        };
        for (forms, since, until) in cases {
            for form in forms {
                assert_eq!(logs("--since", form), since, "{client} logs --since {form}");
                assert_eq!(logs("--until", form), until, "{client} logs --until {form}");
            }
        }
    }
}
