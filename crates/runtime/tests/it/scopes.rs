//! The systemd cgroup driver: with the machine's own systemd, and where there are v1 trees and no systemd with one that
//! does as much of its work as a scope needs.

mod systemd;

use std::path::PathBuf;

use linux::cgroup::{Cgroup, Layout};
use serde_json::json;

use crate::bundle::Bundle;
use systemd::Fake;

/// A container in a scope, and whom the runtime asks for it.
struct Scoped {
    bundle: Bundle,
    /// None where the machine has its own.
    fake: Option<Fake>,
    cgroup: Cgroup,
}

impl Scoped {
    /// None where nobody could be asked: cgroup v2 alone, without systemd.
    fn new() -> Option<Scoped> {
        let layout = Layout::detect().unwrap();
        let real = std::path::Path::new("/run/systemd/private").exists();
        if layout.is_unified() && !real {
            scratch::skip("cgroup v2 alone, without systemd");
            return None;
        }
        let mut bundle = Bundle::new(&["/bin/sleep", "1000"]);
        // A slice of its own: systemd takes one away that is empty, the fake does so too.
        let slice = format!("{}.slice", bundle.id.replace('-', ""));
        bundle.config["linux"]["cgroupsPath"] = json!(format!("{slice}:wharf:{}", bundle.id));
        let path = PathBuf::from(format!("/{slice}/wharf-{}.scope", bundle.id));
        let cgroup = Cgroup::at(&layout, &path).unwrap();
        let fake = (!real).then(|| Fake::start(bundle.directory.join("systemd"), layout));
        Some(Scoped { bundle, fake, cgroup })
    }

    fn run(&self, words: &[&str]) -> bool {
        let log = std::fs::File::create(self.bundle.directory.join("log")).unwrap();
        let mut command = self.bundle.command(&[&["--systemd-cgroup"], words].concat());
        if let Some(fake) = &self.fake {
            command = fake.seen_by(&command);
        }
        command.stdout(log.try_clone().unwrap()).stderr(log).status().unwrap().success()
    }

    fn succeeds(&self, words: &[&str]) {
        assert!(self.run(words), "{words:?}: {}", self.bundle.log());
    }

    /// A limit, wherever this machine has it.
    fn limit(&self, controller: &str, legacy: &str, unified: &str) -> String {
        let text = match self.cgroup.legacy(controller) {
            Some(_) => self.cgroup.get_legacy(controller, legacy),
            None => self.cgroup.get_unified(unified),
        };
        text.unwrap().trim().to_owned()
    }
}

#[test]
fn a_scope_is_asked_for_and_filled() {
    let Some(mut scoped) = Scoped::new() else { return };
    scoped.bundle.config["linux"]["resources"] = json!({
        "memory": { "limit": 67_108_864 }, "pids": { "limit": 20 }, "cpu": { "shares": 512 },
        "devices": [{ "allow": false, "access": "rwm" }, { "allow": true, "type": "c", "major": 1, "minor": 11, "access": "r" }],
    });
    scoped.bundle.config["annotations"] = json!({ "org.systemd.property.TimeoutStopSec": "7" });
    scoped.bundle.write_config();
    let id = scoped.bundle.id.clone();
    scoped.succeeds(&["run", "-d", &id]);
    let pid = scoped.bundle.pid();
    for (_, directory) in scoped.cgroup.paths() {
        let procs = std::fs::read_to_string(directory.join("cgroup.procs")).unwrap();
        assert_eq!(procs, format!("{pid}\n"), "the container alone in {directory:?}");
    }
    let memory = || scoped.limit("memory", "memory.limit_in_bytes", "memory.max");
    let pids = || scoped.limit("pids", "pids.max", "pids.max");
    assert_eq!((memory().as_str(), pids().as_str()), ("67108864", "20"));
    if let Some(fake) = &scoped.fake {
        let asked = fake.properties();
        assert_eq!(asked["Slice"], format!("{}.slice", id.replace('-', "")));
        assert_eq!((&asked["Delegate"], &asked["MemoryLimit"]), (&json!(true), &json!(67_108_864)));
        assert_eq!((&asked["TasksMax"], &asked["CPUShares"]), (&json!(20), &json!(512)));
        assert_eq!(
            (&asked["DevicePolicy"], &asked["TimeoutStopUSec"]),
            (&json!("strict"), &json!(7_000_000))
        );
        let devices = asked["DeviceAllow"].as_array().unwrap();
        assert!(devices.contains(&json!(["/dev/char/1:11", "r"])), "{devices:?}");
        assert!(devices.contains(&json!(["/dev/char/1:3", "rwm"])), "{devices:?}");
    }

    scoped.succeeds(&["update", "--pids-limit", "30", &id]);
    assert_eq!(pids(), "30");
    if let Some(fake) = &scoped.fake {
        assert_eq!(
            (&fake.properties()["TasksMax"], &fake.properties()["MemoryLimit"]),
            (&json!(30), &json!(67_108_864))
        );
    }
    assert_eq!(scoped.bundle.exec("cat /dev/null").status, 0);
    scoped.bundle.kill("KILL");
    scoped.bundle.wait_for_status("stopped");
    // Whether systemd has taken the scope away by now or not.
    for words in [&["ps", &*id][..], &["kill", "-a", &id, "0"]] {
        let outcome = scoped.bundle.call(words);
        assert_eq!(outcome.status, 0, "{words:?}: {}", outcome.stderr);
    }
    // `run` above has seen the fake; what follows has to as well.
    scoped.succeeds(&["delete", "--force", &id]);
    assert!(!scoped.cgroup.exists());
}

#[test]
fn devices_change_while_it_is_held() {
    let Some(scoped) = Scoped::new() else { return };
    scoped.bundle.write_config();
    let id = scoped.bundle.id.clone();
    scoped.succeeds(&["run", "-d", &id]);
    let resources = scoped.bundle.directory.join("resources.json");
    let rules =
        json!({ "devices": [{ "allow": false }, { "allow": true, "type": "c", "major": 1, "minor": 11 }] });
    std::fs::write(&resources, rules.to_string()).unwrap();
    scoped.succeeds(&["update", "-r", resources.to_str().unwrap(), &id]);
    assert_eq!(scoped.bundle.state()["status"], "running");
    if let Some(fake) = &scoped.fake {
        let devices = fake.properties()["DeviceAllow"].clone();
        assert!(devices.as_array().unwrap().contains(&json!(["/dev/char/1:11", "rwm"])), "{devices}");
        let list = scoped.cgroup.get_legacy("devices", "devices.list").unwrap();
        assert!(list.lines().any(|line| line == "c 1:11 rwm"), "{list}");
    }
    scoped.succeeds(&["delete", "--force", &id]);
}

#[test]
fn what_is_asked_of_systemd_must_make_sense() {
    let Some(mut scoped) = Scoped::new() else { return };
    let id = scoped.bundle.id.clone();
    scoped.bundle.config["annotations"] = json!({ "org.systemd.property.After": "'x" });
    scoped.bundle.write_config();
    assert!(!scoped.run(&["run", "-d", &id]));
    let log = scoped.bundle.log();
    assert!(log.contains("annotation org.systemd.property.After='x value parse error"), "{log}");
    scoped.bundle.config["annotations"] = json!({});
    scoped.bundle.config["linux"]["resources"] = json!({ "cpu": { "cpus": "4000" } });
    scoped.bundle.write_config();
    assert!(!scoped.run(&["run", "-d", &id]));
    assert!(scoped.bundle.log().contains("cpuset.cpus"), "{}", scoped.bundle.log());
    assert!(!scoped.cgroup.exists(), "nothing is left of it, in any tree");
}

/// Told first, systemd would have killed the container by the time that the limit is refused.
#[test]
fn what_is_refused_systemd_does_not_hear_of() {
    let Some(mut scoped) = Scoped::new() else { return };
    scoped.bundle.config["linux"]["resources"] = json!({ "memory": { "limit": 67_108_864 } });
    scoped.bundle.write_config();
    let id = scoped.bundle.id.clone();
    scoped.succeeds(&["run", "-d", &id]);
    let resources = scoped.bundle.directory.join("resources.json");
    std::fs::write(&resources, r#"{ "memory": { "limit": 1024, "checkBeforeUpdate": true } }"#).unwrap();
    assert!(!scoped.run(&["update", "-r", resources.to_str().unwrap(), &id]));
    assert!(scoped.bundle.log().contains("rejecting memory limit"), "{}", scoped.bundle.log());
    assert_eq!(scoped.bundle.state()["status"], "running");
    assert_eq!(scoped.limit("memory", "memory.limit_in_bytes", "memory.max"), "67108864");
    if let Some(fake) = &scoped.fake {
        assert_eq!(fake.properties()["MemoryLimit"], json!(67_108_864));
    }
    scoped.succeeds(&["delete", "--force", &id]);
}

/// Nothing that is born in there would ever run, nor be ended by whoever waits for it.
#[test]
fn a_frozen_place_is_refused() {
    let Some(scoped) = Scoped::new() else { return };
    scoped.bundle.write_config();
    let id = scoped.bundle.id.clone();
    scoped.cgroup.create().unwrap();
    scoped.cgroup.freeze().unwrap();
    assert!(!scoped.run(&["run", "-d", &id]));
    let told = scoped.bundle.log();
    scoped.cgroup.thaw().unwrap();
    scoped.cgroup.remove().unwrap();
    for (_, directory) in scoped.cgroup.paths() {
        // The slice, which systemd has never heard of.
        std::fs::remove_dir(directory.parent().unwrap()).unwrap();
    }
    assert!(told.contains("container's cgroup unexpectedly frozen"), "{told}");
}
