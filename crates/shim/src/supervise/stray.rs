//! Children that nobody has ordered.
//!
//! While a foreign runtime's command runs, the kernel hands us what loses its parent: the process that was asked for, but
//! also the rest of an exec that failed, or an orphan of a container in the host's PID namespace. Each must be waited for:
//! the first process of a PID namespace cannot end before everybody else in there has been.

use super::Supervisor;
use super::process::Role;

impl Supervisor {
    /// Takes in those that a command has left since the last call.
    pub(super) fn adopt_strays(&mut self) {
        let children = self.container.as_ref().map(|container| container.strays()).unwrap_or_default();
        for pid in children {
            let is_the_logs =
                self.collector.as_ref().is_some_and(|collector| collector.remote.has_child(pid));
            if is_the_logs || self.processes.values().any(|known| known.pid == pid) {
                continue;
            }
            // One that has ended is over with this; one that runs is watched like any other.
            if let (Ok(None), Ok(pidfd)) = (linux::process::try_wait(pid), linux::process::open_pidfd(pid)) {
                let id = self.next_id();
                self.processes.insert(id, Self::adopt(Role::Stray, pid, pidfd, false));
                // Unwatched, it is a zombie until we end.
                let _ = self.watch_process(id);
            }
        }
    }
}
