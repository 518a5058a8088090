//! Executing a program without copying this process (clone(2) with `CLONE_VM | CLONE_VFORK`).
//!
//! The child borrows our memory and we stand still until it has executed, so the price does not grow with our
//! size. Until then it may only make system calls: everything they need is laid out before. It gets exactly the
//! descriptors it is given; all others close, whoever opened them without close-on-exec. Where low numbers are reserved
//! ([`reserve_low_descriptors`]) the price does not grow with the number of our descriptors either.
//!
//! A program can be given a mount that nobody else sees ([`Spawn::private_mount`]): it gets a mount namespace of its own,
//! and what is attached there ends with the program and what it starts. All other mounts stay peers of ours, so that what
//! the program shares with the host (`rshared`) is still shared. Only the mount that the new one is attached to must not
//! pass it on, so it leaves its peers for that moment (`MOVE_MOUNT_SET_GROUP` brings it back, since Linux 5.15).

mod seats;

use std::ffi::{CString, OsStr};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use super::{Exit, Pid, pointers, wait};
use crate::error::Context;
use crate::{Errno, Error, Result, mount};

use seats::Seated;
pub use seats::reserve_low_descriptors;

/// `MOVE_MOUNT_SET_GROUP`, which the C headers do not have everywhere.
const SET_GROUP: libc::c_uint = 0x100;

/// Enough for the system calls of `child`, which has no deep calls.
const STACK: usize = 64 << 10;

/// What is to be executed.
#[derive(Debug)]
enum Source<'a> {
    Path(CString),
    Open(BorrowedFd<'a>),
}

/// What to execute: a path (not searched for), or a file that is open.
#[derive(Debug, Clone, Copy)]
pub enum Program<'a> {
    Path(&'a Path),
    Open(BorrowedFd<'a>),
}

/// A program to start.
#[derive(Debug)]
pub struct Spawn<'a> {
    program: Source<'a>,
    args: Vec<CString>,
    env: Vec<CString>,
    descriptors: Vec<(BorrowedFd<'a>, RawFd)>,
    directory: Option<CString>,
    session: bool,
    death_signal: i32,
    mount: Option<PrivateMount<'a>>,
}

/// A mount for one program alone.
#[derive(Debug)]
struct PrivateMount<'a> {
    mount: BorrowedFd<'a>,
    target: CString,
    /// What it is attached to, if that would pass it on to us: its path, and itself in our namespace.
    shared: Option<(CString, OwnedFd)>,
}

/// A started program. Not reaped by itself.
#[derive(Debug)]
pub struct Child {
    pub pid: Pid,
    pub pidfd: OwnedFd,
}

impl Child {
    pub fn wait(&self) -> Result<Exit> {
        wait(self.pid)
    }
}

impl<'a> Spawn<'a> {
    /// `args` starts with the program's name for itself.
    pub fn new<S: AsRef<OsStr>>(program: Program<'a>, args: &[S]) -> Result<Spawn<'a>> {
        let program = match program {
            Program::Path(path) => Source::Path(c_string(path.as_os_str())?),
            Program::Open(file) => Source::Open(file),
        };
        let args = args.iter().map(|arg| c_string(arg.as_ref())).collect::<Result<_>>()?;
        Ok(Spawn {
            program,
            args,
            env: Vec::new(),
            descriptors: Vec::new(),
            directory: None,
            session: false,
            death_signal: 0,
            mount: None,
        })
    }

    /// The whole environment, as `KEY=value`; empty unless set.
    pub fn env<S: AsRef<OsStr>>(mut self, lines: impl IntoIterator<Item = S>) -> Result<Self> {
        self.env = lines.into_iter().map(|line| c_string(line.as_ref())).collect::<Result<_>>()?;
        Ok(self)
    }

    /// The environment of this process.
    pub fn inherit_env(self) -> Result<Self> {
        self.env(std::env::vars_os().map(|(key, value)| {
            let mut line = key;
            line.push("=");
            line.push(value);
            line
        }))
    }

    /// The program finds `fd` at number `target`. Numbers that are not given stay closed, 0 to 2 included.
    pub fn descriptor(mut self, fd: BorrowedFd<'a>, target: RawFd) -> Self {
        self.descriptors.push((fd, target));
        self
    }

    pub fn directory(mut self, path: &Path) -> Result<Self> {
        self.directory = Some(c_string(path.as_os_str())?);
        Ok(self)
    }

    /// Out of our session: no terminal, no signals from our group.
    pub fn session(mut self) -> Self {
        self.session = true;
        self
    }

    /// The program sees a detached mount at `target`, a directory; nobody else does.
    pub fn private_mount(mut self, mount: BorrowedFd<'a>, target: &Path) -> Result<Self> {
        let below = mount::list()?
            .into_iter()
            .filter(|one| target.starts_with(&one.target))
            // Of several at one place the last is on top.
            .max_by_key(|one| one.target.components().count());
        let shared = match below.filter(|one| one.propagation.contains("shared:")) {
            Some(below) => {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                let ours = rustix::fs::open(&below.target, flags, Mode::empty())
                    .context("open", || format!("{:?}, O_PATH", below.target))?;
                Some((c_string(below.target.as_os_str())?, ours))
            }
            None => None,
        };
        self.mount = Some(PrivateMount { mount, target: c_string(target.as_os_str())?, shared });
        Ok(self)
    }

    /// The signal it gets when the calling thread dies.
    pub fn death_signal(mut self, signal: i32) -> Self {
        self.death_signal = signal;
        self
    }

    /// Starts it. What keeps it from executing is an error here, and leaves no process.
    pub fn start(self) -> Result<Child> {
        let (argv, envp) = (pointers(&self.args), pointers(&self.env));
        let lowest = self.descriptors.iter().map(|(_, target)| target + 1).max().unwrap_or(3).max(3);
        let seated = self.seated();
        let number = |fd: BorrowedFd<'_>| seated.as_ref().map_or(fd.as_raw_fd(), |seated| seated.number(fd));
        let mut plan = Plan {
            spawn: &self,
            argv: argv.as_ptr(),
            envp: envp.as_ptr(),
            lowest,
            table_ends: seated.as_ref().map(Seated::end),
            sources: self.descriptors.iter().map(|(fd, _)| number(*fd)).collect(),
            program: match &self.program {
                Source::Open(file) => number(*file),
                Source::Path(_) => -1,
            },
            moved: vec![-1; self.descriptors.len()],
            open_files: super::limits::open_files_of_children(),
            failed: None,
        };
        let mut stack = vec![0u8; STACK];
        let mut pidfd: libc::c_int = -1;
        let files = if seated.is_some() { libc::CLONE_FILES } else { 0 };
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD | files;
        // SAFETY: with CLONE_VFORK we do not go on until the child has executed or exited, so the plan and the
        // stack outlive its use of them; the stack top is inside the allocation and aligned; `child` makes only
        // system calls and touches nothing but its plan.
        let pid = unsafe {
            let top = stack.as_mut_ptr().add(STACK);
            let top = top.sub(top as usize % 16);
            libc::clone(child, top.cast(), flags, (&raw mut plan).cast(), &raw mut pidfd)
        };
        if pid < 0 {
            return Err(Error::last("clone", "CLONE_VM|CLONE_VFORK"));
        }
        // SAFETY: CLONE_PIDFD stored a descriptor that is ours.
        let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
        if let Some((call, errno)) = plan.failed {
            wait(pid)?;
            return Err(Error::new(call, self.name(), Errno::from_raw_os_error(errno)));
        }
        Ok(Child { pid, pidfd })
    }

    /// Everything that the child needs, on low numbers. A private mount needs more than numbers, and is rare.
    fn seated(&self) -> Option<Seated> {
        let program = match &self.program {
            Source::Open(file) => Some(*file),
            Source::Path(_) => None,
        };
        let given = self.descriptors.iter().map(|(fd, _)| *fd);
        if self.mount.is_some() { None } else { Seated::take(given.chain(program)) }
    }

    fn name(&self) -> String {
        match &self.program {
            Source::Path(path) => format!("{path:?}"),
            Source::Open(_) => format!("{:?}", self.args.first()),
        }
    }
}

/// What the child works from, laid out before it exists.
struct Plan<'p, 'a> {
    spawn: &'p Spawn<'a>,
    argv: *const *const libc::c_char,
    envp: *const *const libc::c_char,
    lowest: RawFd,
    /// The table of descriptors is shared with us until the child has its own, which ends here.
    table_ends: Option<RawFd>,
    /// Where the descriptors are, in the order of the request.
    sources: Vec<RawFd>,
    /// Where the program is that is open, or -1.
    program: RawFd,
    moved: Vec<RawFd>,
    open_files: Option<libc::rlimit64>,
    failed: Option<(&'static str, i32)>,
}

extern "C" fn child(plan: *mut libc::c_void) -> libc::c_int {
    // SAFETY: `start` passed a Plan that nobody else touches while we run.
    let plan = unsafe { &mut *plan.cast::<Plan<'_, '_>>() };
    // SAFETY: see the contract of `prepare_and_execute`; this is the fresh child.
    let call = unsafe { prepare_and_execute(plan) };
    // SAFETY: errno of the call that failed.
    plan.failed = Some((call, unsafe { *libc::__errno_location() }));
    127
}

/// Returns the name of the call that failed.
///
/// # Safety
/// Only in the child of `start`: it changes descriptors, signals and the session of the calling process.
unsafe fn prepare_and_execute(plan: &mut Plan<'_, '_>) -> &'static str {
    let spawn = plan.spawn;
    // SAFETY: system calls on numbers and on C strings that live in the plan. The signal table is the child's
    // own (no CLONE_SIGHAND).
    unsafe {
        for signal in 1..=crate::signal::MAX {
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
        if let Some(end) = plan.table_ends
            && libc::syscall(libc::SYS_close_range, end, u32::MAX, libc::CLOSE_RANGE_UNSHARE) < 0
        {
            return "close_range";
        }
        // First out of the way, then to their places: a source may sit on another's target.
        for (index, source) in plan.sources.iter().enumerate() {
            plan.moved[index] = libc::fcntl(*source, libc::F_DUPFD_CLOEXEC, plan.lowest);
            if plan.moved[index] < 0 {
                return "fcntl";
            }
        }
        if plan.program >= 0 {
            plan.program = libc::fcntl(plan.program, libc::F_DUPFD_CLOEXEC, plan.lowest);
            if plan.program < 0 {
                return "fcntl";
            }
        }
        if libc::syscall(libc::SYS_close_range, 0, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) < 0 {
            return "close_range";
        }
        for (index, (_, target)) in spawn.descriptors.iter().enumerate() {
            if libc::dup2(plan.moved[index], *target) < 0 {
                return "dup2";
            }
        }
        // After the descriptors: their numbers may lie beyond it.
        if let Some(limit) = &plan.open_files
            && libc::prlimit64(0, libc::RLIMIT_NOFILE, limit, std::ptr::null_mut()) < 0
        {
            return "prlimit64";
        }
        if let Some(private) = &spawn.mount
            && let Err(call) = attach_privately(private)
        {
            return call;
        }
        if spawn.session && libc::setsid() < 0 {
            return "setsid";
        }
        if let Some(directory) = &spawn.directory
            && libc::chdir(directory.as_ptr()) < 0
        {
            return "chdir";
        }
        if spawn.death_signal != 0
            && libc::prctl(libc::PR_SET_PDEATHSIG, spawn.death_signal as libc::c_ulong) < 0
        {
            return "prctl";
        }
        match &spawn.program {
            Source::Path(path) => {
                libc::execve(path.as_ptr(), plan.argv, plan.envp);
                "execve"
            }
            Source::Open(_) => {
                let (file, flags) = (plan.program, libc::AT_EMPTY_PATH);
                libc::syscall(libc::SYS_execveat, file, c"".as_ptr(), plan.argv, plan.envp, flags);
                "execveat"
            }
        }
    }
}

/// # Safety
/// As of `prepare_and_execute`: it changes the mount namespace of the calling process.
unsafe fn attach_privately(private: &PrivateMount<'_>) -> std::result::Result<(), &'static str> {
    let move_mount = |mount: RawFd, target: &CString, more: libc::c_uint| {
        let (here, flags) = (libc::AT_FDCWD, libc::MOVE_MOUNT_F_EMPTY_PATH | more);
        // SAFETY: numbers and C strings that live in the plan.
        unsafe { libc::syscall(libc::SYS_move_mount, mount, c"".as_ptr(), here, target.as_ptr(), flags) }
    };
    // SAFETY: the child shares memory with us and no file system context (no CLONE_FS), so this is its own.
    if unsafe { libc::unshare(libc::CLONE_NEWNS) } < 0 {
        return Err("unshare");
    }
    if let Some((path, _)) = &private.shared {
        let null = std::ptr::null();
        // SAFETY: C strings; source, type and data are not looked at for a change of propagation.
        if unsafe { libc::mount(null, path.as_ptr(), null, libc::MS_PRIVATE, null.cast()) } < 0 {
            return Err("mount");
        }
    }
    if move_mount(private.mount.as_raw_fd(), &private.target, 0) < 0 {
        return Err("move_mount");
    }
    if let Some((path, ours)) = &private.shared {
        // Older kernels cannot: there the mount stays apart, and only it.
        let _apart = move_mount(ours.as_raw_fd(), path, SET_GROUP);
    }
    Ok(())
}

fn c_string(text: &OsStr) -> Result<CString> {
    CString::new(text.as_bytes()).map_err(|_| Error::new("execve", format_args!("{text:?}"), Errno::INVAL))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    /// What a busybox shell says of a script, with low numbers reserved.
    fn said(script: &str, numbers: &[RawFd]) -> String {
        reserve_low_descriptors().unwrap();
        let (reader, writer) = crate::fd::pipe().unwrap();
        let mut spawn =
            Spawn::new(Program::Path(Path::new("/bin/busybox")), &["busybox", "sh", "-c", script]).unwrap();
        for number in numbers {
            spawn = spawn.descriptor(writer.as_fd(), *number);
        }
        assert_eq!(spawn.start().unwrap().wait().unwrap(), Exit::Code(0));
        drop(writer);
        // Ends, since no copy of ours is left on a low number.
        let mut output = String::new();
        std::io::Read::read_to_string(&mut std::fs::File::from(reader), &mut output).unwrap();
        output
    }

    #[test]
    fn a_program_of_somebody_with_many_descriptors_begins_with_few() {
        reserve_low_descriptors().unwrap();
        let (_reader, writer) = crate::fd::pipe().unwrap();
        let _far = crate::fd::duplicate_from(&writer, 900).unwrap();
        let size = said("sed -n 's/FDSize:.//p' /proc/self/status", &[1]);
        assert!(size.trim().parse::<u32>().unwrap() < 512, "{size}");
        assert_eq!(said("echo a >&7; echo b >&900", &[7, 900]), "a\nb\n");
    }

    #[test]
    fn a_program_gets_what_it_is_given_and_nothing_else() {
        let (reader, writer) = crate::fd::pipe().unwrap();
        let leak = crate::fd::duplicate_from(&writer, 600).unwrap();
        crate::fd::set_inheritable(&leak, true).unwrap();
        let script = "cd /proc/self/fd; for n in *; do test $n -lt 100 || echo leak $n; done; echo $A >&5";
        let child = Spawn::new(Program::Path(Path::new("/bin/busybox")), &["busybox", "sh", "-c", script])
            .unwrap()
            .env(["A=hello"])
            .unwrap()
            .descriptor(writer.as_fd(), 1)
            .descriptor(writer.as_fd(), 5)
            .session()
            .start()
            .unwrap();
        assert_eq!(child.wait().unwrap(), Exit::Code(0));
        drop((writer, leak));
        let mut output = String::new();
        std::io::Read::read_to_string(&mut std::fs::File::from(reader), &mut output).unwrap();
        assert_eq!(output, "hello\n");
    }

    #[test]
    fn descriptors_may_swap_numbers() {
        let (one, write_one) = crate::fd::pipe().unwrap();
        let (two, write_two) = crate::fd::pipe().unwrap();
        let (a, b) = (write_one.as_raw_fd(), write_two.as_raw_fd());
        let script = format!("echo to-one >&{b}; echo to-two >&{a}");
        Spawn::new(Program::Path(Path::new("/bin/busybox")), &["busybox", "sh", "-c", &script])
            .unwrap()
            .descriptor(write_one.as_fd(), b)
            .descriptor(write_two.as_fd(), a)
            .start()
            .unwrap()
            .wait()
            .unwrap();
        drop((write_one, write_two));
        for (pipe, expected) in [(one, "to-one\n"), (two, "to-two\n")] {
            let mut text = String::new();
            std::io::Read::read_to_string(&mut std::fs::File::from(pipe), &mut text).unwrap();
            assert_eq!(text, expected);
        }
    }

    /// In a mount namespace with a shared mount of the test's own: what the program sees, we do not, and what it
    /// mounts beside, we do.
    #[test]
    fn a_private_mount_is_seen_by_the_program_alone() {
        use crate::process::{Clone, Cloned, exit_now};
        let dir = std::env::temp_dir().join(format!("wharf-spawn-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let request = Clone { namespaces: crate::namespace::MOUNT, ..Default::default() };
        match request.start().unwrap() {
            Cloned::Copy => {
                let passed = std::panic::catch_unwind(|| private_mount_in(&dir));
                exit_now(i32::from(passed.is_err()));
            }
            Cloned::Caller { pid, .. } => assert_eq!(wait(pid).unwrap(), Exit::Code(0)),
        }
        std::fs::remove_dir(&dir).unwrap();
    }

    fn private_mount_in(dir: &Path) {
        let tmpfs = || mount::new_fs("tmpfs", None, &[], 0).unwrap();
        mount::set_propagation(Path::new("/"), mount::Propagation::Private, true).unwrap();
        mount::attach_at(tmpfs(), dir).unwrap();
        mount::set_propagation(dir, mount::Propagation::Shared, false).unwrap();
        for name in ["alone", "shared"] {
            std::fs::create_dir(dir.join(name)).unwrap();
        }
        let script = "echo x > alone/file && /bin/busybox mount -t tmpfs none shared && echo y > shared/file";
        let (mount, target) = (tmpfs(), dir.join("alone"));
        let child = Spawn::new(Program::Path(Path::new("/bin/busybox")), &["busybox", "sh", "-c", script])
            .unwrap()
            .directory(dir)
            .unwrap()
            .private_mount(mount.as_fd(), &target)
            .unwrap()
            .start()
            .unwrap();
        assert_eq!(child.wait().unwrap(), Exit::Code(0));
        assert!(!dir.join("alone/file").exists());
        assert!(dir.join("shared/file").exists());
    }

    #[test]
    fn a_missing_program_is_an_error_here() {
        let error = Spawn::new(Program::Path(Path::new("/no/such")), &["x"]).unwrap().start().unwrap_err();
        assert_eq!(error.to_string(), "execve(\"/no/such\"): No such file or directory (ENOENT)");
    }
}
