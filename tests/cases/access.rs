//! Who may speak to the engine: clients with certificates, and never a container by its network.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use blackbox::{Host, IMAGE, Output, Session, Settings, World, busybox_image, eventually};

/// Keys and certificates of an authority, a server at 127.0.0.1, and a client; gone when dropped.
pub(crate) struct Certificates(pub(crate) PathBuf);

impl Certificates {
    pub(crate) fn new(name: &str) -> Certificates {
        let directory = std::env::temp_dir().join(format!("wharf-test-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("the temporary directory is writable");
        let certificates = Certificates(directory);
        certificates.make("ca", &["-addext", "keyUsage=critical,keyCertSign"]);
        let signed = [
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca-key.pem",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
            "-addext",
        ];
        certificates.make("server", &[&signed[..], &["subjectAltName=IP:127.0.0.1,IP:10.99.99.1"]].concat());
        certificates.make("client", &[&signed[..], &["extendedKeyUsage=clientAuth"]].concat());
        certificates
    }

    fn make(&self, name: &str, how: &[&str]) {
        let output = Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
                "-days",
                "2",
            ])
            .args([
                "-subj",
                &format!("/CN={name}"),
                "-keyout",
                &format!("{name}-key.pem"),
                "-out",
                &format!("{name}.pem"),
            ])
            .args(how)
            .current_dir(&self.0)
            .output()
            .expect("openssl runs");
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// `--tlscacert=…`, `--tlscert=…`, `--tlskey=…` of one of them.
    pub(crate) fn flags(&self, name: &str) -> Vec<String> {
        [("cacert", "ca.pem".to_owned()), ("cert", format!("{name}.pem")), ("key", format!("{name}-key.pem"))]
            .map(|(flag, file)| format!("--tls{flag}={}", self.0.join(file).display()))
            .to_vec()
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn listening_at(address: &str, more: Vec<String>) -> World {
    let flags = [vec!["-H".to_owned(), address.to_owned()], more].concat();
    let world = World::empty(Settings { flags, ..Settings::default() });
    world.load(&busybox_image(IMAGE));
    world
}

#[test]
fn tls_lets_in_who_has_a_certificate() {
    let ours = Certificates::new("ours");
    let theirs = Certificates::new("theirs");
    const ADDRESS: &str = "tcp://127.0.0.1:2376";
    let world = listening_at(ADDRESS, [vec!["--tlsverify".to_owned()], ours.flags("server")].concat());
    let docker = |flags: &[String], words: &[&str]| -> Session {
        let mut command = world.host().command("docker");
        command.args(["-H", ADDRESS]).args(flags).args(words);
        command.env("DOCKER_CONFIG", world.directory().join("config"));
        Session::start(command)
    };
    let client = [vec!["--tlsverify".to_owned()], ours.flags("client")].concat();
    let run = |words: &[&str]| -> Output { docker(&client, words).finish() };
    assert_eq!(run(&["version", "--format", "{{.Server.Os}}"]).ok(), "linux");
    // Streams in both directions, one of which ends before the other.
    let mut cat = docker(&client, &["run", "--rm", "-i", IMAGE, "sh", "-c", "cat; echo end"]);
    cat.send("through TLS\n").end_input();
    assert_eq!(cat.finish().ok(), "through TLS\nend");
    run(&["run", "-d", "--name", "talker", IMAGE, "sh", "-c", "echo said; exec sleep 1000"]).code(0);
    assert_eq!(run(&["exec", "talker", "echo", "inside"]).ok(), "inside");
    world.until_logged("talker", "said");
    assert_eq!(run(&["logs", "talker"]).ok(), "said");
    run(&["rm", "-f", "talker"]).code(0);

    // Without a certificate, with one of another authority, and without TLS.
    let none = ["--tls".to_owned(), format!("--tlscacert={}", ours.0.join("ca.pem").display())];
    let mut foreign = [vec!["--tlsverify".to_owned()], theirs.flags("client")].concat();
    foreign[1] = ours.flags("client")[0].clone();
    for flags in [&none[..], &foreign] {
        let output = docker(flags, &["ps"]).finish();
        assert_ne!(output.code, 0, "{output}");
    }
    let plain = world.host().try_run(&["curl", "-s", "-m", "10", "http://127.0.0.1:2376/_ping"]);
    assert!(!String::from_utf8_lossy(&plain.stdout).contains("OK"), "{plain:?}");
}

/// A server on every address of the world's host, for as long as this lives.
struct Listening(Child);

impl Listening {
    fn at(world: &World, port: u16, directory: &Path) -> Listening {
        std::fs::write(directory.join("index.html"), "reached\n").expect("the world's directory is writable");
        let mut command = world.host().command("busybox");
        command.args(["httpd", "-f", "-p", &port.to_string(), "-h"]).arg(directory);
        Listening(command.stdin(Stdio::null()).spawn().expect("busybox runs"))
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn containers_do_not_reach_the_interface_by_their_network() {
    let world = listening_at("tcp://127.0.0.1:2375", Vec::new());
    let other = Listening::at(&world, 8099, world.directory());
    let ping = || world.host().try_run(&["curl", "-s", "-m", "10", "http://127.0.0.1:2375/_ping"]).stdout;
    eventually("the engine to listen", || (ping() == b"OK").then_some(()));
    world.wharf(&["run", "-d", "--name", "inside", "--cap-add", "NET_ADMIN", IMAGE, "sleep", "1000"]).ok();
    let gateway =
        world.inspect("inside")["NetworkSettings"]["Gateway"].as_str().expect("a gateway").to_owned();
    let ask = |address: &str, port: u16, path: &str| {
        let line = format!(r"printf 'GET {path} HTTP/1.0\r\nHost: x\r\n\r\n' | nc -w 3 {address} {port}");
        world.wharf(&["exec", "inside", "sh", "-c", &line]).stdout
    };
    eventually("the host to be reached", || {
        ask(&gateway, 8099, "/index.html").contains("reached").then_some(())
    });
    assert_eq!(ask(&gateway, 2375, "/_ping"), "");
    // The host's own address for itself, sent to it over the bridge.
    let detour = format!("ip address flush dev lo && ip route add 127.0.0.0/8 via {gateway}");
    world.wharf(&["exec", "inside", "sh", "-c", &detour]).ok();
    assert_eq!(ask("127.0.0.1", 2375, "/_ping"), "");
    assert_eq!(ask("127.0.0.1", 8099, "/index.html"), "");
    // Sockets without a file belong to whole network namespaces: containers on the host's network would see them.
    let sockets = world.host().run(&["cat", "/proc/net/unix"]);
    let nameless: Vec<&str> = sockets.lines().filter(|line| line.contains(" @")).collect();
    assert!(nameless.is_empty(), "{nameless:?}");
    drop(other);
}

/// Listeners everywhere: neither by their bridge's address, nor by another of the host, nor by the name for it.
#[test]
fn a_listener_everywhere_is_not_for_containers() {
    let flags = ["-H", "tcp://0.0.0.0:2375", "-H", "tcp://[::]:2376"].map(str::to_owned).to_vec();
    let world = World::empty(Settings { flags, ..Settings::default() });
    world.load(&busybox_image(IMAGE));
    let outside = Host::new();
    world.host().connect(&outside, "10.77.0.1/24", "10.77.0.2/24");
    let other = Listening::at(&world, 8099, world.directory());
    let network =
        ["network", "create", "--ipv6", "--subnet", "fd00:77::/64", "--subnet", "172.29.7.0/24", "six"];
    world.wharf(&network).ok();
    let run = [
        "run",
        "-d",
        "--name",
        "inside",
        "--network",
        "six",
        "--add-host",
        "host.docker.internal:host-gateway",
    ];
    world.wharf(&[&run[..], &[IMAGE, "sleep", "1000"]].concat()).ok();
    world.wharf(&["run", "-d", "--name", "host", "--network", "host", IMAGE, "sleep", "1000"]).ok();
    let ask = |container: &str, address: &str, port: u16, path: &str| {
        let line = format!(r"printf 'GET {path} HTTP/1.0\r\nHost: x\r\n\r\n' | nc -w 2 {address} {port}");
        world.wharf(&["exec", container, "sh", "-c", &line]).stdout
    };
    eventually("the host to be reached", || {
        ask("inside", "172.29.7.1", 8099, "/index.html").contains("reached").then_some(())
    });
    for port in [2375, 2376] {
        for address in ["172.29.7.1", "10.77.0.1", "host.docker.internal"] {
            assert_eq!(ask("inside", address, port, "/_ping"), "", "{address} {port}");
        }
        let ping = |host: &Host| {
            let url = format!("http://10.77.0.1:{port}/_ping");
            String::from_utf8_lossy(&host.try_run(&["curl", "-s", "-m", "10", &url]).stdout).into_owned()
        };
        assert_eq!((ping(world.host()), ping(&outside)), ("OK".to_owned(), "OK".to_owned()), "{port}");
        assert!(ask("host", "10.77.0.1", port, "/_ping").contains("OK"), "the host's own network, {port}");
    }
    assert_eq!(ask("inside", "fd00:77::1", 2376, "/_ping"), "");
    // A port of that number inside a container is another one.
    let web = ["run", "-d", "--name", "web", "-p", "8375:2375", IMAGE, "sh", "-c"];
    world.wharf(&[&web[..], &["echo published > /index.html && httpd -f -p 2375 -h /"]].concat()).ok();
    eventually("the published port to answer", || {
        ask("inside", "10.77.0.1", 8375, "/").contains("published").then_some(())
    });
    drop(other);
}
