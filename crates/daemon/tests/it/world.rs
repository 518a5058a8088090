//! An engine of a test's own, and a client that speaks bytes.

use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use linux::process::{Child, Exit, Program, Spawn};

/// Far longer than anything takes; it only ends tests that would hang.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct World {
    pub(crate) directory: PathBuf,
    engine: Option<Child>,
}

impl World {
    pub(crate) fn new() -> World {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("wharfd-it-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("daemon.json"), "{}").unwrap();
        World { directory, engine: None }
    }

    /// An engine that answers.
    pub(crate) fn started(flags: &[&str]) -> World {
        let mut world = World::new();
        world.start(flags, &[]);
        world.await_answer();
        world
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.join("exec/wharf.sock")
    }

    pub(crate) fn pid_file(&self) -> PathBuf {
        self.directory.join("exec/wharfd.pid")
    }

    pub(crate) fn config_file(&self) -> PathBuf {
        self.directory.join("daemon.json")
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }

    pub(crate) fn pid(&self) -> i32 {
        self.engine.as_ref().unwrap().pid
    }

    /// Starts `wharfd` on this world's roots; `inherited` sockets become descriptors 3, 4, ….
    pub(crate) fn start(&mut self, flags: &[&str], inherited: &[BorrowedFd<'_>]) {
        let log =
            std::fs::File::options().create(true).append(true).open(self.directory.join("log")).unwrap();
        let null = std::fs::File::open("/dev/null").unwrap();
        let path = |name: &str| self.directory.join(name).display().to_string();
        // The shell knows the process id that systemd would have told; unshare keeps it.
        let script = "LISTEN_PID=$$ exec unshare --net -- \"$@\"";
        let mut words: Vec<String> =
            ["sh", "-c", script, "sh", env!("CARGO_BIN_EXE_wharfd")].map(str::to_owned).to_vec();
        for (flag, name) in
            [("--data-root", "data"), ("--exec-root", "exec"), ("--config-file", "daemon.json")]
        {
            words.extend([flag.to_owned(), path(name)]);
        }
        words.extend(flags.iter().map(|flag| (*flag).to_owned()));
        let environment = [
            format!("PATH={}", std::env::var("PATH").unwrap()),
            format!("LISTEN_FDS={}", inherited.len()),
            format!("NOTIFY_SOCKET={}", path("notify")),
        ];
        let mut spawn = Spawn::new(Program::Path(Path::new("/bin/sh")), &words)
            .unwrap()
            .env(environment)
            .unwrap()
            .descriptor(null.as_fd(), 0)
            .descriptor(log.as_fd(), 1)
            .descriptor(log.as_fd(), 2);
        for (at, socket) in inherited.iter().enumerate() {
            spawn = spawn.descriptor(*socket, 3 + at as i32);
        }
        self.engine = Some(spawn.start().unwrap());
    }

    /// Waits until the engine answers a ping.
    pub(crate) fn await_answer(&self) {
        eventually(
            || UnixStream::connect(self.socket()).ok().map(drop),
            || format!("no answer; the log says:\n{}", self.log()),
        );
    }

    /// Waits for the end of the engine.
    pub(crate) fn ended(&mut self) -> Exit {
        let pid = self.pid();
        let exit = eventually(
            || linux::process::try_wait(pid).unwrap(),
            || format!("wharfd does not end; the log says:\n{}", self.log()),
        );
        self.engine = None;
        exit
    }

    pub(crate) fn signal(&self, signal: i32) {
        linux::process::kill(self.pid(), signal).unwrap();
    }

    /// Sends bytes and reads until the server closes.
    pub(crate) fn exchange(&self, bytes: &[u8]) -> String {
        exchange(UnixStream::connect(self.socket()).unwrap(), bytes)
    }

    /// One request on a connection of its own.
    pub(crate) fn request(&self, method: &str, path: &str, headers: &[&str], body: &str) -> Response {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
        for header in headers {
            head.push_str(&format!("{header}\r\n"));
        }
        if !body.is_empty() {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        Response::parse(&self.exchange(format!("{head}\r\n{body}").as_bytes()))
    }

    pub(crate) fn get(&self, path: &str) -> Response {
        self.request("GET", path, &[], "")
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(engine) = self.engine.take() {
            let _ = linux::process::kill(engine.pid, linux::signal::SIGTERM);
            let end = Instant::now() + PATIENCE;
            while matches!(linux::process::try_wait(engine.pid), Ok(None)) && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Response {
    pub(crate) fn parse(text: &str) -> Response {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no response: {text:?}"));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap();
        Response { status, head: head.to_owned(), body: body.to_owned() }
    }

    pub(crate) fn says(&self, status: u16, message: &str) {
        assert_eq!(
            (self.status, self.body.as_str()),
            (status, format!("{{\"message\":{message:?}}}\n").as_str())
        );
    }
}

pub(crate) fn exchange(mut stream: impl Read + Write, bytes: &[u8]) -> String {
    // A server that refuses a request need not read all of it; then what counts is what it said.
    let written = stream.write_all(bytes);
    let mut text = Vec::new();
    if let Err(error) = stream.read_to_end(&mut text).and(written) {
        assert!(!text.is_empty(), "no answer: {error}");
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// Tries until there is something.
pub(crate) fn eventually<T>(mut attempt: impl FnMut() -> Option<T>, otherwise: impl Fn() -> String) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = attempt() {
            return value;
        }
        assert!(Instant::now() < end, "{}", otherwise());
        std::thread::sleep(Duration::from_millis(10));
    }
}
