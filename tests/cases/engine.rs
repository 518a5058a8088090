//! `wharfd` itself: its flags, its socket, several of it.

use blackbox::{IMAGE, World, eventually, signal};
use std::os::unix::fs::PermissionsExt;

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
fn hangup_reloads_the_configuration() {
    let world = World::start();
    std::fs::write(world.config_file(), "{\"labels\": [\"colour=blue\"]}").unwrap();
    signal(world.engine_pid(), "HUP");
    eventually("the new label", || {
        world.docker(&["info", "--format", "{{.Labels}}"]).ok().contains("colour=blue").then_some(())
    });
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
