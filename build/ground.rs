//! What a freestanding program stands on (`freestanding.rs`): how it is entered, calls the kernel, and ends.
//!
//! There is no allocator, no C library, no thread and no unwinding. A program is a file that has this as a module, and a
//! function `start`.

#![allow(dead_code, reason = "each program calls the kernel for something else")]

use core::arch::{asm, global_asm};

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
}

// The kernel enters with the arguments on the stack, where no function expects them: `start` is given their place.
#[cfg(target_arch = "x86_64")]
global_asm!(".globl _start", "_start:", "xor ebp, ebp", "mov rdi, rsp", "and rsp, -16", "call {start}", start = sym crate::start);

#[cfg(target_arch = "aarch64")]
global_asm!(".globl _start", "_start:", "mov x29, #0", "mov x30, #0", "mov x0, sp", "bl {start}", start = sym crate::start);

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

/// Writes all of it, as far as the descriptor takes it.
pub(crate) fn write(descriptor: usize, mut text: &[u8]) {
    while !text.is_empty() {
        // SAFETY: the text is valid for its length.
        let count = unsafe { syscall(call::WRITE, [descriptor, text.as_ptr() as usize, text.len(), 0, 0]) };
        match usize::try_from(count) {
            Ok(count) if count > 0 => text = text.get(count..).unwrap_or_default(),
            _ => return,
        }
    }
}

pub(crate) fn exit(code: usize) -> ! {
    loop {
        // SAFETY: no pointers.
        unsafe { syscall(call::EXIT_GROUP, [code, 0, 0, 0, 0]) };
    }
}

/// Nothing here should; 125 is what docker has for its own failures.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    exit(125)
}

/// Named by objects of `core` that were compiled for unwinding. Nothing here unwinds.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

/// The compiler calls these for copies and comparisons; the C library that usually has them is not here.
mod memory {
    #[unsafe(no_mangle)]
    unsafe extern "C" fn memset(into: *mut u8, byte: i32, count: usize) -> *mut u8 {
        for at in 0..count {
            // SAFETY: the caller gives `count` writable bytes. Volatile, or this loop would become a call of itself.
            unsafe { into.add(at).write_volatile(byte as u8) };
        }
        into
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcpy(into: *mut u8, from: *const u8, count: usize) -> *mut u8 {
        for at in 0..count {
            // SAFETY: as above, with `count` readable bytes.
            unsafe { into.add(at).write_volatile(from.add(at).read()) };
        }
        into
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn bcmp(one: *const u8, other: *const u8, count: usize) -> i32 {
        for at in 0..count {
            // SAFETY: `count` readable bytes in both.
            let (one, other) = unsafe { (one.add(at).read_volatile(), other.add(at).read_volatile()) };
            if one != other {
                return i32::from(one) - i32::from(other);
            }
        }
        0
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcmp(one: *const u8, other: *const u8, count: usize) -> i32 {
        // SAFETY: as above.
        unsafe { bcmp(one, other, count) }
    }
}
