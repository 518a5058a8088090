//! An engine of its own for each test.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::busybox_image;
use crate::host::Host;
use crate::kernel::Kernel;
use crate::leaks::Traces;
use crate::session::{Output, Session, eventually};

/// The image that [`World::start`] loads.
pub const IMAGE: &str = "busybox";

/// How the engine of a world differs from the usual one.
#[derive(Debug, Default)]
pub struct Settings {
    /// More flags for `wharfd`.
    pub flags: Vec<String>,
    /// Where the data root is, if not in the world's own directory.
    pub data_root: Option<PathBuf>,
    /// Where the exec root is, if not there, either.
    pub exec_root: Option<PathBuf>,
    /// On the engine's machine there is a user `dockremap`, who has this many subordinate ids from the first number on.
    pub subordinate_ids: Option<(u32, u32)>,
    /// More environment for `wharfd`.
    pub environment: Vec<(String, String)>,
    /// The engine and whatever it starts find an older kernel than there is.
    pub kernel: Option<Kernel>,
}

/// Roots, a network namespace and a running engine, all of them gone when it is dropped.
#[derive(Debug)]
pub struct World {
    directory: PathBuf,
    settings: Settings,
    host: Host,
    engine: Option<Child>,
    /// Something that engines take up again was broken off here.
    unfinished: AtomicBool,
    /// Where the engine's binaries are, if not beside the test.
    binaries: Option<PathBuf>,
}

static COUNT: AtomicU32 = AtomicU32::new(0);

impl World {
    /// A running engine that has the image [`IMAGE`].
    pub fn start() -> Self {
        let world = World::empty(Settings::default());
        world.load(&busybox_image(IMAGE));
        world
    }

    /// A running engine without images but the embedded one.
    pub fn empty(settings: Settings) -> Self {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("wharf-test-{}-{number}", std::process::id()));
        fs::create_dir_all(&directory).expect("the temporary directory is writable");
        let mut world = World {
            directory,
            settings,
            host: Host::new(),
            engine: None,
            unfinished: AtomicBool::new(false),
            binaries: None,
        };
        world.start_engine();
        world
    }

    /// Takes `wharfd` and what belongs to it from this directory from now on.
    pub fn use_binaries(&mut self, directory: PathBuf) {
        self.binaries = Some(directory);
    }

    /// Gives other flags to the engine that is started next.
    pub fn set_flags(&mut self, flags: &[&str]) {
        self.settings.flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
    }

    /// Gives this variable to engines that are started from now on.
    pub fn set_variable(&mut self, name: &str, value: &str) {
        self.settings.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Shows this kernel to the engine that is started next.
    pub fn set_kernel(&mut self, kernel: Option<Kernel>) {
        self.settings.kernel = kernel;
    }

    /// Starts `wharfd` and waits until it answers.
    pub fn start_engine(&mut self) {
        self.spawn_engine();
        let mut engine = self.engine.take().expect("the engine was just started");
        eventually("the engine to answer", || {
            if let Ok(Some(status)) = engine.try_wait() {
                panic!("wharfd ended with {status}:\n{}", self.engine_output());
            }
            self.wharf(&["version"]).code.eq(&0).then_some(())
        });
        self.engine = Some(engine);
    }

    /// Starts `wharfd` and waits for nothing.
    pub fn spawn_engine(&mut self) {
        assert!(self.engine.is_none(), "the engine of this world runs already");
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.engine_log())
            .expect("the world's directory is writable");
        let mut command = self.engine_on_our_roots();
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a file can be shared")).stderr(log);
        self.engine = Some(command.spawn().expect("wharfd was built"));
    }

    /// Starts `wharfd` on this world's roots though it should not work, and waits for its end.
    pub fn try_engine(&self) -> Output {
        Session::start(self.engine_on_our_roots()).finish()
    }

    /// Runs `wharfd` with these words alone to its end.
    pub fn engine_command(&self, words: &[&str]) -> Output {
        let mut command = Command::new(binary("wharfd"));
        command.args(words);
        Session::start(command).finish()
    }

    /// The command line of `wharfd` on this world's roots, in its network.
    pub fn engine_on_our_roots(&self) -> Command {
        if !self.config_file().exists() {
            fs::write(self.config_file(), "{}").expect("the world's directory is writable");
        }
        let wharfd = match &self.binaries {
            Some(directory) => directory.join("wharfd"),
            None => binary("wharfd"),
        };
        let mut words: Vec<OsString> = Vec::new();
        if let Some(ids) = self.settings.subordinate_ids {
            words
                .extend(["unshare", "--mount", "sh", "-ec", &self.user_files(ids), "sh"].map(OsString::from));
        }
        if let Some(kernel) = self.settings.kernel {
            words.extend(kernel.launcher().map(OsString::from));
        }
        words.push(wharfd.into());
        let mut command = self.host.command(&words[0].to_string_lossy());
        command
            .args(&words[1..])
            .arg("--data-root")
            .arg(self.data_root())
            .arg("--exec-root")
            .arg(self.exec_root())
            .arg("--pidfile")
            .arg(self.directory.join("wharfd.pid"))
            .arg("--config-file")
            .arg(self.config_file())
            .arg("-H")
            .arg(self.address())
            .args(&self.settings.flags)
            .envs(self.settings.environment.iter().cloned())
            .env("WHARF_FAULTS", self.faults());
        if let Some(kernel) = self.settings.kernel {
            command.env("WHARF_KERNEL", kernel.version());
        }
        command
    }

    /// The same with other words in front of `wharfd`, and more behind.
    pub fn engine_under(&self, wrapper: &[&str], more: &[&str]) -> Command {
        let plain = self.engine_on_our_roots();
        let words: Vec<_> = plain.get_args().collect();
        let at = words
            .iter()
            .position(|word| Path::new(word).file_name().is_some_and(|name| name == "wharfd"))
            .expect("it runs wharfd");
        let mut command = Command::new(plain.get_program());
        command.args(&words[..at]).args(wrapper).args(&words[at..]).args(more);
        command
    }

    /// A script that shows what it executes other lists of users than this machine has.
    fn user_files(&self, (first, count): (u32, u32)) -> String {
        let directory = self.directory.join("users");
        fs::create_dir_all(&directory).expect("the world's directory is writable");
        let ids = format!("dockremap:{first}:{count}\n");
        let users =
            "root:x:0:0::/root:/bin/sh\ndaemon:x:1:1::/:/bin/false\ndockremap:x:990:990::/:/bin/false\n";
        let groups = "root:x:0:\ndaemon:x:1:\ndockremap:x:990:\n";
        let files =
            [("passwd", users), ("group", groups), ("subuid", ids.as_str()), ("subgid", ids.as_str())];
        let mut script = String::new();
        for (name, text) in files {
            let file = directory.join(name);
            fs::write(&file, text).expect("the world's directory is writable");
            script.push_str(&format!("mount --bind {} /etc/{name}\n", file.display()));
        }
        script + "exec \"$@\""
    }

    /// `kill -9` of the engine.
    pub fn kill_engine(&mut self) {
        let mut engine = self.engine.take().expect("the engine runs");
        self.breaks_off();
        engine.kill().expect("the engine is our child");
        engine.wait().expect("the engine is our child");
    }

    /// Asks the engine to end (SIGTERM) and waits for it.
    pub fn stop_engine(&mut self) {
        let mut engine = self.engine.take().expect("the engine runs");
        signal(engine.id(), "TERM");
        eventually("the engine to end", || engine.try_wait().expect("the engine is our child"));
    }

    /// Whether the engine has ended by itself.
    pub fn engine_has_ended(&mut self) -> bool {
        self.engine.as_mut().is_some_and(|engine| !matches!(engine.try_wait(), Ok(None)))
    }

    /// Process id of the engine.
    pub fn engine_pid(&self) -> u32 {
        self.engine.as_ref().expect("the engine runs").id()
    }

    /// Runs `wharf` with these words to its end.
    pub fn wharf(&self, words: &[&str]) -> Output {
        Session::start(self.client("wharf", words)).finish()
    }

    /// Runs the stock `docker` with these words to its end.
    pub fn docker(&self, words: &[&str]) -> Output {
        Session::start(self.client("docker", words)).finish()
    }

    /// `wharf` that goes on while the test does other things.
    pub fn session(&self, words: &[&str]) -> Session {
        Session::start(self.client("wharf", words))
    }

    /// `docker` that goes on while the test does other things.
    pub fn docker_session(&self, words: &[&str]) -> Session {
        Session::start(self.client("docker", words))
    }

    /// Both clients, one after the other: what a test shows of one it shows of the other.
    pub fn clients(&self) -> [Client<'_>; 2] {
        ["wharf", "docker"].map(|name| Client::new(self, name))
    }

    /// Removes containers, volumes and networks, so that the next client finds what the one before it found.
    pub fn tidy(&self) {
        let all = self.wharf(&["ps", "-aq"]).ok();
        let ids: Vec<&str> = all.lines().collect();
        if !ids.is_empty() {
            self.wharf(&[&["rm", "-fv"], &ids[..]].concat()).ok();
        }
        self.wharf(&["network", "prune", "-f"]).ok();
        // (A prune leaves volumes that mount something, as Docker's does.)
        let all = self.wharf(&["volume", "ls", "-q"]).ok();
        let names: Vec<&str> = all.lines().collect();
        if !names.is_empty() {
            self.wharf(&[&["volume", "rm"], &names[..]].concat()).ok();
        }
    }

    /// A client's command line, on this world's socket and with a configuration directory of its own.
    pub fn client(&self, name: &str, words: &[&str]) -> Command {
        let mut command = if name == "wharf" { Command::new(binary("wharf")) } else { Command::new(name) };
        command
            .args(words)
            .env("DOCKER_HOST", self.address())
            .env("DOCKER_CONFIG", self.directory.join("config"))
            .env_remove("DOCKER_CONTEXT")
            .env_remove("WHARF_HOST")
            .current_dir(&self.directory);
        command
    }

    /// Loads an image archive.
    pub fn load(&self, archive: &[u8]) -> String {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let file = self.directory.join(format!("image-{number}.tar"));
        fs::write(&file, archive).expect("the world's directory is writable");
        let output = self.wharf(&["load", "-q", "-i", &file.to_string_lossy()]).ok();
        fs::remove_file(file).expect("the archive was just written");
        output
    }

    /// `inspect` of one thing, as JSON.
    #[track_caller]
    pub fn inspect(&self, name: &str) -> serde_json::Value {
        let text = self.wharf(&["inspect", name]).ok();
        let mut list: Vec<serde_json::Value> = serde_json::from_str(&text).expect("inspect prints JSON");
        list.remove(0)
    }

    /// Asks for this container's state until it is the wanted one.
    #[track_caller]
    pub fn until_status(&self, name: &str, status: &str) {
        eventually(&format!("{name} to be {status}"), || {
            (self.inspect(name)["State"]["Status"] == status).then_some(())
        });
    }

    /// Asks for what this container has printed until it is in there.
    #[track_caller]
    pub fn until_logged(&self, name: &str, text: &str) {
        eventually(&format!("{name} to print {text:?}"), || {
            self.wharf(&["logs", name]).stdout.contains(text).then_some(())
        });
    }

    /// The network namespace that the engine lives in.
    pub fn host(&self) -> &Host {
        &self.host
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    pub fn data_root(&self) -> PathBuf {
        self.settings.data_root.clone().unwrap_or_else(|| self.directory.join("data"))
    }

    pub fn exec_root(&self) -> PathBuf {
        self.settings.exec_root.clone().unwrap_or_else(|| self.directory.join("run"))
    }

    pub fn config_file(&self) -> PathBuf {
        self.directory.join("daemon.json")
    }

    /// Writes the configuration file; the engine reads it when it starts and when it is told to.
    pub fn config(&self, text: &str) {
        fs::write(self.config_file(), text).expect("the world's directory is writable");
    }

    pub fn socket(&self) -> PathBuf {
        self.directory.join("wharf.sock")
    }

    pub fn address(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// Tells the engine where to break: `crash 3`, `eio 3`, `enospc 3` at the third fault point from now on, `off`.
    pub fn arm(&self, fault: &str) {
        arm(&self.faults(), fault);
    }

    /// The same for the shims that it starts from now on.
    pub fn arm_shims(&self, fault: &str) {
        arm(&self.shim_faults(), fault);
    }

    /// Nothing breaks from now on; the fault points that were passed until then.
    pub fn disarm(&self) -> Vec<String> {
        order(&self.faults(), "off");
        self.passed()
    }

    /// The fault points that were passed since.
    pub fn passed(&self) -> Vec<String> {
        passed(&self.faults())
    }

    pub fn passed_by_shims(&self) -> Vec<String> {
        passed(&self.shim_faults())
    }

    fn shim_faults(&self) -> PathBuf {
        self.directory.join("shim-faults")
    }

    fn faults(&self) -> PathBuf {
        self.directory.join("faults")
    }

    fn engine_log(&self) -> PathBuf {
        self.directory.join("wharfd.log")
    }

    /// What the engine has printed so far.
    pub fn engine_output(&self) -> String {
        fs::read_to_string(self.engine_log()).unwrap_or_default()
    }

    /// Something fails here, or is about to, of which engines keep what has come so far: a pull.
    pub fn breaks_off(&self) {
        self.unfinished.store(true, Ordering::Relaxed);
    }

    fn traces(&self) -> Traces<'_> {
        Traces {
            world: &self.directory,
            data_root: self.data_root(),
            exec_root: self.exec_root(),
            host: &self.host,
            unfinished: self.unfinished.load(Ordering::Relaxed),
        }
    }

    /// Ids of all containers that there were.
    fn created_containers(&self) -> Vec<String> {
        let words = ["events", "--since", "0", "--until", "0s", "--format", "{{.Actor.ID}}"];
        let filters = ["--filter", "type=container", "--filter", "event=create"];
        self.wharf(&[&words[..], &filters].concat()).ok().lines().map(str::to_owned).collect()
    }

    /// Ends everything and says what was left.
    fn end(&mut self) -> Vec<String> {
        if self.engine.is_none() {
            self.start_engine();
        }
        self.tidy();
        self.wharf(&["image", "prune", "-af"]).ok();
        // Teardown may still run: files go after the reply, a veth goes after its network namespace.
        let mut left = until_nothing(|| self.traces().unowned(|| self.created_containers()));
        self.stop_engine();
        left.extend(until_nothing(|| self.traces().alive()));
        left
    }
}

/// What is left in the end, if anything.
fn until_nothing(look: impl Fn() -> Vec<String>) -> Vec<String> {
    for _ in 0..100 {
        if look().is_empty() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    look()
}

fn arm(file: &Path, fault: &str) {
    let _ = fs::remove_file(file.with_extension("log"));
    order(file, fault);
}

fn order(file: &Path, fault: &str) {
    // In one piece: it reads at any moment.
    let draft = file.with_extension("next");
    fs::write(&draft, fault).expect("the world's directory is writable");
    fs::rename(draft, file).expect("the world's directory is writable");
}

fn passed(file: &Path) -> Vec<String> {
    let log = fs::read_to_string(file.with_extension("log")).unwrap_or_default();
    log.lines().map(str::to_owned).collect()
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- wharfd of {}\n{}", self.directory.display(), self.engine_output());
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.end()));
        } else {
            let left = self.end();
            assert!(left.is_empty(), "left behind:\n{}\n{}", left.join("\n"), self.engine_output());
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// One of the two clients that a world talks to its engine by.
#[derive(Debug, Clone, Copy)]
pub struct Client<'a> {
    world: &'a World,
    pub name: &'static str,
}

impl<'a> Client<'a> {
    /// `wharf`, or another program that speaks as it does.
    pub fn new(world: &'a World, name: &'static str) -> Client<'a> {
        Client { world, name }
    }

    pub fn run(&self, words: &[&str]) -> Output {
        Session::start(self.world.client(self.name, words)).finish()
    }

    pub fn session(&self, words: &[&str]) -> Session {
        Session::start(self.world.client(self.name, words))
    }

    /// Runs the client on a terminal of its own with this many rows and columns.
    pub fn in_terminal(&self, words: &[&str], rows: u16, columns: u16) -> Output {
        self.on_terminal(words, rows, columns).finish()
    }

    /// Runs the client on a terminal, types these bytes once the text has appeared, and gives what was shown.
    pub fn type_in_terminal(&self, words: &[&str], when: &str, typed: &[u8]) -> String {
        let mut session = self.on_terminal(words, 24, 80);
        let mut shown = session.read_until(when);
        session.send(typed);
        shown.push_str(&session.finish().stdout);
        shown
    }

    /// A session on a terminal of its own.
    pub fn on_terminal(&self, words: &[&str], rows: u16, columns: u16) -> Session {
        let inner = self.world.client(self.name, words);
        let mut line = format!("stty rows {rows} cols {columns}; exec ");
        for word in std::iter::once(inner.get_program()).chain(inner.get_args()) {
            line.push_str(&format!("'{}' ", word.to_string_lossy().replace('\'', "'\\''")));
        }
        let mut command = Command::new("script");
        command.args(["-qec", &line, "/dev/null"]);
        surround(&mut command, &inner);
        Session::start(command)
    }
}

/// Gives a command what a client has around it: environment and folder.
pub fn surround(command: &mut Command, client: &Command) {
    command.current_dir(client.get_current_dir().expect("a client has the world's"));
    for (name, value) in client.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
}

/// Sends a signal by name to a process that this test started.
pub fn signal(pid: u32, name: &str) {
    let status = Command::new("kill").args(["-s", name, &pid.to_string()]).status().expect("kill runs");
    assert!(status.success(), "no process {pid} to send {name} to");
}

/// A binary of ours, built beside the program that asks (`target/<profile>`, or `deps` in it for a test).
pub fn binary(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("a program knows its own path");
    let mut beside = own.ancestors().skip(1).take(2).map(|folder| folder.join(name));
    beside
        .find(|path| path.exists())
        .unwrap_or_else(|| panic!("{name} is not built: run `cargo build` first"))
}
