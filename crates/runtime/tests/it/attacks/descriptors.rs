//! Descriptors and directories of the host that a process still has while it is already in reach of the container.

use std::fs;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::json;

use super::{add_capability, drop_mounts, rounds};
use crate::bundle::Bundle;

/// A container that looks through `/proc/<pid>` of every process that it sees: for the host's root, its working directory,
/// its descriptors, and what `..` leads to from there. It notes when there is anybody to look at. It has `CAP_SYS_PTRACE`,
/// before which no protection of memory holds; so there must be nothing to see from the first instruction on.
fn watcher() -> Bundle {
    let mut bundle = Bundle::new(&[]);
    let marker = bundle.directory.join("marker");
    fs::write(&marker, "").unwrap();
    let up = "../../../../../../../..";
    let script = format!(
        "echo ready > /ready; while :; do for p in /proc/[0-9]*; do [ $p = /proc/1 ] || echo $p > /looked; \
         [ -e $p/root{m} ] && echo $p root >> /found; [ -e $p/cwd/{up}{m} ] && echo $p cwd >> /found; \
         for f in $p/fd/*; do [ -e $f/{up}{m} ] && echo $f >> /found; done; done; done",
        m = marker.display()
    );
    bundle.config["process"]["args"] = json!(["/bin/sh", "-c", script]);
    add_capability(&mut bundle, "CAP_SYS_PTRACE");
    bundle.create();
    bundle.start();
    crate::bundle::wait_until(|| bundle.rootfs().join("ready").exists());
    bundle
}

fn found_by(watcher: &Bundle) -> String {
    fs::read_to_string(watcher.rootfs().join("found")).unwrap_or_default()
}

/// Rounds until the watcher has seen somebody, who showed it nothing. At the end there is one who does, to see that it
/// looks.
fn shows_nothing(watcher: Bundle, mut round: impl FnMut(&Bundle)) {
    rounds(|| {
        round(&watcher);
        watcher.rootfs().join("looked").exists()
    });
    assert_eq!(found_by(&watcher), "");
    let target = watcher.pid().to_string();
    let host = fs::File::open("/").unwrap();
    let careless = Command::new("nsenter")
        .args(["--pid", "--target", &target, "sleep", "1000"])
        .current_dir("/")
        .stdin(host)
        .spawn();
    let ways = [" root\n", " cwd\n", "/fd/0\n"];
    crate::bundle::wait_until(|| ways.iter().all(|way| found_by(&watcher).contains(way)));
    // With the first process of its namespace it ends.
    drop(watcher);
    careless.unwrap().wait().unwrap();
}

#[test]
fn cve_2016_9962_a_process_on_its_way_in_shows_nothing_of_the_host() {
    shows_nothing(watcher(), |watcher| {
        for _ in 0..2 {
            assert_eq!(watcher.execute(&["true"]).status, 0);
        }
    });
}

/// The same for a container that is made in the PID namespace of another.
#[test]
fn cve_2016_9962_a_container_that_joins_others_is_built_out_of_their_sight() {
    let watching = watcher();
    let mut bundle = Bundle::new(&["true"]);
    join_processes(&mut bundle, &watching);
    shows_nothing(watching, |_| assert_eq!(bundle.output(), ""));
}

/// And for one that has a user namespace of its own, which has no rights over that of the processes. What is executed
/// for it on the way is not to be seen either.
#[test]
fn cve_2016_9962_a_container_with_ids_of_its_own_is_too() {
    let watching = watcher();
    let bundle = with_ids_of_its_own(&watching);
    shows_nothing(watching, |_| {
        let output = bundle.output();
        let (pid, user) = output.trim().split_once(' ').unwrap();
        assert!(pid.parse::<i32>().unwrap() > 1, "it is beside the other's first: {output}");
        assert_eq!(user, "0");
    });
}

/// What fails out of sight is told all the same.
#[test]
fn a_hook_of_one_that_is_built_out_of_sight_says_why_it_failed() {
    let other = Bundle::new(&["/bin/sleep", "1000"]);
    other.create();
    let mut bundle = with_ids_of_its_own(&other);
    bundle.config["hooks"]["createContainer"][0]["args"][3] = json!("echo why; exit 3");
    let told = bundle.refused();
    assert!(told.contains("error running createContainer hook #0: exit status 3, stdout: why"), "{told}");
}

/// In the PID namespace of the other, with a user namespace of its own and a hook that takes its time.
fn with_ids_of_its_own(other: &Bundle) -> Bundle {
    let mut bundle = Bundle::shell("echo $$ $(id -u)");
    join_processes(&mut bundle, other);
    // As everywhere, procfs is for those who have rights over its processes.
    drop_mounts(&mut bundle, "/proc");
    bundle.config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "user" }));
    let ids = json!([{ "containerID": 0, "hostID": 100_000, "size": 1000 }]);
    bundle.config["linux"]["uidMappings"] = ids.clone();
    bundle.config["linux"]["gidMappings"] = ids;
    let script = "[ $(id -u) = 0 ] && [ -d bin ] && exec sleep 0.05";
    let hook = json!([{ "path": "/bin/busybox", "args": ["busybox", "sh", "-c", script], "env": ["PATH=/bin:/usr/bin"] }]);
    bundle.config["hooks"]["createContainer"] = hook;
    bundle
}

/// Whoever is inside may send signals to a process of its own user that is on its way in, and so could have the runtime, and
/// a supervisor that is to end the container, wait for ever.
#[test]
fn one_that_is_stopped_on_its_way_in_is_given_up() {
    let bundle = Bundle::shell(
        "echo ready > /ready; while :; do for p in /proc/[0-9]*; do p=${p#/proc/}; \
         [ $p = 1 ] || kill -STOP $p; done; done 2> /dev/null",
    );
    bundle.create();
    bundle.start();
    crate::bundle::wait_until(|| bundle.rootfs().join("ready").exists());
    crate::bundle::wait_until(|| {
        // No pipes: a program that was stopped later would keep them open.
        let errors = fs::File::create(bundle.directory.join("log")).unwrap();
        let mut exec = bundle.command(&["exec", "-d", &bundle.id, "true"]);
        let entered = exec.stdout(Stdio::null()).stderr(errors).status().unwrap().success();
        assert!(entered || bundle.log().contains("another process has stopped it"), "{}", bundle.log());
        !entered
    });
}

fn join_processes(bundle: &mut Bundle, other: &Bundle) {
    let namespaces = bundle.config["linux"]["namespaces"].as_array_mut().unwrap();
    let pid = namespaces.iter_mut().find(|namespace| namespace["type"] == "pid").unwrap();
    pid["path"] = json!(format!("/proc/{}/ns/pid", other.pid()));
}

/// The process that waits to be started holds no directory at all, and only root may look at it.
#[test]
fn cve_2016_9962_a_waiting_process_holds_no_directory() {
    let bundle = Bundle::new(&["/bin/sleep", "1000"]);
    bundle.create();
    let pid = bundle.pid();
    let descriptors: Vec<String> = fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .map(|entry| fs::read_link(entry.unwrap().path()).unwrap().display().to_string())
        .collect();
    assert_eq!(descriptors.iter().filter(|target| Path::new(target).is_dir()).count(), 0, "{descriptors:?}");
    use std::os::unix::fs::MetadataExt;
    assert_eq!(fs::metadata(format!("/proc/{pid}/fd")).unwrap().uid(), 0);
}

/// The runtime with the host's root as its descriptor 7, as careless callers leave them.
fn with_a_leak(bundle: &Bundle, words: &str) -> Output {
    let runtime = env!("CARGO_BIN_EXE_wharf-runtime");
    let state = bundle.directory.join("state");
    let script = format!("exec 7< / ; exec {runtime} --root {} {words}", state.display());
    Command::new("/bin/sh").args(["-c", &script]).current_dir(&bundle.directory).output().unwrap()
}

/// A working directory that is reached through a descriptor of the runtime's, or of its caller's.
#[test]
fn cve_2024_21626_the_working_directory_cannot_be_outside() {
    let mut bundle = Bundle::new(&["/bin/sh", "-c", "echo in $PWD; ls"]);
    for number in 3..16 {
        bundle.config["process"]["cwd"] = json!(format!("/proc/self/fd/{number}"));
        bundle.write_config();
        let output = with_a_leak(&bundle, &format!("run {}", bundle.id));
        assert!(!output.status.success(), "descriptor {number}: {output:?}");
        assert!(output.stdout.is_empty(), "descriptor {number}: {output:?}");
    }
}

/// The same for a process that is executed later, whose directory the container can make a link.
#[test]
fn cve_2024_21626_nor_that_of_a_later_process() {
    let bundle = Bundle::new(&["/bin/sleep", "1000"]);
    bundle.create();
    bundle.start();
    for number in 3..16 {
        let link = bundle.rootfs().join(format!("link{number}"));
        std::os::unix::fs::symlink(format!("/proc/self/fd/{number}"), link).unwrap();
        let output = with_a_leak(&bundle, &format!("exec --cwd /link{number} {} true", bundle.id));
        assert!(!output.status.success(), "descriptor {number}: {output:?}");
    }
}

/// The program itself is found through such a descriptor: the host's would run inside, and could be overwritten there.
#[test]
fn cve_2024_21626_the_program_is_not_found_through_a_descriptor() {
    let mut bundle = Bundle::new(&[]);
    for number in 3..16 {
        bundle.config["process"]["args"] = json!([format!("/proc/self/fd/{number}/bin/busybox"), "true"]);
        bundle.write_config();
        let output = with_a_leak(&bundle, &format!("run {}", bundle.id));
        assert!(!output.status.success(), "descriptor {number}: {output:?}");
    }
}

/// The same by what is open in the process that calls, which may be a program with threads.
#[test]
fn cve_2024_21626_what_the_caller_holds_leads_nowhere() {
    let leak = fs::File::open("/").unwrap();
    linux::fd::set_inheritable(&leak, true).unwrap();
    let held = format!("/proc/self/fd/{}", leak.as_raw_fd());
    let bundle = Bundle::new(&["/bin/sleep", "1000"]);
    bundle.create();
    bundle.start();
    for (field, value) in [("cwd", json!(held)), ("args", json!([format!("{held}/bin/busybox"), "true"]))] {
        let mut first = Bundle::new(&["true"]);
        first.config["process"][field] = value.clone();
        first.refused();
        let mut fields = json!({ "args": ["true"] });
        fields[field] = value;
        let later = bundle.execute_with(&fields);
        assert!(later.status == 255 && later.stdout.is_empty(), "{field}: {}", later.stderr);
    }
    assert_eq!(bundle.exec("ls /proc/self/fd | wc -l").stdout, "4\n");
}

/// Whatever the caller left open without saying so, the program has three descriptors and the one it lists them with.
#[test]
fn cve_2024_21626_nothing_leaks_into_the_program() {
    let bundle = Bundle::new(&["/bin/sh", "-c", "ls /proc/self/fd | wc -l; sleep 1000"]);
    bundle.write_config();
    let log = bundle.directory.join("out").display().to_string();
    assert!(with_a_leak(&bundle, &format!("run -d {} > {log} 2>&1", bundle.id)).status.success());
    crate::bundle::wait_until(|| fs::read_to_string(&log).is_ok_and(|text| text.ends_with('\n')));
    assert_eq!(fs::read_to_string(&log).unwrap(), "4\n");
    let later = with_a_leak(&bundle, &format!("exec {} ls /proc/self/fd", bundle.id));
    assert_eq!(String::from_utf8_lossy(&later.stdout).lines().count(), 4, "{later:?}");
}

crate::door::by_the_library! {
    cve_2016_9962_a_process_on_its_way_in_shows_nothing_of_the_host
    cve_2016_9962_a_container_that_joins_others_is_built_out_of_their_sight
    cve_2016_9962_a_container_with_ids_of_its_own_is_too cve_2016_9962_a_waiting_process_holds_no_directory
    a_hook_of_one_that_is_built_out_of_sight_says_why_it_failed cve_2024_21626_what_the_caller_holds_leads_nowhere
}
