//! `NOTIFY_SOCKET`: a supervisor hears of the container's readiness, in each way to start one.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, Stdio};

use crate::bundle::{Bundle, Outcome, wait_until};
use crate::criu;

/// As systemd would be.
struct Supervisor {
    address: String,
    socket: UnixDatagram,
}

impl Supervisor {
    fn of(bundle: &Bundle) -> Supervisor {
        let address = bundle.directory.join("supervisor").display().to_string();
        Supervisor { socket: UnixDatagram::bind(&address).unwrap(), address }
    }

    /// In the network namespace, without a path.
    fn with_a_name(bundle: &Bundle) -> Supervisor {
        use std::os::linux::net::SocketAddrExt;
        let name = std::os::unix::net::SocketAddr::from_abstract_name(&bundle.id).unwrap();
        Supervisor { socket: UnixDatagram::bind_addr(&name).unwrap(), address: format!("@{}", bundle.id) }
    }

    /// The next message, and what came along.
    fn next(&self) -> (String, Vec<OwnedFd>) {
        assert!(linux::poll::wait_readable(&self.socket, Some(std::time::Duration::from_secs(10))).unwrap());
        let (mut bytes, mut descriptors) = ([0; 4096], Vec::new());
        let length = linux::fd::receive(&self.socket, &mut bytes, &mut descriptors).unwrap();
        (String::from_utf8(bytes[..length].to_vec()).unwrap(), descriptors)
    }

    /// Hears of the readiness; what it returns keeps the teller waiting.
    fn hear(&self, main: i32) -> Vec<OwnedFd> {
        let (ready, watch, (barrier, descriptors)) = (self.next().0, self.next().0, self.next());
        assert_eq!(
            (ready.as_str(), watch, barrier.as_str()),
            ("READY=1\n", format!("MAINPID={main}\n"), "BARRIER=1")
        );
        assert_eq!(descriptors.len(), 1);
        descriptors
    }

    fn call(&self, bundle: &Bundle, words: &[&str]) -> Child {
        let mut command = bundle.command(words);
        let log = std::fs::File::create(bundle.directory.join("log")).unwrap();
        command.env("NOTIFY_SOCKET", &self.address).stdout(log.try_clone().unwrap()).stderr(log);
        command.spawn().unwrap()
    }
}

/// A program that sees what it was given, and waits.
fn bundle() -> Bundle {
    let bundle = Bundle::shell(
        "echo $NOTIFY_SOCKET; stat -c %a $NOTIFY_SOCKET; grep ' /run/notify ' /proc/self/mounts; exec sleep 1000",
    );
    bundle.write_config();
    bundle
}

/// The container's socket, as the container has it.
fn socket(bundle: &Bundle) -> PathBuf {
    wait_until(|| bundle.call(&["list", "-q"]).stdout.contains(&bundle.id));
    let path = PathBuf::from(format!("/proc/{}/root/run/notify/notify.sock", bundle.pid()));
    wait_until(|| path.exists());
    path
}

fn say(bundle: &Bundle, message: &str) {
    let socket = socket(bundle);
    UnixDatagram::unbound().unwrap().send_to(message.as_bytes(), socket).unwrap();
}

#[test]
fn a_start_waits_until_the_container_is_ready() {
    let bundle = bundle();
    let supervisor = Supervisor::of(&bundle);
    assert!(supervisor.call(&bundle, &["create", &bundle.id]).wait().unwrap().success());
    let mut start = supervisor.call(&bundle, &["start", &bundle.id]);
    say(&bundle, "STATUS=soon");
    say(&bundle, "STATUS=now\nREADY=1\nMAINPID=1");
    let barrier = supervisor.hear(bundle.pid());
    assert_eq!(start.try_wait().unwrap(), None, "until what it told has arrived");
    drop(barrier);
    assert!(start.wait().unwrap().success());
    wait_until(|| bundle.log().lines().count() == 3);
    let log = bundle.log();
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(&lines[..2], ["/run/notify/notify.sock", "777"]);
    assert!(lines[2].contains(" ro,nosuid,nodev,noexec,"), "{log}");
    assert_eq!(bundle.exec("echo $NOTIFY_SOCKET").stdout, "\n", "a later process has nothing to tell");
}

#[test]
fn a_detached_run_waits_until_the_container_is_ready() {
    let bundle = bundle();
    let supervisor = Supervisor::with_a_name(&bundle);
    let mut run = supervisor.call(&bundle, &["run", "--detach", &bundle.id]);
    say(&bundle, "READY=1");
    drop(supervisor.hear(bundle.pid()));
    assert!(run.wait().unwrap().success());
    assert_eq!(bundle.state()["status"], "running");
}

#[test]
fn who_runs_in_the_foreground_is_to_be_watched() {
    let bundle = bundle();
    let supervisor = Supervisor::of(&bundle);
    let mut run = supervisor.call(&bundle, &["run", &bundle.id]);
    say(&bundle, "READY=1");
    drop(supervisor.hear(run.id() as i32));
    // More than a socket holds that nobody reads.
    let (again, socket) = (UnixDatagram::unbound().unwrap(), socket(&bundle));
    for _ in 0..1000 {
        again.send_to(b"READY=1", &socket).unwrap();
    }
    assert_eq!(bundle.call(&["kill", &bundle.id, "KILL"]).status, 0);
    assert_eq!(run.wait().unwrap().code(), Some(137));
    supervisor.socket.set_nonblocking(true).unwrap();
    assert!(supervisor.socket.recv(&mut [0]).is_err(), "readiness is told once");
}

#[test]
fn nobody_waits_for_a_container_that_has_ended() {
    for (words, status) in [(&["run"][..], 5), (&["run", "--detach"], 0)] {
        let bundle = Bundle::shell("exit 5");
        bundle.write_config();
        let supervisor = Supervisor::of(&bundle);
        let ended = supervisor.call(&bundle, &[words, &[&bundle.id]].concat()).wait().unwrap();
        assert_eq!(ended.code(), Some(status), "{}", bundle.log());
    }
}

#[test]
fn a_supervisor_that_is_not_there() {
    let bundle = Bundle::shell("exit 5");
    bundle.write_config();
    let call = |words: &[&str]| {
        let mut command = bundle.command(words);
        Outcome::of(command.env("NOTIFY_SOCKET", "/none/socket").output().unwrap())
    };
    let expected = "NOTIFY_SOCKET: connect(\\\"/none/socket\\\")";
    let run = call(&["run", &bundle.id]);
    assert_eq!(run.status, 5, "the program has its way");
    assert!(run.stderr.contains("level=warning") && run.stderr.contains(expected), "{}", run.stderr);
    let words = ["create", &bundle.id];
    let created = bundle.command(&words).env("NOTIFY_SOCKET", "/none/socket").stdout(Stdio::null()).status();
    assert!(created.unwrap().success());
    let start = call(&["start", &bundle.id]);
    assert!(start.status == 1 && start.stderr.contains(expected), "{}", start.stderr);
    assert_eq!(bundle.state()["status"], "created");
}

#[test]
fn a_checkpoint_knows_the_place_of_the_socket() {
    let bundle = bundle();
    let supervisor = Supervisor::of(&bundle);
    assert!(supervisor.call(&bundle, &["create", &bundle.id]).wait().unwrap().success());
    bundle.start();
    let directory = criu::fake(&bundle);
    let outcome = criu::call(&bundle, &directory, &["checkpoint", "--leave-running", &bundle.id]);
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
    criu::assert_asked(&directory, &criu::lines("23 /run/notify /run/notify"));
}
