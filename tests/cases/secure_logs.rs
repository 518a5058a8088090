//! Logs that go through TLS: whom the shim's helper believes, who it says we are, and what happens when the collector goes.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use blackbox::{IMAGE, World, eventually};

/// An authority, a server's certificate for this host, and a client's, made by openssl in one directory.
struct Certificates(PathBuf);

impl Certificates {
    fn make(directory: &Path) -> Certificates {
        std::fs::create_dir_all(directory).unwrap();
        let script = r#"
        new="-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
        openssl req -x509 $new -keyout ca.key -out ca.pem -days 2 -subj /CN=authority
        for name in server client; do
            openssl req $new -keyout $name.key -out $name.csr -subj /CN=$name
            echo subjectAltName=IP:127.0.0.1,DNS:localhost >names
            openssl x509 -req -in $name.csr -CA ca.pem -CAkey ca.key -out $name.pem -days 2 -extfile names
        done"#;
        let made = Command::new("sh").args(["-ec", script]).current_dir(directory).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Certificates(directory.to_owned())
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

/// Receives through TLS; wants a client's certificate if there is an authority for that.
struct Collector {
    process: Child,
    received: PathBuf,
}

const RECEIVE: &str = r#"
import socket, ssl, sys
port, path, cert, key, clients = sys.argv[1:]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(cert, key)
if clients:
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(clients)
out = open(path, "ab", 0)
s = socket.create_server(("127.0.0.1", int(port)))
open(path + ".ready", "w")
while True:
    plain, _ = s.accept()
    try:
        with context.wrap_socket(plain, server_side=True) as c:
            while data := c.recv(65536):
                out.write(data)
    except (ssl.SSLError, OSError):
        pass
"#;

impl Collector {
    fn start(world: &World, certificates: &Certificates, port: u16, clients: &str) -> Collector {
        let received = world.directory().join(format!("tls-{port}"));
        let ready = PathBuf::from(format!("{}.ready", received.display()));
        let _ = std::fs::remove_file(&ready);
        let mut command = world.host().command("python3");
        command.args(["-c", RECEIVE, &port.to_string()]).arg(&received);
        command.args([certificates.file("server.pem"), certificates.file("server.key"), clients.to_owned()]);
        let process = command.spawn().unwrap();
        eventually("the collector to listen", || ready.exists().then_some(()));
        Collector { process, received }
    }

    fn until(&self, text: &str) -> String {
        eventually(&format!("{text:?} at the collector"), || {
            let received = std::fs::read(&self.received).ok()?;
            let received = String::from_utf8_lossy(&received).into_owned();
            received.contains(text).then_some(received)
        })
    }

    fn received(&self) -> String {
        std::fs::read_to_string(&self.received).unwrap()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn options(driver: &str, given: &[(&str, &str)]) -> Vec<String> {
    let mut words = vec!["--log-driver".to_owned(), driver.to_owned()];
    words.extend(given.iter().flat_map(|(key, value)| ["--log-opt".to_owned(), format!("{key}={value}")]));
    words
}

fn words<'a>(head: &[&'a str], options: &'a [String], tail: &[&'a str]) -> Vec<&'a str> {
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    [head, &options, tail].concat()
}

#[test]
fn a_syslog_is_believed_that_can_prove_its_name() {
    let world = World::start();
    let certificates = Certificates::make(&world.directory().join("pki"));
    let collector = Collector::start(&world, &certificates, 6514, "");
    let authority = certificates.file("ca.pem");
    let address = ("syslog-address", "tcp+tls://127.0.0.1:6514");
    let by_name = ("syslog-address", "tcp+tls://localhost:6514");
    let trusted = ("syslog-tls-ca-cert", authority.as_str());
    let counted = ("syslog-format", "rfc5424");
    let skip = ("syslog-tls-skip-verify", "true");
    let good: [&[(&str, &str)]; 4] =
        [&[address, trusted], &[by_name, trusted], &[address, skip], &[address, trusted, counted]];
    for (number, given) in good.into_iter().enumerate() {
        let options = options("syslog", given);
        for (kind, client) in world.clients().into_iter().enumerate() {
            let text = format!("line-{number}-{kind}");
            let said = client.run(&words(&["run", "--rm"], &options, &[IMAGE, "echo", &text])).ok();
            assert_eq!(said, text);
            collector.until(&text);
        }
    }
    let received = collector.received();
    let last = received.lines().last().unwrap();
    let (length, message) = last.split_once(' ').unwrap();
    assert_eq!(length.parse::<usize>().unwrap(), message.len() + 1, "{last}");

    let unknown = "failed to initialize logging driver: tls: failed to verify certificate: x509: certificate signed by unknown authority";
    let missing = certificates.file("none.pem");
    let unread = format!("could not read CA certificate {missing:?}: open {missing}: no such file");
    let own = certificates.file("client.pem");
    // Clients take a file that is missing for the container's program.
    let bad = [
        (&[address][..], 125, unknown),
        (&[address, ("syslog-tls-ca-cert", &own)], 125, unknown),
        (&[address, ("syslog-tls-ca-cert", &missing)], 127, &unread),
        (&[address, ("syslog-tls-cert", &missing)], 127, "Could not load X509 key pair: open "),
    ];
    for (given, code, why) in bad {
        let options = options("syslog", given);
        for client in world.clients() {
            client.run(&words(&["run", "--rm"], &options, &[IMAGE, "true"])).code(code).says(why);
        }
    }
}

#[test]
fn a_collector_may_want_to_know_who_we_are() {
    let world = World::start();
    let certificates = Certificates::make(&world.directory().join("pki"));
    let collector = Collector::start(&world, &certificates, 6515, &certificates.file("ca.pem"));
    let (authority, certificate, key) =
        (certificates.file("ca.pem"), certificates.file("client.pem"), certificates.file("client.key"));
    let address = ("syslog-address", "tcp+tls://127.0.0.1:6515");
    let anonymous = [address, ("syslog-tls-ca-cert", authority.as_str())];
    let pair = [("syslog-tls-cert", certificate.as_str()), ("syslog-tls-key", key.as_str())];
    let known = options("syslog", &[&anonymous[..], &pair].concat());
    world.wharf(&words(&["run", "--rm"], &known, &[IMAGE, "echo", "it is me"])).ok();
    collector.until("it is me");

    // That the server wants one is found out after the handshake: the engine's log says so.
    let options = options("syslog", &anonymous);
    let script = "for i in 1 2 3 4 5 6 7 8; do echo $i; sleep 0.2; done; seq 100000";
    world.wharf(&words(&["run", "-d", "--name", "stranger"], &options, &[IMAGE, "sh", "-c", script])).ok();
    world.until_status("stranger", "exited");
    eventually("a warning", || world.engine_output().contains("tls: certificate required").then_some(()));
    assert!(!collector.received().contains("stranger"));
    // A wrong key is found out before anything is sent.
    let server = certificates.file("server.key");
    let wrong = [address, ("syslog-tls-cert", certificate.as_str()), ("syslog-tls-key", server.as_str())];
    let wrong = self::options("syslog", &wrong);
    world
        .docker(&words(&["run", "--rm"], &wrong, &[IMAGE, "true"]))
        .code(125)
        .says("Could not load X509 key pair: tls: private key does not match public key");
}

/// Whether somebody speaks TLS with this address.
fn speaks(address: &str) -> bool {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let mut lines = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    lines.any(|line| {
        let line = String::from_utf8_lossy(&line).into_owned();
        line.starts_with("wharf-tls") && line.contains(address)
    })
}

#[test]
fn a_collector_that_comes_back_gets_what_waited_for_it() {
    let mut world = World::start();
    let certificates = Certificates::make(&world.directory().join("pki"));
    let first = Collector::start(&world, &certificates, 6516, "");
    let authority = certificates.file("ca.pem");
    let options = options(
        "syslog",
        &[("syslog-address", "tcp+tls://127.0.0.1:6516"), ("syslog-tls-ca-cert", &authority)],
    );
    let script = "read go; echo before; read go; seq 1000; echo after";
    world.wharf(&words(&["create", "--name", "patient", "-i"], &options, &[IMAGE, "sh", "-c", script])).ok();
    let mut running = world.session(&["start", "-ai", "patient"]);
    running.send("go\n");
    first.until("before");
    let path = first.received.clone();
    drop(first);
    // What is written before the end of the connection is seen may be on the way, as it may without TLS.
    eventually("the connection to end", || (!speaks("127.0.0.1:6516")).then_some(()));
    // The engine is not needed for any of this.
    world.kill_engine();
    running.send("go\n");
    running.read_until("after");
    let second = Collector::start(&world, &certificates, 6516, "");
    let received = second.until("after");
    assert_eq!(path, second.received);
    let numbers: Vec<&str> = received
        .lines()
        .filter_map(|line| Some(line.rsplit_once("]: ")?.1))
        .filter(|text| text.parse::<u32>().is_ok())
        .collect();
    assert_eq!(numbers.len(), 1000, "{} of the lines arrived", numbers.len());
    running.end_input();
    world.start_engine();
    world.until_status("patient", "exited");
}

#[test]
fn fluentd_is_held_against_the_systems_authorities() {
    let mut world = World::start();
    let certificates = Certificates::make(&world.directory().join("pki"));
    let collector = Collector::start(&world, &certificates, 6517, "");
    let options = options("fluentd", &[("fluentd-address", "tls://127.0.0.1:6517"), ("tag", "t.{{.Name}}")]);
    let run = words(&["run", "--rm", "--name", "events"], &options, &[IMAGE, "echo", "an event"]);
    world.docker(&run).code(125).says("x509: certificate signed by unknown authority");
    world.stop_engine();
    world.set_variable("SSL_CERT_FILE", &certificates.file("ca.pem"));
    world.start_engine();
    world.docker(&run).ok();
    let received = collector.until("an event");
    assert!(received.contains("t.events") && received.contains("container_id"), "{received}");
}
