//! `wharfd`: the engine as a process. Configuration, sockets, signals, and the wiring of engine and doors.
//!
//! ```text
//!   flags ─┐                                   ┌─▶ rest::Server (clients)
//!   file  ─┴▶ settings ─▶ pid file ─▶ sockets ─┤
//!                                  engine ─────┘      SIGHUP: settings again, engine.reload
//!                                                     SIGTERM: no new clients, engine.shutdown
//! ```
//!
//! It decides nothing and holds nothing that would be missed: containers belong to their shims, and go on when this
//! process ends, whether it was asked to or killed.

mod apparmor;
mod file;
mod flags;
mod host;
mod keeper;
mod listeners;
mod log;
mod notify;
mod pidfile;
mod reload;
mod remap;
mod runtimes;
mod settings;
mod tls;

use std::process::ExitCode;
use std::time::Duration;

use engine::Engine;
use rest::{Listener, Server};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::flags::Values;
use crate::listeners::{Bound, Listeners};
use crate::settings::{Settings, Tls, asks_for};

/// Threads that serve sockets. Requests wait for shims and the kernel, not for the processor, and what computes has threads
/// of its own: a second one would mostly be woken to find nothing left to do.
const WORKERS: usize = 1;
/// Blocking calls at once: a start holds one while its shim comes up, so this is how many containers start at once.
const BLOCKING: usize = 64;
/// Idle threads go soon, and what a burst of work has freed goes with them.
const IDLE: Duration = Duration::from_secs(5);
/// Heaps for all threads together: one has fewer holes than two, and threads keep small pieces at hand anyway.
const HEAPS: u8 = 1;
/// The third request to end is taken literally, as dockerd does.
const FORCED: usize = 3;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let flags = match flags::parse(words.iter().cloned()) {
        Ok(flags) => flags,
        Err(error) => {
            eprintln!("{error}\nSee 'wharfd --help'.");
            return ExitCode::FAILURE;
        }
    };
    if asks_for(&flags, "help") {
        print!("{}", flags::help());
        return ExitCode::SUCCESS;
    }
    if asks_for(&flags, "version") {
        println!("Wharf version {}, Docker API {}", env!("CARGO_PKG_VERSION"), api::version::NEWEST);
        return ExitCode::SUCCESS;
    }
    match run(&flags, &words) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(flags: &Values, words: &[String]) -> Result<ExitCode, String> {
    let mut settings = settings::load(flags)?;
    let tls = match &settings.tls {
        Tls::Off => None,
        Tls::On { files, verify } => Some(tls::configuration(files, *verify)?),
    };
    if asks_for(flags, "validate") {
        eprintln!("configuration OK");
        return Ok(ExitCode::SUCCESS);
    }
    if asks_for(flags, "keep-socket") {
        return keeper::run(&settings, words).map(ExitCode::from);
    }
    let level = log::start(&settings.log);
    linux::kernel::check()?;
    if let Some(wanted) = &settings.remap {
        settings.engine.remap = remap::resolve(wanted)?;
    }
    let _pid_file = pidfile::PidFile::create(&settings.pid_file)?;
    // Shims are our children but outlive us and each other: nobody waits for them.
    linux::signal::ignore(linux::signal::SIGCHLD).map_err(|error| error.to_string())?;
    linux::memory::limit_heaps(HEAPS);
    // Clients, shims and images hold descriptors; containers begin with the limit that we began with.
    if let Err(error) = linux::process::raise_open_files() {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
    // Before containers take them: starting a shim costs the same however many stand.
    if let Err(error) = linux::process::reserve_low_descriptors() {
        tracing::warn!(%error, "shims start with a copy of the table of descriptors");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(BLOCKING)
        .thread_keep_alive(IDLE)
        .thread_name("wharfd")
        .on_thread_stop(linux::memory::rest)
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start threads: {error}"))?;
    // Who can connect may also send signals, so those are listened to first.
    let signals = Signals::listen(&runtime)?;
    let listeners = Listeners::open(&settings.hosts, settings.group.as_deref())?;
    settings.engine.network.listeners = listeners.addresses();
    if tls.is_none() && !settings.engine.network.listeners.is_empty() {
        tracing::warn!(
            "a tcp listener without --tlsverify gives root on this host to everybody who reaches it"
        );
        if !settings.engine.network.firewall {
            tracing::warn!("containers are among them: --iptables=false leaves the listener open to them");
        }
    }
    runtime.block_on(serve(flags, settings, listeners, tls, level, signals))?;
    // Blocking calls that are still under way are not waited for: they are repeated or repaired by the next start.
    runtime.shutdown_background();
    Ok(ExitCode::SUCCESS)
}

async fn serve(
    flags: &Values,
    settings: Settings,
    mut listeners: Listeners,
    tls: Option<std::sync::Arc<rustls::ServerConfig>>,
    level: log::Level,
    signals: Signals,
) -> Result<(), String> {
    let engine = notify::while_starting(Engine::open(settings.engine.clone()))
        .await
        .map_err(|error| format!("failed to start daemon: {error}"))?;
    if let Some(path) = &settings.docker_socket {
        listeners.link(path)?;
    }
    let bound = std::mem::take(&mut listeners.bound).into_iter().map(|bound| match (bound, &tls) {
        (Bound::Unix(listener), _) => Listener::Unix(listener),
        (Bound::Tcp(listener), None) => Listener::Tcp(listener),
        (Bound::Tcp(listener), Some(tls)) => Listener::Tls(listener, tls.clone()),
    });
    let (stop, stopped) = watch::channel(false);
    let server = tokio::spawn(Server::new(engine.clone()).serve(bound.collect(), stopped));
    for host in &settings.hosts {
        tracing::info!(?host, "API listen");
    }
    notify::ready();
    let reload = reload::Reload::new(flags, &settings, &engine, &level);
    signals.obey(&reload, stop).await;
    notify::stopping();
    tracing::info!("the engine ends; containers go on");
    match server.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(%error, "the server failed"),
        Err(error) => tracing::error!(%error, "the server failed"),
    }
    engine.shutdown().await;
    listeners.remove();
    Ok(())
}

/// What others want of this process.
struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen(runtime: &Runtime) -> Result<Signals, String> {
        let _entered = runtime.enter();
        let listen = |kind| signal(kind).map_err(|error| format!("cannot listen for signals: {error}"));
        Ok(Signals {
            hangup: listen(SignalKind::hangup())?,
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    /// Reloads as often as asked; returns when the engine is to end.
    async fn obey(mut self, reload: &reload::Reload<'_>, stop: watch::Sender<bool>) {
        loop {
            tokio::select! {
                _ = self.hangup.recv() => reload.run(),
                _ = self.terminate.recv() => break,
                _ = self.interrupt.recv() => break,
            }
        }
        stop.send_replace(true);
        tokio::spawn(async move {
            for _ in 1..FORCED {
                self.end().await;
            }
            tracing::warn!("asked to end {FORCED} times: forced");
            std::process::exit(1);
        });
    }

    /// Asked to end.
    async fn end(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
