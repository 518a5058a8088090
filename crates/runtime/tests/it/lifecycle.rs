//! The states of a container and the commands that lead from one to the next.

use std::process::Command;

use crate::bundle::{Bundle, processes_of, wait_until};

#[test]
fn created_started_killed_deleted() {
    let bundle = Bundle::shell("echo begun; exec sleep 1000");
    bundle.create();
    assert_eq!(bundle.state()["status"], "created");
    assert_eq!(bundle.log(), "", "the program waits");
    bundle.start();
    wait_until(|| bundle.log() == "begun\n");
    let state = bundle.state();
    assert_eq!(state["status"], "running");
    assert_eq!(state["id"], bundle.id.as_str());
    assert_eq!(state["bundle"], bundle.directory.to_str().unwrap());
    bundle.kill("KILL");
    bundle.wait_for_status("stopped");
    bundle.delete();
    assert!(!bundle.cgroup_exists());
}

#[test]
fn only_what_has_ended_is_deleted_without_force() {
    let bundle = Bundle::new(&["/bin/sleep", "1000"]);
    bundle.create();
    bundle.start();
    let refused = bundle.tell("delete");
    assert_eq!(refused.status, 1);
    assert!(refused.stderr.contains("that is not stopped: running"), "{}", refused.stderr);
    bundle.kill("KILL");
    bundle.wait_for_status("stopped");
    assert_eq!(bundle.state()["pid"], 0);
    assert_eq!(bundle.tell("delete").status, 0);
    assert!(!bundle.cgroup_exists());
    let gone = bundle.tell("state");
    assert_eq!(gone.status, 1);
    assert!(gone.stderr.contains("container does not exist"), "{}", gone.stderr);
    assert_eq!(bundle.call(&["delete", "--force", &bundle.id]).status, 0, "force does not mind");
}

/// Where the disk is a disk: in memory it is anyway if it is none.
#[test]
fn a_program_is_read_before_it_is_executed() {
    let bundle = Bundle::new(&["busybox", "sleep", "1000"]);
    let file = bundle.rootfs().join("bin/busybox");
    let pages = || {
        let output = Command::new("fincore").args(["-n", "-o", "pages"]).arg(&file).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().parse::<u32>().unwrap()
    };
    std::fs::File::open(&file).unwrap().sync_all().unwrap();
    let input = format!("if={}", file.display());
    let forgot =
        Command::new("dd").args([&input, "iflag=nocache", "count=0", "status=none"]).status().unwrap();
    assert!(forgot.success());
    bundle.create();
    wait_until(|| pages() > 0);
}

/// Every bundle asks at its end whether something is left: what is there has to be seen.
#[test]
fn what_belongs_to_a_container_is_seen() {
    let bundle = Bundle::new(&["/bin/sleep", "1000"]);
    bundle.create();
    bundle.start();
    assert_eq!(processes_of(&bundle.id), [format!("/proc/{}: /bin/sleep 1000 ", bundle.pid())]);
    let mut command = bundle.command(&["events", "--interval", "1h", &bundle.id]);
    let mut beside = command.stdout(std::process::Stdio::null()).spawn().unwrap();
    wait_until(|| processes_of(&bundle.id).len() == 2);
    beside.kill().unwrap();
    beside.wait().unwrap();
}

#[test]
fn one_that_waits_ends_when_it_is_asked_to() {
    let bundle = Bundle::new(&["/bin/sleep", "1000"]);
    bundle.create();
    assert_eq!(bundle.call(&["kill", &bundle.id, "TERM"]).status, 0);
    bundle.wait_for_status("stopped");
    assert!(bundle.tell("start").stderr.contains("cannot start a container that has stopped"));
}

#[test]
fn what_a_state_does_not_allow_is_said() {
    let bundle = Bundle::new(&["/bin/sleep", "1000"]);
    bundle.create();
    let twice = bundle.tell("create");
    assert!(twice.stderr.contains("container with given ID already exists"), "{}", twice.stderr);
    bundle.start();
    let again = bundle.tell("start");
    assert_eq!(again.status, 1);
    assert!(again.stderr.contains("cannot start an already running container"), "{}", again.stderr);
    assert!(bundle.tell("resume").stderr.contains("container not paused"));
    bundle.call(&["kill", &bundle.id, "9"]);
    bundle.wait_for_status("stopped");
    for (words, message) in [
        (vec!["kill", &bundle.id], "container not running"),
        (vec!["pause", &bundle.id], "container not running"),
        (vec!["start", &bundle.id], "cannot start a container that has stopped"),
        (vec!["exec", &bundle.id, "true"], "cannot exec in a stopped container"),
        (vec!["update", "--pids-limit", "5", &bundle.id], "container not running"),
    ] {
        let outcome = bundle.call(&words);
        assert!(outcome.status != 0 && outcome.stderr.contains(message), "{words:?}: {}", outcome.stderr);
    }
}

#[test]
fn one_that_waits_may_be_paused() {
    let bundle = Bundle::new(&["/bin/sleep", "1000"]);
    bundle.create();
    bundle.pause();
    bundle.wait_for_status("paused");
    let refused = |word: &str, reason: &str| {
        let told = bundle.tell(word);
        assert!(told.status != 0 && told.stderr.contains(reason), "{word}: {}", told.stderr);
    };
    refused("start", "cannot start a container in the paused state");
    refused("pause", "container not running");
    refused("delete", "that is not stopped: paused");
    bundle.resume();
    bundle.start();
    bundle.wait_for_status("running");
}

#[test]
fn many_starts_are_one() {
    let bundle = Bundle::new(&["/bin/sleep", "1000"]);
    bundle.create();
    let told: Vec<_> = std::thread::scope(|scope| {
        let starts: Vec<_> = (0..4).map(|_| scope.spawn(|| bundle.tell("start"))).collect();
        starts.into_iter().map(|start| start.join().unwrap()).collect()
    });
    let refused: Vec<_> = told.iter().filter(|outcome| outcome.status != 0).collect();
    assert_eq!(refused.len(), 3);
    for outcome in refused {
        assert!(outcome.stderr.contains("cannot start an already running container"), "{}", outcome.stderr);
    }
}

#[test]
fn run_ends_as_its_program_ends() {
    assert_eq!(Bundle::shell("exit 42").run().status, 42);
    assert_eq!(
        Bundle::shell("kill -9 $$; kill -s 15 1; exit 3").run().status,
        3,
        "init ignores its own signals"
    );
    let bundle = Bundle::shell("exit 7");
    assert_eq!(bundle.run().status, 7);
    assert!(!bundle.is_known());
    assert!(!bundle.cgroup_exists());
}

#[test]
fn one_that_is_kept_stays_when_it_has_ended() {
    let bundle = Bundle::shell("exit 7");
    bundle.write_config();
    assert_eq!(bundle.call(&["run", "--keep", &bundle.id]).status, 7);
    let state = bundle.state();
    assert_eq!((&state["status"], &state["pid"]), (&"stopped".into(), &0.into()));
    assert!(bundle.cgroup_exists());
    assert!(bundle.tell("run").stderr.contains("container with given ID already exists"));
    assert_eq!(bundle.tell("delete").status, 0);
    assert!(!bundle.cgroup_exists());
    assert_eq!(bundle.run().status, 7, "its id is free");
}

#[test]
fn a_detached_run_leaves_a_container() {
    let bundle = Bundle::shell("echo $0 > /started; exec sleep 1000");
    bundle.write_config();
    let pid_file = "run.pid";
    let status = bundle.command(&["run", "-d", "--pid-file", pid_file, &bundle.id]).status().unwrap();
    assert!(status.success());
    let pid = std::fs::read_to_string(bundle.directory.join(pid_file)).unwrap();
    assert_eq!(pid, bundle.pid().to_string(), "relative to the caller's directory");
    let listed = bundle.call(&["list", "-f", "json"]).stdout;
    assert!(listed.contains(&bundle.id) && listed.contains("\"running\""), "{listed}");
    assert!(bundle.call(&["list"]).stdout.starts_with("ID "));
    assert_eq!(bundle.call(&["delete", "-f", &bundle.id]).status, 0);
    assert!(!bundle.cgroup_exists());
}

#[test]
fn signals_reach_the_foreground_program() {
    let bundle = Bundle::shell("trap 'exit 9' TERM; touch /ready; while :; do sleep 0.01; done");
    bundle.write_config();
    let mut child = bundle.command(&["run", &bundle.id]).spawn().unwrap();
    wait_until(|| bundle.rootfs().join("ready").exists());
    linux::process::kill(child.id() as i32, linux::signal::SIGTERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(9));
}

#[test]
fn a_later_process_of_a_paused_container_waits_with_it() {
    let bundle = Bundle::new(&["/bin/sleep", "1000"]);
    bundle.create();
    bundle.start();
    assert_eq!(bundle.tell("pause").status, 0);
    let refused = bundle.exec("true");
    assert!(
        refused.stderr.contains("cannot exec in a paused container (use --ignore-paused to override"),
        "{}",
        refused.stderr
    );
    let mut beside =
        bundle.command(&["exec", "--ignore-paused", &bundle.id, "touch", "/done"]).spawn().unwrap();
    wait_until(|| bundle.cgroup().pids().unwrap().len() > 1);
    assert!(!bundle.rootfs().join("done").exists());
    assert_eq!(bundle.tell("resume").status, 0);
    assert!(beside.wait().unwrap().success() && bundle.rootfs().join("done").exists());
}

#[test]
fn paused_and_resumed() {
    let bundle = Bundle::shell("while :; do echo x >> /count; sleep 0.01; done");
    bundle.create();
    bundle.start();
    bundle.pause();
    assert_eq!(bundle.state()["status"], "paused");
    bundle.resume();
    assert_eq!(bundle.state()["status"], "running");
    bundle.pause();
    bundle.kill("KILL");
    bundle.wait_for_status("stopped");
}

#[test]
fn a_file_that_is_no_program_has_the_last_word_itself() {
    let bundle = Bundle::new(&["/script"]);
    std::fs::write(bundle.rootfs().join("script"), "\x01\x02 no program").unwrap();
    set_mode(&bundle.rootfs().join("script"), 0o755);
    let outcome = bundle.run();
    assert_eq!(outcome.status, 255);
    assert!(outcome.stderr.contains("exec /script: exec format error"), "{}", outcome.stderr);
    std::fs::write(bundle.rootfs().join("script"), "#!/bin/absent\n").unwrap();
    let outcome = bundle.run();
    assert_eq!((outcome.status, outcome.stderr.as_str()), (255, "exec /script: no such file or directory\n"));
    let mut beside = Bundle::new(&["/bin/sleep", "1000"]);
    beside.config["root"]["path"] = serde_json::json!(bundle.rootfs());
    beside.create();
    beside.start();
    let later = beside.execute(&["/script"]);
    assert_eq!((later.status, later.stderr.as_str()), (255, "exec /script: no such file or directory\n"));
}

#[test]
fn errors_are_logged_as_json_on_request() {
    let bundle = Bundle::new(&["nosuch"]);
    bundle.write_config();
    let outcome = bundle.call(&["--log", "log.json", "--log-format", "json", "create", &bundle.id]);
    assert_eq!(outcome.status, 1);
    let log = std::fs::read_to_string(bundle.directory.join("log.json")).unwrap();
    let line: serde_json::Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    assert_eq!(line["level"], "error");
    let keys: Vec<&str> = line.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["level", "msg", "time"]);
    let message = line["msg"].as_str().unwrap();
    let expected = "unable to start container process: error during container init: exec: \"nosuch\": executable \
                    file not found in $PATH";
    assert!(message.ends_with(expected), "{message}");
    assert!(outcome.stderr.contains(expected), "{}", outcome.stderr);
}

#[test]
fn a_container_with_the_hosts_processes_is_killed_whole() {
    let mut bundle = Bundle::shell("sleep 1000 & echo $!; exec sleep 1000");
    bundle.config["linux"]["namespaces"]
        .as_array_mut()
        .unwrap()
        .retain(|namespace| namespace["type"] != "pid");
    bundle.create();
    bundle.start();
    wait_until(|| bundle.log().ends_with('\n'));
    let other: i32 = bundle.log().trim().parse().unwrap();
    assert_eq!(bundle.call(&["kill", &bundle.id, "KILL"]).status, 0);
    wait_until(|| linux::procfs::stat(other).map_or(true, |stat| stat.state == 'Z'));
}

/// With the first process the others do not end: whoever deletes the container ends them.
#[test]
fn what_the_first_process_leaves_goes_with_the_container() {
    for words in [&["delete"][..], &["delete", "--force"]] {
        let mut bundle = Bundle::shell("sleep 1000 & echo $!");
        let namespaces = bundle.config["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|namespace| namespace["type"] != "pid");
        bundle.create();
        bundle.start();
        bundle.wait_for_status("stopped");
        let other: i32 = bundle.log().trim().parse().unwrap();
        assert!(bundle.cgroup().pids().unwrap().contains(&other));
        let outcome = bundle.call(&[words, &[&bundle.id]].concat());
        assert_eq!(outcome.status, 0, "{}", outcome.stderr);
        wait_until(|| linux::procfs::stat(other).map_or(true, |stat| stat.state == 'Z'));
        assert!(!bundle.cgroup_exists());
    }
}

fn set_mode(path: &std::path::Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

crate::door::by_the_library! {
    created_started_killed_deleted run_ends_as_its_program_ends paused_and_resumed
    a_file_that_is_no_program_has_the_last_word_itself
}
