//! An engine of its own for each test: its roots, an image with busybox, real shims, and a network namespace that stands
//! for the host, so that whatever becomes of the test, the real host's interfaces and rules are as they were. The end of
//! a test removes everything else and fails the test if something of it is left.

use std::fs::File;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use api::container::{CreateRequest, WaitCondition};
use api::filters::Filters;
use engine::{
    AttachOptions, Client, Config, CreateOptions, Engine, LogQuery, Preface, RemoveOptions, WaitOutcome,
};
use image::archive::{Content, Entry, Writer};

/// Nothing here takes that long unless it is broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) const IMAGE: &str = "localhost/busybox:latest";

static COUNTER: AtomicU32 = AtomicU32::new(0);
static SHIM: Once = Once::new();

pub(crate) struct World {
    pub(crate) dir: PathBuf,
    engine: Option<Engine>,
}

/// The shim that was built with the tests.
fn shim() -> PathBuf {
    let target = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().to_owned();
    SHIM.call_once(|| {
        // A machine without cargo has what was brought along.
        if !Path::new(env!("CARGO")).exists() {
            return;
        }
        let built = Command::new(env!("CARGO")).args(["build", "-q", "-p", "shim"]).status().unwrap();
        assert!(built.success(), "the shim does not build");
    });
    target.join("wharf-shim")
}

/// Runs a test in a world of its own.
pub(crate) fn in_a_world(test: impl AsyncFnOnce(&mut World) + Send + 'static) {
    // Threads and processes that come of this one are where it is.
    let thread = std::thread::spawn(|| {
        linux::namespace::unshare(linux::namespace::NETWORK).unwrap();
        linux::socket::set_loopback_up().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new().await;
            test(&mut world).await;
            world.end().await;
        });
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

impl World {
    async fn new() -> World {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("wharf-engine-it-{}-{number}", std::process::id()));
        std::fs::create_dir_all(dir.join("data")).unwrap();
        install_image(&dir.join("data"));
        let mut world = World { dir, engine: None };
        world.open().await;
        world
    }

    pub(crate) fn config(&self) -> Config {
        Config { shim: shim(), ..Config::new(self.dir.join("data"), self.dir.join("exec")) }
    }

    pub(crate) async fn open(&mut self) {
        self.engine = Some(Engine::open(self.config()).await.unwrap());
    }

    /// Lets the engine go without telling its containers anything.
    pub(crate) async fn close(&mut self) {
        let engine = self.engine.take().unwrap();
        engine.shutdown().await;
        let lock = self.dir.join("data/lock");
        drop(engine);
        // The last owner's task drops the last clone: then the lock is free.
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while File::open(&lock).unwrap().try_lock().is_err() {
            assert!(tokio::time::Instant::now() < deadline, "the engine does not let go");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) fn engine(&self) -> Engine {
        self.engine.clone().unwrap()
    }

    /// Creates a container that runs a script in busybox's shell.
    pub(crate) async fn create(
        &self,
        name: &str,
        script: &str,
        change: impl FnOnce(&mut CreateRequest),
    ) -> String {
        let mut request = CreateRequest::default();
        request.config.image = IMAGE.into();
        request.config.cmd = Some(vec!["sh".into(), "-c".into(), script.into()]);
        request.host_config.network_mode = "none".into();
        change(&mut request);
        let options = CreateOptions { name: Some(name.into()), ..CreateOptions::default() };
        self.engine().container_create(options, request).await.unwrap().id
    }

    pub(crate) async fn run(
        &self,
        name: &str,
        script: &str,
        change: impl FnOnce(&mut CreateRequest),
    ) -> String {
        let id = self.create(name, script, change).await;
        self.engine().container_start(&id).await.unwrap();
        id
    }

    pub(crate) async fn wait(&self, id: &str) -> i64 {
        match self.engine().container_wait(id, WaitCondition::NotRunning).await.unwrap() {
            WaitOutcome::Ready(exit) => exit.code,
            WaitOutcome::Ticket(ticket) => {
                let (client, socket) = UnixStream::pair().unwrap();
                ticket.deliver(client_of(socket)).await.unwrap();
                let body = read_all(client).await;
                let answer: serde_json::Value = serde_json::from_str(&body).unwrap();
                answer["StatusCode"].as_i64().unwrap()
            }
        }
    }

    pub(crate) async fn logs(&self, id: &str, follow: bool) -> String {
        let query = LogQuery { stdout: true, stderr: true, follow, ..LogQuery::default() };
        let ticket = self.engine().container_logs(id, query).await.unwrap();
        let (client, socket) = UnixStream::pair().unwrap();
        // A log may be larger than the socket's buffer.
        let reader = tokio::spawn(read_bytes(client));
        ticket.deliver(client_of(socket)).await.unwrap();
        unframed(&reader.await.unwrap())
    }

    pub(crate) async fn attach(&self, id: &str) -> UnixStream {
        let options = AttachOptions {
            stdin: true,
            stdout: true,
            stderr: true,
            stream: true,
            ..AttachOptions::default()
        };
        let ticket = self.engine().container_attach(id, options).await.unwrap();
        let (client, socket) = UnixStream::pair().unwrap();
        ticket.deliver(client_of(socket)).await.unwrap();
        client
    }

    /// Waits until the state of a container is as wished.
    pub(crate) async fn until(
        &self,
        id: &str,
        wished: impl Fn(&api::container::Inspect) -> bool,
    ) -> api::container::Inspect {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let shown = self.engine().container_inspect(id, false).await.unwrap();
            if wished(&shown) {
                return shown;
            }
            assert!(tokio::time::Instant::now() < deadline, "never as wished: {shown:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until a container has printed this.
    pub(crate) async fn until_logged(&self, id: &str, text: &str) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !self.logs(id, false).await.contains(text) {
            assert!(tokio::time::Instant::now() < deadline, "never said: {text:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// What has been told of a container as soon as its end has: it is shown before.
    pub(crate) async fn told_until_the_end(
        &self,
        filters: Filters,
    ) -> Vec<std::sync::Arc<api::event::Message>> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let query = engine::EventQuery { since: Some(0), until: None, filters: filters.clone() };
            let told = self.engine().events(query).unwrap().past;
            if told.iter().any(|event| event.action == "die") {
                return told;
            }
            assert!(tokio::time::Instant::now() < deadline, "its end is never told: {told:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Removes what is left and checks that nothing of it remains.
    async fn end(self) {
        let engine = self.engine();
        for container in
            engine.container_list(engine::ListOptions { all: true, ..Default::default() }).await.unwrap()
        {
            let force = RemoveOptions { force: true, volumes: true, link: false };
            engine.container_remove(&container.id, force).await.unwrap();
        }
        for network in engine.network_list(Filters::default()).await.unwrap() {
            if !["bridge", "host", "none"].contains(&network.name.as_str()) {
                engine.network_remove(&network.id).await.unwrap();
            }
        }
        engine.shutdown().await;
        let left = |directory: &str| {
            std::fs::read_dir(self.dir.join(directory)).map_or(0, |entries| entries.count())
        };
        let deadline = tokio::time::Instant::now() + PATIENCE;
        // Files go after the reply.
        while left("data/containers") + left("exec/containers") + left("data/snapshots") > 1 {
            assert!(tokio::time::Instant::now() < deadline, "files are left below {}", self.dir.display());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        while !shims(&self.dir).is_empty() {
            assert!(tokio::time::Instant::now() < deadline, "shims are left: {:?}", shims(&self.dir));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let mounts = || std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        while mounts().contains(self.dir.to_str().unwrap()) || !cgroups(&self.dir).is_empty() {
            let left = || format!("{:?}\n{}", cgroups(&self.dir), mounts());
            assert!(tokio::time::Instant::now() < deadline, "cgroups or mounts are left: {}", left());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // The kernel deletes the interfaces of ended containers in its own time.
        while !strays(&self.dir).is_empty() {
            let left = strays(&self.dir);
            assert!(tokio::time::Instant::now() < deadline, "interfaces are left: {left:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        std::fs::remove_dir_all(&self.dir).unwrap();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // After a failed test: processes first, then files.
        for shim in shims(&self.dir) {
            let _ = linux::process::kill(shim, linux::signal::SIGKILL);
        }
        let Ok(runtimes) = std::fs::read_dir(self.dir.join("exec/containers")) else { return };
        for runtime in runtimes.flatten() {
            let _ = shim::cleanup(&runtime.path());
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Interfaces on the test's host that no engine leaves.
fn strays(dir: &Path) -> Vec<String> {
    let stay = ["lo".to_owned(), network::HostNames::for_runtime_root(&dir.join("exec")).default_bridge];
    // Not below `/sys`, which shows the interfaces of where it was mounted.
    let listed = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap();
    let names =
        listed.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name.trim().to_owned());
    names.filter(|name| !stay.contains(name)).collect()
}

/// Processes that hold something open below the roots of a world, but for this one.
fn shims(dir: &Path) -> Vec<i32> {
    let own = i32::try_from(std::process::id()).unwrap();
    let pids = std::fs::read_dir("/proc").unwrap().flatten();
    let pids =
        pids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok()).filter(|pid| *pid != own);
    pids.filter(|pid| {
        let Ok(descriptors) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
        descriptors
            .flatten()
            .any(|entry| std::fs::read_link(entry.path()).is_ok_and(|path| path.starts_with(dir)))
    })
    .collect()
}

/// Directories of containers in any cgroup tree of this engine.
fn cgroups(dir: &Path) -> Vec<PathBuf> {
    let digest = oci::digest::Digest::sha256_of(dir.join("exec").to_string_lossy().as_bytes()).to_string();
    let parent = format!("wharf-{}", &digest.rsplit(':').next().unwrap()[..8]);
    let mut found = Vec::new();
    for tree in scratch::cgroups(&parent) {
        let Ok(entries) = std::fs::read_dir(&tree) else { continue };
        found.extend(
            entries.flatten().filter(|entry| entry.file_type().unwrap().is_dir()).map(|entry| entry.path()),
        );
        // The parent itself is ours to remove here: an engine that is used again would keep it.
        let _ = std::fs::remove_dir(tree);
    }
    found
}

pub(crate) fn client_of(socket: UnixStream) -> Client {
    Client { socket: socket.into(), preface: Preface::default(), unread: Vec::new() }
}

pub(crate) async fn read_all(stream: UnixStream) -> String {
    String::from_utf8_lossy(&read_bytes(stream).await).into_owned()
}

/// For what is framed: lengths are no text.
pub(crate) async fn read_bytes(mut stream: UnixStream) -> Vec<u8> {
    tokio::task::spawn_blocking(move || {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        bytes
    })
    .await
    .unwrap()
}

/// The payload of all frames.
pub(crate) fn unframed(mut rest: &[u8]) -> String {
    let mut payload = Vec::new();
    while rest.len() >= 8 {
        let length = u32::from_be_bytes(rest[4..8].try_into().unwrap()) as usize;
        payload.extend_from_slice(&rest[8..8 + length]);
        rest = &rest[8 + length..];
    }
    String::from_utf8(payload).unwrap()
}

/// busybox with its applets, and a few users.
fn install_image(data: &Path) {
    let records = store::records::Records::open(&data.join("wharf.db")).unwrap();
    let images = image::Images::open(data, &records).unwrap();
    let mut archive = Writer::new(Vec::new());
    let add = |archive: &mut Writer<Vec<u8>>, path: &str, content: Content, mode: u32| {
        archive.add(&entry(path, content, mode)).unwrap();
    };
    for directory in ["bin/", "etc/", "tmp/", "data/", "proc/", "sys/", "dev/"] {
        add(&mut archive, directory, Content::Directory, 0o755);
    }
    let busybox = std::fs::read("/bin/busybox").unwrap();
    let size = busybox.len() as u64;
    archive
        .add_file(&entry("bin/busybox", Content::File { size, segments: None }, 0o755), &busybox[..])
        .unwrap();
    for applet in [
        "sh", "sleep", "echo", "cat", "id", "true", "false", "trap", "kill", "hostname", "ls", "stat", "env",
        "ps", "touch", "rm", "stty",
    ] {
        add(&mut archive, &format!("bin/{applet}"), Content::Symlink { target: "busybox".into() }, 0o777);
    }
    for (path, text) in [
        ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nbob:x:1000:1000::/home/bob:/bin/sh\n"),
        ("etc/group", "root:x:0:\nwheel:x:10:root,bob\nbob:x:1000:\n"),
        ("data/given", "from the image\n"),
    ] {
        let content = Content::File { size: text.len() as u64, segments: None };
        archive.add_file(&entry(path, content, 0o644), text.as_bytes()).unwrap();
    }
    let archive = archive.finish().unwrap();
    let import = image::Import {
        config: oci::image::Config { cmd: Some(vec!["sh".into()]), ..Default::default() },
        comment: String::new(),
        platform: oci::platform::Platform::host(),
        names: vec![oci::reference::Reference::parse_normalized(IMAGE).unwrap().with_default_tag()],
    };
    images.import(&archive[..], import).unwrap();
}

fn entry(path: &str, content: Content, mode: u32) -> Entry {
    let modified = linux::entry::Time::default();
    Entry { path: path.into(), content, mode, uid: 0, gid: 0, modified, xattrs: Vec::new() }
}
