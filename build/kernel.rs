//! How a program without a C library calls the kernel.

#![allow(dead_code, reason = "each program calls the kernel for something else")]

use core::arch::asm;

/// Numbers of system calls.
#[cfg(target_arch = "x86_64")]
pub(crate) mod call {
    pub(crate) const READ: usize = 0;
    pub(crate) const WRITE: usize = 1;
    pub(crate) const SIGPROCMASK: usize = 14;
    pub(crate) const IOCTL: usize = 16;
    pub(crate) const GETPID: usize = 39;
    pub(crate) const CLONE: usize = 56;
    pub(crate) const EXECVE: usize = 59;
    pub(crate) const WAIT4: usize = 61;
    pub(crate) const KILL: usize = 62;
    pub(crate) const UNAME: usize = 63;
    pub(crate) const SETPGID: usize = 109;
    pub(crate) const SIGTIMEDWAIT: usize = 128;
    pub(crate) const EXIT_GROUP: usize = 231;
    pub(crate) const OPENAT: usize = 257;
    pub(crate) const CLOSE: usize = 3;
    pub(crate) const FSTATFS: usize = 138;
    pub(crate) const READLINKAT: usize = 267;
    pub(crate) const EXECVEAT: usize = 322;
    pub(crate) const FSOPEN: usize = 430;
    pub(crate) const FSCONFIG: usize = 431;
    pub(crate) const FSMOUNT: usize = 432;
}

/// Numbers of system calls.
#[cfg(target_arch = "aarch64")]
pub(crate) mod call {
    pub(crate) const READ: usize = 63;
    pub(crate) const WRITE: usize = 64;
    pub(crate) const SIGPROCMASK: usize = 135;
    pub(crate) const IOCTL: usize = 29;
    pub(crate) const GETPID: usize = 172;
    pub(crate) const CLONE: usize = 220;
    pub(crate) const EXECVE: usize = 221;
    pub(crate) const WAIT4: usize = 260;
    pub(crate) const KILL: usize = 129;
    pub(crate) const UNAME: usize = 160;
    pub(crate) const SETPGID: usize = 154;
    pub(crate) const SIGTIMEDWAIT: usize = 137;
    pub(crate) const EXIT_GROUP: usize = 94;
    pub(crate) const OPENAT: usize = 56;
    pub(crate) const CLOSE: usize = 57;
    pub(crate) const FSTATFS: usize = 44;
    pub(crate) const READLINKAT: usize = 78;
    pub(crate) const EXECVEAT: usize = 281;
    pub(crate) const FSOPEN: usize = 430;
    pub(crate) const FSCONFIG: usize = 431;
    pub(crate) const FSMOUNT: usize = 432;
}

/// A system call with up to five arguments; the result as the kernel gives it, an error as its negative number.
///
/// # Safety
/// Pointers among the arguments must be valid for what the call does with them.
#[cfg(target_arch = "x86_64")]
pub(crate) unsafe fn syscall(number: usize, arguments: [usize; 5]) -> isize {
    let result;
    let [a, b, c, d, e] = arguments;
    // SAFETY: the kernel's convention; it clobbers rcx and r11 only. The rest is the caller's promise.
    unsafe {
        asm!("syscall", inlateout("rax") number => result, in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d,
            in("r8") e, lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    result
}

/// A system call with up to five arguments; the result as the kernel gives it, an error as its negative number.
///
/// # Safety
/// Pointers among the arguments must be valid for what the call does with them.
#[cfg(target_arch = "aarch64")]
pub(crate) unsafe fn syscall(number: usize, arguments: [usize; 5]) -> isize {
    let result;
    let [a, b, c, d, e] = arguments;
    // SAFETY: the kernel's convention; it clobbers nothing else. The rest is the caller's promise.
    unsafe {
        asm!("svc 0", in("x8") number, inlateout("x0") a => result, in("x1") b, in("x2") c, in("x3") d, in("x4") e,
            options(nostack));
    }
    result
}
