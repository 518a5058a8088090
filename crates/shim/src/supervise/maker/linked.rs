//! Our own runtime, which is a library: no program is started but the container's.

use std::os::fd::{BorrowedFd, OwnedFd};

use linux::Errno;
use linux::cgroup::Cgroup;
use linux::process::Pid;
use oci::runtime::{Process, Resources};
use runtime::{Container as Own, Record, Stdio};

use super::super::{failure, other};
use super::{Beside, Container, Made, Wanted};
use crate::protocol::{Failure, FailureKind};
use crate::stop::not_running;

pub(super) fn make(wanted: Wanted<'_>, created: &dyn Fn(Record)) -> Result<Made, Failure> {
    let Wanted { id, spec, directory, rootfs, stdio, network, user, cgroup_driver } = wanted;
    let mut launch = runtime::Launch::new(id, spec, directory, rootfs, stdio);
    launch.netns = network;
    launch.userns = user;
    launch.die_with_parent = true;
    launch.cgroup_driver = cgroup_driver;
    let mut made = runtime::create(launch).map_err(|error| told(&error))?;
    created(made.container().record());
    let terminal: Option<OwnedFd> = made.take_terminal();
    let container = made.start().map_err(|error| told(&error))?;
    Ok(Made { container: Box::new(container), terminal })
}

impl Container for Own {
    fn pid(&self) -> Pid {
        Own::pid(self)
    }

    fn pidfd(&self) -> BorrowedFd<'_> {
        Own::pidfd(self)
    }

    fn cgroup(&self) -> &Cgroup {
        Own::cgroup(self)
    }

    fn root(&self) -> Option<BorrowedFd<'_>> {
        Own::root(self)
    }

    fn record(&self) -> Record {
        Own::record(self)
    }

    fn exec(&self, process: &Process, stdio: Stdio) -> Result<Beside, Failure> {
        let mut exec = Own::exec(self, process, stdio).map_err(|error| told(&error))?;
        let (pid, terminal) = (exec.pid(), exec.take_terminal());
        Ok(Beside { pid, pidfd: exec.into_pidfd(), terminal })
    }

    fn signal(&self, number: i32) -> Result<(), Failure> {
        match linux::process::send_signal(Own::pidfd(self), number) {
            Ok(()) => Ok(()),
            Err(error) if error.is(Errno::SRCH) => Err(not_running()),
            Err(error) => Err(other(&error)),
        }
    }

    fn kill_all(&self) {
        let _met_again = Own::kill_all(self);
    }

    fn pause(&self) -> Result<(), Failure> {
        Own::pause(self).map_err(|error| told(&error))
    }

    fn resume(&self) -> Result<(), Failure> {
        Own::resume(self).map_err(|error| told(&error))
    }

    fn update(&self, resources: &Resources) -> Result<(), Failure> {
        Own::update(self, resources).map_err(|error| told(&error))
    }

    /// No process of ours is ever handed from one parent to another.
    fn strays(&self) -> Vec<Pid> {
        Vec::new()
    }

    fn delete(self: Box<Self>) {
        let _met_again = Own::delete(*self);
    }
}

fn told(error: &runtime::Error) -> Failure {
    let kind = match error.kind() {
        runtime::Kind::NotFound => FailureKind::NotFound,
        runtime::Kind::NotExecutable => FailureKind::NotExecutable,
        runtime::Kind::WrongType => FailureKind::WrongType,
        runtime::Kind::Invalid => FailureKind::Invalid,
        runtime::Kind::WrongState => FailureKind::Conflict,
        runtime::Kind::NoContainer | runtime::Kind::Other => FailureKind::Other,
    };
    // Whoever shows it says that much by itself, in the words of a start or of an exec.
    let message = error.to_string();
    let message = message.strip_prefix("unable to start container process: ").unwrap_or(&message);
    failure(kind, message)
}
