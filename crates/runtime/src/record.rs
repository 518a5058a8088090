//! What a process that did not make a container needs to find it: written beside it as JSON.
//!
//! A process is named by its id and its start time: an id alone may be somebody else's by now.

use std::path::PathBuf;

use linux::cgroup::Cgroup;
use linux::process::{self, Pid};
use linux::{procfs, signal};
use oci::runtime::Spec;
use serde::{Deserialize, Serialize};

use crate::container::{self, Container};
use crate::rdt::Group;
use crate::{CgroupDriver, Result, error::Step, place};

/// Records of a later kind are refused rather than guessed at.
const VERSION: u32 = 1;

/// What must be known to find a container again: the content of its file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub version: u32,
    pub id: String,
    pub bundle: PathBuf,
    pub pid: Pid,
    /// Clock ticks since boot.
    pub start_time: u64,
    /// Controllers (empty for v2) and directory, per tree.
    pub cgroup: Vec<(String, PathBuf)>,
    /// The unit that holds the cgroup, where systemd does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Its place in the tree of resource classes, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) group: Option<Group>,
    /// By CRIU, which changes its namespaces.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) restored: bool,
}

impl Record {
    pub(crate) fn new(container: &Container) -> Record {
        Record {
            version: VERSION,
            id: container.id.clone(),
            bundle: container.bundle.clone(),
            pid: container.pid,
            start_time: container.start_time,
            cgroup: container.cgroup.paths(),
            unit: container.unit.clone(),
            group: container.group.clone(),
            restored: container.restored,
        }
    }

    /// Of a container that another runtime is about to make: whoever makes it, it is where its specification says. The
    /// first process follows with [`Record::found`].
    pub fn of_foreign(id: &str, bundle: PathBuf, spec: &Spec, driver: CgroupDriver) -> Result<Record> {
        let (cgroup, unit) = place::planned(spec, id, driver)?;
        let (id, cgroup) = (id.to_owned(), cgroup.paths());
        Ok(Record {
            version: VERSION,
            id,
            bundle,
            pid: 0,
            start_time: 0,
            cgroup,
            unit,
            group: None,
            restored: false,
        })
    }

    /// Names the first process, which must not have been reaped.
    pub fn found(&mut self, pid: Pid) -> Result<()> {
        self.start_time = procfs::start_time(pid).step(|| "container process")?;
        self.pid = pid;
        Ok(())
    }

    /// Whether this build understands it.
    pub fn is_known(&self) -> bool {
        self.version <= VERSION
    }

    pub fn cgroup(&self) -> Cgroup {
        Cgroup::from_paths(self.cgroup.iter().map(|(names, path)| (names.as_str(), path.as_path())))
    }

    /// Whether the first process still runs. A zombie does not.
    pub fn is_alive(&self) -> bool {
        procfs::stat(self.pid)
            .is_ok_and(|stat| stat.start_time == self.start_time && !"ZX".contains(stat.state))
    }

    /// Kills all that is left of the container and removes its cgroup, without its configuration: for whoever
    /// finds that its keeper is gone.
    pub fn clean_up(&self) -> Result<()> {
        if self.is_alive() {
            let pidfd = process::open_pidfd(self.pid).step(|| "container process")?;
            // Between the look and the open the id may have gone to somebody else.
            if self.is_alive() {
                use std::os::fd::AsFd;
                process::send_signal(pidfd.as_fd(), signal::SIGKILL).step(|| "container process")?;
            }
        }
        container::remove_cgroup(&self.cgroup(), self.unit.as_deref(), self.group.as_ref())
    }
}
