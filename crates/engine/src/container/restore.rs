//! What an engine that opens does with what it finds.
//!
//! It never replays effects. For each record it looks at the runtime root — is there a shim, does it answer, what has
//! its journal to say — and decides from both; the shim is the truth about a run, the record about everything else.
//!
//! ```text
//!  record      │ shim alive      │ shim dead, journal       │ nothing
//!  ────────────┼─────────────────┼──────────────────────────┼───────────────────────────
//!  running     │ go on listening │ its exit, else 137       │ 255: the host was restarted
//!  created     │ adopt the run   │ the same, as a run       │ as it is; --rm, of another boot: gone
//!  exited      │ let it go       │ clean up                 │ as it is
//!  (none)      │ kill            │ clean up                 │
//! ```
//!
//! An end that is recorded and another one that is found are two: the start between them was cut short before its
//! record, and the run is followed.
//!
//! Then containers whose policy says so are started, `--rm` ones that have ended go away, and whatever belongs to no
//! record is removed.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use shim::protocol::{Event, Exit, Happening, Phase, Reply as Answer, Request, Snapshot};
use tokio::task::JoinSet;

use super::commands::Command;
use super::live::{Connected, Live};
use super::owner::Owner;
use super::record::Record;
use super::state::{Failure, Run, State};
use super::{Handle, cgroups, happened, launch, leftovers, life, remove};
use crate::Engine;
use crate::error::{Error, Result};
use crate::identity::ContainerId;

/// How often, and how long after each other, a shim that does not answer any more is looked at until it is gone: ten
/// seconds.
const ATTEMPTS: u32 = 2000;
const PAUSE: Duration = Duration::from_millis(5);

/// Containers that are looked at together. Each takes a thread for a moment.
const AT_ONCE: usize = 8;

/// What was found of a container's shim.
pub(super) struct Observed {
    /// From the journal of a dead shim, in order.
    pub(super) events: Vec<Event>,
    /// A shim that answers, and everything it reports from the asked event on.
    pub(super) connected: Option<Connected>,
    /// The shim did not live to say how its container ended, nor to decide whether it comes back.
    pub(super) killed: bool,
}

/// What the runtime root says about one container.
enum Found {
    Nothing,
    Alive { connected: Connected, snapshot: Box<Snapshot> },
    Dead { journal: Vec<Event>, killed: bool },
}

impl Observed {
    fn alive(connected: Connected) -> Observed {
        Observed { events: Vec::new(), connected: Some(connected), killed: false }
    }

    fn dead(events: Vec<Event>, killed: bool) -> Observed {
        Observed { events, connected: None, killed }
    }
}

/// What is to be done about one container.
#[derive(Debug, Clone, PartialEq)]
enum Verdict {
    /// As recorded.
    Keep,
    /// Its run goes on, or its end is in what was found.
    Follow { incarnation: String },
    /// It ran and nothing is left of it.
    Lost { code: i32 },
    /// Its start was interrupted before there was a process.
    Undo,
    /// Its end is recorded: only the shim is left over.
    CleanUp,
}

/// The table above. `runtime_root` names the one in which it was looked.
fn judge(record: &Record, found: &Found, runtime_root: &str) -> Verdict {
    let state = &record.state;
    let recorded = state.run().map(|run| run.incarnation.clone());
    match (state, found) {
        (State::Exited(_) | State::Removing { .. } | State::Dead { .. }, Found::Nothing) => Verdict::Keep,
        // Perhaps it ran, and the place where that would be seen is gone. Docker, too, removes such containers when
        // its daemon starts, those that were never started among them.
        (State::Created { .. }, Found::Nothing)
            if record.host.auto_remove && record.runtime_root != runtime_root =>
        {
            Verdict::Lost { code: 255 }
        }
        (State::Created { .. }, Found::Nothing) => Verdict::Keep,
        (State::Running(_) | State::Restarting { .. }, Found::Nothing) => Verdict::Lost { code: 255 },
        (State::Removing { .. } | State::Dead { .. }, _) => Verdict::CleanUp,
        // The end of a run is stored before its shim is let go: a shim behind a recorded end is a left-over.
        (State::Exited(ended), Found::Alive { snapshot, .. })
            if over(snapshot).is_some_and(|exit| ended.is(exit)) =>
        {
            Verdict::CleanUp
        }
        (_, Found::Alive { snapshot, .. }) => Verdict::Follow { incarnation: snapshot.incarnation.clone() },
        (State::Exited(ended), Found::Dead { journal, .. })
            if last_exit(journal).is_none_or(|exit| ended.is(exit)) =>
        {
            Verdict::CleanUp
        }
        (_, Found::Dead { journal, .. }) => match journal.first() {
            Some(event) => {
                Verdict::Follow { incarnation: recorded.unwrap_or_else(|| event.incarnation.clone()) }
            }
            None => Verdict::Undo,
        },
    }
}

fn over(snapshot: &Snapshot) -> Option<&Exit> {
    match &snapshot.phase {
        Phase::Exited { exit } => Some(exit),
        Phase::Running { .. } | Phase::Restarting { .. } => None,
    }
}

fn last_exit(journal: &[Event]) -> Option<&Exit> {
    journal.iter().rev().find_map(|event| match &event.what {
        Happening::Exited { exit, .. } => Some(exit),
        _ => None,
    })
}

/// Looks for a container's shim again, after its stream has ended. Blocking.
pub(super) fn observe(engine: &Engine, id: &ContainerId, after: u64) -> Observed {
    match look(engine, &engine.paths().runtime(id.as_str()), after) {
        Found::Alive { connected, .. } => Observed::alive(connected),
        Found::Dead { journal, killed } => Observed::dead(journal, killed),
        Found::Nothing => Observed::dead(Vec::new(), true),
    }
}

/// Connects to a shim, or kills and cleans what a dead one left and reads its journal.
fn look(engine: &Engine, runtime: &Path, after: u64) -> Found {
    if !runtime.exists() {
        return Found::Nothing;
    }
    match connect(engine, runtime, after) {
        Ok((connected, snapshot)) => Found::Alive { connected, snapshot },
        Err(error) => {
            tracing::info!(runtime = %runtime.display(), %error, "no shim answers; cleaning up after it");
            let killed = clean_up(engine, runtime);
            Found::Dead { journal: shim::journal::read(runtime).unwrap_or_default(), killed }
        }
    }
}

/// Ends what a dead shim left. Writes the exit into the journal if the shim did not live to do it: true then.
fn clean_up(engine: &Engine, runtime: &Path) -> bool {
    let mut attempts = ATTEMPTS;
    loop {
        match engine.effects().clean_up_shim(runtime) {
            Ok(cleaned) => return !cleaned.recorded,
            // A process closes its sockets some time before it is gone.
            Err(error) if error.kind() == ErrorKind::ResourceBusy && attempts > 0 => {
                attempts -= 1;
                linux::ambient::pause(PAUSE);
            }
            // There was no container yet.
            Err(error) if error.kind() == ErrorKind::NotFound => return true,
            Err(error) => {
                tracing::error!(runtime = %runtime.display(), %error, "cannot clean up after a shim");
                return true;
            }
        }
    }
}

fn connect(engine: &Engine, runtime: &Path, after: u64) -> Result<(Connected, Box<Snapshot>)> {
    let shim = engine
        .effects()
        .connect_shim(runtime)
        .map_err(|error| Error::failed("cannot connect to a shim", error))?;
    // What it speaks is not known yet.
    let live = Live { shim, pid: 0, version: 0 };
    let (Answer::State(snapshot), _) = live.request(&Request::State, &[])? else {
        return Err(Error::system("the shim did not answer with its state"));
    };
    let pid = match snapshot.phase {
        Phase::Running { pid, .. } => pid,
        Phase::Restarting { .. } | Phase::Exited { .. } => 0,
    };
    let events = launch::subscribe(&live, after)?;
    Ok((Connected { live: Live { pid, version: snapshot.version, ..live }, events }, Box::new(snapshot)))
}

impl Engine {
    /// Makes every recorded container true again, and removes what belongs to none.
    pub(crate) async fn restore_containers(&self) -> Result<()> {
        let records = self
            .blocking(|engine| {
                engine.records().migrate::<Record>()?;
                Ok(engine.records().read(|reader| reader.list::<Record>())?)
            })
            .await?;
        let known: HashSet<String> = records.iter().map(|(id, _)| id.clone()).collect();
        let handles = self.restore_all(records.into_iter().map(|(_, record)| record)).await?;
        self.blocking(move |engine| {
            let running: Vec<_> = engine
                .shared()
                .containers
                .records()
                .into_iter()
                .filter(|record| record.state.is_running())
                .collect();
            engine.shared().networks.restore(&running)?;
            sweep_orphans(engine, &known);
            Ok(())
        })
        .await?;
        let engine = self.clone();
        // Starting may take long, and clients may ask meanwhile.
        tokio::spawn(async move { engine.start_by_policy(handles).await });
        Ok(())
    }

    /// Several at a time: most of each is waiting for a shim, and one that is dying may take its time.
    async fn restore_all(&self, mut records: impl Iterator<Item = Record>) -> Result<Vec<Handle>> {
        let mut restoring = JoinSet::new();
        let mut handles = Vec::new();
        loop {
            while restoring.len() < AT_ONCE
                && let Some(record) = records.next()
            {
                let engine = self.clone();
                restoring.spawn(async move { engine.restore_container(record).await });
            }
            match restoring.join_next().await {
                Some(Ok(handle)) => handles.push(handle?),
                Some(Err(error)) => return Err(Error::failed("the engine failed inside", error)),
                None => break,
            }
        }
        handles.sort_by(|one, other| one.id.cmp(&other.id));
        Ok(handles)
    }

    async fn restore_container(&self, mut record: Record) -> Result<Handle> {
        let id = record.id.clone();
        let after = record.state.run().map_or(0, |run| run.sequence);
        let found = self
            .blocking(move |engine| Ok(look(engine, &engine.paths().runtime(id.as_str()), after)))
            .await?;
        let verdict = judge(&record, &found, &self.shared().runtime_root);
        let (observed, snapshot) = match found {
            Found::Alive { connected, snapshot } => (Observed::alive(connected), Some(snapshot)),
            Found::Dead { journal, killed } => (Observed::dead(journal, killed), None),
            Found::Nothing => (Observed::dead(Vec::new(), true), None),
        };
        match verdict {
            Verdict::Keep => Ok(Owner::spawn(self, record, None)),
            Verdict::Follow { incarnation } => {
                begin(&mut record, incarnation);
                let has_ended = snapshot.as_deref().is_none_or(|snapshot| over(snapshot).is_some());
                if let Some(snapshot) = snapshot {
                    happened::found(&mut record, &snapshot);
                }
                self.shared().networks.recall(&mut record);
                let handle = Owner::spawn_resumed(self, record, observed);
                if has_ended {
                    // Nobody is to see it running any more: its end may have been acknowledged by the engine before. A
                    // shim that does not tell it although it knows it is not waited for.
                    let taken_in = handle.until(|record| !record.state.is_running());
                    let _ = tokio::time::timeout(PAUSE * ATTEMPTS, taken_in).await;
                }
                Ok(handle)
            }
            Verdict::Lost { code } => {
                let never = || Run::starting(String::new(), false, &record.state);
                let run = record.state.run().cloned().unwrap_or_else(never);
                record.state = State::Exited(launch::lost(&run, code));
                self.close_run(record, None).await
            }
            Verdict::Undo => {
                undo(&mut record);
                self.close_run(record, None).await
            }
            Verdict::CleanUp => self.close_run(record, observed.connected).await,
        }
    }

    /// Stores a record whose run is over and lets go of whatever is left of it.
    async fn close_run(&self, mut record: Record, connected: Option<Connected>) -> Result<Handle> {
        let record = self
            .blocking(move |engine| {
                launch::leave(engine, &mut record);
                super::owner::store(engine, &record)?;
                if connected.is_none() {
                    cgroups::remove(engine, &record);
                }
                remove::release(
                    engine,
                    record.id.as_str(),
                    connected.as_ref().map(|connected| &connected.live),
                    false,
                );
                Ok(record)
            })
            .await?;
        Ok(Owner::spawn(self, record, None))
    }

    /// A change of networks in which an earlier engine was killed.
    async fn settle_network(&self, handle: &Handle) {
        let engine = self.clone();
        let settled = handle.edit(move |record, live| match live {
            Some(live) => engine.shared().networks.settle_again(record, live),
            None => Ok(()),
        });
        if let Err(error) = settled.await {
            tracing::warn!(container = %handle.id, %error, "cannot finish a change of networks");
        }
    }

    /// Restart policies after a restart of the engine, and `--rm` for what ended while it was away.
    async fn start_by_policy(&self, handles: Vec<Handle>) {
        let unsettled = self.shared().networks.unsettled();
        for handle in handles {
            // What was found of its shim has been taken in.
            handle.settled().await;
            if unsettled.iter().any(|id| id == handle.id.as_str()) {
                self.settle_network(&handle).await;
            }
            let record = handle.record();
            let done = match &record.state {
                State::Exited(_) if record.host.auto_remove => {
                    let wanted = record.name.clone();
                    handle.ask(|reply| Command::Remove { wanted, force: false, volumes: true, reply }).await
                }
                State::Exited(_) | State::Created { .. } if life::starts_at_open(&record) => {
                    handle.ask(|reply| Command::Start { reply }).await
                }
                _ => Ok(()),
            };
            if let Err(error) = done {
                tracing::warn!(container = %handle.id, %error, "cannot apply a container's policy");
            }
        }
    }
}

impl Owner {
    /// Like [`Owner::spawn`] for a run that was found: what happened meanwhile is taken in before anything else.
    fn spawn_resumed(engine: &Engine, record: Record, observed: Observed) -> Handle {
        Owner::spawn_with(engine, record, None, Some(observed))
    }
}

/// Makes the record run, if it does not know of this run yet.
fn begin(record: &mut Record, incarnation: String) {
    if record.state.run().is_some_and(|run| run.incarnation == incarnation) {
        return;
    }
    let health = super::health::is_checked(&record.config);
    record.started_before = true;
    record.state = State::Running(Run::starting(incarnation, health, &record.state));
}

/// A start that was cut short leaves the container as it was before.
fn undo(record: &mut Record) {
    let State::Running(run) = &record.state else { return };
    record.state = match &run.before {
        Some(ended) => State::Exited(ended.clone()),
        None => State::Created {
            failure: Some(Failure { code: 128, message: "the engine was stopped during the start".into() }),
        },
    };
}

/// Removes directories, shims and root file systems that no record speaks of.
fn sweep_orphans(engine: &Engine, known: &HashSet<String>) {
    for parent in [engine.paths().runtimes(), engine.paths().containers()] {
        let Ok(entries) = std::fs::read_dir(&parent) else { continue };
        for entry in entries.flatten() {
            let Ok(id) = entry.file_name().into_string() else { continue };
            if known.contains(&id) || id.parse::<ContainerId>().is_err() {
                continue;
            }
            discard(engine, &id);
        }
    }
    for volume in engine.shared().volumes.unconfirmed() {
        // One that another container has come to use stays.
        if let Err(error) = engine.volume_discard(&volume) {
            tracing::warn!(volume, %error, "cannot remove a volume that was made for no container");
        }
    }
    if let Err(error) = cgroups::sweep(engine) {
        tracing::warn!(%error, "cannot remove cgroups that no shim has");
    }
    if let Err(error) = super::rootfs::sweep(engine, known) {
        tracing::warn!(%error, "cannot remove root file systems that nobody has");
    }
}

/// Kills what may still run under an id that nobody remembers, then removes its files.
fn discard(engine: &Engine, id: &str) {
    let runtime = engine.paths().runtime(id);
    if runtime.exists() {
        if let Ok((connected, snapshot)) = connect(engine, &runtime, 0) {
            dismiss(engine, &connected.live, snapshot.shim_pid);
        }
        clean_up(engine, &runtime);
    }
    tracing::info!(container = id, "removing what belongs to no container");
    leftovers::sweep(engine, id);
}

/// Ends a container and its shim, which goes only when the end is final.
pub(super) fn dismiss(engine: &Engine, live: &Live, shim: i32) {
    let kill = Request::Signal { signal: linux::signal::SIGKILL, final_stop: true };
    for _ in 0..ATTEMPTS {
        // It may have ended by itself, or be between two restarts: what counts is whether it lets itself be released.
        let _ = live.request(&kill, &[]);
        if live.request(&Request::Release { removed: true, waiters: false }, &[]).is_ok() {
            return;
        }
        linux::ambient::pause(PAUSE);
    }
    if let Err(error) = engine.effects().kill_shim(shim) {
        tracing::warn!(shim, %error, "cannot end a shim whose container nobody remembers");
    }
}

#[cfg(test)]
mod tests {
    use shim::protocol::Happening;

    use super::*;
    use crate::clock;
    use crate::container::record::tests::record;

    fn running() -> Record {
        with(State::Running(Run::starting("first".into(), false, &State::Created { failure: None })))
    }

    fn exited() -> Record {
        with(State::Exited(
            Run::starting("first".into(), false, &State::Created { failure: None })
                .lost(1, "2026-01-01T00:00:05Z".into()),
        ))
    }

    fn created() -> Record {
        with(State::Created { failure: None })
    }

    fn with(state: State) -> Record {
        Record { state, ..record("web") }
    }

    fn event(sequence: u64, incarnation: &str, what: Happening) -> Event {
        Event { incarnation: incarnation.into(), sequence, time: clock::now(), what }
    }

    fn exit(finished_at: &str) -> Happening {
        let exit = Exit {
            code: 1,
            oom_killed: false,
            started_at: clock::NEVER.into(),
            finished_at: finished_at.into(),
            error: None,
        };
        Happening::Exited { exit, restarts: false, delay_ms: 0, restart_count: None }
    }

    fn journal(rest: Vec<Event>) -> Found {
        let started = event(1, "first", Happening::Started { pid: 7, restart_count: 0 });
        Found::Dead { journal: std::iter::once(started).chain(rest).collect(), killed: false }
    }

    #[test]
    fn a_rebooted_host_leaves_no_trace_of_what_ran() {
        assert_eq!(judge(&running(), &Found::Nothing, "here"), Verdict::Lost { code: 255 });
        assert_eq!(judge(&exited(), &Found::Nothing, "here"), Verdict::Keep);
    }

    #[test]
    fn what_is_to_be_thrown_away_does_not_come_back_after_a_reboot() {
        let mut record = created();
        assert_eq!(judge(&record, &Found::Nothing, "after"), Verdict::Keep);
        record.host.auto_remove = true;
        // In the same boot its runtime directory would tell of a run.
        assert_eq!(judge(&record, &Found::Nothing, "here"), Verdict::Keep);
        assert_eq!(judge(&record, &Found::Nothing, "after"), Verdict::Lost { code: 255 });
    }

    #[test]
    fn a_dead_shims_journal_is_followed() {
        let follow = Verdict::Follow { incarnation: "first".into() };
        assert_eq!(judge(&running(), &journal(Vec::new()), "here"), follow);
        assert_eq!(judge(&created(), &journal(Vec::new()), "here"), follow);
    }

    #[test]
    fn an_end_is_taken_in_once_and_another_one_too() {
        let told = journal(vec![event(2, "first", exit("2026-01-01T00:00:05Z"))]);
        assert_eq!(judge(&exited(), &told, "here"), Verdict::CleanUp);
        let another = journal(vec![event(2, "first", exit("2026-01-01T00:00:09Z"))]);
        assert_eq!(judge(&exited(), &another, "here"), Verdict::Follow { incarnation: "first".into() });
    }

    #[test]
    fn a_start_without_a_process_is_undone() {
        let empty = Found::Dead { journal: Vec::new(), killed: true };
        assert_eq!(judge(&created(), &empty, "here"), Verdict::Undo);
        let mut record = running();
        assert_eq!(judge(&record, &empty, "here"), Verdict::Undo);
        undo(&mut record);
        assert!(matches!(record.state, State::Created { failure: Some(_) }));
    }
}
