//! By an ordinary user, with and without ids of his own to give away, and inside another container.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::bundle::{Bundle, Outcome, wait_until};

/// Nobody has this id on a machine of ours.
const USER: u32 = 54321;

/// A bundle that belongs to an ordinary user, with the configuration that `spec --rootless` writes.
fn of_user(args: &[&str]) -> Bundle {
    let mut bundle = Bundle::new(&["true"]);
    own(&bundle.directory);
    assert_eq!(as_user(&bundle, "", &["spec", "--rootless"]).status, 0);
    let text = std::fs::read_to_string(bundle.directory.join("config.json")).unwrap();
    bundle.config = serde_json::from_str::<Value>(&text).unwrap();
    bundle.config["process"]["terminal"] = json!(false);
    bundle.config["process"]["args"] = json!(args);
    bundle
}

fn own(path: &Path) {
    std::os::unix::fs::lchown(path, Some(USER), Some(USER)).unwrap();
    if path.is_dir() && !path.is_symlink() {
        std::fs::read_dir(path).unwrap().for_each(|entry| own(&entry.unwrap().path()));
    }
}

/// The runtime as that user, in a mount namespace in which this script has run.
fn command(bundle: &Bundle, script: &str, words: &[&str]) -> Command {
    let runtime = bundle.command(words);
    let mut command = Command::new("unshare");
    let ids = format!("--reuid {USER} --regid {USER} --clear-groups --inh-caps=-all");
    command.args(["--mount", "sh", "-ec", &format!("{script}\nexec setpriv {ids} \"$@\""), "sh"]);
    command.arg(runtime.get_program()).args(runtime.get_args());
    command.stdin(Stdio::null()).current_dir(&bundle.directory);
    command
}

fn as_user(bundle: &Bundle, script: &str, words: &[&str]) -> Outcome {
    Outcome::of(command(bundle, script, words).output().unwrap())
}

fn run(bundle: &Bundle, script: &str) -> Outcome {
    bundle.write_config();
    as_user(bundle, script, &["run", &bundle.id])
}

#[test]
fn an_ordinary_user_without_cgroups() {
    let bundle = of_user(&["sleep", "1000"]);
    bundle.write_config();
    let mut create = command(&bundle, "", &["run", "--detach", &bundle.id]);
    assert!(create.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
    let inside =
        as_user(&bundle, "", &["exec", &bundle.id, "sh", "-c", "id -u; tr -s ' ' </proc/self/uid_map"]);
    assert_eq!((inside.status, inside.stdout), (0, format!("0\n 0 {USER} 1\n")), "{}", inside.stderr);
    let list = as_user(&bundle, "", &["list"]).stdout;
    assert!(list.contains("running") && list.trim_end().ends_with(&format!("#{USER}")), "{list}");
    for words in
        [vec!["pause", &bundle.id], vec!["ps", &bundle.id], vec!["update", "--pids-limit", "5", &bundle.id]]
    {
        let refused = as_user(&bundle, "", &words);
        assert!(
            refused.stderr.contains("cgroups not configured for container"),
            "{words:?}: {}",
            refused.stderr
        );
    }
    assert_eq!(as_user(&bundle, "", &["kill", &bundle.id, "KILL"]).status, 0);
    wait_until(|| as_user(&bundle, "", &["state", &bundle.id]).stdout.contains("stopped"));
    assert_eq!(as_user(&bundle, "", &["delete", &bundle.id]).status, 0);
}

#[test]
fn beside_one_that_waits() {
    let mut bundle = of_user(&["sleep", "1000"]);
    bundle.config["linux"]["devices"] =
        json!([{ "path": "/dev/ptmx", "type": "c", "major": 5, "minor": 2, "fileMode": 438 }]);
    bundle.write_config();
    let mut create = command(&bundle, "", &["create", &bundle.id]);
    assert!(create.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
    let beside = as_user(&bundle, "", &["exec", &bundle.id, "readlink", "/dev/ptmx"]);
    assert_eq!((beside.status, beside.stdout.as_str()), (0, "pts/ptmx\n"), "{}", beside.stderr);
    assert_eq!(as_user(&bundle, "", &["start", &bundle.id]).status, 0);
    assert_eq!(as_user(&bundle, "", &["delete", "--force", &bundle.id]).status, 0);
}

#[test]
fn processes_that_nobody_could_end_are_warned_of() {
    let mut bundle = of_user(&["true"]);
    assert_eq!(run(&bundle, "").stderr, "");
    bundle.config["linux"]["namespaces"].as_array_mut().unwrap().retain(|one| one["type"] != "pid");
    let mounts = bundle.config["mounts"].as_array_mut().unwrap();
    mounts.retain(|mount| mount["type"] != "proc");
    mounts.insert(
        0,
        json!({ "destination": "/proc", "type": "none", "source": "/proc", "options": ["rbind", "nosuid", "nodev", "noexec"] }),
    );
    let outcome = run(&bundle, "");
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("Such configuration is strongly discouraged"), "{}", outcome.stderr);
}

/// The directories of a cgroup that were given to the user, taken away again.
struct Given(Vec<std::path::PathBuf>);

impl Drop for Given {
    fn drop(&mut self) {
        self.0.iter().for_each(|place| std::fs::remove_dir(place).unwrap());
    }
}

#[test]
fn a_place_of_the_same_name_that_is_roots() {
    let bundle = of_user(&["cat", "/proc/self/cgroup"]);
    let places = Given(bundle.cgroup().paths().into_iter().map(|(_, path)| path).collect());
    places.0.iter().for_each(|place| std::fs::create_dir(place).unwrap());
    let outcome = run(&bundle, "");
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
    assert!(!outcome.stdout.contains(&bundle.id), "it stays out of it: {}", outcome.stdout);
}

#[test]
fn a_place_that_was_given_to_the_user_in_the_trees_of_v1() {
    let mut bundle = of_user(&["cat", "/proc/self/cgroup"]);
    let parent = bundle.cgroup();
    if parent.is_unified() {
        scratch::skip("there are no trees of cgroup v1");
        return;
    }
    let trees: Vec<_> = parent.paths().into_iter().filter(|(name, _)| !name.is_empty()).collect();
    let given = Given(trees.into_iter().map(|(_, path)| path).collect());
    for place in &given.0 {
        std::fs::create_dir(place).unwrap();
        own(place);
    }
    let path = format!("/{}/below", bundle.id);
    bundle.config["linux"]["cgroupsPath"] = json!(path);
    bundle.config["linux"]["resources"] = json!({ "pids": { "limit": 50 } });
    let outcome = run(&bundle, "");
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
    assert!(given.0.iter().all(|place| !place.join("below").exists()), "what it made is gone");
    bundle.config["linux"]["cgroupsPath"] = json!("/not-given/below");
    let refused = run(&bundle, "");
    assert!(refused.stderr.contains("unable to apply cgroup configuration"), "{}", refused.stderr);
}

#[test]
fn a_place_or_a_limit_that_is_not_the_users_to_have_is_refused() {
    let mut bundle = of_user(&["true"]);
    bundle.config["linux"]["cgroupsPath"] = json!(format!("/{}", bundle.id));
    let refused = run(&bundle, "");
    assert_eq!(refused.status, 1);
    let expected = "unable to apply cgroup configuration: ";
    assert!(
        refused.stderr.contains(expected) && refused.stderr.contains("permission denied"),
        "{}",
        refused.stderr
    );
    let mut bundle = of_user(&["true"]);
    bundle.config["linux"]["resources"] = json!({ "pids": { "limit": 5 } });
    let refused = run(&bundle, "");
    let expected = "rootless needs no limits + no cgrouppath when no permission is granted for cgroups";
    assert!(refused.stderr.contains(expected), "{}", refused.stderr);
}

#[test]
fn ids_that_the_user_was_given() {
    let mut bundle = of_user(&["sh", "-c", "tr -s ' ' </proc/self/uid_map; id -u; id -G"]);
    let own = json!({ "containerID": 0, "hostID": USER, "size": 1 });
    let given = json!({ "containerID": 1, "hostID": 700_000, "size": 1000 });
    bundle.config["linux"]["uidMappings"] = json!([own, given]);
    bundle.config["linux"]["gidMappings"] = json!([own, given]);
    bundle.config["process"]["user"] = json!({ "uid": 7, "gid": 8, "additionalGids": [9] });
    let directory = bundle.directory.display();
    let script = format!(
        "printf 'wharfit:x:{USER}:{USER}::/:/bin/sh\\n' >{directory}/passwd
         printf 'wharfit:700000:1000\\n' >{directory}/sub
         mount --bind {directory}/passwd /etc/passwd
         mount --bind {directory}/sub /etc/subuid
         mount --bind {directory}/sub /etc/subgid"
    );
    let outcome = run(&bundle, &script);
    let expected = format!(" 0 {USER} 1\n 1 700000 1000\n7\n8 9\n");
    assert_eq!((outcome.status, outcome.stdout), (0, expected), "{}", outcome.stderr);
    let refused = run(&bundle, &format!("{script}; : >{directory}/sub"));
    assert_eq!(refused.status, 1);
    assert!(refused.stderr.contains("newuidmap: "), "{}", refused.stderr);
}

#[test]
fn inside_another_container() {
    let inner = Bundle::shell("echo inner; tail -n 1 /proc/self/cgroup; hostname");
    inner.write_config();
    let mut outer = Bundle::new(&["true"]);
    let directory = inner.directory.to_str().unwrap();
    let runtime = Path::new(env!("CARGO_BIN_EXE_wharf-runtime"));
    // The runtime is linked to the host's libraries.
    std::fs::create_dir(outer.rootfs().join("usr")).unwrap();
    for name in ["lib", "lib64"] {
        std::os::unix::fs::symlink(Path::new("usr").join(name), outer.rootfs().join(name)).unwrap();
    }
    outer.mount("/usr", "bind", "/usr", &["rbind", "ro"]);
    outer.mount("/runtime", "bind", runtime.to_str().unwrap(), &["bind"]);
    outer.mount(directory, "bind", directory, &["rbind"]);
    outer.mount("/sys/fs/cgroup", "cgroup", "cgroup", &["rw"]);
    let held = linux::credentials::held().unwrap().permitted;
    let names = (0..64).filter(|number| held.has(*number)).filter_map(linux::credentials::capability_name);
    let all: Vec<String> = names.collect();
    outer.config["process"]["capabilities"] = json!({ "bounding": all, "effective": all, "permitted": all });
    outer.config["linux"]["resources"] = json!({ "devices": [{ "allow": true, "access": "rwm" }] });
    outer.config["process"]["args"] = json!([
        "/bin/sh",
        "-c",
        format!("cd {directory} && exec /runtime --root {directory}/state run {}", inner.id)
    ]);
    let outcome = outer.run();
    assert_eq!(outcome.status, 0, "{}{}", outcome.stdout, outcome.stderr);
    assert!(
        outcome.stdout.starts_with("inner\n") && outcome.stdout.ends_with("inside\n"),
        "{}",
        outcome.stdout
    );
}

/// A tree of cgroups that is the user's, in a world of v2 alone: the runtime is called from one of its leaves.
struct Delegated {
    bundle: Bundle,
    top: std::path::PathBuf,
    script: String,
}

impl Delegated {
    fn new() -> Delegated {
        let bundle = of_user(&["sleep", "1000"]);
        let layout = linux::cgroup::Layout::detect().unwrap();
        let tree = layout.unified.unwrap();
        let name = format!("{}-user", bundle.id);
        let top = tree.join(&name);
        std::fs::create_dir_all(top.join("session")).unwrap();
        let _not_there = std::fs::write(tree.join("cgroup.subtree_control"), "+pids");
        for directory in [&top, &top.join("session")] {
            for file in ["", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control"] {
                std::os::unix::fs::lchown(directory.join(file), Some(USER), Some(USER)).unwrap();
            }
        }
        let script = format!(
            "echo $$ >{}/session/cgroup.procs; umount -R -l /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup",
            top.display()
        );
        Delegated { bundle, top, script }
    }

    fn call(&self, words: &[&str]) -> Outcome {
        as_user(&self.bundle, &self.script, words)
    }

    fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.top.join(&self.bundle.id).join(name))
            .unwrap_or_default()
            .trim()
            .to_owned()
    }
}

impl Drop for Delegated {
    fn drop(&mut self) {
        self.call(&["delete", "--force", &self.bundle.id]);
        for directory in ["session", ""] {
            let _kept_if_in_use = std::fs::remove_dir(self.top.join(directory));
        }
        if !std::thread::panicking() {
            assert!(!self.top.exists(), "nothing is left in it");
        }
    }
}

#[test]
fn cgroups_that_were_given_to_the_user() {
    let delegated = Delegated::new();
    let (bundle, id) = (&delegated.bundle, delegated.bundle.id.as_str());
    bundle.write_config();
    let mut run = command(bundle, &delegated.script, &["run", "--detach", id]);
    let log = std::fs::File::create(bundle.directory.join("log")).unwrap();
    let done = run.stdout(log.try_clone().unwrap()).stderr(log).status().unwrap().success();
    assert!(done, "{}", bundle.log());
    let pid = delegated.file("cgroup.procs");
    assert_eq!(delegated.call(&["ps", "--format", "json", id]).stdout, format!("[{pid}]\n"));
    let told = |words: &[&str]| {
        let outcome = delegated.call(words);
        assert_eq!(outcome.status, 0, "{words:?}: {}", outcome.stderr);
    };
    told(&["pause", id]);
    assert_eq!(delegated.file("cgroup.freeze"), "1");
    assert!(delegated.call(&["state", id]).stdout.contains("paused"));
    told(&["resume", id]);
    assert_eq!(delegated.file("cgroup.freeze"), "0");
    let limited = delegated.call(&["update", "--pids-limit", "7", id]);
    if delegated.file("cgroup.controllers").contains("pids") {
        assert_eq!((limited.status, delegated.file("pids.max")), (0, "7".to_owned()), "{}", limited.stderr);
    } else {
        // A controller that v1 has.
        assert!(limited.stderr.contains("failed to set pids.max"), "{}", limited.stderr);
    }
    told(&["exec", id, "true"]);
    told(&["kill", id, "KILL"]);
    wait_until(|| delegated.call(&["state", id]).stdout.contains("stopped"));
    told(&["delete", id]);
    assert_eq!(delegated.file("cgroup.procs"), "", "it is gone");
}

/// Somebody whose own systemd runs, as after a login.
fn logged_in() -> Option<(u32, u32)> {
    use std::os::unix::fs::MetadataExt;
    let entries = std::fs::read_dir("/run/user").ok()?;
    let found = entries.flatten().filter(|entry| entry.path().join("systemd/private").exists());
    let mut found = found.filter_map(|entry| entry.metadata().ok());
    found.find(|found| found.uid() != 0).map(|found| (found.uid(), found.gid()))
}

/// In cgroups that are his already: systemd alone may move a process there from elsewhere.
#[test]
fn a_scope_of_the_users_own_systemd() {
    let Some((user, group)) = logged_in() else {
        scratch::skip("nobody has logged in whose systemd runs");
        return;
    };
    let mut bundle = of_user(&["sleep", "1000"]);
    bundle.config["linux"]["uidMappings"][0]["hostID"] = json!(user);
    bundle.config["linux"]["gidMappings"][0]["hostID"] = json!(group);
    bundle.config["linux"]["cgroupsPath"] = json!(format!("user.slice:wharf:{}", bundle.id));
    bundle.config["linux"]["resources"] = json!({ "pids": { "limit": 20 } });
    bundle.write_config();
    let chown =
        Command::new("chown").args(["-R", &format!("{user}:{group}")]).arg(&bundle.directory).status();
    assert!(chown.unwrap().success());
    let call = |words: &[&str]| {
        let runtime = bundle.command(&[&["--systemd-cgroup"], words].concat());
        let mut command = Command::new("setpriv");
        command.args([&format!("--reuid={user}"), &format!("--regid={group}"), "--clear-groups", "env"]);
        command.arg(format!("XDG_RUNTIME_DIR=/run/user/{user}"));
        command.args(["systemd-run", "--user", "--scope", "--quiet", "-p", "Delegate=yes"]);
        command.arg(runtime.get_program()).args(runtime.get_args()).current_dir(&bundle.directory);
        let log = std::fs::File::create(bundle.directory.join("log")).unwrap();
        let done =
            command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).status().unwrap();
        assert!(done.success(), "{words:?}: {}", bundle.log());
        bundle.log()
    };
    call(&["run", "--detach", &bundle.id]);
    let text = std::fs::read_to_string(format!("/proc/{}/cgroup", bundle.pid())).unwrap();
    let scope = text.trim().strip_prefix("0::").unwrap();
    assert!(scope.ends_with(&format!("/user.slice/wharf-{}.scope", bundle.id)), "{text}");
    let scope = Path::new("/sys/fs/cgroup").join(&scope[1..]);
    let limit = || std::fs::read_to_string(scope.join("pids.max")).unwrap();
    assert_eq!(limit(), "20\n");
    call(&["update", "--pids-limit", "9", &bundle.id]);
    assert_eq!(limit(), "9\n");
    call(&["pause", &bundle.id]);
    assert!(call(&["state", &bundle.id]).contains("paused"));
    call(&["resume", &bundle.id]);
    call(&["exec", &bundle.id, "true"]);
    call(&["delete", "--force", &bundle.id]);
    assert!(!scope.exists());
}
