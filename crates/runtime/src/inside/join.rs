//! A later process of a container: it joins what is there and executes.
//!
//! ```text
//!   runtime ──▶ intermediate: descriptors closed, namespaces joined ──▶ the process, born inside
//! ```
//!
//! Those inside see the process from its birth. With `CAP_SYS_PTRACE` they can follow its `/proc/<pid>/root`, `cwd` and
//! `fd`; so it must be born with the container's root and with no descriptor that leads out. The intermediate process
//! is in the host's PID namespace, where they do not see it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use linux::cgroup::Doors;
use linux::path::Root;
use linux::spans::mark;
use linux::{credentials, fd, mount, namespace, process, signal};

use super::console;
use super::execute::{self, Streams};
use super::init::{self, Wanted};
use crate::channel::Channel;
use crate::launch;
use crate::plan::Confinement;
use crate::program::Program;
use crate::{Result, error::Step};

pub(crate) struct Join<'a> {
    /// The container's first process, whose namespaces are joined.
    pub(crate) target: BorrowedFd<'a>,
    /// Those that differ from ours.
    pub(crate) namespaces: u64,
    /// The container's root, where it has no mount namespace to find it by.
    pub(crate) root: Option<BorrowedFd<'a>>,
    pub(crate) program: &'a Program,
    pub(crate) confinement: &'a Confinement,
    pub(crate) streams: Wanted,
    pub(crate) preserved: Vec<OwnedFd>,
    pub(crate) doors: &'a Doors,
    pub(crate) die_with_parent: bool,
    /// The runtime has something to do between our report and the execution.
    pub(crate) waits: bool,
}

pub(crate) fn run((join, channel): (Join<'_>, Channel)) -> ! {
    if let Err(error) = go(join, &channel) {
        channel.failed(&error);
    }
    process::exit_now(1)
}

fn go(join: Join<'_>, channel: &Channel) -> Result<()> {
    signal::reset_all().step(|| "signals")?;
    process::set_umask(init::UMASK);
    mark("born");
    join.doors.enter_legacy().step(|| "unable to join cgroup")?;
    mark("cgroups of v1 joined");
    let program = join.program;
    if join.namespaces & namespace::USER != 0 {
        let (user, group) = join.confinement.first_ids;
        credentials::set_group(group).step(|| "user namespace root")?;
        credentials::set_user(user).step(|| "user namespace root")?;
    }
    process::new_session().step(|| "session")?;
    match &program.last_cpus {
        Some(cpus) => process::set_affinity(cpus).step(|| "execCPUAffinity.final")?,
        // Whoever calls us may be bound to some CPUs: what is in the container is not, but by its cgroup.
        None if program.first_cpus.is_none() => process::reset_affinity(),
        None => {}
    }
    let root = Root::open(Path::new("/")).step(|| "container root")?;
    let streams = match join.streams {
        Wanted::Descriptors(fds) => Streams::Descriptors(fds),
        Wanted::Terminal { size, keeps_line_ends } => {
            Streams::Terminal(console::open(&root, size, keeps_line_ends)?)
        }
    };
    let home = execute::home(&root, program);
    drop(root);
    let terminal = execute::set_streams(streams, join.preserved, program.identity.user, &[channel.as_fd()])?;
    mark("session, streams");
    let mut listener = execute::assume(program, join.confinement)?;
    if join.die_with_parent {
        process::set_death_signal(signal::SIGKILL).step(|| "death signal")?;
    }
    let asks = join.confinement.seccomp_listener.is_some();
    if program.identity.no_new_privileges && asks {
        listener = execute::load_filter(join.confinement)?;
    }
    let path = execute::find(program)?;
    let passed = terminal.iter().map(AsFd::as_fd).chain(listener.iter().map(AsFd::as_fd));
    channel.ready(&passed.collect::<Vec<_>>())?;
    if join.waits && !channel.wait_for_go()? {
        process::exit_now(1);
    }
    if program.identity.no_new_privileges && !asks {
        execute::load_filter(join.confinement)?;
    }
    execute::execute(&path, program, home.as_ref())
}

/// In the intermediate process, before the one that stays is born. `report` is how it tells of failures, if not by our
/// memory.
pub(crate) fn enter(
    (join, channel): &(Join<'_>, Channel),
    report: Option<BorrowedFd<'_>>,
) -> linux::Result<()> {
    // While the file is ours.
    if let Some(score) = join.program.oom_score {
        launch::set_oom_score(process::id(), score)?;
    }
    process::set_dumpable(false)?;
    let mut keep: Vec<BorrowedFd<'_>> = vec![channel.as_fd(), join.target];
    keep.extend(report);
    keep.extend(join.root);
    keep.extend(join.preserved.iter().map(AsFd::as_fd));
    keep.extend(join.doors.descriptors());
    if let Wanted::Descriptors(fds) = &join.streams {
        keep.extend(fds.iter().map(AsFd::as_fd));
    }
    fd::close_all_except(&keep)?;
    mark("guide: descriptors closed");
    if let Some(cpus) = &join.program.first_cpus {
        process::set_affinity(cpus)?;
    }
    if let Some(root) = join.root {
        mount::enter_root(root)?;
    }
    if join.namespaces == 0 {
        return Ok(());
    }
    namespace::enter(join.target, join.namespaces)?;
    mark("guide: namespaces entered");
    Ok(())
}
