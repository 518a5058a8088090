//! Starting a container: everything from its record to a running shim, on a blocking thread.
//!
//! ```text
//!  record ─▶ root fs ─┬▶ volumes ─▶ network ─▶ /etc files ─▶ user ─▶ spec ─┬▶ launch
//!                     └▶ a shim comes to life                record (commit) ┘
//! ```
//!
//! Each step's undo stands in [`leave`], which also runs after an ordinary exit: a failed start gives back what it
//! took by the same code.

use std::fs::DirBuilder;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;

use shim::protocol::{self, Launch, Stdin};

use super::held::Held;
use super::live::{Connected, Live};
use super::owner::store;
use super::record::Record;
use super::spares::Spares;
use super::state::{Ended, Failure, Run, State};
use super::stream::EventStream;
use super::users::{self, Users};
use super::{bind, files, health, life, refusals, rootfs, told};
use crate::effects::{Launched, Unborn};
use crate::error::{Error, Result};
use crate::networks::Joined;
use crate::{Engine, clock, identity, runtimes, spec};

/// A shim has started the container.
pub(super) struct Started {
    pub(super) record: Record,
    pub(super) connected: Connected,
    /// Of the clients that it has taken along.
    pub(super) spares: Spares,
}

/// It came to nothing; everything that was taken has been given back.
pub(super) struct Failed {
    pub(super) record: Record,
    pub(super) held: Held,
    pub(super) error: Error,
}

/// A failure with the exit code that stands for it. None if it came before the container was anybody's to run: then the code of
/// an earlier run stays, as with Docker, unless that is zero.
struct Stopped {
    code: Option<i32>,
    error: Error,
}

impl From<Error> for Stopped {
    fn from(error: Error) -> Stopped {
        Stopped { code: None, error }
    }
}

impl From<(i32, Error)> for Stopped {
    fn from((code, error): (i32, Error)) -> Stopped {
        Stopped { code: Some(code), error }
    }
}

/// Starts the container of `record` under a new shim. `restarts`: how often its policy has done so since somebody else
/// did.
pub(super) fn launch(
    engine: &Engine,
    mut record: Record,
    mut held: Held,
    restarts: u32,
) -> Result<Started, Box<Failed>> {
    let before = record.state.clone();
    record.restart_count = restarts;
    let attempt = prepare(engine, &record).and_then(|prepared| {
        told::mounted(engine, &record, &clock::now());
        // Docker tells of the end of what it has told of, but not that the container died.
        attempt(engine, &mut record, &mut held, prepared)
            .inspect_err(|_| told::left(engine, &record, &clock::now()))
    });
    match attempt {
        Ok((connected, spares)) => Ok(Started { record, connected, spares }),
        Err(Stopped { code, error }) => {
            leave(engine, &mut record);
            // A shim that was killed meanwhile has removed nothing.
            super::cgroups::remove(engine, &record);
            remove_runtime(engine, record.id.as_str());
            record.state = failed(&before, code, error.to_string());
            if !record.host.auto_remove
                && let Err(error) = store(engine, &record)
            {
                tracing::error!(container = %record.id, %error, "cannot record a failed start");
            }
            held.start_failed();
            Err(Box::new(Failed { record, held, error }))
        }
    }
}

/// What a run needs before it has a network.
struct Prepared {
    root: protocol::Rootfs,
    /// It comes to life while the rest is made.
    shim: Box<dyn Unborn>,
    users: Option<Users>,
    bound: bind::Bound,
}

fn prepare(engine: &Engine, record: &Record) -> Result<Prepared, Stopped> {
    let root = rootfs::prepare(engine, record)?;
    make_runtime(engine, record.id.as_str())?;
    fault("start: the runtime directory is made")?;
    let id = record.id.as_str();
    let shim = engine
        .effects()
        .spawn_shim(&engine.config().shim, id, &engine.paths().runtime(id))
        .map_err(|error| refusals::of_start(error.into()))?;
    fault("start: the shim lives")?;
    // Before the network is: what it is linked to must run.
    spec::linked_environment(engine, record)?;
    let users = users::open(engine, record)?;
    let bound = bind::bind(engine, record, users.as_ref())?;
    Ok(Prepared { root, shim, users, bound })
}

fn attempt(
    engine: &Engine,
    record: &mut Record,
    held: &mut Held,
    prepared: Prepared,
) -> Result<(Connected, Spares), Stopped> {
    let Prepared { root, shim, users, bound } = prepared;
    let incarnation = identity::random();
    let joined = engine
        .shared()
        .networks
        .join(record, users.as_ref())
        .map_err(|error| error.within("failed to set up container networking"))?;
    fault("start: the network is joined")?;
    // Who is not there is told of by the specification.
    if let Ok(Some(owner)) = files::owner(engine, record) {
        record.config.hostname.clone_from(&owner.config.hostname);
        record.config.domainname.clone_from(&owner.config.domainname);
    }
    files::write(engine, record, &joined)?;
    fault("start: the files are written")?;
    let spec = spec::for_container(engine, record, &root, &bound, users.as_ref())?;

    let health = health::for_shim(&record.config)?;
    record.state = State::Running(Run::starting(incarnation.clone(), health.is_some(), &record.state));
    record.started_before = true;
    record.manually_stopped = false;
    record.update_unconfirmed = false;

    let mut launch = describe(engine, record, incarnation, spec, root, health, &joined, held)?;
    launch.user_namespace = users.is_some();
    // Should the start fail, or the shim be killed, it takes its copies of the sockets with it, but who waits for the end
    // still waits.
    let waiters = held.waiting()?;
    let descriptors = descriptors(users, joined, std::mem::take(held));
    let (mut launched, mut stored) = (None, Ok(()));
    let mut told = Some((shim, descriptors));
    let mut start = || launched = told.take().map(|(shim, descriptors)| shim.launch(&launch, descriptors));
    match record.host.auto_remove {
        // What is thrown away at its end anyway is not worth a commit: restore learns of it from the runtime directory.
        true => start(),
        false => engine.effects().together(&mut || stored = store(engine, record), &mut start),
    }
    let failed_inside = || Err(io::Error::other("the engine failed inside").into());
    let Launched { shim, pid, started_at, shim_pid } = match launched.unwrap_or_else(failed_inside) {
        Ok(launched) => launched,
        Err(error) => {
            held.waiters = waiters;
            return Err(refusals::of_start(error).into());
        }
    };
    store::fault::passed("start: launched");
    // It refuses a launch that speaks a newer protocol than it does.
    let live = Live { shim, pid, version: protocol::VERSION };
    if let Err(error) = stored {
        // A container that nobody would remember must not run.
        super::restore::dismiss(engine, &live, shim_pid);
        return Err(error.into());
    }
    if let Some(run) = record.state.run_mut() {
        run.pid = pid;
        run.started_at = started_at;
    }
    let events = subscribe(&live, 0)?;
    engine.network_events(record, "connect", &clock::now());
    Ok((Connected { live, events }, Spares::new(waiters)))
}

fn fault(name: &'static str) -> Result<()> {
    Ok(store::fault::point(name)?)
}

/// Listens to a shim from the event behind `after` on.
pub(super) fn subscribe(live: &Live, after: u64) -> Result<EventStream> {
    let socket = live
        .shim
        .subscribe(after)
        .map_err(|error| Error::failed("cannot listen to the container's shim", error))?;
    EventStream::new(socket)
}

#[allow(clippy::too_many_arguments, reason = "one message says everything that the container needs")]
fn describe(
    engine: &Engine,
    record: &Record,
    incarnation: String,
    spec: oci::runtime::Spec,
    rootfs: protocol::Rootfs,
    health: Option<protocol::Health>,
    joined: &Joined,
    held: &Held,
) -> Result<Launch> {
    let id = record.id.as_str();
    Ok(Launch {
        version: protocol::VERSION,
        container: id.to_owned(),
        runtime_dir: engine.paths().runtime(id),
        incarnation,
        spec,
        runtime: runtimes::find(&engine.config().container, &record.host.runtime)?,
        rootfs,
        user_namespace: false,
        cgroup_driver: engine.config().cgroup.driver,
        stdin: match (record.config.open_stdin, record.config.stdin_once) {
            (false, _) => Stdin::Closed,
            (true, false) => Stdin::Open,
            (true, true) => Stdin::Once,
        },
        log: super::logs::describe(engine, record)?,
        restart: life::restart_policy(&record.host.restart_policy),
        restart_count: record.restart_count,
        health,
        stop_signal: stop_signal_configured(record).unwrap_or(linux::signal::SIGTERM),
        stop_timeout: record.config.stop_timeout.unwrap_or(engine.config().container.stop_timeout),
        network: Some(protocol::Network {
            namespace: joined.namespace.is_some(),
            held_sockets: joined.ports.iter().filter(|(port, _)| port.relay.is_none()).count(),
            relays: joined.ports.iter().filter_map(|(port, _)| relay(port)).collect(),
            names: joined.names.clone(),
        }),
        attachments: held.attachments.iter().map(|(attachment, _)| attachment.clone()).collect(),
        waiters: held.waiters.iter().map(|(waiter, _)| waiter.clone()).collect(),
    })
}

fn relay(port: &protocol::HostPort) -> Option<protocol::Relay> {
    Some(protocol::Relay { protocol: port.protocol.clone(), target: port.relay? })
}

/// The descriptors of a launch, in the order that the protocol gives.
fn descriptors(users: Option<Users>, joined: Joined, held: Held) -> Vec<OwnedFd> {
    let mut all: Vec<OwnedFd> = users.map(Users::into_namespace).into_iter().collect();
    all.extend(joined.namespace);
    let (relayed, led): (Vec<_>, Vec<_>) =
        joined.ports.into_iter().partition(|(port, _)| port.relay.is_some());
    all.extend(led.into_iter().chain(relayed).map(|(_, socket)| socket));
    all.extend(held.attachments.into_iter().map(|(_, socket)| socket));
    all.extend(held.waiters.into_iter().map(|(_, socket)| socket));
    all
}

/// The configured stop signal; none when the container has none, or its image one that is none.
pub(super) fn stop_signal_configured(record: &Record) -> Option<i32> {
    linux::signal::parse_wish(&record.config.stop_signal)
}

/// What a container that never ran, or ran before, is after a start that failed.
fn failed(before: &State, code: Option<i32>, message: String) -> State {
    const UNKNOWN: i32 = 128;
    match before.ended() {
        Some(ended) => {
            let code = code.or(Some(ended.code).filter(|code| *code != 0)).unwrap_or(UNKNOWN);
            State::Exited(Ended { code, error: message, ..ended.clone() })
        }
        None => State::Created { failure: Some(Failure { code: code.unwrap_or(UNKNOWN), message }) },
    }
}

fn make_runtime(engine: &Engine, id: &str) -> Result<()> {
    let path = engine.paths().runtime(id);
    // One that a failed cleanup left must not lend its socket or journal to the new run.
    let made = super::remove::remove_directory(&path)
        .and_then(|()| linux::fault::io("make a runtime directory"))
        .and_then(|()| DirBuilder::new().mode(0o700).recursive(true).create(&path));
    made.map_err(|error| {
        Error::failed(format!("cannot make the runtime directory {}", path.display()), error)
    })
}

pub(super) fn remove_runtime(engine: &Engine, id: &str) {
    let path = engine.paths().runtime(id);
    if let Err(error) = super::remove::remove_directory(&path) {
        tracing::warn!(path = %path.display(), %error, "cannot remove a runtime directory");
    }
}

/// Gives back what a run took from the host. Goes on past failures and logs each: the container has ended, and what
/// could not be undone now is undone when the engine opens next.
pub(super) fn leave(engine: &Engine, record: &mut Record) {
    if let Err(error) = engine.shared().networks.leave(record) {
        tracing::warn!(container = %record.id, %error, "cannot give back all of a network endpoint");
    }
    store::fault::passed("end: the network is left");
    if let Err(error) = bind::release(engine, record) {
        tracing::warn!(container = %record.id, %error, "cannot release all volumes");
    }
}

/// When a run ended, for those that ended without a word.
pub(super) fn lost(run: &Run, code: i32) -> Ended {
    run.lost(code, clock::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_start_keeps_what_an_earlier_run_left() {
        let never = State::Created { failure: None };
        for (before, code, after) in [(0, Some(127), 127), (7, Some(127), 127), (7, None, 7), (0, None, 128)]
        {
            let ran = Run::starting("i".into(), false, &never).lost(before, "2026-01-01T00:00:00Z".into());
            let State::Exited(ended) = failed(&State::Exited(ran), code, "no".into()) else {
                panic!("it ran before")
            };
            assert_eq!((ended.code, ended.finished_at.as_str()), (after, "2026-01-01T00:00:00Z"));
        }
        for (code, after) in [(Some(126), 126), (None, 128)] {
            let state = failed(&never, code, "no".into());
            assert!(matches!(state, State::Created { failure: Some(failure) } if failure.code == after));
        }
    }
}
