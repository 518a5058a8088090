//! What the configuration file and the environment change: formats, headers, proxies, filters, credentials.

use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use serde_json::{Value, json};

use crate::engine::{Engine, Reply, Request, json, told};

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn answers(request: &Request) -> Reply {
    let path = request.target.split('?').next().unwrap_or_default();
    match path {
        "/_ping" => json(""),
        "/containers/json" => json(&format!(r#"[{{"Id":"{ID}","Names":["/web"],"Image":"web:1"}}]"#)),
        "/images/json" => json(&format!(r#"[{{"Id":"sha256:{ID}","RepoTags":["web:1"]}}]"#)),
        "/networks" => json(&format!(r#"[{{"Id":"{ID}","Name":"net","Driver":"bridge"}}]"#)),
        "/volumes" => json(r#"{"Volumes":[{"Name":"vol","Driver":"local"}]}"#),
        "/containers/web/stats" => json(r#"{"id":"0123","name":"/web"}"#),
        "/containers/create" => Reply::Json(201, r#"{"Id":"c1","Warnings":[]}"#.to_owned()),
        "/auth" => json(r#"{"Status":"Login Succeeded","IdentityToken":""}"#),
        _ => json("{\"status\":\"ok\"}"),
    }
}

fn configured(config: Value) -> Engine {
    let engine = Engine::start(answers);
    std::fs::create_dir(engine.home.join(".docker")).unwrap();
    std::fs::write(engine.home.join(".docker/config.json"), config.to_string()).unwrap();
    engine
}

fn with(mut command: Command, variables: &[(&str, &str)]) -> Output {
    command.envs(variables.iter().copied()).output().expect("the program runs")
}

#[test]
fn lists_take_their_format_from_the_configuration() {
    let engine = configured(json!({
        "psFormat": "c {{.Names}}", "imagesFormat": "i {{.Repository}}", "networksFormat": "n {{.Name}}",
        "volumesFormat": "v {{.Name}}", "statsFormat": "s {{.Name}}",
    }));
    let lists: [(&[&str], &str); 5] = [
        (&["ps"], "c web\n"),
        (&["images"], "i web\n"),
        (&["network", "ls"], "n net\n"),
        (&["volume", "ls"], "v vol\n"),
        (&["stats", "--no-stream", "web"], "s web\n"),
    ];
    for (line, expected) in lists {
        assert_eq!(told(&engine.run(line)), format!("exit code 0\n--- stdout\n{expected}"), "{line:?}");
        // Who says something himself is not asked twice.
        let own = engine.run(&[line, &["--format", "own"]].concat());
        assert_eq!(told(&own), "exit code 0\n--- stdout\nown\n", "{line:?}");
    }
    for (line, expected) in [(["ps", "-q"], "0123456789ab\n"), (["images", "-q"], "0123456789ab\n")] {
        assert_eq!(told(&engine.run(&line)), format!("exit code 0\n--- stdout\n{expected}"), "{line:?}");
    }
}

/// `X-…: …` of the last request.
fn own_headers(engine: &Engine) -> Vec<String> {
    let head = engine.seen().pop().expect("a request").head;
    head.lines().filter(|line| line.starts_with("X-")).map(str::to_owned).collect()
}

#[test]
fn requests_carry_the_headers_that_were_asked_for() {
    let engine =
        configured(json!({"HttpHeaders": {"X-One": "1", "X-Two": "a, b", "User-Agent": "somebody"}}));
    engine.run(&["ps"]);
    assert_eq!(own_headers(&engine), ["X-One: 1", "X-Two: a, b"]);
    assert!(engine.seen().pop().expect("a request").head.contains("User-Agent: Docker-Client/"));
    let address = format!("unix://{}", engine.home.join("sock").display());
    engine.run(&["-H", &address, "ps"]);
    assert_eq!(own_headers(&engine), ["X-One: 1", "X-Two: a, b"], "the address makes no difference");

    let ask = |headers: &str| with(engine.command(&["ps"]), &[("DOCKER_CUSTOM_HEADERS", headers)]);
    let sent: [(&str, &[&str]); 4] = [
        (r#"X-One=9,"X-Q=a,b", X-T = v "#, &["X-One: 9", "X-Q: a,b", "X-T:  v "]),
        ("User-Agent=me", &[]),
        ("X-Empty=", &["X-Empty: "]),
        ("X-A=1,X-B=2,x-a=3", &["X-B: 2", "x-a: 3"]),
    ];
    for (variable, expected) in sent {
        let output = ask(variable);
        assert!(output.status.success(), "{}", told(&output));
        let head = engine.seen().pop().expect("a request").head;
        let all: Vec<&str> = head.lines().filter(|line| line.to_lowercase().starts_with("x-")).collect();
        assert_eq!(all, expected, "{variable}: those of the configuration are replaced");
    }
    let asked = engine.lines().len();
    const HEAD: &str = "Failed to initialize: failed to";
    const FROM: &str = "custom headers from DOCKER_CUSTOM_HEADERS environment variable:";
    for (variable, expected) in [
        ("bad", format!("{HEAD} set {FROM} missing \"=\" in key=value pair: 'bad'\n")),
        ("=x", format!("{HEAD} set {FROM} value contains a key=value pair with an empty key: '=x'\n")),
        ("\"x", format!("{HEAD} parse {FROM} value must be formatted as comma-separated key=value pairs\n")),
        ("a b=1", "net/http: invalid header field name \"a b\"\n".to_owned()),
    ] {
        assert_eq!(told(&ask(variable)), format!("exit code 1\n--- stderr\n{expected}"), "{variable}");
    }
    assert_eq!(engine.lines().len(), asked, "none of them asks");
}

#[test]
fn containers_are_told_of_proxies() {
    let address = "tcp://127.0.0.1:1";
    let engine = configured(json!({"proxies": {
        "default": {"httpProxy": "http://p:1", "httpsProxy": "s", "noProxy": "n", "ftpProxy": "f", "allProxy": "a"},
        address: {"httpProxy": "http://elsewhere"},
    }}));
    let environment = |line: &[&str]| -> Vec<String> {
        let output = engine.run(line);
        assert!(output.status.success(), "{}", told(&output));
        let list = engine.seen().pop().expect("a request").json()["Env"].clone();
        let mut list: Vec<String> = serde_json::from_value(list).expect("a list");
        list.sort();
        list
    };
    let all = [
        "ALL_PROXY=a",
        "FTP_PROXY=f",
        "HTTPS_PROXY=s",
        "HTTP_PROXY=http://p:1",
        "NO_PROXY=n",
        "all_proxy=a",
        "ftp_proxy=f",
        "http_proxy=http://p:1",
        "https_proxy=s",
        "no_proxy=n",
    ];
    assert_eq!(environment(&["create", "web"]), all);
    // What the user says stands, also that there is to be none.
    let own = environment(&["create", "-e", "http_proxy=mine", "-e", "NO_PROXY", "-e", "A=b", "web"]);
    let mut expected = all.map(str::to_owned).to_vec();
    expected[4] = "NO_PROXY".to_owned();
    expected[7] = "http_proxy=mine".to_owned();
    expected.insert(0, "A=b".to_owned());
    assert_eq!(own, expected);
    // Nobody listens at the other engine; what it would be sent is read off a context that leads here.
    let mine = format!("unix://{}", engine.home.join("sock").display());
    let config = json!({"proxies": {"default": {"httpProxy": "d"}, mine: {"httpProxy": "here"}}});
    std::fs::write(engine.home.join(".docker/config.json"), config.to_string()).unwrap();
    assert_eq!(environment(&["create", "web"]), ["HTTP_PROXY=here", "http_proxy=here"]);
}

#[test]
fn prunes_are_filtered_by_the_configuration_too() {
    let engine = configured(json!({"pruneFilters": ["label!=keep", "label=a=b", "until=24h", "nonsense"]}));
    let filters = |line: &[&str]| -> Value {
        let output = engine.run(line);
        assert!(output.status.success(), "{}", told(&output));
        let target = engine.lines().pop().expect("a request");
        let encoded = target.split_once("filters=").expect("filters").1;
        serde_json::from_str(&decoded(encoded)).expect("JSON")
    };
    let all = json!({"label!": {"keep": true}, "label": {"a=b": true}, "until": {"24h": true}});
    for kind in ["container", "network"] {
        assert_eq!(filters(&[kind, "prune", "-f"]), all);
    }
    // The opposite on the command line counts more.
    let asked = filters(&["container", "prune", "-f", "--filter", "label=keep", "--filter", "label!=a=b"]);
    assert_eq!(asked, json!({"label": {"keep": true}, "label!": {"a=b": true}, "until": {"24h": true}}));
}

/// Of `%7B` and the like.
fn decoded(text: &str) -> String {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(&part[..2], 16).expect("two digits"));
        bytes.extend(part[2..].bytes());
    }
    String::from_utf8(bytes).expect("text")
}

/// Who the last request says we are.
fn sent_as(engine: &Engine) -> Value {
    let head = engine.seen().pop().expect("a request").head;
    let header = head.lines().find_map(|line| line.strip_prefix("X-Registry-Auth: ")).expect("credentials");
    serde_json::from_slice(&URL_SAFE.decode(header).expect("base64")).expect("JSON")
}

#[test]
fn credentials_of_the_environment_come_first() {
    // Each is `me` with another password.
    let kept = json!({"auths": {"host:5000": {"auth": "bWU6a2VwdA=="}}});
    let engine = configured(kept.clone());
    let pull = |variable: &str| {
        let output =
            with(engine.command(&["pull", "-q", "host:5000/a"]), &[("DOCKER_AUTH_CONFIG", variable)]);
        assert!(output.status.success(), "{}", told(&output));
        (sent_as(&engine)["password"].clone(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let complaint =
        |why: &str| format!("Failed to create credential store from DOCKER_AUTH_CONFIG:  {why}\n");
    assert_eq!(pull(""), (json!("kept"), String::new()));
    let brought = r#"{"auths":{"host:5000":{"auth":"bWU6YnJvdWdodA=="}}}"#;
    assert_eq!(pull(brought), (json!("brought"), String::new()));
    assert_eq!(pull(r#"{"auths":{"other":{"auth":"bWU6YnJvdWdodA=="}}}"#), (json!("kept"), String::new()));
    let missing = "DOCKER_AUTH_CONFIG environment variable is missing key `auth` for host:5000";
    assert_eq!(pull(r#"{"auths":{"host:5000":{}}}"#), (json!("kept"), complaint(missing)));
    for bad in ["{", "[]", r#"{"auths":{"host:5000":{"username":"x"}}}"#] {
        let (password, said) = pull(bad);
        assert_eq!(password, "kept", "{bad}");
        assert!(said.starts_with(complaint("").trim_end()), "{said}");
    }
    // What is kept changes by a logout, and it is said that this does not help.
    let output = with(engine.command(&["logout", "host:5000"]), &[("DOCKER_AUTH_CONFIG", brought)]);
    assert!(
        String::from_utf8_lossy(&output.stderr)
            .starts_with("\n Warn -> DOCKER_AUTH_CONFIG is set and takes precedence.\n"),
        "{}",
        told(&output)
    );
}

/// Keeps one entry in a file, and notes what it is asked.
const HELPER: &str = r#"#!/bin/sh
here=$(dirname "$0")
input=$(cat)
echo "$1 $input" >> "$here/asked"
case $1 in
store) echo "$input" > "$here/entry" ;;
get) if ! cat "$here/entry" 2>/dev/null; then echo "credentials not found in native keychain"; exit 1; fi ;;
erase) rm -f "$here/entry" ;;
*) echo "no such action: $1"; exit 1 ;;
esac
"#;

#[test]
fn a_helper_keeps_what_a_login_brings_and_a_logout_takes_it_away() {
    for config in [json!({"credsStore": "kept"}), json!({"credHelpers": {"host:5000": "kept"}})] {
        let engine = configured(config.clone());
        let helper = engine.home.join("docker-credential-kept");
        std::fs::write(&helper, HELPER).unwrap();
        std::fs::set_permissions(&helper, std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!("{}:{}", engine.home.display(), std::env::var("PATH").unwrap());
        let run = |line: &[&str]| {
            let output = with(engine.command(line), &[("PATH", &path)]);
            assert!(output.status.success(), "{}", told(&output));
            output
        };
        let file = || -> Value {
            serde_json::from_slice(&std::fs::read(engine.home.join(".docker/config.json")).unwrap()).unwrap()
        };
        let asked = || std::fs::read_to_string(engine.home.join("asked")).unwrap();
        let login = run(&["login", "-u", "me", "-p", "s3cret", "host:5000"]);
        assert!(!told(&login).contains("unencrypted"), "{}", told(&login));
        assert_eq!(file()["auths"], json!({"host:5000": {}}), "the file has no secret");
        let stored = r#"store {"ServerURL":"host:5000","Username":"me","Secret":"s3cret"}"#;
        assert!(asked().lines().any(|line| line == stored), "{}", asked());

        run(&["pull", "-q", "host:5000/a"]);
        let sent = sent_as(&engine);
        assert_eq!((&sent["username"], &sent["password"]), (&json!("me"), &json!("s3cret")));
        // A second login needs no password.
        let again = run(&["login", "host:5000"]);
        assert!(told(&again).contains("Authenticating with existing credentials"), "{}", told(&again));

        run(&["logout", "host:5000"]);
        assert!(asked().lines().any(|line| line == "erase host:5000"), "{}", asked());
        assert!(!engine.home.join("entry").exists());
        assert_eq!(file()["auths"], json!({}));
        run(&["pull", "-q", "host:5000/a"]);
        assert_eq!(sent_as(&engine)["password"], Value::Null, "nobody is known any more");
    }
}
