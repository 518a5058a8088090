//! `wharf` and an engine that is reached by TLS: told by flags, by variables or by a context, with streams that go both
//! ways, and refusals in the words of the stock client.

use std::process::Command;

use blackbox::{IMAGE, Output, Session, Settings, World, binary, busybox_image};
use regex_lite::Regex;

use crate::access::Certificates;

const ADDRESS: &str = "tcp://127.0.0.1:2376";
/// The engine is there too, but its certificate does not say so.
const UNNAMED: &str = "tcp://127.0.0.2:2376";

/// An engine that lets in who has a certificate of `ours`.
fn secured(ours: &Certificates) -> World {
    let mut flags = ["-H", ADDRESS, "-H", UNNAMED, "--tlsverify"].map(str::to_owned).to_vec();
    flags.extend(ours.flags("server"));
    let world = World::empty(Settings { flags, ..Settings::default() });
    world.load(&busybox_image(IMAGE));
    world
}

/// A client on the engine's host that knows nothing but what these words and variables say.
fn client(world: &World, program: &str, words: &[String], variables: &[(&str, String)]) -> Command {
    let program = if program == "wharf" { binary("wharf").display().to_string() } else { program.to_owned() };
    let mut command = world.host().command(&program);
    for name in ["DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"] {
        command.env_remove(name);
    }
    command.args(words).envs(variables.iter().map(|(name, value)| (*name, value)));
    command.env("DOCKER_CONFIG", world.directory().join("config")).current_dir(world.directory());
    command
}

fn finish(command: Command) -> Output {
    let mut session = Session::start(command);
    session.end_input();
    session.finish()
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

/// `host=…,ca=…,cert=…,key=…`, as `context create --docker` takes it.
fn endpoint(address: &str, certificates: &Certificates, more: &str) -> String {
    let file = |name: &str| certificates.0.join(name).display().to_string();
    format!("host={address},cert={},key={}{more}", file("client.pem"), file("client-key.pem"))
}

#[test]
fn wharf_reaches_an_engine_by_tls_however_it_is_told() {
    let ours = Certificates::new("wharf-tls");
    let world = secured(&ours);
    let ca = format!(",ca={}", ours.0.join("ca.pem").display());
    for (name, address, more) in
        [("far", ADDRESS, ca.as_str()), ("trusted", UNNAMED, ",skip-tls-verify=true")]
    {
        let made = [words(&format!("context create {name} --docker")), vec![endpoint(address, &ours, more)]];
        finish(client(&world, "wharf", &made.concat(), &[])).ok();
    }
    // As `DOCKER_CERT_PATH` wants them to be called.
    for (kept, wanted) in [("client.pem", "cert.pem"), ("client-key.pem", "key.pem")] {
        std::fs::copy(ours.0.join(kept), ours.0.join(wanted)).expect("the directory is ours");
    }
    let directory = ours.0.display().to_string();
    let by_variables = |verify: &str, address: &str| {
        vec![
            (verify_name(verify), "1".to_owned()),
            ("DOCKER_CERT_PATH", directory.clone()),
            ("DOCKER_HOST", address.to_owned()),
        ]
    };
    let by_flags = [words(&format!("-H {ADDRESS} --tlsverify")), ours.flags("client")].concat();
    let unverified = [words(&format!("-H {UNNAMED} --tls")), ours.flags("client")].concat();
    let ways = [
        ("flags", by_flags, Vec::new()),
        ("flags without verification", unverified, Vec::new()),
        ("variables", Vec::new(), by_variables("verify", ADDRESS)),
        ("variables without verification", Vec::new(), by_variables("", UNNAMED)),
        ("a context", words("-c far"), Vec::new()),
        ("a context without verification", words("-c trusted"), Vec::new()),
    ];
    for (way, first, variables) in ways {
        eprintln!("by {way}");
        let start = |line: &[&str]| {
            let line = [first.clone(), line.iter().map(|word| (*word).to_owned()).collect()].concat();
            Session::start(client(&world, "wharf", &line, &variables))
        };
        streams_go_both_ways(&start);
    }
}

fn verify_name(verify: &str) -> &'static str {
    if verify.is_empty() { "DOCKER_TLS" } else { "DOCKER_TLS_VERIFY" }
}

/// `run`, `logs -f`, `attach` and `exec`, each with a stream that outlives its first bytes.
fn streams_go_both_ways(start: &dyn Fn(&[&str]) -> Session) {
    let mut run = start(&["run", "--rm", "-i", IMAGE, "sh", "-c", "cat; echo end; echo aside >&2; exit 5"]);
    run.send("there and back\n").end_input();
    let output = run.finish();
    assert_eq!(
        (output.code, output.stdout.as_str(), output.stderr.as_str()),
        (5, "there and back\nend\n", "aside\n"),
    );
    let talk = "echo ready; while read line; do echo \"heard $line\"; done";
    start(&["run", "-d", "-i", "--name", "talker", IMAGE, "sh", "-c", talk]).finish().ok();
    let mut logs = start(&["logs", "-f", "talker"]);
    logs.read_until("ready\n");
    let mut attached = start(&["attach", "talker"]);
    attached.send("one\n");
    attached.read_until("heard one\n");
    logs.read_until("heard one\n");
    // More than any buffer on the way holds, and back again.
    let much = "0123456789abcde\n".repeat(1 << 16);
    let mut exec = start(&["exec", "-i", "talker", "sh", "-c", "cat; exit 7"]);
    let mut input = exec.take_input();
    let sent = much.clone();
    let writer = std::thread::spawn(move || std::io::Write::write_all(&mut input, sent.as_bytes()));
    let output = exec.finish();
    writer.join().expect("the writer does not panic").expect("cat reads all");
    assert_eq!((output.code, output.stdout == much), (7, true), "{}", output.stderr);
    assert_eq!(start(&["exec", "talker", "echo", "no input"]).finish().ok(), "no input");
    start(&["rm", "-f", "talker"]).finish().ok();
    assert_eq!(attached.finish().code, 137);
    logs.finish().ok();
}

#[test]
fn who_is_not_let_in_is_told_so_as_by_the_stock_client() {
    let ours = Certificates::new("wharf-refused");
    let theirs = Certificates::new("wharf-foreign");
    let world = secured(&ours);
    let (mine, foreign) = (ours.flags("client"), theirs.flags("client"));
    let at = |address: &str, flags: &[&[String]]| [words(&format!("-H {address}")), flags.concat()].concat();
    let (verify, tls) = (words("--tlsverify"), words("--tls"));
    let no_pair = words(&format!("--tlscert={0}/none.pem --tlskey={0}/none.pem", ours.0.display()));
    let version = Regex::new(r"/v1\.\d+").expect("a constant pattern");
    let cases = [
        ("no certificate", at(ADDRESS, &[&tls, &mine[..1]]), "certificate required"),
        ("another authority's", at(ADDRESS, &[&verify, &mine[..1], &foreign[1..]]), "remote error: tls: "),
        ("an engine of another authority", at(ADDRESS, &[&verify, &foreign[..1], &mine[1..]]), "x509: "),
        ("an engine of another name", at(UNNAMED, &[&verify, &mine]), "not 127.0.0.2"),
        ("no TLS", at(ADDRESS, &[]), "Client sent an HTTP request to an HTTPS server."),
        ("no such files", at(ADDRESS, &[&verify, &mine[..1], &no_pair]), "no such file or directory"),
    ];
    for (what, flags, reason) in cases {
        let ask =
            |program: &str| finish(client(&world, program, &[flags.clone(), words("ps")].concat(), &[]));
        let said = ask("wharf").code(1).says(reason).stderr;
        // Each speaks the newest version that it knows, and ours does not know which authority comes closest.
        let (said, theirs) = (version.replace(&said, "/v"), ask("docker").stderr);
        let theirs = version.replace(&theirs, "/v");
        assert_eq!(said.split(" (p").next(), theirs.split(" (p").next(), "{what}");
        // What makes one request with an upgrade does not get further, either.
        let exec = [flags.clone(), words("exec -i nobody cat")].concat();
        assert_ne!(finish(client(&world, "wharf", &exec, &[])).code, 0, "{what}");
    }
}
