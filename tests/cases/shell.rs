//! Lines of a shell to an engine: to ours, or to a real Docker where there is one.
//!
//! Where `WHARF_PEER` holds a command that runs its arguments beside a real Docker 28 (for example `sudo nsenter …`),
//! it is one for all tests, and they take turns. `docker` in a line is a client; `ask METHOD PATH [BODY]` asks the
//! interface itself. What differs from one run to the next (ids, times, hardware addresses, versions) is blanked.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use blackbox::{Output, Session, World, busybox_image, surround};
use regex_lite::Regex;

/// What every line may use. `keys` tells the shape of a JSON value.
const PRELUDE: &str = r#"
api() {
  method=$1 path=$2
  shift 2
  if [ $# -gt 0 ]; then set -- -H 'Content-Type: application/json' -d "$1"; fi
  curl -s -m 100 -w '\n%{http_code} %{content_type}\n' --unix-socket "$SOCKET" -X "$method" "$@" "http://localhost$path"
}
keys() { jq -c 'path(..) | map(if type == "number" then 0 else . end) | join(".")' | sort -u; }
head_of() {
  curl -s -m 100 -D - -o /dev/null --unix-socket "$SOCKET" -X "$1" "http://localhost$2" |
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
  curl -s -m 100 -D head -o body --unix-socket "$SOCKET" -X "$method" "${header[@]}" "${body[@]}" "http://localhost$path" ||
    echo "curl: $?"
  if [ "$method" = HEAD ]; then rm -f body; fi
  tr -d '\r' < head | grep -v -i -e ^date: -e ^builder- -e ^content-length: -e ^transfer-encoding: -e ^connection: | sort
  ${SHOW:-cat} body 2>/dev/null
  rm -f head body
}
# `found PATH FILTERS [all]`: the names in a list, or why there is none.
found() {
  curl -s -m 100 --unix-socket "$SOCKET" -G "http://localhost$1" --data-urlencode "filters=$2" --data-urlencode "all=$3" |
    jq -c 'if type == "array" then map(.Names[]) | sort else . end'
}
# `pruned KIND FILTERS`: what a prune answers.
pruned() {
  curl -s -m 100 --unix-socket "$SOCKET" -X POST -w '%{http_code}\n' -G "http://localhost/$1/prune" --data-urlencode "filters=$2" |
    sed 's/"SpaceReclaimed":[0-9]*//'
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
docker volume ls -q | xargs -r docker volume rm
docker network ls -q --filter type=custom | xargs -r docker network rm
docker images --format '{{.Repository}}:{{.Tag}}' --filter dangling=false | xargs -r docker rmi -f
docker image prune -af
"#;

/// Runs one line on our side; `docker` in it is this client, the stock `docker` or `wharf` under its name.
pub(crate) fn here(world: &World, client: &str, line: &str) -> Output {
    let model = world.client(client, &[]);
    let mut command = world.host().command("bash");
    command.args(["-c", &format!("{PRELUDE}\n{line}")]).env("SOCKET", world.socket());
    surround(&mut command, &model);
    if client != "docker" {
        let names = world.directory().join("names");
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", names.display()));
        name_docker(&names, Path::new(model.get_program()));
    }
    command.process_group(0);
    let scratch = world.directory().join("scratch");
    fs::create_dir_all(&scratch).expect("the world's directory is writable");
    finish(command.current_dir(scratch))
}

/// A directory in which a program has the name `docker`.
fn name_docker(directory: &Path, program: &Path) {
    if !directory.exists() {
        fs::create_dir(directory).expect("the world's directory is writable");
        std::os::unix::fs::symlink(program, directory.join("docker")).expect("the directory was just made");
    }
}

/// A real Docker, emptied, with the image `busybox`; emptied again when it goes.
pub(crate) struct Peer {
    /// Runs its arguments beside it.
    prefix: Vec<String>,
    _turn: MutexGuard<'static, ()>,
}

impl Peer {
    /// None where there is no real Docker.
    pub(crate) fn find() -> Option<Peer> {
        static ONE: Mutex<()> = Mutex::new(());
        let prefix = std::env::var("WHARF_PEER").ok()?;
        let prefix = prefix.split_whitespace().map(str::to_owned).collect();
        let peer = Peer { prefix, _turn: ONE.lock().unwrap_or_else(PoisonError::into_inner) };
        peer.run(CLEAN);
        peer.load(&busybox_image("busybox"));
        Some(peer)
    }

    pub(crate) fn run(&self, line: &str) -> Output {
        let place = "SOCKET=/run/docker.sock; mkdir -p /tmp/differential; cd /tmp/differential";
        let mut command = self.command();
        finish(command.args(["bash", "-c", &format!("{place}\n{PRELUDE}\n{line}")]))
    }

    fn command(&self) -> Command {
        let (program, rest) = self.prefix.split_first().expect("WHARF_PEER is not empty");
        let mut command = Command::new(program);
        command.args(rest);
        command
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
pub(crate) struct Blank {
    rules: Vec<(Regex, &'static str)>,
}

impl Blank {
    pub(crate) fn new() -> Blank {
        let rule = |pattern, name| (Regex::new(pattern).expect("a constant pattern"), name);
        Blank {
            rules: vec![
                rule("[0-9a-f]{12,}", "<id>"),
                rule(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?( ?[+-]\d\d:?\d\d|Z)?( UTC)?", "<time>"),
                rule(r"\b[A-Z][a-z]{2} [ 0-9]\d \d\d:\d\d\b", "<time>"),
                rule(r#""Pid":\d{2,}"#, r#""Pid":<pid>"#),
                rule("([0-9a-f]{2}:){5}[0-9a-f]{2}", "<mac>"),
                // What Go and we call the types that a document should have had.
                rule(r"invalid JSON: (json|invalid type)[^\n]*", "invalid JSON: <types>"),
                rule(r"28\.\d+\.\d+(\+\w+)?", "<version>"),
                // Names that containers are given when nobody names them.
                rule(r"\b[a-z]+_[a-z]+\d? \(<id>\)", "<name> (<id>)"),
            ],
        }
    }

    pub(crate) fn all(&self, output: &Output) -> String {
        self.text(&format!("exit code {}\n{}\n{}", output.code, output.stdout, output.stderr))
    }

    pub(crate) fn text(&self, text: &str) -> String {
        let all = self.rules.iter();
        all.fold(text.to_owned(), |text, (rule, name)| rule.replace_all(&text, *name).into_owned())
    }
}
