//! Health checks: what stock clients ask for, and by labels what they have no words for.

use blackbox::{IMAGE, World, eventually};
use serde_json::Value;

fn status(world: &World, name: &str) -> String {
    world.inspect(name)["State"]["Health"]["Status"].as_str().unwrap_or_default().to_owned()
}

fn until(world: &World, name: &str, wanted: &str) {
    eventually(&format!("{name} to be {wanted}"), || (status(world, name) == wanted).then_some(()));
}

fn last_result(world: &World, name: &str) -> Value {
    let log = &world.inspect(name)["State"]["Health"]["Log"];
    log.as_array().and_then(|log| log.last()).cloned().unwrap_or_default()
}

/// Runs the image in the background with more flags before it and a script behind.
fn run(world: &World, name: &str, flags: &[&str], script: &str) {
    let words =
        [&["run", "-d", "--name", name, "--health-interval", "100ms"], flags, &[IMAGE, "sh", "-c", script]];
    world.docker(&words.concat()).ok();
}

#[test]
fn a_command_decides_and_its_last_results_are_kept() {
    let world = World::start();
    run(
        &world,
        "web",
        &["--health-cmd", "echo looking; test -e /well", "--health-retries", "2"],
        "sleep 1000",
    );
    until(&world, "web", "unhealthy");
    let result = last_result(&world, "web");
    assert_eq!((result["ExitCode"].as_i64(), result["Output"].as_str()), (Some(1), Some("looking\n")));
    world.docker(&["exec", "web", "touch", "/well"]).ok();
    until(&world, "web", "healthy");
    eventually("five results", || {
        let length = world.inspect("web")["State"]["Health"]["Log"].as_array().map(Vec::len);
        (length == Some(5)).then_some(())
    });
    world.docker(&["pause", "web"]).ok();
    assert_eq!(status(&world, "web"), "unhealthy", "nobody looks at a paused container");
}

#[test]
fn http_and_tcp_probes_reach_what_listens_inside() {
    let world = World::start();
    let label = "wharf.health.http=http://localhost:8080/index.html";
    run(&world, "web", &["--label", label], "httpd -p 127.0.0.1:8080 -h /www; sleep 1000");
    until(&world, "web", "healthy");
    assert_eq!(last_result(&world, "web")["Output"].as_str().map(|text| text.contains(" 200 ")), Some(true));
    assert_eq!(world.inspect("web")["Config"]["Healthcheck"]["Test"][0], "HTTP");

    let label = "wharf.health.http=http://localhost:8080/absent";
    run(
        &world,
        "lost",
        &["--label", label, "--health-retries", "1"],
        "httpd -p 127.0.0.1:8080 -h /www; sleep 1000",
    );
    until(&world, "lost", "unhealthy");
    assert!(last_result(&world, "lost")["ExitCode"] == 1);

    run(&world, "open", &["--label", "wharf.health.tcp=8080"], "httpd -p 127.0.0.1:8080 -h /www; sleep 1000");
    until(&world, "open", "healthy");
    run(&world, "shut", &["--label", "wharf.health.tcp=8081", "--health-retries", "1"], "sleep 1000");
    until(&world, "shut", "unhealthy");
    let output = last_result(&world, "shut")["Output"].as_str().unwrap_or_default().to_owned();
    assert!(output.contains("Connection refused"), "{output}");
    // The client asks in whole seconds: the newest are a moment away.
    let events = eventually("the event", || {
        let events =
            world.docker(&["events", "--since", "1h", "--until", "0s", "--filter", "container=open"]).ok();
        events.contains("health_status: healthy").then_some(events)
    });
    assert!(!events.contains("exec_"), "nothing was executed:\n{events}");
}

#[test]
fn an_unhealthy_container_is_restarted_stopped_or_killed() {
    let world = World::start();
    // Well after its first failure, which comes when it can be told to end: it is restarted once.
    let script = "trap 'exit 0' TERM; touch /up; while :; do sleep 0.1; done";
    let check = "test ! -e /up || test -e /well || { touch /well; false; }";
    let once = ["--health-cmd", check, "--health-retries", "1", "--label", "wharf.health.on-failure=restart"];
    run(&world, "again", &once, script);
    eventually("a healthy second run", || {
        let shown = world.inspect("again");
        (shown["RestartCount"] == 1 && shown["State"]["Health"]["Status"] == "healthy").then_some(())
    });

    let never = ["--health-cmd", "test ! -e /up", "--health-retries", "1", "--restart", "always"];
    let stopping = [&never[..], &["--label", "wharf.health.on-failure=stop"]].concat();
    run(&world, "stopped", &stopping, "trap 'exit 3' TERM; touch /up; while :; do sleep 0.1; done");
    world.until_status("stopped", "exited");
    assert_eq!(world.inspect("stopped")["State"]["ExitCode"], 3);

    let once = ["--health-cmd", "false", "--health-retries", "1", "--label", "wharf.health.on-failure=kill"];
    run(&world, "killed", &once, "sleep 1000");
    world.until_status("killed", "exited");
    assert_eq!(world.inspect("killed")["State"]["ExitCode"], 137);
}

#[test]
fn checks_that_make_no_sense_are_refused() {
    let world = World::start();
    for (flags, words) in [
        (&["--label", "wharf.health.http=https://localhost/"][..], "it begins with http://"),
        (
            &["--label", "wharf.health.tcp=example.com:80"],
            "invalid address \"example.com:80\" of a TCP health check",
        ),
        (
            &["--label", "wharf.health.tcp=80", "--health-cmd", "true"],
            "conflicting options: a health check and a label",
        ),
        (&["--label", "wharf.health.on-failure=dance"], "use none, restart, stop or kill"),
        (&["--health-interval", "1us"], "Interval in Healthcheck cannot be less than 1ms"),
    ] {
        let all = [&["create"], flags, &[IMAGE, "true"]].concat();
        world.docker(&all).code(1).says(words);
    }
}

#[test]
fn results_stay_to_be_read_when_a_container_starts_again() {
    let world = World::start();
    let watched =
        ["--health-cmd", "echo ill; false", "--health-start-period", "1h", "--health-start-interval", "2s"];
    world.wharf(&[&["run", "-d", "--name", "web"], &watched[..], &[IMAGE, "sleep", "1000"]].concat()).ok();
    let state = || world.inspect("web")["State"].clone();
    eventually("a result", || {
        state()["Health"]["Log"].as_array().is_some_and(|log| !log.is_empty()).then_some(())
    });
    world.wharf(&["restart", "-t", "0", "web"]).ok();
    let again = state();
    assert_eq!(
        (&again["Health"]["Status"], &again["Health"]["FailingStreak"]),
        (&"starting".into(), &0.into())
    );
    let first = &again["Health"]["Log"][0];
    assert_eq!(first["Output"], "ill\n");
    assert!(first["Start"].as_str() < again["StartedAt"].as_str(), "{again}");
}
