//! What procfs says about processes, and a procfs that nobody can have tampered with.
//!
//! Inside a container `/proc` may be anything: a link, another mount on top, a file bound over one of its own.
//! [`Procfs`] is a mount of our own that is attached nowhere, and every lookup in it refuses links and mounts.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags};

use crate::error::Context;
use crate::process::Pid;
use crate::{Errno, Error, Result, mount};

/// A trusted procfs for the PID namespace that it was made in.
#[derive(Debug)]
pub struct Procfs {
    root: OwnedFd,
}

impl Procfs {
    /// A private mount. Needs `CAP_SYS_ADMIN` over the PID namespace.
    pub fn new() -> Result<Procfs> {
        Procfs::of(mount::NewFs::open("proc")?)
    }

    /// The same of one that was opened in another PID namespace.
    pub fn of(opened: mount::NewFs) -> Result<Procfs> {
        opened.option("source", "proc")?;
        Ok(Procfs { root: opened.mount(mount::NOSUID | mount::NODEV | mount::NOEXEC)? })
    }

    /// A private mount with processes and nothing else: no sysctls, no keys of the kernel. Before Linux 5.8, a whole one.
    ///
    /// In a user namespace the kernel mounts none while the one in sight is partly covered by mounts that came from outside,
    /// as inside another container. Then it is that one: as what is opened is checked, it too gives the file that is meant,
    /// or nothing.
    pub fn of_processes() -> Result<Procfs> {
        let attributes = mount::NOSUID | mount::NODEV | mount::NOEXEC;
        match mount::new_fs("proc", Some("proc"), &["subset=pid"], attributes) {
            Err(error) if error.is(Errno::INVAL) => Procfs::new(),
            Err(error) if error.is(Errno::PERM) => Procfs::host().map_err(|_| error),
            other => Ok(Procfs { root: other? }),
        }
    }

    /// The root of a procfs that is mounted; anything else is refused.
    pub fn from_root(root: OwnedFd) -> Result<Procfs> {
        let stat = rustix::fs::fstat(&root).context("fstat", || "procfs")?;
        let magic = rustix::fs::fstatfs(&root).context("fstatfs", || "procfs")?.f_type;
        // The root directory of a procfs always has inode 1.
        if magic != libc::PROC_SUPER_MAGIC || stat.st_ino != 1 {
            return Err(Error::new(
                "fstatfs",
                format_args!("{:?} as procfs", crate::path::of(&root)),
                Errno::INVAL,
            ));
        }
        Ok(Procfs { root })
    }

    /// The one that this process sees at `/proc`: outside of a container, the host's.
    pub fn host() -> Result<Procfs> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Procfs::from_root(rustix::fs::open("/proc", flags, Mode::empty()).context("open", || "\"/proc\"")?)
    }

    /// Opens a file by its path below the root. A link or a mount on the way is an error.
    pub fn open(&self, path: &str, flags: OFlags) -> Result<OwnedFd> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
        rustix::fs::openat2(&self.root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)
            .context("openat2", || format!("\"/proc/{path}\", {flags:?}"))
    }

    pub fn write(&self, path: &str, text: &str) -> Result<()> {
        let file = self.open(path, OFlags::WRONLY)?;
        rustix::io::write(&file, text.as_bytes())
            .context("write", || format!("\"/proc/{path}\", {text:?}"))
            .map(drop)
    }

    pub fn read(&self, path: &str) -> Result<String> {
        let file = std::fs::File::from(self.open(path, OFlags::RDONLY)?);
        std::io::read_to_string(file).context("read", || format!("\"/proc/{path}\""))
    }

    /// Writes a file of the calling process (not of its thread group's leader, which may be another thread).
    pub fn write_own(&self, name: &str, text: &str) -> Result<()> {
        self.write(&format!("{}/{name}", own_pid(self)?), text)
    }
}

impl AsFd for Procfs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }
}

/// Our id as this procfs counts, which need not be as `getpid` counts.
fn own_pid(procfs: &Procfs) -> Result<String> {
    let link = rustix::fs::readlinkat(&procfs.root, c"self", Vec::new())
        .context("readlinkat", || "\"/proc/self\"")?;
    Ok(link.to_string_lossy().into_owned())
}

/// When a process started, in clock ticks since boot: with its id, a name that is never reused.
pub fn start_time(pid: Pid) -> Result<u64> {
    Ok(stat(pid)?.start_time)
}

/// From `/proc/<pid>/stat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// `R`, `S`, `Z`, …
    pub state: char,
    pub parent: Pid,
    pub start_time: u64,
}

pub fn stat(pid: Pid) -> Result<Stat> {
    let path = format!("/proc/{pid}/stat");
    let text = std::fs::read_to_string(&path).context("read", || format!("{path:?}"))?;
    parse_stat(&text).ok_or_else(|| Error::new("read", format_args!("{path:?}: {text:?}"), Errno::INVAL))
}

fn parse_stat(text: &str) -> Option<Stat> {
    // The name in parentheses may hold spaces and parentheses itself: count from the last one.
    let fields: Vec<&str> = text[text.rfind(')')? + 1..].split_ascii_whitespace().collect();
    Some(Stat {
        state: fields.first()?.chars().next()?,
        parent: fields.get(1)?.parse().ok()?,
        start_time: fields.get(19)?.parse().ok()?,
    })
}

/// The root directory of another process, as a handle that outlives it.
pub fn root_of(pid: Pid) -> Result<OwnedFd> {
    let path = format!("/proc/{pid}/root");
    rustix::fs::open(Path::new(&path), OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .context("open", || format!("{path:?}, O_PATH"))
}

/// This process's children, of all its threads.
pub fn children() -> Result<Vec<Pid>> {
    let path = "/proc/self/task";
    let mut children = Vec::new();
    for thread in std::fs::read_dir(path).context("readdir", || path)?.flatten() {
        // A thread that has ended meanwhile has no children.
        let text = std::fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        children.extend(text.split_ascii_whitespace().filter_map(|word| word.parse::<Pid>().ok()));
    }
    Ok(children)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_process_names_do_not_shift_fields() {
        let line = "12 (a) b (c) S 7 12 12 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4242 0 0";
        assert_eq!(parse_stat(line).unwrap(), Stat { state: 'S', parent: 7, start_time: 4242 });
    }

    #[test]
    fn only_procfs_is_procfs() {
        let tmpfs = mount::new_fs("tmpfs", None, &[], 0).unwrap();
        assert!(Procfs::from_root(tmpfs).unwrap_err().is(Errno::INVAL));
        let own = Procfs::new().unwrap();
        assert!(own.read("sys/kernel/hostname").is_ok());
        assert!(own.open("self/root", OFlags::PATH).unwrap_err().is(Errno::LOOP));
        own.write_own("oom_score_adj", "0").unwrap();
    }

    #[test]
    fn a_procfs_of_processes_has_no_sysctls() {
        let processes = Procfs::of_processes().unwrap();
        assert!(processes.read("sys/kernel/hostname").unwrap_err().is(Errno::NOENT));
        processes.write_own("oom_score_adj", "0").unwrap();
    }

    /// As inside another container: a procfs that was covered before, and no right to one of our own.
    fn in_a_container(test: impl FnOnce() -> Result<bool>) {
        use crate::namespace::{self, MOUNT, USER};
        use crate::process::{Clone, Cloned, Exit, exit_now, wait};
        let enter = || {
            namespace::unshare(MOUNT)?;
            mount::set_propagation(Path::new("/"), mount::Propagation::Private, true)?;
            cover("/proc/kallsyms")?;
            namespace::unshare(USER | MOUNT)
        };
        match Clone::default().start().unwrap() {
            Cloned::Copy => exit_now(match enter().and_then(|()| test()) {
                Ok(true) => 0,
                Ok(false) => 1,
                Err(error) => {
                    eprintln!("{error}");
                    2
                }
            }),
            Cloned::Caller { pid, .. } => assert_eq!(wait(pid).unwrap(), Exit::Code(0)),
        }
    }

    fn cover(path: &str) -> Result<()> {
        mount::attach_at(mount::clone_tree(None, Path::new("/dev/null"), false)?, Path::new(path))
    }

    #[test]
    fn where_none_can_be_mounted_the_one_in_sight_serves() {
        in_a_container(|| {
            let refused = Procfs::new().is_err_and(|error| error.is(Errno::PERM));
            Procfs::of_processes()?.write_own("oom_score_adj", "500")?;
            let score = std::fs::read_to_string("/proc/self/oom_score_adj").unwrap_or_default();
            Ok(refused && score == "500\n")
        });
    }

    #[test]
    fn what_is_put_over_the_one_in_sight_is_not_written() {
        in_a_container(|| {
            cover(&format!("/proc/{}/oom_score_adj", crate::process::id()))?;
            let covered = Procfs::of_processes()?.write_own("oom_score_adj", "500");
            let empty = mount::new_fs("tmpfs", None, &[], 0)?;
            mount::attach_at(&empty, Path::new("/proc"))?;
            let hidden = Procfs::of_processes();
            Ok(covered.is_err_and(|error| error.is(Errno::XDEV)) && hidden.is_err())
        });
    }

    #[test]
    fn our_own_start_time() {
        let pid = crate::process::id();
        assert_eq!(start_time(pid).unwrap(), start_time(pid).unwrap());
        assert!(stat(pid).unwrap().parent > 0);
    }
}
