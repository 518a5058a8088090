//! A container of its own for each test: busybox in a directory, a runtime directory, a log, a real shim.
//!
//! Dropping it ends and removes everything, and fails the test if something is left.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use oci::runtime::{Linux, Mount, Namespace, NamespaceKind, Process, Spec};
use shim::protocol::*;
use shim::{Handle, LaunchError, Launched, Spawned};

/// Nothing here takes that long unless it is broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

static COUNTER: AtomicU32 = AtomicU32::new(0);

pub(crate) struct World {
    pub(crate) dir: PathBuf,
    pub(crate) launch: Launch,
    pub(crate) cgroup: String,
    launched: Option<Launched>,
    events: Option<(UnixStream, Decoder)>,
    pub(crate) seen: Vec<Event>,
}

/// A world whose container will run `script` in busybox's shell.
pub(crate) fn world(script: &str) -> World {
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    let name = format!("wharf-shim-it-{}-{number}", std::process::id());
    let dir = std::env::temp_dir().join(&name);
    for part in ["root/bin", "root/proc", "root/dev", "root/tmp", "run", "data"] {
        std::fs::create_dir_all(dir.join(part)).unwrap();
    }
    // By another process: what is open for writing here, or in a child that another test forks just now, is busy.
    let copied = Command::new("/bin/busybox").args(["cp", "/bin/busybox"]).arg(dir.join("root/bin")).status();
    assert!(copied.unwrap().success());
    for applet in [
        "sh", "sleep", "echo", "cat", "stty", "yes", "head", "tail", "seq", "true", "false", "wc", "test",
        "trap", "kill", "grep", "dd", "rm", "touch",
    ] {
        std::os::unix::fs::symlink("busybox", dir.join("root/bin").join(applet)).unwrap();
    }
    let cgroup = format!("/{name}");
    let launch = Launch {
        version: VERSION,
        container: format!("{number:064x}"),
        runtime_dir: dir.join("run"),
        incarnation: "first".to_owned(),
        spec: spec(script, &cgroup),
        runtime: None,
        rootfs: Rootfs::Directory(dir.join("root")),
        user_namespace: false,
        cgroup_driver: CgroupDriver::Cgroupfs,
        stdin: Stdin::Closed,
        log: Log {
            driver: LogDriver::JsonFile,
            path: dir.join("data/json.log"),
            max_size: None,
            max_files: 1,
            compress: false,
            attributes: BTreeMap::new(),
            remote: None,
        },
        restart: RestartPolicy::No,
        restart_count: 0,
        health: None,
        stop_signal: 15,
        stop_timeout: 10,
        network: None,
        attachments: Vec::new(),
        waiters: Vec::new(),
    };
    World { dir, launch, cgroup, launched: None, events: None, seen: Vec::new() }
}

fn spec(script: &str, cgroup: &str) -> Spec {
    let namespace = |kind| Namespace { kind, path: None };
    let mount = |destination: &str, kind: &str| Mount {
        destination: destination.into(),
        kind: kind.to_owned(),
        source: Some(kind.into()),
        ..Mount::default()
    };
    use NamespaceKind::{Ipc, Mount as MountKind, Network, Pid, Uts};
    Spec {
        oci_version: oci::runtime::VERSION.to_owned(),
        process: Some(process(&["sh", "-c", script])),
        hostname: "test".to_owned(),
        mounts: vec![mount("/proc", "proc"), mount("/dev", "tmpfs"), mount("/dev/pts", "devpts")],
        linux: Some(Linux {
            cgroups_path: cgroup.to_owned(),
            namespaces: [Pid, MountKind, Ipc, Uts, Network].map(namespace).into(),
            ..Linux::default()
        }),
        ..Spec::default()
    }
}

pub(crate) fn process(args: &[&str]) -> Process {
    Process {
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        env: vec!["PATH=/bin".to_owned()],
        cwd: "/".to_owned(),
        ..Process::default()
    }
}

pub(crate) fn outputs() -> Attachment {
    Attachment { stdout: true, stderr: true, ..Attachment::default() }
}

impl World {
    pub(crate) fn process(&mut self) -> &mut Process {
        self.launch.spec.process.as_mut().unwrap()
    }

    pub(crate) fn try_start(&mut self, sockets: Vec<OwnedFd>) -> Result<i32, LaunchError> {
        let shim = Path::new(env!("CARGO_BIN_EXE_wharf-shim"));
        let spawned = Spawned::new(shim, &self.launch.container, &self.launch.runtime_dir)?;
        let launched = spawned.launch(&self.launch, sockets)?;
        let pid = launched.pid;
        self.launched = Some(launched);
        Ok(pid)
    }

    pub(crate) fn start(&mut self) -> i32 {
        self.try_start(Vec::new()).unwrap()
    }

    /// Starts it with one client attached.
    pub(crate) fn start_attached(&mut self, attachment: Attachment) -> UnixStream {
        let (ours, theirs) = UnixStream::pair().unwrap();
        self.launch.attachments.push(attachment);
        self.try_start(vec![theirs.into()]).unwrap();
        ours.set_read_timeout(Some(PATIENCE)).unwrap();
        ours
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.launched.as_ref().unwrap().handle
    }

    pub(crate) fn shim_pid(&self) -> i32 {
        self.launched.as_ref().unwrap().shim_pid
    }

    pub(crate) fn shim_pidfd(&self) -> BorrowedFd<'_> {
        self.launched.as_ref().unwrap().pidfd.as_fd()
    }

    pub(crate) fn ask(&self, request: Request) -> Reply {
        self.handle().request(&request, &[]).unwrap().0
    }

    #[track_caller]
    pub(crate) fn done(&self, request: Request) {
        let reply = self.ask(request);
        assert!(matches!(reply, Reply::Done), "{reply:?}");
    }

    /// Asks with one end of a new socket; returns the other end.
    pub(crate) fn ask_with_socket(&self, request: Request) -> (Reply, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_read_timeout(Some(PATIENCE)).unwrap();
        let reply = self.handle().request(&request, &[theirs.as_fd()]).unwrap().0;
        (reply, ours)
    }

    pub(crate) fn state(&self) -> Snapshot {
        match self.ask(Request::State) {
            Reply::State(snapshot) => snapshot,
            other => panic!("{other:?}"),
        }
    }

    /// Waits for the next event that `pick` takes; all events on the way are in `seen`.
    #[track_caller]
    pub(crate) fn event<T>(&mut self, pick: impl Fn(&Happening) -> Option<T>) -> T {
        if self.events.is_none() {
            let stream = self.handle().subscribe(0).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            self.events = Some((stream, Decoder::default()));
        }
        let (stream, decoder) = self.events.as_mut().unwrap();
        loop {
            while let Some(event) = decoder.pop().unwrap() {
                let picked = pick(&event.what);
                self.seen.push(event);
                if let Some(picked) = picked {
                    return picked;
                }
            }
            let mut bytes = [0; 4096];
            match stream.read(&mut bytes) {
                Ok(count) if count > 0 => decoder.push(&bytes[..count]),
                // A read with a time limit is not taken up again after a signal.
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                other => panic!("no such event: {other:?}; seen: {:#?}", self.seen),
            }
        }
    }

    /// Waits for the final exit.
    #[track_caller]
    pub(crate) fn exit(&mut self) -> Exit {
        self.event(|what| match what {
            Happening::Exited { exit, restarts: false, .. } => Some(exit.clone()),
            _ => None,
        })
    }

    pub(crate) fn logs(&self, query: LogQuery) -> String {
        let (reply, mut socket) = self.ask_with_socket(Request::Logs { query, preface: Vec::new() });
        assert!(matches!(reply, Reply::Done), "{reply:?}");
        read_text(&mut socket)
    }

    pub(crate) fn all_logs(&self) -> String {
        self.logs(LogQuery { stdout: true, stderr: true, ..LogQuery::default() })
    }

    /// Until the shim has logged this.
    #[track_caller]
    pub(crate) fn wait_for_log(&self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.all_logs().contains(text) {
            assert!(Instant::now() < deadline, "{text:?} is not in the log: {}", self.all_logs());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn exec(&self, id: &str, args: &[&str], attachment: Attachment) -> (Reply, UnixStream) {
        let stdin = attachment.stdin;
        let (process, attachment) = (Box::new(process(args)), Some(attachment));
        self.ask_with_socket(Request::Exec { id: id.to_owned(), process, stdin, attachment })
    }

    pub(crate) fn release(&mut self) {
        self.done(Request::Release { removed: false, waiters: false });
        self.gone();
    }

    /// Waits for the end of the shim.
    #[track_caller]
    pub(crate) fn gone(&mut self) {
        let launched = self.launched.take().unwrap();
        assert!(
            linux::poll::wait_readable(&launched.pidfd, Some(PATIENCE)).unwrap(),
            "the shim does not end"
        );
        linux::process::wait(launched.shim_pid).unwrap();
    }

    pub(crate) fn cgroups(&self) -> Vec<PathBuf> {
        scratch::cgroups(self.cgroup.trim_start_matches('/'))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(launched) = self.launched.take() {
            let _ = linux::process::send_signal(launched.pidfd.as_fd(), 9);
            let _ = linux::process::wait(launched.shim_pid);
        }
        let _ = shim::cleanup(&self.launch.runtime_dir);
        let left = self.cgroups();
        let complaints = std::fs::read_to_string(self.dir.join("run/shim.log")).unwrap_or_default();
        let _ = std::fs::remove_dir_all(&self.dir);
        if !std::thread::panicking() {
            assert_eq!(left, Vec::<PathBuf>::new(), "cgroups are left");
            assert_eq!(complaints, "", "the shim complained");
        } else {
            eprintln!("the shim said: {complaints}");
        }
    }
}

/// Everything until the end of the stream.
#[track_caller]
pub(crate) fn read_text(socket: &mut UnixStream) -> String {
    let mut bytes = Vec::new();
    socket.read_to_end(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

/// Reads until `text` has come by.
#[track_caller]
pub(crate) fn read_until(socket: &mut UnixStream, text: &str) -> String {
    let mut got = Vec::new();
    let mut byte = [0];
    while !String::from_utf8_lossy(&got).contains(text) {
        match socket.read(&mut byte) {
            Ok(1) => got.push(byte[0]),
            other => panic!("{other:?} before {text:?}; got {:?}", String::from_utf8_lossy(&got)),
        }
    }
    String::from_utf8_lossy(&got).into_owned()
}

pub(crate) fn type_in(socket: &mut UnixStream, text: &[u8]) {
    socket.write_all(text).unwrap();
}

/// A client whose response has this head.
pub(crate) fn waiter(until: WaitUntil, head: &str) -> Waiter {
    Waiter { until, preface: head.into(), chunked: false }
}

/// A body that came in chunks; none if its end is missing.
pub(crate) fn unchunk(mut bytes: &str) -> Option<String> {
    let mut body = String::new();
    loop {
        let (size, rest) = bytes.split_once("\r\n")?;
        let size = usize::from_str_radix(size, 16).unwrap();
        let (piece, rest) = rest.split_at_checked(size)?;
        body.push_str(piece);
        bytes = rest.strip_prefix("\r\n")?;
        if size == 0 {
            assert_eq!(bytes, "", "behind the last chunk");
            return Some(body);
        }
    }
}

/// The streams of a framed output, apart.
pub(crate) fn unframe(bytes: &str) -> (String, String) {
    let (mut stdout, mut stderr) = (String::new(), String::new());
    let mut rest = bytes.as_bytes();
    while let Some((header, tail)) = rest.split_first_chunk::<8>() {
        let length = u32::from_be_bytes([header[4], header[5], header[6], header[7]]) as usize;
        let text = std::str::from_utf8(&tail[..length]).unwrap();
        match header[0] {
            1 => stdout.push_str(text),
            2 => stderr.push_str(text),
            other => panic!("stream {other}: {text}"),
        }
        rest = &tail[length..];
    }
    assert!(rest.is_empty());
    (stdout, stderr)
}

/// Whether a process of that id is there and no zombie.
pub(crate) fn is_alive(pid: i32) -> bool {
    linux::procfs::stat(pid).is_ok_and(|stat| stat.state != 'Z')
}

pub(crate) fn raw(fd: &impl AsRawFd) -> i32 {
    fd.as_raw_fd()
}
