//! `state.json`: what is needed to clean up after a shim that was killed, and the cleaning up.
//!
//! A container dies with its shim (its process asked the kernel for that), unless it has changed its user or was given a
//! label when it was executed: then the kernel has forgotten the wish (prctl(2)). A process outside its PID namespace and
//! its cgroup may be left in any case. The file names both so that no later process or cgroup can be mistaken for them:
//! processes by id and start time, the cgroup by its paths. It is replaced whole at every change of phase.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::protocol::{Exit, Happening, Phase};
use crate::{clock, journal, paths};

/// A process, as a name that is never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Named {
    pid: i32,
    /// Clock ticks since boot.
    start_time: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct State {
    pub shim: Named,
    /// While there is one.
    pub container: Option<runtime::Record>,
    pub phase: Phase,
    /// Names of this endpoint, to be withdrawn.
    #[serde(default)]
    pub own_names: Vec<PathBuf>,
}

/// What a dead shim's container came to.
#[derive(Debug)]
pub struct Cleaned {
    /// Its last exit: the one that the journal has, or 137 from now if it had none.
    pub exit: Exit,
    /// Whether the shim itself recorded that exit.
    pub recorded: bool,
}

impl Named {
    pub(crate) fn of(pid: i32) -> linux::Result<Named> {
        Ok(Named { pid, start_time: linux::procfs::start_time(pid)? })
    }

    fn is_alive(self) -> bool {
        // A zombie is as good as gone: it holds nothing.
        linux::procfs::stat(self.pid)
            .is_ok_and(|stat| stat.start_time == self.start_time && stat.state != 'Z')
    }
}

pub(crate) fn save(runtime_dir: &Path, state: &State) -> io::Result<()> {
    let path = paths::state(runtime_dir);
    linux::fault::io("state: write")?;
    let draft = paths::with_suffix(&path, ".new");
    std::fs::write(&draft, serde_json::to_vec(state)?)?;
    std::fs::rename(&draft, &path)
}

fn load(path: &Path) -> io::Result<State> {
    let failed = |call: &str, error: io::Error| {
        io::Error::new(error.kind(), format!("{call} {}: {error}", path.display()))
    };
    let json = std::fs::read(path).map_err(|error| failed("read", error))?;
    serde_json::from_slice(&json).map_err(|error| failed("understand", error.into()))
}

/// How long killed processes may take to be gone; a process in the middle of a slow disk access takes its time.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(5);

/// Ends and removes what a dead shim left, and records the exit if the shim could not. Asking again is harmless.
///
/// `NotFound`: there was never a container here (or the host was rebooted). `ResourceBusy`: the shim is alive.
pub fn cleanup(runtime_dir: &Path) -> io::Result<Cleaned> {
    let state = load(&paths::state(runtime_dir))?;
    if state.shim.is_alive() {
        return Err(io::Error::new(io::ErrorKind::ResourceBusy, "the container's shim is alive"));
    }
    if let Some(container) = &state.container {
        end(container)?;
    }
    for path in &state.own_names {
        network::names::withdraw(path)?;
    }
    let _ = std::fs::remove_file(paths::socket(runtime_dir));
    conclude(runtime_dir, &state.phase)
}

/// The end of a run whose shim is dead: the one that its journal has, or else one that is written there now. `phase`: what
/// the shim was at when it died.
pub fn conclude(runtime_dir: &Path, phase: &Phase) -> io::Result<Cleaned> {
    let recorded = last_exit(runtime_dir)?;
    let exit = match recorded.clone() {
        Some(exit) => exit,
        None => record_exit(runtime_dir, phase)?,
    };
    Ok(Cleaned { exit, recorded: recorded.is_some() })
}

/// Kills what is left, removes the cgroup, and waits until the container's process is really gone.
fn end(container: &runtime::Record) -> io::Result<()> {
    if !container.is_known() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the container's record is of a later version",
        ));
    }
    container.clean_up().map_err(io::Error::other)?;
    let deadline = std::time::Instant::now() + PATIENCE;
    while container.is_alive() {
        if std::time::Instant::now() > deadline {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the container's process does not end"));
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// The final exit, if the journal ends with one.
fn last_exit(runtime_dir: &Path) -> io::Result<Option<Exit>> {
    let events = journal::read(runtime_dir)?;
    let last = events.into_iter().rev().find_map(|event| match event.what {
        Happening::Exited { exit, restarts, .. } => Some((!restarts).then_some(exit)),
        Happening::Started { .. } => Some(None),
        _ => None,
    });
    Ok(last.flatten())
}

fn record_exit(runtime_dir: &Path, phase: &Phase) -> io::Result<Exit> {
    let exit = match phase {
        // Died between two runs, or right after the end: what the process itself said stands.
        Phase::Restarting { exit } | Phase::Exited { exit } => exit.clone(),
        Phase::Running { started_at, .. } => Exit {
            code: 137,
            oom_killed: false,
            started_at: started_at.clone(),
            finished_at: clock::format(clock::now()),
            error: None,
        },
    };
    journal::append_for_the_dead(
        runtime_dir,
        Happening::Exited { exit: exit.clone(), restarts: false, delay_ms: 0, restart_count: None },
    )?;
    Ok(exit)
}
