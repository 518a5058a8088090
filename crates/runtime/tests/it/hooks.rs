//! Hooks in all six places.

use serde_json::{Value, json};

use crate::bundle::Bundle;

/// Notes its name, what it was told and where it is.
fn note(bundle: &Bundle, name: &str) -> Value {
    let log = bundle.directory.join("hooks");
    // In the container's namespace the host's tree is still there until the root is entered.
    let script = format!("{{ printf '{name} '; cat; echo \" $VAR\"; }} >> {}", log.display());
    json!([{ "path": "/bin/busybox", "args": ["busybox", "sh", "-c", script], "env": ["VAR=set", "PATH=/bin"] }])
}

#[test]
fn run_in_their_order_with_the_state_on_standard_input() {
    let mut bundle = Bundle::shell("cat /started");
    bundle.config["hooks"] = json!({
        "prestart": note(&bundle, "prestart"),
        "createRuntime": note(&bundle, "createRuntime"),
        "createContainer": note(&bundle, "createContainer"),
        "startContainer": [{ "path": "/bin/busybox", "args": ["busybox", "sh", "-c", "cat > /started"] }],
        "poststart": note(&bundle, "poststart"),
        "poststop": note(&bundle, "poststop"),
    });
    bundle.config["annotations"] = json!({ "a": "b" });
    let started: Value = serde_json::from_str(&bundle.output()).unwrap();
    assert_eq!((started["status"].as_str(), started["pid"].as_i64()), (Some("created"), Some(1)));
    let log = std::fs::read_to_string(bundle.directory.join("hooks")).unwrap();
    let mut told = Vec::new();
    for line in log.lines() {
        let (name, rest) = line.split_once(' ').unwrap();
        let state: Value = serde_json::from_str(rest.strip_suffix(" set").unwrap()).unwrap();
        assert_eq!(state["id"], bundle.id.as_str());
        assert_eq!(state["annotations"], json!({ "a": "b" }));
        told.push((name.to_owned(), state["status"].as_str().unwrap().to_owned()));
    }
    let expected = [
        ("prestart", "creating"),
        ("createRuntime", "creating"),
        ("createContainer", "creating"),
        ("poststart", "running"),
        ("poststop", "stopped"),
    ];
    assert_eq!(told, expected.map(|(name, status)| (name.to_owned(), status.to_owned())));
}

#[test]
fn one_that_fails_ends_the_start_with_what_it_said() {
    for place in ["prestart", "createRuntime", "createContainer", "startContainer"] {
        let mut bundle = Bundle::shell("touch /ran");
        bundle.config["hooks"][place] =
            json!([{ "path": "/bin/busybox", "args": ["busybox", "sh", "-c", "echo why >&2; exit 3"] }]);
        // The last of these runs when the container has started: its words are the container's.
        let message = if place == "startContainer" { bundle.run().stderr } else { bundle.refused() };
        let expected = format!("error running {place} hook #0: exit status 3, stdout: , stderr: why");
        assert!(message.contains(&expected), "{message}");
        assert!(!bundle.rootfs().join("ran").exists());
    }
}

/// Whoever prepared something for a container takes it away, also where nothing came of it.
#[test]
fn the_last_run_when_the_start_fails_too() {
    let fails = json!([{ "path": "/bin/busybox", "args": ["busybox", "false"] }]);
    let breaks: [fn(&mut Bundle, &Value); 4] = [
        |bundle, _| bundle.config["process"]["args"] = json!(["/nope"]),
        |bundle, fails| bundle.config["hooks"]["createContainer"] = fails.clone(),
        |bundle, _| bundle.config["linux"]["resources"]["memory"] = json!({ "limit": -5 }),
        |bundle, fails| bundle.config["hooks"]["poststart"] = fails.clone(),
    ];
    for (number, breaks) in breaks.into_iter().enumerate() {
        let mut bundle = Bundle::shell("sleep 1000");
        bundle.config["hooks"]["poststop"] = note(&bundle, "poststop");
        breaks(&mut bundle, &fails);
        bundle.refused();
        let log = std::fs::read_to_string(bundle.directory.join("hooks")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        assert!(
            matches!(lines[..], [line] if line.starts_with("poststop ") && line.contains("\"stopped\"")),
            "{number}: {lines:?}"
        );
    }
}

#[test]
fn a_time_beyond_every_clock_is_no_limit() {
    let mut bundle = Bundle::shell("echo ran");
    bundle.config["hooks"]["createRuntime"] =
        json!([{ "path": "/bin/busybox", "args": ["busybox", "true"], "timeout": u64::MAX }]);
    assert_eq!(bundle.output(), "ran\n");
}

#[test]
fn one_that_takes_too_long_is_ended() {
    let mut bundle = Bundle::new(&["true"]);
    bundle.config["hooks"]["createRuntime"] =
        json!([{ "path": "/bin/busybox", "args": ["busybox", "sleep", "1000"], "timeout": 1 }]);
    assert!(bundle.refused().contains("hook ran past specified timeout of 1.0s"));
}

#[test]
fn one_that_fails_at_the_end_is_told_and_changes_nothing() {
    let mut bundle = Bundle::shell("exit 4");
    let fails = |word: &str| json!({ "path": "/bin/busybox", "args": ["busybox", "sh", "-c", word] });
    let ran = bundle.directory.join("ran");
    let next = format!("touch {}", ran.display());
    bundle.config["hooks"]["poststop"] = json!([fails("exit 5"), fails(&next)]);
    let outcome = bundle.run();
    assert_eq!(outcome.status, 4);
    let told =
        "level=warning msg=\"unable to destroy container: error running poststop hook #0: exit status 5";
    assert!(outcome.stderr.contains(told), "{}", outcome.stderr);
    assert!(ran.exists(), "the next one runs");
    assert!(!bundle.is_known());
}

#[test]
fn each_has_the_environment_of_where_it_runs() {
    for (place, expected) in [
        ("createRuntime", "ours=1 theirs=, "),
        ("createContainer", "ours= theirs=, "),
        ("startContainer", "ours= theirs=2, "),
        ("poststart", "ours=1 theirs=, "),
    ] {
        let mut bundle = Bundle::new(&["true"]);
        bundle.config["process"]["env"] = json!(["PATH=/bin", "THEIRS=2"]);
        let script = "echo \"ours=$OURS theirs=$THEIRS\"; exit 1";
        bundle.config["hooks"][place] =
            json!([{ "path": "/bin/busybox", "args": ["busybox", "sh", "-c", script] }]);
        bundle.write_config();
        let output = bundle.command(&["run", &bundle.id]).env("OURS", "1").output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(told.contains(expected), "{place}: {told}");
        assert!(!bundle.cgroup_exists(), "{place}: its cgroup is left");
    }
}

#[test]
fn the_last_before_the_program_is_under_its_filter() {
    for no_new_privileges in [false, true] {
        let mut bundle = Bundle::new(&["true"]);
        bundle.config["process"]["noNewPrivileges"] = json!(no_new_privileges);
        bundle.config["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_KILL_PROCESS" }],
        });
        bundle.config["hooks"]["startContainer"] = json!([{ "path": "/bin/mkdir", "args": ["mkdir", "/a"] }]);
        let told = bundle.run().stderr;
        assert!(told.contains("error running startContainer hook #0: signal: bad system call"), "{told}");
    }
}

#[test]
fn the_containers_tree_is_where_the_configuration_says_until_it_is_entered() {
    let mut bundle = Bundle::shell("cat /from-outside /from-inside");
    let path = bundle.rootfs();
    let outside = format!(
        "pid=$(sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/'); nsenter -t $pid -m /bin/busybox touch {0}/from-outside && \
         nsenter -t $pid -m /bin/busybox mount --bind /etc/hostname {0}/from-outside",
        path.display()
    );
    let hook = |script: &str| json!([{ "path": "/bin/busybox", "args": ["busybox", "sh", "-c", script], "env": ["PATH=/bin:/usr/bin"] }]);
    bundle.config["hooks"] = json!({
        "createRuntime": hook(&outside),
        "createContainer": hook("echo relative > from-inside"),
    });
    let hostname = std::fs::read_to_string("/etc/hostname").unwrap();
    assert_eq!(bundle.output(), format!("{hostname}relative\n"));
}

crate::door::by_the_library! {
    run_in_their_order_with_the_state_on_standard_input one_that_fails_ends_the_start_with_what_it_said
    the_last_run_when_the_start_fails_too a_time_beyond_every_clock_is_no_limit one_that_takes_too_long_is_ended
    one_that_fails_at_the_end_is_told_and_changes_nothing the_last_before_the_program_is_under_its_filter
    the_containers_tree_is_where_the_configuration_says_until_it_is_entered
}
