//! The command line in the place of another runtime's: statuses, words that tools look for, the order of keys.

use std::os::unix::process::CommandExt;
use std::process::Stdio;

use serde_json::json;

use crate::bundle::{Bundle, Outcome, wait_until};

#[test]
fn statuses_of_errors() {
    let bundle = Bundle::new(&["/bin/sleep", "1000"]);
    bundle.create();
    bundle.start();
    let id = bundle.id.as_str();
    let cases: &[(&[&str], i32, &str)] = &[
        (&["nosuch"], 3, "No help topic for 'nosuch'"),
        (&["state"], 1, "\\\"state\\\" requires exactly 1 argument(s)"),
        (&["kill", id, "9", "9"], 1, "\\\"kill\\\" requires a maximum of 2 argument(s)"),
        (&["list", "word"], 1, "\\\"list\\\" requires exactly 0 argument(s)"),
        (&["list", "--nope"], 1, "flag provided but not defined: -nope"),
        (&["--nope", "list"], 1, "flag provided but not defined: -nope"),
        (&["run", id], 1, "wharf-runtime run failed: container with given ID already exists"),
        (&["run", "a/b"], 1, "wharf-runtime run failed: invalid container ID format"),
        (&["start", id], 1, "cannot start an already running container"),
        (&["exec", "absent", "true"], 255, "exec failed: container does not exist"),
        (&["exec", id, "absent"], 255, "exec: \\\"absent\\\": executable file not found in $PATH"),
        (
            &["exec", "--pid-file", "/none/file", id, "true"],
            255,
            "open /none/.file: no such file or directory",
        ),
        (&["exec", "-e", "word", id, "true"], 255, "invalid environment variable: missing '='"),
        (&["exec", "--preserve-fds", "1", id, "true"], 255, "preserved-fd 0 (of 1) is present"),
        (&["exec", "--cgroup", "..", id, "true"], 255, "bad sub cgroup path: .. is not a sub cgroup path"),
        (&["exec", "--cgroup", "none:/", id, "true"], 255, "unknown controller none"),
        (&["exec", "-g", "x", id, "true"], 1, "invalid value \\\"x\\\" for flag -g: parse error"),
        (&["exec", "--preserve-fds", "x", id, "true"], 1, "invalid value \\\"x\\\" for flag -preserve-fds"),
        (
            &["exec", "--cgroup", "x:/", "--cgroup", "x:/", id, "true"],
            255,
            "controller x specified multiple times",
        ),
        (&["exec", "--cgroup", "none", id, "true"], 255, "/none/cgroup.procs: no such file or directory"),
        (&["kill", id, "NOPE"], 1, "unknown signal \\\"NOPE\\\""),
        (&["kill", id, "99"], 1, "unable to signal init: invalid argument"),
        (&["spec", "--bundle", "/none"], 1, "chdir /none: no such file or directory"),
        (&["checkpoint", "absent"], 1, "container does not exist"),
        (&["checkpoint", "--empty-ns", "ipc", id], 1, "namespace \\\"ipc\\\" is not supported"),
        (&["checkpoint", "--manage-cgroups-mode", "x", id], 1, "invalid manage-cgroups-mode value"),
        (&["checkpoint", "--page-server", "x", id], 1, "Use --page-server ADDRESS:PORT"),
        (&["checkpoint", "--parent-path", "/x", id], 1, "--parent-path must be relative"),
        (&["checkpoint", "--parent-path", "x", id], 1, "invalid --parent-path"),
        (&["restore", "--bundle", "/none", "new"], 1, "chdir /none: no such file or directory"),
    ];
    for (words, status, message) in cases {
        let outcome = bundle.call(words);
        assert!(outcome.stderr.contains(message), "{words:?}: {}", outcome.stderr);
        assert_eq!(outcome.status, *status, "{words:?}");
    }
}

#[test]
fn options_that_others_have_dropped_are_told_of_and_passed_over() {
    let bundle = Bundle::new(&["/bin/sleep", "1000"]);
    bundle.create();
    for (words, told) in [
        (&["--criu", "/criu", "state", &bundle.id][..], "--criu is ignored"),
        (&["update", "--kernel-memory", "5m", &bundle.id], "--kernel-memory is ignored"),
        (&["update", "--kernel-memory-tcp", "5m", &bundle.id], "--kernel-memory-tcp is ignored"),
    ] {
        let outcome = bundle.call(words);
        assert_eq!(outcome.status, 0, "{words:?}: {}", outcome.stderr);
        assert!(
            outcome.stderr.contains("level=warning") && outcome.stderr.contains(told),
            "{}",
            outcome.stderr
        );
    }
}

#[test]
fn it_goes_by_the_name_it_was_called_by() {
    let bundle = Bundle::new(&["true"]);
    let called =
        |words: &[&str]| Outcome::of(bundle.command(words).arg0("/somewhere/runc").output().unwrap());
    let version = called(&["--version"]).stdout;
    let lines: Vec<&str> = version.lines().collect();
    assert!(lines[0].starts_with("runc version ") && lines[1].starts_with("commit: "), "{version}");
    assert!(lines[2].starts_with("spec: 1."), "{version}");
    assert!(called(&["-h"]).stdout.starts_with("NAME:\n   runc - Open Container Initiative runtime\n"));
    assert!(called(&["update", "-h"]).stdout.starts_with("NAME:\n   runc update - "));
    assert!(called(&["create", "a/b"]).stderr.contains("runc create failed: "));
}

#[test]
fn options_after_the_id_are_ours_or_the_programs() {
    let bundle = Bundle::new(&["/bin/sleep", "1000"]);
    bundle.create();
    bundle.start();
    assert_eq!(bundle.call(&["update", &bundle.id, "--pids-limit", "20"]).status, 0);
    let echoed = bundle.call(&["exec", &bundle.id, "echo", "-t", "--cwd"]);
    assert_eq!((echoed.status, echoed.stdout.as_str()), (0, "-t --cwd\n"));
    let listed = bundle.call(&["ps", &bundle.id, "-e", "-o", "pid,comm"]);
    assert!(listed.stdout.contains("sleep") && listed.stdout.lines().count() == 2, "{}", listed.stdout);
    let stats = bundle.call(&["events", &bundle.id, "--stats"]);
    assert_eq!((stats.status, stats.stdout.lines().count()), (0, 1), "{}", stats.stderr);
    assert_eq!(bundle.call(&["kill", &bundle.id, "--all", "0"]).status, 0);
    assert_eq!(bundle.call(&["delete", &bundle.id, "--force"]).status, 0);
    let place = bundle.directory.to_str().unwrap();
    let words = ["run", &bundle.id, "--detach", "--bundle", place, "--pid-file", "pid"];
    assert!(bundle.command(&words).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
    assert_eq!(std::fs::read_to_string(bundle.directory.join("pid")).unwrap(), bundle.pid().to_string());
}

#[test]
fn keys_come_in_the_order_that_readers_expect() {
    let bundle = Bundle::new(&["/bin/sleep", "1000"]);
    bundle.create();
    bundle.start();
    let list = bundle.call(&["list", "--format", "json"]).stdout;
    assert!(list.starts_with(r#"[{"ociVersion":""#), "{list}");
    let places: Vec<usize> = ["id", "pid", "status", "bundle", "rootfs", "created", "owner"]
        .iter()
        .map(|key| list.find(&format!("\"{key}\":")).unwrap())
        .collect();
    assert!(places.is_sorted(), "{list}");
    let stats = bundle.call(&["events", "--stats", &bundle.id]).stdout;
    assert!(stats.starts_with(&format!(r#"{{"type":"stats","id":"{}","data":{{"#, bundle.id)), "{stats}");
    let table = bundle.call(&["list"]).stdout;
    assert!(table.starts_with(&format!(
        "{:<w$}PID         STATUS      ",
        "ID",
        w = (bundle.id.len() + 3).max(12)
    )));
}

/// As in `list | head -1`, and under those who read nothing at all.
#[test]
fn whoever_reads_may_stop_early() {
    let bundle = Bundle::new(&["true"]);
    let unread = || linux::fd::pipe().unwrap().1;
    for (words, status) in [(&["features"][..], 128 + 13), (&["--help"], 128 + 13), (&["state", "absent"], 1)]
    {
        let ended = Outcome::of(bundle.command(words).stdout(unread()).output().unwrap());
        assert_eq!((ended.status, ended.stderr.contains("panicked")), (status, false), "{}", ended.stderr);
    }
    let words = ["--log", "log", "state", "absent"];
    assert_eq!(bundle.command(&words).stderr(unread()).status().unwrap().code(), Some(1));
}

#[test]
fn any_number_may_be_asked_of_a_container_and_all_of_its_processes() {
    let bundle = Bundle::new(&["/bin/sleep", "1000"]);
    bundle.create();
    bundle.start();
    assert_eq!(bundle.call(&["kill", &bundle.id, "0"]).status, 0);
    assert_eq!(bundle.call(&["kill", &bundle.id, ""]).status, 0, "as if nothing had been named");
    assert_eq!(bundle.call(&["kill", &bundle.id, "sigkill"]).status, 0);
    bundle.wait_for_status("stopped");
    assert!(bundle.call(&["kill", &bundle.id, "0"]).stderr.contains("container not running"));
    assert_eq!(bundle.call(&["kill", "--all", &bundle.id, "0"]).status, 0, "nobody is left to refuse");
}

#[test]
fn what_cannot_be_given_is_told_and_left_out() {
    let mut bundle = Bundle::shell("grep Cap /proc/self/status");
    bundle.config["process"]["capabilities"]["bounding"] = json!(["CAP_CHOWN", "CAP_WISHFUL"]);
    bundle.config["process"]["capabilities"]["ambient"] = json!(["CAP_CHOWN"]);
    let outcome = bundle.run();
    assert!(outcome.stdout.contains("CapBnd:\t0000000000000001"), "{}", outcome.stdout);
    assert!(outcome.stdout.contains("CapAmb:\t0000000000000000"), "{}", outcome.stdout);
    for message in ["[CAP_WISHFUL]", "can't raise ambient capability CAP_CHOWN: operation not permitted"] {
        assert!(
            outcome.stderr.contains("level=warning") && outcome.stderr.contains(message),
            "{}",
            outcome.stderr
        );
    }
}

#[test]
fn steps_are_told_on_request() {
    let bundle = Bundle::new(&["true"]);
    bundle.write_config();
    let told = bundle.call(&["--debug", "run", &bundle.id]);
    assert_eq!(told.status, 0, "{}", told.stderr);
    for step in ["level=debug", "nsexec container setup", "child process in init()"] {
        assert!(told.stderr.contains(step), "{}", told.stderr);
    }
    let words = ["--debug", "--log", "steps", "--log-format", "json", "run", &bundle.id];
    assert_eq!(bundle.call(&words).stderr, "");
    let log = std::fs::read_to_string(bundle.directory.join("steps")).unwrap();
    assert!(log.lines().all(|line| line.starts_with(r#"{"level":"debug","msg":""#)), "{log}");
    assert_eq!(bundle.run().stderr, "", "nothing is told unasked");
}

#[test]
fn a_cgroup_that_is_frozen_is_refused_and_left_alone() {
    let bundle = Bundle::new(&["true"]);
    let cgroup = bundle.cgroup();
    let place = match cgroup.legacy("freezer").or(cgroup.unified()) {
        Some(place) => place.to_owned(),
        None => panic!("there is no freezer"),
    };
    std::fs::create_dir(&place).unwrap();
    let (file, frozen) =
        if cgroup.is_unified() { ("cgroup.freeze", "1") } else { ("freezer.state", "FROZEN") };
    std::fs::write(place.join(file), frozen).unwrap();
    let outcome = bundle.run();
    let left: Vec<_> = cgroup.paths().into_iter().filter(|(_, path)| path.exists()).collect();
    std::fs::remove_dir(&place).unwrap();
    assert_eq!(outcome.status, 1);
    assert!(outcome.stderr.contains("container's cgroup unexpectedly frozen"), "{}", outcome.stderr);
    assert_eq!(left.len(), 1, "what we made is removed, what was there stays: {left:?}");
}

#[test]
fn one_controllers_cgroup_below_the_containers_own() {
    let bundle = Bundle::new(&["/bin/sleep", "1000"]);
    bundle.create();
    bundle.start();
    let cgroup = bundle.cgroup();
    let below = cgroup.legacy("pids").or(cgroup.unified()).unwrap().join("below");
    std::fs::create_dir(&below).unwrap();
    let word = if cgroup.is_unified() { "below" } else { "pids:below" };
    let words = ["exec", "--detach", "--pid-file", "pid", "--cgroup", word, &bundle.id, "/bin/sleep", "1000"];
    // It holds its streams: a pipe of ours would never end.
    assert!(bundle.command(&words).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
    let pid = std::fs::read_to_string(bundle.directory.join("pid")).unwrap();
    assert_eq!(std::fs::read_to_string(below.join("cgroup.procs")).unwrap().trim(), pid);
    assert_eq!(bundle.call(&["delete", "--force", &bundle.id]).status, 0);
    wait_until(|| !below.exists());
}

#[test]
fn a_configuration_to_start_from() {
    for rootless in [false, true] {
        let bundle = Bundle::new(&["true"]);
        let words: &[&str] = if rootless { &["spec", "--rootless"] } else { &["spec"] };
        assert_eq!(bundle.call(words).status, 0);
        let again = bundle.call(words);
        assert!(again.stderr.contains("File config.json exists. Remove it first"), "{}", again.stderr);
        let text = std::fs::read_to_string(bundle.directory.join("config.json")).unwrap();
        assert!(text.starts_with("{\n  \"ociVersion\": "), "{text}");
        let spec: serde_json::Value = serde_json::from_str(&text).unwrap();
        let has = |kind: &str| {
            let namespaces = spec["linux"]["namespaces"].as_array().unwrap();
            namespaces.iter().any(|namespace| namespace["type"] == kind)
        };
        assert_eq!((has("user"), has("network")), (rootless, !rootless));
    }
}

#[test]
fn the_page_about_the_runtime_names_files_and_tests_that_exist() {
    let crate_root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(crate_root.join("../../docs/runtime.md")).unwrap();
    let mut seen = 0;
    for word in page.split('`').skip(1).step_by(2) {
        if let Some((module, test)) = word.split_once("::").filter(|(module, _)| *module != "linux") {
            let file = crate_root.join(format!("tests/it/{module}.rs"));
            let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{word}: {error}"));
            assert!(text.contains(&format!("fn {test}(")), "{word}");
            seen += 1;
        } else if word.ends_with(".rs") {
            let found = crate_root.join("src").join(word).exists() || crate_root.join(word).exists();
            assert!(found, "{word}");
        }
    }
    assert!(seen > 30, "the table is found: {seen}");
}

/// Each row of the table of fields cites tests that set the field: its last word is in one of them, in what stands before
/// the first test of their file, or in the configuration that all of them start from. Words before a colon are the field's, those after it are values.
#[test]
fn the_tests_that_a_field_cites_set_it() {
    let crate_root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| std::fs::read_to_string(crate_root.join(path)).unwrap();
    let page = read("../../docs/runtime.md");
    let (_, table) = page.split_once("field by field").unwrap();
    let (table, _) = table.split_once("\n\nNames of fields").unwrap();
    let quoted = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    let base = read("tests/it/bundle.rs");
    let (_, base) = base.split_once("\nfn config(").unwrap();
    let mut rows = 0;
    for row in table.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| ---")).skip(1) {
        let [_, fields, _, tests, _] = row.split('|').collect::<Vec<_>>()[..] else { panic!("{row}") };
        let mut texts = base.to_owned();
        for word in quoted(tests) {
            let Some((module, test)) = word.split_once("::") else {
                texts.push_str(&read(&format!("src/{word}")));
                continue;
            };
            let file = read(&format!("tests/it/{module}.rs"));
            let (_, from) = file.split_once(&format!("fn {test}(")).unwrap();
            texts.push_str(from.split_once("\n}\n").unwrap().0);
            texts.push_str(file.split_once("#[test]").unwrap().0);
        }
        for field in quoted(fields) {
            let name = field.rsplit(['.', ']']).next().unwrap().trim_end_matches('=');
            let name = name.split(':').next().unwrap();
            assert!(texts.contains(name), "{field} is in none of {tests}");
        }
        rows += 1;
    }
    assert!(rows > 30, "the table is found: {rows}");
}
