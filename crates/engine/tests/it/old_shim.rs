//! A shim of an earlier build, played from a recording: what the first version of the protocol says, without any field or
//! event that was added since, and with some that this build does not know. Shims outlive engines, so this must go on
//! working; the recording is not to be changed.

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex, mpsc};

use api::container::Status;

use crate::world::in_a_world;

/// Answers and events as the first version wrote them. PID stands for the container's process.
const STATE: &str = r#"{"state":{"version":1,"container":"c","incarnation":"old","shim_pid":PID,"phase":{"running":{"pid":PID,
    "started_at":"2026-01-01T00:00:00.000000001Z","paused":false}},"restart_count":2,"sequence":1,"colour":"red"}}"#;
const DONE: &str = r#""done""#;
const STARTED: &str = r#"{"incarnation":"old","sequence":1,"time":"2026-01-01T00:00:00.000000001Z",
    "what":{"started":{"pid":PID,"restart_count":2}}}"#;
const UNKNOWN: &str =
    r#"{"incarnation":"old","sequence":2,"time":"2026-01-01T00:00:01Z","what":{"teleported":{"to":"mars"}}}"#;
const EXITED: &str = r#"{"incarnation":"old","sequence":3,"time":"2026-01-01T00:00:09Z","weather":"fine","what":{"exited":
    {"exit":{"code":5,"oom_killed":false,"started_at":"2026-01-01T00:00:00.000000001Z",
    "finished_at":"2026-01-01T00:00:09Z"},"restarts":false,"delay_ms":0}}}"#;

/// The process of the container, as far as the engine can see; killed when dropped.
struct Stand(Child);

impl Drop for Stand {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn send(mut socket: &UnixStream, text: &str) {
    let mut frame = u32::try_from(text.len()).unwrap().to_le_bytes().to_vec();
    frame.extend([0; 4]);
    frame.extend(text.as_bytes());
    socket.write_all(&frame).unwrap();
}

fn receive(mut socket: &UnixStream) -> Option<String> {
    let mut header = [0; 8];
    socket.read_exact(&mut header).ok()?;
    let mut payload = vec![0; u32::from_le_bytes(header[..4].try_into().unwrap()) as usize];
    socket.read_exact(&mut payload).ok()?;
    Some(String::from_utf8(payload).unwrap())
}

/// Plays the shim in a runtime directory until it is released. What it was asked goes to `heard`.
fn play(runtime: &Path, pid: u32, end: mpsc::Receiver<()>, heard: mpsc::Sender<String>) {
    std::fs::create_dir_all(runtime).unwrap();
    // The path is longer than a socket's address.
    let directory = std::fs::File::open(runtime).unwrap();
    let listener = UnixListener::bind(format!("/proc/self/fd/{}/shim.sock", directory.as_raw_fd())).unwrap();
    let with_pid = move |text: &str| text.replace("PID", &pid.to_string());
    // For the one that subscribes; the first connection only asks for the state.
    let end = Arc::new(Mutex::new(Some(end)));
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let (socket, heard, end) = (socket.unwrap(), heard.clone(), end.clone());
            std::thread::spawn(move || {
                while let Some(request) = receive(&socket) {
                    let _ = heard.send(request.clone());
                    match request.as_str() {
                        r#""state""# => send(&socket, &with_pid(STATE)),
                        subscribe if subscribe.starts_with(r#"{"subscribe""#) => {
                            send(&socket, &with_pid(STARTED));
                            send(&socket, UNKNOWN);
                            let end = end.lock().unwrap().take();
                            end.expect("there is one subscription").recv().unwrap();
                            send(&socket, EXITED);
                        }
                        _ => send(&socket, DONE),
                    }
                }
            });
        }
    });
}

#[test]
fn a_shim_of_the_first_version_is_understood() {
    in_a_world(async |world| {
        let id = world.create("old", "true", |_| {}).await;
        world.close().await;
        let stand = Stand(Command::new("sleep").arg("1000").spawn().unwrap());
        let (go, end) = mpsc::channel();
        let (heard, asked) = mpsc::channel();
        play(&world.dir.join("exec/containers").join(&id), stand.0.id(), end, heard);
        world.open().await;
        let shown = world.until(&id, |shown| shown.state.pid > 0).await;
        assert_eq!((shown.state.pid, shown.restart_count), (i64::from(stand.0.id()), 2));
        assert_eq!(shown.state.status, Status::Running);
        go.send(()).unwrap();
        let shown = world.until(&id, |shown| shown.state.status == Status::Exited).await;
        assert_eq!((shown.state.exit_code, shown.state.finished_at.as_str()), (5, "2026-01-01T00:00:09Z"));
        let release = r#"{"release":{"removed":false}}"#;
        let deadline = std::time::Duration::from_secs(30);
        assert!(std::iter::from_fn(|| asked.recv_timeout(deadline).ok()).any(|request| request == release));
    });
}
