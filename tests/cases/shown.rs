//! Every endpoint and every flag, shown: what a real Docker said is what Wharf says.
//!
//! The pages in `shown/` are transcripts: prose, and indented the lines of a shell with what they print, recorded from
//! a real Docker. They are replayed against Wharf twice, once with the stock client and once with `wharf` under the
//! name of docker; each page in a world of its own, in which one line finds what the lines above it left. Nothing but
//! Wharf is needed for that. Where there is a real Docker (`WHARF_PEER`, see [`crate::shell`]), the pages are compared
//! with it as well, and with `WHARF_RECORD=1` written anew from what it says.
//!
//! `routes.list` and `flags.list` name all there is to show. [`complete`] reads from the pages what they use, so that
//! nobody has to claim it: a route or a flag that no page shows fails the tests, and so does one that no list knows.
//!
//! A page that begins with `<!-- Wharf alone -->` shows what is refused here and not there; it is never recorded from
//! a peer. One with `<!-- cgroup v1 -->` holds only on such hosts as the recording comes from: which limits there are,
//! warnings about them and the shape of statistics differ on v2, in Docker too.

mod complete;
mod transcript;
mod uses;

use blackbox::{Output, World, skip};

use crate::shell::{Blank, Peer, here};
use transcript::{Case, Page};

/// What the pages may use beside [`crate::shell`]'s words.
const WORDS: &str = r#"
exec 2>&1
# Of the headers those that say something.
ask() {
  case $1 in
    [0-9]*) for version in ${1//,/ }; do ask "$2" "/v$version$3" "${@:4}"; done; return ;;
  esac
  local method=$1 path=$2 body=()
  shift 2
  if [ $# -gt 0 ]; then body=(--data-binary "$1" -H "Content-Type: ${TYPE:-application/json}"); fi
  if [ "$method" = HEAD ]; then body=(-I); fi
  curl -s -m 100 -D head -o body --unix-socket "$SOCKET" -X "$method" "${body[@]}" "http://localhost$path" || echo "curl: $?"
  if [ "$method" = HEAD ]; then rm -f body; fi
  tr -d '\r' < head | sed '/^$/d' | grep -v -i -E '^(date|builder-version|content-length|transfer-encoding|connection|api-version|docker-experimental|ostype|server|cache-control|pragma):' | sort
  ${SHOW:-cat} body 2>/dev/null
  rm -f head body
}
# What a stream says, without its frames.
plain() { LC_ALL=C tr -cd '\12\40-\176' < "$1"; }
# `websocket VERSION PATH`: what comes by WebSocket. curl shows what it got last when its input ends.
websocket() {
  local key='Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=='
  (printf "GET /v$1%s HTTP/1.1\r\nHost: x\r\nOrigin: http://x\r\n$key\r\n\r\n" "$2"; sleep 3) |
    timeout 4 curl -s -N --unix-socket "$SOCKET" -T - telnet://localhost | LC_ALL=C tr -cd '\12\40-\176' | sed '/^$/d'
}
# `made FORMAT FLAG...`: what a container that is created with these flags remembers.
made() {
  local format=$1 id
  shift
  id=$(docker create "$@" busybox true) || { local code=$?; echo "$id"; return $code; }
  docker inspect -f "$format" "${id##*$'\n'}"
  docker rm -f "${id##*$'\n'}" >/dev/null
}
# `terminal LINE`: runs a line on a terminal.
terminal() { script -qec "$1" /dev/null | tr -d '\r\0' | sed 's/\^@//g'; }
# `until_is TEXT COMMAND...`: asks until it prints this text.
until_is() {
  local wanted=$1 said
  shift
  for _ in $(seq 1000); do
    said=$("$@")
    if [ "$said" = "$wanted" ]; then echo "$said"; return; fi
    sleep 0.1
  done
  echo "waited in vain for $wanted: $said"
  return 1
}
"#;

macro_rules! pages {
    ($($name:ident),* $(,)?) => {
        const PAGES: &[(&str, &str)] =
            &[$((stringify!($name), include_str!(concat!("shown/", stringify!($name), ".md")))),*];
        $(
            #[test]
            fn $name() {
                replay(stringify!($name));
            }
        )*
    };
}

pages! {
    addresses,
    client,
    commands,
    commits,
    containers,
    contexts,
    copies,
    create,
    events,
    execs,
    files,
    images,
    limits,
    listing,
    mistakes,
    networks,
    refused,
    run,
    runs,
    streams,
    system,
    templates,
    update,
    volumes,
}

/// One line on one side.
trait Side {
    fn run(&self, line: &str) -> Output;
}

impl Side for Peer {
    fn run(&self, line: &str) -> Output {
        Peer::run(self, line)
    }
}

/// A world, and the client that is `docker` in it.
struct Here<'a>(&'a World, &'static str);

impl Side for Here<'_> {
    fn run(&self, line: &str) -> Output {
        here(self.0, self.1, line)
    }
}

/// Compares a page with all that can say it; where asked for, writes it anew first.
fn replay(name: &str) {
    let text = PAGES.iter().find(|(page, _)| *page == name).expect("the test was made from the list").1;
    let mut page = Page::parse(text);
    if page.says("cgroup v1") && std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        skip(&format!("{name} was recorded on cgroup v1"));
        return;
    }
    let alone = page.says("Wharf alone");
    let peer = if alone { None } else { Peer::find() };
    let mut differences = Vec::new();
    match (&peer, std::env::var_os("WHARF_RECORD")) {
        (Some(peer), Some(_)) => record(name, &mut page, peer),
        (None, Some(_)) if alone => {
            let world = World::start();
            world.docker(&["rmi", "localhost/hello"]).ok();
            record(name, &mut page, &Here(&world, "docker"));
        }
        (Some(peer), None) => differences.extend(differ("a real Docker", &page, peer)),
        (None, _) => {}
    }
    drop(peer);
    for client in ["docker", "wharf"] {
        let world = World::start();
        world.docker(&["rmi", "localhost/hello"]).ok();
        differences.extend(differ(client, &page, &Here(&world, client)));
    }
    assert!(differences.is_empty(), "{name}: {} differ:\n\n{}", differences.len(), differences.join("\n\n"));
}

/// What a side says now where the page says something else.
fn differ(who: &str, page: &Page, side: &dyn Side) -> Vec<String> {
    let mut differences = Vec::new();
    for case in page.cases() {
        let said = say(side, &case.line);
        if said != case.answer {
            let Case { line, answer } = case;
            differences.push(format!("$ {line}\n--- the page\n{answer}\n--- {who}\n{said}"));
        }
    }
    differences
}

/// Writes a page with a side's answers.
fn record(name: &str, page: &mut Page, side: &dyn Side) {
    for case in page.cases_mut() {
        case.answer = say(side, &case.line);
    }
    let path = format!("{}/cases/shown/{name}.md", env!("CARGO_MANIFEST_DIR"));
    std::fs::write(&path, page.to_string()).unwrap_or_else(|error| panic!("{path}: {error}"));
}

/// What a line prints, and how it ends unless well.
fn say(side: &dyn Side, line: &str) -> String {
    let output = side.run(&format!("{WORDS}\n{line}"));
    let mut said = Blank::new().text(&output.stdout).trim_end().to_owned();
    if output.code != 0 {
        if !said.is_empty() {
            said.push('\n');
        }
        said.push_str(&format!("(exit {})", output.code));
    }
    said.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}
