//! A copy of this process that is born where another has led the way, at the price of one copy.
//!
//! ```text
//!   caller ──clone3(CLONE_VM | CLONE_VFORK)──▶ guide: enters ──clone3(CLONE_PARENT)──▶ copy: lives
//!     stands still ◀──────────────── exits ──────┘
//! ```
//!
//! [`Clone::before`] does the same with two copies of our memory, of which the first is thrown away. Here the guide
//! borrows our memory while we stand still, as a child of vfork(2) does, and tells its outcome there too: no page tables
//! are copied for it, and nothing passes through a pipe.
//!
//! Whoever borrows our memory must be out of everybody's reach: [`Elsewhere::enter`] is to make the guide undumpable
//! before it joins anything. That is a property of the memory, so ours is undumpable too until the guide is gone. The guide
//! is never selected by the kernel when memory runs out (`in_vfork`); only a cgroup that dies as a whole
//! (`memory.oom.group`) would take us along.
//!
//! With threads, or where the guide must not have our memory ([`Elsewhere::own_memory`]: time namespaces take no process
//! that shares its own), it is done by [`Clone`].

use std::os::fd::{BorrowedFd, OwnedFd};

use super::{Clone, Cloned, Pid, clone, is_dumpable, open_pidfd, set_dumpable, thread_count, wait};
use crate::{Errno, Error, Result, signal};

/// How a copy gets where it is born, and what it does there.
pub struct Elsewhere<'a, T> {
    /// A cgroup v2 directory. The guide is born in it and counts there; the copy has no descriptor of it.
    pub cgroup: Option<BorrowedFd<'a>>,
    /// What is joined refuses processes that share their memory, or is frozen, and we must not stand still as long.
    pub own_memory: bool,
    /// Runs in the guide. Descriptors that it closes are closed in the copy only; the one that it is given, if any,
    /// must stay open.
    pub enter: fn(&T, Option<BorrowedFd<'_>>) -> Result<()>,
    /// The copy, with all signals blocked. It ends by executing or by [`super::exit_now`].
    pub live: fn(T) -> !,
}

/// What the guide works with, in our memory.
struct Passage<'p, 'a, T> {
    way: &'p Elsewhere<'a, T>,
    /// The copy takes it from its own memory; ours keeps it.
    traveller: Option<T>,
    outcome: Option<Result<Pid>>,
}

impl<T> Elsewhere<'_, T> {
    /// The copy is our child.
    pub fn start(&self, traveller: T) -> Result<(Pid, OwnedFd)> {
        if self.own_memory || !can_borrow() || thread_count()? > 1 {
            return self.by_copies(traveller);
        }
        let mut passage = Passage { way: self, traveller: Some(traveller), outcome: None };
        let dumpable = is_dumpable()?;
        let blocked = signal::block_all()?;
        let guided = self.guide(&mut passage);
        signal::restore(&blocked)?;
        if dumpable {
            set_dumpable(true)?;
        }
        wait(guided?)?;
        let died = || Err(Error::new("clone3", "the guiding process died", Errno::CHILD));
        let pid = passage.outcome.take().unwrap_or_else(died)?;
        Ok((pid, open_pidfd(pid)?))
    }

    fn guide(&self, passage: &mut Passage<'_, '_, T>) -> Result<Pid> {
        let mut args = clone::arguments(libc::SIGCHLD as u64);
        args.flags = (libc::CLONE_VM | libc::CLONE_VFORK) as u64;
        if let Some(cgroup) = self.cgroup {
            clone::into_cgroup(&mut args, cgroup);
        }
        // SAFETY: we stand still until the guide has exited, so the passage is its alone; `guide` fits what it is given.
        let result = unsafe { on_our_stack(&args, guide::<T>, std::ptr::from_mut(passage).cast()) };
        match result {
            pid if pid > 0 => Ok(pid as Pid),
            errno => {
                let errno = Errno::from_raw_os_error(errno.unsigned_abs() as i32);
                Err(Error::new("clone3", format_args!("flags {:#x}", args.flags), errno))
            }
        }
    }

    fn by_copies(&self, traveller: T) -> Result<(Pid, OwnedFd)> {
        let before = |report: BorrowedFd<'_>| (self.enter)(&traveller, Some(report));
        let request = Clone { cgroup: self.cgroup, before: Some(&before), ..Clone::default() };
        match request.start()? {
            Cloned::Copy => (self.live)(traveller),
            Cloned::Caller { pid, pidfd } => Ok((pid, pidfd)),
        }
    }
}

/// In the guide. Nothing unwinds out of it: that would end here (`extern "C"`).
extern "C" fn guide<T>(passage: *mut libc::c_void) {
    // SAFETY: `start` passed a passage that nobody else touches while we run.
    let passage = unsafe { &mut *passage.cast::<Passage<'_, '_, T>>() };
    let Some(traveller) = &passage.traveller else { return };
    let entered = (passage.way.enter)(traveller, None);
    match entered.and_then(|()| clone::sibling()) {
        Ok(Some(pid)) => passage.outcome = Some(Ok(pid)),
        Err(error) => passage.outcome = Some(Err(error)),
        // The copy, whose memory is its own.
        Ok(None) => {
            if let Some(traveller) = passage.traveller.take() {
                (passage.way.live)(traveller)
            }
        }
    }
}

/// clone3(2) with `CLONE_VM | CLONE_VFORK` and without a stack: the child calls `function` below our frames, which wait
/// for it, and exits. Returns its id, or the negative error number.
///
/// # Safety
/// `args` asks for both flags. `function` may be called with `argument` while the caller stands still.
#[cfg(target_arch = "x86_64")]
unsafe fn on_our_stack(
    args: &libc::clone_args,
    function: extern "C" fn(*mut libc::c_void),
    argument: *mut libc::c_void,
) -> i64 {
    let result: i64;
    // SAFETY: nothing is kept below the stack pointer across the block (no `nostack`), so the child may push there. It
    // never gets out of the block; we do when it is gone, with our registers as they were.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "and rsp, -16",
            "mov rdi, r13",
            "call r12",
            "xor edi, edi",
            "mov eax, {exit}",
            "syscall",
            "ud2",
            "2:",
            exit = const libc::SYS_exit_group,
            inlateout("rax") libc::SYS_clone3 => result,
            in("rdi") std::ptr::from_ref(args),
            in("rsi") size_of::<libc::clone_args>(),
            in("r12") function,
            in("r13") argument,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    result
}

/// As above.
///
/// # Safety
/// As above.
#[cfg(target_arch = "aarch64")]
unsafe fn on_our_stack(
    args: &libc::clone_args,
    function: extern "C" fn(*mut libc::c_void),
    argument: *mut libc::c_void,
) -> i64 {
    let result: i64;
    // SAFETY: as above.
    unsafe {
        std::arch::asm!(
            "svc 0",
            "cbnz x0, 2f",
            "mov x29, #0",
            "mov x30, #0",
            "mov x0, x10",
            "blr x9",
            "mov x0, #0",
            "mov x8, {exit}",
            "svc 0",
            "brk #1",
            "2:",
            exit = const libc::SYS_exit_group,
            in("x8") libc::SYS_clone3,
            inlateout("x0") std::ptr::from_ref(args) => result,
            in("x1") size_of::<libc::clone_args>(),
            in("x9") function,
            in("x10") argument,
            lateout("x30") _,
        );
    }
    result
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
unsafe fn on_our_stack(
    _args: &libc::clone_args,
    _function: extern "C" fn(*mut libc::c_void),
    _argument: *mut libc::c_void,
) -> i64 {
    -i64::from(libc::ENOSYS)
}

/// Whether [`on_our_stack`] knows this machine.
fn can_borrow() -> bool {
    cfg!(any(target_arch = "x86_64", target_arch = "aarch64"))
}

#[cfg(test)]
mod tests {
    use super::super::{Exit, exit_now};
    use super::*;

    /// Without the detour of a process with threads, which the test harness is: a fork of it has one.
    fn alone(test: impl FnOnce() -> bool) {
        match Clone::default().start().unwrap() {
            Cloned::Copy => exit_now(if test() { 0 } else { 1 }),
            Cloned::Caller { pid, .. } => assert_eq!(wait(pid).unwrap(), Exit::Code(0)),
        }
    }

    fn way(enter: fn(&i32, Option<BorrowedFd<'_>>) -> Result<()>) -> Elsewhere<'static, i32> {
        Elsewhere { cgroup: None, own_memory: false, enter, live: |code| exit_now(code) }
    }

    #[test]
    fn the_copy_is_our_child_and_has_what_it_was_given() {
        let lived = |way: &Elsewhere<'_, i32>| {
            let (pid, _pidfd) = way.start(7).unwrap();
            wait(pid).unwrap() == Exit::Code(7)
        };
        alone(|| lived(&way(|_, _| Ok(()))));
        alone(|| lived(&Elsewhere { own_memory: true, ..way(|_, _| Ok(())) }));
        assert!(lived(&way(|_, _| Ok(()))), "with threads around");
    }

    #[test]
    fn what_fails_on_the_way_is_told_whole() {
        alone(|| {
            let way = way(|_, _| Err(Error::new("setns", "\"/nowhere\"", Errno::NOENT)));
            let Err(error) = way.start(0) else { return false };
            error.to_string() == "setns(\"/nowhere\"): No such file or directory (ENOENT)"
        });
    }

    #[test]
    fn a_guide_that_dies_is_told() {
        alone(|| {
            let way = way(|_, _| exit_now(9));
            let Err(error) = way.start(0) else { return false };
            error.to_string().contains("the guiding process died")
        });
    }

    #[test]
    fn what_the_guide_changes_is_undone_here() {
        alone(|| {
            let way = way(|_, _| {
                set_dumpable(false)?;
                std::env::set_current_dir("/proc")
                    .map_err(|error| Error::from_io("chdir", "\"/proc\"", &error))
            });
            // Another test may have changed its ids, which makes all of this process undumpable (PR_SET_DUMPABLE(2const)).
            set_dumpable(true).unwrap();
            let before = std::env::current_dir().unwrap();
            let (pid, _pidfd) = way.start(0).unwrap();
            let ended = wait(pid).unwrap() == Exit::Code(0);
            ended && is_dumpable().unwrap() && std::env::current_dir().unwrap() == before
        });
    }
}
