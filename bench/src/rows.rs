//! Which work is measured, and how each side is asked to do it.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use blackbox::{Settings, World, busybox, directory, eventually, file};

use crate::Options;
use crate::floor::Work;
use crate::processes;
use crate::report::{Report, Row, median};
use crate::shell::Shell;

/// A name that nobody else who uses the peer takes away.
pub(crate) const IMAGE: &str = "wharf-bench";

/// Folders of the image of small files, and files in each.
pub(crate) const FOLDERS: usize = 200;
pub(crate) const FILES: usize = 100;

/// What such a file says.
pub(crate) fn small_file(folder: usize, number: usize) -> String {
    format!("{folder} {number}\n").repeat(number)
}

/// How long what is idle is left alone before that is looked at.
pub(crate) const REST: std::time::Duration = std::time::Duration::from_secs(20);

/// Both sides, ready.
pub(crate) struct Bench<'a> {
    options: &'a Options,
    // Both before the world, which looks for what is left behind when it ends.
    wharf: Side,
    _registry: Registry,
    peer: Option<Side>,
    pub(crate) world: World,
    _runtime: Runtime,
}

/// The engine's runtime root, outside of the world's own directory.
struct Runtime(PathBuf);

impl Drop for Runtime {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// One of the two engines.
pub(crate) struct Side {
    pub(crate) shell: Shell,
    /// The name of the client program.
    pub(crate) client: String,
    /// The engine's API, a path.
    pub(crate) socket: String,
    /// The command names of the engine's own processes.
    pub(crate) engine: &'static [&'static str],
    /// The command names of what stands beside each container.
    pub(crate) beside: &'static [&'static str],
    registry: &'static str,
}

impl Side {
    fn run(&mut self, words: &str) -> std::time::Duration {
        self.shell.run(&format!("{} {words}", self.client)).ok().took
    }

    /// Of all processes of these names, in MiB.
    pub(crate) fn memory(&mut self, names: &[&str]) -> f64 {
        processes::memory(&mut self.shell, names)
    }
}

impl<'a> Bench<'a> {
    pub(crate) fn new(options: &'a Options) -> Self {
        // In memory, as `/run` is on every system that boots, and as it is beside the peer.
        let runtime = PathBuf::from(format!("/dev/shm/wharf-bench-{}", std::process::id()));
        let world = World::empty(Settings { exec_root: Some(runtime.clone()), ..Settings::default() });
        let registry = Registry::start(&world);
        let wharf = Side {
            shell: Shell::start(shell_beside(&world)),
            client: world.client("wharf", &[]).get_program().to_string_lossy().into_owned(),
            socket: world.socket().to_string_lossy().into_owned(),
            engine: &["wharfd"],
            beside: &["wharf-shim"],
            registry: "localhost:5000",
        };
        let peer = options.peer.as_ref().map(|prefix| {
            let mut words = prefix.split_whitespace();
            let mut command = Command::new(words.next().expect("--peer is not empty"));
            command.args(words).arg("sh");
            Side {
                shell: Shell::start(command),
                client: "docker".into(),
                socket: "/var/run/docker.sock".into(),
                engine: &["dockerd", "containerd"],
                beside: &["containerd-shim*", "docker-proxy"],
                registry: "localhost:5000",
            }
        });
        let mut bench =
            Bench { options, wharf, _registry: registry, peer, world, _runtime: Runtime(runtime) };
        bench.load(&image());
        bench
    }

    pub(crate) fn run(&mut self, report: &mut Report) {
        self.time(report, "client alone (`version`)", Some(Work::Client), |side| side.run("version"));
        for network in ["bridge", "none", "host"] {
            let name = format!("`run --rm` with {network} network");
            let line = format!("run --rm --network {network} {IMAGE} true");
            self.time(report, &name, Some(Work::Start(network)), move |side| side.run(&line));
        }
        self.each(|side| {
            side.run(&format!("run -d --name stands {IMAGE} sleep 100000"));
        });
        self.time(report, "`exec true`", Some(Work::Exec), |side| side.run("exec stands true"));
        self.each(|side| {
            side.run("rm -f stands");
        });
        self.many(report);
        self.logs(report);
        if let Some(gibibytes) = self.options.log {
            self.long_log(report, gibibytes);
        }
        self.memory(report);
        self.pulls(report);
        if let Some(crowd) = self.options.crowd {
            self.crowd(report, crowd);
        }
    }

    pub(crate) fn wanted(&self, name: &str) -> bool {
        self.options.wants(name)
    }

    /// Alternates between the sides, and adds a row of medians.
    pub(crate) fn time(
        &mut self,
        report: &mut Report,
        name: &str,
        floor: Option<Work>,
        work: impl Fn(&mut Side) -> std::time::Duration,
    ) {
        if !self.wanted(name) {
            return;
        }
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for round in 0..=self.options.rounds {
            let sample = work(&mut self.wharf);
            let other = self.peer.as_mut().map(&work);
            // The first round warms the caches of both.
            if round > 0 {
                ours.push(sample);
                theirs.extend(other);
            }
        }
        let peer = (!theirs.is_empty()).then(|| median(&mut theirs));
        let floor = floor.and_then(Work::floor);
        report.add(Row { name: name.into(), unit: "ms", wharf: median(&mut ours), peer, floor });
    }

    pub(crate) fn each(&mut self, work: impl Fn(&mut Side)) {
        work(&mut self.wharf);
        self.peer.as_mut().map(&work);
    }

    /// What is measured once: a value from each side.
    pub(crate) fn once<T>(&mut self, measure: impl Fn(&mut Side) -> T) -> (T, Option<T>) {
        (measure(&mut self.wharf), self.peer.as_mut().map(&measure))
    }

    /// Twenty containers at once, started by twenty clients, and stopped by one.
    fn many(&mut self, report: &mut Report) {
        self.time(report, "20 × `run --rm` at once", Some(Work::Crowd), |side| {
            let client = side.client.clone();
            let line = format!("for i in $(seq 20); do {client} run --rm {IMAGE} true & done; wait");
            let answer = side.shell.run(&line).ok();
            assert!(answer.output.is_empty(), "{}", answer.output);
            answer.took
        });
        self.time(report, "start and kill of 20", Some(Work::Kill), |side| {
            let client = side.client.clone();
            let line = format!(
                "for i in $(seq 20); do {client} run -d --rm --name many$i {IMAGE} sleep 1000 >/dev/null & done; wait; \
                 {client} kill $(seq -f many%g 20) >/dev/null"
            );
            let took = side.shell.run(&line).ok().took;
            while !side.shell.run(&format!("{client} ps -aq --filter name=many")).output.trim().is_empty() {}
            took
        });
    }

    fn memory(&mut self, report: &mut Report) {
        let name = "memory of the idle engine (PSS)";
        if !self.wanted(name) {
            return;
        }
        // Idle: threads that were woken for the rows before go when nobody has needed them for ten seconds.
        std::thread::sleep(REST);
        let (wharf, peer) = self.once(|side| side.memory(side.engine));
        report.add(Row { name: name.into(), unit: "MiB", wharf, peer, floor: None });
        const STANDING: usize = 10;
        self.each(|side| {
            for n in 0..STANDING {
                side.run(&format!("run -d --name stands{n} -p {}:80 {IMAGE} sleep 100000", 20000 + n));
            }
        });
        std::thread::sleep(REST);
        let (wharf, peer) = self.once(|side| side.memory(side.beside) / STANDING as f64);
        let name = "memory beside each container, one port published (PSS)".into();
        report.add(Row { name, unit: "MiB", wharf, peer, floor: None });
        self.each(|side| {
            for n in 0..STANDING {
                side.run(&format!("rm -f stands{n}"));
            }
        });
    }

    fn pulls(&mut self, report: &mut Report) {
        let many = busybox().layer(|layer| {
            for folder in 0..FOLDERS {
                directory(layer, &format!("many/{folder}"), 0o755);
                for number in 0..FILES {
                    let text = small_file(folder, number);
                    file(layer, &format!("many/{folder}/{number}"), text.as_bytes(), 0o644);
                }
            }
        });
        let noise: Vec<u8> =
            (0..128_u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 23) as u8).collect();
        let big = busybox().layer(|layer| file(layer, "big", &noise, 0o644));
        for (what, image, floor) in
            [("20,000 small files", many, Work::Files), ("one big file (128 MiB)", big, Work::File)]
        {
            let name = format!("`pull` of {what}");
            if !self.wanted(&name) {
                continue;
            }
            self.load(&image.build("localhost:5000/wharf-bench"));
            self.each(|side| {
                let reference = format!("{}/wharf-bench", side.registry);
                side.run(&format!("push -q {reference}"));
                side.run(&format!("rmi {reference}"));
            });
            self.time(report, &name, Some(floor), |side| {
                let reference = format!("{}/wharf-bench", side.registry);
                let took = side.run(&format!("pull -q {reference}"));
                side.run(&format!("rmi {reference}"));
                took
            });
        }
    }

    /// Gives both sides an image.
    fn load(&mut self, archive: &[u8]) {
        self.world.load(archive);
        if let Some(prefix) = &self.options.peer {
            let mut words = prefix.split_whitespace();
            let mut loader = Command::new(words.next().expect("--peer is not empty"))
                .args(words)
                .args(["docker", "load", "-q"])
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .spawn()
                .expect("the peer's prefix is a command");
            let mut input = loader.stdin.take().expect("was asked for");
            std::io::Write::write_all(&mut input, archive).expect("the peer reads the archive");
            drop(input);
            assert!(
                loader.wait().expect("a child can be waited for").success(),
                "the peer cannot load an image"
            );
        }
    }
}

/// The image of all rows but `pull`: of another content than any other busybox, too, or who removes that one by its id
/// removes this one.
fn image() -> Vec<u8> {
    busybox().layer(|layer| file(layer, "etc/motd", b"measured here", 0o644)).build(IMAGE)
}

/// A shell in the world's network namespace, with the client's environment.
fn shell_beside(world: &World) -> Command {
    let mut command = world.host().command("sh");
    for (key, value) in world.client("wharf", &[]).get_envs() {
        match value {
            Some(value) => command.env(key, value),
            None => command.env_remove(key),
        };
    }
    command
}

/// A registry beside Wharf, as there is one beside the peer.
struct Registry(std::process::Child);

impl Registry {
    fn start(world: &World) -> Self {
        let directory = world.directory().join("registry");
        std::fs::create_dir_all(&directory).expect("the world's directory is writable");
        let configuration = directory.join("config.yml");
        let text = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:5000\n",
            directory.display()
        );
        std::fs::write(&configuration, text).expect("the world's directory is writable");
        let process = world
            .host()
            .command("docker-registry")
            .args([std::ffi::OsStr::new("serve"), configuration.as_os_str()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("docker-registry (a Debian package) is installed");
        eventually("the registry", || {
            let answer = world.host().try_run(&["curl", "-sf", "http://127.0.0.1:5000/v2/"]);
            answer.status.success().then_some(())
        });
        Registry(process)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
