//! A runtime of somebody else's: runc, crun, or any program that speaks runc's command line.
//!
//! ```text
//!   shim                                        runtime (a process per command)
//!     │ bundle/config.json, console.sock           │
//!     │ ── create --bundle --pid-file ────────────▶│ its mount namespace: ours, and the root on bundle/rootfs
//!     │ ◀───────────── pid, terminal ──────────────│ gone; the container's process is our child now
//!     │ ── start ─────────────────────────────────▶│
//!     │ ── exec --process --detach --pid-file ────▶│
//!     │ ── kill, pause, resume, update ───────────▶│
//!     │ ── delete --force ────────────────────────▶│
//! ```
//!
//! *Where things are.* The bundle and the runtime's own state lie in the shim's runtime directory and go with it. The
//! root is a detached mount, as under our own runtime; it is attached in a mount namespace that only the `create`
//! command and the container's own namespace know, so the host never sees it and nothing is left to be unmounted,
//! whoever is killed when. The network namespace is named by our descriptor of it.
//!
//! *Whose children they are.* A runtime leaves the processes that it has started, and the kernel gives them to the
//! nearest subreaper: us, but only while a command runs. Afterwards a process that a container loses goes where it
//! always went. What else we are given in that moment is waited for, too ([`Container::strays`]).
//!
//! *Limits.* The loop stands still while a command runs (tens of milliseconds, at most [`command::PATIENCE`]). A
//! container outlives a killed shim until the engine cleans up after it: only a runtime that is our library can ask the
//! kernel to tie the two together.

mod bundle;
mod command;
mod complaint;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use linux::cgroup::Cgroup;
use linux::process::Pid;
use linux::{namespace, procfs};
use oci::runtime::{NamespaceKind, Process, Resources};
use runtime::{Record, Rootfs, Stdio};

use super::super::other;
use super::{Beside, Container, Made, Wanted};
use crate::protocol::{Failure, Runtime};
use crate::stop::not_running;
use bundle::{Bundle, Console};
use command::{Call, Tool};

struct Foreign {
    tool: Tool,
    record: Record,
    cgroup: Cgroup,
    pidfd: OwnedFd,
    root: Option<OwnedFd>,
    /// Held so that the end of the first process is reported before its mounts are taken apart.
    _mounts: Option<OwnedFd>,
}

pub(super) fn make(runtime: &Runtime, wanted: Wanted<'_>, created: &dyn Fn(Record)) -> Result<Made, Failure> {
    let bundle = Bundle::create(wanted.directory)?;
    let mut record =
        Record::of_foreign(wanted.id, bundle.path().to_owned(), wanted.spec, wanted.cgroup_driver)
            .map_err(|error| other(&error))?;
    let tool = Tool::new(runtime, wanted.id, bundle, record.unit.is_some());
    match create(&tool, wanted, &mut record).and_then(|(pidfd, terminal)| {
        created(record.clone());
        tool.run(Call::new("start"))?;
        Ok((pidfd, terminal))
    }) {
        Ok((pidfd, terminal)) => {
            Ok(Made { container: Box::new(Foreign::new(tool, record, pidfd)), terminal })
        }
        Err(failure) => {
            undo(&tool, &record);
            // It is our child, and nobody else waits for it.
            if record.pid != 0 {
                let _ = linux::process::try_wait(record.pid);
            }
            Err(failure)
        }
    }
}

/// Brings the container's process to where it waits for `start`.
fn create(
    tool: &Tool,
    wanted: Wanted<'_>,
    record: &mut Record,
) -> Result<(OwnedFd, Option<OwnedFd>), Failure> {
    let (path, mount) = match &wanted.rootfs {
        Rootfs::Directory(path) => (wanted.directory.join(path), None),
        Rootfs::Mount(mount) => (tool.bundle.rootfs(), Some(mount.as_fd())),
    };
    let held = [(NamespaceKind::User, wanted.user), (NamespaceKind::Network, wanted.network)];
    tool.bundle.write_config(wanted.spec, &path, &held)?;
    let console = Console::for_stdio(&tool.bundle, &wanted.stdio)?;
    let bundle = tool.bundle.path();
    let call = Call::new("create")
        .option("--bundle", bundle)
        .pid_file(&tool.bundle)
        .stdio(&wanted.stdio, console.as_ref());
    tool.run(call.private_root(mount))?;
    let pid = tool.bundle.take_pid()?;
    let pidfd = linux::process::open_pidfd(pid).map_err(|error| other(&error))?;
    record.found(pid).map_err(|error| other(&error))?;
    Ok((pidfd, console.map(Console::take).transpose()?))
}

/// Nothing of a container is left: not with the runtime, not in the cgroup, not in the bundle.
fn undo(tool: &Tool, record: &Record) {
    // One that never came to be cannot be deleted, and a runtime that is gone cannot do it.
    let _ = tool.run(Call::new("delete").flag("--force"));
    let _met_again = record.clean_up();
    tool.bundle.remove();
}

impl Foreign {
    fn new(tool: Tool, record: Record, pidfd: OwnedFd) -> Foreign {
        Foreign {
            tool,
            cgroup: record.cgroup(),
            pidfd,
            // A process that has ended already has neither.
            root: procfs::root_of(record.pid).ok(),
            _mounts: namespace::open_of(record.pid, namespace::MOUNT).ok(),
            record,
        }
    }
}

impl Container for Foreign {
    fn pid(&self) -> Pid {
        self.record.pid
    }

    fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    fn cgroup(&self) -> &Cgroup {
        &self.cgroup
    }

    fn root(&self) -> Option<BorrowedFd<'_>> {
        self.root.as_ref().map(AsFd::as_fd)
    }

    fn record(&self) -> Record {
        self.record.clone()
    }

    fn exec(&self, process: &Process, stdio: Stdio) -> Result<Beside, Failure> {
        let file = self.tool.bundle.write_process(process)?;
        let console = Console::for_stdio(&self.tool.bundle, &stdio)?;
        let call = Call::new("exec").flag("--detach").option("--process", &file).pid_file(&self.tool.bundle);
        self.tool.run(call.stdio(&stdio, console.as_ref()))?;
        let pid = self.tool.bundle.take_pid()?;
        let pidfd = linux::process::open_pidfd(pid).map_err(|error| other(&error))?;
        let terminal = console.map(Console::take).transpose().inspect_err(|_| {
            // Nobody could talk to it.
            let _ = linux::process::send_signal(pidfd.as_fd(), linux::signal::SIGKILL);
        })?;
        Ok(Beside { pid, pidfd, terminal })
    }

    fn signal(&self, number: i32) -> Result<(), Failure> {
        let sent = self.tool.run(Call::new("kill").argument(number.to_string()));
        if sent.is_ok() {
            return Ok(());
        }
        if !self.record.is_alive() {
            return Err(not_running());
        }
        // A runtime that has been removed or broken must not keep a container alive.
        if number == linux::signal::SIGKILL {
            return linux::process::send_signal(self.pidfd(), number).map_err(|error| other(&error));
        }
        sent
    }

    fn kill_all(&self) {
        let _met_again = self.cgroup.kill();
    }

    fn pause(&self) -> Result<(), Failure> {
        self.tool.run(Call::new("pause"))
    }

    fn resume(&self) -> Result<(), Failure> {
        self.tool.run(Call::new("resume"))
    }

    fn update(&self, resources: &Resources) -> Result<(), Failure> {
        let file = self.tool.bundle.write_resources(resources)?;
        self.tool.run(Call::new("update").option("--resources", &file))
    }

    fn strays(&self) -> Vec<Pid> {
        match self.tool.has_run() {
            true => procfs::children().unwrap_or_default(),
            false => Vec::new(),
        }
    }

    fn delete(self: Box<Self>) {
        undo(&self.tool, &self.record);
    }
}
