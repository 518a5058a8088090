//! A small parent that holds the listening sockets and restarts the engine (`--keep-socket`).
//!
//! ```text
//!   keeper: binds the sockets ── spawns ──▶ engine: takes them as descriptors 3, 4, …
//!      │ ◀──────────── exit status ──────────  │ killed, crashed: a new one is spawned;
//!      │                                          connections queue in the sockets meanwhile
//!      └ SIGTERM, SIGHUP are passed on
//! ```
//!
//! With systemd nobody needs this: it holds the sockets by itself. Where an engine is started by hand or by a client,
//! the keeper gives the same promise: a socket that is mounted into a container never goes stale.
//!
//! An engine that ends by itself without an error, or refuses to start the first time, is not restarted.

use std::os::fd::AsFd as _;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use linux::process::{Child, Exit, Program, Spawn};
use linux::signal::{SIGCHLD, SIGHUP, SIGINT, SIGTERM, Signals};

use crate::listeners::{Bound, FIRST, KEPT, Listeners};
use crate::settings::Settings;

/// The first pause before a restart, doubled up to the longest. An engine that ran for [`STABLE`] starts afresh.
const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);
const STABLE: Duration = Duration::from_secs(10);

/// Runs until the engine is asked to end, or ends by itself; returns the exit code.
pub(crate) fn run(settings: &Settings, words: &[String]) -> Result<u8, String> {
    let failed = |error: linux::Error| format!("the keeper of the sockets failed: {error}");
    let signals = Signals::new(&[SIGCHLD, SIGHUP, SIGINT, SIGTERM]).map_err(failed)?;
    let listeners = Listeners::open(&settings.hosts, settings.group.as_deref())?;
    let words: Vec<&str> =
        words.iter().map(String::as_str).filter(|word| !word.starts_with("--keep-socket")).collect();
    let mut pause = SHORTEST;
    let mut first = true;
    let code = loop {
        let began = Instant::now();
        let child = spawn(&listeners, &words).map_err(failed)?;
        let (exit, asked) = watch(&signals, &child).map_err(failed)?;
        let ran = began.elapsed();
        let refused = first && ran < STABLE && matches!(exit, Exit::Code(_));
        if asked || refused || exit == Exit::Code(0) {
            break u8::try_from(exit.code()).unwrap_or(1);
        }
        first = false;
        pause = if ran >= STABLE { SHORTEST } else { (pause * 2).min(LONGEST) };
        eprintln!("wharfd: the engine ended ({exit:?}); a new one starts in {} ms", pause.as_millis());
        if wait_unless_asked(&signals, pause).map_err(failed)? {
            break 0;
        }
    };
    listeners.remove();
    Ok(code)
}

fn spawn(listeners: &Listeners, words: &[&str]) -> linux::Result<Child> {
    let mut all = vec!["wharfd"];
    all.extend(words);
    let environment = std::env::vars().map(|(name, value)| format!("{name}={value}"));
    let count = format!("{KEPT}={}", listeners.bound.len());
    let (input, output, error) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    let mut spawn = Spawn::new(Program::Path(Path::new("/proc/self/exe")), &all)?
        .env(environment.chain([count]))?
        .descriptor(input.as_fd(), 0)
        .descriptor(output.as_fd(), 1)
        .descriptor(error.as_fd(), 2);
    for (at, bound) in listeners.bound.iter().enumerate() {
        spawn = spawn.descriptor(descriptor(bound), FIRST + at as i32);
    }
    spawn.start()
}

fn descriptor(bound: &Bound) -> BorrowedFd<'_> {
    match bound {
        Bound::Unix(listener) => listener.as_fd(),
        Bound::Tcp(listener) => listener.as_fd(),
    }
}

/// Passes signals on until the engine has ended; says whether somebody asked for its end.
fn watch(signals: &Signals, child: &Child) -> linux::Result<(Exit, bool)> {
    let mut asked = false;
    loop {
        linux::poll::wait_readable(signals, None)?;
        while let Some(received) = signals.take()? {
            match received.signal {
                SIGCHLD => {
                    if let Some(exit) = linux::process::try_wait(child.pid)? {
                        return Ok((exit, asked));
                    }
                }
                signal => {
                    asked |= signal != SIGHUP;
                    // It may have ended this moment; its exit tells.
                    let _ = linux::process::send_signal(child.pidfd.as_fd(), signal);
                }
            }
        }
    }
}

/// Pauses; true if it was asked to end meanwhile.
fn wait_unless_asked(signals: &Signals, pause: Duration) -> linux::Result<bool> {
    let end = Instant::now() + pause;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() || !linux::poll::wait_readable(signals, Some(left))? {
            return Ok(false);
        }
        while let Some(received) = signals.take()? {
            if matches!(received.signal, SIGINT | SIGTERM) {
                return Ok(true);
            }
        }
    }
}
