//! A process beside the container's first one.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use linux::cgroup::{Cgroup, Doors, Layout};
use linux::process::{self, Elsewhere, Pid};
use linux::spans::mark;
use linux::{namespace, signal};
use oci::runtime::{Process, Status};

use crate::channel::{Channel, Report};
use crate::container::Container;
use crate::inside::join::{self, Join};
use crate::launch::{self, Stdio};
use crate::program::Program;
use crate::{
    Error, Kind, Result, Trace, ahead,
    error::{Step, plain},
};

/// How a process is executed in a container.
#[derive(Debug)]
pub struct Execution<'a> {
    pub process: &'a Process,
    pub stdio: Stdio,
    /// Cgroups below the container's, which must exist.
    pub cgroups: Vec<SubCgroup>,
    /// It is killed when the calling thread dies.
    pub die_with_parent: bool,
    /// Passed to the program as descriptors from 3 up.
    pub preserved: Vec<OwnedFd>,
    /// The container stands still, and the process with it until somebody resumes it: so long it must not hold our
    /// memory.
    pub paused: bool,
    pub trace: Trace<'a>,
}

/// A cgroup below the container's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubCgroup {
    /// In the v1 trees of these controllers; in every tree where there are none.
    pub controllers: Vec<String>,
    pub path: PathBuf,
}

/// A process that runs in a container. It is the caller's child.
#[derive(Debug)]
pub struct Exec {
    pid: Pid,
    pidfd: OwnedFd,
    terminal: Option<OwnedFd>,
}

impl Exec {
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Readable when it has ended.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    pub fn terminal(&self) -> Option<BorrowedFd<'_>> {
        self.terminal.as_ref().map(AsFd::as_fd)
    }

    pub fn take_terminal(&mut self) -> Option<OwnedFd> {
        self.terminal.take()
    }

    pub fn into_pidfd(self) -> OwnedFd {
        self.pidfd
    }

    /// Kills and reaps it.
    pub fn abandon(self) {
        let _dead_already = process::send_signal(self.pidfd.as_fd(), signal::SIGKILL);
        let _reaped_elsewhere = process::wait(self.pid);
    }
}

impl Container {
    /// Executes a process beside the first one, killed when the caller dies.
    pub fn exec(&self, process: &Process, stdio: Stdio) -> Result<Exec> {
        let preserved = Vec::new();
        let (cgroups, trace) = (Vec::new(), Trace::default());
        let (die_with_parent, paused) = (true, false);
        self.execute(Execution { process, stdio, cgroups, die_with_parent, preserved, paused, trace })
    }

    pub fn execute(&self, execution: Execution<'_>) -> Result<Exec> {
        let mut program = Program::new(execution.process)?;
        program.terminal_given = matches!(execution.stdio, Stdio::Terminal { .. });
        program.sets_own_limits = !program.identity.is_root() && self.namespaces & namespace::USER == 0;
        let prefix = |error: Error| match error.kind() {
            Kind::Invalid | Kind::WrongState => error,
            _ => error.at("unable to start container process"),
        };
        self.execute_program(&program, execution).map_err(prefix)
    }

    fn execute_program(&self, program: &Program, execution: Execution<'_>) -> Result<Exec> {
        // Alive now, and the descriptor keeps meaning this process.
        self.signal(0).map_err(|_| Error::new(Kind::WrongState, "cannot exec in a stopped container"))?;
        let trace = execution.trace;
        trace.step(format_args!("=> nsexec container setup"));
        let below;
        let doors = match execution.cgroups.as_slice() {
            [] if self.hands_controllers_down() => {
                below = self.doors_of_first()?;
                &below
            }
            [] => self.doors().step(|| "unable to join cgroup")?,
            cgroups => {
                below = self.doors_below(cgroups)?;
                &below
            }
        };
        mark("cgroup's doors opened");
        let confinement = self.confinement.compiled()?;
        mark("filter compiled");
        let (ours, theirs) = Channel::pair()?;
        let waits = (!program.limits.is_empty() && !program.sets_own_limits)
            || self.confinement.seccomp_listener.is_some()
            || self.group.is_some();
        let join = Join {
            target: self.pidfd(),
            namespaces: self.namespaces,
            root: self.root().filter(|_| self.namespaces & namespace::MOUNT == 0),
            program,
            confinement: &confinement,
            streams: execution.stdio.wanted(),
            preserved: execution.preserved,
            doors,
            die_with_parent: execution.die_with_parent,
            waits,
        };
        let way = Elsewhere {
            cgroup: doors.birthplace(),
            own_memory: execution.paused || self.namespaces & namespace::TIME != 0,
            enter: join::enter,
            live: join::run,
        };
        let (pid, pidfd) = way.start((join, theirs)).step(|| "unable to clone")?;
        mark("process cloned");
        trace.step(format_args!("child process in init(): {pid}"));
        if let Some(cpus) = &program.first_cpus {
            let mask = cpus.iter().filter(|cpu| **cpu < 64).fold(0u64, |mask, cpu| mask | 1 << cpu);
            trace.step(format_args!("nsexec: affinity: {mask:#x}"));
        }
        if let Some(root) = self.root() {
            ahead::read_below(root, program);
        }
        match self.guide(program, &ours, pid, waits) {
            Ok(terminal) => {
                trace.step(format_args!("setns_init: about to exec"));
                Ok(Exec { pid, pidfd, terminal })
            }
            Err(error) => {
                Exec { pid, pidfd, terminal: None }.abandon();
                Err(error)
            }
        }
    }

    /// Into the container's own cgroup. They stay open: the next process goes the same way.
    fn doors(&self) -> linux::Result<&Doors> {
        match self.doors.get() {
            Some(doors) => Ok(doors),
            None => self.cgroup.doors().map(|doors| self.doors.get_or_init(|| doors)),
        }
    }

    /// Then v2 lets no process in: the container manages cgroups of its own below this one.
    fn hands_controllers_down(&self) -> bool {
        let enabled = || self.cgroup.get_unified("cgroup.subtree_control");
        self.cgroup.is_unified() && enabled().is_ok_and(|names| !names.trim().is_empty())
    }

    /// Into the cgroup below the container's to which its first process has moved.
    fn doors_of_first(&self) -> Result<Doors> {
        const STEP: &str = "unable to join cgroup";
        let layout = Layout::detect().step(|| STEP)?;
        let place = linux::cgroup::path_of(self.pid, None).step(|| STEP)?;
        let place = Cgroup::at(&layout, place.strip_prefix("/").unwrap_or(&place)).step(|| STEP)?;
        match (place.unified(), self.cgroup.unified()) {
            (Some(place), Some(own)) if place.starts_with(own) => {}
            _ => return self.cgroup.doors().step(|| STEP),
        }
        place.doors().step(|| STEP)
    }

    fn doors_below(&self, cgroups: &[SubCgroup]) -> Result<Doors> {
        let cgroup = self.cgroup_of(cgroups)?;
        cgroup.doors().map_err(|error| {
            let missing = cgroup.paths().into_iter().map(|(_, path)| path).find(|path| !path.exists());
            let what = match missing {
                Some(path) => format!("open {}", path.join("cgroup.procs").display()),
                None => error.to_string(),
            };
            Error::other(format_args!("error adding pid to cgroups: {what}: {}", plain(&error)))
        })
    }

    fn cgroup_of(&self, below: &[SubCgroup]) -> Result<Cgroup> {
        let mut cgroup = self.cgroup.clone();
        for SubCgroup { controllers, path } in below {
            let child = self.cgroup.child(path).map_err(|_| {
                let path = path.display();
                Error::invalid(format_args!("bad sub cgroup path: {path} is not a sub cgroup path"))
            })?;
            if controllers.is_empty() {
                cgroup = child;
                continue;
            }
            for controller in controllers {
                if self.cgroup.legacy(controller).is_none() {
                    let message = format_args!("unknown controller {controller} in SubCgroupPaths");
                    return Err(Error::invalid(message));
                }
                cgroup.take_place(controller, &child);
            }
        }
        Ok(cgroup)
    }

    fn guide(&self, program: &Program, channel: &Channel, pid: Pid, waits: bool) -> Result<Option<OwnedFd>> {
        let (mut terminal, mut is_ready) = (None, false);
        loop {
            match channel.report_of(pid)? {
                Report::Ready(descriptors) => {
                    is_ready = true;
                    if let Some(group) = &self.group {
                        group.add(pid)?;
                    }
                    let mut state = self.state(Status::Running);
                    state.pid = Some(pid);
                    let listener = self.confinement.seccomp_listener.as_ref();
                    terminal = launch::settle(program, listener, descriptors, pid, &state)?;
                    if waits {
                        channel.go()?;
                    }
                }
                Report::Failed(error) => return Err(error),
                Report::Closed if is_ready => return Ok(terminal),
                Report::Closed => {
                    return Err(Error::other("the process died before its program was executed"));
                }
                Report::Prepared
                | Report::Maps(..)
                | Report::Born(_)
                | Report::Separate
                | Report::Hooks(_) => {
                    return Err(Error::other("channel: unexpected message of a later process"));
                }
            }
        }
    }
}
