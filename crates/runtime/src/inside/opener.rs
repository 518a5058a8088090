//! A procfs of a PID namespace that the container is built outside of.
//!
//! A procfs shows the PID namespace of whoever opened it. To open one among the processes of others takes a process
//! there, which they can look at; so it is one with nothing to show: an empty root in a mount namespace of its own, no
//! descriptor but the one that it answers on.
//!
//! ```text
//!   runtime ──▶ intermediate: descriptors closed, empty root ──▶ opener, born inside ── file systems ──▶ runtime
//! ```

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use linux::mount::{self, NewFs, Propagation};
use linux::process::{self, Clone, Cloned};
use linux::{fd, namespace, signal};

use crate::channel::{Channel, Report};
use crate::namespaces::Namespaces;
use crate::{Error, Result, error::Step};

/// Opens as many of them, not mounted yet, as the container that enters `inside` late will have.
pub(crate) fn open(namespaces: &Namespaces, inside: &OwnedFd, count: usize) -> Result<Vec<OwnedFd>> {
    const STEP: &str = "procfs of the joined PID namespace";
    let (ours, theirs) = Channel::pair()?;
    let user = namespaces.joined_user.as_ref();
    let hide = |report: BorrowedFd<'_>| hide(user, &[theirs.as_fd(), report, inside.as_fd()]);
    let request = Clone { pid_namespace: Some(inside.as_fd()), before: Some(&hide), ..Clone::default() };
    let (pid, pidfd) = match request.start().step(|| STEP)? {
        Cloned::Copy => {
            // Closed in the intermediate process.
            std::mem::forget(ours);
            answer(&theirs, count)
        }
        Cloned::Caller { pid, pidfd } => (pid, pidfd),
    };
    drop(theirs);
    let report = ours.report_of(pid);
    if report.is_err() {
        let _dead_already = process::send_signal(pidfd.as_fd(), signal::SIGKILL);
    }
    process::wait(pid).step(|| STEP)?;
    match report? {
        Report::Ready(opened) if opened.len() == count => Ok(opened),
        Report::Failed(error) => Err(error.prefixed(STEP)),
        _ => Err(Error::other(format_args!("{STEP}: the process that opens it died"))),
    }
}

/// Leaves everything that could be seen behind.
fn hide(user: Option<&OwnedFd>, keep: &[BorrowedFd<'_>]) -> linux::Result<()> {
    process::set_dumpable(false)?;
    if let Some(user) = user {
        namespace::enter(user, namespace::USER)?;
    }
    namespace::unshare(namespace::MOUNT)?;
    mount::set_propagation(Path::new("/"), Propagation::Private, true)?;
    let attributes = mount::RDONLY | mount::NOSUID | mount::NODEV | mount::NOEXEC;
    let empty = mount::new_fs("tmpfs", Some("tmpfs"), &["nr_blocks=1", "nr_inodes=1"], attributes)?;
    mount::attach_at(&empty, Path::new("/"))?;
    mount::pivot_root(&empty)?;
    std::mem::forget(empty);
    fd::close_all_except(keep)
}

fn answer(channel: &Channel, count: usize) -> ! {
    let opened: linux::Result<Vec<OwnedFd>> =
        (0..count).map(|_| NewFs::open("proc").map(NewFs::into_descriptor)).collect();
    let told = opened.step(|| "file system").and_then(|opened| {
        let opened: Vec<BorrowedFd<'_>> = opened.iter().map(AsFd::as_fd).collect();
        channel.ready(&opened)
    });
    if let Err(error) = told {
        channel.failed(&error);
    }
    process::exit_now(0)
}
