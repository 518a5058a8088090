//! Containers that are saved and go on: with the real CRIU where it works, and with one that only speaks its protocol
//! (`criu.rs`) everywhere.
//!
//! A CRIU that is too old for the kernel refuses everything; `WHARF_TEST_CRIU` names the directory of a better one.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::bundle::{Bundle, Outcome, wait_until};
use crate::process::{console, take_terminal};

/// `PATH` with a CRIU that works, or none.
fn real() -> Option<String> {
    let own = std::env::var("WHARF_TEST_CRIU").unwrap_or_default();
    let path = format!("{own}:{}", std::env::var("PATH").unwrap());
    // A log that the machine's configuration names would be written to the current directory.
    let check = Command::new("criu").args(["check", "--no-default-config"]).env("PATH", &path).output();
    let works = check.is_ok_and(|check| check.status.success());
    if !works {
        scratch::skip("no CRIU works on this kernel");
    }
    works.then_some(path)
}

/// A container that counts in its own memory, and shows where it is in a file of the host's.
struct Counter {
    bundle: Bundle,
    path: String,
    shown: PathBuf,
    /// The other ends of its streams.
    held: Vec<OwnedFd>,
}

impl Counter {
    fn new(path: String, before: &str) -> Counter {
        let script = format!(
            "{before}; count=0; while :; do count=$((count+1)); echo $count >/outside/new; mv /outside/new /outside/count; sleep 0.05; done"
        );
        let mut bundle = Bundle::shell(&script);
        std::os::unix::fs::symlink("busybox", bundle.rootfs().join("bin/mv")).unwrap();
        let outside = bundle.directory.join("outside");
        std::fs::create_dir(&outside).unwrap();
        bundle.mount("/outside", "bind", outside.to_str().unwrap(), &["rbind"]);
        bundle.mount("/sys/fs/cgroup", "cgroup", "cgroup", &["ro"]);
        bundle.config["linux"]["maskedPaths"] = json!(["/proc/keys", "/proc/timer_list", "/proc/acpi"]);
        bundle.config["linux"]["readonlyPaths"] = json!(["/proc/sys"]);
        bundle.write_config();
        Counter { bundle, path, shown: outside.join("count"), held: Vec::new() }
    }

    /// With pipes for streams. CRIU knows neither files nor devices of the host's.
    fn call(&mut self, words: &[&str]) -> std::process::ExitStatus {
        let (input, hold_input) = linux::fd::pipe().unwrap();
        let (hold_output, output) = linux::fd::pipe().unwrap();
        let mut command = self.bundle.command(words);
        let both = output.try_clone().unwrap();
        command.env("PATH", &self.path).stdin(input).stdout(output).stderr(both);
        self.held = vec![hold_input, hold_output];
        command.status().unwrap()
    }

    fn told(&self) -> String {
        let mut text = vec![0; 8192];
        linux::fd::set_nonblocking(&self.held[1], true).unwrap();
        let length = linux::fd::read(&self.held[1], &mut text).unwrap_or(0);
        String::from_utf8_lossy(&text[..length]).into_owned()
    }

    fn ask(&self, words: &[&str]) -> Outcome {
        Outcome::of(self.bundle.command(words).env("PATH", &self.path).output().unwrap())
    }

    fn run(&mut self) {
        let id = self.bundle.id.clone();
        assert!(self.call(&["run", "--detach", &id]).success(), "{}", self.told());
    }

    fn checkpoint(&self, options: &[&str]) {
        let words = [&["checkpoint"], options, &[self.bundle.id.as_str()]].concat();
        let outcome = self.ask(&words);
        assert_eq!(outcome.status, 0, "{}", outcome.stderr);
    }

    fn restore(&mut self, options: &[&str]) {
        let id = self.bundle.id.clone();
        let words = [&["restore", "--detach"], options, &[id.as_str()]].concat();
        assert!(self.call(&words).success(), "{}", self.told());
    }

    fn count(&self) -> u64 {
        std::fs::read_to_string(&self.shown).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
    }

    fn counts_past(&self, count: u64) {
        wait_until(|| self.count() > count);
    }
}

/// CRIU would make the mount again without its maps.
#[test]
fn id_maps_of_mounts_are_kept() {
    let Some(path) = real() else { return };
    let mut counter = Counter::new(path, ":");
    let script = counter.bundle.config["process"]["args"][2].as_str().unwrap();
    let script = script.replace(
        "sleep 0.05",
        "stat -c %u /mapped/file >/outside/seen; mv /outside/seen /outside/owner; sleep 0.05",
    );
    counter.bundle.config["process"]["args"][2] = json!(script);
    let source = counter.bundle.directory.join("source");
    std::fs::create_dir(&source).unwrap();
    std::fs::write(source.join("file"), "").unwrap();
    std::os::unix::fs::chown(source.join("file"), Some(1005), None).unwrap();
    counter.bundle.mount("/mapped", "bind", source.to_str().unwrap(), &["bind"]);
    let ids = json!([{ "containerID": 1000, "hostID": 7000, "size": 10 }]);
    let mount = counter.bundle.config["mounts"].as_array_mut().unwrap().last_mut().unwrap();
    (mount["uidMappings"], mount["gidMappings"]) = (ids.clone(), ids);
    counter.bundle.write_config();
    counter.run();
    counter.counts_past(2);
    let owner = counter.shown.with_file_name("owner");
    counter.checkpoint(&["--image-path", "images"]);
    let count = counter.count();
    assert_eq!(std::fs::read_to_string(&owner).unwrap(), "7005\n");
    std::fs::remove_file(&owner).unwrap();
    counter.restore(&["--image-path", "images"]);
    counter.counts_past(count + 2);
    assert_eq!(std::fs::read_to_string(&owner).unwrap(), "7005\n");
    let id = counter.bundle.id.clone();
    assert_eq!(counter.ask(&["delete", "--force", &id]).status, 0);
}

#[test]
fn a_process_goes_on_with_what_it_had() {
    let Some(path) = real() else { return };
    let mut counter = Counter::new(path, ":");
    counter.run();
    for round in 0..2 {
        counter.counts_past(counter.count() + 3);
        counter.checkpoint(&["--image-path", "images", "--work-path", "work"]);
        assert!(counter.ask(&["state", &counter.bundle.id]).stderr.contains("container does not exist"));
        assert!(!counter.bundle.cgroup_exists(), "it is gone");
        let count = counter.count();
        // Where it was mounted is made again.
        std::fs::remove_dir(counter.bundle.rootfs().join("outside")).unwrap();
        let file = format!("pid{round}");
        counter.restore(&["--image-path", "images", "--work-path", "work", "--pid-file", &file]);
        counter.counts_past(count + 3);
        assert!(counter.count() < count + 1000, "it did not begin anew, nor make anything up");
        let bundle = &counter.bundle;
        let pid = std::fs::read_to_string(bundle.directory.join(file)).unwrap();
        assert_eq!((bundle.state()["status"].as_str(), pid), (Some("running"), bundle.pid().to_string()));
        let inside = bundle.exec(
            "id -u; hostname; grep -c /outside /proc/mounts; wc -c </proc/keys; echo no >/proc/sys/kernel/x",
        );
        assert!(inside.stdout.starts_with("0\ninside\n1\n0\n"), "{}{}", inside.stdout, inside.stderr);
        assert!(
            inside.stderr.contains("Read-only") || inside.stderr.contains("nonexistent"),
            "{}",
            inside.stderr
        );
        let pids = bundle.call(&["ps", "--format", "json", &bundle.id]).stdout;
        assert!(pids.contains(&bundle.pid().to_string()), "it is in its cgroup: {pids}");
    }
}

#[test]
fn a_container_that_is_left_running_or_paused() {
    let Some(path) = real() else { return };
    let mut counter = Counter::new(path, ":");
    counter.run();
    counter.counts_past(2);
    counter.checkpoint(&["--leave-running"]);
    counter.counts_past(counter.count());
    assert!(counter.bundle.directory.join("checkpoint/inventory.img").exists(), "in the current directory");
    assert_eq!(counter.bundle.tell("pause").status, 0);
    let count = counter.count();
    counter.checkpoint(&["--image-path", "second"]);
    counter.restore(&["--image-path", "second"]);
    counter.counts_past(count);
    assert_eq!(counter.bundle.state()["status"], "running");
}

/// Without a cgroup namespace the view of cgroups is made of binds, on v1.
#[test]
fn in_the_hosts_cgroup_namespace() {
    let Some(path) = real() else { return };
    let mut counter = Counter::new(path, ":");
    let namespaces = counter.bundle.config["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.retain(|namespace| namespace["type"] != "cgroup");
    counter.bundle.write_config();
    counter.run();
    counter.counts_past(2);
    let view = |counter: &Counter| counter.bundle.exec("grep /sys/fs/cgroup /proc/mounts | sort").stdout;
    let before = view(&counter);
    counter.checkpoint(&[]);
    let count = counter.count();
    counter.restore(&[]);
    counter.counts_past(count);
    assert_eq!(view(&counter), before);
}

#[test]
fn a_network_namespace_of_others_is_entered_again() {
    let Some(path) = real() else { return };
    let mut keeper = Command::new("unshare").args(["--net", "sleep", "1000"]).spawn().unwrap();
    let network = format!("/proc/{}/ns/net", keeper.id());
    let own = std::fs::read_link("/proc/self/ns/net").unwrap();
    wait_until(|| std::fs::read_link(&network).is_ok_and(|theirs| theirs != own));
    let theirs = std::fs::read_link(&network).unwrap();
    let mut counter = Counter::new(path, ":");
    for namespace in counter.bundle.config["linux"]["namespaces"].as_array_mut().unwrap() {
        if namespace["type"] == "network" {
            namespace["path"] = json!(network);
        }
    }
    counter.bundle.write_config();
    counter.run();
    counter.counts_past(2);
    counter.checkpoint(&[]);
    let count = counter.count();
    counter.restore(&[]);
    counter.counts_past(count);
    let inside = std::fs::read_link(format!("/proc/{}/ns/net", counter.bundle.pid())).unwrap();
    assert_eq!(inside, theirs);
    keeper.kill().unwrap();
    keeper.wait().unwrap();
}

#[test]
fn a_terminal_is_handed_out_again() {
    let Some(path) = real() else { return };
    let mut bundle = Bundle::shell("stty -echo; echo ready; while read line; do echo \"got $line\"; done");
    bundle.config["process"]["terminal"] = json!(true);
    bundle.write_config();
    let (socket, listener) = console(&bundle);
    let call = |words: &[&str]| {
        let status = bundle.command(words).env("PATH", &path).stdout(Stdio::null()).status().unwrap();
        assert!(status.success(), "{words:?}");
    };
    let talk = |terminal: &mut std::fs::File, line: &str, expected: &str| {
        use std::io::{Read, Write};
        terminal.write_all(line.as_bytes()).unwrap();
        let mut text = String::new();
        while !text.ends_with(expected) {
            let mut some = [0; 256];
            let length = terminal.read(&mut some).unwrap();
            text.push_str(&String::from_utf8_lossy(&some[..length]));
        }
    };
    call(&["run", "--detach", "--console-socket", &socket, &bundle.id]);
    let mut terminal = std::fs::File::from(take_terminal(&listener));
    talk(&mut terminal, "", "ready\r\n");
    talk(&mut terminal, "one\n", "got one\r\n");
    call(&["checkpoint", &bundle.id]);
    call(&["restore", "--detach", "--console-socket", &socket, &bundle.id]);
    let mut terminal = std::fs::File::from(take_terminal(&listener));
    talk(&mut terminal, "two\n", "got two\r\n");
}

/// In the foreground the end is waited for, and nothing stays behind.
#[test]
fn the_status_of_what_was_restored() {
    let Some(path) = real() else { return };
    let mut counter = Counter::new(path, "trap 'exit 7' USR1");
    counter.run();
    counter.counts_past(2);
    counter.checkpoint(&[]);
    let (input, _hold) = linux::fd::pipe().unwrap();
    let (_told, output) = linux::fd::pipe().unwrap();
    let mut command = counter.bundle.command(&["restore", &counter.bundle.id]);
    let both = output.try_clone().unwrap();
    let mut restore =
        command.env("PATH", &counter.path).stdin(input).stdout(output).stderr(both).spawn().unwrap();
    counter.counts_past(counter.count());
    assert_eq!(counter.ask(&["kill", &counter.bundle.id, "USR1"]).status, 0);
    assert_eq!(restore.wait().unwrap().code(), Some(7));
    assert_eq!(counter.ask(&["list", "-q"]).stdout, "");
}

#[test]
fn what_cannot_be_is_refused_and_leaves_nothing() {
    let Some(path) = real() else { return };
    let mut counter = Counter::new(path, ":");
    let id = counter.bundle.id.clone();
    std::fs::create_dir(counter.bundle.directory.join("empty")).unwrap();
    std::fs::write(counter.bundle.directory.join("empty/descriptors.json"), "[]").unwrap();
    assert!(!counter.call(&["restore", "--image-path", "empty", &id]).success());
    let told = counter.told();
    assert!(told.contains("criu failed: ") && told.contains("empty/restore.log"), "{told}");
    assert!(!counter.call(&["restore", "--image-path", "absent", &id]).success());
    let told = counter.told();
    assert!(told.contains("absent") && told.contains("no such file or directory"), "{told}");
    assert_eq!(counter.ask(&["list", "-q"]).stdout, "");
    assert!(!counter.bundle.cgroup_exists());
    // A file of the host's as a stream is what CRIU does not know.
    counter.bundle.create();
    let refused = counter.ask(&["checkpoint", &id]);
    assert!(
        refused.stderr.contains("Container cannot be checkpointed in created state"),
        "{}",
        refused.stderr
    );
    counter.bundle.start();
    let refused = counter.ask(&["checkpoint", &id]);
    assert!(
        refused.stderr.contains("criu failed: ") && refused.stderr.contains("dump.log"),
        "{}",
        refused.stderr
    );
    counter.counts_past(counter.count());
}

#[test]
fn without_criu_it_is_refused() {
    let bundle = Bundle::new(&["sleep", "1000"]);
    bundle.create();
    bundle.start();
    for words in [["checkpoint", &bundle.id], ["restore", "another"]] {
        let outcome = Outcome::of(bundle.command(&words).env("PATH", "/none").output().unwrap());
        assert_eq!(outcome.status, 1);
        let expected = "exec: \\\"criu\\\": executable file not found in $PATH";
        assert!(outcome.stderr.contains(expected), "{}", outcome.stderr);
    }
    assert_eq!(bundle.call(&["list", "-q"]).stdout, format!("{}\n", bundle.id));
}
