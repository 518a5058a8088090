//! The same words to a real Docker and to Wharf: the same output, errors and exit codes.
//!
//! Runs where `WHARF_PEER` holds a command that runs its arguments beside a real Docker 28, and says so where it does
//! not. The scripts in `differential/` hold one shell line per case; what a case leaves is there for the next one.
//! `docker` is the stock client on both sides, or our own where a test says so, and `api METHOD PATH [BODY]` asks the
//! interface itself. What differs by nature (ids, times, hardware addresses, versions) is blanked before the answers
//! are compared; a case whose answer differs in other ways by nature (directories, the order of things that have none)
//! has to be written so that it does not show.

use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use blackbox::{Output, Session, World, busybox_image};
use regex_lite::Regex;

/// What every line may use. `keys` tells the shape of a JSON value.
const PRELUDE: &str = r#"
api() {
  method=$1 path=$2
  shift 2
  if [ $# -gt 0 ]; then set -- -H 'Content-Type: application/json' -d "$1"; fi
  curl -s -m 20 -w '\n%{http_code} %{content_type}\n' --unix-socket "$SOCKET" -X "$method" "$@" "http://localhost$path"
}
keys() { jq -c 'path(..) | map(if type == "number" then 0 else . end) | join(".")' | sort -u; }
head_of() {
  curl -s -m 20 -D - -o /dev/null --unix-socket "$SOCKET" -X "$1" "http://localhost$2" |
    tr -d '\r' | grep -v -i -e ^date -e ^builder-version | sort
}
# `ask [VERSION,...] METHOD PATH [BODY [HEADER...]]`: the status, the headers that say something, and the body.
ask() {
  case $1 in
    [0-9]*) for version in ${1//,/ }; do ask "$2" "/v$version$3" "${@:4}"; done; return ;;
  esac
  local method=$1 path=$2 body=() header=()
  shift 2
  if [ $# -gt 0 ]; then body=(--data-binary "$1") header=(-H 'Content-Type: application/json'); shift; fi
  for one; do header+=(-H "$one"); done
  if [ "$method" = HEAD ]; then body=(-I); fi
  curl -s -m 20 -D head -o body --unix-socket "$SOCKET" -X "$method" "${header[@]}" "${body[@]}" "http://localhost$path" ||
    echo "curl: $?"
  if [ "$method" = HEAD ]; then rm -f body; fi
  tr -d '\r' < head | grep -v -i -e ^date: -e ^builder- -e ^content-length: -e ^transfer-encoding: -e ^connection: | sort
  ${SHOW:-cat} body 2>/dev/null
  rm -f head body
}
# As `ask`; of a JSON body only the shape.
shape() { SHOW=shape_of ask "$@"; }
# Left out is what tells how an engine is built: where layers lie, counters of this or that kernel, its parts.
shape_of() {
  jq -c -S 'walk(
    if type == "number" then 0 elif type == "string" then "" elif type == "array" then unique
    elif type == "object" then del(.GraphDriver, .stats, .io_service_bytes_recursive, .io_serviced_recursive, .Containerd,
      .Runtimes, .CDISpecDirs, .KernelMemory, .KernelMemoryTCP, .LiveRestoreEnabled, .Expected)
    else . end)' "$1" || cat "$1"
}
"#;

/// Empties the peer: it has lived before this test.
const CLEAN: &str = r#"
docker ps -aq | xargs -r docker rm -fv
docker volume prune -af
docker network ls -q --filter type=custom | xargs -r docker network rm
docker images --format '{{.Repository}}:{{.Tag}}' --filter dangling=false | xargs -r docker rmi -f
docker image prune -af
"#;

/// The peer is one for all tests.
static PEER: Mutex<()> = Mutex::new(());

#[test]
fn containers() {
    compare(include_str!("differential/containers.sh"));
}

#[test]
fn descriptions() {
    compare(include_str!("differential/descriptions.sh"));
}

#[test]
fn options() {
    compare(include_str!("differential/options.sh"));
}

#[test]
fn networks() {
    compare(include_str!("differential/networks.sh"));
}

#[test]
fn streams_and_execs() {
    compare(include_str!("differential/streams.sh"));
}

#[test]
fn images() {
    compare(include_str!("differential/images.sh"));
}

#[test]
fn volumes_limits_and_events() {
    compare(include_str!("differential/others.sh"));
}

#[test]
fn requests() {
    compare(include_str!("differential/requests.sh"));
}

#[test]
fn the_interface() {
    compare(include_str!("differential/interface.sh"));
}

/// Runs every line of a script on both sides; all differences are told together.
fn compare(script: &str) {
    let Ok(prefix) = std::env::var("WHARF_PEER") else {
        eprintln!("not compared: WHARF_PEER is not set");
        return;
    };
    let _turn = PEER.lock().unwrap_or_else(PoisonError::into_inner);
    let peer = Peer::new(&prefix);
    let world = World::start();
    world.docker(&["rmi", "localhost/hello"]).ok();
    let blank = Blank::new();
    let lines = script.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut differences = Vec::new();
    let mut cases = 0;
    for line in lines {
        cases += 1;
        let theirs = blank.all(&peer.run(line));
        let ours = blank.all(&here(&world, line));
        if ours != theirs {
            differences.push(format!("{line}\n--- Docker\n{theirs}\n--- Wharf\n{ours}"));
        }
    }
    assert!(
        differences.is_empty(),
        "{} of {cases} differ:\n\n{}",
        differences.len(),
        differences.join("\n\n")
    );
}

/// One line on our side.
fn here(world: &World, line: &str) -> Output {
    let mut command = Command::new("bash");
    command.args(["-c", &format!("{PRELUDE}\n{line}")]).env("SOCKET", world.socket());
    for (key, value) in world.client("docker", &[]).get_envs() {
        match value {
            Some(value) => command.env(key, value),
            None => command.env_remove(key),
        };
    }
    let scratch = world.directory().join("scratch");
    std::fs::create_dir_all(&scratch).expect("the world's directory is writable");
    finish(command.current_dir(scratch))
}

/// A real Docker.
struct Peer {
    /// Runs its arguments beside it.
    prefix: Vec<String>,
}

impl Peer {
    fn new(prefix: &str) -> Peer {
        let peer = Peer { prefix: prefix.split_whitespace().map(str::to_owned).collect() };
        peer.run(CLEAN);
        peer.load(&busybox_image("busybox"));
        peer
    }

    fn command(&self) -> Command {
        let (program, rest) = self.prefix.split_first().expect("WHARF_PEER is not empty");
        let mut command = Command::new(program);
        command.args(rest);
        command
    }

    fn run(&self, line: &str) -> Output {
        let place = "SOCKET=/run/docker.sock; mkdir -p /tmp/differential; cd /tmp/differential";
        let mut command = self.command();
        finish(command.args(["bash", "-c", &format!("{place}\n{PRELUDE}\n{line}")]))
    }

    fn load(&self, archive: &[u8]) {
        let mut child = self
            .command()
            .args(["docker", "load", "-q"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("WHARF_PEER names a program");
        let mut input = child.stdin.take().expect("it was asked for");
        std::io::Write::write_all(&mut input, archive).expect("the peer reads its input");
        drop(input);
        assert!(child.wait().expect("a child can be waited for").success());
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.run(&format!("{CLEAN}\nrm -rf /tmp/differential"));
    }
}

/// With nothing on standard input.
fn finish(command: &mut Command) -> Output {
    let mut session = Session::start(std::mem::replace(command, Command::new("true")));
    session.end_input();
    session.finish()
}

/// Takes out what differs from one run to the next.
struct Blank {
    rules: Vec<(Regex, &'static str)>,
}

impl Blank {
    fn new() -> Blank {
        let rule = |pattern, name| (Regex::new(pattern).expect("a constant pattern"), name);
        Blank {
            rules: vec![
                rule("[0-9a-f]{12,}", "<id>"),
                rule(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?( ?[+-]\d\d:?\d\d|Z)?( UTC)?", "<time>"),
                rule(r"\b[A-Z][a-z]{2} [ 0-9]\d \d\d:\d\d\b", "<time>"),
                rule("([0-9a-f]{2}:){5}[0-9a-f]{2}", "<mac>"),
                // What Go and we call the types that a document should have had.
                rule(r"invalid JSON: (json|invalid type)[^\n]*", "invalid JSON: <types>"),
                rule(r"28\.\d+\.\d+(\+\w+)?", "<version>"),
                // Names that containers are given when nobody names them.
                rule(r"\b[a-z]+_[a-z]+\d? \(<id>\)", "<name> (<id>)"),
            ],
        }
    }

    fn all(&self, output: &Output) -> String {
        let text = format!("exit code {}\n{}\n{}", output.code, output.stdout, output.stderr);
        self.rules.iter().fold(text, |text, (rule, name)| rule.replace_all(&text, *name).into_owned())
    }
}
