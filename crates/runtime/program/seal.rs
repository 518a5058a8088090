//! The first steps of `wharf-runtime`, before its C library's own.
//!
//! A command that lets a container's processes begin is executed twice, the second time from a handle that nobody can write
//! through (`linux::process::seal` says why, and does the same where this gives up). What a C library does when a program
//! starts is worth nothing to the first of the two: it relocates itself, and asks the processor what it can do, which in a
//! virtual machine the hypervisor answers, some eighty times. So the program is entered here, with nothing but the kernel to
//! stand on, and the library is begun for the second execution.
//!
//! Nothing is relocated yet: no table of pointers, no formatting, no copy that the compiler would leave to `memcpy`. The
//! build proves that this needs no other code. Whatever goes wrong is left to the program, which can explain it.

#![no_std]
#![no_builtins]

#[path = "../../../build/kernel.rs"]
mod kernel;

use core::arch::global_asm;
use core::ffi::CStr;
use core::mem::MaybeUninit;

use kernel::{call, syscall};

/// A NUL-terminated string of the argument or environment block.
type Text = *const u8;

const AT_FDCWD: usize = -100_isize as usize;
const AT_EMPTY_PATH: usize = 0x1000;
const O_NOFOLLOW: usize = if cfg!(target_arch = "aarch64") { 0o100_000 } else { 0o400_000 };
const O_CLOEXEC: usize = 0o2_000_000;
const O_PATH: usize = 0o10_000_000;
const FSOPEN_CLOEXEC: usize = 1;
const FSCONFIG_SET_STRING: usize = 1;
const FSCONFIG_CMD_CREATE: usize = 6;
const FSMOUNT_CLOEXEC: usize = 1;
const MOUNT_ATTR_RDONLY: usize = 1;
const ST_RDONLY: u64 = 1;

/// Words of `struct statfs`, and which of them holds the flags of the mount.
const STATFS_WORDS: usize = 15;
const STATFS_FLAGS: usize = 10;

/// Of a path, with its NUL.
const PATH_MAX: usize = 4096;

/// The layer below the program's directory: an overlay that has none to write to needs two.
const SECOND: &CStr = c":/run";

/// The longest path after whose directory the second layer fits into as much.
const LONGEST: usize = PATH_MAX - SECOND.count_bytes() - 1;

// The stack is as the kernel left it for whoever comes first, and is so again for the C library's beginning. The ABI gives a
// function for `atexit` in a register, of which a static program has none.
#[cfg(target_arch = "x86_64")]
global_asm!(
    ".globl wharf_begin", "wharf_begin:", "xor ebp, ebp", "mov rbx, rsp", "mov rdi, rsp", "and rsp, -16",
    "call {seal}", "mov rsp, rbx", "xor edx, edx", "jmp _start", seal = sym seal
);

#[cfg(target_arch = "aarch64")]
global_asm!(
    ".globl wharf_begin", "wharf_begin:", "mov x29, #0", "mov x30, #0", "mov x19, sp", "mov x0, sp", "bl {seal}",
    "mov sp, x19", "mov x0, #0", "b _start", seal = sym seal
);

/// Executes the program again from a sealed handle, or returns. `stack` is what the kernel left: the count of arguments, their
/// pointers, a null, the environment's, a null.
unsafe extern "C" fn seal(stack: *const usize) {
    // SAFETY: the layout of the initial stack is the kernel's promise (the ABI's "process initialization").
    unsafe {
        let arguments = stack.add(1).cast::<Text>();
        let environment = arguments.add(*stack + 1);
        if !begins(arguments) {
            return;
        }
        let own =
            syscall(call::OPENAT, [AT_FDCWD, c"/proc/self/exe".as_ptr() as usize, O_PATH | O_CLOEXEC, 0, 0]);
        if own < 0 {
            return;
        }
        if is_writable(own as usize) {
            execute_sealed(arguments, environment);
        }
        syscall(call::CLOSE, [own as usize, 0, 0, 0, 0]);
    }
}

/// Whether the command lets a container's processes begin. Wherever the word stands: it may be the value of an option as well,
/// and then the program is executed twice for nothing.
unsafe fn begins(arguments: *const Text) -> bool {
    let mut next = arguments;
    // SAFETY: a null ends the arguments, a NUL each of them.
    unsafe {
        while !(*next).is_null() {
            if equal(*next, c"run") || equal(*next, c"exec") || equal(*next, c"create") {
                return true;
            }
            next = next.add(1);
        }
    }
    false
}

/// Whether the mount that an open file was reached by may be written through. `false` where that can't be known.
unsafe fn is_writable(file: usize) -> bool {
    let mut words = MaybeUninit::<[u64; STATFS_WORDS]>::uninit();
    // SAFETY: the kernel fills the structure when it succeeds, and writes no further.
    unsafe {
        syscall(call::FSTATFS, [file, words.as_mut_ptr() as usize, 0, 0, 0]) == 0
            && *words.as_ptr().cast::<u64>().add(STATFS_FLAGS) & ST_RDONLY == 0
    }
}

/// Returns when there is no such handle, and leaves nothing open.
unsafe fn execute_sealed(arguments: *const Text, environment: *const Text) {
    let mut path = MaybeUninit::<[u8; PATH_MAX]>::uninit();
    let mut layers = MaybeUninit::<[u8; PATH_MAX]>::uninit();
    // SAFETY: see `split` for the two buffers; the arguments and the environment are those that the kernel gave.
    unsafe {
        let Some(name) = split(path.as_mut_ptr().cast(), layers.as_mut_ptr().cast()) else { return };
        let context = syscall(call::FSOPEN, [c"overlay".as_ptr() as usize, FSOPEN_CLOEXEC, 0, 0, 0]);
        if context < 0 {
            return;
        }
        let mount = overlay(context as usize, layers.as_ptr().cast());
        syscall(call::CLOSE, [context as usize, 0, 0, 0, 0]);
        if mount < 0 {
            return;
        }
        let flags = O_PATH | O_NOFOLLOW | O_CLOEXEC;
        let program = syscall(call::OPENAT, [mount as usize, name as usize, flags, 0, 0]);
        syscall(call::CLOSE, [mount as usize, 0, 0, 0, 0]);
        if program < 0 {
            return;
        }
        let nothing = c"".as_ptr() as usize;
        syscall(
            call::EXECVEAT,
            [program as usize, nothing, arguments as usize, environment as usize, AT_EMPTY_PATH],
        );
        syscall(call::CLOSE, [program as usize, 0, 0, 0, 0]);
    }
}

/// Reads where the program lies. The directory and the second layer go into `layers`, as an overlay wants them; the name, within
/// `path`, is returned. `None` for what would have to be escaped, what has been removed, and a directory that is the root.
unsafe fn split(path: *mut u8, layers: *mut u8) -> Option<*const u8> {
    // SAFETY: both have `PATH_MAX` bytes, and what is written stays within them.
    unsafe {
        let link = c"/proc/self/exe".as_ptr() as usize;
        let length = syscall(call::READLINKAT, [AT_FDCWD, link, path as usize, LONGEST, 0]);
        // One that fills the buffer may have been cut off.
        let length = usize::try_from(length).ok().filter(|length| *length < LONGEST)?;
        *path.add(length) = 0;
        let mut slash = 0;
        for at in 0..length {
            match *path.add(at) {
                b'\\' | b':' => return None,
                b'/' => slash = at,
                _ => {}
            }
        }
        if slash == 0 {
            return None;
        }
        for at in 0..slash {
            *layers.add(at) = *path.add(at);
        }
        for at in 0..=SECOND.count_bytes() {
            *layers.add(slash + at) = *SECOND.as_ptr().cast::<u8>().add(at);
        }
        Some(path.add(slash + 1))
    }
}

/// A read-only mount of these two layers, attached nowhere. A negative number is the kernel's error.
unsafe fn overlay(context: usize, layers: Text) -> isize {
    // SAFETY: all strings end with a NUL.
    unsafe {
        let set = |key: &CStr, value: Text| {
            syscall(call::FSCONFIG, [context, FSCONFIG_SET_STRING, key.as_ptr() as usize, value as usize, 0])
        };
        let failed = set(c"lowerdir", layers);
        if failed < 0 {
            return failed;
        }
        // Inode numbers are of no interest here; that they are not unique would be told in the kernel's log. Older kernels do
        // not know the option, and do without.
        set(c"xino", c"off".as_ptr().cast());
        let failed = syscall(call::FSCONFIG, [context, FSCONFIG_CMD_CREATE, 0, 0, 0]);
        if failed < 0 {
            return failed;
        }
        syscall(call::FSMOUNT, [context, FSMOUNT_CLOEXEC, MOUNT_ATTR_RDONLY, 0, 0])
    }
}

unsafe fn equal(one: Text, other: &CStr) -> bool {
    let other = other.as_ptr().cast::<u8>();
    let mut at = 0;
    // SAFETY: both end with a NUL, and neither is read beyond the first difference.
    unsafe {
        while *one.add(at) == *other.add(at) {
            if *one.add(at) == 0 {
                return true;
            }
            at += 1;
        }
    }
    false
}
