//! Starts an engine when nobody listens on the default socket.
//!
//! ```text
//! wharf ── connect fails ── lock ── connect again ── spawn itself as launcher ── wait
//!                                                       │ own session, the hierarchy's root cgroup,
//!                                                       │ no terminal, output to the log
//!                                                       └─ wharfd ── launcher waits until it
//!                                                          answers, then ends and leaves it to init
//! ```
//!
//! The lock makes sure that of many commands at once one starts the engine and the others wait for
//! it. The launcher in between is this program again, because only a process of its own can leave
//! the caller's session: closing the terminal, or stopping the service that ran the command, must
//! not take the engine with it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use client::Host;
use rustix::fs::{FlockOperation, flock};

use crate::failure::{Failure, Outcome};

const DIRECTORY: &str = "/run/wharf";
const LOG: &str = "/run/wharf/wharfd.log";
const LOCK: &str = "/run/wharf/autostart.lock";
/// An engine restores its containers before it answers; a host in trouble takes its time.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(5);
/// The end of the log that is shown when the engine does not come up.
const LOG_TAIL: usize = 10;

/// The word that makes this program the launcher.
pub(crate) const LAUNCHER: &str = "__launch-engine";

/// Makes sure that somebody listens, if this user may start an engine, and returns the connection
/// that showed it. Otherwise the connection that follows fails and says so.
pub(crate) fn ensure(host: &Host) -> Result<Option<UnixStream>, Failure> {
    let Host::Unix(socket) = host else { return Ok(None) };
    match UnixStream::connect(socket) {
        Ok(connection) => return Ok(Some(connection)),
        Err(error) if !is_absence(&error) || !rustix::process::geteuid().is_root() => return Ok(None),
        Err(_) => {}
    }
    let Some(engine) = engine() else { return Ok(None) };
    fs::create_dir_all(DIRECTORY).map_err(crate::failure::doing("could not create", DIRECTORY))?;
    let lock = OpenOptions::new().create(true).append(true).mode(0o600).open(LOCK);
    let lock = lock.map_err(crate::failure::doing("could not open", LOCK))?;
    flock(&lock, FlockOperation::LockExclusive)
        .map_err(|error| Failure::new(format!("could not lock {LOCK}: {error}")))?;
    if is_dead(socket) {
        launch(&engine, socket)?;
    }
    Ok(None)
}

fn is_dead(socket: &Path) -> bool {
    UnixStream::connect(socket).is_err_and(|error| is_absence(&error))
}

/// Whether nobody listens, as opposed to: we may not ask.
fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

/// The engine's program: beside this one, or where the shell would find it.
fn engine() -> Option<PathBuf> {
    let beside = std::env::current_exe().ok().and_then(|path| Some(path.parent()?.join("wharfd")));
    let search = std::env::var_os("PATH").unwrap_or_default();
    beside
        .into_iter()
        .chain(std::env::split_paths(&search).map(|path| path.join("wharfd")))
        .find(|path| path.is_file())
}

fn launch(engine: &Path, socket: &Path) -> Result<(), Failure> {
    let this = std::env::current_exe().map_err(crate::failure::doing("could not find", "this program"))?;
    let status = Command::new(&this)
        .arg(LAUNCHER)
        .args([engine, socket])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .current_dir("/")
        .status()
        .map_err(crate::failure::doing("could not start", this.display()))?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::new(format!("could not start the engine {}\n{}", engine.display(), log_tail())))
}

fn log_tail() -> String {
    let log = fs::read_to_string(LOG).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    let tail = lines[lines.len().saturating_sub(LOG_TAIL)..].join("\n  ");
    format!("the end of {LOG}:\n  {tail}")
}

/// The launcher's part: leaves session and cgroup, starts the engine, and sees it answer.
pub(crate) fn launcher(words: &[String]) -> Outcome {
    let [engine, socket] = words else { return Err(Failure::silent(1)) };
    rustix::process::setsid().map_err(|error| Failure::new(format!("setsid: {error}")))?;
    leave_cgroups();
    let log = log_file()?;
    let errors = log.try_clone()?;
    let mut child = Command::new(engine)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        .spawn()
        .map_err(crate::failure::doing("could not start", engine))?;
    let began = Instant::now();
    while is_dead(Path::new(socket)) {
        if let Some(status) = child.try_wait()? {
            return Err(Failure::new(format!("{engine} ended early: {status}")));
        }
        if began.elapsed() > PATIENCE {
            return Err(Failure::new(format!("{engine} does not answer after {} s", PATIENCE.as_secs())));
        }
        std::thread::sleep(PAUSE);
    }
    Ok(0)
}

fn log_file() -> Result<File, Failure> {
    let failed = crate::failure::doing("could not open", LOG);
    OpenOptions::new().create(true).append(true).mode(0o640).open(LOG).map_err(failed)
}

/// Moves to the root of every cgroup hierarchy, so that no limit or stop of the caller's service
/// reaches the engine. Where that is not allowed the engine stays, and works all the same.
fn leave_cgroups() {
    let root = Path::new("/sys/fs/cgroup");
    let hierarchies = fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path());
    for directory in std::iter::once(root.to_owned()).chain(hierarchies) {
        // Version 2 has controllers at its root; below it, directories are cgroups, not hierarchies.
        if directory != root && root.join("cgroup.controllers").exists() {
            break;
        }
        if let Ok(mut file) = OpenOptions::new().write(true).open(directory.join("cgroup.procs")) {
            let _ = file.write_all(b"0");
        }
    }
}
