//! From the launch message to a running container.
//!
//! ```text
//!   fd 3: Launch ─▶ log, journal, holdings ─▶ clients and waiters ─▶ create ─▶ start ─▶ Launched, then the loop
//!                                                                                └▶ Failed, and the end
//! ```
//!
//! Clients are taken in before the process starts: not a byte of its output passes them by. `shim.sock` listens
//! before the engine hears of the container, so that it can ask at once.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::ExitCode;

use linux::poll::{Interest, Poll};

use super::collector::Collector;
use super::exec::{Input, connect, duplicate};
use super::holdings::Holdings;
use super::maker::{self, Made, Wanted};
use super::process::{Process, Role};
use super::reactor::{self, Alarms, Id, Source};
use super::{CHUNK, Supervisor, stdio};
use crate::frame::{self, Assembler};
use crate::handle::{LAUNCH_FD, with_short_path};
use crate::health::Monitor;
use crate::journal::Journal;
use crate::life::Life;
use crate::log::{Remote, Writer};
use crate::paths;
use crate::protocol::{CgroupDriver, Exit, Failure, FailureKind, Launch, LogDriver, Reply, Stdin, VERSION};

/// The id of the container's process in its first run.
const FIRST: Id = 1;

/// The shim's whole life. A failure is told to the engine, which is the only one who can do something about it.
pub fn run() -> ExitCode {
    let Ok(control) = linux::fd::take_inherited(LAUNCH_FD).map(UnixStream::from) else {
        eprintln!("wharf-shim is started by wharfd, which tells it on descriptor {LAUNCH_FD} what to run");
        return ExitCode::from(2);
    };
    match begin(&control) {
        Ok((mut supervisor, reply)) => {
            if frame::send(&control, &reply, &[]).is_ok() {
                supervisor.adopt_connection(control);
            }
            supervisor.work();
            ExitCode::SUCCESS
        }
        Err(failure) => {
            // An engine that is gone has nobody to tell.
            let _ = frame::send(&control, &Reply::Failed(failure), &[]);
            ExitCode::FAILURE
        }
    }
}

fn begin(control: &UnixStream) -> Result<(Supervisor, Reply), Failure> {
    let frame = Assembler::default().wait(control).map_err(|error| super::other(&error))?;
    let launch: Launch = serde_json::from_slice(&frame.payload).map_err(|error| super::other(&error))?;
    if launch.version > VERSION {
        let message = format!("the launch speaks protocol {}, this shim only {VERSION}", launch.version);
        return Err(super::failure(FailureKind::Invalid, message));
    }
    prepare(&launch).map_err(|error| super::other(&error))?;
    let (mut supervisor, clients) = Supervisor::new(launch, frame.descriptors)?;
    match supervisor.start(FIRST) {
        Ok((pid, started_at)) => {
            supervisor.take_in(clients);
            Ok((supervisor, Reply::Launched { pid, started_at }))
        }
        Err(failure) => {
            supervisor.give_up();
            Err(failure)
        }
    }
}

/// What a process needs that outlives whoever started it. Signals that a terminal, a logout or a shutdown sends
/// to everybody do not concern a shim: the container gets its own, and the shim ends after it.
fn prepare(launch: &Launch) -> io::Result<()> {
    use linux::signal::{SIGHUP, SIGINT, SIGPIPE, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
    for signal in [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGPIPE, SIGUSR1, SIGUSR2] {
        linux::signal::ignore(signal)?;
    }
    std::env::set_current_dir(&launch.runtime_dir)
}

impl Supervisor {
    /// Everything but the container itself; and the sockets of those who wait for it.
    fn new(launch: Launch, mut descriptors: Vec<OwnedFd>) -> Result<(Supervisor, Vec<OwnedFd>), Failure> {
        let system = |error: linux::Error| super::other(&error);
        let file = |error: io::Error| super::other(&error);
        let poll = Poll::new().map_err(system)?;
        let holdings = Holdings::take(&poll, &launch, &mut descriptors).map_err(system)?;
        if descriptors.len() != launch.attachments.len() + launch.waiters.len() {
            return Err(super::failure(
                FailureKind::Invalid,
                "the launch's descriptors are not those it lists",
            ));
        }
        let journal = Journal::create(&launch.runtime_dir, &launch.incarnation).map_err(file)?;
        let log = match launch.log.driver {
            LogDriver::JsonFile | LogDriver::Local => Some(Writer::open(&launch.log).map_err(file)?),
            LogDriver::None => None,
        };
        let collector = match &launch.log.remote {
            Some(remote) => {
                let refused = |message| super::failure(FailureKind::Logging, message);
                Some(Collector::new(Remote::open(remote).map_err(refused)?))
            }
            None => None,
        };
        let listener = listen(&launch).map_err(file)?;
        reactor::watch(&poll, &listener, Source::Listener, Interest::READ).map_err(system)?;
        let supervisor = Supervisor {
            poll,
            alarms: Alarms::default(),
            last_id: FIRST,
            // What is true until the first start has succeeded.
            life: Life::new(launch.restart, launch.restart_count, never_ran()),
            released: false,
            container: None,
            memory: None,
            holdings,
            processes: BTreeMap::new(),
            clients: BTreeMap::new(),
            viewers: BTreeMap::new(),
            waiters: BTreeMap::new(),
            connections: BTreeMap::new(),
            listener: Some(listener),
            journal,
            log,
            collector,
            losing: false,
            monitor: launch.health.clone().map(Monitor::new),
            probe: None,
            asking: None,
            probes: 0,
            results: Vec::new(),
            chunk: vec![0; CHUNK].into_boxed_slice(),
            launch,
        };
        Ok((supervisor, descriptors))
    }

    /// Nobody has read anything yet, so those who came before the start miss nothing. One whose socket is of no
    /// use is dropped: it is gone.
    fn take_in(&mut self, sockets: Vec<OwnedFd>) {
        let mut sockets = sockets.into_iter();
        for (attachment, socket) in std::mem::take(&mut self.launch.attachments).into_iter().zip(&mut sockets)
        {
            let _ = self.attach(FIRST, socket, attachment);
        }
        for (waiter, socket) in std::mem::take(&mut self.launch.waiters).into_iter().zip(&mut sockets) {
            let _ = self.wait_for_exit(socket, waiter);
        }
    }

    /// Makes the container and lets its process go.
    pub(super) fn create_container(&mut self, main: Id) -> Result<Process, Failure> {
        let Some(process) = &self.launch.spec.process else {
            return Err(super::failure(FailureKind::Invalid, "the configuration has no process"));
        };
        let input = match self.launch.stdin {
            Stdin::Closed => Input::Null,
            Stdin::Open | Stdin::Once => Input::Pipe,
        };
        let terminal = process.terminal;
        let root = stdio::root_of(&self.launch.spec);
        let (theirs, ours) =
            stdio::make(terminal, process.console_size, input, root).map_err(|error| super::other(&error))?;
        let rootfs = self.holdings.root(&self.launch.rootfs).map_err(|error| super::other(&error))?;
        let wanted = Wanted {
            id: &self.launch.container,
            spec: &self.launch.spec,
            directory: &self.launch.runtime_dir,
            rootfs,
            stdio: theirs,
            network: self.holdings.namespace(),
            user: self.holdings.user_namespace(),
            cgroup_driver: match self.launch.cgroup_driver {
                CgroupDriver::Cgroupfs => runtime::CgroupDriver::Cgroupfs,
                CgroupDriver::Systemd => runtime::CgroupDriver::Systemd,
            },
        };
        // From there on there is something to clean up, should this process be killed.
        let created = |record| self.save_state_of(Some(record));
        let Made { container, terminal: master } =
            maker::make(self.launch.runtime.as_ref(), wanted, &created)?;
        let mut started = Self::adopt(Role::Main, container.pid(), duplicate(container.pidfd())?, terminal);
        self.container = Some(container);
        connect(&mut started, main, ours, master, input)?;
        started.once = self.launch.stdin == Stdin::Once;
        Ok(started)
    }

    /// A launch that failed leaves nothing behind.
    fn give_up(&mut self) {
        self.tear_down();
        self.holdings.release_network(&self.poll);
        self.holdings.release_root();
        self.leave();
    }

    /// The engine has recorded everything: what lies in the runtime directory has done its duty. The names are
    /// given up at once, even if some client keeps this process a while longer: a successor may take them.
    pub(super) fn leave(&mut self) {
        if let Some(listener) = self.listener.take() {
            let _ = self.poll.remove(&listener);
        }
        if let Some(log) = &mut self.log {
            log.finish_compression();
        }
        self.let_collector_finish();
        self.journal.retire();
        for path in [paths::socket, paths::journal, paths::state] {
            // The engine removes the whole directory with the container.
            let _ = std::fs::remove_file(path(&self.launch.runtime_dir));
        }
    }
}

/// Replaces what a dead shim may have left. The directory is closed to others already.
fn listen(launch: &Launch) -> io::Result<UnixListener> {
    let path = paths::socket(&launch.runtime_dir);
    let _ = std::fs::remove_file(&path);
    let listener = with_short_path(&path, |short| UnixListener::bind(short))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn never_ran() -> Exit {
    let never = "0001-01-01T00:00:00Z".to_owned();
    Exit { code: 128, oom_killed: false, started_at: never.clone(), finished_at: never, error: None }
}
