//! What is kept: logins, contexts; and files that go in and out.

use crate::engine::{Engine, Reply, json, refuse, told};

#[test]
fn a_login_is_kept_and_forgotten() {
    let engine = Engine::start(|request| match request.target.as_str() {
        "/_ping" => json(""),
        "/auth" if request.json()["password"] == "right" => {
            json(r#"{"Status":"Login Succeeded","IdentityToken":""}"#)
        }
        "/auth" => refuse(401, "unauthorized: wrong password"),
        _ => json("{\"status\":\"ok\"}\r\n"),
    });
    let refused = engine.run_with_input(&["login", "-u", "me", "--password-stdin", "host:5000"], b"wrong\n");
    assert_eq!(
        told(&refused),
        "exit code 1\n--- stderr\nError response from daemon: unauthorized: wrong password\n"
    );
    let file = engine.home.join(".docker/config.json");
    assert!(!file.exists());
    let accepted = engine.run_with_input(&["login", "-u", "me", "--password-stdin", "host:5000"], b"right\n");
    assert!(
        accepted.status.success() && accepted.stdout.ends_with(b"Login Succeeded\n"),
        "{}",
        told(&accepted)
    );
    let config: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(config["auths"]["host:5000"]["auth"], "bWU6cmlnaHQ=");
    assert!(engine.run(&["pull", "-q", "host:5000/a:1"]).status.success());
    let header = engine.seen().pop().unwrap().head;
    let sent = header.lines().find_map(|line| line.strip_prefix("X-Registry-Auth: ")).unwrap().to_owned();
    assert!(sent.starts_with("eyJ") && sent.len() > 40, "{sent}");
    engine.run(&["logout", "host:5000"]);
    let config: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(config["auths"], serde_json::json!({}));
}

#[test]
fn a_credential_helper_is_asked() {
    use std::os::unix::fs::PermissionsExt as _;
    let engine = Engine::start(|request| match request.target.as_str() {
        "/_ping" => json(""),
        _ => json("{\"status\":\"ok\"}\r\n"),
    });
    let helper = engine.home.join("docker-credential-test");
    std::fs::write(&helper, "#!/bin/sh\nread -r server\nprintf '{\"ServerURL\":\"%s\",\"Username\":\"<token>\",\"Secret\":\"s3\"}' \"$server\"\n").unwrap();
    std::fs::set_permissions(&helper, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::create_dir(engine.home.join(".docker")).unwrap();
    std::fs::write(engine.home.join(".docker/config.json"), r#"{"credHelpers":{"host:5000":"test"}}"#)
        .unwrap();
    let path = format!("{}:{}", engine.home.display(), std::env::var("PATH").unwrap());
    let output = engine.command(&["pull", "-q", "host:5000/a:1"]).env("PATH", path).output().unwrap();
    assert_eq!(told(&output), "exit code 0\n--- stdout\nhost:5000/a:1\n");
    let header = engine.seen().pop().unwrap().head;
    let sent = header.lines().find_map(|line| line.strip_prefix("X-Registry-Auth: ")).unwrap();
    // {"serveraddress":"host:5000","identitytoken":"s3"} in some order, in base64.
    assert!(
        sent.contains("aWRlbnRpdHl0b2tlbi")
            || sent.contains("lkZW50aXR5dG9rZW4")
            || sent.contains("pZGVudGl0eXRva2Vu"),
        "{sent}"
    );
}

#[test]
fn contexts_choose_the_engine() {
    let engine = Engine::start(|_| json("[]"));
    let here = format!("host=unix://{}", engine.home.join("sock").display());
    let plain = |line: &[&str]| engine.command(line).env_remove("DOCKER_HOST").output().unwrap();
    assert!(
        plain(&["context", "create", "--description", "a test", "--docker", &here, "near"]).status.success()
    );
    assert!(!plain(&["context", "create", "--docker", &here, "near"]).status.success());
    assert!(plain(&["context", "use", "near"]).status.success());
    assert_eq!(plain(&["context", "show"]).stdout, b"near\n");
    assert!(plain(&["ps"]).status.success(), "the context leads to the engine");
    assert_eq!(engine.lines(), ["GET /containers/json"]);
    let list = String::from_utf8(
        plain(&["context", "ls", "--format", "{{.Name}} {{.Current}} {{.Description}}"]).stdout,
    )
    .unwrap();
    assert_eq!(list, "default false Current DOCKER_HOST based configuration\nnear true a test\n");
    assert!(String::from_utf8(plain(&["context", "rm", "near"]).stderr).unwrap().contains("in use"));
    assert!(plain(&["context", "rm", "-f", "near"]).status.success());
    assert_eq!(plain(&["context", "show"]).stdout, b"default\n");
}

#[test]
fn files_go_in_and_come_out() {
    let stat = "eyJuYW1lIjoiZCIsInNpemUiOjAsIm1vZGUiOjIxNDc0ODQxNDEsIm10aW1lIjoiIiwibGlua1RhcmdldCI6IiJ9";
    let engine = Engine::start(move |request| {
        let found = format!("HTTP/1.1 200 OK\r\nX-Docker-Container-Path-Stat: {stat}\r\n");
        match (request.method.as_str(), request.target.as_str()) {
            (_, "/_ping") => json(""),
            ("HEAD", "/containers/web/archive?path=%2Fd") => {
                Reply::Raw(format!("{found}Content-Length: 0\r\n\r\n").into_bytes())
            }
            ("PUT", _) => json(""),
            ("GET", _) => {
                let mut builder = tar::Builder::new(Vec::new());
                let mut header = tar::Header::new_gnu();
                header.set_size(5);
                header.set_mode(0o640);
                builder.append_data(&mut header, "f", &b"hello"[..]).unwrap();
                let mut bytes = format!("{found}Connection: close\r\n\r\n").into_bytes();
                bytes.extend(builder.into_inner().unwrap());
                Reply::Raw(bytes)
            }
            _ => refuse(404, "Could not find the file /x in container web"),
        }
    });
    std::fs::write(engine.home.join("a file"), "text").unwrap();
    let output = engine.run(&["cp", "-a", "a file", "web:/d"]);
    assert!(output.status.success(), "{}", told(&output));
    let put = engine.seen().pop().unwrap();
    assert_eq!(put.line(), "PUT /containers/web/archive?path=%2Fd&noOverwriteDirNonDir=true&copyUIDGID=1");
    let mut archive = tar::Archive::new(put.body.as_slice());
    let names: Vec<String> = archive
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap().path().unwrap().display().to_string())
        .collect();
    assert_eq!(names, ["a file"]);
    assert!(engine.run(&["cp", "web:/f", "got"]).status.success());
    assert_eq!(std::fs::read_to_string(engine.home.join("got")).unwrap(), "hello");
    assert_eq!(engine.run(&["cp", "web:/f", "none/got"]).status.code(), Some(1));
}

#[test]
fn archives_are_written_whole_or_not_at_all() {
    let engine = Engine::start(|request| match request.target.as_str() {
        "/_ping" => json(""),
        "/images/get?names=good" => Reply::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntar!".to_vec()),
        _ => Reply::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\ntar!".to_vec()),
    });
    assert!(engine.run(&["save", "-o", "out", "good"]).status.success());
    assert_eq!(std::fs::read(engine.home.join("out")).unwrap(), b"tar!");
    let broken = engine.run(&["save", "-o", "out2", "bad"]);
    assert_eq!(broken.status.code(), Some(1));
    let left: Vec<_> =
        std::fs::read_dir(&engine.home).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("out2")), "{left:?}");
}

#[test]
fn shells_are_told_what_can_come_next() {
    let engine = Engine::start(|request| match request.target.as_str() {
        "/_ping" => json(""),
        _ => json(
            r#"[{"Id":"1","Names":["/web"],"Image":"i","State":"running"},{"Id":"2","Names":["/db"],"Image":"i","State":"exited"}]"#,
        ),
    });
    let asked = |words: &[&str]| {
        let line: Vec<&str> = std::iter::once("__complete").chain(words.iter().copied()).collect();
        String::from_utf8(engine.run(&line).stdout).unwrap()
    };
    let files = ":0\n";
    let no_files = ":4\n";
    assert_eq!(asked(&["ru"]), format!("run\tCreate a container and run it\n{no_files}"));
    assert_eq!(asked(&["container", "pru"]), format!("prune\tRemove all stopped containers\n{no_files}"));
    assert!(asked(&["rm", "--f"]).starts_with("--force\t"));
    assert_eq!(asked(&["rm", "w"]), format!("web\n{no_files}"));
    assert_eq!(asked(&["rm", "web", ""]), format!("db\n{no_files}"));
    assert_eq!(asked(&["stop", ""]), format!("web\n{no_files}"));
    assert_eq!(asked(&["start", ""]), format!("db\n{no_files}"));
    assert_eq!(asked(&["cp", "w"]), "web:\n:2\n");
    assert_eq!(asked(&["exec", "web", ""]), files);
    assert_eq!(asked(&["run", "--restart", "un"]), format!("unless-stopped\n{no_files}"));
    assert_eq!(asked(&["run", "--restart=un"]), format!("unless-stopped\n{no_files}"));
    assert_eq!(asked(&["run", "-it", "--volumes-from", "w"]), format!("web\n{no_files}"));
    assert_eq!(asked(&["run", "--env-file", ""]), files);
    assert_eq!(asked(&["ps", "-f", "nam"]), "name=\n:2\n");
    assert_eq!(asked(&["-l", "de"]), format!("debug\n{no_files}"));
    assert_eq!(asked(&["-D", "container", "pru"]), asked(&["container", "pru"]));
    assert!(engine.run(&["completion", "bash"]).stdout.starts_with(b"_wharf_complete()"));
    assert!(!engine.run(&["completion", "tcsh"]).status.success());
}
