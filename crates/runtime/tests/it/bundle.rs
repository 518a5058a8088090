//! A bundle in a directory of its own, and the runtime pointed at it: its command line, or (see [`crate::door`]) the library.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::door::Library;

static COUNTER: AtomicU32 = AtomicU32::new(0);

pub(crate) struct Bundle {
    pub(crate) directory: PathBuf,
    pub(crate) config: Value,
    /// The container's id.
    pub(crate) id: String,
    /// Where the test goes through that door.
    library: Option<Library>,
}

/// What a command printed and how it ended.
pub(crate) struct Outcome {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Bundle {
    /// A shell script as the container's program.
    pub(crate) fn shell(script: &str) -> Bundle {
        Bundle::new(&["/bin/sh", "-c", script])
    }

    pub(crate) fn new(args: &[&str]) -> Bundle {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let id = format!("wharf-it-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(&id);
        let root = directory.join("rootfs");
        for name in ["bin", "etc", "tmp", "proc", "sys", "dev"] {
            std::fs::create_dir_all(root.join(name)).unwrap();
        }
        // By a process of its own: a descriptor of ours would for a moment be held by whatever the other tests start, and
        // what is open for writing cannot be executed.
        let copied = Command::new("/bin/busybox").args(["cp", "/bin/busybox"]).arg(root.join("bin")).status();
        assert!(copied.unwrap().success());
        let applets = "sh ls cat mount ps id true sleep echo hostname touch mkdir mknod stat readlink kill test \
                       chmod grep ln rm dd wc head tail env pwd chroot sysctl ifconfig tty stty umask date nproc uname ionice";
        for applet in applets.split_whitespace() {
            symlink("busybox", root.join("bin").join(applet)).unwrap();
        }
        std::fs::write(
            root.join("etc/passwd"),
            "root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n",
        )
        .unwrap();
        Bundle { config: config(args, &id), directory, id, library: Library::if_asked_for() }
    }

    pub(crate) fn rootfs(&self) -> PathBuf {
        self.directory.join("rootfs")
    }

    /// Adds a mount to the configuration.
    pub(crate) fn mount(&mut self, destination: &str, kind: &str, source: &str, options: &[&str]) {
        let mount = json!({ "destination": destination, "type": kind, "source": source, "options": options });
        self.config["mounts"].as_array_mut().unwrap().push(mount);
    }

    pub(crate) fn write_config(&self) {
        std::fs::write(self.directory.join("config.json"), self.config.to_string()).unwrap();
    }

    /// The runtime with these words, on this bundle's own root.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wharf-runtime"));
        command.arg("--root").arg(self.directory.join("state")).args(words);
        command.stdin(Stdio::null()).current_dir(&self.directory);
        command
    }

    pub(crate) fn call(&self, words: &[&str]) -> Outcome {
        Outcome::of(self.command(words).output().unwrap())
    }

    /// `WORD ID`.
    pub(crate) fn tell(&self, word: &str) -> Outcome {
        self.call(&[word, &self.id])
    }

    pub(crate) fn run(&self) -> Outcome {
        if let Some(library) = &self.library {
            return library.run(self);
        }
        self.write_config();
        self.tell("run")
    }

    /// Runs it, expects success, returns what it printed.
    pub(crate) fn output(&self) -> String {
        let outcome = self.run();
        assert_eq!(outcome.status, 0, "{}{}", outcome.stdout, outcome.stderr);
        outcome.stdout
    }

    /// Runs it, expects that it does not start, returns the message.
    pub(crate) fn refused(&self) -> String {
        let outcome = self.run();
        assert_ne!(outcome.status, 0, "{}", outcome.stdout);
        assert_eq!(outcome.stdout, "");
        assert!(!self.is_known(), "nothing is left of it");
        assert!(!self.cgroup_exists(), "no cgroup is left");
        outcome.stderr
    }

    /// The runtime remembers it.
    pub(crate) fn is_known(&self) -> bool {
        !self.call(&["list", "-q"]).stdout.is_empty()
    }

    pub(crate) fn create(&self) {
        if let Some(library) = &self.library {
            return library.create(self);
        }
        self.write_config();
        // A waiting process holds its streams: a pipe of ours would never end.
        let mut command = self.command(&["create", &self.id]);
        let log = std::fs::File::create(self.directory.join("log")).unwrap();
        command.stdout(log.try_clone().unwrap()).stderr(log);
        assert!(command.status().unwrap().success(), "{}", self.log());
    }

    pub(crate) fn start(&self) {
        match &self.library {
            Some(library) => library.start(),
            None => self.tell("start").succeeded(),
        }
    }

    pub(crate) fn kill(&self, signal: &str) {
        match &self.library {
            Some(library) => library.kill(linux::signal::parse(signal).unwrap()),
            None => self.call(&["kill", &self.id, signal]).succeeded(),
        }
    }

    pub(crate) fn pause(&self) {
        match &self.library {
            Some(library) => library.pause(true),
            None => self.tell("pause").succeeded(),
        }
    }

    pub(crate) fn resume(&self) {
        match &self.library {
            Some(library) => library.pause(false),
            None => self.tell("resume").succeeded(),
        }
    }

    pub(crate) fn update(&self, resources: &Value) {
        self.try_update(resources).unwrap();
    }

    /// The message if it is refused.
    pub(crate) fn try_update(&self, resources: &Value) -> Result<(), String> {
        if let Some(library) = &self.library {
            let resources = serde_json::from_value(resources.clone()).unwrap();
            return library.update(&resources).map_err(|error| error.to_string());
        }
        std::fs::write(self.directory.join("resources"), resources.to_string()).unwrap();
        let outcome = self.call(&["update", "--resources", "resources", &self.id]);
        if outcome.status == 0 { Ok(()) } else { Err(outcome.stderr) }
    }

    /// Whatever it is doing.
    pub(crate) fn delete(&self) {
        match &self.library {
            Some(library) => library.delete().unwrap(),
            None => self.call(&["delete", "--force", &self.id]).succeeded(),
        }
    }

    /// What the program of a created container has printed.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.directory.join("log")).unwrap()
    }

    pub(crate) fn state(&self) -> Value {
        if let Some(library) = &self.library {
            return library.state();
        }
        let outcome = self.tell("state");
        serde_json::from_str(&outcome.stdout).unwrap_or_else(|_| panic!("{}", outcome.stderr))
    }

    pub(crate) fn pid(&self) -> i32 {
        self.state()["pid"].as_i64().unwrap() as i32
    }

    pub(crate) fn wait_for_status(&self, status: &str) {
        wait_until(|| self.state()["status"] == status);
    }

    /// Executes a shell script in it.
    pub(crate) fn exec(&self, script: &str) -> Outcome {
        self.execute(&["/bin/sh", "-c", script])
    }

    pub(crate) fn execute(&self, words: &[&str]) -> Outcome {
        match &self.library {
            Some(_) => self.execute_with(&json!({ "args": words })),
            None => self.call(&[&["exec", &self.id], words].concat()),
        }
    }

    /// Executes what differs from the configured process in these fields.
    pub(crate) fn execute_with(&self, fields: &Value) -> Outcome {
        let mut process = self.config["process"].clone();
        process.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        if let Some(library) = &self.library {
            return library.exec(self, &process);
        }
        std::fs::write(self.directory.join("process"), process.to_string()).unwrap();
        self.call(&["exec", "--process", "process", &self.id])
    }

    /// Where this container's cgroup is, in every tree.
    pub(crate) fn cgroup(&self) -> linux::cgroup::Cgroup {
        let layout = linux::cgroup::Layout::detect().unwrap();
        linux::cgroup::Cgroup::at(&layout, Path::new(&format!("/{}", self.id))).unwrap()
    }

    pub(crate) fn cgroup_exists(&self) -> bool {
        self.cgroup().exists()
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _what_failed_is_told = self.library.as_ref().map(Library::delete);
            self.call(&["delete", "--force", &self.id]);
        } else {
            self.delete();
            assert!(!self.cgroup_exists(), "no cgroup is left");
            let mut left = Vec::new();
            // What was killed may still be on its way out.
            eventually(|| {
                left = processes_of(&self.id);
                left.is_empty()
            });
            assert_eq!(left, Vec::<String>::new(), "no process is left");
        }
        let leaked =
            linux::mount::list().unwrap().into_iter().find(|mount| mount.target.starts_with(&self.directory));
        let removed = std::fs::remove_dir_all(&self.directory);
        if !std::thread::panicking() {
            assert_eq!(leaked, None, "no mount of the container is seen on the host");
            removed.unwrap();
        }
    }
}

/// Processes that the container, or the runtime at work on it, left: in its cgroup, with its tree in their sight, or with
/// its name among their arguments.
pub(crate) fn processes_of(id: &str) -> Vec<String> {
    let ours = std::fs::read_link("/proc/self/ns/mnt").unwrap();
    let processes = std::fs::read_dir("/proc").unwrap().flatten().filter(|entry| {
        let of = |file: &str| std::fs::read(entry.path().join(file)).unwrap_or_default();
        let elsewhere = || std::fs::read_link(entry.path().join("ns/mnt")).is_ok_and(|theirs| theirs != ours);
        entry.file_name().to_string_lossy().parse::<u32>().is_ok()
            && (names(&of("cmdline"), id)
                || (names(&of("cgroup"), id) && !of("cmdline").is_empty())
                || (elsewhere() && names(&of("mountinfo"), id)))
    });
    let describe = |entry: std::fs::DirEntry| {
        let arguments = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        format!("{}: {}", entry.path().display(), String::from_utf8_lossy(&arguments).replace('\0', " "))
    };
    processes.map(describe).collect()
}

/// Whether a text has this id, and not only one that begins with it.
fn names(text: &[u8], id: &str) -> bool {
    let mut places = text.windows(id.len()).enumerate().filter(|(_, window)| *window == id.as_bytes());
    places.any(|(at, _)| !text.get(at + id.len()).is_some_and(u8::is_ascii_digit))
}

impl Outcome {
    #[track_caller]
    pub(crate) fn succeeded(self) {
        assert_eq!(self.status, 0, "{}", self.stderr);
    }

    pub(crate) fn of(output: Output) -> Outcome {
        Outcome {
            status: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Longer than anything takes, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Waits for something that happens by itself, not for ever.
#[track_caller]
pub(crate) fn wait_until(happened: impl FnMut() -> bool) {
    assert!(eventually(happened), "it did not happen within {PATIENCE:?}");
}

fn eventually(mut happened: impl FnMut() -> bool) -> bool {
    let began = Instant::now();
    while !happened() {
        if began.elapsed() > PATIENCE {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}

fn config(args: &[&str], id: &str) -> Value {
    let capabilities = [
        "CAP_CHOWN",
        "CAP_DAC_OVERRIDE",
        "CAP_FOWNER",
        "CAP_KILL",
        "CAP_MKNOD",
        "CAP_NET_BIND_SERVICE",
        "CAP_SETGID",
        "CAP_SETPCAP",
        "CAP_SETUID",
        "CAP_SYS_CHROOT",
    ];
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": { "uid": 0, "gid": 0 },
            "args": args,
            "env": ["PATH=/bin"],
            "cwd": "/",
            "capabilities": { "bounding": capabilities, "effective": capabilities, "permitted": capabilities },
        },
        "root": { "path": "rootfs" },
        "hostname": "inside",
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc" },
            { "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
              "options": ["nosuid", "strictatime", "mode=755", "size=65536k"] },
            { "destination": "/dev/pts", "type": "devpts", "source": "devpts",
              "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"] },
            { "destination": "/sys", "type": "sysfs", "source": "sysfs",
              "options": ["nosuid", "noexec", "nodev", "ro"] },
        ],
        "linux": {
            "cgroupsPath": format!("/{id}"),
            "resources": { "devices": [{ "allow": false, "access": "rwm" }] },
            "namespaces": [
                { "type": "pid" }, { "type": "network" }, { "type": "ipc" }, { "type": "uts" }, { "type": "mount" },
                { "type": "cgroup" },
            ],
        },
    })
}
